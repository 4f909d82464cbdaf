"""A new chapter from a template that runs: notebook, parameters, study, test, and its entries.

The template in `qbench/chapter_template/` is a small experiment of its own, so that what is made
can be run at once and be replaced part by part.
"""

import keyword
import re
from pathlib import Path

from qbench import paths
from qbench.errors import UserError
from qbench.files import write_atomically

TEMPLATE = Path(__file__).parent / "chapter_template"
#: What is made of each part of the template.
MADE = {
    "notebook.ipynb.txt": "notebooks/{name}.ipynb",
    "parameters.py.txt": "qbench/parameters/{topic}.py",
    "study.py.txt": "qbench/studies/{topic}.py",
    "test.py.txt": "tests/test_studies_{topic}.py",
}


class NewChapterError(UserError, ValueError):
    """A chapter cannot be made."""

    status = 2


def create(topic: str, title: str, *, number: int | None = None) -> list[Path]:
    """Make chapter `number` (None: the next one) about `topic`; returns the files, new ones first.

    topic: the module's name, such as `grey_levels`; title: the page's heading. It is entered in
    `qbench/parameters/__init__.py`, `notebooks/profiles.yml`, the book's contents, its front page
    and the README. Raises `NewChapterError` before anything is written: for a topic that is no
    name, a number or a file that is taken, or a place where an entry cannot be put.
    """
    number = _checked(topic, title, number)
    said = {
        "__name__": f"{number:02d}_{topic}",
        "__number__": f"{number:02d}",
        "__topic__": topic,
        "__words__": topic.replace("_", " "),
        "__Class__": "".join(part.capitalize() for part in topic.split("_")),
        "__title__": title,
    }
    texts = {}
    for part, where in MADE.items():
        file = paths.ROOT / where.format(name=said["__name__"], topic=topic)
        if file.exists():
            raise NewChapterError(f"{paths.shown(file)} is there already: take another topic.")
        text = (TEMPLATE / part).read_text(encoding="utf-8")
        for token, value in said.items():
            text = text.replace(token, value)
        texts[file] = text
    texts |= _entries(number, title, said)
    for file, text in texts.items():
        write_atomically(file, text.encode())
    return list(texts)


def _checked(topic: str, title: str, number: int | None) -> int:
    from qbench.parameters import CHAPTERS

    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", topic) or keyword.iskeyword(topic):
        raise NewChapterError(
            f"the topic must be small letters and digits with _ between words, not {topic!r}."
        )
    if not title.strip() or re.search(r'["\\\n|]', title):
        raise NewChapterError(f"the title must be one line without quotes, \\ or |, not {title!r}.")
    there = {file.name for file in paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")}
    taken = sorted({int(name[:2]) for name in [*CHAPTERS, *there]})  # also made in this process
    number = taken[-1] + 1 if number is None else number
    if number in taken or not 1 <= number <= 99:
        raise NewChapterError(
            f"the number must be from 1 to 99 and none of {', '.join(map(str, taken))}, "
            f"not {number}."
        )
    return number


def _entries(number: int, title: str, said: dict[str, str]) -> dict[Path, str]:
    """The changed text of every file that lists the chapters."""
    name, topic, model = said["__name__"], said["__topic__"], said["__Class__"]
    registry = paths.ROOT / "qbench" / "parameters" / "__init__.py"
    profiles = paths.NOTEBOOKS / "profiles.yml"
    contents = paths.BOOK / "_toc.yml"
    front = paths.BOOK / "intro.md"
    readme = paths.ROOT / "README.md"
    text = {
        file: file.read_text(encoding="utf-8")
        for file in (registry, profiles, contents, front, readme)
    }
    chapter = r"^      - file: notebooks/.*\n(        title: .*\n)?"
    card = r"^```\{grid-item-card\} \d+ · (?:.*\n)+?```\n"
    shown = f"../notebooks/{name}\n:link-type: doc\nSay what the chapter answers.\n```\n"
    text[registry] = _in_order(registry, text[registry], topic, model)
    text[registry] = _after_last(
        registry, text[registry], r'^    "\d\d_\w+": \w+,\n', f'    "{name}": {model},\n'
    )
    scales = "  smoke: {}\n  laptop: {}\n  paper: {}\n  published: smoke\n"
    text[profiles] += f"\n{name}:\n{scales}"
    text[contents] = _after_last(
        contents,
        text[contents],
        chapter,
        f"      - file: notebooks/{name}\n        title: {number} · {title}\n",
    )
    text[front] = _after_last(
        front,
        text[front],
        card,
        f"\n```{{grid-item-card}} {number} · {title}\n:link: {shown}",
    )
    text[readme] = _after_last(
        readme,
        text[readme],
        r"^\| \d+ .*\|\n",
        f"| {number} {title} | name the publication | say what is on the page |\n",
    )
    return text


def _in_order(file: Path, text: str, topic: str, model: str) -> str:
    """`text` with the import of `model`, and its name in `__all__`, each in its place."""
    for pattern, line in (
        (r"^from \.(\w+) import .*\n", f"from .{topic} import {model}\n"),
        (r'^    "([A-Z]\w+)",\n', f'    "{model}",\n'),
    ):
        new = re.match(pattern, line)[1]
        later = [one for one in re.finditer(pattern, text, re.MULTILINE) if one[1] > new]
        if later:
            text = text[: later[0].start()] + line + text[later[0].start() :]
        else:
            text = _after_last(file, text, pattern, line)
    return text


def _after_last(file: Path, text: str, pattern: str, new: str) -> str:
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if not found:
        raise NewChapterError(f"{paths.shown(file)} has no chapter behind which a new one can go.")
    return text[: found[-1].end()] + new + text[found[-1].end() :]
