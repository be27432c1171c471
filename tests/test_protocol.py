"""The protocol as its definition, its schema and its table say it, and what 14,000 malformed lines and files do to it: nothing."""

import io
import json
import os
import pickle
import random
import re
import shlex
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.validation import protocol
from refimpl.validation.contract import CAPABILITIES, Subject, TargetError
from refimpl.validation.conversion import Declined
from refimpl.validation.operations import OPERATIONS, arguments, flattened, named_results, operation, returned
from refimpl.validation.remote import Processes, RemoteFactory, plain_parameters
from refimpl.validation.run_folder import FileFault, RunFolder, array_in
from refimpl.validation.serving import Server, serve
from refimpl.validation.theories import THEORIES
from refimpl.validation.transcripts import played, recorded

from .targets import loops

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "validation" / "PROTOCOL.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "validation" / "protocol.schema.json").read_text(encoding="utf-8"))
SERVE = f"{shlex.quote(sys.executable)} -m refimpl harness serve"


# --- the definition, the schema and the table of ops agree -----------------------------------------------------------------------
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


# --- a whole session ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """All lines of a session with a target of every op of u1, in process."""
    folder = RunFolder(tmp_path_factory.mktemp("session"))
    server, lines = Server(loops.target), []

    def ask(message):
        line = protocol.encoded(message)
        answer = server.answer(line) or {"status": "ok"}
        lines.append((json.loads(line), json.loads(protocol.encoded(answer))))
        return answer

    ask(protocol.start_message(folder.path, {"beta": 1.5, "shape": [2, 2]}))
    x = np.random.default_rng(1).standard_normal((3, 2, 2, 2))
    values = {"x": x, "v": x[::-1], "u": np.array([0.1, 0.5, 0.9]), "series": x.ravel()}
    for k, name in enumerate(server._target.__class__.__dict__):
        if name in OPERATIONS:
            op = OPERATIONS[name]
            if name == "resume":
                values["state"] = folder.read(f"{k - 1}.state_next")
            sent = {part: folder.write(f"{k}.{part}.npy", values[part]) for part in op.arrays}
            out = {part: folder.where(f"{k}.{part}" + ("" if part == "state_next" else ".npy")) for part in op.results}
            ask(protocol.run_message(k, name, dict.fromkeys(op.params, 1), sent, out, 60.0))
    ask({"type": "run", "id": 99, "op": "dance", "params": {}, "in": {}, "out": {}, "deadline": 1.0})
    ask({"type": "stop"})
    return lines


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


def test_a_served_target_answers_as_it_does_in_process():
    factory = RemoteFactory(Processes(f"{SERVE} tests.targets.loops:target"))
    there = Subject(factory, parameters={"beta": 1.5, "shape": (2, 4), "step_size": 0.2, "n_steps": 3})
    here = Subject(loops.target(1.5, (2, 4), 0.2, 3))
    assert there.capabilities == here.capabilities
    rng = np.random.default_rng(2)
    x, v, u = rng.standard_normal((3, 2, 2, 4)), rng.standard_normal((3, 2, 2, 4)), rng.random(3)
    calls = {
        "force": (x,), "wilson_loop": (x, 1, 2), "forward": ((x, v),), "transition": (x, v, u), "transcript": (x, 3),
        "step": (x, 4), "integrated_autocorrelation_time": (x.ravel(),), "charge": (x,),
    }  # fmt: skip
    for name, given in calls.items():
        np.testing.assert_equal(getattr(there, name)(*given), getattr(here, name)(*given))
    (first, state), (whole, _) = there.run(x, 2, 5), here.run(x, 5, 5)
    second, _ = there.resume(state, 3, x)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    assert there.parameter("step_size") == 0.2
    factory.source.close()


def test_smoke_says_what_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr("refimpl.validation.smoke.GRACE", 5.0)
    misbehaving = shlex.join([sys.executable, "-I", "-S", str(ROOT / "tests" / "targets" / "misbehaving.py"), "nan"])
    assert main(["harness", "smoke", misbehaving]) == 1
    out = capsys.readouterr().out
    assert "FAIL  action                            zero field: action: got 3 NaN" in out
    assert "FAIL  refuses no JSON" in out
    assert "ok    stop" in out
    assert main(["harness", "smoke", misbehaving[:-3] + "dies-at-start"]) == 3


