"""Cases of functions whose answers the oracle knows: action, force, observables, the Dirac operator, pseudofermions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import measure, measure_dirac
from ..checks.fermions import ENTRY, fermions_of
from ..checks.pseudofermions import Pseudofermions
from ..contract import Subject
from ..theories import ANGLE, U1, Matrices, Phi4, U
from .case import Case, call, expecting, operation

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]

NEAR_CUT = 1e-6  # a plaquette that is closer to +-pi may be wrapped to either side
EASY_CONDITION = 1e6  # of D, for pseudofermions


def _judged(at: Subject, x: Array) -> bool:
    """Whether fermions, if there are any, have an operator that is not nearly singular."""
    return at.flavours is None or bool(at.flavours.invertible(x).all())


def action(at: Subject, draw: Draws) -> Case | None:
    """The action, less that of the cold field: the constant is free."""
    x, cold = draw.field(), draw.cold
    both = np.concatenate([x, cold])
    if not at.has("action") or not _judged(at, both):
        return None
    expected = np.array([at.theory.loop_action(x[0]) - at.theory.loop_action(cold[0])])
    calls = [
        call("action", "cold", keeps="action_cold"),
        call("action", "x", keeps="action_x"),
        expecting(
            operation("difference", "action_x", "action_cold"), "action_change", 2 * at.theory.action_rounding(both)
        ),
    ]
    return Case(at, {"x": x, "cold": cold, "action_change": expected}, calls)


def force(at: Subject, draw: Draws) -> Case | None:
    """The force."""
    x = draw.field()
    if not at.has("force") or not _judged(at, x):
        return None
    arrays = {"x": x, "force": np.array([at.theory.loop_force(c) for c in x]).reshape(1, *at.theory.momentum_shape)}
    return Case(at, arrays, [expecting(call("force", "x"), "force", 2 * at.theory.force_rounding(x))])


def plaquette(at: Subject, draw: Draws) -> Case | None:
    """The mean plaquette."""
    return _observable(at, draw, "plaquette", at.links.loop_mean_plaquette, at.links.plaquette_rounding)


def charge(at: Subject, draw: Draws) -> Case | None:
    """The charge, where no plaquette is at the cut."""
    x = draw.field()
    angles = measure.angle_difference(measure.plaquette_angles(x), np.zeros(1))
    if not at.has("charge") or np.any(np.pi - np.abs(angles) < NEAR_CUT):
        return None
    arrays = {"x": x, "charge": np.rint([measure.loop_charge(c) for c in x])}
    return Case(at, arrays, [expecting(call("charge", "x"), "charge", 1e-9)])


def sine_charge(at: Subject, draw: Draws) -> Case | None:
    """The sine charge."""
    volume = at.links.volume
    return _observable(at, draw, "sine_charge", measure.loop_sine_charge, volume * (ANGLE + volume * U))


def wilson_loop(at: Subject, draw: Draws) -> Case | None:
    """A Wilson loop of up to three by three."""
    a, b = (draw.integer(1, min(3, extent)) for extent in at.links.shape)
    loops = at.links.loop_wilson_loop
    return _observable(at, draw, "wilson_loop", lambda c: loops(c, a, b), at.links.loop_rounding, a, b)


def correlator(at: Subject, draw: Draws) -> Case | None:
    """The correlator of time slices at some distance."""
    t, theory = draw.integer(0, at.scalars.shape[0] - 1), at.scalars
    return _observable(at, draw, "correlator", lambda c: theory.loop_correlator(c, t), 2, t)


def field_moment(at: Subject, draw: Draws) -> Case | None:
    """The mean of a power of the field."""
    k, theory = draw.integer(1, 4), at.scalars
    return _observable(at, draw, "field_moment", lambda c: theory.loop_moment(c, k), k, k)


def _observable(
    at: Subject, draw: Draws, name: str, loop: Callable[[Array], float], tolerance: float, *arguments: int
) -> Case | None:
    x = draw.field()
    if not at.has(name):
        return None
    if isinstance(at.theory, Phi4):  # there ``tolerance`` is a power
        tolerance = at.scalars.moment_rounding(x, int(tolerance))
    arrays = {"x": x, name: np.array([loop(c) for c in x])}
    return Case(at, arrays, [expecting(call(name, "x", *arguments), name, tolerance)])


def batch(at: Subject, draw: Draws) -> Case | None:
    """What is said of a field beside another is what is said of it alone."""
    x = draw.field(2)
    if not _judged(at, x):
        return None
    theory, own = at.theory, {"action": at.theory.action_rounding(x), "force": at.theory.force_rounding(x)}
    if isinstance(theory, U1 | Matrices):
        own["plaquette"] = theory.plaquette_rounding
    if isinstance(theory, U1):
        own |= {"charge": 1e-9, "sine_charge": theory.volume * (ANGLE + theory.volume * U)}
    if at.flavours:
        own["logdet_dirac"] = at.flavours.action_rounding(x)
    calls = []
    for name in (name for name in own if at.has(name)):
        calls += [
            call(name, "x", keeps=f"{name}_of_both"),
            operation("chains", f"{name}_of_both", 0, keeps=f"{name}_of_first"),
            expecting(call(name, "x_first"), f"{name}_of_first", 8 * own[name]),
        ]
    return Case(at, {"x": x, "x_first": x[:1].copy()}, calls) if calls else None


# --- fermions ---------------------------------------------------------------------------------------------------------------
def dirac_dense(at: Subject, draw: Draws) -> Case | None:
    """The Wilson-Dirac matrix."""
    x = draw.field()
    if not at.has("dirac_dense"):
        return None
    arrays = {"x": x, "dirac_dense": fermions_of(at).matrix(x)}
    return Case(at, arrays, [expecting(call("dirac_dense", "x"), "dirac_dense", ENTRY)])


def dirac_apply(at: Subject, draw: Draws) -> Case | None:
    """Its product with a spinor field."""
    x = draw.field()
    psi = draw.spinors(at.spinor_shape(x))
    if not at.has("dirac_apply"):
        return None
    product = np.einsum("nij,nj->ni", fermions_of(at).matrix(x), psi.reshape(1, -1)).reshape(psi.shape)
    tolerance = 8 * ENTRY * max(1.0, float(np.abs(psi).max()))
    return Case(
        at,
        {"x": x, "psi": psi, "dirac_psi": product},
        [expecting(call("dirac_apply", "x", "psi"), "dirac_psi", tolerance)],
    )


def logdet_dirac(at: Subject, draw: Draws) -> Case | None:
    """The logarithm of its determinant."""
    x, own = draw.field(), fermions_of(at)
    if not at.has("logdet_dirac") or not _judged(at, x):
        return None
    arrays = {"x": x, "log_determinant": np.linalg.slogdet(own.matrix(x))[1]}
    return Case(at, arrays, [expecting(call("logdet_dirac", "x"), "log_determinant", own.action_rounding(x))])


def pseudofermion_action(at: Subject, draw: Draws) -> Case | None:
    """The action of the monomials that are declared."""
    drawn = _pseudofermions(at, draw, "pseudofermion_action")
    if drawn is None:
        return None
    x, phi, own = drawn
    parts = own.forms(own.kernels, phi)
    scale = np.abs(parts).sum(axis=0)
    for v, (mass, factor) in zip(own.living(phi).swapaxes(0, 1), own.steps(), strict=True):
        inside = np.einsum("ni,ni->n", v.conj(), own.solved(mass, v)).real
        scale += factor * own.condition_at(mass) * inside
    arrays = {"x": x, "phi": phi, "pseudofermion_action": parts.sum(axis=0)}
    tolerance = 64 * own.d.shape[-1] * U * float(scale.max())
    return Case(at, arrays, [expecting(call("pseudofermion_action", "x", "phi"), "pseudofermion_action", tolerance)])


def pseudofermion_force(at: Subject, draw: Draws) -> Case | None:
    """Its derivative, component by component."""
    drawn = _pseudofermions(at, draw, "pseudofermion_force")
    if drawn is None or at.theory.size > 128:
        return None
    x, phi, own = drawn
    flavours, size, shape = fermions_of(at), at.theory.size, at.theory.momentum_shape
    w = np.eye(size).reshape(size, *shape)
    many = np.repeat(x, size, axis=0)
    dd = measure_dirac.derivative(
        many, w if np.iscomplexobj(x) else w[..., None], flavours.generators, flavours.kappa, flavours.antiperiodic
    )
    d, core = np.repeat(own.d, size, axis=0), np.repeat(own.core, size, axis=0)
    dcore = measure_dirac.core_derivative(d, dd, own.shape, own.declared.even_odd)
    slopes = measure_dirac.kernel_derivatives(core, dcore, own.declared.mus, own.declared.mu_reg)
    expected = own.forms(slopes, np.repeat(phi, size, axis=0)).sum(axis=0).reshape(1, *shape)
    size_of = float((np.abs(phi) ** 2).sum() * (own.condition / own.singular[:, -1] ** 2).max())
    tolerance = 128 * own.d.shape[-1] * U * size_of
    arrays = {"x": x, "phi": phi, "pseudofermion_force": expected}
    return Case(at, arrays, [expecting(call("pseudofermion_force", "x", "phi"), "pseudofermion_force", tolerance)])


def _pseudofermions(at: Subject, draw: Draws, name: str) -> tuple[Array, Array, Pseudofermions] | None:
    x = draw.field()
    phi = draw.spinors(at.pseudofermion_shape(x))
    shape = at.links.shape
    if not at.has(name) or (at.monomials.even_odd and (shape[0] % 2 or shape[1] % 2)):
        return None
    own = Pseudofermions(at, x)
    phi.reshape(*phi.shape[:2], -1)[:, :, ~own.rows] = 0
    return (x, phi, own) if own.condition.max() < EASY_CONDITION else None
