"""The module and its native peer, each made once."""

from __future__ import annotations

from pathlib import Path

import calls
import pytest
from heapscope.playground import Module, Source, build, find


@pytest.fixture(scope="session")
def source() -> Source:
    """The glibc that apt.txt asks for."""
    return find()


@pytest.fixture(scope="session")
def cache(root: Path) -> Path:
    """Where the book's own build keeps the module."""
    return root / "_build" / ".playground"


@pytest.fixture(scope="session")
def module(source: Source, cache: Path) -> Module:
    return build(source, cache)


@pytest.fixture(scope="session")
def machine(module: Module) -> calls.Machine:
    return calls.Machine(module.wasm)


@pytest.fixture(scope="session")
def program(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The native side; it can be compared only with a module of its own version."""
    if source.glibc != calls.system_glibc():
        pytest.skip(f"this system runs glibc {calls.system_glibc()}, its source is {source.glibc}")
    return calls.compiled(tmp_path_factory.mktemp("calls"))
