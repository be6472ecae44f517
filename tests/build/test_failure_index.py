"""The failure index says what the tools say, and the cheat sheet's patterns run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from heapscope import run_go

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "failure-index.md"

# Message: statements.  `p` and `q` are addresses, p[-1] is the size word.
GLIBC = {
    "free(): double free detected in tcache 2": "char *p = malloc(40); free(p); free(p);",
    "double free or corruption (fasttop)": "SEVEN(40) char *p = malloc(40); FULL free(p); free(p);",
    "double free or corruption (!prev)": "char *p = malloc(2000); malloc(24); free(p); free(p);",
    "double free or corruption (top)": "char *p = malloc(2000); free(p); free(p);",
    "double free or corruption (out)": "long *p = malloc(2000); p[-1] = 1 << 20 | 1; free(p);",
    "free(): invalid pointer": "char *p = malloc(40); free(p + 1);",
    "free(): invalid size": "long *p = malloc(40); p[-1] = 0x11; free(p);",
    "free(): invalid next size (fast)": (
        "SEVEN(40) long *p = malloc(40); malloc(40); p[5] = 1; FULL free(p);"
    ),
    "free(): invalid next size (normal)": (
        "long *p = malloc(2000); malloc(24); p[251] = 1; free(p);"
    ),
    "free(): unaligned chunk detected in tcache 2": (
        "long *p = malloc(40), *q = malloc(40); free(p); free(q); BEND(q); free(p);"
    ),
    "free(): corrupted unsorted chunks": (
        "long *p = malloc(2000); malloc(24); char *q = malloc(2000); malloc(24);"
        "free(p); p[1] = (long)q; free(q);"
    ),
    "corrupted size vs. prev_size": (
        "char *p = malloc(2000), *q = malloc(2000); long *r = malloc(24);"
        "free(q); r[-2] = 0; free(p);"
    ),
    "corrupted size vs. prev_size while consolidating": (
        "char *p = malloc(2000); long *q = malloc(2000); malloc(24); free(p); q[-2] = 32; free(q);"
    ),
    "corrupted double-linked list": (
        "char *p = malloc(2000); long *q = malloc(2000); malloc(24);"
        "free(q); q[0] = (long)p; free(p);"
    ),
    "corrupted double-linked list (not small)": (
        "char *p = malloc(2000); long *q = malloc(2000); malloc(24);"
        "free(q); malloc(4000); q[2] = (long)p; free(p);"
    ),
    "munmap_chunk(): invalid pointer": "long *p = malloc(40); p[-1] |= 2; free(p);",
    "malloc(): unaligned tcache chunk detected": (
        "long *p = malloc(40), *q = malloc(40); free(p); free(q); BEND(q);malloc(40); malloc(40);"
    ),
    "malloc(): corrupted top size": "long *p = malloc(24); p[3] = -1; malloc(4000);",
    "Fatal glibc error: malloc assertion failure in sysmalloc": (
        "long *p = malloc(24); p[3] = 0; malloc(4000);"
    ),
    "malloc(): unaligned fastbin chunk detected 3": (
        "SEVEN(40) long *p = malloc(40); FULL free(p); BEND(p); EMPTY(40) malloc(40);"
    ),
    "malloc(): memory corruption (fast)": (
        "SEVEN(40) long *p = malloc(40); FULL free(p); p[-1] = 0x61; EMPTY(40) malloc(40);"
    ),
    "malloc(): invalid size (unsorted)": (
        "long *p = malloc(2000); malloc(24); free(p); p[-1] = 1; malloc(4000);"
    ),
    "malloc(): invalid next size (unsorted)": (
        "long *p = malloc(2000), *q = malloc(24); free(p); q[-1] = 0; malloc(4000);"
    ),
    "malloc(): mismatching next->prev_size (unsorted)": (
        "long *p = malloc(2000), *q = malloc(24); free(p); q[-2] = 0; malloc(4000);"
    ),
    "malloc(): unsorted double linked list corrupted": (
        "long *p = malloc(2000); malloc(24); free(p); p[0] = 42; malloc(4000);"
    ),
    "malloc(): invalid next->prev_inuse (unsorted)": (
        "long *p = malloc(2000), *q = malloc(24); free(p); q[-1] |= 1; malloc(4000);"
    ),
    "malloc(): smallbin double linked list corrupted": (
        "SEVEN(500) long *p = malloc(500); malloc(24); FULL free(p); malloc(4000);"
        "EMPTY(500) p[1] = (long)p; malloc(500);"
    ),
    "malloc(): largebin double linked list corrupted (nextsize)": (
        "long *p = malloc(1990); malloc(24); long *q = malloc(2020); malloc(24);"
        "free(p); malloc(4000); p[3] = (long)q; free(q); malloc(4000);"
    ),
    "malloc_consolidate(): unaligned fastbin chunk detected": (
        "SEVEN(40) long *p = malloc(40); malloc(24); FULL free(p); BEND(p); malloc(2000);"
    ),
    "malloc_consolidate(): invalid chunk size": (
        "SEVEN(40) long *p = malloc(40); malloc(24); FULL free(p); p[-1] = 0x61; malloc(2000);"
    ),
    "realloc(): invalid pointer": "char *p = malloc(40); realloc(p + 1, 80);",
    "realloc(): invalid old size": "long *p = malloc(40); p[-1] = 1 << 20 | 1; realloc(p, 80);",
    "realloc(): invalid next size": "long *p = malloc(40); malloc(24); p[5] = 1; realloc(p, 80);",
    "mremap_chunk(): invalid pointer": "long *p = malloc(40); p[-1] |= 2; realloc(p, 80);",
    "tcache_thread_shutdown(): unaligned tcache chunk detected": (
        "pthread_t t; pthread_create(&t, NULL, late, NULL); pthread_join(t, NULL);"
    ),
    "*** buffer overflow detected ***: terminated": (
        "volatile size_t n = 40; __memset_chk(malloc(10), 0, n, 10);"
    ),
}
ASAN = {
    "heap-buffer-overflow": "volatile int *p = malloc(10); p[2] = 1;",
    "heap-use-after-free": "volatile char *p = malloc(40); free((void *)p); p[0] = 1;",
    "attempting double-free": "char *p = malloc(40); free(p); free(p);",
    "attempting free on address which was not malloc()-ed": "char *p = malloc(40); free(p + 8);",
    "detected memory leaks": "volatile char *p = malloc(40); p[0] = 1; p = NULL;",
    "alloc-dealloc-mismatch": "char *p = new char[40]; free(p);",
    "requested allocation size … exceeds maximum supported size": (
        "volatile size_t n = 1UL << 62; keep = malloc(n);"
    ),
    "calloc parameters overflow": "volatile size_t n = 1UL << 62; keep = calloc(n, 8);",
    "attempting to call malloc_usable_size() for pointer which is not owned": (
        "char *p = malloc(40); free(p); keep = (void *)malloc_usable_size(p);"
    ),
    "stack-buffer-overflow": "volatile char s[8]; volatile int i = 8; s[i] = 1;",
    "stack-use-after-scope": ("volatile char *volatile p; { volatile char s[8]; p = s; } *p = 1;"),
    "global-buffer-overflow": "volatile int i = 8; global[i] = 1;",
    "negative-size-param": "volatile long n = -1; char a[8]; memset(a, 0, n);",
    "memcpy-param-overlap": "char a[40] = {0}; volatile int n = 20; memcpy(a, a + 8, n);",
    "SEGV on unknown address": "volatile char *volatile p = NULL; *p = 1;",
}
VALGRIND = {
    "Invalid read of size": "char *p = malloc(40); keep = (void *)(long)p[40];",
    "Invalid write of size": "char *p = malloc(40); free(p); p[0] = 1;",
    "Address … is … bytes after a block of size … alloc'd": "char *p = malloc(40); p[40] = 1;",
    "Address … is … bytes inside a block of size … free'd": (
        "char *p = malloc(40); free(p); p[8] = 1;"
    ),
    "Invalid free() / delete / delete[] / realloc()": "char *p = malloc(40); free(p); free(p);",
    "Mismatched free() / delete / delete []": "char *p = new char[40]; free(p);",
    "Conditional jump or move depends on uninitialised value(s)": (
        "int *p = malloc(40); if (p[3] > 5) keep = p;"
    ),
    "Use of uninitialised value of size": (
        "int *p = malloc(40); keep = (void *)(long)global[p[3] & 7];"
    ),
    "Syscall param … points to uninitialised byte(s)": "char *p = malloc(40); write(2, p, 4);",
    "Source and destination overlap in": 'char a[40] = "some text"; strcpy(a, a + 2);',
    "definitely lost": "keep = malloc(40); keep = NULL;",
    "indirectly lost": "void **p = malloc(40); *p = malloc(24); keep = NULL; p = NULL;",
    "possibly lost": "keep = (char *)malloc(40) + 8;",
    "still reachable": "keep = malloc(40);",
    "Argument 'size' of function malloc has a fishy (possibly negative) value": (
        "volatile long n = -1; keep = malloc(n);"
    ),
    "Process terminating with default action of signal": "volatile char *p = NULL; *p = 1;",
}
GO = {
    "fatal error: runtime: C malloc failed": "C.malloc(1 << 62)",
    "argument of cgo function has Go pointer to unpinned Go pointer": (
        "C.use(&C.box{p: new(C.int)})"
    ),
    "result of Go function … called from cgo is unpinned Go": "C.call()",
    "SIGSEGV: segmentation violation": "C.deref(nil)",
    "SIGABRT: abort": "C.twice()",
    "signal arrived during cgo execution": "C.deref(nil)",
    "invalid memory address or nil pointer dereference": "var p *int; *p = 1",
    "runtime.SetFinalizer: finalizer already set": (
        "p := new(T); runtime.SetFinalizer(p, func(*T) {}); runtime.SetFinalizer(p, func(*T) {})"
    ),
    "runtime.SetFinalizer: pointer not in allocated block": (
        "runtime.SetFinalizer((*T)(C.malloc(100)), func(*T) {})"
    ),
    "runtime.AddCleanup: ptr is equal to arg, cleanup will never run": (
        "p := new(T); runtime.AddCleanup(p, func(*T) {}, p)"
    ),
    "runtime.AddCleanup: ptr not in allocated block": (
        "runtime.AddCleanup((*T)(C.malloc(100)), func(int) {}, 1)"
    ),
    "runtime/cgo: misuse of an invalid Handle": "h := cgo.NewHandle(1); h.Delete(); h.Value()",
    "runtime.Pinner: found leaking pinned pointer; forgot to call Unpin()?": (
        "func() { new(runtime.Pinner).Pin(new(T)) }()\n"
        "for range 20 { runtime.GC(); time.Sleep(50 * time.Millisecond) }"
    ),
    "unsafe.Slice: len out of range": "n := -1 + zero; _ = unsafe.Slice(new(byte), n)",
    "makeslice: len out of range": "sink = make([]byte, 1<<62+zero)",
    "runtime: out of memory": "sink = make([]byte, 1<<47-1+zero)",
    "index out of range [0] with length 0": "_ = &sink[zero]",
}
# Programs of their own: flags or environment differ, or they do not even build.
STALE = """/*
#include <stdint.h>
#include <stdlib.h>
typedef struct { void *v[8]; } rec;
static rec *recycled(uintptr_t old) {
	rec *r = malloc(sizeof *r);
	for (int i = 0; i < 8; i++) ((volatile rec *)r)->v[i] = (void *)old;
	free(r);
	return malloc(sizeof *r);
}
*/
import "C"

