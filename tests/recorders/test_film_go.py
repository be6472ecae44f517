"""Films of Go programs, with cgo and without, through the real toolchain and gdb."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
from filmed import after, ended, events, faults, faulty, kinds, lines, value, variable
from heapscope.model.film import Film
from heapscope.model.snapshot import Snapshot, State
from heapscope.programs.go import run_go
from heapscope.recorders.gdb_recorder import FilmError, record_go

M = "main.main"
SHOUT = Path(__file__).with_name("shout.go").read_text("utf-8")

LENDS = """package main

/*
#include <stdlib.h>
#include <string.h>

static char *kept;

static int count(const char *from, int n) {
    return from[0] == 'a' ? n : 0;
}

static void keep(char *text) {
    kept = text;
}
*/
import "C"

import (
	"runtime"
	"unsafe"
)

func main() {
	b := []byte("banana")
	n := C.count((*C.char)(unsafe.Pointer(&b[0])), 6)
	C.memset(unsafe.Pointer(&b[1]), 'x', 2)
	var p runtime.Pinner
	p.Pin(&b[0])
	q := (*C.char)(unsafe.Pointer(&b[0]))
	C.keep(q)
	C.keep(nil)
	p.Unpin()
	_ = n
}
"""
LOAN = "b is lent to C.{} for this call: C may not keep its address"

# name -> (program, facts): as in test_film_c.py. A program without main is a cell.
PROGRAMS: dict[str, tuple[str, str]] = {
    "both heaps": (
        SHOUT,
        """lines(f)[:3] == [None, 24, 25]
        variable(f[0], 'in', M).state == 'unset'
        variable(after(f, 24), 'in', M).heap == 'c'
        variable(after(f, 24), 'in', M).type == '*C.char'
        [e.kind for e in after(f, 24).events] == ['copy']
        after(f, 24).events[0].args == (5,)
        'from Go to C' in after(f, 24).events[0].note
        'must free in with C.free' in after(f, 24).events[0].note
        after(f, 24).block('in').requested == 6
        after(f, 25).stack == ('shout', 'main.main')
        events(after(f, 9)) == ['out = malloc(7)']
        after(f, 25, 2).stack == ('main.main',)
        events(after(f, 26)) == ['s = C.GoString(out)']
        after(f, 26).events[0].args == (6,)
        'from C to Go' in after(f, 26).events[0].note
        variable(after(f, 26), 's', M).text == '"hello!"'
        variable(after(f, 26), 's', M).heap == 'go'
        [c for c, _ in variable(after(f, 27), 'b', M).cells] == ['ptr', 'len', 'cap']
        variable(after(f, 27), 'b', M).cells[1] == ('len', 6)
        variable(after(f, 28), 'out', M).state == 'dangling'
        after(f, 28).block('out').state is State.TCACHE
        [b.leaked for b in f.blocks] == [True, False]
        objects(after(f, 27))[0]['bytes'] == b'hello!'.hex()
        [h['name'] for h in objects(after(f, 27))[1]['held_by']] == ['b']
        owners(after(f, 27)) == {'in': 'C.CString', 'out': 'shout'}
        f.frames[-1].output == 'hello! 6\\n'
        ended(f) == 'exit 0'""",
    ),
    "a cell": (
        "p := C.malloc(24)\nC.free(p)\nx := 3\nfmt.Println(x)",
        """events(after(f, 1)) == ['p = malloc(24)']
        events(after(f, 2)) == ['free(p)']
        value(after(f, 3), 'x', M) == '3'""",
    ),
    "loans and pins": (
        LENDS,
        """events(after(f, 26)) == ['main.main calls count', LOAN.format('count')]
        after(f, 26).stack == ('count', 'main.main')
        [s.line for s in f.frames if lent(s) == ['count']] == [26, 10]
        events(after(f, 26, 2)) == ['C.count has returned: its loan is over']
        events(after(f, 27)) == [LOAN.format('memset')]
        lent(after(f, 27)) == ['memset']; lent(after(f, 28)) == []
        'b is pinned' in events(after(f, 29))[0]
        [s.line for s in f.frames if pinned(s)] == [29, 30, 31, 14, 31, 32, 14, 32]
        'pinned as it is, C may keep' in events(after(f, 31))[1]
        'no longer pinned' in events(after(f, 33))[0]
        ended(f) == 'exit 0'""",
    ),
    "where a copy comes from": (
        's := fmt.Sprint("ab", 1)\nt := C.CString(s)\nu := C.CString("fixed")\n'
        "C.free(unsafe.Pointer(t))\nC.free(unsafe.Pointer(u))",
        """after(f, 2).go['copies'] == [variable(after(f, 2), 's', M).value]
        [h['name'] for o in objects(after(f, 2)) if o.get('copied') for h in o['held_by']] == ['s']
        [o['bytes'] for o in objects(after(f, 3)) if o.get('copied')] == [b'fixed'.hex()]
        [o['where'] for o in objects(after(f, 3)) if o.get('copied')] == ['static']
        [e.text for e in after(f, 3).events] == ['u = C.CString(5 bytes)']""",
    ),
    "CBytes": (
        "b := []byte{1, 2, 3}\nc := C.CBytes(b)\nC.free(c)",
        """[e.kind for e in after(f, 2).events] == ['copy']
        after(f, 2).events[0].text == 'c = C.CBytes(3 bytes)'
        after(f, 2).block('c').requested == 3
        f.block('c').died_line == 3""",
    ),
    "GoStringN": (
        's := C.CString("abcdef")\nt := C.GoStringN(s, 3)\n'
        "fmt.Println(t)\nC.free(unsafe.Pointer(s))",
        """events(after(f, 2)) == ['t = C.GoStringN(s, 3 bytes)']
        variable(after(f, 2), 't', M).text == '"abc"'""",
    ),
    "a leak": (
        'for i := 0; i < 2; i++ {\n\ts := C.CString("x")\n\t_ = s\n}\nfmt.Println("done")',
        "[b.leaked for b in f.blocks] == [True, True]",
    ),
    "defer": (
        's := C.CString("abc")\ndefer C.free(unsafe.Pointer(s))\nfmt.Println(C.GoString(s))',
        "f.block('s').died is not None; ended(f) == 'exit 0'",
    ),
    "double free": (
        "p := C.malloc(24)\nC.free(p)\nC.free(p)",
        """list(faults(f)) == [3]
        f.frames[-1].line == 3
        f.frames[-1].block('p').user + 8 in [w.at for w in faulty(f.frames[-1])]
        f.frames[-1].stop.message == 'free(): double free detected in tcache 2'
        variable(after(f, 1), 'p', M).type == 'unsafe.Pointer'""",
    ),
    "use after free": (
        'p := (*[3]int64)(C.malloc(24))\nC.free(unsafe.Pointer(p))\np[0] = 7\nfmt.Println("x")',
        "list(faults(f)) == [3]; len(faulty(after(f, 3))) >= 1; not faulty(after(f, 2))",
    ),
    "overflow from Go": (
        "p := (*[32]byte)(C.malloc(24))\nq := C.malloc(24)\np[24] = 0xff\nfmt.Println(q != nil)",
        """list(faults(f)) == [3]
        [w.at for w in faulty(after(f, 3))] == [after(f, 3).block('q').user - 8]""",
    ),
    "C memory as a slice": (
        "p := C.malloc(16)\nv := unsafe.Slice((*byte)(p), 16)\nv[0] = 'x'\nw := v[4:8]\nC.free(p)\n"
        '_ = w\nfmt.Println("x")',
        """variable(after(f, 2), 'v', M).heap == 'c'
        variable(after(f, 2), 'v', M).cells[1:] == (('len', 16), ('cap', 16))
        variable(after(f, 4), 'w', M).value == variable(after(f, 4), 'v', M).value + 4
        variable(after(f, 5), 'w', M).state == 'dangling'
        'p written' in events(after(f, 3))""",
    ),
    "two slices of one array": (
        "var kept []int\nfunc keep(v []int) { kept = v }\n"
        "a := make([]int, 4)\nkeep(a)\nb := a[1:3]\n"
        "b[0] = 9\nfmt.Println(a, b)",
        """len(objects(after(f, 5))) == 1
        variable(after(f, 5), 'b', M).value == variable(after(f, 5), 'a', M).value + 8
        [h['offset'] for h in objects(after(f, 5))[0]['held_by'] if h['name'] == 'b'] == [8]""",
    ),
    "append moves": (
        "a := make([]byte, 2, 2)\nb := append(a, 1)\nfmt.Println(len(a), len(b))",
        "variable(after(f, 2), 'a', M).value != variable(after(f, 2), 'b', M).value",
    ),
    "GC": (
        "x := new(int)\nruntime.GC()\nruntime.GC()\nfmt.Println(*x)",
        """[e.kind for e in after(f, 2).events] == ['gc']
        gc(after(f, 3)) == 2""",
    ),
    "an owner with a pointer to C": (
        """package main

