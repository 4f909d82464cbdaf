"""Multipliers made of adders: the thesis's sets, all sets by brute force, the best match."""

from dataclasses import replace
from functools import cache, partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench import reference
from qbench.hardware import HardwareError, rccm, rccm_matching, rccm_sets
from qbench.hardware.rccm import Adder, Circuit, published
from qbench.hardware.rccm_matching import divergence, match, weight_histogram
from qbench.hardware.rccm_sets import Space, enumerate_sets

NAMES = tuple(rccm.WIRING)
A = ("A1+B1", "A2+B1", "A3+B1", "B1")


def refused(ask) -> str:
    with pytest.raises(HardwareError) as caught:
        ask()
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


@pytest.fixture(scope="module")
def sets():
    return {name: enumerate_sets(name) for name in ("2-Add", "3-Add")}


@pytest.fixture(scope="module")
def magnitudes():
    """Table 6.2, by RCCM; and the set of Fig. 6.5 (e)."""
    rows = reference.load("faraone2021", "table_6_2")
    rows = rows[rows["quantity"] == "coefficient_magnitude"]
    found = {name: sorted(map(int, part["value"])) for name, part in rows.groupby("rccm")}
    rows = reference.load("faraone2021", "figure_6_5")
    found["63"] = sorted(map(int, rows[rows["quantity"] == "coefficient_magnitude"]["value"]))
    return found


# Circuits


@pytest.mark.parametrize("name", NAMES)
def test_table_6_3_gives_table_6_2(name, magnitudes):
    codebook = published(name).codebook
    both = {sign * magnitude for magnitude in magnitudes[name] for sign in (-1, 1)}
    assert codebook.tolist() == sorted(both)
    rows = reference.load("faraone2021", "table_6_2")
    stated = rows[(rows["rccm"] == name) & (rows["quantity"] == "coefficients")]["value"]
    assert len(codebook) == int(stated.iloc[0]) <= 2 ** published(name).select_bits


@pytest.mark.parametrize(("name", "count"), [("2-Add", 13), ("3-Add", 55), ("4-Add", 206)])
def test_as_printed_topology_b_gives_another_set(name, count):
    printed = published(name, as_printed=True).codebook
    assert len(printed) == count
    assert set(printed) != set(published(name).codebook)


def test_the_erratum_s_arithmetic():
    printed = set(published("2-Add", as_printed=True).codebook.tolist())
    assert {52, 100} <= printed and not {-28, -92} & printed
    rows = reference.errata("faraone2021").set_index("erratum")
    for name in NAMES:
        row = rows.loc[f"topology_b_{name[0]}add"]
        assert row["should_be"] == "-A2+B1" and rccm.SLIP[row["printed"].strip("$")] == "-A2+B1"


@pytest.mark.parametrize("name", NAMES)
def test_products_are_right_for_every_input_of_8_bits(name):
    circuit = published(name)
    x, select = np.arange(-128, 128)[:, None], np.arange(2**circuit.select_bits)
    assert (circuit.multiply(x, select) == circuit.coefficients * x).all()


def test_a_2_add_by_hand():
    y = Adder("A", ("A1+B1", "A2+B1", "A3+B1", "-A2+B1"), (0, 1, 3, 2))
    last = Adder("B", ("-A1+B1", "A2", "A1-B1", "-B1"), (0, 2, 1))
    circuit = Circuit("2-Add", (y, last))
    assert circuit.levels[0][:4].tolist() == [5, 6, 12, 2]
    wanted = [-5 + 2, -6 + 2, -12 + 2, -2 + 2, 20, 24, 48, 8, 3, 4, 10, 0, -2, -2, -2, -2]
    assert circuit.coefficients.tolist() == wanted
    assert circuit.codebook.tolist() == sorted(set(wanted))
    assert circuit.multiply([3, -1], [6, 8]).tolist() == [144, -3]


# All sets


@cache
def by_hand(name: str, space: Space) -> list[tuple[int, ...]]:
    """Sets of all configurations in order, by the circuits themselves."""
    stages = [space.early] * (len(rccm.WIRING[name]) - 1) + [space.last]
    return [tuple(Circuit(name, adders).codebook.tolist()) for adders in product(*stages)]


SPACES = [Space(), Space(from_zero=True), Space(scaled=True)]


