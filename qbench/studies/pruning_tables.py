"""Chapter 13: Tables 4.1 to 4.4 and Figures 4.6 and 4.7 of Faraone 2021, computed.

AlexNet and TinyYolo are on ImageNet and PASCAL VOC, which are not here: no accuracy of theirs, but
what follows from their shapes. Ours are rounded as the printed numbers are before they are
compared, so that `exact` means to the printed digit.
"""

from collections.abc import Sequence
from functools import cache
from math import floor
from typing import Any

import pandas as pd

from qbench import reference
from qbench.hardware import Device, device
from qbench.pruning import resources, strategies
from qbench.pruning.shapes import Network, published, without_connected

FARAONE = "faraone2021"
DEVICE = "KU115"
MEGA = 1e6
#: Layers that section 4.7.1.1 prunes.
PRUNED = {"AlexNet": ("Conv1", "Conv2", "Conv3"), "TinyYolo": ("Conv7", "Conv8")}
#: Entries that contradict the publication: (table, network or variant, layer or quantity).
SLIPS = {
    ("AlexNet", "Conv5", "feature_map"): "conv5_feature_map",
    **{("TinyYolo", f"Conv{n}", "feature_map"): "feature_map_padding" for n in range(1, 9)},
    ("AlexNet", "Pruned-30%", "bram_utilisation"): "bram_utilisation_pruned_30",
    ("AlexNet", "Pruned-40%", "lut_utilisation"): "lut_utilisation_pruned_40",
    ("AlexNet", "Pruned-40%", "dsp_utilisation"): "dsp_utilisation_pruned_40",
    ("AlexNet", "Pruned-40%", "bram_utilisation"): "bram_utilisation_pruned_40",
    ("AlexNet", "Pruned-30%", "throughput_per_klut"): "fps_per_klut_pruned_30",
    ("AlexNet", "Pruned-40%", "throughput_per_klut"): "fps_per_klut_pruned_40",
    ("AlexNet", "Pruned-40%", "throughput_per_bram"): "fps_per_bram_pruned_40",
}
CUT = "the last digit: printed cut off, not rounded"
MEMORY = "the thesis does not say how it counts memory; ours: bits of the weights and of the inputs"


def shares(name: str) -> pd.DataFrame:
    """Table 4.1 ("AlexNet") or 4.2 ("TinyYolo") recomputed: a row a printed number.

    Columns: `layer`, `quantity` (`kernel`, `filters`, with an asterisk in the table those of each
    of two groups, `feature_map`: side of the output, `operations_share` and `memory_share` in %),
    `published`, `ours`, `unit`, `verdict` and `why`: the arithmetic of an erratum, or what a
    difference is thought to come from.
    """
    network = published(name)
    table = "table_4_1" if name == "AlexNet" else "table_4_2"
    printed = reference.load(FARAONE, table)
    starred = set(printed.loc[printed["printed"].str.endswith("*"), "layer"])  # a group each
    found = resources.shares(network).set_index("layer")
    rows = []
    for one, (layer, group) in zip(network.layers, network.units().items(), strict=True):
        window = group[0].window
        ours = {
            "kernel": one.kernel,
            "filters": one.filters // (one.groups if layer in starred else 1),
            "feature_map": window.out_size if window else 1,
            "operations_share": found.loc[layer, "operations_share"],
            "memory_share": found.loc[layer, "memory_share"],
        }
        rows += [{"layer": layer, "quantity": part, "value": value} for part, value in ours.items()]
    return _beside(printed, pd.DataFrame(rows), ["layer", "quantity"], name)


