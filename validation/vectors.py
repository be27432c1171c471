"""Golden vectors: fields with answers found without the package, kept in ``data/vectors/v1/<suite>/``.

One vector is a ``.json`` (what it is, how it was derived, flags, tolerance, calls) and a ``.npz`` (``x`` and the expected arrays).
A suite's ``manifest.json`` holds a sha256 per file, the one of all suites a sha256 per manifest; reading verifies them. Suites are
append-only: writing adds what is missing, and refuses to change what is there. Vectors of the first suites do not say what to
call; their ``calls.json`` does.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from refimpl.files import whole_file

from . import first_calls
from .archives import NAME
from .vector_files import (
    ChecksumError,
    Vector,
    VectorError,
    content_of,
    read_file,
    read_vector,
    vector_of,
    write_vector,
)
from .vector_format import FLAGS, json_object

__all__ = [
    "FLAGS",
    "SUITES",
    "VECTORS",
    "ChecksumError",
    "Vector",
    "VectorError",
    "read_suite",
    "read_vector",
    "regenerated",
    "summary",
    "write_suites",
    "write_vector",
]

VECTORS = Path(__file__).resolve().parent.parent / "data" / "vectors" / "v1"
# Modules of this package whose ``vectors()`` makes the suite; imported only to make it.
SUITES = {
    "u1": "suites.u1",
    "l2hmc": "suites.weight",
    "fermions": "suites.fermion",
    "phi4": "suites.scalar",
    "flows": "suites.flow",
    "conditionals": "suites.joint",
    "o2": "field_vectors.o2",
    "gaussian": "field_vectors.normal",
    "gmm": "field_vectors.gmm",
    "phi4_couplings": "field_vectors.phi4_couplings",
    "u1_loops": "field_vectors.u1_loops",
    "topology": "field_vectors.topology",
    "sun": "field_vectors.sun",
    "statistics": "field_vectors.series",
    "leapfrog": "field_vectors.leapfrog",
    "updates": "field_vectors.updates",
    "omelyan": "field_vectors.omelyan",
    "schwinger": "field_vectors.schwinger",
    "exact": "exact_vectors",
    "exact_lattices": "suites.lattice",
    "maps": "suites.map",
    "estimators": "suites.estimator",
    "gaussian_models": "suites.conditional",
    "dirac": "suites.dirac",
    "determinants": "suites.noise",
    "variates": "suites.variate",
    "u1_variates": "suites.u1_variate",
    "net_variates": "suites.net",
    "layers": "suites.layer",
    "ptcn": "suites.ptcn",
    "moves": "suites.move",
    "orbits": "suites.orbit",
    "nested": "suites.nested",
    "readings": "suites.reading",
    "summaries": "suites.summary",
}
_MANIFEST, _CALLS = "manifest.json", "calls.json"


@cache
def read_suite(suite: str, root: Path = VECTORS) -> tuple[Vector, ...]:
    """The vectors of a suite, all checksums verified; raises `ChecksumError`."""
    path = root / suite / _MANIFEST
    _verify(path, read_file(path), summary(root)["suites"].get(suite, {}).get("sha256"))
    return _vectors(root / suite)


def read(path: Path) -> Vector:
    """The vector of a ``.json``: with the checksums and calls of its suite, where it stands in one; raises as `read_vector`."""
    if (path.parent / _MANIFEST).is_file() and path.stem in _manifest(path.parent)[0]:
        return next(vector for vector in _vectors(path.parent) if vector.name == path.stem)
    return read_vector(path)


def _vectors(folder: Path) -> tuple[Vector, ...]:
    names, sums = _manifest(folder)
    calls: dict[str, Any] = {}
    if _CALLS in sums:
        _verify(folder / _CALLS, read_file(folder / _CALLS), sums[_CALLS])
        calls = _read_json(folder / _CALLS)
    try:
        return tuple(read_vector(folder / (name + ".json"), sums, calls.get(name)) for name in names)
    except VectorError as error:  # the file that the manifest describes, but no vector
        raise ChecksumError(str(error)) from error


def summary(root: Path = VECTORS) -> dict[str, Any]:
    """What the manifest of all suites says: ``suites``, each with ``vectors``, ``bytes`` and ``sha256``, and the totals."""
    path = root / _MANIFEST
    told = _read_json(path)
    suites = told.get("suites")
    if not isinstance(suites, dict) or not all(isinstance(entry, dict) for entry in suites.values()):
        raise ChecksumError(f"{path}: not a manifest")
    return told


def _manifest(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Names of vectors, and checksums of files."""
    path = folder / _MANIFEST
    told = _read_json(path)
    names, sums = told.get("vectors"), told.get("sha256")
    if not isinstance(names, list) or not isinstance(sums, dict):
        raise ChecksumError(f"{path}: not a manifest")
    if not all(isinstance(name, str) and NAME.fullmatch(name) and "/" not in name for name in names):
        raise ChecksumError(f"{path}: got {ascii(names)[:80]}, expected names of vectors")
    return names, sums


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json_object(str(path), read_file(path))
    except VectorError as error:
        raise ChecksumError(f"{path}: not a manifest: {error}") from error


