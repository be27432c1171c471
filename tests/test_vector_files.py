"""Vector files of strangers: thousands of malformed ones are refused in words, none is unpacked beyond its size, none unpickled."""

import io
import json
import os
import pickle
import random
import struct
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.validation import archives, vectors
from refimpl.validation.archives import VectorError, npy_array, npz_arrays
from refimpl.validation.vector_files import ChecksumError, content_of, read_file, read_vector, vector_of
from refimpl.validation.vector_format import array_named

REFUSED = (VectorError, ChecksumError)


def real(name="o2/hot-8"):
    path = vectors.VECTORS / name
    return path.with_suffix(".json").read_bytes(), path.with_suffix(".npz").read_bytes()


TEXT, ARCHIVE = real()
TOLD = json.loads(TEXT)


def npy(array, **more):
    stream = io.BytesIO()
    np.save(stream, array, **more)
    return stream.getvalue()


def header(text, data=b"", version=(1, 0)):
    text = text.encode("latin1") if isinstance(text, str) else text
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def unpickled(monkeypatch):
    """No test of this file may unpickle anything."""

    def never(*_, **__):
        raise AssertionError("a pickle was loaded")

    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, never)
    monkeypatch.setattr(np.lib.format, "read_array", never)


def mutated(rng, content):
    """One to four wounds: bits, bytes, stretches cut out or doubled, a number set to the extreme, the end cut off."""
    out = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(out)), rng.choice([1, 1, 2, 4, 8, 30])
        kind = rng.randrange(6)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = bytes(rng.randrange(256) for _ in range(length))
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at : at + length] = rng.choice([b"\xff", b"\x00", b"9", b"[", b'"']) * length
        else:
            del out[at:]
        out = out or bytearray(b"x")
    return bytes(out)


@pytest.mark.parametrize("seed", range(4))
def test_mutations_of_real_files_are_vectors_or_refused(seed):
    rng, refused = random.Random(seed), 0
    for k in range(1000):
        text, binary = (mutated(rng, TEXT), ARCHIVE) if k % 2 else (TEXT, mutated(rng, ARCHIVE))
        try:
            vector = vector_of("here", "name", text, binary)
        except REFUSED as error:
            refused += 1
            str(error).encode()  # can be printed
        else:
            assert isinstance(vector.x, np.ndarray)
    assert refused > 700  # the others hit a comment, a date or a number that nobody checks


def test_mutations_of_the_header_of_an_array_are_arrays_or_refused():
    rng, content = random.Random(5), npy(np.arange(6.0).reshape(2, 3))
    refused = 0
    for _ in range(1500):
        head = mutated(rng, content[:128])
        try:
            assert npy_array("here", head + content[128:]).dtype.kind in "biufc"
        except REFUSED:
            refused += 1
    assert refused > 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80)
@given(st.sampled_from(sorted(TOLD)), JSON)
def test_any_value_of_any_key_is_taken_or_refused(key, value):
    text = json.dumps({**TOLD, key: value}).encode()
    try:
        vector_of("here", "name", text, ARCHIVE)
    except REFUSED as error:
        str(error).encode()


@settings(max_examples=80)
@given(st.sampled_from(sorted({k for entry in TOLD["calls"] for k in entry} | {"angles", "keeps"})), JSON)
def test_any_value_in_a_call_is_taken_or_refused(key, value):
    text = json.dumps({**TOLD, "calls": [{**TOLD["calls"][0], key: value}]}).encode()
    try:
        vector_of("here", "name", text, ARCHIVE)
    except REFUSED as error:
        str(error).encode()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "JSON"),
        (b"[]", "expected a JSON object"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "no number"),
        (b'{"a": 1e999}', "beyond float64"),
        (b'{"a": 1' + b"0" * 60 + b"}", "beyond 128 bits"),
        (b'{"a": 1' + b"0" * 6000 + b"}", "ValueError"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": "\\ud800"}', "surrogates"),
        (b'{"a": ' + b"[" * 100_000, "JSON"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "nested deeper"),
        (b'{"a": "' + b"x" * (4 << 20) + b'"}', "bytes"),
    ],
)
def test_what_is_no_description_is_refused(text, told):
    with pytest.raises(VectorError, match=told):
        vector_of("here", "name", text, ARCHIVE)


