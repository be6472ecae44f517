"""Names, lines and profiles of real programs: C with inlined functions, cgo through pprof."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from pathlib import Path

import pytest
import tracefile as t
import tracer_programs
from heapscope.programs.go import cache_folder, find_go, settings_folder
from heapscope.traces import Report, report
from heapscope.traces.format import read
from heapscope.traces.pprof import integer, packed, varint
from heapscope.traces.symbols import Binary, Symbols
from heapscope.traces.symbols import cache_folder as symbol_cache

C = """\
#include <stdlib.h>
#include <string.h>
static inline char *inner(size_t n) {
    return malloc(n);
}
__attribute__((noinline)) char *outer(size_t n) {
    char *p = inner(n);
    p[0] = 1;
    return p;
}
int main(void) {
    outer(100);
    free(outer(50));
    return outer(7)[0] + strdup("twelve bytes")[0] == 0;
}
"""

GO = """\
package main

// #include <stdlib.h>
// #include <string.h>
// static char *make_buf(int n) {
//     char *p = malloc(n);
//     if (p) memset(p, 1, n);
//     return p;
// }
import "C"

import "sync"

func leakC(n int) {
\t_ = C.make_buf(C.int(n))
}

func leakMalloc() {
\t_ = C.malloc(30000)
}

func leakString(s string) *C.char {
\treturn C.CString(s)
}

//go:noinline
func service() {
\tleakC(20000)
\tleakMalloc()
\t_ = leakString(string(make([]byte, 9999)))
}

