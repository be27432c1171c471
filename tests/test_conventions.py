"""Foreign conventions: converted there and back, found where they are, and not found where an error is."""

import inspect
import time
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.cli import main
from refimpl.cli.arguments import CONVENTIONS
from refimpl.validation import Convention, check_target, converted
from refimpl.validation.battery import Battery, _discovery
from refimpl.validation.checks import BY_ID
from refimpl.validation.child import Crashed
from refimpl.validation.contract import CAPABILITIES, Subject, TargetFault
from refimpl.validation.conventions import NAMED, OURS, Converted, named, option
from refimpl.validation.conversion import Declined, Timed
from refimpl.validation.discovery import BASIC, NOTHING, _with_outputs
from refimpl.validation.failure_text import again_command
from refimpl.validation.mutants import BY_NAME, MUTANTS
from refimpl.validation.mutants.clay import Clay
from refimpl.validation.mutants.fermions_clay import SchwingerClay
from refimpl.validation.mutants.matrices_clay import MatrixClay
from refimpl.validation.mutants.scalar_clay import ScalarClay
from refimpl.validation.mutants.toy_clay import Toy
from refimpl.validation.reports import read_report
from refimpl.validation.theories import THEORIES
from refimpl.validation.translation import CALLS, Layout, _positive, _signed
from refimpl.validation.wrappers import BUGS, broken
from tests.foreign import FOREIGN, LAYOUTS, Foreign, OneChain

FIELDS = {
    "u1": ({"beta": 2.0, "shape": (3, 4)}, "mu t x"),
    "su2": ({"beta": 2.0, "shape": (3, 4), "kappa": 0.0}, "mu t x a b"),
    "phi4": ({"m2": 1.0, "lam": 1.0, "shape": (3, 4)}, "t x"),
    "o2": ({"beta": 2.0, "length": 5}, "t"),
}


def found_for(target):
    battery = Battery(target, level="smoke", seed=1)
    basic = [BY_ID[check] for check in BASIC if BY_ID[check] in battery.applicable]
    return battery, _discovery(battery, [battery.verdict(check) for check in basic])