def test_smoke_of_a_program_that_does_all_as_it_should(capsys):
    assert (
        main(["harness", "smoke", f"{shlex.quote(sys.executable)} {ROOT / 'validation' / 'templates' / 'harness.py'}"])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("all is well")


class Small:
    """A target with little to do."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def action(self, x):
        if x.shape[1:] != (2, 2, 2):
            raise ValueError(f"x: got shape {x.shape}")
        print("what a target prints is no answer")
        return np.zeros(len(x))


@pytest.mark.parametrize("language", ["cpp", "julia", "python"])
def test_templates_are_printed_and_written(language, capsys, tmp_path):
    assert main(["harness", "template", language]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "harness"
    assert main(["harness", "template", language, "--out", str(path)]) == 0
    assert path.read_text() == text
    assert main(["harness", "template", language, "--out", str(path)]) == 2


# --- arguments and results ------------------------------------------------------------------------------------------------------
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


# --- malformed input ------------------------------------------------------------------------------------------------------------
TOKENS = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1", b"9" * 5000, b"0", b"1.5", b"null", b"true", b'""', b"[]", b"{}",
    b"[" * 20_000, b'{"a":' * 3000, b'"\\ud800"', b'"\\u0000"', b'"\\u001b[31m"', b"\xff", b"\x00", b"\n", b'{"a":1,"a":2}',
    b'"/etc/passwd"', b'"../x.npy"', b'"\xf0\x9f\x98\x80"', b"18446744073709551616", b'["x"]', b'{"x":1}',
]  # fmt: skip


def mutated(rng, line):
    """The line with one to three things done to it: bytes, pieces or whole values exchanged, lost, doubled."""
    line = bytearray(line)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(line) + 1)
        to = min(len(line), at + rng.choice((1, 2, 5, 40)))
        kind = rng.randrange(6)
        if kind == 0 and at < len(line):
            line[at] = rng.randrange(256)
        elif kind == 1:
            del line[at:to]
        elif kind == 2:
            line[at:at] = line[at:to]
        elif kind == 3:
            del line[at:]
        elif kind == 4:
            line[at:at] = rng.choice(TOKENS)
        elif values := list(
            re.finditer(rb'(?<=[:,\[])("[^"]{0,60}"|[0-9.]{1,9}|\[[^\]]{0,60}\]|\{[^}]{0,60}\})', line)
        ):
            found = rng.choice(values)
            line[found.start() : found.end()] = rng.choice(TOKENS)
    return bytes(line)


def test_malformed_answers_are_refused_or_understood(session):
    rng = random.Random(1)
    start, others = session[0][1], [protocol.encoded(answer) for _, answer in session[1:]]
    others += [b'{"status":"skipped","id":1,"reason":"r"}', b'{"status":"errored","id":1,"message":"m"}']
    start = protocol.encoded({**start, "attributes": {"order": 2, "flow_period": [1, 2], "flow_symmetries": ["gauge"]}})
    refused = []
    for k in range(5000):
        try:
            if k % 2:
                found = protocol.declaration(mutated(rng, start))
                assert found.theory in THEORIES
                assert set(found.ops) <= set(OPERATIONS)
                found.title.encode("utf-8")
            else:
                assert protocol.answer(mutated(rng, rng.choice(others)), 1).text.isprintable()
        except (protocol.ProtocolError, protocol.Refused) as error:
            refused.append(str(error))
    assert max(map(len, refused)) < 2000
    "".join(refused).encode("utf-8")
    assert 2500 < len(refused) < 5000


class Patient:
    """A target whose functions take any arrays."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def action(self, x):
        return np.zeros(np.shape(x)[:1])

    def forward(self, z):
        return z, np.zeros(np.shape(z[0])[:1])

    def run(self, x, n, seed):
        return np.zeros((2, *np.shape(x))), object()

    def resume(self, state, n):
        return np.zeros(3), state


def test_malformed_requests_are_answered(tmp_path, monkeypatch, capsys):
    """5,000 lines for a server in a folder of its own; around it nothing appears, and nothing is lost."""
    rng = random.Random(2)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.npy").write_bytes(b"not for you")
    (inside / "link.npy").symlink_to(outside / "secret.npy")
    monkeypatch.chdir(outside)
    at = {name: f"{inside}/{name}.npy" for name in ("x", "v", "action", "link", "configurations", "state")}
    start = protocol.encoded(protocol.start_message(str(inside), {}))
    lines = [
        protocol.encoded(protocol.run_message(1, op, params, files, {name: at[name] for name in out}, 1.0))
        for op, params, files, out in (
            ("action", {}, {"x": at["x"]}, ["action"]),
            ("action", {}, {"x": at["link"]}, ["action"]),
            ("action", {}, {"x": at["x"]}, ["link"]),
            ("run", {"n": 2, "seed": 3}, {"x": at["x"]}, ["configurations"]),
        )
    ]
    lines += [start, b'{"type":"stop"}\n', *(line.replace(b"/inside/", b"/outside/") for line in lines)]
    server = Server(Patient())
    answers = []
    for k in range(5000):
        if k % 20 == 0:
            np.save(inside / "x.npy", np.zeros((3, 2, 2, 2)))
        if server._folder is None:
            server.answer(start)
        answer = server.answer(mutated(rng, rng.choice(lines)))
        answers.append("stop" if answer is None else answer["status"])
        assert len(protocol.encoded(answer or {})) < 10_000
        if rng.random() < 0.01:
            server = Server(Patient())
    assert set(answers) == {"ok", "errored", "stop"}
    assert sorted(os.listdir(tmp_path)) == ["inside", "outside"]
    assert os.listdir(outside) == ["secret.npy"]
    assert (outside / "secret.npy").read_bytes() == b"not for you"
    assert "Traceback" not in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil",))


def malformed_files():
    """Files that are almost arrays: mutations of good ones, and some made by hand."""
    rng = random.Random(3)
    good = []
    for array in (np.zeros((3, 2)), np.zeros((2, 2), order="F") + 1j, np.float32(1), np.zeros(0), np.ones(5, "i4")):
        buffer = io.BytesIO()
        np.save(buffer, array)
        good.append(buffer.getvalue())
    for _ in range(3000):
        content = bytearray(mutated(rng, rng.choice(good)) if rng.random() < 0.5 else rng.choice(good))
        for _ in range(rng.randint(0, 4)):
            if content:
                content[rng.randrange(min(len(content), 130))] = rng.choice(
                    b"0123456789()[]{}'-+,LO<>|:FTfVSeuc \n\xff\x00"
                )
        yield bytes(content)
    pickled = io.BytesIO()
    np.save(pickled, np.array([Evil()], dtype=object), allow_pickle=True)
    yield pickled.getvalue()
    yield pickle.dumps(Evil())
    for header in (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10**30,)}", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", "(" * 900, "-" * 900 + "1", "[" * 900 + "]" * 900,
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", "{'descr': '<f8', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 400 + ")}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999999999999)}", "__import__('os').mkdir('evil')",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1L,)}", "{'descr': '<m8[s]', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': 1, 'shape': (1,)}", "{}", "[]", "", "\x00", "{'shape': (1,)}", "{**a}", "{1: 2}" * 50,
    ):  # fmt: skip
        text = header.encode("latin1")
        yield b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
    yield b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b"{}"


