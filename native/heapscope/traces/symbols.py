"""Names and lines of addresses: from a program's own tables, DWARF for C and pclntab for Go."""

from __future__ import annotations

import bisect
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from heapscope.traces.format import Array, Image, Mapping, Progress
from heapscope.traces.pclntab import GoTable, Line

CACHE_VERSION = 1
_FUNC, _IFUNC = 2, 10  # STT_FUNC, STT_GNU_IFUNC


@dataclass(frozen=True, slots=True)
class Frame:
    """One function of a stack, with the line of its call."""

    function: str = ""  # empty: not known
    file: str = ""
    line: int = 0
    module: str = ""  # the file it was loaded from
    offset: int = 0  # address in the module, as tools like addr2line take it
    go: bool = False
    inlined: bool = False  # into the function that follows
    low: int = 0  # where the function begins in its source: a line, 0 if not known

    @property
    def name(self) -> str:
        """Return the function, or the module and offset when it has no name."""
        if self.function:
            return self.function
        return f"{os.path.basename(self.module)}+{self.offset:#x}" if self.module else "?"

    @property
    def place(self) -> str:
        """Return file and line, or the module when there is no line."""
        if self.file:
            return f"{self.file}:{self.line}" if self.line else self.file
        return self.module

    @property
    def short(self) -> str:
        """Return the place without its folder."""
        file = os.path.basename(self.file or self.module)
        return f"{file}:{self.line}" if self.file and self.line else file

    @property
    def glue(self) -> bool:
        """Return whether this is what cgo and the runtime put between Go and C."""
        base = os.path.basename(self.file)
        if base in ("_cgo_gotypes.go", "cgo-gcc-prolog") or self.function.startswith("_cgo_"):
            return True
        return self.go and self.function in _GLUE

    @property
    def border(self) -> str:
        """Return the C function that a Go wrapper of cgo calls, like ``C.malloc``; or nothing."""
        found = _WRAPPER.search(self.function) if self.go else None
        return "C." + _BORDER.get(found[1], found[1]) if found else ""


_GLUE = {"runtime.cgocall", "runtime.asmcgocall", "runtime.goexit", "runtime.asmcgocall.abi0"}
_WRAPPER = re.compile(r"\._C2?func_(\w+)$")
_BORDER = {"_CMalloc": "malloc"}  # what cgo calls otherwise than the source does


class Symbols:
    """Looks addresses up; what was found once is kept on disk, by the program's build id."""

    def __init__(self, *, cache: bool = True, progress: Progress | None = None) -> None:
        self._cache = cache
        self._progress = progress
        self._binaries: dict[str, Binary | None] = {}
        self.stale: set[str] = set()  # programs that were changed after the trace

    def resolve(self, image: Image, addresses: Iterable[int]) -> dict[int, tuple[Frame, ...]]:
        """Return the frames of each return address, the innermost inlined function first."""
        found, wanted = self._sort(image, addresses)
        for number, (path, offsets) in enumerate(wanted.items()):
            if self._progress is not None:
                self._progress(f"symbols of {os.path.basename(path)}", number / len(wanted))
            binary = self._binary(path, image)
            if binary is None:
                continue
            at = {address: binary.address(offset) for address, offset in offsets.items()}
            try:
                known = binary.lookup({x for x in at.values() if x is not None})
            except Exception:  # its tables are damaged, in one of many ways: addresses it is
                continue
            for address, where in at.items():
                if where is not None:
                    found[address] = known[where]
        return found

    def places(self, image: Image, addresses: Iterable[int]) -> dict[int, tuple[Frame, ...]]:
        """Return each return address as a place in its module, without names."""
        return self._sort(image, addresses)[0]

    def _sort(
        self, image: Image, addresses: Iterable[int]
    ) -> tuple[dict[int, tuple[Frame, ...]], dict[str, dict[int, int]]]:
        """Return places without names, and for each module its addresses with their offsets."""
        found: dict[int, tuple[Frame, ...]] = {}
        wanted: dict[str, dict[int, int]] = {}
        places = _Places(image.maps)
        for address in addresses:
            if address in found:
                continue
            mapping = places.at(address - 1)
            if mapping is None:
                found[address] = (Frame(offset=address - 1),)
                continue
            offset = address - 1 - mapping.low + mapping.offset
            found[address] = (Frame(module=mapping.path, offset=offset),)
            wanted.setdefault(mapping.path, {})[address] = offset
        return found, wanted

    def save(self) -> None:
        """Keep what was found for the next time."""
        for binary in self._binaries.values():
            if binary is not None and self._cache:
                binary.save()

    def _binary(self, path: str, image: Image) -> Binary | None:
        if path not in self._binaries:
            binary = None
            with suppress(Exception):  # no ELF file, no such file, damaged: addresses it is
                binary = Binary(path, cache=self._cache)
            self._binaries[path] = binary
        binary = self._binaries[path]
        if binary is not None and image.began and binary.changed > image.began:
            self.stale.add(path)
        return binary


