"""Chapter 12: claims of Faraone 2021, chapter 6, as predicates on our accuracies.

Its claims are about ImageNet; a claim that holds of our small networks and images is a trend, and
one that does not may only say that the two differ. Claims about area as well are judged with both
where the look-up tables of the multipliers are given, and left out where not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from qbench import reference
from qbench.addnet.codebooks import FARAONE
from qbench.models.small import TITLES

from .addnet import accuracies
from .addnet_tables import tasks, usual_act_bits
from .verdicts import Judge, Verdict
from .words import dataset as written

RCCMS = ("2-Add", "3-Add", "4-Add")
UNIFORM = ("8-bit", "6-bit", "4-bit")
FEWER = 0.75  # of the look-up tables of another, at most, are far fewer
AT_LEAST = 1e-9  # points below that still are "at least": equal means are
LIKE = {"2-Add": "4-bit", "3-Add": "6-bit", "4-Add": "8-bit"}  # as many bits in memory

Key = tuple[str, str, str, int]  # of `addnet.KEYS`
Gains = dict[tuple[Key, Key], pd.Series]  # of the first over the second, seed by seed: points


@dataclass
class AddnetJudge(Judge):
    """As `Judge`, for the claims of this thesis; the noise is pooled over all cells."""

    source: str = FARAONE
    luts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ours = accuracies(self.table)
        whole = self.ours.dropna()
        variance = whole.var(axis=1, ddof=1).mean() if whole.shape[1] > 1 else np.nan
        self.spread = float(np.sqrt(variance))
        self.bits, self.tasks = usual_act_bits(self.table), tasks(self.table)

    def key(self, dataset: str, network: str, weights: str, act_bits: int | None = None) -> Key:
        """Of activations with the usual width unless `act_bits` says another."""
        usual = 32 if weights == "float32" else self.bits
        return dataset, network, weights, act_bits or usual

    def gains(
        self,
        first: Iterable[str],
        second: Iterable[str],
        *,
        network: str | None = None,
        act_bits: tuple[int | None, int | None] = (None, None),
    ) -> Gains:
        """Each of `first` over each of `second`, on every task (or network) that has both."""
        found = {}
        second = tuple(second)
        for dataset, name in self.tasks:
            if network not in (None, name):
                continue
            for one in first:
                for other in second:
                    keys = (
                        self.key(dataset, name, one, act_bits[0]),
                        self.key(dataset, name, other, act_bits[1]),
                    )
                    if keys[0] != keys[1] and self.has(*keys):
                        found[keys] = self.gain(*keys)
        return found

    def tell(self, name: str, gains: Gains, *, within: float | None = None) -> None:
        """The row of claim `name`: every gain is above 0, or above −`within` where that is given.

        Nothing where there are no gains.
        """
        if gains:
            verdict = self.every(one + (within or 0.0) for one in gains.values())
            allowed = f"; up to {within:.1f} below counts as equal" if within else ""
            self.say(name, verdict, said(gains) + (allowed if within != AT_LEAST else ""))

    def smaller(self, pairs: Iterable[tuple[str, str]], *, far: bool = False) -> bool | None:
        """Whether the first of each pair takes fewer look-up tables; None where not all are known.

        `pairs` are weights as `luts` names them; `far`: at most `FEWER` of the other's.
        """
        pairs = list(pairs)
        if not all(one in self.luts for pair in pairs for one in pair):
            return None
        if far:
            return all(self.luts[one] <= FEWER * self.luts[other] for one, other in pairs)
        return all(self.luts[one] < self.luts[other] for one, other in pairs)


def claims(made: pd.DataFrame, luts: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The claims that the trainings can tell of, a row each; see `verdicts.Judge`.

    `made` is `addnet.table`; `luts` as in `addnet_tables.against_area`.
    """
    images = ", ".join(dict.fromkeys(written(dataset) for dataset, _ in tasks(made)))
    why = f"ours: {images}, small networks, at the scale of this page"
    judge = AddnetJudge(made, why, luts=luts or {})
    _accuracy_claims(judge)
    _set_claims(judge)
    _activation_claims(judge)
    _area_claims(judge)
    return judge.judged()


