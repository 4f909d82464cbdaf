"""Numbers of the publications that follow from other printed numbers, computed anew.

Each check computes what is printed from other entries of `data/paper/`: a ratio, a product, a sum,
a count, or the same number somewhere else. A check agrees where the printed digits can be had by
rounding or by cutting off, from the printed inputs or from what these were rounded from; what does
not agree must be in `errata.csv`. `qbench.errata_page` shows the result.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import combinations, product
from typing import Any

import pandas as pd

from qbench import reference

from .errata_claims import CLAIMED
from .errata_numbers import Number, agrees, number
from .errata_recorded import RECORDED

Row = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One printed number and what it must be by others; `computed` is their interval's middle."""

    source: str
    check: str  # its kind, as the page lists it
    what: str  # which number
    printed: str
    computed: float
    agrees: bool


def checks() -> pd.DataFrame:
    """Every check: the fields of `Check`, and `erratum`, its entry in `errata.csv` or empty."""
    found = pd.DataFrame([one for make in CHECKS for one in make()])
    found["erratum"] = [
        "" if row.agrees else _recorded(row.source, row.what) for row in found.itertuples()
    ]
    return found


def _recorded(source: str, what: str) -> str:
    """The identifier of the erratum, or empty where none is known."""
    named = RECORDED.get(source, {})
    return next((name for pattern, name in named.items() if fnmatchcase(what, pattern)), "")


@cache
def _rows(source: str, table: str) -> list[Row]:
    """The entries of a table that are numbers, with their `number`."""
    rows = reference.load(source, table).to_dict("records")
    for row in rows:
        row["number"] = number(row)
    return [row for row in rows if row["number"] is not None]


def _by(source: str, table: str, *keys: str, **wanted: Any) -> dict[Any, Number]:
    """Numbers of a table by some of its columns; `wanted` picks rows."""
    rows = [r for r in _rows(source, table) if all(r[k] == v for k, v in wanted.items())]
    return {tuple(r[k] for k in keys) if len(keys) > 1 else r[keys[0]]: r["number"] for r in rows}


def _check(
    source: str, check: str, what: str, printed: Number, rule: Callable[..., float], *of: Number
) -> Check:
    """Compare a printed number with `rule` of others, over all that these can be rounded from."""
    ends = [rule(*values) for values in product(*((n.low, n.value, n.high) for n in of))]
    exact = rule(*(n.value for n in of))
    good = agrees(printed, exact, exact) or agrees(printed, min(ends), max(ends))
    return Check(source, check, what, printed.printed, exact, good)


def ducasse() -> Iterator[Check]:
    """Bandwidth is throughput by 1024 bytes; A3W3 is in two tables; ratios of the text."""
    rates = _by("ducasse2021", "table_2", "weight_bits", "pe", "simd", quantity="throughput")
    for key, printed in _by(
        "ducasse2021", "table_2", "weight_bits", "pe", "simd", quantity="dram_bandwidth"
    ).items():
        what = f"Table II: bandwidth, W{key[0]}A{key[0]}, PE {key[1]}"
        rule = lambda rate: rate * 1024 / 1e6  # noqa: E731
        yield _check(
            "ducasse2021", "bandwidth = throughput × 1024 bytes", what, printed, rule, rates[key]
        )
    again = _by("ducasse2021", "table_3", "weight_bits", "pe", "simd", quantity="throughput")
    for key in sorted(set(rates) & set(again)):
        what = f"Table III: throughput, W{key[0]}A{key[0]}, PE {key[1]}"
        yield _same("ducasse2021", what, again[key], rates[key])


def _same(source: str, what: str, printed: Number, other: Number) -> Check:
    coarse, fine = sorted((printed, other), key=lambda one: one.step, reverse=True)
    good = coarse.value == fine.value
    if coarse.step > fine.step:
        good = good or agrees(coarse, fine.value, fine.value)
    kind = "the same number in two places"
    return Check(source, kind, what, printed.printed, other.value, good)


