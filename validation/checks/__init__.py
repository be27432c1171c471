"""The battery: every check as a plain function, with what it needs of a target, cheap and absolute ones first.

A deterministic check is ``check(subject, rng) -> Verdict``; one that spends part of the false-alarm level or is sized by the
level of effort is ``check(subject, rng, trial)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from ..contract import CONDITIONAL, DIRECTION, FLOW, INVOLUTION, PSEUDOMARGINAL, REVERSALS, Subject
from ..evidence import Trial
from ..theories import THEORIES
from ..verdict import Verdict
from . import (
    conditional,
    conditional_samples,
    driver,
    estimates,
    exact_start,
    fermions,
    flow_samples,
    flow_weights,
    flows,
    golden,
    joint,
    maps,
    pseudofermions,
    pseudomarginal,
    scalars,
    static,
    transcript,
    variates,
)

_EVERY = tuple(THEORIES)
_U1 = ("u1",)
_ABELIAN = ("u1", "schwinger")
_MATRICES = ("su2", "su3")
_FERMIONS = ("schwinger", *_MATRICES)
_GAUGE = (*_ABELIAN, *_MATRICES)
_CIRCLE = ("u1", "o2", "schwinger")
_PHI4 = ("phi4",)
_SYMMETRIC = (*_CIRCLE, *_MATRICES, *_PHI4)
_OTHERS = ("o2", "gaussian", "gmm", "schwinger", *_MATRICES, *_PHI4)


@dataclass(frozen=True)
class Check:
    """A check function, the capabilities it needs (each entry: any one of the alternatives), whether it spends alpha, the
    theories and reversals it belongs to, whether only to theories with fermions, and whether to targets whose update draws
    pseudofermions: True only to those, False not to those, None to all; the capabilities without any of which a target is of
    another kind, to which the check does not belong; and what meeting its needs would buy, for a target that does not."""

    function: Callable[..., Verdict]
    needs: tuple[tuple[str, ...], ...]
    statistical: bool = False
    theories: tuple[str, ...] = _EVERY
    reversals: tuple[str, ...] = REVERSALS
    fermions: bool = False
    pseudofermions: bool | None = None
    offering: tuple[str, ...] = ()
    worth: Callable[[Trial], str] | None = None

    @property
    def id(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    @property
    def takes_trial(self) -> bool:
        return "trial" in inspect.signature(self.function).parameters

    @property
    def explanation(self) -> str:
        return inspect.getdoc(self.function) or ""

    def applies(self, subject: Subject) -> bool:
        """Whether the check belongs to the theory, and to how the proposal is reversed; what does not is not counted."""
        if self.fermions and subject.flavours is None:
            return False
        if self.offering and not any(subject.has(name) for name in self.offering):
            return False
        if self.pseudofermions is not None and self.pseudofermions != subject.pseudofermions:
            return False
        return subject.theory.name in self.theories and subject.reversal in self.reversals

    def missing(self, subject: Subject) -> list[str]:
        """The needs that the target does not meet, in words."""
        return [" or ".join(any_of) for any_of in self.needs if not any(subject.has(name) for name in any_of)]


_SCALAR = ("action", "force", "plaquette", "charge", "sine_charge", "logdet_dirac", "correlator", "field_moment")
_MAP = ("forward", "transition")
_RECORD = ("transcript", "transition")
_UPDATE = ("run", "step", "transition")
_SEEDED = ("step", "run")

_OPERATOR = ("dirac_apply", "dirac_dense")


def _fermion_check(function: Callable[..., Verdict], any_of: tuple[str, ...], statistical: bool = False) -> Check:
    return Check(function, (any_of,), statistical, _FERMIONS, fermions=True)


def _variate_check(
    function: Callable[..., Verdict],
    *besides: str,
    statistical: bool = False,
    worth: Callable[[Trial], str] | None = None,
) -> Check:
    needs = tuple((name,) for name in ("control_variate", *besides))
    return Check(function, needs, statistical, ("u1", *_PHI4), offering=("control_variate",), worth=worth)


_BOTH_WAYS = (("flow_forward",), ("flow_inverse",))
_ANY_WAY = (("flow_forward", "flow_inverse"),)
_DENSITIES = ("log_prob", "sample")
_FLOWING = (*_GAUGE, *_PHI4)


def _flow_check(
    function: Callable[..., Verdict],
    *needs: tuple[str, ...],
    statistical: bool = False,
    theories: tuple[str, ...] = _FLOWING,
) -> Check:
    return Check(function, needs, statistical, theories, offering=FLOW)


_CONDITIONAL_MAPS = ("conditional_forward", "conditional_inverse")
_CONDITIONAL_BOTH = (("conditional_forward",), ("conditional_inverse",))
_CONDITIONAL_DENSITIES = ("conditional_log_prob", "conditional_sample")
_CONDITIONAL_MOVED = (*_CONDITIONAL_MAPS, "conditional_log_prob")


def _joint_check(
    function: Callable[..., Verdict],
    *needs: tuple[str, ...],
    statistical: bool = False,
    offering: tuple[str, ...] = CONDITIONAL,
) -> Check:
    return Check(function, needs, statistical, _FERMIONS, fermions=True, offering=offering)


def _chain_check(function: Callable[..., Verdict], *besides: str, statistical: bool = False) -> Check:
    needs = (("pseudomarginal",), *((name,) for name in besides))
    return _joint_check(function, *needs, statistical=statistical, offering=PSEUDOMARGINAL)


CHECKS: tuple[Check, ...] = (
    Check(static.action, (("action",),)),
    Check(static.force, (("force",),)),
    Check(static.force_gradient, (("force",), ("action",))),
    Check(static.plaquette, (("plaquette",),), theories=_GAUGE),
    Check(static.charge, (("charge",),), theories=_ABELIAN),
    Check(static.sine_charge, (("sine_charge",),), theories=_ABELIAN),
    Check(static.wilson_loop, (("wilson_loop",),), theories=_GAUGE),
    Check(scalars.correlator, (("correlator",),), theories=_PHI4),
    Check(scalars.field_moment, (("field_moment",),), theories=_PHI4),
    Check(static.gauge_invariance, (_SCALAR,), theories=_GAUGE),
    Check(static.translation, (_SCALAR,), theories=_SYMMETRIC),
    Check(static.reflection, (_SCALAR,), theories=_PHI4),
    Check(static.periodicity, (_SCALAR,), theories=_CIRCLE),
    Check(static.conjugation, (_SCALAR,), theories=_SYMMETRIC),
    Check(static.batch, (_SCALAR,)),
    Check(static.golden, (_SCALAR[:5],), theories=_U1),
    Check(scalars.golden, (("action", "force", "correlator", "field_moment"),), theories=_PHI4),
    Check(golden.vectors, (golden.CALLED,)),
    Check(static.weights, (("map_with_weights",),), theories=("u1", "gmm"), reversals=(INVOLUTION, DIRECTION)),
    _fermion_check(fermions.dense, ("dirac_dense",)),
    _fermion_check(fermions.apply, ("dirac_apply",)),
    _fermion_check(fermions.batch, (*_OPERATOR, "pseudofermion_action", "pseudofermion_force")),
    _fermion_check(fermions.gamma5_hermiticity, _OPERATOR),
    _fermion_check(fermions.gauge_covariance, _OPERATOR),
    _fermion_check(fermions.determinant, ("logdet_dirac", "dirac_dense")),
    _fermion_check(fermions.free_determinant, ("logdet_dirac", "dirac_dense")),
    _fermion_check(
        fermions.golden, (*_OPERATOR, "logdet_dirac", "force", "pseudofermion_action", "pseudofermion_force")
    ),
    _fermion_check(pseudofermions.action, ("pseudofermion_action",)),
    _fermion_check(pseudofermions.force, ("pseudofermion_force",)),
    _fermion_check(pseudofermions.determinant, ("pseudofermion_action",)),
    _fermion_check(pseudofermions.heat_bath, ("pseudofermion_heat_bath",), statistical=True),
    _fermion_check(estimates.determinant, ("determinant_estimate",), statistical=True),
    _variate_check(variates.divergence, "control_variate_field", worth=variates.without_field),
    _variate_check(variates.symmetry),
    _variate_check(variates.batch),
    _variate_check(variates.mean_zero, statistical=True),
    _variate_check(variates.improvement, statistical=True),
    _flow_check(flows.round_trip, *_BOTH_WAYS),
    _flow_check(flows.logdet_antisymmetry, *_BOTH_WAYS),
    _flow_check(flows.jacobian, *_ANY_WAY),
    _flow_check(flows.moves_every_link, *_ANY_WAY),
    _flow_check(flows.stays_in_group, ("flow_forward", "flow_inverse", "sample"), theories=_MATRICES),
    _flow_check(flows.periodicity, ("flow_forward", "flow_inverse", "log_prob"), theories=_ABELIAN),
    _flow_check(flows.equivariance, ("flow_forward", "flow_inverse", "log_prob")),
    _flow_check(flows.batch, ("flow_forward", "flow_inverse", "log_prob")),
    _flow_check(flows.prior, ("prior_log_prob",)),
    _flow_check(flows.density, _DENSITIES, *_ANY_WAY),
    _flow_check(flows.sample_log_prob, ("sample",), ("log_prob",)),
    _flow_check(flows.samples, ("sample",)),
    _flow_check(flows.golden, ("flow_with_weights",), theories=("u1", *_MATRICES, *_PHI4)),
    _flow_check(flow_samples.independent, ("sample",), statistical=True),
    _flow_check(flow_samples.calls, ("sample",), statistical=True),
    _flow_check(flow_samples.images, ("sample",), ("flow_forward",), statistical=True, theories=(*_ABELIAN, *_PHI4)),
    _flow_check(flow_weights.partition, ("sample",), statistical=True),
    _flow_check(flow_weights.normalised, ("log_prob",), statistical=True),
    _flow_check(flow_weights.bridge, ("sample",), ("log_prob",), statistical=True),
    _flow_check(flow_weights.exchange, ("sample",), ("log_prob",), statistical=True),
    _flow_check(flow_weights.acceptance, ("sample",), ("log_prob",), _UPDATE, statistical=True),
    _joint_check(conditional.linear, _CONDITIONAL_MAPS),
    _joint_check(conditional.round_trip, *_CONDITIONAL_BOTH),
    _joint_check(conditional.jacobian, _CONDITIONAL_MAPS),
    _joint_check(conditional.even_sites, (*_CONDITIONAL_MAPS, "conditional_sample")),
    _joint_check(conditional.gauge_equivariance, _CONDITIONAL_MOVED),
    _joint_check(conditional.translation, _CONDITIONAL_MOVED),
    _joint_check(conditional.density, _CONDITIONAL_DENSITIES, _CONDITIONAL_MAPS),
    _joint_check(conditional.normalised, ("conditional_log_prob",)),
    _joint_check(conditional.sample_log_prob, ("conditional_sample",), ("conditional_log_prob",)),
    _joint_check(conditional.exact, ("conditional_sample", *_CONDITIONAL_MOVED)),
    _joint_check(conditional.golden, ("conditional_with_weights",)),
    _joint_check(conditional_samples.law, ("conditional_sample",), statistical=True),
    _joint_check(conditional_samples.determinant, ("conditional_sample",), statistical=True),
    _joint_check(
        joint.parts,
        ("joint_sample",),
        ("log_prob",),
        ("conditional_log_prob", *_CONDITIONAL_MAPS),
        offering=("joint_sample",),
    ),
    _joint_check(joint.seeds, ("joint_sample",), offering=("joint_sample",)),
    _joint_check(
        joint.marginal, ("joint_sample",), ("log_prob",), ("sample",), statistical=True, offering=("joint_sample",)
    ),
    _joint_check(joint.law, ("joint_sample",), statistical=True, offering=("joint_sample",)),
    _joint_check(joint.independent, ("joint_sample",), statistical=True, offering=("joint_sample",)),
    _chain_check(pseudomarginal.decision),
    _chain_check(pseudomarginal.kept),
    _chain_check(pseudomarginal.seeds),
    _chain_check(pseudomarginal.uniforms, statistical=True),
    _chain_check(pseudomarginal.proposed_links, "log_prob", "sample", statistical=True),
    _chain_check(pseudomarginal.proposals, "log_prob", statistical=True),
    _joint_check(
        pseudomarginal.starts,
        ("pseudomarginal_start",),
        ("log_prob",),
        statistical=True,
        offering=PSEUDOMARGINAL,
    ),
    _chain_check(pseudomarginal.stationary, "pseudomarginal_start", statistical=True),
    Check(static.tau_int, (("integrated_autocorrelation_time",),)),
    Check(maps.round_trip, (_MAP,), pseudofermions=False),
    Check(maps.logdet_antisymmetry, (_MAP,), pseudofermions=False),
    Check(maps.jacobian, (_MAP,), pseudofermions=False),
    Check(maps.energy_scaling, (_MAP,), pseudofermions=False),
    Check(maps.batch_of_one, (_MAP,), pseudofermions=False),
    Check(maps.repeat_call, (_MAP,), pseudofermions=False),
    Check(maps.periodicity, (_MAP,), theories=_CIRCLE, pseudofermions=False),
    Check(maps.reversal, (_MAP,), pseudofermions=False),
    Check(maps.equivariance, (_MAP,), theories=_SYMMETRIC, pseudofermions=False),
    Check(maps.moves_every_link, (_MAP,), pseudofermions=False),
    Check(transcript.energy, (_RECORD,)),
    Check(transcript.decision, (_RECORD,)),
    Check(transcript.next_state, (_RECORD,)),
    Check(transcript.reversible_proposal, (_RECORD, _MAP)),
    Check(transcript.same_map, (_RECORD, ("forward",)), pseudofermions=False),
    Check(transcript.alone, (("transition",),)),
    Check(transcript.same_step, (("transcript",), ("step",))),
    Check(transcript.momenta, (("transcript",),), statistical=True),
    Check(transcript.uniforms, (("transcript",),), statistical=True),
    Check(transcript.direction, (("transcript",),), statistical=True, reversals=(DIRECTION,)),
    Check(transcript.pseudofermions, (("transcript",),), statistical=True, theories=_FERMIONS, pseudofermions=True),
    Check(driver.moves_every_link, (_UPDATE,)),
    Check(driver.stays_in_group, (_UPDATE,), theories=_MATRICES),
    Check(driver.streams, (_SEEDED,)),
    Check(driver.seeds, (_SEEDED,)),
    Check(driver.others, (_SEEDED,)),
    Check(driver.outputs, (("run",),)),
    Check(driver.resume, (("run",), ("resume",))),
    Check(exact_start.creutz, (_MAP,), statistical=True, pseudofermions=False),
    Check(exact_start.energy_exchange, (_UPDATE,), statistical=True),
    Check(exact_start.moves, (_UPDATE,), statistical=True),
    Check(exact_start.charge_exchange, (_UPDATE,), statistical=True, theories=_CIRCLE),
    Check(exact_start.drift, (_UPDATE,), statistical=True),
    Check(exact_start.observables, (_UPDATE,), statistical=True, theories=_OTHERS),
    Check(exact_start.observables_later, (_UPDATE,), statistical=True, theories=_OTHERS),
    Check(exact_start.plaquette, (_UPDATE,), statistical=True, theories=_U1),
    Check(exact_start.plaquette_later, (_UPDATE,), statistical=True, theories=_U1),
    Check(exact_start.wilson_loops, (_UPDATE,), statistical=True, theories=_ABELIAN),
    Check(exact_start.charge_distribution, (_UPDATE,), statistical=True, theories=_CIRCLE),
    Check(exact_start.schwinger_dyson, (_UPDATE,), statistical=True, theories=_U1),
    Check(exact_start.uniform_links, (_UPDATE,), statistical=True, theories=_ABELIAN),
    Check(driver.observables, (_UPDATE,), statistical=True, theories=_OTHERS),
    Check(driver.plaquette, (_UPDATE,), statistical=True, theories=_U1),
    Check(driver.charge_distribution, (_UPDATE,), statistical=True, theories=_CIRCLE),
    Check(driver.independent_chains, (_SEEDED,), statistical=True),
)

BY_ID = {check.id: check for check in CHECKS}
