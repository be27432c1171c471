"""Arguments and options that commands share: kinds of numbers, refused with what was expected, and output."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refimpl.files import whole_file

# Written out: importing the oracle for a help text would take a second.
CONVENTIONS = (
    "ours", "space-time", "contract-shape", "chain-last", "mu-last", "column-major", "one-chain", "space-first", "positive-angles",
    "phases", "other-orientation", "minus-force", "log-density", "half-beta", "double-beta", "per-beta", "inverse-logdet",
)  # fmt: skip

EXIT_CODES = "exit codes: 0 done, 2 wrong usage"
RESUMABLE = "exit codes: 0 done, 1 it could not be finished, 2 wrong usage, 130 interrupted; --resume goes on"


def number(text: str, kind: type, good: Callable[[Any], bool], expected: str) -> Any:
    """The finite number that ``text`` is, if it is ``good``; argparse shows what was expected otherwise."""
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not math.isfinite(value) or not good(value):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return value


def finite(text: str) -> float:
    """A finite number."""
    return float(number(text, float, lambda v: True, "a finite number"))


def positive(text: str) -> float:
    """A finite number > 0."""
    return float(number(text, float, lambda v: v > 0, "a finite number > 0"))


def seconds(text: str) -> float:
    """A finite number > 0; one that no clock takes becomes the longest that it does, some centuries."""
    return min(positive(text), threading.TIMEOUT_MAX)


def non_negative(text: str) -> float:
    """A finite number >= 0."""
    return float(number(text, float, lambda v: v >= 0, "a finite number >= 0"))


def probability(text: str) -> float:
    """A probability between 0 and 1, neither."""
    return float(number(text, float, lambda v: 0 < v < 1, "a probability between 0 and 1"))


def extent(text: str) -> int:
    """An integer of at least 2."""
    return int(number(text, int, lambda v: v >= 2, "an integer of at least 2"))


def count(text: str) -> int:
    """An integer of at least 1."""
    return int(number(text, int, lambda v: v >= 1, "an integer of at least 1"))


def seed(text: str) -> int:
    """An integer of at least 0."""
    return int(number(text, int, lambda v: v >= 0, "an integer >= 0"))


def in_one_thread() -> None:
    """Start this process again with BLAS in one thread, unless the environment says how many: many only slow small matrices down.

    The number is read when NumPy is loaded, which is before any command begins.
    """
    if not any(name.endswith("_NUM_THREADS") for name in os.environ):
        os.execve(
            sys.executable, [sys.executable, "-m", "refimpl", *sys.argv[1:]], {**os.environ, "OMP_NUM_THREADS": "1"}
        )


def emit(text: str, out: str | None) -> None:
    """To the terminal, or whole into a file."""
    if out is None:
        encoding = sys.stdout.encoding or "utf-8"
        print(
            text.encode(encoding, "backslashreplace").decode(encoding)
        )  # a name need not be in the terminal's alphabet
    else:
        write(Path(out), (text + "\n").encode())


def write(path: Path, content: bytes) -> None:
    """A file with this content, whole, or what was there before."""
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        path.write_bytes(content)
        return
    with whole_file(path) as file:
        file.write(content)


def writable(out: str | None, option: str = "--out") -> None:
    """Refuse an output that cannot be written before work is done for it."""
    if out is not None and (Path(out).is_dir() or not Path(out).resolve().parent.is_dir()):
        raise ValueError(f"{option}: got {out!r}, expected a file in a folder that exists")
    if out is not None and not (Path(out).exists() and not Path(out).is_file()):  # devices and pipes are not replaced
        try:  # permissions tell nothing of /proc, nor of a disk that is mounted to read
            with tempfile.TemporaryFile(dir=Path(out).resolve().parent):
                pass
        except OSError as error:
            raise ValueError(f"{option}: got {out!r}, where no file can be made ({error.strerror})") from None


def command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A new command whose exit code ``function`` returns; ``parser`` of its namespace shows its usage.

    ``epilog``: what else there is to say; exit codes are added where it does not tell them.
    """
    if epilog is None or "exit codes: " not in epilog:
        epilog = f"{epilog} {EXIT_CODES}" if epilog else EXIT_CODES
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=epilog)
    parser.set_defaults(command=function, parser=parser)
    return parser


