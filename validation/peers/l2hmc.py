"""The PyPI package l2hmc, the public code of L2HMC for lattice gauge theory, as targets for two-dimensional U(1).

Everything is theirs: `LatticeU1`, `Dynamics` (its leapfrog, updates, logdets, acceptance, drawing of noise) and the nets, with
random weights. Ours are layouts, float64 in place of float32, and a seed for their global generators. `target` is the HMC, `merged`
the kernel with nets that is the default (forward, flip, backward), `directed` the one with a random direction
(``merge_directions=False``), `numpy_lattice` the lattice in NumPy. Nets have no batch norm, which would couple chains.

Read from the wheel of l2hmc 0.13.0, and measured:

- ``pip install l2hmc`` asks for ``horovod[pytorch,tensorflow]``, which has no wheels; hence ``pip install --no-deps l2hmc``.
- ``import l2hmc.configs``, which all but the NumPy lattice need, raises on Python 3.11 and later: ``ValueError: mutable default
  <class 'l2hmc.configs.NetWeight'> for field x is not allowed`` (configs.py, line 225), as a dataclass is a default of another.
  Here dataclasses are made hashable while that module is imported, which is what Python 3.10 took them for.
- ``group/group.py`` and ``lattice/lattice.py`` import tensorflow for annotations alone, also for PyTorch: without it an empty
  module takes its place while they are imported.
- **The backward update of x is not the inverse of the forward one** where ``use_ncp`` (the default). ``Dynamics._update_x_fwd``
  makes ``x' = 2 atan(e^s tan(x/2)) + eps (v e^q + t)``, and ``_update_x_bwd`` ``2 atan(e^-s tan(x'/2)) - e^-s eps (v e^q + t)``:
  the shift is undone after the scaling. It is to be ``2 atan(e^-s tan((x' - eps (v e^q + t))/2))``, with ``cos``, ``sin`` of
  the same shifted angle in the logdet. Neither kernel is reversible then; of `merged` no statistic at level smoke shows it.
- **The acceptance of** ``Dynamics.transition_kernel`` **has initial and proposed state exchanged**: ``compute_accept_prob(
  state_init=state, state_prop=sinit, sumlogdet=sumlogdet)``, where ``state`` is the end of the trajectory: it accepts with ``min(1,
  exp(H' - H + logdet))``. ``transition_kernel_fb`` and the HMC have them in order. Used where ``merge_directions=False``.
- **The net of the momenta sees the raw angle**, and the forward update leaves angles where they are (the line ``xf =
  self.g.compat_proj(xf)`` is commented out), while the backward one reduces them to [-pi, pi): the net is asked at two sheets of
  one configuration, and the way back differs wherever a link passes pi. Either reduction, of x before the net or of ``xf``,
  mends the way back; only the first makes the map periodic.
- Mended in a copy, in all three points (x reduced before the net), `merged` and `directed` pass all of ``maps.*`` and
  ``transcript.*`` but for the direction. With the update of x alone, round trips still fail; with the net too, `merged` passes them
  and `directed` fails ``transcript.decision`` alone.
- ``apply_transition`` draws one direction for all chains (``if torch.rand(1) > 0.5``): chains are not independent.
- ``LatticeU1.wilson_loops4x4`` is no closed loop: it steps along the second axis where its links point along the first, with five
  and three links a side. It changes under gauge transformations, and so does what it is logged as, ``p4x4``; ``plaqs4x4``
  averages over chains, as its angles are transposed: shape ``(X,)``. In NumPy it raises AttributeError (arrays have no ``roll``).
- The NumPy lattice has no beta: its action is that of beta = 1; ``draw_uniform_batch`` returns three numbers, not links.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .torch_seeds import folded

Array = NDArray[np.float64]
PhasePoint = tuple[Array, Array]
Shape = tuple[int, int]

INSTALL = "pip install 'refimpl[l2hmc]' && pip install --no-deps l2hmc"
SEED = 7  # of weights and masks
UNITS = [16, 16]


@contextlib.contextmanager
def _as_if_python_3_10() -> Iterator[None]:
    """Dataclasses hashable, so that they may be defaults of others; only while ``l2hmc.configs`` is imported."""
    original = dataclasses.dataclass
    dataclasses.dataclass = functools.partial(original, unsafe_hash=True)  # type: ignore[assignment]
    try:
        yield
    finally:
        dataclasses.dataclass = original


@contextlib.contextmanager
def _annotations_of_tensorflow() -> Iterator[None]:
    """An empty module in its place, where it is not installed."""
    if importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    module = types.ModuleType("tensorflow")
    vars(module).update(Tensor=object, DType=type("DType", (), {}))
    sys.modules["tensorflow"] = module
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


try:
    import hydra.core.config_store  # noqa: F401 (before dataclasses are changed)
    import omegaconf  # noqa: F401
    import torch

    with _as_if_python_3_10():
        configs = importlib.import_module("l2hmc.configs")
    with _annotations_of_tensorflow():
        dynamics = importlib.import_module("l2hmc.dynamics.pytorch.dynamics")
        networks = importlib.import_module("l2hmc.network.pytorch.network")
    lattices = importlib.import_module("l2hmc.lattice.u1.numpy.lattice")
except ImportError as error:
    raise ImportError(f"l2hmc cannot be imported ({error}): {INSTALL}") from error

VERSION = version("l2hmc")


@contextlib.contextmanager
def _in_float64(seed: int | None = None) -> Iterator[None]:
    """Their default dtype and global generators, as they were afterwards."""
    dtype, noise = torch.get_default_dtype(), np.random.get_state()  # noqa: NPY002 (theirs)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.set_default_dtype(torch.float64)
        if seed is not None:
            torch.manual_seed(folded(seed))
            np.random.seed(folded(seed))  # noqa: NPY002
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            np.random.set_state(noise)  # noqa: NPY002


@dataclass(frozen=True, eq=False)
class L2hmcU1:
    """What the kernels have in common; links are ``(chain, 2 T X)`` to `Dynamics`."""

    beta: float
    shape: Shape
    step_size: float
    n_steps: int
    own: Any = field(init=False)

    theory: ClassVar[str] = "u1"
    name: ClassVar[str] = f"l2hmc {VERSION} hmc"
    merged: ClassVar[bool] = True
    nets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        with _in_float64(SEED):
            object.__setattr__(self, "own", self._dynamics())

    def _dynamics(self) -> Any:
        config = configs.DynamicsConfig(
            nchains=1,
            group="U1",
            latvolume=list(self.shape),
            nleapfrog=self.n_steps,
            eps=self.step_size,
            eps_hmc=self.step_size,
            verbose=False,
            merge_directions=self.merged,
        )
        factory = None
        if self.nets:
            spec = configs.InputSpec(xshape=config.xshape)
            net = configs.NetworkConfig(units=UNITS, activation_fn="tanh", dropout_prob=0.0, use_batch_norm=False)
            factory = networks.NetworkFactory(input_spec=spec, network_config=net)
        lattice = dynamics.LatticeU1(1, list(self.shape))
        return dynamics.Dynamics(potential_fn=lattice.action, config=config, network_factory=factory)

    def action(self, x: Array) -> Any:
        return self.own.lattice.action(torch.from_numpy(x), self._beta)

    def force(self, x: Array) -> Any:
        return self.own.lattice.grad_action(torch.from_numpy(x), self._beta).detach()

    def plaquette(self, x: Array) -> Any:
        return self.own.lattice.plaqs(torch.from_numpy(x))

    def charge(self, x: Array) -> Any:
        return self.own.lattice.int_charges(torch.from_numpy(x)).round()  # theirs is an integer up to rounding

    def sine_charge(self, x: Array) -> Any:
        return self.own.lattice.sin_charges(torch.from_numpy(x))

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._mapped(z, forward=True)

    def step(self, x: Array, seed: int) -> Array:
        return self.transcript(x, seed)["x_next"]

    def transcript(self, x: Array, seed: int) -> dict[str, Any]:
        """One of their updates, with what they tell of it; uniforms and direction are drawn again from their seed."""
        with _in_float64(seed):
            links, metrics = self._update((_flat(x), self._beta))
        states = metrics["mc_states"]
        start, end = states.init, states.proposed
        (_, _), logdet = self._mapped(
            (_numpy(start.x).reshape(x.shape), _numpy(start.v).reshape(x.shape)), **self._way(seed)
        )
        with _in_float64(seed):
            noise = self._noise(x)
        energies = [self.own.hamiltonian(self._state(_flat(_numpy(s.x)), _flat(_numpy(s.v)))) for s in (start, end)]
        kept = _numpy(metrics["acc_mask"]) > 0
        moved = _wrapped(_numpy(links)).reshape(x.shape)
        return noise | {
            "x_proposed": _wrapped(_numpy(end.x)).reshape(x.shape),
            "v_proposed": _numpy(end.v).reshape(x.shape),
            "logdet": logdet,
            "delta_h": _numpy(energies[1] - energies[0]),
            "accept": kept,
            "x_next": moved,
            "v": _numpy(start.v).reshape(x.shape),
        }

    @property
    def _beta(self) -> Any:
        return torch.tensor(self.beta, dtype=torch.float64)

    def _state(self, x: Any, v: Any) -> Any:
        return dynamics.State(x=x, v=v, beta=self._beta)

    def _way(self, seed: int) -> dict[str, bool]:
        return {"forward": True}

    def _noise(self, x: Array) -> dict[str, Array]:
        torch.randn((len(x), 2, *self.shape))  # the momenta
        return {"u": _numpy(torch.rand(len(x)))}

    def _mapped(self, z: PhasePoint, forward: bool) -> tuple[PhasePoint, Array]:
        x, v = z
        with _in_float64():
            end, metrics = self._kernel(self._state(_flat(x), _flat(v)), forward)
        moved = _wrapped(_numpy(end.x)).reshape(x.shape), _numpy(end.v).reshape(x.shape)
        return moved, _numpy(metrics["sumlogdet"])

    def _kernel(self, state: Any, forward: bool) -> Any:
        return self.own.transition_kernel_hmc(state, eps=self.step_size, nleapfrog=self.n_steps)

    def _update(self, inputs: Any) -> Any:
        return self.own.apply_transition_hmc(inputs, eps=self.step_size, nleapfrog=self.n_steps)


class L2hmcMerged(L2hmcU1):
    """Forward, flip, backward, with nets: its own inverse, if the backward updates were those of the forward ones."""

    name: ClassVar[str] = f"l2hmc {VERSION} merged"
    reversal: ClassVar[str] = "involution"
    order: ClassVar[None] = None
    equivariant: ClassVar[bool] = False
    nets: ClassVar[bool] = True

    def _kernel(self, state: Any, forward: bool) -> Any:
        return self.own.transition_kernel_fb(state)

    def _update(self, inputs: Any) -> Any:
        return self.own.apply_transition_fb(inputs)


class L2hmcDirected(L2hmcU1):
    """Forward or backward with nets, the direction drawn for all chains at once."""

    name: ClassVar[str] = f"l2hmc {VERSION} directed"
    reversal: ClassVar[str] = "direction"
    order: ClassVar[None] = None
    equivariant: ClassVar[bool] = False
    nets: ClassVar[bool] = True
    merged: ClassVar[bool] = False
    expected_failures: ClassVar[dict[str, str]] = {
        "transcript.direction": "one direction is drawn for all chains of a call: +-1 by half for each, but not independent"
    }

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._mapped(z, forward=False)

    def _way(self, seed: int) -> dict[str, bool]:
        with _in_float64(seed):
            return {"forward": bool(torch.rand(1) > 0.5)}

    def _noise(self, x: Array) -> dict[str, Array]:
        forward = bool(torch.rand(1) > 0.5)
        return super()._noise(x) | {"d": np.full(len(x), 1.0 if forward else -1.0)}

    def _kernel(self, state: Any, forward: bool) -> Any:
        return self.own.transition_kernel(state, forward)

    def _update(self, inputs: Any) -> Any:
        return self.own.apply_transition(inputs)


@dataclass(frozen=True, eq=False)
class L2hmcNumpy:
    """`BaseLatticeU1`, in NumPy."""

    beta: float
    shape: Shape

    theory: ClassVar[str] = "u1"
    name: ClassVar[str] = f"l2hmc {VERSION} numpy lattice"

    @property
    def lattice(self) -> Any:
        return lattices.BaseLatticeU1(1, self.shape)

    def action(self, x: Array) -> Array:
        return self.beta * self.lattice.action(x)

    def plaquette(self, x: Array) -> Array:
        return self.lattice.plaqs(x)

    def charge(self, x: Array) -> Array:
        return np.rint(self.lattice.int_charges(x))

    def sine_charge(self, x: Array) -> Array:
        return self.lattice.sin_charges(x)


def _flat(x: Any) -> Any:
    return torch.from_numpy(np.array(x, dtype=np.float64).reshape(len(x), -1))


def _numpy(x: Any) -> Array:
    return x.detach().numpy().astype(np.float64)


def _wrapped(x: Array) -> Array:
    """Angles in [-pi, pi); one that is there already keeps its bits, so that a rejection returns its input."""
    x = x - 2 * np.pi * np.floor((x + np.pi) / (2 * np.pi))
    return np.where(x >= np.pi, -np.pi, np.maximum(x, -np.pi))  # rounding can leave +pi, or just below -pi


def target(beta: float = 2.0, shape: Shape = (4, 4), step_size: float = 0.25, n_steps: int = 6) -> L2hmcU1:
    """Their HMC at these parameters."""
    return L2hmcU1(beta, shape, step_size, n_steps)


def merged(beta: float = 2.0, shape: Shape = (4, 4), step_size: float = 0.1, n_steps: int = 2) -> L2hmcMerged:
    """Their default kernel with nets; ``n_steps`` in each direction."""
    return L2hmcMerged(beta, shape, step_size, n_steps)


def directed(beta: float = 2.0, shape: Shape = (4, 4), step_size: float = 0.1, n_steps: int = 4) -> L2hmcDirected:
    """Their kernel with nets and a direction."""
    return L2hmcDirected(beta, shape, step_size, n_steps)


def numpy_lattice(beta: float = 2.0, shape: Shape = (4, 4)) -> L2hmcNumpy:
    """Their lattice in NumPy."""
    return L2hmcNumpy(beta, shape)
