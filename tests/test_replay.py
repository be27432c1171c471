"""What is compared with what when calls are repeated."""

from types import SimpleNamespace

import numpy as np
import pytest

from refimpl.cli import replay
from refimpl.validation.contract import Subject
from refimpl.validation.replay import compared, comparisons
from refimpl.validation.report import FAILED, NOTHING_RAN, OK


class Plaquettes:
    """U(1), of which everything is 1."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def plaquette(self, x):
        return 1.0 + x[:, 0, 0, 0]


X = np.zeros((1, 2, 2, 2))
PLAQUETTE = {"function": "plaquette", "arguments": ["x"]}


def test_no_answer_is_compared_with_itself():
    call = {**PLAQUETTE, "keeps": "plaquette", "returns": "plaquette", "tolerance": 0.0}
    (found,) = comparisons(Subject(Plaquettes()), [call], {"x": X, "plaquette": np.zeros(1)})
    assert not found.good
    assert (found.got, found.expected) == (1.0, 0.0)


def test_what_was_kept_first_is_kept():
    calls = [{**PLAQUETTE, "keeps": "p"}, {**PLAQUETTE, "arguments": ["y"], "returns": "p", "tolerance": 0.0}]
    kept = {}
    (found,) = comparisons(Subject(Plaquettes()), calls, {"x": X, "y": X + 1}, kept)
    assert (found.got, found.expected) == (2.0, 1.0)
    assert kept == {"p": [1.0]}


@pytest.mark.parametrize("on_circle", [False, True])
def test_a_nan_is_the_worst_of_all(on_circle):
    found = compared("force", "force", np.array([0.5, np.nan, 9.0]), np.zeros(3), 10.0, on_circle)
    assert found.worst == (1,)
    assert not found.good


def test_arrays_of_other_shapes_are_not_spread():
    for got, expected in ((np.zeros(1), np.zeros(3)), (np.zeros(()), np.zeros(1)), (np.zeros((1, 3)), np.zeros(3))):
        with pytest.raises(ValueError, match="force: got force of shape"):
            compared("force", "force", got, expected, 1.0)


# --- exit codes ---------------------------------------------------------------------------------------------------------------
def test_a_function_that_raised_is_an_answer_that_does_not_agree(capsys):
    good = compared("u1.plaquette", "plaquette", np.ones(1), np.ones(1), 0.0)
    assert replay._told([good]) == OK
    assert replay._told([good], raised=1) == FAILED
    assert "1 of 2 answers agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pieces", "calls", "code"),
    [(OK, FAILED, FAILED), (FAILED, OK, FAILED), (OK, NOTHING_RAN, OK), (NOTHING_RAN, OK, OK), (NOTHING_RAN,) * 3],
)
def test_what_fails_in_a_vector_is_its_outcome(pieces, calls, code, monkeypatch):
    monkeypatch.setattr(replay, "_pieces", lambda *_: pieces)
    monkeypatch.setattr(replay, "_calls", lambda *_: calls)
    vector = SimpleNamespace(comment="", about={"pieces": [1], "calls": [1]})
    assert replay._one(vector, "a.json", None, None) == code


@pytest.mark.parametrize(
    ("codes", "code"),
    [((OK, FAILED), FAILED), ((NOTHING_RAN, OK), OK), ((NOTHING_RAN, NOTHING_RAN), NOTHING_RAN), ((OK, OK), OK)],
)
def test_one_file_that_fails_is_a_failure(codes, code, monkeypatch):
    left = list(codes)
    monkeypatch.setattr("refimpl.validation.vectors.read", lambda path: path)
    monkeypatch.setattr(replay, "_one", lambda *_: left.pop(0))
    assert replay._replay(SimpleNamespace(arguments=["a.json"] * len(codes))) == code
