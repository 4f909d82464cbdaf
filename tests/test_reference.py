"""The published values: every file as its README says, and the verdict on ours."""

import csv
import re
from collections import Counter
from functools import cache
from math import nan

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qbench import paths, plots, reference

FILES = sorted(paths.PAPER.glob("*/*.csv"))
CLAIMS = [f for f in FILES if f.stem == "claims"]
ERRATA = [f for f in FILES if f.stem == "errata"]
TABLES = [f for f in FILES if f.stem not in ("claims", "errata")]
VALUES = TABLES + CLAIMS  # what has quantity, value, unit, printed and note

# A new spelling is a decision: look first whether one of these says the same.
UNITS = set(
    "% 1 GB GB/s GHz Gb Gb/s KB Kb MB MHz Mb Mb/s TB TOPS W billion bits degrees images/s "
    "images/s/BRAM images/s/kLUT k mJ million mm ms nm ops/cycle pJ pixels text year".split()
)
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
NUMBER = re.compile(r"-?\d+(\.\d+)?")

# The texts that the values were read from lie beside a maintainer's checkout, never in it.
SEEDS = paths.ROOT.parent / "shared" / "seeds"
TEXTS = {
    "stewart2021": "000_*.txt",
    "stewart2020": "001_*.txt",
    "ducasse2021": "002_*.txt",
    "faraone2021": "003_*.txt",
    "vailakis2022": "004_*.txt",
}


@cache
def rows(*files):
    """Rows of the files, each with its file and line; a ragged row keeps its surplus in None."""
    found = []
    for file in files:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            found += [(f"{file.parent.name}/{file.name}:{reader.line_num}", row) for row in reader]
    return found


