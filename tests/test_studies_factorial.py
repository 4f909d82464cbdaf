"""Effects, interactions and departures: by hand, against least squares, of data that add up."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qbench.studies import factorial
from qbench.studies.factorial import ADD, LESS, MORE, OPEN, Factorial

FACTORS = ("a", "b", "c")
NUMBER = st.floats(-20, 20)


def experiment(value, seeds=3, factors=FACTORS):
    """`value(on, seed)` for every combination and seed, shuffled."""
    places = np.ndindex(*[2] * len(factors))
    rows = [
        dict(zip(factors, map(bool, on), strict=True)) | {"seed": seed, "y": value(on, seed)}
        for on in places
        for seed in range(seeds)
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return Factorial.of(frame, factors, "y")


def test_contrasts_of_a_textbook_design():
    # y: (1) 10, a 14, b 12, ab 24. A = (14 + 24 − 10 − 12) / 2, AB = (10 + 24 − 14 − 12) / 2.
    by_hand = {(0, 0): 10.0, (1, 0): 14.0, (0, 1): 12.0, (1, 1): 24.0}
    made = experiment(lambda on, seed: by_hand[on] + seed, seeds=2, factors=("a", "b"))
    found = made.effects().set_index("of")["effect"]
    assert found.to_dict() == pytest.approx({("a",): 8, ("b",): 6, ("a", "b"): 4})
    assert made.deviation() == pytest.approx(0)  # the seed's own shift is no noise
    row = made.departures(0.5).iloc[0]
    assert (row.predicted, row.measured, row.departure) == pytest.approx((16.5, 24.5, 8))


@given(st.lists(NUMBER, min_size=8, max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_effects_and_their_intervals_are_those_of_least_squares(cells, seed):
    noise = np.random.default_rng(seed).normal(size=(8, 3))
    place = {on: number for number, on in enumerate(np.ndindex(2, 2, 2))}
    made = experiment(lambda on, one: cells[place[on]] + noise[place[on], one])
    found = made.effects()
    signs = np.array([[2 * one - 1 for one in on] for on in place])
    columns = [signs[:, [FACTORS.index(f) for f in of]].prod(axis=1) for of in found["of"]]
    design = np.column_stack([np.repeat(one, 3) for one in columns])
    blocks = np.tile(np.eye(3), (8, 1))
    x, y = np.column_stack([design, blocks]), made.values.to_numpy().ravel()
    fit, *_ = np.linalg.lstsq(x, y, rcond=None)
    rest = y - x @ fit
    freedom = len(y) - x.shape[1]
    assert freedom == made.freedom == 14
    assert found["effect"].to_numpy() == pytest.approx(2 * fit[:7], abs=1e-9)
    error = 2 * (rest @ rest / freedom * np.linalg.inv(x.T @ x)[0, 0]) ** 0.5
    assert found["half"].to_numpy() == pytest.approx(error * stats.t.ppf(0.975, freedom))


@given(st.lists(NUMBER, min_size=4, max_size=4), st.lists(NUMBER, min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_what_adds_up_has_no_interaction_and_no_departure(changes, shifts):
    """Whatever the changes, and whatever a seed does to all combinations alike."""
    start, *each = changes
    made = experiment(lambda on, seed: start + np.dot(each, on) + shifts[seed])
    found = made.effects()
    single = found[found["order"] == 1]
    assert single["effect"].to_numpy() == pytest.approx(np.array(each), abs=1e-9)
    assert found[found["order"] > 1]["effect"].to_numpy() == pytest.approx(np.zeros(4), abs=1e-9)
    apart = made.departures(1e-6)
    assert apart["departure"].to_numpy() == pytest.approx(np.zeros(4), abs=1e-9)
    assert set(apart["verdict"]) == {ADD}


def test_departures_find_the_one_combination_that_is_not_additive():
    noise = np.random.default_rng(1).normal(scale=0.05, size=(8, 5))

    def value(on, seed):
        both = -6 * on[0] * on[1] + 3 * on[0] * on[2] * (not on[1])
        return 40 + both + noise[4 * on[0] + 2 * on[1] + on[2], seed]

    found = experiment(value, seeds=5).departures(0.5).set_index("of")["verdict"]
    assert found.to_dict() == {
        ("a", "b"): MORE,
        ("a", "c"): LESS,
        ("b", "c"): ADD,
        ("a", "b", "c"): MORE,
    }


def test_verdicts_need_an_interval():
    assert factorial.verdict(0.1, 0.3, 0.5) == ADD
    assert factorial.verdict(0.1, 0.6, 0.5) == OPEN
    assert factorial.verdict(-1.0, 0.6, 0.5) == MORE
    assert factorial.verdict(1.0, 0.6, 0.5) == LESS
    assert factorial.verdict(0.0, float("nan"), 0.5) == OPEN
    one = experiment(lambda on, seed: sum(on), seeds=1)
    assert one.effects()["half"].isna().all() and np.isnan(one.half())
    assert set(one.departures(0.5)["verdict"]) == {OPEN}


def test_a_seed_with_a_missing_value_is_left_out_whole_and_a_missing_cell_refused():
    made = experiment(lambda on, seed: np.nan if on == (1, 0, 0) and seed == 1 else sum(on))
    assert made.seeds == 2 and list(made.values.columns) == [0, 2]
    rows = made.values.stack().rename("y").reset_index()
    rest = rows[~(rows["a"] & rows["b"])]
    with pytest.raises(ValueError, match=r"combination \(True, True, False\) .* is missing"):
        Factorial.of(rest, FACTORS, "y")
    with pytest.raises(ValueError, match="occurs twice"):
        Factorial.of(pd.concat([rows, rows.head(1)]), FACTORS, "y")
    with pytest.raises(ValueError, match="no seed has"):
        Factorial.of(rows.assign(y=rows["y"].mask(rows["a"])), FACTORS, "y")
