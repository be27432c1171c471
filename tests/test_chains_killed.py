"""Runs whose processes are killed at random moments: resumed, they have the bits of a run that was left in peace."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refimpl import chains
from tests.runs import by_hand
from tests.test_chains import same

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes in /proc")

ROOT = Path(__file__).resolve().parent.parent
STEPS = 1000  # a second or two, more than the start of the processes takes


def begin(out, how, steps=STEPS, executor="process"):
    command = [sys.executable, "-m", "tests.runs", str(out), how, str(steps), executor, "2"]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )


def workers_of(process):
    """Process numbers of the workers (not of the process that cleans up shared memory)."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent_of(path) == process.pid]
    return [number for number in numbers if "spawn_main" in command_line(number)]


def parent_of(path):
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return None


def command_line(number):
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def gone(numbers, seconds=20):
    end = time.monotonic() + seconds
    while any("spawn_main" in command_line(number) for number in numbers):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def started(process, out):
    """Wait until something of the run is on disk, or it has ended."""
    while process.poll() is None and not list(Path(out).glob("block-*/index.json")):
        time.sleep(0.01)


@pytest.fixture(scope="module")
def expected():
    return by_hand(STEPS)[0]


KILLS = st.lists(
    st.tuples(st.sampled_from(["worker", "parent", "interrupt", "terminate"]), st.floats(0, 0.8)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kills=KILLS)
def test_a_run_that_is_killed_and_resumed_has_the_same_bits(expected, kills):
    with tempfile.TemporaryDirectory() as folder:
        out, how = Path(folder) / "run", "new"
        for kind, delay in kills:
            process = begin(out, how)
            started(process, out)
            time.sleep(delay)
            workers = workers_of(process)
            if kind == "worker" and workers:
                os.kill(workers[0], signal.SIGKILL)  # replaced; the run goes on by itself
            elif kind != "worker":
                number = {"parent": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}[kind]
                os.killpg(process.pid, number) if kind == "interrupt" else os.kill(process.pid, number)
            _, error = process.communicate(timeout=120)
            assert gone(workers)
            if kind == "worker":
                assert process.returncode == 0, error.decode()
            how = "resume" if out.exists() else "new"
        process = begin(out, how)
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()
        same(chains.load(out), expected)
        assert not list(out.rglob(".partial-*"))


@pytest.mark.parametrize("kind", ["worker", "parent", "interrupt"])
def test_each_kind_of_kill_in_the_middle_of_a_run(tmp_path, expected, kind):
    out = tmp_path / "run"
    process = begin(out, "new")
    started(process, out)
    workers = workers_of(process)
    assert len(workers) == 2
    assert process.poll() is None
    if kind == "worker":
        os.kill(workers[1], signal.SIGKILL)
    elif kind == "parent":
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert gone(workers)  # also when the parent could not see to it
    if kind == "worker":
        assert process.returncode == 0, error.decode()
    else:
        assert process.returncode != 0
        assert 0 < max(chains.folder.read_block(out, i).step for i in range(2)) < STEPS
    if kind == "interrupt":
        assert error.decode().count("Traceback (most recent call last)") == 1
        assert "KeyboardInterrupt" in error.decode()
    process = begin(out, "resume")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error.decode()
    same(chains.load(out), expected)
