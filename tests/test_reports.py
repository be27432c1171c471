"""The forms of a report: complete, alike in what they count, valid whatever a target calls itself."""

import json
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from refimpl.cli import main
from refimpl.validation import Report, Verdict, battery, check_target, exhibits, verdict
from refimpl.validation.mutants import BY_NAME
from refimpl.validation.reports import FORMS, pictures, read_report, wording
from refimpl.validation.reports.page import _prose
from refimpl.validation.sequential import mean_zero_wealth
from refimpl.validation.theories import THEORIES
from refimpl.validation.verdict import FAIL, PASS, SKIP

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((ROOT / "validation" / "report.schema.json").read_text(encoding="utf-8"))
U1 = THEORIES["u1"].parse({"beta": 2.0, "shape": (2, 3)})
VOID = {"meta", "br", "img", "input", "hr", "link"}

# What a target may call itself or say of an error: markup of every form, controls, half a surrogate, a turned line.
HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & ]]> | `code` **bold** [a](http://x.example) @you $x^2$\n"
    "# not a heading\x00\x1b[2J\x07\ud800\udfff\ufffe\u202e\u2028 </details></table> \\ {{x}} --> é"
)


def sample_exhibits():
    error = np.zeros((3, 2, 2, 3))
    error[1, 0, 1, 2] = 0.5
    wealth = mean_zero_wealth(np.full(300, 0.1), 1e-6)
    return (
        *exhibits.differences(U1, error, 1e-9, "force"),
        *exhibits.wealth(wealth, 1e-6),
        *exhibits.counts(
            np.arange(-1, 2), np.array([10, 80, 10]), np.array([12.0, 76.0, 12.0]), "charge", "the exact p(Q)"
        ),
        *exhibits.course(np.random.default_rng(1).normal(size=(5, 20)), 0.0, "<cos P>"),
    )


def report_of(*verdicts, **changes):
    about = {
        "target": "my HMC",
        "parameters": {"theory": "u1", "beta": 2.0, "shape": [4, 4]},
        "level": "smoke",
        "seed": 7,
        "alpha": 1e-6,
        "applicable": len(verdicts) + 1,
        "total": 100,
        "seconds": 1.5,
        "date": "2026-01-02T03:04:05Z",
        "versions": {"refimpl": "9.9", "Python": "3.11"},
        "implementation": {"language": "C++"},
        "offered": ("action", "force"),
        "lacking": ("charge",),
        "belonging": (*(v.check for v in verdicts), "static.plaquette"),
        "elsewhere": ("scalars.golden",),
    }
    return Report(**{**about, "verdicts": verdicts, **changes})


def every_outcome(text="a detail"):
    return report_of(
        Verdict(PASS, "max |a|", 1e-14, 1e-12, "an error of 1e-12", 36, check="static.action", exhibits=sample_exhibits()),
        Verdict(
            FAIL, "max |b|", 3.0, 1e-12, "", 36, detail=text, check="static.force", exhibits=sample_exhibits(),
            smallest=text, reproduced_by="failures/a.json", causes=(f"Mutant: {text}",),
        ),
        Verdict(SKIP, "", detail=text, check="static.charge"),
        Verdict(FAIL, "max |c|", float("inf"), 1.0, "", 5, check="maps.jacobian", expected_failure=text),
        Verdict(PASS, "max |d|", 0.0, 1.0, "any", 5, check="maps.reversal", expected_failure=text),
        Verdict(PASS, "e: e-value", 2.0, 1e7, "a bias", 500, 5e-7, "", "driver.plaquette", 0.25),
        target=text if text != "a detail" else "my HMC",
    )  # fmt: skip


