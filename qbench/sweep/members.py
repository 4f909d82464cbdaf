"""What one member of a sweep is, and what a sweep refuses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from qbench.errors import UserError

BITS = (*range(1, 9), 32)
LAYERS = {"weight_bits": 4, "act_bits": 3}  # how many have weights, and activations behind them
Bits = int | tuple[int, ...]


class SweepError(UserError, ValueError):
    """What was asked cannot be trained: one sentence with the value and what is allowed."""


@dataclass(frozen=True)
class Member:
    """One network of a sweep; everything in which members may differ.

    `weight_bits` and `act_bits` are 1 to 8, or 32 for float32: a number for the whole network, or
    one for each layer from the first, 1 to 8, of which four have weights and three an activation
    behind them. Equal numbers are kept as one, so that a network has one name. The seed sets the
    initial weights, the order of the images and the dropout; `learning_rate` is Adam's first.
    """

    weight_bits: Bits
    act_bits: Bits
    seed: int = 0
    learning_rate: float = 0.01
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for name in LAYERS:
            object.__setattr__(self, name, _bits(name, getattr(self, name)))
        if not _whole(self.seed) or not 0 <= self.seed < 2**31:
            raise SweepError(f"seed must be a whole number from 0 to 2**31 - 1, not {self.seed!r}.")
        if not _number(self.learning_rate) or self.learning_rate <= 0:
            raise SweepError(
                f"learning_rate must be a positive finite number, not {self.learning_rate!r}."
            )
        if not _number(self.dropout) or not 0 <= self.dropout < 1:
            raise SweepError(f"dropout must be at least 0 and below 1, not {self.dropout!r}.")
        for name, kind in (("seed", int), ("learning_rate", float), ("dropout", float)):
            object.__setattr__(self, name, kind(getattr(self, name)))  # NumPy's have no JSON

    @property
    def layer_bits(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Bits of the weights of all layers, and of the activations behind all but the last."""
        pairs = ((getattr(self, name), count) for name, count in LAYERS.items())
        weights, acts = ((b,) * count if isinstance(b, int) else b for b, count in pairs)
        return weights, acts

    @property
    def sort_key(self) -> tuple:
        """What `order` sorts by."""
        return self.seed, self.dropout, self.learning_rate, *self.layer_bits

    def __str__(self) -> str:
        return f"{named(self.weight_bits, self.act_bits)} seed {self.seed}"


def named(weight_bits: Bits, act_bits: Bits) -> str:
    """`W2A4`, or with bits by layer `W4-2-2-8 A3-2-2`."""
    if isinstance(weight_bits, int) and isinstance(act_bits, int):
        return f"W{weight_bits}A{act_bits}"
    weights, acts = (
        bits if isinstance(bits, int) else "-".join(map(str, bits))
        for bits in (weight_bits, act_bits)
    )
    return f"W{weights} A{acts}"


def grid(
    weight_bits: Sequence[int], act_bits: Sequence[int], seeds: Sequence[int] = (0,), **same: float
) -> list[Member]:
    """Every combination of the bit widths and seeds, the last fastest.

    `same` are fields that all members share. Raises `SweepError` as `Member` does, and for an
    empty list or a repeated value.
    """
    for name, values in (("weight_bits", weight_bits), ("act_bits", act_bits), ("seeds", seeds)):
        if not len(values):
            raise SweepError(f"{name} must name at least one value, not none.")
        twice = next((value for value in values if list(values).count(value) > 1), None)
        if twice is not None:
            raise SweepError(f"{name} must not repeat a value, and has {twice!r} twice.")
    return [Member(w, a, s, **same) for w in weight_bits for a in act_bits for s in seeds]


def check(
    members: Sequence[Member],
    *,
    epochs: int,
    hidden: int,
    batch_size: int,
    evaluate_at: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Refuse what cannot be trained, before any work; returns the epochs to evaluate at, sorted.

    `evaluate_at` is None for every epoch, or a sequence of epochs. Raises `SweepError`.
    """
    if not members:
        raise SweepError("a sweep needs at least one member, and the list is empty.")
    for member in members:
        if not isinstance(member, Member):
            raise SweepError(f"every member must be a sweep.Member, not {member!r}.")
    if len(set(members)) < len(members):
        twice = next(member for member in members if list(members).count(member) > 1)
        raise SweepError(f"members must not repeat, and {twice} is there twice.")
    limits = (("epochs", epochs, 1), ("hidden", hidden, 1), ("batch_size", batch_size, 2))
    for name, value, least in limits:
        if not _whole(value) or value < least:
            raise SweepError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    if evaluate_at is None:
        return tuple(range(1, epochs + 1))
    asked = list(evaluate_at)
    if not asked:
        raise SweepError("evaluate_at must name at least one epoch, or be None for every epoch.")
    for epoch in asked:
        if not _whole(epoch) or not 1 <= epoch <= epochs:
            raise SweepError(
                f"evaluate_at must hold whole numbers from 1 to the {epochs} epochs trained, "
                f"not {epoch!r}."
            )
    return tuple(sorted({int(epoch) for epoch in asked}))


def _bits(name: str, given: object) -> Bits:
    """`given` in Python's own numbers: one, or several that are not all equal."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        count = LAYERS[name]
        if len(given) != count or not all(_whole(one) and 1 <= one <= 8 for one in given):
            raise SweepError(
                f"{name} by layer must be {count} whole numbers from 1 to 8, not {list(given)!r}."
            )
        each = tuple(int(one) for one in given)
        return each if len(set(each)) > 1 else each[0]
    if not _whole(given) or given not in BITS:
        raise SweepError(
            f"{name} must be a whole number from 1 to 8, or 32 for float32, not {given!r}."
        )
    return int(given)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
