"""Weights from a codebook of whole numbers, with one learnt scale a layer, as AddNet has them.

Faraone 2021, section 6.5.2. `Codebook` rounds the weights of a layer of any shape and goes into
`networks.Quantised`. What the codebook holds is free: the coefficients that a multiplier made of
adders can have, or all integers of a few bits (`uniform`), which is the fixed point that the thesis
compares them with; one class and one recipe for both.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .errors import QuantiserError
from .formats import integer_range
from .straight_through import with_slopes
from .syq import one_of

LARGEST = 2**15 - 1  # magnitude of a coefficient; the table of `Codebook` is eight times as long
GRADIENTS = ("clipped", "codes")
TINY = torch.finfo(torch.float32).eps

Gradient = Literal["clipped", "codes"]


class Codebook(nn.Module):
    """q(w) = λ · c with the coefficient c nearest to w / λ: Faraone 2021, eqs. 6.3 and 6.4.

    `coefficients` as `checked` takes them; `weight` is the layer's at the start. Equation 6.3 looks
    for the coefficient nearest to |w| and forgets the sign, which is kept here; of two that are as
    near, the one nearer to 0 is taken. What is learnt is M, the greatest weight that there can be,
    which starts as the range max |w| of the weights; λ = M / max |c| follows. Steps of an optimiser
    such as Adam are as long as its learning rate, whatever they change, and would throw a λ of 1e-4
    across 0. Weights beyond ±M become ±M, which is the clipping that section 6.5.2 begins with.

    Backwards, with g the gradient by what comes out; Algorithm 5 names a gradient by λ and prints
    none:
    - "clipped": what section 6.5.2 does, differentiated, with the derivative of rounding taken as
      1: λ · round(clip(w / λ)). To the weights g within ±M, eq. 6.4, and 0 beyond; to λ
      Σ g · (c − w / λ) within ±M and Σ g · c beyond;
    - "codes": eq. 6.4 for all weights, and Σ g · c to λ, as if the codes stayed what they are:
      what differentiating λ · c gives, and the scales of chapter 5 get. In trials, networks learnt
      less with it.

    Raises `QuantiserError` for a codebook, a gradient or a tensor that cannot be.
    """

    table: Tensor

    def __init__(
        self,
        weight: Tensor,
        coefficients: ArrayLike,
        *,
        gradient: Gradient = "clipped",
    ) -> None:
        super().__init__()
        self.coefficients = checked(coefficients)
        self.gradient = one_of("gradient", gradient, GRADIENTS)
        if not weight.numel() or not weight.is_floating_point():
            raise QuantiserError(
                f"weight must be a float tensor with numbers in it, not {weight.dtype} of shape "
                f"{tuple(weight.shape)}."
            )
        self.most = max(abs(self.coefficients[0]), self.coefficients[-1])
        self.ends = 4 * self.coefficients[0], 4 * self.coefficients[-1]
        self.register_buffer("table", _nearest(self.coefficients), persistent=False)
        self.scale = nn.Parameter(weight.detach().abs().max().reshape(1))

    @property
    def unit(self) -> Tensor:
        """λ, (1,): the weight of coefficient 1, above 0; without its gradient."""
        return self.scale.detach().abs().clamp_min(TINY) / self.most

    @property
    def index_bits(self) -> int:
        """Bits that choose a coefficient: what a weight takes in memory (section 6.6.4)."""
        return index_bits(self.coefficients)

    def codes(self, weight: Tensor) -> Tensor:
        """The coefficient of each weight, in the weights' type and layout."""
        return self._rounded(weight)[0]

    def forward(self, weight: Tensor) -> Tensor:
        codes, steps, inside = self._rounded(weight)
        # The gradient by M: that by λ over max |c|, and the other way round should M be negative
        turn = torch.sign(self.scale.detach()) / self.most
        if self.gradient == "codes":
            by_weight, by_scale = weight.new_ones(()), codes * turn
        else:
            by_weight = inside
            by_scale = steps.mul_(inside).neg_().add_(codes).mul_(turn)
        return with_slopes(codes.mul_(self.unit), (weight, by_weight), (self.scale, by_scale))

    @torch.no_grad()
    def _rounded(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients, w / λ, and 1 where that is not beyond their ends, else 0.

        Midpoints of neighbours are multiples of a half: between two of these all weights have the
        same coefficient, and it is looked up by floor + ceiling of the number of halves, which is
        even at a multiple and odd between two. What can be is written over what is no longer
        needed: to get new memory takes longer than to calculate.
        """
        steps = weight / self.unit
        halves = steps * 2
        cells = halves.floor()
        cells += halves.ceil_()
        kept = torch.clamp(cells, *self.ends, out=halves)
        inside = torch.eq(cells, kept, out=cells)  # as numbers: products are quicker
        places = kept.nan_to_num_(0).sub_(self.ends[0]).to(torch.int32)  # NaN is no place
        found = torch.empty_like(steps)
        # Both are dense and in one layout, whichever that is: as they lie in memory, in a row
        row = (steps.numel(),), (1,)
        table, places = self.table.to(steps.dtype), places.as_strided(*row)
        torch.index_select(table, 0, places, out=found.as_strided(*row))
        return found, steps, inside


def checked(coefficients: ArrayLike) -> tuple[int, ...]:
    """A codebook, if it is one: whole numbers in ascending order, 0 among them, 2 of them at least.

    The thesis chooses only sets that include 0 (section 6.5.1). Magnitudes are at most 2**15 − 1.
    Raises `QuantiserError`.
    """
    try:
        found = np.asarray(coefficients)
    except ValueError:  # rows of several lengths
        found = np.empty((0, 0))
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise QuantiserError(f"a codebook must be whole numbers in a row, not {coefficients!r}.")
    if len(found) < 2:
        raise QuantiserError(
            f"a codebook must have at least 2 coefficients, not {len(found)}: with one all "
            "weights would be the same."
        )
    if (np.diff(found.astype(object)) <= 0).any():
        raise QuantiserError("a codebook must be in ascending order, each coefficient once.")
    if max(-int(found[0]), int(found[-1])) > LARGEST:
        raise QuantiserError(
            f"a codebook must have coefficients from {-LARGEST} to {LARGEST}, and this one has "
            f"{int(found[0])} to {int(found[-1])}."
        )
    if 0 not in found:
        raise QuantiserError(
            "a codebook must include 0, and the coefficient nearest to it is "
            f"{int(found[np.abs(found.astype(np.int64)).argmin()])}."
        )
    return tuple(int(one) for one in found)


def uniform(bits: int) -> tuple[int, ...]:
    """All integers of `bits` bits but the most negative one: 2ⁿ − 1 levels, symmetric around 0.

    Raises `QuantiserError` unless bits is a whole number from 2 to 8.
    """
    if not isinstance(bits, int) or isinstance(bits, bool) or not 2 <= bits <= 8:
        raise QuantiserError(f"bits must be a whole number from 2 to 8, not {bits!r}.")
    lowest, highest = integer_range(bits, narrow=True)
    return tuple(range(lowest, highest + 1))


def index_bits(coefficients: Sequence[int]) -> int:
    """Bits that choose one of these coefficients."""
    return (len(coefficients) - 1).bit_length()


def _nearest(coefficients: tuple[int, ...]) -> Tensor:
    """The nearest coefficient to c₀, c₀ + ¼, …, cₙ, of two the one nearer to 0; float32."""
    found = torch.tensor(coefficients)
    fours = torch.arange(4 * coefficients[0], 4 * coefficients[-1] + 1)
    middles = 2 * (found[1:] + found[:-1])  # four times the midpoints: all in whole numbers
    up = torch.bucketize(fours, middles, right=True)  # midpoints go up
    down = torch.bucketize(fours, middles)
    return found[torch.where(fours > 0, down, up)].to(torch.float32)
