"""Methods of several publications in one network: sparse ternary codes, SYQ's scales, a teacher.

The one room that knows `sparsity`, `syq`'s quantiser and `distillation` at once; it puts their
parts together and adds none of its own.
"""

from .errors import CombiningError

__all__ = ["CombiningError"]
