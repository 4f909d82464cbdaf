"""Printed numbers computed anew: what does not agree is recorded, and what is recorded is there."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import errata_page, reference
from qbench.studies import errata
from qbench.studies.errata_numbers import Number, agrees, number


@pytest.fixture(scope="module")
def found():
    return errata.checks()


def test_every_contradiction_found_is_among_the_errata(found):
    apart = found[~found["agrees"]]
    assert len(apart) > 30 and len(found) > 400
    for row in apart.itertuples():
        recorded = set(reference.errata(row.source)["erratum"])
        assert row.erratum in recorded, f"{row.source}: {row.what}: {row.printed}, {row.computed:g}"


def test_every_erratum_named_by_a_check_is_found(found):
    """Else a slip that was mended in the data, or misread, would stay on the page."""
    for source, named in errata.RECORDED.items():
        apart = found[(found["source"] == source) & ~found["agrees"]]["what"]
        for pattern in named:
            assert any(fnmatchcase(what, pattern) for what in apart), (source, pattern)


def test_arithmetic_of_a_few_by_hand(found):
    by = found.set_index(["source", "what"])
    row = by.loc["faraone2021", "Table 4.4: throughput per bram, Pruned-40%"]
    assert row["computed"] == pytest.approx(6172 / 1156) and not row["agrees"]
    row = by.loc["vailakis2022", "Table 7.1: latency speedup, DenseNet-21, DPU, best latency"]
    assert row["computed"] == pytest.approx(6.59 / 0.69) and row["agrees"]
    row = by.loc["vailakis2022", "Section 5.8: size, DenseNet-21, 8 bits"]
    assert row["computed"] == pytest.approx(419420 / 2**20)


@pytest.mark.parametrize(
    ("value", "printed", "step"),
    [("96533.4", "96,5334", 0.0), ("373000", "373 k FPS", 1000), ("0.69", "0.69", 0.01),
     ("55.2", "55.2% and 32.8%", 0.1), ("3", "three", 0.0), ("1.0", "1.00x", 0.01)],
)  # fmt: skip
def test_a_number_is_as_precise_as_it_is_printed(value, printed, step):
    assert number({"value": value, "printed": printed}).step == pytest.approx(step)


def test_text_and_empty_entries_are_no_numbers():
    assert number({"value": "LUT6", "printed": "LUT6"}) is None
    assert number({"value": float("nan"), "printed": "-"}) is None


@given(st.floats(0.01, 1e4), st.integers(0, 3))
def test_what_is_rounded_or_cut_off_agrees_and_the_next_digit_does_not(exact, decimals):
    step = 10.0**-decimals
    for printed in (round(exact, decimals), int(exact / step) * step):
        assert agrees(Number(printed, step, ""), exact, exact)
    assert not agrees(Number(round(exact, decimals) + 2 * step, step, ""), exact, exact)
    assert not agrees(Number(round(exact, decimals) - 3 * step, step, ""), exact, exact)


def test_the_page_has_every_erratum_and_every_contradiction(found):
    listed, checked = errata_page.listed(reference.TITLES), errata_page.checked(reference.TITLES)
    assert listed.count("<tr>") - len(set(reference.errata()["source"])) == len(reference.errata())
    assert f"{len(found):,} numbers were computed" in checked
    assert checked.count('class="qb-table"') == 2


def test_every_table_of_the_preprint_is_compared_with_the_articles(monkeypatch):
    for first, second in errata.ARTICLE.items():
        old, new = (
            [errata._keyed(row) for row in errata._rows(source, table)]
            for source, table in (("stewart2020", first), ("stewart2021", second))
        )
        assert len(set(old)) == len(old) and len(set(new)) == len(new), first
        assert set(old) & set(new), f"{first} and {second} share no number"
    rows = [dict(row) for row in errata._rows("stewart2020", "figure_6")]
    rows[0]["number"] = replace(rows[0]["number"], value=1234.5)
    load, asked = errata._rows, ("stewart2020", "figure_6")
    monkeypatch.setattr(errata, "_rows", lambda *which: rows if which == asked else load(*which))
    (wrong,) = [one for one in errata.stewart() if one.computed == 1234.5]
    assert not wrong.agrees and wrong.what.startswith("Figure 8: ")
