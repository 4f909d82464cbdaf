"""Chapter 10: what needs no training: weights, bounds of storage, throughputs of an accelerator."""

import numpy as np
import pandas as pd

from qbench import reference
from qbench.hardware import sparse_accelerator
from qbench.hardware.sparse_accelerator import Accelerator, Operation
from qbench.models import binary_connect
from qbench.sparsity import coding

FARAONE = "faraone2021"
PRINTED = {"tolerance": 0.005, "why": "printed with two decimals"}
#: γ of networks that nobody has trained, to explore.
GAMMAS = (0.02, 0.05, 0.1, 0.2, 0.5, 0.9)
#: What bounds the operations: `LIMITS[activations and resource]`. On DSP slices an addition of
#: floating-point numbers takes 2 of them.
LIMITS = {
    "binary, 70 % of the LUTs": Accelerator("binary"),
    "float, 70 % of the LUTs": Accelerator("float"),
    "float, all DSPs": Accelerator(Operation(lut=0, dsp=2)),
}
#: R of Figures 3.6 and 3.7, whose axis cannot be read.
REUSES = tuple(2**power for power in range(13))


def erratum(name: str) -> str:
    """The arithmetic that shows a printed number to be a slip."""
    return reference.errata(FARAONE).set_index("erratum").loc[name, "arithmetic"]


def networks() -> pd.DataFrame:
    """Weights of the thesis' three networks, counted, beside what Tables 3.2 and 3.3 print."""
    rows, slips = [], {("table_3_2", 1): erratum("mlp_parameters")}
    for name, of, neurons, bits, printed in (
        ("MLP", "mlp", 4096, 1, "table_3_2"),
        ("MLP", "mlp", 1024, 32, "table_3_2"),
        ("VGG", "vgg", 128, 32, "table_3_3"),
    ):
        model = binary_connect.build(of, neurons, inputs=784 if of == "mlp" else 3)
        weights = sum(layer.weight.numel() for layer in binary_connect.weights(model).values())
        theirs = reference.load(FARAONE, printed)
        theirs = theirs[(theirs["quantity"] == "parameters") & (theirs["act_bits"] == bits)]
        millions = theirs["value"].iloc[0]
        rows.append(
            {
                "network": f"{name} of {neurons:,}",
                "weights": weights,
                "printed (millions)": millions,
                "verdict": reference.verdict(
                    millions,
                    weights / 1e6,
                    **PRINTED,
                    erratum=slips.get((printed, bits), ""),
                    of=theirs.iloc[0],
                ),
            }
        )
    return pd.DataFrame(rows)


def dense_slip(table: str, printed: float, ours: float) -> str:
    """The erratum of a dense network's printed size (MB), empty where it is near enough to ours."""
    if abs(printed - ours) <= PRINTED["tolerance"]:
        return ""
    return erratum({"table_3_2": "mlp_dense_sizes", "table_3_3": "vgg_dense_sizes"}[table])


def dense_sizes() -> pd.DataFrame:
    """Printed sizes (MB) of the dense networks beside 2 bits or 1 bit for each weight we count.

    Columns: `model`, `published`, `ours`, `verdict`; the printed ones do not fit their own
    parameters either, see the errata.
    """
    counted = networks().set_index("network")["weights"]
    rows = []
    for name, of in (("table_3_2", {1: "MLP of 4,096", 32: "MLP of 1,024"}),
                     ("table_3_3", dict.fromkeys((1, 32), "VGG of 128"))):  # fmt: skip
        theirs = reference.load(FARAONE, name)
        theirs = theirs[(theirs["quantity"] == "size") & (theirs["encoding"] == "none")]
        for row in theirs.to_dict("records"):
            took = counted[of[row["act_bits"]]] * row["weight_bits"] / 8e6
            slip = dense_slip(name, row["value"], took)
            said = reference.verdict(row["value"], took, **PRINTED, erratum=slip, of=row)
            rows.append({"model": row["model"], "published": row["value"], "ours": took}
                        | {"verdict": said})  # fmt: skip
    return pd.DataFrame(rows)


def bounds() -> pd.DataFrame:
    """What the sparse networks of Tables 3.2 and 3.3 take at the least, from their printed zeros.

    Columns (MB): the entropy of independent weights, run-length coding of those at its best width,
    and both printed sizes. One density for all layers: uneven layers need less.
    """
    found = []
    for name in ("table_3_2", "table_3_3"):
        rows = reference.load(FARAONE, name)
        rows = rows[rows["method"] == "sparse_tnn"]
        for bits, part in rows.groupby("act_bits", sort=False):
            value = part.set_index(["quantity", "encoding"])["value"]
            zeros, weights = value["zeros", ""], 1e6 * value["parameters", ""]
            density = 1 - zeros / 100
            found.append(
                {
                    "network": f"{part['network'].iloc[0]}, {_activations(bits)}",
                    "zeros": zeros,
                    "entropy": coding.iid_bits(density) * weights / 8e6,
                    "run-length": coding.expected_bits(density) * weights / 8e6,
                    "first": value["size", "RLE"],
                    "second": value["size", "HC"],
                }
            )
    return pd.DataFrame(found)


