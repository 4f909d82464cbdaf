"""Training gives the same numbers, however often it is interrupted."""

import errno
import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import training_toy
from faults_toy import noted
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from training_toy import TINY, Stop, network, same, stop_after, train

from qbench import checkpoints, paths, store, training

home = pytest.fixture(training_toy.home, autouse=True)
FALLS = {"epochs": 5, "milestones": (0.4, 0.8)}  # the rate falls after epochs 2 and 4
LONG = {"epochs": 60, "seed": 3}


# The same numbers


def test_two_runs_are_identical_and_another_seed_is_not():
    first = train(seed=0)
    torch.manual_seed(99)  # what the caller did before has no say
    same(train(seed=0), first)
    assert not train(seed=1).train_loss.equals(first.train_loss)


@pytest.mark.parametrize(("weight_bits", "act_bits"), [(1, 1), (2, 4), (32, 32)])
def test_quant_mlp_is_repeatable_and_resumable(home, monkeypatch, weight_bits, act_bits):
    settings = {**TINY, "weight_bits": weight_bits, "act_bits": act_bits}
    whole = training.quant_mlp(**settings)
    assert len(whole) == 3 and np.isfinite(whole).all(axis=None)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            training.quant_mlp(**settings, checkpoint=home)
    assert len(checkpoints.load(home / "state.pt")["log"]) == 1
    torch.manual_seed(99)
    same(training.quant_mlp(**settings, checkpoint=home), whole)


def equal_states(a: Path, b: Path) -> None:
    """Two checkpoints hold the same weights, moments, schedule, random state and log."""
    ours, theirs = (checkpoints.load(file) for file in (a, b))
    for name, tensor in ours.pop("model").items():
        assert torch.equal(tensor, theirs["model"][name]), name
    torch.testing.assert_close(ours["optimiser"], theirs["optimiser"], rtol=0, atol=0)
    assert torch.equal(ours["rng"], theirs["rng"])
    assert (ours["log"], ours["schedule"]) == (theirs["log"], theirs["schedule"])


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_run_interrupted_after_any_epoch_continues_to_the_same_numbers(home, monkeypatch, epochs):
    whole = train(**FALLS, checkpoint=home / "whole.pt")
    state = home / "state.pt"
    with monkeypatch.context() as patch:
        stop_after(patch, epochs)
        with pytest.raises(Stop):
            train(**FALLS, checkpoint=state)
    assert len(checkpoints.load(state)["log"]) == epochs
    again = train(**FALLS, checkpoint=state, model=network())  # other weights to begin with
    same(again, whole)
    equal_states(state, home / "whole.pt")
    assert sorted(os.listdir(home)) == ["state.pt", "whole.pt"]


def test_a_run_interrupted_in_its_first_epoch_begins_again(home, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 0)
        with pytest.raises(Stop):
            train(checkpoint=home / "state.pt")
    assert os.listdir(home) == []
    same(train(checkpoint=home / "state.pt"), train())


def test_a_run_that_is_interrupted_after_every_epoch_gets_there_too(home, monkeypatch):
    state = home / "state.pt"
    for _ in range(4):
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                train(**FALLS, checkpoint=state)
    same(train(**FALLS, checkpoint=state), train(**FALLS))


def test_a_finished_run_trains_nothing_more(home, monkeypatch):
    whole = train(checkpoint=home / "state.pt")
    monkeypatch.delattr(training, "_train_epoch")
    same(train(checkpoint=home / "state.pt"), whole)


def train_in_a_process(folder: str) -> None:
    torch.set_num_threads(1)
    train(**LONG, checkpoint=Path(folder) / "state.pt")


def test_a_run_killed_at_a_random_moment_continues_to_the_same_numbers(home):
    """Most of its time it writes checkpoints, so that is when the kill comes, as a rule."""
    state, wait = home / "state.pt", random.SystemRandom().uniform(0, 0.2)
    process = multiprocessing.get_context("spawn").Process(
        target=train_in_a_process, args=(str(home),)
    )
    process.start()
    for _ in range(6000):
        if state.exists() or not process.is_alive():
            break
        time.sleep(0.01)
    time.sleep(wait)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode in (-signal.SIGKILL, 0), "it failed before it was killed"
    done = len(checkpoints.load(state)["log"])
    assert 1 <= done <= LONG["epochs"]
    same(train(**LONG, checkpoint=state), train(**LONG))
    noted(
        "a training is killed", "SIGKILL at a random moment", 1, "the same numbers, to the last bit"
    )


# Checkpoints


def test_a_damaged_checkpoint_is_said_and_training_begins_again(home, capsys):
    state, whole = home / "state.pt", train()
    for length in (0, 10, 2000):
        train(epochs=1, checkpoint=state)
        state.write_bytes(state.read_bytes()[:length])
        same(train(checkpoint=state), whole)
        assert f"{paths.shown(state)} is damaged" in capsys.readouterr().err
        state.unlink()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@trials(max_examples=30, deadline=None)
def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(place, bit):
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pt"
        train(epochs=1, checkpoint=state)
        assert checkpoints.load(state)
        content = bytearray(state.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        state.write_bytes(content)
        assert checkpoints.load(state) is None


def test_a_checkpoint_that_cannot_be_written_is_a_sentence(home, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(store.StoreError, match="No space left") as caught:
        train(checkpoint=home / "state.pt")
    assert str(home.name) in str(caught.value)
    assert os.listdir(home) == []


def test_through_the_store_an_interrupted_run_leaves_and_loses_nothing(home, monkeypatch):
    settings = {**TINY, "weight_bits": 2, "act_bits": 2}
    asked = store.key(store.spec(training.quant_mlp, **settings))
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stop):
            store.run(training.quant_mlp, **settings)
    work = home / "local" / "unfinished" / asked
    assert os.listdir(work) == ["state.pt"]
    real, trained = training._train_epoch, []
    monkeypatch.setattr(training, "_train_epoch", lambda *a: trained.append(a) or real(*a))
    table = store.run(training.quant_mlp, **settings)
    assert len(trained) == 1 and not work.exists()
    same(table, training.quant_mlp(**settings))
