"""Control variates of 2D U(1): exact divergences, exact means, exact answers, and what they refuse."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions.wilson import u1_force_definition
from refimpl.estimators import variates
from refimpl.estimators.variates.u1 import (
    ConditionalMean,
    Grouping,
    GroupVariate,
    OpenBoundary,
    OpenWilsonLoop,
    PlaquetteGroups,
    PlaquetteNetVariate,
    link_field,
)
from refimpl.estimators.variates.u1.algebra import field_terms
from refimpl.estimators.variates.u1.conditional import GroupMean
from refimpl.estimators.variates.u1.factorised import FitRows
from refimpl.exact import u1, u1_open
from refimpl.lattice import (
    gauge_transform,
    plaquette_angles,
    plaquette_angles_definition,
    plaquette_gradient_definition,
)
from refimpl.nets import files, plaquettes
from refimpl.observables import Plaquette, WilsonLoop
from refimpl.training import PlaquetteNet
from refimpl.training.plaquette_net import MU, Data, loss_and_gradient
from refimpl.validation.strategies import lattice_shapes, u1_hot_fields

SHAPE = (3, 4)
LOOP = WilsonLoop(2, 2)
SIXTH = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}  # central differences of sixth order


def hot(seed, n=3, shape=SHAPE):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (n, 2, *shape))


def group_variate(observable, n_groups, shape=SHAPE, beta=1.3, products=2, partitions=1):
    """Any coefficients will do for what is exact."""
    terms = field_terms(2, products, 2, both_signs=True)
    masks = Grouping(n_groups, partitions=partitions).masks(shape, enclosed_area(observable))
    coefficients = np.random.default_rng(1).standard_normal(len(terms)) / len(terms)
    return GroupVariate(beta, observable, masks, terms, coefficients)


def enclosed_area(observable):
    return 1 if isinstance(observable, Plaquette) else observable.extent_t * observable.extent_x


def net_variate(shape=SHAPE, radius=1, beta=1.3, observable=LOOP):
    rng = np.random.default_rng(2)
    params = plaquettes.init(rng, radius, 2, 3)
    return PlaquetteNetVariate({**params, "out": rng.standard_normal(3)}, radius, 2, beta, shape, observable)


def torus_variates(shape=SHAPE):
    return [
        ConditionalMean(1.3).variate(shape, LOOP),
        group_variate(LOOP, 4, shape, partitions=2),
        group_variate(Plaquette(), 1, shape),
        net_variate(shape),
    ]


def link_divergence(field, force, x, step=5e-3):
    """``sum_l (d_l g_l - g_l d_l S)`` with every derivative by a difference; x of one chain."""
    n = x[0].size
    moves = [sign * k * step for k in SIXTH for sign in (1, -1)]
    weights = [sign * weight / step for weight in SIXTH.values() for sign in (1, -1)]
    moved = x + np.multiply.outer(moves, np.eye(n)).reshape(-1, *x.shape[1:])
    own = field(moved).reshape(len(moves), n, n)[:, np.arange(n), np.arange(n)]
    return weights @ own.sum(axis=1) - np.sum(field(x) * force(x))


# The differences are off by h^6 g^(7)/140 = 2e-16 g^(7) for h = 5e-3, with g^(7) up to 6^7 = 3e5 for harmonics up to 6 in sum:
# 5e-11, and by the rounding 1e-16/h of each of 24 links.
DIFFERENCES = 1e-9


@pytest.mark.parametrize(
    ("observable", "n_groups"), [(Plaquette(), 1), (LOOP, 4), (LOOP, 2), (WilsonLoop(1, 3), 1)], ids=str
)
def test_groups_are_divergences_of_link_fields(observable, n_groups):
    variate, x = group_variate(observable, n_groups), hot(3, 1)
    f = variate.symmetrised(x) - variate.improved(x)
    assert abs(f[0]) > 1e-3
    found = link_divergence(variate.field, lambda y: u1_force_definition(y, variate.beta), x)
    assert found == pytest.approx(f[0], abs=DIFFERENCES)
    if isinstance(observable, Plaquette):
        np.testing.assert_allclose(variate(x), f, rtol=0, atol=1e-14)  # nothing is exchanged, but sums are rounded


@pytest.mark.parametrize("radius", [0, 1])
def test_nets_are_divergences_of_link_fields(radius):
    variate, x = net_variate(radius=radius), hot(4, 1)
    found = link_divergence(variate.field, lambda y: u1_force_definition(y, variate.beta), x)
    # As above; the net's derivatives grow faster than those of its inputs, but still by less than an order each.
    assert found == pytest.approx(variate(x)[0], abs=10 * DIFFERENCES)


def open_force(x, beta):
    s = np.sin(plaquette_angles(x))
    s[:, -1] = s[:, :, -1] = 0
    return beta * plaquette_gradient_definition(s)


@given(
    lattice_shapes(min_extent=3, max_extent=5),
    st.floats(0.1, 10),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_open_loops_have_no_variance(shape, beta, extent_t, extent_x, seed):
    """On any configuration, likely or not: 1e-13 is a thousand roundings of terms of order max(1, beta gamma)."""
    loop, x = OpenWilsonLoop(extent_t, extent_x), hot(seed, 2, shape)
    variate = OpenBoundary(beta).variate(shape, loop)
    exact = u1_open.wilson_loop(beta, extent_t * extent_x)
    np.testing.assert_allclose(loop(x) - variate(x), exact, rtol=0, atol=1e-13 * max(1, beta))


def test_open_variates_are_divergences_of_link_fields():
    variate, x = OpenBoundary(0.8).fit(hot(5, 1), OpenWilsonLoop(1, 2)), hot(5, 1)
    found = link_divergence(variate.field, lambda y: open_force(y, 0.8), x)
    assert found == pytest.approx(variate(x)[0], abs=DIFFERENCES)
    loop = OpenWilsonLoop(1, 2)
    direct = [np.cos(x[0, 0, t, s] + x[0, 1, t + 1, s : s + 2].sum() - x[0, 0, t, s + 2] - x[0, 1, t, s : s + 2].sum())
              for t, s in itertools.product(range(2), range(2))]  # fmt: skip
    assert loop(x)[0] == pytest.approx(np.mean(direct), abs=1e-14)


def test_open_samples_have_the_exact_loops():
    x = u1_open.sample(np.random.default_rng(6), 4_000, 1.7, (4, 5))
    for loop in (OpenWilsonLoop(1, 1), OpenWilsonLoop(2, 3)):
        values = loop(x)
        error = values.std() / np.sqrt(len(x))
        assert abs(values.mean() - u1_open.wilson_loop(1.7, loop.extent_t * loop.extent_x)) < 5 * error


@given(u1_hot_fields(shapes=lattice_shapes(max_extent=5)), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_curl_lemma(x, seed):
    """Plaquettes of links sum to zero, and a field that sums to zero is the plaquettes of links."""
    field = plaquette_angles_definition(x)
    assert np.abs(field.sum(axis=(1, 2))).max() < 1e-12  # 25 plaquettes of four angles up to pi
    links = link_field(field)
    np.testing.assert_allclose(plaquette_angles_definition(links), field, rtol=0, atol=1e-12)
    assert np.all((links**2).sum(axis=(1, 2, 3)) <= (x**2).sum(axis=(1, 2, 3)) * (1 + 1e-12))  # the shortest
    np.testing.assert_allclose(
        link_field(np.roll(field, (1, -1), (1, 2))), np.roll(links, (1, -1), (2, 3)), rtol=0, atol=1e-12
    )
    with pytest.raises(ValueError, match="plaquette_field: got fields with sums"):
        link_field(field + 1 + np.random.default_rng(seed).random())


def all_of_two_by_two(n):
    """Links with all plaquettes of a 2 x 2 torus on a grid of n angles each, the fourth from the other three."""
    grid = 2 * np.pi * np.arange(n) / n
    p = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    x = np.zeros((len(p), 2, 2, 2))
    x[:, 0, 0, 1], x[:, 0, 1, 1], x[:, 1, 1, 1] = -p[:, 0], -p[:, 2], p[:, 0] + p[:, 1]
    np.testing.assert_allclose(plaquette_angles(x).reshape(-1, 4)[:, :3], p, atol=1e-14)
    return x


def test_means_are_exact_by_quadrature():
    """A trapezoidal sum over 2 x 2 plaquettes misses modes beyond n: I_(n - 6)(beta) is 1e-13 at beta = 1.3, n = 20."""
    x, beta, shape = all_of_two_by_two(20), 1.3, (2, 2)
    weights = np.exp(beta * np.cos(plaquette_angles(x)).sum(axis=(1, 2)))
    weights /= weights.sum()
    loop = WilsonLoop(1, 2)
    for observable, variate in [
        (Plaquette(), group_variate(Plaquette(), 1, shape)),
        (loop, group_variate(loop, 2, shape, partitions=2)),
        (loop, group_variate(loop, 1, shape)),
        (loop, ConditionalMean(beta).variate(shape, loop)),
        (loop, ConditionalMean(beta, Grouping(members=(((0, 1), (1, 1)), ((0, 0), (1, 0))))).variate(shape, loop)),
    ]:
        exact = u1.wilson_loop(beta, shape, enclosed_area(observable))
        f = variate(x)
        assert f.std() > 0.01
        assert weights @ f == pytest.approx(0, abs=1e-11)
        assert weights @ variate.improved(x) == pytest.approx(exact, abs=1e-11)


def test_the_mean_of_a_net_is_zero_by_quadrature():
    """Singularities of arcsinh and tanh off the real axis slow the sum down: 28 points leave 1e-9 of 2.2, 32 points 1e-10."""
    x, beta = all_of_two_by_two(28), 1.3
    weights = np.exp(beta * np.cos(plaquette_angles(x)).sum(axis=(1, 2)))
    f = net_variate((2, 2), 0, beta, WilsonLoop(1, 2))(x)
    assert f.std() > 1
    assert weights @ f / weights.sum() == pytest.approx(0, abs=1e-8)


def test_means_given_a_sum():
    """Against integrals over the other angles: two plaquettes, and two of three; one alone, and all of them."""
    s, grid, beta = np.array([0.0, 0.7, 3.0, -2.5]), 2 * np.pi * np.arange(64) / 64, 2.1
    for angle, value in zip(s, GroupMean(beta, 2, 1)(s), strict=True):
        w = np.exp(beta * (np.cos(grid) + np.cos(angle - grid)))
        assert value == pytest.approx(np.sum(w * np.exp(1j * grid)) / w.sum(), abs=1e-13)
    a, b = np.meshgrid(grid, grid)
    for angle, value in zip(s, GroupMean(beta, 3, 2)(s), strict=True):
        w = np.exp(beta * (np.cos(a) + np.cos(b) + np.cos(angle - a - b)))
        assert value == pytest.approx(np.sum(w * np.exp(1j * (a + b))) / w.sum(), abs=1e-13)
    np.testing.assert_allclose(GroupMean(beta, 2, 2)(s), np.exp(1j * s), rtol=0, atol=1e-13)
    np.testing.assert_array_equal(GroupMean(0.0, 3, 1)(s), 0)
    # Where the density of s is below the rounding of its peak nothing is known, and nothing may be large.
    assert np.all(np.abs(GroupMean(100.0, 2, 1)(np.linspace(-np.pi, np.pi, 999))) <= 1 + 1e-15)


@pytest.mark.parametrize("observable", [Plaquette(), LOOP, WilsonLoop(3, 3)], ids=str)
def test_one_group_of_everything_is_the_exact_answer(observable):
    variate = ConditionalMean(2.5, Grouping(1)).variate((3, 4), observable)
    x = hot(7)
    exact = u1.wilson_loop(2.5, (3, 4), enclosed_area(observable))
    np.testing.assert_allclose(variate.improved(x), exact, rtol=1e-13)
    np.testing.assert_allclose(observable(x) - variate(x), exact, rtol=1e-12)


@pytest.mark.parametrize("variate", torus_variates(), ids=lambda v: type(v).__name__)
def test_symmetries_and_batches(variate):
    x = hot(8, 5)
    f, rng = variate(x), np.random.default_rng(9)
    assert np.ptp(f) > 1e-3
    images = {
        "gauge": gauge_transform(x, rng.uniform(-3, 3, (5, *SHAPE))),
        "translation": np.roll(x, (1, 2), axis=(2, 3)),
        "charge conjugation": -x,
        "period": x + 2 * np.pi * rng.integers(-2, 3, x.shape),
    }
    for name, y in images.items():
        np.testing.assert_allclose(variate(y), f, rtol=0, atol=1e-12, err_msg=name)
    if not isinstance(variate, PlaquetteNetVariate):  # its matrix products are BLAS's
        assert variate(x[2:3])[0] == f[2]
    np.testing.assert_allclose(variate(np.asfortranarray(x)), f, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "variate",
    [*torus_variates(), OpenBoundary(1.3).variate(SHAPE, OpenWilsonLoop(1, 2))],
    ids=lambda v: type(v).__name__,
)
def test_files_and_refusals(variate, tmp_path):
    x = hot(10)
    variates.save(variate, tmp_path / "v.npz")
    again = variates.load(tmp_path / "v.npz")
    assert type(again) is type(variate)
    assert again.observable == variate.observable
    np.testing.assert_array_equal(again(x), variate(x))
    with pytest.raises(ValueError, match=r"x: got shape \(3, 2, 4, 3\), expected \(n, 2, 3, 4\)"):
        variate(np.swapaxes(x, 2, 3))
    x[1, 0, 2, 1] = np.nan
    with pytest.raises(ValueError, match="x: got numbers that are not finite in field 1"):
        variate(x)


def test_files_that_do_not_hold_together(tmp_path):
    variate = group_variate(LOOP, 4)
    masks = variate.masks.copy()
    masks[0, 0] = masks[0, 1]
    broken = GroupVariate(variate.beta, LOOP, masks, variate.terms, variate.coefficients)
    variates.save(broken, tmp_path / "v.npz")
    with pytest.raises(ValueError, match="in more than one group"):
        variates.load(tmp_path / "v.npz")
    variates.save(GroupVariate(1.0, LOOP, variate.masks, variate.terms[1:], variate.coefficients), tmp_path / "v.npz")
    with pytest.raises(ValueError, match="coefficients: got shape"):
        variates.load(tmp_path / "v.npz")


@pytest.mark.parametrize("variate", torus_variates(), ids=lambda v: type(v).__name__)
def test_edited_files_are_refused_by_name(variate, tmp_path):
    path = tmp_path / "v.npz"
    variates.save(variate, path)
    arrays, meta = files.load(path)
    edits = [({}, {"beta": True}), ({}, {"observable": "wilson_loop_0x1"}), ({}, {"variate": ["a"]})]
    if "masks" in arrays:
        edits.append(({"masks": arrays["masks"][0]}, {}))
    for other, changes in edits:
        files.save(path, arrays | other, meta | changes)
        with pytest.raises(ValueError, match=r"v\.npz: got a .*(beta|extent_t|'a'|groups)"):
            variates.load(path)


def test_bad_groups_are_named():
    def variate(observable=LOOP, shape=SHAPE, **options):
        return ConditionalMean(1.0, Grouping(**options)).variate(shape, observable)

    with pytest.raises(ValueError, match=r"plaquette \(0, 1\) in more than one group"):
        variate(members=(((0, 0), (0, 1)), ((0, 1), (1, 1))))
    with pytest.raises(ValueError, match="members: got a plaquette twice"):
        variate(members=(((0, 0), (0, 0)), ((0, 1), (1, 1))))
    with pytest.raises(ValueError, match=r"members: got plaquette \(3, 0\)"):
        variate(members=(((3, 0), (0, 0)),))
    with pytest.raises(ValueError, match=r"groups: got sizes \[2, 3\]"):
        variate(members=(((0, 0), (0, 1)), ((1, 0), (1, 1), (1, 2))))
    with pytest.raises(ValueError, match="size: got 4 groups of 4 plaquettes"):
        variate(n_groups=4, size=4)
    with pytest.raises(ValueError, match="size: got 8 groups of 1 plaquettes"):
        variate(n_groups=8)
    with pytest.raises(ValueError, match="groups: got 3 of 4 for an area of 4"):
        variate(n_groups=3)
    with pytest.raises(ValueError, match="encloses the whole lattice"):
        variate(WilsonLoop(3, 4))
    with pytest.raises(ValueError, match="expected a loop that fits"):
        variate(WilsonLoop(1, 5))
    with pytest.raises(ValueError, match=r"observable: got .*, expected a Plaquette"):
        variate(np.mean)
    for options in ({"n_groups": 0}, {"size": 1}, {"partitions": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Grouping(**options)
    with pytest.raises(ValueError, match="beta: got -1"):
        ConditionalMean(-1)
    with pytest.raises(ValueError, match="beta: got 0"):
        OpenBoundary(0)
    with pytest.raises(ValueError, match="expected a loop inside"):
        OpenBoundary(1.0).variate((3, 3), OpenWilsonLoop(3, 1))


@pytest.mark.parametrize(
    "method", [ConditionalMean(1.0), PlaquetteGroups(1.0), PlaquetteNet(1.0, steps=1)], ids=lambda m: type(m).__name__
)
def test_bad_configurations_are_named(method):
    with pytest.raises(ValueError, match="configurations: got numbers that are not finite in field 0"):
        method.fit(np.full((3, 2, 4, 4), np.nan), LOOP)
    with pytest.raises(ValueError, match=r"configurations: got shape \(3, 4, 4\)"):
        method.fit(np.zeros((3, 4, 4)), LOOP)
    if isinstance(method, PlaquetteGroups):
        with pytest.raises(ValueError, match="configurations: got 40 for 40 features"):
            method.fit(hot(11, 40, (4, 4)), LOOP)


# --- numbers ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def samples():
    return {beta: u1.sample(np.random.default_rng(12), 2_000, beta, (8, 8)) for beta in (2.0, 4.0)}


@pytest.mark.parametrize(
    ("beta", "observable", "least"),
    [
        (2.0, Plaquette(), 40),
        (2.0, LOOP, 20),
        (2.0, WilsonLoop(4, 4), 40),
        (4.0, Plaquette(), 5.5),
        (4.0, LOOP, 3),
    ],
    ids=str,
)
def test_fitted_groups_reach_their_numbers(samples, beta, observable, least):
    """Ratios on configurations that the fit has not seen, 10^3 for the fit, and exact values at the precision of the variate."""
    x = samples[beta]
    variate = PlaquetteGroups(beta).fit(x[:1000], observable)
    found = variates.improve(
        x[1000 : 1000 + (250 if str(observable) == "wilson_loop_4x4" else 1000)], observable, variate
    )
    assert found.ratio > least, str(found)
    assert abs(found.value - u1.wilson_loop(beta, (8, 8), enclosed_area(observable))) < 4 * found.error


def test_conditional_means_reach_their_number(samples):
    variate = ConditionalMean(2.0).variate((8, 8), LOOP)
    found = variates.improve(samples[2.0][:1000], LOOP, variate)
    assert found.ratio > 1000, str(found)
    assert abs(found.value - u1.wilson_loop(2.0, (8, 8), 4)) < 4 * found.error


def test_conditional_means_on_a_rectangle():
    """A loop of half the lattice, where few groups pay, and one that leaves out less than it encloses."""
    shape, beta = (4, 6), 3.0
    x = u1.sample(np.random.default_rng(13), 2_000, beta, shape)
    for loop, n_groups in ((WilsonLoop(4, 3), 2), (WilsonLoop(3, 6), 3)):
        variate = ConditionalMean(beta, Grouping(n_groups)).variate(shape, loop)
        found = variates.improve(x, loop, variate)
        assert found.ratio > 3
        assert abs(found.value - u1.wilson_loop(beta, shape, enclosed_area(loop))) < 4 * found.error


def test_slopes_of_the_product_by_differences():
    variate, x = group_variate(LOOP, 4, products=1), hot(16)
    rows, c, step = FitRows(variate, x, 0), variate.coefficients, 1e-4
    slopes = rows.linearised(c)[1]
    for j in range(len(c)):
        change = step * np.eye(len(c))[j]
        difference = (rows.linearised(c + change)[0] - rows.linearised(c - change)[0]) / (2 * step)
        np.testing.assert_allclose(-slopes[:, j], difference, rtol=0, atol=1e-6)  # h^2 times third derivatives
    every = FitRows(group_variate(LOOP, 2, products=1), x, 0).linearised(c)[0]  # 16 places, more than there are
    np.testing.assert_allclose(every, group_variate(LOOP, 2, products=1).improved(x), rtol=0, atol=1e-13)


def test_gradient_of_the_net_by_autograd():
    import autograd
    import autograd.numpy as anp

    rng, n = np.random.default_rng(14), 4
    params = {**net_variate(radius=0).params, MU: np.array([0.3])}
    angles = plaquette_angles(hot(14, n))
    data = Data(plaquettes.inputs(angles, 0, 2), rng.standard_normal((n, 12)), rng.standard_normal(n))

    def loss(w):
        even, odd, even_tangent, odd_tangent = data.inputs
        p, dp = odd @ w["odd"], odd_tangent @ w["odd"]
        q, dq = even @ w["even"] + w["bias"], even_tangent @ w["even"]
        y, t = anp.arcsinh(p), anp.tanh(q)
        h = (y * t) @ w["out"]
        slope = (dp / anp.sqrt(1 + p**2) * t + y * (1 - t**2) * dq) @ w["out"]
        f = anp.sum(slope - data.force * h, axis=1)
        return anp.mean((data.targets - f - w[MU]) ** 2) + 0.1 * sum(anp.sum(w[k] ** 2) for k in w if k != MU)

    value, grads = loss_and_gradient(params, data, 0.1)
    assert value == pytest.approx(loss(params), rel=1e-13)
    for key, expected in autograd.grad(loss)(params).items():
        np.testing.assert_allclose(grads[key], expected, rtol=1e-11, atol=1e-13, err_msg=key)


def test_the_net_learns():
    beta, shape = 2.0, (4, 4)
    x = u1.sample(np.random.default_rng(15), 1_500, beta, shape)
    method = PlaquetteNet(beta, harmonics=2, neurons=8, steps=600, batch=8, rate=3e-2)
    variate = method.fit(x[:500], Plaquette())
    found = variates.improve(x[500:], Plaquette(), variate)
    assert found.ratio > 3, str(found)
    assert abs(found.value - u1.plaquette(beta, shape)) < 4 * found.error
    again = method.fit(x[:500], Plaquette())
    np.testing.assert_array_equal(again(x[:3]), variate(x[:3]))
