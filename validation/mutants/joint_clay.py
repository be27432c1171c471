"""Plain joint flows of links and pseudofermions, and their pseudomarginal chain: the material of the mutants in `joint`.

Parallel transport convolutions site by site, with coefficients in closed form: fixed random matrices, turned a little by the
plaquette, about the hops that the operator itself is made of. Even sites alone, one Hasenbusch mass; rows of even sites move in
turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.exact import u1

from .. import measure, measure_matrices
from .clay import streams
from .fermions_clay import ONE, SIGMA_X, SIGMA_Y, SchwingerClay

Array = NDArray[np.float64]
Field = NDArray[Any]
Rngs = list[np.random.Generator]

LAYERS, STEPS, FEATURES = 3, 2, 2  # transports in a row, and features between them
DISORDER, RESPONSE = 0.03, 0.1  # of the coefficients, at random and with the plaquette
SEED = 20261126


@dataclass(frozen=True)
class ConditionalClay:
    """Maps of the noise of two monomials to their fields, ``psi' = A psi + P (transports of the others)`` layer by layer."""

    beta: float = 1.0
    kappa: float = 0.2
    shape: tuple[int, int] = (4, 2)
    theory: ClassVar[str] = "schwinger"
    colours: ClassVar[int] = 1
    even_odd: ClassVar[bool] = True
    mus: ClassVar[tuple[float, ...]] = (0.3,)
    inflation: ClassVar[float] = 1.15
    conditional_symmetries: ClassVar[tuple[str, ...]] = ("gauge", "translation")
    conditional_period: ClassVar[int] = 2
    killed_by: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        return type(self).__name__

    def replace(self, **changes: Any) -> Any:
        return replace(self, **changes)

    @property
    def monomials(self) -> int:
        return 1 + len(self.mus)

    @property
    def size(self) -> int:
        """Complex components of a monomial."""
        return self.shape[0] * self.shape[1] * self.colours

    def sites(self) -> list[tuple[int, int]]:
        return [(t, s) for t in range(self.shape[0]) for s in range(self.shape[1])]

    def even(self) -> NDArray[np.bool_]:
        return np.asarray(np.indices(self.shape).sum(axis=0) % 2 == 0)

    # --- links ------------------------------------------------------------------------------------------------------------
    def matrices(self, x: Field) -> Field:
        """Links as matrices, of one colour for angles."""
        return x if np.iscomplexobj(x) else np.exp(1j * x)[..., None, None]

    def boundary(self) -> tuple[float, float]:
        """The signs of time links that cross the last slice, ahead and back."""
        return -1.0, -1.0

    def back(self, u: Field) -> Field:
        """Of the transport from behind."""
        return u.conj().swapaxes(-1, -2)

    def neighbours(self, u: Field, psi: Field, t: int, s: int) -> list[Field]:
        """Fields ``(chain, spin, colour)`` at a site and, transported there, at those ahead and behind it in time and space."""
        n_t, n_x = self.shape
        ahead, back = self.boundary()
        out = [psi[:, t, s]]
        for mu, there, before in (
            (0, ((t + 1) % n_t, s), ((t - 1) % n_t, s)),
            (1, (t, (s + 1) % n_x), (t, (s - 1) % n_x)),
        ):
            signs = (ahead if mu == 0 and t == n_t - 1 else 1.0, back if mu == 0 and t == 0 else 1.0)
            links = u[:, mu, t, s], self.back(u[:, mu, before[0], before[1]])
            for sign, link, other in zip(signs, links, (there, before), strict=True):
                out.append(sign * np.einsum("nab,nkb->nka", link, psi[:, other[0], other[1]]))
        return out

    def context(self, x: Field) -> Field:
        """Of every site, ``(chain, T, X)``: the plaquette ``tr P/N``."""
        if np.iscomplexobj(x):
            return np.einsum("...ii->...", measure_matrices.plaquettes(x)) / self.colours
        return np.exp(1j * measure.plaquette_angles(x))

    # --- coefficients -----------------------------------------------------------------------------------------------------
    def weight(self, monomial: int) -> float:
        """Of two hops in a row, for covariances ``M/(M + mu)`` and ``M + mu``."""
        mu = self.mus[0]
        return mu / (1 + mu) ** 1.5 if monomial == 0 else 1 / math.sqrt(1 + mu)

    def width(self, monomial: int) -> float:
        return math.sqrt(1 + self.mus[0]) ** (-1 if monomial == 0 else 1)

    def fixed(self, monomial: int, layer: int) -> tuple[Field, list[Field]]:
        """A matrix of spins, and for every transport one of ``(features, 5 features)``."""
        rng = np.random.default_rng([SEED, monomial, layer])
        noise = DISORDER * (rng.standard_normal((3, 2, 10)) + 1j * rng.standard_normal((3, 2, 10)))
        # A step of the operator: nothing stays, kappa (1 -+ sigma) from ahead and behind.
        hop = self.kappa * np.concatenate([0 * ONE, ONE - SIGMA_X, ONE + SIGMA_X, ONE - SIGMA_Y, ONE + SIGMA_Y], axis=1)
        transports = [hop + noise[k] for k in range(STEPS)]
        width = self.width(monomial)
        transports[-1] = -self.weight(monomial) * (0.5, 1 / width, 0.5 / width)[layer] * transports[-1]
        return (self.width(monomial) if layer < 2 else 1.0) * ONE + noise[2, :, :2], transports

    def coefficients(self, monomial: int, layer: int, h: Field) -> tuple[Field, list[Field]]:
        """At every site, ``(chain, T, X, ...)``."""
        a, transports = self.fixed(monomial, layer)
        turn = (1 + RESPONSE * (h.real - 0.7 + 1j * h.imag / 2))[..., None, None]
        return a * turn, [matrix * turn for matrix in transports]

    # --- the map ----------------------------------------------------------------------------------------------------------
    def active(self, layer: int) -> NDArray[np.bool_]:
        """Even sites in every other row."""
        rows = np.indices(self.shape)[0] % 2 == layer % 2
        return self.even() & rows

    def projected(self, layer: int, psi: Field) -> Field:
        """Of what the transports say, the part that is added."""
        return np.where(self.active(layer)[..., None, None], psi, 0)

    def transported(self, u: Field, psi: Field, matrices: list[Field]) -> Field:
        for matrix in matrices:
            out = np.empty_like(psi)
            for t, s in self.sites():
                around = np.concatenate(self.neighbours(u, psi, t, s), axis=1)
                out[:, t, s] = np.einsum("nhg,ngc->nhc", matrix[:, t, s], around)
            psi = out
        return psi

    def layer_logdet(self, a: Field, active: NDArray[np.bool_]) -> Array:
        """Two real numbers for every complex one, and every colour."""
        logs = np.log(np.abs(np.linalg.det(a)))
        return np.asarray(2 * self.colours * np.where(active, logs, 0).sum(axis=(1, 2)))

    def layer(self, x: Field, psi: Field, monomial: int, layer: int, sign: int) -> tuple[Field, Array]:
        active = self.active(layer)
        a, matrices = self.coefficients(monomial, layer, self.context(x))
        frozen = np.where(active[..., None, None], 0, psi)
        shift = self.projected(layer, self.transported(self.matrices(x), frozen, matrices))
        if sign > 0:
            moved = np.einsum("ntxhg,ntxgc->ntxhc", a, psi) + shift
            moved = np.where(active[..., None, None], moved, psi + shift)
        else:
            moved = np.einsum("ntxhg,ntxgc->ntxhc", np.linalg.inv(a), psi - shift)
            moved = np.where(active[..., None, None], moved, psi - shift)
        return moved, sign * self.layer_logdet(a, active)

    def inflated(self, psi: Field, sign: int) -> tuple[Field, float]:
        return psi * self.inflation**sign, sign * 2 * self.size * math.log(self.inflation)

    def through(self, x: Field, psi: Field, monomial: int, sign: int) -> tuple[Field, Array]:
        """One field ``(chain, t, x, spin, colour)``."""
        logdet = np.zeros(len(x))
        if sign < 0:
            psi, own = self.inflated(psi, sign)
            logdet = logdet + own
        for layer in range(LAYERS)[::sign]:
            psi, step = self.layer(x, psi, monomial, layer, sign)
            logdet = logdet + step
        if sign > 0:
            psi, own = self.inflated(psi, sign)
            logdet = logdet + own
        return psi, logdet

    def all_through(self, x: Field, fields: Field, sign: int) -> tuple[Field, Array]:
        fields = np.asarray(fields, np.complex128)
        psi = fields if np.iscomplexobj(x) else fields[..., None]
        out = [self.through(x, psi[:, m], m, sign) for m in range(self.monomials)]
        image = np.stack([part for part, _ in out], axis=1).reshape(fields.shape)
        return image, np.stack([logdet for _, logdet in out], axis=1)

    def conditional_forward(self, x: Field, chi: Field) -> tuple[Field, Array]:
        return self.all_through(x, chi, 1)

    def conditional_inverse(self, x: Field, phi: Field) -> tuple[Field, Array]:
        return self.all_through(x, phi, -1)

    # --- the density ------------------------------------------------------------------------------------------------------
    def base_constant(self) -> float:
        return -self.size * math.log(math.pi)

    def base(self, chi: Field) -> Array:
        """``pi^-N exp(-chi^dag chi)``."""
        squares = np.abs(chi.reshape(*chi.shape[:2], -1)) ** 2
        return np.asarray(self.base_constant() - squares.sum(axis=-1))

    def conditional_log_prob(self, x: Field, phi: Field) -> Array:
        chi, logdet = self.conditional_inverse(x, phi)
        return self.base(chi) + logdet

    def variance(self) -> float:
        """Of the real and of the imaginary part of the noise."""
        return 0.5

    def noise(self, rngs: Rngs) -> Field:
        """Of all monomials, from one generator a chain."""
        shape = (self.monomials, *self.shape, 2, *((self.colours,) if self.colours > 1 else ()))
        chi = np.array([rng.standard_normal((2, *shape)) for rng in rngs])
        even = self.even().reshape(*self.shape, *(1,) * (len(shape) - 3))
        return np.sqrt(self.variance()) * np.where(even, chi[:, 0] + 1j * chi[:, 1], 0)

    def drawn(self, x: Field, rngs: Rngs) -> tuple[Field, Array]:
        chi = self.noise(rngs)
        phi, logdet = self.conditional_forward(x, chi)
        return phi, self.base(chi) - logdet

    def conditional_sample(self, x: Field, seed: int) -> tuple[Field, Array]:
        return self.drawn(x, streams(seed, len(x)))


