"""Options that trainings by reverse Kullback-Leibler divergence share, and the recipes they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .arguments import count, positive, seed

if TYPE_CHECKING:
    from refimpl.training import Rate

DECAYING = ("exponential", "staircase")  # schedules with --decay and --rate-every


def optimiser_options(
    recipe: Any, weight_decay: str, epsilon: str, average: str, *, steps: str, batch: str, rate: str
) -> None:
    """Steps, batch and Adam; the texts say what the defaults are."""
    recipe.add_argument("--steps", type=count, help=f"training steps (default {steps})")
    recipe.add_argument("--batch", type=count, help=f"fields in a step (default {batch})")
    recipe.add_argument("--rate", type=positive, help=f"learning rate of Adam (default {rate})")
    kinds = ["constant", "exponential", "staircase", "cosine"]
    recipe.add_argument("--schedule", choices=kinds, help="of the rate (default cosine, to zero)")
    recipe.add_argument("--decay", type=positive, help="factor of a staircase or exponential decay, such as 0.5")
    recipe.add_argument("--rate-every", type=count, help="steps of a staircase or exponential decay")
    recipe.add_argument("--warm-up", type=seed, metavar="N", help="first steps, in which the rate grows (default 0)")
    recipe.add_argument("--weight-decay", type=float, metavar="W", help=f"of AdamW (default {weight_decay})")
    recipe.add_argument("--epsilon", type=positive, help=f"of Adam (default {epsilon})")
    recipe.add_argument("--clip", type=positive, help="largest norm of a gradient (default 10)")
    recipe.add_argument(
        "--average", type=float, metavar="A", help=f"decay of the average of weights (default {average})"
    )


def options_given(arguments: Any) -> dict[str, Any]:
    """The options of the command line that have a value."""
    return {name: value for name, value in vars(arguments).items() if value is not None}


@contextmanager
def called_options(arguments: Any, **options: str) -> Iterator[None]:
    """`ValueError`s that begin with the name of a field begin with that of its option; ``options``: of those named differently."""
    try:
        yield
    except ValueError as error:
        field, separator, rest = str(error).partition(": ")
        option = options.get(field, field)
        if not separator or option not in vars(arguments):
            raise
        raise ValueError(f"--{option.replace('_', '-')}: {rest}") from error


def changed(record: Any, given: Mapping[str, Any], **names: str) -> Any:
    """The dataclass with the options that were given, by the names of its fields."""
    return replace(record, **{field: given[option] for field, option in names.items() if option in given})


def only_with(given: Mapping[str, Any], theory: str, **theories: tuple[str, ...]) -> None:
    """Refuse options of other theories: `ValueError`."""
    for option, own in theories.items():
        if option in given and theory not in own:
            raise ValueError(f"--{option}: got {given[option]!r} for {theory}, expected it with {', '.join(own)}")


def rate_from(given: Mapping[str, Any], usual: Rate, steps: int) -> Rate:
    """The learning rate; raises `ValueError` for options that would change nothing, or need others."""
    rate: Rate = changed(
        usual, given, initial="rate", schedule="schedule", decay="decay", every="rate_every", warm_up="warm_up"
    )
    decaying = rate.schedule in DECAYING
    for name in ("decay", "rate_every"):
        option = "--" + name.replace("_", "-")
        if name in given and not decaying:
            raise ValueError(
                f"{option}: got {given[name]!r} with the schedule {rate.schedule}, expected it with --schedule "
                f"{' or '.join(DECAYING)}"
            )
        if name not in given and (rate.schedule == "staircase" or (decaying and name == "decay")):
            raise ValueError(f"{option}: got nothing, expected a number with --schedule {rate.schedule}")
    if "warm_up" in given and rate.warm_up > steps:
        raise ValueError(f"--warm-up: got {rate.warm_up}, expected at most the {steps} steps of the training")
    return rate


def base_from(text: str) -> float | None:
    """The coupling of ``gauge:BETA``, None for ``uniform``."""
    if text == "uniform":
        return None
    kind, _, beta = text.partition(":")
    try:
        if kind != "gauge":
            raise ValueError
        return float(beta)
    except ValueError:
        raise ValueError(f"--base: got {text!r}, expected uniform or gauge:BETA, such as gauge:2.4") from None
