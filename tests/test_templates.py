"""The templates of targets in other languages: what they answer is right, what they cannot answer is refused, wrong ones fail.

The C++ one is compiled here, with all warnings as errors. That of Julia is run only where there is a Julia.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refimpl.validation import check_target
from refimpl.validation.references.kernels import ReferenceU1
from refimpl.validation.targets import target_named

TEMPLATES = Path(__file__).resolve().parent.parent / "validation" / "templates"
COMPILER, JULIA = shutil.which("g++"), shutil.which("julia")
SETTINGS = {"beta": 1.7, "shape": (6, 4), "step_size": 0.2, "n_steps": 7}
RECORD = ("x_proposed", "v_proposed", "logdet", "delta_h", "accept", "x_next")
STRICT = ("-O1", "-Wall", "-Wextra", "-pedantic", "-Werror")


class Dialogue:
    """One process, asked by a parent of a few lines that shares nothing with the oracle's own."""

    def __init__(self, command, folder, **parameters):
        self.folder, self.id = folder, 0
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.about = self.ask({"type": "start", "protocol": 1, "folder": str(folder), "parameters": parameters})

    def say(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, message):
        return self.say(json.dumps(message, separators=(",", ":")).encode())

    def run(self, op, results, params=None, **arrays):
        """The arrays of that name, or the answer where it is not ok."""
        self.id += 1
        ins = {name: str(self.folder / f"{self.id}.{name}.npy") for name in arrays}
        outs = {name: str(self.folder / f"{self.id}.{name}.npy") for name in results}
        for name, path in ins.items():
            np.save(path, arrays[name])
        about = {"type": "run", "id": self.id, "op": op, "params": params or {}}
        answer = self.ask({**about, "in": ins, "out": outs, "deadline": 60.0})
        assert answer["id"] == self.id
        return answer if answer["status"] != "ok" else {k: np.load(outs[k], allow_pickle=False) for k in outs}


