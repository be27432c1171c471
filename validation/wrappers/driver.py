"""Wrong random streams, runs and bookkeeping, wrapped around whatever `step`, `run` and `transcript` the target has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Field, Subject
from ..evidence import MOVED
from ..theories import U1
from .components import first, per_chain, single
from .wrapped import Bug, Functions

Array = NDArray[np.float64]

BLOCK = 64


def _seeded(name: str, description: str, seed_of: Callable[[int], int]) -> Bug:
    """The target, called with another seed than the one it was given."""

    def functions(s: Subject) -> Functions:
        return {
            "step": lambda x, seed: s.step(x, seed_of(seed)),
            "run": lambda x, n, seed: s.run(x, n, seed_of(seed)),
            "transcript": lambda x, seed: s.transcript(x, seed_of(seed)),
            "sample": lambda n, seed: s.sample(n, seed_of(seed)),
        }

    return Bug(name, description, functions)


def _in_parts(
    name: str,
    description: str,
    parts: Callable[[int], list[Any]],
    seed_of: Callable[[int, int], int] = lambda seed, part: seed,
) -> Bug:
    """The target, called for some of the chains at a time: which ones, and with which seed."""

    def functions(s: Subject) -> Functions:
        def step(x: Field, seed: int) -> Field:
            out = np.empty_like(x)
            for k, part in enumerate(parts(len(x))):
                out[part] = s.step(x[part], seed_of(seed, k))
            return out

        def transcript(x: Field, seed: int) -> dict[str, Array]:
            records = [(part, s.transcript(x[part], seed_of(seed, k))) for k, part in enumerate(parts(len(x)))]
            out = {name: np.empty((len(x), *value.shape[1:]), value.dtype) for name, value in records[0][1].items()}
            for part, record in records:
                for name, value in record.items():
                    out[name][part] = value
            return out

        def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
            out, states = None, []
            for k, part in enumerate(parts(len(x))):
                configurations, state = s.run(x[part], n, seed_of(seed, k))
                out = np.empty((len(configurations), *x.shape), x.dtype) if out is None else out
                out[:, part] = configurations
                states.append((part, state))
            return np.asarray(out), states

        def resume(states: Any, n: int) -> tuple[Field, Any]:
            pieces = [(part, *s.target.resume(state, n)) for part, state in states]
            chains = sum(np.asarray(piece).shape[1] for _, piece, _ in pieces)
            sample = np.asarray(pieces[0][1])
            out = np.empty((len(sample), chains, *sample.shape[2:]), sample.dtype)
            for part, piece, _ in pieces:
                out[:, part] = piece
            return out, [(part, state) for part, _, state in pieces]

        return {"step": step, "transcript": transcript, "run": run, "resume": resume}

    return Bug(name, description, functions)


def _pairs(n: int) -> list[Any]:
    return [slice(0, None, 2), slice(1, None, 2)] if n > 1 else [slice(None)]


def _blocks(n: int) -> list[Any]:
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def _singly(n: int) -> list[Any]:
    return [slice(i, i + 1) for i in range(n)]


def _changed_updates(s: Subject, change: Callable[[Subject, Field, Field], Field]) -> Functions:
    """Updates whose outcome is changed, knowing where they began; a run is made of such updates."""

    def transcript(x: Field, seed: int) -> dict[str, Array]:
        record = s.transcript(x, seed)
        return {**record, "x_next": change(s, record["x_next"], x)}

    def go_on(x: Field, seeds: np.random.Generator, n: int) -> tuple[Field, Any]:
        out = np.empty((n, *x.shape), x.dtype)
        for i in range(n):
            out[i] = x = change(s, s.run(x, 1, int(seeds.integers(2**31)))[0][0], x)
        return out, (x, seeds.bit_generator.state)

    def resume(state: Any, n: int) -> tuple[Field, Any]:
        seeds = np.random.default_rng()
        seeds.bit_generator.state = state[1]
        return go_on(state[0], seeds, n)

    return {
        "step": lambda x, seed: change(s, s.step(x, seed), x),
        "transcript": transcript,
        "run": lambda x, n, seed: go_on(x, np.random.default_rng(seed), n),
        "resume": resume,
    }


def _unchanged(s: Subject) -> Functions:
    return _changed_updates(s, lambda s, after, before: after)


def _afterwards(name: str, description: str, change: Callable[[Subject, Field, Field], Field]) -> Bug:
    return Bug(name, description, lambda s: _changed_updates(s, change), _unchanged)


def _still(s: Subject, after: Field, before: Field) -> NDArray[np.bool_]:
    """The chains that did not move."""
    moves = np.abs(s.theory.displacement(after, before)).reshape(len(after), -1).max(axis=1)
    return np.asarray(moves <= MOVED)


def _again(s: Subject, attempts: int) -> Functions:
    """Updates that are tried again, so many times, where a chain did not move."""

    def step(x: Field, seed: int, update: Callable[[Field, int], Field]) -> Field:
        y = update(x, seed)
        for attempt in range(1, attempts):
            if not (still := _still(s, y, x)).any():
                break
            y[still] = update(x[still], seed + 1_000_003 * attempt)
        return y

    def transcript(x: Field, seed: int) -> dict[str, Array]:
        record = s.transcript(x, seed)
        for attempt in range(1, attempts):
            if not (still := record["accept"] == 0).any():
                break
            for name, value in s.transcript(x[still], seed + 1_000_003 * attempt).items():
                record[name][still] = value
        return record

    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        out, seeds = np.empty((n, *x.shape), x.dtype), np.random.default_rng(seed)
        for i in range(n):
            out[i] = x = step(x, int(seeds.integers(2**31)), lambda y, one: s.run(y, 1, one)[0][0])
        return out, (x, seeds.bit_generator.state)

    return {"step": lambda x, seed: step(x, seed, s.step), "transcript": transcript, "run": run}


def _retried(s: Subject) -> Functions:
    return _again(s, 6)


def _tried_once(s: Subject) -> Functions:
    return _again(s, 1)


def _frozen(s: Subject, after: Field, before: Field) -> Field:
    after[first(s)] = before[first(s)]
    return after


def _stuck(s: Subject, after: Field, before: Field) -> Field:
    after[::8] = before[::8]
    return after


def _biased(s: Subject, after: Field, before: Field) -> Field:
    push = np.full((len(after), *s.theory.momentum_shape), 0.03 * s.theory.scale)
    return s.theory.pushed(after, push)


def _pulled(s: Subject, after: Field, before: Field) -> Field:
    if np.iscomplexobj(after):
        trace = np.trace(after, axis1=-2, axis2=-1).real[..., None]
        return s.theory.pushed(after, 0.05 * trace * np.ones(s.theory.momentum_shape))
    angular = bool(getattr(s.theory, "angular", False))
    return s.theory.pushed(after, -0.05 * (np.sin(after) if angular else after))


def _coupled(s: Subject, after: Field, before: Field) -> Field:
    mean = float(np.cos(after).real.mean() if isinstance(s.theory, U1) else np.abs(after).mean())
    push = 1e-3 * mean * np.ones((len(after), *s.theory.momentum_shape))
    moved = ~_still(s, after, before)
    return np.where(per_chain(moved, after), s.theory.pushed(after, push), after)


def _dropped(s: Subject) -> Functions:
    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        out, state = s.run(x, n, seed)
        path = np.concatenate([x[None], out])
        kept = [not _still(s, path[i + 1][:1], path[i][:1])[0] for i in range(len(out))]
        return out[kept], state

    return {"run": run}


def _shorter(s: Subject) -> Functions:
    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        out, state = s.run(x, n, seed)
        return out[:-1], state

    return {"run": run}


def _early(s: Subject) -> Functions:
    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        out, state = s.run(x, n, seed)
        return np.concatenate([x[None], out[:-1]]), (out[-1], state)

    def resume(state: Any, n: int) -> tuple[Field, Any]:
        out, later = s.resume(state[1], n, state[0])
        return np.concatenate([state[0][None], out[:-1]]), (out[-1], later)

    return {"run": run, "resume": resume}


def _restarted(s: Subject) -> Functions:
    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        out = s.run(x, n, seed)[0]
        return out, (out[-1], seed)

    return {"run": run, "resume": lambda state, n: run(state[0], n, state[1])}


def _forgetful(s: Subject) -> Functions:
    def run(x: Field, n: int, seed: int) -> tuple[Field, Any]:
        out, state = s.run(x, n, seed)
        return out, (out[-1], state)

    return {"run": run, "resume": lambda state, n: (s.resume(state[1], n, state[0])[0], state)}


def _elsewhere(s: Subject) -> Functions:
    """The update of the same target at a parameter that is 3 per cent larger."""
    declared = s.theory.declared()
    name = next((name for name in ("beta", "lam", "covariance", "covariances") if name in declared), None)
    if name is None or s.replace(**declared) is None:
        return {}

    def of(function: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            other = s.replace(
                **{name: 1.03 * np.asarray(declared[name]) if np.ndim(declared[name]) else 1.03 * declared[name]}
            )
            if other is None:
                raise ValueError(f"{name}: the target cannot be made at another")
            return getattr(other.target, function)(*arguments)

        return call

    return {name: of(name) for name in ("transition", "transcript", "step", "run", "resume") if s.has(name)}


BUGS: tuple[Bug, ...] = (
    _seeded("IgnoredSeed", "every call repeats the random numbers of the first", lambda seed: 0),
    _seeded("FewSeeds", "only the last three bits of the seed are used", lambda seed: seed % 8),
    _seeded(
        "UnseededNoise",
        "the seed is not used: a run cannot be repeated",
        lambda seed: int(np.random.default_rng().integers(2**31)),
    ),
    _in_parts("SharedStream", "all chains use the random stream of the first", _singly),
    _in_parts("PairedStreams", "neighbouring chains share a random stream", _pairs),
    _in_parts("RecurringStreams", "streams repeat every 64 chains", _blocks),
    _in_parts(
        "SeedPlusChain",
        "the stream of chain k is seeded with seed + k: neighbouring seeds share streams",
        _singly,
        lambda seed, part: seed + part,
    ),
    _afterwards("FrozenComponent", "one link (site, component) is put back after every update", _frozen),
    _afterwards("StuckChains", "every eighth chain never moves", _stuck),
    _afterwards("BiasField", "every update ends with a small push in one direction, as of a bias field", _biased),
    _afterwards("PulledFields", "every update ends with a small pull towards zero, as of a mass term", _pulled),
    _afterwards("CoupledUpdates", "an update adds a thousandth of the mean over all chains", _coupled),
    _afterwards("SinglePrecisionFields", "fields are kept in single precision", lambda s, after, before: single(after)),
    Bug(
        "RejectedRedrawn",
        "a rejected update is tried again, up to five times, until the field moves",
        _retried,
        _tried_once,
    ),
    Bug("RejectionsDropped", "updates that every chain rejected are left out of the run", _dropped),
    Bug("OneTooFew", "a run leaves its last configuration out", _shorter),
    Bug("StartReported", "a run reports the configurations before its updates, not after them", _early),
    Bug("RestartedStreams", "a resumed run begins its random streams again", _restarted),
    Bug(
        "ForgetfulResume",
        "a resumed run cannot be resumed again: its state holds the streams of the first part",
        _forgetful,
    ),
    Bug("CouplingLeak", "trajectory and decision run at a coupling 3 % too large", _elsewhere),
)
