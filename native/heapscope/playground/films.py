"""The presets as films of real runs, for a browser that cannot run the module.

The calls of a preset become a small C program, and gdb films it as it films the book's programs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import heapscope
from heapscope.recorders.gdb_recorder import glibc_version, record_c
from heapscope.views.film import player

_ASSIGNED = re.compile(r"(\w+) = ")
_DECIDES = ("recorders", "glibc", "model", "programs", "views")
"""Folders of the package that decide what a film says."""


def program(calls: Iterable[str]) -> str:
    """Return the statements of a C program with these calls; the first `a = …` declares `a`."""
    declared: set[str] = set()
    lines = []
    for call in calls:
        assigned = _ASSIGNED.match(call)
        fresh = assigned is not None and assigned[1] not in declared
        if assigned:
            declared.add(assigned[1])
        lines.append(f"{'char *' * fresh}{call};\n")
    return "".join(lines)


def films(
    presets: Mapping[str, Mapping[str, Any]], names: Iterable[str], cache: Path
) -> dict[str, dict[str, Any]]:
    """Return what ``<heap-film>`` reads, for each preset of `names`; kept in the folder `cache`.

    Raises:
        FilmError: gdb may not trace a program.
        MissingToolError: the compiler or gdb is not installed.

    """
    code = _code()
    made = {}
    for name in sorted(set(names) & set(presets)):
        preset = presets[name]
        key = hashlib.sha256(f"{code}\0{json.dumps(preset)}".encode()).hexdigest()[:16]
        kept = cache / f"film-{name}-{key}.json"
        if not kept.is_file():
            film = replace(record_c(program(preset["calls"])), title=preset["title"])
            form = player(film, name=f"play-{name}").form()
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as fresh:
                json.dump(form, fresh, separators=(",", ":"))
            os.replace(fresh.name, kept)
        made[name] = json.loads(kept.read_text("utf-8"))
    return made


def _code() -> str:
    """Return what stands for the glibc and the version of everything that makes a film."""
    package = Path(heapscope.__file__).parent
    seen = hashlib.sha256(glibc_version().encode())
    for folder in _DECIDES:
        for path in sorted((package / folder).rglob("*")):
            if path.suffix in (".py", ".json"):
                seen.update(path.read_bytes())
    return seen.hexdigest()
