"""The benchmark's competitors do the same physics; nothing here is timed."""

import importlib.util

import numpy as np
import pytest

from refimpl.actions import WilsonU1
from refimpl.exact import u1
from refimpl.kernels import HMC, spawn_rngs
from refimpl.validation import bench

PARAMETERS = (4.0, 0.2, 5)


def test_roll_form_makes_the_same_chain():
    x = u1.sample(np.random.default_rng(1), 16, 4.0, (4, 6))
    step = bench.roll_hmc_stepper(*PARAMETERS, x, seed=3)
    kernel = HMC(WilsonU1(PARAMETERS[0]), *PARAMETERS[1:])
    state, rngs = kernel.init(x), spawn_rngs(3, 16)
    for _ in range(3):
        links = step()
        state, _ = kernel.step(rngs, state)
    assert np.max(np.abs(np.sin(links - state.x))) < 1e-11  # rounding of 15 steps, amplified by less than 1000


@pytest.mark.parametrize(("package", "module"), [("torch", "u1_torch"), ("jax", "u1_jax"), ("numba", "u1_numba")])
def test_peers_leave_equilibrium_alone(package, module):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is in the extra 'bench'")
    stepper = importlib.import_module(f"refimpl.validation.peers.{module}").hmc_stepper
    x = u1.sample(np.random.default_rng(2), 4096, 4.0, (4, 4))
    step = stepper(*PARAMETERS, x, 5)
    for _ in range(3):
        links = np.array(step())
    p = np.cos(links[:, 0] + np.roll(links[:, 1], -1, 1) - np.roll(links[:, 0], -1, 2) - links[:, 1]).mean(axis=(1, 2))
    assert np.any(links != x)
    assert abs(p.mean() - u1.plaquette(4.0, (4, 4))) < 5 * p.std() / np.sqrt(len(p))


def test_table_and_ratios(monkeypatch):
    monkeypatch.setitem(
        bench.ITEMS, "tiny", bench.Item(lambda n: {"ours": lambda: n, "theirs": lambda: n}, {"case": (1,)})
    )
    timings = bench.run("tiny", seconds=0.01)
    assert [t.name for t in timings] == ["ours", "theirs"]
    assert timings[0].ratio == 1.0
    assert timings[1].ratio_low <= timings[1].ratio <= timings[1].ratio_high
    assert "their time / ours" in bench.table(timings)
