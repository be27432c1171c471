"""The oracle on good, bad and broken targets: verdicts, faults, ledger, replay, pytest entry."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from refimpl.actions import WilsonU1
from refimpl.kernels import HMC, Cycle, FluxHeatBath, Winding, spawn_rngs
from refimpl.validation import TargetError, Verdict, check_target, parametrize_with_checks
from refimpl.validation.checks import BY_ID, CHECKS
from refimpl.validation.contract import CAPABILITIES, Subject
from refimpl.validation.loading import load_target
from refimpl.validation.mutants import BY_NAME, Clay
from refimpl.validation.references.kernels import ReferenceU1
from refimpl.validation.verdict import FAIL, PASS, SKIP
from tests.targets.loops import target as loops

ROOT = Path(__file__).resolve().parent.parent


def statuses(report):
    return {verdict.check: verdict.status for verdict in report.verdicts}


class Bare:
    """A target with nothing but declarations; tests hang functions on instances of it."""

    theory = "u1"

    def __init__(self, beta=2.0, shape=(4, 4), **functions):
        self.beta, self.shape = beta, shape
        for name, function in functions.items():
            setattr(self, name, function)


# --- good targets ------------------------------------------------------------------------------------------------
def loops_of_one_step(beta=2.0, shape=(4, 4), step_size=0.7, n_steps=1):
    """The stranger, who takes a while, with a single step."""
    return loops(beta, shape, step_size, n_steps)


@parametrize_with_checks([ReferenceU1, loops_of_one_step])
def test_reference_and_loops_pass_one_by_one(target, check):
    check(target)


@pytest.mark.parametrize(
    "parameters",
    [
        {"shape": (2, 2), "beta": 1.0},
        {"shape": (3, 5), "beta": 7.0, "step_size": 0.1},
        {"shape": (2, 6), "beta": 0.05, "step_size": 0.5, "n_steps": 3},
        {"integrator": "omelyan", "step_size": 0.3},
        {"shape": (16, 4), "beta": 30.0, "step_size": 0.05},
    ],
)
def test_reference_passes_at_other_parameters(parameters):
    report = check_target(ReferenceU1(**parameters), level="smoke", seed=1)
    assert [v.check for v in report.failures] == []
    assert report.exit_code == 0


def test_clay_of_the_mutants_passes():
    report = check_target(Clay, seed=2)
    assert [v.check for v in report.failures] == []
    assert report.summary()["skipped"] == 0


def test_mici_passes():
    pytest.importorskip("mici", reason="the peer is in the extra 'peers'")
    from refimpl.validation.peers.mici import target

    report = check_target(target, level="smoke", seed=3)
    assert [v.check for v in report.failures] == []


def test_every_capability_is_used_by_some_check():
    needed = {name for check in CHECKS for any_of in check.needs for name in any_of}
    assert needed | {"inverse"} == set(CAPABILITIES)  # the inverse is used by the map checks where it is there


def test_every_check_explains_itself():
    for check in CHECKS:
        assert len(check.explanation) > 40, check.id


# --- wrong kernels with only an opaque step ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mutant", "killer"),
    [
        ("EnergiesExchanged", "exact_start.energy_exchange"),
        ("MomentaRedrawnAfter", "exact_start.energy_exchange"),
        ("MomentaRedrawnBefore", "exact_start.energy_exchange"),
        ("HotMomenta", "exact_start.energy_exchange"),
        ("PushedMomenta", "exact_start.drift"),
        ("CouplingLeak", "exact_start.plaquette_later"),
        ("SharedStream", "driver.independent_chains"),
    ],
)
def test_an_opaque_step_is_judged_by_statistics_alone(mutant, killer):
    wrong = BY_NAME[mutant]()
    target = Bare(step=wrong.step)
    for level in ("smoke", "standard"):  # few samples first: an alarm there is one at the standard level too
        status = statuses(check_target(target, seed=4, select=killer, level=level))[killer]
        if status == FAIL:
            break
    assert status == FAIL


def test_a_kernel_that_is_not_reversible_is_held_to_stationarity_only():
    forward = Clay()

    def cycle(x, seed):
        # A fixed rotation of the lattice after each update: stationary, but (x, x') and (x', x) have different laws.
        return np.roll(forward.step(x, seed), 1, axis=2)

    claimed = check_target(Bare(step=cycle, reversible=False), seed=5, level="smoke")
    assert claimed.failures == []
    assert statuses(claimed)["exact_start.energy_exchange"] == SKIP


# --- broken targets ----------------------------------------------------------------------------------------------------
def raising(x):
    raise RuntimeError("out of cheese")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (raising, "action: raised RuntimeError: out of cheese"),
        (lambda x: np.full(len(x), np.nan), "NaN"),
        (lambda x: np.zeros((len(x), 2)), "got shape (12, 2), expected (12,)"),
        (lambda x: "nonsense", "dtype"),
        (lambda x: None, "action: got dtype object"),
        (lambda x: [[1.0], [2.0, 3.0]], "expected an array"),
        (lambda x: np.zeros(len(x), dtype=complex), "got dtype complex128, expected float64"),
        (lambda x: np.exp(1j * x), "expected float64 (links as phases: --conventions phases)"),
        (lambda x: sys.exit(3), "action: raised SystemExit"),
    ],
)
def test_a_fault_is_a_failed_check_that_says_so(action, message):
    report = check_target(Bare(action=action), seed=1, select="static.action")
    assert report.exit_code == 1
    assert message in report.failures[0].detail
    assert message[:20] in report.as_table(300)


@pytest.mark.parametrize(
    ("functions", "check", "message"),
    [
        ({"forward": lambda z: z}, "maps.repeat_call", "expected ((x, v), logdet)"),
        ({"forward": lambda z: (z, np.zeros(1))}, "maps.repeat_call", "logdet: got shape (1,)"),
        ({"transition": lambda x, v, u: x}, "transcript.energy", "expected a mapping"),
        ({"transition": lambda x, v, u: {"x_next": x}}, "transcript.energy", "got no x_proposed"),
        ({"run": lambda x, n, seed: x}, "driver.outputs", "expected (configurations, state)"),
        ({"run": lambda x, n, seed: (x, None)}, "driver.outputs", "got configurations of shape (4, 2, 4, 4)"),
        ({"step": lambda x, seed: x * np.inf}, "driver.seeds", "NaN or infinite"),
    ],
)
def test_wrong_structures_are_named(functions, check, message):
    report = check_target(Bare(**functions), seed=1, select=check, level="smoke")
    assert message in report.failures[0].detail


def test_a_target_that_hangs_is_left_behind():
    def forever(x):
        time.sleep(1000)

    start = time.monotonic()
    report = check_target(Bare(force=forever, action=lambda x: np.zeros(len(x))), seed=1, select="static", deadline=0.2)
    details = {v.check: v.detail for v in report.failures}
    assert "did not return within 0.2 s" in details["static.force"]
    assert "not called" in details["static.batch"]
    assert time.monotonic() - start < 60  # not 1000: a bound on hanging, not on speed


def test_targets_may_scribble_on_what_they_are_given():
    good = Clay()

    def scribbling(x):
        value = good.action(x)
        x[...] = 0
        return value

    assert check_target(Bare(action=scribbling), seed=1, select="static").failures == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (object(), "expected an object with theory"),
        (Bare(beta=-1.0), "expected beta > 0"),
        (Bare(beta=float("nan")), "expected beta > 0"),
        (Bare(shape=(4, 1)), "extents of at least 2"),
        (Bare(shape="x"), "expected a number and two integers"),
        (lambda: 1 / 0, "raised ZeroDivisionError"),
        (
            type("T", (), {"theory": "phi6", "beta": 1.0, "shape": (4, 4)}),
            "got 'phi6', expected one of u1, o2, gaussian, gmm",
        ),
        (type("T", (), {"theory": "u1", "shape": (4, 4)}), "without beta"),
    ],
)
def test_what_cannot_be_judged_is_refused(target, message):
    with pytest.raises(TargetError, match=message.replace("(", r"\(")):
        check_target(target)


def test_parameters_must_fit_the_target():
    with pytest.raises(TargetError, match="make it a factory"):
        check_target(Bare(), parameters={"beta": 3.0})
    with pytest.raises(TargetError, match="raised TypeError"):
        check_target(Clay, parameters={"nonsense": 3.0})


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"level": "extreme"}, "level"),
        ({"alpha": 0.0}, "alpha"),
        ({"seed": -1}, "seed"),
        ({"expected_failures": {"no.such": "x"}}, "expected_failures"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        check_target(ReferenceU1, **arguments)


@pytest.mark.parametrize("spec", ["nothing", "no.such.module:x", "math:nothing", ":", "tests.test_oracle:"])
def test_load_target_says_what_is_wrong(spec):
    with pytest.raises(TargetError, match="TARGET"):
        load_target(spec)


def test_nothing_ran_is_its_own_exit_code():
    assert check_target(Bare(), seed=1).exit_code == 5
    assert check_target(ReferenceU1, seed=1, select="no such check").exit_code == 5


# --- known failures ------------------------------------------------------------------------------------------------------
def test_expected_failures_pass_and_unexpected_passes_fail():
    wrong = BY_NAME["TruncatedCharge"]
    known = {"static.charge": "int() instead of rint"}
    assert check_target(wrong, seed=1, select="static.charge").exit_code == 1
    assert check_target(wrong, seed=1, select="static.charge", expected_failures=known).exit_code == 0
    report = check_target(Clay, seed=1, select="static.charge", expected_failures=known)
    assert report.exit_code == 1
    assert "XPASS" in report.as_table()


# --- reports ---------------------------------------------------------------------------------------------------------------
def clay_report(select=None):
    return check_target(Clay, seed=7, level="smoke", alpha=1e-5, select=select)


@pytest.fixture(scope="module")
def whole_clay_report():
    return clay_report()


def test_same_seed_same_report_and_selection_changes_nothing(whole_clay_report):
    a, b, c = whole_clay_report, clay_report(), clay_report("creutz")
    assert [(v.check, v.value) for v in a.verdicts] == [(v.check, v.value) for v in b.verdicts]
    assert [v.value for v in a.verdicts if v.check == "exact_start.creutz"] == [c.verdicts[0].value]
    assert c.verdicts[0].alpha == next(v.alpha for v in a.verdicts if v.check == "exact_start.creutz")


def test_ledger_adds_up_and_every_pass_states_its_sensitivity(whole_clay_report):
    report = whole_clay_report
    assert report.ledger["spent"] == pytest.approx(1e-5)
    assert report.ledger["remaining"] == pytest.approx(0, abs=1e-18)
    statistical = {check.id for check in CHECKS if check.statistical and check.applies(Subject(Clay))}
    for verdict in report.verdicts:
        assert verdict.sensitivity
        assert (verdict.alpha > 0) == (verdict.check in statistical)
    partial = clay_report("creutz")
    assert partial.ledger["remaining"] == pytest.approx(1e-5 * (1 - 1 / len(statistical)))


def test_a_pass_without_a_sensitivity_cannot_be_made():
    with pytest.raises(ValueError, match="sensitivity"):
        Verdict(PASS, "something")


def test_json_report_is_complete_and_strict():
    report = check_target(BY_NAME["EnergiesExchanged"], seed=9, level="smoke")
    content = json.loads(report.as_json())
    assert content["schema"] == 2
    assert content["exit_code"] == 1
    assert content["seed"] == 9
    assert len(content["verdicts"]) == content["summary"]["applicable"] == content["summary"]["selected"]
    assert content["summary"]["total"] == len(CHECKS)
    assert {"check", "status", "value", "bound", "sensitivity", "samples", "alpha", "detail", "good"} <= set(
        content["verdicts"][0]
    )


def test_table_shows_skips_with_their_reason_and_counts_everything():
    text = check_target(Bare(action=Clay().action), seed=1).as_table(120)
    assert "offers no force" in text
    assert f"{len(CHECKS)} in all" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_replace_reaches_factories_and_objects_with_replace():
    assert Subject(ReferenceU1).replace(shape=(2, 3)).u1.shape == (2, 3)
    assert Subject(ReferenceU1(beta=3.0)).replace(shape=(2, 3)).u1.beta == 3.0
    assert Subject(loops).replace(step_size=0.1).parameter("step_size") == 0.1
    assert Subject(Bare()).replace(shape=(2, 3)) is None
    assert Subject(lambda: Bare()).replace(shape=(2, 3)) is None


def test_parametrize_fails_a_wrong_target(tmp_path):
    (tmp_path / "test_wrong.py").write_text(
        "from refimpl.validation import parametrize_with_checks\n"
        "from refimpl.validation.mutants import BY_NAME, Clay\n"
        "class Known(BY_NAME['DoubledTau']):\n"
        "    expected_failures = {'static.tau_int': 'doubled', 'static.action': 'not really'}\n"
        "@parametrize_with_checks([BY_NAME['DoubledTau'], Known])\n"
        "def test_it(target, check):\n"
        "    check(target)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-k", "static", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    assert "static.tau_int" in done.stdout
    assert "1 xfailed" in done.stdout


def test_check_ids_are_unique_and_named_by_file():
    assert len(BY_ID) == len(CHECKS)
    assert {check_id.split(".")[0] for check_id in BY_ID} == {
        *(
            "static",
            "scalars",
            "variates",
            "fermions",
            "pseudofermions",
            "estimates",
            "golden",
            "maps",
            "transcript",
            "flows",
            "flow_samples",
            "flow_weights",
            "conditional",
            "conditional_samples",
            "joint",
            "pseudomarginal",
            "driver",
            "exact_start",
        )
    }


# --- mistakes of the oracle ------------------------------------------------------------------------------------------
def test_a_check_that_raises_is_a_failure_and_the_others_go_on(monkeypatch):
    def broken(self, x):
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr(Subject, "charge", broken)
    report = check_target(ReferenceU1, level="smoke", seed=1, select="static.*")
    found = {v.check: v for v in report.failures}
    assert found["static.charge"].quantity == "the check itself"
    assert "raised ZeroDivisionError: by hand" in found["static.charge"].detail
    assert report.exit_code == 1
    assert statuses(report)["static.action"] == PASS


def test_an_interrupt_goes_through(monkeypatch):
    def interrupted(self, x):
        raise KeyboardInterrupt

    monkeypatch.setattr(Subject, "charge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_target(ReferenceU1, level="smoke", seed=1, select="static.charge")


# --- cycles, which reach some fields by right --------------------------------------------------------------------------
class Cycles(Bare):
    """A cycle of kernels as a target with `step` and `run`; ``streams(seed, chains)`` are its Generators."""

    reversible = False

    def __init__(self, *kernels, streams=spawn_rngs):
        super().__init__(kernels[0].action.beta, (4, 4))
        self.kernel, self.streams = Cycle(list(kernels)), streams

    def step(self, x, seed):
        return self.kernel.step(self.streams(seed, len(x)), self.kernel.init(x))[0].x


A2, A4 = WilsonU1(2.0), WilsonU1(4.0)


@pytest.mark.parametrize(
    "kernels",
    [
        (HMC(A2, 0.25, 5), Winding(A2)),
        (HMC(A2, 0.6, 3), Winding(A2)),
        (HMC(A2, 0.4, 4), FluxHeatBath(A2)),
        (HMC(A4, 1.2, 4), FluxHeatBath(A4)),  # nearly all rejected: almost only discrete moves are left
    ],
)
def test_fields_that_a_cycle_reaches_by_right_are_no_shared_streams(kernels):
    target = Cycles(*kernels)
    for seed in range(5):  # without the rules that excuse such fields 19 of 20 seeds alarm, of the kernels they are for
        for check in ("driver.streams", "driver.seeds"):
            report = check_target(target, level="smoke", seed=seed, select=check)
            assert [(v.check, v.detail) for v in report.failures] == []


@pytest.mark.parametrize(
    ("streams", "killer"),
    [
        (lambda seed, n: [np.random.default_rng(seed) for _ in range(n)], "driver.streams"),
        (lambda seed, n: [np.random.default_rng([seed, k // 2]) for k in range(n)], "driver.streams"),
        (lambda seed, n: [np.random.default_rng([seed, k % 255]) for k in range(n)], "driver.streams"),
        (lambda seed, n: [np.random.default_rng(seed + k) for k in range(n)], "driver.streams"),
        (lambda seed, n: spawn_rngs(0, n), "driver.seeds"),
        (lambda seed, n: spawn_rngs(seed % 8, n), "driver.seeds"),
    ],
)
def test_shared_streams_of_a_cycle_are_seen(streams, killer):
    target = Cycles(HMC(A2, 0.25, 5), Winding(A2), streams=streams)
    assert statuses(check_target(target, level="smoke", seed=1, select=killer))[killer] == FAIL


@pytest.mark.parametrize("bit", [16, 31, 48, 62])
@pytest.mark.parametrize("reversible", [True, False])
def test_a_bit_of_the_seed_that_is_dropped_is_seen(bit, reversible):
    def step(x, seed):
        return x + np.random.default_rng(seed & ~(1 << bit)).standard_normal(x.shape)

    report = check_target(Bare(step=step, reversible=reversible), level="smoke", seed=1, select="driver.seeds")
    assert f"differ in bit {bit} alone" in report.failures[0].detail


@pytest.mark.parametrize(("most", "status"), [(32, PASS), (31, PASS), (16, FAIL)])
def test_seeds_beyond_31_bits_may_be_refused_but_not_below(most, status):
    def step(x, seed):
        if seed >= 1 << most:
            raise ValueError(f"seed: got {seed}, expected {most} bits")
        return x + np.random.default_rng(seed).standard_normal(x.shape)

    report = check_target(Bare(step=step, reversible=False), level="smoke", seed=1, select="driver.seeds")
    assert statuses(report)["driver.seeds"] == status


# --- acceptance near zero ----------------------------------------------------------------------------------------------
def test_a_correct_sampler_that_hardly_accepts_is_not_said_to_stand_still():
    for step_size in (0.9, 1.2, 3.0):
        target = ReferenceU1(beta=20.0, shape=(8, 8), step_size=step_size, n_steps=10)
        found = statuses(check_target(target, level="smoke", seed=1, select="driver.moves_every_link"))
        assert found["driver.moves_every_link"] == SKIP, step_size


def test_a_chain_that_stands_still_is_told_below_the_summary():
    still = Bare(action=Clay().action, step=lambda x, seed: x)
    report = check_target(still, level="smoke", seed=1, select="driver.moves_every_link")
    assert (
        "careful: too few updates were accepted to say: by step 0 updates moved"
        in report.as_table(160).splitlines()[-1]
    )
    assert "careful" not in check_target(Clay(), level="smoke", seed=1, select="driver.moves_every_link").as_table()


@pytest.mark.parametrize("fraction", [1.0, 0.1])
def test_a_part_that_never_moves_is_seen_at_a_small_acceptance(fraction):
    def step(x, seed):
        rng = np.random.default_rng(seed)
        v = rng.standard_normal(x.shape) * (rng.random(len(x)) < fraction).reshape(-1, 1, 1, 1)
        v[:, 0, 0, 0] = 0
        return x + v

    target = Bare(step=step, reversible=False)
    report = check_target(target, level="smoke", seed=1, select="driver.moves_every_link")
    assert "1 of 32 (link) never change" in report.failures[0].detail


# --- chains that see one another ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("rate", "status"), [(0.3, PASS), (0.0, FAIL)])
def test_noise_of_one_stream_is_allowed_and_a_mean_over_chains_is_not(rate, status):
    def step(x, seed):
        rng = np.random.default_rng(seed)
        if rate:  # an amount of noise that depends on the fields: every chain's noise is another after a push
            rng.random(int(np.abs(x).sum() * 1e6) % 97)
            return x + rate * rng.standard_normal(x.shape)
        return x + (0.3 + 0.1 * np.cos(x).mean()) * rng.standard_normal(x.shape)

    report = check_target(Bare(step=step, reversible=False), level="smoke", seed=1, select="driver.others")
    assert statuses(report)["driver.others"] == status
