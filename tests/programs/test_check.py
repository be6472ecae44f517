"""The table of programs under their tools, and how a check shows itself."""

import json
import shutil

import faults
import pytest
from heapscope.programs import crash, findings, runner
from heapscope.programs.c import run_c
from heapscope.programs.check import check_c, check_go
from heapscope.programs.go import run_go
from heapscope.programs.verdict import Kind, Source


def agrees(case, checks):
    assert checks.run.compiled, checks.run.diagnostics
    got = []
    for report, want in zip(checks.reports, case.says, strict=True):
        verdict = report.verdict
        line = f"@{verdict.at.line if verdict.at else None}" if "@" in want else ""
        got.append(verdict.kind.value + line)
        if verdict.fault and report.name != "plain":
            assert (verdict.allocated.line if verdict.allocated else None) == case.born, report.name
            assert (verdict.freed.line if verdict.freed else None) == case.died, report.name
    assert tuple(got) == case.says
    assert checks.fault == any(want != "none" for want in case.says)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", faults.C, ids=lambda case: case.name)
def test_c(case):
    agrees(case, check_c(case.text, **case.options))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", faults.GO, ids=lambda case: case.name)
def test_go(case):
    agrees(case, check_go(case.text, **{"timeout": 20, **case.options}))


def test_the_table_is_as_large_as_it_should_be():
    for cases, least in ((faults.C, 60), (faults.GO, 20)):
        assert len({case.name for case in cases}) == len(cases) >= least
        assert sum(set(case.says) == {"none"} for case in cases) >= 4


def test_a_data_race_is_found_where_there_is_one():
    text = (
        "func set(p *int) {\n\t*p = 1\n}\n\n"
        "x := 0\ndone := make(chan bool)\ngo func() { set(&x); close(done) }()\nx = 2\n<-done\n"
    )
    race = check_go(text)["race"].verdict
    assert race.kind is Kind.RACE
    assert {(race.at.line, race.at.function), (race.also.line, race.also.function)} == {
        (2, "set"),
        (8, "main"),
    }


def test_a_column_for_races_only_where_it_says_something():
    text = "done := make(chan bool)\ngo func() { close(done) }()\n<-done\n"
    assert [report.name for report in check_go(text).reports] == ["plain", "asan"]
    checks = check_go(text, race=True)
    assert [report.name for report in checks.reports] == ["plain", "asan", "race"]
    assert checks.race == ""
    assert not checks.fault


def test_functions_of_the_places():
    text = (
        "static char *make(void) {\n    return malloc(3);\n}\n\n"
        "static void drop(char *p) {\n    free(p);\n}\n\n"
        "char *p = make();\ndrop(p);\ndrop(p);\n"
    )
    checks = check_c(text)
    for name in ("asan", "valgrind"):
        verdict = checks[name].verdict
        places = [verdict.at, verdict.allocated, verdict.freed]
        assert [place.function for place in places] == ["drop", "make", "drop"]
    assert checks["plain"].verdict.at.function == "drop"
    signed = check_c("static int f(int x) {\n    return x + 1;\n}\nreturn f(INT_MAX) > 0;\n")
    assert (signed.verdict.at.line, signed.verdict.at.function) == (2, "f")


def test_what_was_printed_before_the_end_is_there():
    checks = check_c('puts("first");\nchar *p = malloc(3);\nfree(p);\nfree(p);\nputs("never");\n')
    assert checks.run.stdout == "first\n"
    assert checks["asan"].run.stdout == "first\n"


def test_a_leak_of_what_was_printed_last():
    # LeakSanitizer takes a word that a dead call left on the stack for a pointer.
    for text in (
        'char *p = strdup("x");\nputs(p);\n',
        'char *p = malloc(9);\nprintf("%p\\n", p);\n',
    ):
        assert check_c(text)["asan"].verdict.kind is Kind.LEAK


