"""Claims of a thesis as predicates on differences, and whether seeds settle them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from qbench import reference

from .qkd_tables import VAILAKIS, Key, accuracies, clear, noise
from .seeds import ONE_SEED


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds of the means, and whether seeds make that certain."""

    holds: bool
    sure: bool

    def __and__(self, other: "Verdict") -> "Verdict":
        """Both hold: certain where both are, refuted for certain where one of them is."""
        holds = self.holds and other.holds
        refuted = any(one.sure and not one.holds for one in (self, other))
        return Verdict(holds, self.sure and other.sure if holds else refuted)

    def __invert__(self) -> "Verdict":
        return Verdict(not self.holds, self.sure)


@dataclass
class Judge:
    """Judges claims of a thesis by a table of trainings and collects a row for each.

    source: the publication. why: what a claim that does not hold gets as its reason. Rows have
    `where`, `claim`, `ours`, `verdict`, `seeds` ("settled", "not settled" or "one seed: cannot
    tell") and `why`.
    """

    table: pd.DataFrame
    why: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    source: str = VAILAKIS

    def __post_init__(self) -> None:
        self.ours, self.spread = accuracies(self.table), noise(self.table)

    def has(self, *keys: Key) -> bool:
        """Whether there is an accuracy of every one of these trainings."""
        return all(key in self.ours.index for key in keys)

    def gain(self, first: Key, second: Key) -> pd.Series:
        """First minus second, seed by seed: points."""
        return self.ours.loc[first] - self.ours.loc[second]

    def every(self, differences: Iterable[pd.Series], *, spread: float | None = None) -> Verdict:
        """Every mean difference is above 0; `spread` as in `clear` (None: that of one training)."""
        spread = self.spread if spread is None else spread
        kept, broken = [], []
        for one in differences:
            (kept if one.mean() > 0 else broken).append(clear(one, spread))
        return Verdict(not broken, any(broken) if broken else all(kept))

    def some(self, differences: Iterable[pd.Series], *, spread: float | None = None) -> Verdict:
        """At least one mean difference is above 0."""
        spread = self.spread if spread is None else spread
        kept, broken = [], []
        for one in differences:
            (kept if one.mean() > 0 else broken).append(clear(one, spread))
        return Verdict(bool(kept), any(kept) if kept else all(broken))

    def best(self, values: Mapping[Any, pd.Series], name: Any) -> Verdict:
        """The value under `name` is above all others."""
        others = [values[name] - value for other, value in values.items() if other != name]
        return self.every(others)

    def say(self, name: str, verdict: Verdict, words: str, why: str = "") -> None:
        """Add the row of the thesis' claim `name`; `words` say what we measured."""
        row = reference.claim(
            self.source, name, holds=verdict.holds, ours=words, why=why or self.why
        )
        seeds = "settled" if verdict.sure else "not settled"
        if self.ours.shape[1] < 2:
            seeds = ONE_SEED
        self.rows.append(row | {"seeds": seeds})

    def fact(self, name: str, holds: bool, words: str, why: str = "") -> None:
        """As `say`, for what no seed changes."""
        self.rows.append(
            reference.claim(self.source, name, holds=holds, ours=words, why=why or self.why)
            | {"seeds": ""}
        )

    def judged(self) -> pd.DataFrame:
        """The rows."""
        columns = ["where", "claim", "ours", "verdict", "seeds", "why"]
        return pd.DataFrame(self.rows, columns=columns)


def said(gains: Mapping[int, pd.Series], what: str) -> str:
    """Mean gains by bits in words."""
    words = ", ".join(
        f"{bits} bit{'s' * (bits > 1)} {gain.mean():+z.2f}" for bits, gain in gains.items()
    )
    return f"{what}: {words} points"
