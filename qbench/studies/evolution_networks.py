"""One network of an evolution: trained, exported, checked, and measured on its device.

`make` runs in a process of one thread beside others; `measured` runs when none of them does.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from qbench import data, paths, runtimes, store, threads, workers
from qbench.distillation import runs
from qbench.evolution import FLEX_STUDENT, RESNET8X4, Phenotype
from qbench.files import write_atomically
from qbench.models.convolutional import parameters

SPACES = {"flex_student": FLEX_STUDENT, "resnet8x4": RESNET8X4}
MACS = "macs"  # the device that is none: its latency is a count
CHECKED = 256  # test images whose logits are compared in a search
BUSY = 0.05  # share of its time that a measurement may wait for a processor
ATTEMPTS = 5  # of a measurement that waits longer
LITTLE = 10_000  # images to train on in all: a process would take longer to start
ROUNDS, SECONDS = 9, 1.0  # of a measurement; seconds are those of each network
TIMES = ("latency_ms", "low_ms", "high_ms", "spread", "fastest_ms", "waited")
RANGE = ("lowest_ms", "highest_ms")  # of the rounds' medians
MADE = "made.json"
# The parent has the teacher's logits; a recomputation is not to train it in each process.
TAUGHT = {"QBENCH_RECOMPUTE": ""}
ONNX, IR = "network.onnx", ("network.xml", "network.bin")


def device_of(name: str) -> str:
    """`name` as OpenVINO spells it, or `macs`; raises `RuntimesError` with the devices there are.

    With `macs` the latency is the number of multiply-accumulates in millions: deterministic, for
    machines that lack the device, and no time.
    """
    if name.lower() == MACS:
        return MACS
    try:
        return runtimes.device_name(name)
    except runtimes.RuntimesError as error:
        raise runtimes.RuntimesError(f"{str(error).rstrip('.')}, or {MACS} to count.") from None


def sizes(student: str, phenotype: Phenotype) -> dict[str, Any]:
    """`channels` and `neurons` as `runs.student` takes them; None where the network has none."""
    hidden = bool(SPACES[student].of("neurons"))
    return {
        "channels": list(phenotype.channels),
        "neurons": list(phenotype.neurons) if hidden else None,
    }


def folder_name(channels: Sequence[int], neurons: Sequence[int] | None, taught: bool) -> str:
    """Where a network's files lie, such as `conv-32-64-fc-128` or `conv-32-64-fc-128-untaught`."""
    parts = ["conv", *channels] + (["fc", *neurons] if neurons else [])
    return "-".join(map(str, parts + ([] if taught else ["untaught"])))


def make_all(
    folder: Path,
    jobs: Sequence[Mapping[str, Any]],
    *,
    device: str,
    whole_test: bool = False,
    at_once: int | None = None,
) -> list[dict[str, Any]]:
    """What `make` finds for each of `jobs`, parameters of `runs.train_student`, and its `folder`.

    Equal networks share a folder and are trained once.
    """
    places = [
        folder / folder_name(job["channels"], job["neurons"], job["teacher"] is not None)
        for job in jobs
    ]
    different = dict(zip(places, jobs, strict=True))
    todo = [
        (str(place), dict(job), device, whole_test)
        for place, job in different.items()
        if known(place) is None
    ]
    work = sum(job["epochs"] * (job["images"] or LITTLE) for _, job, *_ in todo)
    if workers.elsewhere() and work > LITTLE:
        _made_elsewhere(todo)
    elif workers.at_once(len(todo), at_once) > 1 and work > LITTLE:
        for _ in workers.in_processes(
            make, todo, workers=at_once, title="students", leave=False, environment=TAUGHT
        ):
            pass
    else:
        for job in todo:
            make(*job)
    return [known(place) | {"folder": place} for place in places]


