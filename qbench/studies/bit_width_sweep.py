"""Chapter 02: the runs of the bit-width sweep, their cost, and the papers' claims about them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pandas as pd

from qbench import reference, sweep
from qbench.data import specs
from qbench.studies.seeds import ONE_SEED, interval, paired
from qbench.studies.words import dataset as title
from qbench.studies.words import together

FLOAT = 32
NOTICEABLE = 0.2  # points: Stewart et al. 2021 call 3.9 % against 3.7 % a noticeable difference
TEST_IMAGES = 10_000
STEWART, DUCASSE = "stewart2021", "ducasse2021"

Rows = list[dict[str, Any]]


def run(
    datasets: Sequence[str],
    weight_bits: Sequence[int],
    act_bits: Sequence[int],
    seeds: Sequence[int],
    *,
    learning_rate: float,
    dropout: float,
    baseline: bool = True,
    **recipe: int,
) -> pd.DataFrame:
    """Every configuration with every seed on every data set: one row an epoch evaluated.

    `baseline` adds W32A32, float32 throughout. `recipe` is `epochs`, `hidden`, `batch_size`. The
    columns are those of `sweep.quant_mlp` and `dataset`, `weight_bits`, `act_bits`, `seed`. What
    the store has is read, the rest of a data set is trained together.
    """
    same = {"learning_rate": learning_rate, "dropout": dropout}
    members = sweep.grid(weight_bits, act_bits, seeds, **same)
    if baseline:
        members += sweep.grid([FLOAT], [FLOAT], seeds, **same)
    members = list(dict.fromkeys(members))
    tables = [
        table.assign(dataset=name, **_identity(member))
        for name in datasets
        for member, table in sweep.quant_mlps(name, members, **recipe).items()
    ]
    return pd.concat(tables, ignore_index=True)


def _identity(member: sweep.Member) -> dict[str, int]:
    return {name: asdict(member)[name] for name in ("weight_bits", "act_bits", "seed")}


def named(frame: pd.DataFrame) -> pd.Series:
    """`W2A4`, or `float32` for W32A32, for every row."""
    words = "W" + frame["weight_bits"].astype(str) + "A" + frame["act_bits"].astype(str)
    return words.replace(f"W{FLOAT}A{FLOAT}", "float32")


def quantised(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without the float32 baseline."""
    return frame[(frame["weight_bits"] != FLOAT) | (frame["act_bits"] != FLOAT)]


def bit_operations(frame: pd.DataFrame, *, inputs: int, hidden: int, classes: int) -> pd.Series:
    """Bit operations of the forward passes up to a row's epoch: Σ MACs · weight bits · input bits.

    Pixels have 8 bits (32 in a float32 network). An operation of a w-bit by an a-bit number counts
    w · a, as it takes on bit-serial or LUT-based hardware.
    """
    pixels = frame["act_bits"].where(frame["act_bits"] == FLOAT, 8)
    first = inputs * hidden * pixels
    rest = (2 * hidden**2 + hidden * classes) * frame["act_bits"]
    training_images = frame["dataset"].map(lambda name: specs.find(name).split["train"])
    images = training_images * frame["epoch"]
    return (first + rest) * frame["weight_bits"] * images.astype(float)


