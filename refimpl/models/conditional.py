"""Conditional flows of pseudofermions: ``q(phi|U)`` of one monomial of the determinant (Abbott 2022, eqs. 22, 23).

``phi = Dt(U) chi`` is linear in chi, whose density is ``pi^-N exp(-chi^dag chi)``, so that ``q(.|U)`` is the complex Gaussian of
covariance ``Dt Dt^dag``, and ``log q = -N log pi - chi^dag chi - logdet``, ``logdet = 2 log |det Dt|``. The target is
``exp(-S_m(U, phi))``, of the monomial. Columns ``(chain, n, k)`` are as in `refimpl.maps.pseudofermion_layer`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..actions import Pseudofermion
from ..actions.dirac.matrix import parity_rows
from ..maps.base import Params, parted
from ..maps.pseudofermion_layer import Given, GivenCotangent, PseudofermionLayer, Pull
from ..maps.transport import ComplexArray

Array = NDArray[np.float64]

LOG_PI = math.log(math.pi)


@dataclass(frozen=True, eq=False)
class Conditional:
    """A chain of layers, ``layers[0]`` first; the key of a parameter is ``<number of the layer>/<its key>``.

    Parameters
    ----------
    monomial : the target. layers : of its lattice sites (even ones where ``even_odd``) and colours.
    """

    monomial: Pseudofermion
    layers: tuple[PseudofermionLayer, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.monomial, Pseudofermion):
            raise TypeError(f"monomial: got {self.monomial!r:.60}, expected a Pseudofermion")
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("layers: got none, expected at least one")
        first = self.layers[0]
        expected = (self.shape, self.monomial.even_odd, self.monomial.n, first.hidden, first.kernel_size)
        for i, layer in enumerate(self.layers):
            own = (layer.shape, layer.even_odd, layer.colours, layer.hidden, layer.kernel_size)
            if own != expected:
                raise ValueError(
                    f"layers[{i}]: got {own} for (shape, even_odd, colours, hidden, kernel_size), expected {expected} as of the "
                    "monomial and the first layer"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """The lattice."""
        return self.layers[0].shape

    @property
    def rows(self) -> int:
        """N, complex numbers of a field."""
        return self.layers[0].rows

    @property
    def params(self) -> Params:
        """The parameters of all layers, the arrays themselves."""
        return {f"{i}/{key}": value for i, layer in enumerate(self.layers) for key, value in layer.params.items()}

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same layers with other parameters."""
        parts = parted(params, len(self.layers))
        layers = tuple(layer.with_params(part) for layer, part in zip(self.layers, parts, strict=True))
        return replace(self, layers=layers)

    def columns(self, given: Given, psi: ComplexArray) -> tuple[ComplexArray, Array]:
        """``Dt psi`` for ``psi`` ``(chain, n, k)``, and the logdet of one column, ``(chain,)``."""
        logdet = np.zeros(len(psi))
        for layer in self.layers:
            psi, own = layer.columns(given, psi)
            logdet = logdet + own
        return psi, logdet

    def inverse_columns(self, given: Given, psi: ComplexArray) -> tuple[ComplexArray, Array]:
        """``Dt^-1 psi``, layer by layer, and minus the logdet."""
        logdet = np.zeros(len(psi))
        for layer in reversed(self.layers):
            psi, own = layer.inverse_columns(given, psi)
            logdet = logdet + own
        return psi, logdet

    def columns_with_pullback(self, given: Given, psi: ComplexArray) -> tuple[ComplexArray, Array, Pull]:
        """As `columns`, and the pullback."""
        logdet, pulls = np.zeros(len(psi)), []
        for layer in self.layers:
            psi, own, pull = layer.columns_with_pullback(given, psi)
            logdet = logdet + own
            pulls.append(pull)

        def pull_all(g: ComplexArray, g_logdet: Array) -> tuple[ComplexArray, GivenCotangent, Params]:
            g_u, g_windows = np.zeros_like(given.transport.u), np.zeros_like(given.windows)
            grads: Params = {}
            for i in range(len(pulls) - 1, -1, -1):
                g, of_given, own = pulls[i](g, g_logdet)
                g_u += of_given.u
                g_windows += of_given.windows
                grads |= {f"{i}/{key}": value for key, value in own.items()}
            return g, GivenCotangent(g_u, g_windows), {key: grads[key] for key in self.params}

        return psi, logdet, pull_all

    def dense(self, given: Given) -> tuple[ComplexArray, Array]:
        """``Dt`` ``(chain, n, n)`` and its logdet."""
        return self.columns(given, self._unit(given))

    def dense_with_pullback(self, given: Given) -> tuple[ComplexArray, Array, Pull]:
        """As `dense`, and the pullback of cotangents of both."""
        return self.columns_with_pullback(given, self._unit(given))

    def rows_of(self, phi: ComplexArray) -> ComplexArray:
        """Spinors ``(chain, t, x, spin[, colour])`` as columns ``(chain, n, 1)``, without the odd sites where ``even_odd``."""
        flat = phi.reshape(len(phi), -1)
        return flat[:, self._living, None]

    def spinors_of(self, psi: ComplexArray) -> ComplexArray:
        """The inverse of `rows_of`: zero on the odd sites where ``even_odd``."""
        n = self.monomial.n
        spinor = (*self.shape, 2, *((n,) if n > 1 else ()))
        out = np.zeros((len(psi), math.prod(spinor)), np.complex128)
        out[:, self._living] = psi[:, :, 0]
        return out.reshape(len(psi), *spinor)

    @property
    def _living(self) -> Any:
        return parity_rows(self.shape, 2 * self.monomial.n)[0] if self.monomial.even_odd else slice(None)

    def _unit(self, given: Given) -> ComplexArray:
        one = np.eye(self.rows, dtype=np.complex128)
        return np.broadcast_to(one, (len(given.windows), *one.shape))
