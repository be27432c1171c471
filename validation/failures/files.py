"""The smallest failing configuration as a vector: what was given, got and expected, and the calls that show it."""

from __future__ import annotations

import contextlib
import platform
import re
import zlib
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np

from refimpl import __version__

from ..contract import Subject, TargetFault
from ..replay import Arrays
from ..vector_files import write_vector
from ..verdict import Verdict
from .search import Found

CONVENTIONS = (
    "those of refimpl.validation.contract: chain axis first, axes (chain, mu, t, x), mu = 0 time, force = + dS/dx"
)
DERIVATION = (
    "expected numbers are the oracle's own, by explicit loops and dense algebra in float64, or what other answers of the "
    "target imply; the configuration was made small by Hypothesis"
)


def written(
    folder: Path, verdict: Verdict, found: Found, words: str, seed: int, command: str = "", spec: str = ""
) -> Path:
    """Write it, as TARGET-CHECK.json and .npz, in place of an older one of the same name; the path of the former.

    TARGET is what was typed, ``spec``, or else the name of the target.
    """
    case, got = found.case, Arrays()
    with contextlib.suppress(TargetFault, ValueError):  # what it answered before it failed is in there
        case.comparisons(got)
    name = f"{_plain(spec or case.at.name)}-{_plain(verdict.check)}"
    about: dict[str, Any] = {
        "format": 2,
        "id": f"failures/{name}",
        "theory": case.at.theory.name,
        "parameters": parameters(case.at, case.calls),
        "shape": [int(n) for n in getattr(case.at.theory, "shape", case.at.theory.field_shape)],
        "flags": ["FAILURE"],
        "comment": f"{verdict.check} fails on {case.at.name}: {verdict.quantity}; smallest: {words}",
        "expected": "valid",
        "derivation": DERIVATION,
        "tolerance": {"absolute": 0.0, "reason": "of every call in calls, as the check derives it from rounding"},
        "conventions": CONVENTIONS,
        "calls": case.calls,
        "failure": {
            "target": case.at.name,
            "check": verdict.check,
            "quantity": verdict.quantity,
            "detail": verdict.detail,
            "raised": found.fault,
            "every_time": found.repeats,
        },
        "provenance": {
            "command": command or "refimpl.validation.check_target",
            "seed": seed,
            "refimpl": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "hypothesis": hypothesis.__version__,
        },
    }
    folder.mkdir(exist_ok=True)
    write_vector(folder, name, about, {**case.arrays, **{f"got/{key}": array for key, array in got.items()}})
    return folder / f"{name}.json"


def parameters(at: Subject, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """What the target was made with: of its theory, its trajectory, and its pseudofermions where they take part."""
    out = {name: _shown(value) for name, value in at.theory.declared().items()}
    out |= {n: at.parameter(n) for n in ("step_size", "n_steps") if at.parameter(n) is not None}
    if at.pseudofermions or any("pseudofermion" in str(entry.get("function")) for entry in calls):
        out |= {name: _shown(value) for name, value in at.monomials._asdict().items()}
    return out


def _shown(value: Any) -> Any:
    return np.asarray(value).tolist()


def _plain(text: str) -> str:
    """What no file system minds; long texts that begin alike stay apart."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")
    return (plain if len(plain) <= 60 else f"{plain[:51]}-{zlib.crc32(text.encode(errors='replace')):08x}") or "target"
