"""Versions of Python: the check is ``tests.matrix.pythons``."""

from __future__ import annotations

import subprocess
import sys

from .record import FIGURES

if __name__ == "__main__":
    command = [
        sys.executable,
        "-m",
        "tests.matrix.pythons",
        "--json",
        str(FIGURES / "pythons.json"),
    ]
    sys.exit(subprocess.run(command, check=False).returncode)
