"""The battery: every check as a plain function, with what it needs of a target, cheap and absolute ones first.

A deterministic check is ``check(subject, rng) -> Verdict``; one that spends part of the false-alarm level or is sized by the
level of effort is ``check(subject, rng, trial)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from ..contract import Subject
from ..verdict import Verdict
from . import driver, exact_start, maps, static, transcript


@dataclass(frozen=True)
class Check:
    """A check function, the capabilities it needs (each entry: any one of the alternatives), and whether it spends alpha."""

    function: Callable[..., Verdict]
    needs: tuple[tuple[str, ...], ...]
    statistical: bool = False

    @property
    def id(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    @property
    def takes_trial(self) -> bool:
        return "trial" in inspect.signature(self.function).parameters

    @property
    def explanation(self) -> str:
        return inspect.getdoc(self.function) or ""

    def missing(self, subject: Subject) -> list[str]:
        """The needs that the target does not meet, in words."""
        return [" or ".join(any_of) for any_of in self.needs if not any(subject.has(name) for name in any_of)]


_SCALAR = ("action", "force", "plaquette", "charge", "sine_charge")
_MAP = ("forward", "transition")
_RECORD = ("transcript", "transition")
_UPDATE = ("run", "step", "transition")
_SEEDED = ("step", "run")

CHECKS: tuple[Check, ...] = (
    Check(static.action, (("action",),)),
    Check(static.force, (("force",),)),
    Check(static.force_gradient, (("force",), ("action",))),
    Check(static.plaquette, (("plaquette",),)),
    Check(static.charge, (("charge",),)),
    Check(static.sine_charge, (("sine_charge",),)),
    Check(static.wilson_loop, (("wilson_loop",),)),
    Check(static.gauge_invariance, (_SCALAR,)),
    Check(static.translation, (_SCALAR,)),
    Check(static.periodicity, (_SCALAR,)),
    Check(static.conjugation, (_SCALAR,)),
    Check(static.batch, (_SCALAR,)),
    Check(static.golden, (_SCALAR,)),
    Check(static.tau_int, (("integrated_autocorrelation_time",),)),
    Check(maps.round_trip, (_MAP,)),
    Check(maps.logdet_antisymmetry, (_MAP,)),
    Check(maps.jacobian, (_MAP,)),
    Check(maps.energy_scaling, (_MAP,)),
    Check(maps.batch_of_one, (_MAP,)),
    Check(maps.repeat_call, (_MAP,)),
    Check(maps.equivariance, (_MAP,)),
    Check(maps.moves_every_link, (_MAP,)),
    Check(transcript.energy, (_RECORD,)),
    Check(transcript.decision, (_RECORD,)),
    Check(transcript.next_state, (_RECORD,)),
    Check(transcript.reversible_proposal, (_RECORD, _MAP)),
    Check(transcript.same_map, (_RECORD, ("forward",))),
    Check(transcript.alone, (("transition",),)),
    Check(transcript.same_step, (("transcript",), ("step",))),
    Check(transcript.momenta, (("transcript",),), statistical=True),
    Check(transcript.uniforms, (("transcript",),), statistical=True),
    Check(driver.moves_every_link, (_UPDATE,)),
    Check(driver.streams, (_SEEDED,)),
    Check(driver.seeds, (_SEEDED,)),
    Check(driver.outputs, (("run",),)),
    Check(driver.resume, (("run",), ("resume",))),
    Check(exact_start.creutz, (_MAP,), statistical=True),
    Check(exact_start.energy_exchange, (_UPDATE,), statistical=True),
    Check(exact_start.moves, (_UPDATE,), statistical=True),
    Check(exact_start.charge_exchange, (_UPDATE,), statistical=True),
    Check(exact_start.drift, (_UPDATE,), statistical=True),
    Check(exact_start.plaquette, (_UPDATE,), statistical=True),
    Check(exact_start.plaquette_later, (_UPDATE,), statistical=True),
    Check(exact_start.wilson_loops, (_UPDATE,), statistical=True),
    Check(exact_start.charge_distribution, (_UPDATE,), statistical=True),
    Check(exact_start.schwinger_dyson, (_UPDATE,), statistical=True),
    Check(exact_start.uniform_links, (_UPDATE,), statistical=True),
    Check(driver.plaquette, (_UPDATE,), statistical=True),
    Check(driver.charge_distribution, (_UPDATE,), statistical=True),
    Check(driver.independent_chains, (_SEEDED,), statistical=True),
)

BY_ID = {check.id: check for check in CHECKS}
