"""Whether the fused sweep learns what Brevitas learns: whole trainings, paired over seeds."""

from collections.abc import Sequence

import pandas as pd
from scipy import stats

from qbench import store, sweep, training
from qbench.studies.seeds import LEVEL, interval


@store.method(version=1)
def trainings(
    *,
    dataset: str = "mnist5k",
    weight_bits: Sequence[int] = (1, 2, 4, 8),
    act_bits: Sequence[int] = (1, 2, 4, 8),
    seeds: Sequence[int] = tuple(range(12)),
    epochs: int = 10,
    hidden: int = 64,
) -> pd.DataFrame:
    """Train every configuration with every seed twice: with Brevitas and in the fused sweep.

    A seed sets the order of the images for both; dropout is drawn separately. Columns:
    `weight_bits`, `act_bits`, `seed`, and the test error after the last epoch, in %, of the
    network trained with `brevitas` and in the `fused` sweep. Every training is stored by itself.
    """
    same = {"dataset": dataset, "epochs": epochs, "hidden": hidden}
    rows = []
    for member, fused in sweep.quant_mlps(
        dataset, sweep.grid(weight_bits, act_bits, seeds), epochs=epochs, hidden=hidden
    ).items():
        one = {name: getattr(member, name) for name in ("weight_bits", "act_bits", "seed")}
        brevitas = store.run(training.quant_mlp, **same, **one)
        errors = {"brevitas": brevitas["test_error"], "fused": fused["test_error"]}
        rows.append(one | {name: found.iloc[-1] for name, found in errors.items()})
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Of `trainings`: what the fused sweep's test error is above Brevitas', in points.

    A row for each number of weight bits, each number of activation bits, and for all. Errors of a
    seed are averaged over the row's configurations first, since one order of the images and one
    dropout are common to them. Columns: `configurations`, `brevitas` and `fused` (mean errors, %),
    `difference`, `half_width` of its 95 % interval over the seeds, and `p` of the paired t-test.
    """
    groups = {
        "all": table,
        **{f"W{bits}": part for bits, part in table.groupby("weight_bits")},
        **{f"A{bits}": part for bits, part in table.groupby("act_bits")},
    }
    rows = []
    for name, part in groups.items():
        by_seed = part.groupby("seed")[["brevitas", "fused"]].mean()
        mean, half = interval(by_seed["fused"] - by_seed["brevitas"])
        rows.append(
            {
                "configurations": name,
                **by_seed.mean(),
                "difference": mean,
                "half_width": half,
                "p": stats.ttest_rel(by_seed["fused"], by_seed["brevitas"]).pvalue,
            }
        )
    return pd.DataFrame(rows)


def told_apart(table: pd.DataFrame) -> pd.Series:
    """Of `trainings`: whether a paired t-test tells a configuration's two trainings apart.

    Indexed by (weight_bits, act_bits). The false discovery rate over all configurations is 5 %
    (Benjamini and Hochberg).
    """
    p = table.groupby(["weight_bits", "act_bits"])[["brevitas", "fused"]].apply(
        lambda part: stats.ttest_rel(part["fused"], part["brevitas"]).pvalue
    )
    return pd.Series(stats.false_discovery_control(p.fillna(1.0)) < LEVEL, index=p.index)
