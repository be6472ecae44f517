"""The picture of a heap: drawing, free lists, pointers, legend, caption and the words twin."""

from __future__ import annotations

import html
from collections.abc import Collection

from heapscope.model.snapshot import Role, Snapshot
from heapscope.views import heap_drawing, words
from heapscope.views.layout import MOST_ROWS, Row, rows
from heapscope.views.picture import Picture
from heapscope.views.table import table

MOST_LINKS = 4
"""So many stored links of a list are printed with their decoding; the table has all."""

LEGEND = {
    "header": "size word",
    "payload": "asked for",
    "slack": "usable, not asked for",
    "link": "written by the allocator",
    "stale": "free: old bytes",
    "top": "top, the allocator’s own",
    "fault": "impossible",
}
"""What a colour means, in the order of the legend."""


def figure(
    snapshot: Snapshot,
    *,
    title: str | None = None,
    only: Collection[str] | str | None = None,
    limit: int = MOST_ROWS,
) -> Picture:
    """Draw the heap: 16 bytes a row, lower addresses first.

    `only` names blocks (or regions) to show word by word; all others are folded into one row.
    `limit` is the greatest number of rows of 16 bytes; what is long or many is folded. The picture
    fits a column of 700 px, and in another form one of 320 px. KeyError when `only` names nothing.
    """
    names = {only} if isinstance(only, str) else only
    shown = rows(snapshot, names, limit)
    alt = words.alt(snapshot)
    pointers = any(p for p in heap_drawing.drawn_pointers(snapshot))
    wide = heap_drawing.WITH_POINTERS if pointers else heap_drawing.WIDE
    drawings: tuple[str, ...] = ()
    if shown:
        drawings = tuple(
            heap_drawing.Drawing(snapshot, shown, shape).svg(alt)
            for shape in (wide, heap_drawing.NARROW)
        )
    facts = table(snapshot)
    return Picture(
        title or "",
        alt,
        drawings,
        words.caption(snapshot),
        facts.grids,
        above=_said(snapshot) + _base(snapshot),
        below=(_cards(snapshot, shown) + _lists(snapshot) + _pointers(snapshot) + legend(shown)),
    )


def small(snapshot: Snapshot, limit: int) -> str:
    """Return the narrow drawing alone, as films use it."""
    shown = rows(snapshot, None, limit)
    if not shown:
        return ""
    return heap_drawing.Drawing(snapshot, shown, heap_drawing.NARROW).svg(words.alt(snapshot))


def _said(snapshot: Snapshot) -> str:
    """Say the conclusion, then each further fault."""
    broken = " hs-broken" if snapshot.faults else ""
    text = f'<p class="hs-say{broken}">{html.escape(words.sentence(snapshot))}</p>'
    if len(snapshot.faults) > 1:
        more = "".join(f"<li>{html.escape(fault.text)}</li>" for fault in snapshot.faults[1:])
        text += f'<ul class="hs-faults">{more}</ul>'
    return text


def _base(snapshot: Snapshot) -> str:
    if not snapshot.regions:
        return ""
    first = snapshot.regions[0]
    signs = "▼ what malloc returned · ▽ where the chunk starts"
    return (
        f'<p class="hs-base">{html.escape(first.name)}, offsets from '
        f"<code>{first.base:#x}</code> · {signs}</p>"
    )


def _cards(snapshot: Snapshot, shown: list[Row]) -> str:
    """Say beside the narrow drawing what the wide one says beside its brackets."""
    drawn = {w.chunk for row in shown for w in (row.left, row.right) if w is not None}
    items = []
    for chunk in snapshot.chunks:
        if chunk.at not in drawn or chunk.state in words.NOT_BLOCKS:
            continue
        name = html.escape(words.name(snapshot, chunk))
        state = html.escape(words.place(snapshot, chunk))
        lines = "".join(
            f'<span class="{"hs-bad" if colour == "fault-text" else "hs-dim"}">'
            f"{html.escape(text)}</span>"
            for text, colour, _ in heap_drawing.card(snapshot, chunk)
        )
        items.append(f"<li><b>{name}</b> {state}{lines}</li>")
    return f'<ul class="hs-cards hs-narrow">{"".join(items)}</ul>' if items else ""


