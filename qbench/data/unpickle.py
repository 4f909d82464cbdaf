"""Read the pickled batches of the CIFAR archives without trusting them.

A pickle can name any function and have it called. This reader knows only the names of NumPy's array
reconstruction, and puts harmless stand-ins of its own in their place; any other name is refused.
So a pickle can yield only dicts, lists, tuples, bytes, text, numbers and arrays of unsigned bytes.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from .errors import Damaged


class _Dtype:
    """Stands in for `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Ignore byte order and the like: for single bytes they mean nothing."""


class _Array:
    """Stands in for `numpy.ndarray`; `array` is made from the pickle's state, and checked."""

    array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", b"u1"):
            raise Damaged("holds an array of something other than unsigned bytes")
        if not isinstance(data, bytes):
            raise Damaged("holds an array that is not stored as bytes")
        array = np.frombuffer(data, np.uint8)
        self.array = array.reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise Damaged(f"asks for {module}.{name}, which no image archive needs")
        return _KNOWN[module, name]


def load_batch(data: bytes) -> dict[bytes, Any]:
    """The dict in a pickled batch, with its arrays as uint8 ndarrays.

    `Damaged` for a pickle that is truncated, that asks for anything but an array's reconstruction,
    or that holds something other than a dict.
    """
    try:
        batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Damaged:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise Damaged(f"holds a damaged pickle ({type(error).__name__})") from error
    if not isinstance(batch, dict):
        raise Damaged("holds a pickle of something other than a dict")
    return {key: v.array if isinstance(v, _Array) else v for key, v in batch.items()}
