"""A Sphinx extension: our docstrings, which are written as Markdown, for autodoc.

A name in backticks becomes a link where the library has such a name, an indented block code.
"""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from qbench import library

CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
NAME = re.compile(r"^([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(.*\))?$")
ITEM = re.compile(r"^\s*([-*]|\d+\.) ")
ARGUMENT = re.compile(r"^([a-z]\w*(?:, [a-z]\w*)*): ")
ARRAY_LIKE = re.compile(
    r"(\w+\.)*_Buffer \| .*?_NestedSequence\[complex \| bytes \| str\]", re.DOTALL
)
# What may stand right behind inline markup in reStructuredText, besides a space.
BEHIND = "-.,:;!?/'\")]}>"


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("autodoc-before-process-signature", _complete)
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True}


def _complete(app: Any, obj: Any, bound: bool) -> None:
    """Give a module that names pandas for type checkers only what its signatures mean."""
    getattr(obj, "__globals__", {}).setdefault("pd", pd)


def _shorten(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, back: str | None
) -> tuple[str | None, str | None]:
    """NumPy's union of all that is like an array under its name."""
    return tuple(text and ARRAY_LIKE.sub("ArrayLike", text) for text in (signature, back))


def restructured(lines: Iterable[str], place: str) -> list[str]:
    """Lines of a docstring in the module `place` as reStructuredText."""
    found: list[str] = []
    inside = False  # of a block of code
    item = False  # the last paragraph is of a list
    for line in _arguments(list(lines)):
        before = found[-1] if found else ""
        indented = line.startswith("    ")
        if inside and line.strip() and not indented:
            inside = False
        if indented and not inside and not before.strip() and not item:
            found += ["::", ""]
            inside = True
        if inside:
            found.append(line)
            continue
        if ITEM.match(line):
            if before.strip() and not item:
                found.append("")
            item = True
        elif line.strip() and not line.startswith(" "):
            if item and before.strip():
                found.append("")
            item = False
        found.append(_inline(line, place))
    return found


def _arguments(lines: list[str]) -> list[str]:
    """With paragraphs of lines such as `size: height and width` as lists."""
    found: list[str] = []
    before, inside = "", False  # of such a list
    for line in lines:
        named = ARGUMENT.match(line)
        if named and (inside or not before.strip() or before.endswith(".")):
            inside = True
            found.append(f"- `{named[1]}`: {line[named.end() :]}")
        elif inside and line.strip() and not (before.endswith(".") and line[:1].isupper()):
            found.append(f"  {line.strip()}")
        else:
            found += ["", line] if inside and line.strip() else [line]
            inside = False
        before = line
    return found


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    place = name
    while place not in library.modules() and "." in place:
        place = place.rpartition(".")[0]
    lines[:] = restructured(lines, place)


def _inline(line: str, place: str) -> str:
    parts, end = [], 0
    for match in CODE.finditer(line):
        parts += [_plain(line[end : match.start()]), _code(match, line, place)]
        end = match.end()
    bullet = ITEM.match(line)
    if bullet and not parts:
        return bullet[0] + _plain(line[bullet.end() :])
    return "".join([*parts, _plain(line[end:])])


def _code(match: re.Match, line: str, place: str) -> str:
    """A link or a literal; reStructuredText wants no letter right before or after it."""
    text, named = match[1], NAME.match(match[1])
    full = library.resolve(named[1], place) if named else None
    before = "\\ " if match.start() and not line[match.start() - 1].isspace() else ""
    follows = line[match.end() : match.end() + 1]
    after = "\\ " if follows.strip() and follows not in BEHIND else ""
    return before + (f":py:obj:`{text} <{full}>`" if full else f"``{text}``") + after


def _plain(text: str) -> str:
    """Without what reStructuredText would take for markup."""
    return re.sub(r"([\\*|`])|(?<=\w)(_)(?!\w)", lambda m: "\\" + m[0], text)
