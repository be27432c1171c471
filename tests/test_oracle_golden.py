"""The check golden.vectors: right targets pass at once, wrong ones fail by name, others are told what would do."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from refimpl.validation import check_target
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.checks import golden
from refimpl.validation.references.fermions import ReferenceSUN


def verdict(target, **options):
    return check_target(target, level="smoke", seed=1, select="golden.vectors", **options).verdicts[0]


@pytest.mark.parametrize("name", ["u1", "o2", "gaussian", "gmm", "schwinger", "su2", "su3", "phi4", "fourier", "l2hmc"])
def test_the_package_passes_at_the_parameters_of_the_vectors(name):
    found = verdict(BUILT_IN[name])
    assert found.status == "pass", found.detail
    assert found.samples >= 6
    told = re.fullmatch(r"action error [\d.e-]+; (\d+) functions", found.sensitivity)
    assert told is not None
    assert int(told[1]) >= (
        5 if name in ("u1", "o2", "gaussian", "gmm", "su2", "phi4") else 2
    )  # those have trajectories


class Fixed:
    """U(1) at one coupling and shape."""

    theory = "u1"

    def __init__(self, beta, shape):
        self.beta, self.shape = beta, shape

    def action(self, x):
        return BUILT_IN["u1"](beta=self.beta, shape=self.shape).action(x)


def test_a_target_that_cannot_be_moved_is_judged_where_it_stands_or_told_where_to_go():
    assert verdict(Fixed(1.0, (2, 2))).samples == 1
    found = verdict(Fixed(4.0, (5, 7)))
    assert found.status == "skip"
    assert "beta = " in found.detail
    assert "shape = " in found.detail


def test_one_wrong_entry_is_told_by_vector_function_and_place():
    class Off(Fixed):
        def action(self, x):
            return super().action(x) + 1e-9 * np.arange(len(x))

    found = verdict(Off(1.0, (2, 2)))
    assert found.status == "fail"
    assert found.detail.startswith("vector u1_loops/hot-2x2, action: action at [")


def test_an_error_names_the_vector():
    class Raises(Fixed):
        def action(self, x):
            raise ArithmeticError("no")

    found = verdict(Raises(1.0, (2, 2)))
    assert found.status == "fail"
    assert "vector u1_loops/hot-2x2: action: raised ArithmeticError" in found.detail


def test_a_wrong_vector_is_seen(monkeypatch):
    def spoiled(suite):
        return [
            replace(v, expected={k: a + 1e-8 if a.dtype.kind == "f" else a for k, a in v.expected.items()})
            for v in read(suite)
        ]

    read = golden.read_suite
    monkeypatch.setattr(golden, "read_suite", spoiled)
    assert verdict(BUILT_IN["gaussian"]).status == "fail"


def test_fields_to_be_refused_are_no_part_of_it():
    """A correct target may compute what it is given: only `replay` asks for a refusal."""

    class Lenient(Fixed):
        def action(self, x):
            x = x[:, :2]
            p = x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]
            return self.beta * (1 - np.cos(p)).sum((1, 2))

        def replace(self, **changes):
            return Lenient(**{"beta": self.beta, "shape": self.shape, **changes})

    assert verdict(Lenient(1.0, (4, 4))).status == "pass"


def test_vectors_without_quarks_are_not_for_targets_with_them():
    def with_quarks(beta=2.0, shape=(4, 4), kappa=0.1):
        if not kappa:
            raise ValueError("kappa: got 0, expected a number > 0")
        return ReferenceSUN(2, beta, shape, kappa)

    assert verdict(with_quarks).status == "skip"
    assert verdict(partial(ReferenceSUN, 2, kappa=0.1)).status == "pass"  # made without them where it can be
