"""Priors, flows, chains of layers, and their files."""

import json
import math
import zipfile
from dataclasses import replace

import autograd
import numpy as np
import pytest
from scipy import stats

from refimpl import exact, nets, observables
from refimpl.chains.description import description
from refimpl.maps import Chain, Inverse
from refimpl.maps.base import check_params
from refimpl.maps.coupling import affine_chain
from refimpl.maps.decimation import Decimation
from refimpl.maps.holonomy import Holonomy
from refimpl.maps.plaquette_coupling import PlaquetteCoupling
from refimpl.maps.projections import ProjectionMixture
from refimpl.maps.sun_coupling import spectral_chain
from refimpl.models import Flow, Haar, Normal, PureGauge, UniformAngles, files, load, save

from .flow_layers import Diagonal, Knobs, Squeeze

PRIORS = {
    "normal": Normal((3, 2)),
    "uniform": UniformAngles((2, 3)),
    "haar": Haar(3, (2, 3)),
    "gauge": PureGauge(1.3, (2, 3)),
    "gauge su2": PureGauge(1.3, (2, 3), 2),
}


@pytest.fixture
def known(monkeypatch):
    """The classes of these tests, known to files."""
    for cls in (Diagonal, Squeeze, Knobs):
        monkeypatch.setitem(files.CLASSES, cls.__name__, cls)


def rngs(n, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(n)]


def scalar_chain(seed=0, layers=3, size=0.4):
    rng = np.random.default_rng(seed)
    return Chain([Diagonal.init(rng, (2, 2), size) for _ in range(layers)])


# --- priors -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_a_field_has_the_same_bits_whatever_is_drawn_with_it(prior):
    together = prior.sample(rngs(4), 4)
    assert together.shape == (4, *prior.field_shape)
    for i in range(4):
        assert np.array_equal(prior.sample([rngs(4)[i]], 1)[0], together[i])
    assert prior.sample(np.random.default_rng(0), 5).shape == (5, *prior.field_shape)
    assert prior.log_prob(together).shape == (4,)


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_one_generator_per_field_or_one_for_all(prior):
    with pytest.raises(ValueError, match=r"rngs?: got 3 generators"):
        prior.sample(rngs(3), 4)
    with pytest.raises(ValueError, match="n: got 0"):
        prior.sample(np.random.default_rng(0), 0)


@pytest.mark.parametrize("name", PRIORS)
def test_fields_of_another_lattice_are_refused(name):
    other = {**PRIORS, "normal": Normal((2, 2)), "uniform": UniformAngles((2, 2)), "haar": Haar(2, (2, 3))}
    other |= {"gauge": PureGauge(1.3, (2, 4)), "gauge su2": PureGauge(1.3, (3, 3), 2)}
    with pytest.raises(ValueError, match="x: got"):
        PRIORS[name].log_prob(other[name].sample(np.random.default_rng(0), 2))


def test_the_normal_prior_is_normalised():
    x = np.random.default_rng(0).normal(0, 2, (5, 3, 2))
    np.testing.assert_allclose(Normal((3, 2)).log_prob(x), stats.norm.logpdf(x).sum(axis=(1, 2)), rtol=1e-14)
    drawn = Normal((3, 2)).sample(np.random.default_rng(1), 4000)
    # six times 4000 normal numbers: the p-value is uniform, and known
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3


