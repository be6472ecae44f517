"""The go command, as the tests here call it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Said:
    """How a command ended and all it printed."""

    exit: int
    text: str


@dataclass(frozen=True)
class Go:
    """The go command of the book: no net, no settings of the user's, the shared build cache."""

    command: Path
    environment: Mapping[str, str]

    def __call__(
        self,
        arguments: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 400,
    ) -> Said:
        """Run the go command in a folder."""
        return self.run([str(self.command), *arguments], folder, env, timeout)

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Said:
        """Run any command in the same environment."""
        run = subprocess.run(
            command,
            cwd=folder,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        return Said(run.returncode, run.stdout)
