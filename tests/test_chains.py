"""Runs: the bits of a plain loop, whoever computes them and however often it stops; and a folder that defends itself."""

import json
import os
import re
import shutil
import threading
import types
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import chains, theories
from refimpl.actions import WilsonU1, hasenbusch
from refimpl.chains import executors, folder, work
from refimpl.chains.description import description, differences
from refimpl.kernels import (
    HMC,
    Cycle,
    FluxHeatBath,
    IndependenceMetropolis,
    Level,
    NestedHMC,
    OrbitMetropolis,
    PureGauge,
    Winding,
)
from refimpl.kernels.l2hmc import L2HMC
from refimpl.training import recipes
from tests.runs import KERNEL, N_CHAINS, THEORY, DiesElsewhere, Trap, by_hand, run

STEPS = 60


def same(got, expected):
    assert set(got) == set(expected)
    for name, values in expected.items():
        assert got[name].shape == values.shape, name
        assert np.array_equal(got[name], values), name


@pytest.fixture(scope="module")
def expected():
    return by_hand(STEPS)[0]


GMM = theories.gmm()
O2 = theories.o2(2.0, 6)
DENSE = recipes.dense_plan(THEORY, 2, (40, 40)).model(THEORY)
NOISY = DENSE.replace(
    params={
        key: value + 0.05 * np.sin(np.arange(value.size)).reshape(value.shape) for key, value in DENSE.params.items()
    }
)


@pytest.mark.parametrize(
    ("kernel", "theory"),
    [
        (KERNEL, THEORY),
        (Cycle([KERNEL, Winding(THEORY.action)]), THEORY),
        (Cycle([KERNEL, FluxHeatBath(WilsonU1(2.0))]), THEORY),
        (L2HMC(NOISY), THEORY),
        (HMC(O2.action, 0.3, 4), O2),
        (HMC(GMM.action, 0.3, 4), GMM),
    ],
    ids=["hmc", "winding", "flux", "l2hmc", "o2", "gmm"],
)
@pytest.mark.parametrize(("executor", "workers"), [("thread", 1), ("thread", 3), ("process", 2)])
def test_a_run_has_the_bits_of_a_plain_loop(tmp_path, kernel, theory, executor, workers):
    record = ("accepted", "delta_h", "action")
    out = run(tmp_path / "run", STEPS, kernel, theory, executor=executor, workers=workers, record=record)
    expected, fields = by_hand(STEPS, kernel, theory, record)
    same(chains.load(out), expected)
    assert np.array_equal(chains.last_fields(out), fields[-1])
    assert chains.read_manifest(out)["done"] == STEPS


SU3 = theories.su3(6.0, (2, 3))
QUARKS = theories.su2(2.0, (2, 4), 0.15)
SCHWINGER = theories.schwinger(2.0, 0.2, (2, 4))
PSEUDOFERMIONS = NestedHMC((Level(hasenbusch(0.2, (0.3,), even_odd=True), 2), Level((WilsonU1(2.0),), 3)), 0.6)


@pytest.mark.parametrize(
    ("kernel", "theory", "executor"),
    [
        (HMC(SU3.action, 0.3, 4), SU3, "process"),
        (HMC(QUARKS.action, 0.3, 4), QUARKS, "thread"),
        (PSEUDOFERMIONS, SCHWINGER, "thread"),
        (Cycle([HMC(SCHWINGER.action, 0.3, 4), OrbitMetropolis(SCHWINGER.action)]), SCHWINGER, "thread"),  # type: ignore[arg-type]
        (Cycle([KERNEL, IndependenceMetropolis(THEORY.action, PureGauge(1.5, (4, 4)))]), THEORY, "thread"),
    ],
    ids=["su3", "su2 with quarks", "pseudofermions", "orbit", "independence"],
)
def test_matrices_and_fermions_go_through_a_run_and_are_resumed_to_the_bit(tmp_path, kernel, theory, executor):
    """By two workers, cut and resumed by one, against a plain loop of all chains at once."""
    options = {"save_every": 5, "record": ("accepted", "delta_h", "action")}
    out = run(tmp_path / "run", 7, kernel, theory, executor=executor, workers=2, **options)
    run(out, 20, kernel, theory, resume=True, workers=1, **options)
    expected, fields = by_hand(20, kernel, theory, options["record"])
    same(chains.load(out), expected)
    assert chains.load_fields(out).dtype == fields.dtype == theory.start(np.random.default_rng(0), 1).dtype
    assert np.array_equal(chains.load_fields(out), fields[4::5])
    assert np.array_equal(chains.last_fields(out), fields[-1])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_processes_does_not_show(tmp_path, expected, workers):
    out = run(tmp_path / "run", STEPS, executor="process", workers=workers)
    same(chains.load(out), expected)
    assert len(chains.read_manifest(out)["blocks"]) == workers


