"""Chapter 11: SYQ's granularities and codes, beside other methods, as Faraone 2021, chapter 5.

Ours are small networks on small images, the thesis' are AlexNet, VGG and ResNets on ImageNet. So no
accuracy of ours can match one of its; differences between methods can have the same sign, and the
loss against float32 the same order. The tables put both side by side and say which data set is
which; they give no verdict on numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from qbench import reference, store
from qbench.hardware import scaling
from qbench.models.small import TITLES
from qbench.parameters.syq import SymmetricScales
from qbench.syq import runs
from qbench.syq.networks import shapes

from .seeds import interval

FARAONE = "faraone2021"
#: Methods as tables show them.
METHODS = {
    "float32": "float32",
    "syq": "SYQ",
    "bwn": "BWN",
    "twn": "TWN",
    "ttq": "TTQ",
    "dorefa": "DoReFa",
}
#: Which weights share a scale; SYQ's is a parameter.
SCALED = {"bwn": "channel", "twn": "layer", "ttq": "asymmetric", "dorefa": "layer", "float32": ""}
WEIGHT_BITS = {"binary": 1, "ternary": 2}
CODES = {1: "binary", 2: "ternary", 32: "float32"}
KEYS = ["network", "method", "granularity", "weight_bits", "act_bits"]
#: The network here that stands for one of the thesis.
STANDS_FOR = {
    "AlexNet": "alexnet_small",
    "VGG": "vgg_small",
    "ResNet-18": "resnet20",
    "ResNet-34": "resnet20",
    "ResNet-50": "resnet20",
}
PRINTED = {"DoReFa-Net": "dorefa", "baseline": "float32"} | {
    title: name for name, title in METHODS.items() if name not in ("float32", "dorefa")
}


@dataclass(frozen=True)
class Cell:
    """One entry of a table and the parameters of its training."""

    network: str
    method: str
    granularity: str
    weight_bits: int
    act_bits: int
    seed: int
    spec: dict[str, Any] = field(repr=False)
    scale_gradient: str = "chain"


def cells(p: SymmetricScales) -> list[Cell]:
    """The trainings that a chapter with parameters `p` asks for.

    For every network and seed: float32 if it is among the methods; SYQ at each granularity, codes
    and activation bits; every other method at the same activation bits, DoReFa with 1 bit. With
    `pretrained`, all but float32 start from the float32 network of the same seed. What
    `more_networks` adds to `networks` is trained in float32 and with SYQ at the most activation
    bits, by the chain rule.
    """
    whole = [one for network in p.networks for seed in p.seeds for one in _cells(p, network, seed)]
    more = [network for network in p.more_networks or () if network not in p.networks]
    fewer = {"methods": [one for one in p.methods if one == "float32"], "printed_gradient": False}
    fewer = p.model_copy(update=fewer | {"act_bits": [max(p.act_bits)]})
    return whole + [
        one for network in more for seed in p.seeds for one in _cells(fewer, network, seed)
    ]


def _cells(p: SymmetricScales, network: str, seed: int) -> Iterator[Cell]:
    same = {
        "dataset": p.dataset,
        "network": network,
        "width": p.width,
        "epochs": p.epochs,
        "learning_rate": p.learning_rate,
        "batch_size": p.batch_size,
        "images": p.images,
        "seed": seed,
    }
    float32 = runs.complete(same | {"method": "float32"})
    start = {"start": float32} if p.pretrained else {}

    def cell(method: str, granularity: str | None, bits: int | None, acts: int, **more) -> Cell:
        spec = same | {"method": method, "granularity": granularity, "weight_bits": bits} | more
        spec = runs.complete(spec | {"act_bits": acts} | start)
        where = granularity or SCALED[method]
        gradient = spec["scale_gradient"]
        return Cell(network, method, where, spec["weight_bits"], acts, seed, spec, gradient)

    if "float32" in p.methods:
        yield Cell(network, "float32", "", 32, 32, seed, float32)
    for acts in p.act_bits:
        for codes in p.codes:
            for granularity in p.granularities:
                yield cell("syq", granularity, WEIGHT_BITS[codes], acts)
            if p.printed_gradient and acts == max(p.act_bits):
                first, bits = p.granularities[0], WEIGHT_BITS[codes]
                yield cell("syq", first, bits, acts, scale_gradient="printed")
        for method in p.methods:
            if method != "float32":
                yield cell(method, None, None, acts)


def table(p: SymmetricScales, *, title: str = "trainings") -> pd.DataFrame:
    """Train all that `p` asks for, or look it up: one row a training.

    Columns: `network`, `method`, `granularity` (as `hardware.scaling` calls it), `weight_codes`,
    `weight_bits`, `act_bits`, `scale_gradient`, `seed`, `train_loss` (nats, last epoch),
    `valid_error`, `test_error` (%), and over the layers whose weights are rounded, for one image,
    `scalars` and `operations` (Table 5.6; for float32 no scalars).
    """
    asked = cells(p)
    found = runs.trainings([one.spec for one in asked], at_once=p.workers, title=title)
    rows = []
    for one, log in zip(asked, found, strict=True):
        last = log.iloc[-1]
        names = ("network", "method", "granularity", "weight_bits", "act_bits", "scale_gradient")
        row = {name: getattr(one, name) for name in names}
        row |= {"weight_codes": CODES[one.weight_bits], "seed": one.seed}
        row |= {name: float(last[name]) for name in ("train_loss", "valid_error", "test_error")}
        rows.append(row | cost(p.dataset, one.network, p.width, one.granularity))
    columns = ["network", "method", "granularity", "weight_codes", "weight_bits", "act_bits"]
    columns += ["scale_gradient", "seed", "train_loss", "valid_error", "test_error"]
    return pd.DataFrame(rows, columns=[*columns, "scalars", "operations"])


def curves(p: SymmetricScales, *, title: str = "trainings") -> pd.DataFrame:
    """Figure 5.2: what SYQ learns epoch by epoch, a row each: `network`, `weight_codes`,
    `granularity`, `act_bits`, `seed`, `epoch` and `train_loss` (nats)."""
    asked = [one for one in cells(p) if one.method == "syq" and one.scale_gradient == "chain"]
    found = runs.trainings([one.spec for one in asked], at_once=p.workers, title=title)
    names = ("network", "granularity", "act_bits", "seed")
    parts = [
        log[["epoch", "train_loss"]].assign(
            weight_codes=CODES[one.weight_bits], **{name: getattr(one, name) for name in names}
        )
        for one, log in zip(asked, found, strict=True)
    ]
    columns = ["network", "weight_codes", "granularity", "act_bits", "seed", "epoch", "train_loss"]
    return pd.concat(parts, ignore_index=True)[columns]


def scales(p: SymmetricScales) -> pd.DataFrame:
    """What SYQ's scales became at the most activation bits: `runs.scales` of every such training.

    With `network`, `weight_codes`, `granularity` and `seed`. Needs the trained weights.
    """
    parts = [
        store.run(runs.scales, training=one.spec).assign(
            network=one.network,
            weight_codes=CODES[one.weight_bits],
            granularity=one.granularity,
            seed=one.seed,
        )
        for one in cells(p)
        if one.method == "syq" and one.scale_gradient == "chain" and one.act_bits == max(p.act_bits)
    ]
    return pd.concat(parts, ignore_index=True)


@cache
def cost(dataset: str, network: str, width: float, granularity: str) -> dict[str, int]:
    """Scalars and operations of Table 5.6, over all layers that are rounded, for one image.

    Fully connected layers have SYQ's single scale. granularity: as `hardware.scaling.cost`; "" is
    float32, without scalars.
    """
    with torch.random.fork_rng(devices=[]):
        model = runs.model_of({"dataset": dataset, "network": network, "width": width})
    total = {"scalars": 0, "operations": 0}
    for one in shapes(model, runs.channels(dataset)):
        scaled = "layer" if granularity in ("", "pixel", "row") and one.size == 1 else granularity
        found = scaling.cost(scaled or "layer", one.kernel, one.inputs, one.outputs, one.size)
        total["scalars"] += found.scalars if granularity else 0
        total["operations"] += found.operations
    return total


def accuracies(found: pd.DataFrame, scale_gradient: str = "chain") -> pd.DataFrame:
    """Test accuracies (%): a row for each of `KEYS`, a column a seed."""
    rows = found[found["scale_gradient"] == scale_gradient]
    rows = rows.assign(accuracy=100 - rows["test_error"])
    return rows.pivot_table(index=KEYS, columns="seed", values="accuracy")


def granularities(found: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Table 5.2 (AlexNet, ImageNet) beside ours: row- and layer-wise less pixel-wise, points.

    A row for each network, bits and granularity of ours: `network`, `dataset`, `weight_bits`,
    `act_bits`, `granularity`, `ours` (mean over seeds of top-1 differences), `half_width` of its 95
    % interval (NaN with one seed), `seeds`, `published` (top-1, NaN where not printed) and
    `same_sign` (NA where nothing is printed).
    """
    ours = accuracies(found)
    printed = printed_top1("table_5_2").set_index(["weight_bits", "act_bits", "granularity"])[
        "value"
    ]
    rows = []
    for network, method, granularity, weight_bits, act_bits in ours.index:
        pixel = (network, "syq", "pixel", weight_bits, act_bits)
        if method != "syq" or granularity == "pixel" or pixel not in ours.index:
            continue
        one = ours.loc[(network, "syq", granularity, weight_bits, act_bits)] - ours.loc[pixel]
        mean, half = interval(one.dropna())
        there = float(printed.get((weight_bits, act_bits, granularity), np.nan))
        rows.append(
            {
                "network": TITLES[network],
                "dataset": dataset,
                "weight_bits": weight_bits,
                "act_bits": act_bits,
                "granularity": granularity,
                "ours": mean,
                "half_width": half,
                "seeds": int(one.notna().sum()),
                "published": there,
                "same_sign": pd.NA if np.isnan(there) else bool(np.sign(mean) == np.sign(there)),
            }
        )
    columns = ["network", "dataset", "weight_bits", "act_bits", "granularity", "ours"]
    columns += ["half_width", "seeds", "published", "same_sign"]
    return pd.DataFrame(rows, columns=columns)


