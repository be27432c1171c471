"""Losses of L2HMC and LeapfrogLayers: expected distances between a configuration and its proposal.

A loss is a sum of terms; a term is a distance, a form, a length scale and weights. Distances ``delta(x', x)`` are between
the configuration and the *proposal*, weighted by its acceptance ``A``, before the decision. Written in `autograd.numpy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import autograd.numpy as np

from ..lattice import check_number

Box = Any  # an array, or autograd's record of one

FORMS = ("mixed", "plain")


def euclidean(x: Box, y: Box) -> Box:
    """``|x' - x|^2`` (Foreman 2020, eq. 35)."""
    return total((y - x) ** 2)


def circular(x: Box, y: Box) -> Box:
    """``sum_links 1 - cos(x' - x)`` (Foreman 2020, eq. 50)."""
    return total(1 - np.cos(y - x))


def plaquette(x: Box, y: Box) -> Box:
    """``sum_P 1 - cos(x'_P - x_P)`` (Foreman 2020, eq. 74)."""
    return total(1 - np.cos(angles(y) - angles(x)))


def charge(x: Box, y: Box) -> Box:
    """``(Q'_sin - Q_sin)^2``, ``Q_sin = sum_P sin(x_P)/2 pi`` (Foreman 2020, eq. 76; Foreman 2021, eq. 15)."""
    return (sine_charge(y) - sine_charge(x)) ** 2


def charge_change(x: Box, y: Box) -> Box:
    """``|Q'_sin - Q_sin|`` (Foreman 2020, eq. 83)."""
    return np.abs(sine_charge(y) - sine_charge(x))


METRICS: dict[str, Callable[[Box, Box], Box]] = {
    f.__name__: f for f in (euclidean, circular, plaquette, charge, charge_change)
}
ON_LINKS = ("plaquette", "charge", "charge_change")


@dataclass(frozen=True)
class Term:
    """``weight E_p[l] + auxiliary E_q[l]`` over the target p and the initialisation distribution q.

    ``form``: ``mixed``, ``l = scale^2/(A delta) - A delta/scale^2`` (Foreman 2020, eqs. 36, 77, 78), where ``floor`` keeps
    ``A delta`` from zero; or ``plain``, ``l = -A delta/scale^2`` (Foreman 2020, eqs. 80, 81; Foreman 2021, eq. 15), with the
    sign that is minimised.
    """

    metric: str
    form: str = "plain"
    scale: float = 1.0
    weight: float = 1.0
    auxiliary: float = 0.0
    floor: float = 1e-4

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"metric: got {self.metric!r}, expected one of {', '.join(METRICS)}")
        if self.form not in FORMS:
            raise ValueError(f"form: got {self.form!r}, expected one of {', '.join(FORMS)}")
        for name in ("scale", "floor"):
            check_number(name, getattr(self, name), 0, above=True)
        for name in ("weight", "auxiliary"):
            check_number(name, getattr(self, name), 0)

    def value(self, x: Box, y: Box, acceptance: Box) -> Box:
        """``l`` of each chain for configuration ``x``, proposal ``y`` and its acceptance."""
        moved = acceptance * METRICS[self.metric](x, y)
        if self.form == "plain":
            return -moved / self.scale**2
        moved = np.maximum(moved, self.floor)
        return self.scale**2 / moved - moved / self.scale**2


# The losses of the papers. `topological` is eq. 86 of Foreman 2020: the mixed circular loss and the topological term, eq. 85.
LOSSES: dict[str, tuple[Term, ...]] = {
    "esjd": (Term("euclidean", "mixed", auxiliary=1.0),),
    "esjd-plain": (Term("euclidean", "plain"),),
    "circular": (Term("circular", "mixed", auxiliary=1.0),),
    "plaquette": (Term("plaquette", "mixed", auxiliary=1.0),),
    "plaquette-plain": (Term("plaquette", "plain"),),
    "charge": (Term("charge", "plain"),),
    "charge-mixed": (Term("charge", "mixed", auxiliary=1.0),),
    "topological": (Term("circular", "mixed", auxiliary=1.0), Term("charge_change", "plain", auxiliary=1.0)),
}


def expected_loss(terms: Sequence[Term], x: Box, y: Box, acceptance: Box, auxiliary: bool) -> Box:
    """Mean over chains of all terms, with the weights of the target or of the initialisation distribution."""
    weights = [term.auxiliary if auxiliary else term.weight for term in terms]
    values = [w * np.mean(term.value(x, y, acceptance)) for term, w in zip(terms, weights, strict=True) if w]
    return sum(values, 0.0)


def acceptance(delta_h: Box, logdet: Box) -> Box:
    """``min(1, exp(logdet - delta_h))``, differentiable almost everywhere (Foreman 2021, eq. 16)."""
    return np.exp(np.minimum(0.0, logdet - delta_h))


def angles(x: Box) -> Box:
    """Plaquette angles, as written."""
    return x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1]


def sine_charge(x: Box) -> Box:
    return np.sum(np.sin(angles(x)), axis=(1, 2)) / (2 * np.pi)


def total(values: Box) -> Box:
    return np.sum(np.reshape(values, (len(values), -1)), axis=1)
