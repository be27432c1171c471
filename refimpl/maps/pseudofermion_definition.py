"""Layers of pseudofermions as written in the paper, in `autograd.numpy`: the form to read, and to check the fast one with.

Fields are spinors ``(chain, y, x, feature, colour)``, sites ``(y, x)`` in time and space, with one colour for U(1). Links
``(chain, 2, T, X, N, N)`` have the boundary sign of the Dirac operator (`refimpl.actions.dirac.signed_links`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import autograd.numpy as np
from numpy.typing import NDArray

from ..lattice import parity_mask
from ..nets import convolution
from ..nets.convolution import ConvNet

if TYPE_CHECKING:
    from .pseudofermion_layer import PseudofermionLayer

Box = Any  # an array, or autograd's record of one


def pseudofermion_layer(
    layer: PseudofermionLayer, params: Mapping[str, Any], links: Box, hidden: Box, phi: Box
) -> tuple[Box, Box]:
    """``phi' = P [A phi + PTCN((1 - P) phi)] + (1 - P) phi`` (28), and the logdet."""
    active = projector(layer)
    ms, a = matrices(layer, params, hidden)
    shift = (1 - active) * phi
    for m in ms:
        shift = convolved(m, links, shift)
    out = active * (np.einsum("cyxst,cyxta->cyxsa", a, phi) + shift) + (1 - active) * phi
    # (30), (32) with the factor N that they lack: A is the same for all colours. For "spin" it acts on one component.
    numbers = a[..., 0, 0] if layer.partition == "spin" else a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
    sites = active.any(axis=(2, 3))
    return out, 2 * layer.colours * np.sum(sites * np.log(np.abs(numbers)), axis=(1, 2))


def projector(layer: PseudofermionLayer) -> NDArray[Any]:
    """P ``(T, X, 2, 1)``, 1 where active: sites of one parity (29), every second row of even sites, or a component (31)."""
    sites = np.ones(layer.shape, bool)
    if layer.even_odd:
        sites = parity_mask(layer.shape)
    if layer.partition == "spatial":
        t = np.indices(layer.shape)[0]
        sites = sites & (t % 2 == layer.index % 2 if layer.even_odd else parity_mask(layer.shape, layer.index))
    spins = np.arange(2) == layer.index % 2 if layer.partition == "spin" else np.ones(2, bool)
    return sites[:, :, None, None] & spins[:, None]


def matrices(layer: PseudofermionLayer, params: Mapping[str, Any], hidden: Box) -> tuple[list[Box], Box]:
    """The M of all convolutions, ``(chain, y, x, H, 5 K)``, and A ``(chain, y, x, 2, 2)`` of the outputs of the net (App. B2)."""
    features = [2] + [layer.features] * (layer.n_pt - 1) + [2]
    shapes = [(after, 5 * before) for before, after in itertools.pairwise(features)]
    full = layer.partition == "spatial" and not layer.scalar
    shapes.append((2, 2) if full else (1, 1))
    numbers = sum(2 * rows * columns for rows, columns in shapes)
    net = ConvNet((hidden.shape[1], numbers), params["weight"].shape[-1], final="tanh")
    values = convolution.definition(net, {"weight/0": params["weight"], "bias/0": params["bias"]}, hidden)
    values = np.moveaxis(values, 1, -1)
    found, begin = [], 0
    for rows, columns in shapes:
        part = values[..., begin : begin + 2 * rows * columns]
        found.append((part[..., 0::2] + 1j * part[..., 1::2]).reshape((*part.shape[:3], rows, columns)))
        begin += 2 * rows * columns
    return found[:-1], np.eye(2) + found[-1] if full else (1 + found[-1]) * np.eye(2)


def convolved(m: Box, links: Box, phi: Box) -> Box:
    """``PTC(y)_h = sum_g M_hg(y) L[U, phi](y)_g`` (26)."""
    return np.einsum("cyxhg,cyxga->cyxha", m, gathered(links, phi))


def gathered(links: Box, phi: Box) -> Box:
    """``L[U, phi]`` (25), ``(chain, y, x, 5 K, N)``: the field itself, then ahead and behind in time, then in space."""
    found = [phi]
    for mu in (0, 1):
        u = links[:, mu]
        found.append(np.einsum("cyxab,cyxkb->cyxka", u, np.roll(phi, -1, 1 + mu)))
        found.append(np.roll(np.einsum("cyxba,cyxkb->cyxka", np.conj(u), phi), 1, 1 + mu))
    return np.concatenate(found, axis=3)
