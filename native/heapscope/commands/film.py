"""``heapscope film FILE``: one self-contained page with every line and what it does to the heap."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from heapscope.cli import OK, CommandError
from heapscope.commands import source
from heapscope.programs.filming import FRAMES, record

_DESCRIPTION = """\
Run a program for real, stop after each of its lines, and record the heap: which block each
variable points to, which bytes changed and why. The page needs no network and nothing beside it.
"""
_EPILOG = """\
examples:
  heapscope film bug.c               writes bug.html
  heapscope film bug.c -o film.html  writes film.html
  heapscope film bug.c --json        writes the film as JSON to the standard output

exit status:
  0  the film is written, whatever became of the program
  2  the file cannot be read or does not compile, or gdb or the compiler is missing
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    source.add(parser)
    parser.add_argument("-o", "--output", metavar="PAGE", help="the page; FILE.html if not given")
    parser.add_argument(
        "--json", action="store_true", help="write the film as JSON, to PAGE or standard output"
    )
    parser.add_argument(
        "--frames", type=int, default=FRAMES, metavar="N", help=f"stop after N lines ({FRAMES})"
    )


def run(args: argparse.Namespace) -> int:
    """Record the film and write it."""
    text, language, options = source.read(args)
    if args.frames < 1:
        raise CommandError(f"--frames is at least 1, not {args.frames}")
    try:
        film = record(text, language, options, frames=args.frames)
    except (RuntimeError, ValueError) as error:  # a missing tool, C++, what does not compile
        raise CommandError(str(error)) from error
    name = Path(args.file).name
    film = replace(film, title=name, file=name)
    output = Path(args.output) if args.output else None
    if args.json:
        form = json.dumps(film.to_json(), ensure_ascii=True) + "\n"
        if output is None:
            sys.stdout.write(form)
            return OK
        source.write(output, form)
    else:
        views = import_module("heapscope.views.film")
        output = output or Path(args.file).with_suffix(".html")
        source.write(output, views.player(film, name=Path(args.file).stem).page())
    frames = f"{len(film)} frame{'s' if len(film) != 1 else ''}"
    print(f"{output}: {frames}", file=sys.stderr)
    return OK
