"""Layers of pseudofermions: definitions, dense Jacobians, inverses, equivariance, pullbacks, and the counts of the paper."""

import itertools
import math
from typing import NamedTuple

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.actions.dirac import signed_links
from refimpl.lattice import parity_mask
from refimpl.maps import pseudofermion_definition as definition
from refimpl.maps.pseudofermion_layer import Given, PseudofermionLayer

from .gauge_fields import generators
from .pseudofermion_flows import (
    COLOURS,
    HIDDEN,
    KINDS,
    built_layer,
    columns,
    complex_normal,
    gauge_field,
    gauge_transformation,
    known_of,
    site_convolution,
    spinors,
    transformed_links,
    transformed_spinors,
)

# Numbers of size 1 to 100 behind sums of 10 N products, a few layers deep.
ROUNDING = 1e-12

layers = st.tuples(st.sampled_from(KINDS), st.sampled_from(COLOURS), st.integers(0, 3), st.integers(1, 3))


class Case(NamedTuple):
    """A layer, links and channels, what it knows of them, and columns."""

    rng: np.random.Generator
    layer: PseudofermionLayer
    x: np.ndarray
    hidden: np.ndarray
    known: Given
    psi: np.ndarray


def built(seed, kind, n=1, index=0, n_pt=2, shape=(4, 4), chains=2, k=1, **options):
    """Columns are more than the frozen rows for ``k = None``."""
    rng = np.random.default_rng(seed)
    layer = built_layer(rng, shape, index, kind, n, n_pt, **options)
    x, hidden = gauge_field(rng, n, shape, chains), rng.standard_normal((chains, HIDDEN, *shape))
    k = layer.rows // 2 + 1 if k is None else k
    return Case(
        rng, layer, x, hidden, known_of(x, hidden, layer.kernel_size), complex_normal(rng, (chains, layer.rows, k))
    )


def apart(a, b):
    """The largest difference, relative to b where that is large."""
    assert a.shape == b.shape
    return np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(b)))


def matrix(layer, known):
    """The layer as a matrix, ``(chain, n, n)``, from its images of unit vectors, and the logdet."""
    one = np.broadcast_to(np.eye(layer.rows, dtype=np.complex128), (len(known.transport.u), layer.rows, layer.rows))
    return layer.columns(known, one)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    case=layers,
    shape=st.sampled_from([(2, 2), (4, 2), (2, 4), (4, 6)]),
    kernel_size=st.sampled_from([1, 3, 5]),
)
def test_the_fast_form_is_that_of_the_paper(seed, case, shape, kernel_size):
    kind, n, index, n_pt = case
    _, layer, x, hidden, known, psi = built(seed, kind, n, index, n_pt, shape, features=3, kernel_size=kernel_size)
    out, logdet = layer.columns(known, psi)
    expected, log = definition.pseudofermion_layer(layer, layer.params, signed_links(x), hidden, spinors(layer, psi)[0])
    assert apart(out, columns(layer, expected)) < ROUNDING
    assert apart(logdet, log) < ROUNDING
    if layer.even_odd:
        assert not expected[:, ~parity_mask(shape)].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("index", [0, 1])
