"""What a group of members is made of: parameters, Adam's moments, grids, and room to work in.

`network` says what is done with it. Shapes and symbols are explained there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from .kernels import Adam, below
from .members import Member

BINARY = 0.1  # magnitude of a 1-bit weight, and the limit of what stands behind it
CHUNK = 16  # members whose first layer stays in a processor's cache while it is worked on


@dataclass(frozen=True, eq=False)
class Run:
    """Consecutive members that see the same batches and have the same learning rate."""

    members: slice
    stream: int
    learning_rate: float
    one_bit: int  # so many of them, the first, have 1-bit weights in the first layer
    weights: Tensor  # of the first layer
    adam: Adam
    grid: "Grid"


@dataclass(frozen=True, eq=False)
class Grid:
    """Of some members' weights, each (M, 1, 1): code = round(w / step − zero) + zero.

    step = largest magnitude / levels where `learns` is 1, else `fixed`. Real weights stay within
    ±`limit`; `slope` is what a gradient is multiplied by where it passes the quantiser.
    """

    zero: Tensor
    per_level: Tensor  # 1 / levels
    learns: Tensor
    fixed: Tensor
    limit: Tensor
    slope: Tensor

    @cached_property
    def any_binary(self) -> bool:
        return bool((self.learns == 0).any())

    def __getitem__(self, who: slice) -> "Grid":
        return Grid(*(getattr(self, field.name)[who] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Act:
    """Of the activations behind a layer, each (M, 1, 1): code = round(v) + zero, v within limits.

    The value of a code is |σ| / `levels`; σ is trained where `learns` is 1.
    """

    zero: Tensor
    levels: Tensor
    learns: Tensor
    # A gradient passes where v lies between these; rounding up from just below the upper one
    # stays at the highest code.
    low: Tensor
    high: Tensor


@dataclass
class Tape:
    """What the backward pass of one layer needs of the forward pass."""

    inputs: Tensor | None  # (M, I, B) codes; the first layer's are the batch itself
    centred: Tensor  # (M, O, B) R
    step: Tensor  # (M, O, 1) or (M, 1, 1) s
    peak: Tensor  # (M, O) or (M, 1) index of the weight with the largest magnitude
    spread: Tensor  # (M, O, 1) c / standard deviation of cR
    leak: Tensor  # (M, O, 1) share of the variance that is EPS
    gain: Tensor  # (M, O, 1) of R in v
    codes: Tensor | None = None  # (M, O, I) Q; the first layer needs no gradient below it
    act_step: Tensor | float = 1.0  # (M, 1, 1) value of one output code
    passes: Tensor | None = None  # (M, O, B) 1 where a gradient passes rounding and dropout


class Group:
    """Members that are trained together, sorted as `order(members)` sorts them; see `Network`."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        inputs: int,
        classes: int,
        hidden: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.members = list(members)
        self.dtype, self.device = dtype, torch.device(device)
        self.sizes = [(inputs, hidden), (hidden, hidden), (hidden, hidden), (hidden, classes)]
        self.float_weights = members[0].weight_bits == 32
        self.float_acts = members[0].act_bits == 32

        weights, acts = zip(*(m.layer_bits for m in members), strict=True)
        self.grids = [self._grid(self._each(bits)) for bits in zip(*weights, strict=True)]
        self.acts = [self._act(self._each(bits)) for bits in zip(*acts, strict=True)]
        self.kept = self._each(1 - m.dropout for m in members)

        self.streams = list(dict.fromkeys((m.seed, m.dropout) for m in members))
        numbers = [self.streams.index((m.seed, m.dropout)) for m in members]
        self.stream = torch.tensor(numbers, device=self.device)
        self.weights = self._initial_weights()
        wide = [outputs for _, outputs in self.sizes]
        self.vectors, (self.gamma, self.beta, self.sigma) = self._vectors(wide)
        self.running_mean = [self._full(0.0, outputs) for outputs in wide]
        self.running_var = [self._full(1.0, outputs) for outputs in wide]
        self.first = [torch.zeros_like(tensor) for tensor in self._trained()]  # Adam's m
        self.second = [torch.zeros_like(tensor) for tensor in self._trained()]  # Adam's v
        same = [(m.seed, m.dropout, m.learning_rate) for m in members]
        longest = CHUNK if self.device.type == "cpu" else len(members)
        self.runs = [self._run(who, numbers) for who in _alike(same, longest)]
        rest = self._trained()[1:], self.first[1:], self.second[1:]
        self.rest = []  # the same for all other parameters
        for who in _alike([m.learning_rate for m in members], len(members)):
            views = ([tensor[who] for tensor in tensors] for tensors in rest)
            self.rest.append((who, members[who.start].learning_rate, Adam(*views)))
        self._last: tuple[Tensor, Tensor, Tape] | None = None
        self._spaces: dict[str, Tensor] = {}

    def parameters(self) -> list[Tensor]:
        """What is trained, the first layer's weights in front."""
        return [*self.weights, *self.gamma, *self.beta, *self.sigma]

    def state(self) -> dict[str, list[Tensor] | int]:
        """All that training changes; `load` takes it back."""
        assert self._last is None, "finish() the step before asking for the state"
        return self._tensors() | {"steps": self._steps()[0].item()}

    def load(self, state: dict[str, list[Tensor] | int]) -> None:
        """Go on from `state`."""
        for name, tensors in self._tensors().items():
            for tensor, value in zip(tensors, state[name], strict=True):
                tensor.copy_(value)
        for tensor in self._steps():
            tensor.fill_(state["steps"])

    def _space(self, name: str, *shape: int) -> Tensor:
        """Memory to write into, the same at every step: fresh pages cost more than arithmetic."""
        size = math.prod(shape)
        held = self._spaces.get(name)
        if held is None or held.numel() < size:
            held = self._spaces[name] = torch.empty(size, dtype=self.dtype, device=self.device)
        return held[:size].view(shape)

    def _run(self, who: slice, streams: list[int]) -> Run:
        members = self.members[who]
        views = ([tensors[0][who]] for tensors in (self.weights, self.first, self.second))
        return Run(
            members=who,
            stream=streams[who.start],
            learning_rate=members[0].learning_rate,
            one_bit=sum(member.layer_bits[0][0] == 1 for member in members),
            weights=self.weights[0][who],
            adam=Adam(*views),
            grid=self.grids[0][who],
        )

    def _grid(self, bits: Tensor) -> Grid:
        """Of a layer's weights, from their (M, 1, 1) bits."""
        one = (bits == 1).to(self.dtype)
        return Grid(
            zero=0.5 * one,
            per_level=(1 - one) / (2.0 ** (bits - 1) - 1).clamp_min(1),
            learns=1 - one,
            fixed=2 * BINARY * one,
            limit=torch.where(one > 0, BINARY, math.inf),
            # Brevitas passes a gradient through sign(w) · 0.1 times 0.1, and through rounding
            # times 1.
            slope=torch.where(one > 0, BINARY, 1.0),
        )

    def _act(self, bits: Tensor) -> Act:
        """Of the activations behind a layer, from their (M, 1, 1) bits."""
        one = bits == 1
        zero = 0.5 * one.to(self.dtype)
        if self.float_acts:
            ones = torch.ones_like(bits)
            return Act(zero, ones, torch.zeros_like(bits), -ones, ones)
        levels = torch.where(one, 0.5, 2.0 ** (bits - 1))
        low = torch.where(one, -1.0, -levels - 0.5)
        high = torch.where(one, 0.0, below(levels - 0.5))
        return Act(zero, levels, (bits > 1).to(self.dtype), low, high)

    def _steps(self) -> list[Tensor]:
        optimisers = [run.adam for run in self.runs] + [optimiser for _, _, optimiser in self.rest]
        return [tensor for optimiser in optimisers for tensor in optimiser.steps]

    def _each(self, values: Iterator[float]) -> Tensor:
        """(M, 1, 1)"""
        return torch.tensor(list(values), dtype=self.dtype, device=self.device)[:, None, None]

    def _vectors(self, wide: list[int]) -> tuple[Tensor, tuple[list[Tensor], ...]]:
        """All gains and offsets of batch norm and all σ: one tensor, and views of it.

        A member's row is filled up to a multiple of 16, so that a vectorised update treats every
        element the same, whatever the number of members: results do not depend on the group.
        """
        lengths = [*wide, *wide, *[1] * (len(wide) - 1)]
        row = torch.zeros(-(-sum(lengths) // 16) * 16)
        row[: sum(wide)] = 1.0
        row[2 * sum(wide) : sum(lengths)] = 1.0
        packed = row.to(self.device, self.dtype).repeat(len(self.members), 1)
        views = [part.unsqueeze(-1) for part in packed[:, : sum(lengths)].split(lengths, dim=1)]
        return packed, (views[:4], views[4:8], views[8:])

    def _pack(self, gradients: list[Tensor]) -> Tensor:
        flat = torch.cat(gradients, dim=1).squeeze(-1)
        return torch.nn.functional.pad(flat, (0, self.vectors.shape[1] - flat.shape[1]))

    def _trained(self) -> list[Tensor]:
        """What Adam updates."""
        return [*self.weights, self.vectors]

    def _tensors(self) -> dict[str, list[Tensor]]:
        names = ("running_mean", "running_var", "first", "second")
        return {"trained": self._trained()} | {name: getattr(self, name) for name in names}

    def _full(self, value: float, outputs: int) -> Tensor:
        shape = (len(self.members), outputs, 1)
        return torch.full(shape, value, dtype=self.dtype, device=self.device)

    def _initial_weights(self) -> list[Tensor]:
        """Uniform in ±1/√inputs, as `nn.Linear`; a member's depend on its seed alone."""
        made: dict[int, list[Tensor]] = {}
        for seed in {member.seed for member in self.members}:
            generator = torch.Generator().manual_seed(seed)
            made[seed] = [
                torch.empty(outputs, inputs, dtype=self.dtype).uniform_(
                    -(inputs**-0.5), inputs**-0.5, generator=generator
                )
                for inputs, outputs in self.sizes
            ]
        layers = [
            torch.stack([made[member.seed][layer] for member in self.members]).to(self.device)
            for layer in range(4)
        ]
        for weights, grid in zip(layers, self.grids, strict=True):
            weights.clamp_(-grid.limit, grid.limit)
        return layers


def order(members: Sequence[Member]) -> list[Member]:
    """The members as a `Network` needs them: those with the same batches side by side."""
    return sorted(members, key=lambda member: member.sort_key)


def _alike(keys: Sequence, longest: int) -> Iterator[slice]:
    """Runs of equal keys, none longer than `longest`."""
    start = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[start] or end - start == longest:
            yield slice(start, end)
            start = end
