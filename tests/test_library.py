"""The library's pages: every room once, and docstrings as Sphinx wants them."""

import pytest

import qbench
from qbench import library
from qbench.docstrings import ARRAY_LIKE, restructured


def test_every_room_is_on_one_page():
    rooms = [room for page in library.PAGES for room in page.rooms]
    assert sorted(r for r in rooms if "." not in r) == sorted(qbench._ROOMS)
    assert len(set(rooms)) == len(rooms)
    contents = (library.paths.BOOK / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"- file: book/library/{page.name}\n" in contents for page in library.PAGES)


def test_every_module_is_on_a_page_under_its_name():
    text = "\n".join(library.generated().values())
    for name, module in library.modules().items():
        if name != "qbench" and module.defined and not name.startswith("qbench.parameters."):
            assert text.count(f"`{name}`\n") == 1, name


def test_what_a_room_offers_leads_to_where_it_is_documented():
    text = library.generated()["fpga.md"]
    assert ":py:obj:`fit <qbench.hardware.devices.fit>`: " in text
    offered = library.modules()["qbench.data"].offered
    assert {library.resolve(name, "qbench.data") for name in offered} == {
        "qbench.data.loading.Dataset",
        "qbench.data.errors.DataError",
        "qbench.data.loading.Split",
        "qbench.data.cache.catalogue",
        "qbench.data.loading.epoch_order",
        "qbench.data.cache.get",
        "qbench.data.loading.load",
        "qbench.data.cache.verify",
    }


@pytest.mark.parametrize(
    "text, place, full",
    [
        ("fit", "qbench.training", "qbench.training.fit"),
        ("data.load", "qbench.training", "qbench.data.loading.load"),
        ("StoreError", "qbench.store", "qbench.store.reading.StoreError"),
        ("search", "qbench.hardware", "qbench.hardware.search"),
        ("_render", "qbench.book", None),
        ("epochs", "qbench.training", None),
    ],
)
def test_a_name_means_what_it_would_mean_there(text, place, full):
    assert library.resolve(text, place) == full


@pytest.mark.parametrize(
    "markdown, expected",
    [
        (["By `fit`, not `fits`."], ["By :py:obj:`fit <qbench.training.fit>`, not ``fits``."]),
        (["|x| is a*b for x_ of `a`s."], [r"\|x\| is a\*b for x\_ of ``a``\ s."]),
        (["So:", "", "    a = 1", "", "Then."], ["So:", "", "::", "", "    a = 1", "", "Then."]),
        (
            ["size: 8 to", "    64.", "other: `x`=1", "Raises."],
            ["- ``size``: 8 to", "  64.", "- ``other``: ``x``\\ =1", "  Raises."],
        ),
        (["Has:", "- one", "- two"], ["Has:", "", "- one", "- two"]),
    ],
)
def test_docstrings_become_restructured_text(markdown, expected):
    assert restructured(markdown, "qbench.training") == expected


def test_a_constant_that_text_describes_is_left_to_autodoc():
    constants = library.modules()["qbench.evolution.genotype"].constants
    assert constants["FLEX_STUDENT"] is None and constants["BITS"] is not None


def test_what_is_like_an_array_is_called_so():
    long = (
        "_Buffer | _SupportsArray[dtype[Any]] | _NestedSequence[_SupportsArray[dtype[Any]]] | "
        "complex | bytes | str | _NestedSequence[complex | bytes | str]"
    )
    assert ARRAY_LIKE.sub("ArrayLike", f"(x: {long}, y: int)") == "(x: ArrayLike, y: int)"
