"""The magics in a real IPython shell."""

import pytest
from heapscope.programs.result import Run
from heapscope.teaching import magics
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
        ("c --flag -O2", "%%c does not know --flag. It knows --std, --flags, --cc, --language"),
        ("go --std c17", "%%go does not know --std. It knows --flags, --stdin"),
        ("c --film", "%%c --film is planned and not there yet. What is there: --std"),
        ("c --check", "--check is planned and not there yet"),
        ("go --race", "--race is planned and not there yet"),
        ("go --bench", "--bench is planned and not there yet"),
        ("c a b", "takes one name, and here are two: a and b"),
        ("c 3x", "3x is not a name for a variable"),
        ("c --timeout soon", "--timeout is a number of seconds, not soon"),
        ("c --timeout 0", "--timeout is more than 0 seconds"),
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


def test_help_lists_the_options(shell):
    for magic, options in (("c", magics._C_OPTIONS), ("go", magics._GO_OPTIONS)):
        text = shell.magics_manager.magics["cell"][magic].__doc__
        assert all(f"--{option}" in text for option in (*options, "may-fail"))


def test_names_are_given_but_nothing_is_overwritten(shell):
    assert shell.user_ns["Table"] == "mine"
    assert shell.user_ns["run_c"]("return 4;").exit == 4
    assert set(magics._GIVEN) <= set(shell.user_ns)
