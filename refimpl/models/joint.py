"""Joint models of links and pseudofermions: ``q(U, phi) = q(U) prod_m q_m(phi_m|U)`` (Abbott 2022, eqs. 20, 39).

The marginal ``q(U)`` is a flow of links; every monomial of the determinant has a conditional of its own. All of them see the
links through one context, whose first part they share (App. B2). The weight is ``log w = -S_g - sum_m S_m - log q(U) -
sum_m log q_m(phi_m|U)`` (40): determinants cancel, up to ``pi^N`` for every monomial.

Fields of all monomials are ``(chain, monomial, t, x, spin[, colour])``, zero on the odd sites where ``even_odd``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..actions import Pseudofermion
from ..actions.determinant import check_fermion_links
from ..actions.pseudofermion import determinant_of
from ..lattice import check_integer, check_number, parity_mask
from ..maps.base import Layer, Params
from ..maps.context import Context
from ..maps.pseudofermion_layer import Given, GivenCotangent
from ..maps.transport import ComplexArray, transport
from .conditional import LOG_PI, Conditional
from .flow import Flow
from .priors import Streams, check_streams

Array = NDArray[np.float64]
Field = NDArray[Any]

MARGINAL, CONTEXT, CONDITIONAL = "marginal", "context", "conditional"


class JointSample(NamedTuple):
    """Links and ``log q(U)``, fields of all monomials and ``log q_m(phi_m|U)`` ``(chain, monomial)``."""

    x: Field
    log_q: Array
    phi: ComplexArray
    log_q_phi: Array


@dataclass(frozen=True, eq=False)
class JointModel:
    """A marginal flow of links, the shared context, and a conditional for every monomial.

    Parameters
    ----------
    marginal : flow of U(1) angles or SU(N) links. context : of all conditionals.
    conditionals : whose monomials telescope to the determinant (`refimpl.actions.hasenbusch` makes such monomials).
    inflation : c, a factor on the pseudofermions, ``phi -> c phi``: wider than trained, weights have lighter tails. One number,
        or one for every monomial: what the one needs is a loss for the others.
    """

    marginal: Flow
    context: Context
    conditionals: tuple[Conditional, ...]
    inflation: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.marginal, Flow):
            raise TypeError(f"marginal: got {self.marginal!r:.60}, expected a Flow")
        if not isinstance(self.context, Context):
            raise TypeError(f"context: got {self.context!r:.60}, expected a Context")
        object.__setattr__(self, "conditionals", tuple(self.conditionals))
        for i, conditional in enumerate(self.conditionals):
            if not isinstance(conditional, Conditional):
                raise TypeError(f"conditionals[{i}]: got {conditional!r:.60}, expected a Conditional")
        self._set_inflation()
        determinant_of(self.monomials)
        seen = (self.context.hidden, self._kernel_size)
        for i, conditional in enumerate(self.conditionals):
            n = conditional.monomial.n
            expected = (2, *conditional.shape, *((n, n) if n > 1 else ()))
            if self.marginal.field_shape != expected:
                raise ValueError(
                    f"conditionals[{i}]: got links {expected}, expected those of the marginal, {self.marginal.field_shape}"
                )
            if (own := (conditional.layers[0].hidden, conditional.layers[0].kernel_size)) != seen:
                raise ValueError(
                    f"conditionals[{i}]: got layers with {own} for (hidden, kernel_size), expected {seen}, as of the context and "
                    "the first conditional"
                )

    @property
    def monomials(self) -> tuple[Pseudofermion, ...]:
        """The targets of the conditionals."""
        return tuple(conditional.monomial for conditional in self.conditionals)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Of the links, without the chain axis."""
        return self.marginal.field_shape

    @property
    def params(self) -> Params:
        """All parameters, under ``marginal/``, ``context/`` and ``conditional/<m>/``."""
        found = {f"{MARGINAL}/{key}": value for key, value in getattr(self.marginal.map, "params", {}).items()}
        found |= {f"{CONTEXT}/{key}": value for key, value in self.context.params.items()}
        for m, conditional in enumerate(self.conditionals):
            found |= {f"{CONDITIONAL}/{m}/{key}": value for key, value in conditional.params.items()}
        return found

    def with_params(self, params: Mapping[str, Array]) -> Self:
        """The same model with other parameters; raises `ValueError` unless there are exactly those of the parts."""
        parts: dict[str, dict[str, Array]] = {}
        for key, value in params.items():
            head, _, own = key.partition("/")
            if head == CONDITIONAL:
                number, _, own = own.partition("/")
                head = f"{CONDITIONAL}/{number}"
            parts.setdefault(head, {})[own] = value
        known = {MARGINAL, CONTEXT, *(f"{CONDITIONAL}/{m}" for m in range(len(self.conditionals)))}
        if unknown := sorted(set(parts) - known):
            raise ValueError(f"params: got keys of {unknown[0]!r}, expected {', '.join(sorted(known))}")
        marginal, own_params = self.marginal, parts.get(MARGINAL, {})
        if hasattr(marginal.map, "with_params"):
            layers: Layer = marginal.map  # type: ignore[assignment]  # a Map with parameters is a Layer
            marginal = replace(marginal, map=layers.with_params(own_params))
        elif own_params:
            raise ValueError(f"params: got {sorted(own_params)[0]!r} of a marginal without parameters")
        conditionals = tuple(
            conditional.with_params(parts.get(f"{CONDITIONAL}/{m}", {}))
            for m, conditional in enumerate(self.conditionals)
        )
        context = self.context.with_params(parts.get(CONTEXT, {}))
        return replace(self, marginal=marginal, context=context, conditionals=conditionals)

    @property
    def inflations(self) -> tuple[float, ...]:
        """The ``inflation`` of every monomial."""
        c = self.inflation
        return c if isinstance(c, tuple) else (c,) * len(self.conditionals)

    def inflated(self, c: float | Sequence[float]) -> Self:
        """The same model with this ``inflation``."""
        return replace(self, inflation=tuple(np.atleast_1d(np.asarray(c, dtype=object))))

    def given(self, x: Field) -> Given:
        """What the layers know of links ``x``, which are taken as checked."""
        return Given.of(transport(x, antiperiodic=self._antiperiodic), self.context.apply(x), self._kernel_size)

    def given_with_pullback(self, x: Field) -> tuple[Given, Callable[[GivenCotangent], tuple[Array, Params]]]:
        """As `given`, and the pullback to the links (in the shape of the force) and the context's parameters."""
        moved = transport(x, antiperiodic=self._antiperiodic)
        hidden, pull_hidden = self.context.apply_with_pullback(x)

        def pull(g: GivenCotangent) -> tuple[Array, Params]:
            g_x, grads = pull_hidden(g.hidden(moved.shape, self._kernel_size))
            return g_x + moved.pullback(g.u), grads

        return Given.of(moved, hidden, self._kernel_size), pull

    def dense(self, x: Field) -> list[tuple[ComplexArray, Array]]:
        """``c Dt`` ``(chain, n, n)`` and its logdet ``(chain,)``, of every monomial."""
        given = self.given(self._checked(x))
        return [self._inflated(m, *conditional.dense(given)) for m, conditional in enumerate(self.conditionals)]

    def forward(self, x: Field, chi: ComplexArray, repeats: int = 1) -> tuple[ComplexArray, Array]:
        """``phi_m = c Dt_m chi_m`` and logdets ``(chain, monomial)``, for links ``x`` and fields of all monomials.

        ``repeats`` : as many fields in a row have the same links, of which ``x`` has one each: the layers see these once.
        """
        return self._mapped(x, chi, repeats, inverse=False)

    def inverse(self, x: Field, phi: ComplexArray, repeats: int = 1) -> tuple[ComplexArray, Array]:
        """``chi`` and the logdets of the inverse; ``repeats`` as in `forward`."""
        return self._mapped(x, phi, repeats, inverse=True)

    def sample(self, rngs: Streams, n: int) -> JointSample:
        """``n`` independent draws; ``rngs`` is one Generator, or one for each draw."""
        x, log_q = self.marginal.sample(rngs, n)
        chi = self.noise(rngs, n)
        phi, logdet = self.forward(x, chi)
        return JointSample(x, log_q, phi, self._log_base(chi) - logdet)

    def noise(self, rngs: Streams, n: int) -> ComplexArray:
        """``chi`` of all monomials, with density ``pi^-N exp(-chi^dag chi)`` each."""
        check_streams(rngs, n)
        each: Sequence[np.random.Generator] = [rngs] * n if isinstance(rngs, np.random.Generator) else rngs
        return np.stack([monomial.noise(each, self.conditionals[0].shape) for monomial in self.monomials], axis=1)

    def log_prob(self, x: Field, phi: ComplexArray) -> tuple[Array, Array]:
        """``log q(U)`` ``(chain,)`` and ``log q_m(phi_m|U)`` ``(chain, monomial)``, by the inverses."""
        conditional = self.conditional_log_prob(x, phi)
        return self.marginal.log_prob(x), conditional

    def conditional_log_prob(self, x: Field, phi: ComplexArray, repeats: int = 1) -> Array:
        """``log q_m(phi_m|U)`` alone; ``repeats`` as in `forward`."""
        chi, logdet = self.inverse(x, phi, repeats)
        return self._log_base(chi) + logdet

    def _mapped(self, x: Field, fields: ComplexArray, repeats: int, *, inverse: bool) -> tuple[ComplexArray, Array]:
        x, repeats = self._checked(x), check_integer("repeats", repeats, 1)
        first = self.conditionals[0]
        n = first.monomial.n
        expected = (repeats * len(x), len(self.conditionals), *first.shape, 2, *((n,) if n > 1 else ()))
        fields = np.asarray(fields)
        if fields.dtype != np.complex128 or fields.shape != expected:
            raise ValueError(f"fields: got {fields.dtype} of shape {fields.shape}, expected complex128 of {expected}")
        if not np.isfinite(fields).all():
            raise ValueError(f"fields: got {fields[~np.isfinite(fields)][0]}, expected finite numbers")
        if first.monomial.even_odd and fields[:, :, ~parity_mask(first.shape)].any():
            raise ValueError(
                "fields: got some that are not zero on the odd sites, expected zeros there (even_odd = True)"
            )
        given, out, logdets = self.given(x), np.empty(fields.shape, np.complex128), []
        for m, conditional in enumerate(self.conditionals):
            psi = conditional.rows_of(fields[:, m]).reshape(len(x), repeats, -1).swapaxes(1, 2)
            if inverse:
                psi, logdet = conditional.inverse_columns(given, psi / self.inflations[m])
                logdet = logdet - self._log_inflation(m)
            else:
                psi, logdet = self._inflated(m, *conditional.columns(given, psi))
            out[:, m] = conditional.spinors_of(psi.swapaxes(1, 2).reshape(len(fields), -1, 1))
            logdets.append(np.repeat(logdet, repeats))
        return out, np.stack(logdets, axis=1)

    def _inflated(self, m: int, psi: ComplexArray, logdet: Array) -> tuple[ComplexArray, Array]:
        return self.inflations[m] * psi, logdet + self._log_inflation(m)

    def _log_inflation(self, m: int) -> float:
        """``2 N log c``."""
        return float(2 * self.conditionals[m].rows * np.log(self.inflations[m]))

    def _set_inflation(self) -> None:
        """One number wherever it is the same for all monomials."""
        given, n = self.inflation, len(self.conditionals)
        each = tuple(
            check_number("inflation", c, 0, above=True) for c in (given if isinstance(given, tuple) else (given,))
        )
        if len(each) not in (1, n):
            expected = "1" if n == 1 else f"1 or {n}, one for each monomial"
            raise ValueError(f"inflation: got {len(each)} numbers, expected {expected}")
        object.__setattr__(self, "inflation", each if len(set(each)) > 1 else each[0])

    def _log_base(self, chi: ComplexArray) -> Array:
        """``-N log pi - chi^dag chi``, ``(chain, monomial)``."""
        squares = (chi.real**2 + chi.imag**2).reshape(*chi.shape[:2], -1).sum(axis=2)
        return -self.conditionals[0].rows * LOG_PI - squares

    @property
    def _kernel_size(self) -> int:
        return self.conditionals[0].layers[0].kernel_size

    @property
    def _antiperiodic(self) -> bool:
        return self.monomials[0].antiperiodic

    def _checked(self, x: Field) -> Field:
        x = check_fermion_links(x, self.monomials[0].n)
        if x.shape[1:] != self.field_shape:
            raise ValueError(f"x: got links {x.shape[1:]}, expected {self.field_shape}")
        return x