def implementations() -> pd.DataFrame:
    """What follows from Tables 4.3 and 4.4 themselves: utilisation, and images/s a kLUT and a BRAM.

    Columns as `shares`, with `where`, `network` and `variant` instead of `layer`.
    """
    parts = []
    for table in ("table_4_3", "table_4_4"):
        printed = reference.load(FARAONE, table)
        printed = printed[printed["value"].notna()]
        there = device(DEVICE)
        rows = []
        groups = printed.groupby(["network", "variant"], sort=False)
        for (network, variant), group in groups:
            what = group.set_index("quantity")["value"].astype(float)
            rows += [
                {"network": network, "variant": variant, "quantity": quantity, "value": value}
                for quantity, value in _derived(what, there).items()
            ]
        on = ["network", "variant", "quantity"]
        part = _beside(printed, pd.DataFrame(rows), on)
        parts.append(part.assign(where=printed["where"].iloc[0]))
    found = pd.concat(parts, ignore_index=True)
    return found[["where", *found.columns.drop("where")]]


def _derived(what: pd.Series, there: Device) -> dict[str, float]:
    """Utilisation (%), and images/s by kLUT and by BRAM, as far as printed, of printed numbers."""
    of = {"lut": there.lut, "dsp": there.dsp, "bram": there.bram18}
    found = {f"{part}_utilisation": 100 * what[part] / of[part] for part in of if part in what}
    if "throughput" in what:
        found["throughput_per_klut"] = 1000 * what["throughput"] / what["lut"]
        found["throughput_per_bram"] = what["throughput"] / what["bram"]
    return {name: value for name, value in found.items() if name in what}


def networks(name: str, variant: str) -> dict[str, int]:
    """Filters by layer of a variant of Table 4.3, {} for "Original".

    AlexNet has lost 30 or 40 % of the filters of its first three layers; of its first layer 60 are
    left at 40 % (section 4.7.1.1), the other numbers are not printed. TinyYolo has lost 50 % of the
    last two layers of one bit, and twice as many in its second.
    """
    if variant == "Original":
        return {}
    network = published(name)
    steps = int(variant.removeprefix("Pruned-").removesuffix("%")) // 10
    plan = strategies.plan("even", network, iterations=steps, layers=PRUNED[name])
    counts = {layer: plan[-1][layer] for layer in PRUNED[name]}
    if name == "AlexNet" and steps == 4:
        counts["Conv1"] = 60
    return counts | ({"Conv2": 64} if name == "TinyYolo" else {})


@cache
def designs() -> pd.DataFrame:
    """Every implementation of Tables 4.3 and 4.4 beside our estimate at its cycles a frame.

    Columns: `where`, `network`, `variant`, `cycles` (clock by images/s, as printed), `products`
    (products a cycle of the first layer that this takes), and for each of `lut`, `bram`, `dsp`
    printed, `ours_lut`, `ours_bram`, `ours_dsp`. Ours have no FIFOs, pooling and DMA, and every
    layer the folding with the fewest LUTs; fully connected layers of AlexNet are on the host.
    """
    rows = []
    for table in ("table_4_3", "table_4_4"):
        printed = reference.load(FARAONE, table)
        printed = printed[printed["variant"] != "Available"]
        for (name, variant), group in printed.groupby(["network", "variant"], sort=False):
            if table == "table_4_4" and variant == "Original":
                continue  # as in Table 4.3
            value = group.set_index("quantity")["value"].astype(float)
            cycles = value["frequency"] * MEGA / value["throughput"]
            network, counts = without_connected(published(name)), networks(name, variant)
            made = resources.design(network, counts, interval=int(cycles))
            first = next(iter(made.units.values()))[0].layer
            row = {"where": group["where"].iloc[0], "network": name, "variant": variant}
            row |= {"cycles": cycles, "products": resources.operations(first) / cycles}
            for part, ours in (("lut", "lut"), ("bram", "bram18"), ("dsp", "dsp")):
                row |= {part: value[part], f"ours_{part}": getattr(made.cost, ours)}
            rows.append(row)
    return pd.DataFrame(rows)