class Page(HTMLParser):
    """Collects what a page contains, and checks that its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def said(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def quick(monkeypatch):
    """Pages without the time that matplotlib takes; what is drawn is tested by itself."""
    monkeypatch.setattr(pictures, "available", lambda: True)
    monkeypatch.setattr(pictures, "svg", lambda exhibit, key: f'<svg viewBox="0 0 1 1"><title>{key}</title></svg>')


@pytest.fixture(scope="module")
def drawn_page():
    pytest.importorskip("matplotlib")
    return every_outcome().as_html()


@pytest.fixture(scope="module")
def judged():
    return check_target(BY_NAME["DoubledForce"], level="smoke", seed=1, select="static.[afpgt]*")


# --- all forms -----------------------------------------------------------------------------------------------------------
def test_totals_agree_among_the_forms(quick):
    report = every_outcome()
    table, page, text = report.as_table(), Page(report.as_html()), report.as_markdown()
    content, suite = json.loads(report.as_json()), ET.fromstring(report.as_junit())[0]
    told = "2 passed, 1 failed, 1 passed unexpectedly, 1 failed as declared, 1 skipped"
    assert f"{told}; ran 5 of 6 selected; 7 apply here, 100 in all" in table
    assert told in page.said
    assert told in text
    assert suite.find("properties/property[@name='outcome']").get("value") == told
    tiles = re.findall(r'<div class="tile (\w+)"><b>(.+?)</b><span>(.+?)</span>', report.as_html())
    assert [(tone, f"{n} {told}") for tone, n, told in tiles[:-1]] == list(
        zip(("good", "bad", "bad", "warn", "skip"), told.split(", "), strict=True)
    )
    assert content["summary"] == report.summary()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("errors")) == (
        "6",
        "2",
        "2",
        "0",
    )
    assert len(suite.findall("testcase/failure")) == 2
    assert len(suite.findall("testcase/skipped")) == 2
    for word in ("Ran 5 of 6 selected checks; 7 apply to this target, 100 there are in all.", "at most 1e-06"):
        assert word in page.said
        assert word in text.replace("\\", "")


def one_mistake():
    """Three checks fail for one reason, one for another, and one does not get an answer."""
    common = {"causes": ("the force is doubled",), "smallest": "2x2, one link", "reproduced_by": "failures/a.json"}
    return report_of(
        Verdict(FAIL, "max |b|", 3.0, 1e-12, detail="first", check="static.force", **common),
        Verdict(FAIL, "max |c|", 2.0, 1e-12, detail="second", check="static.golden", **common),
        Verdict(FAIL, "the call itself", detail="third", check="maps.jacobian"),
        Verdict(FAIL, "e", 1e9, 1e7, detail="fourth", check="exact_start.moves", convention="half", causes=("half",)),
        spec="mycode:MyHMC",
        option="half-beta",
    )


def test_of_many_failures_the_first_is_told_at_length_and_what_they_share_once():
    text = one_mistake().as_table(100)
    again = "refimpl validate mycode:MyHMC --level smoke --seed 7 -k"
    told = text[text.index("\nFAIL  static.force: ") :]
    assert (
        told
        == f"""
FAIL  static.force: max |b| = 3, bound 1e-12
      first
      smallest: 2x2, one link
      looks like: the force is doubled
      repeat it: refimpl replay failures/a.json mycode:MyHMC
      what it checks: refimpl explain static.force
      again: {again} static.force

FAIL  static.golden: max |c| = 2, bound 1e-12
      second

FAIL  maps.jacobian: the call itself
      third

FAIL  exact_start.moves: e = 1e+09, bound 1e+07
      fourth
      looks like: half
      again: refimpl validate mycode:MyHMC --conventions half-beta --level smoke --seed 7 -k exact_start.moves

any of them again: {again} CHECK
what one checks: refimpl explain CHECK

