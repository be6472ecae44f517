"""Showing a record in a notebook, or as a line of text where there is none."""

from __future__ import annotations

from html import escape
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display


def show(bundle: dict[str, Any]) -> None:
    """Display a mime bundle; without IPython print its text."""
    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, raw=True)  # type: ignore[no-untyped-call]


def inline(text: str) -> str:
    """Return `text` as HTML, with ``code`` between backticks set as code."""
    parts = escape(text, quote=False).split("`")
    if len(parts) % 2 == 0:  # an odd number of backticks: leave them alone
        return "`".join(parts)
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(parts))
