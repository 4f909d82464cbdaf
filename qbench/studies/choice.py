"""Chapter 16: which of many networks suit a device, by what is asked of them.

Pure functions of a table of candidates; `book/_static/choice.js` does the same in the page, and
`tests/test_choice_page.py` holds the two together. A candidate is a network in one folding (on a
CPU: as it was timed), a row with

- `network`: its number; a network can have several foldings;
- `accuracy` (%) and `half`, of its 95 % interval over seeds, NaN for one seed;
- `rate` (frames/s), `energy` (µJ an image);
- `share`: the largest part of any resource of the device that it takes, 0 on a CPU;
- `resource`: what counts as resources, `share` or, on a CPU, kB of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, inf, isnan, log2, log10
from typing import Any

import numpy as np
import pandas as pd

from qbench.evolution import front as non_dominated
from qbench.parameters import Choice
from qbench.studies.seeds import ONE_SEED

#: What can be asked: the column that it is about, and whether more or less is better.
LIMITS = {
    "accuracy": ("accuracy", "more"),
    "frames_per_second": ("rate", "more"),
    "share": ("share", "less"),
    "energy": ("energy", "less"),
}
#: What is compared, and in which direction.
OBJECTIVES = {"accuracy": "more", "rate": "more", "resource": "less", "energy": "less"}
PREFERRED = {
    "accuracy": "accuracy",
    "frames_per_second": "rate",
    "resources": "resource",
    "energy": "energy",
}
#: By what equals are told apart, in this order, whatever is preferred.
THEN = ("accuracy", "resource", "energy", "rate")
BEST = {
    "accuracy": "most accurate",
    "rate": "fastest",
    "resource": "smallest",
    "energy": "least energy",
}
POINTS, TENTH, FACTOR, TWICE = 1.0, 0.1, 10.0, 2.0  # a step of each limit


@dataclass(frozen=True)
class Wanted:
    """What is asked: at least, at least, at most, at most; and what matters most."""

    accuracy: float = 0.0
    frames_per_second: float = 0.0
    share: float = 1.0
    energy: float = inf
    prefer: str = "accuracy"

    @classmethod
    def of(cls, p: Choice) -> Wanted:
        """What a chapter's parameters ask for."""
        energy = inf if p.energy is None else p.energy
        return cls(p.accuracy, p.frames_per_second, p.share, energy, p.prefer)

    @property
    def asked(self) -> list[str]:
        """The limits that exclude anything."""
        free = Wanted()
        return [name for name in LIMITS if getattr(self, name) != getattr(free, name)]

    def without(self, name: str) -> Wanted:
        return replace(self, **{name: getattr(Wanted(), name)})

    def relaxed(self, name: str) -> Wanted:
        """One limit eased by a step: a point, ten times fewer frames, a tenth more of the device,
        twice the energy.
        """
        value = getattr(self, name)
        eased = {
            "accuracy": max(0.0, value - POINTS),
            "frames_per_second": value / FACTOR,
            "share": min(1.0, value + TENTH),
            "energy": value * TWICE,
        }
        return replace(self, **{name: eased[name]})


def meets(candidates: pd.DataFrame, wanted: Wanted, name: str) -> pd.Series:
    """Which candidates keep to one limit."""
    column, better = LIMITS[name]
    limit = getattr(wanted, name)
    return candidates[column] >= limit if better == "more" else candidates[column] <= limit


def _fits(candidates: pd.DataFrame, wanted: Wanted) -> np.ndarray:
    return np.logical_and.reduce([meets(candidates, wanted, name) for name in LIMITS])


