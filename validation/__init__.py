"""The oracle: checks pointed at any implementation, verdicts with a stated false-alarm rate and sensitivity."""

from .battery import check_target
from .contract import TargetError
from .parametrize import parametrize_with_checks
from .report import Report
from .verdict import Verdict

__all__ = ["Report", "TargetError", "Verdict", "check_target", "parametrize_with_checks"]
