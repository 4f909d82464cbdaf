"""Chapter 07's tables, its choice of students and its verdicts, on a search made of formulas."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import chapters, evolution, parameters, runtimes, store
from qbench.distillation import runs
from qbench.evolution import FLEX_STUDENT
from qbench.studies import distillation, evolution_claims, evolution_found, evolution_runs
from qbench.studies import evolution as study
from qbench.studies import evolution_tables as tables
from qbench.studies.evolution_networks import TIMES

BASELINE = FLEX_STUDENT.decode(FLEX_STUDENT.baseline)


def values(network):
    """An error and a latency by formula, with the columns of a real search."""
    error = 90 / (1 + len(network.channels) + sum(network.channels) / 128)
    latency = sum(network.channels) / 1000 + 0.02 * len(network.neurons)
    found = {"error": error, "valid_error": error, "test_error": error + 0.5, "reason": ""}
    found |= {"latency_ms": latency, "low_ms": 0.99 * latency, "high_ms": 1.01 * latency}
    found |= {"spread": 0.02, "fastest_ms": 0.9 * latency, "waited": 0.0, "baseline_ms": 0.264}
    return found | {"parameters": 1000.0, "macs": 1e6, "train_loss": 1.0}


@pytest.fixture(scope="module")
def archive():
    def evaluate(new, keep):
        for one in new:
            keep(one, values(one))

    return evolution.nsga2(
        FLEX_STUDENT,
        evaluate,
        population=8,
        generations=5,
        seed=0,
        noise=0,
        error_step=0,
        progress=False,
    )


@pytest.fixture(scope="module")
def again(archive):
    """Measured again: everything as before."""
    networks = {str(BASELINE): BASELINE}
    networks |= {str(one): one for one in evolution_runs.shown(archive, FLEX_STUDENT)}
    rows = []
    for name, network in networks.items():
        now = {column: values(network)[column] for column in TIMES}
        then = {f"search_{column}": value for column, value in now.items()}
        now |= {"lowest_ms": 0.98 * now["latency_ms"], "highest_ms": 1.03 * now["latency_ms"]}
        then["search_scaled_ms"] = now["latency_ms"]
        rows.append({"phenotype": name, **now, **then, "within": True})
    return pd.DataFrame(rows)


@pytest.fixture
def p():
    return parameters.check("07_evolution")


@pytest.fixture
def final():
    names = [study.PLAIN, study.TAUGHT, study.COMPROMISE, study.ACCURATE]
    table = pd.DataFrame({"name": names, "test_error": [45.0, 40.0, 33.0, 30.0]})
    table = table.assign(latency_ms=[0.5, 0.5, 0.4, 0.6], low_ms=0.39, high_ms=0.61)
    table = table.assign(parameters=1000, macs=2e6, onnx_error=1.0, device_error=1.0)
    table = table.assign(lowest_ms=0.38, highest_ms=0.62, again_ms=[0.5, 0.5, 0.4, 0.7])
    table = table.assign(
        within=[True, True, True, False], onnx=b"1" * 2000, xml=b"2", bin=b"3" * 999
    )
    return table.assign(difference=1e-4, allowed=1e-3, weights="float16", precision="float32")


@pytest.fixture
def found(p, archive, again):
    plain = pd.Series({"valid_error": 50.0, "test_error": 50.0})
    return evolution_found.Found(p, archive, again, plain)


def verdicts(found, final):
    table = evolution_claims.claims(found, final).set_index("claim")
    statements = evolution_claims.reference.claims("stewart2021").set_index("statement")["claim"]
    return {statements[statement]: row for statement, row in table.iterrows()}


# What is asked for


def test_the_teacher_is_the_one_of_chapter_06():
    chapter = chapters.find("07")
    published = parameters.check(chapter.name, **chapters.profiles(chapter)["published"])
    scale = distillation.Scale(None, 10)
    of_06 = distillation.teacher_of("mobilenet_v2/flex_student", "cifar10", scale)
    assert study.teacher_of(published) == of_06 == study.search_of(published)["teacher"]


def test_random_search_differs_in_nothing_but_the_drawing(p, archive):
    other = study.random_of(p, archive)
    search = study.search_of(p)
    differ = {name for name in other if other[name] != search[name]}
    assert differ == {"search", "evaluations"} and other["evaluations"] == archive.trained.sum()
    limited = parameters.check("07_evolution", budget=5)
    assert study.random_of(limited, archive)["budget_minutes"] is None, "the count is the budget"


def test_the_plain_baseline_is_trained_as_the_search_trains(p):
    search = study.search_of(p)
    alone = store.spec(runs.student, **study.plain_of(p))["parameters"]
    same = ("dataset", "images", "epochs", "batch_size", "learning_rate", "seed")
    assert {name: alone[name] for name in same} == {name: search[name] for name in same}
    assert alone["teacher"] is None and alone["channels"] is None


def test_the_baseline_is_trained_for_longer_beside_the_chosen(p, archive, again):
    chosen = study.choose(study.front(archive, again))
    spec = study.final_of(p, chosen)
    assert [one["name"] for one in spec["chosen"]] == [study.PLAIN, study.TAUGHT, *chosen]
    assert [one["taught"] for one in spec["chosen"]] == [False, True, True, True]
    assert spec["chosen"][0]["channels"] == list(BASELINE.channels)
    store.key(store.spec(evolution_runs.final, **spec))  # is JSON


def test_an_unknown_device_is_refused_with_those_there_are():
    with pytest.raises(parameters.ParameterError) as caught:
        parameters.check("07_evolution", device="TPU", images=501)
    images, device = str(caught.value).split("\n")
    here = ", ".join(runtimes.devices())
    assert device.startswith("device must be ") and device.endswith(
        f", not 'TPU': unknown device 'TPU': the devices here are {here}, or macs to count."
    )
    assert images.startswith("images must be") and "the teacher's images" in images
    assert parameters.check("07_evolution", device="cpu").device == "CPU"
    assert parameters.check("07_evolution", device="MACS").device == "macs"


# Tables


def test_populations_are_the_survivors_with_the_new_latencies(archive, again):
    later = again.assign(latency_ms=2 * again.latency_ms)
    table = study.populations(archive, later)
    assert list(dict.fromkeys(table.generation)) == ["generation 1", "generation 3", "generation 5"]
    last = table[table.generation == "generation 5"]
    survivors = evolution.survivors(archive, 5)
    assert set(last.phenotype) == set(survivors.phenotype) and last.phenotype.is_unique
    before = archive.drop_duplicates("phenotype").set_index("phenotype").latency_ms
    assert np.allclose(table.latency_ms, 2 * before[table.phenotype])


def test_nothing_on_the_front_beats_another(archive, again):
    front = study.front(archive, again)
    points = front[["latency_ms", "error"]].to_numpy()
    assert not any(evolution.dominates(a, b) for a in points for b in points)
    assert front.latency_ms.is_monotonic_increasing and front.error.is_monotonic_decreasing
    slow = again.assign(latency_ms=np.where(again.phenotype == front.phenotype[0], 9.0, 0.3))
    assert front.phenotype[0] not in set(study.front(archive, slow).phenotype), "measured anew"


def test_the_compromise_is_nearest_to_the_corner():
    front = pd.DataFrame({"latency_ms": [1.0, 1.2, 3.0], "error": [50.0, 32.0, 30.0]})
    chosen = study.choose(front)
    assert chosen[study.COMPROMISE].latency_ms == 1.2 and chosen[study.ACCURATE].latency_ms == 3.0
    pair = study.choose(front.iloc[[0, 2]].reset_index(drop=True))
    assert pair[study.COMPROMISE].error == 30.0, "of two as near, the more accurate"
    alone = study.choose(front.iloc[:1])
    assert alone[study.COMPROMISE].error == alone[study.ACCURATE].error == 50.0


@given(st.lists(st.floats(0.5, 2), min_size=3, max_size=3))
def test_what_slows_network_and_baseline_alike_changes_nothing(slower):
    table = pd.DataFrame({"latency_ms": [1.0, 2.0, 4.0], "baseline_ms": [2.0, 2.0, 2.0]})
    table = table.assign(low_ms=table.latency_ms, high_ms=table.latency_ms)
    drifted = table.mul(pd.Series(slower), axis=0)
    steady = study.steady(drifted)
    assert np.allclose(steady.latency_ms / steady.latency_ms[0], [1, 2, 4])
    assert np.allclose(steady.low_ms, steady.latency_ms)


def test_hypervolumes_of_two_searches_compare(archive):
    worse = archive.assign(error=archive.error + 5)
    area = study.attained({"NSGA-II": archive, "random": worse})
    ours, other = (
        area[area.search == name].hypervolume.to_numpy() for name in ("NSGA-II", "random")
    )
    assert len(ours) == len(other) == archive.trained.sum() and (ours > other).all()
    assert (np.diff(ours) >= 0).all() and (np.diff(other) >= 0).all()
    drifted = archive.assign(latency_ms=3 * archive.latency_ms, baseline_ms=3 * archive.baseline_ms)
    assert np.allclose(
        study.attained({"a": archive}).hypervolume, study.attained({"a": drifted}).hypervolume
    )


def test_layers_are_drawn_in_their_order(p, archive, again):
    drawn = study.blocks(p, study.choose(study.front(archive, again)))
    order = list(dict.fromkeys(drawn.layer))
    assert order == sorted(order) and order[0] == "convolution 1"
    baseline = drawn[drawn.network == "baseline"]
    assert list(baseline.width) == [*BASELINE.channels, *BASELINE.neurons]
    residual = parameters.check("07_evolution", student="resnet8x4")
    row = pd.Series(dict(zip(evolution.RESNET8X4.names, (16, 32, 64, 128), strict=True)))
    drawn = study.blocks(residual, {"best": row})
    assert list(dict.fromkeys(drawn.layer)) == ["stem", "stage 1", "stage 2", "stage 3"]
    assert list(drawn[drawn.network == "best"].width) == [16, 32, 64, 128]


def test_a_count_has_no_interval_and_no_runtimes(final):
    counted = final.drop(columns=["onnx", "xml", "bin"])
    assert list(tables.final_errors(counted, "macs")) == ["network", "parameters", "PyTorch (%)"]
    assert list(tables.final_latencies(counted, "macs")) == ["network", "MACs (millions)"]
    assert tables.said(final.iloc[0].replace(0.5, 12.345), "macs") == "12.3"


def test_the_longer_trainings_in_two_tables_without_the_files_themselves(final):
    errors, times = tables.final_errors(final, "CPU"), tables.final_latencies(final, "CPU")
    assert "OpenVINO on CPU (%)" in errors and list(errors["PyTorch (%)"]) == list(final.test_error)
    assert times["latency on CPU (ms)"][0] == "0.5000 [0.3800–0.6200]", "all rounds"
    assert list(times["within"]) == ["yes"] * 3 + ["no"] and times["in a new process"][3] == 0.7
    assert times["ONNX (MB)"][0] == 0.002 and times["OpenVINO (MB)"][0] == 0.001
    for shown in (errors, times):
        assert not shown.map(lambda value: isinstance(value, bytes)).any(axis=None)


def test_what_was_measured_twice_stands_side_by_side(again):
    slower = again.assign(search_scaled_ms=1.1 * again.latency_ms, within=again.index > 0)
    table = tables.twice(slower, "CPU")
    assert np.allclose(table.quotient, 1.1) and list(table.within).count("no") == 1
    first = again.loc[again.latency_ms.idxmin()]
    assert table["side by side"].iloc[0] == tables.said(first, "CPU")
    assert tables.said(first, "CPU").endswith(f" [{first.lowest_ms:.3f}–{first.highest_ms:.3f}]")
    unknown = slower.assign(search_latency_ms=slower.search_latency_ms.where(slower.index > 0))
    assert len(tables.twice(unknown, "CPU")) == len(again) - 1, "not measured in the search"
    assert tables.axis("CPU") == "Latency on CPU (ms)"


def test_the_example_needs_no_training():
    table = study.example()
    assert list(table.generation) == [1, 2, 3, 4, 5] and table.hypervolume.is_monotonic_increasing


# Claims


def test_the_gain_is_relative_to_the_plain_baseline(found, final):
    rows = verdicts(found, final)
    assert rows["evolution_accuracy_gain"].ours == f"{100 * (70 / 55 - 1):.1f} %"
    assert "55.0 → 70.0 %" in rows["evolution_accuracy_gain"].why
    assert "more than 82 %" in rows["evolution_accuracy_gain"].why
    assert rows["evolution_latency_cost"].ours in ("20 %", "20.0 %")
    exact = final.assign(latency_ms=[0.5, 0.5, 0.4, 0.69])
    assert verdicts(found, exact)["evolution_latency_cost"].verdict == "exact"


def test_many_students_have_to_be_better_and_no_slower(found, final):
    plain, taught = "students_dominate_baseline", "students_dominate_distilled_baseline"
    name = str(BASELINE)
    slow = found.again.assign(
        high_ms=np.where(found.again.phenotype == name, 1e3, found.again.high_ms)
    )
    every = replace(found, again=slow)
    count, better, sure = evolution_found.dominating(every, 100.0)
    assert count == better == sure == len(every.last)
    assert verdicts(every, final)[plain].verdict == "trend"
    quick = found.again.assign(
        high_ms=np.where(found.again.phenotype == name, 1e-6, found.again.high_ms)
    )
    none = replace(found, again=quick)
    assert evolution_found.dominating(none, 100.0)[1:] == (0, 0)
    rows = verdicts(none, final)
    assert rows[plain].verdict == rows[taught].verdict == "differs"
    assert rows["most_accurate_students_slower"].verdict == "trend"
    assert rows["most_accurate_students_slower"].why == ""


def test_a_difference_within_chance_is_not_a_gain(found, final):
    name, modest = "evolution_beats_distillation_search", "accuracy_at_modest_latency"
    assert verdicts(found, final)[name].verdict == "trend"
    close = final.assign(test_error=[45.0, 32.0, 33.0, 30.0])
    assert verdicts(found, close)[name].verdict == "differs", "500 images cannot tell"
    assert verdicts(found, final)[modest].verdict == "trend"
    poor = replace(found, plain=found.plain.replace(50.0, found.last.test_error.min() + 0.1))
    assert verdicts(poor, final)[modest].verdict == "differs"


def test_the_architecture_is_compared_number_by_number(found, final):
    rows = verdicts(found, final)
    chosen = study.choose(study.front(found.archive, found.again))[study.COMPROMISE]
    ours = rows["best_student_convolutional_layers"]
    assert ours.ours == str(int(chosen.convolutions))
    assert ours.verdict == ("exact" if chosen.convolutions == 5 else "differs")
    assert rows["best_student_fully_connected_layers"].ours == str(int(chosen.hidden))


def test_what_only_a_myriad_could_tell_is_said(found, final):
    row = verdicts(found, final)["lowest_latency_mobilenetv2_flexstudent"]
    assert row.verdict == "needs hardware" and "2022.3" in row.why and "ms on CPU" in row.ours
    assert verdicts(found, final)["vpu_deployment_bits"].verdict == "exact"
    counted = replace(found, p=parameters.check("07_evolution", device="macs"))
    assert verdicts(counted, final)["vpu_deployment_bits"].verdict == "needs hardware"


@pytest.mark.parametrize(
    ("teacher", "student", "claimed"),
    [
        ("resnet32x4", "flex_student", "students_keep_layer_structure"),
        ("resnet32x4", "resnet8x4", "evolution_beats_distillation_resnet8x4"),
        ("resnet8x4", "flex_student", "accuracy_at_modest_latency"),
    ],
)
def test_a_pair_has_the_claims_made_of_it(found, final, teacher, student, claimed):
    chosen = parameters.check("07_evolution", teacher=teacher, student=student)
    if student == "resnet8x4":  # the archive here is of the other student
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(evolution_claims.SPACES, "resnet8x4", FLEX_STUDENT)
            rows = verdicts(replace(found, p=chosen), final)
    else:
        rows = verdicts(replace(found, p=chosen), final)
    assert claimed in rows and "students_dominate_baseline" not in rows


def test_chapter_06_names_its_best_combination(monkeypatch):
    chapter = chapters.find("07")
    p = parameters.check(chapter.name, **chapters.profiles(chapter)["published"])

    class Entry:
        def __init__(self, spec):
            self.given = spec["parameters"]

        def table(self):
            away = abs(self.given["alpha"] - 0.3) + abs(self.given["temperature"] - 4)
            return pd.DataFrame({"valid_error": [99.0, 30 + away + self.given["seed"]]})

    monkeypatch.setattr(store, "find", Entry)
    assert evolution_claims.best_of_distillation(p) == (0.3, 4.0, 25)
    monkeypatch.setattr(store, "find", lambda spec: None)
    assert evolution_claims.best_of_distillation(p) is None
    assert evolution_claims.best_of_distillation(parameters.check("07_evolution")) is None


def test_the_figure_shows_the_intervals_that_are_measured_anew(found):
    shown = evolution_found.beside_baselines(found)
    assert np.allclose(shown.lowest_ms, 0.98 * shown.latency_ms)
    assert np.allclose(shown.highest_ms, 1.03 * shown.latency_ms)
    assert list(shown.generation[-2:]) == [study.TAUGHT, study.PLAIN]


def test_test_errors_choose_nothing(found, final):
    """Networks that tests make look good are not taken for the best: validation decides."""
    chosen = study.choose(study.front(found.archive, found.again))[study.ACCURATE]
    lucky = found.archive.assign(test_error=100 - found.archive.test_error)
    luck = replace(found, archive=lucky)
    for one in (found, luck):
        text = evolution_claims.lessons(one, None)
        assert f"most accurate on the validation images is {chosen.phenotype}, with" in text
    name = "most_accurate_students_slower"
    assert verdicts(luck, final)[name].ours == verdicts(found, final)[name].ours


def test_lessons_are_sentences_with_our_numbers(found, archive):
    assert "random search" not in evolution_claims.lessons(found, None)
    text = evolution_claims.lessons(found, archive)
    assert "random search" in text
    assert text.count("\n") == 5 and all(line.startswith("* ") for line in text.split("\n"))
    assert "+0.0 %" in text, "a search beside itself"
    count = len(found.again)
    assert f"{count} of {count} latencies of the search, scaled" in text
    assert "which are 5.0 % apart" in text and f"like these, {0.8 * count:.0f} would" in text
    assert "nan" not in text
    assert f", {found.baseline.latency_ms:.3g} ms on CPU. The baseline" in text
