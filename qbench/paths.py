"""Where things are in a checkout. qbench is installed in place (`pip install -e .`)."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"  # the book's notebooks
PAPER = ROOT / "data" / "paper"
PUBLISHED = ROOT / "data" / "results"
DEVICES = ROOT / "data" / "devices"


def local_results() -> Path:
    """Folder of the results computed here: `QBENCH_RESULTS`, else `results/` in the checkout."""
    return Path(os.environ.get("QBENCH_RESULTS") or ROOT / "results").expanduser().absolute()


def offered(chapter: str) -> Path:
    """Folder of the files that a chapter offers: in the book's build beside its notebook."""
    inside = EXECUTED if os.environ.get("QBENCH_BOOK") == "1" else local_results() / "offered"
    return inside / f"{chapter}_files"


def verdicts(chapter: str) -> Path:
    """File of the verdicts that a chapter of the book reached when it was executed last."""
    return EXECUTED / f"{chapter}.verdicts.jsonl"


def shown(path: Path) -> str:
    """`path` as a reader sees it: relative to the working directory where that is shorter."""
    path = Path(path).absolute()
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