def seed_and_output(parser: argparse.ArgumentParser, default: str = "drawn and printed") -> None:
    """Options ``--seed``, ``--format`` and ``--out``."""
    parser.add_argument("--seed", type=seed, help=f"repeats a run bit for bit (default: {default})")
    parser.add_argument("--format", choices=["table", "json"], default="table", help="default table")
    parser.add_argument("--out", metavar="FILE", help="write there instead of the terminal")


def counts(text: str) -> tuple[int, ...]:
    """Integers of at least 1 with commas between them."""
    return tuple(count(part) for part in text.split(","))


def positives(text: str) -> list[float]:
    """Numbers above 0 with commas between them."""
    return [positive(part) for part in text.split(",")]


def new_folder(out: str) -> Path:
    """The path of a folder that does not exist yet, inside one that does; raises `ValueError` otherwise."""
    path = Path(out)
    if not out:
        raise ValueError("--out: got '', expected a new folder")
    if path.exists() or path.is_symlink():
        raise ValueError(f"--out: got {out!r}, which exists already; expected a new folder")
    if not path.resolve().parent.is_dir():
        raise ValueError(f"--out: got {out!r}, expected a folder inside one that exists")
    return path


def nothing_else(arguments: argparse.Namespace, expected: tuple[str, ...]) -> None:
    """Refuse, with --resume, options of what was begun: `ValueError` unless only the ``expected`` ones are given."""
    own = (*expected, "resume", "command")
    used = [name for name, value in vars(arguments).items() if value is not None and name not in own]
    if used:
        option = used[0].replace("_", "-")
        raise ValueError(f"--{option}: got it with --resume, expected only --out: the training goes on as it began")


PARAMETERS = ("beta", "kappa", "m2", "lam", "shape", "length", "step_size", "n_steps")


def target_parameters(parser: argparse.ArgumentParser) -> None:
    """Options for the parameters that a target is made with."""
    parser.add_argument(
        "--beta", type=positive, help="inverse coupling of all but gaussian, gmm and phi4 (default: the target's)"
    )
    parser.add_argument(
        "--kappa", type=positive, help="hopping parameter of schwinger, su2, su3 (default: the target's)"
    )
    parser.add_argument("--m2", type=float, help="bare mass squared of phi4 (default: the target's)")
    parser.add_argument("--lam", type=non_negative, help="quartic coupling of phi4 (default: the target's)")
    parser.add_argument(
        "--shape", type=extent, nargs=2, metavar=("T", "X"), help="extents of the lattice (default: the target's)"
    )
    parser.add_argument("--length", type=extent, metavar="N", help="sites of o2 (default: the target's)")
    parser.add_argument("--step-size", type=positive, help="step size of the trajectory (default: the target's)")
    parser.add_argument("--steps", type=count, dest="n_steps", help="steps of the trajectory (default: the target's)")


def conventions(parser: argparse.ArgumentParser, default: str) -> None:
    """The option ``--conventions``; what is done where it is not given, the command says."""
    ours, auto = (" (default)" if name == default else "" for name in ("ours", "auto"))
    parser.add_argument(
        "--conventions",
        metavar="NAME",
        help=f"of TARGET: one of {', '.join(CONVENTIONS)}, or several with + between{ours}, which "
        f"refimpl explain conventions tells; or auto{auto}: ours and, "
        "where action, force, plaquette or charge do not have them, others under which they are right",
    )


def parameters_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those of `target_parameters` that were typed."""
    given = {name: getattr(arguments, name) for name in PARAMETERS if getattr(arguments, name) is not None}
    if "shape" in given:
        given["shape"] = tuple(given["shape"])
    return given
