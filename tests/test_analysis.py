"""The analysis of a run: estimates against hand-made series, what it says of frozen and short ones, its output, its command."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import analysis, chains, exact, observables, statistics, theories
from refimpl.analysis.estimates import sector_distribution
from refimpl.analysis.report import with_error
from refimpl.cli import main

THEORY = theories.u1(2.0, (4, 4))


def exact_series(n, chains, seed=0):
    """Independent exact configurations as if they were a run."""
    x = exact.u1.sample(np.random.default_rng(seed), n * chains, 2.0, (4, 4))
    rng = np.random.default_rng(seed + 1)
    series = {
        "plaquette": observables.mean_plaquette(x),
        "sine_charge": observables.sine_charge(x),
        "charge": observables.charge(x),
        "accepted": rng.random(n * chains) < 0.7,
        "delta_h": rng.standard_normal(n * chains),
    }
    return {name: values.reshape(n, chains) for name, values in series.items()}


def by_name(result):
    return {estimate.name: estimate for estimate in result.estimates}


# --- estimates -------------------------------------------------------------------------------------------------------
def test_an_exact_run_has_exact_values_within_its_errors():
    result = analysis.analyse(exact_series(500, 4), THEORY)
    found = by_name(result)
    assert list(found) == ["plaquette", "sine_charge", "charge", "charge^2", "sine_charge^2"]
    assert {name: e.exact for name, e in found.items()} == {**THEORY.exact, "charge": 0.0}
    for e in found.values():
        assert abs(e.deviation) < 4  # one in 16,000 each; fixed seed
        assert e.deviation == (e.mean - e.exact) / e.error
        assert abs(e.tau - 0.5) < 5 * e.tau_error
        assert e.r_hat < 1.05  # 8 half chains of 250 independent values: 1 + 1/(2 250), and noise
    assert result.notes == ()


def test_estimates_are_those_of_the_statistics_after_the_cut():
    series = exact_series(300, 3, seed=2)
    result = analysis.analyse(series, THEORY, thermalisation=0.25)
    assert (result.records, result.chains, result.cut, result.automatic) == (300, 3, 75, False)
    kept = series["plaquette"][75:]
    m, e = statistics.mean(kept), by_name(result)["plaquette"]
    assert (e.mean, e.error, e.tau, e.tau_error, e.window) == (m.value, m.error, *m.tau)
    assert e.r_hat == statistics.r_hat(kept)
    assert e.ess == statistics.effective_sample_size(kept)
    assert by_name(result)["charge^2"].mean == np.mean(series["charge"][75:] ** 2.0)
    assert result.acceptance == {"accepted": tuple(series["accepted"][75:].mean(axis=0))}


def test_times_are_in_trajectories():
    series = exact_series(200, 2, seed=3)
    rows = series["plaquette"]
    series["plaquette"] = sum(np.roll(rows, k, axis=0) for k in range(5))  # of neighbours: tau_int 2.5 records
    one, ten = (by_name(analysis.analyse(series, record_every=every))["plaquette"] for every in (1, 10))
    assert one.tau > 1
    assert (ten.tau, ten.tau_error, ten.window) == (10 * one.tau, 10 * one.tau_error, 10 * one.window)
    assert dataclasses.replace(ten, tau=one.tau, tau_error=one.tau_error, window=one.window) == one
    assert "one every 10 trajectories" in analysis.as_text(analysis.analyse(series, record_every=10))


def test_records_too_far_apart_give_no_time():
    series = exact_series(200, 2, seed=3)
    ten = analysis.analyse(series, record_every=10)
    assert by_name(ten)["plaquette"].tau is None
    assert by_name(ten)["plaquette"].error == by_name(analysis.analyse(series))["plaquette"].error
    assert any("Records 10 trajectories apart are too sparse for tau_int" in note for note in ten.notes)
    assert not any("too sparse" in note for note in analysis.analyse(series).notes)


def test_few_changes_of_the_sector_give_no_errors():
    rng = np.random.default_rng(5)
    series = {"plaquette": rng.normal(size=(300, 8)), "sine_charge": rng.normal(size=(300, 8))}
    for changes, expected in ((8, None), (40, float)):
        charge = np.zeros((300, 8), dtype=np.int64)
        for i in range(changes // 2):
            charge[30 * (i // 8) + 10 : 30 * (i // 8) + 14, i % 8] = 1  # there and back
        result = analysis.analyse({**series, "charge": charge}, THEORY)
        assert sum(result.sector.events) == changes
        assert by_name(result)["plaquette"].error is not None
        for name in ("charge", "charge^2", "sine_charge"):
            assert by_name(result)[name].error is None if expected is None else by_name(result)[name].error > 0
        assert any("only 8 changes, too few" in note for note in result.notes) == (expected is None)


def test_a_counter_is_no_sector():
    result = analysis.analyse({"counter": np.arange(400).reshape(200, 2)})
    assert result.sector is None
    assert any("counter: more than 100 values" in note for note in result.notes)


def test_events_rate_and_histogram_by_hand():
    charge = np.array([[0, 0], [1, 0], [1, 0], [-1, 0], [-1, 2], [0, 2]])
    sector = analysis.analyse({"charge": charge}).sector
    assert sector.events == (3, 1)
    assert sector.rate == pytest.approx((1 + 2 + 1 + 2) / 10, rel=1e-15)
    assert sector.values == (-1, 0, 1, 2)
    assert sector.fractions == pytest.approx((2 / 12, 6 / 12, 2 / 12, 2 / 12), rel=1e-15)
    assert sector.exact is None


def test_the_histogram_has_errors_and_the_exact_distribution_also_where_the_run_never_was():
    sector = analysis.analyse(exact_series(500, 4), THEORY).sector
    charges, probabilities = exact.u1.charge_distribution(2.0, (4, 4))
    exactly = dict(zip(charges.tolist(), probabilities.tolist(), strict=True))
    assert sector.exact == tuple(exactly[q] for q in sector.values)
    # Independent: the binomial error, and the error of tau = 1/2, 0.03 of it at W = 1 and n = 2000.
    for f, error, p in zip(sector.fractions, sector.errors, sector.exact, strict=True):
        if p > 0.01:
            assert error == pytest.approx(math.sqrt(p * (1 - p) / 2000), rel=0.3)
            assert abs(f - p) < 4 * error
    narrow = analysis.analyse({"charge": np.zeros((20, 2), int)}, THEORY).sector
    assert narrow.values == tuple(q for q, p in exactly.items() if p >= 1e-3)
    assert narrow.fractions[narrow.values.index(0)] == 1


@pytest.mark.parametrize(
    ("theory", "expected"),
    [
        (THEORY, exact.u1.charge_distribution(2.0, (4, 4))),
        (theories.o2(1.5, 6), exact.o2.winding_distribution(1.5, 6)),
        (theories.gmm(), ([], [])),
        (None, ([], [])),
    ],
)
def test_the_distribution_of_the_sector(theory, expected):
    assert sector_distribution(theory) == dict(zip(*map(list, expected), strict=True))


def test_a_cycle_has_the_acceptance_of_its_parts():
    series = exact_series(50, 2)
    accepted, delta_h = series.pop("accepted"), series.pop("delta_h")
    parts = {"accepted/0": accepted, "delta_h/0": delta_h, "accepted/1": ~accepted, "delta_h/1": delta_h}
    result = analysis.analyse({**series, **parts}, THEORY)
    assert list(result.acceptance) == ["accepted/0", "accepted/1"]
    assert result.acceptance["accepted/1"] == tuple((~accepted).mean(axis=0))
    assert "delta_h/0" not in by_name(result)
    text = analysis.as_text(result)
    assert f"accepted/0 {accepted.mean():.4f}, accepted/1 {(~accepted).mean():.4f}, 0 not finite" in text


def test_a_gaussian_has_one_sector_and_no_tunnelling():
    rng = np.random.default_rng(5)
    theory = theories.gaussian([[1.0, 0.0], [0.0, 4.0]])
    x = rng.standard_normal((300, 2, 2)) * [1.0, 2.0]
    series = {
        "x_0": x[..., 0],
        "x_1": x[..., 1],
        "sector": np.zeros((300, 2), int),
        "accepted": np.ones((300, 2), bool),
    }
    result = analysis.analyse(series, theory)
    assert result.sector is None
    assert {name: e.exact for name, e in by_name(result).items()} == {"x_0": 0, "x_1": 0, "x_0^2": 1, "x_1^2": 4}
    assert "tunnelling" not in analysis.as_text(result)


def test_a_mixture_tunnels_between_components():
    x = exact.mixture.sample(np.random.default_rng(6), 400, *(np.array(p) for p in theories.gmm().parameters.values()))
    series = {"x_0": x[:, 0], "x_1": x[:, 1], "|x_0|": np.abs(x[:, 0]), "component": (x[:, 0] > 0).astype(int)}
    result = analysis.analyse({name: values.reshape(200, 2) for name, values in series.items()}, theories.gmm())
    assert set(by_name(result)) == {"x_0", "x_1", "|x_0|", "component", "x_0^2", "x_1^2"}
    assert result.sector.values == (0, 1)
    assert result.sector.exact is None


# --- what a run cannot tell ------------------------------------------------------------------------------------------
def test_a_series_of_one_value_has_no_error():
    series = {**exact_series(100, 3), "charge": np.ones((100, 3), int)}
    result = analysis.analyse(series, THEORY)
    e = by_name(result)["charge"]
    assert (e.mean, e.error, e.tau, e.ess, e.r_hat, e.deviation) == (1.0, None, None, None, None, None)
    assert result.sector.events == (0, 0, 0)
    assert "One value in the whole run, which gives no error and no tau_int (charge, charge^2)." in result.notes
    # 3 chains of 99 steps
    assert "charge: no change in 297 steps; fewer than one in 99, with 95 % confidence." in result.notes


@pytest.mark.parametrize("chains", [2, 3, 4, 20])
def test_chains_frozen_apart_have_no_error(chains):
    charge = np.tile(np.arange(chains), (400, 1))
    result = analysis.analyse({"charge": charge})
    e = by_name(result)["charge"]
    assert (e.error, e.tau, e.ess, e.r_hat) == (None, None, None, math.inf)
    assert any(note.startswith("Frozen in every chain") for note in result.notes)
    assert all(error is None for error in result.sector.errors)


def test_a_charge_that_changed_once_has_no_error():
    charge = np.zeros((400, 2), int)
    charge[150:, 0] = 1
    result = analysis.analyse({"charge": charge})
    assert by_name(result)["charge"].error is None
    assert any("fewer than 10 effective samples" in note for note in result.notes)


@pytest.mark.parametrize("records", [2, 3, 4])
@pytest.mark.parametrize("chains", [1, 2])
def test_a_very_short_run_has_means_and_no_errors(records, chains):
    series = {name: values[:records, :chains] for name, values in exact_series(10, 2).items()}
    result = analysis.analyse(series, THEORY)
    for e in result.estimates:
        assert e.error is None
        assert math.isfinite(e.mean)
    assert (by_name(result)["plaquette"].r_hat is None) == (records < 4)
    json.loads(analysis.as_json(result))
    assert analysis.as_text(result)


def test_one_chain_is_enough():
    result = analysis.analyse({name: values[:, :1] for name, values in exact_series(400, 1).items()}, THEORY)
    assert by_name(result)["plaquette"].error is not None
    assert by_name(result)["plaquette"].r_hat is not None


def test_a_wrong_mean_and_chains_that_differ_are_noted():
    series = exact_series(500, 4)
    series["plaquette"] = series["plaquette"] + 0.05 + 0.1 * np.arange(4)
    result = analysis.analyse(series, THEORY, non_finite=3)
    assert any(note.startswith("R-hat above 1.01: ") and "(plaquette " in note for note in result.notes)
    series["plaquette"] = exact_series(500, 4)["plaquette"] + 0.05
    result = analysis.analyse(series, THEORY, non_finite=3)
    deviation = by_name(result)["plaquette"].deviation
    assert f"plaquette: {deviation:+.1f} errors from the exact value." in result.notes
    assert "3 proposals were rejected because a value was not finite." in result.notes


def test_events_between_records_are_said_to_be_missing():
    notes = analysis.analyse(exact_series(100, 2), THEORY, record_every=5).notes
    assert "charge: changes are counted from record to record; those there and back between are not seen." in notes


# --- thermalisation --------------------------------------------------------------------------------------------------
def test_the_automatic_cut_is_the_largest_over_the_observables():
    series = exact_series(400, 4)
    series["plaquette"][:60] -= 1.0
    series["sine_charge"][:90] += 30.0
    series["delta_h"][:150] += 1000.0  # no observable
    result = analysis.analyse(series, THEORY, thermalisation="auto")
    assert result.automatic
    # Dropping ten more of 310 loses a thirtieth, noise pays for less; the square is as far out.
    assert 90 <= result.cut <= 100
    assert abs(by_name(result)["sine_charge"].mean) < 1


def test_a_cut_at_its_bound_is_said():
    series = {"drift": np.arange(80.0)[:, None] + np.random.default_rng(7).standard_normal((80, 2))}
    result = analysis.analyse(series, thermalisation="auto")
    assert result.cut == 40
    assert any("the run is too short to tell that it thermalised" in note for note in result.notes)


@pytest.mark.parametrize("bad", [-0.1, 1.0, math.nan, "some"])
def test_a_bad_fraction_is_named(bad):
    with pytest.raises(ValueError, match=r"thermalisation: got .*, expected 'auto' or a fraction from 0 to below 1"):
        analysis.analyse(exact_series(10, 2), THEORY, thermalisation=bad)


@pytest.mark.parametrize(
    ("series", "match"),
    [
        ({}, "series: got no observable"),
        ({"accepted": np.ones((5, 2), bool)}, "series: got no observable"),
        ({"a": np.zeros((5, 2)), "b": np.zeros((4, 2))}, r"got 'b' of shape \(4, 2\), expected .* as 'a': \(5, 2\)"),
        ({"a": np.zeros((5, 2)), "accepted": np.ones((5, 3), bool)}, r"got 'accepted' of shape \(5, 3\)"),
        ({"a": np.zeros(5)}, r"got 'a' of shape \(5,\)"),
        ({"a": np.array([[1.0], [np.nan], [np.inf]])}, "got 2 NaN or infinite values of 'a'"),
        ({"a": np.zeros((1, 2))}, "got 1 records and a cut of 0, expected at least two records"),
        ({"a": np.zeros((0, 2))}, "got 0 records and a cut of 0, expected at least two records"),
    ],
)
@pytest.mark.parametrize("thermalisation", [0.0, "auto"])
def test_bad_series_are_named(series, match, thermalisation):
    with pytest.raises(ValueError, match=match):
        analysis.analyse(series, thermalisation=thermalisation)


def test_a_cut_that_leaves_nothing_is_named():
    with pytest.raises(ValueError, match="got 10 records and a cut of 9, expected at least two records to be left"):
        analysis.analyse(exact_series(10, 2), THEORY, thermalisation=0.95)


def test_the_series_are_left_alone():
    series = {name: values.copy() for name, values in exact_series(50, 2).items()}
    analysis.analyse(series, THEORY, thermalisation="auto")
    for name, values in exact_series(50, 2).items():
        np.testing.assert_array_equal(series[name], values)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), records=st.integers(2, 30), chains=st.integers(1, 4), step=st.integers(0, 2))
def test_the_order_of_chains_does_not_matter_and_every_output_is_made(seed, records, chains, step):
    rng = np.random.default_rng(seed)
    charge = np.cumsum(rng.integers(-step, step + 1, (records, chains)), axis=0)
    order = rng.permutation(chains)
    one, two = analysis.analyse({"charge": charge}), analysis.analyse({"charge": charge[:, order]})
    assert two.sector.events == tuple(one.sector.events[i] for i in order)
    assert sum(one.sector.events) == np.count_nonzero(np.diff(charge, axis=0))
    assert math.fsum(one.sector.fractions) == pytest.approx(1, rel=1e-14)
    for a, b in zip(one.estimates, two.estimates, strict=True):
        assert a.mean == pytest.approx(b.mean, rel=1e-13, abs=1e-13)  # a sum of 120 integers up to 60 in another order
    assert analysis.as_text(one)
    assert json.loads(analysis.as_json(one))["sector"]["events"] == list(one.sector.events)


# --- output ----------------------------------------------------------------------------------------------------------
def test_the_text_is_aligned_and_shows_a_mean_to_its_error():
    result = analysis.analyse(exact_series(500, 4), THEORY, non_finite=2)
    text = analysis.as_text(result)
    assert text.startswith("u1: beta = 2.0, shape = [4, 4]\n  chains: 4, records of each: 500, one every trajectory; ")
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [block[0] for block in blocks[1:4]] == ["Observables", "Distribution of the charge", "Chains"]
    for block in blocks[1:4]:
        assert len({len(line) for line in block[1:]}) == 1
    e = by_name(result)["plaquette"]
    mean, error = blocks[1][3].split()[1:3]
    assert error == f"{e.error:#.2g}"
    assert len(mean.partition(".")[2]) == 1 - math.floor(math.log10(e.error))
    assert text.splitlines()[-1] == "! 2 proposals were rejected because a value was not finite."


@pytest.mark.parametrize(
    ("number", "error", "expected"),
    [
        (0.123456, 0.0012, "0.1235 +- 0.0012"),
        (0.123456, 0.003, "0.1235 +- 0.0030"),
        (2.5, 0.00009, "2.500000 +- 9.0e-05"),
        (27.46, 12.3, "27 +- 12"),
        (-1.0, 0.97, "-1.00 +- 0.97"),
        (1 / 3, None, "0.333333"),
    ],
)
def test_a_number_has_as_many_digits_as_its_error(number, error, expected):
    assert with_error(number, error) == expected


def test_many_chains_are_summed_up_in_the_text_only():
    result = analysis.analyse(exact_series(20, 30), THEORY)
    chains = analysis.as_text(result).split("\n\n")[3].splitlines()
    assert [line.split()[0] for line in chains[3:]] == ["least", "most"]
    assert chains[4].split()[1:] == [f"{max(result.acceptance['accepted']):.4f}", str(max(result.sector.events))]
    assert "<td>29</td>" in analysis.as_html(result, b"")


def test_json_has_every_field_and_no_infinity():
    result = analysis.analyse({"charge": np.tile([0, 1], (9, 1))})
    assert by_name(result)["charge"].r_hat == math.inf
    content = json.loads(analysis.as_json(result), parse_constant=pytest.fail)
    assert content["schema"] == 1
    assert set(content) == {"schema", *(field.name for field in dataclasses.fields(analysis.Analysis))}
    assert content["estimates"][0]["r_hat"] is None
    assert content["sector"]["fractions"] == [0.5, 0.5]


def test_the_page_needs_nothing_else_and_escapes_names():
    name = '<script src="http://example.org/x.js">&'
    result = analysis.analyse({name: np.random.default_rng(8).standard_normal((50, 2))})
    page = analysis.as_html(result, b"\x89PNG")
    assert name not in page
    assert "<title>&lt;b&gt;</title>" in analysis.as_html(dataclasses.replace(result, theory="<b>"), b"")
    assert "&lt;script src=&quot;http://example.org/x.js&quot;&gt;&amp;" in page
    assert re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page) == [
        "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    ]
    assert not re.search(r"<script|<link|<iframe|url\(|@import", page)


def size(png):
    """Width and height from the header of a PNG file."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def height(rows):
    """Pixels of a picture with so many rows: 0.6 inches and 2.7 for each, 110 to an inch."""
    return int((0.6 + 2.7 * rows) * 110)


