"""The field of the failure index: paste a message, and the page shows what fits it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_SCRIPT = Path(__file__).parent / "static" / "finder.js"
# Without a script there would be nothing behind the field; finder.js takes "hidden" away.
_FIELD = """<form class="hs-finder" role="search" aria-label="Messages on this page" hidden>
<label for="hs-finder-text">Your message</label>
<textarea id="hs-finder-text" rows="2" spellcheck="false" autocomplete="off"></textarea>
<p role="status" aria-live="polite"></p>
</form>"""


def register(app: Sphinx) -> None:
    """Register the directive, and its script on the pages that use it."""
    app.add_directive("failure-finder", FailureFinder)
    app.connect("builder-inited", _assets)
    app.connect("html-page-context", _script)


class FailureFinder(SphinxDirective):
    """Put the field here."""

    def run(self) -> list[nodes.Node]:
        """Return the form."""
        return [nodes.raw("", _FIELD, format="html")]


def _assets(app: Sphinx) -> None:
    if app.builder.format == "html":
        app.config.html_static_path.append(str(_SCRIPT))


def _script(
    app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any
) -> None:
    if 'class="hs-finder"' in str(context.get("body", "")):
        app.add_js_file(_SCRIPT.name)
