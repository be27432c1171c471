"""The Wilson-Dirac operator, its determinant and pseudofermions: against explicit matrices, identities and exact laws."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import fermions as free
from refimpl.statistics import sign_test

from .. import measure_dirac as measure
from .. import measure_matrices
from ..contract import Subject, TargetFault
from ..evidence import Trial, sampler, seed_from
from ..sequential import sequential_p_values
from ..theories import Flavours, Matrices, Theory, U
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .transcript import normal_p_values, normal_sensitivity

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

ENTRY = 64 * U  # an entry of D: two hops on two sites, each a product of a phase and numbers of size 1
HEAVY_HOPPING = 0.4
LARGEST_PROBED = 64  # rows of a matrix that is read off a quadratic form, entry by entry
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


@lru_cache(maxsize=16)
def fields_of(theory: Theory) -> NDArray[Any]:
    """The configurations of a theory, one set for all checks: exact ones with fermions are costly."""
    x = theory.configurations(np.random.default_rng(1))
    x.flags.writeable = False
    return x


def shape_of(x: NDArray[Any]) -> str:
    return f"shape {x.shape[2]}x{x.shape[3]}"


def products(subject: Subject, x: NDArray[Any], *spinors: Complex) -> Iterator[tuple[str, list[Complex]]]:
    """``D`` times spinors, flattened, in each way that the target offers."""
    if subject.has("dirac_apply"):
        yield "dirac_apply", [subject.dirac_apply(x, psi).reshape(len(x), -1) for psi in spinors]
    if subject.has("dirac_dense"):
        d = subject.dirac_dense(x)
        yield "dirac_dense", [np.einsum("nij,nj->ni", d, psi.reshape(len(x), -1)) for psi in spinors]


def dense(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The dense Wilson-Dirac matrix against one built hop by hop, also on two sites in a direction, where entries add.

    A boundary sign that is missing, an entry that is set where it should be added, a wrong gamma or a wrong dagger fails here.
    """
    largest, detail, n = 0.0, "", 0
    for at, x in lattices(subject):
        expected, got = fermions_of(at).matrix(x), at.dirac_dense(x)
        error = float(np.abs(got - expected).max())
        n += len(x)
        if not error <= largest:
            largest, detail = error, f"{shape_of(x)}: {_suspect(at, x, got, expected)}"
    return within("max |D - hop by hop|", largest, ENTRY, f"an entry wrong by {ENTRY:.1e}", n, detail)


def _suspect(at: Subject, x: NDArray[Any], got: Complex, expected: Complex) -> str:
    """Where two matrices differ most, and of which known mistake the wrong one is."""
    chain, row, column = (int(i) for i in np.unravel_index(np.argmax(np.abs(got - expected)), got.shape))
    text = f"row {row}, column {column}: got {got[chain, row, column]:.6g}, expected {expected[chain, row, column]:.6g}"
    own = fermions_of(at)
    mistakes = {
        "the other boundary condition in time": measure.dirac_matrix(x, own.kappa, not own.antiperiodic),
        "the adjoint": expected.conj().swapaxes(-1, -2),
        "twice the kappa": measure.dirac_matrix(x, 2 * own.kappa, own.antiperiodic),
    }
    for name, wrong in mistakes.items():
        if np.abs(got - wrong).max() < 1e-6:
            return f"{text}; it is {name}"
    return text


