"""Joint models: densities from dense matrices, covariance under symmetries, derivatives, streams of random numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from refimpl.actions import hasenbusch
from refimpl.actions.dirac import wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix, schur_complement
from refimpl.lattice import parity_mask
from refimpl.maps.base import Chain
from refimpl.maps.context import Context
from refimpl.maps.plaquette_coupling import gauge_chain
from refimpl.maps.pseudofermion_layer import GivenCotangent
from refimpl.maps.sun_coupling import spectral_chain
from refimpl.models import Conditional, Flow, Haar, JointModel, UniformAngles

from .pseudofermion_flows import (
    HIDDEN,
    built_layer,
    complex_normal,
    gauge_field,
    gauge_transformation,
    rotated,
    transformed_links,
    transformed_spinors,
)

KAPPA = 0.22
# (n, even_odd, mus); layers are spatial and of spin by turns.
CASES = [(1, True, (0.1, 0.5)), (1, False, ()), (2, True, (0.2,)), (3, False, (0.2,))]
# Numbers of size 1 to 100 through three layers, condition numbers below 100.
ROUNDING = 1e-11


def built(n=1, even_odd=True, mus=(0.1, 0.5), shape=(4, 4), seed=0, inflation=1.0, flow_layers=2, antiperiodic=True):
    """A model whose weights are of some size, so that it is far from the identity and from its targets."""
    rng = np.random.default_rng(seed)
    if n == 1:
        marginal = Flow(UniformAngles(shape), gauge_chain(rng, shape, flow_layers) if flow_layers else Chain(()))
    else:
        marginal = Flow(Haar(n, shape), spectral_chain(rng, n, shape, flow_layers) if flow_layers else Chain(()))
    context = Context.init(rng, HIDDEN)
    context = context.with_params({key: 0.3 * rng.standard_normal(a.shape) for key, a in context.params.items()})
    conditionals = []
    for monomial in hasenbusch(KAPPA, mus, even_odd=even_odd, n=n, antiperiodic=antiperiodic):
        kinds = [("spatial", even_odd, False), ("spin", even_odd, False), ("spatial", even_odd, True)]
        layers = tuple(built_layer(rng, shape, i, kind, n, size=0.08) for i, kind in enumerate(kinds))
        conditionals.append(Conditional(monomial, layers))
    return JointModel(marginal, context, tuple(conditionals), inflation)


def drawn(model, seed=1, chains=2):
    """Uniform links, and noise for all monomials."""
    rng = np.random.default_rng(seed)
    n = model.monomials[0].n
    x = gauge_field(rng, n, model.conditionals[0].shape, chains)
    return x, model.noise(rng, chains)


def flat(model, phi):
    """Fields of all monomials as rows ``(chain, monomial, n)``."""
    return np.stack([c.rows_of(phi[:, m])[:, :, 0] for m, c in enumerate(model.conditionals)], axis=1)


def forms(monomial, x, phi):
    """``phi^dag [1 + (mu' - mu)(M + mu)^-1] phi`` or ``phi^dag (M + mu)^-1 phi`` of rows, from dense matrices."""
    dirac = wilson_dirac(x, monomial.kappa, antiperiodic=monomial.antiperiodic)
    d = schur_complement(dirac) if monomial.even_odd else dense_matrix(dirac)
    m = d @ d.conj().swapaxes(1, 2) + monomial.mu * np.eye(d.shape[-1])
    form = np.einsum("ci,ci->c", phi.conj(), np.linalg.solve(m, phi[..., None])[..., 0]).real
    if monomial.mu_next is None:
        return form
    return np.sum(np.abs(phi) ** 2, axis=1) + (monomial.mu_next - monomial.mu) * form


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("inflation", [1.0, 1.07])
def test_the_density_is_that_of_the_dense_gaussian(case, inflation):
    model = built(*case, inflation=inflation)
    x, chi = drawn(model)
    phi, logdet = model.forward(x, chi)
    log_q, log_q_phi = model.log_prob(x, phi)
    assert logdet.shape == log_q_phi.shape == (2, len(case[2]) + 1)
    for m, (dense, log) in enumerate(model.dense(x)):
        n = dense.shape[-1]
        assert n == 2 * case[0] * 16 // (1 + case[1])
        rows, own = flat(model, phi)[:, m], flat(model, chi)[:, m]
        assert np.max(np.abs(rows - np.einsum("cij,cj->ci", dense, own))) < ROUNDING
        real = np.block([[dense.real, -dense.imag], [dense.imag, dense.real]])
        sign, expected = np.linalg.slogdet(real)
        assert np.all(sign == 1)
        assert np.max(np.abs(log - expected)) < 1e-10
        assert np.array_equal(logdet[:, m], log)
        # phi^dag (Dt Dt^dag)^-1 phi
        form = np.sum(np.abs(np.linalg.solve(dense, rows[..., None])[..., 0]) ** 2, axis=1)
        expected = -n * math.log(math.pi) - form - expected
        assert np.max(np.abs(log_q_phi[:, m] - expected)) < 1e-9
    assert np.array_equal(log_q, model.marginal.log_prob(x))


@pytest.mark.parametrize("case", CASES)
def test_actions_of_monomials_are_forms_of_the_images(case):
    model = built(*case)
    x, chi = drawn(model)
    phi, _ = model.forward(x, chi)
    for m, monomial in enumerate(model.monomials):
        expected = forms(monomial, x, flat(model, phi)[:, m])
        assert np.max(np.abs(monomial.action(x, phi[:, m]) / expected - 1)) < 1e-10


@pytest.mark.parametrize("case", CASES)
def test_inverses_return_to_the_noise(case):
    model = built(*case, inflation=1.1)
    x, chi = drawn(model)
    phi, logdet = model.forward(x, chi)
    back, minus = model.inverse(x, phi)
    assert np.max(np.abs(back - chi)) < ROUNDING
    assert np.max(np.abs(logdet + minus)) < ROUNDING
    assert np.max(np.abs(model.forward(x, model.inverse(x, chi)[0])[0] - chi)) < ROUNDING


@pytest.mark.parametrize("case", CASES)
def test_draws_come_with_their_density(case):
    model = built(*case, inflation=1.05)
    draw = model.sample(np.random.default_rng(3), 3)
    assert draw.x.shape == (3, *model.field_shape)
    assert draw.phi.shape == (3, len(case[2]) + 1, 4, 4, 2, *((case[0],) if case[0] > 1 else ()))
    log_q, log_q_phi = model.log_prob(draw.x, draw.phi)
    # the marginal inverts splines and spectra
    assert np.max(np.abs(draw.log_q - log_q)) < 1e-7
    assert np.max(np.abs(draw.log_q_phi - log_q_phi)) < 1e-9
    assert np.max(np.abs(model.forward(draw.x, model.inverse(draw.x, draw.phi)[0])[0] - draw.phi)) < ROUNDING


@pytest.mark.parametrize("case", CASES)
def test_noise_is_normal_and_zero_on_odd_sites(case):
    model = built(*case, flow_layers=0)
    x, chi = drawn(model, chains=200)
    living = flat(model, chi)
    # parts of variance 1/2; a mean square of 2 n numbers is off by 1/sqrt(2 n)
    for part in (living.real, living.imag):
        assert abs(np.mean(part**2) / 0.5 - 1) < 5 / math.sqrt(part.size / 2)
        assert abs(np.mean(part)) < 5 * math.sqrt(0.5 / part.size)
    if case[2]:  # different noise for different monomials
        assert abs(np.mean(living[:, 0] * living[:, -1].conj())) < 5 / math.sqrt(living[:, 0].size)
    if case[1]:
        phi, _ = model.forward(x[:2], chi[:2])
        odd = ~parity_mask((4, 4))
        assert not chi[:, :, odd].any()
        assert not phi[:, :, odd].any()
        assert np.all(phi[:, :, ~odd] != 0)


@pytest.mark.parametrize("case", CASES)
def test_conditionals_are_gauge_equivariant(case):
    model = built(*case)
    x, chi = drawn(model)
    g = gauge_transformation(np.random.default_rng(4), x)

    def turned(fields):
        each = [transformed_spinors(f.reshape(*f.shape[:4], -1), g) for f in np.moveaxis(fields, 1, 0)]
        return np.stack(each, axis=1).reshape(fields.shape)

    phi, logdet = model.forward(x, chi)
    other, same = model.forward(transformed_links(x, g), turned(chi))
    assert np.max(np.abs(other - turned(phi))) < ROUNDING
    assert np.max(np.abs(same - logdet)) < ROUNDING


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("even_odd", [True, False])
def test_translations_by_four_sites_move_fields_along_and_take_a_sign_in_time(n, even_odd):
    for shape, axis in (((8, 4), 0), ((4, 8), 1)):
        model = built(n, even_odd, (), shape, flow_layers=0)
        x, chi = drawn(model)
        phi, logdet = model.forward(x, chi)
        there = np.roll(x, 4, 2 + axis)
        # The slice that is antiperiodic stays; the gauge transformation by -1 before it brings the other one there.
        flip = np.ones((*shape, 2, *((n,) if n > 1 else ())))
        if axis == 0:
            flip[:4] = -1
        moved, same = model.forward(there, flip * np.roll(chi, 4, 2 + axis))
        assert np.max(np.abs(moved - flip * np.roll(phi, 4, 2 + axis))) < ROUNDING
        assert np.max(np.abs(same - logdet)) < ROUNDING
        if axis == 0:
            plain = model.forward(there, np.roll(chi, 4, 2))[0]
            assert np.max(np.abs(plain - np.roll(phi, 4, 2))) > 1e-2


def test_a_periodic_model_is_periodic():
    model = built(1, True, (), (8, 4), flow_layers=0, antiperiodic=False)
    x, chi = drawn(model)
    moved = model.forward(np.roll(x, 4, 2), np.roll(chi, 4, 2))[0]
    assert np.max(np.abs(moved - np.roll(model.forward(x, chi)[0], 4, 2))) < ROUNDING


@pytest.mark.parametrize("case", CASES)
def test_pullbacks_are_slopes_in_links_context_and_layers(case):
    model = built(*case, flow_layers=0)
    x, _ = drawn(model)
    rng = np.random.default_rng(5)
    weights = [(complex_normal(rng, dense.shape), rng.standard_normal(log.shape)) for dense, log in model.dense(x)]

    def value(model, x):
        pairs = zip(weights, model.dense(x), strict=True)
        return sum(np.sum((g.conj() * dense).real) + np.sum(h * log) for (g, h), (dense, log) in pairs)

    given, pull_given = model.given_with_pullback(x)
    grads, of_given = {}, []
    for m, (conditional, (g, h)) in enumerate(zip(model.conditionals, weights, strict=True)):
        dense, log, pull = conditional.dense_with_pullback(given)
        assert np.array_equal(dense, conditional.dense(given)[0])
        assert np.array_equal(log, conditional.dense(given)[1])
        _, own, own_grads = pull(g, h)
        of_given.append(own)
        assert list(own_grads) == list(conditional.params)
        grads |= {f"conditional/{m}/{key}": value for key, value in own_grads.items()}
    g_x, context_grads = pull_given(GivenCotangent(*(sum(parts) for parts in zip(*of_given, strict=True))))
    grads |= {f"context/{key}": value for key, value in context_grads.items()}
    assert set(grads) == set(model.params)
    w = rng.standard_normal(g_x.shape)
    turn = {key: rng.standard_normal(a.shape) for key, a in model.params.items()}
    step = 1e-5
    for of_links, of_params in ((1, 0), (0, 1)):
        ends = []
        for sign in (step, -step):
            params = {key: a + sign * of_params * turn[key] for key, a in model.params.items()}
            ends.append(value(model.with_params(params), rotated(x, sign * of_links * w)))
        slope = (ends[0] - ends[1]) / (2 * step)
        expected = of_links * np.sum(g_x * w) + of_params * sum(np.sum(grads[key] * turn[key]) for key in grads)
        # step^2 times third derivatives, and rounding over step
        assert abs(slope - expected) < 1e-5 * max(abs(expected), 1)


def test_inflation_is_a_factor_on_all_fields():
    model = built()
    x, chi = drawn(model)
    wide = model.inflated(1.2)
    (phi, logdet), (wider, more) = model.forward(x, chi), wide.forward(x, chi)
    assert np.max(np.abs(wider - 1.2 * phi)) < ROUNDING
    assert np.max(np.abs(more - logdet - 2 * 16 * math.log(1.2))) < ROUNDING
    assert wide.inflation == model.inflated(np.array([1.2])).inflation == model.inflated([1.2] * 3).inflation == 1.2
    assert wide.inflated(1.0).params.keys() == model.params.keys()
    for (a, log), (b, log_b) in zip(model.dense(x), wide.dense(x), strict=True):
        assert np.max(np.abs(b - 1.2 * a)) < ROUNDING
        assert np.max(np.abs(log_b - log - 32 * math.log(1.2))) < ROUNDING


@pytest.mark.parametrize("case", CASES)
def test_a_chain_has_the_same_bits_in_any_batch(case):
    model = built(*case)
    streams = [np.random.default_rng(i) for i in range(5)]
    whole = model.sample(streams, 5)
    some = model.sample([np.random.default_rng(i) for i in (2, 3)], 2)
    for name in whole._fields:
        assert np.array_equal(getattr(some, name), getattr(whole, name)[2:4]), name
    log_q, log_q_phi = model.log_prob(whole.x, whole.phi)
    own_q, own_phi = model.log_prob(whole.x[4:], whole.phi[4:])
    assert np.array_equal(own_q, log_q[4:])
    assert np.array_equal(own_phi, log_q_phi[4:])
    for (dense, log), (own, own_log) in zip(model.dense(whole.x), model.dense(whole.x[1:3]), strict=True):
        assert np.array_equal(own, dense[1:3])
        assert np.array_equal(own_log, log[1:3])


def test_spinors_and_columns_are_the_same_fields():
    for case in CASES:
        model = built(*case, flow_layers=0)
        _, chi = drawn(model)
        conditional = model.conditionals[0]
        rows = conditional.rows_of(chi[:, 0])
        assert rows.shape == (2, conditional.rows, 1)
        assert np.array_equal(conditional.spinors_of(rows), chi[:, 0])
        there = parity_mask((4, 4)) if case[1] else np.ones((4, 4), bool)
        assert np.array_equal(rows[..., 0], chi[:, 0][:, there].reshape(2, -1))


def test_the_parameters_of_a_model_are_those_of_its_parts():
    model = built()
    params = model.params
    assert {key.split("/")[0] for key in params} == {"marginal", "context", "conditional"}
    assert params["conditional/2/1/weight"] is model.conditionals[2].layers[1].params["weight"]
    assert params["context/bias/0"] is model.context.params["bias/0"]
    assert params["marginal/1/bias/0"] is model.marginal.map.params["1/bias/0"]
    x, chi = drawn(model)
    other = model.with_params({key: value.copy() for key, value in params.items()})
    assert np.array_equal(other.forward(x, chi)[0], model.forward(x, chi)[0])
    for key in ("marginal/1/bias/0", "context/weight/0", "conditional/1/0/bias"):
        changed = model.with_params({**params, key: params[key] + 0.1})
        assert changed.params[key] is not params[key]
        assert (changed.marginal.log_prob(x) != model.marginal.log_prob(x)).any() == (key.startswith("marginal"))
        moved = (changed.forward(x, chi)[0] != model.forward(x, chi)[0]).any(axis=(0, 2, 3, 4))
        which = {"marginal": [False] * 3, "context": [True] * 3, "conditional": [False, True, False]}
        assert moved.tolist() == which[key.split("/")[0]]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {k: v for k, v in p.items() if k != "marginal/0/bias/0"},
        lambda p: {k: v for k, v in p.items() if not k.startswith("marginal")},
        lambda p: {k: v for k, v in p.items() if not k.startswith("context")},
        lambda p: {k: v for k, v in p.items() if k != "conditional/2/1/bias"},
        lambda p: {**p, "conditional/3/0/bias": np.zeros(2)},
        lambda p: {**p, "other/bias": np.zeros(2)},
        lambda p: {**p, "conditional/0/0/bias": np.zeros(2)},
    ],
)
def test_other_parameters_are_refused(change):
    model = built()
    with pytest.raises(ValueError, match="params"):
        model.with_params(change(model.params))


