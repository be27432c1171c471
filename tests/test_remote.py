"""Targets in other processes: what they may do wrong, that nothing of them stays, and that transcripts judge as they did."""

import hashlib
import json
import os
import shlex
import signal
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.cli.arguments import seconds
from refimpl.cli.harness import megabytes
from refimpl.validation import check_target
from refimpl.validation.contract import Subject, TargetError, TargetFault
from refimpl.validation.conversion import Declined, Raised
from refimpl.validation.remote import MOST_RESTARTS, remote_target
from refimpl.validation.targets import target_named
from refimpl.validation.transcripts import played, recorded

MISBEHAVING = Path(__file__).resolve().parent / "targets" / "misbehaving.py"
X = np.zeros((3, 2, 2, 2))
BEFORE: list[str] = []  # processes of this one when a test starts


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Run folders go to a folder of this test, which is empty again afterwards, whatever happened in it."""
    runs = tmp_path / "runs"
    runs.mkdir()
    monkeypatch.setattr("refimpl.validation.run_folder._MEMORY", str(runs))
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    monkeypatch.setattr("refimpl.validation.remote.GRACE", 0.2)
    BEFORE[:] = processes()
    yield tmp_path
    assert [path for path in runs.iterdir() if not path.name.endswith(".moved")] == []


def command(mode):
    return shlex.join([sys.executable, "-I", "-S", str(MISBEHAVING), mode])


def subject(mode, deadline=20.0, **parameters):
    return Subject(remote_target(command(mode)), deadline=deadline, parameters=parameters)


def ended(at):
    at.target._source.close()


def children():
    """Processes of this one that run or are not waited for, but for those that other tests left, as multiprocessing's tracker."""
    return [number for number in processes() if number not in BEFORE]


def processes():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_an_honest_process_answers_and_nothing_stays(here):
    at = subject("honest")
    assert at.name == "misbehaving"
    assert at.capabilities == ("action",)
    assert at.theory.declared() == {"beta": 2.0, "shape": (2, 2)}
    for n in (1, 3, 1000):
        np.testing.assert_array_equal(at.action(np.zeros((n, 2, 2, 2))), np.zeros(n))
    assert len(list((here / "runs").iterdir())) == 1
    assert [path.name for folder in (here / "runs").iterdir() for path in folder.iterdir()] == []
    ended(at)
    assert list((here / "runs").iterdir()) == []


def test_processes_end_with_their_target(here):
    at = subject("honest")
    at.action(X)
    assert len(children()) == 1
    del at
    assert children() == []


@pytest.mark.parametrize("mode", ["does-not-stop", "silent"])
def test_what_does_not_stop_is_killed_with_all_that_it_started(mode, here):
    at = subject(mode)
    at.target.deadline = 0.5  # of what follows: starting may take longer
    (leader,) = children()
    if mode == "silent":
        with pytest.raises(TargetFault, match=r"action: the process did not answer within 0\.5 s \(--deadline\)"):
            at.action(X)
    ended(at)
    assert children() == []
    assert list(running(leader)) == []


