"""The plots: colours that read in both themes, and what the figures hold."""

import itertools
import re

import numpy as np
import pandas as pd
import plots_samples
import pytest
from plots_samples import CSS

from qbench import plots
from qbench.plots import theme

sweep = pytest.fixture(plots_samples.sweep, scope="module")
figures = pytest.fixture(plots_samples.figures, scope="module")


# Colours ----------------------------------------------------------------------------------------


def variables(mode: str) -> dict[str, str]:
    """The CSS variables of qbench.css that are colours, for `light` or `dark`."""
    found: dict[str, str] = {}
    for name in ("light", mode):
        block = CSS[CSS.index(f'html[data-theme="{name}"] {{') :]
        block = block[: block.index("}")]
        for key, value in re.findall(r"(--[\w-]+):([^;]+);", block):
            if colour := re.search(r"#[0-9a-f]{6}", value):
                found[key] = colour[0]
    return found


@pytest.mark.parametrize("paper", [theme.PAPER, theme.PAPER_DARK, "#14181e"])
def test_marks_keep_three_to_one(paper: str) -> None:
    for colour in (*theme.PALETTE, theme.NEUTRAL):
        assert theme.contrast(colour, paper) >= 3, colour


def test_contrast_is_wcags() -> None:
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize(("mode", "paper"), [("light", theme.PAPER), ("dark", theme.PAPER_DARK)])
def test_text_keeps_four_and_a_half_to_one(mode: str, paper: str) -> None:
    colours = variables(mode)
    on_paper = ["--qb-ink", *(f"--pst-color-{c}" for c in ("primary", "secondary", "accent"))]
    for name in on_paper:
        assert theme.contrast(colours[name], paper) >= 4.5, name
    assert theme.contrast(colours["--qb-ink"], colours["--qb-surface"]) >= 4.5
    assert theme.contrast(colours["--qb-axis"], paper) >= 3
    for verdict in ("exact", "matches", "trend", "differs", "erratum", "needs"):
        pair = colours[f"--qb-{verdict}"], colours[f"--qb-{verdict}-bg"]
        assert theme.contrast(*pair) >= 4.5, verdict


def test_the_light_page_has_the_templates_colours() -> None:
    colours = variables("light")
    for colour, name in theme.CSS_VARIABLES.items():
        if colour != theme.PAPER:  # the page's own paper shows through
            assert colours[name] == colour


