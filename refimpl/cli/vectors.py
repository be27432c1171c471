"""The command ``vectors``: the golden vectors of the package, listed, shown, checked and written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import command

if TYPE_CHECKING:
    from refimpl.validation.vectors import Vector

FIRST = 4  # numbers of an array that are shown


def add(commands: Any) -> None:
    """Add the command to the parser."""
    vectors = command(
        commands,
        "vectors",
        _vectors,
        "the golden vectors shipped with the package",
        "list: the suites, or the vectors of SUITE. show: all about SUITE/NAME. check: verify checksums and compute anew, all or "
        "SUITE. write: add what is missing in the folder DIR (default: that of the "
        "package); vectors that are there are never changed. exit codes: 0 all is as it should be, 2 wrong usage, 4 a file is not.",
    )
    vectors.add_argument("action", choices=["list", "show", "check", "write"], help="see below")
    vectors.add_argument("what", nargs="?", metavar="SUITE | SUITE/NAME | DIR", help="which; see below")


def _vectors(arguments: argparse.Namespace) -> int:
    actions = {"list": _list, "show": _show, "check": _check, "write": _write}
    return actions[arguments.action](arguments.what)


def _list(suite: str | None) -> int:
    from refimpl.validation import vectors

    if suite is not None:
        _known(suite)
        rows: list[tuple[str, ...]] = []
        for vector in vectors.read_suite(suite):
            told = [*vector.flags, *([vector.about["expected"]] if vector.about["expected"] != "valid" else [])]
            rows.append((f"{suite}/{vector.name}", _times(vector.shape), " ".join(told), vector.comment))
        print("\n".join(_aligned(rows)))
        return 0
    summary = vectors.summary()
    rows = []
    for name in vectors.SUITES:
        entries, size = vectors.read_suite(name), summary["suites"][name]["bytes"]
        shapes = sorted({vector.shape for vector in entries})
        some = " ".join(map(_times, shapes[:5])) + (" ..." if len(shapes) > 5 else "")
        flags = {flag: sum(flag in vector.flags for vector in entries) for flag in vectors.FLAGS}
        counts = ", ".join(f"{flag} {count}" for flag, count in flags.items() if count)
        rows.append((name, f"{len(entries):>3} vectors", f"{size / 1000:>5.0f} kB", some, counts))
    print("\n".join(_aligned(rows)))
    print(f"{summary['vectors']} vectors, {summary['bytes'] / 1e6:.1f} MB in {vectors.VECTORS}")
    return 0


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "number"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their longest entry."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def _show(name: str | None) -> int:
    from refimpl.validation import vectors

    suite, _, label = (name or "").partition("/")
    if not label:
        raise ValueError(
            f"SUITE/NAME: got {name!r}, expected a vector such as u1/hot-4x4; refimpl vectors list has them"
        )
    _known(suite)
    by_name = {vector.name: vector for vector in vectors.read_suite(suite)}
    if label not in by_name:
        raise ValueError(f"SUITE/NAME: got {name!r}, expected one of {', '.join(by_name)} in {suite}")
    vector = by_name[label]
    print(_text(vector))
    print(f"files: {vectors.VECTORS / suite / label}.json, .npz")
    return 0


def _text(vector: Vector) -> str:
    about = vector.about
    rows = [f"{about['id']}: {vector.comment}"]
    for key in ("theory", "parameters", "declares", "expected", "derivation", "conventions", "tolerance", "provenance"):
        if key in about:
            value = about[key]
            rows.append(f"  {key}: {value if isinstance(value, str) else json.dumps(value)}")
    rows.append(f"  flags: {', '.join(vector.flags)}")
    rows.append("arrays:")
    arrays = []
    for name, array in {"x": vector.x, **vector.expected}.items():
        first = ", ".join(f"{number:.17g}" for number in np.ravel(array)[:FIRST])
        arrays.append((f"  {name}", str(array.dtype), _times(array.shape), first + ", ..." * (array.size > FIRST)))
    rows += _aligned(arrays)
    for kind in ("calls", "pieces"):
        if about.get(kind):
            rows.append(f"{kind}:")
            rows += [f"  {json.dumps(entry)[:400]}" for entry in about[kind]]
    return "\n".join(rows)


def _check(suite: str | None) -> int:
    from refimpl.validation import vectors

    if suite is not None:
        _known(suite)
    count = 0
    for name in (suite,) if suite else vectors.SUITES:
        entries = vectors.read_suite(name)
        fresh = {vector.name: vector for vector in vectors.regenerated(name)}
        if list(fresh) != [vector.name for vector in entries]:
            raise vectors.ChecksumError(
                f"{name}: got other vectors than those that are generated; see refimpl vectors write"
            )
        for vector in entries:
            if not vector.regenerated_by(fresh[vector.name]):
                raise vectors.ChecksumError(f"{name}/{vector.name}: regenerating it gives another vector")
        count += len(entries)
    print(f"{count} vectors: checksums match, and they regenerate")
    return 0


def _write(folder: str | None) -> int:
    from refimpl.validation import vectors

    if folder is not None and (not folder or (Path(folder).exists() and not Path(folder).is_dir())):
        raise ValueError(f"DIR: got {folder!r}, expected a folder, or the name of a new one")
    root = vectors.VECTORS if folder is None else Path(folder)
    new = vectors.write_suites(root)
    print("\n".join([*new, f"{len(new)} new vectors in {root}"]))
    return 0


def _known(suite: str) -> None:
    from refimpl.validation import vectors

    if suite not in vectors.SUITES:
        raise ValueError(f"SUITE: got {suite!r}, expected one of {', '.join(vectors.SUITES)}")
