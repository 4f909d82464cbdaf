"""Quantisers whose range is found in the numbers they see: running averages, or learnt intervals.

As modules that round whatever passes through them, for stacks of networks as for single ones:
dimension 0 of what they see is cut into `groups` equal parts, each with a range of its own. A stack
of M networks has M groups of activations; weights have a group a tensor, or a group an output
channel. In training mode they follow what they see, in evaluation mode they stay as they are.
"""

import torch
from torch import Tensor, nn

from .formats import integer_range
from .straight_through import affine_through, sign_through

AVERAGING = 0.01  # weight of a new minimum or maximum in its running average, as PyTorch's
TINY = torch.finfo(torch.float32).eps
STARTS = 40  # intervals that are tried for the one to start from
SAMPLE = 2**22  # numbers of a group that they are tried on, evenly spaced where there are more


class MinMax(nn.Module):
    """Affine rounding between running averages of the minimum and the maximum.

    Vailakis 2022, section 5.1.9: unsigned codes for activations, signed ones for weights; scale and
    zero point by eqs. 3.8 and 3.9. The range always holds 0, as the zero point must be a code. The
    first tensor sets it; backwards the identity where codes are not clipped, else 0.
    """

    def __init__(self, bits: int, groups: int = 1, *, signed: bool) -> None:
        super().__init__()
        self.bits, self.groups, self.signed = bits, groups, signed
        self.lowest, self.highest = integer_range(bits, signed=signed)
        self.register_buffer("low", torch.zeros(groups))
        self.register_buffer("high", torch.zeros(groups))
        self.register_buffer("seen", torch.zeros(groups, dtype=torch.bool))

    def grid(self) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int32) of each group, (groups,)."""
        span = self.high - self.low
        scale = (span / (self.highest - self.lowest)).clamp_min(TINY)
        zero = (self.high * self.lowest - self.low * self.highest) / span.clamp_min(TINY)
        return scale, zero.round().clamp(self.lowest, self.highest).to(torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._observe(x.detach())
        wide = _grouped(x, self.groups)
        scale, zero = (_along(values, wide) for values in self.grid())
        return affine_through(wide, scale, zero, self.lowest, self.highest).view_as(x)

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        wide = _grouped(x, self.groups)
        if self.groups == 1:
            low, high = (part[None] for part in wide.aminmax())
        else:  # ten times as quick as aminmax, which takes one dimension
            rest = tuple(range(1, wide.ndim))
            low, high = wide.amin(rest), wide.amax(rest)
        low, high = low.clamp_max(0), high.clamp_min(0)
        share = AVERAGING if bool(self.seen.all()) else 1.0
        self.low.lerp_(low, share)
        self.high.lerp_(high, share)
        self.seen.fill_(True)


class Learnt(nn.Module):
    """Rounding to an interval whose end is learnt, as in the QKD that Vailakis 2022 builds on.

    Section 3.6.1 there: [−I, I] with 2ⁿ − 1 levels for what is signed (one bit: ±I), [0, I] with 2ⁿ
    levels for what is not. The first tensor sets I to what rounds it with the least squared error;
    later steps follow the gradient of `affine_through`, divided by √(numbers · levels) so that an
    interval moves no faster than a weight.
    """

    def __init__(self, bits: int, groups: int = 1, *, signed: bool) -> None:
        super().__init__()
        self.bits, self.groups, self.signed = bits, groups, signed
        self.lowest, self.highest = integer_range(bits, signed=signed, narrow=signed and bits > 1)
        self.interval = nn.Parameter(torch.ones(groups))
        self.register_buffer("seen", torch.zeros(groups, dtype=torch.bool))

    def grid(self) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int32) of each group, (groups,).

        One signed bit has the codes −1 and +1, which are no integer range: scale = I.
        """
        scale = self.interval.detach().abs().clamp_min(TINY) / max(self.highest, 1)
        return scale, torch.zeros(self.groups, dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not bool(self.seen.all()):
            self._start(x.detach())
        slow = (x.numel() / self.groups * max(self.highest, 1)) ** -0.5
        interval = self.interval.abs().clamp_min(TINY)
        return self._rounded(x, interval * slow + (interval * (1 - slow)).detach())

    def _rounded(self, x: Tensor, interval: Tensor) -> Tensor:
        wide = _grouped(x, self.groups)
        interval = _along(interval, wide)
        if self.signed and self.bits == 1:
            return (sign_through(wide / interval) * interval).view_as(x)
        scale = interval / self.highest
        return affine_through(wide, scale, 0.0, self.lowest, self.highest).view_as(x)

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        x = x.reshape(self.groups, -1)
        largest = x.abs().amax(1).clamp_min(TINY)
        x = x[:, :: -(-x.shape[1] // SAMPLE) | 1]  # odd: all columns of an image take their turn
        best, least = largest, torch.full_like(largest, torch.inf)
        for share in torch.linspace(1, 0, STARTS + 1)[:-1].tolist():
            error = (self._rounded(x, largest * share) - x).square_().sum(1)
            best = torch.where(error < least, largest * share, best)
            least = torch.minimum(error, least)
        self.interval.copy_(best)
        self.seen.fill_(True)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """`x` with as many rows as groups, as it is where that need not change (nor its memory)."""
    return x if groups in (1, len(x)) else x.reshape(groups, -1)


def _along(values: Tensor, x: Tensor) -> Tensor:
    """One number a group, (groups,), in a shape that broadcasts against `_grouped` numbers."""
    return values if len(values) == 1 else values.view(-1, *[1] * (x.ndim - 1))


class Fixed(nn.Module):
    """A `MinMax` or `Learnt` as it is now, with its scales and zero points as constants.

    In the whole integer type, as files have it. Where a narrow range has several groups, nothing
    may lie beyond its ends: weights that have been rounded before.
    Raises `ValueError` for one signed bit of `Learnt`, whose two codes are no integer range.
    """

    def __init__(self, quantiser: MinMax | Learnt) -> None:
        super().__init__()
        if isinstance(quantiser, Learnt) and quantiser.signed and quantiser.bits == 1:
            raise ValueError("one signed bit has the codes -1 and +1, which no integer type holds.")
        self.lowest, self.highest = integer_range(quantiser.bits, signed=quantiser.signed)
        scale, zero = quantiser.grid()
        self.ends: tuple[float, float] | None = None
        if quantiser.lowest != self.lowest and len(scale) == 1:  # a narrow range in a whole type
            self.ends = float(scale) * quantiser.lowest, float(scale) * quantiser.highest
        self.one = (float(scale), int(zero)) if len(scale) == 1 else None
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)

    def forward(self, x: Tensor) -> Tensor:
        how = self.lowest, self.highest
        x = x.clamp(*self.ends) if self.ends else x
        if self.one:
            return torch.fake_quantize_per_tensor_affine(x, *self.one, *how)
        return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero, 0, *how)


KINDS: dict[str, type[MinMax] | type[Learnt]] = {"minmax": MinMax, "learnt": Learnt}
