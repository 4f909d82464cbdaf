"""The plots: colours that read in both themes, figures, their static forms, bundles and tables."""

import itertools
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from qbench import plots
from qbench.plots import drawing, theme

STATIC = Path(__file__).parents[1] / "book" / "_static"
CSS = (STATIC / "qbench.css").read_text()
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
LABELS = {
    "bits": "Weight width (bits)",
    "acts": "Activation width (bits)",
    "acc": "Test accuracy (%)",
    "net": "Network",
}


@pytest.fixture(scope="module")
def sweep() -> pd.DataFrame:
    """Two networks, four weight widths, four activation widths; one accuracy is missing."""
    rows = [
        {"net": net, "bits": w, "acts": a, "acc": top - 9 / (w * a), "sd": 0.5 / w, "lut": 900 * w}
        for net, top in (("TFC", 97.0), ("SFC", 98.0))
        for w in (1, 2, 3, 4)
        for a in (1, 2, 3, 4)
    ]
    df = pd.DataFrame(rows)
    df.loc[1, "acc"] = np.nan
    return df


@pytest.fixture(scope="module")
def figures(sweep: pd.DataFrame) -> dict:
    """One figure of each kind."""
    line = sweep[sweep.acts == 2]
    tfc = sweep[sweep.net == "TFC"]
    published = line[line.bits > 2].assign(acc=lambda d: d.acc + 0.5)
    x = np.linspace(-1, 1, 41)
    stairs = pd.concat(
        pd.DataFrame({"x": x, "q": np.round(x * k) / k, "k": k, "kind": kind})
        for k in (1, 2)
        for kind in ("signed", "scaled")
    )
    marks = pd.DataFrame(
        [
            {"what": what, "score": score / (1 + i), "net": net}
            for i, net in enumerate(("TFC", "SFC"))
            for what, score in (("Energy efficiency", 0.9), ("LUT", 0.4), ("Latency", 0.7))
        ]
    )
    return {
        "curves": plots.curves(
            line,
            "bits",
            "acc",
            "net",
            spread="sd",
            reference=published,
            labels=LABELS,
            title="Accuracy of two networks over the width of their weights",
        ),
        "facets": plots.curves(
            sweep, "bits", "acc", "acts", "net", reference={"float32": 98.5}, labels=LABELS
        ),
        "steps": plots.steps(stairs, "x", "q", "k", "kind", identity=True),
        "heat_map": plots.heat_map(tfc, "bits", "acts", "acc", labels=LABELS),
        "surface": plots.surface(tfc, "bits", "acts", "acc", plane=96.0, labels=LABELS),
        "radar": plots.radar(marks, "what", "score", "net", labels=LABELS),
        "pareto": plots.pareto(sweep, "lut", "acc", "net", labels=LABELS, log_x=True),
        "bars": plots.bars(
            line, "bits", "acc", "net", spread="sd", labels=LABELS, reference={"published": 95.0}
        ),
    }


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


def test_bars(figures: dict) -> None:
    first, second, level = figures["bars"].data
    assert (first.name, second.name, level.name) == ("TFC", "SFC", "published")
    assert first.x == ("1", "2", "3", "4") and first.y[0] is None
    assert first.error_y.array[1] == pytest.approx(0.25)


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
        (lambda d: plots.curves(d, "bits", "net"), "needs numbers for y, and column 'net' holds"),
        (lambda d: plots.curves(d, "bits", "acc", "lut", "acts"), "at most 2 facets"),
        (lambda d: plots.curves(d.assign(n=range(32)), "bits", "acc", "n"), "at most 13 series"),
        (lambda d: plots.curves(d.assign(z=-d.bits), "z", "acc", log_x=True), "positive numbers"),
        (lambda d: plots.curves(d.assign(acc=np.nan), "bits", "acc"), "finds no finite number"),
        (lambda d: plots.curves([1, 2], "bits", "acc"), "draws a pandas DataFrame, not a list"),
        (lambda d: plots.heat_map(d, "bits", "acts", "acc"), "one row for each pair"),
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


# Static form ------------------------------------------------------------------------------------


def texts(svg: str) -> str:
    return " ".join("".join(e.itertext()) for e in ElementTree.fromstring(svg).iter())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("curves", ["Weight width (bits)", "Test accuracy (%)", "TFC", "SFC", "published"]),
        ("facets", ["Weight width (bits)", "TFC", "SFC", "float32", "Network"]),
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
    bars = drawing.static(figures["bars"]).axes[0]
    assert len(bars.patches) == 8
    points = drawing.static(figures["pareto"]).axes[0]
    assert sum(len(line.get_xdata()) for line in points.lines[1:]) == sweep.acc.notna().sum()
    assert len(drawing.static(figures["radar"]).axes[0].lines) == 2
    facets = drawing.static(figures["surface"]).axes[0].collections[0]
    assert len(facets.get_facecolor()) > 200
    assert len(drawing.static(figures["facets"]).axes) == 2


