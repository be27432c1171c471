"""The pages of the papers: what they name exists, what docstrings cite is on them; and every check is explained."""

import fnmatch
import importlib
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from refimpl.cli import main
from refimpl.cli.papers import pages
from refimpl.reproduce import EXPERIMENTS, PAPERS
from refimpl.validation.checks import BY_ID, CHECKS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "refimpl" / "papers"
PAGES = pages()
CITED_AS = {
    "Foreman 2021": "leapfroglayers",
    "Foreman 2020": "l2hmc",
    "Bedaque 2023": "variates",
    "Abbott 2022": "joint",
}
FAMILIES = {check.id.partition(".")[0] for check in CHECKS}
SOURCES = [
    *(ROOT / "refimpl").glob("[!dv]*/**/*.py"),
    *(ROOT / "refimpl").glob("*.py"),
    *ROOT.glob("validation/**/*.py"),
]


def spans(text):
    return re.findall(r"`([^`]+)`", text)


def rows(text):
    """The cells of the rows of all tables, without headers."""
    for line in text.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[| :-]+", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def numbers_in(text):
    """``(17)``, ``(17)-(20)``, ``17-20``, ``B1``, ``A1-A4`` as a set of names of equations."""
    found = set()
    for letter, first, last in re.findall(r"\(?\b([A-C]?)(\d{1,2})\)?(?: ?(?:-|to) ?\(?[A-C]?(\d{1,2})\b)?", text):
        found |= {f"{letter}{n}" for n in range(int(first), int(last or first) + 1)}
    return found


NAME = r"[A-Z][a-z]+,? (?:19|20)\d\d"
EQUATIONS = r"\(?[A-C]?\d{1,2}\)?(?:(?:, | and | to |-)\(?[A-C]?\d{1,2}\b\)?)*"


def cited(source):
    """``(paper, equation)`` of all citations: the paper is the one named in them, or else the one named last before."""
    paper = None
    for name, numbers, of in re.findall(rf"({NAME})|\b[Ee]qs?\. ({EQUATIONS})(?: of ({NAME}))?", source):
        paper = CITED_AS.get(name or of) if name or of else paper
        if numbers and paper:
            yield from ((paper, n) for n in numbers_in(numbers))


def tables(page, *headers):
    """The rows of the tables whose header begins with one of these words."""
    for block in PAGES[page].split("\n\n"):
        if block.startswith(tuple(f"| {header} |" for header in headers)):
            yield from list(rows(block))[1:]


def on_page(name):
    return set().union(*(numbers_in(re.sub(r"sec\. .*|Table .*", "", row[0])) for row in tables(name, "equation")))


def resolved(name):
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


@pytest.mark.parametrize("page", PAGES)
def test_names_of_functions_are_functions(page):
    names = [span for span in spans(PAGES[page]) if re.fullmatch(r"refimpl(\.\w+)+", span)]
    assert len(names) > 15
    for name in names:
        assert resolved(name) is not None


@pytest.mark.parametrize("page", PAGES)
def test_checks_and_tests_that_are_named_exist(page):
    found = [span for span in spans(PAGES[page]) if "::" in span or span.partition(".")[0] in FAMILIES]
    assert len(found) > 15
    for span in found:
        if "::" in span:
            file, test = span.split("::")
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), span
        else:
            assert span in BY_ID, span


@pytest.mark.parametrize("page", PAGES)
def test_every_equation_has_a_function_and_a_proof(page):
    found = list(tables(page, "equation", "source", "theory"))
    assert len(found) >= 9
    for equation, _, function, proof in found:
        assert "`refimpl." in function, equation
        assert any("::" in span or span in BY_ID for span in spans(proof)), equation


def test_every_trap_has_its_row():
    for page in PAGES:
        traps = list(tables(page, "place"))
        assert len(traps) >= 7
        for row in traps:
            assert len(row) == 4, row
            assert all(row), row


def test_no_equation_is_left_out():
    assert on_page("leapfroglayers") == {str(n) for n in range(1, 17)}
    assert on_page("l2hmc") == {str(n) for n in range(1, 87)}
    assert on_page("variates") == {str(n) for n in range(1, 18)}
    appendices = {"A1", "A2", "A3", "A4", "B1", "B2", "B3", "C1", "C2", "C3"}
    assert on_page("joint") == {str(n) for n in range(1, 47)} | appendices


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_experiments(page):
    for span in spans(PAGES[page]):
        if span.startswith("refimpl reproduce"):
            _, _, name, *paper = span.split()
            assert name in (PAPERS[paper[1]] if paper else EXPERIMENTS), span
    for paper, name in {"abbott2022": "joint", "bedaque2023": "variates"}.items():
        for figure in PAPERS[paper]:
            assert f"`refimpl reproduce {figure} --paper {paper}`" in PAGES[name]


