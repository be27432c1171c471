"""Pseudofermions: their action, force and heat bath against dense algebra, and the determinant that they telescope to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.statistics import sign_test

from .. import measure_dirac as measure
from .. import measure_matrices
from ..contract import Subject, TargetFault
from ..evidence import Trial, seed_from
from ..sequential import sequential_p_values
from ..theories import Matrices, U
from ..verdict import FAIL, PASS, Verdict, skipped, within
from .fermions import SMALL, fermions_of, fields_of_all_sizes, lattices, shape_of
from .transcript import normal_p_values, normal_sensitivity

Array = NDArray[np.float64]
Complex = NDArray[Any]

CHAINS = 64  # of a call of the heat bath
EASY_HOPPING = 0.1  # condition numbers near 5
LARGEST_PROBED = 64  # rows of a matrix that is read off a quadratic form, entry by entry


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
        self.singular = np.linalg.svd(self.core, compute_uv=False)
        self.condition = self.condition_at(self.declared.mu_reg)

    def turned(self) -> list[Complex]:
        """The kernels of ``M = C^dag C``."""
        return measure.kernels(self.core.conj().swapaxes(-1, -2), self.declared.mus, self.declared.mu_reg)

    def steps(self) -> list[tuple[float, float]]:
        """The mass of the inverse in every monomial, and the factor before it."""
        masses = (self.declared.mu_reg, *self.declared.mus)
        return list(zip(masses, [*np.diff(masses), 1.0], strict=True))

    def condition_at(self, mass: float) -> Array:
        """Of ``M + mass``."""
        return np.asarray((self.singular[:, 0] ** 2 + mass) / (self.singular[:, -1] ** 2 + mass))

    def solved(self, mass: float, v: Complex) -> Complex:
        """``(M + mass)^-1 v``."""
        m = self.core @ self.core.conj().swapaxes(-1, -2) + mass * np.eye(v.shape[-1])
        return np.asarray(np.linalg.solve(m, v[..., None])[..., 0])

    def forms(self, matrices: list[Complex], phi: Complex) -> Array:
        """``phi_m^dag A_m phi_m``, ``(field, n)``."""
        fields = self.living(phi).swapaxes(0, 1)
        pairs = zip(matrices, fields, strict=True)
        return np.array([np.einsum("ni,nij,nj->n", v.conj(), a, v).real for a, v in pairs])

    def slope_scale(self, dcore: Complex, phi: Complex) -> Array:
        """The size of which rounding takes its part in the derivative of the action: condition numbers are in it.

        A solution is wrong by ``cond |phi| / least`` roundings, and ``C^dag psi`` by ``cond |phi| / least^1/2``.
        """
        total = np.zeros(len(phi))
        for v, (mass, factor) in zip(self.living(phi).swapaxes(0, 1), self.steps(), strict=True):
            psi, least = self.solved(mass, v), self.singular[:, -1] ** 2 + mass
            chi = np.einsum("nji,nj->ni", self.core.conj(), psi)
            ahead = np.linalg.norm(np.einsum("nij,nj->ni", dcore, chi), axis=1) / least
            back = np.linalg.norm(np.einsum("nji,nj->ni", dcore.conj(), psi), axis=1) / np.sqrt(least)
            total += 2 * factor * self.condition_at(mass) * np.linalg.norm(v, axis=1) * (ahead + back)
        return total

    def fields(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Complex:
        """Random fields of all monomials, zero on odd sites where they live on even ones."""
        flat = measure.random_spinors(rng, shape).reshape(shape[0], shape[1], -1)
        flat[:, :, ~self.rows] = 0
        return flat.reshape(shape)

    def living(self, phi: Complex) -> Complex:
        """The components that are not zero, ``(n, field, rows)``."""
        return np.asarray(phi.reshape(*phi.shape[:2], -1)[:, :, self.rows])


def action(subject: Subject, rng: np.random.Generator) -> Verdict:
    """``sum_m phi_m^dag K_m phi_m`` against dense algebra for the monomials declared: plain, even-odd, Hasenbusch, both.

    Errors are held to the rounding of a backward stable solution, ``cond(M + m) phi^dag (M + m)^-1 phi`` a monomial.

    If it fails: ``phi^dag M phi`` in place of the inverse, ``D^dag D`` for ``D D^dag``, a mass off by one monomial, or
    a solver that stops too early.
    """
    largest, seen, detail, n = 0.0, np.inf, "", 0
    for at, x in _with_pseudofermions(subject):
        own = Pseudofermions(at, x)
        phi = own.fields(rng, at.pseudofermion_shape(x))
        parts = own.forms(own.kernels, phi)
        scale = np.abs(parts).sum(axis=0)
        for v, (mass, factor) in zip(own.living(phi).swapaxes(0, 1), own.steps(), strict=True):
            inside = np.einsum("ni,ni->n", v.conj(), own.solved(mass, v)).real
            scale += factor * own.condition_at(mass) * inside
        got, expected = at.pseudofermion_action(x, phi), parts.sum(axis=0)
        error, tolerance = np.abs(got - expected) / scale, 64 * own.d.shape[-1] * U
        seen = min(seen, float((tolerance * scale / np.abs(expected)).min()))
        n += len(x)
        if not float((error / tolerance).max()) <= largest:
            k = int(np.argmax(error))
            told = ", ".join(f"{part:.6g}" for part in parts[:, k])
            largest = float((error / tolerance).max())
            turned = own.forms(own.turned(), phi).sum(axis=0)
            hint = "; it is that of M = D^dag D" if np.all(np.abs(got - turned) <= 1e-6 * scale) else ""
            detail = f"{shape_of(x)}: got {got[k]:.10g}, expected {expected[k]:.10g} = {told}{hint}"
    return within("largest error over its rounding", largest, 1.0, f"a relative error of {seen:.1e}", n, detail)


def _with_pseudofermions(subject: Subject) -> Iterator[tuple[Subject, NDArray[Any]]]:
    """As `lattices`, but where the monomials need even extents; and hot fields at a small kappa, which are well conditioned."""
    easy = subject.replace(kappa=EASY_HOPPING)
    for at, x in (*lattices(subject), *([(easy, _hot(easy))] if easy is not None else [])):
        if at is subject or not (at.monomials.even_odd and (x.shape[2] % 2 or x.shape[3] % 2)):
            yield at, x


def _hot(at: Subject) -> NDArray[Any]:
    """Links all over the group."""
    rng, theory = np.random.default_rng(2), at.links
    if isinstance(theory, Matrices):
        return measure_matrices.random_elements(rng, (4, 2, *theory.shape), theory.n)
    return rng.uniform(-np.pi, np.pi, (4, *theory.field_shape))


def force(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The derivative of the pseudofermion action along random directions, against the exact one of dense algebra.

    Errors are held to what rounding makes of ``2 Re psi^dag dC C^dag psi``, ``psi = (M + m)^-1 phi``.

    If it fails: the action may be right: then a factor of 2, a sign at the time boundary, or the derivative of the
    dagger is missing.
    """
    largest, seen, detail, n = 0.0, np.inf, "", 0
    for at, x in _with_pseudofermions(subject):
        own, flavours = Pseudofermions(at, x), fermions_of(at)
        phi = own.fields(rng, at.pseudofermion_shape(x))
        got_force = at.pseudofermion_force(x, phi)
        tolerance = 64 * own.d.shape[-1] * U
        for _ in range(3):
            w = rng.standard_normal(got_force.shape)
            w /= np.sqrt((w * w).sum(axis=tuple(range(1, w.ndim)), keepdims=True))
            tangent = w if np.iscomplexobj(x) else w[..., None]
            dd = measure.derivative(x, tangent, flavours.generators, flavours.kappa, flavours.antiperiodic)
            dcore = measure.core_derivative(own.d, dd, own.shape, own.declared.even_odd)
            slopes = measure.kernel_derivatives(own.core, dcore, own.declared.mus, own.declared.mu_reg)
            expected = own.forms(slopes, phi).sum(axis=0)
            got = (got_force * w).sum(axis=tuple(range(1, w.ndim)))
            scale = own.slope_scale(dcore, phi)
            error = np.abs(got - expected) / scale
            with np.errstate(divide="ignore"):  # a slope of 0 shows no relative error
                seen = min(seen, float((tolerance * scale / np.abs(expected)).min()))
            n += len(x)
            if not float((error / tolerance).max()) <= largest:
                k = int(np.argmax(error))
                largest = float((error / tolerance).max())
                detail = f"{shape_of(x)}: got {got[k]:.10g}, expected {expected[k]:.10g} along a random direction"
    told = f"a force that is a factor off 1 by {seen:.1e}"
    return within("largest error over its rounding", largest, 1.0, told, n, detail)


