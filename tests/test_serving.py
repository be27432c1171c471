"""Targets that are served answer as they do in process; what is refused, declined and passed on."""

import io
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.validation import protocol
from refimpl.validation.contract import Subject
from refimpl.validation.conversion import Declined
from refimpl.validation.operations import OPERATIONS
from refimpl.validation.remote import Processes, RemoteFactory, plain_parameters
from refimpl.validation.run_folder import RunFolder, array_in
from refimpl.validation.serving import MOST_STATES, Server, _varies, serve

from .targets import loops

ROOT = Path(__file__).resolve().parent.parent
SERVE = f"{shlex.quote(sys.executable)} -m refimpl harness serve"


def test_a_served_target_answers_as_it_does_in_process():
    factory = RemoteFactory(Processes(f"{SERVE} tests.targets.loops:target"))
    there = Subject(factory, parameters={"beta": 1.5, "shape": (2, 4), "step_size": 0.2, "n_steps": 3})
    here = Subject(loops.target(1.5, (2, 4), 0.2, 3))
    assert there.capabilities == here.capabilities
    rng = np.random.default_rng(2)
    x, v, u = rng.standard_normal((3, 2, 2, 4)), rng.standard_normal((3, 2, 2, 4)), rng.random(3)
    calls = {
        "force": (x,), "wilson_loop": (x, 1, 2), "forward": ((x, v),), "transition": (x, v, u), "transcript": (x, 3),
        "step": (x, 4), "integrated_autocorrelation_time": (x.ravel(),), "charge": (x,),
    }  # fmt: skip
    for name, given in calls.items():
        np.testing.assert_equal(getattr(there, name)(*given), getattr(here, name)(*given))
    (first, state), (whole, _) = there.run(x, 2, 5), here.run(x, 5, 5)
    second, _ = there.resume(state, 3, x)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)
    assert there.parameter("step_size") == 0.2
    factory.source.close()


def test_smoke_says_what_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr("refimpl.validation.smoke.GRACE", 5.0)
    misbehaving = shlex.join([sys.executable, "-I", "-S", str(ROOT / "tests" / "targets" / "misbehaving.py"), "nan"])
    assert main(["harness", "smoke", misbehaving]) == 1
    out = capsys.readouterr().out
    assert "FAIL  action                            zero field: action: got 3 NaN" in out
    assert "FAIL  refuses no JSON" in out
    assert "ok    stop" in out
    assert main(["harness", "smoke", misbehaving[:-3] + "dies-at-start"]) == 3


def test_smoke_of_a_program_that_does_all_as_it_should(capsys):
    assert (
        main(["harness", "smoke", f"{shlex.quote(sys.executable)} {ROOT / 'validation' / 'templates' / 'harness.py'}"])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("all is well")


@pytest.mark.parametrize("language", ["cpp", "julia", "python"])
def test_templates_are_printed_and_written(language, capsys, tmp_path):
    assert main(["harness", "template", language]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "harness"
    assert main(["harness", "template", language, "--out", str(path)]) == 0
    assert path.read_text() == text
    assert main(["harness", "template", language, "--out", str(path)]) == 2


class Small:
    """A target with little to do."""

    theory, beta, shape = "u1", 2.0, (2, 2)

    def action(self, x):
        if x.shape[1:] != (2, 2, 2):
            raise ValueError(f"x: got shape {x.shape}")
        print("what a target prints is no answer")
        return np.zeros(len(x))


def test_serving_takes_lines_of_any_length(tmp_path):
    lines = b"x" * (3 << 20) + b"\n" + b'{"type":"stop"}\n' + b"never read\n"
    answers = io.BytesIO()
    serve(Small(), io.BytesIO(lines), answers)
    first, last = answers.getvalue().splitlines()
    assert json.loads(first)["status"] == "errored"
    assert json.loads(last) == {"status": "ok"}


def test_serving_ends_with_its_input():
    answers = io.BytesIO()
    serve(Small(), io.BytesIO(b'{"type":'), answers)
    assert json.loads(answers.getvalue())["status"] == "errored"


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("thrift", 8, 8),
        ("thrift", np.int64(4096), 4096),
        ("thrift", None, None),
        ("thrift", 0, "thrift: got 0, expected an integer from 1 to 4096"),
        ("thrift", 4097, "thrift: got 4097, expected"),
        ("reversible", "no", "reversible: got 'no', expected true or false"),
        ("improvement_ratio", float("nan"), "improvement_ratio: got nan, expected a finite number"),
    ],
)
def test_attributes_are_passed_on_or_refused(name, value, answer, tmp_path):
    target = Small()
    setattr(target, name, value)
    found = Server(target).answer(protocol.encoded(protocol.start_message(str(tmp_path), {})))
    if isinstance(answer, str):
        assert answer in found["message"]
    else:
        assert protocol.declaration(protocol.encoded(found)).attributes.get(name) == answer


def test_serving_passes_on_what_a_target_declines(tmp_path):
    class Shy(Small):
        def action(self, x):
            raise Declined("not on Mondays")

    server = Server(Shy())
    folder = RunFolder(tmp_path)
    server.answer(protocol.encoded(protocol.start_message(folder.path, {})))
    x = folder.write("x.npy", np.zeros((1, 2, 2, 2)))
    message = protocol.run_message(4, "action", {}, {"x": x}, {"action": folder.where("a.npy")}, 1.0)
    assert server.answer(protocol.encoded(message)) == {"status": "skipped", "id": 4, "reason": "not on Mondays"}


