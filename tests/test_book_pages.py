"""What the book makes of an executed notebook before it is rendered."""

import nbformat.v4 as nbf
import pytest

from qbench import book


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("```bash\nqbench run 08 -p bits 8,3 \\\n  -p share 0.1\n```", "-p bits 8,3 -p share 0.1"),
        ("```bash\nqbench run 08 -p share 0.1  # quick\n```", "qbench run 08 -p share 0.1<"),
        ("Nothing to try.", "<code>qbench run 08</code>"),
    ],
)
def test_a_chapter_offers_its_first_command_whole(words, said):
    opening = nbf.new_markdown_cell("# Title\n\nWhat is asked.\n\n## Section")
    notebook = nbf.new_notebook(cells=[opening, nbf.new_markdown_cell(words)])
    offered = book._with_offer(notebook, "08_qkd_perceptrons")
    assert said in offered and "\\" not in offered
    assert offered.index("qb-offer") < offered.index("## Section")


def test_sentences_have_minus_signs():
    output = nbf.new_output("display_data", data={"text/markdown": "gains -0.2 points, `-p a -1`"})
    notebook = nbf.new_notebook(cells=[nbf.new_code_cell("f()", outputs=[output])])
    [cell] = book._clean(notebook).cells
    assert cell.outputs[0].data["text/markdown"] == "gains −0.2 points, `-p a -1`"
