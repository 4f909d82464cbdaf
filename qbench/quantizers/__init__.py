"""Quantisers: `formats` (NumPy), `straight_through` and `brevitas_layers` (torch).

`ranges`, `syq` and `scaled` are modules that round weights or activations, each with its way to the
scale: averages, learnt symmetric factors, or a mean; `networks` puts them into a network. `ternary`
is the threshold of sparse ternary networks, a function.

Importing this package loads none of them, so `from qbench.quantizers import formats` needs no
torch.
"""
