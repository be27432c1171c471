"""The oracle: checks pointed at any implementation, verdicts with a stated false-alarm rate and sensitivity."""

from .battery import check_target
from .contract import TargetError
from .conventions import Convention, converted
from .parametrize import parametrize_with_checks
from .report import Report
from .verdict import Verdict

__all__ = ["Convention", "Report", "TargetError", "Verdict", "check_target", "converted", "parametrize_with_checks"]
