"""The functions of a target, each called on copies of the arrays, within a deadline, its answer checked.

What they mean is said in `refimpl.validation.contract`.
"""

from __future__ import annotations

import copy
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import refimpl

from .conversion import (
    Declined,
    Lost,
    Raised,
    TargetFault,
    Timed,
    checked_array,
    converted,
    kind_of,
    pseudomarginal_record,
    transition_record,
)
from .theories import Matrices, Theory

Array = NDArray[np.float64]
Field = NDArray[Any]  # angles, or links as complex matrices
PhasePoint = tuple[Field, Array]

TRANSITION_FIELDS = ("x_proposed", "v_proposed", "logdet", "delta_h", "accept", "x_next")

# Code of which the author of a target has no use: where an error is told, it is in what called it.
NOT_THEIRS = tuple(Path(str(file)).resolve().parent for file in (__file__, refimpl.__file__, np.__file__))


class Calls:
    """The part of `Subject` that calls the target."""

    target: Any
    theory: Theory
    deadline: float
    pseudofermions: bool
    directed: Any  # bool, a property
    pseudofermion_shape: Any  # a method
    _hung: str | None
    _phi: Field | None

    # --- the capabilities -------------------------------------------------------------------------------------------
    def action(self, x: Field) -> Array:
        return self._per_chain("action", x)

    def force(self, x: Field) -> Array:
        return checked_array("force", self._call("force", x), self._tangent(x))

    def plaquette(self, x: Field) -> Array:
        return self._per_chain("plaquette", x)

    def charge(self, x: Field) -> Array:
        return self._per_chain("charge", x)

    def sine_charge(self, x: Field) -> Array:
        return self._per_chain("sine_charge", x)

    def wilson_loop(self, x: Field, extent_t: int, extent_x: int) -> Array:
        return self._per_chain("wilson_loop", x, extent_t, extent_x)

    def correlator(self, x: Field, t: int) -> Array:
        return self._per_chain("correlator", x, t)

    def field_moment(self, x: Field, k: int) -> Array:
        return self._per_chain("field_moment", x, k)

    def forward(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._map("forward", z)

    def inverse(self, z: PhasePoint) -> tuple[PhasePoint, Array]:
        return self._map("inverse", z)

    def map_with_weights(
        self, params: Mapping[str, Array], architecture: Mapping[str, Any], z: PhasePoint, d: int
    ) -> tuple[PhasePoint, Array]:
        copies = {key: value.copy() for key, value in params.items()}
        return self._map("map_with_weights", z, copies, copy.deepcopy(dict(architecture)), after=(d,))

    def transition(
        self, x: Field, v: Array, u: Array, d: Array | None = None, phi: Field | None = None
    ) -> dict[str, Array]:
        """The direction ``d`` is handed on to a target whose reversal asks for it (+1 where none is given), as ``phi`` is."""
        noise: tuple[Any, ...] = (v, u)
        if self.directed:
            noise = (v, u, np.ones(len(x)) if d is None else d)
        if self.pseudofermions:
            noise = (v, u, self._phi if phi is None else phi)
        result = self._call("transition", x, *noise)
        return transition_record("transition", result, x, self._tangent(x), TRANSITION_FIELDS)

    def transcript(self, x: Field, seed: int) -> dict[str, Array]:
        fields = (*TRANSITION_FIELDS, "v", "u", *(("d",) if self.directed else ()))
        result = self._call("transcript", x, seed)
        record = transition_record("transcript", result, x, self._tangent(x), fields)
        if self.pseudofermions:
            if "phi" not in result:
                raise TargetFault("transcript: got no phi, expected it where pseudofermions = True is declared")
            shape = self.pseudofermion_shape(x)
            record["phi"] = checked_array("transcript: phi", result["phi"], shape, dtype=np.complex128)
        return record

    def step(self, x: Field, seed: int) -> Array:
        return checked_array("step", self._call("step", x, seed), x.shape, dtype=x.dtype)

    def run(self, x: Field, n_steps: int, seed: int) -> tuple[Array, Any]:
        """The configurations may have any number of steps: a check counts them."""
        return self._configurations("run", x, x, n_steps, seed)

    def resume(self, state: Any, n_steps: int, like: Array) -> tuple[Array, Any]:
        """Configurations like this one."""
        return self._configurations("resume", like, state, n_steps)

    def integrated_autocorrelation_time(self, series: Array) -> float:
        result = self._call("integrated_autocorrelation_time", series)
        return float(checked_array("integrated_autocorrelation_time", result, ()))

    def dirac_dense(self, x: Field) -> Field:
        size = 2 * x[0, 0, :, :, 0].size if np.iscomplexobj(x) else 2 * x[0, 0].size
        return self._complex("dirac_dense", (len(x), size, size), x)

    def dirac_apply(self, x: Field, psi: Field) -> Field:
        return self._complex("dirac_apply", psi.shape, x, psi)

    def logdet_dirac(self, x: Field) -> Array:
        return self._per_chain("logdet_dirac", x)

    def pseudofermion_action(self, x: Field, phi: Field) -> Array:
        return self._per_chain("pseudofermion_action", x, phi)

    def pseudofermion_force(self, x: Field, phi: Field) -> Array:
        result = self._call("pseudofermion_force", x, phi)
        return checked_array("pseudofermion_force", result, self._tangent(x))

    def pseudofermion_heat_bath(self, x: Field, seed: int) -> Field:
        return self._complex("pseudofermion_heat_bath", self.pseudofermion_shape(x), x, seed)

    def determinant_estimate(self, x: Field, n: int, seed: int) -> Array:
        return checked_array("determinant_estimate", self._call("determinant_estimate", x, n, seed), (len(x), n))

    def control_variate(self, x: Field) -> Array:
        return self._per_chain("control_variate", x)

    def control_variate_field(self, x: Field) -> Array:
        return checked_array("control_variate_field", self._call("control_variate_field", x), x.shape)

    def flow_forward(self, z: Field) -> tuple[Field, Array]:
        return self._flow("flow_forward", z)

    def flow_inverse(self, x: Field) -> tuple[Field, Array]:
        return self._flow("flow_inverse", x)

    def flow_with_weights(
        self, params: Mapping[str, Array], architecture: Mapping[str, Any], z: Field, d: int
    ) -> tuple[Field, Array]:
        """On the lattice of ``z``."""
        copies = {key: value.copy() for key, value in params.items()}
        x, logdet = self._pair(
            "flow_with_weights", "(field, logdet)", copies, copy.deepcopy(dict(architecture)), z.copy(), d
        )
        field = checked_array("flow_with_weights: field", x, z.shape, dtype=z.dtype)
        return field, checked_array("flow_with_weights: logdet", logdet, (len(z),))

    def log_prob(self, x: Field) -> Array:
        return self._per_chain("log_prob", x)

    def prior_log_prob(self, z: Field) -> Array:
        return self._per_chain("prior_log_prob", z)

    def sample(self, n: int, seed: int) -> tuple[Field, Array]:
        """Fields and their ``log q``."""
        x, log_prob = self._pair("sample", "(x, log_prob)", n, seed)
        return self._fields("sample: x", x, n), checked_array("sample: log_prob", log_prob, (n,))

    # --- joint flows ------------------------------------------------------------------------------------------------
    def conditional_forward(self, x: Field, chi: Field) -> tuple[Field, Array]:
        return self._conditional("conditional_forward", x, chi)

    def conditional_inverse(self, x: Field, phi: Field) -> tuple[Field, Array]:
        return self._conditional("conditional_inverse", x, phi)

    def conditional_with_weights(
        self, params: Mapping[str, Array], architecture: Mapping[str, Any], x: Field, chi: Field, d: int
    ) -> tuple[Field, Array]:
        """On the lattice of ``x``, for the one field of ``chi``."""
        name, copies = "conditional_with_weights", {key: value.copy() for key, value in params.items()}
        arguments = (copies, copy.deepcopy(dict(architecture)), x.copy(), chi.copy(), d)
        image, logdet = self._pair(name, "(field, logdet)", *arguments)
        field = checked_array(f"{name}: field", image, chi.shape, dtype=np.complex128)
        return field, checked_array(f"{name}: logdet", logdet, chi.shape[:2])

    def conditional_log_prob(self, x: Field, phi: Field) -> Array:
        result = self._call("conditional_log_prob", x, phi)
        return checked_array("conditional_log_prob", result, phi.shape[:2])

    def conditional_sample(self, x: Field, seed: int) -> tuple[Field, Array]:
        """Fields of all monomials and their ``log q``, ``(chain, field)``."""
        name, shape = "conditional_sample", self.pseudofermion_shape(x)
        phi, log_prob = self._pair(name, "(phi, log_prob)", x, seed)
        field = checked_array(f"{name}: phi", phi, shape, dtype=np.complex128)
        return field, checked_array(f"{name}: log_prob", log_prob, shape[:2])

    def joint_sample(self, n: int, seed: int) -> tuple[Field, Field, Array]:
        """Links, pseudofermions and their joint ``log q``."""
        result = self._call("joint_sample", n, seed)
        try:
            x, phi, log_prob = result
        except (TypeError, ValueError) as error:
            raise TargetFault(f"joint_sample: got {kind_of(result)}, expected (x, phi, log_prob)") from error
        links = self._fields("joint_sample: x", x, n)
        field = checked_array("joint_sample: phi", phi, self.pseudofermion_shape(links), dtype=np.complex128)
        return links, field, checked_array("joint_sample: log_prob", log_prob, (n,))

    def pseudomarginal(self, x: Field, log_w: Array, seed: int) -> dict[str, Array]:
        result = self._call("pseudomarginal", x, log_w, seed)
        return pseudomarginal_record("pseudomarginal", result, x)

    def pseudomarginal_start(self, x: Field, seed: int) -> Array:
        return self._per_chain("pseudomarginal_start", x, seed)

    # --- calling ----------------------------------------------------------------------------------------------------
    def _conditional(self, name: str, x: Field, phi: Field) -> tuple[Field, Array]:
        image, logdet = self._pair(name, "(field, logdet)", x, phi)
        field = checked_array(f"{name}: field", image, phi.shape, dtype=np.complex128)
        return field, checked_array(f"{name}: logdet", logdet, phi.shape[:2])

    def _per_chain(self, name: str, x: Array, *args: Any) -> Array:
        return checked_array(name, self._call(name, x, *args), (len(x),))

    def _complex(self, name: str, shape: tuple[int, ...], *args: Any) -> Field:
        return checked_array(name, self._call(name, *args), shape, dtype=np.complex128)

    def _tangent(self, x: Field) -> tuple[int, ...]:
        """The shape of forces and momenta of ``x``."""
        return (*x.shape[:4], x.shape[-1] ** 2 - 1) if np.iscomplexobj(x) else x.shape

    def _map(self, name: str, z: PhasePoint, *before: Any, after: tuple[Any, ...] = ()) -> tuple[PhasePoint, Array]:
        result = self._call(name, *before, (z[0].copy(), z[1].copy()), *after)
        try:
            (x, v), logdet = result
        except (TypeError, ValueError) as error:
            raise TargetFault(f"{name}: got {kind_of(result)}, expected ((x, v), logdet)") from error
        image = (
            checked_array(f"{name}: x", x, z[0].shape, dtype=z[0].dtype),
            checked_array(f"{name}: v", v, z[1].shape),
        )
        return image, checked_array(f"{name}: logdet", logdet, z[0].shape[:1])

    def _flow(self, name: str, x: Field) -> tuple[Field, Array]:
        image, logdet = self._pair(name, "(field, logdet)", x)
        return self._fields(f"{name}: field", image, len(x)), checked_array(f"{name}: logdet", logdet, (len(x),))

    def _fields(self, name: str, x: Any, n: int) -> Field:
        kind = np.complex128 if isinstance(self.theory, Matrices) else np.float64
        return checked_array(name, x, (n, *self.theory.field_shape), dtype=kind)

    def _pair(self, name: str, expected: str, *args: Any) -> tuple[Any, Any]:
        result = self._call(name, *args)
        try:
            first, second = result
        except (TypeError, ValueError) as error:
            raise TargetFault(f"{name}: got {kind_of(result)}, expected {expected}") from error
        return first, second

    def _configurations(self, name: str, like: Array, *args: Any) -> tuple[Array, Any]:
        result = self._call(name, *args)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TargetFault(f"{name}: got {kind_of(result)}, expected (configurations, state)")
        configurations = converted(name, result[0], like.dtype)
        if configurations.shape[1:] != like.shape or configurations.ndim != like.ndim + 1:
            expected = ", ".join(map(str, like.shape))
            raise TargetFault(f"{name}: got configurations of shape {configurations.shape}, expected (n, {expected})")
        return configurations, result[1]

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the target on copies of the arrays in a thread of its own, so that one that hangs can be left behind."""
        if isinstance(self.target, Timed):
            return getattr(self.target, name)(*args, **kwargs)
        if self._hung is not None:
            raise Lost(f"not called: {self._hung} did not return before")
        outcome: dict[str, Any] = {}

        def call() -> None:
            try:
                copies = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
                outcome["result"] = getattr(self.target, name)(*copies, **kwargs)
            except BaseException as error:  # noqa: BLE001 (whatever a stranger raises is a finding, not our crash)
                outcome["error"] = error

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(self.deadline)
        if thread.is_alive():
            self._hung = name
            raise Lost(f"{name}: did not return within {self.deadline:g} s (--deadline)")
        if "error" in outcome:
            error = outcome["error"]
            if isinstance(error, Declined):
                raise error
            raise Raised(f"{name}: raised {type(error).__name__}: {str(error)[:300]}{_place(error)}") from error
        return outcome["result"]


def _place(error: BaseException) -> str:
    """`` (file:line)``, the innermost that is not ours or NumPy's; nothing where there is none."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename)
        if not any(file.resolve().is_relative_to(folder) for folder in NOT_THEIRS):
            return f" ({file.name}:{line})"
    return ""
