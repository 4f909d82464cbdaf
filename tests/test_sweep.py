"""Sweeps: each member follows the path it would follow alone, whatever trains beside it."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_toy import images, run, same, same_networks, trained

from qbench import data, sweep
from qbench.sweep import Member, SweepError, fitting, grid, train
from qbench.sweep.group import CHUNK
from qbench.sweep.network import Network

TOY = images()
MEMBERS = [
    *grid([1, 2, 8], [1, 3], [0, 5]),
    *(Member(2, 2, 0, 0.001), Member(2, 2, 0, 0.02), Member(2, 2, 7, 0.02)),
    *(Member(2, 2, 0, dropout=0.0), Member(1, 2, 0, dropout=0.5), Member(2, 2, 0, 0.001, 0.5)),
    *(Member(32, 32), Member(32, 4), Member(4, 32), Member(32, 1, 5), Member(1, 32, 5, 0.001)),
]
FEW = [*grid([1, 2, 8], [1, 4]), Member(2, 4, 3), Member(32, 32), Member(32, 8), Member(8, 32)]


@contextmanager
def two_threads():
    """However small the networks are. Slow where the processor has other work: for few steps."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "WORTH_THREADS", 0)
        torch.set_num_threads(2)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole():
    return run(MEMBERS)


# Independence


@given(
    members=st.lists(st.sampled_from(MEMBERS), min_size=1, unique=True),
    together=st.integers(1, 30),
)
@settings(max_examples=12)
def test_no_bit_depends_on_the_group_or_the_memory(whole, members, together):
    outcome = run(members, memory=together * fitting.member_bytes(36, 16, 50))
    assert max(len(network.members) for network in outcome.networks) <= together
    assert set(outcome.tables) == set(members)
    same_networks(outcome, whole)


def test_a_group_longer_than_what_a_cache_holds_is_no_different(whole):
    """Its first layers are worked on in several pieces."""
    members = grid(range(1, 9), [1, 3, 4])
    assert len(members) > CHUNK
    outcome = run(members)
    assert len(outcome.networks) == 1
    both = {m: table for m, table in outcome.tables.items() if m in whole.tables}
    assert len(both) == 6
    same(both, whole.tables)


@pytest.mark.parametrize(
    ("pixels", "hidden", "batch_size", "rest", "classes"),
    [
        *[(1, 1, 2, 1, 2), (37, 1, 20, 3, 3), (37, 7, 20, 7, 3), (37, 10, 33, 10, 10)],
        *[(257, 17, 7, 5, 5), (53, 33, 33, 2, 10), (97, 50, 64, 11, 10), (1024, 64, 100, 0, 10)],
        (64, 64, 64, 5, 10),
    ],
)
def test_no_bit_depends_on_group_memory_or_threads_at_any_size(
    pixels, hidden, batch_size, rest, classes
):
    """Prime numbers and fewer than a vector holds: libraries treat the last few apart."""
    toy = images(2 * batch_size + rest, pixels, classes)  # three batches; one of rest, if any
    options = {"epochs": 2, "hidden": hidden, "batch_size": batch_size}
    size = fitting.member_bytes(pixels, hidden, batch_size)
    group = run(FEW, toy, **options)
    same_networks(run(FEW, toy, memory=3 * size, **options), group)
    for member in FEW[::3]:
        same_networks(run([member], toy, **options), group)
    options["epochs"] = 1
    group = run(FEW, toy, **options)
    with two_threads():
        same_networks(run(FEW, toy, **options), group)


def test_what_the_caller_did_before_has_no_say_and_is_left_as_it_was(whole):
    torch.manual_seed(99)
    before, threads_before = torch.get_rng_state(), torch.get_num_threads()
    outcome = run(MEMBERS[:3])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads_before
    same_networks(outcome, whole)


def test_every_difference_between_members_shows(whole):
    ends = {member: tuple(trained(whole, member).tolist()) for member in MEMBERS}
    assert len(set(ends.values())) == len(MEMBERS)
    losses = [table.train_loss.iloc[-1] for table in whole.tables.values()]
    assert len(set(losses)) == len(MEMBERS)


# Batches


