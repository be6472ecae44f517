"""What every page gets: the instrument's style and scripts, and links from cells to the ledger."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import heapscope
from heapscope.sphinx.ledger import anchor
from heapscope.views import film

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CLAIM = re.compile(r'(<p class="hs-claim[^"]*" id="claim-([\w.-]+)"[^>]*>)(.*?)(</p>)', re.DOTALL)
_PREDICT = re.compile(r"<p><strong>Predict\.</strong>")
_ASKED = re.compile(r"<p>(<strong>(?:(?!</?p>|</strong>).)*</strong>)</p>", re.DOTALL)
_BROUGHT_ALONG = re.compile(
    r'<(style|script) class="hs-(?:style|film-style|film-script)">.*?</\1>', re.DOTALL
)
_HERE = Path(__file__).parent
_PACKAGE = Path(heapscope.__file__).parent


def register(app: Sphinx) -> None:
    """Serve the package's own css and js from the site."""
    app.connect("builder-inited", _assets)
    app.connect("html-page-context", _mark)
    app.connect("html-page-context", _link_claims)


def _assets(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    static = app.config.html_static_path
    player = Path(app.doctreedir) / "film.js"  # without comments and blanks
    player.parent.mkdir(parents=True, exist_ok=True)
    player.write_text(film.script(), encoding="utf-8")
    for path in (
        _PACKAGE / "views" / "views.css",
        _PACKAGE / "views" / "film.css",
        player,
        _HERE / "static" / "pages.js",
        _HERE / "static" / "ledger.js",
    ):
        if not path.is_file():
            continue
        static.append(str(path))
        if path.suffix == ".css":
            app.add_css_file(path.name, priority=400)  # before the book's own, which may refine it
        else:
            app.add_js_file(path.name)


def _mark(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Mark predictions and questions for the style sheet, since Markdown has no classes.

    Pictures and films bring style and script along, for notebooks; a page has each once, as a file.
    """
    body = context.get("body")
    if isinstance(body, str):
        body = _PREDICT.sub('<p class="hs-predict"><strong>Predict.</strong>', body)
        body = _BROUGHT_ALONG.sub("", body)
        context["body"] = _ASKED.sub(r'<p class="hs-asked">\1</p>', body)


def _link_claims(
    app: Sphinx, pagename: str, _template: str, context: dict[str, Any], _doctree: Any
) -> None:
    """Let each checked claim point to its row in the ledger."""
    docs = sorted(getattr(app.env, "heapscope_ledger_docs", ()))
    body = context.get("body")
    if not docs or not isinstance(body, str) or 'class="hs-claim' not in body:
        return
    page = app.builder.get_relative_uri(pagename, docs[0])

    def link(match: re.Match[str]) -> str:
        opening, name, text, closing = match.groups()
        target = f"{page}#{anchor(name)}"
        to_ledger = f'<a class="hs-to-ledger" href="{target}">in the ledger</a>'
        return f"{opening}{text} {to_ledger}{closing}"

    context["body"] = _CLAIM.sub(link, body)
