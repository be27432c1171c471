"""The Wilson-Dirac operator and its determinant: against explicit matrices, identities, momentum space, golden vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import fermions as free

from .. import exhibits, measure_matrices, vectors
from .. import measure as measure_angles
from .. import measure_dirac as measure
from ..contract import Subject
from ..theories import U1, Flavours, Matrices, Monomials, U
from ..verdict import Verdict, skipped, within
from .static import fields_of

Array = NDArray[np.float64]
Complex = NDArray[Any]

ENTRY = 64 * U  # an entry of D: two hops on two sites, each a product of a phase and numbers of size 1
HEAVY_HOPPING = 0.4
SINGULAR = 1e-4  # least singular value over the largest, below which pseudofermions lose all digits
SINGLE = 1e-5  # relative errors below are those of sums in single precision
GOLDEN = 1e-11  # of the largest entry: condition numbers of the vectors reach 1e4
SMALL: tuple[dict[str, Any], ...] = ({"shape": (2, 2)}, {"shape": (2, 4)}, {"shape": (4, 2)})


def fermions_of(subject: Subject) -> Flavours:
    """The fermions that the theory has: checks of this file apply to no other theory."""
    if subject.flavours is None:
        raise TypeError(f"theory: got {subject.theory.name} without fermions")
    return subject.flavours


def lattices(subject: Subject) -> Iterator[tuple[Subject, NDArray[Any]]]:
    """The target on its own lattice and, where it can be made there, on lattices of two sites in a direction; test fields."""
    shapes = set()
    for at in (subject, *(subject.replace(**changes) for changes in SMALL)):
        if at is not None and at.links.shape not in shapes:
            shapes.add(at.links.shape)
            yield at, fields_of(at.theory)


def fields_of_all_sizes(theory: U1 | Matrices, rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Links from near 1 to all over the group: for what holds at any gauge field, without the cost of exact ones."""
    size = rng.uniform(0, np.pi, n)
    if isinstance(theory, Matrices):
        cold = np.broadcast_to(np.eye(theory.n, dtype=np.complex128), (n, *theory.field_shape))
        return theory.pushed(cold, size[:, None, None, None, None] * rng.standard_normal((n, *theory.momentum_shape)))
    return np.asarray(size[:, None, None, None] * rng.uniform(-1, 1, (n, *theory.field_shape)))


def shape_of(x: NDArray[Any]) -> str:
    return f"shape {x.shape[2]}x{x.shape[3]}"


def products(subject: Subject, x: NDArray[Any], *spinors: Complex) -> Iterator[tuple[str, list[Complex]]]:
    """``D`` times spinors, flattened, in each way that the target offers."""
    if subject.has("dirac_apply"):
        yield "dirac_apply", [subject.dirac_apply(x, psi).reshape(len(x), -1) for psi in spinors]
    if subject.has("dirac_dense"):
        d = subject.dirac_dense(x)
        yield "dirac_dense", [np.einsum("nij,nj->ni", d, psi.reshape(len(x), -1)) for psi in spinors]


def hint(error: float, scale: float = 1.0) -> str:
    """Of a failure: whether its error, in units of this, is one that single precision makes."""
    return "; an error of the size of single precision" if error < SINGLE * scale else ""


