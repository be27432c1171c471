"""Joint models on disk: what comes back is what was written, and what is damaged is refused."""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import models, nets, theories, training
from refimpl.actions import Pseudofermion, hasenbusch
from refimpl.maps import Chain
from refimpl.maps.context import Context
from refimpl.maps.plaquette_coupling import PlaquetteCoupling
from refimpl.maps.pseudofermion_layer import PseudofermionLayer
from refimpl.maps.sun_coupling import spectral_chain
from refimpl.models import Conditional, Flow, Haar, JointModel, PureGauge

SHAPE = (4, 4)


def joint(n=1, mus=(0.01, 0.1), even_odd=True, inflation=1.25, seed=0):
    """A small model, with layers of both kinds."""
    rng = np.random.default_rng(seed)
    if n == 1:
        coupling = PlaquetteCoupling.init(rng, SHAPE, 1, hidden=(2,), last=1.0)
        marginal = Flow(PureGauge(1.5, SHAPE), Chain((coupling,)))
    else:
        marginal = Flow(Haar(n, SHAPE), spectral_chain(rng, n, SHAPE, 1, hidden=(2,), last=1.0))

    def layer(index, **options):
        return PseudofermionLayer.init(rng, SHAPE, index, even_odd=even_odd, colours=n, hidden=3, **options)

    conditionals = [
        Conditional(monomial, (layer(1, n_pt=3, features=1), layer(0, partition="spin", n_pt=2)))
        for monomial in hasenbusch(0.2, mus, even_odd=even_odd, n=n)
    ]
    return JointModel(marginal, Context.init(rng, (2, 3)), tuple(conditionals), inflation)


def rngs(n):
    return [np.random.default_rng([7, i]) for i in range(n)]


