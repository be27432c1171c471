"""The experiments run, and what is certain about their numbers holds even in seconds."""

import builtins
import contextlib
import io
import itertools
import json

import numpy as np
import pytest

from refimpl import exact, reproduce
from refimpl.actions import wilson_dirac
from refimpl.actions.dirac.matrix import dense_matrix
from refimpl.kernels import HMC, spawn_rngs
from refimpl.kernels.l2hmc import L2HMC
from refimpl.maps import OMELYAN
from refimpl.reproduce import condition_numbers, freezing, measure, pion_mass, transfer, weights
from refimpl.reproduce.counterexamples import WrongLeapfrog
from refimpl.reproduce.table import Table
from refimpl.theories import u1
from refimpl.training import recipes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs():
    """Every experiment once: its table, and what it wrote on standard error."""
    done = {}
    for name in reproduce.EXPERIMENTS:
        with contextlib.redirect_stderr(io.StringIO()) as shown:
            done[name] = reproduce.run(name, seed=3, effort="quick", progress=True), shown.getvalue()
    return done


@pytest.fixture(scope="module")
def tables(runs):
    return {name: table for name, (table, _) in runs.items()}


@pytest.mark.parametrize("name", reproduce.EXPERIMENTS)
def test_every_experiment_returns_a_table_of_finite_numbers(tables, name):
    table = tables[name]
    assert table.name == name
    assert table.rows
    assert name in str(table).splitlines()[0]
    for row in table.rows:
        for cell, column in zip(row, table.columns, strict=True):
            if isinstance(cell, float) and "error" not in column:
                assert np.isfinite(cell), (row, column)


def test_every_experiment_is_described():
    assert set(reproduce.DESCRIPTIONS) == set(reproduce.EXPERIMENTS)


def test_an_unknown_experiment_or_effort_is_named():
    with pytest.raises(ValueError, match="gmm, freezing"):
        reproduce.run("nothing")
    with pytest.raises(ValueError, match="effort"):
        reproduce.run("gmm", effort="some")


def test_the_seed_makes_the_table(tables):
    again = reproduce.run("length", seed=3, effort="quick")
    other = reproduce.run("length", seed=4, effort="quick")
    assert without_seconds(again) == without_seconds(tables["length"])
    assert without_seconds(other) != without_seconds(again)


def without_seconds(table):
    """The rows without their last column, the CPU seconds of a training."""
    assert table.columns[-1] == "training_s"
    return [row[:-1] for row in table.rows]


def test_hmc_never_connects_the_modes(tables):
    rows = [row for row in tables["gmm"].where() if row["sampler"].startswith("HMC")]
    assert len(rows) == 7
    assert rows[-1]["sampler"] == "HMC, tuned"
    assert all(row["hops"] == 0 for row in rows)


def test_winding_stays_below_its_ceiling_and_near_it(tables):
    for row in tables["freezing"].where(sampler="winding alone"):
        assert row["ceiling"] == exact.u1.winding_ceiling(row["beta"], (8, 8))
        assert row["rate"] < row["ceiling"] + 5 * row["rate_error"]
        assert row["rate"] > 0.85 * row["ceiling"]  # prototype: 0.93 at beta = 2, 0.98 at 6, error 0.02


def test_heat_bath_unfreezes_what_hmc_leaves_frozen(tables):
    table = tables["freezing"]
    assert table.where(sampler="HMC", beta=6.0)[0]["tau"] > 100
    for row in table.where():
        if row["sampler"].startswith("HMC + flux heat bath"):
            assert row["tau"] < 0.5 + 6 * max(row["tau_error"], 0.03)


