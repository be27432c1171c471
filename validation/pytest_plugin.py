"""A pytest plugin that judges targets: ``pytest -p refimpl.validation.pytest_plugin --refimpl-target mycode:MyHMC``.

It is loaded by that option alone, never by being installed. Every check that applies to the target becomes a test of its own,
``mycode:MyHMC::static.force``, beside those that pytest collects anyway, so that ``-k``, ``-x``, ``--lf``, ``--junit-xml`` and
pytest-xdist work as ever. The fixtures `refimpl_target` and `refimpl_check` hand the same to tests of one's own. At the end
stands what was spent of the false-alarm level and how to repeat the run; tests of `parametrize_with_checks` are counted too.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from operator import methodcaller
from pathlib import Path
from typing import Any

try:
    import pytest
except ImportError as error:
    raise ImportError("pytest is not installed: pip install 'refimpl[test]'") from error

from refimpl.files import whole_file

from .battery import ALPHA, Battery, checked_alpha, checked_conventions, checked_seed, convention_of
from .checks import CHECKS
from .contract import DEADLINE, Subject, TargetError
from .evidence import EFFORTS
from .known import known_failures_in
from .parametrize import BoundCheck, bound_checks
from .report import Report, effort
from .reports import wording
from .targets import target_named
from .verdict import Verdict

PLUGIN = "refimpl.validation.pytest_plugin"
RUN: pytest.StashKey[Run] = pytest.StashKey()


# --- options ---------------------------------------------------------------------------------------------------------
def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("refimpl", "the oracle of refimpl")
    group.addoption(
        "--refimpl-target",
        action="append",
        default=[],
        metavar="TARGET",
        help="what to judge, as of refimpl validate: package.module:object, cmd:COMMAND, builtin:NAME ...; may be repeated",
    )
    group.addoption("--refimpl-level", choices=list(EFFORTS), default="smoke", help="sample sizes (default smoke)")
    group.addoption(
        "--refimpl-seed", type=int, metavar="N", help="repeats a run bit for bit (default: drawn and shown)"
    )
    group.addoption(
        "--refimpl-alpha", type=float, default=ALPHA, metavar="P", help="false-alarm level of a target (default 1e-6)"
    )
    group.addoption(
        "--refimpl-parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the theory or the target, the value in JSON: beta=4, shape=[8,8]; may be given again",
    )
    group.addoption("--refimpl-xfail", metavar="FILE", help="JSON file of known failures, check id -> reason")
    group.addoption("--refimpl-report", metavar="FILE", help="write what was found there, as JSON")
    group.addoption(
        "--refimpl-conventions",
        default="ours",
        metavar="NAME",
        help="of the target: as --conventions of refimpl validate, such as minus-force, or auto (default: ours)",
    )
    group.addoption(
        "--refimpl-deadline", type=float, default=DEADLINE, metavar="S", help="seconds one call may take (default 120)"
    )


def pytest_configure(config: pytest.Config) -> None:
    given, handed = config.option, getattr(config, "workerinput", None)
    try:
        run = Run(
            targets=list(dict.fromkeys(given.refimpl_target)),
            level=given.refimpl_level,
            alpha=checked_alpha(given.refimpl_alpha),
            seed=checked_seed(given.refimpl_seed) if handed is None else handed["refimpl_seed"],
            parameters=dict(_parameter(text) for text in given.refimpl_parameter),
            xfail=given.refimpl_xfail,
            known=_known(given.refimpl_xfail),
            deadline=_deadline(given.refimpl_deadline),
            conventions=_conventions(given.refimpl_conventions),
        )
        ledger = Ledger(_output(given.refimpl_report))
    except ValueError as error:
        raise pytest.UsageError(f"--refimpl-{error}") from error
    config.stash[RUN] = run
    if handed is None:
        config.pluginmanager.register(ledger, "refimpl-ledger")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Every worker of pytest-xdist gets the same seed."""
    node.workerinput["refimpl_seed"] = node.config.stash[RUN].seed


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise ValueError(f"parameter: got {text!r}, expected NAME=VALUE, such as beta=4")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'parameter: got {text!r}, expected a value in JSON, such as 4, [8,8] or "word"') from error
    return name, tuple(found) if name == "shape" and isinstance(found, list) else found


