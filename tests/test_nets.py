"""Nets: the fast form, the reverse mode and the definition are one function; a chain does not know its batch."""

import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.test_util import check_grads
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refimpl.nets import Net, Outputs, apply, definition, init, pullback, update_statistics
from refimpl.nets.activations import ACTIVATIONS
from refimpl.nets.linear import BLOCK, convolution, rows, times
from refimpl.nets.net import GAINS

# Rounding of sums of up to 200 terms of size 1, carried through three layers of gain below 10.
ROUNDING = 1e-12
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@st.composite
def cases(draw, kinds=("dense", "conv", "stencil"), equivariant=False):
    """A net, the shapes of its inputs and output, and whether it has a time encoding."""
    kind = draw(st.sampled_from(kinds))
    local = kind != "dense"
    dimension = draw(st.sampled_from([1, 2]))
    lattice = tuple(draw(st.lists(st.integers(2, 5), min_size=dimension, max_size=dimension)))
    net = Net(
        kind,
        units=draw(SIZES) if not local else [] if equivariant else draw(st.one_of(st.just([]), SIZES)),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        outputs="".join(draw(st.lists(st.sampled_from("stq"), min_size=1, max_size=3, unique=True))),
        filters=draw(SIZES) if local else (),
        kernel_size=draw(st.sampled_from([1, 3, 5])) if local else 3,
        rank={"dense": draw(st.sampled_from([0, 1, 3])), "conv": 0, "stencil": draw(st.integers(1, 3))}[kind],
        batch_norm=draw(st.booleans()) if local else False,
    )
    fields = st.sampled_from([(2, *lattice), lattice]) if dimension == 2 else st.just(lattice)
    names = draw(st.lists(st.sampled_from(["cos", "sin", "v", "force"]), min_size=1, max_size=3, unique=True))
    return net, {name: draw(fields) for name in names}, draw(fields), draw(st.booleans())


def filled(rng, params):
    """Parameters of size one half, none of them zero; variances are positive."""
    values = {key: 0.5 * rng.standard_normal(array.shape) for key, array in params.items()}
    return {key: 0.5 + np.abs(array) if key == "norm/variance" else array for key, array in values.items()}


def built(seed, case, n_chains=3):
    net, inputs, out_shape, time = case
    rng = np.random.default_rng(seed)
    params = init(net, rng, inputs, out_shape, time)
    x = {name: rng.standard_normal((n_chains, *shape)) for name, shape in inputs.items()}
    return rng, params, filled(rng, params), x, np.array([0.6, -0.8]) if time else None


def present(outputs):
    return {letter: out for letter, out in zip("stq", outputs, strict=True) if out is not None}


def close(a, b):
    return a.shape == b.shape and np.max(np.abs(a - b), initial=0) <= ROUNDING * max(1, np.max(np.abs(b), initial=0))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), case=cases())
def test_apply_is_the_definition(seed, case):
    net, _, out_shape, _ = case
    _, _, params, x, time = built(seed, case)
    outputs, _ = apply(net, params, x, time)
    assert set(present(outputs)) == set(net.outputs)
    for letter, expected in present(definition(net, params, x, time)).items():
        assert getattr(outputs, letter).shape == (3, *out_shape)
        assert close(getattr(outputs, letter), expected)


