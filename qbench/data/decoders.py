"""From a source's bytes to arrays: IDX, CIFAR archives, CIFAR as PNG, digits as CSV.

A decoder takes the contents of the files that `schema.DECODERS` names and the `Spec`, and returns
the spec's arrays: images uint8 (N, H, W) or (N, H, W, 3), labels little-endian int64 (N,). What
does not fit the format or the spec raises `Damaged`. Nothing in the input is trusted or executed.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from .errors import Damaged, reason
from .specs import Spec
from .unpickle import load_batch

Files = Mapping[str, tuple[bytes, ...]]
Arrays = dict[str, np.ndarray]

LABEL_TYPE = np.dtype("<i8")
HEADERS = 2**20  # bytes that an archive may have besides its files


def decode(decoder: str, files: Files, spec: Spec, progress: bool = False) -> Arrays:
    """Arrays of `spec` from `files`; `Damaged` where these are not what they should be.

    `progress` shows a bar on stderr.
    """
    from tqdm import tqdm

    total, title = sum(spec.counts.values()), f"decoding {spec.name}"
    with damage(), tqdm(total=total, desc=title, unit=" images", disable=not progress) as bar:
        arrays = _DECODERS[decoder](files, spec, bar.update)
    for name in spec.arrays:
        if arrays[name].shape != spec.shape(name):
            raise Damaged(f"holds {name} of shape {arrays[name].shape}, not {spec.shape(name)}")
        arrays[name] = np.ascontiguousarray(arrays[name])
    return {name: arrays[name] for name in spec.arrays}


@contextmanager
def damage() -> Iterator[None]:
    """Make `Damaged` of whatever a parser raises: on damaged input that can be nearly anything."""
    try:
        yield
    except (Damaged, ImportError):
        raise
    except Exception as error:
        raise Damaged(f"is truncated or damaged ({reason(error)})") from error


def parse_idx(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Array of unsigned bytes from an IDX file, gzipped or not, that must hold this shape.

    An IDX file is 00 00 08 and the number of dimensions; each dimension as a big-endian 32-bit
    number; then one byte an element, and nothing more.
    """
    magic = bytes([0, 0, 8, len(shape)])
    header = magic + b"".join(side.to_bytes(4, "big") for side in shape)
    length = len(header) + math.prod(shape)
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, length)
    if data[:4] != magic:
        raise Damaged(f"begins with {data[:4].hex()}, not the IDX magic number {magic.hex()}")
    if data[: len(header)] != header:
        raise Damaged(f"does not say that its shape is {shape}")
    if len(data) != length:
        raise Damaged(f"is {'shorter' if len(data) < length else 'longer'} than {length} bytes")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)


def read_members(archive: bytes, names: Iterable[str], limit: int) -> dict[str, bytes]:
    """Contents of the named members of a gzipped tar archive; nothing is written to disk.

    `Damaged` where one is missing, is not a plain file, or is larger than `limit` bytes, and where
    the archive unpacks to more than that for each of them and once more for all others.
    """
    wanted, found = set(names), {}
    unpacked = _Bounded(gzip.open(io.BytesIO(archive)), limit * (len(wanted) + 1) + HEADERS)
    with damage(), tarfile.open(fileobj=unpacked, mode="r:") as tar:
        while found.keys() != wanted:
            member = tar.next()
            if member is None:
                missing = ", ".join(sorted(wanted - found.keys()))
                raise Damaged(f"is truncated, or lacks {missing}")
            if member.name not in wanted:
                continue
            if not member.isreg() or member.size > limit:
                raise Damaged(f"holds {member.name}, but not as a file of {limit} bytes at most")
            content = tar.extractfile(member).read()
            if len(content) != member.size:
                raise Damaged(f"is truncated in {member.name}")
            found[member.name] = content
    return found


