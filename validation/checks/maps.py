"""The proposing map and its inverse: reversibility, Jacobian, order, periodicity, equivariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import exhibits
from ..contract import DIRECTION, FLIP, INVOLUTION, PhasePoint, Subject, TargetFault
from ..evidence import directions, momenta, sampler
from ..theories import U, energy
from ..verdict import Verdict, skipped, within
from .static import worst

Array = NDArray[np.float64]


LARGEST_JACOBIAN = 1024  # rows
LEAST_USEFUL = 1e-4  # a tolerance above this tests nothing
NOT_A_FUNCTION = 1e-6  # two calls that differ by more have noise in them
PRESERVED = 1e-9  # |logdet| of a map that preserves volume
DISTURBANCES = 4  # along which the growth of rounding is measured
HOTTEST = 1e4  # factor on a rounding bound for what happens inside a trajectory; single precision would need 1e8


class Inconclusive(Exception):
    """Why a check can say nothing: a trajectory that loses all digits, say. Becomes a skip with this reason."""


def proposal(subject: Subject, z: PhasePoint) -> tuple[PhasePoint, Array]:
    """The forward map: `forward`, or the proposal of `transition`."""
    return subject.forward(z) if subject.has("forward") else _proposed(subject, z, 1.0)


def _proposed(subject: Subject, z: PhasePoint, d: float | Array) -> tuple[PhasePoint, Array]:
    n = len(z[0])
    record = subject.transition(z[0], z[1], np.full(n, 0.5), np.broadcast_to(d, n))
    return (record["x_proposed"], record["v_proposed"]), record["logdet"]


def backward(subject: Subject, z: PhasePoint) -> tuple[PhasePoint, Array]:
    """The inverse map: `inverse`, or what it must be by the declared reversal."""
    if subject.has("inverse"):
        return subject.inverse(z)
    if subject.reversal == INVOLUTION:
        return proposal(subject, z)
    if subject.reversal == FLIP:
        (x, v), logdet = proposal(subject, (z[0], -z[1]))
        return (x, -v), logdet
    if subject.has("transition"):
        return _proposed(subject, z, -1.0)
    raise Inconclusive("offers neither inverse nor transition, and the direction -1 is one of them")


def along(subject: Subject, z: PhasePoint, d: Array | None) -> tuple[PhasePoint, Array]:
    """The forward map where ``d`` is +1 or None, the inverse where it is -1."""
    if d is None or np.all(d > 0):
        return proposal(subject, z)
    x, v, logdet = np.empty_like(z[0]), np.empty_like(z[1]), np.empty(len(d))
    for chains, step in ((d > 0, proposal), (d < 0, backward)):
        if chains.any():
            (x[chains], v[chains]), logdet[chains] = step(subject, (z[0][chains], z[1][chains]))
    return (x, v), logdet


def against(subject: Subject, z: PhasePoint, d: Array | None) -> tuple[PhasePoint, Array]:
    """The inverse of `along`."""
    return backward(subject, z) if d is None else along(subject, z, -d)


def phase_points(subject: Subject, rng: np.random.Generator, n: int) -> PhasePoint:
    """Equilibrium points; of angles, some in half of them are within 1e-3 of the cut at +-pi."""
    x = subject.theory.phase_fields(rng, n)
    return x, momenta(subject, rng, n)


def difference(subject: Subject, a: PhasePoint, b: PhasePoint) -> Array:
    """``a - b`` as rows ``(chain, 2 x size)``, angles on the circle."""
    n = len(a[0])
    return np.concatenate([subject.theory.difference(a[0], b[0]).reshape(n, -1), (a[1] - b[1]).reshape(n, -1)], axis=1)


def parts(subject: Subject, error: Array, bound: float) -> exhibits.Exhibits:
    """Of rows as `difference` makes them: errors of the field, or of the momenta where these are larger."""
    field, momenta = np.split(error, 2, axis=1)
    what, larger = max((("x", field), ("v", momenta)), key=lambda part: np.abs(part[1]).max())
    return exhibits.differences(subject.theory, larger.reshape(-1, *subject.theory.momentum_shape), bound, what)


def repeated(z: PhasePoint) -> PhasePoint:
    """The whole batch of chains, once for every disturbance."""
    return np.concatenate([z[0]] * DISTURBANCES), np.concatenate([z[1]] * DISTURBANCES)


def disturbed(subject: Subject, z: PhasePoint, w: Array) -> PhasePoint:
    """The batches ``z`` moved by every ``w``, of shape ``(disturbance, 2, *v.shape)``, one batch after the other.

    They go through a map in one call: chains that see their neighbours, or a mean over all, then see the same to 1e-9.
    """
    (x, v), (a, b) = repeated(z), (w[:, k].reshape(-1, *w.shape[3:]) for k in (0, 1))
    return subject.theory.pushed(x, a), v + b


def rounding(subject: Subject, z: PhasePoint, rng: np.random.Generator) -> float:
    """Rounding of a trajectory: some ulp of a coordinate or momentum per step, times the growth of a small disturbance.

    The growth is the largest seen along four random directions; times the root of the dimension it bounds that along the
    worst one. The number of steps is the declared one, else 100. Raises `Inconclusive` where little is left of 16 digits.

    A map that does not preserve volume grows differently forward and backward, and may be hotter in the middle than at either
    end, where nobody can look: both directions count, and the bound is lifted to what disturbances of an ulp do to the map and
    to the round trip, but by `HOTTEST` at most, which no arithmetic of fewer digits gets away with.
    """
    n_steps = int(subject.parameter("n_steps") or 100)
    maps = (proposal,) if subject.reversal == FLIP else (proposal, backward)
    ends, growth = [step(subject, z)[0] for step in maps], 1.0
    for step, end in zip(maps, ends, strict=True):
        if (change := float(np.max(np.abs(difference(subject, step(subject, z)[0], end))))) > NOT_A_FUNCTION:
            raise TargetFault(f"{step.__name__}: two calls with one input differ by {change:.3g}")
    start = disturbed(subject, z, 1e-9 * subject.theory.scale * rng.standard_normal((DISTURBANCES, 2, *z[1].shape)))
    size = np.linalg.norm(difference(subject, start, repeated(z)), axis=1)
    many = subject.repeated(DISTURBANCES)
    for step, end in zip(maps, ends, strict=True):
        moved = difference(subject, step(many, start)[0], repeated(end))
        growth = max(growth, float(np.max(np.linalg.norm(moved, axis=1) / size)))
    per_step = max(subject.theory.step_rounding(*point) for point in (z, *ends))
    tolerance = per_step * (n_steps + 1) * growth * np.sqrt(2 * z[1][0].size)
    if subject.reversal != FLIP:
        tolerance = min(max(tolerance, 8 * _noise(subject, z, ends, rng)), HOTTEST * tolerance)
    if not tolerance < LEAST_USEFUL:
        raise Inconclusive(f"the trajectory amplifies small differences {growth:.1e} times: nothing to see in float64")
    return float(tolerance)


def _noise(subject: Subject, z: PhasePoint, ends: list[PhasePoint], rng: np.random.Generator) -> float:
    """How far disturbances of an ulp move the image and the round trip, in either direction."""
    w = U * rng.choice([-1.0, 1.0], (DISTURBANCES, 2, *z[1].shape))
    w[:, 1] *= np.maximum(np.abs(z[1]), 1)
    if not np.iscomplexobj(z[0]):
        w[:, 0] *= np.maximum(np.abs(z[0]), 1)
    start, largest, many = disturbed(subject, z, w), 0.0, subject.repeated(DISTURBANCES)
    for step, undo, end in zip((proposal, backward), (backward, proposal), ends, strict=True):
        moved = step(many, start)[0]
        trips = difference(subject, undo(many, moved)[0], repeated(undo(subject, end)[0]))
        there = difference(subject, moved, repeated(end))
        largest = max(largest, float(np.abs(there).max()), float(np.abs(trips).max()))
    return largest


def round_trip(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Forward then inverse, and inverse then forward, return to the start: angles on the circle, also near +-pi, and momenta.

    Without this the accept/reject step does not leave the density invariant. A round trip does not test logdet.

    If it fails: the inverse has steps in another order, a half step at the wrong force, or nets that see what they
    move. Nothing statistical will show it.
    """
    z = phase_points(subject, rng, 8)
    tolerance = rounding(subject, z, rng)
    errors = {
        "inverse(forward(z))": difference(subject, backward(subject, proposal(subject, z)[0])[0], z),
        "forward(inverse(z))": difference(subject, proposal(subject, backward(subject, z)[0])[0], z),
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
        parts(subject, error, tolerance),
    )


