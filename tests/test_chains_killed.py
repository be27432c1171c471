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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes in /proc"),
]

ROOT = Path(__file__).resolve().parent.parent
STEPS = 600  # most of a second, more than the start of the processes takes


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


def gone(numbers, seconds=120):
    end = time.monotonic() + seconds
    while any("spawn_main" in command_line(number) for number in numbers):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def started(process, out):
    """Wait until something of the run is on disk, or it has ended."""
    end = time.monotonic() + 300
    while process.poll() is None and not list(Path(out).glob("block-*/index.json")) and time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def expected():
    return by_hand(STEPS)[0]


KILLS = st.lists(
    st.tuples(st.sampled_from(["worker", "parent", "interrupt", "terminate"]), st.floats(0, 0.5)),
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
            _, error = process.communicate(timeout=600)
            assert gone(workers)
            if kind == "worker":
                assert process.returncode == 0, error.decode()
            how = "resume" if out.exists() else "new"
        process = begin(out, how)
        _, error = process.communicate(timeout=600)
        assert process.returncode == 0, error.decode()
        same(chains.load(out), expected)
        assert not list(out.rglob(".partial-*"))


ENDLESS = 10**6  # it is killed long before


@pytest.mark.parametrize("kind", ["worker", "parent", "interrupt"])
def test_each_kind_of_kill_in_the_middle_of_a_run(tmp_path, expected, kind):
    out = tmp_path / "run"
    process = begin(out, "new", STEPS if kind == "worker" else ENDLESS)
    started(process, out)
    workers = workers_of(process)
    if kind == "worker":
        if workers:
            os.kill(workers[-1], signal.SIGKILL)
    elif kind == "parent":
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert gone(workers)  # also when the parent could not see to it
    if kind == "worker":
        assert process.returncode == 0, error.decode()
        same(chains.load(out), expected)
        return
    assert len(workers) == 2
    assert process.returncode != 0
    manifest = chains.folder.read_manifest(out)
    done = max(chains.folder.read_block(out, manifest, number).step for number in range(2))
    assert done > 0
    if kind == "interrupt":
        assert error.decode().count("Traceback (most recent call last)") == 1
        assert "KeyboardInterrupt" in error.decode()
    process = begin(out, "resume", done + 20)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error.decode()
    same(chains.load(out), by_hand(done + 20)[0])


def test_a_signal_to_the_whole_group_ends_a_run_with_many_blocks_and_saves_it(tmp_path):
    """As batch systems do it; more blocks than workers, so that some wait in the queue of the pool."""
    out = tmp_path / "run"
    process = begin(out, "many", ENDLESS)
    started(process, out)
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=600)
    assert gone(workers)
    assert process.returncode == 130, error.decode()
    assert not list(out.glob(".partial-*"))


def settle(workers, seconds=60):
    """Wait until the processes have nothing more to do, or cannot do it."""

    def used():  # user and system time
        return [Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[11:13] for number in workers]

    end, before = time.monotonic() + seconds, None
    while before != (before := used()) and time.monotonic() < end:
        time.sleep(1.0)


LARGE = 4000  # two segments or more of 16 MB for each of two workers


def test_a_worker_killed_while_it_sends_does_not_hang_the_run(tmp_path):
    """The parent is stopped, so that workers that send megabytes through a pipe have to wait: they are killed then."""
    out = tmp_path / "run"
    process = begin(out, "large", LARGE)
    started(process, out)
    time.sleep(0.4)  # workers have a second of work again
    assert process.poll() is None
    os.kill(process.pid, signal.SIGSTOP)
    workers = workers_of(process)
    settle(workers)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    os.kill(process.pid, signal.SIGCONT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error.decode()
    assert chains.read_manifest(out)["done"] == LARGE
