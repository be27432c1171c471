"""Cases of the proposing map: there and back, its logdet, symmetries, chains beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import maps
from ..contract import DIRECTION, FLIP, INVOLUTION, Subject, TargetFault
from ..replay import Call
from .case import Case, call, expecting, operation
from .moves import Move, moves, turned_by_two_pi

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]
Point = tuple[str, str, str]  # the names of x, v and the logdet that led there

START: Point = ("x", "v", "")
END: Point = ("x_end", "v_end", "logdet")
BACK: Point = ("x_back", "v_back", "logdet_back")
LARGEST_STENCIL = 128  # degrees of freedom: links of SU(2) on 4x4 sites have 96
POINTS = 8  # as many as the check of components that never move asks at
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)


def ahead(at: Subject, start: Point, end: Point, tag: str = "") -> list[Call]:
    """The forward map from one point to another, by `forward`, or as the proposal of `transition` (which gets u = 1/2)."""
    if at.has("forward"):
        return [call("forward", [*start[:2]], keeps=[[*end[:2]], end[2]])]
    return [_proposed(at, start, end, "plus" + tag, tag)]


def back(at: Subject, start: Point, end: Point, tag: str = "") -> list[Call]:
    """The inverse map: `inverse`, or what it must be by the declared reversal."""
    if at.has("inverse"):
        return [call("inverse", [*start[:2]], keeps=[[*end[:2]], end[2]])]
    if at.reversal == INVOLUTION:
        return ahead(at, start, end, tag)
    if at.reversal == FLIP:
        return flipped(at, start, end, tag)
    return [_proposed(at, start, end, "minus" + tag, tag)]


def flipped(at: Subject, start: Point, end: Point, tag: str = "") -> list[Call]:
    """Flip, forward, flip."""
    before, after = f"{start[1]}_flipped", f"{end[1]}_flipped"
    return [
        operation("negative", start[1], keeps=before),
        *ahead(at, (start[0], before, ""), (end[0], after, end[2]), tag),
        operation("negative", after, keeps=end[1]),
    ]


def _proposed(at: Subject, start: Point, end: Point, direction: str, tag: str) -> Call:
    noise = ["half" + tag, *([direction] if at.directed else [])]
    keeps = {"x_proposed": end[0], "v_proposed": end[1], "logdet": end[2]}
    return call("transition", start[0], start[1], *noise, keeps=keeps)


def constants(at: Subject, calls: list[Call], chains: int, tag: str = "") -> dict[str, Array]:
    """The noise that calls of `transition` take."""
    values = {"half" + tag: np.full(chains, 0.5), "plus" + tag: np.ones(chains), "minus" + tag: -np.ones(chains)}
    used = {name for entry in calls for name in entry["arguments"] if isinstance(name, str)}
    return {name: value for name, value in values.items() if name in used}


def same(at: Subject, got: Point, expected: Point, tolerance: float) -> list[Call]:
    """Two points are one, angles on the circle."""
    angles = (expected[0],) if at.theory.angular else ()
    return [
        expecting(operation("unchanged", got[0]), expected[0], tolerance, angles),
        expecting(operation("unchanged", got[1]), expected[1], tolerance),
    ]


def tolerance(at: Subject, x: Array, v: Array) -> float | None:
    """What the checks of maps allow at this point, or None where rounding hides everything."""
    try:
        return maps.rounding(at, (x, v), np.random.default_rng(0))
    except maps.Inconclusive:
        return None
    except TargetFault:
        return maps.NOT_A_FUNCTION  # two calls differ: whatever differs by more than this does so visibly


def _made(at: Subject, arrays: dict[str, Array], calls: list[Call]) -> Case:
    return Case(at, {**arrays, **constants(at, calls, len(arrays["x"]))}, calls)


# --- there and back -----------------------------------------------------------------------------------------------------------
def round_trip(at: Subject, draw: Draws) -> Case | None:
    """The inverse undoes the map, or the map its inverse."""
    x, v = draw.field(), draw.momenta()
    allowed = tolerance(at, x, v)
    if allowed is None:
        return None
    steps = (ahead, back) if draw.one_of((True, False)) else (back, ahead)
    calls = [*steps[0](at, START, END), *steps[1](at, END, BACK)]
    return _made(at, {"x": x, "v": v}, [*calls, *same(at, BACK, START, allowed)])


def logdet_antisymmetry(at: Subject, draw: Draws) -> Case | None:
    """The logdets of both directions add up to nothing."""
    x, v = draw.field(), draw.momenta()
    allowed = tolerance(at, x, v)
    if allowed is None:
        return None
    calls = [*ahead(at, START, END), *back(at, END, BACK)]
    zero = expecting(operation("total", "logdet", "logdet_back"), "zero", allowed * v[0].size)
    return _made(at, {"x": x, "v": v, "zero": np.zeros(1)}, [*calls, zero])


def reversal(at: Subject, draw: Draws) -> Case | None:
    """The proposal is undone as declared."""
    if at.reversal == DIRECTION:
        return _directed(at, draw)
    x, v = draw.field(), draw.momenta()
    allowed = tolerance(at, x, v)
    if allowed is None:
        return None
    undo = flipped if at.reversal == FLIP else ahead
    calls = [*ahead(at, START, END), *undo(at, END, BACK), *same(at, BACK, START, allowed)]
    zero = expecting(operation("total", "logdet", "logdet_back"), "zero", allowed * v[0].size)
    return _made(at, {"x": x, "v": v, "zero": np.zeros(1)}, [*calls, zero])


def _directed(at: Subject, draw: Draws) -> Case | None:
    """`transition` applies the inverse for d = -1."""
    x, v = draw.field(), draw.momenta()
    allowed = tolerance(at, x, v)
    if allowed is None or not (at.has("transition") and at.has("inverse")):
        return None
    calls = [*back(at, START, END), _proposed(at, START, BACK, "minus", ""), *same(at, BACK, END, allowed)]
    return _made(at, {"x": x, "v": v}, calls)


def jacobian(at: Subject, draw: Draws) -> Case | None:
    """The logdet is that of the dense Jacobian of the map, by differences at one step."""
    size = at.theory.size
    if size > LARGEST_STENCIL:
        return None
    x, v = draw.field(), draw.momenta()
    logs = np.array([float(np.linalg.slogdet(maps.dense_jacobian(at, (x, v), h))[1]) for h in STEPS])
    gaps = np.abs(np.diff(logs))
    best = int(np.argmin(np.where(np.isnan(gaps), np.inf, gaps)))
    slack = 10 * float(gaps[best]) + 1e-10 * 2 * size
    if not slack < maps.LEAST_USEFUL:
        return None
    step = STEPS[best + 1]
    xs, vs = stencil(at, x, v, step)
    calls = [
        *ahead(at, START, END),
        *ahead(at, ("x_stencil", "v_stencil", ""), ("x_moved", "v_moved", "logdet_moved"), "_of_all"),
        operation("log_jacobian", "x_moved", "v_moved", "x_end", "v_end", step, keeps="log_jacobian"),
        expecting(operation("unchanged", "logdet"), "log_jacobian", slack),
    ]
    arrays = {"x": x, "v": v, "x_stencil": xs, "v_stencil": vs, **constants(at, calls, len(xs), "_of_all")}
    return _made(at, arrays, calls)


def stencil(at: Subject, x: Array, v: Array, h: float) -> tuple[Array, Array]:
    """The points that `refimpl.validation.arithmetic.log_jacobian` takes."""
    size, half = v.size, v[0].shape
    steps = np.concatenate([k * h * np.diag(np.repeat([at.theory.scale, 1.0], size)) for k in (-2, -1, 1, 2)])
    xs = at.theory.pushed(np.repeat(x, len(steps), axis=0), steps[:, :size].reshape(-1, *half))
    return xs, v + steps[:, size:].reshape(-1, *half)


def moves_every_link(at: Subject, draw: Draws) -> Case:
    """Of a few random points every component is moved somewhere."""
    x, v = maps.phase_points(at, draw.rng(), POINTS)
    calls = [
        *ahead(at, START, END),
        operation("standing", "x", "v", "x_end", "v_end", keeps="standing"),
        expecting(operation("unchanged", "standing"), "none", 0.0),
    ]
    return _made(at, {"x": x, "v": v, "none": np.zeros(1)}, calls)


# --- chains and calls ---------------------------------------------------------------------------------------------------------
def batch_of_one(at: Subject, draw: Draws) -> Case | None:
    """A chain moves beside another as it moves alone."""
    x, v = draw.field(2), draw.momenta(2)
    allowed = tolerance(at, x, v)
    if allowed is None:
        return None
    calls = [
        *ahead(at, START, END, "_of_both"),
        operation("chains", "x_end", 0, keeps="x_end_first"),
        operation("chains", "v_end", 0, keeps="v_end_first"),
        *ahead(at, ("x_first", "v_first", ""), ("x_alone", "v_alone", "logdet_alone")),
        *same(at, ("x_alone", "v_alone", ""), ("x_end_first", "v_end_first", ""), allowed),
    ]
    arrays = {"x": x, "v": v, "x_first": x[:1].copy(), "v_first": v[:1].copy()}
    noise = constants(at, calls, 1) | constants(at, calls, 2, "_of_both")
    return Case(at, {**arrays, **noise}, calls)


def repeat_call(at: Subject, draw: Draws) -> Case | None:
    """Two calls with one input give the same bits."""
    x, v = draw.field(), draw.momenta()
    calls = [*ahead(at, START, END), *ahead(at, START, BACK)]
    bits = [expecting(operation("unchanged", got), expected, 0.0) for got, expected in zip(BACK, END, strict=True)]
    return _made(at, {"x": x, "v": v}, [*calls, *bits])


# --- symmetries ---------------------------------------------------------------------------------------------------------------
def periodicity(at: Subject, draw: Draws) -> Case | None:
    """Angles turned by 2 pi have the same image."""
    x, v = draw.field(), draw.momenta()
    return _moved(at, x, v, turned_by_two_pi(draw, x), image_moves=False)


def equivariance(at: Subject, draw: Draws) -> Case | None:
    """A symmetry before the map is the same as after it."""
    x, v = draw.field(), draw.momenta()
    known = moves(at, draw)
    return _moved(at, x, v, draw.one_of(known)) if known else None


def _moved(at: Subject, x: Array, v: Array, move: Move, image_moves: bool = True) -> Case | None:
    allowed = tolerance(at, x, v)
    if allowed is None:
        return None
    expected = ("x_end_moved", "v_end_moved", "") if image_moves else END
    calls = [
        *ahead(at, START, END),
        move.field("x", "x_moved"),
        move.tangent("v", "v_moved"),
        *ahead(at, ("x_moved", "v_moved", ""), ("x_other", "v_other", "logdet_other")),
        *([move.field("x_end", "x_end_moved"), move.tangent("v_end", "v_end_moved")] if image_moves else []),
        *same(at, ("x_other", "v_other", ""), expected, 4 * allowed),
        expecting(operation("unchanged", "logdet_other"), "logdet", 4 * allowed * v[0].size),
    ]
    used = {name for entry in calls for name in entry["arguments"] if isinstance(name, str)}
    more = {name: array for name, array in move.arrays.items() if name in used}
    return _made(at, {"x": x, "v": v, **more}, calls)