def costs(
    network: Network, counts: dict[str, int] | None, interval: int, *, mmv: bool = True
) -> dict[str, Any]:
    """A network's `filters`, `operations`, and what it takes at so many cycles a frame.

    `bram_thesis` are block RAMs by eq. 4.7 with that reuse, `bram18`, `lut` and `dsp` those of the
    design with the fewest LUTs.
    """
    units = network.units(counts)
    made = resources.design(network, counts, interval=interval, mmv=mmv).cost
    full = network.counted(counts)
    return {
        "filters": sum(full[name] for name in network.filters),
        "operations": sum(resources.operations(one) for group in units.values() for one in group),
        "bram_thesis": sum(resources.memory(network, counts, reuse=interval).values()),
        "bram18": made.bram18,
        "lut": made.lut,
        "dsp": made.dsp,
    }


@cache
def compared(
    name: str,
    *,
    iterations: int = 4,
    rate: float = strategies.RATE,
    most: float = 0.5,
    chosen: tuple[str, ...] = ("even", "resource-aware"),
) -> pd.DataFrame:
    """Figures 4.6 and 4.7 as far as shapes decide them: a row a strategy and pruning.

    Columns: `network`, `strategy`, `pruned` (% of the convolutions' filters), `costs` at the cycles
    a frame of the unpruned network's quickest design on the KU115, and `interval`, the cycles of
    the quickest design of this one. At the same number of filters: how many each strategy may take
    at the same accuracy, only training tells, and so what the layers' sensitivities are.
    """
    network = without_connected(published(name))
    fixed = resources.quickest(network, on=DEVICE).interval
    first = sum(network.filters[layer] for layer in network.prunable)
    rows = []
    for strategy in chosen:
        how = {"iterations": iterations, "rate": rate, "most": most, "on": DEVICE}
        plan = strategies.plan(strategy, network, **how)
        for counts in [network.filters, *plan]:
            lost = sum(network.filters[layer] - counts[layer] for layer in network.prunable)
            row = {"network": name, "strategy": strategy, "pruned": 100 * lost / first}
            quick = resources.quickest(network, counts, on=DEVICE).interval
            rows.append(row | costs(network, counts, fixed) | {"interval": quick})
    return pd.DataFrame(rows)


def chosen_layers(name: str, *, iterations: int = 2, most: float = 0.5) -> list[str]:
    """The layers that resource-aware pruning takes filters from first."""
    network = without_connected(published(name))
    plan = strategies.plan("resource-aware", network, iterations=iterations, most=most, on=DEVICE)
    return [layer for layer in network.prunable if plan[-1][layer] < network.filters[layer]]


def _beside(
    printed: pd.DataFrame, ours: pd.DataFrame, on: Sequence[str], network: str = ""
) -> pd.DataFrame:
    """As `reference.compare`, ours rounded as printed; what differs in memory says why."""
    both = printed.merge(ours, on=list(on), suffixes=("", "_ours"))
    both = both[both["value"].notna() & both["value_ours"].notna()]
    arithmetic = reference.errata(FARAONE).set_index("erratum")["arithmetic"]
    rows = []
    for row in both.to_dict("records"):
        name = row.get("network", network) or network
        slip = SLIPS.get((name, row.get("layer", row.get("variant")), row["quantity"]), "")
        digits = row["printed"].split(" ")[-1].strip("%*")
        decimals = len(digits.partition(".")[2])
        mine = round(float(row["value_ours"]), decimals)
        cut = floor(float(row["value_ours"]) * 10**decimals) / 10**decimals
        why = {"erratum": arithmetic[slip]} if slip else {}
        if not slip and cut == float(row["value"]) != mine:
            why = {"tolerance": 1.01 * 10**-decimals, "why": CUT}
        said = reference.verdict(float(row["value"]), mine, **why, of=row)
        reason = {"erratum": why.get("erratum"), "matches": CUT}.get(said, "")
        if said == "differs" and row["quantity"] == "memory_share":
            reason = MEMORY
        rows.append(
            {column: row[column] for column in on}
            | {"published": float(row["value"]), "ours": mine, "unit": row["unit"]}
            | {"verdict": said, "why": reason}
        )
    return pd.DataFrame(rows)
