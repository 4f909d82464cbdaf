"""SYQ: binary and ternary weights with a learnt scale for each pixel or row of the kernels.

Faraone 2021, chapter 5, for single networks. `Symmetric` rounds the weights of a convolution
(O, I, K, K) or of a fully connected layer (O, I), `FixedPoint` the activations; both go into
`networks.Quantised`, and `networks.quantised` puts them into a network. `Decomposed` is
such a layer after training: codes of 8 bits, and the scales.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import QuantiserError
from .formats import fixed_point_grid
from .straight_through import with_slopes

# The kernel's dimensions along which each granularity has scales of its own.
SCALED = {"pixel": (2, 3), "row": (2,), "layer": ()}
GRANULARITIES = tuple(SCALED)
SCALE_GRADIENTS = ("chain", "printed")
BINARY, TERNARY = 0.0, 0.05  # η as a share of the largest absolute weight, section 5.2.1

ScaleGradient = Literal["chain", "printed"]


class Symmetric(nn.Module):
    """α · sign(W) ⊙ M with learnt scales α: Faraone 2021, eqs. 5.2 and 5.3, section 5.4.2.

    M is 1 where |W| ≥ η, else 0; here `eta` is η as a share of max |W| over the layer: 0.05 is the
    thesis' ternary {−1, 0, +1}, 0 its binary {−1, +1}. The sign of 0 is +1. `granularity`: a scale
    for each "pixel" of the kernels (K²), for each "row" (K) or for the "layer"; fully connected
    layers have only the last. `weight` is the layer's at the start: a scale starts as the mean of
    |W| over the weights that share it (eq. 5.12). Nothing keeps the scales above 0 afterwards.

    Backwards, with g the gradient by what comes out:
    - to the weights α · g, for the zeros too (eq. 5.11): plain autograd would give 0;
    - to a scale, "chain": Σ Q · g with the codes Q, as plain autograd gives, as eq. 5.5 needs and
      as the authors' own program does; "printed": Σ α · g, the sum of ∂E/∂W that eq. 5.10 asks for,
      which has lost the codes and so points downhill by chance only.

    Raises `QuantiserError` for a granularity or a tensor that cannot be.
    """

    def __init__(
        self,
        weight: Tensor,
        granularity: str = "pixel",
        *,
        eta: float = TERNARY,
        scale_gradient: ScaleGradient = "chain",
    ) -> None:
        super().__init__()
        _check_granularity(granularity, weight)
        self.granularity, self.eta = granularity, share("eta", eta)
        self.scale_gradient = one_of("scale_gradient", scale_gradient, SCALE_GRADIENTS)
        self.shape = tuple(weight.shape)
        apart = SCALED[granularity]
        alike = [place for place in range(weight.ndim) if place not in apart]
        self.scale = nn.Parameter(weight.detach().abs().mean(alike, keepdim=True))

    @property
    def codebook(self) -> tuple[int, ...]:
        """The codes that may occur."""
        return (-1, 0, 1) if self.eta else (-1, 1)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> Tensor:
        """sign(W) ⊙ M of eqs. 5.2 and 5.3, in the type of `weight`, which is shaped as at first."""
        if weight.shape != self.shape:
            raise QuantiserError(
                f"weight must be of shape {self.shape}, as it was at the start, not "
                f"{tuple(weight.shape)}."
            )
        size = weight.abs()
        signs = torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)
        return signs * (size >= self.eta * size.max())

    def forward(self, weight: Tensor) -> Tensor:
        codes, scale = self.codes(weight), self.scale.detach()
        by_scale = codes if self.scale_gradient == "chain" else scale.expand_as(codes)
        return with_slopes(scale * codes, (weight, scale), (self.scale, by_scale))


class FixedPoint(nn.Module):
    """Activations of `bits` bits, f of them fractional: Faraone 2021, eqs. 5.13 and 5.14.

    2^−f · ⌊2^f · x + ½⌋ with x clipped to [0, M], M = 2^(bits−f) − 2^−f, so that f chooses M.
    Backwards the identity, and 0 where x is clipped. Raises `QuantiserError` unless bits is a whole
    number from 1 to 16 and f one from −16 to 32.
    """

    def __init__(self, bits: int, fraction_bits: int) -> None:
        super().__init__()
        try:
            grid = fixed_point_grid(bits, fraction_bits, signed=False)
        except ValueError as error:
            raise QuantiserError(str(error)) from None
        self.bits, self.fraction_bits = bits, fraction_bits
        self.step, self.highest = grid.scale, grid.highest * grid.scale

    def forward(self, x: Tensor) -> Tensor:
        inside = x.clamp(0, self.highest)
        steps = inside.detach() / self.step
        whole = steps.floor()
        whole += steps - whole >= 0.5  # as ⌊steps + ½⌋, but the sum could be rounded up
        return with_slopes(whole * self.step, (inside, x.new_ones(())))


class Decomposed(nn.Module):
    """A layer as it is deployed: diag(α) · Q, sections 5.4.1 and 5.7.2.

    Made of a layer and the `Symmetric` of its weights. `codes` are int8 in the weights' shape,
    `scales` (K²,), (K,) or (1,); scale i belongs to pixel i of the kernel read row by row, or to
    row i. Forwards, the inputs meet codes alone, one pixel or row of the kernels at a time, and
    each sum is multiplied by its scale: within rounding what the layer gives for the rounded
    weights. Nothing to train.
    """

    codes: Tensor
    scales: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, quantiser: Symmetric) -> None:
        super().__init__()
        codes, scales = decompose(layer.weight, quantiser)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.granularity = quantiser.granularity
        if isinstance(layer, nn.Conv2d):
            self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
            self.padding = layer._reversed_padding_repeated_twice
            mode = layer.padding_mode
            self.padding_mode = "constant" if mode == "zeros" else mode

    def matrix(self) -> Tensor:
        """The codes as diag(α) multiplies them: (scales, weights that share one), int8."""
        if self.codes.ndim == 2:
            return self.codes.reshape(1, -1)
        return self.codes.permute(2, 3, 1, 0).reshape(len(self.scales), -1)

    def forward(self, x: Tensor) -> Tensor:
        codes = self.codes.to(x.dtype)
        if codes.ndim == 2:
            out = F.linear(x, codes) * self.scales
            return out if self.bias is None else out + self.bias
        x = F.pad(x, self.padding, self.padding_mode)
        parts = zip(self._parts(x, codes), self.scales, strict=True)
        out: Tensor = sum(part * scale for part, scale in parts)
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)

    def _parts(self, x: Tensor, codes: Tensor) -> Iterator[Tensor]:
        """The convolution with each pixel or row of the kernels, in the order of the scales."""
        height, width = codes.shape[2:]
        down, across = self.stride
        if self.granularity == "layer":
            yield F.conv2d(x, codes, None, self.stride, 0, self.dilation, self.groups)
            return
        for row in range(height):
            lines = x[..., _seen(x.shape[-2], row, height, down, self.dilation[0]), :]
            kernel = codes[:, :, row : row + 1]
            if self.granularity == "row":
                dilation = 1, self.dilation[1]
                yield F.conv2d(lines, kernel, None, (1, across), 0, dilation, self.groups)
                continue
            for column in range(width):
                seen = lines[..., _seen(x.shape[-1], column, width, across, self.dilation[1])]
                pixel = kernel[..., column : column + 1]
                yield F.conv2d(seen, pixel, groups=self.groups)


@torch.no_grad()
def decompose(weight: Tensor, quantiser: Symmetric) -> tuple[Tensor, Tensor]:
    """Codes (int8, as `weight`) and scales ((K²,), (K,) or (1,)) of rounded weights."""
    return quantiser.codes(weight).to(torch.int8), quantiser.scale.detach().flatten().clone()


def for_layer(
    layer: nn.Conv2d | nn.Linear,
    granularity: str = "pixel",
    *,
    eta: float = TERNARY,
    scale_gradient: ScaleGradient = "chain",
) -> Symmetric:
    """The quantiser of a layer: a fully connected one has a single scale (section 5.4.1)."""
    one_of("granularity", granularity, GRANULARITIES)
    kind = granularity if isinstance(layer, nn.Conv2d) else "layer"
    return Symmetric(layer.weight, kind, eta=eta, scale_gradient=scale_gradient)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value`, if it is allowed; else a `QuantiserError` that names what is."""
    if value not in allowed:
        raise QuantiserError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def share(name: str, value: float) -> float:
    """`value` as a float, if 0 ≤ value < 1; else a `QuantiserError`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise QuantiserError(f"{name} must be a number from 0 to below 1, not {value!r}.")
    return float(value)


def _check_granularity(granularity: str, weight: Tensor) -> None:
    one_of("granularity", granularity, GRANULARITIES)
    if weight.ndim not in (2, 4) or not weight.numel() or not weight.is_floating_point():
        raise QuantiserError(
            "weight must be a float tensor (outputs, inputs) or (outputs, inputs, rows, columns) "
            f"with numbers in it, not {weight.dtype} of shape {tuple(weight.shape)}."
        )
    if weight.ndim == 2 and granularity != "layer":
        raise QuantiserError(
            f"granularity of a fully connected layer must be layer, as it has no kernel, not "
            f"{granularity!r}."
        )


def _seen(size: int, place: int, kernel: int, stride: int, dilation: int) -> slice:
    """What one place of a kernel sees of `size` padded pixels as the kernel moves along them."""
    outputs = (size - dilation * (kernel - 1) - 1) // stride + 1
    first = place * dilation
    return slice(first, first + (outputs - 1) * stride + 1, stride)
