"""Nets against numbers worked out by hand, in files, and compressed."""

import contextlib
import json
import os
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.nets import Net, apply, compress, definition, explained_variance, init, load, pullback, save
from refimpl.nets.net import Outputs

DENSE = (
    Net("dense", (2, 2), "tanh"),
    {"cos": np.array([[0.5, -0.25]]), "v": np.array([[1.5, 0.75]])},
    np.array([0.6, 0.8]),
    (2,),
)
CONV = (
    Net("conv", filters=(2, 2), activation="tanh", batch_norm=True),
    {"cos": np.array([[0.5, -0.25, 1.0]])},
    None,
    (3,),
)
# Worked out by loops over Python numbers from the formulas of `Net`, with the parameters of `patterned`.
GOLDEN = {
    "dense": {
        "s": [0.15991070717655415, 0.20779513045845976],
        "t": [0.4366698461687693, 0.6009489330226139],
        "q": [0.25703023852275614, 0.34103348609508805],
    },
    "conv": {
        "s": [-0.036030532464320086, -0.03599795695961422, -0.03598899525939895],
        "t": [1.276699491266816, 1.2566498840429612, 1.290309716537644],
        "q": [-0.13362018629012276, -0.13225969914215083, -0.13427246758623054],
    },
}


def patterned(net, x, time, out_shape):
    """``0.3 + 0.5 sin(1.7 i + 0.9 j)`` for entry j of the i-th key in sorted order; variances are ``|.| + 0.5``."""
    shapes = init(
        net, np.random.default_rng(0), {name: a.shape[1:] for name, a in x.items()}, out_shape, time is not None
    )
    params = {
        key: 0.3 + 0.5 * np.sin(1.7 * i + 0.9 * np.arange(shapes[key].size)).reshape(shapes[key].shape)
        for i, key in enumerate(sorted(shapes))
    }
    return {key: np.abs(a) + 0.5 if key == "norm/variance" else a for key, a in params.items()}


def is_golden(net, params, x, time):
    outputs, _ = apply(net, params, x, time)
    # a dozen operations on numbers of size 1
    return all(np.max(np.abs(getattr(outputs, letter)[0] - GOLDEN[net.kind][letter])) < 1e-14 for letter in "stq")


@pytest.mark.parametrize("case", [DENSE, CONV], ids=["dense", "conv"])
def test_golden_outputs_depend_on_every_bias(case, tmp_path):
    net, x, time, _ = case
    params = patterned(*case)
    assert is_golden(net, params, x, time)
    save(tmp_path / "net.npz", params, asdict(net))
    loaded, meta = load(tmp_path / "net.npz")
    assert Net(**meta) == net
    assert is_golden(net, loaded, x, time)
    # a loader that brings every weight and zero biases (Foreman 2020, sec. 16), or one wrong bias
    biases = [key for key in params if key.endswith("bias")]
    assert len(biases) == {"dense": 5, "conv": 6}[net.kind]
    assert not is_golden(net, loaded | {key: np.zeros_like(params[key]) for key in biases}, x, time)
    for key in biases:
        assert not is_golden(net, loaded | {key: np.zeros_like(params[key])}, x, time), key
        for j in range(params[key].size):
            other = np.array(params[key])
            other.flat[j] += 1e-6
            assert not is_golden(net, loaded | {key: other}, x, time), (key, j)


def trained(seed, units=(9, 7, 8), n_layers=None):
    net = Net("dense", units, "swish")
    rng = np.random.default_rng(seed)
    params = init(net, rng, {"cos": (2, 2, 3), "v": (2, 2, 3)}, (2, 2, 3), True)
    params = {key: 0.4 * rng.standard_normal(array.shape) for key, array in params.items()}
    x = {name: rng.standard_normal((5, 2, 2, 3)) for name in ("cos", "v")}
    return rng, net, params, x, np.array([0.6, 0.8])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), rank=st.integers(12, 15))
