"""Chapter 11: claims of Faraone 2021, chapter 5, as predicates on our accuracies and costs.

Its claims are about ImageNet; a claim that holds of our small networks and images is a trend, and
one that does not may only say that the two differ.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from qbench import reference
from qbench.models.small import TITLES

from . import syq_hardware as hardware
from .qkd_tables import clear
from .syq import FARAONE, KEYS, METHODS, accuracies
from .verdicts import Judge
from .words import counted
from .words import dataset as written

FEWEST_EPOCHS = 6  # that a curve needs for its volatility
APART = 5.0  # points: far more than seeds usually do here
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


def claims(table: pd.DataFrame, dataset: str, curves: pd.DataFrame | None = None) -> pd.DataFrame:
    """The claims that the trainings can tell of, a row each; see `verdicts.Judge`.

    curves: of `syq.curves`, for what the thesis says of Figure 5.2.
    """
    judge = SyqJudge(table, f"ours: {written(dataset)}, small networks, at the scale of this page")
    _granularity_claims(judge)
    _method_claims(judge)
    if curves is not None:
        _curve_claims(judge, curves)
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
        memory = judge.every([MARGINAL - gain for gain in apart.values()])
        judge.say("row_smaller_memory", memory, f"K instead of K² scales a layer; {words}")
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


def _curve_claims(judge: SyqJudge, curves: pd.DataFrame) -> None:
    """That 2-bit activations make the training curve more volatile than the most bits do.

    Volatility: the mean size of the second difference of the training loss over the epochs.
    """
    found = {}
    for key, rows in curves.groupby(["network", "weight_codes", "granularity"]):
        of = {
            bits: part.pivot(index="epoch", columns="seed", values="train_loss")
            for bits, part in rows.groupby("act_bits")
        }
        low, high = min(of), max(of)
        if low == 2 < high and key[1:] == ("binary", "pixel") and len(of[low]) >= FEWEST_EPOCHS:
            rough = {bits: of[bits].diff().diff().abs().mean() for bits in (low, high)}
            found[key] = rough[low] - rough[high], high
    if found:
        gains = [gain for gain, _ in found.values()]
        words = ", ".join(
            f"{TITLES[key[0]]} {gain.mean():+z.4f} nats over {high} bits"
            for key, (gain, high) in found.items()
        )
        words = f"mean second difference of the training loss at 2 bits: {words}"
        judge.say("activation_bits_unstable", judge.every(gains, spread=0.0), words)


def _cost_claims(judge: SyqJudge) -> None:
    operations = judge.table.groupby(["network", "method"])["operations"].first().unstack()
    if not {"syq", "ttq"} <= set(operations):
        return
    both = operations[["syq", "ttq"]].dropna()  # networks trained by both
    if both.empty:
        return
    words = "; ".join(
        f"{TITLES[network]} {of.ttq:,.0f} against {of.syq:,.0f}" for network, of in both.iterrows()
    )
    holds = bool((both["ttq"] > both["syq"]).all())
    judge.fact("asymmetric_extra_operations", holds, f"operations an image: {words}")


def lessons(table: pd.DataFrame, found: pd.DataFrame) -> str:
    """What the trainings and the units show, as a Markdown list.

    table: of `syq.table`; found: of `syq_hardware.synthesised`.
    """
    judge = SyqJudge(table, "")
    lines = []
    for name, other, words in (
        ("Where the scales are", "layer", "Scales by pixel against one a layer"),
        ("Nine or three", "row", "Scales by pixel against scales by row"),
    ):
        gains = judge.gains(lambda key: key[1:3] == ("syq", "pixel"), {"granularity": other})
        if gains:
            said = _by_act_bits(gains)
            lines.append(f"* **{name}.** {words}: {said}; {_surely(judge, gains.values())}.")
    if apart := _apart(judge):
        lines.append(f"* **A seed that stands apart.** {apart}.")
    widths = sorted({key[4] for key in judge.ours.index if key[1] == "syq"})
    if len(widths) > 1:
        gains = judge.gains(
            lambda key: key[1:3] == ("syq", "pixel") and key[4] == widths[-1],
            {"act_bits": widths[0]},
        )
        if gains:
            words = f"{widths[-1]} over {widths[0]} bits of activations"
            said = _said(gains, words)
            lines.append(f"* **Activations.** {said}; {_surely(judge, gains.values())}.")
    lines += _best(judge)
    printed = accuracies(table, "printed")
    if len(printed):
        lost = {key: judge.ours.loc[key] - printed.loc[key] for key in printed.index}
        words = _said(lost, "the chain rule over eq. 5.10 as printed")
        lines.append(f"* **The printed gradient.** {words}; {_surely(judge, lost.values())}.")
    pixel = hardware.added(found)
    pixel = pixel[pixel["granularity"] == "pixel"].pivot_table(
        index=["simd", "pe"], columns="quantity", values="ours"
    )
    luts = pixel["lut (%)"]
    line = (
        f"* **Hardware.** By synthesis pixel-wise scaling takes {hardware.spanned(luts)} % LUTs, "
    )
    line += f"{hardware.spanned(pixel['dsp'])} DSP blocks and no cycle"
    if (pixel["dsp"] == pixel.index.get_level_values("pe")).all():
        line += ": one multiplier for each row that is worked on at once, as in Table 5.7"
    if (luts < 0).all():
        line += ". LUTs become fewer, there as here: in ours the DSP blocks also add up"
    lines.append(f"{line}.")
    return "\n".join(lines)


def _by_act_bits(gains: dict[Key, pd.Series]) -> str:
    """Mean gains in words, together where activations have the same bits, and their signs."""
    parts = []
    for bits in sorted({key[4] for key in gains}):
        of = {key: float(gain.mean()) for key, gain in gains.items() if key[4] == bits}
        said = ", ".join(f"{TITLES[k[0]]} W{k[3]} {gain:+z.2f}" for k, gain in of.items())
        up = sum(gain > 0 for gain in of.values())
        sign = (
            "a gain" if up == len(of) else "no gain" if not up else f"a gain in {up} of {len(of)}"
        )
        parts.append(f"with activations of {counted(bits, 'bit')} {sign} ({said} points)")
    return "; ".join(parts)


def _apart(judge: SyqJudge) -> str:
    """Cells of SYQ whose worst seed is `APART` points and more below the next, in words."""
    found = []
    for key, of in judge.ours.iterrows():
        low, *others = sorted(of.dropna())
        if key[1] == "syq" and others and others[0] - low >= APART:
            said = ", ".join(f"{accuracy:.2f}" for accuracy in of)
            found.append(f"{TITLES[key[0]]} W{key[3]}A{key[4]} by {key[2]} has {said} %")
    if not found:
        return ""
    return f"{'; '.join(found)}: mean and interval are mostly one training's"


def _best(judge: SyqJudge) -> list[str]:
    """For each network and width which rounded network has the highest mean, and float32."""
    means = judge.ours.mean(axis=1)
    lines, leads = [], []
    for (network, bits, acts), of in means.groupby(["network", "weight_bits", "act_bits"]):
        if bits == 32 or len(of) < 2:
            continue
        ranked = of.sort_values(ascending=False)
        named = [_method(key) for key in ranked.index]
        leads.append(judge.gain(ranked.index[0], ranked.index[1]))
        line = f"{TITLES[network]} W{bits}A{acts}: {named[0]} ({ranked.iloc[0]:.1f} %) before "
        lines.append(f"{line}{named[1]} ({ranked.iloc[1]:.1f} %)")
    if not lines:
        return []
    whole = [
        f"{TITLES[key[0]]} {accuracy:.1f} %" for key, accuracy in means.items() if key[3] == 32
    ]
    beside = f" In float32 {', '.join(whole)}." if whole else ""
    said = f"{'. '.join(lines)}; {_surely(judge, leads)}."
    return [f"* **Which is best.** {said}{beside}"]


def _method(key: Key) -> str:
    return f"{METHODS[key[1]]} by {key[2]}" if key[1] == "syq" else METHODS[key[1]]


def _surely(judge: SyqJudge, gains: Iterable[pd.Series]) -> str:
    gains = list(gains)
    if judge.ours.shape[1] < 2:
        return "with one seed nothing can be told"
    settled = sum(clear(gain, judge.spread) for gain in gains)
    if len(gains) == 1:
        return "seeds make that clear" if settled else "seeds leave it open"
    return f"seeds make {settled} of {len(gains)} clear"


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
        return f"{means[0]:+z.2f}"
    return f"{min(means):+z.2f} to {max(means):+z.2f}"


def _said(gains: dict[Key, pd.Series], what: str, by: str = "granularity") -> str:
    words = ", ".join(
        f"{TITLES[key[0]]} {key[KEYS.index(by)]} W{key[3]}A{key[4]} {gain.mean():+z.2f}"
        for key, gain in gains.items()
    )
    return f"{what}: {words} points"
