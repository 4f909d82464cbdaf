"""The state of a training on disk: written atomically, checked when read, never unpickled."""

import hashlib
import io
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from qbench import paths, store
from qbench.files import write_atomically


def save(file: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values behind their own SHA-256 digest.

    Raises `store.StoreError` when `file` cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    with store.writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, hashlib.sha256(content).digest() + content)


def load(file: Path | None) -> dict[str, Any] | None:
    """The state that `save` left; None where there is none, or where it has been damaged.

    Tensors and plain values only: whatever else a file asks for makes it a damaged one. So do
    parts that together are larger than their file, compressed or one in the place of another.
    """
    if file is None or not file.exists():
        return None
    written = file.read_bytes()
    digest, content = written[:32], written[32:]
    if hashlib.sha256(content).digest() == digest:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as parts:  # `torch.save` packs nothing
                packed = sum(one.file_size for one in parts.infolist()) > len(content)
            if not packed:
                return torch.load(io.BytesIO(content), weights_only=True)
        except MemoryError:
            raise
        except Exception:  # of a file that somebody else made, with a digest that is right
            pass
    print(f"{paths.shown(file)} is damaged: training begins again", file=sys.stderr)
    return None


def load_or_make(file: Path, make: Callable[[Path], object]) -> dict[str, Any]:
    """The state in `file`; where there is none, `make` is to save it there.

    `make` gets a folder to resume from, which is removed when it is done. Of several processes that
    ask at once, one makes it and the others wait.
    """
    found = load(file)
    if found is None:
        with store.writing(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            found = load(file)
            if found is None:
                work = file.with_suffix("")
                make(work)
                shutil.rmtree(work, ignore_errors=True)
                found = load(file)
    return found
