"""Processes and their folders, part by part: which live on, what is kept of them, and what of their files is not read."""

import os
import threading
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from refimpl.validation import child, remote, run_folder
from refimpl.validation.child import Child, Crashed
from refimpl.validation.contract import TargetFault
from refimpl.validation.protocol import ProtocolError
from refimpl.validation.remote import MOST_PROCESSES, Processes
from refimpl.validation.run_folder import FileFault, RunFolder, array_in

DEADLINE = 20.0


# --- which processes live ---------------------------------------------------------------------------------------------------
class Made:
    """A process that was started, or so it seems."""

    def __init__(self, command, keep, parameters, deadline):
        self.parameters, self.request, self.closed = parameters, 0, False
        self.child = SimpleNamespace(stop=lambda: None, kill=lambda grace: None, ended_words=lambda: "")
        self.folder = SimpleNamespace(close=lambda: None)
        self.declared = (command, parameters.get("beta"))

    def close(self):
        self.closed = True


@pytest.fixture
def made(monkeypatch):
    started = []
    monkeypatch.setattr(remote, "Live", lambda *about: started.append(Made(*about)) or started[-1])
    monkeypatch.setattr(remote, "_exchanged", lambda process, *asked: {"of": process})
    return started


def ask(processes, beta):
    return processes.results({"beta": beta}, "action", ({}, {}), (), DEADLINE)["of"]


def ready(processes, beta):
    processes.declared({"beta": beta}, DEADLINE)


def test_the_process_that_was_asked_longest_ago_makes_room(made):
    processes = Processes("./h")
    for beta in range(MOST_PROCESSES):
        ready(processes, beta)
    first = ask(processes, 0)
    ready(processes, MOST_PROCESSES)
    assert [process.parameters["beta"] for process in made if process.closed] == [1]
    assert ask(processes, 0) is first


def test_a_process_that_is_another_one_when_it_is_started_again_is_refused(made):
    processes = Processes("./h")
    ready(processes, 1)
    processes.close()
    assert ask(processes, 1) is made[-1]
    processes.close()
    processes.command = "./other"
    with pytest.raises(TargetFault, match="declares something else than at first"):
        ask(processes, 1)


@pytest.mark.parametrize(
    ("raised", "lives"),
    [(KeyboardInterrupt(), False), (MemoryError(), False), (TargetFault("nan"), True), (ProtocolError("id"), False)],
)
def test_what_was_interrupted_in_an_exchange_is_not_asked_again(made, monkeypatch, raised, lives):
    def broken(process, *asked):
        raise raised

    processes = Processes("./h")
    ready(processes, 1)
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_exchanged", broken)
        with pytest.raises(TargetFault if isinstance(raised, ProtocolError) else type(raised)):
            ask(processes, 1)
    assert made[0].closed is not lives
    assert (ask(processes, 1) is made[0]) is lives


# --- one process ------------------------------------------------------------------------------------------------------------
def test_a_broken_answer_ends_the_process(monkeypatch):
    cat = Child("cat")
    assert cat.ask(b"abc\n", DEADLINE) == b"abc"
    monkeypatch.setattr(child, "LONGEST_LINE", 4)
    with pytest.raises(ProtocolError, match="at most 4 bytes"):
        cat.ask(b"123456789\n", DEADLINE)
    assert not cat.alive


def test_what_is_said_before_it_is_asked_is_no_answer():
    cat = Child("cat")
    assert cat.ask(b"one\ntwo\n", DEADLINE) == b"one"  # one write, one read
    with pytest.raises(ProtocolError, match=r"got 'two\\n' before it was asked"):
        cat.ask(b"three\n", DEADLINE)
    assert not cat.alive


def test_the_last_of_many_words_are_told():
    with pytest.raises(Crashed, match=r"standard error ends with: 13 .* 20$"):
        Child("sh -c 'seq 1 20 >&2'").ask(b"", DEADLINE)


def test_no_more_than_the_end_of_standard_error_is_kept(tmp_path):
    path, tail = tmp_path / "err", deque()
    path.write_bytes(b"x" * 10**6 + b"the end")
    with open(path, "rb", buffering=0) as file:
        child._drained(file, tail)
    kept = b"".join(tail)
    assert kept.endswith(b"xthe end")
    assert child._TAIL <= len(kept) <= child._TAIL + 2**15


# --- files ------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path)
    made.kept = False
    yield made
    made.close()


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    folder.write("a.npy", np.zeros(8))
    assert len(folder.read("a.npy")) == 192  # a header of 128
    monkeypatch.setattr(run_folder, "LARGEST_FILE", 191)
    with pytest.raises(FileFault, match=r"got 192 bytes in a.npy, expected at most 191"):
        folder.read("a.npy")


def test_a_long_header_is_not_parsed():
    def content(spaces):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }" + b" " * spaces
        return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)

    assert array_in(content(60)) == 0
    with pytest.raises(FileFault, match=r"no header of a .npy file"):
        array_in(content(2000))


def test_a_folder_in_the_place_of_a_file_is_removed(folder):
    os.makedirs(Path(folder.path) / "a.npy" / "inside")
    folder.write("a.npy", np.ones(2))
    np.testing.assert_array_equal(array_in(folder.read("a.npy")), [1, 1])


def test_a_place_that_json_cannot_say_is_refused_and_left_as_it_was(tmp_path):
    place = tmp_path / 'with "quotes"'
    place.mkdir()
    with pytest.raises(ValueError, match="expected a path without quotes and backslashes"):
        RunFolder(place)
    assert list(place.iterdir()) == []


def test_a_pipe_is_no_file_and_is_not_waited_for(folder):
    os.mkfifo(Path(folder.path) / "a.npy")
    told = []

    def read():
        with pytest.raises(FileFault, match="no plain file"):
            folder.read("a.npy")
        told.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert told == [True]
