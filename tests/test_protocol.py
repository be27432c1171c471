"""The protocol as its definition, its schema and its table say it."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from refimpl.validation import protocol
from refimpl.validation.contract import CAPABILITIES
from refimpl.validation.operations import OPERATIONS, arguments, flattened, named_results, operation, returned
from refimpl.validation.remote import Processes, RemoteFactory
from refimpl.validation.theories import THEORIES
from refimpl.validation.transcripts import recorded

from .sessions import session_lines

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "validation" / "PROTOCOL.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "validation" / "protocol.schema.json").read_text(encoding="utf-8"))


def test_every_capability_is_an_op():
    assert set(OPERATIONS) == set(CAPABILITIES)
    assert SCHEMA["$defs"]["op"]["enum"] == list(CAPABILITIES)


def test_the_schema_has_the_parameters_attributes_and_theories_that_are_taken():
    assert list(SCHEMA["$defs"]["parameters"]["properties"]) == list(protocol.PARAMETERS)
    assert list(SCHEMA["$defs"]["attributes"]["properties"]) == list(protocol.ATTRIBUTES)
    declared = SCHEMA["$defs"]["declaration"]["properties"]
    assert declared["theory"]["enum"] == list(THEORIES)
    assert declared["varies"]["items"]["enum"] == list(protocol.PARAMETERS)
    params = {name for op in OPERATIONS.values() for name in op.params}
    assert set(SCHEMA["$defs"]["run"]["properties"]["params"]["properties"]) == params


def test_the_table_in_the_definition_is_that_of_the_code():
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", TEXT, re.M))
    for name, op in OPERATIONS.items():
        cells = [re.findall(r"`([a-z_]+)`", cell) for cell in rows[name].split(" | ")]
        assert cells == [list(op.arrays), list(op.params), list(op.results)], name
    for name in (*protocol.PARAMETERS, *protocol.ATTRIBUTES, *THEORIES):
        assert f"`{name}`" in TEXT, name


def test_no_key_comes_twice_in_a_request():
    for name in OPERATIONS:
        for extra in ({}, {"directed": True}, {"pseudofermions": True}):
            op = operation(name, **extra)
            keys = ["type", "id", "op", "params", "in", "out", "deadline", *op.params, *op.results]
            keys += [part for part in op.arrays if part != "params"]  # of which every key is its own, ``params/KEY``
            assert len(keys) == len(set(keys)), name


@pytest.mark.parametrize("line", re.findall(r'^(?:[<>] )?(\{"(?:type|status)".*\})$', TEXT, re.M))
def test_the_examples_of_the_definition_are_messages(line):
    schema = pytest.importorskip("jsonschema", reason="in the extra 'dev'")
    message = json.loads(line)
    kinds = ["request"] if "type" in message else ["answer_to_run", "answer_to_stop", "answer_to_start"]
    good = [schema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{kind}"}).is_valid(message) for kind in kinds]
    assert any(good), line


def test_the_definition_tells_the_lines_of_a_transcript(tmp_path):
    source = RemoteFactory(Processes("true"))
    with recorded(source, tmp_path / "t.zip", {}):
        pass
    with zipfile.ZipFile(tmp_path / "t.zip") as archive:
        first, end = map(json.loads, archive.read("transcript.jsonl").splitlines())
    assert list(end) == ["type", "count", "sha256"]
    assert '`{"type":"end","count":N,"sha256":"..."}`' in TEXT
    assert f'`{{"type":"{first["type"]}",...}}`' in TEXT
    assert {"transcript.jsonl", "arrays/SHA256.npy"} <= set(re.findall(r"`([\w./]+)`", TEXT))


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return session_lines(tmp_path_factory.mktemp("session"))


def test_the_messages_of_a_session_are_those_of_the_schema(session):
    schema = pytest.importorskip("jsonschema", reason="in the extra 'dev'")

    def check(kind, message):
        schema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{kind}"}).validate(message)

    kinds = {"start": "answer_to_start", "run": "answer_to_run", "stop": "answer_to_stop"}
    for asked, answer in session:
        if asked.get("op") != "dance":
            check("request", asked)
        check("errored" if asked.get("op") == "dance" else kinds[asked["type"]], answer)
    assert [answer["status"] for _, answer in session if answer["status"] != "ok"] == ["errored"]
    assert len(session) == 3 + 14


@pytest.mark.parametrize("name", OPERATIONS)
def test_arguments_and_results_come_back_as_they_were(name):
    op = OPERATIONS[name]
    weights = {"0/weight": np.ones(2), "v/in/x": np.zeros((2, 3))}
    values = {part: weights if part == "params" else f"the {part}" for part in (*op.arrays, *op.params)}

    def tree(part):
        return tuple(map(tree, part)) if isinstance(part, tuple) else values[part]

    given = tuple(map(tree, op.takes))
    params, arrays = flattened(op, given)
    assert set(params) == set(op.params)
    assert set(arrays) == {f"params/{key}" for key in weights if "params" in op.arrays} | (set(op.arrays) - {"params"})
    assert arguments(op, params, arrays) == given
    results = {part: f"got {part}" for part in op.results}
    assert named_results(op, returned(op, results)) == results


@pytest.mark.parametrize(
    "path",
    ["", "x.npy", "/run/x.npy", "/run/f/../x.npy", "/run/f/a/x.npy", "/run/f/..", "/run/f/.", "/run/f/", "/run/f//etc/passwd",
     "/run/f2/x.npy", "/run/f/x\n", "/run/f/\x00", "/run/f/" + "x" * 200, "/run/f/\ud800", "//run/f/x.npy"],
)  # fmt: skip
def test_paths_that_are_not_in_the_run_folder_are_refused(path):
    assert protocol.inside("/run/f", "/run/f/1.x.npy") == "1.x.npy"
    with pytest.raises(protocol.ProtocolError, match="expected a file in the run folder"):
        protocol.inside("/run/f", path)


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(protocol.ProtocolError, match="got the key 'id' twice in an object"):
        protocol.decoded(b'{"status":"ok","id":1,"id":2}')


STARTED = {
    "status": "ok",
    "protocol": 1,
    "name": "n",
    "theory": "o2",
    "parameters": {"beta": 1.0, "length": 4},
    "ops": [],
}


@pytest.mark.parametrize("version", [True, 2, 1.5, "1", None])
def test_another_version_is_refused(version):
    assert protocol.declaration(protocol.encoded(STARTED)).theory == "o2"
    with pytest.raises(protocol.ProtocolError, match=r"protocol: got .*, expected 1"):
        protocol.declaration(protocol.encoded({**STARTED, "protocol": version}))
    with pytest.raises(protocol.ProtocolError, match=r"protocol: got .*, expected 1"):
        protocol.request(protocol.encoded({**protocol.start_message("/run/f", {}), "protocol": version}))


@pytest.mark.parametrize("number", [True, 1.0, 2, "1", None])
def test_an_answer_to_another_request_is_refused(number):
    assert protocol.answer(b'{"status":"ok","id":1}', 1).status == "ok"
    with pytest.raises(protocol.ProtocolError, match=r"id: got .*, expected 1, one answer for each request"):
        protocol.answer(protocol.encoded({"status": "ok", "id": number}), 1)


@pytest.mark.parametrize("length", [2**63, -(2**63) - 1, 4.0, True])
def test_an_integer_has_64_bits(length):
    parameters = {"beta": 1.0, "length": length}
    with pytest.raises(protocol.ProtocolError, match=r"length: got .*, expected an integer"):
        protocol.declaration(protocol.encoded({**STARTED, "parameters": parameters}))


def test_what_a_theory_requires_is_declared():
    with pytest.raises(protocol.ProtocolError, match="parameters: got no length, expected what o2 requires"):
        protocol.declaration(protocol.encoded({**STARTED, "parameters": {"beta": 1.0}}))


def test_a_line_has_a_largest_length(monkeypatch):
    line = protocol.encoded({"type": "stop"})
    monkeypatch.setattr(protocol, "LONGEST_LINE", len(line))
    assert protocol.decoded(line) == {"type": "stop"}
    assert protocol.encoded({"type": "stop"}) == line
    with pytest.raises(protocol.ProtocolError, match="got a line of more than"):
        protocol.decoded(line + b" ")
    with pytest.raises(ValueError, match=f"message: got {len(line) + 1} bytes"):
        protocol.encoded({"type": "stops"})


def test_a_run_folder_may_end_with_a_slash():
    assert protocol.inside("/run/f/", "/run/f/1.x.npy") == "1.x.npy"


def test_arguments_have_the_order_of_the_contract():
    """Both sides here go by one table: an exchange in it is seen by programs in other languages only."""
    orders = {
        "forward": ((("x", "v"),), (("x_proposed", "v_proposed"), "logdet")),
        "inverse": ((("x", "v"),), (("x_proposed", "v_proposed"), "logdet")),
        "map_with_weights": (("params", "architecture", ("x", "v"), "d"), (("x_proposed", "v_proposed"), "logdet")),
        "flow_with_weights": (("params", "architecture", "z", "d"), ("image", "logdet")),
        "conditional_with_weights": (("params", "architecture", "x", "chi", "d"), ("image", "logdet")),
        "wilson_loop": (("x", "extent_t", "extent_x"), "wilson_loop"),
        "transition": (("x", "v", "u"), None),
        "run": (("x", "n", "seed"), ("configurations", "state_next")),
        "resume": (("state", "n"), ("configurations", "state_next")),
        "determinant_estimate": (("x", "n", "seed"), "determinant_estimate"),
        "pseudomarginal": (("x", "log_w", "seed"), None),
        "joint_sample": (("n", "seed"), ("x", "phi", "log_prob")),
    }
    for name, (takes, gives) in orders.items():
        assert (OPERATIONS[name].takes, OPERATIONS[name].gives) == (takes, gives), name
