"""Chapter 04: what Stewart et al. 2021 say about their radar charts, as predicates on ours.

"Top half" is a score of at least 0.5, "top quartile" of at least 0.75. Where the text compares
without a number, the thresholds below are ours.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pandas as pd

from qbench import hardware, reference
from qbench.studies.bit_width_sweep import STEWART
from qbench.studies.radar import AXES, READINGS, Bits, costs, families, scores, word
from qbench.studies.seeds import ONE_SEED

MANY = 2.0  # times: "significantly more"
SAME = 1.1  # times: "largely the same"
EVENLY = 0.1  # of a score: "an equal impact"
LOGIC = ("lut", "ff")
RESOURCES = ("lut", "ff", "bram18")
WEIGHTS, ACTS, BOTH = "weight oriented", "activation oriented", "linear"

Rows = list[dict[str, Any]]
#: What is said of ours, and whether the claim holds.
Found = tuple[str, bool]


def claims(
    errors: pd.DataFrame, resources: pd.DataFrame, readings: Sequence[str] = READINGS
) -> pd.DataFrame:
    """A row for each claim of section 4.2.2 and each reading of "ranked, then normalised".

    Columns `where`, `claim`, `score`, `ours`, `verdict`, `seeds`, `why`. `score` is the reading, or
    "counts" where a claim speaks of resources themselves. The verdict is that of the mean error
    over seeds; `seeds` says in how many of the seeds, each taken alone, it would be the same.
    Claims about flip-flops need estimates of them.
    """
    rows: Rows = []
    values = costs(errors, resources)
    for reading in readings:
        scored = scores(values, reading)
        alone = [scores(costs(errors[[seed]], resources), reading) for seed in errors]
        for name, judge, why in _ACCURACY:
            ours, holds = judge(scored)
            row = reference.claim(STEWART, name, holds=holds, ours=ours, why=why[reading])
            same = sum(judge(one)[1] == holds for one in alone)
            rows.append(row | {"score": reading, "seeds": _shared(same, len(alone))})
        least, why = _least_in_top_half(scored), "the fewest of any score of 0.5 or more"
        row = reference.claim_value(STEWART, "top_half_weight_bits", least) | {"why": why}
        same = sum(_least_in_top_half(one) == least for one in alone)
        rows.append(row | {"score": reading, "seeds": _shared(same, len(alone))})
        if "ff" in values:
            found = _evenly(scored)
            rows.append(_resource("linear_scaling_costs_evenly", *found, reading, _MODEL))
    order = list(reference.claims(STEWART)["statement"])
    rows.sort(key=lambda row: order.index(row["claim"]))
    for name, columns, judge, why in _COUNTED:
        if not set(columns) <= set(values):
            continue
        rows.append(_resource(name, *judge(values), "counts", why))
    columns = ["where", "claim", "score", "ours", "verdict", "seeds", "why"]
    return pd.DataFrame(rows, columns=columns)


def _shared(same: int, seeds: int) -> str:
    return ONE_SEED if seeds == 1 else f"{same} of {seeds}"


@cache
def _family(name: str) -> tuple[Bits, ...]:
    """A family of the paper; predicates ask for it once a seed."""
    return tuple(families()[name])


def _resource(name: str, ours: str, holds: bool, score: str, why: str) -> dict[str, Any]:
    """A row that no seed can turn."""
    row = reference.claim(STEWART, name, holds=holds, ours=ours, why=why)
    return row | {"score": score, "seeds": ""}


def gains(scored: pd.DataFrame, configurations: Sequence[Bits]) -> pd.Series:
    """What each step along `configurations` adds to the accuracy score, by its words."""
    found = scored.loc[list(configurations), "test_error"].diff().iloc[1:]
    pairs = zip(configurations, configurations[1:], strict=False)
    return found.set_axis([f"{word(a)}→{word(b)}" for a, b in pairs])


def _first_step(scored: pd.DataFrame) -> Found:
    found = gains(scored, _family(WEIGHTS))
    said = ", ".join(f"{step} {gain:+z.3f}" for step, gain in found.items())
    return said, bool(found.iloc[0] > found.iloc[1:].max())


def _each(scored: pd.DataFrame, chosen: Sequence[Bits], least: float) -> Found:
    found = scored.loc[list(chosen), "test_error"]
    said = ", ".join(f"{word(pair)} {score:.3f}" for pair, score in found.items())
    return said, bool((found >= least).all())


def _from_two_bits(scored: pd.DataFrame) -> Found:
    weights = scored.index.get_level_values("weight_bits")
    two, one = scored.loc[weights >= 2, "test_error"], scored.loc[weights < 2, "test_error"]
    reached = int((two >= 0.5).sum())
    said = (
        f"{reached} of {len(two)} with 2 or more bits, the least {two.min():.3f} "
        f"({word(two.idxmin())}); the greatest with 1 bit {one.max():.3f} ({word(one.idxmax())})"
    )
    return said, reached == len(two) and bool(one.max() < 0.5)


def _least_in_top_half(scored: pd.DataFrame) -> float:
    top = scored[scored["test_error"] >= 0.5]
    return float(top.index.get_level_values("weight_bits").min())


def _evenly(scored: pd.DataFrame) -> Found:
    rows = scored.loc[list(_family(BOTH)), list(RESOURCES)]
    gaps = rows.max(axis=1) - rows.min(axis=1)
    names = "/".join(AXES[name] for name in RESOURCES)
    said = ", ".join(
        f"{word(pair)} {'/'.join(f'{score:.2f}' for score in row)}"
        for pair, row in zip(rows.index, rows.to_numpy(), strict=True)
    )
    return f"{names}: {said}; largest gap {gaps.max():.2f}", bool(gaps.max() <= EVENLY)


def _costs_logic(values: pd.DataFrame) -> Found:
    rows = values.loc[list(_family(ACTS)), list(LOGIC)]
    rises, times = (rows.diff().iloc[1:] > 0).all(), rows.iloc[-1] / rows.iloc[0]
    return _ends(rows), bool(rises.all() and (times >= MANY).all())


def _leaves_bram(values: pd.DataFrame) -> Found:
    rows = values.loc[list(_family(ACTS)), ["bram18"]]
    return _ends(rows), bool(rows["bram18"].max() / rows["bram18"].min() <= SAME)


def _ends(rows: pd.DataFrame) -> str:
    first, last = word(rows.index[0]), word(rows.index[-1])
    said = (
        f"{AXES[name]} {column.iloc[0]:,.0f} → {column.iloc[-1]:,.0f} "
        f"({column.iloc[-1] / column.iloc[0]:.2f} times)"
        for name, column in rows.items()
    )
    return f"{first} → {last}: {', '.join(said)}"


def _four_bits(scored: pd.DataFrame) -> Found:
    return _each(scored, _family(ACTS), 0.5)


def _top_quartile(scored: pd.DataFrame) -> Found:
    return _each(scored, [pair for pair in _family(BOTH) if min(pair) > 1], 0.75)


_HALF = "only 32 of 64 places are in the upper half, and wider weights take most of them"
_QUARTER = "only 16 of 64 places are in the top quarter, and wider weights take most of them"
_NOISE = "between 3 and 8 bit weights places are mostly the seeds'"
_PLACES = "56 configurations cannot all have one of the 32 places of the upper half"
_NETWORK = "another network, another training; theirs are unstated"
_MODEL = "estimates of an assumed network and folding; theirs are unstated"
_ACCURACY: Sequence[tuple[str, Callable[[pd.DataFrame], Found], dict[str, str]]] = (
    ("one_to_three_weight_bits_help_most", _first_step, {"rank": _NOISE, "range": _NETWORK}),
    ("four_bit_weights_top_half", _four_bits, {"rank": _HALF, "range": _NETWORK}),
    ("two_bits_top_quartile", _top_quartile, {"rank": _QUARTER, "range": _NETWORK}),
    ("two_bit_weights_suffice_for_top_half", _from_two_bits, {"rank": _PLACES, "range": _NETWORK}),
)
_COUNTED: Sequence[tuple[str, Sequence[str], Callable[[pd.DataFrame], Found], str]] = (
    (
        "activation_bits_cost_logic",
        LOGIC,
        _costs_logic,
        f"not all {MANY:g} times as many; {_MODEL}",
    ),
    (
        "activation_bits_leave_bram",
        ("bram18",),
        _leaves_bram,
        f"more than {SAME:g} times as many; {_MODEL}",
    ),
)


def errata(values: pd.DataFrame, reading: str) -> pd.DataFrame:
    """Where the section disagrees with itself, and what ours say of what it may have meant.

    Columns `where`, `printed`, `should be`, `arithmetic`, `ours`.
    """
    scored = scores(values, reading)
    least = values["lut"].idxmin()
    limit = hardware.device("Z7020").lut
    steps = [gains(scored, [(weight, act) for weight in (1, 3, 6, 8)]) for act in (3, 4)]
    said = {
        "radar_activation_bits_three_or_four": "; ".join(
            ", ".join(f"{step} {gain:+z.3f}" for step, gain in found.items()) for found in steps
        ),
        "linear_series_ends_at_seven_bits": _each(
            scored, [(one, one) for one in range(2, 9)], 0.75
        )[0],
        "least_luts_exceed_device": f"fewest {values['lut'].min():,.0f} ({word(least)}); "
        f"{(values['lut'] <= limit).sum()} of {len(values)} have at most {limit:,}",
    }
    known = reference.errata(STEWART).set_index("erratum").loc[list(said)]
    found = known[["where", "printed", "should_be", "arithmetic"]].reset_index(drop=True)
    found = found.rename(columns={"should_be": "should be"})
    return found.assign(ours=list(said.values()))


def lessons(
    errors: pd.DataFrame, found: pd.DataFrame, sure: pd.DataFrame, all_64: pd.DataFrame
) -> str:
    """What this run shows, as a Markdown list.

    `found` is `claims`' table, `sure` that of `radar.agreement`, `all_64` that of `radar.overall`.
    """
    lines = []
    for reading, rows in found[found["score"].isin(READINGS)].groupby("score", sort=False):
        held = rows[rows["verdict"].isin(["trend", "exact"])]
        text = (
            f"* With scores by **{reading}**, {len(held)} of {len(rows)} claims about scores hold"
        )
        if len(sure) and len(held):
            settled = held["seeds"].isin(["", _shared(errors.shape[1], errors.shape[1])]).sum()
            text += f", {settled} of them with every single seed"
        lines.append(f"{text}.")
    if len(sure):
        wide = sure.iloc[-1]
        text = (
            f"* Among the {wide.configurations:.0f} configurations with {wide.least_bits:.0f} bits "
            f"or more throughout, two seeds agree on the order of {wide.same_order:.0f} % of the "
            f"pairs, where chance alone has 50 %"
        )
        if wide.p == wide.p:
            verb = "does not tell" if wide.p > 0.05 else "tells"
            text += f"; Friedman's test {verb} these configurations apart (p = {wide.p:.2g})"
        lines.append(f"{text}.")
    else:
        lines.append("* One seed cannot say how sure an accuracy score is.")
    mean, best = errors.mean(axis=1), all_64.iloc[0]
    half = all_64[all_64["test_error"] >= 0.5].iloc[0]
    lines.append(
        f"* The most accurate configuration is {word(mean.idxmin())} (error "
        f"{mean.min():.2f} %), the least accurate {word(mean.idxmax())} ({mean.max():.2f} %). "
        f"{best['configuration']} has the greatest mean score of the axes, {best['mean']:.2f}; "
        f"of those whose accuracy is in the upper half, {half['configuration']} has, "
        f"{half['mean']:.2f}. "
        f"{all_64['front'].sum()} of {len(all_64)} configurations are on the front."
    )
    printed = reference.load(STEWART, "table_3").query("quantity == 'accuracy_loss'")["value"]
    lines.append(
        f"* Our errors span {mean.max() - mean.min():.2f} points, those of Table 3, on MNIST, "
        f"{printed.max() - printed.min():.2f}: scores by range are relative to another span."
    )
    return "\n".join(lines)
