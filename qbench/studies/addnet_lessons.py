"""Chapter 12: what its numbers show, in words that follow them."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from qbench.models.small import TITLES
from qbench.parameters.addnet import AddNet

from . import addnet_area as area
from .addnet_claims import LIKE, RCCMS, AddnetJudge, Gains, said
from .addnet_tables import order
from .qkd_tables import clear
from .words import counted, listed
from .words import dataset as written


def described(p: AddNet) -> str:
    """Scale of the trainings, in words."""
    images = "all images" if p.images is None else counted(p.images, "image")
    width = "" if p.width == 1 else f"{p.width:g} of the channels, "
    epochs = f"{counted(p.epochs, 'epoch')} after {p.pretrain_epochs} in float32"
    return f"{images}, {width}{epochs}, {counted(len(p.seeds), 'seed')}"


def named(dataset: str, network: str) -> str:
    """A task as captions name it: `AlexNet-small on CIFAR-10`."""
    return f"{TITLES.get(network, network)} on {written(dataset)}"


def accuracies(made: pd.DataFrame, p: AddNet) -> pd.DataFrame:
    """The accuracies of all sets and methods at the usual width of activations, best task first.

    Columns: `dataset`, `network`, `weights`, `kind`, `bits` (of a weight in memory), `accuracy`
    (%, mean over seeds), `low` and `high` (worst and best seed).
    """
    rows = made[(made["act_bits"] == p.act_bits) | (made["weight_bits"] == 32)]
    rows = rows.assign(accuracy=100 - rows["test_error"])
    keys = ["dataset", "network", "weights", "weight_bits"]
    found = rows.groupby(keys, as_index=False, sort=False)["accuracy"].agg(["mean", "min", "max"])
    found = found.rename(columns={"mean": "accuracy", "min": "low", "max": "high"})
    found = found.rename(columns={"weight_bits": "bits"})
    kinds = found["weights"].str.split().str[0].isin(RCCMS)
    found.insert(3, "kind", np.where(kinds, "made of adders", "compared with"))
    return found.assign(network=found["network"].map(TITLES))


def lessons(
    p: AddNet,
    made: pd.DataFrame,
    rounded: pd.DataFrame,
    sets: pd.DataFrame,
    numbers: pd.DataFrame,
    distances: pd.DataFrame,
    fabric: pd.DataFrame,
) -> str:
    """What the page shows, as a Markdown list.

    made, rounded: of `addnet.table` and `addnet.rounded`; sets, numbers, distances: of
    `addnet_sets.regenerated`, `numbers` and `divergences`; fabric: of `addnet_area.synthesised`.
    """
    judge = AddnetJudge(made, "")
    lines = [_sets(sets), _counts(numbers), *_distances(distances)]
    judges = {"Only rounded": AddnetJudge(rounded, "")} if len(rounded) else {}
    judges |= {"Trained on": judge}
    lines += _matching("Matching", judges, " worst")
    lines += _matching("The matched set beside that of Table 6.2", judges, "")
    lines += _uniform(judge, made)
    lines += [*_activations(judge), *_area(p, fabric)]
    return "\n".join(f"* {line}." for line in lines)


def _sets(sets: pd.DataFrame) -> str:
    mended = sets[sets["topology_b"].str.startswith("-")]
    same = mended["verdict"].eq("exact")
    printed = sets[~sets["topology_b"].str.startswith("-")]["ours"]
    return (
        f"**The sets.** {same.sum()} of {len(same)} sets of Table 6.2 follow exactly from Table "
        "6.3, once Topology B has its minus sign back; as printed there would be "
        f"{listed(printed)} coefficients instead of {listed(mended['published'])}"
    )


def _counts(numbers: pd.DataFrame) -> str:
    ours, printed = numbers.iloc[:-1], numbers.iloc[-1]
    hits = [name for name in RCCMS if (ours[name] == printed[name]).any()]
    found = f"gives that of {listed(hits)} alone" if hits else "gives any of the printed numbers"
    return (
        f"**How many sets.** {'One' if hits else 'None'} of {len(ours)} readings {found} of sets: "
        "the thesis does not print which mapping functions and shifts it combined"
    )


def _distances(distances: pd.DataFrame) -> list[str]:
    lines = []
    for task, rows in distances.groupby("task", sort=False):
        of = rows.set_index("set")["divergence"]
        if {"3-Add", "unoptimised"} <= set(of.index):
            nearer = of["unoptimised"] < of["3-Add"]
            line = f"**Weights of {named(*task.split('/'))}.** The set that the thesis calls "
            line += "unoptimised is "
            line += f"{'nearer' if nearer else 'farther'} ({of['unoptimised']:.2f} nats) than its "
            line += f"optimised 3-Add ({of['3-Add']:.2f})"
            if nearer:
                line += ": what matches other weights need not match these"
            lines.append(line)
    return lines


def _matching(title: str, judges: Mapping[str, AddnetJudge], other: str) -> list[str]:
    """Gains of the matched sets over the others, before and after training on."""
    words = []
    for when, judge in judges.items():
        gains: Gains = {}
        for name in RCCMS:
            gains |= judge.gains([f"{name} matched"], [f"{name}{other}"])
        if gains:
            words.append(f"{when}: {said(gains)}; {_surely(judge, gains.values())}")
    return [f"**{title}.** {'. '.join(words)}"] if words else []


def _uniform(judge: AddnetJudge, made: pd.DataFrame) -> list[str]:
    lines, gains = [], {}
    for name, uniform in LIKE.items():
        gains |= judge.gains([name], [uniform])
    if gains:
        words = f"Of as many bits in memory: {said(gains)}; {_surely(judge, gains.values())}"
        lines.append(f"**Against uniform weights.** {words}")
    pairs = order(made)
    if len(pairs):
        same = int(pairs["same_sign"].sum())
        lines.append(f"**The order of Table 6.9.** {same} of {len(pairs)} pairs have its sign")
    return lines


def _activations(judge: AddnetJudge) -> list[str]:
    gains: Gains = {}
    names = [n for n in judge.table["weights"].unique() if n.split()[0] in RCCMS]
    for bits in sorted(set(judge.table["act_bits"]) - {8, 32}):
        for name in names:
            gains |= judge.gains([name], [name], act_bits=(8, bits))
    if not gains:
        return []
    return [f"**Activations.** {said(gains)}; {_surely(judge, gains.values())}"]


def _area(p: AddNet, fabric: pd.DataFrame) -> list[str]:
    w = area.usual_input(p)
    luts: Mapping[str, Mapping[str, float]] = {
        title: area.luts(p, fabric, kind) for kind, title in area.BASELINES.items()
    }
    if w is None:
        return []
    words = []
    for title, of in luts.items():
        less = [100 * (1 - of[name] / of["8-bit"]) for name in RCCMS]
        words.append(f"{listed(f'{one:.0f}' for one in less)} % against {title}")
    line = f"**Area.** With {w} bits of input the 2-, 3- and 4-Add save {'; '.join(words)}"
    return [f"{line}. What a multiplier made of adders saves depends on what it replaces"]


def _surely(judge: AddnetJudge, gains: Iterable[pd.Series]) -> str:
    gains = list(gains)
    if judge.ours.shape[1] < 2:
        return "with one seed nothing can be told"
    settled = sum(clear(gain, judge.spread) for gain in gains)
    return f"seeds make {settled} of {len(gains)} clear"