def _made_elsewhere(todo: Sequence[tuple[str, dict[str, Any], str, bool]]) -> None:
    """`make` on other machines; what each leaves is written here, the numbers last."""
    for place, left in workers.sent(
        _make_there,
        todo,
        title="students",
        leave=False,
        environment=TAUGHT,
        needs=lambda _, job, *more: runs.read_by(job["teacher"], augment=False),
    ):
        folder = Path(place)
        with store.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in sorted(left, key=MADE.__eq__):
                write_atomically(folder / name, left[name])


def _make_there(
    place: str, job: Mapping[str, Any], device: str, whole_test: bool
) -> tuple[str, dict[str, bytes]]:
    """`make` in a folder of this machine; `place` and the contents of the files that it left."""
    asked = json.dumps([job, device, whole_test], sort_keys=True)
    name = hashlib.sha256(asked.encode()).hexdigest()[:20]
    folder = paths.local_results() / "unfinished" / name
    with store.writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # another worker may have been taken for dead
        make(str(folder), job, device, whole_test)
        left = {file.name: file.read_bytes() for file in folder.iterdir()}
        shutil.rmtree(folder)
    return place, left


def known(folder: Path) -> dict[str, Any] | None:
    """What `make` wrote; None where it has not ended, or where that is damaged."""
    with suppress(OSError, ValueError):
        return json.loads((folder / MADE).read_text())
    return None


def make(folder: str, job: Mapping[str, Any], device: str, whole_test: bool) -> None:
    """Train one network on one thread, export it and compare what it says with PyTorch.

    Files go to `folder`, the numbers last, so that an interrupted one is known by their absence;
    its training goes on from the last epoch. A loss that is no longer finite, a file that says
    something else than the network, and what cannot be exported are a `reason`, not an error.
    """
    place = Path(folder)
    with store.writing(place):
        place.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"reason": ""}
    with threads.at_most(1):
        try:
            model, log = runs.train_student(**job, checkpoint=place, progress=False)
        except FloatingPointError as error:
            found["reason"] = str(error)
        else:
            images = _test(job["dataset"])
            last = log.iloc[-1]
            found |= {
                "train_loss": float(last.train_loss),
                "valid_error": float(last.valid_error),
                "test_error": float(last.test_error),
                "parameters": parameters(model),
                "macs": runtimes.macs(model, images.images[:1]),
            }
            if device != MACS:
                found |= _exported(model, images, place, device, whole_test)
    with store.writing(place):
        write_atomically(place / MADE, json.dumps(found).encode())
    (place / "state.pt").unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _test(dataset: str) -> data.Split:
    return runs.load(dataset, 1).test


def _exported(
    model: nn.Module, images: data.Split, place: Path, device: str, whole_test: bool
) -> dict[str, float | str]:
    onnx, xml = place / ONNX, place / IR[0]
    shown = slice(None) if whole_test else slice(CHECKED)
    pixels, labels = images.images[shown], images.labels[shown]
    try:
        runtimes.to_onnx(model, pixels[:1], onnx)
        runtimes.to_ir(onnx, xml)
        same = runtimes.agreement(model, xml, pixels, device=device, labels=labels)
    except runtimes.RuntimesError as error:
        return {"reason": str(error)}
    found: dict[str, float | str] = {
        "difference": same.difference,
        "allowed": same.allowed,
        "classes_differ": same.classes_differ,
        "checked": same.images,
        "weights": same.weights,
        "precision": same.precision,
    }
    if not same.ok:
        found["reason"] = (
            f"a logit on {device} differs by {same.difference:.3g}, "
            f"where rounding explains {same.allowed:.3g}"
        )
    if whole_test:
        answers = runtimes.onnx_logits(onnx, pixels).argmax(1)
        found["onnx_error"] = 100 * float((answers != labels.numpy()).mean())
        found["device_error"] = 100 * (1 - same.accuracy_file)
    return found


