"""What a process declares of itself is out of range: it is told, with exit code 3, and nothing is made of that size."""

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from refimpl.cli import main
from refimpl.validation import protocol
from refimpl.validation.contract import MOST_SITES, Subject, TargetError

MISBEHAVING = Path(__file__).resolve().parent / "targets" / "misbehaving.py"
SCHEMA = json.loads(
    (Path(__file__).resolve().parent.parent / "validation" / "protocol.schema.json").read_text(encoding="utf-8")
)
PARAMETERS = {"beta": "2.0", "shape": "[4,4]", "step_size": "0.1", "n_steps": "5"}


def line(attributes="{}", number="1", **parameters):
    """The answer to ``start``, with values as JSON text: not all of what a stranger writes can be made by a library."""
    values = ",".join(f'"{name}":{value}' for name, value in {**PARAMETERS, **parameters}.items())
    return (
        f'{{"status":"ok","protocol":{number},"name":"n","theory":"u1","ops":["action"],'
        f'"parameters":{{{values}}},"attributes":{attributes}}}'
    )


# Each with what is to be said of it.
WRONG = [
    ({"shape": "[1000000,1000000]"}, "a theory of 1000000000000 sites, expected at most 262144"),
    ({"shape": "[2,9000000000000000000]"}, "a theory of 18000000000000000000 sites"),
    ({"shape": "[1024,1024]"}, "a theory of 1048576 sites"),
    ({"shape": "[0,4]"}, "shape: got [0, 4], expected a list [T, X] of two integers >= 1"),
    ({"shape": "[-4,-4]"}, "shape: got [-4, -4], expected"),
    ({"shape": "[4,4,4]"}, "shape: got [4, 4, 4], expected"),
    ({"shape": "[4.0,4]"}, "shape: got [4.0, 4], expected"),
    ({"n_steps": "-5"}, "n_steps: got -5, expected an integer >= 1"),
    ({"n_steps": "2.5"}, "n_steps: got 2.5, expected"),
    ({"step_size": "0"}, "step_size: got 0, expected a finite number > 0"),
    ({"step_size": "-0.1"}, "step_size: got -0.1, expected"),
    ({"step_size": "NaN"}, "got NaN, which is no JSON; expected finite numbers"),
    ({"step_size": "true"}, "step_size: got true, expected"),
    ({"beta": "Infinity"}, "got Infinity, which is no JSON; expected finite numbers"),
    ({"beta": "1e999"}, "beta: got Infinity, expected a finite number"),
    ({"beta": "1" + 400 * "0"}, "beta: got"),
    ({"beta": "0"}, "expected beta > 0"),
    ({"number": "1.0"}, "protocol: got 1.0, expected 1"),
    ({"number": "true"}, "protocol: got true, expected 1"),
    ({"attributes": '{"order":1000000}'}, "order: got 1000000, expected an integer from 0 to 64, or null"),
    ({"attributes": '{"n_pf":0}'}, "n_pf: got 0, expected an integer >= 1"),
    ({"attributes": '{"flow_period":[0,1]}'}, "flow_period: got [0, 1], expected an integer >= 1 or a list of two"),
    ({"attributes": '{"thrift":0}'}, "thrift: got 0, expected"),
    ({"attributes": '{"thrift":4097}'}, "thrift: got 4097, expected an integer from 1 to 4096"),
]


def subject(answer):
    declared = protocol.declaration(answer.encode())
    return Subject(SimpleNamespace(theory=declared.theory, **declared.parameters))


@pytest.mark.parametrize(("changes", "told"), WRONG)
def test_it_is_told(changes, told):
    with pytest.raises((protocol.ProtocolError, TargetError)) as caught:
        subject(line(**changes))
    assert told in str(caught.value)


@pytest.mark.parametrize(("changes", "told"), [WRONG[k] for k in (0, 7, 11, 14, 17)])
def test_the_command_says_so_and_ends_with_code_3(changes, told, capsys):
    command = shlex.join([sys.executable, "-I", "-S", str(MISBEHAVING), "says-at-start", line(**changes)])
    assert main(["validate", f"cmd:{command}", "-k", "static.action", "--failures", "none"]) == 3
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_what_is_in_range_is_taken():
    declared = protocol.declaration(
        line(attributes='{"order":null,"flow_period":[1,2],"n_pf":3,"thrift":4096}').encode()
    )
    assert declared.parameters == {"beta": 2.0, "shape": (4, 4), "step_size": 0.1, "n_steps": 5}
    assert Subject(SimpleNamespace(theory="u1", beta=2.0, shape=(512, 512))).theory.volume == MOST_SITES


def test_the_schema_has_the_same_ranges():
    validator = pytest.importorskip("jsonschema", reason="in the extra 'dev'").Draft202012Validator
    schema = validator({**SCHEMA, "$ref": "#/$defs/answer_to_start"})
    assert schema.is_valid(json.loads(line()))
    for changes, told in WRONG:
        if told.partition(":")[0] in ("shape", "n_steps", "step_size", "order", "n_pf", "flow_period", "thrift"):
            by_value = changes == {"shape": "[4.0,4]"}  # to JSON Schema 4.0 is an integer
            assert by_value or not schema.is_valid(json.loads(line(**changes))), changes