def test_malformed_files_are_refused_or_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    total, refused = 0, []
    for content in malformed_files():
        total += 1
        try:
            array = array_in(content)
            assert array.dtype.kind in "biufc"
            assert array.nbytes < len(content) or array.size == 0
        except FileFault as fault:
            refused.append(str(fault))
    assert max(map(len, refused)) < 500
    assert total > 3000
    assert 1500 < len(refused) < total
    assert os.listdir(tmp_path) == []


def test_damaged_transcripts_are_refused_or_play(tmp_path):
    """300 archives with bytes of the messages or of the archive changed."""
    path, rng = tmp_path / "t.zip", random.Random(4)
    factory = RemoteFactory(_InProcess(Patient()))
    with recorded(factory, path, {"seed": 1}) as writing:
        at = Subject(writing)
        at.action(np.zeros((3, 2, 2, 2)))
        at.forward((np.zeros((3, 2, 2, 2)),) * 2)
    whole, refused = path.read_bytes(), []
    for _ in range(300):
        path.write_bytes(mutated(rng, whole))
        try:
            played(path).source.close()
        except TargetError as error:
            refused.append(str(error))
    assert all("transcript" in text for text in refused)
    assert len(refused) > 200


class _InProcess:
    """A source that answers by a server in this process."""

    def __init__(self, target):
        self.target = target

    def close(self):
        """Nothing was opened."""

    def declared(self, parameters, deadline):
        ops = [name for name in CAPABILITIES if hasattr(self.target, name)]
        about = {"name": "here", "theory": "u1", "parameters": {"beta": 2.0, "shape": [2, 2]}, "ops": ops}
        return protocol.declaration(protocol.encoded({"status": "ok", "protocol": 1, **about}))

    def results(self, parameters, op, asked, wanted, deadline):
        kind = operation(op)
        return {
            name: value if isinstance(value, bytes) else np.asarray(value)
            for name, value in named_results(kind, getattr(self.target, op)(*arguments(kind, *asked))).items()
        }


