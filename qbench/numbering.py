"""Numbers of a page's figures, tables and equations, given when the book is put together.

Ours have a hyphen, `Figure 9-1`, as printed ones have a point. Prose refers to the nearest one:
`` {figure}`next` ``, `` {table}`last` `` or `` {equation}`next` `` becomes a link to the next one
of its kind after this place, or to the last one before it. `` {equation}`5-2` `` is the second
equation of chapter 5, from any chapter.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode

KINDS = ("figure", "table", "equation")
CAPTION = re.compile(r"<(figcaption|caption)>")
EQUATION = re.compile(r"^\$\$(?:(?!\$\$).)+\$\$(?=[ \t]*$)", re.DOTALL | re.MULTILINE)
REFERENCE = re.compile(
    rf"\{{({'|'.join(KINDS)})\}}`(next|last)`|\{{equation\}}`(?P<there>\d+-\d+)`"
)


@dataclass
class _Counts:
    """How many of each kind were met, and how many there are."""

    chapter: int
    met: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    total: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def next(self, kind: str) -> str:
        """The name of another one, such as `table-9-2`."""
        self.met[kind] += 1
        return f"{kind}-{self.chapter}-{self.met[kind]}"

    def link(self, match: re.Match) -> str:
        """A reference as a link; plain words where there is none to link to."""
        if match["there"]:  # Sphinx says so where no page has it
            return f"{{eq}}`equation-{match['there']}`"
        kind, which = match.groups()[:2]
        number = self.met[kind] + (which == "next")
        if not 1 <= number <= self.total[kind]:
            return f"the {which} {kind}"
        name = f"{kind}-{self.chapter}-{number}"
        if kind == "equation":
            return f"{{eq}}`{name}`"
        # Not Markdown's own link: Sphinx does not know the places in what cells have put out.
        return f'<a href="#{name}">{kind.capitalize()} {self.chapter}-{number}</a>'


def number(notebook: NotebookNode, chapter: int) -> NotebookNode:
    """Number what an executed notebook shows, in place; returns it.

    A caption of a figure or a table begins with its number, which a link can lead to; a displayed
    equation gets a label.
    """
    counts = _Counts(chapter)
    counts.total = _totals(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _prose(cell.source, counts)
        for shown in _pages(cell):
            shown["text/html"] = CAPTION.sub(
                lambda match: match[0] + _label(counts, match[1]), "".join(shown["text/html"])
            )
    return notebook


def _totals(notebook: NotebookNode) -> dict[str, int]:
    found = dict.fromkeys(KINDS, 0)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found["equation"] += len(EQUATION.findall(cell.source))
        for shown in _pages(cell):
            for tag in CAPTION.findall("".join(shown["text/html"])):
                found[_kind(tag)] += 1
    return found


def _prose(source: str, counts: _Counts) -> str:
    """Equations with labels and references as links, in the order in which they stand."""
    both = re.compile(f"(?P<equation>{EQUATION.pattern})|{REFERENCE.pattern}", EQUATION.flags)

    def replaced(match: re.Match) -> str:
        if match["equation"]:
            return f"{match['equation']} ({counts.next('equation')})"
        return counts.link(REFERENCE.fullmatch(match[0]))

    return both.sub(replaced, source)


def _label(counts: _Counts, tag: str) -> str:
    name = counts.next(_kind(tag))
    kind, _, number = name.partition("-")
    return f'<span class="qb-number-of" id="{name}">{kind.capitalize()} {number}.</span> '


def _kind(tag: str) -> str:
    return "figure" if tag == "figcaption" else "table"


def _pages(cell: NotebookNode) -> Iterator[dict]:
    for output in cell.get("outputs", []):
        if "text/html" in output.get("data", {}):
            yield output["data"]
