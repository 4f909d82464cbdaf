"""A sweep gives the same numbers, however often it is interrupted."""

import itertools
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sweep_toy
import torch
from faults_toy import noted
from store_toy import files
from sweep_toy import images, run, same, same_networks

from qbench import checkpoints, data, paths, store, sweep
from qbench.sweep import Member, fitting, grid
from qbench.sweep.network import Network

home = pytest.fixture(sweep_toy.home, autouse=True)
MEMBERS = [*grid([1, 2], [1, 4], [0, 3]), Member(2, 4, 0, 0.001), Member(32, 32), Member(4, 32)]
TWO_GROUPS = [*MEMBERS[:3], Member(32, 32)]
LONG = {"epochs": 40, "hidden": 16, "batch_size": 50}


class Stop(BaseException):
    """As a killed process: nothing catches it."""


@pytest.fixture
def every_epoch(monkeypatch):
    """Checkpoints are written after every epoch."""
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0)


def stop_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    """Interrupt in the middle of the epoch that follows so many, counted over all groups."""
    real, steps = Network.train_step, iter(range(10**6))

    def train_step(self, *args):
        if next(steps) == 6 * epochs + 3:
            raise Stop
        return real(self, *args)

    patch.setattr(Network, "train_step", train_step)


@pytest.fixture
def steps(monkeypatch):
    """The steps that are really trained."""
    done, real = [], Network.train_step
    monkeypatch.setattr(
        Network, "train_step", lambda self, *args: done.append(self) or real(self, *args)
    )
    return done


# Interrupted in this process


@pytest.mark.parametrize("epochs", range(9))  # three groups of three epochs
def test_a_sweep_interrupted_after_any_epoch_continues_to_the_same_numbers(
    home, every_epoch, steps, monkeypatch, epochs
):
    whole = run(MEMBERS)
    with monkeypatch.context() as patch:
        stop_after(patch, epochs)
        with pytest.raises(Stop):
            run(MEMBERS, checkpoint=home / "work")
    torch.manual_seed(99)
    steps.clear()
    again = run(MEMBERS[::-1], checkpoint=home / "work")  # in whatever order they are named
    assert len(steps) == 6 * (9 - epochs)
    same_networks(again, whole)
    assert len(files(home / "work")) == 3


def test_a_sweep_that_is_interrupted_after_every_epoch_gets_there_too(
    home, every_epoch, monkeypatch
):
    for _ in range(9):
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                run(MEMBERS, epochs=4, milestones=(0.4, 0.8), checkpoint=home)
    options = {"epochs": 4, "milestones": (0.4, 0.8)}
    same_networks(run(MEMBERS, **options, checkpoint=home), run(MEMBERS, **options))


def test_a_finished_sweep_trains_nothing_more(home, steps):
    whole = run(MEMBERS, checkpoint=home)
    steps.clear()
    same_networks(run(MEMBERS, checkpoint=home), whole)
    assert not steps


def test_a_member_that_diverged_before_the_interruption_is_still_named(
    home, every_epoch, monkeypatch
):
    wild = Member(2, 4, 0, 1e38)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stop):
            run([wild, Member(2, 4)], checkpoint=home)
    outcome = run([wild, Member(2, 4)], checkpoint=home)
    assert outcome.diverged == {wild: "W2A4 seed 0: the loss was no longer finite in epoch 1."}
    same_networks(outcome, run([Member(2, 4)]))


def test_checkpoints_are_written_every_so_many_seconds_and_at_the_end(home, monkeypatch):
    clock, written, real = itertools.count(0, 25), [], checkpoints.save
    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(
        checkpoints, "save", lambda file, state: written.append(state["epoch"]) or real(file, state)
    )
    run([Member(2, 2)], epochs=8, checkpoint=home)
    assert written == [3, 6, 8], "it looks after each epoch and when it has written"


# Damaged and foreign checkpoints


@pytest.mark.parametrize("length", [0, 10, 31, 2000, -1])
def test_a_damaged_checkpoint_is_said_and_training_begins_again(home, capsys, length):
    whole = run(MEMBERS, epochs=2, checkpoint=home)
    for file in home.iterdir():
        file.write_bytes(file.read_bytes()[:length])
    same_networks(run(MEMBERS, epochs=2, checkpoint=home), whole)
    said = capsys.readouterr().err
    for file in home.iterdir():
        assert f"{paths.shown(file)} is damaged: training begins again" in said
    same_networks(run(MEMBERS, epochs=2, checkpoint=home), whole)
    assert "damaged" not in capsys.readouterr().err, "it has been replaced"


