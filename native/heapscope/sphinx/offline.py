"""Leave pages that ask nothing of the network, log nothing to the console, and pass axe.

What is mended here is the theme's (sphinx-book-theme 1.1.4, pydata-sphinx-theme 0.15.4) and
sphinx-thebe's; each line says what would be wrong without it.
"""

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
    """Drop sphinx-thebe's scripts: they name a CDN and declare a constant twice on every page."""

    def wanted(script: Any) -> bool:
        body = str((getattr(script, "attributes", None) or {}).get("body") or "")
        name = str(getattr(script, "filename", None) or script or "")
        return "THEBE_JS_URL" not in body and "sphinx-thebe" not in name

    context["script_files"] = [s for s in context.get("script_files", ()) if wanted(s)]
    context["css_files"] = [s for s in context.get("css_files", ()) if wanted(s)]


def _finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for path in sorted(out.rglob("*.html")):
        before = path.read_text("utf-8")
        after = clean(before)
        if path == out / "index.html" and _REDIRECT.search(after):
            icon = (
                f"_static/{Path(app.config.html_favicon).name}" if app.config.html_favicon else ""
            )
            after = _redirect(after, app.config.language or "en", app.config.html_title, icon)
        if after != before:
            path.write_text(after, "utf-8")


_REDIRECT = re.compile(r'<meta http-equiv="Refresh" content="0; url=([^"]+)"', re.IGNORECASE)


def _redirect(page: str, language: str, title: str, icon: str) -> str:
    """Return sphinx-external-toc's redirect as a whole page: with language, title and link.

    A browser asks the server for favicon.ico unless the page names an icon.
    """
    found = _REDIRECT.search(page)
    assert found, page
    to = found[1]
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Refresh" content="0; url={to}">\n'
        f'<link rel="icon" href="{icon or "data:,"}">\n<title>{title}</title>\n</head>\n'
        f'<body>\n<main><h1>{title}</h1><p><a href="{to}">To the book</a></p></main>\n'
        f"</body>\n</html>\n"
    )


_CLEANINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    # crossorigin, which file:// forbids: six errors a page
    (re.compile(r'\s*<link rel="preload" as="font"[^>]*>'), ""),
    # 1.5 MB of script that draws icons which the style sheet's fonts draw as well
    (
        re.compile(r"\s*<script src=\"[^\"]*/fontawesome/[^\"]*/js/all\.min\.js[^\"]*\"></script>"),
        "",
    ),
    # what is left of thebe in the body, with somebody else's repository in it
    (re.compile(r'\s*<script type="text/x-thebe-config">.*?</script>', re.DOTALL), ""),
    (re.compile(r"\s*<script>kernelName = '[^']*'</script>"), ""),
    # the same line three times
    (
        re.compile(
            r'(<meta name="viewport" content="width=device-width, initial-scale=1(?:\.0)?"\s*/>)'
            r'(?=.*<meta name="viewport")',
            re.DOTALL,
        ),
        "",
    ),
    # axe, region: the book's title would stand outside all landmarks
    (
        re.compile(r'<div class="bd-sidebar-primary bd-sidebar([^"]*)">'),
        r'<div class="bd-sidebar-primary bd-sidebar\1" role="region" aria-label="Book">',
    ),
    # axe, label-content-name-mismatch: the button says more than its label
    (
        re.compile(
            r'(<button class="btn search-button-field search-button__button") title="Search"'
            r' aria-label="Search"'
        ),
        r"\1",
    ),
    # inline event handlers; pages.js listens instead
    (re.compile(r'(<button\b[^>]*?)\s+onclick="toggleFullScreen\(\)"'), r"\1 data-hs-fullscreen"),
    (re.compile(r'(<button\b[^>]*?)\s+onclick="window\.print\(\)"'), r"\1 data-hs-print"),
    # the notebook is to be saved, not shown as JSON in a new tab
    (re.compile(r'(<a href="[^"]*/_sources/[^"]*") target="_blank"'), r"\1 download"),
    # axe, duplicate-id: the search page has the search field twice
    (re.compile(r'(id="search-input".*?)id="search-input"', re.DOTALL), r'\1id="search-field"'),
)


def clean(page: str) -> str:
    """Return the page's HTML mended; cleaning twice changes nothing."""
    for pattern, replacement in _CLEANINGS:
        page = pattern.sub(replacement, page)
    return page
