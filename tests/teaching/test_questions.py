"""question() and the keys that the text marks."""

from __future__ import annotations

from typing import Any

import pytest
from heapscope.teaching.questions import MIME, keys_of, question
from notebook_shell import Shell

TEXT = """\
Before.

<!-- question: two-and-two -->
**What are two and two?**

<details><summary>a. <code>3</code></summary>

No. That is too little.

</details>

<details><summary>b. Four.</summary>

Yes. Count them.

</details>

<!-- question: three -->
**And three?**

<details><summary>a. Three.</summary>

Yes.

</details>
<details><summary>b. Two.</summary>

No.

</details>
"""


def book(*texts: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "markdown", "source": t.splitlines(True)} for t in texts]}


def test_the_record_has_the_letter_and_what_is_shown_does_not(shell: Shell) -> None:
    shell.run("from heapscope.teaching.questions import question\nn = 4")
    records = shell.records("question('two-and-two', right='b' if n == 4 else 'a')\nn", MIME)
    assert records == [{"id": "two-and-two", "right": "b"}]
    shown = shell.shown[0]
    assert shown["text/plain"] == "question two-and-two: decided by this run"
    assert "two-and-two: decided by this run" in shown["text/html"]


@pytest.mark.parametrize("right", ["f", "B", "", "ab", "a ", None, 1])
def test_what_is_no_letter_is_refused(right: Any) -> None:
    with pytest.raises(ValueError, match="is no choice"):
        question("two-and-two", right=right)


@pytest.mark.parametrize("name", ["Two", "two and two", "", "two--two", 3])
def test_a_bad_id_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="lower-case words"):
        question(name, right="a")


def test_keys_are_read_from_the_text() -> None:
    assert keys_of(book("Nothing.", TEXT)) == {"two-and-two": ("b",), "three": ("a",)}


def test_a_question_of_two_cells_ends_with_the_cell() -> None:
    start, rest = TEXT.split("<!-- question: three -->")
    assert keys_of(book(start, "<!-- question: three -->" + rest)) == keys_of(book(TEXT))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Yes. Count", "Right. Count", "begins with neither"),
        ("summary>b. Four", "summary>c. Four", "its choices are a, b"),
        ("question: three", "question: two-and-two", "twice"),
        ("<details><summary>b. Two.</summary>\n\nNo.\n\n</details>\n", "", "its choices are a, b"),
    ],
)
def test_a_question_that_is_not_well_formed_is_named(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=said):
        keys_of(book(TEXT.replace(old, new)))
