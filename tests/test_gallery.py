"""The front page's figures come from the chapters, and lead to them."""

import nbformat
import pytest

from qbench import gallery, numbering, paths

v4 = nbformat.v4


def chapter(*captions: str, number: int = 2):
    return numbering.number(executed(*captions), number)


def executed(*captions: str):
    pages = [
        f"<figure><svg viewBox='0 0 1 1'>{place}</svg>\n<figcaption>{caption}</figcaption></figure>"
        for place, caption in enumerate(captions)
    ]
    cell = v4.new_code_cell("…")
    cell.outputs = [v4.new_output("display_data", data={"text/html": page}) for page in pages]
    return v4.new_notebook(cells=[cell])


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


def test_the_readme_shows_them_with_words_and_they_are_small():
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    files = [gallery.PICTURES / f"{one.chapter}.svg" for one in gallery.CHOSEN]
    for one, file in zip(gallery.CHOSEN, files, strict=True):
        assert f'src="{file.relative_to(paths.ROOT)}" alt="{one.words}"' in readme
    assert sum(file.stat().st_size for file in files) < 600_000


def test_pictures_are_written_all_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "EXECUTED", tmp_path)
    with pytest.raises(gallery.GalleryError, match="has not been executed"):
        gallery.write(tmp_path / "made")
    for one in gallery.CHOSEN:
        notebook = executed(one.caption)
        text = nbformat.writes(notebook).replace("<svg viewBox", '<svg style=\\"a\\" viewBox')
        (tmp_path / f"{one.chapter}.ipynb").write_text(text)
    made = gallery.write(tmp_path / "made")
    assert len(made) == 3 and all("background:#fff" in file.read_text() for file in made)
    monkeypatch.setattr(gallery, "CHOSEN", (gallery.Picture("02_bit_width_sweep", "no such", ""),))
    with pytest.raises(gallery.GalleryError, match="has no figure 'no such'"):
        gallery.write(tmp_path / "none")
    assert not (tmp_path / "none").exists()
