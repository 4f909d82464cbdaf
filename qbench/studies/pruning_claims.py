"""Chapter 13: claims of Faraone 2021, chapter 4, as predicates on our numbers.

Those about shapes and designs are judged on AlexNet and TinyYolo themselves, those about accuracy
on the small networks trained here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qbench import reference
from qbench.pruning import resources
from qbench.pruning.rankings import RANKINGS
from qbench.pruning.shapes import published, without_connected
from qbench.pruning.strategies import STRATEGIES

from . import pruning_tables as tables
from .pruning import UNPRUNED, controlled, relative
from .pruning_page import ESTIMATED
from .pruning_page import courses as shown_courses
from .pruning_tables import DEVICE, FARAONE
from .qkd_tables import clear
from .seeds import interval
from .verdicts import Judge
from .words import dataset as written

ROUGH = 5  # what a number that is printed as roughly, in tens, may be off
CHEAP = 10  # % of a network's LUTs
LOW, HIGH = 20, 30  # % of filters: pruning rates that are low, and those that are high


def of_shapes() -> pd.DataFrame:
    """Claims that shapes and designs decide: `where`, `claim`, `ours`, `verdict`, `why`."""
    rows = [*_operations(), *_reuse(), *_designs()]
    return pd.DataFrame(rows)


def _operations() -> list[dict]:
    alexnet, yolo = (
        resources.shares(published(name)).set_index("layer") for name in ("AlexNet", "TinyYolo")
    )
    share, both = alexnet["operations_share"], yolo.loc[["Conv7", "Conv8"]].sum()
    convolutions = share[share.index.str.startswith("Conv")].sum()
    two = share[["Conv2", "Conv3"]].sum()
    counts = [frame[["operations", "weight_bits"]].sum() for frame in (alexnet, yolo)]
    return [
        _value(
            "conv_share_operations", convolutions, tolerance=0.5, why="printed in whole per cent"
        ),
        _claim("alexnet_layers_2_3_dominate", two > 50, f"{two:.1f}% of the operations"),
        _claim(
            "tinyyolo_last_layers_dominate",
            both["operations_share"] > 50 and both["memory_share"] > 50,
            f"{both['operations_share']:.1f}% of the operations, {both['memory_share']:.1f}% of "
            "the memory",
        ),
        _claim(
            "tinyyolo_smaller_weights_more_operations",
            counts[1]["weight_bits"] < counts[0]["weight_bits"]
            and counts[1]["operations"] > counts[0]["operations"],
            f"{counts[1]['weight_bits'] / 8e6:.1f} against {counts[0]['weight_bits'] / 8e6:.1f} MB "
            f"of weights, {counts[1]['operations'] / 1e9:.2f} against "
            f"{counts[0]['operations'] / 1e9:.2f} G operations",
        ),
        *(
            _claim(
                f"{name.lower()}_layers_chosen",
                set(tables.chosen_layers(name)) == set(layers),
                f"layers that take most of what runs out first on the {DEVICE}: "
                f"{', '.join(tables.chosen_layers(name))}",
            )
            for name, layers in tables.PRUNED.items()
        ),
    ]


def _reuse() -> list[dict]:
    network = without_connected(published("AlexNet"))
    first = network.units()["Conv1"][0]
    ops = resources.operations(first)
    words = resources.words(network.act_bits)
    reuses = [2**power for power in range(0, 17, 2)]
    elements = [resources.elements(ops, one) for one in reuses]
    blocks = [resources.feature_map_blocks(96, 54, one, words) for one in reuses]
    trades = elements == sorted(elements, reverse=True) and blocks == sorted(blocks)
    return [
        _claim(
            "reuse_trades_pe_for_ram",
            trades and blocks[-1] > blocks[0],
            f"Conv1 of AlexNet: {elements[0]:,} elements and {blocks[0]} blocks at reuse 1, "
            f"{elements[-1]:,} and {blocks[-1]} at {reuses[-1]:,}",
        ),
        _claim("reuse_without_buffer", blocks[0] == 0, f"{blocks[0]} blocks by eq. 4.7 at reuse 1"),
    ]


def _designs() -> list[dict]:
    found = tables.designs().set_index(["where", "network", "variant"])
    before, after = (found.loc[("Table 4.3", "AlexNet", v)] for v in ("Original", "Pruned-40%"))
    less = {
        part: 100 * (1 - after[f"ours_{part}"] / before[f"ours_{part}"])
        for part in ("lut", "bram", "dsp")
    }
    yolo, pruned = (found.loc[("Table 4.3", "TinyYolo", v)] for v in ("Original", "Pruned-50%"))
    network = without_connected(published("AlexNet"))
    small = tables.networks("AlexNet", "Pruned-40%")
    quick = [resources.quickest(network, one, on=DEVICE).interval for one in (None, small)]
    wanted = found.loc[("Table 4.4", "AlexNet", "Pruned-40%"), "cycles"]
    made = resources.design(network, interval=int(before["cycles"])).table().set_index("layer")
    each = made["lut"] / made["operations"]
    twice = [
        resources.design(published("TinyYolo"), counts, interval=int(yolo["cycles"])).cost.lut
        for counts in ({}, {"Conv2": 64})
    ]
    rise = 100 * (twice[1] / twice[0] - 1)
    falls = all(pruned[f"ours_{part}"] < yolo[f"ours_{part}"] for part in ("lut", "bram", "dsp"))
    slip = reference.errata(FARAONE).set_index("erratum").loc["tinyyolo_lut_rise", "arithmetic"]
    return [
        *(_roughly(f"{part}_reduction_40", less[part], ESTIMATED[part]) for part in less),
        _value(
            "alexnet_scaled_speedup",
            before["cycles"] / wanted * 150 / 159,
            tolerance=0.5,
            why="printed as roughly, in whole times; by the printed cycles and clocks",
        ),
        _claim(
            "original_cannot_scale",
            quick[1] <= wanted < quick[0],
            f"quickest on the {DEVICE}: {quick[0]:,} cycles a frame before, {quick[1]:,} after "
            f"pruning; the thesis' pruned design takes {wanted:,.0f}",
            why="our estimates leave out what takes room on a device: control, FIFOs, routing",
        ),
        _claim(
            "first_layer_expensive",
            each["Conv1"] + made.loc["Conv1", "dsp"] > each.drop("Conv1").max(),
            f"{made.loc['Conv1', 'dsp']:,.0f} DSPs, and {each['Conv1'] * 1e6:.0f} LUTs a million "
            f"operations against {each.drop('Conv1').max() * 1e6:.0f} at most in the others",
        ),
        _claim(
            "tinyyolo_doubling_cheap",
            rise < CHEAP,
            f"LUTs rise by {rise:.1f}% at the same frame rate",
            why="the layers behind it get twice the inputs, at the same frame rate",
        ),
        reference.claim(
            FARAONE,
            "tinyyolo_resources_down",
            holds=falls,
            ours=f"LUTs {100 * (pruned['ours_lut'] / yolo['ours_lut'] - 1):+z.0f}%, BRAMs "
            f"{100 * (pruned['ours_bram'] / yolo['ours_bram'] - 1):+z.0f}%, DSPs "
            f"{100 * (pruned['ours_dsp'] / yolo['ours_dsp'] - 1):+z.0f}%",
            erratum=slip,
        ),
        _claim("frequency_gain_max", None, "not estimated", why="clocks need place and route"),
    ]


@dataclass
class PruningJudge(Judge):
    """As `Judge`, on accuracies against the unpruned network of the same seed.

    Against the one that was retrained as often where there is one: what more training does is not
    pruning's.
    """

    source: str = FARAONE

    def __post_init__(self) -> None:
        self.ours = relative(self.table, control=controlled(self.table))
        whole = self.ours.dropna()
        variance = whole.var(axis=1, ddof=1).mean() if whole.shape[1] > 1 else np.nan
        self.spread = float(np.sqrt(variance))


def of_rankings(found: pd.DataFrame, profile: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Claims of section 4.5.4 that the trainings of `pruning.table` can tell of, with `seeds`."""
    judge = PruningJudge(found, _ours(dataset))
    pruned = found[found["ranking"] != UNPRUNED]
    share = pruned.drop_duplicates("iteration").set_index("iteration")["pruned"]
    keys = list(judge.ours.index)
    errors = [key for key in keys if key[1] == "qerror"]
    low = [key for key in errors if share[key[2]] <= LOW]
    if low:
        gains = [judge.ours.loc[key] for key in low]
        best = max(gains, key=lambda one: one.mean())
        mean, half = interval(best.dropna())
        spread = f" ± {half:.2f}" if half == half else ""  # NaN with one seed
        words = f"best gain up to {LOW}% pruned: {mean:+z.2f}{spread} points"
        judge.say("low_pruning_improves_accuracy", judge.some(gains), words)
    others = [(key, (key[0], name, key[2])) for key in errors for name in ("l1", "l2", "random")]
    beats = {(key, other): judge.gain(key, other) for key, other in others if judge.has(other)}
    if beats:
        words = _range(list(beats.values()), "over the other rankings")
        judge.say("qerror_beats_conventional", judge.every(beats.values()), words)
    chance = [
        judge.gain(key, (key[0], "random", key[2]))
        for key in keys
        if key[1] in ("qerror", "l1") and judge.has((key[0], "random", key[2]))
    ]
    if chance:
        judge.say("both_beat_random", judge.every(chance), _range(chance, "over random"))
    apart = [
        gain for (key, other), gain in beats.items() if other[1] == "l1" and share[key[2]] >= HIGH
    ]
    if apart and chance:
        least = min(one.mean() for one in chance)
        close = [least - sign * gain for gain in apart for sign in (1, -1)]
        words = _range(apart, "quantisation error over magnitude")
        judge.say("qerror_similar_to_real_at_high_rates", judge.every(close), words)
    high = 100 * profile.groupby(["weights", "layer"])["high"].mean()
    judge.fact(
        "high_error_filters_high",
        bool((high <= 10).all()),
        f"outliers by Tukey's fence: {high.min():.0f} to {high.max():.0f}% of a layer's filters",
    )
    return judge.judged()


