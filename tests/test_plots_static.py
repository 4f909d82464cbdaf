"""The static form of the plots: SVG that says the same as the interactive figure."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import plots_samples
import pytest
from matplotlib.colors import to_rgb

from qbench import plots
from qbench.plots import drawing

sweep = pytest.fixture(plots_samples.sweep, scope="module")
figures = pytest.fixture(plots_samples.figures, scope="module")


def texts(svg: str) -> str:
    return " ".join("".join(e.itertext()) for e in ElementTree.fromstring(svg).iter())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("curves", ["Weight width (bits)", "Test accuracy (%)", "TFC", "SFC", "published"]),
        ("facets", ["Weight width (bits)", "TFC", "SFC", "float32", "Network"]),
        ("menu", ["Activation width (bits): 2", "TFC A2", "SFC A2", "published"]),
        ("marks", ["Weight width (bits)", "94.8", "Test accuracy", "far from 92 %"]),
        ("steps", ["no quantisation", "signed", "scaled"]),
        ("heat_map", ["Weight width (bits)", "Activation width (bits)", "88.0", "Test accuracy"]),
        ("surface", ["Weight width (bits)", "Activation width (bits)", "reference"]),
        ("radar", ["Energy", "Latency", "LUT", "TFC", "SFC"]),
        ("pareto", ["Pareto front", "Lut", "Test accuracy (%)"]),
        ("bars", ["Weight width (bits)", "TFC", "SFC", "published"]),
    ],
)
def test_static_form_says_the_same(figures: dict, kind: str, words: list[str]) -> None:
    fig = figures[kind]
    words = [word for word in words if word != "Network" or fig.layout.legend.title.text == word]
    svg = plots.svg(fig, alt="what it shows & more")
    element = ElementTree.fromstring(svg)
    assert element.get("role") == "img" and element.get("aria-label") == "what it shows & more"
    for word in words:
        assert word in texts(svg), word
    assert "currentColor" in svg and "#010203" not in svg
    assert "<metadata" not in svg and "DejaVu" not in svg
    ids = re.findall(r'id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg):
        assert "".join(target) in ids


def test_a_page_of_static_forms_has_no_id_twice(figures: dict) -> None:
    page = "".join(plots.svg(fig) for fig in figures.values())
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_static_form_has_every_datum(figures: dict, sweep: pd.DataFrame) -> None:
    ax = drawing.static(figures["curves"]).axes[0]
    finite = [np.isfinite(line.get_ydata()).sum() for line in ax.lines]
    assert finite == [3, 4, 2, 2, 0]
    cells = drawing.static(figures["heat_map"]).axes[0]
    assert len(cells.patches) == len(cells.texts) == 15
    marks = drawing.static(figures["marks"]).axes[0]
    assert len(marks.patches) == 15 + len(figures["marks"].layout.shapes)
    bars = drawing.static(figures["bars"]).axes[0]
    assert len(bars.patches) == 8
    points = drawing.static(figures["pareto"]).axes[0]
    assert sum(len(line.get_xdata()) for line in points.lines[1:]) == sweep.acc.notna().sum()
    assert len(drawing.static(figures["radar"]).axes[0].lines) == 2
    facets = drawing.static(figures["surface"]).axes[0].collections[0]
    assert len(facets.get_facecolor()) > 200
    assert len(drawing.static(figures["facets"]).axes) == 2


def test_static_form_has_intervals_around_x() -> None:
    df = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0], "low": [0.5, 1.5], "high": [1.25, 2.5]})
    ax = drawing.static(plots.pareto(df, "x", "y", front=False, spread_x=("low", "high"))).axes[0]
    spans = [segment.tolist() for segment in ax.collections[0].get_segments()]
    assert spans == [[[0.5, 3.0], [1.25, 3.0]], [[1.5, 4.0], [2.5, 4.0]]]


def test_caps_of_intervals_take_the_colour_of_their_line_and_no_fill() -> None:
    df = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0], "low": [2.5, 3.5], "high": [3.25, 4.5]})
    drawn = plots.svg(plots.pareto(df, "x", "y", front=False, spread_y=("low", "high")))
    caps = re.findall(r'<path id="(\w+)" d="[^"]*"\s+style="([^"]*)"', drawn)
    used = [(style, drawn.count(f'#{name}"')) for name, style in caps]
    assert any("stroke: #" in style and count == 4 for style, count in used), used
    assert "#1f77b4" not in drawn


def test_static_form_has_the_first_choice_of_a_menu(figures: dict, sweep: pd.DataFrame) -> None:
    fig = figures["menu"]
    ax = drawing.static(fig).axes[0]
    first = sweep[(sweep.acts == 2) & (sweep.bits == 4)].acc.tolist()
    assert [line.get_ydata()[-1] for line in ax.lines[:2]] == first
    assert [np.isfinite(line.get_ydata()).sum() for line in ax.lines] == [3, 4, 2, 2, 0]
    assert ax.get_ylim() == pytest.approx(fig.layout.yaxis.range)
    assert "A1" not in texts(plots.svg(fig)) and "A3" not in texts(plots.svg(fig))


def test_static_form_has_frames_in_the_ink_of_the_number(figures: dict) -> None:
    marks = drawing.static(figures["marks"])
    for frame in marks.axes[0].patches[15:]:
        (number,) = (
            text
            for text in marks.axes[0].texts
            if frame.get_bbox().contains(*text.xy) and not frame.get_fill()
        )
        assert to_rgb(number.get_color()) == frame.get_edgecolor()[:3]
    (picture,) = marks.legends[0].legend_handles
    assert picture.get_markeredgecolor() == "#010203"  # the page's own ink, in the end


def test_static_form_keeps_log_scales() -> None:
    df = pd.DataFrame({"x": [1, 10, 1000], "y": [1.0, 1e3, 1e6]})
    fig = plots.curves(df, "x", "y", log_x=True, log_y=True)
    ax = drawing.static(fig).axes[0]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "10⁶" in texts(plots.svg(fig)) and "1,000" in texts(plots.svg(fig))


def test_bars_alone_at_their_names_stand_in_the_middle() -> None:
    rows = pd.DataFrame({"x": ["a", "b", "c"], "y": [1.0, 2.0, 3.0], "kind": ["p", "q", "p"]})
    fig = plots.bars(rows, "x", "y", "kind")
    assert fig.layout.barmode == "overlay" and {t.offsetgroup for t in fig.data} == {None}
    ax = plots.static(fig).axes[0]
    middles = sorted(bar.get_x() + bar.get_width() / 2 for bar in ax.patches)
    assert middles == pytest.approx([0, 1, 2])
    both = plots.bars(pd.concat([rows, rows.assign(kind="r")]), "x", "y", "kind")
    assert both.layout.barmode == "group" and "r" in {t.offsetgroup for t in both.data}


def test_static_form_has_horizontal_bars(sweep: pd.DataFrame) -> None:
    line = sweep[sweep.acts == 2]
    fig = plots.bars(line, "bits", "acc", "net", spread="sd", horizontal=True)
    ax = drawing.static(fig).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "2", "3", "4"]
    assert ax.yaxis_inverted() and not ax.xaxis_inverted()
    widths = [patch.get_width() for patch in ax.patches]
    assert widths[1:4] == pytest.approx(line[line.net == "TFC"].acc.tolist()[1:])
    assert max(patch.get_height() for patch in ax.patches) < 0.5


def test_static_form_puts_text_where_plotly_does(sweep: pd.DataFrame) -> None:
    fig = plots.curves(sweep[:4], "acts", "sd")
    ink = {"color": [plots.NEUTRAL], "size": 12}
    for place in ("top left", "middle center", "bottom right"):
        text = dict(x=[2], y=[0.5], text=[place], mode="text", textfont=ink)
        fig.add_scatter(**text, textposition=place)
    drawn = drawing.static(fig).axes[0].texts
    assert [(text.get_ha(), text.get_va()) for text in drawn] == [
        ("right", "bottom"),
        ("center", "center_baseline"),
        ("left", "top"),
    ]


def test_static_form_writes_small_numbers_in_full() -> None:
    df = pd.DataFrame({"x": [1, 2], "y": ["a", "a"], "v": [-0.00123, 0.00456]})
    assert {"−0.00123", "0.00456"} <= set(
        texts(plots.svg(plots.heat_map(df, "x", "y", "v"))).split()
    )


def test_static_form_refuses_other_traces(sweep: pd.DataFrame) -> None:
    fig = plots.curves(sweep, "bits", "acc").add_histogram(x=[1, 2])
    with pytest.raises(ValueError, match="histogram"):
        plots.static(fig)