SATURATED = Net("stencil", activation="elu", filters=(5, 3, 1), rank=3)  # with seed 1 its heads see |z| = 447


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), case=cases())
@example(seed=1, case=(SATURATED, {"cos": (2, 5, 5), "sin": (2, 5, 5)}, (2, 5, 5), False))
def test_pullback_is_the_gradient_of_the_definition(seed, case):
    net = case[0]
    rng, _, params, x, time = built(seed, case)
    outputs, cache = apply(net, params, x, time)
    cotangents = Outputs(*(None if out is None else rng.standard_normal(out.shape) for out in outputs))

    def weighted(params, x):
        pairs = zip(definition(net, params, x, time), cotangents, strict=True)
        return sum(anp.sum(out * g) for out, g in pairs if g is not None)

    before = [array.copy() for array in (*params.values(), *x.values(), *present(cotangents).values())]
    grads, grad_inputs = pullback(net, params, cache, cotangents)
    after = [*params.values(), *x.values(), *present(cotangents).values()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    expected, expected_inputs = autograd.grad(weighted, (0, 1))(params, x)
    assert set(grads) == set(params)
    assert set(grad_inputs) == set(x)
    for key in params:
        assert close(grads[key], expected[key]), key
    for name in x:
        assert close(grad_inputs[name], expected_inputs[name]), name


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_definition_has_the_derivative_of_finite_differences(activation):
    # the definition is traced by autograd; this ties autograd to differences of apply itself
    net = Net("conv", units=(3,), activation=activation, filters=(2, 2), batch_norm=True)
    rng, _, params, x, time = built(3, (net, {"cos": (2, 2, 3)}, (2, 2, 3), True))
    _, cache = apply(net, params, x, time)
    cotangents = Outputs(*(rng.standard_normal((3, 2, 2, 3)) for _ in "stq"))
    grads, _ = pullback(net, params, cache, cotangents)
    step = 1e-6
    for key in sorted(set(params) - {"norm/mean", "norm/variance"}):
        direction = rng.standard_normal(params[key].shape)
        sides = []
        for sign in (1, -1):
            outputs, _ = apply(net, params | {key: params[key] + sign * step * direction}, x, time)
            sides.append(sum(np.sum(a * g) for a, g in zip(outputs, cotangents, strict=True)))
        # rounding 1e-15 * 30 / 1e-6 plus curvature 1e-12
        assert abs((sides[0] - sides[1]) / (2 * step) - np.sum(grads[key] * direction)) < 1e-7, key


def test_check_grads_of_the_definition():
    net = Net("stencil", activation="tanh", filters=(2,), rank=1)
    _, _, params, x, time = built(4, (net, {"x": (4,)}, (4,), False))
    check_grads(lambda p: sum(anp.sum(out**2) for out in definition(net, p, x, time)), modes=["rev"])(params)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), case=cases())
def test_a_new_net_is_zero_and_can_learn(seed, case):
    net, _, out_shape, _ = case
    rng, params, _, x, time = built(seed, case)
    outputs, cache = apply(net, params, x, time)
    for out in present(outputs).values():
        assert out.shape == (3, *out_shape)
        assert np.all(out == 0)
    cotangents = Outputs(*(None if out is None else rng.standard_normal(out.shape) for out in outputs))
    grads, _ = pullback(net, params, cache, cotangents)
    assert np.array_equal(
        grads.get("head/t/bias", np.zeros(())),
        np.sum(cotangents.t, axis=_summed(net, out_shape)) if "t" in net.outputs else 0,
    )


def _summed(net, out_shape):
    """Axes that share one bias: the chain, and the sites for heads on sites."""
    on_sites = net.kind != "dense" and not net.units
    lattice = 1 if len(out_shape) == 1 else 2
    return (0, *range(-lattice, 0)) if on_sites else 0


@pytest.mark.parametrize(
    "net",
    [Net("dense", (8,)), Net("dense", (8,), rank=2), Net("conv", filters=(8,)), Net("stencil", filters=(8,), rank=2)],
)
def test_scales_and_translations_have_a_gradient_at_the_start(net):
    rng, params, _, x, time = built(5, (net, {"cos": (2, 4, 4)}, (2, 4, 4), True))
    _, cache = apply(net, params, x, time)
    grads, _ = pullback(net, params, cache, Outputs(*(rng.standard_normal((3, 2, 4, 4)) for _ in "stq")))
    weight = "head/t/right" if net.rank and net.kind == "dense" else "head/t/weight"
    for key in ("head/s/scale", "head/q/scale", "head/t/bias", weight):
        assert np.any(grads[key] != 0), key


