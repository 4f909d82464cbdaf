"""The book as one PDF: the built pages in reading order, printed by headless Chromium.

The static forms stand in for the interactive figures, links lead inside the document, and the fonts
and scripts are those of the site, so that nothing is fetched from a network.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

import yaml

from qbench import paths, provenance
from qbench.errors import UserError
from qbench.files import write_atomically

BROWSERS = ("chromium", "chromium-browser", "chrome", "google-chrome")
MISSING = "Chromium is missing: install the package chromium"
PDF = paths.BUILD / "book.pdf"
ASSEMBLED = paths.BUILD / "book-print.html"
LEFT_OUT = "book/library"  # signatures by the hundred, which are for the screen
MINUTES = 10  # that Chromium may take
ARTICLE = re.compile(r'<article class="bd-article">(.*?)</article>', re.DOTALL)
SCRIPT = re.compile(r"<script\b.*?</script>|<form\b.*?</form>", re.DOTALL)
DRAWING = re.compile(r"(<svg\b.*?</svg>)", re.DOTALL)
PLACE = re.compile(r'(?<=\s)(id|for|href|src|aria-labelledby|aria-controls)="([^"]*)"')
HEADING = re.compile(r'<section[^>]*? id="([^"]*)"[^>]*>\s*<h2>(.*?)<a class="headerlink"')
STYLE = re.compile(r'<link[^>]*rel="stylesheet"[^>]*>')
MATHS = re.compile(
    r'<script>window\.MathJax = .*?</script>|<script defer="defer" src="[^"]*mathjax/.*?</script>'
)
FOOT = (
    '<div style="width: 100%; font: 8pt sans-serif; text-align: center; color: #444">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)


class PrintError(UserError, RuntimeError):
    """The book could not be printed."""


@dataclass(frozen=True)
class _Part:
    caption: str
    pages: tuple[tuple[str, str], ...]  # name and title; the empty one is the page's own


def chromium() -> str | None:
    """Path of the Chromium that is installed, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pdf(site: Path, target: Path = PDF) -> Path:
    """Print the built book at `site` to `target`, A4 with page numbers; returns `target`.

    Raises `PrintError` without Chromium or playwright, or where Chromium fails.
    """
    browser = check()
    from playwright.sync_api import Error, sync_playwright

    try:
        with sync_playwright() as play:
            started = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            printed(started, site, target)
            started.close()
    except Error as error:
        said = str(error).splitlines()[0]
        raise PrintError(f"Chromium could not print the book: {said}") from None
    return target


def printed(browser: Any, site: Path, target: Path) -> None:
    """`pdf` with a `browser` that playwright has started."""
    made = target.with_suffix(".part")
    write_atomically(ASSEMBLED, assembled(site).encode())
    context = browser.new_context(offline=True, color_scheme="light")
    try:
        page = context.new_page()
        page.set_default_timeout(MINUTES * 60_000)
        page.goto(ASSEMBLED.as_uri(), wait_until="load")
        page.evaluate("window.MathJax?.startup?.promise")
        page.pdf(
            path=made,
            prefer_css_page_size=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOT,
            outline=True,
            tagged=True,
        )
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)
        context.close()


def check() -> str:
    """The path of Chromium; raises `PrintError` where the book cannot be printed."""
    browser = chromium()
    if browser is None:
        raise PrintError(f"{MISSING} to print the book.")
    try:
        import playwright  # noqa: F401
    except ImportError:
        raise PrintError("playwright is missing: install the extra `test` to print.") from None
    return browser


def assembled(site: Path) -> str:
    """HTML of the whole book, to lie at `ASSEMBLED`: title, contents, pages in reading order."""
    parts = list(_parts())
    names = {name for part in parts for name, _ in part.pages}
    head, contents, body = "", [], []
    for part in parts:
        items = []
        for name, title in part.pages:
            text = (site / f"{name}.html").read_text(encoding="utf-8")
            article = ARTICLE.search(text)
            if article is None:
                raise PrintError(f"{name}.html has no article: build the book again.")
            if not head:
                head = "\n".join(STYLE.findall(text)) + "\n".join(MATHS.findall(text))
                head = _local(head, name, names, site)
            inside = SCRIPT.sub("", article[1])
            items.append(_entry(name, title or _title(inside), inside))
            inside = _local(inside, name, names, site)
            body.append(f'<article class="bd-article" id="{_key(name)}">{inside}</article>\n')
        caption = f"<p>{escape(part.caption)}</p>" if part.caption else ""
        contents.append(f"{caption}<ul>{''.join(items)}</ul>")
    said = yaml.safe_load((paths.ROOT / "_config.yml").read_text(encoding="utf-8"))
    title = escape(said["title"])
    made = escape(f"{said['author']}, commit {provenance.commit() or 'unknown'}")
    return (
        '<!DOCTYPE html>\n<html lang="en-GB" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>{title}</title>{head}</head>\n<body class="qb-print">\n'
        f'<header class="qb-front"><p class="qb-title">{title}</p><p>{made}</p></header>\n'
        f'<nav class="qb-contents"><p class="qb-title">Contents</p>{"".join(contents)}</nav>\n'
        f'<main class="bd-content">{"".join(body)}</main></body></html>\n'
    )


def _parts() -> Iterator[_Part]:
    """The book's pages from its table of contents, those that are not for paper left out."""
    toc = yaml.safe_load((paths.BOOK / "_toc.yml").read_text(encoding="utf-8"))
    yield _Part("", ((toc["root"], ""),))
    for part in toc["parts"]:
        pages = tuple((page["file"], page.get("title", "")) for page in part["chapters"])
        yield _Part(part["caption"], tuple(p for p in pages if not p[0].startswith(LEFT_OUT)))


def _key(name: str, place: str = "") -> str:
    """The anchor of a place on a page in the document of all pages."""
    return re.sub(r"\W", "-", name) + (f"--{place}" if place else "")


def _title(article: str) -> str:
    found = re.search(r"<h1>(.*?)<a class=\"headerlink\"", article, re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", "", found[1])) if found else ""


def _entry(name: str, title: str, article: str) -> str:
    """A page in the contents, with its sections."""
    sections = "".join(
        f'<li><a href="#{_key(name, place)}">{re.sub(r"</?a[^>]*>", "", words)}</a></li>'
        for place, words in HEADING.findall(article)
    )
    return f'<li><a href="#{_key(name)}">{escape(title)}</a><ul>{sections}</ul></li>'


def _local(text: str, name: str, names: set[str], site: Path) -> str:
    """`text` of the page `name` with its places and links as they are in the whole document."""
    folder = site.relative_to(paths.BUILD).as_posix()

    def moved(match: re.Match) -> str:
        key, value = match.groups()
        if key not in ("href", "src"):
            return f'{key}="{" ".join(_key(name, part) for part in value.split())}"'
        if re.match(r"[a-z]+:|//", value):
            return match[0]
        file, _, place = value.partition("#")
        target = normpath(join(dirname(name), file)) if file else f"{name}.html"
        if target.removesuffix(".html") in names:
            return f'{key}="#{_key(target.removesuffix(".html"), place)}"'
        return f'{key}="{folder}/{target}"'

    # Drawings refer to their own parts, which have names of their own.
    return "".join(
        part if part.startswith("<svg") else PLACE.sub(moved, part) for part in DRAWING.split(text)
    )
