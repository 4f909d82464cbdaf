"""Chapters 08 and 09: trainings over bits, ours beside the thesis', gains beside chance."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from qbench import reference

from .qkd import METHODS, QUANTISED
from .seeds import ONE_SEED

VAILAKIS = "vailakis2022"
KEYS = ["network", "method", "weight_bits", "alpha"]
RANGES = {"minmax": "min, max", "learnt": "intervals"}  # of quantisers, how they are found
THESIS = "minmax"  # its quantiser: running averages, one range a tensor

Key = tuple[str, str, int, float]  # of `KEYS`; alpha is −1 where there is none


def accuracies(table: pd.DataFrame, quantiser: str = THESIS) -> pd.DataFrame:
    """Test accuracies (%) with one quantiser, one range a tensor: a row a cell, a column a seed."""
    rows = table[table["quantiser"].isin(["", quantiser]) & ~table["per_channel"]]
    rows = rows.assign(accuracy=100 - rows["test_error"], alpha=rows["alpha"].fillna(-1.0))
    return rows.pivot_table(index=KEYS, columns="seed", values="accuracy")


def noise(table: pd.DataFrame) -> float:
    """Standard deviation (points) of a test accuracy from seed to seed, from all cells.

    Cells of fewer than 4 bits are left out: they scatter more, and the thesis has none. NaN with a
    single seed.
    """
    ours = accuracies(table)
    return scatter(ours[ours.index.get_level_values("weight_bits") >= 4])


def scatter(rows: pd.DataFrame) -> float:
    """Standard deviation over the columns that rows have in common.

    From the median of the rows' variances, in proportion to that of χ²: a few rows that scatter
    far more than all others, such as trainings of a single epoch, do not count.
    """
    rows = rows.dropna()  # without the cells of trainings that diverged
    freedom = rows.shape[1] - 1
    if freedom < 1 or not len(rows):
        return float("nan")
    median = float(rows.var(axis=1, ddof=1).median())
    return float(np.sqrt(median * freedom / stats.chi2.median(freedom)))


def clear(difference: pd.Series, spread: float) -> bool:
    """Whether a mean difference is larger than twice what it is uncertain by.

    Its standard error comes from its own scatter or from `spread`, that of one training (points),
    whichever is larger: few seeds may agree by chance. Never with a single seed.
    """
    difference = difference.dropna()  # of trainings that diverged
    count = len(difference)
    if count < 2 or np.isnan(spread):
        return False
    scatter = max(float(difference.std(ddof=1)), 2**0.5 * spread)
    return abs(float(difference.mean())) > 2 * scatter / count**0.5


def published(
    tables: Sequence[str], titles: Mapping[str, str], dataset: str = "MNIST"
) -> pd.DataFrame:
    """The thesis' test accuracies of the networks in `titles`: `where`, `KEYS`, `value`."""
    names = {name: key for key, name in titles.items()}
    parts = []
    for name in tables:
        rows = reference.load(VAILAKIS, f"table_{name}")
        rows = rows[(rows["split"] == "test") & rows["network"].isin(names)]
        rows = rows[rows["dataset"] == dataset]
        rows = rows.assign(network=rows["network"].map(names))
        if "alpha" not in rows:
            rows = rows.assign(alpha=np.nan)
        rows["alpha"] = pd.to_numeric(rows["alpha"], errors="coerce").fillna(-1.0)
        rows["entry"] = rows.index.map(f"table_{name}:{{}}".format)
        parts.append(rows[["source", "entry", "where", *KEYS, "quantity", "value", "unit"]])
    return pd.concat(parts, ignore_index=True)


def beside_published(
    table: pd.DataFrame, printed: pd.DataFrame, titles: Mapping[str, str]
) -> pd.DataFrame:
    """Every printed accuracy that ours has: `where`, network, method, bits, a, both, verdict.

    The printed number is one training, ours the mean of n; they agree where they differ by no more
    than chance lets one training differ from a mean of n: 2 s √(1 + 1/n).
    """
    ours, spread = accuracies(table), noise(table)
    count = ours.shape[1]
    bound = 0.0 if np.isnan(spread) else 2 * spread * (1 + 1 / count) ** 0.5
    why = f"one training and a mean of {count} differ by up to {bound:.2f} points by chance"
    means = ours.mean(axis=1).rename("value").reset_index()
    parts = []
    for where, rows in printed.groupby("where", sort=False):
        rows = rows.drop_duplicates(KEYS)
        found = reference.compare(rows, means, on=KEYS, tolerance=bound, why=why if bound else "")
        parts.append(found.assign(where=where))
    return _shown(pd.concat(parts, ignore_index=True), titles)


