"""AddNet beside fixed point of 4 to 8 bits, ternary and binary weights: Faraone 2021, chapter 6.

`codebooks` has the published coefficient sets and how a set is written, `networks` rounds a network
as a method has it, `runs` holds the trainings that chapters store, Algorithm 5 among them, and the
histograms of trained weights that sets are matched with. The quantiser is
`qbench.quantizers.codebook`; which sets there are, and which match, is `qbench.hardware.rccm`'s to
say.
"""

from .errors import AddnetError

__all__ = ["AddnetError"]
