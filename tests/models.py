"""Generalized leapfrogs for tests: small theories, every architecture, parameters in the regimes that matter."""

import numpy as np
from hypothesis import strategies as st

from refimpl import theories
from refimpl.maps.architecture import ENCODINGS, MASKS, Architecture, NetWeights
from refimpl.maps.l2hmc import GeneralizedLeapfrog
from refimpl.nets import Net

AS_TRAINED, HMC_WEIGHTS = NetWeights(), NetWeights(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
THEORIES = {
    "u1": theories.u1(3.0, (4, 4)),
    "o2": theories.o2(2.0, 6),
    "gaussian": theories.gaussian([[1.0, 0.3, 0.0], [0.3, 0.7, 0.1], [0.0, 0.1, 1.4]], [0.5, -0.2, 0.0]),
    "gmm": theories.gmm(covariances=(((0.5, 0.1), (0.1, 0.4)), ((0.3, 0.0), (0.0, 0.6)))),
}


def filled(rng, params, size=0.3):
    """Parameters moved off the start at random: outputs of the nets of about ``size``, step sizes by a tenth."""
    moved = {}
    for key, value in params.items():
        noise = rng.standard_normal(value.shape)
        if key.startswith("eps"):
            moved[key] = value * (1 + 0.1 * noise)
        elif key.endswith("norm/variance"):
            moved[key] = 0.5 + noise**2
        else:
            moved[key] = value + size * noise
    return moved


def start(theory, n, seed):
    """Exact configurations and normal momenta."""
    rng = np.random.default_rng(seed)
    x = theory.sample(rng, n)
    return x, rng.standard_normal(x.shape)


def build(theory, seed=0, size=0.3, step_size=0.15, merged=False, weights=AS_TRAINED, **architecture):
    """A map of the theory; ``size`` 0 leaves the nets as they start."""
    architecture = Architecture(theory.field_shape, theory.action.angular, **architecture)
    rng = np.random.default_rng(seed)
    params = architecture.init(rng, step_size)
    return GeneralizedLeapfrog(
        theory.action, architecture, filled(rng, params, size) if size else params, weights, merged
    )


@st.composite
def nets(draw, letters="stq", smooth=False):
    """No net, or one of any kind."""
    kind = draw(st.sampled_from([None, "scalars", "dense", "low rank", "conv", "dense conv", "stencil"]))
    if kind is None:
        return None
    outputs = "".join(draw(st.lists(st.sampled_from(letters), min_size=1, max_size=3, unique=True)))
    activation = draw(st.sampled_from(["tanh", "swish"] if smooth else ["relu", "tanh", "swish"]))
    options = {
        "scalars": {"kind": "scalars"},
        "dense": {"kind": "dense", "units": (5, 3)},
        "low rank": {"kind": "dense", "units": (4,), "rank": 2},
        "conv": {"kind": "conv", "filters": (3, 2), "batch_norm": draw(st.booleans())},
        "dense conv": {"kind": "conv", "filters": (2,), "units": (3,)},
        "stencil": {"kind": "stencil", "filters": (2,), "rank": 1},
    }[kind]
    return Net(activation=activation, outputs=outputs, **options)


@st.composite
def maps(draw, n_layers=(1, 3), size=0.3, step_size=0.15, smooth=False):
    """``(theory, map)``: every theory, mask, encoding and kind of net, one net or many, time, merged, winding, weights."""
    name = draw(st.sampled_from(["u1", "u1", "o2", "gaussian", "gmm"]))
    theory = THEORIES[name]
    angular = theory.action.angular
    mask = draw(st.sampled_from(MASKS))
    encoding = draw(st.sampled_from([e for e in ENCODINGS if name == "u1" or e != "plaquette"])) if angular else None
    if smooth and encoding == "angle":
        encoding = "cartesian"
    v_net, x_net = draw(nets("stq", smooth)), draw(nets("tq" if encoding == "plaquette" else "stq", smooth))
    if x_net is not None and mask in ("checkerboard", "stripes") and theory.field_shape[-1] % 2:
        mask = "random"
    weights = draw(st.sampled_from([AS_TRAINED, NetWeights(0.9, 1.1, 0.8, 1.2, 0.7, 1.3)]))
    model = build(
        theory,
        seed=draw(st.integers(0, 2**32)),
        size=size,
        step_size=step_size,
        merged=draw(st.booleans()),
        weights=weights,
        n_layers=draw(st.integers(*n_layers)),
        v_net=v_net,
        x_net=x_net,
        mask=mask,
        mask_seed=draw(st.integers(0, 9)),
        shared=draw(st.booleans()),
        time=draw(st.booleans()),
        encoding=encoding or "cartesian",
        winding=draw(st.sampled_from([0, 0, 1, -2])) if name == "u1" else 0,
    )
    return theory, model


def distance(theory, x, y):
    """Largest difference of two fields, on the circle where they are angles."""
    difference = np.angle(np.exp(1j * (x - y))) if theory.action.angular else x - y
    return float(np.max(np.abs(difference)))
