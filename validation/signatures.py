"""What a mistake looks like from outside: of every mutant, which checks fail on it, and by which simple factor.

``data/mutants/signatures.json`` holds them, as ``refimpl mutants --signatures FILE`` writes them: ``checks``, a list of ids, and per
mutant one letter for each (F failed, p passed, - did not run), with the ``factors`` of checks where everything was off by one number.
A failure of a stranger is compared with all mutants of its theory.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .battery import ALPHA, judge, stream
from .checks import BY_ID, CHECKS
from .contract import Subject
from .evidence import Effort, Evidence, Trial
from .mutants import BY_NAME
from .vector_files import ChecksumError, read_file
from .verdict import FAIL, PASS, Verdict

FILE = Path(__file__).resolve().parent.parent / "data" / "mutants" / "signatures.json"
# Less than a smoke test: what few samples do not see counts for little anyhow.
EFFORT = Effort("signature", 2_048, 64, 10, 2)
LETTERS = {FAIL: "F", PASS: "p"}

_FACTOR = re.compile(r"got = (\S+) times the expected everywhere")


@dataclass(frozen=True)
class Signature:
    """The checks that failed and those that passed, and the factors between what was got and what was expected."""

    theory: str
    failed: frozenset[str]
    passed: frozenset[str]
    factors: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, theory: str, verdicts: Iterable[Verdict]) -> Signature:
        """Of the verdicts of a run."""
        known = list(verdicts)
        return cls(
            theory,
            frozenset(v.check for v in known if v.status == FAIL),
            frozenset(v.check for v in known if v.status == PASS),
            {v.check: float(found[1]) for v in known if v.status == FAIL and (found := _FACTOR.search(v.detail))},
        )


def measured(target: Any, seed: int = 0, effort: Effort = EFFORT, parameters: Mapping[str, Any] | None = None) -> Signature:
    """The signature of a target, by all checks that apply to it."""
    subject = Subject(target, parameters=parameters)
    share = ALPHA / sum(check.statistical for check in CHECKS)
    trial = Trial(share, effort.shared_out(subject.theory.thrift), Evidence(subject, stream(seed, "evidence")))
    checks = [check for check in CHECKS if check.applies(subject) and not check.missing(subject)]
    return Signature.of(subject.theory.name, (judge(check, subject, seed, trial) for check in checks))


def measured_all(names: Iterable[str] = (), seed: int = 0, progress: bool = False) -> dict[str, Signature]:
    """Of these mutants, or of all. One takes a second or two."""
    bar = tqdm(list(names) or list(BY_NAME), desc="signatures", disable=None if progress else True, file=sys.stderr)
    return {name: measured(BY_NAME[name], seed) for name in bar}


def as_json(signatures: Mapping[str, Signature]) -> str:
    """The content of the file."""
    checks = [check for check in BY_ID if any(check in s.failed | s.passed for s in signatures.values())]
    rows = {
        name: {
            "theory": s.theory,
            "verdicts": "".join("F" if c in s.failed else "p" if c in s.passed else "-" for c in checks),
            "factors": dict(s.factors),
        }
        for name, s in signatures.items()
    }
    content = {
        "format": 1,
        "generator": "refimpl mutants --signatures FILE",
        "sha256": _checksum(checks, rows),
        "checks": checks,
        "mutants": rows,
    }
    return json.dumps(content, indent=1)


@lru_cache(maxsize=2)
def known(path: Path = FILE) -> dict[str, Signature]:
    """The signatures of the file; raises `ChecksumError`."""
    try:
        content = json.loads(read_file(path))
        checks, rows = content["checks"], content["mutants"]
        intact = content["sha256"] == _checksum(checks, rows)
        signatures = {
            name: Signature(
                row["theory"],
                frozenset(c for c, letter in zip(checks, row["verdicts"], strict=True) if letter == "F"),
                frozenset(c for c, letter in zip(checks, row["verdicts"], strict=True) if letter == "p"),
                row["factors"],
            )
            for name, row in rows.items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ChecksumError(f"{path}: not a file of signatures") from error
    if not intact:
        raise ChecksumError(f"{path}: the checksum is not that of its content")
    return signatures


def _checksum(checks: list[str], rows: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([checks, rows], sort_keys=True).encode()).hexdigest()
