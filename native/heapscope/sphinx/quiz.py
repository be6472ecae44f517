"""Questions on the site: radio buttons with an answer, made by a script from the folded choices.

Without the script a reader opens the choices one by one, as in a notebook.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_SCRIPT = Path(__file__).parent / "static" / "quiz.js"
_QUESTION = re.compile(
    r'<!--\s*question:\s*([\w-]+)\s*-->(\s*)<p(?: class="hs-asked")?>(?=<strong>)', re.DOTALL
)


def register(app: Sphinx) -> None:
    """Serve the script, and give each question a name that can be linked to."""
    app.connect("builder-inited", _assets)
    app.connect("html-page-context", _name, priority=600)  # after the questions got their class


def _assets(app: Sphinx) -> None:
    if app.builder.format == "html":
        app.config.html_static_path.append(str(_SCRIPT))


def _name(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    body = context.get("body")
    if isinstance(body, str) and _QUESTION.search(body):
        context["body"] = name_questions(body)
        app.add_js_file(_SCRIPT.name)


def name_questions(body: str) -> str:
    """Turn the comment in front of each question into the question's id."""
    return _QUESTION.sub(r'\2<p class="hs-asked" id="question-\1" data-question="\1">', body)