def test_batches_are_the_images_in_the_order_of_seed_and_epoch():
    network = Network([Member(2, 2, 4, dropout=0.0)], inputs=36, classes=4, hidden=16)
    levels, labels = fitting.codes(TOY.train, "cpu")
    got = list(fitting._batches(network, levels, labels, 3, 50))
    order = torch.from_numpy(data.epoch_order(300, 4, 3))
    assert len(got) == 6
    assert torch.equal(torch.cat([batch[0] for batch, _, _ in got]), levels[order].float())
    assert torch.equal(torch.cat([target[0] for _, _, target in got]), labels[order])
    assert all(bool(keep[0].all()) for _, keep, _ in got), "without dropout all stay"


def test_dropout_leaves_its_share_and_differs_by_seed_epoch_batch_and_layer():
    toy = images(2000, 64)
    members = [Member(2, 2, 0, dropout=0.3), Member(2, 2, 1, dropout=0.3), Member(2, 2, 1)]
    network = Network(members, inputs=64, classes=4, hidden=32)
    levels, labels = torch.full((2000, 64), 255, dtype=torch.uint8), toy.train.labels
    masks, shares = [], {0: [], 1: [], 2: []}
    for epoch in (1, 2):
        for batch, keep, _ in fitting._batches(network, levels, labels, epoch, 1000):
            for stream, (inputs, hidden) in enumerate(zip(batch, keep, strict=True)):
                shares[stream] += [inputs.mean() / 255, hidden.mean()]
                masks += [tuple(part.flatten()[:2000].tolist()) for part in (inputs, *hidden)]
    expected = {0: 0.7, 1: 0.7, 2: 0.8}
    for stream, share in shares.items():
        assert share == pytest.approx([expected[stream]] * len(share), abs=0.01)
    assert len(set(masks)) == len(masks)


def test_a_last_batch_of_one_image_is_left_out_and_a_larger_one_is_not(monkeypatch):
    seen, real = [], Network.train_step
    monkeypatch.setattr(
        Network,
        "train_step",
        lambda self, batch, *rest: seen.append(len(batch[0])) or real(self, batch, *rest),
    )
    outcome = run([Member(2, 2)], images(101), epochs=2)
    assert seen == [50, 50, 50, 50] and not outcome.diverged
    seen.clear()
    run([Member(2, 2)], images(102), epochs=1)
    assert seen == [50, 50, 2]


# Learning


def test_members_learn(whole):
    errors = {member: table.test_error.iloc[-1] for member, table in whole.tables.items()}
    assert np.median(list(errors.values())) < 20, "chance is 75 %"
    assert max(error for member, error in errors.items() if member.learning_rate > 0.001) < 60


def test_digits_are_learnt_and_bits_help():
    """Chance is 90 %; two epochs of 40 steps."""
    digits = data.load("mnist5k", size=32, flatten=True)
    members = [*grid([1, 2, 4], [1, 2, 4]), Member(32, 32)]
    outcome = train(members, digits, epochs=2, hidden=32, evaluate_at=[2])
    errors = {member: float(table.test_error.iloc[0]) for member, table in outcome.tables.items()}
    assert len(errors) == 10 and max(errors.values()) < 60, errors
    assert errors[Member(4, 4)] < 15 and errors[Member(32, 32)] < 15, errors
    assert errors[Member(4, 4)] < errors[Member(1, 1)], errors
    for table in outcome.tables.values():
        assert abs(table.valid_error.iloc[0] - table.test_error.iloc[0]) < 12


def test_the_errors_are_those_of_the_trained_network(whole):
    member = Member(2, 3, 5)
    network, index = whole.network(member)
    levels, labels = fitting.codes(TOY.test, "cpu")
    classes = torch.cat(list(network.predict(levels, together=40)), dim=1)[index]
    wrong = 100 * (classes != labels).double().mean().item()
    assert whole.tables[member].test_error.iloc[-1] == pytest.approx(wrong, abs=1e-12)


def test_a_trained_member_can_be_looked_up(whole):
    for member in MEMBERS:
        network, index = whole.network(member)
        assert network.members[index] == member
    with pytest.raises(SweepError, match="^W7A7 seed 0 is not a member of this sweep.$"):
        whole.network(Member(7, 7))


# Epochs and learning rates


