"""Run benchmarks, each in a fresh process, one after the other, and write the book's page.

``python -m bench`` measures all, ``python -m bench film playground`` these two: the others keep
what book/how-fast.md says of them. What they print goes to the terminal as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "book" / "how-fast.md"
INTRODUCTION = """# How fast is it

A time belongs to a machine, a ratio says more. \
So each number stands beside a peer that was measured in the same run: \
a bare call, plain gdb, the tool that you would take instead. \
What is printed is the median, with the least and the greatest in brackets. \
An *aim* is what we wanted before anything was measured. \
Where it is missed, the numbers beside it say by how much.

`make bench` measures everything anew and writes this page. \
`.venv/bin/python -m bench film` does so for one part.
"""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module of this package, and its part of the page."""

    module: str
    title: str
    about: str  # what is compared, for a reader of the page


BENCHMARKS = (
    Benchmark(
        "heap_call",
        "A call on the private heap",
        "`free(malloc(24))` from a notebook, where the book checks the heap before it lets the "
        "call through. The bare call goes through cffi alone, without check and without film.",
    ),
    Benchmark(
        "film",
        "A film",
        "A C program of 20 lines becomes a film. The peer is gdb that steps through the same "
        "program and writes nothing down.",
    ),
    Benchmark(
        "trace",
        "The tracer",
        "A program that does nothing but call `malloc` and `free`, alone and under each tool. "
        "An event is one call. The first columns are wall-clock time; the last ones are the "
        "processor time of the program alone, which leaves out what a tool does in a process of "
        "its own.",
    ),
    Benchmark(
        "playground",
        "The playground",
        "What [the page with glibc’s malloc](playground.md) costs your browser: what it loads, "
        "how long it takes to start, and how long from a call to the new picture.",
    ),
    Benchmark(
        "build",
        "The build",
        "The whole book from nothing. The floor is the time that the cells themselves take, "
        "spread over the cores, and Sphinx without any execution. Two chapters compare times, "
        "and nothing else may run beside them: while they run, one core is idle. That is the "
        "larger part of what the cold build is above its floor. A changed notebook costs what an "
        "unchanged rebuild costs, the start of a kernel with its imports, and the pages that are "
        "written again; the first of these alone is most of its aim.",
    ),
)


def machine() -> str:
    """Describe where the numbers come from."""
    cpu = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    libc = (os.confstr("CS_GNU_LIBC_VERSION") or "").strip()
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory} GiB; Linux {platform.release()}, {libc}, "
        f"Python {platform.python_version()}; {date.today():%d %B %Y}, "
        f"load {os.getloadavg()[0]:.1f} before"
    )


def measured(benchmark: Benchmark) -> tuple[int, str]:
    """Run it; return its status and its part of the page."""
    print(f"--- {benchmark.module}", flush=True)
    where, said = machine(), []
    command = [sys.executable, "-m", f"bench.{benchmark.module}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            said.append(line)
    text = "".join(line for line in said if not re.fullmatch(r"run \d+ of \d+ done\n", line))
    part = f"```text\n{text.strip()}\n```\n\nMeasured on: {where}."
    return running.returncode, part


def parts(page: str) -> dict[str, str]:
    """Return what a page says of each benchmark, by title: from its numbers on."""
    block = r"```text\n(?s:.*?)^```\n\nMeasured on: .+"
    return dict(re.findall(rf"^## (.+)\n(?s:.*?)^({block})$", page, re.MULTILINE))


def written(known: dict[str, str]) -> str:
    """Return the page, with the benchmarks of which something is known."""
    told = [b for b in BENCHMARKS if b.title in known]
    text = "\n".join(f"## {b.title}\n\n{b.about}\n\n{known[b.title]}\n" for b in told)
    return f"{INTRODUCTION}\n{text}"


def main() -> int:
    """Return 0 when all ran to their end."""
    names = [b.module for b in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; or all")
    wanted = parser.parse_args().names
    for name in wanted:
        if name not in names:
            parser.error(f"there is no benchmark {name}: there are {', '.join(names)}")
    known = parts(PAGE.read_text(encoding="utf-8")) if wanted and PAGE.exists() else {}
    status = 0
    for benchmark in BENCHMARKS:
        if not wanted or benchmark.module in wanted:
            failed, part = measured(benchmark)
            status |= failed
            if not failed:
                known[benchmark.title] = part
    PAGE.write_text(written(known), encoding="utf-8")
    print(f"The page: {PAGE}")
    return status


if __name__ == "__main__":
    sys.exit(main())
