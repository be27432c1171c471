"""HMC of phi^4 as one writes it in PyTorch: float64, `torch.roll`, all chains in one batch; the force by hand or by autograd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray


def hmc_stepper(
    m2: float,
    lam: float,
    step_size: float,
    n_steps: int,
    x: NDArray[np.float64],
    seed: int = 0,
    autograd: bool = False,
) -> Callable[[], NDArray[np.float64]]:
    """A function that advances all chains by one HMC trajectory and returns the fields ``(chain, T, X)``."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.from_numpy(np.ascontiguousarray(x)).clone()

    def action(phi: torch.Tensor) -> torch.Tensor:
        square = phi * phi
        neighbours = torch.roll(phi, -1, 1) + torch.roll(phi, -1, 2)
        return (square * (2 + m2 / 2 + lam / 24 * square) - phi * neighbours).sum((1, 2))

    def force_by_hand(phi: torch.Tensor) -> torch.Tensor:
        neighbours = torch.roll(phi, 1, 1) + torch.roll(phi, -1, 1) + torch.roll(phi, 1, 2) + torch.roll(phi, -1, 2)
        return phi * (4 + m2 + lam / 6 * (phi * phi)) - neighbours

    def force_by_autograd(phi: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            leaf = phi.detach().requires_grad_()
            return torch.autograd.grad(action(leaf).sum(), leaf)[0]

    force = force_by_autograd if autograd else force_by_hand

    @torch.no_grad()
    def step() -> NDArray[np.float64]:
        nonlocal field
        v = torch.randn(field.shape, generator=generator, dtype=torch.float64)
        h_old = action(field) + 0.5 * (v * v).sum((1, 2))
        phi = field
        v = v - 0.5 * step_size * force(phi)
        for k in range(n_steps):
            phi = phi + step_size * v
            v = v - (step_size if k < n_steps - 1 else 0.5 * step_size) * force(phi)
        h_new = action(phi) + 0.5 * (v * v).sum((1, 2))
        u = torch.rand(len(field), generator=generator, dtype=torch.float64)
        accept = torch.log(u) < h_old - h_new
        field = torch.where(accept[:, None, None], phi, field)
        return field.numpy()

    return step
