"""What the playground costs a reader's browser: its size, its start, a call.

The page is opened in Chromium from a file, anew for each run, so that nothing is compiled already.
The start is what happens before the first answer: unpack, compile, instantiate, ``malloc(24)``; its
floor is the same with the smallest module there is. A pair is ``free(malloc(24))`` from JavaScript;
its peer is the same pair through cffi. Sizes are gzipped, as a server sends them.
A call with redraw is one call from the field to the page's next layout, with so many calls made
before; its peer is a film of the same frames built from nothing.
Aims: start 5 ms, a call with redraw 8 ms, all scripts but film.js 40 KB.
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
from heapscope.views import film
from heapscope.views.picture import style_sheet
from playwright.sync_api import Browser, sync_playwright

from bench.spread import Spread

CHROMIUM = "/usr/bin/chromium"
CACHE = Path(__file__).resolve().parents[1] / "_build" / ".playground"
PAIRS = 20_000
UNPACKED = """const unpacked = async text => {  // as playground.js does it
    const gzip = new DecompressionStream("gzip"), into = gzip.writable.getWriter();
    into.write(Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) :
                                       Uint8Array.from(atob(text), c => c.charCodeAt(0)));
    into.close();
    return new Response(gzip.readable).arrayBuffer();
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
REDRAW = """async before => {
    const play = document.querySelector("heap-playground"), calls = [
        "a = malloc(24)", "b = malloc(100)", "memset(a, 65, 24)", "free(a)", "c = malloc(24)",
        "free(b)"];
    const list = Array.from({length: before}, (_, i) => calls[i % 6]);
    play.begin(list.join("\\n"), "");
    while (play.busy) await new Promise(done => setTimeout(done, 5));
    const begin = performance.now();
    play.more(calls[before % 6]);
    play.offsetHeight;
    const call = performance.now() - begin, film = document.createElement("heap-film");
    film.innerHTML = '<script type="application/json"></' + 'script>';
    film.firstChild.textContent = JSON.stringify(play.run.form("again"));
    const again = performance.now();
    play.after(film);
    film.show(before + 1);
    film.offsetHeight;
    const whole = performance.now() - again;
    film.remove();
    return [call, whole];
}"""
REDRAWN = (5, 50)
"""So many calls were made before the one that is measured."""
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


def whole_page(script: str) -> str:
    """Return a page with a playground, as the book has it."""
    files = dict(playground.element())
    style = f"{style_sheet()}{film.sheet()}{files.pop('playground.css')}"
    scripts = "".join(
        f"<script>{text}</script>" for text in (film.script(), script, *files.values())
    )
    element = '<heap-playground full preset="malloc"></heap-playground>'
    return f"<!DOCTYPE html><title>bench</title><style>{style}</style>{element}{scripts}"


def redrawn(browser: Browser, page: Path, before: int) -> list[float]:
    """Return the milliseconds of [a call with redraw, a film built from nothing]."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector(".hp-form")
        tab.evaluate(REDRAW, before)  # once, so that the browser has compiled its way through
        taken: list[float] = tab.evaluate(REDRAW, before)
        return taken
    finally:
        context.close()


def sizes(script: str) -> None:
    """Print what the page loads for the playground, gzipped."""
    texts = {playground.SCRIPT: script, **playground.element()}
    packed = {name: len(gzip.compress(text.encode(), mtime=0)) for name, text in texts.items()}
    print(f"scripts, gzipped: {sum(packed.values()):,} bytes   aim 40,000")
    for name, size in packed.items():
        print(f"  {name:20} {size:7,}")
    player = len(gzip.compress(film.script().encode(), mtime=0))
    print(f"  with film.js ({player:,}): {sum(packed.values()) + player:,}")


def measure(runs: int) -> None:
    """Measure each `runs` times, in turn."""
    module = build(find(), CACHE)
    script = playground.script(module)
    starts, pairs, peers = [], [], []
    calls: dict[int, list[list[float]]] = {before: [] for before in REDRAWN}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder, "page.html")
        page.write_text(f"<!DOCTYPE html><title>bench</title><script>{script}{UNPACKED}</script>")
        book = Path(folder, "book.html")
        book.write_text(whole_page(script), "utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for _ in range(runs):
            start, pair = in_a_fresh_page(browser, page)
            starts.append(start)
            pairs.append(pair)
            peers.append(through_cffi())
            for before in REDRAWN:
                calls[before].append(redrawn(browser, book, before))
        browser.close()
    print(f"glibc {module.source.glibc}: {len(module.wasm):,} bytes of WebAssembly")
    sizes(script)
    print(f"{runs} fresh pages; median (least to greatest)")
    print(f"start                 {Spread.of([s[0] for s in starts]):.1f} ms   aim 5")
    print(f"  the smallest module {Spread.of([s[1] for s in starts]):.1f} ms")
    print(f"free(malloc(24))      {Spread.of(pairs):.2f} µs")
    print(f"  through cffi        {Spread.of(peers):.2f} µs")
    for before, taken in calls.items():
        print(f"call with redraw      {Spread.of([t[0] for t in taken]):.1f} ms   aim 8")
        print(f"  from nothing        {Spread.of([t[1] for t in taken]):.1f} ms")
        print(f"  ({before} calls made before)")


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the playground in Chromium.")
    parser.add_argument("--runs", type=int, default=9, help="how often (default: 9)")
    measure(parser.parse_args().runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
