"""Two-level factorial experiments in blocks: effects, interactions, and whether gains add up.

Every combination of k factors, each off or on, is trained with every seed. A seed is a block: its
networks start alike and see the images in one order, so what the seed does to all of them cancels
in every contrast. What is left of a value without the mean of its combination and without that of
its seed is noise, taken to be equal everywhere and pooled, with (2ᵏ − 1)(n − 1) degrees of freedom
for n seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product

import numpy as np
import pandas as pd
from scipy import stats

from .seeds import LEVEL

ADD, MORE, LESS, OPEN = "additive", "more than additive", "less than additive", "cannot tell"


@dataclass(frozen=True)
class Factorial:
    """A complete experiment: `values` has a row a combination (booleans, an index level a factor)
    and a column a seed.
    """

    values: pd.DataFrame

    @classmethod
    def of(cls, frame: pd.DataFrame, factors: Sequence[str], value: str) -> "Factorial":
        """From a row a training: columns `factors` (booleans), `seed` and `value`.

        A seed with a missing value is left out whole. Raises `ValueError` where a combination is
        missing, or occurs twice with one seed, and where no seed is left.
        """
        factors = list(factors)
        if frame.duplicated([*factors, "seed"]).any():
            raise ValueError("a combination of factors occurs twice with one seed.")
        wide = frame.pivot(index=factors, columns="seed", values=value)
        every = list(product((False, True), repeat=len(factors)))
        if len(factors) == 1:
            wide.index = pd.MultiIndex.from_arrays([wide.index], names=factors)
        missing = [one for one in every if one not in wide.index]
        if missing:
            raise ValueError(f"the combination {missing[0]} of {', '.join(factors)} is missing.")
        wide = wide.loc[pd.MultiIndex.from_tuples(every, names=factors)].dropna(axis=1)
        if not wide.shape[1]:
            raise ValueError(f"no seed has a {value} of every combination.")
        return cls(wide.astype(float))

    @property
    def factors(self) -> list[str]:
        return list(self.values.index.names)

    @property
    def seeds(self) -> int:
        return self.values.shape[1]

    @property
    def means(self) -> pd.Series:
        return self.values.mean(axis=1)

    @property
    def freedom(self) -> int:
        return (len(self.values) - 1) * (self.seeds - 1)

    def deviation(self) -> float:
        """Standard deviation of the noise of one training; NaN with a single seed."""
        if not self.freedom:
            return float("nan")
        rest = self.values.sub(self.means, axis=0)
        rest = rest.sub(rest.mean(axis=0), axis=1)
        return float(((rest**2).to_numpy().sum() / self.freedom) ** 0.5)

    def estimate(self, weights: np.ndarray, together: int = 1) -> tuple[float, float]:
        """Σ weights · means, and the half-width of its 95 % interval.

        `weights` sum to 0. With `together` > 1, so many such intervals hold at once (Bonferroni).
        """
        value = float(weights @ self.means.to_numpy())
        if not self.freedom:
            return value, float("nan")
        factor = stats.t.ppf(1 - LEVEL / (2 * together), self.freedom)
        error = self.deviation() * float(((weights**2).sum() / self.seeds) ** 0.5)
        return value, float(factor * error)

    def half(self) -> float:
        """Half-width of the 95 % interval of a combination's mean, beside what its seeds share."""
        if not self.freedom:
            return float("nan")
        factor = stats.t.ppf(1 - LEVEL / 2, self.freedom)
        return float(factor * self.deviation() / self.seeds**0.5)

    def effects(self) -> pd.DataFrame:
        """Main effects and interactions, a row each: `of` (the factors), `order`, `effect`, `half`.

        The standard contrasts: a main effect is the mean with the factor on less that with it off;
        an interaction of two is half the difference between the effect of one with the other on
        and off, and so on. Intervals are 95 % each.
        """
        signs = np.where(np.array(self.values.index.tolist()), 1.0, -1.0)
        rows = []
        for which in self._subsets(1):
            weights = signs[:, which].prod(axis=1) / (len(signs) / 2)
            effect, half = self.estimate(weights)
            names = tuple(self.factors[place] for place in which)
            rows.append({"of": names, "order": len(which), "effect": effect, "half": half})
        return pd.DataFrame(rows)

    def departures(self, margin: float) -> pd.DataFrame:
        """What each combination of two or more factors gives, beside the sum of the single changes.

        A row a combination: `of`, `predicted` = y₀ + Σ (y_f − y₀), `measured`, `departure` =
        measured − predicted, `half`, whose intervals hold together at 95 %, and `verdict`. It is
        additive where the interval keeps within ± `margin`; else more than additive where it is
        below 0 (values are errors: less is better), less than additive above it, and otherwise
        cannot be told.
        """
        rows, every = [], self._subsets(2)
        index, none = self.values.index, (False,) * len(self.factors)
        for which in every:
            weights = np.zeros(len(index))
            weights[index.get_loc(tuple(p in which for p in range(len(none))))] += 1
            for place in which:
                weights[index.get_loc(tuple(p == place for p in range(len(none))))] -= 1
            weights[index.get_loc(none)] += len(which) - 1
            departure, half = self.estimate(weights, together=len(every))
            measured = float(self.means[tuple(p in which for p in range(len(none)))])
            rows.append(
                {
                    "of": tuple(self.factors[place] for place in which),
                    "predicted": measured - departure,
                    "measured": measured,
                    "departure": departure,
                    "half": half,
                    "verdict": verdict(departure, half, margin),
                }
            )
        return pd.DataFrame(rows)

    def _subsets(self, least: int) -> list[list[int]]:
        """The places of every choice of at least so many factors."""
        places = range(len(self.factors))
        sizes = range(least, len(self.factors) + 1)
        return [list(one) for one in chain.from_iterable(combinations(places, n) for n in sizes)]


def verdict(departure: float, half: float, margin: float) -> str:
    """What a departure from additivity and its interval say; see `Factorial.departures`."""
    if abs(departure) + half <= margin:  # false where `half` is missing
        return ADD
    if departure + half < 0:
        return MORE
    if departure - half > 0:
        return LESS
    return OPEN
