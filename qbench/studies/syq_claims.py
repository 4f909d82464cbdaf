"""Chapter 11: claims of Faraone 2021, chapter 5, as predicates on our accuracies and costs.

Its claims are about ImageNet; a claim that holds of our small networks and images is a trend, and
one that does not may only say that the two differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qbench import reference
from qbench.models.small import TITLES

from .syq import FARAONE, KEYS, accuracies
from .verdicts import Judge

MARGINAL = 1.0  # points; Table 5.2 has at most 0.7 between pixel and row

Key = tuple[str, str, str, int, int]  # of `KEYS`


@dataclass
class SyqJudge(Judge):
    """As `Judge`, for the claims of this thesis, by `KEYS`; the noise is pooled over all cells."""

    source: str = FARAONE

    def __post_init__(self) -> None:
        self.ours = accuracies(self.table)
        whole = self.ours.dropna()
        variance = whole.var(axis=1, ddof=1).mean() if whole.shape[1] > 1 else np.nan
        self.spread = float(np.sqrt(variance))

    def gains(self, first: Callable[[Key], bool], second: dict[str, Any]) -> dict[Key, pd.Series]:
        """First minus the same cell with `second` in its key, for every cell that `first` takes."""
        found = {}
        for key in self.ours.index:
            other = tuple((dict(zip(KEYS, key, strict=True)) | second).values())
            if first(key) and other != key and self.has(other):
                found[key] = self.gain(key, other)
        return found


def claims(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The claims that the trainings can tell of, a row each; see `verdicts.Judge`."""
    judge = SyqJudge(table, f"ours: {dataset}, small networks, at the scale of this page")
    _granularity_claims(judge)
    _method_claims(judge)
    _cost_claims(judge)
    return judge.judged()


def _granularity_claims(judge: SyqJudge) -> None:
    fine = judge.gains(
        lambda key: key[1] == "syq" and key[2] in ("pixel", "row"), {"granularity": "layer"}
    )
    if fine:
        verdict = judge.every(fine.values())
        judge.say("fine_beats_layer_wise", verdict, _said(fine, "over layer-wise"))
        pixels = {key: gain for key, gain in fine.items() if key[2] == "pixel"}
        if pixels:
            words = _said(pixels, "pixel- over layer-wise")
            judge.say("conv_needs_fine_scaling", judge.every(pixels.values()), words)
    apart = judge.gains(lambda key: key[1:3] == ("syq", "pixel"), {"granularity": "row"})
    if apart:
        small = [MARGINAL - sign * gain for gain in apart.values() for sign in (1, -1)]
        words = _said(apart, "pixel- over row-wise")
        judge.say("pixel_row_marginal", judge.every(small), words)
    by_bits = {}
    for key, gain in apart.items():
        by_bits.setdefault(key[0], {})[key[3:]] = gain
    closer = []
    for of in by_bits.values():
        low, high = min(of), max(of)
        if low[0] < high[0] and low[1] < high[1]:
            closer.append(_size(of[low]) - _size(of[high]))
    if closer:
        spread = 2**0.5 * judge.spread
        words = f"difference shrinks by {_range(closer)} points"
        judge.say("pixel_row_closer_at_high_precision", judge.every(closer, spread=spread), words)


def _method_claims(judge: SyqJudge) -> None:
    def over(
        others: tuple[str, ...], bits: int, acts: tuple[int, ...], network: str | None = None
    ) -> dict[Key, pd.Series]:
        """Pixel-wise SYQ over each other method that is there, by the other's key."""
        found = {}
        for key in judge.ours.index:
            mine = (key[0], "syq", "pixel", bits, key[4])
            wanted = key[1] in others and key[3] == bits and key[4] in acts
            if wanted and network in (None, key[0]) and judge.has(mine):
                found[key] = judge.gain(mine, key)
        return found

    for name, gains in (
        ("ternary_8bit_best_all", over(("twn", "ttq"), 2, (8,))),
        ("binary_resnet18_8bit_best", over(("bwn", "dorefa"), 1, (8,), "resnet20")),
        ("binary_alexnet_2_4bit_best", over(("bwn", "dorefa"), 1, (2, 4), "alexnet_small")),
    ):
        if gains:
            words = _said(gains, "SYQ pixel-wise over", by="method")
            judge.say(name, judge.every(gains.values()), words)
    lost = {
        key: judge.gain((key[0], "float32", "", 32, 32), key)
        for key in judge.ours.index
        if key[1:3] == ("syq", "pixel")
        and key[4] == 8
        and judge.has((key[0], "float32", "", 32, 32))
    }
    if lost:
        most = _printed_losses()
        near = [most[key[3]] - one for key, one in lost.items()]
        words = _said(lost, "lost against float32") + (
            f"; Table 5.1 loses up to {most[1]:.1f} (binary) and {most[2]:.1f} (ternary)"
        )
        judge.say("syq_similar_to_float", judge.every(near), words)
    gaps = judge.gains(lambda key: key[1:3] == ("syq", "pixel"), {"granularity": "layer"})
    closed = [gain for key, gain in gaps.items() if judge.has((key[0], "float32", "", 32, 32))]
    if closed:
        words = f"pixel-wise scaling wins back {_range(closed)} points of what layer-wise loses"
        judge.say("syq_closes_gap", judge.every(closed), words)


def _cost_claims(judge: SyqJudge) -> None:
    costs = judge.table.drop_duplicates(["network", "method", "granularity"])
    costs = costs.set_index(["method", "granularity"])[["scalars", "operations"]]
    syq, ttq = costs[costs.index.get_level_values(0) == "syq"], ("ttq", "asymmetric")
    if len(syq) and ttq in costs.index:
        networks = judge.table.groupby("network")["operations"]
        holds = bool((networks.max() > networks.min()).all())
        words = "; ".join(
            f"{TITLES[network]} {of.max():,} against {of.min():,}" for network, of in networks
        )
        judge.fact("asymmetric_extra_operations", holds, f"operations an image: {words}")


def _printed_losses() -> dict[int, float]:
    """The most that Table 5.1 loses against its baseline (top-1, points), by bits of weights."""
    rows = reference.load(FARAONE, "table_5_1")
    rows = rows[rows["metric"] == "top1"]
    of = rows.pivot_table(index="network", columns=["method", "weight_bits"], values="value")
    return {bits: float((of["baseline", 32] - of["SYQ", bits]).max()) for bits in (1, 2)}


def _size(gain: pd.Series) -> pd.Series:
    """A difference seed by seed, turned so that its mean is not negative."""
    return gain if gain.mean() >= 0 else -gain


def _range(gains: list[pd.Series]) -> str:
    means = [gain.mean() for gain in gains]
    if len(means) == 1:
        return f"{means[0]:+.2f}"
    return f"{min(means):+.2f} to {max(means):+.2f}"


def _said(gains: dict[Key, pd.Series], what: str, by: str = "granularity") -> str:
    words = ", ".join(
        f"{TITLES[key[0]]} {key[KEYS.index(by)]} W{key[3]}A{key[4]} {gain.mean():+.2f}"
        for key, gain in gains.items()
    )
    return f"{what}: {words} points"