BY_HAND = {  # at z = -1 and z = 2
    "relu": (0.0, 2.0),
    "leaky_relu": (-0.01, 2.0),
    "tanh": (-math.tanh(1), math.tanh(2)),
    "elu": (math.exp(-1) - 1, 2.0),
    "softplus": (math.log(1 + math.exp(-1)), math.log(1 + math.exp(2))),
    "swish": (-1 / (1 + math.e), 2 / (1 + math.exp(-2))),
}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_by_hand(name):
    y, _ = ACTIVATIONS[name].value(np.array([-1.0, 2.0]))
    assert np.max(np.abs(y - BY_HAND["swish" if name == "silu" else name])) < 1e-15  # a few eps
    with np.errstate(all="raise", under="ignore"):
        z = np.array([-800.0, 0.0, 800.0])
        y, kept = ACTIVATIONS[name].value(z)
        assert np.isfinite(ACTIVATIONS[name].slope(y, kept)).all()
        assert np.isfinite(y).all()


@pytest.mark.parametrize(
    "net",
    [Net("conv", filters=(8, 400), outputs="s"), Net("stencil", filters=(8, 400), rank=60, outputs="s")],
    ids=["conv", "stencil"],
)
def test_variance_of_local_layers_at_the_start(net):
    rng = np.random.default_rng(6)
    params = init(net, rng, {"cos": (2, 6, 6), "v": (2, 6, 6)}, (2, 6, 6), False)
    x = {name: rng.standard_normal((16, 2, 6, 6)) for name in ("cos", "v")}
    outputs, _ = apply(net, params | {"head/s/scale": np.ones(2)}, x, None)
    # He: a variance of 1 stays 1 from layer to layer; the head has only two rows of weights, the first layer 8 filters
    assert 0.25 < np.mean(np.arctanh(outputs.s) ** 2) < 4


def test_variance_of_hidden_layers_at_the_start():
    # He: v = 1 stays; Glorot: v -> E tanh(sqrt(v) z)^2 is 0.39, 0.24, 0.18, 0.14; within a factor 2 at this width
    for activation, expected in (("relu", 1.0), ("tanh", 0.14)):
        net = Net("dense", (200,) * 4, activation, outputs="s")
        rng = np.random.default_rng(6)
        params = init(net, rng, {"cos": (50,), "v": (30,)}, (100,), False)
        assert GAINS[activation] * 0.8 < np.var(params["in/cos"]) * 80 < GAINS[activation] * 1.2
        outputs, _ = apply(
            net,
            params | {"head/s/scale": np.ones(100)},
            {name: rng.standard_normal((64, size)) for name, size in (("cos", 50), ("v", 30))},
            None,
        )
        assert 0.5 < np.var(np.arctanh(outputs.s)) / expected < 2


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), case=cases(), n_chains=st.integers(2, 70), data=st.data())
def test_a_chain_has_the_same_bits_alone_and_in_any_batch(seed, case, n_chains, data):
    net = case[0]
    rng, _, params, x, time = built(seed, case, n_chains)
    together = present(apply(net, params, x, time)[0])
    order = rng.permutation(n_chains)[: data.draw(st.integers(1, n_chains))]
    some = present(apply(net, params, {name: array[order] for name, array in x.items()}, time)[0])
    for letter, out in together.items():
        assert np.array_equal(out[order], some[letter])


@pytest.mark.parametrize(
    "net",
    [
        Net("dense", (100, 100), "swish"),
        Net("dense", (300, 47, 223)),
        Net("conv", filters=(16, 16), activation="softplus"),
    ],
)
def test_a_chain_has_the_same_bits_in_nets_of_working_size(net):
    # sizes at which BLAS itself changes its path with the number of rows
    shape = (2, 8, 8)
    _, _, params, x, time = built(7, (net, {"cos": shape, "v": shape}, shape, True), 130)
    params = {key: np.asfortranarray(array) for key, array in params.items()}
    together, _ = apply(net, params, x, time)
    for chains in ([0], [129], [77, 3], list(range(100)), list(range(64, 128)), list(range(129, -1, -1))):
        some, _ = apply(net, params, {name: array[chains] for name, array in x.items()}, time)
        for a, b in zip(together, some, strict=True):
            assert np.array_equal(a[chains], b)
    chain_last = {name: np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0) for name, array in x.items()}
    assert all(np.array_equal(a, b) for a, b in zip(together, apply(net, params, chain_last, time)[0], strict=True))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    before=st.one_of(st.integers(1, 400), st.integers(1900, 2100)),
    after=st.integers(1, 400),
)
def test_all_positions_of_a_block_are_alike(seed, before, after):
    rng = np.random.default_rng(seed)
    weight, row = rng.standard_normal((before, after)), rng.standard_normal((1, before))
    x = np.repeat(row, BLOCK + 1, axis=0)
    padded = rows(x)
    assert padded.shape == (2 * BLOCK, before)
    product = times(padded, weight)[: BLOCK + 1]
    assert np.all(product == product[0])
    # each sum has `before` terms of size 1: at most before * eps * sum |terms|
    assert np.max(np.abs(product[0] - np.sum(row[0, :, None] * weight, axis=0))) < 1e-15 * before**1.5 * 8 + 1e-14


