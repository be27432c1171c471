"""Joint flows of links and pseudofermions as targets: untrained ones with random weights, or a model of a folder.

The weights of the built-in ones make matrices some tenths off the identity, at a hopping parameter that is small enough for
their weights to have a variance: with fields inflated a little the least eigenvalue of ``Dt^dag P Dt`` (see
`refimpl.estimators.conditional`) is above 1/2 at nearly all links. Links are those of pure gauge theory at a larger beta, moved
a little. An update is the pseudomarginal Metropolis step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl import nets
from refimpl.actions import Action, WilsonSUN, WilsonU1, hasenbusch
from refimpl.kernels import spawn_rngs
from refimpl.kernels.independence import ProposedState
from refimpl.kernels.joint_determinant import JointDeterminant
from refimpl.kernels.metropolis import Info, State, accept_reject
from refimpl.kernels.pseudomarginal import PseudomarginalMetropolis
from refimpl.lattice import once
from refimpl.maps.base import Params, parted
from refimpl.maps.context import PERIOD, Context
from refimpl.maps.plaquette_coupling import gauge_chain
from refimpl.maps.pseudofermion_layer import Given, PseudofermionLayer
from refimpl.maps.transport import transport
from refimpl.models import Conditional, Flow, JointModel, PureGauge
from refimpl.models.joint_files import KIND
from refimpl.nets.convolution import ConvNet
from refimpl.theories import Theory, by_name
from refimpl.training.checkpoints import WEIGHTS
from refimpl.training.joint_files import load_joint

from .flows import SEED, ReferenceFlow, spectral_layers

Array = NDArray[np.float64]
Field = NDArray[Any]
Shape = tuple[int, int]

HIDDEN, STEPS, LAYERS = 3, 2, 2
GAIN = 0.35
INFLATION = {1: 1.05, 2: 1.05, 3: 0.98}  # by colours


class ReferenceJoint(ReferenceFlow):
    """A joint flow for a theory with fermions; it is made when it is first used."""

    conditional_symmetries = ("gauge", "translation")
    mu_reg = 0.0

    def __init__(
        self,
        theory: Theory,
        made: Callable[[], JointModel],
        name: str,
        even_odd: bool,
        mus: tuple[float, ...],
        n_pf: int,
    ) -> None:
        super().__init__(theory, lambda: self.joint.marginal, name)
        self.even_odd, self.mus, self.n_pf = even_odd, mus, n_pf
        self.flow_updates = False
        self._joint = made

    @cached_property
    def joint(self) -> JointModel:
        return self._joint()

    @property
    def conditional_period(self) -> int:
        """That of the masks, and of the positions that the context sees."""
        return PERIOD if self.joint.context.positions else 2

    # --- the conditionals -------------------------------------------------------------------------------------------------
    def conditional_forward(self, x: Field, chi: Field) -> tuple[Field, Array]:
        links, repeats = once(x)
        return self.joint.forward(links, chi, repeats)

    def conditional_inverse(self, x: Field, phi: Field) -> tuple[Field, Array]:
        links, repeats = once(x)
        return self.joint.inverse(links, phi, repeats)

    def conditional_log_prob(self, x: Field, phi: Field) -> Array:
        links, repeats = once(x)
        return self.joint.conditional_log_prob(links, phi, repeats)

    def conditional_sample(self, x: Field, seed: int) -> tuple[Field, Array]:
        chi = self.joint.noise(spawn_rngs(seed, len(x)), len(x))
        links, repeats = once(x)
        phi, _ = self.joint.forward(links, chi, repeats)
        return phi, self.joint.conditional_log_prob(links, phi, repeats)

    def joint_sample(self, n: int, seed: int) -> tuple[Field, Field, Array]:
        x, log_q, phi, log_q_phi = self.joint.sample(spawn_rngs(seed, n), n)
        return x, phi, log_q + log_q_phi.sum(axis=1)

    @property
    def conditional_with_weights(self) -> Callable[..., tuple[Field, Array]]:
        """On links of any theory."""
        return conditional_with_weights

    # --- the chain --------------------------------------------------------------------------------------------------------
    @cached_property
    def kernel(self) -> PseudomarginalMetropolis:
        beta, n = self._theory.parameters["beta"], self._theory.colours
        gauge: Action = WilsonU1(beta) if n == 1 else WilsonSUN(beta, n)
        return PseudomarginalMetropolis(gauge, self.joint.marginal, JointDeterminant(self.joint, self.n_pf))

    def pseudomarginal_start(self, x: Field, seed: int) -> Array:
        kernel = self.kernel
        state = kernel.started(spawn_rngs(seed, len(x)), kernel.init(x))
        return kernel.proposal.action(state.x) - state.action

    def pseudomarginal(self, x: Field, log_w: Array, seed: int) -> dict[str, Array]:
        """One step of the kernel, from the state that has this estimate; where that is kept, so is ``log_w``."""
        kernel = self.kernel
        begun = kernel.init(x)
        s_q = kernel.proposal.action(begun.x)
        state = ProposedState(begun.x, s_q - log_w, begun.force, s_q)
        seen = Seen(kernel)
        end, info = accept_reject(seen, spawn_rngs(seed, len(x)), state)
        proposed_x, proposed_action, log_w_proposed, u = (
            np.concatenate(parts) for parts in zip(*seen.parts, strict=True)
        )
        kept = end.action == state.action
        return {
            "x_proposed": proposed_x,
            "log_w_proposed": log_w_proposed,
            "u": u,
            "accept": info.accepted,
            "x_next": end.x,
            "log_w_next": np.where(kept, log_w, np.where(end.action == proposed_action, log_w_proposed, np.nan)),
        }


class Seen:
    """A kernel whose proposals are kept as they are made: field, action, ``log w`` and uniform, block by block of the chains."""

    def __init__(self, kernel: PseudomarginalMetropolis) -> None:
        self.noise, self._kernel = kernel.noise, kernel
        self.parts: list[tuple[NDArray[Any], ...]] = []

    def propose(self, state: State, *noise: Any) -> tuple[State, Array, Info]:
        proposed, log_w, info = self._kernel.propose(state, *noise)
        # The kernel's step puts the old state in place of what is rejected.
        self.parts.append((proposed.x.copy(), proposed.action.copy(), log_w, noise[-1]))
        return proposed, log_w, info


def conditional_with_weights(
    params: Params, record: Mapping[str, Any], x: Field, chi: Field, d: int
) -> tuple[Field, Array]:
    """The layers of a weight file (for ``d = -1`` their inverse), as the contract describes it; one field."""
    even_odd, colours = record["even_odd"], x.shape[-1] if np.iscomplexobj(x) else 1
    (monomial,) = hasenbusch(0.1, (), even_odd=even_odd, n=colours)
    own = {key.removeprefix("context/"): value for key, value in params.items() if key.startswith("context/")}
    rest = {key: value for key, value in params.items() if not key.startswith("context/")}
    hidden = len(own["bias/0"])
    context = Context(ConvNet((4, hidden), activation="elu", final="elu"), own)
    layers = tuple(
        PseudofermionLayer(
            x.shape[2:4], index, weights, partition, even_odd, colours, record["n_pt"], record["features"], hidden
        )
        for (partition, index), weights in zip(record["layers"], parted(rest, len(record["layers"])), strict=True)
    )
    given, conditional = Given.of(transport(x), context.apply(x)), Conditional(monomial, layers)
    psi = conditional.rows_of(chi[:, 0])
    image, logdet = conditional.columns(given, psi) if d > 0 else conditional.inverse_columns(given, psi)
    return conditional.spinors_of(image)[:, None], logdet[:, None]


# --- the targets that come with the package ----------------------------------------------------------------------------------
def angles(
    beta: float = 1.0,
    kappa: float = 0.15,
    shape: Shape = (4, 4),
    even_odd: bool = True,
    mus: tuple[float, ...] = (0.3,),
    n_pf: int = 2,
) -> ReferenceJoint:
    """Of the Schwinger model."""

    def marginal(rng: np.random.Generator) -> Flow:
        moved = gauge_chain(rng, shape, 8, hidden=(4,), last=0.05)
        return Flow(PureGauge(1.2 * beta, shape), moved)

    return _untrained(by_name("schwinger", beta=beta, kappa=kappa, shape=shape), marginal, even_odd, mus, n_pf)


def matrices(
    n: int,
    beta: float = 1.0,
    kappa: float = 0.1,
    shape: Shape = (4, 4),
    even_odd: bool = True,
    mus: tuple[float, ...] = (),
    n_pf: int = 2,
) -> ReferenceJoint:
    """Of SU(n), spin and space in turn."""

    def marginal(rng: np.random.Generator) -> Flow:
        moved = spectral_layers(rng, n, shape, hidden=(4,), last=0.05)
        return Flow(PureGauge(1.2 * beta, shape, n), moved)

    return _untrained(by_name(f"su{n}", beta=beta, kappa=kappa, shape=shape), marginal, even_odd, mus, n_pf)


def _untrained(
    theory: Theory,
    marginal: Callable[[np.random.Generator], Flow],
    even_odd: bool,
    mus: tuple[float, ...],
    n_pf: int,
) -> ReferenceJoint:
    n, shape = theory.colours, tuple(theory.parameters["shape"])
    kinds = ("spatial",) if n == 1 else ("spatial", "spin")

    def made() -> JointModel:
        rng = np.random.default_rng(SEED)
        flow = marginal(rng)
        context = Context.init(rng, HIDDEN, GAIN)
        conditionals = tuple(
            Conditional(
                monomial,
                tuple(
                    PseudofermionLayer.init(
                        rng, shape, i // len(kinds), gain=GAIN, partition=kinds[i % len(kinds)], even_odd=even_odd,
                        colours=n, n_pt=STEPS, hidden=HIDDEN,
                    )
                    for i in range(LAYERS * len(kinds))
                ),
            )
            for monomial in hasenbusch(theory.parameters["kappa"], mus, even_odd=even_odd, n=n)
        )  # fmt: skip
        return JointModel(flow, context, conditionals, INFLATION[n])

    made()  # lattices that the masks do not divide are refused at once
    return ReferenceJoint(theory, made, f"refimpl joint flow of {theory.name}", even_odd, tuple(mus), n_pf)


def is_joint(folder: Path) -> bool:
    """Whether the model in a folder is one; what is missing or damaged is none."""
    try:
        return bool(nets.load(Path(folder) / WEIGHTS)[1].get("kind") == KIND)
    except (OSError, ValueError):
        return False


def trained_joint(folder: Path, n_pf: int = 1, **parameters: Any) -> ReferenceJoint:
    """A joint model of ``refimpl train joint``, for the theory it was trained for, or for other couplings; raises `ValueError`."""
    own = load_joint(folder)[1]
    theory = by_name(own.name, **{**own.parameters, **parameters})
    model = load_joint(folder, theory)[0]
    masses = tuple(float(monomial.mu) for monomial in model.monomials)
    return ReferenceJoint(
        theory, lambda: model, f"joint flow in {folder}", model.monomials[0].even_odd, masses[1:], n_pf
    )
