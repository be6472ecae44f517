"""What the variables of a filmed program hold: from their bytes and types to cells and names."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_ELEMENTS = 16
"""Elements of an array that are shown one by one."""
MOST_NESTED = 3
"""Depth of structs in structs."""
MOST_SHOWN = 40
"""Characters of a text or list that are shown."""
WORD = 8
_ANONYMOUS = re.compile(r"C\.struct___\d+")
"""What cgo calls a struct of C's that has no tag."""
_TYPEDEF = re.compile(r"\btypedef\s+struct\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}\s*(\w+)\s*[;,]")


def typedefs(preamble: str) -> list[tuple[tuple[str, ...], str]]:
    """Return (names of the fields, typedef's name) of the structs without a tag in C text.

    The text is without comments. ``typedef struct { int x, y; } point;`` gives
    ``(("x", "y"), "point")``.
    """
    found = []
    for body, name in _TYPEDEF.findall(preamble):
        flat = re.sub(r"\{[^{}]*\}", "", body)
        declared = re.findall(
            r"(?:\(\s*\*\s*)?(\w+)\s*(?:\[[^\]]*\]\s*|\)\s*\([^)]*\)\s*)*[;,]", flat
        )
        found.append((tuple(declared), name))
    return found


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of the program, as gdb told of it."""

    number: int
    name: str
    size: int  # bytes
    kind: str  # pointer | array | struct | union | int | bool | float | enum | other
    to: int | None = None  # what a pointer leads to, what an array holds
    fields: tuple[tuple[str, int, int], ...] = ()  # (name, offset, type)
    signed: bool = False
    values: tuple[tuple[str, int], ...] = ()  # of an enum

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> Kind:
        """Read what the half inside gdb wrote."""
        return cls(
            int(form["id"]),
            _said(str(form["name"])) if form.get("go") else str(form["name"]),
            int(form["size"]),
            str(form["kind"]),
            form.get("to"),
            tuple((str(n), int(o), int(t)) for n, o, t in form.get("fields", ())),
            bool(form.get("signed", False)),
            tuple((str(n), int(v)) for n, v in form.get("values", ())),
        )


def _said(name: str) -> str:
    """Return a type's name as the program says it: ``*main._Ctype_char`` is ``*C.char``."""
    name = name.replace("struct []uint8", "[]byte").replace("struct string", "string")
    name = name.replace("struct []", "[]").replace("main._Ctype_struct_", "C.struct_")
    name = name.replace("main._Ctype_", "C.").replace("_Ctype_", "C.").replace("main.", "")
    while name.endswith("*"):
        name = "*" + name.removesuffix("*").strip()
    return "unsafe.Pointer" if name == "*void" else name


@dataclass(frozen=True, slots=True)
class Cell:
    """One value that is shown: a pointer, a number, a text."""

    name: str
    type: str
    number: int | None = None  # an address; None where the value is none
    text: str | None = None  # how to show it
    cells: tuple[tuple[str, int], ...] = ()  # of a slice or string of Go
    leads: int | None = None  # type of what the address leads to
    bytes: bytes = b""
    number_only: bool = False  # a number that may be an address, as uintptr_t is