def test_numbers_come_back_with_their_bits(tmp_path):
    folder = RunFolder(tmp_path)
    rng = np.random.default_rng(5)
    for array in (
        rng.standard_normal((3, 2)),
        rng.standard_normal((2, 3, 4)).T,
        rng.standard_normal(3) + 1j,
        np.array(0.1),
    ):
        folder.write("a.npy", array)
        back = array_in(folder.read("a.npy"))
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype
    for array in (np.asfortranarray(rng.standard_normal((3, 2))), np.arange(4, dtype=">i4"), np.array([True, False])):
        np.save(Path(folder.path) / "b.npy", array)
        np.testing.assert_array_equal(array_in(folder.read("b.npy")), array)
    folder.close()


def test_parameters_are_what_json_has():
    assert plain_parameters({"shape": (2, 4), "beta": np.float64(1.5), "covariance": np.eye(2)}) == {
        "shape": [2, 4], "beta": 1.5, "covariance": [[1.0, 0.0], [0.0, 1.0]]
    }  # fmt: skip


# --- requests, one by one ---------------------------------------------------------------------------------------------------
class Serving:
    """A server that was started, and its folder."""

    def __init__(self, target, path):
        self.server, self.folder, self.path = Server(target), RunFolder(path), str(path)
        self.started = self.ask(protocol.start_message(self.folder.path, {}))

    def ask(self, message):
        return self.server.answer(protocol.encoded(message))

    def run(self, op, params=None, sent=(), wanted=(), number=7):
        files = {name: self.folder.write(f"{name}.npy", value) for name, value in dict(sent).items()}
        out = {name: self.folder.where(f"got.{name}") for name in wanted}
        return self.ask(protocol.run_message(number, op, params or {}, files, out, 1.0))

    def got(self, name):
        return self.folder.read(f"got.{name}")


class Odd(Small):
    """Ends the program, scribbles on what it is given, and keeps states."""

    def force(self, x):
        raise SystemExit("no licence")

    def plaquette(self, x):
        x += 1
        return x[:, 0, 0, 0]

    def dirac_dense(self, x):
        return np.zeros((1, 2), np.complex128)

    def charge(self, x):
        return [1, 2]

    def run(self, x, n, seed):
        return np.zeros((n, *x.shape)), {"n": n}

    def resume(self, state, n):
        return np.full((1, 1), float(state["n"])), state

    def transcript(self, x, seed):
        raise KeyError("seed 3")


X = {"x": np.zeros((1, 2, 2, 2))}


@pytest.mark.parametrize(
    ("op", "params", "sent", "wanted", "told"),
    [
        ("force", {}, X, ["force"], "SystemExit: no licence"),
        ("action", {}, {}, ["action"], "in: got no x, expected x"),
        ("action", {}, X, [], "out: got no action, expected action"),
        ("run", {"n": 1}, X, ["configurations", "state_next"], "params: got no seed, expected n, seed for run"),
        ("correlator", {"t": 1}, X, ["correlator"], "op: got 'correlator', which this target does not offer"),
        ("transcript", {"seed": 1}, X, (*OPERATIONS["transcript"].results,), "KeyError: 'seed 3'"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(op, params, sent, wanted, told, tmp_path):
    assert Serving(Odd(), tmp_path).run(op, params, sent, wanted) in (
        {"status": "errored", "id": 7, "message": told}, {"status": "errored", "message": told}
    )  # fmt: skip


def test_a_session_is_started_once_and_first(tmp_path):
    serving = Serving(Odd(), tmp_path)
    again = serving.ask(protocol.start_message(serving.folder.path, {}))
    assert again == {"status": "errored", "message": "start: got it twice, expected it once"}
    serving.server = Server(Odd())
    assert serving.run("action", {}, X, ["action"])["message"] == "run: got it before start, expected start first"


def test_a_target_may_scribble_on_what_it_is_sent(tmp_path):
    serving = Serving(Odd(), tmp_path)
    assert serving.run("plaquette", {}, X, ["plaquette"])["status"] == "ok"
    np.testing.assert_array_equal(array_in(serving.got("plaquette")), [1])


@pytest.mark.parametrize(("op", "kind"), [("dirac_dense", "complex128"), ("charge", "float64")])
def test_numbers_are_complex_where_the_target_says_so(op, kind, tmp_path):
    serving = Serving(Odd(), tmp_path)
    assert serving.run(op, {}, X, [op])["status"] == "ok"
    assert array_in(serving.got(op)).dtype == kind


def test_the_last_states_alone_are_kept(tmp_path):
    serving, wanted = Serving(Odd(), tmp_path), ["configurations", "state_next"]
    tokens = []
    for n in range(MOST_STATES + 1):
        assert serving.run("run", {"n": n, "seed": 1}, X, wanted)["status"] == "ok"
        tokens.append(serving.got("state_next"))
    told = serving.run("resume", {"n": 1}, {"state": tokens[0]}, wanted)
    assert told["message"] == f"state: got one that is not kept here, expected one of the last {MOST_STATES}"
    assert serving.run("resume", {"n": 1}, {"state": tokens[1]}, wanted)["status"] == "ok"
    np.testing.assert_array_equal(array_in(serving.got("configurations")), [[1]])


def test_what_varies_are_the_arguments_that_have_a_name(tmp_path):
    def factory(shape, /, beta=2.0, *, step_size=0.1, colour="red"):
        return Small()

    def any_of_them(**parameters):
        return Small()

    assert _varies(factory, Small()) == ["beta", "step_size"]
    assert {"beta", "shape", "n_steps"} <= set(_varies(any_of_them, Small()))
    assert _varies(small := Small(), small) == []
