"""The package's own answers to the pieces of Gaussian models of pseudofermions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from refimpl.actions import hasenbusch
from refimpl.kernels import JointDeterminant


def _joint_determinant(
    x: Any, kappa: float, mus: Any, even_odd: bool, columns: Any, logdet: Any, e: Any, start: bool
) -> Any:
    """Of a model of these matrices, with generators that hand out the noise they are given."""
    monomials = hasenbusch(kappa, mus, even_odd=even_odd)
    dense = [(columns[:, m], logdet[:, m]) for m in range(len(monomials))]
    model: Any = SimpleNamespace(monomials=monomials, dense=lambda links: dense)
    rngs: Any = [SimpleNamespace(standard_exponential=lambda shape, e=each: e.reshape(shape)) for each in e]
    determinant = JointDeterminant(model, e.shape[2])
    return (determinant.start_estimate if start else determinant.log_determinant_estimate)(rngs, x)


MODELS: dict[str, Callable[..., Any]] = {"kernels.joint_determinant": _joint_determinant}
