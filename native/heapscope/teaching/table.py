"""A small table in a cell's output: the same in HTML, as plain text and for a screen reader."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_NUMBER = re.compile(r"[-+−]?[\d.,  ]*\d(?:\.\d+)?(?: ?(?:%|[KMG]i?B|bytes|[mµn]?s))?")


class Table:
    """Rows under a head.

    Cells are shown with `str`; text between back quotes is code; a column of numbers is aligned to
    the right. If the first column has no heading, its cells head their rows.
    """

    def __init__(self, head: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
        """Make a table.

        Raises ValueError if a row does not have as many cells as the head.
        """
        self.head = [str(cell) for cell in head]
        self.rows = [list(row) for row in rows]
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.head):
                raise ValueError(
                    f"row {number} has {len(row)} cells, and the head has {len(self.head)}: {row!r}"
                )

    def _numeric(self, column: int) -> bool:
        cells = [row[column] for row in self.rows]
        return bool(cells) and all(_is_number(cell) for cell in cells)

    def _repr_html_(self) -> str:
        numeric = [self._numeric(column) for column in range(len(self.head))]
        style = [' class="hs-number" style="text-align:right"' if n else "" for n in numeric]
        head = "".join(
            f'<th scope="col"{style[i]}>{_rich(cell)}</th>' if cell.strip() else "<td></td>"
            for i, cell in enumerate(self.head)
        )
        heads_rows = bool(self.head) and not self.head[0].strip()
        body = []
        for row in self.rows:
            cells = [f"<td{style[i]}>{_rich(str(cell))}</td>" for i, cell in enumerate(row)]
            if heads_rows:
                cells[0] = f'<th scope="row">{_rich(str(row[0]))}</th>'
            body.append(f"<tr>{''.join(cells)}</tr>")
        return (
            f'<table class="hs-table"><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table>"
        )

    def __str__(self) -> str:
        """Return the table as aligned plain text."""
        numeric = [self._numeric(column) for column in range(len(self.head))]
        cells: list[list[object]] = [[*self.head], *self.rows]
        lines = [[_plain(cell).split("\n") for cell in row] for row in cells]
        width = [
            max((len(part) for row in lines for part in row[column]), default=0)
            for column in range(len(self.head))
        ]
        text = []
        for number, row in enumerate(lines):
            for i in range(max((len(cell) for cell in row), default=0)):
                parts = [cell[i] if i < len(cell) else "" for cell in row]
                padded = [
                    part.rjust(width[c]) if numeric[c] else part.ljust(width[c])
                    for c, part in enumerate(parts)
                ]
                text.append("  ".join(padded).rstrip())
            if number == 0:
                text.append("  ".join("-" * w for w in width))
        return "\n".join(text)

    def __repr__(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _is_number(cell: object) -> bool:
    if isinstance(cell, bool):
        return False
    return isinstance(cell, (int, float)) or bool(_NUMBER.fullmatch(str(cell).strip()))


def _plain(cell: object) -> str:
    return _CODE.sub(r"\2", str(cell))


def _rich(text: str) -> str:
    """Return HTML: escaped, with code and line breaks."""
    escaped = html.escape(text, quote=False)
    return _CODE.sub(r"<code>\2</code>", escaped).replace("\n", "<br>")