def test_a_broken_chain_breaks_no_other():
    net = Net("conv", filters=(4, 4), units=(8,))
    _, _, params, x, time = built(8, (net, {"cos": (2, 4, 4)}, (2, 4, 4), False), 5)
    whole, _ = apply(net, params, x, time)
    x["cos"][2, 0, 1, 1] = np.nan
    with np.errstate(invalid="ignore"):
        broken, _ = apply(net, params, x, time)
    for a, b in zip(whole, broken, strict=True):
        assert np.array_equal(a[[0, 1, 3, 4]], b[[0, 1, 3, 4]])
        assert np.isnan(b[2]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), case=cases(kinds=("conv",), equivariant=True), data=st.data())
def test_convolutions_commute_with_translations(seed, case, data):
    net, _, out_shape, _ = case
    _, _, params, x, time = built(seed, case)
    lattice = out_shape[-2:]
    steps = tuple(data.draw(st.integers(0, extent - 1)) for extent in lattice)
    axes = tuple(range(-len(lattice), 0))
    there = present(apply(net, params, {name: np.roll(array, steps, axes) for name, array in x.items()}, time)[0])
    for letter, out in present(apply(net, params, x, time)[0]).items():
        assert close(there[letter], np.roll(out, steps, axes))


def test_convolutional_parameters_run_on_a_larger_lattice():
    # a periodic field of period 4 looks the same to a local net on 4x4 and on 8x12
    net = Net("conv", filters=(3, 4), batch_norm=True)
    _, _, params, x, time = built(9, (net, {"cos_p": (4, 4), "v": (2, 4, 4)}, (2, 4, 4), True))
    small, _ = apply(net, params, x, time)
    tiled = {name: np.tile(array, (1,) * (array.ndim - 2) + (2, 3)) for name, array in x.items()}
    large, _ = apply(net, params, tiled, time)
    for a, b in zip(small, large, strict=True):
        assert close(b, np.tile(a, (1, 1, 2, 3)))


def test_kernel_orientation():
    # a kernel of one entry at (a, b) reads the site at distance (a, b) - 1
    x = np.random.default_rng(10).standard_normal((2, 1, 4, 5))
    for a in range(3):
        for b in range(3):
            weight = np.zeros((1, 1, 3, 3))
            weight[0, 0, a, b] = 2.0
            expected = 2 * np.roll(x, (1 - a, 1 - b), axis=(2, 3)) + 0.5
            assert np.array_equal(convolution(x, weight, np.array([0.5])), expected)


def test_convolution_in_pieces_is_the_convolution_at_once(monkeypatch):
    net = Net("conv", filters=(3, 4))
    rng, _, params, x, time = built(11, (net, {"cos": (2, 4, 6)}, (2, 4, 6), False), 7)
    cotangents = Outputs(*(rng.standard_normal((7, 2, 4, 6)) for _ in "stq"))
    whole, cache = apply(net, params, x, time)
    grads, _ = pullback(net, params, cache, cotangents)
    monkeypatch.setattr("refimpl.nets.linear.WORK", 3 * 27 * 24 + 1)
    pieces, cache = apply(net, params, x, time)
    grads_of_pieces, _ = pullback(net, params, cache, cotangents)
    assert all(np.array_equal(a, b) for a, b in zip(whole, pieces, strict=True))
    assert all(close(grads_of_pieces[key], grads[key]) for key in grads)