def _known(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"xfail: got {path!r}, expected a JSON file: {error}") from error
    return known_failures_in(text, f"xfail: {path}")


def _deadline(seconds: float) -> float:
    if not seconds > 0:
        raise ValueError(f"deadline: got {seconds!r}, expected a number > 0")
    return seconds


def _conventions(name: str) -> str:
    checked_conventions(name)
    return name


def _output(path: str | None) -> Path | None:
    if path is None:
        return None
    if not path or Path(path).is_dir() or not Path(path).resolve().parent.is_dir():
        raise ValueError(f"report: got {path!r}, expected a file in a folder that exists")
    return Path(path).resolve()  # tests may change the folder


# --- what was asked for and found --------------------------------------------------------------------------------------
@dataclass
class Run:
    """What was asked for, and the targets made so far."""

    targets: list[str]
    level: str
    alpha: float
    seed: int
    parameters: dict[str, Any]
    xfail: str | None
    known: dict[str, str]
    deadline: float
    conventions: str
    batteries: dict[str, Battery] = field(default_factory=dict)

    def checks(self, spec: str) -> list[BoundCheck]:
        """The checks that apply to a target; raises `CollectError` where it cannot be judged."""
        try:
            if spec not in self.batteries:
                made = target_named(spec)
                convention = convention_of(made, self.conventions, parameters=self.parameters, deadline=self.deadline)
                self.batteries[spec] = Battery(
                    made,
                    level=self.level,
                    alpha=self.alpha,
                    seed=self.seed,
                    expected_failures=self.known,
                    parameters=self.parameters,
                    deadline=self.deadline,
                    convention=convention,
                )
            battery = self.batteries[spec]
            return bound_checks(battery, spec, battery.subject, lambda check_id: self.command(spec, check_id))
        except (TargetError, ValueError) as error:
            raise pytest.Collector.CollectError(f"--refimpl-target {spec}: {error}") from error

    def command(self, spec: str, check_id: str | None) -> str:
        """What repeats one check of a target, or all."""
        options: list[tuple[str, Any]] = [("target", spec), ("level", self.level), ("seed", self.seed)]
        options += [("alpha", self.alpha)] if self.alpha != ALPHA else []
        options += [("parameter", f"{name}={json.dumps(value)}") for name, value in self.parameters.items()]
        options += [("xfail", self.xfail)] if self.xfail is not None else []
        options += [("conventions", self.conventions)] if self.conventions != "ours" else []
        options += [("deadline", self.deadline)] if self.deadline != DEADLINE else []
        words = [word for name, value in options for word in (f"--refimpl-{name}", str(value))]
        return shlex.join(["pytest", "-p", PLUGIN, *words, *(() if check_id is None else ("-k", check_id))])


# --- collection --------------------------------------------------------------------------------------------------------
class TargetChecks(pytest.Collector):
    """The checks of one target; its name is what stands after ``--refimpl-target``."""

    def collect(self) -> Iterator[CheckItem]:
        for bound in self.config.stash[RUN].checks(self.name):
            yield CheckItem.from_parent(self, name=bound.check.id, bound=bound)


