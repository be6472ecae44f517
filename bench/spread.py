"""Numbers with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing, in one unit."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Keep the values; ValueError when there is none."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __format__(self, spec: str) -> str:
        """Write the median, then the least and the greatest: "5.2 (5.1 to 5.6)"."""
        low, high = min(self.values), max(self.values)
        return f"{self.median:{spec}} ({low:{spec}} to {high:{spec}})"
