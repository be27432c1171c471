"""Flows whose density is right, and whose samples are not independent, or not of it in some calls."""

from __future__ import annotations

import math

import numpy as np

from .clay import streams
from .flow_clay import Array, Field, GaugeFlow, ScalarFlow


class Antithetic(ScalarFlow):
    """the second half of a call is the first with the sign of the noise turned"""

    killed_by = ("flow_samples.independent",)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        z = np.array([self.prior(rng) for rng in streams(seed, n)])
        z[n // 2 : n // 2 * 2] = -z[: n // 2]
        x, logdet = self.flow_forward(z)
        return x, self.prior_log_prob(z) - logdet


class PairsShareNoise(GaugeFlow):
    """neighbouring samples have the noise of all links in common but for those of one row"""

    killed_by = ("flow_samples.independent",)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        z = np.array([self.prior(rng) for rng in streams(seed, n)])
        own = z[1::2, :, 0].copy()
        z[1::2] = z[: n // 2 * 2 : 2]
        z[1::2, :, 0] = own
        x, logdet = self.flow_forward(z)
        return x, self.prior_log_prob(z) - logdet


class NoiseOfNoSeed(ScalarFlow):
    """the noise of half of the sites is that of seed 0, whatever the seed"""

    killed_by = ("flow_samples.independent",)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        z, same = (np.array([self.prior(rng) for rng in streams(of, n)]) for of in (seed, 0))
        z[:, :, 0] = same[:, :, 0]
        x, logdet = self.flow_forward(z)
        return x, self.prior_log_prob(z) - logdet


class SeedPlusIndex(ScalarFlow):
    """sample i has the generator of seed + i: the next seed has all of them again but one"""

    killed_by = ("flows.samples",)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        return self.draw([np.random.default_rng(seed + i) for i in range(n)])


class WideInSmallCalls(ScalarFlow):
    """calls of less than 32 begin with a standard deviation of 1.5"""

    killed_by = ("flow_samples.calls",)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        z = np.array([self.prior(rng) for rng in streams(seed, n)]) * (1.5 if n < 32 else 1.0)
        x, _ = self.flow_forward(z)
        return x, self.log_prob(x)


class PriorOfOtherWidth(ScalarFlow):
    """the prior has a standard deviation of 1.3, in samples and in its log density, where normal is declared"""

    killed_by = ("flow_samples.images", "flows.prior")

    def prior(self, rng: np.random.Generator) -> Array:
        return 1.3 * super().prior(rng)

    def prior_log_prob(self, z: Array) -> Array:
        return super().prior_log_prob(z / 1.3) - z[0].size * math.log(1.3)
