"""Loading data sets: parts, scales, sizes, arguments; the real data.

Only the last tests look at the real MNIST, Fashion-MNIST and CIFAR-10, where these are in the cache
already or QBENCH_TEST_DOWNLOAD=1 allows to fetch them. Nothing else needs a network.
"""

import errno
import gzip
import os
import socket

import data_home
import numpy as np
import pytest
import test_data_decoders as formats
from data_home import ARRAYS, IDX_FILES, PACKED, fail_with, sha256
from hypothesis import given, settings
from hypothesis import strategies as st

import qbench.data as data
from qbench.data import DataError, specs
from qbench.data.cache import arrays
from qbench.data.loading import _moments

home = pytest.fixture(data_home.home)
filled = pytest.fixture(data_home.filled)


# Loading


def test_parts_are_disjoint_complete_and_in_a_fixed_order(filled):
    toy = data.load("toy")
    assert (toy.name, toy.classes) == ("toy", ("a", "b", "c"))
    assert [len(toy.train), len(toy.valid), len(toy.test)] == [100, 20, 30]

    def rows(split):
        return [
            (i.tobytes(), int(n)) for i, n in zip(split.images.numpy(), split.labels, strict=True)
        ]

    def source(part):
        images = (ARRAYS[f"{part}_images"] / 255).astype(np.float32)
        labels = ARRAYS[f"{part}_labels"].tolist()
        return [(i.tobytes(), n) for i, n in zip(images, labels, strict=True)]

    assert sorted(rows(toy.train) + rows(toy.valid)) == sorted(source("train"))
    assert rows(toy.test) == source("test")
    assert rows(data.load("toy").train) == rows(toy.train) != source("train")[:100]


def test_tensors(filled):
    import torch

    toy = data.load("toy")
    assert toy.train.images.dtype == torch.float32
    assert toy.train.labels.dtype == torch.int64
    assert toy.train.images.shape == (100, 1, 8, 8)
    flat = data.load("toy", flatten=True)
    assert torch.equal(flat.valid.images, toy.valid.images.reshape(20, 64))
    assert data.load("toy", size=32, flatten=True).test.images.shape == (30, 1024)
    assert toy.train.to("cpu").images.shape == toy.train.images.shape
    toy.train.images.zero_()  # the reader's own: nothing of the cache changes
    assert data.load("toy").train.images.sum() > 0


def test_subset_is_the_beginning_of_train_alone(filled):
    import torch

    whole, part = (
        data.load("toy", normalise="standard"),
        data.load("toy", normalise="standard", subset=7),
    )
    assert torch.equal(part.train.images, whole.train.images[:7])
    assert torch.equal(part.train.labels, whole.train.labels[:7])
    assert torch.equal(part.valid.images, whole.valid.images)


