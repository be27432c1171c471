"""Strategies of SU(N) links, noise, masks and parameters of nets: what they draw, and to what they shrink."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from refimpl import nets
from refimpl.validation import measure_matrices
from refimpl.validation.strategies import (
    gauge_transforms,
    hot_net_parameters,
    masks,
    momenta,
    net_parameters,
    noises,
    o2_fields,
    pseudofermions,
    spinors,
    sun_gauge_transforms,
    sun_hot_links,
    sun_links,
)

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIND = settings(
    max_examples=1000, deadline=None, database=None, report_multiple_bugs=False, phases=[Phase.generate, Phase.shrink]
)
COLOURS = pytest.mark.parametrize("n", [2, 3])
LINKS = np.zeros((2, 2, 3, 4))


def smallest(strategy, condition=lambda value: True):
    """What the strategy shrinks to under this condition, from a fixed seed."""
    return find(strategy, condition, settings=FIND, random=random.Random(0))


def moved(u):
    """How many matrices are not the identity, to the bit."""
    return np.count_nonzero(np.any(u != np.eye(u.shape[-1]), axis=(-2, -1)))


def mean_cosine(u):
    return np.trace(u, axis1=-2, axis2=-1).real / u.shape[-1]


# --- spins -----------------------------------------------------------------------------------------------------------
@QUICK
@given(o2_fields(), o2_fields(st.just(5), st.just(4)))
def test_spins_are_angles_of_a_chain(x, y):
    assert x.ndim == 2
    assert 1 <= len(x) <= 3
    assert 2 <= x.shape[1] <= 8
    assert np.all((x >= -np.pi) & (x < np.pi))
    assert y.shape == (4, 5)


def test_spins_shrink_to_two_that_are_zero_and_to_one_that_is_not():
    assert smallest(o2_fields()).tolist() == [[0.0, 0.0]]
    x = smallest(o2_fields(), lambda x: x.max() > 0.9)
    assert x.shape == (1, 2)
    assert np.count_nonzero(x) == 1


# --- SU(N) -----------------------------------------------------------------------------------------------------------
@COLOURS
@pytest.mark.parametrize("links", [sun_links, sun_hot_links])
def test_links_are_elements_of_the_group(n, links):
    @QUICK
    @given(links(n), links(n, st.just((2, 3)), st.just(2)))
    def check(x, y):
        assert x.dtype == np.complex128
        assert x.shape[1] == 2
        assert x.shape[4:] == (n, n)
        # Products of a few matrices of norm 1: some tens of roundings.
        assert measure_matrices.distance_from_group(x) < 1e-13
        assert y.shape == (2, 2, 2, 3, n, n)

    check()


@COLOURS
def test_links_shrink_to_the_identity_and_to_one_that_is_not(n):
    x = smallest(sun_links(n))
    assert x.shape == (1, 2, 2, 2, n, n)
    assert moved(x) == 0
    x = smallest(sun_links(n), lambda x: mean_cosine(x).min() < 0.7)
    assert x.shape == (1, 2, 2, 2, n, n)
    assert moved(x) == 1


@COLOURS
def test_elements_are_all_of_the_centre_and_neighbours_of_the_identity(n):
    site = sun_gauge_transforms(n, (1, 1), 1)
    for k in range(1, n):
        centre = np.exp(2j * np.pi * k / n) * np.eye(n)
        smallest(site, lambda g, c=centre: np.abs(g - c).max() < 1e-15)
    smallest(site, lambda g: 0 < np.abs(g - np.eye(n)).max() < 1e-7)


@COLOURS
def test_hot_links_shrink_to_the_first_seed(n):
    expected = measure_matrices.random_elements(np.random.default_rng(0), (1, 2, 2, 2), n)
    np.testing.assert_array_equal(smallest(sun_hot_links(n)), expected)


@COLOURS
def test_gauge_transformations_shrink_to_the_identity_and_to_one_site(n):
    g = smallest(sun_gauge_transforms(n, (3, 2), 2))
    assert g.shape == (2, 3, 2, n, n)
    assert moved(g) == 0
    assert moved(smallest(sun_gauge_transforms(n, (3, 2), 2), moved)) == 1


# --- momenta and noise -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "shape"),
    [
        (LINKS, (2, 2, 3, 4)),
        (np.zeros((1, 5)), (1, 5)),
        (np.zeros((3, 2, 2, 2, 2, 2), complex), (3, 2, 2, 2, 3)),
        (np.zeros((1, 2, 2, 3, 3, 3), complex), (1, 2, 2, 3, 8)),
    ],
)
def test_momenta_have_the_shape_of_forces_and_shrink_to_one_component(field, shape):
    v = smallest(momenta(field))
    assert v.shape == shape
    assert not v.any()
    v = smallest(momenta(field, largest=1.5), lambda v: np.abs(v).max() > 1)
    assert np.count_nonzero(v) == 1
    assert np.abs(v).max() <= 1.5


@QUICK
@given(noises(LINKS, directed=True), momenta(LINKS, largest=0.25))
def test_noise_is_what_a_transition_takes(noise, v):
    assert [part.shape for part in noise] == [LINKS.shape, (2,), (2,)]
    assert np.all((noise[1] >= 0) & (noise[1] < 1))
    assert set(noise[2]) <= {1.0, -1.0}
    assert np.abs(v).max() <= 0.25


def test_noise_shrinks_to_what_accepts_everything():
    v, u, d = smallest(noises(LINKS, directed=True))
    assert not v.any()
    assert u.tolist() == [0, 0]
    assert d.tolist() == [1, 1]
    v, u, d = smallest(noises(LINKS, directed=True), lambda noise: noise[1][1] > 0.9 and -1 in noise[2])
    assert not v.any()
    assert u[0] == 0
    assert sorted(d) == [-1, 1]
    assert len(smallest(noises(LINKS))) == 2


# --- spinors -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "colours"),
    [(LINKS, ()), (np.zeros((2, 2, 3, 4, 2, 2), complex), (2,)), (np.zeros((2, 2, 3, 4, 3, 3), complex), (3,))],
)
def test_spinors_shrink_to_one_component(field, colours):
    assert smallest(spinors(field)).shape == (2, 3, 4, 2, *colours)
    assert not smallest(spinors(field)).any()
    psi = smallest(spinors(field), lambda psi: np.abs(psi).max() > 0.9)
    assert psi[psi != 0].tolist() == [1]
    psi = smallest(spinors(field), lambda psi: np.abs(psi.imag).max() > 0.9)
    assert psi[psi != 0].tolist() in ([1j], [-1j])


def test_pseudofermions_live_on_even_sites_where_asked():
    odd = (np.indices((3, 4)).sum(axis=0) % 2).astype(bool)
    for even_odd in (False, True):
        phi = smallest(pseudofermions(LINKS, 2, even_odd), lambda phi: phi.any())
        assert phi.shape == (2, 2, 3, 4, 2)
        assert np.count_nonzero(phi) == 1
    assert np.count_nonzero(smallest(pseudofermions(LINKS), lambda phi: phi[:, :, odd].any())) == 1

    @QUICK
    @given(pseudofermions(LINKS, 2, even_odd=True, largest=3.0))
    def check(phi):
        assert not phi[:, :, odd].any()
        assert np.abs(phi).max() <= 3 * (1 + 1e-15)

    check()


# --- masks and nets ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (4, 6), (2, 4, 4), (6,), (1, 3), (7, 1)])
def test_masks_divide_a_field(shape):
    @QUICK
    @given(masks(shape))
    def check(mask):
        assert mask.dtype == np.bool_
        assert mask.shape == shape
        assert mask.any()
        assert not mask.all()

    check()


def is_checkerboard(mask):
    return np.array_equal(mask, np.indices((4, 6)).sum(axis=0) % 2 == (0 if mask[0, 0] else 1))


def are_stripes(mask):
    lines = (mask == mask[:, :1]).all() or (mask == mask[:1]).all()
    return lines and np.count_nonzero(mask) in (4, 6, 8, 12)


def test_masks_shrink_to_a_checkerboard_and_are_of_every_kind():
    mask = smallest(masks((4, 6)))
    assert mask[0, 0]
    assert is_checkerboard(mask)
    assert is_checkerboard(smallest(masks((4, 6)), lambda mask: not mask[0, 0]))
    assert are_stripes(smallest(masks((4, 6)), lambda mask: not is_checkerboard(mask)))
    for wanted in (4, 8):  # one line of 6 in a row, and of 3 in a column
        assert are_stripes(smallest(masks((4, 6)), lambda mask, n=wanted: np.count_nonzero(mask) == n))
    assert smallest(masks((4, 6)), lambda mask: np.count_nonzero(mask) == 1)[0, 0]
    mask = smallest(masks((4, 6)), lambda mask: not (is_checkerboard(mask) or are_stripes(mask)) and mask.sum() > 1)
    expected = np.zeros(24, bool)
    expected[np.random.default_rng(0).permutation(24)[:12]] = True
    np.testing.assert_array_equal(mask.ravel(), expected)


NET = nets.Net(kind="conv", filters=(1,), units=(), kernel_size=1, batch_norm=True)


def net_shapes():
    return nets.init(NET, np.random.default_rng(0), {"x": (2, 2, 2)}, (2, 2, 2), time=True)


def test_parameters_shrink_to_zero_and_to_one_bias():
    shapes = {key: value for key, value in net_shapes().items() if "bias" in key or "norm" in key}
    params = smallest(net_parameters(shapes))
    assert {key: value.shape for key, value in params.items()} == {key: value.shape for key, value in shapes.items()}
    assert all((value == (1 if key == "norm/variance" else 0)).all() for key, value in params.items())
    for wanted in ("in/bias", "head/q/bias"):
        params = smallest(net_parameters(shapes, 0.5), lambda params, key=wanted: params[key].any())
        assert {key for key, value in params.items() if value.any()} == {wanted, "norm/variance"}
        assert np.count_nonzero(params[wanted]) == 1
        assert params[wanted].max() <= 0.5


def test_parameters_have_the_structure_that_was_asked_for():
    @QUICK
    @given(net_parameters({"layer": {"weight": (2, 3), "bias": np.zeros(3)}, "scale": ()}))
    def check(params):
        assert params["layer"]["weight"].shape == (2, 3)
        assert params["layer"]["bias"].shape == (3,)
        assert params["scale"].shape == ()

    check()


def test_no_hot_parameter_is_zero_and_variances_are_positive():
    params = smallest(hot_net_parameters(net_shapes()))
    assert all(value.all() for value in params.values())
    variances = smallest(st.lists(hot_net_parameters({"norm/variance": (8,)}), min_size=3, max_size=3))
    assert all(np.all(drawn["norm/variance"] > 0) for drawn in variances)
    again = smallest(hot_net_parameters(net_shapes(), std=1.0))
    np.testing.assert_allclose(again["in/bias"], 2 * params["in/bias"], rtol=1e-15)  # the first seed, twice the spread


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: sun_links(4), "n: got 4, expected 2 or 3"),
        (lambda: sun_hot_links(True), "n: got True"),
        (lambda: sun_gauge_transforms(2, (3,), 1), r"shape: got \(3,\), expected two extents"),  # type: ignore[arg-type]  # a wrong type is refused
        (lambda: sun_gauge_transforms(2, (3, 0), 1), "shape: got 0, expected an integer of at least 1"),
        (lambda: gauge_transforms((2, 2), 0), "chains: got 0"),
        (lambda: momenta(np.zeros(3)), r"x: got shape \(3,\)"),
        (lambda: momenta(np.zeros((1, 2, 2, 2), complex)), r"x: got complex128 of shape"),
        (lambda: momenta(LINKS, largest=np.inf), "largest: got inf, expected a finite number > 0"),
        (lambda: noises(LINKS, directed=1), "directed: got 1"),  # type: ignore[arg-type]  # a wrong type is refused
        (lambda: spinors(np.zeros((2, 3, 4))), r"x: got float64 of shape \(2, 3, 4\), expected links"),
        (lambda: pseudofermions(LINKS, fields=0), "fields: got 0"),
        (lambda: masks((1, 1)), r"shape: got \(1, 1\), expected a lattice of two sites"),
        (lambda: masks((2.0, 2)), r"shape: got 2.0"),  # type: ignore[arg-type]  # a wrong type is refused
        (lambda: net_parameters({"weight": 3}), "weight: got 3, expected a mapping, an array or a shape"),
        (lambda: hot_net_parameters({"weight": (3, -1)}), "weight: got -1"),
        (lambda: hot_net_parameters({}, std=0), "std: got 0"),
    ],
)
def test_bad_arguments_are_named(make, match):
    with pytest.raises(ValueError, match=match):
        make()