def test_trajectory_without_heat_is_the_leapfrog_and_with_heat_is_hot(tables):
    table = tables["trajectory"]
    hot, cold = table.where(sampler="scalars"), table.where(sampler="s_v = 0")
    assert [row["layer"] for row in hot] == list(range(33))
    assert exact.u1.plaquette(1.8, (8, 8)) < hot[16]["plaquette"] < exact.u1.plaquette(3.5, (8, 8))
    assert hot[16]["energy"] > 50 > 10 > abs(hot[32]["energy"])
    assert all(abs(row["energy"]) < 2 for row in cold)
    assert all(abs(row["plaquette"] - exact.u1.plaquette(7.0, (8, 8))) < 0.01 for row in cold)  # 8 errors of 0.0012


def test_net_weights_bias_only_the_map_that_is_no_bijection(tables):
    table = tables["net-weights"]
    ours = [row for row in table.where() if row["kernel"] != weights.WRONG]
    assert len(ours) == 2 * 7 * 3
    assert all(abs(row["sigmas"]) < 5.5 for row in ours)  # false alarm of 42 tests below 1e-5
    wrong = table.where(kernel=weights.WRONG, output="s_x", alpha=2.0)[0]
    assert abs(wrong["sigmas"]) > 10


def test_round_trips(tables):
    table = tables["reversibility"]
    for row in table.where(map="ours"):
        assert max(row["max_dx"], row["max_dv"]) < 1e-11  # rounding 1e-15, times the growth over four layers
    for row in table.where(map="single precision"):
        assert 1e-8 < row["max_dx"] < 1e-3
    for name in ("wrapped scaling", "old force"):
        assert all(row["max_dx"] > 0.1 for row in table.where(map=name))


def test_averages_are_exact(tables):
    assert all(abs(row["sigmas"]) < 5.5 for row in tables["plaquette"].where())


def test_moves_with_quarks_cost_and_find_what_they_should(tables):
    rows = {row["sampler"]: row for row in tables["schwinger-topology"].where()}
    determinants = {name: row["determinants"] for name, row in rows.items()}
    assert determinants["HMC"] == 0
    assert determinants["HMC + W"] == determinants["independence"] == 1
    assert determinants["HMC + full orbit"] == 15
    assert 0 < determinants["HMC + C1"] < determinants["HMC + CM"] < 4
    reference = rows["reweighted proposals"]
    for row in rows.values():
        error = np.hypot(row["plaquette_error"], reference["plaquette_error"])
        assert abs(row["plaquette"] - reference["plaquette"]) < 5.5 * error
    # 200 weights of effective size 100, as many acceptances: 0.05 each
    assert abs(rows["independence"]["acceptance"] - rows["independence"]["expected"]) < 0.3


def test_even_odd_and_hasenbusch_lower_condition_numbers(tables):
    table = tables["condition-numbers"]
    plain, even_odd = (table.where(theory="U(1)", matrix=m, ensemble="target")[0] for m in ("D D^dag", "even-odd"))
    steps = [row for row in table.where(theory="U(1)") if row["matrix"].endswith("of 0.001, 0.01, 0.05, even-odd")]
    assert len(steps) == 4
    for name in ("median", "q10", "q90", "mean"):
        assert plain[name] > even_odd[name] > steps[3][name] > steps[2][name] > steps[1][name] > steps[0][name] > 1
    for row in table.where(ensemble="target"):
        assert row["q10"] < row["median"] < row["q90"]
        if row["one_in_40k"] is not None:
            assert row["q90"] < row["one_in_40k"]
    # A hop in one direction has norm 2 kappa: |D_sc| <= 1 + (4 kappa)^2, so that the last kernel lies between 0.05 and 4.57.
    assert steps[3]["one_in_40k"] < 4.57 / 0.05


