"""Step size and trajectory length of HMC: dual averaging to a target acceptance, then the cheapest of a few lengths.

The step size is adapted at a fixed number of integrator steps. Then the acceptance is a continuous function of the step
size (at a fixed length it jumps wherever the number of steps is rounded) and the cost of a trajectory is known
beforehand; the grid over numbers of steps finds the length. Of nested time scales it is the outermost step that is adapted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .actions import Action
from .kernels import HMC, FourierHMC, NestedHMC, spawn_rngs
from .lattice import check_integer, check_number
from .maps import LEAPFROG, Integrator
from .statistics import integrated_autocorrelation_time

Array = NDArray[np.float64]
Seed = int | np.random.SeedSequence
Trajectories = TypeVar("Trajectories", bound=HMC | FourierHMC | NestedHMC)
# A kernel, fields to start from and a seed -> tau and its error; an infinite error makes tau a lower bound.
Tau = Callable[[Any, Array, np.random.SeedSequence], tuple[float, float]]

# 0.651 is the best in many dimensions, whatever the distribution (Beskos et al. 2013, Bernoulli 19, 1501), and more in few. On
# 8 x 8 U(1) the cost is flat around it: within 20 % from 0.5 to 0.8 for the charge, least near 0.8 for the plaquette.
TARGET = 0.7

DOUBLINGS = 100  # from any step size a human would type, in either direction, to one that a force can have


@dataclass(frozen=True)
class DualAveraging:
    """The logarithm of a step size, steered until the mean of ``H_t = target - acceptance_t`` vanishes.

    Hoffman & Gelman 2014 (JMLR 15, 1593), sec. 3.2, eq. (5), with H of eq. (6) and their gamma, t0, kappa.

    Attributes
    ----------
    target : acceptance. mu : the logarithm the step size is drawn to, theirs is ``log(10 first step size)``.
    log_step : logarithm of the step size to use next. log_mean : of the averaged one, the result.
    shortfall : ``sum_t H_t``. t : number of acceptances seen.
    """

    target: float
    mu: float
    log_step: float
    log_mean: float = 0.0
    shortfall: float = 0.0
    t: int = 0
    gamma: float = 0.05
    t0: float = 10.0
    kappa: float = 0.75

    def after(self, acceptance: float) -> DualAveraging:
        """The state when a trajectory at ``exp(log_step)`` was accepted with this probability."""
        t, shortfall = self.t + 1, self.shortfall + self.target - acceptance
        log_step = self.mu - math.sqrt(t) / self.gamma * shortfall / (t + self.t0)  # (5), first line
        eta = t**-self.kappa
        log_mean = eta * log_step + (1 - eta) * self.log_mean  # (5), second line
        return replace(self, t=t, shortfall=shortfall, log_step=log_step, log_mean=log_mean)


def outer_steps(kernel: HMC | FourierHMC | NestedHMC) -> int:
    """Integrator steps of a trajectory, of nested ones on the outermost level."""
    return kernel.levels[0].n_steps if isinstance(kernel, NestedHMC) else kernel.n_steps


def step_size(kernel: HMC | FourierHMC | NestedHMC) -> float:
    """Of the integrator, of nested ones of the outermost level."""
    return kernel.length / outer_steps(kernel) if isinstance(kernel, NestedHMC) else kernel.step_size


def with_step_size(kernel: Trajectories, size: float) -> Trajectories:
    """The kernel with another `step_size`."""
    if isinstance(kernel, NestedHMC):
        return replace(kernel, length=size * outer_steps(kernel))
    return replace(kernel, step_size=size)


def gradients(kernel: HMC | FourierHMC | NestedHMC) -> int:
    """Gradients of the action in a trajectory; of nested ones those of pseudofermions, which cost the time."""
    if not isinstance(kernel, NestedHMC):
        return kernel.n_forces
    return sum(n * max(1, len(level.monomials)) for n, level in zip(kernel.n_forces, kernel.levels, strict=True)
               if level.monomials or not kernel.monomials)  # fmt: skip


@dataclass(frozen=True)
class Adapted:
    """HMC with its step size adapted, the acceptance measured with it afterwards, and the fields at the end."""

    kernel: Any
    acceptance: float
    x: Array


@dataclass(frozen=True)
class Trial:
    """One number of steps: its HMC, the acceptance, and tau with its error (infinite: tau is a lower bound)."""

    kernel: Any
    acceptance: float
    tau: float
    tau_error: float

    @property
    def cost(self) -> float:
        """Gradients per independent sample, up to the factor two of ``2 tau``: ``tau`` times those of a trajectory."""
        return self.tau * gradients(self.kernel)

    def __str__(self) -> str:
        nested = isinstance(self.kernel, NestedHMC)
        name = f"nested, {self.kernel.levels[0].integrator.name}" if nested else self.kernel.integrator.name
        return (
            f"{name}, n_steps {outer_steps(self.kernel)}, step_size {step_size(self.kernel):.4g}: "
            f"acceptance {self.acceptance:.3f}, tau {self.tau:.4g} +- {self.tau_error:.2g}, cost {self.cost:.4g}"
        )


@dataclass(frozen=True)
class Tuned:
    """The cheapest trial, and all of them; prints as a line each."""

    best: Trial
    tried: tuple[Trial, ...]

    @property
    def kernel(self) -> Any:
        """The kernel of the cheapest trial."""
        return self.best.kernel

    def __str__(self) -> str:
        return "\n".join(f"{'->' if trial is self.best else '  '} {trial}" for trial in self.tried)


def tune_hmc(
    action: Action,
    x: Array,
    seed: Seed,
    tau: Tau,
    *,
    target: float = TARGET,
    steps: Sequence[int] = (5, 10, 20),
    integrator: Integrator = LEAPFROG,
    adaptation: int = 100,
    thermalisation: int = 0,
    step_size: float = 0.1,
) -> Tuned:
    """HMC with the least gradients per independent sample among these numbers of steps, each at its own step size.

    Parameters
    ----------
    action : of the target distribution.
    x : fields to start from, ``(chain, ...)``; every trial starts from them.
    tau : what is to be independent, `largest_tau` of some observables or any function like it. Trials whose tau is a lower
        bound come after those where it is known.
    target : acceptance, between 0 and 1. steps : numbers of integrator steps to try.
    adaptation : trajectories of dual averaging for each of them.
    thermalisation : trajectories with an adapted step size that every chain runs before the trials, where ``x`` are not exact
        configurations; they have the last of ``steps``, which should be the longest.
    step_size : where the search begins; may be wrong by many orders of magnitude.

    Raises `ValueError` for arguments out of range, a tau that is not a positive number, and an action for which no step size
    is accepted or none is rejected, see `adapted`.
    """
    if not steps:
        raise ValueError("steps: got none, expected at least one number of integrator steps")
    kernels = [HMC(action, step_size, n, integrator) for n in steps]
    return tune(kernels, x, seed, tau, target=target, adaptation=adaptation, thermalisation=thermalisation)


def tune(
    kernels: Sequence[HMC | FourierHMC | NestedHMC],
    x: Array,
    seed: Seed,
    tau: Tau,
    *,
    target: float = TARGET,
    adaptation: int = 100,
    thermalisation: int = 0,
) -> Tuned:
    """The cheapest of these kernels, each at its own step size, as `tune_hmc`; the last should have the longest trajectories."""
    if not kernels:
        raise ValueError("kernels: got none, expected at least one")
    check_integer("thermalisation", thermalisation, 0)
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    first, second, *seeds = root.spawn(2 + 2 * len(kernels))
    if thermalisation:
        begun = adapted(kernels[-1], x, first, target=target, trajectories=adaptation)
        state, rngs = begun.kernel.init(begun.x), spawn_rngs(second, len(x))
        for _ in range(thermalisation):
            state, _ = begun.kernel.step(rngs, state)
        x = state.x
    trials = []
    for kernel, own, measuring in zip(kernels, seeds[::2], seeds[1::2], strict=True):
        found = adapted(kernel, x, own, target=target, trajectories=adaptation)
        value, error = tau(found.kernel, x, measuring)
        if not (math.isfinite(value) and value > 0 and error >= 0):
            raise ValueError(f"tau: got {value} with error {error}, expected a positive number and its error")
        trials.append(Trial(found.kernel, found.acceptance, float(value), float(error)))
    return Tuned(min(trials, key=lambda trial: (math.isinf(trial.tau_error), trial.cost)), tuple(trials))


def largest_tau(observables: Mapping[str, Callable[[Array], Array]], trajectories: int = 200) -> Tau:
    """The largest integrated autocorrelation time of these observables, by the Gamma method from a run of this length.

    One that the run is too short for counts as the largest, with an infinite error; leave out, or measure otherwise, what
    is frozen. Raises `ValueError` where there is no observable.
    """
    if not observables:
        raise ValueError("observables: got none, expected at least one")
    check_integer("trajectories", trajectories, 2)

    def tau(kernel: Any, x: Array, seed: np.random.SeedSequence) -> tuple[float, float]:
        state, rngs = kernel.init(x), spawn_rngs(seed, len(x))
        series: dict[str, list[Array]] = {name: [] for name in observables}
        for _ in range(trajectories):
            state, _ = kernel.step(rngs, state)
            for name, observable in observables.items():
                series[name].append(np.asarray(observable(state.x)))
        found = [integrated_autocorrelation_time(rows) for rows in series.values()]
        worst = max(found, key=lambda own: (math.isinf(own.error), own.tau))
        return worst.tau, worst.error

    return tau


def adapted(
    kernel: HMC | FourierHMC | NestedHMC, x: Array, seed: Seed, *, target: float = TARGET, trajectories: int = 100
) -> Adapted:
    """This HMC with the step size at which its mean acceptance over chains is ``target``; its own is where to begin.

    The chains run ``trajectories`` of dual averaging and half as many with the result, for its acceptance. A proposal whose
    energy is not finite counts as acceptance 0. The fields at the end have thermalised as far as this many trajectories go.

    Raises `ValueError` for a target that is not between 0 and 1, and where `crossing_step_size` finds none.
    """
    check_number("target", target, 0, above=True)
    if target >= 1:
        raise ValueError(f"target: got {target}, expected an acceptance between 0 and 1")
    check_integer("trajectories", trajectories, 2)
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    first, second = root.spawn(2)
    start = crossing_step_size(kernel, x, first)
    search = DualAveraging(target, math.log(10 * start), math.log(start))
    state, rngs = kernel.init(x), spawn_rngs(second, len(x))
    for _ in range(trajectories):
        state, info = with_step_size(kernel, math.exp(search.log_step)).step(rngs, state)
        search = search.after(float(info.acceptance.mean()))
    kernel = with_step_size(kernel, math.exp(search.log_mean))
    acceptance = []
    for _ in range(trajectories // 2):
        state, info = kernel.step(rngs, state)
        acceptance.append(info.acceptance.mean())
    return Adapted(kernel, float(np.mean(acceptance)), state.x)


def crossing_step_size(kernel: HMC | FourierHMC | NestedHMC, x: Array, seed: Seed) -> float:
    """Step size, doubled or halved from that of ``kernel`` until the mean acceptance has crossed 1/2.

    Hoffman & Gelman 2014, Algorithm 4, with whole trajectories of all chains, and the same momenta for each try. Raises
    `ValueError` where a hundred factors of two are not enough.
    """
    state = kernel.init(x)
    noise = kernel.noise(spawn_rngs(seed, len(x)), state.force.shape)

    def acceptance(size: float) -> float:
        return float(with_step_size(kernel, size).propose(state, *noise)[2].acceptance.mean())

    size = step_size(kernel)
    last = acceptance(size)
    small = last > 0.5
    for _ in range(DOUBLINGS):
        size *= 2.0 if small else 0.5
        last = acceptance(size)
        if (last > 0.5) != small:
            return size
    raise ValueError(
        f"action: got acceptance {last:.3g} at every step size from {step_size(kernel):g} to {size:g}, expected one that "
        f"{'rejects long' if small else 'accepts short'} steps"
    )
