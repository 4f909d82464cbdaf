"""Sparse ternary networks (Faraone 2021, chapter 3)."""

from .errors import SparsityError

__all__ = ["SparsityError"]
