"""The Wilson-Dirac operator of U(1) as one writes it in PyTorch: complex128, `torch.roll`, all chains in one batch.

Half spinors, as in `refimpl.actions.dirac`; determinants and inverses of the dense matrix, without even-odd; force from the
inverse and not by autograd, which would be slower.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def signed_links(theta: Tensor) -> Tensor:
    """Links ``(chain, 2, T, X)`` of angles, those that cross the last time slice times -1."""
    sign = torch.ones(theta.shape[1:], dtype=theta.dtype)
    sign[0, -1] = -1
    return torch.polar(torch.ones_like(theta), theta) * sign


def apply(links: Tensor, psi: Tensor, kappa: float) -> Tensor:
    """``D psi`` for ``psi`` of shape ``(chain, t, x, spin)``."""
    u0, u1 = links[:, 0], links[:, 1]
    upper, lower = psi[..., 0], psi[..., 1]
    ahead_0 = u0 * torch.roll(upper - lower, -1, 1)
    ahead_1 = u1 * torch.roll(upper + 1j * lower, -1, 2)
    behind_0 = torch.roll(u0.conj() * (upper + lower), 1, 1)
    behind_1 = torch.roll(u1.conj() * (upper - 1j * lower), 1, 2)
    return torch.stack(
        [
            upper - kappa * (ahead_0 + behind_0 + ahead_1 + behind_1),
            lower - kappa * (behind_0 - ahead_0 + 1j * (behind_1 - ahead_1)),
        ],
        -1,
    )


def neighbours(shape: tuple[int, int]) -> Tensor:
    """The flattened site ``y + mu^`` of every site ``y``, ``(2, V)``."""
    sites = torch.arange(shape[0] * shape[1]).reshape(shape)
    return torch.stack([torch.roll(sites, -1, mu).reshape(-1) for mu in (0, 1)])


SIGMA = torch.tensor([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]]], dtype=torch.complex128)


def dense_matrix(links: Tensor, kappa: float) -> Tensor:
    """``D`` of every chain, ``(chain, 2 V, 2 V)``."""
    n_chains, _, *shape = links.shape
    volume = shape[0] * shape[1]
    here, one = torch.arange(volume), torch.eye(2, dtype=torch.complex128)
    matrix = torch.zeros((n_chains, volume, volume, 2, 2), dtype=torch.complex128)
    matrix[:, here, here] = one
    for mu, ahead in enumerate(neighbours((shape[0], shape[1]))):
        u = links[:, mu].reshape(n_chains, volume, 1, 1)
        matrix[:, here, ahead] -= kappa * (one - SIGMA[mu]) * u
        matrix[:, ahead, here] -= kappa * (one + SIGMA[mu]) * u.conj()
    return matrix.transpose(2, 3).reshape(n_chains, 2 * volume, 2 * volume)


def log_determinant(links: Tensor, kappa: float) -> Tensor:
    """``log |det D|``, ``(chain,)``."""
    return torch.linalg.slogdet(dense_matrix(links, kappa)).logabsdet


def determinant_force(links: Tensor, kappa: float) -> Tensor:
    """``d (-2 log |det D|) / d theta``, ``(chain, 2, T, X)``."""
    n_chains, _, *shape = links.shape
    volume = shape[0] * shape[1]
    inverse = torch.linalg.inv(dense_matrix(links, kappa)).reshape(n_chains, volume, 2, volume, 2).transpose(2, 3)
    here, one, traces = torch.arange(volume), torch.eye(2, dtype=torch.complex128), []
    for mu, ahead in enumerate(neighbours((shape[0], shape[1]))):
        trace = (inverse[:, ahead, here] * (one - SIGMA[mu]).T).sum((-2, -1))
        traces.append(trace.reshape(n_chains, *shape))
    return -4 * kappa * (torch.stack(traces, 1) * links).imag


def hmc_stepper(
    beta: float, kappa: float, step_size: float, n_steps: int, x: NDArray[np.float64], seed: int = 0
) -> Callable[[], NDArray[np.float64]]:
    """A function that advances all chains by one HMC trajectory with the exact determinant and returns the links."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.from_numpy(np.ascontiguousarray(x)).clone()

    def plaquettes(theta: Tensor) -> Tensor:
        theta_0, theta_1 = theta[:, 0], theta[:, 1]
        return theta_0 + torch.roll(theta_1, -1, 1) - torch.roll(theta_0, -1, 2) - theta_1

    def action(theta: Tensor) -> Tensor:
        gauge = beta * (1 - torch.cos(plaquettes(theta))).sum((1, 2))
        return gauge - 2 * log_determinant(signed_links(theta), kappa)

    def force(theta: Tensor) -> Tensor:
        s = beta * torch.sin(plaquettes(theta))
        gauge = torch.stack([s - torch.roll(s, 1, 2), torch.roll(s, 1, 1) - s], 1)
        return gauge + determinant_force(signed_links(theta), kappa)

    s_now, f_now = action(angles), force(angles)

    @torch.no_grad()
    def step() -> NDArray[np.float64]:
        nonlocal angles, s_now, f_now
        v = torch.randn(angles.shape, generator=generator, dtype=torch.float64)
        h_old = s_now + 0.5 * (v * v).sum((1, 2, 3))
        theta, f = angles, f_now
        for _ in range(n_steps):
            v = v - 0.5 * step_size * f
            theta = theta + step_size * v
            f = force(theta)
            v = v - 0.5 * step_size * f
        s = action(theta)
        h_new = s + 0.5 * (v * v).sum((1, 2, 3))
        u = torch.rand(len(angles), generator=generator, dtype=torch.float64)
        accept = torch.log(u) < h_old - h_new
        theta = torch.remainder(theta + torch.pi, 2 * torch.pi) - torch.pi
        angles = torch.where(accept[:, None, None, None], theta, angles)
        f_now, s_now = torch.where(accept[:, None, None, None], f, f_now), torch.where(accept, s, s_now)
        return angles.numpy()

    return step
