"""Golden vectors of trained weights: a weight file, a point of phase space, and where the generalized leapfrog takes it.

The suites ``l2hmc-u1`` and ``l2hmc-gmm`` hold the parameters under the keys of `refimpl.maps.architecture` (``params/...``),
with every bias different from zero: a loader that loses one, transposes a matrix or takes another layer's is seen. The answers
are computed here from the formulas, layer by layer in extended precision, and share no code with the package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Extended = NDArray[np.longdouble]

N_LAYERS, HIDDEN = 2, (4, 3)
SEED = 20260202


def masks(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Entries that move first in each layer: even sites, or entries, in even layers and odd ones in odd layers."""
    parity = sum(np.indices(shape)[-2:] if len(shape) == 3 else np.indices(shape))
    return np.array([parity % 2 == k % 2 for k in range(N_LAYERS)])


def architecture(theory: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What the weights belong to, as `from_weights` of a target is told."""
    return {
        "field_shape": list(shape),
        "angular": theory == "u1",
        "n_layers": N_LAYERS,
        "units": list(HIDDEN),
        "activation": "tanh",
        "outputs": "stq",
        "encoding": "cartesian",
        "mask": "checkerboard",
        "shared": False,
        "time": False,
        "merged": False,
    }


def parameters(theory: str, shape: tuple[int, ...]) -> dict[str, Array]:
    """Random parameters, every one of them different from zero."""
    rng = np.random.default_rng(SEED)
    size = int(np.prod(shape))
    out = {name: 0.2 + 0.02 * rng.standard_normal(N_LAYERS) for name in ("eps_x", "eps_v")}
    for net, other in (("v", "force"), ("x", "v")):
        seen = ("cos", "sin") if theory == "u1" else ("x",)
        for name in (*seen, other):
            out[f"{net}/in/{name}"] = 0.3 * rng.standard_normal((N_LAYERS, size, HIDDEN[0]))
        out[f"{net}/in/bias"] = 0.3 * rng.standard_normal((N_LAYERS, HIDDEN[0]))
        out[f"{net}/hidden/0/weight"] = 0.5 * rng.standard_normal((N_LAYERS, *HIDDEN))
        out[f"{net}/hidden/0/bias"] = 0.3 * rng.standard_normal((N_LAYERS, HIDDEN[1]))
        for letter in "stq":
            out[f"{net}/head/{letter}/weight"] = 0.5 * rng.standard_normal((N_LAYERS, HIDDEN[1], size))
            out[f"{net}/head/{letter}/bias"] = 0.3 * rng.standard_normal((N_LAYERS, *shape))
            if letter != "t":
                out[f"{net}/head/{letter}/scale"] = 0.5 + 0.1 * rng.standard_normal((N_LAYERS, *shape))
    return out


# The couplings the vectors are for: beta of u1; weights, means and covariances of gmm.
BETA = 2.0
MIXTURE = {"weights": [0.5, 0.5], "means": [[-2.0, 0.0], [2.0, 0.0]], "covariances": [[[0.1, 0.0], [0.0, 0.1]]] * 2}


def force(theory: str, x: Extended) -> Extended:
    """``+ dS/dx`` of U(1) at `BETA`, or of the mixture whose components have covariance 0.1."""
    if theory == "u1":
        s = BETA * np.sin(x[:, 0] + np.roll(x[:, 1], -1, axis=1) - np.roll(x[:, 0], -1, axis=2) - x[:, 1])
        return np.stack([s - np.roll(s, 1, axis=2), np.roll(s, 1, axis=1) - s], axis=1)
    means, variance = np.array(MIXTURE["means"], dtype=np.longdouble), np.longdouble(0.1)
    away = x[:, None] - means
    weight = np.exp(-np.square(away).sum(axis=2) / (2 * variance))
    return np.asarray((weight[..., None] * away).sum(axis=1) / variance / weight.sum(axis=1)[:, None])


def outputs(params: dict[str, Array], net: str, k: int, inputs: dict[str, Extended]) -> list[Extended]:
    """S, T, Q of one dense net of layer k, row by row."""
    p = {key[2:]: value[k].astype(np.longdouble) for key, value in params.items() if key.startswith(net + "/")}
    first = sum(np.einsum("ci,ij->cj", x.reshape(len(x), -1), p[f"in/{name}"]) for name, x in inputs.items())
    h = np.tanh(first + p["in/bias"])
    h = np.tanh(np.einsum("ci,ij->cj", h, p["hidden/0/weight"]) + p["hidden/0/bias"])
    out = []
    for letter in "stq":
        bias = p[f"head/{letter}/bias"]
        value = np.einsum("ci,ij->cj", h, p[f"head/{letter}/weight"]).reshape(-1, *bias.shape) + bias
        out.append(value if letter == "t" else p[f"head/{letter}/scale"] * np.tanh(value))
    return out


def seen(theory: str, x: Extended, frozen: Any) -> dict[str, Extended]:
    return {"cos": np.cos(x) * frozen, "sin": np.sin(x) * frozen} if theory == "u1" else {"x": x * frozen}


def kick(theory: str, params: dict[str, Array], k: int, x: Extended, v: Extended, sign: int) -> tuple[Extended, Any]:
    """Half momentum update of layer k (``sign`` 1) or its inverse (-1), and the logdet."""
    f, e = force(theory, x), np.longdouble(params["eps_v"][k])
    s, t, q = outputs(params, "v", k, {**seen(theory, x, 1.0), "force": f})
    push = e / 2 * (f * np.exp(e * q) + t)
    new = v * np.exp(e / 2 * s) - push if sign > 0 else (v + push) * np.exp(-e / 2 * s)
    return new, sign * e / 2 * s.reshape(len(s), -1).sum(axis=1)


def move(
    theory: str, params: dict[str, Array], k: int, x: Extended, v: Extended, where: NDArray[np.bool_], sign: int
) -> tuple[Extended, Any]:
    """Position update of the entries ``where`` (``sign`` 1) or its inverse (-1), and the logdet."""
    e = np.longdouble(params["eps_x"][k])
    s, t, q = outputs(params, "x", k, {**seen(theory, x, ~where), "v": v})
    shift, exponent = e * (v * np.exp(e * q) + t) * where, e * s * where
    start = x if sign > 0 else x - shift
    if theory == "u1":
        stretched = 2 * np.arctan(np.exp(sign * exponent) * np.tan(start / 2))
        density = sign * exponent - np.log(
            np.cos(start / 2) ** 2 + np.exp(2 * sign * exponent) * np.sin(start / 2) ** 2
        )
    else:
        stretched, density = start * np.exp(sign * exponent), sign * exponent
    new = np.where(where, stretched + shift if sign > 0 else stretched, x)
    return new, density.reshape(len(x), -1).sum(axis=1)


def trajectory(theory: str, params: dict[str, Array], x: Array, v: Array, sign: int) -> tuple[Array, Array, Array]:
    """``(x', v', logdet)`` of the map (``sign`` 1) or its inverse (-1); angles in [-pi, pi)."""
    y, w = x.astype(np.longdouble), v.astype(np.longdouble)
    logdet = np.zeros(len(x), dtype=np.longdouble)
    first = masks(x.shape[1:])
    for k in range(N_LAYERS)[::sign]:
        w, change = kick(theory, params, k, y, w, sign)
        logdet += change
        for where in (first[k], ~first[k])[::sign]:
            y, change = move(theory, params, k, y, w, where, sign)
            logdet += change
        w, change = kick(theory, params, k, y, w, sign)
        logdet += change
    if theory == "u1":
        y = y - 2 * np.longdouble(np.pi) * np.floor((y + np.longdouble(np.pi)) / (2 * np.longdouble(np.pi)))
    return y.astype(np.float64), w.astype(np.float64), logdet.astype(np.float64)


def vectors() -> list[tuple[str, dict[str, Any], dict[str, Array]]]:
    """Name, description and arrays of every vector."""
    rng, out = np.random.default_rng(SEED + 1), []
    for theory, shape in (("u1", (2, 4, 4)), ("gmm", (2,))):
        params = parameters(theory, shape)
        x = rng.uniform(-np.pi, np.pi, (3, *shape)) if theory == "u1" else 2 * rng.standard_normal((3, *shape))
        v = rng.standard_normal((3, *shape))
        ahead, back = (trajectory(theory, params, x, v, sign) for sign in (1, -1))
        expected = {"x_forward": ahead[0], "v_forward": ahead[1], "logdet_forward": ahead[2]}
        expected |= {"x_inverse": back[0], "v_inverse": back[1], "logdet_inverse": back[2]}
        about = {
            "id": f"l2hmc/dense-{theory}",
            "theory": theory,
            "parameters": {"beta": BETA, "shape": list(shape[1:])} if theory == "u1" else MIXTURE,
            "shape": list(shape),
            "architecture": architecture(theory, shape),
            "masks": masks(shape).astype(int).tolist(),
            "flags": ["BASIC", "CONVENTION"],
            "comment": f"generalized leapfrog with dense nets, every bias different from zero, on {theory}",
            "expected": "valid",
            "derivation": "layer by layer in extended precision (numpy.longdouble) from the formulas, rounded once",
            "tolerance": "1e-12: rounding of a trajectory of two layers and its nets",
            "conventions": "params/KEY as in refimpl.maps.architecture; masks are 1 where an entry moves first",
        }
        arrays = {f"params/{key}": value for key, value in params.items()}
        out.append((f"dense-{theory}", about, {"x": x, "v": v, **expected, **arrays}))
    return out