def test_the_definition_is_what_sites_do_one_by_one(kind, n, index):
    partition, even_odd, scalar = kind
    _, layer, x, hidden, known, psi = built(n, kind, n, index, 3, chains=1, features=1)
    phi = spinors(layer, psi)[0]
    # Outputs of the net as complex numbers at every site: 3 matrices (1, 10), (1, 5), (2, 5), then A.
    weight, bias = layer.params["weight"], layer.params["bias"]
    values = np.empty((4, 4, len(bias)))
    for t, s in np.ndindex(4, 4):
        patch = hidden[0][:, [(t + d) % 4 for d in (-1, 0, 1)]][:, :, [(s + d) % 4 for d in (-1, 0, 1)]]
        values[t, s] = np.tanh(bias + np.einsum("oiab,iab->o", weight, patch))
    numbers = values.view(np.complex128)
    ms = [numbers[..., :10], numbers[..., 10:15], numbers[..., 15:25]]
    ms = [m.reshape(1, 4, 4, h, -1) for m, h in zip(ms, (1, 1, 2), strict=True)]
    rest = numbers[..., 25:]

    def moves(t, s, spin):
        there = not even_odd or (t + s) % 2 == 0
        if partition == "spin":
            return there and spin == index
        return there and (t % 2 if even_odd else (t + s) % 2) == index

    frozen, logdet = phi.copy(), 0.0
    for t, s, spin in np.ndindex(4, 4, 2):
        if moves(t, s, spin):
            frozen[:, t, s, spin] = 0
    shift = frozen
    for m in ms:
        shift = site_convolution(x, m, shift)
    expected = phi.copy()
    for t, s, spin in np.ndindex(4, 4, 2):
        if not moves(t, s, spin):
            continue
        if partition == "spatial" and not scalar:
            a = np.eye(2) + rest[t, s].reshape(2, 2)
            expected[:, t, s, spin] = a[spin] @ phi[0, t, s] + shift[:, t, s, spin]
            logdet += n * math.log(abs(np.linalg.det(a)))  # half of 2 N log |det A| for each component
        else:
            expected[:, t, s, spin] = (1 + rest[t, s, 0]) * phi[:, t, s, spin] + shift[:, t, s, spin]
            logdet += 2 * n * math.log(abs(1 + rest[t, s, 0]))
    out, log = definition.pseudofermion_layer(layer, layer.params, signed_links(x), hidden, phi)
    assert apart(out, expected) < ROUNDING
    assert abs(log[0] - logdet) < ROUNDING * 10
    assert apart(columns(layer, out), layer.columns(known, psi)[0]) < ROUNDING


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), case=layers)
def test_the_logdet_is_that_of_the_dense_real_matrix(seed, case):
    kind, n, index, n_pt = case
    _, layer, _, _, known, _ = built(seed, kind, n, index, n_pt, (2, 4))
    dense, logdet = matrix(layer, known)
    # d(Re phi', Im phi')/d(Re phi, Im phi) of a complex linear map
    real = np.block([[dense.real, -dense.imag], [dense.imag, dense.real]])
    sign, expected = np.linalg.slogdet(real)
    assert np.all(sign == 1)
    assert np.max(np.abs(logdet - expected)) < 1e-10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), case=layers, k=st.sampled_from([1, 5, 70]))
def test_inverses_return_to_the_start(seed, case, k):
    kind, n, index, n_pt = case
    _, layer, _, _, known, psi = built(seed, kind, n, index, n_pt, k=k)
    out, logdet = layer.columns(known, psi)
    back, minus = layer.inverse_columns(known, out)
    # 1/A may be as large as 10
    assert apart(back, psi) < ROUNDING
    assert np.array_equal(minus, -logdet)
    assert apart(layer.columns(known, layer.inverse_columns(known, psi)[0])[0], psi) < ROUNDING


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), case=layers)
def test_layers_are_gauge_equivariant(seed, case):
    kind, n, index, n_pt = case
    rng, layer, x, hidden, known, psi = built(seed, kind, n, index, n_pt)
    g = gauge_transformation(rng, x)
    turned = columns(layer, transformed_spinors(spinors(layer, psi)[0], g))
    there = known_of(transformed_links(x, g), hidden)  # channels are invariant
    (out, logdet), (other, same) = layer.columns(known, psi), layer.columns(there, turned)
    assert apart(other, columns(layer, transformed_spinors(spinors(layer, out)[0], g))) < ROUNDING
    assert np.array_equal(same, logdet)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", COLOURS)
