"""The command line: ``heapscope doctor`` and, as they come, its siblings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from heapscope import __version__


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="heapscope",
        description="See what malloc, calloc, realloc and free do to memory.",
    )
    top.add_argument("--version", action="version", version=f"heapscope {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "doctor",
        help="what is installed, what is missing, and the command that installs it",
        description="Look for each tool the book and heapscope use. Exit status 1: one is missing.",
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = parser().parse_args(argv)
    if args.command == "doctor":
        from heapscope.doctor import report

        return report()
    raise AssertionError(f"the parser let {args.command!r} through")
