"""Runs of many chains: blocks of chains go to workers and come back as segments, which are written as they come."""

from __future__ import annotations

import itertools
import json
import logging
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import Cycle, Kernel
from ..kernels.metropolis import BLOCK_ELEMENTS
from ..lattice import check_integer, check_number
from . import folder as files
from .description import description, differences, machine, versions
from .executors import Pool, opened
from .work import Observables, Position, Segment, Task, advance, observable_names, series_names, start_position

Array = NDArray[np.float64]

SEGMENT_BYTES = 1 << 24  # of records in a segment: what one worker holds in memory before it is written
LEAST_ELEMENTS, MOST_SPARE = 4096, 32  # numbers of the fields in a block; blocks beyond the number of workers
LOGGER = logging.getLogger(__name__)
FIRST_SHOWN = 2.0  # seconds until there is a bar: short runs have none; it is shown though no segment has come back yet
ATTEMPTS = 3  # how often processes are replaced that die without having got anywhere


class RunError(RuntimeError):
    """A run that had to end: a kernel that raised, or workers that died. What it had done before is kept."""


def run(
    kernel: Kernel,
    start: Array | Callable[[np.random.Generator, int], Array] | None,
    *,
    n_chains: int,
    n_steps: int,
    seed: int,
    out: str | os.PathLike[str],
    observables: Observables,
    record: Sequence[str] = ("accepted", "delta_h"),
    record_every: int = 1,
    save_every: int = 0,
    executor: str | Executor | None = None,
    workers: int | None = None,
    resume: bool = False,
    configuration: Mapping[str, Any] | None = None,
    attachments: Mapping[str, bytes] | None = None,
    segment_seconds: float = 60.0,
    progress: bool = False,
) -> Path:
    """Run chains in parallel into a folder (see `refimpl.chains.folder`), which is returned; `refimpl.chains.load` reads it.

    Every chain has its own Generator, spawned from the seed: its bits do not depend on executor, workers, blocks, or
    interruptions. What was done when a run is interrupted, in whatever way, is in the folder but for the last segments, and
    ``resume`` goes on from there; so is a finished run extended. A worker process that dies is replaced (of the executors that
    are made here; one that is ready made is the caller's to care for).

    With processes (the default), MPI or dask, kernel and observables must be picklable, which the package's own are, and a
    script must call this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    kernel : of `refimpl.kernels`, or of the same shape. start : fields ``(n_chains, ...)``, or a function ``(rng, n) -> x`` of a
        Generator (from the seed); not used, and may be None, with ``resume``.
    observables : name -> function ``x -> (chain,)`` of the fields; or a tuple of names -> function that returns as many arrays.
    record : attributes of the kernel's `Info` or `State`. ``action`` is what the state holds: of the whole target, but for
        `NestedHMC` with pseudofermions that of the other terms alone (``state_action``), and for `PseudomarginalMetropolis`
        the estimate. A `Cycle` of kernels that differ in it is refused ``action``; an observable can compute either.
    record_every, save_every : steps between records, and between saved fields (0: none are saved).
    executor : "process", "thread", "dask:ADDRESS", "mpi", or any `concurrent.futures.Executor`. workers : default: what there is.
    configuration : what else the caller wants to be the same when the run is resumed; JSON. With the keys ``theory``,
        ``parameters`` and ``start`` of the command line, `refimpl analyse` knows the exact values.
    attachments : files to be put into the folder when it is made, by name.
    segment_seconds : the longest time between two saves of a block. progress : a bar on the standard error of a terminal.

    Raises
    ------
    ValueError : bad arguments; a folder that exists (without ``resume``), that is in use, or whose run was another (the message
    shows the difference). DamagedError : a file of the run that is not what was written. RunError : a kernel that raised, with the
    traceback of the worker; workers that keep dying. OSError : a folder that cannot be written. KeyboardInterrupt : after what
    processes or threads had done was saved.
    """
    n_chains, n_steps, seed, record_every, save_every = (
        check_integer(name, value, least)
        for name, value, least in (
            ("n_chains", n_chains, 1), ("n_steps", n_steps, 1), ("seed", seed, 0),
            ("record_every", record_every, 1), ("save_every", save_every, 0),
        )
    )  # fmt: skip
    check_number("segment_seconds", segment_seconds, 0)
    folder, task = _checked(kernel, observables, record, record_every, save_every, out)
    configuration = _as_json(configuration or {})
    with ExitStack() as stack:
        if resume:
            files.read_manifest(folder)  # is there one?
            stack.enter_context(files.locked(folder))
            manifest, x = _old(folder, task, n_chains, seed, configuration)
        elif folder.exists() or folder.is_symlink():
            raise ValueError(f"out: got {str(out)!r}, which exists already; expected a new folder, or resume")
        elif record_every > n_steps:
            raise ValueError(f"record_every: got {record_every}, expected at most n_steps = {n_steps}")
        else:
            manifest, x = None, _start(start, n_chains, seed)
        pool = stack.enter_context(opened(executor, workers))
        series = _trial(task, start_position(kernel, x[:1], seed))
        if executor != "thread" and not isinstance(executor, ThreadPoolExecutor):
            _check_picklable(task)
        if manifest is None:
            blocks = _blocks(n_chains, x[0].size, pool.workers)
            _check_workers(workers, len(blocks))
            manifest = files.Manifest(
                n_chains, n_steps, seed, record_every, save_every, description(kernel), configuration, series,
                blocks, versions(), machine(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "",
            )  # fmt: skip
            manifest = files.create(folder, manifest, x, attachments or {})
            stack.enter_context(files.locked(folder))
        else:
            _check_workers(workers, len(manifest.blocks))
            manifest = _extended(folder, manifest, n_steps)
        _Run(folder, manifest, task, x, pool, segment_seconds, progress).go()
    return folder


class _Run:
    """The loop of a run: every block is either in a worker or done; what comes back is written by this process alone."""

    def __init__(
        self,
        folder: Path,
        manifest: files.Manifest,
        task: Task,
        x: Array,
        pool: Pool,
        limit: float,
        progress: bool,
    ) -> None:
        from tqdm import tqdm  # workers, which import this module too, start sooner without

        self.folder, self.manifest, self.task, self.pool, self.limit = folder, manifest, task, pool, limit
        self.blocks = [files.read_block(folder, manifest, number) for number in range(len(manifest.blocks))]
        for number, block in enumerate(self.blocks):
            files.verify(folder, number, block)
        self.positions = {
            number: files.read_position(folder, number, block)
            if block.step
            else start_position(task.kernel, x[slice(*block.chains)], manifest.seed, block.chains[0])
            for number, block in enumerate(self.blocks)
            if block.step < manifest.n_steps
        }
        files.clean(folder, self.blocks)
        self.pending: dict[Future[Any], int] = {}
        self.begun = time.monotonic()
        self.bar = tqdm(
            total=manifest.n_chains * manifest.n_steps,
            initial=sum(block.step * _size(block) for block in self.blocks),
            desc="chains", unit=" trajectories", disable=None if progress else True, file=sys.stderr, delay=FIRST_SHOWN,
        )  # fmt: skip

    def go(self) -> None:
        """Run all blocks to the end; on an error or a Ctrl-C let the workers return, and keep what they have done."""
        deaths = 0
        try:
            while True:
                try:
                    for number in set(self.positions) - set(self.pending.values()):
                        self._submit(number)
                    if not self.pending:
                        return
                    longest = None if self.bar.disable else FIRST_SHOWN
                    finished = wait(self.pending, timeout=longest, return_when=FIRST_COMPLETED).done
                    if not finished:
                        self.bar.refresh()  # the time goes on, also where a step takes long
                    for future in finished:
                        self._collect(future)
                        deaths = 0
                except BrokenExecutor as error:
                    deaths += 1
                    if self.pool.renew is None:
                        raise RunError(
                            f"workers died ({error}), and an executor that is ready made is not renewed"
                        ) from error
                    if deaths > ATTEMPTS:
                        raise RunError(_DEATHS.format(error)) from error
                    LOGGER.warning("a worker process died: the work since the last segments is repeated")
                    self._replace_workers()
        except BaseException:
            self._finish()
            raise
        finally:
            self.bar.close()

    def _submit(self, number: int) -> None:
        position, size = self.positions[number], _size(self.blocks[number])
        row = size * sum(np.dtype(kind).itemsize for kind in self.manifest.series.values())
        steps = max(1, SEGMENT_BYTES // max(row, 1)) * self.manifest.record_every
        if self.manifest.save_every:
            steps = min(steps, max(1, SEGMENT_BYTES // position.x.nbytes) * self.manifest.save_every)
        # Often at first, for those who watch; later a twentieth of what is done may be lost.
        seconds = min(self.limit, max(1.0, (time.monotonic() - self.begun) / 20))
        left = self.manifest.n_steps - position.step
        try:
            future = self.pool.submit(self.task, position, min(left, steps), seconds, self.folder)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise RunError(f"the executor takes no work: {error}") from error
        self.pending[future] = number

    def _collect(self, future: Future[Any]) -> None:
        """Write the segment of a finished future."""
        try:
            segment = self.pool.segment(future)
        except (BrokenExecutor, OSError):
            raise
        except Exception as error:  # every engine has errors of its own
            raise RunError(f"the executor failed ({type(error).__name__} {error}); was it stopped?") from error
        number = self.pending.pop(future)
        block = self.blocks[number]
        if segment.position.step > block.step:
            self._check_dtypes(segment)
            self.blocks[number] = files.write_segment(self.folder, number, block, segment)
            self.bar.update((segment.position.step - block.step) * _size(block))
            self.bar.set_postfix(acceptance=f"{segment.acceptance:.2f}", refresh=False)
            self.positions[number] = segment.position
        if segment.failure:
            a, b = block.chains
            raise RunError(
                f"step {segment.position.step + 1} of chains {a} to {b - 1} raised, in the worker:\n{segment.failure}"
            )
        if segment.position.step >= self.manifest.n_steps:
            del self.positions[number]

    def _check_dtypes(self, segment: Segment) -> None:
        """An observable that was a whole number at first and is none later would lose what is behind the point."""
        for name, values in segment.series.items():
            expected = np.dtype(self.manifest.series[name])
            if len(values) and not np.can_cast(values.dtype, expected, "safe"):
                raise RunError(
                    f"observables: got {values.dtype} for {name!r}, expected {expected} as at the first step"
                )

    def _replace_workers(self) -> None:
        """After the death of a worker, which takes the others of its pool along: keep what is done, begin the rest again."""
        self.pool.replace()
        for future in list(self.pending):
            if future.done() and not future.cancelled() and future.exception() is None:
                self._collect(future)
        self.pending = {}
        files.clean(self.folder, self.blocks)  # what the dead were writing

    def _finish(self) -> None:
        """Take what workers still return, if nothing else goes wrong."""
        if self.pool.stop is None:
            done = wait([future for future in self.pending if not future.cancel()], timeout=0).done
        else:  # not future.cancel(): a pool whose worker dies afterwards would leave the other futures waiting
            self.pool.stop()
            self.pool.executor.shutdown(wait=True, cancel_futures=True)
            done = {future for future in self.pending if future.done() and not future.cancelled()}
        for future in done:
            try:
                self._collect(future)
            except (RunError, BrokenExecutor, OSError):
                continue  # the first error is the one that is reported
        if self.pool.by_file:  # no worker is left
            files.clean(self.folder, self._written())

    def _written(self) -> list[files.Block]:
        """The blocks as they are on disk: a Ctrl-C may have come between a segment and its entry in ``blocks``."""
        return [files.read_block(self.folder, self.manifest, number) for number in range(len(self.blocks))]


def _size(block: files.Block) -> int:
    return block.chains[1] - block.chains[0]


_DEATHS = (
    "worker processes died ({}), again and again: out of memory, a crash in a library, or, in a script, a call of run that is "
    "not under `if __name__ == '__main__':`; executor='thread' shows what the kernel does"
)


def _checked(
    kernel: Any, observables: Any, record: Any, record_every: int, save_every: int, out: Any
) -> tuple[Path, Task]:
    """Folder and task; raises `ValueError` for what they cannot be made of."""
    for name in ("init", "step"):
        if not callable(getattr(kernel, name, None)):
            raise ValueError(f"kernel: got {kernel!r:.80}, expected an object with init and step")
    if not isinstance(observables, Mapping) or not all(map(callable, observables.values())):
        raise ValueError(f"observables: got {observables!r:.80}, expected names and functions of the fields")
    if not isinstance(record, list | tuple):
        raise ValueError(f"record: got {record!r:.80}, expected a list of names")
    if not isinstance(out, str | os.PathLike) or not str(out):
        raise ValueError(f"out: got {out!r}, expected the name of a folder")
    if not Path(out).resolve().parent.is_dir():
        raise ValueError(f"out: got {str(out)!r}, expected a folder inside one that exists")
    if "action" in record and isinstance(kernel, Cycle) and not kernel.one_state_action:
        raise ValueError(
            "record: got 'action', which is not the same for all kernels of this Cycle (state_action), expected an observable "
            "that computes it"
        )
    task = Task(kernel, dict(observables), tuple(record), record_every, save_every)
    _check_names(task)
    return Path(out), task


def _start(start: Any, n_chains: int, seed: int) -> Array:
    if start is None:
        raise ValueError("start: got None, expected fields, or a function (rng, n) -> x; None goes with resume only")
    x = np.asarray(start(np.random.default_rng([seed, 1]), n_chains) if callable(start) else start)
    if x.ndim < 2 or len(x) != n_chains:
        raise ValueError(f"start: got fields of shape {x.shape}, expected (n_chains = {n_chains}, ...)")
    return x


def _trial(task: Task, position: Position) -> dict[str, str]:
    """One step of one chain in this process, whose result is not used: errors come before any work; the dtype of every series."""
    trial = advance(replace(task, record_every=1), position, 1, 0.0)
    if trial.failure:
        raise RunError(f"the first step raised:\n{trial.failure}")
    return {name: _wide(values.dtype).name for name, values in trial.series.items()}


def _as_json(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read again."""
    try:
        return dict(json.loads(json.dumps(dict(configuration), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"configuration: got {configuration!r:.80}, expected what JSON can hold ({error})") from error


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype({"i": np.int64, "u": np.uint64}.get(dtype.kind, dtype))


def _check_names(task: Task) -> None:
    if bad := [key for key in task.observables if not isinstance(key, str | tuple)]:
        raise ValueError(f"observables: got the key {bad[0]!r}, expected a name or a tuple of names")
    names = [*observable_names(task.observables), *task.record]
    taken = ("file", "allow_pickle", files.FIELDS)
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable() or name.endswith(".npy"):
            raise ValueError(f"observables, record: got the name {name!r:.120}, expected a word")
        if name in taken:
            raise ValueError(f"observables, record: got the name {name!r}, expected another than {', '.join(taken)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"observables, record: got {twice[0]!r} twice, expected every name once")
    if not names:
        raise ValueError("observables, record: got nothing to record, expected at least one name")


def _check_picklable(task: Task) -> None:
    for name, part in (("kernel", task.kernel), *((f"observables[{k!r}]", f) for k, f in task.observables.items())):
        try:
            pickle.dumps(part)
        except Exception as error:  # pickle raises whatever the object does
            raise ValueError(
                f"{name}: got what cannot be sent to a worker ({error}), expected a function or class at the top level of a "
                "module; or executor='thread'"
            ) from error


def _check_workers(workers: int | None, n_blocks: int) -> None:
    if workers is not None and workers > n_blocks:
        raise ValueError(
            f"workers: got {workers}, expected at most {n_blocks}: into so many blocks of chains the run was divided when it began"
        )


def _blocks(n_chains: int, size: int, workers: int) -> list[list[int]]:
    """Ranges of chains: as many for every worker, and more than there are workers, for a larger machine, where that costs nothing.

    Blocks of fewer than `LEAST_ELEMENTS` numbers waste time in NumPy calls; the kernels themselves work on `BLOCK_ELEMENTS`.
    """
    spare = min(MOST_SPARE, n_chains * size // LEAST_ELEMENTS)
    rounds = max(1, -(-n_chains * size // (workers * BLOCK_ELEMENTS)), spare // workers)
    number = min(n_chains, workers * rounds)
    edges = [n_chains * i // number for i in range(number + 1)]
    return [list(edge) for edge in itertools.pairwise(edges)]


def _old(
    folder: Path, task: Task, n_chains: int, seed: int, configuration: dict[str, Any]
) -> tuple[files.Manifest, Array]:
    """The manifest and the start of the run to go on with; raises `ValueError` with the difference if it was another."""
    manifest = files.read_manifest(folder)
    old = {
        name: getattr(manifest, name)
        for name in ("n_chains", "seed", "record_every", "save_every", "kernel", "configuration")
    }
    new = {
        "n_chains": n_chains, "seed": seed, "record_every": task.record_every, "save_every": task.save_every,
        "kernel": description(task.kernel), "configuration": configuration,
    }  # fmt: skip
    old["series"], new["series"] = list(manifest.series), series_names(task)
    if lines := differences(old, new):
        raise ValueError(f"{folder}: the run is another one, expected the same:\n  " + "\n  ".join(lines))
    return manifest, files.read_start(folder, manifest)


def _extended(folder: Path, manifest: files.Manifest, n_steps: int) -> files.Manifest:
    """The manifest with another number of steps, written."""
    done = max(files.read_block(folder, manifest, number).step for number in range(len(manifest.blocks)))
    if n_steps < done:
        raise ValueError(f"n_steps: got {n_steps}, expected at least {done}: so many steps are done")
    if n_steps != manifest.n_steps:
        manifest = replace(manifest, n_steps=n_steps)
        files.write_manifest(folder, manifest)
    return manifest
