"""Correlated fits of correlators: ``C(t) = A (exp(-m t) + exp(-m (T - t)))`` (Bedaque 2023, eq. 17).

With means ``y`` of d points and their covariance ``S``, ``chi^2 = r^T S^(-1) r``, ``r = y - C``, is minimised over ``A`` and
``m``. Where ``S`` is estimated from N independent bins it is itself random. For normal data and a model that is linear over the
errors,

- ``chi^2`` at the minimum is Hotelling's T^2 of the ``dof = d - 2`` directions across the model:
  ``(N - dof)/(dof (N - 1)) chi^2`` follows ``F(dof, N - dof)``;
- the covariance of the parameters is ``(J^T S^(-1) J)^(-1)`` times ``nu/(nu - dof) * (nu - 1)/(nu - dof - 1)``, ``nu = N - 1``: the
  first factor undoes the bias of the inverse, the second is the noise of weights taken from the data (Rao 1967).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .lattice import check_integer
from .observables.scalars import three_point_mass

Array = NDArray[np.float64]

DEFAULT_BINS = 100
TOLERANCE = 1e-13  # of the minimiser, relative: well below any statistical error
N_PARAMETERS = 2


@dataclass(frozen=True)
class CoshFit:
    """The result of a fit.

    Attributes
    ----------
    amplitude, mass : the parameters ``A`` and ``m``, m not negative.
    covariance : of ``(A, m)``, array (2, 2), with the finite number of bins taken into account.
    chi2, dof : ``chi^2`` at the minimum, and the number of points less 2.
    p_value : probability of a larger ``chi^2``, from Hotelling's law where the covariance came from bins.
    extent : ``T``. times : the time slices fitted.
    replicas : ``(A, m)`` of fits that leave out one bin each, array (bins, 2); empty where there were no bins.
    """

    amplitude: float
    mass: float
    covariance: Array
    chi2: float
    dof: int
    p_value: float
    extent: int
    times: NDArray[np.int64]
    replicas: Array

    @property
    def amplitude_error(self) -> float:
        """Standard error of ``A`` from the curvature of ``chi^2``."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def mass_error(self) -> float:
        """Standard error of ``m`` from the curvature of ``chi^2``."""
        return float(np.sqrt(self.covariance[1, 1]))

    @property
    def jackknife_errors(self) -> tuple[float, float]:
        """Standard errors of ``A`` and ``m`` from the replicas."""
        return _spread(self.replicas[:, 0]), _spread(self.replicas[:, 1])

    @property
    def chi2_per_dof(self) -> float:
        """``chi^2/dof``."""
        return self.chi2 / self.dof

    @property
    def printed_amplitude(self) -> float:
        """``A exp(-m T)``: the amplitude of the same curve written as ``exp(m t) + exp(m (T - t))``, printed in Table II."""
        return self.amplitude * float(np.exp(-self.mass * self.extent))

    @property
    def printed_amplitude_error(self) -> float:
        """Standard error of `printed_amplitude`, propagated from the covariance."""
        slope = np.exp(-self.mass * self.extent) * np.array([1.0, -self.amplitude * self.extent])
        return float(np.sqrt(slope @ self.covariance @ slope))

    def curve(self, t: ArrayLike) -> Array:
        """``A (exp(-m t) + exp(-m (T - t)))``."""
        return _model(np.array([self.amplitude, self.mass]), np.asarray(t, dtype=np.float64), self.extent)[0]


def cosh_fit(samples: ArrayLike, first: int, last: int | None = None, bins: int | None = None) -> CoshFit:
    """Fit of the mean of correlators ``(n, T)``, one row for a configuration, to the slices ``first`` to ``last``.

    Parameters
    ----------
    samples : array (n, T)
        Rows in the order they were generated; t and T - t are averaged.
    first, last : int
        From 0 to ``T//2``, the default of ``last``; at least three slices.
    bins : int, optional
        Blocks of successive rows, taken as independent: longer than the autocorrelation time, and more than the number of
        slices by 2. All rows by default, or 100 blocks where there are more.
    """
    data = np.asarray(samples, dtype=np.float64)
    if data.ndim != 2 or data.shape[1] < 4 or len(data) < 2:
        raise ValueError(f"samples: got shape {data.shape}, expected (n, T) with n of at least 2 and T of at least 4")
    if not np.all(np.isfinite(data)):
        raise ValueError("samples: got NaN or infinite values, expected finite ones")
    extent = data.shape[1]
    times = _times(first, last, extent)
    n_bins = check_integer("bins", min(len(data), DEFAULT_BINS) if bins is None else bins, 2, len(data))
    if n_bins < len(times) + 2:
        raise ValueError(f"bins: got {n_bins}, expected at least {len(times) + 2} to weigh {len(times)} slices")
    folded = (data[:, times] + data[:, -times % extent]) / 2
    blocks = _blocks(folded, n_bins)
    centre = blocks.mean(axis=0)
    deviations = blocks - centre
    scatter = deviations.T @ deviations
    best, chi2, inverse = _minimum(
        centre, scatter / (n_bins * (n_bins - 1)), times, extent, _start(centre, times, extent)
    )
    replicas = np.empty((n_bins, N_PARAMETERS))
    for row, gap in zip(replicas, deviations, strict=True):
        # Without one bin: means move by its deviation/(N - 1), sums of squares lose N/(N - 1) of its square.
        left_out = scatter - np.outer(gap, gap) * n_bins / (n_bins - 1)
        covariance = left_out / ((n_bins - 1) * (n_bins - 2))
        row[:] = _minimum(centre - gap / (n_bins - 1), covariance, times, extent, best)[0]
    dof, nu = len(times) - N_PARAMETERS, n_bins - 1
    inflation = nu / (nu - dof) * (nu - 1) / (nu - dof - 1)
    from scipy.special import fdtrc

    p_value = float(fdtrc(dof, n_bins - dof, chi2 * (n_bins - dof) / (dof * (n_bins - 1))))
    amplitude, mass = map(float, best)
    return CoshFit(amplitude, mass, inverse * inflation, chi2, dof, p_value, extent, times, replicas)


