"""A number in prose stands in a cell or an output of the same page."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from executed import built

_NUMBER = re.compile(r"(?<![\w.])(?:0x[0-9a-fA-F]+|\d[\d_]*(?:[,. ]\d{3})*(?:\.\d+)?)")
# What is not a quantity: other chapters, versions of standards and programs, years, list letters.
_NAMES = re.compile(
    r"\b(chapters?|sections?|C|C\+\+|Go|gcc|clang|glibc|Python|Debian|Linux|valgrind|version|"
    r"versions|from|line|lines)\s*(version\s*)?\d[\d.]*((,| and| or| to)\s+\d[\d.]*)*"
    r"|\b(19|20)\d\d\b|\bx86-64\b|\b(int|uint)\d+(_t)?\b|\b\d+-bit\b|^\d+\. ",
    re.IGNORECASE | re.MULTILINE,
)
_SMALL = {"0", "1", "2"}  # words as much as numbers


def numbers(text: str) -> set[str]:
    """Return the numbers in a text, in one spelling: hexadecimal as decimal, no separators."""
    found = set()
    for spelt in _NUMBER.findall(text):
        if spelt.lower().startswith("0x"):
            found.add(str(int(spelt, 16)))
        else:
            plain = re.sub(r"[_ ,](?=\d{3})", "", spelt)
            found.add(plain.rstrip("0").rstrip(".") if "." in plain else plain)
    return found


def prose(nb: Any) -> str:
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)  # code that is shown, not said
    text = re.sub(r"<!--.*?-->|\]\([^)]*\)|<[^>]+>", " ", text, flags=re.DOTALL)
    return _NAMES.sub(" ", html.unescape(text))


def evidence(nb: Any) -> str:
    parts = []
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        parts.append(cell.source)
        for output in cell.outputs:
            parts.append(str(output.get("text", "")))
            for kind, data in output.get("data", {}).items():
                text = str(data)
                if kind == "text/html":
                    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
                parts.append(text)
    return "\n".join(parts)


def test_numbers_in_prose_come_from_the_page(notebook_path: Path) -> None:
    nb = built(notebook_path)
    there = numbers(evidence(nb)) | _SMALL
    unproved = [
        f"{', '.join(sorted(missing))}: {line.strip()}"
        for line in prose(nb).splitlines()
        if (missing := numbers(line) - there)
    ]
    if unproved:
        pytest.fail("no cell and no output has these numbers:\n" + "\n".join(unproved))


def test_the_test_finds_a_number() -> None:
    assert numbers("a chunk of 32 bytes at 0x20, 1,024 or 1.50 of them") == {"32", "1024", "1.5"}
    nothing = _NAMES.sub(" ", "Go 1.26, chapter 5, C17, gcc 12.2, chapters 3 and 4, in 2025")
    assert numbers(nothing) == set()
