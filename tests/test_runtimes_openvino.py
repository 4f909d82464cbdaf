"""A file compiled for a device: batches of any size, and what cannot be loaded."""

import shutil

import numpy as np
import onnx
import openvino
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtimes_toy import CLASSES, IMAGE, exported, images, refused, toy
from torch import nn

from qbench.runtimes import device_name, devices, full_name, load, onnx_logits, to_onnx

BATCHES = (None, 1, 3, 8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def networks(files):
    return {batch: load(files[1], batch=batch) for batch in BATCHES}


def test_devices():
    assert "CPU" in devices()
    assert device_name("cpu") == device_name("Cpu") == "CPU"
    assert full_name("cpu")


@given(batch=st.sampled_from(BATCHES), count=st.integers(0, 20), start=st.integers(0, 20))
def test_any_number_of_images_in_batches_of_any_size(networks, batch, count, start):
    """An image's logits do not depend on the images around it."""
    every = networks[None].logits(images(40))
    part = networks[batch].logits(images(40)[start : start + count])
    assert part.shape == (count, CLASSES) and part.dtype == np.float32
    np.testing.assert_allclose(part, every[start : start + count], rtol=0, atol=1e-5)


def test_what_it_runs_with(files, networks):
    network = load(files[0], "cpu", batch=4, threads=1)
    assert (network.device, network.batch, network.threads) == ("CPU", 4, 1)
    assert (network.image_shape, network.classes) == (IMAGE, CLASSES)
    assert (network.weights, networks[1].weights) == ("float32", "float16")
    can = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not {"FP16", "BF16"} & set(can):  # then FP16 weights are computed with in float32
        assert networks[1].precision == "float32"


# What is refused


def test_devices_that_are_not_here():
    here = ", ".join(devices())
    for name in ("TPU", "AUTO", "MULTI:CPU", "HETERO:CPU", "", "CPU.7"):
        assert refused(lambda: device_name(name)) == (  # noqa: B023
            f"unknown device {name!r}: the devices here are {here}."
        )
    for name in ("MYRIAD", "myriad", "MYRIAD.1.2-ma2480", "NCS2"):
        said = refused(lambda: device_name(name))  # noqa: B023
        assert "last shipped with OpenVINO 2022.3" in said and here in said


@pytest.mark.parametrize("name", ["gone.onnx", "gone.xml"])
def test_a_missing_file(tmp_path, name):
    assert f"{name} cannot be read: No such file" in refused(lambda: load(tmp_path / name))


def test_an_ir_without_its_weights(files, tmp_path):
    shutil.copy(files[1], tmp_path / "toy.xml")
    assert "toy.bin cannot be read: No such" in refused(lambda: load(tmp_path / "toy.xml"))
    weights = files[1].with_suffix(".bin").read_bytes()
    (tmp_path / "toy.bin").write_bytes(weights[:-10])
    assert "toy.xml is no whole network: " in refused(lambda: load(tmp_path / "toy.xml"))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)), b"<html></html>", None])
@pytest.mark.parametrize("suffix", ["onnx", "xml", "pt"])
def test_files_that_are_no_networks(files, tmp_path, capfd, content, suffix):
    """None: the first half of a real one."""
    source = files[suffix == "xml"].read_bytes()
    file = tmp_path / f"bad.{suffix}"
    file.write_bytes(source[: len(source) // 2] if content is None else content)
    (tmp_path / "bad.bin").write_bytes(b"")
    said = refused(lambda: load(file))
    if suffix == "pt":
        assert said.endswith("must be an ONNX file (.onnx) or an OpenVINO IR (.xml).")
    else:
        assert f"bad.{suffix} is no " in said
    if suffix == "onnx":
        assert refused(lambda: onnx_logits(file, images(2))) == said
    assert capfd.readouterr().err == "", "nothing besides the sentence"


def test_onnx_runtime_reads_no_ir(files):
    said = refused(lambda: onnx_logits(files[1], images(2)))
    assert said.endswith("toy.xml must be an ONNX file (.onnx).")


def test_networks_that_are_no_classifiers(files, tmp_path):
    network = onnx.load(files[0])
    network.graph.output.append(network.graph.output[0])
    network.graph.output[1].name = network.graph.node[0].output[0]
    del network.graph.output[1].type.tensor_type.shape.dim[:]
    onnx.save(network, tmp_path / "two.onnx")
    assert "two.onnx is no classifier: " in refused(lambda: load(tmp_path / "two.onnx"))


@pytest.mark.parametrize("shape", [(5, 2, 16, 16), (5, 3, 16), (3, 16, 16), (0, 3, 15, 16), ()])
def test_images_of_another_shape(networks, shape):
    for network in networks.values():
        said = refused(lambda: network.logits(np.zeros(shape, np.float32)))  # noqa: B023
        assert said == f"images must be (N, 3, 16, 16), not {shape}."


def test_images_that_are_codes(networks):
    said = refused(lambda: networks[1].logits(np.zeros((2, *IMAGE), np.uint8)))
    assert said == "images must be floating-point numbers, not uint8."


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_batches_and_threads_that_cannot_be(files, bad):
    for name in ("batch", "threads"):
        said = refused(lambda: load(files[0], **{name: bad}))  # noqa: B023
        assert said == f"{name} must be a whole number of at least 1, not {bad!r}."


def test_a_batch_that_the_file_does_not_take(tmp_path):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = toy()

        def forward(self, x):
            return self.inside(x.reshape(2, *IMAGE))

    file = to_onnx(Fixed(), images(2), tmp_path / "fixed.onnx", dynamic_batch=False)
    said = refused(lambda: load(file, batch=3))
    assert "fixed.onnx cannot be compiled for CPU with a batch of 3: " in said
