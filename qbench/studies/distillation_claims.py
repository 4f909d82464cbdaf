"""Chapter 06: which combinations help, how sure the seeds make that, and the paper's claims."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from qbench import reference
from qbench.data import specs
from qbench.studies.bit_width_claims import chance
from qbench.studies.distillation import PAIRS, title
from qbench.studies.seeds import LEVEL, ONE_SEED, interval, paired
from qbench.studies.words import dataset as written

STEWART = "stewart2021"
PLAIN = (np.inf, np.inf)  # stands for the student without a teacher in an index of (α, T)


def errors_of(runs: pd.DataFrame, pair: str) -> pd.DataFrame:
    """Test errors (%): a row for each (alpha, temperature), `PLAIN` first, a column a seed."""
    rows = runs[runs["pair"] == pair].copy()
    for name in ("alpha", "temperature"):
        rows[name] = rows[name].astype(float).where(rows["distilled"], np.inf)
    table = rows.pivot(index=["alpha", "temperature"], columns="seed", values="test_error")
    return table.loc[[PLAIN, *(place for place in table.index if place != PLAIN)]]


def beside_plain(runs: pd.DataFrame, pair: str) -> pd.DataFrame:
    """Every combination against the student without a teacher.

    Columns: `alpha`, `temperature`, `test_error` (mean over seeds, %), those of `seeds.paired`
    (`difference` in points: below 0 where the teacher helps), and `effect`: `helps`, `hurts`, or
    `cannot tell` where seeds differ as much.
    """
    errors = errors_of(runs, pair)
    tests = paired(errors, PLAIN, pd.Series(0, index=errors.index))
    tests.insert(0, "test_error", errors.mean(axis=1))
    tests = tests.drop(index=PLAIN)
    sign = np.where(tests["difference"] < 0, "helps", "hurts")
    return tests.assign(effect=np.where(tests["clear"], sign, "cannot tell")).reset_index()


def plain_error(runs: pd.DataFrame, pair: str) -> float:
    """Mean test error (%) of the student without a teacher."""
    return float(errors_of(runs, pair).loc[PLAIN].mean())


def variance(runs: pd.DataFrame, pair: str) -> pd.DataFrame:
    """What moves the error over the grid: α, T, their interplay (the bumps), the seed, or chance.

    Two-way analysis of variance of the distilled students' test errors with seeds as blocks.
    Columns: `source`, `deviation` (root mean square of the effect over the grid, points; of what is
    left, of one training), `f`, `p`. Empty with fewer than two seeds or two values of α or T.
    """
    errors = errors_of(runs, pair).drop(index=PLAIN).sort_index()
    shape = tuple(errors.index.get_level_values(name).nunique() for name in errors.index.names)
    if min(*shape, errors.shape[1]) < 2 or shape[0] * shape[1] != len(errors):
        return pd.DataFrame(columns=["source", "deviation", "f", "p"])
    values = errors.to_numpy().reshape(*shape, -1)
    values = values - values.mean()
    of_alpha, of_temperature, of_seed = (
        values.mean(axis=others, keepdims=True) for others in ((1, 2), (0, 2), (0, 1))
    )
    both = values.mean(axis=2, keepdims=True) - of_alpha - of_temperature
    rest = values - of_alpha - of_temperature - both - of_seed
    a, t, s = values.shape
    effects = {
        "α": (of_alpha, a - 1),
        "T": (of_temperature, t - 1),
        "α and T together": (both, (a - 1) * (t - 1)),
        "seed": (of_seed, s - 1),
    }
    freedom = (a * t - 1) * (s - 1)
    noise = float((rest**2).sum() / freedom)
    rows = []
    for source, (effect, degrees) in effects.items():
        square = float((np.broadcast_to(effect, values.shape) ** 2).sum() / degrees)
        f = square / noise if noise else np.inf
        size = float(np.sqrt((effect**2).mean()))
        row = {"source": source, "deviation": size, "f": f, "p": stats.f.sf(f, degrees, freedom)}
        rows.append(row)
    rows.append({"source": "what is left", "deviation": noise**0.5, "f": np.nan, "p": np.nan})
    return pd.DataFrame(rows)


def variances(runs: pd.DataFrame) -> pd.DataFrame:
    """`variance` of every pair under its title, or a note where no pair has anything to divide."""
    pairs = dict.fromkeys(runs["pair"])
    parts = [variance(runs, pair).assign(pair=title(pair)) for pair in pairs]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame({"note": ["It takes two seeds, two α and two T."]})
    return pd.concat(parts, ignore_index=True)[["pair", "source", "deviation", "f", "p"]]


def trend(runs: pd.DataFrame, pair: str, of: str) -> tuple[float, float]:
    """Spearman's ρ of the mean error with `alpha` or `temperature` over the grid, and its p."""
    table = beside_plain(runs, pair)
    if table[of].nunique() < 2:
        return float("nan"), float("nan")
    found = stats.spearmanr(table[of], table["test_error"])
    return float(found.statistic), float(found.pvalue)


