"""An epoch of a student beside plain PyTorch loops, and several students at once.

`make bench` measures anew, prints medians and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

import argparse
import os
import sys

from sweep import keys, measure, show

from qbench import provenance, speed_distillation
from qbench.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="measure so many rounds instead of the usual")
    rounds = parser.parse_args().rounds
    fewer = {} if rounds is None else {"rounds": rounds}
    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores")
    if (busy := os.getloadavg()[0]) > 0.5:
        print(f"The machine is busy (load {busy:.1f}): times and ratios will be off.")

    epoch = measure(speed_distillation.student_epoch, **fewer)
    show("One epoch of a student", speed_distillation.beside(epoch))
    together = measure(speed_distillation.students_together, **fewer)
    show("Several students", speed_distillation.together(together))
    print(f"\nTo publish: qbench results publish {' '.join(keys)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
