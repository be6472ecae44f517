"""Each exercise takes every right answer and answers each typical wrong one with a hint."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from typing import Any

import pytest
from heapscope.teaching.exercises import NotYet, Right, exercise, judge
from heapscope.teaching.exercises.base import MIME
from notebook_shell import Shell

Answer = Callable[..., Any]
_count = 0


def function(source: str, **names: Any) -> Answer:
    """Return the function that a cell defines, with its source where tracebacks find it."""
    global _count
    _count += 1
    file = f"<cell {_count}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(source, file, "exec"), space)
    functions = [v for k, v in space.items() if callable(v) and k not in names and k[0] != "_"]
    answer: Answer = functions[-1]
    return answer


def hint(name: str, answer: object) -> str:
    verdict = judge(name, answer)
    assert isinstance(verdict, NotYet), verdict
    return verdict.hint


# ---------------------------------------------------------------- join

JOIN = {
    "realloc from NULL": """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    text, length = ffi.NULL, 0
    for word in words:
        space = b" " if length else b""
        text = lib.realloc(text, length + len(space) + len(word))
        ffi.memmove(ffi.cast("char *", text) + length, space + word, len(space + word))
        length += len(space + word)
    result = bytes(ffi.buffer(text, length))
    lib.free(text)
    return result
""",
    "malloc first, with room for a zero": """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    size = len(words[0]) + 1
    p = ffi.cast("char *", lib.malloc(size))
    ffi.memmove(p, words[0] + b"\\0", size)
    for w in words[1:]:
        q = lib.realloc(p, size + 1 + len(w))
        if q == ffi.NULL:
            lib.free(p)
            return b""
        p = ffi.cast("char *", q)
        p[size - 1] = b" "
        ffi.buffer(p + size, len(w) + 1)[:] = w + b"\\0"
        size += 1 + len(w)
    text = ffi.string(p)
    lib.free(p)
    return text
""",
    "doubling": """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    room, n = 64, 0
    p = lib.malloc(room)
    for i, w in enumerate(words):
        part = (b" " if i else b"") + w
        while n + len(part) > room:
            room *= 2
            p = lib.realloc(p, room)
        lib.memcpy(ffi.cast("char *", p) + n, ffi.from_buffer(part), len(part))
        n += len(part)
    out = ffi.buffer(p, n)[:]
    lib.free(p)
    return out
""",
    "freed by finally": """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    p, n = ffi.NULL, 0
    try:
        for w in words:
            p = lib.realloc(p, n + len(w) + 1)
            ffi.buffer(p, n + len(w) + 1)[n:] = w + b" "
            n += len(w) + 1
        return bytes(ffi.buffer(p, n - 1))
    finally:
        lib.free(p)
""",
}

_LOOP = JOIN["realloc from NULL"]
JOIN_WRONG = {
    "leak": (_LOOP.replace("    lib.free(text)\n", ""), "never freed"),
    "no spaces": (_LOOP.replace('b" " if length else b""', 'b""'), "the spaces are not"),
    "a space too many": (_LOOP.replace('b" " if length else b""', 'b" "'), "the spaces are not"),
    "in Python": ("def join(heap, words):\n    return b' '.join(words)", "no C block was made"),
    "a block of the full size": (
        """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    text = b" ".join(words)
    p = lib.malloc(len(text))
    ffi.memmove(p, text, len(text))
    result = bytes(ffi.buffer(p, len(text)))
    lib.free(p)
    return result
""",
        "never grew",
    ),
    "malloc and copy": (
        """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    p, n = ffi.NULL, 0
    for w in words:
        part = (b" " if n else b"") + w
        q = lib.malloc(n + len(part))
        if n:
            lib.memcpy(q, p, n)
            lib.free(p)
        ffi.memmove(ffi.cast("char *", q) + n, part, len(part))
        p, n = q, n + len(part)
    result = bytes(ffi.buffer(p, n))
    lib.free(p)
    return result
""",
        "let `realloc` make it larger",
    ),
    "the old pointer is used again": (
        """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    p = lib.malloc(len(words[0]))
    ffi.memmove(p, words[0], len(words[0]))
    n = len(words[0])
    for w in words[1:]:
        lib.realloc(p, n + 1 + len(w))
        ffi.memmove(ffi.cast("char *", p) + n, b" " + w, 1 + len(w))
        n += 1 + len(w)
    result = bytes(ffi.buffer(p, n))
    lib.free(p)
    return result
