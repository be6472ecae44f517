"""``heapscope trace -- PROGRAM ARGS``: run a program and say where its C memory went."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from heapscope.cli import MISUSE, CommandError

_DESCRIPTION = """\
Run a C or cgo program, record every call of malloc, calloc, realloc and free, and say what is left
over, from where it was allocated, and when most was in use. For cgo programs (Go 1.23 or newer, not
stripped) the stack of a C allocation goes on into the Go functions that led there.

The program's input, outputs and exit status stay as they are; the report goes to stderr, or to the
file of -o. The programs that it starts are recorded too.
"""
_EPILOG = """\
example:
  $ heapscope trace -- ./service --once
  $ heapscope trace -o leaks.html --pprof leaks.pb.gz -- ./service --once
  $ go tool pprof -http=: leaks.pb.gz

The exit status is the program's; 2 if it could not be started. C functions appear in stacks if they
were compiled with -fno-omit-frame-pointer, in cgo by CGO_CFLAGS="-g -O2 -fno-omit-frame-pointer".
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    from heapscope.recorders.trace import DEEPEST, DEPTH

    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.usage = "heapscope trace [-o out.html] [--json] [--pprof FILE] [--depth N] -- PROGRAM …"
    parser.add_argument("-o", dest="output", metavar="out.html", type=Path, help="write a page")
    parser.add_argument("--json", action="store_true", help="write one JSON object, not text")
    parser.add_argument(
        "--pprof", metavar="FILE", type=Path, help="write a profile for go tool pprof"
    )
    parser.add_argument(
        "--depth",
        type=int,
        default=DEPTH,
        metavar="N",
        help=f"frames of a stack, up to {DEEPEST}; 0: the call site alone ({DEPTH})",
    )
    parser.add_argument(
        "--keep", metavar="FOLDER", type=Path, help="keep the trace, for heapscope report FOLDER"
    )
    parser.add_argument(
        "program", metavar="PROGRAM", nargs=argparse.REMAINDER, help="and arguments"
    )


def run(args: argparse.Namespace) -> int:
    """Run the program, write the report, and end as the program did."""
    from heapscope.programs import runner
    from heapscope.recorders.trace import DEEPEST, TraceError, end_like, trace

    if not 0 <= args.depth <= DEEPEST:
        raise CommandError(f"--depth is a number from 0 to {DEEPEST}")
    words = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not words:
        raise CommandError("which program? heapscope trace -- PROGRAM ARGS")
    with contextlib.ExitStack() as stack:
        folder = args.keep or stack.enter_context(runner.own_folder("heapscope-trace-"))
        try:
            traced = trace(words, folder, depth=args.depth)
        except TraceError as error:
            raise CommandError(str(error)) from error
        for note in traced.notes:
            print(f"heapscope trace: {note}", file=sys.stderr)
        try:
            reported = _report(folder, args)
        except Exception:
            # What was recorded may have taken hours; it is worth more than a tidy folder. Under
            # another name no later run takes it for a dead one's.
            kept = folder
            if args.keep is None:
                kept = folder.rename(folder.with_name(f"kept-{folder.name}"))
            print(f"heapscope trace: no report was written. The trace is {kept}.", file=sys.stderr)
            raise
    if not reported and traced.status == 0:
        return MISUSE
    return end_like(traced.status)


def _report(folder: Path, args: argparse.Namespace) -> bool:
    """Write what was asked for. False: nothing was recorded."""
    if not any(folder.glob("*.heap")):
        return False
    from heapscope.commands import report

    report.write(folder, output=args.output, json=args.json, pprof=args.pprof, text=sys.stderr)
    return True
