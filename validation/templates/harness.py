"""A target of refimpl in Python with NumPy, for code whose interpreter cannot import refimpl: U(1) and hybrid Monte Carlo.

    refimpl harness smoke 'python3 harness.py'
    refimpl validate 'cmd:python3 harness.py'

Part 1 speaks the protocol (validation/PROTOCOL.md of refimpl): keep it. Part 2 is what is judged: put your own code there. A
request is one line of JSON on standard input, so is its answer on standard output; print other things to sys.stderr. Arrays come
and go as .npy files, the chain axis first.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

Array = Any  # an array of NumPy


# --- part 1: the protocol, to keep ------------------------------------------------------------------------------------
def answer(request: Any) -> dict[str, Any]:
    """What the answer to a request says besides its status."""
    global target
    if not isinstance(request, dict) or request.get("type") not in ("start", "run", "stop"):
        raise ValueError(f"got {str(request)[:60]!r}, expected an object of type start, run or stop")
    if request["type"] == "start":
        if request.get("protocol") != 1:
            raise ValueError(f"protocol: got {request.get('protocol')!r}, expected 1")
        target = Target(**request.get("parameters", {}))
        about = {"name": "U(1) HMC in Python", "language": "Python", "version": "1.0", "theory": "u1"}
        return {"protocol": 1, **about, "parameters": vars(target), "varies": list(vars(target)), "ops": list(OPS)}
    if request["type"] == "run":
        if request.get("op") not in OPS:
            raise ValueError(f"op: got {request.get('op')!r}, expected one of {', '.join(OPS)}")
        arrays = {name: np.load(path, allow_pickle=False) for name, path in request.get("in", {}).items()}
        results = getattr(target, request["op"])(**arrays, **request.get("params", {}))
        results = results if isinstance(results, dict) else {request["op"]: results}
        for name, path in request["out"].items():
            np.save(path, results[name])
    return {}


def main() -> None:
    """Answer line by line, whatever comes."""
    for line in sys.stdin.buffer:
        request = None
        try:
            request = json.loads(line)
            reply = {"status": "ok", **answer(request)}
        except Exception as error:  # noqa: BLE001 (whatever goes wrong is the answer)
            reply = {"status": "errored", "message": f"{type(error).__name__}: {error}"[:400]}
        if isinstance(request, dict) and isinstance(request.get("id"), int):
            reply["id"] = request["id"]
        print(json.dumps(reply, separators=(",", ":")), flush=True)
        if isinstance(request, dict) and request.get("type") == "stop":
            break


# --- part 2: yours ----------------------------------------------------------------------------------------------------
OPS = ("action", "force", "plaquette", "charge", "forward", "inverse", "transition", "transcript", "step")


class Target:
    """Links are ``x[chain, mu, t, s]``, mu = 0 in time. Methods have the names and arguments of the contract."""

    def __init__(
        self, beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.3, n_steps: int = 5
    ) -> None:
        if min(shape) < 2 or len(shape) != 2 or not 0 < beta < np.inf or not 0 < step_size < np.inf or n_steps < 1:
            raise ValueError(f"got beta {beta}, shape {shape}, step_size {step_size}, n_steps {n_steps}")
        self.beta, self.shape = beta, (int(shape[0]), int(shape[1]))
        self.step_size, self.n_steps = step_size, int(n_steps)

    def _angles(self, x: Array) -> Array:
        if x.shape[1:] != (2, *self.shape):
            raise ValueError(f"x: got shape {x.shape}, expected (chain, 2, {self.shape[0]}, {self.shape[1]})")
        return x[:, 0] + np.roll(x[:, 1], -1, 1) - np.roll(x[:, 0], -1, 2) - x[:, 1]

    def action(self, x: Array) -> Array:
        return self.beta * (1 - np.cos(self._angles(x))).sum((1, 2))

    def force(self, x: Array) -> Array:
        sine = self.beta * np.sin(self._angles(x))
        return np.stack([sine - np.roll(sine, 1, 2), np.roll(sine, 1, 1) - sine], 1)

    def plaquette(self, x: Array) -> Array:
        return np.cos(self._angles(x)).mean((1, 2))

    def charge(self, x: Array) -> Array:
        return np.rint(wrap(self._angles(x)).sum((1, 2)) / (2 * np.pi))

    def forward(self, x: Array, v: Array) -> dict[str, Array]:
        for _ in range(self.n_steps):
            v = v - self.step_size / 2 * self.force(x)
            x = x + self.step_size * v
            v = v - self.step_size / 2 * self.force(x)
        return {"x_proposed": x, "v_proposed": v, "logdet": np.zeros(len(x))}

    def inverse(self, x: Array, v: Array) -> dict[str, Array]:
        back = self.forward(x, -v)
        return {**back, "v_proposed": -back["v_proposed"]}

    def transition(self, x: Array, v: Array, u: Array) -> dict[str, Array]:
        end = self.forward(x, v)
        y, w = end["x_proposed"], end["v_proposed"]
        delta_h = self.action(y) - self.action(x) + (w**2 - v**2).sum((1, 2, 3)) / 2
        accept = u < np.exp(-delta_h)
        x_next = np.where(accept[:, None, None, None], wrap(y), x)
        return {**end, "delta_h": delta_h, "accept": accept, "x_next": x_next}

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        words = np.random.SeedSequence(seed).spawn(len(x))  # a stream for every chain
        streams = [np.random.default_rng(word) for word in words]
        v = np.stack([stream.standard_normal(x.shape[1:]) for stream in streams])
        u = np.array([stream.random() for stream in streams])
        return {**self.transition(x, v, u), "v": v, "u": u}

    def step(self, x: Array, seed: int) -> Array:
        return self.transcript(x, seed)["x_next"]


def wrap(angle: Array) -> Array:
    return angle - 2 * np.pi * np.floor((angle + np.pi) / (2 * np.pi))


target = Target()

if __name__ == "__main__":
    main()
