"""Golden vectors of statistics: series with their autocorrelations, integrated times and errors, by sums that are rounded once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..vector_format import call
from .cases import Case, Entry, Suite, vector
from .decimals import Array

SUITE = Suite(
    "statistics",
    "any",
    __name__,
    20261208,
    "lag by lag with math.fsum from the float64 series",
    "x (step,), one series; autocorrelation (lag,): rho(t) = G(t)/G(0), G(t) = sum_i (x_i - m)(x_{i+t} - m)/(n - t), m "
    "the mean; tau = 1/2 + "
    "sum_{t=1}^{window} rho(t), times 1 + (2 window + 1)/n, with the window of Wolff 2004 (hep-lat/0306017, S = 1.5); "
    "tau_error = tau "
    "sqrt(4 (window + 1/2 - tau)/n); naive_error = sqrt(var/n), error = sqrt(2 tau var (1 + 2 tau/n)/n), var = G(0); "
    "tau_exact of the process",
)
LAGS, STEPS = 32, 2048


def vectors() -> Iterator[Entry]:
    """Name, description and arrays of every vector."""
    for case, exact in _cases():
        arrays = {**_answers(case.x.tolist()), "tau_exact": np.float64(exact)}
        wide = float(f"{5 * float(arrays['tau_error']):.1g}")
        calls = [call("integrated_autocorrelation_time", ["x"], "tau", wide)]
        reason = "another automatic window is as good: five standard errors of tau; rho and the errors at this window to 1e-12"
        yield vector(SUITE, case, arrays, calls, reason)


def _cases() -> Iterator[tuple[Case, float]]:
    rng = np.random.default_rng(SUITE.seed)
    for name, rho, flags in (
        ("white", 0.0, ["BASIC"]),
        ("short", 0.5, ["BASIC", "CONVENTION"]),
        ("long", 0.9, ["BASIC"]),
        ("alternating", -0.5, ["EDGE_CASE"]),
    ):
        noise, c = rng.standard_normal(STEPS), math.sqrt(1 - rho * rho)
        x = np.empty(STEPS)
        for i, new in enumerate(noise):
            x[i] = rho * (x[i - 1] if i else 0.0) + (c if i else 1.0) * new
        comment = f"s_i = {rho} s_(i-1) + noise, of variance 1: tau = {0.5 + rho / (1 - rho):.4g}, not twice it"
        yield Case(name, {}, flags, comment, x), 0.5 + rho / (1 - rho)
    charge = np.repeat(rng.integers(-2, 3, STEPS // 16), 16).astype(np.float64)
    comment = "an integer charge that is drawn anew every 16 steps: tau = 8"
    yield Case("charge", {}, ["SECTOR"], comment, charge), 8.0
    off = 1e6 + rng.standard_normal(STEPS)
    yield Case("offset", {}, ["ILL_CONDITIONED"], "white noise on a mean of 1e6: subtract first, then square", off), 0.5


def _answers(x: list[float]) -> dict[str, Any]:
    n, mean = len(x), math.fsum(x) / len(x)
    d = [value - mean for value in x]
    gamma = [math.fsum(a * b for a, b in zip(d, d[t:], strict=False)) / (n - t) for t in range(4 * LAGS)]
    rho = [g / gamma[0] for g in gamma]
    tau, window = _windowed(rho, n)
    error = math.sqrt(2 * tau * gamma[0] * (1 + 2 * tau / n) / n)
    numbers = {
        "mean": mean,
        "tau": tau,
        "tau_error": tau * math.sqrt(4 / n * max(window + 0.5 - tau, 0.5)),
        "naive_error": math.sqrt(gamma[0] / n),
        "error": error,
    }
    shown: Array = np.array(rho[:LAGS])
    return {"autocorrelation": shown, "window": np.int64(window), **{k: np.float64(v) for k, v in numbers.items()}}


def _windowed(rho: list[float], n: int) -> tuple[float, int]:
    """The first window W at which ``exp(-W/tau) - tau/sqrt(W n)`` is negative."""
    for window in range(1, len(rho)):
        signed = 0.5 + math.fsum(rho[1 : window + 1])
        reach = signed if signed > 0.5 else 0.5 + math.fsum(map(abs, rho[1 : window + 1]))
        scale = 1.5 / math.log((2 * reach + 1) / (2 * reach - 1))
        if math.exp(-window / scale) < scale / math.sqrt(window * n):
            return max(signed * (1 + (2 * window + 1) / n), 1 / (4 * window + 2)), window
    raise ArithmeticError("no window in so many lags")