@pytest.mark.parametrize(
    "other",
    [
        *[{"epochs": 4}, {"epochs": 2}, {"batch_size": 60}, {"hidden": 8}],
        *[{"evaluate_at": [3]}, {"milestones": (0.4, 0.7)}, {"toy": images(299)}],
        {"toy": images(300, 35)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_checkpoint_of_another_sweep_is_not_used(home, capsys, other):
    run(MEMBERS[:2], **other, checkpoint=home)
    (file,) = home.iterdir()
    capsys.readouterr()
    same_networks(run(MEMBERS[:2], checkpoint=home), run(MEMBERS[:2]))
    assert f"{paths.shown(file)} is of another sweep: not used" in capsys.readouterr().err


def test_checkpoints_from_before_they_said_of_what_they_are_are_used(home, steps):
    whole = run(MEMBERS[:2], checkpoint=home)
    (file,) = home.iterdir()
    state = checkpoints.load(file)
    del state["asked"]
    checkpoints.save(file, state)
    steps.clear()
    same_networks(run(MEMBERS[:2], checkpoint=home), whole)
    assert not steps


# Through the store


def test_an_interrupted_stored_sweep_leaves_and_loses_nothing(
    home, every_epoch, steps, monkeypatch
):
    options = {"epochs": 3, "hidden": 16, "batch_size": 50}
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Stop):
            sweep.quant_mlps("toy", MEMBERS, **options)
    assert len(files(home / "local" / "unfinished")) == 2
    assert list(store.entries()) == []
    steps.clear()
    tables = sweep.quant_mlps("toy", MEMBERS, **options)
    assert len(steps) == 6 * 5 and files(home / "local" / "unfinished") == []
    same(tables, run(MEMBERS).tables)
    steps.clear()
    same(sweep.quant_mlps("toy", MEMBERS[3:6], **options), tables)
    assert not steps
    more = [*MEMBERS[:3], Member(8, 8)]
    same(sweep.quant_mlps("toy", more, **options), run(more).tables)
    assert [len(network.members) for network in steps] == [1] * 6 * 3 + [4] * 6 * 3


def test_a_member_that_diverges_is_said_left_out_and_not_stored(home, capsys):
    wild, options = Member(2, 4, 0, 1e38), {"epochs": 2, "hidden": 16, "batch_size": 50}
    tables = sweep.quant_mlps("toy", [wild, *MEMBERS], **options)
    assert "W2A4 seed 0: the loss was no longer finite in epoch 1." in capsys.readouterr().err
    assert set(tables) == set(MEMBERS)
    same(tables, run(MEMBERS, epochs=2).tables)
    assert len(list(store.entries())) == len(MEMBERS)


# Killed


def train_in_a_process(folder: str) -> None:
    """Note which epoch each group begins from."""
    os.environ["QBENCH_RESULTS"] = folder
    torch.set_num_threads(1)
    data.load = lambda name, **_: images()
    fitting.CHECKPOINT_SECONDS = 0
    real = checkpoints.load

    def load(file):
        state = real(file)
        with open(Path(folder) / "began", "a") as began:
            began.write(f"{state['epoch'] if state else 0}\n")
        return state

    checkpoints.load = load
    sweep.quant_mlps("toy", TWO_GROUPS, **LONG)


def watched(folder: Path) -> dict[str, int]:
    """When each checkpoint was last written."""
    found = {}
    for file in folder.glob("local/unfinished/*/*.pt"):
        found[file.name] = file.stat().st_mtime_ns
    return found


def test_a_sweep_killed_at_random_moments_continues_to_the_same_numbers(home):
    """Of its time it spends much on checkpoints, so that is when a kill comes, as often as not."""
    chance = random.SystemRandom()
    context = multiprocessing.get_context("forkserver")  # imports torch only once
    context.set_forkserver_preload(["qbench.sweep", "qbench.models.tfc"])
    (home / "local").mkdir()
    codes = []
    for _ in range(5):
        process = context.Process(target=train_in_a_process, args=(str(home / "local"),))
        process.start()
        writes, before, wait = chance.randint(1, 12), watched(home), chance.uniform(0, 0.03)
        until = time.monotonic() + 60
        while writes and process.is_alive() and time.monotonic() < until:
            now = watched(home)
            writes -= now != before
            before = now
            time.sleep(0.001)
        time.sleep(wait)
        process.kill()
        process.join(30)
        codes.append(process.exitcode)
    assert set(codes) <= {-signal.SIGKILL, 0} and codes[0] == -signal.SIGKILL, codes
    print("each group began after so many epochs:", (home / "local" / "began").read_text().split())
    began = [int(line) for line in (home / "local" / "began").read_text().split()]
    assert max(began) > 0, "none began from a checkpoint"
    tables = sweep.quant_mlps("toy", TWO_GROUPS, **LONG)
    asked = {"evaluate_at": sweep.evaluation_epochs(LONG["epochs"])}
    same(tables, run(TWO_GROUPS, **LONG, **asked).tables)
    assert set(tables) == set(TWO_GROUPS)
    assert files(home / "local" / "unfinished") == []
    left = [name for name in files(home / "local") if name != "began"]
    assert len(left) == 2 * len(TWO_GROUPS), "a JSON and a table each, nothing half-written"
    noted(
        "a sweep is killed",
        "SIGKILL at random moments, of checkpoints too",
        codes.count(-signal.SIGKILL),
        "the same numbers, to the last bit",
    )
