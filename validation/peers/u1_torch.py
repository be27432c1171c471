"""U(1) HMC as one writes it in PyTorch: float64, `torch.roll`, hand-written force, all chains in one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray


def hmc_stepper(
    beta: float, step_size: float, n_steps: int, x: NDArray[np.float64], seed: int = 0
) -> Callable[[], NDArray[np.float64]]:
    """A function that advances all chains by one HMC trajectory and returns the links."""
    generator = torch.Generator().manual_seed(seed)
    links = torch.from_numpy(np.ascontiguousarray(x)).clone()

    def plaquettes(theta: torch.Tensor) -> torch.Tensor:
        theta_0, theta_1 = theta[:, 0], theta[:, 1]
        return theta_0 + torch.roll(theta_1, -1, 1) - torch.roll(theta_0, -1, 2) - theta_1

    def action(theta: torch.Tensor) -> torch.Tensor:
        return beta * (1 - torch.cos(plaquettes(theta))).sum((1, 2))

    def force(theta: torch.Tensor) -> torch.Tensor:
        s = beta * torch.sin(plaquettes(theta))
        return torch.stack([s - torch.roll(s, 1, 2), torch.roll(s, 1, 1) - s], 1)

    @torch.no_grad()
    def step() -> NDArray[np.float64]:
        nonlocal links
        v = torch.randn(links.shape, generator=generator, dtype=torch.float64)
        h_old = action(links) + 0.5 * (v * v).sum((1, 2, 3))
        theta = links
        v = v - 0.5 * step_size * force(theta)
        for k in range(n_steps):
            theta = theta + step_size * v
            v = v - (step_size if k < n_steps - 1 else 0.5 * step_size) * force(theta)
        h_new = action(theta) + 0.5 * (v * v).sum((1, 2, 3))
        u = torch.rand(len(links), generator=generator, dtype=torch.float64)
        accept = torch.log(u) < h_old - h_new
        theta = torch.remainder(theta + torch.pi, 2 * torch.pi) - torch.pi
        links = torch.where(accept[:, None, None, None], theta, links)
        return links.numpy()

    return step
