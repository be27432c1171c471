"""What a worker does: run a block of chains further, and give back what was recorded and where the chains are now.

Everything here is a pure function of its arguments, so that a block can be run anywhere, and again.
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import Cycle, Kernel, State
from ..lattice import chain_last

Array = NDArray[np.float64]
# Under a name: returns one number per chain; under a tuple of names: a tuple of as many such arrays.
Observables = Mapping[str | tuple[str, ...], Callable[[Array], Any]]

_WORD = 1 << 64


@dataclass(frozen=True, eq=False)
class Task:
    """What is run, for every block the same.

    ``observables``: name, or tuple of names -> function of the field. ``record``: attributes of the step's `Info`
    (``accepted``, ``delta_h``, ...) or of the `State` (``action``); of a cycle, one series per kernel: ``accepted/HMC``, ...
    Both are recorded after steps ``record_every``, ``2 record_every``, ...; fields after ``save_every``, ..., and never where
    that is 0.
    """

    kernel: Kernel
    observables: Observables
    record: Sequence[str]
    record_every: int = 1
    save_every: int = 0


@dataclass(frozen=True, eq=False)
class Position:
    """Where chains are after ``step`` steps: all that the rest of their run depends on.

    ``rngs``: uint64 ``(chain, 6)``, the PCG64 state and increment as high and low words, and the half-used word.
    """

    step: int
    x: Array
    action: Array
    force: Array
    rngs: NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Segment:
    """What `advance` returns: series ``(record, chain)``, fields ``(save, chain, ...)``, and the new position.

    ``non_finite``: proposals that were rejected because their energy was not finite. ``failure``: the traceback of what ended
    it before its time, or empty; everything else is then that of the steps before.
    """

    position: Position
    series: dict[str, NDArray[Any]]
    fields: Array
    acceptance: float
    non_finite: int
    failure: str = ""


def start_position(kernel: Kernel, x: Array, seed: int, first: int = 0) -> Position:
    """Step 0 at the fields ``x`` of the chains from number ``first`` on; chain i has the i-th Generator spawned from the seed."""
    state = kernel.init(x)
    children = (np.random.SeedSequence([seed, 0], spawn_key=(first + i,)) for i in range(len(x)))
    rngs = [np.random.Generator(np.random.PCG64(child)) for child in children]
    return Position(0, state.x, state.action, state.force, packed_rngs(rngs))


def advance(
    task: Task, position: Position, n_steps: int, seconds: float, stop: Callable[[], bool] = lambda: False
) -> Segment:
    """Run chains up to ``n_steps`` steps further, but not longer than ``seconds``, or than ``stop()`` is false, and one step."""
    rngs, state = unpacked_rngs(position.rngs), _state(position)
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in series_names(task)}
    fields: list[Array] = []
    accepted, non_finite, done = 0.0, 0, 0
    end = time.monotonic() + seconds
    while done < n_steps and not (done and (time.monotonic() > end or stop())):
        step = position.step + done + 1
        try:
            state, infos = task.kernel.step(rngs, state)
            row = recorded(task, state, infos) if step % task.record_every == 0 else {}
        except Exception:  # noqa: BLE001 (whatever a kernel or an observable raises is the user's to see, once)
            # Some of the random numbers of this step are gone: run the good steps again, which costs less than to be ready.
            return replace(advance(task, position, done, math.inf), failure=traceback.format_exc())
        for name, values in row.items():
            rows[name].append(values)
        if task.save_every and step % task.save_every == 0:
            fields.append(np.ascontiguousarray(state.x))
        parts = infos if isinstance(infos, tuple) else (infos,)
        non_finite += sum(int(info.non_finite.sum()) for info in parts)
        accepted += float(parts[-1].accepted.mean())
        done += 1
    return Segment(
        Position(position.step + done, state.x, state.action, state.force, packed_rngs(rngs)),
        {name: np.array(values) if values else np.empty((0, len(position.x))) for name, values in rows.items()},
        np.array(fields) if fields else np.empty((0, *position.x.shape), position.x.dtype),
        accepted / max(done, 1),
        non_finite,
    )


def recorded(task: Task, state: State, infos: Any) -> dict[str, NDArray[Any]]:
    """One value per chain of every series, after a step.

    Raises `ValueError` for an observable that does not return one number per chain.
    """
    values: dict[str, NDArray[Any]] = {}
    for names, observable in task.observables.items():
        found = observable(state.x)
        if isinstance(names, str):
            values[names] = np.asarray(found)
        elif len(found) == len(names):
            values |= {name: np.asarray(value) for name, value in zip(names, found, strict=True)}
        else:
            raise ValueError(f"observables[{names!r}]: got {len(found)} arrays, expected {len(names)}")
    parts = part_names(task.kernel)
    for name in task.record:
        if name in State.__dataclass_fields__:
            values[name] = np.asarray(getattr(state, name))
        elif parts:
            owners = zip(parts, infos, strict=True)
            values |= {f"{name}/{part}": _entry(info, name, part) for part, info in owners}
        else:
            values[name] = _entry(infos, name, type(task.kernel).__name__)
    for name, value in values.items():
        if value.shape != (len(state.x),) or value.dtype.kind not in "biuf":
            raise ValueError(
                f"observables, record: got {value.dtype} of shape {value.shape} for {name!r}, expected one real number per "
                f"chain, shape {(len(state.x),)}"
            )
    return values


def _entry(info: Any, name: str, kernel: str) -> NDArray[Any]:
    """An attribute of the `Info` of a step; raises `ValueError` where the kernel has no such entry."""
    if not hasattr(info, name):
        raise ValueError(
            f"record: got {name!r}, which a step of {kernel} does not have, expected some of action, "
            f"{', '.join(getattr(info, '__dict__', ()))}"
        )
    return np.asarray(getattr(info, name))


def series_names(task: Task) -> list[str]:
    """The names under which `recorded` returns values."""
    names, parts = observable_names(task.observables), part_names(task.kernel)
    for name in task.record:
        whole = name in State.__dataclass_fields__ or not parts
        names += [name] if whole else [f"{name}/{part}" for part in parts]
    return names


def part_names(kernel: Kernel) -> list[str]:
    """Names of the kernels of a `Cycle`: of their classes, numbered where there are several; none for other kernels."""
    if not isinstance(kernel, Cycle):
        return []
    classes = [type(part).__name__ for part in kernel.kernels]
    seen: dict[str, int] = {}
    names = []
    for own in classes:
        seen[own] = seen.get(own, 0) + 1
        names.append(own if classes.count(own) == 1 else f"{own}-{seen[own]}")
    return names


def observable_names(observables: Observables) -> list[str]:
    """The names of all of them."""
    return [name for names in observables for name in ([names] if isinstance(names, str) else names)]


def packed_rngs(rngs: Sequence[np.random.Generator]) -> NDArray[np.uint64]:
    """The states of PCG64 Generators as uint64 ``(chain, 6)``."""
    rows = []
    for rng in rngs:
        record = rng.bit_generator.state
        words = [*divmod(record["state"]["state"], _WORD), *divmod(record["state"]["inc"], _WORD)]
        rows.append([*words, record["has_uint32"], record["uinteger"]])
    return np.array(rows, dtype=np.uint64)


def unpacked_rngs(states: NDArray[np.uint64]) -> list[np.random.Generator]:
    """The inverse of `packed_rngs`."""
    rngs = []
    for high, low, inc_high, inc_low, has_uint32, uinteger in states.tolist():
        bits = np.random.PCG64()
        bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": high * _WORD + low, "inc": inc_high * _WORD + inc_low},
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }
        rngs.append(np.random.Generator(bits))
    return rngs


def _state(position: Position) -> State:
    """The state of the kernels, in the memory order that is fast for them."""
    x = chain_last(*position.x.shape, dtype=position.x.dtype)
    force = chain_last(*position.force.shape)
    x[...], force[...] = position.x, position.force
    return State(x, position.action.copy(), force)


def segment_arrays(segment: Segment) -> dict[str, NDArray[Any]]:
    """A segment as arrays that an npz can hold."""
    position = segment.position
    about = [position.step, segment.acceptance, segment.non_finite, segment.failure]
    return {
        "about": np.array(json.dumps(about)),
        "fields": segment.fields,
        **{f"position/{name}": getattr(position, name) for name in ("x", "action", "force", "rngs")},
        **{f"series/{name}": values for name, values in segment.series.items()},
    }


def segment_from(arrays: Mapping[str, NDArray[Any]]) -> Segment:
    """The inverse of `segment_arrays`."""
    step, acceptance, non_finite, failure = json.loads(arrays["about"].item())

    def group(name: str) -> dict[str, NDArray[Any]]:
        return {key.removeprefix(name): values for key, values in arrays.items() if key.startswith(name)}

    position = Position(step, **group("position/"))
    return Segment(position, group("series/"), arrays["fields"], acceptance, non_finite, failure)
