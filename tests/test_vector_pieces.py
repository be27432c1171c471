"""Vectors of exact values, of pieces of maps and of estimators: the package answers each, and a wrong number is seen."""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from refimpl import exact
from refimpl.validation import vectors
from refimpl.validation.archives import VectorError
from refimpl.validation.pieces import answered, pieces_of
from refimpl.validation.references.pieces import function_named

SUITES = [suite for suite in vectors.SUITES if any("pieces" in each.about for each in vectors.read_suite(suite))]
VECTORS = [vector for suite in SUITES for vector in vectors.read_suite(suite)]


ANSWERS: dict[str, Any] = {}


def remembered(name):
    """The package's function, called once for every argument."""
    function = function_named(name)

    def call(*arguments):
        key = (name, repr(arguments))
        if key not in ANSWERS:
            ANSWERS[key] = function(*arguments)
        return ANSWERS[key]

    return function and call


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.about["id"])
def test_the_package_answers_every_piece(vector):
    for entry in pieces_of(vector):
        assert function_named(entry["piece"]) is not None, entry["piece"]
    comparisons = answered(vector, remembered)
    assert len(comparisons) >= len(pieces_of(vector)) > 0
    for comparison in comparisons:
        assert comparison.good, comparison
    # Nothing computed is left uncompared.
    named = {name for entry in pieces_of(vector) for name in names(entry)}
    assert set(vector.expected) <= named, set(vector.expected) - named


def names(entry):
    def of(part):
        if isinstance(part, str):
            return [part]
        if isinstance(part, dict):
            return vectors_beginning(part) if set(part) == {"arrays"} else of(list(part.values()))
        return [name for each in part for name in of(each)] if isinstance(part, list) else []

    return of(entry["arguments"]) + of(entry["returns"])


def vectors_beginning(part):
    return [name for vector in VECTORS for name in vector.expected if name.startswith(part["arrays"])]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.about["id"])
def test_a_wrong_number_in_a_vector_is_seen(vector):
    """Each returned array in turn, its largest entry off by 1e-9 of itself, or 1e-9: some hundred times the widest tolerance."""
    returned = {leaf for entry in pieces_of(vector) for leaf in names({"arguments": [], "returns": entry["returns"]})}
    good = {(c.function, c.name): c.got for c in answered(vector, remembered)}
    assert {name for _, name in good} == returned
    for name in sorted(returned):
        array = np.array({"x": vector.x, **vector.expected}[name])
        if array.dtype.kind not in "fc" or not np.isfinite(array).any():
            continue
        at = np.unravel_index(np.argmax(np.where(np.isfinite(array), np.abs(array), -1)), array.shape)
        array[at] += max(abs(array[at]), 1.0) * 1e-9
        told = replace(vector, x=array) if name == "x" else replace(vector, expected={**vector.expected, name: array})
        only = [entry for entry in pieces_of(vector) if name in names({"arguments": [], "returns": entry["returns"]})]
        told = replace(told, about={**vector.about, "pieces": only[:1]})
        assert not all(c.good for c in answered(told, remembered)), name


# Samplers draw, and are judged by statistics; bounds of samplers and the tools of others have no value of their own.
NOT_VALUES = {"sample", "sample_plaquettes", "check_kappa", "checked", "checked_shape", "is_integer", "is_number"}
NOT_VALUES |= {"checked_coordinate", "checked_count", "rejection", "reweighted", "pure_gauge", "dirac_matrix"}
NOT_VALUES |= {
    "acceptance_bound",
    "free_mass",
    "lru_cache",
    "dataclass",
    "first_step",
    "half_line",
    "reach_of",
    "refined",
}
# Of a given field, in the suite of fermions; the same numbers as `answers` on these lattices; bookkeeping of dimensions.
NOT_VALUES |= {"phi4.free", "schwinger.log_determinant", "dimension", "action_moments"}


def test_every_exact_value_has_a_vector():
    told = {entry["piece"].removeprefix("exact.") for vector in VECTORS for entry in pieces_of(vector)}
    whole = {name for name in told if "." not in name}  # pieces that return all values of a module
    for module in exact.__all__:
        if module in whole:
            continue
        for name, _ in inspect.getmembers(getattr(exact, module), inspect.isfunction):
            if not name.startswith("_") and not {name, f"{module}.{name}"} & NOT_VALUES:
                assert f"{module}.{name}" in told, f"{module}.{name}"


@pytest.mark.parametrize(
    "change",
    [
        {"pieces": "exact.u1.plaquette"},
        {"pieces": [3]},
        {"pieces": [{"piece": None}]},
        {"pieces": [{"piece": "exact.u1.plaquette", "arguments": "beta"}]},
        {"pieces": [{"piece": "exact.u1.plaquette", "arguments": ["gamma"], "returns": "plaquette"}]},
        {"pieces": [{"piece": "exact.u1.plaquette", "arguments": ["beta"], "returns": ["nothing"]}]},
        {"pieces": [{"piece": "exact.u1.plaquette", "arguments": [], "returns": None, "tolerance": -1}]},
        {"pieces": [{"piece": "exact.u1.plaquette", "arguments": [], "returns": None, "relative": True}]},
        {"pieces": [{"piece": "exact.u1.plaquette", "arguments": [], "returns": None, "rows": 1}]},
    ],
)
def test_pieces_of_another_form_are_refused(change):
    vector = vectors.read_suite("exact")[0]
    with pytest.raises(VectorError, match="pieces: "):
        answered(replace(vector, about={**vector.about, **change}), function_named)


def test_names_of_no_piece_reach_no_function():
    for name in (
        "os.system",
        "exact.u1",
        "exact.os.system",
        "exact.u1.nothing",
        "exact.u1.plaquette.x",
        "",
        "exact..x",
    ):
        assert function_named(name) is None, name


def test_nan_is_never_good_and_equal_infinities_are():
    vector = vectors.read_suite("exact")[0]
    entry = {"piece": "p", "formula": "", "arguments": [], "returns": "y", "relative": 1.0, "tolerance": 1.0}
    for got, expected, good in (
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, np.inf, True),
        (-np.inf, np.inf, False),
    ):
        told = replace(vector, about={**vector.about, "pieces": [entry]}, expected={"y": np.array([0.0, expected])})
        (comparison,) = answered(told, lambda name, got=got: lambda: np.array([0.0, got]))
        assert comparison.good is good, (got, expected)
