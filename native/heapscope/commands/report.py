"""``heapscope report TRACE``: what a recorded program did with its memory."""

from __future__ import annotations

import argparse
import sys
import threading
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from heapscope.cli import OK, CommandError

if TYPE_CHECKING:
    from heapscope.traces import Report

_DESCRIPTION = """\
Read what `heapscope trace` recorded and say where the memory went: what was not freed, by call
site and stack, the peak, memory over time, and the sizes. A trace can be read while the program
runs, and after a crash or kill -9.
"""
_EPILOG = """\
examples:
  heapscope report service.trace                    in words
  heapscope report service.trace -o report.html     one page, with the picture over time
  heapscope report service.trace --pprof c.pb.gz    then: go tool pprof -http=: c.pb.gz

exit status:
  0  the report is written, whatever it says
  2  there is no trace to read, or a file cannot be written
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.add_argument("trace", metavar="TRACE", help="the folder that was recorded, or a file")
    parser.add_argument("-o", "--output", metavar="PAGE", help="write one HTML page")
    parser.add_argument("--json", action="store_true", help="write one JSON object instead")
    parser.add_argument(
        "--pprof", metavar="FILE", help="write a profile for go tool pprof (FILE.pb.gz)"
    )
    parser.add_argument(
        "--most", type=int, default=10, metavar="N", help="show the N largest call sites (10)"
    )
    parser.add_argument(
        "--no-symbols", action="store_true", help="addresses in files instead of names and lines"
    )


def run(args: argparse.Namespace) -> int:
    """Read the trace and write its report."""
    if args.most < 1:
        raise CommandError(f"--most is at least 1, not {args.most}")
    write(
        args.trace,
        output=args.output,
        json=args.json,
        pprof=args.pprof,
        most=args.most,
        symbols=not args.no_symbols,
    )
    return OK


def write(
    trace: str | Path,
    *,
    output: str | Path | None = None,
    json: bool = False,
    pprof: str | Path | None = None,
    most: int = 10,
    symbols: bool = True,
    text: TextIO | None = None,
) -> Report:
    """Report on a trace: a page to `output`, a profile to `pprof`, words or JSON to `text`.

    Words are written when nothing else is asked for; `text` is the standard output if not given.
    Raises CommandError when there is nothing to read, or a file cannot be written.
    """
    from heapscope.traces import TraceError, report

    bar = Bar()
    try:
        result = report(trace, symbols=symbols, progress=bar)
        profile = result.pprof() if pprof else b""
    except TraceError as error:
        raise CommandError(str(error)) from error
    finally:
        bar.close()
    if pprof:
        _write(Path(pprof), profile)
    if output:
        _write(Path(output), result.page().encode("utf-8", "replace"))
    out = text or sys.stdout
    if json:
        print(dumps(result.to_json(), ensure_ascii=True, indent=1), file=out)
    elif not (output or pprof):
        print(result.text(most), file=out)
    return result


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    print(f"{path}: {len(data):,} bytes", file=sys.stderr)


class Bar:
    """Says on a terminal what is being done, when it takes longer than half a second."""

    def __init__(self) -> None:
        self._said = ("reading", 0.0)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        if sys.stderr.isatty():
            self._thread.start()

    def __call__(self, what: str, part: float) -> None:
        """Take down what is being done."""
        if what:
            self._said = (what, part)

    def _show(self) -> None:
        shown, pause = False, 0.5
        while not self._done.wait(pause):
            what, part = self._said
            amount = f" {part:.0%}" if part else ""
            print(f"\r\x1b[K{what} …{amount}", end="", file=sys.stderr, flush=True)
            shown, pause = True, 0.1
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the line away."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
