"""Chapter 14: claims of Vailakis 2022, chapter 7, as predicates on what was measured.

The DPU is the thesis' own, as printed, and a model's number is said to be one; what only a GPU
could tell needs hardware. Claims that the thesis' own tables refute keep the verdict erratum.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from qbench import reference
from qbench.parameters import Devices

from .devices import Found, title
from .devices_tables import (
    MODEL,
    PRINTED,
    TABLES,
    VAILAKIS,
    best,
    comparison,
    of_group,
    plain_beside_ours,
)

CPU, FLOAT, INT, GPU = "CPU, PyTorch eager", "CPU, best float32", "QCPU, best int8", "GPU, best"
MEANT = {CPU: "plain PyTorch", INT: "best int8"}  # of which a claim about batches is judged
NO_GPU = "no GPU was measured"
OTHER = "another processor, other libraries than the thesis'"
UP_TO = 2.83  # Table 7.2: the highest throughput speed-up of 8 bits that the thesis measured


def claims(found: Found, p: Devices) -> pd.DataFrame:
    """A row for each claim: `where`, `claim`, `ours`, `verdict`, `why`."""
    slips = reference.errata(VAILAKIS).set_index("erratum")["arithmetic"].to_dict()
    tables = {
        name: comparison(found, name, p).set_index(["whose", "platform"])
        for name in found.speeds["network"].unique()
    }
    rows = [
        *_of_the_dpu(tables, slips),
        *_of_quantised(tables, slips),
        *_of_batches(found, p),
        *_of_sizes(found),
        *_of_the_gpu(tables),
    ]
    return pd.DataFrame(rows, columns=["where", "claim", "ours", "verdict", "why"])


def beside_tables(found: Found, p: Devices) -> pd.DataFrame:
    """The quantised CPU's and the DPU's speed-ups, printed and ours: with verdicts.

    A speed-up depends on two machines, so agreement to the digit is not to be expected: `trend`
    says that both are on the same side of 1.
    """
    rows = []
    for name in found.speeds["network"].unique():
        if name not in TABLES:
            continue
        table = comparison(found, name, p).set_index(["whose", "platform"])
        for platform, ours in (("QCPU", ("measured", INT)), ("DPU", ("printed", PRINTED))):
            for column in ("throughput speed-up", "latency speed-up", "efficiency, best latency"):
                printed, value = table.loc[("thesis", platform), column], table.loc[ours, column]
                if math.isnan(value):
                    continue
                same = (printed > 1) == (value > 1)
                rows.append(
                    {
                        "network": title(name),
                        "platform": platform if platform == "QCPU" else PRINTED,
                        "quantity": column,
                        "published": printed,
                        "ours": value,
                        "verdict": "trend" if same else "differs",
                        "why": "" if same else OTHER,
                    }
                )
    return pd.DataFrame(rows)


def _of_the_dpu(tables: Mapping[str, pd.DataFrame], slips: Mapping[str, str]) -> list:
    """Nine times the latency, four times the efficiency: the thesis' DPU beside our platforms.

    Its printed figures decide where there are any: the model is too quick by its own error.
    """
    speed_ups, gains, model = {}, {}, {}
    for name, table in tables.items():
        measured = table.loc["measured"]
        whose = ("printed", PRINTED) if ("printed", PRINTED) in table.index else ("model", MODEL)
        quickest = measured["latency (ms)"].min()
        speed_ups[name] = quickest / table.loc[whose, "latency (ms)"]
        model[name] = quickest / table.loc[("model", MODEL), "latency (ms)"]
        least = measured[["mJ/image, best latency", "mJ/image, best throughput"]].min()
        gains[name] = (least / table.loc[whose, least.index].astype(float)).min()
    words = _listed(speed_ups, "{:.1f}×") + " over the quickest platform measured; by the model "
    words += _listed(model, "{:.0f}×")
    rows = [
        reference.claim(
            VAILAKIS,
            "dpu_latency_speedup_minimum",
            holds=min(speed_ups.values()) >= 9,
            ours=words,
            why=OTHER,
            erratum=slips["abstract_latency_speedup_minimum"],
        )
    ]
    if "densenet21" in speed_ups:
        rows.append(
            reference.claim(
                VAILAKIS,
                "dpu_latency_speedup_densenet_21",
                holds=speed_ups["densenet21"] > 9,
                ours=f"{speed_ups['densenet21']:.1f}×; by the model {model['densenet21']:.0f}×",
                why=OTHER,
            )
        )
    known = {name: gain for name, gain in gains.items() if not math.isnan(gain)}
    said = "no energy is measured here, and no power was stated (-p watts)"
    if known:
        said = _listed(known, "{:.1f}× less") + " than the thriftiest platform measured"
    rows.append(
        reference.claim(
            VAILAKIS,
            "dpu_power_efficiency_minimum",
            holds=bool(known) and min(known.values()) >= 4,
            ours=said,
            why=OTHER,
            erratum=slips["abstract_power_efficiency_minimum"],
        )
    )
    rows.append(
        reference.claim(
            VAILAKIS,
            "dpu_has_best_energy",
            holds=min(known.values()) > 1 if known else None,
            ours=said,
            why=OTHER if known else "it takes RAPL or a stated power",
        )
    )
    return rows


def _of_quantised(tables: Mapping[str, pd.DataFrame], slips: Mapping[str, str]) -> list:
    """What 8 bits bring on the processor, beside the best float32 there."""
    rates, times = {}, {}
    for name, table in tables.items():
        whole, plain = table.loc[("measured", INT)], table.loc[("measured", FLOAT)]
        rates[name] = whole["images/s"] / plain["images/s"]
        times[name] = plain["latency (ms)"] / whole["latency (ms)"]
    if any(math.isnan(value) for value in rates.values()):
        missing = "; ".join(table.loc[("measured", INT), "how"] for table in tables.values())
        return [
            reference.claim(
                VAILAKIS,
                name,
                holds=None,
                ours="no int8 was measured",
                why=missing or "int8 was not asked for",
            )
            for name in ("qcpu_throughput_speedup", "qcpu_latency_improves_slightly")
        ]
    return [
        reference.claim(
            VAILAKIS,
            "qcpu_throughput_speedup",
            holds=max(rates.values()) >= UP_TO,
            ours=_listed(rates, "{:.2f}× over the best float32"),
            erratum=slips["qcpu_throughput_speedup"],
        ),
        reference.claim(
            VAILAKIS,
            "qcpu_latency_improves_slightly",
            holds=all(1 < value < 1.5 for value in times.values()),
            ours=_listed(times, "{:.2f}× over the best float32"),
            erratum=slips["qcpu_latency_direction"],
        ),
    ]


def _of_batches(found: Found, p: Devices) -> list:
    """Where throughput peaks, of float32 in plain PyTorch and of int8."""
    rows = []
    peaks: dict[str, dict[str, int]] = {CPU: {}, INT: {}}
    least: dict[str, list[bool]] = {CPU: [], INT: []}
    for name, speeds in found.speeds.groupby("network", sort=False):
        for group in peaks:
            quick, many = best(of_group(speeds, group))
            if many is None or quick is None:
                continue
            peaks[group][name] = int(many["batch"])
            mine = of_group(speeds, group)
            by_batch = mine.groupby("batch")["ms"].min()
            least[group].append(bool(by_batch.idxmin() == 1))
    wide = max(p.batches) > 128
    for group, claim in ((CPU, "cpu_best_latency_batch"), (INT, "qcpu_best_latency_batch")):
        if least[group] and len(p.batches) > 1:
            rows.append(
                reference.claim(
                    VAILAKIS,
                    claim,
                    holds=all(least[group]),
                    ours=f"{MEANT[group]}: least with one image for "
                    f"{sum(least[group])} of {len(least[group])} networks",
                    why=OTHER,
                )
            )
    few = f"batches end at {max(p.batches)}"
    if peaks[CPU]:
        words = f"{MEANT[CPU]}: {_listed(peaks[CPU], 'batch {}')}"
        for claim, holds in (
            ("cpu_best_throughput_batch_minimum", min(peaks[CPU].values()) >= 8),
            ("cpu_best_throughput_batch_maximum", max(peaks[CPU].values()) <= 32),
        ):
            rows.append(
                reference.claim(
                    VAILAKIS, claim, holds=holds if wide else None, ours=words,
                    why=OTHER if wide else few,
                )
            )  # fmt: skip
    if peaks[INT]:
        rows.append(
            reference.claim(
                VAILAKIS,
                "qcpu_best_throughput_batch_minimum",
                holds=min(peaks[INT].values()) > 128 if wide else None,
                ours=f"{MEANT[INT]}: {_listed(peaks[INT], 'batch {}')}",
                why=OTHER if wide else few,
            )
        )
    return rows


def _of_sizes(found: Found) -> list:
    """Larger networks are slower, on every platform measured."""
    table = plain_beside_ours(found)
    if len(table) < 2:
        return []
    columns = ["PyTorch eager (images/s)", "best float32 (images/s)", "best int8 (images/s)"]
    falls = [column for column in columns if table[column].notna().all()]
    order = table["network"].str.extract(r"(\d+)")[0].astype(int).sort_values().index
    holds = all(table.loc[order, column].is_monotonic_decreasing for column in falls)
    words = ", ".join(f"{row.network} {row._2:.0f}" for row in table.itertuples(index=False))
    return [
        reference.claim(
            VAILAKIS,
            "larger_models_hinder_all_platforms",
            holds=holds,
            ours=f"best float32, images/s: {words}",
            why=OTHER,
        )
    ]


def _of_the_gpu(tables: Mapping[str, pd.DataFrame]) -> list:
    """What only a GPU can tell."""
    if "densenet21" not in tables:
        return []
    table = tables["densenet21"]
    gpu = table.loc[("measured", GPU)]
    here = not math.isnan(gpu["images/s"])
    others = table.loc["measured"].drop(GPU)
    why = OTHER if here else f"{NO_GPU}: {gpu['how']}"
    rate, time = gpu["images/s"], gpu["latency (ms)"]
    first = bool(rate > others["images/s"].max() and rate > table.loc[("model", MODEL), "images/s"])
    later = bool(time > others.loc[CPU, "latency (ms)"])
    said = f"GPU {rate:,.0f} images/s and {time:.2f} ms" if here else "nothing measured"
    return [
        reference.claim(VAILAKIS, name, holds=holds if here else None, ours=said, why=why)
        for name, holds in (
            ("gpu_has_best_throughput_densenet_21", first),
            ("cpu_and_dpu_beat_gpu_latency_densenet_21", later),
        )
    ]


def _listed(values: Mapping[str, Any], words: str) -> str:
    return ", ".join(f"{title(name)} {words.format(value)}" for name, value in values.items())