MODELS = {
    "u1": {},
    "one monomial": {"mus": ()},
    "plain": {"even_odd": False, "inflation": (1.1, 1.0, 1.3)},
    "su2": {"n": 2},
    "su3": {"n": 3, "mus": (0.3,)},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_joint_models_survive_files(tmp_path, options):
    model = joint(**options)
    models.save_joint(tmp_path / "j.npz", model, {"note": [1, "two"]})
    again, meta = models.load_joint(tmp_path / "j.npz")
    assert meta == {"note": [1, "two"]}
    assert again.monomials == model.monomials
    assert again.inflation == model.inflation
    assert again.params.keys() == model.params.keys()
    for one, other in zip(again.sample(rngs(2), 2), model.sample(rngs(2), 2), strict=True):
        assert np.array_equal(one, other)


def test_every_monomial_has_an_inflation_of_its_own():
    model, rng = joint(), np.random.default_rng(0)
    x, chi = model.marginal.sample(rng, 2)[0], model.noise(rng, 2)
    own = (1.5, 1.0, 0.7)
    phi, logdet = model.inflated(own).forward(x, chi)
    for m, c in enumerate(own):
        alone, its = model.inflated(c).forward(x, chi)
        assert np.array_equal(phi[:, m], alone[:, m])
        assert np.array_equal(logdet[:, m], its[:, m])
        dense, of_dense = model.inflated(own).dense(x)[m]
        one, of_one = model.inflated(c).dense(x)[m]
        assert np.array_equal(dense, one)
        assert np.array_equal(of_dense, of_one)
    back, other = model.inflated(own).inverse(x, phi)
    np.testing.assert_allclose(back, chi, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other, -logdet, rtol=1e-12)
    assert model.inflated((1.5, 1.5, 1.5)).inflation == 1.5
    assert model.inflated(1.5).inflations == (1.5, 1.5, 1.5)
    for wrong, message in (((1.0, 2.0), "inflation: got 2 numbers"), ((1.0, 0.0, 1.0), "inflation: got 0.0")):
        with pytest.raises(ValueError, match=message):
            model.inflated(wrong)


def test_files_have_the_keys_of_the_model(tmp_path):
    model = joint()
    models.save_joint(tmp_path / "j.npz", model, {})
    arrays, record = nets.load(tmp_path / "j.npz")
    assert record["kind"] == "joint"
    assert arrays.keys() == model.params.keys()
    for key in ("marginal/0/weight/0", "context/bias/1", "conditional/2/1/weight"):
        assert np.array_equal(arrays[key], model.params[key])


def test_what_cannot_be_written_is_refused(tmp_path):
    from .flow_layers import Diagonal

    model = joint()
    foreign = Flow(model.marginal.prior, Diagonal.init(np.random.default_rng(0), (2, 4, 4)))
    with pytest.raises(ValueError, match=r"map: got Diagonal\(.*expected numbers, strings, lists, or one of"):
        models.save_joint(tmp_path / "j.npz", JointModel(foreign, model.context, model.conditionals), {})
    broken = {key: value * np.inf if key == "context/weight/0" else value for key, value in model.params.items()}
    with pytest.raises(ValueError, match=r"(?s)params\['context/weight/0'\]: got float64.*expected finite"):
        models.save_joint(tmp_path / "j.npz", model.with_params(broken), {})
    assert list(tmp_path.iterdir()) == []


def rewritten(path, change):
    """The file with another record, or other arrays."""
    arrays, record = nets.load(path)
    change(arrays, record)
    nets.save(path, arrays, record)


def first(record):
    """Of the first layer of the first conditional."""
    return record["conditional"][0]["layers"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, r: r.update(kind="flow"), "got a file of kind 'flow', expected 'joint'"),
        (lambda a, r: r.pop("context"), "no 'context'"),
        (lambda a, r: r.pop("inflation"), "no 'inflation'"),
        (lambda a, r: r.update(inflation=0), "inflation: got 0, expected a finite number > 0"),
        (lambda a, r: r.update(inflation="2"), "inflation: got '2'"),
        (lambda a, r: r.update(inflation=[1, 2]), "inflation: got 2 numbers, expected 1 or 3, one for each monomial"),
        (lambda a, r: r.update(marginal=r["context"]), "no 'prior'"),
        (lambda a, r: r.update(context=r["marginal"]["prior"]), r"parameters \['bias/0'.* of PureGauge, expected none"),
        (lambda a, r: r["marginal"].update(prior=r["conditional"][0]["monomial"]), r"the prior Pseudofermion\("),
        (lambda a, r: first(r).update({"class": "os.system"}), "the class 'os.system', expected one of Normal"),
        (lambda a, r: first(r).update(colour=3), "unexpected keyword argument 'colour'"),
        (lambda a, r: first(r).update(params=None), "params of PseudofermionLayer, expected them among the arrays"),
        (lambda a, r: first(r).update(n_pt=4), r"params\['weight'\]: got float64 of shape .* expected"),
        (lambda a, r: first(r).update(hidden=10**9), r"the number 1e\+09, expected at most 1048576"),
        (lambda a, r: r["marginal"]["prior"].update(shape=[2**13, 2**13]), r"fields \(2, 8192, 8192\), expected at most"),
        (lambda a, r: r["conditional"][0]["layers"].__setitem__(0, r["marginal"]["prior"]), r"parameters \['bias', 'weight'\]"),
        (lambda a, r: r["conditional"][0]["layers"].__setitem__(0, 3), "3, expected a PseudofermionLayer"),
        (lambda a, r: r["conditional"][0].update(layers={}), "the layers {}, expected a list"),
        (lambda a, r: r["conditional"][0].update(monomial=[]), r"\(\), expected a Pseudofermion"),
        (lambda a, r: r["conditional"][1]["monomial"].update(mu=0.02), r"expected \(0, mu_1\)"),
        (lambda a, r: r["conditional"][2]["monomial"].update(kappa=0.21), "expected one operator"),
        (lambda a, r: r["conditional"].pop(), "expected <layer>/<key> with layers 0 to 1"),
        (lambda a, r: r.update(conditional="x"), "the layers 'x', expected a list"),
        (lambda a, r: a.pop("conditional/1/0/bias"), "differ in 'bias'"),
        (lambda a, r: a.update({"other/1": a["context/bias/0"]}), r"the key 'other/1', expected one that begins with marginal/"),
        (lambda a, r: a.update({"context": a["context/bias/0"]}), "the key 'context', expected one"),
        (lambda a, r: a.update({"marginal/0/bias/0": np.zeros(3)}), r"float64 of shape \(3,\)"),
        (lambda a, r: r.pop("meta"), "no 'meta'"),
    ],
)  # fmt: skip
def test_models_of_another_make_are_refused(tmp_path, change, message):
    path = tmp_path / "j.npz"
    models.save_joint(path, joint(), {})
    rewritten(path, change)
    with pytest.raises(ValueError, match=rf"j.npz: .*{message}"):
        models.load_joint(path)


