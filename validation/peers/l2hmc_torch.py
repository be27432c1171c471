"""The generalized leapfrog of U(1) as one writes it in PyTorch: float64, autograd, `torch.roll`, library convolutions.

It takes the `Architecture` and the parameters of `refimpl.maps` (dense, convolutional and scalar nets on cosines and sines)
and computes all else itself: a peer for the oracle (`target`), and a competitor for the clock (`sampler`, `trainer`).
Where the slower way is also common, the faster one is taken: one sine and cosine for each field, the force reused by
adjacent half kicks, no autograd while sampling, parameters stacked over layers, the fused Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refimpl import nets
from refimpl.maps.architecture import Architecture

from .torch_seeds import folded

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise ImportError("torch is not installed: pip install 'refimpl[bench]'") from error

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]

ACTIVATIONS = {
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "softplus": functional.softplus,
    "swish": functional.silu,
    "silu": functional.silu,
}


class Point(NamedTuple):
    """Field and momenta, the logdet so far, and what is known of the field: its cosine and sine, action and force."""

    x: Tensor
    v: Tensor
    logdet: Tensor
    encoded: tuple[Tensor, Tensor] | None
    action: Tensor
    force: Tensor


class L2HMC:
    """The map, with the parameters as leaves of the graph; raises `ValueError` for nets it does not know."""

    def __init__(self, architecture: Architecture, params: Mapping[str, Array], beta: float, merged: bool) -> None:
        for net in (architecture.v_net, architecture.x_net):
            if net is not None and (net.kind == "stencil" or net.rank or net.batch_norm):
                raise ValueError(f"net: got {net}, expected scalars, a dense net without rank, or a plain conv net")
        if len(architecture.field_shape) != 3 or architecture.encoding != "cartesian" or architecture.winding:
            raise ValueError(f"architecture: got {architecture}, expected links seen as cos and sin, without winding")
        self.architecture, self.beta, self.merged = architecture, beta, merged
        self.params = {key: torch.tensor(value, requires_grad=True) for key, value in params.items()}
        self.masks = torch.from_numpy(architecture.masks().astype(np.float64))
        times = [architecture.time_encoding(k) for k in range(architecture.n_layers)]
        self.times = None if times[0] is None else torch.from_numpy(np.array(times))

    def plaquettes(self, x: Tensor) -> Tensor:
        x_0, x_1 = x[:, 0], x[:, 1]
        return x_0 + torch.roll(x_1, -1, 1) - torch.roll(x_0, -1, 2) - x_1

    def action_and_force(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = self.plaquettes(x)
        s = self.beta * torch.sin(p)
        force = torch.stack([s - torch.roll(s, 1, 2), torch.roll(s, 1, 1) - s], 1)
        return self.beta * (1 - torch.cos(p)).sum((1, 2)), force

    def run(self, x: Tensor, v: Tensor, direction: int) -> Point:
        """The map, or for ``direction = -1`` its inverse; angles are not wrapped."""
        # One split of each stacked parameter: its gradient is one concatenation, and not a sum over layers.
        layers = {key: value.unbind(0) for key, value in self.params.items()}
        z = Point(x, v, torch.zeros(len(x), dtype=x.dtype), None, *self.action_and_force(x))
        if not self.merged:
            return self._layers(layers, z, direction)
        z = self._layers(layers, z, 1)
        return self._layers(layers, z._replace(v=-z.v), -1)

    def _layers(self, layers: dict[str, tuple[Tensor, ...]], z: Point, sign: int) -> Point:
        n, x_net = self.architecture.n_layers, self.architecture.x_net
        for k in range(n) if sign > 0 else reversed(range(n)):
            own = {key: value[k % len(value)] for key, value in layers.items()}
            tau = None if self.times is None else self.times[k]
            z = self._kick(own, tau, z, sign)
            if x_net is None:
                z = z._replace(x=z.x + sign * own["eps_x"] * z.v, encoded=None)
            else:
                halves = [self.masks[k], 1 - self.masks[k]] if self.architecture.mask != "combined" else [self.masks[k]]
                for move in halves[::sign]:
                    z = self._move(own, tau, z, move, sign)
            action, force = self.action_and_force(z.x)
            z = self._kick(own, tau, z._replace(action=action, force=force), sign)
        return z

    def _kick(self, own: dict[str, Tensor], tau: Tensor | None, z: Point, sign: int) -> Point:
        net, e = self.architecture.v_net, own["eps_v"]
        s = t = q = None
        if net is not None:
            if net.kind != "scalars" and z.encoded is None:
                z = z._replace(encoded=(torch.cos(z.x), torch.sin(z.x)))
            s, t, q = outputs(net, own, "v", (*(z.encoded or ()), z.force), tau)
        push = z.force if q is None else z.force * torch.exp(e * q)
        push = (0.5 * e) * (push if t is None else push + t)
        v = z.v if sign > 0 else z.v + push
        v = v if s is None else v * torch.exp((0.5 * sign * e) * s)
        v = v - push if sign > 0 else v
        logdet = z.logdet if s is None else z.logdet + (0.5 * sign * e) * total(s, z.x)
        return z._replace(v=v, logdet=logdet)

    def _move(self, own: dict[str, Tensor], tau: Tensor | None, z: Point, move: Tensor, sign: int) -> Point:
        net, e = self.architecture.x_net, own["eps_x"]
        assert net is not None
        if net.kind == "scalars":
            seen: tuple[Tensor, ...] = ()
        else:
            c, s = z.encoded or (torch.cos(z.x), torch.sin(z.x))
            seen = (c * (1 - move), s * (1 - move))
        s, t, q = outputs(net, own, "x", (*seen, z.v), tau)
        shift = z.v if q is None else z.v * torch.exp(e * q)
        shift = (e * move) * (shift if t is None else shift + t)
        x = z.x if sign > 0 else z.x - shift
        logdet = z.logdet
        if s is not None:
            x, more = projective(x, (sign * e) * s * move)
            logdet = logdet + more.sum((1, 2, 3))
        x = x + shift if sign > 0 else x
        return z._replace(x=x, logdet=logdet, encoded=None)


def projective(x: Tensor, exponent: Tensor) -> tuple[Tensor, Tensor]:
    """``2 atan(exp(exponent) tan(x/2))`` and the logarithm of its derivative."""
    c, a_s = torch.cos(0.5 * x), torch.exp(exponent) * torch.sin(0.5 * x)
    return 2 * torch.atan2(a_s, c), exponent - torch.log(c * c + a_s * a_s)


def total(values: Tensor, field: Tensor) -> Tensor:
    return values.sum((1, 2, 3)) if values.ndim else values * field[0].numel()


def outputs(
    net: nets.Net, own: dict[str, Tensor], which: str, inputs: tuple[Tensor, ...], tau: Tensor | None
) -> list[Tensor | None]:
    """S, T, Q of a net whose ``inputs`` are cosine, sine, and force or momenta; None where there is no such output."""

    def p(key: str) -> Tensor:
        return own[f"{which}/{key}"]

    if net.kind == "scalars":
        return [p(f"scalar/{letter}") if letter in net.outputs else None for letter in "stq"]
    act = ACTIVATIONS[net.activation]
    bias = p("in/bias") if tau is None else p("in/bias") + tau @ p("in/time")
    names = ("cos", "sin", "force" if which == "v" else "v")
    shape = inputs[0].shape
    if net.kind == "dense":
        h = bias
        for name, value in zip(names, inputs, strict=True):
            h = torch.addmm(h, value.flatten(1), p(f"in/{name}"))
        h, n_hidden = act(h), len(net.units) - 1
    else:
        weight = torch.cat([p(f"in/{name}") for name in names], 1)
        h = act(functional.conv2d(circular(torch.cat(inputs, 1), weight), weight, bias))
        for i in range(len(net.filters) - 1):
            weight = p(f"conv/{i}/weight")
            h = act(functional.conv2d(circular(h, weight), weight, p(f"conv/{i}/bias")))
        n_hidden = len(net.units)
        h = h.flatten(1) if net.units else h
    for i in range(n_hidden):
        h = act(torch.addmm(p(f"hidden/{i}/bias"), h, p(f"hidden/{i}/weight")))
    return [head(net, p, letter, h, shape) if letter in net.outputs else None for letter in "stq"]


def circular(x: Tensor, weight: Tensor) -> Tensor:
    t, n = weight.shape[2] // 2, weight.shape[3] // 2
    return functional.pad(x, (n, n, t, t), mode="circular")


def head(net: nets.Net, p: Callable[[str], Tensor], letter: str, h: Tensor, shape: torch.Size) -> Tensor:
    weight, bias = p(f"head/{letter}/weight"), p(f"head/{letter}/bias")
    if net.units:
        z = torch.addmm(bias.flatten(), h, weight).view(shape)
        return z if letter == "t" else p(f"head/{letter}/scale") * torch.tanh(z)
    z = functional.conv2d(h, weight[:, :, None, None], bias)
    return z if letter == "t" else p(f"head/{letter}/scale")[:, None, None] * torch.tanh(z)


def energy(action: Tensor, v: Tensor) -> Tensor:
    return action + 0.5 * (v * v).sum((1, 2, 3))


def wrap(x: Tensor) -> Tensor:
    return torch.remainder(x + torch.pi, 2 * torch.pi) - torch.pi


def by_direction(model: L2HMC, x: Tensor, v: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Field, momenta, logdet and action at the ends of the trajectories, chain by chain forward or backward."""
    if model.merged or bool((d == d[0]).all()):
        z = model.run(x, v, int(d[0]))
        return z.x, z.v, z.logdet, z.action
    parts = [torch.nonzero(d == sign).flatten() for sign in (1, -1)]
    ends = [model.run(x[part], v[part], sign) for part, sign in zip(parts, (1, -1), strict=True)]
    back = torch.argsort(torch.cat(parts))
    pairs = zip(*((z.x, z.v, z.logdet, z.action) for z in ends), strict=True)
    return tuple(torch.cat(pair)[back] for pair in pairs)  # type: ignore[return-value]


