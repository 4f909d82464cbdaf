"""Sources that fail, damage in the cache and full disks: an error with advice, never wrong data."""

import errno
import functools
import gzip
import shutil
import threading
from pathlib import Path

import data_home
import numpy as np
import pytest
import test_data_decoders as formats
from data_home import ARRAYS, IDX_FILES, PACKED, digests, entries, fail_with
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qbench.data as data
from qbench.data import DataError, filling, sources, specs

home = pytest.fixture(data_home.home)
filled = pytest.fixture(data_home.filled)
plain_http = pytest.fixture(data_home.plain_http)
several = functools.partial(
    settings, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# Sources


def test_nothing_to_be_had(home):
    with pytest.raises(DataError) as error:
        data.get("toy", progress=False)
    files = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    files += "t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz"
    assert str(error.value) == (
        "toy cannot be had (system package dataset-toy: it is not installed; "
        "HTTPS: 127.0.0.1:9: no connection; 127.0.0.1:9: no connection; "
        "npm package toy@1.0.0: npm is not installed): run `apt-get install dataset-toy`, "
        f"or put {files} into {home.cache / 'toy' / 'files'}, "
        "or install npm and see that `npm pack toy@1.0.0` works, "
        "or set QBENCH_DATA to a cache that has it."
    )
    assert entries(home) == [".lock"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sys.stderr.write('npm error code ENOTFOUND\\n'); sys.exit(1)", r"failed \(ENOTFOUND\)"),
        ("sys.exit(3)", r"`npm pack` failed \(exit status 3\)"),
        ("pass", r"`npm pack` failed \(exit status 0\)"),
        ("time.sleep(9)", "`npm pack` took longer than 1 s"),
        ("open('x.tgz', 'wb').write(open(TGZ, 'rb').read()[:900])", "what it gave is truncated"),
        ("open('x.tgz', 'w')", "what it gave is truncated or damaged"),
    ],
)
def test_npm_that_fails(home, script, message):
    home.monkeypatch.setattr(sources, "NPM_SECONDS", 1)
    home.only("npm")
    home.npm(script)
    with pytest.raises(DataError, match=message):
        data.get("toy", progress=False)
    assert entries(home) == [".lock"]


def test_npm_package_with_other_data(home):
    home.only("npm")
    other = gzip.compress(formats.idx(ARRAYS["test_images"][::-1]))
    members = {f"package/{k}": v for k, v in PACKED.items()}
    home.npm("shutil.copy(TGZ, '.')", members | {f"package/{IDX_FILES['test_images']}": other})
    message = r"what it gave is not the data set \(the SHA-256 of test_images differs"
    with pytest.raises(DataError, match=message):
        data.get("toy", progress=False)


def test_python_package_that_is_not_installed(home):
    python = {"kind": "python", "package": "no_such_package", "decoder": "idx", "files": IDX_FILES}
    home.toy["sources"] = [python]
    home.write()
    with pytest.raises(DataError, match="it is not installed.: run `pip install no_such_package`"):
        data.get("toy", progress=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>log in first</html>", "the MD5 of train-labels-idx1-ubyte.gz is not"),
        (PACKED[IDX_FILES["train_labels"]][:-9], "the MD5 of train-labels-idx1-ubyte.gz is not"),
        (None, "answers 404 for train-labels-idx1-ubyte.gz"),
    ],
)
def test_https_with_other_files(home, plain_http, content, message):
    plain_http(PACKED | {IDX_FILES["train_labels"]: content})
    with pytest.raises(DataError, match=message):
        data.get("toy", progress=False)
    assert entries(home) == [".lock"]


LABELS = IDX_FILES["train_labels"]


def test_a_mirror_may_send_on_within_its_protocol(home, plain_http):
    contents: dict[str, bytes | str] = dict(PACKED)
    _, second = plain_http(contents, PACKED)
    contents[LABELS] = second.address + LABELS
    data.get("toy", progress=False)
    assert second.asked == [LABELS] and len(data.verify("toy")) == 4


@pytest.mark.parametrize(
    "target", ["ftp://127.0.0.1/a", "file:///etc/hostname", "https://[::1]/", "http://["]
)
def test_a_mirror_that_sends_on_to_another_protocol_is_not_followed(home, plain_http, target):
    plain_http(PACKED | {LABELS: target})
    scheme = "what is no address" if target.endswith("[") else target.partition(":")[0]
    with pytest.raises(DataError, match=f"sends {LABELS} on to {scheme}, not http"):
        data.get("toy", progress=False)
    assert entries(home) == [".lock"]


def test_more_than_belongs_is_not_even_read(home, plain_http):
    plain_http(PACKED | {LABELS: bytes(3 * 10**6)})
    with pytest.raises(DataError, match=f"has 3000000 bytes for {LABELS}, where at most 2,000,0"):
        data.get("toy", progress=False)
    assert entries(home) == [".lock"]


@pytest.mark.parametrize(
    "headers", [{}, {"Transfer-Encoding": "chunked"}, {"Content-Encoding": "gzip"}], ids=str
)
def test_a_length_that_is_not_told_is_refused(home, plain_http, headers):
    """Neither of the two lets a length that is told bound what is read."""
    (server,) = plain_http(PACKED)
    server.length, server.headers = bool(headers), headers
    with pytest.raises(DataError, match="does not tell how many bytes train-images-idx3-ubyte.gz"):
        data.get("toy", progress=False)


def test_mirrors_that_do_not_answer_are_soon_given_up(home, plain_http):
    home.monkeypatch.setattr(sources, "READ_SECONDS", 0.2)

    (server,) = plain_http(PACKED)
    server.server.RequestHandlerClass.do_GET = lambda self: threading.Event().wait(1)
    with pytest.raises(DataError, match="sends nothing for 0.2 s"):
        data.get("toy", progress=False)


