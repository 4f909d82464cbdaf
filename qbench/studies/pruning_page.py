"""Chapter 13: what its figures and tables show, from `pruning` and `pruning_tables`."""

import pandas as pd

from qbench import ledger, reference
from qbench.models.small import TITLES
from qbench.parameters.pruning import FilterPruning
from qbench.pruning import resources, runs
from qbench.pruning.rankings import RANKINGS
from qbench.pruning.shapes import published, without_connected
from qbench.pruning.strategies import STRATEGIES

from . import pruning_tables as tables
from .pruning import CLOCK, KEYS, controlled, deployed, plans, relative, retraining
from .pruning_tables import DEVICE, FARAONE, MEGA
from .seeds import interval, over_seeds, plus_minus
from .words import counted, dataset

REUSES = (1, 2, 16, 256, 4096, 65_536)
#: Why an estimate is not what was implemented, by resource.
ESTIMATED = {
    "lut": "FINN's formulas before place and route, for units that are not quite the thesis'",
    "bram": "lines of the image by FINN's formulas, without FIFOs, pooling and DMA",
    "dsp": "8-bit products alone; what else the thesis' DSPs do is not said",
}
NAMES = {"lut": "LUTs", "bram": "BRAMs", "dsp": "DSPs"}


def described(p: FilterPruning) -> str:
    """The scale of the trainings, for a caption."""
    many = "one seed" if len(p.seeds) == 1 else f"{len(p.seeds)} seeds"
    images = "all images" if p.images is None else counted(p.images, "image")
    passes = f"{counted(p.epochs, 'epoch')}, {retraining(p):,} in each retraining"
    on = f"{images} of {dataset(p.dataset)}"
    return f"{TITLES[p.network]}, width {p.width:g}, {on}, {passes}, {many}"


# Shapes: Tables 4.1 to 4.4, Figures 4.6 and 4.7


def reused() -> pd.DataFrame:
    """Eqs. 4.6 and 4.7 for the first layer of AlexNet: `reuse`, `elements`, `blocks`."""
    network = published("AlexNet")
    layer = network.units()["Conv1"][0]
    ops, words = resources.operations(layer), resources.words(network.act_bits)
    rows = [
        {
            "reuse": one,
            "elements": resources.elements(ops, one),
            "blocks": resources.feature_map_blocks(layer.mh, layer.window.out_size, one, words),
        }
        for one in REUSES
    ]
    return pd.DataFrame(rows)


def operation_shares() -> pd.DataFrame:
    """Operation shares of both networks, printed and ours: `network`, `layer`, …, `verdict`."""
    parts = []
    for name in tables.PRUNED:
        found = tables.shares(name)
        parts.append(found[found["quantity"] == "operations_share"].assign(network=name))
    found = pd.concat(parts, ignore_index=True)
    return found[["network", "layer", "published", "ours", "verdict"]]


def other_entries() -> pd.DataFrame:
    """The other entries of Tables 4.1 and 4.2 that are not exact, beside ours.

    Their reasons stand in the text of the page, the arithmetic in `slips`.
    """
    parts = [tables.shares(name).assign(network=name) for name in tables.PRUNED]
    found = pd.concat(parts, ignore_index=True)
    found = found[(found["quantity"] != "operations_share") & (found["verdict"] != "exact")]
    words = {"feature_map": "feature map (pixels)", "memory_share": "memory (%)"}
    found = found.assign(quantity=found["quantity"].map(words))
    return found[["network", "layer", "quantity", "published", "ours", "verdict"]]


def derived() -> pd.DataFrame:
    """Entries of Tables 4.3 and 4.4 that follow from others and are not exact, in words."""
    found = tables.implementations()
    found = found[found["verdict"] != "exact"]
    words = {"throughput_per_klut": "images/s a kLUT", "throughput_per_bram": "images/s a BRAM"}
    words |= {f"{part}_utilisation": f"{name} (% used)" for part, name in NAMES.items()}
    found = found.assign(quantity=found["quantity"].map(words))
    return found.drop(columns="unit")


def layers(name: str) -> pd.DataFrame:
    """What each convolution of a published network takes: `layer`, `share_of`, `share` (%).

    Shares of operations, and of what its quickest design on the KU115 takes in LUTs, block RAMs and
    DSPs.
    """
    network = without_connected(published(name))
    made = resources.quickest(network, on=DEVICE).table().set_index("layer")
    parts = {"operations": "operations", "lut": "LUTs", "bram18": "block RAMs", "dsp": "DSPs"}
    found = (100 * made[list(parts)] / made[list(parts)].sum()).rename(columns=parts)
    return found.reset_index().melt("layer", var_name="share_of", value_name="share")


