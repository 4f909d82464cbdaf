"""The sources and the cache of data sets, on small synthetic data; nothing needs a network."""

import errno
import functools
import gzip
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import test_data_decoders as formats
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qbench.data as data
from qbench.data import DataError, filling, sources, specs

REPOSITORY = Path(__file__).resolve().parents[1]
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
NOWHERE = ["https://127.0.0.1:9/a/", "https://127.0.0.1:9/b/"]  # the connection is refused


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def toy_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "train_images": rng.integers(0, 256, (120, 8, 8), dtype=np.uint8),
        "train_labels": np.repeat(np.arange(3), 40).astype("<i8"),
        "test_images": rng.integers(0, 256, (30, 8, 8), dtype=np.uint8),
        "test_labels": rng.integers(0, 3, 30).astype("<i8"),
    }


ARRAYS = toy_arrays()
PACKED = {IDX_FILES[k]: gzip.compress(formats.idx(v), mtime=0) for k, v in ARRAYS.items()}


def md5(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}


class Home:
    """A cache in an empty directory, and a datasets.yml with small data sets."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        self.cache, self.system, self.bin = root / "cache", root / "system", root / "bin"
        self.bin.mkdir()
        self.file = root / "datasets.yml"
        monkeypatch.setenv("QBENCH_DATA", str(self.cache))
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(specs, "DATASETS_FILE", self.file)
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        https = {"kind": "https", "decoder": "idx", "mb": 1, "mirrors": NOWHERE}
        https |= {"files": IDX_FILES, "md5": md5(PACKED)}
        system = {"kind": "system", "decoder": "idx", "package": "dataset-toy"}
        system |= {"folder": str(self.system), "files": IDX_FILES}
        npm = {"kind": "npm", "decoder": "idx", "mb": 1, "package": "toy@1.0.0"}
        npm |= {"files": {k: f"package/{v}" for k, v in IDX_FILES.items()}}
        self.toy = {
            "title": "Toy",
            "classes": ["a", "b", "c"],
            "image_shape": [8, 8],
            "train_images": 120,
            "test_images": 30,
            "split": {"train": 100, "valid": 20, "test": 30},
            "sha256": {name: sha256(array) for name, array in ARRAYS.items()},
            "sources": [system, https, npm],
        }
        self.archive, arrays = formats.cifar10_archive()
        https = {"kind": "https", "decoder": "cifar10-archive", "mb": 1, "mirrors": NOWHERE}
        https |= {"files": {"archive": "c.tar.gz"}, "md5": md5({"c.tar.gz": self.archive})}
        self.colour = {
            "title": "Colour",
            "classes": list("abcdefghij"),
            "image_shape": [8, 8, 3],
            "train_images": 20,
            "test_images": 4,
            "split": {"train": 15, "valid": 5, "test": 4},
            "sha256": "first-fill",
            "sources": [https],
        }
        self.colour_arrays = arrays
        self.write()

    def write(self) -> None:
        content = {"datasets": {"toy": self.toy, "colour": self.colour}}
        self.file.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")

    def only(self, *kinds: str) -> None:
        """Keep only these kinds of source for toy."""
        self.toy["sources"] = [s for s in self.toy["sources"] if s["kind"] in kinds]
        self.write()

    def put(self, folder: Path, contents: dict[str, bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)

    def npm(self, script: str, members: dict[str, bytes] | None = None) -> None:
        """Install an npm that runs `script`; TGZ is then the path of the package it gives."""
        if members is None:
            members = {f"package/{k}": v for k, v in PACKED.items()}
        tgz = self.root / "toy-1.0.0.tgz"
        tgz.write_bytes(formats.tar_gz(members))
        # Only the interpreter itself is sure to be there: PATH is empty but for this script.
        program = f"#!{sys.executable}\nimport os, shutil, sys, time\nTGZ = {str(tgz)!r}\n"
        (self.bin / "npm").write_text(program + textwrap.dedent(script))
        (self.bin / "npm").chmod(0o755)

    def filled(self) -> "Home":
        """Put toy into the cache."""
        self.put(self.system, PACKED)
        data.get("toy", progress=False)
        return self


@pytest.fixture
def home(tmp_path, monkeypatch):
    return Home(tmp_path, monkeypatch)


@pytest.fixture
def filled(home):
    return home.filled()


def entries(home: Home) -> list[str]:
    return sorted(path.name for path in (home.cache / "toy").iterdir())


def digests(name: str) -> dict[str, str]:
    return data.verify(name).set_index("array")["sha256"].to_dict()


# Sources


def test_system_package_comes_first(filled):
    assert entries(filled) == [".lock", data.get("toy").name]
    assert digests("toy") == filled.toy["sha256"]
    assert set(data.verify("toy")["stated_in"]) == {"datasets.yml"}
    assert data.verify("toy")["shape"].tolist() == [array.shape for array in ARRAYS.values()]


def test_npm(home, capfd):
    home.npm("shutil.copy(TGZ, [a for a in sys.argv if 'dest' in a][0].split('=')[1])")
    data.get("toy")
    assert np.array_equal(data.load("toy").test.labels, ARRAYS["test_labels"])
    shown = capfd.readouterr().err
    assert "toy: system package dataset-toy: it is not installed" in shown
    assert "npm pack toy@1.0.0 (1 MB) ..." in shown
    assert "decoding toy" in shown


def test_files_put_there_by_hand_may_be_unpacked(home):
    unpacked = {name.removesuffix(".gz"): gzip.decompress(v) for name, v in PACKED.items()}
    home.put(home.cache / "toy" / "files", unpacked)
    assert len(data.load("toy").train) == 100


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


class Server:
    """An HTTP server that gives `contents`; the names asked for are in `asked`."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                asked.append(name)
                content = contents.get(name)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def plain_http(home):
    """Let toy come from plain HTTP servers: a call with their contents starts them."""
    home.only("https")
    find, servers = specs.find, []

    def start(*contents: dict[str, bytes]) -> list[Server]:
        servers.extend(Server(content).__enter__() for content in contents)
        addresses = tuple(server.address for server in servers)

        def found(name):
            from dataclasses import replace

            spec = find(name)
            return replace(spec, sources=(replace(spec.sources[0], mirrors=addresses),))

        home.monkeypatch.setattr("qbench.data.cache.find", found)
        return servers

    yield start
    for server in servers:
        server.__exit__()