def logdet_antisymmetry(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The logdet of the inverse at ``z'`` is minus the logdet of the forward map at ``z``.

    If it fails: a sign, or logdet evaluated at the end instead of along the path. A correct pair of maps has it by the
    chain rule.
    """
    z = phase_points(subject, rng, 8)
    tolerance = rounding(subject, z, rng) * z[1][0].size
    forward, logdet = proposal(subject, z)
    error = logdet + backward(subject, forward)[1]
    return within(
        "max |logdet + logdet of inverse|",
        float(np.max(np.abs(error))),
        tolerance,
        f"logdet mismatch {tolerance:.1e}",
        len(z[0]),
        f"sums: {np.array2string(error, precision=3)}",
        exhibits.errors(error, tolerance, "sum of the logdets"),
    )


def jacobian(subject: Subject, rng: np.random.Generator) -> Verdict:
    """logdet against the log determinant of the dense Jacobian, by fourth-order differences, on small lattices.

    On 2x2 and 2x3 (4 and 5 sites) where the target can be made at other shapes, else on its own. Four step sizes from 1e-2 to
    1e-5: the two neighbours that agree best give the answer, and ten times their difference its error.

    If it fails: the scaling of one sub-update is missing, doubled or of the wrong sign. Maps without scaling (leapfrog)
    must report zero.
    """
    small = [s for s in (subject.replace(**changes) for changes in subject.theory.smaller()) if s is not None]
    if not small and 2 * subject.theory.size > LARGEST_JACOBIAN:
        shape = subject.theory.field_shape
        return skipped(
            f"cannot be made at a small shape, and fields of shape {shape} are too large for a dense Jacobian"
        )
    worst_ratio, error, tolerance, detail, samples = -1.0, 0.0, 0.0, "", 0
    for at in small or [subject]:
        rows = 2 * at.theory.size
        x, v = phase_points(at, rng, 2)
        for point in ((x[:1], v[:1]), (x[1:], v[1:])):
            logdets = [float(np.linalg.slogdet(dense_jacobian(at, point, h))[1]) for h in (1e-2, 1e-3, 1e-4, 1e-5)]
            gaps = np.abs(np.diff(logdets))
            best = int(np.argmin(gaps))
            end, logdets_there = proposal(at, point)
            logdet = float(logdets_there[0])
            # Rounding in units of the scale of the field; one for angles.
            coarse = max(at.theory.step_rounding(*z) for z in (point, end)) / (4 * np.pi * U * at.theory.scale)
            slack = 10 * float(gaps[best]) + 1e-11 * rows * coarse
            if not slack < LEAST_USEFUL:
                continue
            samples += 16 * rows
            if abs(logdet - logdets[best + 1]) / slack > worst_ratio:
                error, tolerance = abs(logdet - logdets[best + 1]), slack
                worst_ratio = error / slack
                shape = getattr(at.theory, "shape", at.theory.field_shape)
                detail = f"shape {shape}: logdet {logdet:.10g}, dense Jacobian {logdets[best + 1]:.10g}"
    if not samples:
        raise Inconclusive("finite differences of the trajectory do not settle: it is too chaotic for float64")
    return within("max |logdet - dense|", error, tolerance, f"logdet error {tolerance:.1e}", samples, detail)


def dense_jacobian(subject: Subject, z: PhasePoint, h: float) -> Array:
    """``d z'/d z`` at one point, by fourth-order central differences of step ``h`` (times the scale of the field for x)."""
    size, half = z[1].size, z[1][0].shape
    units = np.repeat([subject.theory.scale, 1.0], size)
    steps = np.concatenate([k * h * np.diag(units) for k in (-2, -1, 1, 2)])
    x = subject.theory.pushed(np.repeat(z[0], len(steps), axis=0), steps[:, :size].reshape(-1, *half))
    v = z[1] + steps[:, size:].reshape(-1, *half)
    end = proposal(subject, (x, v))[0]
    x_centre, v_centre = proposal(subject, z)[0]
    centre = (np.broadcast_to(x_centre, x.shape), np.broadcast_to(v_centre, v.shape))
    d = difference(subject, end, centre).reshape(4, 2 * size, 2 * size)
    return np.asarray((8 * (d[2] - d[1]) - (d[3] - d[0])).T / (12 * h * units))


def energy_scaling(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The energy error of a trajectory of fixed length falls by 2^order when the step is halved (4 for leapfrog).

    A wrong force gives 1, a missing half kick about 2: errors that leave the sampler exact and that only this check, the
    force checks and the vectors can see. Of the pairs of steps (eps/4, eps/8) to (eps/32, eps/64) the finest whose energy
    error stands clear of rounding counts; the next order of the expansion in eps is then far below the tolerance.

    If it fails: see static.force if the ratio is 1, the first and last half kick if it is 2; declare ``order`` if the
    integrator is of another one.
    """
    if not subject.order:
        return skipped("declares no order of an integrator")
    theory = subject.theory
    step_size, n_steps = subject.parameter("step_size"), subject.parameter("n_steps")
    if step_size is None or n_steps is None:
        return skipped("declares no step_size and n_steps")
    length = min(int(n_steps), 5)  # short, so that the trajectories of all steps stay together
    n = 64 // theory.thrift
    x, v = sampler(subject, rng, n), momenta(subject, rng, n)
    expected, before = 2.0**subject.order, energy(theory, x, v)
    lost = 100 * theory.action_rounding(x)
    seen: list[tuple[int, float]] = []
    for k in (4, 8, 16, 32, 64):
        finer = subject.replace(step_size=step_size / k, n_steps=length * k)
        if finer is None:
            return skipped("cannot be made at another step size (it has no replace, and is not a factory)")
        (x_end, v_end), logdet = proposal(finer, (x, v))
        if np.abs(logdet).max() > PRESERVED:
            return skipped("does not preserve volume: its energy error is no error of an integrator")
        error = energy(theory, x_end, v_end) - before - logdet
        seen.append((k, float(np.sqrt(np.mean(error * error)))))
        if not seen[-1][1] > lost:
            break
    clear = [entry for entry in seen if entry[1] > lost]
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
    """A chain alone moves as it does inside a batch: chains must not see each other.

    If it fails: batch statistics, a step size tuned on the batch, or a sum over the wrong axis: detailed balance then
    holds for no chain.
    """
    z = phase_points(subject, rng, 6)
    tolerance = rounding(subject, z, rng)
    d = directions(rng, len(z[0])) if subject.directed else None
    together = along(subject, z, d)
    alone = [
        along(subject, (z[0][i : i + 1], z[1][i : i + 1]), None if d is None else d[i : i + 1])
        for i in range(len(z[0]))
    ]
    x, v = (np.concatenate([one[0][k] for one in alone]) for k in (0, 1))
    error = difference(subject, together[0], (x, v))
    return within(
        "max |batch - alone|", float(np.max(np.abs(error))), tolerance, f"coupling of chains {tolerance:.1e}", 7,
        worst(together[0][1], v), parts(subject, error, tolerance),
    )  # fmt: skip


def repeat_call(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The same call gives the same bits: no hidden state, no noise inside the map.

    If it fails: freeze dropout, masks and momentum refreshes: noise belongs outside of the map, where it is part of the
    transition.
    """
    z = phase_points(subject, rng, 4)
    error, detail = 0.0, ""
    for step in (proposal, backward) if subject.directed else (proposal,):
        first, second = step(subject, z), step(subject, z)
        same = all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))
        change = 0.0 if same else float(np.max(np.abs(difference(subject, first[0], second[0]))))
        if not change <= error:
            error, detail = change, f"{step.__name__}: {worst(first[0][1], second[0][1])}"
    return within("max |first - second call|", error, 0.0, "any difference", 2, detail)