def strategies_by_shape() -> pd.DataFrame:
    """Figures 4.6 and 4.7 on the published shapes, relative to the unpruned network.

    Columns: `network`, `strategy` (as on the page), `pruned` (% of the filters), `operations`,
    `bram_thesis` (eq. 4.7), `lut`, `interval` (% of the unpruned network's).
    """
    parts = []
    for name in tables.PRUNED:
        found = tables.compared(name)
        columns = ["operations", "bram_thesis", "lut", "interval"]
        for strategy, rows in found.groupby("strategy", sort=False):
            share = 100 * rows[columns] / rows[columns].iloc[0]
            keys = rows[["network", "pruned"]].assign(strategy=STRATEGIES[strategy])
            parts.append(pd.concat([keys, share], axis=1))
    return pd.concat(parts, ignore_index=True)


def beside_designs() -> pd.DataFrame:
    """Tables 4.3 and 4.4 beside our estimates at their cycles a frame: a row a printed count.

    Columns: `where`, `network`, `variant`, `quantity`, `published`, `ours`, `ratio`, `verdict`,
    `why`.
    """
    slip = reference.errata(FARAONE).set_index("erratum").loc["dsp_pruned_40_scaled", "arithmetic"]
    rows = []
    for one in tables.designs().to_dict("records"):
        for part, words in ESTIMATED.items():
            mine, theirs = float(one[f"ours_{part}"]), float(one[part])
            wrong = (one["where"], one["variant"], part) == ("Table 4.4", "Pruned-40%", "dsp")
            row = {name: one[name] for name in ("where", "network", "variant")}
            of = row | {"source": FARAONE, "quantity": part}
            why = slip if wrong else ""
            said = reference.verdict(theirs, mine, erratum=why, of=of)
            row |= {"quantity": NAMES[part], "published": theirs, "ours": mine}
            row |= {"ratio": mine / theirs, "verdict": said}
            rows.append(row | {"why": slip if wrong else words})
    return pd.DataFrame(rows)


def savings() -> pd.DataFrame:
    """What pruning saves at a fixed parallelism, by Table 4.3 and by our estimates.

    Columns: `network`, `variant`, `quantity`, `published` and `ours` (% of the original, minus
    where there is less), `verdict` (trend: the same sign).
    """
    found = tables.designs()
    found = found[found["where"] == "Table 4.3"].set_index(["network", "variant"])
    rows = []
    for (network, variant), one in found.iterrows():
        if variant == "Original":
            continue
        for part, words in NAMES.items():
            first = found.loc[(network, "Original")]
            theirs = 100 * (one[part] / first[part] - 1)
            mine = 100 * (one[f"ours_{part}"] / first[f"ours_{part}"] - 1)
            row = {"network": network, "variant": variant, "quantity": words}
            row |= {"published": theirs, "ours": mine}
            rows.append(row | {"verdict": "trend" if theirs * mine > 0 else "differs"})
    return pd.DataFrame(rows)


def scaled() -> pd.DataFrame:
    """Table 4.4's frame rates beside our quickest designs on the KU115, at the printed clocks.

    Columns: `variant`, `clock` (MHz), `published` and `ours` (images/s), `published_gain` and
    `gain` (over the original), `verdict` (trend: faster than the original on both sides).
    """
    printed = reference.load(FARAONE, "table_4_4")
    printed = printed.pivot_table(index="variant", columns="quantity", values="value", sort=False)
    network, rows = without_connected(published("AlexNet")), []
    for variant, one in printed.iterrows():
        quick = resources.quickest(network, tables.networks("AlexNet", variant), on=DEVICE)
        rows.append(
            {
                "variant": variant,
                "clock": one["frequency"],
                "published": one["throughput"],
                "ours": one["frequency"] * MEGA / quick.cost.cycles,
            }
        )
    found = pd.DataFrame(rows)
    found["published_gain"] = found["published"] / found["published"].iloc[0]
    found["gain"] = found["ours"] / found["ours"].iloc[0]
    faster = (found["published_gain"] > 1) == (found["gain"] > 1)
    found["verdict"] = ["trend" if same else "differs" for same in faster]
    for row in found[found["variant"] != "Original"].to_dict("records"):
        about = {"source": FARAONE, "where": "Table 4.4", "quantity": "throughput"}
        about |= {"variant": row["variant"]}
        why = "the sign of the gain over the original; ours by formula"
        ledger.entry(about, ours=round(row["ours"]), verdict=row["verdict"], why=why)
    return found


