"""Programs that mean no good, in C and Go, and how each has to end.

`ENDED` of `run_c` and `run_go` is a pattern. `SECONDS` is when one that does not end is stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from heapscope.programs import runner
from heapscope.programs.c import compile_c, execute, find_compiler
from heapscope.programs.result import Run

SECONDS = 2
SLEEP = 86391
STOPPED = rf"stopped after {SECONDS} s"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A program; `ends` says whether it ends by itself, also without limits."""

    name: str
    text: str
    ended: str
    ends: bool = True
    timeout: float = 20
    leaves: bool = False  # a process that goes on, by its own will


def _c(name: str, text: str, ended: str, **how: object) -> Hostile:
    return Hostile(name, text, ended, **how)  # type: ignore[arg-type]


C = (
    _c(
        "infinite loop",
        "volatile int go = 1;\nwhile (go)\n    ;\n",
        STOPPED,
        ends=False,
        timeout=SECONDS,
    ),
    _c(
        "endless output",
        'for (;;)\n    puts("more and more and more");\n',
        "stopped after 10,000,000 bytes of output",
        ends=False,
    ),
    _c(
        "endless output to stderr",
        'for (;;)\n    fputs("more and more and more", stderr);\n',
        "stopped after 10,000,000 bytes of output",
        ends=False,
    ),
    _c(
        "memory eater",
        "for (;;) {\n    char *p = malloc(16 << 20);\n    memset(p, 1, 16 << 20);\n}\n",
        "stopped when it held more than 2 GiB of memory",
        ends=False,
    ),
    _c(
        "all signals ignored",
        "for (int i = 1; i < 64; i++)\n    signal(i, SIG_IGN);\nfor (;;)\n    pause();\n",
        STOPPED,
        ends=False,
        timeout=SECONDS,
    ),
    _c(
        "detached twice",
        f"if (fork() == 0) {{\n    setsid();\n    if (fork() == 0)\n        sleep({SLEEP});\n"
        '    _exit(0);\n}\nputs("gone");\n',
        "exit status 0",
        leaves=True,
    ),
    _c(
        "child holds the output",
        f'if (fork() == 0)\n    sleep({SLEEP});\nputs("gone");\n',
        "exit status 0",
        leaves=True,
    ),
    _c(
        "a file without end",
        'FILE *f = fopen("big", "w");\nchar b[65536];\nmemset(b, 1, sizeof b);\n'
        "for (;;)\n    fwrite(b, sizeof b, 1, f);\n",
        "killed by SIGXFSZ",
        ends=False,
    ),
    _c(
        "files without end",
        "static char b[1 << 20];\nmemset(b, 1, sizeof b);\nfor (int i = 0;; i++) {\n"
        "    char n[20];\n"
        '    sprintf(n, "f%d", i);\n    FILE *f = fopen(n, "w");\n'
        "    for (int k = 0; f && k < 60; k++)\n        fwrite(b, sizeof b, 1, f);\n"
        "    if (f)\n        fclose(f);\n}\n",
        "stopped when its files took more than 1 GiB",
        ends=False,
    ),
    _c(
        "deletes its folder",
        "char here[500];\nif (!getcwd(here, sizeof here))\n    return 1;\n"
        'char line[600];\nsnprintf(line, sizeof line, "rm -rf %s", here);\n'
        "return system(line) != 0;\n",
        "exit status 0",
    ),
    _c(
        "a file in its folder's place",
        "char here[500];\nif (!getcwd(here, sizeof here))\n    return 1;\n"
        'char line[1200];\nsnprintf(line, sizeof line, "rm -rf %s; echo > %s", here, here);\n'
        "return system(line) != 0;\n",
        "exit status 0",
    ),
    _c(
        "a folder without rights",
        'return system("mkdir a; touch a/b; chmod 0 a; chmod 0 .") != 0 || chdir("/") != 0;\n',
        "exit status 0",
    ),
    _c(
        "a mount in its folder",
        '#include <sys/mount.h>\nif (mount("none", ".", "tmpfs", 0, "size=1m")) {\n'
        '    perror("mount");\n    return 3;\n}\nreturn 0;\n',
        "exit status [03]",
    ),
    _c(
        "closes all descriptors",
        "for (int i = 0; i < 1024; i++)\n    close(i);\nabort();\n",
        "killed by SIGABRT",
    ),
    _c("kills itself", "raise(SIGKILL);\n", "killed by SIGKILL"),
    _c(
        "endless recursion",
        "static int deep(volatile int *n) {\n    volatile int more[100];\n    more[0] = *n + 1;\n"
        "    return deep(more) + more[0];\n}\nvolatile int n = 0;\nreturn deep(&n);\n",
        "killed by SIGSEGV",
    ),
    _c(
        "reads its input",
        'int n = 0;\nwhile (getchar() != EOF)\n    n++;\nprintf("%d bytes\\n", n);\n',
        "exit status 0",
    ),
    _c(
        "double free",
        "char *p = malloc(40);\nfree(p);\nfree(p);\n",
        "killed by SIGABRT",
    ),
)

