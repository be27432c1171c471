"""SU(N) as one writes it in PyTorch: complex128 matrices behind the sites, `torch.matmul`, `torch.matrix_exp`, `torch.roll`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def algebra(w: Tensor, generators: Tensor) -> Tensor:
    """``w_a T_a`` for coordinates ``(..., n^2 - 1)`` and generators ``(n^2 - 1, n, n)``."""
    return torch.tensordot(w.to(generators.dtype), generators, 1)


def exp(w: Tensor, generators: Tensor) -> Tensor:
    """``exp(i w_a T_a)``."""
    return torch.matrix_exp(1j * algebra(w, generators))


def plaquettes(links: Tensor) -> Tensor:
    """``U_0(n) U_1(n + 0^) U_0(n + 1^)^dag U_1(n)^dag`` for links ``(chain, 2, T, X, n, n)``."""
    u0, u1 = links[:, 0], links[:, 1]
    return u0 @ torch.roll(u1, -1, 1) @ (u1 @ torch.roll(u0, -1, 2)).mH


def action(links: Tensor, beta: float) -> Tensor:
    """``-(beta/n) sum_P Re Tr P``, ``(chain,)``."""
    traces = torch.diagonal(plaquettes(links), dim1=-2, dim2=-1).real
    return -beta / links.shape[-1] * traces.sum((1, 2, 3))


def force(links: Tensor, beta: float, generators: Tensor) -> Tensor:
    """``dS/d eps`` for ``U -> exp(i eps T_a) U``, ``(chain, 2, T, X, n^2 - 1)``, from the plaquettes carried along their links."""
    u0, u1, p = links[:, 0], links[:, 1], plaquettes(links)
    m = (p - p.mH) / 2j
    below, left = torch.roll(u1.mH @ m @ u1, 1, 2), torch.roll(u0.mH @ m @ u0, 1, 1)
    products = torch.stack([m - below, left - m], 1)
    n = links.shape[-1]
    return beta / n * torch.einsum("cmtxij,aji->cmtxa", products, generators).real


def hmc_stepper(
    beta: float,
    step_size: float,
    n_steps: int,
    x: NDArray[np.complex128],
    basis: NDArray[np.complex128],
    seed: int = 0,
) -> Callable[[], NDArray[np.complex128]]:
    """A function that advances all chains by one HMC trajectory and returns the links."""
    generator = torch.Generator().manual_seed(seed)
    links, generators = torch.from_numpy(np.ascontiguousarray(x)).clone(), torch.from_numpy(basis)

    @torch.no_grad()
    def step() -> NDArray[np.complex128]:
        nonlocal links
        v = torch.randn((*links.shape[:4], len(generators)), generator=generator, dtype=torch.float64)
        h_old = action(links, beta) + 0.5 * (v * v).sum((1, 2, 3, 4))
        u = links
        v = v - 0.5 * step_size * force(u, beta, generators)
        for k in range(n_steps):
            u = exp(step_size * v, generators) @ u
            v = v - (step_size if k < n_steps - 1 else 0.5 * step_size) * force(u, beta, generators)
        h_new = action(u, beta) + 0.5 * (v * v).sum((1, 2, 3, 4))
        uniform = torch.rand(len(links), generator=generator, dtype=torch.float64)
        accept = torch.log(uniform) < h_old - h_new
        links = torch.where(accept[:, None, None, None, None, None], u, links)
        return links.numpy()

    return step
