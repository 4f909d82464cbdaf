"""The chapters: which notebooks there are, what they are called, which profiles they have."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from qbench import paths
from qbench.errors import nearest
from qbench.parameters import CHAPTERS, ParameterError, check

SCALES = ("smoke", "laptop", "paper")


@dataclass(frozen=True)
class Chapter:
    """One notebook, `notebooks/NN_topic.ipynb`."""

    name: str

    @property
    def file(self) -> Path:
        return paths.NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def title(self) -> str:
        """The notebook's first heading."""
        cells = json.loads(self.file.read_text(encoding="utf-8"))["cells"]
        lines = (line for cell in cells for line in "".join(cell["source"]).splitlines())
        return next(line.removeprefix("# ") for line in lines if line.startswith("# "))


def all_chapters() -> list[Chapter]:
    """Every chapter, in the book's order."""
    return [Chapter(name) for name in sorted(CHAPTERS)]


def find(text: str) -> Chapter:
    """The chapter that a reader means by `2`, `02`, `bit_width_sweep` or `02_bit_width_sweep`.

    Raises `ParameterError` naming the chapters there are.
    """
    for name in CHAPTERS:
        number, _, topic = name.partition("_")
        if text.removesuffix(".ipynb") in (name, topic) or (
            text.isdigit() and int(text) == int(number)
        ):
            return Chapter(name)
    hint = nearest([part for n in CHAPTERS for part in (n, n[3:])], text)
    raise ParameterError(
        f"There is no chapter {text!r}{hint}; there are {', '.join(sorted(CHAPTERS))}."
    )


def profiles(chapter: Chapter) -> dict[str, dict[str, Any]]:
    """Parameters of each profile of `chapter`, from `notebooks/profiles.yml`.

    `published` is the profile whose results are stored and shown in the book: in the file, the name
    of one of the others. Raises `ParameterError` where the file is not what it should be.
    """
    file = paths.NOTEBOOKS / "profiles.yml"
    said = yaml.safe_load(file.read_text(encoding="utf-8")).get(chapter.name)
    if not isinstance(said, dict) or set(said) != {*SCALES, "published"}:
        wanted = ", ".join((*SCALES, "published"))
        raise ParameterError(f"{paths.shown(file)}: {chapter.name} must have exactly {wanted}.")
    if said["published"] not in SCALES:
        raise ParameterError(
            f"{paths.shown(file)}: published of {chapter.name} must be one of {', '.join(SCALES)}."
        )
    return {**said, "published": said[said["published"]]}


def parameters(chapter: Chapter, profile: str, explicit: Mapping[str, Any]) -> dict[str, Any]:
    """All validated parameters of a run: the profile's, overridden by the explicit ones.

    Raises `ParameterError`, one sentence a fault.
    """
    known = profiles(chapter)
    if profile not in known:
        raise ParameterError(f"profile must be one of {', '.join(known)}, not {profile!r}.")
    return check(chapter.name, **{**known[profile], **explicit}).model_dump()