def _lists(snapshot: Snapshot) -> str:
    """Show the free lists in list order, each stored link with its decoding."""
    parts = []
    for found in snapshot.lists:
        if not found.links and not found.fault:
            continue
        bad = ""
        if found.fault:
            bad = f'<span class="hs-bad">✗ {html.escape(found.fault)}</span>'
        decoded = "".join(
            f"<li><b>{html.escape(link.name or words.target(snapshot, link.at))}</b> "
            f"<code>{html.escape(words.decoded(link))}</code></li>"
            for link in found.links[:MOST_LINKS]
            if link.protected
        )
        rest = len(found.links) - MOST_LINKS
        if decoded and rest > 0:
            decoded += f"<li>{rest} more in the table</li>"
        chain = html.escape(words.chain(snapshot, found))
        inner = f"<ul>{decoded}</ul>" if decoded else ""
        parts.append(f'<li><span class="hs-chain">{chain}</span>{bad}{inner}</li>')
    if not parts:
        return ""
    return (
        '<div class="hs-lists"><p><b>Free lists</b> <span class="hs-dim">next out first; '
        "stored ⊕ (its address &gt;&gt; 12) = where it leads</span></p>"
        f"<ul>{''.join(parts)}</ul></div>"
    )


def _pointers(snapshot: Snapshot) -> str:
    """Name the pointers: in a narrow column all of them, else those that are not drawn."""
    if not snapshot.pointers:
        return ""
    drawn = {id(p) for p in heap_drawing.drawn_pointers(snapshot)}
    result = ""
    for narrow in (False, True):
        chosen = [p for p in snapshot.pointers if narrow or id(p) not in drawn]
        texts = []
        for pointer in chosen:
            text = f"{pointer.name} = {pointer.text or _value(snapshot, pointer.value)}"
            bad = pointer.state == "dangling"
            text = html.escape(text + (" ✗ dangling" if bad else ""))
            texts.append(f'<code class="{"hs-bad" if bad else ""}">{text}</code>')
        if texts:
            shape = "hs-narrow" if narrow else "hs-wide"
            result += f'<p class="hs-pointers {shape}"><b>Pointers</b> {" ".join(texts)}</p>'
    return result


def _value(snapshot: Snapshot, address: int | None) -> str:
    if address is None:
        return "not set"
    return "NULL" if address == 0 else words.offset(snapshot, address)


def legend(shown: list[Row]) -> str:
    """Return the legend of the roles that a drawing shows, if there are three or more."""
    found = set()
    for row in shown:
        if row.kind in ("band", "torn"):
            found.add("top")
        for word in (row.left, row.right):
            if word is None or row.kind != "words":
                continue
            found.add(heap_drawing.paint(word)[0])
            if word.role is Role.PAYLOAD and word.payload is not None and word.payload < 8:
                found.add("slack")
    for row in shown:
        if row.kind == "gap":
            found.add("stale" if row.chunks[0].state.free else "payload")
    changed = any(w and w.changed for row in shown for w in (row.left, row.right))
    if len(found) < 3:
        return ""
    sign = {"header": "P", "link": "→", "fault": "✗"}
    items = [
        f'<li><span class="hs-swatch hs-{role}" aria-hidden="true">{sign.get(role, "")}</span>'
        f"{LEGEND[role]}</li>"
        for role in LEGEND
        if role in found
    ]
    if changed:
        items.append(
            '<li><span class="hs-swatch hs-changed" aria-hidden="true">▲</span>'
            "changed just now</li>"
        )
    return f'<ul class="hs-legend" aria-label="Legend">{"".join(items)}</ul>'
