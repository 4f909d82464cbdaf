"""What a user waits for: commands, results looked up, generations on Dask, pages of the book.

`make bench` measures anew, prints medians beside their aims, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

import sys

from sweep import asked, keys, measure, show

from qbench import speed_waits
from qbench.errors import UserError


def main() -> None:
    fewer = asked(__doc__)
    found = {
        "started": measure(speed_waits.started, **fewer),
        "looked_up": measure(speed_waits.looked_up),
        "generations": measure(speed_waits.generations),
    }
    try:
        found["opened"] = measure(speed_waits.opened, **fewer)
    except speed_waits.WaitError as error:
        keys.pop()
        print(error)
    show("What is waited for", speed_waits.summed_up(found))
    print(f"\nTo publish: qbench results publish {' '.join(keys)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
