"""Make a whole program of a cell that is only the inside of one.

A text with ``main`` is a program already and stays as it is, so that a page can show what a missing
include does. Line numbers stay the cell's own.
"""

from __future__ import annotations

import re

from heapscope.programs.scan import Item, blank_items, c_items, line_of, mask

INCLUDES = (
    "assert.h",
    "ctype.h",
    "errno.h",
    "inttypes.h",
    "limits.h",
    "malloc.h",
    "math.h",
    "pthread.h",
    "signal.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "string.h",
    "sys/wait.h",
    "time.h",
    "unistd.h",
)

_MAIN = re.compile(r"\bmain\s*\(")
_INCLUDE = re.compile(r"#\s*include\b")
_FUNCTION = re.compile(r"[A-Za-z_][\w\s*]*[\s*](\w+)\s*\([^;{}]*\)\s*\{")
_STATEMENT = re.compile(r"(?:if|for|while|switch|do|else|return|case|default|goto)\b")
_TYPE = re.compile(r"(?:typedef|struct|union|enum)\b")
_STATIC = re.compile(r"(?:static|extern|_Thread_local|_Static_assert)\b")


_LINES = """__attribute__((constructor)) static void lines_at_once(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
}"""
"""Output appears line by line, as on a terminal: a program that crashes has printed what it said
before. Nothing is allocated by it (setvbuf with no buffer only sets the mode)."""


def has_main(text: str) -> bool:
    """Tell whether the text defines (or at least names) a function called main."""
    return _MAIN.search(mask(text)) is not None


def wrap_c(text: str, file: str) -> str:
    """Return `text` inside of ``int main(void) { … }``, with the usual includes.

    Includes, functions, and the types and static variables that functions may need go in front of
    main. Every line is announced with ``#line`` under the name `file`.
    """
    masked = mask(text)
    items = list(c_items(masked))
    functions = [item for item in items if _is_function(masked, item)]
    outside = [
        item
        for item in items
        if item in functions
        or _INCLUDE.match(masked, item.start)
        or (functions and _is_declaration(masked, item))
    ]
    parts = [f"#include <{name}>" for name in INCLUDES]
    if "stdout" not in masked:
        parts.append(_LINES)
    for item in outside:
        column = item.start - (text.rfind("\n", 0, item.start) + 1)
        parts += [f'#line {item.line} "{file}"', " " * column + text[item.start : item.stop]]
    arguments = re.search(r"\b(?:argc|argv)\b", masked) is not None
    parts += [
        "int main(int argc, char **argv)" if arguments else "int main(void)",
        "{",
        *(["(void)argc; (void)argv;"] if arguments else []),
        f'#line 1 "{file}"',
        blank_items(text, outside),
        "}",
    ]
    return "\n".join(parts) + "\n"


def _is_function(masked: str, item: Item) -> bool:
    piece = masked[item.start : item.stop]
    return bool(_FUNCTION.match(piece)) and not _STATEMENT.match(piece)


def _is_declaration(masked: str, item: Item) -> bool:
    piece = masked[item.start : item.stop]
    if _STATIC.match(piece) or re.match(r"#\s*define\b", piece):
        return True
    # `struct pair {int a, b;};` and `typedef …;`, but not `struct pair p = {1, 2};`
    return (
        bool(_TYPE.match(piece))
        and "=" not in piece
        and (piece.startswith("typedef") or bool(re.search(r"\}\s*;$", piece)))
    )


# The packages of Go's standard library that a short program may use.
_PATHS = (
    "bufio",
    "bytes",
    "cmp",
    "context",
    "encoding/binary",
    "encoding/hex",
    "encoding/json",
    "errors",
    "flag",
    "fmt",
    "hash/crc32",
    "hash/maphash",
    "image",
    "image/color",
    "image/draw",
    "image/png",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "math/big",
    "math/bits",
    "math/rand",
    "os",
    "os/exec",
    "os/signal",
    "path",
    "path/filepath",
    "reflect",
    "regexp",
    "runtime",
    "runtime/cgo",
    "runtime/debug",
    "runtime/metrics",
    "runtime/pprof",
    "runtime/trace",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "sync/atomic",
    "syscall",
    "testing",
    "text/tabwriter",
    "text/template",
    "time",
    "unicode",
    "unicode/utf16",
    "unicode/utf8",
    "unique",
    "unsafe",
    "weak",
)
PACKAGES = {path.rpartition("/")[2]: path for path in _PATHS}

