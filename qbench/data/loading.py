"""From cached arrays to tensors: division into parts, resizing, scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import cache
from .errors import DataError
from .specs import Spec, find

if TYPE_CHECKING:
    import torch

NORMALISATIONS = ("unit", "signed", "standard")
SIZES = range(8, 65)
DIVISION_SEED = 2021  # of the division into train and valid: fixed, so that results compare


@dataclass(frozen=True, eq=False)
class Split:
    """Images, float32 (N, C, H, W) or (N, C*H*W), and their labels, int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: its name, the names of its classes (by label) and its three parts.

    `mean` and `deviation`, one number a channel, are what was subtracted from pixels between 0 and
    1, and what they were divided by then.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    valid: Split
    test: Split
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


def load(
    name: str,
    *,
    size: int | None = None,
    flatten: bool = False,
    normalise: str = "unit",
    subset: int | None = None,
) -> Dataset:
    """A data set as tensors; fetched into the cache first where it is not there yet.

    name: mnist5k, mnist, fashion-mnist, cifar10 or cifar100 (see `catalogue`).
    size: height and width in pixels, 8 to 64; None keeps the original 28 or 32. Resizing is
        bilinear with half-pixel centres and gives 8-bit levels, by Pillow's `resize` with
        `BILINEAR` (so 32 makes the 32x32 digits of Ducasse et al. 2021).
    flatten: images (N, C*H*W), channels first, instead of (N, C, H, W).
    normalise: "unit" gives pixels in [0, 1]; "signed" in [-1, 1]; "standard" subtracts the mean of
        the training part and divides by its standard deviation, for each channel. These two are
        computed in float64 from the whole training part, after resizing, so that they do not
        depend on `subset`.
    subset: keep only the first so many training images; valid and test stay whole.

    The training images of the source are shuffled by a fixed permutation (PCG64) and divided: the
    last are `valid` (10,000 of them; 500 in mnist5k). In mnist5k, which has no test images, `test`
    is divided off too, and each class has the same count in every part. `train` is in the order of
    that permutation, the same at every call and on every platform; `epoch_order` shuffles it anew.

    Raises `ValueError` for an unknown name or an impossible argument, before anything is fetched,
    and `DataError` where the data set cannot be had or what is in the cache is not what it was.
    """
    spec = find(name)
    _check(spec, size, flatten, normalise, subset)
    parts = _divide(spec, cache.arrays(spec))
    parts = {part: (_channels(images, size), labels) for part, (images, labels) in parts.items()}
    mean, deviation = _scale(parts["train"][0], normalise)
    table = _levels(mean, deviation)
    parts["train"] = tuple(array[:subset] for array in parts["train"])
    splits = {part: _split(*arrays, table, flatten) for part, arrays in parts.items()}
    return Dataset(name, spec.classes, **splits, mean=mean, deviation=deviation)


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Order in which an epoch visits n training images: int64 (n,), a permutation of range(n).

    It depends on n, seed and epoch alone, and is the same on every platform and with every version
    of NumPy: the images are sorted by n raw numbers of the Philox generator with the key (seed,
    epoch). Raises `ValueError` for an argument that is no whole number, negative or too large.
    """
    for what, value, bits in (("n", n, 32), ("seed", seed, 64), ("epoch", epoch, 64)):
        if not _whole(value) or not 0 <= value < 2**bits:
            limit = f"from 0 to 2**{bits} - 1"
            raise ValueError(f"{what} must be a whole number {limit}, not {value!r}.")
    key = np.array([seed, epoch], np.uint64)
    return _sorted_by(np.random.Philox(key=key), int(n))


def _sorted_by(bits: np.random.BitGenerator, n: int) -> np.ndarray:
    # Generator.permutation may change between versions of NumPy; the raw numbers may not.
    return np.argsort(bits.random_raw(n), kind="stable").astype(np.int64)


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check(spec: Spec, size: object, flatten: object, normalise: object, subset: object) -> None:
    if size is not None and (not _whole(size) or size not in SIZES):
        raise ValueError(
            f"size must be None or a whole number from {SIZES[0]} to {SIZES[-1]}, not {size!r}."
        )
    if not isinstance(flatten, bool):
        raise ValueError(f"flatten must be True or False, not {flatten!r}.")
    if normalise not in NORMALISATIONS:
        names = ", ".join(map(repr, NORMALISATIONS))
        raise ValueError(f"normalise must be one of {names}, not {normalise!r}.")
    most = spec.split["train"]
    if subset is not None and (not _whole(subset) or not 1 <= subset <= most):
        raise ValueError(
            f"subset must be None or a whole number from 1 to {most} for {spec.name}, "
            f"not {subset!r}."
        )


def _divide(spec: Spec, arrays: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of train, valid and test."""
    images, labels = arrays["train_images"], arrays["train_labels"]
    order = _sorted_by(np.random.PCG64(DIVISION_SEED), len(labels))
    place = np.arange(len(order))  # place of each image of `order` in what is divided
    total = len(order)
    if spec.stratified:  # divide every class by itself
        total = len(order) // len(spec.classes)
        for label, name in enumerate(spec.classes):
            of_class = labels[order] == label
            if of_class.sum() != total:
                raise DataError(f"{spec.name} must have {total} images of the class {name!r}.")
            place[of_class] = np.arange(total)
    parts, begin = {}, 0
    for part, size in spec.split.items():
        if part in spec.counts and part != "train":
            parts[part] = (arrays[f"{part}_images"], arrays[f"{part}_labels"])
        else:
            end = begin + size * total // len(order)
            chosen = order[(begin <= place) & (place < end)]
            parts[part] = (images[chosen], labels[chosen])
            begin = end
    return parts


