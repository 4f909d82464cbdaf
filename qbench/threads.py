"""How many threads PyTorch computes with, for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def same_after() -> Iterator[None]:
    """Whatever the block sets, compute with as many threads as before when it ends."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Compute with no more than `count` threads, then with as many as before."""
    with same_after():
        torch.set_num_threads(min(count, torch.get_num_threads()))
        yield
