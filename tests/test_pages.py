"""The built book, as a reader meets it: opened from the disk in headless Chromium, no network."""

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import onnx
import pytest

from qbench import chapters, library, paths

PAGES = [
    "book/intro",
    "book/how_to",
    "book/datasets",
    "book/glossary",
    "book/scoreboard",
    "book/errata",
    "book/published",
    "book/speed",
    "book/cluster",
    "book/faults",
    "book/environment",
    "book/references",
    *(f"notebooks/{chapter.name}" for chapter in chapters.all_chapters()),
    "book/library",
]
# The library's pages are made alike: one of each kind of content stands for the others.
ALIKE = [f"book/library/{page.name}" for page in library.PAGES]
SHOWN = [*PAGES, "book/library/fpga", "book/library/parameters", "book/library/analyses"]
HEAVY = 1.5e6  # bytes of a page's own, without the scripts that all share
BUSY = 120_000  # ms; how fast pages are is measured by qbench/speed_waits.py
# What is in the way of a fast audit and has nothing to audit: rows that are made like those before
# them, and the shapes of drawings that are hidden (words and links in them stay).
ALIKE_ROWS = ["tbody > tr:nth-child(n+12)", "tbody:nth-of-type(n+4)"]
UNSEEN = ", ".join([*ALIKE_ROWS, "details:not([open]) svg :is(path, use, rect, clipPath)"])


def build():
    return subprocess.run(
        [sys.executable, "-m", "qbench", "book"], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site():
    done = build()
    assert done.returncode == 0, done.stderr[-3000:]
    index = Path(done.stdout.strip().splitlines()[-1]).absolute()
    assert index.exists()
    return index.parent


def barriers(page, theme):
    """What axe finds serious or critical: all of its rules in the light theme, contrast in both.

    Of long tables the first rows stand for the others, which are made alike and taken off the page:
    axe walks through everything that is there, also through what it is told to leave out. It is not
    to fetch style sheets again, which a page from the disk must not.
    """
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate("which => document.querySelectorAll(which).forEach(e => e.remove())", UNSEEN)
    rules = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False, **rules})
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:200]}"
        for fault in found.response["violations"]
        for node in fault["nodes"]
        if fault["impact"] in ("serious", "critical")
    ]


def test_every_page_is_there_and_the_site_is_small(site):
    for page in (*PAGES, *ALIKE):
        assert (site / f"{page}.html").stat().st_size < HEAVY, page
    assert sum(f.stat().st_size for f in site.rglob("*") if f.is_file()) < 40e6


def test_the_networks_of_chapter_07_can_be_downloaded(site):
    page = site / "notebooks" / "07_evolution.html"
    links = re.findall(r'href="([^"]*/_downloads/[^"]*)"', page.read_text(encoding="utf-8"))
    offered = {link.rpartition("/")[2]: page.parent / link for link in links}
    assert set(offered) == {"best-compromise.onnx", "most-accurate.onnx", "networks.json"}
    about = json.loads(offered.pop("networks.json").read_text(encoding="utf-8"))
    for file in offered.values():
        given = onnx.load(file).graph.input[0]
        shape = [axis.dim_value for axis in given.type.tensor_type.shape.dim]
        assert given.name == about["input"]["name"] and shape[1:] == about["input"]["shape"][1:]


class Links(HTMLParser):
    """The places that a page has, and those that it leads to."""

    def __init__(self, page):
        super().__init__()
        self.places, self.leads = {"", "top"}, []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.places.add(value)
            elif name in ("href", "src") and value and not re.match(r"[a-z]+:|//", value):
                self.leads.append(value)


def test_every_link_leads_somewhere(site):
    pages = {file: Links(file) for file in site.rglob("*.html") if "_static" not in file.parts}
    lost = []
    for page, found in pages.items():
        for lead in found.leads:
            name, _, place = lead.partition("#")
            target = (page.parent / unquote(name.partition("?")[0])).resolve() if name else page
            known = pages[target].places if target in pages else {""}
            if target.name == "scoreboard.html" and "=" in place:
                continue  # a choice of its filter
            if not target.exists() or unquote(place) not in known:
                lost.append(f"{page.relative_to(site)}: {lead}")
    assert lost == []
    assert sum(len(found.leads) for found in pages.values()) > 1000