def test_the_picture_has_a_row_for_each_recorded_observable_and_one_for_the_sector():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    series = exact_series(60, 3)
    assert size(analysis.png(analysis.analyse(series, THEORY, thermalisation=0.1), series)) == (1210, height(4))
    del series["charge"]
    assert size(analysis.png(analysis.analyse(series), series)) == (1210, height(2))


def test_frozen_short_and_constant_series_have_pictures_of_five_rows_at_most(monkeypatch):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda axes, title, **_: titles.append(title))
    frozen = {"charge": np.tile([0, 1], (50, 1)), "constant": np.ones((50, 2))}
    assert size(analysis.png(analysis.analyse(frozen, record_every=3), frozen)) == (1210, height(3))
    assert titles[:4] == [
        "charge: 2 of 2 chains", "charge: the run is too short for tau_int",
        "constant: 2 of 2 chains", "constant: does not fluctuate",
    ]  # fmt: skip
    short = {"charge": np.array([[0], [1]]), **{f"x_{i}": np.ones((2, 1)) for i in range(9)}}
    assert size(analysis.png(analysis.analyse(short), short)) == (1210, height(5))


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    series = exact_series(10, 2)
    with pytest.raises(ImportError, match=r"A plot needs matplotlib: pip install 'refimpl\[plot\]'"):
        analysis.png(analysis.analyse(series, THEORY), series)


