"""The stored trainings of distillation: teachers kept and found again, students, refusals."""

import distillation_toy
import pandas as pd
import pytest
import torch
from distillation_toy import Stop, same, same_network, stop_after, toy
from store_toy import files

from qbench import data, store, threads
from qbench.distillation import Cached, DistillationError, Offline, fitting, runs
from qbench.models.convolutional import ModelError

loaded = pytest.fixture(distillation_toy.home, autouse=True, name="loaded")

TEACHER = {"dataset": "toy", "network": "flex_student", "epochs": 1, "batch_size": 20}
STUDENT = {"dataset": "toy", "channels": [2, 3], "neurons": [4], "epochs": 2, "batch_size": 16}
TAUGHT = {**STUDENT, "teacher": TEACHER, "alpha": 0.3, "temperature": 4.0}


@pytest.fixture
def fits(monkeypatch):
    """The title and the number of threads of every training."""
    real, done = runs.fit, []

    def fit(*arguments, **named):
        done.append((named["title"], torch.get_num_threads()))
        return real(*arguments, **named)

    monkeypatch.setattr(runs, "fit", fit)
    return done


def weights(home) -> list:
    return sorted((home / "local" / "networks").glob("*.pt"))


# Teachers


def test_a_teachers_weights_are_kept_and_used_again(tmp_path, fits):
    table = store.run(runs.teacher, **TEACHER)
    assert table.test_error.notna().tolist() == [True] and len(weights(tmp_path)) == 1
    first, again = runs.network_of(TEACHER), runs.network_of(TEACHER)
    same_network(first, again)
    assert len(fits) == 1 and not first.training
    pictures = toy()
    error = fitting.error_rate(first, pictures.test)
    assert error == table.test_error.iloc[-1], "these are the weights that were stored"


def test_a_teacher_whose_weights_are_gone_is_trained_again_to_the_same(tmp_path, fits):
    table = store.run(runs.teacher, **TEACHER)
    first = runs.network_of(TEACHER)
    for damage in (lambda file: file.unlink(), lambda file: file.write_bytes(b"no network")):
        damage(weights(tmp_path)[0])
        same_network(runs.network_of(TEACHER), first)
    assert len(fits) == 3
    (kept,) = (name for name in files(tmp_path / "local" / "networks"))
    assert kept.endswith(".pt"), "nothing is left of the training itself"
    same(store.run(runs.teacher, **TEACHER), table)


def test_a_teacher_never_trained_is_trained_when_it_is_needed(fits):
    known = runs.teacher_for(TEACHER, toy(), augment=False)
    assert isinstance(known, Cached) and len(fits) == 1


def test_an_interrupted_teacher_goes_on(monkeypatch, fits):
    spec = {**TEACHER, "epochs": 2}
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            runs.network_of(spec)
    epochs, real = [], fitting.train_epoch
    monkeypatch.setattr(fitting, "train_epoch", lambda *a: epochs.append(a[6]) or real(*a))
    found = runs.network_of(spec)
    assert epochs == [2]
    _forget(spec)
    same_network(runs.network_of(spec), found)
    assert epochs == [2, 1, 2]


def _forget(spec) -> None:
    runs._weights(spec).unlink()


def test_teachers_are_told_apart_and_defaults_have_one_name():
    names = {
        runs._weights(spec)
        for spec in (TEACHER, {**TEACHER, "images": None, "augment": True, "seed": 0})
    }
    assert len(names) == 1
    assert runs._weights({**TEACHER, "seed": 1}) not in names


def test_logits_are_stored_once_for_all_students(monkeypatch):
    real, asked = runs.logits, []
    monkeypatch.setattr(runs, "logits", lambda *a: asked.append(a[2]) or real(*a))
    for seed in (0, 1):
        store.run(runs.student, **TAUGHT, seed=seed)
    runs.student(**{**TAUGHT, "teacher": {**TEACHER, "seed": 0}})
    assert asked == ["flex_student's logits"]
    table = store.run(runs.teacher_logits, teacher=runs._complete(TEACHER))
    assert list(table.columns) == ["class_0", "class_1", "class_2"] and len(table) == 40
    with torch.no_grad():
        expected = runs.network_of(TEACHER)(toy().train.images)
    torch.testing.assert_close(torch.tensor(table.to_numpy()), expected)


def test_augmented_images_are_shown_to_the_teacher_itself():
    known = runs.teacher_for(TEACHER, toy(), augment=True)
    assert isinstance(known, Offline) and not known.network.training
    same_network(known.network, runs.network_of(TEACHER))
    losses = [runs.student(**TAUGHT, augment=augment).train_loss for augment in (False, True)]
    assert not losses[0].equals(losses[1])


# Students


def test_a_student_is_stored_and_the_same_on_any_number_of_threads(fits):
    alone = store.run(runs.student, **STUDENT)
    assert alone.epoch.tolist() == [1, 2] and alone.test_error.notna().tolist() == [False, True]
    torch.set_num_threads(2)
    with threads.at_most(2):
        same(runs.student(**STUDENT), alone)
        model, table = runs.train_student(
            **{"images": None, "teacher": None, "form": "stewart", "beta": None, "seed": 0},
            **{"network": "flex_student", "alpha": 1.0, "temperature": 1.0, **STUDENT},
            progress=False,
        )
        same(table, alone)
        assert torch.get_num_threads() == 2
    assert fitting.error_rate(model, toy().test) == alone.test_error.iloc[-1]
    assert [count for _, count in fits] == [1, 1, 1]