def test_layers_are_linear_and_columns_do_not_see_each_other(kind, n):
    rng, layer, _, _, known, psi = built(5, kind, n, k=3)
    dense, logdet = matrix(layer, known)
    out, same = layer.columns(known, psi)
    assert apart(out, dense @ psi) < ROUNDING
    assert np.array_equal(same, logdet)
    # more columns than frozen rows are multiplied by one matrix
    many = complex_normal(rng, (2, layer.rows, layer.rows + 1))
    many[:, :, :3] = psi
    assert apart(layer.columns(known, many)[0], dense @ many) < ROUNDING
    for i in range(3):
        assert apart(layer.columns(known, psi[:, :, i : i + 1])[0], out[:, :, i : i + 1]) < ROUNDING


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("index", [0, 1])
def test_frozen_rows_keep_their_bits_and_all_active_ones_move(kind, n, index):
    _, layer, _, _, known, psi = built(6, kind, n, index)
    kept = psi.copy()
    parts = layer.parts
    assert np.array_equal(np.sort(np.concatenate([parts.active, parts.frozen])), np.arange(layer.rows))
    assert len(parts.active) == len(parts.frozen)
    for out in (layer.columns(known, psi)[0], layer.inverse_columns(known, psi)[0]):
        assert np.array_equal(out[:, parts.frozen], psi[:, parts.frozen])
        assert np.min(np.abs(out[:, parts.active] - psi[:, parts.active])) > 1e-6
    assert np.array_equal(psi, kept)
    # two layers in a row move everything
    other = built(6, kind, n, 1 - index).layer.parts
    assert np.array_equal(other.active, parts.frozen)
    assert np.array_equal(built(6, kind, n, index + 2).layer.parts.active, parts.active)


def test_active_rows_are_every_second_time_slice_of_the_even_sites():
    layer = built(7, ("spatial", True, False), shape=(4, 2)).layer
    # even sites (0, 0), (1, 1), (2, 0), (3, 1), two components each
    assert layer.rows == 8
    assert layer.parts.active.tolist() == [0, 1, 4, 5]
    assert built(7, ("spin", True, False), index=1, shape=(4, 2)).layer.parts.active.tolist() == [1, 3, 5, 7]
    assert built(7, ("spatial", False, False), shape=(2, 2)).layer.parts.active.tolist() == [0, 1, 6, 7]
    assert built(7, ("spin", False, False), n=2, shape=(2, 2)).layer.parts.active.tolist() == [0, 1, 4, 5, 8, 9, 12, 13]


@pytest.mark.parametrize("n", COLOURS)
def test_one_convolution_shifts_nothing_between_even_sites(n):
    _, layer, _, _, known, psi = built(8, ("spatial", True, False), n, n_pt=1)
    active = layer.parts.active
    alone = psi.copy()
    alone[:, layer.parts.frozen] = 0
    # exactly: what the frozen rows send is zero
    assert np.array_equal(layer.columns(known, psi)[0][:, active], layer.columns(known, alone)[0][:, active])
    _, layer, _, _, known, psi = built(8, ("spatial", True, False), n, n_pt=2)
    assert np.min(np.abs((layer.columns(known, psi)[0] - layer.columns(known, alone)[0])[:, active])) > 1e-6


@pytest.mark.parametrize(
    ("numbers", "options"),
    [
        (248, {"even_odd": True}),
        (128, {"n_pt": 3}),
        (808, {"colours": 3, "features": 4}),
        (802, {"colours": 3, "features": 4, "partition": "spin"}),
        (242, {"scalar": True}),
        (48, {"n_pt": 1, "hidden": 4}),
        (212, {"n_pt": 3, "features": 3, "partition": "spin", "kernel_size": 1}),
    ],
)
def test_the_net_has_as_many_outputs_as_the_paper_says(numbers, options):
    layer = PseudofermionLayer.init(np.random.default_rng(9), (4, 4), 0, **options)
    size, hidden = options.get("kernel_size", 3), options.get("hidden", 16)
    assert layer.params["weight"].shape == (numbers, hidden, size, size)
    assert layer.params["bias"].shape == (numbers,)
    # 2 x 5 x H x H' real numbers of every convolution (App. B2)
    features = [2, *[layer.features] * (layer.n_pt - 1), 2]
    a = 8 if layer.partition == "spatial" and not layer.scalar else 2
    assert numbers == a + sum(10 * before * after for before, after in itertools.pairwise(features))


