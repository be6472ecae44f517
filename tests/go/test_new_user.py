"""What a Go developer does who has only the README of the module: copy a package, go run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from gotool import Go, Said

README = Path(__file__).resolve().parents[2] / "native" / "examples" / "go" / "README.md"
EXAMPLES = re.findall(
    r"^<!-- uses (\w+) -->\n```go\n(.*?)^```\n\n```text\n(.*?)^```",
    README.read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)


def test_each_package_has_its_example(module: Path) -> None:
    packages = {path.parent.name for path in module.glob("*/*.go")}
    assert {package for package, _, _ in EXAMPLES} == packages


@pytest.mark.parametrize(("package", "program", "output"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_in_an_empty_module(
    package: str, program: str, output: str, go: Go, module: Path, tmp_path: Path
) -> None:
    shutil.copytree(module / package, tmp_path / package)
    assert go(["mod", "init", "example.com/mine"], tmp_path).exit == 0
    (tmp_path / "main.go").write_text(program, "utf-8")
    assert go(["run", "."], tmp_path) == Said(0, output)
    assert go(["vet", "./..."], tmp_path) == Said(0, "")
    assert go(["test", f"./{package}"], tmp_path).exit == 0
    assert go.run([str(go.command.with_name("gofmt")), "-l", "main.go"], tmp_path) == Said(0, "")