def transition(
    model: L2HMC, x: Tensor, v: Tensor, u: Tensor, d: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Proposed field and momenta, logdet, change of the energy, decision and next field."""
    new, momenta, logdet, action = by_direction(model, x, v, d)
    delta_h = energy(action, momenta) - energy(model.action_and_force(x)[0], v)
    accept = torch.log(u) < logdet - delta_h
    proposed = wrap(new)
    return proposed, momenta, logdet, delta_h, accept, torch.where(accept[:, None, None, None], proposed, x)


def noise(shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    v = torch.randn(shape, generator=generator, dtype=torch.float64)
    u, coin = torch.rand(2, shape[0], generator=generator, dtype=torch.float64)
    return v, u, torch.where(coin < 0.5, 1.0, -1.0)


def sampler(model: L2HMC, x: Array, seed: int = 0) -> Callable[[], Array]:
    """A function that advances all chains by one transition and returns the links."""
    generator = torch.Generator().manual_seed(seed)
    links = torch.from_numpy(np.ascontiguousarray(x)).clone()

    @torch.inference_mode()
    def step() -> Array:
        nonlocal links
        *_, links = transition(model, links, *noise(links.shape, generator))
        return links.numpy()

    return step


def charge_loss(model: L2HMC, x: Tensor, v: Tensor, d: Tensor) -> Tensor:
    """``-A (Q'_sin - Q_sin)^2``, mean over chains."""
    new, momenta, logdet, action = by_direction(model, x, v, d)
    delta_h = energy(action, momenta) - energy(model.action_and_force(x)[0], v)
    change = (torch.sin(model.plaquettes(new)) - torch.sin(model.plaquettes(x))).sum((1, 2)) / (2 * torch.pi)
    return -(torch.exp(torch.clamp(logdet - delta_h, max=0.0)) * change**2).mean()


def trainer(model: L2HMC, x: Array, rate: float, clip: float, seed: int = 0) -> Callable[[], float]:
    """A function that makes one step of training on the chains ``x`` and returns the loss."""
    generator = torch.Generator().manual_seed(seed)
    links = torch.from_numpy(np.ascontiguousarray(x)).clone()
    optimiser = torch.optim.Adam(model.params.values(), lr=rate, fused=True)

    def step() -> float:
        v, _, d = noise(links.shape, generator)
        optimiser.zero_grad(set_to_none=True)
        loss = charge_loss(model, links, v, d)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.params.values(), clip)
        optimiser.step()
        return float(loss.detach())

    return step


@dataclass(frozen=True)
class TorchL2HMC:
    """The map as a target of the oracle; links ``(chain, 2, T, X)``."""

    beta: float
    shape: tuple[int, int]
    step_size: float
    n_layers: int
    merged: bool

    theory: ClassVar[str] = "u1"
    name: ClassVar[str] = f"generalized leapfrog in torch {torch.__version__}"
    expected_failures: ClassVar[dict[str, str]] = {
        "maps.equivariance": "a dense net and a random mask know where on the lattice they are"
    }

    @property
    def reversal(self) -> str:
        return "involution" if self.merged else "direction"

    @property
    def model(self) -> L2HMC:
        net = nets.Net("dense", units=(8,), activation="tanh")
        architecture = Architecture((2, *self.shape), True, self.n_layers, net, net)
        # Random nets, small enough for acceptances of some tens of per cent: the kernel is exact for any.
        rng = np.random.default_rng(1)
        params = architecture.init(rng, self.step_size)
        params |= {key: value + 0.1 * rng.standard_normal(value.shape) for key, value in params.items() if "/" in key}
        return L2HMC(architecture, params, self.beta, self.merged)

    def action(self, x: Array) -> Array:
        return self.model.action_and_force(torch.from_numpy(x))[0].numpy()

    def force(self, x: Array) -> Array:
        return self.model.action_and_force(torch.from_numpy(x))[1].numpy()

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._run(z, 1)

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._run(z, -1)

    @torch.no_grad()
    def _run(self, z: PhasePoint, direction: int) -> tuple[PhasePoint, Array]:
        end = self.model.run(torch.from_numpy(z[0]), torch.from_numpy(z[1]), direction)
        return (wrap(end.x).numpy(), end.v.numpy()), end.logdet.numpy()

    @torch.no_grad()
    def transition(self, x: Array, v: Array, u: Array, d: Array | None = None) -> dict[str, Array]:
        d = np.ones(len(x)) if d is None else d
        names = ("x_proposed", "v_proposed", "logdet", "delta_h", "accept", "x_next")
        values = transition(self.model, *(torch.from_numpy(part) for part in (x, v, u, d)))
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    def transcript(self, x: Array, seed: int) -> dict[str, Array]:
        v, u, d = (part.numpy() for part in noise(x.shape, torch.Generator().manual_seed(folded(seed))))
        return {**self.transition(x, v, u, d), "v": v, "u": u, **({} if self.merged else {"d": d})}

    def step(self, x: Array, seed: int) -> Array:
        return self.transcript(x, seed)["x_next"]

    def run(self, x: Array, n: int, seed: int) -> tuple[Array, Any]:
        return self.resume((x, torch.Generator().manual_seed(folded(seed)).get_state()), n)

    def resume(self, state: Any, n: int) -> tuple[Array, Any]:
        x, generator = state[0], torch.Generator()
        generator.set_state(state[1].clone())
        out = []
        for _ in range(n):
            x = self.transition(x, *(part.numpy() for part in noise(x.shape, generator)))["x_next"]
            out.append(x)
        return np.array(out), (x, generator.get_state())


def target(
    beta: float = 2.0,
    shape: tuple[int, int] = (4, 4),
    step_size: float = 0.2,
    n_layers: int = 3,
    merged: bool = False,
) -> TorchL2HMC:
    """The peer at these parameters, with random nets."""
    return TorchL2HMC(beta, shape, step_size, n_layers, merged)
