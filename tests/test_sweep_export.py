"""A sweep's members as Brevitas models and QONNX files: the same network in every form."""

import subprocess
import sys

import brevitas.config
import numpy as np
import onnxruntime
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes

from qbench import data
from qbench.sweep import Member, SweepError, export_qonnx, fitting, network, to_brevitas, train
from qbench.sweep.network import Network

HIDDEN = 32
MEMBERS = [
    Member(1, 1), Member(1, 4), Member(2, 1), Member(2, 2), Member(4, 4), Member(8, 8),
    Member(2, 32), Member(32, 2), Member(32, 32),
]  # fmt: skip
each_member = pytest.mark.parametrize("member", MEMBERS, ids=str)


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist5k", size=32, flatten=True)


@pytest.fixture(scope="module")
def outcome(digits):
    return train(MEMBERS, digits, epochs=3, hidden=HIDDEN, evaluate_at=[3])


def logits(group: Network, images: torch.Tensor) -> torch.Tensor:
    """What `predict` takes the classes from, (M, N, C), for codes (N, I)."""
    list(group.predict(images, together=len(images)))
    seen = group._space("seen 1", len(group.members), group.sizes[-1][1], len(images))
    return seen.transpose(1, 2).clone()


def in_double(group: Network, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The same network in float64; Brevitas stores 0.1, a 1-bit weight, in float32."""
    monkeypatch.setattr("qbench.sweep.group.BINARY", float(np.float32(network.BINARY)))
    (inputs, hidden), (_, classes) = group.sizes[0], group.sizes[-1]
    size = {"inputs": inputs, "hidden": hidden, "classes": classes}
    double = Network(group.members, **size, dtype=torch.float64)
    double.load(group.state())
    return double


@torch.no_grad()
def same_in_double(group: Network, index: int, codes: torch.Tensor, patch) -> None:
    """Equal to 1e-10: no activation is rounded to another level, no constant differs."""
    expected = logits(in_double(group, patch), codes)[index]
    ours = to_brevitas(group, index).double()(codes.double() / 255)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


# Brevitas


@each_member
def test_brevitas_gives_the_same_logits(outcome, digits, member, monkeypatch):
    group, index = outcome.network(member)
    same_in_double(group, index, fitting.codes(digits.test, "cpu")[0], monkeypatch)


@each_member
def test_brevitas_gives_the_same_classes(outcome, digits, member):
    """In float32, where every form rounds its sums in its own order, and on every test image."""
    group, index = outcome.network(member)
    codes, labels = fitting.codes(digits.test, "cpu")
    model = to_brevitas(group, index)
    with torch.no_grad():
        ours = model(digits.test.images).argmax(1)
    assert torch.equal(ours, logits(group, codes)[index].argmax(1))
    error = 100 * (ours != labels).double().mean().item()
    assert outcome.tables[member].test_error.tolist() == pytest.approx([error])
    assert error < 50, "the training has learnt something to compare"


@pytest.mark.parametrize(
    ("weight_bits", "act_bits"),
    [(1, 1), (1, 7), (2, 8), (3, 6), (4, 5), (5, 4), (6, 3), (7, 2), (8, 1), (6, 32), (32, 32)],
)
def test_whatever_has_been_learnt(weight_bits, act_bits, monkeypatch):
    """Scales and gains of either sign, any averages, sizes other than the book's."""
    members = [Member(weight_bits, act_bits, seed, dropout=0.1 * seed) for seed in (1, 2)]
    group = Network(members, inputs=21, classes=4, hidden=6)
    numbers = torch.Generator().manual_seed(weight_bits * 100 + act_bits)
    scales = group.sigma if 1 < act_bits < 32 else []  # the others' stay 1
    for tensor in (*group.gamma, *group.beta, *group.running_mean, *scales):
        tensor.copy_(torch.randn(tensor.shape, generator=numbers))
    for tensor in group.running_var:
        tensor.copy_(torch.rand(tensor.shape, generator=numbers) + 0.1)
    codes = torch.randint(0, 256, (40, 21), generator=numbers, dtype=torch.uint8)
    for index in (0, 1):
        same_in_double(group, index, codes, monkeypatch)
        model = to_brevitas(group, index)
        assert not model.training and model.drop_input.p == members[index].dropout
        assert {p.dtype for p in model.parameters()} == {torch.float32}


# QONNX


def executed(file, images: np.ndarray) -> np.ndarray:
    """Logits of qonnx's own executor, (N, C)."""
    model = ModelWrapper(str(file))
    if len(images) > 1:
        model = model.transform(ChangeBatchSize(len(images))).transform(InferShapes())
    return execute_onnx(model, {"global_in": images})["global_out"]


@pytest.mark.parametrize("member", [m for m in MEMBERS if m.weight_bits < 32], ids=str)
def test_qonnx_gives_the_same_classes(outcome, digits, member, tmp_path):
    group, index = outcome.network(member)
    file = export_qonnx(group, index, tmp_path / "network.onnx")
    images = digits.test.images
    with torch.no_grad():
        expected = to_brevitas(group, index)(images)
    ours = executed(file, images.numpy())
    assert np.array_equal(ours.argmax(1), expected.argmax(1).numpy())
    assert np.median(np.abs(ours - expected.numpy())) < 1e-5
    alone = executed(file, images[:1].numpy())  # the file as it is
    np.testing.assert_allclose(alone, ours[:1], rtol=0, atol=1e-5)


def bits(model: ModelWrapper, kind: str) -> list[int]:
    """Bit widths of the nodes that quantise what `kind` says: "weights", or what flows through."""
    found = []
    for node in model.graph.node:
        if node.op_type in ("Quant", "BipolarQuant"):
            stored = model.get_initializer(node.input[0]) is not None
            if stored == (kind == "weights"):
                one = node.op_type == "BipolarQuant"
                found.append(1 if one else int(model.get_initializer(node.input[3])))
    return found


@each_member
def test_qonnx_names_every_bit_width(outcome, member, tmp_path):
    file = export_qonnx(*outcome.network(member), str(tmp_path / "new" / "network.onnx"))
    assert file == tmp_path / "new" / "network.onnx"
    model = ModelWrapper(str(file))
    weights, acts = member.weight_bits, member.act_bits
    assert bits(model, "weights") == [weights] * (4 if weights < 32 else 0)
    assert bits(model, "activations") == ([8] + [acts] * 3 if acts < 32 else [])
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMul") == 4 and kinds.count("Clip") == (3 if acts == 32 else 0)
    assert model.get_tensor_shape("global_in") == [1, 1024]
    assert model.get_tensor_shape("global_out") == [1, 10]


def test_a_float_member_is_plain_onnx(outcome, digits, tmp_path):
    group, index = outcome.network(Member(32, 32))
    file = export_qonnx(group, index, tmp_path / "float.onnx")
    session = onnxruntime.InferenceSession(file)
    (ours,) = session.run(None, {"global_in": digits.test.images[7:8].numpy()})
    with torch.no_grad():
        expected = to_brevitas(group, index)(digits.test.images[7:8]).numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


# What is refused


@pytest.mark.parametrize("index", [-1, 2, True, 1.0, "0", None])
def test_an_index_out_of_range(index, tmp_path):
    group = Network([Member(2, 2), Member(2, 3)], inputs=9, classes=3, hidden=4)
    with pytest.raises(SweepError, match=r"^index must be a whole number from 0 to 1, .* not "):
        to_brevitas(group, index)
    with pytest.raises(SweepError, match="not " + repr(index)):
        export_qonnx(group, index, tmp_path / "network.onnx")


@pytest.mark.parametrize("what", ["weights", "gamma", "sigma", "running_mean", "running_var"])
def test_a_diverged_member_is_refused(what):
    group = Network([Member(2, 2), Member(2, 3)], inputs=9, classes=3, hidden=4)
    getattr(group, what)[1][1, 0] = float("nan")
    with pytest.raises(SweepError, match=r"^W2A3 seed 0 has .* not finite, .* diverged\.$"):
        to_brevitas(group, 1)
    to_brevitas(group, 0)  # the other member is whole


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    group = Network([Member(2, 2), Member(2, 3)], inputs=9, classes=3, hidden=4)
    file = export_qonnx(group, 0, tmp_path / "network.onnx")
    before = file.read_bytes()
    group.beta[1][1, 0] = float("inf")
    with pytest.raises(SweepError):
        export_qonnx(group, 1, file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
    group.beta[1][1, 0] = 0.5
    assert export_qonnx(group, 1, file).read_bytes() != before
    assert export_qonnx(group, 0, file).read_bytes() == before, "the same network, the same bytes"


def test_brevitas_compiled_cannot_export(monkeypatch, tmp_path):
    monkeypatch.setattr(brevitas.config, "JIT_ENABLED", True)
    group = Network([Member(2, 2)], inputs=9, classes=3, hidden=4)
    with pytest.raises(SweepError, match=r"^BREVITAS_JIT must be 0 "):
        export_qonnx(group, 0, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_the_sweep_imports_where_neither_brevitas_nor_onnx_is_installed():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('brevitas', 'onnx', 'onnxruntime', 'qonnx')))\n"
        "import qbench.sweep, qbench.sweep.export\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
