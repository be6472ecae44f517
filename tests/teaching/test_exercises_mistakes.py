"""The exercises of the chapters on mistakes: right answers pass, wrong ones get a hint."""

from __future__ import annotations

from typing import Any

import pytest
from heapscope.teaching.exercises import NotYet, Right, judge
from heapscope.teaching.exercises.double_free import MAIN
from heapscope.teaching.exercises.leaks import ORIGINAL
from test_exercises import function, hint

# ---------------------------------------------------------------- who-frees

WHO = {
    "the result of C.CString": "you",
    "the result of C.GoString": "go",
    "what C.strdup returned": "you",
    "what C.getenv returned": "c",
    "a []byte lent to C for one call": "go",
    "the result of C.CBytes": "you",
}
WHO_RIGHT: dict[str, dict[Any, Any]] = {
    "the book's": WHO,
    "another order": dict(reversed(WHO.items())),
    "capitals": {value: who.capitalize() for value, who in WHO.items()},
    "a computed table": {value: f" {who} " for value, who in WHO.items()},
}
WHO_WRONG: dict[str, tuple[dict[Any, Any], str]] = {
    "C's string is Go's": (WHO | {"the result of C.CString": "go"}, "the collector does not know"),
    "C's string is C's": (WHO | {"the result of C.CString": "c"}, "C.CString: not the C library"),
    "Go's string is freed": (WHO | {"the result of C.GoString": "you"}, "a copy in Go's heap"),
    "strdup's is Go's": (WHO | {"what C.strdup returned": "go"}, "does not make it Go's memory"),
    "the environment is freed": (WHO | {"what C.getenv returned": "you"}, "undefined behaviour"),
    "the loan is C's": (WHO | {"a []byte lent to C for one call": "c"}, "A borrower frees nothing"),
    "C's bytes are Go's": (WHO | {"the result of C.CBytes": "go"}, "a block from `malloc`"),
    "another word": (WHO | {"the result of C.CBytes": "me"}, '"you", "go" or "c", and not \'me\''),
    "a number": (WHO | {"the result of C.CBytes": 1}, "and not 1"),
    "one missing": (dict(list(WHO.items())[1:]), "Missing: the result of C.CString."),
    "one too many": (WHO | {"the stack": "go"}, "Nobody asked about 'the stack'."),
    "a slip": (
        {key.replace("strdup r", "strdup  r"): who for key, who in WHO.items()},
        "Is 'what C.strdup returned' meant?",
    ),
    "empty": ({}, "Missing: the result of C.CString, the result of C.GoString,"),
}


@pytest.mark.parametrize("table", WHO_RIGHT.values(), ids=WHO_RIGHT)
def test_who_frees_takes_right_answers(table: dict[Any, Any]) -> None:
    assert isinstance(judge("who-frees", table), Right)


@pytest.mark.parametrize(("table", "said"), WHO_WRONG.values(), ids=WHO_WRONG)
def test_who_frees_names_what_is_wrong(table: dict[Any, Any], said: str) -> None:
    assert said in hint("who-frees", table)


@pytest.mark.parametrize("word", ["you", "go", "c"])
def test_who_frees_has_a_hint_for_each_wrong_entry(word: str) -> None:
    hints = hint("who-frees", dict.fromkeys(WHO, word)).split("\n")
    wrong = [value for value, who in WHO.items() if who != word]
    assert [line.split(":")[0] for line in hints] == wrong


# ---------------------------------------------------------------- plug

