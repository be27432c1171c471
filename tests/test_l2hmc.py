"""The generalized leapfrog: exactly invertible, with the Jacobian it claims, and its fast form is its definition."""

import itertools
import math
from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import actions, theories
from refimpl.lattice import gauge_transform
from refimpl.maps import MolecularDynamics, definition
from refimpl.maps import l2hmc as fast
from refimpl.maps.architecture import Architecture, NetWeights, encode, frozen_plaquettes
from refimpl.maps.blocks import drift, half_kick, stretch_angle
from refimpl.maps.compression import compressed
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.nets import Net, Outputs

from .models import AS_TRAINED, HMC_WEIGHTS, THEORIES, build, distance, filled, maps, start

DENSE, CONV, SCALARS = Net("dense", units=(4,)), Net("conv", filters=(3,), activation="tanh"), Net("scalars")
WITHOUT_S = Net("conv", filters=(2,), activation="tanh", outputs="tq")
LETTERS = ("s_x", "t_x", "q_x", "s_v", "t_v", "q_v")


def ways(model):
    return (model.forward, model.inverse), (model.inverse, model.forward)


def difference(theory, a, b):
    """Largest difference of ``((x, v), logdet)``."""
    (x, v), logdet = a
    (y, w), other = b
    assert logdet.shape == other.shape == (len(x),)
    return max(distance(theory, x, y), np.max(np.abs(v - w)), np.max(np.abs(logdet - other)))


# --- the leapfrog ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", THEORIES)
@pytest.mark.parametrize("silent", ["no nets", "at the start", "weights zero", "scalars at zero"])
def test_without_nets_it_is_the_leapfrog(name, silent):
    theory = THEORIES[name]
    options = {
        "no nets": {},
        "at the start": {"v_net": DENSE, "x_net": DENSE, "size": 0},
        "weights zero": {"v_net": DENSE, "x_net": DENSE, "weights": HMC_WEIGHTS},
        "scalars at zero": {"v_net": SCALARS, "x_net": SCALARS, "size": 0},
    }[silent]
    model = build(theory, n_layers=4, **options)
    model = model.replace(params=model.params | {"eps_x": np.full(4, 0.2), "eps_v": np.full(4, 0.2)})
    z = start(theory, 5, 1)
    four, eight = (MolecularDynamics(theory.action, 0.2, n) for n in (4, 8))
    # rounding of 8 steps of size 1 at a few 1e-16 each, amplified by less than 10
    assert difference(theory, model.forward(z), four.forward(z)) < 1e-13
    assert difference(theory, model.inverse(z), four.inverse(z)) < 1e-13
    # M = inverse layers . flip . layers runs the leapfrog on, and flips
    (x, v), logdet = eight.forward(z)
    assert difference(theory, model.replace(merged=True).forward(z), ((x, -v), logdet)) < 1e-13


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("kind", ["scalars", "dense"])
@pytest.mark.parametrize("merged", [False, True])
def test_a_weight_scales_its_output(name, kind, merged):
    theory, net = THEORIES["u1"], {"scalars": SCALARS, "dense": DENSE}[kind]
    model = build(theory, 2, n_layers=2, v_net=net, x_net=net, merged=merged)
    letter, which = name.split("_")
    keys = {
        "scalars": [f"{which}/scalar/{letter}"],
        "dense": [f"{which}/head/t/weight", f"{which}/head/t/bias"]
        if letter == "t"
        else [f"{which}/head/{letter}/scale"],
    }[kind]
    scaled = model.replace(params=model.params | {key: 0.4 * model.params[key] for key in keys})
    weighted = model.replace(net_weights=NetWeights(**{name: 0.4}))
    z = start(theory, 3, 3)
    assert difference(theory, weighted.forward(z), model.forward(z)) > 1e-4
    assert difference(theory, weighted.forward(z), scaled.forward(z)) < 1e-13  # rounding


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("outputs", ["s", "t", "q", "stq"])
def test_numbers_alone_are_the_general_walk(outputs, merged):
    for theory, winding in ((THEORIES["u1"], 1), (THEORIES["u1"], 0), (THEORIES["gmm"], 0)):
        for n_layers in (1, 2, 3):
            net = Net("scalars", outputs=outputs)
            numbers = build(theory, 4, n_layers=n_layers, v_net=net, merged=merged, winding=winding)
            walk = build(theory, 4, n_layers=n_layers, v_net=net, x_net=SCALARS, merged=merged, winding=winding, size=0)
            walk = walk.replace(params=walk.params | numbers.params)
            assert numbers.architecture.affine_kicks
            assert not walk.architecture.affine_kicks
            z = start(theory, 3, 5)
            force = theory.action.force(z[0])
            for direction in (1, -1):
                a, b = (m.run(*z, force, direction) for m in (numbers, walk))
                (c, pull_a), (_, pull_b) = (m.run_with_pullback(*z, force, direction) for m in (numbers, walk))
                for part in ("x", "v", "logdet", "action", "force"):
                    # forces of size 30, rounded in six kicks
                    assert np.max(np.abs(getattr(a, part) - getattr(b, part))) < 1e-12
                    assert np.max(np.abs(getattr(a, part) - getattr(c, part))) < 1e-12
                ends = [np.cos(np.arange(value.size)).reshape(value.shape) for value in (a.x, a.v, a.logdet, a.action)]
                grads, expected = pull_a(*ends), pull_b(*ends)
                for key in numbers.params:
                    assert np.allclose(grads[key], expected[key], rtol=1e-11, atol=1e-11), key


