"""Eq. 5 and 6 of Stewart et al. 2021: dominance is a strict partial order, with noise as well."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qbench.evolution import (
    EvolutionError,
    distinguishable,
    dominates,
    front,
    hypervolume,
    standard_error,
)

levels = st.integers(0, 4).map(float)  # few levels, so that there are ties
clouds = st.integers(1, 12).flatmap(lambda n: arrays(float, (n, 2), elements=levels))
steps = st.sampled_from([0.0, 0.01, 0.05, 0.3])
measurements = st.lists(
    st.tuples(st.floats(0.01, 10), st.floats(0, 100)), min_size=1, max_size=12
).map(lambda rows: pd.DataFrame(rows, columns=["latency_ms", "error"]))


def ordered(objectives: np.ndarray) -> np.ndarray:
    """The relation of all rows to all, once it is checked to be a strict partial order."""
    better = dominates(objectives[:, None], objectives[None])
    assert not better.diagonal().any(), "irreflexive"
    assert not (better & better.T).any(), "antisymmetric"
    assert not ((better @ better) & ~better).any(), "transitive"
    return better


@given(clouds)
def test_dominance_is_a_strict_partial_order_and_the_front_what_nothing_dominates(objectives):
    better = ordered(objectives)
    assert np.array_equal(front(objectives), ~better.any(axis=0))
    assert front(objectives).any()


@given(clouds)
def test_dominance_is_eq_5(objectives):
    for a in objectives:
        for b in objectives:
            worse = any(x > y for x, y in zip(a, b, strict=True))
            better = any(x < y for x, y in zip(a, b, strict=True))
            assert dominates(a, b) == (better and not worse)


@given(measurements, steps, steps)
def test_on_the_grid_it_is_one_too(table, noise, error_step):
    ordered(distinguishable(table, noise=noise, error_step=error_step))


def test_with_a_tolerance_it_is_not():
    """The example that `distinguishable` gives for its grid."""

    def with_tolerance(a, b):
        return all(x <= y + 1 for x, y in zip(a, b)) and any(x < y - 1 for x, y in zip(a, b))  # noqa: B905

    a, b, c = (0, 0.9), (2, 0), (4, -0.9)
    assert with_tolerance(a, b) and with_tolerance(b, c) and not with_tolerance(a, c)


@given(measurements, st.floats(0.001, 1), st.floats(0.01, 5))
def test_rounding_moves_by_half_a_step_and_keeps_the_order(table, noise, error_step):
    rounded = distinguishable(table, noise=noise, error_step=error_step)
    assert np.array_equal(distinguishable(table, noise=0, error_step=0), table.to_numpy())
    ratio = np.abs(np.log(rounded[:, 0] / table.latency_ms))
    assert (ratio <= math.log1p(noise) / 2 + 1e-9).all()
    assert (np.abs(rounded[:, 1] - table.error) <= error_step / 2 + 1e-9).all()
    for before, after in zip(table.to_numpy().T, rounded.T, strict=True):
        assert (np.diff(after[np.argsort(before)]) >= 0).all()


@given(measurements, st.floats(0.001, 1))
def test_what_shares_a_grid_point_differs_by_less_than_the_noise(table, noise):
    rounded = distinguishable(table, noise=noise, error_step=0)[:, 0]
    for _, same in table.latency_ms.groupby(rounded):
        assert same.max() / same.min() <= (1 + noise) * (1 + 1e-9)


def test_latencies_that_only_noise_tells_apart_are_not_ranked():
    table = pd.DataFrame({"latency_ms": [1.0, 1.01, 2.0], "error": [20.1, 20.0, 10.0]})
    assert list(front(distinguishable(table, noise=0, error_step=0.5))) == [True, False, True]
    assert list(front(distinguishable(table, noise=0.05, error_step=0.5))) == [True, True, True]
    assert list(front(distinguishable(table, noise=0.05, error_step=0))) == [False, True, True]


@given(clouds, st.floats(1, 6), st.floats(1, 6))
def test_hypervolume_is_the_area_that_is_dominated(objectives, x, y):
    """Against the sum over the cells of a grid through all points."""
    edges = [
        np.unique(np.clip([*objectives[:, n], limit], 0, limit)) for n, limit in enumerate((x, y))
    ]
    area = sum(
        (right - left) * (upper - lower)
        for left, right in zip(edges[0][:-1], edges[0][1:], strict=True)
        for lower, upper in zip(edges[1][:-1], edges[1][1:], strict=True)
        if ((objectives <= (left, lower)).all(axis=1)).any()
    )
    assert hypervolume(objectives, (x, y)) == pytest.approx(area, abs=1e-9)


def test_rows_that_failed_are_on_no_front_and_add_no_volume():
    nan = float("nan")
    objectives = [[1, 2], [nan, 0], [0, nan], [2, 1], [nan, nan]]
    assert list(front(objectives)) == [True, False, False, True, False]
    assert hypervolume(objectives, (3, 3)) == 3.0
    assert hypervolume([[nan, nan]], (3, 3)) == 0.0
    assert front(np.empty((0, 2))).shape == (0,) and hypervolume(np.empty((0, 2)), (3, 3)) == 0


def test_standard_error():
    assert standard_error(50, 2500) == 1.0 and standard_error(0, 10) == 0.0


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: hypervolume([[1, 2]], (3,)),
            "reference must be 2 finite numbers, one an objective, not (3,).",
        ),
        (
            lambda: hypervolume([[1, 2]], (3, math.inf)),
            "reference must be 2 finite numbers, one an objective, not (3, inf).",
        ),
        (lambda: standard_error(101, 10), "error must be a percentage from 0 to 100, not 101."),
        (lambda: standard_error(10, 0), "images must be at least 1, not 0."),
    ],
)
def test_what_cannot_be_is_one_sentence(ask, said):
    with pytest.raises(EvolutionError) as caught:
        ask()
    assert str(caught.value) == said
