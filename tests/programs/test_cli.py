"""The command line as real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import heapscope
import pytest
from heapscope.model.film import Film
from heapscope.programs import go

BUG = (
    "#include <stdlib.h>\nint main(void) {\n    char *p = malloc(40);\n    free(p);\n"
    "    free(p);\n}\n"
)
FINE = "#include <stdlib.h>\nint main(void) {\n    free(malloc(40));\n}\n"


def heapscope_(*words, cwd, stdin=""):
    environment = os.environ | {"PYTHONPATH": str(Path(heapscope.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "heapscope", *map(str, words)],
        cwd=cwd,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bug.c").write_text(BUG)
    (tmp_path / "fine.c").write_text(FINE)
    return tmp_path


def test_check_of_a_bug(folder):
    done = heapscope_("check", "bug.c", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.startswith("Double free (plain glibc, ASan + UBSan and valgrind).\n")
    assert "line 5: free(p);" in done.stdout
    assert "‘p’ used after ‘free’" in done.stdout
    assert done.stderr == ""
    assert sorted(os.listdir(folder)) == ["bug.c", "fine.c"]


def test_check_of_a_program_without_fault(folder):
    done = heapscope_("check", "fine.c", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.startswith("No fault found by plain glibc, ASan + UBSan and valgrind.\n")


def test_check_as_json(folder):
    done = heapscope_("check", "bug.c", "--json", cwd=folder)
    assert done.returncode == 1
    form = json.loads(done.stdout)
    assert (form["kind"], form["file"], form["language"]) == ("double free", "bug.c", "c")


def test_check_of_go_and_of_cpp(folder):
    (folder / "lost.go").write_text(
        'package main\n\nimport "C"\n\nfunc main() {\n\tp := C.CString("x")\n\tprintln(p)\n}\n'
    )
    done = heapscope_("check", "lost.go", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.startswith("Leak (-asan); nothing from plain.")
    (folder / "odd.cpp").write_text("int main() {\n    int *p = new int[3];\n    delete p;\n}\n")
    done = heapscope_("check", "odd.cpp", cwd=folder)
    assert done.returncode == 1
    assert "ismatched free" in done.stdout


def test_headers_beside_the_program_standard_input_and_arguments(folder):
    (folder / "n.h").write_text("#define N 4\n")
    (folder / "in.txt").write_text("7")
    (folder / "all.c").write_text(
        '#include "n.h"\n#include <stdio.h>\n#include <string.h>\n'
        "int main(int argc, char **argv) {\n"
        "    return getchar() != '7' || argc != 3 || strcmp(argv[2], \"b c\") || N + M != 9;\n"
        "}\n"
    )
    done = heapscope_(
        *("check", folder / "all.c", "--stdin", "in.txt", "--args", "a 'b c'"),
        *("--flags=-DM=5", "--json", "--std", "c11"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [tool["run"]["exit"] for tool in json.loads(done.stdout)["tools"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check", "none.c"], "heapscope check: there is no file none.c"),
        (["film", "none.c"], "heapscope film: there is no file none.c"),
        (["check", "."], "has no ending; a program's name ends in .c or .go"),
        (["check", "notes.txt"], "notes.txt ends in .txt; a program's name ends in .c or .go"),
        (["check", "folder.c"], "folder.c is a folder, and a file is needed"),
        (["check", "latin.c"], "latin.c is not UTF-8 text"),
        (["check", "broken.c"], "broken.c does not compile; the compiler's words stand above"),
        (["check", "bug.c", "--stdin", "none"], "there is no file none"),
        (["check", "bug.c", "--timeout", "0"], "--timeout is more than 0 seconds, not 0"),
        (
            ["check", "bug.c", "--timeout", "soon"],
            "argument --timeout: invalid float value",
        ),
        (["check", "bug.c", "--args", "'a"], "--flags or --args: No closing quotation"),
        (["check", "bug.c", "--race"], "--race is for Go programs"),
        (["check", "bug.c", "--flags=-fsanitize=address"], "leave -fsanitize out of the flags"),
        (["check"], "the following arguments are required: FILE"),
        (["check", "bug.c", "--wibble"], "unrecognized arguments: --wibble"),
        (["film", "broken.c"], "broken.c:1:25: error: ‘oops’ undeclared"),
        (["film", "bug.c", "--frames", "0"], "--frames is at least 1, not 0"),
        (["wibble"], "invalid choice: 'wibble'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_misuse_is_answered_by_a_sentence_and_status_2(folder, words, sentence):
    (folder / "folder.c").mkdir()
    (folder / "latin.c").write_bytes(b"int main(void) { return '\xe9'; }\n")
    (folder / "broken.c").write_text("int main(void) { return oops; }\n")
    done = heapscope_(*words, cwd=folder)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_film_writes_one_page(folder):
    done = heapscope_("film", "bug.c", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"bug\.html: \d+ frames\n", done.stderr)
    page = (folder / "bug.html").read_text()
    assert "<heap-film" in page
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert heapscope_("film", "bug.c", "-o", "no/where.html", cwd=folder).returncode == 2


def test_film_as_json_and_of_go(folder):
    form = json.loads(heapscope_("film", "bug.c", "--json", cwd=folder).stdout)
    assert Film.from_json(form).file == "bug.c"
    (folder / "a.go").write_text('p := C.CString("x")\nC.free(unsafe.Pointer(p))\n')
    done = heapscope_("film", "a.go", "--json", "-o", "a.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Film.from_json(json.loads((folder / "a.json").read_text())).language == "go"


def test_help_teaches(folder):
    top = heapscope_("--help", cwd=folder).stdout
    assert {"film", "check", "doctor"} <= set(re.findall(r"^    (\w+)  ", top, re.MULTILINE))
    assert "exit status:" in top
    for command in ("film", "check", "doctor"):
        done = heapscope_(command, "--help", cwd=folder)
        assert done.returncode == 0
        assert "exit status" in done.stdout
    assert "heapscope check bug.c" in heapscope_("check", "--help", cwd=folder).stdout


def test_version_and_a_reader_that_has_seen_enough(folder):
    done = heapscope_("--version", cwd=folder)
    assert done.stdout == f"heapscope {heapscope.__version__}\n"
    environment = os.environ | {"PYTHONPATH": str(Path(heapscope.__file__).parents[1])}
    line = f"{sys.executable} -m heapscope check bug.c --json | true"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_doctor(folder):
    done = heapscope_("doctor", cwd=folder)
    assert "valgrind" in done.stdout
    assert done.returncode == (1 if "missing" in done.stdout else 0)


def test_doctor_leaves_nothing_at_home(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(go.cache_folder().parent.parent))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    heapscope_("doctor", cwd=folder)
    assert list((tmp_path / "home").iterdir()) == []