# --- command ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder whose run is read from memory: ``folder.series`` and ``folder.manifest``."""
    run = types.SimpleNamespace(
        path=str(tmp_path),
        series=exact_series(400, 3),
        manifest={
            "configuration": {"theory": "u1", "parameters": {"beta": 2.0, "shape": [4, 4]}, "start": "exact"},
            "record_every": 2,
            "non_finite": 1,
            "done": 800,
            "n_steps": 800,
        },
    )
    run.series["plaquette"][:40] -= 1.0
    run.manifest["series"] = dict.fromkeys(run.series)

    def load(path, names):
        assert str(path) == run.path
        assert not any(name.startswith("delta_h") for name in names)  # not needed, and as large as anything
        return {name: run.series[name] for name in names}

    monkeypatch.setattr(chains, "load", load)
    monkeypatch.setattr(chains, "read_manifest", lambda path: run.manifest)
    return run


def shell(capsys, *argv):
    """Exit code, standard output, standard error of ``refimpl analyse``."""
    try:
        code = main(["analyse", *argv])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("start", "options", "expected"),
    [
        ("exact", [], 0),
        ("hot", [], None),
        ("cold", ["--thermalisation", "0.5"], 200),
        ("exact", ["--thermalisation", "auto"], None),
        ("hot", ["--thermalisation", "0"], 0),
    ],
)
def test_what_is_cut_depends_on_the_start_unless_it_is_said(capsys, folder, start, options, expected):
    folder.manifest["configuration"]["start"] = start
    code, out, err = shell(capsys, folder.path, "--format", "json", *options)
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["automatic"] == (expected is None)
    # 40 records far out, and what noise pays for.
    assert 40 <= content["cut"] <= 60 if expected is None else content["cut"] == expected
    assert (content["theory"], content["record_every"], content["non_finite"]) == ("u1", 2, 1)


