"""The training loop of distillation: the recipe, the teachers, interruptions, augmentation."""

import math

import distillation_toy
import numpy as np
import pytest
import torch
from distillation_toy import KINDS, Stop, network, same, same_network, small, stop_after, toy, train
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from qbench import checkpoints, data, threads, training
from qbench.distillation import (
    Cached,
    Distillation,
    DistillationError,
    Offline,
    Online,
    Recipe,
    fit,
    fitting,
)

NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def one_thread():
    with threads.at_most(1):
        yield


def seen_by(model: nn.Module) -> list[torch.Tensor]:
    """Every batch that the network trains on or answers for, in whatever mode, from now on."""
    seen = []
    model.register_forward_pre_hook(lambda m, x: seen.append(x[0].clone()))
    return seen


def trained_on(model: nn.Module) -> list[torch.Tensor]:
    """Every batch that it sees in training mode."""
    seen = []
    model.register_forward_pre_hook(lambda m, x: seen.append(x[0].clone()) if m.training else None)
    return seen


# The recipe


def test_one_row_an_epoch_evaluated_only_where_asked():
    table = train(epochs=5, evaluate_at={2})[1]
    assert list(table.columns) == ["epoch", "train_loss", "valid_error", "test_error"]
    assert table.epoch.tolist() == [1, 2, 3, 4, 5]
    for name in ("valid_error", "test_error"):
        assert table.index[table[name].notna()].tolist() == [1, 4]


def test_evaluating_more_often_changes_no_number():
    often, seldom = train(evaluate_at={1, 2, 3})[1], train()[1]
    same(often[["epoch", "train_loss"]], seldom[["epoch", "train_loss"]])
    same(often.iloc[[-1]], seldom.iloc[[-1]])


def test_the_errors_are_those_of_the_network_that_is_left():
    model, table, _ = train()
    assert not model.training
    for name, split in (("valid", small().valid), ("test", small().test)):
        assert table[f"{name}_error"].iloc[-1] == training.error_rate(model, split)


def test_training_learns():
    assert train(epochs=15, learning_rate=0.2)[1].train_loss.pipe(
        lambda loss: loss.iloc[-1] < 0.8 * loss.iloc[0]
    )


@pytest.mark.parametrize("steps", range(1, 13))
def test_the_rate_rises_for_a_fifth_of_the_steps_and_falls_to_nearly_zero(steps):
    rates = []
    handle = register_optimizer_step_pre_hook(
        lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"])
    )
    try:
        train(epochs=1, images=small(2 * steps), batch_size=2, learning_rate=0.5)
    finally:
        handle.remove()
    assert len(rates) == steps and 0 < max(rates) <= 0.5
    peak = int(np.argmax(rates))
    assert rates == sorted(rates[:peak]) + sorted(rates[peak:], reverse=True)
    if steps >= 6:
        assert rates[0] == pytest.approx(0.5 / 25) and abs(peak - (0.2 * steps - 1)) < 1
        assert rates[-1] < 1e-4
        falling = np.diff(rates[peak + 1 :])
        assert falling == pytest.approx([falling[0]] * len(falling)), "linear"
    else:
        assert peak == 0, "it only falls"


