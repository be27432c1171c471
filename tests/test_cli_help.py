"""What the help of every command tells: each option, its default, and the exit codes."""

import argparse
import re

import pytest

from refimpl.cli import _parser


def parsers(parser):
    """Those of all commands, and of their parts."""
    inside = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    yield parser
    for action in inside:
        for part in action.choices.values():
            yield from parsers(part)


ALL = list(parsers(_parser()))
COMMANDS = [parser for parser in ALL if parser.get_default("command")]


def words(parser):
    return " ".join(parser.format_help().split())


def test_all_commands_are_met():
    assert {"refimpl validate", "refimpl harness smoke", "refimpl exact u1", "refimpl train joint"} <= {
        parser.prog for parser in ALL
    }


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_exit_codes_and_every_option_are_told(parser):
    told = words(parser)
    assert re.search(r"exit codes: 0 .*\b2 wrong usage", told)
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
        shown = action.default not in (None, False, argparse.SUPPRESS, [])
        if action.option_strings and shown:
            assert "default" in action.help, f"{action.option_strings[-1]} has the default {action.default}"


def test_each_command_says_its_own_exit_codes():
    codes = {parser.prog.removeprefix("refimpl "): words(parser).split("exit codes: ")[1] for parser in COMMANDS}
    assert codes["explain"] == "0 done, 2 wrong usage"
    for name in ("sample", "train l2hmc", "train flow", "train joint"):
        assert "1 it could not be finished" in codes[name], name
    for n in (1, 2, 3, 4, 5, 130, 143):
        assert re.search(rf"\b{n}\b", codes["validate"]), n


def test_needed_parameters_and_drawn_seeds_are_no_secret():
    told = {parser.prog: words(parser) for parser in ALL}
    assert "inverse coupling (needed)" in told["refimpl exact u1"]
    assert "of the bank 0, of TARGET drawn and printed" in told["refimpl mutants"]
    assert "refimpl validate package.module:object" in told["refimpl"]
    assert "25 MB" in told["refimpl validate"]
