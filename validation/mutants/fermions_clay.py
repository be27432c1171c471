"""A plain HMC of the Schwinger model, one method per decision an implementer takes: the material of the mutants in `fermions`.

The operator is built site by site, its determinant and inverse are dense, the rest is the clay of U(1). Even-odd pseudofermions
with two Hasenbusch masses. Correct: it passes the whole battery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .clay import Array, Clay, Rngs

Complex = NDArray[Any]

SIGMA_X: Complex = np.array([[0, 1], [1, 0]], np.complex128)
SIGMA_Y: Complex = np.array([[0, -1j], [1j, 0]])
ONE: Complex = np.eye(2, dtype=np.complex128)


@dataclass(frozen=True)
class SchwingerClay(Clay):
    """Correct HMC with the exact determinant, on a lattice of two sites in time."""

    shape: tuple[int, int] = (2, 4)
    step_size: float = 0.5
    n_steps: int = 3
    kappa: float = 0.2
    theory: ClassVar[str] = "schwinger"
    even_odd: ClassVar[bool] = True
    mus: ClassVar[tuple[float, ...]] = (0.2, 0.6)

    # --- the operator ---------------------------------------------------------------------------------------------------
    def hopping(self) -> float:
        """The number before the hops."""
        return self.kappa

    def boundary(self) -> float:
        """The sign of time links that cross the last time slice."""
        return -1.0

    def links(self, x: Array) -> Complex:
        u = np.exp(1j * x)
        u[:, 0, -1] *= self.boundary()
        return u

    def gammas(self) -> tuple[Complex, Complex]:
        return SIGMA_X, SIGMA_Y

    def ahead(self, mu: int) -> Complex:
        """The spin matrix of the hop from ``y + mu^`` to ``y``."""
        return ONE - self.gammas()[mu]

    def behind(self, mu: int) -> Complex:
        return ONE + self.gammas()[mu]

    def back(self, u: Complex) -> Complex:
        """The link of the hop back."""
        return u.conj()

    def put(self, d: Complex, row: int, column: int, block: Complex) -> None:
        """Enter a block of spins between two sites."""
        d[:, row, :, column] += block

    def neighbours(self) -> list[tuple[int, int, int, int, int]]:
        """For every link: mu, t, s, its site and the site ahead."""
        n_t, n_x = self.shape
        return [
            (mu, t, s, t * n_x + s, (t + 1) % n_t * n_x + s if mu == 0 else t * n_x + (s + 1) % n_x)
            for mu in (0, 1)
            for t in range(n_t)
            for s in range(n_x)
        ]

    def dirac_dense(self, x: Array) -> Complex:
        volume, u, kappa = self.shape[0] * self.shape[1], self.links(x), self.hopping()
        d = np.zeros((len(x), volume, 2, volume, 2), np.complex128)
        for mu, t, s, here, there in self.neighbours():
            link = u[:, mu, t, s, None, None]
            self.put(d, here, there, -kappa * link * self.ahead(mu))
            self.put(d, there, here, -kappa * self.back(link) * self.behind(mu))
        return d.reshape(len(x), 2 * volume, 2 * volume) + np.eye(2 * volume)

    def apply_links(self, x: Array) -> Complex:
        return self.links(x)

    def dirac_apply(self, x: Array, psi: Complex) -> Complex:
        u, out = self.apply_links(x), psi.copy()
        for mu in (0, 1):
            link = u[:, mu, :, :, None]
            forward = link * np.roll(psi, -1, 1 + mu) @ self.ahead(mu).T
            backward = np.roll(self.back(link) * psi, 1, 1 + mu) @ self.behind(mu).T
            out = out - self.hopping() * (forward + backward)
        return out

    # --- the determinant -----------------------------------------------------------------------------------------------
    def logdet_dirac(self, x: Array) -> Array:
        return np.asarray(np.linalg.slogdet(self.dirac_dense(x))[1])

    def fermion_action(self, x: Array) -> Array:
        return -2 * self.logdet_dirac(x)

    def action(self, x: Array) -> Array:
        return super().action(x) + self.fermion_action(x)

    def force_links(self, x: Array) -> Complex:
        return self.links(x)

    def determinant_force(self, x: Array) -> Array:
        """``-2 Re tr(D^-1 dD)`` link by link."""
        volume, u = self.shape[0] * self.shape[1], self.force_links(x)
        inverse = np.linalg.inv(self.dirac_dense(x)).reshape(len(x), volume, 2, volume, 2)
        force = np.empty(x.shape)
        for mu, t, s, here, there in self.neighbours():
            link = 1j * u[:, mu, t, s]
            forward = link * np.einsum("npq,qp->n", inverse[:, there, :, here], self.ahead(mu))
            backward = link.conj() * np.einsum("npq,qp->n", inverse[:, here, :, there], self.behind(mu))
            force[:, mu, t, s] = 2 * self.kappa * (forward + backward).real
        return force

    def force(self, x: Array) -> Array:
        return super().force(x) + self.determinant_force(x)

    # --- pseudofermions ----------------------------------------------------------------------------------------------------
    def even(self) -> NDArray[np.bool_]:
        """Rows of even sites."""
        t, s = np.indices(self.shape)
        return np.repeat((t + s).ravel() % 2 == 0, 2)

    def blocks(self, d: Complex) -> tuple[Complex, Complex]:
        even = self.even()
        return d[:, even][:, :, ~even], d[:, ~even][:, :, even]

    def schur(self, d: Complex) -> Complex:
        d_eo, d_oe = self.blocks(d)
        return np.eye(d_eo.shape[1]) - d_eo @ d_oe

    def schur_derivative(self, d: Complex, dd: Complex) -> Complex:
        (d_eo, d_oe), (dd_eo, dd_oe) = self.blocks(d), self.blocks(dd)
        return -dd_eo @ d_oe - d_eo @ dd_oe

    def steps(self) -> list[tuple[float, float | None]]:
        """The two masses of every monomial; the last has one."""
        return list(zip((0.0, *self.mus), (*self.mus, None), strict=True))

    def inverses(self, core: Complex) -> list[Complex]:
        """``(M + m)^-1`` for the first mass of every monomial."""
        m = core @ core.conj().swapaxes(-1, -2)
        return [np.linalg.inv(m + mass * np.eye(m.shape[-1])) for mass, _ in self.steps()]

    def kernels(self, x: Array) -> list[Complex]:
        """``K_m`` of ``S_m = phi^dag K_m phi``."""
        inverses = self.inverses(self.schur(self.dirac_dense(x)))
        one = np.eye(inverses[0].shape[-1])
        pairs = zip(inverses, self.steps(), strict=True)
        return [k if above is None else one + (above - below) * k for k, (below, above) in pairs]

    def living(self, phi: Complex) -> Complex:
        """Components on even sites, ``(chain, field, rows)``."""
        return phi.reshape(*phi.shape[:2], -1)[:, :, self.even()]

    def pseudofermion_action(self, x: Array, phi: Complex) -> Array:
        v = self.living(phi)
        parts = [np.einsum("ni,nij,nj->n", v[:, m].conj(), k, v[:, m]).real for m, k in enumerate(self.kernels(x))]
        return np.sum(parts, axis=0)

    def pseudofermion_factor(self) -> float:
        """``dS = -2 Re psi^dag dC C^dag psi``."""
        return -2.0

    def pseudofermion_force(self, x: Array, phi: Complex) -> Array:
        d, v, u = self.dirac_dense(x), self.living(phi), self.links(x)
        core, volume = self.schur(d), self.shape[0] * self.shape[1]
        solved = [np.einsum("nij,nj->ni", k, v[:, m]) for m, k in enumerate(self.inverses(core))]
        weights = [1.0 if above is None else above - below for below, above in self.steps()]
        force = np.empty(x.shape)
        for mu, t, s, here, there in self.neighbours():
            dd = np.zeros((len(x), volume, 2, volume, 2), np.complex128)
            link = 1j * u[:, mu, t, s, None, None]
            self.put(dd, here, there, -self.kappa * link * self.ahead(mu))
            self.put(dd, there, here, -self.kappa * link.conj() * self.behind(mu))
            dm = self.schur_derivative(d, dd.reshape(d.shape)) @ core.conj().swapaxes(-1, -2)
            parts = [w * np.einsum("ni,nij,nj->n", psi.conj(), dm, psi) for w, psi in zip(weights, solved, strict=True)]
            force[:, mu, t, s] = self.pseudofermion_factor() * np.sum(parts, axis=0).real
        return force

    def noise(self, rngs: Rngs, rows: int) -> Complex:
        """Complex normal numbers with ``E |chi|^2 = 1``, ``(chain, rows)``."""
        pairs = np.array([rng.standard_normal((2, rows)) for rng in rngs])
        return (pairs[:, 0] + 1j * pairs[:, 1]) / np.sqrt(2)

    def drawn(self, x: Array, rngs: Rngs) -> Complex:
        """``phi = K^-1/2 chi`` for every monomial."""
        kernels, even = self.kernels(x), self.even()
        flat = np.zeros((len(x), len(kernels), even.size), np.complex128)
        for m, kernel in enumerate(kernels):
            root = np.linalg.cholesky(np.linalg.inv(kernel))
            flat[:, m, even] = np.einsum("nij,nj->ni", root, self.noise(rngs, root.shape[-1]))
        return flat.reshape(len(x), len(kernels), *self.shape, 2)

    def pseudofermion_heat_bath(self, x: Array, seed: int) -> Complex:
        return self.drawn(x, self.rngs(seed, len(x)))

    # --- estimates of the determinant ----------------------------------------------------------------------------------
    def scale(self) -> float:
        """Variance of the Gaussian fields of an estimate."""
        return 1.0

    def log_weight(self, m: Complex, phi: Complex) -> Array:
        """``log w`` of a field of that variance c, ``c^n exp(phi^dag phi/c - phi^dag M^-1 phi)``, whose mean is ``det M``."""
        solved = np.linalg.solve(m, phi[..., None])[..., 0]
        exponent = (phi.conj() * (phi / self.scale() - solved)).sum(axis=1).real
        return exponent + m.shape[-1] * np.log(self.scale())

    def determinant_estimate(self, x: Array, n: int, seed: int) -> Array:
        d, rngs = self.dirac_dense(x), self.rngs(seed, len(x))
        m = d @ d.conj().swapaxes(-1, -2)
        fields = (np.sqrt(self.scale()) * self.noise(rngs, m.shape[-1]) for _ in range(n))
        return np.exp(np.stack([self.log_weight(m, phi) for phi in fields], axis=1))


@dataclass(frozen=True)
class PseudofermionClay(SchwingerClay):
    """Correct HMC with pseudofermions, drawn anew at the start of every trajectory and kept for it."""

    shape: tuple[int, int] = (2, 2)
    pseudofermions: ClassVar[bool] = True
    forward: ClassVar[Any] = None
    inverse: ClassVar[Any] = None

    def gauge_action(self, x: Array) -> Array:
        return Clay.action(self, x)

    def fields(self, x: Array, rngs: Rngs) -> Complex:
        """The pseudofermions of a trajectory."""
        return self.drawn(x, rngs)

    def hamiltonian(self, x: Array, v: Array, phi: Complex) -> Array:
        return self.gauge_action(x) + self.pseudofermion_action(x, phi) + self.kinetic(v)

    def driving_force(self, y: Array, phi: Complex, x: Array, k: int) -> Array:
        """The force of pseudofermions in kick k of the trajectory from ``x``."""
        return self.pseudofermion_force(y, phi)

    def transition(self, x: Array, v: Array, u: Array, phi: Complex) -> dict[str, Array]:  # type: ignore[override]
        y, w = x, v
        for k, weight in enumerate(self.kicks()):
            y = y if k == 0 else self.drift(y, self.step_size * w)
            w = w - weight * self.step_size * (Clay.force(self, y) + self.driving_force(y, phi, x, k))
        delta_h, logdet = self.hamiltonian(y, w, phi) - self.hamiltonian(x, v, phi), np.zeros(len(x))
        accept = self.accept(delta_h, logdet, u)
        return {
            "x_proposed": y,
            "v_proposed": w,
            "logdet": logdet,
            "delta_h": delta_h,
            "accept": accept.astype(np.float64),
            "x_next": self.choose(accept, y, x),
        }

    def update(self, x: Array, rngs: Rngs) -> dict[str, Array]:
        v, u, phi = self.momenta(rngs), self.uniforms(rngs), self.fields(x, rngs)
        return {**self.transition(x, v, u, phi), "v": v, "u": u, "phi": phi}

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        return self.update(x, self.rngs(seed, len(x)))

    def advance(self, x: Array, force: Array, rngs: Rngs, n: int) -> tuple[Array, Any]:
        out = np.empty((n, *x.shape))
        for i in range(n):
            x = out[i] = self.update(x, rngs)["x_next"]
        return out, (x, force, [rng.bit_generator.state for rng in rngs])


@dataclass(frozen=True)
class OrbitClay(SchwingerClay):
    """HMC, then draws of a uniform flux: by the gauge action along the whole orbit, accepted with the ratio of determinants."""

    beta: float = 0.3
    kappa: float = 0.05
    step_size: float = 0.2
    reversible: ClassVar[bool] = False

    def window(self) -> range:
        """The fluxes that may be added: all, for the weights of an orbit to add up to the same from wherever."""
        return range(self.shape[0] * self.shape[1])

    def choose(self, accept: NDArray[np.bool_], x_end: Array, x: Array) -> Array:
        now, rng = super().choose(accept, x_end, x), np.random.default_rng()
        for _ in range(10):
            fields = np.stack([self.wound(now, k) for k in self.window()])
            cumulative = np.cumsum(np.exp([-Clay.action(self, field) for field in fields]), axis=0)
            pick = (rng.random(len(x)) * cumulative[-1] >= cumulative[:-1]).sum(axis=0)
            new = fields[pick, np.arange(len(x))]
            ratio = np.exp(self.fermion_action(now) - self.fermion_action(new))
            now = np.where((rng.random(len(x)) < ratio)[:, None, None, None], new, now)
        return now

    def wound(self, x: Array, k: int) -> Array:
        """The field with ``2 pi k/V`` more in every plaquette."""
        n_t, n_x = self.shape
        flux = np.zeros((1, *x.shape[1:]))
        flux[0, 1] = 2 * np.pi * k / (n_t * n_x) * np.arange(n_t)[:, None]
        flux[0, 0, -1] = -2 * np.pi * k / n_x * np.arange(n_x)
        return self.wrapped(x + flux)