def methods(
    found: pd.DataFrame, dataset: str, tables: Sequence[str] = ("5_3", "5_4", "5_5")
) -> pd.DataFrame:
    """Tables 5.3 to 5.5 (ImageNet, top-1) beside ours, a row a printed accuracy.

    Columns: `where`, `network` (the thesis'), `ours_network`, `ours_dataset`, `method`,
    `weight_bits`, `act_bits`, `published` and `ours` (%, mean over seeds), `half_width` of its 95 %
    interval, and what each loses against its own float32: `published_loss` (baseline of Table 5.1)
    and `ours_loss`, points. What was not trained is NaN. SYQ is pixel-wise.
    """
    ours = accuracies(found)
    baselines = printed_top1("table_5_1")
    baselines = baselines[baselines["method"] == "baseline"].set_index("network")["value"]
    rows = []
    for row in pd.concat([printed_top1(f"table_{name}") for name in tables]).to_dict("records"):
        network, method = STANDS_FOR[row["network"]], PRINTED.get(row["method"], "")
        where = "pixel" if method == "syq" else SCALED.get(method)
        key = (network, method, where, row["weight_bits"], row["act_bits"])
        one = ours.loc[key].dropna() if key in ours.index else pd.Series(dtype=float)
        mean, half = interval(one) if len(one) else (np.nan, np.nan)
        base = (network, "float32", "", 32, 32)
        lost = (ours.loc[base] - one).mean() if len(one) and base in ours.index else np.nan
        rows.append(
            {
                "where": row["where"],
                "network": row["network"],
                "ours_network": TITLES[network],
                "ours_dataset": dataset,
                "method": row["method"],
                "weight_bits": row["weight_bits"],
                "act_bits": row["act_bits"],
                "published": row["value"],
                "ours": mean,
                "half_width": half,
                "published_loss": baselines[row["network"]] - row["value"],
                "ours_loss": lost,
            }
        )
    return pd.DataFrame(rows)


def printed_top1(name: str) -> pd.DataFrame:
    """The top-1 accuracies of a table of the thesis, a row each, as `reference.load`."""
    found = reference.load(FARAONE, name)
    return found[(found["metric"] == "top1") & found["value"].notna()]