# --- the way back ----------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(case=maps(n_layers=(10, 10), size=0.05, step_size=0.1), seed=st.integers(0, 2**32))
def test_ten_layers_and_back(case, seed):
    theory, model = case
    z = start(theory, 3, seed)
    for there, back in ways(model):
        y, logdet = there(z)
        again, logdet_back = back(y)
        # 20 layers at 1e-15 each, amplified by less than 50
        assert distance(theory, again[0], z[0]) < 1e-12
        assert np.max(np.abs(again[1] - z[1])) < 1e-12
        assert np.max(np.abs(logdet + logdet_back)) < 1e-12
        if theory.action.angular:
            assert np.all((y[0] >= -np.pi) & (y[0] < np.pi))
    if model.merged and not model.architecture.winding:
        assert model.involution
        assert difference(theory, model.forward(z), model.inverse(z)) == 0
    if model.architecture.winding:
        assert not model.involution
        assert difference(theory, model.forward(z), model.inverse(z)) > 1e-3


@settings(max_examples=12, deadline=None)
@given(case=maps(), seed=st.integers(0, 2**32))
def test_inputs_stay_and_calls_repeat(case, seed):
    theory, model = case
    x, v = start(theory, 3, seed)
    copies, params = (x.copy(), v.copy()), {key: value.copy() for key, value in model.params.items()}
    first, second = model.forward((x, v)), model.forward((x, v))
    assert difference(theory, first, second) == 0
    assert np.array_equal(x, copies[0])
    assert np.array_equal(v, copies[1])
    assert all(np.array_equal(model.params[key], params[key]) for key in params)


@settings(max_examples=30, deadline=None)
@given(case=maps(), seed=st.integers(0, 2**32), n=st.sampled_from([2, 7, 33]))
def test_a_chain_has_its_bits_in_any_batch(case, seed, n):
    theory, model = case
    x, v = start(theory, n, seed)
    for run in (model.forward, model.inverse):
        (xs, vs), logdets = run((x, v))
        for c in (0, n - 1):
            (x1, v1), logdet = run((x[c : c + 1], v[c : c + 1]))
            assert np.array_equal(x1[0], xs[c])
            assert np.array_equal(v1[0], vs[c])
            assert logdet[0] == logdets[c]


# --- the definition --------------------------------------------------------------------------------------------------
@settings(max_examples=45, deadline=None)
@given(case=maps(n_layers=(1, 3)), seed=st.integers(0, 2**32), direction=st.sampled_from([1, -1]))
def test_fast_form_and_gradient_are_those_of_the_definition(case, seed, direction):
    theory, model = case
    x, v = start(theory, 2, seed)
    force = theory.action.force(x)
    end = model.run(x, v, force, direction)
    rng = np.random.default_rng(seed)
    ends = [rng.standard_normal(value.shape) for value in (end.x, end.v, end.logdet, end.action)]

    def traced(params):
        x_end, v_end, logdet = definition.run(
            theory.action, model.architecture, params, x, v, direction, model.net_weights, model.merged
        )
        parts = [anp.ravel(part) for part in (x_end, v_end, logdet, theory.action.definition(x_end))]
        return anp.concatenate(parts)

    pull, values = autograd.make_vjp(traced)(dict(model.params))
    expected_x, expected_v, expected_logdet, expected_action = np.split(
        values, np.cumsum([end.x.size, end.v.size, end.logdet.size])
    )
    # sums of 32 terms of size up to 30, through six layers
    assert distance(theory, end.x.ravel(), expected_x) < 1e-12
    assert np.max(np.abs(end.v.ravel() - expected_v)) < 1e-12
    assert np.max(np.abs(end.logdet - expected_logdet)) < 1e-12
    assert np.max(np.abs(end.action - expected_action)) < 1e-11
    assert np.max(np.abs(end.force - theory.action.force(end.x))) < 1e-12
    same, pullback = model.run_with_pullback(x, v, force, direction)
    assert max(np.max(np.abs(getattr(same, name) - value)) for name, value in vars(end).items()) < 1e-12
    expected = pull(np.concatenate([part.ravel() for part in ends]))
    grads = pullback(*ends)
    assert set(grads) == set(model.params)
    size = max(np.max(np.abs(g)) for g in expected.values())
    for key, g in expected.items():
        assert grads[key].shape == g.shape
        assert np.max(np.abs(grads[key] - g)) <= 1e-12 * size, key


def test_the_gradient_is_that_of_differences():
    # autograd differentiates the definition; this ties the pullback to differences of the fast form
    theory = THEORIES["u1"]
    model = build(theory, 6, n_layers=2, v_net=DENSE, x_net=CONV, mask="checkerboard", merged=True)
    x, v = start(theory, 2, 7)
    force, rng = theory.action.force(x), np.random.default_rng(8)
    end, pull = model.run_with_pullback(x, v, force, 1)
    ends = [rng.standard_normal(value.shape) for value in (end.x, end.v, end.logdet, end.action)]
    grads, step = pull(*ends), 1e-6
    for key in sorted(grads):
        towards = rng.standard_normal(grads[key].shape)
        sides = []
        for sign in (1, -1):
            end = model.replace(params=model.params | {key: model.params[key] + sign * step * towards}).run(
                x, v, force, 1
            )
            sides.append(sum(np.sum(a * g) for a, g in zip((end.x, end.v, end.logdet, end.action), ends, strict=True)))
        slope = np.sum(grads[key] * towards)
        # rounding 1e-14 * 30/1e-6 and curvature 1e-12 * 1e3
        assert abs((sides[0] - sides[1]) / (2 * step) - slope) < 1e-6 * (1 + abs(slope)), key


