"""Chapter 12: coefficient sets, all of them, and which of them a network's weights look like.

Tables 6.1 to 6.3 and Fig. 6.5 of Faraone 2021; what joins `hardware.rccm_matching` to `addnet`.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from qbench import ledger, reference, store
from qbench.addnet.codebooks import FARAONE, published
from qbench.hardware import rccm, rccm_matching, rccm_sets
from qbench.hardware.rccm import Circuit
from qbench.hardware.rccm_matching import BINS, TOP
from qbench.hardware.rccm_sets import Space
from qbench.hardware.synthesis import multiplier_grid as grid
from qbench.parameters.addnet import AddNet

from .addnet import FOUND, UNOPTIMISED, Sets, label

LIVE = ("2-Add", "3-Add")  # counted in an instant; the counts of the 4-Add are stored
READINGS = {  # which configurations, and which sets are one: see `rccm_sets`
    "increasing shifts": Space(),
    "the same, sets a power of two apart once": Space(scaled=True),
    "increasing shifts, the first 0": Space(from_zero=True),
    "any shifts": Space(order="any"),
}

Matchings = Mapping[str, Mapping[str, pd.DataFrame]]  # by task and multiplier: of `compared`
Circuits = Mapping[str, Mapping[str, Circuit]]  # by task, then by what `addnet.label` gives


def regenerated() -> pd.DataFrame:
    """Table 6.2 from the configurations of Table 6.3, as printed and with the lost minus sign.

    Columns: `multiplier`, `topology_b` (what its select value 01 does), `published` and `ours` (how
    many coefficients), `shared` (in both sets) and `verdict`, on the sets themselves.
    """
    printed = reference.load(FARAONE, "table_6_2").set_index(["rccm", "quantity"])["value"]
    rows = []
    for name in rccm.WIRING:
        for as_printed in (True, False):
            circuit = rccm.published(name, as_printed=as_printed)
            ours, theirs = set(circuit.codebook.tolist()), set(published()[name])
            other = "erratum" if as_printed else "differs"
            if not as_printed:
                _note(name, ours)
            rows.append(
                {"multiplier": name, "topology_b": circuit.adders[-1].operations[1]}
                | {"published": int(printed[name, "coefficients"]), "ours": len(ours)}
                | {"shared": len(ours & theirs), "verdict": "exact" if ours == theirs else other}
            )
    return pd.DataFrame(rows)


def _note(name: str, ours: set[int]) -> None:
    """Tell the scoreboard which entries of Table 6.2 a multiplier's own set has."""
    printed = reference.load(FARAONE, "table_6_2")
    for row in printed[printed["rccm"] == name].to_dict("records"):
        counted = row["quantity"] == "coefficients"
        mine = len(ours) if counted else int(row["value"]) if int(row["value"]) in ours else None
        said = "exact" if mine == int(row["value"]) else "differs"
        ledger.entry(row, ours=mine, verdict=said, why="" if said == "exact" else "not in our set")


def configurations() -> pd.DataFrame:
    """Table 6.3 as it must be, and the wiring of Fig. 6.4: a row an adder.

    Columns: `multiplier`, `adder`, `a_from` and `b1_from`, what it does at the select values 00 to
    11, `shifts` of its ports, and `factors`: what it multiplies x by.
    """
    rows = []
    for name, wiring in rccm.WIRING.items():
        circuit = rccm.published(name)
        for place, (adder, (a, b1)) in enumerate(zip(circuit.adders, wiring, strict=True)):
            row = {"multiplier": name, "adder": f"{place + 1} ({adder.topology})"}
            row |= {"a_from": _source(a), "b1_from": _source(b1)}
            row |= dict(zip(("00", "01", "10", "11"), adder.operations, strict=True))
            row["shifts"] = " ".join(map(str, adder.shifts))
            factors = np.unique(circuit.levels[place])
            several = len(factors) > 4
            row["factors"] = f"{len(factors)} of them" if several else _listed(factors)
            rows.append(row)
    return pd.DataFrame(rows)


def _source(number: int) -> str:
    return f"adder {number}" if number else "x"