def dense(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The dense Wilson-Dirac matrix against one built hop by hop, also on two sites in a direction, where entries add.

    A boundary sign that is missing, an entry that is set where it should be added, a wrong gamma or a wrong dagger fails here.

    If it fails: compare ``D`` of the cold field entry by entry: the time boundary shows first, then the projectors ``1
    -+ sigma_mu``, then the daggers.
    """
    largest, detail, n = 0.0, "", 0
    shown: exhibits.Exhibits = ()
    for at, x in lattices(subject):
        expected, got = fermions_of(at).matrix(x), at.dirac_dense(x)
        error = float(np.abs(got - expected).max())
        n += len(x)
        if not error <= largest:
            largest, detail = error, f"{shape_of(x)}: {_suspect(at, x, got, expected)}{hint(error)}"
            shown = by_site(at, x, got - expected, ENTRY, "rows of D")
    return within("max |D - hop by hop|", largest, ENTRY, f"an entry wrong by {ENTRY:.1e}", n, detail, shown)


def by_site(at: Subject, x: NDArray[Any], error: Complex, bound: float, what: str) -> exhibits.Exhibits:
    """Of errors of spinors, or of matrices by their rows: the largest at every site."""
    sites = (len(x), 1, *x.shape[2:4])
    return exhibits.differences(at.theory, np.abs(error).reshape(*sites, -1).max(axis=-1), bound, what)


def _suspect(at: Subject, x: NDArray[Any], got: Complex, expected: Complex) -> str:
    """Where two matrices differ most, and of which known mistake or other convention the wrong one is."""
    chain, row, column = (int(i) for i in np.unravel_index(np.argmax(np.abs(got - expected)), got.shape))
    text = f"row {row}, column {column}: got {got[chain, row, column]:.6g}, expected {expected[chain, row, column]:.6g}"
    own = fermions_of(at)
    mistakes = {
        "the other boundary condition in time": measure.dirac_matrix(x, own.kappa, not own.antiperiodic),
        "the adjoint": expected.conj().swapaxes(-1, -2),
        "twice the kappa": measure.dirac_matrix(x, 2 * own.kappa, own.antiperiodic),
        "sigma_x and sigma_y exchanged, a change of the spin basis": _exchanged(expected, x),
    }
    if own.antiperiodic:
        spread = [_with_phase(x, own.kappa, 0, slice(None), np.exp(s * 1j * np.pi / x.shape[2])) for s in (1, -1)]
        mistakes |= {
            "the boundary sign on the first time slice, a gauge transformation": _with_phase(x, own.kappa, 0, 0, -1),
            "the boundary sign spread over all time slices as exp(i pi/T), a gauge transformation": spread[0],
            "the boundary sign spread over all time slices as exp(-i pi/T), a gauge transformation": spread[1],
            "the boundary sign in space": _with_phase(x, own.kappa, 1, -1, -1),
        }
    for name, wrong in mistakes.items():
        if np.abs(got - wrong).max() < 1e-6:
            return f"{text}; it is {name}"
    with np.errstate(invalid="ignore"):
        same = np.abs(np.linalg.slogdet(got)[1] - np.linalg.slogdet(expected)[1]).max() < 1e-6
    return f"{text}; it has the same determinant: a change of basis, or a gauge transformation?" if same else text


def _exchanged(d: Complex, x: NDArray[Any]) -> Complex:
    """``W D W`` with ``W = (sigma_x + sigma_y)/2^1/2`` in spin, which exchanges the two."""
    w = (measure.SIGMA[0] + measure.SIGMA[1]) / np.sqrt(2)
    colours = x.shape[-1] if np.iscomplexobj(x) else 1
    turn = np.kron(np.eye(d.shape[-1] // (2 * colours)), np.kron(w, np.eye(colours)))
    return np.asarray(turn @ d @ turn)


def _with_phase(x: NDArray[Any], kappa: float, mu: int, where: int | slice, phase: complex) -> Complex:
    """D of periodic fermions with a phase on the links of a direction, in some of its slices."""
    links = measure.link_matrices(x).copy()
    links[(slice(None), mu, where) if mu == 0 else (slice(None), mu, slice(None), where)] *= phase
    h = measure.hops(links, antiperiodic=False)
    return np.asarray(np.eye(h.shape[-1]) - kappa * h)


def apply(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``D psi`` of the matrix-free operator against the matrix built hop by hop, for random spinors.

    If it fails: if fermions.dense passes, matrix and operator disagree: a hop in one direction, or the order of spin
    and colour axes.
    """
    largest, detail, n = 0.0, "", 0
    shown: exhibits.Exhibits = ()
    for at, x in lattices(subject):
        psi = measure.random_spinors(rng, at.spinor_shape(x))
        expected = np.einsum("nij,nj->ni", fermions_of(at).matrix(x), psi.reshape(len(x), -1)).reshape(psi.shape)
        off = (at.dirac_apply(x, psi) - expected) / np.abs(psi).max()
        error = float(np.abs(off).max())
        n += len(x)
        if not error <= largest:
            largest, detail = error, f"{shape_of(x)}: off by {error:.3g}{hint(error)}"
            shown = by_site(at, x, off, 16 * ENTRY, "D psi")
    tolerance = 16 * ENTRY
    return within("max |D psi - matrix psi|", largest, tolerance, f"an error of {tolerance:.1e}", n, detail, shown)


def batch(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A chain alone has the operator, the pseudofermion action and force that it has inside a batch.

    If it fails: a solver that stops for all chains when one has converged, or a cache of factors, mixes the chains.
    """
    largest, detail, n = 0.0, "", 0
    for at, x in lattices(subject):
        for name, function, args, tolerance in _per_chain(at, rng, x):
            together = function(*args)
            alone = np.concatenate([function(*(arg[i : i + 1] for arg in args)) for i in range(len(args[0]))])
            error = np.abs(together - alone).reshape(len(alone), -1).max(axis=1) / tolerance(together)
            n += len(alone)
            if not float(error.max()) <= largest:
                k = int(np.argmax(error))
                off = float(np.abs(together - alone)[k].max())
                largest, detail = float(error.max()), f"{name}, {shape_of(x)}: field {k} is off by {off:.3g} when alone"
    return within("largest change over its rounding", largest, 1.0, "a change of one rounding bound", n, detail)


Answer = Callable[..., NDArray[Any]]


def _per_chain(
    at: Subject, rng: np.random.Generator, x: NDArray[Any]
) -> Iterator[tuple[str, Answer, tuple[NDArray[Any], ...], Callable[[NDArray[Any]], Array | float]]]:
    """What is on offer of these: names, functions, arguments, and the rounding of an answer, per chain."""
    if at.has("dirac_dense"):
        yield "dirac_dense", at.dirac_dense, (x,), lambda _: 2 * ENTRY
    if at.has("dirac_apply"):
        psi = measure.random_spinors(rng, at.spinor_shape(x))
        yield "dirac_apply", at.dirac_apply, (x, psi), lambda _: 32 * ENTRY * float(np.abs(psi).max())
    declared, shape = at.monomials, x.shape[2:4]
    if declared.even_odd and (shape[0] % 2 or shape[1] % 2):
        return
    s = np.linalg.svd(measure.cores(fermions_of(at).matrix(x), shape, declared.even_odd), compute_uv=False)
    regular = s[:, -1] > SINGULAR * s[:, 0]
    x, s = x[regular], s[regular] ** 2 + declared.mu_reg
    if not len(x):
        return
    phi = measure.random_spinors(rng, at.pseudofermion_shape(x))
    if declared.even_odd:
        width = phi[0, 0].size // (shape[0] * shape[1])
        phi.reshape(*phi.shape[:2], -1)[:, :, ~measure.even_rows(shape, width)] = 0
    # A solution is wrong by the condition number; a force has two of them.
    size, slack = (np.abs(phi) ** 2).reshape(len(x), -1).sum(axis=1), 128 * phi[0, 0].size * U * s[:, 0] / s[:, -1]
    if at.has("pseudofermion_action"):
        yield "pseudofermion_action", at.pseudofermion_action, (x, phi), lambda got: slack * np.abs(got)
    if at.has("pseudofermion_force"):
        yield "pseudofermion_force", at.pseudofermion_force, (x, phi), lambda _: slack * size / s[:, -1] ** 2


def gamma5_hermiticity(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``gamma5 D gamma5 = D^dag``: ``a^dag gamma5 D gamma5 b = (D a)^dag b`` for random spinors.

    The backward hop must be the dagger of the forward hop with the other projector; this is why the determinant is real.

    If it fails: one of the two hops has the wrong projector or lacks its dagger; without this identity the weight of
    two flavours is not positive.
    """
    largest, detail, n = 0.0, "", 0
    for at, x in lattices(subject):
        a, b = (measure.random_spinors(rng, at.spinor_shape(x)) for _ in range(2))
        sign = measure.gamma5(a[0].size, at.theory.n if np.iscomplexobj(x) else 1)  # type: ignore[union-attr]
        turned = (b.reshape(len(x), -1) * sign).reshape(b.shape)
        for name, (da, db) in products(at, x, a, turned):
            left = np.einsum("ni,i,ni->n", a.reshape(len(x), -1).conj(), sign, db)
            right = np.einsum("ni,ni->n", da.conj(), b.reshape(len(x), -1))
            error = float(np.abs(left - right).max()) / a[0].size
            n += len(x)
            if not error <= largest:
                largest, detail = (
                    error,
                    f"{name}, {shape_of(x)}: the two sides differ by {error:.3g} per component{hint(error)}",
                )
    tolerance = 64 * ENTRY
    return within("max |gamma5 D gamma5 - D^dag|", largest, tolerance, f"a violation of {tolerance:.1e}", n, detail)


def gauge_covariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``R(Omega) D[U] = D[U^Omega] R(Omega)`` for random gauge transformations: the operator moves with the links.

    A hop through the wrong link, or without the dagger on the way back, breaks it.

    If it fails: find the hop that takes its link from the neighbour's site; a correct operator transports every spinor
    to where it is added.
    """
    largest, detail, n = 0.0, "", 0
    for at, x in lattices(subject):
        omega, moved = _gauge(rng, x)
        rotation = measure.gauge_rotation(omega)
        psi = measure.random_spinors(rng, at.spinor_shape(x))
        turned = np.einsum("nij,nj->ni", rotation, psi.reshape(len(x), -1)).reshape(psi.shape)
        before, after = dict(products(at, x, psi)), dict(products(at, moved, turned))
        for name, (first,) in before.items():
            error = float(np.abs(np.einsum("nij,nj->ni", rotation, first) - after[name][0]).max() / np.abs(psi).max())
            n += len(x)
            if not error <= largest:
                largest, detail = error, f"{name}, {shape_of(x)}: the two sides differ by {error:.3g}{hint(error)}"
    tolerance = 32 * ENTRY
    return within("max |R D[U] - D[U'] R|", largest, tolerance, f"a violation of {tolerance:.1e}", n, detail)


def _gauge(rng: np.random.Generator, x: NDArray[Any]) -> tuple[Complex, NDArray[Any]]:
    """A random gauge transformation as matrices ``(n, T, X, N, N)``, and the field after it."""
    sites = (len(x), *x.shape[2:4])
    if np.iscomplexobj(x):
        omega = measure_matrices.random_elements(rng, sites, x.shape[-1])
        return omega, measure_matrices.gauge_transformed(x, omega)
    alpha = rng.uniform(-np.pi, np.pi, sites)
    change = np.stack([alpha - np.roll(alpha, -1, axis=1), alpha - np.roll(alpha, -1, axis=2)], axis=1)
    return np.exp(1j * alpha)[..., None, None], x + change


def determinant(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``log |det D|`` against that of the matrix built hop by hop, on every test field; its phase, where D is given, is real.

    Where the target can be made at kappa = 0.4 also on fields where ``det D`` is negative, as it can be beyond kappa = 1/4.

    If it fails: a constant factor is a normalisation; if it is right on some fields only, look at ``log |det|`` without
    the absolute value. ``det D`` may be negative, ``det D^2`` not.
    """
    largest, detail, n = 0.0, "", 0
    for at, x in (*lattices(subject), *_negative(subject)):
        own = fermions_of(at)
        tolerance = own.action_rounding(x)
        expected = np.linalg.slogdet(own.matrix(x))[1]
        errors = {"log |det D|": np.abs(at.logdet_dirac(x) - expected)} if at.has("logdet_dirac") else {}
        if at.has("dirac_dense"):
            phase, log_abs = np.linalg.slogdet(at.dirac_dense(x))
            errors |= {"the phase of det D": np.abs(phase.imag), "log |det| of the matrix": np.abs(log_abs - expected)}
        for name, error in errors.items():
            ratio = float(error.max()) / tolerance
            n += len(x)
            if not ratio <= largest:
                k = int(np.argmax(error))
                largest, detail = (
                    ratio,
                    f"{name}, {shape_of(x)}: off by {error[k]:.6g} where log |det D| = {expected[k]:.6g}"
                    f"{hint(error[k], 1 + abs(expected[k]))}",
                )
    sensitivity = "an error of log |det D| of one rounding bound"
    return within("largest error over its rounding", largest, 1.0, sensitivity, n, detail)


def _negative(subject: Subject) -> Iterator[tuple[Subject, NDArray[Any]]]:
    """The target at a large kappa, and hot fields whose determinant is negative (there are none of SU(2))."""
    at = subject.replace(kappa=HEAVY_HOPPING)
    if at is None:
        return
    rng, theory = np.random.default_rng(1), at.links
    if isinstance(theory, Matrices):
        x: NDArray[Any] = measure_matrices.random_elements(rng, (64, 2, *theory.shape), theory.n)
    else:
        x = rng.uniform(-np.pi, np.pi, (256, *theory.field_shape))
    x = x[np.linalg.slogdet(fermions_of(at).matrix(x))[0].real < 0][:8]
    if len(x):
        yield at, x


def free_determinant(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The determinant in constant commuting fields against the product over momenta, antiperiodic ones in time.

    The boundary sign shifts the momenta by half a unit: averages over U(1) fields are blind to it, this is not.

    If it fails: momenta in time are ``pi (2 k + 1)/T``; with periodic ones the number is off on every field, though
    averages over U(1) fields agree.
    """
    largest, detail, n = 0.0, "", 0
    for at, x in lattices(subject):
        own, angles = fermions_of(at), rng.uniform(-0.6, 0.6, (8, 2))
        fields, phases = _constant(angles, x)
        got = at.logdet_dirac(fields) if at.has("logdet_dirac") else np.linalg.slogdet(at.dirac_dense(fields))[1]
        shape = (x.shape[2], x.shape[3])
        expected = np.array(
            [
                sum(
                    free.log_determinant(own.kappa, shape, (a, b), antiperiodic=own.antiperiodic)
                    for a, b in zip(*chain, strict=True)
                )
                for chain in phases
            ]
        )
        ratio = float(np.abs(got - expected).max()) / own.action_rounding(fields)
        n += len(fields)
        if not ratio <= largest:
            k = int(np.argmax(np.abs(got - expected)))
            largest, detail = ratio, f"{shape_of(x)}: got {got[k]:.10g}, momentum space {expected[k]:.10g}"
            detail += hint(abs(got[k] - expected[k]), 1 + abs(expected[k]))
    return within("largest error over its rounding", largest, 1.0, "one momentum out of place", n, detail)


def _constant(angles: Array, x: NDArray[Any]) -> tuple[NDArray[Any], Array]:
    """Constant diagonal links like those of ``x``, and their eigenphases ``(n, 2, N)``."""
    n = x.shape[-1] if np.iscomplexobj(x) else 1
    weights = np.array([1.0]) if n == 1 else np.array([1.0, *np.zeros(n - 2), -1.0])
    phases = angles[:, :, None] * weights
    if n == 1:
        return np.broadcast_to(angles[:, :, None, None], (len(angles), *x.shape[1:])).copy(), phases
    links = np.exp(1j * phases)[..., None] * np.eye(n)
    return np.broadcast_to(links[:, :, None, None], (len(angles), *x.shape[1:])).copy(), phases


def golden(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Operator, determinant and force, pseudofermion actions and forces on the shipped vectors, computed in 51 digits.

    Vectors are used where the target can be made at their hopping parameter and lattice; pseudofermions where its monomials are
    those of the vector, or it can be made with them.

    If it fails: if the other fermion checks pass, compare kappa, the even-odd layout and the Hasenbusch masses with
    those that the vector names.
    """
    largest, detail, used = 0.0, "", 0
    for vector in vectors.read_suite("fermions"):
        about = vector.about
        at = (
            subject.replace(kappa=about["kappa"], shape=vector.shape)
            if about["theory"] == subject.theory.name
            else None
        )
        if at is None or not fermions_of(at).antiperiodic:
            continue
        for name, got in _answers(at, vector.x, vector.expected, about["pseudofermions"]):
            expected = vector.expected[name]
            error = float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
            used += 1
            if not error <= largest:
                largest, detail = error, f"vector {vector.name}, {name}: {error:.3g} of the largest entry{hint(error)}"
    if not used:
        return skipped("the target cannot be made at the hopping parameter and lattice of any vector")
    return within("max |answer - vector| of the largest", largest, GOLDEN, f"an error of {GOLDEN:.0e}", used, detail)


def _answers(
    at: Subject, x: NDArray[Any], given: dict[str, NDArray[Any]], kinds: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """What the target says of a vector, under the names of the expected arrays."""
    for _, (product,) in products(at, x, given["psi"]):
        yield "dirac_psi", product.reshape(given["psi"].shape)
    if at.has("logdet_dirac"):
        yield "log_determinant", at.logdet_dirac(x)
    if at.has("plaquette"):
        yield "plaquette", at.plaquette(x)
    if at.has("force"):
        gauge = measure_matrices.loop_force if np.iscomplexobj(x) else measure_angles.loop_force
        yield "determinant_force", at.force(x) - np.array([gauge(c, at.links.beta) for c in x])
    for name, kind in kinds.items():
        wanted = Monomials(kind["even_odd"], tuple(kind["mus"]), kind["mu_reg"])
        made = at if at.monomials == wanted else at.replace(**wanted._asdict())
        if made is None or made.monomials != wanted:
            continue
        if made.has("pseudofermion_action"):
            yield f"{name}/action", made.pseudofermion_action(x, given[f"{name}/phi"])
        if made.has("pseudofermion_force"):
            yield f"{name}/force", made.pseudofermion_force(x, given[f"{name}/phi"])
