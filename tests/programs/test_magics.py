"""The magics in a real IPython shell."""

import json
import re

import pytest
from heapscope.programs.result import Run
from heapscope.programs.verdict import Kind
from heapscope.teaching import attempt, magics, options
from heapscope.teaching.exercises import base
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output


@pytest.fixture
def shell():
    shell = InteractiveShell.instance()
    shell.reset()
    shell.user_ns["Table"] = "mine"
    magics.load_ipython_extension(shell)
    yield shell
    InteractiveShell.clear_instance()


def run(shell, cell):
    with capture_output() as captured:
        result = shell.run_cell(cell)
    return result, captured


def test_a_cell_shows_its_run_and_keeps_it_under_a_name(shell):
    result, captured = run(shell, '%%c first --flags -Wno-unused --timeout 5\nputs("hello");\n')
    assert result.success
    assert result.result is None
    bundle = captured.outputs[0].data
    assert bundle["text/plain"] == "hello"
    assert 'class="hs-run"' in bundle["text/html"]
    assert captured.stdout == ""
    assert isinstance(shell.user_ns["first"], Run)
    assert shell.user_ns["first"].source == 'puts("hello");\n'


def test_all_options_of_c(shell):
    line = (
        "%%c x --std c11 --flags '-DN=2 -O1' --cc clang --language c --under valgrind"
        " --stdin 'a\\nb' --args '1 2' --env K=v --env L=w --timeout 20"
    )
    cell = (
        "int n = 0;\nfor (int c; (c = getchar()) != EOF;)\n    n += c == '\\n';\n"
        'printf("%d %d %d %s%s", N, n, argc, getenv("K"), getenv("L"));\n(void)argv;\n'
    )
    result, _ = run(shell, f"{line}\n{cell}")
    assert result.success
    assert shell.user_ns["x"].stdout == "2 1 3 vw"
    assert "no leaks are possible" in shell.user_ns["x"].report


def test_a_cell_that_does_not_compile_is_an_error_of_one_sentence(shell):
    result, captured = run(shell, "%%c bad\nint x = oops;\n")
    assert not result.success
    assert "program.c:1:9: error: ‘oops’ undeclared" in captured.outputs[0].data["text/plain"]
    assert captured.stdout.strip() == (
        "The program does not compile. The compiler's message stands above."
    )
    assert not shell.user_ns["bad"].compiled


def test_unless_it_may_fail(shell):
    result, _ = run(shell, "%%go bad --may-fail\nx := 1\n")
    assert result.success
    assert "declared and not used" in shell.user_ns["bad"].diagnostics


def test_a_program_that_crashes_is_no_error_of_the_cell(shell):
    result, captured = run(shell, "%%c\nabort();\n")
    assert result.success
    assert captured.outputs[0].data["text/plain"] == "[killed by SIGABRT]"


def test_go(shell):
    result, captured = run(shell, "%%go g\nfmt.Println(C.sizeof_int)\n")
    assert result.success
    assert captured.outputs[0].data["text/plain"] == "4"
    assert shell.user_ns["g"].language == "go"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("c --flag -O2", "does not know --flag. Did you mean --flags? It knows --film, --check"),
        ("c --wibble", "%%c does not know --wibble. It knows --film, --check, --bench, --after"),
        (
            "c -O2",
            'does not know -O2. Options of the compiler stand in --flags, as in --flags "-O2"',
        ),
        ("go --std c17", "%%go does not know --std: it is C's."),
        ("c --race", "%%c does not know --race: it is Go's; in C try --flags -fsanitize=thread."),
        ("c --film=3", "--film takes no value"),
        ("c --film --bench", "--bench and --film do not go together: a film stops at each line"),
        ("c --check --under valgrind", "--check and --under do not go together: the check runs"),
        ("c --film --language c++", "a film is of a C or Go program"),
        ("go --exercise a --race", "an exercise is checked in any case"),
        ("c --against other", "--against compares two films: write --film --against other"),
        ("c --predict 2:Why?", "--predict asks within a film: write --film --predict"),
        ("c --film --predict Why?", "--predict takes the number of a line and a question"),
        ("c --film --predict 1:a --predict 1:b", "--predict asks twice about line 1"),
        ("c --film --predict 7:Why?", "line 7, which is not in the film. Lines that ran: 1."),
        (
            "c --after nowhere",
            "no earlier cell is called nowhere. No cell has a name yet.",
        ),
        ("c --after --film", "--after needs a name after it, not --film"),
        ("c --std c11 --std c17", "--std stands there twice"),
        ("c --exercise nothing-of-this-name", "no exercise is called 'nothing-of-this-name'"),
        ("c --check --flags -fsanitize=address", "leave -fsanitize out of the flags"),
        ("go --bench", "there is no benchmark in this program: write func BenchmarkName"),
        ("c a b", "takes one name, and here are two: a and b"),
        ("c 3x", "3x is not a name for a variable"),
        ("c --timeout soon", "--timeout is a number of seconds, not soon"),
        ("c --timeout 0", "--timeout is more than 0 seconds"),
        ("c --timeout nan", "--timeout is more than 0 seconds, and finite"),
        ("c --stdin", "--stdin needs a value after it"),
        ("c --env K", "--env takes NAME=value, not K"),
        ("c --cc tcc", "--cc is gcc or clang, not tcc"),
        ("c --stdin 'a", "A value with spaces stands in quotes"),
    ],
)
def test_a_wrong_line_is_answered_by_a_sentence(shell, line, sentence):
    result, captured = run(shell, f"%%{line}\nreturn 0;\n")
    assert not result.success
    assert sentence in captured.stdout
    assert "Traceback" not in captured.stdout


