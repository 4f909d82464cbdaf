"""Chapter 15: its figures and tables in the words of a reader."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from qbench import hardware, plots
from qbench.hardware import MEASURED_OVERHEAD
from qbench.parameters import Comparison

from .comparison import COSTS, TITLES, contributions, front, left_out, methods, on_front
from .comparison_claims import SWEEP, compromises
from .comparison_costs import FLOAT, operation
from .comparison_networks import MIXED
from .seeds import plus_minus
from .words import counted
from .words import dataset as written

KILO, MICRO = 1e3, 1e-6
SHOWN = {"memory": KILO, "energy": MICRO}  # bytes in kB, joules in µJ


def labels(p: Comparison) -> dict[str, str]:
    """What a reader calls the columns, with their units."""
    service = f"{p.real_time:g} frames/s"
    return {
        "accuracy": "Test accuracy (%)",
        "method": "Method",
        "throughput": "Throughput, each on its device (frames/s)",
        "lut": f"LUTs of the smallest design with {service}",
        "bram18": f"BRAM18 of the smallest design with {service}",
        "memory": "Memory of the weights (kB)",
        "energy": "Energy of an image's operations, by a model (µJ)",
        "latency": "Latency measured on a CPU (ms)",
    }


def described(p: Comparison) -> str:
    """The assumptions of the FPGA's models, for a caption."""
    device = hardware.device(p.device)
    counted = {"none": "not counted", "lut": "in LUTs", "bram": "in block RAM"}
    return (
        f"{device.name} at {p.clock_mhz:g} MHz, {100 * p.share:g} % of it, SIMD up to "
        f"{p.most_simd}, {MEASURED_OVERHEAD} cycles between frames, weights in block RAM, "
        f"thresholds {counted[p.threshold_storage]}"
    )


