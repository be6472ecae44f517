"""The JSON form of a film, version 1; ``film.schema.json`` describes it.

What a frame does not mention is as in the frame before it:

``regions``   all ranges, when one came, went or grew; ``bytes`` the bytes that changed since the
              frame before (a new range starts as zeros): runs ``[offset, hex]``, or
              ``[offset, hex of 8 bytes, times]`` for one word many times over.
``chunks``, ``words``   ``{"set": […], "drop": [addresses]}``: by address.
``lists``, ``pointers``, ``faults``, ``stack``, ``go``, ``output``, ``line``, ``note``, ``stop``
              whole, when different.
``events``, ``changes``   belong to one frame only; ``changes`` are the changed words with their
              changed bytes and the reason.

Addresses and words are strings ("0x5555555592a0"), because they do not fit a JavaScript number;
sizes and counts are numbers.  A word's bytes are those of its region.  Fields that have their
usual value are left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

from heapscope.model.snapshot import (
    WORD,
    Chunk,
    Event,
    Fault,
    FreeList,
    Link,
    Pointer,
    Region,
    Role,
    Snapshot,
    State,
    Stop,
    Word,
)

if TYPE_CHECKING:
    from heapscope.model.film import Film

VERSION = 1
_SAFE = 1 << 53
"""Whole numbers from here on do not fit a JavaScript number."""
_ADDRESSES: dict[type, frozenset[str]] = {
    Chunk: frozenset({"at", "claims"}),
    Word: frozenset({"at", "chunk", "target"}),
    Link: frozenset({"at", "chunk", "raw", "target"}),
    Pointer: frozenset({"value", "to"}),
    Event: frozenset({"result", "chunk"}),
    Fault: frozenset({"at", "chunk"}),
    Region: frozenset({"base"}),
}
T = TypeVar("T")
Form = dict[str, Any]


# ---- writing


def _number(value: int) -> int | str:
    return value if -_SAFE < value < _SAFE else f"{value:#x}"


def _plain(value: object) -> Any:
    """Turn a field's value into JSON."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    return _form(value)


def _form(item: Any, skip: frozenset[str] = frozenset()) -> Form:
    """Return the fields of a dataclass that do not have their usual value."""
    addresses = _ADDRESSES.get(type(item), frozenset())
    form: Form = {}
    for spec in dataclasses.fields(item):
        value = getattr(item, spec.name)
        if spec.name in skip or value == spec.default:
            continue
        if spec.name in addresses and value is not None:
            form[spec.name] = f"{value:#x}"
        else:
            form[spec.name] = _plain(value)
    return form


def film_to_json(film: Film) -> Form:
    """Return the JSON form of `film`."""
    form: Form = {"heapscope_film": VERSION, "title": film.title, "language": film.language}
    form |= {"file": film.file, "caption": film.caption, "source": film.source.splitlines()}
    form["source_ends"] = film.source.endswith("\n")
    form["blocks"] = [
        {**_form(b), "places": [{**_form(p), "at": f"{p.at:#x}"} for p in b.places]}
        for b in film.blocks
    ]
    frames: list[Form] = []
    before: Snapshot | None = None
    for frame in film.frames:
        frames.append(_frame(frame, before))
        before = frame
    form["frames"] = frames
    return form


def _frame(shot: Snapshot, before: Snapshot | None) -> Form:
    old = before if before is not None else Snapshot("", "")
    form: Form = {}
    for name in ("glibc", "arch", "line", "output", "note"):
        if getattr(shot, name) != getattr(old, name):
            form[name] = getattr(shot, name)
    for name in ("lists", "pointers", "faults", "stack", "go"):
        if getattr(shot, name) != getattr(old, name):
            form[name] = _plain(getattr(shot, name))
    if shot.stop != old.stop:
        form["stop"] = None if shot.stop is None else _form(shot.stop)
    if shot.events:
        form["events"] = [_form(event) for event in shot.events]
    _regions(form, shot.regions, old.regions)
    _keyed(form, "chunks", shot.chunks, old.chunks, _form)
    homes = sorted(shot.regions, key=lambda region: region.base)

    def word_form(word: Word) -> Form:
        skip = frozenset({"changed", "why"})
        own = any(r.base <= word.at <= r.end - WORD and r.read(word.at) == word.data for r in homes)
        return _form(word, skip | {"data"} if own else skip)

    def bare(word: Word) -> Word:
        # what changed belongs to one frame; the bytes are the region's
        return dataclasses.replace(word, changed=(), why=None)

    _keyed(
        form,
        "words",
        [bare(w) if w.changed or w.why else w for w in shot.words],
        [bare(w) if w.changed or w.why else w for w in old.words],
        word_form,
    )
    changes = [
        {"at": f"{w.at:#x}", "bytes": list(w.changed), **({"why": w.why} if w.why else {})}
        for w in shot.words
        if w.changed or w.why
    ]
    if changes:
        form["changes"] = changes
    return form


