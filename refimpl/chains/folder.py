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
``series`` in the manifest names the type they are. ``action``, as a series and of a state, is of the kernel's ``state_action``
where it has one (the terms without pseudofermions; with an estimated determinant in pseudomarginal chains, where it belongs to
the state as the field does), else of its action, the whole target. Replacing ``index.json`` is what makes
a segment count: files that it does not name are left over from an interruption. Both JSON files end with the sha256 of
themselves without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import PARTIAL, whole_file, whole_folder
from .work import Position, Segment

FORMAT = "refimpl-run-1"
MANIFEST, START, INDEX, FIELDS, SEAL = "manifest.json", "start.npz", "index.json", "fields", "sha256"


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
    """What ``index.json`` of a block holds.

    ``chains``: its chains, first and one past the last. ``run``: `identity` of the run it belongs to. ``step``: how far it is.
    ``state``: the file of its state, with its sha256.
    """

    chains: tuple[int, int]
    run: str
    step: int = 0
    state: str = ""
    state_sha256: str = ""
    non_finite: int = 0
    segments: tuple[Entry, ...] = ()


def create(
    folder: Path, manifest: Manifest, x: NDArray[Any], attachments: Mapping[str, bytes] = MappingProxyType({})
) -> Manifest:
    """Make the folder of a new run, with other files in it; returns the manifest with the checksum of its start.

    Raises `OSError`, and `ValueError` where meanwhile there is a folder of that name.
    """
    content = npz_bytes({"x": x})
    manifest = replace(manifest, start=_sha256(content))
    try:
        with whole_folder(folder) as partial:
            _write(partial / START, content)
            for name, attached in attachments.items():
                (partial / name).parent.mkdir(exist_ok=True)
                _write(partial / name, attached)
            write_manifest(partial, manifest)
    except OSError as error:
        if folder.exists():
            raise ValueError(f"out: got {str(folder)!r}, which another process has made meanwhile") from error
        raise
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write or replace ``manifest.json``."""
    _write(folder / MANIFEST, _sealed(asdict(manifest)))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run; raises `ValueError` where there is none, or not one of this format."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder}: got no {MANIFEST}, expected the folder of a run")
    record = _unsealed(path)
    if record.get("format") != FORMAT:
        raise ValueError(f"{path}: got format {record.get('format')!r}, expected {FORMAT!r}")
    try:
        return Manifest(**record)
    except TypeError as error:
        raise DamagedError(f"{path}: {_NOT_WRITTEN} ({error})") from error


def identity(manifest: Manifest) -> str:
    """A checksum of everything that makes a run this run, and not of how long it is."""
    return _sha256(json.dumps(asdict(replace(manifest, n_steps=0))).encode())


def read_start(folder: Path, manifest: Manifest) -> NDArray[np.float64]:
    """The fields the chains started from."""
    return _read_npz(folder / START, manifest.start)["x"]


def block_folder(folder: Path, number: int) -> Path:
    return folder / f"block-{number:04d}"


def read_block(folder: Path, manifest: Manifest, number: int) -> Block:
    """How far a block is; step 0 where it has not begun.

    Raises `DamagedError` for an index that is damaged or of another block or run, or missing where there are segments.
    """
    path = block_folder(folder, number) / INDEX
    first, last = manifest.blocks[number]
    fresh = Block((first, last), identity(manifest))
    try:
        if not path.exists():
            if len(list(path.parent.glob("[0-9]*.npz"))) > 1:  # an interrupted first write leaves one
                raise DamagedError(f"{path}: got no such file beside segments, expected it")
            return fresh
        record = _unsealed(path)
        record["segments"] = tuple(Entry(**entry) for entry in record["segments"])
        block = Block(**{**record, "chains": tuple(record["chains"])})
        if (block.chains, block.run) != (fresh.chains, fresh.run):
            raise DamagedError(f"{path}: got the index of other chains or of another run")
        if not _consistent(block):
            raise DamagedError(f"{path}: {_NOT_WRITTEN}")
    except DamagedError as error:
        raise DamagedError(f"{error}; {_REPAIR.format(path.parent)}") from error
    except (TypeError, KeyError) as error:
        raise DamagedError(f"{path}: {_NOT_WRITTEN} ({error}); {_REPAIR.format(path.parent)}") from error
    return block


def _consistent(block: Block) -> bool:
    """Whether the segments are all steps up to that of the state, each in the file of its name."""
    firsts = [1, *(entry.last + 1 for entry in block.segments)]
    return (
        bool(block.segments)
        and all(entry.first == first <= entry.last for entry, first in zip(block.segments, firsts, strict=False))
        and all(entry.file == f"{entry.first:06d}-{entry.last:06d}.npz" for entry in block.segments)
        and block.step == block.segments[-1].last
        and block.state == f"state-{block.step:06d}.npz"
    )


def read_position(folder: Path, number: int, block: Block) -> Position:
    """Where the chains of a block that has begun are; raises `DamagedError`."""
    own = block_folder(folder, number)
    return Position(block.step, **_read_npz(own / block.state, block.state_sha256, own))


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
    new = replace(
        block,
        step=position.step,
        state=f"state-{position.step:06d}.npz",
        state_sha256=_sha256(state),
        non_finite=block.non_finite + segment.non_finite,
        segments=(*block.segments, entry),
    )
    _write(own / new.state, state)
    _write(own / INDEX, _sealed(asdict(new)))
    if block.state:
        (own / block.state).unlink(missing_ok=True)
    return new


def read_segment(folder: Path, number: int, entry: Entry) -> dict[str, NDArray[Any]]:
    """The arrays of a segment; raises `DamagedError` for one that is missing or has another checksum."""
    own = block_folder(folder, number)
    return _read_npz(own / entry.file, entry.sha256, own)


def verify(folder: Path, number: int, block: Block) -> None:
    """Raises `DamagedError` for a segment of a block that is missing or has another checksum."""
    for entry in block.segments:
        _read_bytes(block_folder(folder, number) / entry.file, entry.sha256, block_folder(folder, number))


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
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # forked workers have this handle too
        os.close(handle)


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An uncompressed npz archive."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read_npz(path: Path, sha256: str, block: Path | None = None) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(_read_bytes(path, sha256, block)), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _read_bytes(path: Path, sha256: str, block: Path | None) -> bytes:
    """The content of a file with this checksum; ``block``: the folder whose removal repairs it."""
    repair = "" if block is None else f"; {_REPAIR.format(block)}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror}{repair}") from error
    if _sha256(content) != sha256:
        raise DamagedError(f"{path}: {_NOT_WRITTEN}: its sha256 is another{repair}")
    return content


def _sealed(record: dict[str, Any]) -> bytes:
    """JSON with, at its end, the sha256 of what it is without it."""
    return (json.dumps({**record, SEAL: _sha256(json.dumps(record).encode())}, indent=1) + "\n").encode()


def _unsealed(path: Path) -> dict[str, Any]:
    """The inverse of `_sealed`; raises `DamagedError`."""
    try:
        record = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError, OSError) as error:
        raise DamagedError(f"{path}: {_NOT_WRITTEN} ({error})") from error
    seal = record.pop(SEAL, None)
    if seal != _sha256(json.dumps(record).encode()):
        raise DamagedError(f"{path}: {_NOT_WRITTEN}: its sha256 is another")
    return record


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