# --- the Jacobian ----------------------------------------------------------------------------------------------------
def differences(model, x, v, direction):
    """``log |det|`` of the map at one point from central differences: all shifted points are one batch."""
    n, h = 2 * x.size, 1e-5
    points = np.concatenate([x.ravel(), v.ravel()]) + h * np.concatenate([np.eye(n), -np.eye(n)])
    xs, vs = (part.reshape(2 * n, *x.shape[1:]) for part in np.split(points, 2, axis=1))
    end = model.run(xs, vs, model.action.force(xs), direction)
    ends = np.concatenate([end.x.reshape(2 * n, -1), end.v.reshape(2 * n, -1)], axis=1)
    return np.linalg.slogdet((ends[:n] - ends[n:]) / (2 * h))[1]


def dense_logdet(theory, model, x, v, direction):
    """The same from autograd and the definition: chains are independent, so n equal ones give all n rows at once."""
    n = 2 * x.size

    def flat(z):
        parts = [anp.reshape(part, (n, *x.shape[1:])) for part in (z[:, : x.size], z[:, x.size :])]
        end = definition.run(
            theory.action, model.architecture, model.params, *parts, direction, model.net_weights, model.merged
        )
        return anp.concatenate([anp.reshape(part, (n, -1)) for part in end[:2]], axis=1)

    pull, _ = autograd.make_vjp(flat)(np.tile(np.concatenate([x.ravel(), v.ravel()]), (n, 1)))
    return np.linalg.slogdet(pull(np.eye(n)))[1]


@settings(max_examples=60, deadline=None)
@given(case=maps(smooth=True), seed=st.integers(0, 2**32), direction=st.sampled_from([1, -1]))
def test_logdet_is_that_of_differences(case, seed, direction):
    theory, model = case
    x, v = start(theory, 1, seed)
    end = model.run(x, v, theory.action.force(x), direction)
    # curvature 1e-10 * 1e2 and rounding 1e-15/1e-5, in 64 singular values
    assert abs(differences(model, x, v, direction) - end.logdet[0]) < 2e-7


JACOBIANS = [
    ((2, 2), {"v_net": DENSE, "x_net": DENSE, "mask": "checkerboard"}),
    ((2, 2), {"v_net": DENSE, "x_net": DENSE, "mask": "stripes", "merged": True}),
    ((2, 3), {"v_net": CONV, "x_net": DENSE, "mask": "random", "time": True, "shared": True}),
    ((2, 3), {"v_net": SCALARS, "x_net": SCALARS, "encoding": "masked_angle", "winding": 1}),
    ((2, 4), {"v_net": CONV, "x_net": WITHOUT_S, "encoding": "plaquette", "mask": "stripes"}),
    ((4, 2), {"v_net": None, "x_net": CONV, "mask": "combined", "merged": True}),
    ((4, 4), {"v_net": CONV, "x_net": CONV, "mask": "checkerboard", "n_layers": 1}),
]


@pytest.mark.parametrize(("shape", "options"), JACOBIANS, ids=lambda value: str(value)[:40])
def test_logdet_is_that_of_the_dense_jacobian(shape, options):
    theory = theories.u1(2.0, shape)
    model = build(theory, 9, **{"n_layers": 2, **options})
    x, v = start(theory, 1, 10)
    edges = np.resize([np.pi - 1e-3, -np.pi, 1e-3 - np.pi, 0.0, np.pi - 1e-9], x.shape)
    for at in (x, edges):
        for direction in (1, -1):
            end = model.run(at, v, theory.action.force(at), direction)
            # 64 x 64 matrices of condition below 1e3
            assert abs(dense_logdet(theory, model, at, v, direction) - end.logdet[0]) < 1e-10
            if DENSE not in (model.architecture.x_net, model.architecture.v_net):
                assert abs(differences(model, at, v, direction) - end.logdet[0]) < 1e-7


def regime(name, n_layers=4):
    """U(1) with dense nets in one of the regimes in which errors hide from, or show in, statistics."""
    theory = THEORIES["u1"]
    if name == "zero":
        return theory, build(theory, 11, n_layers=n_layers, v_net=DENSE, x_net=DENSE, size=0)
    if name in ("random", "large"):
        size = {"random": 0.1, "large": 1.5}[name]
        return theory, build(theory, 11, n_layers=n_layers, v_net=DENSE, x_net=DENSE, size=size)
    model = build(theory, 11, n_layers=n_layers, v_net=DENSE, x_net=DENSE, size=0)
    letter = name[-1]
    keys = {
        f"{which}/head/{letter}/{part}": np.full_like(model.params[f"{which}/head/{letter}/{part}"], 0.3)
        for which in "vx"
        for part in ("bias", "scale")
        if f"{which}/head/{letter}/{part}" in model.params
    }
    return theory, model.replace(params=model.params | keys)