def periodicity(subject: Subject, rng: np.random.Generator) -> Verdict:
    """Adding multiples of 2 pi to angles changes neither their image on the circle, nor the momenta, nor the logdet.

    A net that sees the raw angle, or a scaling of the angle itself, is no function on the circle.

    If it fails: feed cosine and sine to the nets, and scale tangents of half angles instead of angles.
    """
    z = phase_points(subject, rng, 8)
    tolerance = 4 * rounding(subject, z, rng)
    turned = (z[0] + 2 * np.pi * rng.integers(-1, 2, z[0].shape), z[1])
    largest, detail = 0.0, ""
    for step in (proposal, backward) if subject.directed else (proposal,):
        (end, logdet), (other, other_logdet) = step(subject, z), step(subject, turned)
        errors = {
            "the image": float(np.max(np.abs(difference(subject, other, end)))),
            "the logdet, per component,": float(np.max(np.abs(other_logdet - logdet))) / z[1][0].size,
        }
        for name, error in errors.items():
            if not error <= largest:
                largest, detail = error, f"{step.__name__}: {name} of x + 2 pi k differs by {error:.3g}"
    return within("max |map(x + 2 pi k) - map(x)|", largest, tolerance, f"a change of {tolerance:.1e}", 8, detail)


def reversal(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The proposal is undone as declared, with minus its logdet, which is why it may be accepted at all.

    "flip": flip, forward, flip is the inverse. "involution": forward is its own inverse. "direction": `transition` applies the
    forward map to chains with d = +1 and the inverse to those with d = -1.

    If it fails: declare the ``reversal`` that the sampler uses, or mend the order of layers: if none of the three
    holds, accept/reject is not exact.
    """
    z = phase_points(subject, rng, 8)
    tolerance = rounding(subject, z, rng)
    if subject.reversal == DIRECTION:
        if not subject.has("transition") or not subject.has("forward"):
            raise Inconclusive("needs forward and transition to see what a direction does")
        d = np.where(np.arange(8) % 3 == 0, 1.0, -1.0)
        end, logdet = _proposed(subject, z, d)
        expected, expected_logdet = along(subject, z, d)
        error, odd = difference(subject, end, expected), logdet - expected_logdet
    else:
        sign = -1.0 if subject.reversal == FLIP else 1.0
        (x, v), logdet = proposal(subject, z)
        (x, v), back = proposal(subject, (x, sign * v))
        error, odd = difference(subject, (x, sign * v), z), logdet + back
    largest = max(float(np.max(np.abs(error))), float(np.max(np.abs(odd))) / z[1][0].size)
    detail = f"declared {subject.reversal}: the point is missed by {np.abs(error).max():.3g}, logdet by {np.abs(odd).max():.3g}"
    told, shown = f"irreversibility of {tolerance:.1e}", parts(subject, error, tolerance)
    return within("max |reversed - z|", largest, tolerance, told, 8, detail, shown)


def equivariance(subject: Subject, rng: np.random.Generator) -> Verdict:
    """A symmetry of the action (gauge transformation, rotation, translation) before the map is the same as after it.

    If it fails: a net with a bias or mask that depends on the place may break it by right: declare ``equivariant =
    False``. A leapfrog that breaks it has a wrong force.
    """
    if not subject.equivariant:
        return skipped("declared not equivariant: a valid sampler need not be")
    z = phase_points(subject, rng, 6)
    tolerance = 4 * rounding(subject, z, rng)
    end = proposal(subject, z)[0]
    errors = {
        move.name: difference(
            subject,
            proposal(subject, (move.field(z[0]), move.tangent(z[1])))[0],
            (move.field(end[0]), move.tangent(end[1])),
        )
        for move in subject.theory.symmetries(rng, len(z[0]))
    }
    name, error = max(errors.items(), key=lambda item: np.max(np.abs(item[1])))
    return within(
        "max |map(move z) - move map(z)|", float(np.max(np.abs(error))), tolerance, f"broken symmetry {tolerance:.1e}",
        len(errors) * len(z[0]), f"{name}: off by {np.max(np.abs(error)):.3g}", parts(subject, error, tolerance),
    )  # fmt: skip


def moves_every_link(subject: Subject, rng: np.random.Generator) -> Verdict:
    """The map changes every component of the field and every momentum: one left out would never be sampled.

    If it fails: list the masks: a mask and its complement must cover every component. Averages of what stands still
    look frozen, not wrong.
    """
    z = phase_points(subject, rng, 8)
    moved = np.abs(difference(subject, proposal(subject, z)[0], z)).max(axis=0)
    still = int(np.sum(moved < 1e-9))
    return within(
        "components that never move", float(still), 0.0, "one component", len(z[0]),
        f"{still} of {moved.size} components of (x, v) are not moved, first at {int(np.argmin(moved))}",
        _still(subject, moved),
    )  # fmt: skip


def _still(subject: Subject, moved: Array) -> exhibits.Exhibits:
    """Where on the lattice the field is left alone."""
    still = (moved[: moved.size // 2] < 1e-9).reshape(1, *subject.theory.momentum_shape)
    return exhibits.error_map(subject.theory, 1.0 * still, "x that never moves (1)")