@pytest.mark.parametrize("outputs", ["s", "t", "q", "st", "tq", "qts"])
def test_scalars(outputs):
    net = Net("scalars", outputs=outputs)
    params = init(net, np.random.default_rng(0), {"cos": (2, 4, 4)}, (2, 4, 4), True)
    assert params == {f"scalar/{letter}": 0.0 for letter in outputs}
    params = {key: np.array(0.1 + i) for i, key in enumerate(params)}
    x = {"cos": np.ones((3, 2, 4, 4))}
    values, cache = apply(net, params, x, None)
    assert [out is None for out in values] == [letter not in outputs for letter in "stq"]
    assert present(values) == {letter: params[f"scalar/{letter}"] for letter in "stq" if letter in outputs}
    assert present(definition(net, params, x, None)) == present(values)
    cotangents = Outputs(*(np.array(2.5) if letter in outputs else None for letter in "stq"))
    grads, grad_inputs = pullback(net, params, cache, cotangents)
    assert grads == {f"scalar/{letter}": 2.5 for letter in outputs}
    assert np.array_equal(grad_inputs["cos"], np.zeros((3, 2, 4, 4)))
    with pytest.raises(ValueError, match="cotangents"):
        pullback(net, params, cache, Outputs(*(None if letter in outputs else np.array(1.0) for letter in "stq")))


def test_statistics_move_towards_those_of_a_batch():
    net = Net("conv", filters=(3, 4), activation="tanh", batch_norm=True)
    _, _, params, x, time = built(12, (net, {"cos": (2, 4, 4)}, (2, 4, 4), True), 16)
    moved = update_statistics(net, params, x, time, 0.25)
    full = update_statistics(net, params, x, time, 1.0)
    assert np.array_equal(update_statistics(net, params, x, time, 0.0)["norm/mean"], params["norm/mean"])
    for key in ("norm/mean", "norm/variance"):
        assert close(moved[key], 0.75 * params[key] + 0.25 * full[key])
    assert all(moved[key] is params[key] for key in params if key not in ("norm/mean", "norm/variance"))
    # with these statistics, gain 1, shift 0 and a head that passes channels on, the output is normalised
    probe = full | {"norm/gain": np.ones(4), "norm/bias": np.zeros(4), "head/t/weight": np.eye(2, 4)}
    outputs, _ = apply(net, probe | {"head/t/bias": np.zeros(2)}, x, time)
    assert np.max(np.abs(outputs.t.mean(axis=(0, 2, 3)))) < 1e-13
    variance = full["norm/variance"][:2]
    assert np.max(np.abs(outputs.t.var(axis=(0, 2, 3)) - variance / (variance + 1e-5))) < 1e-13
    one, _ = apply(net, params, {"cos": x["cos"][:1]}, time)
    assert np.array_equal(one.t, apply(net, params, x, time)[0].t[:1])
    with pytest.raises(ValueError, match="momentum"):
        update_statistics(net, params, x, time, 1.5)
    with pytest.raises(ValueError, match="batch_norm"):
        update_statistics(Net("conv", filters=(3, 4)), params, x, time, 0.5)


BAD_NETS = [
    ({"kind": "mlp"}, "kind: got 'mlp'"),
    ({"kind": "dense"}, "units"),
    ({"kind": "dense", "units": (4, 0)}, "units: got 0"),
    ({"kind": "dense", "units": 4}, "units: got 4"),
    ({"kind": "dense", "units": (4.0,)}, "units"),
    ({"kind": "dense", "units": (4,), "activation": "sine"}, "activation: got 'sine'"),
    ({"kind": "dense", "units": (4,), "outputs": ""}, "outputs"),
    ({"kind": "dense", "units": (4,), "outputs": "sx"}, "outputs: got 'sx'"),
    ({"kind": "dense", "units": (4,), "outputs": "ss"}, "outputs"),
    ({"kind": "dense", "units": (4,), "filters": (4,)}, "filters"),
    ({"kind": "dense", "units": (4,), "rank": -1}, "rank"),
    ({"kind": "dense", "units": (4,), "batch_norm": True}, "batch_norm"),
    ({"kind": "conv"}, "filters"),
    ({"kind": "conv", "filters": (0,)}, "filters: got 0"),
    ({"kind": "conv", "filters": (4,), "kernel_size": 2}, "kernel_size: got 2"),
    ({"kind": "conv", "filters": (4,), "kernel_size": 0}, "kernel_size: got 0"),
    ({"kind": "conv", "filters": (4,), "rank": 2}, "rank"),
    ({"kind": "stencil", "filters": (4,)}, "rank"),
    ({"kind": "scalars", "units": (4,)}, "units"),
]


