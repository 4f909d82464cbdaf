"""Bilinear resizing of 8-bit images, with Pillow's results to the bit."""

from __future__ import annotations

import numpy as np

_BITS = 22  # Pillow's weights are whole multiples of 2**-22
_CHUNK = 256  # images at a time, so that the float64 in between stay in the processor's cache


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 images (N, C, H, W) resized to (N, C, size, size).

    Bilinear with half-pixel centres (torch's `align_corners=False`), and with a wider filter when
    shrinking (torch's `antialias=True`). Rows, then columns, each pass rounded to 8 bits, as
    Pillow's `Image.resize((size, size), BILINEAR)` does.
    """
    count, channels, height, width = images.shape
    if (height, width) == (size, size):
        return images
    across, down = _weights(width, size), _weights(height, size)
    result = np.empty((count, channels, size, size), np.uint8)
    for start in range(0, count, _CHUNK):
        chunk = images[start : start + _CHUNK].astype(np.float64)
        wide = chunk if width == size else _round(chunk @ across.T)
        tall = wide if height == size else _round(down @ wide)
        result[start : start + _CHUNK] = tall
    return result


def _weights(old: int, new: int) -> np.ndarray:
    """(new, old): how much of each old pixel is in each new one, in units of 2**-22."""
    scale = old / new
    reach = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(1 - distance, 0)
    weights /= weights.sum(1, keepdims=True)
    return np.floor(weights * 2**_BITS + 0.5)


def _round(sums: np.ndarray) -> np.ndarray:
    """Levels from 0 to 255, in place. The sums are whole numbers below 2**53, so this is exact."""
    sums += 2 ** (_BITS - 1)
    sums *= 2.0**-_BITS
    return np.floor(sums, out=sums)
