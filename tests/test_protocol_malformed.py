"""What 14,000 malformed lines and files do: nothing."""

import io
import os
import pickle
import random
import re

import numpy as np
import pytest

from refimpl.validation import protocol
from refimpl.validation.contract import Subject, TargetError
from refimpl.validation.operations import OPERATIONS
from refimpl.validation.remote import RemoteFactory
from refimpl.validation.run_folder import FileFault, array_in
from refimpl.validation.serving import Server
from refimpl.validation.theories import THEORIES
from refimpl.validation.transcripts import played, recorded

from .sessions import InProcess, Patient, session_lines

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


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return session_lines(tmp_path_factory.mktemp("session"))


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
    factory = RemoteFactory(InProcess(Patient()))
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
