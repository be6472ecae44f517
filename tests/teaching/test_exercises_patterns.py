"""The exercises of the chapters on patterns: right answers pass, wrong ones get a hint."""

from __future__ import annotations

import linecache
from typing import Any

import pytest
from heapscope.teaching.exercises import NotYet, Right, judge
from heapscope.teaching.exercises.slices import MAIN, C
from test_exercises import function, hint

# ---------------------------------------------------------------- owned

_count = 0


def defined(source: str) -> Any:
    """Return `Owned` as a cell defines it, with its source where tracebacks find it."""
    global _count
    _count += 1
    file = f"<owned {_count}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), space)
    return space["Owned"]


_INIT = """class Owned:
    def __init__(self, heap, n):
        self.heap, self.n = heap, n
        self.block = heap.lib.calloc(n, 1)
        if self.block == heap.ffi.NULL:
            raise MemoryError(n)
"""
_VIEW = """
    def view(self):
        if self.block == self.heap.ffi.NULL:
            raise ValueError("closed")
        return self.heap.ffi.buffer(self.block, self.n)
"""
_CLOSE = """
    def close(self):
        self.heap.lib.free(self.block)
        self.block = self.heap.ffi.NULL
"""
_WITH = """
    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
"""
_BOOK = _INIT + _VIEW + _CLOSE + _WITH
_OWNED_START = """class Owned:
    def __init__(self, heap, n):
        self.heap, self.n = heap, n
        self.block = heap.lib.malloc(n)

    def view(self):
        return self.heap.ffi.buffer(self.block, self.n)

    def close(self):
        self.heap.lib.free(self.block)
"""
_FLAG = """class Owned:
    def __init__(self, heap, n):
        lib, ffi = heap.lib, heap.ffi
        p = lib.malloc(n)
        if not p:
            raise MemoryError
        lib.memset(p, 0, n)
        self._p, self._n, self._heap, self._closed = p, n, heap, False

    def close(self):
        if self._closed:
            return
        self._closed = True
        self._heap.lib.free(self._p)

    def view(self):
        if self._closed:
            raise ValueError("view of a closed block")
        return memoryview(self._heap.ffi.buffer(self._p, self._n))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        return False

    def __del__(self):
        if hasattr(self, "_p"):
            self.close()
"""
OWNED = {
    "the book's": _BOOK,
    "malloc, memset and a flag": _FLAG,
    "ffi.gc": """class Owned:
    def __init__(self, heap, n):
        block = heap.lib.calloc(1, n)
        if block == heap.ffi.NULL:
            raise MemoryError(f"{n} bytes")
        self.ffi, self.n = heap.ffi, n
        self.block = heap.ffi.gc(block, heap.lib.free)

    def close(self):
        if self.block is not None:
            self.ffi.release(self.block)
            self.block = None

    def view(self):
        if self.block is None:
            raise ValueError
        return self.ffi.buffer(self.block, self.n)

    __enter__ = lambda self: self
    __exit__ = lambda self, *_: self.close()
""",
    "contextlib's": """import contextlib
class Owned(contextlib.AbstractContextManager):
    def __init__(self, heap, n):
        self.lib, self.ffi = heap.lib, heap.ffi
        self.cleanup = contextlib.ExitStack()
        p = self.lib.calloc(n, 1)
        if not p:
            raise MemoryError(n)
        self.cleanup.callback(self.lib.free, p)
        self.bytes = self.ffi.buffer(p, n)

    def view(self):
        if self.bytes is None:
            raise ValueError("closed")
        return self.bytes

    def close(self):
        self.bytes = None
        self.cleanup.close()

    def __exit__(self, *error):
        self.close()
""",
}
OWNED_WRONG = {
    "the page's start": (_OWNED_START, "`Owned(heap, 1)` is not all zero: byte 0 is 0xa5"),
    "only zeroed": (
        _OWNED_START.replace("malloc(n)", "calloc(n, 1)"),
        "after `close()`, `view()` still returns something",
    ),
    "closed twice": (
        _BOOK.replace("        self.block = self.heap.ffi.NULL\n", "        self.gone = True\n")
        .replace("self.block == self.heap.ffi.NULL", "self.gone")
        .replace("raise MemoryError(n)\n", "raise MemoryError(n)\n        self.gone = False\n"),
        "The object was closed already. `owned.close()` stopped, at the line `self.heap.lib.free",
    ),
    "closed twice, the complaint caught": (
        _BOOK.replace("        self.heap.lib.free", "        try: self.heap.lib.free")
        .replace(
            "        self.block = self.heap.ffi.NULL\n",
            "        except RuntimeError: pass\n        self.gone = True\n",
        )
        .replace("self.block == self.heap.ffi.NULL", "self.gone")
        .replace("raise MemoryError(n)\n", "raise MemoryError(n)\n        self.gone = False\n"),
        "freed somebody else's block",
    ),
    "never freed": (_BOOK.replace("        self.heap.lib.free(self.block)\n", ""), "left a block"),
    "no with": (_INIT + _VIEW + _CLOSE, "needs a method `__enter__`"),
    "no way out": (
        _BOOK.replace("def __exit__", "def exit"),
        "needs a method `__exit__`",
    ),
    "enter returns nothing": (_BOOK.replace("return self\n", "pass\n"), "gave `owned` nothing"),
    "exit does not close": (
        _BOOK.replace("        self.close()", "        pass"),
        "After the `with` block the C block is still in use",
    ),
    "exit closes only when all went well": (
        _BOOK.replace("        self.close()", "        if error[0] is None: self.close()"),
        "When an exception ends the `with` block, the C block stays in use",
    ),
    "the exception swallowed": (
        _BOOK.replace("        self.close()", "        self.close()\n        return True"),
        "`__exit__` returned something true",
    ),
    "exit without its arguments": (
        _BOOK.replace("self, *error", "self"),
        "TypeError",
    ),
    "no MemoryError": (
        _INIT[: _INIT.index("        if")] + _VIEW + _CLOSE + _WITH,
        "it made an object all the same",
    ),
    "another error": (
        _BOOK.replace("MemoryError(n)", "ValueError(n)"),
        "There was no memory for once, and `Owned(heap, 40)` stopped, at the line",
    ),
    "memset before the look at NULL": (
        _FLAG.replace("        lib.memset(p, 0, n)\n", "").replace(
            "        if not p:\n", "        lib.memset(p, 0, n)\n        if not p:\n", 1
        ),
        "memset was given NULL",
    ),
    "another error for a closed one": (
        _BOOK.replace('ValueError("closed")', 'RuntimeError("closed")'),
        "It should raise `ValueError`",
    ),
    "None for a closed one": (
        _BOOK.replace('raise ValueError("closed")', "return None"),
        "still returns something",
    ),
    "a copy": (
        _BOOK.replace("return self.heap.ffi.buffer(", "return bytes(self.heap.ffi.buffer(").replace(
            "self.n)\n", "self.n))\n"
        ),
        "A copy is no view",
    ),
    "the pointer": (
        _BOOK.replace("self.heap.ffi.buffer(self.block, self.n)", "self.block"),
        "returned a pointer, and Python cannot look at its bytes",
    ),
    "one byte": (_BOOK.replace("(self.block, self.n)", "(self.block, 1)"), "has 1 bytes"),
    "a fixed size": (
        _BOOK.replace("calloc(n, 1)", "calloc(64, 1)"),
        "The view has 1000 bytes, and 64 of them lie in the calloc of 64 bytes",
    ),
    "shared by all": (
        _BOOK.replace("self.block", "Owned.block"),
        "Of two objects the first was closed",
    ),
    "taken late": (
        _BOOK.replace(
            "self.block = heap.lib.calloc(n, 1)", "self.block = heap.ffi.new('char[]', n)"
        ),
        "took no block",
    ),
    "a byte too many": (
        _FLAG.replace("memset(p, 0, n)", "memset(p, 0, n + 8)"),
        "behind the end of its block",
    ),
    "a second block": (
        _BOOK.replace(
            "        self.block = heap", "        heap.lib.malloc(8)\n        self.block = heap"
        ),
        "`close()` left a block in use: the malloc of 8 bytes",
    ),
    "no view": (_INIT + _CLOSE + _WITH, "`Owned` has no method `view`"),
    "an exception": (
        _BOOK.replace("self.heap, self.n = heap, n", "self.heap = heap.heaps"),
        "at the line `self.heap = heap.heaps`",
    ),
    "no class": ("def Owned(heap, n):\n    pass", "Is `Owned` a class?"),
    "no arguments": ("class Owned: pass", "TypeError"),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", OWNED.values(), ids=OWNED)
def test_owned_takes_right_answers(text: str) -> None:
    verdict = judge("owned", defined(text))
    assert isinstance(verdict, Right), verdict


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("text", "said"), OWNED_WRONG.values(), ids=OWNED_WRONG)
def test_owned_names_what_is_wrong(text: str, said: str) -> None:
    words = hint("owned", defined(text))
    assert said.lower() in words.lower()


