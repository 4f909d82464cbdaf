"""The training loop of the phases: members apart, interruptions, rates, who learns what."""

import numpy as np
import pandas as pd
import pytest
import torch
from distillation_toy import same, same_network
from hypothesis import given
from hypothesis import strategies as st
from qkd_toy import (
    QUANTISED,
    Stop,
    convolutional,
    flat,
    phase,
    pictures,
    stack,
    stop_after,
    teachers,
    train,
)

from qbench import checkpoints, threads
from qbench.qkd import Bits, Phase, Stack, StudyError, Teachers, study
from qbench.qkd.networks import joined, parts, signed_inputs
from qbench.quantizers.ranges import Learnt, MinMax

KINDS = ("ss", "cs", "ts")
ALL_BITS = (None, *QUANTISED)


@pytest.fixture(autouse=True)
def one_thread():
    with threads.at_most(1):
        yield


def close(a, b):
    """Equal up to what rounding makes of a few steps."""
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_member_learns_what_it_would_alone(kind, bits):
    together, tables, taught = train(kind, stack(bits=bits))
    apart = parts(together.state_dict(), 3)
    others = parts(taught.network.state_dict(), 3) if kind == "cs" else None
    for m in range(3):
        own = None
        if taught:
            network = stack([5 + taught.which[m]], (11,))
            own = Teachers(network, [0], [taught.alpha[m]], [taught.temperature[m]])
        alone, [table], _ = train(kind, stack([m], bits=bits), taught=own, seeds=[m])
        pd.testing.assert_frame_equal(table, tables[m], rtol=1e-3)
        close(apart[m], alone.state_dict())
        if others:
            close(others[m], own.network.state_dict())


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("bits", [None, Bits(4, 4), Bits(2, 2, "learnt")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_phase_ends_as_it_would_have(kind, bits, after, tmp_path):
    whole, tables, taught = train(kind, stack(bits=bits))
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, after)
        with pytest.raises(Stop):
            train(kind, stack(bits=bits), checkpoint=tmp_path / "state.pt")
    resumed, again, other = train(kind, stack(bits=bits), checkpoint=tmp_path / "state.pt")
    for one, two in zip(tables, again, strict=True):
        same(one, two)
    same_network(whole, resumed)
    if kind == "cs":
        same_network(taught.network, other.network)


@pytest.mark.parametrize("augment", [False, True])
def test_a_killed_convolutional_network_ends_as_it_would_have(augment, tmp_path):
    def run(**more):
        made = convolutional(Bits(3, 3, "learnt"))
        taught = Teachers(convolutional(), [0], [0.5], [4.0])
        return train("ts", made, pictures(), taught, seeds=[0], augment=augment, **more)

    whole, [table], _ = run()
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            run(checkpoint=tmp_path / "state.pt")
    resumed, [again], _ = run(checkpoint=tmp_path / "state.pt")
    same(table, again)
    same_network(whole, resumed)


def test_only_co_studying_teaches_the_teacher():
    before = teachers("ts").network
    same_network(train("ts")[2].network, before)
    after = train("cs")[2].network
    assert not torch.equal(after.weights[0], teachers("cs").network.weights[0])


def test_a_step_of_co_studying_is_a_step_of_each_on_the_others_answers():
    """One batch, one epoch: both gradients are those at the start, and neither holds the other."""
    images = flat(5)
    student, _, taught = train("cs", stack([0]), images, seeds=[0], epochs=1)
    for learner, other, ours in (
        (stack([0]), stack([5], (11,)), student),
        (stack([5], (11,)), stack([0]), taught.network),
    ):
        tutor = Teachers(other, [0], [0.2], [1.0])
        alone = study(learner, images, phase("ts", 1), seeds=[0], teachers=tutor, progress=False)
        assert len(alone) == 1
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(learner.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_intervals_do_not_decay():
    made = stack(bits=Bits(4, 4, "learnt"))
    study(made, flat(), phase("ss", 1, weight_decay=1e3, learning_rate=1e-9), seeds=(0, 1, 2),
          progress=False)  # fmt: skip
    fresh = stack(bits=Bits(4, 4, "learnt"))
    moved = [
        float((one.interval / two.interval - 1).detach().abs().max())
        for one, two in zip(made.modules(), fresh.modules(), strict=True)
        if isinstance(one, Learnt)
    ]
    shrunk = float((made.weights[0] / fresh.weights[0]).detach().abs().median())
    assert max(moved) < 1e-7 < 1e-6 < 1 - shrunk


def test_post_training_quantisation_trains_nothing():
    made, tables, _ = train("ptq", stack(bits=Bits(2, 2)))
    same_network(made, stack(bits=Bits(2, 2)))
    assert [table.epoch.tolist() for table in tables] == [[0]] * 3
    assert tables[0].train_error.isna().all()
    assert tables[0].test_error.notna().all()


def test_it_learns():
    tables = train("ss", epochs=40, images=flat(60))[1]
    for table in tables:
        assert table.train_error.iloc[-1] < table.train_error.iloc[0]
        assert table.test_error.iloc[-1] == 0
        assert table.test_error.iloc[:-1].isna().all()


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 9), st.floats(0, 3))
def test_the_rate_rises_and_falls_in_steps(epochs, steps, drop, warm):
    made = Phase("ss", epochs, 0.5, (drop,), 0.2, warm)
    rates = [made.rate(step, steps) for step in range(epochs * steps)]
    for step, rate in enumerate(rates):
        full = 0.5 * (0.2 if step // steps >= drop else 1)
        rising = min(1.0, (step + 1) / (warm * steps)) if warm else 1.0
        assert rate == pytest.approx(full * rising)


def test_parts_and_joined_undo_each_other():
    state = stack(bits=Bits(4, 4, per_channel=True)).state_dict()
    again = joined(parts(state, 3))
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize("bits", ALL_BITS)
def test_a_member_by_itself_says_what_the_stack_says(bits):
    made, images = stack(bits=bits).eval(), flat().test.images
    said = made(images.expand(3, *images.shape))
    for m in range(3):
        np.testing.assert_allclose(
            made.network(m)(images).detach(), said[m].detach(), rtol=1e-5, atol=1e-6
        )


def test_layers_whose_input_is_negative_are_found():
    made = convolutional()
    assert signed_inputs(made.model, pictures().train.images) == ["0", "6"]


@pytest.mark.parametrize("kind", [MinMax, Learnt])
def test_every_layer_is_quantised_and_the_input_keeps_eight_bits(kind):
    name = "minmax" if kind is MinMax else "learnt"
    made = convolutional(Bits(2, 3, name))
    found = [part.bits for part in made.modules() if isinstance(part, MinMax | Learnt)]
    assert sorted(found) == [2, 2, 2, 3, 3, 8]


@pytest.mark.parametrize("bits", [None, Bits(2, 2, "learnt")])
def test_a_loss_that_is_no_longer_finite_is_named_and_leaves_the_others_alone(bits):
    def diverging():
        made = stack(bits=bits)
        made.weights[0].data[1] = float("inf")
        return made

    _, whole, _ = train("ss", stack(bits=bits))
    sentence = "with seed 1 the loss was no longer finite in epoch 1; its errors are missing."
    with pytest.warns(UserWarning, match=sentence) as said:
        _, tables, _ = train("ss", diverging())
    assert len(said) == 1
    for member in (0, 2):
        pd.testing.assert_frame_equal(tables[member], whole[member])
    assert tables[1].epoch.tolist() == [1]
    assert tables[1][["valid_error", "test_error"]].isna().all(axis=None)


def test_a_stack_without_a_finite_loss_is_not_trained_further(monkeypatch, tmp_path):
    made = stack()
    for weight in made.weights:
        weight.data[:] = float("nan")
    saved = []
    monkeypatch.setattr(checkpoints, "save", lambda file, state: saved.append(len(state["log"])))
    with pytest.warns(UserWarning, match="no longer finite"):
        train("ss", made, checkpoint=tmp_path / "state.pt")
    assert saved == [1]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "xx"}, "phase must be one of ptq, ss, cs, ts, not 'xx'."),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0."),
        ({"kind": "ptq", "epochs": 2}, "epochs must be 0 in post-training quantisation, not 2."),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, not 0."),
        ({"factor": -1}, "factor must be a number above 0, not -1."),
        ({"warm_up": -1}, "warm_up must be a number of at least 0, not -1."),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2, not 1."),
        ({"drops": "12"}, "drops must be whole numbers of at least 0, not '12'."),
    ],
)
def test_refused_phases(values, sentence):
    with pytest.raises(StudyError) as refused:
        Phase(**{"kind": "ss", "epochs": 1} | values)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"weights": 0},
            "weight_bits must be a whole number from 1 to 8, or 32 for float32, not 0.",
        ),
        ({"acts": 9}, "act_bits must be a whole number from 1 to 8, or 32 for float32, not 9."),
        ({"quantiser": "max"}, "quantiser must be one of minmax, learnt, not 'max'."),
    ],
)
def test_refused_bits(values, sentence):
    with pytest.raises(StudyError) as refused:
        Bits(**values)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: train("ss", stack(), seeds=(0, 1)), "a stack of 3 needs as many seeds, not 2."),
        (lambda: train("ss", taught=teachers("ts")), "the phase 'ss' has no teacher."),
        (
            lambda: study(stack(), flat(), phase("cs"), seeds=(0, 1, 2), progress=False),
            "the phase 'cs' needs a teacher.",
        ),
        (
            lambda: train("ss", images=flat(1)),
            "a phase needs at least 2 training images, and there is 1.",
        ),
    ],
)
def test_refused_before_any_step(call, sentence):
    with pytest.raises(StudyError) as refused:
        call()
    assert str(refused.value) == sentence


def test_tables_have_one_row_an_epoch():
    _, tables, _ = train("cs", epochs=2)
    assert all(isinstance(table, pd.DataFrame) for table in tables)
    assert list(tables[0]) == [
        *("epoch", "train_loss", "train_error", "teacher_loss"),
        *("valid_error", "test_error", "teacher_test_error"),
    ]
    assert isinstance(stack(), Stack)
