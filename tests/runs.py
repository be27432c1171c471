"""A small run, and observables that misbehave, at the top level of a module: other processes import them by name.

``python -m tests.runs DIR new|resume|large|many STEPS EXECUTOR WORKERS`` runs it as a script does.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np

from refimpl import chains, theories
from refimpl.kernels import HMC, spawn_rngs

THEORY = theories.u1(2.0, (4, 4))
KERNEL = HMC(THEORY.action, 0.3, 4)
N_CHAINS, SEED = 5, 11


def run(out, n_steps, kernel=KERNEL, theory=THEORY, **options):
    """The run of these tests; short segments, so that there are many."""
    defaults = {
        "n_chains": N_CHAINS,
        "seed": SEED,
        "observables": theory.recorded,
        "segment_seconds": 0.02,
        "executor": "thread",
    }
    return chains.run(kernel, theory.start, out=out, n_steps=n_steps, **{**defaults, **options})


def by_hand(n_steps, kernel=KERNEL, theory=THEORY, record=("accepted", "delta_h")):
    """The same run as a plain loop: series, and the fields after every step."""
    state = kernel.init(theory.start(np.random.default_rng([SEED, 1]), N_CHAINS))
    rngs = spawn_rngs(np.random.SeedSequence([SEED, 0]), N_CHAINS)
    series, fields = {}, []
    for _ in range(n_steps):
        state, infos = kernel.step(rngs, state)
        row = {name: f(state.x) for name, f in theory.observables.items() if not name.endswith("^2")}
        if theory.has_sectors:
            row[theory.sector_name] = theory.sector(state.x)
        for name in record:
            parts = infos if isinstance(infos, tuple) else None
            if hasattr(state, name):
                row[name] = getattr(state, name)
            elif parts is None:
                row[name] = getattr(infos, name)
            else:
                names = [type(part).__name__ for part in kernel.kernels]
                row |= {f"{name}/{own}": getattr(part, name) for own, part in zip(names, parts, strict=True)}
        for name, values in row.items():
            series.setdefault(name, []).append(values)
        fields.append(np.array(state.x))
    return {name: np.array(rows) for name, rows in series.items()}, np.array(fields)


class Trap:
    """An observable, always zero, that does something once a folder holds what arms it."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __call__(self, x):
        if Path(self.folder, "die").exists():
            os._exit(3)
        if Path(self.folder, "die once").exists():
            Path(self.folder, "die once").unlink()
            os._exit(3)
        if Path(self.folder, "raise").exists() and len(x) > 1:  # not in the trial step of one chain
            raise ArithmeticError("the trap was armed")
        return np.zeros(len(x))


class DiesElsewhere(Trap):
    """A trap for worker processes only."""

    def __call__(self, x):
        return np.zeros(len(x)) if multiprocessing.parent_process() is None else super().__call__(x)


if __name__ == "__main__":
    folder, how, steps, executor, workers = sys.argv[1:]
    options = {"executor": executor, "workers": int(workers), "segment_seconds": 0.1}
    if how == "large":  # megabytes of fields in every segment
        options |= {"n_chains": 64, "save_every": 1, "segment_seconds": 1.0}
    if how == "many":  # more blocks than workers, and SIGTERM as the command line has it
        options["n_chains"] = 1024
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    run(folder, int(steps), resume=how == "resume", **options)
