"""What seeds allow one to say: means with intervals, paired tests, effects that seeds settle."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.05  # of the intervals, and of the false discovery rate
ONE_SEED = "one seed: cannot tell"  # what tables say where a verdict takes several


def over_seeds(frame: pd.DataFrame, by: Sequence[str], value: str = "test_error") -> pd.DataFrame:
    """Mean, least and greatest of `value` for each combination of `by`: mean, low, high."""
    groups = frame.groupby(list(by), as_index=False, sort=False)[value]
    return groups.agg(**{value: "mean", "low": "min", "high": "max"})


def interval(by_seed: pd.Series) -> tuple[float, float]:
    """Mean of one number a seed and the half-width of its 95 % interval (Student's t).

    The half-width is NaN with a single seed.
    """
    count = len(by_seed)
    if count < 2:
        return float(by_seed.mean()), float("nan")
    factor = stats.t.ppf(1 - LEVEL / 2, count - 1)
    return float(by_seed.mean()), float(factor * by_seed.std(ddof=1) / count**0.5)


def plus_minus(mean: float, half: float, *, signed: bool = False) -> str:
    """A mean with half its interval, in words: `+0.25 ± 0.31`; alone where there is no interval."""
    return f"{mean:{'+' if signed else ''}z.2f}" + (f" ± {half:.2f}" if half == half else "")


def paired(errors: pd.DataFrame, reference: object, noise: pd.Series) -> pd.DataFrame:
    """Whether configurations differ from `reference` by more than seeds make them differ.

    `errors` has a row a configuration and a column a seed, `noise` the group (index: configuration)
    within which the seeds' noise is taken to be equal. Differences are taken seed by seed. What is
    left of an error without the mean of its configuration and what its seed does to the median
    configuration is noise, pooled over the group. Welch's t-test with these variances, two-sided
    (of two configurations, the paired t-test); `q` is p corrected for the number of configurations
    after Benjamini and Hochberg. Returns `difference` (mean, in the unit of `errors`),
    `standard_error`, `p`, `q` and `clear` (q below 5 %), indexed as `errors`; with fewer than two
    seeds `clear` is false and the three before it are missing.
    """
    count = errors.shape[1]
    difference = errors.mean(axis=1) - errors.loc[reference].mean()
    found = pd.DataFrame({"difference": difference})
    if count < 2:
        return found.assign(standard_error=np.nan, p=np.nan, q=np.nan, clear=False)
    rest = errors.sub(errors.mean(axis=1), axis=0)
    rest = rest.sub(rest.median(axis=0), axis=1)  # the mean would be led by a few noisy ones
    groups = (rest**2).sum(axis=1).groupby(noise)
    freedom = groups.size() * (count - 1) * (1 - 1 / len(errors))
    mean_variance = (groups.sum() / freedom / count).reindex(noise.loc[errors.index]).to_numpy()
    freedom = freedom.reindex(noise.loc[errors.index]).to_numpy()
    place = errors.index.get_loc(reference)
    both = mean_variance + mean_variance[place]
    parts = mean_variance**2 / freedom + mean_variance[place] ** 2 / freedom[place]
    with np.errstate(invalid="ignore", divide="ignore"):
        welch = both**2 / parts
        p = 2 * stats.t.sf(np.abs(difference) / np.sqrt(both), welch)
    p[place] = 1.0
    others = np.arange(len(p)) != place
    q = np.ones_like(p)
    if others.any():
        q[others] = stats.false_discovery_control(np.nan_to_num(p[others], nan=1.0))
    return found.assign(standard_error=np.sqrt(both), p=p, q=q, clear=q < LEVEL)
