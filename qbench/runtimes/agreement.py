"""Whether an exported file still is the network that was trained, judged by its logits."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from qbench import paths

from .errors import RuntimesError, library
from .export import evaluating
from .openvino import AT_ONCE, load, read, reason

# Relative error of rounding to a format once: half the distance of two numbers next to each other.
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
DRAWS, MARGIN = 3, 2.0  # `Agreement.allowed`


@dataclass(frozen=True)
class Agreement:
    """How far the logits of a file are from those of the model in PyTorch.

    `difference` is the largest absolute difference of two logits, `relative` the same as a share of
    the model's largest logit, `allowed` what rounding explains (see `agreement`). Of `images`
    images, `classes_differ` get another class. Accuracies are shares, None without labels.
    """

    difference: float
    relative: float
    allowed: float
    classes_differ: int
    images: int
    accuracy_model: float | None
    accuracy_file: float | None
    precision: str
    weights: str

    @property
    def ok(self) -> bool:
        """No logit differs by more than is allowed.

        Classes need no rule of their own: where logits differ by at most d, another class can only
        win where the two are closer than 2d, a tie within the rounding of the weights.
        """
        return self.difference <= self.allowed


def agreement(
    model: nn.Module,
    file: Path,
    images: Tensor,
    *,
    device: str = "CPU",
    labels: Tensor | None = None,
) -> Agreement:
    """Compare an ONNX file or an IR, run by OpenVINO on `device`, with `model` in PyTorch.

    `images` (N, ...) float32; a few hundred will do. How far rounding may move the logits depends
    on the network, so it is measured on `model`: every weight, bias and running mean w becomes
    w(1 ± u), signs drawn at random from a fixed seed. u is the largest relative error of the format
    that the file's weights are stored in or the device computes in, whichever is coarser (FP16
    2^-11, bfloat16 2^-8). In float32, where sums rather than weights are rounded, u is 2^-24 √n, n
    the most terms in a sum. `allowed` is twice the largest difference that three such draws make.
    Rounding to nearest moves a weight by 0.4 u in the root mean square, so what is rounded once
    needs about a fifth of that, and a file that needs more than all of it has something else wrong.

    Raises `RuntimesError` as `load` does, for no images and for labels of another length.
    """
    if not len(images):
        raise RuntimesError("images must hold at least one image, and is empty.")
    if labels is not None and len(labels) != len(images):
        raise RuntimesError(f"labels must be {len(images)}, one an image, not {len(labels)}.")
    network = load(file, device)
    theirs = network.logits(images.cpu().numpy())
    with evaluating(model):
        ours = _logits(model, {}, images)
        if ours.shape != theirs.shape:
            raise RuntimesError(
                f"{paths.shown(file)} gives {theirs.shape[1]} classes, the model {ours.shape[1]}."
            )
        unit = max(
            ROUNDING["float32"] * math.sqrt(_terms(model)),
            ROUNDING[network.weights],
            ROUNDING.get(network.precision, 0.0),
        )
        moved = max(_moved(model, images, ours, unit, seed) for seed in range(DRAWS))
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(ours).max())
    chosen, given = ours.argmax(1), theirs.argmax(1)
    truth = None if labels is None else labels.cpu().numpy()
    return Agreement(
        difference=difference,
        relative=difference / largest if largest else math.nan,
        allowed=MARGIN * moved,
        classes_differ=int((chosen != given).sum()),
        images=len(ours),
        accuracy_model=None if truth is None else float((chosen == truth).mean()),
        accuracy_file=None if truth is None else float((given == truth).mean()),
        precision=network.precision,
        weights=network.weights,
    )


def onnx_logits(file: Path, images: Tensor | np.ndarray) -> np.ndarray:
    """Logits (N, classes) of an ONNX file, run by ONNX Runtime on the CPU with one thread.

    Raises `RuntimesError` for a file that is missing or no network, and for images that it does not
    take.
    """
    runtime = library("onnxruntime")
    if Path(file).suffix == ".xml":
        raise RuntimesError(f"{paths.shown(file)} must be an ONNX file (.onnx).")
    read(file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an exception
    images = np.asarray(images)
    try:
        session = runtime.InferenceSession(
            Path(file).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        parts = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
        return np.concatenate([session.run(None, {name: part})[0] for part in parts])
    except Exception as error:  # its exceptions have no common class of their own
        raise RuntimesError(
            f"{paths.shown(file)} does not run with images of shape {images.shape}: "
            f"{reason(error)}."
        ) from error


def _logits(model: nn.Module, weights: dict[str, Tensor], images: Tensor) -> np.ndarray:
    """Of `model` with some of its weights replaced, (N, classes)."""
    place = next(model.parameters(), torch.empty(0)).device
    parts = (functional_call(model, weights, (p.to(place),)) for p in images.split(AT_ONCE))
    return torch.cat(list(parts)).cpu().numpy()


def _terms(model: nn.Module) -> int:
    """The most terms in a sum: inputs that one output of a layer is computed from."""
    return max((t[0].numel() for t in model.parameters() if t.ndim > 1), default=1)


def _moved(model: nn.Module, images: Tensor, ours: np.ndarray, unit: float, seed: int) -> float:
    """The largest change of a logit when every constant of the model moves by `unit` times itself.

    Variances stay: a file has one constant for a scale and the variance that it is divided by.
    """
    signs = torch.Generator().manual_seed(seed)
    moved = {}
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("running_var"):
            sign = torch.randint(0, 2, tensor.shape, generator=signs).mul_(2).sub_(1)
            moved[name] = tensor * (1 + unit * sign.to(tensor))
    return float(np.abs(_logits(model, moved, images) - ours).max())