type tree struct{ l, r *tree }
func grow(d int) *tree {
	if d == 0 { return nil }
	return &tree{grow(d - 1), grow(d - 1)}
}

func main() {
	keep, b := grow(20), make([]byte, 8<<20)
	old := C.uintptr_t(uintptr(unsafe.Pointer(&b[4<<20])))
	b, _ = nil, old
	runtime.GC()
	runtime.GC()
	go func() { for { runtime.GC() } }()
	for range 1_000_000 {
		r := C.recycled(old)
		r.v[2], r.v[4], r.v[6] = nil, nil, nil
		C.free(unsafe.Pointer(r))
	}
	runtime.KeepAlive(keep)
}
"""
BOX = """/*
#include <stdlib.h>
typedef struct { int *p; } box;
*/
import "C"

func main() { b := (*C.box)(C.calloc(1, C.sizeof_box)); b.p = new(C.int) }
"""
EXPORTED = """/*
#include <stdlib.h>
char *create(void) { return malloc(1); }
*/
import "C"

//export Callback
func Callback() {}

func main() { C.free(unsafe.Pointer(C.create())) }
"""
RACE = """func main() {
	n := 0
	var wg sync.WaitGroup
	for range 2 { wg.Go(func() { n++ }) }
	wg.Wait()
}
"""

C_HEAD = r"""
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define SEVEN(n) char *t[7]; for (int i = 0; i < 7; i++) t[i] = malloc(n);
#define FULL for (int i = 0; i < 7; i++) free(t[i]);
#define EMPTY(n) for (int i = 0; i < 7; i++) malloc(n);
/* a link that leads to an address where no block can be */
#define BEND(p) p[0] = 42 ^ (long)p >> 12
#ifndef __cplusplus
void *__memset_chk(void *, int, size_t, size_t);
#endif
void *keep;
char global[8];
static void *late(void *a) {
    long *p = malloc(40), *q = malloc(40);
    free(p); free(q); BEND(q); malloc(40);
    return a;
}
int main(int argc, char **argv) { (void)argc; (void)late; switch (atoi(argv[1])) {
"""
GO_HEAD = """/*
#include <stdlib.h>
typedef struct { int *p; } box;
static int use(box *b) { return *b->p; }
static int deref(int *p) { return *p; }
static void twice(void) { char *p = malloc(40); free(p); free(p); }
extern void *Callback(void);
static void call(void) { Callback(); }
*/
import "C"

type T struct{ p *int; q [8]int }
var sink []byte
var zero = len(os.Args) - 2

//export Callback
func Callback() unsafe.Pointer { return unsafe.Pointer(new([4]*int)) }

func main() {
	switch os.Args[1] {
"""


def matches(message: str, said: str) -> bool:
    """Whether `said` has the words of a heading; "…" stands for anything on one line."""
    parts = (re.escape(part.strip()) for part in message.split("…"))
    return re.search("[^\n]*?".join(parts), said) is not None


@cache
def sections() -> dict[str, list[str]]:
    """Return the messages of the page by the heading they stand under."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        elif line.startswith("### "):
            assert re.fullmatch(r"### `[^`]+`", line), line
            found[list(found)[-1]].append(line[5:-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("messages")


def built(folder: Path, cases: dict[str, str], name: str, *flags: str, cpp: bool = False) -> Path:
    """Compile all cases into one program, which runs the one whose number it is given."""
    text = C_HEAD
    for number, body in enumerate(cases.values()):
        text += f"case {number}: {{ {body} break; }}\n"
    program = folder / name
    if not program.exists():
        language = ["g++", "-fpermissive", "-x", "c++"] if cpp else ["gcc", "-x", "c"]
        command = [*language, "-O0", "-g", "-fno-builtin", "-w", "-pthread", *flags]
        subprocess.run(
            [*command, "-o", str(program), "-"],
            input=text + "} return 0; }\n",
            text=True,
            check=True,
        )
    return program


def stderr(*command: str | Path) -> str:
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return run.stderr


@pytest.mark.parametrize("message", GLIBC)
def test_glibc_says_so(folder: Path, message: str) -> None:
    program = built(folder, GLIBC, "glibc")
    said = stderr(program, str(list(GLIBC).index(message)))
    assert said.split(": (old_top")[0].strip() == message


@pytest.mark.parametrize("message", ASAN)
def test_asan_says_so(folder: Path, message: str) -> None:
    program = built(folder, ASAN, "asan", "-fsanitize=address", cpp=True)
    assert matches(message, stderr(program, str(list(ASAN).index(message))))


@pytest.mark.parametrize("message", VALGRIND)
def test_valgrind_says_so(folder: Path, message: str) -> None:
    program = built(folder, VALGRIND, "plain", cpp=True)
    watch = ("valgrind", "--leak-check=full", "--show-leak-kinds=all")
    assert matches(message, stderr(*watch, program, str(list(VALGRIND).index(message))))


@pytest.mark.parametrize("message", GO)
def test_go_says_so(message: str) -> None:
    text = GO_HEAD
    for number, body in enumerate(GO.values()):
        text += f'\tcase "{number}":\n{body}\n'
    run = run_go(text + "\t}\n}\n", args=[str(list(GO).index(message))])
    assert run.compiled, run.diagnostics
    assert matches(message, run.stderr)


def test_go_finds_a_bad_pointer() -> None:
    for _ in range(10):  # the collector has to come at the right moment
        if matches("found bad pointer in Go heap", run_go(STALE).stderr):
            return
    pytest.fail("the collector saw nothing")


def test_go_finds_a_pointer_in_c_memory() -> None:
    run = run_go(BOX, env={"GOEXPERIMENT": "cgocheck2"}, timeout=120)
    assert matches("fatal error: unpinned Go pointer stored into non-Go memory", run.stderr)


def test_go_finds_a_race() -> None:
    run = run_go(RACE, flags="-race", timeout=120)
    assert matches("WARNING: DATA RACE", run.report + run.stderr)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "could not determine what C.free refers to",
            '/*\nint x;\n*/\nimport "C"\n\nfunc main() { C.free(nil) }',
        ),
        ("declared and not used: p", "func main() { p := C.malloc(100) }"),
        ("multiple definition of", EXPORTED),
    ],
)
def test_the_build_says_so(message: str, text: str) -> None:
    run = run_go(text)
    assert not run.compiled
    assert matches(message, run.diagnostics)


def test_go_refuses_cgo_in_a_test(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module m\n")
    (tmp_path / "m_test.go").write_text('package m\n\nimport "C"\n')
    go = shutil.which("go") or str(Path(sys.executable).parent / "go")
    run = subprocess.run(
        [go, "vet", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "GOTOOLCHAIN": "local"},
        check=False,
    )
    assert matches("use of cgo in test", run.stdout + run.stderr)


def test_every_message_of_the_page_is_provoked() -> None:
    glibc, asan, valgrind, go, build = sections().values()
    assert glibc == list(GLIBC)
    assert asan == list(ASAN)
    assert valgrind == list(VALGRIND)
    alone = {
        "found bad pointer in Go heap",
        "fatal error: unpinned Go pointer stored into non-Go memory",
        "WARNING: DATA RACE",
    }
    assert set(go) == set(GO) | alone
    assert build == [
        "could not determine what C.free refers to",
        "declared and not used: p",
        "multiple definition of",
        "use of cgo in test",
    ]


PATTERNS = """/*
#include <stdint.h>
#include <stdlib.h>
static void use(const char *s) { (void)s; }
static void use_bytes(const unsigned char *p, size_t n) { (void)p; (void)n; }
static void start(uintptr_t h) { (void)h; }
*/
import "C"

type buf struct { p unsafe.Pointer; cleanup runtime.Cleanup }
func release(p unsafe.Pointer) { C.free(p) }

func send(s string) {
%s
}
func lend(data []byte) {
%s
}
func pinned(data []byte) {
%s
}
func take(n int) error {
%s
	return nil
}
func own(b *buf) {
%s
}
func remember(value any) {
%s
}
func main() {
	send("text")
	lend(nil)
	lend([]byte{1})
	pinned([]byte{1})
	own(&buf{p: C.calloc(8, 1)})
	remember(7)
	fmt.Println(take(10), take(1 << 62) != nil)
}
"""


def test_the_patterns_of_the_cheat_sheet_run() -> None:
    sheet = (ROOT / "book" / "cheat-sheet.md").read_text("utf-8")
    blocks = re.findall(r"^```go\n(.*?)^```", sheet, re.MULTILINE | re.DOTALL)
    assert [len(block.splitlines()) for block in blocks] == [3] * 6
    blocks[1] = blocks[1].replace("C.use(", "C.use_bytes(")
    run = run_go(PATTERNS % tuple(blocks))
    assert run.compiled, run.diagnostics
    assert run.exit == 0, run.stderr
    assert run.stdout == "<nil> true\n"
