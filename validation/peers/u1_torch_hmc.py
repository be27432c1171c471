"""U(1) HMC as one writes it in PyTorch, as a target: autograd for the force, all chains in one batch, one `torch.Generator`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .torch_seeds import folded

try:
    import torch
except ImportError as error:
    raise ImportError("torch is not installed: pip install 'refimpl[bench]'") from error

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]
State = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class TorchHmc:
    """Links and momenta are tensors ``(chain, 2, T, X)`` inside, arrays outside."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_steps: int

    theory: ClassVar[str] = "u1"
    name: ClassVar[str] = f"PyTorch {torch.__version__} hmc"
    order: ClassVar[int] = 2

    def energy(self, x: torch.Tensor) -> torch.Tensor:
        return self.beta * (1 - torch.cos(_plaquette_angles(x))).sum((1, 2))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            links = x.detach().requires_grad_()
            return torch.autograd.grad(self.energy(links).sum(), links)[0]

    def leapfrog(self, x: torch.Tensor, v: torch.Tensor, step_size: float) -> State:
        for _ in range(self.n_steps):
            v = v - step_size / 2 * self.gradient(x)
            x = x + step_size * v
            v = v - step_size / 2 * self.gradient(x)
        return _wrapped(x), v

    def updated(self, x: torch.Tensor, v: torch.Tensor, u: torch.Tensor) -> dict[str, torch.Tensor]:
        y, w = self.leapfrog(x, v, self.step_size)
        delta_h = self.energy(y) - self.energy(x) + (w**2 - v**2).sum((1, 2, 3)) / 2
        accept = u < torch.exp(-delta_h)
        kept = torch.where(accept[:, None, None, None], y, x)
        proposed = {"x_proposed": y, "v_proposed": w, "logdet": torch.zeros_like(u), "delta_h": delta_h}
        return proposed | {"accept": accept, "x_next": kept, "v": v, "u": u}

    def drawn(self, x: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return self.updated(x, v, torch.rand(len(x), generator=generator, dtype=x.dtype))

    def action(self, x: Array) -> torch.Tensor:
        return self.energy(torch.from_numpy(x))

    def force(self, x: Array) -> torch.Tensor:
        return self.gradient(torch.from_numpy(x))

    def plaquette(self, x: Array) -> torch.Tensor:
        return torch.cos(_plaquette_angles(torch.from_numpy(x))).mean((1, 2))

    def charge(self, x: Array) -> torch.Tensor:
        angles = _plaquette_angles(torch.from_numpy(x))
        return torch.round((angles - 2 * math.pi * torch.round(angles / (2 * math.pi))).sum((1, 2)) / (2 * math.pi))

    def sine_charge(self, x: Array) -> torch.Tensor:
        return torch.sin(_plaquette_angles(torch.from_numpy(x))).sum((1, 2)) / (2 * math.pi)

    def forward(self, z: PhasePoint) -> tuple[State, torch.Tensor]:
        return self._mapped(z, self.step_size)

    def inverse(self, z: PhasePoint) -> tuple[State, torch.Tensor]:
        return self._mapped(z, -self.step_size)

    def transition(self, x: Array, v: Array, u: Array) -> dict[str, torch.Tensor]:
        return self.updated(*map(torch.from_numpy, (x, v, u)))

    def transcript(self, x: Array, seed: int) -> dict[str, torch.Tensor]:
        return self.drawn(torch.from_numpy(x), torch.Generator().manual_seed(folded(seed)))

    def step(self, x: Array, seed: int) -> torch.Tensor:
        return self.transcript(x, seed)["x_next"]

    def run(self, x: Array, n: int, seed: int) -> tuple[torch.Tensor, Any]:
        return self.resume((torch.from_numpy(x), torch.Generator().manual_seed(folded(seed)).get_state()), n)

    def resume(self, state: State, n: int) -> tuple[torch.Tensor, State]:
        """The state is the links and that of the generator."""
        x, noise = state
        generator = torch.Generator()
        generator.set_state(noise)
        links = []
        for _ in range(n):
            x = self.drawn(x, generator)["x_next"]
            links.append(x)
        return torch.stack(links), (x, generator.get_state())

    def _mapped(self, z: PhasePoint, step_size: float) -> tuple[State, torch.Tensor]:
        x, v = map(torch.from_numpy, z)
        return self.leapfrog(x, v, step_size), torch.zeros(len(x), dtype=x.dtype)


def _plaquette_angles(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0] + x[:, 1].roll(-1, 1) - x[:, 0].roll(-1, 2) - x[:, 1]


def _wrapped(x: torch.Tensor) -> torch.Tensor:
    """Angles in [-pi, pi); rounding of the remainder can leave +pi."""
    x = torch.remainder(x + math.pi, 2 * math.pi) - math.pi
    return torch.where(x >= math.pi, -math.pi, x)


def target(beta: float = 2.0, shape: tuple[int, int] = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> TorchHmc:
    """HMC at these parameters."""
    return TorchHmc(beta, shape, step_size, n_steps)
