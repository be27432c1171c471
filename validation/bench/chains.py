"""Runs into a folder: what processes gain, and what recording costs."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from refimpl.kernels import HMC, spawn_rngs
from refimpl.theories import u1 as u1_theory

from .timing import Stepper


def chains_workers(n_chains: int, extent: int, n_steps: int) -> dict[str, Stepper]:
    """Runs of U(1) HMC into a folder: two worker processes against one, and against two bare loops: what the machine gives."""
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))

    def two_loops() -> object:
        return list(pool.map(_loop, [n_chains // 2] * 2, [extent] * 2, [n_steps] * 2))

    runs = {f"{n} worker{'s' * (n > 1)}": _runner(n_chains, extent, n_steps, n) for n in (2, 1)}
    return runs | {"two bare loops": two_loops}


def chains_recording(n_chains: int, extent: int, n_steps: int) -> dict[str, Stepper]:
    """What recording costs: a run into a folder by one worker, against loops in this process: bare, and with observables."""
    size = (n_chains, extent, n_steps)
    return {
        "one-worker run": _runner(*size, 1),
        "bare loop": lambda: _loop(*size),
        "loop, measured": lambda: _loop(*size, measured=True),
    }


def _loop(n_chains: int, extent: int, n_steps: int, measured: bool = False) -> object:
    """What a run computes, and nothing else."""
    theory = u1_theory(4.0, (extent, extent))
    kernel = HMC(theory.action, 0.2, 10)
    assert theory.sample is not None
    state, rngs = kernel.init(theory.sample(np.random.default_rng(1), n_chains)), spawn_rngs(1, n_chains)
    for _ in range(n_steps):
        state, _ = kernel.step(rngs, state)
        if measured:
            for observable in theory.recorded.values():
                observable(state.x)
    return state.x.sum()


def _runner(n_chains: int, extent: int, n_steps: int, workers: int) -> Stepper:
    """A run into a temporary folder by processes that are there already."""
    from refimpl import chains

    theory = u1_theory(4.0, (extent, extent))
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

    def run() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return chains.run(
                HMC(theory.action, 0.2, 10),
                theory.sample,
                n_chains=n_chains,
                n_steps=n_steps,
                seed=1,
                out=Path(folder) / "run",
                observables=theory.recorded,
                executor=pool,
                workers=workers,
            )

    return run
