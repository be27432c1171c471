"""Which small experiments a failed check leads to: the first that fails too is the evidence.

Checks of symmetries of functions with known answers lead to those answers: a function that breaks a symmetry is wrong somewhere.
"""

from __future__ import annotations

from . import conditional, flows, known, maps, updates, variates
from .case import Build

_FUNCTIONS = (
    known.action,
    known.force,
    known.plaquette,
    known.charge,
    known.sine_charge,
    known.correlator,
    known.field_moment,
    known.logdet_dirac,
)
_OPERATOR = (known.dirac_apply, known.dirac_dense, known.logdet_dirac)

CASES: dict[str, tuple[Build, ...]] = {
    "static.action": (known.action,),
    "static.force": (known.force,),
    "static.force_gradient": (known.force, known.action),
    "static.plaquette": (known.plaquette,),
    "static.charge": (known.charge,),
    "static.sine_charge": (known.sine_charge,),
    "static.wilson_loop": (known.wilson_loop,),
    "scalars.correlator": (known.correlator,),
    "scalars.field_moment": (known.field_moment,),
    **dict.fromkeys(
        (
            "static.gauge_invariance",
            "static.translation",
            "static.reflection",
            "static.periodicity",
            "static.conjugation",
        ),
        _FUNCTIONS,
    ),
    "static.batch": (known.batch,),
    "static.golden": _FUNCTIONS,
    "scalars.golden": _FUNCTIONS,
    "fermions.dense": (known.dirac_dense,),
    "fermions.apply": (known.dirac_apply,),
    "fermions.batch": (known.batch, *_OPERATOR),
    "fermions.gamma5_hermiticity": _OPERATOR,
    "fermions.gauge_covariance": _OPERATOR,
    "fermions.determinant": (known.logdet_dirac, known.dirac_dense),
    "fermions.free_determinant": (known.logdet_dirac, known.dirac_dense),
    "fermions.golden": (*_OPERATOR, known.force, known.pseudofermion_action, known.pseudofermion_force),
    "pseudofermions.action": (known.pseudofermion_action,),
    "pseudofermions.force": (known.pseudofermion_force,),
    "pseudofermions.determinant": (known.pseudofermion_action,),
    "maps.round_trip": (maps.round_trip,),
    "maps.logdet_antisymmetry": (maps.logdet_antisymmetry,),
    "maps.jacobian": (maps.jacobian,),
    "maps.energy_scaling": (known.force, known.action),
    "maps.batch_of_one": (maps.batch_of_one,),
    "maps.repeat_call": (maps.repeat_call,),
    "maps.periodicity": (maps.periodicity,),
    "maps.reversal": (maps.reversal,),
    "maps.equivariance": (maps.equivariance,),
    "maps.moves_every_link": (maps.moves_every_link,),
    "flows.round_trip": (flows.round_trip,),
    "flows.logdet_antisymmetry": (flows.logdet_antisymmetry,),
    "flows.jacobian": (flows.jacobian,),
    "flows.periodicity": (flows.periodicity,),
    "flows.equivariance": (flows.equivariance,),
    "flows.batch": (flows.batch,),
    "flows.prior": (flows.prior,),
    "flows.density": (flows.density, flows.prior),
    "conditional.linear": (conditional.linear,),
    "conditional.round_trip": (conditional.round_trip,),
    "conditional.jacobian": (conditional.jacobian, conditional.monomials_apart),
    "conditional.even_sites": (conditional.even_sites,),
    "conditional.gauge_equivariance": (conditional.gauge_equivariance,),
    "conditional.translation": (conditional.translation,),
    "variates.divergence": (variates.divergence,),
    "variates.symmetry": (variates.symmetry,),
    "variates.batch": (variates.batch,),
    "pseudomarginal.decision": (variates.decision,),
    "transcript.energy": (updates.energy,),
    "transcript.decision": (updates.decision,),
    "transcript.next_state": (updates.next_state,),
    "transcript.reversible_proposal": (updates.reversible_proposal,),
    "transcript.same_map": (updates.same_map,),
    "transcript.alone": (updates.alone,),
    "transcript.same_step": (updates.same_step,),
}
