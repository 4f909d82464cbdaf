"""Chapter 06: the error of a student over the hyper-parameters of its distillation.

Stewart et al. 2021, section 4.3.1 and Fig. 9: a teacher and a student, the weight α of the labels
against the teacher, and the temperature T; and the same student without a teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from qbench import store, workers
from qbench.data import specs
from qbench.distillation import runs
from qbench.models.convolutional import build, parameters
from qbench.studies import words
from qbench.studies.seeds import over_seeds

#: The pairs of Fig. 9 by name, each a teacher and its student.
PAIRS = {
    "mobilenet_v2/flex_student": ("mobilenet_v2", "flex_student"),
    "resnet32x4/flex_student": ("resnet32x4", "flex_student"),
    "resnet32x4/resnet8x4": ("resnet32x4", "resnet8x4"),
}
#: How networks are called on the page.
TITLES = {
    "mobilenet_v2": "MobileNetV2",
    "resnet32x4": "ResNet32x4",
    "resnet8x4": "ResNet8x4",
    "flex_student": "FlexStudent",
}


@dataclass(frozen=True)
class Scale:
    """How much one pair is trained: images and epochs of the teacher and of each student."""

    teacher_images: int | None = None
    teacher_epochs: int = 10
    images: int | None = 5000
    epochs: int = 10


def title(pair: str) -> str:
    """`mobilenet_v2/flex_student` → `MobileNetV2/FlexStudent`."""
    return "/".join(TITLES[name] for name in PAIRS[pair])


def teacher_of(pair: str, dataset: str, scale: Scale, seed: int = 0) -> dict[str, Any]:
    """The specification of a pair's teacher: `runs.teacher`'s parameters, all of them."""
    spec = {
        "dataset": dataset,
        "network": PAIRS[pair][0],
        "images": scale.teacher_images,
        "epochs": scale.teacher_epochs,
        "seed": seed,
    }
    return store.spec(runs.teacher, **spec)["parameters"]


def teachers(scales: dict[str, Scale], dataset: str) -> pd.DataFrame:
    """Train the teachers, or look them up: one row an epoch, `fit`'s columns and `teacher`."""
    specs = {}
    for pair, scale in scales.items():
        spec = teacher_of(pair, dataset, scale)
        specs.setdefault(store.key(store.spec(runs.teacher, **spec)), spec)
    logs = [store.run(runs.teacher, **spec).assign(**_named(spec)) for spec in specs.values()]
    return pd.concat(logs, ignore_index=True)


def _named(spec: dict[str, Any]) -> dict[str, Any]:
    return {"teacher": spec["network"], "images": spec["images"]}


def surface(
    pair: str,
    dataset: str,
    scale: Scale,
    *,
    alphas: Sequence[float],
    temperatures: Sequence[float],
    seeds: Sequence[int],
    form: str = "stewart",
    learning_rate: float = 0.05,
    batch_size: int = 64,
    augment: bool = False,
    at_once: int | None = None,
) -> pd.DataFrame:
    """Train the pair's student at every (α, T) and without a teacher, with every seed.

    One row a training: `pair`, `seed`, `alpha`, `temperature` (both missing without a teacher),
    `distilled`, `train_loss` of the last epoch (nats), `valid_error` and `test_error` (%).
    """
    teacher = teacher_of(pair, dataset, scale)
    same = {
        "dataset": dataset,
        "network": PAIRS[pair][1],
        "images": scale.images,
        "epochs": scale.epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "augment": augment,
    }
    asked = []
    for seed in seeds:
        asked.append(same | {"seed": seed})
        taught = same | {"seed": seed, "teacher": teacher, "form": form}
        asked += [
            taught | {"alpha": alpha, "temperature": temperature}
            for alpha in alphas
            for temperature in temperatures
        ]
    if store.missing(store.spec(runs.student, **one) for one in asked if "teacher" in one):
        store.run(runs.teacher, **teacher)  # before the workers start: they would wait for it
        if not augment:
            store.run(runs.teacher_logits, teacher=teacher)
    tables = workers.run_each(
        runs.student,
        asked,
        workers=at_once,
        title=title(pair),
        needs=lambda one: runs.read_by(one.get("teacher"), one["augment"]),
    )
    rows = []
    for one, table in zip(asked, tables, strict=True):
        last = table.iloc[-1]
        rows.append(
            {
                "pair": pair,
                "seed": one["seed"],
                "alpha": one.get("alpha"),
                "temperature": one.get("temperature"),
                "distilled": "teacher" in one,
                "train_loss": last["train_loss"],
                "valid_error": last["valid_error"],
                "test_error": last["test_error"],
            }
        )
    return pd.DataFrame(rows)


def networks(pairs: Sequence[str], dataset: str) -> pd.DataFrame:
    """Every network of the pairs: `network`, `role`, `parameters`, for the data set's images."""
    spec = specs.find(dataset)
    rows = []
    for place, role in enumerate(("teacher", "student")):
        for name in dict.fromkeys(PAIRS[pair][place] for pair in pairs):
            model = build(name, len(spec.classes), inputs=1 if len(spec.image_shape) == 2 else 3)
            rows.append(
                {"network": TITLES[name], "role": role, "parameters": f"{parameters(model):,}"}
            )
    return pd.DataFrame(rows)


def teacher_table(logs: pd.DataFrame) -> pd.DataFrame:
    """The last epoch of each log of `teachers`, under the headings of the page."""
    last = logs.sort_values("epoch").groupby(["teacher", "images"], dropna=False).tail(1)
    return pd.DataFrame(
        {
            "teacher": last["teacher"].map(TITLES),
            "images": [f"{count:,.0f}" if pd.notna(count) else "all" for count in last["images"]],
            "epochs": last["epoch"],
            "validation error (%)": last["valid_error"],
            "test error (%)": last["test_error"],
        }
    )


def described(scale: Scale, dataset: str, seeds: Sequence[int]) -> str:
    """The scale of a pair's students, for a caption."""
    images = "all images" if scale.images is None else f"{scale.images:,} images"
    many = "one seed" if len(seeds) == 1 else f"mean of {len(seeds)} seeds"
    times = "1 epoch" if scale.epochs == 1 else f"{scale.epochs} epochs"
    return f"Students trained on {images} of {words.dataset(dataset)} for {times}, {many}"


def over_temperature(runs: pd.DataFrame, pair: str) -> pd.DataFrame:
    """A curve for each α: `curve`, `temperature`, `test_error` (mean, %), `low`, `high`."""
    rows = runs[(runs["pair"] == pair) & runs["distilled"]]
    means = over_seeds(rows, ["alpha", "temperature"])
    return means.assign(curve=means["alpha"].map("α = {:g}".format))
