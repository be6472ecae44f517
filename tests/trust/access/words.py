"""A film's words against its snapshots: every block's place, size and state is said.

What is wanted is worked out here from the JSON in the page, without the code that writes words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page

NOT_BLOCKS = ("top", "tcache table", "folded", "fencepost")
IN_USE = ("in use", "mmapped")
MOST = 12
"""So many blocks are named in alternative text; it says how many more there are."""

_SHOWN = """film => {
    film.details.open = true;
    const out = [];
    for (let i = 0; i < film.n; i++) {
        film.told[i] = film.redo = true;
        film.show(i);
        film.words();
        const parts = film.stages.map((stage, side) => ({
            frame: film.pairs[i][side],
            alt: stage.node.querySelector('[role=img]').getAttribute('aria-label'),
            said: film.other ? stage.title.textContent : film.say.textContent,
            rows: [],
        }));
        let side = -1;
        for (const table of film.twin.querySelectorAll('table'))
            if (table.caption.textContent.startsWith('Chunks'))
                parts[++side].rows = [...table.tBodies[0].rows].map(
                    r => [...r.cells].map(c => c.textContent));
        out.push(parts);
    }
    return {json: film.querySelector('script').textContent, steps: out};
}"""


@dataclass
class Compared:
    """What was compared on a page."""

    films: int = 0
    frames: int = 0
    blocks: int = 0
    wrong: list[str] = field(default_factory=list)


def snapshots(film: dict[str, Any]) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Return regions and chunks in address order of each frame; the JSON holds what is new."""
    out = []
    regions: list[dict[str, Any]] = []
    chunks: dict[int, dict[str, Any]] = {}
    for frame in film["frames"]:
        regions = frame.get("regions", regions)
        part = frame.get("chunks", {})
        chunks = dict(chunks)
        for at in part.get("drop", []):
            chunks.pop(int(str(at), 0), None)
        for chunk in part.get("set", []):
            chunks[int(str(chunk["at"]), 0)] = chunk
        out.append((list(regions), [chunks[at] for at in sorted(chunks)]))
    return out


def place(regions: list[dict[str, Any]], at: int) -> str:
    """Return an address as the text gives it: as an offset in its region."""
    ordered = sorted(regions, key=lambda r: int(r["base"], 0))
    for number, region in enumerate(ordered):
        base = int(region["base"], 0)
        if base <= at < base + max(region.get("size", 0), region["data"]):
            return ("" if number == 0 else f"{region['name']} ") + f"+{at - base:#x}"
    return f"{at:#x}"


def _row(regions: list[dict[str, Any]], chunk: dict[str, Any], row: list[str]) -> list[str]:
    """Return what a row of the table does not say of a chunk."""
    state = str(chunk["state"])
    want = {1: place(regions, int(chunk["at"], 0)), 5: f"{chunk['size']:,}"}
    if state not in NOT_BLOCKS:
        want[4] = f"{chunk.get('usable', 0):,}"
    if chunk.get("requested") is not None:
        want[3] = f"{chunk['requested']:,}"
    missed = [f"{text} in {row}" for at, text in want.items() if row[at].split(" (")[0] != text]
    said = row[2]
    if state in NOT_BLOCKS:
        good = said == state
    elif state == "unknown":
        good = said in (state, chunk.get("label"))
    elif state in IN_USE:
        good = said.startswith("in use")
    else:  # free: where it lies, or which list it is in
        good = said.startswith("free") and chunk.get("free_list", state) in said
    return missed if good else [*missed, f"{state} in {row}"]


def _alt(regions: list[dict[str, Any]], chunks: list[dict[str, Any]], alt: str) -> list[str]:
    missed = []
    for chunk in chunks[:MOST]:
        for text in (f" at {place(regions, int(chunk['at'], 0))},", f"{chunk['size']:,}"):
            if text not in alt:
                missed.append(f"{text!r} in the alternative text")
    if len(chunks) > MOST and f"{len(chunks) - MOST} more chunks" not in alt:
        missed.append("the number of the other chunks in the alternative text")
    return missed


def _foreign(first: list[dict[str, Any]], chunk: dict[str, Any]) -> bool:
    """Whether a free block was there before the program: the picture leaves these out."""
    return any(
        old["at"] == chunk["at"]
        and old["size"] == chunk["size"]
        and not old.get("name")
        and not chunk.get("name")
        and chunk["state"] != "top"
        and old["state"] not in NOT_BLOCKS
        for old in first
    )


def compare(page: Page) -> Compared:
    """Step through every film of a page and compare its words with its JSON."""
    done = Compared()
    for handle in page.query_selector_all("heap-film:has(> script)"):
        shown = handle.evaluate(_SHOWN)
        form = json.loads(shown["json"])
        sides = [form, *([form["other"]] if "other" in form else [])]
        shots = [snapshots(side["film"]) for side in sides]
        done.films += 1
        for number, parts in enumerate(shown["steps"]):
            for side, part in enumerate(parts):
                frame = part["frame"]
                regions, chunks = shots[side][frame]
                say = sides[side]["steps"][frame][2]
                missed = [] if say in part["said"] else [f"{say!r} is not the sentence"]
                if len(part["rows"]) != len(chunks):
                    missed.append(f"{len(part['rows'])} rows for {len(chunks)} chunks")
                for chunk, row in zip(chunks, part["rows"], strict=False):
                    missed += _row(regions, chunk, row)
                begins = not form["film"]["frames"][0].get("events")
                first = shots[side][0][1] if begins else []
                own = [c for c in chunks if not _foreign(first, c)]
                missed += _alt(regions, own, part["alt"])
                done.frames += 1
                done.blocks += len(chunks)
                done.wrong += [f"{handle.get_attribute('id')} step {number}: {m}" for m in missed]
    return done