def test_the_learning_rate_falls_twice_and_epochs_are_those_asked_for():
    members = [Member(2, 2, learning_rate=0.02), Member(2, 2, learning_rate=0.001)]
    tables = run(members, epochs=20, evaluate_at=[19, 1, 20, 18, 18]).tables
    for member in members:
        table, rate = tables[member], member.learning_rate
        assert list(table) == ["epoch", "learning_rate", "train_loss", "valid_error", "test_error"]
        assert table.epoch.tolist() == [1, 18, 19, 20]
        rates = [rate, rate, rate / 10, rate / 100]
        assert table.learning_rate.tolist() == pytest.approx(rates, rel=1e-12)


def test_the_learning_rate_of_the_table_is_the_one_that_was_used(monkeypatch):
    """Weights move by about that much in Adam's first step after it fell."""
    kept = []

    def error_rates(network, *_):
        kept.append(network.weights[1].clone())
        return torch.zeros(1)

    monkeypatch.setattr(fitting, "error_rates", error_rates)
    table = run([Member(8, 8)], images(50), epochs=6, milestones=(0.5,)).tables[Member(8, 8)]
    moves = [float((b - a).abs().max()) for a, b in zip(kept[::2], kept[2::2], strict=False)]
    assert table.learning_rate.tolist() == pytest.approx([0.01] * 3 + [0.001] * 3)
    assert min(moves[:2]) > 0.004 and max(moves[2:]) < 0.002, moves


def test_evaluation_in_between_changes_nothing():
    every = run(FEW[:3], epochs=4)
    some = run(FEW[:3], epochs=4, evaluate_at=[2, 4])
    for member, table in some.tables.items():
        expected = every.tables[member].iloc[[1, 3]].reset_index(drop=True)
        same({member: table}, {member: expected})


def test_evaluation_epochs_are_the_first_ten_every_fifth_and_the_last():
    assert sweep.evaluation_epochs(1) == [1]
    assert sweep.evaluation_epochs(3) == [1, 2, 3]
    assert sweep.evaluation_epochs(10) == list(range(1, 11))
    assert sweep.evaluation_epochs(23) == [*range(1, 11), 15, 20, 23]
    assert sweep.evaluation_epochs(100) == [*range(1, 11), *range(15, 101, 5)]


# Divergence


def test_a_member_with_an_enormous_rate_is_named_and_the_others_finish(whole, capsys):
    wild = [Member(2, 4, 0, 1e38), Member(32, 32, 0, 1e38)]
    outcome = run([*wild, *MEMBERS])
    assert set(outcome.diverged) == set(wild)
    assert outcome.diverged[wild[0]] == "W2A4 seed 0: the loss was no longer finite in epoch 1."
    assert "W2A4 seed 0: the loss is nan in epoch 1" in capsys.readouterr().err
    assert set(outcome.tables) == set(MEMBERS)
    same_networks(outcome, whole)


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_member_that_breaks_in_any_epoch_is_named_once(whole, monkeypatch, capsys, layer, epoch):
    broken, real, steps = Member(2, 3, 0), Network.train_step, []

    def train_step(self, *args):
        steps.append(self)
        if broken in self.members and steps.count(self) == 6 * (epoch - 1) + 4:
            self.finish(1.0)
            self.weights[layer][self.members.index(broken), 0, 0] = float("nan")
        return real(self, *args)

    monkeypatch.setattr(Network, "train_step", train_step)
    outcome = run(MEMBERS)
    sentence = f"W2A3 seed 0: the loss was no longer finite in epoch {epoch}."
    assert outcome.diverged == {broken: sentence}
    said = capsys.readouterr().err
    assert said.count("the loss is nan") == 1 and f"loss is nan in epoch {epoch}" in said
    assert set(outcome.tables) == set(MEMBERS) - {broken}
    same_networks(outcome, whole)


def test_one_member_that_diverges_raises_where_a_single_result_is_asked_for(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name, **_: TOY)
    with pytest.raises(FloatingPointError, match="^W2A2 seed 0: the loss was no longer finite"):
        sweep.quant_mlp(
            dataset="toy", weight_bits=2, act_bits=2, epochs=1, hidden=16, learning_rate=1e38
        )