def test_parts_that_do_not_belong_together_are_refused():
    model = built()
    small, coloured, plain = built(shape=(4, 8)), built(2, True, (0.1, 0.5)), built(1, False, (0.1, 0.5))
    rng = np.random.default_rng(0)
    cases = [
        (TypeError, "marginal: got", {"marginal": 3}),
        (TypeError, "context: got", {"context": 3}),
        (TypeError, r"conditionals\[0\]: got", {"conditionals": (3,)}),
        (ValueError, "pseudofermions: got none", {"conditionals": ()}),
        (ValueError, "whose product is det M", {"conditionals": model.conditionals[:2]}),
        (ValueError, "inflation: got 0", {"inflation": 0.0}),
        (ValueError, "expected those of the marginal", {"marginal": small.marginal}),
        (ValueError, "expected those of the marginal", {"marginal": coloured.marginal}),
        (ValueError, "hidden", {"context": Context.init(rng, HIDDEN + 1)}),
        (ValueError, "expected one operator", {"conditionals": (*model.conditionals[:2], plain.conditionals[2])}),
    ]
    for error, message, change in cases:
        with pytest.raises(error, match=message):
            replace(model, **change)
    layers = model.conditionals[0].layers
    monomial = model.monomials[0]
    for bad, message in (
        ((), "layers: got none"),
        ((layers[0], small.conditionals[0].layers[0]), r"layers\[1\]: got"),
        ((plain.conditionals[0].layers[0],), r"layers\[0\]: got"),
        ((coloured.conditionals[0].layers[0],), r"layers\[0\]: got"),
    ):
        with pytest.raises(ValueError, match=message):
            Conditional(monomial, bad)
    with pytest.raises(TypeError, match="monomial: got"):
        Conditional(3, layers)


