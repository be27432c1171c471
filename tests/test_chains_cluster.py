"""The same bits from a dask cluster and from MPI, both started here and stopped again."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refimpl import chains
from tests.runs import by_hand, run
from tests.test_chains import same

ROOT = Path(__file__).resolve().parent.parent
STEPS = 40
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a scheduler on this machine with two workers of one thread."""
    pytest.importorskip("distributed", reason="dask is in the extra 'distributed'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("dask")
    dask = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    worker = [*dask, "worker", *here, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder), address]
    commands = [[*dask, "scheduler", *here, "--port", str(port)], worker, worker]
    with open(folder / "log", "wb") as log:
        processes = [subprocess.Popen(c, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log) for c in commands]
        try:
            wait_for_workers(address, 2)
            yield address
        finally:
            for process in reversed(processes):  # the workers while their scheduler still answers
                stop(process)


def stop(process):
    """End a process of dask; one that does not mind is not what is tested here."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_workers(address, number):
    from distributed import Client

    end = time.monotonic() + 300
    while True:
        try:
            with Client(address, timeout="20s") as client:
                client.wait_for_workers(number, timeout=600)
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed", "ignore::ResourceWarning")
def test_dask_has_the_same_bits(scheduler, tmp_path):
    out = run(tmp_path / "run", STEPS // 2, executor=f"dask:{scheduler}")
    assert len(chains.read_manifest(out)["blocks"]) == 2
    run(out, STEPS, executor=f"dask:{scheduler}", resume=True)
    same(chains.load(out), by_hand(STEPS)[0])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_scheduler_that_is_not_there_is_an_error(tmp_path):
    pytest.importorskip("distributed", reason="dask is in the extra 'distributed'")
    with pytest.raises(OSError, match=r"got no dask scheduler at 'tcp://127\.0\.0\.1:9'"):
        run(tmp_path / "run", 3, executor="dask:tcp://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def mpi(*command, ranks=3):
    found = shutil.which(
        "mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if found is None or not importlib.util.find_spec("mpi4py"):
        pytest.skip("mpi4py is in the extra 'distributed', an MPI is not")
    argv = [found, "-n", str(ranks), sys.executable, "-m", "mpi4py.futures", "-m", *command]
    return subprocess.run(argv, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)


def test_mpi_has_the_same_bits(tmp_path):
    done = mpi("tests.runs", str(tmp_path / "run"), "new", str(STEPS), "mpi", "2")
    assert done.returncode == 0, done.stderr
    assert len(chains.read_manifest(tmp_path / "run")["blocks"]) == 2
    same(chains.load(tmp_path / "run"), by_hand(STEPS)[0])


def test_the_command_line_runs_under_mpi(tmp_path):
    options = ["--beta", "2", "--shape", "4", "4", "--chains", "6", "--trajectories", "20"]
    done = mpi("refimpl", "sample", "u1", *options, "--executor", "mpi", "--out", str(tmp_path / "mpi"))
    assert done.returncode == 0, done.stderr
    assert "20 trajectories of 6 chains" in done.stdout
    from refimpl.cli import main

    assert main(["sample", "u1", *options, "--executor", "thread", "--out", str(tmp_path / "threads")]) == 0
    same(chains.load(tmp_path / "mpi"), chains.load(tmp_path / "threads"))


def test_mpi_without_its_runner_is_refused_and_does_not_wait(tmp_path):
    pytest.importorskip("mpi4py", reason="mpi4py is in the extra 'distributed'")
    code = f"from tests.runs import run; run({str(tmp_path / 'run')!r}, 3, executor='mpi')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 1
    assert (
        "expected a start with mpiexec -n N python -m mpi4py.futures" in done.stderr
        or "library is missing" in done.stderr
    )
    assert not list(tmp_path.iterdir())
