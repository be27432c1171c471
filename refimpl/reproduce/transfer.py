"""Samplers trained on a small lattice, run on a larger one (announced in Foreman 2021): heat is extensive."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..kernels import Cycle, Kernel
from ..kernels.l2hmc import L2HMC
from ..maps.l2hmc import GeneralizedLeapfrog
from ..theories import Theory, u1
from ..training import Rate, Recipe, recipes
from .freezing import trained_convolutions
from .measure import charge_of, gradients, how, trained, tuned_hmc
from .table import Cell, Panel, Table, bar, check_effort, finish

BETA = 7.0
SMALL, LARGE = (8, 8), (16, 16)
COLUMNS = (
    "sampler", "lattice", "layers", "gradients", "acceptance", "tau", "tau_error", "how", "rate", "cost_gradients",
    "ms_per_step", "training_s",
)  # fmt: skip
# Four times the volume: smaller steps for the energy error, more layers for the length, less heat in each.
LAYERS, STEP_FACTOR, HEAT_FACTOR = 32, 0.65, 0.75
# With a unit of flux in the middle of the trajectory heat need not do all of the work, and 16 layers are enough.
FLUX_START, FLUX_STEP_FACTOR, FLUX_HEAT_FACTOR = 0.3, 0.8, 0.75


def run(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Scalars and convolutions of 8 x 8 at beta = 7 on 16 x 16: as they are, rescaled, and fine-tuned."""
    quick = check_effort(effort)
    small, large = u1(BETA, SMALL), u1(BETA, LARGE)
    seeds = iter(np.random.SeedSequence([seed, 16]).spawn(16))
    rows: list[tuple[Cell, ...]] = []
    n_chains, n_steps = (32, 20) if quick else (256, 100)

    def measure(name: str, theory: Theory, kernel: Kernel, layers: int | None, seconds: float | None) -> None:
        few = 25 if "conv" in name else n_steps
        charge = charge_of(kernel, theory, n_chains, few, next(seeds))
        price = gradients(kernel)
        lattice = f"{theory.field_shape[1]}x{theory.field_shape[2]}"
        rows.append(
            (name, lattice, layers, price, charge.acceptance, charge.tau, charge.error, how(charge), charge.rate,
             charge.tau * price, 1e3 * charge.seconds, seconds)
        )  # fmt: skip

    scalars, cost = trained(small, *recipes.scalars(small, 16, 20 if quick else 500), seed, progress)
    rescaled = stretched(on_lattice(scalars, large), LAYERS, STEP_FACTOR, HEAT_FACTOR)
    wound, wound_cost = trained(small, *with_flux(small, 20 if quick else 300), seed, progress)
    wound_rescaled = stretched(on_lattice(wound, large), 16, FLUX_STEP_FACTOR, FLUX_HEAT_FACTOR)
    wound_tuned, wound_more = fine_tuned(wound_rescaled, large, 3 if quick else 250, 1.5e-3, seed, progress)
    tuned, more = fine_tuned(rescaled, large, 3 if quick else 540, 1.2e-3, seed, progress)
    hmc = tuned_hmc(large, seed, quick)
    stages: list[tuple[str, Theory, Kernel, int | None, float | None]] = [
        ("HMC", small, tuned_hmc(small, seed, quick), None, None),
        ("HMC", large, hmc, None, None),
        ("scalars", small, L2HMC(scalars), 16, cost),
        ("scalars, as they are", large, L2HMC(on_lattice(scalars, large)), 16, 0.0),
        ("scalars, rescaled", large, L2HMC(rescaled), LAYERS, 0.0),
        ("scalars, rescaled and fine-tuned", large, L2HMC(tuned), LAYERS, more),
        ("scalars, fine-tuned + HMC", large, Cycle([L2HMC(tuned), hmc]), LAYERS, more),
        ("scalars with flux", small, L2HMC(wound), 16, wound_cost),
        ("scalars with flux, as they are", large, L2HMC(on_lattice(wound, large)), 16, 0.0),
        ("scalars with flux, rescaled and fine-tuned", large, L2HMC(wound_tuned), 16, wound_more),
    ]
    if not quick:
        conv, conv_cost = trained_convolutions(small, seed, progress=progress)
        cooler = stretched(on_lattice(conv, large), conv.architecture.n_layers, 1.0, HEAT_FACTOR)
        conv_tuned, conv_more = fine_tuned(cooler, large, 100, 1e-3, seed, progress)
        stages += [
            ("convolutional", small, L2HMC(conv), conv.architecture.n_layers, conv_cost),
            ("convolutional, as it is", large, L2HMC(on_lattice(conv, large)), conv.architecture.n_layers, 0.0),
            ("convolutional, cooler and fine-tuned", large, L2HMC(conv_tuned), conv.architecture.n_layers, conv_more),
        ]
    for stage in bar(stages, "lattices", progress):
        measure(*stage)
    table = Table(
        "transfer",
        "samplers of 8 x 8 on 16 x 16, beta = 7",
        COLUMNS,
        tuple(rows),
        (
            f"{n_chains} chains of {n_steps} steps (convolutions: 25) from exact starts; how: as in 'freezing'.",
            f"rescaled: twice the layers, step sizes times {STEP_FACTOR:g}, s times {HEAT_FACTOR:g}; cooler: the latter only.",
            "with flux: one unit of flux is added or taken in the middle of a trajectory (the winding layer), which starts with",
            f"{FLUX_START:g} of the heat; rescaled: step sizes times {FLUX_STEP_FACTOR:g}, s times {FLUX_HEAT_FACTOR:g}.",
            "training_s: CPU seconds of this stage; the heat and its loss grow with the volume, so what was right is too hot.",
        ),
        seed,
    )

    def panels() -> list[Panel]:
        found = table.where()
        names = [f"{row['sampler']}, {row['lattice']}" for row in found]
        taus, errors = ([row[name] for row in found] for name in ("tau", "tau_error"))
        bars = [error if math.isfinite(error) else 0.0 for error in errors]
        profile = [
            (label, np.arange(m.architecture.n_layers) / m.architecture.n_layers, m.params["v/scalar/s"], None, "o-")
            for label, m in (("8x8", scalars), ("16x16, rescaled", rescaled), ("16x16, fine-tuned", tuned))
        ]
        return [
            Panel(
                "tau_int of Q",
                "",
                "tau_int, steps",
                [("", range(len(taus)), taus, bars, "o")],
                log_y=True,
                legend=False,
                x_names=names,
            ),
            Panel("profile of the heat", "layer / layers", "s_v", profile),
        ]

    return finish(table, out, panels)