def running(leader):
    """Processes of this group that are not dead, wherever they hang in the tree."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if group == leader and state not in "ZX":
            yield path.parent.name


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("exits", "the process exited with code 7 before it answered; standard error ends with: beta: out of range | abort"),
        ("exits-before-its-child", "the process exited with code 7 before it answered"),
        ("segfault", "the process was ended by SIGSEGV"),
        ("closes", "the process closed its standard output"),
        ("half-a-line", 'exited with code 0 in the middle of a line, \'{"status":"ok","id"\','),
        ("hangs-in-line", 'did not answer within 0.3 s (--deadline): got \'{"status":"ok","id"\' without a newline'),
        ("chatty", "got 'step 1 of 10', expected a line with one JSON object"),
        ("megabytes", "expected at most 1048576 bytes a line; standard output is for answers"),
        ("not-utf8", "expected UTF-8: invalid start byte at byte 20"),
        ("wrong-id", "id: got 99, expected 1"),
        ("key-twice", "got the key 'status' twice"),
        ("nothing", "got '', expected a line with one JSON object"),
        ("list", "expected a JSON object"),
        ("deep", "nested too deep"),
    ],
)  # fmt: skip
def test_a_broken_protocol_or_process_is_a_fault_that_says_so(mode, message, here):
    at = subject(mode)
    if mode == "hangs-in-line":
        at.target.deadline = 0.3  # of what follows: starting may take longer
    with pytest.raises(TargetFault) as fault:
        at.action(X)
    assert message in str(fault.value)
    assert children() == []
    ended(at)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no-file", "action: action: got no file 1.action.npy to read (No such file or directory)"),
        ("wrong-shape", "action: got shape (3, 2), expected (3,)"),
        ("nan", "action: got 3 NaN or infinite values"),
        ("short", "got 0 bytes behind the header, expected 24"),
        ("huge", "got 24 bytes behind the header, expected 2399999999999999999999976"),
        ("negative", "shape (-1, -3)"),
        ("objects", "got numbers of type object"),
        ("complex", "got dtype complex128"),
        ("text", "got no header of a .npy file"),
        ("link", "got no file 1.action.npy to read (Too many levels of symbolic links)"),
        ("hard-link", "expected one that is no link, pipe or folder"),
        ("pipe", "expected one that is no link, pipe or folder"),
        ("folder", "expected one that is no link, pipe or folder"),
        ("errs", "action: the target says: half \\ud800 char"),
    ],
)
def test_a_wrong_file_is_a_fault_and_the_process_lives_on(mode, message, here):
    at = subject(mode)
    (process,) = children()
    for again in range(2):
        with pytest.raises(TargetFault) as fault:
            at.action(X)
        assert message.replace("1.action", f"{again + 1}.action") in str(fault.value)
        assert isinstance(fault.value, Raised) == (mode == "errs")
    assert children() == [process]
    assert not Path("evil").exists()
    ended(at)


@pytest.mark.parametrize("mode", ["noisy", "int32", "plants-links", "moves-folder"])
def test_what_does_no_harm_is_no_fault(mode, here):
    outside = sorted(os.listdir(here))
    at = subject(mode)
    for _ in range(1 if mode == "moves-folder" else 3):
        np.testing.assert_array_equal(at.action(X), np.zeros(3))
    if (
        mode == "moves-folder"
    ):  # the next array is written into the folder that was opened at start, not where its name leads
        with pytest.raises(TargetFault):
            at.action(X)
        for link in (here / "runs").iterdir():
            if link.is_symlink():
                link.unlink()
    ended(at)
    assert sorted(os.listdir(here)) == outside


def test_a_line_too_many_is_found_with_the_next_answer(here):
    at = subject("twice")
    at.action(X)
    with pytest.raises(TargetFault, match=r"before it was asked, expected nothing|id: got 1, expected 2"):
        at.action(X)
    ended(at)


def test_a_process_is_started_again_after_a_crash(here):
    at = subject("once", beta=3.0)
    with pytest.raises(TargetFault, match="SIGSEGV"):
        at.action(X)
    np.testing.assert_array_equal(at.action(X), np.zeros(3))
    ended(at)


def test_a_process_that_always_crashes_is_left_alone_in_the_end(here):
    at = subject("exits")
    for _ in range(MOST_RESTARTS + 1):
        with pytest.raises(TargetFault, match="exited with code 7"):
            at.action(X)
    with pytest.raises(TargetFault, match="not called: the process has failed 4 times, at last it exited with code 7"):
        at.action(X)
    assert children() == []


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("dies-at-start", "exited with code 1 before it answered; standard error ends with: libgauge.so: cannot open"),
        ("chatty-at-start", "got 'Hello, this is my HMC', expected a line with one JSON object"),
        ("silent-at-start", "did not answer within 0.3 s"),
        ("no-protocol", "protocol: got null, expected 1"),
        ("unknown-op", "ops: got 'acton', expected 'action'"),
        ("no-beta", "parameters: got no beta, expected what u1 requires"),
        ("refuses", "start: no licence\\x1b[31m"),
    ],
)
def test_what_does_not_start_has_exit_code_3(mode, message, here, capsys):
    deadline = "0.3" if mode == "silent-at-start" else "20"
    assert main(["validate", f"cmd:{command(mode)}", "--level", "smoke", "--deadline", deadline]) == 3
    assert message in capsys.readouterr().err
    assert children() == []


@pytest.mark.parametrize("program", ["", "no-such-program", "/", "'"])
def test_what_cannot_be_started_has_exit_code_3(program, here, capsys):
    assert main(["validate", f"cmd:{program}"]) == 3
    assert "TARGET: starting" in capsys.readouterr().err


def test_parameters_that_are_asked_for_are_in_force(here):
    at = subject("honest", beta=3.0, shape=(2, 4))
    assert at.theory.declared() == {"beta": 3.0, "shape": (2, 4)}
    assert at.replace(beta=1.0).theory.beta == 1.0
    assert at.replace(step_size=0.1) is None
    ended(at)
    with pytest.raises(TargetError, match=r"beta: got 2\.0, expected 3\.0 as it was asked for"):
        subject("ignores-beta", beta=3.0)


def test_few_processes_live_at_a_time(here):
    at = subject("honest")
    others = [at.replace(beta=float(beta)) for beta in range(1, 9)]
    for other in [*others, at]:
        np.testing.assert_array_equal(other.action(X), np.zeros(3))
        assert len(children()) <= 4
    ended(at)
    assert children() == []


def test_a_skip_keeps_its_reason(here):
    report = check_target(remote_target(command("skips")), select="static.action", seed=1)
    assert [v.status for v in report.verdicts] == ["skip"]
    assert "no action today" in report.verdicts[0].detail


def test_declining_is_a_skip_in_process_too():
    class Shy:
        theory, beta, shape = "u1", 2.0, (2, 2)

        def action(self, x):
            raise Declined("not on Mondays")

    (verdict,) = check_target(Shy(), select="static.action", seed=1).verdicts
    assert (verdict.status, verdict.detail) == ("skip", "not on Mondays")


def test_a_deadline_that_no_clock_takes_is_the_longest(here):
    assert seconds("1e300") == threading.TIMEOUT_MAX
    assert seconds("2.5") == 2.5
    assert main(["harness", "smoke", command("honest"), "--deadline", "1e300"]) in (0, 1)


def test_deadline_of_the_subject_is_the_one_in_force(here):
    at = subject("honest", deadline=7.0)
    assert at.target.deadline == 7.0
    assert at.replace(beta=1.0).target.deadline == 7.0
    ended(at)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_command_ends_its_processes(number, here, monkeypatch, capsys):
    def signalled(target, **_):
        Subject(target).action(X)
        assert len(list((here / "runs").iterdir())) == 1
        assert signal.getsignal(number) not in (signal.SIG_DFL, before)
        os.kill(os.getpid(), number)
        pytest.fail("went on")

    monkeypatch.setattr("refimpl.validation.check_target", signalled)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ending:
            main(["validate", f"cmd:{command('honest')}"])
        assert ending.value.code == 128 + number
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert f"ended by {signal.Signals(number).name}" in capsys.readouterr().err
    assert children() == []


# --- transcripts ------------------------------------------------------------------------------------------------------------
def verdicts(report):
    return [(v.check, v.status, v.quantity, v.value, v.bound, v.detail) for v in report.verdicts]


@pytest.mark.parametrize("mode", ["honest", "exits", "skips", "nan"])
def test_a_transcript_is_judged_as_its_process(mode, here):
    path, settings = here / "transcript.zip", {"level": "smoke"}
    factory = remote_target(command(mode))
    with recorded(factory, path, settings) as writing:
        first = check_target(writing, level="smoke", seed=5, select="static.[abt]*")
    factory.source.close()
    again = played(path)
    assert again.source.settings == settings
    assert verdicts(check_target(again, level="smoke", seed=5, select="static.[abt]*")) == verdicts(first)
    again.source.close()
    path.unlink()


def test_a_call_that_is_not_in_a_transcript_is_a_skip(here):
    path, factory = here / "transcript.zip", remote_target(command("honest"))
    with recorded(factory, path, {}) as writing:
        Subject(writing).action(X)
    factory.source.close()
    again = Subject(played(path))
    np.testing.assert_array_equal(again.action(X), np.zeros(3))
    for x in (X, X + 1):  # said once, and never said
        with pytest.raises(Declined, match="not in the transcript"):
            again.action(x)
    assert again.replace(beta=1.0) is None
    again.target._source.close()
    path.unlink()


def path_calls(path):
    """How many calls the file has."""
    with zipfile.ZipFile(path) as archive:
        return archive.read("transcript.jsonl").count(b'{"type":"run"')


@pytest.mark.parametrize(
    ("size", "told"), [(41_400_000, "41 MB"), (1_000_000, "1 MB"), (999_999, "1 MB"), (52_000, "0.05 MB")]
)
def test_sizes_are_told_in_megabytes(size, told):
    assert megabytes(size) == told


def test_transcripts_on_the_command_line(here, capsys):
    path, target = here / "t.zip", f"cmd:{command('honest')}"
    assert (
        main(
            [
                "validate",
                target,
                "--level",
                "smoke",
                "-k",
                "static.translation",
                "--transcript",
                str(path),
                "--beta",
                "1.5",
            ]
        )
        == 0
    )
    recording, told = capsys.readouterr()
    calls = path_calls(path)
    assert calls > 0
    assert f"refimpl: {path}, {path.stat().st_size / 1e6:.1g} MB, {calls} calls\n" in told
    assert main(["validate", f"transcript:{path}"]) == 0
    said = capsys.readouterr().out
    assert "beta = 1.5" in said
    timeless = [[line for line in text.splitlines() if "in all;" not in line] for text in (recording, said)]
    assert timeless[0] == timeless[1]
    assert main(["validate", f"transcript:{path}", "--beta", "2.5"]) == 2
    assert main(["validate", f"transcript:{path}", "--transcript", str(here / "u.zip")]) == 2
    assert main(["validate", "builtin:u1", "--transcript", str(here / "u.zip")]) == 2
    assert main(["validate", f"transcript:{here}"]) == 3
    path.write_bytes(path.read_bytes()[:-40])
    assert main(["validate", f"transcript:{path}"]) == 3
    path.unlink()


def test_a_damaged_array_of_a_transcript_is_found(here):
    path, factory = here / "t.zip", remote_target(command("honest"))
    with recorded(factory, path, {}) as writing:
        Subject(writing).action(X)
    factory.source.close()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.startswith("arrays/"))
    members[name] = members[name][:-1] + b"\x01"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(TargetError, match="another checksum"):
        target_named(f"transcript:{path}")
    path.unlink()


@pytest.mark.parametrize("given", [["--level", "standard"], ["--alpha", "1e-3"], ["--conventions", "minus-force"]])
def test_other_settings_than_those_of_a_transcript_are_refused(given, judged_transcript, capsys):
    assert main(["validate", f"transcript:{judged_transcript}", *given]) == 2
    assert f"{given[0]}: got" in capsys.readouterr().err


def test_a_transcript_keeps_conventions_and_known_failures(judged_transcript, monkeypatch):
    asked = {}
    monkeypatch.setattr("refimpl.validation.check_target", lambda *_, **options: asked.update(options) or sys.exit(9))
    same = ["--level", "smoke", "--alpha", "1e-6", "--conventions", "ours"]
    for given in ([], same):
        with pytest.raises(SystemExit):
            main(["validate", f"transcript:{judged_transcript}", *given])
        got = {name: asked[name] for name in ("level", "alpha", "conventions", "expected_failures")}
        known = {"static.translation": "known"}
        assert got == {"level": "smoke", "alpha": 1e-6, "conventions": "ours", "expected_failures": known}


@pytest.fixture
def judged_transcript(here):
    known, path = here / "known.json", here / "judged.zip"
    known.write_text('{"static.translation": "known"}')
    options = ["--level", "smoke", "-k", "static.translation", "--conventions", "ours", "--xfail", str(known)]
    assert (
        main(["validate", f"cmd:{command('honest')}", *options, "--transcript", str(path)]) == 1
    )  # passes unexpectedly
    return path


def rewritten(path, change):
    """The transcript with other lines."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["transcript.jsonl"] = b"".join(change(members["transcript.jsonl"].splitlines(keepends=True)))
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return changed