def _accuracy_claims(judge: AddnetJudge) -> None:
    equal = {}  # of as many bits
    for rccm, uniform in LIKE.items():
        equal |= judge.gains([rccm], [uniform])
    if equal:
        judge.say("non_uniform_better", judge.some(equal.values()), said(equal))
    judge.tell("addnet_beats_bits_low", judge.gains(RCCMS, ["binary"]))
    judge.tell("addnet_beats_bits_high", judge.gains(RCCMS, ["6-bit"]))
    judge.tell("concl_addnet_beats_bitwise", judge.gains(RCCMS, ["binary", "ternary"]))
    judge.tell("at_least_8bit_accuracy", judge.gains(RCCMS, ["8-bit"]), within=AT_LEAST)
    over_float = judge.gains([*RCCMS, *LIKE.values()], ["float32"])
    if over_float:
        verdict = judge.some(over_float.values())
        judge.say("quantisation_improves_some", verdict, said(over_float))
    within = _called_equal()
    alexnet = judge.gains(["2-Add"], ["float32"], network="alexnet_small")
    judge.tell("alexnet_2add_equals_float", alexnet, within=within)
    residual = judge.gains(["2-Add"], ["float32"], network="resnet20")
    if alexnet and residual:
        worse = [a - b for a in alexnet.values() for b in residual.values()]
        words = f"{said(residual)}; {said(alexnet)}"
        verdict = judge.every(worse, spread=2**0.5 * judge.spread)
        judge.say("resnet18_2add_worst_gap", verdict, words)


def _set_claims(judge: AddnetJudge) -> None:
    better: Gains = {}
    for rccm in RCCMS:
        better |= judge.gains([f"{rccm} matched"], [f"{rccm} worst"])
        better |= judge.gains([rccm], [f"{rccm} unoptimised"])
    judge.tell("matching_better_than_unoptimised", better)
    # The claim is about AlexNet.
    matched = next(
        filter(
            None,
            (
                judge.gains([name], ["float32"], network="alexnet_small")
                for name in ("2-Add matched", "2-Add")
            ),
        ),
        {},
    )
    judge.tell("matching_equals_float", matched, within=_called_equal())


def _activation_claims(judge: AddnetJudge) -> None:
    weights = ("2-Add", "2-Add matched")
    lost: Gains = {}
    for bits in sorted(set(judge.table["act_bits"]) - {8}):
        if bits > 8:
            for name in weights:
                lost |= judge.gains([name], [name], act_bits=(8, bits))
    judge.tell("activation_8bit_lossless", lost, within=_felt())
    short = judge.gains(["float32"], weights, act_bits=(None, 16))
    judge.tell("activation_16bit_no_help", short)
    deeper = judge.gains(["3-Add"], ["2-Add"], act_bits=(8, 16))
    judge.tell("rccm_3add_8bit_better_than_2add_16bit", deeper)


def _area_claims(judge: AddnetJudge) -> None:
    both = ("2-Add", "3-Add")
    for name, first, second in (
        ("rccm_2add_3add_beat_6bit", both, "6-bit"),
        ("rccm_2add_beats_4bit", ("2-Add",), "4-bit"),
        ("rccm_4add_beats_8bit", ("4-Add",), "8-bit"),
    ):
        far = name == "rccm_4add_beats_8bit"  # "at least as accurate", "far fewer resources"
        gains = judge.gains(first, [second])
        smaller = judge.smaller(((one, second) for one in first), far=far)
        if not gains or smaller is None:
            continue
        words = ", ".join(f"{one} {judge.luts[one]:g}" for one in (*first, second))
        words += f"; far fewer are {100 * (1 - FEWER):g} % fewer or more" if far else ""
        equal = AT_LEAST if far else 0.0
        verdict = judge.every(gain + equal for gain in gains.values()) & Verdict(smaller, True)
        judge.say(name, verdict, f"{said(gains)}; look-up tables: {words}")

    known = [one for one in RCCMS if one in judge.luts]
    best: Gains = {}
    for uniform in (one for one in UNIFORM if one in judge.luts):
        fit = [one for one in known if judge.luts[one] <= judge.luts[uniform]]
        if fit:
            best |= judge.gains([max(fit, key=judge.luts.__getitem__)], [uniform])
    judge.tell("addnet_best_for_area", best)


def _called_equal() -> float:
    """The difference from float32 that section 6.5.1 calls equivalent: Table 6.4, points."""
    rows = reference.load(FARAONE, "table_6_4")
    found = rows[rows["metric"] == "top1"].set_index("method")["value"]
    return float(abs(found["distribution_matching"] - found["floating_point"]))


def _felt() -> float:
    """The least difference that Table 6.10 has between widths of activations, points."""
    rows = reference.load(FARAONE, "table_6_10")
    found = rows[rows["metric"] == "top1"].sort_values("act_bits")["value"].diff()
    return float(found[found > 0].min())


def said(gains: Gains) -> str:
    """Mean gains in words, those of one pair of weights together."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for (first, second), gain in gains.items():
        names = [one[2] for one in (first, second)]
        if names[0] == names[1] or {first[3], second[3]} - {32, 8}:
            names = [f"{one[2]} A{one[3]}" for one in (first, second)]
        words = f"{TITLES[first[1]]} on {written(first[0])} {gain.mean():+z.2f}"
        pairs.setdefault(tuple(names), []).append(words)
    text = "; ".join(f"{one} over {two}: {', '.join(of)}" for (one, two), of in pairs.items())
    return f"{text} points"
