"""Runs as arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import folder as files
from .work import Position

Array = NDArray[np.float64]


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """``manifest.json`` of a run (see `refimpl.chains.folder`), with the steps that all its chains have done (``done``) and the
    number of proposals that were not finite (``non_finite``).

    Raises `ValueError` where there is no run.
    """
    path = Path(folder)
    manifest = files.read_manifest(path)
    blocks = [files.read_block(path, manifest, number) for number in range(len(manifest.blocks))]
    return {
        **asdict(manifest),
        "done": min(block.step for block in blocks),
        "non_finite": sum(block.non_finite for block in blocks),
    }


def load(
    folder: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    chains: slice | None = None,
    steps: slice | None = None,
) -> dict[str, NDArray[Any]]:
    """The series of a run by name, arrays ``(record, chain)``: as many records as all of these chains have.

    Only what is asked for is read, so that one damaged file does not bar the way to the rest.

    Parameters
    ----------
    folder : of a run, finished or not. names : of series (default: all). chains, steps : slices of step 1, over chains and over
        records (row i is the state after step ``(i + 1) record_every``).

    Raises
    ------
    ValueError : no such run, series, chains or records.
    DamagedError : a file, named, that is missing or not what was written, and what of the run can be read without it.
    """
    path = Path(folder)
    manifest = files.read_manifest(path)
    names = list(manifest.series) if names is None else list(names)
    if unknown := [name for name in names if name not in manifest.series]:
        raise ValueError(f"names: got {unknown[0]!r}, expected some of {', '.join(manifest.series)}")
    dtypes = {name: np.dtype(manifest.series[name]) for name in names}
    return _read(path, manifest, dtypes, manifest.record_every, chains, steps)


def load_fields(folder: str | os.PathLike[str], chains: slice | None = None, steps: slice | None = None) -> Array:
    """The saved fields of a run, ``(save, chain, ...)``; ``chains`` and ``steps`` as in `load`."""
    path = Path(folder)
    manifest = files.read_manifest(path)
    if not manifest.save_every:
        raise ValueError(f"{folder}: got a run that saves no fields, expected one with save_every")
    dtype = files.read_start(path, manifest).dtype
    return _read(path, manifest, {files.FIELDS: dtype}, manifest.save_every, chains, steps)[files.FIELDS]


def last_fields(folder: str | os.PathLike[str]) -> Array:
    """The fields of all chains where the run is now, ``(chain, ...)``; raises `ValueError` where blocks are at different steps."""
    path = Path(folder)
    manifest = files.read_manifest(path)
    x = files.read_start(path, manifest)
    blocks = [files.read_block(path, manifest, number) for number in range(len(manifest.blocks))]
    if len({block.step for block in blocks}) > 1:
        raise ValueError(f"{folder}: got a run whose chains are at different steps, expected it to be resumed first")
    if blocks[0].step == 0:
        return x
    positions = [_position(path, manifest, number) for number in range(len(blocks))]
    if len({position.step for position in positions}) > 1:  # the run went on meanwhile
        raise ValueError(f"{folder}: got a run whose chains are at different steps, expected it to be resumed first")
    return np.concatenate([position.x for position in positions])


def _position(path: Path, manifest: files.Manifest, number: int) -> Position:
    """Where the chains of a block are, also while the run goes on, which replaces states that are about to be read."""
    while True:
        block = files.read_block(path, manifest, number)
        try:
            return files.read_position(path, number, block)
        except files.DamagedError:
            if files.read_block(path, manifest, number) == block:
                raise


def to_arviz(folder: str | os.PathLike[str], names: Sequence[str] | None = None) -> Any:
    """The run as ArviZ ``InferenceData`` (in newer ArviZ: ``DataTree``), series in the group ``posterior``.

    Raises `ImportError` where ArviZ (the extra ``arviz``) is not installed.
    """
    try:
        import arviz
    except ImportError as error:
        raise ImportError("to_arviz: it needs ArviZ, pip install 'refimpl[arviz]'") from error
    posterior = {name: np.ascontiguousarray(values.T) for name, values in load(folder, names).items()}
    return (
        arviz.from_dict({"posterior": posterior})
        if int(arviz.__version__.split(".")[0])
        else arviz.from_dict(posterior)
    )


def _read(
    path: Path,
    manifest: files.Manifest,
    dtypes: dict[str, np.dtype[Any]],
    every: int,
    chains: slice | None,
    steps: slice | None,
) -> dict[str, NDArray[Any]]:
    """The arrays of these names, which have a row every so many steps, of some chains and rows."""
    first, last = _range("chains", chains, manifest.n_chains)
    numbers = [i for i, (a, b) in enumerate(manifest.blocks) if a < last and first < b]
    blocks = {number: files.read_block(path, manifest, number) for number in numbers}
    begin, end = _range("steps", steps, min(block.step for block in blocks.values()) // every)
    shape = () if files.FIELDS not in dtypes else files.read_start(path, manifest).shape[1:]
    out = {name: np.empty((end - begin, last - first, *shape), dtype) for name, dtype in dtypes.items()}

    def fill(number: int, entry: files.Entry) -> None:
        before = (entry.first - 1) // every  # rows in the segments before
        rows = slice(max(begin, before), min(end, entry.last // every))
        a, b = manifest.blocks[number]
        columns = slice(max(first, a), min(last, b))
        try:
            arrays = files.read_segment(path, number, entry)
        except files.DamagedError as error:
            raise files.DamagedError(
                f"{error}. What is left: chains outside {a}:{b} (chains=slice(...)), and of these the records before "
                f"{before} and from {entry.last // every} on (steps=slice(...))"
            ) from error
        for name, whole in out.items():
            whole[rows.start - begin : rows.stop - begin, columns.start - first : columns.stop - first] = arrays[name][
                rows.start - before : rows.stop - before, columns.start - a : columns.stop - a
            ]

    wanted = [
        (number, entry)
        for number, block in blocks.items()
        for entry in block.segments
        if max(begin, (entry.first - 1) // every) < min(end, entry.last // every)
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:  # checksums are most of the time, and are computed in parallel
        list(pool.map(lambda pair: fill(*pair), wanted))
    return out


def _range(name: str, part: slice | None, length: int) -> tuple[int, int]:
    begin, end, step = (part or slice(None)).indices(length)
    if step != 1:
        raise ValueError(f"{name}: got {part}, expected a slice of step 1")
    if begin >= end and part is not None:
        raise ValueError(f"{name}: got {part}, which is empty, expected some of {length}")
    return begin, max(begin, end)
