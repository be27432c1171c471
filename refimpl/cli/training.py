"""The commands ``train | reproduce``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import flows, joint
from .arguments import RESUMABLE, command, count, counts, new_folder, non_negative, nothing_else, positive, seed
from .theories import SMOOTH, THEORIES, parameter_options, theory_from

if TYPE_CHECKING:
    from refimpl.theories import Theory
    from refimpl.training.recipes import Plan

# Of refimpl.reproduce, which takes long to import: for the help.
EXPERIMENTS = (
    "gmm", "freezing", "length", "trajectory", "net-weights", "reversibility", "tunnelling", "step-size", "transfer", "plaquette",
    "pion-mass", "schwinger-topology", "condition-numbers", "notebook",
)  # fmt: skip
LONG = ("notebook",)
PAPERS = {
    "abbott2022": ("fig2", "fig3", "fig4", "fig5", "fig6", "fig7"),
    "bedaque2023": ("fig1", "fig2", "fig3", "table2"),
}


def add(commands: Any) -> None:
    """Add the commands of this module to the parser."""
    models = commands.add_parser("train", help="train a sampler", description="train a sampler").add_subparsers(
        required=True, metavar="MODEL"
    )
    train = command(
        models,
        "l2hmc",
        _train,
        "train a generalized leapfrog; the folder then holds weights.npz (the best parameters) and checkpoint.npz",
        "Without options a model that is known to work is trained. u1: 16 merged layers of scalars, 700 steps of 64 chains; gmm: 5 "
        "layers of dense nets 10,10, 1500 steps of 128 chains annealed from temperature 10 (far fewer do not learn to hop); "
        "otherwise 5 layers of dense nets 100,100 and 1000 steps. Interrupted? `refimpl train l2hmc --resume --out DIR` goes on, "
        f"bit for bit, from the last finished step. {RESUMABLE}",
    )
    train.add_argument("--theory", choices=list(THEORIES), help="the target distribution (needed without --resume)")
    parameter_options(train, *THEORIES)
    train.add_argument("--out", required=True, metavar="DIR", help="a folder that does not exist yet")
    train.add_argument("--resume", action="store_true", help="go on with the training in DIR, under the options it has")
    train.add_argument("--seed", type=seed, help="default 0")

    model = train.add_argument_group("model")
    model.add_argument("--net", choices=["scalars", "dense", "conv", "stencil"], help="kind of the nets")
    model.add_argument("--units", type=counts, metavar="N,N,...", help="hidden sizes, such as 100,100 (implies dense)")
    model.add_argument("--filters", type=counts, metavar="N,N,...", help="channels of the convolutions (implies conv)")
    model.add_argument("--rank", type=count, help="rank of the dense part of a stencil")
    model.add_argument("--activation", help="relu, leaky_relu, elu, softplus, swish, silu or tanh (default relu)")
    model.add_argument("--outputs", help="letters of s, t, q that the nets have (default stq; sq for scalars)")
    model.add_argument(
        "--batch-norm", action="store_true", default=None, help="normalise the last convolution's output"
    )
    model.add_argument("--layers", type=count, help="leapfrog layers")
    model.add_argument("--kernel", choices=["direction", "merged"], help="the kernel the model is trained for")
    model.add_argument("--mask", choices=["random", "checkerboard", "stripes", "combined"], help="default random")
    model.add_argument(
        "--encoding", choices=["cartesian", "masked_angle", "angle", "plaquette"], help="how nets see angles"
    )
    model.add_argument("--shared", action="store_true", default=None, help="one net for all layers, told the time")
    model.add_argument("--winding", type=count, help="units of flux added in the middle of a trajectory")
    model.add_argument("--step-size", type=positive, help="step size to start from")
    model.add_argument("--heat", type=non_negative, help="momentum scaling s to start from")

    recipe = train.add_argument_group("recipe")
    recipe.add_argument("--steps", type=count, help="training steps")
    recipe.add_argument("--chains", type=count, help="training chains")
    losses = (
        "esjd, esjd-plain (real fields); circular; plaquette, plaquette-plain, charge, charge-mixed, topological (u1)"
    )
    recipe.add_argument("--loss", help=losses)
    recipe.add_argument("--rate", type=positive, help="learning rate")
    recipe.add_argument("--rate-every", type=count, help="steps of a staircase or exponential decay")
    recipe.add_argument("--schedule", choices=["constant", "exponential", "staircase", "cosine"], help="of the rate")
    recipe.add_argument("--clip", type=positive, help="largest global norm of a gradient")
    recipe.add_argument(
        "--refresh", choices=["chains", "exact"], help="go on with chains, or draw exact configurations"
    )
    recipe.add_argument("--pretrain", type=count, help="steps that train the step sizes only")
    recipe.add_argument("--thermalise", type=count, help="HMC trajectories after each change of the action")
    recipe.add_argument("--anneal", type=positive, metavar="FACTOR", help="factor on the action at the start")
    recipe.add_argument("--anneal-steps", type=count, help="steps until the factor is 1 (default: 7 of 10 steps)")
    recipe.add_argument("--anneal-kind", choices=["gamma", "temperature"], help="linear in the factor or its inverse")

    flows.add(models)
    joint.add(models)

    text = "repeat an experiment of the papers; without NAME, the list of experiments"
    reproduce = command(commands, "reproduce", _reproduce, text)
    of_papers = "; ".join(f"{', '.join(names)} of {paper}" for paper, names in PAPERS.items())
    reproduce.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    reproduce.add_argument(
        "--paper", choices=list(PAPERS), metavar="PAPER", help=f"whose figure or table NAME is: {of_papers}"
    )
    reproduce.add_argument("--out", metavar="DIR", help="a new folder for table and (with the plot extra) figure")
    reproduce.add_argument("--seed", type=seed, default=0, help="default 0")
    effort = reproduce.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it runs")
    effort.add_argument(
        "--full",
        action="store_true",
        help=f"with --paper, or of {', '.join(LONG)}: the numbers of the paper, which may take hours",
    )


def _train(arguments: argparse.Namespace) -> int:
    from refimpl import training

    out = Path(arguments.out)
    if arguments.resume:
        nothing_else(arguments, ("out",))
        model, theory, record = training.load_model(out)
        recipe = training.recipe_from(record)
        checkpoint = training.load_checkpoint(out)
        model = model.replace(params=checkpoint.params)
    else:
        new_folder(arguments.out)
        if arguments.theory is None:
            raise ValueError(f"--theory: got nothing, expected one of {', '.join(SMOOTH)}")
        if arguments.theory not in SMOOTH:
            raise ValueError(
                f"--theory: got {arguments.theory}, expected one of {', '.join(SMOOTH)}: training needs second derivatives of "
                "the action, which SU(N) and fermions do not have here"
            )
        arguments.seed = arguments.seed or 0
        theory = theory_from(arguments, arguments.theory)
        plan = _plan(arguments, theory)
        model, recipe = plan.model(theory), plan.recipe
        checkpoint = training.start(theory, model, recipe, arguments.seed)
        out.mkdir()

    def save(state: training.Checkpoint) -> None:
        training.save_model(out, model.replace(params=state.best), theory, asdict(recipe))
        training.save_checkpoint(out, state)

    save(checkpoint)
    try:
        done = training.fit(theory, model, recipe, checkpoint, save=save, progress=True)
    except training.TrainingError as error:
        print(f"refimpl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"refimpl: interrupted; refimpl train l2hmc --resume --out {out} goes on", file=sys.stderr)
        return 130
    save(done)
    window = done.history[-50:].mean(axis=0)
    if theory.name != "gaussian" and window[2] < 1e-3:
        print("refimpl: hardly any change of sector at the end: train longer, anneal, or start hotter", file=sys.stderr)
    print(
        f"{done.step} steps, loss {window[0]:.4g}, acceptance {window[1]:.3f}, "
        f"A (change of sector)^2 {window[2]:.4g} (last {min(50, done.step)} steps); in {out}"
    )
    return 0


def _reproduce(arguments: argparse.Namespace) -> int:
    from refimpl import reproduce

    paper = arguments.paper
    if arguments.name is None:
        lines = {} if paper else dict(reproduce.DESCRIPTIONS)
        for of, names in reproduce.PAPER_DESCRIPTIONS.items():
            if paper in (None, of):
                lines |= {f"{name} --paper {of}": text for name, text in names.items()}
        width = max(map(len, lines)) + 2
        for name, text in lines.items():
            print(f"{name:<{width}}{text}")
        return 0
    if arguments.full and paper is None and arguments.name not in reproduce.LONG:
        raise ValueError(
            f"--full: got it without --paper, expected the figure or table of a paper, or {', '.join(LONG)}"
        )
    experiments = reproduce.EXPERIMENTS if paper is None else reproduce.PAPERS[paper]
    if arguments.name not in experiments:
        others = [of for of, names in reproduce.PAPERS.items() if paper is None and arguments.name in names]
        hint = f", or --paper {' or '.join(others)}" if others else ""
        raise ValueError(f"NAME: got {arguments.name!r}, expected one of {', '.join(experiments)}{hint}")
    out = None if arguments.out is None else new_folder(arguments.out)
    if out is not None:
        out.mkdir()
    effort = "quick" if arguments.quick else "paper" if arguments.full else "full"
    print(reproduce.run(arguments.name, seed=arguments.seed, out=out, progress=True, effort=effort, paper=paper))
    return 0


def _plan(arguments: argparse.Namespace, theory: Theory) -> Plan:
    """The plan that is known to work for this theory and kind of net, with what the command line changes."""
    from refimpl.nets import Net
    from refimpl.training import Annealing, recipes

    given = {name: value for name, value in vars(arguments).items() if value is not None}

    def changed(record: Any, **names: str) -> Any:
        """The dataclass with the options that were given, by the names of its fields."""
        return replace(record, **{field: given[option] for field, option in names.items() if option in given})

    kind = given.get("net", "dense" if "units" in given else "conv" if "filters" in given else None)
    if theory.name == "u1" and kind in (None, "scalars"):
        plan = recipes.scalars_plan(theory)
    elif theory.name == "u1" and kind == "conv":
        plan = recipes.convolutional_plan(theory)
    elif theory.name == "gmm" and kind in (None, "dense"):
        plan = recipes.mixture_plan(theory)
    else:
        plan = recipes.dense_plan(theory)
    net = plan.architecture.v_net
    if kind is not None and net is not None and kind != net.kind:
        local = kind in ("conv", "stencil")
        net = Net(kind, filters=(8,) if local else (), rank=4 if kind == "stencil" else 0, activation="tanh")
    net = changed(
        net,
        units="units",
        filters="filters",
        rank="rank",
        activation="activation",
        outputs="outputs",
        batch_norm="batch_norm",
    )
    x_net = None if plan.architecture.x_net is None or net.kind == "scalars" else net
    architecture = changed(
        replace(plan.architecture, v_net=net, x_net=x_net, time="shared" in given),
        n_layers="layers", mask="mask", encoding="encoding", shared="shared", winding="winding",
    )  # fmt: skip
    recipe = changed(
        plan.recipe,
        steps="steps", chains="chains", loss="loss", clip="clip", refresh="refresh", pretrain="pretrain",
        thermalise="thermalise",
    )  # fmt: skip
    recipe = replace(
        recipe,
        rate=changed(replace(recipe.rate, every=recipe.steps), initial="rate", schedule="schedule", every="rate_every"),
    )
    if "anneal" in given or recipe.annealing is not None:
        usual = Annealing(0.1, max(1, int(0.7 * recipe.steps)))
        recipe = replace(recipe, annealing=changed(usual, start="anneal", steps="anneal_steps", kind="anneal_kind"))
    merged = {"direction": False, "merged": True}.get(given.get("kernel", ""), plan.merged)
    plan = replace(plan, architecture=architecture, recipe=recipe, merged=merged)
    return changed(plan, step_size="step_size", heat="heat", seed="seed")