def columns(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return next(csv.reader(stream))


def each(files):
    """Once a publication, with its files; what fails is named by file and line."""
    grouped = {name: [f for f in files if f.parent.name == name] for name in reference.sources()}
    grouped = {name: found for name, found in grouped.items() if found}
    return pytest.mark.parametrize("files", list(grouped.values()), ids=list(grouped))


# Files


def test_there_are_files_and_readme_names_every_folder():
    readme = (paths.PAPER / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z]+\d{4})` \|", readme, re.MULTILINE)
    assert sorted(listed) == reference.sources()
    assert set(TEXTS) == {f.parent.name for f in CLAIMS} == {f.parent.name for f in ERRATA}


@each(FILES)
def test_files_are_plain_and_rectangular(files):
    for file in files:
        raw = file.read_bytes()
        assert b"\r" not in raw and raw.endswith(b"\n") and raw.startswith(b"source,where,"), file
        assert rows(file), f"{file}: no rows"
    for at, row in rows(*files):
        assert None not in row and None not in row.values(), f"{at}: wrong number of cells"
        assert row["source"] == at.split("/")[0], at
        assert row["where"], at
        for column, cell in row.items():
            assert cell == " ".join(cell.split()), f"{at}: stray white space in {column}"


@each(TABLES)
def test_tables_have_the_columns_of_the_readme(files):
    for file in files:
        found = columns(file)
        assert re.match(r"(table|figure|equation)_", file.stem) and SNAKE.fullmatch(file.stem)
        assert found[:2] == reference.FIRST and found[-5:] == reference.LAST, file
        assert len(set(found)) == len(found), file
        assert all(SNAKE.fullmatch(key) for key in found), file
        keys = Counter(tuple(row[c] for c in found[:-4]) for _, row in rows(file))
        assert max(keys.values()) == 1, f"{file}: not one row a key: {keys.most_common(1)}"


@each(TABLES)
def test_bit_widths_among_the_keys_are_whole_numbers(files):
    for at, row in rows(*files):
        for key in ("weight_bits", "act_bits"):
            assert re.fullmatch(r"\d*", row.get(key, "")), f"{at}: {key} {row[key]!r}"


@each(CLAIMS)
def test_claims(files):
    assert columns(*files) == reference.CLAIMS
    found = rows(*files)
    assert len({row["claim"] for _, row in found}) == len(found), "identifiers are not unique"
    for at, row in found:
        assert SNAKE.fullmatch(row["claim"]), at
        assert row["kind"] in ("numeric", "directional"), at
        assert row["statement"][:1] == row["statement"][:1].upper(), at
        assert row["statement"].endswith("."), at
        described = [row[c] for c in ("quantity", "value", "unit", "printed")]
        assert all(described) if row["kind"] == "numeric" else not any(described), at


@each(ERRATA)
def test_errata(files):
    assert columns(*files) == reference.ERRATA
    found = rows(*files)
    assert len({row["erratum"] for _, row in found}) == len(found), "identifiers are not unique"
    for at, row in found:
        assert SNAKE.fullmatch(row["erratum"]), at
        assert row["printed"] and row["arithmetic"], at
        assert not row["note"].startswith("Doubtful"), f"{at}: a doubt is no erratum"


# Values


@each(VALUES)
def test_value_unit_and_quantity(files):
    for at, row in rows(*files):
        if not row["quantity"]:
            continue  # a directional claim
        assert SNAKE.fullmatch(row["quantity"]), at
        assert row["unit"] in UNITS, f"{at}: unit {row['unit']!r}"
        if row["value"] and row["unit"] != "text":
            assert NUMBER.fullmatch(row["value"]), f"{at}: value {row['value']!r}"
        if not row["value"]:
            assert row["note"], f"{at}: an empty value needs its note"


def digits(text):
    """Digits that count: no sign, point, separator, nor zeros before or after them."""
    return re.sub(r"\D", "", text).strip("0")


@each(VALUES)
def test_printed_has_the_digits_of_value_or_a_note_says_why(files):
    for at, row in rows(*files):
        if row["value"] and not row["note"]:
            assert row["printed"], f"{at}: nothing printed and no note"
            inside = digits(row["value"]) in re.sub(r"\D", "", row["printed"])
            assert inside and re.search(r"\d", row["printed"]) or row["unit"] == "text", (
                f"{at}: {row['value']} is not in {row['printed']!r}"
            )


OURS = ("statement", "should_be", "arithmetic", "note")


@each(FILES)
def test_our_own_words_are_british_and_name_no_path(files):
    for at, row in rows(*files):
        for cell in filter(None, (row.get(column) for column in OURS)):
            assert not re.search(r"(^|[\s\"'(])~?/(home|root|work|tmp|Users|mnt)/", cell), at
            assert "\u2014" not in cell and "\ufffd" not in cell, at
            american = r"\b\w*(ti|mi|li|ri|ni)z(e|ed|es|ing|ation|er)\b|\b(color|behavior|center)"
            assert not re.search(american, cell, re.IGNORECASE), f"{at}: {cell}"


# Proofreading


@pytest.fixture(scope="module")
def texts():
    if not SEEDS.is_dir():
        pytest.skip("The texts of the publications are not beside this checkout: ../shared/seeds")
    read = {name: next(SEEDS.glob(pattern)) for name, pattern in TEXTS.items()}
    return {name: " ".join(f.read_text(encoding="utf-8").split()) for name, f in read.items()}


@each([f for f in FILES if f.parent.name in TEXTS])
def test_printed_occurs_in_the_publication(files, texts):
    text = texts[files[0].parent.name]
    assert not [f"{at}: {row['printed']}" for at, row in rows(*files) if row["printed"] not in text]


@each(CLAIMS + ERRATA)
def test_our_sentences_are_our_own(files, texts):
    """No eight words in a row are the publication's."""

    def words(text):
        return re.findall(r"[a-z0-9]+", re.sub(r"- (?=[a-z])", "", text.lower()))

    source = words(texts[files[0].parent.name])
    runs = {tuple(source[i : i + 8]) for i in range(len(source) - 7)}
    for at, row in rows(*files):
        for cell in filter(None, (row.get(column) for column in OURS)):
            own = words(cell)
            copied = [own[i : i + 8] for i in range(len(own) - 7) if tuple(own[i : i + 8]) in runs]
            assert not copied, f"{at}: {' '.join(copied[0])}"


# Loading


@each(TABLES)
def test_tables_load(files):
    for file in files:
        frame = reference.load(file.parent.name, file.stem)
        assert list(frame.columns) == columns(file) and len(frame) == len(rows(file)), file
        read = [row["value"] for _, row in rows(file)]
        if all(NUMBER.fullmatch(cell) for cell in read if cell):
            numbers = [float(cell) if cell else nan for cell in read]
            assert frame["value"].tolist() == pytest.approx(numbers, nan_ok=True), file
        else:
            assert frame["value"].tolist() == read, file
        for text in ("printed", "note", "unit", "quantity", "where"):
            assert frame[text].tolist() == [row[text] for _, row in rows(file)], file


def test_tables_and_sources_are_the_files():
    assert reference.sources() == sorted({f.parent.name for f in FILES})
    for source in reference.sources():
        assert reference.tables(source) == sorted(f.stem for f in TABLES if f.parent.name == source)


def test_keys_are_numbers_where_all_of_them_are():
    frame = reference.load("stewart2021", "table_1")
    assert frame.query("x == 0.357 and bits == 8")["value"].tolist() == [0.359375]
    ducasse = reference.load("ducasse2021", "table_2")
    assert ducasse.query("pe == 16 and weight_bits == 4")["value"].isna().all()
    selects = reference.load("faraone2021", "table_6_3")["value"]
    assert "-A1+B1" in set(selects), "a table with text keeps its text"


@each(CLAIMS)
def test_claims_load_with_numbers(files):
    frame = reference.claims(files[0].parent.name)
    assert list(frame.columns) == reference.CLAIMS and frame["value"].dtype.kind == "f"
    as_text = frame["unit"].eq("text")
    assert frame.loc[frame["kind"].eq("numeric") & ~as_text, "value"].notna().all()
    assert frame.loc[frame["kind"].eq("directional"), "value"].isna().all()


def test_errata_of_one_and_of_all():
    everything = reference.errata()
    assert list(everything.columns) == reference.ERRATA
    assert set(everything["source"]) == set(TEXTS)
    assert len(everything) == sum(len(reference.errata(source)) for source in TEXTS)


def test_unknown_names_say_what_there_is():
    with pytest.raises(ValueError, match="no source 'stewart'; there are .*stewart2021"):
        reference.tables("stewart")
    with pytest.raises(ValueError, match="ducasse2021 has no table 'table_9'; it has .*table_1"):
        reference.load("ducasse2021", "table_9")
    with pytest.raises(ValueError, match="no table 'claims'"):
        reference.load("ducasse2021", "claims")


# Verdicts

whole = st.integers(-(10**6), 10**6)
steps = st.integers(1, 10**6)


@given(whole, whole, st.integers(0, 10**6))
def test_exact_iff_equal(published, ours, tolerance):
    # two decimals, as the publications print them
    said = reference.verdict(published / 100, ours / 100, tolerance=tolerance, why="rounding")
    assert (said == "exact") == (published == ours)


@given(whole, whole, st.integers(0, 10**6))
def test_verdict_is_symmetric(published, difference, tolerance):
    def verdict(a, b):
        return reference.verdict(a, b, tolerance=tolerance, why="rounding")

    above, below = published + difference, published - difference
    assert verdict(published, above) == verdict(published, below) == verdict(above, published)


@given(whole, steps, st.sampled_from([-1, 1]))
def test_tolerance_includes_its_boundary(published, tolerance, sign):
    def verdict(difference):
        ours = published + sign * difference
        return reference.verdict(published, ours, tolerance=tolerance, why="rounding")

    assert verdict(tolerance) == "matches"
    assert verdict(tolerance + 1) == "differs"
    if tolerance > 1:
        assert verdict(tolerance - 1) == "matches"


@given(whole, whole)
def test_without_tolerance_it_differs_or_is_exact(published, ours):
    assume(published != ours)
    assert reference.verdict(published, ours) == "differs"
    assert reference.verdict(published, ours, erratum="1 + 1 = 2") == "erratum"
    assert reference.verdict(ours, ours, erratum="1 + 1 = 2") == "exact"


def test_verdict_edges():
    assert reference.verdict(0.1 + 0.2, 0.3) == "exact", "rounding is no difference"
    assert reference.verdict(0, 1e-9) == "differs"
    assert reference.verdict(nan, 1.0, tolerance=5, why="any") == "differs"
    for tolerance in (-0.1, nan):
        with pytest.raises(ValueError, match="tolerance must be at least 0"):
            reference.verdict(1, 1, tolerance=tolerance, why="any")
    with pytest.raises(ValueError, match="needs its reason"):
        reference.verdict(1, 1, tolerance=0.5)


# Comparison


@pytest.fixture
def published():
    return pd.DataFrame(
        {"network": ["a", "a", "b", "b"], "bits": [2, 3, 2, 3]}
        | {"quantity": "accuracy", "value": [84.9, 85.5, 50.0, 60.0], "unit": "%"}
        | {"printed": ["84.9%", "85.5%", "50%", "60%"], "note": ""}
    )


def test_compare(published):
    ours = pd.DataFrame(
        {"bits": [2, 3, 2, 5], "network": ["a", "a", "b", "b"], "value": [84.9, 85.4, 40.0, 1.0]}
    )
    compared = reference.compare(
        published,
        ours,
        on=["network", "bits"],
        tolerance=0.2,
        why="three seeds",
        erratum={("b", 2): "10 * 4 = 40"},
    )
    head = ["network", "bits", "quantity", "published", "ours", "unit", "verdict", "why"]
    assert list(compared.columns) == head
    assert compared["verdict"].tolist() == ["exact", "matches", "erratum"]
    assert compared["why"].tolist() == ["", "three seeds", "10 * 4 = 40"]
    assert compared["published"].tolist() == [84.9, 85.5, 50.0]
    assert compared["ours"].tolist() == [84.9, 85.4, 40.0]
    assert set(compared["verdict"]) <= set(reference.VERDICTS)


def test_verdicts_are_those_that_tables_colour():
    assert set(reference.VERDICTS) == set(plots.VERDICTS)


def test_compare_leaves_out_what_has_no_published_value(published):
    ours = published.assign(value=1.0)
    gap = published.assign(value=[84.9, nan, 50.0, nan])
    compared = reference.compare(gap, ours, on=["network", "bits"])
    assert compared["published"].tolist() == [84.9, 50.0]
    none = reference.compare(published.assign(value=nan), ours, on=["network", "bits"])
    assert none.empty and list(none.columns) == list(compared.columns)
    missing = reference.compare(published, ours.assign(value=nan), on=["network", "bits"])
    assert missing["verdict"].eq("differs").all(), "a number that we lack is no agreement"


def test_compare_a_real_table_with_itself():
    table = reference.load("stewart2021", "table_1")
    compared = reference.compare(table, table, on=["x", "bits"])
    assert len(compared) == len(table) and compared["verdict"].eq("exact").all()


def test_compare_refuses_what_it_cannot_match(published):
    with pytest.raises(ValueError, match="ours has no column 'bits'; it has network, value"):
        reference.compare(published, published[["network", "value"]], on=["network", "bits"])
    with pytest.raises(ValueError, match="published has no column 'value'"):
        reference.compare(published.drop(columns="value"), published, on=["network", "bits"])
    with pytest.raises(ValueError, match="published has several rows for the same network"):
        reference.compare(published, published, on=["network"])
    twice = pd.concat([published, published])
    with pytest.raises(ValueError, match="ours has several rows"):
        reference.compare(published, twice, on=["network", "bits"])


# Claims


def claim(name="parallelism_leaves_accuracy", **given):
    return reference.claim("stewart2021", name, **{"ours": "84.9%", **given})


def test_claim_row():
    row = claim(holds=True)
    assert row == {
        "where": "Stewart et al. 2021, Section 4.2.3",
        "claim": "Parallelism does not change accuracy.",
        "ours": "84.9%",
        "verdict": "trend",
        "why": "",
    }


@pytest.mark.parametrize(
    ("holds", "verdict"), [(True, "trend"), (False, "differs"), (None, "needs hardware")]
)
def test_claim_verdicts(holds, verdict):
    row = claim(holds=holds, why="a reason")
    assert row["verdict"] == verdict and row["why"] == ("" if holds else "a reason")
    slip = claim(holds=holds, why="a reason", erratum="373 / 6.1 = 61.1")
    assert slip["verdict"] == "erratum" and slip["why"] == "373 / 6.1 = 61.1"
    assert {verdict, "erratum"} <= set(reference.VERDICTS)


@pytest.mark.parametrize("holds", [False, None])
def test_claim_that_does_not_hold_needs_a_reason(holds):
    with pytest.raises(ValueError, match="does not hold or was not tested: give why"):
        claim(holds=holds)
    assert claim(holds=holds, erratum="1 + 1 = 2")["verdict"] == "erratum"


@pytest.mark.parametrize(
    ("number", "beside", "unit", "said"),
    [
        (3.22333, 3, "%", "3.2 %"),
        (96.9737, 96.97, "1", "96.974"),
        (373134, 373000, "images/s", "373,134 images/s"),
        (6099.05, 6100, "images/s", "6,099.1 images/s"),
        (16, 16.5, "bits", "16 bits"),
        (-0.004, 0.1, "%", "-0.004 %"),
        (0, 3, "", "0"),
        (-12.34, 12, "", "-12.3"),
    ],
)
def test_ours_has_one_decimal_more_than_theirs(number, beside, unit, said):
    assert reference.written(number, beside=beside, unit=unit) == said


def test_every_source_has_a_title():
    assert set(reference.sources()) == set(reference.TITLES)


def test_a_publication_without_claims():
    with pytest.raises(ValueError, match="horowitz2014 has no claims; ducasse2021, .* have"):
        reference.claims("horowitz2014")
    with pytest.raises(ValueError, match="horowitz2014 has no claims"):
        reference.claim("horowitz2014", "any", holds=True, ours="")


def test_unknown_claim():
    with pytest.raises(ValueError, match="stewart2021 has no claim 'nothing'; it has .*alexnet"):
        claim("nothing", holds=True)
    with pytest.raises(ValueError, match="no source"):
        reference.claim("nobody", "nothing", holds=True, ours="")
