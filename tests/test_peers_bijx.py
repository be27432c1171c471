"""The PyPI package bijx as targets of the oracle, and its splines beside ours; skipped where it is not installed."""

import importlib
import inspect
import sys

import numpy as np
import pytest

from refimpl.maps.splines import IntervalSpline
from refimpl.validation import check_target

BINS = 8
MINIMUM = 1e-3


@pytest.fixture(scope="module")
def peer():
    pytest.importorskip("bijx", reason="the peer is in the extra 'bijx'")
    return importlib.import_module("refimpl.validation.peers.bijx")


def test_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bijx", None)
    monkeypatch.delitem(sys.modules, "refimpl.validation.peers.bijx", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'refimpl\[bijx\]'"):
        importlib.import_module("refimpl.validation.peers.bijx")


# What no check of flows passes or fails by chance: those that are no statistics. Statistics are left to `refimpl validate`.
@pytest.mark.parametrize("name", ["phi4_coupling", "free_field", "u1_coupling"])
def test_couplings_and_free_fields_pass(peer, name):
    report = check_target(getattr(peer, name), level="smoke", seed=1, select="flows.*")
    assert [v.check for v in report.failures] == []
    passed = {v.check for v in report.verdicts if v.status == "pass"}
    assert {"flows.round_trip", "flows.jacobian", "flows.density", "flows.sample_log_prob"} <= passed


def test_sharp_splines_do_not_return_where_their_formula_does(peer, monkeypatch):
    """Of one seed: by how much depends on the fields."""
    module = sys.modules["bijx.bijections.splines"]

    def outcome():
        (verdict,) = check_target(peer.u1_sharp_coupling(), level="smoke", seed=1, select="flows.round_trip").verdicts
        return verdict.status

    assert outcome() == "fail"
    source = inspect.getsource(module)
    mended = source.replace("denom_safe = denom_safe + tiny * (1.0 + jnp.abs(quad_b))", "")
    assert mended != source
    absolute = mended.replace("from ..", "from bijx.").replace("from .", "from bijx.bijections.")
    namespace = {"__name__": "mended"}
    exec(compile(absolute, "mended", "exec"), namespace)
    monkeypatch.setattr(module, "rational_quadratic_spline", namespace["rational_quadratic_spline"])
    assert outcome() == "pass"


def test_actions_are_ours(peer):
    for target in (peer.phi4_coupling, peer.u1_coupling, peer.su2_flow):
        report = check_target(target, level="smoke", seed=1, select="static.*")
        assert [v.check for v in report.failures] == []


def splines(scale):
    """Arguments, and parameters of bijx and of ours for the same 2000 splines."""
    rng = np.random.default_rng(0)
    w, h, s = (scale * rng.standard_normal((2000, n)) for n in (BINS, BINS, BINS - 1))
    # bijx: least + softplus(c s)/c with c = log 2/(1 - least); ours: least + softplus(raw).
    c = np.log(2) / (1 - MINIMUM)
    slopes = np.logaddexp(0, c * s) / c
    return rng.random(2000), (w, h, s), np.concatenate([w, h, np.log(np.expm1(slopes))], axis=1).T


def test_splines_are_ours_forward(peer):
    ours = IntervalSpline(BINS, MINIMUM, MINIMUM, MINIMUM, unit_ends=True)
    for scale in (0.1, 1.0, 3.0):
        x, theirs, raw = splines(scale)
        y, log_slope = ours.forward(x, raw)
        y_there, log_slope_there = peer.bijx.rational_quadratic_spline(x, *theirs)
        # knots are sums of 8 numbers, whose rounding a slope amplifies
        np.testing.assert_allclose(y_there, y, rtol=0, atol=4e-15 * np.exp(log_slope.max()))
        # slopes change by a factor of up to 1e6 in a bin of 1e-3
        np.testing.assert_allclose(log_slope_there, log_slope, rtol=0, atol=1e-9)


def test_inverses_lose_digits_that_ours_keep(peer):
    """Once this fails the docstring of the peer is out of date: the term in the denominator is gone."""
    ours = IntervalSpline(BINS, MINIMUM, MINIMUM, MINIMUM, unit_ends=True)
    for scale in (0.1, 1.0, 3.0):
        x, theirs, raw = splines(scale)
        y, log_slope = ours.forward(x, raw)
        own = np.abs(log_slope + ours.inverse(y, raw)[1]).max()
        y_there, log_slope_there = peer.bijx.rational_quadratic_spline(x, *theirs)
        _, log_back = peer.bijx.rational_quadratic_spline(y_there, *theirs, inverse=True)
        assert np.abs(log_slope_there + log_back).max() > 10 * own


def test_minima_are_not_handed_on(peer):
    x = np.linspace(0, 1, 11)
    plain, wide = (
        peer.bijx.MonotoneRQSpline(BINS, (), rngs=peer.nnx.Rngs(0), **options)
        for options in ({}, {"min_bin_width": 0.05, "min_bin_height": 0.05, "min_slope": 0.2})
    )
    np.testing.assert_array_equal(plain.forward(x, np.zeros(11))[0], wide.forward(x, np.zeros(11))[0])