""",
        "only the address that it returned is good",
    ),
    "the old pointer is written through": (
        """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    p, n = ffi.NULL, 0
    for w in words:
        part = (b" " if n else b"") + w
        q = lib.realloc(p, n + len(part))
        ffi.memmove(ffi.cast("char *", p or q) + n, part, len(part))
        p, n = q, n + len(part)
    result = bytes(ffi.buffer(p, n))
    lib.free(p)
    return result
""",
        "only the address that it returned is good",
    ),
    "one byte short": (
        _LOOP.replace("length + len(space) + len(word))", "length + len(word))"),
        "wrote behind the end of its block: the realloc of 4 bytes gave bytes 0 to 3, and byte 4",
    ),
    "a view": (
        _LOOP.replace("bytes(ffi.buffer(text, length))", "ffi.buffer(text, length)"),
        "view",
    ),
    "text instead of bytes": (
        _LOOP.replace("length))", "length)).decode()"),
        "should return `bytes`, and returned a str",
    ),
    "nothing": ("def join(heap, words):\n    pass", "returned nothing"),
    "a zero at the end": (
        JOIN["malloc first, with room for a zero"].replace(
            "ffi.string(p)", "bytes(ffi.buffer(p, size))"
        ),
        "a zero byte behind the text",
    ),
    "read after free": (
        """
def join(heap, words):
    lib, ffi = heap.lib, heap.ffi
    p, n = ffi.NULL, 0
    for w in words:
        part = (b" " if n else b"") + w
        p = lib.realloc(p, n + len(part))
        ffi.memmove(ffi.cast("char *", p) + n, part, len(part))
        n += len(part)
    lib.free(p)
    return bytes(ffi.buffer(p, n))
