"""Options that name a theory and its parameters, and the theory they make."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .arguments import command, count, extent, finite, non_negative

if TYPE_CHECKING:
    from refimpl.theories import Theory

THEORIES = {
    "u1": "two-dimensional U(1)",
    "schwinger": "the Schwinger model, U(1) with two flavours of Wilson fermions",
    "su2": "two-dimensional SU(2), with --kappa two flavours of Wilson fermions",
    "su3": "two-dimensional SU(3), with --kappa two flavours of Wilson fermions",
    "o2": "the periodic chain of O(2) spins",
    "gaussian": "a Gaussian",
    "gmm": "a Gaussian mixture (default: two components at (-2, 0) and (2, 0))",
    "phi4": "the two-dimensional phi^4 theory of a real field",
}
OWN = {
    "u1": ("beta", "shape"),
    "schwinger": ("beta", "kappa", "shape"),
    "su2": ("beta", "shape", "kappa"),
    "su3": ("beta", "shape", "kappa"),
    "o2": ("beta", "length"),
    "gaussian": ("covariance", "mean"),
    "gmm": ("weights", "means", "covariances"),
    "phi4": ("m2", "lam", "shape"),
}
OPTIONAL = {"su2": ("kappa",), "su3": ("kappa",), "gaussian": ("mean",), "gmm": OWN["gmm"]}
# Whose actions have the second derivatives that a generalized leapfrog and its training need.
SMOOTH = ("u1", "o2", "gaussian", "gmm", "phi4")


def parameter_options(parser: argparse.ArgumentParser, *theories: str) -> None:
    """The options with the parameters of these theories."""
    names = {name for theory in theories for name in OWN[theory]}
    if "beta" in names:
        parser.add_argument("--beta", type=non_negative, help="inverse coupling (needed)")
    if "kappa" in names:
        text = (
            "hopping parameter 1/(4 + 2 m0) of the fermions, which are antiperiodic in time (periodic ones: in the library); "
            "needed by schwinger, otherwise default none"
        )
        parser.add_argument("--kappa", type=non_negative, help=text)
    if "m2" in names:
        text = "bare mass squared, in a term m2 phi^2/2 of every site; negative only where lam is not 0 (phi4; needed)"
        parser.add_argument("--m2", type=finite, metavar="M2", help=text)
    if "lam" in names:
        text = "quartic coupling, in a term lam phi^4/24 of every site; other conventions: refimpl.actions.from_... (phi4; needed)"
        parser.add_argument("--lam", type=non_negative, metavar="LAMBDA", help=text)
    if "shape" in names:
        kind = count if "phi4" in theories else extent
        parser.add_argument(
            "--shape", type=kind, nargs=2, metavar=("T", "X"), help="lattice extents, time first (needed)"
        )
    if "length" in names:
        parser.add_argument("--length", type=extent, metavar="N", help="sites of the chain (o2; needed)")
    for name, text in {
        "covariance": "matrix (gaussian), such as '[[1, 0.5], [0.5, 1]]'",
        "mean": "vector (gaussian; default 0), such as '[0, 1]'",
        "weights": "of the components (gmm), such as '[0.3, 0.7]'",
        "means": "of the components (gmm), such as '[[-2, 0], [2, 0]]'",
        "covariances": "of the components (gmm), such as '[[[1, 0], [0, 1]], [[1, 0], [0, 1]]]'",
    }.items():
        if name in names:
            parser.add_argument(f"--{name}", type=_json, metavar="JSON", help=text)


def theory_parsers(
    theories: Any, text: str, function: Any, names: Iterable[str] = THEORIES
) -> list[argparse.ArgumentParser]:
    """One parser per theory, added to the subparsers of a command."""
    parsers = []
    for theory in names:
        parser = command(theories, theory, function, f"{THEORIES[theory]}: {text}")
        parser.set_defaults(theory=theory)
        parameter_options(parser, theory)
        parsers.append(parser)
    return parsers


def theory_from(arguments: argparse.Namespace, name: str) -> Theory:
    """The theory of this name; raises `ValueError` for parameters that are missing or another theory's."""
    from refimpl.theories import by_name

    every = {option for names in OWN.values() for option in names}
    given = {option: value for option in every if (value := getattr(arguments, option, None)) is not None}
    required = [option for option in OWN[name] if option not in OPTIONAL.get(name, ())]
    if missing := [option for option in required if option not in given]:
        raise ValueError(f"--{missing[0]}: got nothing, expected it for theory {name}")
    if foreign := sorted(set(given) - set(OWN[name])):
        raise ValueError(f"--{foreign[0]}: got it for theory {name}, expected only --{', --'.join(OWN[name])}")
    if name == "schwinger" and given["kappa"] == 0:
        raise ValueError(f"--kappa: got {given['kappa']}, expected a finite number > 0: without fermions take u1")
    return by_name(name, **given)


def _json(text: str) -> Any:
    import numpy as np

    try:
        value = json.loads(text)
        np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError):
        value = None
    if not isinstance(value, list):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a JSON list of numbers")
    return value
