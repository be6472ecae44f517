"""Just enough of the grammar of C and Go to complete a cell that is not a whole program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


def mask(text: str, *, raw_strings: bool = False) -> str:
    """Return `text` with comments and literals blanked: same length, same lines.

    `raw_strings` is for Go, whose back quotes begin a string without escapes.
    """
    out = list(text)
    at, end = 0, len(text)

    def blank(start: int, stop: int) -> int:
        for i in range(start, min(stop, end)):
            if out[i] != "\n":
                out[i] = " "
        return stop

    while at < end:
        two = text[at : at + 2]
        if two == "//":
            stop = text.find("\n", at)
            at = blank(at, end if stop < 0 else stop)
        elif two == "/*":
            stop = text.find("*/", at + 2)
            at = blank(at, end if stop < 0 else stop + 2)
        elif raw_strings and text[at] == "`":
            stop = text.find("`", at + 1)
            at = blank(at, end if stop < 0 else stop + 1)
        elif text[at] in "\"'":
            at = blank(at, _after_literal(text, at))
        else:
            at += 1
    return "".join(out)


def _after_literal(text: str, at: int) -> int:
    """Return the place after the literal that begins at `at`; it ends with its line at the latest.

    Digit separators (``1'000``) look like an opening quote; they are told by their neighbours.
    """
    quote = text[at]
    if quote == "'" and at and text[at - 1].isdigit() and text[at + 1 : at + 2].isalnum():
        return at + 1
    i = at + 1
    while i < len(text) and text[i] != quote:
        if text[i] == "\n":
            return i
        i += 2 if text[i] == "\\" else 1
    return i + 1


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of a cell at the outermost level: text[start:stop], beginning on `line` (from 1)."""

    start: int
    stop: int
    line: int


def blank_items(text: str, items: list[Item]) -> str:
    """Return `text` with the items blanked: same length, same lines."""
    out = list(text)
    for item in items:
        for i in range(item.start, item.stop):
            if out[i] != "\n":
                out[i] = " "
    return "".join(out)


def line_of(text: str, at: int) -> int:
    """Return the line, from 1, of a place in the text."""
    return text.count("\n", 0, at) + 1


def closed(masked: str, at: int) -> int:
    """Return the place after the brace or parenthesis that closes the one at `at`."""
    depth = 0
    for i in range(at, len(masked)):
        if masked[i] in "({[":
            depth += 1
        elif masked[i] in ")}]":
            depth -= 1
            if depth == 0:
                return i + 1
    return len(masked)


def c_items(masked: str) -> Iterator[Item]:
    """Split C into its outermost pieces: directives, declarations, definitions, statements."""
    at, end = 0, len(masked)
    while at < end:
        if masked[at].isspace():
            at += 1
            continue
        start = at
        if masked[at] == "#":
            while at < end and masked[at] != "\n":
                at += 2 if masked[at : at + 2] == "\\\n" else 1
        else:
            at = _after_c_item(masked, at)
        yield Item(start, min(at, end), line_of(masked, start))


def _after_c_item(masked: str, at: int) -> int:
    """Return the end of a piece: its semicolon, or the brace that ends a function or statement."""
    last = ""
    while at < len(masked):
        sign = masked[at]
        if sign == ";":
            return at + 1
        if sign in "([":
            at, last = closed(masked, at), ")"
            continue
        if sign == "{":
            at = closed(masked, at)
            # After `)` it was a body; otherwise an initialiser or a struct, which a `;` ends.
            if last == ")" or last == "":
                return at
            last = "}"
            continue
        if not sign.isspace():
            last = sign
        at += 1
    return at
