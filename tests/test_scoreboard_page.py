"""The scoreboard's filters in headless Chromium, opened from the disk; without a script all."""

import shutil

import pytest
import scoreboard_toy as toy

from qbench import paths, reference, scoreboard, scoreboard_page

DIFFERS = ("stewart2021/claims:two_bit_catches_up", "ducasse2021/table_2:0")


@pytest.fixture(scope="module")
def board():
    """A part of the board, so that the browser has little to lay out."""
    whole = scoreboard.board(toy.whole(**dict.fromkeys(DIFFERS, "differs")))
    claims = (whole["table"] == "claims") & (whole["source"] == "stewart2021")
    return whole[claims | (whole.index.str.startswith("ducasse2021/table_"))]


@pytest.fixture(scope="module")
def file(board, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    text = scoreboard_page.page(board, reference.TITLES)
    first, *sections = text.replace("```{raw} html", "").replace("```", "").split("## ")
    parts = [section.partition("\n")[::2] for section in sections]
    html = first + "".join(f"<section><h2>{name}</h2>{rest}</section>" for name, rest in parts)
    (folder / "book").mkdir()
    (folder / "_static").mkdir()
    script = "scoreboard.js"
    shutil.copy(paths.BOOK / "_static" / script, folder / "_static" / script)
    page = folder / "book" / "scoreboard.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'><main>{html}</main>", encoding="utf-8")
    return page


def shown(page):
    return page.evaluate(
        "[...document.querySelectorAll('[data-v]')].filter((row) => row.checkVisibility()).length"
    )


def opened(browser, file, anchor="", **how):
    page = browser.new_context(offline=True, **how).new_page()
    page.set_default_timeout(90_000)  # a loaded machine takes its time
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(file.as_uri() + anchor)
    return page


def test_filters_show_what_they_say_and_keep_it_in_the_address(browser, file, board):
    page = opened(browser, file)
    assert shown(page) == len(board) and page.locator("form.qb-filter").is_visible()
    page.get_by_label("Verdict", exact=True).select_option("differs")
    assert shown(page) == (board["verdict"] == "differs").sum() >= len(DIFFERS)
    page.get_by_label("Publication", exact=True).select_option("ducasse2021")
    assert shown(page) == 1 and page.url.endswith("#publication=ducasse2021&verdict=differs")
    assert page.locator("output").inner_text() == f"1 of {len(board):,} shown"
    page.get_by_label("Chapter", exact=True).select_option("05")
    assert shown(page) == 1
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(
        "(all) => document.querySelector('output').textContent.startsWith(all)",
        arg=f"{len(board)} ",
    )
    assert shown(page) == len(board) and "#" not in page.url.rstrip("#")
    page.get_by_label("Verdict", exact=True).select_option("-")
    assert shown(page) == (board["verdict"] == "").sum()
    assert page.faults == []


def test_a_link_of_the_front_page_shows_what_it_counts(browser, file, board):
    text = scoreboard_page.front(board, reference.TITLES)
    assert "scoreboard.html#publication=ducasse2021&amp;verdict=differs" in text
    assert 'href="scoreboard.html#publication=stewart2021&amp;verdict=differs">1</a>' in text
    page = opened(browser, file, "#publication=stewart2021&verdict=differs")
    assert shown(page) == 1
    assert page.get_by_label("Verdict", exact=True).input_value() == "differs"


def test_without_a_script_every_row_is_shown_and_no_filter(browser, file, board):
    page = opened(browser, file, java_script_enabled=False)
    assert page.locator("[data-v]").count() == len(board)
    assert not page.locator("form.qb-filter").is_visible()
    assert page.locator("[data-v]").last.is_visible()