def test_uniform_priors_have_the_volume_of_their_group():
    x = UniformAngles((2, 3)).sample(np.random.default_rng(0), 3000)
    assert math.isclose(math.exp(-UniformAngles((2, 3)).log_prob(x)[0] / 12), 2 * np.pi, rel_tol=1e-14)
    assert stats.kstest(x.ravel(), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    assert np.array_equal(Haar(2, (2, 2)).log_prob(Haar(2, (2, 2)).sample(np.random.default_rng(0), 3)), np.zeros(3))


@pytest.mark.parametrize(("n", "flat"), [(1, UniformAngles((2, 2))), (2, Haar(2, (2, 2))), (3, Haar(3, (2, 2)))])
def test_pure_gauge_theory_is_normalised_and_drawn_at_its_beta(n, flat):
    prior, draws = PureGauge(0.7, (2, 2), n), 4000
    x = flat.sample(np.random.default_rng(n), draws)
    w = np.exp(prior.log_prob(x) - flat.log_prob(x))
    assert abs(w.mean() - 1) < 5 * w.std() / math.sqrt(draws)
    assert w.std() < 1.5  # or the error would mean little
    p = observables.mean_plaquette(prior.sample(np.random.default_rng(n), draws))
    expected = exact.u1.plaquette(0.7, (2, 2)) if n == 1 else exact.sun.plaquette(0.7, (2, 2), n)
    assert abs(p.mean() - expected) < 5 * p.std() / math.sqrt(draws)


def test_bad_priors_are_refused():
    for make in (Normal, UniformAngles, lambda shape: Haar(2, shape), lambda shape: PureGauge(1.0, shape)):
        with pytest.raises(ValueError, match="shape"):
            make((4, 1))
    with pytest.raises(ValueError, match="beta"):
        PureGauge(-1.0, (2, 2))
    with pytest.raises(ValueError, match="n: got 0"):
        PureGauge(1.0, (2, 2), 0)


# --- maps -------------------------------------------------------------------------------------------------------------
def test_the_first_layer_of_a_chain_acts_first():
    chain = Chain(
        [
            Diagonal((2, 2), {"s": np.full((2, 2), math.log(s)), "t": np.full((2, 2), t)})
            for s, t in ((2.0, 1.0), (3.0, 5.0))
        ]
    )
    y, logdet = chain.forward(np.ones((1, 2, 2)))
    assert np.allclose(y, 3 * (2 * 1 + 1) + 5, rtol=1e-14)
    assert np.allclose(logdet, 4 * math.log(6), rtol=1e-14)


@pytest.mark.parametrize("angular", [False, True])
def test_a_chain_is_its_definition_and_its_pullback_the_gradient(angular):
    rng = np.random.default_rng(3)
    chain = Chain([Squeeze.init(rng, (2, 2), 0.4) for _ in range(3)]) if angular else scalar_chain()
    x = 0.9 * (UniformAngles((2, 2)) if angular else Normal((2, 2))).sample(rng, 2)
    y, logdet, pull = chain.forward_with_pullback(x)
    assert all(np.array_equal(a, b) for a, b in zip(chain.forward(x), (y, logdet), strict=True))
    jacobian = autograd.jacobian(lambda one: chain.definition(chain.params, one)[0].reshape(-1))(x[:1])
    assert math.isclose(np.linalg.slogdet(jacobian.reshape(y[0].size, -1))[1], logdet[0], rel_tol=1e-12)
    g_y, g_logdet = rng.standard_normal(y.shape), rng.standard_normal(2)

    def scalar(params, x):
        end, total = chain.definition(params, x)
        return (end * g_y).sum() + (total * g_logdet).sum()

    g_x, grads = pull(g_y, g_logdet)
    np.testing.assert_allclose(g_x, autograd.grad(scalar, 1)(chain.params, x), rtol=1e-12, atol=1e-13)
    expected = autograd.grad(scalar, 0)(chain.params, x)
    assert grads.keys() == expected.keys() == chain.params.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(grads[key], value, rtol=1e-12, atol=1e-13)


def test_inverses_go_back():
    chain, x = scalar_chain(), Normal((2, 2)).sample(np.random.default_rng(0), 3)
    y, logdet = chain.forward(x)
    back, other = chain.inverse(y)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-14)
    np.testing.assert_allclose(other, -logdet, rtol=1e-14)
    inverse = Inverse(chain)
    assert all(np.array_equal(a, b) for a, b in zip(inverse.forward(y), (back, other), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(inverse.inverse(x), (y, logdet), strict=True))


def test_parameters_of_other_layers_are_refused():
    chain = scalar_chain(layers=2)
    params = chain.params
    assert np.array_equal(
        chain.with_params({**params, "1/s": np.zeros((2, 2))}).layers[1].params["s"], np.zeros((2, 2))
    )
    for bad, message in [
        ({**params, "2/s": np.zeros((2, 2))}, "'2/s', expected <layer>/<key> with layers 0 to 1"),
        ({**params, "s": np.zeros((2, 2))}, "'s', expected <layer>"),
        ({**params, "1/u": np.zeros((2, 2))}, "differ in 'u'"),
        ({key: value for key, value in params.items() if key != "0/t"}, "differ in 't'"),
        (
            {**params, "1/s": np.zeros((2, 3))},
            r"'s'\]: got float64 of shape \(2, 3\), expected float64 of shape \(2, 2\)",
        ),
        ({**params, "1/s": np.zeros((2, 2), np.float32)}, "got float32"),
    ]:
        with pytest.raises(ValueError, match=message):
            chain.with_params(bad)
    with pytest.raises(ValueError, match=r"'a'\]: got 3"):
        check_params({"a": 3}, {"a": ()})


# --- flows ------------------------------------------------------------------------------------------------------------
def test_a_flow_is_normalised():
    rng = np.random.default_rng(1)
    flow = Flow(UniformAngles((2, 2)), Chain([Squeeze.init(rng, (2, 2), 0.5), Squeeze.init(rng, (2, 2), 0.5)]))
    # Links are independent: integrate along one of them, by the trapezoidal rule, exact for a periodic analytic density.
    x = np.tile(flow.prior.sample(rng, 1), (400, 1, 1, 1))
    x[:, 1, 0, 1] = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    others = Flow(
        flow.prior,
        flow.map.with_params(
            {key: np.where(np.arange(8).reshape(2, 2, 2) == 5, 0, value) for key, value in flow.map.params.items()}
        ),
    )
    marginal = np.exp(flow.log_prob(x) - others.log_prob(x)) / (2 * np.pi)
    assert math.isclose(marginal.mean() * 2 * np.pi, 1, rel_tol=1e-12)
    assert marginal.std() > 0.01


def test_samples_have_the_density_they_are_given():
    flow = Flow(Normal((2, 2)), scalar_chain())
    x, log_prob = flow.sample(np.random.default_rng(0), 50)
    np.testing.assert_allclose(flow.log_prob(x), log_prob, rtol=1e-12)
    s = sum(layer.params["s"] for layer in flow.map.layers)
    mean = np.zeros((2, 2))
    for layer in flow.map.layers:
        mean = np.exp(layer.params["s"]) * mean + layer.params["t"]
    np.testing.assert_allclose(log_prob, stats.norm.logpdf(x, mean, np.exp(s)).sum(axis=(1, 2)), rtol=1e-12)


def test_a_flow_proposes():
    flow = Flow(Normal((2, 2)), scalar_chain())
    y, s_q = flow.draw(rngs(3))
    np.testing.assert_allclose(flow.action(y), s_q, rtol=1e-12)
    assert np.array_equal(y[1], flow.draw(rngs(3)[1:2])[0][0])
    assert flow.field_shape == (2, 2)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (Chain, ([1],), r"layers\[0\]: got 1, expected a map"),
        (Chain, ([Chain(()), Chain],), r"layers\[1\]: got <class"),
        (Inverse, (None,), "of: got None, expected a map"),
        (Flow, (None, Chain(())), "prior: got None, expected one with sample and log_prob"),
        (Flow, (Normal((2, 2)), None), "map: got None, expected a map"),
        (Flow, (Normal, Chain(())), "prior: got <class"),
    ],
)
def test_what_is_no_map_and_no_prior_is_refused_when_it_is_given(cls, arguments, message):
    with pytest.raises(TypeError, match=message):
        cls(*arguments)


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_what_is_no_generator_is_refused(prior):
    flow = Flow(prior, Chain([]))
    with pytest.raises(TypeError, match=r"rngs\[1\]: got 2, expected a numpy.random.Generator"):
        flow.sample([np.random.default_rng(0), 2], 2)
    with pytest.raises(TypeError, match="n: got True, expected an integer"):
        flow.sample(np.random.default_rng(0), True)
    with pytest.raises(ValueError, match="rngs: got 3, expected a list of generators"):
        flow.sample(3, 1)
    with pytest.raises(ValueError, match=r"n: got 1\.5"):
        flow.sample(np.random.default_rng(0), 1.5)


