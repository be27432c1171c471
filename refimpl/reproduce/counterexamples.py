"""Maps that look like the generalized leapfrog and are not what Metropolis needs: what seed implementations had.

They are documented here so that their damage can be shown; nothing else may use them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import nets
from ..actions import SmoothAction
from ..groups import wrap
from ..maps.architecture import Architecture, encode, layer
from ..maps.blocks import drift, half_kick
from ..maps.l2hmc import End, GeneralizedLeapfrog

Array = NDArray[np.float64]

FAULTS = ("", "wrapped scaling", "old force", "single precision")


@dataclass(frozen=True, eq=False)
class WrongLeapfrog:
    """A `GeneralizedLeapfrog` (with layers both ways, not merged) with one fault; it fits into `refimpl.kernels.l2hmc.L2HMC`.

    ``fault``:

    - ``wrapped scaling``: the position update of angles is ``x' = wrap(x exp(e s) + d)`` with ``logdet = sum e s``, its
      "inverse" ``wrap((x - d) exp(-e s))``. It covers an interval of length ``2 pi exp(e s)`` of the circle: for s > 0 two
      angles have one image, for s < 0 some are never reached. The Jacobian is right wherever it is asked for, the map
      is not a bijection, and averages are wrong (Foreman 2020, secs. 10.3, 18.1, eq. 71).
    - ``old force``: the second half of the momentum update uses the force and the field from before the position
      update, as eq. (15) of Foreman 2020 reads literally. The steps are not undone by their inverses.
    - ``single precision``: field and momenta are rounded to float32 after each update.
    - empty: no fault; the same map, for tests.
    """

    model: GeneralizedLeapfrog
    fault: str

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ValueError(f"fault: got {self.fault!r}, expected one of {FAULTS}")
        if self.model.merged or self.model.architecture.winding:
            raise ValueError("model: got a merged or winding map, expected plain layers")

    @property
    def action(self) -> SmoothAction:
        return self.model.action

    @property
    def architecture(self) -> Architecture:
        return self.model.architecture

    @property
    def involution(self) -> bool:
        return False

    @property
    def n_forces(self) -> int:
        return self.model.n_forces

    def run(self, x: Array, v: Array, force: Array, direction: int) -> End:
        """The layers, or for ``direction = -1`` what should have been their inverses."""
        n, logdet = self.architecture.n_layers, np.zeros(len(x))
        action = np.zeros(len(x))
        for k in range(n) if direction > 0 else reversed(range(n)):
            before, old = x, force
            v, j = self._kick(k, direction, x, v, force)
            logdet = logdet + j
            first = self.model.architecture.masks()[k]
            for move in [first, ~first][::direction]:
                if move.any():
                    x, j = self._move(k, direction, x, v, move)
                    logdet = logdet + j
            action, force = self.action.action_and_force(x)
            seen = (before, old) if self.fault == "old force" else (x, force)
            v, j = self._kick(k, direction, seen[0], v, seen[1])
            logdet = logdet + j
        return End(x, v, logdet, action, force)

    def _kick(self, k: int, sign: int, x: Array, v: Array, force: Array) -> tuple[Array, Array]:
        out = self._outputs("v", k, x, None, force)
        v, logdet, _ = half_kick(v, force, out, float(self.model.params["eps_v"][k]), sign)
        return self._rounded(v), logdet

    def _move(self, k: int, sign: int, x: Array, v: Array, move: NDArray[np.bool_]) -> tuple[Array, Array]:
        out = self._outputs("x", k, x, move, v)
        eps, angular = float(self.model.params["eps_x"][k]), self.fault != "wrapped scaling"
        new, logdet, _ = drift(x if angular else wrap(x), v, out, move.astype(np.float64), eps, sign, angular)
        return self._rounded(new if angular else wrap(new)), logdet

    def _outputs(self, which: str, k: int, x: Array, move: NDArray[np.bool_] | None, other: Array) -> nets.Outputs:
        net = self.architecture.v_net if which == "v" else self.architecture.x_net
        if net is None:
            return nets.Outputs(None, None, None)
        shown, _ = encode(self.architecture, x, move)
        inputs = {**shown, "force" if which == "v" else "v": other}
        params = layer(self.model.params, which, k)
        out, _ = nets.apply(net, params, inputs, self.architecture.time_encoding(k))
        weights = [getattr(self.model.net_weights, f"{letter}_{which}") for letter in "stq"]
        return nets.Outputs(*(None if o is None else w * o for o, w in zip(out, weights, strict=True)))

    def _rounded(self, values: Array) -> Array:
        return values.astype(np.float32).astype(np.float64) if self.fault == "single precision" else values


def perturbed(model: GeneralizedLeapfrog, seed: int, size: float, lean: float) -> GeneralizedLeapfrog:
    """Nets that do something, without training: all parameters moved by normal numbers, scales of s and q near ``size``.

    The biases of s and q lean to one side by ``lean``: with random signs the determinant would average out, and a wrong one
    would hardly show.
    """
    rng = np.random.default_rng(seed)
    params = dict(model.params)
    for key in sorted(params):
        if key.startswith("eps"):
            continue
        noise = rng.normal(0.0, 1.0, params[key].shape)
        params[key] = params[key] + 0.05 * noise
        if key.endswith("/scale"):
            params[key] = size * (1 + 0.2 * noise)
        if key.endswith(("head/s/bias", "head/q/bias")):
            params[key] = lean + 0.2 * noise
        if key.endswith("head/t/bias"):
            params[key] = size * noise
    return model.replace(params=params)
