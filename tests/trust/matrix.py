"""Versions of glibc: the check is ``tests.matrix``."""

from __future__ import annotations

import subprocess
import sys

from .record import FIGURES

if __name__ == "__main__":
    command = [sys.executable, "-m", "tests.matrix", "--json", str(FIGURES / "matrix.json")]
    sys.exit(subprocess.run(command, check=False).returncode)