def with_flux(theory: Theory, steps: int) -> tuple[GeneralizedLeapfrog, Recipe]:
    """Scalars with a winding layer in the middle of the trajectory, and how to train them."""
    plan = recipes.scalars_plan(theory, 16, steps)
    plan = replace(plan, architecture=replace(plan.architecture, winding=1), heat=FLUX_START * plan.heat)
    return plan.model(theory), plan.recipe


def on_lattice(model: GeneralizedLeapfrog, theory: Theory) -> GeneralizedLeapfrog:
    """The same parameters on another lattice; raises `ValueError` where they do not fit it."""
    return replace(
        model, action=theory.smooth_action, architecture=replace(model.architecture, field_shape=theory.field_shape)
    )


def stretched(model: GeneralizedLeapfrog, n_layers: int, step_factor: float, heat_factor: float) -> GeneralizedLeapfrog:
    """The model on another number of layers, with step sizes and s multiplied.

    Numbers of a layer are interpolated, because a smooth profile loses less heat; a layer of nets is the nearest old one.
    """
    old = model.architecture.n_layers
    before, after = (np.arange(old) + 0.5) / old, (np.arange(n_layers) + 0.5) / n_layers
    nearest = (after * old).astype(int)
    params = {
        key: np.interp(after, before, value) if value.ndim == 1 else value[nearest]
        for key, value in model.params.items()
    }
    for key in ("eps_x", "eps_v"):
        params[key] = step_factor * params[key]
    for key in {"v/scalar/s", "v/head/s/scale"} & set(params):
        params[key] = heat_factor * params[key]
    return replace(model, architecture=replace(model.architecture, n_layers=n_layers), params=params)


def fine_tuned(
    model: GeneralizedLeapfrog, theory: Theory, steps: int, rate: float, seed: int, progress: bool
) -> tuple[GeneralizedLeapfrog, float]:
    """A short training from where the model is; and its CPU seconds."""
    recipe = Recipe(steps=steps, chains=64, loss="charge", rate=Rate(rate, "cosine", every=steps), refresh="exact")
    return trained(theory, model, replace(recipe, average=0.95), seed, progress)