def measured(made: Mapping[str, Any], baseline: Mapping[str, Any], device: str) -> dict[str, float]:
    """The latency of a network, and by turns with it that of the baseline; see `by_turns`.

    `latency_ms` (the median), `low_ms` and `high_ms` (quartiles), `spread`, `fastest_ms`,
    `baseline_ms` (the baseline's median) and `waited`, the share of the time for which either stood
    in the queue for a processor. A measurement that waits for more than a twentieth is repeated,
    four times at most, and the one that waited least counts.
    """
    if device == MACS:
        best = counted(made) | {"baseline_ms": counted(baseline)["latency_ms"]}
        return {name: best[name] for name in (*TIMES, "baseline_ms")}
    files = {"network": made["folder"], "baseline": baseline["folder"]}
    best: dict[str, float] = {}
    for _ in range(ATTEMPTS):
        found = by_turns(files, device)
        own, other = found["network"], found["baseline"]
        own |= {"waited": max(own["waited"], other["waited"]), "baseline_ms": other["latency_ms"]}
        if not best or own["waited"] < best["waited"]:
            best = own
        if not own["waited"] > BUSY:  # or it is not known
            break
    return {name: best[name] for name in (*TIMES, "baseline_ms")}


def by_turns(
    folders: Mapping[str, Path],
    device: str,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    *,
    fresh: bool = False,
    new_process: bool = False,
) -> dict[str, dict[str, float]]:
    """`runtimes.by_turns` of the networks in these folders: `TIMES` and `RANGE` of each.

    On one thread of a CPU: networks this small gain nothing by more. With `fresh` each round
    measures a compilation of its own; with `new_process` all is done in a process started for it.
    """
    files = {name: folder / IR[0] for name, folder in folders.items()}
    threads = 1 if device == "CPU" else None
    how = {"threads": threads, "rounds": rounds, "seconds": seconds, "fresh": fresh}
    measure = partial(runtimes.by_turns, device=device, **how)
    if new_process:
        (found,) = workers.in_processes(
            measure, [(files,)], workers=1, title="measured again", leave=False
        )
    else:
        found = measure(files)
    return {
        name: {
            "latency_ms": one.median_ms,
            "low_ms": one.low_ms,
            "high_ms": one.high_ms,
            "spread": one.spread,
            "fastest_ms": one.fastest_ms,
            "waited": one.waited,
            "lowest_ms": min(one.rounds),
            "highest_ms": max(one.rounds),
        }
        for name, one in found.items()
    }


def counted(made: Mapping[str, Any]) -> dict[str, float]:
    """What `by_turns` gives of a network, for the device `macs`."""
    count = made["macs"] / 1e6
    return dict.fromkeys((*TIMES, *RANGE), count) | {"spread": 0.0, "waited": 0.0}


def values(made: Mapping[str, Any], latency: Mapping[str, float] | None) -> dict[str, Any]:
    """What a search archives of a network; `error` is that of the validation images, or NaN."""
    numbers = ("valid_error", "test_error", "train_loss", "parameters", "macs")
    numbers += ("difference", "allowed", "classes_differ", "checked")
    found = {name: math.nan for name in ("error", *TIMES, "baseline_ms", *numbers)}
    found |= {name: float(made[name]) for name in numbers if name in made}
    found |= dict(latency or {})
    if not made["reason"]:
        found["error"] = found["valid_error"]
    return found | {"reason": made["reason"]}


def keep_files(made: Mapping[str, Any], folder: Path) -> None:
    """Copy what is needed to measure a network again to `folder`, where it outlives the search."""
    target = folder / made["folder"].name
    with store.writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in (*IR, MADE):
            if (made["folder"] / name).exists():
                shutil.copy2(made["folder"] / name, target / name)


def contents(folder: Path) -> dict[str, bytes]:
    """`onnx`, `xml` and `bin`: the files of a network that was exported."""
    return {name.rpartition(".")[2]: (folder / name).read_bytes() for name in (ONNX, *IR)}
