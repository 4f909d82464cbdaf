"""Chapter 18: does a teacher help more where the student has fewer bits? From chapter 8's store.

Nothing is trained: what chapter 8 published is read, and what is missing is left out. A gain is the
test error of quantisation-aware training for as long as QKD takes, less that with a teacher, seed
by seed.
"""

from typing import Any

import numpy as np
import pandas as pd

from qbench import chapters, parameters, store
from qbench.parameters import PerceptronQkd
from qbench.qkd import runs

from . import qkd_perceptrons as perceptrons
from .qkd import METHODS
from .seeds import interval, plus_minus

ALONE = "long qat"
TAUGHT = ("qat+kd", "qkd")
RANGES = {"minmax": "minimum and maximum", "learnt": "learnt intervals"}


def asked() -> PerceptronQkd:
    """Parameters of chapter 8 as it is published."""
    chapter = chapters.find("08")
    return parameters.check(chapter.name, **chapters.profiles(chapter)["published"])


def errors(p: PerceptronQkd | None = None) -> pd.DataFrame:
    """Test errors (%) of the student that are stored: `method`, `quantiser`, `bits`, `seed`."""
    rows = []
    for cell in perceptrons.cells(p or asked()):
        if cell.network != perceptrons.STUDENT or cell.method not in (ALONE, *TAUGHT):
            continue
        entry = store.find(store.spec(runs.study, **runs.complete(cell.spec)))
        if entry is not None:
            rows.append(
                {
                    "method": cell.method,
                    "quantiser": cell.quantiser,
                    "bits": cell.bits,
                    "seed": cell.seed,
                    "test_error": float(store.read(entry)["test_error"].iloc[-1]),
                }
            )
    return pd.DataFrame(rows, columns=["method", "quantiser", "bits", "seed", "test_error"])


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """The gain of each method over `ALONE` with the same bits, ranges and seed (points)."""
    keys = ["quantiser", "bits", "seed"]
    alone = table[table["method"] == ALONE].set_index(keys)["test_error"]
    taught = table[table["method"] != ALONE].join(alone.rename("alone"), on=keys, how="inner")
    return taught.assign(gain=taught["alone"] - taught["test_error"])


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each method, ranges and bits: `alone` (test error, %), `gain` and `half`, its 95 %
    interval over seeds; `line`, what a figure calls it. Above 0 the teacher helps.
    """
    rows = []
    for keys, group in by_seed(table).groupby(["method", "quantiser", "bits"], sort=False):
        gain, half = interval(group["gain"])
        row = dict(zip(("method", "quantiser", "bits"), keys, strict=True))
        row |= {"alone": group["alone"].mean(), "gain": gain, "half": half, "seeds": len(group)}
        rows.append(row | {"line": _line(row), "low": gain - half, "high": gain + half})
    found = pd.DataFrame(rows)
    return found if found.empty else found.sort_values("bits", ascending=False, kind="stable")


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """How the gain grows each time that bits are halved: least squares over log₂ bits, by seed.

    A row for each method and ranges with at least two widths: `line`, `slope` (points a halving),
    `half`, its 95 % interval over seeds, and `verdict`.
    """
    rows = []
    for keys, group in by_seed(table).groupby(["method", "quantiser"], sort=False):
        if group["bits"].nunique() < 2:
            continue
        each = group.groupby("seed")[["bits", "gain"]].apply(
            lambda one: -np.polyfit(np.log2(one["bits"]), one["gain"], 1)[0]
        )
        slope, half = interval(each)
        said = "more" if slope - half > 0 else "less" if slope + half < 0 else "cannot tell"
        row = dict(zip(("method", "quantiser"), keys, strict=True))
        rows.append({"line": _line(row), "slope": slope, "half": half, "verdict": said})
    return pd.DataFrame(rows, columns=["line", "slope", "half", "verdict"])


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """`gains` as the page shows them: a row a width, a column a method and ranges."""
    text = [plus_minus(one.gain, one.half, signed=True) for one in found.itertuples()]
    wide = found.assign(text=text).pivot(index="bits", columns="line", values="text")
    wide = wide.sort_index(ascending=False)[list(dict.fromkeys(found["line"]))]
    return wide.fillna("–").reset_index().rename_axis(columns=None)


def answer(found: pd.DataFrame, slope: pd.DataFrame) -> str:
    """What follows, as Markdown."""
    if found.empty:
        return "**No answer**: of chapter 8 nothing is stored that could be compared."
    more = slope[slope["verdict"] == "more"]
    lines = [
        f"{one.line}: {one.slope:+z.2f} ± {one.half:.2f} points each time that bits are halved, "
        f"{_word(one.verdict)}"
        for one in slope.itertuples()
    ]
    clear = found[found["gain"] - found["half"] > 0]
    worse = found[found["gain"] + found["half"] < 0]
    if len(slope) and len(more) == len(slope):
        said = "**A teacher helps more where the student has fewer bits**"
    elif len(more):
        said = f"**A teacher helps more with fewer bits in {len(more)} of {len(slope)} settings**"
    elif (less := int((slope["verdict"] == "less").sum())) and len(slope):
        said = (
            "**A teacher does not help more where the student has fewer bits; it helps less in "
            f"{less} of {len(slope)} settings**"
        )
    else:
        said = "**That a teacher helps more where the student has fewer bits is not settled**"
    return (
        f"{said} ({'; '.join(lines)}). Of {len(found)} gains over training alone for as long, "
        f"{len(clear)} are above 0 beyond what seeds explain, {len(worse)} below; intervals are "
        "95 % each, so that one in twenty may be so by luck."
    )


def _word(verdict: str) -> str:
    return {"more": "more", "less": "less"}.get(verdict, "within what seeds do")


def _line(row: dict[str, Any]) -> str:
    return f"{METHODS[row['method']]}, {RANGES[row['quantiser']]}"


def alone(found: pd.DataFrame) -> pd.DataFrame:
    """Test error (%) without a teacher: a row a width, a column for each way to find ranges."""
    wide = found.pivot_table(index="bits", columns="quantiser", values="alone", sort=False)
    wide = wide.rename(columns=RANGES).sort_index(ascending=False)
    return wide.reset_index().rename_axis(columns=None)


def described() -> str:
    """The scale of those trainings, for a caption."""
    return perceptrons.described(asked())
