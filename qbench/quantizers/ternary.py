"""Weights of −1, 0 and 1, from real ones and a threshold."""

import torch
from torch import Tensor


def ternary(weights: Tensor, eta: float, *, out: Tensor | None = None) -> Tensor:
    """w_q of Faraone 2021, eq. 3.1: 1 above η, −1 below −η, 0 from −η to η; any shape.

    η = 0 stands for binary weights, sign(w_r) with sign(0) = 1 as in eq. 2.16, the leftmost point
    of figure 3.3. `out` takes the result. There is no gradient here:
    the straight-through estimator (eq. 2.19) hands that of w_q to w_r as it is.
    """
    if eta == 0:
        return torch.copysign(torch.ones((), dtype=weights.dtype), weights, out=out)
    out = torch.empty_like(weights) if out is None else out
    return torch.ops.aten.hardshrink.out(weights, eta, out=out).sign_()
