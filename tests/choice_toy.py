"""Small offers of networks, made up or random, for the tests of the choice."""

from __future__ import annotations

from qbench.studies.choice import Wanted
from qbench.studies.choice_networks import Offer

DEVICE, DATASET = "Z7020", "mnist"
ROOM = {"lut": 1000, "bram18": 100, "dsp": 10}


def network(name="W3A3", accuracy=90.0, **given):
    return {
        "name": name,
        "dataset": DATASET,
        "method": "bit-width sweep",
        "chapter": 2,
        "bits": "3 / 3",
        "accuracy": accuracy,
        "half": 0.25,
        "energy": 0.5,
        "memory": 12.5,
        "trained": "Trained on all 50,000 images, 100 epochs, one seed.",
        "images": 50_000,
        "whole": True,
        "cpu": None,
        "design": 0,
    } | given


def offer(networks, designs, missing=()):
    """designs: of each the foldings on the FPGA, (frames/s, LUTs, BRAM18, DSPs)."""
    made = [{DEVICE: [tuple(row) for row in rows]} for rows in designs]
    why = list(missing) or [{DEVICE: "" if rows else "float32"} for rows in designs]
    return Offer(networks, made, {DEVICE: ROOM, "CPU": None}, why)


def random_offer(random):
    """Up to nine networks with up to three foldings, values from few, so that many are equal."""
    designs = []
    for _ in range(random.randint(1, 5)):
        rows = []
        for _ in range(random.choice([0, 1, 2, 3, 3])):
            bram = random.choice([None, 5, 10, 60])
            lut = random.choice([50, 125, 333, 1000])
            rows.append((random.choice([30.0, 1525.6, 1e4, 714285.7]), lut, bram, 0))
        designs.append(sorted(rows, key=lambda row: row[0]))
    networks = [
        network(
            f"network {place}",
            random.choice([85.0, 88.125, 88.5767, 90.0, 91.3333]),
            half=random.choice([None, 0.0, 0.25, 1.125]),
            energy=random.choice([0.00987403, 0.125, 1.5, 12.3456, 250.0]),
            memory=random.choice([0.5, 12.5, 1234.5]),
            cpu=random.choice([None, 25.0, 590.125, 1300.96]),
            design=random.randrange(len(designs)),
        )
        for place in range(random.randint(1, 9))
    ]
    return offer(networks, designs)


def random_wanted(random):
    return Wanted(
        random.choice([0.0, 0.0, 86.0, 88.5, 99.0]),
        random.choice([0.0, 30.0, 30.0, 1e4, 1e6]),
        random.choice([0.05, 0.3, 0.8, 1.0, 1.0]),
        random.choice([0.005, 0.125, 20.0, float("inf"), float("inf")]),
        random.choice(["accuracy", "frames_per_second", "resources", "energy"]),
    )