def reduced(coefficients: tuple[int, ...]) -> tuple[int, ...]:
    while any(coefficients) and not any(c % 2 for c in coefficients):
        coefficients = tuple(c // 2 for c in coefficients)
    return coefficients


@pytest.mark.parametrize("space", SPACES)
def test_the_sets_of_the_2_add_are_all_there_are(space):
    found, every = enumerate_sets("2-Add", space), by_hand("2-Add", replace(space, scaled=False))
    assert found.configurations == len(every)
    first = {}
    for coefficients in every:
        first.setdefault(reduced(coefficients) if space.scaled else coefficients, coefficients)
    made = [tuple(found.coefficients(number).tolist()) for number in range(len(found))]
    assert sorted(made) == sorted(first.values())
    assert found.sizes.tolist() == [len(one) for one in made]
    assert found.largest.tolist() == [one[-1] for one in made]
    assert found.zero.tolist() == [0 in one for one in made]


def test_a_set_is_found_by_its_coefficients(sets, magnitudes):
    of = sets["3-Add"]
    for number in (0, 500, len(of) - 1):
        assert of.number(of.coefficients(number)[::-1]) == number
    wanted = sorted({sign * one for one in magnitudes["63"] for sign in (1, -1)})
    assert of.coefficients(of.number(wanted)).tolist() == wanted
    said = refused(lambda: sets["2-Add"].number([-7, 0, 7]))
    assert said.startswith("none of these 1294 sets of the 2-Add has these 3 coefficients")
    assert "these 0" in refused(lambda: of.number([]))


def test_the_sets_of_the_3_add_are_those_of_its_bits_and_no_two_are_equal(sets):
    found, seen = sets["3-Add"], set()
    for part, bits in found.chunks():
        flags = rccm_sets.unpack(bits)
        assert len(flags) == part.stop - part.start
        seen |= {row.tobytes() for row in np.packbits(flags, axis=1)}
        number = part.start + len(flags) // 2
        held = np.flatnonzero(flags[len(flags) // 2])
        assert held.tolist() == np.unique(np.abs(found.coefficients(number))).tolist()
    assert len(seen) == len(found) == part.stop


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_configuration_of_the_3_add_is_in_the_enumeration(sets, data):
    found, space = sets["3-Add"], Space()
    adders = [data.draw(st.sampled_from(space.early)) for _ in range(2)]
    circuit = Circuit("3-Add", (*adders, data.draw(st.sampled_from(space.last))))
    wanted = circuit.codebook
    same = (found.sizes == len(wanted)) & (found.largest == wanted[-1])
    same &= found.zero == (0 in wanted)
    assert any(np.array_equal(found.coefficients(n), wanted) for n in np.flatnonzero(same))


def test_thousands_of_sets_of_the_4_add(monkeypatch):
    """A part of the whole: 8 first adders, so 8³ · 24 configurations."""
    few = [*Space().early[5::9]]
    monkeypatch.setattr(Space, "early", few)
    found = enumerate_sets("4-Add")
    assert found.configurations == len(few) ** 3 * 24
    rng = np.random.default_rng(0)
    last, seen = Space().last, set()
    for _, bits in found.chunks():
        seen |= {row.tobytes() for row in bits}
    assert len(seen) == len(found)
    for _ in range(60):
        adders = [few[at] for at in rng.integers(len(few), size=3)]
        flags = np.zeros((1, found._sources.width), np.uint8)
        circuit = Circuit("4-Add", (*adders, last[rng.integers(len(last))]))
        flags[0, np.abs(circuit.codebook)] = 1
        assert np.packbits(flags, bitorder="little").tobytes() in seen


def test_counts_beside_table_6_1():
    table = rccm_sets.counts(["2-Add", "3-Add"], [Space(), Space(scaled=True)])
    assert table["unique_coefficient_sets"].tolist() == [1294, 773, 66303, 40745]
    assert table["configurations"].tolist() == [1536, 1536, 98304, 98304]
    rows = reference.load("faraone2021", "table_6_1")
    printed = rows[rows["quantity"] == "unique_coefficient_sets"]["value"].astype(int)
    assert not set(printed) & set(table["unique_coefficient_sets"]), "not reproduced"


@pytest.mark.parametrize("name", NAMES)
def test_the_adders_of_table_6_3_are_enumerated(name):
    *early, last = published(name).adders
    assert last in Space().last and all(adder in Space().early for adder in early)
    assert len(Space().early) == 64 and len(Space().last) == 24


def test_the_sets_that_the_thesis_shows_are_among_them(sets, magnitudes):
    for name, wanted in (("2-Add", "2-Add"), ("3-Add", "3-Add"), ("3-Add", "63")):
        found, most = sets[name], max(magnitudes[wanted])
        size = 2 * len(magnitudes[wanted]) - 1
        like = np.flatnonzero((found.sizes == size) & (found.largest == most) & found.zero)
        made = [np.unique(np.abs(found.coefficients(number))).tolist() for number in like]
        assert made.count(magnitudes[wanted]) == 1


# Matching


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 64), st.sampled_from([0.0, 0.1, 0.5, 3]))
def test_divergences_are_those_of_the_formula(sets, seed, bins, epsilon):
    rng, found = np.random.default_rng(seed), sets["2-Add"]
    weights = rng.laplace(size=300) + rng.normal()
    histogram = weight_histogram(weights, bins)
    assert histogram.sum() == 300 and len(histogram) == bins
    matching = match(found, histogram, pseudo_count=epsilon)
    assert (np.isnan(matching.divergences) == ~found.zero).all()
    p = histogram / 300
    for number in rng.choice(matching.order, 5):
        c = found.coefficients(number)
        # Bins are cut exactly: c·bins against multiples of the largest coefficient
        edges = np.arange(bins + 1) * 2 * c[-1] - bins * c[-1]
        counts = np.histogram(c * bins, edges)[0]
        r = (counts + epsilon) / (len(c) + epsilon * bins)
        some = p > 0
        with np.errstate(divide="ignore"):
            wanted = (p[some] * np.log(p[some] / r[some])).sum()
        assert matching.divergences[number] == pytest.approx(wanted, abs=1e-12)
        assert divergence(c, histogram, epsilon) == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_ties_and_choice(sets, seed):
    found = sets["3-Add"]
    rng = np.random.default_rng(seed)
    matching = match(found, rng.integers(0, 50, 31) + np.eye(31, dtype=int)[15])
    order, far = matching.order, matching.divergences
    keys = list(
        zip(far[order], -found.sizes[order].astype(int), found.largest[order], order, strict=True)
    )
    assert keys == sorted(keys) and len(order) == found.zero.sum()
    assert matching.best(1) == order[0] and matching.worst() == order[-1]
    best, first = matching.best(), order[:5]
    assert best in first and found.sizes[best] == found.sizes[first].max()
    assert far[matching.worst(63)] == far[order][found.sizes[order] == 63].max()
    assert matching.table(3)["set"].tolist() == order[:3].tolist()


def test_a_set_and_its_double_are_as_far_and_the_narrower_comes_first(sets):
    found = sets["2-Add"]
    matching = match(found, weight_histogram(np.random.default_rng(0).laplace(size=10_000)))
    made = {tuple(found.coefficients(n).tolist()): n for n in matching.order}
    pairs = [(n, made.get(tuple(2 * c for c in one))) for one, n in made.items()]
    pairs = [(one, two) for one, two in pairs if two is not None]
    assert len(pairs) > 20
    place = {number: at for at, number in enumerate(matching.order)}
    for one, two in pairs:
        assert matching.divergences[one] == matching.divergences[two] and place[one] < place[two]


def test_a_set_is_nearest_to_its_own_distribution(sets):
    """With ever fewer pseudo-counts; D is 0 only there."""
    found = sets["2-Add"]
    for number in np.flatnonzero(found.zero)[::40]:
        own = weight_histogram(found.coefficients(number))
        matching = match(found, own, pseudo_count=0)
        assert matching.divergences[number] == pytest.approx(0, abs=1e-12)
        assert np.nanmin(matching.divergences) > -1e-12
        assert matching.divergences[matching.best(1)] == pytest.approx(0, abs=1e-12)
        assert np.isinf(matching.divergences[matching.worst()]), "a bin without a coefficient"


# What is refused

TWO = partial(enumerate_sets, "2-Add")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: published("5-Add"), "architecture must be one of 2-Add, 3-Add, 4-Add, not '5-Ad"),
        (lambda: enumerate_sets("2-add"), "architecture must be one of 2-Add, 3-Add, 4-Add, not '"),
        (lambda: enumerate_sets(None), "architecture must be one of 2-Add, 3-Add, 4-Add, not None"),
        (lambda: Adder("C", A, (0, 1, 2, 3)), "topology must be 'A' or 'B', not 'C'."),
        (lambda: Adder("A", A[:3], (0, 1, 2, 3)), "Topology A has 4 operations, and these are"),
        (lambda: Adder("B", A, (0, 1, 2, 3)), "Topology B has 3 shifts, and these are (0, 1, 2,"),
        (lambda: Adder("A", A, (0, 1, 2, 16)), "a shift must be a whole number from 0 to 15, not"),
        (lambda: Adder("A", A, (0, 1, 2, True)), "a shift must be a whole number from 0 to 15"),
        (lambda: Adder("A", (*A[:3], "A1-B1"), (0,) * 4), "an operation of Topology A must be ±A_"),
        (lambda: Adder("A", (*A[:3], "A1"), (0,) * 4), "an operation of Topology A must be ±A_p+"),
        (lambda: Adder("A", (*A[:3], "A1B1"), (0,) * 4), "an operation of Topology A must be ±A_"),
        (lambda: Adder("A", (*A[:3], ""), (0,) * 4), "an operation of Topology A must be ±A_p+B1"),
        (lambda: Adder("B", A, (0,) * 3), "an operation of Topology B must be ±A_p±B1, ±A_p or ±"),
        (lambda: Adder("B", ("-A1-B1",) * 4, (0,) * 3), "an adder cannot negate both of its term"),
        (lambda: Circuit("2-Add", ()), "a 2-Add has the topologies A, B, and these are none."),
        (lambda: Space(order="falling"), "order must be one of increasing, any, not 'falling'."),
        (lambda: Space(scaled=1), "scaled must be True or False, not 1."),
        (lambda: TWO().circuit(1294), "a set's number must be a whole number from 0 to 1293, not"),
        (
            lambda: rccm.check_codebook([]),
            "a codebook must be one or more whole numbers, in a row.",
        ),
        (
            lambda: rccm.check_codebook([0, 0.5]),
            "a codebook must be one or more whole numbers, in ",
        ),
        (
            lambda: rccm.check_codebook([-9, 4, 8]),
            "a codebook must include 0, and the coefficient ",
        ),
        (lambda: divergence([1, 2], [1, 2]), "a codebook must include 0, and the coefficient near"),
        (lambda: divergence([0], [1, 2]), "a codebook must have a coefficient besides 0, and this"),
        (lambda: match(TWO(), []), "histogram must be the counts of bins in a row, none negative"),
        (lambda: match(TWO(), [1, -1]), "histogram must be the counts of bins in a row, none nega"),
        (lambda: match(TWO(), [[1]]), "histogram must be the counts of bins in a row, none negati"),
        (lambda: match(TWO(), ["a"]), "histogram must be the counts of bins in a row, none negati"),
        (lambda: match(TWO(), [1]), "bins must be a whole number from 2 to 1023, not 1."),
        (lambda: match(TWO(), [1, 1], pseudo_count=-1), "pseudo_count must be a number of at leas"),
        (lambda: match(TWO(), [1, 1]).worst(99), "size must be a number of coefficients that a se"),
        (lambda: match(TWO(), [1, 1]).best(0), "top must be a whole number of at least 1, not 0."),
        (lambda: weight_histogram([0, 0]), "weights must be finite numbers, and not all of them 0"),
        (lambda: weight_histogram([1, np.inf]), "weights must be finite numbers, and not all of t"),
        (lambda: weight_histogram([1], 1), "bins must be a whole number from 2 to 1023, not 1."),
    ],
)
def test_what_cannot_be(ask, said):
    assert refused(ask).startswith(said)


def test_sets_without_zero_are_refused(sets):
    found = sets["2-Add"]
    without = replace(found, zero=np.zeros(len(found), bool))
    said = refused(lambda: match(without, [1, 2, 1]))
    assert said == "none of these 1294 sets of the 2-Add includes 0."
    assert rccm_matching.BINS == 31
