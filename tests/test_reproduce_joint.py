"""Histograms, fits and chains of the figures on joint models, exactly, and what is certain of the figures in seconds."""

import numpy as np
import pytest

from refimpl import reproduce
from refimpl.estimators import conditional
from refimpl.reproduce import histograms, joint_distributions, joint_histories, joint_models, joint_pseudofermions
from refimpl.reproduce.histograms import Histogram

PAPER = "abbott2022"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Some of the figures once, with the folder they are in; `test_reproduce_papers` runs all."""
    out = tmp_path_factory.mktemp("figures")
    run = {name: reproduce.run(name, seed=5, effort="quick", paper=PAPER, out=out) for name in ("fig2", "fig3", "fig6")}
    return run, out


def test_densities_are_shares_of_the_weight_over_widths():
    values, edges = [0.0, 0.5, 1.0, 2.9, 3.0, 7.0, -0.1], [0.0, 1.0, 3.0]
    np.testing.assert_array_equal(
        histograms.density(values, edges), [2 / 7, 3 / 7 / 2]
    )  # 3.0 is in, 7.0 and -0.1 are not
    log_w = np.log([1.0, 2.0, 4.0, 8.0, 1.0, 3.0, 1.0]) + 500  # any constant
    np.testing.assert_allclose(histograms.density(values, edges, log_w), [3 / 20, 13 / 20 / 2], rtol=1e-13)


def test_bootstrap_has_the_mean_and_the_variance_of_a_multinomial():
    n, resamples = 400, 4000
    values = np.repeat([0.5, 1.5, 2.5], [200, 150, 50])
    found = histograms.bootstrap_densities(np.random.default_rng(1), values, [0.0, 1.0, 2.0, 3.0], resamples=resamples)
    p = np.array([0.5, 0.375, 0.125])
    variance = p * (1 - p) / n
    # 5 sigma of a mean, and of a variance of numbers that are nearly normal, of 4000.
    assert np.all(np.abs(found.mean(axis=0) - p) < 5 * np.sqrt(variance / resamples))
    assert np.all(np.abs(found.var(axis=0) / variance - 1) < 5 * np.sqrt(2 / resamples))


def test_a_draw_with_all_of_the_weight_makes_the_band_wide():
    values, edges = np.repeat([0.5, 1.5], [99, 1]), [0.0, 1.0, 2.0]
    log_w = np.zeros(100)
    log_w[-1] = np.log(99.0)
    found = histograms.histogram(np.random.default_rng(2), values, edges, log_w)
    np.testing.assert_allclose(found.density, [0.5, 0.5], rtol=1e-13)
    # Without that draw, in 37 % of the resamples, the second bin is empty.
    assert found.low[1] == 0
    assert found.high[1] > 0.6


def test_bands_are_one_sigma_and_ratios_are_over_the_other_density():
    rng, n = np.random.default_rng(3), 10_000
    found = histograms.histogram(rng, rng.random(n), [0.0, 0.25, 1.0], resamples=1000)
    np.testing.assert_allclose(
        found.error, np.sqrt(0.25 * 0.75 / n) / np.array([0.25, 0.75]), rtol=0.15
    )  # 5 sigma of a quantile
    other = Histogram(found.edges, np.array([2.0, 0.0]), found.low, found.high)
    ratio = found.over(other)
    np.testing.assert_array_equal(
        [ratio.density[0], ratio.low[0], ratio.high[0]], np.array([found.density, found.low, found.high])[:, 0] / 2
    )
    assert np.isnan(ratio.density[1])
    with pytest.raises(ValueError, match="other: got edges"):
        found.over(Histogram(np.array([0.0, 1.0, 2.0]), *other[1:]))


def test_histograms_of_one_distribution_agree_and_of_two_do_not():
    rng, edges = np.random.default_rng(4), np.linspace(-2, 2, 21)
    one, same, other = (histograms.histogram(rng, rng.standard_normal(4000) + shift, edges) for shift in (0, 0, 0.3))
    assert histograms.disagreement(one, same) < 1 + 5 * np.sqrt(2 / 20)  # chi^2 of 20 bins
    assert histograms.disagreement(one, other) > 3
    empty = Histogram(edges, *np.zeros((3, 20)))
    assert np.isnan(histograms.disagreement(empty, empty))


def test_what_has_one_value_has_neither_error_nor_sigmas():
    rng, n = np.random.default_rng(3), 400
    some = 1.0 * rng.integers(-1, 2, size=n)
    numbers = joint_distributions.Statistics(n, 4, 10, (2, 8, 1), 8, 3)
    for charge, own, known in ((some, some[:100], True), (some, np.zeros(100), False), (np.zeros(n), some[:100], True)):
        flow = joint_models.Draws(np.zeros(n), np.ones((n, 1, 3)), {"charge": charge})
        joint, hmc = {1: np.zeros(n), 4: np.zeros(n)}, {"charge": np.zeros((50, 2))}
        rows = joint_distributions.means(flow, flow.w, joint, numbers, hmc, {"charge": own}, rng)
        cells = {source: (error, sigmas) for _, source, n_pf, _, error, sigmas, *_ in rows if n_pf in (None, 4)}
        assert cells[joint_distributions.HMC_NAME] == (None, None)
        error, sigmas = cells[joint_distributions.EXACT]
        assert (error is not None) == known
        assert (sigmas is not None) == (known and bool(charge.any()))
        assert (cells[joint_distributions.REWEIGHTED][0] is None) == (not charge.any())
    edges = histograms.integer_edges(0)
    one = histograms.histogram(rng, np.zeros(20), edges)
    assert joint_distributions._agreement(one, one) == "not known (all draws in one bin)"
    wide = histograms.histogram(rng, some, histograms.integer_edges(1))
    assert joint_distributions._agreement(wide, wide) == "0.00"


def test_edges():
    np.testing.assert_array_equal(histograms.integer_edges(1), [-1.5, -0.5, 0.5, 1.5])
    edges = histograms.common_edges(4, np.arange(101.0), np.arange(-100, 1.0), share=1.0)
    np.testing.assert_array_equal(edges, [-100, -50, 0, 50, 100])
    assert histograms.common_edges(2, np.arange(101.0), share=0.5)[0] == 25
    with pytest.raises(ValueError, match="several"):
        histograms.common_edges(2, np.ones(3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, np.nan], [0.0, 1.0]), "values"),
        (([1.0], [1.0, 0.0]), "edges"),
        (([1.0, 2.0], [0.0, 1.0], [0.0]), "log_weights"),
        (([1.0], [0.0, 1.0], [-np.inf]), "log_weights"),
    ],
)
def test_histograms_refuse_what_is_none(arguments, words):
    with pytest.raises(ValueError, match=words):
        histograms.density(*arguments)


def test_the_fit_of_one_monomial_is_exact():
    n_pf = np.array([1, 2, 4, 8])
    ess = 0.6 / (1 + 1.7 / n_pf)
    limit, slope = joint_pseudofermions.linear_fit(n_pf, ess, [0.1, 0.01, 0.02, 0.03])
    assert limit == pytest.approx(0.6, rel=1e-12)
    assert slope == pytest.approx(1.7, rel=1e-12)
    # A point that is wrong, and has a large error, moves the fit little: by the ratio of the squared errors of 1/ESS.
    ess[0] *= 1.5
    limit, slope = joint_pseudofermions.linear_fit(n_pf, ess, [1e3, 0.01, 0.01, 0.01])
    assert limit == pytest.approx(0.6, rel=1e-8)
    with pytest.raises(ValueError, match="positive"):
        joint_pseudofermions.linear_fit(n_pf, ess, np.zeros(4))


def test_the_ess_of_batches_is_a_mean_with_the_error_of_one():
    log_w = np.log([1.0, 1.0, 1.0, 3.0, 1.0, 2.0])  # 1, 16/20, 9/10
    mean, error = joint_pseudofermions.batch_ess(log_w, 3)
    assert mean == pytest.approx(0.9, rel=1e-14)
    assert error == pytest.approx(0.1 / np.sqrt(3), rel=1e-12)


def test_inflation_and_shares():
    w = np.array([[[0.9, 1.0], [0.3, 1.0]], [[0.6, 2.0], [0.6, 1.1]]])
    assert joint_models.finite_share(w) == 0.5
    np.testing.assert_allclose(joint_models.inflated(w, (1.0, 2.0))[0], [[0.9, 1.0], [1.2, 4.0]], rtol=1e-15)
    best = joint_models.best_inflation(w, share=0.5)  # of the second field alone
    assert best == pytest.approx([conditional.best_inflation(w[1, 0]), conditional.best_inflation(w[1, 1])])


def test_chains_that_refresh_their_estimate_are_biased_as_they_must_be():
    """Two kinds of links of equal weight, whose estimates are exact, and f of mean 1: f = w exp(-(w - 1) e).

    A kept estimate leaves half of the time for each. A refreshed one has odds E min(1, f) / E min(1, 1/f), f above 1 for e < e_0.
    """
    w, chains, steps = 20.0, 16, 400
    e_0 = np.log(w) / (w - 1)
    ahead = 1 - np.exp(-e_0) + np.exp(-w * e_0)
    back = np.expm1((w - 2) * e_0) / (w * (w - 2)) + np.exp(-e_0)
    expected = ahead / (ahead + back)
    rng = np.random.default_rng(6)
    noisy = rng.random(chains * steps) < 0.5
    spectra = np.where(noisy, w, 1.0)[:, None, None]
    at, moved = joint_distributions.refreshed_chains(np.zeros(len(noisy)), spectra, 1, chains, rng)
    shares = noisy[at].mean(axis=0)
    error = shares.std(ddof=1) / np.sqrt(chains)
    assert abs(shares.mean() - expected) < 5 * error
    assert abs(shares.mean() - 0.5) > 10 * error
    np.testing.assert_array_equal(at[0], np.arange(chains))
    np.testing.assert_array_equal(at[1:][moved[1:]], np.arange(chains * steps).reshape(steps, chains)[1:][moved[1:]])
    np.testing.assert_array_equal(at[1:][~moved[1:]], at[:-1][~moved[1:]])


def test_plans_are_those_of_their_target():
    sizes = joint_models.SIZES["quick"]
    theory = joint_models.schwinger(sizes)
    model = joint_models.plan_for(theory, sizes, joint_models.HASENBUSCH, 3).model(theory)
    assert [(m.mu, m.mu_next, m.even_odd) for m in model.monomials] == [
        (0.0, 0.001, True), (0.001, 0.01, True), (0.01, 0.05, True), (0.05, None, True)
    ]  # fmt: skip
    assert [len(one.layers) for one in model.conditionals] == [1, 1, 1, 2]
    names = [target.name for target in joint_histories.TARGETS]
    assert names == ["none, n_PT = 3", "none, n_PT = 6", "EO", "EO + 1", "EO + 2", "EO + 3"]
    for target, n_pt in zip(joint_histories.TARGETS[:3], (3, 6, 6), strict=True):
        model = joint_models.plan_for(theory, sizes, target, 3).model(theory)
        assert [layer.n_pt for layer in model.conditionals[0].layers] == [n_pt] * 2


def test_histories_begin_and_end_with_the_training(tables):
    table = tables[0]["fig2"]
    assert table.column("step") == [0, 1, 2]
    assert len({row["KL_conditional"] for row in table.where()}) == 3
    for row in table.where():
        assert sum(float(kl) for kl in row["KLs"].split(", ")) == pytest.approx(
            row["KL_conditional"], rel=0.05
        )  # two digits
        assert 0 < row["ESS_joint"] <= 1
        assert row["finite"] > 0.97  # all, or all but one, of 48 or 12: 99.9 % are inflated


def test_laws_of_pseudofermions_are_in_order(tables):
    table = tables[0]["fig3"]
    rows = [row for row in table.where() if row["N_pf"] is not None]
    (exact,) = table.where(N_pf=None)
    assert [row["N_pf"] for row in rows] == [1, 2, 4, 8, 16, 32, 64]
    laws = [row["law"] for row in rows]
    assert laws == sorted(laws)
    assert rows[0]["linear law"] == pytest.approx(rows[0]["law"], rel=1e-10)
    for row in rows[1:]:
        assert row["linear law"] < row["law"]  # the product has terms of N_pf^-2, which (45) has as N_pf^-1
        assert row["ESS/ESS_exact"] == pytest.approx(row["ESS"] / exact["ESS"], rel=1e-12)
    expected = [row["expected"] for row in rows]
    assert expected[0] < expected[3] < expected[6]


def test_means_are_compared_with_those_of_the_exact_determinant(tables):
    table = tables[0]["fig6"]
    for quantity in ("plaquette", "<Q^2>"):
        rows = table.where(quantity=quantity)
        first = rows[0]
        assert first["sigmas"] is None
        assert [row["N_pf"] for row in rows] == [None, 4, 1, 4, 1, None, None]
        for row in rows[1:]:
            if row["error"] is None or first["error"] is None:
                assert row["sigmas"] is None
                continue
            both = np.hypot(row["error"], first["error"])
            assert row["sigmas"] == pytest.approx((row["mean"] - first["mean"]) / both, rel=1e-12)
        assert abs(rows[-1]["sigmas"]) < 5  # independent exact fields


def test_figures_are_drawn(tables):
    pytest.importorskip("matplotlib")
    for name in tables[0]:
        assert (tables[1] / f"{name}.png").stat().st_size > 10_000


def test_means_of_perfect_conditionals_are_those_of_the_weights():
    n = 8000
    kinds = np.random.default_rng(7).permutation(np.arange(n) % 2)  # of weights 1 and 3
    w, log_w = np.ones((n, 2, 3)), np.log(1.0 + 2 * kinds)
    values = {"plaquette": 1.0 * kinds, "charge": 1.0 - 3 * kinds}
    numbers = joint_distributions.Statistics(n, 4, 40, (2, 8, 1), 8, 3)
    hmc = {key: np.random.default_rng(8).random((8, 2)) for key in values}
    flow = joint_models.Draws(log_w, w, values)
    joint = {1: log_w, 4: log_w}
    rows = joint_distributions.means(flow, w, joint, numbers, hmc, {}, np.random.default_rng(9))
    found = {(quantity, source, n_pf): (mean, error) for quantity, source, n_pf, mean, error, *_ in rows}
    for quantity, expected in (("plaquette", 0.75), ("<Q^2>", 0.25 + 0.75 * 4)):
        for n_pf in (None, 4):
            assert found[quantity, joint_distributions.REWEIGHTED, n_pf][0] == pytest.approx(expected, rel=1e-12)
        # Without noise in the estimates, to refresh them does no harm.
        for source, n_pf in (
            (joint_distributions.KEPT, 1),
            (joint_distributions.KEPT, 4),
            (joint_distributions.REFRESHED, 1),
        ):
            mean, error = found[quantity, source, n_pf]
            assert abs(mean - expected) < 5 * error
            assert error < 0.03 * expected
    assert found["<Q^2>", joint_distributions.HMC_NAME, None][0] == pytest.approx(
        np.mean(hmc["charge"] ** 2), rel=1e-12
    )


def test_chains_that_keep_their_estimate_have_the_draws_they_accepted():
    log_w = np.random.default_rng(10).standard_normal(60)
    at, moved = joint_distributions.kept_chains(log_w, 4, np.random.default_rng(11))
    order = np.arange(60).reshape(15, 4)
    np.testing.assert_array_equal(at, np.where(moved, order, np.concatenate([order[:1], at[:-1]])))
    assert 0.3 < moved[1:].mean() < 0.9