@pytest.mark.parametrize("name", ["zero", "random", "coherent s", "coherent t", "large"])
def test_the_five_regimes(name):
    theory, model = regime(name)
    z = start(theory, 20, 12)
    x, v = z
    (_, logdet), (_, logdet_inverse) = model.forward(z), model.inverse(z)
    if name == "coherent s":
        # sum eps s over 4 layers and 32 links twice, s = 0.3 tanh 0.3 = 0.087: 3.4, less what the circle gives back
        assert 1 < np.mean(logdet) < 4
        assert -4 < np.mean(logdet_inverse) < -1
    if name in ("zero", "coherent t"):
        assert np.max(np.abs(logdet)) < 1e-13  # rounding of 256 logarithms of 1
    if name == "coherent t":
        # t_v and t_x of 0.3: four layers drift the momenta by -0.15 * 0.3 each, and x follows
        silent = model.replace(net_weights=HMC_WEIGHTS).forward(z)
        assert distance(theory, model.forward(z)[0][0], silent[0][0]) > 0.05
    for there, back in ways(model):
        y, there_logdet = there(z)
        again, back_logdet = back(y)
        # large translations see-saw: a factor of up to 100 a layer on rounding of 1e-15
        tolerance = 1e-5 if name == "large" else 1e-12
        assert distance(theory, again[0], x) < tolerance
        assert np.max(np.abs(again[1] - v)) < tolerance
        assert np.max(np.abs(there_logdet + back_logdet)) < tolerance
    for direction in (1, -1):
        end = model.run(x, v, theory.action.force(x), direction)
        expected = definition.run(theory.action, model.architecture, model.params, x, v, direction)
        assert np.max(np.abs(end.logdet - expected[2])) < tolerance
        assert distance(theory, end.x, expected[0]) < tolerance


# --- the updates by hand ---------------------------------------------------------------------------------------------
def numbers_out(s, t, q, shape):
    return Outputs(*(np.full(shape, value) for value in (s, t, q)))


@pytest.mark.parametrize("sign", [1, -1])
def test_half_kick_by_hand(sign):
    v, force, eps = np.array([[0.7, -1.1]]), np.array([[2.0, -0.5]]), 0.3
    new, logdet, _ = half_kick(v, force, numbers_out(0.4, 0.2, -0.6, (1, 2)), eps, sign)
    push = 0.15 * (force * math.exp(-0.18) + 0.2)
    expected = v * math.exp(0.06) - push if sign > 0 else (v + push) * math.exp(-0.06)
    assert np.allclose(new, expected, rtol=1e-15, atol=1e-15)
    assert math.isclose(logdet[0], sign * 0.12, rel_tol=1e-15)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("angular", [False, True])
def test_drift_by_hand(sign, angular):
    x, v, eps, move = np.array([[0.7, -1.1]]), np.array([[2.0, -0.5]]), 0.3, np.array([1.0, 0.0])
    new, logdet, _ = drift(x, v, numbers_out(0.4, 0.2, -0.6, (1, 2)), move, eps, sign, angular)
    d = 0.3 * (2.0 * math.exp(-0.18) + 0.2)
    before = 0.7 if sign > 0 else 0.7 - d
    a = math.exp(sign * 0.12)
    moved = 2 * math.atan(a * math.tan(before / 2)) if angular else a * before
    slope = a / (math.cos(before / 2) ** 2 + a**2 * math.sin(before / 2) ** 2) if angular else a
    assert np.allclose(new, [[moved + d if sign > 0 else moved, -1.1]], rtol=1e-15, atol=1e-15)
    assert math.isclose(logdet[0], math.log(slope), rel_tol=1e-13)


def test_scalars_under_a_mask_on_real_fields_count_what_moves():
    theory = THEORIES["gaussian"]
    model = build(theory, n_layers=2, x_net=Net("scalars", outputs="s"), size=0, step_size=0.2)
    model.params["x/scalar/s"][:] = 0.5
    for n in (2, 3):
        _, logdet = model.forward(start(theory, n, 0))
        assert np.allclose(logdet, 2 * 3 * 0.2 * 0.5, rtol=1e-15)


