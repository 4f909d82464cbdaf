"""Perceptrons that are rounded while they learn: stacks beside PyTorch's own modules.

`make bench` measures anew, prints medians and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

import sys

from sweep import asked, keys, measure, show

from qbench import speed_rounding
from qbench.errors import UserError


def main() -> None:
    fewer = asked(__doc__)
    found = measure(speed_rounding.perceptron_step, **fewer)
    show("Perceptrons with rounding in place", speed_rounding.beside(found))
    print(f"\nTo publish: qbench results publish {' '.join(keys)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