@pytest.fixture
def transcript(here):
    path, factory = here / "t.zip", remote_target(command("honest"))
    with recorded(factory, path, {}) as writing:
        Subject(writing).action(X)
    factory.source.close()
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "the end is missing"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "the end is missing"),
        (lambda lines: [], "the end is missing"),
        (lambda lines: [*lines[:-2], lines[-1]], "lines were cut out"),
        (lambda lines: [*lines[:-1], lines[-2], lines[-1]], "lines were cut out, added"),
        (lambda lines: [*lines[:-2], lines[-2].replace(b'"out"', b'"Out"'), lines[-1]], "another checksum"),
    ],
)
def test_a_transcript_with_lines_cut_out_or_edited_is_refused(change, message, transcript, capsys):
    assert main(["validate", f"transcript:{rewritten(transcript, change)}"]) == 3
    assert message in capsys.readouterr().err


def ended_again(lines):
    """Messages with a last line that fits, as who edits them on purpose would write it."""
    content = b"".join(lines)
    end = {"type": "end", "count": len(lines), "sha256": hashlib.sha256(content).hexdigest()}
    return [content, json.dumps(end).encode() + b"\n"]


def test_results_of_a_transcript_are_arrays(transcript, capsys):
    def renamed(lines):
        message = json.loads(lines[-2])
        message["out"] = {"action": "transcript.jsonl"}
        return ended_again([*lines[:-2], json.dumps(message).encode() + b"\n"])

    assert main(["validate", f"transcript:{rewritten(transcript, renamed)}"]) == 3
    assert "results that are not in the archive" in capsys.readouterr().err
    played(rewritten(transcript, lambda lines: ended_again(lines[:-1]))).source.close()


def test_kept_folders_have_all_files(here):
    kept = here / "kept"
    kept.mkdir()
    main(["validate", f"cmd:{command('honest')}", "--level", "smoke", "-k", "static.translation", "--keep", str(kept)])
    names = {path.name for path in kept.glob("run-*/*")}
    assert {"1.x.npy", "1.action.npy"} <= names
    assert main(["validate", f"cmd:{command('honest')}", "--keep", str(here / "none")]) == 2