def test_starts_have_the_spread_of_xavier_and_without_weights_layers_are_the_identity():
    layer = PseudofermionLayer.init(np.random.default_rng(10), (4, 4), 0, even_odd=True)
    expected = 0.5 * math.sqrt(2 / (9 * (248 + 16)))
    # 35712 numbers: a standard error of 0.4 %
    assert abs(np.std(layer.params["weight"]) / expected - 1) < 0.016
    assert not layer.params["bias"].any()
    blank = PseudofermionLayer.init(np.random.default_rng(10), (4, 4), 0, hidden=HIDDEN, gain=0.0)
    known = built(10, KINDS[0]).known
    psi = complex_normal(np.random.default_rng(11), (2, 32, 2))
    out, logdet = blank.columns(known, psi)
    assert np.array_equal(out, psi)
    assert np.array_equal(logdet, np.zeros(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize(("n_pt", "k", "size"), [(1, 1, 3), (3, 2, 1), (2, None, 5)])
def test_the_pullback_is_the_derivative_of_the_definition(kind, n, n_pt, k, size):
    rng, layer, x, hidden, known, psi = built(20 + n, kind, n, n_pt, n_pt, (2, 4), k=k, features=3, kernel_size=size)
    out, logdet, pull = layer.columns_with_pullback(known, psi)
    assert np.array_equal(out, layer.columns(known, psi)[0])
    assert np.array_equal(logdet, layer.columns(known, psi)[1])
    g, g_logdet = complex_normal(rng, out.shape), rng.standard_normal(2)
    kept = [a.copy() for a in (psi, out, g, g_logdet, hidden, known.transport.u, *layer.params.values())]
    g_psi, of_given, grads = pull(g, g_logdet)
    now = (psi, out, g, g_logdet, hidden, known.transport.u, *layer.params.values())
    assert all(np.array_equal(a, b) for a, b in zip(kept, now, strict=True))
    links, (fields, weights) = signed_links(x), (np.concatenate(spinors(layer, a)) for a in (psi, g))
    basis, copies = np.ones((1, 1, 1)) if n == 1 else generators(n), psi.shape[2]

    def loss(params, hidden, w, re, im):
        # d(exp(i w_a T_a) U) = i dw_a T_a U at w = 0; columns are chains here, of the same links
        moved = links + 1j * anp.einsum("cmtxa,aij,cmtxjk->cmtxik", w, basis, links)
        moved, hidden = (anp.concatenate([a] * copies) for a in (moved, hidden))
        image, log = definition.pseudofermion_layer(layer, params, moved, hidden, re + 1j * im)
        return anp.sum(anp.real(anp.conj(weights) * image)) + anp.sum(g_logdet * log[:2])

    w = np.zeros((*links.shape[:4], len(basis)))
    arguments = dict(layer.params), hidden, w, fields.real, fields.imag
    e_params, e_hidden, e_w, e_re, e_im = autograd.grad(loss, (0, 1, 2, 3, 4))(*arguments)
    expected = (e_re + 1j * e_im).reshape(copies, 2, *fields.shape[1:])
    assert apart(g_psi, np.concatenate([columns(layer, part) for part in expected], axis=2)) < ROUNDING
    assert apart(of_given.hidden(layer.shape, size), e_hidden) < ROUNDING
    assert apart(known.transport.pullback(of_given.u), e_w[..., 0] if n == 1 else e_w) < ROUNDING
    assert list(grads) == list(layer.params)
    assert all(apart(grads[key], e_params[key]) < ROUNDING for key in grads)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2], KINDS[4]])
