"""The plots on a page: bundles of both forms, tables, and how a browser shows them."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plots_samples
import pytest
from plots_samples import CSS, STATIC

from qbench import plots
from qbench.plots import theme

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
PATIENCE = 120_000  # ms: a limit for what never comes, on a machine however busy
sweep = pytest.fixture(plots_samples.sweep, scope="module")
figures = pytest.fixture(plots_samples.figures, scope="module")


# Bundles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["curves", "menu", "heat_map", "surface", "radar", "bars"])
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


NETWORKS = [f"network {number} and all that is known of it" for number in range(9)]


def repeated(fig: go.Figure, times: int) -> go.Figure:
    """Points with the same texts again and again, as a menu's choices have them, in the figure."""
    points = {"x": [*range(1, 10)], "y": [90] * 9, "text": NETWORKS, "mode": "markers"}
    return go.Figure(fig).add_traces([go.Scatter(points, showlegend=False)] * times)


def test_texts_that_every_choice_repeats_are_in_a_bundle_once(figures: dict) -> None:
    page = plots.html(repeated(figures["pareto"], 4), caption="c", alt="a", static=False)
    spec = json.loads(re.search(r"json\" class=\"qbench-figure\">(.*?)</script>", page)[1])
    assert page.count(NETWORKS[3]) == 1
    assert [[spec["texts"][at] for at in t["text"]] for t in spec["data"][-4:]] == [NETWORKS] * 4
    assert "text" not in spec["data"][0]
    alone = plots.html(repeated(figures["pareto"], 1), caption="c", alt="a", static=False)
    assert '"texts"' not in alone and alone.count(NETWORKS[3]) == 1


def test_bundle_of_a_menu(figures: dict) -> None:
    page = plots.html(figures["menu"], caption="c", alt="a")
    spec = json.loads(re.search(r"json\" class=\"qbench-figure\">(.*?)</script>", page)[1])
    assert spec["layout"]["meta"]["menu"]["names"] == ["1", "2", "3", "4"]
    assert spec["layout"]["meta"]["menu"]["first"] == 1
    assert "updatemenus" not in spec["layout"]  # the page draws its own
    assert "<summary>Static form · Activation width (bits): 2</summary>" in page
    for choice in range(4):
        keys = [t["meta"]["line"] for t in spec["data"] if t["meta"]["choice"] == choice]
        lines = ["0-0", "0-1", "1-0", "1-1"][2 if choice == 2 else 0 :]
        assert keys[: len(lines)] == lines and len(keys) == len(set(keys))


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

# Every figure is drawn, as wide as its place and in the page's ink, and since the frame before
# nothing has moved.
_SETTLED = """() => {
  const ink = getComputedStyle(document.documentElement).getPropertyValue('--qb-ink').trim();
  const drawn = [...document.querySelectorAll('.qb-figure')].every((figure) => {
    const live = figure.querySelector('.qb-live');
    return figure.classList.contains('qb-drawn') &&
      live.layout.width === Math.floor(live.clientWidth) &&
      live.layout.template.layout.font.color === ink;
  });
  const parts = [...document.querySelectorAll('.qb-live, .qb-live svg text')];
  const before = window.placesBefore;
  window.placesBefore = JSON.stringify(parts.map((part) => part.getBoundingClientRect()));
  return drawn && window.placesBefore === before;
}"""


