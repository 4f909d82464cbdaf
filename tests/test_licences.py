"""The list of licences: complete, from the packages' own words, and nothing that binds the book."""

import importlib.metadata
import re

from qbench import licences

#: What a licence's text says that no other of these two says.
WORDS = {
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "MIT": "Permission is hereby granted, free of charge",
}


def test_every_pinned_package_that_is_installed_has_a_licence() -> None:
    listed = licences.table()
    assert len(listed) > 100
    unknown = listed[listed.licence == licences.UNSTATED]
    assert unknown.empty, f"read their licences and name them in READ: {list(unknown.package)}"
    absent = listed[listed.licence == "not installed here"]
    assert (absent["where"] != "").all(), f"pinned, not installed: {list(absent.package)}"


def test_what_was_read_is_what_the_packages_carry() -> None:
    for package, licence in licences.READ.items():
        found = importlib.metadata.distribution(package)
        stated = found.metadata.get("License") or ""
        files = [file for file in found.files or [] if "licen" in file.name.lower()]
        texts = [stated, *(file.read_text() for file in files)]
        assert any(WORDS[licence] in re.sub(r"\s+", " ", text) for text in texts), package


def test_nothing_demands_the_licence_of_what_uses_it() -> None:
    """GPL and AGPL alone would; LGPL and MPL do not, nor does a choice that has another licence."""
    for row in licences.table().itertuples():
        choices = re.split(r"; | OR ", row.licence)
        binding = [re.search(r"\bA?GPL|GNU (Affero )?General", one) for one in choices]
        assert not all(binding), row.package


def test_a_dual_licence_and_an_unknown_package() -> None:
    assert "BSD License" in licences.of("docutils").split("; ")
    assert licences.of("no-such-package-at-all") == "not installed here"
