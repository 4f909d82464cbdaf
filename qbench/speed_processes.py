"""Processes that measure by turns: each rests while another one works.

The one that asks starts a `worker` for each contender and asks it round after round (`rounds_of`).
A module that measures, run as a program, answers with `serve`. A line of JSON asks, a line answers.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from qbench.errors import UserError

Ask = Callable[..., dict[str, Any]]


class SpeedError(UserError, RuntimeError):
    """A measurement broke off."""


@contextmanager
def worker(*, jit: bool = False, module: str) -> Iterator[Ask]:
    """Start a process that measures; what is given asks it, and raises `SpeedError` if it died.

    `module`, run as a program, answers with `serve`.
    """
    environment = {"BREVITAS_JIT": str(int(jit)), "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        [sys.executable, "-m", module],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(what: str, **arguments: Any) -> dict[str, Any]:
            line = ""
            try:
                process.stdin.write(json.dumps([what, arguments]) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                pass
            if not line:
                status = process.wait()
                raise SpeedError(f"A process that measures ended with status {status}; see above.")
            return json.loads(line)

        try:
            yield ask
        finally:
            process.kill()  # it holds nothing that anyone will miss
            with suppress(BrokenPipeError):  # what could not be sent
                process.stdin.close()


def rounds_of(rounds: int, title: str) -> Iterator[int]:
    """0, the round that warms up and is not kept, 1, 2, …, with progress on standard error."""
    from tqdm import tqdm

    yield from tqdm(range(rounds + 1), desc=title, unit="round", file=sys.stderr)


def serve(answers: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer every line of standard input with a line, until there are no more."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    for line in sys.stdin:
        what, arguments = json.loads(line)
        print(json.dumps(answers[what](**arguments)), file=out, flush=True)
