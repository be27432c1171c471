"""Transcripts as archives of strangers: what is in them, how much of it, and what they say again."""

import zipfile

import numpy as np
import pytest

from refimpl.validation import transcripts
from refimpl.validation.contract import Subject, TargetError
from refimpl.validation.conversion import Declined
from refimpl.validation.remote import RemoteFactory
from refimpl.validation.transcripts import played, recorded

from .sessions import InProcess, Patient

X = np.zeros((3, 2, 2, 2))


class Counting(Patient):
    """Says something else every time."""

    calls = 0

    def action(self, x):
        self.calls += 1
        return np.full(len(x), float(self.calls))


@pytest.fixture
def path(tmp_path):
    with recorded(RemoteFactory(InProcess(Counting())), tmp_path / "t.zip", {"seed": 1}) as writing:
        at = Subject(writing)
        for _ in range(2):
            at.action(X)
    return tmp_path / "t.zip"


def test_what_was_said_twice_is_said_twice_and_in_order(path):
    at = Subject(played(path))
    np.testing.assert_array_equal([at.action(X)[0], at.action(X)[0]], [1.0, 2.0])
    with pytest.raises(Declined, match="not in the transcript"):
        at.action(X)
    at.target._source.close()


def test_a_result_that_was_not_asked_for_then_is_not_made_up(path):
    factory = played(path)
    asked = ({}, {"x": X})
    with pytest.raises(Declined, match="action: force is not in the transcript"):
        factory.source.results({}, "action", asked, ("force",), 1.0)
    factory.source.close()


def test_other_files_in_the_archive_are_refused(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.npy", b"")
    with pytest.raises(TargetError, match=r"got '../evil.npy' in the archive, expected transcript.jsonl and arrays/"):
        played(path)


def test_large_files_in_the_archive_are_refused(path, monkeypatch):
    monkeypatch.setattr(transcripts, "LARGEST_FILE", 100)
    with pytest.raises(TargetError, match="got more than 100 bytes in arrays/"):
        played(path)
    monkeypatch.setattr(transcripts, "_LONGEST", 10)
    with pytest.raises(TargetError, match=r"got more than 10 bytes in transcript.jsonl"):
        played(path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(path, version, monkeypatch, tmp_path):
    monkeypatch.setattr(transcripts, "VERSION", version)
    with recorded(RemoteFactory(InProcess(Patient())), tmp_path / "other.zip", {}) as writing:
        Subject(writing).action(X)
    monkeypatch.undo()
    with pytest.raises(TargetError, match=r"version: got .*, expected 1"):
        played(tmp_path / "other.zip")
