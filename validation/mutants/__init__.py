"""The mutant bank: named wrong implementations, each with the checks that must kill it."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ..battery import ALPHA, judge, stream
from ..checks import BY_ID, CHECKS
from ..contract import Subject
from ..evidence import EFFORTS, Effort, Evidence, Trial
from ..progress import watched
from ..verdict import FAIL, Verdict
from . import (
    conditional,
    fermions,
    flow_samples,
    flow_updates,
    flows,
    joint,
    l2hmc,
    matrices,
    scalars,
    toys,
    u1,
    u1_updates,
    variates,
    weights,
)
from .clay import Clay
from .flow_clay import FlowClay
from .joint_clay import ConditionalClay
from .l2hmc_clay import L2HMC
from .toy_clay import Toy
from .variate_clay import Variate

Mutant = type[Clay] | type[FlowClay] | type[ConditionalClay] | type[L2HMC] | type[Toy] | type[Variate]

MUTANTS: tuple[Mutant, ...] = tuple(
    value
    for module in (
        u1,
        u1_updates,
        l2hmc,
        weights,
        toys,
        fermions,
        matrices,
        scalars,
        variates,
        flows,
        flow_samples,
        flow_updates,
        conditional,
        joint,
    )
    for value in vars(module).values()
    if isinstance(value, type)
    and issubclass(value, Clay | FlowClay | ConditionalClay | L2HMC | Toy | Variate)
    and value.killed_by
)
BY_NAME: dict[str, Mutant] = {mutant.__name__: mutant for mutant in MUTANTS}


@dataclass(frozen=True)
class Kill:
    """What the checks named by a mutant said of it."""

    mutant: str
    description: str
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def killed(self) -> bool:
        """Every check that is named saw it."""
        return all(verdict.status == FAIL for verdict in self.verdicts)


def run_mutants(
    names: list[str] | None = None,
    *,
    level: str | Effort = "standard",
    seed: int = 0,
    everything: bool = False,
    progress: bool = False,
    only: Collection[str] = BY_ID,
) -> list[Kill]:
    """Judge mutants by the checks they name (of these ``only`` some), or (``everything``) by the whole battery, keeping the
    checks that failed."""
    kills = []
    for name in watched(names or list(BY_NAME), "mutants", progress):
        mutant = BY_NAME[name]
        start = time.perf_counter()
        subject = Subject(mutant)
        share = ALPHA / sum(check.statistical for check in CHECKS)
        effort = (EFFORTS[level] if isinstance(level, str) else level).shared_out(subject.thrift)
        trial = Trial(share, effort, Evidence(subject, stream(seed, "evidence")))
        checks = [BY_ID[check_id] for check_id in mutant.killed_by if check_id in only]
        verdicts = [judge(check, subject, seed, trial) for check in checks]
        if everything:
            others = [check for check in CHECKS if check not in checks and check.applies(subject)]
            verdicts += [v for v in (judge(check, subject, seed, trial) for check in others) if v.status == FAIL]
        kills.append(Kill(name, (mutant.__doc__ or "").strip(), tuple(verdicts), time.perf_counter() - start))
    return kills


def table(kills: list[Kill]) -> str:
    """One line per mutant and check: what was seen after how many samples."""
    lines = [f"{'':8}{'mutant':<26}{'check':<32}{'measured':>10}{'bound':>10}{'samples':>9}"]
    for kill in kills:
        for i, v in enumerate(kill.verdicts):
            label, name = ("killed" if kill.killed else "ALIVE", kill.mutant) if i == 0 else ("", "")
            value = "" if v.value is None else f"{v.value:.2g}"
            bound = "" if v.bound is None else f"{v.bound:.2g}"
            seen = "" if v.status == FAIL else f"  {v.status}: {v.detail or v.sensitivity}"
            lines.append(f"{label:<8}{name:<26}{v.check:<32}{value:>10}{bound:>10}{v.samples:>9}{seen}")
    dead = sum(kill.killed for kill in kills)
    seconds = float(np.sum([kill.seconds for kill in kills]))
    lines += ["", f"{dead} of {len(kills)} mutants killed by every check they name; {seconds:.1f} s"]
    return "\n".join(lines)
