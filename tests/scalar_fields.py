"""Hypothesis strategies for scalar fields ``(chain, T, X)`` and the couplings of phi^4."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

LARGEST = 3.0
VALUES = st.sampled_from([0.0, 1.0, -1.0, 0.5, -2.0]) | st.floats(-LARGEST, LARGEST)
EXTENTS = st.integers(1, 5)


@st.composite
def scalar_fields(draw, extents=EXTENTS):
    """Fields that are zero but for some sites; extents of 1 and 2, where neighbours coincide, are common."""
    shape = (draw(st.integers(1, 3)), draw(extents), draw(extents))
    return draw(arrays(np.float64, shape, elements=VALUES, fill=st.just(0.0)))


def phi4_couplings():
    """Pairs ``(m2, lam)``, bound: negative ``m2`` with a positive ``lam``."""
    return st.tuples(st.floats(-4, 4), st.floats(0.01, 30)) | st.tuples(st.floats(0.01, 4), st.just(0.0))