def of_strategies(compared: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Claims about the strategies that `pruning.compared` can tell of: what each took in the end.

    Each strategy pruned as long as accuracy allowed; a claim holds where it does for every seed.
    """
    last = compared.set_index(["seed", "strategy"])
    seeds, others = compared["seed"].unique(), compared["strategy"].unique()
    others = [one for one in ("even", "sensitivity") if one in others]
    parts = ("operations", "bram_thesis")

    def less(name: str, than: str, of: Sequence[str] = parts) -> bool:
        pairs = [(last.loc[(one, name)], last.loc[(one, than)]) for one in seeds]
        return all(mine[part] < its[part] for mine, its in pairs for part in of)

    why = _ours(dataset)
    means = compared.groupby("strategy", sort=False)[list(parts)].mean()
    words = "; ".join(
        f"{STRATEGIES.get(name, 'unpruned')} {row['operations'] / 1e6:.2f} M operations, "
        f"{row['bram_thesis']:.1f} BRAMs"
        for name, row in means.iterrows()
    )
    pruned = [name for name in STRATEGIES if name in means.index]
    found = {"all_pruning_lowers_bram_and_operations": all(less(name, "") for name in pruned)}
    if "resource-aware" in pruned and others:
        found["resource_aware_best"] = all(less("resource-aware", one) for one in others)
    if {"resource-aware", "sensitivity"} <= set(pruned):
        beats = less("resource-aware", "sensitivity", ("operations",))
        found["resource_aware_beats_sensitivity"] = beats
    rows = [_claim(name, holds, words, why) for name, holds in found.items()]
    return pd.DataFrame(rows, columns=["where", "claim", "ours", "verdict", "why"])


def lessons(
    found: pd.DataFrame,
    profile: pd.DataFrame,
    courses: pd.DataFrame,
    compared: pd.DataFrame,
    deployed: pd.DataFrame,
) -> str:
    """What shapes, trainings and designs show, as a Markdown list.

    found, profile, courses, compared, deployed: of `pruning.table`, `profile`, `courses`,
    `compared` and `before_and_after`.
    """
    lines = _rankings(found)
    high = 100 * profile.groupby(["weights", "layer"])["high"].mean()
    lines.append(
        f"* **Filters that do not fit.** {_spanned(high)} % of the filters of a layer have a "
        "quantisation error far above the rest."
    )
    lines += [*_shapes(), *_alike(courses), _strategies(compared), _deployed(deployed)]
    return "\n".join(lines)


def _rankings(found: pd.DataFrame) -> list[str]:
    judge, lines = PruningJudge(found, ""), []
    last = max((key[2] for key in judge.ours.index), default=0)
    share = found.loc[found["iteration"] == last, "pruned"].max()
    beside = "retrained as often" if controlled(found) else "as it was"
    for weights, of in judge.ours.groupby("weights"):
        keys = {key[1]: key for key in of.index if key[2] == last}
        words = [f"{RANKINGS[one]} {of.loc[key].mean():+z.2f}" for one, key in keys.items()]
        line = f"* **Rankings, {weights} weights.** With {share:.0f} % of the filters of the "
        line += f"ranked layers gone, test accuracy beside the unpruned network {beside}, in "
        line += f"points: {', '.join(words)}."
        others = {"random": "chance", "l1": RANKINGS["l1"]}
        for other in [one for one in others if {"qerror", one} <= set(keys)]:
            gain = judge.gain(keys["qerror"], keys[other])
            line += f" Quantisation error over {others[other]} {gain.mean():+z.2f}: "
            line += f"{_surely(judge, gain)}."
        lines.append(line)
    if controlled(found):
        errors = found[found["ranking"] == UNPRUNED].pivot_table(
            index=["weights", "iteration"], columns="seed", values="test_error"
        )
        more = {one: rows.iloc[0] - rows.iloc[-1] for one, rows in errors.groupby("weights")}
        words = ", ".join(f"{one} {gain.mean():+z.2f}" for one, gain in more.items())
        lines.append(
            "* **Retraining alone.** What as many epochs more do to the accuracy of networks that "
            f"lose nothing, in points: {words}."
        )
    return lines


def _shapes() -> list[str]:
    lines = []
    for name in tables.PRUNED:
        both, parts, gone = tables.compared(name), {}, []
        for strategy, rows in both.groupby("strategy", sort=False):
            ends = rows.iloc[-1]
            parts[strategy] = 100 * ends["operations"] / rows["operations"].iloc[0]
            gone.append(ends["pruned"])
        words = ", ".join(f"{share:.0f} % {STRATEGIES[one]}" for one, share in parts.items())
        line = f"* **{name}'s shapes.** With {_spanned(gone)} % of the filters gone, of the "
        line += f"operations are left: {words}"
        if parts["resource-aware"] > parts["even"]:
            line += "; at as many filters, the strategy that looks at resources takes fewer of them"
        lines.append(f"{line}.")
    return lines


def _alike(courses: pd.DataFrame) -> list[str]:
    """What strategies cost where they leave about as many operations; empty with one strategy."""
    rows = shown_courses(courses)
    rows = rows[rows["of"] == "operations"]
    steps = rows[rows["iteration"] > 0].set_index(["strategy", "iteration"])
    names = [one for one in STRATEGIES.values() if one in steps.index.unique("strategy")]
    if len(names) < 2:
        return []

    def nearest(left: float) -> dict[str, pd.Series]:
        of = {name: steps.loc[name] for name in names}
        return {name: one.loc[(one["left"] - left).abs().idxmin()] for name, one in of.items()}

    def apart(found: dict[str, pd.Series]) -> float:
        left = [one["left"] for one in found.values()]
        return max(left) - min(left)

    best = min((nearest(left) for left in steps["left"]), key=apart)
    words = ", ".join(
        f"{name} {one['test_error']:.2f} % ({one['left']:.0f} % left)" for name, one in best.items()
    )
    return [
        "* **Strategies, step by step.** Test error where about as many of the operations are "
        f"left: {words}; unpruned {rows.loc[rows['iteration'] == 0, 'test_error'].iloc[0]:.2f} %."
    ]


def _strategies(compared: pd.DataFrame) -> str:
    means, parts = compared.groupby("strategy", sort=False).mean(numeric_only=True), []
    first = means.loc[UNPRUNED]
    for name in [one for one in STRATEGIES if one in means.index]:
        one = means.loc[name]
        parts.append(
            f"{STRATEGIES[name]} {one['iterations']:.2g} "
            f"pruning{'' if one['iterations'] == 1 else 's'}, which leave "
            f"{100 * one['operations'] / first['operations']:.0f} % of the operations, "
            f"{one['test_error'] - first['test_error']:+z.2f} points of test error"
        )
    return f"* **Strategies, trained.** Within the tolerance: {'; '.join(parts)}."


def _deployed(deployed: pd.DataFrame) -> str:
    ends = deployed.groupby("network").mean(numeric_only=True)
    before, after = ends.loc["original"], ends.loc["pruned"]
    rate, folded = (after[one] / before[one] for one in ("frame_rate", "folded_frame_rate"))
    cause = deployed.loc[deployed["network"] == "original", "bottleneck"].mode().iloc[0]
    line = f"* **On the device.** The quickest design of the pruned network is {rate:.2f} times as "
    line += f"fast, with {after['test_error'] - before['test_error']:+z.2f} points of test error. "
    line += f"Folded a pixel at a time it is {folded:.2f} times as fast"
    if folded == 1:
        line += f": {cause} is the slowest there, and its cycles do not depend on its filters"
    return f"{line}."


def _ours(dataset: str) -> str:
    return f"ours: {written(dataset)}, a small network, at the scale of this page"


def _spanned(values: Sequence[float]) -> str:
    """Whole numbers from the least to the greatest, in words."""
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"


def _surely(judge: PruningJudge, gain: pd.Series) -> str:
    if judge.ours.shape[1] < 2:
        return "with one seed nothing can be told"
    return "seeds make that clear" if clear(gain, judge.spread) else "seeds leave it open"


def _claim(name: str, holds: bool | None, words: str, why: str = "") -> dict:
    reason = why or "our cost model says otherwise"
    return reference.claim(FARAONE, name, holds=None if holds is None else bool(holds), ours=words,
                           why=reason)  # fmt: skip


def _value(name: str, ours: float, **how: object) -> dict:
    return reference.claim_value(FARAONE, name, float(ours), **how)


def _roughly(name: str, ours: float, else_why: str) -> dict:
    """A claim in tens: within `ROUGH` of it that is why it is called a match, beyond `else_why`."""
    printed = reference.claims(FARAONE).set_index("claim")["value"][name]
    near = abs(ours - printed) <= ROUGH
    return _value(
        name, ours, tolerance=ROUGH, why="printed as roughly, in tens" if near else else_why
    )


def _range(gains: list[pd.Series], what: str) -> str:
    means = [one.mean() for one in gains]
    return f"{what}: {min(means):+z.2f} to {max(means):+z.2f} points"
