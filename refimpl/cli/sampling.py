"""The commands that compute: ``exact | sample | bench``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import whole_folder
from .arguments import command, count, new_folder, positive, seed
from .theories import THEORIES, parameter_options, theory_from

if TYPE_CHECKING:
    from refimpl.theories import Theory

KERNELS = {
    "hmc": "Hybrid Monte Carlo",
    "l2hmc": "the generalized leapfrog of --model",
    "winding": "HMC and a winding step in turn",
    "flux": "HMC and a flux heat bath in turn",
}
ON_LINKS = ("winding", "flux")
HMC_DEFAULTS = {"integrator": "leapfrog", "step_size": 0.2, "steps": 10}


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    for parser in _per_theory(commands, "exact", "exact answers", _exact):
        parser.add_argument("--json", action="store_true", help="as JSON, every digit")

    text = "run Markov chains and save observables and final fields"
    for parser in _per_theory(commands, "sample", text, _sample):
        kernels = {k: what for k, what in KERNELS.items() if parser.get_default("theory") == "u1" or k not in ON_LINKS}
        listed = "; ".join(f"{name}: {what}" for name, what in kernels.items())
        parser.add_argument("--kernel", choices=list(kernels), default="hmc", help=f"default hmc; {listed}")
        parser.add_argument("--model", metavar="DIR", help="folder made by `refimpl train l2hmc`")
        parser.add_argument("--cycle", type=count, metavar="N", help="with l2hmc: N HMC updates before each of its own")
        parser.add_argument("--integrator", choices=["leapfrog", "omelyan"], help="of HMC (default leapfrog)")
        parser.add_argument("--step-size", type=positive, help="of HMC (default 0.2)")
        parser.add_argument("--steps", type=count, help="integrator steps of HMC (default 10)")
        parser.add_argument("--chains", type=count, default=64, help="default 64")
        parser.add_argument("--trajectories", type=count, default=1000, help="per chain (default 1000)")
        starts = ["exact", "hot", "cold"]
        parser.add_argument("--start", choices=starts, default="exact", help="equilibrium (default), random or zero")
        parser.add_argument("--seed", type=seed, default=0, help="default 0")
        parser.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist yet")

    bench = command(commands, "bench", _bench, "speed, as ratios to other implementations in one interleaved run")
    bench.add_argument("item", nargs="?", metavar="ITEM", help="what to time, or how it begins (default: everything)")
    bench.add_argument("--seconds", type=positive, default=4.0, help="time spent on each case (default 4)")


def _per_theory(commands: Any, name: str, text: str, function: Any) -> list[argparse.ArgumentParser]:
    theories = commands.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="THEORY")
    parsers = []
    for theory, what in THEORIES.items():
        parser = command(theories, theory, function, f"{what}: {text}")
        parser.set_defaults(theory=theory)
        parameter_options(parser, theory)
        parsers.append(parser)
    return parsers


def _exact(arguments: argparse.Namespace) -> int:
    theory = theory_from(arguments, arguments.theory)
    parameters = dict(theory.parameters)
    answers, distribution = _answers(theory)
    if arguments.json:
        record = {**parameters, **answers}
        print(json.dumps({**record, "charge_distribution": distribution} if distribution else record, indent=1))
        return 0
    print(
        f"{THEORIES[theory.name].partition(' (default')[0]}: " + ", ".join(f"{k} = {v}" for k, v in parameters.items())
    )
    for name, value in answers.items():
        print(f"  {name:<28}{value:.15g}")
    for q, p in distribution.items():
        if int(q) >= 0 and (p > 1e-12 or int(q) < 2):
            label = f"p(Q = {'+-' if int(q) else ''}{q})"
            print(f"  {label:<28}{p:.15g}")
    return 0


def _answers(theory: Theory) -> tuple[dict[str, float], dict[str, float]]:
    """Every exact number of a theory by name, and the distribution of its charge where it has one."""
    from refimpl.exact import o2, u1

    p = theory.parameters
    if theory.name == "u1":
        beta, shape = p["beta"], tuple(p["shape"])
        volume = shape[0] * shape[1]
        sides = [side for side in range(1, min(*shape, 4) + 1) if side**2 < volume]
        answers = {
            "log_partition": u1.log_partition(beta, shape),
            "plaquette": u1.plaquette(beta, shape),
            "plaquette_variance": u1.plaquette_variance(beta, shape),
            "single_plaquette_variance": u1.single_plaquette_variance(beta, shape),
            "plaquette_covariance": u1.plaquette_covariance(beta, shape),
            "charge_susceptibility": u1.charge_susceptibility(beta, shape),
            "sine_charge_susceptibility": u1.sine_charge_susceptibility(beta, shape),
            **{f"wilson_loop_{side}x{side}": u1.wilson_loop(beta, shape, side**2) for side in sides},
            "winding_ceiling": u1.winding_ceiling(beta, shape),
        }
        charges, probabilities = u1.charge_distribution(beta, shape)
    elif theory.name == "o2":
        beta, length = p["beta"], p["length"]
        answers = {
            "log_partition": o2.log_partition(beta, length),
            "bond_cosine": o2.bond_cosine(beta, length),
            "bond_variance": o2.bond_variance(beta, length),
            **({"susceptibility": o2.susceptibility(beta, length)} if length <= 4096 else {}),
            "winding_susceptibility": o2.winding_susceptibility(beta, length),
            **{f"correlation_{r}": o2.correlation(beta, length, r) for r in range(1, min(length // 2, 8) + 1)},
        }
        charges, probabilities = o2.winding_distribution(beta, length)
    else:
        return dict(theory.exact), {}
    return answers, {str(q): p for q, p in zip(charges.tolist(), probabilities.tolist(), strict=True)}


def _kernel(arguments: argparse.Namespace, theory: Theory) -> Any:
    """The update that the options name."""
    from refimpl.kernels import HMC, Cycle, FluxHeatBath, Kernel, Winding
    from refimpl.maps import INTEGRATORS

    name = arguments.kernel
    if name == "l2hmc" and arguments.model is None:
        raise ValueError("--model: got nothing, expected the folder of a model for --kernel l2hmc")
    if name != "l2hmc" and arguments.model is not None:
        raise ValueError(f"--model: got {arguments.model!r} with --kernel {name}, expected it with l2hmc only")
    if name == "l2hmc" and arguments.cycle is None:
        if given := [option for option in HMC_DEFAULTS if getattr(arguments, option) is not None]:
            raise ValueError(f"--{given[0].replace('_', '-')}: got it without HMC, expected --cycle N with it")
    else:
        for option, default in HMC_DEFAULTS.items():
            if getattr(arguments, option) is None:
                setattr(arguments, option, default)
    if arguments.cycle is not None and name != "l2hmc":
        raise ValueError(f"--cycle: got {arguments.cycle} with --kernel {name}, expected it with l2hmc only")
    hmc: list[Kernel] = []
    if arguments.step_size is not None:
        hmc = [HMC(theory.action, arguments.step_size, arguments.steps, INTEGRATORS[arguments.integrator])]
    if name == "hmc":
        return hmc[0]
    if name == "winding":
        return Cycle([*hmc, Winding(theory.action)])
    if name == "flux":
        return Cycle([*hmc, FluxHeatBath(theory.action)])  # type: ignore[arg-type]
    from refimpl.kernels.l2hmc import L2HMC
    from refimpl.training import load_model

    model, _, _ = load_model(Path(arguments.model), theory)
    trained_for = dict(load_model(Path(arguments.model))[1].parameters)
    if trained_for != dict(theory.parameters):
        print(f"refimpl: the model was trained at {trained_for}: exact here too, but less efficient", file=sys.stderr)
    kernel = L2HMC(model)
    return Cycle([*hmc * arguments.cycle, kernel]) if hmc else kernel


def _sample(arguments: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    import refimpl
    from refimpl.kernels import spawn_rngs

    out = new_folder(arguments.out)
    theory, n_chains, n = theory_from(arguments, arguments.theory), arguments.chains, arguments.trajectories
    kernel = _kernel(arguments, theory)
    start_rng, chain_seed = np.random.default_rng([arguments.seed, 1]), np.random.SeedSequence([arguments.seed, 0])
    if arguments.start == "exact":
        assert theory.sample is not None  # every theory that has a name has an exact sampler
        x = theory.sample(start_rng, n_chains)
    else:
        x = theory.start(start_rng, n_chains) if arguments.start == "hot" else np.zeros((n_chains, *theory.field_shape))
    state, rngs = kernel.init(x), spawn_rngs(chain_seed, n_chains)
    record = {name: np.empty((n, n_chains)) for name in [*theory.observables, "delta_h"]}
    record |= {theory.sector_name: np.empty((n, n_chains), np.int64), "accepted": np.empty((n, n_chains), bool)}
    non_finite = 0
    bar = tqdm(range(n), desc="trajectories", disable=None, file=sys.stderr, delay=2)
    for i in bar:
        state, infos = kernel.step(rngs, state)
        info = infos[-1] if isinstance(infos, tuple) else infos
        for name, observable in theory.observables.items():
            record[name][i] = observable(state.x)
        record[theory.sector_name][i] = theory.sector(state.x)
        record["delta_h"][i], record["accepted"][i] = info.delta_h, info.accepted
        non_finite += int(info.non_finite.sum())
        if i % 50 == 0:
            bar.set_postfix(acceptance=f"{record['accepted'][: i + 1].mean():.2f}", refresh=False)
    options = {name: value for name, value in vars(arguments).items() if name not in ("command", "out")}
    manifest = {name: value for name, value in options.items() if value is not None} | {
        "version": refimpl.__version__,
        "non_finite_proposals": non_finite,
        "samples.npz": {
            **dict.fromkeys(record, "(trajectory, chain)"),
            "x": f"final fields (chain, {', '.join(map(str, theory.field_shape))})",
        },
    }
    with whole_folder(out) as partial:
        np.savez(partial / "samples.npz", x=state.x, **record)  # type: ignore[arg-type]
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    accepted = record["accepted"].mean()
    print(f"{n} trajectories of {n_chains} chains, acceptance {accepted:.4f}, {non_finite} non-finite; in {out}")
    _summary(theory, record)
    return 0


def _summary(theory: Theory, record: dict[str, Any]) -> None:
    """Means with errors and autocorrelation times beside the exact values, and the tunnelling rate."""
    from refimpl import observables, statistics

    print(f"  {'':<14}{'mean':>12}{'error':>10}{'tau_int':>10}{'error':>9}{'exact':>14}")
    for name, value in theory.exact.items():
        if len(record[name]) < 2:
            print(f"  {name:<14}{record[name].mean():>12.6f}{'':>29}{value:>14.8f}")
            continue
        m = statistics.mean(record[name])
        print(f"  {name:<14}{m.value:>12.6f}{m.error:>10.1e}{m.tau.tau:>10.2f}{m.tau.error:>9.1e}{value:>14.8f}")
    if len(record[theory.sector_name]) > 1 and theory.name != "gaussian":
        tau = statistics.integrated_autocorrelation_time(record[theory.sector_name].astype(float))
        rate = observables.tunnelling_rate(record[theory.sector_name]).mean()
        print(
            f"  {theory.sector_name}: tau_int {tau.tau:.2f} +- {tau.error:.1e}, tunnelling rate {rate:.2e} per trajectory"
        )


def _bench(arguments: argparse.Namespace) -> int:
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # The thread count of a BLAS is read when NumPy is loaded, so start again with it set.
        again = [sys.executable, "-m", "refimpl", "bench", *([arguments.item] if arguments.item else [])]
        os.execve(sys.executable, [*again, "--seconds", str(arguments.seconds)], {**os.environ, "OMP_NUM_THREADS": "1"})
    from refimpl.validation import bench

    items = bench.selected(arguments.item)
    bench.pin_threads()
    for item in items:
        heading = (bench.ITEMS[item].setup.__doc__ or "").strip()
        print(f"{item}: {heading}\n{bench.table(bench.run(item, arguments.seconds))}")
    if missing := bench.missing_peers():
        print(f"not compared, not installed: {', '.join(missing)} (pip install 'refimpl[bench]')")
    return 0
