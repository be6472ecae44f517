"""glibc's own malloc as WebAssembly, for the page: found, taken from its tarball, compiled.

Nothing of glibc is in this package. ``source`` finds Debian's package ``glibc-source`` and takes
out the few files that are malloc, unmodified; ``module`` compiles them with ``ziglang`` and the
shim of ``native/src/wasm``. The page's script is made of both by ``heapscope.sphinx.playground``.
"""

from heapscope.playground.module import Module, build
from heapscope.playground.source import Source, UnbuiltError, find

__all__ = ["Module", "Source", "UnbuiltError", "build", "find"]