# --- the stretch of the circle ---------------------------------------------------------------------------------------
@settings(max_examples=100, deadline=None)
@given(x=st.floats(-math.pi, math.pi), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_stretches_compose_and_have_their_derivative(x, a, b):
    point = np.array([[x]])
    y, logdet, _ = stretch_angle(point, np.array([[a]]))
    both, logdet_both, _ = stretch_angle(y, np.array([[b]]))
    once, logdet_once, _ = stretch_angle(point, np.array([[a + b]]))
    # errors of y grow by at most exp(3), those of x by exp(6)
    assert abs(both[0, 0] - once[0, 0]) < 1e-12
    assert abs(logdet[0] + logdet_both[0] - logdet_once[0]) < 1e-12
    h = 1e-5
    sides = [stretch_angle(point + shift, np.array([[a]]))[0][0, 0] for shift in (h, -h)]
    slope = math.exp(logdet[0])
    # third derivative at most exp(3 * 3): h^2 * 8000
    assert abs((sides[0] - sides[1]) / (2 * h) - slope) < 1e-6 + 1e-9 * slope


@pytest.mark.parametrize("exponent", [-5.0, -0.3, 0.0, 0.3, 5.0])
def test_stretch_fixes_the_poles_and_has_no_cut(exponent):
    e = np.full((1, 5), exponent)
    y, logdet, _ = stretch_angle(np.array([[0.0, np.pi, -np.pi, 2 * np.pi, -7 * np.pi]]), e)
    # an angle near 20 has rounding 4e-15, and the map steepens it by exp(5)
    assert np.allclose(y, [[0.0, np.pi, -np.pi, 2 * np.pi, -7 * np.pi]], atol=1e-14 + 4e-15 * math.exp(5))
    for point, slope in ((0.0, exponent), (np.pi, -exponent)):
        _, logdet, _ = stretch_angle(np.array([[point]]), e[:, :1])
        assert abs(logdet[0] - slope) < 1e-12
    left, right = (stretch_angle(np.array([[side]]), e[:, :1])[0][0, 0] for side in (np.pi - 1e-9, 1e-9 - np.pi))
    assert abs(left - right - 2 * np.pi) < 2.1e-9 * math.exp(abs(exponent))
    grid = np.linspace(-3 * np.pi, 3 * np.pi, 4001)[None]
    y, _, _ = stretch_angle(grid, np.full(grid.shape, exponent))
    assert np.all(np.diff(y) > 0)
    x = np.linspace(-3.1, 3.1, 50)[None]
    y, _, _ = stretch_angle(x, np.full(x.shape, exponent))
    assert np.allclose(y, 2 * np.arctan(math.exp(exponent) * np.tan(x / 2)), atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(-3.1, 3.1), exponent=st.floats(-25, 25))
def test_huge_stretches_come_back(x, exponent):
    e = np.array([[exponent]])
    y, logdet, _ = stretch_angle(np.array([[x]]), e)
    again, logdet_back, _ = stretch_angle(y, -e)
    # the way back enlarges the rounding 4e-16 of y by 1/slope
    lost = 1e-15 * (1 + math.exp(-logdet[0]))
    assert abs(again[0, 0] - x) < 4 * lost
    # and moves logdet by its own slope, up to exp(25)/2 where the circle is folded into a point
    c, s, a = math.cos(x / 2), math.sin(x / 2), math.exp(exponent)
    steep = max(1.0, abs((a * a - 1) * s * c / (c * c + a * a * s * s)))
    assert abs(logdet[0] + logdet_back[0]) < 20 * lost * steep


# --- masks -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mask", ["random", "checkerboard", "stripes"])
@pytest.mark.parametrize("shape", [(2, 4, 6), (6,), (2, 2, 2)])
def test_masks_are_halves_and_stay(mask, shape):
    architecture = Architecture(shape, True, 6, x_net=DENSE, mask=mask, mask_seed=3)
    masks = architecture.masks()
    assert masks.shape == (6, *shape)
    assert masks.dtype == bool
    assert np.all(masks.reshape(6, -1).sum(axis=1) == math.prod(shape) // 2)
    assert np.array_equal(masks, replace(architecture, n_layers=6).masks())
    if mask == "random":
        assert len({m.tobytes() for m in masks}) > 1
        assert not np.array_equal(masks, replace(architecture, mask_seed=4).masks())


def test_masks_by_hand():
    t, x = np.indices((4, 4))
    board = Architecture((2, 4, 4), True, 2, x_net=DENSE, mask="checkerboard").masks()
    stripes = Architecture((2, 4, 4), True, 4, x_net=DENSE, mask="stripes").masks()
    for mu in (0, 1):
        assert np.array_equal(board[0, mu], (t + x) % 2 == 0)
        assert np.array_equal(board[1, mu], (t + x) % 2 == 1)
        for k, expected in enumerate([t % 2 == 0, x % 2 == 0, t % 2 == 1, x % 2 == 1]):
            assert np.array_equal(stripes[k, mu], expected)
    chain = Architecture((5,), False, 2, mask="random", x_net=DENSE).masks()
    assert np.all(chain.sum(axis=1) == 2)
    assert np.array_equal(Architecture((4,), True, 2, x_net=DENSE, mask="stripes").masks()[0], [1, 0, 1, 0])
    assert np.all(Architecture((4,), True, 2, x_net=DENSE, mask="combined").masks())
    assert np.all(Architecture((5,), True, 2, mask="checkerboard").masks())  # without a net nothing has to be hidden


def test_frozen_plaquettes_by_hand():
    move = np.zeros((2, 3, 3), dtype=bool)
    move[0, 1, 1] = True  # a time link bounds the plaquettes on its two sides
    expected = np.ones((3, 3))
    expected[1, 1] = expected[1, 0] = 0
    assert np.array_equal(frozen_plaquettes(move), expected)
    move = np.zeros((2, 3, 3), dtype=bool)
    move[1, 1, 1] = True
    expected = np.ones((3, 3))
    expected[1, 1] = expected[0, 1] = 0
    assert np.array_equal(frozen_plaquettes(move), expected)


@pytest.mark.parametrize("encoding", ["cartesian", "masked_angle", "angle", "plaquette", "real"])
def test_what_moves_is_hidden(encoding):
    rng = np.random.default_rng(13)
    if encoding == "real":
        architecture = Architecture((6,), False, 1, x_net=DENSE)
    else:
        net = Net("dense", units=(4,), outputs="tq")
        architecture = Architecture((2, 4, 4), True, 1, x_net=net, encoding=encoding, mask="stripes")
    move = architecture.masks()[0]
    if encoding == "plaquette":  # half of the links leave some plaquettes frozen only where they are gathered
        move = np.zeros((2, 4, 4), dtype=bool)
        move[:, :2] = True
    x = rng.uniform(-3, 3, (2, *architecture.field_shape))
    for half in (move, ~move):
        seen, _ = encode(architecture, x, half)
        other, _ = encode(architecture, np.where(half, rng.uniform(-3, 3, x.shape), x), half)
        changed, _ = encode(architecture, np.where(half, x, rng.uniform(-3, 3, x.shape)), half)
        assert {name: value.shape[1:] for name, value in seen.items()} == {
            name: shape for name, shape in architecture.inputs("x").items() if name != "v"
        }
        assert all(np.array_equal(seen[name], other[name]) for name in seen)
        assert any(np.any(seen[name] != changed[name]) for name in seen)
        if encoding == "masked_angle":
            assert np.all(seen["cos"][:, half] == 1)
        elif encoding in ("cartesian", "real"):
            assert all(np.all(value[:, half] == 0) for value in seen.values())


@pytest.mark.parametrize("name", ["u1", "gmm"])
def test_position_nets_see_the_frozen_half_and_the_current_momenta(name, monkeypatch):
    theory = THEORIES[name]
    model = build(theory, 14, n_layers=1, x_net=DENSE, mask="checkerboard")
    calls = []
    own = fast.nets.apply

    def spy(net, params, inputs, time):
        calls.append(inputs)
        return own(net, params, inputs, time)

    monkeypatch.setattr(fast.nets, "apply", spy)
    x, v = start(theory, 2, 15)
    move = model.architecture.masks()[0]
    model.forward((x, v))
    kicked = v - 0.5 * model.params["eps_v"][0] * theory.action.force(x)
    first, second = calls
    assert np.allclose(first["v"], kicked, atol=1e-14)
    assert np.allclose(second["v"], kicked, atol=1e-14)
    key = "cos" if name == "u1" else "x"
    whole = np.cos(x) if name == "u1" else x
    assert np.allclose(first[key], np.where(move, 0, whole), atol=1e-14)
    assert np.all(second[key][:, ~move] == 0)
    assert not np.allclose(second[key][:, move], whole[:, move], atol=1e-3)


# --- symmetries ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("winding", [0, 1])
def test_plaquettes_make_it_gauge_equivariant(merged, winding):
    theory = THEORIES["u1"]
    options = {"v_net": DENSE, "x_net": Net("dense", units=(4,), outputs="tq"), "mask": "stripes"}
    model = build(theory, 16, n_layers=2, merged=merged, encoding="plaquette", winding=winding, **options)
    other = build(theory, 16, n_layers=2, merged=merged, encoding="cartesian", winding=winding, **options)
    x, v = start(theory, 3, 17)
    alpha = np.random.default_rng(18).uniform(-3, 3, (3, 4, 4))
    for m, equivariant in ((model, True), (other, False)):
        for run in (m.forward, m.inverse):
            (y, w), logdet = run((x, v))
            gap = difference(theory, run((gauge_transform(x, alpha), v)), ((gauge_transform(y, alpha), w), logdet))
            assert (gap < 1e-12) == equivariant  # rounding of four layers


@pytest.mark.parametrize(
    ("mask", "steps"), [("checkerboard", (1, 1)), ("checkerboard", (2, 0)), ("stripes", (2, 2)), ("combined", (1, 0))]
)
def test_convolutions_make_it_translation_equivariant(mask, steps):
    theory = THEORIES["u1"]
    z = start(theory, 3, 19)
    moved = tuple(np.roll(part, steps, axis=(2, 3)) for part in z)
    for net, equivariant in ((CONV, True), (DENSE, False)):
        model = build(theory, 20, n_layers=2, v_net=net, x_net=net, mask=mask)
        for run in (model.forward, model.inverse):
            (y, w), logdet = run(z)
            expected = ((np.roll(y, steps, axis=(2, 3)), np.roll(w, steps, axis=(2, 3))), logdet)
            assert (difference(theory, run(moved), expected) < 1e-12) == equivariant  # rounding


@settings(max_examples=30, deadline=None)
@given(case=maps().filter(lambda case: case[0].action.angular), seed=st.integers(0, 2**32))
def test_angles_are_periodic(case, seed):
    theory, model = case
    x, v = start(theory, 3, seed)
    turns = np.random.default_rng(seed).integers(-3, 4, x.shape)
    for run in (model.forward, model.inverse):
        # angles up to 22 are rounded to 4e-15
        assert difference(theory, run((x + 2 * np.pi * turns, v)), run((x, v))) < 1e-11


def test_time_tells_layers_apart():
    theory = THEORIES["u1"]
    model = build(theory, 21, n_layers=4, v_net=DENSE, x_net=DENSE, shared=True, time=True)
    assert model.params["v/in/cos"].shape[0] == 1
    for k, expected in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
        assert np.allclose(model.architecture.time_encoding(k), expected, atol=1e-15)
    assert build(theory, n_layers=2).architecture.time_encoding(1) is None
    z = start(theory, 2, 22)
    deaf = model.params | {f"{which}/in/time": 0 * model.params[f"{which}/in/time"] for which in "vx"}
    assert difference(theory, model.forward(z), model.replace(params=deaf).forward(z)) > 1e-4


@pytest.mark.parametrize(("merged", "winding", "expected"), [(False, 0, 3), (True, 0, 6), (False, 1, 4), (True, 1, 7)])
@pytest.mark.parametrize("x_net", [None, DENSE])
def test_forces_are_counted(merged, winding, expected, x_net, monkeypatch):
    theory = THEORIES["u1"]
    model = build(theory, n_layers=3, v_net=SCALARS, x_net=x_net, merged=merged, winding=winding)
    assert model.n_forces == expected
    if x_net is not None:
        calls = []
        x, v = start(theory, 1, 0)
        force = theory.action.force(x)
        own = actions.WilsonU1.action_and_force
        monkeypatch.setattr(actions.WilsonU1, "action_and_force", lambda self, x: calls.append(1) or own(self, x))
        model.run(x, v, force, 1)
        assert len(calls) == expected


# --- statistics and low rank -----------------------------------------------------------------------------------------
NORMED = Net("conv", filters=(3,), activation="tanh", batch_norm=True)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_statistics_move_towards_those_of_the_chains(merged, shared, monkeypatch):
    theory = THEORIES["u1"]
    model = build(theory, 23, n_layers=2, v_net=NORMED, x_net=DENSE, merged=merged, shared=shared)
    x, v = start(theory, 4, 24)
    seen = []
    own = fast.nets.apply

    def spy(net, params, inputs, time):
        if net.batch_norm:
            fields = [inputs[name] for name in sorted(inputs)]
            seen.append((params["in/bias"].tobytes(), np.concatenate(fields, axis=1), params))
        return own(net, params, inputs, time)

    monkeypatch.setattr(fast.nets, "apply", spy)
    model.forward((x, v))
    if not merged:
        model.inverse((x, v))
    monkeypatch.undo()
    assert len(seen) == 8
    for row in range(1 if shared else 2):
        h = []
        for key, field, params in seen:
            if key == model.params["v/in/bias"][row].tobytes():
                kernel = np.concatenate([params["in/cos"], params["in/force"], params["in/sin"]], axis=1)
                z = params["in/bias"][:, None, None] + 0.0 * field[:, :1]
                for a, b in itertools.product(range(3), range(3)):
                    shifted = np.roll(field, (1 - a, 1 - b), axis=(2, 3))
                    z = z + np.einsum("oi,cihw->cohw", kernel[:, :, a, b], shifted)
                h.append(np.tanh(z))
        h = np.concatenate(h)
        for momentum in (0.0, 0.1, 1.0):
            params = model.with_statistics(x, v, momentum)
            for name, batch in (("mean", h.mean(axis=(0, 2, 3))), ("variance", h.var(axis=(0, 2, 3)))):
                old = model.params[f"v/norm/{name}"][row]
                assert np.allclose(params[f"v/norm/{name}"][row], old + momentum * (batch - old), atol=1e-13)
    changed = model.with_statistics(x, v, 0.5)
    assert {key for key in changed if changed[key] is not model.params[key]} == {"v/norm/mean", "v/norm/variance"}


def test_statistics_leave_out_chains_that_diverge():
    theory = THEORIES["u1"]
    model = build(theory, 23, n_layers=2, v_net=NORMED)
    x, v = start(theory, 4, 24)
    hot = v.copy()
    hot[1] = np.inf
    expected = model.with_statistics(x[[0, 2, 3]], v[[0, 2, 3]], 0.5)
    got = model.with_statistics(x, hot, 0.5)
    assert all(np.array_equal(got[key], expected[key]) for key in expected)
    none = model.with_statistics(x, np.full_like(v, np.inf), 0.5)
    assert all(np.array_equal(none[key], model.params[key]) for key in none)
    with pytest.raises(ValueError, match=r"momentum: got 1\.5"):
        model.with_statistics(x, v, 1.5)


@pytest.mark.parametrize("shared", [False, True])
def test_compression_of_full_rank_is_the_map_and_of_low_rank_is_reversible(shared):
    theory = THEORIES["u1"]
    net = Net("dense", units=(6, 5))
    model = build(theory, 25, n_layers=3, v_net=net, x_net=CONV, mask="checkerboard", shared=shared, time=shared)
    z = start(theory, 4, 26)
    whole, values = compressed(model, 6)
    assert difference(theory, whole.forward(z), model.forward(z)) < 1e-12  # rounding of the products
    assert whole.architecture.v_net == replace(net, rank=6)
    assert whole.architecture.x_net == CONV
    layers = 1 if shared else 3
    matrices = ("in/cos", "in/sin", "in/force", "hidden/0/weight", *(f"head/{letter}/weight" for letter in "stq"))
    assert set(values) == {f"v/{key}" for key in matrices}
    for key, s in values.items():
        assert s.shape == (layers, min(model.params[key].shape[1:]))
        assert np.allclose(np.sum(s**2, axis=1), np.sum(model.params[key] ** 2, axis=(1, 2)), rtol=1e-13)
        assert np.all(np.diff(s, axis=1) <= 0)
    small, _ = compressed(model, 1)
    assert difference(theory, small.forward(z), model.forward(z)) > 1e-4
    for there, back in ways(small):
        y, logdet = there(z)
        assert difference(theory, back(y), (z, -logdet)) < 1e-12


def test_compression_refuses_what_it_cannot_do():
    theory = THEORIES["gmm"]
    with pytest.raises(ValueError, match=r"model: got nets \['scalars', None\], expected a dense one"):
        compressed(build(theory, n_layers=1, v_net=SCALARS), 1)
    model = build(theory, n_layers=1, v_net=DENSE)
    with pytest.raises(ValueError, match="rank: got 0"):
        compressed(model, 0)
    with pytest.raises(ValueError, match=r"expected kind 'dense' of rank 0"):
        compressed(compressed(model, 1)[0], 1)


# --- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"field_shape": (3, 4, 4)},
            r"field_shape: got \(3, 4, 4\), expected \(2, T, X\) angles with extents of at least 2",
        ),
        ({"field_shape": (2, 1, 4)}, r"field_shape: got \(2, 1, 4\), expected \(2, T, X\) angles"),
        ({"angular": False}, r"field_shape: got \(2, 4, 4\), expected \(2, T, X\) angles"),
        (
            {"field_shape": (4, 4)},
            r"field_shape: got \(4, 4\), expected \(2, T, X\), \(N,\) or, of real numbers, \(D,\) or \(T, X\)",
        ),
        ({"field_shape": (0,)}, r"field_shape: got \(0,\)"),
        ({"field_shape": (4.0,)}, r"field_shape: got \(4\.0,\)"),
        ({"field_shape": [2, 4, 4]}, r"field_shape: got \[2, 4, 4\]"),
        ({"n_layers": 0}, "n_layers: got 0, expected an integer of at least 1"),
        ({"mask_seed": -1}, "mask_seed: got -1, expected an integer of at least 0"),
        ({"winding": 0.5}, r"winding: got 0\.5, expected an integer"),
        ({"mask": "half"}, "mask: got 'half', expected one of random, checkerboard, stripes, combined"),
        ({"encoding": "raw"}, "encoding: got 'raw', expected one of cartesian, masked_angle, angle, plaquette"),
        ({"field_shape": (4,), "angular": False, "encoding": "angle"}, "encoding: got 'angle' on a real field"),
        ({"field_shape": (4,), "encoding": "plaquette"}, r"field_shape: got \(4,\), expected \(2, T, X\) links"),
        ({"field_shape": (4,), "winding": 1}, r"field_shape: got \(4,\), expected \(2, T, X\) links"),
        ({"field_shape": (2, 4, 3), "mask": "checkerboard"}, r"mask: got 'checkerboard' on \(2, 4, 3\), expected even"),
        ({"field_shape": (2, 3, 4), "mask": "stripes"}, r"mask: got 'stripes' on \(2, 3, 4\), expected even extents"),
        ({"encoding": "plaquette"}, "x_net: got outputs 'stq', expected no 's': scaling a link is not gauge covariant"),
    ],
)
def test_architectures_that_do_not_exist_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Architecture(**{"field_shape": (2, 4, 4), "angular": True, "n_layers": 2, "x_net": DENSE, **changes})


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, "1"])
def test_weights_that_are_no_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: got {value!r}, expected a finite number"):
        NetWeights(**{name: value})


