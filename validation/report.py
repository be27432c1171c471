"""The report of a run: ledger of false alarms, sensitivities, terminal table, exit code; other forms are in `reports`."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .failure_text import failures_text, first_failure
from .verdict import FAIL, PASS, SKIP, Exhibit, Verdict

OK, FAILED, USAGE, NOT_STARTED, BAD_VECTORS, NOTHING_RAN = range(6)

SCHEMA = 2
LONGEST = 4000  # characters of a text of the target that are shown

# What no terminal, no XML and no strict JSON parser should be given: other controls than white space, half of a pair of
# surrogates, what is no character, and what turns the direction of a line.
UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069\ufffe\uffff]")


@dataclass(frozen=True)
class Report:
    """Verdicts of one run on one target; texts of the target are made printable, and long ones cut.

    Attributes
    ----------
    alpha : the false-alarm level of the whole run: a correct target fails anything with at most this probability.
    applicable, total : how many checks belong to the theory and the kind of proposal, and how many there are; of the former
        the selected ones are in ``verdicts``.
    date, versions : when the run began (UTC), and of which software, by name.
    implementation : what the target says of itself (language, version).
    offered, lacking : capabilities the target has, and others that checks of its theory ask for.
    belonging, elsewhere : checks that belong to the theory and the kind of proposal, and those of others.
    convention : how the conventions of the target differ from the contract's, where that was found or told; the verdicts that
        take that into account say so.
    spec : what was typed as the target, where it was.
    options : what was typed besides, such as ``("--beta", "4")``: with level, seed and check it repeats a verdict.
    option : the conventions that were found, as ``--conventions`` names them.
    thrift : what the target's own ``thrift`` divides the sizes of samples by.
    """

    target: str
    parameters: Mapping[str, Any]
    level: str
    seed: int
    alpha: float
    verdicts: tuple[Verdict, ...]
    applicable: int
    total: int
    seconds: float
    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    implementation: Mapping[str, str] = field(default_factory=dict)
    offered: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    belonging: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    convention: str = ""
    spec: str = ""
    options: tuple[str, ...] = ()
    option: str = ""
    thrift: int = 1

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, printable(getattr(self, entry.name)))

    @property
    def failures(self) -> list[Verdict]:
        """Failed checks, and declared failures that passed."""
        return [verdict for verdict in self.verdicts if not verdict.good]

    @property
    def unselected(self) -> tuple[str, ...]:
        """Checks that belong to the target but were not selected."""
        selected = {v.check for v in self.verdicts}
        return tuple(check for check in self.belonging if check not in selected)

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
        """The whole report, with ``schema`` as its version, as `refimpl/validation/report.schema.json` describes."""
        from .reports import record

        return record.as_json(self)

    def as_junit(self) -> str:
        """JUnit XML, for continuous integration."""
        from .reports import junit

        return junit.as_junit(self)

    def as_markdown(self) -> str:
        """For a README or a summary of a job."""
        from .reports import markdown

        return markdown.as_markdown(self)

    def as_html(self) -> str:
        """A page that needs nothing else, with pictures where matplotlib is installed."""
        from .reports import page

        return page.as_html(self)

    def summary(self) -> dict[str, int]:
        counts = Counter(v.status for v in self.verdicts)
        return {
            "passed": counts[PASS],
            "failed": counts[FAIL],
            "skipped": counts[SKIP],
            "declined": sum(v.declined for v in self.verdicts),
            "ran": counts[PASS] + counts[FAIL],
            "selected": len(self.verdicts),
            "applicable": self.applicable,
            "total": self.total,
        }

    def as_table(self, width: int | None = None) -> str:
        """The terminal form: a line a check, then failures at length, the ledger, and what was not run."""
        from .reports.wording import counted

        width = width or max(100, min(160, shutil.get_terminal_size((120, 24)).columns))
        parameters = ", ".join(f"{k} = {v}" for k, v in self.parameters.items())
        lines = [f"{self.target}: {parameters}; {effort(self)}, seed {self.seed}", ""]
        if self.convention:
            lines[1:1] = textwrap.wrap(f"conventions: {assumed(self)}", width)
        head = f"{'':6}{'check':<33}{'measured':>9} {'bound':>9} {'samples':>9}  "
        lines.append(f"{head}{'would have seen'}")
        for v in self.verdicts:
            lines.append(_row(v))
        lines += failures_text(self, width)
        s, ledger = self.summary(), self.ledger
        lines += [
            "",
            f"{counted(self)}; ran {s['ran']} of {s['selected']} selected; "
            f"{s['applicable']} apply here, {s['total']} in all; {self.seconds:.1f} s",
            f"false alarms: at most {ledger['alpha']:.1g} for the whole run; "
            f"spent {ledger['spent']:.2g}, remaining {ledger['remaining']:.2g}",
        ]
        lines += textwrap.wrap(first_failure(self), width)
        if still := next((v for v in self.verdicts if v.status == SKIP and v.detail.startswith(HARDLY_MOVES)), None):
            lines += textwrap.wrap(f"careful: {still.detail}; what stands still passes statistics", width)
        return "\n".join(lines)


# How the skip of `driver.moves_every_link` begins: standing still leaves every density as it is, and nobody reads all skips.
HARDLY_MOVES = "too few updates were accepted"


def assumed(report: Report) -> str:
    """What is said of conventions above the verdicts."""
    marked = sum(bool(v.convention) for v in report.verdicts)
    if marked == len(report.verdicts):
        return f"{report.convention}: all is judged under that convention"
    rest = "the others are those of the contract itself, and their failures stand"
    return f"{report.convention}: {marked} checks, marked *, are judged under that convention; {rest}"


def effort(report: Report) -> str:
    """The level, and what the target makes of its sizes of samples."""
    told = f", thrift {report.thrift} (samples divided by it)" if report.thrift != 1 else ""
    return f"level {report.level}{told}"


def skips(report: Report) -> str:
    """How many were skipped, and how many of them because the target declined a call, where it did."""
    s = report.summary()
    return f"{s['skipped']} skipped" + (f" ({s['declined']} declined by the target)" if s["declined"] else "")


def label(v: Verdict) -> str:
    """The outcome in a word: pass, FAIL, skip, known (it failed, as declared) or XPASS (it passed, but was declared to fail)."""
    if v.expected_failure is not None and v.status != SKIP:
        return "known" if v.status == FAIL else "XPASS"
    return {PASS: "pass", FAIL: "FAIL", SKIP: "skip"}[v.status]


def printable(value: Any) -> Any:
    """The same with texts of one line that can be printed anywhere, cut where they are very long."""
    if isinstance(value, str):
        cut = value if len(value) <= LONGEST else f"{value[:LONGEST]} ... ({len(value)} characters)"
        return UNPRINTABLE.sub("\ufffd", re.sub(r"[\t-\r\x85]", " ", cut))
    if isinstance(value, Verdict | Exhibit):
        return replace(value, **{entry.name: printable(getattr(value, entry.name)) for entry in fields(value)})
    if isinstance(value, Mapping):
        return {printable(name): printable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(printable, value))
    return value


def _row(v: Verdict) -> str:
    check = f"{v.check} *" if v.convention else v.check
    if v.status == SKIP:
        return f"{label(v):<6}{check:<33}{v.detail}"
    value = "" if v.value is None else f"{v.value:.2g}"
    bound = "" if v.bound is None else f"{v.bound:.2g}"
    tail = v.sensitivity if v.status == PASS else v.quantity
    return f"{label(v):<6}{check:<33}{value:>9} {bound:>9} {v.samples:>9}  {tail}"


def plain(value: Any) -> Any:
    """What JSON can say: numbers that are not finite become strings, as does what it does not know."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
