"""The front page's figures: static forms of chapters' figures, from the executed notebooks.

`python -m qbench.gallery` writes them as files for the README.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from qbench import numbering, paths
from qbench.errors import UserError
from qbench.files import write_atomically

PICTURES = paths.BOOK / "_static" / "gallery"

SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)
LABEL = re.compile(r'<span class="qb-number-of" id="([\w-]+)">.*?</span> ')
TAG = re.compile(r"<[^>]+>")
STYLE = re.compile(r'(?<=<svg )(.*?)style="[^"]*"', re.DOTALL)
ON_WHITE = r'\1style="color:#222832;background:#fff" width="480"'  # ink of the light theme


class GalleryError(UserError, RuntimeError):
    """A picture cannot be made."""


@dataclass(frozen=True)
class Picture:
    """A figure: its chapter, how its caption begins, and what it shows in a few words."""

    chapter: str
    caption: str
    words: str


CHOSEN = (
    Picture(
        "02_bit_width_sweep",
        "MNIST: test error in per cent after the last epoch",
        "What each bit is worth: 64 perceptrons on MNIST, weights by activations",
    ),
    Picture(
        "06_distillation",
        "MobileNetV2/FlexStudent. Test error of the student over",
        "What a teacher is worth: a student's error over the teacher's weight and temperature",
    ),
    Picture(
        "07_evolution",
        "Every network that was tried",
        "Evolved students on CIFAR-10: error against measured latency, and the front",
    ),
)


def generated(notebooks: Mapping[str, NotebookNode]) -> dict[str, str]:
    """Markdown by file name, for `book/generated/`, from numbered notebooks by chapter's name."""
    shown = [_figure(picture, notebooks[picture.chapter]) for picture in CHOSEN]
    return {
        "gallery.md": f'```{{raw}} html\n<div class="qb-gallery">\n{"".join(shown)}</div>\n```\n'
    }


def write(folder: Path = PICTURES) -> list[Path]:
    """The figures as files for the README, from the chapters as they were executed last.

    Raises `GalleryError`, before it writes, where a chapter was not executed or lacks its figure.
    """
    drawn = {}
    for picture in CHOSEN:
        executed = paths.EXECUTED / f"{picture.chapter}.ipynb"
        if not executed.exists():
            raise GalleryError(f"{picture.chapter} has not been executed: run `make book` first.")
        notebook = numbering.number(nbformat.read(executed, as_version=4), int(picture.chapter[:2]))
        found = _found(picture, notebook)
        if found is None:
            raise GalleryError(f"{picture.chapter} has no figure {picture.caption!r}.")
        drawn[folder / f"{picture.chapter}.svg"] = STYLE.sub(ON_WHITE, found[0], count=1)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in drawn.items():
        write_atomically(file, text.encode())
    return list(drawn)


def _figure(picture: Picture, notebook: NotebookNode) -> str:
    """The figure as a link to its place; nothing where the chapter was run without it."""
    found = _found(picture, notebook)
    if found is None:
        return ""
    place = f"../notebooks/{picture.chapter}.html#{found[1]}"
    words = escape(picture.words)
    return (
        f'<figure><a href="{place}" aria-label="{words}">{found[0]}</a>'
        f"<figcaption>{words}</figcaption></figure>\n"
    )


def _found(picture: Picture, notebook: NotebookNode) -> tuple[str, str] | None:
    """Drawing and place of the figure in a numbered notebook."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            page = "".join(output.get("data", {}).get("text/html", ""))
            drawn, caption = SVG.search(page), CAPTION.search(page)
            if not drawn or not caption:
                continue
            label = LABEL.match(caption[1])
            if TAG.sub("", caption[1][label.end() :]).startswith(picture.caption):
                return drawn[0], label[1]
    return None


if __name__ == "__main__":
    for written in write():
        print(paths.shown(written))