def test_first_fill_from_another_archive_is_refused(home):
    home.put(home.cache / "colour" / "files", {"c.tar.gz": home.archive + b"\0"})
    with pytest.raises(DataError, match="files put there by hand: the MD5 of c.tar.gz is not"):
        data.get("colour", progress=False)


@several(deadline=None)
@given(choice=st.data())
def test_damaged_source_never_gives_wrong_data(home, choice):
    home.only("system")
    shutil.rmtree(home.cache, ignore_errors=True)
    name = choice.draw(st.sampled_from(sorted(PACKED)))
    content = bytearray(PACKED[name])
    if choice.draw(st.booleans()):
        content = content[: choice.draw(st.integers(0, len(content) - 1))]
    else:
        content[choice.draw(st.integers(0, len(content) - 1))] ^= choice.draw(st.integers(1, 255))
    home.put(home.system, PACKED | {name: bytes(content)})
    try:
        data.get("toy", progress=False)
        assert digests("toy") == home.toy["sha256"]
    except DataError as error:
        assert "system package dataset-toy: what it gave" in str(error)
        assert entries(home) == [".lock"]


# The cache


def check_damaged(path: Path, content: bytes, damaged: bytes) -> None:
    """With `damaged` in the place of a cached file: an error with advice, never wrong data."""
    array = ARRAYS[path.stem]
    path.write_bytes(damaged)
    try:
        spec = specs.find("toy")
        from qbench.data.cache import arrays

        assert np.array_equal(arrays(spec)[path.stem], array)
        assert len(damaged) == len(content) and damaged[-array.nbytes :] == array.tobytes()
    except DataError as error:
        assert str(error).startswith(f"{path} is damaged (")
        assert str(error).endswith("): run `qbench data get toy --force`.")
    finally:
        path.write_bytes(content)


@several(deadline=None)
@given(choice=st.data())
def test_changed_byte_in_the_cache(filled, choice):
    paths = sorted(data.get("toy").glob("*.npy"))
    path = choice.draw(st.sampled_from(paths))
    content = path.read_bytes()
    damaged = bytearray(content)
    in_header = choice.draw(st.booleans())
    last = 127 if in_header else len(content) - 1
    damaged[choice.draw(st.integers(0, last))] ^= choice.draw(st.integers(1, 255))
    check_damaged(path, content, bytes(damaged))


@several(deadline=None)
@given(choice=st.data())
def test_other_length_in_the_cache(filled, choice):
    path = choice.draw(st.sampled_from(sorted(data.get("toy").glob("*.npy"))))
    content = path.read_bytes()
    length = choice.draw(st.integers(0, len(content) - 1))
    check_damaged(path, content, content[:length])
    check_damaged(path, content, content + b"\0")


def test_pickle_in_the_cache_is_not_loaded(filled):
    path = data.get("toy") / "train_images.npy"
    mark = filled.root / "mark"
    content = path.read_bytes()
    np.save(path, np.array([formats.Malice(Path.touch, mark)], object), allow_pickle=True)
    evil = path.read_bytes()
    check_damaged(path, content, evil)
    assert not mark.exists()


def test_force_replaces_what_was_changed_or_lost(filled):
    where = data.get("toy")
    (where / "train_images.npy").write_bytes(b"?")
    (where / "test_labels.npy").unlink()
    with pytest.raises(DataError, match=r"train_images.npy is damaged"):
        data.verify("toy")
    assert not data.catalogue().set_index("name").loc["toy", "cached"]
    assert data.get("toy", progress=False, force=True) == where
    assert len(data.verify("toy")) == 4
    (where / "test_labels.npy").unlink()
    with pytest.raises(DataError, match=r"test_labels.npy is missing: run `qbench data get toy"):
        data.load("toy")


def test_force_without_a_source_keeps_what_is_there(filled):
    shutil.rmtree(filled.system)
    with pytest.raises(DataError, match="toy cannot be had"):
        data.get("toy", progress=False, force=True)
    assert len(data.verify("toy")) == 4


def test_remains_of_a_killed_process_are_harmless(home):
    left = home.cache / "toy" / ".filling-abc" / "ready"
    left.mkdir(parents=True)
    (left / "train_images.npy").write_bytes(b"half")
    home.put(home.system, PACKED)
    data.get("toy", progress=False)
    assert not any(name.startswith(".filling") for name in entries(home))


# Disks


def test_full_disk(home):
    home.put(home.system, PACKED)
    home.monkeypatch.setattr(filling.os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(DataError) as error:
        data.get("toy", progress=False)
    assert str(error.value) == (
        f"{home.cache / 'toy'} cannot be written (No space left on device): make room for about "
        "4 MB there, or set QBENCH_DATA to a directory that has it."
    )
    assert entries(home) == [".lock"]
    home.monkeypatch.undo()


@pytest.mark.parametrize("kind", ["https", "npm"])
def test_full_disk_while_downloading_is_not_taken_for_a_bad_source(home, kind):
    home.only(kind)
    home.monkeypatch.setattr("pooch.retrieve", fail_with(errno.ENOSPC))
    home.npm("sys.stderr.write('npm error code ENOSPC\\n'); sys.exit(1)")
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        data.get("toy", progress=False)


def test_cache_that_cannot_be_written(home):
    home.cache.write_text("a file where a directory should be")
    with pytest.raises(DataError, match=r"cannot be written \(Not a directory\)"):
        data.get("toy", progress=False)
