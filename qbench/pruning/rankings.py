"""Which filters of a layer go first: Faraone 2021, section 4.5.3 and the metrics of figure 4.3.

Weights are (filters, …). The quantisation error of a binary filter is mean (|w| − α)² with the
scale α of its layer: large for weights much below α and for weights much above it. With α = 1, the
codes of eq. 4.1 as they stand in eq. 4.8, it is 1 − 2 · mean |w| + mean w²: for weights well below
1, as they are, the highest error is the lowest magnitude, and "codes" and "l1" almost one ranking.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.errors import nearest

from .errors import PruningError

#: Rankings and what they are called on the page.
RANKINGS = {
    "qerror": "quantisation error",
    "codes": "quantisation error of the codes",
    "l1": "L1 magnitude",
    "l2": "L2 magnitude",
    "random": "random",
}


def msqe(weight: Tensor, quantised: Tensor) -> Tensor:
    """Σ (q − w)²/n of each filter, eq. 4.8: (filters, …) twice → (filters,)."""
    return (quantised - weight).detach().flatten(1).square().mean(1)


def codes(quantised: Tensor) -> Tensor:
    """Quantised weights without their scale: the greatest magnitude becomes 1."""
    return quantised / quantised.abs().max().clamp_min(torch.finfo(quantised.dtype).tiny)


def check(ranking: object) -> str:
    """`ranking`, if it is one of `RANKINGS`; else a `PruningError`."""
    if not isinstance(ranking, str) or ranking not in RANKINGS:
        raise PruningError(
            f"ranking must be one of {', '.join(RANKINGS)}, not {ranking!r}"
            f"{nearest(RANKINGS, ranking)}."
        )
    return ranking


@torch.no_grad()
def first_to_go(
    ranking: str, weight: Tensor, quantised: Tensor, numbers: torch.Generator
) -> Tensor:
    """Places of all filters, the first to be pruned first: (filters,) int64.

    ranking: "qerror" takes those with the highest MSQE against `quantised`, the weights that the
    layer computes with, "codes" against their codes; "l1" and "l2" take the smallest norms of the
    real `weight`; "random" draws from `numbers`. Equal filters go in their order. Raises
    `PruningError` for another ranking.
    """
    check(ranking)
    if ranking == "random":
        return torch.randperm(len(weight), generator=numbers)
    if ranking in ("qerror", "codes"):
        against = quantised if ranking == "qerror" else codes(quantised)
        return msqe(weight, against).argsort(descending=True, stable=True)
    norm = weight.flatten(1).norm(p=1 if ranking == "l1" else 2, dim=1)
    return norm.argsort(stable=True)