def test_compression_at_full_rank_is_the_net(seed, rank):
    _, net, params, x, time = trained(seed)
    small, factors, _ = compress(net, params, rank)
    assert small == replace(net, rank=rank)
    for a, b in zip(apply(net, params, x, time)[0], apply(small, factors, x, time)[0], strict=True):
        # svd of matrices of norm below 10 to a few eps, through four layers
        assert np.max(np.abs(a - b)) < 1e-12


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), rank=st.integers(1, 8))
def test_compression_is_the_best_approximation_of_its_rank(seed, rank):
    rng, net, params, x, time = trained(seed)
    small, factors, values = compress(net, params, rank)
    matrices = {"in/cos", "in/v", *(key for key in params if key.endswith("weight"))}
    assert set(values) == matrices
    for key in matrices:
        base = key.removesuffix("/weight")
        product, s = factors[f"{base}/left"] @ factors[f"{base}/right"], values[key]
        assert factors[f"{base}/left"].shape == (len(params[key]), min(rank, *params[key].shape))
        # Eckart-Young: the squared error is the sum of the squares left out
        error = np.sum((params[key] - product) ** 2)
        assert abs(error - np.sum(s[rank:] ** 2)) < 1e-13 * np.sum(s**2)
        assert abs(np.sum(s**2) - np.sum(params[key] ** 2)) < 1e-13 * np.sum(s**2)
        fraction = explained_variance(s)
        assert abs(np.sum(fraction) - 1) < 1e-14
        assert abs(1 - error / np.sum(params[key] ** 2) - np.sum(fraction[:rank])) < 1e-12
    assert all(factors[key] is params[key] for key in params if key not in matrices)
    expected = init(small, rng, {name: array.shape[1:] for name, array in x.items()}, (2, 2, 3), True)
    assert {key: a.shape for key, a in factors.items()} == {key: a.shape for key, a in expected.items()}
    outputs, cache = apply(small, factors, x, time)
    for a, b in zip(outputs, definition(small, factors, x, time), strict=True):
        assert np.max(np.abs(a - b)) < 1e-12
    grads, _ = pullback(small, factors, cache, Outputs(*outputs))
    assert set(grads) == set(factors)


def test_explained_variance_by_hand():
    assert np.allclose(explained_variance(np.array([2.0, 1.0])), [0.8, 0.2], rtol=1e-15)
    assert np.array_equal(explained_variance(np.zeros(3)), np.zeros(3))
    assert np.allclose(explained_variance(np.array([3e200, 4e200])), [0.36, 0.64], rtol=1e-15)


def test_compression_refuses_what_it_cannot_do():
    _, net, params, _, _ = trained(0)
    for rank in (0, 2.5):
        with pytest.raises(ValueError, match="rank"):
            compress(net, params, rank)
    small, factors, _ = compress(net, params, 2)
    with pytest.raises(ValueError, match="rank 2"):
        compress(small, factors, 2)
    with pytest.raises(ValueError, match="conv"):
        compress(Net("conv", filters=(2,)), params, 2)
    with pytest.raises(ValueError, match="one layer"):
        compress(net, {key: array[None] for key, array in params.items()}, 2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n_layers=st.integers(1, 3))
