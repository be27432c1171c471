"""What a replay does not repeat is told, with the reason: answers that agree say nothing of it."""

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.validation.mutants.clay import Clay
from refimpl.validation.vector_files import write_vector

X = np.linspace(-3, 3, 8).reshape(1, 2, 2, 2)
AT_2 = {"beta": 2.0, "shape": [2, 2]}
ACTION = {"function": "action", "arguments": ["x"], "returns": "action", "tolerance": 1e-12}


class ActionAlone:
    """A target that has nothing else, at any parameters."""

    theory = "u1"

    def __init__(self, beta=2.0, shape=(2, 2)):
        self.beta, self.shape = beta, shape

    def action(self, x):
        return Clay(beta=self.beta, shape=self.shape).action(x)


def replayed(folder, capsys, *calls):
    told = {"format": 2, "id": "a/b", "theory": "u1", "parameters": AT_2, "shape": [2, 2], "flags": [], "comment": ""}
    told |= {"expected": "valid", "derivation": "", "tolerance": {"absolute": 0, "reason": ""}, "conventions": ""}
    arrays = {"x": X, "action": Clay(beta=2.0, shape=(2, 2)).action(X), "force": np.zeros_like(X)}
    write_vector(folder, "b", told | {"calls": list(calls)}, arrays)
    code = main(["replay", str(folder / "b.json"), "tests.test_replay_left_out:ActionAlone"])
    return code, capsys.readouterr().out


def test_nothing_is_told_where_all_was_repeated(tmp_path, capsys):
    code, out = replayed(tmp_path, capsys, ACTION)
    assert code == 0
    assert "1 of 1 answers agree" in out
    assert "repeated" not in out


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        (
            [ACTION, {**ACTION, "function": "force", "returns": "force"}, {**ACTION, "function": "charge"}],
            ["only 1 of 3 calls were repeated, not", "force, charge: the target has no such function"],
        ),
        (
            [ACTION, {**ACTION, "parameters": {"beta": -1.0}}],
            ["only 1 of 2 calls were repeated, not", "action: the target cannot be made at beta = -1.0"],
        ),
        (
            [
                ACTION,
                {"function": "force", "arguments": ["x"], "keeps": "mine"},
                {"operation": "negative", "arguments": ["mine"], "returns": "force", "tolerance": 1e-12},
            ],
            ["only 1 of 3 calls were repeated, not", "negative(mine): without mine, of a call that is left out"],
        ),
        (  # the call that keeps what another needs can be made, but not at its parameters
            [
                ACTION,
                {"function": "action", "arguments": ["x"], "keeps": "mine", "parameters": {"beta": -1.0}},
                {"operation": "negative", "arguments": ["mine"], "returns": "action", "tolerance": 1e-12},
            ],
            ["only 1 of 3 calls were repeated, not", "negative(mine): without mine, of a call that is left out"],
        ),
    ],
)
def test_what_was_left_out_is_told_with_the_reason(calls, told, tmp_path, capsys):
    code, out = replayed(tmp_path, capsys, *calls)
    assert code == 0
    assert "1 of 1 answers agree" in out
    for words in told:
        assert words in out


def test_pieces_without_a_function_are_told_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "twice.py").write_text("def square(x):\n    return x * x\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    pieces = [
        {"piece": name, "arguments": ["x"], "returns": "x", "tolerance": 100.0} for name in ("one.square", "one.cube")
    ]
    told = {"format": 2, "id": "a/b", "theory": "any", "parameters": {}, "shape": [], "flags": [], "comment": ""}
    told |= {"expected": "valid", "derivation": "", "tolerance": {"absolute": 0, "reason": ""}, "conventions": ""}
    write_vector(tmp_path, "b", told | {"pieces": pieces}, {"x": X})
    assert main(["replay", str(tmp_path / "b.json"), "twice"]) == 0
    out = capsys.readouterr().out
    assert "only 1 of 2 pieces were repeated, not" in out
    assert "one.cube: twice has no such function" in out