# ---------------------------------------------------------------- lend

_HEAD = f'/*\n#include <stdlib.h>\n{C}\n*/\nimport "C"\n\n'


def lending(body: str) -> str:
    """Return the program with this body of Upper."""
    return f"{_HEAD}func Upper(data []byte) {{\n{body}}}\n\n{MAIN}\n"


_LEND = "\tC.upper((*C.char)(unsafe.Pointer(unsafe.SliceData(data))), C.size_t(len(data)))\n"
_FIRST = "\tC.upper((*C.char)(unsafe.Pointer(&data[0])), C.size_t(len(data)))\n"
_LEND_START = """	p := C.CBytes(data)
	defer C.free(p)
	C.upper((*C.char)(p), C.size_t(len(data)))
	copy(data, C.GoBytes(p, C.int(len(data))))
"""
LEND = {
    "the book's": lending(_LEND),
    "the first byte, if there is one, gofmt's main": lending(
        "\tif len(data) == 0 {\n\t\treturn\n\t}\n" + _FIRST
    ).replace(
        MAIN,
        'func main() {\n\tdata := []byte("heap")\n\tUpper(data)\n'
        "\tfmt.Println(string(data)) // HEAP\n}",
    ),
    "a whole file, directives and // comments": "package main\n\n"
    + "".join(f"// {line}\n" for line in ("#include <stddef.h>", *C.split("\n")))
    + "// #cgo noescape upper\n// #cgo nocallback upper\n"
    + 'import "C"\n\nimport (\n\t"fmt"\n\t"unsafe"\n)\n\n'
    + f"func Upper(data []byte) {{\n{_LEND}}}\n\n{MAIN}\n",
}
LEND_WRONG = {  # those that are not built
    "the page's start": (lending(_LEND_START), "`C.CBytes` in line 10 makes a C block and copies"),
    "malloc": (
        lending("\tp := C.malloc(C.size_t(len(data)))\n\tC.upper((*C.char)(p), 0)\n"),
        "`C.malloc` in line 10 makes a C block",
    ),
    "a string": (
        lending("\tC.upper(C.CString(string(data)), C.size_t(len(data)))\n"),
        "`C.CString` in line 10 makes a C block",
    ),
    "freed": (
        lending(_LEND + "\tC.free(unsafe.Pointer(unsafe.SliceData(data)))\n"),
        "a loan makes nothing that must be freed",
    ),
    "a block by a function of one's own": (
        lending(_LEND + "\tC.block()\n").replace(
            "static void upper", "static void *block(void) { return malloc(1); }\nstatic void upper"
        ),
        "`malloc` in line 3 makes a C block",
    ),
    "C changed": (lending(_LEND).replace("p[i] -= 32", "p[i] ^= 32"), "The C function `upper` is"),
    "C gone": (
        f"func Upper(data []byte) {{ copy(data, bytes.ToUpper(data)) }}\n{MAIN}",
        "The C function `upper` is to stay",
    ),
    "main changed": (lending(_LEND).replace('"heap"', '"HEAP"'), "`main` is to stay as it is"),
    "main gone": (lending(_LEND).replace(MAIN, ""), "There is no `func main()`"),
    "another name": (
        lending(_LEND).replace("func Upper", "func Lend"),
        "There is no `func Upper(data []byte)`",
    ),
    "done in Go": (
        lending("\tcopy(data, bytes.ToUpper(data))\n"),
        "Nothing calls `C.upper` any more",
    ),
    "narrow": (
        lending(_LEND.replace("C.size_t(len(data))", "C.size_t(C.int(len(data)))")),
        "In line 10 the length is put into a type that is too narrow",
    ),
    "the slice's own address": (
        lending(_LEND.replace("unsafe.SliceData(data)", "&data")),
        "`&data` in line 10 is the address of the slice itself",
    ),
}
LEND_RUN = {  # those that are
    "the first byte of nothing": (lending(_FIRST), "With `Upper(nil)` the program ended with"),
    "nil, but not empty": (
        lending("\tif data == nil {\n\t\treturn\n\t}\n" + _FIRST),
        "With an empty slice the program ended with",
    ),
    "a copy in Go": (
        lending(
            "\tif len(data) == 0 {\n\t\treturn\n\t}\n\ttext := append([]byte{}, data...)\n"
            + _FIRST.replace("data", "text")
            + "\tcopy(data, text)\n"
        ),
        "C did not get the slice's own bytes",
    ),
    "something for each call": (
        lending("\tkept = append([]byte{}, make([]byte, 99)...)\n" + _LEND).replace(
            "func Upper", "var kept []byte\n\nfunc Upper"
        ),
        "each call makes 1 or more allocations",
    ),
    "the capacity": (lending(_LEND.replace("len(data)", "cap(data)")), "exactly the three letters"),
    "narrow in two steps": (
        lending("\tn := len(data)\n" + _LEND.replace("len(data)", "uint32(n)")),
        "Of a slice of 2**32 + 5 bytes C gets 5.",
    ),
    "a mistake in the text": (
        lending(_LEND.replace("unsafe.Pointer(unsafe.SliceData(data))", "unsafe.SliceData(data)")),
        "It does not compile",
    ),
    "only the text of main": (
        lending("\tif len(data) > 4 {\n\t\tdata = data[:4]\n\t}\n" + _LEND),
        "`Upper` on 5 MiB does not do all of it",
    ),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", LEND.values(), ids=LEND)
def test_lend_takes_right_answers(text: str) -> None:
    verdict = judge("lend", text)
    assert isinstance(verdict, Right), verdict


@pytest.mark.parametrize(
    ("text", "said"), (LEND_WRONG | LEND_RUN).values(), ids=LEND_WRONG | LEND_RUN
)
def test_lend_names_what_is_wrong(text: str, said: str) -> None:
    assert said in hint("lend", text)


# ---------------------------------------------------------------- measure

_BENCHMARK = """type row [64]int

func main() {
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			p := new(row)
			p[3] = 1
		}
	})
	fmt.Println(r.AllocsPerOp(), "allocations of", r.AllocedBytesPerOp(), "bytes")
}
"""
_SINK = _BENCHMARK.replace("func main", "var sink *row\n\nfunc main")
_KEPT = _SINK.replace("p[3] = 1\n", "p[3] = 1\n\t\t\tsink = p\n")
MEASURE = {
    "the book's": _KEPT,
    "b.Loop and a variable": _SINK.replace("range b.N", "b.Loop()").replace(
        "p := new(row)\n\t\t\tp[3] = 1\n", "var p row\n\t\t\tp[3] = 1\n\t\t\tsink = &p\n"
    ),
    "a function that is not inlined": _BENCHMARK.replace(
        "func main", "//go:noinline\nfunc make_() *row { return &row{3: 1} }\n\nfunc main"
    ).replace("p := new(row)\n\t\t\tp[3] = 1", "_ = make_()"),
}
MEASURE_WRONG = {
    "the page's start": (_BENCHMARK, "It reports 0 allocations of 0 bytes in a round"),
    "the blank name": (
        _BENCHMARK.replace("p[3] = 1\n", "p[3] = 1\n\t\t\t_ = p\n"),
        "The compiler says of line 7 that the row does not escape",
    ),
    "kept alive on the stack": (
        _BENCHMARK.replace("p[3] = 1\n", "p[3] = 1\n\t\t\truntime.KeepAlive(p)\n"),
        "0 allocations of 0 bytes",
    ),
    "before the loop": (
        _KEPT.replace("\t\t\tp := new(row)\n", "").replace(
            "\t\tfor range", "\t\tp := new(row)\n\t\tfor range"
        ),
        "the allocation belongs inside of the loop",
    ),
    "something else": (
        _SINK.replace("sink *row", "sink []byte").replace(
            "p[3] = 1\n", "p[3] = 1\n\t\t\tsink = make([]byte, 512)\n"
        ),
        "but they are not the row's: the compiler says that the row of line 9",
    ),
    "and a slice": (
        _KEPT.replace("var sink *row", "var sink *row\nvar more []byte").replace(
            "sink = p\n", "sink = p\n\t\t\tmore = make([]byte, 1024)\n"
        ),
        "What else is measured with it?",
    ),
    "the numbers written down": (
        _BENCHMARK.replace("r.AllocsPerOp()", "1").replace("r.AllocedBytesPerOp()", "512"),
        "has lost `r.AllocsPerOp()`",
    ),
    "no benchmark": (
        'type row [64]int\nfunc main() { fmt.Println("1 allocations of 512 bytes") }',
        "has lost `testing.Benchmark`",
    ),
    "no loop": (
        _KEPT.replace("for range b.N", "for range 1000"),
        "has lost a loop over `b.N`",
    ),
    "a larger row": (_KEPT.replace("[64]int", "[128]int"), "has lost the `[64]int`"),
    "another output": (
        _KEPT.replace('"allocations of"', '"times"'),
        "The last line should print `1 allocations of 512 bytes`",
    ),
    "does not compile": (_KEPT.replace("sink = p", "sinks = p"), "undefined: sinks. See line 11"),
    "a panic": (_KEPT.replace("sink = p", "sink = p\n\t\t\tpanic(7)"), "complaint, at "),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", MEASURE.values(), ids=MEASURE)
def test_measure_takes_right_answers(text: str) -> None:
    verdict = judge("measure", text)
    assert isinstance(verdict, Right), verdict


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("text", "said"), MEASURE_WRONG.values(), ids=MEASURE_WRONG)
def test_measure_names_what_is_wrong(text: str, said: str) -> None:
    assert said in hint("measure", text)


# ---------------------------------------------------------------- decide

_HASH = "a C hash function reads a []byte and returns a number"
_THREAD = "a C thread fills your buffer while your code goes on"
_FRAME = "a decoder returns a frame and has frame_free()"
_CACHE = "a cache of a million small Go structs makes collections slow"
_STRUCT = "a C struct must outlive the call and hold C pointers"
_PAGE = "two processes share a page"
CHOICE = {
    _HASH: "lend",
    _THREAD: "pin",
    _FRAME: "library",
    _CACHE: "go",
    _STRUCT: "c",
    _PAGE: "mmap",
}
DECIDE: dict[str, dict[Any, Any]] = {
    "the book's": CHOICE,
    "another order": dict(reversed(CHOICE.items())),
    "capitals and spaces": {key: f" {way.upper()} " for key, way in CHOICE.items()},
    "the struct pinned, which the rules allow": CHOICE | {_STRUCT: "pin"},
}
DECIDE_WRONG: dict[str, tuple[dict[Any, Any], str]] = {
    "the hash copied": (CHOICE | {_HASH: "c"}, f"{_HASH}: not C memory with an owner, because"),
    "the hash pinned": (CHOICE | {_HASH: "pin"}, "this function keeps none"),
    "the thread lent to": (CHOICE | {_THREAD: "lend"}, "a loan ends when the call returns"),
    "the thread in C": (CHOICE | {_THREAD: "c"}, "the bytes have to be copied back"),
    "the frame freed by C": (CHOICE | {_FRAME: "c"}, "Only the decoder knows"),
    "the frame left to Go": (CHOICE | {_FRAME: "go"}, "the collector does not know its memory"),
    "the cache in C": (CHOICE | {_CACHE: "c"}, "one slice of structs without pointers"),
    "the struct in Go": (CHOICE | {_STRUCT: "go"}, f"{_STRUCT}: not Go memory"),
    "the page from malloc": (CHOICE | {_PAGE: "c"}, "are this process's alone"),
    "the page pinned": (CHOICE | {_PAGE: "pin"}, "in this process and in no other"),
    "another word": (CHOICE | {_PAGE: "malloc"}, "and not 'malloc'"),
    "a number": (CHOICE | {_PAGE: 5}, "and not 5"),
    "one missing": (dict(list(CHOICE.items())[1:]), f"Missing: {_HASH}."),
    "one too many": (CHOICE | {"the stack": "go"}, "Nobody asked about 'the stack'."),
    "a slip": (
        {key.replace("a page", "pages"): way for key, way in CHOICE.items()},
        f"Is '{_PAGE}' meant?",
    ),
}


@pytest.mark.parametrize("table", DECIDE.values(), ids=DECIDE)
def test_decide_takes_right_answers(table: dict[Any, Any]) -> None:
    assert isinstance(judge("decide", table), Right)


@pytest.mark.parametrize(("table", "said"), DECIDE_WRONG.values(), ids=DECIDE_WRONG)
def test_decide_names_what_is_wrong(table: dict[Any, Any], said: str) -> None:
    assert said in hint("decide", table)


@pytest.mark.parametrize("way", sorted(CHOICE.values()))
def test_decide_has_a_hint_for_each_wrong_entry(way: str) -> None:
    hints = hint("decide", dict.fromkeys(CHOICE, way)).split("\n")
    wrong = [
        key
        for key, right in CHOICE.items()
        if way != right and (key, way) != (_STRUCT, "pin")  # a pin is possible there
    ]
    assert [line.split(":")[0] for line in hints] == wrong


# ---------------------------------------------------------------- image-size

_LIMITS = "if not (0 < width < 2**31 and 0 < height < 2**31 and channels in (1, 3, 4)):"
_IMAGE = f"""
    {_LIMITS}
        return None
    size = width * height * channels
    return size if size < 2**63 else None"""
IMAGE = {
    "limits first": _IMAGE,
    "by division": """
    INT_MAX, PTRDIFF_MAX = 2**31 - 1, 2**63 - 1
    if width <= 0 or height <= 0 or width > INT_MAX or height > INT_MAX:
        return None
    if channels not in {1, 3, 4} or width > PTRDIFF_MAX // height // channels:
        return None
    return width * height * channels""",
    "a chain without else": """
    size = width * height * channels
    if channels in (1, 3, 4) and min(width, height) > 0 and max(width, height) <= 0x7FFFFFFF:
        if size <= 0x7FFFFFFFFFFFFFFF:
            return size""",
}
IMAGE_WRONG = {
    "the page's start": (
        "\n    return (width * height * channels) % 2**32",
        "`image_bytes(40000, 30000, 4)` should be 4,800,000,000 and is 505,032,704. That is what",
    ),
    "a signed int": (
        "\n    n = width * height * channels\n    return (n + 2**31) % 2**32 - 2**31",
        "what a signed number of 32 bits makes of it",
    ),
    "64 bits": (
        f"\n    {_LIMITS}\n        return None\n    return width * height * channels % 2**64",
        "`PTRDIFF_MAX`",
    ),
    "no check at all": ("\n    return width * height * channels", "`image_bytes(0, 10, 3)` should"),
    "negative sizes": (
        _IMAGE.replace("0 < width < 2**31 and 0 < height < 2**31", "width and height").replace(
            "if not (", "if max(width, height) >= 2**31 or not ("
        ),
        "`image_bytes(-1, 10, 1)` should be `None`, and is -10.",
    ),
    "two negative sizes": (
        _IMAGE.replace("0 < width < 2**31 and 0 < height < 2**31", "width * height > 0"),
        "`image_bytes(-4, -3, 4)` should be `None`, and is 48.",
    ),
    "only the product": (
        _IMAGE.replace(_LIMITS, "if min(width, height) < 1 or channels not in (1, 3, 4):"),
        "`image_bytes(2**31, 1, 1)` should be `None`",
    ),
    "no product": (
        f"\n    {_LIMITS}\n        return None\n    return width * height * channels",
        "no block is larger than 2**63 - 1 bytes",
    ),
    "size_t for a limit": (_IMAGE.replace("2**63", "2**64"), "`PTRDIFF_MAX`"),
    "an int for a limit": (
        _IMAGE.replace("2**63", "2**31"),
        "returned nothing, and it is an image: its size, 2,700,000,000, is no more",
    ),
    "one too strict": (
        _IMAGE.replace("width < 2**31", "width < 2**31 - 1"),
        "`image_bytes(2**31 - 1, 1, 1)` returned nothing",
    ),
    "one too lax": (
        _IMAGE.replace("height < 2**31", "height <= 2**31"),
        "image_bytes(1, 2**31, 1)",
    ),
    "any channels": (_IMAGE.replace("channels in (1, 3, 4)", "channels > 0"), "1, 3 or 4 channels"),
    "one to four": (_IMAGE.replace("(1, 3, 4)", "range(1, 5)"), "image_bytes(10, 10, 2)"),
    "three channels only": (_IMAGE.replace("(1, 3, 4)", "(3,)"), "`image_bytes(1, 1, 1)` returned"),
    "a float": (
        _IMAGE.replace("width * height", "float(width) * height"),
        "and is the float 1.0",
    ),
    "a float on the way": (
        _IMAGE.replace("return size if", "return int(float(size)) if"),
        "Was it a float on the way?",
    ),
    "a float's limit": (
        _IMAGE.replace("size < 2**63", "float(size) < 2.0**62"),
        "returned nothing",
    ),
    "0 for no": (_IMAGE.replace("None", "0"), "And 0 is a number of bytes"),
    "False for no": (_IMAGE.replace("None", "False"), "the sign for that is `None`"),
    "-1 for no": (_IMAGE.replace("None", "-1"), "the sign for that is `None`"),
    "always 0": ("\n    return 0", "An image has bytes"),
    "an exception for no": (
        _IMAGE.replace("return None\n", "raise ValueError(width)\n"),
        "`None` is the answer for what cannot be an image",
    ),
    "pixels": ("\n    return width * height", "That is the number of pixels"),
    "a text": ("\n    return str(width * height * channels)", "an int, and is '1'"),
    "nothing": ("\n    pass", "returned nothing, and it is an image"),
    "assert": (
        _IMAGE.replace("if not (", "assert (").replace(":\n        return None", ""),
        "Assertion",
    ),
}


def counting(body: str) -> Any:
    return function("def image_bytes(width, height, channels):" + body)


@pytest.mark.parametrize("body", IMAGE.values(), ids=IMAGE)
def test_image_size_takes_right_answers(body: str) -> None:
    verdict = judge("image-size", counting(body))
    assert isinstance(verdict, Right), verdict


@pytest.mark.parametrize(("body", "said"), IMAGE_WRONG.values(), ids=IMAGE_WRONG)
def test_image_size_names_what_is_wrong(body: str, said: str) -> None:
    assert said in hint("image-size", counting(body))


# ---------------------------------------------------------------- what an answer is


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owned", "without parentheses"),
        ("lend", "takes your program's text, a str,"),
        ("measure", "takes your program's text, a str,"),
        ("decide", "takes your table as it is, a dict. It was given an int."),
        ("image-size", "without parentheses"),
    ],
)
def test_what_is_no_answer_is_a_hint(name: str, said: str) -> None:
    verdict = judge(name, 5)
    assert isinstance(verdict, NotYet)
    assert said in verdict.hint
