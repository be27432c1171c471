"""Texts and numbers of reports, one by one."""

import math

import pytest

from refimpl.validation import Verdict
from refimpl.validation.reports import read_report, record
from refimpl.validation.reports.markdown import escaped
from refimpl.validation.reports.page import _nearness


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@user", "&#64;user"),  # nobody is told of a failure by the name of a target
        ("see https://a.b/c", "see https:&#47;/a.b/c"),
        ("a|b", r"a\|b"),
        ("<b>", "&lt;b&gt;"),
        ("# not a head", r"\# not a head"),
        ("1. no list", r"1\. no list"),
        ("x_1 * [y](z)", r"x\_1 \* \[y\](z)"),
    ],
)
def test_markdown_is_text(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("value", "bound", "near"),
    [
        (1.0, 1e6, 0.0),
        (1e3, 1e6, 0.5),
        (1e9, 1e6, 1.0),
        (1e-3, 1e-6, 0.5),  # a p-value
        (0.1, 1e6, 0.0),  # an e-value below 1 is no evidence
        (math.nan, 1e6, 0.0),
        (math.inf, 1e6, 1.0),
        (0.0, 1e-6, 1.0),
        (None, 1e-6, 0.0),
        (2.0, 1.0, 0.0),
        (2.0, 0.0, 0.0),
    ],
)
def test_how_near_an_alarm_is_in_logarithms(value, bound, near):
    assert _nearness(Verdict("pass", "e", value, bound, "s")) == pytest.approx(near)


def test_a_file_beyond_the_largest_report_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "r.json").write_bytes(b" " * 11)
    monkeypatch.setattr(record, "LARGEST", 11)
    with pytest.raises(ValueError, match="what is no JSON"):
        read_report(tmp_path / "r.json")
    monkeypatch.setattr(record, "LARGEST", 10)
    with pytest.raises(ValueError, match="got 11 bytes, expected a report of at most 10"):
        read_report(tmp_path / "r.json")
