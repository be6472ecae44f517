"""Go's own tools on the Go code of the book."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gotool import Go
from heapscope.programs.go import cache_folder, find_go, settings_folder


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    command = Path(find_go())
    home = tmp_path_factory.mktemp("home")
    cache_folder().mkdir(parents=True, exist_ok=True)
    return Go(
        command,
        {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TMPDIR": str(tmp_path_factory.mktemp("tmp")),
            "LANG": "C.UTF-8",
            "CGO_ENABLED": "1",
            "GOCACHE": str(cache_folder()),
            "GOENV": "off",
            "GOFLAGS": "-trimpath",
            "GOPATH": str(home / "go"),
            "GOPROXY": "off",
            "XDG_CONFIG_HOME": str(settings_folder()),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        },
    )


@pytest.fixture(scope="session")
def module(root: Path) -> Path:
    """The Go module of the book."""
    return root / "native" / "examples" / "go"


@pytest.fixture(scope="session")
def must_fail(root: Path) -> Path:
    """The programs that must fail."""
    return root / "native" / "examples" / "go-must-fail"
