"""The state of a training on disk: written atomically, checked when read, never unpickled."""

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import torch

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
    """The state that `save` left; None where there is none, or where it has been damaged."""
    if file is None or not file.exists():
        return None
    written = file.read_bytes()
    digest, content = written[:32], written[32:]
    if hashlib.sha256(content).digest() != digest:
        print(f"{paths.shown(file)} is damaged: training begins again", file=sys.stderr)
        return None
    return torch.load(io.BytesIO(content), weights_only=True)
