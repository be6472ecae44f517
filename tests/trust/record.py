"""Writing a check's figures."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

from heapscope.sphinx import tested

FIGURES = Path(__file__).with_name("figures")


def versions() -> dict[str, str]:
    """Return what every figure depends on."""
    libc = (os.confstr("CS_GNU_LIBC_VERSION") or "glibc unknown").split()
    return {
        "Python": platform.python_version(),
        libc[0]: libc[-1],
        "Linux": platform.release(),
        "machine": platform.machine(),
    }


class Check:
    """One check: collects figures, prints them, writes them.

    `name` is the module's, `command` what shows the figures again; `folder` is for tests.
    """

    def __init__(self, name: str, title: str, command: str, folder: Path = FIGURES) -> None:
        self.name, self.title, self.command, self.folder = name, title, command, folder
        self.figures: list[dict[str, Any]] = []

    def figure(
        self, what: str, value: str, aim: str, met: bool | None, command: str | None = None
    ) -> None:
        """Take down one figure; `met` is None when it was not tried and `value` says why."""
        entry = {"what": what, "value": value, "aim": aim, "met": met}
        self.figures.append({**entry, "command": command or self.command})
        said = {True: "met", False: "NOT MET", None: "not tried"}[met]
        print(f"  {what}: {value} (aim: {aim}) {said}", flush=True)

    def finish(self, **more: str) -> int:
        """Write the file; return 0, or 1 when a figure is not met. `more` is names and versions."""
        form = {
            "title": self.title,
            "command": self.command,
            "measured": {
                "date": datetime.date.today().isoformat(),
                "versions": {**versions(), **more},
            },
            "figures": self.figures,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(form, indent=1, ensure_ascii=False) + "\n", "utf-8")
        try:
            tested.load(new)  # what the page could not show is an error here
        except ValueError:
            new.unlink()
            raise
        os.replace(new, path)
        return int(any(figure["met"] is False for figure in self.figures))
