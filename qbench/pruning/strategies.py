"""How many filters each layer loses: evenly, by sensitivity, or by what the hardware runs out of.

A plan is a list of counts, filters by layer after each pruning; every strategy has taken about the
same number of filters in all at each place of its plan, so that plans compare. Rates are shares of
the filters that a layer has at first: 4 times 10 % of 96 are 40 %, as section 4.7.1.1 counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbench.errors import nearest
from qbench.hardware import Device, device, fit
from qbench.numbers import number, whole

from .errors import PruningError
from .resources import Design, design, fits, quickest
from .shapes import Counts, Network

RATE = 0.1  # of the filters, in one pruning: algorithm 3
MOST = 0.9  # that a layer can lose
NEAR = 1e-9  # 3 times 0.1 is more than 0.3
#: Strategies and what they are called on the page.
STRATEGIES = {
    "even": "every layer alike",
    "sensitivity": "by sensitivity",
    "resource-aware": "by resources",
}


def plan(
    strategy: str,
    network: Network,
    *,
    iterations: int,
    rate: float = RATE,
    most: float = MOST,
    layers: Sequence[str] | None = None,
    losses: Mapping[str, float] | None = None,
    on: str | Device | None = None,
    interval: int | None = None,
    share: float = 1.0,
    mmv: bool = True,
) -> list[dict[str, int]]:
    """Filters of all convolutions after each of so many prunings, each of `rate` of all filters.

    - "even": every layer loses the same share;
    - "sensitivity": filters go, a step of `rate` of a layer at a time, where `losses`, taken to
      grow with the steps, would then be least: what pruning that layer alone by one step costs;
    - "resource-aware": they go, a step at a time, from the layer that takes most of what runs out
      first on the device `on` (section 4.5.1), in the design of `interval` cycles a frame (None:
      the quickest one that fits `share` of the device, found anew for every step).

    layers: those that may be pruned (None: all convolutions but a last one); their filters are "all
    filters". A layer loses at most the share `most`, and keeps a multiple of its groups; where no
    layer can lose more, the rest of a plan stays as it is. Raises `PruningError` for another
    strategy, for shares that are not between 0 and 1, and where what a strategy needs is missing.
    """
    check(strategy)
    check_rate(rate)
    if not whole(iterations) or iterations < 1:
        raise PruningError(f"iterations must be a whole number of at least 1, not {iterations!r}.")
    check_rate(most, "most")
    if iterations * rate > MOST + NEAR:
        raise PruningError(
            f"{iterations} prunings of {rate:.0%} would take more than {MOST:.0%} of the filters."
        )
    names = _layers(network, layers)
    full = network.filters
    if strategy == "even":
        return [
            full | {name: _left(network, name, min(step * rate, most)) for name in names}
            for step in range(1, iterations + 1)
        ]
    if strategy == "sensitivity":
        cost = _losses(names, losses)

        def next_layer(steps: Mapping[str, int], can: Sequence[str]) -> str:
            return min(can, key=lambda name: cost[name] * (steps[name] + 1))

    else:
        if on is None:
            raise PruningError("resource-aware pruning needs a device, whose resources run out.")
        target = device(on)

        def next_layer(steps: Mapping[str, int], can: Sequence[str]) -> str:
            counts = _counts(network, steps, rate)
            if interval is None:
                made = quickest(network, counts, on=target, share=share, mmv=mmv)
            else:
                made = design(network, counts, interval=interval, mmv=mmv)
            return heaviest(made, target, can)

    def can(steps: Mapping[str, int]) -> list[str]:
        return [name for name, taken in steps.items() if (taken + 1) * rate <= most + NEAR]

    steps, first, found = dict.fromkeys(names, 0), sum(full[name] for name in names), []
    for iteration in range(1, iterations + 1):
        aim = iteration * rate * first - 0.5  # filters are whole
        while sum(steps[n] * rate * full[n] for n in names) < aim and (free := can(steps)):
            steps[next_layer(steps, free)] += 1
        found.append(_counts(network, steps, rate))
    return found


def heaviest(made: Design, on: str | Device, names: Sequence[str]) -> str:
    """Which of the layers takes most of the resource that a design runs out of first."""
    scarce = str(fit(made.cost, on).first)
    return max(names, key=lambda name: getattr(made.costs[name], scarce))


def aligned(filters: int, pe: int, *, add: bool = True) -> int:
    """The number of filters nearest to `filters` that is a multiple of `pe` (section 4.5.2).

    Of two as near the greater. `add`: whether filters may be added; else the next multiple below.
    Raises `PruningError` where there are more processing elements than filters.
    """
    for name, value in (("filters", filters), ("pe", pe)):
        if not whole(value) or value < 1:
            raise PruningError(f"{name} must be a whole number of at least 1, not {value!r}.")
    if pe > filters:
        raise PruningError(
            f"pe must be at most the {filters} filters left, each of which a processing element "
            f"computes, not {pe}."
        )
    below = filters - filters % pe
    return below + pe if add and 2 * (filters % pe) >= pe else below


@dataclass(frozen=True)
class Customised:
    """What algorithm 3 ends with: filters by layer, how they came about, and a design that fits."""

    counts: dict[str, int]
    pruned: dict[str, int]  # before model fine-tuning
    design: Design


def customise(
    network: Network,
    pruned: Counts,
    on: str | Device,
    *,
    rate: float = RATE,
    share: float = 1.0,
    mmv: bool = True,
    layers: Sequence[str] | None = None,
) -> Customised:
    """Steps 3 and 4 of algorithm 3 for a network pruned to `pruned`.

    Reuse rises until the design fits `share` of the device. Then, at that reuse, each layer gets
    the greatest number of filters within half a step (`rate` of its first number) above its own
    with which the design still fits; the inexpensive layers first. So filters are added where they
    are cheap, and none is taken: PE is chosen among the divisors of each layer's filters, N mod PE
    = 0, so that no number suits the folding badly. layers: those that fine-tuning may touch (None:
    all convolutions but a last one). Raises `PruningError` where no design fits.
    """
    target = device(on)
    check_rate(rate)
    names = _layers(network, layers)
    counts = {name: network.counted(pruned)[name] for name in network.filters}
    made = quickest(network, counts, on=target, share=share, mmv=mmv)
    scarce = str(fit(made.cost, target).first)
    for name in sorted(names, key=lambda name: getattr(made.costs[name], scarce)):
        half, step = int(rate * network.filters[name] / 2), network.multiple(name)
        for count in range(counts[name] + half, counts[name], -1):
            if count % step:
                continue
            tried = design(network, counts | {name: count}, interval=made.interval, mmv=mmv)
            if fits(tried, target, share):
                made, counts = tried, counts | {name: count}
                break
    return Customised(counts, dict(pruned), made)


def check(strategy: object) -> str:
    """`strategy`, if it is one of `STRATEGIES`; else a `PruningError`."""
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        raise PruningError(
            f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}"
            f"{nearest(STRATEGIES, strategy)}."
        )
    return strategy


def check_rate(rate: object, name: str = "rate") -> None:
    """Raise `PruningError` unless `rate` is a number between 0 and 1."""
    if not number(rate) or not 0 < rate < 1:
        raise PruningError(f"{name} must be a number above 0 and below 1, not {rate!r}.")


def _layers(network: Network, layers: Sequence[str] | None) -> tuple[str, ...]:
    names = network.prunable if layers is None else tuple(layers)
    for name in names:
        if name not in network.prunable:
            raise PruningError(
                f"layers to prune must be among {', '.join(network.prunable)}, not {name!r}"
                f"{nearest(network.prunable, name)}."
            )
    if not names:
        raise PruningError(f"{network.name} has no layer that may be pruned.")
    return names


def _losses(names: Sequence[str], losses: Mapping[str, float] | None) -> dict[str, float]:
    if losses is None or any(name not in losses or not number(losses[name]) for name in names):
        raise PruningError(
            "pruning by sensitivity needs losses: for each of "
            f"{', '.join(names)} what pruning it alone costs."
        )
    return {name: max(float(losses[name]), 0.0) for name in names}


def _left(network: Network, name: str, rate: float) -> int:
    """Filters left of a layer that has lost a share, a multiple of its groups and never none."""
    step = network.multiple(name)
    return max(1, round(network.filters[name] * (1 - rate) / step)) * step


def _counts(network: Network, steps: Mapping[str, int], rate: float) -> dict[str, int]:
    left = {name: _left(network, name, taken * rate) for name, taken in steps.items()}
    return network.filters | left
