"""Adam, schedules of its rate, clipping by the global norm."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..lattice import check_integer, check_number

Array = NDArray[np.float64]
Params = dict[str, Array]

SCHEDULES = ("constant", "exponential", "staircase", "cosine")


@dataclass(frozen=True)
class Rate:
    """Learning rate at step n: ``initial`` times 1, ``decay^(n/every)``, ``decay^floor(n/every)`` or a cosine to zero.

    The cosine reaches zero at step ``every``; Foreman 2020 (sec. 15) uses ``staircase`` with ``decay`` 0.96.
    """

    initial: float = 1e-3
    schedule: str = "constant"
    decay: float = 0.96
    every: int = 100

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule: got {self.schedule!r}, expected one of {', '.join(SCHEDULES)}")
        check_number("initial", self.initial, 0, above=True)
        check_number("decay", self.decay, 0, above=True)
        check_integer("every", self.every, 1)

    def at(self, step: int) -> float:
        n = step / self.every
        if self.schedule == "constant":
            return self.initial
        if self.schedule == "cosine":
            return self.initial * 0.5 * (1 + math.cos(math.pi * min(n, 1.0)))
        return self.initial * self.decay ** (math.floor(n) if self.schedule == "staircase" else n)


@dataclass(frozen=True)
class Decline:
    """Learning rate at step n: ``initial decay^(n/every)`` up to step ``last``, ``floor`` after it (Bedaque 2023, eq. 16).

    The defaults are those of the paper, where the curve meets the floor: ``10^-3 0.99^685 = 1.02 10^-6``.
    """

    initial: float = 1e-3
    decay: float = 0.99
    every: float = 1000
    last: int = 685_000
    floor: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("initial", "decay", "every"):
            check_number(name, getattr(self, name), 0, above=True)
        check_number("floor", self.floor, 0)
        check_integer("last", self.last, 0)

    def at(self, step: int) -> float:
        return self.initial * self.decay ** (step / self.every) if step <= self.last else self.floor

    def within(self, steps: int) -> Decline:
        """The same curve for a budget of so many steps, of which the last twentieth is at the floor."""
        last = check_integer("steps", steps, 1) * 19 // 20
        return replace(self, every=self.every * max(last, 1) / max(self.last, 1), last=last)


@dataclass(frozen=True)
class Adam:
    """First and second moments of the gradient, and the number of steps taken (Kingma, Ba 2014)."""

    first: Params
    second: Params
    steps: int = 0

    FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8

    @classmethod
    def start(cls, params: Params) -> Adam:
        zeros = {key: np.zeros_like(value) for key, value in params.items()}
        return cls(zeros, dict(zeros))

    def step(self, params: Params, grads: Params, rate: float) -> tuple[Params, Adam]:
        """New parameters and the new state; keys without a gradient stay."""
        b1, b2, n = self.FIRST_DECAY, self.SECOND_DECAY, self.steps + 1
        first, second, new = dict(self.first), dict(self.second), dict(params)
        for key, g in grads.items():
            first[key] = b1 * first[key] + (1 - b1) * g
            second[key] = b2 * second[key] + (1 - b2) * g * g
            new[key] = params[key] - rate * (first[key] / (1 - b1**n)) / (
                np.sqrt(second[key] / (1 - b2**n)) + self.EPSILON
            )
        return new, Adam(first, second, n)


def global_norm(grads: Params) -> float:
    """``sqrt(sum of all squares)``."""
    return math.sqrt(sum(float(np.sum(g * g)) for g in grads.values()))


def clipped(grads: Params, largest: float) -> Params:
    """The gradient scaled down to a global norm of at most ``largest``."""
    norm = global_norm(grads)
    return grads if norm <= largest else {key: g * (largest / norm) for key, g in grads.items()}
