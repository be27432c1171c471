"""The PyPI package sesamo, normalizing flows of lattice fields with symmetries, as targets for two-dimensional phi^4.

Everything that has a density is theirs: `GaussianPrior`, `RealNVP` and `ScalarPhi4Action`, with random weights in float64. Ours are
couplings and normalisation of the action, and a seed for their global generator. `target` is the flow as it is, `in_double` the
same with PyTorch's default dtype set to float64. Of both, ``log q`` of samples is put together as in `sesamo.Sesamo`.

What they do, at level smoke and seed 1: `target` fails ``flows.logdet_antisymmetry``, ``flows.jacobian`` and ``flows.density``, by
the first point below; `in_double` passes everything.

Read from the wheel of sesamo 1.0.0, and measured; tests/test_peers_sesamo.py has every point:

- **The log-determinant of** ``RealNVP(dtype=torch.float64)`` **is in float32**: ``forward`` and ``reverse`` add those of the
  couplings up in ``torch.zeros(len(z))``, which has PyTorch's default dtype. That of the flow and of its inverse differ by 2e-7.
- **With** ``U1Modulation`` **log q is not the density of the samples**: a field r > 0 turned by a uniform angle has the density
  ``q(r)/(2 pi r)`` in the plane (and that of -r is added where r may have either sign), and is said to have ``q(r)/(2 pi)``. One
  site of the free theory, ``ComplexPhi4Action(kappa=0, lambd=0)``, with the prior of variance 1/2 has ``ess`` 1, as if exact; but
  ``<|phi|^2>`` of the samples is 1/2 where that of the action is 1, and log Z comes out as 2.41 instead of log pi = 1.14. All
  sites are turned by one angle: with more than one, samples have no density at all. `BrokenU1Modulation` leaves out the same.
- **The cell of** ``ZNRegularization(n)`` **is wider than 2 pi/n**, which its docstring promises: half of it is where ``y <
  tan(pi/n) (1 + tan(pi/n)^2) x``, 63 degrees in place of 45 for n = 4, and 25.9 in place of 22.5 for n = 8. Where turned cells
  overlap, the density is larger than log q says.
- ``Z2Modulation`` has ``log q(z) + log(1/2)`` for both signs: that is the density where the flow never leaves its half of the
  fields, which a penalty teaches it, and half of the density where the flow is even, as before training.
- The example of its README raises ``RuntimeError: mat1 and mat2 must have the same dtype, but got Double and Float``: the prior is
  in float64 by default, the flow in float32. ``VMONF(lat_shape)`` raises TypeError, as its dtype is the string "float32".
- ``Sesamo`` with an empty list of modulations raises UnboundLocalError; of several it hands the log-probability of the last alone
  to the loss.
- ``pip install sesamo`` brings numpy < 2 and nflows; with ``pip install --no-deps sesamo nflows omegaconf`` numpy 2 works too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

try:
    import torch
    from sesamo import models  # type: ignore[import-untyped]
    from sesamo.action import ScalarPhi4Action  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(f"sesamo cannot be imported ({error}): pip install 'refimpl[sesamo]'") from error

Array = NDArray[np.float64]
Shape = tuple[int, int]

SEED = 5  # of the weights
WIDTH = 0.5  # of the last layers of the nets, of what they begin with


@contextlib.contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """PyTorch's default dtype, as it was afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True, eq=False)
class SesamoRealNVP:
    """`RealNVP`, 6 couplings of the even and odd sites of a row, with dense nets; ``default`` is PyTorch's dtype meanwhile."""

    m2: float
    lam: float
    shape: Shape
    default: torch.dtype

    theory: ClassVar[str] = "phi4"
    name: ClassVar[str] = f"sesamo {version('sesamo')}"
    flow_prior: ClassVar[str] = "normal"

    def action(self, x: Array) -> torch.Tensor:
        return self._own_action(torch.from_numpy(x))

    def force(self, x: Array) -> torch.Tensor:
        field = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(self._own_action(field).sum(), field)[0]

    def sample(self, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), _default(self.default):
            torch.manual_seed(seed)
            z, log_prob = self._prior.sample_with_logprob(n)
            x, log_det = self._flow(z)
            return x, log_prob - log_det

    def flow_forward(self, z: Array) -> tuple[torch.Tensor, torch.Tensor]:
        with _default(self.default):
            return self._flow(torch.from_numpy(z))

    def flow_inverse(self, x: Array) -> tuple[torch.Tensor, torch.Tensor]:
        with _default(self.default):
            return self._flow.reverse(torch.from_numpy(x))

    def prior_log_prob(self, z: Array) -> torch.Tensor:
        return self._prior.log_prob(torch.from_numpy(z))

    def _own_action(self, x: torch.Tensor) -> torch.Tensor:
        """Theirs is ``(1 - 2 l) phi^2 + l phi^4 - 2 kappa phi phi'`` of ``phi = x/sqrt(2 kappa)``.

        With ``l = lam kappa^2/6`` the masses are equal where ``lam kappa^2/3 + (4 + m2) kappa = 1``.
        """
        mass = 4 + self.m2
        kappa = 2 / (mass + math.sqrt(mass**2 + 4 * self.lam / 3))
        return ScalarPhi4Action(kappa, self.lam * kappa**2 / 6)(x / math.sqrt(2 * kappa))

    @cached_property
    def _prior(self) -> Any:
        return models.GaussianPrior(self.shape, verbose=False)

    @cached_property
    def _flow(self) -> Any:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(SEED)
            flow = models.RealNVP(
                self.shape, num_hidden_layers=1, num_hidden_features=16, activation="tanh", dtype=torch.float64
            )
            for coupling in flow.couplings:
                for net in (coupling.scale_net, coupling.translation_net):
                    net[-1].weight.mul_(WIDTH)
        return flow.requires_grad_(False)


def target(m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4)) -> SesamoRealNVP:
    """`RealNVP` in float64 as it is."""
    return SesamoRealNVP(m2, lam, shape, torch.float32)


def in_double(m2: float = 0.1, lam: float = 6.0, shape: Shape = (4, 4)) -> SesamoRealNVP:
    """The same where the default dtype is float64 too."""
    return SesamoRealNVP(m2, lam, shape, torch.float64)
