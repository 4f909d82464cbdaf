"""What is stored of the phases: chains, stacks, weights that are missing, ONNX files, refusals."""

import pytest
import torch
from distillation_toy import same
from store_toy import empty_stores

from qbench import data, store, threads
from qbench.qkd import StudyError, runs
from qbench.qkd.export import exported

FLOAT = {"dataset": "mnist5k", "network": "dnn30", "images": 60, "epochs": 1, "drops": []}
TUTOR = FLOAT | {"network": "dnn300"}
BITS = {"weight_bits": 4, "act_bits": 4}


def ss(seed=0, **more):
    return FLOAT | {"seed": seed, "start": FLOAT | {"seed": seed}} | BITS | more


def cs(seed=0, **more):
    return ss(seed, phase="cs", start=ss(seed), teacher=TUTOR | {"seed": seed}) | more


def ts(seed=0, **more):
    return ss(seed, phase="ts", start=cs(seed), teacher=cs(seed)) | more


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    with threads.at_most(1):
        yield


def test_qkd_is_a_chain_of_phases_trained_once():
    [whole] = runs.studies([ts()])
    assert whole.epoch.tolist() == [1]
    stored = {
        entry.spec["parameters"]["phase"] for entry in store.entries(store.paths.local_results())
    }
    assert stored == {"ss", "cs", "ts"}
    count = sum(1 for _ in store.entries(store.paths.local_results()))
    assert count == 5  # student and teacher in float32, SS, CS, TS
    same(runs.studies([ts()])[0], whole)


def test_seeds_are_trained_as_one_stack_and_stored_one_by_one():
    first = runs.studies([ss(0), ss(1), ss(2)])
    found = [entry for entry in store.entries(store.paths.local_results())]
    assert len(found) == 6
    assert {entry.record["together"] for entry in found} == {3}
    assert not first[0].equals(first[1])


def test_the_teacher_of_tutoring_is_the_one_that_co_studied():
    runs.studies([ts()])
    learnt = runs.weights_of(cs())["teacher"]["weights.0"]
    before = runs.weights_of(TUTOR)["student"]["weights.0"]
    assert not torch.equal(learnt, before)
    told = runs._teachers([runs.complete(ts())], runs._phase(runs.complete(ts()))).network
    assert torch.equal(told.weights[0], learnt)


def test_missing_weights_are_trained_again():
    runs.studies([ss()])
    before = runs.weights_of(ss())["student"]
    for file in (store.paths.local_results() / "networks").glob("*.pt"):
        file.unlink()
    after = runs.weights_of(ss())["student"]
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("quantiser", ["minmax", "learnt"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_eight_bits_in_onnx_runtime_are_wrong_as_often(quantiser, per_channel):
    bits = {"weight_bits": 8, "act_bits": 8, "quantiser": quantiser, "per_channel": per_channel}
    spec = TUTOR | {"images": None, "start": TUTOR | {"images": None}} | bits
    [row] = store.run(exported, study=spec).to_dict("records")
    assert row["test_error"] == runs.studies([spec])[0].test_error.iloc[-1]
    assert row["images"] == 500
    assert abs(row["onnx_error"] - row["test_error"]) <= 0.1
    assert row["classes_differ"] == 0
    assert row["parameters"] == 328_810
    assert row["integers"] >= 328_200  # all weights; biases may stay float32
    assert row["bytes"] < 1.05 * row["parameters"]


@pytest.mark.parametrize("quantiser", ["minmax", "learnt"])
@pytest.mark.filterwarnings("ignore:.*no longer finite")
def test_what_starts_from_a_diverged_training_has_no_errors_and_no_file(quantiser):
    float32 = FLOAT | {"learning_rate": 1e30, "batch_size": 20}
    rounded = FLOAT | {"start": float32, "weight_bits": 8, "act_bits": 8, "quantiser": quantiser}
    after = rounded | {"phase": "ptq", "epochs": 0}
    for table in runs.studies([float32, after, rounded]):
        assert table.test_error.isna().all()
    with pytest.raises(StudyError, match="dnn30 has no ONNX file: its training diverged."):
        exported(study=after)


def test_a_smaller_teacher_is_allowed_and_named():
    with pytest.warns(UserWarning, match="dnn30 has 24,790 parameters, its student dnn300 328,810"):
        runs.studies([TUTOR | {"phase": "ts", "teacher": FLOAT}])


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (ss(weight_bits=0), "weight_bits must be a whole number from 1 to 8, or 32 for float32, "
         "not 0."),
        (ss(calibrated=0), "calibrated must be a whole number of at least 1: quantisers find their "
         "ranges in these images; it is 0."),
        (ss(phase="ts"), "the phase 'ts' needs a teacher."),
        (ss(teacher=TUTOR), "the phase 'ss' has no teacher."),
        (ts(alpha=2), "alpha must be a number from 0 to 1, not 2."),
        (ts(temperature=0), "temperature must be a number above 0, not 0."),
        (ss(seed=-1), "seed must be a whole number from 0 to 2**31 - 1, not -1."),
        (ss(augment=True), "augment must be False for perceptrons: their images are flat."),
        (ss(start=TUTOR), "dnn30 cannot start from the weights of dnn300."),
        (ss(start=ss(weight_bits=2)),
         "a network that is quantised keeps its bits in later phases."),
        (ss(start=FLOAT | {"dataset": "mnist"}), "the start was trained on mnist, not on mnist5k."),
        (FLOAT | {"phase": "ptq", "epochs": 0},
         "post-training quantisation needs weight_bits or act_bits below 32."),
        (FLOAT | {"epochs": 0}, "epochs must be a whole number of at least 1, not 0."),
    ],
)  # fmt: skip
def test_refused_before_any_work(spec, sentence, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *a, **b: pytest.fail("data were loaded"))
    with pytest.raises(StudyError) as refused:
        runs.studies([spec])
    assert str(refused.value) == sentence


def test_an_unknown_parameter_and_an_unknown_network_are_named():
    with pytest.raises(StudyError, match="a phase has the parameters of `study`: .*epoch"):
        runs.studies([FLOAT | {"epoch": 3}])
    with pytest.raises(ValueError, match="network must be one of .*dnn30.*, not 'dnn31'"):
        runs.studies([FLOAT | {"network": "dnn31"}])


def test_a_network_of_other_bits_has_no_onnx_file():
    with pytest.raises(StudyError, match="needs 8-bit weights and activations, not W4A4"):
        store.run(exported, study=ss())
