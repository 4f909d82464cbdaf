"""What the scaling factors of binary and ternary weights cost: Faraone 2021, Table 5.6."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import HardwareError
from .mvtu import one_of, single

GRANULARITIES = ("layer", "row", "pixel", "asymmetric", "grouping", "channel")
GROUP = 4  # filters that share their factors in FGQ


@dataclass(frozen=True)
class Scaling:
    """For one layer and one image: `scalars` stored and what Table 5.6 calls `operations`.

    `multiplications` and `additions` count as section 5.7.2 does: `low_precision` of the
    multiplications have a code as one factor, and the rest multiply a sum by its scale.
    """

    scalars: int
    operations: int
    multiplications: int
    additions: int
    low_precision: int


def cost(granularity: str, kernel: int, inputs: int, outputs: int, size: int) -> Scaling:
    """The scaling of a K × K convolution from I to N maps whose output has `size`² pixels.

    P = K²·I·N·size² operations, and for "asymmetric" (TTQ) a branch for each of the Z = K²·I·N
    weights besides. Factors: 1 for "layer" (DoReFa), K for "row" and K² for "pixel" (SYQ), 2 for
    "asymmetric", K²·N/4 for "grouping" (FGQ), N for "channel" (HWGQ, BWN).

    Each of the N·size² dot products of length L = K²·I takes L multiplications by codes and L − 1
    additions, and with several factors one more multiplication for each of them: section 5.7.2 says
    so of "pixel" (L + K²) and "layer" (L: a single factor goes into the thresholds that follow);
    "row" (L + K), "asymmetric" (L + 2), "grouping" (L + K²) and "channel" (L) follow from it.

    Raises `HardwareError` for sizes below 1, an unknown granularity, or "grouping" where 4 does not
    divide N.
    """
    one_of("granularity", granularity, GRANULARITIES)
    kernel, inputs = single("kernel", kernel), single("inputs", inputs)
    outputs, size = single("outputs", outputs), single("size", size)
    if granularity == "grouping" and outputs % GROUP:
        raise HardwareError(f"outputs must be a multiple of {GROUP} for grouping, not {outputs}.")
    length = kernel**2 * inputs
    weights, dots = length * outputs, outputs * size**2
    scalars, scalings = {
        "layer": (1, 0),
        "row": (kernel, kernel),
        "pixel": (kernel**2, kernel**2),
        "asymmetric": (2, 2),
        "grouping": (kernel**2 * outputs // GROUP, kernel**2),
        "channel": (outputs, 0),
    }[granularity]
    return Scaling(
        scalars=scalars,
        operations=dots * length + (weights if granularity == "asymmetric" else 0),
        multiplications=dots * (length + scalings),
        additions=dots * (length - 1),
        low_precision=dots * length,
    )
