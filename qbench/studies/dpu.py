"""The DPU of Vailakis 2022 by model and as measured: Tables 6.4 to 6.10 and 7.1 to 7.3."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import pandas as pd

from qbench import reference
from qbench.hardware import HardwareError, dpu, dpu_speed, layers_of
from qbench.hardware.dpu import Dpu, Options
from qbench.hardware.layers import Layer

VAILAKIS = "vailakis2022"
TABLES = {"DenseNet-21": "table_7_1", "DenseNet-37": "table_7_2", "DenseNet-63": "table_7_3"}
NETWORKS = (*TABLES, "DenseNet-121", "DenseNet-201")
CLASSES = 100  # the thesis measures speed with CIFAR-100's models (Section 7.2)
ERRATUM = ("B512", "operations_per_cycle")
ROUNDED = "of a number printed with two decimals"

# What a model of the multipliers alone leaves out.
WHY = (
    "the model counts the cycles of the multipliers alone: no data transfers, instructions or "
    "pooling, nor the script and the driver that hand over each image"
)


def thesis() -> Dpu:
    """The measured design: three B4096 cores at 300 MHz on a ZCU102 (Section 6.3, Table 6.10).

    Xilinx gives 281 MHz for such a design (UG1354), at which all of the model's times are 6.8 %
    longer.
    """
    return Dpu("B4096", 3)


@cache
def layers(network: str) -> tuple[Layer, ...]:
    """The convolutions and the classifier of a DenseNet, modified as Section 6.1 has it, at 8 bits.

    Raises `HardwareError` for a network that is not in `NETWORKS`.
    """
    if network not in NETWORKS:
        raise HardwareError(f"network must be one of {', '.join(NETWORKS)}, not {network!r}.")
    import torch

    from qbench.models import densenet

    blocks = densenet.BLOCKS[network.replace("-", "").lower()]
    with torch.device("meta"):  # shapes are enough
        model = densenet.densenet(blocks, CLASSES, form="modified")
    return layers_of(model, input_shape=(3, 32, 32), float_bits=dpu_speed.BITS)


def speeds(
    on: Dpu | None = None, networks: Iterable[str] = NETWORKS, **options: str
) -> pd.DataFrame:
    """One row a network: `network`, `layers`, and `dpu_speed.Speed`; by default of `thesis()`.

    `options` are `pixels` and `memory` of `dpu_speed.performance`, which says what is refused.
    """
    on = on or thesis()
    rows = [
        {"network": name, "layers": len(layers(name))}
        | vars(dpu_speed.performance(layers(name), on, **options))
        for name in networks
    ]
    return pd.DataFrame(rows)


def measured() -> pd.DataFrame:
    """Tables 7.1 to 7.3, what was measured on the DPU or follows from it: 12 rows.

    `throughput` (images/s), `latency` (ms), `energy_per_image` (mJ) at either operating point.
    """
    found = pd.concat([reference.load(VAILAKIS, table) for table in TABLES.values()])
    what = ["throughput", "latency", "energy_per_image"]
    found = found[(found["platform"] == "DPU") & found["quantity"].isin(what)]
    return found.assign(value=found["value"].astype(float)).reset_index(drop=True)


def power() -> float:
    """The power of the design, W (Table 6.10)."""
    return _utilisation()["power_consumption"]


def compared(**options: str) -> pd.DataFrame:
    """The twelve published figures beside the model's: rows of `reference.compare` and `error`.

    Latency is that of one core, throughput that of three, energy power × time (equation 7.4).
    `error` is ours over published, less 1, in %. `options` as in `speeds`.
    """
    rows = []
    for one in speeds(networks=TABLES, **options).itertuples():
        values = {
            ("best_latency", "latency"): one.latency_ms,
            ("best_throughput", "throughput"): one.images_per_second,
            ("best_latency", "energy_per_image"): power() * one.latency_ms,
            ("best_throughput", "energy_per_image"): 1e3 * power() / one.images_per_second,
        }
        for (point, quantity), value in values.items():
            row = {"network": one.network, "operating_point": point, "quantity": quantity}
            rows.append(row | {"value": value})
    on = ["network", "operating_point", "quantity"]
    table = reference.compare(measured(), pd.DataFrame(rows), on=on, tolerance=0.005, why=ROUNDED)
    table["error"] = 100 * (table["ours"] / table["published"] - 1)
    return table.assign(why=table["why"].mask(table["verdict"] == "differs", WHY))


def unexplained() -> pd.DataFrame:
    """What the model leaves open of the measured latencies and throughputs, a row a network.

    - `measured_ms`; `multipliers_ms` of the model; `ports_ms` more if the inputs, weights and
      outputs of every layer went through the data ports while the multipliers wait;
    - `left_ms` is measured less multipliers, `left_share` its part in %, `left_us_a_layer` in µs;
    - `left_with_ports_ms` is left when the ports are taken off too;
    - `busy_cores` is latency × throughput: how many cores that each take the best latency for an
      image would give the best throughput; there are three.
    """
    found = measured().set_index(["network", "quantity", "operating_point"])["value"]
    rows = []
    both = (speeds(networks=TABLES), speeds(networks=TABLES, memory="in turn"))
    for array, turns in zip(*(one.itertuples() for one in both), strict=True):
        latency = found[array.network, "latency", "best_latency"]
        throughput = found[array.network, "throughput", "best_throughput"]
        left = latency - array.latency_ms
        rows.append(
            {
                "network": array.network,
                "layers": array.layers,
                "measured_ms": latency,
                "multipliers_ms": array.latency_ms,
                "ports_ms": turns.latency_ms - array.latency_ms,
                "left_ms": left,
                "left_share": 100 * left / latency,
                "left_us_a_layer": 1e3 * left / array.layers,
                "left_with_ports_ms": latency - turns.latency_ms,
                "busy_cores": latency * throughput / 1e3,
            }
        )
    return pd.DataFrame(rows)


def resources() -> pd.DataFrame:
    """Every entry of Tables 6.4 to 6.9 that follows from the parallelism, with its verdict.

    `where`, `architecture`, `quantity`, `published`, `ours`, `verdict`, `why`. LUTs and registers
    of the same tables are missing: no rule that we know gives them, they are read from the tables.
    """
    slips = reference.errata(VAILAKIS).set_index("erratum")["arithmetic"]
    rows = []
    for name in dpu.names():
        one, core = dpu.architecture(name), dpu.structure(name)
        no_depthwise = dpu.structure(name, Options(depthwise=False))
        high = dpu.structure(name, Options(ram_usage="high", dsp_usage="high"))
        ours = {
            ("table_6_4", "operations_per_cycle", ""): one.operations,
            ("table_6_4", "bram", ""): core["bram18"] / 2,
            ("table_6_4", "dsp", ""): core["dsp"],
            ("table_6_5", "bram", "low"): core["bram18"] / 2,
            ("table_6_5", "bram", "high"): high["bram18"] / 2,
            ("table_6_7", "extra_bram", ""): (core["bram18"] - no_depthwise["bram18"]) / 2,
            ("table_6_7", "extra_dsp", ""): core["dsp"] - no_depthwise["dsp"],
            ("table_6_9", "extra_dsp", ""): core["dsp"] - high["dsp"],
        }
        for (table, quantity, usage), value in ours.items():
            rows.append(_entry(table, name, quantity, usage, value, slips))
    return pd.DataFrame(rows)


def utilisation() -> pd.DataFrame:
    """Table 6.10: what share of a ZCU102 three cores take, in %, without and with softmax.

    `quantity`, `published`, `ours`, `verdict`, `why`, `with_softmax`. The block RAMs of the device
    are printed as 32.1 Mb, which may be 911 to 915 of 36 kbit.
    """
    from qbench.hardware import fit

    printed, design = _utilisation(), thesis()
    ours = fit(design.resources, design.device).shares
    more = fit(dpu.resources("B4096", 3, Options(softmax=True)), design.device).shares
    megabits = reference.load(VAILAKIS, "table_4_3").set_index("quantity")["value"]
    unsure = 0.05 / float(megabits["total_block_ram"])
    rows = []
    for quantity, name in (("lut", "lut"), ("bram", "bram18"), ("dsp", "dsp")):
        share = 100 * ours[name]
        rounding = 0.005 + (share * unsure if quantity == "bram" else 0)
        why = "the device's block RAM is printed as 32.1 Mb" if quantity == "bram" else ROUNDED
        of = {"source": VAILAKIS, "where": "Table 6.10", "quantity": quantity}
        said = reference.verdict(printed[quantity], share, tolerance=rounding, why=why, of=of)
        row = {"quantity": quantity, "published": printed[quantity], "ours": share}
        rows.append(row | {"verdict": said, "why": why, "with_softmax": 100 * more[name]})
    return pd.DataFrame(rows)


def claims() -> pd.DataFrame:
    """Claims of Section 6.3 and 8.2.3 that resources decide: rows of `reference.claim`."""
    most = dpu.most_cores("B4096")
    bare = Options(channel_augmentation=False, depthwise=False, average_pool=False)
    four = dpu.resources("B4096", 4, bare).bram18 // 2
    have = thesis().device.bram18 // 2
    dsps = utilisation().set_index("quantity").loc["dsp"]
    rows: list[dict[str, Any]] = [
        reference.claim_value(VAILAKIS, "implemented_dpu_cores", most),
        reference.claim(
            VAILAKIS,
            "customised_dpu_could_hold_more_cores",
            holds=dpu.most_cores("B4096", options=bare) > most,
            ours=f"four B4096 cores without any option need {four} of {have} block RAMs",
            why="block RAM runs out first, and options take little of it",
        ),
        reference.claim(
            VAILAKIS,
            "implemented_dpu_features",
            holds=None,
            ours=f"{dsps['with_softmax']:.2f} % of the DSPs with softmax, {dsps['ours']:.2f} % "
            f"without, {dsps['published']:.2f} % printed",
            why="the printed utilisation is three times Table 6.4, which has no softmax, and "
            "tells nothing of the design",
        ),
    ]
    return pd.DataFrame(rows)


@cache
def _utilisation() -> dict[str, float]:
    found = reference.load(VAILAKIS, "table_6_10")
    return found.set_index("quantity")["value"].astype(float).to_dict()


@cache
def _load(table: str) -> pd.DataFrame:
    return reference.load(VAILAKIS, table)


def _entry(
    table: str, name: str, quantity: str, usage: str, ours: float, slips: pd.Series
) -> dict[str, Any]:
    rows = _load(table)
    rows = rows[(rows["architecture"] == name) & (rows["quantity"] == quantity)]
    if usage:
        rows = rows[rows["ram_usage"] == usage]
    published = float(rows["value"].item())
    slip = slips["b512_operations_per_cycle"] if (name, quantity) == ERRATUM else ""
    said = reference.verdict(published, ours, erratum=slip, of=rows.iloc[0])
    return {
        "where": rows["where"].item(),
        "architecture": name,
        "quantity": f"{quantity}, {usage} RAM usage" if usage else quantity,
        "published": published,
        "ours": ours,
        "verdict": said,
        "why": {"erratum": slip, "differs": "half a block more than whole banks"}.get(said, ""),
    }
