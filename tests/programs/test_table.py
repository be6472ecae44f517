"""The table of a cell's output."""

import pytest
from heapscope.teaching.table import Table


def test_html_is_a_real_table_and_escaped():
    page = Table(["call", "<bytes>"], [["`malloc(0)`", 24], ["a < b\nc", 1_000]])._repr_html_()
    assert page.startswith('<table class="hs-table"><thead><tr><th scope="col">call</th>')
    assert "&lt;bytes&gt;" in page
    assert "<td><code>malloc(0)</code></td>" in page
    assert "a &lt; b<br>c" in page


def test_numbers_are_aligned_in_both_forms():
    table = Table(["what", "MiB"], [["kept", "195"], ["gone", 3]])
    assert str(table) == "what  MiB\n----  ---\nkept  195\ngone    3"
    assert table._repr_html_().count("text-align:right") == 3


def test_words_are_not():
    assert "text-align" not in Table(["a", "b"], [["x", "3 and 4"], ["y", "5"]])._repr_html_()
    assert "text-align" not in Table(["a"], [[True]])._repr_html_()


def test_a_column_without_a_heading_heads_the_rows():
    page = Table(["", "says"], [["gcc", "nothing"]])._repr_html_()
    assert '<td></td><th scope="col">says</th>' in page
    assert '<th scope="row">gcc</th><td>nothing</td>' in page


def test_several_lines_in_a_cell():
    assert str(Table(["a", "b"], [["x\ny", "1"]])) == "a  b\n-  -\nx  1\ny"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="row 2 has 1 cells, and the head has 2"):
        Table(["a", "b"], [[1, 2], [3]])