def in_units(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with memory in kB and energy in µJ, the least and the greatest accuracy over seeds
    (`low`, `high`), and the lines of each network's hover box.
    """
    scaled = {name: frame[name] / unit for name, unit in SHOWN.items()}
    ends = {"low": frame["accuracies"].map(min), "high": frame["accuracies"].map(max)}
    rows = frame.assign(**scaled, **ends)
    return rows.assign(details=[_details(row) for row in rows.to_dict("records")])


def _details(row: Mapping[str, object]) -> str:
    """Everything that is known of a network, a line each."""
    half = row["half_width"]
    bits = "float32"
    if min(row["weight_bits"], row["act_bits"]) < FLOAT:
        most = "up to " if row["method"] == MIXED else ""
        weights, acts = (counted(int(row[f"{of}_bits"]), "bit") for of in ("weight", "act"))
        bits = f"weights {most}{weights}, activations {most}{acts}"
    lines = [
        f"{row['method']}, chapter {row['chapter']}",
        f"{row['images']:,} images × {counted(row['epochs'], 'epoch')}, "
        + counted(row["seeds"], "seed")
        + ("" if half != half else f", ± {half:.2f} points"),
        f"{bits}; {row['weights']:,} weights, {row['macs']:,} MACs",
        f"{row['memory']:,.4g} kB, {row['energy']:.3g} µJ by a model",
        f"{row['throughput']:,.0f} frames/s: {row['throughput_by']}"
        if row["throughput_by"]
        else f"no throughput: {row['why_no_throughput']}",
        f"{row['lut']:,.0f} LUTs, {row['bram18']:,.0f} BRAM18, by FINN's formulas"
        if not row["why_no_lut"]
        else f"no LUTs: {row['why_no_lut']}",
    ]
    return "<br>".join([*lines, *([f"assumed: {row['assumed']}"] if row["assumed"] else [])])


def figure(frame: pd.DataFrame, dataset: str, p: Comparison) -> go.Figure | None:
    """Accuracy against each cost that networks of a data set have; None where they have none."""
    rows = in_units(frame[frame["dataset"] == dataset])
    known = {name: better for name, better in COSTS.items() if (rows[name] > 0).any()}
    if not known:
        return None
    return plots.plane(
        rows,
        known,
        "accuracy",
        "method",
        name="network",
        details="details",
        spread=("low", "high"),
        whole=100.0,
        first=p.cost if p.cost in known else None,
        levels={"throughput": {_real_time(p): p.real_time}},
        labels=labels(p),
    )


def caption(figure: go.Figure, frame: pd.DataFrame, dataset: str, p: Comparison) -> str:
    """What `figure` shows, and where real time is, whose line is left out far from all points."""
    words = (
        f"Test accuracy of the networks of {written(dataset)} against the cost chosen above. "
        "Networks without that cost: under “What is left out, and why”. FPGA, by models: "
        f"{described(p)}."
    )
    rates = frame.loc[frame["dataset"] == dataset, "throughput"]
    rates = rates[rates > 0]
    if rates.empty:
        return words
    level = _real_time(p)
    if any(trace.name == level for trace in figure.data):
        return f"{words} Dotted, where throughput is shown: {level}."
    side = "left" if (rates > p.real_time).all() else "right"
    return f"{words} Where throughput is shown, {level}, is {side} of the figure."


def _real_time(p: Comparison) -> str:
    return f"real time, {p.real_time:g} frames/s"


def front_table(frame: pd.DataFrame, dataset: str, p: Comparison) -> pd.DataFrame:
    """`comparison.front` against `p.cost` as a table of the page; empty without a network."""
    best = front(frame, dataset, p.cost)
    scale = SHOWN.get(p.cost, 1.0)
    pairs = zip(best["accuracy"], best["half_width"], strict=True)
    return pd.DataFrame(
        {
            "method": best["method"].astype(str),
            "network": best["network"],
            labels(p)[p.cost]: best[p.cost] / scale,
            "accuracy (%)": [plus_minus(*one) for one in pairs],
            "seeds": best["seeds"],
            "images": best["images"],
            "epochs": best["epochs"],
            "gain (points)": best["gain"],
            "larger than seeds'": best["clear"],
        }
    )


def overall_table(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The front of accuracy, throughput and LUTs together, most accurate first, for the page.

    A network is on it that no other of the data set equals in all three and beats in one.
    """
    rows = frame[frame["dataset"] == dataset]
    rows = rows[on_front(rows, ("throughput", "lut"))].sort_values("accuracy", ascending=False)
    pairs = zip(rows["accuracy"], rows["half_width"], strict=True)
    return pd.DataFrame(
        {
            "method": rows["method"].astype(str),
            "network": rows["network"],
            "accuracy (%)": [plus_minus(*one) for one in pairs],
            "seeds": rows["seeds"],
            "frames/s": rows["throughput"],
            "LUTs": rows["lut"],
            "memory (kB)": rows["memory"] / KILO,
            "energy (µJ)": rows["energy"] / MICRO,
        }
    )


def amount(value: float) -> str:
    """A cost with four digits, or all of a whole thousand's."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def contributed(frame: pd.DataFrame) -> pd.DataFrame:
    """`comparison.contributions` under the words of the page."""
    words = TITLES | {"latency": "latency", "overall": "all three", "dataset": "data set"}
    return contributions(frame).rename(columns=words).astype({"method": str})


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """`comparison.methods` under the words of the page."""
    found = methods(frame)
    found["memory"] /= KILO
    words = {
        "dataset": "data set",
        "chapters": "chapter",
        "accuracy": "accuracy (%)",
        "throughput": "frames/s",
        "memory": "memory (kB)",
    }
    return found.rename(columns=words).astype({"method": str})


def compromised(frame: pd.DataFrame) -> pd.DataFrame:
    """`comparison_claims.compromises` of the sweep under the words of the page."""
    found = compromises(frame[frame["method"] == SWEEP])
    units = {"throughput": "frames/s", "lut": "LUTs"}
    costs = [f"{row.cost:,.0f} {units[row.plane]}" for row in found.itertuples()]
    words = {
        "dataset": "data set",
        "plane": "accuracy against",
        "networks": "networks on the front",
    }
    words |= {"weight_bits": "weight bits", "act_bits": "activation bits"}
    found = found.assign(plane=found["plane"].map(TITLES), cost=costs)
    return found.rename(columns=words | {"accuracy": "accuracy (%)"})


def missing(frame: pd.DataFrame, p: Comparison) -> pd.DataFrame:
    """`comparison.left_out` under the words of the page; empty where nothing is."""
    return left_out(frame, p).rename(columns={"dataset": "data set"})


def energies(bits: tuple[int, ...] = (1, 2, 3, 4, 8, 16)) -> pd.DataFrame:
    """Energy (pJ) of a MAC of equally wide weights and activations, sums of 1,024 products."""
    rows = [{"bits": str(b), "pJ": operation(b, b, inputs=1024)} for b in bits]
    rows.append({"bits": "float32", "pJ": operation(FLOAT, FLOAT)})
    rows.append({"bits": "float32, weights -1, 0, 1", "pJ": operation(2, FLOAT)})
    table = pd.DataFrame(rows)
    float32 = table.loc[table["bits"] == "float32", "pJ"].iloc[0]
    return table.assign(**{"of float32 (%)": 100 * table["pJ"] / float32})
