"""What tests of several folders share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def html() -> Path:
    """The built book."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail("the book is not built: make book")
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `page_name` once for each page of the built book."""
    if "page_name" in metafunc.fixturenames:
        folder = ROOT / "_build" / "html"
        pages = sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*.html")
            if "_static" not in path.parts
        )
        metafunc.parametrize("page_name", pages or ["index.html"])
    if "notebook_path" in metafunc.fixturenames:
        notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
        metafunc.parametrize(
            "notebook_path",
            [pytest.param(path, id=path.stem, marks=_marks(metafunc, path)) for path in notebooks],
        )


@pytest.hookimpl(tryfirst=True)  # before those that are marked long are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of a sampled test that are not of the sample as long."""
    seen: Counter[str] = Counter()
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if sampled is not None:
            test = item.nodeid.split("[")[0]
            if seen[test] % sampled.args[0]:
                item.add_marker(pytest.mark.long)
            seen[test] += 1


EXECUTED_ALWAYS = ("02-", "05-", "08-")
"""Of these chapters `make test` shows that a second run gives the same page; of all, test-long."""


def _marks(metafunc: pytest.Metafunc, path: Path) -> list[pytest.MarkDecorator]:
    again = "folder" in metafunc.fixturenames  # the tests that execute the notebook once more
    return [pytest.mark.long] if again and not path.stem.startswith(EXECUTED_ALWAYS) else []