PLUGGED = r"""#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char *join(const char *a, const char *b) {
    char *both = malloc(strlen(a) + strlen(b) + 2);
    if (both != NULL)
        sprintf(both, "%s %s", a, b);
    return both;
}
int main(int argc, char **argv) {
    char *text = join(argc > 1 ? argv[1] : "other", "heap");
    int fits = text != NULL && strlen(text) <= 20;
    if (fits)
        puts(text);
    free(text);
    return fits ? 0 : 1;
}"""
_FREED = ORIGINAL.replace("    return both;", "    free(left);\n    free(right);\n    return both;")
PLUG = {
    "the book's": PLUGGED,
    "a free for each block, on each way": _FREED.replace(
        "        return 1;", "        { free(text); return 1; }"
    ).replace("    return 0;", "    free(text);\n    return 0;"),
    "no block at all": r"""#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "other";
    if (strlen(word) > 15)
        return 1;
    printf("%s heap\n", word);
}""",
}
PLUG_WRONG = {
    "the page's start": (ORIGINAL, "line 5: `char *left = strdup(a), *right = strdup(b);`"),
    "only the copies": (
        _FREED,
        "`./program` ends with 1 block in use. Who frees it?\n"
        "The block comes from line 6: `char *both = malloc(",
    ),
    "the early return forgotten": (
        _FREED.replace("    return 0;", "    free(text);\n    return 0;"),
        "`./program c…` with a word of 30 letters ends with 1 block",
    ),
    "freed too early": (
        PLUGGED.replace("    return both;", "    free(both);\n    return both;").replace(
            "    free(text);\n", ""
        ),
        "A block was read after it was freed, at line 13: `int fits",
    ),
    "printed after free": (
        PLUGGED.replace("        puts(text);\n    free(text);", "        puts(text);").replace(
            "    return fits", '    free(text);\n    if (text[0] == 1) puts("");\n    return fits'
        ),
        'A block was read after it was freed, at line 16: `if (text[0] == 1) puts("");`',
    ),
    "freed twice": (
        PLUGGED.replace("    free(text);", "    free(text);\n    free(text);"),
        "`./program`: A block was freed a second time, at line 16: `free(text);`",
    ),
    "freed twice, unseen by glibc": (
        PLUGGED.replace(
            "    free(text);",
            "    free(text);\n    char *next = malloc(strlen(text) < 99 ? 11 : 11);\n"
            "    free(text);\n    (void)next;",
        ),
        "valgrind says about",
    ),
    "no room for the zero": (
        PLUGGED.replace("strlen(b) + 2", "strlen(b) + 1"),
        "Bytes were written that are no block's, at line 7",
    ),
    "no printing": (
        PLUGGED.replace("        puts(text);", "        ;"),
        r"`./program` should print 'other heap\n', and prints nothing",
    ),
    "another status": (PLUGGED.replace("? 0 : 1", "? 0 : 2"), "exit status 1, as it did, and"),
    "another limit": (PLUGGED.replace("<= 20", "< 20"), "with a word of 15 letters should print"),
    "a fixed word": (
        '#include <stdio.h>\nint main(void) { puts("other heap"); }',
        r"`./program C` should print 'C heap\n', and prints 'other heap\n'",
    ),
    "kept in a global variable": (
        PLUGGED.replace("int main", "static char *text;\nint main")
        .replace("char *text = join", "text = join")
        .replace("    free(text);\n", ""),
        "ends with 1 block in use",
    ),
    "does not compile": (
        PLUGGED.replace("puts(text);", "puts(txt);"),
        "It does not compile: ‘txt’ undeclared",
    ),
    "does not link": (
        PLUGGED.replace("puts(text)", "show(text)"),
        "undefined reference to 'show'. See line 14: `show(text);`",
    ),
    "nothing": ("", "should print"),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", PLUG.values(), ids=PLUG)
def test_plug_takes_right_answers(text: str) -> None:
    assert isinstance(judge("plug", text), Right)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("text", "said"), PLUG_WRONG.values(), ids=PLUG_WRONG)
def test_plug_names_what_is_wrong(text: str, said: str) -> None:
    assert said in hint("plug", text)


# ---------------------------------------------------------------- one-owner

_NEW = "func New(n int) Buf { return Buf{C.malloc(C.size_t(n))} }\n"
_OWNER = """type owner struct{ ptr unsafe.Pointer }

type Buf struct{ o *owner } // copies share one owner

func New(n int) Buf { return Buf{&owner{C.malloc(C.size_t(n))}} }

func (b *Buf) Free() {
	C.free(b.o.ptr)
	b.o.ptr = nil
}

"""
_START = f"""type Buf struct{{ ptr unsafe.Pointer }}

{_NEW}
func (b *Buf) Free() {{
	C.free(b.ptr)
	b.ptr = nil
}}

"""
OWNER = {
    "the book's": _OWNER + MAIN,
    "a pointer, and main with a comment": """type buf struct{ ptr unsafe.Pointer }

func New(n int) *buf { return &buf{C.calloc(1, C.size_t(n))} }

func (b *buf) Free() {
	if b.ptr != nil {
		C.free(b.ptr)
	}
	b.ptr = nil
}

"""
    + MAIN.replace("c := b", "c :=  b // a copy"),
    "a whole file, sync.Once in a closure": """package main

// #include <stdlib.h>
import "C"

import (
	"fmt"
	"sync"
)

type Buf struct{ free func() }

func New(n int) Buf {
	p := C.malloc(C.size_t(n))
	var once sync.Once
	return Buf{func() { once.Do(func() { C.free(p) }) }}
}

func (b *Buf) Free() { b.free() }

"""
    + MAIN,
}


