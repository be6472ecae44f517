"""How long a film of a 20-line program takes, against gdb that only steps through it.

Both get a program that is compiled already. The film's time is that of recording, decoding and
writing the JSON, the floor's that of ``gdb -batch`` with ``break main``, ``run`` and ``step`` to
the end. A whole process (Python, imports, compiler, film, JSON) is measured as well.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from heapscope.recorders.gdb_recorder import record_c

from bench.spread import Spread

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { int value; struct node *next; };
static struct node *push(struct node *list, int value) {
  struct node *new = malloc(sizeof *new);
  new->value = value;
  new->next = list;
  return new;
}
int main(void) {
  struct node *list = push(NULL, 1);
  char *a = malloc(24);
  strcpy(a, "hello");
  a = realloc(a, 100);
  printf("%s %d\\n", a, list->value);
  free(a);
  free(list);
  return 0;
}
"""
STEPS = """
import gdb
for command in ("set pagination off", "set confirm off", "set debuginfod enabled off",
                "set startup-with-shell off", "set debug-file-directory /nonexistent",
                "break main", "run > /dev/null"):
    gdb.execute(command, to_string=True)
try:
    while gdb.selected_inferior().pid:
        gdb.execute("step", to_string=True)
except gdb.error:
    pass
"""
WHOLE = (
    "import sys, json; from heapscope.recorders.gdb_recorder import record_c; "
    "json.dump(record_c(open(sys.argv[1]).read()).to_json(), open(sys.argv[2], 'w'))"
)


def timed(command: list[str]) -> float:
    """Run a command and return the seconds it took."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def measure(runs: int) -> None:
    """Measure each `runs` times, in turn, and print the ratios."""
    whole, film, stepped = [], [], []
    size = frames = 0
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "program.c"), Path(folder, "program")
        steps, out = Path(folder, "steps.py"), Path(folder, "film.json")
        source.write_text(PROGRAM)
        steps.write_text(STEPS)
        compiler = ["gcc", "-g", "-O0", "-fno-builtin", "-o", str(program), str(source)]
        gdb = ["gdb", "-nx", "-nh", "-q", "-batch", "-x", str(steps), "--args", str(program)]
        timed(compiler)
        for _ in range(runs):
            stepped.append(timed(gdb))
            compiling = timed(compiler)
            started = time.perf_counter()
            recorded = record_c(PROGRAM)
            out.write_text(json.dumps(recorded.to_json()))
            film.append(time.perf_counter() - started - compiling)
            whole.append(timed([sys.executable, "-c", WHOLE, str(source), str(out)]))
            size, frames = len(gzip.compress(out.read_bytes(), mtime=0)), len(recorded)
    ratio = [took / least for took, least in zip(film, stepped, strict=True)]
    print(f"{runs} runs; seconds as median (least to greatest)")
    print(f"whole process         {Spread.of(whole):.2f}   aim 0.5")
    print(f"film and JSON         {Spread.of(film):.2f}")
    print(f"  gdb, only stepping  {Spread.of(stepped):.2f}")
    print(f"  film / stepping     {Spread.of(ratio):.2f}   aim 2")
    print(f"film of {frames} frames: {size:,} bytes gzipped, {size / frames:,.0f} a frame")


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the film of a small program.")
    parser.add_argument("--runs", type=int, default=9, help="how often (default: 9)")
    measure(parser.parse_args().runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
