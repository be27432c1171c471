"""The tuner: dual averaging as printed, the acceptance of the oscillator in closed form, the cheapest trial, clear errors."""

import math
from dataclasses import replace

import numpy as np
import pytest

from refimpl import theories
from refimpl.actions import WilsonU1, hasenbusch
from refimpl.exact import toy
from refimpl.kernels import HMC, Level, NestedHMC, spawn_rngs
from refimpl.maps import OMELYAN
from refimpl.statistics import integrated_autocorrelation_time
from refimpl.tuning import (
    DualAveraging,
    adapted,
    crossing_step_size,
    gradients,
    largest_tau,
    outer_steps,
    step_size,
    tune,
    tune_hmc,
    with_step_size,
)

from .test_kernels import Harmonic

OSCILLATOR = theories.gaussian(np.eye(1))


def exact_start(theory, n_chains, seed=0):
    return theory.sample(np.random.default_rng(seed), n_chains)


def given(taus, error=0.1):
    """A tau that is looked up by the number of steps."""
    return lambda kernel, x, seed: (taus[kernel.n_steps], error)


def test_dual_averaging_is_the_formula_of_the_paper():
    target, mu, gamma, t0, kappa = 0.6, 0.3, 0.05, 10, 0.75
    acceptances = [0.9, 0.1, 0.55, 1.0, 0.0]
    search = DualAveraging(target, mu, -1.0)
    means = [0.0]
    for t, acceptance in enumerate(acceptances, 1):
        search = search.after(acceptance)
        log_step = mu - math.sqrt(t) / gamma * sum(target - a for a in acceptances[:t]) / (t + t0)
        means.append(t**-kappa * log_step + (1 - t**-kappa) * means[-1])
        assert search.log_step == pytest.approx(log_step, rel=1e-12)  # rounding of a few operations
        assert search.log_mean == pytest.approx(means[-1], rel=1e-12)


@pytest.mark.parametrize(("step_size", "target"), [(1e-6, 0.65), (1.0, 0.7), (1e6, 0.85)])
def test_the_acceptance_of_the_oscillator_ends_at_the_target(step_size, target):
    # One leapfrog step has d = h^3/4, so the acceptance falls with h and there is one answer.
    # Drift: log(step) = mu - gamma^-1 sqrt(t)/(t + t0) sum H at rest means sum H = gamma (mu - log step) (t + t0)/sqrt(t),
    # so H is still gamma log(20)/(2 sqrt(t)) = 0.004 at t = 400, the first step size being within a factor 2 of the last.
    # Noise: an acceptance of 2000 chains has deviation sqrt(1/4/2000) = 0.011, the average weighs about 2 t^kappa = 180
    # of them, 2 tau < 4 of which are one: 0.0017, times five 0.0085.
    x = exact_start(OSCILLATOR, 2000)
    found = adapted(HMC(OSCILLATOR.action, step_size, 1), x, 1, target=target, trajectories=400)
    expected = toy.acceptance(1.0, found.kernel.step_size, 1)
    assert abs(expected - target) < 0.0125
    # 200 trajectories afterwards: 5 sqrt(4/4/(200 * 2000)) = 0.008.
    assert abs(found.acceptance - expected) < 0.008
    assert abs(np.mean(found.x**2) - 1) < 5 * math.sqrt(2 / 2000)


@pytest.mark.parametrize("step_size", [1e-20, 0.3, 1e20])
def test_the_search_begins_where_half_is_accepted(step_size):
    # In closed form, with h one of the powers of two times the start: on the other side of 1/2, its neighbour on this one.
    # Half of the chains are accepted within 5 sqrt(1/4/4000) = 0.04, and a factor two in h changes that by more than 0.2.
    x = exact_start(OSCILLATOR, 4000)
    found = crossing_step_size(HMC(OSCILLATOR.action, step_size, 1), x, 1)
    below, above = (found / 2, found) if found > step_size else (found, 2 * found)
    assert toy.acceptance(1.0, below, 1) > 0.46
    assert above >= 2 or toy.acceptance(1.0, above, 1) < 0.54
    assert math.log2(found / step_size) == pytest.approx(round(math.log2(found / step_size)), abs=1e-9)


def test_proposals_without_a_finite_energy_count_as_rejected():
    # A box of half the width of the Gaussian: what leaves it has infinite action and NaN force.
    action = Harmonic(wall=0.5)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 1))
    found = adapted(HMC(action, 10.0, 2), x, 1, trajectories=200, target=0.6)
    state = HMC(action, found.kernel.step_size, 2).init(found.x)
    _, info = found.kernel.step(spawn_rngs(3, len(x)), state)
    assert info.non_finite.any()
    # Drift gamma log(20)/(2 sqrt(200)) = 0.005, noise 5 sqrt(1/4/2000) sqrt(4/(2 200^0.75)) = 0.011, and that of the
    # measurement, 5 sqrt(4/4/(100 * 2000)) = 0.011.
    assert abs(found.acceptance - 0.6) < 0.027
    assert np.all(np.abs(found.x) <= 0.5)