def test_https(home, plain_http, capfd):
    plain_http(PACKED)
    data.get("toy")
    assert "100%" in capfd.readouterr().err
    assert len(data.verify("toy")) == 4


def test_second_mirror_is_asked_for_what_the_first_lacks(home, plain_http):
    some = dict(list(PACKED.items())[:2])
    first, second = plain_http(some, PACKED)
    data.get("toy", progress=False)
    assert first.asked == list(PACKED)[:3]
    assert second.asked == list(PACKED)[2:]


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


def test_mirrors_that_do_not_answer_are_soon_given_up(home, plain_http):
    home.monkeypatch.setattr(sources, "READ_SECONDS", 0.2)

    (server,) = plain_http(PACKED)
    server.server.RequestHandlerClass.do_GET = lambda self: threading.Event().wait(1)
    with pytest.raises(DataError, match="sends nothing for 0.2 s"):
        data.get("toy", progress=False)


# A data set without digests


def test_first_fill_is_anchored_on_the_archive(home):
    home.put(home.cache / "colour" / "files", {"c.tar.gz": home.archive})
    where = data.get("colour", progress=False)
    assert set(data.verify("colour")["stated_in"]) == {"digests.json"}
    test = data.load("colour").test
    assert test.labels.tolist() == home.colour_arrays["test_labels"].tolist()
    (where / "digests.json").unlink()
    with pytest.raises(DataError, match=r"digests.json is missing or damaged: run `qbench data"):
        data.load("colour")
    data.get("colour", progress=False, force=True)
    data.verify("colour")


def test_first_fill_from_another_archive_is_refused(home):
    home.put(home.cache / "colour" / "files", {"c.tar.gz": home.archive + b"\0"})
    with pytest.raises(DataError, match="files put there by hand: the MD5 of c.tar.gz is not"):
        data.get("colour", progress=False)


# The cache


def test_catalogue(filled):
    table = data.catalogue().set_index("name")
    assert table.loc["toy", "cached"] and not table.loc["colour", "cached"]
    assert table.loc["toy", "sources"] == "system package dataset-toy, HTTPS, npm package toy@1.0.0"
    assert table.loc["toy", "images"] == 150
    assert table.loc["toy", "where"] == str(data.get("toy"))
    assert table.loc["toy", "download_mb"] == 1


def test_verify_without_a_cache(home):
    with pytest.raises(DataError, match=r"toy is not in .*: run `qbench data get toy`\."):
        data.verify("toy")


def test_warm_cache_needs_no_source_and_no_writing(filled):
    shutil.rmtree(filled.system)
    home = filled.cache / "toy"
    (home / ".lock").unlink()
    home.chmod(0o555)
    assert len(data.load("toy").train) == 100
    assert not (home / ".lock").exists()
    home.chmod(0o755)


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


several = functools.partial(
    settings, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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


def test_remains_of_a_killed_process_are_harmless(home):
    left = home.cache / "toy" / ".filling-abc" / "ready"
    left.mkdir(parents=True)
    (left / "train_images.npy").write_bytes(b"half")
    home.put(home.system, PACKED)
    data.get("toy", progress=False)
    assert not any(name.startswith(".filling") for name in entries(home))


def fail_with(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


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


CHILD = """
import sys
from pathlib import Path
import qbench.data as data
from qbench.data import specs
specs.DATASETS_FILE = Path(sys.argv[1])
print(data.get("toy"), len(data.verify("toy")), flush=True)
"""


def test_two_processes_at_once_download_once(home):
    home.only("npm")
    log = home.root / "log"
    home.npm(f"open({str(log)!r}, 'a').write('x'); time.sleep(1); shutil.copy(TGZ, '.')")
    command = [sys.executable, "-c", CHILD, str(home.file)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, cwd=REPOSITORY, **pipes) for _ in range(2)]
    outputs = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] == f"{data.get('toy')} 4\n"
    assert log.read_text() == "x"


def test_waiting_for_another_process_ends(home, capfd):
    import filelock

    home.monkeypatch.setattr(filling, "LOCK_SECONDS", 0.1)
    (home.cache / "toy").mkdir(parents=True)
    with filelock.FileLock(home.cache / "toy" / ".lock"):
        with pytest.raises(DataError, match="another process has been filling .* for 0.1 s: wait"):
            data.get("toy")
    assert "waiting for another process to fill" in capfd.readouterr().err


def test_import_is_light():
    code = "import sys, qbench.data as d; d.catalogue(); d.epoch_order(5, 0, 0)\n"
    code += "sys.exit([m for m in ('torch', 'pooch', 'requests', 'PIL', 'mlxtend') "
    code += "if m in sys.modules] or None)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
