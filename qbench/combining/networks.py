"""Sparse ternary weights with learnt scales: chapter 3 and chapter 5 of Faraone 2021 in one layer.

`sparsity.Ternary` keeps the codes −1, 0 and 1 in a layer, with thresholds, masks and real weights
behind them; a quantiser of `quantizers.syq` in front of that layer multiplies them by α. Each does
what it does alone:

    real weights  → codes (eq. 3.1, pruned by eqs. 3.6 and 3.8)  → α · codes (eqs. 5.2 and 5.3)
    λ · codes + · ← gradient of the codes: α · g (eq. 5.11), that of α: Σ codes · g (eq. 5.5)  ← g
"""

import torch
from torch import Tensor, nn

from qbench.quantizers.networks import Layer, Quantised, quantised
from qbench.quantizers.syq import GRANULARITIES, Decomposed, Symmetric
from qbench.sparsity.networks import Ternary

from .errors import CombiningError


class OfCodes(Symmetric):
    """SYQ's scales for a weight that holds codes already: its threshold was another's to choose."""

    @torch.no_grad()
    def codes(self, weight: Tensor) -> Tensor:
        return weight.detach()


def ternary_with_scales(
    model: nn.Module, granularity: str, eta: float, *, seed: int = 0
) -> Ternary:
    """`model`, changed in place, with ternary codes and learnt scales in every layer.

    granularity: "pixel", "row" or "layer", of the convolutions; a fully connected layer has one
    scale. Where batch norm follows a layer, as in the networks of chapter 3, one scale a layer
    changes nothing that the network says: "layer" is sparse ternary as chapter 3 has it. eta: η of
    eq. 3.1. Scales start as the mean of |w_r| over the weights that share them (eq. 5.12). Raises
    `CombiningError` for another granularity.
    """
    if granularity not in GRANULARITIES:
        raise CombiningError(
            f"granularity must be one of {', '.join(GRANULARITIES)}, not {granularity!r}."
        )

    def scales(layer: Layer) -> OfCodes:
        kind = granularity if isinstance(layer, nn.Conv2d) else "layer"
        return OfCodes(layer.weight, kind)

    made = Ternary(quantised(model, scales, outer=scales), (eta, eta), seed)
    with torch.no_grad():
        for name, part in _parts(made.model).items():
            start = Symmetric(made.real[f"{name}.layer"], part.weights.granularity)
            part.weights.scale.copy_(start.scale)
    return made


def decomposed(model: nn.Module) -> nn.Module:
    """`model`, changed in place, as it is deployed: inputs meet codes of 8 bits, sums scales."""
    for name, part in _parts(model).items():
        model.set_submodule(name, Decomposed(part.layer, part.weights))
    return model


def scale_count(model: nn.Module) -> int:
    """How many scales there are."""
    return sum(part.weights.scale.numel() for part in _parts(model).values())


def _parts(model: nn.Module) -> dict[str, Quantised]:
    return {name: part for name, part in model.named_modules() if isinstance(part, Quantised)}
