"""The package's own answers to the pieces of single layers of maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refimpl.actions import Phi4, WilsonU1
from refimpl.groups.spectrum import spectrum
from refimpl.maps import ptcn, transport
from refimpl.maps.coupling import AffineCoupling
from refimpl.maps.decimation import Decimation
from refimpl.maps.holonomy import Holonomy
from refimpl.maps.pulled_back import PulledBack
from refimpl.maps.spectral import SpectralKernel
from refimpl.maps.splines import CircularSpline, IntervalSpline
from refimpl.nets.convolution import ConvNet


def _first(p: Any) -> Any:
    """Matrices ``(site, a, b)``, or numbers ``(site, number)``, with sites last."""
    return np.ascontiguousarray(np.moveaxis(p, 0, -1))


def _spectral(p: Any, bins: int, way: str, raw: Any) -> tuple[Any, Any]:
    kernel = SpectralKernel(p.shape[-1], IntervalSpline(bins))
    turn, logdet = getattr(kernel, way)(_first(p), _first(raw))
    return np.moveaxis(turn, -1, 0), logdet


def _transported(x: Any, psi: Any, antiperiodic: bool) -> Any:
    """L, ``(chain, direction, *spinor)``."""
    moves = transport.transport(x, antiperiodic=antiperiodic)
    n, (n_t, n_x) = moves.colours, moves.shape
    fields = psi.reshape(len(psi), n_t * n_x, 2, n)[:, transport.neighbours(moves.shape)]
    out = np.einsum("cydab,cdysb->cdysa", moves.u, fields)
    return out.reshape(len(psi), transport.DIRECTIONS, *psi.shape[1:])


def _affine(params: Any) -> AffineCoupling:
    return AffineCoupling(1, ConvNet((1, 2, 2), activation="tanh", final="tanh"), odd=True, params=params)


def _holonomy(shape: Any, mu: int, index: int, line: int | None, params: Any) -> Holonomy:
    harmonics, neurons = params["weight/0"].shape[0] // 6, params["bias/0"].size
    circle = CircularSpline((params["bias/1"].size - 1) // 3)
    return Holonomy(tuple(shape), mu, index, line, circle, harmonics, neurons, params)


def _pulled_back(action: Any, layer: Any, x: Any) -> tuple[Any, Any]:
    both: tuple[Any, Any] = PulledBack(action, layer).action_and_force(x)
    return both


def _ptcn(x: Any, frozen: Any, active: Any, psi: Any, *convolutions: Any) -> Any:
    moves = transport.transport(x)
    n, chains = moves.colours, len(x)
    m = [each.reshape(chains, -1, each.shape[3], each.shape[4] * each.shape[5]) for each in convolutions]
    widths = [n * psi.shape[3], *(n * each.shape[2] for each in m)]
    steps = ptcn.ptcs(moves.shape, frozen, active, widths)
    network = ptcn.Network(steps, np.arange(len(frozen) * widths[0]), np.arange(len(active) * widths[-1]))
    stencils = [
        transport.stencils(each[:, step.sites], moves.u[:, step.sites]) for each, step in zip(m, steps, strict=True)
    ]
    columns = psi.reshape(chains, psi.shape[1], -1).swapaxes(1, 2)
    out, _ = ptcn.shift(network, stencils, columns)
    return out.swapaxes(1, 2).reshape(chains, psi.shape[1], len(active), -1, n)


LAYERS: dict[str, Callable[..., Any]] = {
    "groups.spectrum": lambda p: spectrum(_first(p))[0].T,
    "maps.spectral.forward": lambda p, raw, bins: _spectral(p, bins, "forward", raw),
    "maps.spectral.inverse": lambda p, raw, bins: _spectral(p, bins, "inverse", raw),
    "maps.transported": _transported,
    "maps.ptcn": _ptcn,
    "maps.odd_affine.forward": lambda params, x: _affine(params).forward(x),
    "maps.odd_affine.inverse": lambda params, y: _affine(params).inverse(y),
    "maps.odd_affine.pulled_back": lambda m2, lam, params, x: _pulled_back(Phi4(m2, lam), _affine(params), x),
    "maps.holonomy.forward": lambda *told: _holonomy(*told[:-1]).forward(told[-1]),
    "maps.holonomy.inverse": lambda *told: _holonomy(*told[:-1]).inverse(told[-1]),
    "maps.holonomy.pulled_back": lambda beta, *told: _pulled_back(WilsonU1(beta), _holonomy(*told[:-1]), told[-1]),
    "maps.decimation.forward": lambda beta, x: Decimation(beta, x.shape[2:]).forward(x),
    "maps.decimation.inverse": lambda beta, y: Decimation(beta, y.shape[2:]).inverse(y),
}
