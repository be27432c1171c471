"""Parallel, resumable runs as a target: `refimpl.chains` enters by the door of a stranger."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl import chains
from refimpl.kernels import HMC
from refimpl.maps import INTEGRATORS

from .kernels import ReferenceU1

Array = NDArray[np.float64]

WORKERS = 3


@dataclass(frozen=True)
class ReferenceChains(ReferenceU1):
    """U(1) HMC whose ``run`` and ``resume`` are runs of `refimpl.chains` by several workers, which save every field."""

    name: ClassVar[str] = "refimpl U(1) HMC in parallel runs"
    thrift: ClassVar[int] = 4  # every field goes to a file and back

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        with tempfile.TemporaryDirectory() as folder:
            return self._done(Path(folder) / "run", x, n, seed, resume=False)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        files, done, n_chains, seed = state
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            for name, content in files.items():
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (out / name).write_bytes(content)
            fields, later = self._done(out, np.empty(n_chains), done + n, seed, resume=True)
            return fields[done:], later

    def _done(self, out: Path, x: Array, n_steps: int, seed: int, *, resume: bool) -> tuple[Array, Any]:
        chains.run(
            HMC(self.sampled, self.step_size, self.n_steps, INTEGRATORS[self.integrator]),
            None if resume else x,
            n_chains=len(x),
            n_steps=n_steps,
            seed=seed,
            out=out,
            observables={},
            save_every=1,
            executor="thread",
            workers=min(WORKERS, len(x)),
            resume=resume,
            segment_seconds=0.05,
        )
        files = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        return chains.load_fields(out), (files, n_steps, len(x), seed)
