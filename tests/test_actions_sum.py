"""Sums of actions: they add, do not nest, and refuse fields of different kinds."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.actions import Gaussian, O2Chain, Scaled, Sum, WilsonDeterminant, WilsonSUN, WilsonU1
from refimpl.kernels import HMC, Cycle


def test_actions_add():
    gauge, other = WilsonU1(2.0), Scaled(WilsonU1(1.0), 0.3)
    total = gauge + other
    assert total == Sum((gauge, other))
    assert total + gauge == gauge + (other + gauge) == Sum((gauge, other, gauge))
    assert total.angular
    x = np.random.default_rng(10).uniform(-np.pi, np.pi, (3, 2, 4, 4))
    np.testing.assert_array_equal(total.action(x), gauge.action(x) + other.action(x))
    np.testing.assert_array_equal(total.force(x), gauge.force(x) + other.force(x))
    v = np.zeros_like(x)
    dynamics = total.dynamics(x, v)
    dynamics.kick(0.5)
    # Two numbers of size 10 are added in either order.
    np.testing.assert_allclose(v, -0.5 * total.force(x), rtol=0, atol=1e-14)
    for energy, force in (total.action_and_force(x), dynamics.action_and_force()):
        np.testing.assert_array_equal(energy, total.action(x))
        np.testing.assert_array_equal(force, total.force(x))


def test_sums_of_different_fields_are_refused_and_equal_sums_make_a_cycle():
    with pytest.raises(ValueError, match=r"expected at least one action, all of angles or none"):
        O2Chain(1.0) + Gaussian(np.eye(2))
    with pytest.raises(ValueError, match=r"terms: got \(\), expected at least one action"):
        Sum(())
    first, second = (Gaussian(np.eye(2)) + Gaussian(scale * np.eye(2)) for scale in (2.0, 2.0))
    assert Cycle([HMC(first, 0.1, 1), HMC(second, 0.1, 1)]).action is first
    with pytest.raises(ValueError, match="expected one action"):
        Cycle([HMC(first, 0.1, 1), HMC(first + second, 0.1, 1)])


def test_sums_do_not_nest():
    a, b = WilsonU1(1.0), WilsonDeterminant(0.2)
    assert Sum((Sum((a, b)), a)) == Sum((a, b, a)) == Sum([a, b]) + a


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (WilsonU1(2.0), r"terms: got WilsonU1\(.*, expected actions in a tuple"),
        ((1,), "terms: got 1, expected actions"),
        ((WilsonSUN(2.0, 2), WilsonSUN(2.0, 3)), r"terms: got actions of \[2, 3\] colours, expected one gauge group"),
        ((WilsonSUN(2.0, 2) + WilsonDeterminant(0.2, 2), WilsonDeterminant(0.2, 3)), r"of \[2, 3\] colours"),
    ],
)
def test_sums_of_what_does_not_add_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        Sum(terms)


@pytest.mark.parametrize("other", [3, None, "beta"])
def test_only_actions_add(other):
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \+: 'WilsonU1' and"):
        WilsonU1(2.0) + other
