"""Hypothesis strategies of what belongs to a field: momenta, spinors, pseudofermions, the noise of an update."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from .lattices import Array, checked_integer, checked_size

Complex = NDArray[np.complex128]

_BELOW_ONE = float(np.nextafter(1, 0))
_UNIFORM = st.sampled_from([0.0, 0.5, 1e-9, _BELOW_ONE]) | st.floats(0, 1, exclude_max=True)


def momenta(x: NDArray[Any], largest: float = 6.0) -> st.SearchStrategy[Array]:
    """Momenta of a field: of its shape, or ``(chain, 2, T, X, N^2 - 1)`` for links of SU(N), of at most ``largest`` in size.

    Zero but for some, which are simple numbers or any floats. Shrinks to zero but for as few as possible, often one.
    """
    field = np.asarray(x)
    if field.ndim < 2:
        raise ValueError(f"x: got shape {field.shape}, expected a field with the chain axis first")
    shape = (*_links(field).shape[:4], field.shape[-1] ** 2 - 1) if np.iscomplexobj(field) else field.shape
    size = checked_size("largest", largest)
    simple = st.sampled_from([value for value in (0.0, 1.0, -1.0, 0.5, -2.0) if abs(value) <= size])
    return arrays(np.float64, shape, elements=simple | st.floats(-size, size), fill=st.just(0.0))


def noises(x: NDArray[Any], directed: bool = False) -> st.SearchStrategy[tuple[Array, ...]]:
    """What one update of a field draws, to be handed to ``transition(x, *noise)``: ``(v, u)``, or ``(v, u, d)`` if directed.

    The momenta ``v`` are those of `momenta`; ``u``, one per chain, is in [0, 1), its ends and 1/2 common; ``d`` is 1 or -1.
    Shrinks to momenta of zero, ``u = 0``, which accepts everything, and ``d = 1``.
    """
    if not isinstance(directed, bool):
        raise ValueError(f"directed: got {directed!r}, expected True or False")
    chains = len(np.asarray(x))
    u = arrays(np.float64, chains, elements=_UNIFORM, fill=st.just(0.0))
    d = arrays(np.float64, chains, elements=st.sampled_from([1.0, -1.0]), fill=st.just(1.0))
    return st.tuples(momenta(x), u, d) if directed else st.tuples(momenta(x), u)


def spinors(x: NDArray[Any], largest: float = 10.0) -> st.SearchStrategy[Complex]:
    """Spinor fields ``(chain, t, x, spin[, colour])`` on these links, zero but for some components, of at most ``largest``.

    Shrinks to zero but for as few components as possible, each a simple number, real if that will do.
    """
    shape = _spinor_shape(x)
    return arrays(np.complex128, shape, elements=_components(largest), fill=st.just(0j))


def pseudofermions(
    x: NDArray[Any], fields: int = 1, even_odd: bool = False, largest: float = 10.0
) -> st.SearchStrategy[Complex]:
    """Pseudofermion fields ``(chain, field, t, x, spin[, colour])`` on these links; if ``even_odd``, zero on odd sites.

    Components as of `spinors`. Shrinks to zero but for as few components as possible.
    """
    chains, *site = _spinor_shape(x)
    shape = (chains, checked_integer("fields", fields, 1), *site)
    drawn = arrays(np.complex128, shape, elements=_components(largest), fill=st.just(0j))
    t, s = np.indices(shape[2:4])
    even = ((t + s) % 2 == 0).reshape(1, 1, *shape[2:4], *(1,) * (len(shape) - 4))
    return drawn.map(lambda phi: phi * even) if even_odd else drawn


def _spinor_shape(x: NDArray[Any]) -> tuple[int, ...]:
    links = _links(np.asarray(x))
    return (len(links), *links.shape[2:4], 2, *links.shape[5:])


def _links(x: NDArray[Any]) -> NDArray[Any]:
    square = x.ndim == 6 and x.shape[-1] == x.shape[-2]
    if not (square if np.iscomplexobj(x) else x.ndim == 4) or x.shape[1] != 2:
        raise ValueError(
            f"x: got {x.dtype} of shape {x.shape}, expected links (chain, 2, T, X), or (chain, 2, T, X, N, N)"
        )
    return x


def _components(largest: float) -> st.SearchStrategy[complex]:
    size = checked_size("largest", largest)
    simple = [value for value in (0j, 1 + 0j, -1 + 0j, 1j, -1j, 0.5 + 0.5j) if abs(value) <= size]
    return st.sampled_from(simple) | st.complex_numbers(max_magnitude=size, allow_nan=False)