@pytest.mark.parametrize("name", ["phi4", "holonomy"])
def test_fields_as_lists_are_fields(name):
    rng = np.random.default_rng(0)
    layer, shape = (
        (affine_chain(rng, 2, (3,)), (2, 4, 4)) if name == "phi4" else (Holonomy.init(rng, (4, 4), 0), (2, 2, 4, 4))
    )
    x = rng.uniform(-1, 1, shape)
    for one in (layer.forward, layer.inverse, lambda x: layer.forward_with_pullback(x)[:2]):
        for mine, theirs in zip(one(x.tolist()), one(x), strict=True):
            assert np.array_equal(mine, theirs)


# --- files ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_priors_survive_files(tmp_path, prior):
    save(tmp_path / "f.npz", Flow(prior, Chain([])), {})
    assert load(tmp_path / "f.npz")[0].prior == prior


def test_flows_survive_files(tmp_path, known):
    rng = np.random.default_rng(0)
    layers = [
        Diagonal.init(rng, (2, 2)),
        replace(Diagonal.init(rng, (2, 2)), knobs=Knobs(np.int64(7), ("x",), ((5, 6),))),
        Inverse(Chain([Diagonal.init(rng, (2, 2)), Diagonal.init(rng, (2, 2))])),
    ]
    flow = Flow(Normal((2, 2)), Chain(layers))
    save(tmp_path / "f.npz", flow, {"note": [1, "two"]})
    again, meta = load(tmp_path / "f.npz")
    assert meta == {"note": [1, "two"]}
    assert again.map.layers[1].knobs == Knobs(7, ("x",), ((5, 6),))
    assert again.map.layers[1].shape == (2, 2)
    x, log_prob = flow.sample(np.random.default_rng(1), 4)
    for one, other in zip(again.sample(np.random.default_rng(1), 4), (x, log_prob), strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(again.log_prob(x), flow.log_prob(x))


def test_a_single_layer_and_an_unwrapped_inverse_survive_files(tmp_path, known):
    layer = Squeeze.init(np.random.default_rng(0), (2, 2))
    for of in (layer, Inverse(layer)):
        save(tmp_path / "f.npz", Flow(UniformAngles((2, 2)), of), {})
        x = load(tmp_path / "f.npz")[0].sample(np.random.default_rng(1), 2)[0]
        assert np.array_equal(x, Flow(UniformAngles((2, 2)), of).sample(np.random.default_rng(1), 2)[0])


def test_what_cannot_be_written_is_refused(tmp_path):
    layer = Diagonal.init(np.random.default_rng(0), (2, 2))
    with pytest.raises(
        ValueError, match=r"map.layers\[1\]: got Diagonal\(.*expected numbers, strings, lists, or one of"
    ):
        save(tmp_path / "f.npz", Flow(Normal((2, 2)), Chain([Inverse(Chain([])), layer])), {})
    assert list(tmp_path.iterdir()) == []


def rewritten(path, change):
    """The file with another record, or other arrays."""
    arrays, record = nets.load(path)
    change(arrays, record)
    nets.save(path, arrays, record)


def nested(levels):
    inner = []
    for _ in range(levels):
        inner = [inner]
    return inner


def first(record):
    """Of the first layer."""
    return record["map"]["layers"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, r: r.update(kind="l2hmc"), "got a file of kind 'l2hmc', expected 'flow'"),
        (lambda a, r: r.pop("prior"), "no 'prior'"),
        (lambda a, r: first(r).update({"class": "os.system"}), "the class 'os.system', expected one of Normal"),
        (lambda a, r: first(r).update(shape=[2, 4]), r"float64 of shape \(2, 2\), expected float64 of shape \(2, 4\)"),
        (lambda a, r: first(r).update(colour=3), "unexpected keyword argument 'colour'"),
        (lambda a, r: r["map"]["layers"].pop(), "expected <layer>/<key> with layers 0 to 0"),
        (lambda a, r: a.pop("1/s"), "differ in 's'"),
        (lambda a, r: r.update(map=r["prior"]), r"parameters \['0/s'.* of Normal, expected none"),
        (lambda a, r: r["prior"].update(shape=[2, 0]), "shape: got extent X = 0"),
        (lambda a, r: r.update(map="Chain"), "the map 'Chain'"),
        (lambda a, r: r["map"]["layers"].__setitem__(0, None), "the map None"),
        (lambda a, r: r["map"]["layers"].__setitem__(0, "x"), "the map 'x'"),
        (lambda a, r: r["map"].update(layers=None), "the layers None, expected a list"),
        (lambda a, r: r["map"]["layers"].append(r["prior"]), r"the map Normal\("),
        (lambda a, r: r.update(map={"class": "Inverse", "of": r["prior"]}), r"parameters \['0/s'"),
        (lambda a, r: r.update(prior={"class": "Chain", "layers": []}), "the prior Chain"),
        (lambda a, r: r["prior"].update(shape=nested(900)), "too many levels"),
    ],
)  # fmt: skip
def test_weights_of_another_architecture_are_refused(tmp_path, known, change, message):
    path = tmp_path / "f.npz"
    save(path, Flow(Normal((2, 2)), scalar_chain(layers=2)), {})
    rewritten(path, change)
    with pytest.raises(ValueError, match=rf"f.npz: .*{message}"):
        load(path)