def compiled(source, folder, *options):
    """The program of a source, or a skip where there is no compiler."""
    if COMPILER is None:
        pytest.skip("no g++ on this machine")
    file = folder / "harness.cpp"
    file.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [COMPILER, "-std=c++17", *options, "-o", folder / "harness", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [str(folder / "harness")]


@pytest.fixture(scope="module", params=["cpp", "py", "jl"])
def command(request, tmp_path_factory):
    if request.param == "cpp":
        source = (TEMPLATES / "harness.cpp").read_text(encoding="utf-8")
        return compiled(source, tmp_path_factory.mktemp("cpp"), *STRICT)
    if request.param == "py":
        return [sys.executable, str(TEMPLATES / "harness.py")]
    if JULIA is None:
        pytest.skip("no julia on this machine")
    return [JULIA, str(TEMPLATES / "harness.jl")]


@pytest.fixture
def dialogue(command, tmp_path):
    started = Dialogue(command, tmp_path, **SETTINGS)
    yield started
    assert started.ask({"type": "stop"}) == {"status": "ok"}
    assert started.process.wait(20) == 0
    started.process.stdin.close()
    started.process.stdout.close()


@pytest.fixture
def fields():
    """Any angles, and noise, for five chains."""
    rng = np.random.default_rng(1)
    return rng.uniform(-4, 4, (5, 2, 6, 4)), rng.standard_normal((5, 2, 6, 4)), rng.random(5)


def turned(a, b):
    """The distance of angles on the circle."""
    return np.abs(np.exp(1j * a) - np.exp(1j * b))


def test_it_declares_the_parameters_that_were_asked_for(dialogue):
    assert dialogue.about["status"] == "ok"
    assert dialogue.about["theory"] == "u1"
    assert dialogue.about["parameters"] == {**SETTINGS, "shape": [6, 4]}
    assert set(dialogue.about["varies"]) == set(SETTINGS)


def test_every_op_answers_as_the_reference_does(dialogue, fields):
    x, v, u = fields
    reference = ReferenceU1(**SETTINGS)
    # Sums of 24 terms of size 4 and forces of four sines round to 1e-14; over 7 steps links and momenta stay below 1e-12.
    for op in ("action", "force", "plaquette", "charge"):
        np.testing.assert_allclose(dialogue.run(op, [op], x=x)[op], getattr(reference, op)(x), rtol=0, atol=5e-14)
    for op in ("forward", "inverse"):
        got = dialogue.run(op, RECORD[:3], x=x, v=v)
        (y, w), logdet = getattr(reference, op)((x, v))
        assert turned(got["x_proposed"], y).max() < 1e-12
        np.testing.assert_allclose(got["v_proposed"], w, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(got["logdet"], logdet)
    got, expected = dialogue.run("transition", RECORD, x=x, v=v, u=u), reference.transition(x, v, u)
    assert turned(got["x_next"], expected["x_next"]).max() < 1e-12
    assert np.all((got["x_next"] >= -np.pi) & (got["x_next"] < np.pi) | ~expected["accept"].reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(got["delta_h"], expected["delta_h"], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(got["accept"].astype(bool), expected["accept"])


def test_noise_is_that_of_the_seed_and_of_the_chain_alone(dialogue, fields):
    x = fields[0]
    whole = dialogue.run("transcript", (*RECORD, "v", "u"), {"seed": 2**62 + 3}, x=x)
    part = dialogue.run("transcript", (*RECORD, "v", "u"), {"seed": 2**62 + 3}, x=x[:2])
    for name, array in part.items():
        np.testing.assert_array_equal(array, whole[name][:2])
    np.testing.assert_array_equal(dialogue.run("step", ["step"], {"seed": 2**62 + 3}, x=x)["step"], whole["x_next"])
    others = [
        dialogue.run("transcript", ["v", "u"], {"seed": seed}, x=x) for seed in (0, 1, 3, 5, 2**32 + 3, 2**61 + 3)
    ]
    for name in ("v", "u"):
        drawn = [record[name].ravel() for record in (whole, *others)]
        assert np.unique(drawn).size == np.size(drawn)


def test_one_chain_and_many_in_the_smallest_box(command, tmp_path):
    small = Dialogue(command, tmp_path, shape=[2, 3])
    x = np.random.default_rng(2).uniform(-3, 3, (300, 2, 2, 3))
    many = small.run("force", ["force"], x=x)["force"]
    np.testing.assert_allclose(many, ReferenceU1(beta=2.0, shape=(2, 3)).force(x), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(small.run("force", ["force"], x=x[:1])["force"], many[:1])
    with small.process:  # the end of input is the end
        small.process.stdin.close()
    assert small.process.returncode == 0


BAD_LINES = [
    b"",
    b"{",
    b"}",
    b"{}",
    b"[1,2]",
    b"garbage",
    b"\0\xff\x93NUMPY",
    b'"' * 999,
    b"{" * 99_999 + b"}",
    b'{"type":"dance","id":7}',
    b'{"type":["run"]}',
    b'{"type":"run"}',
    b'{"type":"run","id":7,"op":"action","params":{},"in":{},"out":{}}',
    b'{"type":"run","id":7,"op":"\\"\xc3\xa9","in":{"x":"/nowhere/x.npy"},"out":{}}',
    b'{"type":"start","protocol":2,"parameters":{}}',
    b'{"type":"start","protocol":1,"parameters":{"beta":NaN}}',
    b'{"type":"start","protocol":1,"parameters":{"beta":"2"}',
    b'{"type":"start","protocol":1,"parameters":{"shape":[4]}}',
    b'{"type":"start","protocol":1,"parameters":{"shape":[1,4]}}',
    b'{"type":"start","protocol":1,"parameters":{"n_steps":-1}}',
    b'{"type":"start","protocol":1,"parameters":{"step_size":1e999}}',
]


def test_what_it_cannot_answer_is_refused_and_the_next_request_is_answered(dialogue, fields):
    x, v, _ = fields
    for line in BAD_LINES:
        answer = dialogue.say(line)
        assert answer["status"] == "errored", line
        assert answer["message"]
        assert ("id" in answer) == (b'"id":7' in line)
    for op, results, params, arrays in (
        ("dance", ["dance"], {}, {"x": x}),
        ("action", ["force"], {}, {"x": x}),
        ("action", ["action"], {}, {"x": x[0]}),
        ("action", ["action"], {}, {"x": x.swapaxes(2, 3)}),
        ("action", ["action"], {}, {"x": np.array(1.0)}),
        ("transition", RECORD, {}, {"x": x, "v": v}),
        ("step", ["step"], {}, {"x": x}),
    ):
        assert dialogue.run(op, results, params, **arrays)["status"] == "errored", (op, results)
    assert dialogue.run("action", ["action"], x=x)["action"].shape == (5,)


def test_a_damaged_file_is_refused(dialogue, fields):
    path, out = dialogue.folder / "x.npy", str(dialogue.folder / "action.npy")
    np.save(path, fields[0])
    good = path.read_bytes()
    request = {"type": "run", "id": 1, "op": "action", "params": {}, "in": {"x": str(path)}, "out": {"action": out}}
    assert dialogue.ask(request)["status"] == "ok"
    for damaged in (
        b"",
        good[:9],
        good[:100],
        good[:-8],
        b"PK" + good[2:],
        good.replace(b"(5,", b"(6,"),
        good.replace(b"(5,", b"(5" + b"9" * 30 + b","),
        good.replace(b"'<f8'", b"'|O' "),
        good.replace(b"'shape'", b"'shade'"),
    ):
        path.write_bytes(damaged)
        assert dialogue.ask(request)["status"] == "errored", damaged[:100]


def judged(command, **options):
    target = target_named("cmd:" + shlex.join(command))
    try:
        return check_target(target, level="smoke", seed=1, **options)
    finally:
        target.source.close()


def test_the_oracle_passes_it(command):
    compiled_one = (
        "harness.py" not in command[-1]
    )  # in Python noise and statistics take as long as all other tests here
    report = judged(command, select=None if compiled_one else "[mst]*.[!mu]*")
    assert not [verdict for verdict in report.verdicts if verdict.status == "fail"]
    passed = {verdict.check.partition(".")[0] for verdict in report.verdicts if verdict.status == "pass"}
    assert passed == {"static", "maps", "transcript", *(("golden", "exact_start", "driver") if compiled_one else ())}
    skipped = {verdict.check for verdict in report.verdicts if verdict.status == "skip"}
    not_offered = {"static.sine_charge", "static.wilson_loop", "static.tau_int", "driver.outputs", "driver.resume"}
    assert skipped == {check for check in not_offered if compiled_one or check.startswith("static")}


KICK = "        add_force(x, -now.step_size / 2, v);\n"
MUTILATIONS = {
    "a force twice as large": (
        "now.beta * std::sin",
        "2 * now.beta * std::sin",
        {"static.force", "maps.energy_scaling"},
    ),
    "a forgotten half kick": (KICK, "", {"maps.round_trip", "maps.energy_scaling"}),
}


@pytest.mark.parametrize("name", MUTILATIONS)
def test_a_mutilated_one_fails(name, tmp_path):
    before, after, expected = MUTILATIONS[name]
    source = (TEMPLATES / "harness.cpp").read_text(encoding="utf-8")
    assert before in source
    command = compiled(source.replace(before, after, 1), tmp_path)
    failed = set()
    for select in ("static.force", "maps.round_trip", "maps.energy_scaling", "maps.jacobian"):
        failed |= {verdict.check for verdict in judged(command, select=select).verdicts if verdict.status == "fail"}
    assert failed - {"static.force_gradient"} == expected
