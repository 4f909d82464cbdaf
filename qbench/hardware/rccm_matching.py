"""Which coefficient set is distributed most like a network's weights: Faraone 2021, Section 6.5.1.

The Kullback-Leibler divergence (6.2), in nats, of P, the weights, and R, a set's coefficients:

    D(P || R) = Σ_i P(i) log (P(i) / R(i))

over the bins of one histogram: the weights span −M … M, M being the largest magnitude, and a set is
scaled so that its largest coefficient is M as well. Bins are half-open, [a, b), the last is closed;
the coefficients fall into them in whole numbers, so without rounding.

What the thesis leaves open, and what is done here:

- Most sets leave a bin without a coefficient where there are weights, which makes D infinite: a
  2-Add has at most 16 for 31 bins. Each bin therefore counts `pseudo_count` coefficients more,
  R(i) = (n_i + ε) / (n + ε·bins), by default a half (Krichevsky and Trofimov 1981). With 0 those
  sets are infinitely far away, and rank behind all others. A bin without weights adds nothing.
- Sets a power of two apart have equal divergences. Where they are equal, the set with more
  coefficients comes first, then the one whose largest is smaller, as it needs narrower adders, then
  the one that is enumerated first.
- Only sets that include 0 are ranked; the thesis has this as a second criterion.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import HardwareError
from .mvtu import single
from .rccm import Integers, check_codebook
from .rccm_sets import Sets, Words

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
BINS = 31  # of Fig. 6.5
TOP = 5  # sets from which the largest is taken
PSEUDO_COUNT = 0.5
MOST_BINS = 1023


@dataclass(frozen=True, eq=False)
class Matching:
    """How far each set is from the weights: `divergences` (sets,), NaN for sets without 0.

    `order` are the sets with 0, nearest first, with ties as this module says.
    """

    sets: Sets
    divergences: Floats
    order: Integers

    def best(self, top: int = TOP) -> int:
        """Number of the set to train with: of the `top` nearest the one with most coefficients.

        1 is the nearest itself, 5 the rule of the thesis. Raises `HardwareError`.
        """
        first = self.order[: single("top", top)]
        return int(first[np.argmax(self.sets.sizes[first])])

    def worst(self, size: int | None = None) -> int:
        """Number of the set that is farthest, of those with `size` coefficients if that is given.

        Of several, the last one. Raises `HardwareError` where no set has that size.
        """
        sizes = self.sets.sizes[self.order]
        among = self.order if size is None else self.order[sizes == size]
        if not len(among):
            raise HardwareError(
                f"size must be a number of coefficients that a set with 0 has, such as "
                f"{sizes.max()}, not {size!r}."
            )
        return int(among[-1])

    def table(self, top: int = TOP) -> pd.DataFrame:
        """The nearest sets, a row each: `rank`, `set`, `divergence`, `coefficients`, `largest`."""
        import pandas as pd

        first = self.order[: single("top", top)]
        columns = {"rank": np.arange(1, len(first) + 1), "set": first}
        columns |= {"divergence": self.divergences[first], "coefficients": self.sets.sizes[first]}
        return pd.DataFrame({**columns, "largest": self.sets.largest[first]})


def weight_histogram(weights: ArrayLike, bins: int = BINS) -> Integers:
    """How many weights, of any shape, lie in each of `bins` equal bins from −max |w| to max |w|.

    Raises `HardwareError` for weights that are all 0, none, or not finite.
    """
    values = np.asarray(weights, dtype=np.float64).ravel()
    most = np.abs(values).max(initial=0)
    if not 0 < most < np.inf:
        raise HardwareError("weights must be finite numbers, and not all of them 0.")
    return np.histogram(values, _bins(bins), (-most, most))[0]


def divergence(
    coefficients: ArrayLike, histogram: ArrayLike, pseudo_count: float = PSEUDO_COUNT
) -> float:
    """Kullback-Leibler divergence (6.2), in nats, of one codebook from weights, as `match` does it.

    `histogram` are the weights' counts in equal bins between minus and plus their largest
    magnitude. Raises `HardwareError` for a codebook without 0, or of 0 alone, and as `match`.
    """
    shares, epsilon = _checked(histogram, pseudo_count)
    values = check_codebook(coefficients)
    most = int(np.abs(values).max())
    if not most:
        raise HardwareError("a codebook must have a coefficient besides 0, and this one has none.")
    bins = len(shares)
    found = np.minimum((values + most) * bins // (2 * most), bins - 1)
    return float(_divergences(np.bincount(found, minlength=bins)[None], shares, epsilon)[0])


def match(sets: Sets, histogram: ArrayLike, *, pseudo_count: float = PSEUDO_COUNT) -> Matching:
    """Compare every set that includes 0 with a histogram of weights, such as `weight_histogram`'s.

    `histogram` (bins,) are counts, or shares, of equal bins between minus and plus the largest
    magnitude. Some seconds for the sets of the 4-Add. Raises `HardwareError` for a histogram that
    is none, a negative or not finite `pseudo_count`, and sets of which none includes 0.
    """
    shares, epsilon = _checked(histogram, pseudo_count)
    allowed = sets.zero & (sets.largest > 0)
    if not allowed.any():
        raise HardwareError(
            f"none of these {len(sets)} sets of the {sets.architecture} includes 0."
        )
    found = np.full(len(sets), np.nan)
    edges = _edges(int(sets.largest.max()), len(shares))
    for part, bits in sets.chunks():
        rows = np.flatnonzero(allowed[part])
        counts = _counts(bits[rows], edges[sets.largest[part][rows]])
        found[part.start + rows] = _divergences(counts, shares, epsilon)
    ranked = np.flatnonzero(allowed)
    keys = ranked, sets.largest[ranked], -sets.sizes[ranked], found[ranked]
    return Matching(sets, found, ranked[np.lexsort(keys)])


def _edges(most: int, bins: int) -> Integers:
    """(most + 1, bins + 1): by largest coefficient C, the least whole number in bin i or above.

    c lies in bin i or above where (c + C)·bins ≥ 2·C·i; the last bin has an end above C.
    """
    largest, place = np.arange(most + 1)[:, None], np.arange(bins + 1)
    edges = -(-2 * largest * place // bins) - largest
    edges[:, -1] += 1
    return edges


def _counts(bits: Words, edges: Integers) -> Integers:
    """Coefficients of symmetric sets with 0 (sets, words) between `edges`: (sets, bins)."""
    # Nonzero magnitudes up to t, from those in the words below and in the word of t
    below = np.bitwise_count(bits).cumsum(1, dtype=np.int16)
    below = np.concatenate([np.zeros_like(below[:, :1]), below], axis=1)
    up_to = np.where(edges > 0, edges - 1, -edges)
    word, place = up_to >> 6, (up_to & 63).astype(np.uint64)
    mask = np.uint64(2**64 - 1) >> (np.uint64(63) - place)
    part = np.bitwise_count(np.take_along_axis(bits, word, 1) & mask)
    ranks = np.take_along_axis(below, word, 1) + part - 1  # 0 itself is not one of them
    nonzero = below[:, -1:] - 1
    under = np.where(edges > 0, nonzero + 1 + ranks, nonzero - ranks)  # coefficients below an edge
    return np.diff(under, axis=1)


def _divergences(counts: Integers, shares: Floats, epsilon: float) -> Floats:
    """D(P || R) of each row of counts (sets, bins)."""
    bins, sizes = len(shares), counts.sum(1)
    with np.errstate(divide="ignore"):  # log 0 = −∞: the divergence is infinite
        logs = np.log(np.arange(sizes.max(initial=0) + 1) + epsilon)
    some = shares > 0
    p = shares[some]
    own = (p * np.log(p)).sum() + np.log(sizes + epsilon * bins)
    return own - (logs[counts[:, some]] * p).sum(1)


def _checked(histogram: ArrayLike, pseudo_count: float) -> tuple[Floats, float]:
    """P, and ε; `HardwareError`."""
    try:
        found = np.asarray(histogram, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    good = found.ndim == 1 and np.isfinite(found).all() and (found >= 0).all() and found.any()
    if not good:
        raise HardwareError(
            "histogram must be the counts of bins in a row, none negative and not all 0."
        )
    _bins(len(found))
    real = isinstance(pseudo_count, Real) and not isinstance(pseudo_count, bool)
    if not real or not 0 <= pseudo_count < np.inf:
        raise HardwareError(f"pseudo_count must be a number of at least 0, not {pseudo_count!r}.")
    return found / found.sum(), float(pseudo_count)


def _bins(bins: int) -> int:
    return single("bins", bins, 2, MOST_BINS)