# Of the figure with a menu: the lines in sight, their colours, the range, the legend, the size.
_CHOSEN = """() => {
  const live = document.querySelector('.qb-menu ~ .qb-live');
  const lines = live._fullData.filter((t) => t.mode === 'lines+markers' && t.visible === true);
  return {
    names: lines.map((line) => line.name),
    colours: lines.map((line) => line.line.color),
    legend: [...live.querySelectorAll('.legendtext')].map((text) => text.textContent),
    range: live._fullLayout.yaxis.range,
    height: live._fullLayout.height,
  };
}"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_pages_in_a_browser(figures: dict, tmp_path: Path) -> None:
    """Drawn in both themes and widths, nothing cut off, no error, no request but for files."""
    browsers = pytest.importorskip("playwright.sync_api", reason="no playwright")
    (tmp_path / "stub.js").write_text("window.Plotly = {react: async () => {}, Icons: {}};")
    shutil.copy(STATIC / "qbench.js", tmp_path)
    shutil.copy(plots.plotly_js(), tmp_path)  # beside the script, which loads it
    alone = f'<script src="{STATIC.as_uri()}/qbench.js"></script>'
    ours, stub = '<script src="qbench.js"></script>', '<script src="stub.js" defer></script>'
    wide = plots.table(pd.DataFrame({"a": ["x" * 30], "b": ["y" * 30]}), caption="wide").html
    every = "".join(plots.html(fig, caption=kind, alt=kind) for kind, fig in figures.items()) + wide
    every += plots.html(repeated(figures["pareto"], 4), caption="repeated", alt="a")
    one = plots.html(figures["radar"], caption="c", alt="a")
    far = f'<div style="height: 9000px"></div>{one}'
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "plotly.min.js").write_text("0;")
    shutil.copy(STATIC / "qbench.js", tmp_path / "broken")
    broken = '<script src="broken/qbench.js"></script>'
    pages = {"all": (ours, every), "before": (stub + ours, one), "alone": (alone, one)}
    pages |= {"far": (ours, far), "broken": (broken, one)}
    for name, (scripts, body) in pages.items():
        page = _PAGE.format(mode="dark", static=STATIC.as_uri(), scripts=scripts, body=body)
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    complaints: list[str] = []
    with browsers.sync_playwright() as play:
        flags = ["--enable-unsafe-swiftshader", "--no-sandbox"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=PATIENCE)

        def visit(name: str, width: int, **options):
            viewport = {"width": width, "height": 6000}  # every figure is on the screen at once
            page = browser.new_context(viewport=viewport, **options).new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "request",
                lambda r: r.url.startswith(("file:", "data:", "blob:")) or complaints.append(r.url),
            )
            address = (tmp_path / f"{name}.html").as_uri()
            if name not in ("alone", "broken") or not options.get("java_script_enabled", True):
                page.goto(address)
                return page
            ends = "requestfailed" if name == "alone" else "requestfinished"
            with page.expect_event(ends, lambda request: "plotly.min.js" in request.url):
                page.goto(address)
            page.wait_for_timeout(200)  # for what a script would do then
            return page

        def settled(page) -> None:
            page.wait_for_function(_SETTLED)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate(_BAD_TEXTS) == []
            assert page.evaluate("document.querySelectorAll('.qb-static[open]').length") == 0

        def ink(page, part: str = ".xtick text", role: str = "fill") -> str:
            tint = page.evaluate(f"getComputedStyle(document.querySelector('{part}')).{role}")
            return "#" + "".join(f"{int(c):02x}" for c in re.findall(r"\d+", tint)[:3])

        def choose(page, acts: str, names: list[str]) -> dict:
            page.get_by_label("Activation width (bits):").select_option(acts)
            wait = f"() => ({_CHOSEN})().names.join() === '{','.join(names)}'"
            page.wait_for_function(wait)
            return page.evaluate(_CHOSEN)

        page = visit("all", 400)
        settled(page)
        assert theme.contrast(ink(page), theme.PAPER_DARK) >= 4.5
        last = "[...document.querySelectorAll('.qb-live.js-plotly-plot')].at(-1)"
        assert page.evaluate(f"{last}.data.at(-1).text") == NETWORKS  # put back by the script
        before = page.evaluate(_CHOSEN)
        assert before["names"] == ["TFC A2", "SFC A2"] and "published" in before["legend"]
        after = choose(page, "4", ["TFC A4", "SFC A4"])
        assert after["legend"] == ["TFC A4", "SFC A4"]
        assert all(after[key] == before[key] for key in ("colours", "range", "height"))
        assert page.locator(".updatemenu-header").count() == 0
        page.locator(".qb-menu ~ .qb-live .legendtoggle").first.click(force=True)
        choose(page, "1", ["SFC A1"])  # the line that is hidden in the legend stays hidden
        choose(page, "3", ["SFC A3"])  # and no other one takes its place
        frames = page.locator(".shapelayer path").count()
        assert frames == len(figures["marks"].layout.shapes)
        mark = ".qb-live:has(.shapelayer path) .legendpoints path", "stroke"
        assert theme.contrast(ink(page, *mark), theme.PAPER_DARK) >= 4.5
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        page.set_viewport_size({"width": 1280, "height": 5000})  # both are followed
        page.wait_for_function("document.querySelector('.main-svg').clientWidth === 690")
        settled(page)
        assert theme.contrast(ink(page), theme.PAPER) >= 4.5
        assert theme.contrast(ink(page, *mark), theme.PAPER) >= 4.5
        assert page.evaluate(_CHOSEN)["names"] == ["SFC A3"]  # the choice stays as well
        page.emulate_media(media="print")
        assert not page.locator(".qb-live").first.is_visible()
        assert not page.locator(".qb-menu").first.is_visible()
        assert page.locator(".qb-static svg").first.is_visible()
        visit("before", 400).wait_for_selector(".qb-drawn")
        page = visit("far", 400)
        page.wait_for_load_state()
        assert page.locator(".qb-static svg").is_visible() and not page.evaluate("window.Plotly")
        page.locator("figcaption").scroll_into_view_if_needed()
        page.wait_for_selector(".qb-drawn")
        assert complaints == []
        without = visit("before", 400, java_script_enabled=False)
        for page in (visit("alone", 400), visit("broken", 400), without):
            assert page.locator(".qb-static svg").first.is_visible()
            assert not page.locator(".qb-live").first.is_visible()
        browser.close()
    assert all("Failed to load" in one for one in complaints), complaints  # of "alone"
