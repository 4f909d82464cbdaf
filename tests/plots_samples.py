"""A table and one figure of each kind, for the tests of the plots; not a test itself.

A test module makes its own fixtures of `sweep` and `figures`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from qbench import plots

STATIC = Path(__file__).parents[1] / "book" / "_static"
CSS = (STATIC / "qbench.css").read_text()
LABELS = {
    "bits": "Weight width (bits)",
    "acts": "Activation width (bits)",
    "acc": "Test accuracy (%)",
    "net": "Network",
}


def sweep() -> pd.DataFrame:
    """Two networks, four weight widths, four activation widths; one accuracy is missing."""
    rows = [
        {"net": net, "bits": w, "acts": a, "acc": top - 9 / (w * a), "sd": 0.5 / w, "lut": 900 * w}
        for net, top in (("TFC", 97.0), ("SFC", 98.0))
        for w in (1, 2, 3, 4)
        for a in (1, 2, 3, 4)
    ]
    df = pd.DataFrame(rows)
    df.loc[1, "acc"] = np.nan
    return df


def figures(sweep: pd.DataFrame) -> dict:
    """One figure of each kind."""
    line = sweep[sweep.acts == 2]
    tfc = sweep[sweep.net == "TFC"]
    published = line[line.bits > 2].assign(acc=lambda d: d.acc + 0.5)
    x = np.linspace(-1, 1, 41)
    stairs = pd.concat(
        pd.DataFrame({"x": x, "q": np.round(x * k) / k, "k": k, "kind": kind})
        for k in (1, 2)
        for kind in ("signed", "scaled")
    )
    marks = pd.DataFrame(
        [
            {"what": what, "score": score / (1 + i), "net": net}
            for i, net in enumerate(("TFC", "SFC"))
            for what, score in (("Energy efficiency", 0.9), ("LUT", 0.4), ("Latency", 0.7))
        ]
    )
    return {
        "curves": plots.curves(
            line,
            "bits",
            "acc",
            "net",
            spread="sd",
            reference=published,
            labels=LABELS,
            title="Accuracy of two networks over the width of their weights",
        ),
        "facets": plots.curves(
            sweep, "bits", "acc", "acts", "net", reference={"float32": 98.5}, labels=LABELS
        ),
        "menu": plots.curves(
            sweep[(sweep.net == "SFC") | (sweep.acts != 3)],  # one line has no choice 3
            "bits",
            "acc",
            "net",
            spread="sd",
            reference=published,
            menu="acts",
            name="{net} A{acts}",
            labels=LABELS,
            title="Accuracy of two networks",
        ),
        "steps": plots.steps(stairs, "x", "q", "k", "kind", identity=True),
        "heat_map": plots.heat_map(tfc, "bits", "acts", "acc", labels=LABELS),
        "marks": plots.heat_map(
            tfc.assign(good=tfc.acc.isna() | (tfc.acc > 94) | (tfc.acc < 90)),
            "bits",
            "acts",
            "acc",
            labels=LABELS,
            mark="good",
            mark_name="far from 92 %",
        ),
        "surface": plots.surface(tfc, "bits", "acts", "acc", plane=96.0, labels=LABELS),
        "radar": plots.radar(marks, "what", "score", "net", labels=LABELS),
        "pareto": plots.pareto(sweep, "lut", "acc", "net", labels=LABELS, log_x=True),
        "bars": plots.bars(
            line, "bits", "acc", "net", spread="sd", labels=LABELS, reference={"published": 95.0}
        ),
    }
