"""The command ``sample``: chains into a run folder, resumed, extended, on many processors."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .analysis import analysed
from .arguments import RESUMABLE, command, count, new_folder, seed
from .kernels import (
    DRAWING,
    OF_THEORY,
    OPTIONS,
    flow_of,
    kernel_configuration,
    kernel_from,
    kernel_options,
    trajectories_from,
)
from .theories import OWN, THEORIES, theory_from, theory_parsers

if TYPE_CHECKING:
    from refimpl.theories import Theory

# What HMC is tuned by: not what topology freezes, which no step size helps. Elsewhere by the squares of the coordinates.
TUNED_BY = {**dict.fromkeys(("u1", "schwinger", "su2", "su3"), ("plaquette",)), "o2": ("bond_cosine",),
            "phi4": ("phi^2", "|magnetisation|")}  # fmt: skip
TUNING_CHAINS, TUNING_CHAINS_WITH_FERMIONS = 64, 8
TUNING_STEPS = (5, 10, 20)
TUNING_THERMALISATION = {"exact": 0, "gauge": 20, "free": 50, "flow": 50, "hot": 200, "cold": 200}  # trajectories
MODEL = "model"  # where a run keeps its copy of the weights
# Options of a run that are not part of its configuration, by their names in the manifest, with their defaults.
SIZES = {
    "n_chains": ("chains", 64),
    "seed": ("seed", 0),
    "record_every": ("record_every", 1),
    "save_every": ("save_every", 0),
}
SUMMARY_NUMBERS = 20_000_000  # of all series together: more is not read back for the table at the end


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "run Markov chains into a folder, on all processors; interrupted runs go on with --resume DIR"
    sample = command(
        commands,
        "sample",
        _sample,
        text,
        "`refimpl sample THEORY ... --out DIR` begins a run, `refimpl sample --resume DIR` goes on with it, after whatever "
        "interruption, and with `--trajectories N` extends it. Results do not depend on executor, workers and interruptions. "
        "`refimpl analyse DIR` shows what is in it; the format is described in refimpl.chains.folder. "
        f"{RESUMABLE}",
    )
    _run_options(sample, None)
    for parser in theory_parsers(sample.add_subparsers(metavar="THEORY"), "run Markov chains into a folder", _sample):
        name = parser.get_default("theory")
        kernel_options(parser, name)
        what = ", ".join(TUNED_BY[name]) if name in TUNED_BY else "the squared coordinates"
        text = f"find step size and steps of HMC that cost least per independent {what}"
        parser.add_argument("--tune", action="store_true", help=text)
        parser.add_argument("--chains", type=count, help="default 64")
        _start_option(parser, name)
        parser.add_argument("--seed", type=seed, help="default 0")
        parser.add_argument("--record-every", type=count, metavar="K", help="trajectories between records (default 1)")
        parser.add_argument(
            "--save-every", type=seed, metavar="M", help="trajectories between saved fields (default 0: none)"
        )
        parser.add_argument("--out", metavar="DIR", help="a folder that does not exist yet")
        _run_options(parser, argparse.SUPPRESS)  # or they would hide what was said before THEORY


def _run_options(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument("--resume", metavar="DIR", default=default, help="go on with the run in DIR, as it was begun")
    parser.add_argument(
        "--trajectories", type=count, default=default, help="per chain (default 1000; with --resume: as many as before)"
    )
    kinds = "process (default), thread, dask:ADDRESS, or mpi"
    parser.add_argument("--executor", default=default, metavar="KIND", help=f"where chains are run: {kinds}")
    parser.add_argument("--workers", type=int, default=default, metavar="N", help="default: as many as there are")


def _sample(arguments: argparse.Namespace) -> int:
    from refimpl import chains

    if arguments.resume is None:
        if getattr(arguments, "theory", None) is None:
            raise ValueError(f"THEORY: got nothing, expected one of {', '.join(THEORIES)}, or --resume DIR")
        if arguments.out is None:
            raise ValueError("--out: got nothing, expected a new folder")
        out = new_folder(arguments.out)
        configuration = _tuned(arguments) if arguments.tune else _configuration(arguments)
        sizes: dict[str, Any] = {name: default if (value := getattr(arguments, option)) is None else value
                 for name, (option, default) in SIZES.items()}  # fmt: skip
        n_steps = arguments.trajectories or 1000
        model = Path(configuration.get("model", ""))
    else:
        out = Path(arguments.resume)
        manifest = chains.read_manifest(out)
        configuration = _same_configuration(arguments, manifest)
        sizes = {name: manifest[name] for name in SIZES}
        n_steps = arguments.trajectories or manifest["n_steps"]
        model = out / MODEL
        if n_steps < manifest["done"]:
            raise ValueError(f"--trajectories: got {n_steps}, expected at least {manifest['done']}, which are done")
    theory = _theory(configuration)
    if arguments.resume is None and configuration["start"] == _near(theory.name):
        print(_near_start(theory), file=sys.stderr)
    kernel = kernel_from(configuration, theory, model)
    weights = {f"{MODEL}/weights.npz": _weights(model)} if "model" in configuration else {}
    try:
        with _terminated_as_interrupted():
            chains.run(
                kernel,
                _start(configuration["start"], theory, model),
                **sizes,
                n_steps=n_steps,
                out=out,
                observables=theory.recorded,
                executor=arguments.executor,
                workers=arguments.workers,
                resume=arguments.resume is not None,
                configuration=configuration,
                attachments=weights,
                progress=True,
            )
    except (KeyboardInterrupt, OSError, chains.RunError) as error:
        again = f"; refimpl sample --resume {out} goes on" if out.is_dir() else ""
        stopped = isinstance(error, KeyboardInterrupt)
        print(f"refimpl: {(str(error) or 'interrupted') if stopped else error}{again}", file=sys.stderr)
        if stopped:
            return 143 if error.args else 130
        return 1 if isinstance(error, chains.RunError) else 2
    print(_summary(out))
    return 0


def _near(theory: str) -> str:
    """What `Theory.near` is called."""
    return "free" if theory == "phi4" else "gauge"


def _drawing(theory: str) -> str:
    """Kernels whose flow draws fields of this theory, in words."""
    return " or ".join(name for name in DRAWING if name in OF_THEORY.get(theory, ()))


def _start_option(parser: argparse.ArgumentParser, theory: str) -> None:
    text, near = "equilibrium (default), random or zero", [_near(theory)] if {"kappa", "lam"} & set(OWN[theory]) else []
    if theory == "phi4":
        text = (
            "equilibrium (default where rejection is fast: at lam = 0, or on small lattices), the closest free field (default "
            "otherwise), random, or zero"
        )
    elif near:
        text = (
            "equilibrium (default where there is an exact sampler: without fermions, or on small lattices), pure gauge "
            "configurations at the closest beta (default otherwise), random, or unit links"
        )
    flow = ["flow"] if (drawing := _drawing(theory)) else []
    text += f"; flow: draws of the flow of --kernel {drawing} (its default without an exact sampler)" if flow else ""
    parser.add_argument("--start", choices=["exact", *near, *flow, "hot", "cold"], help=text)


def _configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """What makes a run what it is, as JSON: theory, parameters, kernel and start, with all defaults filled in."""
    theory = theory_from(arguments, arguments.theory)
    kernel = kernel_configuration(arguments, theory)
    proposed = kernel["kernel"] in DRAWING
    start = arguments.start or ("exact" if theory.sample is not None else "flow" if proposed else _near(theory.name))
    if start == "flow" and not proposed:
        raise ValueError(
            f"--start: got flow with --kernel {kernel['kernel']}, expected it with --kernel {_drawing(theory.name)} only"
        )
    _start(start, theory, Path(kernel.get("model", "")))
    return {"theory": theory.name, "parameters": dict(theory.parameters), **kernel, "start": start}


def _tuned(arguments: argparse.Namespace) -> dict[str, Any]:
    """The configuration with a step size and a number of steps of HMC that were found by tuning."""
    import numpy as np

    from refimpl.tuning import largest_tau, outer_steps, step_size, tune

    for option in ("step_size", "steps"):
        if getattr(arguments, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')}: got it with --tune, which finds it; expected one of them")
    configuration = _configuration(arguments)
    if "steps" not in configuration:
        raise ValueError("--tune: got it without HMC, expected --cycle N with it")
    theory = _theory(configuration)
    names = TUNED_BY.get(theory.name, [name for name in theory.observables if name.endswith("^2")])
    seed, start = arguments.seed or 0, configuration["start"]
    n_chains = TUNING_CHAINS_WITH_FERMIONS if theory.parameters.get("kappa") else TUNING_CHAINS
    tuned = tune(
        [
            trajectories_from(
                configuration | {"step_size": 0.1, "steps": n}, theory, Path(configuration.get("model", ""))
            )
            for n in TUNING_STEPS
        ],
        _start(start, theory, Path(configuration.get("model", "")))(np.random.default_rng([seed, 2]), n_chains),
        np.random.SeedSequence([seed, 3]),
        largest_tau({name: theory.observables[name] for name in names}),
        thermalisation=TUNING_THERMALISATION[start],
    )
    print(f"tuned by {', '.join(names)}:\n{tuned}", file=sys.stderr)
    return configuration | {"step_size": step_size(tuned.kernel), "steps": outer_steps(tuned.kernel)}


def _same_configuration(arguments: argparse.Namespace, manifest: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the run to go on with; raises `ValueError` where an option that is given says otherwise."""
    from refimpl.chains.description import differences

    configuration: dict[str, Any] = manifest["configuration"]
    if "kernel" not in configuration:
        raise ValueError(
            f"--resume: got {arguments.resume!r}, a run of refimpl.chains.run, expected one of refimpl sample"
        )
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    for option in ("out", "tune"):
        if given.get(option):
            raise ValueError(f"--{option}: got it with --resume, expected only the folder that is resumed")
    if "theory" not in given:
        return configuration
    old = {
        **{option: manifest[name] for name, (option, _) in SIZES.items()},
        **configuration["parameters"],
        **configuration,
    }
    names = ("theory", *OWN[given["theory"]], *OPTIONS, "start")
    new = {name: given[name] for name in (*names, *(option for option, _ in SIZES.values())) if name in given}
    if "model" in new and "model" in old:  # it may have moved: what counts are the weights
        mine, given_weights = (_weights(Path(folder)) for folder in (Path(arguments.resume) / MODEL, new["model"]))
        old["model"], new["model"] = ("its own weights", "others") if mine != given_weights else ("", "")
    if lines := differences({name: old.get(name) for name in new}, new):
        raise ValueError(f"{arguments.resume}: the run is another one, expected the same:\n  " + "\n  ".join(lines))
    return configuration


