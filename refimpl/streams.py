"""Independent random streams, one per chain, from one seed: those of ``SeedSequence(seed).spawn(n)``, bit for bit.

Of the children of one `numpy.random.SeedSequence` only the number differs, which is the last word of their entropy. So the hash
of all words before is that of the parent, its ``pool``, and what is left is done for all children at once: several times faster
than making them one by one, which is felt where every update of a thousand chains gets a seed of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence
from numpy.typing import NDArray

# The constants of the hash, which numpy promises not to change (after O'Neill's randutils).
INIT_A, MULT_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULT_B = 0x8B51F9DD, 0x58F38DED
MIX_L, MIX_R = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
SHIFT = np.uint32(16)
POOL = 4  # words


class Child(ISpawnableSeedSequence):
    """Child ``number`` of a seed, with the four words that PCG64 asks for; for all else it becomes the `SeedSequence` it is."""

    def __init__(self, seed: int, number: int, words: NDArray[np.uint64]) -> None:
        self.seed, self.number, self.words = seed, number, words
        self._whole: np.random.SeedSequence | None = None

    @property
    def whole(self) -> np.random.SeedSequence:
        if self._whole is None:
            self._whole = np.random.SeedSequence(self.seed, spawn_key=(self.number,))
        return self._whole

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        if n_words == len(self.words) and dtype is np.uint64:
            return self.words
        return self.whole.generate_state(n_words, dtype)

    def spawn(self, n_children: int) -> list[Any]:
        return self.whole.spawn(n_children)


def streams(seed: int, n: int) -> list[np.random.Generator]:
    """``[Generator(PCG64(child)) for child in SeedSequence(seed).spawn(n)]``, for an integer seed."""
    words = states(seed, n)
    children: list[Any] = [Child(seed, k, words[k]) for k in range(n)]
    return [np.random.Generator(np.random.PCG64(child)) for child in children]


def states(seed: int, n: int) -> NDArray[np.uint64]:
    """``SeedSequence(seed, spawn_key=(k,)).generate_state(4, uint64)`` for k from 0 to n - 1, shape ``(n, 4)``."""
    parent = np.random.SeedSequence(seed)
    length = max(POOL, -(-int(seed).bit_length() // 32))  # of the seed in words; the number comes after them
    constant = INIT_A * pow(MULT_A, 4 * length, 2**32) % 2**32  # four steps of the hash for every word before
    pool = np.empty((POOL, n), np.uint32)
    for i in range(POOL):
        word, constant = _hashed(np.arange(n, dtype=np.uint32), constant, MULT_A)
        mixed = MIX_L * parent.pool[i : i + 1] - MIX_R * word
        pool[i] = mixed ^ (mixed >> SHIFT)
    out, constant = np.empty((n, 8), np.uint32), INIT_B
    for i in range(8):
        out[:, i], constant = _hashed(pool[i % POOL], constant, MULT_B)
    return out.astype("<u4").view("<u8").astype(np.uint64)


def _hashed(word: NDArray[np.uint32], constant: int, multiplier: int) -> tuple[NDArray[np.uint32], int]:
    """A word after one step of the hash, and the constant of the next step."""
    following = constant * multiplier % 2**32
    word = (word ^ np.uint32(constant)) * np.uint32(following)
    return word ^ (word >> SHIFT), following
