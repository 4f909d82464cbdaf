"""What measurements of the fused sweep say: ratios, costs by size, which targets are reached."""

import pandas as pd

from qbench.speed import BREVITAS, FUSED

EPOCHS = 100  # of a full sweep: Ducasse et al. 2021, Table I


def ratios(step: pd.DataFrame) -> pd.DataFrame:
    """Of `sweep_step`, a row a setting: medians over the rounds.

    Columns: `contender`, `jit`, `threads`, `ms`, `ms_low` and `ms_high` (quartiles), `times` (ms as
    a multiple of the fused sweep's best setting in the same round), `times_same_threads` (of the
    fused sweep with as many threads) and `best`, whether it is the contender's fastest setting.
    """
    fused = step[step["contender"] == FUSED]
    quickest = fused.groupby("threads")["ms"].median().idxmin()
    beside = fused.set_index(["threads", "round"])["ms"]
    step = step.assign(
        times=step["ms"] / beside[quickest].reindex(step["round"]).to_numpy(),
        times_same_threads=step["ms"]
        / beside.reindex(pd.MultiIndex.from_frame(step[["threads", "round"]])).to_numpy(),
    )
    grouped = step.groupby(["contender", "jit", "threads"], dropna=False, sort=False)
    found = grouped[["times", "times_same_threads"]].median()
    for place, (name, share) in enumerate((("ms", 0.5), ("ms_low", 0.25), ("ms_high", 0.75))):
        found.insert(place, name, grouped["ms"].quantile(share))
    found = found.reset_index()
    found["best"] = found["ms"] == found.groupby("contender")["ms"].transform("min")
    return found


def costs(scaling: pd.DataFrame) -> pd.DataFrame:
    """Of `sweep_scaling`, a row a size: medians over the rounds.

    Columns: `members`, `hidden`, `ms`, `ms_low` and `ms_high` (quartiles), `ms_member`, `gflop`,
    `gflops` (10⁹ operations a second) and `peak_share` (%, of the peak in the same round).
    """
    rate = scaling["gflop"] / scaling["ms"] * 1e3
    scaling = scaling.assign(gflops=rate, peak_share=100 * rate / scaling["peak_gflops"])
    grouped = scaling.groupby(["members", "hidden"], sort=False)
    found = grouped[["ms", "gflop", "gflops", "peak_share"]].median()
    found.insert(1, "ms_low", grouped["ms"].quantile(0.25))
    found.insert(2, "ms_high", grouped["ms"].quantile(0.75))
    found = found.reset_index()
    found.insert(5, "ms_member", found["ms"] / found["members"])
    return found


def minutes(epoch: pd.DataFrame, epochs: int = EPOCHS) -> float:
    """How long `epochs` would take, from what `sweep_epoch` measured: an extrapolation."""
    from qbench.sweep import evaluation_epochs

    row = epoch.iloc[0]
    evaluations = len(evaluation_epochs(epochs))
    return (epochs * row["train_seconds"] + evaluations * row["evaluate_seconds"]) / 60


def targets(step: pd.DataFrame, scaling: pd.DataFrame, epoch: pd.DataFrame) -> pd.DataFrame:
    """What the sweep was to reach beside what it does: `what`, `target`, `measured`, `reached`."""
    found, sizes, row = ratios(step), costs(scaling), epoch.iloc[0]
    peer = found[(found["contender"] == BREVITAS) & found["best"]].iloc[0]
    narrow = sizes[sizes["hidden"] == sizes["hidden"].iloc[0]].set_index("members")
    grid = 64 if 64 in narrow.index else narrow.index[-1]
    most, each = narrow.index.max(), narrow["ms_member"]
    compared = [
        ("Time of sequential Brevitas as a multiple of the fused sweep's, each at its best",
         "at least", 20, "", 1, peer["times"]),
        (f"Share of the matrix-product peak that a step of {grid} members reaches",
         "at least", 60, " %", 0, narrow["peak_share"][grid]),
        (f"{row['members']} configurations × {EPOCHS} epochs of {row['dataset']} (extrapolated)",
         "at most", 20, " min", 1, minutes(epoch)),
        ("Memory of a process that trains them, at its largest",
         "at most", 3, " GB", 2, row["peak_mib"] * 2**20 / 1e9),
        (f"What one of {most} members costs more than one of {grid}",
         "at most", 10, " %", 0, 100 * (each[most] / each[grid] - 1)),
    ]  # fmt: skip
    rows = [
        {
            "what": what,
            "target": f"{bound} {target}{unit}",
            "measured": f"{measured:.{places}f}{unit}",
            "reached": bool(measured >= target if bound == "at least" else measured <= target),
        }
        for what, bound, target, unit, places, measured in compared
    ]
    return pd.DataFrame(rows)
