"""Chapter 18: do gains add up? Scales, sparsity and a teacher, each off or on, in one network.

What Stewart et al. 2021, section 5.2.4, leave as future work. `combining_bits` has the teacher over
bits, `combining_devices` what becomes of winners on another device.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from qbench import store
from qbench.combining import runs
from qbench.data import specs
from qbench.distillation import runs as distillation
from qbench.parameters import Combining

from . import words
from .distillation import TITLES
from .evolution_networks import MACS
from .factorial import ADD, LESS, MORE, Factorial
from .seeds import plus_minus

FACTORS = ("scales", "sparsity", "teacher")
STORED = ("ternary", "RLE", "HC")
CODINGS = {"ternary": "2 bits each", "RLE": "run lengths", "HC": "Huffman"}
SCALE_BITS = 32


def teacher_of(p: Combining) -> dict[str, Any]:
    """The teacher's specification, all of it; at full size chapter 7's own."""
    spec = {"dataset": p.dataset, "network": p.teacher, "images": p.teacher_images}
    spec |= {"epochs": p.teacher_epochs, "seed": 0}
    return store.spec(distillation.teacher, **spec)["parameters"]


def training_of(p: Combining, on: Mapping[str, bool], seed: int) -> dict[str, Any]:
    """`combining.runs.training`'s parameters of one combination, `on` saying which factors are."""
    same = {name: getattr(p, name) for name in ("dataset", "images", "width", "epochs")}
    spec = same | {"learning_rate": p.learning_rate, "eta": p.dense_eta, "seed": seed}
    if on["scales"]:
        spec["granularity"] = p.granularity
    if on["sparsity"]:
        spec |= {"eta": p.eta, "sigma": p.eta, "strength": p.strength}
    if on["teacher"]:
        spec |= {"teacher": teacher_of(p), "alpha": p.alpha, "temperature": p.temperature}
    return spec


def trained(p: Combining) -> pd.DataFrame:
    """Train all combinations with all seeds, or look them up: a row a training.

    Columns: `FACTORS` (booleans), `seed`, `valid_error` and `test_error` (%), `zeros` and `pruned`
    (% of all weights), `scale_count`, `bits_<encoding>`, and of what takes fewest `coding`,
    `bits`, scales of 32 bits with it, and `log_bits`, their logarithm to the base 2. A training
    that diverged has no errors and no bits.
    """
    every = [
        dict(zip(FACTORS, on, strict=True)) | {"seed": seed}
        for on in product((False, True), repeat=len(FACTORS))
        for seed in p.seeds
    ]
    asked = [training_of(p, one, one["seed"]) for one in every]
    tables = runs.trainings(asked, at_once=p.workers, title="combinations")
    return pd.DataFrame([one | left(table) for one, table in zip(every, tables, strict=True)])


def left(table: pd.DataFrame) -> dict[str, Any]:
    """What a training left, from `combining.runs.training`'s table."""
    numbers = ("valid_error", "test_error", "zeros", "pruned")
    sizes = [f"bits_{name}" for name in STORED]
    if not set(sizes) <= set(table):  # it diverged
        return dict.fromkeys((*numbers, "scale_count", *sizes, "bits", "log_bits"), np.nan) | {
            "coding": ""
        }
    row = table[table[sizes[0]].notna()].iloc[-1]
    found = {name: float(row[name]) for name in (*numbers, *sizes)}
    found["scale_count"] = float(row["scales"])
    coding = min(STORED, key=lambda name: row[f"bits_{name}"])
    bits = row[f"bits_{coding}"] + SCALE_BITS * row["scales"]
    return found | {"coding": coding, "bits": float(bits), "log_bits": float(np.log2(bits))}


def errors(table: pd.DataFrame) -> Factorial:
    """The experiment in test errors (%)."""
    return Factorial.of(table, FACTORS, "test_error")


def sizes(table: pd.DataFrame) -> Factorial:
    """The experiment in log₂ of the stored bits: what adds up there, multiplies in bits."""
    return Factorial.of(table, FACTORS, "log_bits")


def cells(table: pd.DataFrame, p: Combining) -> pd.DataFrame:
    """A row a combination: `name`, means of `test_error`, with `low` and `high`, `zeros`, `bits`
    and `kilobytes` (of 1,000 bytes), `coding`, and `weights`, how many.
    """
    half = errors(table).half()
    means = table.groupby(list(FACTORS), sort=False)
    found = means[["test_error", "zeros", "bits", "scale_count"]].mean()
    found["coding"] = means["coding"].agg(lambda one: one.mode().iat[0])
    found["weights"] = means["bits_ternary"].mean() / 2
    found = found.reset_index()
    names = [named(row, p) for row in found[list(FACTORS)].itertuples(index=False)]
    return found.assign(
        name=names,
        kilobytes=found["bits"] / 8e3,
        low=found["test_error"] - half,
        high=found["test_error"] + half,
        sparse=found["sparsity"].map({False: "dense ternary", True: "sparse ternary"}),
    )


