"""Networks of chapter 07 written as files: their names, whole or not at all, what is refused."""

import errno
import json
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench import files, paths
from qbench.data import specs
from qbench.store import StoreError
from qbench.studies.evolution_files import FilesError, _file_name, take_away

NAMES = ["baseline, no teacher", "best compromise"]
WRITTEN = [
    *(f"baseline-no-teacher.{kind}" for kind in ("onnx", "bin", "xml")),
    *(f"best-compromise.{kind}" for kind in ("onnx", "bin", "xml")),
    "networks.json",
]


def table(*names, **changes):
    """As `evolution_runs.final` returns it and Parquet gives it back, with short files."""
    rows = [
        {"name": name, "taught": True, "channels": np.array([8, 16]), "neurons": np.array([])}
        | {"parameters": 10, "macs": 20, "device": "CPU", "dataset": "cifar10"}
        | {"test_error": 30.0, "onnx_error": 31.0, "device_error": 32.0}
        | {"latency_ms": 0.5, "lowest_ms": 0.4, "highest_ms": 0.6}
        | {"image_shape": np.array([3, 32, 32]), "mean": np.array([0.5, 0.4, 0.3])}
        | {"deviation": np.array([0.1, 0.2, 0.3])}
        | {"onnx": b"o%d" % place, "xml": b"x%d" % place, "bin": b"\x00\xff%d" % place}
        for place, name in enumerate(names)
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_every_network_has_three_files_and_all_have_one_description(tmp_path):
    folder = tmp_path / "not" / "there"
    written = take_away(table(*NAMES), folder)
    assert [file.name for file in written] == WRITTEN and {f.parent for f in written} == {folder}
    assert sorted(file.name for file in folder.iterdir()) == sorted(WRITTEN), "nothing else"
    assert [file.read_bytes() for file in written[:3]] == [b"o0", b"\x00\xff0", b"x0"]
    assert (folder / "best-compromise.bin").read_bytes() == b"\x00\xff1"


def test_the_description_says_what_goes_in_and_what_comes_out(tmp_path):
    take_away(table(*NAMES), tmp_path)
    about = json.loads((tmp_path / "networks.json").read_text())
    assert about["input"]["shape"] == ["N", 3, 32, 32] and len(about["input"]["colours"]) == 3
    assert about["input"]["mean"] == [0.5, 0.4, 0.3]
    assert about["input"]["deviation"] == [0.1, 0.2, 0.3]
    assert about["output"]["classes"] == list(specs.find("cifar10").classes)
    first, second = about["networks"]
    assert (first["name"], second["name"]) == tuple(NAMES)
    assert set(first["files"]) == set(WRITTEN[:3]) and first["channels"] == [8, 16]
    assert (second["latency_ms"], second["lowest_ms"], second["highest_ms"]) == (0.5, 0.4, 0.6)
    assert list(second["test_error_percent"].values()) == [30.0, 31.0, 32.0]


def test_written_twice_nothing_is_left_of_the_first(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    take_away(table(*NAMES), tmp_path)
    take_away(table(*NAMES, onnx=b"new"), tmp_path)
    assert (tmp_path / "best-compromise.onnx").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == sorted([*WRITTEN, "mine.txt"])


@given(st.text(max_size=30))
def test_a_name_leads_out_of_no_folder(name):
    assert set(_file_name(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not _file_name(name).startswith("-")


def test_a_name_of_signs_is_a_name_of_letters(tmp_path):
    take_away(table("../../etc/passwd"), tmp_path / "here")
    assert (tmp_path / "here" / "etc-passwd.onnx").exists()
    assert os.listdir(tmp_path) == ["here"]


@pytest.mark.parametrize("names", [["Best", "best!"], ["a", ""], ["..", "b"]])
def test_names_that_cannot_be_told_apart(tmp_path, names):
    with pytest.raises(FilesError) as caught:
        take_away(table(*names), tmp_path / "here")
    said = str(caught.value)
    assert all(repr(name) in said for name in names) and said.endswith(".") and "\n" not in said
    assert not os.listdir(tmp_path)


def test_a_table_without_files(tmp_path):
    with pytest.raises(FilesError, match="onnx, xml and bin.*but macs") as caught:
        take_away(table("net").drop(columns="xml"), tmp_path / "here")
    assert "\n" not in str(caught.value) and not os.listdir(tmp_path)


@pytest.mark.parametrize("number", range(7))
def test_what_was_interrupted_leaves_whole_files_and_no_pair_of_two_networks(
    tmp_path, monkeypatch, number
):
    """The disk is full at the n-th file, where older networks lie."""
    take_away(table(*NAMES), tmp_path)
    calls, flush = [], os.fsync

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(StoreError, match="cannot be written: No space left"):
        take_away(table(*NAMES, xml=b"new", bin=b"new", onnx=b"new"), tmp_path)
    for name in ("baseline-no-teacher", "best-compromise"):
        xml, weights = (tmp_path / f"{name}.{kind}" for kind in ("xml", "bin"))
        assert not xml.exists() or (xml.read_bytes() == b"new") == (weights.read_bytes() == b"new")
    assert set(os.listdir(tmp_path)) <= set(WRITTEN), "no half of a file"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        take_away(table("net"), tmp_path / "file" / "folder")
    assert "\n" not in str(caught.value)


def test_the_book_offers_files_beside_its_notebook(monkeypatch, results):
    monkeypatch.delenv("QBENCH_BOOK", raising=False)
    assert paths.offered("07_evolution") == results / "offered" / "07_evolution_files"
    monkeypatch.setenv("QBENCH_BOOK", "1")
    assert paths.offered("07_evolution") == paths.EXECUTED / "07_evolution_files"
