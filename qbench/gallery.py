"""The front page's figures: static forms of chapters' figures, from the executed notebooks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from nbformat import NotebookNode

SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
LABEL = re.compile(r'<span class="qb-number-of" id="([\w-]+)">')


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
        "07_evolution",
        "Every network that was tried",
        "Evolved students on CIFAR-10: error against measured latency, and the front",
    ),
    Picture(
        "15_comparison",
        "Every network of fashion-mnist",
        "All methods in one plane: accuracy against throughput on an FPGA, by models",
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
    begins = re.compile(rf"<figcaption>{LABEL.pattern}[^<]*</span> {re.escape(picture.caption)}")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            page = "".join(output.get("data", {}).get("text/html", ""))
            drawn, label = SVG.search(page), begins.search(page)
            if drawn and label:
                place = f"../notebooks/{picture.chapter}.html#{label[1]}"
                words = escape(picture.words)
                return (
                    f'<figure><a href="{place}" aria-label="{words}">{drawn[0]}</a>'
                    f"<figcaption>{words}</figcaption></figure>\n"
                )
    return ""
