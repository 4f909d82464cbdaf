"""One network of an evolution: trained, exported, checked, and measured on its device.

`make` runs in a process of one thread beside others; `measured` runs when none of them does.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from qbench import data, runtimes, store, threads, workers
from qbench.distillation import runs
from qbench.evolution import FLEX_STUDENT, RESNET8X4, Phenotype
from qbench.files import write_atomically
from qbench.models.convolutional import parameters

SPACES = {"flex_student": FLEX_STUDENT, "resnet8x4": RESNET8X4}
MACS = "macs"  # the device that is none: its latency is a count
CHECKED = 256  # test images whose logits are compared in a search
BUSY = 0.05  # share of its time that a measurement may wait for a processor
ATTEMPTS = 3  # of a measurement that waits longer
MADE = "made.json"
FILES = ("network.onnx", "network.xml", "network.bin")


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
    """`make` for each of `jobs`, parameters of `runs.train_student`, in a folder each."""
    places = [
        folder / folder_name(job["channels"], job["neurons"], job["teacher"] is not None)
        for job in jobs
    ]
    todo = [
        (str(place), dict(job), device, whole_test)
        for place, job in zip(places, jobs, strict=True)
        if known(place) is None
    ]
    if workers.at_once(len(todo), at_once) > 1:
        # The parent has the teacher's logits; a recomputation is not to train it in each process.
        alone = {"QBENCH_RECOMPUTE": ""}
        for _ in workers.in_processes(
            make, todo, workers=at_once, title="students", leave=False, environment=alone
        ):
            pass
    else:
        for job in todo:
            make(*job)
    return [known(place) | {"folder": place} for place in places]


def known(folder: Path) -> dict[str, Any] | None:
    """What `make` wrote; None where it has not ended."""
    with suppress(OSError):
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
    onnx, xml = place / "network.onnx", place / "network.xml"
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


def measured(
    made: Mapping[str, Any], baseline: Mapping[str, Any], device: str
) -> dict[str, float]:
    """The latency of a network, and by turns with it that of the baseline; see `by_turns`.

    `latency_ms`, `low_ms`, `high_ms`, `spread`, `baseline_ms` and `waited`, the share of the time
    for which either stood in the queue for a processor. One that waits for more than a twentieth
    is repeated twice at most, and the one that waited least counts.
    """
    if device == MACS:
        count, other = made["macs"] / 1e6, baseline["macs"] / 1e6
        return _latency(count, count, count, 0.0, other, 0.0)
    files = {name: one["folder"] / "network.xml" for name, one in
             {"network": made, "baseline": baseline}.items()}  # fmt: skip
    best: dict[str, float] = {}
    for _ in range(ATTEMPTS):
        found = by_turns(files, device)
        own, other = found["network"], found["baseline"]
        waited = max(own.waited, other.waited)
        if not best or waited < best["waited"]:
            best = _latency(
                own.median_ms, own.low_ms, own.high_ms, own.spread, other.median_ms, waited
            )
        if not waited > BUSY:  # or it is not known
            break
    return best


def by_turns(files: Mapping[str, Path], device: str) -> dict[str, runtimes.Latency]:
    """`runtimes.by_turns`, on one thread of a CPU: networks this small gain nothing by more."""
    return runtimes.by_turns(files, device, threads=1 if device == "CPU" else None)


def _latency(
    middle: float, low: float, high: float, spread: float, baseline: float, waited: float
) -> dict[str, float]:
    return {
        "latency_ms": middle,
        "low_ms": low,
        "high_ms": high,
        "spread": spread,
        "baseline_ms": baseline,
        "waited": waited,
    }


def values(made: Mapping[str, Any], latency: Mapping[str, float] | None) -> dict[str, Any]:
    """What a search archives of a network; `error` is that of the validation images, or NaN."""
    numbers = ("valid_error", "test_error", "train_loss", "parameters", "macs")
    numbers += ("difference", "allowed", "classes_differ", "checked")
    times = ("latency_ms", "low_ms", "high_ms", "spread", "baseline_ms", "waited")
    found = {name: math.nan for name in ("error", *times, *numbers)}
    found |= {name: float(made[name]) for name in numbers if name in made}
    found |= dict(latency or {})
    if not made["reason"]:
        found["error"] = found["valid_error"]
    return found | {"reason": made["reason"]}


def keep_files(made: Mapping[str, Any], folder: Path, names: Sequence[str] = FILES) -> None:
    """Copy a network's files to `folder`, where they outlive the search."""
    target = folder / made["folder"].name
    with store.writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in (*names, MADE):
            if (made["folder"] / name).exists():
                shutil.copy2(made["folder"] / name, target / name)