def against(frame: pd.DataFrame, reference_bits: tuple[int, int]) -> pd.DataFrame:
    """`seeds.paired` against one configuration, for every data set of `frame`, runs at one epoch.

    Returns dataset, weight_bits, act_bits, test_error (mean, %), and the columns of `paired`. Noise
    is pooled over the networks with equal weight bits.
    """
    parts = []
    for name, rows in frame.groupby("dataset", sort=False):
        errors = rows.pivot(index=["weight_bits", "act_bits"], columns="seed", values="test_error")
        groups = pd.Series(errors.index.get_level_values("weight_bits"), index=errors.index)
        if reference_bits not in errors.index:
            continue
        tests = paired(errors, reference_bits, groups)
        tests.insert(0, "test_error", errors.mean(axis=1))
        parts.append(tests.reset_index().assign(dataset=name))
    columns = ["dataset", "weight_bits", "act_bits", "test_error", "difference", "clear"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def catching_up(frame: pd.DataFrame, targets: Iterable[int], bits: int = 8) -> pd.DataFrame:
    """First evaluated epoch at which each weight width is as good as `bits` bits after `targets`.

    Means over activation widths and seeds; missing where it never is. One row a data set and
    width, one column a target epoch.
    """
    means = frame.groupby(["dataset", "weight_bits", "epoch"], sort=False)["test_error"].mean()
    rows = []
    for (name, width), curve in means.groupby(["dataset", "weight_bits"], sort=False):
        row: dict[str, Any] = {"dataset": name, "weight_bits": width}
        curve = curve.droplevel(["dataset", "weight_bits"]).sort_index()
        for target in targets:
            aim = means.get((name, bits, target))
            reached = curve.index[curve <= aim] if aim is not None else []
            row[target] = reached[0] if len(reached) else None
        rows.append(row)
    return pd.DataFrame(rows)


def chance(share: float, images: int = TEST_IMAGES) -> float:
    """Two standard errors of the difference of two shares of `images`, both near `share`: %."""
    return 2 * (2 * share * (100 - share) / images) ** 0.5


class NotRun(LookupError):
    """The runs do not have what a claim speaks of."""


class Errors:
    """The test errors of a sweep, looked up as claims speak of them; every answer is one a seed."""

    def __init__(self, runs: pd.DataFrame) -> None:
        self.datasets = list(dict.fromkeys(runs["dataset"]))
        self.last = int(runs["epoch"].max())
        index = ["dataset", "epoch", "weight_bits", "act_bits"]
        self.table = runs.pivot(index=index, columns="seed", values="test_error").sort_index()

    def at(self, dataset: str, epoch: int) -> pd.DataFrame:
        """Quantised configurations at an epoch: rows (weight_bits, act_bits), a column a seed."""
        try:
            rows = self.table.loc[(dataset, epoch)]
        except KeyError:
            raise NotRun(f"{dataset} after {epoch} epochs") from None
        return rows.drop(index=(FLOAT, FLOAT), errors="ignore")

    def mean(
        self,
        dataset: str,
        epoch: int,
        weights: Sequence[int] | None = None,
        acts: Sequence[int] | None = None,
    ) -> pd.Series:
        """Mean error (%) of the configurations with these bits (None: any), one a seed."""
        rows = self.at(dataset, epoch)
        for level, wanted in (("weight_bits", weights), ("act_bits", acts)):
            if wanted is not None:
                if not set(wanted) <= set(rows.index.get_level_values(level)):
                    raise NotRun(f"{level} {wanted}")
                rows = rows[rows.index.get_level_values(level).isin(wanted)]
        return rows.mean()

    def one(self, dataset: str, epoch: int, weights: int, acts: int) -> pd.Series:
        """Error (%) of one configuration, float32 as (32, 32)."""
        try:
            return self.table.loc[(dataset, epoch, weights, acts)]
        except KeyError:
            raise NotRun(f"W{weights}A{acts} after {epoch} epochs") from None

    def by(self, dataset: str, epoch: int, level: str) -> pd.DataFrame:
        """Mean error (%) over the other bits: a row a bit width of `level`, a column a seed."""
        means = self.at(dataset, epoch).groupby(level=level).mean()
        if len(means) < 2:
            raise NotRun(f"two values of {level}")
        return means

    def smallest_step(self, dataset: str, epoch: int, level: str) -> pd.Series:
        """The least (by its mean) of the falls of the error (points) with each further bit."""
        falls = -self.by(dataset, epoch, level).diff().dropna()
        return falls.loc[falls.mean(axis=1).idxmin()]

    def reach(self, dataset: str, epoch: int, level: str) -> pd.Series:
        """Error of the worst minus that of the best bit width of `level`, the other averaged."""
        means = self.by(dataset, epoch, level)
        order = means.mean(axis=1)
        return means.loc[order.idxmax()] - means.loc[order.idxmin()]

    def spread(self, dataset: str, epoch: int) -> pd.Series:
        """Error of the worst minus that of the best configuration."""
        rows = self.at(dataset, epoch)
        order = rows.mean(axis=1)
        return rows.loc[order.idxmax()] - rows.loc[order.idxmin()]

    def score(self, dataset: str, epoch: int, pairs: Sequence[tuple[int, int]]) -> pd.Series:
        """Least accuracy score of `pairs`: 1 the best configuration of all, 0 the worst."""
        rows = self.at(dataset, epoch)
        if not set(pairs) <= set(rows.index):
            raise NotRun(f"configurations {pairs}")
        order = rows.mean(axis=1)
        worst, best = rows.loc[order.idxmax()], rows.loc[order.idxmin()]
        scores = (worst - rows) / (worst - best)
        chosen = scores.loc[list(pairs)]
        return chosen.loc[chosen.mean(axis=1).idxmin()]


Effect = Callable[[Errors, str], pd.Series]


def judge(
    errors: Errors,
    claim: tuple[str, str],
    parts: Sequence[tuple[str, Effect, str, float]],
    datasets: Sequence[str],
    why: str,
    unit: str = "points",
) -> Rows:
    """A row for the table of claims, or none where the runs lack what the claim speaks of.

    `parts` are (words, effect, "above" or "below", threshold): the claim holds if, on every data
    set, every effect lies on that side. `seeds` says whether the intervals over seeds allow that
    verdict: all effects that it needs lie on their side of the threshold with their intervals.
    `why` is the reason shown where the claim does not hold.
    """
    said, kept, broken = [], [], []  # of each effect that has its side or not: is it certain?
    try:
        for words, effect, side, threshold in parts:
            numbers = []
            for name in datasets:
                centre, half = interval(effect(errors, name))
                holds = centre > threshold if side == "above" else centre < threshold
                (kept if holds else broken).append(abs(centre - threshold) > half)
                plus = "" if half != half else f" ± {half:.2f}"
                numbers.append(f"{title(name)} {centre:z.2f}{plus}")
            said.append(f"{words}: {', '.join(numbers)} {unit}".strip())
    except NotRun:
        return []
    row = reference.claim(*claim, holds=not broken, ours="; ".join(said), why=why)
    if errors.table.shape[1] < 2:
        seeds = ONE_SEED
    else:
        seeds = "settled" if (any(broken) if broken else all(kept)) else "not settled"
    return [row | {"seeds": seeds}] if datasets else []


def number(
    errors: Errors, claim: tuple[str, str], find: Callable[[], float], tolerance: float, why: str
) -> Rows:
    """As `judge`, for a claim that states a number; `seeds` stays empty."""
    try:
        ours = find()
    except NotRun:
        return []
    row = reference.claim_value(*claim, ours, tolerance=tolerance, why=why)
    return [row | {"seeds": ""}]


def enough(gaps: Mapping[int, float]) -> float:
    """The least key whose gap is below what is noticeable; NaN if none is."""
    return float(
        min((bits for bits, gap in gaps.items() if gap < NOTICEABLE), default=float("nan"))
    )


def published(runs: pd.DataFrame) -> pd.DataFrame:
    """The errors and accuracies that Stewart et al. print, ours beside them, with verdicts."""
    errors, rows = Errors(runs), []
    accuracies = reference.load(STEWART, "figure_8").query("quantity == 'accuracy'")
    for row in accuracies.itertuples():
        bits = int(row.weight_bits), int(row.act_bits)
        what = f"W{bits[0]}A{bits[1]} on Fashion-MNIST, accuracy after 40 epochs"
        with suppress(NotRun):
            ours = 100 - errors.one("fashion-mnist", 40, *bits)
            why = "theirs was measured on the FPGA, after conversion"
            rows.append(_beside(row._asdict(), what, ours, why))
    if "mnist" in errors.datasets:
        means = errors.at("mnist", errors.last).mean(axis=1)
        printed = reference.load(STEWART, "table_3").query("quantity == 'accuracy_loss'")
        for row in printed.itertuples():
            where = means.idxmin() if row.bound == "best" else means.idxmax()
            what = f"{row.bound} error of {len(means)} configurations on MNIST"
            ours = errors.at("mnist", errors.last).loc[where]
            why = f"ours W{where[0]}A{where[1]} after {errors.last} epochs; theirs unstated"
            if len(means) < 64:
                why += "; not all 64"
            rows.append(_beside(row._asdict(), what, ours, why))
    if not rows:
        return pd.DataFrame({"note": ["No configuration of this run is printed."]})
    return pd.DataFrame(rows)


def _beside(row: Mapping[str, Any], what: str, ours: pd.Series, why: str) -> dict[str, Any]:
    printed = float(row["value"])
    centre, half = interval(ours)
    tolerance = chance(printed)
    said = reference.verdict(printed, centre, tolerance=tolerance, why="chance", of=row)
    return {
        "where": f"{reference.TITLES[STEWART]}, {row['where']}",
        "what": what,
        "published": f"{printed:g}",
        "ours": f"{centre:.2f}" + ("" if half != half else f" ± {half:.2f}"),
        "tolerance": f"{tolerance:.2f}",
        "verdict": said,
        "why": why if said == "differs" else "within chance",
    }


def lessons(runs: pd.DataFrame, tests: pd.DataFrame, noise: pd.Series) -> str:
    """What each data set shows, as a Markdown list; `tests` from `against`, `noise` points."""
    errors, lines = Errors(runs), []
    for name in errors.datasets:
        means = errors.at(name, errors.last).mean(axis=1).sort_values()
        ends = [f"W{w}A{a} ({means[w, a]:.2f} %)" for w, a in (means.index[0], means.index[-1])]
        text = f"* **{title(name)}**: the best configuration is {ends[0]}, the worst {ends[1]}"
        with suppress(NotRun):
            full = errors.one(name, errors.last, FLOAT, FLOAT).mean()
            text += f"; float32 has {full:.2f} %"
        with suppress(NotRun):
            weights = errors.reach(name, errors.last, "weight_bits").mean()
            acts = errors.reach(name, errors.last, "act_bits").mean()
            text += f". Weight bits move the mean error by {weights:.2f} points"
            text += f", activation bits by {acts:.2f}"
        if errors.table.shape[1] > 1:
            text += f", a new seed by {noise[name]:.2f} (median)"
            part = tests[tests["dataset"] == name]
            clear = part[part["clear"]]
            alike = part[~part["clear"] & (part["difference"] != 0)]["weight_bits"].value_counts()
            text += (
                f". {len(clear)} of {len(part) - 1} configurations are clearly unlike the widest"
            )
            if len(alike):
                widths = together(alike.index)
                text += f"; those that are not have weights of {widths} bit{'s' * (widths != '1')}"
        lines.append(text + ".")
    return "\n".join(lines)
