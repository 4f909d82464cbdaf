"""Filters that the hardware cannot afford: Faraone 2021, chapter 4.

- `rankings`: which filters of a layer go first: quantisation error (eq. 4.8), magnitude, chance;
- `rebuilding`: a network without some filters, dense and small, or masked, and with others added;
- `networks`: rounding as chapter 4 has it; what the cost models see of a network;
- `shapes`, `resources`: the AlexNet and the TinyYolo of the thesis; operations, reuse and block
  RAM (eqs. 4.5 to 4.7); designs by `qbench.hardware`;
- `strategies`: how many filters each layer loses, and algorithm 3;
- `runs`: the trainings that chapters store; `measures`: what trained networks say about pruning.

`shapes`, `resources` and `strategies` need no torch.
"""

from .errors import PruningError

__all__ = ["PruningError"]
