"""A build that was killed leaves nothing half-written behind for the next one.

Sphinx takes a page for done when its file is newer than its source, also where writing it was cut
off. So a build leaves a mark while it works; whoever finds the mark of another writes every page.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MARK = "unfinished"  # in the folder of the doctrees


def register(app: Sphinx) -> None:
    """Look for the mark before anything is read; take it away at the end."""
    app.connect("builder-inited", _begin)
    app.connect("env-get-outdated", _outdated)
    app.connect("build-finished", _end, priority=999)


def _begin(app: Sphinx) -> None:
    mark = Path(app.doctreedir) / MARK
    app.heapscope_was_killed = mark.exists()  # type: ignore[attr-defined]
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _outdated(app: Sphinx, env: Any, *_: Any) -> list[str]:
    return sorted(env.found_docs) if app.heapscope_was_killed else []  # type: ignore[attr-defined]


def _end(app: Sphinx, exception: Exception | None) -> None:
    if exception is None:
        (Path(app.doctreedir) / MARK).unlink(missing_ok=True)
