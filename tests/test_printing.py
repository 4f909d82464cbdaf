"""The book on paper: one document whose links stay inside it, and a sentence without Chromium."""

import re
import shutil

import pytest
from click.testing import CliRunner

from qbench import book, cli, paths, printing

STYLES = paths.BOOK / "_static" / "print.css"
PAGE = """<html><head><link rel="stylesheet" href="../_static/a.css?v=1"></head><body>
<article class="bd-article"><section id="top-of-{n}"><h1>Page {n}<a class="headerlink"></a></h1>
<section id="more"><h2>More<a class="headerlink" href="#more">#</a></h2>
<p><a href="{other}.html#more">there</a> <a href="#more">here</a> <a href="https://a.b/">out</a></p>
<svg><use href="#glyph"></use><g id="glyph"></g></svg><img alt="" src="../_images/a.png">
<script>interactive()</script></section></section></article></body></html>
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    monkeypatch.setattr(paths, "BOOK", tmp_path / "book")
    monkeypatch.setattr(printing, "ASSEMBLED", tmp_path / "print.html")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_toc.yml").write_text(
        "root: book/one\nparts:\n  - caption: Rest\n    chapters:\n"
        "      - {file: book/two, title: Second}\n      - {file: book/library/x}\n"
    )
    pages = tmp_path / "site" / "book"
    pages.mkdir(parents=True)
    (pages / "one.html").write_text(PAGE.format(n=1, other="two"))
    (pages / "two.html").write_text(PAGE.format(n=2, other="one"))
    (tmp_path / "site" / "_static").mkdir()
    shutil.copy(STYLES, tmp_path / "site" / "_static" / "a.css")
    return tmp_path / "site"


def test_pages_stand_in_order_and_lead_to_each_other(site):
    text = printing.assembled(site)
    places = re.findall(r' id="([^"]*)"', text)
    assert (
        len(set(places) - {"glyph"}) == len(places) - 2
    )  # of the drawings, which are as they were
    leads = re.findall(r'<a[^>]* href="#([^"]*)"', text)
    assert {"book-one--more", "book-two--more"} <= set(leads) <= set(places)
    assert text.index("Page 1") < text.index("Page 2") and ">Second</a>" in text
    assert 'href="site/_static/a.css?v=1"' in text and 'src="site/_images/a.png"' in text
    assert "interactive()" not in text and 'href="https://a.b/"' in text


def test_chromium_prints_it(site, browser, tmp_path):
    target = tmp_path / "book.pdf"
    printing.printed(browser, site, target)
    content = target.read_bytes()
    assert content.startswith(b"%PDF") and content.count(b"/Type /Page\n") == 4
    assert [f.suffix for f in tmp_path.iterdir() if f.is_file()] != [".part"]


def test_without_chromium_it_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr(printing, "BROWSERS", ("no-such-browser",))
    monkeypatch.setattr(book, "build", lambda **_: pytest.fail("built"))
    done = CliRunner().invoke(cli.main, ["book", "--pdf"])
    assert done.exit_code == 1
    assert (
        done.output
        == "qbench: Chromium is missing: install the package chromium to print the book.\n"
    )
