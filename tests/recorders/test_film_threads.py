"""Films of programs with several threads, and of what has no name of its own."""

from __future__ import annotations

from filmed import after, faults, variable
from heapscope.programs.check import check_go
from heapscope.recorders.film_values import typedefs
from heapscope.recorders.gdb_recorder import record_c, record_go
from heapscope.views import words
from heapscope.views.steps import steps

BUSY = """#include <pthread.h>
#include <stdlib.h>

static volatile int done;

static void *work(void *arg)
{
	while (!done) {
		void *p = calloc(1, 40 + rand() % 2000);
		void *q = calloc(1, 100);
		free(p);
		free(q);
	}
	return arg;
}

int main(void)
{
	pthread_t t;
	pthread_create(&t, NULL, work, NULL);
	for (int i = 0; i < 30; i++) {
		int *p = malloc(sizeof *p);
		*p = i;
		free(p);
	}
	done = 1;
	pthread_join(t, NULL);
	return 0;
}
"""
GIVES_BACK = """#include <pthread.h>
#include <stdlib.h>

static void *give_back(void *p)
{
	free(p);
	return NULL;
}

int main(void)
{
	char *p = malloc(40);
	pthread_t t;
	pthread_create(&t, NULL, give_back, p);
	pthread_join(t, NULL);
	return 0;
}
"""
TWO_OF_A_NAME = """#include <stdlib.h>

static void use(int *p)
{
	free(p);
}

int main(void)
{
	int *p = malloc(4);
	use(p);
	return 0;
}
"""
GO = """package main

/*
#include <stdlib.h>
typedef struct { int x, y; } point;
struct line { struct { int a; } from; };
extern void each(int n);
static char *copy(void) { return malloc(5); }
static void walk(int n) { for (int i = 0; i < n; i++) each(i); }
*/
import "C"

import (
	"runtime"
	"time"
)

type box struct{ p *C.point }

//export each
func each(n C.int) {
	p := (*C.point)(C.malloc(C.sizeof_point))
	p.x = n
	q := C.CString("second")
	*q = *C.copy()
}

func open() *box {
	b := &box{(*C.point)(C.malloc(40))}
	runtime.AddCleanup(b, func(p *C.point) {
		C.free(unsafe.Pointer(p))
	}, b.p)
	return b
}

func main() {
	l := (*C.struct_line)(C.malloc(C.sizeof_struct_line))
	f := &l.from
	f.a = 1
	b := open()
	b.p.x = 7
	b = nil
	runtime.GC()
	time.Sleep(20 * time.Millisecond)
	C.walk(2)
}
""".replace('"time"\n', '"time"\n\t"unsafe"\n')


def test_calls_of_other_threads_are_whole() -> None:
    film = record_c(BUSY, frames=150)
    assert len(film.frames) > 100
    assert {shot.stack[0] for shot in film.frames if shot.stack} == {"main", "work"}
    assert [fault.text for shot in film.frames for fault in shot.faults] == []
    assert faults(film) == {}


def test_a_block_that_another_thread_gave_back() -> None:
    film = record_c(GIVES_BACK)
    shot = after(film, 6)
    place = words.place(shot, shot.block("p"))
    assert place == "free, first in tcache[0x30] of thread 1"
    said = steps(film)[film.frames.index(shot)].say
    assert "first in tcache[0x30] of thread 1" in said
    assert "another thread is in give_back()" in [step.call for step in steps(film)]
    assert "tcache[0x30] of thread 1 → p → ∅" in [words.chain(shot, x) for x in shot.lists]


def test_two_variables_of_one_name() -> None:
    film = record_c(TWO_OF_A_NAME)
    said = steps(film)[film.frames.index(after(film, 5))].say
    assert "p in main() and p in use() still hold the address: they dangle." in said


def test_go_threads_and_structs_without_a_tag() -> None:
    film = record_go(GO)
    assert faults(film) == {}
    freed = after(film, GO[: GO.index("C.free(")].count("\n") + 1)
    assert " of thread " in words.place(freed, next(c for c in freed.chunks if c.name == "p"))
    shot = next(s for s in film.frames if any(p.name == "f" for p in s.pointers))
    assert variable(shot, "f", "main.main").type == "*C.struct {…}"
    inside = next(s for s in film.frames if s.stack and s.stack[0] == "main.each")
    assert variable(inside, "p", "main.each").type == "*C.point"


def test_fields_of_structs_without_a_tag() -> None:
    text = "typedef struct { int *x, y[4]; void (*f)(int, int); struct { int q; } in; } point;"
    assert typedefs(text) == [(("x", "y", "f", "in"), "point")]
    assert typedefs("typedef struct tag { int x; } named;") == []


def test_leaks_in_a_callback_have_a_line() -> None:
    """In C the line that called malloc; in Go the lines that may have done it, in words."""
    report = next(r for r in check_go(GO).reports if r.name == "asan")
    leaks = [v for v in report.verdicts if v.kind.value == "leak"]
    assert any(v.allocated is not None and v.allocated.line == 8 for v in leaks)
    lines = [
        n for n, line in enumerate(GO.split("\n"), 1) if "malloc(C" in line or "CString" in line
    ]
    assert any(all(str(n) in v.note for n in lines) for v in leaks), [v.note for v in leaks]