class _Places:
    """Finds mappings; where two overlap, the older one counts."""

    def __init__(self, maps: Sequence[Mapping]) -> None:
        self._maps = sorted(enumerate(maps), key=lambda pair: (pair[1].low, pair[0]))
        self._lows = [mapping.low for _, mapping in self._maps]
        self._longest = max((m.high - m.low for m in maps), default=0)

    def at(self, address: int) -> Mapping | None:
        best: tuple[int, Mapping] | None = None
        index = bisect.bisect_right(self._lows, address) - 1
        while index >= 0 and self._lows[index] + self._longest > address:
            number, mapping = self._maps[index]
            if address < mapping.high and (best is None or number < best[0]):
                best = number, mapping
            index -= 1
        return best[1] if best else None


class Binary:
    """An ELF file: its functions, lines and inlined functions, read when they are asked for."""

    def __init__(self, path: str, *, cache: bool = True) -> None:
        from elftools.elf.elffile import ELFFile

        if path.endswith(" (deleted)"):
            raise FileNotFoundError(path)
        self.path = path
        self._stream = open(path, "rb")  # noqa: SIM115
        status = os.fstat(self._stream.fileno())
        self.changed = status.st_mtime_ns
        self._elf: Any = ELFFile(self._stream)
        self._segments = [
            (s["p_offset"], s["p_offset"] + s["p_filesz"], s["p_vaddr"] - s["p_offset"])
            for s in self._elf.iter_segments("PT_LOAD")
        ]
        self.build_id = self._build_id()
        identity = f"{CACHE_VERSION}:{path}:{self.build_id}:{status.st_size}:{status.st_mtime_ns}"
        name = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._store = cache_folder() / f"{name}.json" if cache else None
        self._known = self._load()
        self._fresh = False
        self._tables: _Tables | None = None

    def address(self, offset: int) -> int | None:
        """Return the address that the file itself has for this place in it."""
        for low, high, shift in self._segments:
            if low <= offset < high:
                return int(offset + shift)
        return None

    def lookup(self, addresses: Collection[int]) -> dict[int, tuple[Frame, ...]]:
        """Return the frames at each address, the innermost first."""
        missing = sorted(set(addresses) - self._known.keys())
        if missing:
            if self._tables is None:
                self._tables = _Tables(self._elf, self.path, self.build_id)
            self._known.update(self._tables.lookup(missing))
            self._fresh = True
        return {address: self._known[address] for address in addresses}

    def save(self) -> None:
        """Write the cache; a cache that cannot be written is no loss."""
        if not self._fresh or self._store is None:
            return
        rows = {
            str(address): [[f.function, f.file, f.line, f.go, f.inlined, f.low] for f in frames]
            for address, frames in self._known.items()
        }
        with suppress(OSError):
            self._store.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self._store.parent, suffix=".new", delete=False, encoding="utf-8"
            ) as out:
                json.dump(rows, out)
            os.replace(out.name, self._store)
        self._fresh = False

    def _load(self) -> dict[int, tuple[Frame, ...]]:
        if self._store is None:
            return {}
        try:
            rows = json.loads(self._store.read_text(encoding="utf-8"))
            return {
                int(key): tuple(
                    Frame(function, file, line, self.path, int(key), go, inlined, low)
                    for function, file, line, go, inlined, low in frames
                )
                for key, frames in rows.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _build_id(self) -> str:
        for name in (".note.gnu.build-id", ".note.go.buildid"):
            section = self._elf.get_section_by_name(name)
            if section is not None:
                return str(section.data()[16:].hex())
        return ""


def cache_folder() -> Path:
    """Return the folder that symbols are kept in."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "heapscope" / "symbols"


class _Tables:
    """What an ELF file tells about addresses."""

    def __init__(self, elf: Any, path: str, build_id: str) -> None:
        self._path = path
        symbols, named = _functions(elf)
        extra = _debug_file(build_id)
        if extra is not None and ".symtab" not in {s.name for s in elf.iter_sections()}:
            from elftools.elf.elffile import ELFFile

            with suppress(Exception), extra.open("rb") as stream:
                symbols, _ = _functions(ELFFile(stream))
        self._functions = symbols
        self._go: GoTable | None = None
        with suppress(Exception):
            self._go = GoTable.of(elf, named)
        self._dwarf: _Dwarf | None = None
        with suppress(Exception):
            if elf.has_dwarf_info():
                self._dwarf = _Dwarf(elf)

    def lookup(self, addresses: Sequence[int]) -> dict[int, tuple[Frame, ...]]:
        return {address: self._frames(address) for address in addresses}

    def _frames(self, address: int) -> tuple[Frame, ...]:
        if self._go is not None and self._go.holds(address):
            with suppress(Exception):
                return self._lines(self._go.lines(address), address, go=True)
        lines: list[Line] = []
        if self._dwarf is not None:
            with suppress(Exception):  # damaged, or newer than we know: the symbol it is
                lines = self._dwarf.lines(address)
        name = self._functions.at(address)
        if not lines:
            lines = [Line(name, "", 0, False, 0)]
        elif not lines[-1].function:
            lines[-1] = replace(lines[-1], function=name)
        return self._lines(lines, address, go=False)

    def _lines(self, lines: Iterable[Line], address: int, *, go: bool) -> tuple[Frame, ...]:
        return tuple(
            Frame(x.function, x.file, x.line, self._path, address, go, x.inlined, x.low)
            for x in lines
        )


@dataclass(frozen=True, slots=True)
class _Functions:
    """The symbols of functions, in the order of their addresses."""

    low: Array
    size: Array
    name: Array  # offset in `strings`
    strings: bytes

    def at(self, address: int) -> str:
        """Return the function's name, without the version; empty when there is none."""
        index = int(np.searchsorted(self.low, np.uint64(address), side="right")) - 1
        if index < 0:
            return ""
        size = int(self.size[index])
        if address - int(self.low[index]) >= max(size, 1 if size else 4096):
            return ""
        start = int(self.name[index])
        end = self.strings.index(b"\0", start)
        return self.strings[start:end].decode("utf-8", "replace").split("@")[0]


_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"),
     ("size", "<u8")]
)  # fmt: skip


