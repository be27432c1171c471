"""Arrays in the bytes of ``.npy`` and ``.npz`` files of strangers: sizes are checked before unpacking, no pickle is read."""

from __future__ import annotations

import io
import math
import re
import tokenize
import warnings
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 64 << 20  # bytes of all arrays of a file
MOST = 4096  # arrays in a file
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
# What zipfile, zlib and the header's parser raise for bytes that are no such file.
_FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    OSError,
    OverflowError,
    RecursionError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    Warning,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


class VectorError(ValueError):
    """What should be a vector, or an array of one, is none; the message says where, what was got and what was expected."""


def npy_array(name: str, content: bytes) -> NDArray[Any]:
    """The array in the bytes of a ``.npy`` file, of numbers or bools, in native byte order; raises `VectorError`."""
    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of headers that are read leniently
            shape, fortran, dtype = _header(stream)
    except _FAULTS as error:
        raise VectorError(f"{name}: got {_told(error)}, expected an array in the .npy format") from error
    data = memoryview(content)[stream.tell() :]
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise VectorError(f"{name}: got dtype {str(dtype)[:60]}, expected bools, integers, float64 or complex128")
    if not all(type(extent) is int and extent >= 0 for extent in shape) or math.prod(shape) * dtype.itemsize != len(
        data
    ):
        raise VectorError(
            f"{name}: got {len(data)} bytes of data, expected those of shape {str(shape)[:80]} and {dtype}"
        )
    if len(shape) > 32:
        raise VectorError(f"{name}: got {len(shape)} axes, expected at most 32")
    flat = np.frombuffer(data, dtype)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), order="C", copy=True)


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]}")
    shape, fortran, dtype = readers[version](stream)  # NumPy refuses headers of more than 10,000 bytes
    return shape, fortran, dtype


def npz_arrays(name: str, content: bytes) -> dict[str, NDArray[Any]]:
    """All arrays in the bytes of a ``.npz`` file; raises `VectorError`."""
    if len(content) > LARGEST:
        raise VectorError(f"{name}: got {len(content)} bytes, expected at most {LARGEST}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(name, members)
            contents = {info.filename: _content(archive, info) for info in members}
    except VectorError:
        raise
    except (*_FAULTS, NotImplementedError) as error:  # the latter of zipfile, for kinds of compression it has not
        raise VectorError(f"{name}: got {_told(error)}, expected a .npz archive") from error
    return {key.removesuffix(".npy"): npy_array(f"{name}: {key}", data) for key, data in contents.items()}


def _check_members(name: str, members: list[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in members]
    if len(names) > MOST:
        raise VectorError(f"{name}: got {len(names)} arrays, expected at most {MOST}")
    for each in names:
        if not each.endswith(".npy") or not NAME.fullmatch(each.removesuffix(".npy")):
            raise VectorError(
                f"{name}: got a member {each[:80]!r}, expected NAME.npy of letters, digits, points, _, +, -, with / between"
            )
    if len(set(names)) < len(names):
        raise VectorError(f"{name}: got two members of one name, expected every name once")
    if (size := sum(info.file_size for info in members)) > LARGEST:
        raise VectorError(f"{name}: got {size} bytes of arrays, expected at most {LARGEST}")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """No more than the size that was declared, and checked: zipfile compares the checksum when it has read as much."""
    with archive.open(info) as file:
        return file.read(info.file_size)


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split()).encode("ascii", "replace").decode()
    return f"{type(error).__name__} ({text[:120]})" if text else type(error).__name__
