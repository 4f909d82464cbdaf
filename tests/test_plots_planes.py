"""`plane`: one quality against several costs, of which a menu shows one at a time."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plots_samples import STATIC

from qbench import plots
from qbench.plots import _menu

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
LABELS = {"lut": "LUTs", "rate": "Frames/s", "acc": "Test accuracy (%)", "kind": "Method"}
COSTS = {"rate": "higher", "lut": "lower"}


@pytest.fixture
def designs() -> pd.DataFrame:
    """Two methods; `b` has one design without a rate, and both a design that others beat."""
    return pd.DataFrame(
        {
            "kind": ["a", "a", "a", "b", "b"],
            "name": ["a1", "a2", "a3", "b1", "b2"],
            "acc": [90.0, 95.0, 94.0, 99.0, 80.0],
            "low": [89.0, 95.0, 94.0, 98.0, 80.0],
            "high": [91.0, 95.0, 94.0, 99.5, 80.0],
            "rate": [1e6, 1e5, 1e4, np.nan, 1e3],
            "lut": [100.0, 200.0, 400.0, 4000.0, 50.0],
            "more": ["one<br>two"] * 5,
        }
    )


def plane(designs: pd.DataFrame, **options):
    same = {"name": "name", "labels": LABELS} | options
    return plots.plane(designs, COSTS, "acc", "kind", **same)


def traces(fig, choice: int) -> dict:
    return {t.name: t for t in fig.data if _menu.choice(t) == choice}


def test_each_cost_has_its_front_and_its_axis(designs: pd.DataFrame) -> None:
    fig = plane(designs, levels={"rate": {"real time": 30.0}})
    first, second = traces(fig, 0), traces(fig, 1)
    assert list(first["Pareto front"].x) == [1e5, 1e6] and first["Pareto front"].line.shape == "vh"
    assert list(second["Pareto front"].x) == [50, 100, 200, 4000]
    assert second["Pareto front"].line.shape == "hv"
    assert list(first["b"].x) == [1e3] and list(second["b"].y) == [99, 80]
    assert list(first["real time"].x) == [30, 30] and "real time" not in second
    assert [t.visible for t in first.values()] == [True] * 4
    assert [t.visible for t in second.values()] == [False] * 3
    low, high = fig.layout.xaxis.range
    assert low < np.log10(30) and high > 6 and fig.layout.xaxis.title.text == "Frames/s"
    (menu,) = fig.layout.updatemenus
    shown, settings, _ = menu.buttons[1].args
    assert menu.buttons[1].method == "update" and shown["visible"].count(True) == 3
    assert settings["xaxis.title.text"] == "LUTs"
    assert settings["xaxis.range"] == pytest.approx(np.log10([50, 4000]), abs=0.1)
    assert fig.layout.meta["menu"]["settings"][1] == settings
    lines = [{t.meta["line"] for t in part.values()} for part in (first, second)]
    assert lines[1] == lines[0] - {"level 0-0"}  # what the legend hides stays hidden


def test_a_series_without_a_design_keeps_its_place_in_the_legend(designs: pd.DataFrame) -> None:
    fig = plane(designs[designs.name != "b2"])
    assert traces(fig, 0)["b"].showlegend and list(traces(fig, 0)["b"].x) == [None]
    assert "b" in plots.svg(fig)


def test_what_lacks_of_the_whole_is_drawn(designs: pd.DataFrame) -> None:
    fig = plane(designs, whole=100.0, spread=("low", "high"), details="more")
    a = traces(fig, 1)["a"]
    assert list(a.y) == [10, 5, 6] and list(a.customdata) == [90, 95, 94]
    assert list(a.error_y.array) == [1, 0, 0] and list(a.error_y.arrayminus) == [1, 0, 0]
    assert a.text[0] == "<b>a1</b><br>one<br>two" and "%{customdata" in a.hovertemplate
    axis = fig.layout.yaxis
    assert axis.type == "log" and axis.range[0] > np.log10(20) > 0 > axis.range[1]
    named = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert named[10] == "90" and named[5] == "95"
    assert ">95<" in plots.svg(fig)


def test_the_first_choice_is_the_one_asked_for(designs: pd.DataFrame) -> None:
    fig = plane(designs, first="lut")
    assert fig.layout.xaxis.title.text == "LUTs"
    assert all(t.visible == (_menu.choice(t) == 1) for t in fig.data)
    assert "Against: LUTs" in plots.svg(fig)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"first": "power"}, "no cost 'power' to show first; it has rate, lut"),
        ({"rate": np.nan}, {}, "no finite number in column 'rate'"),
        ({"lut": 0.0}, {}, "positive numbers in column 'lut'"),
        ({"acc": 100.0}, {"whole": 100.0}, "numbers below 100, the whole, in column 'acc'"),
        ({}, {"details": "words"}, "no column 'words' for details"),
    ],
)
def test_errors_are_one_sentence(designs: pd.DataFrame, change, options, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        plane(designs.assign(**change), **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="'lower' or 'higher', not 'less'"):
        plots.plane(designs, {"lut": "less"}, "acc", "kind", name="name")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_the_pages_menu_changes_the_axis(designs: pd.DataFrame, tmp_path: Path) -> None:
    browsers = pytest.importorskip("playwright.sync_api", reason="no playwright")
    scripts = (STATIC / "qbench.js", plots.plotly_js())
    links = "".join(f'<script src="{file.as_uri()}"></script>' for file in scripts)
    bundle = plots.html(plane(designs), caption="c", alt="a")
    style = f'<link rel="stylesheet" href="{(STATIC / "qbench.css").as_uri()}">'
    page_file = tmp_path / "page.html"
    page_file.write_text(f'<!doctype html><html data-theme="light">{style}{links}{bundle}</html>')
    title = "document.querySelector('.xtitle')?.textContent"
    with browsers.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, faults = browser.new_page(), []
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_function(f"{title} === 'Frames/s'")
        for choice, words, ends in (("LUTs", "LUTs", (50, 4000)), ("Frames/s", "Frames/s", None)):
            page.get_by_label("Against:").select_option(choice)
            page.wait_for_function(f"{title} === '{words}'")
            low, high = page.evaluate("document.querySelector('.qb-live').layout.xaxis.range")
            if ends:
                assert (low, high) == pytest.approx(np.log10(ends), abs=0.1)
            else:
                assert high > 6
        browser.close()
    assert faults == []


def test_a_level_far_from_all_designs_does_not_take_their_room(designs: pd.DataFrame) -> None:
    near = designs.assign(rate=[1e5, 3e4, 2e4, np.nan, 1e4])
    fig = plane(near, levels={"rate": {"real time": 30.0}})
    assert "real time" not in traces(fig, 0) and fig.layout.xaxis.range[0] > 3.9
    between = plane(near, levels={"rate": {"real time": 2e4}})
    assert "real time" in traces(between, 0)


def test_the_low_end_of_an_axis_with_a_whole_has_a_tick(designs: pd.DataFrame) -> None:
    low = designs.assign(acc=[90.0, 95.0, 94.0, 99.0, 15.0])
    assert "20" in plane(low, whole=100.0).layout.yaxis.ticktext
    assert "20" not in plane(designs, whole=100.0).layout.yaxis.ticktext
