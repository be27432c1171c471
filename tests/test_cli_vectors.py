"""The commands ``vectors``."""

import numpy as np
import pytest

from tests.commands import run


def test_vectors_commands(capsys):
    code, out, _ = run(capsys, "vectors", "check", "u1")
    assert code == 0
    assert out == "14 vectors: checksums match, and they regenerate\n"
    code, out, _ = run(capsys, "vectors", "list")
    assert code == 0
    *rows, _ = out.splitlines()
    assert "BRANCH_CUT" in rows[0]
    assert len({row.index(" vectors  ") for row in rows}) == 1
    assert len({row.index(" kB  ") for row in rows}) == 1
    code, out, _ = run(capsys, "vectors", "list", "u1")
    assert code == 0
    assert "u1/one-link-4x4" in out


def test_columns_of_long_names_do_not_collide(capsys):
    """In every suite the second column begins behind the longest name, and at the same place in every row."""
    for suite in ("leapfrog", "omelyan", "readings"):
        rows = run(capsys, "vectors", "list", suite)[1].splitlines()
        assert len({len(row) - len(row.split(maxsplit=1)[1]) for row in rows}) == 1


def test_vectors_show_has_the_pieces(capsys):
    code, out, _ = run(capsys, "vectors", "show", "gaussian_models/inflations")
    assert code == 0
    assert '"piece": "estimators.conditional.best_inflation"' in out
    assert "calls:" not in out


def test_vectors_show_says_all_about_one(capsys):
    code, out, _ = run(capsys, "vectors", "show", "o2/one-angle-8")
    assert code == 0
    for part in ("o2/one-angle-8", '"beta": 2.0', "2x8", '"function": "force"', "20261201", "force = + d action"):
        assert part in out
    assert f"{-4 * np.sin(0.5):.17g}"[1:12] in out  # of the one angle 0.5, with two bonds at beta = 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show"], "SUITE/NAME: got None"),
        (["show", "u1"], "SUITE/NAME: got 'u1'"),
        (["show", "u1/../o2"], "SUITE/NAME: got 'u1/../o2', expected one of hot-2x2"),
        (["show", "none/hot"], "SUITE: got 'none', expected one of u1"),
        (["list", "../u1"], "SUITE: got '../u1'"),
        (["check", "none"], "SUITE: got 'none'"),
        (["write", "/dev/null"], "DIR: got '/dev/null', expected a folder"),
        (["write", ""], "DIR: got ''"),
    ],
)
def test_vectors_refuse_what_is_not_there(capsys, arguments, told):
    code, _, err = run(capsys, "vectors", *arguments)
    assert code == 2
    assert told in err


def test_vectors_check_sees_other_vectors(capsys, monkeypatch):
    from refimpl.validation import vectors

    entries = vectors.read_suite("o2")
    monkeypatch.setattr(vectors, "regenerated", lambda suite: entries[:-1])
    code, _, err = run(capsys, "vectors", "check", "o2")
    assert code == 4
    assert "o2: got other vectors than those that are generated" in err


def test_vectors_check_sees_another_answer(capsys, monkeypatch):
    from refimpl.validation.field_vectors import o2

    monkeypatch.setattr(o2, "SUITE", o2.SUITE._replace(seed=1))
    code, _, err = run(capsys, "vectors", "check", "o2")
    assert code == 4
    assert "o2/hot-2: regenerating it gives another vector" in err