class _Bounded:
    """What `tarfile` reads from: a stream of which nothing beyond `limit` is ever unpacked."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self.stream, self.limit, self.tell = stream, limit, stream.tell

    def read(self, size: int) -> bytes:
        return self.stream.read(self._allowed(self.tell() + size) - self.tell())

    def seek(self, place: int) -> int:
        return self.stream.seek(self._allowed(place))

    def _allowed(self, place: int) -> int:
        if place > self.limit:
            raise Damaged(f"unpacks to more than {self.limit} bytes")
        return place


def _idx(files: Files, spec: Spec, done: Callable[[int], object]) -> Arrays:
    arrays = {}
    for name in spec.arrays:
        (content,) = files[name]
        arrays[name] = parse_idx(content, spec.shape(name))
        if name.endswith("labels"):
            arrays[name] = _labels(arrays[name].tolist(), spec)
            done(len(arrays[name]))
    return arrays


def _cifar_png(files: Files, spec: Spec, done: Callable[[int], object]) -> Arrays:
    """PNGs in which a row is one image: H*W RGB pixels; labels as JSON lists."""
    arrays = {}
    for part in spec.counts:
        images = []
        for content in files[f"{part}_images"]:
            images.append(_png_rows(content, spec))
            done(len(images[-1]))
        arrays[f"{part}_images"] = np.concatenate(images)
        labels = [json.loads(content) for content in files[f"{part}_labels"]]
        arrays[f"{part}_labels"] = _labels(sum(labels, []), spec)
    return arrays


def _png_rows(content: bytes, spec: Spec) -> np.ndarray:
    from PIL import Image

    height, width, channels = spec.image_shape
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        fits = picture.width == height * width and picture.height <= sum(spec.counts.values())
        if picture.mode != "RGB" or not fits:
            raise Damaged(f"holds a PNG that is not RGB with rows of {height * width} pixels")
        return np.asarray(picture).reshape(-1, height, width, channels)


def _cifar10_archive(files: Files, spec: Spec, done: Callable[[int], object]) -> Arrays:
    root = "cifar-10-batches-py"
    train = [f"{root}/data_batch_{number}" for number in range(1, 6)]
    parts = {"train": train, "test": [f"{root}/test_batch"]}
    return _cifar_batches(files, spec, done, parts, b"labels")


def _cifar100_archive(files: Files, spec: Spec, done: Callable[[int], object]) -> Arrays:
    root = "cifar-100-python"
    parts = {"train": [f"{root}/train"], "test": [f"{root}/test"]}
    return _cifar_batches(files, spec, done, parts, b"fine_labels")


def _cifar_batches(
    files: Files,
    spec: Spec,
    done: Callable[[int], object],
    parts: Mapping[str, list[str]],
    label_key: bytes,
) -> Arrays:
    """Batches are pickled dicts: b"data" is (N, 3*H*W), each channel's pixels together."""
    height, width, channels = spec.image_shape
    (archive,) = files["archive"]
    limit = 10**6 + sum(spec.counts.values()) * (channels * height * width + 200)
    members = read_members(archive, sum(parts.values(), []), limit)
    arrays = {}
    for part, names in parts.items():
        images, labels = [], []
        for name in names:
            batch = load_batch(members[name])
            pixels = batch[b"data"].reshape(-1, channels, height, width)
            images.append(pixels.transpose(0, 2, 3, 1))
            labels += batch[label_key]
            done(len(pixels))
        arrays[f"{part}_images"] = np.concatenate(images)
        arrays[f"{part}_labels"] = _labels(labels, spec)
    return arrays


def _digits_csv(files: Files, spec: Spec, done: Callable[[int], object]) -> Arrays:
    """Gzipped CSV, one image a row: its pixels, then its label."""
    (content,) = files["rows"]
    pixels = math.prod(spec.image_shape)
    text = _gunzip(content, spec.counts["train"] * (pixels + 1) * 30)
    if not text.strip():
        raise Damaged("holds no row")
    rows = np.loadtxt(io.BytesIO(text), delimiter=",", ndmin=2)
    if rows.shape[1] != pixels + 1 or not ((rows >= 0) & (rows <= 255) & (rows % 1 == 0)).all():
        raise Damaged(f"is not a table of {pixels} pixels and a label, each from 0 to 255")
    done(len(rows))
    levels = rows.astype(np.uint8)
    images = levels[:, :-1].reshape(-1, *spec.image_shape)
    return {"train_images": images, "train_labels": _labels(levels[:, -1].tolist(), spec)}


_DECODERS: Mapping[str, Callable[[Files, Spec, Callable[[int], object]], Arrays]] = {
    "idx": _idx,
    "cifar-png": _cifar_png,
    "cifar10-archive": _cifar10_archive,
    "cifar100-archive": _cifar100_archive,
    "digits-csv": _digits_csv,
}


def _labels(values: list, spec: Spec) -> np.ndarray:
    most = len(spec.classes) - 1
    if not all(type(value) is int and 0 <= value <= most for value in values):
        raise Damaged(f"holds labels other than whole numbers from 0 to {most}")
    return np.array(values, LABEL_TYPE)


def _gunzip(data: bytes, limit: int) -> bytes:
    """Unpacked bytes, at most one more than `limit` of them (so that a bomb stays small)."""
    with gzip.open(io.BytesIO(data)) as stream:
        return stream.read(limit + 1)