// #include <stdlib.h>
import "C"
import "fmt"

type owner struct {
	n    int
	data *C.char
}

func open(n int) *owner {
	return &owner{n, (*C.char)(C.malloc(C.size_t(n)))}
}

func main() {
	o := open(10)
	fmt.Println(o.n)
	o = nil
	fmt.Println("x")
}
""",
        """events(after(f, 17)) == ['main.main calls main.open']
        after(f, 17, 2).block('o.data').requested == 10
        f.blocks[0].leaked
        ended(f) == 'exit 0'""",
    ),
    "a cleanup": (
        """package main

// #include <stdlib.h>
import "C"
import (
	"runtime"
	"unsafe"
)

var freed = make(chan bool)

type owner struct{ p unsafe.Pointer }

func open() *owner {
	o := &owner{C.malloc(64)}
	runtime.AddCleanup(o, func(p unsafe.Pointer) {
		C.free(p)
		close(freed)
	}, o.p)
	return o
}

func main() {
	o := open()
	_ = o
	o = nil
	runtime.GC()
	<-freed
}
""",
        "'cleanup' in kinds(f); f.blocks[0].died_line == 17; 'gc' in kinds(f)",
    ),
    "a goroutine": (
        """package main

// #include <stdlib.h>
import "C"

func work(done chan bool) {
	p := C.malloc(100)
	C.free(p)
	done <- true
}