0 passed, 4 failed, 0 skipped; ran 4 of 4 selected; 5 apply here, 100 in all; 1.5 s
false alarms: at most 1e-06 for the whole run; spent 0, remaining 1e-06
begin with static.force: checks stand in the order of what they rest on, and one mistake fails many"""
    )


def test_a_single_failure_is_told_at_length_and_an_unexpected_pass_is_no_other():
    text = every_outcome().as_table(100)
    assert "      again: refimpl validate TARGET --level smoke --seed 7 -k static.force" in text.splitlines()
    for words in ("-k CHECK", "begin with"):
        assert words not in text


def test_unexpected_passes_alone_are_told(quick):
    passed = Verdict(PASS, "max |d|", 0.0, 1.0, "any", 5, check="maps.reversal", expected_failure="known")
    told = "XPASS maps.reversal: passed, but was declared to fail: known"
    assert told in report_of(passed).as_table().splitlines()
    failed = Verdict(FAIL, "max |e|", 2.0, 1.0, "", 5, detail="wrong", check="maps.jacobian")
    text = report_of(passed, failed).as_table()
    assert told in text
    assert "-k maps.jacobian" in text
    assert "passed unexpectedly" in report_of(passed).as_html()


def test_pages_and_markdown_tell_a_cause_once_and_where_to_begin(quick):
    report = one_mistake()
    for text in (report.as_html(), report.as_markdown().replace("\\", "")):
        assert text.count("the force is doubled") == 1
        assert text.index("Begin with static.force: checks") < text.index("the force is doubled")
        assert len(re.findall("looks like|Looks like", text)) == 2
    assert report.as_junit().count("the force is doubled") == 2  # each case is read by itself


def test_of_many_failures_a_page_shows_the_first_whole_and_folds_the_others(quick):
    articles = one_mistake().as_html().split("<article")[1:]
    assert ["What it checks" in text for text in articles] == [False, True, True, True]
    assert all("If it fails" in text.replace("<details><summary>", "") for text in articles)
    assert "<code>refimpl vectors show</code>" in _prose("one, `refimpl vectors show`")
    assert _prose("``1.5/h`` times") == '<p class="soft"><code>1.5/h</code> times</p>'


def test_the_same_reason_for_no_smallest_configuration_is_told_once():
    failed = Verdict(FAIL, "e", 1e9, 1e7, check="exact_start.moves", smallest="none: samples")
    shown = replace(failed, smallest="2x2", reproduced_by="a.json")
    told = wording.told_once([failed, shown, failed, shown])
    assert [v.smallest for v in told] == ["none: samples", "2x2", "", "2x2"]


def test_the_same_report_is_written_the_same_way(quick):
    for form in FORMS.values():
        assert form(every_outcome()) == form(every_outcome())


@pytest.mark.parametrize(
    ("verdicts", "word"), [((), "NOTHING RAN"), ((Verdict(PASS, "a", 0.0, 1.0, "b", 1, check="a.b"),), "PASSED")]
)
def test_headlines(quick, verdicts, word):
    report = report_of(*verdicts)
    assert word in report.as_html()
    assert report.as_markdown().startswith(f"**{word}: my HMC**")
    assert "FAILED" in every_outcome().as_html()


# --- JSON ----------------------------------------------------------------------------------------------------------------
def test_json_is_read_as_it_was_written(tmp_path, judged):
    for report in (judged, every_outcome(), every_outcome(HOSTILE)):
        (tmp_path / "r.json").write_text(report.as_json(), encoding="utf-8")
        again = read_report(tmp_path / "r.json")
        assert again.as_json() == report.as_json()
        assert again.as_table(120) == report.as_table(120)
        assert again.exit_code == report.exit_code
        json.loads(report.as_json(), parse_constant=pytest.fail)


def test_json_follows_its_schema(judged):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for report in (judged, every_outcome(), every_outcome(HOSTILE), report_of()):
        validator.validate(json.loads(report.as_json()))
    wrong = json.loads(judged.as_json())
    wrong["verdicts"][0]["value"] = "NaN"
    assert not validator.is_valid(wrong)


def test_the_schema_names_every_field(judged):
    """Without the package that checks it: the names, and which are asked for."""
    content = json.loads(judged.as_json())
    exhibit = next(v["exhibits"][0] for v in content["verdicts"] if v["exhibits"])
    parts = [
        (content, SCHEMA),
        (content["verdicts"][0], SCHEMA["$defs"]["verdict"]),
        (exhibit, SCHEMA["$defs"]["exhibit"]),
    ]
    for found, described in [*parts, *((content[name], SCHEMA["properties"][name]) for name in ("ledger", "summary"))]:
        later = {"thrift", "declined"}  # older files have none
        assert set(found) == set(described["properties"])
        assert set(found) - later == set(described["required"])
    assert SCHEMA["properties"]["schema"]["const"] == content["schema"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema=1), "schema: got '1', expected 2"),
        (lambda c: c.update(seed=-1), "seed"),
        (lambda c: c.update(seed=True), "seed"),
        (lambda c: c.update(target=None), "target: got NoneType, expected a string"),
        (lambda c: c.update(verdicts={}), "verdicts: got dict, expected an array"),
        (lambda c: c.update(exit_code=0), "exit_code: got another than that of its verdicts, 1"),
        (lambda c: c["summary"].update(failed=0), "summary"),
        (lambda c: c["summary"].update(total="many"), "total: got 'many', expected an integer"),
        (lambda c: c.pop("ledger"), "ledger: got NoneType, expected an object"),
        (lambda c: c["verdicts"][0].update(status="maybe"), "status: got 'maybe', expected pass, fail or skip"),
        (lambda c: c["verdicts"][0].update(sensitivity=""), "sensitivity"),
        (lambda c: c["verdicts"][0].update(value=[1]), "value: got list, expected a number"),
        (lambda c: c["verdicts"][0].update(value=10**400), "value|too large"),
        (lambda c: c["verdicts"][0]["exhibits"][0].update(kind="film"), "exhibit: got kind 'film'"),
        (lambda c: c["verdicts"][0]["exhibits"][0]["arrays"].update(error=[[1, 2], [3]]), "is no report"),
        (lambda c: c["verdicts"][0]["exhibits"][0]["arrays"].update(error=[]), "exhibit: got kind 'map'"),
        (lambda c: c["verdicts"][0]["exhibits"][0].pop("arrays"), "arrays"),
    ],
)
def test_other_json_is_refused(tmp_path, change, message):
    content = json.loads(every_outcome().as_json())
    change(content)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_report(path)


@pytest.mark.parametrize("text", ["", "[1", "[]", "NaN", '{"schema": 2}', "[" * 100_000, "\ud800", '{"a": 1e999}'])
def test_what_is_no_report_is_refused(tmp_path, text, capsys):
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert main(["report", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"refimpl: {path}: ")


# --- hostile texts -------------------------------------------------------------------------------------------------------
def test_hostile_texts_come_out_valid_in_every_form(quick):
    report = every_outcome(HOSTILE)
    for name, form in FORMS.items():
        text = form(report)
        text.encode("utf-8")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\ud800-\udfff\ufffe]", text), name
    page = Page(report.as_html())
    assert page.open == []
    assert "script" not in page.tags
    assert not [entry for entry in page.attributes if entry[1].startswith("on")]
    assert "<script>alert(1)</script>" in page.said
    suite = ET.fromstring(report.as_junit())[0]
    assert suite.get("name").startswith("<script>alert(1)</script>")
    assert "\n# " not in report.as_markdown()


def test_markdown_shows_markup_as_it_stands():
    markdown_it = pytest.importorskip("markdown_it")
    parser = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False})
    page = Page(parser.render(every_outcome(HOSTILE).as_markdown()))
    assert page.open == []
    assert {"script", "img", "a", "em", "h1", "h2"}.isdisjoint(page.tags)
    assert len([tag for tag in page.tags if tag == "tr"]) == 7


def test_megabytes_are_cut_and_said_to_be(quick):
    report = every_outcome("x" * 2**20)
    for name, form in FORMS.items():
        text = form(report)
        assert len(text) < 400_000, name
        assert "(1048576 characters)" in text.replace("\\", ""), name


# --- HTML ----------------------------------------------------------------------------------------------------------------
def test_the_page_asks_for_nothing_else(drawn_page):
    page = Page(drawn_page)
    loading = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset", "data")]
    assert loading
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in loading)
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes
    assert "@import" not in drawn_page
    assert not re.search(r"url\((?!#)", drawn_page)


def test_the_page_says_what_a_reader_asks(quick):
    page = Page(every_outcome("the force is doubled").as_html())
    for word in (
        "the force is doubled",
        "Mutant: the force",
        "refimpl replay failures/a.json TARGET",
        "an error of 1e-12",
    ):
        assert word in page.said
    for word in (
        "C++",
        "refimpl 9.9",
        "2026-01-02T03:04:05Z",
        "--seed 7",
        "1 apply but were not selected",
        "static.plaquette",
    ):
        assert word in page.said
    for word in ("The force + dS/dx against an explicit loop", "1 statistical checks", "50 % of 1e-06", "charge"):
        assert word in re.sub(r" ([.,])", r"\1", page.said)


def test_pictures_are_drawn_and_their_parts_do_not_meet(drawn_page):
    page = Page(drawn_page)
    assert page.tags.count("svg") == 2 * len(sample_exhibits()) == page.tags.count("figcaption")
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = [value[1:] for _, name, value in page.attributes if name in ("href", "xlink:href") and value.startswith("#")]
    assert set(used) <= set(ids)
    assert pictures.INK not in drawn_page
    assert pictures.svg(sample_exhibits()[0], "k") == pictures.svg(sample_exhibits()[0], "k")


@pytest.mark.parametrize("exhibit", [
    verdict.Exhibit("errors", "one", {"value": np.array([3.0]), "bound": np.array(1e-9)}, "", ("configuration", "error")),
    verdict.Exhibit("trace", "x", {"samples": np.arange(1, 21), "value": np.linspace(70, 50, 20)}, "", ("update", "x")),
], ids=["errors", "trace"])  # fmt: skip
def test_what_is_counted_has_whole_numbers_below_it(exhibit):
    pytest.importorskip("matplotlib")
    ticks = re.findall(r">([-\u2212]?[\d.]+)</text>", pictures.svg(exhibit, "k"))
    assert "0" in ticks or "20" in ticks
    assert not [tick for tick in ticks if "." in tick]


@pytest.mark.parametrize("value", [np.nan, -1e308, 0.0])
def test_no_number_stops_a_picture(value):
    pytest.importorskip("matplotlib")
    for exhibit in sample_exhibits():
        arrays = {name: np.full(np.shape(array), value) for name, array in exhibit.arrays.items()}
        arrays |= {name: exhibit.arrays[name] for name in ("samples",) if name in arrays}
        if exhibit.kind == "histogram":
            arrays["value"] = exhibit.arrays["value"]
        assert pictures.svg(replace(exhibit, arrays=arrays), "k").startswith("<svg")


def test_without_matplotlib_the_page_says_how_to_get_pictures(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = Page(every_outcome().as_html())
    assert "svg" not in page.tags
    assert "pip install 'refimpl[plot]'" in page.said
    assert "max |b| = 3, bound 1e-12" in page.said


def test_coverage_counts_every_check_once():
    found = wording.families(every_outcome())
    assert {k: n for k, n in found["static"].items() if n} == {"pass": 1, "FAIL": 1, "skip": 1, "not selected": 1}
    assert {k: n for k, n in found["maps"].items() if n} == {"XPASS": 1, "known": 1}
    assert {k: n for k, n in found["scalars"].items() if n} == {"not for this target": 1}


# --- exhibits ------------------------------------------------------------------------------------------------------------
def test_checks_leave_exhibits_where_the_error_is(judged):
    force = next(v for v in judged.verdicts if v.check == "static.force")
    shown, every = force.exhibits
    assert shown.kind == "map"
    assert shown.arrays["error"].shape == (2, 4, 4)
    assert shown.arrays["error"].max() == force.value == every.arrays["value"].max()
    where = tuple(int(i) for i in np.unravel_index(np.argmax(shown.arrays["error"]), (2, 4, 4)))
    assert f"({int(np.argmax(every.arrays['value']))}, {', '.join(map(str, where))})" in force.detail


def test_maps_are_of_the_worst_configuration_and_of_sites():
    error = np.zeros((3, 2, 2, 3, 8))
    error[2, 1, 0, 2, 5] = -4.0
    shown, every = exhibits.differences(THEORIES["su3"].parse({"beta": 6.0, "shape": (2, 3)}), error, 1.0, "force")
    assert shown.arrays["error"].shape == (2, 2, 3)
    assert shown.arrays["error"][1, 0, 2] == 4.0 == shown.arrays["error"].sum()
    assert every.arrays["value"].tolist() == [0, 0, 4]
    chain = exhibits.error_map(THEORIES["o2"].parse({"beta": 1.0, "length": 6}), np.eye(6)[:2], "force")
    assert chain[0].arrays["error"].shape == (1, 1, 6)
    assert exhibits.differences(U1, np.zeros((3, 2, 2, 3)), 1.0, "force") == ()


def test_histograms_count_everything_once():
    rng = np.random.default_rng(3)
    (shown,) = exhibits.against_law(rng.random(5000), lambda u: np.clip(u, 0, 1), "u", "U(0, 1)")
    assert shown.arrays["observed"].sum() == 5000
    assert shown.arrays["expected"].sum() == pytest.approx(5000)
    # 40 bins of 125 each, scatter 11: six of these
    assert np.abs(shown.arrays["observed"] - shown.arrays["expected"]).max() < 70
    (whole,) = exhibits.against_samples(np.array([-1.0, 0, 0, 2]), np.array([1.0, 0, 0, 2]), "Q", "another")
    assert whole.arrays["value"].tolist() == [-1, 0, 1, 2]
    assert whole.arrays["observed"].tolist() == [1, 2, 0, 1]
    assert whole.arrays["expected"].tolist() == [0, 2, 1, 1]
    assert exhibits.against_samples(np.full(9, np.nan), np.ones(9), "Q", "another") == ()


def test_paths_of_wealth_end_where_the_wealth_is():
    y = np.random.default_rng(5).choice([-1.0, 1.0], 3000, p=[0.4, 0.6])
    wealth = mean_zero_wealth(y, 1e-6)
    samples, log10 = wealth.path
    assert log10.max() == wealth.log10
    assert len(samples) <= 102
    assert (log10[samples == wealth.alarm_at] >= 6).all()
    assert (samples == wealth.alarm_at).sum() == 1
    assert samples[-1] == 3000
    assert (log10[samples < wealth.alarm_at] < 6).all()


# --- the command line ----------------------------------------------------------------------------------------------------
def test_one_run_writes_several_reports_and_keeps_its_exit_code(quick, tmp_path, capsys):
    files = {form: tmp_path / f"r.{form}" for form in FORMS}
    command = ["validate", "mutant:DoubledForce", "-k", "static.force", "--seed", "3", "--level", "smoke"]
    assert main([*command, *(f"--report={form}={file}" for form, file in files.items())]) == 1
    table = capsys.readouterr().out
    assert files["table"].read_text(encoding="utf-8") == table
    assert main(["report", str(files["json"]), "--format", "html", "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_bytes() == files["html"].read_bytes()
    for form in ("junit", "markdown", "json"):
        assert main(["report", str(files["json"]), "--format", form]) == 0
        assert capsys.readouterr().out == files[form].read_text(encoding="utf-8")
    assert ET.fromstring(files["junit"].read_text(encoding="utf-8"))[0].get("failures") == "2"


@pytest.mark.parametrize("option", ["html", "pdf=x", "html=", "=x"])
def test_what_is_no_form_and_file_is_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["validate", "--report", option])
    assert f"got {option!r}, expected FORMAT=FILE" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_the_run(capsys, monkeypatch):
    monkeypatch.setattr(battery, "judge", lambda *_: pytest.fail("ran"))
    assert main(["validate", "--report", "html=/no/such/folder/x.html"]) == 2
    assert "--report html: got '/no/such/folder/x.html'" in capsys.readouterr().err


def test_two_reports_in_one_file_are_refused(tmp_path, capsys):
    path = str(tmp_path / "x")
    assert main(["validate", "--report", f"html={path}", "--report", f"json={path}"]) == 2
    assert "which another report, or the transcript, is written to" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--report", "json=t.zip"], ["--out", "t.zip"]])
def test_a_report_and_a_transcript_in_one_file_are_refused(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["validate", "cmd:no-such-program", "--transcript", str(tmp_path / "t.zip"), *option]) == 2
    assert "is written to" in capsys.readouterr().err


def test_reports_go_where_the_command_was_given(quick, tmp_path, monkeypatch):
    judged_elsewhere = battery.check_target

    def moving(*given, **options):
        os.chdir("/")
        return judged_elsewhere(*given, **options)

    monkeypatch.setattr("refimpl.validation.check_target", moving)
    monkeypatch.chdir(tmp_path)
    options = ["--level", "smoke", "-k", "static.force", "--report", "json=r.json", "--out", "r.txt"]
    assert main(["validate", "mutant:DoubledForce", *options, "--failures", "f"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "r.json", "r.txt"]
    assert "refimpl replay f/" in " ".join((tmp_path / "r.txt").read_text().split())
