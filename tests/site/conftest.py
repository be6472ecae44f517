"""One browser for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import chromium
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, and Playwright's process and event loop, only while they are needed."""
    with chromium() as started:
        yield started
