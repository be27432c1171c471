"""The command ``harness``: targets in other processes, see ``validation/PROTOCOL.md``."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import command


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "programs in other languages as targets: try one, offer one, print one to start from"
    parser = commands.add_parser("harness", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    serve = command(actions, "serve", _serve, "offer a target of this Python on standard input and output")
    serve.add_argument("target", metavar="TARGET", help="package.module:object, builtin:NAME, mutant:NAME or model:DIR")


def _serve(arguments: argparse.Namespace) -> int:
    from refimpl.validation.serving import own_pipes, serve
    from refimpl.validation.targets import target_named

    requests, answers = own_pipes()
    serve(target_named(arguments.target), requests, answers)
    return 0
