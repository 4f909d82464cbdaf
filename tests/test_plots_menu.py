"""The menu of a figure of lines: which lines each entry shows, on which axes, in what room."""

import numpy as np
import pandas as pd
import plots_samples
import pytest

from qbench import plots
from qbench.plots import _menu, theme

sweep = pytest.fixture(plots_samples.sweep, scope="module")
figures = pytest.fixture(plots_samples.figures, scope="module")


def choose(fig, number: int) -> list:
    """The traces that plotly shows once the entry `number` of its menu is chosen."""
    args, of = fig.layout.updatemenus[0].buttons[number].args
    shown = dict(zip(of, args["visible"], strict=True))
    return [t for i, t in enumerate(fig.data) if shown.get(i, t.visible is not False)]


def lines(traces: list) -> list[str]:
    return [t.name for t in traces if t.mode == "lines+markers"]


def test_a_menu_shows_the_lines_of_one_value(figures: dict, sweep: pd.DataFrame) -> None:
    fig = figures["menu"]
    (menu,) = fig.layout.updatemenus
    entries = [f"Activation width (bits): {acts}" for acts in (1, 2, 3, 4)]
    assert [button.label for button in menu.buttons] == entries
    for place, acts in enumerate((1, 2, 3, 4)):
        shown = choose(fig, place)
        nets = ("SFC",) if acts == 3 else ("TFC", "SFC")
        assert lines(shown) == [f"{net} A{acts}" for net in nets]
        ends = sweep[(sweep.acts == acts) & (sweep.bits == 4) & sweep.net.isin(nets)]
        drawn = [t for t in shown if t.mode == "lines+markers"]
        assert [t.y[-1] for t in drawn] == ends.acc.tolist()
        looks = {"TFC": theme.style(0)[:2], "SFC": theme.style(1)[:2]}
        assert [(t.line.color, t.marker.symbol) for t in drawn] == [looks[net] for net in nets]
        published = sum(t.name == "published" for t in shown)
        assert published == (3 if acts == 2 else 0)  # the published frame has no other acts
    at_first = [t for t in fig.data if t.visible is not False]
    assert menu.active == 1 and at_first == choose(fig, 1)
    ends = [v for t in fig.data for v in t.y if v is not None]
    low, high = fig.layout.yaxis.range
    assert low < min(ends) and max(ends) < high and high - low < 1.2 * (max(ends) - min(ends))


def test_a_menu_needs_the_room_of_one_choice(sweep: pd.DataFrame) -> None:
    options = {"colour": "lut", "name": "{lut} LUT", "labels": plots_samples.LABELS}
    whole = plots.curves(sweep, "bits", "acc", **options, menu="acts")
    one = plots.curves(sweep[sweep.acts == 2], "bits", "acc", **options)
    assert whole.layout.margin.b == one.layout.margin.b
    assert whole.layout.height == one.layout.height + _menu.ROOM
    heights = [fig.layout.meta["narrow"]["height"] for fig in (whole, one)]
    assert heights[0] == heights[1] + _menu.ROOM


def test_a_menu_starts_in_the_middle_or_where_told(sweep: pd.DataFrame) -> None:
    def first(**options) -> list[str]:
        fig = plots.curves(sweep, "bits", "acc", "lut", **options)
        found = [t.y for t in fig.data if t.visible is not False]
        assert found == [t.y for t in choose(fig, fig.layout.updatemenus[0].active)]
        return fig.layout.updatemenus[0].buttons[fig.layout.updatemenus[0].active].label

    assert first(menu="acts") == "Acts: 2"
    assert first(menu="acts", menu_first=4) == "Acts: 4"
    assert first(menu="net") == "Net: TFC"
    assert first(menu="net", menu_first="SFC") == "Net: SFC"


def test_levels_stay_whatever_the_menu_shows(sweep: pd.DataFrame) -> None:
    df = sweep[sweep.net == "SFC"].assign(set=lambda d: "w" + d.bits.astype(str))
    level = {"reference": {"float32": 120.0}, "name_levels": True}
    fig = plots.curves(df, "set", "acc", menu="acts", name="A{acts}", spread="sd", **level)
    for place in range(4):
        assert [t.name for t in choose(fig, place)] == [f"A{place + 1}", "float32", None]
    assert fig.layout.yaxis.range[1] > 120  # the level and the error bars are in it
    assert fig.layout.yaxis.range[0] < df.acc.min() - df.sd.max()
    assert fig.layout.xaxis.range == (-0.5, 3.5) and len(fig.layout.xaxis.categoryarray) == 4
    log = plots.curves(df, "bits", "lut", menu="acts", log_x=True, log_y=True)
    assert log.layout.yaxis.range == pytest.approx(np.log10([900, 3600]), abs=0.05)
    assert log.layout.xaxis.range == pytest.approx(np.log10([1, 4]), abs=0.05)
