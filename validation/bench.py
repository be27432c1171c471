"""Speed, as ratios: ours and others' in one interleaved run, one thread on one processor each.

The items are plain functions that return the competitors by name, ours first; `run` times them in turn and reports the
ratio (their time) / (our time), round by round.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from refimpl.actions import WilsonU1, u1_action_definition, u1_force_definition
from refimpl.exact import u1
from refimpl.groups import wrap
from refimpl.kernels import HMC, spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.maps.architecture import Architecture
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.nets import Net
from refimpl.theories import u1 as u1_theory

Stepper = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Median seconds per call of one competitor, and its time over ours: median, least and largest over the rounds."""

    case: str
    name: str
    seconds: float
    ratio: float
    ratio_low: float
    ratio_high: float


@contextmanager
def one_processor() -> Iterator[None]:
    """One processor for this process, and so for every thread a peer starts, where the system lets us choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def roll_hmc_stepper(beta: float, step_size: float, n_steps: int, x: np.ndarray, seed: int = 0) -> Stepper:
    """HMC by the readable definitions (`numpy.roll`, `numpy.sin`), with our random numbers: a Generator per chain."""
    kernel, rngs, links = HMC(WilsonU1(beta), step_size, n_steps), spawn_rngs(seed, len(x)), x.copy()

    def step() -> np.ndarray:
        nonlocal links
        v, u = kernel.noise(rngs, links.shape)
        h_old = u1_action_definition(links, beta) + 0.5 * (v * v).sum((1, 2, 3))
        theta = links
        v = v - 0.5 * step_size * u1_force_definition(theta, beta)
        for k in range(n_steps):
            theta = theta + step_size * v
            v = v - (step_size if k < n_steps - 1 else 0.5 * step_size) * u1_force_definition(theta, beta)
        h_new = u1_action_definition(theta, beta) + 0.5 * (v * v).sum((1, 2, 3))
        accept = np.log(u) < h_old - h_new
        links = np.where(accept[:, None, None, None], wrap(theta), links)
        return links

    return step


def u1_hmc(n_chains: int, extent: int) -> dict[str, Stepper]:
    """One U(1) HMC trajectory of 10 leapfrog steps for all chains, beta = 4."""
    beta, step_size, n_steps = 4.0, 0.1, 10
    x = u1.sample(np.random.default_rng(1), n_chains, beta, (extent, extent))
    hmc, rngs = HMC(WilsonU1(beta), step_size, n_steps), spawn_rngs(1, n_chains)
    state = hmc.init(x)

    def ours() -> object:
        nonlocal state
        state, _ = hmc.step(rngs, state)
        return state

    competitors: dict[str, Stepper] = {"refimpl": ours, "numpy roll": roll_hmc_stepper(beta, step_size, n_steps, x)}
    if importlib.util.find_spec("torch"):
        import torch

        from .peers import u1_torch

        torch.set_num_threads(1)
        competitors["pytorch"] = u1_torch.hmc_stepper(beta, step_size, n_steps, x)
    if importlib.util.find_spec("jax"):
        from .peers import u1_jax

        competitors["jax jit"] = u1_jax.hmc_stepper(beta, step_size, n_steps, x)
    if importlib.util.find_spec("numba"):
        from .peers import u1_numba

        competitors["numba"] = u1_numba.hmc_stepper(beta, step_size, n_steps, x)
    return competitors


_DENSE, _CONV = Net("dense", units=(100, 100)), Net("conv", filters=(16, 16))
ARCHITECTURES = {
    "dense": Architecture((2, 8, 8), True, 5, _DENSE, _DENSE),
    "conv": Architecture((2, 8, 8), True, 4, _CONV, _CONV, mask="checkerboard"),
    "scalars": Architecture((2, 8, 8), True, 16, Net("scalars")),
}


def l2hmc_model(kind: str, beta: float) -> GeneralizedLeapfrog:
    """An architecture of the benchmark with random parameters; the one of scalars is merged."""
    architecture, rng = ARCHITECTURES[kind], np.random.default_rng(2)
    params = {
        key: value + (0.03 * rng.standard_normal(value.shape) if "/" in key else 0.0)
        for key, value in architecture.init(rng, 0.1).items()
    }
    return GeneralizedLeapfrog(WilsonU1(beta), architecture, params, merged=kind == "scalars")


def l2hmc_sample(kind: str, n_chains: int) -> dict[str, Stepper]:
    """One transition of the generalized leapfrog of 8x8 U(1) for all chains, beta = 4."""
    beta = 4.0
    model, x = l2hmc_model(kind, beta), u1.sample(np.random.default_rng(1), n_chains, beta, (8, 8))
    kernel, rngs = L2HMC(model), spawn_rngs(1, n_chains)
    state = kernel.init(x)

    def ours() -> object:
        nonlocal state
        state, _ = kernel.step(rngs, state)
        return state

    competitors: dict[str, Stepper] = {"refimpl": ours}
    if importlib.util.find_spec("torch"):
        import torch

        from .peers import l2hmc_torch

        torch.set_num_threads(1)
        peer = l2hmc_torch.L2HMC(model.architecture, model.params, beta, model.merged)
        competitors["pytorch"] = l2hmc_torch.sampler(peer, x)
    return competitors


def l2hmc_train(kind: str, n_chains: int) -> dict[str, Stepper]:
    """One step of training on 8x8 U(1), beta = 4: trajectories, charge loss, gradient, clipping, Adam."""
    # autograd is loaded here and not with the module, which the command line imports for every item.
    from refimpl.training import loss_and_gradient
    from refimpl.training.losses import LOSSES
    from refimpl.training.optimise import Adam, clipped

    beta, rate, clip = 4.0, 1e-4, 0.1
    model, x = l2hmc_model(kind, beta), u1.sample(np.random.default_rng(1), n_chains, beta, (8, 8))
    rngs, params = spawn_rngs(1, n_chains), dict(model.params)
    adam = Adam.start(params)

    def ours() -> object:
        nonlocal params, adam
        loss, grads, *_ = loss_and_gradient(L2HMC(model.replace(params=params)), LOSSES["charge"], x, rngs)
        params, adam = adam.step(params, clipped(grads, clip), rate)
        return loss

    competitors: dict[str, Stepper] = {"refimpl": ours}
    if importlib.util.find_spec("torch"):
        import torch

        from .peers import l2hmc_torch

        torch.set_num_threads(1)
        peer = l2hmc_torch.L2HMC(model.architecture, model.params, beta, model.merged)
        competitors["pytorch"] = l2hmc_torch.trainer(peer, x, rate, clip)
    return competitors


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


@dataclass(frozen=True)
class Item:
    """What is timed: a function that sets up the competitors, and the cases it is called with, by label.

    ``parallel``: it may use all processors, and not only one.
    """

    setup: Callable[..., dict[str, Stepper]]
    cases: Mapping[str, tuple[Any, ...]]
    parallel: bool = False


_L2HMC_CASES = {
    f"{kind}, {chains} chains": (kind, chains)
    for kind, chains in (("dense", 128), ("conv", 64), ("scalars", 64), ("scalars", 256))
}


ITEMS: dict[str, Item] = {
    "u1-hmc": Item(
        u1_hmc,
        {
            f"{extent}x{extent}, {chains} chains": (chains, extent)
            for extent, chains in ((4, 256), (8, 64), (8, 256), (16, 64), (64, 32))
        },
    ),
    "l2hmc-sample": Item(l2hmc_sample, _L2HMC_CASES),
    "l2hmc-train": Item(l2hmc_train, _L2HMC_CASES),
    "chains-workers": Item(
        chains_workers, {"8x8, 256 chains": (256, 8, 1000), "16x16, 64 chains": (64, 16, 1000)}, parallel=True
    ),
    "chains-recording": Item(chains_recording, {"8x8, 256 chains": (256, 8, 1000), "16x16, 64 chains": (64, 16, 1000)}),
}

PEERS = ("torch", "jax", "numba")


def missing_peers() -> list[str]:
    """The packages of the `bench` extra that are not installed."""
    return [name for name in PEERS if importlib.util.find_spec(name) is None]


def selected(name: str | None) -> list[str]:
    """Items whose name begins with ``name`` (None: all); raises `ValueError` where there is none."""
    found = [item for item in ITEMS if item.startswith(name or "")]
    if not found:
        raise ValueError(f"ITEM: got {name!r}, expected the beginning of one of {', '.join(ITEMS)}")
    return found


def run(item: str, seconds: float = 4.0) -> list[Timing]:
    """Time every case of an item, about this many seconds a case, the competitors in turn within each round."""
    if not ITEMS[item].parallel:
        with one_processor():
            return _timings(item, seconds)
    return _timings(item, seconds)


def _timings(item: str, seconds: float) -> list[Timing]:
    timings = []
    for label, case in tqdm(ITEMS[item].cases.items(), desc=item, disable=None, file=sys.stderr, leave=False):
        competitors = ITEMS[item].setup(*case)
        for call in competitors.values():
            call()
        repeat = {name: max(1, round(0.02 / _seconds(call, 1))) for name, call in competitors.items()}
        rounds: list[list[float]] = []
        end = time.perf_counter() + seconds
        while len(rounds) < 5 or time.perf_counter() < end:
            rounds.append([_seconds(call, repeat[name]) for name, call in competitors.items()])
        times = np.array(rounds)
        ratios = times / times[:, :1]
        for k, name in enumerate(competitors):
            values = (np.median(times[:, k]), np.median(ratios[:, k]), ratios[:, k].min(), ratios[:, k].max())
            timings.append(Timing(label, name, *map(float, values)))
    return timings


def _seconds(call: Stepper, repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def table(timings: list[Timing]) -> str:
    """The timings as text: ratios above 1 mean that the reference is faster."""
    lines = [f"{'case':<22}{'implementation':<16}{'ms per call':>12}{'their time / ours':>20}{'least':>8}{'most':>8}"]
    for t in timings:
        lines.append(
            f"{t.case:<22}{t.name:<16}{1e3 * t.seconds:>12.3f}{t.ratio:>20.2f}{t.ratio_low:>8.2f}{t.ratio_high:>8.2f}"
        )
    return "\n".join(lines)
