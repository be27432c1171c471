"""Where a plaquette would like to be: the frame in which a spectral map sees the loops around an active link.

The active link is in two plaquettes: the active loop L, which begins with it, and the passive one, as a loop Q that ends with its
inverse. The loop ``W = Q L`` around both does not contain it. For the Wilson action the link's density at fixed W is

    exp((beta/n) Re tr(L + Q)) = exp((beta/n) Re tr L (1 + W^dag)),   1 + W^dag = W^(-1/2) (W^(1/2) + W^(-1/2)):

of ``L~ = L W^(-1/2)`` it is a function with a maximum at 1 unless W is far from 1. For SU(2) it is the class function
``exp((beta/2) 2 cos(w/2) Re tr L~)``, +-w/2 the phases of W, so that a spectral map of L~ can be exact, while one of L cannot.
Layers take ``L~ = L W^a`` with an exponent a from their net. L~ transforms as L does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..groups.matrices import dagger, product
from .loops import power, reversed_pullback
from .stripes import Masks

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]


class Frame(NamedTuple):
    """``W^a`` at the active sites, ``(n, n, site, chain)``, and what its pullback needs."""

    turn: Matrices
    pull_turn: Callable[[Matrices], tuple[Matrices, Array]]
    loop: Matrices
    passive: Matrices
    plaquette: Matrices
    link: Matrices


def passive_sites(masks: Masks) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of the passive plaquettes, ``n - nu^`` for the active sites n in their order."""
    t, x = np.nonzero(masks.active)
    n_t, n_x = masks.active.shape
    return (t, (x - 1) % n_x) if masks.mu == 0 else ((t - 1) % n_t, x)


def frame(links: Matrices, plaquettes: Matrices, loop: Matrices, exponent: Array, masks: Masks) -> Frame:
    """For links ``(n, n, 2, T, X, chain)``, plaquettes, active loops L ``(n, n, site, chain)`` and exponents ``(site, chain)``."""
    t, x = passive_sites(masks)
    link, plaquette = links[:, :, 1 - masks.mu, t, x], plaquettes[:, :, t, x]
    passive = product(product(dagger(link), plaquette), link)
    passive = dagger(passive) if masks.mu == 1 else passive
    turn, pull_turn = power(product(passive, loop), exponent)
    return Frame(turn, pull_turn, loop, passive, plaquette, link)


def frame_pullback(at: Frame, masks: Masks, g: Matrices) -> tuple[Matrices, Matrices, Matrices, Array]:
    """Cotangents of L, of the plaquettes and links nu at `passive_sites`, and of the exponents, from that of L~."""
    g_passive, g_exponent = at.pull_turn(product(product(dagger(at.loop), g), at.loop))
    g_loop = g + product(product(dagger(at.passive), g_passive), at.passive)
    if masks.mu == 1:  # passive = R^dag, R = link^dag P link
        g_passive = reversed_pullback(at.passive, g_passive)
    g_plaquette = product(product(at.link, g_passive), dagger(at.link))
    # R begins and ends with the link.
    g_link = product(product(dagger(at.plaquette), g_plaquette), at.plaquette) - g_plaquette
    return g_loop, g_plaquette, g_link, g_exponent
