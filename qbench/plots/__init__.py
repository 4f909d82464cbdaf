"""Figures and tables with one look: each takes a tidy DataFrame and knows nothing of its origin.

`curves`, `steps`, `heat_map`, `surface`, `radar`, `pareto`, `plane` and `bars` return plotly
figures; `show` puts one on a page together with its static form, `table` does a DataFrame.
"""

from qbench.plots.bundle import html, plotly_js, show
from qbench.plots.drawing import static, svg
from qbench.plots.grids import heat_map, radar, surface
from qbench.plots.lines import curves, steps
from qbench.plots.planes import plane
from qbench.plots.points import bars, non_dominated, pareto
from qbench.plots.tables import VERDICTS, Table, table
from qbench.plots.theme import NEUTRAL, PALETTE

__all__ = [
    "NEUTRAL",
    "PALETTE",
    "VERDICTS",
    "Table",
    "bars",
    "curves",
    "heat_map",
    "html",
    "non_dominated",
    "pareto",
    "plane",
    "plotly_js",
    "radar",
    "show",
    "static",
    "steps",
    "surface",
    "svg",
    "table",
]
