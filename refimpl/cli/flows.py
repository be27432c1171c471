"""The command ``train flow``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import RESUMABLE, command, count, counts, new_folder, nothing_else, positive, seed
from .recipes import base_from, changed, only_with, optimiser_options, options_given, rate_from
from .theories import parameter_options, theory_from

if TYPE_CHECKING:
    from refimpl.models import Flow
    from refimpl.theories import Theory
    from refimpl.training import FlowCheckpoint, FlowPlan, FlowRecipe

FLOW_THEORIES = ("phi4", "u1", "schwinger", "su2", "su3")


def add(models: Any) -> None:
    """Add ``flow`` to the models that can be trained."""
    train = command(
        models,
        "flow",
        _train,
        "train a normalizing flow; the folder then holds weights.npz (the averaged parameters) and checkpoint.npz",
        "Without options a flow that is known to work is trained. phi4: affine couplings from normal numbers; u1: plaquette "
        "couplings from uniform links; schwinger: these and holonomy layers, from exact pure gauge configurations; su2, su3: "
        "spectral couplings from Haar matrices. The lattice must suit the masks: extents even for phi4, multiples of 4 for links. "
        "The loss is mean (log q + S), at least -log Z. Interrupted? `refimpl train flow --resume "
        "--out DIR` goes on, bit for bit, and ends with the same table. A training that is finished cannot be extended, as its "
        "rate has fallen to zero: begin a longer one. `refimpl sample THEORY --kernel flow --model DIR` draws exactly "
        f"with the flow. {RESUMABLE}",
    )
    train.add_argument(
        "--theory", choices=list(FLOW_THEORIES), help="the target distribution (needed without --resume)"
    )
    parameter_options(train, *FLOW_THEORIES)
    train.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist yet")
    train.add_argument("--resume", action="store_true", help="go on with the training in DIR, under the options it has")
    train.add_argument("--seed", type=seed, help="of weights, batches and evaluation (default 0)")
    train.add_argument("--samples", type=count, metavar="N", help="draws of the evaluation (default 4096)")

    model = train.add_argument_group("model")
    model.add_argument("--layers", type=count, help="coupling layers (default 8; su2, su3: 16, u1: 24)")
    model.add_argument("--hidden", type=counts, metavar="N,N,...", help="channels of the convolutions, such as 8,8")
    text = "uniform, or gauge:BETA for exact pure gauge configurations (links; phi4 begins with normal numbers)"
    model.add_argument("--base", metavar="BASE", help=text)
    model.add_argument("--pattern", choices=["stripes", "tiles"], help="masks of links (default tiles)")
    model.add_argument("--bins", type=count, help="of the splines of gauge theories (default 8)")
    text = "whether plaquettes move in the frame of the loops around their links (gauge theories; default: su2, su3)"
    model.add_argument("--staples", action=argparse.BooleanOptionalAction, default=None, help=text)
    text = "whether layers are odd functions of the field (phi4; default yes)"
    model.add_argument("--odd", action=argparse.BooleanOptionalAction, default=None, help=text)
    text = "two holonomy layers in front of every N couplings and at the end (u1, schwinger; 0: none)"
    model.add_argument("--holonomies", type=seed, metavar="N", help=text)

    recipe = train.add_argument_group("recipe")
    optimiser_options(
        recipe, "0", "1e-8", "0.99; phi4: 0.98", steps="500; u1: 1400, phi4: 4000", batch="64",
        rate="2e-3; su2, su3: 5e-3, phi4: 8e-3",
    )  # fmt: skip
    recipe.add_argument("--anneal", type=positive, metavar="FACTOR", help="factor on the action at the start")
    recipe.add_argument("--anneal-steps", type=count, help="steps until the factor is 1 (default: half of them)")


def _train(arguments: argparse.Namespace) -> int:
    from refimpl import training

    out = Path(arguments.out)
    if arguments.resume:
        nothing_else(arguments, ("out",))
        flow, theory, recipe = training.load_flow(out)
        checkpoint = training.load_flow_checkpoint(out)
    else:
        new_folder(arguments.out)
        if arguments.theory is None:
            raise ValueError(f"--theory: got nothing, expected one of {', '.join(FLOW_THEORIES)}")
        theory = theory_from(arguments, arguments.theory)
        plan = _plan(arguments, theory)
        flow, recipe = plan.flow(theory), plan.recipe
        checkpoint = training.start_flow(flow, recipe)
        theory.exact  # noqa: B018 (the evaluation needs it: a coupling it refuses is refused before the training)
        out.mkdir()

    def save(state: FlowCheckpoint) -> None:
        training.save_flow(out, state.flow(flow), theory, recipe)
        training.save_flow_checkpoint(out, state)

    save(checkpoint)
    try:
        done = training.fit_flow(theory, flow, recipe, checkpoint, save=save, progress=True)
    except training.TrainingError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"refimpl: interrupted; refimpl train flow --resume --out {out} goes on", file=sys.stderr)
        return 130
    save(done)
    print(f"{_summary(theory, done, flow, recipe)}\nin {out}")
    return 0


def _summary(theory: Theory, done: FlowCheckpoint, flow: Flow, recipe: FlowRecipe) -> str:
    """The last steps, and the flow of the averaged weights against its theory."""
    import numpy as np

    from refimpl import training

    last = done.history[-50:]
    loss, _, ess, _ = last.mean(axis=0)
    few = f"ESS/n {ess:.3f} of n = {recipe.batch} draws (it falls with n)"
    head = f"{done.step} steps; of the last {len(last)}: loss {loss:.6g}, {few}"
    rng = np.random.default_rng([recipe.seed, 2])
    return f"{head}\n{training.evaluate(done.flow(flow), theory, rng, recipe.samples, progress=True)}"


def _plan(arguments: argparse.Namespace, theory: Theory) -> FlowPlan:
    """The plan that is known to work for this theory, with what the command line changes."""
    from refimpl.training import Annealing, flow_plan

    given = options_given(arguments)
    of_links = dict.fromkeys(("pattern", "bins", "base", "staples"), FLOW_THEORIES[1:])
    only_with(given, theory.name, **of_links, holonomies=("u1", "schwinger"), odd=("phi4",))
    plan = flow_plan(theory, given.get("steps"))
    recipe = changed(
        replace(plan.recipe, rate=rate_from(given, plan.recipe.rate, plan.recipe.steps)), given,
        batch="batch", clip="clip", average="average", weight_decay="weight_decay", epsilon="epsilon", seed="seed",
        samples="samples",
    )  # fmt: skip
    if "anneal" in given:
        usual = Annealing(given["anneal"], max(1, recipe.steps // 2), "gamma")
        recipe = replace(recipe, annealing=changed(usual, given, steps="anneal_steps"))
    elif "anneal_steps" in given:
        raise ValueError(f"--anneal-steps: got {given['anneal_steps']} without --anneal, expected both")
    plan = changed(
        replace(plan, recipe=recipe), given,
        layers="layers", hidden="hidden", pattern="pattern", bins="bins", staples="staples", holonomies="holonomies",
        odd="odd", seed="seed",
    )  # fmt: skip
    return replace(plan, base=base_from(given["base"])) if "base" in given else plan
