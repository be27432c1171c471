"""Disjoint groups of plaquettes of two-dimensional U(1): what one can average over, and sums over groups on all translations.

Plaquettes of 2D U(1) are exchangeable: independent but for their sum. A Wilson loop of area A has the mean of ``Re
prod exp(i x_P)`` over any A different plaquettes, and where these are shared out among disjoint groups, each group
may be handled on its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....lattice import check_integer, check_shape, site_sum
from .stein import Loop, enclosed

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Sites = tuple[tuple[int, int], ...]

ENOUGH = 4  # groups: the larger, the more one variate does; the more of them, the more their product does
FEW = 128  # configurations that are worked on at a time


@dataclass(frozen=True)
class Grouping:
    """How the plaquettes of a lattice are shared out.

    Parameters
    ----------
    n_groups : int, a divisor of the enclosed area; by default the smallest that is at least `ENOUGH`, or the area where it is less.
    size : int, plaquettes in a group; by default as many as fit.
    partitions : int. Estimators are averaged over so many random partitions, each of them on all translations of the lattice.
    seed : int, of the partitions.
    members : the groups themselves, ``((t, x), ...)`` each, in place of everything above.
    """

    n_groups: int | None = None
    size: int | None = None
    partitions: int = 1
    seed: int = 0
    members: tuple[Sites, ...] | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_groups", 1), ("size", 2)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), least)
        check_integer("partitions", self.partitions, 1)
        check_integer("seed", self.seed, 0)

    def masks(self, shape: tuple[int, int], area: int) -> Array:
        """1 on the plaquettes of a group, 0 elsewhere: ``(partition, group, T, X)``.

        Raises `ValueError` for groups that overlap or differ in size, that do not divide the area, or that do not fit.
        """
        shape = check_shape(shape)
        masks = self._random_masks(shape, area) if self.members is None else _masks_of(self.members, shape)
        check_masks(masks, area)
        return masks

    def _random_masks(self, shape: tuple[int, int], area: int) -> Array:
        volume = math.prod(shape)
        n_groups = self.n_groups or min((d for d in range(ENOUGH, area + 1) if area % d == 0), default=area)
        size = volume // n_groups if self.size is None else self.size
        if n_groups * size > volume or size < 2:
            raise ValueError(
                f"size: got {n_groups} groups of {size} plaquettes, expected groups of at least 2 that fit on {volume}"
            )
        # All of the lattice in one group is one partition, whatever the order.
        rng, masks = np.random.default_rng(self.seed), []
        for _ in range(1 if size == volume else self.partitions):
            chosen = rng.permutation(volume)[: n_groups * size].reshape(n_groups, size)
            mask = np.zeros((n_groups, volume))
            np.put_along_axis(mask, chosen, 1.0, axis=1)
            masks.append(mask.reshape(n_groups, *shape))
        return np.array(masks)


def check_masks(masks: Array, area: int) -> None:
    """Raises `ValueError` unless the groups of every partition are disjoint, of one size, and divide the area."""
    if masks.ndim != 4 or not np.isin(masks, (0.0, 1.0)).all():
        raise ValueError(
            f"groups: got an array of shape {masks.shape}, expected zeros and ones (partition, group, T, X)"
        )
    shared = np.argwhere(masks.sum(axis=1) > 1)
    if len(shared):
        site = tuple(map(int, shared[0][1:]))
        raise ValueError(
            f"groups: got plaquette {site} in more than one group, expected disjoint groups: no product is unbiased else"
        )
    sizes = set(masks.sum(axis=(2, 3)).ravel().astype(int).tolist())
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"groups: got sizes {sorted(sizes)}, expected one size of at least 2")
    n_groups = masks.shape[1]
    if area % n_groups or area // n_groups > min(sizes):
        raise ValueError(
            f"groups: got {n_groups} of {min(sizes)} for an area of {area}, expected a divisor of it, and room for the loop"
        )


def check_recorded(masks: Array, observable: Loop) -> None:
    """`check_masks` of an array from a file."""
    if masks.ndim != 4:
        raise ValueError(f"groups: got an array of shape {masks.shape}, expected (partition, group, T, X)")
    check_masks(masks, enclosed(observable, check_shape(masks.shape[2:])))


def _masks_of(members: tuple[Sites, ...], shape: tuple[int, int]) -> Array:
    masks = np.zeros((1, len(members), *shape))
    for g, sites in enumerate(members):
        for site in sites:
            if len(site) != 2 or not all(0 <= i < extent for i, extent in zip(site, shape, strict=True)):
                raise ValueError(f"members: got plaquette {site!r}, expected (t, x) on a lattice of shape {shape}")
            masks[(0, g, *site)] += 1
    if masks.size and masks.max() > 1:
        raise ValueError("members: got a plaquette twice in one group, expected different ones")
    return masks


def spread(masks: Array) -> bool:
    """Whether translations change the groups: not where one group holds the whole lattice."""
    return not bool(masks.all())


def group_sums(field: NDArray[Any], masks: Array) -> NDArray[Any]:
    """Sums of ``(chain, T, X)`` over every group on every translation of it, ``(chain, partition, group, T, X)``.

    ``out[.., n] = sum_m mask[m] field[n + m]``, by Fourier transforms; ``(chain, 1, 1, 1, 1)`` where one group is the
    whole lattice.
    """
    from scipy import fft

    if not spread(masks):
        return site_sum(field)[:, None, None, None, None]
    modes = fft.fft2(field)[:, None, None] * np.conj(fft.fft2(masks))
    sums = fft.ifft2(modes, overwrite_x=True)
    return sums if np.iscomplexobj(field) else sums.real


def few_at_a_time(x: Array) -> Iterator[tuple[slice, Array]]:
    """Slices of the chains that fit into the caches, and the fields of each."""
    for i in range(0, len(x), FEW):
        part = slice(i, i + FEW)
        yield part, x[part]
