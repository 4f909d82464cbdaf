"""Tables saved as CSV from a page, in a browser."""

import io

import pandas as pd
import pytest
from test_plots_page import _PAGE, CHROMIUM, PATIENCE, STATIC

from qbench import plots

TABLE = pd.DataFrame(
    {
        "network": ['a "quoted", one', "plain", "hidden"],
        "LUT": [12345.0, -1.0, 7.0],
        "share (%)": [0.5, None, 1.0],
        "remark": ["1,234 images", "line\nbreak", "W3A4"],
    }
)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_a_saved_table_is_the_frame_again(tmp_path):
    browsers = pytest.importorskip("playwright.sync_api", reason="no playwright")
    shown = plots.table(TABLE, caption="costs", formats={"LUT": ",.0f"}).html
    shown = shown.replace('<tr><th scope="row">hidden', '<tr hidden><th scope="row">hidden')
    script = f'<script src="{STATIC.as_uri()}/tables.js"></script>'
    page = _PAGE.format(mode="light", static=STATIC.as_uri(), scripts=script, body=shown * 2)
    (tmp_path / "costs.html").write_text(page, encoding="utf-8")
    with browsers.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        opened = browser.new_context(accept_downloads=True).new_page()
        opened.set_default_timeout(PATIENCE)
        opened.goto((tmp_path / "costs.html").as_uri())
        buttons = opened.get_by_role("button", name="Save as CSV: costs")
        assert buttons.count() == 2
        with opened.expect_download() as waiting:
            buttons.nth(1).press("Enter")
        saved = waiting.value
        assert saved.suggested_filename == "costs-table-2.csv"
        content = saved.path().read_bytes()
        browser.close()
    assert content.startswith("\ufeff".encode()) and content.count(b"\r\n") == 3
    read = pd.read_csv(io.BytesIO(content))
    expected = TABLE.iloc[:2].assign(remark=["1,234 images", "line break"])
    pd.testing.assert_frame_equal(read, expected, check_dtype=False)
