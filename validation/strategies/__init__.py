"""Hypothesis strategies of what an implementation is fed with: fields, gauge transformations, noise, masks, parameters of nets.

For property tests of an implementation, for instance::

    @given(u1_fields(), couplings())
    def test_action_is_even(x, beta):
        assert np.allclose(action(x, beta), action(-x, beta))

Conventions are those of `refimpl.validation.contract`: chains first, angles in [-pi, pi), links of SU(N) complex128. What is drawn
shrinks to something a person can read: the smallest lattice, one chain, few links or sites that are not trivial; each docstring
says to what. Fields where no entry is special come from a seed, in strategies of their own (``*_hot_*``), of which shape and
seed shrink alone: within the others they would be in the way of that.
"""

try:
    import hypothesis  # noqa: F401 (first, so that the message is this one)
except ImportError as error:
    raise ImportError("hypothesis is not installed: pip install 'refimpl[test]'") from error

from .angles import gauge_transforms, o2_fields, u1_fields, u1_flux_fields, u1_hot_fields
from .lattices import couplings, lattice_shapes, memory_orders
from .matrices import sun_gauge_transforms, sun_hot_links, sun_links
from .nets import hot_net_parameters, masks, net_parameters
from .noise import momenta, noises, pseudofermions, spinors
from .scalars import phi4_couplings, phi4_fields, scalar_shapes

__all__ = [
    "couplings",
    "gauge_transforms",
    "hot_net_parameters",
    "lattice_shapes",
    "masks",
    "memory_orders",
    "momenta",
    "net_parameters",
    "noises",
    "o2_fields",
    "phi4_couplings",
    "phi4_fields",
    "pseudofermions",
    "scalar_shapes",
    "spinors",
    "sun_gauge_transforms",
    "sun_hot_links",
    "sun_links",
    "u1_fields",
    "u1_flux_fields",
    "u1_hot_fields",
]