def _keyed(
    form: Form,
    name: str,
    items: Sequence[Any],
    old: Sequence[Any],
    write: Callable[[Any], Form],
) -> None:
    """Add what came, changed and went, by address."""
    known = {item.at: item for item in old}
    here = {item.at for item in items}
    fresh = [(item, write(item)) for item in items if known.get(item.at) != item]
    # A word of which only the bytes changed is told by its region.
    changed = [
        made for item, made in fresh if item.at not in known or write(known[item.at]) != made
    ]
    drop = [f"{at:#x}" for at in sorted(known.keys() - here)]
    part: Form = {}
    if changed:
        part["set"] = changed
    if drop:
        part["drop"] = drop
    if part:
        form[name] = part


def _regions(form: Form, regions: Sequence[Region], old: Sequence[Region]) -> None:
    def meta(items: Sequence[Region]) -> list[Form]:
        return [{**_form(r, frozenset({"data"})), "data": len(r.data)} for r in items]

    if meta(regions) != meta(old):
        form["regions"] = meta(regions)
    known = {region.base: region.data for region in old}
    runs = {f"{r.base:#x}": _runs(r.data, known.get(r.base, b"")) for r in regions}
    runs = {base: run for base, run in runs.items() if run}
    if runs:
        form["bytes"] = runs


def _runs(new: bytes, old: bytes) -> list[list[Any]]:
    """Return the runs of words in which `new` differs from `old`."""
    if new == old:
        return []
    old = old[: len(new)] + bytes(max(0, len(new) - len(old)))
    runs: list[list[Any]] = []
    start = None
    for at in range(0, len(new) + WORD, WORD):
        if at < len(new) and new[at : at + WORD] != old[at : at + WORD]:
            start = at if start is None else start
        elif start is not None:
            part = new[start:at]
            word, times = part[:WORD], len(part) // WORD
            if times > 2 and part == word * times:
                runs.append([start, word.hex(), times])
            else:
                runs.append([start, part.hex()])
            start = None
    return runs


# ---- reading


