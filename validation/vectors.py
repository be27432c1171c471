"""Golden vectors: configurations with answers in 40-digit arithmetic, kept in ``data/vectors/v1/<suite>/``.

One vector is a ``.json`` (what it is, how it was derived, flags, tolerance) and a ``.npz`` (``x`` and the expected arrays).
The suite's ``manifest.json`` holds a sha256 per file; reading verifies it. Suites are append-only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.files import whole_file

from . import fermion_vectors, flow_vectors, joint_vectors, measure, scalar_vectors, weight_vectors
from .vector_files import ChecksumError, Vector, read_file, read_vector, write_vector

__all__ = ["SUITES", "VECTORS", "ChecksumError", "Vector", "read_suite", "read_vector", "write_suites", "write_vector"]

Array = NDArray[np.float64]

VECTORS = Path(__file__).resolve().parent.parent / "data" / "vectors" / "v1"
SUITES = ("u1", "l2hmc", "fermions", "phi4", "flows", "conditionals")
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097")


@lru_cache(maxsize=6)
def read_suite(suite: str, root: Path = VECTORS) -> tuple[Vector, ...]:
    """The vectors of a suite, checksums verified; raises `ChecksumError`."""
    folder = root / suite
    try:
        manifest = json.loads(read_file(folder / "manifest.json"))
        names, sums = list(manifest["vectors"]), dict(manifest["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ChecksumError(f"{folder / 'manifest.json'}: not a manifest") from error
    vectors = []
    for name in names:
        vectors.append(read_vector(folder / (name + ".json"), sums))
    return tuple(vectors)


def write_suites(root: Path = VECTORS) -> list[str]:
    """Write every suite from scratch and return the ids of the vectors. The same seeds give the same bytes."""
    ids = []
    suites = (
        ("u1", _u1_vectors()),
        ("l2hmc", weight_vectors.vectors()),
        ("fermions", fermion_vectors.vectors()),
        ("phi4", scalar_vectors.vectors()),
        ("flows", flow_vectors.vectors()),
        ("conditionals", joint_vectors.vectors()),
    )
    for suite, vectors in suites:
        folder = root / suite
        folder.mkdir(parents=True, exist_ok=True)
        manifest: dict[str, Any] = {
            "suite": suite,
            "format": 1,
            "generator": "refimpl vectors write",
            "vectors": [],
            "sha256": {},
        }
        for name, about, arrays in vectors:
            manifest["sha256"].update(write_vector(folder, name, about, arrays))
            manifest["vectors"].append(name)
            ids.append(f"{suite}/{name}")
        with whole_file(folder / "manifest.json") as file:
            file.write((json.dumps(manifest, indent=1) + "\n").encode())
    return ids


def _u1_vectors() -> Iterator[tuple[str, dict[str, Any], dict[str, Array]]]:
    for name, shape, flags, comment, x in _u1_inputs():
        about = {
            "id": f"u1/{name}",
            "theory": "u1",
            "beta": 1.0,
            "shape": shape,
            "flags": flags,
            "comment": comment,
            "expected": "valid",
            "derivation": "plaquette by plaquette in 40-digit decimal arithmetic from the float64 links, rounded once",
            "tolerance": "rounding: 8e-15 per plaquette angle, times the terms of the sum",
            "conventions": "axes (chain, mu, t, x), mu = 0 time; action = sum_P (1 - cos theta_P), force = + d action/d theta",
        }
        yield name, about, {"x": x, **_u1_expected(x)}


def _u1_inputs() -> list[tuple[str, tuple[int, int], list[str], str, Array]]:
    rng = np.random.default_rng(20260101)
    inputs: list[tuple[str, tuple[int, int], list[str], str, Array]] = []
    for shape in ((2, 2), (2, 3), (3, 2), (4, 4), (8, 8), (4, 6)):
        label = f"{shape[0]}x{shape[1]}"
        hot = rng.uniform(-np.pi, np.pi, (2, 2, *shape))
        inputs.append((f"hot-{label}", shape, ["BASIC"], "uniform links", hot))
        smooth = 0.1 * rng.standard_normal((1, 2, *shape))
        flux = measure.angle_difference(measure.flux_configuration(shape, 1) + smooth, np.zeros(1))
        inputs.append((f"flux-{label}", shape, ["SECTOR"], "charge 1 with small fluctuations", flux))
    one = np.zeros((2, 2, 4, 4))
    one[0, 0, 3, 3], one[1, 1, 3, 3] = 0.5, 0.25
    inputs.append(
        ("one-link-4x4", (4, 4), ["BASIC", "CONVENTION"], "one link on the boundary: orientation and axes", one)
    )
    cut = np.zeros((1, 2, 4, 4))
    cut[0, 0, 1, 2], cut[0, 1, 0, 0] = 3.141592653589793 - 1e-9, -3.141592653589793 + 1e-9
    inputs.append(("cut-4x4", (4, 4), ["EDGE_CASE", "BRANCH_CUT"], "plaquettes within 1e-9 of +-pi", cut))
    return inputs


def _u1_expected(x: Array) -> dict[str, Array]:
    rows = [_u1_decimal(configuration) for configuration in x]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _u1_decimal(x: Array) -> dict[str, Any]:
    """All observables of one configuration ``(2, T, X)`` at beta = 1, in decimal arithmetic."""
    n_t, n_x = x.shape[1:]
    with localcontext() as context:
        context.prec = 40
        d = [[[Decimal(float(x[mu, t, s])) for s in range(n_x)] for t in range(n_t)] for mu in (0, 1)]
        angle = [
            [d[0][t][s] + d[1][(t + 1) % n_t][s] - d[0][t][(s + 1) % n_x] - d[1][t][s] for s in range(n_x)]
            for t in range(n_t)
        ]
        cosine, sine = ([[f(a) for a in row] for row in angle] for f in (_cos, lambda a: _cos(a - _PI / 2)))
        force = np.array(
            [
                [[float(sine[t][s] - sine[t][s - 1]) for s in range(n_x)] for t in range(n_t)],
                [[float(sine[t - 1][s] - sine[t][s]) for s in range(n_x)] for t in range(n_t)],
            ]
        )
        flat = [a for row in angle for a in row]
        total = sum((c for row in cosine for c in row), Decimal(0))
        wrapped = sum(
            (a - 2 * _PI * ((a + _PI) / (2 * _PI)).to_integral_value("ROUND_FLOOR") for a in flat), Decimal(0)
        )
        return {
            "action": float(len(flat) - total),
            "force": force,
            "plaquette": float(total / len(flat)),
            "charge": int((wrapped / (2 * _PI)).to_integral_value()),
            "sine_charge": float(sum((s for row in sine for s in row), Decimal(0)) / (2 * _PI)),
        }


def _cos(a: Decimal) -> Decimal:
    """Taylor series; arguments are at most 4 pi, so 40 digits lose five."""
    term, total, k = Decimal(1), Decimal(1), 0
    while abs(term) > Decimal(10) ** -38:
        k += 2
        term *= -a * a / (k * (k - 1))
        total += term
    return total