def test_an_unfinished_run_says_so(capsys, folder):
    folder.manifest["n_steps"] = 1000
    assert "Unfinished: 800 of 1000 trajectories are done by all chains." in shell(capsys, folder.path)[1]
    folder.manifest["done"] = 3
    code, _, err = shell(capsys, folder.path)
    assert code == 2
    assert "got 3 trajectories that all chains have done, of 1000" in err
    assert f"refimpl sample --resume {folder.path} goes on" in err


def test_a_run_of_the_library_is_analysed_without_a_theory(capsys, folder):
    folder.manifest["configuration"] = {}
    code, out, _ = shell(capsys, folder.path)
    assert code == 0
    assert out.startswith("chains\n")
    assert "(automatic, MSER)" in out
    assert "changes of charge" in out


def test_the_table_goes_whole_into_a_file(capsys, folder, tmp_path):
    out_file = tmp_path / "table.txt"
    code, out, _ = shell(capsys, folder.path, "--out", str(out_file))
    assert (code, out) == (0, "")
    assert "Observables" in out_file.read_text()
    assert list(tmp_path.iterdir()) == [out_file]


@pytest.mark.parametrize(("name", "begins"), [("run.png", b"\x89PNG"), ("run.html", b"<!DOCTYPE html>")])
def test_pictures_and_pages(capsys, folder, tmp_path, name, begins):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    assert shell(capsys, folder.path, "--plot", str(tmp_path / name))[0] == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_page_that_cannot_be_written_leaves_the_old_one(capsys, folder, tmp_path, monkeypatch):
    (tmp_path / "run.html").write_text("old")
    monkeypatch.setattr(analysis, "png", lambda *_: b"")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    code, out, err = shell(capsys, folder.path, "--plot", str(tmp_path / "run.html"))
    assert (code, out) == (2, "")
    assert "No space left on device" in err
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
    assert (tmp_path / "run.html").read_text() == "old"