def test_help_lists_the_options_and_teaches_by_examples(shell):
    for magic in ("c", "go"):
        text = shell.magics_manager.magics["cell"][magic].__doc__
        assert all(f"--{option.name}" in text for option in options.known(magic))
        assert f"    %%{magic} --check" in text
        assert max(map(len, text.splitlines())) <= 100
    # Each line of the examples is one that the magic understands.
    for magic in ("c", "go"):
        for line in options.help_text(magic).splitlines():
            if line.startswith(f"    %%{magic} ") and "[" not in line:
                options.parse(line.split(f"%%{magic}")[1].split("   ")[0], magic)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%%c --ch", ["--check"]),
        ("%%c --film --a", ["--after", "--against", "--args"]),
        ("%%c --film --f", ["--flags"]),
        ("%%go --st", ["--stdin"]),
        ("%%c --cc ", ["gcc", "clang"]),
        ("%%c --cc c", ["clang"]),
        ("%%c --after tw", ["twice"]),
    ],
)
def test_options_are_completed(shell, text, expected):
    shell.user_ns["twice"] = Run(source="", language="c", compiled=True)
    shell.Completer.use_jedi = False
    _, matches = shell.complete(None, text, len(text))
    assert matches == expected


def test_runs_of_the_other_language_are_not_offered():
    assert options.complete("%%go --after ", "", {"twice": "c", "gone": "go"}) == ["gone"]


def test_check_shows_the_tools_side_by_side_and_keeps_the_run(shell):
    result, captured = run(shell, "%%c twice --check\nchar *p = malloc(9);\nfree(p);\nfree(p);\n")
    assert result.success
    (output,) = captured.outputs
    assert "Double free (plain glibc, ASan + UBSan and valgrind)." in output.data["text/plain"]
    assert '<span data-line="3">line 3: <code>free(p);</code></span>' in output.data["text/html"]
    twice = shell.user_ns["twice"]
    assert twice.signal == "SIGABRT"
    assert twice.check().asan == "attempting double-free"
    assert twice.check().valgrind == "Invalid free()"
    assert twice.check().warnings
    assert twice.check() is twice.check()


def test_after_puts_an_earlier_cell_in_front(shell):
    run(shell, "%%c first\nint x = 20;\n")
    result, _ = run(shell, "%%c second --after first\nreturn x + 2;\n")
    assert result.success
    assert shell.user_ns["second"].exit == 22
    _, captured = run(shell, "%%go --after first\n_ = 1\n")
    assert "first is a program in C, and this cell is one in GO" in captured.stdout


def test_race(shell):
    cell = "x := 0\ngo func() { x = 1 }()\nx = 2\ntime.Sleep(time.Millisecond)\n_ = x\n"
    _, captured = run(shell, f"%%go r --race\n{cell}")
    assert "WARNING: DATA RACE" in captured.outputs[0].data["text/plain"]
    assert shell.user_ns["r"].exit == 66


def test_bench_of_c_and_go(shell):
    _, captured = run(shell, "%%c b --bench\nfree(malloc(3));\n")
    assert "median" in captured.outputs[0].data["text/plain"]
    measure = shell.user_ns["b"].bench["program.c"]
    assert len(measure.values) == 11
    assert 0 < min(measure.values) <= measure.median <= max(measure.values)
    cell = (
        "var sink []byte\n\n"
        "func BenchmarkMake(b *testing.B) {\n\tfor b.Loop() {\n"
        "\t\tsink = make([]byte, 64)\n\t}\n}\n"
        "func BenchmarkC(b *testing.B) {\n\tfor b.Loop() {\n\t\tC.free(C.malloc(64))\n\t}\n}\n"
    )
    run(shell, f"%%go g --bench --args -test.benchtime=5ms\n{cell}")
    bench = shell.user_ns["g"].bench
    assert [m.name for m in bench.measures] == ["Make", "C"]
    assert (bench["Make"].bytes, bench["Make"].allocations) == (64, 1)
    assert bench["C"].allocations == 0
    assert bench["C"].median > bench["Make"].median / 100