def fitting(candidates: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """Networks that keep to all limits, the preferred first, each in its best folding for that."""
    first = PREFERRED[wanted.prefer]
    order = [first, *(name for name in THEN if name != first)]
    rising = [OBJECTIVES[name] == "less" for name in order]
    rows = candidates[_fits(candidates, wanted)]
    rows = rows.sort_values([*order, "network"], ascending=[*rising, True])
    return rows.drop_duplicates("network").reset_index(drop=True)


def compared(candidates: pd.DataFrame, wanted: Wanted) -> list[str]:
    """In what networks are compared, of `OBJECTIVES`.

    A folding buys frames with resources, so on an FPGA only the one of these two counts that each
    network's folding was chosen for: the rate where it is preferred, otherwise resources.
    """
    if not (candidates["share"] > 0).any():
        return list(OBJECTIVES)
    passed = "resource" if PREFERRED[wanted.prefer] == "rate" else "rate"
    return [name for name in OBJECTIVES if name != passed]


def choose(candidates: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """`fitting` without what another of them beats: nowhere worse than it, somewhere better."""
    rows = fitting(candidates, wanted)
    if rows.empty:
        return rows
    names = compared(candidates, wanted)
    signs = [-1.0 if OBJECTIVES[name] == "more" else 1.0 for name in names]
    return rows[non_dominated(rows[names].to_numpy(float) * signs)].reset_index(drop=True)


def missed(candidates: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """By how many steps each candidate misses each limit, 0 where it keeps to it: a column each."""
    short = {
        "accuracy": lambda of: (wanted.accuracy - of) / POINTS,
        "frames_per_second": lambda of: log10(wanted.frames_per_second / of) / log10(FACTOR),
        "share": lambda of: (of - wanted.share) / TENTH,
        "energy": lambda of: log2(of / wanted.energy) / log2(TWICE),
    }
    found = {}
    for name, steps in short.items():
        ok, column = meets(candidates, wanted, name), candidates[LIMITS[name][0]]
        found[name] = [
            0.0 if fine else steps(value) for fine, value in zip(ok, column, strict=True)
        ]
    return pd.DataFrame(found, index=candidates.index)


def nearest(candidates: pd.DataFrame, wanted: Wanted) -> Mapping[str, Any] | None:
    """The candidate that misses the limits by the fewest steps together, with `steps`."""
    if candidates.empty:
        return None
    rows = candidates.assign(steps=missed(candidates, wanted).sum(axis=1))
    return rows.sort_values(["steps", "network"], kind="stable").iloc[0].to_dict()


def tightest(candidates: pd.DataFrame, wanted: Wanted) -> tuple[str, int]:
    """Where nothing fits: the limit without which most networks do, and how many these are.

    If no limit is to blame alone it is the one that the fewest networks keep to, and 0.
    """
    asked = wanted.asked
    freed = {name: len(fitting(candidates, wanted.without(name))) for name in asked}
    most = max(freed.values())
    if most:
        return next(name for name in asked if freed[name] == most), most
    alone = {
        name: candidates.loc[meets(candidates, wanted, name), "network"].nunique() for name in asked
    }
    return min(asked, key=alone.__getitem__), 0


def reach(candidates: pd.DataFrame, wanted: Wanted) -> dict[str, float]:
    """The best that can be had of each objective, each from a network of its own: NaN for nothing.

    And `networks`, how many fit.
    """
    rows = candidates[_fits(candidates, wanted)]
    ends = {n: rows[n].max() if way == "more" else rows[n].min() for n, way in OBJECTIVES.items()}
    return ends | {"networks": rows["network"].nunique()}


def easing(candidates: pd.DataFrame, wanted: Wanted) -> list[dict[str, Any]]:
    """What each limit costs: a row a limit that is asked, in the order of `LIMITS`.

    `limit`; `eased`, what is asked after a step; `reach` then; `binds`, the objectives of which
    better could be had without the limit.
    """
    now = reach(candidates, wanted)
    rows = []
    for name in wanted.asked:
        step, free = wanted.relaxed(name), reach(candidates, wanted.without(name))
        rows.append(
            {"limit": name, "eased": getattr(step, name), "reach": reach(candidates, step)}
            | {"binds": [n for n in OBJECTIVES if better(n, free[n], now[n])]}
        )
    return rows


def better(name: str, one: float, other: float) -> bool:
    """Whether one value of an objective is better than another, or than none (NaN)."""
    if isnan(one) or isnan(other):
        return not isnan(one)
    return one > other if OBJECTIVES[name] == "more" else one < other


def as_good(rows: pd.DataFrame) -> Mapping[str, Any] | None:
    """Of `choose`'s rows the smallest that seeds do not tell from the first; None if it is that."""
    first = rows.iloc[0]
    same = rows[(rows["accuracy"] - first["accuracy"]).abs() <= rows["half"] + first["half"]]
    if same.empty:
        return None
    found = same.sort_values("resource", kind="stable").iloc[0]
    return None if found["resource"] >= first["resource"] else found.to_dict()


# In words, as the page's script says it too


def reasons(rows: pd.DataFrame, names: Sequence[str], kind: str) -> list[str]:
    """A sentence a row: what it is best at (so far: of those above), what the next has instead.

    names: what is `compared`; kind: what a `resource` is called, such as "share of the device".
    """
    found = []
    tops = {n: rows[n].max() if OBJECTIVES[n] == "more" else rows[n].min() for n in names}
    records = rows.to_dict("records")
    for place, row in enumerate(records):
        lead = [BEST[name] for name in names if row[name] == tops[name]]
        before = [n for n in names if place and row[n] != tops[n]]
        lead += [
            f"{BEST[name]} so far"
            for name in before
            if all(better(name, row[name], above[name]) for above in records[:place])
        ]
        said = ", ".join(lead) or "a compromise"
        said = f"{said[0].upper()}{said[1:]}"
        if place + 1 < len(records):
            said += f"; the next {_against(row, records[place + 1], names, kind)}"
        found.append(f"{said}.")
    return found


def _against(
    row: Mapping[str, Any], after: Mapping[str, Any], names: Sequence[str], kind: str
) -> str:
    gains, losses = [], []
    for name in names:
        here, there = row[name], after[name]
        if here != there:
            up = there > here if OBJECTIVES[name] == "more" else there < here
            (gains if up else losses).append(_difference(name, row, after, kind))
    if not gains and not losses:
        return "is its equal"
    parts = [" and ".join(gains), " and ".join(losses)]
    return f"has {', but '.join(part for part in parts if part)}"


def _difference(name: str, row: Mapping[str, Any], after: Mapping[str, Any], kind: str) -> str:
    if name == "accuracy":
        points = after["accuracy"] - row["accuracy"]
        word = "more" if points > 0 else "less"
        return f"{fixed(abs(points), 2)} points {word} accuracy ({_told(row, after)})"
    words = {"rate": "frames/s", "resource": kind, "energy": "energy"}
    return f"{times(after[name] / row[name])} × the {words[name]}"


def _told(row: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Whether the 95 % intervals of two networks leave room between them."""
    if isnan(row["half"]) or isnan(after["half"]):
        return ONE_SEED
    apart = abs(after["accuracy"] - row["accuracy"]) > row["half"] + after["half"]
    return "more than seeds make" if apart else "no more than seeds make"


def fixed(value: float, places: int) -> str:
    """Halves upwards, as a script can do to the digit; thousands separated."""
    scale = 10**places
    return f"{floor(value * scale + 0.5) / scale:,.{places}f}"


def times(ratio: float) -> str:
    """A ratio: whole from ten on, two decimals below."""
    if ratio < 0.005:
        return "less than 0.01"
    return fixed(ratio, 0 if ratio >= 10 else 2)
