"""See the other heap: what malloc, calloc, realloc and free do to memory.

What is listed in ``__all__`` is imported when it is first used, so that ``import heapscope`` and
the command line start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heapscope.model.film import Film
    from heapscope.model.snapshot import Snapshot
    from heapscope.programs.c import run_c
    from heapscope.programs.go import run_go
    from heapscope.recorders.child import child
    from heapscope.recorders.heap import Heap
    from heapscope.teaching.claims import claim
    from heapscope.teaching.exercises import check
    from heapscope.teaching.magics import load_ipython_extension
    from heapscope.teaching.questions import question
    from heapscope.teaching.table import Table

__version__ = "0.1.0"

_HOMES = {
    "Film": "heapscope.model.film",
    "Heap": "heapscope.recorders.heap",
    "Snapshot": "heapscope.model.snapshot",
    "Table": "heapscope.teaching.table",
    "check": "heapscope.teaching.exercises",
    "child": "heapscope.recorders.child",
    "claim": "heapscope.teaching.claims",
    "load_ipython_extension": "heapscope.teaching.magics",
    "question": "heapscope.teaching.questions",
    "run_c": "heapscope.programs.c",
    "run_go": "heapscope.programs.go",
}

__all__ = [
    "Film",
    "Heap",
    "Snapshot",
    "Table",
    "check",
    "child",
    "claim",
    "load_ipython_extension",
    "question",
    "run_c",
    "run_go",
]


def __getattr__(name: str) -> Any:
    """Import one of the public names from its home (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'heapscope' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})