def cosh_fit_of_means(
    means: ArrayLike, covariance: ArrayLike, extent: int, first: int, last: int | None = None
) -> CoshFit:
    """Fit of means with a known covariance, for the slices ``first`` to ``last``: arrays (d,) and (d, d); no replicas."""
    times = _times(first, last, check_integer("extent", extent, 4))
    y, s = np.asarray(means, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if y.shape != times.shape or s.shape != (*times.shape, *times.shape):
        raise ValueError(
            f"means, covariance: got shapes {y.shape} and {s.shape}, expected those of the {len(times)} slices"
        )
    if not (np.all(np.isfinite(y)) and np.all(np.isfinite(s))):
        raise ValueError("means, covariance: got NaN or infinite values, expected finite ones")
    from scipy.special import chdtrc

    best, chi2, inverse = _minimum(y, s, times, extent, _start(y, times, extent))
    dof = len(times) - N_PARAMETERS
    p_value, (amplitude, mass) = float(chdtrc(dof, chi2)), map(float, best)
    return CoshFit(amplitude, mass, inverse, chi2, dof, p_value, extent, times, np.empty((0, N_PARAMETERS)))


def _times(first: int, last: int | None, extent: int) -> NDArray[np.int64]:
    last = check_integer("last", extent // 2 if last is None else last, 0, extent // 2)
    first = check_integer("first", first, 0, extent // 2)
    if last - first < N_PARAMETERS:
        raise ValueError(f"first, last: got slices {first} to {last}, expected at least {N_PARAMETERS + 1}")
    return np.arange(first, last + 1)


def _blocks(rows: Array, n: int) -> Array:
    """Means of n blocks of successive rows of one length; rows that are over at the start are left out."""
    length = len(rows) // n
    return rows[len(rows) - n * length :].reshape(n, length, -1).mean(axis=1)


def _start(means: Array, times: NDArray[np.int64], extent: int) -> Array:
    """Parameters to start from: a middle effective mass, and the amplitude that meets the first point."""
    masses = three_point_mass(means)
    masses = masses[np.isfinite(masses) & (masses > 0)]
    mass = float(np.median(masses)) if masses.size else 1 / extent
    unit = _model(np.array([1.0, mass]), times, extent)[0]
    return np.array([float(means[0] / unit[0]), mass])


def _model(parameters: Array, t: NDArray, extent: int) -> tuple[Array, Array]:
    """The curve, and its derivatives by ``A`` and ``m`` as columns."""
    amplitude, mass = parameters
    near, far = np.exp(-mass * t), np.exp(-mass * (extent - t))
    return amplitude * (near + far), np.stack([near + far, -amplitude * (t * near + (extent - t) * far)], axis=-1)


def _minimum(
    means: Array, covariance: Array, times: NDArray[np.int64], extent: int, start: Array
) -> tuple[Array, float, Array]:
    """Parameters with m not negative, ``chi^2``, and ``(J^T S^(-1) J)^(-1)``."""
    from scipy.linalg import LinAlgError, cholesky, solve_triangular
    from scipy.optimize import least_squares

    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt(np.diag(covariance))
            root = cholesky(covariance / np.outer(scale, scale), lower=True)
    except (LinAlgError, ValueError):  # ValueError: a slice without fluctuation
        raise ValueError("covariance: not positive definite, expected slices that fluctuate independently") from None
    whitening = solve_triangular(root, np.diag(1 / scale), lower=True)

    def residuals(parameters: Array) -> Array:
        return whitening @ (_model(parameters, times, extent)[0] - means)

    def jacobian(parameters: Array) -> Array:
        return whitening @ _model(parameters, times, extent)[1]

    with np.errstate(over="ignore", invalid="ignore"):
        found = least_squares(
            residuals, start, jacobian, method="lm", x_scale="jac", xtol=TOLERANCE, ftol=TOLERANCE, gtol=TOLERANCE
        )
    if not (found.success and np.all(np.isfinite(found.x))):
        raise ValueError(f"samples: got no minimum from slices of means {means}, expected a correlator that decays")
    amplitude, mass = found.x
    if mass < 0:  # the same curve
        amplitude, mass = amplitude * np.exp(-mass * extent), -mass
    best = np.array([amplitude, mass])
    curvature = jacobian(best)
    parameters_covariance = np.asarray(np.linalg.inv(curvature.T @ curvature), dtype=np.float64)
    return best, float(2 * found.cost), parameters_covariance


def _spread(values: Array) -> float:
    """Jackknife error of a parameter from its replicas; NaN without."""
    n = len(values)
    return float(np.sqrt((n - 1) * np.var(values))) if n else float("nan")
