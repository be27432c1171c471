"""The training of the neural control variate against JAX."""

from __future__ import annotations

import importlib.util

import numpy as np

from refimpl.actions import Phi4
from refimpl.exact import free_scalar
from refimpl.nets import translates
from refimpl.observables.quantities import Correlator

from .timing import Stepper


def variate_step(layers: int, neurons: int, n_t: int, n_x: int) -> dict[str, Stepper]:
    """One step of Adam of the control variate of the mid-lattice correlator, one configuration, in float64 (Bedaque 2023)."""
    # autograd is loaded here and not with the module, which the command line imports for every item.
    from refimpl.training.optimise import Adam
    from refimpl.training.variate import ALL, Batch, joined, step

    shape, rate, delta = (n_t, n_x), 1e-4, 1e-3
    rng = np.random.default_rng(1)
    x = free_scalar.sample(rng, 100, 0.5, shape)
    force = Phi4(0.1, 24.0).force(x).reshape(len(x), -1)
    targets = Correlator(n_t // 2)(x)
    targets = 10 * targets / targets.std()
    params = translates.init(rng, n_t * n_x, layers, neurons)
    data = Batch(translates.modes(x), np.ascontiguousarray(force), targets)
    weights, like, n = joined(params, 0.0), params, 0
    adam = Adam.start({ALL: weights})

    def ours() -> object:
        nonlocal weights, adam, n
        chosen = np.array([n % len(x)])
        weights, adam, square = step(weights, adam, like, data.take(chosen), shape, delta, rate)
        n += 1
        return square

    competitors: dict[str, Stepper] = {"refimpl": ours}
    if importlib.util.find_spec("jax"):
        from ..peers import variate_jax

        for name, first_layer in (("jax jit", "gather"), ("jax jit, fft", "fft")):
            competitors[name] = variate_jax.trainer(params, x, force, targets, rate, delta, first_layer)
    return competitors
