"""The speed of perceptrons with rounding: the same work for all, what the numbers become, the page.

How fast anything is, no test says: `make bench` does.
"""

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qbench import pages, speed_distillation, speed_rounding, store, threads
from qbench.qkd import Stack
from qbench.speed_rounding import APART, FUSED, OURS

WORK = {"students": 1, "bits": 4, "images": 40, "batch_size": 8}


@pytest.fixture(autouse=True)
def one_thread():
    with threads.at_most(1):
        yield


def made(monkeypatch, contender: str, students: int = 1):
    """A contender's network and the function that trains a batch."""
    found = []

    def kept(build):
        def call(*arguments, **more):
            found.append(build(*arguments, **more))
            return found[-1]

        return call

    if contender == OURS:
        monkeypatch.setattr("qbench.qkd.Stack", kept(Stack))
    else:
        monkeypatch.setattr(speed_rounding, "peer", kept(speed_rounding.peer))
    step = speed_rounding._step.__wrapped__(contender, **(WORK | {"students": students}))
    return found[0], step


def weights_of(network) -> list[torch.Tensor]:
    if isinstance(network, Stack):
        return [weight[0] for weight in network.weights]
    return [part.layer.weight for part in network if hasattr(part, "layer")]


@pytest.mark.parametrize("contender", [FUSED, APART])
def test_the_peer_learns_what_a_stack_learns(contender, monkeypatch):
    (stack, ours), (peer, theirs) = (made(monkeypatch, name) for name in (OURS, contender))
    for _ in range(3):
        ours()
        theirs()
    for own, other in zip(weights_of(stack), weights_of(peer), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("contender", "students"), [(OURS, 3), (FUSED, 1), (APART, 1)])
def test_every_student_costs_the_same_products(contender, students, monkeypatch):
    found = []
    for name, many in ((OURS, 1), (contender, students)):
        _, step = made(monkeypatch, name, many)
        with FlopCounterMode(display=False) as counter:
            step()
        found.append(counter.get_total_flops() / many)
    assert found[0] == found[1] > 0


def test_a_turn_counts_every_student(monkeypatch):
    clock = iter([0.0, 1.0, 4.0])
    monkeypatch.setattr(speed_distillation.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed_rounding, "_step", lambda **_: lambda: None)
    work = WORK | {"students": 3, "contender": OURS}
    assert speed_rounding._turn(work, 1, 2.0) == {"images_per_second": 2 * 8 * 3 / 4.0}


def test_it_measures():
    table = speed_rounding.perceptron_step(
        members=(2,), threads=(1,), images=16, batch_size=8, rounds=1, seconds=0.0
    )
    assert table[["contender", "students"]].to_numpy().tolist() == [
        [OURS, 2],
        [FUSED, 1],
        [APART, 1],
    ]
    assert (table.images_per_second > 0).all() and (table["round"] == 1).all()


def measured() -> pd.DataFrame:
    rates = {(OURS, 1, 1): 200, (OURS, 9, 1): 300, (FUSED, 1, 1): 100, (FUSED, 1, 2): 150}
    rows = [(*way, number, rate * number) for way, rate in rates.items() for number in (1, 2, 3)]
    columns = ["contender", "students", "threads", "round", "images_per_second"]
    return pd.DataFrame(rows, columns=columns)


def test_ratios_are_to_the_quickest_setting_of_the_same_round():
    found = speed_rounding.beside(measured())
    assert found["times"].tolist() == pytest.approx([200 / 150, 2, 100 / 150, 1])
    assert found["images_per_second"].tolist() == [400, 600, 200, 300]


@pytest.mark.usefixtures("results")
def test_the_page_shows_what_is_published():
    assert pages._rounding() == "Not published yet; `make bench` measures it.\n"
    asked = store.spec(speed_rounding.perceptron_step)
    store.get_or_run(asked, measured)
    store.publish(store.find(asked))
    said = pages._rounding()
    assert [word for word in ("KL_MLP_Student", "2.00", "Measured on") if word not in said] == []