def test_flows_and_joint_models_are_not_taken_for_each_other(tmp_path):
    path = tmp_path / "j.npz"
    models.save(path, joint().marginal, {})
    with pytest.raises(ValueError, match=r"j.npz: got a file of kind 'flow', expected 'joint'"):
        models.load_joint(path)
    models.save_joint(path, joint(), {})
    with pytest.raises(ValueError, match=r"j.npz: got a file of kind 'joint', expected 'flow'"):
        models.load(path)


def test_missing_and_too_large_files(tmp_path, monkeypatch):
    path = tmp_path / "j.npz"
    with pytest.raises(FileNotFoundError):
        models.load_joint(path)
    models.save_joint(path, joint(), {})
    size = path.stat().st_size
    monkeypatch.setattr(nets.files, "LARGEST", size // 2)
    with pytest.raises(ValueError, match=r"j.npz: got a file that cannot be read \(\d+ bytes of arrays are too many\)"):
        models.load_joint(path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file, its arrays, its record, its bytes."""
    path = tmp_path_factory.mktemp("files") / "j.npz"
    models.save_joint(path, joint(mus=(0.1,)), {})
    return path, *nets.load(path), path.read_bytes()


def loads_or_is_refused(path):
    """The model in a file, or None where a `ValueError` names the file."""
    refusal = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return models.load_joint(path)[0]
        except ValueError as error:
            refusal = str(error)
    assert refusal.startswith(f"{path}: ")
    return None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused(written, data):
    path, arrays, _, content = written
    damaged = bytearray(content)
    if data.draw(st.booleans(), "cut"):
        del damaged[data.draw(st.integers(0, len(content) - 1), "at") :]
    else:
        at = data.draw(st.integers(0, len(content) - 1), "at")
        damaged[at] ^= data.draw(st.integers(1, 255), "flip")
    path.write_bytes(damaged)
    model = loads_or_is_refused(path)
    if model is not None:  # bytes that no checksum of the archive covers, as its dates
        assert all(np.array_equal(value, arrays[key]) for key, value in model.params.items())


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from([10**4, 2**20, 2**31, 2**63, 10**40, 1e308, -1e-308]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from(list(models.records.CLASSES)),
    st.lists(st.integers(-1, 5), max_size=4),
    st.dictionaries(st.sampled_from(["class", "params", "shape"]), st.sampled_from(["Haar", "Chain", 2]), max_size=2),
)


def places(record, here=()):
    """The paths to everything in a record."""
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in items:
        yield (*here, key)
        yield from places(value, (*here, key))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_foreign_records_are_refused_or_make_a_model(written, data):
    path, arrays, original, _ = written
    record = copy.deepcopy(original)
    for _ in range(data.draw(st.integers(1, 2), "changes")):
        *above, last = data.draw(st.sampled_from(list(places(record))), "place")
        inside = record
        for key in above:
            inside = inside[key]
        if data.draw(st.booleans(), "remove"):
            del inside[last]
        else:
            inside[last] = data.draw(VALUES, "value")
    nets.save(path, arrays, record)
    model = loads_or_is_refused(path)
    assert model is None or all(isinstance(monomial, Pseudofermion) for monomial in model.monomials)


# --- checkpoints ------------------------------------------------------------------------------------------------------
def test_checkpoints_survive_files(tmp_path):
    checkpoint = training.start_joint(joint(), training.JointRecipe(seed=3))
    training.save_joint_checkpoint(tmp_path, checkpoint)
    again = training.load_joint_checkpoint(tmp_path, joint())
    assert training.load_joint_checkpoint(tmp_path).history.shape == again.history.shape
    assert (again.step, again.rng_state) == (0, checkpoint.rng_state)
    for name in ("weights", "average", "history"):
        assert np.array_equal(getattr(again, name), getattr(checkpoint, name))
    assert again.adam.steps == 0
    assert np.array_equal(again.adam.second["all"], checkpoint.adam.second["all"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, m: m.update(kind="training of a flow"), "kind 'training of a flow', expected 'training of a joint model'"),
        (lambda a, m: m.pop("rng"), r"KeyError\('rng'\), expected the checkpoint of a joint model's training"),
        (lambda a, m: m.update(rng={"bit_generator": "MT19937"}), "record with ValueError"),
        (lambda a, m: m["rng"]["state"].update(inc="x"), "record with"),
        (lambda a, m: m["rng"]["state"].update(state=-1), "record with OverflowError"),
        (lambda a, m: m.update(step=-1), "step: got -1"),
        (lambda a, m: m.update(step=2), "expected one and 2 rows"),
        (lambda a, m: a.pop("first"), r"KeyError\('first'\)"),
        (lambda a, m: a.update(average=np.zeros(3)), r"'average': \(3,\).*expected one and 0 rows"),
        (lambda a, m: a.update(history=np.zeros((0, 1))), r"history \(0, 1\), expected one"),
    ],
)  # fmt: skip
def test_checkpoints_that_are_none_are_refused(tmp_path, change, message):
    training.save_joint_checkpoint(tmp_path, training.start_joint(joint(), training.JointRecipe()))
    rewritten(tmp_path / "checkpoint.npz", change)
    with pytest.raises(ValueError, match=rf"checkpoint.npz: .*{message}"):
        training.load_joint_checkpoint(tmp_path, joint())


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"checkpoint.npz: got no such file, expected the checkpoint of a joint model's"
    ):
        training.load_joint_checkpoint(tmp_path)


# --- trained models ---------------------------------------------------------------------------------------------------
def test_a_trained_model_has_its_theory_and_recipe(tmp_path):
    model, theory = joint(), theories.schwinger(1.5, 0.2, SHAPE)
    recipe = training.JointRecipe(
        steps=7, rate=training.Rate(1e-3, "cosine", every=7), clip=None, chi="sampled", inflation=(1.1,), n_pf=(3,)
    )
    training.save_joint(tmp_path, model, theory, recipe)
    again, own, recipe_too = training.load_joint(tmp_path)
    assert (own.name, own.parameters, recipe_too) == ("schwinger", theory.parameters, recipe)
    assert again.params.keys() == model.params.keys()
    with pytest.raises(
        ValueError, match=r"weights.npz: got a joint model for schwinger with links \(2, 4, 4\), expected su2"
    ):
        training.load_joint(tmp_path, theories.su2(1.5, SHAPE, 0.2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, r: r["meta"].pop("theory"), r"record with KeyError\('theory'\), expected a joint model with its theory"),
        (lambda a, r: r["meta"]["theory"].update(name="qcd"), "record with ValueError"),
        (lambda a, r: r["meta"]["theory"]["parameters"].update(kappa=0.1), "of another theory than .*: theory: got an action"),
        (lambda a, r: [m["monomial"].update(antiperiodic=False) for m in r["conditional"]], "antiperiodic=False"),
        (lambda a, r: r["meta"]["theory"]["parameters"].update(shape=[4, 8]), "of another theory than .*: theory: got fields"),
        (lambda a, r: r["meta"]["recipe"].update(steps=0), "steps: got 0"),
        (lambda a, r: r["meta"]["recipe"].update(mass=1), "record with ValueError"),
        (lambda a, r: r["meta"].update(recipe=[]), "record with"),
    ],
)  # fmt: skip
def test_trained_models_with_another_theory_or_recipe_are_refused(tmp_path, change, message):
    training.save_joint(tmp_path, joint(), theories.schwinger(1.5, 0.2, SHAPE), training.JointRecipe())
    rewritten(tmp_path / "weights.npz", change)
    with pytest.raises(ValueError, match=rf"weights.npz: .*{message}"):
        training.load_joint(tmp_path)


# --- plans ------------------------------------------------------------------------------------------------------------
def test_plans_make_the_models_of_the_paper():
    theory = theories.schwinger(2.0, 0.265, SHAPE)
    model = training.joint_plan(theory).model(theory)
    assert [(m.mu, m.mu_next) for m in model.monomials] == [(0, 0.001), (0.001, 0.01), (0.01, 0.05), (0.05, None)]
    layers = [layer for one in model.conditionals for layer in one.layers]
    assert {layer.params["weight"].shape for layer in layers} == {(248, 16, 3, 3)}  # app. B2: N_o, N_hidden
    plain = training.joint_plan(theory, even_odd=False, mus=(), layers=(3,)).model(theory)
    assert [layer.params["weight"].shape for layer in plain.conditionals[0].layers] == [(128, 16, 3, 3)] * 3
    theory = theories.su3(6.0, SHAPE, 0.265)
    model = training.joint_plan(theory).model(theory)
    assert [(m.mu, m.mu_next) for m in model.monomials] == [(0, 0.3), (0.3, None)]
    outputs = [layer.params["weight"].shape[0] for layer in model.conditionals[1].layers[:4]]
    assert outputs == [808, 802, 808, 802]
    parts = [layer.parts.active.tolist() for layer in model.conditionals[1].layers[:4]]
    assert len({tuple(part) for part in parts}) == 4  # every part moves


def test_models_of_a_plan_have_the_bits_of_its_seed():
    theory = theories.schwinger(2.0, 0.2, SHAPE)
    plan = training.joint_plan(theory, mus=(), layers=(1,))
    one, same, other = (replace(plan, seed=seed).model(theory).params for seed in (1, 1, 2))
    assert all(np.array_equal(one[key], same[key]) for key in one)
    assert not np.array_equal(one["conditional/0/0/weight"], other["conditional/0/0/weight"])
    assert not np.array_equal(one["context/weight/0"], other["context/weight/0"])


def test_plans_of_other_theories_are_refused():
    for theory in (theories.u1(1.0, SHAPE), theories.su2(1.0, SHAPE)):
        with pytest.raises(ValueError, match="theory: got"):
            training.joint_plan(theory)
    theory = theories.schwinger(2.0, 0.2, SHAPE)
    plan = training.joint_plan(theory)
    for changes, message in (
        ({"mus": (0.2, 0.1), "layers": (1,)}, "mus: got 0.1"),
        ({"layers": (1, 2)}, "layers: got 2 numbers, expected 1 or 4"),
        ({"layers": (0,)}, "layers: got 0"),
        ({"partition": "half"}, "partition: got 'half'"),
        ({"n_pt": 1}, "n_pt: got 1, expected at least 2"),
        ({"features": 0}, "features: got 0"),
        ({"gain": 0}, "gain: got 0"),
        ({"recipe": training.JointRecipe(inflation=(1, 2))}, "inflation: got 2 numbers, expected 1 or 4"),
        ({"even_odd": 1}, "even_odd: got 1"),
        ({"positions": None}, "positions: got None"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(plan, **changes)