def _functions(elf: Any) -> tuple[_Functions, dict[str, int]]:
    """Return the functions, and the addresses of the names that Go's tables need."""
    parts: list[tuple[Array, bytes]] = []
    for name in (".symtab", ".dynsym"):
        section = elf.get_section_by_name(name)
        if section is not None and section["sh_type"] != "SHT_NOBITS" and elf.elfclass == 64:
            data = section.data()
            count = len(data) // _SYMBOL.itemsize
            rows = np.frombuffer(data, _SYMBOL, count)
            parts.append((rows, elf.get_section(section["sh_link"]).data()))
            break
    if not parts:
        none = np.zeros(0, np.uint64)
        return _Functions(none, none, none, b"\0"), {}
    rows, strings = parts[0]
    named = {}
    for wanted in (b"runtime.text", b"runtime.etext", b"go:func.*", b"runtime.pclntab"):
        place = strings.find(b"\0" + wanted + b"\0") + 1
        if place:
            hit = np.flatnonzero((rows["name"] == place) & (rows["shndx"] != 0))
            if len(hit):
                named[wanted.decode()] = int(rows["value"][hit[0]])
    kind = rows["info"] & 15
    mine = rows[((kind == _FUNC) | (kind == _IFUNC)) & (rows["shndx"] != 0) & (rows["value"] != 0)]
    # of several names for one address, the last is the global one with a size
    mine = mine[np.lexsort((mine["info"] >> 4, mine["size"] != 0, mine["value"]))]
    return _Functions(mine["value"], mine["size"], mine["name"], strings), named


def _debug_file(build_id: str) -> Path | None:
    """Return the file with the symbols that a distribution has taken out."""
    if len(build_id) < 4:
        return None
    path = Path("/usr/lib/debug/.build-id") / build_id[:2] / f"{build_id[2:]}.debug"
    return path if path.is_file() else None


@dataclass(slots=True)
class _Unit:
    """A compilation unit: the ranges of its functions with their DIEs, outer ones first."""

    functions: list[tuple[list[tuple[int, int]], Any]]
    rows: list[int]  # addresses of the line table
    lines: list[tuple[str, int] | None]