KEEPING = {"function": "force", "arguments": ["x"], "returns": "force", "tolerance": 0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [0]}, "shape"),
        ({"shape": [True]}, "shape"),
        ({"shape": "8"}, "shape"),
        ({"flags": [1]}, "flags"),
        ({"expected": "maybe"}, "expected: got 'maybe'"),
        ({"parameters": []}, "parameters"),
        ({"calls": {}}, "calls"),
        ({"calls": [{"function": "force", "operation": "negative", "arguments": []}]}, "a function or an operation"),
        ({"calls": [{"function": "os.system", "arguments": []}]}, "name of a function"),
        ({"calls": [{"function": "force", "arguments": ["y"]}]}, "names of arrays"),
        ({"calls": [{"function": "force", "arguments": [{"x": 1}]}]}, "value"),
        ({"calls": [{"function": "force", "arguments": ["x"], "returns": "force"}]}, "tolerance"),
        ({"calls": [{"function": "force", "arguments": ["x"], "returns": "force", "tolerance": -1}]}, "tolerance"),
        ({"calls": [{"function": "force", "arguments": ["x"], "returns": 3, "tolerance": 1}]}, "returns"),
        ({"calls": [KEEPING | {"keeps": "x"}]}, r"keeps: got \['x'\], expected names of no array"),
        ({"calls": [KEEPING | {"keeps": "force"}]}, r"keeps: got \['force'\]"),
        ({"calls": [KEEPING | {"keeps": "y"}, KEEPING | {"keeps": "y", "returns": "y"}]}, r"keeps: got \['y'\]"),
        ({"arrays": {"x": {}}}, "arrays: got"),
    ],
)
def test_what_makes_no_sense_is_refused(change, told):
    with pytest.raises(VectorError, match=told):
        vector_of("here", "name", json.dumps({**TOLD, **change}).encode(), ARCHIVE)


def test_a_vector_has_a_field():
    arrays = {"force": np.zeros((1, 8))}
    with pytest.raises(VectorError, match="got no array x, expected the field x"):
        vector_of("here", "name", json.dumps({**TOLD, "arrays": {}}).encode(), content_of({}, arrays)[".npz"])


def test_an_archive_of_more_bytes_than_a_vector_may_have_is_not_opened(monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", len(ARCHIVE))
    assert "x" in npz_arrays("here", ARCHIVE)
    with pytest.raises(VectorError, match=f"got {len(ARCHIVE) + 1} bytes, expected at most {len(ARCHIVE)}"):
        npz_arrays("here", ARCHIVE + b"x")


def test_columns_are_those_that_there_are():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(2)}
    np.testing.assert_array_equal(array_named(arrays, "a:2"), [2, 5])
    for name in ("a:3", "a:-1", "a:", "b:0"):
        with pytest.raises(VectorError, match="expected a column of an array of shape"):
            array_named(arrays, name)


def test_a_vector_with_other_arrays_is_another_one():
    one = vector_of("here", "name", TEXT, ARCHIVE)
    more = replace(one, expected={**one.expected, "more": np.zeros(1)})
    assert one.regenerated_by(one)
    assert not one.regenerated_by(more)
    assert not more.regenerated_by(one)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "v.json")
    found = []
    thread = threading.Thread(target=lambda: found.append(read_file(tmp_path / "v.json")), daemon=True)
    thread.start()
    thread.join(20)
    assert found == [b""]


