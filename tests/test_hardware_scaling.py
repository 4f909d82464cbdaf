"""What scaling factors cost: Table 5.6 and section 5.7.2 of Faraone 2021, and a count by hand."""

import subprocess
import sys
from itertools import product

import pytest

from qbench import reference
from qbench.hardware.errors import HardwareError
from qbench.hardware.scaling import GRANULARITIES, cost

SHAPE = {"kernel": 3, "inputs": 384, "outputs": 256, "size": 13}  # Table 5.7's layer, at 13 × 13
SHAPES = [  # with few common factors, so that no other formula gives the same
    SHAPE,
    {"kernel": 1, "inputs": 3, "outputs": 4, "size": 1},
    {"kernel": 5, "inputs": 7, "outputs": 44, "size": 17},
]
every_shape = pytest.mark.parametrize("shape", SHAPES)


def of(text, kernel, inputs, outputs, size):
    """What a printed formula gives for a layer; `L_v-1` after an equals sign is the thesis' own."""
    weights = kernel**2 * inputs * outputs
    letters = {"K": kernel, "I": inputs, "N": outputs, "L_v": kernel**2 * inputs}
    letters |= {"P": weights * size**2, "Z": weights}
    values = {eval(side.replace("^", "**"), letters) for side in str(text).split("=")}
    assert len(values) == 1
    return float(values.pop())


@every_shape
def test_table_5_6(shape):
    table = reference.load("faraone2021", "table_5_6")
    assert set(table["granularity"]) == set(GRANULARITIES)
    table["value"] = [of(text, **shape) for text in table["value"]]
    names = {"scaling_factors": "scalars", "operations": "operations"}
    ours = table[["granularity", "quantity"]].assign(
        value=[
            float(getattr(cost(granularity, **shape), names[quantity]))
            for granularity, quantity in zip(table["granularity"], table["quantity"], strict=True)
        ]
    )
    verdicts = reference.compare(table, ours, on=["granularity", "quantity"])
    assert len(verdicts) == 12 and set(verdicts["verdict"]) == {"exact"}


@every_shape
def test_section_5_7_2(shape):
    table = reference.load("faraone2021", "equation_section_5_7_2")
    table = table[table["granularity"] != ""]
    dots = shape["outputs"] * shape["size"] ** 2
    for row in table.to_dict("records"):
        ours = getattr(cost(row["granularity"], **shape), row["quantity"])
        assert ours == dots * of(row["value"], **shape)
    assert set(table["quantity"]) == {"multiplications", "additions"} and len(table) == 4


def test_scales_by_hand():
    counted = {name: cost(name, **SHAPE) for name in GRANULARITIES}
    assert {name: one.scalars for name, one in counted.items()} == {
        "layer": 1,
        "row": 3,
        "pixel": 9,
        "asymmetric": 2,
        "grouping": 576,
        "channel": 256,
    }
    # P = 9 · 384 · 256 · 169; a dot product of 3,456 numbers for each of 256 · 169 outputs
    assert counted["layer"].operations == 149_520_384 == counted["pixel"].low_precision
    assert counted["asymmetric"].operations == 149_520_384 + 884_736
    assert counted["pixel"].multiplications == 43_264 * 3_465
    assert counted["row"].multiplications == 43_264 * 3_459
    assert {one.additions for one in counted.values()} == {43_264 * 3_455}


@pytest.mark.parametrize("name", ["pixel", "row"])
def test_a_sum_for_each_scale_takes_as_many_additions(name):
    """Count them: those of each part, and those that join the parts."""
    for kernel, inputs in product((1, 2, 3, 5), (1, 4)):
        parts = kernel**2 if name == "pixel" else kernel
        each = kernel**2 * inputs // parts
        assert cost(name, kernel, inputs, 1, 1).additions == parts * (each - 1) + parts - 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"granularity": "kernel"},
            "granularity must be one of layer, row, pixel, asymmetric, grouping, channel, not "
            "'kernel'.",
        ),
        ({"kernel": 0}, "kernel must be a whole number of at least 1, not 0."),
        ({"size": 2.5}, "size must be a whole number of at least 1, not 2.5."),
        (
            {"granularity": "grouping", "outputs": 10},
            "outputs must be a multiple of 4 for grouping, not 10.",
        ),
    ],
)
def test_refused(change, said):
    with pytest.raises(HardwareError) as caught:
        cost(**{"granularity": "pixel", **SHAPE, **change})
    assert str(caught.value) == said


def test_it_needs_no_torch():
    code = "import sys, qbench.hardware.scaling; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
