"""What a matrix-vector-threshold unit computes, in NumPy: whole numbers only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .unit import Integers, Layer, Unit, allowed, chain, whole_numbers


def compute(
    unit: Unit, weights: ArrayLike, thresholds: ArrayLike | None, vectors: ArrayLike
) -> Integers:
    """Outputs (n, mh) of `vectors` (n, mw).

    s = W·x, and out = (number of thresholds ≤ s) − 2^(out_bits − 1); at one bit −1 or +1; without
    thresholds s itself. Raises `SynthesisError` for weights, thresholds or activations that do not
    fit the unit.
    """
    return _outputs(Layer(unit, weights, thresholds), activations(unit, vectors))


def network(layers: Layer | Sequence[Layer], vectors: ArrayLike) -> Integers:
    """Outputs (n, mh of the last layer) of layers one behind the other; errors as `compute`."""
    layers = chain(layers)
    values = activations(layers[0].unit, vectors)
    for layer in layers:
        values = _outputs(layer, values)
    return values


def activations(unit: Unit, vectors: ArrayLike) -> Integers:
    """`vectors` (n, mw) as integers; raises `SynthesisError` unless the unit can take them."""
    values = whole_numbers("vectors", vectors, (None, unit.mw))
    sign = unit.act_bits == 1 and unit.act_signed
    allowed("activations", values, *unit.act_range, sign=sign)
    return values


def _outputs(layer: Layer, vectors: Integers) -> Integers:
    unit = layer.unit
    sums = vectors @ layer.weights.T
    if unit.out_bits is None:
        return sums
    pairs = zip(layer.thresholds, sums.T, strict=True)
    counts = np.stack([np.searchsorted(row, s, side="right") for row, s in pairs], axis=1)
    return 2 * counts - 1 if unit.out_bits == 1 else counts - 2 ** (unit.out_bits - 1)
