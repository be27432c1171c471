"""Where blocks of chains are run: `concurrent.futures` executors by name, and how their workers are told to stop."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np

from ..files import PARTIAL
from ..lattice import check_integer
from .work import Position, Segment, Task, advance, segment_arrays, segment_from

NAMES = "process, thread, dask:ADDRESS, mpi, or a concurrent.futures.Executor"
# What BLAS libraries read when they are loaded; more threads than processors slow all workers down.
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# In a worker process: 1 when the run is to end. Shared memory without a lock, which a killed worker would take along.
_stop: Any = None

_environment = threading.Lock()  # it is one for all runs of this process


@dataclass
class Pool:
    """An executor with so many workers.

    ``stop``: makes running workers return after the step they are in, where they can be told. ``renew``: makes another executor
    when the processes behind this one have died, where that is possible. ``by_file``: workers return their segment in a file
    of the run folder: one that dies while it sends megabytes through the pipe of its pool would leave all others waiting.
    """

    executor: Executor
    workers: int
    work: Callable[..., Segment] = advance
    stop: Callable[[], None] | None = None
    renew: Callable[[], Executor] | None = None
    by_file: bool = False

    def submit(self, task: Task, position: Position, n_steps: int, seconds: float, folder: Path) -> Future[Any]:
        """Ask for `advance` in a worker; what the future has is for `segment`."""
        with _one_blas_thread(), _interrupts_later():  # processes are started here
            if self.by_file:
                return self.executor.submit(_advance, task, position, n_steps, seconds, folder)
            return self.executor.submit(self.work, task, position, n_steps, seconds)

    def segment(self, future: Future[Any]) -> Segment:
        """What a finished worker has done; raises what it raised."""
        result = future.result()
        if not self.by_file:
            assert isinstance(result, Segment)
            return result
        with np.load(result, allow_pickle=False) as archive:
            segment = segment_from({key: archive[key] for key in archive.files})
        os.unlink(result)
        return segment

    def replace(self) -> None:
        """New processes for those that died."""
        assert self.renew is not None
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.executor = self.renew()


@contextmanager
def opened(executor: str | Executor | None, workers: int | None) -> Iterator[Pool]:
    """The pool of an executor given by name (None: process) or ready made; what is made here is closed again.

    ``workers``: by default the processors this process may use, the threads of a dask cluster, or the workers of MPI.

    Raises
    ------
    ValueError : an unknown name, fewer than one worker, or a cluster without any. ImportError : an engine that is not installed.
    OSError : a dask scheduler that does not answer.
    """
    if workers is not None:
        check_integer("workers", workers, 1)
    number = workers or processors()
    if isinstance(executor, Executor):
        yield Pool(executor, number)
    elif executor in (None, "process"):
        context = multiprocessing.get_context("spawn")
        flag = context.RawValue("b", 0)

        def make() -> Executor:
            return ProcessPoolExecutor(number, context, _start_worker, (flag,))

        pool = Pool(make(), number, advance, functools.partial(setattr, flag, "value", 1), make, by_file=True)
        try:
            yield pool
        finally:
            pool.executor.shutdown(cancel_futures=True)
    elif executor == "thread":
        event = threading.Event()
        with ThreadPoolExecutor(number) as threads:
            yield Pool(threads, number, functools.partial(advance, stop=event.is_set), event.set)
    elif executor == "mpi":
        with _mpi() as (ranks, size):
            yield Pool(ranks, workers or size)
    elif isinstance(executor, str) and executor.startswith("dask:"):
        with _dask(executor.removeprefix("dask:")) as (cluster, size):
            yield Pool(cluster, workers or size)
    else:
        raise ValueError(f"executor: got {executor!r}, expected {NAMES}")


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    """Executor and number of threads of a dask cluster."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("executor: dask is not installed, pip install 'refimpl[distributed]'") from error
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise OSError(
            f"executor: got no dask scheduler at {address!r} ({error}), expected an address like tcp://host:8786"
        ) from error
    with client:
        size = sum(client.nthreads().values())
        if not size:
            raise ValueError(f"executor: got a dask scheduler at {address!r} without workers, expected at least one")
        yield client.get_executor(pure=False), size


@contextmanager
def _mpi() -> Iterator[tuple[Executor, int]]:
    """Executor and number of workers of MPI."""
    try:
        from mpi4py import futures
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no MPI library
        raise ImportError(
            f"executor: mpi4py or an MPI library is missing ({error}): pip install 'refimpl[distributed]', and an MPI"
        ) from error
    from mpi4py import MPI
    from mpi4py.futures import _core

    # Without its runner mpi4py starts processes of its own, and waits for ever where it cannot.
    if MPI.COMM_WORLD.Get_size() < 2 or getattr(_core, "SharedPool", True) is None:
        raise ValueError(
            "executor: got no MPI workers, expected a start with mpiexec -n N python -m mpi4py.futures -m refimpl ..., N at least 2"
        )
    with futures.MPIPoolExecutor() as ranks:
        yield ranks, ranks.num_workers


def _advance(task: Task, position: Position, n_steps: int, seconds: float, folder: Path) -> str:
    """In a worker process: the segment in a new file, whose name is returned."""
    segment = advance(task, position, n_steps, seconds, lambda: bool(_stop.value))
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=".npz", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **segment_arrays(segment))
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):  # it does not say where
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise
    return name


def _start_worker(stop: Any) -> None:
    """Begin a worker process: it returns by ``stop`` and not by Ctrl-C, and it ends when its parent does, however that ends."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # signals to the whole group of the parent, as batch systems send them, are the parent's affair
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits: processes that are started meanwhile never see one, not even before they are ready to ignore it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Processes started meanwhile have one BLAS thread each."""
    with _environment:
        before = {name: os.environ.get(name) for name in BLAS_THREADS}
        os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def processors() -> int:
    """As many as the machine gives this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
