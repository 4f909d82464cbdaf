"""Trainings of chapters 8 to 13 and 18 give the same bits on any number of threads."""

import pandas as pd
import pytest
import store_toy
import torch

from qbench.addnet import runs as addnet
from qbench.combining import runs as combining
from qbench.pruning import runs as pruning
from qbench.qkd import runs as qkd
from qbench.sparsity import runs as sparsity
from qbench.syq import runs as syq

home = pytest.fixture(store_toy.home, autouse=True)
SMALL = {"dataset": "mnist5k", "images": 60, "epochs": 1, "batch_size": 20}
RESIDUAL = {"network": "resnet20", "width": 0.25}
TRAININGS = {
    "QKD": (qkd.study, {"network": "densenet21", "weight_bits": 4, "act_bits": 4, "phase": "ss"}),
    "sparse ternary": (sparsity.study, {"network": "vgg", "width": 8}),
    "SYQ": (syq.training, RESIDUAL | {"method": "syq", "granularity": "row"}),
    "AddNet": (addnet.training, RESIDUAL),
    "pruned": (pruning.training, {"network": "alexnet_small", "width": 0.25}),
    "combined": (combining.training, {"width": 8, "granularity": "row"}),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_has_the_same_bits_on_any_number_of_threads(name, count_of_threads):
    """Convolutions, large enough to be divided among threads; a student's are tested elsewhere."""
    method, spec = TRAININGS[name]
    tables = []
    for count in (1, 2):
        count_of_threads(count)
        tables.append(method(**SMALL, **spec))
        assert torch.get_num_threads() == count, "what was set before is set again"
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["test_error"].notna().any()
