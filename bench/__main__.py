"""Run all benchmarks, each in a fresh process, one after the other, and write the book's page.

What they print goes to the terminal and, with a description of the machine, to book/how-fast.md.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

BENCHMARKS = {
    "bench.heap_call": "A call on the private heap",
    "bench.film": "A film",
    "bench.trace": "The tracer",
    "bench.playground": "The playground",
    "bench.build": "The build",
}
PAGE = Path(__file__).resolve().parents[1] / "book" / "how-fast.md"


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
        f"load {os.getloadavg()[0]:.1f}"
    )


def main() -> int:
    """Return 0 when all ran to their end."""
    status, parts = 0, []
    for name, title in BENCHMARKS.items():
        print(f"--- {name}", flush=True)
        command = [sys.executable, "-m", name]
        said = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                print(line, end="", flush=True)
                said.append(line)
        status |= running.returncode
        parts.append(f"## {title}\n\n```text\n{''.join(said).strip()}\n```\n")
    about = (
        "# How fast is it\n\nEach number stands beside a peer that was measured in the same run: "
        "a ratio says more than a time, and a time belongs to a machine. `make bench` measures "
        f"anew and writes this page.\n\nMeasured on: {machine()}.\n"
    )
    PAGE.write_text(about + "\n" + "\n".join(parts), encoding="utf-8")
    print(f"The page: {PAGE}")
    return status


if __name__ == "__main__":
    sys.exit(main())