def test_a_ready_made_executor_is_used_and_left_open(tmp_path, expected):
    with ThreadPoolExecutor(2) as pool:
        same(chains.load(run(tmp_path / "run", STEPS, executor=pool)), expected)
        assert pool.submit(int, "1").result() == 1


@settings(max_examples=8, deadline=None)
@given(
    every=st.integers(1, 7),
    save=st.integers(0, 9),
    cuts=st.lists(st.integers(1, STEPS), max_size=3).map(sorted),
    seconds=st.sampled_from([0.002, 10.0]),
)
def test_records_are_every_kth_step_however_the_run_was_cut(tmp_path_factory, expected, every, save, cuts, seconds):
    out = tmp_path_factory.mktemp("cut") / "run"
    options = {"record_every": every, "save_every": save, "segment_seconds": seconds, "workers": 2}
    for i, n_steps in enumerate([*(max(cut, every) for cut in cuts), STEPS]):
        run(out, n_steps, resume=i > 0, **options)
    same(chains.load(out), {name: values[every - 1 :: every] for name, values in expected.items()})
    if save:
        assert np.array_equal(chains.load_fields(out), by_hand(STEPS)[1][save - 1 :: save])


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    out = run(tmp_path / "run", 10)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    run(out, 10, resume=True)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64), halves=st.integers(0, 3), n=st.integers(1, 3))
def test_rng_states_survive_packing(seed, halves, n):
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(n)]
    for rng in rngs:
        rng.integers(0, 2**32, halves, dtype=np.uint32)  # an odd number leaves half a word for the next call
    again = work.unpacked_rngs(work.packed_rngs(rngs))
    for a, b in zip(rngs, again, strict=True):
        assert a.bit_generator.state == b.bit_generator.state
        assert np.array_equal(a.integers(0, 2**32, 3, dtype=np.uint32), b.integers(0, 2**32, 3, dtype=np.uint32))


@pytest.mark.parametrize(
    ("values", "stored"),
    [([0, -3], "int8"), ([0, 200], "int16"), ([-40000, 1], "int32"), ([2**40, 1], "int64"), ([], "int64")],
)
def test_integers_are_stored_small_and_come_back_wide(values, stored):
    packed = folder._packed(np.array(values, dtype=np.int64))
    assert packed.dtype == stored
    assert np.array_equal(packed, values)


def test_charges_are_a_byte_on_disk_and_int64_in_memory(tmp_path):
    out = run(tmp_path / "run", 4, workers=1)
    with np.load(next(out.glob("block-0000/0*.npz")), allow_pickle=False) as archive:
        assert archive["charge"].dtype == np.int8
    assert chains.load(out)["charge"].dtype == np.int64


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("finished") / "run", STEPS, workers=3, segment_seconds=0.003, save_every=7)


