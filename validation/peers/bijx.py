"""Flows made of the PyPI package bijx as targets: couplings of scalars, free fields, couplings of U(1) plaquettes, a flow of SU(2).

Everything that has a density is bijx's: priors, masks, nets, splines, affine maps, Fourier scaling, Crouch-Grossmann integrator,
`Transformed`, the independence sampler, and the actions. Ours are layouts and, as bijx has no gauge-equivariant coupling, the links
that follow their plaquettes (`PlaquetteCoupling`). Weights are random and far from the identity. bijx carries log-densities
along: `forward` adds ``-log |det df/dx|`` to one, `reverse` adds ``+log |det df/dx|``.

What they do, at level smoke and seed 1: `free_field`, `phi4_coupling`, `phi4_spline` and the gentle `u1_coupling` pass the checks
of flows. `u1_sharp_coupling` fails ``flows.round_trip`` with 1.8e-6, where 8.7e-7 is what float64 would do, and passes it with
8.3e-8 once the first point below is mended in a copy of bijx. `su2_flow` is no bijection but in the limit of small steps.

Read from the source of bijx 1.3.2, and measured:

- The inverse of ``rational_quadratic_spline`` adds ``10 eps (1 + |b|)`` to the denominator ``-b - sqrt(b^2 - 4 a c)`` of its root.
  b is the height of a bin times a slope, and may be 1e-6: then this is 1e-9 of the denominator and no rounding error. Of 2000
  splines of 8 bins whose parameters are N(0, s^2), the worst ``|logdet + logdet of the inverse|`` is 4e-14, 4e-10, 2e-6 for
  s = 0.1, 1, 3, and without that term 1e-15, 2e-12, 2e-10; round trips are 3e-15, 8e-12, 1e-7, and without it 1e-16, 3e-13, 6e-11.
- ``MonotoneRQSpline`` keeps ``min_bin_width``, ``min_bin_height``, ``min_slope`` and does not hand them on: they are 1e-3 always.
- The spline is the identity outside [0, 1], where half of the angles in [-pi, pi) are, over 2 pi: they must be reduced first.
  Its slopes at both ends are 1, so that it is smooth on the circle, with one parameter less than a circular spline.
- SU(1): ``sample_haar`` with n = 1 returns links 1, and ``lie.grad`` of a function of U(1) links is 0 unless generators are given.
- ``nnx.Conv`` makes float32 weights whatever ``jax_enable_x64`` says; what is computed with them is float64.
- Constants are made when bijx is imported: in single precision unless ``jax_enable_x64`` was set before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    import jax

    jax.config.update("jax_enable_x64", True)
    import bijx  # type: ignore[import-untyped]
    import jax.numpy as jnp
    from flax import nnx  # type: ignore[import-untyped]
    from jax_autovmap import autovmap  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(f"bijx cannot be imported ({error}): pip install 'refimpl[bijx]'") from error

from refimpl.exact.phi4 import free_mass

from .jax_chains import BATCH, in_turns, joined

Array = NDArray[np.float64]
Shape = tuple[int, int]

TURN = 2 * math.pi
SEED = 5  # of the weights
WIDTH = 0.03  # standard deviation of the weights of the last layer of a net
SHARP = 0.32


class BijxFlow:
    """What targets have in common: the functions of a flow and of its independence sampler, from a `bijx.Transformed`.

    They are compiled once, for `BATCH` fields; fewer are filled up, more come in turns.
    """

    name: ClassVar[str] = f"bijx {bijx.__version__}"
    flow_updates: ClassVar[bool] = True

    model: Any  # bijx.Transformed
    log_weight: Callable[[Any], Any]  # -S of one field as the model has it
    log_volume: float = 0.0  # of the measure of the oracle, in that of the model
    inward: Callable[[Any], Any] = staticmethod(lambda x: x)  # fields as the oracle has them to those of the model
    outward: Callable[[Any], Any] = staticmethod(lambda x: x)  # and back

    def action(self, x: Any) -> Array:
        return in_turns(self._actions["action"], x)

    def force(self, x: Any) -> Array:
        return in_turns(self._actions["force"], x)

    def flow_forward(self, z: Any) -> tuple[Any, Array]:
        return in_turns(self._flow["flow_forward"], z)

    def flow_inverse(self, x: Any) -> tuple[Any, Array]:
        return in_turns(self._flow["flow_inverse"], x)

    def log_prob(self, x: Any) -> Array:
        return in_turns(self._flow["log_prob"], x)

    def prior_log_prob(self, z: Any) -> Array:
        return in_turns(self._flow["prior_log_prob"], z)

    def sample(self, n: int, seed: int) -> tuple[Any, Array]:
        """By `bijx.Transformed.sample`, a key for every batch."""
        keys = jax.random.split(jax.random.key(seed), -(-n // BATCH))
        return joined([self._flow["sample"](key) for key in keys], n)

    def step(self, x: Any, seed: int) -> Any:
        """One step of `bijx.IMH` for every chain."""
        return in_turns(self._flow["step"], x, jax.random.split(jax.random.key(seed), len(x)))

    @cached_property
    def _actions(self) -> dict[str, Callable[..., Any]]:
        def action(x: Any) -> Any:
            return -jax.vmap(self.log_weight)(self.inward(x))

        return {"action": jax.jit(action), "force": jax.jit(jax.grad(lambda x: action(x).sum()))}

    @cached_property
    def _flow(self) -> dict[str, Callable[..., Any]]:
        model, inward, outward, log_volume = self.model, self.inward, self.outward, self.log_volume

        def mapped(direction: Callable[..., Any], x: Any) -> Any:
            y, change = direction(inward(x), jnp.zeros(len(x)))
            return outward(y), -change

        def sample(key: Any) -> Any:
            x, log_prob = model.sample((BATCH,), rng=key)
            return outward(x), log_prob - log_volume

        def step(x: Any, key: Any) -> Any:
            state = bijx.IMHState(x, self.log_weight(x), model.log_density(x))
            return bijx.IMH(model, self.log_weight).step(key, state)[0].position

        functions: dict[str, Callable[..., Any]] = {
            "flow_forward": partial(mapped, model.bijection.forward),
            "flow_inverse": partial(mapped, model.bijection.reverse),
            "log_prob": lambda x: model.log_density(inward(x)) - log_volume,
            "prior_log_prob": lambda z: model.prior.log_density(inward(z)) - log_volume,
            "sample": sample,
            "step": lambda x, keys: outward(jax.vmap(step)(inward(x), keys)),
        }
        return {name: jax.jit(function) for name, function in functions.items()}


# --- scalars -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class BijxScalars(BijxFlow):
    """phi^4: ``free``, the scaling of `bijx.FreeTheoryScaling` to the closest free field, after couplings or alone.

    ``couplings``: of a field of unit variance; None for the free field, which at ``lam = 0`` is the theory itself.
    """

    m2: float
    lam: float
    shape: Shape
    couplings: Callable[[Shape], Any] | None
    flow_symmetries: tuple[str, ...] = ()
    flow_period: int = 1

    theory: ClassVar[str] = "phi4"
    flow_prior: ClassVar[str] = "normal"

    def log_weight(self, x: Any) -> Any:
        """bijx has the action without halves: ``sum (d phi)^2 + m2 phi^2 + lam phi^4`` of ``phi/sqrt 2``, lam a sixth of ours."""
        return -bijx.lattice.scalar.phi4_term(x / math.sqrt(2), self.m2, self.lam / 6).sum()

    def correlator(self, x: Array, t: int) -> Array:
        """The mean of the two-point function over the second direction is that of the means of slices."""
        return np.asarray(bijx.lattice.scalar.two_point(jnp.asarray(x), average=False)[:, t].mean(axis=-1))

    @cached_property
    def model(self) -> Any:
        free = bijx.FreeTheoryScaling(free_mass(self.m2, self.lam, self.shape), self.shape)
        layers = () if self.couplings is None else (self.couplings(self.shape),)
        return bijx.Transformed(bijx.IndependentNormal(self.shape), bijx.Chain(*layers, free))


def phi4_coupling(m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4)) -> BijxScalars:
    """Affine couplings on a checkerboard with periodic convolutions: `bijx.realnvp_conv_flow`, 6 layers."""
    return BijxScalars(m2, lam, shape, _convolutional, ("translation",), 2)


def phi4_spline(m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4)) -> BijxScalars:
    """Splines of 8 bins, the identity outside [0, 1], with dense nets: `bijx.coupling_flow`, 4 layers."""
    return BijxScalars(m2, lam, shape, partial(_dense, _spline, bias_mode="zeros"))


def phi4_cubic(m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4)) -> BijxScalars:
    """`bijx.CubicConjugation` with dense nets, 4 layers."""
    return BijxScalars(m2, lam, shape, partial(_dense, bijx.CubicConjugation))


def phi4_sinh(m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4)) -> BijxScalars:
    """`bijx.SinhConjugation` with dense nets, 4 layers."""
    return BijxScalars(m2, lam, shape, partial(_dense, bijx.SinhConjugation))


def free_field(m2: float = 0.5, lam: float = 0.0, shape: Shape = (4, 6)) -> BijxScalars:
    """The free field by its Fourier modes; exact at ``lam = 0``."""
    return BijxScalars(m2, lam, shape, None, ("translation", "parity", "reflection"))


def _convolutional(shape: Shape) -> Any:
    event = (*shape, 1)
    flow = bijx.realnvp_conv_flow(
        event,
        n_coupling_layers=6,
        hidden_channels=[8, 8],
        final_kernel_init=nnx.initializers.normal(WIDTH),
        rngs=nnx.Rngs(SEED),
    )
    return bijx.Chain(bijx.Reshape(shape, event), flow, bijx.Reshape(event, shape))


def _spline(rngs: Any) -> Any:
    return bijx.MonotoneRQSpline(8, (), rngs=rngs)


def _dense(bijection: Callable[..., Any], shape: Shape, **options: Any) -> Any:
    volume = math.prod(shape)
    flow = bijx.coupling_flow(
        volume,
        lambda rngs: bijection(rngs=rngs),
        n_coupling_layers=4,
        width=16,
        final_kernel_init=nnx.initializers.normal(WIDTH),
        rngs=nnx.Rngs(SEED),
        **options,
    )
    return bijx.Chain(bijx.Reshape(shape, (volume,)), flow, bijx.Reshape((volume,), shape))


# --- U(1) --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class BijxU1(BijxFlow):
    """U(1) from uniform links; the model has angles in turns, in [0, 1), with the direction last."""

    beta: float
    shape: Shape
    n_layers: int
    width: float

    theory: ClassVar[str] = "u1"
    flow_prior: ClassVar[str] = "uniform"
    flow_symmetries: ClassVar[tuple[str, ...]] = ("gauge", "translation")
    flow_period: ClassVar[int] = 4

    @property
    def log_volume(self) -> float:  # type: ignore[override]
        return 2 * math.prod(self.shape) * math.log(TURN)

    def log_weight(self, x: Any) -> Any:
        """``beta sum cos theta_P`` of links as 1 x 1 matrices."""
        return bijx.lattice.gauge.wilson_log_prob(jnp.exp(1j * TURN * x)[..., None, None], self.beta)

    @staticmethod
    def inward(x: Any) -> Any:
        return _turns(jnp.moveaxis(x, 1, -1) / TURN)

    @staticmethod
    def outward(x: Any) -> Any:
        theta = TURN * jnp.moveaxis(x, -1, 1)
        return jnp.where(theta >= math.pi, theta - TURN, theta)

    @cached_property
    def model(self) -> Any:
        layers = [PlaquetteCoupling(self.shape, i, self.width, nnx.Rngs(SEED + i)) for i in range(self.n_layers)]
        return bijx.Transformed(bijx.IndependentUniform((*self.shape, 2)), bijx.Chain(*layers))


def u1_coupling(beta: float = 1.0, shape: Shape = (4, 4), n_layers: int = 8) -> BijxU1:
    """Couplings of plaquettes by `bijx.MonotoneRQSpline` of 8 bins, with periodic convolutions of the frozen ones."""
    return BijxU1(beta, shape, n_layers, 2 * WIDTH)


def u1_sharp_coupling(beta: float = 1.0, shape: Shape = (4, 4), n_layers: int = 8) -> BijxU1:
    """The same with five times the weights: bins of very different sizes, as trained nets may make them."""
    return BijxU1(beta, shape, n_layers, SHARP)


class PlaquetteCoupling(bijx.Bijection):
    """A `bijx.GeneralCouplingLayer` of plaquettes, followed by the links between an active and a passive one.

    Stripes of Kanwar 2020: layer i moves links along ``mu = i % 2`` on every fourth line, ``y % 4 == (i // 2) % 4``, with the
    plaquettes above; the net sees those of the lines after. The change of a plaquette is that of its link, up to a sign.
    """

    def __init__(self, shape: Shape, i: int, width: float, rngs: Any) -> None:
        mu, offset = i % 2, (i // 2) % 4
        if shape[1 - mu] % 4:
            raise ValueError(f"shape: got {shape}, expected multiples of 4")
        line = np.indices(shape)[1 - mu] % 4
        spline = bijx.ModuleReconstructor(bijx.MonotoneRQSpline(8, (), rngs=rngs))
        net = bijx.nn.nets.ConvNet(
            2,
            spline.params_total_size,
            final_activation=lambda x: x,
            final_kernel_init=nnx.initializers.normal(width),
            rngs=rngs,
        )
        seen = jnp.asarray((line == (offset + 1) % 4) | (line == (offset + 2) % 4))

        def conditioned(plaquettes: Any) -> Any:
            angle = TURN * seen * plaquettes
            return net(jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1))

        mask = bijx.BinaryMask.from_boolean_mask(line == offset)
        self.mu = mu
        self.coupling = bijx.GeneralCouplingLayer(conditioned, mask, spline, split=False)

    def forward(self, x: Any, log_density: Any, **_: Any) -> Any:
        return self._moved(x, log_density, self.coupling.forward)

    def reverse(self, x: Any, log_density: Any, **_: Any) -> Any:
        return self._moved(x, log_density, self.coupling.reverse)

    def _moved(self, x: Any, log_density: Any, direction: Callable[..., Any]) -> Any:
        old = _turns(x[..., 0] + jnp.roll(x[..., 1], -1, -2) - jnp.roll(x[..., 0], -1, -1) - x[..., 1])
        new, log_density = direction(old, log_density)
        sign = 1 - 2 * self.mu
        return _turns(x.at[..., self.mu].add(sign * (new - old))), log_density


def _turns(x: Any) -> Any:
    """``x`` modulo 1 in [0, 1); rounding can leave 1."""
    x = x - jnp.floor(x)
    return jnp.where(x >= 1, 0.0, x)


# --- SU(2) -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class BijxSU2(BijxFlow):
    """SU(2) from Haar measure by a continuous flow, up the gradient of ``-S/12``: to first order in beta it is the theory.

    The integrator and the density both are of third order in the step and no more: neither is the inverse that of the map, nor the
    log-determinant that of its Jacobian, but as the step goes to 0.
    """

    beta: float
    shape: Shape
    n_steps: int

    theory: ClassVar[str] = "su2"
    flow_prior: ClassVar[str] = "haar"
    flow_symmetries: ClassVar[tuple[str, ...]] = ("gauge", "translation", "conjugation")

    def log_weight(self, x: Any) -> Any:
        """``(beta/2) sum Re tr P``."""
        return bijx.lattice.gauge.wilson_log_prob(x, self.beta)

    @staticmethod
    def inward(x: Any) -> Any:
        return jnp.moveaxis(x, 1, 3)

    @staticmethod
    def outward(x: Any) -> Any:
        return jnp.moveaxis(x, 3, 1)

    def force(self, x: Any) -> Array:
        """Along half the Pauli matrices; bijx's generators are i times the Pauli matrices."""
        return in_turns(self._gradient, x)

    @cached_property
    def _gradient(self) -> Callable[..., Any]:
        def gradient(x: Any) -> Any:
            return bijx.lie.path_grad(lambda y: -self.log_weight(y), bijx.lie.SU2_GEN / 2, x)[1]

        return jax.jit(lambda x: jnp.moveaxis(jax.vmap(gradient)(self.inward(x)), 3, 1))

    @cached_property
    def model(self) -> Any:
        @autovmap(0, 5)
        def velocity(t: Any, x: Any) -> Any:
            _, first, second = bijx.lie.path_grad2(self.log_weight, bijx.lie.SU2_GEN, x)
            return jnp.einsum("...a,aij->...ij", first, bijx.lie.SU2_GEN) / 12, -second.sum() / 12

        flow = bijx.ContFlowCG(velocity, steps=self.n_steps, tableau=bijx.cg.CG3)
        return bijx.Transformed(bijx.lie.HaarDistribution.periodic_gauge_lattice(2, self.shape), flow)


def su2_flow(beta: float = 1.0, shape: Shape = (2, 2), n_steps: int = 10) -> BijxSU2:
    """`bijx.ContFlowCG` with the derivatives of `bijx.lie` and the tableau CG3."""
    return BijxSU2(beta, shape, n_steps)


target = phi4_coupling