func main() {
	done := make(chan bool)
	go work(done)
	<-done
}
""",
        "('main.work',) in [s.stack for s in f.frames]; f.block('p').died_line == 8",
    ),
    "called back from C": (
        """package main

/*
#include <stdlib.h>
extern int twice(int);
static int ask(int n) { return twice(n) + 1; }
*/
import "C"
import "fmt"

//export twice
func twice(n C.int) C.int {
	return 2 * n
}

func main() {
	x := C.ask(20)
	fmt.Println(x)
}
""",
        """('main.twice', 'ask', 'main.main') in [s.stack for s in f.frames]
        value(after(f, 18), 'x', M) == '41'""",
    ),
    "panic": (
        'fmt.Println("before")\npanic("enough")',
        """ended(f) == 'exit 2'
        f.frames[-1].stop.message == 'panic: enough'
        f.frames[-1].line == 2""",
    ),
    "nil": (
        "var p *int\n*p = 1",
        """ended(f) == 'exit 2'
        f.frames[-1].line == 2
        'nil pointer dereference' in f.frames[-1].stop.message""",
    ),
    "without C": (
        'xs := []int{1, 2, 3}\nm := map[string]int{"a": 1}\nfmt.Println(xs, m["a"])',
        "f.frames[-1].output == '[1 2 3] 1\\n'; ended(f) == 'exit 0'",
    ),
    "deadlock": ("c := make(chan int)\n<-c", "'all goroutines are asleep' in f.frames[-1].output"),
    "os.Exit": ('fmt.Println("x")\nos.Exit(3)', "ended(f) == 'exit 3'"),
}


def objects(shot: Snapshot) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", shot.go["objects"])


def owners(shot: Snapshot) -> dict[str, str]:
    return cast("dict[str, str]", shot.go["c_blocks"])


def gc(shot: Snapshot) -> int:
    return cast("int", shot.go["gc"])


def pinned(shot: Snapshot) -> bool:
    return any(o.get("pinned") for o in objects(shot))


def lent(shot: Snapshot) -> list[str]:
    return [name for o in objects(shot) for name in o.get("lent", ())]


USED = (
    after,
    ended,
    events,
    faults,
    faulty,
    kinds,
    lines,
    value,
    variable,
    State,
    objects,
    owners,
    pinned,
    lent,
)
NAMES: dict[str, object] = {thing.__name__: thing for thing in USED} | {
    "gc": gc,
    "M": M,
    "LOAN": LOAN,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    text, facts = PROGRAMS[name]
    film = record_go(text, timeout=20)
    for fact in (part.strip() for line in facts.splitlines() for part in line.split("; ")):
        assert eval(fact, {**NAMES, "f": film}), f"{fact}\n{story(film)}"


def story(film: Film) -> str:
    return "\n".join(
        f"{shot.line} {shot.stack} {events(shot)} "
        f"{[(p.name, p.type, p.state, p.text, p.heap) for p in shot.pointers]} {shot.stop or ''}"
        for shot in film.frames
    )


@pytest.mark.parametrize("runs", [2, pytest.param(8, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["both heaps", "an owner with a pointer to C", "double free"])
def test_all_runs_give_the_same_bytes(name: str, runs: int) -> None:
    text, _ = PROGRAMS[name]
    films = [record_go(text, randomise=bool(n % 2), symbols=n % 4 in (1, 2)) for n in range(runs)]
    first, *others = [json.dumps(film.to_json(), indent=0).splitlines() for film in films]
    for other in others:
        assert other == first  # by lines: a failure says which


def test_film_survives_json() -> None:
    film = record_go(SHOUT)
    schema = resources.files("heapscope.model").joinpath("film.schema.json").read_text("utf-8")
    jsonschema.validate(film.to_json(), json.loads(schema))
    assert Film.from_json(json.loads(json.dumps(film.to_json()))) == film


def test_run_has_a_film() -> None:
    run = run_go('fmt.Println("x")')
    assert run.film.frames[-1].output == "x\n"


def test_limits_are_said() -> None:
    film = record_go("i := 0\nfor {\n\ti++\n}", frames=20)
    assert ended(film) == "stopped after 20 steps: use trace"
    film = record_go('fmt.Println("x")\ntime.Sleep(time.Hour)', timeout=1)
    assert ended(film) == "stopped after 1 s"


def test_what_does_not_compile_has_no_film() -> None:
    with pytest.raises(FilmError, match=r"does not compile(.|\n)*program\.go:1"):
        record_go("x := 1")
    with pytest.raises(ValueError, match="leave -race"):
        record_go("", flags="-race")
