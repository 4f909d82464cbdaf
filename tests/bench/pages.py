"""How soon a page of the built book can be used, opened from the disk in headless Chromium.

`make bench` prints medians of 5 loads after one to warm up, from the start of the navigation: until
the page is there (`load`), until it answers (scripts have run and 50 ms are free), and until its
first figure is drawn or formula set; and what a page weighs, by itself and with what it loads. The
aim is 2 seconds.
"""

import statistics
import sys
from pathlib import Path

from qbench import book, printing, provenance

PAGES = (
    "book/intro",
    "book/scoreboard",
    "book/library/fpga",
    "notebooks/02_bit_width_sweep",
    "notebooks/06_distillation",
    "notebooks/15_comparison",
    "notebooks/16_choice",
)
ANSWERS = """() => new Promise((done) => {
    const wait = () => {
        const before = performance.now();
        setTimeout(() => (performance.now() - before < 70 ? done(performance.now()) : wait()), 50);
    };
    wait();
})"""
SHOWN = """() => !document.querySelector(".qb-live, .math") ||
    document.querySelector(".qb-live .main-svg, mjx-container") !== null"""


def main() -> None:
    if printing.chromium() is None:
        print(f"{printing.MISSING} to time the pages.")
        return
    if not book.INDEX.exists():
        sys.exit("There is no book yet: run `make book`.")
    from playwright.sync_api import sync_playwright

    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores")
    print(f"{'page':32} {'load':>7} {'answers':>8} {'shown':>7}   own kB   all but plotly kB")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=printing.chromium(), args=["--no-sandbox"])
        for name in PAGES:
            file = book.INDEX.parent / f"{name}.html"
            runs = [_times(browser, file) for _ in range(6)][1:]
            load, answers, shown = (statistics.median(times) for times in zip(*runs, strict=True))
            own, loaded = file.stat().st_size / 1e3, _weight(browser, file) / 1e3
            print(
                f"{name:32} {load:5.2f} s {answers:6.2f} s {shown:5.2f} s"
                f" {own:8,.0f} {loaded:12,.0f}"
            )
        browser.close()


def _times(browser, file: Path) -> tuple[float, float, float]:
    """Seconds from the start of the navigation."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(file.as_uri())
    load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    answers = page.evaluate(ANSWERS)
    page.wait_for_function(SHOWN)
    shown = page.evaluate("performance.now()")
    context.close()
    return load / 1e3, answers / 1e3, shown / 1e3


def _weight(browser, file: Path) -> int:
    """Bytes of the page and all that it loads, plotly left out."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page, asked = context.new_page(), set()
    page.on("request", lambda request: asked.add(request.url.partition("?")[0]))
    page.goto(file.as_uri(), timeout=300_000)
    context.close()
    local = [Path(url.removeprefix("file://")) for url in asked if url.startswith("file:")]
    return sum(f.stat().st_size for f in local if f.exists() and f.name != "plotly.min.js")


if __name__ == "__main__":
    main()