def claims(runs: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Section 4.3.1 as predicates: `where`, `claim`, `ours`, `verdict`, `why`, `seeds`.

    A combination helps or hurts by the sign of its mean difference; `seeds` says whether the
    verdict stays when only the differences count that seeds make clear.
    """
    first, second, third = PAIRS
    rows: list[dict[str, Any]] = []
    for pair in dict.fromkeys(runs["pair"]):
        n = Counts.of(beside_plain(runs, pair), plain_error(runs, pair), dataset)

        def judge(name: str, holds: bool, sure: bool, words: str, pair: str = pair) -> None:
            rows.append(_row(runs, pair, dataset, name, holds, sure, words))

        if pair == first:
            holds = n.helps == n.all
            sure = n.surely_helps == n.all if holds else n.surely_hurts > 0
            judge("any_distillation_helps_mobilenetv2", holds, sure, n.words)
        elif pair == second:
            sure = n.surely_hurts > 0 if n.hurts else n.surely_helps == n.all
            judge("some_distillation_hurts_flexstudent", n.hurts > 0, sure, n.words)
        elif pair == third:
            holds = 2 * n.hurts > n.all
            sure = 2 * n.surely_hurts > n.all if holds else 2 * n.surely_helps >= n.all
            judge("most_distillation_hurts_resnet8x4", holds, sure, n.words)
            sure = n.surely_helps > 0 if n.helps else n.surely_hurts == n.all
            judge("some_distillation_helps_resnet8x4", n.helps > 0, sure, n.words)
            found = {"α": trend(runs, pair, "alpha"), "T": trend(runs, pair, "temperature")}
            words = ", ".join(f"{of} ρ {rho:+z.2f} (p {p:.2g})" for of, (rho, p) in found.items())
            holds = not any(p < LEVEL for _, p in found.values())
            words = f"Spearman's correlation of the error with {words}"
            judge("no_trend_in_distillation_parameters", holds, True, words)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Counts:
    """How many combinations lower and raise the error, and how many of these clearly."""

    all: int
    helps: int
    hurts: int
    surely_helps: int
    surely_hurts: int
    words: str

    @classmethod
    def of(cls, table: pd.DataFrame, plain: float, dataset: str) -> "Counts":
        """Count in a table of `beside_plain`; `plain` is the error without a teacher (%).

        One seed makes nothing clear: then the words say how many differences are larger than what
        counting errors on the test images leaves open.
        """
        difference, effect = table["difference"], table["effect"]
        helps, hurts = int((difference < 0).sum()), int((difference > 0).sum())
        surely = [int((effect == name).sum()) for name in ("helps", "hurts")]
        span = f"from {difference.min():+z.2f} to {difference.max():+z.2f} points"
        if table["p"].notna().any():
            words = (
                f"{helps} of {len(table)} combinations lower the error ({surely[0]} clearly), "
                f"{hurts} raise it ({surely[1]} clearly); {span}"
            )
        else:
            images = specs.find(dataset).split["test"]
            open_ = chance(plain, images)
            words = (
                f"{helps} of {len(table)} combinations lower the error and {hurts} raise it, "
                f"{span}; {int((difference.abs() > open_).sum())} by more than the {open_:.2f} "
                f"points that counting errors on {images:,} images leaves open"
            )
        return cls(len(table), helps, hurts, *surely, words)


def _row(
    runs: pd.DataFrame, pair: str, dataset: str, name: str, holds: bool, sure: bool, words: str
) -> dict[str, Any]:
    seeds = errors_of(runs, pair).shape[1]
    asked = "CIFAR10" if pair == next(iter(PAIRS)) else "CIFAR100"
    on = written(dataset)
    why = f"theirs: {asked}, 30 epochs on all images; ours: {on}, at the scale of this page"
    row = reference.claim(STEWART, name, holds=holds, ours=f"{title(pair)}: {words}", why=why)
    settled = "settled" if sure else "not settled"
    return row | {"seeds": ONE_SEED if seeds < 2 else settled}


def lessons(runs: pd.DataFrame, dataset: str) -> str:
    """What each pair shows, as a Markdown list."""
    lines = []
    for pair in dict.fromkeys(runs["pair"]):
        table, plain = beside_plain(runs, pair), errors_of(runs, pair).loc[PLAIN]
        best = table.loc[table["test_error"].idxmin()]
        centre, half = interval(plain)
        count = len(plain)
        without = f"{centre:.2f} %"
        if count == 2:
            without += " (mean of 2 seeds)"  # whose interval would be a dozen times as wide
        elif count > 2:
            without = f"{centre:.2f} ± {half:.2f} % (95 % interval of {count} seeds)"
        text = (
            f"* **{title(pair)}**: without a teacher the error is {without}; the best combination, "
            f"α = {best.alpha:g} and T = {best.temperature:g}, has {best.test_error:.2f} %. "
            f"{Counts.of(table, centre, dataset).words}."
        )
        parts = variance(runs, pair).set_index("source")
        if len(parts):
            bumps = parts.loc["α and T together"]
            sure = "more than" if bumps.p < LEVEL else "no more than"
            text += (
                f" Over the grid α moves the error by {parts.deviation['α']:.2f} points, T by "
                f"{parts.deviation['T']:.2f}, one training differs from its like by "
                f"{parts.deviation['what is left']:.2f}; bumps in the surface, "
                f"{bumps.deviation:.2f}, are {sure} this noise makes (p = {bumps.p:.2g})."
            )
        lines.append(text)
    return "\n".join(lines)
