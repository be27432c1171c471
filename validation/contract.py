"""What a target offers, and how the oracle talks to it.

A *target* is any object (module, instance, namespace) that declares its theory, and has any subset of the functions below on
float64 arrays with the chain axis first. The presence of a function is the claim that it works.

============  =================================  ===============================  =======================================
``theory``    parameters, also attributes        fields ``x``, momenta ``v``      action, up to a constant
============  =================================  ===============================  =======================================
``u1``        ``beta, shape = (T, X)``           angles ``(chain, 2, T, X)``      ``beta sum_P (1 - cos theta_P)``
``o2``        ``beta, length``                   angles ``(chain, N)``            ``beta sum (1 - cos(x_{i+1} - x_i))``
``gaussian``  ``covariance, mean`` (0)           ``(chain, D)``                   ``(x - m)^T C^-1 (x - m)/2``
``gmm``       ``weights, means, covariances``    ``(chain, D)``                   ``- log sum_k w_k N(x; m_k, C_k)``
``schwinger`` ``beta, kappa, shape``             as ``u1``                        that of ``u1`` less ``2 log |det D|``
``su2 su3``   ``beta, shape``, ``kappa`` (0)     ``(chain, 2, T, X, N, N)``       ``-(beta/N) sum_P Re tr P - 2 log |det D|``
``phi4``      ``m2, lam, shape``                 ``(chain, T, X)``                ``sum (d phi)^2/2 + m2 phi^2/2 + lam phi^4/24``
============  =================================  ===============================  =======================================

==================  ======================================================================================================
function            meaning
==================  ======================================================================================================
action(x)           the action, ``(chain,)``
force(x)            ``+ d action / dx``, the shape of x
forward(z)          the proposing map, ``z = (x, v) -> ((x', v'), logdet)``
inverse(z)          its inverse, with the logdet of the inverse direction
map_with_weights(params, architecture, z, d)  the generalized leapfrog (its inverse for ``d = -1``) with these weights, for
                    targets that load weight files: ``params`` has the keys of `refimpl.maps.architecture`,
                    ``architecture`` is the record of that name in ``data/vectors/v1/l2hmc/*.json`` with the ``theory``, its
                    ``parameters`` and the ``masks``
transition(x, v, u)  one update with the noise as argument. Returns a mapping with ``x_proposed, v_proposed, logdet, delta_h,
                    accept, x_next``; ``delta_h = H' - H`` without logdet; accept where ``u < exp(logdet - delta_h)``
transcript(x, seed)  one update with the target's own noise: the same mapping, and ``v`` and ``u`` as drawn
                    Where ``pseudofermions = True`` is declared: ``transition(x, v, u, phi)``, and ``phi`` as drawn, see below
step(x, seed)       one update with the target's own noise, opaque: the next x
run(x, n, seed)     n updates: ``(configurations (n, *x.shape), state)``; ``state`` is the target's own
resume(state, n)    n further updates: the same pair
integrated_autocorrelation_time(series)   ``1/2 + sum rho(t)`` of one series ``(step,)``
plaquette(x)        u1: mean of ``cos theta_P``, ``(chain,)``
charge(x)           u1: integer topological charge, ``(chain,)``
sine_charge(x)      u1: ``sum_P sin theta_P / 2 pi``, ``(chain,)``
wilson_loop(x, a, b)  u1: mean cosine of the a (time) by b (space) Wilson loops, ``(chain,)``
correlator(x, t)    phi4: ``(1/T) sum_y P(y + t) P(y)``, ``P(y)`` the mean of time slice y, ``(chain,)``
field_moment(x, k)  phi4: the mean of ``phi^k`` over the lattice, ``(chain,)``
dirac_dense(x)      the Wilson-Dirac matrix, complex ``(chain, n, n)``, rows ``(t, x, spin[, colour])`` flattened
dirac_apply(x, psi)  its product with a spinor field, ``(chain, t, x, spin[, colour])``
logdet_dirac(x)     ``log |det D|``, ``(chain,)``
pseudofermion_action(x, phi)   the sum of the monomials `Monomials` of the attributes ``even_odd`` (False), ``mus`` (()), ``mu_reg``
                    (0), ``(chain,)``; ``phi`` is ``(chain, field, t, x, spin[, colour])``, zero on odd sites where ``even_odd``
pseudofermion_force(x, phi)    its derivative, the shape of ``force``
pseudofermion_heat_bath(x, seed)   fields drawn from ``exp(-pseudofermion_action)``
control_variate(x)  phi4, u1: a function f of mean zero, ``(chain,)``; O - f of the declared ``observable`` varies less than O,
                    by ``improvement_ratio`` in the standard deviation where that is declared: f has its scale and its sign
control_variate_field(x)   the field g of which that is the divergence, ``div g - g . force``, the shape of ``x``
flow_forward(z)     a normalizing flow of the field, no map of ``(x, v)``: ``(x, log |det dx/dz|)``, see below
flow_inverse(x)     ``(z, log |det dz/dx|)``
log_prob(x)         ``log q(x)``, ``(chain,)``, normalised: for ``d phi`` of phi4, ``d theta`` of angles (a uniform q has
                    ``-2 T X log 2 pi``), and Haar measure of volume 1 of SU(N); finite everywhere
sample(n, seed)     ``(x, log q(x))`` of n independent fields; other seeds have others
flow_with_weights(params, architecture, z, d)   the flow (its inverse for ``d = -1``) with these weights, for targets that load
                    files: ``params`` has the keys of ``data/vectors/v1/flows``, ``architecture`` is the record of that name there
prior_log_prob(z)   ``log r(z)`` of where the flow begins, normalised in the same way
conditional_forward(x, chi)   ``(phi, logdet)``, the map of the noise of all monomials to their fields, at links x, see below
conditional_inverse(x, phi)   ``(chi, log |det d chi/d phi|)``
conditional_log_prob(x, phi)   ``log q_m(phi_m | x)``, ``(chain, field)``, normalised for ``d Re phi d Im phi``
conditional_sample(x, seed)   ``(phi, log q)``, independent fields at every x, the latter ``(chain, field)``
conditional_with_weights(params, architecture, x, chi, d)   the layers of one conditional (their inverse for ``d = -1``) with these
                    weights, for targets that load files: keys and record of ``data/vectors/v1/conditionals``, one field in chi
joint_sample(n, seed)   ``(x, phi, log q(x) + sum_m log q_m(phi_m | x))``, n independent ones
pseudomarginal(x, log_w, seed)   one update of chains whose estimates of the weight are ``exp(log_w)``: a mapping with ``x_proposed,
                    log_w_proposed, u, accept, x_next, log_w_next``, see below
pseudomarginal_start(x, seed)   ``log_w``, ``(chain,)``, to begin from, with the law it has at x in equilibrium
determinant_estimate(x, n, seed)   positive estimates ``(chain, n)`` with mean ``det D^2``, whose relative variance is at most
                    that of the Gaussian estimator, ``prod 1/(lam (2 - lam)) - 1`` over the eigenvalues of ``D D^dag``, or the
                    declared ``determinant_variance``
==================  ======================================================================================================

The action of ``phi4`` sums ``(phi(n + mu^) - phi(n))^2/2`` over both directions and every site, so that on an extent of 2 both
bonds count; mass and quartic term stand once per site. Exact samples are by rejection from a free field: where one would take
more than `refimpl.validation.theories.scalar.LONGEST_DRAW` seconds, checks that need them are skipped, with smaller shapes. A
kernel with ``H = S + v.K^-1.v/2`` offers the white momenta ``w = K^(-1/2) v`` in place of ``v``, for which ``H = S + w.w/2``.

Links of ``su2`` and ``su3`` are complex128, ``v`` and the force ``(chain, 2, T, X, N^2 - 1)`` along half the Pauli or Gell-Mann
matrices, ``U -> exp(i eps v_a T_a) U``; plaquettes and loops are of ``Re tr/N``.

The operator is ``(D psi)(y) = psi(y) - kappa sum_mu {(1 - sigma_mu) U_mu(y) psi(y + mu^) + (1 + sigma_mu) U_mu(y - mu^)^dag psi(y -
mu^)}`` with ``sigma_0 = sigma_x`` for time, ``sigma_1 = sigma_y``; hops across the last time slice carry -1 both ways unless
``antiperiodic = False`` is declared. ``phi`` has the covariance of ``D D^dag``, not ``D^dag D``. Linear systems are to be solved to
rounding: a solver that stops at a residual of 1e-10 is seen. (`refimpl.estimators` returns logarithms of estimates.)

With fermions, statistics in equilibrium start from samples by rejection, on small lattices only: where one would take more than
`refimpl.validation.theories.fermions.LONGEST_DRAW` seconds those checks are skipped, with the acceptance and smaller shapes. All
others use pure gauge fields at the same beta, cold, smooth, hot and flux ones, except fields where a singular value of D is below
``LEAST_SINGULAR``.

A control variate declares its ``observable`` by name: ``correlator_T`` or ``phi^K`` of phi4, ``plaquette`` or ``wilson_loop_TxX``
of u1. Optional: ``improvement_ratio``, the claimed ratio of the standard deviations of O and O - f; ``variate_symmetries``, the
moves that leave f alone (``("translation", "parity")`` of phi4, which may add ``"reflection"`` and ``"exchange"``; of u1
``("gauge", "translation", "conjugation")``): a variate that has fewer is valid and says so. With a fitted variate, a target is
judged on configurations of its own, which the fit has not seen. f depends on the configuration alone, and is finite in all.

A flow of phi4, u1, schwinger, su2 or su3 offers any of ``flow_forward, flow_inverse, log_prob, sample, prior_log_prob``; one of
them is enough. The logdet of SU(N) is that of Haar measure: of components along the generators, on either side. Its density
need not be that of the theory, which is where it is used: what is judged is that ``log q`` is the density of the samples, and that
it is normalised. Optional: ``flow_prior``, the name of r (``"normal"``, N(0, 1) on every site, of phi4; ``"uniform"`` of angles;
``"haar"`` of all links; ``"pure_gauge"``, the theory without fermions at ``flow_prior_beta``); ``flow_symmetries``, the moves that
commute with the map and leave q alone (``("translation", "parity", "reflection", "exchange")`` of phi4, ``("gauge", "translation",
"conjugation")`` of links; none by default), translations by ``flow_period`` sites (1; or two numbers, for time and space);
``flow_moves = "plaquettes"`` for a map that leaves links alone which are uniform anyway, but no plaquette; ``flow_updates = True``
where an update (``step``, ``run``, which have no ``(x, v)``) is the Metropolis step with one proposal of ``sample``.

The samples of a call are independent, of each other and of those of another seed, and of one law however many are asked for. What
these checks do not see: noise in single precision (the map and log q are held to float64); errors where the density has a
probability below about one in the number of samples, or at one knot of a spline; that the flow is far from the theory, or leaves
out one of its phases, which is no error of a density; and then, where samples of the two do not overlap, a constant of log q, for
which the skips give the reason. With `sample` alone, or `log_prob` alone, a constant of log q is seen on one side only.

A *joint flow* of a theory with fermions has pseudofermions too: to every monomial of ``even_odd``, ``mus`` (declared as for
`pseudofermion_action`) belongs a conditional density, the image of ``pi^-N exp(-chi^dag chi)`` under a map that is complex
linear at given links. ``chi`` and ``phi`` are ``(chain, field, t, x, spin[, colour])``, N counts the complex components of a
monomial that live (on even sites alone where ``even_odd``, zero on the others before and after); ``logdet``, ``(chain,
field)``, is that of the 2 N real ones, ``2 log |det|`` of the matrix, and depends on the links alone. The ``flow_*`` functions,
`log_prob` and `sample` are those of the links. Optional: ``conditional_symmetries``, the moves of the links that commute with
the map (``("gauge", "translation")``; none by default), translations by ``conditional_period`` sites (1; or two numbers, for
time and space), in time together with the slice behind which fermions change sign; ``conditional_is_exact = True`` where q is
the density of the heat bath.

The weight of links is ``w(x) = exp(-S_g(x)) det M(x)/q(x)``, q that of `log_prob`, S_g the action of the table without
fermions; its estimate ``w-hat`` the product over monomials of averages over ``n_pf`` (1) draws each, ``exp(-S_m(x,
phi))/q_m(phi | x)``, without a regulator and divided by ``pi^N``: the mean is w. ``pseudomarginal_constant`` (0) is added to
``log w`` by a target that has another constant in S_g. The update proposes links of q with a new estimate, and accepts where
``u < exp(log_w_proposed - log_w)``; links that stay keep their estimate, to the bit, and others take the proposed one with
them. In equilibrium an estimate is not one of fresh draws: its law has the density ``w-hat/w`` with respect to them.

``reversal`` says why the proposal may be accepted by ``min(1, exp(logdet - delta_h))``:

- ``"flip"`` (the default; HMC): the inverse is flip, forward, flip, where flip is ``v -> -v``;
- ``"involution"``: the proposal is its own inverse;
- ``"direction"``: a bit ``d = +-1`` drawn per chain applies ``forward`` or ``inverse``. Then ``transition(x, v, u, d)`` has ``d``,
  shape ``(chain,)``, as its fourth argument, and ``transcript`` returns ``d`` too.

``pseudofermions = True`` says that an update draws ``phi`` from ``exp(-sum_m S_m(x, phi_m))``, the monomials being those of
``pseudofermion_action``, keeps it for the trajectory, and has ``H = S_g(x) + sum_m S_m(x, phi_m) + v.v/2``, without a regulator.
Then ``transition(x, v, u, phi)`` has ``phi`` as its fourth argument, and ``transcript`` returns ``phi`` too. The proposal is a map
of ``(x, v)`` for every ``phi``, reversed by a flip or its own inverse; it is that of ``transition``, ``forward`` and ``inverse``
are not called.

Optional attributes: ``name``; ``order`` of the integrator (2; None or 0 for a map without one); ``reversible``, False for an
update that is stationary but does not obey detailed balance, such as a cycle; ``discrete``, True for an update with countably
many outcomes, such as a winding move; ``equivariant``, False for a map that does not commute with the symmetries of the action,
such as one with a dense net; ``expected_failures``, a mapping from check ids to reasons; ``replace(**parameters)``, returning the
same implementation at other parameters of the theory, ``step_size`` or ``n_steps`` (or raising ValueError). Better still, let the
target be a *factory*: a callable that takes these as keyword arguments and returns the object. ``thrift`` (1) divides the sizes of
statistical samples, for slow updates; what is then still seen is told by every check.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from operator import index
from typing import Any

import numpy as np

from .calls import TRANSITION_FIELDS, Array, Calls, Field, PhasePoint
from .conversion import DEADLINE, Misdeclared, TargetError, TargetFault, Timed
from .loading import accepts, made
from .theories import THEORIES, U1, Flavours, Matrices, Monomials, Phi4, Theory, flavours

__all__ = [
    "CAPABILITIES",
    "CONDITIONAL",
    "DEADLINE",
    "DIRECTION",
    "FLIP",
    "FLOW",
    "INVOLUTION",
    "PSEUDOMARGINAL",
    "REVERSALS",
    "TRANSITION_FIELDS",
    "Array",
    "Field",
]
__all__ += ["PhasePoint", "Subject", "TargetError", "TargetFault"]

# What makes a target one of pseudofermion flows: any of these; and one of pseudomarginal chains.
CONDITIONAL = (
    "conditional_forward",
    "conditional_inverse",
    "conditional_log_prob",
    "conditional_sample",
    "conditional_with_weights",
)
PSEUDOMARGINAL = ("pseudomarginal", "pseudomarginal_start")
# What makes a target one of flows: any of these.
FLOW = ("flow_forward", "flow_inverse", "log_prob", "sample", "prior_log_prob", "flow_with_weights")
CAPABILITIES = (
    "action",
    "force",
    "plaquette",
    "charge",
    "sine_charge",
    "wilson_loop",
    "correlator",
    "field_moment",
    "forward",
    "inverse",
    "map_with_weights",
    "transition",
    "transcript",
    "step",
    "run",
    "resume",
    "integrated_autocorrelation_time",
    "dirac_dense",
    "dirac_apply",
    "logdet_dirac",
    "pseudofermion_action",
    "pseudofermion_force",
    "pseudofermion_heat_bath",
    "determinant_estimate",
    "control_variate",
    "control_variate_field",
    *FLOW,
    *CONDITIONAL,
    "joint_sample",
    *PSEUDOMARGINAL,
)
# Of a lattice, or components: some hundred fields of them are in memory at a time.
MOST_SITES = 2**18
FLIP, INVOLUTION, DIRECTION = REVERSALS = ("flip", "involution", "direction")


class Subject(Calls):
    """A target as the checks see it: every call gets copies, has a deadline, and returns checked float64 arrays."""

    def __init__(self, target: Any, *, deadline: float = DEADLINE, parameters: Mapping[str, Any] | None = None) -> None:
        given = dict(parameters or {})
        self._factory: Callable[..., Any] | None = None
        self._given = given
        self._hung: str | None = None
        self.deadline = min(deadline, threading.TIMEOUT_MAX)
        if isinstance(target, Timed):
            target.deadline = self.deadline
        if not hasattr(target, "theory") or isinstance(target, type):
            if not callable(target):
                raise TargetError(
                    f"target: got {target!r}, expected an object with theory and parameters, or a callable that makes one"
                )
            self._factory = target
            target = made(target, given)
        self.target = target
        try:
            self._declarations(given)
            self.capabilities = tuple(name for name in CAPABILITIES if callable(getattr(target, name, None)))
        except TargetError:
            raise
        except Exception as error:  # what is declared may be a property, which runs a stranger's code
            raise TargetError(f"target: reading what it declares raised {type(error).__name__}: {error}") from error

    def _declarations(self, given: Mapping[str, Any]) -> None:
        target = self.target
        if not hasattr(target, "theory"):
            raise TargetError("target: got an object without theory, expected theory and its parameters")
        if target.theory not in THEORIES:
            raise TargetError(f"theory: got {target.theory!r}, expected one of {', '.join(THEORIES)}")
        kind = THEORIES[target.theory]
        if missing := [name for name in kind.required if not hasattr(target, name)]:
            expected = " and ".join(["theory", *kind.required])
            raise TargetError(f"target: got an object without {', '.join(missing)}, expected {expected}")
        values = {name: getattr(target, name, None) for name in kind.parameters}
        try:
            self.theory: Theory = kind.parse(values)
        except ValueError as error:
            raise TargetError(str(error)) from None  # a cause would read as a refusal, see `replace`
        if self.theory.volume > MOST_SITES:
            raise TargetError(f"target: got a theory of {self.theory.volume} sites, expected at most {MOST_SITES}")
        for name, declared in self.theory.declared().items():
            shown = getattr(target, name, declared)
            if name in given and not any(np.array_equal(given[name], value) for value in (shown, declared)):
                raise TargetError(
                    f"{name}: got {given[name]}, but the target declares {declared}; make it a factory to vary it"
                )
        self.name = str(getattr(target, "name", None) or getattr(target, "__name__", None) or type(target).__name__)
        self.order = int(getattr(target, "order", 2) or 0)
        self.reversal = str(getattr(target, "reversal", FLIP))
        if self.reversal not in REVERSALS:
            raise TargetError(f"reversal: got {self.reversal!r}, expected one of {', '.join(REVERSALS)}")
        self.equivariant = bool(getattr(target, "equivariant", True))
        self.reversible = bool(getattr(target, "reversible", True))
        self.discrete = bool(getattr(target, "discrete", False))
        self.pseudofermions = self._has_pseudofermions()
        self.thrift = self.theory.thrift * self._own_thrift()
        self._phi: Field | None = None
        self.expected_failures: Any = getattr(target, "expected_failures", {})  # checked where it is used

    def _own_thrift(self) -> int:
        given = getattr(self.target, "thrift", 1)
        if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 1 <= given <= 4096:
            raise TargetError(f"thrift: got {given!r}, expected an integer from 1 to 4096")
        return int(given)

    def _has_pseudofermions(self) -> bool:
        given = getattr(self.target, "pseudofermions", False)
        if not isinstance(given, bool | np.bool_):
            raise TargetError(f"pseudofermions: got {given!r}, expected True or False")
        if given and (self.flavours is None or self.directed):
            raise TargetError(
                f"pseudofermions: got True for {self.theory.name} with reversal {self.reversal!r}, expected a theory with "
                f"fermions and {FLIP!r} or {INVOLUTION!r}"
            )
        return bool(given)

    def has(self, name: str) -> bool:
        if self.pseudofermions and name in ("forward", "inverse"):
            return False
        return name in self.capabilities

    def bound(self, phi: Field | None) -> Subject:
        """The target with these pseudofermions in every `transition`, a map of ``(x, v)``; itself where there are none."""
        if phi is None:
            return self
        other = copy.copy(self)
        other._phi = phi
        return other

    def repeated(self, n: int) -> Subject:
        """The target for ``n`` batches of the same chains in a row, with the pseudofermions of each, where any are bound."""
        return self.bound(None if self._phi is None else np.concatenate([self._phi] * n))

    @property
    def u1(self) -> U1:
        """The theory, for the checks of U(1) alone."""
        if not isinstance(self.theory, U1):
            raise TypeError(f"theory: got {self.theory.name}, expected u1")
        return self.theory

    @property
    def links(self) -> U1 | Matrices:
        """The theory, for the checks of gauge theories alone."""
        if not isinstance(self.theory, U1 | Matrices):
            raise TypeError(f"theory: got {self.theory.name}, expected a gauge theory")
        return self.theory

    @property
    def scalars(self) -> Phi4:
        """The theory, for the checks of scalar fields alone."""
        if not isinstance(self.theory, Phi4):
            raise TypeError(f"theory: got {self.theory.name}, expected phi4")
        return self.theory

    @property
    def flavours(self) -> Flavours | None:
        """The fermions of the theory, where there are any."""
        return flavours(self.theory)

    @property
    def monomials(self) -> Monomials:
        """Which pseudofermion monomials the target declares; raises `Misdeclared`."""
        try:
            return Monomials.declared(self.target)
        except ValueError as error:
            raise Misdeclared(str(error)) from error
        except Exception as error:  # a property runs a stranger's code
            raise Misdeclared(f"even_odd, mus, mu_reg: reading them raised {type(error).__name__}: {error}") from error

    def declared(self, name: str, default: Any) -> Any:
        """An attribute, or the default where there is none; raises `Misdeclared` where reading it raises."""
        try:
            return getattr(self.target, name, default)
        except Exception as error:  # a property runs a stranger's code
            raise Misdeclared(f"{name}: reading it raised {type(error).__name__}: {error}") from error

    @property
    def determinant_variance(self) -> float | None:
        """The relative variance that the target declares of its estimates, if it does; raises `Misdeclared`."""
        return self._declared_number("determinant_variance", above=False)

    @property
    def improvement_ratio(self) -> float | None:
        """The ratio of standard deviations that the target claims for its variate, if it does; raises `Misdeclared`."""
        return self._declared_number("improvement_ratio", above=True)

    def _declared_number(self, name: str, *, above: bool) -> float | None:
        """A finite number of at least 0, or above it, or None where none is declared."""
        declared = getattr(self.target, name, None)
        if declared is None:
            return None
        try:
            number = float(declared) if np.ndim(declared) == 0 and not isinstance(declared, str | bytes) else np.nan
        except (TypeError, ValueError):
            number = np.nan
        if not 0 <= number < np.inf or (above and number == 0):
            raise Misdeclared(f"{name}: got {declared!r}, expected a finite number {'> 0' if above else '>= 0'}")
        return number

    def spinor_shape(self, x: Field) -> tuple[int, ...]:
        """Of a spinor field: ``(chain, t, x, spin)``, and colour for matrices."""
        return (len(x), *x.shape[2:4], 2, *((x.shape[-1],) if np.iscomplexobj(x) else ()))

    def pseudofermion_shape(self, x: Field) -> tuple[int, ...]:
        """Of the fields of all monomials, ``(chain, field, t, x, spin[, colour])``."""
        chains, *site = self.spinor_shape(x)
        return (chains, self.monomials.number, *site)

    @property
    def n_pf(self) -> int:
        """Of how many draws the target averages an estimate of the weight; raises `Misdeclared`."""
        declared = self.declared("n_pf", 1)
        try:
            number = index(declared)
        except TypeError:
            number = 0
        if number < 1:
            raise Misdeclared(f"n_pf: got {declared!r}, expected an integer >= 1")
        return number

    @property
    def pseudomarginal_constant(self) -> float:
        """What the target has in its log weights besides; raises `Misdeclared`."""
        declared = self.declared("pseudomarginal_constant", 0.0)
        if isinstance(declared, bool) or not isinstance(declared, int | float | np.number) or not np.isfinite(declared):
            raise Misdeclared(f"pseudomarginal_constant: got {declared!r}, expected a finite number")
        return float(declared)

    @property
    def directed(self) -> bool:
        """Whether a direction bit is part of the noise."""
        return self.reversal == DIRECTION

    def replace(self, /, **changes: Any) -> Subject | None:
        """The same implementation at other parameters, or None where the target cannot do that."""
        if {"self", "name"} & changes.keys():
            return None  # of a file: no parameters of anything
        if self._factory is not None:
            if not accepts(self._factory, changes):
                return None
            try:
                other = Subject(self._factory, deadline=self.deadline, parameters={**self._given, **changes})
            except TargetError:
                return None  # it refuses such parameters: a lattice too small for its masks, say
        elif callable(getattr(self.target, "replace", None)):
            try:
                other = Subject(self._call("replace", **changes), deadline=self.deadline)
            except (TargetFault, TargetError) as fault:
                if isinstance(fault.__cause__, ValueError | TypeError):
                    return None  # it refuses such parameters, at once or in what it declares
                raise
        else:
            return None
        declared = other.theory.declared()
        same = all(np.array_equal(declared[name], value) for name, value in changes.items() if name in declared)
        return other if same else None

    def parameter(self, name: str) -> Any:
        """A declared number such as ``step_size``, or None."""
        value = getattr(self.target, name, None)
        return value if isinstance(value, int | float) else None
