"""One vector on disk: ``NAME.json``, what it is, beside ``NAME.npz``, the field ``x`` and the expected arrays."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.files import whole_file

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
        """Whether another vector says the same: the same bits, or to 1e-13 where the precision depends on the machine."""
        if self.about != other.about or set(self.expected) != set(other.expected):
            return False
        pairs = [(self.x, other.x), *((value, other.expected[key]) for key, value in self.expected.items())]
        exact = "longdouble" not in self.about["derivation"]
        return all(np.array_equal(a, b) if exact else np.allclose(a, b, rtol=0, atol=1e-13) for a, b in pairs)


def read_vector(path: Path, checksums: Mapping[str, str] | None = None) -> Vector:
    """The vector of which this is the ``.json``, checksums verified where a manifest has them; raises `ChecksumError`."""
    contents = {}
    for file in (path.with_suffix(".json"), path.with_suffix(".npz")):
        contents[file.suffix] = read_file(file)
        if checksums is not None and hashlib.sha256(contents[file.suffix]).hexdigest() != checksums.get(file.name):
            raise ChecksumError(f"{file}: the checksum is not that of manifest.json")
    about = json.loads(contents[".json"])
    with np.load(io.BytesIO(contents[".npz"]), allow_pickle=False) as arrays:
        expected = {key: arrays[key] for key in arrays.files if key != "x"}
        x = arrays["x"]
    return Vector(path.stem, tuple(about["shape"]), tuple(about["flags"]), about["comment"], about, x, expected)


def write_vector(folder: Path, name: str, about: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Write both files, each whole or not at all, and return their checksums. The same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # keyword arguments could be allow_pickle
    files = {".json": (json.dumps(about, indent=1) + "\n").encode(), ".npz": _without_dates(buffer.getvalue())}
    for suffix, content in files.items():
        with whole_file(folder / (name + suffix)) as file:
            file.write(content)
    return {name + suffix: hashlib.sha256(content).hexdigest() for suffix, content in files.items()}


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ChecksumError(f"{path}: {error.strerror}") from error


def _without_dates(archive: bytes) -> bytes:
    """The zip archive with a fixed date on every member, so that the same arrays give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), old.read(name))
    return out.getvalue()
