"""phi^4 before the oracle: built-in targets, one in plain Python, vectors, and lattices too large for exact samples."""

import numpy as np
import pytest

from refimpl.actions import Phi4
from refimpl.observables.scalars import correlator
from refimpl.validation import TargetError, check_target, vectors
from refimpl.validation.contract import Subject
from refimpl.validation.mutants.scalar_clay import FourierClay, ScalarClay
from refimpl.validation.references.phi4 import ReferenceFourierHMC, ReferencePhi4
from refimpl.validation.theories import Phi4 as Theory
from refimpl.validation.theories import Unsampled
from tests.targets.phi4_loops import LoopsPhi4

VECTORS = vectors.read_suite("phi4")


def problems(report):
    return [f"{v.check}: {v.detail}" for v in report.verdicts if v.status == "fail"]


# Statistics are for the first of each kernel; what is exact is cheap.
@pytest.mark.parametrize(
    ("target", "select"),
    [
        (ReferencePhi4(), None),
        (ReferencePhi4(m2=-0.2, lam=1.5, shape=(4, 2)), "[ms]*"),
        (ReferencePhi4(m2=0.5, lam=0.0, shape=(2, 5)), "[ms]*"),
        (ReferencePhi4(shape=(1, 1), step_size=0.6), "[ms]*"),
        (ReferencePhi4(integrator="omelyan"), "maps.*"),
        (ReferenceFourierHMC(), "[mt]*"),
        (ReferenceFourierHMC(m2=0.1, lam=0.0, shape=(6, 1), mass2=0.1), "maps.*"),
        (LoopsPhi4(), "[ms]*"),
        (ScalarClay(), "[ms]*"),
        (FourierClay(), "maps.*"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_good_targets_pass(target, select):
    report = check_target(target, level="smoke", seed=1, select=select)
    assert problems(report) == []
    assert report.summary()["passed"] >= 8


def test_too_large_a_lattice_is_judged_by_all_that_needs_no_equilibrium():
    large = ReferencePhi4(m2=0.1, lam=24.0, shape=(20, 20), step_size=0.1, n_steps=3)
    report = check_target(large, level="smoke", seed=2, select="[ms][at]*")
    assert problems(report) == []
    report = check_target(large, level="smoke", seed=2, select="exact_start.creutz")
    (verdict,) = report.verdicts
    assert verdict.status == "skip"
    assert "shape 20x20" in verdict.detail
    assert "judge it at shape 4x4 or 4x2 or 2x2" in verdict.detail


def test_the_lattice_of_table_2_has_exact_samples():
    theory = Theory(0.01, 0.1, (40, 10))
    assert theory.acceptance > 0.2
    x = theory.sample(np.random.default_rng(1), 400)
    # <phi dS/dphi> = 1; some 400 sites, so that 400 fields know it to well below 0.02
    assert theory.schwinger_dyson(x).mean() == pytest.approx(1, abs=0.02)


def test_an_estimate_that_was_wrong_is_no_crash(monkeypatch):
    def none_accepted(*arguments):
        raise ValueError("shape: got (4, 4), on which no field of 10000000 was accepted")

    monkeypatch.setattr("refimpl.exact.phi4.sample", none_accepted)
    with pytest.raises(Unsampled, match="sampler by rejection"):
        Theory(0.3, 1.0, (4, 4)).sample(np.random.default_rng(1), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lam": -1.0}, "lam >= 0"),
        ({"lam": 0.0, "m2": -0.1}, "m2 > 0 where lam = 0"),
        ({"m2": float("nan")}, "finite numbers"),
        ({"m2": "x"}, "two numbers and two integers"),
        ({"shape": (4, 0)}, "extents of at least 1"),
        ({"shape": (4, 2.5)}, "extents of at least 1"),
        ({"shape": (4,)}, "two integers"),
        ({"shape": (4, 4, 4)}, "extents of at least 1"),
    ],
)
def test_what_is_no_theory_is_refused(changes, message):
    declared = {"theory": "phi4", "m2": 0.1, "lam": 1.0, "shape": (4, 4), **changes}
    with pytest.raises(TargetError, match=message):
        Subject(type("T", (), declared)())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vectors_agree_with_the_package(vector):
    x, want = vector.x, vector.expected
    phi4 = Phi4(-0.7, 3.0)
    action = want["action_bonds"] - 0.7 * want["action_mass"] + 3.0 * want["action_quartic"]
    force = want["force_bonds"] - 0.7 * want["force_mass"] + 3.0 * want["force_quartic"]
    # Rounding of some 24 terms of the largest size, which is that of the fields of size 30
    size = np.abs(x).max()
    np.testing.assert_allclose(phi4.action(x), action, rtol=0, atol=1e-14 * x[0].size * (4 + size**4))
    np.testing.assert_allclose(phi4.force(x), force, rtol=0, atol=1e-14 * (8 + size**3))
    np.testing.assert_allclose(correlator(x), want["correlator"], rtol=0, atol=1e-15 * x[0].size * (1 + size**2))
    np.testing.assert_allclose((x * x).mean(axis=(1, 2)), want["moments"][:, 1], rtol=1e-14)
    if min(vector.shape) == 2:  # the two bonds of an extent of 2 are the same difference
        axis = 1 + vector.shape.index(2)
        other = (np.square(np.roll(x, -1, 3 - axis) - x) / 2).sum(axis=(1, 2))
        twice = np.square(np.diff(x, axis=axis)).sum(axis=(1, 2))
        np.testing.assert_allclose(want["action_bonds"], other + twice, rtol=1e-13)
