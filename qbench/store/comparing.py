"""How a table that was computed again compares with the stored one."""

import pandas as pd


def compare(stored: pd.DataFrame, computed: pd.DataFrame) -> str:
    """`identical`, or `differs: ...` with the column that deviates most and by how much."""
    if list(stored.columns) != list(computed.columns) or len(stored) != len(computed):
        return f"differs: {stored.shape} stored, {computed.shape} computed, or other columns"
    worst, where = 0.0, ""
    for column in stored:
        a, b = stored[column].reset_index(drop=True), computed[column].reset_index(drop=True)
        if a.equals(b):
            continue
        numbers = pd.api.types.is_numeric_dtype(a) and pd.api.types.is_numeric_dtype(b)
        if not numbers or not a.isna().equals(b.isna()):
            return f"differs: column {column} holds other entries"
        other = (a != b) & a.notna()
        if not other.any():  # the same numbers in another type
            continue
        gap = float((a[other].astype(float) - b[other].astype(float)).abs().max())
        if not where or gap > worst:
            worst, where = gap, column
    return f"differs: {where} by up to {worst:.3g}" if where else "identical"
