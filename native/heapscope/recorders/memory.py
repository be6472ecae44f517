"""Read this process's memory where nobody knows whether there is any."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class BadAddressError(ValueError):
    """Nothing readable is mapped at the address that was asked for."""


@lru_cache(maxsize=4)
def _memory(pid: int) -> int:
    """Open this process's memory file; `pid` tells a forked child from its parent."""
    return os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)


def read(address: int, size: int) -> bytes:
    """Return `size` bytes at `address`; BadAddressError where they are not all readable.

    The kernel does the reading (proc(5), /proc/pid/mem), so a wrong address is an exception and no
    SIGSEGV.
    """
    if size < 0:
        raise ValueError(f"cannot read {size} bytes")
    try:
        data = os.pread(_memory(os.getpid()), size, address)
    except (OSError, OverflowError) as error:
        raise BadAddressError(f"nothing readable is mapped at {address:#x}") from error
    if len(data) != size:
        end = address + len(data)
        raise BadAddressError(f"memory ends at {end:#x}, {size - len(data)} bytes too early")
    return data


class Place(NamedTuple):
    """One line of /proc/self/maps."""

    low: int
    high: int
    access: str  # "rw-p"
    path: str  # file, "[heap]", "" …


def places() -> list[Place]:
    """Return what is mapped in this process, by address."""
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        bounds, access, _, _, _, *path = line.split(maxsplit=5)
        low, high = bounds.split("-")
        found.append(Place(int(low, 16), int(high, 16), access, path[0] if path else ""))
    return found