def test_equations_that_docstrings_cite_are_on_the_page():
    found = {(paper, n) for path in SOURCES for paper, n in cited(path.read_text(encoding="utf-8"))}
    assert len(found) > 60
    for paper, n in sorted(found):
        assert n in on_page(paper), (paper, n)


def test_citations_are_parsed():
    text = "Foreman 2020, eqs. 17-19, 36; (eq. 74; Foreman 2021, eq. 15). Albergo 2019, eq. 4. "
    text += "Abbott 2022, eqs. 41 to 43, eq. B1; eq. (5) of Bedaque 2023"
    expected = {("l2hmc", n) for n in ("17", "18", "19", "36", "74")} | {
        ("leapfroglayers", "15"),
        ("joint", "B1"),
        ("variates", "5"),
    }
    assert set(cited(text)) == expected | {("joint", n) for n in ("41", "42", "43")}
    assert numbers_in("(12)-(14), (20), A1-A3") == {"12", "13", "14", "20", "A1", "A2", "A3"}


def test_papers_that_are_cited_by_number_are_on_a_page():
    together = "\n".join(PAGES.values())
    for path in SOURCES:
        for number in re.findall(r"\b\d{4}\.\d{5}\b", path.read_text(encoding="utf-8")):
            assert number in together, (path, number)


def test_pages_are_shipped_and_links_lead_somewhere():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = config["options.package_data"]["refimpl"].split()
    assert {path.stem for path in FOLDER.iterdir()} == set(PAGES) >= set(CITED_AS.values())
    for name, text in PAGES.items():
        assert any(fnmatch.fnmatch(f"papers/{name}.md", pattern) for pattern in patterns), name
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (FOLDER / target).exists(), target
        for other in re.findall(r"page `(\w+)`", text):
            assert other in PAGES, other


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_explanations_say_what_is_compared_and_what_a_failure_means(check):
    first, *_, last = check.explanation.split("\n\n")
    assert len(first) > 40
    assert first.endswith(".")
    assert "\n" not in first  # the list of checks shows one line of each
    assert last.startswith("If it fails: ")
    assert last.endswith(".")
    assert len(last) > 60
    for name in re.findall(r"\b([a-z_]+\.[a-z_0-9]+)\b", check.explanation):
        if name.partition(".")[0] in FAMILIES:
            assert name in BY_ID, name


def test_no_two_checks_say_the_same():
    parts = [check.explanation.split("If it fails: ")[1] for check in CHECKS]
    assert len(set(parts)) == len(parts)


def test_docstrings_have_no_examples_that_nothing_runs():
    """Examples are in README.md, data/README.md, PROTOCOL.md and the docstrings listed here, each run by a test."""
    run_by_test_examples = {"replay.py", "pieces.py", "serving.py", "strategies/__init__.py", "conventions.py"}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert ">>>" not in text, path
        if re.search(r"\w::$", text, re.M):
            assert str(path).endswith(tuple(run_by_test_examples)), path


def test_the_command_prints_pages(capsys):
    assert main(["papers"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == sorted(PAGES)
    for name in ("joint", "2207.08945", "arXiv:2207.08945"):
        assert main(["papers", name]) == 0
        assert capsys.readouterr().out == PAGES["joint"]
    assert main(["papers", "2207.0894"]) == 2
    assert f"expected one of {', '.join(PAGES)}" in capsys.readouterr().err


def test_explanations_name_the_equations_that_they_prove(capsys):
    assert main(["explain", "maps.jacobian"]) == 0
    assert "\nproves: l2hmc: (13), (14), (18), (19); (25), (26)\n" in capsys.readouterr().out
    assert main(["explain", "fermions.determinant"]) == 0  # the end of pseudofermions.determinant
    assert "\nproves: joint: (7)-(9); (9)\n" in capsys.readouterr().out
    assert main(["explain", "driver.seeds"]) == 0
    assert "proves:" not in capsys.readouterr().out
