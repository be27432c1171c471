"""Packages of others and built-in targets, each judged in a process of its own, and the table of what was found."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import refimpl

from .report import FAILED, NOTHING_RAN, OK, Report, label, plain
from .reports.markdown import escaped
from .reports.record import read_report
from .side_by_side import Children
from .verdict import FAIL, PASS, Verdict

DEADLINE = 1800.0  # seconds of one target
LONGEST = (2**31 - 1) // 1000  # poll() counts milliseconds in an int; no target takes 24 days


@dataclass(frozen=True)
class Peer:
    """A package, and the factory of a target made of it.

    Attributes
    ----------
    package : what is imported, and asked for its version.
    target : as for ``refimpl validate``.
    install : what to type to have it.
    """

    package: str
    target: str
    install: str

    @property
    def name(self) -> str:
        """Of the module of the adapter and of the factory, but for ``target``; ``builtin:NAME`` as it is."""
        module, _, factory = self.target.partition(":")
        module = module.rpartition(".")[2]
        return module if factory == "target" else f"{module}:{factory}"

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        if self.package == refimpl.__name__:  # this one, whatever else is installed
            return refimpl.__version__
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "?"


def _peer(package: str, target: str, extra: str, besides: str = "") -> Peer:
    return Peer(package, f"refimpl.validation.peers.{target}", f"pip install 'refimpl[{extra}]'{besides}")


L2HMC = " && pip install --no-deps l2hmc"  # what it asks for cannot be built
PEERS = (
    _peer("mici", "mici:target", "peers"),
    _peer("blackjax", "blackjax:target", "blackjax"),
    _peer("blackjax", "blackjax:nuts", "blackjax"),
    _peer("numpyro", "numpyro:target", "numpyro"),
    _peer("numpyro", "numpyro:nuts", "numpyro"),
    _peer("bijx", "bijx:phi4_coupling", "bijx"),
    _peer("bijx", "bijx:free_field", "bijx"),
    _peer("bijx", "bijx:u1_coupling", "bijx"),
    _peer("bijx", "bijx:u1_sharp_coupling", "bijx"),
    _peer("bijx", "bijx:su2_flow", "bijx"),
    _peer("l2hmc", "l2hmc:target", "l2hmc", L2HMC),
    _peer("l2hmc", "l2hmc:merged", "l2hmc", L2HMC),
    _peer("l2hmc", "l2hmc:directed", "l2hmc", L2HMC),
    _peer("l2hmc", "l2hmc:numpy_lattice", "l2hmc", L2HMC),
    _peer("lfox", "lfox:target", "lfox"),
    _peer("lfox", "lfox:omelyan", "lfox"),
    _peer("sesamo", "sesamo:target", "sesamo"),
    _peer("sesamo", "sesamo:in_double", "sesamo"),
    _peer("torch", "u1_torch_hmc:target", "bench"),
    _peer("jax", "u1_jax_hmc:target", "bench"),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one peer: a report, or why there is none."""

    peer: Peer
    version: str = ""
    report: Report | None = None
    trouble: str = ""
    command: str = ""
    seconds: float = 0.0

    @property
    def status(self) -> str:
        if not self.version:
            return "missing"
        if self.report is None:
            return "crashed"
        return {OK: "passed", FAILED: "failed", NOTHING_RAN: "nothing"}[self.report.exit_code]

    @property
    def evidence(self) -> str:
        """The strongest failure with its number, or the smallest error that would have been seen."""
        if self.report is None:
            return self.trouble
        if self.report.failures:
            return told(strongest(self.report.failures))
        passed = [v for v in self.report.verdicts if v.status == PASS]
        exact = [v for v in passed if not v.alpha and v.bound]
        return min(exact or passed, key=lambda v: v.bound or 0.0).sensitivity if passed else "nothing ran"


def strongest(failures: Iterable[Verdict]) -> Verdict:
    """Of those without false alarms the one furthest beyond its bound, or else the first."""
    return max(failures, key=lambda v: (v.status == FAIL, not v.alpha, _excess(v)))


