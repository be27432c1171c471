"""The commands that compute: ``exact | sample | bench``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .arguments import command, count, extent, non_negative, positive, seed


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    exact = theory(commands, "exact", "exact answers", _exact)
    exact.add_argument("--json", action="store_true", help="as JSON, every digit")

    sample = theory(commands, "sample", "run HMC and save observables and final fields", _sample)
    sample.add_argument("--kernel", choices=["hmc"], default="hmc", help="the update (default hmc)")
    sample.add_argument("--integrator", choices=["leapfrog", "omelyan"], default="leapfrog", help="default leapfrog")
    sample.add_argument("--step-size", type=positive, default=0.2, help="default 0.2")
    sample.add_argument("--steps", type=count, default=10, help="integrator steps of a trajectory (default 10)")
    sample.add_argument("--chains", type=count, default=64, help="default 64")
    sample.add_argument("--trajectories", type=count, default=1000, help="per chain (default 1000)")
    starts = ["exact", "hot", "cold"]
    sample.add_argument("--start", choices=starts, default="exact", help="equilibrium (default), random or zero links")
    sample.add_argument("--seed", type=seed, default=0, help="default 0")
    sample.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist yet")

    bench = command(commands, "bench", _bench, "speed, as ratios to other implementations in one interleaved run")
    bench.add_argument("item", nargs="?", metavar="ITEM", help="what to time (default: everything)")
    bench.add_argument("--seconds", type=positive, default=4.0, help="time spent on each case (default 4)")


def theory(
    commands: Any, name: str, text: str, function: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    theories = commands.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="THEORY")
    parser = command(theories, "u1", function, f"two-dimensional U(1): {text}")
    parser.add_argument("--beta", type=non_negative, required=True, help="inverse coupling")
    parser.add_argument("--shape", type=extent, nargs=2, required=True, metavar=("T", "X"), help="lattice extents")
    return parser


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
