"""A small table that writes itself as HTML, Markdown and plain text: the twin of a picture."""

from __future__ import annotations

import html
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of text under a head; the first column names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    @classmethod
    def of(cls, head: object, rows: object, caption: str = "") -> Grid:
        """Make a grid of any sequences; what is no text is written with ``str``."""
        top = tuple(str(x) for x in head)  # type: ignore[attr-defined]
        body = tuple(tuple(str(x) for x in row) for row in rows)  # type: ignore[attr-defined]
        for row in body:
            if len(row) != len(top):
                raise ValueError(f"a row has {len(row)} cells, the head has {len(top)}: {row}")
        return cls(top, body, caption)

    @staticmethod
    def escape(text: str) -> str:
        """Return `text` safe inside HTML, attributes included."""
        return html.escape(text, quote=True)

    def html(self) -> str:
        """Return the table as HTML, with scopes for screen readers."""
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f'<th scope="col">{html.escape(x)}</th>' for x in self.head)
        rows = []
        for first, *others in self.rows:
            cells = f'<th scope="row">{html.escape(first)}</th>'
            cells += "".join(f"<td>{html.escape(x)}</td>" for x in others)
            rows.append(f"<tr>{cells}</tr>")
        return (
            f'<table class="hs-grid">{caption}<thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>"
        )

    def text(self) -> str:
        """Return the table as plain text in columns."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.head))]
        texts = ["  ".join(c.ljust(w) for c, w in zip(x, widths, strict=True)) for x in lines]
        texts.insert(1, "  ".join("-" * w for w in widths))
        body = "\n".join(text.rstrip() for text in texts)
        return f"{self.caption}\n{body}" if self.caption else body

    def markdown(self) -> str:
        """Return the table as Markdown (GitHub's pipes)."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        cells = ([x.replace("|", "\\|").replace("\n", " ") for x in line] for line in lines)
        body = "\n".join(f"| {' | '.join(line)} |" for line in cells)
        return f"{self.caption}\n\n{body}" if self.caption else body