def test_a_teacher_missing_for_a_student_is_trained_with_every_thread(monkeypatch):
    done = []

    def fit(*arguments, title, **named):
        done.append((title, torch.get_num_threads()))
        return pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(runs, "fit", fit)
    torch.set_num_threads(2)
    with threads.at_most(2):
        runs.student(**TAUGHT)
    assert done == [("flex_student on toy", 2), ("flex_student α 0.3, T 4, seed 0", 1)]


@pytest.mark.parametrize("augment", [False, True])
def test_an_interrupted_student_goes_on_to_the_same(monkeypatch, tmp_path, augment):
    asked = {**TAUGHT, "augment": augment}
    whole = runs.student(**asked)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stop):
            store.run(runs.student, **asked)
    left = tmp_path / "local" / "unfinished" / store.key(store.spec(runs.student, **asked))
    assert [file.name for file in left.iterdir()] == ["state.pt"]
    same(store.run(runs.student, **asked), whole)
    assert not left.exists()


def test_every_setting_of_a_student_has_a_say():
    changes = (
        *({}, {"seed": 1}, {"alpha": 0.4}, {"temperature": 3.0}, {"beta": 2.0}, {"images": 30}),
        *({"form": "vailakis"}, {"form": "vailakis_kl"}, {"learning_rate": 0.1}),
        *({"weight_decay": 0.1}, {"teacher": {**TEACHER, "seed": 1}}, {"network": "resnet8x4"}),
    )
    losses = set()
    for change in changes:
        asked = {**TAUGHT, **change}
        if "network" in change:
            asked |= {"channels": [16, 16, 16, 16], "neurons": None}
        losses.add(tuple(runs.student(**asked).train_loss))
    assert len(losses) == len(changes)


def test_images_are_loaded_as_the_networks_need_them(loaded):
    runs.student(**STUDENT)
    assert loaded == [("toy", {"size": 32, "normalise": "standard"})]


# What is refused


@pytest.fixture
def idle(monkeypatch):
    """Nothing may be trained."""
    monkeypatch.setattr(fitting, "train_epoch", None)


def refused(ask, error=DistillationError) -> str:
    with pytest.raises(error) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


@pytest.mark.parametrize("augment", [False, True])
def test_a_teacher_of_another_data_set(idle, augment):
    other = {**TAUGHT, "dataset": "other", "augment": augment}
    said = refused(lambda: runs.student(**other))
    assert said == "the teacher was taught toy, not other: their classes differ."


def test_a_teacher_of_too_few_images_is_refused_before_it_is_trained(idle):
    few = {**TAUGHT, "teacher": {**TEACHER, "images": 30}}
    said = refused(lambda: runs.student(**few))
    assert "known for the 30 images" in said and "there are 40 training images" in said


def test_a_teacher_of_too_few_images_may_look_at_augmented_ones():
    few = {**TAUGHT, "teacher": {**TEACHER, "images": 30}}
    assert len(runs.student(**few, augment=True)) == 2
    assert len(runs.student(**few, images=25)) == 2


@pytest.mark.parametrize("wrong", [{"temprature": 4}, {"alpha": 0.5}, {"checkpoint_": None}])
def test_a_teacher_with_unknown_parameters(idle, wrong):
    said = refused(lambda: runs.student(**{**TAUGHT, "teacher": {**TEACHER, **wrong}}))
    assert next(iter(wrong)) in said


def test_a_teacher_without_a_network(idle):
    said = refused(lambda: runs.student(**{**TAUGHT, "teacher": {"dataset": "toy"}}))
    assert "'network'" in said


@pytest.mark.parametrize(
    "left", [{"temperature": 4.0}, {"alpha": 0.5}, {"beta": 1.0}, {"form": "vailakis"}]
)
def test_settings_of_a_distillation_without_a_teacher(monkeypatch, left):
    monkeypatch.setattr(data, "load", None)
    said = refused(lambda: runs.student(**STUDENT, **left))
    assert said == (
        "without a teacher alpha and temperature must be 1, beta None and form 'stewart'."
    )


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"epochs": 0}, DistillationError),
        ({"batch_size": 1}, DistillationError),
        ({"learning_rate": 0.0}, DistillationError),
        ({"alpha": 1.5}, DistillationError),
        ({"temperature": 0.0}, DistillationError),
        ({"network": "resnet"}, ModelError),
        ({"channels": [8] * 6}, ModelError),
        ({"neurons": [0]}, ModelError),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(monkeypatch, wrong, error):
    monkeypatch.setattr(data, "load", None)
    refused(lambda: runs.student(**{**TAUGHT, **wrong}), error)
    if wrong.keys() <= TEACHER.keys() | {"learning_rate"}:
        refused(lambda: runs.teacher(**{**TEACHER, **wrong}), error)


def test_a_single_image(idle):
    said = refused(lambda: runs.student(**STUDENT, images=1))
    assert said == "batch norm needs at least 2 images to train with, and there is 1."
