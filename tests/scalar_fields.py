"""Scalar fields ``(chain, T, X)`` of moderate size, for which tests derive tolerances, and the couplings of phi^4."""

from __future__ import annotations

from hypothesis import strategies as st

from refimpl.validation.strategies import phi4_couplings, phi4_fields

__all__ = ["LARGEST", "phi4_couplings", "scalar_fields"]

LARGEST = 3.0


def scalar_fields(extents=None):
    """Fields of at most `LARGEST`; extents of 1 and 2, where neighbours coincide, are common."""
    return phi4_fields(None if extents is None else st.tuples(extents, extents), largest=LARGEST)
