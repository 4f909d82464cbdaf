"""Other machines by way of Dask: connecting to a scheduler, and what surrounds a job over there.

The driver names the scheduler in `QBENCH_SCHEDULER` (`qbench run --scheduler`, or `--workers` for
processes of this machine). A job comes with the files of results that it reads; over there it has a
folder of results of its own, one for each version of the code, and what it leaves goes back to the
driver, the only one that writes the driver's results. Data sets do not travel: each machine fetches
them into its own cache, once. Dask lets whoever reaches a scheduler run code: keep it in a network
that you trust, or use its TLS (`tls://`).
"""

import asyncio
import hashlib
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from qbench import paths, provenance
from qbench.errors import UserError

VARIABLE = "QBENCH_SCHEDULER"
SECONDS = 30  # to wait for a scheduler
ADDRESS = re.compile(r"(tcp|tls|ws|wss)://[^\s/:]+:\d{1,5}|(tcp|tls)://\[[0-9a-fA-F:]+\]:\d{1,5}")
NUMBERS = ("torch", "brevitas", "numpy", "pandas", "pyarrow", "onnx", "pymoo")  # decide them
_one = threading.Lock()


class ClusterError(UserError, RuntimeError):
    """The cluster cannot be used, or is not there any more."""


def check(address: str) -> str:
    """`address` as it is; raises `ClusterError` for what is no address of a scheduler."""
    if not ADDRESS.fullmatch(address):
        raise ClusterError(
            f"--scheduler must be an address such as tcp://host:8786 or tls://host:8786, "
            f"not {address!r}."
        )
    _dask()
    return address


def reachable(address: str) -> str:
    """`address` if somebody listens there, else `ClusterError`; and errors as `check`."""
    host, _, port = check(address).partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"nobody answers at --scheduler {address} ({error.strerror or error}): start one there "
            "with `dask scheduler`, or see whether a firewall is between."
        ) from None
    return address


def address() -> str | None:
    """The scheduler that jobs are to be sent to; None if there is none."""
    return os.environ.get(VARIABLE) or None


@contextmanager
def local(count: int) -> Iterator[str]:
    """A cluster of `count` processes of this machine, one thread each; its scheduler's address.

    Raises `ClusterError` when they cannot be started.
    """
    # Before settings are changed for a while: on its way in it brings the usual ones.
    distributed, dask = _dask("distributed"), _dask()
    # A process may die while it holds any job; the driver hands a lost one in again, and counts.
    settings = {"distributed.scheduler.allowed-failures": 10}
    with dask.config.set(settings):
        try:
            with _deaf():
                made = distributed.LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address=None,
                    silence_logs=50,
                )
        except (OSError, RuntimeError) as error:
            raise ClusterError(
                f"--workers {count}: they cannot be started ({str(error).rstrip('.')}). Often "
                "memory does not suffice: ask for fewer."
            ) from error
        with made:
            yield made.scheduler_address


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes and threads that are started within do not hear Ctrl-C, nor do their processes.

    A terminal sends it to all of them; they end with the one that started them, and say nothing.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # later it would open the ears of the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class FetchError(ConnectionError):
    """A result was computed over there and could not be fetched."""


class _Executor(Executor):
    """As a client's own, whose futures never end when a result cannot be fetched."""

    def __init__(self, client: Any) -> None:
        self.client, self.connection = client, client.scheduler_comm

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future:
        # Not pure: the same job handed in again must be computed again, not taken for the lost one.
        there = self.client.submit(function, *arguments, **named, pure=False)
        return asyncio.run_coroutine_threadsafe(_outcome(there), self.client.loop.asyncio_loop)

    def connected(self) -> bool:
        """Whether the scheduler is still there: one that comes back knows nothing of the jobs."""
        return self.client.status == "running" and self.client.scheduler_comm is self.connection


async def _outcome(there: Any) -> Any:
    await there.exception()  # it has ended, however
    finished = there.status == "finished"
    try:
        return await there
    except OSError as error:
        if finished:
            await asyncio.sleep(1)  # until the client knows whether its scheduler is there
            raise FetchError(str(error)) from error
        raise


def executor() -> _Executor:
    """An executor of the cluster at `address()`; raises `ClusterError` where none answers."""
    client = _client(check(address() or ""), os.getpid())
    if client.status != "running":  # any more
        _client.cache_clear()
        client = _client(address(), os.getpid())
    return _Executor(client)


@cache
def _client(where: str, process: int) -> Any:
    """One connection a process."""
    distributed = _dask("distributed")
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # the rest is in sentences
    try:
        client = distributed.Client(where, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(f"the scheduler {where} does not answer ({said}).") from None
    if not client.scheduler_info().get("workers"):
        print(f"{where} has no worker yet: waiting for one", file=sys.stderr)
    return client


def gone() -> ClusterError:
    """What is said when the scheduler has left, or has dropped what it was given."""
    _client.cache_clear()  # the next call connects anew
    return ClusterError(
        f"the scheduler {address() or ''} is gone, or has dropped the jobs. What was done is "
        "stored: run again to compute the rest."
    )


def lost() -> tuple[type[BaseException], ...]:
    """What a future of ours raises whose job is to be done again: its worker or result is gone."""
    if "distributed" not in sys.modules:
        return (FetchError,)
    return FetchError, _dask("distributed").scheduler.KilledWorker


def fingerprint() -> dict[str, str]:
    """What must be the same at both ends: the code, and the packages that decide numbers."""
    versions = provenance.versions()
    return {"qbench": _code(), **{name: versions[name] for name in NUMBERS if name in versions}}


@cache
def _code() -> str:
    total = hashlib.sha256()
    for file in sorted((paths.ROOT / "qbench").rglob("*.py")):
        total.update(f"{file.relative_to(paths.ROOT)}\0".encode() + file.read_bytes())
    total.update((paths.ROOT / "data" / "datasets.yml").read_bytes())
    return total.hexdigest()[:12]


def folder() -> Path:
    """Where a worker keeps what its jobs read and leave; it can be deleted while none runs.

    `QBENCH_WORKER` in the worker's environment, else in its user's cache directory.
    """
    if chosen := os.environ.get("QBENCH_WORKER"):
        return Path(chosen).expanduser().absolute() / _code()
    import platformdirs

    return platformdirs.user_cache_path("qbench") / "worker" / _code()


def alone(
    driver: Mapping[str, str],
    settings: Mapping[str, str],
    files: Mapping[str, bytes],
    function: Callable[..., Any],
    arguments: Sequence[Any],
) -> Any:
    """Over there: `function(*arguments)` in this worker's own folder, one job at a time.

    `files` are results of the driver that the job reads, `settings` its environment. Raises
    `ClusterError` where this machine has other code or packages than the `driver`.
    """
    from qbench import store

    mine = fingerprint()
    other = [name for name in driver if mine.get(name) != driver[name]]
    if other:
        there = ", ".join(f"{name} {mine.get(name, 'missing')}" for name in other)
        here = ", ".join(f"{name} {driver[name]}" for name in other)
        raise ClusterError(
            f"a worker has {there}, and the driver {here}: their numbers may differ. "
            "Install the same checkout and requirements.lock there."
        )
    own = {"QBENCH_RESULTS": str(folder()), VARIABLE: ""}
    with _one, environment({**settings, **own}):  # torch has one random state a process
        store.start_anew(files)
        return function(*arguments)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _dask(name: str = "dask") -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise ClusterError(
            "a cluster needs Dask: `pip install -e '.[cluster]'`, or the pins in requirements.lock."
        ) from None
