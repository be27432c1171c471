"""What a reader must not overlook: calls that the target declined, and samples that are fewer because it says so."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from refimpl.validation import check_target
from refimpl.validation.builtin import BUILT_IN
from refimpl.validation.conversion import Declined, Untold
from refimpl.validation.reports import FORMS, read_report
from refimpl.validation.verdict import SKIP

from .test_reports import SCHEMA, Page, every_outcome


def declining(kind=Declined, **attributes):
    """A target that has a charge, but not on Mondays."""

    def charge(x):
        raise kind("charge: not on Mondays")

    target = SimpleNamespace(theory="u1", beta=2.0, shape=(4, 4), charge=charge, **attributes)
    return check_target(target, level="smoke", seed=1, select="static.charge")


def read_again(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(report.as_json(), encoding="utf-8")
    return read_report(path)


def plain_texts(report):
    """What every form says, without markup."""
    texts = {name: form(report) for name, form in FORMS.items()}
    return {**texts, "html": Page(texts["html"]).said, "markdown": texts["markdown"].replace("\\", "")}


def test_calls_that_were_declined_are_counted_in_every_form(tmp_path):
    report = declining()
    assert report.verdicts
    assert all(verdict.status == SKIP and verdict.declined for verdict in report.verdicts)
    n = len(report.verdicts)
    texts = plain_texts(report)
    assert json.loads(texts.pop("json"))["summary"]["declined"] == n
    for name, text in texts.items():
        assert f"{n} skipped ({n} declined by the target)" in text, name
    assert read_again(report, tmp_path).summary() == report.summary()


def test_what_stands_before_the_target_is_not_its_word():
    report = declining(Untold)
    assert [verdict.status for verdict in report.verdicts] == [SKIP] * len(report.verdicts)
    assert report.summary()["declined"] == 0
    for name, text in plain_texts(report).items():
        assert "declined by" not in text, name


def test_thrift_stands_in_every_heading(tmp_path):
    report = declining(thrift=8)
    assert report.thrift == 8
    for name, text in plain_texts(report).items():
        found = {"json": '"thrift": 8', "junit": '<property name="thrift" value="8" />'}
        assert found.get(name, "level smoke, thrift 8 (samples divided by it)") in text, name
    assert read_again(report, tmp_path).thrift == 8
    for name, text in plain_texts(replace(report, thrift=1)).items():
        assert name == "json" or "thrift" not in re.sub("thrift 8", "", text), name


def test_of_a_theory_that_is_slow_by_itself_nothing_is_told():
    assert check_target(BUILT_IN["su2"], level="smoke", seed=1, select="static.plaquette").thrift == 1


def test_files_have_both_as_their_schema_says_and_older_ones_do_without(tmp_path):
    report = replace(every_outcome(), thrift=3)
    content = json.loads(report.as_json())
    valid = pytest.importorskip("jsonschema", reason="in the extra 'dev'").Draft202012Validator(SCHEMA).validate
    valid(content)
    del content["thrift"], content["summary"]["declined"]
    for verdict in content["verdicts"]:
        del verdict["declined"]
    valid(content)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_report(path).thrift == 1
    content["verdicts"][0]["declined"] = "yes"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="declined: got 'yes', expected true or false"):
        read_report(path)
