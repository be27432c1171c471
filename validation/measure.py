"""The oracle's own measurements of U(1) links: explicit loops as the definition, and a vectorised form for many chains.

Written from the formulas; shares no code with the package, which is judged by it like anybody else.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TWO_PI = 2 * math.pi


def angle_difference(a: Array, b: Array) -> Array:
    """``a - b`` on the circle, in [-pi, pi]."""
    return np.remainder(a - b + math.pi, TWO_PI) - math.pi


# --- one configuration (2, T, X), loop by loop ---------------------------------------------------------------------
def loop_plaquette_angle(x: Array, t: int, s: int) -> float:
    n_t, n_x = x.shape[1:]
    return float(x[0, t, s] + x[1, (t + 1) % n_t, s] - x[0, t, (s + 1) % n_x] - x[1, t, s])


def loop_angles(x: Array) -> list[float]:
    return [loop_plaquette_angle(x, t, s) for t in range(x.shape[1]) for s in range(x.shape[2])]


def loop_action(x: Array, beta: float) -> float:
    return beta * math.fsum(1 - math.cos(angle) for angle in loop_angles(x))


def loop_force(x: Array, beta: float) -> Array:
    force = np.empty(x.shape)
    for t in range(x.shape[1]):
        for s in range(x.shape[2]):
            here = math.sin(loop_plaquette_angle(x, t, s))
            force[0, t, s] = beta * (here - math.sin(loop_plaquette_angle(x, t, (s - 1) % x.shape[2])))
            force[1, t, s] = beta * (math.sin(loop_plaquette_angle(x, (t - 1) % x.shape[1], s)) - here)
    return force


def loop_mean_plaquette(x: Array) -> float:
    angles = loop_angles(x)
    return math.fsum(map(math.cos, angles)) / len(angles)


def loop_charge(x: Array) -> float:
    return math.fsum(math.remainder(angle, TWO_PI) for angle in loop_angles(x)) / TWO_PI


def loop_sine_charge(x: Array) -> float:
    return math.fsum(map(math.sin, loop_angles(x))) / TWO_PI


def loop_wilson_loop(x: Array, extent_t: int, extent_x: int) -> float:
    n_t, n_x = x.shape[1:]
    cosines = []
    for t in range(n_t):
        for s in range(n_x):
            angle = math.fsum(float(x[0, (t + k) % n_t, s]) for k in range(extent_t))
            angle += math.fsum(float(x[1, (t + extent_t) % n_t, (s + k) % n_x]) for k in range(extent_x))
            angle -= math.fsum(float(x[0, (t + k) % n_t, (s + extent_x) % n_x]) for k in range(extent_t))
            angle -= math.fsum(float(x[1, t, (s + k) % n_x]) for k in range(extent_x))
            cosines.append(math.cos(angle))
    return math.fsum(cosines) / len(cosines)


# --- many configurations (n, 2, T, X) ----------------------------------------------------------------------------
def plaquette_angles(x: Array) -> Array:
    return x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]


def mean_plaquette(x: Array) -> Array:
    return np.cos(plaquette_angles(x)).mean(axis=(1, 2))


def charge(x: Array) -> NDArray[np.int64]:
    return np.rint(angle_difference(plaquette_angles(x), np.zeros(1)).sum(axis=(1, 2)) / TWO_PI).astype(np.int64)


def square_loop(x: Array, side: int) -> Array:
    """Mean cosine of the side by side Wilson loops."""
    return mean_loop(x, side, side)


def mean_loop(x: Array, extent_t: int, extent_x: int) -> Array:
    """Mean cosine of the Wilson loops of these extents: the product of the plaquettes inside, an abelian shortcut."""
    angles = plaquette_angles(x)
    inside = sum(np.roll(angles, (-a, -b), axis=(1, 2)) for a in range(extent_t) for b in range(extent_x))
    return np.cos(inside).mean(axis=(1, 2))


def mean_phases(x: Array) -> Array:
    """Mean cosines ``(4, n)`` of time links, space links, Polyakov loops in time and in space: uniform under Haar."""
    loops = np.cos(x[:, 0].sum(axis=1)).mean(axis=1), np.cos(x[:, 1].sum(axis=2)).mean(axis=1)
    return np.stack([*np.cos(x).mean(axis=(2, 3)).T, *loops])


# --- symmetries and special configurations -----------------------------------------------------------------------
def gauge_transformed(x: Array, alpha: Array) -> Array:
    change = np.stack([alpha - np.roll(alpha, -1, axis=1), alpha - np.roll(alpha, -1, axis=2)], axis=1)
    return angle_difference(x + change, np.zeros(1))


def flux_configuration(shape: tuple[int, int], flux: int) -> Array:
    """Links ``(1, 2, T, X)`` with every plaquette at ``2 pi flux/V`` modulo 2 pi: charge ``flux`` (for ``|flux| < V/2``)."""
    n_t, n_x = shape
    theta = TWO_PI * flux / (n_t * n_x)
    x = np.zeros((1, 2, n_t, n_x))
    x[0, 1] = theta * np.arange(n_t)[:, None]
    x[0, 0, -1] = -theta * n_t * np.arange(n_x)
    return angle_difference(x, np.zeros(1))
