"""The Go module of the book: its form, its tests in every build, its fuzz targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gotool import Go, Said

MODULE = Path(__file__).resolve().parents[2] / "native" / "examples" / "go"
TARGETS = sorted(
    (path.parent.name, name)
    for path in MODULE.glob("*/*_test.go")
    for name in re.findall(r"^func (Fuzz\w+)\(", path.read_text("utf-8"), re.MULTILINE)
)
IDS = ["-".join(target) for target in TARGETS]


def test_gofmt(go: Go, module: Path) -> None:
    assert go.run([str(go.command.with_name("gofmt")), "-l", "-s", "."], module) == Said(0, "")


def test_vet(go: Go, module: Path) -> None:
    assert go(["vet", "./..."], module) == Said(0, "")


@pytest.mark.parametrize("build", ["plain", "race", "asan", "cgocheck2"])
def test_passes(build: str, go: Go, module: Path) -> None:
    """Run the tests, the examples and the fuzz targets' seeds."""
    flags = [f"-{build}"] if build in ("race", "asan") else []
    env = {"GOEXPERIMENT": "cgocheck2"} if build == "cgocheck2" else {}
    said = go(["test", "-count=1", *flags, "./..."], module, env)
    lines = said.text.splitlines()
    assert said.exit == 0, said.text
    assert all(line.startswith("ok ") for line in lines), said.text
    assert len(lines) == len({package for package, _ in TARGETS}), said.text


def test_uses_the_standard_library_only(go: Go, module: Path) -> None:
    said = go(["list", "-m", "all"], module)
    assert said == Said(0, "otherheap\n")
    deps = go(
        ["list", "-deps", "-test", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./..."],
        module,
    )
    assert all(line.startswith("otherheap") for line in deps.text.split() if "[" not in line)


def test_there_are_fuzz_targets_of_sizes_and_lifetimes() -> None:
    assert {("cbuf", "FuzzSize"), ("cimage", "FuzzSize")} <= set(TARGETS)
    assert {package for package, name in TARGETS if name == "FuzzLifetime"} == {
        "cbuf",
        "cimage",
        "lend",
    }


def _fuzz(go: Go, module: Path, package: str, target: str, seconds: int, *flags: str) -> None:
    said = go(
        [
            "test",
            *flags,
            "-run=^$",
            f"-fuzz=^{target}$",
            f"-fuzztime={seconds}s",
            "-fuzzminimizetime=1s",  # else up to a minute for one input, and nothing else runs
            "-parallel=2",
            f"./{package}",
        ],
        module,
    )
    assert said.exit == 0, said.text
    executed = [int(count) for count in re.findall(r"execs: (\d+)", said.text)]
    assert max(executed) > 100 * seconds, said.text


@pytest.mark.parametrize(("package", "target"), TARGETS, ids=IDS)
def test_fuzz_for_a_moment(package: str, target: str, go: Go, module: Path) -> None:
    _fuzz(go, module, package, target, 1)


@pytest.mark.long
@pytest.mark.parametrize(("package", "target"), TARGETS, ids=IDS)
def test_fuzz_for_a_minute(package: str, target: str, go: Go, module: Path) -> None:
    _fuzz(go, module, package, target, 60, "-asan")
