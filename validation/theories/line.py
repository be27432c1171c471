"""Theories on the real line: Gaussians and mixtures of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import gaussian, mixture

from .base import Additive, Array, Observable, Symmetry, U


class Line(Additive):
    """Fields on the real line, in units of their smallest standard deviation, the ``scale``."""

    angular: ClassVar[bool] = False
    scale: Any  # an attribute or a property
    force_rounding: Any  # a method: of the fields, the largest error of a force

    def difference(self, a: Array, b: Array) -> Array:
        return a - b

    def displacement(self, after: Array, before: Array) -> Array:
        """An odd function of the move, per coordinate."""
        return np.asarray((after - before) / self.scale)

    def moved(self, changes: Array) -> Array:
        return np.asarray(np.abs(changes).max(axis=0) / self.scale)

    def step_rounding(self, x: Array, v: Array) -> float:
        """Rounding of one step: some ulp of a coordinate or momentum, and of the force over a step of the smallest scale."""
        largest = max(float(np.abs(x).max()), float(np.abs(v).max()), 1.0)
        return 8 * U * largest + float(self.scale * self.force_rounding(x))

    def phase_fields(self, rng: np.random.Generator, n: int) -> Array:
        return self.starts(rng, n)

    def charge(self, x: Array) -> NDArray[np.int64]:
        """There is none: zero."""
        return np.zeros(len(x), dtype=np.int64)

    def charge_distribution(self) -> tuple[NDArray[np.int64], Array]:
        return np.zeros(1, dtype=np.int64), np.ones(1)


class Reals(Line):
    """Vectors ``(n, D)``."""

    means: Array
    covariances: Array
    weights: Array

    @property
    def size(self) -> int:
        return int(self.means.shape[1])

    @property
    def volume(self) -> int:
        return self.size

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.size,)

    @cached_property
    def scale(self) -> float:
        """The smallest standard deviation of any component in any direction."""
        return float(np.sqrt(np.linalg.eigvalsh(self.covariances).min()))

    @cached_property
    def precisions(self) -> Array:
        return np.asarray(np.linalg.inv(self.covariances), dtype=np.float64)

    def _responsibilities(self, x: Array) -> tuple[Array, Array, Array]:
        """Distances ``(k, n, D)``, their precision times them, posterior weights ``(k, n)``."""
        d = x[None] - self.means[:, None]
        pd = np.einsum("kij,knj->kni", self.precisions, d)
        logs = self._log_weights[:, None] - 0.5 * (d * pd).sum(axis=2)
        logs -= logs.max(axis=0)
        r = np.exp(logs)
        return d, pd, r / r.sum(axis=0)

    @cached_property
    def _log_weights(self) -> Array:
        """``log w_k - log det(2 pi C_k)/2``."""
        _, logdets = np.linalg.slogdet(2 * np.pi * self.covariances)
        return np.log(self.weights) - 0.5 * logdets

    def action(self, x: Array) -> Array:
        """``- log sum_k w_k N(x; m_k, C_k)``."""
        d = x[None] - self.means[:, None]
        quadratic = np.einsum("kni,kij,knj->kn", d, self.precisions, d)
        logs = self._log_weights[:, None] - 0.5 * quadratic
        top = logs.max(axis=0)
        return np.asarray(-top - np.log(np.exp(logs - top).sum(axis=0)))

    def loop_action(self, x: Array) -> float:
        terms = [self._log_weights[k] - 0.5 * self._loop_square(k, x) for k in range(len(self.weights))]
        top = max(terms)
        return -top - math.log(math.fsum(math.exp(term - top) for term in terms))

    def _loop_square(self, k: int, x: Array) -> float:
        d = x - self.means[k]
        return math.fsum(d[i] * self.precisions[k][i, j] * d[j] for i in range(self.size) for j in range(self.size))

    def loop_force(self, x: Array) -> Array:
        terms = [self._log_weights[k] - 0.5 * self._loop_square(k, x) for k in range(len(self.weights))]
        top = max(terms)
        shares = [math.exp(term - top) for term in terms]
        total = math.fsum(shares)
        return np.array(
            [
                math.fsum(
                    shares[k] / total * self.precisions[k][i, j] * (x[j] - self.means[k][j])
                    for k in range(len(self.weights))
                    for j in range(self.size)
                )
                for i in range(self.size)
            ],
            dtype=np.float64,
        )

    def action_rounding(self, x: Array) -> float:
        """A quadratic form through a solve is wrong by ``D cond U |d| |C^-1 d|``; responsible components count."""
        x = x[np.all(np.isfinite(x), axis=1)]
        d, pd, r = self._responsibilities(x)
        exponents = np.linalg.norm(d, axis=2) * np.linalg.norm(pd, axis=2)
        cond = np.linalg.cond(self.covariances)[:, None]
        return float(4 * self.size * U * ((r * cond * exponents).sum(axis=0) + 4).max(initial=1.0)) + 16 * U

    def force_rounding(self, x: Array) -> float:
        """The same for ``C^-1 d``, and the weight of a component: it moves with the errors of its exponent where others share,
        and by the rounding of ``exp(log term - log sum)`` always."""
        d, pd, r = self._responsibilities(x)
        sizes, lengths = np.linalg.norm(pd, axis=2), np.linalg.norm(d, axis=2)
        cond = np.linalg.cond(self.covariances)[:, None]
        relative = (
            cond * (1 + 2 * (1 - r) * lengths * sizes) + (d * pd).sum(axis=2) + np.abs(self._log_weights)[:, None]
        )
        return float(4 * self.size * U * ((r * relative * sizes).sum(axis=0)).max(initial=0.0)) + 16 * U / self.scale

    def truncation(self, x: Array, w: Array, h: float) -> float:
        """Twice the error that the same differences make of the oracle's own action."""
        s = {k: self.action(x + k * h * w) for k in (-2, -1, 1, 2)}
        slope = (8 * (s[1] - s[-1]) - (s[2] - s[-2])) / (12 * h)
        exact = (np.array([self.loop_force(c) for c in x]) * w).sum(axis=1)
        return 2 * float(np.abs(slope - exact).max())

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        return mixture.sample(rng, n, self.weights, self.means, self.covariances)

    def configurations(self, rng: np.random.Generator) -> Array:
        """The origin, the means, equilibrium, and points three and ten standard deviations wide of it."""
        near = self.sample(rng, 6)
        outward = near - self.weights @ self.means
        return np.concatenate([np.zeros((1, self.size)), self.means, near, near + 3 * outward, near + 10 * outward])

    def smaller(self) -> tuple[dict[str, Any], ...]:
        return ()

    def symmetries(self, rng: np.random.Generator, n: int) -> tuple[Symmetry, ...]:
        return ()

    def modes(self, after: Array, before: Array) -> dict[str, Array]:
        """Parts of a change of the field that must not stay zero for ever."""
        change = after - before
        return {"coordinate": change, "sum of coordinates": change.sum(axis=1, keepdims=True)}