@dataclass(frozen=True)
class ColourClay(ConditionalClay):
    """Of SU(2)."""

    theory: ClassVar[str] = "su2"
    colours: ClassVar[int] = 2


@dataclass(frozen=True)
class HeatBathClay(ConditionalClay):
    """The density of the heat bath itself: ``phi = K^1/2 chi`` by Cholesky factors of dense matrices."""

    conditional_is_exact: ClassVar[bool] = True
    conditional_symmetries: ClassVar[tuple[str, ...]] = ()
    shape: tuple[int, int] = (2, 2)

    @cached_property
    def fermions(self) -> SchwingerClay:
        return SchwingerClay(beta=self.beta, shape=self.shape, kappa=self.kappa)

    def covariances(self, x: Field) -> list[Field]:
        core = self.fermions.schur(self.fermions.dirac_dense(x))
        m = core @ core.conj().swapaxes(-1, -2)
        above = m + self.mus[0] * np.eye(m.shape[-1])
        ratio = m @ np.linalg.inv(above)
        return [(ratio + ratio.conj().swapaxes(-1, -2)) / 2, above]

    def through(self, x: Field, psi: Field, monomial: int, sign: int) -> tuple[Field, Array]:
        root = np.linalg.cholesky(self.covariances(x)[monomial])
        flat, even = psi.reshape(len(psi), -1, 1), self.fermions.even()
        out = np.zeros_like(flat)
        out[:, even] = root @ flat[:, even] if sign > 0 else np.linalg.solve(root, flat[:, even])
        return out.reshape(psi.shape), sign * 2 * np.linalg.slogdet(root)[1]


