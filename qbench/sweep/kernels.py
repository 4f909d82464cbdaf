"""Arithmetic whose result for a member does not depend on the members beside it.

And which is quick: products, the largest weight with its index, Adam's update.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

BLOCK = 16  # float32 numbers that a processor loads at once, at most


class Adam:
    """Adam with PyTorch's defaults on views of some members' parameters and of its moments."""

    def __init__(self, parameters: list[Tensor], first: list[Tensor], second: list[Tensor]) -> None:
        self.state = parameters, first, second
        self.steps = [torch.zeros((), device=tensor.device) for tensor in parameters]

    def __call__(self, gradients: list[Tensor], learning_rate: float) -> None:
        # What is left over behind the last whole block would be rounded otherwise.
        filled = [[_filled(tensor) for tensor in tensors] for tensors in self.state]
        parameters, first, second = filled
        adam(
            parameters, [_filled(tensor) for tensor in gradients], first, second, [], self.steps,
            fused=True, amsgrad=False, beta1=0.9, beta2=0.999, lr=learning_rate,
            weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
        for kept, updated in zip(sum(self.state, []), sum(filled, []), strict=True):
            if updated is not kept:
                kept.copy_(updated[:, : kept[0].numel()].view_as(kept))


class Sgd:
    """SGD with Nesterov momentum 0.9 on parameters (M, …) of M members, whose `.grad` it reads.

    With `alone` the parameters are those of one network, and dimension 0 is like any other.
    """

    def __init__(
        self, parameters: list[Tensor], *, weight_decay: float = 0.0, alone: bool = False
    ) -> None:
        self.parameters, self.weight_decay, self.alone = parameters, weight_decay, alone
        self.momenta = [torch.zeros_like(tensor) for tensor in parameters]

    @torch.no_grad()
    def __call__(self, learning_rate: float) -> None:
        kept = [self.parameters, self.momenta]
        filled = [*kept, [tensor.grad for tensor in self.parameters]]
        if not self.alone:  # what is left over behind the last whole block is rounded otherwise
            filled = [[_filled(tensor) for tensor in part] for part in filled]
        parameters, momenta, gradients = filled
        sgd(
            parameters, gradients, momenta, fused=True, weight_decay=self.weight_decay,
            momentum=0.9, lr=learning_rate, dampening=0.0, nesterov=True, maximize=False,
        )  # fmt: skip
        for own, updated in zip(sum(kept, []), sum(filled[:2], []), strict=True):
            if updated is not own:
                own.copy_(updated[:, : own[0].numel()].view_as(own))


def peak(weights: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """Largest magnitude in every row of (…, I) and its index: (…,) each; `scratch` is spoilt.

    Long rows in two rounds, over blocks and within one: a reduction that gives the index is slow.
    """
    length = weights.shape[-1]
    if length < 256:
        return torch.abs(weights, out=scratch).max(-1)
    rows = next(n for n in range(length // 32, 0, -1) if length % n == 0)
    blocks = weights.unflatten(-1, (rows, -1))
    largest, column = torch.maximum(blocks.amax(-2), blocks.amin(-2).neg_()).max(-1)
    where = column[..., None, None].expand(*column.shape, rows, 1)
    _, row = blocks.gather(-1, where).squeeze(-1).abs_().max(-1)
    return largest, row * blocks.shape[-1] + column


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Let matrix products of codes use units of a shorter format, where the processor has them.

    bfloat16 on CPUs and TF32 on GPUs hold every code, and the sums are float32, so nothing changes
    but the speed.
    """
    settings, short = torch.backends.mkldnn.matmul, "bf16"
    if device.type == "cuda":
        settings, short = torch.backends.cuda.matmul, "tf32"
    before = settings.fp32_precision
    settings.fp32_precision = short
    try:
        yield
    finally:
        settings.fp32_precision = before


# How a product rounds must not depend on the members beside. It does, in the libraries below, for
# few rows or columns and for odd numbers of them: those are filled up with zeros to whole blocks.


def mm(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """(M, O, K) times one (K, N) for all."""
    rows, columns = out.shape[1:]
    if rows % BLOCK or columns % 4 or columns < 12:
        product = torch.mm(_blocks(a).flatten(0, 1), _blocks(b)).unflatten(0, (len(a), -1))
        return out.copy_(product[:, :rows, :columns])
    torch.mm(a.flatten(0, 1), b, out=out.flatten(0, 1))
    return out


def bmm(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """(M, O, K) times (M, K, N)."""
    rows, columns = out.shape[1:]
    if rows % 2 or rows < 10 or columns % 4 or columns < 12:
        a, b = _blocks(a), _blocks(b)
    elif len(a) > 1:
        return torch.bmm(a, b, out=out)
    if len(a) == 1:  # one matrix by itself goes to another routine than several
        a, b = a.repeat(2, 1, 1), b.repeat(2, 1, 1)
    return out.copy_(torch.bmm(a, b)[: len(out), :rows, :columns])


def _blocks(x: Tensor) -> Tensor:
    """Rows and columns filled up with zeros to multiples of BLOCK."""
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % BLOCK, 0, -x.shape[-2] % BLOCK))


def _filled(x: Tensor) -> Tensor:
    """(M, …) itself; where a member is no multiple of BLOCK, a flat copy filled up with zeros."""
    size = x[0].numel()
    flat = x.reshape(len(x), -1)
    return torch.nn.functional.pad(flat, (0, -size % BLOCK)) if size % BLOCK else x


def below(x: Tensor) -> Tensor:
    return torch.nextafter(x, torch.zeros_like(x))
