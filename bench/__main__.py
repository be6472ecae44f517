"""Run all benchmarks, each in a fresh process, one after the other."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

BENCHMARKS = ("bench.heap_call", "bench.film", "bench.trace", "bench.build")


def main() -> int:
    """Return 0 when all that are there ran to their end."""
    status = 0
    for name in BENCHMARKS:
        if find_spec(name) is None:
            continue
        print(f"--- {name}", flush=True)
        status |= subprocess.run([sys.executable, "-m", name], check=False).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
