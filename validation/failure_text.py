"""One failure on one screen: what was seen, the smallest configuration that shows it, what it looks like, how to see it again."""

from __future__ import annotations

import shlex
import textwrap

from .verdict import FAIL, Verdict

REPEAT = "repeat it: "


def replay_command(verdict: Verdict, spec: str = "") -> str:
    """What repeats the smallest configuration, on the target as it was typed, or on what stands for it where none was."""
    return f"refimpl replay {shlex.quote(verdict.reproduced_by)} {shlex.quote(spec) if spec else 'TARGET'}"


def failure_text(verdict: Verdict, width: int, seed: int, spec: str = "") -> list[str]:
    """The lines about a failure, or about a declared failure that passed. ``spec`` is the target as it was typed."""
    if verdict.status != FAIL:
        return [f"XPASS {verdict.check}: passed, but was declared to fail: {verdict.expected_failure}"]
    measured = "" if verdict.value is None else f" = {verdict.value:.6g}, bound {verdict.bound:.3g}"
    told = [
        ("", verdict.detail),
        ("smallest: ", verdict.smallest),
        ("looks like: ", "; or: ".join(verdict.causes)),
        (REPEAT, replay_command(verdict, spec) if verdict.reproduced_by else ""),
        ("what it checks: ", f"refimpl explain {verdict.check}; again: --seed {seed} -k {verdict.check}"),
    ]
    lines = [f"FAIL  {verdict.check}: {verdict.quantity}{measured}"]
    for label, text in told:
        if label == REPEAT and text:  # in one line, to be copied
            lines.append(f"      {label}{text}")
        elif text:
            lines += textwrap.wrap(
                label + text, width, initial_indent="      ", subsequent_indent="        ", break_on_hyphens=False
            )
    return lines
