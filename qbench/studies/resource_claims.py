"""Chapter 03: what Stewart et al. and Ducasse et al. claim about resources, as predicates.

"Evenly" is that neither bit width moves the mean more than 1.5 times as far as the other, so that
the activations' share of both effects is from 40 to 60 %; "determined by" is a share of at least
80 %, four times as far as the other. Both are ours, set before the units were synthesised and the
flip-flop model was fitted, though not before the formulas' LUTs of LFC had been seen.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from qbench import reference
from qbench.hardware.devices import Device, device
from qbench.hardware.mvtu import RESOURCES
from qbench.studies.resources import INSIDE, LABELS, effects, errors, fitting, wide_operands

STEWART, DUCASSE = "stewart2021", "ducasse2021"
EVEN = (40, 60)  # per cent that the activations make
DETERMINED = 80
STRAIGHT = 5  # per cent of the range by which a straight line may miss
ESTIMATES = "estimates of a network whose size and folding are assumed"

Rows = list[dict[str, Any]]


def claims(bases: Mapping[str, pd.DataFrame], on: str | Device) -> pd.DataFrame:
    """Claims about all pairs of bit widths: a row for each and each of `bases`.

    `bases` maps words such as "LFC, formulas" to rows with weight_bits, act_bits, lut, ff, bram18
    at 1 to 8 bits each. What counts networks that fit is judged on the first alone: the others are
    single units. Columns `where`, `claim`, `numbers of`, `ours`, `verdict`, `why`.
    """
    rows: Rows = []
    for words, frame in bases.items():
        rows += [row | {"numbers of": words} for row in [*_effects(frame), *_growth(frame)]]
    words, frame = next(iter(bases.items()))
    rows += [row | {"numbers of": words} for row in _fits(frame, on)]
    columns = ["where", "claim", "numbers of", "ours", "verdict", "why"]
    return pd.DataFrame(rows, columns=columns)


def _effects(frame: pd.DataFrame) -> Rows:
    shares = effects(frame).set_index("resource")["share"]
    low, high = EVEN
    rows: Rows = []
    for claim, name, holds, wanted in (
        ("lut_depends_on_both_evenly", "lut", low <= shares["lut"] <= high, f"{low} to {high} %"),
        (
            "flip_flops_depend_on_activations",
            "ff",
            shares["ff"] >= DETERMINED,
            f"at least {DETERMINED} %",
        ),
        ("bram_depends_on_weights_only", "bram18", shares["bram18"] == 0, "0 %"),
    ):
        if np.isnan(shares[name]):
            continue
        ours = f"{LABELS[name]}: activations make {shares[name]:.0f} % of both effects"
        rows.append(_row(claim, holds, ours, f"{wanted} was required"))
    return rows


def _growth(frame: pd.DataFrame) -> Rows:
    rows: Rows = []
    for claim, by, names in (
        ("activation_precision_raises_lut_and_flip_flops", "act_bits", ("lut", "ff")),
        ("weight_precision_raises_bram", "weight_bits", ("bram18",)),
    ):
        means = frame.groupby(by)[list(names)].mean().sort_index().dropna(axis=1)
        if not len(means.columns):
            continue
        grows = bool((means.diff().iloc[1:] > 0).all(axis=None))
        ours = "; ".join(
            f"{LABELS[n]} {means[n].iloc[0]:,.0f} at 1 bit, {means[n].iloc[-1]:,.0f} at 8"
            for n in means
        )
        rows.append(_row(claim, grows, ours, "not with every further bit"))
    return rows


def _fits(frame: pd.DataFrame, on: str | Device) -> Rows:
    counts, target = fitting(frame, on), device(on)
    rows = [
        _row(
            "most_networks_do_not_fit",
            counts["all"] < len(frame) / 2,
            f"{counts['all']} of {len(frame)} fit the {target.name}",
            ESTIMATES,
        )
    ]
    for claim, name in (
        ("networks_fitting", "all"),
        ("networks_fitting_bram", "bram18"),
        ("networks_fitting_flip_flops", "ff"),
    ):
        if name in counts:
            rows.append(reference.claim_value(STEWART, claim, counts[name], why=ESTIMATES))
            if rows[-1]["verdict"] == "exact":
                rows[-1]["why"] = ""
    return rows


def equal_width_claims(networks: pd.DataFrame, on: str | Device) -> pd.DataFrame:
    """Ducasse's claims about networks with as many weight as activation bits.

    `networks` are rows of `resources.equal_widths` at 2 to 8 bits. Columns as of `claims`.
    """
    rows: Rows = []
    for where, frame in networks.groupby("thresholds_in", sort=False):
        of = {"numbers of": f"synthesised, thresholds in {WORDS[where]}"}
        frame = frame[frame["bits"] >= 2].set_index("bits").sort_index()
        if list(frame.index) != list(range(2, 9)):
            continue
        logic = frame[["lut", "ff"]]
        rows.append(
            _row(
                "more_bits_more_logic",
                bool((logic.diff().iloc[1:] > 0).all(axis=None)),
                "; ".join(f"{LABELS[n]} {f.iloc[0]:,} to {f.iloc[-1]:,}" for n, f in logic.items()),
                "not with every further bit",
                DUCASSE,
            )
            | of
        )
        fits = {name: _straight(values) for name, values in logic.items()}
        rows.append(
            _row(
                "logic_linear_up_to_six_bits",
                all(miss <= STRAIGHT for miss, _ in fits.values()),
                "; ".join(
                    f"{LABELS[n]} misses a straight line from 2 to 6 bits by {miss:.0f} % of its "
                    "range"
                    for n, (miss, _) in fits.items()
                ),
                f"at most {STRAIGHT} % was required",
                DUCASSE,
            )
            | of
        )
        rows.append(
            _row(
                "logic_faster_than_linear_above_six_bits",
                all(beyond > STRAIGHT for _, beyond in fits.values()),
                "; ".join(
                    f"{LABELS[n]} at 8 bits {beyond:+z.0f} % off that line"
                    for n, (_, beyond) in fits.items()
                ),
                f"more than {STRAIGHT} % above was required",
                DUCASSE,
            )
            | of
        )
        blocks = frame["bram18"]
        steps = blocks.diff()
        rows.append(
            _row(
                "bram_jumps_at_high_bits",
                steps[8] >= 2 * steps.loc[3:7].max(),
                f"{steps[8]:+z.0f} BRAM18 from 7 to 8 bits, at most {steps.loc[3:7].max():+z.0f} a "
                "bit before",
                "twice the largest step before was required",
                DUCASSE,
            )
            | of
        )
        target = device(on)
        within = {n: _within(frame.loc[n], target) for n in (7, 8)}
        rows.append(
            _row(
                "a8w8_synthesised_only",
                within[7] and not within[8],
                f"of {target.lut:,} LUTs of the {target.name}, 7 bits need {frame['lut'][7]:,} and "
                f"8 bits {frame['lut'][8]:,}",
                "the layers alone would fit with 8 bits" if within[8] else "nor do 7 bits fit",
                DUCASSE,
            )
            | of
        )
        growth = (frame["lut"] / frame["lut"].shift()).dropna()
        rows.append(
            _row(
                "hardware_grows_exponentially",
                growth.iloc[-1] >= growth.iloc[0],
                f"LUT × {growth.iloc[0]:.2f} from 2 to 3 bits, × {growth.iloc[-1]:.2f} from 7 to 8",
                "an exponential keeps its factor",
                DUCASSE,
            )
            | of
        )
    columns = ["where", "claim", "numbers of", "ours", "verdict", "why"]
    return pd.DataFrame(rows, columns=columns)


def _within(row: pd.Series, target: Device) -> bool:
    return all(row[name] <= getattr(target, name) for name in RESOURCES)


WORDS = {"distributed": "LUTs", "block": "block RAM"}


def printed() -> dict[str, Any]:
    """What Stewart et al. 2021 print, as a row of `resources.assumptions`."""
    ends = reference.load(STEWART, "table_3").set_index(["quantity", "bound"])["value"]
    counts = reference.claims(STEWART).set_index("claim")["value"]
    row: dict[str, Any] = {"assumed": "Stewart et al. 2021, as printed"}
    for quantity, name in _TABLE_3:
        row[LABELS[name]] = f"{ends[quantity, 'best']:,.0f}–{ends[quantity, 'worst']:,.0f}"
    for claim, words in (
        ("networks_fitting_bram", INSIDE["bram18"]),
        ("networks_fitting_flip_flops", INSIDE["ff"]),
        ("networks_fitting", "all"),
    ):
        row[f"fit by {words}"] = counts[claim]
    return row


_TABLE_3 = (("bram", "bram18"), ("flip_flops", "ff"), ("lut", "lut"))


def table_3(frame: pd.DataFrame, tolerances: Mapping[str, float]) -> pd.DataFrame:
    """Least and most of each resource beside Stewart's Table 3; `tolerances` are in per cent.

    The tolerance of a resource is the median error of its estimate against our own synthesis:
    nearer than that, two counts cannot be told apart by such a model.
    """
    rows = []
    published = reference.load(STEWART, "table_3").set_index(["quantity", "bound"])["value"]
    for quantity, name in _TABLE_3:
        if frame[name].isna().any():
            continue
        for bound, ours in (("best", frame[name].min()), ("worst", frame[name].max())):
            printed = published[quantity, bound]
            share = tolerances.get(name, 0.0)
            why = f"{share:.0f} %, the median error of the estimate" if name in tolerances else ""
            of = {"source": STEWART, "where": "Table 3", "quantity": quantity, "bound": bound}
            near = share / 100 * printed
            said = reference.verdict(printed, ours, tolerance=near, why=why, of=of)
            rows.append(
                {
                    "resource": f"{LABELS[name]}, {'least' if bound == 'best' else 'most'}",
                    "published": printed,
                    "ours": ours,
                    "ours / published": ours / printed,
                    "verdict": said,
                    "tolerance": why,
                }
            )
    return pd.DataFrame(rows)


def lessons(
    bases: Mapping[str, pd.DataFrame],
    beside: pd.DataFrame,
    model: Any,
    equal: pd.DataFrame,
    on: str | Device,
) -> str:
    """What the page shows, as a Markdown list; arguments as the functions above make them."""
    lines = []
    found = errors(beside)
    sums = found[found["units"] == "sums"].set_index("resource")
    with_thresholds = found[found["units"] != "sums"].set_index("resource")
    wide = wide_operands(beside)
    few, many = wide.index.min(), wide.index.max()
    lines.append(
        f"**The formulas.** For units without thresholds FINN's LUTs are off by "
        f"{_spread(sums.loc['LUT'])}, its block RAMs by {_spread(sums.loc['BRAM18'])}. With 4 "
        f"bits or more in both operands LUTs are off by {_range(wide.loc[many])} at PE = SIMD = "
        f"{many}, by {_range(wide.loc[few])} at PE = SIMD = {few}. With all "
        "thresholds compared at once the formula's LUTs are up to "
        f"{1 + with_thresholds.loc['LUT', 'high'] / 100:,.0f} times those of the binary search."
    )
    lines.append(
        f"**Flip-flops** follow from the registers of the unit: {model.error:.1f} % mean error on "
        "units not fitted to."
    )
    for words, frame in bases.items():
        share = effects(frame).set_index("resource")["share"]
        lines.append(
            f"**{words[0].upper()}{words[1:]}**: of what bit widths do to the LUTs, activations "
            f"make {share['lut']:.0f} %; for flip-flops {share['ff']:.0f} %, for block RAM "
            f"{share['bram18']:.0f} %."
        )
    counts, target = fitting(next(iter(bases.values())), on), device(on)
    by = ", ".join(f"{n} by {INSIDE[k]}" for k, n in counts.items() if k != "all")
    lines.append(f"**{target.name}**: {counts['all']} of 64 fit ({by}).")
    last = equal[equal["bits"].isin([7, 8])].pivot(
        index="thresholds_in", columns="bits", values="bram18"
    )
    if last.shape == (2, 2):
        lines.append(
            "**Equal widths**: from 7 to 8 bits, block RAM goes from "
            f"{last.loc['block', 7]:.0f} to {last.loc['block', 8]:.0f} with thresholds in block "
            f"RAM, from {last.loc['distributed', 7]:.0f} to {last.loc['distributed', 8]:.0f} with "
            "thresholds in LUTs."
        )
    return "\n".join(f"* {line}" for line in lines)


def _spread(row: pd.Series) -> str:
    return f"{row['median']:.0f} % in the median ({_range(row)})"


def _range(row: pd.Series) -> str:
    """`-24 to +19 %`; an error that rounds to 0 has no sign."""
    ends = [f"{row[end]:+z.0f}" for end in ("low", "high")]
    return " to ".join("0" if end == "+0" else end for end in ends) + " %"


def _straight(values: pd.Series) -> tuple[float, float]:
    """(largest miss of the least squares line of 2 to 6 bits, height of 8 bits over that line).

    In per cent: of the values' range, and of the line at 8 bits.
    """
    part = values.loc[2:6].astype(float)
    slope, start = np.polyfit(part.index.to_numpy(float), part.to_numpy(), 1)
    misses = (part - (slope * part.index.to_numpy(float) + start)).abs()
    line = slope * 8 + start
    return 100 * misses.max() / np.ptp(part), 100 * (values[8] - line) / line


def _row(claim: str, holds: bool, ours: str, why: str, source: str = STEWART) -> dict[str, Any]:
    return reference.claim(source, claim, holds=bool(holds), ours=ours, why=why)