@settings(max_examples=20, deadline=None)
@given(chain=st.slices(N_CHAINS), step=st.slices(STEPS))
def test_loading_a_part_is_a_part_of_loading(finished, chain, step):
    whole, fields = chains.load(finished), chains.load_fields(finished)
    chain, step = slice(chain.start, chain.stop), slice(step.start, step.stop)
    if len(range(*chain.indices(N_CHAINS))) and len(range(*step.indices(STEPS))):
        part = chains.load(finished, ["charge", "accepted"], chain, step)
        same(part, {name: whole[name][step, chain] for name in ("charge", "accepted")})
    else:
        with pytest.raises(ValueError, match="which is empty"):
            chains.load(finished, ["charge"], chain, step)
    if len(range(*chain.indices(N_CHAINS))) and len(range(*step.indices(len(fields)))):
        assert np.array_equal(chains.load_fields(finished, chain, step), fields[step, chain])


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_segment_is_named_and_the_rest_is_readable(tmp_path, damage):
    out = run(tmp_path / "run", 12, workers=2, segment_seconds=0.0)  # a step is a segment
    whole = chains.load(out)
    segments = json.loads((out / "block-0001" / "index.json").read_text())["segments"]
    bad = segments[len(segments) // 2]
    path = out / "block-0001" / bad["file"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "changed" else content[:-1])
    with pytest.raises(chains.DamagedError, match=re.escape(str(path))) as caught:
        chains.load(out)
    first, last = chains.read_manifest(out)["blocks"][1]
    assert f"chains outside {first}:{last}" in str(caught.value)
    same(chains.load(out, chains=slice(0, first)), {k: v[:, :first] for k, v in whole.items()})
    before, after = bad["first"] - 1, bad["last"]
    same(chains.load(out, steps=slice(0, before)), {k: v[:before] for k, v in whole.items()})
    same(chains.load(out, steps=slice(after, None)), {k: v[after:] for k, v in whole.items()})


def test_a_damaged_state_is_refused_and_its_chains_can_be_run_again(tmp_path, expected):
    out = run(tmp_path / "run", STEPS // 2, workers=2)
    state = next(out.glob("block-0001/state-*.npz"))
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.raises(chains.DamagedError, match="remove the folder"):
        run(out, STEPS, resume=True)
    for path in (out / "block-0001").iterdir():
        path.unlink()
    (out / "block-0001").rmdir()
    run(out, STEPS, resume=True)
    same(chains.load(out), expected)


@pytest.mark.parametrize("name", ["manifest.json", "block-0000/index.json", "start.npz"])
@pytest.mark.parametrize(
    "damage", [lambda c: b'{"format": 1', lambda c: c.replace(b"4", b"5", 1), lambda c: b"", lambda c: b"[1]"]
)
def test_other_damaged_files_are_named(tmp_path, name, damage):
    out = run(tmp_path / "run", 4)
    (out / name).write_bytes(damage((out / name).read_bytes()))
    with pytest.raises(chains.DamagedError, match=re.escape(name)):
        run(out, 8, resume=True)


def resealed(path, **changes):
    """An index changed by somebody who knows how it is sealed."""
    record = json.loads(path.read_bytes())
    del record["sha256"]
    path.write_bytes(folder._sealed({**record, **changes}))
    return record


def test_an_index_must_fit_its_block_its_run_and_its_segments(tmp_path):
    out = run(tmp_path / "run", 6, workers=2, segment_seconds=0.0)
    index = out / "block-0000" / "index.json"
    good = json.loads(index.read_bytes())
    segments = good["segments"]
    for changes in (
        {"step": 5},
        {"segments": []},
        {"segments": segments[:1] + segments[2:]},
        {"segments": [{**segments[0], "file": "../" + segments[0]["file"]}, *segments[1:]]},
        {"segments": [{"first": 1}]},
        {"state": "../../precious.npz"},
        {"chains": [0, 1]},
        {"run": "0" * 64},
        {"more": 1},
    ):
        resealed(index, **{**{k: v for k, v in good.items() if k != "sha256"}, **changes})
        for reader in (lambda: chains.load(out), lambda: run(out, 8, resume=True)):
            with pytest.raises(chains.DamagedError, match=r"index\.json"):
                reader()
    index.write_bytes(b"")
    index.unlink()
    with pytest.raises(chains.DamagedError, match="no such file beside segments"):
        chains.load(out)


def test_a_block_of_another_run_is_refused(tmp_path):
    """Same seed, same start, same chains: another kernel."""
    other = run(tmp_path / "other", 4, HMC(THEORY.action, 0.1, 4), workers=1)
    out = run(tmp_path / "run", 4, workers=1)
    shutil.rmtree(out / "block-0000")
    shutil.copytree(other / "block-0000", out / "block-0000")
    with pytest.raises(chains.DamagedError, match="of other chains or of another run"):
        chains.load(out)


def test_the_lock_is_given_back_also_where_workers_were_forked(tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    out = run(tmp_path / "run", 2)
    with folder.locked(out):
        copies = [
            os.dup(int(fd)) for fd in os.listdir("/dev/fd") if os.path.realpath(f"/dev/fd/{fd}") == str(out.resolve())
        ]
    try:
        assert copies
        run(out, 4, resume=True)
    finally:
        for copy in copies:
            os.close(copy)


def test_an_executor_that_was_shut_down_is_an_error(tmp_path):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(chains.RunError, match="the executor takes no work"):
        run(tmp_path / "run", 2, executor=pool, workers=1)


def test_a_disk_that_is_full_for_a_worker_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    position = work.start_position(KERNEL, THEORY.start(np.random.default_rng(1), 2), 3)
    monkeypatch.setattr(executors, "_stop", types.SimpleNamespace(value=0))
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        executors._advance(work.Task(KERNEL, {}, ()), position, 2, 1.0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_swapped_blocks_are_refused(tmp_path):
    out = run(tmp_path / "run", 4, workers=2)
    first, second = out / "block-0000", out / "block-0001"
    first.rename(out / "x")
    second.rename(first)
    (out / "x").rename(second)
    with pytest.raises(chains.DamagedError, match="of other chains or of another run"):
        chains.load(out)


def test_an_observable_that_is_no_longer_whole_is_refused(tmp_path):
    def drifting(x):
        return np.zeros(len(x), dtype=np.int64) if len(x) == 1 else np.full(len(x), 0.5)

    with pytest.raises(chains.RunError, match="got float64 for 'q', expected int64 as at the first step"):
        run(tmp_path / "run", 4, observables={"q": drifting})


def test_numpy_integers_are_integers(tmp_path):
    out = run(tmp_path / "run", np.int64(4), n_chains=np.int64(5), seed=np.int64(11), record_every=np.int64(2))
    assert chains.load(out)["charge"].shape == (2, 5)


def test_attachments_are_in_the_folder(tmp_path):
    out = run(tmp_path / "run", 2, attachments={"model/weights.npz": b"abc"})
    assert (out / "model" / "weights.npz").read_bytes() == b"abc"


def test_segments_survive_the_way_through_a_file():
    position = work.start_position(KERNEL, THEORY.start(np.random.default_rng(1), 2), 3)
    task = work.Task(KERNEL, THEORY.recorded, ("accepted",), save_every=2)
    segment = work.advance(task, position, 5, 100.0)
    again = work.segment_from(work.segment_arrays(segment))
    assert (again.acceptance, again.non_finite, again.failure) == (segment.acceptance, 0, "")
    assert again.position.step == 5
    same(again.series, segment.series)
    assert np.array_equal(again.fields, segment.fields)
    for name in ("x", "action", "force", "rngs"):
        assert np.array_equal(getattr(again.position, name), getattr(segment.position, name))


def test_what_an_interruption_leaves_behind_is_removed(tmp_path, expected):
    out = run(tmp_path / "run", STEPS // 2, workers=2)
    for stray in (
        "block-0000/.partial-xyz",
        "block-0001/000031-000040.npz",
        "block-0001/state-000040.npz",
        ".partial-abc",
    ):
        (out / stray).write_bytes(b"half")
    run(out, STEPS, resume=True)
    same(chains.load(out), expected)
    assert not list(out.rglob(".partial-*"))
    indexed = {entry["file"] for entry in json.loads((out / "block-0001/index.json").read_text())["segments"]}
    assert {path.name for path in (out / "block-0001").glob("0*.npz")} == indexed


def test_a_worker_that_raises_shows_its_traceback_once_and_nothing_is_lost(tmp_path):
    observables = {**THEORY.recorded, "trap": Trap(tmp_path)}
    expected = by_hand(STEPS)[0]
    for executor in ("thread", "process"):
        out = run(tmp_path / executor, STEPS // 2, workers=2, observables=observables, executor=executor)
        (tmp_path / "raise").touch()
        with pytest.raises(chains.RunError) as caught:
            run(out, STEPS, workers=2, observables=observables, executor=executor, resume=True)
        assert str(caught.value).count("ArithmeticError: the trap was armed") == 1
        assert "tests/runs.py" in str(caught.value)
        assert re.search(r"step 31 of chains \d to \d raised", str(caught.value))
        assert chains.read_manifest(out)["done"] == STEPS // 2
        (tmp_path / "raise").unlink()
        run(out, STEPS, workers=2, observables=observables, executor=executor, resume=True)
        same(chains.load(out, list(expected)), expected)


def test_the_steps_before_a_failure_are_kept():
    class Third:
        calls = 0

        def __call__(self, x):
            Third.calls += 1
            if Third.calls == 3:
                raise ArithmeticError("third")
            return x[:, 0, 0, 0]

    position = work.start_position(KERNEL, THEORY.start(np.random.default_rng(1), 2), 3)
    segment = work.advance(work.Task(KERNEL, {"third": Third()}, ()), position, 10, 100.0)
    assert "ArithmeticError: third" in segment.failure
    assert segment.position.step == 2
    good = work.advance(work.Task(KERNEL, {"x": lambda x: x[:, 0, 0, 0]}, ()), position, 2, 100.0)
    assert np.array_equal(segment.series["third"], good.series["x"])
    assert np.array_equal(segment.position.rngs, good.position.rngs)


def test_a_worker_that_dies_is_replaced(tmp_path, expected):
    observables = {**THEORY.recorded, "trap": Trap(tmp_path)}
    out = run(tmp_path / "run", STEPS // 2, executor="process", workers=2, observables=observables)
    (tmp_path / "die once").touch()
    # in this process the trial step would run into the trap: the parent's is disarmed
    parent = {**THEORY.recorded, "trap": DiesElsewhere(tmp_path)}
    run(out, STEPS, executor="process", workers=2, observables=parent, resume=True)
    assert not (tmp_path / "die once").exists()
    same(chains.load(out, list(expected)), expected)


def test_workers_that_always_die_end_the_run_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr("refimpl.chains.running.ATTEMPTS", 1)
    (tmp_path / "die").touch()
    observables = {**THEORY.recorded, "trap": DiesElsewhere(tmp_path)}
    with pytest.raises(chains.RunError, match="worker processes died"):
        run(tmp_path / "run", STEPS, executor="process", workers=2, observables=observables)
    (tmp_path / "die").unlink()
    run(tmp_path / "run", STEPS, executor="process", workers=2, observables=observables, resume=True)
    assert chains.read_manifest(tmp_path / "run")["done"] == STEPS


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 5, 8])
def test_a_full_disk_loses_nothing_that_was_written(tmp_path, monkeypatch, expected, writes):
    out, original, left = run(tmp_path / "run", 10, workers=2), folder._write, writes

    def full(path, content):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "_write", full)
        with pytest.raises(OSError, match="No space left"):
            run(out, STEPS, resume=True, segment_seconds=0.001)
    assert chains.load(out)["charge"].shape[0] >= 10
    run(out, STEPS, resume=True)
    same(chains.load(out), expected)


def test_stopping_returns_what_is_done(tmp_path):
    position = work.start_position(KERNEL, THEORY.start(np.random.default_rng(1), 2), 3)
    task = work.Task(KERNEL, THEORY.recorded, ())
    assert work.advance(task, position, 1000, 1e9, lambda: True).position.step == 1
    for kind in ("thread", "process"):
        with executors.opened(kind, 1) as pool:
            future = pool.submit(task, position, 10**6, 1e9, tmp_path)  # minutes, if it were not stopped
            pool.stop()
            assert not wait([future], timeout=600).not_done
            assert 1 <= pool.segment(future).position.step < 10**6


def test_a_ctrl_c_saves_the_steps_that_workers_have_done(tmp_path, monkeypatch):
    from refimpl.chains import running as module

    calls = []

    def interrupted(futures, **options):
        calls.append(options)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(futures, **options)

    original = module.wait
    monkeypatch.setattr(module, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", 10**6, segment_seconds=0.05, workers=1)
    monkeypatch.undo()
    done = chains.read_manifest(tmp_path / "run")["done"]
    assert 0 < done < 10**6
    same(chains.load(tmp_path / "run", steps=slice(0, 5)), by_hand(5)[0])


def test_a_ctrl_c_right_behind_a_segment_leaves_it_there(tmp_path, monkeypatch, expected):
    """The index names it already, but the run has not noted it: what no index names is removed, and not this."""
    original = folder.write_segment

    def interrupted(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "write_segment", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", STEPS, executor="process", workers=1)
    monkeypatch.undo()
    assert chains.load(tmp_path / "run")["charge"].shape[0] == chains.read_manifest(tmp_path / "run")["done"] > 0
    run(tmp_path / "run", STEPS, resume=True)
    same(chains.load(tmp_path / "run"), expected)


def test_a_folder_in_use_is_left_alone(tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    out = run(tmp_path / "run", 4)
    with folder.locked(out), pytest.raises(ValueError, match="another process runs in"):
        run(out, 8, resume=True)
    run(out, 8, resume=True)


BAD = [
    ({"n_chains": 0}, "n_chains: got 0, expected an integer of at least 1"),
    ({"n_steps": 0}, "n_steps: got 0"),
    ({"n_steps": 1.5}, "n_steps: got 1.5"),
    ({"seed": -1}, "seed: got -1"),
    ({"record_every": 0}, "record_every: got 0"),
    ({"save_every": -1}, "save_every: got -1"),
    ({"segment_seconds": -1}, "segment_seconds: got -1"),
    ({"workers": 0}, "workers: got 0, expected an integer of at least 1"),
    ({"workers": 6}, "workers: got 6, expected at most 5"),
    ({"executor": "cluster"}, "executor: got 'cluster', expected process, thread"),
    ({"observables": {}, "record": ()}, "nothing to record"),
    ({"observables": {"file": np.size}}, "got the name 'file'"),
    ({"observables": {"a.npy": np.size}}, "got the name 'a.npy', expected a word"),
    ({"observables": {"a" * 101: np.size}}, "expected a word"),
    ({"observables": ["charge"]}, r"observables: got \['charge'\], expected names and functions"),
    ({"observables": {"charge": 3}}, "expected names and functions"),
    ({"record": "accepted"}, "record: got 'accepted', expected a list"),
    ({"kernel": 3}, "kernel: got 3, expected an object with init and step"),
    ({"record_every": 6}, "record_every: got 6, expected at most n_steps = 5"),
    ({"observables": {"fields": np.size}}, "got the name 'fields'"),
    ({"observables": {"accepted": np.size}}, "got 'accepted' twice"),
    (
        {"executor": "process", "observables": {"q": lambda x: x[:, 0, 0, 0]}},
        r"observables\['q'\]: got what cannot be sent",
    ),
    ({"observables": {3: np.size}}, "observables: got the key 3, expected a name or a tuple of names"),
    ({"observables": {("a", "b"): np.size, "a": np.size}}, "got 'a' twice"),
    ({"configuration": {"a": np.nan}}, "configuration: got"),
    ({"configuration": {"a": {1, 2}}}, "configuration: got"),
    ({"resume": True}, "got no manifest.json, expected the folder of a run"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments_are_refused_before_there_is_a_folder(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", options.pop("n_steps", 5), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("observable", "message"),
    [
        (lambda x: 1.0, "got float64 of shape () for 'bad', expected one real number per chain"),
        (lambda x: x, "got float64 of shape (1, 2, 4, 4) for 'bad', expected one real number per chain, shape (1,)"),
        (lambda x: np.array(["a"] * len(x)), "expected one real number per chain"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_observables_are_tried_before_there_is_a_folder(tmp_path, observable, message):
    with pytest.raises(chains.RunError, match=re.escape(message)):
        run(tmp_path / "run", 5, observables={"bad": observable})
    for name in ("x", "force", "__class__"):
        with pytest.raises(chains.RunError, match=f"for '{name}', expected one real number per chain"):
            run(tmp_path / "run", 5, record=(name,))
    with pytest.raises(
        chains.RunError, match=r"record: got 'no_such', which a step of HMC does not have, expected.* delta_h,"
    ):
        run(tmp_path / "run", 5, record=("no_such",))
    cycle = Cycle([HMC(SCHWINGER.action, 0.3, 4), OrbitMetropolis(SCHWINGER.action)])
    with pytest.raises(chains.RunError, match="record: got 'evaluations', which a step of HMC does not have"):
        run(tmp_path / "run", 5, cycle, SCHWINGER, record=("evaluations",))
    with pytest.raises(chains.RunError, match=r"observables\[\('a', 'b'\)\]: got 1 arrays, expected 2"):
        run(tmp_path / "run", 5, observables={("a", "b"): lambda x: (x[:, 0, 0, 0],)})
    assert not list(tmp_path.iterdir())


def test_a_recorded_action_has_one_meaning(tmp_path):
    cycle = Cycle([PSEUDOFERMIONS, Winding(PSEUDOFERMIONS.action)])
    with pytest.raises(ValueError, match="record: got 'action', which is not the same for all kernels of this Cycle"):
        run(tmp_path / "run", 5, cycle, SCHWINGER, record=("action",))
    out = run(tmp_path / "run", 2, PSEUDOFERMIONS, SCHWINGER, record=("action",), save_every=1)
    gauge = [WilsonU1(2.0).action(x) for x in chains.load_fields(out)]
    np.testing.assert_allclose(chains.load(out)["action"], gauge, rtol=1e-13)


def test_a_cycle_of_cycles_runs_as_the_kernels_in_turn(tmp_path):
    winding = Winding(THEORY.action)
    nested, flat = Cycle([Cycle([KERNEL, winding]), KERNEL]), Cycle([KERNEL, winding, KERNEL])
    assert nested == flat
    out = run(tmp_path / "run", 5, nested, record=("accepted",))
    assert {"accepted/HMC-1", "accepted/Winding", "accepted/HMC-2"} < set(chains.load(out))


def test_starts(tmp_path):
    x = THEORY.start(np.random.default_rng(5), N_CHAINS)
    options = {"n_chains": N_CHAINS, "n_steps": 3, "seed": 1, "observables": {}, "executor": "thread"}
    out = chains.run(KERNEL, x, out=tmp_path / "array", **options)
    with np.load(out / "start.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["x"], x)
    for start, message in (
        (None, "start: got None"),
        (x[:2], "start: got fields of shape (2, 2, 4, 4), expected (n_chains = 5"),
        (5.0, "start: got fields of shape ()"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            chains.run(KERNEL, start, out=tmp_path / "bad", **options)


def test_a_run_whose_blocks_are_at_different_steps(tmp_path, expected):
    out = run(tmp_path / "run", 8, workers=2)
    behind = folder.block_folder(out, 1)
    for path in behind.iterdir():
        path.unlink()
    behind.rmdir()
    assert chains.read_manifest(out)["done"] == 0
    assert chains.load(out)["charge"].shape == (0, N_CHAINS)
    assert chains.load(out, chains=slice(0, 2))["charge"].shape == (8, 2)  # the other block has all of its steps
    with pytest.raises(ValueError, match="at different steps"):
        chains.last_fields(out)
    with pytest.raises(ValueError, match="n_steps: got 7, expected at least 8"):
        run(out, 7, resume=True)
    run(out, STEPS, resume=True)
    same(chains.load(out), expected)


def test_what_is_counted_adds_up(tmp_path):
    wild = HMC(THEORY.action, 1e160, 2)  # the kinetic energy overflows
    out = run(tmp_path / "run", 10, wild, workers=2)
    run(out, 30, wild, resume=True)
    assert chains.read_manifest(out)["non_finite"] == 30 * N_CHAINS
    position = work.start_position(KERNEL, THEORY.start(np.random.default_rng(1), 4), 3)
    segment = work.advance(work.Task(KERNEL, {}, ("accepted",)), position, 20, 100.0)
    assert segment.acceptance == pytest.approx(segment.series["accepted"].mean(), abs=1e-12)  # rounding of a sum of 20
    assert 0 < segment.acceptance < 1


def test_another_run_is_refused_with_the_difference(tmp_path):
    out = run(tmp_path / "run", 5, configuration={"model": "a"})
    for options, lines in (
        ({"kernel": HMC(THEORY.action, 0.25, 4)}, ["kernel.step_size: the run has 0.3, got 0.25"]),
        ({"seed": 12, "n_chains": 6}, ["n_chains: the run has 5, got 6", "seed: the run has 11, got 12"]),
        ({"configuration": {"model": "b"}}, ["configuration.model: the run has 'a', got 'b'"]),
        ({"record": ("accepted",)}, ["series: the run has ['plaquette'"]),
        (
            {"record_every": 2, "save_every": 1},
            ["record_every: the run has 1, got 2", "save_every: the run has 0, got 1"],
        ),
    ):
        with pytest.raises(ValueError, match="another one") as caught:
            run(out, 5, resume=True, **{"configuration": {"model": "a"}, **options})
        assert all(line in str(caught.value) for line in lines)
    with pytest.raises(ValueError, match="n_steps: got 3, expected at least 5"):
        run(out, 3, resume=True, configuration={"model": "a"})
    with pytest.raises(ValueError, match="exists already"):
        run(out, 5)


def test_reading_what_is_not_there_is_refused(tmp_path, finished):
    for call, message in (
        (lambda: chains.load(tmp_path), "got no manifest.json"),
        (lambda: chains.load(finished, ["q"]), "names: got 'q', expected some of plaquette"),
        (lambda: chains.load(finished, chains=slice(0, 4, 2)), "expected a slice of step 1"),
        (lambda: chains.load_fields(run(tmp_path / "no", 2)), "saves no fields"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    other = tmp_path / "other"
    other.mkdir()
    manifest = json.loads((finished / "manifest.json").read_text())
    del manifest["sha256"]
    (other / "manifest.json").write_bytes(folder._sealed({**manifest, "format": "refimpl-run-9"}))
    with pytest.raises(ValueError, match="got format 'refimpl-run-9'"):
        chains.load(other)


def test_the_manifest_says_what_was_run(finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["kernel"] == description(KERNEL)
    assert manifest["series"] == {
        "plaquette": "float64", "sine_charge": "float64", "charge": "int64", "accepted": "bool", "delta_h": "float64",
    }  # fmt: skip
    assert manifest["versions"]["numpy"] == np.__version__
    assert set(manifest["machine"]) == {"system", "processor", "processors"}


def test_descriptions_see_every_parameter():
    model = NOISY
    assert description(L2HMC(model)) == description(L2HMC(model.replace(params=dict(model.params))))
    assert json.loads(json.dumps(description(L2HMC(model)))) == description(L2HMC(model))
    changed = model.replace(params={**model.params, "eps_x": np.nextafter(model.params["eps_x"], 1)})
    assert len(differences(description(L2HMC(model)), description(L2HMC(changed)))) == 1


def test_blocks_share_the_chains():
    for n_chains, size, workers in ((5, 32, 2), (64, 128, 2), (3, 128, 8), (256, 8192, 2), (100, 10**6, 3)):
        blocks = chains_blocks(n_chains, size, workers)
        assert [a for a, _ in blocks] == [0, *(b for _, b in blocks)][:-1]
        assert blocks[-1][1] == n_chains
        sizes = [b - a for a, b in blocks]
        assert max(sizes) - min(sizes) <= 1
        assert len(blocks) == n_chains or len(blocks) % workers == 0


def test_there_are_blocks_for_a_larger_machine_where_they_cost_nothing():
    assert len(chains_blocks(256, 128, 1)) == 8  # of 4096 numbers
    assert len(chains_blocks(256, 128, 3)) == 6
    assert len(chains_blocks(16, 128, 1)) == 1
    assert len(chains_blocks(10**4, 8192, 2)) == 626  # not more than the kernels' blocks of 131072


def chains_blocks(*arguments):
    from refimpl.chains import running as module

    return module._blocks(*arguments)


def test_processes_have_one_blas_thread_and_the_parent_its_environment_back(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with executors.opened("process", 1) as pool:
        pool.submit(work.Task(KERNEL, {}, ()), None, 0, 0.0, tmp_path)  # starts the process
        assert pool.executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_missing_engines_say_what_to_install(tmp_path, monkeypatch):
    import sys

    for name, executor in (("distributed", "dask:tcp://127.0.0.1:1"), ("mpi4py", "mpi")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"pip install 'refimpl\[distributed\]'"):
            run(tmp_path / "run", 5, executor=executor)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"pip install 'refimpl\[arviz\]'"):
        chains.to_arviz(tmp_path)


def test_arviz_sees_the_same_numbers(finished):
    pytest.importorskip("arviz", reason="arviz is an extra of its own")
    data = chains.to_arviz(finished, ["plaquette", "charge"])
    assert np.array_equal(data["posterior"]["charge"].values, chains.load(finished)["charge"].T)


def test_threads_run_side_by_side(tmp_path):
    seen, barrier = [], threading.Barrier(2, timeout=300)

    def both(x):
        if len(x) > 1 and len(seen) < 2:
            seen.append(threading.get_ident())
            barrier.wait()
        return np.zeros(len(x))

    run(tmp_path / "run", 2, observables={"both": both}, workers=2)
    assert len(set(seen)) == 2


def test_parallel_runs_pass_the_checks_of_drivers():
    from refimpl.validation import check_target
    from refimpl.validation.references.chains import ReferenceChains

    report = check_target(ReferenceChains(2.0, (4, 4), 0.3, 3), level="smoke", select="driver", seed=1)
    assert report.exit_code == 0, report.as_table()
    assert len(report.verdicts) >= 8
