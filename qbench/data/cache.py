"""The cache of decoded arrays, checked against their digests whenever they are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .decoders import LABEL_TYPE, Arrays
from .errors import DataError, reason
from .filling import RECORD, digest, fill
from .sources import label
from .specs import Spec, all_specs, find

if TYPE_CHECKING:
    import pandas as pd


def get(name: str, progress: bool = True, force: bool = False) -> Path:
    """Fetch a data set into the cache where it is not there yet; the directory it is in.

    What is there already is checked, unless `force` has it fetched anew. `progress` shows downloads
    and decoding on stderr.

    Raises `ValueError` for an unknown name, `DataError` where no source can give the data set, the
    cache cannot be written, or what is there is not what it should be.
    """
    spec = find(name)
    if force:
        fill(spec, progress, force)
    arrays(spec, progress)
    return spec.directory


def verify(name: str) -> pd.DataFrame:
    """Hash the cached arrays of a data set again.

    One row an array: array, shape, sha256, stated_in (where the digest that it equals is written),
    file. Raises `ValueError` for an unknown name, `DataError` where the data set is not in the
    cache or an array differs from its digest.
    """
    import pandas as pd

    spec = find(name)
    if not spec.directory.is_dir():
        raise DataError(f"{name} is not in {spec.home}: run `qbench data get {name}`.")
    rows = [
        {
            "array": array,
            "shape": values.shape,
            "sha256": digest(values),
            "stated_in": "datasets.yml" if spec.sha256 else RECORD,
            "file": str(_path(spec, array)),
        }
        for array, values in _read(spec).items()
    ]
    return pd.DataFrame(rows)


def catalogue() -> pd.DataFrame:
    """Every data set that `load` knows, a row each.

    Columns: name, title, images (in all), classes (how many), sources (in the order tried),
    download_mb (the first download in that order; 0 where nothing is downloaded), cached (its files
    are there; they are not hashed), where (its directory in the cache).
    """
    import pandas as pd

    rows = [
        {
            "name": spec.name,
            "title": spec.title,
            "images": sum(spec.counts.values()),
            "classes": len(spec.classes),
            "sources": ", ".join(map(label, spec.sources)),
            "download_mb": next((s.size_mb for s in spec.sources if s.size_mb), 0),
            "cached": all(_path(spec, array).is_file() for array in spec.arrays),
            "where": str(spec.directory),
        }
        for spec in all_specs().values()
    ]
    return pd.DataFrame(rows)


def arrays(spec: Spec, progress: bool = True) -> Arrays:
    """The checked arrays of a data set, fetched into the cache first where it is not there yet.

    Images uint8 (N, H, W) or (N, H, W, 3), labels int64 (N,). Raises `DataError`.
    """
    if not spec.directory.is_dir():
        fill(spec, progress)
    return _read(spec)


def _read(spec: Spec) -> Arrays:
    digests = spec.sha256 or _recorded(spec)
    return {array: _read_array(spec, array, digests[array]) for array in spec.arrays}


def _read_array(spec: Spec, array: str, expected: str) -> np.ndarray:
    """One array from its file. What is hashed is what is returned: no second look at the file."""
    path, shape = _path(spec, array), spec.shape(array)
    dtype = LABEL_TYPE if array.endswith("labels") else np.dtype(np.uint8)
    again = f"run `qbench data get {spec.name} --force`"
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of the format")
            if np.lib.format.read_array_header_1_0(file) != (shape, False, dtype):
                raise ValueError("another shape or type")
            values = np.fromfile(file, dtype, math.prod(shape))
            if values.size != math.prod(shape) or file.read(1):
                raise ValueError("another length")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: {again}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason(error)}): {again}.") from error
    except Exception as error:  # a damaged header can raise nearly anything
        raise DataError(f"{path} is damaged ({reason(error)}): {again}.") from error
    if digest(values) != expected:
        raise DataError(f"{path} is damaged (its SHA-256 is not {expected[:12]}…): {again}.")
    return values.reshape(shape)


def _recorded(spec: Spec) -> dict[str, str]:
    path = spec.directory / RECORD
    try:
        digests = json.loads(path.read_text("utf-8"))
        return {array: str(digests[array]) for array in spec.arrays}
    except (OSError, ValueError, LookupError, TypeError) as error:
        again = f"run `qbench data get {spec.name} --force`"
        raise DataError(f"{path} is missing or damaged: {again}.") from error


def _path(spec: Spec, array: str) -> Path:
    return spec.directory / f"{array}.npy"