def test_the_same_seed_gives_the_same_result():
    x = exact_start(OSCILLATOR, 16)

    def tuned(seed):
        return tune_hmc(
            OSCILLATOR.action, x, seed, largest_tau(OSCILLATOR.observables, 20), steps=(1, 2), adaptation=20
        )

    first = tuned(5)
    assert [vars(trial) for trial in first.tried] == [vars(trial) for trial in tuned(5).tried]
    assert first.tried == tuned(np.random.SeedSequence(5)).tried
    assert first.best.kernel.step_size != tuned(6).best.kernel.step_size


def test_the_cheapest_trial_is_chosen_and_cost_is_gradients_times_tau():
    x = exact_start(OSCILLATOR, 8)
    taus = {5: 8.0, 10: 3.0, 20: 2.0}
    tuned = tune_hmc(OSCILLATOR.action, x, 0, given(taus), integrator=OMELYAN, adaptation=4)
    assert [trial.cost for trial in tuned.tried] == [2 * 5 * 8.0, 2 * 10 * 3.0, 2 * 20 * 2.0]  # Omelyan: two a step
    assert tuned.kernel.n_steps == 10
    assert tuned.kernel is tuned.best.kernel
    lines = str(tuned).splitlines()
    assert [line[:2] for line in lines] == ["  ", "->", "  "]
    assert "omelyan, n_steps 10, step_size" in lines[1]
    assert "tau 3 +- 0.1, cost 60" in lines[1]


def test_a_lower_bound_is_no_bargain():
    x = exact_start(OSCILLATOR, 8)

    def tau(kernel, x, seed):
        return (1.0, math.inf) if kernel.n_steps == 2 else (50.0, 1.0)

    assert tune_hmc(OSCILLATOR.action, x, 0, tau, steps=(2, 3), adaptation=4).kernel.n_steps == 3
    assert tune_hmc(OSCILLATOR.action, x, 0, tau, steps=(2,), adaptation=4).best.tau_error == math.inf


def test_every_number_of_steps_has_its_own_step_size():
    # <dH> of 50 oscillators is 50 times that of one, and the acceptance erfc(sqrt(<dH>)/2) up to about 1/50. Drift
    # 0.05 log(20)/(2 * 10) = 0.008, noise 5 sqrt(1/4/400) sqrt(4/(2 100^0.75)) = 0.03. With the step size of three steps one
    # step would be accepted with 0.93, with that of one step three with 0.76.
    theory = theories.gaussian(np.eye(50))
    tuned = tune_hmc(theory.action, exact_start(theory, 400), 0, given({1: 9.0, 3: 1.0}), steps=(1, 3), target=0.85)
    for trial, n_steps in zip(tuned.tried, (1, 3), strict=True):
        mean = 50 * toy.mean_energy_error(1.0, trial.kernel.step_size, n_steps)
        assert abs(math.erfc(math.sqrt(mean) / 2) - 0.85) < 0.06
        assert abs(trial.acceptance - 0.85) < 0.06


@pytest.mark.parametrize(
    ("theory", "frozen"),
    [
        (theories.u1(1.0, (4, 4)), ()),
        (theories.o2(1.0, 6), ()),
        (theories.gaussian(np.diag([1.0, 0.5])), ()),
        (theories.gmm(), ("x_0",)),
    ],
    ids=["u1", "o2", "gaussian", "gmm"],
)
def test_every_theory_can_be_tuned(theory, frozen):
    observables = {name: f for name, f in theory.observables.items() if name not in frozen}
    tuned = tune_hmc(
        theory.action, exact_start(theory, 32), 1, largest_tau(observables, 60), steps=(1, 3), adaptation=40
    )
    assert [trial.kernel.n_steps for trial in tuned.tried] == [1, 3]
    assert tuned.best.cost == min(trial.cost for trial in tuned.tried if math.isfinite(trial.tau_error))
    assert all(0.3 < trial.acceptance < 0.99 for trial in tuned.tried)


def test_chains_are_thermalised_before_they_are_measured():
    seen = []

    def tau(kernel, x, seed):
        seen.append(x)
        return 1.0, 0.1

    x = np.full((400, 1), 1000.0)
    arguments = {"steps": (2, 4), "adaptation": 10, "step_size": 1e-3}
    tune_hmc(OSCILLATOR.action, x, 0, tau, thermalisation=0, **arguments)
    assert all(start is x for start in seen)
    seen.clear()
    tune_hmc(OSCILLATOR.action, x, 0, tau, thermalisation=400, **arguments)
    assert all(abs(np.mean(start**2) - 1) < 5 * math.sqrt(2 / 400) for start in seen)
    assert np.array_equal(*seen)
    assert np.all(x == 1000.0)