def test_an_array_has_the_checksum_that_the_description_says():
    other = npz_arrays("here", ARCHIVE)
    other["force"][0, 0] = np.nextafter(other["force"][0, 0], 9)
    told = json.dumps(TOLD).encode()
    with pytest.raises(ChecksumError, match="force"):
        vector_of("here", "name", told, content_of({}, other)[".npz"])
    assert (
        vector_of("here", "name", told, ARCHIVE).about["arrays"]["force"]["sha256"] == TOLD["arrays"]["force"]["sha256"]
    )


OBJECTS = header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04K\x01.")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ".npy format"),
        (b"\x80\x04K\x01.", ".npy format"),
        (OBJECTS, "dtype object"),
        (npy(np.zeros(1, np.longdouble)), "dtype float128"),
        (npy(np.zeros(2, [("a", "f8"), ("b", "i4")])), "dtype"),
        (npy(np.array(["text"])), "dtype"),
        (npy(np.zeros(1, "M8[s]")), "dtype"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b"\0" * 8), "8 bytes of data"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 16), "16 bytes of data"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }", b"\0" * 8), "bytes of data"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (9" + "9" * 40 + ",), }"), "bytes of data"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 40 + "), }", b"\0" * 8), "40 axes"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }", b"\0" * 8), "bytes of data"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1L,), }", b"\0" * 8), "UserWarning"),
        (header("__import__('os').system('true')"), ".npy format"),
        (header("(" * 5000), ".npy format"),
        (header(b"\xff\xfe"), ".npy format"),
        (header("{}", version=(3, 0)), "version 3.0"),
        (header("{}", version=(9, 9)), ".npy format"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(content, told):
    with pytest.raises(VectorError, match=told):
        npy_array("here", content)


@pytest.mark.parametrize(
    "name", ["../x.npy", "/x.npy", "a/../x.npy", "x\\y.npy", "x", ".npy", "x.npy/", "a//b.npy", "é.npy"]
)
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(VectorError, match="member"):
        npz_arrays("here", archive(**{name: npy(np.zeros(1))}))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", bytes(archives.LARGEST + 1))
    assert len(stream.getvalue()) < 100_000
    many = archive(**{f"x{k}.npy": b"" for k in range(4097)})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(VectorError, match="at most 67108864"):
        npz_arrays("here", stream.getvalue())
    with pytest.raises(VectorError, match="4097 arrays"):
        npz_arrays("here", many)


def test_a_bomb_that_lies_about_its_size_is_cut_off():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", bytes(1 << 20))
    content = bytearray(stream.getvalue())
    for signature, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", content, content.index(signature) + at, 100)
    with pytest.raises(VectorError):
        npz_arrays("here", bytes(content))


def test_two_members_of_one_name_and_encrypted_ones_are_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x.npy", npy(np.zeros(1)))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", npy(np.ones(1)))
    with pytest.raises(VectorError, match="once"):
        npz_arrays("here", stream.getvalue())
    content = bytearray(archive(**{"x.npy": npy(np.zeros(1))}))
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + at] |= 1
    with pytest.raises(VectorError, match="encrypted"):
        npz_arrays("here", bytes(content))


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(1j)]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_of_any_order_are_read(array, order):
    got = npy_array("here", npy(array.astype(array.dtype.newbyteorder(order))))
    assert np.array_equal(got, array)
    assert got.flags.c_contiguous
    assert got.flags.writeable
    assert got.dtype.isnative
    again = npz_arrays("here", archive(**{"a/b.npy": npy(array, allow_pickle=False)}))
    assert list(again) == ["a/b"]


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path):
    with pytest.raises(VectorError, match="No such file"):
        read_vector(tmp_path / "none.json")
    with pytest.raises(ChecksumError, match="No such file"):
        read_vector(tmp_path / "none.json", {})
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(VectorError, match="Is a directory"):
        read_vector(tmp_path / "folder.json")
    with open(tmp_path / "long.json", "wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(VectorError, match="more than"):
        read_vector(tmp_path / "long.json")