@pytest.mark.parametrize(("count", "batch_size", "last"), [(6, 6, 6), (7, 3, 6), (8, 3, 8)])
def test_the_loss_is_the_mean_over_the_images_seen(count, batch_size, last):
    """A last batch of one image is skipped."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    images = small(count)
    order = torch.from_numpy(data.epoch_order(count, 4, 1))[:last]
    with torch.no_grad():
        logits = model(images.train.images[order])
    expected = F.cross_entropy(logits, images.train.labels[order]).item()
    table = train(
        epochs=1, model=model, images=images, batch_size=batch_size, learning_rate=1e-9, seed=4
    )[1]
    assert table.train_loss[0] == pytest.approx(expected, rel=1e-5)


def test_the_first_steps_are_sgd_with_nesterov_momentum_and_decay():
    """Two steps by hand, of all images at once, in float64."""
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(108, 3)), small(6)
    weights, bias = (p.detach().double().numpy() for p in model.parameters())
    pixels = images.train.images.flatten(1).double().numpy()
    truth = np.eye(3)[images.train.labels.numpy()]
    values, momentum = np.hstack([weights, bias[:, None]]), 0
    inputs = np.hstack([pixels, np.ones((6, 1))])
    for rate in (0.1 * 2 / 3.2 * 2, 0.0):  # of two steps the second has nearly none
        powers = np.exp(inputs @ values.T)
        gradient = (powers / powers.sum(1, keepdims=True) - truth).T @ inputs / 6 + 0.03 * values
        momentum = 0.9 * momentum + gradient
        values = values - rate / 2 * (gradient + 0.9 * momentum)
    train(epochs=2, model=model, images=images, batch_size=6, learning_rate=0.1, weight_decay=0.03)
    found = torch.hstack([model[1].weight, model[1].bias[:, None]]).detach().numpy()
    np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5)


def test_a_network_is_trained_with_its_channels_last():
    model = train(epochs=1)[0]
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)


# The same numbers


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_determines_a_training(kind):
    first, table, _ = train(kind, epochs=2)
    torch.manual_seed(99)  # what the caller did before has no say
    before = torch.get_rng_state()
    again, same_table, _ = train(kind, epochs=2)
    same(same_table, table)
    same_network(again, first)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers stay"
    assert not train(kind, epochs=2, seed=1)[1].train_loss.equals(table.train_loss)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epochs", [1, 2])
def test_an_interrupted_training_goes_on_to_the_same_numbers(tmp_path, monkeypatch, kind, epochs):
    whole, table, taught = train(kind)
    state = tmp_path / "state.pt"
    with monkeypatch.context() as patch:
        stop_after(patch, epochs)
        with pytest.raises(Stop):
            train(kind, checkpoint=state)
    assert len(checkpoints.load(state)["log"]) == epochs
    model, again, also = train(kind, checkpoint=state, model=network(seed=5))  # other weights
    same(again, table)
    same_network(model, whole)
    if kind.startswith("online"):
        same_network(also.network, taught.network)
    finished = train(kind, checkpoint=state, model=network(seed=5))
    same(finished[1], table)
    same_network(finished[0], whole)
    assert not finished[0].training
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_interrupted_in_the_first_epoch_it_begins_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 0)
        with pytest.raises(Stop):
            train(checkpoint=tmp_path / "state.pt")
    assert not list(tmp_path.iterdir())
    same(train(checkpoint=tmp_path / "state.pt")[1], train()[1])


@pytest.mark.parametrize(("value", "said"), [(NAN, "nan"), (INF, "nan|inf")])
def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, value, said):
    images = small()
    images.train.images[3, 0, 2, 2] = value
    with pytest.raises(FloatingPointError, match=f"^toy: the loss is ({said}) in epoch 1"):
        train(images=images, title="toy", checkpoint=tmp_path / "state.pt")
    assert not list(tmp_path.iterdir()), "no checkpoint to continue from"


# Teachers


def test_known_logits_teach_what_the_network_teaches():
    """Up to the rounding of another batch size."""
    known, asked = train("cached"), train("offline")
    assert known[1].train_loss.tolist() == pytest.approx(asked[1].train_loss.tolist(), rel=1e-5)
    for ours, theirs in zip(known[0].parameters(), asked[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    plain = train("none")[1].train_loss
    assert abs(plain - known[1].train_loss).max() > 1e-2, "the teacher has a say"


def test_logits_of_more_images_than_there_are_belong_to_the_first():
    taught = network(seed=9, width=8)
    many = Cached(fitting.logits(taught, small(40).train.images))
    few = Cached(many.logits[:23])
    cut = data.Dataset(
        "toy",
        distillation_toy.CLASSES,
        data.Split(small(40).train.images[:23], small(40).train.labels[:23]),
        small().valid,
        small().test,
    )
    same(train(teacher=many, images=cut)[1], train(teacher=few, images=cut)[1])


def test_logits_are_those_of_every_image_in_order():
    model, images = network().train(), small(251).train.images  # more than are looked at at once
    found = fitting.logits(model, images)
    assert not found.requires_grad and not model.training
    with torch.no_grad():
        torch.testing.assert_close(found, model(images))


def test_an_offline_teacher_looks_at_the_augmented_images_and_learns_nothing():
    model, taught = network(), network(seed=9, width=8)
    before = network(seed=9, width=8)
    teacher = Offline(taught)
    ours, theirs = trained_on(model), seen_by(taught)
    train("offline augmented", model=model, teacher=teacher, epochs=2)
    one, *theirs = theirs  # that one is asked for its number of classes
    assert len(one) == 1 and len(ours) == len(theirs) == 10
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    images = small().train.images
    for epoch, batches in ((1, theirs[:5]), (2, theirs[5:])):
        plain = images[torch.from_numpy(data.epoch_order(23, 0, epoch))]
        kept = (torch.cat(batches) == plain).flatten(1).all(1)
        assert kept.float().mean() < 0.2, "nearly every image is another one"
    same_network(taught, before)
    assert not taught.training
    assert all(weights.grad is None for weights in taught.parameters())


def test_an_offline_teacher_stays_in_evaluation_mode_whatever_happened_to_it():
    taught = network(seed=9, width=8)
    teacher = Offline(taught)
    taught.train()
    same(train("offline", teacher=teacher)[1], train("offline")[1])


def test_an_online_teacher_learns_and_no_student_pulls_it():
    alone = train("online")[2].network
    pulled = train("online", distillation=Distillation(0.9, 20.0, form="vailakis"), learning_rate=1)
    same_network(pulled[2].network, alone)
    start = network(seed=9, width=8)
    assert not torch.equal(start[0].weight, alone[0].weight)
    assert not torch.equal(start[1].running_mean, alone[1].running_mean)


def test_an_online_teacher_answers_before_its_step():
    teacher = Online(network(seed=9))
    images = small(6).train
    with torch.no_grad():
        before = network(seed=9).train()(images.images)
    answer = teacher(torch.arange(6), images.images, images.labels)
    assert torch.equal(answer, before) and not answer.requires_grad


# Augmentation


def candidates(image: torch.Tensor) -> torch.Tensor:
    """All 9×9×2 moved and mirrored forms of (H, W, C), cut from the image in a field of zeros."""
    height, width, channels = image.shape
    found = []
    for mirrored in (image, image.flip(1)):
        field = torch.zeros(height + 8, width + 8, channels)
        field[4:-4, 4:-4] = mirrored
        found += [field[y : y + height, x : x + width] for y in range(9) for x in range(9)]
    return torch.stack(found)


@given(st.integers(1, 4), st.integers(5, 9), st.integers(5, 9), st.integers(1, 3), st.integers(0))
@trials(max_examples=25)
def test_an_augmented_image_is_one_of_162(count, height, width, channels, seed):
    images = torch.arange(1.0, 1 + count * height * width * channels)
    images = images.reshape(count, height, width, channels)
    found = fitting.augmented(images, torch.Generator().manual_seed(seed % 2**63))
    assert found.shape == images.shape
    for image, moved in zip(images, found, strict=True):
        assert (candidates(image) == moved).flatten(1).all(1).sum() == 1


def test_all_162_occur_about_as_often():
    image = torch.arange(1.0, 26).reshape(1, 5, 5, 1)
    found = fitting.augmented(image.expand(8100, -1, -1, -1), torch.Generator().manual_seed(1))
    which = (found[:, None] == candidates(image[0])).flatten(2).all(2).float().argmax(1)
    counts = torch.bincount(which, minlength=162)
    # χ² with 161 degrees of freedom: mean 161, standard deviation 18
    assert ((counts - 50) ** 2 / 50).sum() < 161 + 5 * 18


@given(st.integers(4, 12), st.integers(4, 12), st.floats(1, 90), st.integers(0, 2**31))
@trials(max_examples=25)
def test_a_turned_image_is_a_moved_one_turned_by_an_affine_grid(height, width, degrees, seed):
    images = torch.rand(3, height, width, 2, dtype=torch.float64)
    found = fitting.augmented(images, torch.Generator().manual_seed(seed), degrees=degrees)
    numbers = torch.Generator().manual_seed(seed)
    moved = fitting.augmented(images, numbers).permute(0, 3, 1, 2)  # draws what comes first
    angle = math.radians(degrees) * (2 * torch.rand(3, generator=numbers) - 1).double()
    ratio = width / height
    turn = torch.zeros(3, 2, 3, dtype=torch.float64)  # (x, y) from −1 to 1 over width and height
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos(), angle.sin() / ratio
    turn[:, 1, 0], turn[:, 1, 1] = -angle.sin() * ratio, angle.cos()
    grid = F.affine_grid(turn, moved.shape, align_corners=False)
    expected = F.grid_sample(moved, grid, mode="nearest", align_corners=False)
    alike = (expected.permute(0, 2, 3, 1) == found).all(3).float().mean()
    assert alike > 0.97  # a coordinate half-way between two pixels may go to either


def test_augmentation_is_another_in_every_epoch_and_the_same_for_a_seed():
    runs = []
    for seed in (3, 3, 4):
        model = network()
        batches = trained_on(model)
        train("none", model=model, augment=True, seed=seed, epochs=2, batch_size=23)
        places = [torch.from_numpy(data.epoch_order(23, seed, epoch)) for epoch in (1, 2)]
        runs.append([b[p.argsort()] for b, p in zip(batches, places, strict=True)])
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    for other in (runs[0][1], runs[2][0]):
        assert (runs[0][0] == other).flatten(1).all(1).float().mean() < 0.2
    originals = small().train.images
    for image, moved in zip(originals, runs[0][0], strict=True):
        every = candidates(image.permute(1, 2, 0)).permute(0, 3, 1, 2)
        assert (every == moved).flatten(1).all(1).any()


# What is refused


def refused(ask) -> str:
    """The `DistillationError` of `ask()`: one sentence on one line."""
    with pytest.raises(DistillationError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


RATE = "learning_rate must be a number above 0, not "
SEED = "seed must be a whole number from 0 to 2**31 - 1, not "


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        *(({"epochs": e}, f"a whole number of at least 1, not {e!r}.") for e in (0, -1, 1.0, True)),
        *(({"batch_size": b}, f"of at least 2, not {b!r}.") for b in (1, 0, 2.0, None)),
        *(({"learning_rate": r}, f"{RATE}{r!r}.") for r in (0, -0.1, NAN, INF, "0.1", True)),
        *(({"weight_decay": d}, f"of at least 0, not {d!r}.") for d in (-1e-4, NAN, None)),
        *(({"augment": a}, f"augment must be True or False, not {a!r}.") for a in (1, None, "no")),
        *(({"seed": s}, f"{SEED}{s!r}.") for s in (-1, 2**31, 0.0, False, np.int64(1))),
    ],
)
def test_a_recipe_that_cannot_be(fields, said):
    assert refused(lambda: Recipe(**{"epochs": 1, **fields})).endswith(said)


@pytest.mark.parametrize("rate", [0, -0.1, NAN, True])
def test_an_online_teacher_needs_a_rate(rate):
    assert refused(lambda: Online(network(), rate)) == f"{RATE}{rate!r}."


@pytest.mark.parametrize("logits", [torch.zeros(5), torch.zeros(2, 2, 2), torch.zeros(2, 3).long()])
def test_logits_of_another_kind(logits):
    said = refused(lambda: Cached(logits))
    assert said.endswith(f"of the shape {tuple(logits.shape)}.")


def wrong_network(inputs: int = 3, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, classes, 6), nn.Flatten())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"images": small(1)}, "batch norm needs at least 2 images to train with, and there is 1."),
        (
            {"teacher": Cached(torch.zeros(22, 3))},
            "the teacher's logits are known for 22 images, but there are 23 training images.",
        ),
        (
            {"teacher": Cached(torch.zeros(23, 3)), "augment": True},
            "cached logits do not belong to augmented images",
        ),
        ({"teacher": Cached(torch.zeros(23, 4))}, "the teacher knows 4 classes, but toy has 3."),
        ({"teacher": Offline(wrong_network(classes=2))}, "the teacher knows 2 classes, but toy"),
        ({"teacher": Online(wrong_network(classes=2))}, "the teacher knows 2 classes, but toy has"),
        (
            {"teacher": Offline(wrong_network(inputs=1))},
            "the teacher cannot look at images of the shape (3, 6, 6): ",
        ),
        ({"model": wrong_network(classes=4)}, "the network knows 4 classes, but toy has 3."),
        ({"model": wrong_network(inputs=1)}, "the network cannot look at images of the shape (3,"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(monkeypatch, tmp_path, wrong, said):
    monkeypatch.setattr(fitting, "train_epoch", None)
    assert said in refused(lambda: train(checkpoint=tmp_path / "state.pt", **wrong))
    assert not list(tmp_path.iterdir())


def test_images_must_be_images():
    flat = data.Dataset(
        "flat", ("a", "b"), *(data.Split(torch.zeros(4, 9), torch.zeros(4).long()) for _ in "tvt")
    )
    said = refused(lambda: train(images=flat))
    assert said == "the images must have the shape (N, C, H, W), not (4, 9)."


def test_a_teacher_without_a_distillation_and_the_reverse():
    for half in ({"teacher": Cached(torch.zeros(40, 3))}, {"distillation": Distillation()}):
        said = refused(lambda half=half: fit(network(), toy(), Recipe(1), **half))
        assert said == "a distillation needs a teacher, and a teacher a distillation."


def test_a_refused_network_keeps_its_averages():
    model = network()
    refused(lambda: train(model=model, teacher=Cached(torch.zeros(23, 4))))
    same_network(model, network())


def test_nan_is_what_is_not_evaluated():
    assert math.isnan(train(epochs=2)[1].test_error[0])