def test_the_largest_tau_is_that_of_the_slowest_observable():
    theory = theories.gaussian(np.diag([1.0, 0.01]))
    kernel, x = HMC(theory.action, 0.05, 2), exact_start(theory, 50)
    state, rngs = kernel.init(x), spawn_rngs(7, 50)
    rows = []
    for _ in range(300):
        state, _ = kernel.step(rngs, state)
        rows.append(state.x[:, 1])
    fast = integrated_autocorrelation_time(rows)
    coordinates = {"fast": lambda x: x[:, 1], "constant": lambda x: np.ones(len(x))}
    assert largest_tau(coordinates, 300)(kernel, x, 7) == fast[:2]
    coordinates["slow"] = lambda x: x[:, 0]
    assert largest_tau(coordinates, 300)(kernel, x, 7)[0] > 2 * fast.tau


def test_what_is_frozen_has_an_infinite_error():
    theory = theories.gmm()
    tau = largest_tau({name: theory.observables[name] for name in ("x_0", "x_1")}, 20)
    assert tau(HMC(theory.action, 0.2, 3), exact_start(theory, 20), 0)[1] == math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 0.0}, "target: got 0.0"),
        ({"target": 1.0}, "target: got 1.0, expected an acceptance between 0 and 1"),
        ({"target": math.nan}, "target: got nan"),
        ({"steps": ()}, "steps: got none"),
        ({"steps": (5, 0)}, "n_steps: got 0"),
        ({"step_size": 0.0}, "step_size: got 0"),
        ({"adaptation": 1}, "trajectories: got 1"),
        ({"thermalisation": -1}, "thermalisation: got -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    x = exact_start(OSCILLATOR, 4)
    with pytest.raises(ValueError, match=message):
        tune_hmc(OSCILLATOR.action, x, 0, given({5: 1.0, 10: 1.0, 20: 1.0}), **arguments)


@pytest.mark.parametrize(("value", "error"), [(math.nan, 0.1), (0.0, 0.1), (math.inf, math.inf), (1.0, math.nan)])
def test_a_tau_that_is_none_is_refused(value, error):
    with pytest.raises(ValueError, match="tau: got"):
        tune_hmc(OSCILLATOR.action, exact_start(OSCILLATOR, 4), 0, given({5: value}, error), steps=(5,), adaptation=4)


def test_observables_must_be_there():
    with pytest.raises(ValueError, match="observables: got none"):
        largest_tau({})
    with pytest.raises(ValueError, match="trajectories: got 1"):
        largest_tau(OSCILLATOR.observables, 1)


class Broken(Harmonic):
    """Its force is not a number anywhere."""

    def action_and_force(self, x):
        energy, force = super().action_and_force(x)
        return energy, math.nan * force


def test_an_action_that_nothing_moves_or_nothing_stops_is_refused():
    x = exact_start(OSCILLATOR, 4)
    with pytest.raises(
        ValueError, match=r"action: got acceptance 0 at every step size from 0.1 to .*accepts short steps"
    ):
        adapted(HMC(Broken(), 0.1, 3), x, 0)
    with pytest.raises(
        ValueError, match=r"action: got acceptance 1 at every step size from 0.1 to .*rejects long steps"
    ):
        tune_hmc(replace(Harmonic(), omega=0.0), x, 0, given({5: 1.0}), steps=(5,))


def test_nested_trajectories_are_tuned_by_their_outermost_step():
    theory = theories.schwinger(2.0, 0.2, (2, 4))
    monomials = hasenbusch(0.2, (0.3,), even_odd=True)

    def nested(steps, length):
        return NestedHMC((Level(monomials, steps, OMELYAN), Level((WilsonU1(2.0),), 3)), length)

    x = theory.sample(np.random.default_rng(1), 80)
    found = adapted(nested(3, 0.3), x, 2, trajectories=20)
    assert found.kernel == nested(3, found.kernel.length)
    # drift 0.05 log(20)/(2 sqrt(20)) = 0.017 of dual averaging, and the noise of 80 chains
    assert abs(found.acceptance - 0.7) < 0.15
    assert step_size(found.kernel) == pytest.approx(found.kernel.length / 3)
    assert with_step_size(nested(3, 0.3), 0.2) == nested(3, 3 * 0.2)
    assert outer_steps(nested(3, 0.3)) == 3
    # Omelyan kicks twice a step, and once at the end; two monomials, and the gauge force is free
    assert gradients(nested(3, 0.3)) == 2 * 7
    gauge = NestedHMC((Level((WilsonU1(2.0),), 5),), 1.0)
    assert gradients(gauge) == gradients(HMC(WilsonU1(2.0), 0.2, 5)) == 5

    tuned = tune(
        [nested(1, 0.5), nested(2, 0.5)],
        x[:20],
        3,
        lambda kernel, x, seed: (4.0 / outer_steps(kernel) ** 2, 0.1),
        adaptation=4,
    )
    assert outer_steps(tuned.kernel) == 2
    assert "-> nested, omelyan, n_steps 2, step_size" in str(tuned)
    with pytest.raises(ValueError, match="kernels: got none"):
        tune([], x, 1, largest_tau({"plaquette": theory.observables["plaquette"]}))