func main() {
\tvar wait sync.WaitGroup
\twait.Add(1)
\tgo func() {
\t\tdefer wait.Done()
\t\tservice()
\t}()
\twait.Wait()
}
"""


@pytest.fixture(scope="module")
def go_env() -> dict[str, str]:
    fixed = {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""}
    shared = {"GOCACHE": str(cache_folder()), "XDG_CONFIG_HOME": str(settings_folder())}
    return dict(os.environ) | fixed | shared


@pytest.fixture(scope="module")
def go() -> str:
    return str(find_go())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, go: str, go_env: dict[str, str]) -> Path:
    """The trace of a cgo program with three leaks."""
    folder = tmp_path_factory.mktemp("cgo")
    (folder / "main.go").write_text(GO)
    (folder / "go.mod").write_text("module example.com/leaky\n\ngo 1.23\n")
    subprocess.run([go, "build", "-o", "leaky", "."], cwd=folder, env=go_env, check=True)
    tracer_programs.traced([folder / "leaky"], folder / "trace", depth=32)
    return folder / "trace"


def lines(stack: tuple[object, ...]) -> list[str]:
    return [re.sub(r" .*/", " ", f"{f.name} {f.place}") for f in stack]  # type: ignore[attr-defined]


def test_go_stacks_line_by_line(service: Path) -> None:
    found = {usage.bytes: usage for usage in report(service).leaks}
    above = ["main.service main.go:{}", "main.main.func1 main.go:38"]
    rest = [above[0].format(28), above[1]]
    assert lines(found[20000].frames)[:4] == ["make_buf main.go:6", "main.leakC main.go:15", *rest]
    rest[0] = above[0].format(29)
    assert lines(found[30000].frames)[:3] == ["main.leakMalloc main.go:19", *rest]
    rest[0] = above[0].format(30)
    assert lines(found[10000].frames)[:3] == ["main.leakString main.go:23", *rest]
    assert [found[n].border for n in (20000, 30000, 10000)] == ["", "C.malloc", "C.CString"]
    assert [f.inlined for f in found[30000].frames[:2]] == [True, False]
    assert [f.go for f in found[20000].frames[:2]] == [False, True]


def test_go_leaks_in_words(service: Path) -> None:
    said = report(service).text()
    assert "30,000 bytes in 1 block: main.leakMalloc (main.go:19), calling C.malloc" in said
    assert "make_buf (main.go:6), called by main.leakC (main.go:15)" in said
    assert "main.leakString (main.go:23), calling C.CString" in said
    assert "cgocall" not in said


def top(result: Report, folder: Path, go: str, env: dict[str, str], *flags: str) -> str:
    path = folder / "out.pb.gz"
    path.write_bytes(result.pprof())
    run = subprocess.run(
        [go, "tool", "pprof", "-top", "-nodefraction=0", *flags, str(path)],
        env=env | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_pprof_names_go_functions_and_lines(
    service: Path, tmp_path: Path, go: str, go_env: dict[str, str]
) -> None:
    result = report(service)
    said = top(result, tmp_path, go, go_env, "-lines", "-unit=B")
    for words in (
        r"30000B\s.*C\.malloc",
        r"20000B\s.*make_buf /.*main\.go:6",
        r"main\.leakC /.*main\.go:15 \(inline\)",
        r"main\.leakMalloc /.*main\.go:19 \(inline\)",
        r"main\.leakString /.*main\.go:23 \(inline\)",
        r"main\.service /.*main\.go:30",
    ):
        assert re.search(words, said), f"{words} is not in\n{said}"
    assert "Type: inuse_space" in said
    for kind in ("inuse_objects", "alloc_space", "alloc_objects"):
        said = top(result, tmp_path, go, go_env, f"-sample_index={kind}")
        assert f"Type: {kind}" in said
        assert "main.service" in said


def test_pprof_sums(tmp_path: Path, go: str, go_env: dict[str, str]) -> None:
    """Every number of a trace written by hand arrives, also without symbols."""
    one = t.Window(0, 1)
    one.frames(1, [0x400011, 0x400101])
    for n in range(10):
        one.add(t.MALLOC, 0x1000 * (n + 1), at=1000 * n + 1000, stack=1, size=1000)
    for n in range(6):
        one.add(t.FREE, 0x1000 * (n + 1), at=90_000 + n * 8)
    mapping = t.maps_block("400000-500000 r-xp 00001000 08:01 42   /nowhere/lib.so\n")
    for pid in (1, 2):
        t.write(tmp_path / "t" / f"{pid}-0.heap", [mapping, *one.all()], pid=pid)
    result = report(tmp_path / "t")
    for kind, amount in {
        "inuse_space": "8000B",
        "inuse_objects": "8",
        "alloc_space": "20000B",
        "alloc_objects": "20",
    }.items():
        unit = ("-unit=B",) if kind.endswith("space") else ()
        said = top(result, tmp_path, go, go_env, f"-sample_index={kind}", *unit)
        assert re.search(rf"{amount}\s+100%\s+100%\s+{amount}\s+100%\s+lib\.so\+0x1010", said), said
    said = top(result, tmp_path, go, go_env, "-tagfocus=process=program 1", "-unit=B")
    assert "4000B" in said
    assert gzip.decompress(result.pprof()) == gzip.decompress(report(tmp_path / "t").pprof())


def test_protobuf() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert integer(1, 150) == b"\x08\x96\x01"
    assert packed(4, [3, 270, 86942]) == b"\x22\x06\x03\x8e\x02\x9e\xa7\x05"


@pytest.mark.parametrize("flags", [["-O2"], ["-O0"], ["-O2", "-gdwarf-4"], ["-O2", "-no-pie"]])
def test_c_lines_and_inlined_functions(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "program.c").write_text(C)
    program = tmp_path / "program"
    subprocess.run(
        [
            "gcc",
            "-g",
            "-fno-builtin",
            "-fno-omit-frame-pointer",
            *flags,
            "program.c",
            "-o",
            program,
        ],
        cwd=tmp_path,
        check=True,
    )
    tracer_programs.traced([program], tmp_path / "trace", depth=8)
    result = report(tmp_path / "trace")
    found = {usage.bytes: usage for usage in result.leaks}
    assert set(found) == {100, 7, 13}
    assert lines(found[100].frames)[:3] == [
        "inner program.c:4",
        "outer program.c:7",
        "main program.c:12",
    ]
    assert lines(found[7].frames)[2] == "main program.c:14"
    assert lines(found[13].frames)[0] == "main program.c:14"
    assert found[100].frames[0].inlined is ("-O0" not in flags)
    (site,) = [site for site in result.sites if site.frame.function == "inner"]
    assert (site.bytes, site.blocks, len(site.stacks)) == (107, 2, 2)
    # what was found is kept, and gives the same
    assert list(symbol_cache().glob("*.json"))
    again = report(tmp_path / "trace")
    assert again.leaks == result.leaks
    for path in symbol_cache().glob("*.json"):
        path.write_text("{")
    assert report(tmp_path / "trace").leaks == result.leaks
    # a program that was changed since is not trusted in silence
    os.utime(program)
    assert any(
        "was changed after it was traced" in note for note in report(tmp_path / "trace").notes
    )
    program.unlink()
    assert report(tmp_path / "trace").leaked == 120


def test_stripped_programs_have_their_exported_names(tmp_path: Path) -> None:
    (tmp_path / "program.c").write_text(C)
    program = tmp_path / "program"
    command = ["gcc", "-O1", "-fno-builtin", "-fno-inline", "program.c", "-o", str(program)]
    subprocess.run([*command, "-rdynamic"], cwd=tmp_path, check=True)
    subprocess.run(["strip", program], check=True)
    tracer_programs.traced([program], tmp_path / "trace", depth=1)
    names = {usage.site.name for usage in report(tmp_path / "trace", cache=False).leaks}
    assert "main" in names


def test_go_lines_are_those_of_addr2line(service: Path, go: str, go_env: dict[str, str]) -> None:
    """Every Go frame, against `go tool addr2line`, which knows no inlined functions' names."""
    image = read(service).images[0]
    program = image.exe
    symbols = Symbols(cache=False).resolve(image, image.stacks.address.tolist())
    innermost = {frames[0].offset: frames[0] for frames in symbols.values() if frames[0].go}
    outermost = {frames[0].offset: frames[-1] for frames in symbols.values() if frames[0].go}
    order = sorted(innermost)
    said = subprocess.run(
        [go, "tool", "addr2line", program],
        input="".join(f"{address:#x}\n" for address in order),
        env=go_env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    assert len(order) > 5
    for address, name, place in zip(order, said[::2], said[1::2], strict=False):
        assert outermost[address].function == name
        assert innermost[address].place == place


def test_damaged_programs_leave_addresses(service: Path, tmp_path: Path) -> None:
    """Symbols come from files that may be anything."""
    import random

    data = Path(read(service).images[0].exe).read_bytes()
    addresses = [0x49E000 + n * 16 for n in range(200)]
    chance = random.Random(4)
    path = tmp_path / "bad"
    for _ in range(12):
        bad = bytearray(data)
        for _ in range(400):
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        path.write_bytes(bad[: chance.choice((len(bad), len(bad) // 2, 4000))])
        try:
            binary = Binary(str(path), cache=False)
        except Exception:  # it is no ELF file any more: Symbols goes on without
            continue
        try:
            assert len(binary.lookup(addresses)) == len(addresses)
        except Exception as error:
            pytest.fail(f"lookup raised {error!r}")
