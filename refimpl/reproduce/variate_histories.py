"""Training histories of neural control variates beside the closed forms: Bedaque 2023, Figs. 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..actions import Phi4
from ..ensembles import phi4_fields
from ..estimators.variates import Factorised, Linear, TwoStage, improve
from ..observables import Correlator
from ..training import Neural
from .table import Cell, Panel, Table, check_effort_of_paper, finish
from .variate_masses import QUICK, with_mirror_images

M2 = 0.1
FULL_TEST = 1_000  # configurations to judge by
COLUMNS = ("lambda", "method", "step", "loss", "ratio", "ratio_error", "kurtosis")
NOTES = (
    "ratio: standard deviation of C(T/2) over that of C(T/2) - f, on configurations the variate was not fitted to.",
    "On 40 x 40 nets have more weights than there are configurations; unless --full, they are trained with mirror images.",
    "loss: mean (C - f - mu)^2 over the stretch of steps, in units of the variance of C.",
    "layers x neurons: the neural variate of the paper; 0 layers: a linear one, trained. All others: closed forms.",
)


@dataclass(frozen=True)
class Net:
    """A net and its training, on ``train`` configurations of one coupling, with their mirror images or not; delta and unit as in
    `refimpl.training.Neural`."""

    lam: float
    layers: int
    neurons: int
    delta: float
    unit: float | None
    train: int
    steps: int
    mirrored: bool = False

    @property
    def name(self) -> str:
        return f"{self.layers} x {self.neurons}" if self.layers else "0 layers"


def _twenty(train: tuple[int, int], steps: int, deltas: tuple[float, float], unit: float | None) -> tuple[Net, ...]:
    return tuple(
        Net(lam, layers, 4, delta if layers else 0.0, unit, n, steps)
        for lam, n, delta in zip((0.5, 24.0), train, deltas, strict=True)
        for layers in (0, 5)
    )


def _forty(
    neurons: int, n: int, steps: int, deltas: tuple[float, float], unit: float | None, mirrored: bool
) -> tuple[Net, ...]:
    """One layer of one neuron at lambda = 0.5 (Table I), and nets of several depths at lambda = 24."""
    deep = tuple(Net(24.0, layers, neurons, deltas[1], unit, n, steps, mirrored) for layers in (1, 3, 5))
    return (Net(0.5, 1, 1, deltas[0], unit, n, steps, mirrored), *deep)


# By effort: the nets and the test configurations. The penalties of the paper (Table I) are in units of the observable as it stands,
# with which the rates of the paper need its many steps; the others are in the unit of `refimpl.training.Neural`.
FIG1 = {
    "quick": (_twenty((100, 100), 40, (10.0, 1.0), 0.1), 100),
    "full": (_twenty((10_000, 1_000), 60_000, (10.0, 1.0), 0.1), FULL_TEST),
    "paper": (_twenty((10_000, 1_000), 1_000_000, (0.0, 0.0), None), FULL_TEST),
}
FIG2 = {
    "quick": (_forty(2, 60, 5, (30.0, 10.0), 0.02, True), 60),
    "full": (_forty(8, 1_000, 20_000, (30.0, 10.0), 0.02, True), FULL_TEST),
    "paper": (_forty(32, 1_000, 1_000_000, (0.05, 0.0005), None, False), FULL_TEST),
}


def fig1(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Histories on 20 x 20, with hidden layers and without; `refimpl.reproduce` describes the arguments."""
    nets, n_test = FIG1[check_effort_of_paper(effort)]
    return _histories("fig1", (8, 6) if effort == "quick" else (20, 20), nets, n_test, seed, out, progress)


def fig2(seed: int = 0, out: Path | None = None, progress: bool = False, effort: str = "full") -> Table:
    """Histories on 40 x 40, and of several depths; `refimpl.reproduce` describes the arguments."""
    nets, n_test = FIG2[check_effort_of_paper(effort)]
    return _histories("fig2", (8, 6) if effort == "quick" else (40, 40), nets, n_test, seed, out, progress)


def _histories(
    name: str, shape: tuple[int, int], nets: tuple[Net, ...], n_test: int, seed: int, out: Path | None, progress: bool
) -> Table:
    observable = Correlator(shape[0] // 2)
    rows: list[tuple[Cell, ...]] = []
    panels = []
    for number, lam in enumerate(sorted({net.lam for net in nets})):
        action, own = Phi4(M2, lam), [net for net in nets if net.lam == lam]
        n = max(net.train for net in own)
        x = phi4_fields(action, shape, n + n_test, np.random.SeedSequence([seed, number]))
        train, test = x[:n], x[n:]
        levels, lines = [], []
        for method, label in (
            (Linear(action), "linear"),
            (Factorised(action), "factorised"),
            (TwoStage(action), "two-stage"),
        ):
            worth = improve(test, observable, method.fit(train, observable))
            rows.append((lam, label, None, None, worth.ratio, worth.ratio_error, worth.kurtosis))
            levels.append((f"{label}, closed form", worth.ratio))
        for net in own:
            neural = Neural(action, net.layers, net.neurons, net.delta, net.steps, unit=net.unit, seed=seed)
            trained = neural.train(
                with_mirror_images(train) if net.mirrored else train, observable, test=test, progress=progress
            )
            rows += [(lam, net.name, int(step), loss, ratio, None, None) for step, loss, ratio in trained.history]
            worth = improve(test, observable, trained.variate)
            rows.append((lam, net.name, net.steps, None, worth.ratio, worth.ratio_error, worth.kurtosis))
            lines.append((net.name, trained.history[:, 0], trained.history[:, 2], None, ".-"))
        panels.append(Panel(f"lambda = {lam:g}, {n} configurations", "step", "ratio", lines, levels, log_y=True))
    title = f"phi^4 on {shape[0]} x {shape[1]}, m2 = 0.1: training histories of variates of C({observable.t}) (Bedaque 2023)"
    return finish(
        Table(name, title, COLUMNS, tuple(rows), (*NOTES, *(QUICK if n_test < FULL_TEST else ())), seed),
        out,
        lambda: panels,
    )
