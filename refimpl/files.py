"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# What interrupted writing may leave behind, where not even a cleaning up was possible (a power cut, a kill -9).
PARTIAL = ".partial-"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write into; it gets its name, on disk with all of its content, when the block ends without an error.

    Otherwise nothing is left of it, and a file that had the name before is as it was.
    """
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=PARTIAL, dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # as any other new file; mkstemp makes it private
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to write into, which gets its name when all is written and vanishes when something fails.

    Raises `OSError` where there is a file or a folder with something in it of that name.
    """
    target = Path(path)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=target.resolve().parent))
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_folder(target.resolve().parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """The names in a folder on disk too, where the system can do that (Windows cannot)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
