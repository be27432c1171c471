"""Cases of flows: there and back, the logdet, symmetries, fields beside others, densities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import flow_claims as claims
from ..arithmetic import log_jacobian_of_field
from ..checks.flow_response import STEPS, STOPPED, Step, Tolerance, Way, tolerance
from ..checks.flows import HIDDEN
from ..checks.maps import LEAST_USEFUL, NOT_A_FUNCTION, Inconclusive
from ..contract import Subject, TargetFault
from ..replay import Call
from ..theories import U1
from .case import Case, call, expecting, operation
from .maps import LARGEST_STENCIL
from .moves import Move, moves, translation, turned_by_two_pi

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]

WAYS = ("flow_forward", "flow_inverse")
DENSITIES = ("log_prob", "prior_log_prob")


def _allowed(at: Subject, *starts: tuple[str, Array]) -> Tolerance | None:
    """What the checks of flows allow for these functions at these fields, or None where rounding hides everything."""
    ways = [Way(name, _step(at, name), x) for name, x in starts]
    try:
        return tolerance(at, ways, np.random.default_rng(0))
    except Inconclusive:
        return None
    except TargetFault:  # two calls differ
        return Tolerance(NOT_A_FUNCTION, NOT_A_FUNCTION)


def _step(at: Subject, name: str) -> Step:
    """The map; a density as one that leaves its field where it is."""
    function = getattr(at, name)
    return (lambda x: (x, function(x))) if name in DENSITIES else function


def _angles(at: Subject, name: str) -> tuple[str, ...]:
    return (name,) if at.theory.angular else ()


def _both(at: Subject, draw: Draws) -> tuple[Array, list[Call], Tolerance] | None:
    """A field, the calls there and back, and what is allowed."""
    if not all(map(at.has, WAYS)):
        return None
    one, other = draw.one_of((WAYS, WAYS[::-1]))
    x = draw.field()
    allowed = _allowed(at, (one, x), (other, getattr(at, one)(x)[0]))
    calls = [call(one, "x", keeps=["image", "logdet"]), call(other, "image", keeps=["x_back", "logdet_back"])]
    return None if allowed is None else (x, calls, allowed)


def round_trip(at: Subject, draw: Draws) -> Case | None:
    """The inverse undoes the flow, or the flow its inverse."""
    if (drawn := _both(at, draw)) is None:
        return None
    x, calls, allowed = drawn
    back = expecting(operation("unchanged", "x_back"), "x", allowed.field, _angles(at, "x"))
    return Case(at, {"x": x}, [*calls, back])


def logdet_antisymmetry(at: Subject, draw: Draws) -> Case | None:
    """The logdets of both add up to nothing."""
    if (drawn := _both(at, draw)) is None:
        return None
    x, calls, allowed = drawn
    zero = expecting(operation("total", "logdet", "logdet_back"), "zero", allowed.log)
    return Case(at, {"x": x, "zero": np.zeros(1)}, [*calls, zero])


def jacobian(at: Subject, draw: Draws) -> Case | None:
    """The logdet is that of the dense Jacobian, by differences at one step."""
    name, x = draw.one_of([name for name in WAYS if at.has(name)]), draw.field()
    if at.theory.size > LARGEST_STENCIL:
        return None
    step, centre = getattr(at, name), getattr(at, name)(x)[0]
    logs = [float(log_jacobian_of_field(at, step(stencil(at, x, h))[0], centre, h)[0]) for h in STEPS]
    gaps = np.abs(np.diff(logs))
    best = int(np.argmin(np.where(np.isnan(gaps), np.inf, gaps)))
    slack = 10 * float(gaps[best]) + 1e-10 * at.theory.size
    if not slack < LEAST_USEFUL:
        return None
    calls = [
        call(name, "x", keeps=["image", "logdet"]),
        call(name, "x_stencil", keeps=["moved", "logdet_moved"]),
        operation("log_jacobian_of_field", "moved", "image", STEPS[best + 1], keeps="log_jacobian"),
        expecting(operation("unchanged", "logdet"), "log_jacobian", slack),
    ]
    return Case(at, {"x": x, "x_stencil": stencil(at, x, STEPS[best + 1])}, calls)


def stencil(at: Subject, x: Array, h: float) -> Array:
    """The points that `refimpl.validation.arithmetic.log_jacobian_of_field` takes."""
    units = np.concatenate([k * h * at.theory.scale * np.eye(at.theory.size) for k in (-2, -1, 1, 2)])
    return np.asarray(at.theory.pushed(np.repeat(x, len(units), axis=0), units.reshape(-1, *at.theory.momentum_shape)))


# --- symmetries ---------------------------------------------------------------------------------------------------------------
def periodicity(at: Subject, draw: Draws) -> Case | None:
    """Angles turned by 2 pi have the same image and density."""
    x = draw.field()
    return _moved(at, draw, x, turned_by_two_pi(draw, x), image_moves=False)


def equivariance(at: Subject, draw: Draws) -> Case | None:
    """A declared symmetry before the flow is the same as after it."""
    x = draw.field()
    declared = getattr(at.target, "flow_symmetries", ())
    known = [move for move in moves(at, draw) if move.name.split()[0] in declared and "translation" not in move.name]
    if "translation" in declared:
        known += [translation(at, mu, by) for mu, by in enumerate(claims.periods(at))]
    return _moved(at, draw, x, draw.one_of(known)) if known else None


def _moved(at: Subject, draw: Draws, x: Array, move: Move, image_moves: bool = True) -> Case | None:
    name = draw.one_of([name for name in (*WAYS, *DENSITIES) if at.has(name)])
    if (allowed := _allowed(at, (name, x))) is None:
        return None
    if name in DENSITIES:
        calls = [
            call(name, "x", keeps="log_q"),
            move.field("x", "x_moved"),
            expecting(call(name, "x_moved"), "log_q", 4 * HIDDEN * allowed.log),
        ]
    else:
        expected = "image_moved" if image_moves else "image"
        calls = [
            call(name, "x", keeps=["image", "logdet"]),
            move.field("x", "x_moved"),
            *([move.field("image", "image_moved")] if image_moves else []),
            call(name, "x_moved", keeps=["image_other", "logdet_other"]),
            expecting(operation("unchanged", "image_other"), expected, 4 * allowed.field, _angles(at, expected)),
            expecting(operation("unchanged", "logdet_other"), "logdet", 4 * allowed.log),
        ]
    used = {entry for one in calls for entry in one["arguments"] if isinstance(entry, str)}
    return Case(at, {"x": x, **{name: array for name, array in move.arrays.items() if name in used}}, calls)


# --- fields beside others, densities ------------------------------------------------------------------------------------------
def batch(at: Subject, draw: Draws) -> Case | None:
    """A field beside another is mapped, and has the density, as alone."""
    name, x = draw.one_of([name for name in (*WAYS, *DENSITIES) if at.has(name)]), draw.field(2)
    if (allowed := _allowed(at, (name, x))) is None:
        return None
    log = HIDDEN * allowed.log
    arrays = {"x": x, "x_first": x[:1].copy()}
    if name in DENSITIES:
        first = operation("chains", "log_q", 0, keeps="log_q_first")
        alone = expecting(call(name, "x_first"), "log_q_first", log)
        return Case(at, arrays, [call(name, "x", keeps="log_q"), first, alone])
    calls = [
        call(name, "x", keeps=["image", "logdet"]),
        operation("chains", "image", 0, keeps="image_first"),
        operation("chains", "logdet", 0, keeps="logdet_first"),
        call(name, "x_first", keeps=["image_alone", "logdet_alone"]),
        expecting(operation("unchanged", "image_alone"), "image_first", allowed.field, _angles(at, "image_first")),
        expecting(operation("unchanged", "logdet_alone"), "logdet_first", log),
    ]
    return Case(at, arrays, calls)


def prior(at: Subject, draw: Draws) -> Case | None:
    """`prior_log_prob` is that of the declared prior."""
    x, own = draw.field(), claims.prior(at)
    if own is None or not at.has("prior_log_prob"):
        return None
    expected = own.log_prob(x)
    allowed = STOPPED * (at.theory.size + float(np.abs(expected).max()))
    return Case(at, {"x": x, "log_prior": expected}, [expecting(call("prior_log_prob", "x"), "log_prior", allowed)])


def density(at: Subject, draw: Draws) -> Case | None:
    """``log q`` of the image, with the logdet, is the density of the prior at x, the oracle's own or else the target's."""
    x, own = draw.field(), claims.prior(at)
    if not (at.has("flow_forward") and at.has("log_prob")) or (own is None and not at.has("prior_log_prob")):
        return None
    if isinstance(at.theory, U1):
        x = np.where(x >= np.pi, -np.pi, x)
    allowed = _allowed(at, ("flow_forward", x))
    if allowed is None:
        return None
    log_prior = at.prior_log_prob(x) if own is None else own.log_prob(x)
    slack = 4 * (allowed.log + STOPPED * (at.theory.size + float(np.abs(log_prior).max())))
    calls = [
        call("flow_forward", "x", keeps=["image", "logdet"]),
        call("log_prob", "image", keeps="log_q"),
        expecting(operation("total", "log_q", "logdet"), "log_prior", slack),
    ]
    return Case(at, {"x": x, "log_prior": log_prior}, calls)
