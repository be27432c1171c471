"""Stein's identity on the links of two-dimensional U(1), and its fields in terms of plaquettes.

For any field ``g_l`` of the links ``f = sum_l (d_l g_l - g_l d_l S)`` has mean zero (Bedaque 2023, eqs. 5, 6, with
derivatives along the group, which has no boundary). Where g depends on plaquettes ``x_P`` alone it enters through
``G_P = sum_{l in dP} (+-) g_l`` only:

    f = sum_P (d_P G_P - beta sin(x_P) G_P),

gauge invariant. On the torus every plaquette field that comes from links has ``sum_P G_P = 0``, and every field that
sums to zero comes from links (`link_field`): the curl lemma. ``d_P G_P`` may be taken as if the ``x_P`` were
independent, although they add up to zero modulo ``2 pi``, since all of G stays in the directions that keep the sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....lattice import check_links, check_number, plaquette_gradient_definition, site_sum
from ....observables import Plaquette, WilsonLoop, quantity
from ..base import checked_configurations, named

Array = NDArray[np.float64]
Loop = Plaquette | WilsonLoop

# Sums over representations have a few hundred terms there; beyond, they only grow.
LARGEST_BETA = 200.0
# Of the sum of a plaquette field, relative to its largest entry times the volume.
_ZERO_SUM = 1e-10


def link_field(plaquette_field: ArrayLike) -> Array:
    """The shortest ``g (chain, 2, T, X)`` whose plaquettes ``g_0(n) + g_1(n + 0^) - g_0(n + 1^) - g_1(n)`` are a given G.

    ``g = C^T phi`` with C the plaquette map and ``C C^T phi = G``, the Poisson equation of the torus, by Fourier
    transforms: covariant under translations. Raises `ValueError` where G ``(chain, T, X)`` does not sum to zero on
    every configuration.
    """
    from scipy import fft

    field = checked_configurations(plaquette_field, name="plaquette_field")
    if field.ndim != 3:
        raise ValueError(f"plaquette_field: got shape {field.shape}, expected (chain, T, X)")
    total = np.abs(site_sum(field))
    if np.any(total > _ZERO_SUM * field[0].size * np.abs(field).max(axis=(1, 2))):
        raise ValueError(
            f"plaquette_field: got fields with sums up to {total.max():.3g}, expected sums of zero: no field of links has others"
        )
    n_t, n_x = field.shape[1:]
    hat_t, hat_x = (4 * np.sin(np.pi * np.arange(n) / n) ** 2 for n in (n_t, n_x))
    laplacian = hat_t[:, None] + hat_x[: n_x // 2 + 1]
    laplacian[0, 0] = 1.0
    modes = fft.rfft2(field) / laplacian
    modes[:, 0, 0] = 0.0
    return plaquette_gradient_definition(fft.irfft2(modes, s=(n_t, n_x)))


def without_mean(field: Array) -> Array:
    """A plaquette field ``(chain, T, X)`` less its mean over the lattice: the nearest one that comes from links."""
    return field - (site_sum(field) / field[0].size)[:, None, None]


def enclosed(observable: Loop, shape: tuple[int, ...]) -> int:
    """Plaquettes that a loop encloses, or that it leaves out where those are fewer.

    All plaquettes of a torus add up to zero modulo ``2 pi``, so that ``W(A) = W(V - A)`` on every configuration.
    """
    if isinstance(observable, Plaquette):
        return 1
    if not isinstance(observable, WilsonLoop):
        raise ValueError(
            f"observable: got {named(observable)}, expected a Plaquette or a WilsonLoop (plaquette, wilson_loop_TxX)"
        )
    if observable.extent_t > shape[0] or observable.extent_x > shape[1]:
        raise ValueError(f"observable: got {observable}, expected a loop that fits on a lattice of shape {shape}")
    area = observable.extent_t * observable.extent_x
    smaller = min(area, shape[0] * shape[1] - area)
    if smaller == 0:
        raise ValueError(
            f"observable: got {observable}, which encloses the whole lattice of shape {shape} and is always 1"
        )
    return smaller


def loop(name: object) -> Loop:
    """The plaquette or Wilson loop of a name in a file; raises `ValueError` for anything else."""
    found = quantity(name) if isinstance(name, str) else None
    if not isinstance(found, Plaquette | WilsonLoop):
        raise ValueError(f"observable: got {name!r}, expected plaquette or wilson_loop_TxX")
    return found


def check_beta(beta: object) -> float:
    """``beta`` as a float from 0 to `LARGEST_BETA`; raises `ValueError` otherwise."""
    number = check_number("beta", beta, 0)
    if number > LARGEST_BETA:
        raise ValueError(f"beta: got {beta!r}, expected a number from 0 to {LARGEST_BETA:g}")
    return number


def checked_links(x: ArrayLike, field_shape: tuple[int, ...] | None = None, name: str = "x") -> Array:
    """Finite link angles ``(chain, 2, T, X)``, of a given field shape; raises `ValueError` or `TypeError` otherwise."""
    return check_links(checked_configurations(x, field_shape, name), name)