def vailakis_speed() -> Iterator[Check]:
    """Tables 7.1 to 7.3: speed-ups over the CPU, and energy as power by time."""
    source = "vailakis2022"
    watts = {
        "CPU": _by(source, "table_4_1", "quantity")["tdp"],
        "GPU": _by(source, "table_4_2", "quantity")["power_consumption"],
        "DPU": _by(source, "table_6_10", "quantity")["power_consumption"],
    }
    watts["QCPU"] = watts["CPU"]
    for table in ("table_7_1", "table_7_2", "table_7_3"):
        keys = ("platform", "operating_point", "quantity")
        found = _by(source, table, *keys)
        network = _rows(source, table)[0]["network"]
        title = f"Table {table[6:].replace('_', '.')}"
        for (platform, point, quantity), printed in found.items():
            what = f"{title}: {quantity}, {network}, {platform}, {point}".replace("_", " ")
            mine = {q: found[p, o, q] for p, o, q in found if (p, o) == (platform, point)}
            base = {q: found[p, o, q] for p, o, q in found if (p, o) == ("CPU", point)}
            if quantity == "throughput_speedup":
                rule, of = _over, (mine["throughput"], base["throughput"])
            elif quantity == "latency_speedup":
                rule, of = _over, (base["latency"], mine["latency"])
            elif quantity == "energy_efficiency":
                rule, of = _over, (base["energy_per_image"], mine["energy_per_image"])
            elif quantity == "energy_per_image" and point == "best_latency":
                rule, of = _times, (_exactly(watts[platform]), mine["latency"])
            elif quantity == "energy_per_image":
                rule, of = _thousand_over, (_exactly(watts[platform]), mine["throughput"])
            else:
                continue
            kind = (
                "energy = power × time" if quantity == "energy_per_image" else "gain over the CPU"
            )
            yield _check(source, kind, what, printed, rule, *of)


def vailakis_sizes() -> Iterator[Check]:
    """Section 5.8: megabytes from parameters; Table 6.4: operations from parallelism."""
    source = "vailakis2022"
    counts = _by(source, "table_section_5_8", "network", quantity="parameters")
    for row in _rows(source, "table_section_5_8"):
        if row["quantity"] == "size":
            bits = int(float(row["weight_bits"]))
            rule = lambda n, bits=bits: n * bits / 8 / 2**20  # noqa: E731
            what = f"Section 5.8: size, {row['network']}, {bits} bits"
            yield _check(
                source,
                "size = parameters × bits",
                what,
                row["number"],
                rule,
                counts[row["network"]],
            )
    for name in dict.fromkeys(row["architecture"] for row in _rows(source, "table_6_4")):
        of = _by(source, "table_6_4", "quantity", architecture=name)
        parts = [of[f"{x}_parallelism"] for x in ("pixel", "input_channel", "output_channel")]
        rule = lambda a, b, c: 2 * a * b * c  # noqa: E731
        what = f"Table 6.4: operations per cycle, {name}"
        kind = "operations = 2 × parallelism"
        yield _check(source, kind, what, of["operations_per_cycle"], rule, *map(_exactly, parts))
    low = _by(source, "table_6_5", "architecture", ram_usage="low")
    for name, printed in _by(source, "table_6_4", "architecture", quantity="bram").items():
        yield _same(source, f"Table 6.4: bram, {name}", printed, low[name])


def faraone_sizes() -> Iterator[Check]:
    """Tables 3.1 to 3.3: pruned shares against nonzeros, sizes against parameters."""
    source = "faraone2021"
    weights = 784 * 4096 + 2 * 4096**2 + 4096 * 10
    left = _by(source, "table_3_1", "eta", "sigma", quantity="nonzeros")
    for (eta, sigma), printed in _by(
        source, "table_3_1", "eta", "sigma", quantity="pruned"
    ).items():
        # What is left is at most what was not pruned: some of that is 0 by its threshold.
        most = 100 * (1 - left[eta, sigma].value / weights)
        what = f"Table 3.1: pruned, eta {eta:g}, sigma {sigma:g}"
        kind = "pruned ≤ zeros"
        yield Check(source, kind, what, printed.printed, most, printed.low <= most)
    for table in ("table_3_2", "table_3_3"):
        millions = _by(source, table, "model", "act_bits", quantity="parameters")
        for row in _rows(source, table):
            if row["quantity"] == "size" and row["encoding"] == "none":
                bits = int(row["weight_bits"])
                rule = lambda n, bits=bits: n * bits / 8  # noqa: E731
                what = f"Table {table[6:].replace('_', '.')}: size, {row['model']}"
                of = millions[row["model"], row["act_bits"]]
                yield _check(source, "size = parameters × bits", what, row["number"], rule, of)


