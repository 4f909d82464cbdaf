"""Curves of trainings for TensorBoard, written while they run, where a folder is named for them.

`qbench run … --tensorboard FOLDER`, or the environment variable `QBENCH_TENSORBOARD`, names it. A
training is one run there, called by its title and by the first digits of the key of its result
(`qbench results show` takes these); of several trained as one, each has a run of its own.
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from qbench.errors import UserError

VARIABLE = "QBENCH_TENSORBOARD"
KEY = 8  # digits
Row = Mapping[str, float | Sequence[float]]  # `epoch`, and what is drawn over it


class CurvesError(UserError, RuntimeError):
    """Curves are asked for that cannot be written."""


def check(folder: Path) -> Path:
    """`folder` as an absolute path; raises `CurvesError` where nothing can be written there."""
    _writer()
    folder = Path(folder).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise CurvesError(f"--tensorboard must be a folder that can be written, not {folder}.")
    return folder


@contextmanager
def of(title: str, checkpoint: Path | None = None) -> Iterator[Callable[[Row], None]]:
    """A function that draws the row of one epoch; without a folder it does nothing.

    A row's lists have an entry for each network trained as one. Numbers that are not finite are
    left out. `checkpoint` is the file of the training, in a folder that is named by its key: a
    training that goes on is drawn further in its own run.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        yield lambda row: None
        return
    name = re.sub(r"[^\w.+-]+", "_", title).strip("_")
    name += f"-{checkpoint.parent.name[:KEY]}" if checkpoint else ""
    make, writers = _writer(), {}
    with ExitStack() as closing:

        def draw(row: Row) -> None:
            for tag, values in row.items():
                if tag == "epoch":
                    continue
                many = isinstance(values, Sequence)
                for member, value in enumerate(values if many else [values], 1):
                    run = f"{name}/{member}" if many and len(values) > 1 else name
                    if run not in writers:
                        own = f".{time.time_ns()}"  # else one of the same second is replaced
                        writer = make(str(Path(folder, run)), filename_suffix=own)
                        writers[run] = closing.enter_context(writer)
                    if math.isfinite(value):
                        writers[run].add_scalar(tag, value, row["epoch"])
            for writer in writers.values():
                writer.flush()

        yield draw


def _writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        raise CurvesError(
            "--tensorboard needs tensorboardX, which is not installed: "
            "pip install 'qbench[tensorboard]' brings it."
        ) from None
    return SummaryWriter