def least_error_threshold() -> float:
    """η whose ternary weights lie nearest to uniform real ones, in the mean of squares."""
    real, thresholds = np.linspace(-1, 1, 2001), np.linspace(0, 0.99, 100)
    errors = [np.mean((real - np.sign(real) * (np.abs(real) > eta)) ** 2) for eta in thresholds]
    return float(thresholds[np.argmin(errors)])


def gammas(table: pd.DataFrame | None = None, label: str = "ours") -> pd.DataFrame:
    """γ of the sparse networks: `network`, `activations`, `gamma`. Printed, and ours if given."""
    rows = [
        {"network": row["network"], "activations": kind, "gamma": 1 - row["zeros"] / 100}
        for row in bounds().to_dict("records")
        for kind in ("binary" if "binary" in row["network"] else "float",)
    ]
    if table is not None:
        zeros = table[table["role"] == "sparse"]["zeros"].mean()
        rows += [
            {"network": label, "activations": kind, "gamma": 1 - zeros / 100}
            for kind in ("binary", "float")
        ]
    return pd.DataFrame(rows)


def throughputs(of: pd.DataFrame, activations: str) -> pd.DataFrame:
    """Figure 3.6 ("float") or 3.7 ("binary"): `network`, `reuse`, `tops`, for the γ of `gammas`."""
    parts = []
    for row in of[of["activations"] == activations].to_dict("records"):
        found = sparse_accelerator.throughputs([row["gamma"]], REUSES, [Accelerator(activations)])
        network = row["network"].removesuffix(f", {activations} activations")
        named = f"{network}, {100 * (1 - row['gamma']):.1f} % zeros"
        parts.append(found.assign(network=named))
    return pd.concat(parts, ignore_index=True)


def break_even(of: pd.DataFrame) -> pd.DataFrame:
    """From which reuse R on each network of `gammas` is faster than the dense binary one.

    `reuse` is that whole number, `limit` the throughput (TOPS) that endless reuse approaches.
    """
    rows = []
    for row in of.to_dict("records"):
        one = Accelerator(row["activations"])
        equal = float(one.break_even(row["gamma"]))
        rows.append(
            row
            | {
                "dense": one.dense_tops,
                "equal": equal,
                "reuse": int(np.floor(equal)) + 1 if np.isfinite(equal) else None,
                "limit": one.dense_tops / row["gamma"],
            }
        )
    return pd.DataFrame(rows)


def costs(ours: float | None = None, label: str = "ours") -> pd.DataFrame:
    """C_e over R by `limit`: `weights` names γ, `cost` is in millionths of the device.

    For `GAMMAS`, for our γ where it is given, and for the dense binary network, without a decoder.
    """
    gammas = {f"γ = {gamma:g}": gamma for gamma in GAMMAS}
    if ours is not None:
        gammas[f"γ = {ours:.3g}, {label}"] = ours
    parts = []
    for limit, one in LIMITS.items():
        dense = pd.DataFrame({"reuse": REUSES, "cost": one.operation_share})
        parts.append(dense.assign(limit=limit, weights="dense binary"))
        for name, gamma in gammas.items():
            found = pd.DataFrame({"reuse": REUSES, "cost": one.cost(gamma, np.array(REUSES))})
            parts.append(found.assign(limit=limit, weights=name))
    every = pd.concat(parts, ignore_index=True)
    return every.assign(cost=1e6 * every["cost"])


def first_reuse() -> pd.DataFrame:
    """The whole R from which on each of `GAMMAS` is faster than the dense binary network."""
    rows = []
    for gamma in GAMMAS:
        found = {name: int(one.break_even(gamma)) + 1 for name, one in LIMITS.items()}
        rows.append({"gamma": gamma} | found)
    return pd.DataFrame(rows)


def peaks() -> pd.DataFrame:
    """TOPS of the dense networks beside the printed ones: `limit`, `published`, `ours`, `verdict`.

    Float on LUTs is left out: the LUTs of its addition were taken from that very number.
    """
    rows = reference.load(FARAONE, "figure_3_6")
    rows = rows[rows["quantity"] == "peak_throughput"].set_index("network_type", drop=False)
    printed = {"binary, 70 % of the LUTs": rows.loc[1], "float, all DSPs": rows.loc[2]}
    how = {"tolerance": 0.05, "why": "printed with one decimal"}
    found = []
    for name, of in printed.items():
        theirs, ours = float(of["value"]), LIMITS[name].dense_tops
        said = reference.verdict(theirs, ours, **how, of=of)
        found.append({"limit": name, "published": theirs, "ours": ours, "verdict": said})
    return pd.DataFrame(found)


def _activations(bits: int) -> str:
    return "binary activations" if bits == 1 else "float activations"


def dense(activations: str) -> float:
    """TOPS of the dense binary network with "binary" or "float" activations."""
    return Accelerator(activations).dense_tops