class Types:
    """The types of one film."""

    def __init__(self, language: str, source: str = "") -> None:
        self.go = language == "go"
        self.kinds: dict[int, Kind] = {}
        self._typedefs = typedefs(source) if self.go else []
        self._called: dict[str, str] = {}  # cgo's names of structs without a tag -> their typedefs

    def add(self, form: Mapping[str, Any]) -> None:
        """Learn a type."""
        kind = Kind.of(form)
        if self.go and _ANONYMOUS.fullmatch(kind.name):
            # cgo puts _ in front of a field with the name of a keyword of Go's.
            fields = [name.removeprefix("_") for name, _, _ in kind.fields if name != "_"]
            same = {
                name
                for declared, name in self._typedefs
                if [field.removeprefix("_") for field in declared] == fields
            }
            if len(same) == 1:
                self._called[kind.name] = f"C.{same.pop()}"
        name = _ANONYMOUS.sub(lambda m: self._called.get(m[0], "C.struct {…}"), kind.name)
        self.kinds[kind.number] = dataclasses.replace(kind, name=name)

    def cells(
        self, name: str, number: int, data: bytes, said: bytes | None, first: bytes | None = None
    ) -> list[Cell]:
        """Return what to show of a variable.

        `said` is the text that a ``char *`` leads to, `first` the bytes that the variable had
        before anybody gave it a value: elements of an array that are still the same show "?".
        """
        return list(self._cells(name, self.kinds[number], data, said, 0, first))

    def _cells(
        self,
        name: str,
        kind: Kind,
        data: bytes,
        said: bytes | None,
        depth: int,
        first: bytes | None = None,
    ) -> Iterator[Cell]:
        fields = {field: (place, of) for field, place, of in kind.fields}
        if kind.kind == "pointer":
            address = int.from_bytes(data[:WORD], "little")
            text = None if said is None else quoted(said)
            yield Cell(name, kind.name, address, text, leads=kind.to, bytes=data)
        elif self.go and fields.keys() == {"str", "len"}:
            at, count = (_word(data, fields[f][0]) for f in ("str", "len"))
            yield Cell(name, kind.name, at, None, (("ptr", at), ("len", count)), bytes=data)
        elif self.go and fields.keys() == {"array", "len", "cap"}:
            at, count, most = (_word(data, fields[f][0]) for f in ("array", "len", "cap"))
            to = self.kinds[fields["array"][1]].to
            shape = (("ptr", at), ("len", count), ("cap", most))
            yield Cell(name, kind.name, at, None, shape, to, bytes=data)
        elif kind.kind == "array" and kind.to is not None:
            yield from self._array(name, kind, data, depth, first)
        elif kind.kind in ("struct", "union") and depth < MOST_NESTED and kind.fields:
            for field, place, of in kind.fields:
                inner = self.kinds[of]
                part = data[place : place + inner.size]
                if len(part) == inner.size and field != "_":
                    whole = f"{name}.{field}" if field else name
                    old = None if first is None else first[place : place + inner.size]
                    yield from self._cells(whole, inner, part, None, depth + 1, old)
        else:
            wide = kind.kind == "int" and kind.size == WORD
            number = int.from_bytes(data[:WORD], "little") if wide else None
            likely = number is not None and 1 << 20 < number < 1 << 47
            text = self.value(kind, data)
            yield Cell(
                name, kind.name, number if likely else None, text, bytes=data, number_only=likely
            )

    def _array(
        self, name: str, kind: Kind, data: bytes, depth: int, first: bytes | None
    ) -> Iterator[Cell]:
        assert kind.to is not None
        inner = self.kinds[kind.to]
        if inner.kind in ("pointer", "struct", "union") and inner.size:
            for index in range(min(len(data) // inner.size, MOST_ELEMENTS)):
                part = data[index * inner.size : (index + 1) * inner.size]
                old = None if first is None else first[index * inner.size :][: inner.size]
                yield from self._cells(f"{name}[{index}]", inner, part, None, depth + 1, old)
        else:
            yield Cell(name, kind.name, None, self.value(kind, data, first), bytes=data)

    def value(self, kind: Kind, data: bytes, first: bytes | None = None) -> str:
        """Write a value that is no address."""
        if len(data) < min(kind.size, 1):
            return "?"
        number = int.from_bytes(data[: kind.size], "little", signed=kind.signed)
        if kind.kind == "int":
            if kind.size == 1 and "char" in kind.name and 32 <= number < 127:
                return f"'{chr(number)}'"
            return str(number)
        if kind.kind == "bool":
            return "true" if number else "false"
        if kind.kind == "enum":
            return next((name for name, value in kind.values if value == number), str(number))
        if kind.kind == "float" and kind.size in (4, 8):
            return f"{struct.unpack('<f' if kind.size == 4 else '<d', data[: kind.size])[0]:.6g}"
        if kind.kind == "array" and kind.to is not None:
            return self._list(kind, data, first)
        if kind.kind == "pointer":
            return "nil" if self.go and not number else "NULL" if not number else "…"
        return "…"

    def _list(self, kind: Kind, data: bytes, first: bytes | None) -> str:
        assert kind.to is not None
        inner = self.kinds[kind.to]
        if inner.kind == "int" and inner.size == 1 and "char" in inner.name:
            return quoted(data)
        count = len(data) // inner.size if inner.size else 0
        parts = []
        for i in range(min(count, 8)):
            piece = data[i * inner.size : (i + 1) * inner.size]
            untouched = first is not None and piece == first[i * inner.size :][: inner.size]
            parts.append("?" if untouched else self.value(inner, piece))
        return "{" + ", ".join(parts) + (", …}" if count > 8 else "}")

    def pointers_in(self, number: int) -> list[tuple[str, int, int | None]]:
        """Return (field, offset, type it leads to) of the pointers in a struct."""
        kind = self.kinds.get(number)
        if kind is None or kind.kind != "struct":
            return []
        found = []
        for field, place, of in kind.fields:
            inner = self.kinds.get(of)
            if inner is not None and inner.kind == "pointer":
                found.append((field, place, inner.to))
        return found


def _word(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + WORD], "little")


def quoted(data: bytes) -> str:
    r"""Write the text in a char array as C does: ``"abc"``, ``"a\xff"``."""
    text = data.split(b"\0")[0]
    more = "…" if len(text) > MOST_SHOWN else ""
    signs = []
    for byte in text[:MOST_SHOWN]:
        sign = {34: '\\"', 92: "\\\\", 10: "\\n", 9: "\\t"}.get(byte)
        signs.append(sign or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"))
    return f'"{"".join(signs)}"{more}'


def fields_of_blocks(
    types: Types,
    held: Mapping[int, tuple[str, int | None]],
    live: Callable[[int], bool],
    word: Callable[[int], int | None],
    size: Callable[[int], int],
    sign: str = "->",
) -> dict[int, str]:
    """Name blocks that only other blocks hold: ``list->next``, with `sign` for the arrow.

    Of a block with several structs or pointers each gives a name: ``list[2].next``, ``words[1]``.

    `held`: user address -> (name, type of the block) of those that variables hold; `size` says how
    many bytes were asked for.
    """
    names: dict[int, str] = {}
    level = [(user, name, kind) for user, (name, kind) in held.items()]
    for _ in range(2):
        following = []
        for user, name, kind in level:
            for inner, place, to in _held_by(types, name, kind, size(user), sign):
                target = word(user + place)
                if not target or target in held or target in names or not live(target):
                    continue
                names[target] = inner
                following.append((target, inner, to))
        level = following
    return names


def _held_by(
    types: Types, name: str, number: int | None, size: int, sign: str
) -> Iterator[tuple[str, int, int | None]]:
    """Yield (name, offset, type it leads to) of the pointers in a block of `size` bytes."""
    kind = types.kinds.get(number) if number is not None else None
    if kind is None or number is None or not kind.size:
        return
    count = min(size // kind.size, MOST_ELEMENTS)
    if kind.kind == "pointer":
        for i in range(count):
            yield f"{name}[{i}]", i * kind.size, kind.to
    if kind.kind == "struct":
        for i in range(max(count, 1)):
            front = f"{name}[{i}]." if count > 1 else f"{name}{sign}"
            for field, place, to in types.pointers_in(number):
                yield f"{front}{field}", i * kind.size + place, to
