"""Bits by layer: a member is what it would be alone, and one of equal bits is chapter 2's."""

import numpy as np
import pytest
import sweep_toy
from sweep_toy import run, same, same_networks, trained

from qbench import store, sweep
from qbench.sweep import Member, SweepError, grid
from qbench.sweep.network import order

MIXED = [
    Member((1, 2, 4, 8), (2, 1, 3)),
    Member((4, 1, 1, 2), (8, 8, 1)),
    Member((1, 1, 1, 4), 2, seed=5),
    Member(2, (4, 4, 1), seed=5),
    Member((3, 3, 3, 1), 32),
]
PLAIN = [*grid([1, 2, 4], [1, 3]), Member(2, 2, 5), Member(32, 32)]


@pytest.fixture(scope="module")
def whole():
    return run([*MIXED, *PLAIN])


def test_a_homogeneous_member_has_the_same_bits_beside_mixed_ones_as_without_them(whole):
    """And when its bits are named layer by layer: it is the same member."""
    named = [Member((m.weight_bits,) * 4, [m.act_bits] * 3, m.seed) for m in PLAIN[:-1]]
    assert named == PLAIN[:-1] and len({*named, *PLAIN}) == len(PLAIN)
    same_networks(run(PLAIN), whole)


@pytest.mark.parametrize("member", MIXED, ids=str)
def test_a_mixed_member_follows_the_path_that_it_follows_alone(whole, member):
    same_networks(run([member]), whole)


def test_the_bits_of_every_layer_change_what_is_learnt():
    """A layer whose bits were ignored would leave two members alike."""
    members = [
        Member(tuple(np.where(np.arange(4) == place, 1, 2)), 2) for place in range(4)
    ]  # NumPy's numbers pass
    members += [
        Member(2, tuple(4 if one == place else 2 for one in range(3))) for place in range(3)
    ]
    outcome = run([*members, Member(2, 2)], epochs=1)
    ends = {tuple(trained(outcome, member).tolist()) for member in outcome.tables}
    assert len(ends) == 8


def test_what_stands_behind_one_bit_weights_is_limited_in_their_layer_alone(whole):
    network, index = whole.network(MIXED[0])
    largest = [float(weights[index].abs().max()) for weights in network.weights]
    assert largest[0] <= 0.1 + 1e-6 and min(largest[1:]) > 0.11


def test_mixed_members_are_stored_and_read_with_the_others(tmp_path, monkeypatch):
    sweep_toy.home(tmp_path, monkeypatch)
    asked = [*MIXED[:2], Member(2, 2)]
    recipe = {"epochs": 2, "hidden": 16, "batch_size": 50}
    tables = sweep.quant_mlps("mnist5k", asked, **recipe)
    monkeypatch.setattr(sweep, "_train", None)
    same(sweep.quant_mlps("mnist5k", asked[::-1], **recipe), tables)
    alone = store.find(
        store.spec(sweep.quant_mlp, dataset="mnist5k", weight_bits=2, act_bits=2, **recipe)
    )
    assert alone.spec["parameters"]["weight_bits"] == 2, "as chapter 2 has it"


def test_members_are_named_and_sorted_whatever_bits_they_have():
    assert str(MIXED[0]) == "W1-2-4-8 A2-1-3 seed 0"
    assert str(MIXED[2]) == "W1-1-1-4 A2 seed 5"
    assert str(Member((2, 2, 2, 2), 4)) == "W2A4 seed 0"
    first_layers = [m.layer_bits[0][0] for m in order([*MIXED[:2], *PLAIN[:6]])]
    assert first_layers == sorted(first_layers), "1-bit first layers come first"


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        (
            ((1, 2, 3), 2),
            "weight_bits by layer must be 4 whole numbers from 1 to 8, not [1, 2, 3].",
        ),
        ((2, (1, 2, 3, 4)), "act_bits by layer must be 3 whole numbers from 1 to 8"),
        (((1, 2, 3, 9), 2), "weight_bits by layer must be 4 whole numbers from 1 to 8"),
        (((2, 2, 2, 32), 2), "weight_bits by layer must be 4 whole numbers from 1 to 8"),
        ((2, (1, 2, 0.5)), "act_bits by layer must be 3 whole numbers from 1 to 8"),
        (((), 2), "weight_bits by layer must be 4 whole numbers from 1 to 8, not []."),
    ],
)
def test_bits_by_layer_that_cannot_be(bits, said):
    with pytest.raises(SweepError) as caught:
        Member(*bits)
    assert str(caught.value).startswith(said)
