"""Seeds for PyTorch, whose CPU generator takes the last 32 bits of a seed and drops the others without a word."""

from __future__ import annotations

PRIME = (
    2**32 - 5
)  # the largest below 2^32: no power of two is divisible by it, so that every single bit of a seed counts


def folded(seed: int) -> int:
    """A seed of any size in 32 bits, which NumPy's global generator takes too."""
    return seed % PRIME
