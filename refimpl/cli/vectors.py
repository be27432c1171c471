"""The command ``vectors``: the golden vectors of the package."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import command


def add(commands: Any) -> None:
    """Add the command to the parser."""
    vectors = command(commands, "vectors", _vectors, "the golden vectors shipped with the package")
    vectors.add_argument(
        "action", choices=["list", "check", "write"], help="list them, verify checksums and regenerate, write"
    )


def _vectors(arguments: argparse.Namespace) -> int:
    import tempfile

    from refimpl.validation import vectors

    if arguments.action == "write":
        print("\n".join(vectors.write_suites()))
        return 0
    suites = {suite: vectors.read_suite(suite) for suite in vectors.SUITES}
    if arguments.action == "list":
        for suite, entries in suites.items():
            for vector in entries:
                shape, flags = "x".join(map(str, vector.shape)), ", ".join(vector.flags)
                print(f"{suite + '/' + vector.name:<20}{shape:<8}{flags:<26}{vector.comment}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        vectors.write_suites(Path(folder))
        for suite, entries in suites.items():
            for old, new in zip(entries, vectors.read_suite(suite, Path(folder)), strict=True):
                if not old.regenerated_by(new):
                    raise vectors.ChecksumError(f"{suite}/{old.name}: regenerating it gives another vector")
    print(f"{sum(map(len, suites.values()))} vectors: checksums match, and they regenerate")
    return 0
