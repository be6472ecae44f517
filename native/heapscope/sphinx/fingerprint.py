"""What an executed notebook depends on, besides its own cells.

jupyter-cache knows a notebook by its code cells and kernel alone, so it would keep outputs made by
another instrument or another compiler.  Here is the rest of the key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import heapscope
from heapscope import doctor

_PACKAGE = Path(heapscope.__file__).parent
_NOT_SEEN_BY_NOTEBOOKS = ("sphinx", "playground", "doctor.py")  # chapter 14 runs a command
_PAGES_OWN = "native/src/wasm"  # compiled for a page, seen by no notebook
_LIBRARIES = ("cffi", "ipykernel", "ipython", "matplotlib", "numpy")
_CLAIM = re.compile(r"""\bclaim\(\s*["']([\w.-]+)["']""")


@cache
def asked() -> Future[dict[str, str]]:
    """Begin to ask the tools, once a process; it goes on while Sphinx loads its extensions."""
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        return pool.submit(_ask)
    finally:
        pool.shutdown(wait=False)


def tools() -> dict[str, str]:
    """Return the version of each tool and library whose change changes outputs."""
    return asked().result()


def _ask() -> dict[str, str]:
    found = {tool.name: tool.version or "missing" for tool in doctor.tools()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def instrument(source: Path) -> str:
    """Hash the installed package and, in the repository at `source`, its C code and examples."""
    files = [
        path
        for path in _files(_PACKAGE)
        if path.relative_to(_PACKAGE).parts[0] not in _NOT_SEEN_BY_NOTEBOOKS
    ]
    roots = [(_PACKAGE, files)]
    for name in ("native/src", "native/examples"):
        seen = [path for path in _files(source / name) if source / _PAGES_OWN not in path.parents]
        roots.append((source / name, seen))
    return _hash_files(roots)


def neighbours(folder: Path, claims: Path) -> str:
    """Hash the data files that lie beside the notebooks (claims are keyed one by one)."""
    files = [p for p in _files(folder) if p.suffix != ".ipynb" and p != claims]
    return _hash_files([(folder, files)])


def notebook(
    base: str,
    cells: Iterable[Mapping[str, Any]],
    extra: Mapping[str, str],
    claims: Mapping[str, Any],
) -> str:
    """Return the key of one notebook.

    `base` covers the instrument and the tools, `extra` maps the files that the notebook's metadata
    names under ``heapscope.depends`` to their hashes, `claims` is claims.yml by id: when an entry
    changes, the notebooks that check it run again and no others.
    """
    named = {
        name
        for cell in cells
        if cell["cell_type"] == "code"
        for name in _CLAIM.findall(str(cell["source"]))
    }
    used = {name: claims.get(name) for name in sorted(named)}
    return _digest([base, extra, used])


def base(source: Path, notebooks: Path, claims: Path) -> str:
    """Return the part of the key that all notebooks share."""
    return _digest([instrument(source), neighbours(notebooks, claims), tools()])


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, "missing" when there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files under `folder` that somebody wrote, in a fixed order."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and "__pycache__" not in path.parts:
            yield path


def _hash_files(roots: Iterable[tuple[Path, Iterable[Path]]]) -> str:
    total = hashlib.sha256()
    for root, files in roots:
        for path in files:
            total.update(f"{path.relative_to(root).as_posix()}\0{hash_file(path)}\n".encode())
    return total.hexdigest()