def _verify(path: Path, content: bytes, checksum: Any) -> None:
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ChecksumError(f"{path}: the checksum is not that of the manifest")


def generated(suite: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, description and arrays of every vector of a suite, computed anew."""
    yield from importlib.import_module(f".{SUITES[suite]}", __package__).vectors()


def regenerated(suite: str) -> Iterator[Vector]:
    """The vectors of a suite, computed anew."""
    for name, about, arrays in generated(suite):
        yield _vector(suite, name, about, arrays, first_calls.of(suite, about, arrays))


def _vector(
    suite: str, name: str, about: dict[str, Any], arrays: dict[str, Any], calls: dict[str, Any] | None = None
) -> Vector:
    files = content_of(about, arrays)
    return vector_of(f"{suite}/{name}", name, files[".json"], files[".npz"], calls)


def write_suites(root: Path = VECTORS, suites: Iterable[str] = tuple(SUITES)) -> list[str]:
    """Write what is missing of these suites, and the manifests; return the ids of the vectors that are new.

    The same seeds give the same vectors. Raises `VectorError` where one that is there would be another.
    """
    new = [f"{suite}/{name}" for suite in suites for name in _written(root / suite, suite)]
    _write_summary(root)
    read_suite.cache_clear()
    return new


def _written(folder: Path, suite: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    old, sums = _manifest(folder) if (folder / _MANIFEST).exists() else ([], {})
    sums.pop(_CALLS, None)  # it may change: a vector's own files may not
    new, calls = [], {}
    for name, about, arrays in generated(suite):
        if more := first_calls.of(suite, about, arrays):
            calls[name] = more
        if name not in old:
            sums |= write_vector(folder, name, about, arrays)
            new.append(name)
        elif not read_vector(folder / (name + ".json"), sums).regenerated_by(_vector(suite, name, about, arrays)):
            raise VectorError(f"{folder / name}: got another vector of this name; suites are append-only")
    if calls:
        sums[_CALLS] = _write_json(folder / _CALLS, calls)
    told = {"suite": suite, "format": 1, "generator": "refimpl vectors write", "vectors": [*old, *new], "sha256": sums}
    _write_json(folder / _MANIFEST, told)
    return new


def _write_summary(root: Path) -> None:
    suites = {}
    for folder in sorted(path.parent for path in root.glob(f"*/{_MANIFEST}")):
        manifest = _read_json(folder / _MANIFEST)
        files = [folder / name for name in (_MANIFEST, *manifest["sha256"])]
        suites[folder.name] = {
            "vectors": len(manifest["vectors"]),
            "bytes": sum(file.stat().st_size for file in files),
            "sha256": hashlib.sha256(files[0].read_bytes()).hexdigest(),
        }
    totals = {key: sum(entry[key] for entry in suites.values()) for key in ("vectors", "bytes")}
    _write_json(root / _MANIFEST, {"format": 1, **totals, "suites": suites})


def _write_json(path: Path, value: Any) -> str:
    content = (json.dumps(value, indent=1) + "\n").encode()
    with whole_file(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()
