"""Control variates before the oracle: right ones pass, what is declared wrongly is named, and what cannot be judged says so."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from refimpl.validation import check_target
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.checks.variates import Identity, Scale, observable, unusual, worth
from refimpl.validation.contract import Subject
from refimpl.validation.measure import charge
from refimpl.validation.mutants.variate_clay import GaugeVariate, ScalarVariate
from refimpl.validation.references.phi4 import ReferencePhi4
from refimpl.validation.verdict import FAIL, PASS, SKIP


def judged(target, select="variates.*", seed=1):
    report = check_target(target, level="smoke", seed=seed, select=select)
    return {verdict.check: verdict for verdict in report.verdicts}


@pytest.mark.parametrize(
    "target",
    [
        ScalarVariate(),
        ScalarVariate(shape=(4, 2), t=2, lam=4.0, mass2=0.95, improvement_ratio=None),
        GaugeVariate(),
        GaugeVariate(beta=1.0, shape=(3, 5), strength=0.1, improvement_ratio=None),
    ],
    ids=["phi4", "phi4 with exact mean", "u1", "u1 rectangle"],
)
def test_right_variates_pass(target):
    verdicts = judged(target)
    assert {name: v.status for name, v in verdicts.items()} == dict.fromkeys(verdicts, PASS)
    assert len(verdicts) == 5
    assert "kurtosis" in verdicts["variates.improvement"].detail
    assert "kurtosis" in verdicts["variates.mean_zero"].detail


WITH_FIELD = ("control_variate-neural", "gauge_variate-neural", "gauge_variate")


@pytest.mark.parametrize("name", ["control_variate", "control_variate-linear", *WITH_FIELD])
def test_built_in_variates_pass(name):
    # mean_zero of one, which is most of the time; what has no field has no divergence
    select = "variates.*" if name == "control_variate-linear" else "variates.[!m]*"
    verdicts = judged(BUILT_IN[name], select)
    statuses = {check: v.status for check, v in verdicts.items()}
    assert statuses == {
        **dict.fromkeys(verdicts, PASS),
        "variates.divergence": PASS if name in WITH_FIELD else SKIP,
    }


class NoiseOfTheBatch(GaugeVariate):
    """The same again in the same batch, and another in every other one."""

    def control_variate(self, x):
        rng = np.random.default_rng(np.frombuffer(x.tobytes(), np.uint32))
        return super().control_variate(x) + 0.01 * rng.standard_normal(len(x))


class Remembering(GaugeVariate):
    """The mean of everything seen so far is taken off."""

    def __init__(self):
        super().__init__()
        self.__dict__["seen"] = []

    def control_variate(self, x):
        f = super().control_variate(x)
        self.seen.extend(f)
        return f - np.mean(self.seen)


class Noisy(GaugeVariate):
    def control_variate(self, x):
        return super().control_variate(x) + 0.01 * np.random.default_rng().standard_normal(len(x))


@pytest.mark.parametrize("kind", [NoiseOfTheBatch, Remembering, Noisy])
@pytest.mark.parametrize("check", ["variates.batch", "variates.symmetry"])
def test_what_is_no_function_of_the_configuration_fails_and_is_no_skip(kind, check):
    verdict = judged(kind(), check)[check]
    assert verdict.status == FAIL


@pytest.mark.parametrize("least", [100, 1000, 1500])
def test_centring_in_large_batches_alone_is_seen(least):
    class Centred(GaugeVariate):
        def control_variate(self, x):
            f = super().control_variate(x) + 0.1
            return f - f.mean() if len(x) > least else f

    verdict = judged(Centred(), "variates.batch")["variates.batch"]
    assert verdict.status == FAIL
    assert "alone and in a batch of 2048" in verdict.detail


def test_a_variate_that_is_nothing_but_rounding_is_a_function_too():
    class Rounding(GaugeVariate):
        def control_variate(self, x):
            cosines = np.cos(self.angles(x)).reshape(len(x), -1)
            return cosines.cumsum(axis=1)[:, -1] - cosines[:, ::-1].cumsum(axis=1)[:, -1]

    assert [v.status for v in judged(Rounding(), "variates.[bs]*").values()] == [PASS, PASS]


class Kinked(ScalarVariate):
    """A right variate of a net with corners, ``g = 0.01 phi (1 + |phi - 0.1|)`` beside the rest."""

    def control_variate_field(self, x):
        return super().control_variate_field(x) + 0.01 * x * (1 + np.abs(x - 0.1))

    def divergence(self, x):
        slope = 1 + np.abs(x - 0.1) + x * np.sign(x - 0.1)
        return super().divergence(x) + 0.01 * slope.sum(axis=(1, 2))


@pytest.mark.parametrize("seed", range(3))
def test_corners_are_no_error_of_the_divergence(seed):
    verdict = judged(Kinked(improvement_ratio=None), "variates.divergence", seed)["variates.divergence"]
    assert verdict.status == PASS
    assert "(21 of 21 fields)" in verdict.sensitivity


BROKEN, FINE, UNSETTLED = (Identity(*each, "") for each in ((1.0, 1e-9, True), (0.0, 1e-9, True), (1.0, 1.0, False)))


@pytest.mark.parametrize(("further", "status"), [(FINE, PASS), (BROKEN, FAIL), (UNSETTLED, FAIL)])
def test_a_failure_must_be_one_a_little_further_on_too(monkeypatch, further, status):
    calls = []

    def once(subject, x):
        calls.append(x)
        return {5: BROKEN, 6: further}.get(len(calls), FINE)

    monkeypatch.setattr(Identity, "at", once)
    assert judged(ScalarVariate(), "variates.divergence")["variates.divergence"].status == status
    assert len(calls) == 22
    assert 0 < np.abs(calls[5] - calls[4]).max() < 1


def test_a_field_with_noise_is_no_skip():
    class Noisy(GaugeVariate):
        def control_variate_field(self, x):
            return super().control_variate_field(x) + 1e-3 * np.random.default_rng().standard_normal(x.shape)

    verdict = judged(Noisy(), "variates.divergence")["variates.divergence"]
    assert verdict.status == FAIL
    assert "control_variate_field: two calls with one input differ" in verdict.detail


@pytest.mark.parametrize(("target", "size"), [(ScalarVariate(), 21 - 4), (GaugeVariate(), 22 - 4)])
def test_unusual_fields_are_large_and_of_every_kind(target, size):
    x = unusual(Subject(target), np.random.default_rng(2))
    assert len(x) == size
    if isinstance(target, GaugeVariate):
        assert {-7, -4, -3, 3, 4, 7} <= set(charge(x))
    else:
        largest = np.abs(x).max(axis=(1, 2))
        assert np.abs(x.mean(axis=(1, 2))).max() > 2
        assert abs(x[0].mean()) > 1.3
        assert np.quantile(largest, [0.2, 0.5, 0.8]) == pytest.approx([1, 2, 4], rel=0.5)
        assert largest.max() > 12


def test_what_offering_the_field_would_buy_is_told():
    class Hidden(GaugeVariate):
        control_variate_field = None

        def control_variate(self, x):
            return GaugeVariate().control_variate(x)

    verdict = judged(Hidden(), "variates.divergence")["variates.divergence"]
    assert verdict.status == SKIP
    assert "offers no control_variate_field: with it errors of f of some 1e-10" in verdict.detail
    assert "from about 25 % of the standard deviation of f" in verdict.detail


def test_a_failure_of_the_mean_tells_the_kurtosis_in_words():
    class Off(GaugeVariate):
        def control_variate(self, x):
            return super().control_variate(x) + 0.2

    verdict = judged(Off(), "variates.mean_zero")["variates.mean_zero"]
    assert verdict.status == FAIL
    assert "(the bound on the second moment holds for tails up to a kurtosis of 303)" in verdict.detail


def test_an_exact_mean_makes_the_check_sharper():
    one = judged(ScalarVariate(shape=(4, 2), lam=4.0, mass2=0.95), "variates.mean_zero")["variates.mean_zero"]
    assert "exact <O>" in one.quantity
    blind = judged(ScalarVariate(shape=(4, 4), lam=4.0, mass2=0.95), "variates.mean_zero")["variates.mean_zero"]

    def seen(verdict):
        return float(verdict.sensitivity.split("(")[1].split()[0])

    assert seen(one) < 0.1
    assert seen(blind) > 0.2


@dataclass(frozen=True)
class Declaring(GaugeVariate):
    """A right variate that says other things of itself."""

    observable: Any = "plaquette"  # type: ignore[misc]
    improvement_ratio: Any = None
    variate_symmetries: Any = ("gauge",)


@pytest.mark.parametrize(
    ("target", "check", "message"),
    [
        (
            Declaring(observable="cos_plaquette"),
            "improvement",
            "observable: got 'cos_plaquette', expected plaquette, or",
        ),
        (Declaring(observable="wilson_loop_5x1"), "improvement", "of at most (4, 4)"),
        (Declaring(improvement_ratio=-2.0), "improvement", "improvement_ratio: got -2.0, expected a finite number > 0"),
        (Declaring(improvement_ratio="x"), "improvement", "improvement_ratio: got 'x'"),
        (Declaring(variate_symmetries="gauge"), "symmetry", "variate_symmetries: got 'gauge', expected a tuple of"),
        (Declaring(variate_symmetries=("rotation",)), "symmetry", "expected a tuple of gauge, translation"),
        (
            ScalarVariate(t=4),
            "improvement",
            "observable: got 'correlator_4', expected correlator_T with T below 4, or phi^K",
        ),
    ],
)
def test_what_is_declared_wrongly_is_named(target, check, message):
    verdict = judged(target, f"variates.{check}")[f"variates.{check}"]
    assert verdict.status == FAIL
    assert message in verdict.detail


def test_fewer_symmetries_may_be_declared():
    class Pinned(Declaring):
        def control_variate(self, x):
            return super().control_variate(x) * np.cos(np.arange(len(x[0, 0]))).sum() + 0 * x[:, 0, 0, 0]

    assert "gauge transformation, turns of 2 pi" in judged(Pinned(), "*symmetry")["variates.symmetry"].sensitivity


@pytest.mark.parametrize("name", ["correlator_3", "phi^2", "phi^4"])
def test_observables_of_scalars_are_those_of_the_package(name):
    from refimpl.observables.quantities import quantity

    target = ReferencePhi4()
    object.__setattr__(target, "observable", name)
    x = np.random.default_rng(1).standard_normal((3, 6, 4))
    np.testing.assert_allclose(observable(Subject(target))(x), quantity(name)(x), rtol=1e-13)


@pytest.mark.parametrize("name", ["plaquette", "wilson_loop_2x3", "wilson_loop_3x1"])
def test_observables_of_links_are_those_of_the_package(name):
    from refimpl.observables.quantities import quantity

    x = np.random.default_rng(1).uniform(-np.pi, np.pi, (3, 2, 4, 4))
    np.testing.assert_allclose(observable(Subject(Declaring(observable=name)))(x), quantity(name)(x), atol=1e-14)


class Heavy(GaugeVariate):
    """Of mean zero, nearly all of it in a few configurations of ten thousand; of an observable nobody knows."""

    observable = "energy"
    share = 3e-4

    def control_variate(self, x):
        rare = np.abs(x[:, 0, 0, 0]) < np.pi * self.share  # a single link is uniform
        return rare - self.share


def test_tails_that_are_too_heavy_are_no_alarm_and_no_pass():
    verdict = judged(Heavy(), "variates.mean_zero")["variates.mean_zero"]
    assert verdict.status == SKIP
    assert "more than the" in verdict.detail


def test_tails_that_the_first_values_missed_are_seen_by_the_next():
    none, some = np.full(20_000, -1e-3), np.full(5000, -1e-3)
    some[7] = 1.0
    scale = Scale.learned(none, 1e-8)
    assert scale.untrusted == ""
    assert "more than the" in scale.beside(some).untrusted


class ZeroVariance(GaugeVariate):
    """O - f is a constant, up to rounding: that the constant is exact to 16 digits only is no bias."""

    improvement_ratio = None

    def control_variate(self, x):
        from refimpl.exact import u1

        angles = self.angles(x)
        return np.cos(angles).mean(axis=(1, 2)) - u1.plaquette(self.beta, self.shape) * (1 + 1e-12)


def test_a_variate_that_leaves_no_variance_is_right():
    verdicts = judged(ZeroVariance(), "variates.[mi]*")
    assert [v.status for v in verdicts.values()] == [PASS, PASS]


def test_a_field_that_is_too_large_is_said_to_be():
    class Fixed(ScalarVariate):
        replace = None

    verdict = judged(Fixed(shape=(40, 30), t=1), "variates.divergence")["variates.divergence"]
    assert verdict.status == SKIP
    assert "too large" in verdict.detail
    assert judged(ScalarVariate(shape=(40, 30)), "variates.divergence")["variates.divergence"].status == PASS


def test_worth_is_the_ratio_of_standard_deviations():
    rng = np.random.default_rng(3)
    o, r = 3 * rng.standard_normal(20_000), rng.standard_normal(20_000)
    ratio, error, kurtosis = worth(o, r)
    assert ratio == pytest.approx(3, abs=5 * error)
    assert error == pytest.approx(3 / np.sqrt(20_000), rel=0.5)  # sqrt(1/2n + 1/2n) of the ratio
    assert kurtosis == pytest.approx(3, abs=0.3)