class CheckItem(pytest.Item):
    """One check of one target."""

    def __init__(self, *, bound: BoundCheck, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bound = bound
        for mark in bound.marks:
            self.add_marker(mark)

    def runtest(self) -> None:
        self.bound()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, AssertionError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.nodeid


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if isinstance(collector, pytest.Session) and report.passed:
        for spec in collector.config.stash[RUN].targets:
            report.result.append(TargetChecks.from_parent(collector, name=spec, nodeid=spec))
    return report


# --- tests of one's own --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def refimpl_target() -> Subject:
    """Every --refimpl-target in turn, calls checked and answered with float64 arrays; the object itself is its ``target``."""
    pytest.skip("no --refimpl-target is given")


@pytest.fixture(scope="session")
def refimpl_check() -> BoundCheck:
    """Every check of every --refimpl-target in turn, to be called: it fails with the oracle's words, or skips."""
    pytest.skip("no --refimpl-target is given")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run = metafunc.config.stash[RUN]
    names = [name for name in ("refimpl_target", "refimpl_check") if name in metafunc.fixturenames]
    if not names or not run.targets:
        return
    sets = []
    for spec in run.targets:
        checks = run.checks(spec)
        if names == ["refimpl_target"]:
            sets.append(pytest.param(run.batteries[spec].subject, id=spec))
            continue
        for bound in checks:
            values = [{"refimpl_target": bound.target, "refimpl_check": bound}[name] for name in names]
            sets.append(pytest.param(*values, id=f"{spec}-{bound.check.id}", marks=bound.marks))
    metafunc.parametrize(names, sets, scope="session")


# --- what was found --------------------------------------------------------------------------------------------------
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    bound = item.bound if isinstance(item, CheckItem) else _bound(getattr(item, "funcargs", {}))
    if report.when == "call" and bound is not None and bound.verdict is not None:
        report.refimpl = _record(bound, bound.verdict)
    return report


def _bound(arguments: dict[str, Any]) -> BoundCheck | None:
    return next((value for value in arguments.values() if isinstance(value, BoundCheck)), None)


def _record(bound: BoundCheck, verdict: Verdict) -> str:
    """A verdict as text, which is what pytest-xdist brings from a worker; exhibits are left behind."""
    report = bound.battery.report((), 0.0)
    about = {
        item.name: getattr(report, item.name) for item in fields(Report) if item.name not in ("verdicts", "seconds")
    }
    found = asdict(replace(verdict, exhibits=()))
    content = {"label": bound.label, "again": bound.again(None), "about": about, "verdict": found}
    return json.dumps(content, default=methodcaller("item"))  # numbers of NumPy


@dataclass
class Found:
    """The verdicts on one target, and what its report says besides."""

    label: str
    again: str
    about: dict[str, Any]
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def report(self) -> Report:
        """The report of what ran, in the order of the battery."""
        verdicts = tuple(self.verdicts[check.id] for check in CHECKS if check.id in self.verdicts)
        return Report(**self.about, verdicts=verdicts, seconds=sum(verdict.seconds for verdict in verdicts))


class Ledger:
    """The part of the plugin that gathers verdicts, from all workers, and tells of them when the tests are done."""

    def __init__(self, output: Path | None) -> None:
        self.output = output
        self.found: dict[str, Found] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if not hasattr(report, "refimpl"):
            return
        record = json.loads(report.refimpl)
        verdict = record.pop("verdict")
        found = self.found.setdefault(json.dumps(record), Found(**record))
        found.verdicts[verdict["check"]] = Verdict(**{**verdict, "causes": tuple(verdict["causes"])})

    def pytest_sessionfinish(self) -> None:
        if self.output is None or not self.found:
            return
        texts = [found.report.as_json() for found in self.found.values()]
        text = texts[0] if len(texts) == 1 else "[\n" + ",\n".join(texts) + "\n]"
        try:
            with whole_file(self.output) as file:
                file.write((text + "\n").encode())
        except OSError as error:
            pytest.exit(f"--refimpl-report: {error}", returncode=pytest.ExitCode.USAGE_ERROR)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.output is not None and not self.found:
            terminalreporter.write_line(f"refimpl: no check ran, {self.output} is not written")
        if self.found:
            terminalreporter.section("refimpl")
        for found in self.found.values():
            for line in _lines(found):
                terminalreporter.write_line(line)


def _lines(found: Found) -> list[str]:
    report = found.report
    declared = wording.declared(wording.parameters(report))
    told = [f"  conventions: {report.convention}"] if report.convention else []
    return [
        f"{found.label}: {declared}; {effort(report)}, seed {report.seed}",
        *told,
        f"  {wording.counted(report)}; {report.applicable} apply to this target, {report.total} there are in all",
        f"  false alarms: at most {report.alpha:.1g} for this target; "
        f"spent {report.ledger['spent']:.2g}, remaining {report.ledger['remaining']:.2g}",
        f"  again: {found.again}",
    ]
