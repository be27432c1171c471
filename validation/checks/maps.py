"""The molecular-dynamics map and its inverse: reversibility, Jacobian, order, equivariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import measure
from ..contract import PhasePoint, Subject
from ..evidence import sampler
from ..verdict import Verdict, skipped, within
from .static import U, action_rounding, worst

Array = NDArray[np.float64]


LARGEST_JACOBIAN = 1024  # rows
LEAST_USEFUL = 1e-4  # a tolerance above this tests nothing


class Chaotic(Exception):
    """The trajectory loses so many digits that a deterministic check has nothing to hold on to."""


def proposal(subject: Subject, z: PhasePoint) -> tuple[PhasePoint, Array]:
    """The forward map: `forward`, or the proposal of `transition`."""
    if subject.has("forward"):
        return subject.forward(z)
    record = subject.transition(z[0], z[1], np.full(len(z[0]), 0.5))
    return (record["x_proposed"], record["v_proposed"]), record["logdet"]


def backward(subject: Subject, z: PhasePoint) -> tuple[PhasePoint, Array]:
    """The inverse map: `inverse`, or the forward map between two flips of the momenta."""
    if subject.has("inverse"):
        return subject.inverse(z)
    (x, v), logdet = proposal(subject, (z[0], -z[1]))
    return (x, -v), logdet


def phase_points(subject: Subject, rng: np.random.Generator, n: int) -> PhasePoint:
    """Equilibrium points; in half of them a quarter of the links are put within 1e-3 of the cut at +-pi by a gauge."""
    x = sampler(subject, rng, n)
    alpha = np.zeros((n, *subject.shape))
    alpha[n // 2 :, ::2, ::2] = np.pi - 1e-3 * rng.random() - x[n // 2 :, 0, ::2, ::2]
    return measure.gauge_transformed(x, alpha), rng.standard_normal(x.shape)


def difference(a: PhasePoint, b: PhasePoint) -> Array:
    """``a - b`` as rows ``(chain, 4 V)``, angles on the circle."""
    n = len(a[0])
    return np.concatenate([measure.angle_difference(a[0], b[0]).reshape(n, -1), (a[1] - b[1]).reshape(n, -1)], axis=1)


def rounding(subject: Subject, z: PhasePoint, rng: np.random.Generator) -> float:
    """Rounding of a trajectory: some ulp of a link or momentum per step, times the growth of a small disturbance.

    The growth is the largest seen along four random directions; times the root of the dimension it bounds that along the
    worst one. The number of steps is the declared one, else 100. Raises `Chaotic` where little is left of 16 digits.
    """
    n_steps = int(subject.parameter("n_steps") or 100)
    end, growth = proposal(subject, z)[0], 1.0
    for _ in range(4):
        w = 1e-9 * rng.standard_normal((2, *z[0].shape))
        start = (z[0] + w[0], z[1] + w[1])
        moved = difference(proposal(subject, start)[0], end)
        growth = max(
            growth, float(np.max(np.linalg.norm(moved, axis=1) / np.linalg.norm(difference(start, z), axis=1)))
        )
    tolerance = 4 * np.pi * U * (n_steps + 1) * growth * np.sqrt(2 * z[0][0].size)
    if not tolerance < LEAST_USEFUL:
        raise Chaotic(f"the trajectory amplifies small differences {growth:.1e} times: nothing to see in float64")
    return tolerance


def round_trip(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Forward then inverse, and inverse then forward, return to the start: links on the circle and momenta, also near +-pi.

    Without this the accept/reject step does not leave the density invariant. A round trip does not test logdet.
    """
    z = phase_points(subject, rng, 8)
    tolerance = rounding(subject, z, rng)
    errors = {
        "inverse(forward(z))": difference(backward(subject, proposal(subject, z)[0])[0], z),
        "forward(inverse(z))": difference(proposal(subject, backward(subject, z)[0])[0], z),
    }
    name, error = max(errors.items(), key=lambda item: np.max(np.abs(item[1])))
    chain, entry = np.unravel_index(np.argmax(np.abs(error)), error.shape)
    part = "x" if entry < error.shape[1] // 2 else "v"
    return within(
        "max |round trip - z|",
        float(np.max(np.abs(error))),
        tolerance,
        f"irreversibility of {tolerance:.1e}",
        2 * len(z[0]),
        f"{name} misses {part} of chain {chain} by {error[chain, entry]:.3g}",
    )


