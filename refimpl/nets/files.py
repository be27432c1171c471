"""Weights as ``.npz`` files that other programs can read and write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import whole_file
from .net import Params

Array = NDArray[np.float64]

FORMAT = "refimpl-nets-1"
HEADER = "header"
LARGEST = 2**31  # bytes of all arrays; a compressed archive of a few kilobytes may claim any number


def save(path: str | os.PathLike[str], params: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write parameters to ``path``, whole or not at all.

    An uncompressed ``.npz`` (a zip archive of ``.npy`` files). Each parameter is a float64 array under its own key, as
    listed in `init`: ``in/cos``, ``hidden/0/bias``, ``head/s/scale``, ... Where a program stacks layers, every array has
    the layer axis in front. The array ``header`` is a string: JSON of ``{"format": "refimpl-nets-1", "shapes": {key:
    shape}, "meta": meta}``, so that a lost or cut array is noticed. ``meta`` is anything JSON can hold: the fields of
    `Net`, an action, a date. A dense weight is ``(before, after)`` and multiplies from the right.

    Raises `ValueError` for a parameter that is not finite or not float64 or has the key ``header``, and for a ``meta``
    that JSON cannot hold.
    """
    arrays = {key: np.asarray(array) for key, array in params.items()}
    for key, array in arrays.items():
        if key == HEADER or array.dtype != np.float64 or not np.isfinite(array).all():
            raise ValueError(
                f"params[{key!r}]: got {array.dtype} {array!r:.60}, expected finite float64, not under the key {HEADER!r}"
            )
    shapes = {key: array.shape for key, array in arrays.items()}
    try:
        header = json.dumps({"format": FORMAT, "shapes": shapes, "meta": dict(meta)}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta: got {meta!r}, expected what JSON can hold ({error})") from error
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **{HEADER: np.array(header)}, **arrays)


def load(
    path: str | os.PathLike[str], shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Params, dict[str, Any]]:
    """Parameters and meta data written by `save`.

    ``shapes``: the shapes the caller needs, by key; by default those that the file itself claims.

    Raises `ValueError`, naming the file and, where there is one, the key, what it got and what it expected: for a file
    that is not such an archive or is damaged, for missing or additional keys, other shapes or types, and numbers that
    are not finite. A missing file raises `FileNotFoundError`.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if (size := sum(member.file_size for member in archive.zip.infolist())) > LARGEST:
                raise OSError(f"{size} bytes of arrays are too many")
            arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged archive makes zipfile and NumPy raise all sorts of things
        what = str(error) if isinstance(error, OSError) else "not such an archive, or a damaged one"
        raise ValueError(f"{path}: got a file that cannot be read ({what}), expected an .npz of parameters") from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy gives the bytes of members that are no arrays
            raise ValueError(f"{path}: key {key!r}: got {len(array)} bytes, expected an array")
    header = _header(path, arrays.pop(HEADER, None))
    _check(path, arrays, {key: tuple(shape) for key, shape in header["shapes"].items()}, "its header")
    if shapes is not None:
        _check(path, arrays, shapes, "the caller")
    return arrays, header["meta"]


def _header(path: str | os.PathLike[str], array: NDArray[Any] | None) -> dict[str, Any]:
    if array is None or array.shape != () or array.dtype.kind != "U":
        got = "no such key" if array is None else f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"{path}: key {HEADER!r}: got {got}, expected one JSON string")
    try:
        header: Any = json.loads(array.item())
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: key {HEADER!r}: got {array.item()[:60]!r}, expected JSON ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        form = header.get("format") if isinstance(header, dict) else header
        raise ValueError(f"{path}: key {HEADER!r}: got format {form!r}, expected {FORMAT!r}")
    shapes, meta = header.get("shapes"), header.get("meta")
    if (
        not isinstance(shapes, dict)
        or not isinstance(meta, dict)
        or not all(isinstance(s, list) for s in shapes.values())
    ):
        raise ValueError(
            f"{path}: key {HEADER!r}: got {sorted(header)}, expected objects 'shapes' (of lists) and 'meta'"
        )
    checked: dict[str, Any] = header
    return checked


def _check(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    for key, shape in shapes.items():
        if key not in arrays:
            raise ValueError(f"{path}: key {key!r}: got no such key, expected an array of shape {shape} ({source})")
        array = arrays[key]
        if array.dtype != np.float64 or array.shape != shape:
            got = f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"{path}: key {key!r}: got {got}, expected float64 of shape {shape} ({source})")
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: key {key!r}: got values that are not finite, expected finite ones")
    if extra := sorted(arrays.keys() - shapes.keys()):
        raise ValueError(
            f"{path}: key {extra[0]!r}: got an array of shape {arrays[extra[0]].shape}, expected none ({source})"
        )
