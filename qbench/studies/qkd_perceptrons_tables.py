"""Chapter 08: what its figures and tables show, from `qkd_perceptrons.table`."""

import pandas as pd

from qbench import reference
from qbench.models import convolutional, mlp
from qbench.models.convolutional import parameters

from .qkd_perceptrons import STUDENT, TEACHER, TITLES, TUTORED
from .qkd_tables import VAILAKIS


def sizes() -> pd.DataFrame:
    """Section 5.8 computed: parameters of every network and their memory, beside the printed ones.

    MB are 2²⁰ bytes: parameters × bits / 8 / 2²⁰, rounded to two decimals as printed.
    """
    rows = reference.load(VAILAKIS, "table_section_5_8")
    counts = {name: _count(name) for name in dict.fromkeys(rows["network"])}
    rows["weight_bits"] = pd.to_numeric(rows["weight_bits"], errors="coerce").fillna(0).astype(int)
    rows["entry"] = rows.index.map("table_section_5_8:{}".format)
    keys = ["network", "quantity", "weight_bits"]
    values = [
        counts[row.network]
        if row.quantity == "parameters"
        else round(counts[row.network] * row.weight_bits / 8 / 2**20, 2)
        for row in rows.itertuples()
    ]
    return reference.compare(rows, rows[keys].assign(value=values), on=keys)


def _count(name: str) -> int:
    key = name.lower().replace("-", "")
    if key.startswith("densenet"):
        return parameters(convolutional.build(key, 100))
    return parameters(mlp.build(key))


#: The columns of `memory` that hold sizes.
MEGABYTES = [f"{bits} bits{more}" for bits in (32, 8, 4) for more in ("", ", printed")]


def memory(found: pd.DataFrame) -> pd.DataFrame:
    """The sizes of `sizes`, a row a network: MB at 32, 8 and 4 bits, ours and printed."""
    rows = found[found["quantity"] == "size"]
    wide = rows.pivot(index="network", columns="weight_bits", values=["ours", "published"])
    wide = wide.loc[list(dict.fromkeys(rows["network"]))]
    table = pd.DataFrame({"network": wide.index})
    for bits in (32, 8, 4):
        table[f"{bits} bits"] = wide["ours", bits].to_numpy(float)
        table[f"{bits} bits, printed"] = wide["published", bits].to_numpy(float)
    verdicts = rows.groupby("network")["verdict"].agg(lambda said: ", ".join(dict.fromkeys(said)))
    return table.assign(verdict=table["network"].map(verdicts))


def float32(table: pd.DataFrame) -> dict[str, float]:
    """Mean test errors (%) of student and teacher in float32, as levels of a figure."""
    rows = table[table["method"] == "baseline"].groupby("network")["test_error"].mean()
    return {"float32 student": rows[STUDENT], "float32 teacher": rows[TEACHER]}


def distilled(table: pd.DataFrame) -> list[str]:
    """The DNNs of Table 5.7 that were distilled here."""
    rows = table[table["method"] == "kd"]
    return [network for network in TUTORED if network in set(rows["network"])]


def by_alpha(table: pd.DataFrame, network: str) -> pd.DataFrame:
    """Test accuracy over the teacher's weight, ours and printed: `curve`, `alpha`, mean, low, high.

    The printed numbers, one training each, have no spread.
    """
    rows = table[(table["network"] == network) & (table["method"] == "kd")]
    rows = rows.assign(accuracy=100 - rows["test_error"])
    ours = rows.groupby("alpha")["accuracy"].agg(accuracy="mean", low="min", high="max")
    theirs = reference.load(VAILAKIS, "table_5_7")
    theirs = theirs[(theirs["network"] == TITLES[network]) & (theirs["split"] == "test")]
    printed = theirs.assign(accuracy=theirs["value"], low=theirs["value"], high=theirs["value"])
    columns = ["curve", "alpha", "accuracy", "low", "high"]
    parts = [ours.reset_index().assign(curve="ours"), printed.assign(curve="published")]
    return pd.concat([part[columns] for part in parts], ignore_index=True)


def without_teacher(table: pd.DataFrame, network: str) -> dict[str, float]:
    """Mean test accuracy (%) of the same network without a teacher, as a level of a figure."""
    rows = table[(table["network"] == network) & (table["method"] == "baseline")]
    return {"ours without a teacher": 100 - rows["test_error"].mean()}
