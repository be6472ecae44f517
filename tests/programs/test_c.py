"""C programs through real compilers and tools."""

import re

import pytest
from heapscope.programs import runner
from heapscope.programs.c import run_c
from heapscope.programs.wrap import wrap_c


def test_statements_become_a_program():
    run = run_c('int *a = malloc(4);\n*a = 7;\nprintf("%d\\n", *a);\nfree(a);')
    assert (run.compiled, run.exit, run.signal) == (True, 0, None)
    assert (run.stdout, run.stderr, run.warnings, run.diagnostics) == ("7\n", "", "", "")
    assert run.ended() == "exit status 0"


def test_a_whole_program_stays_as_it_is():
    run = run_c("int main(void) { return sizeof(size_t); }")
    assert not run.compiled
    assert run.ended() == "not compiled"
    assert run.exit is None
    assert "‘size_t’ undeclared" in run.diagnostics
    assert run_c("#include <stddef.h>\nint main(void) { return sizeof(size_t); }").exit == 8


def test_functions_types_and_statics_may_stand_before_statements():
    run = run_c(
        "#include <ctype.h>\n"
        "struct pair {\n    int a, b;\n};\n"
        "static int base = 40;\n"
        "static int sum(struct pair p) {\n    return p.a + p.b + base;\n}\n"
        "struct pair p = {1, 1};\n"
        "if (isdigit('7')) printf(\"%d\\n\", sum(p));\n"
    )
    assert run.stdout == "42\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("int a = 1;\nint b = oops;\n", 2),
        ("#include <math.h>\n\nint a = 1;\nint f(int x) {\n    return x + oops;\n}\nf(a);", 5),
        ('// "main(" in a comment\nint a = 1;\n\n  oops();', 4),
        ("int main(void) {\n    return oops;\n}", 2),
    ],
)
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_messages_name_and_quote_the_cells_own_line(cc, text, line):
    # clang calls an undeclared function a warning in C17; as an error it names the same place.
    run = run_c(text, cc=cc, flags="-Werror")
    assert not run.compiled
    errors = re.findall(r"^(\S+?):(\d+):\d+: error: .*oops", run.diagnostics, re.MULTILINE)
    assert errors == [("program.c", str(line))]
    assert text.split("\n")[line - 1] in run.diagnostics
    assert "/tmp" not in run.diagnostics


def test_warnings_are_kept_short_and_in_full():
    run = run_c("int unused = 3;\nreturn 0;")
    assert run.warnings == "line 1: unused variable ‘unused’ [-Wunused-variable]"
    assert "program.c:1:5: warning:" in run.diagnostics
    assert run.exit == 0


def test_what_you_read_is_what_runs():
    leak = 'puts(malloc(PTRDIFF_MAX - 4096) ? "granted" : "NULL");'
    assert run_c(leak, cc="clang").stdout == "NULL\n"
    assert run_c(leak, cc="clang", flags="-O2").stdout == "granted\n"


def test_assertions_are_not_compiled_out():
    run = run_c("assert(1 == 2);")
    assert run.signal == "SIGABRT"
    assert run.stderr == "program: program.c:1: main: Assertion `1 == 2' failed.\n"


def test_arguments_input_and_environment():
    run = run_c(
        "char line[80];\nfgets(line, sizeof line, stdin);\n"
        'printf("%d %s %s %s", argc, argv[1], getenv("COLOUR"), line);',
        args="'one arg' two",
        stdin="read me\n",
        env={"COLOUR": "blue"},
    )
    assert run.stdout == "3 one arg blue read me\n"


def test_signals_and_glibcs_last_words():
    run = run_c("char *p = malloc(24);\nfree(p);\nfree(p);")
    assert (run.exit, run.signal) == (None, "SIGABRT")
    assert "double free" in run.stderr
    assert run.ended() == "killed by SIGABRT"
    assert run_c("*(volatile int *)8 = 1;").ended() == "killed by SIGSEGV"


def test_an_endless_program_is_stopped():
    run = run_c("for (;;) pause();", timeout=0.3)
    assert run.timed_out
    assert (run.exit, run.signal, run.ended()) == (None, None, "stopped after 0.3 s")


def test_c_plus_plus():
    text = "#include <stdlib.h>\nint main() { int *p = malloc(4); free(p); }"
    assert "invalid conversion" in run_c(text, language="c++").diagnostics
    run = run_c('std::string s = "x";\nputs(s.c_str());', language="c++", flags="-include string")
    assert run.stdout == "x\n"


def test_other_standards():
    assert run_c('printf("%ld", __STDC_VERSION__);', std="c11").stdout == "201112"
    assert run_c('printf("%ld", __STDC_VERSION__);').stdout == "201710"


STALE = 'int *a = malloc(20);\nfree(a);\nprintf("%d", a[1]);\n'


