"""The best foldings of a network: the fastest that fits a device, the cheapest for a frame rate.

Exact. A layer's choices are all pairs of a divisor of mh and a divisor of mw (and where weights are
kept, if left open). For a given number of cycles between frames only those count that are fast
enough, and of those only the ones that no other beats in every resource. Choosing one a layer, so
that the sums stay within several limits, is a small knapsack problem; `knapsack` solves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .devices import Device, device, fit
from .errors import HardwareError
from .folding import CLOCK, Fold, Folding, check_layers, divisors, positive
from .knapsack import Knapsack
from .layers import Layer
from .mvtu import MULTIPLIERS, RESOURCES, STORAGE, THRESHOLD_STORAGE, one_of, single

OBJECTIVES = ("lut", "bram18", "dsp", "share")
EITHER = "either"
_LABELS = {"lut": "LUTs", "ff": "flip-flops", "bram18": "BRAM18", "dsp": "DSPs"}


def fastest(
    layers: Sequence[Layer],
    on: str | Device,
    *,
    share: float = 1.0,
    weight_storage: str = "bram",
    threshold_storage: str = "none",
    multipliers: str = "lut",
    most_simd: int | None = None,
) -> Folding:
    """The folding with the fewest cycles between frames that fits the device, at any clock.

    Of those with as few cycles it is the one whose most used resource is used least. `share` is the
    part of each resource that may be used: routing needs room. `weight_storage` is "bram", "lut" or
    "either" (whatever suits each layer); the other choices are those of `mvtu.estimate`. The
    formulas find one wide unit cheaper than several narrow ones; `most_simd` limits the width, as
    an adder tree of a thousand inputs may not reach the clock. Flip-flops count where they are
    known.

    Exact: more cycles allow all foldings that fewer do, so bisection over the numbers of cycles
    that layers can have finds the least that fits. Raises `HardwareError` where even the slowest
    folding does not fit, naming the resource that runs out first.
    """
    problem = _Problem(layers, weight_storage, threshold_storage, multipliers, most_simd)
    target, limits = _limits(on, share, problem.names)
    # Where a layer's quickest choice takes more than `least`, no network is quicker than that.
    least = max(int(choices.cycles.min()) for choices in problem.choices)
    every = np.unique(np.concatenate([choices.cycles for choices in problem.choices]))
    every = every[every >= least]
    low, high = 0, len(every) - 1
    if problem.knapsack(int(every[high])).within(limits) is None:
        raise _misfit(problem, int(every[high]), target, share, "in no folding")
    while low < high:
        middle = (low + high) // 2
        if problem.knapsack(int(every[middle])).within(limits) is None:
            low = middle + 1
        else:
            high = middle
    return problem.least_share(int(every[low]), target)


def cheapest(
    layers: Sequence[Layer],
    frame_rate: float,
    on: str | Device | None = None,
    *,
    objective: str = "lut",
    share: float = 1.0,
    clock: float = CLOCK,
    overhead_cycles: int = 0,
    weight_storage: str = "bram",
    threshold_storage: str = "none",
    multipliers: str = "lut",
    most_simd: int | None = None,
) -> Folding:
    """The cheapest folding that reaches `frame_rate` frames a second at `clock` Hz.

    `objective` is what is made as small as can be: "lut", "bram18" or "dsp" (among equals the
    fewest LUTs), or "share", the largest share of any resource of the device. With a device the
    folding also fits it. `overhead_cycles` as in `performance`, other options as in `fastest`;
    exact as that. Raises `HardwareError` for a frame rate that is not positive or that no folding
    reaches, and where none that reaches it fits, naming the resource that runs out first.
    """
    one_of("objective", objective, OBJECTIVES)
    positive("frame_rate", frame_rate)
    positive("clock", clock)
    overhead = single("overhead_cycles", overhead_cycles, least=0)
    if objective == "share" and on is None:
        raise HardwareError('objective "share" needs a device, of whose resources it is a share.')
    problem = _Problem(layers, weight_storage, threshold_storage, multipliers, most_simd)
    target, limits = _limits(on, share, problem.names)

    least = max(int(choices.cycles.min()) for choices in problem.choices)
    interval = int(clock / frame_rate) + 1  # the most whose rate, as `performance` says, suffices
    while interval and clock / interval < frame_rate:
        interval -= 1
    cycles = interval - overhead
    if cycles < least:
        raise HardwareError(
            f"frame_rate must be at most {clock / (least + overhead):,.0f}, what this network "
            f"reaches at {clock / 1e6:g} MHz when unfolded, not {frame_rate:,.0f}."
        )
    if target and problem.knapsack(cycles).within(limits) is None:
        how = f"in no folding with {frame_rate:,.0f} frames/s"
        raise _misfit(problem, cycles, target, share, how)
    if objective == "share":
        return problem.least_share(cycles, target)
    return problem.least(cycles, limits, objective)


@dataclass(frozen=True)
class _Choices:
    """All foldings of one layer: arrays (n,), `use` (n, resources) integers."""

    pe: np.ndarray
    simd: np.ndarray
    storage: np.ndarray
    cycles: np.ndarray
    use: np.ndarray


class _Problem:
    """A network with the choices of all its layers."""

    def __init__(
        self, layers: Any, storage: str, thresholds: str, multipliers: str, most_simd: int | None
    ) -> None:
        one_of("weight_storage", storage, (*STORAGE, EITHER))
        one_of("threshold_storage", thresholds, THRESHOLD_STORAGE)
        one_of("multipliers", multipliers, MULTIPLIERS)
        self.layers = check_layers(layers)
        self.options = {"threshold_storage": thresholds, "multipliers": multipliers}
        self.most_simd = None if most_simd is None else single("most_simd", most_simd)
        self.storages = STORAGE if storage == EITHER else (storage,)

    @cached_property
    def choices(self) -> list[_Choices]:
        made: dict[tuple, _Choices] = {}  # a network has equal layers
        for layer in self.layers:
            key = tuple(v for name, v in vars(layer).items() if name != "name")
            if key not in made:
                made[key] = self._choices_of(layer)
        return [
            made[tuple(v for name, v in vars(layer).items() if name != "name")]
            for layer in self.layers
        ]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The resources that are known: flip-flops only with a model, which has every layer's."""
        known = all(np.isfinite(layer.cost(1, 1, **self.options).ff) for layer in self.layers)
        return tuple(name for name in RESOURCES if name != "ff" or known)

    def _choices_of(self, layer: Layer) -> _Choices:
        wide = [d for d in divisors(layer.mw) if self.most_simd is None or d <= self.most_simd]
        pe, simd = (a.ravel() for a in np.meshgrid(divisors(layer.mh), wide))
        costs = [layer.cost(pe, simd, weight_storage=s, **self.options) for s in self.storages]
        use = [np.stack([getattr(cost, name) for name in self.names], 1) for cost in costs]
        times = len(costs)
        return _Choices(
            np.tile(pe, times),
            np.tile(simd, times),
            np.repeat(self.storages, len(pe)),
            np.concatenate([cost.cycles for cost in costs]),
            np.concatenate(use).astype(np.int64),
        )

    def knapsack(self, cycles: int) -> Knapsack:
        """What the layers can use, a row a choice that takes at most `cycles`."""
        return Knapsack([c.use[c.cycles <= cycles] for c in self.choices])

    def least_share(self, cycles: int, target: Device) -> Folding:
        """The folding within `cycles` whose largest share of the device is least.

        If any folding keeps to a part of the device, this one does.
        """
        there = np.array([getattr(target, name) for name in self.names])
        return self._folding(cycles, self.knapsack(cycles).least_share(there))

    def least(self, cycles: int, limits: np.ndarray, resource: str) -> Folding:
        """The folding within `cycles` and `limits` with least of a resource; there is one."""
        return self._folding(
            cycles, self.knapsack(cycles).least(self.names.index(resource), limits)
        )

    def _folding(self, cycles: int, picks: list[int]) -> Folding:
        folds = []
        for choices, pick in zip(self.choices, picks, strict=True):
            at = np.flatnonzero(choices.cycles <= cycles)[pick]
            folds.append(Fold(int(choices.pe[at]), int(choices.simd[at]), str(choices.storage[at])))
        return Folding(self.layers, tuple(folds), **self.options)


def _limits(
    on: str | Device | None, share: float, names: Sequence[str]
) -> tuple[Device | None, np.ndarray]:
    """The device and how much of each resource may be used, in whole ones."""
    positive("share", share)
    if share > 1:
        raise HardwareError(f"share must be at most 1, all of the device, not {share!r}.")
    if on is None:
        return None, np.full(len(names), np.iinfo(np.int64).max // 4)
    target = device(on)
    return target, np.array([_part(share, getattr(target, name)) for name in names])


def _part(share: float, total: int) -> int:
    return int(share * total + 1e-6)  # 0.29 of 100 is 29


def _misfit(
    problem: _Problem, cycles: int, target: Device, share: float, how: str
) -> HardwareError:
    """Names the resource that runs out first, in the folding that comes nearest to fitting."""
    nearest = problem.least_share(cycles, target)
    first = fit(nearest.cost, target).first
    have = f"there are {getattr(target, first):,}"
    if share < 1:
        have = f"{_part(share, getattr(target, first)):,} may be used"
    return HardwareError(
        f"{how} the network fits the {target}: it runs out of {_LABELS[first]} first, of which "
        f"{have} and the folding nearest to fitting needs {getattr(nearest.cost, first):,}."
    )
