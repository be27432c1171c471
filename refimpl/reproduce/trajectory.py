"""What a trained trajectory does on its way: energy, plaquette and charge layer by layer (Foreman 2021, Figs. 6, 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import exact, observables
from ..groups import wrap
from ..lattice import site_sum
from ..maps import MolecularDynamics
from ..maps.architecture import NetWeights
from ..maps.l2hmc import GeneralizedLeapfrog
from ..theories import u1
from ..training import recipes
from .measure import trained
from .table import Cell, Panel, Table, bar, check_effort, finish

Array = NDArray[np.float64]

SHAPE = (8, 8)
COLUMNS = (
    "beta", "sampler", "layer", "plaquette", "plaquette_error", "energy", "energy_error", "energy_std",
    "charge_change", "charge_change_error",
)  # fmt: skip
NO_NETS = NetWeights(s_v=0.0, t_v=0.0, q_v=0.0)
COARSEST, FINEST = 1.8, 3.5  # couplings whose plaquettes bracket the middle of a trajectory at beta = 7


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Train scalars at beta = 3..7 and follow their trajectories from exact configurations."""
    quick = check_effort(effort)
    betas = (7.0,) if quick else (3.0, 4.0, 5.0, 6.0, 7.0)
    n_chains = 128 if quick else 1000
    rows: list[tuple[Cell, ...]] = []
    profiles: dict[tuple[float, str], dict[str, Array]] = {}
    notes: list[str] = []
    for beta in bar(betas, "beta", progress):
        theory = u1(beta, SHAPE)
        model, recipe = recipes.scalars(theory, 16, 60 if quick else 500 if beta == 7 else 250)
        model, _ = trained(theory, model, recipe, seed, progress)
        assert theory.sample is not None
        rng = np.random.default_rng([seed, 6, int(beta)])
        x = theory.sample(rng, n_chains)
        v = rng.standard_normal(x.shape)
        versions = {"scalars": model}
        if beta == 7:
            versions["s_v = 0"] = _uniform(model)
            notes.append(_compared_with_hmc(versions["s_v = 0"], x[:64], v[:64]))
        for name, version in versions.items():
            profile = profiles[beta, name] = along(version, x, v)
            every = 1 if beta == 7 and name == "scalars" else 8
            for k in range(0, len(profile["plaquette"]), every):
                rows.append((beta, name, k, *_cells(profile, k)))
    middle = len(profiles[7.0, "scalars"]["plaquette"]) // 2
    found = profiles[7.0, "scalars"]["plaquette"][middle].mean()
    table = Table(
        "trajectory",
        "along the trajectories of trained scalars on 8 x 8 (Foreman 2021, Figs. 6, 7)",
        COLUMNS,
        tuple(rows),
        (
            f"{n_chains} exact configurations. energy: change of H - sum log|J| since the start, its mean, error and spread.",
            "charge_change: <(Q - Q_start)^2>, integer charge, before the decision. 16 layers forward and 16 back (merged).",
            f"plaquette in the middle at beta = 7: {found:.4f}, that of beta = {_coupling_of(found):.2f}; exact at beta = "
            f"{COARSEST:g}: {exact.u1.plaquette(COARSEST, SHAPE):.4f}, at {FINEST:g}: {exact.u1.plaquette(FINEST, SHAPE):.4f}, "
            f"at 7: {exact.u1.plaquette(7.0, SHAPE):.4f}.",
            *notes,
        ),
        seed,
    )
    return finish(table, out, lambda: _panels(profiles))


def along(model: GeneralizedLeapfrog, x: Array, v: Array) -> dict[str, Array]:
    """Plaquette, charge, and the change of ``H - sum log|J|`` at the points of the trajectories, ``(layer, chain)``."""
    points = model.path((x, v))

    def energy(x: Array, v: Array, logdet: Array) -> Array:
        return np.asarray(model.action.action(x) + 0.5 * site_sum(v * v) - logdet)

    energies = np.array([energy(*z, logdet) for z, logdet in points])
    return {
        "plaquette": np.array([observables.mean_plaquette(z[0]) for z, _ in points]),
        "charge": np.array([observables.charge(z[0]) for z, _ in points]),
        "energy": energies - energies[0],
    }


def _uniform(model: GeneralizedLeapfrog) -> GeneralizedLeapfrog:
    """The model with its nets switched off and one step size, the median of its own."""
    eps = float(np.median(model.params["eps_x"]))
    params = {**model.params, **{key: np.full_like(model.params[key], eps) for key in ("eps_x", "eps_v")}}
    return replace(model, net_weights=NO_NETS, params=params)


def _compared_with_hmc(model: GeneralizedLeapfrog, x: Array, v: Array) -> str:
    """The merged map without nets ends with flipped momenta where the leapfrog of twice as many steps ends."""
    (x_map, v_map), logdet = model.forward((x, v))
    eps, n = float(model.params["eps_x"][0]), 2 * model.architecture.n_layers
    (x_md, v_md), _ = MolecularDynamics(model.action, eps, n).forward((x, v))
    worst = max(float(np.abs(wrap(x_map - x_md)).max()), float(np.abs(v_map + v_md).max()))
    return (
        f"s_v = 0 (and t, q; step {eps:.3f}): largest difference from the leapfrog of {n} steps {worst:.1e}, "
        f"largest |log|J|| {np.abs(logdet).max():.1e}."
    )


def _coupling_of(plaquette: float) -> float:
    """The coupling with this exact plaquette."""
    from scipy.optimize import brentq

    return float(brentq(lambda beta: exact.u1.plaquette(beta, SHAPE) - plaquette, 0.1, 50.0, xtol=1e-3))


def _cells(profile: dict[str, Array], k: int) -> tuple[float, ...]:
    root = math.sqrt(profile["energy"].shape[1])
    plaquette, energy = profile["plaquette"][k], profile["energy"][k]
    jump = (profile["charge"][k] - profile["charge"][0]) ** 2.0
    return (
        float(plaquette.mean()), float(plaquette.std(ddof=1) / root), float(energy.mean()),
        float(energy.std(ddof=1) / root), float(energy.std(ddof=1)), float(jump.mean()), float(jump.std(ddof=1) / root),
    )  # fmt: skip


def _panels(profiles: dict[tuple[float, str], dict[str, Array]]) -> Sequence[Panel]:
    energy, plaquette = [], []
    for (beta, name), profile in profiles.items():
        layers = np.arange(len(profile["energy"]))
        label = f"beta = {beta:g}" + ("" if name == "scalars" else ", HMC")
        energy.append((label, layers, profile["energy"].mean(axis=1), profile["energy"].std(axis=1), "-"))
        plaquette.append((label, layers, profile["plaquette"].mean(axis=1), None, "-"))
    own = profiles[7.0, "scalars"]["charge"]
    moving = np.argsort(-np.abs(own - own[0]).max(axis=0), kind="stable")[:6]
    charge = [(f"chain {c}", np.arange(len(own)), own[:, c] + 0.06 * i, None, "-") for i, c in enumerate(moving)]
    levels = [(f"exact, beta = {b:g}", exact.u1.plaquette(b, SHAPE)) for b in (COARSEST, 3.0, FINEST, 7.0)]
    return [
        Panel("H - sum log|J|, change and spread over chains", "layer", "energy", energy),
        Panel("average plaquette", "layer", "<cos P>", plaquette, levels),
        Panel("integer charge at beta = 7, chains that move most", "layer", "Q", charge),
    ]
