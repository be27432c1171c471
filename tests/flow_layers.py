"""Small layers of flows for tests, known in closed form."""

from dataclasses import dataclass, replace

import autograd.numpy as anp
import numpy as np

from refimpl.groups import wrap
from refimpl.maps.base import check_params


@dataclass(frozen=True)
class Knobs:
    """A nested record of a layer's configuration."""

    width: int = 3
    names: tuple[str, ...] = ("a", "b")
    sizes: tuple[tuple[int, int], ...] = ((1, 2), (3, 4))


@dataclass(frozen=True, eq=False)
class Diagonal:
    """``y = exp(s) x + t`` of every site of a scalar field, with an s and a t of its own."""

    shape: tuple[int, int]
    params: dict
    knobs: Knobs = Knobs()

    def __post_init__(self):
        check_params(self.params, {"s": self.shape, "t": self.shape})

    @classmethod
    def init(cls, rng, shape, size=0.1):
        return cls(shape, {key: size * rng.standard_normal(shape) for key in ("s", "t")})

    def forward(self, x):
        return np.exp(self.params["s"]) * x + self.params["t"], np.full(len(x), self.params["s"].sum())

    def inverse(self, y):
        return (y - self.params["t"]) * np.exp(-self.params["s"]), np.full(len(y), -self.params["s"].sum())

    def forward_with_pullback(self, x):
        y, logdet = self.forward(x)

        def pull(g_y, g_logdet):
            scale = np.exp(self.params["s"])
            return g_y * scale, {"s": (g_y * x * scale).sum(axis=0) + g_logdet.sum(), "t": g_y.sum(axis=0)}

        return y, logdet, pull

    def definition(self, params, x):
        return anp.exp(params["s"]) * x + params["t"], anp.sum(params["s"]) * anp.ones(len(x))

    def with_params(self, params):
        return replace(self, params=dict(params))


@dataclass(frozen=True, eq=False)
class Squeeze:
    """``tan(y/2) = exp(s) tan(x/2)`` of every link angle, with an s of its own."""

    shape: tuple[int, int]
    params: dict

    def __post_init__(self):
        check_params(self.params, {"s": (2, *self.shape)})

    @classmethod
    def init(cls, rng, shape, size=0.1):
        return cls(shape, {"s": size * rng.standard_normal((2, *shape))})

    def _squeezed(self, x, s):
        squared = np.exp(-s) * np.cos(x / 2) ** 2 + np.exp(s) * np.sin(x / 2) ** 2
        return wrap(2 * np.arctan2(np.exp(s / 2) * np.sin(x / 2), np.exp(-s / 2) * np.cos(x / 2))), squared

    def forward(self, x):
        y, squared = self._squeezed(x, self.params["s"])
        return y, -np.log(squared).sum(axis=(1, 2, 3))

    def inverse(self, y):
        x, squared = self._squeezed(y, -self.params["s"])
        return x, -np.log(squared).sum(axis=(1, 2, 3))

    def forward_with_pullback(self, x):
        y, squared = self._squeezed(x, self.params["s"])

        def pull(g_y, g_logdet):
            g = g_logdet[:, None, None, None]
            e, c, s = np.exp(self.params["s"]), np.cos(x / 2), np.sin(x / 2)
            # dy/dx = 1/squared and dy/ds = sin(x)/squared
            g_x = (g_y - g * (e - 1 / e) * s * c) / squared
            g_s = (g_y * np.sin(x) + g * (c * c / e - e * s * s)) / squared
            return g_x, {"s": g_s.sum(axis=0)}

        return y, -np.log(squared).sum(axis=(1, 2, 3)), pull

    def definition(self, params, x):
        y = 2 * anp.arctan(anp.exp(params["s"]) * anp.tan(x / 2))
        slope = anp.exp(-params["s"]) * anp.cos(x / 2) ** 2 + anp.exp(params["s"]) * anp.sin(x / 2) ** 2
        return y, -anp.sum(anp.log(slope), axis=(1, 2, 3))

    def with_params(self, params):
        return replace(self, params=dict(params))
