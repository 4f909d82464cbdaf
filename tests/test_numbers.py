"""What is taken for a number, and how it is set."""

import pytest

from qbench import numbers


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("from -6.02 to +0.88", "from −6.02 to +0.88"),
        ("(-1, 2)", "(−1, 2)"),
        ("-.5 points", "−.5 points"),
        ("L2 1e-05, conv 64-72, W8-A3, 2026-11-22, 3-bit", None),
        ("`qbench run 02 -p epochs -1` takes -1", "`qbench run 02 -p epochs -1` takes −1"),
        ("a - b", None),
        ("a < -1 and b > -2", "a < −1 and b > −2"),
        ("<b style='margin: -4px'>-4</b>", "<b style='margin: -4px'>−4</b>"),
        ("[-1](#-1)", "[−1](#-1)"),
        ("−0.2 and 1-2", None),
    ],
)
def test_a_minus_is_a_minus(given, said):
    assert numbers.with_minus(given) == (said or given)


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "1", None])
def test_what_is_no_number(value):
    assert not numbers.number(value) and not numbers.whole(value)