def test_several_findings_of_one_tool_in_the_order_of_the_program():
    checks = check_c(
        "int *p = malloc(8);\nif (*p)\n    p[2] = 1;\nelse\n    p[3] = 1;\n"
        "int *q = malloc(4);\nq = malloc(5);\n"
    )
    found = [(v.kind, (v.at or v.allocated).line) for v in checks["valgrind"].verdicts]
    assert found[0] == (Kind.UNINITIALISED, 2)
    assert found[1][0] is Kind.OVERFLOW
    assert found[2:] == [(Kind.LEAK, 1), (Kind.LEAK, 6), (Kind.LEAK, 7)]
    assert "leak, line 6" in str(checks)


def test_warnings_come_from_a_compile_that_knows_free():
    text = "char *p = malloc(3);\nfree(p);\nfree(p);\n"
    assert "-Wuse-after-free" not in run_c(text).warnings
    assert [str(warning) for warning in check_c(text).warnings] == [
        "line 3: pointer ‘p’ used after ‘free’ [-Wuse-after-free]"
    ]
    found = check_c("char *p = malloc(3);\np[0] = 0;\n", analyzer=True).warnings
    assert any("-Wanalyzer" in warning.text for warning in found)


def test_options_reach_every_run():
    text = (
        'char line[9] = "";\nif (!fgets(line, 9, stdin) || argc != 2) return 9;\n'
        'return strcmp(line, "in") || strcmp(argv[1], "a b") || strcmp(getenv("K"), "v") || N != 4;'
    )
    options = {"stdin": "in", "args": ["a b"], "env": {"K": "v"}, "flags": "-DN=4"}
    checks = check_c(text, **options)
    assert [report.run.exit for report in checks.reports] == [0, 0, 0]
    again = run_c(text, **options).check()
    assert [report.run.exit for report in again.reports] == [0, 0, 0]
    go = run_go('fmt.Println(os.Args[1], os.Getenv("K"))', args=["a b"], env={"K": "v"}).check()
    assert [report.run.stdout for report in go.reports] == ["a b v\n"] * 2


def test_a_program_that_does_not_compile():
    checks = check_c("int x = oops;\n")
    assert not checks.fault
    assert checks.reports == ()
    assert checks.to_json()["compiled"] is False
    assert "‘oops’ undeclared" in str(checks)
    assert str(checks).endswith("The program does not compile.")
    with pytest.raises(KeyError, match="it does not compile"):
        checks["asan"]


def test_a_program_without_end_is_stopped_everywhere():
    checks = check_c("volatile int go = 1;\nwhile (go)\n    ;\n", timeout=1)
    assert checks.plain == "stopped after 1 s"
    assert checks["plain"].verdict.kind is Kind.OTHER
    assert checks["valgrind"].missing == "not run: the plain program was stopped after 1 s"


def test_a_tool_that_is_not_installed_is_named(monkeypatch):
    find = runner.find_tool

    def without(name, install):
        if name == "valgrind":
            raise runner.MissingToolError(f"{name} is not installed: {install}")
        return find(name, install)

    monkeypatch.setattr(runner, "find_tool", without)
    which = shutil.which
    monkeypatch.setattr(crash.shutil, "which", lambda name: (name != "gdb" and which(name)) or None)
    checks = check_c("char *p = malloc(3);\nfree(p);\nfree(p);\n")
    assert checks["valgrind"].missing == "valgrind is not installed: apt-get install valgrind"
    assert checks["plain"].verdict.at is None
    assert checks.plain == "free(): double free detected in tcache 2"
    assert "valgrind is not installed" in str(checks)


def test_json_says_all_that_the_table_says():
    checks = check_c("char *p = malloc(40);\nfree(p);\nfree(p);\n")
    form = json.loads(json.dumps(checks.to_json()))
    assert (form["version"], form["fault"], form["kind"]) == (1, True, "double free")
    assert [tool["tool"] for tool in form["tools"]] == ["plain", "asan", "valgrind"]
    for tool in form["tools"][1:]:
        (verdict,) = tool["verdicts"]
        assert verdict["kind"] == "double free"
        assert verdict["at"] == {"line": 3, "function": "main", "text": "free(p);"}
        assert verdict["allocated"]["line"] == 1
        assert verdict["freed"]["line"] == 2
    assert form["tools"][0]["run"]["signal"] == "SIGABRT"
    assert form["warnings"][0]["line"] == 3


