"""The pages that map equations of the papers to functions and checks: ``papers``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import resources
from typing import Any

from .arguments import command


def add(commands: Any) -> None:
    """Add the command to the parser."""
    papers = command(
        commands, "papers", _papers, "which function is which equation of a paper; without NAME, the list of pages"
    )
    text = "a page, such as joint, or the arXiv number of a paper that has one, such as 2207.08945"
    papers.add_argument("name", nargs="?", metavar="NAME", help=text)


def pages() -> dict[str, str]:
    """The text of every page by its name."""
    folder = resources.files("refimpl") / "papers"
    files = [path for path in folder.iterdir() if path.name.endswith(".md")]
    return {
        path.name.removesuffix(".md"): path.read_text(encoding="utf-8")
        for path in sorted(files, key=lambda path: path.name)
    }


def equations_of(check: str) -> Iterator[str]:
    """``page: equation`` of the rows that a check proves."""
    for name, text in pages().items():
        rows = [line.split(" | ")[0].lstrip("| ") for line in text.splitlines() if f"`{check}`" in line]
        if rows:
            yield f"{name}: {'; '.join(dict.fromkeys(rows))}"


def _papers(arguments: argparse.Namespace) -> int:
    found = pages()
    titles = {name: text.splitlines()[0].lstrip("# ") for name, text in found.items()}
    if arguments.name is None:
        for name, title in titles.items():
            print(f"{name:<18}{title}")
        return 0
    number = f"(arXiv:{arguments.name.removeprefix('arXiv:')})"
    for name, title in titles.items():
        if arguments.name == name or number in title:
            print(found[name], end="")
            return 0
    raise ValueError(
        f"NAME: got {arguments.name!r}, expected one of {', '.join(found)}, or the arXiv number of one of these"
    )
