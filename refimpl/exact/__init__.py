"""Exact answers and exact samplers. Imports numpy only, and shares no code with what it judges."""

from . import fermions, gaussian, mixture, o2, schwinger, schwinger_2x2, sun, toy, u1

__all__ = ["fermions", "gaussian", "mixture", "o2", "schwinger", "schwinger_2x2", "sun", "toy", "u1"]
