"""SYQ beside the binary and ternary weights it was compared with: Faraone 2021, chapter 5.

`networks` rounds a network as a method has it, `runs` holds the trainings that chapters store. The
quantisers are in `qbench.quantizers`, the loop is `qbench.training.fit`: a room of its own, as the
methods are what chapter 5 gives, and nothing of another method is needed.
"""

from .errors import SyqError

__all__ = ["SyqError"]