def test_serving_takes_lines_of_any_length(tmp_path):
    lines = b"x" * (3 << 20) + b"\n" + b'{"type":"stop"}\n' + b"never read\n"
    answers = io.BytesIO()
    serve(Small(), io.BytesIO(lines), answers)
    first, last = answers.getvalue().splitlines()
    assert json.loads(first)["status"] == "errored"
    assert json.loads(last) == {"status": "ok"}


def test_serving_ends_with_its_input():
    answers = io.BytesIO()
    serve(Small(), io.BytesIO(b'{"type":'), answers)
    assert json.loads(answers.getvalue())["status"] == "errored"


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("thrift", 8, 8),
        ("thrift", np.int64(4096), 4096),
        ("thrift", None, None),
        ("thrift", 0, "thrift: got 0, expected an integer from 1 to 4096"),
        ("thrift", 4097, "thrift: got 4097, expected"),
        ("reversible", "no", "reversible: got 'no', expected true or false"),
        ("improvement_ratio", float("nan"), "improvement_ratio: got nan, expected a finite number"),
    ],
)
def test_attributes_are_passed_on_or_refused(name, value, answer, tmp_path):
    target = Small()
    setattr(target, name, value)
    found = Server(target).answer(protocol.encoded(protocol.start_message(str(tmp_path), {})))
    if isinstance(answer, str):
        assert answer in found["message"]
    else:
        assert protocol.declaration(protocol.encoded(found)).attributes.get(name) == answer


def test_serving_passes_on_what_a_target_declines(tmp_path):
    class Shy(Small):
        def action(self, x):
            raise Declined("not on Mondays")

    server = Server(Shy())
    folder = RunFolder(tmp_path)
    server.answer(protocol.encoded(protocol.start_message(folder.path, {})))
    x = folder.write("x.npy", np.zeros((1, 2, 2, 2)))
    message = protocol.run_message(4, "action", {}, {"x": x}, {"action": folder.where("a.npy")}, 1.0)
    assert server.answer(protocol.encoded(message)) == {"status": "skipped", "id": 4, "reason": "not on Mondays"}


def test_numbers_come_back_with_their_bits(tmp_path):
    folder = RunFolder(tmp_path)
    rng = np.random.default_rng(5)
    for array in (
        rng.standard_normal((3, 2)),
        rng.standard_normal((2, 3, 4)).T,
        rng.standard_normal(3) + 1j,
        np.array(0.1),
    ):
        folder.write("a.npy", array)
        back = array_in(folder.read("a.npy"))
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype
    for array in (np.asfortranarray(rng.standard_normal((3, 2))), np.arange(4, dtype=">i4"), np.array([True, False])):
        np.save(Path(folder.path) / "b.npy", array)
        np.testing.assert_array_equal(array_in(folder.read("b.npy")), array)
    folder.close()


def test_parameters_are_what_json_has():
    assert plain_parameters({"shape": (2, 4), "beta": np.float64(1.5), "covariance": np.eye(2)}) == {
        "shape": [2, 4], "beta": 1.5, "covariance": [[1.0, 0.0], [0.0, 1.0]]
    }  # fmt: skip