_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What a damaged form raises when it is read."""
_MOST = 1 << 28  # bytes of all regions of one frame; films hold far less


def _int(value: int | str) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)


def _maybe(value: int | str | None) -> int | None:
    return None if value is None else _int(value)


def _ints(values: Iterable[int | str]) -> tuple[int, ...]:
    return tuple(_int(value) for value in values)


_READERS: dict[type, dict[str, Callable[[Any], Any]]] = {
    Chunk: {"at": _int, "claims": _maybe, "requested": _maybe, "state": State},
    Word: {
        "at": _int,
        "chunk": _maybe,
        "target": _maybe,
        "role": Role,
        "data": bytes.fromhex,
        "changed": _ints,
    },
    Link: {"at": _int, "chunk": _maybe, "raw": _int, "target": _int},
    FreeList: {
        "kind": State,
        "size": _maybe,
        "links": lambda links: tuple(_build(Link, link) for link in links),
    },
    Pointer: {
        "value": _maybe,
        "to": _maybe,
        "cells": lambda cells: tuple((str(n), _int(v)) for n, v in cells),
    },
    Event: {"args": _ints, "result": _maybe, "chunk": _maybe},
    Fault: {"at": _int, "chunk": _maybe},
    Stop: {},
}


def _build(kind: type[T], form: Mapping[str, Any], **more: Any) -> T:
    """Make a dataclass from its JSON form."""
    readers = _READERS[kind]
    fields = {
        name: readers[name](value) if name in readers else value for name, value in form.items()
    }
    return kind(**{**fields, **more})


def film_from_json(form: Mapping[str, Any]) -> Film:
    """Build a film from its JSON form; ValueError says what is wrong with it."""
    from heapscope.model.film import Block, Film, Mark, Place

    if not isinstance(form, Mapping):
        raise ValueError(f"this is no film: a JSON object is needed, not {type(form).__name__}")
    if form.get("heapscope_film") != VERSION:
        raise ValueError(
            f"this is no film that heapscope can read: heapscope_film is "
            f"{form.get('heapscope_film')!r}, and version {VERSION} is known"
        )
    try:
        source = "\n".join(form.get("source", ()))
        frames: list[Snapshot] = []
        before: Snapshot | None = None
        for number, frame in enumerate(form["frames"]):
            try:
                before = _shot(frame, before)
            except _WRONG as error:
                raise ValueError(f"frame {number} of the film cannot be read: {error}") from error
            frames.append(before)
        blocks = tuple(
            Block(
                **{
                    **block,
                    "places": tuple(
                        Place(**{**p, "at": _int(p["at"]), "requested": p.get("requested")})
                        for p in block["places"]
                    ),
                    "died": block.get("died"),
                    "marks": tuple(Mark(**mark) for mark in block.get("marks", ())),
                }
            )
            for block in form.get("blocks", ())
        )
        texts = {name: form.get(name, "") for name in ("title", "file", "caption")}
        texts["language"] = form.get("language", "c")
        for name, text in texts.items():
            if not isinstance(text, str):
                raise TypeError(f"its {name} is no text")
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"this is no film: {error!r}") from error
    return Film(
        frames=tuple(frames),
        source=source + "\n" if form.get("source_ends") else source,
        blocks=blocks,
        **texts,
    )


def _shot(form: Mapping[str, Any], before: Snapshot | None) -> Snapshot:
    old = before if before is not None else Snapshot("", "")
    regions = _read_regions(form, old.regions)
    homes = [region for region in regions if region.length]

    def word(made: Mapping[str, Any]) -> Word:
        at = _int(made["at"])
        if "data" in made:
            return _build(Word, made)
        home = next((r for r in homes if r.base <= at <= r.end - WORD), None)
        if home is None:
            raise ValueError(f"the word at {at:#x} lies in no region")
        return _build(Word, made, data=home.read(at))

    words = {
        w.at: dataclasses.replace(w, changed=(), why=None) if w.changed or w.why else w
        for w in old.words
    }
    for at, kept in list(words.items()):
        home = next((r for r in homes if r.base <= at <= r.end - WORD), None)
        if home is not None and home.read(at) != kept.data:
            words[at] = dataclasses.replace(kept, data=home.read(at))
    part = form.get("words", {})
    for address in part.get("drop", ()):
        words.pop(_int(address), None)
    for made in part.get("set", ()):
        words[_int(made["at"])] = word(made)
    for change in form.get("changes", ()):
        at = _int(change["at"])
        if at not in words:
            raise ValueError(f"the changed word at {at:#x} is not among the words")
        words[at] = dataclasses.replace(
            words[at], changed=tuple(change["bytes"]), why=change.get("why")
        )
    chunks = {chunk.at: chunk for chunk in old.chunks}
    part = form.get("chunks", {})
    for address in part.get("drop", ()):
        chunks.pop(_int(address), None)
    for made in part.get("set", ()):
        chunks[_int(made["at"])] = _build(Chunk, made)
    stop = form.get("stop")

    def whole(name: str, kind: type[T], same: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(_build(kind, item) for item in form[name]) if name in form else same

    return Snapshot(
        glibc=form.get("glibc", old.glibc),
        arch=form.get("arch", old.arch),
        regions=regions,
        chunks=tuple(chunks[at] for at in sorted(chunks)),
        words=tuple(words[at] for at in sorted(words)),
        lists=whole("lists", FreeList, old.lists),
        pointers=whole("pointers", Pointer, old.pointers),
        events=whole("events", Event, ()),
        faults=whole("faults", Fault, old.faults),
        line=form.get("line", old.line),
        stack=tuple(form.get("stack", old.stack)),
        output=form.get("output", old.output),
        stop=old.stop if "stop" not in form else None if stop is None else _build(Stop, stop),
        note=form.get("note", old.note),
        go=dict(form.get("go", old.go)),
    )


def _read_regions(form: Mapping[str, Any], old: Sequence[Region]) -> tuple[Region, ...]:
    known = {region.base: region for region in old}
    if "regions" in form:
        metas = form["regions"]
        regions, room = [], _MOST
        for meta in metas:
            base, length = _int(meta["base"]), int(meta["data"])
            room -= max(length, 0)
            if length < 0 or room < 0:
                raise ValueError(f"{length:,} bytes of {meta['name']} are more than a film holds")
            data = known[base].data[:length] if base in known else b""
            data += bytes(length - len(data))
            regions.append(Region(meta["name"], base, data, meta.get("size")))
    else:
        regions = list(old)
    runs = form.get("bytes", {})
    by_base = {_int(base): changes for base, changes in runs.items()}
    result = []
    for region in regions:
        changes = by_base.pop(region.base, ())
        bytes_now = bytearray(region.data)
        for offset, text, *times in changes:
            part, count = bytes.fromhex(text), times[0] if times else 1
            part *= count if count <= len(bytes_now) else 0
            if not part or offset < 0 or offset + len(part) > len(bytes_now):
                raise ValueError(f"bytes at {offset} of {region.name} lie outside it")
            bytes_now[offset : offset + len(part)] = part
        result.append(dataclasses.replace(region, data=bytes(bytes_now)) if changes else region)
    if by_base:
        raise ValueError(f"bytes for {min(by_base):#x}, where no region is")
    return tuple(result)


def schema() -> Form:
    """Return the JSON Schema of a film."""
    text = resources.files(__package__).joinpath("film.schema.json").read_text(encoding="utf-8")
    loaded: Form = json.loads(text)
    return loaded
