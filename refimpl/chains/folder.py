"""The run folder: everything about a run on disk, each file written whole or not at all, readable with NumPy alone.

::

    manifest.json                      what was run: see `Manifest`
    start.npz                          x: the fields the chains started from, (chain, ...)
    block-0000/index.json              how far the first block of chains is, and its files with their sha256
    block-0000/000001-002048.npz       steps 1 to 2048: one array (record, chain) per series, and under `fields`
                                       the saved fields (save, chain, ...)
    block-0000/state-002048.npz        where its chains are: x, action, force, and rngs (chain, 6) uint64, the PCG64
                                       states: state high, state low, increment high, increment low, has_uint32, uinteger

A block is a range of chains (``blocks`` in the manifest). Row i of a series is the state after step ``(i + 1)
record_every``; saved field i that after step ``(i + 1) save_every``. Integers are stored in the smallest type that holds them;
``series`` in the manifest names the type they are. Replacing ``index.json`` is what makes a segment count: files that it does not
name are left over from an interruption.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import PARTIAL, whole_file, whole_folder
from .work import Position, Segment

FORMAT = "refimpl-run-1"
MANIFEST, START, INDEX, FIELDS = "manifest.json", "start.npz", "index.json", "fields"


class DamagedError(ValueError):
    """A file of a run that is missing, or is not what was written."""


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds.

    ``configuration``: what the caller says of the run (the command line: its options). ``kernel``: `refimpl.chains.description`
    of the kernel. ``series``: name -> dtype. ``blocks``: first chain and one past the last, of each. ``versions``,
    ``machine``, ``created``: of the run's beginning. ``start``: sha256 of ``start.npz``.
    """

    n_chains: int
    n_steps: int
    seed: int
    record_every: int
    save_every: int
    kernel: Any
    configuration: dict[str, Any]
    series: dict[str, str]
    blocks: list[list[int]]
    versions: dict[str, str]
    machine: dict[str, Any]
    created: str
    start: str
    format: str = FORMAT


@dataclass(frozen=True)
class Entry:
    """A segment file of a block: the steps it holds, and its sha256."""

    file: str
    first: int
    last: int
    sha256: str


@dataclass(frozen=True)
class Block:
    """What ``index.json`` of a block holds; ``step`` is how far it is, ``state`` the file of its state with its sha256."""

    step: int = 0
    state: str = ""
    state_sha256: str = ""
    non_finite: int = 0
    segments: tuple[Entry, ...] = ()


def create(folder: Path, manifest: Manifest, x: NDArray[Any]) -> Manifest:
    """Make the folder of a new run; returns the manifest with the checksum of its start. Raises `OSError`."""
    content = npz_bytes({"x": x})
    manifest = replace(manifest, start=_sha256(content))
    with whole_folder(folder) as partial:
        (partial / START).write_bytes(content)
        write_manifest(partial, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write or replace ``manifest.json``."""
    _write(folder / MANIFEST, (json.dumps(asdict(manifest), indent=1) + "\n").encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run; raises `ValueError` where there is none, or not one of this format."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder}: got no {MANIFEST}, expected the folder of a run")
    try:
        manifest = Manifest(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise DamagedError(f"{path}: got something else ({error}), expected the manifest of a run") from error
    if manifest.format != FORMAT:
        raise ValueError(f"{path}: got format {manifest.format!r}, expected {FORMAT!r}")
    return manifest


def read_start(folder: Path, manifest: Manifest) -> NDArray[np.float64]:
    """The fields the chains started from."""
    return _read_npz(folder / START, manifest.start)["x"]


def block_folder(folder: Path, number: int) -> Path:
    return folder / f"block-{number:04d}"


def read_block(folder: Path, number: int) -> Block:
    """How far a block is; step 0 where it has not begun. Raises `DamagedError`."""
    path = block_folder(folder, number) / INDEX
    if not path.exists():
        return Block()
    try:
        record = json.loads(path.read_bytes())
        block = Block(**{**record, "segments": tuple(Entry(**entry) for entry in record["segments"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{path}: {_NOT_WRITTEN} ({error}); {_REPAIR.format(path.parent)}") from error
    return block


def read_position(folder: Path, number: int, block: Block) -> Position:
    """Where the chains of a block that has begun are; raises `DamagedError`."""
    path = block_folder(folder, number) / block.state
    try:
        arrays = _read_npz(path, block.state_sha256)
    except DamagedError as error:
        raise DamagedError(f"{error}; {_REPAIR.format(path.parent)}") from error
    return Position(block.step, **arrays)


def write_segment(folder: Path, number: int, block: Block, segment: Segment) -> Block:
    """Put a segment, and where it ends, behind what a block has; returns the block that now is. Raises `OSError`.

    The state of before is deleted at last: whenever this is interrupted, the folder is as it was or as it will be.
    """
    own = block_folder(folder, number)
    own.mkdir(exist_ok=True)
    position = segment.position
    arrays = {name: _packed(values) for name, values in segment.series.items()}
    if len(segment.fields):
        arrays[FIELDS] = segment.fields
    first = block.step + 1
    content = npz_bytes(arrays)
    entry = Entry(f"{first:06d}-{position.step:06d}.npz", first, position.step, _sha256(content))
    _write(own / entry.file, content)
    state = npz_bytes({name: getattr(position, name) for name in ("x", "action", "force", "rngs")})
    new = Block(
        position.step,
        f"state-{position.step:06d}.npz",
        _sha256(state),
        block.non_finite + segment.non_finite,
        (*block.segments, entry),
    )
    _write(own / new.state, state)
    _write(own / INDEX, json.dumps(asdict(new), indent=1).encode())
    if block.state:
        (own / block.state).unlink(missing_ok=True)
    return new


def read_segment(folder: Path, number: int, entry: Entry) -> dict[str, NDArray[Any]]:
    """The arrays of a segment; raises `DamagedError` for one that is missing or has another checksum."""
    return _read_npz(block_folder(folder, number) / entry.file, entry.sha256)


def clean(folder: Path, blocks: Sequence[Block]) -> None:
    """Remove what an interruption has left behind: half-written files, and those that no index names."""
    left = set(folder.glob(f"{PARTIAL}*"))
    for number, block in enumerate(blocks):
        own = block_folder(folder, number)
        left |= {*own.glob(f"{PARTIAL}*"), *own.glob("*.npz")}
        left -= {own / name for name in (block.state, *(entry.file for entry in block.segments))}
    for path in left:
        path.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone, where the system has locks; raises `ValueError` if another one runs in it.

    The lock goes with the process, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder}: got a folder that another process runs in, expected one that is left alone"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An uncompressed npz archive."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read_npz(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror}") from error
    if _sha256(content) != sha256:
        raise DamagedError(f"{path}: {_NOT_WRITTEN}: its sha256 is another")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def _packed(values: NDArray[Any]) -> NDArray[Any]:
    """Integers in the smallest type that holds them."""
    if values.dtype.kind not in "iu" or not values.size:
        return values
    kinds = (np.int8, np.int16, np.int32) if values.dtype.kind == "i" else (np.uint8, np.uint16, np.uint32)
    low, high = values.min(), values.max()
    fits = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fits, values.dtype.type), copy=False)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_NOT_WRITTEN = "got something else than what was written"
_REPAIR = "remove the folder {}, and a resumed run repeats its chains from the start, with the same bits"
