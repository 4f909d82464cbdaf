"""The front page's figures: static forms of chapters' figures, from the executed notebooks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from nbformat import NotebookNode

SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)
LABEL = re.compile(r'<span class="qb-number-of" id="([\w-]+)">.*?</span> ')
TAG = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Picture:
    """A figure: its chapter, how its caption begins, and what it shows in a few words."""

    chapter: str
    caption: str
    words: str


CHOSEN = (
    Picture(
        "02_bit_width_sweep",
        "mnist: test error in percent after the last epoch",
        "What each bit is worth: 64 perceptrons on MNIST, weights by activations",
    ),
    Picture(
        "06_distillation",
        "a, MobileNetV2/FlexStudent. Test error of the student over",
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


def _figure(picture: Picture, notebook: NotebookNode) -> str:
    """The figure as a link to its place; nothing where the chapter was run without it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            page = "".join(output.get("data", {}).get("text/html", ""))
            drawn, caption = SVG.search(page), CAPTION.search(page)
            if not drawn or not caption:
                continue
            label = LABEL.match(caption[1])
            if TAG.sub("", caption[1][label.end() :]).startswith(picture.caption):
                place = f"../notebooks/{picture.chapter}.html#{label[1]}"
                words = escape(picture.words)
                return (
                    f'<figure><a href="{place}" aria-label="{words}">{drawn[0]}</a>'
                    f"<figcaption>{words}</figcaption></figure>\n"
                )
    return ""