def slips() -> pd.DataFrame:
    """Errata of chapter 4: `where`, `printed`, `should_be`, `arithmetic`, `verdict`.

    What the publication's text has as LaTeX is written plainly.
    """
    found = reference.errata(FARAONE)
    found = found[found["where"].str.contains(r"\s4\.\d")].assign(verdict="erratum")
    plain = found["printed"].str.replace(r"\times", "×").str.replace(r"[{}$]", "", regex=True)
    found = found.assign(printed=plain)
    return found[["where", "printed", "should_be", "verdict", "arithmetic"]]


# Trainings


def gains(found: pd.DataFrame) -> pd.DataFrame:
    """Figure 4.3: `weights`, `ranking`, `pruned` (%), `gain` (points) with low and high of seeds.

    Against the unpruned network retrained as often where there is one, else as it was; every
    curve starts at 0.
    """
    ours = relative(found, control=controlled(found))
    share = found.drop_duplicates(KEYS).set_index(KEYS)["pruned"]
    rows = ours.stack().rename("gain").reset_index()
    rows["pruned"] = [share[tuple(key)] for key in rows[KEYS].to_numpy()]
    start = rows.drop_duplicates(["weights", "ranking"]).assign(pruned=0.0, gain=0.0)
    rows = pd.concat([start, rows], ignore_index=True)
    rows["ranking"] = rows["ranking"].map(RANKINGS)
    return over_seeds(rows, ["weights", "ranking", "pruned"], "gain")


def beside_figures(found: pd.DataFrame, profile: pd.DataFrame) -> pd.DataFrame:
    """What the text says of Figures 4.3 and 4.4 in numbers, beside ours, for each kind of weights.

    Columns: `where`, `quantity`, `weights`, `published` and `ours` in words, `verdict` (trend: the
    same sign; every layer within the printed range).
    """
    ours, rows = relative(found, control=controlled(found)), []
    printed = reference.claims(FARAONE).set_index("claim")["value"]
    low, high = printed["high_error_filters_low"], printed["high_error_filters_high"]
    for weights, of in profile.groupby("weights", sort=False):
        errors = [key for key in ours.index if key[:2] == (weights, "qerror")]
        if errors:
            best = max(errors, key=lambda key: ours.loc[key].mean())
            mean, half = interval(ours.loc[best].dropna())
            said = plus_minus(mean, half, signed=True)
            row = {"where": "Figure 4.3", "quantity": "best gain by quantisation error (points)"}
            row |= {"weights": weights, "published": f"+{printed['qerror_gain']:.1f}"}
            row |= {"ours": said, "verdict": "trend" if mean > 0 else "differs"}
            _note(("qerror_gain",), row)
            rows.append(row)
        share = 100 * of.groupby("layer")["high"].mean()
        row = {"where": "Figure 4.4", "quantity": "filters far above the rest of a layer (%)"}
        row |= {"weights": weights, "published": f"{low:.0f} to {high:.0f}"}
        row |= {"ours": f"{share.min():.0f} to {share.max():.0f}"}
        row |= {"verdict": "trend" if share.between(low, high).all() else "differs"}
        _note(("high_error_filters_low", "high_error_filters_high"), row)
        rows.append(row)
    return pd.DataFrame(rows)


def _note(names: tuple[str, ...], row: dict[str, str]) -> None:
    """Tell the scoreboard what a row of `beside_figures` says of these claims."""
    why = f"{row['weights']} weights of a small network"
    for name in names:
        ledger.claim(FARAONE, name, ours=row["ours"], verdict=row["verdict"], why=why)


