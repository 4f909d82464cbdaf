"""Networks in PyTorch, eager or compiled, on the processor or a CUDA device, as `Runner`s."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from qbench.threads import same_after

from .backends import Backend, Classifier, Runner, pixels
from .errors import RuntimesError, whole

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AT_ONCE = 64
# A compiled network serves all batches, but is compiled for a number of threads.
_compiled: dict[tuple[nn.Module, str, str, int], nn.Module] = {}


def runner(
    backend: Backend, classifier: Classifier, *, batch: int, threads: int, seed: int
) -> Runner:
    """See `backends.opened`. On the processor bfloat16 is autocast: what has no bfloat16 stays
    float32. On a GPU weights and images are of the precision, and each run waits for its end.
    """
    model = classifier.model
    if model is None:
        raise RuntimesError(f"{backend.name} needs a module, and {classifier.name!r} has none.")
    shape = _image_shape(classifier)
    place, kind = torch.device(backend.device), TYPES[backend.precision]
    on_gpu = backend.device == "cuda"
    if on_gpu:
        import copy

        model = copy.deepcopy(model).to(place, kind)
    model = model.eval()
    if backend.runtime == "compiled":
        model = _compile(model, classifier, backend, threads)
    within = _within(backend)
    images = _given(pixels(shape, whole("batch", batch, 1), seed), place, kind if on_gpu else None)

    def once(x: Tensor) -> Tensor:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode(), within():
            found = model(x)
        if on_gpu:
            torch.cuda.synchronize(place)
        return found

    def logits(x: np.ndarray) -> np.ndarray:
        parts = [x[start : start + AT_ONCE] for start in range(0, len(x), AT_ONCE)]
        given = (_given(part, place, kind if on_gpu else None) for part in parts)
        with same_after():
            return torch.cat([once(part).float().cpu() for part in given]).numpy()

    return Runner(run=lambda: once(images), logits=logits, precision=backend.precision)


def _within(backend: Backend) -> Callable[[], AbstractContextManager]:
    if backend.device == "cpu" and backend.precision != "float32":
        return lambda: torch.autocast("cpu", TYPES[backend.precision])
    return nullcontext


def _given(images: np.ndarray, place: torch.device, kind: torch.dtype | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).to(place, kind)


def _compile(model: nn.Module, classifier: Classifier, backend: Backend, threads: int) -> nn.Module:
    key = (classifier.model, backend.precision, backend.device, threads)
    if key not in _compiled:
        _compiled[key] = torch.compile(model, dynamic=True)
    return _compiled[key]


def _image_shape(classifier: Classifier) -> tuple[int, ...]:
    """From the file, which says what the module does not."""
    from .onnx_runtime import image_shape

    return image_shape(classifier.onnx)
