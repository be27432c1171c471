"""Normalizing flows as one writes them in PyTorch: float64, autograd, `torch.roll`, library convolutions.

It takes the layers of `refimpl.maps` (affine couplings of scalars, plaquette couplings of U(1)), their masks and their weights,
and computes all else itself: a competitor for the clock (`sampler`, `trainer`), whose numbers are compared with ours.
Where the slower way is also common, the faster one is taken: circle maps of the active plaquettes alone, bins found by bisection,
no autograd while sampling, the fused Adam.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from refimpl.lattice import parity_mask
from refimpl.maps.base import Chain, Map
from refimpl.maps.coupling import AffineCoupling
from refimpl.maps.plaquette_coupling import PlaquetteCoupling, loop_masks
from refimpl.maps.splines import CircularSpline
from refimpl.nets.convolution import ConvNet

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise ImportError("torch is not installed: pip install 'refimpl[bench]'") from error

Array = NDArray[np.float64]
Moved = tuple[Tensor, Tensor]

TWO_PI = 2 * torch.pi
ACTIVATIONS = {
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "softplus": functional.softplus,
    "swish": functional.silu,
    "silu": functional.silu,
}


def network(net: ConvNet, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """Convolutions with circular padding."""
    for i, (size, step) in enumerate(zip(net.kernels, net.steps, strict=True)):
        margin = size // 2 * step
        x = functional.pad(x, (margin,) * 4, mode="circular") if margin else x
        x = functional.conv2d(x, params[f"weight/{i}"], params[f"bias/{i}"], dilation=step)
        x = ACTIVATIONS[net.activation](x) if i < net.n_layers - 1 else x
    return torch.tanh(x) if net.final == "tanh" else x


class Affine:
    """RealNVP on a checkerboard."""

    def __init__(self, layer: AffineCoupling, shape: tuple[int, int]) -> None:
        if layer.odd:
            raise ValueError(f"layer: got {layer}, expected one that is not odd")
        self.net, self.active = layer.net, torch.from_numpy(parity_mask(shape, layer.parity).astype(np.float64))
        self.frozen = 1 - self.active

    def forward(self, params: dict[str, Tensor], x: Tensor) -> Moved:
        s, t = network(self.net, params, (self.frozen * x)[:, None]).unbind(1)
        s = self.active * s
        return x * torch.exp(s) + self.active * t, s.sum((1, 2))


class Plaquettes:
    """A coupling of U(1) links that moves plaquettes."""

    def __init__(self, layer: PlaquetteCoupling) -> None:
        if layer.staples:
            raise ValueError("chain: got a plaquette coupling with staples, expected the layer of the papers")
        masks = layer.masks
        self.net, self.circle, self.mu, self.masked_values = layer.net, layer.circle, masks.mu, layer.masked_values
        self.sites = torch.from_numpy(np.flatnonzero(masks.active))
        self.frozen = torch.from_numpy(masks.frozen.astype(np.float64))
        self.loops = [(rho, torch.from_numpy(mask.astype(np.float64))) for rho, mask in loop_masks(masks, layer.loops)]
        self.polyakov = layer.polyakov

    def forward(self, params: dict[str, Tensor], x: Tensor) -> Moved:
        angles = plaquettes(x)
        raw = network(self.net, params, self._inputs(angles, x)).flatten(2)[:, :, self.sites].movedim(1, 0)
        old = angles.flatten(1)[:, self.sites]
        if isinstance(self.circle, CircularSpline):
            new, log_slopes = circular_spline(self.circle, old, raw)
        else:
            new, log_slopes = projections(old, raw)
        move = new - old if self.mu == 0 else old - new
        links = [part.flatten(1) for part in x.unbind(1)]
        links[self.mu] = links[self.mu].index_add(1, self.sites, move)
        return wrap(torch.stack(links, 1).view_as(x)), log_slopes.sum(1)

    def _inputs(self, angles: Tensor, x: Tensor) -> Tensor:
        masks = [self.frozen, *(mask for _, mask in self.loops)]
        whole = [angles, *(angles + torch.roll(angles, -1, 1 + rho) for rho, _ in self.loops)]
        masked = torch.stack(whole, 1) * torch.stack(masks)
        c, s = torch.cos(masked), torch.sin(masked)
        if self.masked_values:
            c, s = c * torch.stack(masks), s * torch.stack(masks)
        parts = [c[:, :1], s[:, :1], c[:, 1:], s[:, 1:]]
        if self.polyakov:
            nu = 1 - self.mu
            line = x[:, nu].sum(1 + nu, keepdim=True).expand_as(angles)[:, None]
            parts += [torch.cos(line), torch.sin(line)]
        return torch.cat(parts, 1)


def plaquettes(x: Tensor) -> Tensor:
    return x[:, 0] + torch.roll(x[:, 1], -1, 1) - torch.roll(x[:, 0], -1, 2) - x[:, 1]


def wrap(x: Tensor) -> Tensor:
    return torch.remainder(x + torch.pi, TWO_PI) - torch.pi


def projections(x: Tensor, raw: Tensor) -> Moved:
    """The mixture of non-compact projections, as the tutorial 2101.08176 has it."""
    s, t = raw[:-1], raw[-1]
    moved = torch.remainder(2 * torch.atan(torch.exp(s) * torch.tan(x / 2)), TWO_PI).mean(0) + t
    log_slopes = -torch.log(torch.exp(-s) * torch.cos(x / 2) ** 2 + torch.exp(s) * torch.sin(x / 2) ** 2)
    return torch.remainder(moved, TWO_PI), torch.logsumexp(log_slopes, 0) - float(np.log(len(s)))


def circular_spline(circle: CircularSpline, x: Tensor, raw: Tensor) -> Moved:
    """The rational-quadratic spline of the circle."""
    n = circle.bins
    raw = raw.movedim(0, -1)  # a spline's numbers beside each other, for softmax and gather
    x = torch.remainder(x, TWO_PI)
    widths, heights = (
        TWO_PI * (least + (1 - n * least) * torch.softmax(raw[..., i * n : (i + 1) * n], -1))
        for i, least in enumerate((circle.min_width, circle.min_height))
    )
    slopes = circle.min_slope + functional.softplus(raw[..., 2 * n : 3 * n] + circle._slope_shift)
    right, top = widths.cumsum(-1), heights.cumsum(-1)
    k = torch.searchsorted(right.detach(), x[..., None], right=True).clamp(max=n - 1)

    def at(values: Tensor, k: Tensor) -> Tensor:
        return values.gather(-1, k)[..., 0]

    w, h, d, e = at(widths, k), at(heights, k), at(slopes, (k - 1) % n), at(slopes, k)
    xi, ratio = (x - at(right, k)) / w + 1, h / w
    u, rest = xi * (1 - xi), 1 - xi
    bottom = ratio + (e + d - 2 * ratio) * u
    y = at(top, k) - h + h * (ratio * xi * xi + d * u) / bottom
    slope = (ratio / bottom) ** 2 * (e * xi * xi + 2 * ratio * u + d * rest * rest)
    return torch.remainder(y + raw[..., -1], TWO_PI), torch.log(slope)


class Flow:
    """The layers of a chain, their weights as leaves of the graph under the names of `Chain.params`, or given."""

    def __init__(self, chain: Map, shape: tuple[int, int], params: dict[str, Tensor] | None = None) -> None:
        self.layers: list[Affine | Plaquettes] = []
        if not isinstance(chain, Chain):
            raise ValueError(f"chain: got {type(chain).__name__}, expected a Chain")
        for layer in chain.layers:
            if not isinstance(layer, AffineCoupling | PlaquetteCoupling):
                raise ValueError(f"chain: got a layer {type(layer).__name__}, expected affine or plaquette couplings")
            self.layers.append(Affine(layer, shape) if isinstance(layer, AffineCoupling) else Plaquettes(layer))
        if params is None:
            params = {key: torch.tensor(value, requires_grad=True) for key, value in chain.params.items()}
        self.params = params
        self.own = [
            {key.split("/", 1)[1]: value for key, value in self.params.items() if key.split("/", 1)[0] == str(i)}
            for i in range(len(self.layers))
        ]

    def forward(self, x: Tensor) -> Moved:
        logdet = torch.zeros(len(x), dtype=x.dtype)
        for layer, params in zip(self.layers, self.own, strict=True):
            x, own = layer.forward(params, x)
            logdet = logdet + own
        return x, logdet


Action = Callable[[Tensor], Tensor]
Prior = Callable[[torch.Generator], Moved]


def phi4(m2: float, lam: float) -> Action:
    """The action of `refimpl.actions.Phi4`."""

    def action(phi: Tensor) -> Tensor:
        square = phi * phi
        neighbours = torch.roll(phi, -1, 1) + torch.roll(phi, -1, 2)
        return (square * (2 + m2 / 2 + lam / 24 * square) - phi * neighbours).sum((1, 2))

    return action


def wilson(beta: float) -> Action:
    """The action of `refimpl.actions.WilsonU1`."""
    return lambda x: beta * (1 - torch.cos(plaquettes(x))).sum((1, 2))


def normal(batch: int, shape: tuple[int, int]) -> Prior:
    """Independent N(0, 1), and the logarithm of their density."""

    def draw(generator: torch.Generator) -> Moved:
        z = torch.randn((batch, *shape), generator=generator, dtype=torch.float64)
        return z, -0.5 * (z * z).sum((1, 2)) - 0.5 * z[0].numel() * float(np.log(2 * np.pi))

    return draw


def uniform_angles(batch: int, shape: tuple[int, int]) -> Prior:
    """Uniform link angles, and the logarithm of their density."""

    def draw(generator: torch.Generator) -> Moved:
        z = torch.rand((batch, 2, *shape), generator=generator, dtype=torch.float64) * TWO_PI - torch.pi
        return z, torch.full((batch,), -z[0].numel() * float(np.log(2 * np.pi)), dtype=z.dtype)

    return draw


def sampler(flow: Flow, prior: Prior, seed: int = 0) -> Callable[[], tuple[Array, Array]]:
    """A function that returns fields and their ``log q``."""
    generator = torch.Generator().manual_seed(seed)

    @torch.inference_mode()
    def step() -> tuple[Array, Array]:
        z, log_prob = prior(generator)
        x, logdet = flow.forward(z)
        return x.numpy(), (log_prob - logdet).numpy()

    return step


def trainer(flow: Flow, prior: Prior, action: Action, rate: float, clip: float, seed: int = 0) -> Callable[[], float]:
    """A function that makes one step of training by the reverse KL divergence and returns the loss."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(flow.params.values(), lr=rate, fused=True)

    def step() -> float:
        z, log_prob = prior(generator)
        optimiser.zero_grad(set_to_none=True)
        x, logdet = flow.forward(z)
        loss = (log_prob - logdet + action(x)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.params.values(), clip)
        optimiser.step()
        return float(loss.detach())

    return step
