"""Colours for ``%%c`` and ``%%go`` cells: the first line is the magic, the rest is C or Go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from pygments.lexer import Lexer
from pygments.lexers.c_cpp import CLexer
from pygments.lexers.go import GoLexer
from pygments.token import Comment, _TokenType
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_MAGIC = re.compile(r"%%(c|go)\b")


class _CellLexer(Lexer):
    """Split off the magic's line and leave the program to the language's own lexer."""

    inner: ClassVar[type[Lexer]]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Yield (index, token type, text), as Pygments asks."""
        first, newline, program = text.partition("\n")
        yield 0, Comment.Preproc, first + newline
        start = len(first) + len(newline)
        for index, token, value in self.inner().get_tokens_unprocessed(program):
            yield start + index, token, value


class CCell(_CellLexer):
    """A ``%%c`` cell."""

    name = "C cell"
    inner = CLexer


class GoCell(_CellLexer):
    """A ``%%go`` cell."""

    name = "Go cell"
    inner = GoLexer


class _Language(SphinxTransform):
    """Give cells that begin with a magic of ours the lexer of their language."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        for block in self.document.findall(nodes.literal_block):
            magic = _MAGIC.match(block.astext())
            if magic and block.get("language") in ("ipython3", "ipython", "python"):
                block["language"] = f"heapscope-{magic[1]}"


def register(app: Sphinx) -> None:
    """Register lexers and the transform that uses them."""
    app.add_lexer("heapscope-c", CCell)
    app.add_lexer("heapscope-go", GoCell)
    app.add_transform(_Language)
