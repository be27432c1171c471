"""The command line: ``refimpl validate | mutants | explain | vectors | exact | sample | bench``."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EXIT_CODES = """exit codes: 0 every check passed, 1 a check failed or passed unexpectedly, 2 wrong usage,
3 the target did not start, 4 a vector file has the wrong checksum, 5 nothing ran"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    from refimpl.validation import TargetError, report
    from refimpl.validation.vectors import ChecksumError

    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, MemoryError, RecursionError) as error:
        print(f"refimpl: {error or type(error).__name__}", file=sys.stderr)
        return report.USAGE
    except TargetError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return report.NOT_STARTED
    except ChecksumError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return report.BAD_VECTORS
    except KeyboardInterrupt:
        print("refimpl: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refimpl",
        description="Reference implementation and test oracle for samplers in two-dimensional lattice field theory.",
    )
    from refimpl import __version__

    parser.add_argument("--version", action="version", version=f"refimpl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    validate = _command(
        commands, "validate", _validate, "judge an implementation; without TARGET the built-in one", EXIT_CODES
    )
    validate.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="package.module:object (a target or a factory of one), or mutant:NAME",
    )
    validate.add_argument("--theory", choices=["u1"], default="u1", help="the theory (default u1)")
    validate.add_argument("--beta", type=_positive, help="inverse coupling (default: the target's)")
    validate.add_argument("--shape", type=_extent, nargs=2, metavar=("T", "X"), help="lattice (default: the target's)")
    validate.add_argument("--step-size", type=_positive, help="step size of the trajectory, for a factory")
    validate.add_argument("--steps", type=_count, dest="n_steps", help="steps of the trajectory, for a factory")
    validate.add_argument("--level", choices=["smoke", "standard", "thorough"], default="standard", help="sample sizes")
    validate.add_argument(
        "--alpha", type=_probability, default=1e-6, help="false-alarm level of the run (default 1e-6)"
    )
    validate.add_argument("-k", dest="select", metavar="EXPR", help="only checks whose id contains EXPR, or a pattern")
    validate.add_argument("--xfail", metavar="FILE", help="JSON file of known failures, check id -> reason")
    validate.add_argument("--deadline", type=_positive, default=120.0, help="seconds one call may take (default 120)")
    _seed_and_output(validate)

    mutants = _command(
        commands,
        "mutants",
        _mutants,
        "judge wrong implementations, and show which check kills which",
        "exit 1 if any lives",
    )
    mutants.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    mutants.add_argument("--level", choices=["smoke", "standard", "thorough"], default="standard", help="sample sizes")
    mutants.add_argument(
        "--all", action="store_true", dest="everything", help="run the whole battery, show all that kill"
    )
    _seed_and_output(mutants)

    explain = _command(commands, "explain", _explain, "what a check does; without CHECK, the list of checks")
    explain.add_argument("check", nargs="?", metavar="CHECK", help="id of a check, such as maps.jacobian")

    vectors = _command(commands, "vectors", _vectors, "the golden vectors shipped with the package")
    vectors.add_argument(
        "action", choices=["list", "check", "write"], help="list them, verify checksums and regenerate, write"
    )

    exact = _theory(commands, "exact", "exact answers", _exact)
    exact.add_argument("--json", action="store_true", help="as JSON, every digit")

    sample = _theory(commands, "sample", "run HMC and save observables and final fields", _sample)
    sample.add_argument("--kernel", choices=["hmc"], default="hmc", help="the update (default hmc)")
    sample.add_argument("--integrator", choices=["leapfrog", "omelyan"], default="leapfrog", help="default leapfrog")
    sample.add_argument("--step-size", type=_positive, default=0.2, help="default 0.2")
    sample.add_argument("--steps", type=_count, default=10, help="integrator steps of a trajectory (default 10)")
    sample.add_argument("--chains", type=_count, default=64, help="default 64")
    sample.add_argument("--trajectories", type=_count, default=1000, help="per chain (default 1000)")
    starts = ["exact", "hot", "cold"]
    sample.add_argument("--start", choices=starts, default="exact", help="equilibrium (default), random or zero links")
    sample.add_argument("--seed", type=_seed, default=0, help="default 0")
    sample.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist yet")

    bench = _command(commands, "bench", _bench, "speed, as ratios to other implementations in one interleaved run")
    bench.add_argument("item", nargs="?", metavar="ITEM", help="what to time (default: everything)")
    bench.add_argument("--seconds", type=_positive, default=4.0, help="time spent on each case (default 4)")
    return parser


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=epilog)
    parser.set_defaults(command=function)
    return parser


