"""One failure on one screen: what was seen, the smallest configuration that shows it, what it looks like, how to see it again."""

from __future__ import annotations

import textwrap

from .verdict import FAIL, Verdict


def failure_text(verdict: Verdict, width: int, seed: int, target: str = "TARGET") -> list[str]:
    """The lines about a failure, or about a declared failure that passed. ``target`` is what stands for it in commands."""
    if verdict.status != FAIL:
        return [f"XPASS {verdict.check}: passed, but was declared to fail: {verdict.expected_failure}"]
    measured = "" if verdict.value is None else f" = {verdict.value:.6g}, bound {verdict.bound:.3g}"
    told = [
        ("", verdict.detail),
        ("smallest: ", verdict.smallest),
        ("looks like: ", "; or: ".join(verdict.causes)),
        ("repeat it: ", f"refimpl replay {verdict.reproduced_by} {target}" if verdict.reproduced_by else ""),
        ("what it checks: ", f"refimpl explain {verdict.check}; again: --seed {seed} -k {verdict.check}"),
    ]
    lines = [f"FAIL  {verdict.check}: {verdict.quantity}{measured}"]
    for label, text in told:
        if text:
            lines += textwrap.wrap(
                label + text, width, initial_indent="      ", subsequent_indent="        ", break_on_hyphens=False
            )
    return lines
