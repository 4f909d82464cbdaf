"""Jobs for the processes of `qbench.workers`; not a test itself.

Run as a program with a folder, it starts two of them that would sleep for minutes.
"""

import os
import sys
import time
from pathlib import Path

from qbench import workers


def announce(folder: str, seconds: float) -> int:
    """Leave a file named after this process, and sleep."""
    number = os.getpid()
    Path(folder, str(number)).touch()
    time.sleep(seconds)
    return number


def fail(sentence: str) -> None:
    raise ArithmeticError(sentence)


if __name__ == "__main__":
    list(workers.in_processes(announce, [(sys.argv[1], 600.0)] * 2, workers=2))