def _weights(folder: Path) -> bytes:
    path = folder / "weights.npz"
    if not path.is_file():
        raise ValueError(f"--model: got {str(folder)!r}, expected the folder of a model, with weights.npz")
    return path.read_bytes()


def _theory(configuration: dict[str, Any]) -> Theory:
    from refimpl.theories import by_name

    return by_name(configuration["theory"], **configuration["parameters"])


def _start(start: str, theory: Theory, model: Path) -> Callable[..., Any]:
    """The initial fields, ``(rng, n) -> x``; raises `ValueError` where there are none of this kind. ``model``: a folder."""
    if start == "flow":
        flow = flow_of(theory, model)
        return lambda rng, n: flow.sample(rng, n)[0]
    known = {
        "exact": theory.sample,
        _near(theory.name): theory.near,
        "hot": theory.start,
        "cold": lambda rng, n: theory.cold(n),
    }
    found = known[start]
    if found is None:
        others = ", ".join(name for name, fields in known.items() if fields is not None)
        parameters = ", ".join(f"{name} = {value}" for name, value in theory.parameters.items())
        raise ValueError(f"--start: got {start} for {theory.name} with {parameters}, expected one of {others}")
    return found


def _near_start(theory: Theory) -> str:
    """What a user should know of a start that is not equilibrium."""
    from refimpl.exact import phi4
    from refimpl.theories import pure_gauge_beta

    p, shape = theory.parameters, tuple(theory.parameters["shape"])
    if theory.name == "phi4":
        what = f"free fields of mass squared {phi4.free_mass(p['m2'], p['lam'], shape):.4g}, the closest"
    else:
        beta = pure_gauge_beta(p["beta"], p["kappa"], shape, theory.colours)
        what = f"exact pure gauge configurations at beta = {beta:.4g}, the closest"
    return f"refimpl: start: {what}; `refimpl analyse` cuts what thermalises"


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, with which a batch system ends a job, is as Ctrl-C: what is done is saved first."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt("terminated")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _summary(out: Path) -> str:
    """How far the run is, and, unless it is long, what `refimpl analyse` says."""
    from refimpl import analysis, chains

    manifest = chains.read_manifest(out)
    done, n_chains, series = manifest["done"], manifest["n_chains"], manifest["series"]
    line = f"{done} trajectories of {n_chains} chains; in {out}"
    if not 2 * manifest["record_every"] <= done <= SUMMARY_NUMBERS // (n_chains * len(series)):
        return f"{line}; refimpl analyse {out} shows what is in it"
    return f"{line}\n\n{analysis.as_text(analysed(out)[0])}"
