"""The training loop of a phase: interruptions, the best epoch, losses that are not finite."""

import pandas as pd
import pytest
import torch
from distillation_toy import same
from hypothesis import given
from hypothesis import strategies as st
from qkd_toy import Stop, flat, stop_after
from sparsity_toy import KINDS, every_epoch, images, perceptron, phase, train

from qbench import threads
from qbench.sparsity import SparsityError
from qbench.sparsity.phases import Phase
from qbench.training import error_rate

assert every_epoch  # a fixture


@pytest.fixture(autouse=True)
def one_thread():
    with threads.at_most(1):
        yield


def same_weights(one, two):
    for part, tensors in one.state().items():
        others = two.state()[part]
        assert tensors.keys() == others.keys()
        assert all(torch.equal(value, others[name]) for name, value in tensors.items())


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_phase_ends_as_it_would_have(kind, after, tmp_path, every_epoch):
    whole, table = train(kind, epochs=4)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, after)
        with pytest.raises(Stop):
            train(kind, epochs=4, checkpoint=tmp_path / "state.pt")
    resumed, again = train(kind, epochs=4, checkpoint=tmp_path / "state.pt")
    same(table, again)
    same_weights(whole, resumed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_best_epoch_is_kept_and_tested(kind):
    made, table = train(kind, epochs=6)
    best = table.valid_error.idxmin()
    assert table.index[table.test_error.notna()].tolist() == [best]
    split = images(kind)
    assert error_rate(made.model, split.valid) == table.valid_error[best]
    assert error_rate(made.model, split.test) == table.test_error[best]
    kept = sum(made.nonzeros().values())
    assert kept == table.filter(like="nonzeros_").loc[best].sum()
    assert table.zeros[best] == pytest.approx(100 * (1 - kept / made.count))
    assert table.pruned.nunique() == 1 and table.pruned[0] == 100 * made.pruned() / made.count


def test_it_learns():
    _, table = train(pictures=flat(60), epochs=30, made=perceptron(width=30), strength=0)
    assert table.train_error.iloc[-5:].mean() < table.train_error.iloc[0] / 2
    assert table.train_loss.iloc[-5:].mean() < table.train_loss.iloc[0] / 2


def test_a_stronger_penalty_leaves_fewer_weights():
    none, strong = (train(strength=strength, epochs=8)[1] for strength in (0.0, 0.3))
    assert strong.zeros.iloc[-1] > none.zeros.iloc[-1]


def test_a_loss_that_is_no_longer_finite_is_named_and_ends_the_table(tmp_path, every_epoch):
    made = perceptron()
    made.model.fc2_norm.weight.data[0] = float("inf")
    sentence = "training: the loss was no longer finite in epoch 1; it has no errors."
    with pytest.warns(UserWarning, match=sentence):
        _, table = train(made=made, checkpoint=tmp_path / "state.pt")
    assert table.epoch.tolist() == [1]
    assert table[["valid_error", "test_error"]].isna().all(axis=None)
    assert not (tmp_path / "state.pt").exists()


def test_one_image_is_refused():
    with pytest.raises(SparsityError, match="a phase needs at least 2 training images"):
        train(pictures=flat(1))


@given(st.integers(2, 50), st.floats(0.001, 1))
def test_the_rate_falls_by_equal_factors(steps, fall):
    made = Phase(1, 0.5, fall)
    rates = [made.rate(step, steps) for step in range(steps)]
    assert rates[0] == 0.5 and rates[-1] == pytest.approx(0.5 * fall)
    assert [b / a for a, b in zip(rates, rates[1:], strict=False)] == pytest.approx(
        [fall ** (1 / (steps - 1))] * (steps - 1)
    )


def test_columns():
    _, table = train()
    assert isinstance(table, pd.DataFrame) and len(table) == 3
    assert list(table) == [
        *("epoch", "train_loss", "train_error", "valid_error", "zeros", "pruned"),
        *(f"nonzeros_fc{number}" for number in range(1, 5)),
        "test_error",
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0."),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2, not 1."),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, not 0."),
        ({"fall": 2}, "fall must be above 0 and at most 1, not 2."),
        ({"strength": -1}, "strength, the thesis' lambda, must be a number of at least 0, not -1."),
    ],
)
def test_refused_phases(values, sentence):
    with pytest.raises(SparsityError) as refused:
        phase(**{"epochs": 1} | values)
    assert str(refused.value) == sentence
