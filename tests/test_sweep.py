"""Sweeps: members are independent, diverged ones are reported, nonsense is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sweep_toy import images

from qbench import sweep
from qbench.sweep import Member, SweepError, fitting, grid, train

TOY = images()
MEMBERS = grid([1, 2, 8], [1, 3], [0, 5]) + [Member(32, 32, 0), Member(32, 4, 0), Member(4, 32, 5)]
MEMBERS += [Member(2, 2, 0, learning_rate=0.001), Member(2, 2, 0, dropout=0.5)]


def run(members, **options):
    settings = {"epochs": 3, "hidden": 16, "batch_size": 50} | options
    return train(members, TOY, **settings)


@pytest.fixture(scope="module")
def whole():
    return run(MEMBERS)


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_a_member_is_the_same_alone_or_in_any_group(whole, count):
    rng = np.random.default_rng(count)
    chosen = [MEMBERS[i] for i in rng.choice(len(MEMBERS), count, replace=False)]
    for member, table in run(chosen).tables.items():
        pd.testing.assert_frame_equal(table, whole.tables[member], check_exact=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_neither_threads_nor_memory_change_a_bit(whole, threads, monkeypatch):
    monkeypatch.setattr(fitting, "WORTH_THREADS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        size = fitting.member_bytes(36, 16, 50)
        split = run(MEMBERS, memory=4 * size)
    finally:
        torch.set_num_threads(before)
    assert len(split.networks) > len(whole.networks)
    assert max(len(network.members) for network in split.networks) <= 4
    for member, table in split.tables.items():
        pd.testing.assert_frame_equal(table, whole.tables[member], check_exact=True)


def test_members_learn_and_differ(whole):
    errors = {member: table.test_error.iloc[-1] for member, table in whole.tables.items()}
    assert max(errors.values()) < 60 and np.median(list(errors.values())) < 20, "chance is 75 %"
    losses = {table.train_loss.iloc[-1] for table in whole.tables.values()}
    assert len(losses) == len(MEMBERS), "every difference between members shows"


def test_the_learning_rate_falls_twice_and_epochs_are_those_asked_for():
    table = run([Member(2, 2, learning_rate=0.02)], epochs=20, evaluate_at=[19, 1, 20, 18, 18])
    (only,) = table.tables.values()
    assert only.epoch.tolist() == [1, 18, 19, 20]
    assert only.learning_rate.tolist() == pytest.approx([0.02, 0.02, 0.002, 0.0002])
    assert sweep.evaluation_epochs(23) == [*range(1, 11), 15, 20, 23]
    assert sweep.evaluation_epochs(3) == [1, 2, 3]


@pytest.mark.parametrize(("pixels", "hidden"), [(37, 9), (36, 16), (300, 10)])
def test_any_size_works(pixels, hidden):
    data = images(101, pixels)  # the last batch is a single image, which is left out
    outcome = train(grid([2], [2, 4]), data, epochs=2, hidden=hidden, batch_size=50)
    assert all(table.test_error.iloc[-1] < 75 for table in outcome.tables.values())


def test_a_member_that_diverges_is_named_and_the_others_finish(whole, monkeypatch, capsys):
    spoilt = Member(2, 3, 0)
    begin = fitting.Network

    def network(members, **options):
        made = begin(members, **options)
        if spoilt in made.members:
            made.weights[1][made.members.index(spoilt)] = float("nan")
        return made

    monkeypatch.setattr(fitting, "Network", network)
    outcome = run(MEMBERS)
    assert list(outcome.diverged) == [spoilt]
    assert outcome.diverged[spoilt] == "W2A3 seed 0: the loss was no longer finite in epoch 1."
    assert "W2A3 seed 0: the loss is nan in epoch 1" in capsys.readouterr().err
    assert set(outcome.tables) == set(MEMBERS) - {spoilt}
    for member, table in outcome.tables.items():
        pd.testing.assert_frame_equal(table, whole.tables[member], check_exact=True)


def test_a_trained_member_can_be_looked_up(whole):
    network, index = whole.network(MEMBERS[3])
    assert network.members[index] == MEMBERS[3]
    with pytest.raises(SweepError, match="is not a member"):
        whole.network(Member(7, 7))


# Refusals: one sentence, and nothing is trained


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: grid([2, 2], [3]), "weight_bits must not repeat a value, and has 2 twice."),
        (lambda: grid([], [3]), "weight_bits must name at least one value, not none."),
        (lambda: grid([2], [3], []), "seeds must name at least one value, not none."),
        (lambda: grid([2.5], [3]), "weight_bits must be a whole number from 1 to 8, or 32"),
        (lambda: grid([2], [0]), "act_bits must be a whole number from 1 to 8, or 32"),
        (lambda: grid([9], [3]), "for float32, not 9."),
        (lambda: grid([True], [3]), "not True."),
        (lambda: Member(2, 2, -1), "seed must be a whole number from 0 to 2**31 - 1, not -1."),
        (lambda: Member(2, 2, 0, float("nan")), "learning_rate must be a positive finite number"),
        (lambda: Member(2, 2, 0, 0.0), "learning_rate must be a positive finite number, not 0.0."),
        (lambda: Member(2, 2, dropout=1.0), "dropout must be at least 0 and below 1, not 1.0."),
        (lambda: run([]), "a sweep needs at least one member, and the list is empty."),
        (lambda: run([(2, 2)]), "every member must be a sweep.Member, not (2, 2)."),
        (lambda: run([Member(2, 2), Member(2, 2)]), "W2A2 seed 0 is there twice."),
        (lambda: run([Member(2, 2)], epochs=0), "epochs must be a whole number of at least 1"),
        (lambda: run([Member(2, 2)], epochs=2.5), "not 2.5."),
        (
            lambda: run([Member(2, 2)], batch_size=1),
            "batch_size must be a whole number of at least 2",
        ),
        (lambda: run([Member(2, 2)], evaluate_at=[1, 4]), "from 1 to the 3 epochs trained, not 4."),
        (lambda: run([Member(2, 2)], evaluate_at=[0]), "from 1 to the 3 epochs trained, not 0."),
        (lambda: run([Member(2, 2)], evaluate_at=[]), "at least one epoch, or be None"),
        (lambda: run([Member(2, 2)], memory=1000), "what one member of this size needs"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(ask, said, monkeypatch):
    monkeypatch.setattr(fitting, "Network", None)  # nothing may be made
    with pytest.raises(SweepError) as caught:
        ask()
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.view(-1, 6, 6), "images must be flat"),
        (lambda x: x - 0.5, "images must have 8-bit levels in [0, 1]"),
        (lambda x: x * 1.001, "images must have 8-bit levels in [0, 1]"),
        (lambda x: x * float("nan"), "images must have 8-bit levels in [0, 1]"),
    ],
)
def test_images_that_are_not_8_bit_and_flat_are_refused(change, said):
    split = TOY.train
    wrong = type(TOY)(
        "toy", TOY.classes, type(split)(change(split.images), split.labels), split, split
    )
    with pytest.raises(SweepError) as caught:
        train([Member(2, 2)], wrong, epochs=1)
    assert said in str(caught.value)
