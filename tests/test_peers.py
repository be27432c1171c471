"""Packages of others as targets, each skipped where it is not installed; and the table of ``refimpl peers``, which needs none."""

import importlib
import json
import math
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.validation import check_target, peer_runs
from refimpl.validation.peer_runs import PEERS, Outcome, Peer
from refimpl.validation.report import FAILED, NOTHING_RAN, OK, Report
from refimpl.validation.verdict import Verdict

SOURCES = Path(peer_runs.__file__).parent / "peers"
FAKE = Peer("numpy", "somebody.fake:target", "pip install numpy")
MISSING = Peer("no_such_package", "somebody.missing:nuts", "pip install 'refimpl[missing]'")

EXACT = Verdict("pass", "error", 1e-15, 1e-12, "an error of 1e-12", 4, check="static.action")
COARSE = Verdict("pass", "error", 1e-9, 1e-6, "an error of 1e-6", 4, check="static.force")
STATISTICAL = Verdict("pass", "p-value", 0.5, 1e-8, "a shift of 0.1", 99, alpha=1e-7, check="exact_start.moves")
WRONG = Verdict("fail", "max |a - b|", 3e-3, 1e-12, "", 4, detail="misses chain 5", check="maps.round_trip")
WORSE = Verdict("fail", "max |c - d|", 2.0, 1e-3, "", 4, check="maps.reversal")
UNLIKELY = Verdict("fail", "p-value", 1e-20, 1e-8, "", 99, alpha=1e-7, check="exact_start.drift")
RAISED = Verdict("fail", "the call itself", detail="step: raised ValueError", check="driver.seeds")


def report(*verdicts):
    return Report("fake", {"theory": "u1"}, "smoke", 3, 1e-6, verdicts, len(verdicts), 130, 1.0)


def outcome(*verdicts):
    return Outcome(
        FAKE, "1.2", report(*verdicts), "", "refimpl validate somebody.fake:target --level smoke --seed 3", 2.0
    )


def test_evidence_of_a_pass_is_the_smallest_error_that_is_no_statistic():
    assert outcome(COARSE, STATISTICAL, EXACT).evidence == "an error of 1e-12"
    assert outcome(STATISTICAL).evidence == "a shift of 0.1"


def test_evidence_of_failures_is_the_one_furthest_beyond_its_bound():
    assert outcome(UNLIKELY, WORSE, WRONG, RAISED).evidence == "maps.round_trip: max |a - b| = 0.003, bound 1e-12"
    assert outcome(UNLIKELY).evidence == "exact_start.drift: p-value = 1e-20, bound 1e-08"
    assert outcome(UNLIKELY, RAISED).evidence == "driver.seeds: step: raised ValueError"  # no false alarm
    nan = replace(WRONG, value=math.nan)
    assert outcome(nan, WORSE).evidence == outcome(WORSE, nan).evidence == peer_runs.told(nan)
    assert outcome(EXACT, RAISED).evidence == "driver.seeds: step: raised ValueError"


def test_exit_codes():
    passed, failed, missing = outcome(EXACT), outcome(WRONG), Outcome(MISSING)
    crashed = Outcome(FAKE, "1.2", None, "signal 11: said nothing")
    assert peer_runs.exit_code([passed, missing]) == OK
    assert peer_runs.exit_code([passed, failed]) == peer_runs.exit_code([passed, crashed]) == FAILED
    assert peer_runs.exit_code([missing]) == peer_runs.exit_code([]) == NOTHING_RAN


def test_the_table_has_failures_with_their_command_and_what_is_missing():
    table = peer_runs.as_table([outcome(EXACT, STATISTICAL), outcome(EXACT, WRONG), Outcome(MISSING)])
    head, passed, failed, *rest = table.splitlines()
    assert head.split() == list(peer_runs.HEAD)
    assert passed.split()[:8] == ["numpy", "1.2", "fake", "2", "0", "0", "2", "2"]
    assert failed.split()[3:5] == ["1", "1"]
    assert rest == [
        "",
        "fake: refimpl validate somebody.fake:target --level smoke --seed 3",
        "  FAIL  maps.round_trip: max |a - b| = 0.003, bound 1e-12; misses chain 5",
        "",
        "no_such_package is not installed: pip install 'refimpl[missing]'",
    ]


def test_declared_failures_are_told_with_their_reason():
    known = Verdict("fail", "p", 0.0, 1e-8, "", 9, alpha=1e-7, check="transcript.direction", expected_failure="one bit")
    told = outcome(EXACT, known)
    assert told.status == "passed"
    assert "  known transcript.direction: p = 0, bound 1e-08; one bit" in peer_runs.as_table([told]).splitlines()


def test_markdown_and_records():
    outcomes = [outcome(EXACT, WRONG), Outcome(FAKE, "1.2", None, "exit code 3: no"), Outcome(MISSING)]
    text = peer_runs.as_markdown(outcomes)
    assert text.count("\n| ") == 2
    assert "- maps.round\\_trip" in text
    assert "- exit code 3: no" in text
    wrong, crashed, missing = json.loads(json.dumps(peer_runs.as_records(outcomes), allow_nan=False))
    assert wrong["status"] == "failed"
    assert wrong["failures"][0]["check"] == "maps.round_trip"
    assert (wrong["passed"], wrong["failed"], wrong["applicable"]) == (1, 1, 2)
    assert crashed["status"] == "crashed"
    assert crashed["evidence"] == "exit code 3: no"
    assert missing["status"] == "missing"
    assert missing["install"] == "pip install 'refimpl[missing]'"