def test_damaged_and_missing_files(tmp_path, known):
    path = tmp_path / "f.npz"
    with pytest.raises(FileNotFoundError):
        load(path)
    save(path, Flow(Normal((2, 2)), scalar_chain(layers=2)), {})
    content = path.read_bytes()
    for cut in (0, 10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"f.npz: got a file that cannot be read"):
            load(path)
    np.savez(path, header=np.array(json.dumps({"format": "refimpl-nets-1"})))
    with pytest.raises(ValueError, match="header"):
        load(path)
    np.savez(path, header=np.array("[" * 100_000))
    with pytest.raises(ValueError, match=r"f.npz: key 'header': got '\[\[.*expected JSON"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"\x80\x04N.")  # a pickle
    with pytest.raises(ValueError, match=r"f.npz: key 'header': got 4 bytes, expected an array"):
        load(path)


RNG = np.random.default_rng(0)
FLOWS = {
    "u1": Flow(
        PureGauge(1.5, (4, 8)),
        Chain(
            (
                PlaquetteCoupling.init(
                    RNG, (4, 8), 3, pattern="tiles", hidden=(3, 4), dilations=(1, 2, 1), loops="across"
                ),
                Holonomy.init(RNG, (4, 8), 1, index=2, neurons=5, circle=ProjectionMixture(3)),
            )
        ),
    ),
    "decimation": Flow(UniformAngles((2, 3)), Decimation(1.5, (2, 3), "heat")),
    "phi4": Flow(Normal((4, 2)), affine_chain(RNG, 2, (3,), odd=True)),
    "su3": Flow(Haar(3, (4, 4)), spectral_chain(RNG, 3, (4, 4), 2, hidden=(2,), loops=False)),
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_layers_of_every_theory_survive_files(tmp_path, flow):
    save(tmp_path / "f.npz", flow, {})
    again = load(tmp_path / "f.npz")[0]
    for one, other in zip(again.sample(rngs(3), 3), flow.sample(rngs(3), 3), strict=True):
        assert np.array_equal(one, other)
    assert description(again) == description(flow)


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_proposal_has_the_same_bits_whatever_is_drawn_with_it(flow):
    together, s_q = flow.draw(rngs(5))
    back = flow.action(together)
    for i in (0, 4):
        alone, own = flow.draw(rngs(5)[i : i + 1])
        assert np.array_equal(alone[0], together[i])
        assert own[0] == s_q[i]
        assert flow.action(together[i : i + 1])[0] == back[i]
    np.testing.assert_allclose(back, s_q, rtol=0, atol=1e-10)
