"""What chapter 07 stores: the search of NEMOKD, its networks measured again, the chosen ones.

Stewart et al. 2021, section 3.4: each network of a generation is trained with a teacher, exported
to ONNX and to OpenVINO's IR with FP16 weights, and measured on the device; NSGA-II makes the next.
Latencies are measurements, so none of these results is `repeatable`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from qbench import evolution, paths, store
from qbench.distillation import runs
from qbench.errors import UserError, nearest
from qbench.evolution import Phenotype

from . import evolution_networks as networks

SEARCHES = ("nsga2", "random")
FILE = "search.jsonl"


class SearchError(UserError, ValueError):
    """What was asked cannot be evolved: one sentence with the value and what is allowed."""


@store.method(version=1, repeatable=False)
def nemokd(
    *,
    dataset: str,
    teacher: Mapping[str, Any],
    student: str = "flex_student",
    search: str = "nsga2",
    alpha: float = 0.5,
    temperature: float = 4.0,
    form: str = "stewart",
    images: int | None = None,
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    device: str = "CPU",
    population: int = 20,
    generations: int = 20,
    noise: float = 0.05,
    error_step: float = 0.5,
    draw: str = "perturbed",
    evaluations: int | None = None,
    seed: int = 0,
    budget_minutes: float | None = None,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Evolve `student` under `teacher` (parameters of `runs.teacher`, all of them) on `device`.

    Returns the archive of `evolution.nsga2`, or with `search="random"` that of
    `evolution.random_search` with `draw` and as many `evaluations` (None: as many networks as
    NSGA-II trains). `error` is that of the validation images after `epochs` (selection does not see
    the test images) and `latency_ms` the median on `device`, or with `macs` millions of
    multiply-accumulates. Besides: `low_ms`, `high_ms`, `spread`, `fastest_ms`, `waited` and
    `baseline_ms`, the baseline measured by turns with it; `valid_error` and `test_error` (%),
    `train_loss`, `parameters`, `macs`; `difference` (the largest of a logit), `allowed` and
    `classes_differ` of the `checked` test images; `reason`, why a network failed, whose `error` is
    missing.

    Every network is trained with the same seed. A search that was killed goes on where it was. The
    files of the baseline and of the networks that are `shown` are kept in `networks_of(...)`.
    Raises a `UserError`, one sentence, before any work.
    """
    given = {name: value for name, value in locals().items() if name != "checkpoint"}
    space = _space(student)
    device = networks.device_of(device)
    _check(search, dataset, images, teacher)
    training = training_of(given)
    folder = checkpoint or networks_of(given)
    evaluate = Evaluator(student, training, device, folder / "networks")
    common = {"seed": seed, "budget_minutes": budget_minutes, "archive": folder / FILE}
    if search == "nsga2":
        archive = evolution.nsga2(
            space,
            evaluate,
            population=population,
            generations=generations,
            noise=noise,
            error_step=error_step,
            **common,
        )
    else:
        count = distinct(population, generations) if evaluations is None else evaluations
        archive = evolution.random_search(
            space, evaluate, evaluations=count, draw=draw, batch=population, **common
        )
    for one in evaluate.made([space.decode(space.baseline), *shown(archive, space)]):
        networks.keep_files(one, networks_of(given))
    return archive


class Evaluator:
    """Trains the networks of a generation side by side, and then measures one after another.

    What has been trained lies in `folder` and is not trained again. `evaluate(new, keep)` is what
    `evolution.nsga2` calls. `at_once` (None: as many as there are cores) is how many are trained at
    once.
    """

    def __init__(
        self,
        student: str,
        training: Mapping[str, Any],
        device: str,
        folder: Path,
        at_once: int | None = None,
    ):
        self.student, self.training, self.device = student, dict(training), device
        self.folder, self.at_once = folder, at_once
        space = networks.SPACES[student]
        self.baseline = space.decode(space.baseline)
        self._taught = False

    def __call__(
        self, new: Sequence[Phenotype], keep: Callable[[Phenotype, dict[str, Any]], None]
    ) -> None:
        baseline, *made = self.made([self.baseline, *new])
        if baseline["reason"]:
            raise SearchError(f"the baseline cannot be measured: {baseline['reason']}.")
        for phenotype, one in zip(new, made, strict=True):
            measurable = "macs" in one and not one["reason"]
            latency = networks.measured(one, baseline, self.device) if measurable else None
            keep(phenotype, networks.values(one, latency))

    def made(self, phenotypes: Sequence[Phenotype]) -> list[dict[str, Any]]:
        """These networks trained and exported: what `networks.make` found, and each `folder`."""
        if not self._taught:  # before the processes start: they would wait for it
            ensure_logits(self.training["teacher"])
            self._taught = True
        jobs = {one: self.training | networks.sizes(self.student, one) for one in phenotypes}
        found = networks.make_all(
            self.folder, list(jobs.values()), device=self.device, at_once=self.at_once
        )
        by_name = dict(zip(jobs, found, strict=True))
        return [by_name[one] for one in phenotypes]


