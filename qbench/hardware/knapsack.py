"""One choice for each item so that sums of several resources stay small: exact, in whole numbers.

A multiple-choice knapsack. Sums are built item by item, keeping those that no other beats. Three
things keep them few, and none can lose a solution:

- what cannot end within the limits is dropped;
- so is what cannot by the price of its resources: for any prices, the cheapest choice of each
  remaining item bounds what the rest costs from below (a Lagrangian bound); `_prices` looks for
  prices that make it tight, and finds a good solution on the way;
- at first only resources that matter most are looked at. With fewer limits the best can only be
  better, so if it keeps within the others too it is the best of all; if not, the one that it
  exceeds most joins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

_ROUNDS = 60  # of the search for prices
_SLACK = 1e-9  # relative, for sums of floats


class Knapsack:
    """`use`: for each item an array (choices, resources) of whole numbers, at least one row."""

    def __init__(self, use: Sequence[np.ndarray]) -> None:
        self.rows = [non_dominated(one) for one in use]
        self.use = [one[rows] for one, rows in zip(use, self.rows, strict=True)]
        self.all = list(range(use[0].shape[1]))

    def within(self, limits: np.ndarray) -> list[int] | None:
        """Choices, one an item, whose sums stay within `limits`; None if there are none."""
        if (sum(one.min(axis=0) for one in self.use) > limits).any():
            return None
        share, picks, bound, price = self._prices(limits, self.all)
        if share <= 1:
            return self._picked(picks)
        if bound > 1 + _SLACK:
            return None
        found = self._best(limits, [int(price.argmax())], lambda sums, _: _shares(sums, limits))
        return None if found is None else self._picked(found)

    def least_share(self, limits: np.ndarray) -> list[int]:
        """Choices that make the largest ratio of a sum to its limit as small as can be."""
        _, found, _, price = self._prices(limits, self.all)
        while found is not None:
            picks = found
            share = _shares(self._sums(picks)[None], limits)[0]
            # Is there one with less? Below `share` in every resource, in whole numbers; what is
            # taken off makes up for the rounding of a float, and is less than any difference.
            most = np.ceil(_scale(limits) * share * (1 - 1e-14)) - 1
            found = self._best(most, [int(price.argmax())], lambda sums, _: _shares(sums, limits))
        return self._picked(picks)

    def least(self, resource: int, limits: np.ndarray) -> list[int]:
        """Choices within `limits` with the least sum of one resource; there must be some.

        Among equals the least sum of the first resource.
        """
        # Without limits every item stands alone; if its best keep within them, they are the best.
        order = [resource, *(r for r in self.all if r != resource)]
        alone = [int(np.lexsort(one[:, order[::-1]].T)[0]) for one in self.use]
        if (self._sums(alone) <= limits).all():
            return self._picked(alone)
        most = limits.copy()
        most[resource] = self._enough(resource, limits)

        def rank(sums: np.ndarray, columns: list[int]) -> np.ndarray:
            known = [r for r in order if r in columns]
            places = np.empty(len(sums), np.int64)
            places[np.lexsort(sums[:, known[::-1]].T)] = np.arange(len(sums))
            return places

        return self._picked(self._best(most, sorted({0, resource}), rank))

    def _enough(self, resource: int, limits: np.ndarray) -> int:
        """A sum of one resource that suffices: close to the least, by solutions at hand."""
        low = int(sum(one[:, resource].min() for one in self.use))
        most, high = limits.copy(), int(limits[resource])
        while low < high:
            most[resource] = middle = (low + high) // 2
            share, picks, _, _ = self._prices(most, self.all)
            if share <= 1:
                high = int(self._sums(picks)[resource])
            else:
                low = middle + 1
        return high

    def _sums(self, picks: Sequence[int]) -> np.ndarray:
        return sum(one[pick] for one, pick in zip(self.use, picks, strict=True))

    def _picked(self, picks: Sequence[int]) -> list[int]:
        return [int(rows[pick]) for rows, pick in zip(self.rows, picks, strict=True)]

    def _best(
        self,
        most: np.ndarray,
        columns: list[int],
        rank: Callable[[np.ndarray, list[int]], np.ndarray],
    ) -> list[int] | None:
        """Of all choices within `most` one with the least rank; None where nothing is within.

        `rank` takes sums (n, resources) and the resources that were looked at, the first of which
        are `columns`; only by those may it tell what is best.
        """
        while True:
            sums, found = self._front(most, columns)
            if not len(found):
                return None
            fitting = (sums <= most).all(axis=1)
            places = rank(sums, columns)
            at = int(np.lexsort((~fitting, places))[0])
            if fitting[at]:
                return list(found[at])
            over = (sums[at] - most) / _scale(most)
            columns = sorted({*columns, int(over.argmax())})

    def _prices(
        self, limits: np.ndarray, columns: list[int]
    ) -> tuple[float, list[int], float, np.ndarray]:
        """Largest share and picks of a good solution, a bound no solution is below, its prices.

        Prices of the limits add up to 1, so that a solution's cost is a mean of its shares and at
        most the largest. What a round's solution uses too much of becomes dearer.
        """
        scale = _scale(limits[columns])
        parts = [one[:, columns] / scale for one in self.use]
        price = np.full(len(columns), 1 / len(columns))
        best, picks, bound, prices = np.inf, [], -1.0, price
        for step in range(_ROUNDS):
            chosen = [int((part @ price).argmin()) for part in parts]
            shares = self._sums(chosen)[columns] / scale
            lower = float(price @ shares)
            if lower > bound:
                bound, prices = lower, price
            if shares.max() < best:
                best, picks = float(shares.max()), chosen
            if best <= bound * (1 + _SLACK):
                break
            price = price * np.exp(2 / (1 + step) ** 0.5 * shares / shares.max())
            price = price / price.sum()
        return best, picks, bound, prices

    def _front(self, most: np.ndarray, columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Sums within `most` in `columns`, and their picks: (n, resources) and (n, items).

        All that no other beats in these columns, and some that others beat.
        """
        _, _, _, price = self._prices(most, columns)
        limits, scale = most[columns], _scale(most[columns])
        # What it all costs is limited as well, by what the limits cost.
        worth = [(one[:, columns] / scale) @ price for one in self.use]
        rest_worth = np.append(np.cumsum([w.min() for w in worth[::-1]])[::-1][1:], 0.0)
        rest = np.cumsum([one[:, columns].min(axis=0) for one in self.use[::-1]], axis=0)[::-1]
        rest = np.vstack([rest[1:], np.zeros_like(rest[:1])])
        allowed = float(price @ (limits / scale)) * (1 + _SLACK) + _SLACK

        sums = np.zeros((1, len(most)), np.int64)
        values, picks = np.zeros(1), np.zeros((1, 0), np.int32)
        for item, one in enumerate(self.use):
            new = (sums[:, None] + one).reshape(-1, len(most))
            value = (values[:, None] + worth[item]).ravel()
            good = (new[:, columns] + rest[item] <= limits).all(axis=1)
            at = np.flatnonzero(good & (value + rest_worth[item] <= allowed))
            if item < len(self.use) - 1:
                at = at[non_dominated(new[at], columns)]
            sums, values = new[at], value[at]
            picks = np.column_stack([picks[at // len(one)], at % len(one)])
        return sums, picks


def _scale(limits: np.ndarray) -> np.ndarray:
    """What sums are shares of; where nothing may be used, one already is far too much."""
    return np.where(limits > 0, limits, 1e-6)


def _shares(sums: np.ndarray, limits: np.ndarray) -> np.ndarray:
    return (sums / _scale(limits)).max(axis=1)


def non_dominated(use: np.ndarray, columns: Sequence[int] | None = None) -> np.ndarray:
    """Rows of (n, resources) that no other undercuts in `columns` (default: all), none twice.

    They come by ascending columns; of rows equal in all of them the one with the least others.
    """
    columns = list(range(use.shape[1])) if columns is None else list(columns)
    others = [column for column in range(use.shape[1]) if column not in columns]
    order = np.lexsort(use[:, [*columns, *others]].T[::-1])
    rows = use[order][:, columns]
    rows = rows[:, np.ptp(rows, axis=0) > 0] if len(rows) else rows
    if len(rows) < 2 or rows.shape[1] < 2:
        return order[:1]
    if rows.shape[1] == 2:
        lowest = np.minimum.accumulate(rows[:, 1])
        return order[np.append(True, rows[1:, 1] < lowest[:-1])]
    return order[_sweep(rows) if rows.shape[1] == 3 else _peel(rows)]


def _sweep(rows: np.ndarray) -> list[int]:
    """`non_dominated` of ordered rows with three columns.

    The last two columns of what is kept make a staircase, in which bisection finds the rival.
    """
    kept, seconds, thirds = [], [], []
    for index, (_, second, third) in enumerate(rows.tolist()):
        at = bisect_right(seconds, second)
        if at and thirds[at - 1] <= third:
            continue
        kept.append(index)
        start = end = at - 1 if at and seconds[at - 1] == second else at
        while end < len(thirds) and thirds[end] >= third:
            end += 1
        seconds[start:end], thirds[start:end] = [second], [third]
    return kept


def _peel(rows: np.ndarray) -> list[int]:
    """`non_dominated` of ordered rows: the first is beaten by none behind it."""
    kept, left = [], np.arange(len(rows))
    while left.size:
        kept.append(int(left[0]))
        left = left[1:][(rows[left[1:]] < rows[left[0]]).any(axis=1)]
    return kept
