"""``heapscope check FILE``: the same program under each tool."""

from __future__ import annotations

import argparse
import json

from heapscope.cli import FAULT, OK, CommandError
from heapscope.commands import source

_DESCRIPTION = """\
Run a program under each tool and say what it found: the kind of fault, the line, and where the
block was allocated and freed.

  C    plain (what glibc notices by itself), ASan with UBSan, valgrind; and the compiler's warnings
  Go   plain, -asan, and -race where goroutines are started

The program is compiled with -O0 -fno-builtin, so that the compiler removes no call of malloc.
"""
_EPILOG = """\
example:
  $ heapscope check bug.c
  Double free (plain glibc, ASan + UBSan and valgrind).
  …

exit status:
  0  no tool found a fault
  1  a tool found one
  2  the file cannot be read or does not compile, or the compiler is missing
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    source.add(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object instead")
    parser.add_argument("--race", action="store_true", help="Go: show what -race says in any case")
    parser.add_argument("--analyzer", action="store_true", help="C: add gcc's -fanalyzer")


def run(args: argparse.Namespace) -> int:
    """Check the program and write what came of it."""
    from heapscope.programs.check import check_c, check_go
    from heapscope.programs.runner import MissingToolError

    text, language, options = source.read(args)
    if args.race and language != "go":
        raise CommandError("--race is for Go programs")
    if args.analyzer and language == "go":
        raise CommandError("--analyzer is gcc's, for C programs")
    try:
        if language == "go":
            checks = check_go(text, **options, race=True if args.race else None)
        else:
            checks = check_c(text, **options, language=language, analyzer=args.analyzer)
    except (MissingToolError, ValueError) as error:
        raise CommandError(str(error)) from error
    if args.json:
        print(json.dumps(checks.to_json(), ensure_ascii=True, indent=1))
    else:
        print(checks)
    if not checks.run.compiled:
        if args.json:
            raise CommandError(f"{args.file} does not compile")
        raise CommandError(f"{args.file} does not compile; the compiler's words stand above")
    return FAULT if checks.fault else OK