""",
        "copy it out before that",
    ),
    "freed twice": (_LOOP.replace("    return", "    lib.free(text)\n    return"), "double free"),
    "an exception": (
        _LOOP.replace("length += len(space + word)", "length += word"),
        "at the line `length += word`. TypeError",
    ),
}


@pytest.mark.parametrize("source", JOIN.values(), ids=JOIN)
def test_join_takes_right_answers(source: str) -> None:
    assert isinstance(judge("join", function(source)), Right)


@pytest.mark.parametrize(("source", "said"), JOIN_WRONG.values(), ids=JOIN_WRONG)
def test_join_names_what_is_wrong(source: str, said: str) -> None:
    assert said in hint("join", function(source))


# ---------------------------------------------------------------- chunk-size

CHUNK = {
    "the book's": "max(32, (request + 8 + 15) // 16 * 16)",
    "bits": "max(32, (request + 23) & ~15)",
    "division upwards": "max(32, -(-(request + 8) // 16) * 16)",
    "cases": "32 if request <= 24 else (request + 8 + 15) // 16 * 16",
    "floats": "max(32, (request + 23) // 16 * 16.0)",
    "modulo": "max(32, request + 8 + -(request + 8) % 16)",
}
CHUNK_WRONG = {
    "the request": ("request", "`malloc(0)` makes a chunk of 32 bytes, and your rule says 0"),
    "no smallest chunk": ("(request + 8 + 15) // 16 * 16", "How small can a chunk be?"),
    "no size word": ("max(32, (request + 15) // 16 * 16)", "Is the size word counted?"),
    "two words": ("max(32, (request + 16 + 15) // 16 * 16)", "one word beside its bytes, not two"),
    "a step too late": ("max(32, (request + 8 + 14) // 16 * 16)", "one byte beyond a step"),
    "steps of 8": ("max(32, (request + 8 + 7) // 8 * 8)", "It is wrong for"),
    "a step too many": ("max(32, (request + 8) // 16 * 16 + 16)", "It is wrong for"),
    "text": ("str(request)", "should be a number"),
    "nothing": ("print(end='')", "returned nothing"),
    "an exception": ("1 / (request - 5)", "ZeroDivisionError"),
}


@pytest.mark.parametrize("rule", CHUNK.values(), ids=CHUNK)
def test_chunk_size_takes_right_answers(rule: str) -> None:
    verdict = judge("chunk-size", function(f"def chunk_size(request):\n    return {rule}"))
    assert isinstance(verdict, Right)
    assert "100,000 bytes" in verdict.text


@pytest.mark.parametrize(("rule", "said"), CHUNK_WRONG.values(), ids=CHUNK_WRONG)
def test_chunk_size_names_what_is_wrong(rule: str, said: str) -> None:
    assert said in hint("chunk-size", function(f"def chunk_size(request):\n    return {rule}"))


# ---------------------------------------------------------------- zeroed-table

TABLE = {
    "the book's": "    return heap.lib.calloc(rows, columns * 4)",
    "two factors the other way": """
    if columns > 2**62 // 4: return heap.ffi.NULL
    return heap.lib.calloc(columns * 4, rows)""",
    "a limit of one's own": """
    if rows * columns * 4 > 2**63 - 1: return heap.ffi.NULL
    p = heap.lib.malloc(rows * columns * 4)
    if p == heap.ffi.NULL: return p
    return heap.lib.memset(p, 0, rows * columns * 4)""",
    "reallocarray": """
    lib, ffi = heap.lib, heap.ffi
    p = lib.reallocarray(ffi.NULL, rows, columns * 4)
    if p != ffi.NULL:
        ffi.memmove(p, bytes(rows * columns * 4), rows * columns * 4)
    return p""",
}
TABLE_WRONG = {
    "malloc": ("    return heap.lib.malloc(rows * columns * 4)", "does not clear"),
    "too few bytes": (
        "    return heap.lib.calloc(rows, columns)",
        "needs 4 bytes, 4 for each integer, and asked for 1",
    ),
    "the product outside": (
        "    return heap.lib.calloc(rows * columns * 4, 1)",
        "have wrapped to 16 bytes without a word",
    ),
    "the product as C has it": (
        "    return heap.lib.calloc(1, rows * columns * 4 % 2**64)",
        "returned a block of 16 bytes",
    ),
    "memset of NULL": (
        """
    p = heap.lib.malloc(rows * columns * 4)
    heap.lib.memset(p, 0, rows * columns * 4)
    return p""",
        "memset was given NULL",
    ),
    "buffer of NULL": (
        """
    p = heap.lib.malloc(rows * columns * 4)
    heap.ffi.buffer(p, rows * columns * 4)[:] = bytes(rows * columns * 4)
    return p""",
        "ffi.buffer was given NULL",
    ),
    "half of it cleared": (
        """
    n = rows * columns * 4
    return heap.lib.memset(heap.lib.malloc(n), 0, n // 2)""",
        "is not all zero: byte 2",
    ),
    "cleared too far": (
        """
    if rows * columns * 4 > 2**60: return heap.ffi.NULL
    p = heap.lib.malloc(rows * columns * 4)
    return p and heap.lib.memset(p, 0, rows * columns * 4 + 4)""",
        "behind the end of its block",
    ),
    "always NULL": ("    return heap.ffi.NULL", "returned NULL, although 4 bytes can be had"),
    "None for NULL": (
        "    return None if rows > 2**50 else heap.lib.calloc(rows, columns * 4)",
        "returned nothing",
    ),
    "another block left behind": (
        "    heap.lib.malloc(8)\n    return heap.lib.calloc(rows, columns * 4)",
        "left another block behind",
    ),
    "a number": ("    return 0", "is no pointer"),
    "one block for all": (
        """
    if rows * columns * 4 > 2**60: return heap.ffi.NULL
    global kept
    kept = globals().get('kept') or heap.lib.calloc(1000, 1200)
    return kept""",
        "no new block",
    ),
}


@pytest.mark.parametrize("body", TABLE.values(), ids=TABLE)
def test_zeroed_table_takes_right_answers(body: str) -> None:
    assert isinstance(
        judge("zeroed-table", function(f"def table(heap, rows, columns):\n{body}")), Right
    )


@pytest.mark.parametrize(("body", "said"), TABLE_WRONG.values(), ids=TABLE_WRONG)
def test_zeroed_table_names_what_is_wrong(body: str, said: str) -> None:
    assert said in hint("zeroed-table", function(f"def table(heap, rows, columns):\n{body}"))


# ---------------------------------------------------------------- push

