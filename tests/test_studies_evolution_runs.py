"""The stored methods of chapter 07: searched, killed and resumed, measured, refused."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import evolution_runs_toy as toy
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from evolution_runs_toy import SEARCH, TEACHER

from qbench import data, evolution, paths, runtimes, store, workers
from qbench.distillation import runs
from qbench.errors import UserError
from qbench.evolution import FLEX_STUDENT, Phenotype
from qbench.studies import evolution_files, evolution_networks, evolution_runs
from qbench.studies.evolution_runs import Evaluator, final, nemokd, networks_of, remeasured

TINY = Phenotype((8,), (16,))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store of this module's own, whose searches train in this process and measure briefly."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("evolution")
        patch.setenv("QBENCH_RESULTS", str(folder / "results"))
        patch.setenv("QBENCH_RECOMPUTE", "")
        patch.setattr(paths, "PUBLISHED", folder / "published")
        patch.setattr(workers, "at_once", toy.alone)
        quick = partial(evolution_networks.by_turns, rounds=3, seconds=0.03)
        patch.setattr(evolution_networks, "by_turns", quick)
        yield folder / "results"


@pytest.fixture(scope="module")
def searched(home):
    return store.run(nemokd, **SEARCH)


def training(**changes):
    return evolution_runs.training_of(SEARCH | changes)


def test_a_search_trains_each_network_as_a_student_is_trained(searched):
    assert list(searched.origin) == ["baseline", "perturbed", "perturbed"] + ["offspring"] * 3
    assert searched.trained.all() and searched.phenotype.is_unique
    one = searched.iloc[-1]
    space = FLEX_STUDENT
    phenotype = space.decode([int(one[name]) for name in space.names])
    assert str(phenotype) == one.phenotype
    shared = {k: v for k, v in training().items() if k != "beta"}
    sizes = {"channels": list(phenotype.channels), "neurons": list(phenotype.neurons)}
    last = runs.student(**shared, **sizes).iloc[-1]
    assert (one.error, one.test_error) == (last.valid_error, last.test_error)
    assert one.train_loss == last.train_loss
    assert (searched.error == searched.valid_error).all() and (searched.reason == "").all()


def test_with_macs_the_latency_is_a_count(searched):
    assert (searched.latency_ms == searched.macs / 1e6).all()
    baseline = searched[searched.origin == "baseline"].iloc[0]
    # 3·3 per output: 32 of 1 channel at 32x32, 64 of 32 at 16x16, 128 of 64 at 8x8; then 4x4 places
    convolutions = 9 * (32 * 32**2 + 64 * 32 * 16**2 + 128 * 64 * 8**2)
    assert baseline.macs == convolutions + 128 * 16 * 128 + 128 * 64 + 64 * 10
    assert (searched.baseline_ms == baseline.latency_ms).all() and (searched.spread == 0).all()


def test_the_networks_to_show_survive_the_search(home, searched):
    shown = evolution_runs.shown(searched, FLEX_STUDENT)
    last = {str(one) for one in shown} & set(evolution.survivors(searched, 2).phenotype)
    assert last == set(evolution.survivors(searched, 2).phenotype)
    table = store.run(remeasured, search=SEARCH)
    assert set(table.phenotype) == {str(one) for one in shown} | {searched.phenotype[0]}
    assert table.within.all() and (table.latency_ms == table.search_latency_ms).all()
    assert not (home / "unfinished").exists() or not list((home / "unfinished").iterdir())


def test_random_search_trains_as_many_networks(home, searched):
    table = store.run(nemokd, **SEARCH | {"search": "random"})
    assert len(table) == searched.trained.sum() == evolution_runs.distinct(3, 2)
    assert table.trained.all() and set(table.origin) == {"random"}
    assert (table.baseline_ms == searched.baseline_ms[0]).all()
    fewer = store.run(nemokd, **SEARCH | {"search": "random", "evaluations": 1})
    same = table.columns.drop("survived_until")  # of more batches, the last
    pd.testing.assert_frame_equal(fewer[same], table[same].iloc[:1])


@pytest.mark.parametrize(("population", "generations"), [(2, 1), (3, 2), (10, 8), (5, 3)])
def test_distinct_is_what_nsga2_trains(population, generations):
    def evaluate(new, keep):
        for one in new:
            size = sum(one.channels) + sum(one.neurons)
            keep(one, {"error": 50 / len(one.channels), "latency_ms": float(size)})

    table = evolution.nsga2(
        FLEX_STUDENT,
        evaluate,
        population=population,
        generations=generations,
        seed=0,
        noise=0,
        error_step=0,
        progress=False,
    )
    assert table.trained.sum() == evolution_runs.distinct(population, generations)


@pytest.mark.parametrize("after", ["state.pt", "search.jsonl"])
def test_a_killed_search_goes_on_to_the_same_archive(home, searched, tmp_path, after):
    """Killed in a training, and once the first network is archived."""
    environment = {
        **os.environ,
        "QBENCH_RESULTS": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(paths.ROOT), str(Path(__file__).parent)]),
        "OMP_NUM_THREADS": "1",
    }
    for method in (runs.teacher, runs.teacher_logits):  # so that it begins with the students
        folder = store.find(
            store.spec(method, **(TEACHER if method is runs.teacher else {"teacher": TEACHER}))
        ).file.parent
        (tmp_path / folder.name).symlink_to(folder)
    command = [sys.executable, "-m", "evolution_runs_toy"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while process.poll() is None and not list(tmp_path.glob(f"unfinished/*/**/{after}")):
        time.sleep(0.002)
    process.kill()
    said = process.communicate()[1].decode()
    assert process.returncode == -signal.SIGKILL, said
    finished = sorted(tmp_path.glob("unfinished/*/networks/*/made.json"))
    written = [file.stat().st_mtime_ns for file in finished]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_RESULTS", str(tmp_path))
        assert not finished or networks_of(SEARCH).exists()
        again = store.find(store.spec(nemokd, **SEARCH)).table()
    pd.testing.assert_frame_equal(again, searched)
    for file, before in zip(finished, written, strict=True):
        kept = networks_of(SEARCH).name
        copy = tmp_path / "networks" / kept / file.parent.name / file.name
        assert not copy.exists() or copy.stat().st_mtime_ns == before, "trained once only"


def evaluated(tmp_path, new, device="macs", **changes):
    kept = {}
    Evaluator("flex_student", training(**changes), device, tmp_path)(new, kept.__setitem__)
    return kept


def test_a_network_that_diverges_fails_and_says_why(home, searched, tmp_path, monkeypatch):
    original = runs.train_student

    def train(**job):
        if job["channels"] == [8]:
            raise FloatingPointError("FlexStudent: the loss is nan in epoch 1.")
        return original(**job)

    monkeypatch.setattr(runs, "train_student", train)
    kept = evaluated(tmp_path, [TINY, replace(TINY, channels=(16,))])
    failed, other = kept.values()
    assert math.isnan(failed["error"]) and "the loss is nan" in failed["reason"]
    assert other["error"] == other["valid_error"] and other["reason"] == ""


def test_a_file_that_says_something_else_fails_the_network(home, searched, tmp_path, monkeypatch):
    original = runtimes.agreement

    def disagree(model, *given, **how):
        same = original(model, *given, **how)
        assert same.ok
        small = sum(one.numel() for one in model.parameters()) < 100_000
        return replace(same, difference=3 * same.allowed) if small else same

    monkeypatch.setattr(runtimes, "agreement", disagree)
    (failed,) = evaluated(tmp_path, [TINY], "CPU").values()
    assert math.isnan(failed["error"]) and math.isnan(failed["latency_ms"])
    assert "rounding explains" in failed["reason"] and failed["difference"] > failed["allowed"]
    assert failed["valid_error"] <= 100, "what was learnt is kept"


def test_a_busy_machine_is_measured_again(tmp_path, monkeypatch):
    waits = iter([0.3, 0.2, 0.01, 0.5])

    def by_turns(folders, device):
        waited = next(waits)
        one = dict.fromkeys(evolution_networks.TIMES, 1.0) | {"waited": waited}
        return {name: dict(one) for name in folders}

    monkeypatch.setattr(evolution_networks, "by_turns", by_turns)
    made = {"folder": tmp_path}
    assert evolution_networks.measured(made, made, "CPU")["waited"] == 0.01
    assert next(waits) == 0.5, "no more often than needed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student": "resnet8x5"}, ["flex_student, resnet8x4", "did you mean resnet8x4?"]),
        ({"search": "nsga3"}, ["search must be one of nsga2, random, not 'nsga3'"]),
        ({"device": "TPU"}, ["'TPU'", "the devices here are", "CPU", "or macs to count"]),
        ({"device": "MYRIAD"}, ["2022.3", "CPU", "macs"]),
        ({"dataset": "cifar10"}, ["the teacher must be taught cifar10, not mnist5k"]),
        ({"images": 201}, ["images must be at most 200", "not 201"]),
        ({"images": None}, ["images must be at most 200", "not all"]),
        ({"population": 1}, ["population must be a whole number of at least 2, not 1"]),
        ({"noise": -1.0}, ["noise", "not -1.0"]),
        ({"budget_minutes": 0}, ["budget_minutes", "not 0"]),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(results, changes, words, monkeypatch):
    monkeypatch.setattr(runs, "teacher", None)
    with pytest.raises(UserError) as caught:
        nemokd(**SEARCH | changes, checkpoint=results / "work")
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    for word in words:
        assert word in said
    assert not list(results.glob("**/*.json"))


# The networks at the end

SIZES = {"channels": [8, 16], "neurons": [32]}


def longer(*names, **changes):
    """Parameters of `final`."""
    chosen = [{"name": name, "taught": name == "well taught", **SIZES} for name in names]
    shared = {name: SEARCH[name] for name in ("dataset", "teacher", "images", "temperature")}
    return {"chosen": chosen, "epochs": 2, "device": "CPU", **shared} | changes


@pytest.fixture(scope="module")
def ended(home, searched):
    return store.run(final, **longer("plain", "well taught"))


def test_the_chosen_are_measured_on_the_device_and_checked_on_every_image(ended):
    table = ended
    assert list(table.name) == ["plain", "well taught"] and (table.checked == 500).all()
    assert table.train_loss.nunique() == 2, "the teacher was listened to"
    assert (table.difference <= table.allowed).all()
    # one image may be a tie that rounding decides
    assert ((table.onnx_error - table.test_error).abs() <= 0.2001).all()
    assert (
        (table.device_error - table.test_error).abs() <= 0.2 * table.classes_differ + 1e-9
    ).all()
    times = ["fastest_ms", "lowest_ms", "low_ms", "latency_ms", "high_ms", "highest_ms"]
    assert (table[times].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert (table.again_ms > 0).all()
    inside = (table.lowest_ms <= table.again_ms) & (table.again_ms <= table.highest_ms)
    assert list(table.within) == list(inside)
    plain = runs.student(dataset="mnist5k", **SIZES, images=200, epochs=2).iloc[-1]
    assert table.test_error[0] == plain.test_error


def test_what_is_taken_away_classifies_as_the_table_says(ended, tmp_path):
    """As a reader does it: levels scaled by what `networks.json` says, no class of qbench."""
    evolution_files.take_away(ended, tmp_path)
    about = json.loads((tmp_path / "networks.json").read_text())
    test = data.load("mnist5k", size=32).test
    levels, labels = np.rint(test.images.double().numpy() * 255), test.labels.numpy()
    given = about["input"]
    mean, deviation = (np.reshape(given[name], (-1, 1, 1)) for name in ("mean", "deviation"))
    images = ((levels / 255 - mean) / deviation).astype("float32")
    assert np.array_equal(images, runs.load("mnist5k", 1).test.images.numpy())
    assert list(images.shape[1:]) == given["shape"][1:]
    for (_, row), said in zip(ended.iterrows(), about["networks"], strict=True):
        onnx, xml, _ = (tmp_path / name for name in said["files"])
        (logits,) = onnxruntime.InferenceSession(onnx).run(None, {given["name"]: images})
        assert 100 * np.mean(logits.argmax(1) != labels) == pytest.approx(row.onnx_error)
        answers = runtimes.load(xml, "CPU").logits(images).argmax(1)
        assert 100 * np.mean(answers != labels) == pytest.approx(row.device_error)
        assert list(said["test_error_percent"].values()) == [
            row.test_error,
            row.onnx_error,
            row.device_error,
        ]


def test_a_count_exports_nothing_and_has_no_spread(home, searched, tmp_path):
    table = final(**longer("plain", device="MACS"), checkpoint=tmp_path)
    count = table.macs[0] / 1e6
    columns = ["latency_ms", "lowest_ms", "highest_ms", "again_ms"]
    assert (table[columns] == count).all(axis=None) and table.within.all()
    with pytest.raises(evolution_files.FilesError, match="every device but macs"):
        evolution_files.take_away(table, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def measuring(monkeypatch, latencies, lowest, highest):
    """Instead of measuring: these medians in turn, the rounds between `lowest` and `highest`."""
    asked, medians = [], iter(latencies)

    def by_turns(folders, device, *, fresh=False, new_process=False):
        asked.append((fresh, new_process))
        one = dict.fromkeys(evolution_networks.TIMES, next(medians))
        return {name: one | {"lowest_ms": lowest, "highest_ms": highest} for name in folders}

    monkeypatch.setattr(evolution_networks, "by_turns", by_turns)
    return asked


@pytest.mark.parametrize(
    ("again", "within"), [(0.9, True), (1.1, True), (0.899, False), (1.101, False)]
)
def test_the_second_process_is_judged_by_the_compilations_of_the_first(
    home, searched, tmp_path_factory, monkeypatch, again, within
):
    asked = measuring(monkeypatch, [1.0, again], 0.9, 1.1)
    work = tmp_path_factory.getbasetemp() / "trained-once"
    table = final(**longer("plain"), checkpoint=work)
    assert asked == [(True, False), (True, True)]
    assert (table.latency_ms[0], table.again_ms[0], table.within[0]) == (1.0, again, within)


@pytest.mark.parametrize(("lowest", "within"), [(0.0, True), (1e9, False)])
def test_the_search_is_judged_by_separate_compilations(home, searched, monkeypatch, lowest, within):
    asked = measuring(monkeypatch, [1.0], lowest, 2e9)
    table = remeasured(search=SEARCH, device="CPU")
    assert asked == [(True, False)] and (table.within == within).all()
    assert (table.lowest_ms == lowest).all() and (table.highest_ms == 2e9).all()


def test_a_search_is_measured_on_the_device_and_once_more(home, searched):
    search = SEARCH | {"device": "cpu", "population": 2, "generations": 1}
    table = store.run(nemokd, **search)
    assert (table.latency_ms > 0).all() and (table.low_ms <= table.latency_ms).all()
    assert (table.baseline_ms > 0).all() and (table.difference <= table.allowed).all()
    assert table.valid_error[0] == searched.valid_error[0], "the device changes no error"
    folder = networks_of(search) / "conv-32-64-128-fc-128-64"
    (folder / evolution_networks.MADE).unlink()  # on another machine there is none of it
    again = store.run(remeasured, search=search)
    assert list(again.search_latency_ms) == list(table.latency_ms)
    assert (folder / "network.xml").exists() and again.within.dtype == bool
    assert (again.lowest_ms <= again.latency_ms).all() and again.highest_ms.gt(again.low_ms).all()
