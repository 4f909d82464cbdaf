"""The built book, as a reader meets it: opened from the disk in headless Chromium, no network."""

import getpass
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import onnx
import pytest

from qbench import chapters, paths

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
]


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

    Of long tables the first rows stand for the others, which are made alike. It is not to fetch
    style sheets again, which a page from the disk must not.
    """
    from axe_playwright_python.sync_playwright import Axe

    rules = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
    found = Axe().run(
        page,
        context={
            "include": [["html"]],
            "exclude": [["tbody > tr:nth-child(n+12)"], ["tbody:nth-of-type(n+4)"]],
        },
        options={"resultTypes": ["violations"], "preload": False, **rules},
    )
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:200]}"
        for fault in found.response["violations"]
        for node in fault["nodes"]
        if fault["impact"] in ("serious", "critical")
    ]


def test_every_page_is_there_and_the_site_is_small(site):
    for page in PAGES:
        assert (site / f"{page}.html").exists()
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
    private = {str(paths.ROOT), str(Path.home()), sys.prefix}
    private |= {getpass.getuser() + "@"}
    for file in site.rglob("*"):
        if file.suffix in (".html", ".ipynb", ".md", ".txt", ".json"):
            text = file.read_text(encoding="utf-8")
            assert not [p for p in private if p in text], file


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_network_errors_or_overflow(site, browser, name, theme, width):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, offline=True
    )
    page, faults, asked = context.new_page(), [], []
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    figures = page.locator("figure.qb-figure")
    for number in range(figures.count()):
        figures.nth(number).scroll_into_view_if_needed()
        figures.nth(number).locator(".main-svg").first.wait_for(timeout=20_000)
    if name.startswith("notebooks/"):
        assert figures.count() > 0
        page.locator("mjx-container").first.wait_for(timeout=20_000)
        assert page.locator("mjx-merror").count() == 0
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    unfit = barriers(page, theme) if width == 1280 else []
    context.close()
    assert wide <= 0, f"{wide} px wider than the window"
    assert unfit == []
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
