"""ONNX files and IRs: what they hold, that they are whole, and what cannot be exported."""

import os
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import runtimes_toy
import torch
from hypothesis import given
from hypothesis import strategies as st
from runtimes_toy import CLASSES, IMAGE, MACS, exported, images, refused, toy
from store_toy import failing, no_space
from torch import nn

from qbench import runtimes
from qbench.runtimes import load, macs, onnx_logits, to_ir, to_onnx


def listed(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_file_says_what_it_takes_and_gives(tmp_path):
    file = to_onnx(toy(), images(2), tmp_path / "new" / "toy.onnx")
    network = onnx.load(file)
    onnx.checker.check_model(network, full_check=True)
    assert [opset.version for opset in network.opset_import] == [18] and network.ir_version == 8
    session = onnxruntime.InferenceSession(file)
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("images", ["N", *IMAGE])
    assert (gives.name, gives.shape) == ("logits", ["N", CLASSES])
    kinds = [node.op_type for node in network.graph.node]
    assert "Dropout" not in kinds and kinds.count("Conv") == 3
    fixed = to_onnx(toy(), images(2), tmp_path / "fixed.onnx", dynamic_batch=False)
    assert onnxruntime.InferenceSession(fixed).get_inputs()[0].shape == [2, *IMAGE]
    assert load(fixed).batch == 2


def test_the_same_weights_give_the_same_bytes(tmp_path):
    """Whatever was exported before in the process, and in another process and folder."""
    first = [file.read_bytes() for file in exported(tmp_path)]
    exported(tmp_path, toy(seed=1))
    assert [file.read_bytes() for file in exported(tmp_path)] == first
    code = "from pathlib import Path; import runtimes_toy; runtimes_toy.exported(Path())"
    other = tmp_path / "other"
    other.mkdir()
    path = os.pathsep.join([os.path.dirname(runtimes_toy.__file__), *sys.path])
    subprocess.run(
        [sys.executable, "-c", code], cwd=other, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert listed(other) == ["toy.bin", "toy.onnx", "toy.xml"]
    assert [(other / name).read_bytes() for name in ("toy.onnx", "toy.xml")] == first
    assert (other / "toy.bin").read_bytes() == (tmp_path / "toy.bin").read_bytes()
    for file in other.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_the_ir_has_weights_of_half_size(tmp_path):
    """Each weight rounded to the nearest FP16: with those ONNX Runtime gives the same logits."""
    file, ir = exported(tmp_path)
    network = onnx.load(file)
    floats = [t for t in network.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    count = sum(int(np.prod(tensor.dims)) for tensor in floats)
    assert 2 * count <= ir.with_suffix(".bin").stat().st_size < 2 * count + 500
    for tensor in floats:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    onnx.save(network, tmp_path / "half.onnx")
    expected = onnx_logits(tmp_path / "half.onnx", images())
    ours = load(ir).logits(images())
    assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(ours - onnx_logits(file, images())).max() > 1e-5 * np.abs(expected).max()


def test_the_model_is_left_as_it_was(tmp_path):
    model = toy()
    model.block.eval()  # frozen, as in fine-tuning
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    file, ir = exported(tmp_path, model)
    runtimes.agreement(model, ir, images(20))
    macs(model, images(2))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    refused(lambda: to_onnx(model, images()[:, :2], file))
    assert [module.training for module in model.modules()] == modes


def test_no_warning_reaches_the_reader(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported(tmp_path)
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    file, _ = exported(tmp_path)
    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", failing(1, no_space()))
    said = refused(lambda: to_onnx(toy(seed=1), images(2), file))
    assert "toy.onnx" in said and "No space left" in said
    assert file.read_bytes() == before and listed(tmp_path) == ["toy.bin", "toy.onnx", "toy.xml"]


@pytest.mark.parametrize("write", [1, 2])  # of the weights, of the network
def test_an_interrupted_conversion_leaves_no_network(tmp_path, monkeypatch, write):
    """Neither a new one nor the old structure with new weights."""
    _, ir = exported(tmp_path)
    other = to_onnx(toy(seed=1), images(2), tmp_path / "other.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(write, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            to_ir(other, ir)
    assert "toy.xml cannot be read: No such file" in refused(lambda: load(ir))
    assert load(to_ir(other, ir)).weights == "float16"


def test_multiply_accumulates_as_counted_by_hand():
    assert macs(toy(), images(1)) == macs(toy(), images(7)) == MACS
    assert "at least one image" in refused(lambda: macs(toy(), images(0)))


@given(
    groups=st.sampled_from([1, 2, 4]),
    inside=st.integers(1, 3),
    outside=st.integers(1, 3),
    side=st.integers(1, 3),
    stride=st.integers(1, 2),
    size=st.integers(3, 8),
)
def test_multiply_accumulates_of_any_convolution(groups, inside, outside, side, stride, size):
    model = nn.Conv2d(groups * inside, groups * outside, side, stride=stride, groups=groups)
    outputs = groups * outside * ((size - side) // stride + 1) ** 2
    example = torch.zeros(2, groups * inside, size, size)
    assert macs(model, example) == outputs * inside * side**2


# What is refused


def test_names_that_openvino_would_not_know(tmp_path):
    said = refused(lambda: to_onnx(toy(), images(2), tmp_path / "toy.pt"))
    assert said == "the file's name must end in .onnx, and it is 'toy.pt'."
    assert ".xml" in refused(lambda: to_ir(tmp_path / "toy.onnx", tmp_path / "toy.bin"))
    assert listed(tmp_path) == []


@pytest.mark.parametrize("bad", [images(0), images(2).double(), images(2).numpy(), None])
def test_an_example_that_is_no_batch_of_images(tmp_path, bad):
    said = refused(lambda: to_onnx(toy(), bad, tmp_path / "toy.onnx"))
    assert said == "example must be a batch of at least one float32 image."


def test_models_that_are_no_classifiers(tmp_path):
    file = tmp_path / "toy.onnx"
    said = refused(lambda: to_onnx(toy(), images(2)[:, :2], file))
    assert said.startswith("the model does not take an example of shape (2, 2, 16, 16): ")
    said = refused(lambda: to_onnx(nn.Conv2d(3, 4, 1), images(2), file))
    assert said == "the model must give (N, classes) float32 logits, not (2, 4, 16, 16)."
    model = toy()
    with torch.no_grad():
        model.stem[1].running_var[2] = float("nan")
    assert refused(lambda: to_onnx(model, images(2), file)) == (
        "stem.1.running_var holds numbers that are not finite, so the model cannot be exported: "
        "its training diverged."
    )

    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.i1e(x.flatten(1))

    assert refused(lambda: to_onnx(Odd(), images(2), file)).startswith(
        "the model cannot be written as ONNX: "
    )
    assert listed(tmp_path) == []


def test_a_library_that_is_not_installed(tmp_path, monkeypatch):
    file, ir = exported(tmp_path)
    for name in ("openvino", "onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    said = "which is not installed: pip install 'qbench[runtimes]' brings it."
    assert refused(lambda: to_onnx(toy(), images(2), file)) == f"this needs onnx, {said}"
    assert refused(lambda: to_ir(file, ir)) == f"this needs openvino, {said}"
    assert refused(lambda: onnx_logits(file, images(2))) == f"this needs onnxruntime, {said}"
