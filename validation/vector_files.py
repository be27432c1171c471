"""One vector on disk: ``NAME.json``, what it is, beside ``NAME.npz``, the field ``x`` and the expected arrays.

Both may come from anybody: what is no vector is refused with a `VectorError`, and nothing of it is unpacked before its size and
names are known. What the ``.json`` says is defined in `refimpl.validation.vector_format`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.files import whole_file

from .archives import LARGEST, VectorError, npz_arrays
from .vector_format import LARGEST_TEXT, check_calls, check_description, json_object

__all__ = ["ChecksumError", "Vector", "VectorError", "content_of", "read_vector", "vector_of", "write_vector"]

Array = NDArray[np.float64]


class ChecksumError(Exception):
    """A vector file is missing, or is not the one the manifest describes."""


@dataclass(frozen=True)
class Vector:
    """One golden vector: the field ``x`` and the expected arrays; ``about`` is its whole description."""

    name: str
    shape: tuple[int, ...]
    flags: tuple[str, ...]
    comment: str
    about: dict[str, Any]
    x: Array
    expected: dict[str, Array]

    def regenerated_by(self, other: Vector) -> bool:
        """Whether another vector says the same: the same bits, or to 1e-13 where the precision depends on the machine.

        Versions of Python and NumPy, and with them the checksums of arrays that are only close, may differ.
        """
        extended = "longdouble" in self.about["derivation"]
        loose = {"provenance", "arrays", *(["sha256"] if extended else [])}
        mine, others = ({k: v for k, v in each.about.items() if k not in loose} for each in (self, other))
        if mine != others or set(self.expected) != set(other.expected):
            return False
        pairs = [(self.x, other.x), *((value, other.expected[key]) for key, value in self.expected.items())]
        return all(_same(a, b, extended) for a, b in pairs)


def _same(a: NDArray[Any], b: NDArray[Any], extended: bool) -> bool:
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    return np.allclose(a, b, rtol=0, atol=1e-13) if extended else np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def read_vector(
    path: Path, checksums: Mapping[str, str] | None = None, calls: Mapping[str, Any] | None = None
) -> Vector:
    """The vector of which this is the ``.json``; raises `VectorError` where it is none, `ChecksumError` where it is another.

    Parameters
    ----------
    checksums : sha256 of files by name, from a manifest; a missing file is a `ChecksumError` then, else a `VectorError`.
    calls : what the suite's ``calls.json`` says of the vector: ``calls`` and ``parameters`` of vectors of format 1.
    """
    contents = {}
    for suffix, largest in ((".json", LARGEST_TEXT), (".npz", LARGEST)):
        file = path.with_suffix(suffix)
        contents[suffix] = read_file(file, largest, ChecksumError if checksums is not None else VectorError)
        if checksums is not None and _sha256(contents[suffix]) != checksums.get(file.name):
            raise ChecksumError(f"{file}: the checksum is not that of manifest.json")
    return vector_of(str(path), path.stem, contents[".json"], contents[".npz"], calls)


def vector_of(where: str, name: str, text: bytes, archive: bytes, calls: Mapping[str, Any] | None = None) -> Vector:
    """The vector of these bytes, called ``where`` in errors; raises as `read_vector` does."""
    about = json_object(where, text)
    arrays = npz_arrays(where.removesuffix(".json") + ".npz", archive)
    check_description(where, about, arrays)
    _check_arrays(where, about.get("arrays", {}), arrays)
    if calls:
        check_calls(where, calls.get("calls"), set(arrays))
        about = {**about, **calls}
    expected = {key: value for key, value in arrays.items() if key != "x"}
    return Vector(name, tuple(about["shape"]), tuple(about["flags"]), about["comment"], about, arrays["x"], expected)


def _check_arrays(where: str, told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Every array is the one of which the ``.json`` has the checksum, where it has any."""
    if told and set(told) != set(arrays):
        raise VectorError(f"{where}: arrays: got {sorted(told)}, expected those of the archive, {sorted(arrays)}")
    for name, record in told.items():
        if record != array_record(arrays[name]):
            raise ChecksumError(f"{where}: the array {name} is not the one that the .json describes")


def array_record(array: NDArray[Any]) -> dict[str, Any]:
    """What the ``.json`` says of an array: dtype, shape and sha256 of its data in C order, little endian."""
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": data.dtype.str, "shape": list(array.shape), "sha256": _sha256(data.tobytes())}


def content_of(about: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """The bytes of both files, by suffix. The same arrays give the same bytes."""
    arrays = {key: np.asarray(array) for key, array in arrays.items()}
    if "format" in about:
        about = {**about, "arrays": {key: array_record(array) for key, array in arrays.items()}}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # keyword arguments could be allow_pickle
    return {".json": (json.dumps(about, indent=1) + "\n").encode(), ".npz": _without_dates(buffer.getvalue())}


def write_vector(folder: Path, name: str, about: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Write both files, each whole or not at all, and return their checksums."""
    files = content_of(about, arrays)
    for suffix, content in files.items():
        with whole_file(folder / (name + suffix)) as file:
            file.write(content)
    return {name + suffix: _sha256(content) for suffix, content in files.items()}


def read_file(path: Path, largest: int = LARGEST, missing: type[Exception] = ChecksumError) -> bytes:
    """The content of a regular file of at most so many bytes; raises ``missing`` where there is none, `VectorError` beyond."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise missing(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > largest:
        raise VectorError(f"{path}: got more than {largest} bytes, expected at most those")
    return content


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that nobody writes to has nothing in it, instead of being waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _without_dates(archive: bytes) -> bytes:
    """The zip archive with a fixed date on every member, so that the same arrays give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), old.read(name))
    return out.getvalue()