def cells_shown(found: pd.DataFrame, p: Combining) -> pd.DataFrame:
    """`cells` as the page shows them."""
    half = found["high"] - found["test_error"]
    return pd.DataFrame(
        {
            "network": found["name"],
            "test error (%)": [
                plus_minus(*one) for one in zip(found["test_error"], half, strict=True)
            ],
            "zeros (%)": found["zeros"],
            "scales": found["scale_count"].round().astype(int),
            "smallest coding": found["coding"].map(CODINGS),
            "stored (kB)": found["kilobytes"],
            "bits a weight": found["bits"] / found["weights"],
        }
    )


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Main effects and interactions as the page shows them, on errors and on stored bits."""
    on_error, on_bits = errors(table).effects(), sizes(table).effects()
    return pd.DataFrame(
        {
            "effect of": [" × ".join(one) for one in on_error["of"]],
            "on the test error (points)": [
                plus_minus(*one, signed=True)
                for one in zip(on_error["effect"], on_error["half"], strict=True)
            ],
            "beyond seeds": _clear(on_error),
            "stored bits times": [
                _factor(*one) for one in zip(on_bits["effect"], on_bits["half"], strict=True)
            ],
        }
    )


def _clear(found: pd.DataFrame) -> list[str]:
    clear = found["effect"].abs() > found["half"]
    return ["yes" if one else "no" for one in clear]


def departures(table: pd.DataFrame, p: Combining) -> pd.DataFrame:
    """`Factorial.departures` of the errors, with `name`, and `low` and `high`: the interval of the
    difference, drawn around the prediction.
    """
    found = errors(table).departures(p.margin)
    names = [" + ".join(one) for one in found["of"]]
    low, high = found["predicted"] - found["half"], found["predicted"] + found["half"]
    return found.assign(name=names, low=low, high=high)


def ends(found: pd.DataFrame) -> list[float]:
    """The least and the greatest error of `departures`, intervals included."""
    every = found[["low", "high", "predicted", "measured"]]
    return [float(every.min().min()), float(every.max().max())]


def departures_shown(found: pd.DataFrame) -> pd.DataFrame:
    """`departures` as the page shows them."""
    return pd.DataFrame(
        {
            "together": found["name"],
            "if changes added up (%)": found["predicted"],
            "measured (%)": found["measured"],
            "departure (points)": [
                plus_minus(*one, signed=True)
                for one in zip(found["departure"], found["half"], strict=True)
            ],
            "the changes are": found["verdict"],
        }
    )


def answer(found: pd.DataFrame, p: Combining) -> str:
    """The chapter's answer to whether gains add up, computed from `departures`, as Markdown."""
    scale = f"{described(p)}, {len(p.seeds)} seed{'s' * (len(p.seeds) > 1)}"
    if found["half"].isna().all():
        return f"**Whether gains add up cannot be told** ({scale}): one seed has no noise to show."
    which = {one: list(found.loc[found["verdict"] == one, "name"]) for one in (ADD, MORE, LESS)}
    rows = [
        f"{one.name} {one.departure:+z.2f} ± {one.half:.2f} ({one.verdict})"
        for one in found.itertuples()
    ]
    if which[MORE] and which[LESS]:
        said = "**Gains do not simply add up**: some combinations give more, some less"
    elif which[LESS]:
        said = "**Gains add up to less than their sum**"
    elif which[MORE]:
        said = "**Gains add up to more than their sum**"
    elif len(which[ADD]) == len(found):
        said = f"**Gains add up**, within {p.margin:g} points"
    else:
        said = "**Whether gains add up cannot be told within what seeds do**"
    settled = sum(map(len, which.values()))
    return (
        f"{said} ({scale}). Departures of the test error from the sum of the single changes, in "
        f"points, below 0 better than the sum: {'; '.join(rows)}. {settled} of {len(found)} are "
        f"settled; intervals hold together at 95 %, and {p.margin:g} points count as nothing."
    )


def named(on: tuple[bool, ...], p: Combining) -> str:
    """`dense, layer scales` or `sparse, pixel scales, teacher`."""
    scales, sparse, taught = on
    parts = ["sparse" if sparse else "dense"]
    parts.append(f"{p.granularity if scales else 'layer'} scales")
    return ", ".join(parts + ["teacher"] * taught)


def described(p: Combining) -> str:
    """The scale of the trainings, for a caption."""
    images = "all images" if p.images is None else f"{p.images:,} images"
    times = "1 epoch" if p.epochs == 1 else f"{p.epochs} epochs"
    return f"VGG of {p.width} channels, {images} of {words.dataset(p.dataset)}, twice {times}"


def taught_by(p: Combining) -> str:
    """The teacher's test error, in words."""
    log = store.run(distillation.teacher, **teacher_of(p))
    error = log["test_error"].dropna().iloc[-1]
    return f"The teacher, a {TITLES[p.teacher]} in float32, has a test error of {error:.2f} %."


def notes(p: Combining) -> str:
    """What the asked parameters make meaningless or weak, as a Markdown list; empty if nothing."""
    said = []
    if len(p.seeds) < 2:
        said.append("one seed shows no noise: nothing about additivity can be told")
    if p.strength == 0:
        said.append("`strength` 0 leaves sparse networks without the L2 that empties them")
    if p.margin == 0:
        said.append("with `margin` 0 nothing can be called additive")
    total = specs.find(p.dataset).split["train"]
    if p.teacher_images is not None and p.teacher_images < total // 2:
        said.append(
            f"the teacher knows {p.teacher_images:,} of {total:,} images: it has little to teach"
        )
    if p.epochs < 3:
        said.append("trained for so few epochs, networks differ by how quickly they start")
    if set(p.devices) == {MACS}:
        said.append("`macs` is a count, no device: nothing is learnt about portability")
    return "\n".join(f"* {one}." for one in said)


def _factor(effect: float, half: float) -> str:
    low, high = 2 ** (effect - half), 2 ** (effect + half)
    return f"{2**effect:.3f}" + (f" ({low:.3f} to {high:.3f})" if half == half else "")
