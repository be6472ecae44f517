"""Build ``heapscope._heap`` with cffi: the private libc (src/heap.c) as an API-mode extension."""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

SOURCES = Path(__file__).resolve().parent.parent / "src"


def _declarations(header: str) -> str:
    """Return the C declarations of a header without what cffi does not read."""
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    sizes = dict(re.findall(r"^#define (HS_\w+) (\d+)$", header, flags=re.M))
    header = re.sub(r"^#.*$", "", header, flags=re.M)
    for name, value in sizes.items():
        header = header.replace(name, value)
    return header


ffibuilder = FFI()
ffibuilder.cdef(_declarations((SOURCES / "heap.h").read_text(encoding="utf-8")))
ffibuilder.set_source(
    "heapscope._heap",
    '#include "heap.h"',
    # Relative to native/, where setup.py runs, so that the built file names no folder of ours.
    sources=["src/heap.c", "src/place.c"],
    include_dirs=["src"],
    libraries=["dl"],
    # Python's own flags define NDEBUG and -O3; no call here may be optimised by what it means.
    extra_compile_args=["-std=c17", "-O2", "-UNDEBUG", "-fno-builtin", "-Wall", "-Wextra"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
