"""What the functions of a target take and return, letter by letter, and the translation of each letter; see `conventions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .conversion import TargetFault, kind_of
from .conversion import converted as array_of
from .theories import Matrices, Theory

if TYPE_CHECKING:
    from .conventions import Convention

Code = str | tuple[Any, ...] | dict[str, Any]

AXES = ("chain", "mu", "t", "x", "a", "b")

# x a field, z a point (x, v), v momenta, n a number per chain, s a seed, r a state of the target, p a spinor field or a matrix of
# them, "." anything else as it is; in answers also F a force, g another tangent vector, S an action, Q a charge, L a logdet, X the
# configurations of a run.
_POINT: Code = (("x", "v"), "L")
_FLOW: Code = ("x", "L")
_RECORD: Code = {
    **dict.fromkeys(("x_proposed", "x_next"), "x"),
    **dict.fromkeys(("v_proposed", "v"), "v"),
    "logdet": "L",
    **dict.fromkeys(("delta_h", "accept", "u", "d"), "n"),
    **dict.fromkeys(("log_w_proposed", "log_w_next"), "n"),
    "phi": "p",
}
CALLS: dict[str, tuple[str, Code]] = {
    "action": ("x", "S"),
    "force": ("x", "F"),
    "plaquette": ("x", "n"),
    "charge": ("x", "Q"),
    "sine_charge": ("x", "Q"),
    "wilson_loop": ("x..", "n"),
    "correlator": ("x.", "n"),
    "field_moment": ("x.", "n"),
    "forward": ("z", _POINT),
    "inverse": ("z", _POINT),
    "map_with_weights": ("..z.", _POINT),
    "transition": ("xvn", _RECORD),  # and d or phi
    "transcript": ("xs", _RECORD),
    "step": ("xs", "x"),
    "run": ("x.s", ("X", ".")),
    "resume": ("r.", ("X", ".")),
    "dirac_dense": ("x", "p"),
    "dirac_apply": ("xp", "p"),
    "logdet_dirac": ("x", "n"),
    "pseudofermion_action": ("xp", "n"),
    "pseudofermion_force": ("xp", "D"),
    "pseudofermion_heat_bath": ("xs", "p"),
    "determinant_estimate": ("x.s", "n"),
    "control_variate": ("x", "n"),
    "control_variate_field": ("x", "g"),
    "flow_forward": ("x", _FLOW),
    "flow_inverse": ("x", _FLOW),
    "flow_with_weights": ("..x.", _FLOW),
    "log_prob": ("x", "n"),
    "prior_log_prob": ("x", "n"),
    "sample": ("..", ("x", "n")),
    "conditional_forward": ("xp", ("p", "L")),
    "conditional_inverse": ("xp", ("p", "L")),
    "conditional_log_prob": ("xp", "n"),
    "conditional_sample": ("xs", ("p", "n")),
    "conditional_with_weights": ("..xp.", ("p", "L")),
    "joint_sample": ("..", ("x", "p", "n")),
    "pseudomarginal": ("xns", _RECORD),
    "pseudomarginal_start": ("xs", "n"),
}


def has_spinors(asked: str, answer: Code) -> bool:
    """Whether a call hands spinor fields to or fro."""
    return "p" in asked or "p" in (answer if isinstance(answer, tuple | str) else ())


class Layout:
    """Fields, momenta and answers of one theory, into the conventions of a target and back."""

    def __init__(self, theory: Theory, convention: Convention) -> None:
        self.convention = convention
        rank = len(theory.field_shape)
        self.matrices, self.axes = isinstance(theory, Matrices), axes_of(theory)
        self.theirs = _ordered(self.axes, convention.axes)
        self.batched = "chain" in self.theirs
        if not self.batched:
            self.theirs = ("chain", *self.theirs)
        beta = float(getattr(theory, "beta", 1.0)) if convention.per_beta else 1.0
        self.action = convention.action / beta
        self.force = convention.force * convention.generators / beta
        self.sign = np.sign(convention.force) * convention.generators
        self.rank = rank

    @property
    def reversed(self) -> bool:
        """Whether space comes before time."""
        return "x" in self.theirs and self.theirs.index("x") < self.theirs.index("t")

    # --- to the target ------------------------------------------------------------------------------------------------
    def inward(self, code: str, value: Any) -> Any:
        if code == "z":
            return self.inward("x", value[0]), self.inward("v", value[1])
        if code == "x":
            angles = self.convention.angles
            if angles == "phases":
                value = np.exp(1j * value)
            elif angles != "any":
                value = _positive(value)
            return self._arranged(value, self.axes, self.theirs)
        if code == "v":
            return self.convention.momenta * self._arranged(value, *map(self._tangent, (self.axes, self.theirs)))
        return value

    def of_chain(self, code: str, value: Any, k: int) -> Any:
        """The part of one chain; every chain has a seed of its own."""
        if code == "z":
            return value[0][k], value[1][k]
        if code == "s":
            return int(np.random.SeedSequence([value, k]).generate_state(1)[0])
        if code == "n":
            return float(value[k])
        return value[k] if code in "xvr" else value

    # --- from the target ----------------------------------------------------------------------------------------------
    def stacked(self, name: str, code: Code, answers: Sequence[Any]) -> Any:
        """What it answered for each chain, as it would have for all of them."""
        if isinstance(code, tuple):
            pairs = [_tuple(name, answer, len(code)) for answer in answers]
            return tuple(self.stacked(name, part, [p[i] for p in pairs]) for i, part in enumerate(code))
        if isinstance(code, dict):
            records = [_mapping(name, answer) for answer in answers]
            keys = [key for key in records[0] if all(key in record for record in records)]
            return {key: self.stacked(name, code.get(key, "."), [r[key] for r in records]) for key in keys}
        if code == ".":
            return list(answers)
        arrays = [array_of(name, answer, self._dtype(code)) for answer in answers]
        if len({array.shape for array in arrays}) != 1:
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise TargetFault(
                f"{name}: got answers of shapes {shapes[:200]} for single chains, expected the same for all"
            )
        return np.stack(arrays, axis=1 if code == "X" else 0)

    def outward(self, name: str, code: Code, answer: Any) -> Any:
        if isinstance(code, tuple):
            return tuple(
                self.outward(name, part, one) for part, one in zip(code, _tuple(name, answer, len(code)), strict=True)
            )
        if isinstance(code, dict):
            record = _mapping(name, answer)
            return {key: self.outward(f"{name}: {key}", code.get(key, "."), value) for key, value in record.items()}
        if code in ".np":
            return answer
        array = array_of(name, answer, self._dtype(code))
        if code in "xX":
            array = self._back(name, array, self.axes, self.theirs, code == "X")
            angles = self.convention.angles
            return np.angle(array) if angles == "phases" else _signed(array) if angles != "any" else array
        if code in "FDgv":
            array = self._back(name, array, self._tangent(self.axes), self._tangent(self.theirs))
            return array / {"F": self.force, "D": self.sign, "g": 1.0, "v": self.convention.momenta}[code]
        return (
            array / self.action
            if code == "S"
            else array * {"Q": self.convention.orientation, "L": self.convention.logdet}[code]
        )

    def _dtype(self, code: str) -> Any:
        complex_fields = self.matrices or self.convention.angles == "phases"
        return np.complex128 if code in "xX" and complex_fields else np.float64

    def _tangent(self, axes: tuple[str, ...]) -> tuple[str, ...]:
        """Momenta and forces of matrices have one axis, the components, in place of both of the matrix."""
        return tuple(name for name in axes if name != "b")

    def _arranged(self, value: NDArray[Any], ours: tuple[str, ...], theirs: tuple[str, ...]) -> NDArray[Any]:
        if self.convention.directions == "xt":
            value = np.flip(value, ours.index("mu"))
        return np.ascontiguousarray(np.transpose(value, [ours.index(name) for name in theirs]))

    def _back(
        self, name: str, array: NDArray[Any], ours: tuple[str, ...], theirs: tuple[str, ...], steps: bool = False
    ) -> NDArray[Any]:
        ours, theirs = (("step", *ours), ("step", *theirs)) if steps else (ours, theirs)
        if array.ndim != len(theirs):
            raise TargetFault(f"{name}: got shape {array.shape}, expected axes {', '.join(theirs)}")
        array = np.transpose(array, [theirs.index(axis) for axis in ours])
        return np.flip(array, ours.index("mu")) if self.convention.directions == "xt" else array


def axes_of(theory: Theory) -> tuple[str, ...]:
    """Those of a field; the only one of a chain of sites, or of components, is ``t``."""
    inner = {5: AXES[1:], 3: AXES[1:4], 2: AXES[2:4], 1: AXES[2:3]}[len(theory.field_shape)]
    return ("chain", *inner)


def _ordered(ours: tuple[str, ...], axes: str) -> tuple[str, ...]:
    """Names of ``axes`` that there are, then those of matrices; raises `ValueError` where others are not named."""
    if not axes:
        return ours
    named = tuple(name for name in axes.split() if name in ours)
    last = tuple(name for name in ("a", "b") if name in ours and name not in named)
    if missing := [name for name in ours if name not in (*named, *last, "chain")]:
        raise ValueError(f"axes: got {axes!r}, expected also {', '.join(missing)}")
    return (*named, *last)


def _positive(angles: NDArray[Any]) -> NDArray[Any]:
    """In [0, 2 pi): the remainder of a tiny negative angle is 2 pi itself, which is 0."""
    turned = np.remainder(angles, 2 * np.pi)
    return np.where(turned < 2 * np.pi, turned, 0.0)


def _signed(angles: NDArray[Any]) -> NDArray[Any]:
    """In [-pi, pi); those that are have every digit."""
    return np.where((angles >= -np.pi) & (angles < np.pi), angles, np.remainder(angles + np.pi, 2 * np.pi) - np.pi)


def _tuple(name: str, answer: Any, n: int) -> tuple[Any, ...]:
    if not isinstance(answer, tuple | list) or len(answer) != n:
        raise TargetFault(f"{name}: got {kind_of(answer)}, expected {n} parts")
    return tuple(answer)


def _mapping(name: str, answer: Any) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise TargetFault(f"{name}: got {kind_of(answer)}, expected a mapping")
    return answer
