"""Joint models of U(1) links and pseudofermions (Abbott 2022) as one writes them in PyTorch: float64, autograd, batched products.

It takes the layers of a `refimpl.models.JointModel`, their masks and their weights, and computes all else itself. Gradients are by
autograd, also through the solver: the usual way. Where the slower way is also common, the faster one is taken: the windows of
the private convolutions, which all layers share, are unfolded once; transporters are multiplied into the matrices of the PTCs,
which are smaller than the fields; the last PTC and A act at active sites only; the whole matrix of a conditional is made of the
matrices of its PTCNs; traces come from a Cholesky factor.

Columns are ``(chain, row, column)``, rows ``(t, x, spin)`` flattened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from refimpl.actions import Pseudofermion
from refimpl.maps.pseudofermion_layer import PseudofermionLayer
from refimpl.models.joint import JointModel

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise ImportError("torch is not installed: pip install 'refimpl[bench]'") from error

from . import dirac_torch, flow_torch
from .flow_torch import Action, Prior

Array = NDArray[np.float64]
LOG_PI = float(np.log(np.pi))


def context_inputs(x: Tensor) -> Tensor:
    """``cos P, sin P, t mod 4, x mod 4``, ``(chain, 4, T, X)``."""
    p = flow_torch.plaquettes(x)
    t, s = torch.meshgrid(*(torch.arange(n, dtype=x.dtype) % 4 for n in p.shape[1:]), indexing="ij")
    return torch.stack([torch.cos(p), torch.sin(p), t.expand_as(p), s.expand_as(p)], 1)


def neighbours(shape: tuple[int, int]) -> Tensor:
    """The sites ``y, y + 0^, y - 0^, y + 1^, y - 1^`` of every site ``y``, ``(V, 5)``."""
    sites = torch.arange(shape[0] * shape[1]).reshape(shape)
    moved = [sites, sites.roll(-1, 0), sites.roll(1, 0), sites.roll(-1, 1), sites.roll(1, 1)]
    return torch.stack(moved, -1).reshape(-1, 5)


def parity(rows: Tensor, shape: tuple[int, int]) -> Tensor:
    """0 for rows ``(t, x, spin)``, flattened, of even sites."""
    return (rows // (2 * shape[1]) + rows // 2) % 2


def places(around: Tensor, h: int, k: int) -> Tensor:
    """Where the numbers ``(site, H, 5, K)`` of a PTC stand in its matrix ``(site, H; site, K)``, flattened."""
    volume = len(around)
    rows = (torch.arange(volume)[:, None] * h + torch.arange(h))[:, :, None, None]
    columns = (around[:, :, None] * k + torch.arange(k))[:, None]
    return (rows * (volume * k) + columns).flatten()


def transporters(x: Tensor) -> Tensor:
    """``1, U_0(y), U_0(y - 0^)^*, U_1(y), U_1(y - 1^)^*`` of every site, antiperiodic in time, ``(chain, V, 5)``."""
    u0, u1 = dirac_torch.signed_links(x).unbind(1)
    hops = [torch.ones_like(u0), u0, u0.roll(1, 1).conj(), u1, u1.roll(1, 2).conj()]
    return torch.stack(hops, -1).flatten(1, 2)


def windows(hidden: Tensor) -> Tensor:
    """What a periodic 3x3 convolution sees, ``(chain * site, channel * 9)``."""
    seen = functional.unfold(functional.pad(hidden, (1,) * 4, mode="circular"), 3)
    return seen.transpose(1, 2).flatten(0, 1)


class Layer:
    """A pseudofermion layer on a checkerboard, or on every other row of the even sites."""

    def __init__(self, layer: PseudofermionLayer, shape: tuple[int, int], params: dict[str, Tensor]) -> None:
        if (layer.partition, layer.colours, layer.scalar, layer.kernel_size) != ("spatial", 1, False, 3):
            raise ValueError(
                f"layer: got {layer}, expected a spatial partition, matrices A, one colour and kernels of size 3"
            )
        if min(shape) < 3:
            raise ValueError(
                f"shape: got {shape}, expected extents of at least 3, where all neighbours of a site differ"
            )
        t, s = np.indices(shape)
        parity, there = (t % 2, (t + s) % 2 == 0) if layer.even_odd else ((t + s) % 2, np.ones(shape, np.bool_))
        active = there & (parity == layer.index % 2)
        self.sites, self.active, self.frozen = (
            torch.from_numpy(np.flatnonzero(x)) for x in (active, active, there & ~active)
        )
        spins = torch.arange(2)
        self.active = (2 * self.sites[:, None] + spins).flatten()
        self.frozen = (2 * self.frozen[:, None] + spins).flatten()
        self.around, features = neighbours(shape), [2, *[layer.features] * (layer.n_pt - 1), 2]
        self.sizes = list(zip(features[1:], features, strict=False))
        self.places = [places(self.around, *size) for size in self.sizes]
        # The direction of every number that the net makes for a PTC.
        self.hops = torch.cat([torch.arange(5).repeat_interleave(k).repeat(h) for h, k in self.sizes])
        self.params = params

    def columns(self, seen: Tensor, u: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Columns moved by the layer, and its logdet."""
        stencils, a = self._stencils(seen, u)
        frozen = psi.index_select(1, self.frozen)
        if psi.shape[2] > len(self.frozen):
            shift = self._matrix(stencils) @ frozen
        else:
            shift = self._shift(stencils, torch.zeros_like(psi).index_copy(1, self.frozen, frozen))
        moved = (a @ psi.index_select(1, self.active).unflatten(1, (-1, 2))).flatten(1, 2) + shift
        det = a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0]
        return psi.index_copy(1, self.active, moved), 2 * det.abs().log().sum(1)

    def _shift(self, stencils: list[Tensor], h: Tensor) -> Tensor:
        """The PTCN of columns, at active sites: few columns, and products site by site."""
        for (_, k), stencil in zip(self.sizes[:-1], stencils[:-1], strict=True):
            h = h.unflatten(1, (-1, k)).index_select(1, self.around.flatten())
            h = (stencil @ h.reshape(*stencil.shape[:2], -1, h.shape[-1])).flatten(1, 2)
        h = h.unflatten(1, (-1, self.sizes[-1][1])).index_select(1, self.around[self.sites].flatten())
        stencil = stencils[-1][:, self.sites]
        return (stencil @ h.reshape(*stencil.shape[:2], -1, h.shape[-1])).flatten(1, 2)

    def _matrix(self, stencils: list[Tensor]) -> Tensor:
        """The PTCN as a matrix from frozen to active rows: PTCs of small lattices are multiplied faster as whole matrices."""
        ptcs = []
        for (h, k), where, stencil in zip(self.sizes, self.places, stencils, strict=True):
            chains, volume = stencil.shape[:2]
            zeros = stencil.new_zeros((chains, h * volume * k * volume))
            ptcs.append(zeros.index_copy(1, where, stencil.flatten(1)).reshape(chains, h * volume, k * volume))
        ptcs[0] = ptcs[0].index_select(2, self.frozen)
        ptcs[-1] = ptcs[-1].index_select(1, self.active)
        matrix = ptcs[0]
        for ptc in ptcs[1:]:
            matrix = ptc @ matrix
        return matrix

    def _stencils(self, seen: Tensor, u: Tensor) -> tuple[list[Tensor], Tensor]:
        """The matrices of the PTCs at every site, transporters and all, ``(chain, site, H, 5 K)``, and A at active sites."""
        weight, bias = self.params["weight"].flatten(1), self.params["bias"]
        out = torch.tanh(torch.addmm(bias, seen, weight.T)).reshape(*u.shape[:2], -1, 2)
        numbers = torch.view_as_complex(out)
        parts = (numbers[..., :-4] * u[..., self.hops]).split([5 * h * k for h, k in self.sizes], -1)
        stencils = [part.unflatten(-1, (h, 5 * k)) for part, (h, k) in zip(parts, self.sizes, strict=True)]
        a = numbers[:, self.sites, -4:].unflatten(-1, (2, 2))
        return stencils, a + torch.eye(2, dtype=a.dtype)


