"""The command ``train joint``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import (
    RESUMABLE,
    command,
    count,
    counts,
    new_folder,
    non_negative,
    nothing_else,
    positive,
    positives,
    seed,
)
from .recipes import base_from, called_options, changed, only_with, optimiser_options, options_given, rate_from
from .theories import parameter_options, theory_from

if TYPE_CHECKING:
    from refimpl.models import JointModel
    from refimpl.theories import Theory
    from refimpl.training import FlowPlan, JointCheckpoint, JointPlan, JointRecipe

THEORIES = ("schwinger", "su2", "su3")
NO_MASSES = "none"


def add(models: Any) -> None:
    """Add ``joint`` to the models that can be trained."""
    train = command(
        models,
        "joint",
        _train,
        "train a flow of links together with flows of pseudofermions; the folder then holds weights.npz (the averaged "
        "parameters) and checkpoint.npz",
        "A joint model draws links U from a marginal flow, and for every monomial of the fermion determinant a pseudofermion phi "
        "from a flow that is linear in phi: sampling needs no determinant. Without options one that is known to work is trained. "
        "schwinger: even-odd, Hasenbusch masses 0.001, 0.01, 0.05; su2, su3: even-odd, mass 0.3. Both extents of the lattice must "
        "be multiples of 4. The loss is mean (log q + S) of links and pseudofermions; the evaluation says what each of them is "
        "worth. Interrupted? `refimpl train joint --resume "
        "--out DIR` goes on, bit for bit, and ends with the same lines. A training that is finished cannot be extended, as its "
        "rate has fallen to zero: begin a longer one. "
        f"`refimpl sample THEORY --kernel pseudomarginal --model DIR` draws exactly with the model. {RESUMABLE}",
    )
    train.add_argument("--theory", choices=list(THEORIES), help="the target distribution (needed without --resume)")
    parameter_options(train, *THEORIES)
    train.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist yet")
    train.add_argument("--resume", action="store_true", help="go on with the training in DIR, under the options it has")
    train.add_argument("--seed", type=seed, help="of weights, batches and evaluation (default 0)")
    train.add_argument("--samples", type=count, metavar="N", help="links of the evaluation (default 1024)")
    text = "numbers of pseudofermions for each of these links and monomials (default 1,16)"
    train.add_argument("--n-pf", type=counts, metavar="N,...", help=text)
    text = "factor on trained pseudofermions, or one for each monomial (default: with the least variance of weights)"
    train.add_argument("--inflation", type=_numbers, metavar="C,...", help=text)

    links = train.add_argument_group("flow of links")
    links.add_argument("--layers", type=count, help="coupling layers (default 8; su2, su3: 16)")
    text = "channels of their convolutions, such as 8,8 (default 16; su2, su3: 8)"
    links.add_argument("--hidden", type=counts, metavar="N,N,...", help=text)
    text = "uniform, or gauge:BETA for exact pure gauge configurations (default: gauge, with a coupling that is near)"
    links.add_argument("--base", metavar="BASE", help=text)
    links.add_argument("--pattern", choices=["stripes", "tiles"], help="masks of links (default tiles)")
    links.add_argument("--bins", type=count, help="of the splines (default 8)")
    text = "whether plaquettes move in the frame of the loops around their links (default: su2, su3)"
    links.add_argument("--staples", action=argparse.BooleanOptionalAction, default=None, help=text)
    text = "two holonomy layers in front of every N couplings and at the end (schwinger; 0: none; default 4)"
    links.add_argument("--holonomies", type=seed, metavar="N", help=text)

    quarks = train.add_argument_group("flows of pseudofermions")
    text = "pseudofermions of the Schur complement (default yes)"
    quarks.add_argument("--even-odd", action=argparse.BooleanOptionalAction, default=None, help=text)
    text = f"Hasenbusch masses, increasing, such as 0.001 0.01 0.05, or {NO_MASSES} (default: as in the paper)"
    quarks.add_argument("--mus", type=_masses, nargs="+", metavar="MU", help=text)
    text = "layers of every monomial, or of each, the last one last (default 2 for ratios, on matrices 4, and 8 for the last)"
    quarks.add_argument("--pf-layers", type=counts, metavar="N,...", help=text)
    text = "parallel transport convolutions of a layer (default 6; without even-odd 3)"
    quarks.add_argument("--n-pt", type=count, metavar="N", help=text)
    text = "spinor features between these convolutions (default 2; su2, su3: 4)"
    quarks.add_argument("--features", type=count, metavar="H", help=text)
    text = "what a layer moves: every second site or row, a spin, or these in turn (default spatial; su2, su3: alternating)"
    quarks.add_argument("--partition", choices=["spatial", "spin", "alternating"], help=text)
    text = "channels of the context that all layers share (default 16)"
    quarks.add_argument("--context-hidden", type=count, metavar="N", help=text)
    text = "whether the context sees sites modulo 4 (default yes)"
    quarks.add_argument("--positions", action=argparse.BooleanOptionalAction, default=None, help=text)
    quarks.add_argument("--gain", type=positive, help="of the weights at the start (default 0.5)")

    recipe = train.add_argument_group("recipe")
    optimiser_options(
        recipe, "0.01", "1e-8; the paper's: 0.02", "0.99", steps="800; su2, su3: 400", batch="64; su2, su3: 16", rate="5e-3"
    )  # fmt: skip
    recipe.add_argument("--mu-reg", type=non_negative, metavar="MU", help="added to D D^dag in training (default 1e-5)")
    text = "noise of pseudofermions in the loss: its exact mean, or draws (default trace)"
    recipe.add_argument("--chi", choices=["trace", "sampled"], help=text)


def _train(arguments: argparse.Namespace) -> int:
    from refimpl import training

    out = Path(arguments.out)
    if arguments.resume:
        nothing_else(arguments, ("out",))
        saved, theory, recipe = training.load_joint(out)
        checkpoint, model = training.load_joint_checkpoint(out, saved), saved.inflated(1.0)
    else:
        new_folder(arguments.out)
        if arguments.theory is None:
            raise ValueError(f"--theory: got nothing, expected one of {', '.join(THEORIES)}")
        theory = theory_from(arguments, arguments.theory)
        with called_options(arguments, layers="pf_layers"):
            plan = _plan(arguments, theory)
            recipe = plan.recipe
            model = plan.model(theory)
        checkpoint = training.start_joint(model, recipe)
        out.mkdir()

    def save(state: JointCheckpoint) -> None:
        own = state.model(model)
        own = own if recipe.inflation is None else training.settled(own, theory, recipe)
        training.save_joint(out, own, theory, recipe)
        training.save_joint_checkpoint(out, state)

    if not arguments.resume:
        save(checkpoint)
    try:
        done = training.fit_joint(theory, model, recipe, checkpoint, save=save, progress=True)
        trained = training.settled(done.model(model), theory, recipe, progress=True)
        training.save_joint(out, trained, theory, recipe)
        summary = _summary(theory, done, trained, recipe)
    except training.TrainingError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"refimpl: interrupted; refimpl train joint --resume --out {out} goes on", file=sys.stderr)
        return 130
    print(f"{summary}\nin {out}")
    return 0


def _summary(theory: Theory, done: JointCheckpoint, trained: JointModel, recipe: JointRecipe) -> str:
    """The last steps, and the model of the averaged weights against its theory."""
    import numpy as np

    from refimpl import training
    from refimpl.training.joint_evaluation import evaluate_joint

    last = done.history[-50:]
    mean = dict(zip(training.joint_columns(len(trained.monomials)), last.mean(axis=0), strict=True))
    few = f"marginal ESS/n {mean['ess']:.3f} of n = {recipe.batch} draws (it falls with n)"
    head = f"{done.step} steps; of the last {len(last)}: loss {mean['loss']:.6g}, {few}"
    rng = np.random.default_rng([recipe.seed, 2])
    found = evaluate_joint(trained, theory, rng, recipe.samples, n_pf=recipe.n_pf, progress=True)
    return f"{head}\n{found}"


def _plan(arguments: argparse.Namespace, theory: Theory) -> JointPlan:
    """The plan that is known to work for this theory, with what the command line changes."""
    from refimpl.training import joint_plan

    given = options_given(arguments)
    if not theory.parameters["kappa"]:
        raise ValueError(
            f"--kappa: got {given.get('kappa', 'nothing')} for {theory.name}, expected a number > 0: without fermions train a flow"
        )
    only_with(given, theory.name, holonomies=("schwinger",))
    mus = tuple(mu for masses in given["mus"] for mu in masses) if "mus" in given else None
    mixed = mus and () in given["mus"]
    if mus is not None and (mixed or list(mus) != sorted(set(mus))):
        got = " ".join(str(mu) for mu in (*([NO_MASSES] if mixed else []), *mus))
        raise ValueError(f"--mus: got {got}, expected increasing masses, or {NO_MASSES}")
    regulator = {"mu_reg": given["mu_reg"]} if "mu_reg" in given else {}
    plan = joint_plan(
        theory,
        given.get("steps"),
        even_odd=given.get("even_odd", True),
        mus=mus,
        layers=given.get("pf_layers"),
        **regulator,
    )
    if "features" in given and given.get("n_pt") == 1:
        raise ValueError(f"--features: got {given['features']} with --n-pt 1, which has no features in between")
    recipe = changed(
        replace(plan.recipe, rate=rate_from(given, plan.recipe.rate, plan.recipe.steps)), given,
        batch="batch", clip="clip", average="average", weight_decay="weight_decay", epsilon="epsilon", seed="seed",
        samples="samples", n_pf="n_pf", inflation="inflation", chi="chi",
    )  # fmt: skip
    return changed(
        replace(plan, recipe=recipe, marginal=_marginal(given, plan.marginal)), given,
        n_pt="n_pt", features="features", hidden="context_hidden", positions="positions", partition="partition", gain="gain",
        seed="seed",
    )  # fmt: skip


def _marginal(given: Mapping[str, Any], usual: FlowPlan) -> FlowPlan:
    plan: FlowPlan = changed(
        usual, given,
        layers="layers", hidden="hidden", pattern="pattern", bins="bins", staples="staples", holonomies="holonomies", seed="seed",
    )  # fmt: skip
    return replace(plan, base=base_from(given["base"])) if "base" in given else plan


def _masses(text: str) -> tuple[float, ...]:
    """Masses with commas between them; ``none`` are none."""
    return () if text == NO_MASSES else _numbers(text)


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers above 0 with commas between them."""
    return tuple(positives(text))
