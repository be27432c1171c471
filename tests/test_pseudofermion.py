"""Pseudofermions against dense linear algebra of eq. 5 as written: action, heat bath, force, telescoping, lost chains, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions import (
    Pseudofermion,
    SolverError,
    WilsonDeterminant,
    WilsonU1,
    determinant_of,
    hasenbusch,
)
from refimpl.actions.dirac import dirac_definition
from refimpl.groups import SUN
from refimpl.kernels import HMC, spawn_rngs
from refimpl.lattice import gauge_transform
from refimpl.validation.strategies import lattice_shapes

from .gauge_fields import haar, links

KAPPA = 0.265
MASSES = [(0.0, None), (0.02, None), (0.0, 0.3), (0.02, 0.3)]
CASES = [
    pytest.param(n, shape, even_odd, id=f"n={n}-{shape}-{'even-odd' if even_odd else 'plain'}")
    for n in (1, 2, 3)
    for shape in ((2, 2), (2, 4), (4, 4), (3, 2))
    for even_odd in (False, True)
    if not (even_odd and shape == (3, 2)) and not (n > 1 and shape == (4, 4))
]
# Condition numbers of M are below 1e4 in these fields: a solution is right to that times U.
SOLVED = 1e-11
# Fourth-order differences with step H: the fifth derivative is some thousand times H^4/30, and the rounding of an action of
# a hundred is divided by H.
H, DIFFERENCES = 1e-3, 1e-8


def dense(x, even_odd, kappa=KAPPA, antiperiodic=True):
    """D, or the Schur complement of its even sites, of the first chain, by unit vectors in eq. 5."""
    signed = np.exp(1j * x[..., None, None]) if x.ndim == 4 else x.copy()
    if antiperiodic:
        signed[:, 0, -1] *= -1
    shape, n = x.shape[2:4], signed.shape[-1]
    width = 2 * n
    unit = np.eye(np.prod(shape) * width, dtype=complex).reshape(-1, *shape, 2, n)
    columns = dirac_definition(np.repeat(signed[:1], len(unit), axis=0), unit, kappa)
    d = columns.reshape(len(unit), -1).T
    if not even_odd:
        return d
    parity = np.repeat(np.indices(shape).sum(0).ravel() % 2, width)
    even, odd = parity == 0, parity == 1
    return d[np.ix_(even, even)] - d[np.ix_(even, odd)] @ d[np.ix_(odd, even)]


def rows(phi, even_odd):
    """The components of a field that count, ``(chain, row)``."""
    if not even_odd:
        return phi.reshape(len(phi), -1)
    return phi[:, np.indices(phi.shape[1:3]).sum(0) % 2 == 0].reshape(len(phi), -1)


def kernel_of(monomial, x):
    """The Hermitian matrix of the monomial, from eigenvalues and eigenvectors of ``M``."""
    d = dense(x, monomial.even_odd)
    values, vectors = np.linalg.eigh(d @ d.conj().T)
    function = 1 / (values + monomial.mu)
    if monomial.mu_next is not None:
        function = (values + monomial.mu_next) * function
    return (vectors * function) @ vectors.conj().T


def gaussian(monomial, x, seed=1):
    return monomial.noise(spawn_rngs(seed, len(x)), x.shape[2:4])


def moved(x, w):
    return x + w if x.ndim == 4 else SUN(x.shape[-1]).exp(w) @ x


def heat_bath_matrix(monomial, x):
    """``phi`` of every unit vector, as the columns of a matrix."""
    shape = gaussian(monomial, x[:1]).shape[1:]
    unit = np.eye(np.prod(shape), dtype=complex).reshape(-1, *shape)
    if monomial.even_odd:
        unit = unit[np.abs(rows(unit, True)).any(1)]
    phi = monomial.heat_bath(np.repeat(x[:1], len(unit), axis=0), unit)
    return rows(phi, monomial.even_odd).T


@pytest.mark.parametrize("mu", MASSES)
@pytest.mark.parametrize(("n", "shape", "even_odd"), CASES)
def test_the_action_is_the_form_of_the_eigenvectors(n, shape, even_odd, mu):
    x = links(np.random.default_rng(1), n, 1, shape)
    monomial = Pseudofermion(KAPPA, n, even_odd, *mu)
    phi = gaussian(monomial, x)
    vector = rows(phi, even_odd)[0]
    expected = (vector.conj() @ kernel_of(monomial, x) @ vector).real
    np.testing.assert_allclose(monomial.action(x, phi), expected, rtol=SOLVED, atol=0)


@pytest.mark.parametrize("mu", MASSES)
@pytest.mark.parametrize(
    ("n", "shape", "even_odd"), [(1, (2, 2), False), (1, (4, 2), True), (3, (2, 2), True), (2, (3, 2), False)]
)
def test_the_heat_bath_has_the_covariance_of_the_action(n, shape, even_odd, mu):
    x = links(np.random.default_rng(2), n, 1, shape)
    monomial = Pseudofermion(KAPPA, n, even_odd, *mu)
    b = heat_bath_matrix(monomial, x)
    covariance = np.linalg.inv(kernel_of(monomial, x))
    np.testing.assert_allclose(b @ b.conj().T, covariance, rtol=0, atol=1e-12 * np.abs(covariance).max())
    chi = gaussian(monomial, x)
    phi = monomial.heat_bath(x, chi)
    np.testing.assert_allclose(monomial.action(x, phi), (np.abs(chi) ** 2).sum(), rtol=SOLVED)
    np.testing.assert_array_equal(phi, monomial.draw(spawn_rngs(1, 1), x))
    if even_odd:
        assert not phi[:, np.indices(shape).sum(0) % 2 == 1].any()


@pytest.mark.parametrize("mus", [(), (0.1,), (0.001, 0.01, 0.05)])
@pytest.mark.parametrize(("n", "shape"), [(1, (4, 2)), (3, (2, 2))])
def test_the_monomials_telescope_to_the_determinant_even_odd_or_not(n, shape, mus):
    x = links(np.random.default_rng(3), n, 1, shape)
    expected = -WilsonDeterminant(KAPPA, n).action(x)[0]
    for even_odd in (False, True):
        monomials = hasenbusch(KAPPA, mus, even_odd=even_odd, n=n)
        assert len(monomials) == len(mus) + 1
        assert determinant_of(monomials[::-1]) == WilsonDeterminant(KAPPA, n)
        total = sum(2 * np.linalg.slogdet(heat_bath_matrix(monomial, x))[1] for monomial in monomials)
        assert abs(total - expected) < 1e-12 * max(1, abs(expected))
        regular = hasenbusch(KAPPA, mus, even_odd=even_odd, mu_reg=1e-5, n=n)
        total = sum(2 * np.linalg.slogdet(heat_bath_matrix(monomial, x))[1] for monomial in regular)
        d = dense(x, even_odd)
        shifted = np.linalg.slogdet(d @ d.conj().T + 1e-5 * np.eye(len(d)))[1]
        assert abs(total - shifted) < 1e-12 * max(1, abs(shifted))
        assert abs(shifted - expected) > 1e-6


@pytest.mark.parametrize("even_odd", [False, True])
def test_the_noise_has_the_density_exp_minus_chi_squared(even_odd):
    monomial = Pseudofermion(KAPPA, 3, even_odd)
    chi = rows(monomial.noise(spawn_rngs(4, 500), (4, 4)), even_odd)
    n = chi.size
    assert n == 500 * 16 * 6 // (1 + even_odd)
    # |chi|^2 is exponential with mean and standard deviation 1; chi^2 has mean 0 and unit variance in both its parts.
    assert abs((np.abs(chi) ** 2).mean() - 1) < 5 / np.sqrt(n)
    assert abs((chi**2).mean()) < 5 * np.sqrt(2 / n)
    np.testing.assert_array_equal(chi[7], rows(monomial.noise(spawn_rngs(4, 500)[7:8], (4, 4)), even_odd)[0])


@pytest.mark.parametrize("mu", MASSES)
@pytest.mark.parametrize(("n", "shape", "even_odd"), CASES)
def test_the_force_is_the_slope_of_the_action(n, shape, even_odd, mu):
    rng = np.random.default_rng(5)
    x = links(rng, n, 1, shape)
    monomial = Pseudofermion(KAPPA, n, even_odd, *mu)
    phi = monomial.draw(spawn_rngs(6, 1), x)
    energy, force = monomial.action_and_force(x, phi)
    assert force.shape == ((1, 2, *shape) if n == 1 else (1, 2, *shape, n * n - 1))
    np.testing.assert_array_equal(monomial.force(x, phi), force)
    np.testing.assert_array_equal(monomial.action(x, phi), energy)
    for _ in range(3):
        w = rng.standard_normal(force.shape)
        w /= np.sqrt((w**2).sum())
        s = {k: monomial.action(moved(x, k * H * w), phi)[0] for k in (-2, -1, 1, 2)}
        slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * H)
        assert abs(slope - (force * w).sum()) < DIFFERENCES * max(1, np.sqrt((force**2).sum()))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 3),
    shape=lattice_shapes(max_extent=4),
    antiperiodic=st.booleans(),
    kappa=st.floats(0, 0.3),
    mu=st.sampled_from([0.0, 1e-5, 0.1]),
    data=st.data(),
)
def test_on_any_lattice_a_drawn_field_has_the_energy_of_its_noise(n, shape, antiperiodic, kappa, mu, data):
    even_odd = not (shape[0] % 2 or shape[1] % 2) and data.draw(st.booleans())
    mu_next = data.draw(st.none() | st.sampled_from([0.2, 3.0]))
    x = links(np.random.default_rng(data.draw(st.integers(0, 10**6))), n, 2, shape)
    monomial = Pseudofermion(kappa, n, even_odd, mu, mu_next, antiperiodic)
    chi = gaussian(monomial, x)
    np.testing.assert_array_equal(monomial.draw(spawn_rngs(1, 2), x), phi := monomial.heat_bath(x, chi))
    # Hopping parameters beyond the physical ones have operators that are nearly singular.
    energy = (np.abs(rows(chi, even_odd)) ** 2).sum(1)
    np.testing.assert_allclose(monomial.action(x, phi), energy, rtol=1e-9)


@pytest.mark.parametrize("antiperiodic", [True, False])
def test_the_boundary_is_that_of_the_operator(antiperiodic):
    x = links(np.random.default_rng(7), 3, 1, (2, 2))
    for even_odd in (False, True):
        monomial = Pseudofermion(KAPPA, 3, even_odd, antiperiodic=antiperiodic)
        phi = gaussian(monomial, x)
        w = np.linalg.solve(dense(x, even_odd, antiperiodic=antiperiodic), rows(phi, even_odd)[0])
        np.testing.assert_allclose(monomial.action(x, phi), np.linalg.norm(w) ** 2, rtol=SOLVED)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("even_odd", [False, True])
def test_the_action_is_gauge_invariant(n, even_odd):
    rng = np.random.default_rng(8)
    x = links(rng, n, 2, (4, 2))
    monomial = Pseudofermion(KAPPA, n, even_odd, 0.01, 0.2)
    phi = gaussian(monomial, x)
    if n == 1:
        alpha = rng.uniform(-np.pi, np.pi, (2, 4, 2))
        y, turned = gauge_transform(x, alpha), np.exp(1j * alpha)[..., None] * phi
    else:
        g = haar(rng, (2, 4, 2), n)
        y = np.stack([g @ x[:, mu] @ np.roll(g, -1, 1 + mu).conj().swapaxes(-1, -2) for mu in (0, 1)], axis=1)
        turned = np.einsum("ctxab,ctxsb->ctxsa", g, phi)
    np.testing.assert_allclose(monomial.action(y, turned), monomial.action(x, phi), rtol=SOLVED)


@pytest.mark.parametrize(
    ("n", "shape", "even_odd"), [(1, (4, 6), True), (1, (4, 6), False), (1, (3, 4), False), (3, (2, 4), True)]
)
@pytest.mark.parametrize("mu", [(0.0, None), (0.01, 0.2)])
def test_the_methods_agree(n, shape, even_odd, mu):
    x = links(np.random.default_rng(9), n, 2, shape)
    results = []
    for method in ("dense", "sparse", "cg"):
        monomial = Pseudofermion(KAPPA, n, even_odd, *mu, method=method)
        phi = monomial.draw(spawn_rngs(10, 2), x)
        results.append((phi, *monomial.action_and_force(x, phi)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            # Conjugate gradients stop at residuals of 1e-12, which inverses of size 100 amplify.
            np.testing.assert_allclose(b, a, rtol=0, atol=1e-9 * np.abs(a).max())


@pytest.mark.parametrize(
    ("shape", "method"), [((4, 4), "dense"), ((4, 4), "cg"), ((12, 12), "auto"), ((3, 4), "sparse")]
)
def test_a_chain_has_the_same_bits_in_any_batch(shape, method):
    x = links(np.random.default_rng(11), 1, 5, shape)
    for even_odd in (False,) if shape == (3, 4) else (False, True):
        monomial = Pseudofermion(KAPPA, 1, even_odd, 0.01, 0.2, method=method)
        phi = monomial.draw(spawn_rngs(12, 5), x)
        whole = monomial.action_and_force(x, phi)
        for c in (0, 3):
            np.testing.assert_array_equal(monomial.draw(spawn_rngs(12, 5)[c : c + 1], x[c : c + 1]), phi[c : c + 1])
            alone = monomial.action_and_force(x[c : c + 1], phi[c : c + 1])
            for a, b in zip(alone, whole, strict=True):
                np.testing.assert_array_equal(a[0], b[c])


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("method", ["dense", "sparse"])
def test_a_chain_without_a_solution_is_an_error_outside_of_trajectories_and_nan_inside(method, even_odd):
    # Periodic at kappa = 1/4 the constant spinor is a zero mode; on 2 x 2 all numbers are exact.
    x = links(np.random.default_rng(13), 1, 3, (2, 2))
    x[1] = 0
    monomial = Pseudofermion(0.25, 1, even_odd, antiperiodic=False, method=method)
    phi = gaussian(monomial, x)
    for function in (monomial.action, monomial.force):
        with pytest.raises(SolverError, match=f"no solution of .* by method '{method}' in chain 1"):
            function(x, phi)
    energy, force = monomial.action_and_force(x, phi)
    assert np.isnan(energy[1])
    assert np.isnan(force[1]).all()
    alone = monomial.action_and_force(x[[0, 2]], phi[[0, 2]])
    np.testing.assert_array_equal(energy[[0, 2]], alone[0])
    np.testing.assert_array_equal(force[[0, 2]], alone[1])
    ratio = Pseudofermion(0.25, 1, even_odd, 0.0, 0.1, antiperiodic=False, method=method)
    assert np.isfinite(ratio.draw(spawn_rngs(1, 3), x)).all()  # M + 0.1 is regular
    assert np.isfinite(Pseudofermion(0.25, 1, even_odd, 0.1, antiperiodic=False).action(x, phi)).all()


def test_links_that_are_not_finite_lose_their_chain_only():
    x = links(np.random.default_rng(14), 1, 3, (12, 12))
    for method in ("dense", "sparse", "cg"):
        for even_odd in (False, True):
            monomial = Pseudofermion(KAPPA, 1, even_odd, 0.0, 0.2, method=method)
            phi, y = gaussian(monomial, x), x.copy()
            y[1, 0, 2, 3] = np.nan
            for result in (*monomial.action_and_force(y, phi), monomial.heat_bath(y, phi)):
                finite = np.isfinite(result).reshape(3, -1)
                assert finite[[0, 2]].all()
                assert not finite[1].all()


def test_iterations_that_run_out_are_an_error(monkeypatch):
    monkeypatch.setattr("refimpl.actions.dirac.twisted.MAX_ITERATIONS", 3)
    x = links(np.random.default_rng(15), 1, 1, (4, 4))
    monomial = Pseudofermion(KAPPA, method="cg")
    with pytest.raises(SolverError, match="by method 'cg' in chain 0, expected a residual of at most 1e-10"):
        monomial.action(x, gaussian(monomial, x))
    with pytest.raises(SolverError, match="no solution"):
        Pseudofermion(KAPPA, mu_next=0.1, method="cg").draw(spawn_rngs(1, 1), x)


def test_a_fixed_pseudofermion_is_an_action_like_others():
    x = 0.3 * links(np.random.default_rng(16), 1, 3, (4, 4))
    monomial = hasenbusch(KAPPA, even_odd=True)[0]
    phi = monomial.draw(spawn_rngs(17, 3), x)
    gauge, fixed = WilsonU1(2.0), monomial.at(phi)
    total = gauge + fixed
    np.testing.assert_allclose(total.action(x), gauge.action(x) + monomial.action(x, phi), rtol=1e-15)
    np.testing.assert_allclose(total.force(x), gauge.force(x) + monomial.force(x, phi), rtol=0, atol=1e-13)
    assert fixed.angular
    assert not Pseudofermion(KAPPA, 3).at(phi).angular
    v = np.zeros_like(x)
    fixed.dynamics(x, v).kick(0.5)
    np.testing.assert_array_equal(v, -0.5 * fixed.force(x))
    kernel = HMC(total, 0.05, 4)
    _, info = kernel.step(spawn_rngs(18, 3), kernel.init(x))
    assert np.abs(info.delta_h).max() < 0.1


X = links(np.random.default_rng(19), 1, 1, (2, 2))
U = links(np.random.default_rng(20), 2, 1, (2, 2))
PHI = np.ones((1, 2, 2, 2), complex)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Pseudofermion(-0.1), ValueError, "kappa: got -0.1, expected a finite number >= 0"),
        (lambda: Pseudofermion(np.nan), ValueError, "kappa: got nan"),
        (lambda: Pseudofermion(KAPPA, 0), ValueError, "n: got 0, expected an integer of at least 1"),
        (lambda: Pseudofermion(KAPPA, mu=-1), ValueError, "mu: got -1, expected a finite number >= 0"),
        (lambda: Pseudofermion(KAPPA, mu=0.1, mu_next=0.1), ValueError, "mu_next: got 0.1, expected a finite number > 0.1"),
        (lambda: Pseudofermion(KAPPA, method="qr"), ValueError, "method: got 'qr', expected one of auto, dense"),
        (lambda: hasenbusch(KAPPA, (0.1, 0.05)), ValueError, "mus: got 0.05, expected a finite number > 0.1"),
        (lambda: Pseudofermion(KAPPA, even_odd="no"), ValueError, "even_odd: got 'no', expected True or False"),  # type: ignore[arg-type]
        (lambda: Pseudofermion(KAPPA, antiperiodic=1), ValueError, "antiperiodic: got 1, expected True or False"),  # type: ignore[arg-type]
        (lambda: WilsonDeterminant(KAPPA, antiperiodic="no"), ValueError, "antiperiodic: got 'no', expected True or False"),  # type: ignore[arg-type]
        (lambda: hasenbusch(KAPPA, 0.1), ValueError, "mus: got 0.1, expected a sequence of numbers"),  # type: ignore[arg-type]
        (lambda: Pseudofermion(KAPPA).draw(3, X), ValueError, r"rngs: got 3, expected a list of generators, one per chain"),  # type: ignore[arg-type]
        (lambda: hasenbusch(KAPPA, (0.0,)), ValueError, "mus: got 0.0, expected a finite number > 0"),
        (lambda: hasenbusch(KAPPA, (np.nan,)), ValueError, "mus: got nan"),
        (lambda: hasenbusch(KAPPA, (0.1,), mu_reg=0.2), ValueError, "mus: got 0.1, expected a finite number > 0.2"),
        (lambda: hasenbusch(KAPPA, mu_reg=-1.0), ValueError, "mu_reg: got -1.0"),
        (lambda: Pseudofermion(KAPPA, even_odd=True).action(np.zeros((1, 2, 3, 2)), PHI), ValueError, "T = 3, expected an even"),
        (lambda: Pseudofermion(KAPPA, even_odd=True).draw(spawn_rngs(1, 1), np.zeros((1, 2, 2, 3))), ValueError, "extent X = 3"),
        (lambda: Pseudofermion(KAPPA).action(X, PHI[..., 0]), ValueError, r"phi: got shape \(1, 2, 2\), expected \(1, 2, 2, 2\)"),
        (lambda: Pseudofermion(KAPPA).force(X, PHI.real), TypeError, "phi: got dtype float64, expected complex128"),
        (lambda: Pseudofermion(KAPPA).force(X, np.inf * PHI.real + 0j), ValueError, "phi: got .*inf.*, expected finite numbers"),
        (lambda: Pseudofermion(KAPPA, even_odd=True).action(X, PHI), ValueError, "phi: got a field that is not zero on the odd"),
        (lambda: Pseudofermion(KAPPA).action(U, PHI), TypeError, "x: got dtype complex128, expected float64"),
        (lambda: Pseudofermion(KAPPA, 2).action(X, PHI), TypeError, "x: got dtype float64, expected complex128"),
        (lambda: Pseudofermion(KAPPA, 3).action(U, PHI), ValueError, "x: got shape"),
        (lambda: Pseudofermion(KAPPA, 2).action(1.1 * U, PHI), ValueError, r"x: got matrices with U\^dag U off 1"),
        (lambda: Pseudofermion(KAPPA).action(np.nan * X, PHI), ValueError, "x: got nan among the links"),
        (lambda: Pseudofermion(KAPPA).draw(spawn_rngs(1, 2), X), ValueError, r"rngs: got 2 generators, expected one"),
        (lambda: determinant_of([]), ValueError, "pseudofermions: got none"),
        (lambda: determinant_of(hasenbusch(KAPPA, (0.1,))[:1]), ValueError, r"got \[\(0.0, 0.1\)\] for \(mu, mu_next\)"),
        (lambda: determinant_of(hasenbusch(KAPPA, (0.1,))[1:]), ValueError, "pseudofermions: got .* whose product is det M"),
        (lambda: determinant_of(2 * hasenbusch(KAPPA)), ValueError, "pseudofermions: got"),
        (lambda: determinant_of(hasenbusch(KAPPA, mu_reg=1e-5)), ValueError, "pseudofermions: got .* whose product is det M"),
        (lambda: determinant_of(hasenbusch(0.2, (0.1,))[:1] + hasenbusch(0.3, (0.1,))[1:]), ValueError, "expected one operator"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_flags_of_numpy_are_flags():
    assert Pseudofermion(KAPPA, even_odd=np.True_, antiperiodic=np.False_) == Pseudofermion(
        KAPPA, 1, True, antiperiodic=False
    )
