"""The command ``fit-cv``: fit a control variate, say what it is worth on other configurations, keep it, use it again."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import command, count, non_negative, seed, writable
from .theories import theory_from, theory_parsers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refimpl.estimators.variates import Improvement
    from refimpl.theories import Theory

# Of each theory the methods, the best one first, in words for the help.
METHODS = {
    "phi4": {
        "two-stage": "preconditioned, with exact overlap terms: correlators and moments of the field",
        "factorised": "slice by slice with disjoint windows: correlators at long times",
        "linear": "least squares of a linear g",
        "free": "the exact one of a free field, its mass and scale fitted",
        "neural": "the net of Bedaque 2023, trained",
    },
    "u1": {
        "conditional-mean": "closed form, no fit: Wilson loops and the plaquette",
        "groups": "disjoint groups of plaquettes, fitted",
        "neural": "a net of gauge-invariant inputs, trained",
    },
}
LARGEST_PULL = 6.0  # errors that a mean of zero is away by chance, with the heavy tails that variates have
ALL = 1e12  # ratio of standard deviations of which rounding is what is left
NET = ("layers", "neurons", "delta", "steps")  # options of nets, as the methods call them


def add(commands: Any) -> None:
    """Add the command to the parser."""
    fit = command(
        commands,
        "fit-cv",
        _fit_cv,
        "fit a control variate to an observable and measure what it is worth, or use one that was saved",
        "A control variate has mean zero exactly, so that O - f has the mean of O with less variance. `refimpl fit-cv THEORY ...` "
        "fits to some configurations and judges by others, which it makes unless --configurations names a run of refimpl sample "
        "(with --save-every) or an .npy file of fields; --save keeps the variate, `refimpl fit-cv --load FILE` uses it again.",
    )
    fit.add_argument("--load", metavar="FILE", help="a variate that was saved, to use instead of a fit")
    _data_options(fit, None)
    for parser in theory_parsers(fit.add_subparsers(metavar="THEORY"), "fit a control variate", _fit_cv, METHODS):
        methods = METHODS[parser.get_default("theory")]
        what = "plaquette, wilson_loop_TxX" if parser.get_default("theory") == "u1" else "correlator_T, phi^2, phi^4"
        parser.add_argument("--observable", required=True, metavar="NAME", help=what)
        text = "; ".join(f"{name}: {words}" for name, words in methods.items())
        text += f" (default {next(iter(methods))})"
        parser.add_argument("--method", choices=list(methods), default=next(iter(methods)), help=text)
        parser.add_argument("--train", type=count, default=1000, help="configurations of the fit (default 1000)")
        parser.add_argument(
            "--test", type=count, help="configurations to judge by (default 1000, or all that are left)"
        )
        parser.add_argument("--folds", type=count, help="cross-fit all configurations by so many folds, instead")
        parser.add_argument("--save", metavar="FILE", help="keep the variate there, as .npz")
        net = parser.add_argument_group("neural")
        net.add_argument("--layers", type=seed, help="phi4: hidden layers (default 5; 0: linear)")
        net.add_argument("--neurons", type=count, help="of each layer (default 4; u1: 16)")
        net.add_argument("--delta", type=non_negative, help="strength of the L2 regularisation (default 0)")
        net.add_argument("--steps", type=count, help="of Adam (default 30000; u1: 10000)")
        _data_options(parser, argparse.SUPPRESS)


def _data_options(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument(
        "--configurations", metavar="PATH", default=default, help="a run folder, or an .npy file of fields"
    )
    parser.add_argument("--seed", type=seed, default=default, help="of configurations and nets (default 0)")
    parser.add_argument("--json", action="store_true", default=default, help="every digit")


def _fit_cv(arguments: argparse.Namespace) -> int:
    if arguments.load is not None:
        return _again(arguments)
    name = getattr(arguments, "theory", None)
    if name is None:
        raise ValueError(f"THEORY: got nothing, expected one of {', '.join(METHODS)}, or --load FILE")
    writable(arguments.save, "--save")
    from refimpl.estimators import variates
    from refimpl.observables import quantity

    theory, observable = theory_from(arguments, name), quantity(arguments.observable)
    method = _method(arguments, theory)
    if arguments.folds is not None:
        if arguments.save is not None or arguments.test is not None:
            raise ValueError(
                "--folds: got it with --save or --test, expected one of them: all configurations are judged"
            )
        x = _configurations(arguments, theory, arguments.train)
        worth, _ = variates.cross_fit(method, x[: arguments.train], observable, arguments.folds)
    else:
        wanted = arguments.train + (arguments.test or 1000)
        x = _configurations(arguments, theory, wanted)
        last = None if arguments.test is None else wanted
        if len(x[arguments.train : last]) < 2:
            raise ValueError(
                f"--train: got {arguments.train} (default 1000) of {len(x)} configurations, expected some left to judge by"
            )
        if arguments.method == "neural" and name == "phi4":
            variate = method.train(x[: arguments.train], observable, progress=True).variate
        else:
            variate = method.fit(x[: arguments.train], observable)
        worth = variates.improve(x[arguments.train : last], observable, variate)
        if arguments.save is not None:
            variates.save(variate, arguments.save, x[: arguments.train])
    fitted = f"{arguments.folds} folds of" if arguments.folds else "fitted to"
    how = f"{arguments.method}, {fitted} {arguments.train} configurations"
    if arguments.method == "conditional-mean":
        how = "conditional-mean, in closed form"
    return _show(arguments, theory, str(observable), how, worth)


def _again(arguments: argparse.Namespace) -> int:
    """A variate from a file, on other configurations."""
    from refimpl.estimators import variates
    from refimpl.theories import by_name

    if getattr(arguments, "theory", None) is not None:
        raise ValueError("--load: got it with THEORY, expected one of them: the file says which")
    variate: Any = variates.load(arguments.load)
    shape = variate.field_shape[-2:]
    if isinstance(variate, variates.u1.OpenVariate):
        raise ValueError(f"--load: got a variate of open boundaries, expected one of a torus: {' or '.join(METHODS)}")
    scalars = len(variate.field_shape) == 2
    theory = (
        by_name("phi4", **asdict(variate.action), shape=shape)
        if scalars
        else by_name("u1", beta=variate.beta, shape=shape)
    )
    x = _configurations(arguments, theory, 1000, stream=2)
    fitted = variates.was_fitted_to(arguments.load, x)
    if len(x) - fitted.sum() < 2:
        raise ValueError(
            f"--configurations: got {len(x)}, of which {fitted.sum()} were fitted; expected some to judge by"
        )
    how = (
        f"{arguments.load}, judged without the {fitted.sum()} configurations it was fitted to"
        if fitted.any()
        else arguments.load
    )
    name = str(variate.observable)
    return _show(arguments, theory, name, how, variates.improve(x[~fitted], variate.observable, variate))


def _method(arguments: argparse.Namespace, theory: Theory) -> Any:
    from refimpl import training
    from refimpl.estimators import variates

    given = {name: getattr(arguments, name) for name in NET if getattr(arguments, name) is not None}
    action: Any = theory.action
    if arguments.method != "neural" and given:
        raise ValueError(f"--{next(iter(given))}: got it with {arguments.method}, expected --method neural with it")
    if theory.name == "u1" and "layers" in given:
        raise ValueError("--layers: got it for theory u1, expected none: its net has one hidden layer")
    seed_given = arguments.seed or 0
    makers: dict[tuple[str, str], Callable[[], Any]] = {
        ("phi4", "two-stage"): lambda: variates.TwoStage(action),
        ("phi4", "factorised"): lambda: variates.Factorised(action),
        ("phi4", "linear"): lambda: variates.Linear(action),
        ("phi4", "free"): lambda: variates.FreeField(action),
        ("phi4", "neural"): lambda: training.Neural(action, **given, seed=seed_given),
        ("u1", "conditional-mean"): lambda: variates.u1.ConditionalMean(action.beta),
        ("u1", "groups"): lambda: variates.u1.PlaquetteGroups(action.beta),
        ("u1", "neural"): lambda: training.PlaquetteNet(action.beta, **given, seed=seed_given),
    }
    return makers[theory.name, arguments.method]()


def _configurations(arguments: argparse.Namespace, theory: Theory, wanted: int, stream: int = 1) -> NDArray[Any]:
    """Fields ``(n, *field_shape)``: those the user has, or as many new ones as wanted, other ones in every stream of a seed."""
    import numpy as np

    from refimpl import chains, ensembles
    from refimpl.estimators.variates.base import checked_configurations

    if arguments.configurations is None:
        seeds = np.random.SeedSequence([arguments.seed or 0, stream])
        if theory.name == "phi4":
            action: Any = theory.action
            return ensembles.phi4_fields(action, theory.parameters["shape"], wanted, seeds)
        if theory.sample is None:
            raise ValueError(f"--configurations: got nothing, expected fields of {theory.name}")
        return theory.sample(np.random.default_rng(seeds), wanted)
    path = Path(arguments.configurations)
    if path.is_dir():
        configuration = chains.read_manifest(path)["configuration"]
        told = (configuration.get("theory"), configuration.get("parameters"))
        if told != (theory.name, dict(theory.parameters)):
            raise ValueError(
                f"--configurations: got a run of {told[0]} with {told[1]}, expected {theory.name} with {dict(theory.parameters)}"
            )
        x = chains.load_fields(path)
        return x.reshape(-1, *x.shape[2:])
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(
            f"--configurations: got {str(path)!r}, which does not exist; expected a run folder or an .npy file"
        ) from None
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"--configurations: got {str(path)!r}, expected a run folder or an .npy file ({error})"
        ) from None
    if not isinstance(found, np.ndarray) or found.shape[1:] != tuple(theory.field_shape):
        got = getattr(found, "shape", "several arrays")
        raise ValueError(f"--configurations: got shape {got}, expected (n, {', '.join(map(str, theory.field_shape))})")
    return checked_configurations(found, theory.field_shape, "--configurations")


def _exact(theory: Theory, name: str) -> float | None:
    """The exact mean, where it is known."""
    from refimpl import exact

    if theory.name == "u1" and name.startswith("wilson_loop_"):
        sides = [int(side) for side in name.removeprefix("wilson_loop_").split("x")]
        return float(
            exact.u1.wilson_loop(theory.parameters["beta"], tuple(theory.parameters["shape"]), sides[0] * sides[1])
        )
    return theory.exact.get(name)


def _show(arguments: argparse.Namespace, theory: Theory, name: str, how: str, worth: Improvement) -> int:
    """Print what the variate is worth; the exit code is 1 where its mean is not zero."""
    exact, code = _exact(theory, name), 0
    if worth.pull > LARGEST_PULL:
        print(
            f"refimpl: the mean of the variate is {worth.pull:.0f} errors from zero, which it is at these parameters: the "
            "configurations are of another theory or coupling, not in equilibrium, or far too few",
            file=sys.stderr,
        )
        code = 1
    if arguments.json:
        numbers = {key: value if math.isfinite(value) else None for key, value in asdict(worth).items()}
        print(
            json.dumps(
                {
                    "theory": theory.name,
                    **theory.parameters,
                    "observable": name,
                    "method": how,
                    **numbers,
                    "exact": exact,
                }
            )
        )
        return code
    everything = worth.ratio > ALL
    ratio = "infinite: it takes all of the variance" if everything else _with_error(worth.ratio, worth.ratio_error)
    rows = [
        ("theory", ", ".join([theory.name, *(f"{key} = {value}" for key, value in theory.parameters.items())])),
        ("observable", name),
        ("variate", how),
        (
            "judged by",
            f"{worth.n} {'of them, each without its fold' if getattr(arguments, 'folds', None) else 'other configurations'}",
        ),
        ("raw", _with_error(worth.raw_value, worth.raw_error)),
        ("with the variate", _with_error(worth.value, worth.error)),
        *([] if exact is None else [("exact", f"{exact:.{_decimals(worth.error) + 1}f}")]),
        ("sigma ratio", ratio),
        *(
            []
            if everything
            else [("kurtosis", f"{worth.kurtosis:.3g}  (3: normal; the larger, the less errors can be trusted)")]
        ),
    ]
    width = max(len(label) for label, _ in rows) + 2
    print("\n".join(f"{label:<{width}}{text}" for label, text in rows))
    return code


def _with_error(value: float, error: float) -> str:
    if not math.isfinite(error):
        return f"{value:.4g} (too few for an error)"
    return (
        f"{value:.{_decimals(error)}f} +- {error:.0f}"
        if error >= 10
        else f"{value:.{_decimals(error)}f} +- {error:.2g}"
    )


def _decimals(error: float) -> int:
    """Digits after the point that show two of the error."""
    return min(16, max(0, 1 - math.floor(math.log10(error)))) if 0 < error < math.inf else 10