def _theory(
    commands: Any, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    theories = commands.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="THEORY")
    parser = _command(theories, "u1", function, f"two-dimensional U(1): {text}")
    parser.add_argument("--beta", type=_non_negative, required=True, help="inverse coupling")
    parser.add_argument("--shape", type=_extent, nargs=2, required=True, metavar=("T", "X"), help="lattice extents")
    return parser


def _seed_and_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=_seed, help="repeats a run bit for bit (default: drawn and printed)")
    parser.add_argument("--format", choices=["table", "json"], default="table", help="default table")
    parser.add_argument("--out", metavar="FILE", help="write there instead of the terminal")


def _number(text: str, kind: type, good: Callable[[Any], bool], expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not math.isfinite(value) or not good(value):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return value


def _positive(text: str) -> float:
    return float(_number(text, float, lambda v: v > 0, "a finite number > 0"))


def _non_negative(text: str) -> float:
    return float(_number(text, float, lambda v: v >= 0, "a finite number >= 0"))


def _probability(text: str) -> float:
    return float(_number(text, float, lambda v: 0 < v < 1, "a probability between 0 and 1"))


def _extent(text: str) -> int:
    return int(_number(text, int, lambda v: v >= 2, "an integer of at least 2"))


def _count(text: str) -> int:
    return int(_number(text, int, lambda v: v >= 1, "an integer of at least 1"))


def _seed(text: str) -> int:
    return int(_number(text, int, lambda v: v >= 0, "an integer >= 0"))


def _emit(text: str, out: str | None) -> None:
    """To the terminal, or whole into a file."""
    if out is None:
        print(text)
        return
    path = Path(out)
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        path.write_text(text + "\n", encoding="utf-8")
        return
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _writable(out: str | None) -> None:
    """Refuse an output that cannot be written before work is done for it."""
    if out is not None and (Path(out).is_dir() or not Path(out).resolve().parent.is_dir()):
        raise ValueError(f"--out: got {out!r}, expected a file in a folder that exists")


def _target(spec: str | None) -> Any:
    from refimpl.validation.contract import TargetError, load_target
    from refimpl.validation.mutants import BY_NAME
    from refimpl.validation.reference import ReferenceU1

    if spec is None:
        return ReferenceU1
    if spec.startswith("mutant:"):
        name = spec.removeprefix("mutant:")
        if name not in BY_NAME:
            raise TargetError(f"TARGET: got mutant {name!r}, expected one of {', '.join(BY_NAME)}")
        return BY_NAME[name]
    return load_target(spec)


def _validate(arguments: argparse.Namespace) -> int:
    from refimpl.validation import check_target

    _writable(arguments.out)
    known = None
    if arguments.xfail is not None:
        try:
            known = json.loads(Path(arguments.xfail).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"--xfail: {arguments.xfail} is not JSON: {error}") from error
        if not isinstance(known, dict) or not all(isinstance(reason, str) for reason in known.values()):
            raise ValueError(f"--xfail: got {arguments.xfail!r}, expected a JSON object of check ids and reasons")
    parameters = {name: getattr(arguments, name) for name in ("beta", "shape", "step_size", "n_steps")}
    if parameters["shape"] is not None:
        parameters["shape"] = tuple(parameters["shape"])
    report = check_target(
        _target(arguments.target),
        level=arguments.level,
        alpha=arguments.alpha,
        seed=arguments.seed,
        select=arguments.select,
        expected_failures=known,
        parameters={name: value for name, value in parameters.items() if value is not None},
        deadline=arguments.deadline,
        progress=True,
    )
    _emit(report.as_json() if arguments.format == "json" else report.as_table(), arguments.out)
    return report.exit_code


def _mutants(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from refimpl.validation import mutants, report

    _writable(arguments.out)
    if unknown := sorted(set(arguments.names) - set(mutants.BY_NAME)):
        raise ValueError(f"NAME: got {', '.join(unknown)}, expected one of {', '.join(mutants.BY_NAME)}")
    kills = mutants.run_mutants(
        arguments.names,
        level=arguments.level,
        seed=arguments.seed or 0,
        everything=arguments.everything,
        progress=True,
    )
    if arguments.format == "json":
        text = json.dumps(report.plain([asdict(kill) | {"killed": kill.killed} for kill in kills]), indent=1)
    else:
        text = mutants.table(kills)
    _emit(text, arguments.out)
    return report.OK if all(kill.killed for kill in kills) else report.FAILED


def _explain(arguments: argparse.Namespace) -> int:
    from refimpl.validation.checks import BY_ID, CHECKS
    from refimpl.validation.mutants import MUTANTS

    if arguments.check is None:
        for check in CHECKS:
            print(f"{check.id:<34}{check.explanation.splitlines()[0]}")
        return 0
    if arguments.check not in BY_ID:
        raise ValueError(f"CHECK: got {arguments.check!r}, expected one of {', '.join(BY_ID)}")
    check = BY_ID[arguments.check]
    needs = ", and ".join(" or ".join(any_of) for any_of in check.needs)
    print(f"{check.id}\n\n{check.explanation}\n\nneeds: {needs}")
    print(
        f"kind: {'statistical: spends part of the false-alarm level' if check.statistical else 'deterministic: no false alarms'}"
    )
    for mutant in MUTANTS:
        if check.id in mutant.killed_by:
            print(f"kills: {mutant.__name__}: {(mutant.__doc__ or '').strip()}")
    return 0


def _vectors(arguments: argparse.Namespace) -> int:
    import tempfile

    from refimpl.validation import vectors

    if arguments.action == "write":
        print("\n".join(vectors.write_u1()))
        return 0
    suite = vectors.read_suite("u1")
    if arguments.action == "list":
        for vector in suite:
            print(
                f"u1/{vector.name:<16}{'x'.join(map(str, vector.shape)):<8}{', '.join(vector.flags):<26}{vector.comment}"
            )
        return 0
    with tempfile.TemporaryDirectory() as folder:
        vectors.write_u1(Path(folder))
        for path in sorted(Path(folder, "u1").iterdir()):
            if path.read_bytes() != (vectors.VECTORS / "u1" / path.name).read_bytes():
                raise vectors.ChecksumError(f"u1/{path.name}: regenerating it gives another file")
    print(f"{len(suite)} vectors: checksums match, regenerated identically")
    return 0


def _exact(arguments: argparse.Namespace) -> int:
    from refimpl.exact import u1

    beta, shape = arguments.beta, tuple(arguments.shape)
    volume = shape[0] * shape[1]
    sides = [side for side in range(1, min(*shape, 4) + 1) if side**2 < volume]
    charges, probabilities = u1.charge_distribution(beta, shape)
    answers: dict[str, Any] = {
        "log_partition": u1.log_partition(beta, shape),
        "plaquette": u1.plaquette(beta, shape),
        "plaquette_variance": u1.plaquette_variance(beta, shape),
        "single_plaquette_variance": u1.single_plaquette_variance(beta, shape),
        "plaquette_covariance": u1.plaquette_covariance(beta, shape),
        "charge_susceptibility": u1.charge_susceptibility(beta, shape),
        "sine_charge_susceptibility": u1.sine_charge_susceptibility(beta, shape),
        **{f"wilson_loop_{side}x{side}": u1.wilson_loop(beta, shape, side**2) for side in sides},
    }
    if arguments.json:
        distribution = {str(q): p for q, p in zip(charges.tolist(), probabilities.tolist(), strict=True)}
        print(json.dumps({"beta": beta, "shape": shape, **answers, "charge_distribution": distribution}, indent=1))
        return 0
    print(f"2D U(1), beta = {beta:g}, {shape[0]} x {shape[1]} (time x space), S = beta sum_P (1 - cos theta_P)")
    for name, value in answers.items():
        print(f"  {name:<28}{value:.15g}")
    for q, p in zip(charges.tolist(), probabilities.tolist(), strict=True):
        if q >= 0 and (p > 1e-12 or q < 2):
            print(f"  p(Q = {'+-' if q else ''}{q}){'':<{18 - len(str(q)) - (2 if q else 0)}}    {p:.15g}")
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    import shutil
    import tempfile

    import numpy as np
    from tqdm import tqdm

    import refimpl
    from refimpl import observables, statistics
    from refimpl.actions import WilsonU1
    from refimpl.exact import u1
    from refimpl.kernels import HMC, spawn_rngs
    from refimpl.maps import INTEGRATORS

    out = Path(arguments.out)
    if out.exists():
        raise ValueError(f"--out: got {arguments.out!r}, which exists already; expected a new folder")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out: got {arguments.out!r}, expected a folder inside one that exists")
    beta, shape, n_chains = arguments.beta, tuple(arguments.shape), arguments.chains
    start_rng, chain_seed = np.random.default_rng([arguments.seed, 1]), np.random.SeedSequence([arguments.seed, 0])
    if arguments.start == "exact":
        x = u1.sample(start_rng, n_chains, beta, shape)
    elif arguments.start == "hot":
        x = start_rng.uniform(-np.pi, np.pi, (n_chains, 2, *shape))
    else:
        x = np.zeros((n_chains, 2, *shape))
    kernel = HMC(WilsonU1(beta), arguments.step_size, arguments.steps, INTEGRATORS[arguments.integrator])
    state, rngs = kernel.init(x), spawn_rngs(chain_seed, n_chains)
    n = arguments.trajectories
    kinds = {"plaquette": float, "charge": np.int64, "sine_charge": float, "delta_h": float, "accepted": bool}
    record = {name: np.empty((n, n_chains), dtype) for name, dtype in kinds.items()}
    non_finite = 0
    bar = tqdm(range(n), desc="trajectories", disable=None, file=sys.stderr, delay=2)
    for i in bar:
        state, info = kernel.step(rngs, state)
        record["plaquette"][i] = observables.mean_plaquette(state.x)
        record["charge"][i] = observables.charge(state.x)
        record["sine_charge"][i] = observables.sine_charge(state.x)
        record["delta_h"][i], record["accepted"][i] = info.delta_h, info.accepted
        non_finite += int(info.non_finite.sum())
        if i % 50 == 0:
            bar.set_postfix(acceptance=f"{record['accepted'][: i + 1].mean():.2f}", refresh=False)
    manifest = {name: value for name, value in vars(arguments).items() if name not in ("command", "out")} | {
        "theory": "u1",
        "version": refimpl.__version__,
        "non_finite_proposals": non_finite,
        "samples.npz": {**dict.fromkeys(record, "(trajectory, chain)"), "x": "final links (chain, mu, t, x)"},
    }
    partial = Path(tempfile.mkdtemp(prefix=out.name + ".part-", dir=out.resolve().parent))
    try:
        np.savez(partial / "samples.npz", x=state.x, **record)  # type: ignore[arg-type]
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    print(
        f"{n} trajectories of {n_chains} chains, acceptance {record['accepted'].mean():.4f}, {non_finite} non-finite; in {out}"
    )
    print(f"  {'':<14}{'mean':>12}{'error':>10}{'tau_int':>10}{'error':>9}{'exact':>14}")
    volume = shape[0] * shape[1]
    exact = {
        "plaquette": u1.plaquette(beta, shape),
        "charge^2": volume * u1.charge_susceptibility(beta, shape),
        "sine_charge^2": volume * u1.sine_charge_susceptibility(beta, shape),
    }
    for name, value in exact.items():
        series = record[name.removesuffix("^2")].astype(float) ** (2 if name.endswith("^2") else 1)
        if n < 2:
            print(f"  {name:<14}{series.mean():>12.6f}{'':>29}{value:>14.8f}")
            continue
        m = statistics.mean(series)
        print(f"  {name:<14}{m.value:>12.6f}{m.error:>10.1e}{m.tau.tau:>10.2f}{m.tau.error:>9.1e}{value:>14.8f}")
    if n > 1:
        print(f"  tunnelling rate {observables.tunnelling_rate(record['charge']).mean():.2e} per trajectory")
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # The thread count of a BLAS is read when NumPy is loaded, so start again with it set.
        command = [sys.executable, "-m", "refimpl", "bench", *([arguments.item] if arguments.item else [])]
        os.execve(
            sys.executable, [*command, "--seconds", str(arguments.seconds)], {**os.environ, "OMP_NUM_THREADS": "1"}
        )
    from refimpl.validation import bench

    if arguments.item is not None and arguments.item not in bench.ITEMS:
        raise ValueError(f"ITEM: got {arguments.item!r}, expected one of {', '.join(bench.ITEMS)}")
    bench.pin_threads()
    for item in [arguments.item] if arguments.item else bench.ITEMS:
        print(
            f"{item}: {(bench.ITEMS[item].setup.__doc__ or '').strip()}\n{bench.table(bench.run(item, arguments.seconds))}"
        )
    if missing := bench.missing_peers():
        print(f"not compared, not installed: {', '.join(missing)} (pip install 'refimpl[bench]')")
    return 0
