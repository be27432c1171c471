"""The report of a run: ledger of false alarms, sensitivities, terminal table, JSON, exit code."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from .failure_text import failure_text
from .verdict import FAIL, PASS, SKIP, Verdict

OK, FAILED, USAGE, NOT_STARTED, BAD_VECTORS, NOTHING_RAN = range(6)

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """Verdicts of one run on one target.

    ``alpha`` is the false-alarm level of the whole run: a correct target fails anything with at most this probability.
    ``total`` counts all checks of the oracle, ``applicable`` those that belong to the theory and the kind of proposal;
    of these the selected ones are in ``verdicts``.
    """

    target: str
    parameters: dict[str, Any]
    level: str
    seed: int
    alpha: float
    verdicts: tuple[Verdict, ...]
    applicable: int
    total: int
    seconds: float

    @property
    def failures(self) -> list[Verdict]:
        """Failed checks, and declared failures that passed."""
        return [verdict for verdict in self.verdicts if not verdict.good]

    @property
    def exit_code(self) -> int:
        if self.failures:
            return FAILED
        return OK if any(v.status != SKIP for v in self.verdicts) else NOTHING_RAN

    @property
    def ledger(self) -> dict[str, float]:
        """False-alarm probability promised, spent by the statistical checks that ran, and left."""
        spent = math.fsum(v.alpha for v in self.verdicts)
        return {"alpha": self.alpha, "spent": spent, "remaining": max(0.0, self.alpha - spent)}

    def as_json(self) -> str:
        """The whole report, with ``schema`` as its version; infinities and NaN are written as strings."""
        content = {
            "schema": SCHEMA,
            "target": self.target,
            "parameters": self.parameters,
            "level": self.level,
            "seed": self.seed,
            "ledger": self.ledger,
            "summary": self.summary(),
            "exit_code": self.exit_code,
            "seconds": self.seconds,
            "verdicts": [asdict(replace(v, exhibits=())) | {"good": v.good} for v in self.verdicts],
        }
        return json.dumps(plain(content), indent=1, allow_nan=False)

    def summary(self) -> dict[str, int]:
        counts = Counter(v.status for v in self.verdicts)
        return {
            "passed": counts[PASS],
            "failed": counts[FAIL],
            "skipped": counts[SKIP],
            "ran": counts[PASS] + counts[FAIL],
            "selected": len(self.verdicts),
            "applicable": self.applicable,
            "total": self.total,
        }

    def as_table(self, width: int | None = None) -> str:
        """The terminal form: a line a check, then failures at length, the ledger, and what was not run."""
        width = width or max(100, min(160, shutil.get_terminal_size((120, 24)).columns))
        parameters = ", ".join(f"{k} = {v}" for k, v in self.parameters.items())
        lines = [f"{self.target}: {parameters}; level {self.level}, seed {self.seed}", ""]
        head = f"{'':6}{'check':<33}{'measured':>9} {'bound':>9} {'samples':>9}  "
        lines.append(f"{head}{'would have seen'}")
        for v in self.verdicts:
            lines.append(_row(v))
        for v in self.failures:
            lines += ["", *failure_text(v, width, self.seed)]
        s, ledger = self.summary(), self.ledger
        lines += [
            "",
            f"{s['passed']} passed, {s['failed']} failed, {s['skipped']} skipped; ran {s['ran']} of {s['selected']} selected; "
            f"{s['applicable']} apply here, {s['total']} in all; {self.seconds:.1f} s",
            f"false alarms: at most {ledger['alpha']:.1g} for the whole run; "
            f"spent {ledger['spent']:.2g}, remaining {ledger['remaining']:.2g}",
        ]
        return "\n".join(lines)


def _row(v: Verdict) -> str:
    label = {PASS: "pass", FAIL: "FAIL", SKIP: "skip"}[v.status]
    if v.expected_failure is not None and v.status != SKIP:
        label = "known" if v.status == FAIL else "XPASS"
    if v.status == SKIP:
        return f"{label:<6}{v.check:<33}{v.detail}"
    value = "" if v.value is None else f"{v.value:.2g}"
    bound = "" if v.bound is None else f"{v.bound:.2g}"
    tail = v.sensitivity if v.status == PASS else v.quantity
    return f"{label:<6}{v.check:<33}{value:>9} {bound:>9} {v.samples:>9}  {tail}"


def plain(value: Any) -> Any:
    """For JSON, which has no infinities or NaN: they become strings."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
