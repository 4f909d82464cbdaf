"""Quantisers: `formats` (NumPy), `straight_through` and `brevitas_layers` (torch).

Importing this package loads none of them, so `from qbench.quantizers import formats` needs no
torch.
"""
