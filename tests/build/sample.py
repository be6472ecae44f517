"""A tiny book with the real book's configuration, to be broken on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

CLAIM = {
    "id": "sum",
    "statement": "Two and two are `4`.",
    "section": "Sums",
    "verdict": "holds",
    "source": ["arithmetic"],
    "article_lines": "1",
}


def _id(kind: str, source: str) -> str:
    return kind + hashlib.sha256(source.encode()).hexdigest()[:8]


def code(source: str, name: str = "", **metadata: Any) -> dict[str, Any]:
    """Return a code cell."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name or _id("c", source),
        "metadata": metadata,
        "outputs": [],
        "source": source,
    }


def text(source: str) -> dict[str, Any]:
    """Return a Markdown cell."""
    return {
        "cell_type": "markdown",
        "id": _id("m", source),
        "metadata": {},
        "source": source,
    }


SUM = code("from heapscope import claim\nfour = 2 + 2\nclaim('sum', four == 4, observed=four)")
ASKED = text(
    "<!-- question: why-four -->\n**Why four?**\n\n"
    "<details><summary>a. By chance.</summary>\n\nNo. It is four each time.\n\n</details>\n\n"
    "<details><summary>b. By counting.</summary>\n\nYes. Two, and two more.\n\n</details>\n"
)


@dataclass
class Build:
    """What one run of jupyter-book said."""

    status: int
    log: str

    @property
    def red(self) -> bool:
        return self.status != 0

    @property
    def executed(self) -> int:
        """How many notebooks were executed."""
        found = re.search(r"notebooks: (\d+) executed", self.log)
        assert found, self.log
        return int(found[1])


class SampleBook:
    """A book of a cover, a ledger and a few notebooks in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "notebooks").mkdir(parents=True)
        shutil.copy(ROOT / "_config.yml", folder)
        shutil.copytree(ROOT / "book" / "assets", folder / "book" / "assets")
        self.config("ledger_complete: true", "ledger_complete: false")  # a few claims, not all
        self.page("cover", "# A sample\n\nOne page.")
        self.page("ledger", "# The ledger\n\n```{ledger}\n```")
        self.claims([CLAIM])
        self.notebooks: dict[str, list[dict[str, Any]]] = {}

    @property
    def html(self) -> Path:
        return self.folder / "_build" / "html"

    def page(self, name: str, markdown: str) -> None:
        (self.folder / "book" / f"{name}.md").write_text(markdown + "\n")

    def claims(self, entries: list[dict[str, Any]]) -> None:
        (self.folder / "notebooks" / "claims.yml").write_text(yaml.safe_dump(entries))

    def config(self, before: str, after: str) -> None:
        """Change one line of _config.yml."""
        path = self.folder / "_config.yml"
        content = path.read_text()
        assert before in content, content
        path.write_text(content.replace(before, after))

    def notebook(
        self,
        name: str,
        *cells: dict[str, Any],
        title: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.notebooks[name] = list(cells)
        top = {**text(title or f"# {name.capitalize()}"), "id": "title"}
        content = {
            "cells": [top, *cells],
            "metadata": {
                "kernelspec": {
                    "display_name": "Python 3 (ipykernel)",
                    "language": "python",
                    "name": "python3",
                },
                "language_info": {"name": "python"},
                **(metadata or {}),
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(content, indent=1))
        toc = {
            "format": "jb-book",
            "root": "book/cover",
            "chapters": [
                *({"file": f"notebooks/{n}"} for n in self.notebooks),
                {"file": "book/ledger"},
            ],
        }
        (self.folder / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))

    def build(self, *options: str, environment: dict[str, str] | None = None) -> Build:
        """Build as `make book` does."""
        tool = Path(sys.executable).parent / "jupyter-book"
        command = [str(tool), "build", "-W", "-n", "--keep-going"]
        run = subprocess.run(
            [*command, *options, str(self.folder)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "NO_COLOR": "1", **(environment or {})},
            check=False,
        )
        return Build(run.returncode, run.stdout + run.stderr)
