"""The pinned packages and their licences, as each package's own metadata states them."""

import importlib.metadata

import pandas as pd
from packaging.requirements import Requirement

from qbench.paths import ROOT

UNSTATED = "not stated in its metadata"
#: Those that state a text or nothing: read in the texts that they carry (a test looks there again).
READ = {"axe-playwright-python": "MIT", "brevitas": "BSD-3-Clause", "graphemeu": "MIT"}
LONGEST = 100  # characters: more is the licence's text, not its name


def pinned() -> list[Requirement]:
    """The lines of `requirements.lock`, in its order."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def table() -> pd.DataFrame:
    """A row a pinned package: `package`, `version`, `where` (empty: everywhere), `licence`."""
    rows = [
        {
            "package": pin.name,
            "version": str(pin.specifier).removeprefix("=="),
            "where": str(pin.marker or ""),
            "licence": of(pin.name),
        }
        for pin in pinned()
    ]
    return pd.DataFrame(rows)


def of(package: str) -> str:
    """A package's SPDX expression, or its classifiers, or its licence field, in this order."""
    try:
        stated = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed here"
    if expression := stated.get("License-Expression"):
        return expression
    named = [one.split(" :: ")[-1] for one in stated.get_all("Classifier", []) if "License" in one]
    if named := [one for one in named if one != "OSI Approved"]:
        return "; ".join(named)
    words = (stated.get("License") or "").strip()
    if words and "\n" not in words and len(words) <= LONGEST:
        return words
    return READ.get(package, UNSTATED)
