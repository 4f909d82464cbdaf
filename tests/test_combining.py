"""Sparse ternary codes under learnt scales, trained with a teacher: one layer, one training."""

import pandas as pd
import pytest
import torch
from distillation_toy import same, toy
from sparsity_toy import phase
from store_toy import empty_stores
from torch.nn import functional as F

from qbench import store, threads
from qbench.combining import CombiningError, runs
from qbench.combining.networks import OfCodes, decomposed, scale_count, ternary_with_scales
from qbench.distillation import DistillationError
from qbench.models import binary_connect
from qbench.sparsity import SparsityError, studying
from qbench.sparsity.networks import Ternary

TEACHER = {"dataset": "mnist5k", "network": "resnet8x4", "images": 20, "epochs": 1}
SMALL = {"dataset": "mnist5k", "width": 2, "images": 20, "epochs": 2, "batch_size": 10}


def network(granularity="pixel", eta=0.6, seed=0):
    model = binary_connect.build("vgg", 2, inputs=3, classes=3)
    return ternary_with_scales(model, granularity, eta, seed=seed)


def trained(granularity, epochs=2):
    made, pictures = network(granularity), toy(11)
    studying.study(made, pictures, phase(epochs), progress=False)
    made.prune((0.6, 0.6))
    log = studying.study(made, pictures, phase(epochs), progress=False)
    return made, pictures, log


@pytest.fixture(scope="module")
def by_pixel():
    with threads.at_most(1):
        return trained("pixel")


def test_gradients_are_those_of_both_chapters():
    made = network()
    part = made.model.get_submodule("conv1")
    codes, scales = part.layer.weight, part.weights
    upstream = torch.randn_like(codes)
    scales(codes).backward(upstream)
    assert torch.equal(codes.grad, scales.scale.detach() * upstream)  # eq. 5.11, zeros too
    summed = (codes.detach() * upstream).sum((0, 1), keepdim=True)
    assert torch.allclose(scales.scale.grad, summed)  # eq. 5.5, a scale a pixel
    for name, layer in made.layers.items():
        if name != "conv1.layer":
            layer.weight.grad = torch.zeros_like(layer.weight)
    made.gradients(0.5)
    wanted = scales.scale.detach() * upstream + 0.5 * codes.detach()
    assert torch.allclose(made.real["conv1.layer"].grad, wanted)


def test_scales_start_from_the_real_weights_and_learn(by_pixel):
    made = network()
    real = made.real["conv2.layer"]
    start = made.model.get_submodule("conv2").weights.scale
    assert torch.allclose(start, real.abs().mean((0, 1), keepdim=True))
    learnt = by_pixel[0].model.get_submodule("conv2").weights.scale
    assert not torch.allclose(start, learnt)
    assert scale_count(made.model) == 6 * 9 + 3  # six kernels of 3 × 3, three connected layers
    assert scale_count(network("row").model) == 6 * 3 + 3
    assert scale_count(network("layer").model) == 9


def test_zeros_that_were_pruned_stay_zeros_through_retraining(by_pixel):
    made, _, log = by_pixel
    assert log["pruned"].iloc[-1] > 30
    for name, layer in made.layers.items():
        kept = made.mask[name]
        assert (layer.weight[kept == 0] == 0).all()
        assert (made.real[name][kept == 0] == 0).all()
        assert set(layer.weight.unique().tolist()) <= {-1.0, 0.0, 1.0}
        used = made.model.get_submodule(name.removesuffix(".layer")).weights(layer.weight)
        assert (used[kept == 0] == 0).all()


@pytest.mark.parametrize("granularity", ["pixel", "row", "layer"])
def test_the_decomposed_network_says_what_the_dense_one_says(granularity):
    made, pictures, _ = trained(granularity, epochs=1)
    with torch.no_grad():
        before = made.model.eval()(pictures.test.images)
        after = decomposed(made.model)(pictures.test.images)
    assert torch.allclose(before, after, atol=1e-4)
    assert made.model.conv1.codes.dtype == torch.int8


