"""Chapter 14: what `dpu` computes, as tables under the words of the page."""

import pandas as pd

from . import dpu


def errors() -> pd.DataFrame:
    """The DPU's model beside the thesis' figures, `dpu.compared` with headings of the page."""
    table = dpu.compared()
    point = table["operating_point"].str.replace("_", " ")
    quantity = {"latency": "latency (ms)", "throughput": "images/s", "energy_per_image": "mJ/image"}
    return pd.DataFrame(
        {
            "network": table["network"],
            "quantity": table["quantity"].map(quantity) + ", " + point,
            "published": table["published"],
            "the model": table["ours"],
            "error (%)": table["error"],
            "verdict": table["verdict"],
        }
    )


def left_open() -> pd.DataFrame:
    """`dpu.unexplained` with headings of the page."""
    headings = {
        "network": "network",
        "layers": "layers",
        "measured_ms": "measured (ms)",
        "multipliers_ms": "multipliers (ms)",
        "ports_ms": "data ports more (ms)",
        "left_with_ports_ms": "left with ports (ms)",
        "left_share": "left without ports (%)",
        "left_us_a_layer": "left a layer (µs)",
    }
    return dpu.unexplained()[list(headings)].rename(columns=headings)


def entries() -> pd.DataFrame:
    """How many entries of Tables 6.4 to 6.9 have which verdict: `dpu.resources`, counted."""
    found = dpu.resources()
    counted = found.groupby(["where", "verdict"]).size().unstack(fill_value=0)
    return counted.rename_axis(index="table", columns=None).reset_index()


def exceptions() -> pd.DataFrame:
    """The entries of `dpu.resources` that are not exact, under the words of the page."""
    found = dpu.resources()
    found = found[found["verdict"] != "exact"].rename(columns={"where": "table"})
    words = {"operations_per_cycle": "operations a cycle", "bram": "block RAMs", "dsp": "DSPs"}
    words |= {"extra_bram": "block RAMs more", "extra_dsp": "DSPs more"}
    name = found["quantity"].str.partition(", ")[0]
    said = [of.replace(one, words[one], 1) for of, one in zip(found["quantity"], name, strict=True)]
    return found.assign(quantity=said)


def shares() -> pd.DataFrame:
    """`dpu.utilisation` with headings of the page."""
    names = {"lut": "look-up tables", "bram": "block RAM", "dsp": "DSPs"}
    found = dpu.utilisation().rename(columns={"with_softmax": "with softmax", "quantity": "what"})
    return found.assign(what=found["what"].map(names))