def logdet_antisymmetry(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The logdet of the inverse at ``z'`` is minus the logdet of the forward map at ``z``."""
    z = phase_points(subject, rng, 8)
    tolerance = rounding(subject, z, rng) * z[0][0].size
    forward, logdet = proposal(subject, z)
    error = logdet + backward(subject, forward)[1]
    return within(
        "max |logdet + logdet of inverse|",
        float(np.max(np.abs(error))),
        tolerance,
        f"logdet mismatch {tolerance:.1e}",
        len(z[0]),
        f"sums: {np.array2string(error, precision=3)}",
    )


def jacobian(subject: Subject, rng: np.random.Generator) -> Verdict:
    """logdet against the log determinant of the dense Jacobian, by fourth-order differences, on small lattices.

    On 2x2 and 2x3 where the target can be made at other shapes, else on its own. Four step sizes from 1e-2 to 1e-5: the two
    neighbours that agree best give the answer, and ten times their difference its error.
    """
    small = [s for s in (subject.replace(shape=(2, 2)), subject.replace(shape=(2, 3))) if s is not None]
    if not small and 4 * subject.volume > LARGEST_JACOBIAN:
        return skipped(f"cannot be made at a small shape, and shape {subject.shape} is too large for a dense Jacobian")
    worst_ratio, error, tolerance, detail, samples = -1.0, 0.0, 0.0, "", 0
    for at in small or [subject]:
        x, v = phase_points(at, rng, 2)
        for point in ((x[:1], v[:1]), (x[1:], v[1:])):
            logdets = [float(np.linalg.slogdet(dense_jacobian(at, point, h))[1]) for h in (1e-2, 1e-3, 1e-4, 1e-5)]
            gaps = np.abs(np.diff(logdets))
            best = int(np.argmin(gaps))
            slack = 10 * float(gaps[best]) + 1e-11 * 4 * at.volume
            if not slack < LEAST_USEFUL:
                continue
            logdet = float(proposal(at, point)[1][0])
            samples += 16 * 4 * at.volume
            if abs(logdet - logdets[best + 1]) / slack > worst_ratio:
                error, tolerance = abs(logdet - logdets[best + 1]), slack
                worst_ratio = error / slack
                detail = f"shape {at.shape}: logdet {logdet:.10g}, dense Jacobian {logdets[best + 1]:.10g}"
    if not samples:
        raise Chaotic("finite differences of the trajectory do not settle: it is too chaotic for float64")
    return within("max |logdet - dense|", error, tolerance, f"logdet error {tolerance:.1e}", samples, detail)


def dense_jacobian(subject: Subject, z: PhasePoint, h: float) -> Array:
    """``d z'/d z`` at one point, ``(4 V, 4 V)``, by fourth-order central differences of step ``h``."""
    size, half = z[0].size, z[0][0].shape
    steps = np.concatenate([k * h * np.eye(2 * size) for k in (-2, -1, 1, 2)])
    x = z[0] + steps[:, :size].reshape(-1, *half)
    v = z[1] + steps[:, size:].reshape(-1, *half)
    end = proposal(subject, (x, v))[0]
    x_centre, v_centre = proposal(subject, z)[0]
    centre = (np.broadcast_to(x_centre, x.shape), np.broadcast_to(v_centre, v.shape))
    d = difference(end, centre).reshape(4, 2 * size, 2 * size)
    return np.asarray((8 * (d[2] - d[1]) - (d[3] - d[0])).T / (12 * h))


def energy_scaling(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The energy error of a trajectory of fixed length falls by 2^order when the step is halved (4 for leapfrog).

    A wrong force gives 1, a missing half kick about 2: errors that leave the sampler exact and that only this check, the
    force checks and the vectors can see. Of the pairs of steps (eps/4, eps/8) to (eps/32, eps/64) the finest whose energy
    error stands clear of rounding counts; the next order of the expansion in eps is then far below the tolerance.
    """
    step_size, n_steps = subject.parameter("step_size"), subject.parameter("n_steps")
    if step_size is None or n_steps is None:
        return skipped("declares no step_size and n_steps")
    length = min(int(n_steps), 5)  # short, so that the trajectories of all steps stay together
    x, v = sampler(subject, rng, 64), rng.standard_normal((64, 2, *subject.shape))
    expected, before = 2.0**subject.order, measure.energy(x, v, subject.beta)
    seen: list[tuple[int, float]] = []
    for k in (4, 8, 16, 32, 64):
        finer = subject.replace(step_size=step_size / k, n_steps=length * k)
        if finer is None:
            return skipped("cannot be made at another step size (it has no replace, and is not a factory)")
        (x_end, v_end), logdet = proposal(finer, (x, v))
        error = measure.energy(x_end, v_end, subject.beta) - before - logdet
        seen.append((k, float(np.sqrt(np.mean(error * error)))))
        if not seen[-1][1] > 100 * action_rounding(subject):
            break
    clear = [entry for entry in seen if entry[1] > 100 * action_rounding(subject)]
    if len(clear) < 2:
        return skipped("the energy error is lost in rounding at this step size")
    (k, coarse), (_, fine) = clear[-2:]
    ratio = coarse / fine
    return within(
        f"|rms(dH) ratio / {expected:g} - 1|",
        abs(ratio / expected - 1),
        0.2,
        "a wrong order of the integrator",
        len(seen) * len(x),
        f"rms(dH) = {coarse:.3g} at eps/{k}, {fine:.3g} at eps/{2 * k}: ratio {ratio:.3g}, expected {expected:g}",
    )


def batch_of_one(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A chain alone moves as it does inside a batch: chains must not see each other."""
    z = phase_points(subject, rng, 6)
    tolerance = rounding(subject, z, rng)
    together = proposal(subject, z)
    alone = [proposal(subject, (z[0][i : i + 1], z[1][i : i + 1])) for i in range(len(z[0]))]
    x, v = (np.concatenate([one[0][k] for one in alone]) for k in (0, 1))
    error = float(np.max(np.abs(difference(together[0], (x, v)))))
    return within(
        "max |batch - alone|", error, tolerance, f"coupling of chains {tolerance:.1e}", 7, worst(together[0][1], v)
    )


def repeat_call(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The same call gives the same bits: no hidden state, no noise inside the map."""
    z = phase_points(subject, rng, 4)
    first, second = proposal(subject, z), proposal(subject, z)
    error = float(np.max(np.abs(difference(first[0], second[0]))))
    return within("max |first - second call|", error, 0.0, "any difference", 2, worst(first[0][1], second[0][1]))


def equivariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A gauge transformation or a translation before the map is the same as after it."""
    z = phase_points(subject, rng, 6)
    tolerance = 4 * rounding(subject, z, rng)
    end = proposal(subject, z)[0]
    alpha = rng.uniform(-np.pi, np.pi, (len(z[0]), *subject.shape))
    errors = {
        "gauge transformation": difference(
            proposal(subject, (measure.gauge_transformed(z[0], alpha), z[1]))[0],
            (measure.gauge_transformed(end[0], alpha), end[1]),
        )
    }
    for axis, name in ((2, "translation in time"), (3, "translation in space")):
        moved = proposal(subject, (np.roll(z[0], 1, axis), np.roll(z[1], 1, axis)))[0]
        errors[name] = difference(moved, (np.roll(end[0], 1, axis), np.roll(end[1], 1, axis)))
    name, error = max(errors.items(), key=lambda item: np.max(np.abs(item[1])))
    return within(
        "max |map(move z) - move map(z)|", float(np.max(np.abs(error))), tolerance, f"broken symmetry {tolerance:.1e}", 18,
        f"{name}: off by {np.max(np.abs(error)):.3g}",
    )  # fmt: skip


def moves_every_link(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The map changes every link and every momentum: one left out would never be sampled."""
    z = phase_points(subject, rng, 8)
    moved = np.abs(difference(proposal(subject, z)[0], z)).max(axis=0)
    still = int(np.sum(moved < 1e-9))
    return within(
        "components that never move", float(still), 0.0, "one component", len(z[0]),
        f"{still} of {moved.size} components of (x, v) are not moved, first at {int(np.argmin(moved))}",
    )  # fmt: skip
