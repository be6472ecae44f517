"""How long the book takes to build, against the least it could take.

The floor of a cold build is the time the cells themselves take, spread over the cores, plus Sphinx
with execution off.  It leaves out starting kernels, importing matplotlib, and one notebook being
longer than its share.  Everything happens in a copy of the book; the repository's own _build stays.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.spread import Spread

ROOT = Path(__file__).resolve().parents[1]
ONE = "02-malloc"  # the notebook that is changed
LEFT_OUT = shutil.ignore_patterns(".*", "_build", "build", "*.egg-info", "__pycache__", "tests")


def build(book: Path) -> float:
    """Build the book in the folder `book` and return the seconds it took; RuntimeError when red."""
    tool = Path(sys.executable).parent / "jupyter-book"
    command = [str(tool), "build", "-W", "-n", "--keep-going", str(book)]
    started = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if run.returncode != 0:
        raise RuntimeError(f"the build failed:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    return seconds


def cell_seconds(book: Path) -> dict[str, float]:
    """Return how long the cells of each notebook ran in the last build that executed it."""
    keys = json.loads((book / "_build" / ".jupyter_cache" / "heapscope.json").read_text("utf-8"))
    return {entry["name"]: float(entry["cell_seconds"]) for entry in keys.values()}


def alone(book: Path) -> set[str]:
    """Return the names of the notebooks that run with nothing beside them, for their timings."""
    found = set()
    for path in (book / "notebooks").glob("*.ipynb"):
        if json.loads(path.read_text("utf-8"))["metadata"].get("heapscope", {}).get("alone"):
            found.add(path.stem)
    return found


def change(book: Path, number: int) -> None:
    """Change a code cell of one notebook, so that it must be executed again."""
    path = book / "notebooks" / f"{ONE}.ipynb"
    content = json.loads(path.read_text("utf-8"))
    cell = next(c for c in content["cells"] if c["cell_type"] == "code" and "".join(c["source"]))
    cell["source"] = ["".join(cell["source"]).split("\n# change ")[0] + f"\n# change {number}"]
    path.write_text(json.dumps(content), "utf-8")


def without_execution(book: Path) -> float:
    """Return the seconds of a cold build in which no notebook is executed."""
    config = book / "_config.yml"
    as_it_is = config.read_text("utf-8")
    without = as_it_is.replace("execute_notebooks: cache", "execute_notebooks: off")
    without = without.replace("ledger_complete: true", "ledger_complete: false")
    config.write_text(without, "utf-8")
    shutil.rmtree(book / "_build", ignore_errors=True)
    try:
        return build(book)
    finally:
        config.write_text(as_it_is, "utf-8")
        shutil.rmtree(book / "_build", ignore_errors=True)


def measure(runs: int) -> None:
    """Measure each kind of build `runs` times, in turn, and print the ratios."""
    cores = len(os.sched_getaffinity(0))
    cold, unchanged, one, floor, least, cells, sphinx = [], [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "book"
        shutil.copytree(ROOT, book, ignore=LEFT_OUT)
        for run in range(runs):
            sphinx.append(without_execution(book))
            cold.append(build(book))
            seconds = cell_seconds(book)
            floor.append(sum(seconds.values()) / cores + sphinx[-1])
            # A chapter that runs alone leaves all cores but one idle.
            idle = sum(seconds[name] for name in alone(book)) * (1 - 1 / cores)
            least.append(floor[-1] + idle)
            unchanged.append(build(book))
            change(book, run)
            one.append(build(book))
            cells.append(cell_seconds(book)[ONE])
            print(f"run {run + 1} of {runs} done", flush=True)
    per_floor = [took / base for took, base in zip(cold, floor, strict=True)]
    per_least = [took / base for took, base in zip(cold, least, strict=True)]
    beyond = [took - own for took, own in zip(one, cells, strict=True)]
    print(f"{cores} cores, {runs} runs; seconds as median (least to greatest)")
    print(f"cold build            {Spread.of(cold):.1f}")
    print(f"  floor               {Spread.of(floor):.1f}, of it Sphinx {Spread.of(sphinx):.1f}")
    print(f"  cold build / floor  {Spread.of(per_floor):.2f}   aim 1.15")
    print(f"  with {len(alone(ROOT))} chapters that must run alone, as they time things:")
    print(f"  floor {Spread.of(least):.1f}, cold build / floor {Spread.of(per_least):.2f}")
    print(f"unchanged rebuild     {Spread.of(unchanged):.1f}   aim 3")
    print(f"one notebook changed  {Spread.of(one):.1f}")
    print(f"  beyond its cells    {Spread.of(beyond):.1f}   aim 3")


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure builds of the book.")
    parser.add_argument("--runs", type=int, default=3, help="how often (default: 3)")
    measure(parser.parse_args().runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
