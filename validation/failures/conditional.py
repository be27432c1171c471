"""Cases of conditional densities: a linear map of pseudofermions at given links, its logdet and symmetries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import conditional, covariances
from ..contract import Subject
from ..replay import Call
from ..theories import Matrices
from .case import Case, call, expecting, operation

if TYPE_CHECKING:
    from .drawing import Draws

Array = NDArray[Any]
Drawn = tuple[str, Array, Array, float, float]


def _drawn(at: Subject, draw: Draws) -> Drawn:
    """One of the maps, links, a field, and what is allowed of images and of logdets."""
    name, x = draw.one_of([name for name in covariances.MAPS if at.has(name)]), draw.field()
    chi = _field(at, draw, x)
    own = covariances.noise(np.random.default_rng(0), at, x)
    field, log = conditional.tolerances(at, x, getattr(at, name), own)
    return name, x, chi, field * max(1.0, float(np.abs(chi).max())), log


def _field(at: Subject, draw: Draws, x: Array) -> Array:
    """A field that is zero where there is none."""
    chi = draw.spinors(at.pseudofermion_shape(x))
    chi.reshape(*chi.shape[:2], -1)[..., ~covariances.living(at)] = 0
    return chi


def linear(at: Subject, draw: Draws) -> Case | None:
    """The image of ``i chi + z`` is i times that of chi, and that of z; the logdet is one."""
    name, x, chi, field, log = _drawn(at, draw)
    z = _field(at, draw, x)
    arrays = {"x": x, "chi": chi, "z": z, "sum": 1j * chi + z, "i": np.array([1j])}
    size = max(1.0, float(np.abs(z).max()))
    calls = [
        call(name, "x", "chi", keeps=["image", "logdet"]),
        call(name, "x", "z", keeps=["image_z", "logdet_z"]),
        call(name, "x", "sum", keeps=["image_sum", "logdet_sum"]),
        operation("times", "i", "image", keeps="i_image"),
        operation("total", "i_image", "image_z", keeps="sum_of_images"),
        expecting(operation("unchanged", "image_sum"), "sum_of_images", 8 * size * field),
        expecting(operation("unchanged", "logdet_sum"), "logdet", log),
    ]
    return Case(at, arrays, calls)


def round_trip(at: Subject, draw: Draws) -> Case | None:
    """The inverse undoes the map, or the map its inverse, and the logdets add up to nothing."""
    if not all(map(at.has, covariances.MAPS)):
        return None
    name, x, chi, field, log = _drawn(at, draw)
    other = next(each for each in covariances.MAPS if each != name)
    own = covariances.noise(np.random.default_rng(0), at, x)
    field_back, log_back = conditional.tolerances(at, x, getattr(at, other), own)
    allowed = conditional.LARGEST_GAIN**0.5 * (field + field_back * max(1.0, float(np.abs(chi).max())))
    calls = [
        call(name, "x", "chi", keeps=["image", "logdet"]),
        call(other, "x", "image", keeps=["chi_back", "logdet_back"]),
        expecting(operation("unchanged", "chi_back"), "chi", allowed),
        expecting(operation("total", "logdet", "logdet_back"), "zero", log + log_back),
    ]
    return Case(at, {"x": x, "chi": chi, "zero": np.zeros((1, at.monomials.number))}, calls)


def jacobian(at: Subject, draw: Draws) -> Case | None:
    """The logdets of all monomials add up to that of the real matrix of all of them."""
    name, x = draw.one_of([name for name in covariances.MAPS if at.has(name)]), draw.field()
    fields = at.monomials.number
    size = fields * int(covariances.living(at).sum())
    if size > covariances.LARGEST_ROWS:
        return None
    units = np.eye(size, dtype=np.complex128).reshape(1, fields, size // fields, size)
    links, chi = covariances.spread(at, x, np.concatenate([units, 1j * units], axis=3))
    image = covariances.rows(at, getattr(at, name)(links, chi)[0]).reshape(2 * size, size)
    singular = np.linalg.svd(np.concatenate([image.real, image.imag], axis=1), compute_uv=False)
    if not singular[-1] > 0:
        return None
    allowed = 100 * covariances.ROUNDING * size * float(singular[0] / singular[-1])
    start = np.zeros_like(chi[:1])
    calls = [
        call(name, "x", "chi", keeps=["image", "logdet"]),
        call(name, "x_of_all", "units", keeps=["images", "logdets"]),
        operation("log_determinant", "images", keeps="log_determinant"),
        expecting(operation("contracted", "logdet", "one"), "log_determinant", allowed),
    ]
    arrays = {"x": x, "chi": start, "x_of_all": links, "units": chi, "one": np.ones((1, fields))}
    return Case(at, arrays, calls)


def monomials_apart(at: Subject, draw: Draws) -> Case | None:
    """The image of one monomial is what it is where all others are zero."""
    if at.monomials.number == 1:
        return None
    name, x, chi, field, _ = _drawn(at, draw)
    only = np.zeros(chi.shape)
    only[:, draw.integer(0, at.monomials.number - 1)] = 1
    calls = [
        call(name, "x", "chi", keeps=["image", "logdet"]),
        call(name, "x", "chi_alone", keeps=["image_alone", "logdet_alone"]),
        operation("times", "image", "only", keeps="part"),
        operation("times", "image_alone", "only", keeps="part_alone"),
        expecting(operation("unchanged", "part"), "part_alone", field),
    ]
    return Case(at, {"x": x, "chi": chi, "chi_alone": chi * only, "only": only}, calls)


def even_sites(at: Subject, draw: Draws) -> Case | None:
    """Fields that live on even sites are zero on the others."""
    if not at.monomials.even_odd:
        return None
    name, x, chi, _, _ = _drawn(at, draw)
    even = np.zeros(chi.shape)
    even.reshape(*chi.shape[:2], -1)[..., covariances.living(at)] = 1
    calls = [
        call(name, "x", "chi", keeps=["image", "logdet"]),
        operation("times", "image", "even", keeps="image_on_even_sites"),
        expecting(operation("unchanged", "image"), "image_on_even_sites", 0.0),
    ]
    return Case(at, {"x": x, "chi": chi, "even": even}, calls)


# --- symmetries ---------------------------------------------------------------------------------------------------------------
def gauge_equivariance(at: Subject, draw: Draws) -> Case | None:
    """A gauge transformation before the map is the same as after it."""
    if "gauge" not in conditional.declared_symmetries(at)[0]:
        return None
    name, x, chi, field, log = _drawn(at, draw)
    moved, turn = covariances.gauge(at, draw.rng(), x)
    if isinstance(at.theory, Matrices):
        units = np.broadcast_to(np.eye(at.theory.n), (*chi.shape, at.theory.n))
        arrays = {"g": np.stack([turn(np.ascontiguousarray(units[..., k])) for k in range(at.theory.n)], axis=-1)}

        def turned(source: str, target: str) -> list[Call]:
            return [operation("applied", "g", source, keeps=target)]
    else:
        arrays = {"phase": turn(np.ones_like(chi))}

        def turned(source: str, target: str) -> list[Call]:
            return [operation("times", "phase", source, keeps=target)]

    calls = _moved(name, turned("chi", "chi_moved"), turned("image", "image_moved"), 4 * field, 4 * log)
    return Case(at, {"x": x, "chi": chi, "x_moved": moved, **arrays}, calls)


def translation(at: Subject, draw: Draws) -> Case | None:
    """A translation by the declared period before the map is the same as after it."""
    names, periods = conditional.declared_symmetries(at)
    known = [mu for mu in (0, 1) if periods[mu] < at.links.shape[mu] and at.links.shape[mu] % periods[mu] == 0]
    if "translation" not in names or not known:
        return None
    name, x, chi, field, log = _drawn(at, draw)
    mu = draw.one_of(known)
    by = periods[mu]

    def turned(source: str, target: str) -> list[Call]:
        rolled = f"{source}_rolled"
        return [operation("rolled", source, 2 + mu, by, keeps=rolled), operation("times", rolled, "sign", keeps=target)]

    arrays = {"x_moved": np.roll(x, by, axis=2 + mu), "sign": covariances.translated(at, mu, by)(np.ones(chi.shape))}
    calls = _moved(name, turned("chi", "chi_moved"), turned("image", "image_moved"), 4 * field, 4 * log)
    return Case(at, {"x": x, "chi": chi, **arrays}, calls)


def _moved(name: str, before: list[Call], after: list[Call], field: float, log: float) -> list[Call]:
    return [
        call(name, "x", "chi", keeps=["image", "logdet"]),
        *before,
        *after,
        call(name, "x_moved", "chi_moved", keeps=["image_other", "logdet_other"]),
        expecting(operation("unchanged", "image_other"), "image_moved", field),
        expecting(operation("unchanged", "logdet_other"), "logdet", log),
    ]