def test_every_monomial_has_an_inflation_of_its_own():
    cs = (0.9, 1.1, 1.2)
    model, wide = built(), built(inflation=cs)
    x, chi = drawn(model)
    (phi, logdet), (wider, more) = model.forward(x, chi), wide.forward(x, chi)
    back, minus = wide.inverse(x, wider)
    for m, c in enumerate(cs):
        assert np.max(np.abs(wider[:, m] - c * phi[:, m])) < ROUNDING
        assert np.max(np.abs(more[:, m] - logdet[:, m] - 32 * math.log(c))) < ROUNDING
    assert np.max(np.abs(back - chi)) < ROUNDING
    assert np.max(np.abs(minus + more)) < ROUNDING


def test_other_fields_are_refused():
    model = built()
    x, chi = drawn(model)
    odd, lost = chi.copy(), chi.copy()
    odd[0, 1, 0, 1, 0] = 1e-3
    lost[1, 0, 0, 0, 0] = np.nan
    for fields, error, message in (
        (chi[:, :2], ValueError, r"got complex128 of shape \(2, 2, 4, 4, 2\)"),
        (chi.real, (TypeError, ValueError), "float64"),
        (chi[:1], ValueError, "shape"),
        (odd, ValueError, "odd sites"),
        (lost, ValueError, "expected finite numbers"),
    ):
        for method in (model.forward, model.inverse, model.log_prob):
            with pytest.raises(error, match=message):
                method(x, fields)
    with pytest.raises(ValueError, match="x: got"):
        model.forward(np.zeros((2, 2, 4, 8)), chi)
    with pytest.raises(TypeError, match="x: got dtype"):
        model.dense(x.astype(np.float32))
    with pytest.raises(ValueError, match=r"rngs: got 1 generators, expected one per chain \(2\)"):
        model.noise([np.random.default_rng(1)], 2)


@pytest.mark.parametrize(("n", "even_odd", "mus"), CASES)
def test_fields_of_the_same_links_go_through_together(n, even_odd, mus):
    model = built(n, even_odd, mus)
    x, _ = drawn(model)
    chi = model.noise(np.random.default_rng(2), 3 * len(x))
    many = np.repeat(x, 3, axis=0)
    for map_ in (model.forward, model.inverse):
        for got, expected in zip(map_(x, chi, repeats=3), map_(many, chi), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())
    np.testing.assert_allclose(
        model.conditional_log_prob(x, chi, repeats=3), model.log_prob(many, chi)[1], rtol=ROUNDING
    )


@pytest.mark.parametrize(
    ("repeats", "message"), [(0, "repeats: got 0"), (1.5, r"repeats: got 1\.5"), (2, "fields: got")]
)
def test_repeats_that_do_not_fit_are_named(repeats, message):
    model = built()
    x, chi = drawn(model)
    with pytest.raises(ValueError, match=message):
        model.forward(x, chi, repeats=repeats)
