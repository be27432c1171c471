"""All built-in targets by one command: which, in which order, what is refused, and that its processes end with it."""

import json
import signal
import subprocess
import sys
import time

import pytest

import refimpl
from refimpl.cli import main
from refimpl.validation import peer_runs
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.peer_runs import Outcome
from refimpl.validation.report import FAILED, NOTHING_RAN, OK, USAGE, Report
from refimpl.validation.side_by_side import Children, Ended, side_by_side
from refimpl.validation.verdict import Verdict

PASSED = Verdict("pass", "error", 1e-15, 1e-12, "an error of 1e-12", 4, check="static.action")
WRONG = Verdict("fail", "max |a - b|", 3e-3, 1e-12, "", 4, check="maps.round_trip")
SKIPPED = Verdict("skip", "", check="maps.reversal")
SLEEPER = [sys.executable, "-S", "-c", "print('up', flush=True); import time; time.sleep(60)"]


@pytest.fixture
def judged(monkeypatch):
    """What was asked of each target, in order; the verdicts that it gets are those of its name, or a pass."""
    asked, verdicts = [], {}

    def found(peer, level, seed, deadline, children, options):
        asked.append((peer.target, level, seed, deadline, tuple(options)))
        got = verdicts.get(peer.target, (PASSED,))
        report = Report("fake", {"theory": "u1"}, level, seed, 1e-6, got, len(got), 130, 1.0) if got else None
        return Outcome(
            peer, peer.version, report, "" if got else "exit code 3: no", f"refimpl validate {peer.target}", 2
        )

    monkeypatch.setattr(peer_runs, "outcome_of", found)
    return asked, verdicts


def test_every_built_in_target_is_judged_once_the_dearest_first(judged, capsys):
    asked, _ = judged
    assert main(["validate", "builtin:all", "--level", "thorough", "--jobs", "1", "--seed", "5"]) == OK
    names = [target.removeprefix("builtin:") for target, *_ in asked]
    assert sorted(names) == sorted(BUILT_IN)
    assert names[: len(peer_runs.DEAREST)] == list(peer_runs.DEAREST)
    assert {tuple(about) for _, *about in asked} == {("thorough", 5, None, ())}
    said = capsys.readouterr()
    rows = said.out.splitlines()
    assert rows[0].split() == list(peer_runs.HEAD)
    assert [row.split()[2] for row in rows[1:]] == [f"builtin:{name}" for name in BUILT_IN]
    assert {row.split()[1] for row in rows[1:]} == {refimpl.__version__}
    lines = said.err.splitlines()
    assert lines[0] == f"refimpl: 1 of {len(BUILT_IN)}: builtin:{names[0]} passed, 2 s"
    assert lines[-1].startswith(f"refimpl: {len(BUILT_IN)} targets in 0 s, ")
    assert lines[-1].endswith(" s of CPU, seed 5")


def test_exit_codes_and_records(judged, tmp_path):
    asked, verdicts = judged
    file = tmp_path / "all.json"
    verdicts |= {"builtin:o2": (PASSED, WRONG), "builtin:gmm": (), "builtin:su2": (SKIPPED,)}
    given = ["--jobs", "3", "--format", "json", "--out", str(file), "-k", "maps", "--alpha", "0.01"]
    assert main(["validate", "builtin:all", *given]) == FAILED
    record = json.loads(file.read_text(encoding="utf-8"))
    assert (record["level"], record["jobs"], len(record["targets"])) == ("standard", 3, len(BUILT_IN))
    assert record["seed"] == asked[0][2]
    assert {a[4] for a in asked} == {("-k", "maps", "--alpha", "0.01")}
    status = {target["name"]: target["status"] for target in record["targets"]}
    assert (status["builtin:o2"], status["builtin:gmm"], status["builtin:su2"]) == ("failed", "crashed", "nothing")
    verdicts.update({f"builtin:{name}": (SKIPPED,) for name in BUILT_IN})
    assert main(["validate", "builtin:all"]) == NOTHING_RAN
    verdicts["builtin:u1"] = (PASSED,)
    assert main(["validate", "builtin:all"]) == OK


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--theory", "u1"], "--theory: got it with builtin:all, expected a single target"),
        (["--beta", "2"], "--beta: got it"),
        (["--steps", "2"], "--steps: got it"),
        (["--transcript", "f"], "--transcript: got it"),
        (["--keep", "d"], "--keep: got it"),
        (["--failures", "none"], "--failures: got it"),
        (["--conventions", "ours"], "--conventions: got it"),
        (["--xfail", "f"], "--xfail: got it"),
        (["--report", "html=f"], "--report: got it"),
        (["--format", "html"], "--format: got html with builtin:all, expected one of table, json, markdown"),
        (["--out", "no/such/folder/f"], "--out: got"),
    ],
)
def test_what_says_nothing_about_all_is_refused(judged, capsys, given, told):
    assert main(["validate", "builtin:all", *given]) == USAGE
    assert told in capsys.readouterr().err
    assert judged[0] == []


def test_jobs_are_for_all(capsys):
    assert main(["validate", "builtin:u1", "--jobs", "2"]) == USAGE
    assert "--jobs: got it with builtin:u1, expected builtin:all" in capsys.readouterr().err


def test_the_dearest_are_built_in_targets():
    assert set(peer_runs.DEAREST) <= set(BUILT_IN)
    assert len(set(peer_runs.DEAREST)) == len(peer_runs.DEAREST) > 0


def test_a_target_is_judged_with_the_options():
    (peer,) = peer_runs.built_in(["gaussian"])
    found = peer_runs.outcome_of(peer, "smoke", 4, None, Children(), ["-k", "static.force_gradient"])
    assert found.status == "passed"
    assert found.command == "refimpl validate builtin:gaussian --level smoke --seed 4 -k static.force_gradient"
    assert [v.check for v in found.report.verdicts] == ["static.force_gradient"]


def test_things_end_in_any_order_and_are_told_in_their_own():
    told = []
    out = side_by_side([0.02, 0.0], lambda s, _: (time.sleep(s), s)[1], 2, lambda done, s: told.append((done, s)))
    assert out == [0.02, 0.0]
    assert told == [(1, 0.0), (2, 0.02)]


@pytest.mark.parametrize("what", [KeyboardInterrupt, ValueError])
def test_processes_end_with_what_ends_the_command(what):
    codes, running = {}, []

    def work(name, children):
        if name == "quick":
            while len(children._running) < 1:
                time.sleep(0.01)
            running.extend(children._running)
            return name
        codes[name] = children.run(SLEEPER, {}).returncode
        return name

    def told(done, name):
        raise what

    with pytest.raises(what):
        side_by_side(["long", "quick", "later", "never"], work, 2, told)
    assert codes.pop("long") == -signal.SIGTERM
    assert codes.get("later", -signal.SIGTERM) == -signal.SIGTERM  # it may have begun before the end was told
    assert "never" not in codes
    assert running[0].poll() is not None


def test_no_process_begins_after_the_end():
    children = Children()
    children.end()
    with pytest.raises(Ended):
        children.run(SLEEPER, {})


def test_a_process_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr("refimpl.validation.side_by_side.GRACE", 0.05)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        Children().run([sys.executable, "-S", "-c", stubborn], {}, 0.3)
