"""The networks that chapter 07 chose, as files that a reader can take away.

`evolution_runs.final` stores them inside its result; here they become files again. None of them is
a pickle: an ONNX file is a protocol buffer, OpenVINO's IR is XML and a file of numbers.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qbench import store
from qbench.data import specs
from qbench.errors import UserError
from qbench.files import write_atomically
from qbench.runtimes import export

ABOUT = "networks.json"


class FilesError(UserError, ValueError):
    """Networks that cannot be written as files: what is wrong, and what would do."""


def take_away(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the networks of `evolution_runs.final` to `folder`; returns the files.

    Each is `NAME.onnx` and the IR `NAME.xml` with `NAME.bin`, where NAME is what the page calls it,
    in small letters, digits and hyphens: `best-compromise`. `networks.json` says what goes in
    (shape, scale of the pixels), what comes out (names of the classes), errors and latencies.
    Missing folders are made, files of these names are replaced, each as a whole. Raises
    `FilesError` for a table without files, as the device `macs` gives, and for names that cannot be
    told apart, and `store.StoreError` where nothing can be written.
    """
    if not {"onnx", "xml", "bin"} <= set(table.columns):
        raise FilesError(
            "the table must have the columns onnx, xml and bin, as that of `evolution_runs.final` "
            "has on every device but macs, which exports nothing."
        )
    rows = table.to_dict("records")
    names = [_file_name(row["name"]) for row in rows]
    if "" in names or len(set(names)) < len(names):
        listed = ", ".join(repr(row["name"]) for row in rows)
        raise FilesError(
            f"names must differ in their letters or digits, and these do not: {listed}."
        )
    folder, files = Path(folder), []
    with store.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, row in zip(names, rows, strict=True):
            # The .xml makes the pair a network: an old one goes first, a new one comes last.
            (folder / f"{name}.xml").unlink(missing_ok=True)
            for kind in ("onnx", "bin", "xml"):
                files.append(folder / f"{name}.{kind}")
                write_atomically(files[-1], row[kind])
        about = json.dumps(_about(names, rows), indent=1) + "\n"
        files.append(folder / ABOUT)
        write_atomically(files[-1], about.encode())
    return files


def _file_name(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _about(names: list[str], rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What `networks.json` says; one data set and one scale hold for all networks."""
    spec, shared = specs.find(rows[0]["dataset"]), rows[0]
    channels, height, width = _plain(shared["image_shape"])
    same = ("taught", "channels", "neurons", "parameters", "macs", "device")
    same += ("latency_ms", "lowest_ms", "highest_ms")
    return {
        "dataset": spec.name,
        "input": {
            "name": export.INPUT,
            "type": "float32",
            "shape": ["N", channels, height, width],
            "colours": ["red", "green", "blue"] if channels == 3 else ["grey"],
            "pixels": f"bilinearly resized to {height} x {width} where they are not, as levels "
            "from 0 to 1, minus `mean`, divided by `deviation`, a number each for every channel",
            "mean": _plain(shared["mean"]),
            "deviation": _plain(shared["deviation"]),
        },
        "output": {
            "name": export.OUTPUT,
            "type": "float32",
            "shape": ["N", len(spec.classes)],
            "classes": list(spec.classes),
        },
        "networks": [
            {"name": row["name"], "files": [f"{name}.{kind}" for kind in ("onnx", "xml", "bin")]}
            | {column: _plain(row[column]) for column in same}
            | {
                "test_error_percent": {
                    "PyTorch": row["test_error"],
                    "ONNX Runtime with the .onnx": row["onnx_error"],
                    f"OpenVINO on {row['device']} with the .xml": row["device_error"],
                }
            }
            for name, row in zip(names, rows, strict=True)
        ],
    }


def _plain(value: Any) -> Any:
    """What JSON can hold of a list that Parquet gave back as an array."""
    return np.asarray(value).tolist()
