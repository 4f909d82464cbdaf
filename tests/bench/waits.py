"""What a user waits for: commands, results looked up, generations on Dask, pages of the book.

`make bench` measures anew, prints medians beside their aims, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

from sweep import asked, keys, measure, run, show

from qbench import speed_waits


def main() -> None:
    fewer = asked(__doc__)
    found = {
        "started": measure(speed_waits.started, **fewer),
        "looked_up": measure(speed_waits.looked_up, **({"results": 1000} if fewer else {})),
        "enumerated": measure(speed_waits.enumerated, **fewer),
        "generations": measure(speed_waits.generations, **({"seconds": 1.0} if fewer else {})),
    }
    try:
        found["opened"] = measure(speed_waits.opened, **fewer)
    except speed_waits.WaitError as error:
        keys.pop()
        print(error)
    show("What is waited for", speed_waits.summed_up(found))


if __name__ == "__main__":
    run(main)