def _excess(v: Verdict) -> float:
    if v.alpha or v.value is None or not v.bound:
        return 0.0
    ratio = v.value / v.bound
    return ratio if ratio == ratio else float("inf")


def told(v: Verdict) -> str:
    """A failure in a line."""
    if v.status == PASS:
        return f"{v.check}: passed, but was declared to fail"
    if v.value is None or v.bound is None:
        return f"{v.check}: {v.detail}"
    return f"{v.check}: {v.quantity} = {v.value:.3g}, bound {v.bound:.3g}"


def chosen(names: Sequence[str], peers: Sequence[Peer] = PEERS) -> list[Peer]:
    """Those of these packages or names; all without any. Raises `ValueError` for a name that is none."""
    for name in names:
        if not any(name in (peer.package, peer.name) for peer in peers):
            known = ", ".join(dict.fromkeys([peer.package for peer in peers] + [peer.name for peer in peers]))
            raise ValueError(f"NAME: got {name!r}, expected one of {known}")
    return [peer for peer in peers if not names or peer.package in names or peer.name in names]


# Those that take the longest at the level thorough, in this order; the rest takes half a minute or less.
DEAREST = (
    "joint-su3", "joint-su2", "flow-su3", "u1", "flow-su2", "l2hmc", "decimation", "su2", "joint", "schwinger-pseudofermion",
    "su3", "fourier", "flow", "l2hmc-merged", "schwinger", "flow-schwinger", "chains", "l2hmc-scalars", "gauge_variate-loop",
)  # fmt: skip


def built_in(names: Iterable[str]) -> list[Peer]:
    """Built-in targets of these names, the dearest first: whoever judges several at a time is done soonest so."""
    order = {name: k for k, name in enumerate(DEAREST)}
    return [Peer("refimpl", f"builtin:{name}", "") for name in sorted(names, key=lambda n: order.get(n, len(order)))]


def outcome_of(
    peer: Peer,
    level: str,
    seed: int,
    deadline: float | None = DEADLINE,
    children: Children | None = None,
    options: Sequence[str] = (),
) -> Outcome:
    """The peer judged by ``refimpl validate`` in a process of its own, with these options besides."""
    if not peer.installed:
        return Outcome(peer)
    typed = ["validate", peer.target, "--level", level, "--seed", str(seed), *options]
    again = shlex.join(["refimpl", *typed])
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        silent = ["--failures", "none", "--format", "json", "--out", str(file)]
        command = [sys.executable, "-m", "refimpl", *typed, *silent]
        try:
            done = (children or Children()).run(
                command, _environment(), None if deadline is None else min(deadline, LONGEST)
            )
            report = read_report(file) if file.exists() else None
            trouble = "" if report else _last_words(done)
        except subprocess.TimeoutExpired:
            report, trouble = None, f"took longer than {deadline:.0f} s"
        except ValueError as error:
            report, trouble = None, str(error)
    return Outcome(peer, peer.version, report, trouble, again, time.perf_counter() - start)


