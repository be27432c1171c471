"""Training histories of joint models of links and pseudofermions: Abbott 2022, Figs. 2, 4 and 5."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..estimators.reweighting import relative_ess
from ..kernels.independence import pool_acceptance
from ..theories import Theory
from .joint_models import (
    HASENBUSCH,
    HEAVY_QUARKS,
    MUS,
    QUICK,
    SIZES,
    SU3_SIZES,
    Point,
    Sizes,
    Target,
    even_stops,
    history,
    plan_for,
    schwinger,
    su3,
)
from .table import Cell, Panel, Table, check_effort_of_paper, finish

COLUMNS = (
    "step", "KL_marginal", "KL_marginal_error", "KLs", "KL_conditional", "ESS_marginal", "ESS_joint", "finite",
)  # fmt: skip
TARGETS = (
    Target("none, n_PT = 3", even_odd=False, n_pt=3),
    Target("none, n_PT = 6", even_odd=False, n_pt=6),
    Target("EO"),
    *(Target(f"EO + {k + 1}", mus=MUS[: k + 1]) for k in range(3)),
)
SEEDS = {"quick": 1, "full": 1, "paper": 3}
NOTES = (
    "KL_marginal: of q(U) from p(U). KLs: of the conditional of every monomial, at links of the model; KL_conditional: their sum.",
    "ESS_marginal: with the exact determinant. ESS_joint: with one pseudofermion of every monomial, inflated as is best. It means "
    "something only where the weights have a variance; finite: the share of links where they have, inflated.",
)  # fmt: skip

Line = tuple[str, Any, Any, Any, str]


def fig2(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """History of the Schwinger model, even-odd with three Hasenbusch masses; `refimpl.reproduce` describes the arguments."""
    sizes = SIZES[check_effort_of_paper(effort)]
    return _one("fig2", "Schwinger model", schwinger(sizes), sizes, HASENBUSCH, seed, out, progress)


def fig5(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """History of SU(3), even-odd with one Hasenbusch mass; `refimpl.reproduce` describes the arguments."""
    sizes = SU3_SIZES[check_effort_of_paper(effort)]
    return _one("fig5", "SU(3)", su3(sizes), sizes, HEAVY_QUARKS, seed, out, progress)


def fig4(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Equal trainings of the Schwinger model with all targets; `refimpl.reproduce` describes the arguments."""
    sizes = SIZES[check_effort_of_paper(effort)]
    theory = schwinger(sizes)
    rows: list[tuple[Cell, ...]] = []
    histories: dict[str, list[Point]] = {}
    for own in range(seed, seed + SEEDS[effort]):
        for target in TARGETS:
            plan = plan_for(theory, sizes, target, own)
            points = list(history(theory, plan, sizes, f"{target.name}, seed {own}", progress, even_stops(sizes)))
            rows.append((target.name, own, *_cells(points[-1]), points[-1].seconds))
            histories.setdefault(target.name, points)
    table = Table(
        "fig4",
        _title(f"Schwinger model, {_lattice(sizes)}: targets after trainings of equal length", sizes),
        ("target", "seed", *COLUMNS, "training_s"),
        tuple(rows),
        (
            *NOTES,
            f"Targets: D D^dag, even-odd (EO), and that with the first of the Hasenbusch masses {_masses(MUS)}.",
            "The seeds are those of this run: another --seed is another model of each.",
        ),
        seed,
    )

    def panels() -> Sequence[Panel]:
        def lines(value: Any) -> list[Line]:
            return [
                (name, _steps(points), [value(p) for p in points], None, ".-") for name, points in histories.items()
            ]

        return [
            Panel("marginal ESS", "step", "ESS", lines(lambda p: p.worth.marginal.ess)),
            Panel("joint ESS, one draw, inflated", "step", "ESS", lines(_joint_ess)),
            Panel("KL of the conditionals, summed", "step", "KL", lines(lambda p: sum(p.kls)), log_y=True),
        ]

    return finish(table, out, panels)


def _one(
    name: str, what: str, theory: Theory, sizes: Sizes, target: Target, seed: int, out: Path | None, progress: bool
) -> Table:
    """The table of one training."""
    plan = plan_for(theory, sizes, target, seed)
    points = list(history(theory, plan, sizes, f"training, {what}", progress, even_stops(sizes)))
    last = points[-1]
    table = Table(
        name,
        _title(f"{what}, {_lattice(sizes)}, {target.name}: history of the training", sizes),
        COLUMNS,
        tuple(_cells(point) for point in points),
        (
            *NOTES,
            f"Hasenbusch masses {_masses(target.mus)}. In the end, inflations {', '.join(f'{c:.3f}' for c in last.inflation)}; "
            f"acceptance of the Metropolis with one draw {pool_acceptance(last.log_w):.3f}, with the exact determinant "
            f"{last.worth.marginal.acceptance:.3f}; {last.worth.n} links.",
            f"The training took {last.seconds:.0f} CPU seconds.",
        ),
        seed,
    )

    def panels() -> Sequence[Panel]:
        steps = _steps(points)
        sizes_: list[Line] = [
            ("marginal", steps, [p.worth.marginal.ess for p in points], None, ".-"),
            ("joint, one draw, inflated", steps, [_joint_ess(p) for p in points], None, ".-"),
            ("links of finite variance", steps, [p.finite for p in points], None, ".:"),
        ]
        kls: list[Line] = [("links", steps, [p.worth.kl_marginal.value for p in points], None, "s--")]
        for m, monomial in enumerate(last.model.monomials):
            ratio = f"M + {monomial.mu:g}" if monomial.mu else "M"
            label = ratio if monomial.mu_next is None else f"{ratio} over M + {monomial.mu_next:g}"
            kls.append((label, steps, [p.kls[m] for p in points], None, ".-"))
        return [
            Panel("effective sample size", "step", "ESS", sizes_),
            Panel("KL divergences of links and of conditionals", "step", "KL", kls, log_y=True),
        ]

    return finish(table, out, panels)


def _cells(point: Point) -> tuple[Cell, ...]:
    """In the order of `COLUMNS`."""
    kl, kls = point.worth.kl_marginal, point.kls
    split = ", ".join(f"{one:.2g}" for one in kls)
    return point.step, kl.value, kl.error, split, sum(kls), point.worth.marginal.ess, _joint_ess(point), point.finite


def _joint_ess(point: Point) -> float:
    return relative_ess(point.log_w)


def _steps(points: Sequence[Point]) -> list[int]:
    return [point.step for point in points]


def _masses(mus: Sequence[float]) -> str:
    return ", ".join(f"{mu:g}" for mu in mus)


def _lattice(sizes: Sizes) -> str:
    return f"{sizes.extent} x {sizes.extent}"


def _title(text: str, sizes: Sizes) -> str:
    return f"{text}; {QUICK}" if sizes in (SIZES["quick"], SU3_SIZES["quick"]) else text