class Gaussian(Reals):
    """``S = (x - m)^T C^-1 (x - m)/2``, fields ``(n, D)``."""

    name: ClassVar[str] = "gaussian"
    parameters: ClassVar[tuple[str, ...]] = ("covariance", "mean")
    required: ClassVar[tuple[str, ...]] = ("covariance",)
    label: ClassVar[str] = "<x^T C^-1 x>/D"

    def __init__(self, covariance: Array, mean: Array) -> None:
        self.weights, self.means, self.covariances = np.ones(1), mean[None], covariance[None]

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Gaussian:
        """From declared attributes; raises `ValueError`."""
        covariance, mean = _checked(gaussian.checked, given["covariance"], given.get("mean"))
        return cls(covariance, mean)

    def declared(self) -> dict[str, Any]:
        return {"covariance": self.covariances[0], "mean": self.means[0]}

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        c, m, d = self.covariances[0], self.means[0], self.size
        out = [Observable(self.label, lambda x: 2 * self._square(x) / d, 1.0, math.sqrt(2 / d))]
        for i in range(min(d, _MOST)):
            out.append(Observable(f"<x_{i}>", partial(_coordinate, i=i), m[i], math.sqrt(c[i, i])))
            for j in {i, (i + 1) % d}:
                product = partial(_product, i=i, j=j, mean=m)
                std = math.sqrt(c[i, i] * c[j, j] + c[i, j] ** 2)
                out.append(Observable(f"<dx_{i} dx_{j}>", product, c[i, j], std))
        return tuple(out)

    def _square(self, x: Array) -> Array:
        d = x - self.means[0]
        return np.asarray(0.5 * np.einsum("ni,ij,nj->n", d, self.precisions[0], d))


