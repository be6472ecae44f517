"""A film in JupyterLab: the list of steps while nobody trusts the notebook, then the element."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from browser import visit
from playwright.sync_api import Browser
from test_lab import CELL_MILLISECONDS, lab, run_cell, wait_for_kernel

sys.path.insert(0, str(Path(__file__).parents[1] / "views"))

import films
from heapscope.views.film import player
from heapscope.views.steps import steps

assert lab

SOURCE = """\
from heapscope import Heap
heap = Heap()
a = heap.lib.malloc(24)
heap.lib.free(a)
heap.film()"""


def put(address: str, name: str, notebook: dict[str, object]) -> str:
    """Store a notebook in JupyterLab's folder; returns the address that opens it."""
    parts = urlsplit(address)
    token = parse_qs(parts.query)["token"][0]
    server = f"{parts.scheme}://{parts.netloc}"
    body = json.dumps({"type": "notebook", "format": "json", "content": notebook})
    request = urllib.request.Request(
        f"{server}/api/contents/{name}",
        body.encode(),
        {"Authorization": f"token {token}", "Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=10).close()
    return f"{server}/lab/tree/{name}?token={token}"


def test_untrusted_then_run(browser: Browser, lab: str) -> None:
    film = films.overflow()
    data = {"text/html": player(film).html(), "text/plain": player(film).text()}
    stored = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}
    cell = {
        "cell_type": "code",
        "id": "film",
        "metadata": {},
        "execution_count": 1,
        "source": SOURCE,
        "outputs": [stored],
    }
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = {
        "cells": [cell],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    with visit(browser, put(lab, "film.ipynb", notebook)) as seen:
        page = seen.page
        page.wait_for_selector(".jp-OutputArea-output", timeout=60_000)
        text = page.inner_text(".jp-OutputArea-output")
        for said in steps(film):
            assert said.say in text  # words are not lost with the scripts
        assert page.locator("figure.hf").count() == 0
        wait_for_kernel(page)
        page.locator(".jp-Notebook .jp-Cell").first.click()
        page.keyboard.press("Escape")
        run_cell(page, 1)
        page.wait_for_selector("figure.hf", timeout=CELL_MILLISECONDS)
        page.focus("heap-film input")
        page.keyboard.press("End")
        assert page.evaluate("document.querySelector('heap-film').step") == 1
        assert "a is free" in page.inner_text(".hf-say")
        assert page.locator(".hf-mem .hf-w").count() > 4