def test_what_can_be_chosen():
    peers = (FAKE, MISSING)
    assert MISSING.name == "missing:nuts"
    assert peer_runs.chosen([], peers) == [FAKE, MISSING]
    assert peer_runs.chosen(["numpy"], peers) == peer_runs.chosen(["fake"], peers) == [FAKE]
    with pytest.raises(
        ValueError, match="NAME: got 'numpi', expected one of numpy, no_such_package, fake, missing:nuts"
    ):
        peer_runs.chosen(["numpi"], peers)


def test_a_process_that_dies_does_not_end_the_table(tmp_path, monkeypatch):
    (tmp_path / "dying_peer.py").write_text(
        "import os\nos.write(2, b'last words\\n')\nos._exit(42)\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    dead = peer_runs.outcome_of(Peer("numpy", "dying_peer:target", ""), "smoke", 1, threading.TIMEOUT_MAX)
    assert (dead.status, dead.trouble) == ("crashed", "exit code 42: last words")
    assert dead.version == np.__version__


def test_a_target_that_takes_too_long_is_ended():
    assert peer_runs.outcome_of(Peer("numpy", "builtin:u1", ""), "smoke", 1, 0.01).trouble == "took longer than 0 s"


def test_what_is_no_report_is_told(tmp_path, monkeypatch):
    lines = ("import os, sys", "open(sys.argv[sys.argv.index('--out') + 1], 'w').write('{}')", "os._exit(0)")
    (tmp_path / "lying_peer.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lying = peer_runs.outcome_of(Peer("numpy", "lying_peer:target", ""), "smoke", 1)
    assert lying.status == "crashed"
    assert "is no report: schema: got NoneType" in lying.trouble


def test_the_command(monkeypatch, capsys):
    asked, deadlines = [], []

    def found(peer, level, seed, deadline, children, options):
        asked.append((peer.name, level, seed))
        deadlines.append(deadline)
        return Outcome(peer) if peer is MISSING else outcome(WRONG)

    monkeypatch.setattr(peer_runs, "PEERS", (FAKE, MISSING))
    monkeypatch.setattr(peer_runs, "chosen", lambda names: [FAKE, MISSING])
    monkeypatch.setattr(peer_runs, "outcome_of", found)
    assert main(["peers", "--seed", "3"]) == FAILED
    assert asked == [("fake", "smoke", 3), ("missing:nuts", "smoke", 3)]
    assert "maps.round_trip" in capsys.readouterr().out
    assert main(["peers", "--deadline", "1e300"]) == FAILED
    assert deadlines == [peer_runs.DEADLINE] * 2 + [threading.TIMEOUT_MAX] * 2
    assert main(["peers", "--list"]) == OK
    assert "pip install 'refimpl[missing]'" in capsys.readouterr().out


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_its_module_and_its_extra(peer):
    module, _, factory = peer.target.rpartition(".")[2].partition(":")
    assert f"\ndef {factory}(" in (SOURCES / f"{module}.py").read_text(encoding="utf-8")
    extra = peer.install.partition("[")[2].partition("]")[0]
    setup = Path(__file__).resolve().parent.parent / "setup.cfg"
    assert f"\n{extra} =\n" in setup.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("blackjax", "blackjax"),
        ("numpyro", "numpyro"),
        ("l2hmc", "torch"),
        ("sesamo", "sesamo"),
        ("lfox", "lfox.action"),
        ("u1_torch_hmc", "torch"),
        ("u1_jax_hmc", "jax"),
    ],
)
def test_the_message_says_what_to_install(module, package, monkeypatch):
    name = f"refimpl.validation.peers.{module}"
    monkeypatch.setitem(sys.modules, package, None)
    for loaded in (name, "refimpl.validation.peers.jax_chains"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    with pytest.raises(ImportError, match=r"pip install 'refimpl\[\w+\]'"):
        importlib.import_module(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("blackjax", "blackjax"),
        ("numpyro", "numpyro"),
        ("u1_jax_hmc", "jax"),
        ("u1_torch_hmc", "torch"),
        ("l2hmc", "l2hmc"),
        ("lfox", "lfox"),
    ],
)
def test_hmc_of_others_passes_what_is_no_statistic(module, package):
    pytest.importorskip(package)
    peer = importlib.import_module(f"refimpl.validation.peers.{module}")
    for select in ("maps.*", "transcript.*", "static.*"):
        found = check_target(peer.target, level="smoke", seed=1, select=select)
        assert [v.check for v in found.failures] == []
    assert check_target(peer.target, level="smoke", seed=1, select="maps.energy_scaling").summary()["passed"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("module", ["blackjax", "numpyro"])
def test_nuts_of_others_is_a_function_of_its_seed(module):
    pytest.importorskip(module)
    peer = importlib.import_module(f"refimpl.validation.peers.{module}")
    found = check_target(peer.nuts, level="smoke", seed=1, select="driver.seeds")
    assert found.summary()["passed"] == 1


@pytest.mark.slow
def test_kernels_with_nets_of_l2hmc_are_wrong_as_its_adapter_says():
    pytest.importorskip("l2hmc")
    peer = importlib.import_module("refimpl.validation.peers.l2hmc")
    merged = {v.check for v in check_target(peer.merged, level="smoke", seed=1, select="maps.*").failures}
    assert merged == {"maps.round_trip", "maps.logdet_antisymmetry", "maps.periodicity", "maps.reversal"}
    (decision,) = check_target(peer.directed, level="smoke", seed=1, select="transcript.decision").verdicts
    assert decision.status == "fail"


def test_dataclasses_and_tensorflow_are_left_as_they_were():
    pytest.importorskip("l2hmc")
    import dataclasses

    importlib.import_module("refimpl.validation.peers.l2hmc")
    assert dataclasses.dataclass.__module__ == "dataclasses"
    assert "tensorflow" not in sys.modules or hasattr(sys.modules["tensorflow"], "__version__")