def test_the_check_itself_is_the_same_in_each_run():
    text = "char *p = malloc(40);\nint x = p[41];\nfree(p);\nfree(p);\nreturn x;\n"
    assert str(check_c(text)) == str(check_c(text))


def test_output_and_source_are_shown_as_text():
    text = (
        'printf("<script>alert(1)</script> & \\"quotes\\" `tick` \\x1b[31m \\xff \\x01\\n");\n'
        'char *p = malloc(3); /* <b> */ p[3] = "</td><img>"[0];\nfree(p);\n'
    )
    checks = check_c(text)
    html = checks._repr_html_()
    assert "<script>" not in html
    assert "<img>" not in html
    assert "<b>" not in html.replace("<br>", "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot; `tick`" in html
    assert "\\x1b[31m \\xff \\x01" in html
    for control in "\x1b\x01":
        assert control not in html
        assert control not in str(checks)
    assert checks["asan"].verdict.at.line == 2


def test_a_program_cannot_forge_a_verdict_by_printing_one():
    forged = (
        "==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\\n"
        "free(): double free detected in tcache 2\\n<error><kind>InvalidFree</kind></error>\\n"
    )
    assert not check_c(f'fputs("{forged}", stderr);\nputs("{forged}");\nreturn 1;\n').fault


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("free(): double free detected in tcache 2", Kind.DOUBLE_FREE),
        ("double free or corruption (fasttop)", Kind.DOUBLE_FREE),
        ("double free or corruption (!prev)", Kind.DOUBLE_FREE),
        ("double free or corruption (out)", Kind.INVALID_FREE),
        ("free(): invalid pointer", Kind.INVALID_FREE),
        ("munmap_chunk(): invalid pointer", Kind.INVALID_FREE),
        ("free(): invalid next size (normal)", Kind.CORRUPTED_HEAP),
        ("corrupted size vs. prev_size", Kind.CORRUPTED_HEAP),
        ("malloc(): unaligned tcache chunk detected", Kind.CORRUPTED_HEAP),
        ("malloc(): corrupted top size", Kind.CORRUPTED_HEAP),
        ("*** stack smashing detected ***: terminated", Kind.OVERFLOW),
        ("*** buffer overflow detected ***: terminated", Kind.OVERFLOW),
    ],
)
def test_words_of_glibc(message, kind):
    verdict = findings.glibc(f"something else\n{message}\n")
    assert (verdict.kind, verdict.text) == (kind, message)


def test_a_valgrind_report_that_was_cut_short():
    error = (
        "<error><kind>InvalidFree</kind><what>Invalid free() / delete / delete[] / realloc()</what>"
        "<stack><frame><fn>main</fn><file>program.c</file><line>2</line></frame></stack></error>"
    )
    source = Source("one\ntwo\n", "program.c")
    verdicts = findings.valgrind(f"<x>{error}\x01<error><kind>Inva", source)
    assert [(v.kind, v.text, v.at.line) for v in verdicts] == [
        (Kind.INVALID_FREE, "Invalid free()", 2)
    ]
    assert findings.valgrind("", source) == []


def test_names_of_functions_from_the_text():
    c = Source("static int f(int x) {\n  return x;\n}\nint main(void) {\n  f(1);\n}\n", "program.c")
    assert [c.function(line) for line in (1, 2, 4, 5)] == ["f", "f", "main", "main"]
    go = Source("func (b *Buf) Free() {\n\tx()\n}\n\nx := 1\n", "program.go")
    assert [go.function(line) for line in (2, 5)] == ["Free", "main"]
    assert c.place(99) is None


def test_flags_with_a_sanitizer_are_refused():
    with pytest.raises(ValueError, match="leave -fsanitize out"):
        check_c("return 0;", flags="-fsanitize=thread")
    with pytest.raises(ValueError, match="leave them out"):
        check_go("", flags="-race")