def _map(new: str, free: str) -> str:
    """Return a program that remembers addresses in a map."""
    return (
        f"""type Buf struct{{ ptr unsafe.Pointer }}

var known = map[unsafe.Pointer]bool{{}}

func New(n int) Buf {{
	p := C.malloc(C.size_t(n))
	{new}
	return Buf{{p}}
}}

func (b *Buf) Free() {{
	{free}
}}

"""
        + MAIN
    )


OWNER_WRONG = {
    "the page's start": (_START + MAIN, "line 6: `C.free(b.ptr)`\nfree(): double free detected"),
    "main changed": (
        _START + MAIN.replace("\tc.Free()\n", ""),
        'It says `fmt.Println("ok")` where `c.Free()` was.',
    ),
    "main cut short": (_OWNER + MAIN.replace('\tfmt.Println("ok")\n', ""), "`main` is to stay"),
    "no main": (_OWNER, "There is no `func main()`"),
    "a mistake in the text": (
        _OWNER.replace("b.o.ptr = nil", "b.ptr = nil") + MAIN,
        "See line 9: `b.ptr = nil`",
    ),
    "never freed": (
        _START.replace("\tC.free(b.ptr)\n", "") + MAIN,
        "the block is never freed",
    ),
    "no C block": (
        "type Buf struct{ bytes []byte }\n\nfunc New(n int) Buf { return Buf{make([]byte, n)} }\n\n"
        "func (b *Buf) Free() { b.bytes = nil }\n\n" + MAIN,
        "does not allocate with `C.malloc`",
    ),
    "one flag for all": (
        "var gone bool\n\n"
        + _START.replace("\tC.free(b.ptr)", "\tif !gone {\n\t\tgone = true\n\t\tC.free(b.ptr)\n\t}")
        + MAIN,
        "10 of their blocks are still in use",
    ),
    "freed addresses in a map": (
        _map("", "if !known[b.ptr] {\n\t\tknown[b.ptr] = true\n\t\tC.free(b.ptr)\n\t}"),
        "later ones are not",
    ),
    "live addresses in a map": (
        _map(
            "known[p] = true", "if known[b.ptr] {\n\t\tdelete(known, b.ptr)\n\t\tC.free(b.ptr)\n\t}"
        ),
        "freed somebody else's block",
    ),
    "read after free, which only -asan sees": (
        _OWNER.replace(
            "\tC.free(b.o.ptr)\n",
            "\tp := b.o.ptr\n\tC.free(p)\n"
            "\tif p != nil && *(*byte)(p) == 7 {\n\t\tprintln(7)\n\t}\n",
        )
        + MAIN,
        "Built with `-asan`, it ended with this complaint",
    ),
    "a whole file": (
        OWNER["a whole file, sync.Once in a closure"]
        .replace("once.Do(func() { C.free(p) })", "C.free(p)")
        .replace('\t"sync"\n', "")
        .replace("\tvar once sync.Once\n", ""),
        "line 14: `return Buf{func() { C.free(p) }}`",
    ),
    "ok is not all": (
        _OWNER.replace("\tC.free", '\tfmt.Println("free")\n\tC.free') + MAIN,
        "`main` should print `ok` and nothing else",
    ),
    "ended before its time": (
        'func init() { fmt.Println("ok"); os.Exit(0) }\n\n' + _START + MAIN,
        "ended before `main` had returned",
    ),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", OWNER.values(), ids=OWNER)
def test_one_owner_takes_right_answers(text: str) -> None:
    assert isinstance(judge("one-owner", text), Right)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("text", "said"), OWNER_WRONG.values(), ids=OWNER_WRONG)
def test_one_owner_names_what_is_wrong(text: str, said: str) -> None:
    assert said in hint("one-owner", text)


# ---------------------------------------------------------------- free-all

