"""Programs that mean no good, through `run_c` and the check: we live, nothing stays, a sentence."""

import re
import tempfile
import time

import psutil
import pytest
from heapscope.programs.c import run_c
from heapscope.programs.check import check_c
from trust.programs import corruption, corruptions, runs

SLEEP = 86397  # seconds; no other process here sleeps for so long

ENDED = re.compile(r"exit status \d+|killed by SIG[A-Z]+|stopped (?:after|when) .+|not compiled")


def ours():
    """Return the processes that a test's program left behind."""
    found = []
    for process in psutil.process_iter(["exe", "cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("/program") and "heapscope-" in word for word in words):
            found.append(words)
    return found


@pytest.fixture(autouse=True)
def _tidy(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    mine = [words for words in ours() if any(str(tmp_path) in word for word in words)]
    assert mine == []
    assert list(tmp_path.iterdir()) == []


HOSTILE = {
    "infinite loop": ("volatile int go = 1;\nwhile (go)\n    ;\n", "stopped after 2 s"),
    "endless output": (
        'for (;;)\n    puts("more and more and more");\n',
        "stopped after 10,000,000 bytes of output",
    ),
    "memory eater": (
        "for (;;) {\n    char *p = malloc(16 << 20);\n    memset(p, 1, 16 << 20);\n}\n",
        "stopped when it held more than 2 GiB of memory",
    ),
    "signals ignored": (
        "for (int i = 1; i < 64; i++)\n    signal(i, SIG_IGN);\nfor (;;)\n    pause();\n",
        "stopped after 2 s",
    ),
    "detached grandchild": (
        f"if (fork() == 0) {{\n    setsid();\n    if (fork() == 0)\n        sleep({SLEEP});\n"
        '    _exit(0);\n}\nputs("gone");\n',
        "exit status 0",
    ),
    "grandchild that holds the output": (
        f'if (fork() == 0)\n    sleep({SLEEP});\nputs("gone");\n',
        "exit status 0",
    ),
    "deleted folder": (
        "char here[500];\nif (!getcwd(here, sizeof here)) return 1;\n"
        'char line[600];\nsnprintf(line, sizeof line, "rm -rf %s", here);\n'
        "return system(line) != 0;\n",
        "exit status 0",
    ),
    "unreadable folder": (
        'return system("mkdir a; touch a/b; chmod 0 a") != 0 || chdir("/") != 0;\n',
        "exit status 0",
    ),
    "itself killed": ("raise(SIGKILL);\n", "killed by SIGKILL"),
    "its parent killed": (
        "kill(getppid(), SIGKILL);\nsleep(1);\nreturn 7;\n",
        None,
    ),
    "endless recursion": (
        "static int deep(volatile int *n) {\n    volatile int more[100];\n    more[0] = *n + 1;\n"
        "    return deep(more) + more[0];\n}\nvolatile int n = 0;\nreturn deep(&n);\n",
        "killed by SIGSEGV",
    ),
    "stdout closed": (
        "fclose(stdout);\nclose(1);\nclose(2);\nclose(0);\nabort();\n",
        "killed by SIGABRT",
    ),
}


@pytest.mark.parametrize("name", [name for name, (_, ended) in HOSTILE.items() if ended])
def test_a_hostile_program_ends_with_a_sentence(name):
    text, ended = HOSTILE[name]
    start = time.monotonic()
    run = run_c(text, timeout=2 if "after 2 s" in ended else 20)
    assert run.compiled, run.diagnostics
    assert run.ended() == ended
    assert time.monotonic() - start < 30
    assert f"[{ended}]" in str(run) or run.stdout


def test_whoever_kills_the_supervisor_gets_a_sentence_too():
    from heapscope.programs.runner import RunnerError

    with pytest.raises(RunnerError, match="ended without an answer"):
        run_c(HOSTILE["its parent killed"][0])


@pytest.mark.parametrize("name", ["infinite loop", "detached grandchild", "deleted folder"])
def test_hostile_programs_under_the_tools(name):
    text, _ = HOSTILE[name]
    checks = check_c(text, timeout=2)
    for report in checks.reports:
        assert report.missing or ENDED.fullmatch(report.run.ended())
    assert checks.sentence().endswith(".")


CORRUPTED = 100


def test_a_hundred_corrupted_heaps():
    ends = {}
    seeds = range(CORRUPTED)
    for run in runs(corruptions(seeds), seeds):
        assert ENDED.fullmatch(run.ended())
        assert run.stopped is None or run.timed_out
        ends[run.ended()] = ends.get(run.ended(), 0) + 1
    assert sum(ends.values()) == CORRUPTED
    assert ends["killed by SIGABRT"] > 20  # they are corrupted indeed


def test_corrupted_heaps_under_the_tools():
    for seed in range(4):
        checks = check_c(corruption(seed), timeout=5)
        assert checks.fault
        assert checks["asan"].fault
        assert checks["valgrind"].fault


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("</pre></div><b>", "&lt;/pre&gt;&lt;/div&gt;&lt;b&gt;"),
        ("\\x1b[2J\\a\\b\\r\\x7f", "\\x1b[2J\\x07\\x08\\x0d\\x7f"),
        ("\\xff\\xfe\\xc3(\\xe2\\x82", "\\xff\\xfe\\xc3(\\xe2\\x82"),
        ("\\xe2\\x80\\xae", "\\u202e"),
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_shown_as_text(stream, written, shown):
    run = run_c(f'fputs("{written}", {stream});\n')
    html = run._repr_html_()
    assert shown in html
    assert not set("\x1b\x07\x08\r\x7f\u202e") & set(html + str(run))
