"""Chapter 07: what it asks for, and what its figures show.

Stewart et al. 2021, sections 3.3, 3.4 and 4.3.2: NEMOKD, the evolution of a student by NSGA-II on
the device that will run it. `evolution_runs` computes and stores, `evolution_tables` has the tables
of the page, `evolution_found` and `evolution_claims` judge, `evolution_files` writes the networks.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from qbench import evolution, runtimes, store
from qbench.data import specs
from qbench.distillation import runs
from qbench.models.convolutional import build, parameters
from qbench.parameters import Evolution

from . import evolution_runs, words
from .distillation import TITLES
from .evolution_networks import RANGE, SPACES, sizes

#: The networks that are trained for longer, as they are called on the page.
PLAIN, TAUGHT = "baseline, no teacher", "baseline, taught"
COMPROMISE, ACCURATE = "best compromise", "most accurate"


def teacher_of(p: Evolution) -> dict[str, Any]:
    """The teacher's specification: `runs.teacher`'s parameters, all of them, as in chapter 06."""
    spec = {
        "dataset": p.dataset,
        "network": p.teacher,
        "images": p.teacher_images,
        "epochs": p.teacher_epochs,
        "seed": 0,
    }
    return store.spec(runs.teacher, **spec)["parameters"]


def search_of(p: Evolution) -> dict[str, Any]:
    """The search by NSGA-II: `evolution_runs.nemokd`'s parameters, all of them."""
    same = ("dataset", "student", "alpha", "temperature", "images", "epochs", "device")
    same += ("population", "generations", "noise", "error_step", "seed")
    asked = {name: getattr(p, name) for name in same}
    asked |= {"teacher": teacher_of(p), "budget_minutes": p.budget}
    return store.spec(evolution_runs.nemokd, **asked)["parameters"]


def random_of(p: Evolution, archive: pd.DataFrame) -> dict[str, Any]:
    """The search at random for as many networks as the search by NSGA-II trained."""
    other = {"search": "random", "draw": p.draw, "evaluations": int(archive.trained.sum())}
    return search_of(p) | other | {"budget_minutes": None}


def plain_of(p: Evolution) -> dict[str, Any]:
    """The baseline trained as the search trains, without a teacher: `runs.student`'s parameters."""
    same = {name: getattr(p, name) for name in ("dataset", "images", "epochs", "seed")}
    return same | {"network": p.student}


def final_of(p: Evolution, chosen: Mapping[str, pd.Series]) -> dict[str, Any]:
    """The longer trainings at the end: `evolution_runs.final`'s parameters, all of them.

    The baseline with and without its teacher, and the networks of `chosen`.
    """
    space = SPACES[p.student]
    baseline = sizes(p.student, space.decode(space.baseline))
    asked = [
        {"name": PLAIN, "taught": False, **baseline},
        {"name": TAUGHT, "taught": True, **baseline},
    ]
    asked += [
        {"name": name, "taught": True, **sizes(p.student, space.decode(_genotype(space, row)))}
        for name, row in chosen.items()
    ]
    same = ("dataset", "student", "alpha", "temperature", "images", "device", "seed")
    spec = {name: getattr(p, name) for name in same}
    spec |= {"teacher": teacher_of(p), "chosen": asked, "epochs": p.final_epochs}
    return store.spec(evolution_runs.final, **spec)["parameters"]


def genes(student: str) -> pd.DataFrame:
    """The genes of a student: `gene`, from, to, step, and the baseline's value."""
    space = SPACES[student]
    return pd.DataFrame(
        {
            "gene": [gene.name for gene in space.genes],
            "from": [gene.lower for gene in space.genes],
            "to": [gene.upper for gene in space.genes],
            "step": [gene.step for gene in space.genes],
            "baseline": space.baseline,
        }
    )


def baseline_size(student: str, dataset: str) -> tuple[str, int, int]:
    """The baseline: its phenotype in words, its parameters and multiply-accumulates an image."""
    import torch

    space, spec = SPACES[student], specs.find(dataset)
    inputs = 1 if len(spec.image_shape) == 2 else 3
    phenotype = space.decode(space.baseline)
    model = build(student, len(spec.classes), inputs=inputs, **sizes(student, phenotype))
    macs = runtimes.macs(model, torch.zeros(1, inputs, 32, 32))
    return str(phenotype), parameters(model), macs


def steady(archive: pd.DataFrame) -> pd.DataFrame:
    """`archive` with latencies as they are while the baseline takes what it usually does.

    The baseline is measured by turns with every network, so the quotient of the two is free of what
    slows both, such as the clock of a warm processor. It is multiplied by the baseline's median
    over the search; a count is left as it is.
    """
    usual = archive.baseline_ms.median()
    factor = usual / archive.baseline_ms
    return archive.assign(
        **{name: archive[name] * factor for name in ("latency_ms", "low_ms", "high_ms")}
    )