FREE = {
    "the book's": """
    while head != ffi.NULL:
        following = ffi.cast("void **", head)[0]
        lib.free(head)
        head = following""",
    "addresses first": """
    blocks = []
    while head:
        blocks.append(head)
        head = ffi.cast("uintptr_t *", head)[0]
        head = ffi.cast("void *", head)
    for block in blocks:
        lib.free(block)""",
    "the last first": """
    if head:
        free_all(heap, ffi.cast("void **", head)[0])
        lib.free(head)""",
    "freed NULL as well, and cleared": """
    while head:
        node, head = head, ffi.cast("void **", head)[0]
        ffi.memmove(node, bytes(16), 16)
        lib.free(node)
    lib.free(head)""",
}
FREE_WRONG = {
    "the page's start": (
        """
    while head != ffi.NULL:
        lib.free(head)
        head = ffi.cast("void **", head)[0]""",
        "had read from a block after freeing that block",
    ),
    "only the first": ("\n    lib.free(head)", "Of a list of 50 blocks, only the first was freed"),
    "nothing": ("\n    pass", "Of a list of 1 block, none was freed"),
    "all but the last": (
        """
    while head and (following := ffi.cast("void **", head)[0]):
        lib.free(head)
        head = following""",
        "none was freed",
    ),
    "the last forgotten, unless it is the only one": (
        """
    if not head: return
    following = ffi.cast("void **", head)[0]
    lib.free(head)
    head = following
    while head and (following := ffi.cast("void **", head)[0]):
        lib.free(head)
        head = following""",
        "the last was not freed. It holds NULL",
    ),
    "the empty list forgotten": (
        """
    while True:
        following = ffi.cast("void **", head)[0]
        lib.free(head)
        if following == ffi.NULL: break
        head = following""",
        "An empty list is NULL",
    ),
    "no end": (
        """
    while True:
        following = ffi.cast("void **", head)[0]
        lib.free(head)
        head = following""",
        "The last block holds NULL: the list ends there",
    ),
    "NULL looked for too late": (
        """
    while head:
        following = ffi.cast("void **", head)[0]
        lib.free(head)
        if ffi.cast("void **", head)[0] == ffi.NULL: break
        head = ffi.cast("void **", following)[0]""",
        "that you have not freed yet",
    ),
    "not moved on": (
        "\n    while head:\n        lib.free(head)",
        "Block 1 of 1 was freed twice",
    ),
    "twice": (
        """
    first = head
    while head:
        following = ffi.cast("void **", head)[0]
        lib.free(head)
        head = following
    if first: lib.free(first)""",
        "was freed twice",
    ),
    "the second word": (
        """
    while head:
        following = ffi.cast("void **", head)[1]
        lib.free(head)
        head = following""",
        "only the first was freed",
    ),
    "neighbours in place of links": (
        """
    n = 0
    p = head
    while p:
        n += 1
        p = ffi.cast("void **", p)[0]
    for i in range(n):
        lib.free(ffi.cast("char *", head) + 32 * i)""",
        "free",
    ),
    "written to after free": (
        """
    while head:
        following = ffi.cast("void **", head)[0]
        lib.free(head)
        ffi.memmove(head, bytes(8), 8)
        head = following""",
        "Block 1 of 1 was written to after it was freed",
    ),
    "a block of one's own left": (
        FREE["the book's"] + "\n    lib.malloc(8)",
        "a block of your own is left: the malloc of 8 bytes",
    ),
    "an address inside of the block": (
        "\n    if head: lib.free(ffi.cast('char *', head) + 8)",
        "free was not run",
    ),
    "an exception": ("\n    heap.lib.release(head)", "AttributeError"),
}


def freeing(body: str) -> Any:
    return function("def free_all(heap, head):\n    lib, ffi = heap.lib, heap.ffi" + body)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("body", FREE.values(), ids=FREE)
def test_free_all_takes_right_answers(body: str) -> None:
    assert isinstance(judge("free-all", freeing(body)), Right)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("body", "said"), FREE_WRONG.values(), ids=FREE_WRONG)
def test_free_all_names_what_is_wrong(body: str, said: str) -> None:
    assert said in hint("free-all", freeing(body))


# ---------------------------------------------------------------- duplicate

COPY = {
    "the book's": """
    block = lib.malloc(len(text) + 1)
    if block != ffi.NULL:
        ffi.memmove(block, text + b"\\0", len(text) + 1)
    return block""",
    "strdup": "\n    return lib.strdup(text)",
    "calloc": """
    p = ffi.cast("char *", lib.calloc(1, len(text) + 1))
    if not p: return p
    for n, byte in enumerate(text):
        p[n] = bytes([byte])
    return p""",
    "room for more": """
    p = lib.malloc((len(text) + 1 + 15) // 16 * 16)
    if not p: return ffi.NULL
    lib.memcpy(p, text, len(text))
    ffi.cast("char *", p)[len(text)] = b"\\0"
    return p""",
    "grown": """
    p = lib.malloc(1)
    q = lib.realloc(p, len(text) + 1) if p else p
    if not q:
        lib.free(p)
        return ffi.NULL
    ffi.buffer(q, len(text) + 1)[:] = text + b"\\0"
    return q""",
}
_START_COPY = """
    block = lib.malloc(len(text))
    ffi.memmove(block, text + b"\\0", len(text) + 1)
    return block"""
