"""Decoding, the checks of datasets.yml, resizing: pure functions, no files and no network."""

import copy
import functools
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qbench.data import DataError
from qbench.data.decoders import decode, parse_idx, read_members
from qbench.data.errors import Damaged
from qbench.data.loading import resize
from qbench.data.schema import read_specs
from qbench.data.specs import DATASETS_FILE
from qbench.data.unpickle import load_batch

RNG = np.random.default_rng(0)
KNOWN = yaml.safe_load(DATASETS_FILE.read_text("utf-8"))


def small(name: str, train: int, test: int, shape: list[int]):
    """The spec of a data set of datasets.yml, at another size."""
    entry = KNOWN["datasets"][name] | {
        "train_images": train,
        "test_images": test,
        "image_shape": shape,
        "split": {"train": train - 1, "valid": 1, "test": test},
    }
    return read_specs({"datasets": {name: entry}})[name]


def idx(array: np.ndarray) -> bytes:
    shape = b"".join(struct.pack(">I", side) for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def tar_gz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Python2Pickler(pickle._Pickler):
    """Writes as the published CIFAR batches were written: by Python 2, with byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def pickled(batch: dict) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(batch)
    # NumPy was then called from another module.
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(images: np.ndarray, labels: list[int], key: bytes) -> bytes:
    data = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    names = [b"leptodactylus_pentadactylus_s_000004.png"] * len(images)
    return pickled(
        {b"batch_label": b"batch 1 of 5", key: labels, b"data": data, b"filenames": names}
    )


def colour(count: int, classes: int) -> tuple[np.ndarray, list[int]]:
    images = RNG.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return images, RNG.integers(0, classes, count).tolist()


@functools.cache
def cifar10_archive() -> tuple[bytes, dict[str, np.ndarray]]:
    """A small archive in the published format, and the arrays in it."""
    parts = [colour(4, 10) for _ in range(6)]
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    members = {
        f"cifar-10-batches-py/{name}": batch(*part, b"labels")
        for name, part in zip(names, parts, strict=True)
    }
    arrays = {
        "train_images": np.concatenate([images for images, _ in parts[:5]]),
        "train_labels": np.array(sum((labels for _, labels in parts[:5]), [])),
        "test_images": parts[5][0],
        "test_labels": np.array(parts[5][1]),
    }
    return tar_gz({"cifar-10-batches-py/batches.meta": b"?"} | members), arrays


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)


# IDX


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_round_trip(pack):
    images = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(parse_idx(pack(idx(images)), images.shape), images)


@given(position=st.integers(0, 15), value=st.integers(1, 255))
def test_idx_with_any_other_header_is_refused(position, value):
    data = bytearray(idx(np.zeros((3, 2, 2))))
    data[position] ^= value
    with pytest.raises(Damaged):
        parse_idx(bytes(data), (3, 2, 2))


@given(length=st.integers(0, 27), packed=st.booleans())
def test_truncated_idx_is_refused(length, packed):
    data = idx(np.arange(12).reshape(3, 2, 2))
    data = gzip.compress(data)[: length + 10] if packed else data[:length]
    with pytest.raises((Damaged, EOFError)):
        parse_idx(data, (3, 2, 2))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_with_more_after_the_end_is_refused(pack):
    with pytest.raises(Damaged, match="longer than 28 bytes"):
        parse_idx(pack(idx(np.zeros((3, 2, 2))) + b"\0"), (3, 2, 2))


def test_gzip_bomb_stays_small():
    bomb = gzip.compress(idx(np.zeros((3, 2, 2))) + bytes(50_000_000))
    with pytest.raises(Damaged, match="longer"):
        parse_idx(bomb, (3, 2, 2))


@pytest.mark.parametrize("labels", [[0, 1, 10], [0, 1, 255]])
def test_labels_out_of_range_are_refused(labels):
    spec = small("mnist", 3, 3, [2, 2])
    images, good = idx(np.zeros((3, 2, 2))), idx(np.array([0, 1, 9]))
    files = {"train_images": (images,), "train_labels": (idx(np.array(labels)),)}
    files |= {"test_images": (images,), "test_labels": (good,)}
    with pytest.raises(Damaged, match="labels other than whole numbers from 0 to 9"):
        decode("idx", files, spec)


# CIFAR archives


def test_cifar10_archive():
    archive, arrays = cifar10_archive()
    decoded = decode("cifar10-archive", {"archive": (archive,)}, small("cifar10", 20, 4, [8, 8, 3]))
    assert same(decoded, arrays)
    assert decoded["train_images"].dtype == np.uint8
    assert decoded["train_labels"].dtype == np.dtype("<i8")


def test_cifar100_archive():
    train, test = colour(6, 100), colour(3, 100)
    parts = {"train": train, "test": test}
    members = {f"cifar-100-python/{k}": batch(*v, b"fine_labels") for k, v in parts.items()}
    spec = small("cifar100", 6, 3, [8, 8, 3])
    decoded = decode("cifar100-archive", {"archive": (tar_gz(members),)}, spec)
    assert np.array_equal(decoded["train_images"], train[0])
    assert decoded["test_labels"].tolist() == test[1]


def test_arrays_in_column_order():
    data = np.asfortranarray(RNG.integers(0, 256, (4, 192), dtype=np.uint8))
    assert np.array_equal(load_batch(pickled({b"data": data}))[b"data"], data)


@given(st.data())
def test_damaged_archive_is_refused_or_gives_an_array_for_the_digest_to_judge(data):
    archive, arrays = cifar10_archive()
    damaged = bytearray(archive)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(archive) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(archive) - 1))] ^= data.draw(st.integers(1, 255))
    spec = small("cifar10", 20, 4, [8, 8, 3])
    try:
        decoded = decode("cifar10-archive", {"archive": (bytes(damaged),)}, spec)
    except Damaged:
        return
    assert all(decoded[k].shape == arrays[k].shape for k in arrays)


class Malice:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_malicious_pickle_is_refused(tmp_path):
    mark = tmp_path / "mark"
    for call in (
        (os.system, f"touch {mark}"),
        (eval, f"open({str(mark)!r}, 'w')"),
        (Path.touch, mark),
        (getattr, "", "join"),
        (np.load, str(mark)),
    ):
        for protocol in range(6):
            with pytest.raises(Damaged, match="asks for .*, which no image archive needs"):
                load_batch(pickle.dumps({b"data": Malice(*call)}, protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickled({b"data": np.array([1.5])}), "other than unsigned bytes"),
        (pickle.dumps([1, 2]), "other than a dict"),
        (pickled({b"data": np.zeros(4, np.uint8)})[:-9], "damaged pickle"),
        (b"\x80\x02c__main__\nx\n.", "asks for __main__.x"),
        (b"\x80\x02Pname\n.", "damaged pickle"),
        (b"", "damaged pickle"),
    ],
)
def test_unusual_pickles_are_refused(data, message):
    with pytest.raises(Damaged, match=message):
        load_batch(data)


@given(st.binary(max_size=60))
def test_any_bytes_as_a_pickle_are_refused(data):
    with pytest.raises(Damaged):
        load_batch(b"\x80\x02" + data)


def test_members_are_read_by_name_and_size():
    archive = tar_gz({"a": b"12345", "../b": b"6", "c": b"7"})
    assert read_members(archive, ["a", "c"], 5) == {"a": b"12345", "c": b"7"}
    with pytest.raises(Damaged, match="holds a, but not as a file of 4 bytes at most"):
        read_members(archive, ["a"], 4)
    with pytest.raises(Damaged, match="is truncated, or lacks d"):
        read_members(archive, ["a", "d"], 5)


def test_links_in_an_archive_are_refused():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        link = tarfile.TarInfo("labels")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(Damaged, match="holds labels, but not as a file"):
        read_members(stream.getvalue(), ["labels"], 10**6)


# PNG and CSV


def png(rows: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(rows).save(stream, "PNG")
    return stream.getvalue()


def png_files(images: np.ndarray, labels: list) -> dict[str, tuple[bytes, ...]]:
    first, second = (png(half.reshape(-1, 64, 3)) for half in np.split(images, 2))
    half = json.dumps(labels).encode()
    return {
        "train_images": (first, second),
        "train_labels": (half,),
        "test_images": (first,),
        "test_labels": (json.dumps(labels[: len(images) // 2]).encode(),),
    }


def test_cifar_png():
    images, labels = colour(6, 10)
    decoded = decode("cifar-png", png_files(images, labels), small("cifar10", 6, 3, [8, 8, 3]))
    assert np.array_equal(decoded["train_images"], images)
    assert np.array_equal(decoded["test_images"], images[:3])
    assert decoded["train_labels"].tolist() == labels


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        ("train_labels", b"[1, 2", "truncated or damaged"),
        ("train_labels", b"[1, 2, 3, 4, 5, 1.5]", "other than whole numbers"),
        ("train_labels", b"[1, 2, 3, 4, 5, true]", "other than whole numbers"),
        ("train_labels", b"[1, 2, 3]", "train_labels of shape"),
        ("train_labels", b"{}", "truncated or damaged"),
        ("test_images", png(np.zeros((3, 64), np.uint8)), "a PNG that is not RGB"),
        ("test_images", png(np.zeros((3, 63, 3), np.uint8)), "rows of 64 pixels"),
        ("test_images", png(np.zeros((900, 64, 3), np.uint8)), "a PNG that is not RGB"),
        ("test_images", png(np.zeros((2, 64, 3), np.uint8)), "test_images of shape"),
        ("test_images", png(np.zeros((3, 64, 3), np.uint8))[:-30], "truncated or damaged"),
        ("test_images", b"GIF89a", "truncated or damaged"),
    ],
)
def test_wrong_pngs_and_labels_are_refused(key, content, message):
    files = png_files(*colour(6, 10)) | {key: (content,)}
    with pytest.raises(Damaged, match=message):
        decode("cifar-png", files, small("cifar10", 6, 3, [8, 8, 3]))


def csv_spec():
    sizes = {"train_images": 30, "split": {"train": 10, "valid": 10, "test": 10}}
    entry = KNOWN["datasets"]["mnist5k"] | sizes | {"image_shape": [1, 2]}
    return read_specs({"datasets": {"mnist5k": entry}})["mnist5k"]


def test_digits_csv():
    text = "\n".join(f"{i},{255 - i},{i % 10}" for i in range(30)).encode()
    decoded = decode("digits-csv", {"rows": (gzip.compress(text),)}, csv_spec())
    assert decoded["train_images"][3].tolist() == [[3, 252]]
    assert decoded["train_labels"].tolist() == list(range(10)) * 3


@pytest.mark.parametrize("row", ["1,2,3,4", "1,256,3", "1,-1,3", "1,0.5,3", "1,nan,3", "a,b,c"])
def test_wrong_csv_is_refused(row):
    text = gzip.compress("\n".join([row] * 30).encode())
    with pytest.raises(Damaged):
        decode("digits-csv", {"rows": (text,)}, csv_spec())


# datasets.yml


def test_datasets_file():
    specs = read_specs(KNOWN)
    assert list(specs) == ["mnist5k", "mnist", "fashion-mnist", "cifar10", "cifar100"]
    assert [specs[name].sha256 is None for name in specs] == [False] * 4 + [True]
    assert list(specs["cifar100"].classes) == sorted(specs["cifar100"].classes)
    assert len({spec.directory for spec in specs.values()}) == len(specs)


def nodes(value, path=()):
    """Paths of all values in nested dicts and lists."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(item, (*path, key))


def edited(path, action):
    content = copy.deepcopy(KNOWN)
    place = content
    for key in path[:-1]:
        place = place[key]
    action(place, path[-1])
    return content


JUNK = [None, "", "x", -1, 0, 1.5, True, [], {}, [[]], {"a": 1}, "../x", "http://x/"]


@given(st.sampled_from(list(nodes(KNOWN))), st.sampled_from(JUNK))
def test_no_junk_in_datasets_file_raises_anything_but_a_sentence(path, junk):
    try:
        read_specs(edited(path, lambda place, key: place.__setitem__(key, junk)))
    except DataError as error:
        assert str(error).startswith("datasets.yml: ")
        assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("mnist classes", ["a"], "datasets.mnist.classes must be a list of two or more"),
        ("mnist image_shape", [28], r"datasets.mnist.image_shape must be \[height, width\]"),
        ("mnist split valid", 9999, "add up to train_images and test_images"),
        ("mnist5k split", {"train": 3999, "valid": 501, "test": 500, "stratified": True}, "multip"),
        ("mnist sha256 train_images", "12", "64 hexadecimal digits for each of"),
        ("mnist sha256", "first-fill", "of kind https alone, as sha256 states no digests"),
        ("mnist sources 0 kind", "ftp", r"sources\[0\].kind must be one of python, system, https"),
        ("mnist sources 0 mirrors", ["http://a/"], "addresses that begin with https://"),
        ("mnist sources 0 files train_images", "/etc/passwd", "relative file names"),
        ("mnist sources 0 files train_images", "a/../../b", "relative file names"),
        ("mnist sources 0 files train_images", ["a", "b"], "one file name each"),
        ("mnist sources 1 package", "--registry=x", "package must be a name"),
        ("mnist colour", 1, "a mapping with the keys classes, image_shape"),
    ],
)
def test_what_is_wrong_in_datasets_file_is_named(path, value, message):
    path = ["datasets", *(int(key) if key.isdigit() else key for key in path.split())]
    with pytest.raises(DataError, match=message):
        read_specs(edited(path, lambda place, key: place.__setitem__(key, value)))


# Resizing


def test_resize_is_close_to_torch():
    import torch

    images = RNG.integers(0, 256, (300, 3, 28, 28), dtype=np.uint8)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(images).float(), (32, 32), mode="bilinear", align_corners=False
    )
    assert np.abs(resize(images, 32) - theirs.numpy()).max() <= 1.0  # they do not round in between
