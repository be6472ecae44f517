"""What the playground costs a reader's browser: its size, its start, a call.

The page is opened in Chromium from a file, anew for each run, so that nothing is compiled already.
The start is what happens before the first answer: unpack, compile, instantiate, ``malloc(24)``; its
floor is the same with the smallest module there is. A pair is ``free(malloc(24))`` from JavaScript;
its peer is the same pair through cffi. Sizes are gzipped, as a server sends them.
Aims: start 5 ms, all scripts 40 KB.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cffi import FFI
from heapscope.playground import build, find
from heapscope.sphinx import playground
from playwright.sync_api import Browser, sync_playwright

from bench.spread import Spread

CHROMIUM = "/usr/bin/chromium"
CACHE = Path(__file__).resolve().parents[1] / "_build" / ".playground"
PAIRS = 20_000
UNPACKED = """const unpacked = async text => {
    const packed = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
};"""
START = """async smallest => {
    const start = async (text, call) => {
        const begin = performance.now();
        const module = new WebAssembly.Module(await unpacked(text));
        const heap = new WebAssembly.Instance(module, {}).exports;
        if (call) heap.malloc(24n);
        return performance.now() - begin;
    };
    return [await start(heapscopePlayground.wasm, true), await start(smallest, false)];
}"""
CALLS = """async pairs => {
    const module = new WebAssembly.Module(await unpacked(heapscopePlayground.wasm));
    const heap = new WebAssembly.Instance(module, {}).exports;
    const begin = performance.now();
    for (let i = 0; i < pairs; i++) heap.free(heap.malloc(24n));
    return (performance.now() - begin) / pairs * 1000;
}"""
SMALLEST = base64.b64encode(gzip.compress(b"\0asm\1\0\0\0", mtime=0)).decode()


def through_cffi() -> float:
    """Return the microseconds of a pair of the process's own malloc."""
    ffi = FFI()
    ffi.cdef("void *malloc(size_t); void free(void *);")
    libc: Any = ffi.dlopen(None)
    begin = time.process_time()
    for _ in range(PAIRS):
        libc.free(libc.malloc(24))
    return (time.process_time() - begin) / PAIRS * 1e6


def in_a_fresh_page(browser: Browser, page: Path) -> tuple[list[float], float]:
    """Return [start, floor] in milliseconds, and the microseconds of a pair."""
    context = browser.new_context()
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        return tab.evaluate(START, SMALLEST), tab.evaluate(CALLS, PAIRS)
    finally:
        context.close()


def sizes(script: str) -> None:
    """Print what the page loads for the playground, gzipped."""
    texts = {playground.SCRIPT: script, **playground.element()}
    packed = {name: len(gzip.compress(text.encode(), mtime=0)) for name, text in texts.items()}
    print(f"scripts, gzipped: {sum(packed.values()):,} bytes   aim 40,000")
    for name, size in packed.items():
        print(f"  {name:20} {size:7,}")


def measure(runs: int) -> None:
    """Measure each `runs` times, in turn."""
    module = build(find(), CACHE)
    script = playground.script(module)
    starts, pairs, peers = [], [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder, "page.html")
        page.write_text(f"<!DOCTYPE html><title>bench</title><script>{script}{UNPACKED}</script>")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for _ in range(runs):
            start, pair = in_a_fresh_page(browser, page)
            starts.append(start)
            pairs.append(pair)
            peers.append(through_cffi())
        browser.close()
    print(f"glibc {module.source.glibc}: {len(module.wasm):,} bytes of WebAssembly")
    sizes(script)
    print(f"{runs} fresh pages; median (least to greatest)")
    print(f"start                 {Spread.of([s[0] for s in starts]):.1f} ms   aim 5")
    print(f"  the smallest module {Spread.of([s[1] for s in starts]):.1f} ms")
    print(f"free(malloc(24))      {Spread.of(pairs):.2f} µs")
    print(f"  through cffi        {Spread.of(peers):.2f} µs")


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the playground in Chromium.")
    parser.add_argument("--runs", type=int, default=9, help="how often (default: 9)")
    measure(parser.parse_args().runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