COPY_WRONG = {
    "the page's start": (_START_COPY, "asked for 0 bytes and wrote behind their end"),
    "no zero byte": (
        "\n    p = lib.malloc(len(text))\n    if p: ffi.memmove(p, text, len(text))\n    return p",
        "has one byte more than it has letters",
    ),
    "the zero byte not written": (
        COPY["the book's"].replace('text + b"\\0", len(text) + 1', "text, len(text)"),
        "byte 0 should be the zero that ends the string, and nobody has written it",
    ),
    "short only without slack": (
        """
    size = len(text) + (len(text) % 16 != 8)
    p = lib.malloc(size)
    if p: ffi.memmove(p, text + b"\\0", len(text) + 1)
    return p""",
        "For a text of 8 letters, your function asked for 8 bytes and wrote behind",
    ),
    "a fixed size": (
        """
    p = lib.malloc(64)
    if p: ffi.memmove(p, text[:63] + b"\\0", len(text[:63]) + 1)
    return p""",
        "For a text of 5000 letters, your function asked for 64 bytes",
    ),
    "one byte too many": (
        COPY["the book's"].replace(
            'text + b"\\0", len(text) + 1', 'text + b"\\0" * 2, len(text) + 2'
        ),
        "behind the end of its block",
    ),
    "ffi.new": ('\n    return ffi.new("char[]", text)', "memory that is Python's"),
    "Python's bytes": ("\n    return text", "is no pointer"),
    "freed": (
        COPY["strdup"].replace("return", "p =") + "\n    if p: lib.free(p)\n    return p",
        "freed the block before it returned it",
    ),
    "the end of the block": (
        '\n    p = lib.strdup(text)\n    return p and ffi.cast("char *", p) + 1',
        "an address inside of its block",
    ),
    "two blocks": (
        COPY["the book's"].replace("    block", "    lib.malloc(1)\n    block", 1),
        "left another block behind: the malloc of 1 bytes",
    ),
    "no look at NULL": (
        COPY["the book's"].replace("    if block != ffi.NULL:\n    ", ""),
        "There was no memory for once, and `duplicate(heap, b'')` stopped, at the line",
    ),
    "None for NULL": (
        "\n    p = lib.strdup(text)\n    return p or None",
        "it returned nothing. C's word for that is NULL",
    ),
    "Python's memory when there is none": (
        '\n    return lib.strdup(text) or ffi.new("char[]", text)',
        "and it did not return NULL",
    ),
    "always NULL": ("\n    return ffi.NULL", "returned NULL, although there is memory"),
    "one block for all": (
        """
    global kept
    kept = globals().get("kept") or lib.malloc(6000)
    if kept: ffi.memmove(kept, text + b"\\0", len(text) + 1)
    return kept""",
        "an earlier call had returned",
    ),
    "upside down": (
        COPY["the book's"].replace("text + b", "text[::-1] + b"),
        "For a text of 2 letters, byte 0 is not right: it is 0x22 and should be 0x21",
    ),
    "nothing": ("\n    lib.strdup(text)", "returned nothing"),
    "an exception": ("\n    return lib.duplicate(text)", "AttributeError"),
}


def copying(body: str) -> Any:
    return function("def duplicate(heap, text):\n    lib, ffi = heap.lib, heap.ffi" + body)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("body", COPY.values(), ids=COPY)
def test_duplicate_takes_right_answers(body: str) -> None:
    verdict = judge("duplicate", copying(body))
    assert isinstance(verdict, Right), verdict


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("body", "said"), COPY_WRONG.values(), ids=COPY_WRONG)
def test_duplicate_names_what_is_wrong(body: str, said: str) -> None:
    assert said in hint("duplicate", copying(body))


# ---------------------------------------------------------------- what an answer is


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("who-frees", "takes your table as it is, a dict. It was given an int."),
        ("plug", "takes your program's text, a str,"),
        ("one-owner", "takes your program's text, a str,"),
        ("free-all", "without parentheses"),
        ("duplicate", "without parentheses"),
    ],
)
def test_what_is_no_answer_is_a_hint(name: str, said: str) -> None:
    verdict = judge(name, 5)
    assert isinstance(verdict, NotYet)
    assert said in verdict.hint
