"""Run the checks, each in a fresh process, one after the other; 1 when anything is not met.

``python -m tests.trust`` runs all, ``python -m tests.trust fuzz text`` these two.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from heapscope.sphinx import tested

from . import CHECKS
from .record import FIGURES


def run(name: str, figures: Path = FIGURES, package: str = __package__ or "tests.trust") -> str:
    """Run one check; return what is wrong with it, "" when all its figures are met."""
    print(f"--- {name}", flush=True)
    if find_spec(f"{package}.{name}") is None:
        return f"there is no check {name}: its figures are missing"
    path = figures / f"{name}.json"
    began = time.time()
    status = subprocess.run([sys.executable, "-m", f"{package}.{name}"], check=False).returncode
    if not path.exists() or path.stat().st_mtime < began - 1:
        return f"{name} ended with status {status} and wrote no figures"
    try:
        missed = [f.what for f in tested.load(path).figures if f.met is False]
    except ValueError as error:
        return str(error)
    if missed:
        return f"{name}: not met: {'; '.join(missed)}"
    return f"{name} ended with status {status}" if status else ""


def main(names: Sequence[str]) -> int:
    """Run the checks of these names, all if there are none."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}")
        return 2
    wrong = [said for name in names or CHECKS if (said := run(name))]
    print("\n".join(["---", *wrong] if wrong else ["---", "every figure is met"]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
