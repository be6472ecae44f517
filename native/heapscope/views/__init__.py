"""Views: pure functions of a snapshot that draw it or say it in words.

Functions that share their name with their module are imported at once, or else importing the
module would put it in the function's place; matplotlib is only imported when something is drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heapscope.views.figure import figure
from heapscope.views.frames import film_frames
from heapscope.views.picture import Picture, picture
from heapscope.views.table import table
from heapscope.views.words import alt, sentence

if TYPE_CHECKING:
    from heapscope.views.pictures import (
        capacity_curve,
        fragmentation,
        process_map,
        resident,
        shelf,
        staircase,
        timeline,
    )
    from heapscope.views.plots import decision, lifetimes, pixels, spread

_PLOTS = ("decision", "lifetimes", "pixels", "spread")
_PICTURES = (
    "capacity_curve",
    "fragmentation",
    "process_map",
    "resident",
    "shelf",
    "staircase",
    "timeline",
)

__all__ = [
    "Picture",
    "alt",
    "capacity_curve",
    "decision",
    "figure",
    "film_frames",
    "fragmentation",
    "lifetimes",
    "picture",
    "pixels",
    "process_map",
    "resident",
    "sentence",
    "shelf",
    "spread",
    "staircase",
    "table",
    "timeline",
]


def __getattr__(name: str) -> Any:
    """Import one of the pictures when it is first used (PEP 562)."""
    home = "plots" if name in _PLOTS else "pictures" if name in _PICTURES else None
    if home is None:
        raise AttributeError(f"module 'heapscope.views' has no attribute {name!r}")
    value = getattr(import_module(f"heapscope.views.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, whether imported yet or not."""
    return sorted({*globals(), *__all__})
