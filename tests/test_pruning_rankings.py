"""Which filters go first: eq. 4.8, magnitudes, chance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qbench.pruning import PruningError, rankings
from qbench.quantizers.scaled import Dorefa, Twn


def first(ranking, weight, quantised, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return rankings.first_to_go(ranking, weight, quantised, numbers).tolist()


WEIGHTS = torch.tensor([[0.5, -0.5], [0.1, -0.1], [0.9, 0.9], [0.2, -0.8]])


def test_equation_4_8_by_hand():
    quantised = Dorefa(1)(WEIGHTS)  # the layer's mean magnitude is 0.5
    assert quantised.abs().unique().item() == pytest.approx(0.5)
    expected = [0.0, 0.16, 0.16, 0.09]
    assert rankings.msqe(WEIGHTS, quantised).tolist() == pytest.approx(expected, abs=1e-7)
    assert rankings.msqe(WEIGHTS, rankings.codes(quantised)).tolist() == pytest.approx(
        [0.25, 0.81, 0.01, 0.34]
    )


def test_each_ranking_has_an_order_of_its_own():
    quantised = torch.tensor([[0.6, -0.6], [0.6, -0.6], [0.6, 0.6], [0.6, -0.6]])
    assert first("qerror", WEIGHTS, quantised) == [1, 3, 2, 0]
    assert first("codes", WEIGHTS, quantised) == [1, 3, 0, 2]
    assert first("l1", WEIGHTS, quantised) == [1, 0, 3, 2]
    assert first("l2", torch.tensor([[0.6, -0.6], [0.1, -1.0]]), quantised[:2]) == [0, 1]
    assert first("l1", torch.tensor([[0.6, -0.6], [0.1, -1.0]]), quantised[:2]) == [1, 0]
    several = {tuple(first("random", WEIGHTS, quantised, seed)) for seed in range(20)}
    assert len(several) > 5 and all(sorted(one) == [0, 1, 2, 3] for one in several)
    assert first("random", WEIGHTS, quantised, 3) == first("random", WEIGHTS, quantised, 3)


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.float64, (6, 5), elements=st.floats(-1, 1, width=32)),
    st.sampled_from([Dorefa(1), Twn()]),
)
def test_what_goes_first_has_the_highest_error(values, quantiser):
    weight = torch.tensor(values)
    quantised = quantiser(weight)
    by_hand = ((quantised.numpy() - values) ** 2).mean(1)
    order = first("qerror", weight, quantised)
    assert sorted(order) == list(range(6))
    assert all(by_hand[a] >= by_hand[b] - 1e-12 for a, b in zip(order, order[1:], strict=False))


def test_small_weights_make_the_codes_error_the_reverse_of_magnitude():
    """(1 − |w|)² is 1 − 2|w| but for a square that small weights do not have."""
    weight = 1e-4 * torch.randn(30, 50, generator=torch.Generator().manual_seed(1))
    quantised = Dorefa(1)(weight)
    assert first("codes", weight.double(), quantised.double()) == first(
        "l1", weight.double(), quantised.double()
    )
    assert first("qerror", weight, quantised) != first("l1", weight, quantised)


def test_an_unknown_ranking_is_refused():
    with pytest.raises(PruningError, match=r"one of qerror, codes, l1, l2, random, not 'l3'"):
        first("l3", WEIGHTS, WEIGHTS)
