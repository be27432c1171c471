"""Cases of single updates: the reported energy, the decision, the field that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks.transcript import AMBIGUOUS
from ..contract import DIRECTION, Subject, TargetFault
from ..hamiltonian import Hamiltonian
from ..replay import Arrays, Call, comparisons
from ..theories import U
from .case import BrokenCall, Case, call, expecting, operation
from .maps import START, Point, ahead, back, constants, same, tolerance

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]

RECORD = {
    "x_proposed": "x_proposed",
    "v_proposed": "v_proposed",
    "logdet": "logdet",
    "delta_h": "delta_h",
    "accept": "accept",
    "x_next": "x_next",
}


class Update:
    """One update: its arrays, the call, and what the target answered when the case was made."""

    def __init__(self, at: Subject, draw: Draws, chains: int = 1) -> None:
        self.at, x = at, draw.field(chains)
        self.arrays: Arrays = {"x": x}
        kinds = [kind for kind in ("transition", "transcript") if at.has(kind)]
        noise = {"d": at.directed, "phi": at.pseudofermions}
        if draw.one_of(kinds) == "transition":
            self.arrays |= {"v": draw.momenta(chains), "u": draw.uniform(chains)}
            if at.directed:
                self.arrays["d"] = draw.directions(chains)
            if at.pseudofermions:
                self.arrays["phi"] = Hamiltonian(at).draw(draw.rng(), x)
            self.call: Call = call("transition", *self.arrays, keeps=dict(RECORD))
        else:
            own = {name: name for name in ("v", "u", *(name for name, used in noise.items() if used))}
            self.call = call("transcript", "x", draw.seed(), keeps={**RECORD, **own})
        self.kept: Arrays = {}
        try:
            list(comparisons(at, [self.call], self.arrays, self.kept))
        except TargetFault as fault:
            raise BrokenCall(Case(at, self.arrays, [self.call])) from fault

    def __getitem__(self, name: str) -> Array:
        return self.kept[name] if name in self.kept else self.arrays[name]

    @property
    def energy_change(self) -> Call:
        """``H' - H`` by the oracle's own action."""
        phi = ["phi"] if self.at.pseudofermions else []
        return operation("energy_change", "x", "v", "x_proposed", "v_proposed", *phi, keeps="energy_change")

    def change(self) -> Array:
        """That number."""
        h, phi = Hamiltonian(self.at), self["phi"] if self.at.pseudofermions else None
        return h(self["x_proposed"], self["v_proposed"], phi) - h(self["x"], self["v"], phi)

    def rounding(self) -> float:
        """Of it, as `transcript.energy` allows."""
        h, phi = Hamiltonian(self.at), self["phi"] if self.at.pseudofermions else None
        both = None if phi is None else np.concatenate([phi, phi])
        size = float(np.nanmax(np.abs(h(self["x_proposed"], self["v_proposed"], phi))))
        rounded = h.rounding(np.concatenate([self["x"], self["x_proposed"]]), both)
        return 4 * (rounded + 16 * self.at.theory.volume**1.5 * U) + 64 * U * size

    def case(self, *calls: Call) -> Case:
        return Case(self.at, self.arrays, [self.call, *calls])


def energy(at: Subject, draw: Draws) -> Case | None:
    """The reported ``delta_h``."""
    update = Update(at, draw)
    allowed = update.rounding()
    if not np.isfinite(allowed):
        return None
    return update.case(update.energy_change, expecting(operation("unchanged", "delta_h"), "energy_change", allowed))


def decision(at: Subject, draw: Draws) -> Case | None:
    """Accepted where ``u < exp(logdet - delta_h)``."""
    update = Update(at, draw)
    with np.errstate(divide="ignore"):
        margin = update["logdet"] - update.change() - np.log(update["u"])
    if not np.all(np.abs(margin) > AMBIGUOUS):
        return None
    decided = operation("decision", "logdet", "energy_change", "u", keeps="decision")
    return update.case(update.energy_change, decided, expecting(operation("unchanged", "accept"), "decision", 0.0))


def next_state(at: Subject, draw: Draws) -> Case | None:
    """The proposal where it was accepted, else the old field."""
    update = Update(at, draw)
    size = max(np.pi, float(np.abs(update["x_proposed"]).max()))
    angles = ("chosen",) if at.theory.angular else ()
    chosen = operation("chosen", "accept", "x_proposed", "x", keeps="chosen")
    return update.case(chosen, expecting(operation("unchanged", "x_next"), "chosen", 32 * size * U, angles))


def reversible_proposal(at: Subject, draw: Draws) -> Case | None:
    """The inverse of the map takes a recorded proposal back to its start."""
    update = Update(at, draw)
    bound = at.bound(update["phi"] if at.pseudofermions else None)
    allowed = tolerance(bound, update["x"], update["v"])
    if allowed is None:
        return None
    proposed: Point = ("x_proposed", "v_proposed", "logdet")
    forward = not at.directed or update["d"][0] > 0
    if at.pseudofermions:
        calls = _back_with_pseudofermions(at, proposed)
    elif at.reversal == DIRECTION:
        calls = (back if forward else ahead)(at, proposed, ("x_back", "v_back", "logdet_back"))
    else:
        calls = back(at, proposed, ("x_back", "v_back", "logdet_back"))
    calls = [*calls, *same(at, ("x_back", "v_back", ""), START, allowed)]
    case = update.case(*calls)
    return Case(at, {**case.arrays, **constants(at, calls, 1)}, case.calls)


def _back_with_pseudofermions(at: Subject, start: Point) -> list[Call]:
    keeps = {"x_proposed": "x_back", "v_proposed": "v_turned"}
    if at.reversal != "flip":
        return [call("transition", *start[:2], "u", "phi", keeps={**keeps, "v_proposed": "v_back"})]
    return [
        operation("negative", start[1], keeps="v_flipped"),
        call("transition", start[0], "v_flipped", "u", "phi", keeps=keeps),
        operation("negative", "v_turned", keeps="v_back"),
    ]


def same_map(at: Subject, draw: Draws) -> Case | None:
    """`forward` and the recorded proposal are one map, with one logdet."""
    update = Update(at, draw)
    allowed = tolerance(at, update["x"], update["v"])
    if allowed is None:
        return None
    step = ahead if not at.directed or update["d"][0] > 0 else back
    calls = [
        *step(at, START, ("x_end", "v_end", "logdet_of_map")),
        *same(at, ("x_proposed", "v_proposed", ""), ("x_end", "v_end", ""), allowed),
        expecting(operation("unchanged", "logdet"), "logdet_of_map", allowed * update["v"][0].size),
    ]
    case = update.case(*calls)
    return Case(at, {**case.arrays, **constants(at, calls, 1)}, case.calls)


def alone(at: Subject, draw: Draws) -> Case | None:
    """`transition` decides for a chain alone as it does beside another."""
    x, v, u = draw.field(2), draw.momenta(2), draw.uniform(2)
    arrays: Arrays = {"x": x, "v": v, "u": u}
    if at.directed:
        arrays["d"] = draw.directions(2)
    if at.pseudofermions:
        arrays["phi"] = Hamiltonian(at).draw(draw.rng(), x)
    together = call("transition", *arrays, keeps={"delta_h": "delta_h", "accept": "accept"})
    alone_in = {f"{name}_first": array[:1].copy() for name, array in arrays.items()}
    kept: Arrays = {}
    list(comparisons(at, [{**together, "keeps": {"delta_h": "delta_h", "logdet": "logdet"}}], arrays, kept))
    with np.errstate(divide="ignore"):
        margin = kept["logdet"] - kept["delta_h"] - np.log(u)
    own = expecting(call("transition", *alone_in), {"delta_h": "delta_h_first", "accept": "accept_first"}, AMBIGUOUS)
    calls = [
        together,
        operation("chains", "delta_h", 0, keeps="delta_h_first"),
        operation("chains", "accept", 0, keeps="accept_first"),
        own,
    ]
    return Case(at, {**arrays, **alone_in}, calls) if np.all(np.abs(margin) > AMBIGUOUS) else None


def same_step(at: Subject, draw: Draws) -> Case | None:
    """`step` and `transcript` with one seed."""
    x, seed = draw.field(), draw.seed()
    angles = ("x_next",) if at.theory.angular else ()
    calls = [
        call("transcript", "x", seed, keeps={"x_next": "x_next"}),
        expecting(call("step", "x", seed), "x_next", 32 * np.pi * U, angles),
    ]
    return Case(at, {"x": x}, calls)