def _shown(found: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    bits = found["weight_bits"].astype(int)
    return pd.DataFrame(
        {
            "where": found["where"],
            "network": found["network"].map(titles),
            "trained": found["method"].map(METHODS),
            "bits": np.where(bits == 32, "float32", bits.astype(str)),
            "a": [f"{alpha:g}" if alpha >= 0 else "" for alpha in found["alpha"]],
            "published (%)": found["published"],
            "ours (%)": found["ours"],
            "verdict": found["verdict"],
        }
    )


def contrasts(
    table: pd.DataFrame, printed: pd.DataFrame, asked: Mapping[str, tuple[Key, Key]]
) -> pd.DataFrame:
    """Differences that the thesis concludes from, beside ours and what seeds do to them.

    `asked` names them: first minus second, each a key of `KEYS`.
    Columns: `contrast`, `published` (points, one training each), `ours` (mean over seeds), `half`
    (of its interval), `chance` (how far apart two equal trainings lie by chance, twice the standard
    deviation of a difference), `published_clear` (whether the published difference is larger) and
    `ours_clear` (whether the interval leaves out 0). The deviation is √2 `noise` for two
    trainings; for PTQ, which changes one training, that of its differences from float32, pooled
    over networks.
    """
    ours = accuracies(table)
    theirs_of = printed.drop_duplicates(KEYS).set_index(KEYS)["value"]
    rows = []
    for name, (first, second) in asked.items():
        if first not in ours.index or second not in ours.index:
            continue
        difference = (ours.loc[first] - ours.loc[second]).dropna()
        one_training = (first[1], second[1]) == ("ptq", "baseline")
        spread = ptq_noise(ours, first[2]) if one_training else 2**0.5 * noise(table)
        mean, half = difference.mean(), 2 * spread / len(difference) ** 0.5
        theirs = theirs_of.get(first, np.nan) - theirs_of.get(second, np.nan)
        rows.append(
            {
                "contrast": name,
                "published": theirs,
                "ours": mean,
                "half": half,
                "chance": 2 * spread,
                "published_clear": _said(abs(theirs) > 2 * spread, theirs, spread),
                "ours_clear": _said(abs(mean) > half, half),
            }
        )
    return pd.DataFrame(rows)


#: The columns of `contrasts` on the page; what takes several seeds comes last.
HEADINGS = {
    "contrast": "difference",
    "published": "published (points)",
    "ours": "ours, mean (points)",
    "half": "±",
    "chance": "chance (points)",
    "published_clear": "published larger than chance?",
    "ours_clear": "ours clear?",
}


def contrasts_shown(found: pd.DataFrame) -> pd.DataFrame:
    """`contrasts` under its headings, without the columns that one seed leaves empty."""
    columns = list(HEADINGS) if found["chance"].notna().any() else list(HEADINGS)[:3]
    return found[columns].rename(columns=HEADINGS)


def contrast_formats(found: pd.DataFrame) -> dict[str, str]:
    """How a page writes the numbers of `contrasts_shown`."""
    signs = dict.fromkeys(("published (points)", "ours, mean (points)"), "+.2f")
    written = signs | {"±": ".2f", "chance (points)": ".2f"}
    return {name: form for name, form in written.items() if name in contrasts_shown(found)}


def ptq_noise(ours: pd.DataFrame, bits: int) -> float:
    """Standard deviation over seeds of what PTQ to `bits` bits changes, from all networks."""
    changes = [
        ours.loc[key] - ours.loc[before]
        for key in ours.index
        if key[1:3] == ("ptq", bits) and (before := (key[0], "baseline", 32, -1)) in ours.index
    ]
    return float(pd.Series([change.var(ddof=1) for change in changes], dtype=float).mean() ** 0.5)


def _said(holds: bool, *needed: float) -> str:
    if any(np.isnan(value) for value in needed):
        return "cannot tell"
    return "yes" if holds else "no"


def diverged(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Which trainings diverged, as Markdown."""
    rows = table[table["test_error"].isna()]
    if rows.empty:
        return f"None of the {len(table):,} trainings diverged."
    keys = ["network", "method", "weight_bits", "quantiser", "per_channel"]
    named = [
        f"{titles[network]}, {METHODS.get(method, method)}"
        + (f" at {bits} bits ({quantiser}{', per channel' * apart})" if bits < 32 else "")
        + f": {count}"
        for (network, method, bits, quantiser, apart), count in rows.groupby(keys, sort=False)
        .size()
        .items()
    ]
    return (
        f"{len(rows)} of the {len(table):,} trainings diverged and are left out of every mean: "
        f"{'; '.join(named)}."
    )


def agreement(beside: pd.DataFrame, table: pd.DataFrame) -> str:
    """How many of the printed accuracies ours agree with, as Markdown."""
    said = beside["verdict"].value_counts()
    agree = int(said.get("exact", 0) + said.get("matches", 0))
    off = (beside["ours (%)"] - beside["published (%)"])[beside["verdict"] == "differs"]
    text = f"{agree} of {len(beside)} printed accuracies agree with ours"
    if np.isnan(noise(table)):
        return f"{text}; with a single seed nothing says how far chance reaches."
    text += f" (one training scatters by {noise(table):.2f} points, standard deviation)."
    if len(off):
        above = int((off > 0).sum())
        text += (
            f" Of the others ours are higher {above} times and lower {len(off) - above} times, by "
            f"{off.abs().min():.2f} to {off.abs().max():.2f} points."
        )
    return text


def by_bits(table: pd.DataFrame, student: str, chosen: Sequence[tuple[int, str]]) -> pd.DataFrame:
    """The student's test error over its bits: `method` in words, `weight_bits`, mean, low, high.

    `chosen` are the bits shown, each with its quantiser.
    """
    rows = _student(table, student)
    pairs = zip(rows["weight_bits"], rows["quantiser"], strict=True)
    rows = rows[[pair in chosen for pair in pairs]]
    found = rows.groupby(["method", "weight_bits"], sort=False)["test_error"]
    found = found.agg(test_error="mean", low="min", high="max").reset_index()
    order = {method: place for place, method in enumerate(QUANTISED)}
    found = found.sort_values(["method", "weight_bits"], key=lambda c: c.map(order).fillna(c))
    return found.assign(method=found["method"].map(METHODS))


def lost(
    table: pd.DataFrame, titles: Mapping[str, str], quantiser: str, *, per_channel: bool
) -> pd.DataFrame:
    """What PTQ costs: `network` in words, `bits` as text, `lost` (points, mean over seeds)."""
    keys = ["network", "seed"]
    rows = table[
        (table["method"] == "ptq")
        & (table["quantiser"] == quantiser)
        & (table["per_channel"] == per_channel)
    ]
    before = table[table["method"] == "baseline"][[*keys, "test_error"]]
    both = rows.merge(before, on=keys, suffixes=("", "_float32"))
    both["lost"] = both["test_error"] - both["test_error_float32"]
    found = both.groupby(["network", "weight_bits"], sort=False)["lost"].mean().reset_index()
    return pd.DataFrame(
        {
            "network": found["network"].map(titles),
            "bits": found["weight_bits"].astype(str),
            "lost": found["lost"],
        }
    )


def lost_by_ranges(
    table: pd.DataFrame, titles: Mapping[str, str], quantisers: Sequence[str]
) -> pd.DataFrame:
    """`lost` for each of `quantisers` with both kinds of ranges, which `ranges` names."""
    found = []
    for quantiser in quantisers:
        for per_channel in (False, True):
            ranges = f"{RANGES[quantiser]}, {'channel' if per_channel else 'tensor'}"
            rows = lost(table, titles, quantiser, per_channel=per_channel)
            found.append(rows.assign(ranges=ranges))
    return pd.concat(found, ignore_index=True)


def recommended(table: pd.DataFrame, student: str) -> pd.DataFrame:
    """For every bit width the best training of the student, and what does as well.

    Best by the mean validation error over seeds, none of which diverged; `as good` are those whose
    difference in test error is not `clear`. One seed cannot tell, and the column says so.
    `PTQ (%)` is with the ranges of the best training.
    """
    rows, spread = _student(table, student), noise(table)
    index = ["method", "quantiser"]
    found = []
    for bits, group in rows.groupby("weight_bits", sort=False):
        valid = group.pivot_table(index=index, columns="seed", values="valid_error")
        test = group.pivot_table(index=index, columns="seed", values="test_error")
        valid, test = valid.dropna(), test.dropna()  # with every seed
        if valid.empty:
            continue
        best = valid.mean(axis=1).idxmin()
        alike = [
            f"{METHODS[method]}, {quantiser}"
            for method, quantiser in test.index
            if (method, quantiser) != best
            and not clear(test.loc[(method, quantiser)] - test.loc[best], spread)
        ]
        after = ("ptq", best[1])  # training helps beyond what the ranges do
        found.append(
            {
                "bits": int(bits),
                "best": METHODS[best[0]],
                "ranges": best[1],
                "test accuracy (%)": 100 - test.loc[best].mean(),
                "PTQ (%)": 100 - test.loc[after].mean() if after in test.index else np.nan,
                "as good": ONE_SEED if np.isnan(spread) else "; ".join(alike) or "none",
            }
        )
    return pd.DataFrame(found).sort_values("bits", ascending=False, ignore_index=True)


def _student(table: pd.DataFrame, student: str) -> pd.DataFrame:
    """The student's quantised trainings, with one range a tensor."""
    own = (table["network"] == student) & table["method"].isin(QUANTISED)
    return table[own & ~table["per_channel"]]
