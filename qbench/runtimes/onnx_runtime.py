"""Networks in ONNX Runtime, on the processor or a CUDA device, as `Runner`s."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from qbench import paths

from .backends import Backend, Classifier, Runner, pixels
from .errors import RuntimesError, library
from .openvino import reason
from .outside import refuse_outside

AT_ONCE = 64
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def runner(
    backend: Backend, classifier: Classifier, *, batch: int, threads: int, seed: int
) -> Runner:
    """See `backends.opened`. Images and logits lie in memory that is bound once."""
    running = session(classifier.onnx, threads=threads, device=backend.device)
    images = pixels(image_shape(classifier.onnx), batch, seed)
    name, gives = running.get_inputs()[0].name, running.get_outputs()[0].name
    # From and to the processor's memory on a GPU too: that is what a caller has.
    binding = running.io_binding()
    binding.bind_cpu_input(name, images)
    binding.bind_output(gives, "cpu")

    def logits(x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, np.float32)
        parts = [x[start : start + AT_ONCE] for start in range(0, len(x), AT_ONCE)]
        return np.concatenate([running.run([gives], {name: part})[0] for part in parts])

    return Runner(
        run=lambda: running.run_with_iobinding(binding), logits=logits, precision=backend.precision
    )


def session(
    file: Path, *, threads: int = 1, device: str = "cpu", profile: Path | None = None
) -> Any:
    """An `InferenceSession` with so many threads; with `profile`, one that writes what its kernels
    took to files whose names begin so. Raises `RuntimesError` for a file that it does not take.
    """
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # Threads that wait by spinning would take the processor from whoever has the next turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    try:
        content = Path(file).read_bytes()
        refuse_outside(content, paths.shown(file))
        return runtime.InferenceSession(content, options, providers=[PROVIDERS[device]])
    except OSError as error:
        raise RuntimesError(f"{paths.shown(file)} cannot be read: {error.strerror}.") from None
    except RuntimesError:
        raise
    except Exception as error:  # its exceptions have no common class of their own
        raise RuntimesError(
            f"{paths.shown(file)} is no network that ONNX Runtime takes: {reason(error)}."
        ) from error


@lru_cache
def image_shape(file: Path) -> tuple[int, ...]:
    """Shape of one image, from the file's only input."""
    graph = library("onnx").load(file, load_external_data=False).graph
    stored = {one.name for one in graph.initializer}
    (given,) = [one for one in graph.input if one.name not in stored]
    return tuple(axis.dim_value for axis in given.type.tensor_type.shape.dim[1:])