def apply(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``D psi`` of the matrix-free operator against the matrix built hop by hop, for random spinors."""
    largest, detail, n = 0.0, "", 0
    for at, x in lattices(subject):
        psi = measure.random_spinors(rng, at.spinor_shape(x))
        expected = np.einsum("nij,nj->ni", fermions_of(at).matrix(x), psi.reshape(len(x), -1)).reshape(psi.shape)
        error = float(np.abs(at.dirac_apply(x, psi) - expected).max() / np.abs(psi).max())
        n += len(x)
        if not error <= largest:
            largest, detail = error, f"{shape_of(x)}: off by {error:.3g}"
    tolerance = 16 * ENTRY
    return within("max |D psi - matrix psi|", largest, tolerance, f"an error of {tolerance:.1e}", n, detail)


def gamma5_hermiticity(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``gamma5 D gamma5 = D^dag``: ``a^dag gamma5 D gamma5 b = (D a)^dag b`` for random spinors.

    The backward hop must be the dagger of the forward hop with the other projector; this is why the determinant is real.
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
                largest, detail = error, f"{name}, {shape_of(x)}: the two sides differ by {error:.3g} per component"
    tolerance = 64 * ENTRY
    return within("max |gamma5 D gamma5 - D^dag|", largest, tolerance, f"a violation of {tolerance:.1e}", n, detail)


def gauge_covariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``R(Omega) D[U] = D[U^Omega] R(Omega)`` for random gauge transformations: the operator moves with the links.

    A hop through the wrong link, or without the dagger on the way back, breaks it.
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
                largest, detail = error, f"{name}, {shape_of(x)}: the two sides differ by {error:.3g}"
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
                largest, detail = ratio, f"{name}, {shape_of(x)}: off by {error[k]:.6g} where log |det D| = {expected[k]:.6g}"
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


# --- pseudofermions ------------------------------------------------------------------------------------------------------
class Pseudofermions:
    """The oracle's own matrices of the monomials that a target declares, at given links."""

    def __init__(self, subject: Subject, x: NDArray[Any]) -> None:
        own, self.declared, self.shape = fermions_of(subject), subject.monomials, (x.shape[2], x.shape[3])
        if self.declared.even_odd and (self.shape[0] % 2 or self.shape[1] % 2):
            raise TargetFault(f"even_odd: got True on a lattice of shape {self.shape}, expected even extents")
        self.d = own.matrix(x)
        self.core = measure.cores(self.d, self.shape, self.declared.even_odd)
        self.kernels = measure.kernels(self.core, self.declared.mus, self.declared.mu_reg)
        rows = self.d.shape[-1]
        sites = self.shape[0] * self.shape[1]
        every = np.ones(rows, dtype=bool)
        self.rows = measure.even_rows(self.shape, rows // sites) if self.declared.even_odd else every
        s = np.linalg.svd(self.core, compute_uv=False)
        self.least = s[:, -1] ** 2 + self.declared.mu_reg  # the smallest eigenvalue of M + mu_reg
        self.condition = (s[:, 0] ** 2 + self.declared.mu_reg) / self.least

    def fields(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Complex:
        """Random fields of all monomials, zero on odd sites where they live on even ones."""
        flat = measure.random_spinors(rng, shape).reshape(shape[0], shape[1], -1)
        flat[:, :, ~self.rows] = 0
        return flat.reshape(shape)

    def living(self, phi: Complex) -> Complex:
        """The components that are not zero, ``(n, field, rows)``."""
        return np.asarray(phi.reshape(*phi.shape[:2], -1)[:, :, self.rows])


def pseudofermion_action(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``sum_m phi_m^dag K_m phi_m`` against dense algebra for the monomials declared: plain, even-odd, Hasenbusch, both."""
    largest, detail, n = 0.0, "", 0
    for at, x in _with_pseudofermions(subject):
        own = Pseudofermions(at, x)
        phi = own.fields(rng, at.pseudofermion_shape(x))
        parts = np.array(
            [
                np.einsum("ni,nij,nj->n", v.conj(), k, v).real
                for k, v in zip(own.kernels, own.living(phi).swapaxes(0, 1), strict=True)
            ]
        )
        got, expected = at.pseudofermion_action(x, phi), parts.sum(axis=0)
        error = np.abs(got - expected) / np.abs(expected) / own.condition
        n += len(x)
        if not float(error.max()) <= largest:
            k = int(np.argmax(error))
            told = ", ".join(f"{part:.6g}" for part in parts[:, k])
            largest, detail = float(error.max()), f"{shape_of(x)}: got {got[k]:.10g}, expected {expected[k]:.10g} = {told}"
    tolerance = 64 * own.d.shape[-1] * U
    return within(
        "relative error over the condition number", largest, tolerance, f"a relative error of {tolerance:.1e}", n, detail
    )


def _with_pseudofermions(subject: Subject) -> Iterator[tuple[Subject, NDArray[Any]]]:
    """As `lattices`; those with odd extents are left out where the monomials need even ones."""
    for at, x in lattices(subject):
        if at is subject or not (at.monomials.even_odd and (x.shape[2] % 2 or x.shape[3] % 2)):
            yield at, x


def pseudofermion_force(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The derivative of the pseudofermion action along random directions, against the exact one of dense algebra."""
    largest, detail, n = 0.0, "", 0
    for at, x in _with_pseudofermions(subject):
        own, flavours = Pseudofermions(at, x), fermions_of(at)
        phi = own.fields(rng, at.pseudofermion_shape(x))
        force = at.pseudofermion_force(x, phi)
        size = (np.abs(phi) ** 2).reshape(len(x), -1).sum(axis=1)
        for _ in range(3):
            w = rng.standard_normal(force.shape)
            w /= np.sqrt((w * w).sum(axis=tuple(range(1, w.ndim)), keepdims=True))
            tangent = w if np.iscomplexobj(x) else w[..., None]
            dd = measure.derivative(x, tangent, flavours.generators, flavours.kappa, flavours.antiperiodic)
            dcore = measure.core_derivative(own.d, dd, own.shape, own.declared.even_odd)
            slopes = measure.kernel_derivatives(own.core, dcore, own.declared.mus, own.declared.mu_reg)
            expected = sum(
                np.einsum("ni,nij,nj->n", v.conj(), k, v).real
                for k, v in zip(slopes, own.living(phi).swapaxes(0, 1), strict=True)
            )
            got = (force * w).sum(axis=tuple(range(1, w.ndim)))
            # A derivative has one more inverse than the action: of the size |phi|^2 / least^2, wrong by the condition number.
            error = np.abs(got - expected) / (size * own.condition / own.least**2)
            n += len(x)
            if not float(error.max()) <= largest:
                k = int(np.argmax(error))
                largest = float(error.max())
                detail = f"{shape_of(x)}: got {got[k]:.10g}, expected {np.asarray(expected)[k]:.10g} along a random direction"
    tolerance = 64 * own.d.shape[-1] * U
    return within("relative error over its scale", largest, tolerance, f"a relative error of {tolerance:.1e}", n, detail)


def pseudofermion_determinant(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The kernels, read off the quadratic form entry by entry, telescope: ``prod_m det K_m^-1 = det(M + mu_reg)``.

    Uses nothing of what is declared but where the fields live: masses that do not meet leave a factor over.
    """
    small = [at for changes in SMALL[:1] if (at := subject.replace(**changes)) is not None]
    at = small[0] if small else subject
    x = sampler(at, rng, 1)
    own = Pseudofermions(at, x)
    rows = int(own.rows.sum())
    if rows > LARGEST_PROBED:
        return skipped(f"cannot be made on 2x2, and {rows} rows are too many to read off a quadratic form")
    shape = at.pseudofermion_shape(x)
    total, slack = 0.0, 0.0
    for field in range(shape[1]):
        kernel = _probed(at, x, field, own.rows)
        total -= float(np.linalg.slogdet(kernel)[1])
        slack += float(np.linalg.cond(kernel))
    expected = float(np.linalg.slogdet(own.core @ own.core.conj().swapaxes(-1, -2) + own.declared.mu_reg * np.eye(rows))[1][0])
    tolerance = 256 * rows**2 * U * slack * float(own.condition[0])
    return within(
        "|log prod det K^-1 - log det M|", abs(total - expected), tolerance, f"an error of {tolerance:.1e}", rows**2,
        f"{shape_of(x)}: the kernels give {total:.10g}, expected {expected:.10g}",
    )  # fmt: skip


def _probed(at: Subject, x: NDArray[Any], field: int, living: NDArray[np.bool_]) -> Complex:
    """The Hermitian matrix of the quadratic form of one field: ``S(e_i)``, ``S(e_i + e_j)`` and ``S(e_i + i e_j)``."""
    rows = np.flatnonzero(living)
    n, (i, j) = len(rows), np.triu_indices(len(rows), 1)
    shape = (n + 2 * len(i), *at.pseudofermion_shape(x)[1:])
    flat = np.zeros((shape[0], shape[1], living.size), np.complex128)
    single, real, imaginary = np.arange(n), n + np.arange(len(i)), n + len(i) + np.arange(len(i))
    flat[single, field, rows] = 1
    for probes, weight in ((real, 1), (imaginary, 1j)):
        flat[probes, field, rows[i]], flat[probes, field, rows[j]] = 1, weight
    values = at.pseudofermion_action(np.repeat(x, shape[0], axis=0), flat.reshape(shape))
    diagonal, both = values[:n], values[i] + values[j]
    kernel = np.diag(diagonal).astype(np.complex128)
    kernel[i, j] = (values[real] - both) / 2 - 0.5j * (values[imaginary] - both)
    kernel[j, i] = kernel[i, j].conj()
    return kernel


def heat_bath(subject: Subject, rng: np.random.Generator, trial: Trial) -> Verdict:
    """Pseudofermions drawn by the target have the density ``exp(-phi^dag K phi)``, chain by chain and call by call.

    With the oracle's ``K = L L^dag`` the components of ``L^dag phi`` are independent complex normal numbers, so that
    ``phi^dag K phi`` has a Gamma(n, 1) law. Exact p-values: those of `transcript.momenta`, and sign tests of the products of
    neighbouring chains, and of one chain in two calls: fields that are not drawn anew are seen there.
    """
    size, stray = 1, 0.0

    def p_values(n: int) -> tuple[float, int]:
        nonlocal size, stray
        rows, neighbours, calls, done = [], [], [], 0
        while done < n:
            x = sampler(subject, rng, 64)
            own = Pseudofermions(subject, x)
            factors = [np.linalg.cholesky(k).conj().swapaxes(-1, -2) for k in own.kernels]
            pair = []
            for _ in range(2):
                phi = subject.pseudofermion_heat_bath(x, seed_from(rng))
                stray = max(stray, float(np.abs(phi.reshape(*phi.shape[:2], -1)[:, :, ~own.rows]).max(initial=0.0)))
                parts = [np.einsum("nij,nj->ni", f, own.living(phi)[:, k]) for k, f in enumerate(factors)]
                eta = np.concatenate(parts, axis=1) * np.sqrt(2)
                pair.append(np.concatenate([eta.real, eta.imag], axis=1))
            rows += pair
            calls.append((pair[0] * pair[1]).sum(axis=1))
            neighbours.append((pair[0][::2] * pair[0][1::2]).sum(axis=1))
            size = pair[0].shape[1]
            done += 2 * pair[0].size
        p = [
            *normal_p_values(np.concatenate(rows)),
            sign_test(np.concatenate(calls)),
            sign_test(np.concatenate(neighbours)),
        ]
        return float(min(p)), len(p)

    n = trial.effort.decisions * 2**15
    result = sequential_p_values(p_values, trial.alpha, n)
    if stray:
        return within("largest field on odd sites", stray, 0.0, "any", n, "declared to live on the even sites")
    return Verdict(
        FAIL if result.alarm else PASS,
        "L^dag phi ~ N(0, 1): p-value",
        result.p_value,
        result.bound,
        normal_sensitivity(n, size, trial.alpha, "the whitened fields"),
        result.samples,
        trial.alpha,
        f"p = {result.p_value:.2g}" if result.alarm else "",
    )
