"""Binary, ternary and few-bit weights that SYQ was compared with: BWN, TWN, TTQ and DoReFa.

Modules for the weights of one layer, (O, …) in, the same shape out; `Symmetric` in `syq` has the
same interface. Each one's gradient is its authors'; with g the gradient by what comes out, 1[…] 1
where the condition holds, else 0. Own code from the equations of the publications.
"""

import torch
from torch import Tensor, nn

from .errors import QuantiserError
from .formats import integer_range
from .straight_through import round_through, with_slopes
from .syq import SCALE_GRADIENTS, TERNARY, ScaleGradient, one_of, share

TWN_THRESHOLD = 0.7
PER = ("filter", "layer")


class Bwn(nn.Module):
    """α · sign(W) with α = mean |W| of each output filter, or of the layer.

    The binary weights of Rastegari, Ordonez, Redmon and Farhadi 2016 (XNOR-Net), section 3.1:
    α = ‖W‖₁ / n for the n weights that share it; they have a scale a filter. Backwards
    g · (1/n + α · 1[|W| ≤ 1]), as printed there; the derivative of the mean would be
    sign(W)/n · Σ g · sign(W). Raises `QuantiserError` unless `per` is "filter" or "layer".
    """

    def __init__(self, per: str = "filter") -> None:
        super().__init__()
        self.per = one_of("per", per, PER)

    def forward(self, weight: Tensor) -> Tensor:
        size = weight.detach().abs()
        alike = range(self.per == "filter", weight.ndim)
        scale = size.mean(tuple(alike), keepdim=True)
        shared = size.numel() // scale.numel()
        slope = 1 / shared + scale * (size <= 1)
        return with_slopes(scale * _signs(weight), (weight, slope))


class Twn(nn.Module):
    """α · {−1, 0, +1}: Li et al. 2016 (Ternary Weight Networks), section 2.

    0 where |W| ≤ Δ, else the sign, with Δ = 0.7 · mean |W|; α is the mean of |W| where it is above
    Δ, all over the layer. Backwards the identity: the gradient at the ternary weights moves the
    others.
    """

    def forward(self, weight: Tensor) -> Tensor:
        size = weight.detach().abs()
        left = (size > TWN_THRESHOLD * size.mean()).to(size.dtype)
        scale = (size * left).sum() / left.sum().clamp_min(1)  # all weights 0: none is left
        return with_slopes(scale * left * _signs(weight), (weight, torch.ones_like(scale)))


class Ttq(nn.Module):
    """−α⁻, 0 or +α⁺ with two learnt scales: Zhu, Han, Mao and Dally 2017 (TTQ).

    0 where |W| ≤ Δ = `eta` · max |W|, else the sign's scale; both start at 1 (Faraone 2021, section
    5.3.1). Backwards to the weights α⁺ · g, g or α⁻ · g for what became positive, 0 or negative. To
    the scales, "chain": Σ g over the positive ones, −Σ g over the negative ones, the derivative;
    "printed": Σ g for both, as Faraone 2021, eq. 5.8, and the original print it: uphill for α⁻,
    whose weights are −α⁻. Raises `QuantiserError` unless 0 ≤ `eta` < 1.
    """

    def __init__(self, *, eta: float = TERNARY, scale_gradient: ScaleGradient = "chain") -> None:
        super().__init__()
        self.eta = share("eta", eta)
        self.scale_gradient = one_of("scale_gradient", scale_gradient, SCALE_GRADIENTS)
        self.positive = nn.Parameter(torch.ones(1))
        self.negative = nn.Parameter(torch.ones(1))

    def forward(self, weight: Tensor) -> Tensor:
        plain = weight.detach()
        threshold = self.eta * plain.abs().max()
        up, down = (plain > threshold).to(plain.dtype), (plain < -threshold).to(plain.dtype)
        positive, negative = self.positive.detach(), self.negative.detach()
        return with_slopes(
            positive * up - negative * down,
            (weight, positive * up + negative * down + (1 - up - down)),
            (self.positive, up),
            (self.negative, -down if self.scale_gradient == "chain" else down),
        )


class Dorefa(nn.Module):
    """Weights of `bits` bits: Zhou, Wu, Ni, Zhou, Wen and Zou 2016 (DoReFa-Net), section 2.3.

    One bit: sign(W) · mean |W| over the layer, backwards the identity. More: 2 · q(tanh W / (2 ·
    max |tanh W|) + ½) − 1 with q(x) = round((2ᵏ − 1) · x) / (2ᵏ − 1), so 2ᵏ levels from −1 to 1,
    backwards the derivative with that of q taken as 1. Raises `QuantiserError` unless bits is a
    whole number from 1 to 16.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        try:
            self.highest = integer_range(bits, signed=False)[1]
        except ValueError as error:
            raise QuantiserError(str(error)) from None
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        if self.bits == 1:
            scale = weight.detach().abs().mean()
            return with_slopes(scale * _signs(weight), (weight, torch.ones_like(scale)))
        bent = torch.tanh(weight)
        largest = bent.abs().max().clamp_min(torch.finfo(bent.dtype).tiny)  # all may be 0
        unit = bent / (2 * largest) + 0.5
        return 2 * round_through(self.highest * unit) / self.highest - 1


def _signs(weight: Tensor) -> Tensor:
    """−1 or +1 (+1 at zero)."""
    return torch.where(weight.detach() >= 0, 1.0, -1.0).to(weight.dtype)
