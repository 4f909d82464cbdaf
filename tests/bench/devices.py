"""DenseNet-21 on this processor: our best float32 beside plain PyTorch, and int8 beside float32.

`make bench` measures anew, prints throughputs and ratios, and stores what was measured as local
results. Leave the machine alone meanwhile. `--rounds 1` is a quick look, stored under other keys.
"""

from dataclasses import asdict

from sweep import asked, measure, run, show

from qbench.runtimes import machine
from qbench.studies import devices, devices_tables
from qbench.studies.devices_networks import Plan

ONE = asdict(Plan("densenet21", "mnist5k"))  # new weights: speed does not depend on them
HOW = {"runtimes": ["pytorch", "onnxruntime", "openvino"], "precisions": ["float32", "int8"]}
AIMS = {"float32 / eager": 1.0, "int8 / float32": 2.0}


def main() -> None:
    how = HOW | {"devices": ["cpu"], "batches": [1, 8, 32, 128], "threads": None}
    how |= {"rounds": 7, "seconds": 0.3, "latency_seconds": 0.5} | asked(__doc__)
    speeds = measure(devices.speeds, planned=ONE, on=machine.fingerprint(), **how)
    found = devices.Found(speeds, speeds, machine.fingerprint(), here=True)
    table = devices_tables.plain_beside_ours(found)
    show("Best throughputs of one measurement", table)
    for name, aim in AIMS.items():
        ratio = table[name].iloc[0]
        print(f"{name}: {ratio:.2f}, the aim is {aim:g}: {'met' if ratio >= aim else 'missed'}")
    if not machine.sums_integers():
        print("This processor has no VNNI: the aim of int8 is meant for those that have.")


if __name__ == "__main__":
    run(main)
