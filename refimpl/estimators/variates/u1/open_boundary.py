"""Open boundaries: an exact variate without variance for every Wilson loop of 2D U(1).

Plaquettes are independent there, any plaquette field comes from links, and the field of one plaquette

    gamma(x) = 2/(beta I_0) sum_(m >= 1) (-1)^(m+1) I_m(beta) sin(m x) - i/beta

solves ``gamma' - beta sin(x) gamma = exp(i x) - c``, ``c = I_1/I_0``, for all x. So ``exp(i x_P) - f_P = c``
identically, and with the enclosed plaquettes in any order ``W - c^A = Re A[sum_P gamma(x_P) c^(P - 1) prod_(Q > P)
exp(i x_Q)]``: W less its variate is ``(I_1/I_0)^A`` on every configuration. On the torus the fields would have to sum
to zero, which is all that stands in the way.

Links are ``(chain, 2, T, X)`` without those that would leave the lattice (`refimpl.exact.u1_open`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from ....lattice import check_integer, check_links, check_number, check_shape, plaquette_angles, site_sum
from ..files import KINDS
from .stein import check_beta, checked_links

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class OpenWilsonLoop:
    """Cosine of the ``extent_t`` by ``extent_x`` Wilson loop, averaged over its positions inside a lattice with open boundaries."""

    extent_t: int
    extent_x: int

    def __post_init__(self) -> None:
        check_integer("extent_t", self.extent_t, 1)
        check_integer("extent_x", self.extent_x, 1)

    def __call__(self, x: Array) -> Array:
        loops = np.cos(self.enclosed_angles(check_links(x)).sum(axis=(-2, -1)))
        return site_sum(loops) / loops[0].size

    def enclosed_angles(self, x: Array) -> Array:
        """Plaquettes inside the loop at every position, ``(chain, T - extent_t, X - extent_x, extent_t, extent_x)``."""
        self.check_room((x.shape[2], x.shape[3]))
        return sliding_window_view(plaquette_angles(x)[:, :-1, :-1], (self.extent_t, self.extent_x), axis=(1, 2))

    def check_room(self, shape: tuple[int, int]) -> None:
        if self.extent_t >= shape[0] or self.extent_x >= shape[1]:
            raise ValueError(f"observable: got {self}, expected a loop inside the {shape} sites of an open lattice")

    def __str__(self) -> str:
        return f"open_wilson_loop_{self.extent_t}x{self.extent_x}"


@dataclass(frozen=True)
class OpenBoundary:
    """The method, for a density of ``beta``, positive: nothing is fitted."""

    beta: float

    def __post_init__(self) -> None:
        check_number("beta", check_beta(self.beta), 0, above=True)

    def fit(self, configurations: ArrayLike, observable: OpenWilsonLoop) -> OpenVariate:
        """The variate on the lattice of these configurations ``(n, 2, T, X)``."""
        n_t, n_x = checked_links(configurations, name="configurations").shape[2:]
        return self.variate((n_t, n_x), observable)

    def variate(self, shape: tuple[int, int], observable: OpenWilsonLoop) -> OpenVariate:
        """The variate on a lattice of ``(T, X)`` sites."""
        if not isinstance(observable, OpenWilsonLoop):
            raise ValueError(f"observable: got {observable!r}, expected an OpenWilsonLoop")
        observable.check_room(check_shape(shape))
        return OpenVariate(self.beta, check_shape(shape), observable)


@dataclass(frozen=True, eq=False)
class OpenVariate:
    """``Re A[g]`` of the field above, averaged over the positions of the loop."""

    beta: float
    shape: tuple[int, int]
    observable: OpenWilsonLoop

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (2, *self.shape)

    def __call__(self, x: Array) -> Array:
        """``sum_P f_P c^(P - 1) prod_(Q > P) exp(i x_Q)``, every term by itself from `plaquette_divergence`."""
        angles = self._loops(checked_links(x, self.field_shape))
        terms = (self.plaquette_divergence(angles) * self._factors(angles)).sum(axis=-1).real
        return site_sum(terms) / terms[0].size

    def field(self, x: Array) -> Array:
        """The link field g, real ``(chain, 2, T, X)``, whose Stein divergence with the open action is f."""
        x = checked_links(x, self.field_shape)
        angles = self._loops(x)
        parts = (self.plaquette_field(angles) * self._factors(angles)).real / angles[0, ..., 0].size
        parts = parts.reshape(*angles.shape[:3], self.observable.extent_t, self.observable.extent_x)
        total = np.zeros((len(x), self.shape[0] - 1, self.shape[1] - 1))
        for t, s in np.ndindex(parts.shape[1:3]):
            total[:, t : t + parts.shape[3], s : s + parts.shape[4]] += parts[:, t, s]
        links = np.zeros_like(x)
        links[:, 0, :-1, 1:] = -np.cumsum(total, axis=2)  # g_0(t, x) - g_0(t, x + 1) = G(t, x)
        return links

    def plaquette_field(self, angles: Array) -> Complex:
        """``gamma(x)``, elementwise."""
        series = np.zeros_like(angles)
        for m, coefficient in enumerate(self._coefficients(), start=1):
            series += coefficient * np.sin(m * angles)
        return np.asarray(series - 1j / self.beta)

    def plaquette_divergence(self, angles: Array) -> Complex:
        """``gamma'(x) - beta sin(x) gamma(x)``, elementwise."""
        slope = np.zeros_like(angles)
        for m, coefficient in enumerate(self._coefficients(), start=1):
            slope += m * coefficient * np.cos(m * angles)
        return np.asarray(slope - self.beta * np.sin(angles) * self.plaquette_field(angles))

    def _coefficients(self) -> list[float]:
        from scipy.special import ive

        largest = 2 / (self.beta * ive(0, self.beta))
        result: list[float] = []
        while not result or abs(result[-1]) > 1e-18 * largest:
            m = len(result) + 1
            result.append(float((-1) ** (m + 1) * largest * ive(m, self.beta)))
        return result

    def _loops(self, x: Array) -> Array:
        """Enclosed plaquettes of the loops at all positions, one after the other, ``(chain, t, x, A)``."""
        angles = self.observable.enclosed_angles(x)
        return angles.reshape(*angles.shape[:3], -1)

    def _factors(self, angles: Array) -> Complex:
        """``c^(P - 1) prod_(Q > P) exp(i x_Q)``."""
        from scipy.special import ive

        after = np.cumsum(angles[..., ::-1], axis=-1)[..., ::-1] - angles
        ratio = ive(1, self.beta) / ive(0, self.beta)
        return np.asarray(ratio ** np.arange(angles.shape[-1]) * np.exp(1j * after))

    def record(self) -> tuple[dict[str, Array], dict[str, Any]]:
        extents = [self.observable.extent_t, self.observable.extent_x]
        return {}, {"beta": self.beta, "shape": list(self.shape), "extents": extents}

    @classmethod
    def from_record(cls, arrays: dict[str, Array], meta: dict[str, Any]) -> OpenVariate:
        return OpenBoundary(meta["beta"]).variate(tuple(meta["shape"]), OpenWilsonLoop(*meta["extents"]))


KINDS["OpenVariate"] = OpenVariate
