"""The fused sweep beside sequential training, against its size, and over whole epochs.

`make bench` measures anew, prints medians and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 2` is a quick look, stored under other keys.
"""

import argparse
import os
import sys

from qbench import provenance, speed, speed_tables, store
from qbench.errors import UserError


def main() -> None:
    fewer = asked(__doc__)
    step = measure(speed.sweep_step, **fewer)
    show("One training step of all configurations", speed_tables.ratios(step))
    scaling = measure(speed.sweep_scaling, **fewer)
    show("One step of the fused sweep", speed_tables.costs(scaling))
    epoch = measure(speed.sweep_epoch)
    show(f"Whole epochs; {speed_tables.EPOCHS} take {speed_tables.minutes(epoch):.1f} min", epoch)
    show("Targets", speed_tables.targets(step, scaling, epoch))


keys: list[str] = []


def asked(description: str) -> dict[str, int]:
    """The rounds asked for on the command line, if any; says what machine this is."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="measure so many rounds instead of the usual")
    rounds = parser.parse_args().rounds
    machine = provenance.machine()
    print(f"{machine['processor']}, {machine['cores']} cores")
    if (busy := os.getloadavg()[0]) > 0.5:
        print(f"The machine is busy (load {busy:.1f}): times and ratios will be off.")
    return {} if rounds is None else {"rounds": rounds}


def measure(function, **parameters):
    """Measure again, whatever is stored, and store it."""
    spec = store.spec(function, **parameters)
    keys.append(store.key(spec)[:12])
    return store.get_or_run(spec, lambda: function(**parameters), recompute=True)


def run(main) -> None:
    """The measurement, the command that publishes it, and one sentence where it cannot be made."""
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    print(f"\nTo publish: qbench results publish {' '.join(keys)}")


def show(title, table) -> None:
    print(f"\n{title}\n{table.round(2).to_string(index=False, na_rep='')}", flush=True)


if __name__ == "__main__":
    run(main)