def check_report(report):
    assert not re.search(r"0x[0-9a-f]{5}|==\d|/tmp|pid", report)


def test_address_sanitizer_is_the_same_in_each_run():
    first, second = (run_c(STALE, flags="-fsanitize=address") for _ in range(2))
    assert first.report == second.report
    assert "heap-use-after-free on address @1" in first.report
    assert "#0 main program.c:3" in first.report
    assert first.report.splitlines()[-1].startswith("SUMMARY: AddressSanitizer")
    assert first.exit == 1
    assert first.stderr == ""
    check_report(first.report)


def test_address_sanitizer_finds_leaks():
    run = run_c("char *p = malloc(5);\np = NULL;\n(void)p;", flags="-fsanitize=address")
    assert "Direct leak of 5 byte(s)" in run.report
    check_report(run.report)


def test_undefined_behaviour_sanitizer():
    for flags in ("-fsanitize=undefined", "-fsanitize=address,undefined"):
        run = run_c("int i = INT_MAX;\ni++;\nreturn i == 0;", flags=flags)
        assert run.report.startswith("program.c:2:2: runtime error: signed integer overflow")
        assert run.stderr == ""


def test_memory_sanitizer():
    run = run_c(
        'int *a = malloc(40);\nif (a[0] > 5)\n    puts("more");\nfree(a);',
        cc="clang",
        flags="-fsanitize=memory",
    )
    assert "use-of-uninitialized-value" in run.report
    assert "#0 main program.c:2:5" in run.report
    check_report(run.report)


def test_a_sanitizer_whose_runtime_is_not_there():
    # Debian's clang comes without; here clang looks for it where there is nothing.
    flags = "-fsanitize=memory -resource-dir=/none/lib/clang/14.0.6"
    wanted = r"^clang's runtime for msan is not installed: apt-get install libclang-rt-14-dev$"
    with pytest.raises(runner.MissingToolError, match=wanted):
        run_c("int main(void) { return 0; }", cc="clang", flags=flags)


def test_a_sanitizer_that_cannot_name_lines():
    text = 'int *a = malloc(40);\nif (a[0] > 5)\n    puts("more");\nfree(a);'
    elsewhere = {"MSAN_OPTIONS": "external_symbolizer_path=/none/llvm-symbolizer"}
    with pytest.raises(runner.MissingToolError, match=r": apt-get install llvm$"):
        run_c(text, cc="clang", flags="-fsanitize=memory", env=elsewhere)


def test_a_sanitizer_that_gcc_does_not_have():
    run = run_c("return 0;", flags="-fsanitize=memory")
    assert run.diagnostics.startswith("gcc: error: unrecognized argument")


def test_valgrind_is_the_same_in_each_run():
    first, second = (run_c(STALE, under="valgrind") for _ in range(2))
    assert first.report == second.report
    assert "Invalid read of size 4\n   at main (program.c:3)\n" in first.report
    assert "ERROR SUMMARY: 1 errors" in first.report
    assert first.exit == 0
    check_report(first.report)
    clean = run_c("free(malloc(3));", under="valgrind")
    assert "All heap blocks were freed" in clean.report
    assert "ERROR SUMMARY: 0 errors" in clean.report


def test_peak_resident_size():
    small = run_c("return 0;").peak_rss
    large = run_c("memset(malloc(80 << 20), 1, 80 << 20);").peak_rss
    assert small < 30 << 20
    assert 80 << 20 < large < 110 << 20


@pytest.mark.parametrize("options", [{"cc": "tcc"}, {"language": "d"}, {"under": "gdb"}])
def test_unknown_values_are_refused(options):
    with pytest.raises(ValueError, match=r"not '(tcc|gdb)'|'d'"):
        run_c("return 0;", **options)


def test_unreadable_bytes_stay_visible():
    run = run_c(r'fputs("a\xff\x1b[31m\n", stdout);')
    assert run.stdout == "a\\xff\x1b[31m\n"
    assert str(run) == "a\\xff\\x1b[31m"


def test_the_display():
    run = run_c('puts("<b>");\nfputs("oh & no\\n", stderr);\nreturn 3;')
    bundle = run._repr_mimebundle_()
    assert bundle["text/plain"] == "<b>\nstderr | oh & no\n[exit status 3]"
    page = bundle["text/html"]
    assert "&lt;b&gt;" in page
    assert "oh &amp; no" in page
    assert page.index("&lt;b&gt;") < page.index("oh &amp; no") < page.index("[exit status 3]")
    assert str(run_c('puts("fine");')) == "fine"
    assert str(run_c("return 0;")) == "[exit status 0]"


def test_wrapping_keeps_literals_and_comments_apart_from_code():
    whole = wrap_c(
        "char *s = \"int main(void) { } // no\"; /* main( */\nputs(s);\nchar c = '{';", "p.c"
    )
    assert whole.count("int main(void)") == 2
    assert '#line 1 "p.c"' in whole