def test_files_give_back_what_they_got(seed, n_layers, tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "weights"
    rng, net, params, _, _ = trained(seed)
    stacked = {key: rng.standard_normal((n_layers, *array.shape)) for key, array in params.items()}
    meta = {"net": asdict(net), "beta": 4.0, "history": [1, None, "a"]}
    save(path, stacked, meta)
    loaded, again = load(path, {key: array.shape for key, array in stacked.items()})
    assert list(loaded) == list(stacked)
    assert all(np.array_equal(loaded[key], stacked[key]) for key in stacked)
    assert all(loaded[key].dtype == np.float64 for key in stacked)
    assert Net(**again.pop("net")) == net
    assert again == {"beta": 4.0, "history": [1, None, "a"]}
    assert os.listdir(path.parent) == ["weights"]


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    save(path, {"a": np.ones(2)}, {})
    for params, meta, message in (
        ({"a": np.ones(2, dtype=np.float32)}, {}, "params\\['a'\\]: got float32"),
        ({"a": np.array(["1"])}, {}, "params\\['a'\\]: got <U1"),
        ({"a": np.array([np.nan])}, {}, "params\\['a'\\]"),
        ({"header": np.ones(1)}, {}, "params\\['header'\\]"),
        ({"a": np.zeros(2)}, {"f": print}, "meta"),
        ({"a": np.zeros(2)}, {"x": float("nan")}, "meta"),
    ):
        with pytest.raises(ValueError, match=message):
            save(path, params, meta)

    def full_disk(*args):
        raise OSError("no space left")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full_disk)
            with pytest.raises(OSError, match="no space"):
                save(path, {"a": np.zeros(2)}, {})
    assert np.array_equal(load(path)[0]["a"], np.ones(2))
    assert os.listdir(tmp_path) == ["weights.npz"]


def header(shapes, form="refimpl-nets-1"):
    return np.array(json.dumps({"format": form, "shapes": shapes, "meta": {}}))


BAD_FILES = {
    "no header": ({"a": np.ones(2)}, "key 'header': got no such key"),
    "header of numbers": ({"header": np.ones(2)}, "key 'header': got float64"),
    "header not JSON": ({"header": np.array("{")}, "key 'header'.*expected JSON"),
    "header a list": ({"header": np.array("[]")}, "key 'header'"),
    "other format": ({"header": header({}, "other-9")}, "got format 'other-9', expected 'refimpl-nets-1'"),
    "no shapes": ({"header": np.array('{"format": "refimpl-nets-1", "meta": {}}')}, "expected objects 'shapes'"),
    "lost array": ({"header": header({"a": [2]})}, "key 'a': got no such key, expected an array of shape \\(2,\\)"),
    "cut array": (
        {"a": np.ones(1), "header": header({"a": [2]})},
        "key 'a': got float64 of shape \\(1,\\), expected .*\\(2,\\)",
    ),
    "single precision": ({"a": np.ones(2, "f4"), "header": header({"a": [2]})}, "key 'a': got float32 of shape"),
    "not finite": (
        {"a": np.array([1, np.inf]), "header": header({"a": [2]})},
        "key 'a': got values that are not finite",
    ),
    "one too many": (
        {"a": np.ones(2), "b": np.ones(3), "header": header({"a": [2]})},
        "key 'b': got an array of shape \\(3,\\)",
    ),
    "pickled": ({"a": np.array([{}], dtype=object), "header": header({"a": [1]})}, "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_foreign_files_are_refused(name, tmp_path):
    arrays, message = BAD_FILES[name]
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.npz"
    _, _, params, _, _ = trained(0)
    save(path, params, {})
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    cases = [b"", b"weights", good[:-1], good[: len(good) // 2], good[10:]]
    cases += [np.lib.format.MAGIC_PREFIX + b"\x01\x00", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', }"]
    for data in cases:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"net\.npz: got a file that cannot be read"):
            load(path)
    for place in rng.integers(0, len(good), 40):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :])
        # some bytes say nothing, as the date of a member
        with contextlib.suppress(ValueError):
            loaded, _ = load(path)
            assert all(np.array_equal(loaded[key], params[key]) for key in params)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path / "array.npy")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.npz")


def test_the_shapes_a_caller_needs_are_named(tmp_path):
    path = tmp_path / "net.npz"
    save(path, {"a": np.ones(2)}, {})
    for shapes, message in (
        ({"a": (3,)}, "key 'a': got float64 of shape \\(2,\\), expected float64 of shape \\(3,\\) \\(the caller\\)"),
        ({"a": (2,), "b": (1,)}, "key 'b': got no such key"),
        ({}, "key 'a': got an array of shape \\(2,\\), expected none"),
    ):
        with pytest.raises(ValueError, match=message):
            load(path, shapes)