def faraone_designs() -> Iterator[Check]:
    """Tables 4.1 to 4.5: shares sum to all; utilisation, frames a kLUT and a block RAM."""
    source = "faraone2021"
    for table in ("table_4_1", "table_4_2"):
        for quantity in ("operations_share", "memory_share"):
            parts = list(_by(source, table, "layer", quantity=quantity).values())
            total = sum(n.value for n in parts)
            slack = sum(n.high - n.value for n in parts)
            what = f"Table {table[6:].replace('_', '.')}: {quantity.replace('_', ' ')}, all layers"
            yield Check(
                source, "shares sum to 100 %", what, "100", total, abs(total - 100) <= slack
            )
    have = _by(source, "table_4_3", "quantity", variant="Available")
    keys = ("network", "variant", "quantity")
    used = _by(source, "table_4_3", *keys)
    for (network, variant, quantity), printed in used.items():
        if quantity.endswith("_utilisation"):
            name = quantity.removesuffix("_utilisation")
            what = f"Table 4.3: {name} utilisation, {network} {variant}"
            of = (used[network, variant, name], have[name])
            yield _check(source, "utilisation", what, printed, _percent, *map(_exactly, of))
    for table, key in (("table_4_4", "variant"), ("table_4_5", "method")):
        found = _by(source, table, key, "quantity")
        for (name, quantity), printed in found.items():
            block = 20 / 18 if table == "table_4_5" and name in ("Aydonat17", "Moss17") else 1
            if quantity == "throughput_per_klut":
                rule = _thousand_over
                of = found[name, "throughput"], found[name, "lut"]
            elif quantity == "throughput_per_bram":
                rule = lambda rate, blocks, block=block: rate / blocks / block  # noqa: E731
                of = found[name, "throughput"], found[name, "bram"]
            else:
                continue
            what = f"Table {table[6:].replace('_', '.')}: {quantity.replace('_', ' ')}, {name}"
            yield _check(
                source, "frames a second by resource", what, printed, rule, *map(_exactly, of)
            )


def faraone_sets() -> Iterator[Check]:
    """Tables 6.2 and 6.7: coefficients counted; block RAM and memory by bits."""
    source = "faraone2021"
    for name, printed in _by(source, "table_6_2", "rccm", quantity="coefficients").items():
        rows = [r for r in _rows(source, "table_6_2") if r["rccm"] == name]
        sizes = [r["value"] for r in rows if r["quantity"] == "coefficient_magnitude"]
        count = sum(1 if float(size) == 0 else 2 for size in sizes)
        what = f"Table 6.2: coefficients, {name}"
        yield Check(source, "list counted", what, printed.printed, count, printed.value == count)
    keys = ("layer", "method", "quantity")
    found = _by(source, "table_6_7", *keys)
    for (layer, method, quantity), printed in found.items():
        if quantity == "memory" and method == "2-Add":
            of = [found[layer, "8-bit", "memory"], found[layer, method, "coefficient_bits"]]
            rule = lambda whole, bits: whole * bits / 8  # noqa: E731
            what = f"Table 6.7: memory, {layer}, {method}"
            yield _check(
                source, "memory = weights × bits", what, printed, rule, of[0], _exactly(of[1])
            )


#: Tables of numbers of the preprint, and how the article calls them.
ARTICLE = {f"table_{n}": f"table_{n}" for n in (1, 2, 3)} | {"figure_1": "figure_1"}
ARTICLE |= {f"figure_{n}": f"figure_{n + 2}" for n in (3, 6, 8, 9)}
PRINTED = ("source", "where", "value", "unit", "printed", "note", "number")


