"""Small synthetic data sets, a cache of their own and servers for them; not a test itself.

A test module makes its own fixtures of `home`, `filled` and `plain_http`.
"""

import gzip
import hashlib
import http.server
import os
import sys
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import test_data_decoders as formats
import yaml

import qbench.data as data
from qbench.data import specs

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


def home(tmp_path, monkeypatch):
    return Home(tmp_path, monkeypatch)


def filled(home):
    return home.filled()


def entries(home: Home) -> list[str]:
    return sorted(path.name for path in (home.cache / "toy").iterdir())


def digests(name: str) -> dict[str, str]:
    return data.verify(name).set_index("array")["sha256"].to_dict()


class Server:
    """An HTTP server that gives `contents`; the names asked for are in `asked`.

    Text in the place of a content is an address that is sent on to, None is 404; `length` False
    does not say how long a content is, and `headers` are sent besides.
    """

    length = True
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.asked = asked = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                asked.append(name)
                content = contents.get(name)
                if isinstance(content, str):
                    self.send_response(302)
                    self.send_header("Location", content)
                    content = b""
                else:
                    self.send_response(404 if content is None else 200)
                for header, value in server.headers.items():
                    self.send_header(header, value)
                if server.length:
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


def fail_with(number: int):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail
