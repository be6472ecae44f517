"""``question``: the key of a question, decided by a run.

The question itself is Markdown: a line ``<!-- question: ID -->``, then bold text, then one
``<details>`` for each choice, whose ``<summary>`` begins with the letter.  The explanation of the
right choice begins with "Yes.", that of every other one with "No.".  :func:`keys_of` reads those;
:func:`question` says what the run thinks, and a build in which the two disagree is red.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from heapscope.teaching.display import show

MIME = "application/vnd.heapscope.question+json"
LETTERS = ("a", "b", "c", "d", "e")

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_START = re.compile(r"<!--\s*question:\s*(\S+)\s*-->")
_CHOICE = re.compile(
    r"<summary>\s*([a-z])\.\s.*?</summary>(.*?)</details>", re.DOTALL | re.IGNORECASE
)


def question(id: str, right: str) -> None:  # noqa: A002  the book's word
    """Record which choice this run makes the right one: a letter from "a" to "e".

    `right` is an expression on what the run gave.  What is shown does not give the answer away.
    ValueError when `right` is no such letter, or `id` is not made of lower-case words and hyphens.
    """
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise ValueError(f"a question's id is made of lower-case words and hyphens, not {id!r}")
    if right not in LETTERS:
        raise ValueError(
            f"question {id}: right={right!r} is no choice; compute one of the letters "
            f"{', '.join(LETTERS)}"
        )
    line = f"question {id}: decided by this run"
    show(
        {
            MIME: {"id": id, "right": right},
            "text/plain": line,
            "text/html": f'<p class="hs-question"><small>{escape(line)}</small></p>',
        }
    )


def keys_of(notebook: Path | Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the letters marked "Yes." for each question of a notebook, by the question's id.

    `notebook` is a path or the notebook's JSON.  ValueError when a question stands there twice,
    when its letters do not run from a on, or when an explanation begins with neither "Yes." nor
    "No.".
    """
    content: Mapping[str, Any] = (
        json.loads(notebook.read_text("utf-8")) if isinstance(notebook, Path) else notebook
    )
    keys: dict[str, tuple[str, ...]] = {}
    for name, text in _questions(content["cells"]):
        if name in keys:
            raise ValueError(f"question {name} stands in the notebook twice")
        choices = [(m[1].lower(), m[2].strip()) for m in _CHOICE.finditer(text)]
        letters = tuple(letter for letter, _ in choices)
        if len(choices) < 2 or letters != LETTERS[: len(choices)]:
            raise ValueError(
                f"question {name}: its choices are a, b and so on, not {', '.join(letters) or '-'}"
            )
        for letter, why in choices:
            if not why.startswith(("Yes.", "No.")):
                raise ValueError(
                    f'question {name}: the explanation of {letter} begins with neither "Yes." '
                    'nor "No."'
                )
        keys[name] = tuple(letter for letter, why in choices if why.startswith("Yes."))
    return keys


def _questions(cells: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield each question's id and its Markdown, up to the next question or the cell's end."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            parts = _START.split("".join(cell["source"]))
            yield from zip(parts[1::2], parts[2::2], strict=True)
