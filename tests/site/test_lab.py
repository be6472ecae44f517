"""A chapter in JupyterLab: each cell is run by hand, and the heap is drawn below it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import visit
from playwright.sync_api import Browser, Page

CHAPTER = "02-malloc.ipynb"
START_SECONDS = 60
CELL_MILLISECONDS = 120_000  # a cold Go build cache makes the first %%go cell slow


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A JupyterLab with a copy of the notebooks; yields the address of the chapter."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(root / "notebooks", home / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    settings = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = [
        f"--ServerApp.port={port}",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={home / 'notebooks'}",
    ]
    with (home / "log").open("w+") as log:
        server = subprocess.Popen(
            [*command, *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **{name: str(home / f) for name, f in settings.items()}},
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api/status?token={token}", server, home / "log")
            yield f"{address}/lab/tree/{CHAPTER}?token={token}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"JupyterLab does not start: {log.read_text()}")


def wait_for_kernel(page: Page) -> None:
    """Wait until the notebook has its kernel: a cell that is run before does nothing.

    The notebook's own indicator is "idle" also while there is no kernel; the status bar names it.
    """
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)


def run_cell(page: Page, number: int) -> None:
    """Press Shift+Enter and wait for the `number`th code cell's execution count."""
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        """number => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].some(
            prompt => prompt.textContent.trim() === `[${number}]:`)""",
        arg=number,
        timeout=CELL_MILLISECONDS,
    )


def test_chapter_runs_cell_by_cell_and_shows_the_heap(
    browser: Browser, root: Path, lab: str
) -> None:
    cells = json.loads((root / "notebooks" / CHAPTER).read_text("utf-8"))["cells"]
    with visit(browser, lab) as seen:
        page = seen.page
        wait_for_kernel(page)
        page.locator(".jp-Notebook .jp-Cell").first.click()
        page.keyboard.press("Escape")
        count = 0
        for cell in cells:
            if cell["cell_type"] == "code":
                count += 1
                run_cell(page, count)
            else:
                page.keyboard.press("Shift+Enter")
            errors = page.locator("[data-mime-type='application/vnd.jupyter.error']")
            assert errors.count() == 0, errors.first.inner_text()
            if cell["source"] and "".join(cell["source"]).rstrip().endswith("\nheap"):
                picture = page.locator(".jp-OutputArea figure svg:visible").last
                picture.scroll_into_view_if_needed()
                box = picture.bounding_box()
                assert box is not None
                assert box["width"] > 200
                assert box["height"] > 50
        assert count > 20
