"""Wrong fermions, control variates, flows and joint flows: each changes what one or two functions of a target answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Field, Subject
from .components import first, single
from .wrapped import Bug, Functions

Array = NDArray[np.float64]


def _changed(name: str, description: str, function: str, change: Callable[[Any], Any]) -> Bug:
    """What a function returns, changed."""

    def functions(s: Subject) -> Functions:
        return {function: lambda *arguments: change(getattr(s, function)(*arguments))}

    return Bug(name, description, functions)


def _seed_forgotten(name: str, description: str, function: str) -> Bug:
    """The last argument, which is a seed, is always 1."""

    def functions(s: Subject) -> Functions:
        return {function: lambda *arguments: getattr(s, function)(*arguments[:-1], 1)}

    return Bug(name, description, functions)


def _second(name: str, description: str, changes: dict[str, Callable[[Array], Array]]) -> Bug:
    """The second of the two results of these functions, changed: a logdet or a log density."""

    def of(s: Subject, function: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> tuple[Any, Array]:
            image, value = getattr(s, function)(*arguments)
            return image, changes[function](value)

        return call

    return Bug(name, description, lambda s: {function: of(s, function) for function in changes})


# --- fermions ----------------------------------------------------------------------------------------------------------
def _without_sign(x: Field) -> Field:
    """Links with the boundary sign taken out again."""
    turned = x.copy()
    if np.iscomplexobj(x):
        turned[:, 0, -1] *= -1
    else:
        turned[:, 0, -1] += np.pi
    return turned


def _periodic(functions: tuple[str, ...]) -> Callable[[Subject], Functions]:
    def of(s: Subject) -> Functions:
        def call(name: str) -> Callable[..., Any]:
            return lambda x, *others: getattr(s, name)(_without_sign(x), *others)

        return {name: call(name) for name in functions}

    return of


def _sigma_y_twice(s: Subject) -> Functions:
    """The spin basis is turned for hops in time: sigma_x becomes sigma_y there, and sigma_y sigma_x."""
    turn = np.array([[1, 0], [0, 1j]])

    def dense(x: Field) -> Field:
        d = s.dirac_dense(x)
        width = 2 * (x.shape[-1] if np.iscomplexobj(x) else 1)
        rotation = np.kron(np.eye(d.shape[-1] // width), np.kron(turn, np.eye(width // 2)))
        return np.asarray(rotation @ d @ rotation.conj().T)

    return {"dirac_dense": dense}


def _adjoint(s: Subject) -> Functions:
    return {"dirac_dense": lambda x: s.dirac_dense(x).conj().swapaxes(-1, -2)}


def _repeated(values: Array) -> Array:
    values[:, 1::2] = values[:, : 2 * (values.shape[1] // 2) : 2]
    return values


FERMIONS: tuple[Bug, ...] = (
    Bug(
        "PeriodicFermions",
        "fermions are periodic in time: the boundary sign is missing, which no average over U(1) fields shows",
        _periodic(("dirac_dense", "dirac_apply", "logdet_dirac", "pseudofermion_action", "pseudofermion_force")),
    ),
    Bug(
        "PeriodicApply",
        "the matrix-free operator lacks the boundary sign that the matrix has",
        _periodic(("dirac_apply",)),
    ),
    Bug("AdjointOperator", "the adjoint of the operator, with the same determinant", _adjoint),
    Bug("OtherGammas", "sigma_y stands where sigma_x should", _sigma_y_twice),
    _changed("SquaredLogdet", "`logdet_dirac` is that of D D^dag; the action knows", "logdet_dirac", lambda d: 2 * d),
    _changed("LogdetDiracSign", "the fermion action has the sign of the inverse", "logdet_dirac", lambda d: -d),
    _changed(
        "PseudofermionForceWithoutTwo",
        "the force of pseudofermions lacks the 2 of 2 Re",
        "pseudofermion_force",
        lambda f: f / 2,
    ),
    _changed(
        "PseudofermionForceSign", "the force of pseudofermions has the wrong sign", "pseudofermion_force", lambda f: -f
    ),
    _changed(
        "PseudofermionNormalisation",
        "the action of pseudofermions is half of it",
        "pseudofermion_action",
        lambda s: s / 2,
    ),
    _changed(
        "RealVariance",
        "real and imaginary part of the noise have variance 1 each",
        "pseudofermion_heat_bath",
        lambda phi: np.sqrt(2) * phi,
    ),
    _changed(
        "HeatBathScaled",
        "fields of the heat bath are 5 per cent too large",
        "pseudofermion_heat_bath",
        lambda phi: 1.05 * phi,
    ),
    _changed("RealNoise", "the noise has no imaginary part", "pseudofermion_heat_bath", lambda phi: phi.real + 0j),
    _seed_forgotten(
        "StaleNoise",
        "pseudofermions are not drawn anew: every call has the noise of the first",
        "pseudofermion_heat_bath",
    ),
    _changed(
        "EstimateOffOnePercent",
        "estimates of the determinant are 1 per cent too large",
        "determinant_estimate",
        lambda e: 1.01 * e,
    ),
    _changed("EstimateOfOneFlavour", "the estimate is that of |det D|", "determinant_estimate", np.sqrt),
    _seed_forgotten("EstimatesWithoutSeed", "the seed is ignored: always the same noise", "determinant_estimate"),
    _changed("EveryEstimateTwice", "every estimate is returned twice", "determinant_estimate", _repeated),
)


# --- control variates ------------------------------------------------------------------------------------------------------
def _half_divergence(s: Subject) -> Functions:
    """``f = div g - g . force`` with the divergence counted half; the field says which part is which."""
    if not s.has("control_variate_field"):
        return {}

    def variate(x: Field) -> Array:
        g, axes = s.control_variate_field(x), tuple(range(1, x.ndim))
        pull = (g * _theory_force(s, x)).sum(axis=axes)
        return np.asarray((s.control_variate(x) + pull) / 2 - pull)

    return {"control_variate": variate}


def _theory_force(s: Subject, x: Field) -> Array:
    return np.array([s.theory.loop_force(one) for one in x])


VARIATES: tuple[Bug, ...] = (
    Bug("DivergenceHalved", "the divergence is counted half", _half_divergence),
    _changed(
        "ConstantOffset",
        "a constant is left in the variate: the mean of the fit, say",
        "control_variate",
        lambda f: f + 0.1,
    ),
    _changed(
        "VariateTwice",
        "the variate is taken twice: O - 2 f has the variance of O again",
        "control_variate",
        lambda f: 2 * f,
    ),
    _changed(
        "VariateSign", "the variate has the wrong sign: O - f varies more than O", "control_variate", lambda f: -f
    ),
    _changed(
        "CentredInTheBatch",
        "the mean over the batch is subtracted, which hides that there is one",
        "control_variate",
        lambda f: f - f.mean(),
    ),
    _changed(
        "FieldOfOtherSign",
        "the field that is shown has the other sign than the one the variate was made of",
        "control_variate_field",
        lambda g: -g,
    ),
)


# --- flows -----------------------------------------------------------------------------------------------------------------
def _shifted_samples(s: Subject) -> Functions:
    """Fields of the second half are those of the first once more."""

    def sample(n: int, seed: int) -> tuple[Field, Array]:
        x, log_q = s.sample(n, seed)
        half = n // 2
        x[n - half :], log_q[n - half :] = x[:half], log_q[:half]
        return x, log_q

    return {"sample": sample}


def _still(s: Subject) -> Functions:
    """The first component is left where it was."""

    def of(name: str) -> Callable[[Field], tuple[Field, Array]]:
        def call(z: Field) -> tuple[Field, Array]:
            x, logdet = getattr(s, name)(z)
            x[first(s)] = z[first(s)]
            return x, logdet

        return call

    return {name: of(name) for name in ("flow_forward", "flow_inverse")}


def _biased_places(s: Subject) -> Functions:
    def forward(z: Field) -> tuple[Field, Array]:
        x, logdet = s.flow_forward(z)
        push = np.zeros((len(x), *s.theory.momentum_shape))
        push[first(s)] = 0.1
        return s.theory.pushed(x, push), logdet

    return {"flow_forward": forward}


def _with_constant(s: Subject) -> Functions:
    def sample(n: int, seed: int) -> tuple[Field, Array]:
        x, log_q = s.sample(n, seed)
        return x, log_q + _CONSTANT

    return {"log_prob": lambda x: s.log_prob(x) + _CONSTANT, "sample": sample}


_CONSTANT = 0.25
FLOWS: tuple[Bug, ...] = (
    _second(
        "LogdetOfOtherSign",
        "the logdet has the wrong sign, forward and backward, so that the two agree",
        dict.fromkeys(("flow_forward", "flow_inverse"), np.negative),
    ),
    _second(
        "LogdetOfInverseNotNegated",
        "the inverse returns the logdet of the forward direction",
        {"flow_inverse": np.negative},
    ),
    _second(
        "LogdetTenthLost",
        "a tenth of the logdet is missing, as of one layer of ten, in both directions",
        {name: lambda d: 0.9 * d for name in ("flow_forward", "flow_inverse")},
    ),
    _second(
        "SampleConstant", "samples come with a log q that is too large by 0.25", {"sample": lambda q: q + _CONSTANT}
    ),
    Bug("ConstantForgotten", "log q is too large by 0.25: a tenth of a constant of the prior", _with_constant),
    _changed(
        "LogProbConstant", "log_prob is too small by 0.25, samples are right", "log_prob", lambda q: q - _CONSTANT
    ),
    _changed(
        "PriorConstant",
        "the log density of the prior lacks a part of its constant",
        "prior_log_prob",
        lambda r: r + _CONSTANT,
    ),
    Bug("OneStreamForAll", "pairs of samples share a random stream", _shifted_samples),
    _seed_forgotten("SamplesWithoutSeed", "the seed is ignored: every call has the samples of the first", "sample"),
    Bug(
        "InverseIsTheFlow",
        "the inverse is the map itself",
        lambda s: {"flow_inverse": s.flow_forward} if s.has("flow_forward") else {},
    ),
    Bug("ComponentLeftOut", "one link (site) is left where it was", _still),
    Bug("BiasOfAPlace", "the shift has a bias that depends on the site", _biased_places),
    Bug(
        "MapInSinglePrecision",
        "the map computes in single precision",
        lambda s: {name: _rounded(s, name) for name in ("flow_forward", "flow_inverse", "log_prob")},
    ),
)


def _rounded(s: Subject, name: str) -> Callable[[Field], Any]:
    return lambda x: single(getattr(s, name)(single(x)))


# --- joint flows -------------------------------------------------------------------------------------------------------------
def _refreshed(s: Subject) -> Functions:
    if not s.has("pseudomarginal_start"):
        return {}
    return {"pseudomarginal": lambda x, log_w, seed: s.pseudomarginal(x, s.pseudomarginal_start(x, seed + 1), seed)}


def _wide(s: Subject) -> Functions:
    def sample(x: Field, seed: int) -> tuple[Field, Array]:
        phi, log_q = s.conditional_sample(x, seed)
        return 1.03 * phi, log_q

    return {"conditional_sample": sample}


def _recorded(name: str, description: str, change: Callable[[dict[str, Any], Field, Array], dict[str, Any]]) -> Bug:
    """The record of a pseudomarginal update, changed: of the record, the field and the estimate before."""

    def functions(s: Subject) -> Functions:
        return {"pseudomarginal": lambda x, log_w, seed: change(s.pseudomarginal(x, log_w, seed), x, log_w)}

    return Bug(name, description, functions)


def _decided(record: dict[str, Any], x: Field, log_w: Array, accept: NDArray[np.bool_]) -> dict[str, Any]:
    field = np.where(accept.reshape(-1, *(1,) * (x.ndim - 1)), record["x_proposed"], x)
    return {
        **record,
        "accept": accept,
        "x_next": field,
        "log_w_next": np.where(accept, record["log_w_proposed"], log_w),
    }


def _inverse_ratio(record: dict[str, Any], x: Field, log_w: Array) -> dict[str, Any]:
    return _decided(record, x, log_w, np.log(record["u"]) < log_w - record["log_w_proposed"])


def _every(record: dict[str, Any], x: Field, log_w: Array) -> dict[str, Any]:
    return _decided(record, x, log_w, np.ones(len(x), dtype=bool))


def _by_batch(record: dict[str, Any], x: Field, log_w: Array) -> dict[str, Any]:
    accept = np.log(record["u"][0]) < (record["log_w_proposed"] - log_w).mean()
    return _decided(record, x, log_w, np.full(len(x), accept))


def _twice_as_large(record: dict[str, Any], x: Field, log_w: Array) -> dict[str, Any]:
    """Every proposed estimate is a sum of two draws where an average is meant."""
    shifted = {**record, "log_w_proposed": record["log_w_proposed"] + np.log(2)}
    return _decided(shifted, x, log_w, np.log(record["u"]) < shifted["log_w_proposed"] - log_w)


JOINT: tuple[Bug, ...] = (
    _second(
        "ComplexCountedOnce",
        "the logdet is log |det|, without the 2 of complex numbers",
        {name: lambda d: d / 2 for name in ("conditional_forward", "conditional_inverse")},
    ),
    _second(
        "LogdetOfTheOtherDirection", "the inverse returns the logdet of the map", {"conditional_inverse": np.negative}
    ),
    _changed(
        "ConditionalConstant",
        "the log density of the fields has a constant too much",
        "conditional_log_prob",
        lambda q: q - 1.0,
    ),
    _second(
        "DensityOfTheNeighbour",
        "samples come with the log density of the chain before",
        {"conditional_sample": lambda q: np.roll(q, 1, axis=0)},
    ),
    Bug("SlightlyWide", "the noise is three per cent too wide", _wide),
    _seed_forgotten("SeedForgotten", "samples have the same noise whatever the seed", "conditional_sample"),
    Bug(
        "LinksForgotten",
        "the joint log q is that of the pseudofermions",
        lambda s: {"joint_sample": lambda n, seed: _without_links(s, n, seed)} if s.has("log_prob") else {},
    ),
    _seed_forgotten("JointSeedForgotten", "joint samples are the same whatever the seed", "joint_sample"),
    Bug("EstimateRefreshed", "the estimate of the links that a chain has is drawn anew in every update", _refreshed),
    _recorded("RatioTurned", "proposals are accepted by the inverse of the ratio", _inverse_ratio),
    _recorded("EveryEstimateAccepted", "every proposal is taken", _every),
    _recorded("BatchDecides", "proposals are accepted by the mean ratio of the batch", _by_batch),
    _recorded("SumOfDraws", "draws are added up, not averaged", _twice_as_large),
    _recorded(
        "EstimateOfTheRejected",
        "a chain that stays takes the estimate of the proposal all the same",
        lambda record, x, log_w: {**record, "log_w_next": record["log_w_proposed"]},
    ),
    _recorded(
        "EstimateLeftBehind",
        "a chain that moves keeps the estimate of the links it had",
        lambda record, x, log_w: {**record, "log_w_next": log_w},
    ),
    _recorded(
        "EstimateInSinglePrecision",
        "the estimate that is kept is stored in single precision",
        lambda record, x, log_w: {**record, "log_w_next": single(record["log_w_next"])},
    ),
    _seed_forgotten(
        "StartWithoutSeed", "estimates to begin from have the same noise whatever the seed", "pseudomarginal_start"
    ),
    _changed(
        "StartTooSmall",
        "estimates to begin from are half of what they should be",
        "pseudomarginal_start",
        lambda log_w: log_w - np.log(2),
    ),
)


def _without_links(s: Subject, n: int, seed: int) -> tuple[Field, Field, Array]:
    x, phi, log_q = s.joint_sample(n, seed)
    return x, phi, log_q - s.log_prob(x)


BUGS: tuple[Bug, ...] = (*FERMIONS, *VARIATES, *FLOWS, *JOINT)