class _Dwarf:
    """Lines and inlined functions from DWARF."""

    def __init__(self, elf: Any) -> None:
        self._info = elf.get_dwarf_info(follow_links=False)
        self._ranges = self._info.range_lists()
        self._units: dict[int, _Unit] = {}
        self._names: dict[int, tuple[str, int]] = {}
        self._arange: Any = None
        with suppress(Exception):
            self._arange = self._info.get_aranges()
        self._spans: list[tuple[int, int, Any]] | None = None

    def lines(self, address: int) -> list[Line]:
        """Return the functions at an address, the innermost first; none when it is not known."""
        unit = self._find(address)
        if unit is None:
            return []
        known = self._units.get(unit.cu_offset)
        if known is None:
            known = self._units[unit.cu_offset] = self._read(unit)
        inside = [
            die
            for ranges, die in known.functions
            if any(low <= address < high for low, high in ranges)
        ]
        # a function within a function (of Rust, say) is no inlined call: begin with the last one
        starts = [n for n, die in enumerate(inside) if die.tag == "DW_TAG_subprogram"]
        inside = inside[starts[-1] :] if starts else inside
        index = bisect.bisect_right(known.rows, address) - 1
        place = (known.lines[index] if index >= 0 else None) or ("", 0)
        result: list[Line] = []
        for die in reversed(inside):
            name, low = self._name(die)
            inlined = die.tag == "DW_TAG_inlined_subroutine"
            result.append(Line(name, place[0], place[1], inlined, low))
            if inlined:
                called = die.attributes.get("DW_AT_call_line")
                file = die.attributes.get("DW_AT_call_file")
                place = (
                    self._file(unit, file.value if file else 0),
                    called.value if called else 0,
                )
        if not result and place[0]:
            result.append(Line("", place[0], place[1], False, 0))
        return result

    def _find(self, address: int) -> Any:
        if self._arange is not None:
            offset = self._arange.cu_offset_at_addr(address)
            if offset is not None:
                return self._info.get_CU_at(offset)
        if self._spans is None:
            self._spans = []
            for unit in self._info.iter_CUs():
                with suppress(Exception):
                    spans = self._pieces(unit.get_top_DIE(), unit)
                    self._spans += [(low, high, unit) for low, high in spans]
        for low, high, unit in self._spans:
            if low <= address < high:
                return unit
        return None

    def _pieces(self, die: Any, unit: Any) -> list[tuple[int, int]]:
        """Return the ranges of addresses of a DIE."""
        low = die.attributes.get("DW_AT_low_pc")
        high = die.attributes.get("DW_AT_high_pc")
        if low is not None and high is not None:
            end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
            return [(low.value, end)]
        ranges = die.attributes.get("DW_AT_ranges")
        if ranges is None or self._ranges is None:
            return []
        top = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
        base = top.value if top is not None else 0
        found: list[tuple[int, int]] = []
        if unit["version"] >= 5:
            entries = self._ranges.get_range_list_at_offset(ranges.value, cu=unit)
        else:
            entries = self._ranges.get_range_list_at_offset(ranges.value)
        for entry in entries:
            if hasattr(entry, "base_address"):
                base = entry.base_address
            elif entry.is_absolute:
                found.append((entry.begin_offset, entry.end_offset))
            else:
                found.append((base + entry.begin_offset, base + entry.end_offset))
        return found

    def _read(self, unit: Any) -> _Unit:
        functions = []
        for die in unit.iter_DIEs():
            if die.tag in ("DW_TAG_subprogram", "DW_TAG_inlined_subroutine"):
                pieces = self._pieces(die, unit)
                if pieces:
                    functions.append((pieces, die))
        table: list[tuple[int, tuple[str, int] | None]] = []
        program = self._info.line_program_for_CU(unit)
        files: dict[int, str] = {}
        if program is not None:
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if state.end_sequence:
                    table.append((state.address, None))
                    continue
                if state.file not in files:
                    files[state.file] = self._file(unit, state.file)
                table.append((state.address, (files[state.file], state.line)))
        # at one address the last row counts, but an end never hides a beginning
        table.sort(key=lambda row: (row[0], row[1] is not None))
        return _Unit(functions, [row[0] for row in table], [row[1] for row in table])

    def _file(self, unit: Any, number: int) -> str:
        program = self._info.line_program_for_CU(unit)
        if program is None:
            return ""
        five = program.header["version"] >= 5
        index = number if five else number - 1
        files = program.header["file_entry"]
        if not 0 <= index < len(files):
            return ""
        entry = files[index]
        name = _string(entry.name)
        if name.startswith("/"):
            return name
        folders = program.header["include_directory"]
        where = entry.dir_index if five else entry.dir_index - 1
        folder = _string(folders[where]) if 0 <= where < len(folders) else ""
        if not folder.startswith("/"):
            top = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
            folder = os.path.join(_string(top.value) if top is not None else "", folder)
        return os.path.normpath(os.path.join(folder, name))

    def _name(self, die: Any) -> tuple[str, int]:
        """Return the name of a function, and the line it is declared at."""
        known = self._names.get(die.offset)
        if known is None:
            name, line = "", 0
            for one in self._origins(die):
                for key in ("DW_AT_name", "DW_AT_linkage_name"):
                    if not name and key in one.attributes:
                        name = _string(one.attributes[key].value)
                if not line and "DW_AT_decl_line" in one.attributes:
                    line = int(one.attributes["DW_AT_decl_line"].value)
            known = self._names[die.offset] = (name, line)
        return known

    def _origins(self, die: Any) -> Iterator[Any]:
        for _ in range(8):  # a damaged file may lead in a circle
            yield die
            for key in ("DW_AT_abstract_origin", "DW_AT_specification"):
                if key in die.attributes:
                    die = die.get_DIE_from_attribute(key)
                    break
            else:
                return


def _string(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