def test_a_layer_of_zeros_stays_one():
    """SYQ alone would take the sign of 0 for 1 where every weight is 0."""
    zeros = torch.zeros(2, 3, 3, 3)
    assert not OfCodes(zeros, "pixel")(zeros).any()


def test_one_scale_a_layer_is_chapter_3_behind_batch_norm():
    """The same answers, as batch norm takes the scale of a layer away again."""
    plain = Ternary(binary_connect.build("vgg", 2, inputs=3, classes=3), (0.6, 0.6), 0)
    scaled, images = network("layer"), toy(11).train.images
    with torch.no_grad():
        one, other = plain.model.train()(images), scaled.model.train()(images)
    assert torch.allclose(one, other, atol=2e-3)
    apart = network("pixel")
    for part in ("conv2", "conv3"):
        apart.model.get_submodule(part).weights.scale.data[..., 0, 0] *= 3
    with torch.no_grad():
        assert not torch.allclose(one, apart.model.train()(images), atol=2e-2)


def test_another_loss_is_what_is_made_small():
    made, pictures = network(), toy(11)
    log = studying.study(
        made,
        pictures,
        phase(1),
        loss=lambda said, truth, places: 3 * F.cross_entropy(said, truth),
        progress=False,
    )
    usual = studying.study(network(), pictures, phase(1), progress=False)
    assert log["train_loss"].iloc[0] > 2 * usual["train_loss"].iloc[0]


@pytest.fixture
def home(tmp_path, monkeypatch):
    empty_stores(tmp_path, monkeypatch)
    with threads.at_most(1):
        yield


def test_a_killed_training_goes_on_to_the_same_numbers(home, tmp_path, monkeypatch):
    monkeypatch.setattr(studying, "CHECKPOINT_SECONDS", 0)
    spec = SMALL | {"granularity": "row", "eta": 0.6, "sigma": 0.6, "strength": 1e-3}
    whole = runs.training(**spec)
    assert whole["phase"].tolist() == [1, 1, 2, 2]
    best = whole[whole["bits_RLE"].notna()]
    assert len(best) == 1 and best["phase"].item() == 2 and best["scales"].item() == 21
    assert 0 < best["bits_RLE"].item() and best["bits_ternary"].item() % 2 == 0
    evaluated = studying.error_rate
    for killed_at in (1, 5):  # evaluations: in the first phase, then in the second
        left = iter(range(killed_at))

        def dies(*given, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return evaluated(*given)

        folder = tmp_path / str(killed_at)
        monkeypatch.setattr(studying, "error_rate", dies)
        with pytest.raises(KeyboardInterrupt):
            runs.training(**spec, checkpoint=folder)
        monkeypatch.setattr(studying, "error_rate", evaluated)
        same(runs.training(**spec, checkpoint=folder), whole)


def test_trainings_with_a_teacher_are_stored_and_differ_from_those_without(home):
    taught = SMALL | {"teacher": TEACHER, "alpha": 0.2, "temperature": 4, "epochs": 1}
    alone = SMALL | {"epochs": 1}
    first, second = runs.trainings([taught, alone])
    assert not first["train_loss"].equals(second["train_loss"])
    assert not store.missing([store.spec(runs.training, **runs.complete(taught))])
    pd.testing.assert_frame_equal(runs.trainings([taught])[0], first)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"granularity": "filter"}, CombiningError, "granularity must be one of"),
        ({"width": 0}, CombiningError, "width of vgg must be"),
        ({"eta": 1.0}, SparsityError, "eta must be at least 0 and below 1"),
        ({"sigma": -0.1}, SparsityError, "sigma must be at least 0"),
        ({"epochs": 0}, SparsityError, "epochs must be a whole number"),
        ({"alpha": 0.5}, CombiningError, "without a teacher alpha and temperature must be 1"),
        ({"teacher": TEACHER, "temperature": 0}, DistillationError, "temperature must be"),
        ({"images": 1}, CombiningError, "images must be a whole number from 2"),
        ({"colour": 1}, CombiningError, "a training has the parameters of"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(wrong, error, said):
    with pytest.raises(error, match=said):
        runs.trainings([SMALL | wrong])
