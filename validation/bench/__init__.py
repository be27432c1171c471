"""Speed, as ratios: ours and others' in one interleaved run, one thread on one processor each.

The items are plain functions that return the competitors by name, ours first; `run` times them in turn and reports the
ratio (their time) / (our time), round by round.
"""

from __future__ import annotations

import importlib.util

from .chains import chains_recording, chains_workers
from .fermions import dirac
from .flow import flow_sample, flow_train
from .joint import joint_step
from .l2hmc import l2hmc_sample, l2hmc_train
from .matrices import su3
from .phi4 import phi4_hmc
from .timing import Item, Timing, table, timings
from .u1 import u1_hmc
from .variate import variate_step

__all__ = ["ITEMS", "PEERS", "Item", "Timing", "missing_peers", "run", "selected", "table"]

_L2HMC_CASES = {
    f"{kind}, {chains} chains": (kind, chains)
    for kind, chains in (("dense", 128), ("conv", 64), ("scalars", 64), ("scalars", 256))
}

_FLOW_CASES = {
    f"{kind}, {batch} fields": (kind, batch) for kind in ("affine", "projections", "splines") for batch in (64,)
}

_CHAINS_CASES = {"8x8, 256 chains": (256, 8, 1000), "16x16, 64 chains": (64, 16, 1000)}

ITEMS: dict[str, Item] = {
    "u1-hmc": Item(
        u1_hmc,
        {
            f"{extent}x{extent}, {chains} chains": (chains, extent)
            for extent, chains in ((4, 256), (8, 64), (8, 256), (16, 64), (64, 32))
        },
    ),
    "phi4-hmc": Item(
        phi4_hmc,
        {
            f"{extent}x{extent}, {chains} chains": (chains, extent)
            for extent, chains in ((8, 64), (16, 64), (20, 64), (32, 64))
        },
    ),
    "l2hmc-sample": Item(l2hmc_sample, _L2HMC_CASES),
    "l2hmc-train": Item(l2hmc_train, _L2HMC_CASES),
    "dirac": Item(
        dirac,
        {
            f"{what} {extent}x{extent}, {chains} chains": (what, chains, extent)
            for what, chains, extent in (
                ("apply", 64, 8),
                ("apply", 64, 16),
                ("log det", 8, 16),
                ("force", 16, 8),
                ("force", 4, 16),
                ("HMC", 16, 8),
            )
        },
    ),
    "su3": Item(
        su3,
        {
            f"{what} 8x8, {chains} chains": (what, chains, 8)
            for what, chains in (("exp", 64), ("force", 64), ("HMC", 32))
        },
    ),
    "variate": Item(
        variate_step,
        {
            f"{layers}x{neurons} net, {n_t}x{n_x}": (layers, neurons, n_t, n_x)
            for layers, neurons, n_t, n_x in ((5, 4, 20, 20), (0, 1, 20, 20), (1, 16, 40, 10), (5, 32, 40, 40))
        },
    ),
    "flow-sample": Item(flow_sample, _FLOW_CASES),
    "flow-train": Item(flow_train, _FLOW_CASES),
    "joint": Item(joint_step, {f"{what}, 64 fields": (what, 64) for what in ("sample", "train")}),
    "chains-workers": Item(chains_workers, _CHAINS_CASES, parallel=True),
    "chains-recording": Item(chains_recording, _CHAINS_CASES),
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
    """Time every case of an item, about this many seconds a case."""
    return timings(ITEMS[item], item, seconds)
