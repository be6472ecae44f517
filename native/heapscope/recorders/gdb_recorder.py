"""Films of C and Go programs: each line of the source, with the heap it leaves behind.

A program is compiled for teaching, run under gdb (``inside_gdb.py`` is the half that runs there)
with the limits of :mod:`heapscope.programs.runner`, and what that half wrote is made into a film by
:mod:`heapscope.recorders.film_story`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heapscope.glibc.layout import Layout
from heapscope.model.film import Film
from heapscope.model.snapshot import Stop
from heapscope.programs import runner
from heapscope.programs.c import compile_c, file_name, find_compiler, signal_name
from heapscope.programs.result import Run
from heapscope.programs.verdict import WHOLE
from heapscope.recorders.film_story import Story

FRAMES = 400
"""A film shows so many steps unless it is told otherwise."""
MOST_OUTPUT = 10_000_000
"""Bytes that a filmed program may write to each of stdout and stderr."""
MOST_LOG = 60_000_000
"""Bytes that the recorder may write; then the film ends."""
_INSIDE = Path(__file__).with_name("inside_gdb.py")
_GRACE = 20.0  # seconds of gdb's own, beside the program's

_GDB = (
    *("-nx", "-nh", "-q", "-batch"),
    *("-iex", "set debuginfod enabled off"),
    *("-iex", "set auto-load off"),
)
# Separate debugging files would only slow gdb down: everything is found without them.
_BARE = ("-iex", "set debug-file-directory /nonexistent")


class FilmError(RuntimeError):
    """A program could not be filmed; the message says why."""


def record_c(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    std: str | None = None,
    cc: str = "gcc",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 30,
    name: str | None = None,
    frames: int = FRAMES,
    symbols: bool = False,
    randomise: bool = False,
) -> Film:
    """Compile a C program or part of one as ``run_c`` does, and film it.

    The film has a frame before the first line and one after each line that ran, at most `frames`.
    `symbols` lets gdb use the debugging files of libraries; `randomise` leaves addresses as random
    as the system has them. The film is the same either way.

    Raises:
        FilmError: the program does not compile, or gdb may not trace it.
        MissingToolError: the compiler or gdb is not installed.
        ValueError: an argument has a value that is not known.

    """
    options = runner.words(flags)
    if any(option.startswith("-fsanitize=") for option in options):
        raise ValueError(
            "a film shows glibc's heap, which sanitizers replace: leave -fsanitize out"
        )
    compiler = find_compiler(cc, "c")
    gdb = find_gdb()
    with runner.own_folder() as folder:
        run = compile_c(text, folder, compiler, options, std, "c", name)
        _compiled(run)
        optimised = any(re.fullmatch(r"-O([1-9sgz]|fast)", option) for option in options)
        file = file_name(name, "c")
        return _Recording(
            folder=folder,
            gdb=gdb,
            language="c",
            title=name or "a C program",
            source=text,
            file=file,
            files=[file],
            args=runner.words(args),
            stdin=stdin,
            env=dict(env or {}),
            timeout=timeout,
            frames=frames,
            symbols=symbols,
            randomise=randomise,
            plain=not optimised,
        ).film()


def record_go(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    frames: int = FRAMES,
    symbols: bool = False,
    randomise: bool = False,
) -> Film:
    """Build a Go program or part of one as ``run_go`` does, and film it: both heaps.

    The package is built without optimisation; its main goroutine stays on one thread, and one
    goroutine runs at a time (``GOMAXPROCS=1``), unless `env` says otherwise.
    Parameters and errors are those of :func:`record_c`.
    """
    from heapscope.programs.go import FILE, build_go
    from heapscope.programs.wrap import wrap_go

    options = runner.words(flags)
    if any(re.fullmatch(r"--?(race|asan|msan)", option) for option in options):
        raise ValueError("a film shows glibc's heap: leave -race, -asan and -msan out")
    gdb = find_gdb()
    with runner.own_folder() as folder:
        whole = wrap_go(text, FILE)
        # The line of a main that was put around a cell must not look like one of the cell's own.
        put = f"func main() {{\n//line {FILE}:1:1\n"
        whole = whole.replace(put, f"//line main.go:1:1\n{put}")
        options = ["-gcflags=-N -l", "-ldflags=-compressdwarf=false", *options]
        run = build_go(text, whole, folder, options, more={"thread.go": _thread_go(whole)})
        _compiled(run)
        return _Recording(
            folder=folder,
            gdb=gdb,
            language="go",
            title="a Go program",
            source=text,
            file=FILE,
            # The preamble of a whole program has its own lines, and the name of the file it is in.
            files=[FILE, WHOLE] if whole.endswith(text) else [FILE],
            args=runner.words(args),
            stdin=stdin,
            # A goroutine would be preempted at every stop, which takes longer than 10 ms; and with
            # more processors the runtime starts threads, whose blocks are C's, at any time.
            env={"GODEBUG": "asyncpreemptoff=1", "GOMAXPROCS": "1"} | dict(env or {}),
            timeout=timeout,
            frames=frames,
            symbols=symbols,
            randomise=randomise,
            plain=True,
        ).film()


# The calls of one goroutine come from one thread, so C's main arena serves them all.
_ONE_THREAD = """package main
{preamble}
import "runtime"

