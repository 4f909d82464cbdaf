"""What is the same to the last bit on other machines, and what within a tolerance; large sweeps."""

import pytest
import sweep_toy
import torch
from sweep_toy import Batch, images, network_of, run, same_networks

from qbench.sweep import Member, grid
from qbench.sweep.fitting import MEMORY, divide, member_bytes
from qbench.sweep.network import Network

home = pytest.fixture(sweep_toy.home, autouse=True)
MEMBERS = [*grid([1, 2, 8], [1, 4], [0]), Member(32, 32)]


def test_a_sweep_has_the_same_bits_on_any_number_of_threads(count_of_threads):
    """Two steps of layers that are large enough to be divided among threads."""
    toy, how = images(150, pixels=1024), {"hidden": 64, "epochs": 1, "batch_size": 75}
    count_of_threads(1)
    alone = run(MEMBERS, toy, **how)
    count_of_threads(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qbench.sweep.fitting.WORTH_THREADS", 0)  # small ones have one thread
        same_networks(run(MEMBERS, toy, **how), alone)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_takes_the_same_steps_but_for_rounding():
    """In float64, where rounding is too small to move a code from one level to another."""
    members = [Member(2, 4), Member(1, 1), Member(8, 8)]
    here = network_of(members)
    there = Network(members, inputs=60, hidden=16, classes=10, dtype=torch.float64, device="cuda")
    there.load(here.state())
    for seed in range(3):
        batch = Batch(here, seed)
        ours = batch.step(here)
        batch.levels, batch.first = batch.levels.cuda(), batch.first.cuda()
        batch.keep, batch.labels = batch.keep.cuda(), batch.labels.cuda()
        torch.testing.assert_close(batch.step(there).cpu(), ours, rtol=1e-9, atol=0)


def test_a_sweep_of_a_thousand_members_is_divided_by_memory():
    members = grid([1, 2, 3, 4], [2, 4, 8, 32], list(range(63)))  # 1,008
    size = member_bytes(1024, 64, 100)
    groups = divide(members, 1024, 64, 100, MEMORY)
    assert sorted(map(str, members)) == sorted(str(one) for group in groups for one in group)
    assert max(map(len, groups)) * size <= MEMORY
    assert 1000 * size / MEMORY <= len(groups) <= 2 + 1008 * size / MEMORY, "no more than need be"


def test_a_sweep_of_a_thousand_members_trains_in_the_memory_of_a_hundred():
    members = grid([1, 2, 3, 4], [2, 4, 8, 32], list(range(63)))
    toy, how = images(40), {"epochs": 1, "batch_size": 20, "hidden": 8}
    size = member_bytes(toy.train.images.shape[1], 8, 20)
    outcome = run(members, toy, memory=100 * size, **how)
    assert max(len(network.members) for network in outcome.networks) <= 100
    assert set(outcome.tables) == set(members)
    same_networks(run(members[:3], toy, **how), outcome)