def test_palette_is_told_apart_with_any_colour_vision() -> None:
    """Pairs differ by at least 15 in CIE Lab, with the severe deficiencies of Machado et al."""
    linear = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in theme.PALETTE])
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    visions = {
        "normal": np.eye(3),
        "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    for name, vision in visions.items():
        xyz = np.clip(linear @ np.array(vision).T, 0, 1) @ to_xyz.T / [0.9505, 1, 1.089]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack(
            [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
        )
        for one, other in itertools.combinations(range(len(lab)), 2):
            assert np.linalg.norm(lab[one] - lab[other]) > 15, (name, one, other)


def test_every_series_has_its_own_look() -> None:
    looks = [theme.style(i) for i in range(theme.MAX_SERIES)]
    assert len(set(looks)) == len(looks)


def test_numbers_in_cells_are_readable(figures: dict) -> None:
    cells, text = figures["heat_map"].data
    values = [v for row in cells.z for v in row if v is not None]
    for value, ink in zip(values, text.textfont.color, strict=True):
        share = (value - cells.zmin) / (cells.zmax - cells.zmin)
        assert theme.contrast(ink, theme.colour_at(cells.colorscale, share)) >= 4.5


# Figures ----------------------------------------------------------------------------------------


def test_curves(figures: dict) -> None:
    fig = figures["curves"]
    lines = [t for t in fig.data if t.mode == "lines+markers"]
    assert [t.name for t in lines] == ["TFC", "SFC"]
    assert lines[0].y[0] is None and lines[1].y[0] == pytest.approx(93.5)
    assert [t.name for t in fig.data if t.fill == "toself"] == ["TFC", "SFC"]
    assert fig.layout.xaxis.title.text == "Weight width (bits)"
    assert "Test accuracy: %{y:,.4~r} %" in lines[0].hovertemplate
    assert "Weight width: %{x:,d} bits" in lines[0].hovertemplate
    published = [t for t in fig.data if t.name == "published"]
    assert [t.marker.color for t in published] == [*theme.PALETTE[:2], theme.NEUTRAL]
    assert [bool(t.showlegend) for t in published] == [False, False, True]


def test_lines_of_two_columns_are_named_by_a_template(sweep: pd.DataFrame) -> None:
    df = sweep[(sweep.net == "SFC") & (sweep.acts < 3) & (sweep.lut < 2000)]

    def names(**options) -> list[str]:
        return [t.name for t in plots.curves(df, "lut", "acc", **options).data]

    both = {"colour": "bits", "dash": "acts"}
    assert names(**both) == ["1, 1", "1, 2", "2, 1", "2, 2"]
    assert names(**both, name="W{bits}A{acts}") == ["W1A1", "W1A2", "W2A1", "W2A2"]
    assert names(colour="bits", name="W{bits}") == ["W1", "W2"]
    fig = plots.curves(df, "lut", "acc", **both, name="W{bits}A{acts}")
    assert fig.data[3].hovertemplate.startswith("<b>W2A2</b>")


def test_band_with_two_ends_and_log_scales(sweep: pd.DataFrame) -> None:
    df = sweep[(sweep.net == "SFC") & (sweep.acts == 1)].assign(low=-1.0, high=99.0)
    fig = plots.curves(df, "lut", "acc", spread=("low", "high"), log_x=True, log_y=True)
    band = next(t for t in fig.data if t.fill == "toself")
    assert min(band.y) == pytest.approx(9.9) and max(band.y) == 99
    assert fig.layout.yaxis.type == "log" and list(fig.layout.xaxis.tickvals) == [
        *(900, 1800, 2700, 3600)
    ]


def test_curves_over_names_have_error_bars() -> None:
    df = pd.DataFrame({"set": ["MNIST", "CIFAR-10"], "acc": [98.0, np.nan], "sd": [0.1, 0.2]})
    fig = plots.curves(df, "set", "acc", spread="sd")
    assert fig.layout.xaxis.type == "category"
    assert fig.data[0].error_y.array[0] == pytest.approx(0.1)
    assert "<svg" in plots.svg(fig)


def test_facets_share_y_and_the_legend(figures: dict) -> None:
    fig = figures["facets"]
    assert {t.xaxis for t in fig.data} == {"x", "x2"}
    assert fig.layout.yaxis2.matches == "y" and fig.layout.xaxis2.domain[0] > 0.5
    shown = [t.name for t in fig.data if t.showlegend]
    assert shown == ["1", "2", "3", "4", "float32"]
    assert [note.text for note in fig.layout.annotations] == ["<b>TFC</b>", "<b>SFC</b>"]
    assert fig.layout.meta["narrow"]["height"] > fig.layout.height


def test_levels_may_be_named_on_their_lines(sweep: pd.DataFrame) -> None:
    levels = {"float32": 98.5, "chance": 10.0}
    df = sweep[sweep.net == "TFC"]
    fig = plots.curves(df, "bits", "acc", "acts", reference=levels, name_levels=True)
    assert [t.name for t in fig.data if t.showlegend] == ["1", "2", "3", "4"]
    (text,) = (t for t in fig.data if t.text)
    assert text.text == tuple(levels) and text.y == (98.5, 10.0) and set(text.x) == {4}
    assert text.textposition == "top left" and text.showlegend is False
    assert all(name in plots.svg(fig) for name in levels)


def test_steps_keep_one_point_a_tread(figures: dict) -> None:
    stairs = [t for t in figures["steps"].data if t.line.shape == "hv"]
    assert len(stairs) == 4
    assert list(stairs[0].y) == [-1, 0, 1, 1]
    assert stairs[0].x[-1] == 1


def test_heat_map(figures: dict) -> None:
    cells, text = figures["heat_map"].data
    assert cells.x == ("1", "2", "3", "4") and cells.y == ("1", "2", "3", "4")
    assert cells.z[1][0] is None  # the missing accuracy: W1, A2
    assert len(text.text) == 15 and text.text[0] == "88.0"


def test_a_cell_next_to_nothing_has_no_sign() -> None:
    df = pd.DataFrame({"a": ["1", "2"], "b": ["1", "1"], "v": [-0.001, -1.0]})
    assert plots.heat_map(df, "a", "b", "v", decimals=2).data[1].text == ("0.00", "−1.00")


def test_differences_diverge_from_their_centre() -> None:
    df = pd.DataFrame({"a": ["1", "2", "3"], "b": ["1"] * 3, "v": [-1.0, 0.0, 3.0]})
    cells = plots.heat_map(df, "a", "b", "v", centre=0).data[0]
    assert (cells.zmin, cells.zmax) == (-3, 3)
    middle = theme.colour_at(cells.colorscale, 0.5)
    assert min(int(middle[i : i + 2], 16) for i in (1, 3, 5)) > 240  # 0 is neither red nor blue


def test_the_colour_bar_says_where_colours_end() -> None:
    df = pd.DataFrame({"a": ["1", "2"], "b": ["1"] * 2, "v": [1.0, 1416.0]})
    title = plots.heat_map(df, "a", "b", "v", limits=(0, 200)).data[0].colorbar.title.text
    assert "colours end at 200" in title
    title = plots.heat_map(df, "a", "b", "v", limits=(0, 2000)).data[0].colorbar.title.text
    assert title == "V"


def test_numbers_in_cells_are_smaller_on_a_phone() -> None:
    cells = range(8)
    df = pd.DataFrame([{"a": a, "b": b, "v": 10_000.5} for a in cells for b in cells])
    text = plots.heat_map(df, "a", "b", "v", decimals=0).data[1]
    assert 8 <= text.meta["narrow_size"] < text.textfont.size <= 12


def test_marked_cells_have_frames(figures: dict, sweep: pd.DataFrame) -> None:
    fig = figures["marks"]
    cells, text, key = fig.data
    frames = {}
    for shape in fig.layout.shapes:
        across, up = (shape.x0 + shape.x1) / 2, (shape.y0 + shape.y1) / 2
        frames[round(across) + 1, round(up) + 1] = shape.line.color
        assert 0 < shape.x1 - across < 0.5 and 0 < shape.y1 - up < 0.5  # inside the cell
    good = sweep[(sweep.net == "TFC") & ((sweep.acc > 94) | (sweep.acc < 90))]
    assert set(frames) == set(zip(good.bits, good.acts, strict=True))  # the missing cell has none
    inks = dict(zip(zip(text.x, text.y, strict=True), text.textfont.color, strict=True))
    for (bits, acts), colour in frames.items():
        assert colour == theme.fade(inks[str(bits), str(acts)], 1)
        assert colour not in theme.CSS_VARIABLES  # or a theme would replace it
        assert cells.text[acts - 1][bits - 1] == "<br><b>far from 92 %</b>"
    assert {theme.fade(ink, 1) for ink in ("#000000", "#ffffff")} == set(frames.values())
    assert sum(map(bool, itertools.chain(*cells.text))) == len(frames)
    assert "%{text}" in cells.hovertemplate
    assert fig.layout.showlegend and key.name == "far from 92 %" and key.x == (None,)
    assert text.textfont.size <= figures["heat_map"].data[1].textfont.size


def test_nothing_marked_needs_no_legend(figures: dict, sweep: pd.DataFrame) -> None:
    df = sweep[sweep.net == "TFC"].assign(good=False)
    fig = plots.heat_map(df, "bits", "acts", "acc", mark="good")
    assert len(fig.data) == 2 and not fig.layout.shapes and not fig.layout.showlegend
    assert fig.layout.height == figures["heat_map"].layout.height


def test_surface_and_plane(figures: dict) -> None:
    surface, plane = figures["surface"].data
    assert len(surface.z) == 4 and surface.z[1][0] is None
    assert [list(row) for row in plane.z] == [[96.0, 96.0]] * 2 and plane.name == "reference"
    assert figures["surface"].layout.scene.zaxis.title.text == "Test accuracy (%)"


def test_radar_is_closed(figures: dict) -> None:
    for trace in figures["radar"].data:
        assert trace.theta[0] == trace.theta[-1] and trace.r[0] == trace.r[-1]
        assert len(trace.r) == 4
    assert figures["radar"].data[0].theta[0] == "Energy<br>efficiency"


def test_pareto_front() -> None:
    df = pd.DataFrame({"lut": [1, 2, 3, 4, 2, np.nan], "acc": [90, 95, 94, 96, 95, 99]})
    assert plots.non_dominated(df, "lut", "acc") == [True, True, False, True, True, False]
    lower = plots.non_dominated(df, "lut", "acc", ("lower", "lower"))
    assert lower == [True, False, False, False, False, False]
    assert plots.pareto(df, "lut", "acc").data[0].x == (1, 2, 2, 4)
    given = df.assign(best=df.lut == 1)
    assert plots.pareto(given, "lut", "acc", front="best").data[0].x == (1,)
    assert len(plots.pareto(df, "lut", "acc", front=False).data) == 1


def test_pareto_has_intervals_around_x() -> None:
    df = pd.DataFrame({"ms": [1.0, 2.0], "acc": [90, 95], "lo": [0.5, np.nan], "hi": [1.25, 3.0]})
    (points,) = plots.pareto(df, "ms", "acc", front=False, spread_x=("lo", "hi")).data
    assert points.error_x.arrayminus == (0.5, 0) and points.error_x.array == (0.25, 1)
    with pytest.raises(ValueError, match="no column 'low'"):
        plots.pareto(df, "ms", "acc", spread_x=("low", "hi"))


def test_pareto_has_intervals_around_y() -> None:
    df = pd.DataFrame({"luts": [1.0, 2.0], "err": [5, 4], "lo": [4.5, np.nan], "hi": [5.25, 6.0]})
    (points,) = plots.pareto(df, "luts", "err", front=False, spread_y=("lo", "hi")).data
    assert points.error_y.arrayminus == (0.5, 0) and points.error_y.array == (0.25, 2)
    assert points.error_x.array is None


def test_bars(figures: dict) -> None:
    first, second, level = figures["bars"].data
    assert (first.name, second.name, level.name) == ("TFC", "SFC", "published")
    assert first.x == ("1", "2", "3", "4") and first.y[0] is None
    assert first.error_y.array[1] == pytest.approx(0.25)


def test_horizontal_bars_swap_the_axes(sweep: pd.DataFrame) -> None:
    line = sweep[sweep.acts == 2]
    options = {"spread": "sd", "reference": {"published": 95.0}, "labels": plots_samples.LABELS}
    fig = plots.bars(line, "bits", "acc", "net", **options, horizontal=True)
    first, _, level = fig.data
    assert first.orientation == "h" and first.y == ("1", "2", "3", "4") and first.x[0] is None
    assert first.error_x.array[1] == pytest.approx(0.25) and first.error_y.array is None
    assert level.x == (95.0, 95.0) and level.y == ("1", "4")
    assert fig.layout.yaxis.autorange == "reversed"  # the first group is on top
    assert fig.layout.xaxis.title.text == "Test accuracy (%)"
    assert "Test accuracy: %{x:,.4~r} %" in first.hovertemplate


def test_log_bars_start_below_the_smallest() -> None:
    df = pd.DataFrame({"rt": ["a", "b"], "ms": [0.23, 9.0]})
    assert plots.bars(df, "rt", "ms", log_y=True).layout.yaxis.range[0] == -1


def test_categories_keep_their_order() -> None:
    order = pd.CategoricalDtype(["small", "large", "unused"], ordered=True)
    df = pd.DataFrame({"x": [1, 1], "y": [1.0, 2.0], "size": ["large", "small"]})
    fig = plots.curves(df.astype({"size": order}), "x", "y", "size")
    assert [t.name for t in fig.data] == ["small", "large"]


def test_a_row_without_a_series_is_named() -> None:
    df = pd.DataFrame({"x": [1, 2], "y": [1.0, 2.0], "net": ["TFC", None]})
    assert [t.name for t in plots.curves(df, "x", "y", "net").data] == ["TFC", "n/a"]
    assert plots.bars(df.assign(x=[None, "a"]), "x", "y", "net").data[-1].x == ("a",)


def test_yes_and_no_are_categories() -> None:
    df = pd.DataFrame({"x": [1, 2], "y": [1.0, 2.0], "signed": [True, False]})
    assert [t.name for t in plots.curves(df, "x", "y", "signed").data] == ["yes", "no"]


@pytest.mark.parametrize("value", [0.0, 7.0, 1e-6])
def test_one_cell_and_a_flat_surface(value: float) -> None:
    df = pd.DataFrame([{"x": x, "y": y, "v": value} for x in (1, 2) for y in (1, 2)])
    assert "<svg" in plots.svg(plots.surface(df, "x", "y", "v"))
    fig = plots.heat_map(df[:1], "x", "y", "v")
    assert fig.data[0].zmin < value < fig.data[0].zmax and "<svg" in plots.svg(fig)


# Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda d: plots.curves(d, "bits", "top1"), r"no column 'top1' for y; .* 'acc'"),
        (lambda d: plots.curves(d, "bits", "acc", "nets"), "no column 'nets' for colour"),
        (lambda d: plots.curves(d[:0], "bits", "acc"), "the frame is empty"),
        (
            lambda d: plots.curves(d, "lut", "acc", "net", dash="acts", name="W{bits}"),
            r"curves fills in \{net\} and \{acts\} in a name, which does not fit 'W\{bits\}'",
        ),
        (lambda d: plots.curves(d, "bits", "net"), "needs numbers for y, and column 'net' holds"),
        (lambda d: plots.curves(d, "bits", "acc", "lut", "acts"), "at most 2 facets"),
        (lambda d: plots.curves(d.assign(n=range(32)), "bits", "acc", "n"), "at most 13 series"),
        (lambda d: plots.curves(d.assign(z=-d.bits), "z", "acc", log_x=True), "positive numbers"),
        (lambda d: plots.curves(d.assign(acc=np.nan), "bits", "acc"), "finds no finite number"),
        (
            lambda d: plots.curves(d, "bits", "acc", "lut", menu="acts", facet="net"),
            "a menu or facet and dash, not both",
        ),
        (
            lambda d: plots.curves(d, "bits", "acc", "lut", menu="acts", dash="net"),
            "a menu or facet and dash, not both",
        ),
        (lambda d: plots.curves(d, "bits", "acc", menu="width"), "no column 'width' for menu"),
        (lambda d: plots.curves(d, "bits", "acc", menu_first=3), "menu_first only with menu"),
        (
            lambda d: plots.curves(d, "bits", "acc", menu="acts", menu_first=5),
            "no 5 in column 'acts' to show first; it has 1, 2, 3, 4",
        ),
        (
            lambda d: plots.curves(d.assign(acts=np.nan), "bits", "acc", menu="acts"),
            "no value in column 'acts' for menu",
        ),
        (
            lambda d: plots.curves(
                d.assign(acts=d.acts.where(d.acc.isna())), "bits", "acc", menu="acts"
            ),
            "no finite number in column 'acc'",
        ),
        (
            lambda d: plots.curves(d, "bits", "acc", "net", menu="acts", name="W{bits}"),
            r"curves fills in \{net\} and \{acts\} in a name, which does not fit 'W\{bits\}'",
        ),
        (lambda d: plots.curves([1, 2], "bits", "acc"), "draws a pandas DataFrame, not a list"),
        (lambda d: plots.heat_map(d, "bits", "acts", "acc"), "one row for each pair"),
        (lambda d: plots.heat_map(d, "bits", "acts", "acc", mark="good"), "'good' for mark"),
        (
            lambda d: plots.heat_map(d, "bits", "acts", "acc", mark="lut"),
            "true or false in column 'lut' for mark, not int64",
        ),
        (lambda d: plots.surface(d, "net", "acts", "acc"), "needs numbers for x"),
        (lambda d: plots.radar(d, "net", "acc"), "at least 3 criteria"),
        (lambda d: plots.pareto(d, "lut", "acc", better=("low", "high")), "not 'low'"),
        (lambda d: plots.pareto(d, "lut", "acc", front="net"), "true or false in column 'net'"),
        (lambda d: plots.bars(d, "net", "acc"), "one row for each bar"),
        (lambda d: plots.steps(d, "bits", "none"), "no column 'none'"),
        (lambda d: plots.table(d, caption="c", formats={"f1": ".2f"}), "no column 'f1' to format"),
        (lambda d: plots.table(d.assign(verdict="good"), caption="c"), "'good' is no verdict"),
        (lambda d: plots.show(plots.curves(d, "bits", "acc"), caption="c", alt=" "), "an? alt"),
    ],
)
def test_errors_are_one_sentence(sweep: pd.DataFrame, call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        call(sweep)
    assert "\n" not in str(caught.value)


def test_a_surface_over_a_logarithm_has_a_tick_at_each_value() -> None:
    points = [(a, t) for a in (0.1, 0.9) for t in (1, 4, 16)]
    df = pd.DataFrame([{"a": a, "t": t, "v": a * t} for a, t in points])
    surface = plots.surface(df, "a", "t", "v", log_y=True)
    (drawn,) = surface.data
    assert list(drawn.y) == [0, 2, 4] and drawn.customdata[2][0] == 16
    assert "%{customdata" in drawn.hovertemplate and "%{y" not in drawn.hovertemplate
    axis = surface.layout.scene.yaxis
    assert list(axis.tickvals) == [0, 2, 4] and list(axis.ticktext) == ["1", "4", "16"]
    assert "16" in plots.svg(surface)
    with pytest.raises(ValueError, match="numbers above 0 in 't'"):
        plots.surface(df.assign(t=df.t - 1), "a", "t", "v", log_y=True)
