"""Two flavours of Wilson fermions on U(1) or SU(N) links in two dimensions: exact samples, and reweighted ones.

The density is that of the pure gauge theory, `u1` or `sun`, times ``det D^2`` with the operator of Abbott 2022, eq. 5,

``(D psi)(y) = psi(y) - kappa sum_mu {(1 - sigma_mu) U_mu(y) psi(y + mu^) + (1 + sigma_mu) U_mu(y - mu^)^dag psi(y - mu^)}``,

``sigma_0 = sigma_x``, ``sigma_1 = sigma_y``, and a sign on the links across the last time slice. It is written out here site by
site and shares no code with what it judges.

Diamagnetic bound: no gauge field has a larger ``|det D|`` than some constant commuting one (Brydges, Froehlich and Seiler 1979).
`largest_log_determinant` says where it sits. The proof is by reflections and takes even extents; for odd ones the bound is only
found numerically, by maximising over all fields of small lattices. So every draw is also compared with it, and one above raises
`ArithmeticError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from . import fermions, sun, u1

Array = NDArray[np.float64]
Matrices = NDArray[np.complex128]
Shape = tuple[int, int]

# Below this acceptance `sample` refuses. The first batch estimates it, the rest are as large as is needed and fits in memory.
LEAST_ACCEPTANCE = 1e-4
_FIRST_BATCH = 256
_LARGEST_BATCH = 10_000
_BATCH_NUMBERS = 2**22
# Rounding of a log determinant: some 1e-13.
_ROUNDING = 1e-9
_MATRIX_BYTES = 2**25

_SIGMA = (np.array([[0, 1], [1, 0]], np.complex128), np.array([[0, -1j], [1j, 0]]))


def dirac_matrix(x: NDArray, kappa: float, antiperiodic: bool = True) -> Matrices:
    """``D`` of every chain, ``(chain, n, n)``, rows and columns ``(t, x, spin, colour)`` flattened.

    Parameters
    ----------
    x : U(1) link angles ``(chain, 2, T, X)`` or SU(N) link matrices ``(chain, 2, T, X, N, N)``. kappa : hopping parameter,
        from 0 to `fermions.LARGEST_KAPPA`.
    antiperiodic : in time, or periodic.
    """
    fermions.check_kappa(kappa)
    if x.ndim not in (4, 6) or x.shape[1] != 2 or (x.ndim == 6) != np.iscomplexobj(x):
        raise ValueError(
            f"x: got {x.dtype} of shape {x.shape}, expected angles (chain, 2, T, X) or matrices (chain, 2, T, X, N, N)"
        )
    links = np.exp(1j * x)[..., None, None] if x.ndim == 4 else x
    chains, _, n_t, n_x, colours, _ = links.shape
    d = np.zeros((chains, n_t, n_x, 2, colours, n_t, n_x, 2, colours), np.complex128)
    for t in range(n_t):
        for s in range(n_x):
            for spin in range(2):
                for colour in range(colours):
                    d[:, t, s, spin, colour, t, s, spin, colour] += 1
            for mu, (t_ahead, s_ahead) in enumerate((((t + 1) % n_t, s), (t, (s + 1) % n_x))):
                u = links[:, mu, t, s]
                if antiperiodic and mu == 0 and t == n_t - 1:
                    u = -u
                forward = np.einsum("st,cab->csatb", np.eye(2) - _SIGMA[mu], u)
                backward = np.einsum("st,cba->csatb", np.eye(2) + _SIGMA[mu], u.conj())
                # On two sites both hops connect the same pair: added, not set.
                d[:, t, s, :, :, t_ahead, s_ahead] -= kappa * forward
                d[:, t_ahead, s_ahead, :, :, t, s] -= kappa * backward
    n = 2 * colours * n_t * n_x
    return d.reshape(chains, n, n)


def log_determinant(
    x: NDArray, kappa: float, antiperiodic: bool = True, done: Callable[[int], object] | None = None
) -> Array:
    """``log |det D|`` of every chain; ``-inf`` where D is singular. ``done``: is told how many chains are ready, as they are."""
    colours = 1 if x.ndim == 4 else x.shape[-1]
    n = 2 * colours * x.shape[2] * x.shape[3]
    step = max(1, _MATRIX_BYTES // (16 * n * n))
    pieces = []
    for k in range(0, len(x), step):
        pieces.append(np.linalg.slogdet(dirac_matrix(x[k : k + step], kappa, antiperiodic))[1])
        if done is not None:
            done(len(pieces[-1]))
    return np.concatenate(pieces)


def largest_log_determinant(kappa: float, shape: Shape, n: int = 1, antiperiodic: bool = True) -> float:
    """The diamagnetic bound on ``log |det D|`` over all U(n) fields, and so over SU(n) ones.

    It is n times the largest free determinant of U(1). At spatial momentum p the free determinant has the factors
    ``A - B cos q``, ``A = 1 - 4 kappa cos p + 8 kappa^2``, ``B = 4 kappa (1 - 2 kappa cos p)``, whose product over the T time
    momenta ``q = (2 pi k + a)/T`` is ``2 (B/2)^T (cosh(T arcosh(A/B)) - cos a)``. For ``kappa <= 1/2``, where B is not negative,
    this is largest at ``a = pi`` for every p, and by symmetry so in the other direction; for even extents and any kappa
    also. Hence the maximum: the constant field that makes fermions antiperiodic in both directions.
    """
    u1._volume(0.0, shape)
    fermions.check_kappa(kappa)
    if not u1._is_integer(n) or n < 1:
        raise ValueError(f"n: got {n!r}, expected an integer >= 1")
    if kappa > 0.5 and (shape[0] % 2 or shape[1] % 2):
        raise ValueError(f"kappa: got {kappa!r}, expected at most 1/2 for the odd extents {tuple(shape)}")
    angles = (0.0 if antiperiodic else math.pi / shape[0], math.pi / shape[1])
    return n * fermions.log_determinant(kappa, shape, angles, antiperiodic=antiperiodic)


def sample(
    rng: np.random.Generator,
    n_samples: int,
    beta: float,
    kappa: float,
    shape: Shape,
    antiperiodic: bool = True,
    n: int = 1,
) -> NDArray:
    """``n_samples`` independent configurations of the theory with fermions, exactly distributed.

    U(1) link angles ``(n_samples, 2, T, X)``, or for ``n`` = 2, 3 SU(n) link matrices ``(n_samples, 2, T, X, n, n)``. See
    `rejection`, which also returns the acceptance.
    """
    return rejection(rng, n_samples, beta, kappa, shape, antiperiodic, n)[0]


def rejection(
    rng: np.random.Generator,
    n_samples: int,
    beta: float,
    kappa: float,
    shape: Shape,
    antiperiodic: bool = True,
    n: int = 1,
) -> tuple[NDArray, float]:
    """`sample`, and the mean acceptance of its draws.

    Exact samples of the pure gauge theory, accepted with ``det D^2`` over its bound. Raises `ValueError` where fewer than
    `LEAST_ACCEPTANCE` of them would be.
    """
    if not u1._is_integer(n_samples) or n_samples < 1:
        raise ValueError(f"n_samples: got {n_samples!r}, expected an integer >= 1")
    bound = largest_log_determinant(kappa, shape, n, antiperiodic)
    kept: list[NDArray] = []
    missing, drawn, total, size = int(n_samples), 0, 0.0, _FIRST_BATCH
    largest = _largest_batch(shape, n)
    while missing > 0:
        x = pure_gauge(rng, size, beta, shape, n)
        log_weight = 2 * (log_determinant(x, kappa, antiperiodic) - bound)
        if log_weight.max() > _ROUNDING:
            raise ArithmeticError(
                f"the diamagnetic bound is violated by {log_weight.max():.3e} at kappa = {kappa}, shape = {tuple(shape)}"
            )
        weight = np.exp(log_weight)
        drawn, total = drawn + size, total + float(weight.sum())
        if total < LEAST_ACCEPTANCE * drawn:
            raise ValueError(
                f"shape: got {tuple(shape)}, where rejection accepts {total / drawn:.1e} of its draws at beta = {beta:g}, kappa = "
                f"{kappa:g}, expected at least {LEAST_ACCEPTANCE:g}; reweight pure gauge samples there, or run a Markov chain"
            )
        accepted = x[rng.random(size) < weight]
        kept.append(accepted[:missing])
        missing -= len(kept[-1])
        size = min(largest, math.ceil(1.1 * missing * drawn / total) + 10)
    return np.concatenate(kept), total / drawn


def reweighted(
    rng: np.random.Generator,
    n_samples: int,
    beta: float,
    kappa: float,
    shape: Shape,
    observables: Mapping[str, Callable[[NDArray], NDArray]],
    antiperiodic: bool = True,
    n: int = 1,
    done: Callable[[int], object] | None = None,
) -> tuple[dict[str, tuple[float, float]], float]:
    """Expectations with fermions from exact pure gauge samples ``x_i`` of weights ``w_i = det D^2``.

    By name ``v = sum_i w_i o(x_i) / sum_i w_i`` and its error ``sqrt(sum_i w_i^2 (o(x_i) - v)^2) / sum_i w_i``; and the effective
    sample size ``(sum w)^2 / sum w^2`` as a fraction of ``n_samples``. The weights are bounded, so all variances exist; the bias of
    the ratio is of the order of the squared error.

    Parameters
    ----------
    observables : by name, functions of links that return an array ``(n,)`` for n configurations. done : is called with how many
    determinants are ready, whenever some are: for those who watch.
    """
    if not u1._is_integer(n_samples) or n_samples < 2:
        raise ValueError(f"n_samples: got {n_samples!r}, expected an integer >= 2")
    bound = largest_log_determinant(kappa, shape, n, antiperiodic)
    log_weights: list[Array] = []
    values: dict[str, list[Array]] = {name: [] for name in observables}
    batch = _largest_batch(shape, n)
    for start in range(0, n_samples, batch):
        x = pure_gauge(rng, min(batch, n_samples - start), beta, shape, n)
        log_weights.append(2 * (log_determinant(x, kappa, antiperiodic, done) - bound))
        for name, observable in observables.items():
            values[name].append(np.asarray(observable(x), dtype=np.float64))
            if values[name][-1].shape != x.shape[:1]:
                raise ValueError(f"observables: {name} has shape {values[name][-1].shape}, expected {x.shape[:1]}")
    log_weight = np.concatenate(log_weights)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    result = {}
    for name, pieces in values.items():
        value = np.concatenate(pieces)
        mean = float(weight @ value)
        result[name] = mean, float(np.sqrt(((weight * (value - mean)) ** 2).sum()))
    return result, float(1 / (weight**2).sum() / n_samples)


def pure_gauge(rng: np.random.Generator, count: int, beta: float, shape: Shape, n: int = 1) -> NDArray:
    """Exact independent samples without fermions: of `u1` for ``n`` = 1, of `sun` otherwise."""
    return u1.sample(rng, count, beta, shape) if n == 1 else sun.sample(rng, count, beta, shape, n)


def _largest_batch(shape: Shape, n: int) -> int:
    """Configurations whose links fit in memory, some 64 MB of SU(n) matrices."""
    return max(1, min(_LARGEST_BATCH, _BATCH_NUMBERS // (2 * shape[0] * shape[1] * n * n)))
