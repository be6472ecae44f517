"""Go's own table of functions and lines, ``.gopclntab``, as Go 1.20 and newer write it.

It is what the runtime prints its stacks from, so names, lines and inlined calls are Go's own.
See ``runtime/symtab.go`` and ``runtime/symtabinl.go``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from heapscope.traces.format import Array

_MAGIC = 0xFFFFFFF1
_INLINE_INDEX = 2  # PCDATA_InlTreeIndex
_INLINE_TREE = 3  # FUNCDATA_InlTree
_NONE = 0xFFFFFFFF
_MOST_INLINED = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A function at an address, and the line that is being executed there."""

    function: str
    file: str
    line: int
    inlined: bool
    low: int  # the line where the function begins; 0: not known


@dataclass(frozen=True, slots=True)
class GoTable:
    """Looks addresses of Go functions up."""

    data: bytes
    text: int
    end: int
    quantum: int
    names: int  # offsets of the parts
    units: int
    files: int
    values: int
    functions: int
    entries: Array  # offsets from text, ascending
    places: Array  # of the functions' descriptions
    trees: bytes  # what funcdata points into: from go:func.* on

    @classmethod
    def of(cls, elf: Any, symbols: Mapping[str, int]) -> GoTable | None:
        """Read the table of an ELF file; None when it has none that we can read."""
        section = elf.get_section_by_name(".gopclntab") or elf.get_section_by_name(
            ".data.rel.ro.gopclntab"
        )
        if section is None or "runtime.text" not in symbols:
            return None
        data = section.data()
        start = symbols.get("runtime.pclntab", section["sh_addr"]) - section["sh_addr"]
        data = data[start:]
        magic, _, _, quantum, pointer = struct.unpack_from("<IBBBB", data)
        if magic != _MAGIC or pointer != 8:
            return None
        count, _, _, names, units, files, values, functions = struct.unpack_from("<8Q", data, 8)
        table = np.frombuffer(data, "<u4", 2 * count + 1, functions)
        trees = b""
        base = symbols.get("go:func.*")
        if base is not None:
            for one in elf.iter_sections():
                loaded = one["sh_flags"] & 2  # SHF_ALLOC
                if loaded and one["sh_addr"] <= base < one["sh_addr"] + one["sh_size"]:
                    trees = one.data()[base - one["sh_addr"] :]
                    break
        text = symbols["runtime.text"]
        return cls(
            data=data,
            text=text,
            end=symbols.get("runtime.etext", text + int(table[-1])),
            quantum=quantum,
            names=names,
            units=units,
            files=files,
            values=values,
            functions=functions,
            entries=table[:-1:2],
            places=table[1::2],
            trees=trees,
        )

    def holds(self, address: int) -> bool:
        """Return whether there is Go code at an address."""
        return self.text <= address < self.end

    def lines(self, address: int) -> list[Line]:
        """Return the functions at an address, the innermost inlined one first."""
        index = int(np.searchsorted(self.entries, address - self.text, side="right")) - 1
        entry = self.text + int(self.entries[index])
        at = self.functions + int(self.places[index])
        _, name, _, _, _, file, line, tables, unit, low = struct.unpack_from(
            "<IiiIIIIIIi", self.data, at
        )
        count = self.data[at + 43]
        tree = self._tree(at + 44, tables, count)
        offset = self._word(at + 44 + 4 * _INLINE_INDEX) if tables > _INLINE_INDEX else 0
        result: list[Line] = []
        where = address
        for _ in range(_MOST_INLINED):
            inlined = self._value(offset, entry, where) if tree is not None and offset else -1
            number = self._value(file, entry, where)
            path = self._file(unit, number)
            at_line = self._value(line, entry, where)
            if inlined < 0 or tree is None:
                result.append(Line(self._text(self.names + name), path, at_line, False, low))
                return result
            _, inner, parent, begins = struct.unpack_from(
                "<B3xiii", self.trees, tree + 16 * inlined
            )
            result.append(Line(self._text(self.names + inner), path, at_line, True, begins))
            where = entry + parent
        return result

    def _tree(self, at: int, tables: int, count: int) -> int | None:
        if count <= _INLINE_TREE or not self.trees:
            return None
        offset = self._word(at + 4 * (tables + _INLINE_TREE))
        return None if offset == _NONE else offset

    def _word(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "little")

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode("utf-8", "replace")

    def _file(self, unit: int, number: int) -> str:
        if number < 0:
            return ""
        offset = self._word(self.units + 4 * (unit + number))
        return "" if offset == _NONE else self._text(self.files + offset)

    def _value(self, offset: int, entry: int, target: int) -> int:
        """Return what a table of values has for an address; -1 when it has nothing."""
        at = self.values + offset
        value, address, first = -1, entry, True
        while True:
            change, at = self._number(at)
            if change == 0 and not first:
                return -1
            first = False
            value += -(change >> 1) - 1 if change & 1 else change >> 1
            step, at = self._number(at)
            address += step * self.quantum
            if target < address:
                return value

    def _number(self, at: int) -> tuple[int, int]:
        result = shift = 0
        while True:
            byte = self.data[at]
            at += 1
            result |= (byte & 127) << shift
            if byte < 128:
                return result, at
            shift += 7
