"""Chains from exact starts, and what is measured on them: charge, tunnelling, autocorrelation and its cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import exact, observables
from ..kernels import HMC, Cycle, FluxHeatBath, Kernel, State, Winding, spawn_rngs
from ..kernels.l2hmc import L2HMC
from ..maps.l2hmc import GeneralizedLeapfrog
from ..statistics import integrated_autocorrelation_time
from ..theories import Theory
from ..training import Recipe, fit, start
from ..tuning import adapted, tune_hmc
from .table import bar

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chains:
    """Records of a run: observables ``(step + 1, chain)`` (the start is row 0), acceptance, CPU seconds per step.

    ``infos``: what happened in each step, of a cycle in each of its kernels.
    """

    series: Mapping[str, NDArray[Any]]
    acceptance: Array
    seconds: float
    infos: Sequence[tuple[Any, ...]]


def run_chains(
    kernel: Kernel,
    x: Array,
    n_steps: int,
    seed: np.random.SeedSequence | int,
    record: Mapping[str, Callable[[Array], NDArray[Any]]],
    shown: str | None = None,
) -> Chains:
    """Run chains from ``x``; the acceptance of a cycle is that of its first kernel. Seconds leave the records out.

    ``shown``: what a progress bar calls it; without, there is none.
    """
    rngs, state = spawn_rngs(seed, len(x)), kernel.init(x)
    rows: dict[str, list[NDArray[Any]]] = {name: [np.asarray(f(state.x))] for name, f in record.items()}
    infos: list[tuple[Any, ...]] = []
    seconds = 0.0
    for _ in bar(range(n_steps), shown or "", shown is not None):
        begun = time.process_time()
        state, info = kernel.step(rngs, state)
        seconds += time.process_time() - begun
        infos.append(info if isinstance(info, tuple) else (info,))
        for name, f in record.items():
            rows[name].append(np.asarray(f(state.x)))
    series = {name: np.array(values) for name, values in rows.items()}
    return Chains(series, np.array([info[0].acceptance for info in infos]), seconds / n_steps, infos)


@dataclass(frozen=True)
class Charge:
    """The integer charge of one sampler.

    ``tau``: integrated autocorrelation time, with ``error``. ``direct``: whether it was measured by the Gamma method; if
    not, ``tau`` and ``error`` are estimated from the mean squared change in a step, see `one_step_tau`, and where no change
    was seen, ``bound`` is true and ``tau`` a lower bound at 95 %. ``rate``: of tunnelling, mean ``|change|`` per step, with
    ``rate_error``; ``seconds`` of CPU per step and chain.
    """

    tau: float
    error: float
    direct: bool
    bound: bool
    rate: float
    rate_error: float
    acceptance: float
    seconds: float


def one_step_tau(squared_changes: Array, charge_squared: float) -> tuple[float, float, bool]:
    """``tau = 1/2 + rho/(1 - rho)`` with ``rho = 1 - <(Q' - Q)^2>/(2 <Q^2>)`` from equilibrium; its error; if it is a bound.

    As if the charge were one mode of the transition operator: a lower bound on tau for a reversible kernel (Jensen), close
    to it where a slow charge is the slowest mode. ``<Q^2>`` is exact. Where nothing moved, the bound at 95 %.

    Parameters
    ----------
    squared_changes : ``(step, chain)``; the error comes from the chains, which are independent.
    """
    mean = float(squared_changes.mean())
    if mean == 0:
        return 2 * charge_squared * squared_changes.size / 3.0 - 0.5, math.inf, True  # 3 events: 95 % of Poisson
    error = float(squared_changes.mean(axis=0).std(ddof=1) / math.sqrt(squared_changes.shape[1]))
    tau = 2 * charge_squared / mean - 0.5
    return tau, 2 * charge_squared / mean**2 * error, False


def charge_of(kernel: Kernel, theory: Theory, n_chains: int, n_steps: int, seed: np.random.SeedSequence) -> Charge:
    """Run chains of U(1) from exact starts and measure `Charge`.

    The Gamma method is used where the run is at least 20 tau long, else the one-step estimate.
    """
    first, second = seed.spawn(2)
    assert theory.sample is not None
    x = theory.sample(np.random.default_rng(first), n_chains)
    chains = run_chains(kernel, x, n_steps, second, {"charge": observables.charge})
    return charge_in(chains, theory.exact["charge^2"])


def charge_in(chains: Chains, charge_squared: float) -> Charge:
    """`Charge` of a run from equilibrium that recorded the charge; ``<Q^2>`` is known."""
    charge = chains.series["charge"].astype(np.float64)
    n_steps, n_chains = len(charge) - 1, charge.shape[1]
    changes = np.diff(charge, axis=0)
    estimate, error, bound = one_step_tau(changes**2, charge_squared)
    direct = not bound and 20 * estimate < n_steps
    if direct:
        estimate, error, _ = integrated_autocorrelation_time(charge[1:])
    rates = np.abs(changes).mean(axis=0)
    return Charge(
        tau=estimate,
        error=error,
        direct=direct,
        bound=bound,
        rate=float(rates.mean()),
        rate_error=float(rates.std(ddof=1) / math.sqrt(n_chains)),
        acceptance=float(chains.acceptance.mean()),
        seconds=chains.seconds / n_chains,
    )


def combined(results: Sequence[Charge]) -> Charge:
    """The mean over independent runs, with errors from their scatter; bounds from the pooled steps."""
    n = len(results)
    if n == 1:
        return results[0]

    def mean(name: str) -> float:
        return float(np.mean([getattr(r, name) for r in results]))

    def scatter(name: str) -> float:
        return float(np.std([getattr(r, name) for r in results], ddof=1)) / math.sqrt(n)

    moved = [r for r in results if not r.bound]
    if not moved:
        tau, error = sum(r.tau for r in results), math.inf
    elif all(r.direct for r in results):
        tau = mean("tau")
        error = max(scatter("tau"), math.sqrt(sum(r.error**2 for r in results)) / n)
    else:  # 1/(tau + 1/2) is a mean, to which runs without a change contribute zero
        inverse = np.array([0.0 if r.bound else 1 / (r.tau + 0.5) for r in results])
        tau = 1 / inverse.mean() - 0.5
        error = max(
            float(inverse.std(ddof=1)) / math.sqrt(n) / inverse.mean() ** 2,
            math.sqrt(sum(r.error**2 for r in moved)) / len(moved),
        )
    return Charge(
        tau=float(tau),
        error=float(error),
        direct=all(r.direct for r in results),
        bound=not moved,
        rate=mean("rate"),
        rate_error=math.sqrt(sum(r.rate_error**2 for r in results)) / n,
        acceptance=mean("acceptance"),
        seconds=mean("seconds"),
    )


def how(charge: Charge) -> str:
    """How tau was found, in a word for a table."""
    return "measured" if charge.direct else "lower bound" if charge.bound else "one-step"


def tuned_hmc(theory: Theory, seed: int, quick: bool = False) -> HMC:
    """HMC of U(1) with the least gradients per independent charge, among 5, 10 and 20 steps: the baseline.

    The charge is measured by `charge_of`, because it is what the samplers are compared by; where it is frozen the numbers of
    steps differ by less than the few events can tell, and any of them is the baseline.
    """
    n_chains = max(32, (16384 if quick else 131072) // math.prod(theory.field_shape))
    budget = 500 if quick else 2000  # gradients of a chain

    def tau(kernel: HMC, x: Array, seed: np.random.SeedSequence) -> tuple[float, float]:
        charge = charge_of(kernel, theory, n_chains, budget // kernel.n_forces, seed)
        return charge.tau, charge.error

    x, own = _tuning_start(theory, seed)
    return tune_hmc(theory.action, x, own, tau, adaptation=40 if quick else 100).kernel


def adapted_hmc(theory: Theory, n_steps: int, seed: int, quick: bool = False) -> HMC:
    """HMC with this number of steps, whatever is best, at the step size of the same acceptance as in `tuned_hmc`."""
    x, own = _tuning_start(theory, seed)
    return adapted(HMC(theory.action, 0.1, n_steps), x, own, trajectories=40 if quick else 100).kernel


def _tuning_start(theory: Theory, seed: int) -> tuple[Array, np.random.SeedSequence]:
    """Exact configurations of 64 chains, and a seed: the same theory is tuned to the same kernel in every experiment."""
    first, second = np.random.SeedSequence([seed, 2014]).spawn(2)
    assert theory.sample is not None
    return theory.sample(np.random.default_rng(first), 64), second


def gradients(kernel: Kernel) -> int:
    """Gradients of the action that one step costs, the first being known from the step before."""
    if isinstance(kernel, Cycle):
        return sum(gradients(part) for part in kernel.kernels)
    if isinstance(kernel, HMC):
        return kernel.n_forces
    if isinstance(kernel, L2HMC):
        return kernel.map.n_forces
    if isinstance(kernel, Winding | FluxHeatBath):
        return 1
    raise ValueError(f"kernel: got {kernel!r}, expected one of refimpl.kernels")


def trained(
    theory: Theory, model: GeneralizedLeapfrog, recipe: Recipe, seed: int, progress: bool = False
) -> tuple[GeneralizedLeapfrog, float]:
    """The trained model and the CPU seconds the training took."""
    begun = time.process_time()
    checkpoint = fit(theory, model, recipe, start(theory, model, recipe, seed), progress=progress)
    return model.replace(params=checkpoint.best), time.process_time() - begun


def one_proposal(
    kernel: L2HMC | HMC, theory: Theory, n_chains: int, seed: np.random.SeedSequence
) -> tuple[State, State, Any]:
    """Exact configurations, their proposals, and the decisions."""
    first, second = seed.spawn(2)
    assert theory.sample is not None
    state = kernel.init(theory.sample(np.random.default_rng(first), n_chains))
    proposal, _, info = kernel.propose(state, *kernel.noise(spawn_rngs(second, n_chains), state.x.shape))
    return state, proposal, info


def exact_charge_squared(beta: float, shape: tuple[int, int]) -> float:
    """``<Q^2>``."""
    return shape[0] * shape[1] * exact.u1.charge_susceptibility(beta, shape)