func init() {{
	runtime.LockOSThread()
	{more}
}}
"""
# Before main, the runtime starts one thread more or less, each with blocks of its own in C's heap.
# What the program asks for shall begin at the same place in each run: behind a block that ends
# 8 KiB into the heap (or at the next page, should there be more).
_FILL = """
/*
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static void heapscope_fill(void) {
	char *last = malloc(2040);
	uintptr_t start = (uintptr_t)sbrk(0) - 0x21000, top = (uintptr_t)last + 2032 - start;
	uintptr_t wanted = top < 0x2000 - 0x40 ? 0x2000 : (top + 0x103f) & ~(uintptr_t)0xfff;
	if (top < 0x20000)
		last = malloc(wanted - top - 8);
}
*/
import "C"
"""


def _thread_go(whole: str) -> str:
    """Return the file that the recorder adds to a package."""
    if 'import "C"' not in whole:
        return _ONE_THREAD.format(preamble="", more="")
    return _ONE_THREAD.format(preamble=_FILL, more="C.heapscope_fill()")


def find_gdb() -> str:
    """Return the path of gdb; MissingToolError says how to install it."""
    return runner.find_tool("gdb", "apt-get install gdb")


def _compiled(run: Run) -> None:
    if not run.compiled:
        raise FilmError(f"the program does not compile, so there is no film:\n{run.diagnostics}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    """One program that is compiled and shall be filmed."""

    folder: Path
    gdb: str
    language: str
    title: str
    source: str
    file: str
    files: list[str]
    args: list[str]
    stdin: str
    env: dict[str, str]
    timeout: float
    frames: int
    symbols: bool
    randomise: bool
    plain: bool  # compiled without optimisation: a variable stays where it is in its frame

    def film(self) -> Film:
        """Run gdb and make the film of what it says."""
        glibc = glibc_version()
        with runner.own_folder() as own:  # not the program's: it may remove its folder
            job = self._job(own, glibc)
            command = [self.gdb, *_GDB, *(() if self.symbols else _BARE), "-x", str(_INSIDE)]
            command += ["--args", str(self.folder / "program"), *self.args]
            environment = runner.plain_environment(self.folder, self.env)
            outcome = runner.run(
                command,
                folder=self.folder,
                env=environment | {"HEAPSCOPE_JOB": str(job)},
                # A backstop: gdb itself ends the program when its time is up.
                limits=runner.Limits(timeout=self.timeout + _GRACE),
                randomise=self.randomise,
            )
            story = Story(self.source, self.language, glibc, _architecture())
            outputs = [_head(own / name) for name in ("stdout", "stderr")]
            story.outputs_are(*outputs)
            for message in _messages(own / "log"):
                story.take(message)
        stop = self._stop(story.end, outcome, outputs)
        film = story.film(stop, title=self.title, file=self.file)
        if not film.frames:
            raise FilmError(_why(outcome, story))
        return film

    def _job(self, own: Path, glibc: str) -> Path:
        """Write the job for the half inside gdb; return its file."""
        layout = Layout.for_version(glibc)
        for name in ("stdout", "stderr"):
            (own / name).touch()
        (own / "stdin").write_text(self.stdin, encoding="utf-8", errors="surrogateescape")
        form = {
            "log": str(own / "log"),
            "language": self.language,
            "files": self.files,
            "lines": len(self.source.splitlines()),
            "program": str(self.folder / "program"),
            "stdin": str(own / "stdin"),
            "stdout": str(own / "stdout"),
            "stderr": str(own / "stderr"),
            "symbols": self.symbols,
            "frames": self.frames,
            "bytes": MOST_LOG,
            "output": MOST_OUTPUT,
            "timeout": self.timeout,
            "frame_relative": self.plain,
            "free_begins_again": layout.tcache.late,
            "layout": {
                "heap_max": layout.heap_max,
                "heap_size": layout.heap_size,
                "ar_ptr": layout.ar_ptr,
                "safe_linking": layout.safe_linking,
                "tcache_chunks": list(layout.tcache.chunks),
                "tcache_bins": layout.tcache.bins,
                "entries": layout.tcache.entries,
                "mmap_offset_mask": layout.mmap_offset_mask,
                "mmap_extra": layout.mmap_extra,
                "arena_size": layout.arena.size if layout.known else 0,
                "next": layout.arena.next,
                "top": layout.arena.top,
                "system": layout.arena.system_mem,
                "bins": layout.arena.bins,
                "bins_number": layout.bins.last,
            },
        }
        job = own / "job"
        job.write_text(json.dumps(form), encoding="utf-8")
        return job

    def _stop(self, end: Stop | None, outcome: runner.Outcome, outputs: Sequence[bytes]) -> Stop:
        """Say how the program ended."""
        said = outputs[1].decode("utf-8", "backslashreplace")
        if end is None:
            reason = outcome.stopped or "stopped: gdb ended before the program did"
            return Stop("timeout" if outcome.timed_out else "limit", message=reason)
        if end.kind == "timeout":
            return Stop("timeout", message=f"stopped after {self.timeout:g} s")
        if end.kind == "limit":
            words = {
                "frames": f"stopped after {self.frames} steps: use trace",
                "bytes": f"stopped after {MOST_LOG >> 20} MiB of film: use trace",
            }
            return Stop("limit", message=words.get(end.message, "stopped: gdb lost the program"))
        if end.kind == "signal":
            name = signal_name(int(end.signal or 0))
            if name == "SIGXFSZ" and max(map(len, outputs)) >= MOST_OUTPUT:
                return Stop("limit", message=f"stopped after {MOST_OUTPUT:,} bytes of output")
            last = said.rstrip("\n").rpartition("\n")[2] if name == "SIGABRT" else ""
            return Stop("signal", signal=name, message=last)
        message = ""
        if self.language == "go" and end.status:
            found = re.search(r"^(?:panic|fatal error): .*$", said, re.MULTILINE)
            found = found or re.search(r"^.*(?=\nSIGABRT: abort$)", said, re.MULTILINE)
            message = found[0] if found else ""
        return Stop("exit", status=end.status, message=message)


def _messages(log: Path) -> Iterator[Mapping[str, Any]]:
    """Read what the half inside gdb wrote; a last line that was cut off is left out."""
    if not log.exists():
        return
    with log.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_OUTPUT)


def _why(outcome: runner.Outcome, story: Story) -> str:
    """Say why there is no film."""
    said = f"{outcome.stdout}\n{outcome.stderr}\n" + "\n".join(story.trouble)
    if re.search(r"ptrace.*not permitted|Could not trace|Cannot PTRACE", said, re.IGNORECASE):
        return (
            "gdb may not trace programs here (ptrace is denied): run the container with "
            "--cap-add=SYS_PTRACE"
        )
    if "before main" in said:
        return "the program ended before main began, so there is nothing to film"
    if "Python" in said and "not supported" in said.replace("\n", " "):
        return "this gdb was built without Python: apt-get install gdb"
    last = " ".join(said.split())[-300:]
    return f"gdb could not film the program: {last}"


def glibc_version() -> str:
    """Return the version of the system's glibc, "2.36"."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1]
    except (ValueError, IndexError):
        raise FilmError("films need a system with glibc (Debian, Ubuntu, Fedora, …)") from None


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "x86-64"}.get(machine, machine)