def test_static_form_keeps_log_scales() -> None:
    df = pd.DataFrame({"x": [1, 10, 1000], "y": [1.0, 1e3, 1e6]})
    fig = plots.curves(df, "x", "y", log_x=True, log_y=True)
    ax = drawing.static(fig).axes[0]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert "10⁶" in texts(plots.svg(fig)) and "1,000" in texts(plots.svg(fig))


def test_static_form_writes_small_numbers_in_full() -> None:
    df = pd.DataFrame({"x": [1, 2], "y": ["a", "a"], "v": [-0.00123, 0.00456]})
    assert {"-0.00123", "0.00456"} <= set(
        texts(plots.svg(plots.heat_map(df, "x", "y", "v"))).split()
    )


def test_static_form_refuses_other_traces(sweep: pd.DataFrame) -> None:
    fig = plots.curves(sweep, "bits", "acc").add_histogram(x=[1, 2])
    with pytest.raises(ValueError, match="histogram"):
        plots.static(fig)


# Bundles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["curves", "heat_map", "surface", "radar", "bars"])
def test_bundle_is_the_same_twice(figures: dict, kind: str) -> None:
    first, second = (plots.html(figures[kind], caption="c", alt="a") for _ in range(2))
    assert first == second
    assert plots.html(figures[kind], caption="c", alt="b") != first


def test_bundle_does_not_hang_on_the_notebooks_settings(figures: dict) -> None:
    before = plots.html(figures["bars"], caption="c", alt="a")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert plots.html(figures["bars"], caption="c", alt="a") == before


def test_bundle_holds_the_figure(figures: dict) -> None:
    page = plots.html(figures["heat_map"], caption="c", alt='a "b" <c>')
    block = re.search(r'<script type="application/json" class="qbench-figure">(.*?)</script>', page)
    spec = json.loads(block[1])
    assert [t["type"] for t in spec["data"]] == ["heatmap", "scatter"]
    assert spec["data"][0]["z"][1][0] is None
    assert spec["colours"] == theme.CSS_VARIABLES
    assert "<" not in block[1] and "NaN" not in page
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;" hidden' in page
    assert '<details class="qb-static" open><summary>Static form</summary>' in page
    assert len(page) < 60_000
    without = plots.html(figures["heat_map"], caption="c", alt="a", static=False)
    assert "<svg" not in without and "<noscript><p>a</p></noscript>" in without


@pytest.mark.parametrize(
    ("caption", "written"),
    [
        ("<b>a</b> & <code>x</code>", "<b>a</b> &amp; <code>x</code>"),
        ("<b>a <i>b</i></b>", "<b>a <i>b</i></b>"),
        ("10<sup>6</sup> < 10<sup>7</sup>", "10<sup>6</sup> &lt; 10<sup>7</sup>"),
        ("<b>left open", "&lt;b&gt;left open"),
        ("<b><i>crossed</b></i>", "&lt;b&gt;&lt;i&gt;crossed&lt;/b&gt;&lt;/i&gt;"),
        ("<b onclick=x>a</b>", "&lt;b onclick=x&gt;a&lt;/b&gt;"),
        ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
    ],
)
def test_captions_are_escaped_but_for_a_few_tags(figures: dict, caption: str, written: str) -> None:
    page = plots.html(figures["radar"], caption=caption, alt="a", static=False)
    assert f"<figcaption>{written}</figcaption>" in page


def test_show_in_the_book_and_elsewhere(figures: dict, monkeypatch, capsys) -> None:
    shown: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    fig = figures["radar"]
    monkeypatch.setenv("QBENCH_BOOK", "1")
    plots.show(fig, caption="c", alt="a")
    assert shown == [
        {"text/html": plots.html(fig, caption="c", alt="a"), "text/plain": "Figure: a"}
    ]
    monkeypatch.delenv("QBENCH_BOOK")
    plots.show(fig, caption="c", alt="a")  # no kernel: nothing to display on
    assert len(shown) == 1 and capsys.readouterr().out == "Figure: a\n"
    own: list[str] = []
    monkeypatch.setattr("IPython.get_ipython", lambda: object())
    monkeypatch.setattr(type(fig), "show", lambda self, config: own.append("plotly's renderer"))
    plots.show(fig, caption="c", alt="a")
    assert own == ["plotly's renderer"]
    assert '<details class="qb-static"><summary>' in shown[1]["text/html"]


def test_plotly_js_is_there() -> None:
    assert plots.plotly_js().stat().st_size > 1_000_000


# Tables -----------------------------------------------------------------------------------------


