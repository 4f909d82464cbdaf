"""Chapter 18: are the winners the same on another device? Chapter 7's networks, ranked again.

Winners are a front: networks that no other beats in validation error and latency. A network of one
device's front, taken to another device, is slower there than that device's own network of at most
its error; by how much is its *regret*.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from qbench import chapters, evolution, parameters, reference, store
from qbench.parameters import Evolution

from . import combining_devices_runs as runs
from . import evolution as study
from . import evolution_runs
from .evolution_networks import MACS, SPACES

STEWART, SLOWER = "stewart2021", 10.0  # %: far more than a latency measured again differs by
CPU = "cpu"  # the device of chapter 7's searches: OpenVINO, one thread, as it was measured there
TITLES = {
    CPU: "CPU (OpenVINO, chapter 7)",
    "dpu-b512": "DPU B512 (model)",
    "dpu-b1024": "DPU B1024 (model)",
    "dpu-b4096": "DPU B4096 (model)",
    "dpu-b4096-no-ports": "DPU B4096, data never waiting (model)",
    MACS: "multiply-accumulates (count)",
    "openvino": "CPU (OpenVINO, here)",
    "onnxruntime": "CPU (ONNX Runtime, here)",
    "pytorch": "CPU (PyTorch, here)",
}


def asked() -> Evolution:
    """Parameters of chapter 7 as it is published."""
    chapter = chapters.find("07")
    return parameters.check(chapter.name, **chapters.profiles(chapter)["published"])


def archive(p: Evolution) -> pd.DataFrame:
    """Every network of chapter 7's stored searches once; empty where none is stored.

    Columns: the genes, `phenotype`, `error` (validation, %), `test_error`, and `cpu`, the latency
    there (ms), free of what slowed the baseline as well.
    """
    found = store.find(store.spec(evolution_runs.nemokd, **study.search_of(p)))
    if found is None:
        return pd.DataFrame()
    searches = {"nsga2": store.read(found)}
    if p.draw != "none":
        drawn = store.find(
            store.spec(evolution_runs.nemokd, **study.random_of(p, searches["nsga2"]))
        )
        searches |= {"random": store.read(drawn)} if drawn is not None else {}
    table = study.tried(searches).dropna(subset=["error"]).drop_duplicates("phenotype")
    names = [*SPACES[p.student].names, "phenotype", "error", "test_error", "search"]
    return table[names].assign(**{CPU: table["latency_ms"]}).reset_index(drop=True)


def on_devices(table: pd.DataFrame, p: Evolution, devices: Sequence[str]) -> pd.DataFrame:
    """`table` with a column for each of `devices`: latency in ms, or millions for macs."""
    genotypes = table[list(SPACES[p.student].names)].to_numpy(int).tolist()
    for device in devices:
        times = runs.latencies(p.student, p.dataset, genotypes, device)
        table = table.assign(**{device: table["phenotype"].map(times)})
    return table


def winners(table: pd.DataFrame, device: str) -> pd.Series:
    """Whether each network is on the front of error and latency on `device`."""
    return pd.Series(evolution.front(table[["error", device]]), index=table.index)


def correlation(
    table: pd.DataFrame, one: str, other: str, *, resamples: int, seed: int = 0
) -> tuple[float, float, float]:
    """Spearman's rank correlation of two latencies, and its 95 % bootstrap interval."""
    pair = (table[one].to_numpy(float), table[other].to_numpy(float))

    def rank(a: np.ndarray, b: np.ndarray) -> float:
        return float(stats.spearmanr(a, b).statistic)

    found = stats.bootstrap(
        pair,
        rank,
        paired=True,
        vectorized=False,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return rank(*pair), float(found.low), float(found.high)


def regret(table: pd.DataFrame, home: str, abroad: str) -> pd.DataFrame:
    """The winners of `home` on `abroad`: `phenotype`, `error`, `there`, their latency, `best`, that
    of the quickest network there with at most their error, `instead`, which that is, and `regret`,
    there / best − 1 in %: never below 0, and 0 for a network of both fronts.
    """
    return _beside(table[winners(table, home)].sort_values(home), table, abroad)


def _beside(ported: pd.DataFrame, rivals: pd.DataFrame, on: str) -> pd.DataFrame:
    """Each of `ported` beside the quickest of `rivals` with at most its error; see `regret`."""
    rows = []
    for one in ported.to_dict("records"):
        allowed = rivals[rivals["error"] <= one["error"]]
        best = allowed.loc[allowed[on].idxmin()] if len(allowed) else {on: np.nan, "phenotype": ""}
        rows.append(
            {name: one[name] for name in ("phenotype", "error")}
            | {"there": one[on], "best": best[on], "instead": best["phenotype"]}
            | {"regret": 100 * (one[on] / best[on] - 1)}
        )
    return pd.DataFrame(rows)


def pairs(table: pd.DataFrame, devices: Sequence[str], *, resamples: int) -> pd.DataFrame:
    """The CPU of chapter 7 beside each of `devices`.

    `device`; `correlation`, `low`, `high` of the latencies' ranks; `on_cpu`, `on_device`, how many
    networks are on each front, and `shared`; `out`, the greatest and `out_mean` the mean regret of
    the CPU's winners on the device, `back` and `back_mean` of the device's on the CPU (%).
    """
    rows = []
    home = winners(table, CPU)
    for device in devices:
        there = winners(table, device)
        rank, low, high = correlation(table, CPU, device, resamples=resamples)
        out = regret(table, CPU, device)["regret"]
        back = regret(table, device, CPU)["regret"]
        rows.append(
            {"device": device, "correlation": rank, "low": low, "high": high}
            | {"on_cpu": int(home.sum()), "on_device": int(there.sum())}
            | {"shared": int((home & there).sum()), "out": out.max(), "out_mean": out.mean()}
            | {"back": back.max(), "back_mean": back.mean()}
        )
    return pd.DataFrame(rows)


def pairs_shown(found: pd.DataFrame) -> pd.DataFrame:
    """`pairs` as the page shows it."""
    return pd.DataFrame(
        {
            "second device": found["device"].map(TITLES),
            "rank correlation of latencies": [
                f"{one.correlation:.2f} ({one.low:.2f} to {one.high:.2f})"
                for one in found.itertuples()
            ],
            "on the CPU's front": found["on_cpu"],
            "on the device's": found["on_device"],
            "on both": found["shared"],
            "regret there, mean to greatest (%)": [
                f"{one.out_mean:.0f} to {one.out:.0f}" for one in found.itertuples()
            ],
            "and back on the CPU (%)": [
                f"{one.back_mean:.0f} to {one.back:.0f}" for one in found.itertuples()
            ],
        }
    )


def points(table: pd.DataFrame, device: str) -> pd.DataFrame:
    """`table` with `wins`: on which fronts a network is, in words."""
    home, there = winners(table, CPU), winners(table, device)
    words = {
        (False, False): "neither front",
        (True, False): "the CPU's front alone",
        (False, True): "the other device's alone",
        (True, True): "both fronts",
    }
    order = list(words.values())
    wins = [words[pair] for pair in zip(home, there, strict=True)]
    found = table.assign(wins=wins)
    return found.sort_values("wins", key=lambda one: one.map(order.index), kind="stable")


def again(p: Evolution) -> tuple[float, int] | None:
    """How well the CPU agrees with itself: the rank correlation of a search's latencies with those
    measured later, and of how many networks; None where that is not stored.
    """
    spec = store.spec(evolution_runs.remeasured, search=study.search_of(p))
    found = store.find(spec)
    if found is None:
        return None
    table = store.read(found).dropna(subset=["search_scaled_ms", "latency_ms"])
    rank = stats.spearmanr(table["search_scaled_ms"], table["latency_ms"]).statistic
    return float(rank), len(table)


def second_search(table: pd.DataFrame, p: Evolution, device: str) -> pd.DataFrame:
    """The same evolution for `device`: `evolved`'s archive, students of chapter 7 not trained."""
    known = [[one.phenotype, float(one.error)] for one in table.itertuples()]
    return store.run(runs.evolved, search=study.search_of(p), known=known, device=device)


def two_searches(
    table: pd.DataFrame, other: pd.DataFrame, device: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both searches' fronts on `device`, and the regret of the one for the CPU there.

    The first has `phenotype`, `error`, `device`'s latency and `evolved for`; the second a row a
    winner of the CPU's search, as `regret`, but beside what the search for the device itself found
    with as many networks: below 0 the one that was ported is quicker.
    """
    first = table[table["search"] == "nsga2"]
    own = other[other["trained"]].dropna(subset=["error"]).drop_duplicates("phenotype")
    own = own.rename(columns={"latency_ms": device})
    mine = first[winners(first, CPU)].sort_values(device)
    parts = [
        mine.assign(**{"evolved for": "the CPU"}),
        own[winners(own, device)].assign(**{"evolved for": "the second device"}),
    ]
    fronts = pd.concat(parts)[["phenotype", "error", device, "evolved for"]]
    return fronts.reset_index(drop=True), _beside(mine, own, device)


def answer(found: pd.DataFrame) -> str:
    """What follows for the winners, as Markdown: from `pairs`."""
    if found.empty:
        return "**No answer**: of chapter 7 no search is stored."
    lines = [
        f"{TITLES[one.device]}: rank correlation {one.correlation:.2f}, {one.shared} of "
        f"{one.on_cpu} winners stay winners, and the CPU's are {one.out_mean:.0f} % (at most "
        f"{one.out:.0f} %) slower there than need be"
        for one in found.itertuples()
    ]
    same = found[found["shared"] == found["on_cpu"]]
    devices = [one for one in found["device"] if one != MACS]
    if len(same) == len(found):
        said = "**The winners are the same on every device**"
    elif found["shared"].max() == 0:
        said = "**No winner of the CPU is one on another device**"
    else:
        said = "**The winners are not the same: it depends on the device**"
    many = f"{len(devices)} other device{'s' * (len(devices) != 1)}"
    many += " and a count" if MACS in set(found["device"]) else ""
    return f"{said} (one CPU, {many}). {'; '.join(lines)}."


def claims(found: pd.DataFrame) -> pd.DataFrame:
    """The article's two claims on portability as predicates on `pairs`, a row each.

    No rows where the only other device is a count of operations.
    """
    found = found[found["device"] != MACS]  # a count is no device
    if found.empty:
        return pd.DataFrame(columns=["where", "claim", "ours", "verdict", "why"])
    worst, differing = found.loc[found["out"].idxmax()], found["shared"] < found["on_cpu"]
    scale = "one search of chapter 7's, and devices by their models or one processor's runtimes"
    return pd.DataFrame(
        [
            reference.claim(
                STEWART,
                "optimised_for_one_device_only",
                holds=bool(worst["out"] > SLOWER),
                ours=f"a winner of the CPU's is {worst['out']:.0f} % slower on "
                f"{TITLES[worst.device]} than need be; more than {SLOWER:g} % is asked for",
                why=scale,
            ),
            reference.claim(
                STEWART,
                "other_devices_other_models",
                holds=bool(differing.any()),
                ours=f"other winners on {differing.sum()} of {len(found)} second devices",
                why=scale,
            ),
        ]
    )


def why(table: pd.DataFrame, p: Evolution, devices: Sequence[str]) -> str:
    """Where a DPU's time goes, by its model, as Markdown; empty without a DPU."""
    space, lines = SPACES[p.student], []
    genotypes = table[list(space.names)].to_numpy(int).tolist()
    for device in devices:
        if runs.DPUS.get(device, ("", "none"))[1] != "none":
            shares = [
                runs.waiting(p.student, p.dataset, space.decode(one), device) for one in genotypes
            ]
            lines.append(f"{100 * np.mean(shares):.0f} % on a {runs.DPUS[device][0]}")
    if not lines:
        return ""
    return (
        "Of the time that the DPU's model gives, on average over these networks, layers whose "
        f"weights and images take longer to move than to multiply have {', '.join(lines)}."
    )


def answer_of_searches(beside: pd.DataFrame, device: str) -> str:
    """What evolving for the second device was worth, as Markdown: from `two_searches`."""
    known = beside.dropna(subset=["regret"])
    if known.empty:
        return (
            f"**Evolved for {TITLES[device]}**: that search found no network with at most the "
            "error of a winner of the CPU's."
        )
    slower = int((known["regret"] > 0).sum())
    return (
        f"**Evolved for {TITLES[device]}**: of {len(beside)} winners of the CPU's search, "
        f"{len(known)} have a rival of at most their error in the search for the device itself; "
        f"{slower} of these are slower there than that rival, by {known['regret'].mean():.0f} % on "
        f"average and {known['regret'].max():.0f} % at most."
    )


def axis(device: str) -> str:
    """What an axis of its latencies is called."""
    if device == MACS:
        return "Multiply-accumulates (millions)"
    return f"Latency, {TITLES[device]} (ms)"


def self_agreement(p: Evolution) -> str:
    """How well the CPU agrees with itself, as Markdown; empty where that is not stored."""
    found = again(p)
    if found is None:
        return ""
    return (
        f"Measured once more, {found[1]} of these had a rank correlation of {found[0]:.3f} "
        "with their own latencies on the CPU: noise of the measurement explains next to nothing of "
        "what differs between devices."
    )
