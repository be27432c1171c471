"""Examples in docstrings are run as they stand there; those of README.md and of data/README.md have tests of their own."""

import importlib.util
import inspect
import json
import re
import shlex
import sys
import textwrap

import numpy as np
from hypothesis import HealthCheck, settings

from refimpl import exact
from refimpl.actions import WilsonU1
from refimpl.cli import _parser
from refimpl.validation import conventions, pieces, replay, serving, strategies
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.contract import Subject
from refimpl.validation.vector_files import Vector


def blocks(module):
    """The indented blocks after ``::``."""
    text = inspect.getdoc(module) or ""
    return [textwrap.dedent(block) for block in re.findall(r"::\n\n((?: {4}.*\n?|\n)+)", text)]


def vector(about, x, **arrays):
    return Vector("example", x.shape, (), "", {"parameters": {}, **about}, x, arrays)


def test_calls_of_a_vector():
    (force, trip), there = blocks(replay), re.search(r"``(\{\"operation.*?\})``", replay.__doc__)
    rng, target = np.random.default_rng(0), BUILT_IN["u1"]
    subject = Subject(target)
    x = exact.u1.sample(rng, 2, 2.0, (4, 4))
    arrays = {"force": subject.force(x), "v": rng.standard_normal(x.shape)}
    arrays["minus_logdet"] = np.zeros(2)
    forward, inverse = trip.strip().splitlines()
    calls = [force, forward, there[1], inverse.replace(", ...}", ', "angles": ["x"]}')]
    found = replay.repeated(subject, vector({"calls": [json.loads(call) for call in calls]}, x, **arrays))
    assert len(found) == 4
    assert all(each.good for each in found), found
    arrays["force"] = -arrays["force"]
    assert not replay.repeated(subject, vector({"calls": [json.loads(force)]}, x, **arrays))[0].good


def test_pieces_of_a_vector():
    (block,) = blocks(pieces)
    entry = json.loads(block)
    arrays = {"beta": np.array([1.0, 2.0]), "shape": np.array([[4, 4], [2, 6]])}
    arrays["plaquette"] = np.array([exact.u1.plaquette(1.0, (4, 4)), exact.u1.plaquette(2.0, (2, 6))])
    made = vector({"pieces": [entry]}, np.zeros(1), **arrays)
    assert all(each.good for each in pieces.answered(made, {"exact.u1.plaquette": exact.u1.plaquette}.get))
    assert not all(each.good for each in pieces.answered(made, {"exact.u1.plaquette": lambda beta, shape: 0.5}.get))


def test_strategies(tmp_path):
    (block,) = blocks(strategies)
    before = """
        import numpy as np
        from hypothesis import given
        from refimpl.validation.strategies import couplings, u1_fields
    """
    path = tmp_path / "example.py"
    path.write_text(textwrap.dedent(before) + block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen = []
    module.action = lambda x, beta: seen.append(x) or WilsonU1(beta).action(x)
    settings(max_examples=20, database=None, deadline=None, suppress_health_check=list(HealthCheck))(
        module.test_action_is_even
    )()
    assert len(seen) >= 2 * 20


def test_a_target_of_another_environment():
    (block,) = blocks(serving)
    program, *arguments = shlex.split(block)
    outer = _parser().parse_args(arguments)
    assert program == "refimpl"
    kind, _, command = outer.target.partition(":")
    assert kind == "cmd"
    _, m, package, *rest = shlex.split(command)
    assert (m, package) == ("-m", "refimpl")
    assert _parser().parse_args(rest).target == "package.module:target"


def test_conventions(tmp_path, monkeypatch, capsys):
    (block,) = blocks(conventions)
    mine = """
import numpy as np

theory, beta, shape = "u1", 2.0, (4, 6)  # links (x, t, mu, chain): extents in the order of these axes


def angles(y):
    return y[:, :, 0] + np.roll(y[:, :, 1], -1, 1) - np.roll(y[:, :, 0], -1, 0) - y[:, :, 1]


def action(y):
    return beta * (1 - np.cos(angles(y))).sum((0, 1))


def force(y):
    s = beta * np.sin(angles(y))
    return -np.stack([s - np.roll(s, 1, 0), np.roll(s, 1, 1) - s], 2)
"""
    (tmp_path / "mine.py").write_text(mine)
    (tmp_path / "example.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mine", "example"):
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    printed = capsys.readouterr().out
    assert "pass  static.force" in printed
    assert " 0 failed" in printed
