"""What the PyPI package lfox does with the parameters of its actions; skipped where it is not installed.

Once one of these fails, the docstring of the adapter is out of date. The oracle judges its HMC in test_peers.py.
"""

import dataclasses
import importlib

import pytest


@pytest.fixture(scope="module")
def peer():
    pytest.importorskip("lfox", reason="the peer is in the extra 'lfox'")
    return importlib.import_module("refimpl.validation.peers.lfox")


def action(peer, **params):
    return peer.Phi4Action(field_names=["phi"], params=params)


@pytest.fixture
def ones(peer):
    """A field of 16 ones: its action is ``16 (m2/2 + lam/24)``."""
    return {"phi": peer.LatticeField(lattice=peer.SquareLattice(st_dims=(4, 4)), F=1.0)}


def test_changed_parameters_are_not_seen_and_spoil_other_actions(peer, ones):
    old = action(peer, m2=0.25, lam=24.0)
    before = float(old.S(ones))
    assert before == pytest.approx(16 * (0.125 + 1), rel=1e-12)
    old.params["lam"] = 48.0
    another = action(peer, m2=0.25, lam=48.0)
    assert float(old.S(ones)) == float(another.S(ones)) == before  # where 16 (0.125 + 2) is right
    fresh = action(peer, m2=0.25, lam=72.0)
    assert float(fresh.S(ones)) == pytest.approx(16 * (0.125 + 3), rel=1e-12)


def test_a_sum_changes_its_first_term(peer, ones):
    first, second = action(peer, m2=0.5, lam=24.0), action(peer, m2=1.5, lam=0.0)
    total = first + second
    assert first.params == second.params == {"m2": 1.5, "lam": 0.0}
    assert float(total.S(ones)) == pytest.approx(2 * 16 * 0.75, rel=1e-12)  # where 16 (0.25 + 1) + 16 0.75 is right


def test_sums_of_sums_cannot_be_added(peer):
    one, two, three = (action(peer, m2=float(k), lam=0.0) for k in range(3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one + (two + three)


def test_fields_have_no_minus_in_front(peer, ones):
    with pytest.raises(TypeError):
        -ones["phi"]
    with pytest.raises(TypeError):
        1.0 - ones["phi"]
    assert float((ones["phi"] - 1.0).F.sum()) == 0
