"""What a user waits for before anything happens: each beside the thing it must not be slower than.

`make bench` prints the median of 7 runs of each, in one process tree on this machine.
"""

import statistics
import subprocess
import sys
import time

from qbench import provenance


def seconds(*command: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores")
    bare = seconds("-c", "pass")
    torch = seconds("-c", "import torch")
    rows = {
        "python -c pass": bare,
        "import torch": torch,
        "import qbench": seconds("-c", "import qbench"),
        "qbench --help": seconds("-m", "qbench", "--help"),
        "qbench chapters": seconds("-m", "qbench", "chapters"),
        "qbench run 02 -p epochs -1 (refused)": seconds(
            "-c",
            "import qbench.parameters as q\ntry: q.check('02_bit_width_sweep', epochs=-1)\n"
            "except q.ParameterError: pass",
        ),
    }
    for what, took in rows.items():
        share = (took - bare) / (torch - bare)
        print(f"{what:40} {took:6.3f} s  {share:5.2f} of importing torch")


if __name__ == "__main__":
    main()