def courses(found: pd.DataFrame) -> pd.DataFrame:
    """`pruning.courses` for the page: error against what is left, a row a strategy and step.

    Columns: `strategy` (as on the page), `iteration`, `of` (what is left: operations, block RAM),
    `left` (% of the unpruned network's, mean over seeds), `test_error` (%, mean) with `low` and
    `high` of seeds.
    """
    parts, errors = [], over_seeds(found, ["strategy", "iteration"])
    for column, of in (("operations", "operations"), ("bram18", "block RAM")):
        whole = found.groupby(["strategy", "seed"])[column].transform("first")
        left = found.assign(left=100 * found[column] / whole)
        means = left.groupby(["strategy", "iteration"], as_index=False, sort=False)["left"].mean()
        parts.append(means.merge(errors, on=["strategy", "iteration"]).assign(of=of))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(strategy=rows["strategy"].map(STRATEGIES))


def strategies_of_ours(compared: pd.DataFrame) -> pd.DataFrame:
    """`pruning.compared` as means over seeds, a row a strategy, with a name for the page."""
    numbers = ["iterations", "test_error", "filters", "operations", "bram_thesis", "lut"]
    found = compared.groupby("strategy", sort=False)[[*numbers, "bram18", "dsp", "frame_rate"]]
    found = found.mean().reset_index()
    names = [STRATEGIES.get(one, "not pruned") for one in found["strategy"]]
    return found.assign(strategy=names)


def steps(p: FilterPruning, seed: int) -> pd.DataFrame:
    """Algorithm 3 on the network of a seed: a row a training.

    Columns: `step`, the filters of each convolution, `valid_error` and `test_error` (%).
    """
    plan, rows = plans(p, seed)[p.strategies[0]], []
    for place, spec in enumerate(deployed(p, seed)):
        step = f"pruned and retrained, {place}" if place else "trained"
        if place and (place > len(plan) or plan[place - 1] != spec["filters"]):
            step = "fine-tuned to PE and retrained"
        row = {"step": step} | spec["filters"]
        errors = {f"{part}_error": runs.error_of(spec, part) for part in ("valid", "test")}
        rows.append(row | errors)
    return pd.DataFrame(rows)


def elements(p: FilterPruning, seed: int) -> pd.DataFrame:
    """The design that is deployed: PE, SIMD and MMV of every layer, and N mod PE.

    Columns as `resources.Design.table`, with `remainder` for the filters that PE leaves over.
    """
    network = runs.hardware_of(deployed(p, seed)[-1])
    found = resources.quickest(network, on=p.device, mmv=p.mmv).table()
    found["remainder"] = found["filters"] % found["pe"]
    order = ["layer", "filters", "pe", "remainder", "simd", "mmv", "cycles", "lut", "bram18", "dsp"]
    return found[order]


def effects(before_after: pd.DataFrame) -> pd.DataFrame:
    """`pruning.before_and_after` as means over seeds, a row a quantity.

    Columns: `design` (with MMV, or folded a pixel at a time), `quantity`, `original`, `pruned`,
    `change` in words: in %, of an error in points.
    """
    found = before_after.copy()
    found["folded_per_klut"] = 1000 * found["folded_frame_rate"] / found["folded_lut"]
    found["folded_per_bram"] = found["folded_frame_rate"] / found["folded_bram18"]
    at = f"at {CLOCK / MEGA:.0f} MHz"
    shown = {
        "filters": ("the network", "filters"),
        "test_error": ("the network", "test error (%)"),
        "frame_rate": ("pixels at once", f"images/s {at}"),
        "lut": ("pixels at once", "LUTs"),
        "bram18": ("pixels at once", "BRAM18"),
        "dsp": ("pixels at once", "DSPs"),
        "frames_per_klut": ("pixels at once", "images/s a kLUT"),
        "frames_per_bram": ("pixels at once", "images/s a BRAM18"),
        "folded_frame_rate": ("a pixel at a time", f"images/s {at}"),
        "folded_lut": ("a pixel at a time", "LUTs"),
        "folded_bram18": ("a pixel at a time", "BRAM18"),
        "folded_per_klut": ("a pixel at a time", "images/s a kLUT"),
        "folded_per_bram": ("a pixel at a time", "images/s a BRAM18"),
    }
    means = found.groupby("network")[list(shown)].mean()
    rows = []
    for column, (design, quantity) in shown.items():
        first, last = means.loc["original", column], means.loc["pruned", column]
        change = f"{100 * (last / first - 1):+z.1f} %" if first else ""
        if column == "test_error":
            change = f"{last - first:+z.2f} points"
        row = {"design": design, "quantity": quantity, "original": first, "pruned": last}
        rows.append(row | {"change": change})
    return pd.DataFrame(rows)