def _channels(images: np.ndarray, size: int | None) -> np.ndarray:
    """uint8 (N, C, H, W), resized."""
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    if size is None or images.shape[-2:] == (size, size):
        return images
    return resize(images, int(size))


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 images (N, C, H, W) as Pillow resizes them, bilinear: (N, C, size, size)."""
    from PIL import Image

    resized = np.empty((*images.shape[:2], size, size), np.uint8)
    for number, image in enumerate(images):
        for channel, plane in enumerate(image):
            smooth = Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)
            resized[number, channel] = smooth
    return resized


def _scale(images: np.ndarray, normalise: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`Dataset.mean` and `Dataset.deviation`; the deviation of pixels all alike counts as 1."""
    channels = range(images.shape[1])
    if normalise == "standard":
        moments = [_moments(images[:, channel]) for channel in channels]
    else:
        moments = [(0.0, 1.0) if normalise == "unit" else (0.5, 0.5) for _ in channels]
    mean, deviation = zip(*moments, strict=True)
    return mean, tuple(one or 1.0 for one in deviation)


def _levels(mean: tuple[float, ...], deviation: tuple[float, ...]) -> np.ndarray:
    """What each of the 256 levels of a pixel becomes: float32 (C, 256)."""
    levels = np.arange(256) / 255
    scales = zip(mean, deviation, strict=True)
    return np.stack([(levels - middle) / width for middle, width in scales]).astype(np.float32)


def _moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of uint8 images, on the scale from 0 to 1; the sums are exact."""
    total, squares = 0, 0
    for start in range(0, len(images), 1024):
        levels = images[start : start + 1024]
        total += int(levels.sum(dtype=np.uint64))
        squares += int(np.square(levels, dtype=np.uint32).sum(dtype=np.uint64))
    count = images.size
    variance = (count * squares - total**2) / count**2
    return total / count / 255, math.sqrt(variance) / 255


def _split(images: np.ndarray, labels: np.ndarray, table: np.ndarray, flatten: bool) -> Split:
    import torch

    scaled = np.empty(images.shape, np.float32)
    for channel, levels in enumerate(table):
        np.take(levels, images[:, channel], out=scaled[:, channel], mode="clip")
    if flatten:
        scaled = scaled.reshape(len(scaled), -1)
    return Split(torch.from_numpy(scaled), torch.from_numpy(labels.astype(np.int64)))