def ensure_logits(teacher: Mapping[str, Any]) -> None:
    """Train the teacher and ask it, unless that is stored."""
    spec = store.spec(runs.teacher, **teacher)["parameters"]
    store.run(runs.teacher, **spec)
    store.run(runs.teacher_logits, teacher=spec)


def networks_of(search: Mapping[str, Any]) -> Path:
    """The folder of a search's networks; it is not published, and may be missing."""
    return paths.local_results() / "networks" / store.key(store.spec(nemokd, **search))


def distinct(population: int, generations: int) -> int:
    """How many networks NSGA-II trains: half of the first population is one, the baseline."""
    return population * generations - population // 2 + 1


def shown_generations(archive: pd.DataFrame) -> list[int]:
    """The first, the middle and the last generation, as the paper's figure shows them."""
    last = int(archive.survived_until.max())
    return sorted({1, (1 + last) // 2, last})


def shown(archive: pd.DataFrame, space: evolution.Space) -> list[Phenotype]:
    """The networks of the populations of `shown_generations`, and of the front of all."""
    parts = [evolution.survivors(archive, number) for number in shown_generations(archive)]
    parts.append(archive[evolution.front(archive[list(evolution.OBJECTIVES)])])
    kept = pd.concat(parts).dropna(subset=["error"])
    genotypes = kept[list(space.names)].itertuples(index=False, name=None)
    return list(dict.fromkeys(space.decode([int(gene) for gene in one]) for one in genotypes))


@store.method(version=2, repeatable=False)
def remeasured(
    *, search: Mapping[str, Any], device: str | None = None, checkpoint: Path | None = None
) -> pd.DataFrame:
    """Measure what `shown` names of a search once more, all by turns, compiled for every round.

    `search` are the parameters of `nemokd`, and `device` another than the search's. One row a
    network: `phenotype`, what was measured (`TIMES` and `RANGE` of `evolution_networks`), `TIMES`
    of the search with `search_` before the names, `search_baseline_ms`, `search_scaled_ms`, the
    search's median while the baseline takes as long as now (a processor's clock is not the same on
    another day), and `within`: whether that lies between the lowest and the highest median of a
    round now. The search measured one compilation; were it like those of the nine rounds, it would
    lie between them in 8 of 10 cases, since each of ten is as likely as any other to be the lowest
    or the highest.
    """
    archive = store.run(nemokd, **search)
    student = search["student"]
    space = _space(student)
    device = networks.device_of(device or search["device"])
    named = archive[archive.trained].set_index("phenotype")
    found = list(dict.fromkeys([space.decode(space.baseline), *shown(archive, space)]))
    folder = networks_of(search)
    made = Evaluator(student, training_of(search), device, folder).made(found)
    if device == networks.MACS:
        now = [networks.counted(one) for one in made]
    else:
        folders = {str(one): there["folder"] for one, there in zip(found, made, strict=True)}
        now = list(networks.by_turns(folders, device, fresh=True).values())
    rows = []
    for phenotype, one in zip(found, now, strict=True):
        row = {"phenotype": str(phenotype)}
        row |= {name: one[name] for name in (*networks.TIMES, *networks.RANGE)}
        if str(phenotype) in named.index:
            then = named.loc[str(phenotype)]
            row |= {f"search_{name}": then[name] for name in (*networks.TIMES, "baseline_ms")}
            scaled = then.latency_ms * now[0]["latency_ms"] / then.baseline_ms
            row["search_scaled_ms"] = scaled
            row["within"] = bool(one["lowest_ms"] <= scaled <= one["highest_ms"])
        rows.append(row)
    return pd.DataFrame(rows)


@store.method(version=2, repeatable=False)
def final(
    *,
    dataset: str,
    chosen: Sequence[Mapping[str, Any]],
    teacher: Mapping[str, Any],
    student: str = "flex_student",
    alpha: float = 0.5,
    temperature: float = 4.0,
    form: str = "stewart",
    images: int | None = None,
    epochs: int = 200,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    device: str = "CPU",
    seed: int = 0,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train the chosen networks for longer, and run what is exported over all test images.

    Each of `chosen` is a mapping of `name`, `channels`, `neurons` (None for ResNet8x4) and
    `taught`, whether with the teacher. One row each: these, `parameters`, `macs`, `valid_error` and
    `test_error` (%) by PyTorch, `onnx_error` by ONNX Runtime, `device_error` by OpenVINO on
    `device` with the IR, `difference`, `allowed` and `classes_differ` of the whole test part.

    Latencies (`TIMES` and `RANGE` of `evolution_networks`) are measured by turns, compiled for
    every round; `again_ms` is the median of the same in a new process, and `within` whether it lies
    between the lowest and the highest round of the first. If the process changes nothing it does in
    97 of 100 cases: in 3 of 100 orders of 18 rounds five of one nine are beyond all of the other.

    `onnx`, `xml` and `bin` are the contents of the ONNX file and the IR; with `macs` there are
    none. What a user of them has to know: `dataset`, `device`, `image_shape` (C, H, W), and the
    `mean` and `deviation` of each channel, see `data.Dataset`.
    """
    given = {name: value for name, value in locals().items() if name != "checkpoint"}
    _space(student)
    device = networks.device_of(device)
    _check(SEARCHES[0], dataset, images, teacher)
    training = training_of(given)
    alone = training | {"teacher": None, "form": "stewart", "alpha": 1.0, "temperature": 1.0}
    jobs = [
        (training if one["taught"] else alone)
        | {"channels": list(one["channels"]), "neurons": _list(one["neurons"])}
        for one in chosen
    ]
    if any(one["taught"] for one in chosen):
        ensure_logits(teacher)
    folder = checkpoint or paths.local_results() / "networks" / store.key(
        store.spec(final, **given)
    )
    made = networks.make_all(folder / "networks", jobs, device=device, whole_test=True)
    for one, network in zip(chosen, made, strict=True):
        if network["reason"]:
            raise SearchError(f"{one['name']} cannot be measured: {network['reason']}.")
    if device == networks.MACS:
        first = again = [networks.counted(one) for one in made]
    else:
        names = [one["name"] for one in chosen]
        folders = {name: there["folder"] for name, there in zip(names, made, strict=True)}
        first, again = (
            networks.by_turns(folders, device, fresh=True, new_process=new).values()
            for new in (False, True)
        )
    pictures = runs.load(dataset, 1)
    scale = {"mean": list(pictures.mean), "deviation": list(pictures.deviation)}
    shape = list(pictures.test.images.shape[1:])
    rows = []
    for one, network, now, later in zip(chosen, made, first, again, strict=True):
        row = {name: one[name] for name in ("name", "taught")}
        row |= {"channels": list(one["channels"]), "neurons": list(one["neurons"] or [])}
        row |= {name: network[name] for name in network if name not in ("reason", "folder")}
        row |= {name: now[name] for name in (*networks.TIMES, *networks.RANGE)}
        row["again_ms"] = later["latency_ms"]
        row["within"] = now["lowest_ms"] <= later["latency_ms"] <= now["highest_ms"]
        row |= {"dataset": dataset, "device": device, "image_shape": shape} | scale
        if device != networks.MACS:
            row |= networks.contents(network["folder"])
        rows.append(row)
    return pd.DataFrame(rows)


def training_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What all networks of a search share: parameters of `runs.train_student`."""
    same = ("dataset", "images", "teacher", "form", "alpha", "temperature", "seed")
    same += ("epochs", "batch_size", "learning_rate")
    return {name: given[name] for name in same} | {"network": given["student"], "beta": None}


def _space(student: str) -> evolution.Space:
    if student not in networks.SPACES:
        known = ", ".join(networks.SPACES)
        hint = nearest(networks.SPACES, student)
        raise SearchError(f"student must be one of {known}, not {student!r}{hint}.")
    return networks.SPACES[student]


def _list(sizes: Sequence[int] | None) -> list[int] | None:
    return None if sizes is None else list(sizes)


def _check(search: str, dataset: str, images: int | None, teacher: Mapping[str, Any]) -> None:
    if search not in SEARCHES:
        raise SearchError(f"search must be one of {', '.join(SEARCHES)}, not {search!r}.")
    if teacher["dataset"] != dataset:
        raise SearchError(f"the teacher must be taught {dataset}, not {teacher['dataset']}.")
    most = teacher.get("images")
    if most is not None and (images is None or images > most):
        asked = "all" if images is None else f"{images:,}"
        raise SearchError(
            f"images must be at most {most:,}, as many as the teacher answers for, not {asked}."
        )
