"""What a check says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

PASS, FAIL, SKIP = "pass", "fail", "skip"


@dataclass(frozen=True, eq=False)
class Exhibit:
    """Small arrays that a report can draw, made by `refimpl.validation.exhibits`.

    Attributes
    ----------
    kind : what is in ``arrays``. "map": ``error`` over the sites of one configuration, ``(component, T, X)``; "errors": ``value``
        of each configuration, and its ``bound``; "trace": ``value`` against ``samples``, with any of ``bound``, ``exact``,
        ``low`` and ``high``; "histogram": counts ``observed`` and ``expected`` at every ``value``.
    labels : of the horizontal and the vertical axis; of a map, of its components.
    """

    kind: str
    title: str
    arrays: Mapping[str, NDArray[Any]]
    caption: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check of one target.

    Attributes
    ----------
    status : "pass", "fail" or "skip".
    quantity : what was measured, in words and symbols.
    value, bound : the statistic and the bound it was held to (an error and its tolerance, or an e-value or p-value and
        its alarm level); None where the check did not get so far.
    sensitivity : the smallest error this run would have seen. Every PASS has one.
    samples : configurations, calls or transitions looked at.
    alpha : share of the false-alarm level this check was given; 0 for a deterministic check.
    detail : for a failure what is wrong and where, for a skip the reason, else what was seen.
    check, seconds : filled in by the battery.
    expected_failure : the reason, where the target declares this failure as known.
    exhibits : what a report can draw of it.
    smallest : the smallest configuration on which a failure was found again, in words, or why there is none.
    reproduced_by : the vector file with that configuration.
    causes : mutants that fail as this target does, the likeliest first, as ``name: what is wrong with it``.
    convention : how those in which the target was judged differ from the contract's, in words; else nothing.
    declined : whether it is a skip because the target answered a call by saying that it does not do this.
    """

    status: str
    quantity: str
    value: float | None = None
    bound: float | None = None
    sensitivity: str = ""
    samples: int = 0
    alpha: float = 0.0
    detail: str = ""
    check: str = ""
    seconds: float = 0.0
    expected_failure: str | None = None
    exhibits: tuple[Exhibit, ...] = ()
    smallest: str = ""
    reproduced_by: str = ""
    causes: tuple[str, ...] = ()
    convention: str = ""
    declined: bool = False

    def __post_init__(self) -> None:
        if self.status == PASS and not self.sensitivity:
            raise ValueError(
                f"sensitivity: got none for the PASS of {self.quantity!r}, expected what it would have seen"
            )

    @property
    def good(self) -> bool:
        """Passed as expected, failed as declared, or not applicable."""
        if self.expected_failure is not None:
            return self.status != PASS
        return self.status != FAIL


def within(
    quantity: str,
    error: float,
    tolerance: float,
    sensitivity: str,
    samples: int,
    detail: str = "",
    exhibits: tuple[Exhibit, ...] = (),
) -> Verdict:
    """A deterministic verdict: PASS where ``error <= tolerance`` (a NaN fails). ``detail`` is told on failure."""
    ok = error <= tolerance and not math.isnan(error)
    told = "" if ok else detail
    status = PASS if ok else FAIL
    return Verdict(status, quantity, float(error), tolerance, sensitivity, samples, 0.0, told, exhibits=exhibits)


def skipped(reason: str) -> Verdict:
    """Not applicable, with the reason."""
    return Verdict(SKIP, "", detail=reason)
