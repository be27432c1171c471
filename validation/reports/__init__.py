"""The forms of a report, each a string: terminal table, JSON, JUnit XML, Markdown and a page of HTML."""

from __future__ import annotations

from collections.abc import Callable

from ..report import Report
from .record import read_report

FORMS: dict[str, Callable[[Report], str]] = {
    "table": Report.as_table,
    "json": Report.as_json,
    "junit": Report.as_junit,
    "markdown": Report.as_markdown,
    "html": Report.as_html,
}

__all__ = ["FORMS", "read_report"]
