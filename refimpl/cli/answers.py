"""The commands ``exact | bench``."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from .arguments import EXIT_CODES, command, count, extent, non_negative, positive, seed
from .theories import SMOOTH, THEORIES, theory_from, theory_parsers

if TYPE_CHECKING:
    from refimpl.theories import Theory

LEAST_SIZE = 10  # samples that weights leave: fewer give no error
LIMIT_EVENTS = 3.0  # where none was seen: exp(-3) = 5 %
FEW_CHARGED = 10  # samples with charge, whose error is then uncertain by a quarter or more

DEFINITIONS = (
    "charge_susceptibility: <Q^2>/(T X). sine_charge_susceptibility: the same of sum sin(theta_P)/(2 pi) in place of Q. "
    "plaquette_variance: of the mean over the lattice. plaquette_covariance: of two plaquettes. winding_ceiling: sum over Q of "
    "min(p(Q), p(Q + 1)), the largest rate at which a Metropolis step that proposes Q +- 1 changes the charge."
)
DEFINITIONS_OF_PHI4 = (
    "S = sum over sites of (phi(n + t) - phi(n))^2/2 + (phi(n + x) - phi(n))^2/2 + m2 phi^2/2 + lam phi^4/24, periodic; on an "
    "extent of 2 both bonds count. Answers exist at lam = 0 (closed forms) and where an extent is 1 or 2 (transfer matrix); "
    "error: how far two grids differ, relative to each answer (absolute for gap and log_partition where they are below 1). "
    "log_partition: log of the integral of exp(-S). susceptibility: "
    "T X <m^2> of the mean field m. binder: 1 - <m^4>/(3 <m^2>^2). gap: of the transfer matrix along the longer extent, the mass "
    "where it is long. correlator_t: <P(t) P(0)> of the means P over the slices of one time; T - t is as t, and --json lists "
    "all t."
)
SAMPLED = (
    "Fermions are antiperiodic in time; periodic ones are in the library only (refimpl.exact.schwinger). Sampled numbers are "
    "shown as value(error), the error in the last two digits. With --json every number is a plain one under its name; errors of "
    'sampled ones are under "errors", null where there is none, limits (95 %) under "upper_limits", and why under "notes".'
)
DEFINITIONS_OF_QUARKS = (
    f"{SAMPLED} On 2 x 2 sites - log_mean_det_squared: log of the mean of det D^2 in pure gauge theory. charge_squared: <Q^2>. "
    "charge_susceptibility: charge_squared/(T X). correlator_t: <sum tr |D^-1(t, x; 0, y)|^2>, the sum over all source and sink "
    "sites y and x of their time slices, not divided by their number. condensate: <Re tr D^-1>/(2 T X), 1 for free quarks at "
    f"kappa = 0. With --kappa 0 as in `refimpl exact u1` - {DEFINITIONS}"
)


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    text = "exact answers"
    theories = commands.add_parser("exact", help=text, description=text).add_subparsers(required=True, metavar="THEORY")
    parsers = theory_parsers(theories, text, _exact, SMOOTH)
    parsers[SMOOTH.index("u1")].epilog = f"{DEFINITIONS} {EXIT_CODES}"
    parsers[SMOOTH.index("phi4")].epilog = f"{DEFINITIONS_OF_PHI4} {EXIT_CODES}"
    parsers[SMOOTH.index("phi4")].set_defaults(command=_exact_phi4, one_thread=True)
    sampled = "two flavours of Wilson fermions by reweighting exact samples without them"
    for name, n, what in (
        ("schwinger", 1, f"the Schwinger model, {sampled}; by quadrature on 2 x 2 sites"),
        ("su2", 2, f"two-dimensional SU(2), and with --kappa {sampled}"),
        ("su3", 3, f"two-dimensional SU(3), and with --kappa {sampled}"),
    ):
        function = _exact_schwinger if n == 1 else _exact_sun
        parser = command(theories, name, function, f"{what}: {text}", DEFINITIONS_OF_QUARKS if n == 1 else SAMPLED)
        parser.set_defaults(n=n)
        limit = " (on 2 x 2 sites with quarks at most 30)" if n == 1 else ""
        parser.add_argument("--beta", type=non_negative, required=True, help=f"inverse coupling{limit}")
        parser.add_argument(
            "--kappa", type=non_negative, required=n == 1, default=0.0, help="hopping parameter (0: no fermions)"
        )
        parser.add_argument("--shape", type=extent, nargs=2, required=True, metavar=("T", "X"), help="lattice extents")
        parser.add_argument("--samples", type=count, metavar="N", help="exact samples (default 10000, SU(n) 1000)")
        parser.add_argument("--seed", type=seed, default=0, help="of the samples (default 0)")
        parsers.append(parser)
    for parser in parsers:
        parser.add_argument("--json", action="store_true", help="as JSON, every digit")

    bench = command(commands, "bench", _bench, "speed, as ratios to other implementations in one interleaved run")
    bench.add_argument("items", nargs="*", metavar="ITEM", help="what to time, or how it begins (default: everything)")
    bench.add_argument("--seconds", type=positive, default=4.0, help="time spent on each case (default 4)")


def _exact(arguments: argparse.Namespace) -> int:
    theory = theory_from(arguments, arguments.theory)
    parameters = dict(theory.parameters)
    answers, distribution = _answers(theory)
    _print(arguments.json, THEORIES[theory.name].partition(" (default")[0], parameters, answers, distribution)
    return 0


def _exact_phi4(arguments: argparse.Namespace) -> int:
    from refimpl.exact import free_scalar, phi4

    theory = theory_from(arguments, "phi4")
    m2, lam, (n_t, n_x) = arguments.m2, arguments.lam, arguments.shape
    if lam and min(n_t, n_x) > phi4.WIDEST:
        raise ValueError(
            f"--shape: got {n_t} {n_x} at lam = {lam:g}, expected an extent of 1 or {phi4.WIDEST}, or --lam 0: others have no "
            f"exact answers; `refimpl sample phi4 --m2 {m2:g} --lam {lam:g} --shape {n_t} {n_x} --out DIR` estimates them"
        )
    found = phi4.answers(m2, lam, (n_t, n_x))
    answers = {
        "log_partition": found.log_partition,
        "phi_squared": found.phi_squared,
        "phi_fourth": found.phi_fourth,
        "magnetisation": 0.0,
        **({} if lam else {"absolute_magnetisation": free_scalar.absolute_magnetisation(m2, (n_t, n_x))}),
        "magnetisation_squared": found.susceptibility / (n_t * n_x),
        "magnetisation_fourth": found.magnetisation_fourth,
        "susceptibility": found.susceptibility,
        "binder": found.binder,
        **({} if found.gap is None else {"gap": found.gap}),
        "error": found.error,
    }
    correlator = found.correlator.tolist()
    if arguments.json:
        print(json.dumps({**theory.parameters, **answers, "correlator": correlator}, indent=1))
        return 0
    times = {f"correlator_{t}": correlator[t] for t in range(n_t // 2 + 1)}
    _print(False, THEORIES["phi4"], dict(theory.parameters), answers | times, {})
    return 0


def _exact_sun(arguments: argparse.Namespace) -> int:
    from refimpl.exact import sun

    beta, shape, n = arguments.beta, tuple(arguments.shape), arguments.n
    if arguments.kappa > 0:
        return _exact_reweighted(arguments, f"two-dimensional SU({n}) with two flavours")
    if arguments.samples is not None:
        raise ValueError(
            "--samples: got it without fermions, where every answer is a sum; leave it out, or give --kappa"
        )
    volume = shape[0] * shape[1]
    sides = [side for side in range(1, min(*shape, 4) + 1) if side**2 < volume]
    answers = {
        "log_partition": sun.log_partition(beta, shape, n),
        "plaquette": sun.plaquette(beta, shape, n),
        "plaquette_variance": sun.plaquette_variance(beta, shape, n),
        "single_plaquette_variance": sun.single_plaquette_variance(beta, shape, n),
        "plaquette_covariance": sun.plaquette_covariance(beta, shape, n),
        **{f"wilson_loop_{side}x{side}": sun.wilson_loop(beta, shape, side**2, n) for side in sides},
    }
    _print(arguments.json, f"two-dimensional SU({n})", {"beta": beta, "shape": list(shape)}, answers, {})
    return 0


def _exact_schwinger(arguments: argparse.Namespace) -> int:
    from refimpl.exact.schwinger_2x2 import two_by_two
    from refimpl.theories import by_name

    beta, kappa, shape = arguments.beta, arguments.kappa, tuple(arguments.shape)
    if kappa > 0 and shape != (2, 2):
        return _exact_reweighted(arguments, "the Schwinger model with two flavours")
    if arguments.samples is not None:
        raise ValueError(
            f"--samples: got it at kappa = {kappa:g} on {shape[0]} x {shape[1]} sites, where every answer is "
            f"{'found by quadrature' if kappa else 'a sum'}; leave it out"
        )
    if kappa == 0:
        answers, distribution = _answers(by_name("u1", beta=beta, shape=shape))
        answers["charge_squared"] = shape[0] * shape[1] * answers["charge_susceptibility"]
    else:
        exact = two_by_two(beta, kappa)
        answers = {
            "log_mean_det_squared": exact.log_z,
            "plaquette": exact.plaquette,
            "charge_squared": exact.charge_squared,
            "charge_susceptibility": exact.charge_squared / 4,
            "correlator_0": exact.correlator[0],
            "correlator_1": exact.correlator[1],
            "condensate": exact.condensate,
        }
        distribution = {str(q): p for q, p in exact.charge_distribution.items()}
    parameters = {"beta": beta, "kappa": kappa, "shape": list(shape)}
    _print(arguments.json, "the Schwinger model with two flavours", parameters, answers, distribution)
    return 0


def _exact_reweighted(arguments: argparse.Namespace, what: str) -> int:
    """Values and errors from exact samples of the pure gauge theory, weighted with ``det D^2``."""
    import numpy as np
    from tqdm import tqdm

    from refimpl import observables
    from refimpl.exact.schwinger import reweighted

    beta, kappa, shape, n = arguments.beta, arguments.kappa, tuple(arguments.shape), arguments.n
    samples = arguments.samples or (10_000 if n == 1 else 1000)
    functions: dict[str, Any] = {"plaquette": observables.mean_plaquette}
    if n == 1:
        functions["charge_squared"] = lambda x: observables.charge(x).astype(np.float64) ** 2
        functions["charged"] = lambda x: observables.charge(x) != 0
    with tqdm(total=samples, desc="reweighting", disable=None, file=sys.stderr, delay=2) as bar:
        rng = np.random.default_rng(arguments.seed)
        values, ess = reweighted(rng, samples, beta, kappa, shape, functions, n=n, done=bar.update)
    if samples * ess < LEAST_SIZE:
        raise ValueError(
            f"--samples: got {samples}, as good as {samples * ess:.1f} without weights; expected as good as {LEAST_SIZE}: some "
            f"{math.ceil(1.5 * LEAST_SIZE / ess)} samples"
        )
    charged = values.pop("charged", None)
    notes, limits = _charge_notes(charged, samples * ess)
    numbers = {name: (None, None) if name in limits else pair for name, pair in values.items()}
    run = {"beta": beta, "kappa": kappa, "shape": list(shape), "samples": samples, "seed": arguments.seed}
    if arguments.json:
        found = {name: value for name, (value, _) in numbers.items()}
        errors = {name: error for name, (_, error) in numbers.items()}
        record = {**run, "effective_fraction": ess, **found, "errors": errors, "upper_limits": limits, "notes": notes}
        print(json.dumps(record, indent=1))
        return 0
    print(f"{what}: " + ", ".join(f"{k} = {v}" for k, v in run.items()))
    print(f"  {'effective fraction':<28}{ess:.3f} of the samples")
    for name, pair in values.items():
        print(f"  {name:<28}{f'< {limits[name]:#.2g}' if name in limits else with_error(*pair)}")
    for note in notes:
        print(note)
    return 0


def _charge_notes(charged: tuple[float, float] | None, size: float) -> tuple[list[str], dict[str, float]]:
    """What to say of ``<Q^2>`` where charge is rare, and the upper limit on it where no sample has any.

    ``charged``: the probability of ``Q != 0`` and its error, whose ratio squared is the number of samples it comes from. ``size``:
    samples that the weights leave. Of no events 3 are the limit at 95 % (Poisson), and a rare charge is 1 or -1.
    """
    if charged is None:
        return [], {}
    probability, error = charged
    if probability == 0:
        why = f"no sample has charge: the limit, at 95 %, is 3 events in the {size:.0f} samples that the weights leave"
        return [f"charge_squared: {why}."], {"charge_squared": LIMIT_EVENTS / size}
    if error and (probability / error) ** 2 < FEW_CHARGED:
        found = f"comes from some {(probability / error) ** 2:.1f} samples with charge: its error is uncertain"
        return [f"charge_squared: {found}; more --samples help."], {}
    return [], {}


def with_error(value: float, error: float) -> str:
    """The number to two digits of its error, such as ``0.7362(12)`` or ``12.3(1.3)``; without one, all digits."""
    if error == 0:
        return f"{value:.9g}"
    decimals = 1 - int(f"{error:.1e}".partition("e")[2])  # of the rounded error, which may have a digit more
    if decimals <= 0:
        return f"{value:.0f}({error:.0f})"
    shown = f"{error:.{decimals}f}"
    return f"{value:.{decimals}f}({shown if float(shown) >= 1 else shown.partition('.')[2].lstrip('0')})"


def _print(
    as_json: bool, what: str, parameters: dict[str, Any], answers: dict[str, float], distribution: dict[str, float]
) -> None:
    if as_json:
        record = {**parameters, **answers}
        print(json.dumps({**record, "charge_distribution": distribution} if distribution else record, indent=1))
        return
    print(f"{what}: " + ", ".join(f"{k} = {v}" for k, v in parameters.items()))
    for name, value in answers.items():
        print(f"  {name:<28}{value:.15g}")
    for q, p in distribution.items():
        if int(q) >= 0 and (p > 1e-12 or int(q) < 2):
            label = f"p(Q = {'+-' if int(q) else ''}{q})"
            print(f"  {label:<28}{p:.15g}")


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


def _bench(arguments: argparse.Namespace) -> int:
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # The thread count of a BLAS is read when NumPy is loaded, so start again with it set.
        again = [sys.executable, "-m", "refimpl", "bench", *arguments.items]
        os.execve(sys.executable, [*again, "--seconds", str(arguments.seconds)], {**os.environ, "OMP_NUM_THREADS": "1"})
    from refimpl.validation import bench

    for item in [item for name in arguments.items or [None] for item in bench.selected(name)]:
        heading = (bench.ITEMS[item].setup.__doc__ or "").strip()
        print(f"{item}: {heading}\n{bench.table(bench.run(item, arguments.seconds))}")
    if missing := bench.missing_peers():
        print(f"not compared, not installed: {', '.join(missing)} (pip install 'refimpl[bench]')")
    return 0