def test_weights_as_trained_are_trivial():
    assert AS_TRAINED.trivial
    assert not any(NetWeights(**{name: 0.5}).trivial for name in LETTERS)


def test_foreign_parameters_are_refused():
    model = build(THEORIES["gmm"], n_layers=2, v_net=DENSE)
    params = model.params
    cases = {
        "params: got no eps_v, v/in/bias, expected": {
            k: p for k, p in params.items() if k not in ("eps_v", "v/in/bias")
        },
        "params: got unknown keys a, x/b, expected": params | {"a": np.zeros(1), "x/b": np.zeros(1)},
        r"params: got eps_x of float64 \(3,\), expected float64 \(2,\)": params | {"eps_x": np.zeros(3)},
        r"params: got eps_x of float32 \(2,\), expected float64": params | {"eps_x": np.zeros(2, np.float32)},
        "params: got NaN or infinite numbers in v/in/bias": params | {"v/in/bias": np.full((2, 4), np.nan)},
    }
    for message, changed in cases.items():
        with pytest.raises(ValueError, match=message):
            model.replace(params=changed)
    with pytest.raises(ValueError, match="step_size: got 0"):
        model.architecture.init(np.random.default_rng(0), 0)


def test_other_fields_and_actions_are_refused():
    model = build(THEORIES["gmm"], n_layers=2, v_net=DENSE)
    with pytest.raises(ValueError, match="action: got one on angles, expected the other"):
        model.replace(action=actions.O2Chain(1.0))
    with pytest.raises(ValueError, match="action: got one on real fields"):
        GeneralizedLeapfrog(model.action, replace(model.architecture, angular=True), model.params)
    for x, v in ((np.zeros((3, 3)), np.zeros((3, 3))), (np.zeros((3, 2)), np.zeros((2, 2)))):
        for run in (model.forward, model.inverse):
            with pytest.raises(ValueError, match=r"z: got x \(3, .\) and v .*expected \(chain, 2\)"):
                run((x, v))


def test_filled_parameters_belong_to_the_architecture():
    # the helper of these tests moves every parameter but leaves variances positive
    model = build(THEORIES["u1"], n_layers=2, v_net=NORMED)
    params = filled(np.random.default_rng(0), model.params)
    assert all(np.all(params[key] != model.params[key]) for key in params)
    assert np.all(params["v/norm/variance"] > 0)


def test_parameters_belong_to_the_map():
    theory = THEORIES["gaussian"]
    model = build(theory, n_layers=2, v_net=Net("scalars"), size=0)
    with pytest.raises(TypeError, match="does not support item assignment"):
        model.params["eps_x"] = np.ones(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"winding": 16}, "winding: got 16, expected less than the 16 plaquettes"),
        ({"shared": "no"}, "shared: got 'no', expected True or False"),
        ({"v_net": "dense"}, "v_net: got 'dense', expected a Net or None"),
    ],
)
def test_nonsense_architectures_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Architecture((2, 4, 4), True, 2, **changes)