def test_the_pullback_is_a_slope(kind):
    rng, layer, x, hidden, known, psi = built(30, kind, k=2)
    out, _, pull = layer.columns_with_pullback(known, psi)
    g, g_logdet = complex_normal(rng, out.shape), rng.standard_normal(2)
    g_psi, of_given, grads = pull(g, g_logdet)
    d_psi, d_hidden = complex_normal(rng, psi.shape), rng.standard_normal(hidden.shape)
    d_params = {key: rng.standard_normal(value.shape) for key, value in layer.params.items()}
    step = 1e-5

    def value(eps):
        moved = layer.with_params({key: value + eps * d_params[key] for key, value in layer.params.items()})
        image, log = moved.columns(known_of(x, hidden + eps * d_hidden), psi + eps * d_psi)
        return np.sum((g.conj() * image).real) + np.sum(g_logdet * log)

    expected = np.sum((g_psi.conj() * d_psi).real) + np.sum(of_given.hidden(layer.shape) * d_hidden)
    expected += sum(np.sum(grads[key] * d_params[key]) for key in grads)
    slope = (value(step) - value(-step)) / (2 * step)
    # step^2 times third derivatives
    assert abs(slope - expected) < 1e-6 * abs(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", COLOURS)
@pytest.mark.parametrize("k", [1, None])
def test_a_chain_has_the_same_bits_in_any_batch(kind, n, k):
    rng, layer, x, hidden, known, psi = built(40, kind, n, chains=7, k=k)
    out, logdet, pull = layer.columns_with_pullback(known, psi)
    g, g_logdet = complex_normal(rng, out.shape), rng.standard_normal(7)
    g_psi, of_given, _ = pull(g, g_logdet)
    for chains in (slice(0, 1), slice(2, 5)):
        some = known_of(x[chains], hidden[chains])
        own, own_logdet, own_pull = layer.columns_with_pullback(some, psi[chains])
        assert np.array_equal(own, out[chains])
        assert np.array_equal(own_logdet, logdet[chains])
        assert np.array_equal(layer.inverse_columns(some, own)[0], layer.inverse_columns(known, out)[0][chains])
        own_g, own_given, _ = own_pull(g[chains], g_logdet[chains])
        assert np.array_equal(own_g, g_psi[chains])
        assert np.array_equal(own_given.u, of_given.u[chains])


@pytest.mark.parametrize("kind", [("spatial", True, False), ("spin", False, False)])
def test_a_chain_has_the_same_bits_in_any_place_of_a_large_batch(kind):
    # More chains than the 16 of one product, and numbers of outputs, 248 and 242, that are not whole groups of columns.
    rng = np.random.default_rng(41)
    layer, x = built_layer(rng, (4, 4), 0, kind, n_pt=6), gauge_field(rng, 1, (4, 4), 37)
    hidden, psi = rng.standard_normal((37, HIDDEN, 4, 4)), complex_normal(rng, (37, layer.rows, 1))
    out, logdet = layer.columns(known_of(x, hidden), psi)
    for chains in (slice(0, 1), slice(36, 37), slice(5, 9), slice(3, 30)):
        own, own_logdet = layer.columns(known_of(x[chains], hidden[chains]), psi[chains])
        assert np.array_equal(own, out[chains])
        assert np.array_equal(own_logdet, logdet[chains])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": "tiles"}, "partition: got 'tiles', expected one of spatial, spin"),
        ({"even_odd": 1}, "even_odd: got 1"),
        ({"scalar": None}, "scalar: got None"),
        ({"n_pt": 0}, "n_pt: got 0"),
        ({"features": 0}, "features: got 0"),
        ({"colours": 0}, "colours: got 0"),
        ({"hidden": 0}, "got 0"),
        ({"gain": -1.0}, "gain: got -1"),
        ({"kernel_size": 2}, "kernel_size: got 2"),
        ({"shape": (3, 4)}, "3"),
        ({"index": -1}, "index: got -1"),
    ],
)
def test_bad_layers_are_refused(options, message):
    arguments = {"shape": (4, 4), "index": 0, **options}
    with pytest.raises(ValueError, match=message):
        PseudofermionLayer.init(np.random.default_rng(0), **arguments)


def test_other_weights_are_refused():
    layer = built(50, KINDS[0]).layer
    for bad in ({}, {**layer.params, "more": np.zeros(1)}, {**layer.params, "bias": np.zeros(3)}):
        with pytest.raises(ValueError, match="params"):
            layer.with_params(bad)
    assert built(50, ("spin", False, False), shape=(3, 5)).layer.rows == 30
