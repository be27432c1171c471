"""Adam, schedules of its rate, clipping by the global norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
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

    The cosine reaches zero at step ``every``; Foreman 2020 (sec. 15) uses ``staircase`` with ``decay`` 0.96, Abbott 2022 one with
    0.5, every 10,000 or 20,000 steps. Within the first ``warm_up`` steps all of it grows linearly, by ``(n + 1)/warm_up``.
    """

    initial: float = 1e-3
    schedule: str = "constant"
    decay: float = 0.96
    every: int = 100
    warm_up: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule: got {self.schedule!r}, expected one of {', '.join(SCHEDULES)}")
        check_number("initial", self.initial, 0, above=True)
        check_number("decay", self.decay, 0, above=True)
        check_integer("every", self.every, 1)
        check_integer("warm_up", self.warm_up, 0)

    def at(self, step: int) -> float:
        n = step / self.every
        warm = (step + 1) / self.warm_up if step < self.warm_up else 1.0
        if self.schedule == "constant":
            return self.initial * warm
        if self.schedule == "cosine":
            return self.initial * warm * 0.5 * (1 + math.cos(math.pi * min(n, 1.0)))
        return self.initial * warm * self.decay ** (math.floor(n) if self.schedule == "staircase" else n)


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
    """First and second moments of the gradient, and the number of steps taken (Kingma, Ba 2014).

    With a weight decay it is AdamW, whose decay does not pass through the moments (Loshchilov, Hutter 2019).
    """

    first: Params
    second: Params
    steps: int = 0

    FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8

    @classmethod
    def start(cls, params: Params) -> Adam:
        zeros = {key: np.zeros_like(value) for key, value in params.items()}
        return cls(zeros, dict(zeros))

    def step(
        self, params: Params, grads: Params, rate: float, weight_decay: float = 0.0, epsilon: float = EPSILON
    ) -> tuple[Params, Adam]:
        """New parameters and the new state; keys without a gradient stay.

        ``w -= rate (m / (sqrt(v) + epsilon) + weight_decay w)``, with the moments m and v corrected for their start at zero.
        """
        b1, b2, n = self.FIRST_DECAY, self.SECOND_DECAY, self.steps + 1
        first, second, new = dict(self.first), dict(self.second), dict(params)
        for key, g in grads.items():
            first[key] = b1 * first[key] + (1 - b1) * g
            second[key] = b2 * second[key] + (1 - b2) * g * g
            shift = rate * (first[key] / (1 - b1**n)) / (np.sqrt(second[key] / (1 - b2**n)) + epsilon)
            new[key] = (params[key] if weight_decay == 0 else (1 - rate * weight_decay) * params[key]) - shift
        return new, Adam(first, second, n)


def joined(params: Mapping[str, Array]) -> Array:
    """All parameters in one array: an optimiser passes over it once."""
    return np.concatenate([np.zeros(0), *(value.ravel() for value in params.values())])


def parted(weights: Array, like: Mapping[str, Array]) -> Params:
    """Parameters of the shapes of ``like``, as views of one array."""
    parts, at = {}, 0
    for key, value in like.items():
        parts[key] = weights[at : at + value.size].reshape(value.shape)
        at += value.size
    return parts


def global_norm(grads: Params) -> float:
    """``sqrt(sum of all squares)``."""
    return math.sqrt(sum(float(np.sum(g * g)) for g in grads.values()))


def clipped(grads: Params, largest: float) -> Params:
    """The gradient scaled down to a global norm of at most ``largest``."""
    norm = global_norm(grads)
    return grads if norm <= largest else {key: g * (largest / norm) for key, g in grads.items()}
