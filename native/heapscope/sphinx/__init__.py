"""The Sphinx extension that makes the book out of its notebooks.

``jupyter-book build .`` is enough: this extension executes the notebooks (in parallel, through
jupyter-cache), fills the ledger from what they recorded, checks the questions' keys, and leaves
pages that ask nothing of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heapscope import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the parts; Sphinx calls this."""
    from heapscope.sphinx import (
        build,
        cover,
        finder,
        fingerprint,
        front,
        glossary,
        ledger,
        lexers,
        licences,
        offline,
        pages,
        playground,
        quiz,
        tested,
        whole,
    )

    fingerprint.asked()
    app.add_config_value("ledger_complete", False, "env", types=[bool])
    app.add_config_value("heapscope_claims", "notebooks/claims.yml", "env", types=[str])
    app.add_config_value("heapscope_workers", 0, "", types=[int])  # 0: as many as there are cores
    build.register(app)
    cover.register(app)
    finder.register(app)
    front.register(app)
    glossary.register(app)
    ledger.register(app)
    lexers.register(app)
    licences.register(app)
    pages.register(app)
    playground.register(app)
    quiz.register(app)
    tested.register(app)
    whole.register(app)
    offline.register(app)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