def stewart() -> Iterator[Check]:
    """What article and preprint both print must be the same."""
    claims = {
        name: reference.claims(name).set_index("claim") for name in ("stewart2020", "stewart2021")
    }
    both = claims["stewart2020"].index.intersection(claims["stewart2021"].index)
    kind = "the same number in article and preprint"
    for name in both:
        old, new = (claims[source].loc[name] for source in ("stewart2020", "stewart2021"))
        if pd.notna(old["value"]) and pd.notna(new["value"]):
            same = bool(old["value"] == new["value"])
            what = f"{new['where']}: {name.replace('_', ' ')}"
            yield Check("stewart2021", kind, what, new["printed"], float(old["value"]), same)
    for first, table in ARTICLE.items():
        old = {_keyed(row): row["number"] for row in _rows("stewart2020", first)}
        for row in _rows("stewart2021", table):
            if (key := _keyed(row)) not in old:
                continue  # one of the two says more
            name, number = table.split("_")
            parts = (value for _, value in key if value not in ("", "nan"))
            what = f"{name.capitalize()} {number}: {', '.join(parts)}"
            good = row["number"].value == old[key].value
            yield Check("stewart2021", kind, what, row["number"].printed, old[key].value, good)


def _keyed(row: Row) -> tuple:
    """What tells the numbers of a table apart: all but where and how they are printed."""
    return tuple((name, str(value)) for name, value in row.items() if name not in PRINTED)


#: What tells an accuracy of Vailakis 2022 and Faraone 2021 from another one.
WHICH = ("network", "variant", "dataset", "method", "rccm", "temperature", "alpha", "lr_steps")
WHICH += ("weight_bits", "act_bits", "granularity", "split", "metric", "quantity")


def repeated() -> Iterator[Check]:
    """The same training's accuracy in several tables."""
    for source in ("vailakis2022", "faraone2021"):
        places: dict[tuple, list[Row]] = {}
        for table in reference.tables(source):
            for row in _rows(source, table):
                if row["quantity"] in ("accuracy", "error") and row.get("network"):
                    places.setdefault(_which(row), []).append(row)
        for rows in places.values():
            for first, second in combinations(rows, 2):
                if first["where"] == second["where"]:
                    continue
                parts = [str(first[k]) for k in WHICH if k in first and first[k] == first[k]]
                what = f"{first['where']} and {second['where']}: {', '.join(p for p in parts if p)}"
                yield _same(source, what, first["number"], second["number"])


def _which(row: Row) -> tuple:
    """Keys of an accuracy, with what a table leaves out as the others have it."""
    usual = {"variant": "original", "split": "", "granularity": "pixel", "metric": ""}
    values = []
    for key in WHICH:
        value = row.get(key, usual.get(key, ""))
        values.append("" if value != value else str(value))
    return tuple(values)


def claimed() -> Iterator[Check]:
    """Numbers of abstracts, texts and conclusions from the tables: `errata_claims.CLAIMED`."""
    for source, rules in CLAIMED.items():
        claims = reference.claims(source).set_index("claim", drop=False)
        for name, rule in rules.items():
            if source == "stewart2020" and name not in claims.index:
                continue  # the article says more
            row = claims.loc[name].to_dict()
            printed = number(row)
            assert printed is not None, name
            exact, good = rule.holds(printed)
            what = f"{row['where']}: {name.replace('_', ' ')}"
            yield Check(source, "text against tables", what, printed.printed, exact, good)


def _over(a: float, b: float) -> float:
    return a / b


def _times(a: float, b: float) -> float:
    return a * b


def _thousand_over(a: float, b: float) -> float:
    return 1000 * a / b


def _percent(a: float, b: float) -> float:
    return 100 * a / b


def _exactly(one: Number) -> Number:
    """The number as printed, not what it may have been rounded from."""
    return Number(one.value, 0.0, one.printed)


CHECKS: tuple[Callable[[], Iterable[Check]], ...] = (
    stewart,
    ducasse,
    faraone_sizes,
    faraone_designs,
    faraone_sets,
    vailakis_sizes,
    vailakis_speed,
    repeated,
    claimed,
)