class Joint:
    """A joint model, its weights as leaves of the graph under the names of `JointModel.params`."""

    def __init__(self, model: JointModel) -> None:
        if model.inflation != 1:
            raise ValueError(f"model: got an inflation of {model.inflation}, expected 1")
        self.shape = model.conditionals[0].shape
        self.net, self.monomials = model.context.net, model.monomials
        self.params = {key: torch.tensor(value, requires_grad=True) for key, value in model.params.items()}
        self.marginal = flow_torch.Flow(model.marginal.map, self.shape, self._own("marginal/"))
        self.context = self._own("context/")
        self.conditionals = [
            [Layer(layer, self.shape, self._own(f"conditional/{m}/{i}/")) for i, layer in enumerate(conditional.layers)]
            for m, conditional in enumerate(model.conditionals)
        ]
        rows = torch.arange(2 * self.shape[0] * self.shape[1])
        self.rows = rows[parity(rows, self.shape) == 0] if self.monomials[0].even_odd else rows

    def conditional(self, x: Tensor, psi: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What the conditional of every monomial makes of columns ``(chain, monomial, row, column)``, and its logdet."""
        hidden = functional.elu(flow_torch.network(self.net, self.context, context_inputs(x)))
        seen, u = windows(hidden), transporters(x)
        found = []
        for layers, columns in zip(self.conditionals, psi.unbind(1), strict=True):
            shape = (len(x), 2 * u.shape[1], columns.shape[2])
            field = columns.new_zeros(shape).index_copy(1, self.rows, columns)
            logdet = torch.zeros(len(x), dtype=x.dtype)
            for layer in layers:
                field, own = layer.columns(seen, u, field)
                logdet = logdet + own
            found.append((field.index_select(1, self.rows), logdet))
        return found

    def _own(self, prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in self.params.items() if key.startswith(prefix)}


def energies(monomials: Sequence[Pseudofermion], x: Tensor, columns: Sequence[Tensor]) -> list[Tensor]:
    """The action of every monomial, summed over columns ``(chain, row, column)``: ``(chain,)``."""
    first = monomials[0]
    operator = dirac_torch.dense_matrix(dirac_torch.signed_links(x), first.kappa)
    if first.even_odd:
        even = parity(torch.arange(operator.shape[1]), (x.shape[2], x.shape[3])) == 0
        operator = torch.eye(int(even.sum())) - operator[:, even][:, :, ~even] @ operator[:, ~even][:, :, even]
    square, one = operator @ operator.mH, torch.eye(operator.shape[1], dtype=operator.dtype)
    found = []
    for monomial, phi in zip(monomials, columns, strict=True):
        factor = torch.linalg.cholesky(square + monomial.mu * one)
        w = torch.linalg.solve_triangular(factor, phi, upper=False)
        if monomial.mu_next is None:
            found.append(_square(w))
        else:
            found.append(_square(phi) + (monomial.mu_next - monomial.mu) * _square(w))
    return found


def losses(model: Joint, monomials: Sequence[Pseudofermion], z: Tensor, log_prior: Tensor, action: Action) -> Tensor:
    """The loss of every chain, the mean over pseudofermions taken exactly, as a trace."""
    x, logdet = model.marginal.forward(z)
    n = len(model.rows)
    unit = torch.eye(n, dtype=torch.complex128).expand(len(z), len(monomials), n, n)
    parts = model.conditional(x, unit)
    loss = log_prior - logdet + action(x)
    traces = energies(monomials, x, [columns for columns, _ in parts])
    for trace, (_, own) in zip(traces, parts, strict=True):
        loss = loss - n * LOG_PI - n - own + trace
    return loss


def trainer(
    model: Joint,
    monomials: Sequence[Pseudofermion],
    prior: Prior,
    action: Action,
    rate: float,
    epsilon: float,
    weight_decay: float,
    clip: float | None,
    seed: int = 0,
) -> Callable[[], float]:
    """A function that makes one step of training with AdamW and returns the loss; ``monomials`` are those with the regulator."""
    generator = torch.Generator().manual_seed(seed)
    parameters = list(model.params.values())
    optimiser = torch.optim.AdamW(parameters, lr=rate, eps=epsilon, weight_decay=weight_decay, fused=True)

    def step() -> float:
        z, log_prior = prior(generator)
        optimiser.zero_grad(set_to_none=True)
        loss = losses(model, monomials, z, log_prior, action).mean()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        return float(loss.detach())

    return step


def sampler(model: Joint, prior: Prior, action: Action, seed: int = 0) -> Callable[[], tuple[Array, Array]]:
    """A function that returns links and the logarithms of their joint weights, of one draw of every pseudofermion."""
    generator = torch.Generator().manual_seed(seed)
    n = len(model.rows)

    @torch.inference_mode()
    def step() -> tuple[Array, Array]:
        z, log_prior = prior(generator)
        chi = torch.randn((len(z), len(model.monomials), n, 1), generator=generator, dtype=torch.complex128)
        x, log_weights = weighted(model, z, log_prior, action, chi)
        return x.numpy(), log_weights.numpy()

    return step


def weighted(model: Joint, z: Tensor, log_prior: Tensor, action: Action, chi: Tensor) -> tuple[Tensor, Tensor]:
    """Links and the logarithms of their joint weights, for given noise ``(chain, monomial, row, 1)``."""
    x, logdet = model.marginal.forward(z)
    parts = model.conditional(x, chi)
    log_weights = logdet - log_prior - action(x)
    energy = energies(model.monomials, x, [phi for phi, _ in parts])
    for m, (own_energy, (_, own)) in enumerate(zip(energy, parts, strict=True)):
        log_prob = -chi.shape[2] * LOG_PI - _square(chi[:, m]) - own
        log_weights = log_weights - own_energy - log_prob
    return x, log_weights


def _square(columns: Tensor) -> Tensor:
    return torch.view_as_real(columns).square().sum((1, 2, 3))
