"""The command line: ``heapscope film``, ``check``, ``doctor`` and, as they come, their siblings.

Each command is a module of its own with ``add(commands)``, which describes its arguments and sets
``run``, a function of those arguments that returns the exit status. ``COMMANDS`` lists the modules;
a module is imported only when its command is asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from heapscope import __version__

OK, FAULT, MISUSE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, the module that does it, and its line in the help."""

    name: str
    module: str
    text: str


COMMANDS: tuple[Command, ...] = (
    Command(
        "film", "heapscope.commands.film", "step a C or Go program line by line, with its heap"
    ),
    Command("check", "heapscope.commands.check", "what each tool says about a C or Go program"),
    Command("trace", "heapscope.commands.trace", "where a program's C memory goes, to the Go line"),
    Command("report", "heapscope.commands.report", "what a recorded trace says, in four forms"),
    Command("doctor", "heapscope.commands.doctor", "what is installed and what is missing"),
)

_EPILOG = """\
examples:
  heapscope film bug.c -o bug.html   one page: every line of bug.c, and the bytes it changes
  heapscope check bug.c              glibc, ASan with UBSan, and valgrind, side by side
  heapscope check wrapper.go --json  the same of a cgo program, for other programs to read
  heapscope doctor                   is everything installed?

exit status:
  0  done; for check: no fault was found; for doctor: nothing is missing
  1  check found a fault; doctor found something missing
  2  the command line is wrong, a file cannot be read or does not compile, or a tool is missing

Each command has its own --help.
"""


class CommandError(Exception):
    """What the user can put right; the message is a sentence. Exit status 2."""


class _Module(Protocol):
    def add(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """Describe the command line; only the command `wanted` is described in full."""
    top = argparse.ArgumentParser(
        prog="heapscope",
        description="See what malloc, calloc, realloc and free do to memory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"heapscope {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.name == wanted:
            module = _module(command)
            module.add(sub)
    return top


def _module(command: Command) -> _Module:
    return cast("_Module", import_module(command.module))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    wanted = next((word for word in words if not word.startswith("-")), None)
    args = parser(wanted).parse_args(words)
    command = next(command for command in COMMANDS if command.name == args.command)
    try:
        status = _module(command).run(args)
        sys.stdout.flush()  # here, where a reader that has gone is no error
    except CommandError as error:
        print(f"heapscope {command.name}: {error}", file=sys.stderr)
        return MISUSE
    except KeyboardInterrupt:
        print(f"heapscope {command.name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads has seen enough, as in `heapscope check x.c | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return MISUSE
    return status
