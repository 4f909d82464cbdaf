"""Rounding that can be trained through: staircases forwards, a straight line backwards.

A staircase has the derivative 0 wherever it has one, so no gradient reaches the weights behind it.
The straight-through estimator replaces that derivative by 1 (Faraone 2021, section 2.3.4, eq.
2.19), and by 0 where the input is clipped. All functions work elementwise on float tensors of any
shape, on any device, and under `torch.func.vmap`.
"""

import torch
from torch import Tensor


def round_through(x: Tensor) -> Tensor:
    """Forwards the nearest integer (ties to even), backwards the identity."""
    return _Round.apply(x)


def sign_through(x: Tensor, limit: float | None = 1.0) -> Tensor:
    """Forwards −1 or +1 (+1 at zero), backwards the identity where |x| ≤ `limit`, else 0.

    `limit=None` passes the gradient everywhere. Raises `ValueError` unless `limit` is positive.
    """
    if limit is not None and not limit > 0:
        raise ValueError(f"limit must be above 0, or None for no limit, not {limit!r}.")
    return _Sign.apply(x, float("inf") if limit is None else limit)


def quantise_through(x: Tensor, scale: Tensor | float, lowest: int, highest: int) -> Tensor:
    """Forwards scale · clip(round(x / scale), lowest, highest): Vailakis 2022, eq. 3.6 with z = 0.

    Backwards to `x`: the identity where lowest ≤ x / scale ≤ highest, else 0. Backwards to a tensor
    `scale`: (round(x / scale) − x / scale) inside, the end code outside. Raises `ValueError` unless
    lowest < highest.
    """
    if not lowest < highest:
        raise ValueError(f"lowest must be below highest ({highest}), not {lowest}.")
    return round_through(torch.clamp(x / scale, lowest, highest)) * scale


def affine_through(
    x: Tensor, scale: Tensor, zero_point: Tensor | float, lowest: int, highest: int
) -> Tensor:
    """Forwards s · (clip(round(x / s) + z, lowest, highest) − z): Vailakis 2022, eqs. 3.6 and 3.7.

    `scale` s and `zero_point` z broadcast against `x`. Backwards to `x`: the identity where nothing
    is clipped, else 0. Backwards to `scale`: the code − x / s where nothing is clipped, else the
    end code, each without z. As `torch.fake_quantize_per_tensor_affine`, but vectorised, and with a
    gradient for the scale; not under `torch.func.vmap`.
    """
    return _Affine.apply(x, scale, zero_point, lowest, highest)


def with_slopes(value: Tensor, *slopes: tuple[Tensor, Tensor]) -> Tensor:
    """Forwards `value`, backwards what `slopes` say.

    Each of `slopes` is a tensor and the derivative of `value` by it that is to be believed: the
    gradient times that, summed over where the tensor was broadcast. `value`, which must need no
    gradient, is handed on, not copied. Not under `torch.func.vmap`.
    """
    return _Slopes.apply(value, *(tensor for pair in slopes for tensor in pair))


class _Round(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class _Sign(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, limit: float) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        x, limit = inputs
        ctx.save_for_backward(x.abs() <= limit)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


class _Slopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, *pairs: Tensor) -> Tensor:
        ctx.shapes = [tensor.shape for tensor in pairs[::2]]
        ctx.save_for_backward(*pairs[1::2])
        ctx.mark_dirty(value)
        return value

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        passed: list[Tensor | None] = [None]
        for place, (shape, slope) in enumerate(zip(ctx.shapes, ctx.saved_tensors, strict=True)):
            wanted = ctx.needs_input_grad[1 + 2 * place]
            passed += [(gradient * slope).sum_to_size(shape) if wanted else None, None]
        return tuple(passed)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, zero, lowest: int, highest: int) -> Tensor:
        steps = x * scale.reciprocal()
        rounded = steps.round().add_(zero)
        codes = rounded.clamp(lowest, highest)
        inside = torch.eq(codes, rounded, out=rounded)  # as numbers: products are quicker
        codes.sub_(zero)
        if scale.requires_grad:
            ctx.save_for_backward(inside, codes - steps.mul_(inside), scale)
        else:
            ctx.save_for_backward(inside)
        return codes * scale

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inside, *rest = ctx.saved_tensors
        for_scale = None
        if rest:
            change, scale = rest
            for_scale = change.mul_(gradient).sum_to_size(scale.shape)
        return gradient * inside, for_scale, None, None, None
