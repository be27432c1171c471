"""The preconditioned two-stage variate of phi^4: one-slice improvement squared, with exact overlap terms, then a regression.

**Stage 1** improves slice means ``P_a = (1/X) sum_x phi(a, x)``. With ``g^a = G H^a``, ``H^a(x) = (1/X) sum_k c_k(|x_0 - a|) h_k(x)``, the
propagator G and even monomials h_k of `monomials`, ``D_a = A[g^a]`` is linear in c, and ``R_a = P_a - D_a`` has little variance. c is
fitted by least squares ``P_a ~ D_a`` over all slices. As D is a convolution in time, this is one small fit for each momentum p of
time; slices are written in momentum space below, ``P(p) = sum_a exp(i p a) P_a``.

**The correlator** takes ``g = g^a P_b + g^b R_a``. As ``A[h g] = h A[g] + g . grad h``,

    P_a P_b - A[g] = R_a R_b - X_ab,   X_ab = g^a . grad P_b + g^b . grad R_a,

exactly, whatever the supports. The mean over slices of this at distance t is ``(1/T^2) sum_p cos(p t) Y(p)``, ``Y = |R(p)|^2 - X(p)``.
With ``w = m2 - M2 + lam phi^2/2``, so that the Hessian is ``G^(-1) + w``, slopes ``q_j = sum_k c_k(p) dB_k/dl_j`` and ``h = sum_k c_k(p) h_k``,

    X(p) = Re[ 2 g(p) . grad P(-p) + g(p) . H(-p) + sum_x w |g(p)|^2 - sum_j S_j g(p) . q_j exp(-i p x_0)/X ].

**Stage 2** regresses the improved correlator, or ``<phi^2>`` and ``<phi^4>`` themselves, on mean-zero scalars: the lattice means ``E_j`` of
brackets of odd monomials, and ``mean_a A[g_k^a P_{a+d}]``, g_k^a the field of one even monomial on one slice:
``Re[P(-p) B_k(p)] + G(p) sum_x h_k / X^2`` in momentum space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...actions import Phi4
from ...lattice import site_sum
from ...observables.quantities import Correlator, FieldMoment, quantity
from .base import check_enough, checked_configurations
from .files import KINDS
from .monomials import N_LINEAR, LocalFields, Monomial, Propagator
from .phi4_fields import check_action, check_observable, checked_fields
from .ridge import ridge

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

EVEN: tuple[Monomial, ...] = (
    *((0, 0, 0), (2, 0, 0), (1, 1, 0), (0, 2, 0), (1, 0, 1), (0, 0, 2)),
    *((4, 0, 0), (3, 0, 1), (2, 0, 2), (1, 0, 3), (0, 0, 4), (3, 1, 0), (2, 2, 0), (2, 1, 1), (1, 1, 2)),
    *((6, 0, 0), (5, 0, 1), (4, 0, 2), (3, 0, 3)),
)
ODD: tuple[Monomial, ...] = (
    *((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    *((3, 0, 0), (2, 0, 1), (1, 0, 2), (0, 0, 3), (2, 1, 0), (1, 2, 0), (0, 3, 0), (1, 1, 1)),
    *((5, 0, 0), (4, 0, 1), (3, 0, 2), (7, 0, 0), (6, 0, 1)),
)
PRODUCTS = EVEN[:2]
MASS_FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0)
SCAN = 250  # configurations that tell the masses apart
CHUNK = 1 << 18  # complex numbers that an array of the overlap terms may have: more would leave the cache


@dataclass(frozen=True)
class TwoStage:
    """The preconditioned two-stage method for `Correlator` and `FieldMoment` of fields ``(n, T, X)``.

    Parameters
    ----------
    action : `Phi4` of the configurations.
    mass2 : M2 of the propagator, positive. By default that of ``(1, 2, 4, 8, 16) <(sum_x F)^2>/V`` which leaves least of slice means on
        folds of the configurations; ``<(sum_x F)^2>/V = m2 + lam <phi^2>/2`` is the mean curvature of the action.
    """

    action: Phi4
    mass2: float | None = None

    def __post_init__(self) -> None:
        check_action(self.action)
        if self.mass2 is not None and not 0 < self.mass2 < math.inf:
            raise ValueError(f"mass2: got {self.mass2!r}, expected a finite number > 0 or None")

    def fit(self, configurations: ArrayLike, observable: Correlator | FieldMoment) -> TwoStageVariate:
        """The variate of one observable."""
        return self.fit_all(configurations, (observable,))[0]

    def fit_slices(self, configurations: ArrayLike, times: Sequence[int]) -> tuple[TwoStageVariate, ...]:
        """Variates of the correlator at these times, with one stage 1; `values` evaluates them together."""
        return self.fit_all(configurations, tuple(Correlator(t) for t in times))

    def fit_all(
        self, configurations: ArrayLike, observables: Sequence[Correlator | FieldMoment]
    ) -> tuple[TwoStageVariate, ...]:
        """Variates of several observables, with one stage 1.

        Raises `ValueError` for other observables, numbers that are not finite, and no more configurations than features.
        """
        x = checked_fields(configurations)
        for observable in observables:
            check_observable(observable, x.shape[1])
        check_enough(len(x), max(len(EVEN), n_features(x.shape[1])))
        stage = fitted_stage(self.action, x, self.mass2)
        correlators = any(isinstance(observable, Correlator) for observable in observables)
        scores, features = stage.scores(x, correlators)
        targets = [
            stage.at_time(scores, observable.t) if isinstance(observable, Correlator) else observable(x)
            for observable in observables
        ]
        coefficients = ridge(features, np.stack(targets, axis=1)).coefficients
        return tuple(
            TwoStageVariate(stage, observable, np.ascontiguousarray(column))
            for observable, column in zip(observables, coefficients.T, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Stage:
    """Stage 1: the propagator and the kernels ``c_k(p)``, ``(momentum, monomial)``, for momenta ``2 pi j/T``, j = 0, ..., T//2."""

    action: Phi4
    propagator: Propagator
    kernel: Array

    @cached_property
    def momenta(self) -> Array:
        return momenta(self.propagator.shape[0])

    @cached_property
    def on_slices(self) -> Array:
        """``G(p)`` of momentum zero in space."""
        return 1 / (4 * np.sin(self.momenta / 2) ** 2 + self.propagator.mass2)

    def at_time(self, values: Array, t: int) -> Array:
        """``(1/T^2) sum_p cos(p t) values(p)`` over all momenta, from ``(chain, momentum)`` of half of them."""
        n_t = self.propagator.shape[0]
        return site_sum(values * (multiplicities(n_t) * np.cos(self.momenta * t) / n_t**2))

    def scores(self, x: Array, correlators: bool = True) -> tuple[Array, Array]:
        """``Y(p)``, ``(chain, momentum)``, zero unless there are correlators to improve, and the features of stage 2."""
        few = max(1, CHUNK // (len(self.kernel) * x[0].size))
        parts = [self._scores(x[i : i + few], correlators) for i in range(0, len(x), few)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _scores(self, x: Array, correlators: bool) -> tuple[Array, Array]:
        fields = LocalFields(self.action, self.propagator, x)
        means = of_momentum(x.mean(axis=2))
        score = np.zeros((len(x), len(self.kernel)))
        if correlators:
            rest = means - self.improvement(brackets(fields, EVEN))
            score = rest.real**2 + rest.imag**2 - self.overlap(fields)
        return score, np.concatenate([local_means(fields), self.products(fields, means)], axis=1)

    def improvement(self, modes: ComplexArray) -> ComplexArray:
        """``D(p) = sum_k c_k(p) B_k(p)``."""
        return np.einsum("pk,nkp->np", self.kernel, modes)

    def products(self, fields: LocalFields, means: ComplexArray) -> Array:
        """``A[g_k(p) P(-p)]`` of single monomials, ``(chain, monomial * momentum)``."""
        modes = brackets(fields, PRODUCTS)
        sums = np.stack([site_sum(fields.monomial(powers)) for powers in PRODUCTS], axis=1)
        overlaps = sums[:, :, None] * self.on_slices / self.propagator.shape[1] ** 2
        return np.reshape((means.conj()[:, None] * modes).real + overlaps, (len(means), -1))

    def overlap(self, fields: LocalFields) -> Array:
        """``X(p)``, ``(chain, momentum)``; fields of momentum p are kept without their factor ``exp(i p x_0)``."""
        from scipy import fft

        n, (n_t, n_x), n_p = len(fields.x), self.propagator.shape, len(self.kernel)
        mass2 = self.propagator.mass2
        source = self._combined(np.stack([fields.monomial(powers) for powers in EVEN], axis=1))
        modes = fft.fft2(source.reshape(n, n_p, n_t, n_x))
        shifted = np.stack([self.propagator.modes(p) for p in self.momenta])
        g = fft.ifft2(modes * shifted).reshape(n, n_p, -1)
        smeared = mass2 * fft.ifft2(modes * shifted**2, overwrite_x=True).real.reshape(n, n_p, -1)
        real = np.ascontiguousarray(g.real)
        sliced = real.reshape(n, n_p, n_t, n_x).mean(axis=3, keepdims=True)
        sliced = np.broadcast_to(sliced, (n, n_p, n_t, n_x)).reshape(n, n_p, -1)
        total = 2 * self.on_slices * np.einsum("npx->np", source) + np.einsum("npx,npx->np", real, source)
        for j, field_j in zip(range(N_LINEAR), (real, sliced, smeared), strict=True):
            slopes = self._combined(np.stack([fields.slope(powers, j) for powers in EVEN], axis=1))
            total -= np.einsum("npx,npx->np", field_j, slopes)
        weight = (self.action.m2 - mass2) + (self.action.lam / 2) * np.square(fields.x).reshape(n, 1, -1)
        total += np.einsum("npx,nqx->np", real**2 + np.square(g.imag), weight)
        return total / n_x**2

    def _combined(self, values: Array) -> Array:
        """``sum_k c_k(p) values_k``, ``(chain, momentum, site)``."""
        return np.matmul(self.kernel, values.reshape(*values.shape[:2], -1))


@dataclass(frozen=True, eq=False)
class TwoStageVariate:
    """``f = O - Y + features . coefficients`` for a correlator O, ``features . coefficients`` for a moment of the field."""

    stage: Stage
    observable: Correlator | FieldMoment
    coefficients: Array = field(repr=False)

    @property
    def action(self) -> Phi4:
        return self.stage.action

    @property
    def field_shape(self) -> tuple[int, int]:
        return self.stage.propagator.shape

    def __call__(self, x: ArrayLike) -> Array:
        return values((self,), x)[:, 0]

    def from_scores(self, x: Array, scores: Array, features: Array) -> Array:
        """The variate of fields whose scores and features are known, ``(chain,)``."""
        regression = site_sum(features * self.coefficients)
        if isinstance(self.observable, FieldMoment):
            return regression
        return self.observable(x) - self.stage.at_time(scores, self.observable.t) + regression

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and JSON for `save`."""
        action, propagator = self.stage.action, self.stage.propagator
        meta = {
            "action": {"m2": action.m2, "lam": action.lam},
            "shape": list(propagator.shape),
            "observable": str(self.observable),
            "mass2": propagator.mass2,
        }
        return {"kernel": self.stage.kernel, "coefficients": self.coefficients}, meta

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> TwoStageVariate:
        """What `record` gave."""
        n_t, n_x = meta["shape"]
        observable = quantity(meta["observable"])
        check_observable(observable, n_t)
        kernel, coefficients = arrays["kernel"], arrays["coefficients"]
        if kernel.shape != (n_t // 2 + 1, len(EVEN)) or coefficients.shape != (n_features(n_t),):
            raise ValueError(f"kernel, coefficients: got shapes {kernel.shape}, {coefficients.shape} for T = {n_t}")
        stage = Stage(Phi4(**meta["action"]), Propagator((n_t, n_x), meta["mass2"]), kernel)
        return cls(stage, observable, coefficients)  # type: ignore[arg-type]


KINDS["TwoStageVariate"] = TwoStageVariate


def values(variates: Sequence[TwoStageVariate], x: ArrayLike) -> Array:
    """Several variates with one stage 1 of fields ``(chain, T, X)``, ``(chain, variate)``, for little more than the cost of one."""
    stage = variates[0].stage
    if any(variate.stage is not stage for variate in variates):
        raise ValueError("variates: got some with another stage 1, expected those of one fit")
    x = checked_configurations(x, stage.propagator.shape, "x")
    scores, features = stage.scores(x, any(isinstance(variate.observable, Correlator) for variate in variates))
    return np.stack([variate.from_scores(x, scores, features) for variate in variates], axis=1)


# --- fits -------------------------------------------------------------------------------------------------------------
def fitted_stage(action: Phi4, x: Array, mass2: float | None = None) -> Stage:
    """Stage 1 of configurations ``(n, T, X)``, with the mass that leaves least on folds of them unless there is one."""
    if mass2 is None:
        some = x[:: max(1, len(x) // SCAN)]
        masses = [factor * _curvature(action, x) for factor in MASS_FACTORS]
        mass2 = min(masses, key=lambda mass: _slice_fit(action, some, mass)[1])
    return _slice_fit(action, x, mass2)[0]


def _slice_fit(action: Phi4, x: Array, mass2: float) -> tuple[Stage, float]:
    """Stage 1 with this mass, and the variance that it leaves of slice means on folds of the configurations."""
    propagator = Propagator((x.shape[1], x.shape[2]), float(mass2))
    few = max(1, CHUNK // x[0].size)
    fields = (LocalFields(action, propagator, x[i : i + few]) for i in range(0, len(x), few))
    modes = np.concatenate([brackets(some, EVEN) for some in fields])
    targets = of_momentum(x.mean(axis=2))
    # Real and imaginary parts of one configuration stay together, so that no fold knows anything of another.
    fits = [ridge(_parts(modes[:, :, p]), _parts(targets[:, p, None]), centred=False) for p in range(targets.shape[1])]
    left = multiplicities(x.shape[1]) @ np.array([fit.left_over[0] for fit in fits])
    return Stage(action, propagator, np.stack([fit.coefficients[:, 0] for fit in fits])), float(left)


def n_features(n_t: int) -> int:
    """Of stage 2."""
    return len(ODD) + len(PRODUCTS) * (n_t // 2 + 1)


def _curvature(action: Phi4, x: Array) -> float:
    """``<(sum_x F)^2>/V``, which is ``<sum_y d2S/dphi_x dphi_y> = m2 + lam <phi^2>/2`` and positive in any sample."""
    return float(np.mean(site_sum(action.force(x)) ** 2)) / x[0].size


def _parts(values: ComplexArray) -> Array:
    """Real and imaginary parts of ``(n, k)`` as rows ``(2 n, k)``, those of a configuration next to each other."""
    return np.stack([values.real, values.imag], axis=1).reshape(-1, values.shape[1])


# --- slices in momentum space -----------------------------------------------------------------------------------------
def momenta(n_t: int) -> Array:
    """``2 pi j/T`` for j = 0, ..., T//2; the others are minus these."""
    return 2 * np.pi * np.arange(n_t // 2 + 1) / n_t


def multiplicities(n_t: int) -> Array:
    """How many momenta each of `momenta` stands for: 2, or 1 where minus p is p."""
    counts = np.full(n_t // 2 + 1, 2.0)
    counts[0] = 1
    if n_t % 2 == 0:
        counts[-1] = 1
    return counts


def of_momentum(slices: Array) -> ComplexArray:
    """``sum_a exp(i p a) slices_a`` over the last axis, at `momenta`."""
    from scipy import fft

    return np.conj(fft.rfft(slices, axis=-1))


def brackets(fields: LocalFields, monomials: Sequence[Monomial]) -> ComplexArray:
    """``B_k(p)``, ``(chain, monomial, momentum)``, of the slice means of brackets."""
    return of_momentum(np.stack([fields.bracket(powers).mean(axis=2) for powers in monomials], axis=1))


def local_means(fields: LocalFields) -> Array:
    """``E_j``, ``(chain, monomial)``: lattice means of the brackets of odd monomials."""
    return np.stack([site_sum(fields.bracket(powers)) / fields.x[0].size for powers in ODD], axis=1)