def test_a_plot_without_matplotlib_says_what_to_install_and_writes_nothing(capsys, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    code, out, err = shell(capsys, folder.path, "--plot", str(tmp_path / "run.png"))
    assert (code, out) == (2, "")
    assert err == "refimpl: A plot needs matplotlib: pip install 'refimpl[plot]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--thermalisation", "1"], "argument --thermalisation: got '1', expected auto or a fraction in [0, 1)"),
        (["--thermalisation", "most"], "argument --thermalisation: got 'most'"),
        (["--thermalisation", "-0.1"], "argument --thermalisation"),
        (["--plot", "run.pdf"], "--plot: got 'run.pdf', expected a name that ends with .png or .html"),
        (["--plot", "no/such/folder/run.png"], "--plot: got 'no/such/folder/run.png', expected a file in a folder"),
        (["--out", "no/such/folder/file"], "--out: got"),
        (["--thermalisation", "0.999"], "got 400 records and a cut of 399, expected at least two records to be left"),
    ],
)
def test_bad_options_are_named(capsys, folder, options, message):
    code, out, err = shell(capsys, folder.path, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_folder_that_is_not_there_is_named(capsys, folder):
    code, _, err = shell(capsys, folder.path + "/nowhere")
    assert code == 2
    assert re.search(r"DIR: got '.*/nowhere', expected the folder of a run", err)


def test_a_sampled_run_is_analysed(capsys, tmp_path):
    run = str(tmp_path / "run")
    sizes = ["--chains", "4", "--trajectories", "60", "--record-every", "2", "--executor", "thread"]
    assert main(["sample", "u1", "--beta", "1", "--shape", "4", "4", *sizes, "--start", "hot", "--out", run]) == 0
    capsys.readouterr()
    code, out, _ = shell(capsys, run, "--format", "json")
    assert code == 0
    content = json.loads(out)
    sizes = ("theory", "chains", "records", "record_every", "automatic")
    assert [content[name] for name in sizes] == ["u1", 4, 30, 2, True]
    assert [e["name"] for e in content["estimates"] if e["exact"] is not None] == [
        e["name"] for e in content["estimates"]
    ]
    assert len(content["acceptance"]["accepted"]) == 4


@pytest.mark.parametrize("shape", [(2, 2), (4, 6)])
def test_the_charge_with_quarks_is_zero_by_symmetry_on_every_lattice(shape):
    found = by_name(analysis.analyse(exact_series(100, 4), theories.schwinger(2.0, 0.2, shape)))
    assert found["charge"].exact == found["sine_charge"].exact == 0.0
    assert (found["charge^2"].exact is None) == (shape != (2, 2))
