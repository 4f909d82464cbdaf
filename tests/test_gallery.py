"""The front page's figures come from the chapters, and lead to them."""

import nbformat

from qbench import gallery, numbering

v4 = nbformat.v4


def chapter(*captions: str, number: int = 2):
    pages = [
        f"<figure><svg viewBox='0 0 1 1'>{place}</svg>\n<figcaption>{caption}</figcaption></figure>"
        for place, caption in enumerate(captions)
    ]
    cell = v4.new_code_cell("…")
    cell.outputs = [v4.new_output("display_data", data={"text/html": page}) for page in pages]
    return numbering.number(v4.new_notebook(cells=[cell]), number)


def test_each_figure_is_found_by_its_caption_and_links_to_its_place():
    notebooks = {
        one.chapter: chapter(
            "another",
            f"<b>{one.caption[:5]}</b>{one.caption[5:]} more",
            number=int(one.chapter[:2]),
        )
        for one in gallery.CHOSEN
    }
    text = gallery.generated(notebooks)["gallery.md"]
    assert text.count("<svg") == text.count(">1</svg>") == len(gallery.CHOSEN) == 3
    assert 'href="../notebooks/02_bit_width_sweep.html#figure-2-2"' in text


def test_a_figure_that_is_not_there_is_left_out():
    notebooks = {one.chapter: chapter("something else") for one in gallery.CHOSEN}
    assert "<figure>" not in gallery.generated(notebooks)["gallery.md"]