def test_pixel_scales(home):
    home.put(home.cache / "colour" / "files", {"c.tar.gz": home.archive})
    unit = data.load("colour").train.images.double().numpy()
    levels = (unit * 255).round()
    assert np.array_equal(unit, (levels / 255).astype(np.float32))
    signed = data.load("colour", normalise="signed").train.images.numpy()
    assert np.abs(signed - (2 * unit - 1)).max() < 1e-7
    assert (signed.min(), signed.max()) == (-1, 1)
    mean, deviation = levels.mean((0, 2, 3)), levels.std((0, 2, 3))
    standard = data.load("colour", normalise="standard")
    expected = (levels - mean[:, None, None]) / deviation[:, None, None]
    assert np.abs(standard.train.images.numpy() - expected).max() < 1e-6
    assert np.allclose(standard.mean, mean / 255) and np.allclose(
        standard.deviation, deviation / 255
    )
    test = home.colour_arrays["test_images"].transpose(0, 3, 1, 2)  # scaled as train is
    expected = (test - mean[:, None, None]) / deviation[:, None, None]
    assert np.abs(standard.test.images.numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("normalise", ["unit", "signed", "standard"])
def test_mean_and_deviation_are_those_that_made_the_images(filled, normalise):
    """Exactly: who computes the same in float64 and rounds once gets the same image."""
    toy = data.load("toy", normalise=normalise, subset=5)
    levels = np.rint(data.load("toy").test.images.double().numpy() * 255)
    mean, deviation = (np.reshape(one, (-1, 1, 1)) for one in (toy.mean, toy.deviation))
    images = ((levels / 255 - mean) / deviation).astype(np.float32)
    assert np.array_equal(images, toy.test.images.numpy())


def test_standard_scale_of_images_all_alike(home):
    home.toy["sha256"]["train_images"] = sha256(np.full((120, 8, 8), 7, np.uint8))
    home.write()
    black = gzip.compress(formats.idx(np.full((120, 8, 8), 7)))
    home.put(home.system, PACKED | {IDX_FILES["train_images"]: black})
    black = data.load("toy", normalise="standard")
    assert black.train.images.abs().max() == 0 and black.deviation == (1.0,)


def test_resized_images_are_pillows(filled):
    from PIL import Image

    resized = data.load("toy", size=13).test.images
    expected = [
        np.asarray(Image.fromarray(image).resize((13, 13), Image.Resampling.BILINEAR))
        for image in ARRAYS["test_images"]
    ]
    assert np.array_equal((resized[:, 0] * 255).round().numpy(), expected)


def test_classes_that_cannot_be_divided_evenly(home):
    home.toy["split"] = {"train": 90, "valid": 30, "test": 30, "stratified": True}
    home.toy["sha256"]["train_labels"] = sha256(np.arange(120, dtype="<i8") // 50)
    home.write()
    labels = gzip.compress(formats.idx(np.arange(120) // 50))
    home.put(home.system, PACKED | {IDX_FILES["train_labels"]: labels})
    with pytest.raises(DataError, match="toy must have 40 images of the class 'a'"):
        data.load("toy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 7}, "size must be None or a whole number from 8 to 64, not 7."),
        ({"size": 65}, "size must be None or a whole number from 8 to 64, not 65."),
        ({"size": 32.0}, "size must be .*, not 32.0."),
        ({"size": True}, "size must be .*, not True."),
        ({"size": (32, 32)}, "size must be"),
        ({"subset": 0}, "subset must be None or a whole number from 1 to 100 for toy, not 0."),
        ({"subset": 101}, "subset must be .*, not 101."),
        ({"subset": -1}, "subset must be .*, not -1."),
        ({"subset": 0.5}, "subset must be .*, not 0.5."),
        ({"flatten": 1}, "flatten must be True or False, not 1."),
        ({"normalise": "0-1"}, "normalise must be one of 'unit', 'signed', 'standard', not '0-1'."),
        ({"normalise": None}, "normalise must be one of .*, not None."),
        ({"normalise": []}, "normalise must be one of"),
    ],
)
def test_impossible_arguments_are_named_before_anything_is_fetched(home, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load("toy", **arguments)
    assert not home.cache.exists()


@pytest.mark.parametrize("function", [data.load, data.get, data.verify])
def test_unknown_names(home, function):
    with pytest.raises(ValueError) as error:
        function("Toi")
    expected = "unknown data set 'Toi' (did you mean toy?): the names are toy, colour."
    assert str(error.value) == expected
    for name in ("", "../toy", "toy/", None, 3, ["toy"]):
        with pytest.raises(ValueError, match="unknown data set"):
            function(name)


def test_missing_datasets_file(home):
    home.file.unlink()
    with pytest.raises(DataError, match="is missing: install qbench from its repository"):
        data.load("toy")


@pytest.mark.parametrize("content", [b"", b"datasets: [", b"\xff", b"a: 1", b"datasets: [a]"])
def test_unreadable_datasets_file(home, content):
    home.file.write_bytes(content)
    with pytest.raises(DataError, match=r"datasets\.yml"):
        data.load("toy")


# The order of an epoch


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_epoch_order_is_a_permutation(n, seed, epoch):
    order = data.epoch_order(n, seed, epoch)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))
    assert np.array_equal(order, data.epoch_order(n, seed, epoch))


def test_epoch_order_is_the_same_for_ever():
    assert data.epoch_order(10, 0, 0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert data.epoch_order(10, 0, 1).tolist() == [5, 3, 7, 8, 2, 4, 1, 0, 6, 9]
    orders = {tuple(data.epoch_order(50, seed, epoch)) for seed in range(9) for epoch in range(9)}
    assert len(orders) == 81


@pytest.mark.parametrize("bad", [-1, 2**64, 1.0, True, None, "1"])
def test_epoch_order_names_what_is_wrong(bad):
    for position, name in enumerate(("n", "seed", "epoch")):
        arguments = [5, 0, 0]
        arguments[position] = bad
        with pytest.raises(ValueError, match=f"{name} must be a whole number from 0 to 2"):
            data.epoch_order(*arguments)


# The real data sets


def test_mnist5k_without_npm_and_network(home, monkeypatch):
    monkeypatch.setattr(specs, "DATASETS_FILE", formats.DATASETS_FILE)
    monkeypatch.setattr(socket.socket, "connect", fail_with(errno.ENETUNREACH))
    digits = data.load("mnist5k", flatten=True)
    parts = (digits.train, digits.valid, digits.test)
    assert [len(part) for part in parts] == [4000, 500, 500]
    for part in parts:
        assert part.labels.bincount().tolist() == [len(part) // 10] * 10
    assert len({row.numpy().tobytes() for part in parts for row in part.images}) == 5000
    assert digits.train.labels[:12].tolist() == [9, 2, 3, 5, 6, 4, 8, 0, 5, 5, 2, 2]
    assert len(data.verify("mnist5k")) == 2


def ready(name: str) -> bool:
    if os.environ.get("QBENCH_TEST_DOWNLOAD") == "1":
        return True
    table = data.catalogue().set_index("name")
    return bool(table.loc[name, "cached"])


FACTS = {
    "mnist": ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9], [0.1307], [0.3081]),
    "fashion-mnist": ([9, 0, 0, 3], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7], [0.2860], [0.3530]),
    "cifar10": (
        [6, 9, 9, 4, 1, 1, 2, 7, 8, 3],
        [3, 8, 8, 0, 6, 6, 1, 6, 3, 1],
        [0.4914, 0.4822, 0.4465],
        [0.2470, 0.2435, 0.2616],
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_what_is_known_of_the_real_data(name):
    if not ready(name):
        pytest.skip(f"{name} is not in the cache, and QBENCH_TEST_DOWNLOAD is not 1")
    train, test, mean, deviation = FACTS[name]
    content = arrays(specs.find(name))
    assert content["train_labels"][: len(train)].tolist() == train
    assert content["test_labels"][: len(test)].tolist() == test
    pixels = content["train_images"].reshape(-1, 28 if len(mean) == 1 else 32, len(mean))
    moments = [_moments(pixels[..., channel]) for channel in range(len(mean))]
    assert np.allclose(moments, list(zip(mean, deviation, strict=True)), atol=5e-5)


def test_real_mnist_as_in_ducasse():
    if not ready("mnist"):
        pytest.skip("mnist is not in the cache, and QBENCH_TEST_DOWNLOAD is not 1")
    mnist = data.load("mnist", size=32, flatten=True, normalise="unit")
    assert mnist.train.images.shape == (50_000, 1024)
    assert [len(mnist.valid), len(mnist.test)] == [10_000, 10_000]
    assert sha256(mnist.valid.images.numpy()).startswith("3d1a6f72beca9969")
    assert sha256(mnist.train.labels.numpy()).startswith("07946f471f17380b")
