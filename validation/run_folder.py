"""The folder in which two processes exchange arrays: every file is opened by its name in the open folder, and never by a link."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bytes of one array: 2^16 sites of 1,024 configurations as complex numbers. Nothing that is asked for comes near it.
LARGEST_FILE = 1 << 30
_LONGEST_HEADER = 1024  # of a file with up to 32 axes; numpy reads it as a literal of Python
_MEMORY = "/dev/shm"
_LONG_NUMBER = re.compile(rb"\dL[,)\s]")
_ROOM = 1 << 30  # bytes that must be free there: containers have 64 MB of it


class FileFault(ValueError):
    """A file is not there, or is not what was asked for."""


class RunFolder:
    """A new folder in memory where there is room, else among temporary files; with ``keep``, in that folder, to stay."""

    def __init__(self, keep: Path | None = None) -> None:
        self.kept = keep is not None
        self.path = _new_folder(keep)
        self._handle: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def close(self) -> None:
        """Remove it with all in it, unless it is kept."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            if not self.kept:
                shutil.rmtree(self.path, ignore_errors=True)

    def write(self, name: str, value: Any) -> str:
        """A new file of an array, or of bytes; its path."""
        with os.fdopen(self._opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            if isinstance(value, bytes):
                file.write(value)
            else:
                np.lib.format.write_array(file, plain_array(value), version=(1, 0), allow_pickle=False)
        return self.where(name)

    def read(self, name: str) -> bytes:
        """The content of a file that another process has written; raises `FileFault`."""
        try:
            handle = self._opened(name, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not block
        except OSError as error:
            raise FileFault(f"got no file {name} to read ({error.strerror}), expected one") from None
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise FileFault(f"got no plain file {name}, expected one that is no link, pipe or folder")
            if found.st_size > LARGEST_FILE:
                raise FileFault(f"got {found.st_size} bytes in {name}, expected at most {LARGEST_FILE}")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return file.read(found.st_size + 1)  # one that grows meanwhile is found too long
        finally:
            os.close(handle)

    def remove(self, *names: str) -> None:
        """Whatever has these names, where there is anything."""
        for name in names if not self.kept else ():
            self._remove(name)

    def where(self, name: str) -> str:
        """The path of a file in it."""
        return f"{self.path}/{name}"

    def _opened(self, name: str, flags: int) -> int:
        if flags & os.O_CREAT:
            self._remove(name)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._handle)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._handle)
        except FileNotFoundError:
            pass
        except OSError:  # a folder in its place
            shutil.rmtree(name, ignore_errors=True, dir_fd=self._handle)


class BorrowedFolder(RunFolder):
    """The run folder of another process, opened by the path that it gave."""

    def __init__(self, path: str) -> None:
        self.kept, self.path = True, path
        self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def array_in(content: bytes) -> NDArray[Any]:
    """The numbers of a ``.npy`` file of format 1.0, of exactly the size that its header says; raises `FileFault`."""
    file = io.BytesIO(content)
    try:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"format {version[0]}.{version[1]}, expected 1.0")
        header = content[10 : 10 + int.from_bytes(content[8:10], "little")]
        if _LONG_NUMBER.search(header):  # as Python 2 wrote them: numpy would warn of it on the terminal
            raise ValueError("a number with L behind it, expected digits alone")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # noqa: BLE001 (numpy reads it as a literal of Python, which may raise almost anything)
        reason = " ".join(str(error).split())[:160]
        raise FileFault(f"got no header of a .npy file: {type(error).__name__}: {reason}") from None
    if dtype.kind not in "biufc" or dtype.itemsize > 32:
        raise FileFault(f"got numbers of type {str(dtype)[:60]}, expected float64, complex128 or other plain numbers")
    n = 1
    for extent in shape:
        n *= extent
    size = len(content) - file.tell()
    told = str(shape) if len(str(shape)) < 120 else f"of {len(shape)} axes"
    if n * dtype.itemsize != size:
        raise FileFault(
            f"got {size} bytes behind the header, expected {str(n * dtype.itemsize)[:40]}: {dtype}, shape {told}"
        )
    try:
        if n == 0:
            return np.zeros(shape, dtype)
        return np.frombuffer(content, dtype, n, file.tell()).reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # too many axes, two negative extents, an extent of 0 beside one that no array can have
        raise FileFault(f"got shape {told}, which no array has: {str(error)[:80]}") from None


def plain_array(value: Any) -> NDArray[Any]:
    """In C order, little-endian float64 or complex128."""
    array = np.asarray(value)
    return np.ascontiguousarray(array, dtype="<c16" if array.dtype.kind == "c" else "<f8").reshape(array.shape)


def _new_folder(keep: Path | None) -> str:
    if keep is not None:
        return _speakable(tempfile.mkdtemp(prefix="run-", dir=keep.resolve()))
    try:
        room = os.statvfs(_MEMORY)
        if os.access(_MEMORY, os.W_OK) and room.f_bavail * room.f_frsize >= _ROOM:
            return tempfile.mkdtemp(prefix="refimpl-", dir=_MEMORY)
    except OSError:
        pass
    return _speakable(tempfile.mkdtemp(prefix="refimpl-"))


def _speakable(path: str) -> str:
    """The path, if JSON can say it as it stands."""
    try:
        good = json.dumps(path, ensure_ascii=False).encode() == f'"{path}"'.encode()
    except UnicodeEncodeError:
        good = False
    if not good:
        os.rmdir(path)
        raise ValueError(
            f"run folder: got {path!r}, expected a path without quotes and backslashes; see TMPDIR, --keep"
        )
    return path