def _listed(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


@store.method(version=1)
def counted(*, multiplier: str, order: str, from_zero: bool, scaled: bool) -> pd.DataFrame:
    """`rccm_sets.counts` of one multiplier and space: one row."""
    return rccm_sets.counts([multiplier], [Space(order, from_zero, scaled)])


def asked() -> list[dict[str, object]]:
    """The parameters of `counted` that the page looks up: of the 4-Add, but for any shifts."""
    return [
        {"multiplier": "4-Add", **vars(space)}
        for space in READINGS.values()
        if space.order == "increasing"
    ]


def numbers() -> pd.DataFrame:
    """Table 6.1 by reading: how many different sets there are, a row a reading, the printed last.

    The 2-Add and the 3-Add are enumerated, the 4-Add is looked up; NaN is what takes too long.
    """
    live = rccm_sets.counts(LIVE, list(READINGS.values()))
    found = pd.concat([live, *(store.run(counted, **one) for one in asked())])
    keys = ["order", "from_zero", "scaled"]
    wide = found.pivot(index=keys, columns="rccm", values="unique_coefficient_sets")
    rows = [
        {"reading": name, **wide.loc[(space.order, space.from_zero, space.scaled)]}
        for name, space in READINGS.items()
    ]
    printed = reference.load(FARAONE, "table_6_1")
    printed = printed[printed["quantity"] == "unique_coefficient_sets"]
    last = dict(zip(printed["rccm"], printed["value"], strict=True))
    for row in printed.to_dict("records"):
        counts = pd.Series([one[row["rccm"]] for one in rows]).dropna()
        nearest = counts.loc[(counts - row["value"]).abs().idxmin()]
        said = "exact" if nearest == row["value"] else "differs"
        why = "" if said == "exact" else f"the nearest of {len(counts)} readings"
        ledger.entry(row, ours=nearest, verdict=said, why=why)
    return pd.DataFrame([*rows, {"reading": "printed in Table 6.1", **last}])


@store.method(version=1)
def compared(*, multiplier: str, histogram: Sequence[int], top: int = TOP) -> pd.DataFrame:
    """Every set of a multiplier compared with weights (6.2): the nearest ones and the worst.

    `histogram` are the weights' counts in equal bins, as `rccm_matching.match` wants them. A row
    for each of the `top` nearest, by `rank`, then one for the worst, whose `rank` is missing.
    Columns beside: `divergence` (nats), `coefficients` (how many), `largest`, `which` ("matched",
    "worst" or nothing) and `circuit`: the first configuration that gives the set, as JSON of
    `multiplier_grid.parameters`. Matched has most coefficients of the nearest, as in the thesis;
    worst is the farthest one of that size: both have as many, so that only their places differ.
    A quarter of a minute for the 4-Add. Raises `HardwareError`.
    """
    found = rccm_matching.match(rccm_sets.enumerate_sets(multiplier), histogram)
    best = found.best(top)
    size = int(found.sets.sizes[best])
    worst = found.worst(size)
    rows = found.table(top)
    rows = rows.assign(which=np.where(rows["set"] == best, "matched", ""))
    last = {"set": worst, "divergence": found.divergences[worst], "coefficients": size}
    last |= {"largest": found.sets.largest[worst], "which": "worst"}
    rows = pd.concat([rows, pd.DataFrame([last])], ignore_index=True)
    circuits = [grid.parameters(found.sets.circuit(int(number))) for number in rows["set"]]
    rows["circuit"] = [json.dumps(one) for one in circuits]
    return rows.drop(columns="set").astype({"rank": "Int64", "coefficients": int, "largest": int})


def matchings(p: AddNet, counts: Mapping[str, np.ndarray]) -> Matchings:
    """`compared` for the weights of each task and the multipliers that `p` has enumerated.

    `counts` are those of `addnet.matched_with`.
    """
    return {
        task: {
            name: store.run(compared, multiplier=name, histogram=histogram.tolist())
            for name in p.enumerated
        }
        for task, histogram in counts.items()
    }


def chosen(found: Matchings) -> Sets:
    """The "matched" and "worst" set of each task and multiplier, as `addnet.cells` wants them."""
    return {
        task: {name: tuple(of.codebook.tolist()) for name, of in one.items()}
        for task, one in _found(found).items()
    }


def circuits(p: AddNet, found: Matchings) -> Circuits:
    """Circuits of the sets that `p` trains with and Table 6.3 has not, by task and `addnet.label`.

    The unoptimised set has the first of the 3-Add's configurations that gives it, if it is asked.
    """
    same = {}
    if "unoptimised" in p.sets and UNOPTIMISED in p.rccms:
        every = rccm_sets.enumerate_sets(UNOPTIMISED)
        number = every.number(published()["unoptimised"])
        same[label(UNOPTIMISED, "unoptimised")] = every.circuit(number)
    asked = {label(name, which) for name in p.rccms for which in FOUND if which in p.sets}
    return {
        task: same | {name: of for name, of in one.items() if name in asked}
        for task, one in _found(found).items()
    }


def _found(found: Matchings) -> dict[str, dict[str, Circuit]]:
    return {
        task: {
            label(name, row.which): _circuit(row.circuit)
            for name, rows in of.items()
            for row in rows[rows["which"].isin(FOUND)].itertuples()
        }
        for task, of in found.items()
    }


def _circuit(text: str) -> Circuit:
    return grid.circuit_of(**json.loads(text))


def divergences(
    counts: Mapping[str, np.ndarray], found: Sets, *, pseudo_counts: Sequence[float] = (0.5,)
) -> pd.DataFrame:
    """How far sets are from the weights of each task (6.2), the published ones first.

    Columns: `task`, `set`, `coefficients`, `empty` (bins without one), and for each pseudo-count
    `divergence`, in nats; with several, `divergence_0.5` and so on.
    """
    rows = []
    for task, histogram in counts.items():
        for name, values in (published() | dict(found.get(task, {}))).items():
            row = {"task": task, "set": name, "coefficients": len(values)}
            row["empty"] = int((_shares(values) == 0).sum())
            for epsilon in pseudo_counts:
                key = "divergence" + (f"_{epsilon:g}" if len(pseudo_counts) > 1 else "")
                row[key] = rccm_matching.divergence(values, histogram, epsilon)
            rows.append(row)
    return pd.DataFrame(rows)


def nearest(found: Matchings) -> pd.DataFrame:
    """The nearest sets of each task and multiplier, as `compared` has them, a row each.

    Columns: `task`, `multiplier`, `rank`, `divergence`, `coefficients`, `largest`, `positive` (the
    least coefficients above 0) and `chosen`: whether it is the matched one.
    """
    parts = []
    for task, of in found.items():
        for name, one in of.items():
            rows = one[one["rank"].notna()]
            positive = [_positive(_circuit(text).codebook) for text in rows["circuit"]]
            rows = rows.assign(positive=positive, chosen=rows["which"].eq("matched"))
            rows.insert(0, "multiplier", name)
            rows.insert(0, "task", task)
            parts.append(rows.drop(columns=["which", "circuit"]))
    return pd.concat(parts, ignore_index=True)


def _positive(values: Sequence[int], most: int = 5) -> str:
    """The least coefficients above 0, on one line."""
    above = [int(value) for value in values if value > 0]
    return (_listed(above[:most]) + (" …" if len(above) > most else "")).replace(" ", "\N{NBSP}")


def distributions(histogram: np.ndarray, found: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Fig. 6.5: shares (%) of the weights and of each set's coefficients in equal bins of −M … M.

    Columns: `set`, `what` ("weights" or "coefficients"), `place` (the middle of the bin, in units
    of M) and `share`. The sets of the thesis first, then those of `found`.
    """
    middles = (np.arange(BINS) + 0.5) * 2 / BINS - 1
    weights = 100 * histogram / histogram.sum()
    rows = []
    for name, values in (published() | dict(found)).items():
        shares = {"weights": weights, "coefficients": 100 * _shares(values)}
        for what, of in shares.items():
            same = {"set": name, "what": what}
            rows += [same | {"place": x, "share": y} for x, y in zip(middles, of, strict=True)]
    return pd.DataFrame(rows)


def _shares(values: Sequence[int]) -> np.ndarray:
    """The share of a set's coefficients in each bin, as `rccm_matching` has bins."""
    most = max(map(abs, values))
    places = np.minimum((np.asarray(values) + most) * BINS // (2 * most), BINS - 1)
    return np.bincount(places, minlength=BINS) / len(values)
