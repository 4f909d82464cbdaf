"""Runtimes behind one interface: the same network in each, integers by the profile, what lacks."""

import copy
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runtimes_toy import images, refused
from torch import nn

from qbench.runtimes import (
    Classifier,
    backends,
    integer,
    machine,
    onnx_logits,
    profile,
    throughput,
    to_onnx,
)
from qbench.runtimes.backends import Backend
from qbench.runtimes.throughput import COLUMNS, contenders, measured

FLOAT = ("pytorch", "onnxruntime", "openvino")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two convolutions and a classifier: in float32, and rounded by ONNX Runtime."""
    folder = tmp_path_factory.mktemp("two")
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * 49, 10)).eval()
    file = to_onnx(model, images(2), folder / "two.onnx")
    rounded = integer.to_int8(file, images(64).numpy(), folder / "rounded.onnx")
    return Classifier("two", file, model), Classifier("rounded", rounded, integer=True)


@pytest.fixture(autouse=True)
def lock(tmp_path, monkeypatch):
    monkeypatch.setattr("qbench.runtimes.timing.lock_file", lambda: tmp_path / "measuring.lock")


def expected(networks):
    with torch.no_grad():
        return networks[0].model(images(40)).numpy()


@pytest.mark.parametrize("runtime", FLOAT)
def test_every_runtime_gives_the_logits_of_the_model(networks, runtime):
    runner = backends.opened(Backend(runtime, "float32"), networks[0], batch=3)
    runner.run()
    np.testing.assert_allclose(
        runner.logits(images(40).numpy()), expected(networks), atol=1e-4, rtol=1e-4
    )
    runner.run()  # its own images are in place again
    assert runner.precision == "float32"


@pytest.mark.parametrize("runtime", FLOAT)
def test_images_of_another_shape_are_refused_by_every_runtime(networks, runtime):
    runner = backends.opened(Backend(runtime, "float32"), networks[0])
    one = tuple(images(2).shape[1:])
    said = refused(lambda: runner.logits(np.zeros((2, *one[:-1], one[-1] + 8), np.float32)))
    shape = ", ".join(map(str, one))
    assert said.startswith(f"images for 'two' must be (N, {shape}), not (2, ")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_rounded_by_the_runtime_it_is_the_same_network_computed_with_integers(networks, runtime):
    one = Backend(runtime, "int8")
    found = backends.opened(one, networks[1]).logits(images(40).numpy())
    assert abs(found - expected(networks)).max() < 0.05 * abs(expected(networks)).max()
    about = profile.summary(profile.kernels(one, networks[1], batch=2))
    assert about["integer"] == about["multiplying"] >= 3
    plain = profile.summary(profile.kernels(Backend(runtime, "float32"), networks[0], batch=2))
    assert plain["integer"] == 0 < plain["multiplying"]


def test_pytorch_is_profiled_by_its_kernels_and_not_by_what_calls_them(networks):
    table = profile.kernels(Backend("pytorch", "float32"), networks[0])
    about = profile.summary(table)
    assert (about["multiplying"], about["integer"]) == (3, 0)


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("Conv", True), ("FusedConv", True), ("QLinearConv", True), ("Gemm", True),
        ("FullyConnected", True), ("MatMul", True), ("QLinearConcat", False), ("Convert", False),
        ("DequantizeLinear", False), ("QuantizeLinear", False), ("Reorder", False),
        ("QLinearAveragePool", False), ("Relu", False),
    ],
)  # fmt: skip
def test_what_multiplies(operation, said):
    assert profile.multiplies(operation) is said


def test_int8_takes_rounded_networks_and_all_others_do_not(networks):
    every = [Backend(runtime, kind) for runtime in FLOAT[1:] for kind in ("float32", "int8")]
    names = {(one.classifier.name, one.backend.precision) for one in contenders(networks, every)}
    assert names == {("two", "float32"), ("rounded", "int8")}
    said = refused(lambda: backends.opened(Backend("openvino", "int8"), networks[0]))
    assert said == "OpenVINO, int8, CPU takes a network of 8 bits, not 'two'."


# Measuring


def clocked(monkeypatch, clock):
    """Let runtimes read `clock["now"]`, in ns, for the time."""
    watch = type("Clock", (), {})
    watch.perf_counter_ns = staticmethod(lambda: clock["now"])
    watch.perf_counter = staticmethod(lambda: clock["now"] / 1e9)
    for module in ("timing", "throughput"):
        monkeypatch.setattr(f"qbench.runtimes.{module}.time", watch)


def test_a_row_for_every_contender_batch_and_threads(networks):
    before = torch.get_num_threads()
    every = [Backend(runtime, "float32") for runtime in FLOAT]
    asked = contenders(networks[:1], every)
    table = measured(asked, batches=[1, 4], threads=[1, 2], rounds=2, seconds=0.005)
    assert tuple(table.columns) == COLUMNS and len(table) == 3 * 2 * 2
    assert not table.duplicated(["runtime", "batch", "threads"]).any()
    assert (table["fastest_ms"] <= table["ms"]).all() and (table["p95_ms"] <= table["p99_ms"]).all()
    for low, middle, high in (("low_ms", "ms", "high_ms"), ("low_rate", "images_per_second", "high_rate")):  # fmt: skip  # noqa: E501
        assert (table[low] <= table[middle]).all() and (table[middle] <= table[high]).all()
    assert torch.get_num_threads() == before


def test_more_threads_than_cores_are_warned_of(monkeypatch, networks):
    monkeypatch.setattr(throughput.provenance, "machine", lambda: {"cores": 1})
    asked = contenders(networks[:1], [Backend("pytorch", "float32")])
    with pytest.warns(RuntimeWarning, match="^2 threads are more than the 1 cores of this machine"):
        measured(asked, threads=[1, 2], rounds=1, seconds=0.001)


def test_every_round_has_all_batches_and_threads(monkeypatch):
    """So that what changes within minutes is in the spread between rounds."""
    turns, clock = [], {"now": 0}

    def opened(backend, classifier, batch, threads, seed):
        turns.append((batch, threads))
        took = len(turns)  # later turns are slower

        def run():
            clock["now"] += took * 1_000_000

        return backends.Runner(run=run, logits=None, precision="float32")

    clocked(monkeypatch, clock)
    monkeypatch.setattr(throughput, "opened", opened)
    one = throughput.Contender(Classifier("two", None), Backend("pytorch", "float32"))
    table = measured([one], batches=[1, 4], threads=[1, 2], rounds=3, seconds=1e-4)
    assert turns == [(1, 1), (4, 1), (1, 2), (4, 2)] * 3
    assert table["low_ms"].tolist() == [1, 2, 3, 4]
    assert table["ms"].tolist() == [5, 6, 7, 8] and table["high_ms"].tolist() == [9, 10, 11, 12]


def test_rates_joules_and_outliers_are_those_of_the_clock(monkeypatch):
    """One request in ten takes five times as long; 2 W of stated power."""
    clock = {"now": 0, "requests": 0}

    def run():
        clock["requests"] += 1
        clock["now"] += 5_000_000 if clock["requests"] % 10 == 0 else 1_000_000

    clocked(monkeypatch, clock)
    runner = backends.Runner(run=run, logits=lambda x: x, precision="float32")
    monkeypatch.setattr(throughput, "opened", lambda *_, **__: runner)
    one = throughput.Contender(Classifier("two", None), Backend("pytorch", "float32"))
    watts = {"cpu": throughput.meter("cpu", watts=2, powercap=machine.SYSTEM / "none")}
    table = measured([one], batches=[4], rounds=3, seconds=0.7, meters=watts)
    row = table.iloc[0]
    assert (row["ms"], row["fastest_ms"], row["p99_ms"]) == (1.0, 1.0, 5.0)
    assert row["images_per_second"] == pytest.approx(4 * 10 / 14e-3, rel=0.01)
    assert row["joules"] == pytest.approx(2 / row["images_per_second"], rel=0.01)
    assert row["energy_by"] == "power × time"
    assert row["outliers"] == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [{"batches": [0]}, {"threads": [0]}, {"rounds": 0}, {"seconds": 0}, {"seconds": math.nan},
     {"latency_seconds": math.inf}],
)  # fmt: skip
def test_numbers_that_are_refused(networks, wrong):
    asked = contenders(networks[:1], [Backend("pytorch", "float32")])
    assert refused(lambda: measured(asked, **wrong)).startswith(f"{next(iter(wrong))} must be")


def test_nothing_to_measure(networks):
    gone = Backend("pytorch", "float32", "cuda", missing="no GPU.")
    assert contenders(networks, [gone]) == []
    assert "at least one contender" in refused(lambda: measured([]))


# What is missing


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_library_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    for one in backends.every([name], devices=["cpu"]):
        assert f"needs {name}, which is not installed: pip install" in one.missing
    assert backends.every(["pytorch"], ["float32"], ["cpu"])[0].missing == ""


def test_no_gpu_no_compiler_no_bfloat16(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(machine, "instructions", lambda: ("AVX2",))
    assert "takes an NVIDIA GPU with its driver" in backends.missing("pytorch", "float32", "cuda")
    assert "install g++ or set CXX" in backends.missing("compiled", "float32")
    assert "AVX512-BF16 or AMX-BF16" in backends.missing("pytorch", "bfloat16")
    monkeypatch.setattr(machine, "instructions", lambda: ("AVX2", "AMX-BF16"))
    assert backends.missing("pytorch", "bfloat16") == ""


def test_what_is_missing_is_not_opened(networks):
    gone = Backend("pytorch", "float32", "cuda", missing="PyTorch finds no CUDA device.")
    assert refused(lambda: backends.opened(gone, networks[0])) == (
        "PyTorch, float32, GPU is not here: PyTorch finds no CUDA device."
    )


@given(st.sampled_from(["runtimes", "precisions", "devices"]), st.text(max_size=8))
def test_unknown_names(what, name):
    known = {"runtimes": backends.RUNTIMES, "precisions": backends.PRECISIONS}
    if name in known.get(what, backends.DEVICES):
        return
    said = refused(lambda: backends.every(**{what: [name]}))
    assert said.startswith(f"{what[:-1]} must be one of ") and said.endswith(f"not {name!r}.")


def test_a_file_that_is_not_rounded_is_one_sentence(networks, tmp_path):
    wrong = images(4).numpy()[:, :, :9]
    said = refused(lambda: integer.to_int8(networks[0].onnx, wrong, tmp_path / "no.onnx"))
    assert "cannot be rounded with images of shape (4, 3, 9, 16)" in said
    assert not list(tmp_path.glob("no*"))


def test_weights_of_7_bits_where_sums_would_be_cut_off(networks, tmp_path):
    onnx = pytest.importorskip("onnx")

    def codes(narrow):
        file = integer.to_int8(
            networks[0].onnx, images(8).numpy(), tmp_path / f"{narrow}.onnx", narrow=narrow
        )
        stored = [onnx.numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer]
        return max(abs(one.astype(int)).max() for one in stored if one.dtype == np.int8 and one.ndim > 1)  # fmt: skip  # noqa: E501

    assert codes(True) <= 64 < codes(False)


def test_the_model_itself_is_left_as_it_is(networks):
    before = copy.deepcopy(networks[0].model.state_dict())
    backends.opened(Backend("pytorch", "float32"), networks[0]).run()
    assert all(torch.equal(before[name], value) for name, value in networks[0].model.state_dict().items())  # fmt: skip  # noqa: E501


def test_weights_with_a_sign_are_the_same_network(networks, tmp_path):
    """Codes without a sign, as `qkd.export` writes them, of a layer with a scale a channel."""
    onnx = pytest.importorskip("onnx")
    file = tmp_path / "signed.onnx"
    model = onnx.load(networks[1].onnx)
    stored = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            for name in (node.input[0], node.input[2]):
                codes = onnx.numpy_helper.to_array(stored[name])
                if codes.dtype == np.int8:
                    moved = (codes.astype(int) + 128).astype(np.uint8)
                    stored[name].CopyFrom(onnx.numpy_helper.from_array(moved, name))
    onnx.save(model, file)
    before = onnx_logits(file, images(8))
    integer.with_signed_weights(file)
    types = {one.data_type for one in onnx.load(file).graph.initializer if len(one.dims) > 1}
    assert onnx.TensorProto.INT8 in types and onnx.TensorProto.UINT8 not in types
    np.testing.assert_allclose(onnx_logits(file, images(8)), before, atol=1e-6)