class Mixture(Reals):
    """A mixture of Gaussians: ``S = - log sum_k w_k N(x; m_k, C_k)``, fields ``(n, D)``."""

    name: ClassVar[str] = "gmm"
    parameters: ClassVar[tuple[str, ...]] = ("weights", "means", "covariances")
    required: ClassVar[tuple[str, ...]] = ("weights", "means", "covariances")
    label: ClassVar[str] = "<S>"

    def __init__(self, weights: Array, means: Array, covariances: Array) -> None:
        self.weights, self.means, self.covariances = weights, means, covariances

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Mixture:
        """From declared attributes; raises `ValueError`."""
        return cls(*_checked(mixture.checked, *(given[name] for name in cls.parameters)))

    def declared(self) -> dict[str, Any]:
        return {"weights": self.weights, "means": self.means, "covariances": self.covariances}

    @cached_property
    def observables(self) -> tuple[Observable, ...]:
        w, m = self.weights, self.means
        variances = np.diagonal(self.covariances, axis1=1, axis2=2)
        # <S> is the entropy, which has no closed form; only the centre and width of a bounded function hang on it.
        s = self.action(self.sample(np.random.default_rng(1), 2**14))
        out = [Observable(self.label, self.action, float(s.mean()), float(s.std()))]
        for k in range(min(len(w), _MOST)):
            share = partial(self._share, k=k)
            out.append(Observable(f"<weight of component {k}>", share, w[k], math.sqrt(w[k] * (1 - w[k]) + 1e-3)))
        squares = w @ (variances + m**2)
        fourths = w @ (m**4 + 6 * m**2 * variances + 3 * variances**2)
        for i in range(min(self.size, _MOST)):
            mean = float(w @ m[:, i])
            folded, folded_variance = mixture.absolute_moments(i, w, m, self.covariances)
            out += [
                Observable(f"<x_{i}>", partial(_coordinate, i=i), mean, math.sqrt(squares[i] - mean**2)),
                Observable(f"<x_{i}^2>", partial(_square, i=i), squares[i], math.sqrt(fourths[i] - squares[i] ** 2)),
                Observable(f"<|x_{i}|>", partial(_absolute, i=i), folded, math.sqrt(folded_variance)),
            ]
        return tuple(out)

    def _share(self, x: Array, k: int) -> Array:
        """The posterior probability of component k, whose mean is exactly ``w_k``."""
        return np.asarray(self._responsibilities(x)[2][k])


_MOST = 4  # coordinates and components that are looked at one by one


def _coordinate(x: Array, i: int) -> Array:
    return x[:, i]


def _square(x: Array, i: int) -> Array:
    return np.square(x[:, i])


def _absolute(x: Array, i: int) -> Array:
    return np.abs(x[:, i])


def _product(x: Array, i: int, j: int, mean: Array) -> Array:
    return np.asarray((x[:, i] - mean[i]) * (x[:, j] - mean[j]))


_WORST_CONDITION = 1e8  # beyond, nothing of a force is left in float64 that could be held to a bound


def _checked(check: Callable[..., tuple[Array, ...]], *declared: Any) -> tuple[Array, ...]:
    """Copies of declared arrays that are of the right kind; raises `ValueError`."""
    try:
        arrays = tuple(np.array(array) for array in check(*declared))
    except TypeError as error:
        raise ValueError(f"got {declared}, expected arrays of real numbers: {error}") from error
    covariances = next(array for array in reversed(arrays) if array.ndim > 1)
    if np.linalg.cond(covariances).max() > _WORST_CONDITION:
        raise ValueError(
            f"covariance: got condition number {np.linalg.cond(covariances).max():.1e}, expected at most {_WORST_CONDITION:g}"
        )
    return arrays