def test_the_front_page_shows_three_figures(site):
    front = (site / "book" / "intro.html").read_text(encoding="utf-8")
    assert front.partition('class="qb-gallery"')[2].partition("</div>")[0].count("<svg") == 3


def test_building_again_changes_nothing(site):
    before = (site / "index.html").stat().st_mtime_ns
    done = build()
    assert "nothing changed" in done.stderr and "executing" not in done.stderr
    assert (site / "index.html").stat().st_mtime_ns == before


def test_pages_tell_nothing_of_the_machine_that_built_them(site):
    user, host = getpass.getuser(), socket.gethostname()
    private = {str(paths.ROOT), str(Path.home()), sys.prefix, f"{user}@"}
    private |= {host} if len(host) > 8 else set()  # a short one is in fonts by chance
    told = [one for one in os.environ.values() if len(one) > 30 and " " not in one]  # keys, paths
    words = [one.encode() for one in {*private, *told}]
    for file in filter(Path.is_file, site.rglob("*")):
        content = file.read_bytes()
        assert not [word for word in words if word in content], file


#: Colours on their way from one theme to the other are no colours of a page.
STILL = "*, *::before, *::after { transition: none !important; animation: none !important }"


@pytest.fixture(scope="module")
def opened(site, browser):
    """A function that opens a page as a reader with a `theme` and a `width` does, and watches it.

    Returns the page, what it complains of, and the addresses it asks for. One context serves all
    pages of a width, so that Chromium keeps compiled scripts.
    """
    contexts = {}

    def open_(name, theme, width):
        if width not in contexts:
            size = {"width": width, "height": 900}
            contexts[width] = browser.new_context(viewport=size, offline=True)
        page, faults, asked = contexts[width].new_page(), [], []
        page.set_default_timeout(BUSY)
        page.emulate_media(color_scheme=theme)
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / f"{name}.html").as_uri())
        page.add_style_tag(content=STILL)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        figures = page.locator("figure.qb-figure")
        for number in range(figures.count()):
            figures.nth(number).scroll_into_view_if_needed()
            figures.nth(number).locator(".main-svg").first.wait_for(timeout=BUSY)
        return page, faults, asked

    yield open_
    for context in contexts.values():
        context.close()


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def from_elsewhere(asked):
    """Addresses outside the site, and the script that draws icons which the style sheet has."""
    icons = [url for url in asked if "/fontawesome/" in url and ".js" in url]
    return icons + [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_opens_in_both_themes_without_network_errors_or_barriers(opened, name):
    page, faults, asked = opened(name, "light", 1280)
    if name.startswith("notebooks/"):
        assert page.locator("figure.qb-figure").count() > 0
        page.locator("mjx-container").first.wait_for(timeout=BUSY)
        assert page.locator("mjx-merror").count() == 0
    wide, unfit = overflow(page), barriers(page, "light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.evaluate(  # figures are drawn again in the next frame
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    unfit += barriers(page, "dark")
    page.close()
    assert wide <= 0, f"{wide} px wider than the window"
    assert unfit == []
    assert faults == []
    assert from_elsewhere(asked) == []


@pytest.mark.parametrize("name", [*PAGES, *ALIKE])
def test_a_page_opens_in_the_dark_on_a_phone_without_network_or_overflow(opened, name):
    page, faults, asked = opened(name, "dark", 400)
    wide = overflow(page)
    page.close()
    assert wide <= 0, f"{wide} px wider than the window"
    assert faults == []
    assert from_elsewhere(asked) == []


def test_the_keyboard_meets_the_way_to_the_content_first_and_sees_where_it_is(opened):
    page, _, _ = opened("book/how_to", "light", 1280)
    page.evaluate("scrollTo(0, 0)")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
    page.close()
    assert seen[0]["leads"] == "#main-content" and seen[0]["target"]
    assert [s["words"] for s in seen if not s["visible"]] == []


FOCUSED = """() => {
    const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    const target = document.getElementById(e.getAttribute("href")?.slice(1));
    return {
        words: e.outerHTML.slice(0, 120), leads: e.getAttribute("href"), target: Boolean(target),
        visible: box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0 &&
            (ring || style.boxShadow !== "none"),
    };
}"""
