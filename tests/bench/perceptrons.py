"""Perceptrons that are rounded while they learn: stacks beside PyTorch's own modules.

`make bench` measures anew, prints medians and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

from sweep import asked, measure, run, show

from qbench import speed_rounding


def main() -> None:
    fewer = asked(__doc__)
    found = measure(speed_rounding.perceptron_step, **fewer)
    show("Perceptrons with rounding in place", speed_rounding.beside(found))


if __name__ == "__main__":
    run(main)
