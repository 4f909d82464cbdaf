"""The networks that chapter 14 times: DenseNets in both forms and at 8 bits, as files.

Trained as chapter 09 trains them, with its stored trainings; or with new weights, whose batch norms
have seen images: speed does not depend on weights, accuracy does.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qbench import threads
from qbench.models import convolutional, fusion
from qbench.parameters import DenseNetQkd
from qbench.qkd import export, runs
from qbench.qkd.networks import Bits, Single, calibrate, signed_inputs
from qbench.quantizers.networks import Quantised
from qbench.quantizers.ranges import Learnt
from qbench.runtimes import Classifier, integer, machine, to_onnx

from .qkd_densenets import MODIFIED, Plans

FORMS = {"original": "", "modified": MODIFIED}
OURS, STATIC = "8 bits", "8 bits, all tensors"
ROUNDED = {
    OURS: "the input of each layer and its weights, by the learnt intervals of chapter 9",
    STATIC: "every tensor and the weights, by ONNX Runtime's static quantisation",
}
NARROW = 7  # bits of weights where sums of products are cut off at 16 bits
SEEN = 3  # batches of images that an untrained network's batch norms see


@dataclass(frozen=True)
class Plan:
    """Which network, and how its weights came about.

    `network` as `models.convolutional` has it, such as `densenet21`; `share` of chapter 09's
    epochs, 0 for new weights; `images` to train on (None: all); `calibrated`, training images
    that quantisers see.
    """

    network: str
    dataset: str
    forms: tuple[str, ...] = ("original", "modified")
    share: float = 0.0
    images: int | None = None
    augment: bool = False
    calibrated: int = 256

    @property
    def trained(self) -> bool:
        return self.share > 0

    def training(self, form: str) -> dict[str, Any]:
        """Parameters of `runs.study`, those of chapter 09's float32 network."""
        p = DenseNetQkd(
            dataset=self.dataset, images=self.images, share=self.share, augment=self.augment
        )
        return Plans(p, 0).float32(self.network + FORMS[form])


def plan(values: Mapping[str, Any]) -> Plan:
    """A `Plan` of what JSON holds of one."""
    return Plan(**{**values, "forms": tuple(values["forms"])})


@lru_cache(maxsize=4)
def pictures(dataset: str) -> Any:
    """All images of a data set, 32×32 and standardised."""
    return runs.load(dataset, "densenet21", None)


@lru_cache(maxsize=4)
def network(one: Plan, form: str) -> nn.Module:
    """A form of the network in float32, in evaluation mode."""
    if one.trained:
        model = runs.network_of(one.training(form)).network()
    else:
        shown = _shown(one)
        with threads.at_most(1), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            classes = len(pictures(one.dataset).classes)
            model = convolutional.build(
                one.network + FORMS[form], classes, inputs=shown.shape[1]
            ).train()
            with torch.no_grad():
                for part in shown.split(64)[:SEEN]:
                    model(part)
    return model.to(memory_format=torch.contiguous_format).eval()


def classifiers(one: Plan) -> list[Classifier]:
    """Each form in float32, and the last one rounded, as files that last as long as the process."""
    return _files(one)[1]


@lru_cache(maxsize=8)
def _files(one: Plan) -> tuple[tempfile.TemporaryDirectory, list[Classifier]]:
    folder = tempfile.TemporaryDirectory(prefix="qbench-")
    place, made, shown = Path(folder.name), [], _shown(one)
    for form in one.forms:
        model = network(one, form)
        made.append(Classifier(form, to_onnx(model, shown[:1], place / f"{form}.onnx"), model))
    for kind in ROUNDED:
        made.append(Classifier(kind, _eight_bits(one, kind, shown, place), integer=True))
    return folder, made


def _eight_bits(one: Plan, kind: str, shown: Tensor, place: Path) -> Path:
    """The last form, batch norms fused where they can be, at 8 bits."""
    with threads.at_most(1):
        fused = fusion.fuse(network(one, one.forms[-1]), partly=True)
        file = place / f"{list(ROUNDED).index(kind)}.onnx"
        if kind == STATIC:
            whole = to_onnx(fused, shown[:1], place / "fused.onnx")
            return integer.to_int8(whole, shown.numpy(), file)
        # Intervals have no zero point but 0, without which there are no kernels of integers.
        bits = Bits(8 if machine.sums_integers() else NARROW, 8, "learnt", per_channel=True)
        single = Single(fused, bits, signed_inputs(fused, shown))
        calibrate(single, shown[None])
        if bits.weights == NARROW:
            _widen(single)
        return integer.with_signed_weights(export.to_onnx(single.network(), shown, file))


@torch.no_grad()
def _widen(single: Single) -> None:
    """Weights of 7 bits on the same grid as codes of 8 bits, which files have a type for."""
    for module in single.modules():
        if isinstance(module, Quantised):
            narrow = module.weights
            module.layer.weight.copy_(narrow(module.layer.weight))
            wide = Learnt(8, narrow.groups, signed=True).eval()
            wide.interval.copy_(narrow.interval.abs() * wide.highest / narrow.highest)
            wide.seen.fill_(True)
            module.weights = wide


def _shown(one: Plan) -> Tensor:
    return pictures(one.dataset).train.images[: one.calibrated]
