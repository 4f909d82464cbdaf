"""Which of two networks is better, and which of many are best (Stewart et al. 2021, eq. 4 to 6).

The objectives are latency (ms) and error (%), in this order, both to be minimised; the functions
take any number of objectives.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .errors import EvolutionError, check_not_negative, is_number

OBJECTIVES = ("latency_ms", "error")


def dominates(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Eq. 5: whether `a` is nowhere worse than `b` and somewhere better; shapes (..., objectives).

    The leading dimensions broadcast.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    return (a <= b).all(axis=-1) & (a < b).any(axis=-1)


def front(objectives: ArrayLike) -> np.ndarray:
    """Which rows of (N, objectives) no other row dominates: shape (N,), bool.

    Equal rows stand or fall together; a row with NaN is never on the front. This is eq. 6 as its
    text explains it; as printed, the formula asks that a solution dominate every other one, which
    no member of a front with two different points does.
    """
    from pymoo.util.nds.non_dominated_sorting import find_non_dominated

    objectives = np.asarray(objectives, float)
    known = np.flatnonzero(~np.isnan(objectives).any(axis=-1))
    mask = np.zeros(len(objectives), bool)
    mask[known[find_non_dominated(objectives[known])]] = True
    return mask


def hypervolume(objectives: ArrayLike, reference: Sequence[float]) -> float:
    """What (N, objectives) dominate of the box below `reference`, in the product of the units.

    Points that are not better than the reference in every objective add nothing, nor do rows with
    NaN. Raises `EvolutionError` for a reference that is not one finite number an objective.
    """
    from pymoo.indicators.hv import HV

    objectives = np.atleast_2d(np.asarray(objectives, float))
    finite = [is_number(value) and math.isfinite(value) for value in reference]
    if not all(finite) or len(finite) != objectives.shape[-1]:
        raise EvolutionError(
            f"reference must be {objectives.shape[-1]} finite numbers, one an objective, "
            f"not {reference!r}."
        )
    objectives = objectives[(objectives < np.asarray(reference)).all(axis=-1)]
    return float(HV(ref_point=np.asarray(reference, float))(objectives))


def standard_error(error: float, images: int) -> float:
    """The standard error of a share of `images`, `error` and result in percentage points."""
    if not is_number(error) or not 0 <= error <= 100:
        raise EvolutionError(f"error must be a percentage from 0 to 100, not {error!r}.")
    if not is_number(images) or not images >= 1:
        raise EvolutionError(f"images must be at least 1, not {images!r}.")
    return math.sqrt(error * (100 - error) / images)


def distinguishable(
    table: pd.DataFrame, *, noise: float, error_step: float, cost: str = OBJECTIVES[0]
) -> np.ndarray:
    """Latency and `error` of `table` as a search ranks them: shape (N, 2), in these units.

    `cost` names the column in the latency's place.

    A latency is a measurement with a spread and an error a share of finitely many images, and what
    differs by less than that should not be ranked by it. So latencies are rounded to a geometric
    grid, each point `1 + noise` times the one before, and errors to multiples of `error_step`
    percentage points; 0 leaves the values as they are.

    A grid and not a tolerance, because with a tolerance dominance is not transitive, and sorting
    into fronts means nothing without that. With a tolerance of 1 in both objectives, of (0, 0.9),
    (2, 0) and (4, -0.9) the first dominates the second and the second the third, each better by 2
    and worse by no more than the tolerance; but the first is worse than the third by 1.8 and does
    not dominate it. Rounded values are ordinary numbers, for which eq. 5 is a strict partial order.
    The price is that two close values on either side of a border are told apart: rounding ties all
    that share a grid point, which are less than one step apart, and not all that are.
    """
    check_not_negative("noise", noise)
    check_not_negative("error_step", error_step)
    values = table[[cost, OBJECTIVES[1]]].to_numpy(float, copy=True)
    if noise:
        ratio = math.log1p(noise)
        values[:, 0] = np.exp(np.round(np.log(values[:, 0]) / ratio) * ratio)
    if error_step:
        values[:, 1] = np.round(values[:, 1] / error_step) * error_step
    return values
