"""The molecular-dynamics map and its inverse: reversibility, Jacobian, order, equivariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import measure
from ..contract import PhasePoint, Subject
from ..evidence import sampler
from ..verdict import Verdict, skipped, within
from .static import U, worst

Array = NDArray[np.float64]


LARGEST_JACOBIAN = 1024  # rows


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
    """Rounding of a trajectory: a few ulp of a link or momentum per step, times the growth of a small disturbance.

    The growth is measured with a random disturbance of 1e-6; the number of steps is the declared one, else 100.
    """
    n_steps = int(subject.parameter("n_steps") or 100)
    w = 1e-6 * rng.standard_normal((2, *z[0].shape))
    start, end = (z[0] + w[0], z[1] + w[1]), proposal(subject, z)[0]
    moved = difference(proposal(subject, start)[0], end)
    growth = float(np.max(np.linalg.norm(moved, axis=1) / np.linalg.norm(difference(start, z), axis=1)))
    return 4 * np.pi * U * (n_steps + 1) * max(1.0, growth) * 4


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

    On 2x2 and 2x3 where the target can be made at other shapes, else on its own. With step ``h = 1e-3`` the entries are good
    to about 1e-11, and the log determinant to that times the dimension and the inverse of the smallest singular value.
    """
    small = [s for s in (subject.replace(shape=(2, 2)), subject.replace(shape=(2, 3))) if s is not None]
    h, largest, slack, detail, samples = 1e-3, 0.0, 0.0, "", 0
    if not small and 4 * subject.volume > LARGEST_JACOBIAN:
        return skipped(f"cannot be made at a small shape, and shape {subject.shape} is too large for a dense Jacobian")
    for at in small or [subject]:
        x, v = phase_points(at, rng, 2)
        for point in ((x[:1], v[:1]), (x[1:], v[1:])):
            matrix, calls = dense_jacobian(at, point, h)
            logdet = float(proposal(at, point)[1][0])
            exact = float(np.linalg.slogdet(matrix)[1])
            smallest = float(np.linalg.svd(matrix, compute_uv=False)[-1])
            slack = max(slack, 1e-10 * len(matrix) / smallest)
            samples += calls
            if not abs(logdet - exact) <= largest:
                largest = abs(logdet - exact)
                detail = f"shape {at.shape}: logdet {logdet:.10g}, dense Jacobian {exact:.10g}"
    return within("max |logdet - dense|", largest, slack, f"logdet error {slack:.1e}", samples, detail)


def dense_jacobian(subject: Subject, z: PhasePoint, h: float) -> tuple[Array, int]:
    """``d z'/d z`` at one point, ``(4 V, 4 V)``, and the number of evaluations."""
    size, half = z[0].size, z[0][0].shape
    steps = np.concatenate([k * h * np.eye(2 * size) for k in (-2, -1, 1, 2)])
    x = z[0] + steps[:, :size].reshape(-1, *half)
    v = z[1] + steps[:, size:].reshape(-1, *half)
    end = proposal(subject, (x, v))[0]
    centre = tuple(np.broadcast_to(part, x.shape) for part in proposal(subject, z)[0])
    d = difference(end, (centre[0], centre[1])).reshape(4, 2 * size, 2 * size)
    return (8 * (d[2] - d[1]) - (d[3] - d[0])).T / (12 * h), len(steps)


def energy_scaling(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The energy error of a trajectory of fixed length falls by 2^order when the step is halved (4 for leapfrog).

    A wrong force gives 1, a missing half kick about 2: errors that leave the sampler exact and that only this check, the
    force checks and the vectors can see. The steps are a quarter and an eighth of the declared one; the next order of the
    expansion in ``eps`` then moves the ratio by less than a fifth.
    """
    step_size, n_steps = subject.parameter("step_size"), subject.parameter("n_steps")
    if step_size is None or n_steps is None:
        return skipped("declares no step_size and n_steps")
    finer = [subject.replace(step_size=step_size / k, n_steps=n_steps * k) for k in (4, 8)]
    if finer[0] is None or finer[1] is None:
        return skipped("cannot be made at another step size (it has no replace, and is not a factory)")
    x, v = sampler(subject, rng, 32), rng.standard_normal((32, 2, *subject.shape))
    rms = []
    for at in (at for at in finer if at is not None):
        (x_end, v_end), _ = proposal(at, (x, v))
        error = measure.energy(x_end, v_end, subject.beta) - measure.energy(x, v, subject.beta)
        rms.append(float(np.sqrt(np.mean(error * error))))
    expected = 2.0**subject.order
    ratio = rms[0] / rms[1] if rms[1] > 0 else float("inf")
    return within(
        f"|rms(dH) ratio / {expected:g} - 1|",
        abs(ratio / expected - 1),
        0.2,
        "a wrong order of the integrator",
        2 * len(x),
        f"rms(dH) = {rms[0]:.3g} at eps/4, {rms[1]:.3g} at eps/8: ratio {ratio:.3g}, expected {expected:g}",
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
