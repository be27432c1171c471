"""The calls of the golden vectors on the package, arrays that no call compares, and the README of the data, as strangers use it."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from refimpl import statistics
from refimpl.actions.dirac import wilson_dirac
from refimpl.observables import chiral_condensate, pseudoscalar_correlator
from refimpl.validation import replay, vectors
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.contract import CAPABILITIES, Subject
from refimpl.validation.vector_format import EXPECTED, FLAGS

NEW = [s for s in vectors.SUITES if vectors.SUITES[s].startswith("field_vectors.")]
FIRST = ["u1", "l2hmc", "fermions", "phi4", "flows", "conditionals"]
README = (vectors.VECTORS.parent.parent / "README.md").read_text(encoding="utf-8")
FLOWS = {"phi4": "flow-phi4", "u1": "flow", "su2": "flow-su2", "su3": "flow-su3"}
JOINT = {"schwinger": "joint", "su2": "joint-su2", "su3": "joint-su3"}
TARGETS = {"flows": FLOWS, "conditionals": JOINT, "l2hmc": {"u1": "l2hmc", "gmm": "l2hmc-gmm"}}


def subject_of(suite, vector):
    theory = vector.about["theory"]
    name = TARGETS.get(suite, {}).get(theory, "u1" if theory == "any" else theory)
    parameters = {k: tuple(v) if k == "shape" else v for k, v in vector.about["parameters"].items()}
    return Subject(BUILT_IN[name], parameters=parameters)


@pytest.mark.parametrize("suite", [*FIRST, *NEW])
def test_the_package_gives_every_answer(suite):
    for vector in vectors.read_suite(suite):
        subject = subject_of(suite, vector)
        assert all(subject.has(call["function"]) for call in vector.about["calls"]), vector.name
        found = replay.repeated(subject, vector)
        assert found
        for each in found:
            assert each.good, (vector.name, each)
        for name, value in vector.about.get("declares", {}).items():
            assert getattr(subject.target, name) == value


@pytest.mark.parametrize("suite", NEW)
def test_new_vectors_say_where_they_come_from(suite):
    for vector in vectors.read_suite(suite):
        about = vector.about
        assert about["id"] == f"{suite}/{vector.name}"
        assert set(vector.flags) <= set(FLAGS)
        assert vector.flags
        assert about["expected"] in EXPECTED
        assert about["tolerance"]["absolute"] >= 0
        assert len(about["tolerance"]["reason"]) > 20
        assert set(about["provenance"]) == {"command", "module", "seed", "python", "numpy"}
        assert set(about["arrays"]) == {"x", *vector.expected}
        assert about["calls"]
        assert all(call["function"] in CAPABILITIES for call in about["calls"])


def test_every_flag_and_expectation_occurs():
    every = [vector for suite in vectors.SUITES for vector in vectors.read_suite(suite)]
    assert {flag for vector in every for flag in vector.flags} == set(FLAGS)
    assert {vector.about["expected"] for vector in every} == set(EXPECTED)


@pytest.mark.parametrize("path", sorted((vectors.VECTORS.parents[2] / "validation" / "field_vectors").glob("*.py")))
def test_answers_share_no_code_with_the_package(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level in (1, 2) or not node.module.startswith("refimpl"), ast.unparse(node)


class Wrong:
    """U(1) that answers anything, with one thing wrong."""

    theory, beta, shape = "u1", 2.0, (4, 4)

    def __init__(self, **wrong):
        self.__dict__.update(wrong)


def answers(name, **functions):
    (vector,) = [v for v in vectors.read_suite("u1_loops") if v.name == name]
    return replay.repeated(Subject(Wrong(**functions)), vector)


def test_a_finite_answer_to_what_has_none_is_wrong():
    def refusing(x):
        raise ValueError("links: got NaN")

    assert [c.good for c in answers("nan-4x4", action=lambda x: np.nan_to_num(x).sum((1, 2, 3)))] == [False]
    assert [c.good for c in answers("nan-4x4", action=lambda x: x.sum((1, 2, 3)))] == [True]
    assert [c.good for c in answers("three-directions", action=refusing, plaquette=lambda x: np.zeros(1))] == [
        True,
        False,
    ]


def test_a_constant_of_the_action_is_free_and_nothing_else():
    (vector,) = [v for v in vectors.read_suite("u1_loops") if v.name == "hot-4x4"]
    for factor, constant, good in ((1.0, 7.0, True), (1.0 + 1e-9, 0.0, False)):
        action = vector.expected["action"] * factor + constant
        assert [c.good for c in answers("hot-4x4", action=lambda x, a=action: a)] == [good]


def test_decisions_are_near_and_far_and_both_ways():
    for vector in vectors.read_suite("updates"):
        u, dh, accept = (vector.expected[name] for name in ("u", "delta_h", "accept"))
        assert np.array_equal(accept, u < np.exp(-dh))
        near = np.abs(np.log(u) + dh) < 2e-6
        assert set(accept[near].tolist()) == {0.0, 1.0}
        assert set(accept[~near & (dh > 0)].tolist()) >= {0.0}
        assert set(accept[dh < 0].tolist()) == {1.0}
        assert np.all(np.abs(np.log(u) + dh) > 5e-7)  # no rounding decides
        where = accept.reshape(-1, *(1,) * (vector.x.ndim - 1)) == 1
        assert np.array_equal(vector.expected["x_next"], np.where(where, vector.expected["x_proposed"], vector.x))


def test_truncated_charges_are_wrong_where_the_vector_says_so():
    (vector,) = [v for v in vectors.read_suite("topology") if "KNOWN_BUG" in v.flags]
    x = vector.x
    angles = x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]
    sums = (np.remainder(angles + np.pi, 2 * np.pi) - np.pi).sum((1, 2)) / (2 * np.pi)
    assert np.array_equal(np.rint(sums), vector.expected["charge"])
    assert not np.array_equal(np.trunc(sums), vector.expected["charge"])


def test_sectors_have_the_charges_of_their_chains():
    for vector in vectors.read_suite("topology"):
        if vector.name.startswith("sectors"):
            volume = np.prod(vector.shape)
            want = [q for q in range(-3, 4) if abs(q) < volume / 2 - 1]  # beyond, fluctuations reach the cut
            assert [q for q in vector.expected["charge"] if q in want][: len(want)] == want, vector.name


def test_staples_pions_and_condensates_are_those_of_the_package():
    for vector in vectors.read_suite("sun"):
        if vector.about["expected"] == "valid":
            products = np.einsum("cmtxab,cmtxba->cm", vector.x, vector.expected["staples"]).real
            n, volume = vector.x.shape[-1], np.prod(vector.shape)
            # every plaquette has two links in each direction
            assert np.allclose(
                products, (2 * n * volume * vector.expected["wilson_loop_1x1"])[:, None], rtol=0, atol=1e-12
            )
    for vector in vectors.read_suite("schwinger"):
        if vector.about["expected"] == "valid":
            p = vector.about["parameters"]
            d = wilson_dirac(vector.x, p["kappa"], antiperiodic=p["antiperiodic"])
            assert np.allclose(pseudoscalar_correlator(d), vector.expected["pion"], rtol=1e-11, atol=0)
            assert np.allclose(chiral_condensate(d), vector.expected["condensate"], rtol=0, atol=1e-12)


def test_kinetic_energies_and_errors_of_series_are_those_of_the_package():
    for vector in vectors.read_suite("u1_loops"):
        if vector.about["expected"] != "invalid":
            kinetic = (vector.expected["v"] ** 2).sum((1, 2, 3)) / 2
            assert np.allclose(kinetic, vector.expected["kinetic"], rtol=1e-14, atol=0)
    for vector in vectors.read_suite("statistics"):
        mean, want = statistics.mean(vector.x), vector.expected
        assert np.isclose(mean.value, want["mean"], rtol=1e-15)
        assert np.isclose(mean.error, want["error"], rtol=1e-10)
        assert np.isclose(mean.tau.tau, want["tau"], rtol=1e-10)
        assert mean.tau.window == want["window"]
        rho = statistics.autocorrelation(vector.x)[:32]
        assert np.allclose(rho, want["autocorrelation"], rtol=0, atol=1e-10)
        assert abs(want["tau"] - want["tau_exact"]) < 5 * want["tau_error"]


# README


def test_the_readme_counts_the_vectors():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", README, re.MULTILINE))
    assert rows == {suite: str(entry["vectors"]) for suite, entry in vectors.summary()["suites"].items()}
    for flag, meaning in FLAGS.items():
        assert f"- `{flag}`: {meaning}." in README


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_program_of_the_readme_compiles_and_finds_errors(tmp_path):
    (tmp_path / "force.cpp").write_text(re.search(r"```cpp\n(.*?)```", README, re.DOTALL).group(1), encoding="utf-8")
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, str(tmp_path / "force.cpp"), "-o", str(tmp_path / "force")], check=True, timeout=120)

    def force(name, *shape):
        run = [str(tmp_path / "force"), str(Path(vectors.VECTORS, f"u1/{name}.npz")), *map(str, shape)]
        return subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)

    for name, shape in (("hot-4x4", (4, 4)), ("hot-2x3", (2, 3)), ("flux-4x6", (4, 6))):
        done = force(name, *shape)
        assert (done.returncode, "good" in done.stdout) == (0, True), done
    assert force("hot-2x3", 3, 2).returncode == 1
    (vector,) = [v for v in vectors.read_suite("u1") if v.name == "hot-4x4"]
    calls = {call["function"]: call["tolerance"] for call in vector.about["calls"]}
    assert f"tolerance = {calls['force']:.0e}" in README
