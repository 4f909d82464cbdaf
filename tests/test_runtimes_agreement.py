"""An exported file is the network that was trained; one wrong weight in it is noticed."""

import numpy as np
import onnx
import pytest
import torch
from runtimes_toy import exported, images, refused, toy
from torch import nn

from qbench.runtimes import agreement, load, onnx_logits, to_ir, to_onnx
from qbench.runtimes.export import evaluating

# Of an ordinary sum of n products the rounding errors grow as √n (Toy: n ≤ 128, a few layers).
FLOAT32 = 2.0**-24 * 128**0.5 * 6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("toy"))


def test_onnx_runtime_and_openvino_compute_what_pytorch_does(files):
    model = toy()
    with evaluating(model):
        expected = model(images()).numpy()
    largest = np.abs(expected).max()
    for theirs in (onnx_logits(files[0], images()), load(files[0]).logits(images())):
        assert np.abs(theirs - expected).max() < FLOAT32 * largest
    found = agreement(model, files[0], images())
    assert found.ok and found.classes_differ == 0 and found.images == 300
    assert found.weights == "float32" and found.accuracy_file is None
    assert found.relative == pytest.approx(found.difference / largest)


@pytest.mark.parametrize("seed", range(5))
def test_half_precision_weights_are_within_their_bound(tmp_path, seed):
    """Far below it, and far above what the sums of float32 explain."""
    model = toy(seed)
    found = agreement(model, exported(tmp_path, model)[1], images())
    assert found.ok and found.weights == "float16"
    assert found.difference < found.allowed / 2
    assert found.relative > FLOAT32


def test_accuracies_are_those_of_both(files):
    model = toy()
    with evaluating(model):
        labels = model(images()).argmax(1)
    labels[:30] = (labels[:30] + 1) % 10
    found = agreement(model, files[0], images(), labels=labels)
    assert (found.accuracy_model, found.accuracy_file) == (0.9, 0.9)
    other = agreement(toy(seed=1), files[0], images(), labels=labels)
    assert other.accuracy_file == 0.9 > other.accuracy_model and not other.ok
    assert other.classes_differ > 30


def constants(file) -> list[str]:
    graph = onnx.load(file).graph
    return [t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT]


def test_one_wrong_weight_is_noticed(files, tmp_path):
    """The largest of each layer's weights or biases, with the wrong sign, in either format."""
    names = constants(files[0])
    assert len(names) >= 10
    for number, name in enumerate(names):
        network = onnx.load(files[0])
        (tensor,) = (t for t in network.graph.initializer if t.name == name)
        values = onnx.numpy_helper.to_array(tensor).copy()
        place = np.abs(values).argmax()
        values.flat[place] *= -1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
        file = tmp_path / "wrong.onnx"
        onnx.save(network, file)
        wrong = file if number % 3 else to_ir(file, tmp_path / "wrong.xml")
        assert not agreement(toy(), wrong, images(100)).ok, (name, wrong.suffix)


def test_damaged_weights_are_noticed(files, tmp_path):
    """A file of the right length whose numbers are others, and some that are not finite."""
    ir = to_ir(files[0], tmp_path / "toy.xml")
    weights = ir.with_suffix(".bin")
    content = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    for what in (0x00, 0x3C, 0x7C):
        content[200:240] = what
        weights.write_bytes(content.tobytes())
        assert not agreement(toy(), ir, images()).ok


def test_a_model_of_zeros_agrees_with_itself(tmp_path):
    """No weight can be rounded, and there is no largest logit to compare with."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    example = torch.randn(4, 3, 2, 2)
    file = to_onnx(model, example, tmp_path / "zero.onnx")
    found = agreement(model, file, example)
    assert found.ok and found.difference == 0 and np.isnan(found.relative)


# What is refused


def test_images_and_labels_that_do_not_fit(files):
    model = toy()
    assert "at least one image" in refused(lambda: agreement(model, files[0], images(0)))
    said = refused(lambda: agreement(model, files[0], images(5), labels=torch.zeros(4)))
    assert said == "labels must be 5, one an image, not 4."
    said = refused(lambda: agreement(model, files[0], images(5)[:, :2]))
    assert said == "images must be (N, 3, 16, 16), not (5, 2, 16, 16)."
    said = refused(lambda: onnx_logits(files[0], images(5)[:, :2]))
    assert "toy.onnx does not run with images of shape (5, 2, 16, 16): " in said


def test_a_file_of_another_network(files):
    model = toy()
    model.head[-1] = nn.Linear(12, 4)
    said = refused(lambda: agreement(model, files[0], images(5)))
    assert said.endswith("toy.onnx gives 10 classes, the model 4.")