@pytest.mark.parametrize(("options", "message"), BAD_NETS)
def test_bad_nets_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Net(**options)


@pytest.mark.parametrize(
    ("net", "inputs", "out_shape", "message"),
    [
        (Net("dense", (4,)), {}, (4,), "inputs: got none"),
        (Net("dense", (4,)), {"time": (4,)}, (4,), "got the name 'time'"),
        (Net("dense", (4,)), {"a/b": (4,)}, (4,), "got the name 'a/b'"),
        (Net("dense", (4,)), {"x": (0,)}, (4,), "inputs"),
        (Net("dense", (4,)), {"x": (4,)}, (), "out_shape"),
        (Net("conv", filters=(4,)), {"x": (2, 4, 6)}, (2, 6, 4), "inputs\\['x'\\]: got shape \\(2, 4, 6\\)"),
        (Net("conv", filters=(4,), kernel_size=7), {"x": (2, 2)}, (2, 2), "kernel_size: got 7, expected at most 5"),
    ],
)
def test_bad_shapes_are_refused_at_the_start(net, inputs, out_shape, message):
    with pytest.raises(ValueError, match=message):
        init(net, np.random.default_rng(0), inputs, out_shape, False)


LINKS = {"cos": (2, 4, 4), "v": (2, 4, 4)}


@pytest.mark.parametrize(
    "net",
    [
        Net("dense", (4,)),
        Net("conv", filters=(3,)),
        Net("conv", (4,), filters=(3,)),
        Net("stencil", filters=(3,), rank=2),
    ],
    ids=str,
)
def test_bad_inputs_are_refused(net):
    _, _, params, x, time = built(13, (net, LINKS, (2, 4, 4), True))
    outputs, cache = apply(net, params, x, time)
    bad = [
        ({"cos": x["cos"]}, time, "inputs: got \\['cos'\\], expected \\['cos', 'v'\\]"),
        (x | {"sin": x["cos"]}, time, "inputs: got"),
        (x | {"v": x["v"][:2]}, time, "one number of chains"),
        ({name: array[:0] for name, array in x.items()}, time, "one number of chains"),
        (x | {"v": np.ones(())}, time, "one number of chains"),
        (x | {"v": x["v"].astype(np.float32)}, time, "inputs\\['v'\\]: got dtype float32"),
        (x | {"v": x["v"][:, :, :3]}, time, "inputs"),
        (x | {"v": x["v"][:, :1]}, time, "inputs\\['v'\\]"),
        ({name: array[:, 0, 0] for name, array in x.items()}, time, "inputs"),
        (x, None, "time: got None"),
        (x, np.zeros(3), "time: got shape \\(3,\\)"),
    ]
    if net.kind != "conv" or net.units:
        bad.append(({name: np.tile(array, (1, 1, 2, 1)) for name, array in x.items()}, time, "inputs"))
    for inputs, tau, message in bad:
        with pytest.raises(ValueError, match=message):
            apply(net, params, inputs, tau)
    for cotangents in (Outputs(None, outputs.t, outputs.q), Outputs(outputs.s, outputs.t[:, :1], outputs.q)):
        with pytest.raises(ValueError, match="cotangents"):
            pullback(net, params, cache, cotangents)
    without = {key: array for key, array in params.items() if key != "in/time"}
    with pytest.raises(ValueError, match=r"time: got .* expected None"):
        apply(net, without, x, time)