_PREAMBLE = "".join(
    f"#include <{name}>\n"
    for name in ("errno.h", "malloc.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "unistd.h")
)
_USES_C = re.compile(r"(?<![\w.])C\.\w")
_GO_MAIN = re.compile(r"^func\s+main\s*\(", re.MULTILINE)
_GO_PACKAGE = re.compile(r"^\s*package\s+\w+", re.MULTILINE)
_GO_IMPORT = re.compile(
    r'^import\s*(?:\((?P<many>[^)]*)\)|(?P<one>[\w.]*\s*"[^"]*"))', re.MULTILINE
)
_GO_TOP = re.compile(r"^(?:func\s+(?:\([^)]*\)\s*)?\w+\s*[\[(]|type\s+[\w(])", re.MULTILINE)
_GO_VAR = re.compile(r"^(?:var|const)\s+(\w+|\()", re.MULTILINE)


def wrap_go(text: str, file: str) -> str:
    """Return `text` as a whole Go program: package, imports, preamble of cgo and main as needed.

    A comment ``/* … */`` at the beginning of a text that uses ``C.`` is the preamble. Every line is
    announced with ``//line`` under the name `file`.
    """
    masked = mask(text, raw_strings=True)
    if _GO_PACKAGE.search(masked):
        return f"//line {file}:1:1\n{text}"
    body = text
    imports: list[str] = []
    preamble = ""
    uses_c = _USES_C.search(masked) is not None
    if uses_c and (found := re.match(r"\s*/\*(.*?)\*/", text, re.DOTALL)):
        # A //line in front would become part of the preamble, so C's own directive says it.
        line = line_of(text, found.start(1))
        preamble = f'/*\n#line {line} "{file}"\n{found[1]}*/\n'
        body = _blank(body, found.start(0), found.end(0))
    # The text's own imports. Strings are blanked in `masked`, so look in `body`.
    for found in list(_GO_IMPORT.finditer(body)):
        specs = (found["many"] or found["one"]).split("\n")
        imports += [spec.strip() for spec in specs if '"' in spec]
        body = _blank(body, found.start(0), found.end(0))
    uses_c = uses_c or '"C"' in imports
    imports = [spec for spec in imports if spec != '"C"']
    named = {spec.split('"')[1] for spec in imports}
    called = {_package_name(spec) for spec in imports}
    imports += [
        f'"{path}"'
        for name, path in _packages(masked).items()
        if path not in named and name not in called
    ]

    parts = ["package main\n"]
    if uses_c:
        if not preamble:
            preamble = f"/*\n{_PREAMBLE}*/\n"
        parts.append(f'{preamble}import "C"\n')
    parts += [f"import {spec}\n" for spec in imports]
    if _GO_MAIN.search(masked):
        parts.append(f"//line {file}:1:1\n{body}\n")
    else:
        parts.append(_go_main(body, masked, file))
    return "".join(parts)


def _go_main(body: str, masked: str, file: str) -> str:
    """Put the statements of a cell into main; functions and what they need stay in front of it."""
    outside = [_go_item(masked, found.start()) for found in _GO_TOP.finditer(masked)]
    functions = " ".join(masked[i.start : i.stop] for i in outside)
    for found in _GO_VAR.finditer(masked):
        item = _go_item(masked, found.start())
        inside = any(other.start <= item.start < other.stop for other in outside)
        if not inside and (found[1] == "(" or re.search(rf"\b{found[1]}\b", functions)):
            outside.append(item)
    parts = [
        f"//line {file}:{item.line}:1\n{body[item.start : item.stop]}\n"
        for item in sorted(outside, key=lambda item: item.start)
    ]
    # A cell that only declares has an empty main.
    return "".join(
        [*parts, "func main() {\n", f"//line {file}:1:1\n", blank_items(body, outside), "\n}\n"]
    )


def _go_item(masked: str, start: int) -> Item:
    """Return the declaration that begins at `start`: to the end of the line that closes it."""
    at = start
    while at < len(masked) and masked[at] != "\n":
        if masked[at] in "({[":
            depth = 0
            while at < len(masked):
                depth += (masked[at] in "({[") - (masked[at] in ")}]")
                at += 1
                if depth == 0:
                    break
        else:
            at += 1
    return Item(start, at, line_of(masked, start))


def _packages(masked: str) -> dict[str, str]:
    """Return the packages whose names are used as ``name.Name``, with their import paths."""
    used = set(re.findall(r"(?<![\w.)\]])([a-z]\w*)\.[A-Z]", masked))
    return {
        name: PACKAGES[name]
        for name in sorted(used & PACKAGES.keys())
        if not _declared(masked, name)
    }


def _package_name(spec: str) -> str:
    """Return the name that an import gives: ``f "fmt"`` f, ``"math/rand/v2"`` rand."""
    alias, path, _ = spec.split('"')
    return alias.strip() or re.sub(r"/v\d+$", "", path).rpartition("/")[2]


def _declared(masked: str, name: str) -> bool:
    """Tell whether the program has a variable of its own by the name of a package."""
    return bool(
        re.search(rf"\b(?:var|const|type|func)\s+{name}\b|\b{name}\s*(?:,\s*\w+\s*)*:=", masked)
    )


def _blank(text: str, start: int, stop: int) -> str:
    return blank_items(text, [Item(start, stop, 0)])
