"""refimpl: a float64 NumPy reference, and a test oracle, for machine-learned sampling in 2D lattice field theory."""

from . import actions, exact, groups, kernels, lattice, maps, observables, statistics

__version__ = "0.1.0"
__all__ = ["actions", "exact", "groups", "kernels", "lattice", "maps", "observables", "statistics"]
