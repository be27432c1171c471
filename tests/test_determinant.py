"""The exact determinant: free fields, signs, singular operators; forces against differences; sums of actions under HMC."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.actions import (
    WilsonDeterminant,
    WilsonSUN,
    WilsonU1,
    link_response,
    log_determinant,
    wilson_dirac,
)
from refimpl.actions.dirac.matrix import dense_matrix
from refimpl.exact import fermions, u1
from refimpl.groups import SUN
from refimpl.kernels import HMC, spawn_rngs
from refimpl.lattice import gauge_transform
from refimpl.observables import mean_plaquette

from .gauge_fields import generators, links

KAPPA = 0.265
SHAPES = [(2, 2), (2, 3), (3, 2), (4, 4), (4, 6)]
# Fourth-order differences with step H: the fifth derivative is some hundred (inverses of size 10) times H^4/30, and the
# rounding of a log determinant, 1e-14, is divided by H.
H, DIFFERENCES = 2e-3, 1e-8


def log_abs(x, kappa=KAPPA, **options):
    return log_determinant(wilson_dirac(x, kappa, **options))[0]


def slope(f):
    """``df/dh`` at 0 to fourth order, for a function of the number h."""
    return (8 * (f(H) - f(-H)) - (f(2 * H) - f(-2 * H))) / (12 * H)


@pytest.mark.parametrize("method", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_determinant_is_that_of_the_dense_matrix(shape, n, method):
    dirac = wilson_dirac(links(np.random.default_rng(1), n, 4, shape), KAPPA)
    log, sign = log_determinant(dirac, method)
    # LU is backward stable: n U times the condition number, some hundred here, for at most 144 rows.
    np.testing.assert_allclose(sign * np.exp(log), np.linalg.det(dense_matrix(dirac)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", ["dense", "sparse"])
@pytest.mark.parametrize("shape", [(2, 2), (2, 3)])
def test_negative_determinants_have_their_sign_and_a_finite_action(shape, method):
    # Beyond the physical hopping parameters of these lattices, where several in a hundred hot fields have one.
    x, kappa = links(np.random.default_rng(2), 1, 300, shape), 0.4
    dirac = wilson_dirac(x, kappa)
    log, sign = log_determinant(dirac, method)
    determinant = np.linalg.det(dense_matrix(dirac)).real
    assert (determinant < 0).sum() >= 5
    np.testing.assert_array_equal(sign, np.sign(determinant))
    np.testing.assert_allclose(WilsonDeterminant(kappa).action(x), -2 * np.log(np.abs(determinant)), rtol=0, atol=1e-11)
    assert np.isfinite(log).all()


@pytest.mark.parametrize("method", ["dense", "sparse"])
@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("angles", [(0.0, 0.0), (0.3, -1.1)])
@pytest.mark.parametrize("shape", [*SHAPES, (5, 3)])
def test_the_free_determinant_is_that_of_momentum_space(shape, angles, antiperiodic, method):
    x = np.empty((1, 2, *shape))
    x[:, 0], x[:, 1] = angles
    got, sign = log_determinant(wilson_dirac(x, 0.2, antiperiodic=antiperiodic), method)
    # The condition number is below ten.
    assert abs(got[0] - fermions.log_determinant(0.2, shape, angles, antiperiodic=antiperiodic)) < 1e-12
    assert sign[0] == 1


def test_the_boundary_sign_is_seen_in_single_configurations():
    # An ensemble average of U(1) cannot see it: a shift of one slice of links absorbs it.
    x = links(np.random.default_rng(3), 1, 5, (4, 4))
    turned = x.copy()
    turned[:, 0, -1] += np.pi
    assert np.abs(log_abs(x) - log_abs(x, antiperiodic=False)).min() > 1e-3
    np.testing.assert_allclose(log_abs(x), log_abs(turned, antiperiodic=False), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_the_free_determinant_of_constant_commuting_links_is_a_sum_over_colours(n):
    angles = np.array([[0.4, -0.7, 0.3], [1.0, 0.2, -1.2]])[:, :n]
    angles[:, -1] = -angles[:, :-1].sum(1)
    x = np.zeros((1, 2, 4, 3, n, n), complex)
    x[...] = (np.exp(1j * angles)[:, :, None] * np.eye(n))[:, None, None]
    expected = sum(fermions.log_determinant(KAPPA, (4, 3), (a, b)) for a, b in angles.T)
    assert abs(log_abs(x)[0] - expected) < 1e-12  # as above


def test_kappa_zero_is_the_identity():
    assert log_abs(links(np.random.default_rng(4), 1, 1, (2, 4)), 0.0)[0] == 0
    assert fermions.log_determinant(0.0, (2, 4)) == 0


@pytest.mark.parametrize("method", ["dense", "sparse"])
def test_a_singular_operator_has_an_infinite_action_and_stops_no_other_chain(method):
    # Periodic at kappa = 1/4 the constant spinor is a zero mode; on 2 x 2 all numbers are exact.
    x = links(np.random.default_rng(5), 1, 3, (2, 2))
    x[1] = 0
    log, sign = log_determinant(wilson_dirac(x, 0.25, antiperiodic=False), method)
    assert (log[1], sign[1]) == (-np.inf, 0)
    assert np.isfinite(log[[0, 2]]).all()
    singular = WilsonDeterminant(0.25, antiperiodic=False)
    assert singular.action(x)[1] == np.inf
    force = singular.force(x)
    assert np.isnan(force[1]).all()
    np.testing.assert_array_equal(force[[0, 2]], singular.force(x[[0, 2]]))
    assert fermions.log_determinant(0.25, (2, 2), antiperiodic=False) == -np.inf
    with pytest.raises(ValueError, match="x: got a field of action inf"):
        HMC(singular, 0.1, 2).init(x)


@pytest.mark.parametrize("method", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (2, 6), (8, 8), (16, 16)])
def test_an_operator_that_rounding_makes_regular_is_singular(shape, method):
    x = 0.1 * links(np.random.default_rng(5), 1, 3, shape)
    x[1] = 0
    dirac = wilson_dirac(x, 0.25, antiperiodic=False)
    log, sign = log_determinant(dirac, method)
    assert (log[1], sign[1]) == (-np.inf, 0)
    assert np.isfinite(log[[0, 2]]).all()
    assert np.all(sign[[0, 2]] != 0)
    np.testing.assert_array_equal(np.isnan(link_response(dirac)).all((1, 2, 3, 4, 5)), [False, True, False])
    with pytest.raises(ValueError, match="x: got a field of action inf"):
        HMC(WilsonDeterminant(0.25, antiperiodic=False), 0.1, 2).init(x)


@pytest.mark.parametrize("method", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (8, 8)])
def test_an_operator_near_a_singular_one_is_regular(shape, method):
    # Condition numbers of 1e11 or so, whose determinants hold five digits and more.
    kappa = 0.25 * (1 - 1e-11)
    log, sign = log_determinant(wilson_dirac(np.zeros((1, 2, *shape)), kappa, antiperiodic=False), method)
    assert sign[0] == 1
    assert abs(log[0] - fermions.log_determinant(kappa, shape, antiperiodic=False)) < 1e-3


@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_force_is_the_slope_of_the_action(shape, antiperiodic):
    x = 0.6 * links(np.random.default_rng(6), 1, 2, shape)
    action = WilsonDeterminant(KAPPA, antiperiodic=antiperiodic)
    force = action.force(x)
    for index in np.ndindex(2, *shape):
        w = np.zeros((2, *shape))
        w[index] = 1
        expected = slope(lambda h, w=w: action.action(x + h * w))
        np.testing.assert_allclose(force[(slice(None), *index)], expected, rtol=0, atol=DIFFERENCES)


@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (4, 2)])
def test_the_force_of_matrices_is_the_slope_of_the_action(shape, n, antiperiodic):
    rng = np.random.default_rng(14)
    x, action = links(rng, n, 2, shape), WilsonDeterminant(KAPPA, n, antiperiodic)
    energy, force = action.action_and_force(x)
    assert force.shape == (2, 2, *shape, n * n - 1)
    assert not action.angular
    np.testing.assert_array_equal(energy, -2 * log_abs(x, antiperiodic=antiperiodic))
    np.testing.assert_array_equal(action.force(x), force)
    v = np.zeros_like(force)
    action.dynamics(x, v).kick(0.5)
    np.testing.assert_array_equal(v, -0.5 * force)
    for _ in range(4):
        w = rng.standard_normal(force.shape)
        w /= np.sqrt((w**2).sum((1, 2, 3, 4), keepdims=True))
        expected = slope(lambda h, w=w: action.action(SUN(n).exp(h * w) @ x))
        np.testing.assert_allclose((force * w).sum((1, 2, 3, 4)), expected, rtol=0, atol=DIFFERENCES)


@pytest.mark.parametrize("n", [2, 3])
def test_every_component_of_the_force_of_matrices_is_a_slope(n):
    x, action = links(np.random.default_rng(15), n, 1, (2, 2)), WilsonDeterminant(KAPPA, n)
    force = action.force(x)
    for index in np.ndindex(2, 2, 2, n * n - 1):
        w = np.zeros(force.shape[1:])
        w[index] = 1
        expected = slope(lambda h, w=w: action.action(SUN(n).exp(h * w) @ x))
        assert abs(force[(0, *index)] - expected[0]) < DIFFERENCES


def test_hmc_of_matrices_runs_with_the_sum_and_keeps_its_energy():
    kernel = HMC(WilsonSUN(3.0, 3) + WilsonDeterminant(0.2, 3), 0.1, 5)
    state = kernel.init(links(np.random.default_rng(16), 3, 2, (4, 2)))
    v, u = kernel.noise(spawn_rngs(17, 2), state.force.shape)
    errors = []
    for n_steps in (5, 10, 20):
        finer = HMC(kernel.action, 0.5 / n_steps, n_steps)
        new, _, info = finer.propose(state, v, u)
        errors.append(info.delta_h)
    np.testing.assert_allclose(new.action, kernel.action.action(new.x), rtol=1e-12)
    # Second order; corrections are of the square of the step.
    np.testing.assert_allclose((errors[0] - errors[1]) / (errors[1] - errors[2]), 4, rtol=0.1)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("shape", [(2, 2), (3, 2)])
def test_the_response_of_matrices_is_the_slope_along_generators(shape, n):
    x = links(np.random.default_rng(7), n, 1, shape)
    response = link_response(wilson_dirac(x, KAPPA))
    for t in generators(n):
        values, vectors = np.linalg.eigh(t)
        got = 2 * KAPPA * np.trace(t @ response[0], axis1=-2, axis2=-1).imag
        for index in np.ndindex(2, *shape):

            def turned(h, index=index, values=values, vectors=vectors):
                y = x.copy()
                y[(0, *index)] = (vectors * np.exp(1j * h * values)) @ vectors.conj().T @ y[(0, *index)]
                return log_abs(y)[0]

            assert abs(got[index] - slope(turned)) < DIFFERENCES


@pytest.mark.parametrize("shape", [(4, 4), (3, 4)])
def test_action_and_force_are_gauge_invariant(shape):
    rng = np.random.default_rng(8)
    x, alpha = links(rng, 1, 3, shape), rng.uniform(-np.pi, np.pi, (3, *shape))
    action = WilsonDeterminant(KAPPA)
    y = gauge_transform(x, alpha)
    # The links of y are 1e-15 off, which the inverse, of size 100 at most, and the sum over links amplify.
    np.testing.assert_allclose(action.action(y), action.action(x), rtol=0, atol=1e-11)
    np.testing.assert_allclose(action.force(y), action.force(x), rtol=0, atol=1e-11)
    force = action.force(x)
    divergence = force.sum(1) - np.roll(force[:, 0], 1, 1) - np.roll(force[:, 1], 1, 2)
    np.testing.assert_allclose(divergence, 0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(4, 6), (3, 4)])
def test_a_chain_has_the_same_bits_alone_in_a_batch_and_in_a_trajectory(shape):
    x = links(np.random.default_rng(9), 1, 37, shape)
    action = WilsonDeterminant(KAPPA)
    alone = [action.action_and_force(x[c : c + 1]) for c in range(37)]
    last = np.moveaxis(np.array(np.moveaxis(x, 0, -1), order="C"), -1, 0)
    v = np.zeros_like(last)
    action.dynamics(last, v).kick(1.0)
    for energy, force in (action.action_and_force(x), action.dynamics(last, v).action_and_force()):
        np.testing.assert_array_equal(np.concatenate([a for a, _ in alone]), energy)
        np.testing.assert_array_equal(np.concatenate([f for _, f in alone]), force)
    np.testing.assert_array_equal(action.action(x), energy)
    np.testing.assert_array_equal(action.force(x), force)
    np.testing.assert_array_equal(v, -force)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kappa: got -1, expected a finite number >= 0"):
        WilsonDeterminant(-1)
    action = WilsonDeterminant(KAPPA)
    with pytest.raises(ValueError, match="x: got nan among the links"):
        action.action(np.full((1, 2, 2, 2), np.nan))
    with pytest.raises(TypeError, match="x: got dtype complex128, expected float64"):
        action.force(links(np.random.default_rng(0), 2, 1, (2, 2)))
    with pytest.raises(ValueError, match=r"x: got shape \(1, 2, 2, 2, 2, 2\), expected \(chain, 2, T, X, 3, 3\)"):
        WilsonDeterminant(KAPPA, 3).action(links(np.random.default_rng(0), 2, 1, (2, 2)))
    with pytest.raises(TypeError, match="x: got dtype float64, expected complex128"):
        WilsonDeterminant(KAPPA, 2).action(np.zeros((1, 2, 2, 2)))
    with pytest.raises(ValueError, match=r"x: got matrices with U\^dag U off 1"):
        WilsonDeterminant(KAPPA, 2).force(1.1 * links(np.random.default_rng(0), 2, 1, (2, 2)))
    with pytest.raises(ValueError, match="n: got 0, expected an integer of at least 1"):
        WilsonDeterminant(KAPPA, 0)
    with pytest.raises(ValueError, match="method: got 'cg', expected 'auto', 'dense' or 'sparse'"):
        log_determinant(wilson_dirac(np.zeros((1, 2, 2, 2)), KAPPA), "cg")
    with pytest.raises(TypeError, match="dirac: got ndarray, expected a WilsonDirac"):
        log_determinant(np.zeros((1, 2, 2, 2)))
    with pytest.raises(ValueError, match="kappa: got -1, expected"):
        fermions.log_determinant(-1, (2, 2))
    with pytest.raises(ValueError, match=r"shape: got \(1, 2\), expected"):
        fermions.log_determinant(0.1, (1, 2))


def test_a_trajectory_that_leaves_all_numbers_is_rejected():
    kernel = HMC(WilsonU1(2.0) + WilsonDeterminant(KAPPA), 0.1, 2)
    state = kernel.init(links(np.random.default_rng(11), 1, 2, (2, 2)))
    v = np.zeros_like(state.x)
    v[0] = np.inf
    _, _, info = kernel.propose(state, v, np.full(2, 0.5))
    np.testing.assert_array_equal(info.non_finite, [True, False])


def test_hmc_with_the_exact_determinant_agrees_with_reweighted_exact_samples():
    beta, shape, rng = 2.0, (2, 2), np.random.default_rng(12)
    x = u1.sample(rng, 100_000, beta, shape)
    weights = np.exp(2 * log_abs(x))
    plaquettes = mean_plaquette(x)
    expected = np.average(plaquettes, weights=weights)
    error = np.sqrt((weights**2 * (plaquettes - expected) ** 2).sum()) / weights.sum()
    quenched = plaquettes.mean()

    n = 2000
    kernel = HMC(WilsonU1(beta) + WilsonDeterminant(KAPPA), 0.2, 7)
    state = kernel.init(x[rng.choice(len(x), n, p=weights / weights.sum())])  # equilibrium, so no burn-in
    rngs, sums, acceptance = spawn_rngs(13, n), np.zeros(n), 0.0
    n_steps = 15
    for _ in range(n_steps):
        state, info = kernel.step(rngs, state)
        sums += mean_plaquette(state.x) / n_steps
        acceptance += info.acceptance.mean() / n_steps
    hmc_error = sums.std() / np.sqrt(n)
    combined = 5 * np.hypot(error, hmc_error)
    assert abs(sums.mean() - expected) < combined
    assert acceptance > 0.9
    assert abs(quenched - expected) > 2 * combined  # the test can tell the theories apart
