"""Conditional densities of pseudofermions as matrices, read off a target: its map of unit vectors, or its log density.

At given links a conditional is ``CN(0, F F^dag)``. Beside the precision P of a monomial, by dense algebra of `measure_dirac`
and without a regulator, everything is in the eigenvalues w of ``F^dag P F``: a draw has the weight ``prod w_i exp(-sum (w_i -
1) e_i)`` of mean 1, ``e_i`` independent and exponential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import measure as measure_angles
from .. import measure_dirac as measure
from .. import measure_matrices
from ..contract import Subject, TargetFault
from ..theories import Matrices
from .fermions import fermions_of, fields_of_all_sizes

Array = NDArray[np.float64]
Complex = NDArray[Any]
Step = Callable[[NDArray[Any], Complex], tuple[Complex, Array]]
Turn = Callable[[Complex], Complex]

# What direct algebra of some tens of layers does to a number, in units of its size; single precision is far beyond.
ROUNDING = 1e-13
LARGEST_ROWS = 96  # of a matrix that is made of a target
LARGEST_PROBED = 48  # of one that is read off a log density, by the square of that many fields
SHAPES = ((4, 4), (4, 2), (2, 4), (2, 2))
COMPARED = 4  # components of a field that is looked for among others
MAPS = ("conditional_forward", "conditional_inverse")


def living(at: Subject) -> NDArray[np.bool_]:
    """Which of the components ``(t, x, spin, colour)`` are there."""
    shape, colours = at.links.shape, getattr(at.theory, "n", 1)
    if not at.monomials.even_odd:
        return np.ones(2 * colours * shape[0] * shape[1], dtype=bool)
    if shape[0] % 2 or shape[1] % 2:
        raise TargetFault(f"even_odd: got True on a lattice of shape {shape}, expected even extents")
    return measure.even_rows(shape, 2 * colours)


def small(subject: Subject, rows: int) -> Subject | None:
    """The target, where a monomial has at most so many components; else on a smaller lattice; else none."""
    if int(living(subject).sum()) <= rows:
        return subject
    others = (subject.replace(shape=shape) for shape in SHAPES)
    return next((at for at in others if at is not None and int(living(at).sum()) <= rows), None)


def noise(rng: np.random.Generator, at: Subject, x: NDArray[Any]) -> Complex:
    """Complex normal fields of all monomials, ``E |chi|^2 = 1`` a component."""
    shape = at.pseudofermion_shape(x)
    flat = measure.random_spinors(rng, shape).reshape(*shape[:2], -1) / np.sqrt(2)
    flat[..., ~living(at)] = 0
    return np.asarray(flat.reshape(shape))


def rows(at: Subject, phi: Complex) -> Complex:
    """The components that are there, ``(chain, field, rows)``."""
    return np.asarray(phi.reshape(*phi.shape[:2], -1)[..., living(at)])


def stray(at: Subject, phi: Complex) -> float:
    """The largest component where there is none."""
    return float(np.abs(phi.reshape(*phi.shape[:2], -1)[..., ~living(at)]).max(initial=0.0))


def spread(at: Subject, x: NDArray[Any], columns: Complex) -> tuple[NDArray[Any], Complex]:
    """Links and fields for every column of ``(n, field, rows, k)``, chain by chain."""
    n, fields, _, k = columns.shape
    alive = living(at)
    flat = np.zeros((n, k, fields, alive.size), np.complex128)
    flat[..., alive] = np.moveaxis(columns, 3, 1)
    repeated = np.repeat(x, k, axis=0)
    return repeated, flat.reshape(at.pseudofermion_shape(repeated))


def image(at: Subject, x: NDArray[Any], name: str, unit_number: complex = 1.0) -> tuple[Complex, Array]:
    """Where a map takes unit vectors, or these times a number, ``(n, field, rows, rows)``, and its logdet ``(n, field)``."""
    size, fields = int(living(at).sum()), at.monomials.number
    unit = np.broadcast_to(unit_number * np.eye(size), (len(x), fields, size, size))
    out, logdet = getattr(at, name)(*spread(at, x, unit))
    columns = rows(at, out).reshape(len(x), size, fields, size)
    return np.moveaxis(columns, 1, 3), logdet[::size]


def probed(at: Subject, x: NDArray[Any]) -> tuple[Complex, Array]:
    """``A`` and c of ``log q = c - phi^dag A phi``, from ``phi = 0, e_i, e_i + e_j, e_i + i e_j``; of all monomials at once."""
    size, fields = int(living(at).sum()), at.monomials.number
    i, j = np.triu_indices(size, 1)
    one = np.eye(size, dtype=np.complex128)
    vectors = np.concatenate([0 * one[:1], one, one[i] + one[j], one[i] + 1j * one[j]]).T
    columns = np.broadcast_to(vectors, (len(x), fields, *vectors.shape))
    values = at.conditional_log_prob(*spread(at, x, columns)).reshape(len(x), -1, fields)
    constant = values[:, 0]
    form = constant[:, None] - values[:, 1:]
    diagonal, real, imaginary = np.split(form, [size, size + len(i)], axis=1)
    both = diagonal[:, i] + diagonal[:, j]
    out = np.zeros((len(x), fields, size, size), np.complex128)
    out[..., np.arange(size), np.arange(size)] = np.moveaxis(diagonal, 1, 2)
    out[..., i, j] = np.moveaxis((real - both) / 2 - 0.5j * (imaginary - both), 1, 2)
    out[..., j, i] = out[..., i, j].conj()
    return out, constant


def can_be_read(subject: Subject) -> bool:
    return any(subject.has(name) for name in (*MAPS, "conditional_log_prob"))


def largest(subject: Subject) -> int:
    """Rows up to which the matrices are read off this target."""
    return LARGEST_ROWS if any(map(subject.has, MAPS)) else LARGEST_PROBED


def readable(subject: Subject) -> Subject | str:
    """The target on a lattice where its conditionals are read off, or why there is none."""
    if not can_be_read(subject):
        return "offers neither a conditional map nor conditional_log_prob, which say what the law of its samples is"
    return small(subject, largest(subject)) or too_large(subject)


def too_large(subject: Subject) -> str:
    size = int(living(subject).sum())
    return f"has {size} components in a monomial, too many for a dense matrix, and cannot be made on a smaller lattice"


def factors(at: Subject, x: NDArray[Any]) -> Complex:
    """F with the covariance ``F F^dag``, by the first of forward map, inverse and log density that is offered."""
    if at.has("conditional_forward"):
        return image(at, x, "conditional_forward")[0]
    if at.has("conditional_inverse"):
        return np.linalg.inv(image(at, x, "conditional_inverse")[0])
    try:
        root = np.linalg.cholesky(probed(at, x)[0])
    except np.linalg.LinAlgError as error:
        raise TargetFault("conditional_log_prob: its quadratic form is not positive") from error
    return np.linalg.inv(root).conj().swapaxes(-1, -2)


@dataclass(frozen=True)
class Covariances:
    """The conditionals of a target at some links, and beside them the densities of the heat bath.

    Parameters
    ----------
    at, x : the target and links. factor : F of every monomial, ``(n, field, rows, rows)``.
    """

    at: Subject
    x: NDArray[Any]
    factor: Complex

    @classmethod
    def of(cls, at: Subject, x: NDArray[Any]) -> Covariances:
        return cls(at, x, factors(at, x))

    @cached_property
    def precisions(self) -> Complex:
        """P of ``S_m = phi^dag P_m phi``, without a regulator, ``(n, field, rows, rows)``."""
        d = fermions_of(self.at).matrix(self.x)
        core = measure.cores(d, self.at.links.shape, self.at.monomials.even_odd)
        return np.stack(measure.kernels(core, self.at.monomials.mus, 0.0), axis=1)

    @cached_property
    def log_determinants(self) -> Array:
        """``log det`` of the covariance of the heat bath, which is ``P^-1``."""
        return -np.asarray(np.linalg.slogdet(self.precisions)[1])

    @cached_property
    def weights(self) -> Array:
        """The eigenvalues w of ``F^dag P F``, from the least on, ``(n, field, rows)``."""
        w = self.factor.conj().swapaxes(-1, -2) @ self.precisions @ self.factor
        return np.asarray(np.linalg.eigvalsh((w + w.conj().swapaxes(-1, -2)) / 2))

    @cached_property
    def variances(self) -> Array:
        """Relative variance of the weight of a draw, ``prod w^2/(2 w - 1) - 1``; infinite unless all w are above 1/2."""
        w = self.weights
        finite = np.where(w > 0.5, w, 1.0)
        return np.where((w > 0.5).all(axis=-1), np.prod(finite**2 / (2 * finite - 1), axis=-1) - 1, np.inf)

    @cached_property
    def condition(self) -> float:
        s = np.linalg.svd(self.factor, compute_uv=False)
        return float((s[..., 0] / np.maximum(s[..., -1], 1e-300)).max())

    def forms(self, phi: Complex) -> Array:
        """``S_m`` of fields, as many of the same links in a row as there are more of, ``(chain, field)``."""
        v = rows(self.at, phi).reshape(len(self.x), -1, *self.precisions.shape[1:3])
        return np.einsum("nkfi,nfij,nkfj->nkf", v.conj(), self.precisions, v).real.reshape(-1, v.shape[2])


def whitened(at: Subject, x: NDArray[Any], phi: Complex) -> tuple[Complex, Array]:
    """``F^-1 phi`` at the links of every field, ``(chain, field, rows)``, and ``log |det F|`` of real numbers, ``(chain, field)``.

    By the inverse, or else by a dense factor.
    """
    if at.has("conditional_inverse"):
        chi, logdet = at.conditional_inverse(x, phi)
        return rows(at, chi), -logdet
    factor = Covariances.of(at, x).factor
    chi = np.linalg.solve(factor, rows(at, phi)[..., None])[..., 0]
    return np.asarray(chi), 2 * np.asarray(np.linalg.slogdet(factor)[1])


def copies(white: Complex) -> int:
    """How many of the fields ``(n, rows)`` of white noise are there before, but for a phase or a conjugate."""
    sizes = np.round(np.abs(white[:, :COMPARED]), 7)
    return len(white) - len(np.unique(sizes, axis=0))


# --- links and what moves them ---------------------------------------------------------------------------------------------
def links(at: Subject, rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Half from near 1 to all over the group, half typical ones."""
    typical = at.links.phase_fields(rng, n - n // 2)
    return np.concatenate([fields_of_all_sizes(at.links, rng, n // 2), typical])


def gauge(at: Subject, rng: np.random.Generator, x: NDArray[Any]) -> tuple[NDArray[Any], Turn]:
    """Links after a random gauge transformation, and what it does to fields."""
    shape = at.links.shape
    if isinstance(at.theory, Matrices):
        g = measure_matrices.random_elements(rng, (len(x), *shape), at.theory.n)
        moved = measure_matrices.gauge_transformed(x, g)
        return moved, lambda phi: np.einsum("ntxab,nftxsb->nftxsa", g, phi)
    w = rng.uniform(-np.pi, np.pi, (len(x), *shape))
    moved = np.stack([x[:, mu] + w - np.roll(w, -1, axis=1 + mu) for mu in (0, 1)], axis=1)
    return measure_angles.angle_difference(moved, np.zeros(1)), lambda phi: phi * np.exp(1j * w)[:, None, :, :, None]


def translated(at: Subject, mu: int, by: int) -> Turn:
    """Fields shifted along mu; in time the slice behind which they change sign stays where it is, and those across it do."""
    antiperiodic = fermions_of(at).antiperiodic

    def moved(phi: Complex) -> Complex:
        out = np.roll(phi, by, axis=2 + mu)
        if mu == 0 and antiperiodic:
            out[:, :, :by] *= -1
        return out

    return moved


def ways(at: Subject, rng: np.random.Generator, x: NDArray[Any]) -> Iterator[tuple[str, Step, Complex]]:
    """The map both ways as far as it is offered, with fields to begin from."""
    for name in MAPS:
        if at.has(name):
            yield name, getattr(at, name), noise(rng, at, x)