@dataclass(frozen=True)
class JointClay(ConditionalClay):
    """Links of pure gauge theory at a larger beta, the conditional, and the chain that keeps its estimates."""

    shape: tuple[int, int] = (2, 2)
    n_pf: ClassVar[int] = 1

    # --- the links --------------------------------------------------------------------------------------------------------
    @property
    def flow_prior_beta(self) -> float:
        return 1.3 * self.beta

    def energy(self, x: Array) -> Array:
        return np.asarray((1 - np.cos(measure.plaquette_angles(x))).sum(axis=(1, 2)))

    def log_prob(self, x: Array) -> Array:
        constant = u1.log_partition(self.flow_prior_beta, self.shape)
        return -self.flow_prior_beta * self.energy(x) - constant - 2 * math.prod(self.shape) * math.log(2 * math.pi)

    def links(self, rngs: Rngs) -> Array:
        return u1.sample(rngs, len(rngs), self.flow_prior_beta, self.shape)

    def sample(self, n: int, seed: int) -> tuple[Array, Array]:
        x = self.links(streams(seed, n))
        return x, self.log_prob(x)

    def joint_sample(self, n: int, seed: int) -> tuple[Array, Field, Array]:
        rngs = streams(seed, n)
        x = self.links(rngs)
        phi, log_q = self.drawn(x, rngs)
        return x, phi, self.log_prob(x) + log_q.sum(axis=1)

    # --- weights ----------------------------------------------------------------------------------------------------------
    @cached_property
    def fermions(self) -> SchwingerClay:
        return SchwingerClay(beta=self.beta, shape=self.shape, kappa=self.kappa)

    def masses(self) -> list[tuple[float, float | None]]:
        """Of every monomial, and of the next."""
        return [(0.0, self.mus[0]), (self.mus[0], None)]

    def precisions(self, x: Array) -> list[Field]:
        core = self.fermions.schur(self.fermions.dirac_dense(x))
        m, one = core @ core.conj().swapaxes(-1, -2), np.eye(core.shape[-1])
        inverses = [np.linalg.inv(m + mass * one) for mass, _ in self.masses()]
        pairs = zip(inverses, self.masses(), strict=True)
        return [k if above is None else one + (above - below) * k for k, (below, above) in pairs]

    def monomial_actions(self, precisions: list[Field], phi: Field) -> Array:
        """``(chain, field)``."""
        v = phi.reshape(*phi.shape[:2], -1)[:, :, self.fermions.even()]
        parts = [np.einsum("ni,nij,nj->n", v[:, m].conj(), k, v[:, m]).real for m, k in enumerate(precisions)]
        return np.stack(parts, axis=1)

    def heat_bath(self, precisions: list[Field], rngs: Rngs) -> Field:
        flat = np.zeros((len(rngs), self.monomials, 2 * math.prod(self.shape)), np.complex128)
        for m, precision in enumerate(precisions):
            root = np.linalg.cholesky(np.linalg.inv(precision))
            flat[:, m, self.fermions.even()] = np.einsum("nij,nj->ni", root, self.fermions.noise(rngs, root.shape[-1]))
        return flat.reshape(len(rngs), self.monomials, *self.shape, 2)

    def averaged(self, logs: Array) -> Array:
        """The log of the average over the first axis."""
        top = logs.max(axis=0)
        return np.asarray(top + np.log(np.exp(logs - top).mean(axis=0)))

    def ratio(self, x: Array, precisions: list[Field], phi: Field, log_q: Array) -> Array:
        """``log [exp(-S_m)/q_m]``, without powers of pi."""
        return -self.monomial_actions(precisions, phi) - log_q - self.size * math.log(math.pi)

    def estimate(self, x: Array, rngs: Rngs, start: bool) -> Array:
        """The log of an estimate of the weight, at the start with one draw of every monomial from the heat bath."""
        precisions = self.precisions(x)
        logs = [self.ratio(x, precisions, *self.drawn(x, rngs)) for _ in range(self.n_pf)]
        if start:
            phi = self.heat_bath(precisions, rngs)
            logs[0] = self.ratio(x, precisions, phi, self.conditional_log_prob(x, phi))
        return self.averaged(np.array(logs)).sum(axis=1) - self.beta * self.energy(x) - self.log_prob(x)

    def begun(self, x: Array, rngs: Rngs) -> Array:
        return self.estimate(x, rngs, True)

    def pseudomarginal_start(self, x: Array, seed: int) -> Array:
        return self.begun(x, streams(seed, len(x)))

    # --- the chain --------------------------------------------------------------------------------------------------------
    def held(self, x: Array, log_w: Array, rngs: Rngs) -> Array:
        """The estimate that a proposal is compared with."""
        return log_w

    def accept(self, log_ratio: Array, u: Array) -> NDArray[np.bool_]:
        return np.asarray(np.log(u) < log_ratio)

    def proposal(self, rngs: Rngs) -> tuple[Array, Array]:
        y = self.links(rngs)
        return y, self.estimate(y, rngs, False)

    def next_estimate(self, accepted: NDArray[np.bool_], log_w: Array, proposed: Array) -> Array:
        return np.where(accepted, proposed, log_w)

    def update(self, x: Array, log_w: Array, rngs: Rngs) -> dict[str, Array]:
        y, proposed = self.proposal(rngs)
        u = np.array([rng.random() for rng in rngs])
        log_w = self.held(x, log_w, rngs)
        accepted = self.accept(proposed - log_w, u)
        return {
            "x_proposed": y,
            "log_w_proposed": proposed,
            "u": u,
            "accept": accepted.astype(np.float64),
            "x_next": np.where(accepted[:, None, None, None], y, x),
            "log_w_next": self.next_estimate(accepted, log_w, proposed),
        }

    def pseudomarginal(self, x: Array, log_w: Array, seed: int) -> dict[str, Array]:
        return self.update(x, log_w, streams(seed, len(x)))

    def step(self, x: Array, seed: int) -> Array:
        return self.run(x, 1, seed)[0][0]

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        rngs = streams(seed, len(x))
        return self.advance(x, self.begun(x, rngs), rngs, n)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        x, log_w, rng_states = state
        rngs = streams(0, len(rng_states))
        for rng, rng_state in zip(rngs, rng_states, strict=True):
            rng.bit_generator.state = rng_state
        return self.advance(x, log_w, rngs, n)

    def advance(self, x: Array, log_w: Array, rngs: Rngs, n: int) -> tuple[Array, Any]:
        out = np.empty((n, *x.shape))
        for i in range(n):
            record = self.update(x, log_w, rngs)
            x, log_w = record["x_next"], record["log_w_next"]
            out[i] = x
        return out, (x, log_w, [rng.bit_generator.state for rng in rngs])
