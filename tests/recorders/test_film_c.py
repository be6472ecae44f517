"""Films of C programs, through a real compiler and gdb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from filmed import after, ended, events, faults, faulty, kinds, lines, said, value, variable
from heapscope.model.film import Film
from heapscope.model.snapshot import State
from heapscope.programs import runner
from heapscope.programs.c import run_c
from heapscope.recorders import gdb_recorder
from heapscope.recorders.gdb_recorder import FilmError, record_c

# name -> (program, facts). A fact is a line of Python about the film `f`; each must be true.
PROGRAMS: dict[str, tuple[str, str]] = {
    "nothing": ("", "ended(f) == 'exit 0'; len(f) >= 1"),
    "malloc": (
        "char *a = malloc(24);",
        """variable(f[0], 'a').state == 'unset'
        variable(after(f, 1), 'a').state == 'ok'
        after(f, 1).block('a').requested == 24
        f.block('a').leaked
        lines(f) == [None, 1, None]""",
    ),
    "malloc and free": (
        'char *a = malloc(24);\nfree(a);\na = NULL;\nputs("x");',
        """events(after(f, 1)) == ['a = malloc(24)']
        events(after(f, 2)) == ['free(a)']
        after(f, 2).block('a').state is State.TCACHE
        variable(after(f, 2), 'a').state == 'dangling'
        variable(after(f, 3), 'a').state == 'null'
        f.block('a').died_line == 2
        f.frames[-1].output == 'x\\n'""",
    ),
    "a variable that moves on": (
        "char *p = malloc(24);\nchar *q = p;\np = malloc(40);\nq = p;\np = NULL;\nq = NULL;",
        """[b.name for b in f.blocks] == ['A', 'q']
        after(f, 3).block('q').requested == 24
        after(f, 4).block('A').requested == 24
        said(f, 4) == 'The block that q held before is A now.'
        after(f, 6).block('A').requested == 24
        'A and q were never freed.' in said(f, len(f) - 1)""",
    ),
    "malloc of nothing": (
        "char *a = malloc(0);\nfree(a);",
        "after(f, 1).block('a').requested == 0",
    ),
    "calloc": (
        "int *a = calloc(4, 8);\na[1] = 7;\nfree(a);",
        """events(after(f, 1)) == ['a = calloc(4, 8)']
        after(f, 1).block('a').requested == 32
        events(after(f, 2)) == ['a written']""",
    ),
    "realloc in place": (
        "char *a = malloc(24);\na = realloc(a, 100);\nfree(a);",
        """[e.note for e in after(f, 2).events] == ['same address']
        events(after(f, 2)) == ['a = realloc(a, 100)']
        len(f.block('a').places) == 2""",
    ),
    "realloc moves": (
        "char *a = malloc(24);\nchar *b = malloc(24);\na = realloc(a, 100);\nfree(a);\nfree(b);",
        """[e.note for e in after(f, 3).events] == ['moved']
        after(f, 3).block('a').at > after(f, 3).block('b').at
        len(f.blocks) == 2""",
    ),
    "realloc of NULL, and to nothing": (
        'char *a = realloc(NULL, 40);\nchar *b = realloc(a, 0);\nputs(b ? "" : "gone");',
        """events(after(f, 1)) == ['a = realloc(NULL, 40)']
        f.block('a').died_line == 2""",
    ),
    "reallocarray": (
        "int *a = reallocarray(NULL, 10, 4);\nfree(a);",
        "after(f, 1).block('a').requested == 40",
    ),
    "aligned_alloc": (
        "char *a = aligned_alloc(64, 128);\nfree(a);",
        "after(f, 1).block('a').user % 64 == 0; after(f, 1).block('a').requested == 128",
    ),
    "posix_memalign": (
        "void *a;\nint r = posix_memalign(&a, 64, 100);\nfree(a);",
        "after(f, 2).block('a').requested == 100; value(after(f, 2), 'r') == '0'",
    ),
    "too much": (
        'char *a = malloc((size_t)1 << 60);\nputs(a ? "yes" : "no");',
        """[e.errno for e in after(f, 1).events] == ['ENOMEM']
        variable(after(f, 1), 'a').state == 'null'""",
    ),
    "a mapping of its own": (
        'char *a = malloc(200000);\na[0] = 1;\nfree(a);\nputs("x");',
        """after(f, 1).block('a').state is State.MMAPPED
        'mmap 1' in [r.name for r in after(f, 2).regions]
        'mmap 1' not in [r.name for r in after(f, 3).regions]
        variable(after(f, 3), 'a').state == 'dangling'""",
    ),
    "strdup is yours": (
        'char *s = strdup("hello");\nfree(s);',
        """events(after(f, 1)) == ['s = strdup allocates 6 bytes']
        after(f, 1).block('s').requested == 6""",
    ),
    "asprintf is yours": (
        'char *s;\nint n = asprintf(&s, "%d!", 42);\nfree(s);',
        "after(f, 2).block('s').state is State.IN_USE; f.block('s').died_line == 3",
    ),
    "stdio's buffer is folded": (
        'printf("x\\n");\nchar *a = malloc(8);\nfree(a);',
        """[c.state for c in after(f, 1).chunks if c.state is State.FOLDED] == [State.FOLDED]
        [b.name for b in f.blocks] == ['a']
        after(f, 1).output == 'x\\n'""",
    ),
    "fopen is folded": (
        'FILE *file = fopen("/dev/null", "r");\nint c = fgetc(file);\nfclose(file);',
        "f.blocks == (); value(after(f, 2), 'c') == '-1'",
    ),
    "getline is yours": (
        "char *line = NULL;\nsize_t room = 0;\nssize_t n = getline(&line, &room, stdin);\n"
        "free(line);",
        "value(after(f, 3), 'n') == '6'; f.block('line').died_line == 4",
    ),
    "a list": (
        "struct node { int v; struct node *next; };\n"
        "struct node *a = malloc(sizeof *a);\na->v = 1;\n"
        "a->next = malloc(sizeof *a);\na->next->next = NULL;\nfree(a->next);\nfree(a);",
        """events(after(f, 4)) == ['a->next = malloc(16)']
        after(f, 4).block('a->next').requested == 16
        f.block('a->next').died_line == 6""",
    ),
    "own functions": (
        "static char *make(int n) {\n  char *p = malloc(n);\n  return p;\n}\n"
        "char *a = make(10);\nfree(a);",
        """after(f, 5).stack == ('make', 'main')
        events(after(f, 5)) == ['main calls make']
        value(after(f, 5), 'n', 'make') == '10'
        events(after(f, 2)) == ['p = malloc(10)']
        after(f, 5, 2).stack == ('main',)
        after(f, 5, 2).block('a').requested == 10""",
    ),
    "recursion": (
        "static int down(int n) {\n  if (n == 0)\n    return 0;\n  return 1 + down(n - 1);\n}\n"
        'int x = down(2);\nputs("x");',
        """max(len(s.stack) for s in f.frames) == 4
        'down (3)' in {p.scope for s in f.frames for p in s.pointers}
        value(after(f, 6, 2), 'x') == '2'""",
    ),
    "called back by qsort": (
        "static int less(const void *a, const void *b) {\n"
        "  int x = *(const int *)a, y = *(const int *)b;\n  return x - y;\n}\n"
        'int v[3] = {3, 1, 2};\nqsort(v, 3, sizeof v[0], less);\nputs("x");',
        """('less', 'main') in [s.stack for s in f.frames]
        value(f.frames[-2], 'v') == '{1, 2, 3}'""",
    ),
    "arrays and structs": (
        "struct { int n; char *p; } s = {3, NULL};\nchar *v[2] = {0};\nv[1] = malloc(5);\n"
        's.p = v[1];\nchar text[8] = "abc";\nfree(s.p);',
        """value(after(f, 1), 's.n') == '3'
        variable(after(f, 1), 's.p').state == 'null'
        after(f, 3).block('v[1]').requested == 5
        value(after(f, 5), 'text') == '"abc"'
        variable(after(f, 6), 's.p').state == 'dangling'""",
    ),
    "elements that were not set": (
        'int v[3];\nv[1] = 5;\nputs("x");',
        "value(f.frames[-2], 'v') == '{?, 5, ?}'; variable(f[0], 'v').state == 'unset'",
    ),
    "kinds of numbers": (
        "double d = 1.5;\nfloat e = 0.25f;\n_Bool yes = 1;\nunsigned char c = 'A';\n"
        'enum { RED, BLUE } k = BLUE;\nlong n = -5;\nputs("x");',
        """value(f.frames[-2], 'd') == '1.5'
        value(f.frames[-2], 'e') == '0.25'
        value(f.frames[-2], 'yes') == 'true'
        value(f.frames[-2], 'c') == "'A'"
        value(f.frames[-2], 'k') == 'BLUE'
        value(f.frames[-2], 'n') == '-5'""",
    ),
    "pointers elsewhere": (
        'int x = 1;\nint *p = &x;\nconst char *t = "text";\nFILE *o = stdout;\nputs("x");',
        """variable(after(f, 2), 'p').heap == 'stack'
        variable(after(f, 3), 't').heap == 'static'
        variable(after(f, 3), 't').text == '"text"'
        variable(after(f, 4), 'o').heap == 'static'""",
    ),
    "globals": (
        "#include <stdlib.h>\nstatic char *kept;\nint main(void) {\n  kept = malloc(9);\n"
        "  return 0;\n}\n",
        """variable(after(f, 4), 'kept', '').state == 'ok'
        after(f, 4).block('kept').requested == 9""",
    ),
    "a loop on one line": (
        "char *a = malloc(100000);\nfor (int i = 0; i < 100000; i++) a[i] = 1;\nfree(a);",
        "lines(f).count(2) == 1",
    ),
    "the same address again": (
        "char *a = malloc(24);\nfree(a);\nchar *b = malloc(24);\nfree(b);",
        """events(after(f, 3)) == ['b = malloc(24)']
        after(f, 3).block('b').at == after(f, 1).block('a').at
        variable(after(f, 3), 'a').state == 'dangling'
        [b.name for b in f.blocks] == ['a', 'b']""",
    ),
    "blocks that elements hold": (
        "struct item { int id; char *text; };\n"
        "static void fill(struct item *all)\n{\n    all[1].text = malloc(9);\n}\n"
        "struct item *all = calloc(2, sizeof *all);\nfill(all);\n"
        "char **words = calloc(3, sizeof *words);\nwords[2] = malloc(5);\n",
        """lines(f) == [None, 6, 7, 4, 7, 8, 9, None]
        after(f, 4).block('all[1].text').requested == 9
        after(f, 9).block('words[2]').requested == 5""",
    ),
    "a variable of a block entered anew": (
        "int sum = 0;\nfor (int i = 0; i < 2; i++)\n    sum += i;\n"
        "for (int i = 7; i < 8; i++)\n    sum += i;\n",
        """variable(after(f, 2, 3), 'i').state == 'unset'
        value(after(f, 4), 'i') == '7'""",
    ),
    "leak": (
        'char *a = malloc(24);\na = malloc(30);\nfree(a);\nputs("x");',
        """[b.leaked for b in f.blocks] == [True, False]
        after(f, 2).block('a').requested == 30""",
    ),
    "double free": (
        "char *a = malloc(24);\nfree(a);\nfree(a);",
        """ended(f) == 'SIGABRT'
        f.frames[-1].line == 3
        f.frames[-1].stop.message == 'free(): double free detected in tcache 2'
        [w.at for w in faulty(f.frames[-1])] == [f.frames[-1].block('a').user + 8]
        faults(f) == {3: ['free(a): a is free already: line 2 has freed it']}
        f.block('a').marks[-1].frame == len(f) - 1""",
    ),
    "double free that glibc does not see": (
        "char *v[9];\nfor (int i = 0; i < 9; i++) v[i] = malloc(24);\n"
        "for (int i = 0; i < 7; i++) free(v[i]);\nfree(v[7]);\n"
        'free(v[8]);\nfree(v[7]);\nputs("x");',
        "list(faults(f)) == [6]; f.frames[-1].stop.message.startswith('malloc_consolidate')",
    ),
    "use after free, a write": (
        'char *a = malloc(24);\nfree(a);\nstrcpy(a, "oops");\nputs("x");',
        """list(faults(f)) == [3]
        after(f, 3).block('a').user in [w.at for w in faulty(after(f, 3))]
        not faulty(after(f, 2))""",
    ),
    "use after free that malloc falls for": (
        "long *a = malloc(24);\nlong *b = malloc(24);\nfree(b);\nfree(a);\na[0] = 1;\n"
        'char *c = malloc(24);\nputs(c ? "x" : "");',
        "list(faults(f)) == [5]; events(after(f, 6)) == ['c = malloc(24)']",
    ),
    "overflow by one byte": (
        "char *a = malloc(24);\nchar *b = malloc(24);\nmemset(a, 'A', 25);\nfree(b);\nputs(\"x\");",
        """faults(f) == {3: ['1 byte written past the end of a, which has 24 bytes']}
        [w.at for w in faulty(after(f, 3))] == [after(f, 3).block('b').user - 8]
        not faulty(after(f, 2))""",
    ),
    "overflow by eight bytes": (
        "char *a = malloc(24);\nchar *b = malloc(24);\nmemset(a, 'A', 32);\nfree(b);",
        """faults(f) == {3: ['8 bytes written past the end of a, which has 24 bytes']}
        [w.at for w in faulty(after(f, 3))] == [after(f, 3).block('b').user - 8]
        ended(f) == 'SIGABRT'; f.frames[-1].line == 4""",
    ),
    "overflow into the slack": (
        "char *a = malloc(20);\nmemset(a, 'A', 21);\nputs(\"x\");",
        """faults(f) == {2: ['1 byte written past the end of a, which has 20 bytes']}
        [w.at for w in faulty(after(f, 2))] == [after(f, 2).block('a').user + 16]""",
    ),
    "overflow into top": (
        'char *a = malloc(24);\nmemset(a, 255, 32);\nchar *b = malloc(24);\nputs(b ? "x" : "");',
        "list(faults(f)) == [2]; ended(f) == 'SIGABRT'; f.frames[-1].line == 3",
    ),
    "write in front": (
        'long *a = malloc(24);\na[-1] = 7;\nputs("x");',
        "faults(f) == {2: ['the size word in front of a was overwritten']}",
    ),
    "free of the middle": (
        "char *a = malloc(24);\nfree(a + 8);",
        "list(faults(f)) == [2]; ended(f) == 'SIGABRT'; '8 bytes into a' in faults(f)[2][0]",
    ),
    "free of the stack": (
        "int x = 0;\nint *p = &x;\nfree(p);",
        "list(faults(f)) == [3]; 'on the stack' in faults(f)[3][0]; f.frames[-1].line == 3",
    ),
    "free of a literal": (
        'char *p = "text";\nfree(p);',
        "list(faults(f)) == [2]; 'not on the heap' in faults(f)[2][0]",
    ),
    "realloc misused": (
        "char *a = malloc(24);\nchar *b = malloc(24);\nchar *c = realloc(a, 2000);\n"
        'strcpy(a, "old");\nfree(b);\nfree(c);',
        """list(faults(f)) == [4]
        faults(f)[4] == ['4 bytes written where a was before realloc moved it']
        len(faulty(after(f, 4))) == 1
        variable(after(f, 3), 'a').state == 'dangling'""",
    ),
    "what realloc leaves behind": (
        "char *a = malloc(40);\nmemset(a, 'Q', 40);\nchar *b = malloc(24);\na = realloc(a, 3000);\n"
        "free(a);\nfree(b);",
        "b'QQQQQQQQ' in [w.data for w in after(f, 4).words if w.role == 'stale']; not faults(f)",
    ),
    "read before a write": (
        'int *a = malloc(16);\nint x = a[2];\nfree(a);\nputs("x");',
        """list(faults(f)) == [2]
        [w.at for w in faulty(after(f, 2))] == [after(f, 2).block('a').user + 8]""",
    ),
    "read after a write": (
        "int *a = malloc(16);\na[2] = 0;\nint x = a[2];\nint *b = calloc(1, 16);\nint y = b[0];\n"
        'int *c = malloc(8);\nmemset(c, 0, 8);\nint z = *c;\nprintf("%d\\n", x + y + z);',
        "faults(f) == {}",
    ),
    "NULL is read": (
        "int *p = NULL;\n*p = 1;",
        """ended(f) == 'SIGSEGV'
        f.frames[-1].line == 2
        variable(f.frames[-1], 'p').state == 'null'""",
    ),
    "a variable without a value": (
        'char *p;\nif (0) p = NULL;\nputs("x");',
        "variable(f.frames[-2], 'p').state == 'unset'; variable(f.frames[-2], 'p').value is None",
    ),
    "exit from a function": (
        "static void stop(void) {\n  exit(7);\n}\nchar *a = malloc(8);\nstop();",
        "ended(f) == 'exit 7'; f.frames[-1].stack == ('stop', 'main'); f.block('a').leaked",
    ),
    "_exit loses what waits": (
        'printf("no newline");\n_exit(0);',
        """after(f, 1).output == 'no newline'
        f.frames[-1].output == ''
        '10 bytes of stdout were never written' in events(f.frames[-1])""",
    ),
    "stderr": (
        'fprintf(stderr, "one\\n");\nprintf("two\\n");\nputs("");',
        "after(f, 1).output == 'one\\n'; after(f, 2).output == 'one\\ntwo\\n'",
    ),
    "a signal that is handled": (
        'static void on(int s) {\n  (void)s;\n}\nsignal(SIGUSR1, on);\nraise(SIGUSR1);\nputs("x");',
        "('on', 'main') in [s.stack for s in f.frames]; ended(f) == 'exit 0'",
    ),
    "abort": ("abort();", "ended(f) == 'SIGABRT'; f.frames[-1].line == 1"),
    "killed outright": ("raise(SIGKILL);", "ended(f) == 'SIGKILL'"),
    "assert": (
        "int x = 1;\nassert(x == 2);",
        "ended(f) == 'SIGABRT'; \"Assertion `x == 2' failed\" in f.frames[-1].stop.message",
    ),
    "fork": (
        "char *a = malloc(8);\npid_t child = fork();\nif (child == 0) _exit(3);\n"
        "int status;\nwait(&status);\nint code = WEXITSTATUS(status);\nfree(a);",
        "value(after(f, 6), 'code') == '3'; ended(f) == 'exit 0'",
    ),
    "another program": (
        'int status = system("exit 4");\nint code = WEXITSTATUS(status);\nputs("x");',
        "value(after(f, 2), 'code') == '4'; ended(f) == 'exit 0'",
    ),
    "a thread": (
        "static void *work(void *arg) {\n"
        "  char *p = malloc(24);\n  *p = *(char *)arg;\n  free(p);\n"
        "  return NULL;\n}\nchar c = 'x';\npthread_t t;\npthread_create(&t, NULL, work, &c);\n"
        'pthread_join(t, NULL);\nputs("x");',
        """after(f, 2).stack == ('work',)
        after(f, 2).block('p').arena.startswith('thread')
        f.block('p').died_line == 4""",
    ),
    "input": (
        'int n;\nscanf("%d", &n);\nputs("x");',
        "value(after(f, 2), 'n') == '42'",
    ),
    "bytes that are no text": (
        'printf("\\xff<script>\\x1b\\n");\nputs("x");',
        "f.frames[-1].output == '\\\\xff<script>\\x1b\\nx\\n'",
    ),
    "a corrupted heap to the end": (
        "char *a = malloc(64);\n"
        "char *b = malloc(64);\nfor (int i = -600; i < 400; i++) a[i] = 0x5a;\n"
        'puts(b ? "x" : "");',
        "len(f.frames[-1].faults) >= 1; f.frames[-1].stop is not None",
    ),
}

INPUT = {"getline is yours": "hello\nworld\n", "input": "42\n"}
USED = (after, ended, events, faults, faulty, kinds, lines, said, value, variable, State)
NAMES: dict[str, object] = {thing.__name__: thing for thing in USED}


def film_of(text: str, **options: object) -> Film:
    return record_c(text, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    text, facts = PROGRAMS[name]
    film = film_of(text, stdin=INPUT.get(name, ""))
    assert film.frames[-1].stop is not None
    for fact in (part.strip() for line in facts.splitlines() for part in line.split("; ")):
        assert eval(fact, {**NAMES, "f": film}), f"{fact}\n{story(film)}"


def story(film: Film) -> str:
    return "\n".join(
        f"{shot.line} {shot.stack} {events(shot)} "
        f"{[(p.scope, p.name, p.state, p.text, p.heap) for p in shot.pointers]} {shot.stop or ''}"
        for shot in film.frames
    )


CANONICAL: tuple[str, ...] = (
    "a list",
    "called back by qsort",
    "pointers elsewhere",
    "a mapping of its own",
)
CANONICAL += (
    "double free",
    "overflow by eight bytes",
    "realloc misused",
    "fopen is folded",
)


@pytest.mark.parametrize("runs", [2, pytest.param(8, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", CANONICAL)
def test_all_runs_give_the_same_bytes(name: str, runs: int) -> None:
    text, _ = PROGRAMS[name]
    films = [film_of(text, randomise=bool(n % 2), symbols=n % 4 in (1, 2)) for n in range(runs)]
    first, *others = [json.dumps(film.to_json(), indent=0).splitlines() for film in films]
    for other in others:
        assert other == first  # by lines: a failure says which


def test_table_of_a_block() -> None:
    film = film_of('char *a = malloc(24);\nstrcpy(a, "hi *x* |y|");\nfree(a);\n')
    table = film.table("a", ("first", "second"))
    shown = table._repr_mimebundle_()["text/html"]
    assert (
        '<th scope="col">first</th><th scope="col">second</th><th scope="col">byte 16</th>' in shown
    )
    assert '<td><code>strcpy(a, "hi *x* |y|");</code></td><td>in use</td>' in shown
    assert "<td>free, in tcache</td><td>link → ∅</td><td>key</td>" in shown
    assert repr(table).splitlines()[3].split("  ")[0] == 'strcpy(a, "hi *x* |y|");'


def test_film_survives_json() -> None:
    film = film_of(PROGRAMS["realloc misused"][0])
    schema = resources.files("heapscope.model").joinpath("film.schema.json").read_text("utf-8")
    jsonschema.validate(film.to_json(), json.loads(schema))
    assert Film.from_json(json.loads(json.dumps(film.to_json()))) == film


def test_main_arena_is_found_by_symbol_and_by_its_look(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}
    read = gdb_recorder._messages

    def listen(log: Path) -> object:
        for message in read(log):
            if message["t"] == "start":
                seen[message["how"]] = message["arena"] - message["libc"][1]
            yield message

    monkeypatch.setattr(gdb_recorder, "_messages", listen)
    film_of("char *a = malloc(8);")
    film_of("char *a = malloc(8);", symbols=True)
    assert set(seen.values()) == {seen["scan"]}
    if Path("/usr/lib/debug/.build-id").is_dir():
        assert "symbol" in seen


def test_a_static_program_is_filmed_too() -> None:
    film = film_of('char *a = malloc(24);\nfree(a);\nputs("x");', flags="-static")
    assert events(after(film, 1)) == ["a = malloc(24)"]
    assert after(film, 2).block("a").state is State.TCACHE


def test_an_optimised_program_is_filmed_too() -> None:
    film = film_of(PROGRAMS["own functions"][0], flags="-O2")
    assert ended(film) == "exit 0"


def test_limits_are_said() -> None:
    text = "volatile int i = 0;\nwhile (1) {\n  i++;\n}"
    film = film_of(text, frames=20)
    assert len(film) == 21
    assert ended(film) == "stopped after 20 steps: use trace"
    started = time.monotonic()
    film = film_of('puts("x");\nfor (volatile int i = 0; ; i++);', timeout=1)
    assert ended(film) == "stopped after 1 s"
    assert film.frames[-1].line == 2
    assert film.frames[-1].stack == ("main",)
    assert time.monotonic() - started < 8


def test_a_program_that_waits_is_stopped() -> None:
    film = film_of("sleep(100);", timeout=1)
    assert ended(film) == "stopped after 1 s"


def test_endless_output_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdb_recorder, "MOST_OUTPUT", 100_000)
    film = film_of('for (int i = 0; ; i++) puts("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");')
    assert ended(film) == "stopped after 100,000 bytes of output"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    mark = f"heapscope-left-{os.getpid()}"
    text = (
        f'if (fork() == 0) {{ setsid(); if (fork() == 0) {{ execlp("sleep", "{mark}", "60", '
        "(char *)0); } _exit(0); }\nsignal(SIGTERM, SIG_IGN);\nwhile (1) pause();"
    )
    film = film_of(text, timeout=1)
    assert ended(film) == "stopped after 1 s"
    assert list(tmp_path.iterdir()) == []
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert mark not in running.stdout


def test_a_missing_gdb_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "gdb" else "/usr/bin/gcc")
    with pytest.raises(
        runner.MissingToolError, match=r"^gdb is not installed: apt-get install gdb$"
    ):
        film_of("")


def test_what_does_not_compile_has_no_film() -> None:
    with pytest.raises(FilmError, match=r"does not compile(.|\n)*program\.c:1"):
        film_of("int x = ;")
    with pytest.raises(ValueError, match="leave -fsanitize out"):
        film_of("", flags="-fsanitize=address")


def test_run_has_a_film() -> None:
    run = run_c("char *a = malloc(24);\nfree(a);")
    assert run.film is run.film
    assert kinds(run.film)[:2] == ["malloc", "free"]


def test_addresses_may_stay_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where personality() is denied, as in Docker, nothing else changes."""
    text, _ = PROGRAMS["a list"]
    once: Callable[..., runner.Outcome] = runner.run

    def denied(*args: object, **options: object) -> runner.Outcome:
        return once(*args, **{**options, "randomise": True})

    plain = film_of(text)
    monkeypatch.setattr(runner, "run", denied)
    assert film_of(text) == plain