def example(generations: int = 5) -> pd.DataFrame:
    """A search whose answers come from a formula: `evolution.summary` of it.

    The error of FlexStudent is made up, falling with depth and width; its latency is the number of
    weights in tens of thousands. No network is trained.
    """

    def evaluate(new: Any, keep: Any) -> None:
        for one in new:
            widths = (3, *one.channels)
            weights = 9 * sum(a * b for a, b in zip(widths, widths[1:], strict=False))
            error = 90 / (len(one.channels) + sum(one.channels) / 64 + sum(one.neurons) / 512)
            keep(one, {"error": round(error, 6), "latency_ms": weights / 1e4})

    archive = evolution.nsga2(
        evolution.FLEX_STUDENT,
        evaluate,
        population=10,
        generations=generations,
        seed=0,
        noise=0.05,
        error_step=0.5,
        progress=False,
    )
    return evolution.summary(archive, reference=(100.0, 90.0))


def populations(archive: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """The networks of the first, the middle and the last generation, with the latencies of `again`.

    A row a network and generation: `generation` in words, the archive's columns, `latency_ms`,
    `low_ms`, `high_ms`, `lowest_ms` and `highest_ms` measured side by side.
    """
    parts = []
    for number in evolution_runs.shown_generations(archive):
        part = evolution.survivors(archive, number).drop_duplicates("phenotype")
        parts.append(part.assign(generation=f"generation {number}"))
    return _measured_again(pd.concat(parts), again)


def front(archive: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """Of all networks measured again, those that no other beats: the quickest first.

    Errors are those of the validation images, latencies those of `again`.
    """
    table = _measured_again(archive[archive.trained], again)
    best = table[evolution.front(table[list(evolution.OBJECTIVES)])]
    return best.sort_values("latency_ms", ignore_index=True)


def choose(front: pd.DataFrame) -> dict[str, pd.Series]:
    """The best compromise and the most accurate network of a front, by validation errors.

    The compromise is nearest to the corner where the quickest and the most accurate would be one,
    with both objectives running from 0 to 1 over the front; of two as near, the more accurate.
    """
    values = front[list(evolution.OBJECTIVES)].to_numpy(float)
    span = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1)
    order = np.lexsort([values[:, 1], np.round((scaled**2).sum(axis=1), 12)])
    return {COMPROMISE: front.iloc[order[0]], ACCURATE: front.loc[front.error.idxmin()]}


def tried(searches: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every network of several searches once, with `steady` latencies and the `search`."""
    parts = [steady(table[table.trained]).assign(search=name) for name, table in searches.items()]
    return pd.concat(parts, ignore_index=True)


def attained(searches: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What the networks evaluated so far dominate, for each search by their number.

    Columns of `evolution.attained` and `search`. Latencies are `steady` and in multiples of the
    baseline's, so that searches at different times compare; the reference is a fifth beyond the
    worst latency and error in any of them.
    """
    tables = {}
    for name, archive in searches.items():
        relative = archive.latency_ms / archive.baseline_ms
        tables[name] = archive.assign(latency_ms=relative)
    every = pd.concat(tables.values())
    reference = [1.2 * float(every[name].max()) for name in evolution.OBJECTIVES]
    parts = [
        evolution.attained(table, reference=reference).assign(search=name)
        for name, table in tables.items()
    ]
    return pd.concat(parts, ignore_index=True)


def blocks(p: Evolution, chosen: Mapping[str, pd.Series]) -> pd.DataFrame:
    """The layers of the baseline and of the chosen networks: `network`, `layer`, `width`."""
    space = SPACES[p.student]
    drawn = {"baseline": space.decode(space.baseline)}
    drawn |= {name: space.decode(_genotype(space, row)) for name, row in chosen.items()}
    stages = ["stem", "stage 1", "stage 2", "stage 3"]
    rows = []
    for name, phenotype in drawn.items():
        for number, width in enumerate(phenotype.channels):
            layer = stages[number] if p.student == "resnet8x4" else f"convolution {number + 1}"
            rows.append({"network": name, "layer": layer, "width": width})
        for number, width in enumerate(phenotype.neurons, 1):
            rows.append({"network": name, "layer": f"fully connected {number}", "width": width})
    layers = {row["layer"] for row in rows}
    order = stages if p.student == "resnet8x4" else sorted(layers)
    return pd.DataFrame(rows).sort_values(
        "layer", key=lambda layers: layers.map(order.index), kind="stable", ignore_index=True
    )


def title(p: Evolution) -> str:
    """`MobileNetV2/FlexStudent`."""
    return f"{TITLES[p.teacher]}/{TITLES[p.student]}"


def described(p: Evolution) -> str:
    """The scale of the search, for a caption."""
    images = "all images" if p.images is None else f"{p.images:,} images"
    times = "1 epoch" if p.epochs == 1 else f"{p.epochs} epochs"
    return f"{title(p)}, each student trained on {images} of {words.dataset(p.dataset)} for {times}"


def _measured_again(table: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that were measured again, with these latencies."""
    names = ["latency_ms", "low_ms", "high_ms", "spread"]
    now = again.set_index("phenotype")[[*names, *RANGE]]
    return table.drop(columns=names).join(now, on="phenotype", how="inner").dropna(subset=["error"])


def _genotype(space: evolution.Space, row: pd.Series) -> list[int]:
    return [int(row[name]) for name in space.names]
