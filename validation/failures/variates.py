"""Cases of control variates, and of chains that accept by estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import arithmetic
from ..checks import variates
from ..checks.maps import LEAST_USEFUL
from ..checks.transcript import AMBIGUOUS
from ..contract import Subject, TargetFault
from ..theories import U1, U
from .case import Case, answer, call, expecting, operation
from .flows import stencil
from .maps import LARGEST_STENCIL
from .moves import moves, turned_by_two_pi

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]


def divergence(at: Subject, draw: Draws) -> Case | None:
    """``f = div g - g . force`` with the oracle's own force, by differences at one step."""
    x = draw.field()
    if at.theory.size > LARGEST_STENCIL:
        return None
    force = np.array([at.theory.loop_force(x[0])]).reshape(1, *at.theory.momentum_shape)
    g = answer(at, {"x": x}, "control_variate_field", "x")
    answer(at, {"x": x}, "control_variate", "x")
    sums = [float(arithmetic.divergence(at, at.control_variate_field(stencil(at, x, h)), h)[0]) for h in variates.STEPS]
    gaps = np.abs(np.diff(sums))
    best = int(np.argmin(np.where(np.isnan(gaps), np.inf, gaps)))
    step = variates.STEPS[best + 1]
    size = abs(sums[best + 1]) + float(np.abs(g * force).sum())
    slack = 10 * float(gaps[best]) + 64 * U * float(np.abs(g).sum()) / (step * at.theory.scale) + 1e-10 * (1 + size)
    if not slack < LEAST_USEFUL * max(1.0, size):
        return None
    calls = [
        call("control_variate_field", "x", keeps="g"),
        call("control_variate_field", "x_stencil", keeps="g_stencil"),
        operation("divergence", "g_stencil", step, keeps="divergence"),
        operation("contracted", "g", "force", keeps="g_force"),
        operation("difference", "divergence", "g_force", keeps="divergence_less_g_force"),
        expecting(call("control_variate", "x"), "divergence_less_g_force", slack),
    ]
    return Case(at, {"x": x, "x_stencil": stencil(at, x, step), "force": force}, calls)


def symmetry(at: Subject, draw: Draws) -> Case | None:
    """A symmetry, or a turn by 2 pi, leaves the variate alone."""
    x, wanted = draw.field(), variates.symmetries(at)
    known = [move for move in moves(at, draw) if move.name.split()[0] in wanted]
    if isinstance(at.theory, U1):
        known.append(turned_by_two_pi(draw, x))
    move = draw.one_of(known)
    if (allowed := _allowed(at, x)) is None:
        return _changing(at, x)
    calls = [
        call("control_variate", "x", keeps="f"),
        move.field("x", "x_moved"),
        expecting(call("control_variate", "x_moved"), "f", 8 * allowed),
    ]
    used = {entry for one in calls for entry in one["arguments"] if isinstance(entry, str)}
    return Case(at, {"x": x, **{name: array for name, array in move.arrays.items() if name in used}}, calls)


def batch(at: Subject, draw: Draws) -> Case | None:
    """The variate of a field beside another is that of the field alone."""
    x = draw.field(2)
    if (allowed := _allowed(at, x)) is None:
        return _changing(at, x)
    calls = [
        call("control_variate", "x", keeps="f"),
        operation("chains", "f", 0, keeps="f_first"),
        expecting(call("control_variate", "x_first"), "f_first", 8 * allowed),
    ]
    return Case(at, {"x": x, "x_first": x[:1].copy()}, calls)


def _allowed(at: Subject, x: Array) -> float | None:
    """What the checks of variates allow in these fields, or None where the same question has another answer."""
    f = answer(at, {"x": x}, "control_variate", "x")
    try:
        return variates.rounding(at, np.random.default_rng(0), x, f)
    except TargetFault:
        return None


def _changing(at: Subject, x: Array) -> Case:
    """The same question twice, another one between."""
    size = float(np.abs(at.control_variate(x)).max())
    again = expecting(call("control_variate", "x"), "f", variates.SAME * size + 1e3 * U)
    calls = [call("control_variate", "x", keeps="f"), call("control_variate", "x_first"), again]
    return Case(at, {"x": x, "x_first": x[:1].copy()}, calls)


def decision(at: Subject, draw: Draws) -> Case | None:
    """A pseudomarginal update accepts where ``u < exp(log_w_proposed - log_w)``, with the estimate it is handed."""
    x, seed, log_w = draw.field(), draw.seed(), np.array([float(draw.integer(-8, 8))])
    record = at.pseudomarginal(x, log_w, seed)
    with np.errstate(divide="ignore"):
        margin = record["log_w_proposed"] - log_w - np.log(record["u"])
    if not np.all(np.abs(margin) > AMBIGUOUS):
        return None
    kept = {name: name for name in ("log_w_proposed", "u", "accept")}
    calls = [
        call("pseudomarginal", "x", "log_w", seed, keeps=kept),
        operation("decision", "log_w_proposed", "log_w", "u", keeps="decision"),
        expecting(operation("unchanged", "accept"), "decision", 0.0),
    ]
    return Case(at, {"x": x, "log_w": log_w}, calls)