def determinant(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The kernels, read off the quadratic form entry by entry, telescope: ``prod_m det K_m^-1 = det(M + mu_reg)``.

    Uses nothing of what is declared but where the fields live: masses that do not meet leave a factor over.

    If it fails: the product of the monomials is another determinant: check that the mass of each is the next one's, and
    the last has none below it.
    """
    small = [at for changes in SMALL[:1] if (at := subject.replace(**changes)) is not None]
    at = small[0] if small else subject
    x = fields_of_all_sizes(at.links, rng, 1)
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
    expected = float(
        np.linalg.slogdet(own.core @ own.core.conj().swapaxes(-1, -2) + own.declared.mu_reg * np.eye(rows))[1][0]
    )
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

    With the oracle's ``K = L L^dag`` the components of ``L^dag phi`` are independent complex normal numbers, and ``phi^dag K phi``
    has a Gamma(n, 1) law. Exact p-values: those of `transcript.momenta`, Kolmogorov-Smirnov of ``phi^dag K phi`` of every monomial
    and their sum, and sign tests of the products of neighbouring chains, and of one chain in two calls: fields that are not
    drawn anew are seen there. Half the chains have new gauge fields, half have one of two that stay: a covariance that is right
    on average over gauge fields is seen at those. That of ``M = D^dag D`` is bet on: the product of the ratios of the two
    densities has mean 1, so that its inverse is a p-value (Markov).

    If it fails: the usual faults are a real and imaginary part of variance 1 instead of 1/2, ``D^dag chi`` for ``D
    chi``, or one draw for all chains. By chance it fails with the level that is shown.
    """
    stray, used, size, gain = 0.0, 0, 1, 0.0
    kept = _least_normal(subject, rng)

    def p_values(n: int) -> tuple[float, int]:
        nonlocal stray, used, size, gain
        rows, neighbours, calls, forms, done, gain = [], [], [], [], 0, 0.0
        while done < n:
            x = fields_of_all_sizes(subject.links, rng, CHAINS)
            for k, field in enumerate(kept):
                x[2 * k :: 4] = field
            own = Pseudofermions(subject, x)
            factors = [np.linalg.cholesky(k).conj().swapaxes(-1, -2) for k in own.kernels]
            pair = []
            for _ in range(2):
                phi = subject.pseudofermion_heat_bath(x, seed_from(rng))
                stray = max(stray, float(np.abs(phi.reshape(*phi.shape[:2], -1)[:, :, ~own.rows]).max(initial=0.0)))
                parts = [np.einsum("nij,nj->ni", f, own.living(phi)[:, k]) for k, f in enumerate(factors)]
                forms.append(np.array([(np.abs(part) ** 2).sum(axis=1) for part in parts]))
                eta = np.concatenate(parts, axis=1) * np.sqrt(2)
                gain += _adjoint_gain(own, phi)
                pair.append(np.concatenate([eta.real, eta.imag], axis=1))
            rows += pair
            calls.append((pair[0] * pair[1]).sum(axis=1))
            neighbours.append((pair[0][::2] * pair[0][1::2]).sum(axis=1))
            size = pair[0].shape[1]
            done += 2 * pair[0].size
        used += done
        per_chain = np.concatenate(forms, axis=1)
        p = [
            *normal_p_values(np.concatenate(rows)),
            *(p for k in range(len(kept)) for p in normal_p_values(np.concatenate([row[2 * k :: 4] for row in rows]))),
            *_gamma_p_values(per_chain, size // 2 // len(per_chain)),
            sign_test(np.concatenate(calls)),
            sign_test(np.concatenate(neighbours)),
            float(np.exp(-max(gain, 0.0))),
        ]
        return float(min(p)), len(p)

    n = trial.effort.decisions * 2**15
    hint = "; it is nearer to the heat bath of M = D^dag D than to that of D D^dag"
    result = sequential_p_values(p_values, trial.alpha, n, growth=trial.effort.growth)
    if stray:
        return within("largest field on odd sites", stray, 0.0, "any", n, "declared to live on the even sites")
    return Verdict(
        FAIL if result.alarm else PASS,
        "L^dag phi ~ N(0, 1): p-value",
        result.p_value,
        result.bound,
        normal_sensitivity(n, size, trial.alpha, "the whitened fields"),
        used,
        trial.alpha,
        f"p = {result.p_value:.2g}{hint if gain > -np.log(trial.alpha) else ''}" if result.alarm else "",
    )


def _least_normal(subject: Subject, rng: np.random.Generator) -> NDArray[Any]:
    """Two gauge fields, of some, at which ``C C^dag`` and ``C^dag C`` differ most."""
    x = fields_of_all_sizes(subject.links, rng, CHAINS)
    c = Pseudofermions(subject, x).core
    h = c.conj().swapaxes(-1, -2)
    return np.asarray(x[np.argsort(np.linalg.norm(c @ h - h @ c, axis=(1, 2)))[-2:]])


def _gamma_p_values(forms: Array, rows: int) -> list[float]:
    """Kolmogorov-Smirnov of ``phi^dag K phi``, ``(field, n)``, of every field and in total, against Gamma."""
    from scipy.stats import gamma, kstest

    laws = [(form, rows) for form in forms] + ([(forms.sum(axis=0), rows * len(forms))] if len(forms) > 1 else [])
    return [float(kstest(form, gamma(shape).cdf).pvalue) for form, shape in laws]


def _adjoint_gain(own: Pseudofermions, phi: Complex) -> float:
    """``log`` of the density for ``M = C^dag C`` over that for ``C C^dag``: the best bet on the other order, of mean 1 if wrong."""
    turned = own.turned()
    change = own.forms(own.kernels, phi) - own.forms(turned, phi)
    log_det = [np.linalg.slogdet(k)[1] for k in own.kernels], [np.linalg.slogdet(k)[1] for k in turned]
    return float((change + np.array(log_det[1]) - np.array(log_det[0])).sum())
