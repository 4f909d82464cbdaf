"""Figures, tables and equations are numbered in order, and prose finds the nearest one."""

import nbformat

from qbench import numbering

v4 = nbformat.v4
TABLE = '<a href="#table-9-1">Table 9-1</a>'


def shown(*pages: str):
    outputs = [v4.new_output("display_data", data={"text/html": page}) for page in pages]
    cell = v4.new_code_cell("…")
    cell.outputs = outputs
    return cell


def numbered(*cells):
    return numbering.number(v4.new_notebook(cells=list(cells)), 9).cells


def test_captions_and_equations_are_numbered_in_the_order_of_the_page():
    first, prose, second = numbered(
        shown("<table><caption>a</caption></table>", "<figcaption>b</figcaption>"),
        v4.new_markdown_cell("one\n\n$$x = 1$$\n\ntwo\n\n$$\ny\n= 2\n$$\n"),
        shown("<table><caption>c</caption></table><table><caption>d</caption></table>"),
    )
    pages = [output.data["text/html"] for output in first.outputs + second.outputs]
    assert 'id="table-9-1">Table 9-1.</span> a<' in pages[0]
    assert 'id="figure-9-1">Figure 9-1.</span> b<' in pages[1]
    assert "Table 9-2.</span> c<" in pages[2] and "Table 9-3.</span> d<" in pages[2]
    assert "$$x = 1$$ (equation-9-1)\n" in prose.source
    assert "$$\ny\n= 2\n$$ (equation-9-2)\n" in prose.source


def test_prose_refers_to_the_next_and_the_last():
    cells = numbered(
        v4.new_markdown_cell(
            "{table}`last`, {table}`next`, {equation}`next`\n\n$$x$$\n\n{equation}`last`"
        ),
        shown("<caption>a</caption>", "<figcaption>b</figcaption>"),
        v4.new_markdown_cell("{table}`last`, {table}`next`, {figure}`last`"),
        shown("<caption>c</caption>"),
    )
    assert cells[0].source.startswith(f"the last table, {TABLE}, {{eq}}`equation-9-1`")
    assert cells[0].source.endswith("\n\n{eq}`equation-9-1`")
    figure = '<a href="#figure-9-1">Figure 9-1</a>'
    assert cells[2].source == f"{TABLE}, {TABLE.replace('-1', '-2')}, {figure}"


def test_what_is_not_shown_leaves_words_and_nothing_else_changes():
    source = "{figure}`next` costs $5 and $$inline$$ stays, as does `{table}` and {eq}`a`"
    (cell,) = numbered(v4.new_markdown_cell(source))
    assert cell.source == source.replace("{figure}`next`", "the next figure")


def test_an_equation_of_another_chapter_is_found_by_its_number():
    text = "By {equation}`5-2` and {equation}`last`: {equation}`x`\n\n$$x$$"
    (cell,) = numbered(v4.new_markdown_cell(text))
    assert cell.source.startswith("By {eq}`equation-5-2` and the last equation: {equation}`x`")
