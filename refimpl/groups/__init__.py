"""The gauge groups U(1), as angles, and SU(N), as matrices, behind one interface.

`Group` is what they share; ``U1()`` and ``SUN(n)`` are the groups.
"""

from .angles import SINCOS_SWITCH, TWO_PI, fold, sincos, wrap
from .base import U1, Group, drift, representative
from .sun import SUN

__all__ = ["SINCOS_SWITCH", "SUN", "TWO_PI", "U1", "Group", "drift", "fold", "representative", "sincos", "wrap"]
