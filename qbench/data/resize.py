"""Bilinear resizing of 8-bit images, with Pillow's results to the bit."""

from __future__ import annotations

import numpy as np

_BITS = 22  # Pillow's weights are whole multiples of 2**-22; sums of 255 times them fit in int32
_CHUNK = 256  # images at a time, so that what is in between stays in the processor's cache


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 images (N, C, H, W) resized to (N, C, size, size).

    Bilinear with half-pixel centres (torch's `align_corners=False`), and with a wider filter when
    shrinking (torch's `antialias=True`). First along rows, then along columns, each time rounded to
    8 bits, as Pillow's `Image.resize((size, size), BILINEAR)` does.
    """
    result = np.empty((*images.shape[:2], size, size), np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].astype(np.int32)
        result[start : start + _CHUNK] = _along(_along(chunk, 3, size), 2, size)
    return result


def _along(images: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Levels 0 to 255 (int32) resized along one axis."""
    if images.shape[axis] == size:
        return images
    shape = np.ones(images.ndim, int)
    shape[axis] = size
    total = np.array(1 << (_BITS - 1), np.int32)  # one half, to round
    for pixels, weights in zip(*_weights(images.shape[axis], size), strict=True):
        total = total + np.take(images, pixels, axis) * weights.reshape(shape)
    return total >> _BITS


def _weights(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Which old pixels make up each new one, and how much of each, in units of 2**-22.

    Two integer arrays (taps, new).
    """
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1.0)
    share = np.maximum(1 - distance, 0)
    share /= share.sum(1, keepdims=True)
    weights = np.floor(share * 2**_BITS + 0.5).astype(np.int32)
    taps = (weights > 0).sum(1).max()
    first = np.minimum((weights > 0).argmax(1), old - taps)
    pixels = first[:, None] + np.arange(taps)
    return pixels.T, np.take_along_axis(weights, pixels, 1).T