def test_condition_numbers_are_those_of_fields_weighted_with_both_flavours():
    case, n = condition_numbers.Case(1, 2, 2.0, 2.26, ((0.1,),)), 40
    got = condition_numbers.ensemble(case, n, np.random.default_rng(1))
    x = exact.u1.sample(np.random.default_rng(1), n, 2.26, (2, 2))
    d = dense_matrix(wilson_dirac(x, condition_numbers.KAPPA))
    loops = np.cos(x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]).sum(axis=(1, 2))
    weights = np.linalg.det(d).real ** 2 * np.exp((2.0 - 2.26) * loops)
    np.testing.assert_allclose(got.weights, weights / weights.sum(), rtol=1e-10)
    values = np.linalg.svd(d, compute_uv=False) ** 2
    np.testing.assert_allclose(got.plain, values[:, [-1, 0]], rtol=1e-9)
    assert got.even_odd.shape == (n, 2)
    assert 0 < got.ess <= 1
    # The full experiment quotes the paper where the paper has numbers, and only there.
    for case, _ in condition_numbers.CASES:
        few = condition_numbers.Ensemble(got.plain, got.even_odd, got.weights)
        quoted = [row[-1] for row in condition_numbers.case_rows(case, few, np.random.default_rng(2)) if row[-1]]
        expected = {("U(1)", 8): 6, ("U(1)", 16): 0, ("SU(3)", 16): 1}[case.name, case.extent]
        assert len(quoted) == expected