def test_table() -> None:
    df = pd.DataFrame(
        {
            "net": ["TFC <1>", "SFC", "LFC"],
            "published": [95.77, np.nan, 98.63],
            "difference": [-0.2, 0.0, 12.0],
            "luts": [1200, 3400, 56000],
            "verdict": ["exact", "differs: fewer epochs", "needs hardware"],
        }
    )
    table = plots.table(df, caption="Ours <em>beside</em> theirs", formats={"difference": "+.1f"})
    root = ElementTree.fromstring(table.html)
    assert root.get("tabindex") == "0" and root.get("role") == "region"
    assert [th.get("scope") for th in root.iter("th")] == ["col"] * 5 + ["row"] * 3
    numeric = [e.text for e in root.iter("td") if e.get("class") == "qb-number"]
    assert numeric == ["95.77", "−0.2", "1,200", "–", "+0.0", "3,400", "98.63", "+12.0", "56,000"]
    verdicts = [(e.get("class"), e.text) for e in root.iter("span")]
    assert verdicts == [
        ("qb-verdict qb-exact", "exact"),
        ("qb-verdict qb-differs", "differs"),
        ("qb-verdict qb-needs-hardware", "needs hardware"),
    ]
    for kind, _ in verdicts:
        assert f".{kind.split()[1]} " in CSS
    assert "TFC <1>" in repr(table) and "TFC &lt;1&gt;" in table._repr_html_()
    assert plots.table(df, caption="c").html == plots.table(df, caption="c").html


# In a browser -----------------------------------------------------------------------------------

_PAGE = """<!doctype html><html lang="en" data-theme="{mode}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>plots</title>
<link rel="stylesheet" href="{static}/qbench.css">{scripts}
<style>body {{ margin: 16px; color: #222832; background: #fff; font: 16px sans-serif; }}
[data-theme=dark] body {{ color: #ced6dd; background: #121212; }}
main {{ max-width: 690px; margin: auto; }}</style></head><body><main>{body}</main></body></html>"""

# Texts of drawn figures that stick out of their figure or lie under its legend.
_BAD_TEXTS = """() => [...document.querySelectorAll('.qb-live')].flatMap((live) => {
  const room = live.getBoundingClientRect();
  const legend = live.querySelector('g.legend')?.getBoundingClientRect();
  return [...live.querySelectorAll('svg text')].filter((text) => {
    const box = text.getBoundingClientRect();
    if (!box.width) return false;
    const out = box.left < room.left - 1 || box.right > room.right + 1 ||
      box.top < room.top - 1 || box.bottom > room.bottom + 1;
    const under = legend && !text.closest('g.legend') && box.bottom > legend.top + 2 &&
      box.right > legend.left && box.left < legend.right;
    return out || under;
  }).map((text) => text.textContent);
})"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_pages_in_a_browser(figures: dict, tmp_path: Path) -> None:
    """Drawn in both themes and widths, nothing cut off, no error, no request but for files."""
    browsers = pytest.importorskip("playwright.sync_api", reason="no playwright")
    (tmp_path / "stub.js").write_text("window.Plotly = {react: async () => {}, Icons: {}};")
    ours = f'<script src="{STATIC.as_uri()}/qbench.js"></script>'
    plotly = f'<script src="{plots.plotly_js().as_uri()}"></script>'
    stub = '<script src="stub.js" defer></script>'
    wide = plots.table(pd.DataFrame({"a": ["x" * 30], "b": ["y" * 30]}), caption="wide").html
    every = "".join(plots.html(fig, caption=kind, alt=kind) for kind, fig in figures.items()) + wide
    one = plots.html(figures["radar"], caption="c", alt="a")
    pages = {"all": (ours + plotly, every), "late": (stub + ours, one), "alone": (ours, one)}
    for name, (scripts, body) in pages.items():
        page = _PAGE.format(mode="dark", static=STATIC.as_uri(), scripts=scripts, body=body)
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    complaints: list[str] = []
    with browsers.sync_playwright() as play:
        flags = ["--enable-unsafe-swiftshader", "--no-sandbox"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)

        def visit(name: str, width: int, **options):
            viewport = {"width": width, "height": 5000}  # every figure is on the screen at once
            page = browser.new_context(viewport=viewport, **options).new_page()
            page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "request",
                lambda r: r.url.startswith(("file:", "data:", "blob:")) or complaints.append(r.url),
            )
            page.goto((tmp_path / f"{name}.html").as_uri())
            return page

        def settled(page) -> None:
            page.wait_for_function("!document.querySelector('.qb-figure:not(.qb-drawn)')")
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate(_BAD_TEXTS) == []
            assert page.evaluate("document.querySelectorAll('.qb-static[open]').length") == 0

        def ink(page) -> str:
            fill = "getComputedStyle(document.querySelector('.xtick text')).fill"
            return "#" + "".join(f"{int(c):02x}" for c in re.findall(r"\d+", page.evaluate(fill)))

        page = visit("all", 400)
        settled(page)
        assert theme.contrast(ink(page), theme.PAPER_DARK) >= 4.5
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        page.set_viewport_size({"width": 1280, "height": 5000})  # both are followed
        page.wait_for_function("document.querySelector('.main-svg').clientWidth === 690")
        settled(page)
        assert theme.contrast(ink(page), theme.PAPER) >= 4.5
        page.emulate_media(media="print")
        assert not page.locator(".qb-live").first.is_visible()
        assert page.locator(".qb-static svg").first.is_visible()
        visit("late", 400).wait_for_selector(".qb-drawn")
        for page in (visit("alone", 400), visit("late", 400, java_script_enabled=False)):
            assert page.locator(".qb-static svg").first.is_visible()
            assert not page.locator(".qb-live").first.is_visible()
        browser.close()
    assert complaints == []
