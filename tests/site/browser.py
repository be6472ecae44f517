"""Look at a page in Debian's Chromium, as a reader's browser and as axe sees it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import axe_core_python
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

CHROMIUM = "/usr/bin/chromium"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")
_RUN_AXE = """async contrast => {
    const rules = contrast === false ? {"color-contrast": {enabled: false}} : {};
    const found = await axe.run(document, {preload: false, resultTypes: ["violations"], rules});
    return found.violations.flatMap(v => v.nodes.map(
        n => `axe ${v.id}: ${n.target.join(' ')}: ${n.failureSummary.replace(/\\s+/g, ' ')}`));
}"""
# Parts of the page, not the page, may scroll sideways.
_TOO_WIDE = """() => {
    const page = document.documentElement;
    if (page.scrollWidth <= page.clientWidth) return [];
    const wide = [...document.querySelectorAll('main *')].filter(
        e => e.getBoundingClientRect().right > page.clientWidth + 1);
    return [`wider than the window by ${page.scrollWidth - page.clientWidth}px: `
            + wide.slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(' | ')];
}"""
_INNER = ("file:", "data:", "blob:", "about:")


_driver: list[Playwright] = []  # of this process: it cannot have two


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser, and end it; one may be started while another is open."""
    if not _driver:
        with sync_playwright() as playwright:
            _driver.append(playwright)
            try:
                with chromium() as browser:
                    yield browser
            finally:
                _driver.clear()
        return
    browser = _driver[0].chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
    try:
        yield browser
    finally:
        browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on localhost; yields its address, without a slash at the end."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Visit:
    """A page that was opened, and what was wrong with it while it was."""

    page: Page
    problems: list[str] = field(default_factory=list)


@contextmanager
def visit(
    browser: Browser, address: str, *, theme: str = "light", width: int = 1400, inner: str = ""
) -> Iterator[Visit]:
    """Open `address` in a fresh profile and collect what goes wrong.

    `theme` is "light" or "dark", `width` in CSS pixels; `inner` is the start of addresses that
    count as the site's own besides files.
    """
    scheme: Any = theme
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    try:
        page = context.new_page()
        seen = Visit(page)
        own = (*_INNER, *((inner,) if inner else ()))
        page.on(
            "request",
            lambda r: None if r.url.startswith(own) else seen.problems.append(f"asks for {r.url}"),
        )
        page.on("requestfailed", lambda r: seen.problems.append(f"does not get {r.url}"))
        page.on(
            "response",
            lambda r: seen.problems.append(f"{r.status} for {r.url}") if r.status >= 400 else None,
        )
        page.on("pageerror", lambda error: seen.problems.append(f"error: {error}"))
        page.on(
            "console",
            lambda m: (
                seen.problems.append(f"console {m.type}: {m.text}")
                if m.type in ("error", "warning")
                else None
            ),
        )
        page.goto(address, wait_until="load")
        page.wait_for_timeout(150)  # what scripts do after load
        yield seen
    finally:
        context.close()


_UNDRAWN = """() => [...document.querySelectorAll("article p")]
    .filter(p => /^\\s*\\|.*\\|\\s*[-—]{1,}\\s*\\|/s.test(p.textContent))
    .map(p => "a table shown as its Markdown: " + p.textContent.slice(0, 60))"""


def problems(browser: Browser, address: str, *, contrast: bool = True, **how: Any) -> list[str]:
    """Return all that is wrong with a page: requests, console, axe, width.

    Of axe's time on a long page the contrast of every text takes four fifths.
    """
    with visit(browser, address, **how) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        seen.problems += seen.page.evaluate(_TOO_WIDE)
        seen.problems += seen.page.evaluate(_UNDRAWN)
        seen.page.evaluate(_AXE)
        seen.problems += seen.page.evaluate(_RUN_AXE, contrast)
        return seen.problems
