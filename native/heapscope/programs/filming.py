"""The one place that asks for the film of a program's text."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from heapscope.model.film import Film

FRAMES = 400

_BOTH = ("flags", "stdin", "args", "env", "timeout")
_OF_C = ("std", "cc", "name")


def record(text: str, language: str, options: Mapping[str, Any], frames: int = FRAMES) -> Film:
    """Record the film of a C or Go program; `options` are those that `run_c` or `run_go` take.

    Raises ValueError for C++, and what the recorder raises.
    """
    if language == "c++":
        raise ValueError("a film is of a C or a Go program; this one is C++")
    recorder = import_module("heapscope.recorders.gdb_recorder")
    function = recorder.record_go if language == "go" else recorder.record_c
    names = _BOTH if language == "go" else _BOTH + _OF_C
    taken = {name: options[name] for name in names if options.get(name)}
    return cast("Film", function(text, frames=frames, **taken))
