"""Leave pages that ask nothing of the network and log nothing to the console."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def register(app: Sphinx) -> None:
    """Clean the page's scripts while it is made, and its markup when all pages stand."""
    app.connect("html-page-context", _drop_thebe, priority=900)
    app.connect("build-finished", _finish)


def _drop_thebe(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any
) -> None:
    """sphinx-thebe's scripts name a CDN and, on every page, declare a constant twice."""

    def wanted(script: Any) -> bool:
        body = str((getattr(script, "attributes", None) or {}).get("body") or "")
        name = str(getattr(script, "filename", None) or script or "")
        return "THEBE_JS_URL" not in body and "sphinx-thebe" not in name

    context["script_files"] = [s for s in context.get("script_files", ()) if wanted(s)]
    context["css_files"] = [s for s in context.get("css_files", ()) if wanted(s)]


def _finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*.html")):
        before = path.read_text("utf-8")
        after = clean(before)
        if after != before:
            path.write_text(after, "utf-8")


_FONT_PRELOAD = re.compile(r'\s*<link rel="preload" as="font"[^>]*>')


def clean(page: str) -> str:
    """Return the page's HTML without what file:// forbids; cleaning twice changes nothing."""
    return _FONT_PRELOAD.sub("", page)