def test_film_shows_the_run_and_then_the_film(shell):
    cell = 'char *p = malloc(9);\nfree(p);\nputs("ok");\n'
    result, captured = run(shell, f"%%c steps --film\n{cell}")
    assert result.success
    first, second = captured.outputs
    assert first.data["text/plain"] == "ok"
    assert "<heap-film" in second.data["text/html"]
    film = shell.user_ns["steps"].film
    assert film is shell.user_ns["steps"].film
    assert [shot.line for shot in film.frames][1:4] == [1, 2, 3]


def test_film_asks_at_the_first_time_that_a_line_has_run(shell):
    cell = "char *p = malloc(9);\nfor (int i = 0; i < 2; i++)\n    p[i] = 1;\nfree(p);\n"
    line = '%%c asked --film --predict "3: Which byte?" --predict "4: Where is it <now>?"'
    result, captured = run(shell, f"{line}\n{cell}")
    assert result.success
    html = captured.outputs[-1].data["text/html"]
    film = shell.user_ns["asked"].film
    assert film.title == "asked"
    lines = [shot.line for shot in film.frames]
    found = re.search(r'"questions":(\{[^}]*\})', html)
    assert found is not None
    asked = json.loads(found[1])
    assert asked == {
        str(lines.index(3)): "Which byte?",
        str(lines.index(4)): "Where is it <now>?",
    }


def test_against_shows_two_films_on_one_slider(shell):
    run(shell, "%%c faulty\nchar *p = malloc(9);\np[24] = 0x41;\nfree(p);\n")
    result, captured = run(
        shell, "%%c --film --against faulty\nchar *p = malloc(9);\np[8] = 0x41;\nfree(p);\n"
    )
    assert result.success
    assert '"other"' in captured.outputs[-1].data["text/html"]


def test_lines_of_a_check_lead_to_the_frames_of_its_film(shell):
    cell = "char *p = malloc(9);\nfree(p);\nfree(p);\n"
    _, captured = run(shell, f"%%c linked --film --check\n{cell}")
    html = [output.data["text/html"] for output in captured.outputs]
    targets = set(re.findall(r'<a href="#([\w-]+)" data-line="\d+">', html[-1]))
    assert targets
    assert all(target.startswith("film-linked-") for target in targets)
    numbers = {int(target.rpartition("-")[2]) for target in targets}
    film = shell.user_ns["linked"].film
    assert {film[number].line for number in numbers} <= {1, 2, 3}
    assert 'id="film-linked"' in html[1]


def test_what_cannot_be_filmed_is_a_sentence(shell):
    result, captured = run(shell, "%%c --film --flags -fsanitize=address\nreturn 0;\n")
    assert not result.success
    assert "leave -fsanitize out" in captured.stdout
    assert "Traceback" not in captured.stdout


START = """typedef struct { char *text; size_t len; } Str;

/* str_clone */

int main(void) {
    Str a = {malloc(6), 5};
    strcpy(a.text, "alice");
    Str b = str_clone(a);
    b.text[0] = 'A';
    printf("%s %s\\n", a.text, b.text);
    free(a.text);
    free(b.text);
}
"""
INCLUDES = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"


@pytest.fixture
def clone(monkeypatch):
    def checker(answer):
        return attempt.sound(
            answer, prints="alice Alice", hints={Kind.DOUBLE_FREE: "a and b hold one address."}
        )

    monkeypatch.setitem(base._checkers, "clone-test", (checker, str))


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (
            "Str str_clone(Str s) {\n    return s;\n}",
            "Not yet. ASan + UBSan: attempting double-free.",
        ),
        ("Str str_clone(Str s) {\n    return oops;\n}", "Not yet. It does not compile: line "),
        (
            'Str str_clone(Str s) {\n    return (Str){strdup("Xlice"), s.len};\n}',
            "Right. It prints 'alice Alice'. ASan + UBSan and valgrind found nothing",
        ),
        (
            'Str str_clone(Str s) {\n    return (Str){strdup("no"), s.len};\n}',
            "Not yet. It prints 'alice Ao', and 'alice Alice' is wanted.",
        ),
        (
            "Str str_clone(Str s) {\n    return (Str){strcpy(malloc(5), s.text), 5};\n}",
            "Not yet. ASan + UBSan: heap-buffer-overflow.",
        ),
    ],
)
def test_an_exercise_is_defined_once_and_answered_until_it_is_right(shell, clone, answer, verdict):
    _, captured = run(shell, f"%%c --exercise clone-test\n{INCLUDES}{START}")
    assert (
        "write what belongs in the place of /* str_clone */"
        in (captured.outputs[0].data["text/plain"])
    )
    result, captured = run(shell, f"%%c mine --exercise clone-test\n{answer}\n")
    assert result.success
    said = captured.outputs[-1].data
    assert said["text/plain"].startswith(verdict)
    assert said[base.MIME]["right"] is verdict.startswith("Right")
    assert shell.user_ns["mine"].source.count("str_clone(Str s)") == 1


def test_names_are_given_but_nothing_is_overwritten(shell):
    assert shell.user_ns["Table"] == "mine"
    assert shell.user_ns["run_c"]("return 4;").exit == 4
    assert set(magics._GIVEN) <= set(shell.user_ns)
