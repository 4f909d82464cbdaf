"""The tables of chapter 07's page, under its headings and in its units.

What is in brackets behind a latency is everywhere the same: the lowest and the highest of the nine
rounds' medians, each round with a compilation of its own.
"""

import pandas as pd

from qbench import evolution
from qbench.parameters import Evolution

from .evolution import steady
from .evolution_networks import MACS


def unit(device: str) -> str:
    """What the latency axis says: milliseconds on a device, or a count."""
    if device == MACS:
        return "multiply-accumulates (millions)"
    return f"latency on {device} (ms)"


def axis(device: str) -> str:
    """`unit` as the title of an axis."""
    text = unit(device)
    return text[0].upper() + text[1:]


def amount(value: float, device: str) -> str:
    """A latency in a sentence, with its unit."""
    of = "million multiply-accumulates" if device == MACS else f"ms on {device}"
    return f"{value:.3g} {of}"


def said(row: pd.Series, device: str, places: int = 3) -> str:
    """A latency with its lowest and highest round, as `0.280 [0.274–0.291]`; a count alone."""
    if device == MACS:
        return f"{row.latency_ms:.3g}"
    middle, low, high = (
        f"{row[name]:.{places}f}" for name in ("latency_ms", "lowest_ms", "highest_ms")
    )
    return f"{middle} [{low}–{high}]"


def generations(archive: pd.DataFrame, p: Evolution) -> pd.DataFrame:
    """`evolution.summary` of the search, with `steady` latencies."""
    table = steady(archive)
    reference = [1.2 * float(table[name].max()) for name in evolution.OBJECTIVES]
    found = evolution.summary(
        table, reference=reference, noise=p.noise, error_step=p.error_step
    ).drop(columns=["size", "hypervolume"])
    return found.rename(
        columns={
            "trained": "networks trained",
            "front": "on the front",
            "best_error": "least validation error (%)",
            "median_latency_ms": f"median {unit(p.device)}",
        }
    )


def twice(again: pd.DataFrame, device: str) -> pd.DataFrame:
    """Latencies of the search beside those of `remeasured`."""
    table = again.dropna(subset=["search_latency_ms"]).sort_values("latency_ms")
    return pd.DataFrame(
        {
            "network": table.phenotype,
            "in the search": table.search_latency_ms,
            "scaled": table.search_scaled_ms,
            "side by side": _said(table, device),
            "quotient": table.search_scaled_ms / table.latency_ms,
            "within": _yes(table.within),
        }
    )


def listed(front: pd.DataFrame, device: str) -> pd.DataFrame:
    """The front."""
    return pd.DataFrame(
        {
            "network": front.phenotype,
            "parameters": front.parameters.astype(int),
            "MACs (millions)": front.macs / 1e6,
            unit(device): _said(front, device),
            "validation error (%)": front.valid_error,
            "test error (%)": front.test_error,
        }
    )


def final_errors(table: pd.DataFrame, device: str) -> pd.DataFrame:
    """What the networks trained for longer get wrong, in three programs."""
    shown = {
        "network": table.name,
        "parameters": table.parameters,
        "PyTorch (%)": table.test_error,
    }
    if device != MACS:
        shown |= {
            "ONNX Runtime (%)": table.onnx_error,
            f"OpenVINO on {device} (%)": table.device_error,
            "a logit moved by rounding": table.difference,
            "rounding may move it by": table.allowed,
        }
    return pd.DataFrame(shown)


def final_latencies(table: pd.DataFrame, device: str) -> pd.DataFrame:
    """How long the networks trained for longer take, and how large their files are."""
    shown = {"network": table.name, "MACs (millions)": table.macs / 1e6}
    if device != MACS:
        shown |= {
            # A place more than elsewhere: these intervals are narrow
            unit(device): _said(table, device, places=4),
            "in a new process": table.again_ms,
            "within": _yes(table.within),
            "ONNX (MB)": table.onnx.map(len) / 1e6,
            "OpenVINO (MB)": (table.xml.map(len) + table["bin"].map(len)) / 1e6,
        }
    return pd.DataFrame(shown)


def _said(table: pd.DataFrame, device: str, places: int = 3) -> list[str]:
    return [said(row, device, places) for _, row in table.iterrows()]


def _yes(values: pd.Series) -> pd.Series:
    return values.astype(bool).map({True: "yes", False: "no"})