GO = (
    _c("infinite loop", "for {\n}\n", STOPPED, ends=False, timeout=SECONDS),
    _c(
        "locked thread that spins, signals ignored",
        "runtime.LockOSThread()\nsignal.Ignore()\nfor {\n}\n",
        STOPPED,
        ends=False,
        timeout=SECONDS,
    ),
    _c(
        "endless output",
        'for {\n\tfmt.Println("more and more and more")\n}\n',
        "stopped after 10,000,000 bytes of output",
        ends=False,
    ),
    _c(
        "goroutines without end",
        "for {\n\tgo func() { select {} }()\n}\n",
        "stopped when it held more than 2 GiB of memory",
        ends=False,
    ),
    _c(
        "os.Exit in init",
        'package main\n\nimport "os"\n\nfunc init() { os.Exit(3) }\n\nfunc main() {}\n',
        "exit status 3",
    ),
    _c(
        "a panic of 5 MB",
        'panic(strings.Repeat("<script>alert(1)</script>", 200000))\n',
        "exit status 2",
    ),
    _c("deadlock", "select {}\n", "exit status 2"),
    _c(
        "endless recursion",
        "package main\n\nfunc deep(n int) int { return deep(n+1) + n }\n\n"
        "func main() { println(deep(0)) }\n",
        "exit status 2",
    ),
    _c(
        "a detached child",
        f'c := exec.Command("/bin/sleep", "{SLEEP}")\n'
        "c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}\n"
        'fmt.Println("started", c.Start() == nil)\n',
        "exit status 0",
        leaves=True,
    ),
    _c(
        "deletes its folder",
        "here, _ := os.Getwd()\nfmt.Println(os.RemoveAll(here))\n",
        "exit status 0",
    ),
    _c(
        "closes all descriptors",
        "for i := 0; i < 1024; i++ {\n\tsyscall.Close(i)\n}\npanic(1)\n",
        r"exit status 2|killed by SIG\w+",
    ),
    _c(
        "reads its input",
        "all, err := io.ReadAll(os.Stdin)\nfmt.Println(len(all), err)\n",
        "exit status 0",
    ),
    _c(
        "double free in C",
        "p := C.malloc(40)\nC.free(p)\nC.free(p)\n",
        r"killed by SIGABRT|exit status 2",
    ),
)

BOMB = "for (;;)\n    fork();\n"
THREADS = (
    "#include <pthread.h>\n#include <unistd.h>\n"
    "static void *wait_for_ever(void *p) {\n    pause();\n    return p;\n}\n"
    "int main(void) {\n    pthread_t t;\n    for (;;)\n"
    "        pthread_create(&t, 0, wait_for_ever, 0);\n}\n"
)


def corruption(seed: int) -> str:
    """Return statements that free, allocate and write where they should not, at random."""
    dice = random.Random(seed)
    lines = ["char *p[8];", "for (int i = 0; i < 8; i++)", "    p[i] = malloc(24 + 40 * i);"]
    for _ in range(dice.randrange(3, 12)):
        i = dice.randrange(8)
        at, byte, length = dice.randrange(-32, 400), dice.randrange(256), dice.choice((1, 8, 64))
        lines.append(
            dice.choice(
                (
                    f"free(p[{i}]);",
                    f"memset(p[{i}] + {at}, {byte}, {length});",
                    f"*(void **) p[{i}] = p[{dice.randrange(8)}] + {dice.randrange(-16, 48, 8)};",
                    f"*(size_t *) (p[{i}] - 8) = {dice.randrange(1 << 16)};",
                    f"p[{i}] = malloc({dice.randrange(1, 3000)});",
                    f"p[{i}] = realloc(p[{i}], {dice.randrange(1, 3000)});",
                    f"free(p[{i}] + {dice.choice((1, 8, 16))});",
                )
            )
        )
    return "\n".join([*lines, "for (int i = 0; i < 8; i++)", "    free(p[i]);", ""])


def corruptions(seeds: range) -> str:
    """Return one program that does what its argument says: compiling is what takes the time."""
    cases = "".join(f"case {seed}: {{\n{corruption(seed)}break;\n}}\n" for seed in seeds)
    return (
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        f"int main(int argc, char **argv) {{\nswitch (atoi(argv[argc - 1])) {{\n{cases}}}\n"
        "return 0;\n}\n"
    )


def runs(text: str, seeds: range) -> Iterator[Run]:
    """Compile a program once, and run it once for each seed."""
    with runner.own_folder() as folder:
        built = compile_c(text, folder, find_compiler("gcc", "c"), ["-w"])
        assert built.compiled, built.diagnostics
        for seed in seeds:
            words = [str(folder / "program"), str(seed)]
            yield execute(built, words, folder, stdin="", env=None, timeout=3, sanitized=False)