PUSH = {
    "the book's": """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger == ffi.NULL:
        return ffi.NULL
    ffi.cast("int *", bigger)[length] = value
    return bigger""",
    "reallocarray": """
    bigger = lib.reallocarray(block, length + 1, 4)
    if bigger:
        ffi.cast("int32_t *", bigger)[length] = value
    return bigger""",
    "malloc, copy, free": """
    bigger = ffi.cast("int *", lib.malloc((length + 1) * 4))
    if not bigger:
        return bigger
    if length:
        ffi.memmove(bigger, block, length * 4)
    bigger[length] = value
    lib.free(block)
    return bigger""",
    "room for more": """
    room = 4
    while room < length: room *= 2
    if length == 0 or length == room:
        block = lib.realloc(block, (room if length == 0 else 2 * room) * 4)
        if not block:
            return ffi.NULL
    ffi.cast("int *", block)[length] = value
    return block""",
}
PUSH_WRONG = {
    "the page's start": (
        """
    lib.realloc(block, length + 1)
    ffi.cast("int *", block)[length] = value
    return block""",
        "null pointer",
    ),
    "elements for bytes": (
        """
    block = lib.realloc(block, length + 1)
    if block: ffi.cast("int *", block)[length] = value
    return block""",
        "`realloc` counts in bytes",
    ),
    "the old address returned": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger: ffi.cast("int *", bigger)[length] = value
    return block if length and bigger else bigger""",
        "Return what `realloc` returned",
    ),
    "written through the old address": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger: ffi.cast("int *", block or bigger)[length] = value
    return bigger""",
        "integer",
    ),
    "no look at NULL": (
        """
    block = lib.realloc(block, (length + 1) * 4)
    ffi.cast("int *", block)[length] = value
    return block""",
        "There was no memory for once, and `push(heap, block, 2, 1073741826)` stopped",
    ),
    "freed when there is no memory": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if not bigger:
        lib.free(block)
        return bigger
    ffi.cast("int *", bigger)[length] = value
    return bigger""",
        "the old block is gone",
    ),
    "the old block given when there is no memory": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if not bigger: return block
    ffi.cast("int *", bigger)[length] = value
    return bigger""",
        "did not return NULL",
    ),
    "the old block forgotten": (
        """
    bigger = ffi.cast("int *", lib.malloc((length + 1) * 4))
    if not bigger: return bigger
    if length: ffi.memmove(bigger, block, length * 4)
    bigger[length] = value
    return bigger""",
        "the old block is still in use",
    ),
    "not copied": (
        """
    bigger = ffi.cast("int *", lib.malloc((length + 1) * 4))
    if not bigger: return bigger
    lib.free(block)
    bigger[length] = value
    return bigger""",
        "integer 0 is not right: nobody has written it",
    ),
    "one too far": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger: ffi.cast("int *", bigger)[length + 1] = value
    return bigger""",
        "nobody has written it",
    ),
    "value and length": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger: ffi.cast("int *", bigger)[length] = length
    return bigger""",
        "it is 0 and should be",
    ),
    "two written": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger:
        ffi.cast("int *", bigger)[length] = value
        ffi.cast("int *", bigger)[length + 1] = 0
    return bigger""",
        "behind the end of its block",
    ),
    "nothing returned": (
        """
    bigger = lib.realloc(block, (length + 1) * 4)
    if bigger: ffi.cast("int *", bigger)[length] = value""",
        "returned nothing",
    ),
}


def pushing(body: str) -> Answer:
    return function(
        "def push(heap, block, length, value):\n    lib, ffi = heap.lib, heap.ffi" + body
    )


@pytest.mark.parametrize("body", PUSH.values(), ids=PUSH)
def test_push_takes_right_answers(body: str) -> None:
    assert isinstance(judge("push", pushing(body)), Right)


@pytest.mark.parametrize(("body", "said"), PUSH_WRONG.values(), ids=PUSH_WRONG)
def test_push_names_what_is_wrong(body: str, said: str) -> None:
    assert said in hint("push", pushing(body))


# ---------------------------------------------------------------- coalesce

SHELF = '''
class Shelf:
    """First fit, split, coalesce with the chunk behind."""

    def __init__(self, size=512):
        self.memory, self.free, self.top = bytearray(size), [], 0
        self.put(0, size)

    def word(self, at):
        return int.from_bytes(self.memory[at + 8 : at + 16], "little")

    def put(self, at, size, flag=1):
        if at + 16 <= len(self.memory):
            self.memory[at + 8 : at + 16] = (size | flag).to_bytes(8, "little")

    def malloc(self, request):
        need = max(32, (request + 23) // 16 * 16)
        for at in self.free:
            if (size := self.word(at) & ~7) >= need:
                self.free.remove(at)
                if size - need >= 32:
                    self.put(at + need, size - need)
                    self.put(at, need)
                    self.free.insert(0, at + need)
                return at + 16
        at, self.top = self.top, self.top + need
        self.put(at, need)
        self.put(self.top, len(self.memory) - self.top)
        return at + 16


def free(self, user):
    at = user - 16
    behind = at + (self.word(at) & ~7)
    if behind in self.free:
        self.free.remove(behind)
        self.put(at, (self.word(at) & ~7) + (self.word(behind) & ~7))
    self.free.insert(0, at)

'''
MERGE = {
    "the book's": """
    free(self, user)
    at = self.free[0]
    for before in self.free[1:]:
        if before + (self.word(before) & ~7) == at:
            self.put(before, (self.word(before) & ~7) + (self.word(at) & ~7))
            self.free.remove(at)
            break""",
    "all merged anew": """
    chunks = sorted([*self.free, user - 16])
    self.free = []
    for at in chunks:
        if self.free and self.free[-1] + (self.word(self.free[-1]) & ~7) == at:
            last = self.free[-1]
            self.put(last, (self.word(last) & ~7) + (self.word(at) & ~7))
        else:
            self.free.append(at)""",
    "in front first": """
    at, size = user - 16, self.word(user - 16) & ~7
    for other in list(self.free):
        length = self.word(other) & ~7
        if other + length == at:
            at, size = other, size + length
            self.free.remove(other)
        elif other == at + size:
            size += length
            self.free.remove(other)
    self.put(at, size)
    self.free.append(at)""",
}
MERGE_WRONG = {
    "the page's start": ("\n    free(self, user)", "side by side"),
    "nothing freed": ("\n    pass", "the free chunks are: none"),
    "the swallowed one stays in the list": (
        MERGE["the book's"].replace("            self.free.remove(at)\n", ""),
        "reaches over the one at",
    ),
    "the size forgotten": (
        MERGE["the book's"].replace(
            "            self.put(before, (self.word(before) & ~7) + (self.word(at) & ~7))\n", ""
        ),
        "They should be",
    ),
    "freed twice": (
        "\n    free(self, user)\n    free(self, user)",
        "twice",
    ),
    "flags added": (
        MERGE["the book's"].replace(
            "(self.word(before) & ~7) + (self.word(at) & ~7)", "self.word(before) + 64"
        ),
        "After freeing",
    ),
    "all in one": (
        "\n    self.free = [0]\n    self.put(0, self.top)",
        "They should be: A with 48 bytes",
    ),
    "the user's address in the list": ("\n    self.free.insert(0, user)", "where no chunk begins"),
    "memory cleared": (
        "\n    self.memory[user - 16 : user + 100] = bytes(116)\n    free(self, user)",
        "in use",
    ),
    "an exception": ("\n    self.release(user)", "AttributeError"),
}


def merging(body: str) -> Answer:
    return function(SHELF + "def free_both_ways(self, user):" + body)


@pytest.mark.parametrize("body", MERGE.values(), ids=MERGE)
def test_coalesce_takes_right_answers(body: str) -> None:
    assert isinstance(judge("coalesce", merging(body)), Right)


@pytest.mark.parametrize(("body", "said"), MERGE_WRONG.values(), ids=MERGE_WRONG)
def test_coalesce_names_what_is_wrong(body: str, said: str) -> None:
    assert said in hint("coalesce", merging(body))


def test_coalesce_without_the_shelf_says_which_cells_to_run() -> None:
    answer = function("def free_both_ways(self, user):\n    pass")
    assert "An allocator of your own" in hint("coalesce", answer)


# ---------------------------------------------------------------- check itself


@pytest.mark.parametrize("name", ["join", "chunk-size", "zeroed-table", "push", "coalesce"])
def test_what_is_no_function_is_a_hint(name: str) -> None:
    assert "without parentheses. It was given an int" in hint(name, 5)


def test_an_unknown_exercise_is_an_error() -> None:
    with pytest.raises(LookupError, match="did you mean 'chunk-size'"):
        judge("chunk-sizes", print)
    with pytest.raises(LookupError, match="there are capstone, chunk-size, "):
        judge("qqq", print)


def test_a_name_is_taken_once() -> None:
    judge("chunk-size", 1)  # the chapters are loaded
    with pytest.raises(ValueError, match="has a checker already"):
        exercise("chunk-size")(lambda _: Right(""))


def test_check_shows_a_box_and_a_record(shell: Shell) -> None:
    shell.run("from heapscope.teaching.exercises import check")
    cell = "def f(request): return {}\ncheck('chunk-size', f)\n'last'"
    (record,) = shell.records(cell.format("request"), MIME)
    assert record["right"] is False
    bundle = shell.shown[0]
    assert bundle["text/plain"].startswith("Not yet. `malloc(0)` makes a chunk of 32")
    assert "<code>malloc(0)</code>" in bundle["text/html"]
    assert "hs-check-not-yet" in bundle["text/html"]
    (record,) = shell.records(cell.format("max(32, (request + 23) // 16 * 16)"), MIME)
    assert record["right"] is True
    assert "hs-check-right" in shell.shown[0]["text/html"]