def _environment() -> dict[str, str]:
    """One thread where nothing else is said, and this refimpl."""
    own = str(Path(refimpl.__file__).parent.parent)
    paths = [own, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode(errors="replace").strip().splitlines()
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return f"{ended}: {said[-1] if said else 'said nothing'}"


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """As that of ``refimpl validate``: 0 all passed, 1 one did not, 5 none is installed, or nothing of them ran."""
    statuses = {outcome.status for outcome in outcomes} - {"missing", "nothing"}
    if not statuses:
        return NOTHING_RAN
    return OK if statuses == {"passed"} else FAILED


HEAD = ("package", "version", "target", "passed", "failed", "skipped", "apply", "seconds", "evidence")


def _cells(outcome: Outcome) -> tuple[str, ...]:
    own = (outcome.peer.package, outcome.version, outcome.peer.name)
    if outcome.report is None:
        return (*own, "", "", "", "", f"{outcome.seconds:.0f}", f"{outcome.status}: {outcome.trouble}")
    counts = outcome.report.summary()
    numbers = (str(counts[name]) for name in ("passed", "failed", "skipped", "applicable"))
    return (*own, *numbers, f"{outcome.seconds:.0f}", outcome.evidence)


def as_table(outcomes: Sequence[Outcome], width: int = 150) -> str:
    """A line a peer, then failures at length with the command that repeats them, and what is not installed."""
    rows = [HEAD, *(_cells(outcome) for outcome in outcomes if outcome.status != "missing")]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD) - 1)]
    lines = [] if len(rows) == 1 else [_aligned(row, widths) for row in rows]
    for outcome in outcomes:
        lines += _at_length(outcome, width)
    return "\n".join([*lines, *_missing(outcomes)]).strip("\n")


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> str:
    numbers = range(HEAD.index("passed"), HEAD.index("evidence"))
    cells = [
        cell.rjust(w) if k in numbers else cell.ljust(w)
        for k, (cell, w) in enumerate(zip(row[:-1], widths, strict=True))
    ]
    return "  ".join([*cells, row[-1]])


def _at_length(outcome: Outcome, width: int) -> list[str]:
    if outcome.status not in ("failed", "crashed"):
        return [] if outcome.report is None else _declared(outcome.report, outcome.peer, width)
    lines = ["", f"{outcome.peer.name}: {outcome.command}"]
    if outcome.report is None:
        return [*lines, *_indented(outcome.trouble, width)]
    for v in outcome.report.failures:
        lines += _indented(f"{label(v)}  {told(v)}{'; ' + v.detail if v.detail and v.value is not None else ''}", width)
    return [*lines, *_declared(outcome.report, outcome.peer, width)]


def _declared(report: Report, peer: Peer, width: int) -> list[str]:
    known = [v for v in report.verdicts if label(v) == "known"]
    lines = ["", f"{peer.name}: known"] if known else []
    for v in known:
        lines += _indented(f"known {told(v)}; {v.expected_failure}", width)
    return lines


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="      ")


def _missing(outcomes: Iterable[Outcome]) -> list[str]:
    pip = {o.peer.package: o.peer.install for o in outcomes if o.status == "missing"}
    return ["", *(f"{package} is not installed: {line}" for package, line in pip.items())] if pip else []


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """A table for a README, failures and what is not installed below it."""
    rows = [_cells(outcome) for outcome in outcomes if outcome.status != "missing"]
    lines = [f"| {' | '.join(HEAD)} |", "|---|---|---|---:|---:|---:|---:|---:|---|"]
    lines += [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows]
    for outcome in outcomes:
        if outcome.status in ("failed", "crashed"):
            failures = outcome.report.failures if outcome.report else []
            lines += ["", f"`{outcome.command}`", ""]
            lines += [f"- {escaped(told(v))}" for v in failures] or [f"- {escaped(outcome.trouble)}"]
    return "\n".join([*lines, *(escaped(line) for line in _missing(outcomes))])


def as_records(outcomes: Iterable[Outcome]) -> list[Mapping[str, Any]]:
    """What can be written as JSON."""
    return [plain(_record(outcome)) for outcome in outcomes]


def _record(outcome: Outcome) -> dict[str, Any]:
    about = {**asdict(outcome.peer), "name": outcome.peer.name, "version": outcome.version, "status": outcome.status}
    if outcome.status == "missing":
        return about
    about |= {"command": outcome.command, "seconds": outcome.seconds, "evidence": outcome.evidence}
    if outcome.report is None:
        return about
    failures = [
        {name: getattr(v, name) for name in ("check", "quantity", "value", "bound", "detail")}
        for v in outcome.report.failures
    ]
    return about | {"says": outcome.report.target, **outcome.report.summary(), "failures": failures}