def test_pion_masses_are_near_the_paper_even_in_seconds(tables):
    table = tables["pion-mass"]
    full = [(e.name, e.paper, e.window, e.theory.parameters["shape"]) for e in pion_mass.ensembles(quick=False)]
    assert full == [
        ("Schwinger, beta = 2, L = 16", 0.35, (4, 7), [16, 16]),
        ("SU(3), beta = 6, L = 8", 0.72, (2, 3), [8, 8]),
        ("SU(3), beta = 6, L = 16", 0.72, (4, 7), [16, 16]),
    ]
    for ensemble, extent, paper in (("Schwinger, beta = 2, L = 8", 8, 0.35), ("SU(3), beta = 6, L = 4", 4, 0.72)):
        *rows, last = table.where(ensemble=ensemble)
        assert [row["t"] for row in rows] == [str(t) for t in range(extent // 2)]
        assert all(a["correlator"] > b["correlator"] > 0 for a, b in itertools.pairwise(rows))
        assert all(row["mass"] >= last["mass"] - 1e-12 for row in rows[:-1])  # the plateau comes last
        # smaller lattices, and a handful of fields: heavier by less than a half
        assert abs(last["mass"] / paper - 1) < 0.5
        assert last["paper"] is None
        assert 0 < last["mass_error"] < 0.2


def test_the_plateau_is_the_mass_of_a_cosh():
    t, rng = np.arange(16), np.random.default_rng(1)
    masses = 0.35 + 0.02 * rng.standard_normal(100)
    correlators = np.cosh(masses[None, :, None] * (t - 8))
    value, error = pion_mass.plateau(correlators, (4, 7))
    # the mean correlator weighs heavier masses more, by less than the scatter; error of the mean of 100
    assert abs(value - 0.35) < 5 * 0.002
    assert error == pytest.approx(masses.std(ddof=1) / 10, rel=0.1)
    noisy = correlators * (1 + 0.001 * ((t == 2) | (t == 9)))  # outside the window
    assert pion_mass.plateau(noisy, (4, 7))[0] == pytest.approx(value, rel=1e-12)


def test_correlators_are_those_of_the_chain_in_both_directions_of_time():
    ensemble = pion_mass.ensembles(quick=True)[1]
    seed = np.random.SeedSequence(5)
    found, acceptance = pion_mass.measured(ensemble, seed)
    assert found.shape == (3, 3, 4)
    assert 0 < acceptance <= 1
    first, second = np.random.SeedSequence(5).spawn(2)
    state = ensemble.kernel.init(ensemble.start(np.random.default_rng(first), 3))
    rngs = spawn_rngs(second, 3)
    for _ in range(ensemble.discarded + 1):
        state, _ = ensemble.kernel.step(rngs, state)
    d = np.linalg.inv(dense_matrix(wilson_dirac(state.x, 0.265))).reshape(3, 4, 4, 6, 4, 4, 6)
    # sources on the first spatial site of every time slice, (C3) sums over four of them
    c = [
        4 * np.mean([np.sum(np.abs(d[:, (s + t) % 4, :, :, s, 0]) ** 2, axis=(1, 2, 3)) for s in range(4)], axis=0)
        for t in range(4)
    ]
    expected = np.array([c[0], (c[1] + c[3]) / 2, c[2], (c[1] + c[3]) / 2]).T
    np.testing.assert_allclose(found[0], expected, rtol=1e-10)  # rounding times the condition number


def test_a_wrong_leapfrog_without_fault_is_the_right_one():
    theory = u1(2.0, (4, 4))
    model = weights.dense(theory, 3)
    rng = np.random.default_rng(1)
    x, v = theory.start(rng, 5), rng.standard_normal((5, 2, 4, 4))
    force = theory.action.force(x)
    for direction in (1, -1):
        right = model.run(x, v, force, direction)
        plain = WrongLeapfrog(model, "").run(x, v, force, direction)
        for name, value in vars(right).items():
            np.testing.assert_allclose(getattr(plain, name), value, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="fault"):
        WrongLeapfrog(model, "unknown")
    with pytest.raises(ValueError, match="merged"):
        WrongLeapfrog(model.replace(merged=True), "")


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("scalars", [False, True])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_path_ends_where_the_map_does(merged, scalars, direction):
    theory = u1(2.0, (4, 4))
    model = recipes.scalars(theory, 3)[0].replace(merged=False) if scalars else weights.dense(theory, 3)
    model = model.replace(merged=merged)
    rng = np.random.default_rng(2)
    z = theory.sample(rng, 4), rng.standard_normal((4, 2, 4, 4))
    path = model.path(z, direction)
    (x, v), logdet = model.forward(z) if direction > 0 else model.inverse(z)
    assert len(path) == 1 + 3 * (2 if merged else 1)
    for got, expected in zip((*path[0][0], path[0][1]), (*z, np.zeros(4)), strict=True):
        np.testing.assert_array_equal(got, expected)
    for got, expected in zip((*path[-1][0], path[-1][1]), (x, v, logdet), strict=True):
        np.testing.assert_array_equal(got, expected)
    if not merged and direction > 0:  # the first point is one layer alone
        first = {key: value[:1] for key, value in model.params.items()}
        alone = type(model)(theory.action, vars_of(model.architecture, n_layers=1), first)
        np.testing.assert_allclose(path[1][0][1], alone.forward(z)[0][1], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(path[1][1], alone.forward(z)[1], rtol=1e-12, atol=1e-12)


def vars_of(architecture, **changes):
    return type(architecture)(**{**vars(architecture), **changes})


def test_promoted_nets_begin_as_their_scalars():
    theory = u1(4.0, (4, 4))
    model, _ = recipes.scalars(theory, 4)
    model = model.replace(params={**model.params, "v/scalar/q": np.array([0.1, -0.2, 0.0, 1.4])})
    net = freezing.Net("conv", filters=(3,), activation="tanh", outputs="sq")
    conv = recipes.promoted(model, net)
    rng = np.random.default_rng(0)
    z = theory.sample(rng, 6), rng.standard_normal((6, 2, 4, 4))
    (x, v), logdet = model.forward(z)
    (x_conv, v_conv), logdet_conv = conv.forward(z)
    # Weights of a hundredth: outputs within a few hundredths, over a trajectory of about unit length.
    assert np.abs(np.sin(x_conv - x)).max() < 0.2
    assert np.abs(v_conv - v).max() < 0.5
    assert np.abs(logdet_conv - logdet).max() < 0.5
    flat = {key: np.zeros_like(value) if key.endswith("weight") else value for key, value in conv.params.items()}
    (x_flat, v_flat), logdet_flat = conv.replace(params=flat).forward(z)
    np.testing.assert_allclose(np.sin(x_flat - x), 0, atol=1e-11)  # rounding of 8 layers
    np.testing.assert_allclose(v_flat, v, atol=1e-11)
    np.testing.assert_allclose(logdet_flat, logdet, atol=1e-11)
    with pytest.raises(ValueError, match="scalars"):
        recipes.promoted(conv, net)


def test_a_control_variate_takes_out_what_it_explains():
    rng = np.random.default_rng(5)
    control, noise = rng.normal(size=(2, 4000))
    value, error = weights.controlled(0.3 + 2 * control + 0.1 * noise, control)
    assert error == pytest.approx(0.1 / np.sqrt(4000), rel=0.1)  # the error of a standard deviation is 1 %
    assert abs(value - 0.3) < 5 * error
    assert weights.controlled(control, control) == (0.0, 0.0)


def test_one_step_tau_of_a_two_state_chain():
    # Q = 0 or 1 with probability 1/2, a change with probability p: rho(1) = 1 - 2 p. About the mean, <Q^2> = 1/4.
    changes = np.zeros((100, 50))
    changes.reshape(-1)[::10] = 1.0
    tau, error, bound = measure.one_step_tau(changes, 0.25)
    rho = 1 - 2 * 0.1
    assert tau == pytest.approx(0.5 + rho / (1 - rho), rel=1e-12)
    assert error > 0
    assert not bound
    assert measure.one_step_tau(np.zeros((100, 50)), 0.25) == (pytest.approx(2 * 0.25 * 5000 / 3 - 0.5), np.inf, True)


def test_the_baseline_is_the_cheapest_of_three_and_the_same_wherever_it_is_used():
    theory = u1(2.0, (4, 4))
    hmc = measure.tuned_hmc(theory, 3, quick=True)
    assert hmc.n_steps in (5, 10, 20)
    assert hmc == measure.tuned_hmc(u1(2.0, (4, 4)), 3, quick=True)
    assert hmc != measure.tuned_hmc(theory, 4, quick=True)
    adapted = measure.adapted_hmc(theory, 7, 3)
    x = theory.sample(np.random.default_rng(1), 4000)
    _, info = adapted.step(spawn_rngs(2, 4000), adapted.init(x))
    # Dual averaging of 64 chains: drift 0.05 log(20)/(2 sqrt(100)) = 0.008, noise 5 sqrt(1/4/64) sqrt(4/(2 100^0.75)) = 0.08.
    assert abs(info.acceptance.mean() - 0.7) < 0.09
    assert adapted.n_steps == 7


def test_gradients_are_what_a_step_costs(monkeypatch):
    theory = u1(2.0, (4, 4))
    calls = []
    original = type(theory.action).dynamics

    def counted(self, x, v):
        dynamics = original(self, x, v)
        kick, end = dynamics.kick, dynamics.action_and_force

        class Counted:
            def kick(self, scale):
                calls.append("kick")
                kick(scale)

            def action_and_force(self):
                calls.append("end")
                return end()

        return Counted()

    monkeypatch.setattr(type(theory.action), "dynamics", counted)
    for kernel in (
        HMC(theory.action, 0.1, 7),
        HMC(theory.action, 0.1, 7, OMELYAN),
        L2HMC(recipes.scalars(theory, 4)[0]),
    ):
        state = kernel.init(np.zeros((1, 2, 4, 4)))
        calls.clear()
        kernel.step(spawn_rngs(0, 1), state)
        assert len(calls) == measure.gradients(kernel)


def test_charge_fit_sees_a_wrong_coupling():
    theory = u1(4.0, (8, 8))
    charges = np.rint(exact.u1.sample_plaquettes(np.random.default_rng(1), 4000, 4.0, 64).sum(axis=1) / (2 * np.pi))
    assert freezing.charge_fit(charges.astype(np.int64), theory)[2] > 1e-5
    assert freezing.charge_fit(charges.astype(np.int64), u1(5.0, (8, 8)))[2] < 1e-5


def test_stretched_nets_repeat_their_layers():
    theory = u1(7.0, (4, 4))
    net = freezing.Net("conv", filters=(3,), activation="tanh", outputs="sq")
    conv = recipes.promoted(recipes.scalars(theory, 2)[0], net)
    longer = transfer.stretched(conv, 4, 1.0, 0.5)
    weight, scale = (conv.params[f"v/head/s/{key}"] for key in ("weight", "scale"))
    np.testing.assert_array_equal(longer.params["v/head/s/weight"], weight[[0, 0, 1, 1]])
    np.testing.assert_array_equal(longer.params["v/head/s/scale"], 0.5 * scale[[0, 0, 1, 1]])


def test_stretched_profiles_keep_their_ends():
    theory = u1(7.0, (8, 8))
    model, _ = recipes.scalars(theory, 4)
    model = model.replace(params={**model.params, "v/scalar/s": np.array([1.0, 2.0, 3.0, 4.0])})
    longer = transfer.stretched(model, 8, 0.5, 2.0)
    assert longer.architecture.n_layers == 8
    np.testing.assert_allclose(longer.params["v/scalar/s"], [2, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8])
    np.testing.assert_allclose(longer.params["eps_x"], 0.5 * model.params["eps_x"][0])
    larger = transfer.on_lattice(model, u1(7.0, (4, 4)))
    assert larger.architecture.field_shape == (2, 4, 4)


def test_a_table_is_saved_whole(tmp_path):
    table = Table("name", "title", ("a", "b", "c"), (("x", 1, None), ("longer", 2.5, float("inf"))), ("note",), 7)
    table.save(tmp_path / "new")
    record = json.loads((tmp_path / "new" / "name.json").read_text())
    assert record["columns"] == ["a", "b", "c"]
    assert record["rows"] == [["x", 1, None], ["longer", 2.5, None]]
    assert record["seed"] == 7
    assert (tmp_path / "new" / "name.txt").read_text() == f"{table}\n"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["name.json", "name.txt"]
    lines = str(table).splitlines()
    assert lines[-1] == "note"
    assert table.column("b") == [1, 2.5]
    assert table.where(a="longer") == [{"a": "longer", "b": 2.5, "c": float("inf")}]
    with pytest.raises(ValueError, match="rows"):
        Table("name", "title", ("a",), ((1, 2),))


def test_without_matplotlib_the_table_is_saved_and_the_message_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    table = reproduce.run("reversibility", out=tmp_path, effort="quick")
    assert table.notes[-1] == "No figure: it needs matplotlib, pip install 'refimpl[plot]'."
    assert (tmp_path / "reversibility.txt").read_text() == f"{table}\n"
    assert not (tmp_path / "reversibility.png").exists()


def test_figures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("trajectory", "condition-numbers"):
        reproduce.run(name, out=tmp_path, effort="quick")
        assert (tmp_path / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pion-mass", ["Schwinger, beta = 2, L = 8", "SU(3), beta = 6, L = 4"]),
        ("condition-numbers", ["U(1) L = 4", "SU(3) L = 4"]),
        ("schwinger-topology", ["lattice", "beta = 2, L = 4: HMC", "beta = 2, L = 4: independence"]),
    ],
)
def test_every_ensemble_has_a_line_while_it_is_made(runs, name, shown):
    lines = runs[name][1].splitlines()  # no terminal: the names only
    assert [line for line in lines if line in shown] == shown
    assert len(lines) == len(set(lines))


def test_the_errors_of_the_pion_mass_have_errors(tables):
    notes = " ".join(tables["pion-mass"].notes)
    assert "1/sqrt(2 (n - 1)): 50% for n = 3, 32% for n = 6." in notes
    assert "excited states" in notes
