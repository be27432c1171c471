"""What a small experiment is made of, drawn by Hypothesis so that it shrinks: few numbers that are not zero, simple ones first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ..contract import Subject
from ..strategies import phi4_fields, u1_fields, u1_flux_fields, u1_hot_fields
from ..theories import U1, Matrices, Phi4

Array = NDArray[Any]

# Which fields are tried, one kind after the other: with few numbers that are not zero; of a charge; random ones.
KINDS = ("few", "flux", "hot")

_NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0]) | st.floats(-4, 4)
_ANGLES = st.sampled_from([0.0, 1.0, math.pi / 2, -math.pi / 2, -math.pi]) | st.floats(-math.pi, math.pi)
_UNIFORM = st.sampled_from([0.5, 0.125, 0.875, 0.0]) | st.floats(0, 1, exclude_max=True)
_SEEDS = st.integers(0, 2**32 - 1)


class Draws:
    """What a case asks for, with the chain axis first, for the lattice and the theory of a target."""

    def __init__(self, draw: st.DrawFn, at: Subject, kind: str) -> None:
        self._draw, self._at, self._kind = draw, at, kind

    @property
    def cold(self) -> Array:
        """The field that all others differ from in few places, one chain."""
        theory = self._at.theory
        if isinstance(theory, Matrices):
            return np.broadcast_to(np.eye(theory.n, dtype=np.complex128), (1, *theory.field_shape)).copy()
        return np.zeros((1, *theory.field_shape))

    def field(self, chains: int = 1) -> Array:
        """A field of the theory."""
        theory = self._at.theory
        if isinstance(theory, U1):
            fields = {"few": u1_fields, "flux": u1_flux_fields, "hot": u1_hot_fields}[self._kind]
            return self._draw(fields(st.just(theory.shape), st.just(chains)))
        if isinstance(theory, Phi4) and self._kind != "few":
            largest = {"flux": 4.0, "hot": 16.0}[self._kind]
            return self._draw(phi4_fields(st.just(theory.shape), st.just(chains), largest))
        w = self.numbers((chains, *theory.momentum_shape), _ANGLES if theory.angular else _NUMBERS)
        return np.asarray(theory.pushed(np.concatenate([self.cold] * chains), w))

    def momenta(self, chains: int = 1) -> Array:
        """Momenta, most of them zero."""
        return self.numbers((chains, *self._at.theory.momentum_shape), _NUMBERS)

    def uniform(self, chains: int = 1) -> Array:
        """Metropolis numbers."""
        return self._draw(arrays(np.float64, chains, elements=_UNIFORM))

    def directions(self, chains: int = 1) -> Array:
        """Plus or minus one."""
        return self._draw(arrays(np.float64, chains, elements=st.sampled_from([1.0, -1.0])))

    def turns(self, shape: Sequence[int]) -> Array:
        """Multiples of 2 pi, most of them none."""
        return (
            2
            * np.pi
            * self._draw(
                arrays(np.float64, tuple(shape), elements=st.sampled_from([0.0, 1.0, -1.0]), fill=st.just(0.0))
            )
        )

    def spinors(self, shape: Sequence[int]) -> Array:
        """Complex numbers, most of them zero."""
        real, imaginary = (self.numbers(tuple(shape), _NUMBERS) for _ in range(2))
        return real + 1j * imaginary

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return self._draw(st.integers(low, high))

    def one_of(self, choices: Sequence[Any]) -> Any:
        """One of these, the first ones simpler."""
        return self._draw(st.sampled_from(list(choices)))

    def seed(self) -> int:
        """Of noise that the target draws."""
        return self._draw(st.integers(0, 1000))

    def rng(self) -> np.random.Generator:
        """For what has no simple values, such as a gauge transformation."""
        return np.random.default_rng(self._draw(st.integers(0, 100)))

    def numbers(self, shape: Sequence[int], elements: st.SearchStrategy[float] = _NUMBERS) -> Array:
        """Of this shape, most of them zero."""
        if self._kind == "hot":
            return np.random.default_rng(self._draw(_SEEDS)).standard_normal(shape)
        return self._draw(arrays(np.float64, tuple(shape), elements=elements, fill=st.just(0.0)))