class Weighted(Timed):
    """Takes weights, and has the plaquette of another normalisation."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def map_with_weights(self, params, architecture, z, d):
        return z, np.zeros(len(z[0]))

    def plaquette(self, x):
        return 2 * np.cos(x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]).mean(axis=(1, 2))


@pytest.mark.parametrize(("names", "good"), [("ours", True), ("half-beta", True), ("phases", False), ("mu-last", False),
                                             ("space-first", False)])  # fmt: skip
def test_weights_are_those_of_fields_of_the_contract(names, good):
    z = np.zeros((1, 2, 2, 2)), np.ones((1, 2, 2, 2))
    asked = converted(Weighted(), named(names)).map_with_weights
    if good:
        np.testing.assert_array_equal(asked({}, {}, z, np.ones(1))[0], z)
        return
    with pytest.raises(Declined, match="weights are those of fields in the conventions of the contract"):
        asked({}, {}, z, np.ones(1))


def test_answers_for_single_chains_have_one_shape():
    layout = Layout(THEORIES["u1"].parse({"beta": 2.0, "shape": (2, 2)}), Convention("mu t x"))
    np.testing.assert_array_equal(layout.stacked("action", "S", [np.ones(()), np.zeros(())]), [1, 0])
    with pytest.raises(TargetFault, match=r"action: got answers of shapes \(1,\), \(2,\) for single chains"):
        layout.stacked("action", "S", [np.zeros(1), np.zeros(2)])


def test_angles_come_back_to_the_half_open_interval():
    angles = np.array([np.pi, -np.pi, 0.1, 3.5, -3.5])
    np.testing.assert_allclose(_signed(angles), [-np.pi, -np.pi, 0.1, 3.5 - 2 * np.pi, 2 * np.pi - 3.5], rtol=1e-15)
    np.testing.assert_array_equal(_positive(np.array([-1e-300, 2 * np.pi, 0.5])), [0, 0, 0.5])


def test_a_deadline_is_that_of_the_target_itself():
    target = Weighted()
    converted(target, OURS).deadline = 3.0
    assert target.deadline == 3.0


def test_another_normalisation_of_the_plaquette_is_no_convention():
    assert list(_with_outputs(Subject(Weighted()), OURS)) == []


# --- converters --------------------------------------------------------------------------------------------------------
@given(st.data(), st.sampled_from(sorted(FIELDS)))
def test_fields_and_momenta_come_back_from_any_layout(data, name):
    parameters, axes = FIELDS[name]
    theory = THEORIES[name].parse(parameters)
    order = data.draw(st.permutations(["chain", *axes.split()]))
    directions = data.draw(st.sampled_from(["tx", "xt"] if "mu" in axes else ["tx"]))
    angles = data.draw(st.sampled_from(["any", "[0, 2 pi)", "phases"] if name in ("u1", "o2") else ["any"]))
    layout = Layout(theory, Convention(" ".join(order), directions=directions, angles=angles, momenta=0.5))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    x = rng.uniform(-np.pi, np.pi, (2, *theory.field_shape)) + (0j if name == "su2" else 0)
    v = rng.standard_normal((2, *theory.momentum_shape))
    sizes = dict(zip(["chain", *axes.split()], x.shape, strict=True))
    assert layout.inward("x", x).shape == tuple(sizes[axis] for axis in order)
    # Adding or taking off a turn rounds an angle to the digits of 2 pi, and so do exp and its inverse.
    tolerance = 0.0 if angles == "any" else 4 * np.spacing(2 * np.pi)
    assert np.abs(layout.outward("x", "x", layout.inward("x", x)) - x).max() <= tolerance
    assert np.array_equal(layout.outward("v", "v", layout.inward("v", v)), v)


def test_momenta_have_the_standard_deviation_of_the_target():
    layout = Layout(Subject(Clay()).theory, Convention(momenta=0.5))
    assert np.all(layout.inward("v", np.ones((1, 2, 4, 4))) == 0.5)


def test_angles_of_a_target_lie_in_its_interval():
    layout = Layout(Subject(Clay()).theory, Convention(angles="[0, 2 pi)"))
    x = np.full((1, 2, 4, 4), -1e-300)
    x[0, 0, 0, :2] = -np.pi, 3 * np.pi
    theirs = layout.inward("x", x)
    assert theirs.min() >= 0
    assert theirs.max() < 2 * np.pi
    assert np.abs(np.exp(1j * theirs) - np.exp(1j * x)).max() < 1e-14


def test_every_function_of_the_contract_can_be_translated_or_needs_none():
    assert set(CAPABILITIES) - set(CALLS) == {"integrated_autocorrelation_time"}
    for name, (asked, _) in CALLS.items():
        wanted = list(inspect.signature(getattr(Subject, name)).parameters)[1:]
        optional = {"transition": {"d", "phi"}, "resume": {"like"}}.get(name, set())
        assert len(asked) == len([one for one in wanted if one not in optional]), name


LATER = ("axes (chain, t, x, mu)", "axes (chain, mu, x, t)", "axes (mu, t, x)", "S -> -S and F -> -F")


@pytest.mark.parametrize("told", [pytest.param(t, marks=pytest.mark.slow if t in LATER else ()) for t in FOREIGN])
def test_a_convention_is_found_and_what_follows_passes(told):
    battery, found = found_for(FOREIGN[told])
    assert (found.told, found.others) == (f"matches after {told}", ())
    under = battery.under(found.convention)
    for check in (
        *BASIC,
        "static.golden",
        "maps.round_trip",
        "transcript.energy",
        "transcript.same_step",
        "driver.resume",
    ):
        verdict = under.verdict(BY_ID[check])
        assert (verdict.status, verdict.convention) == ("pass", told), verdict


@pytest.mark.slow
@pytest.mark.parametrize("told", FOREIGN)
def test_the_deterministic_battery_passes_under_the_convention(told):
    battery, found = found_for(FOREIGN[told])
    under = battery.under(found.convention)
    failed = {c.id for c in under.applicable if not c.statistical and under.verdict(c).status == "fail"}
    assert failed == set()


def test_chains_that_are_run_one_by_one_have_noise_of_their_own():
    subject = Subject(converted(OneChain(), Convention("mu t x")))
    v = subject.transcript(np.zeros((3, 2, 4, 4)), 5)["v"]
    assert len(np.unique(v, axis=0)) == 3
    assert np.array_equal(v, subject.transcript(np.zeros((3, 2, 4, 4)), 5)["v"])


def test_extents_and_couplings_are_those_of_the_contract():
    def target(beta=2.0, shape=(4, 4)):
        return Foreign(Clay(beta, shape[::-1]), LAYOUTS["chain mu x t"], turned=True)

    made = converted(target, Convention("chain mu x t", beta=0.5))
    subject = Subject(made, parameters={"shape": (2, 3), "beta": 1.5})
    assert (subject.theory.shape, subject.theory.beta) == ((2, 3), 1.5)
    assert (subject.target._subject.theory.shape, subject.target._subject.theory.beta) == ((3, 2), 3.0)
    assert subject.replace(shape=(4, 6)).target._subject.theory.shape == (6, 4)
    whatever = Convention("chain mu x t", shape="contract")
    assert Subject(converted(Clay(shape=(2, 3)), whatever)).theory.shape == (2, 3)
    assert named("space-time+contract-shape") == whatever


@pytest.mark.parametrize(
    ("target", "convention", "field"),
    [
        (MatrixClay(), Convention("b a x t mu chain", directions="xt", force=-1), "su2"),
        (ScalarClay(), Convention("x chain t"), "phi4"),
        (Toy("o2"), Convention("t chain", angles="[0, 2 pi)"), "o2"),
        (Toy("gaussian"), Convention("t chain", action=-1, force=-1), "gaussian"),
    ],
)
def test_there_and_back_is_the_target_itself(target, convention, field):
    """A target is converted to the inverse convention by the one below, and back again by its own."""
    subject, layout = Subject(target), Layout(Subject(target).theory, convention)

    class Away(type(target)):
        def action(self, y):
            return layout.action * target.action(layout.outward("x", "x", y))

        def force(self, y):
            force = layout.force * target.force(layout.outward("x", "x", y))
            return layout._arranged(force, *map(layout._tangent, (layout.axes, layout.theirs)))

        def forward(self, z):
            (x, v), logdet = target.forward((layout.outward("x", "x", z[0]), layout.outward("v", "v", z[1])))
            return (layout.inward("x", x), layout.inward("v", v)), logdet

    again = Subject(converted(Away(**vars(target)), convention))
    rng = np.random.default_rng(2)
    x = subject.theory.configurations(rng)
    v = rng.standard_normal((len(x), *subject.theory.momentum_shape))
    assert np.allclose(again.action(x), subject.action(x), rtol=0, atol=1e-12)
    assert np.allclose(again.force(x), subject.force(x), rtol=0, atol=1e-12)
    (x_end, v_end), _ = again.forward((x, v))
    (expected, momenta), _ = subject.forward((x, v))
    assert np.abs(subject.theory.difference(x_end, expected)).max() < 1e-12
    assert np.allclose(v_end, momenta, rtol=0, atol=1e-12)


def test_what_cannot_be_translated_says_why():
    subject = Subject(converted(SchwingerClay(), Convention("x t mu chain")))
    with pytest.raises(Declined, match="dirac_dense: spinor fields are handed on with the axes of the contract alone"):
        subject.dirac_dense(np.zeros((1, 2, *subject.theory.shape)))
    with pytest.raises(TargetFault, match=r"force: got shape \(2, 4\), expected axes chain, mu, t, x"):
        Subject(converted(Foreign(tangent=(lambda y: y[0, :, 0], None)), OURS)).force(np.zeros((3, 2, 4, 4)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axes": "time space"}, "axes: got 'time space', expected an order of chain"),
        ({"axes": "t t x"}, "at most once"),
        ({"axes": 3}, "axes: got 3"),
        ({"force": 2.0}, "force: got 2 for an action of 1, expected its derivative up to a sign"),
        ({"action": 0.5}, "force: got 1 for an action of 0.5"),
        ({"orientation": 2}, r"orientation: got 2, expected one of \(1, -1\)"),
        ({"beta": -1.0}, "beta: got -1.0, expected a finite number > 0"),
        ({"momenta": float("nan")}, "momenta: got nan"),
        ({"angles": "degrees"}, "angles: got 'degrees'"),
    ],
)
def test_what_is_no_convention_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Convention(**wrong)


def test_a_theory_refuses_what_it_has_not():
    for target, convention, name in (
        (ScalarClay(), Convention(directions="xt"), "directions"),
        (Toy("gaussian"), Convention(beta=2), "beta"),
        (MatrixClay(), Convention(angles="phases"), "angles"),
        (Clay(), Convention(generators=2), "generators"),
        (Clay(), Convention("chain mu t"), "axes"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got"):
            converted(target, convention)


def test_names_can_be_put_together():
    assert named("column-major+minus-force") == Convention("b a x t mu chain", force=-1)
    assert named("ours") == OURS
    assert NAMED["ours"].told == "nothing"
    with pytest.raises(ValueError, match="conventions: got 'theirs', expected one of ours, "):
        named("minus-force+theirs")
    with pytest.raises(ValueError, match="with two for force, expected one"):
        named("minus-force+log-density")


# --- discovery ---------------------------------------------------------------------------------------------------------
class HalfBeta(Clay):
    def action(self, x):
        return super().action(x) / 2

    def force(self, x):
        return super().force(x) / 2


class HalfTold(HalfBeta):
    """Half of action and force are what it returns; it samples the whole."""

    def kick_force(self, x):
        return Clay.force(self, x)

    def delta_h(self, x, v, x_end, v_end):
        return Clay.action(self, x_end) - Clay.action(self, x) + self.kinetic(v_end) - self.kinetic(v)


class Energy(HalfTold):
    def action(self, x):
        return Clay.action(self, x) / self.beta

    def force(self, x):
        return Clay.force(self, x) / self.beta


def test_energies_tell_a_coupling_from_what_functions_return():
    for target, told in ((HalfBeta, "beta -> 0.5 beta"), (HalfTold, "S -> 0.5 S and F -> 0.5 F")):
        assert found_for(target())[1].told == f"matches after {told}"
    # At beta = 2 the two are alike, and another beta tells them apart.
    assert found_for(Energy())[1].told == "matches after S and F without their beta"


def test_several_conventions_are_told():
    class Silent:
        theory, beta, shape = "u1", 2.0, (4, 4)
        action, force = HalfBeta().action, HalfBeta().force

    found = found_for(Silent())[1]
    assert found.convention == Convention(beta=0.5)
    assert found.told == (
        "matches after beta -> 0.5 beta, and so after S -> 0.5 S and F -> 0.5 F or S and F without their beta"
    )


def test_quartic_terms_have_their_conventions():
    assert found_for(BY_NAME["QuarticWithoutFactorial"])[1].convention == Convention(lam=24.0)


def test_errors_are_not_explained_away():
    """Of the family of U(1) only the mutant that is a convention: its plaquettes run the other way round."""
    told = {}
    for mutant in (
        mutant for mutant in MUTANTS if mutant.__module__.endswith(".u1") and set(mutant.killed_by) & set(BASIC)
    ):
        found = found_for(mutant)[1]
        assert found.convention is None or mutant.__name__ == "ExchangedAxes", found
        told[mutant.__name__] = found.told
    assert told["ExchangedAxes"] == "matches after plaquettes the other way round (Q -> -Q)"
    assert told["FlippedForce"].startswith("F -> -F would explain it, but trajectories go that way too: an error")
    assert len(told) >= 14
    assert set(told.values()) == {told["ExchangedAxes"], told["FlippedForce"], NOTHING}


def test_nor_are_those_of_one_function():
    """A function with the other sign beside right trajectories is a convention; all others are errors."""
    names = (
        "ActionNormalisation",
        "ActionSign",
        "DoubledForce",
        "HalvedForce",
        "ExchangedAxes",
        "SineChargeSign",
        "OneStaple",
    )
    for bug in (bug for bug in BUGS if bug.name in names):
        assert found_for(broken(Clay(), bug))[1].convention is None, bug.name
    flipped = next(bug for bug in BUGS if bug.name == "FlippedForce")
    assert found_for(broken(Clay(), flipped))[1].convention == Convention(force=-1)


def test_a_target_that_hangs_is_called_once_more():
    calls = []

    class Slow:
        theory, beta, shape = "u1", 2.0, (4, 4)

        def action(self, x):
            calls.append(len(x))
            time.sleep(0.2)

    battery = Battery(Slow(), level="smoke", seed=1, deadline=0.02)
    verdict = replace(battery.verdict(BY_ID["static.batch"]), check="static.action")
    assert verdict.status == "fail"
    battery.subject._hung = None  # as where it answers again
    assert _discovery(battery, [verdict]).convention is None
    assert len(calls) == 2


def test_a_process_that_dies_of_strange_fields_is_not_started_again_and_again():
    calls = []

    class Dies(Timed):
        theory, beta, shape = "u1", 2.0, (4, 4)

        def action(self, x):
            calls.append(len(x))
            raise TargetFault("action: the process crashed") from Crashed("crashed")

    assert found_for(Dies())[1].convention is None
    assert len(calls) == 2  # by the check, and by the search


# --- reports -----------------------------------------------------------------------------------------------------------
def test_what_failed_stays_failed_and_the_rest_is_marked(tmp_path):
    report = check_target(Foreign(force=-1), level="smoke", seed=1, select="static.[afg]*")
    status = {verdict.check: (verdict.status, verdict.convention) for verdict in report.verdicts}
    assert (report.convention, report.exit_code) == ("matches after F -> -F (--conventions minus-force)", 1)
    assert status["static.force"] == ("fail", "")
    assert status["static.action"] == ("pass", "")
    assert status["static.force_gradient"] == ("pass", "F -> -F")
    force = next(verdict for verdict in report.verdicts if verdict.check == "static.force")
    assert force.causes == ("conventions: matches after F -> -F (--conventions minus-force)",)
    table = report.as_table(120)
    assert "conventions: matches after F -> -F (--conventions minus-force): 2 checks, marked *" in table.splitlines()[1]
    assert "static.force_gradient * " in table
    assert "static.force * " not in table
    file = tmp_path / "report.json"
    file.write_text(report.as_json(), encoding="utf-8")
    again = read_report(file)
    assert (again.convention, again.verdicts[2].convention) == (report.convention, "F -> -F")
    properties = ET.fromstring(report.as_junit().encode()).iter("property")
    assert {"F -> -F", table.splitlines()[1].partition(": ")[2][:21]} <= {p.get("value")[:21] for p in properties}
    assert "Conventions: matches after F" in report.as_markdown()
    undrawn = replace(report, verdicts=[replace(verdict, exhibits=()) for verdict in report.verdicts])
    assert "<b>Conventions:</b> matches after F -&gt; -F" in undrawn.as_html()


def test_what_no_convention_explains_is_said_to_fail_there_too():
    class Worse(Foreign):
        def sine_charge(self, y):
            return 1.01 * super().sine_charge(y)

        def plaquette(self, y):
            raise ValueError("none here")

    assert check_target(Worse(force=-1), level="smoke", seed=1, select="static.force").convention == ""

    class Loops(Foreign):
        def wilson_loop(self, y, a, b):
            return 1.01 * super().wilson_loop(y, a, b)

    report = check_target(Loops(force=-1), level="smoke", seed=1, select="static.[fw]*")
    causes = {verdict.check: verdict.causes for verdict in report.failures}
    assert causes["static.force"] == ("conventions: matches after F -> -F (--conventions minus-force)",)
    assert "but fails under that convention too: 1 x 1 loop" in causes["static.wilson_loop"][0]


def test_conventions_are_tried_where_they_are_asked_for():
    target = Foreign(force=-1)
    assert check_target(target, level="smoke", seed=1, select="static.force*", conventions="ours").convention == ""
    told = check_target(target, level="smoke", seed=1, select="static.force*", conventions="minus-force")
    assert (told.exit_code, told.convention) == (0, "F -> -F")
    assert "F -> -F: all is judged under that convention" in told.as_table()
    assert told.target == "Foreign"
    own = check_target(converted(target, NAMED["minus-force"]), level="smoke", seed=1, select="static.force*")
    assert (own.exit_code, own.convention, own.verdicts[0].convention) == (0, "F -> -F", "F -> -F")
    with pytest.raises(ValueError, match="conventions: got 3, expected auto, a Convention or the name of one"):
        check_target(target, conventions=3)


def test_options_name_what_was_found(capsys):
    assert tuple(NAMED) == CONVENTIONS
    assert all(option(NAMED[name]) == name for name in NAMED if name != "ours")
    assert option(named("minus-force+mu-last")) == "mu-last+minus-force"
    assert named(option(named("log-density+phases"))) == named("log-density+phases")
    assert option(Convention(force=-1, momenta=2.0)) == option(NAMED["ours"]) == ""
    report = check_target(Foreign(force=-1), level="smoke", seed=1, select="static.force*", spec="mine")
    marked = next(verdict for verdict in report.verdicts if verdict.convention)
    assert " mine --conventions minus-force --level smoke" in again_command(marked, report)
    assert "--conventions" not in again_command(report.failures[0], report)
    with pytest.raises(SystemExit):
        main(["validate", "--help"])
    assert ",".join(NAMED) in "".join(capsys.readouterr().out.split())  # it breaks lines at hyphens


def test_the_command_line(capsys):
    assert main(["validate", "mutant:ExchangedAxes", "-k", "static.*charge", "--failures", "none"]) == 1
    assert "matches after plaquettes the other way round (Q -> -Q)" in capsys.readouterr().out
    arguments = ["validate", "mutant:ExchangedAxes", "-k", "static.*charge", "--conventions", "other-orientation"]
    assert main(arguments) == 0
    assert main([*arguments[:-1], "theirs"]) == 2
    assert "conventions: got 'theirs', expected one of ours" in capsys.readouterr().err


def test_a_converted_target_keeps_what_it_is():
    subject = Subject(converted(Clay(), NAMED["minus-force"]), deadline=7.0)
    assert isinstance(subject.target, Converted)
    assert subject.target._subject.deadline == 7.0
    assert subject.capabilities == Subject(Clay()).capabilities
    assert (subject.name, subject.parameter("step_size")) == ("Clay", 0.42)
    assert converted(None, OURS) is None
