"""The convolutional networks: their sizes, what they look at, what they refuse.

More about the DenseNets is in `test_models_densenet`.
"""

import itertools
import re

import pytest
import torch

from qbench.models import convolutional, flex_student, mobilenet_v2, resnet
from qbench.models.convolutional import NETWORKS, ModelError, build, parameters

COUNTS = {  # at 10 and at 100 classes
    "flex_student": (364_842, 370_692),
    "resnet8x4": (1_210_410, 1_233_540),
    "resnet32x4": (7_410_730, 7_433_860),
    "mobilenet_v2": (2_236_682, 2_351_972),
}
DOCUMENTED = {
    "flex_student": flex_student.flex_student,
    "resnet8x4": resnet.resnet8x4,
    "resnet32x4": resnet.resnet32x4,
    "mobilenet_v2": mobilenet_v2.mobilenet_v2,
}


def test_names():
    assert [*NETWORKS][: len(COUNTS)] == [*COUNTS]
    assert all(name.startswith("densenet") for name in [*NETWORKS][len(COUNTS) :])


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_the_docstring_says(name):
    with torch.device("meta"):
        found = tuple(parameters(build(name, classes)) for classes in (10, 100))
    assert found == COUNTS[name]
    stated = re.findall(r"\d+(?:,\d{3})+", DOCUMENTED[name].__doc__)
    assert sorted(int(number.replace(",", "")) for number in stated) == sorted(found)


@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("name", COUNTS)
def test_images_become_logits(name, inputs):
    model = build(name, 7, inputs=inputs).eval()
    assert next(iter(model.parameters())).shape[1] == inputs
    with torch.no_grad():
        found = model(torch.randn(2, inputs, 32, 32))
    assert found.shape == (2, 7) and found.isfinite().all()


def sides(model, images):
    """How wide the images are after each convolution, without repetitions."""
    seen = [images.shape[-1]]
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, x, y: seen.append(y.shape[-1]))
    with torch.no_grad():
        model.eval()(images)
    return [side for side, _ in itertools.groupby(seen)]


def test_images_shrink_as_documented():
    images = torch.zeros(1, 3, 32, 32)
    assert sides(build("mobilenet_v2", 10), images) == [32, 16, 8, 4, 2]
    found = sides(build("resnet8x4", 10, channels=[16, 17, 18, 19]), images)
    assert sorted(set(found)) == [8, 16, 32] and found[0] == 32 and found[-1] == 8
    assert sides(build("flex_student", 10), images) == [32, 16, 8]


@pytest.mark.parametrize("convolutions", convolutional.SIZES["flex_student"]["channels"])
@pytest.mark.parametrize("hidden", convolutional.SIZES["flex_student"]["neurons"])
def test_every_number_of_layers_learns(convolutions, hidden):
    channels, neurons = [2, 3, 4, 3, 2][:convolutions], [6, 5, 4, 3][:hidden]
    model = build("flex_student", 3, inputs=1, channels=channels, neurons=neurons)
    model(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert all(weights.grad is not None for weights in model.parameters())
    # 3×3 kernels and two numbers of batch norm a channel; the classifier has biases
    by_hand = sum(9 * a * b + 2 * b for a, b in itertools.pairwise([1, *channels]))
    widths = [channels[-1] * (32 >> convolutions) ** 2, *neurons]
    by_hand += sum(a * b + 2 * b for a, b in itertools.pairwise(widths)) + 3 * (widths[-1] + 1)
    assert parameters(model) == by_hand


def test_resnet8x4_may_be_narrower():
    model = build("resnet8x4", 3, channels=(16, 16, 20, 24))
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert isinstance(model.stage1_1.shortcut, torch.nn.Identity), "alike: nothing to adapt"
    assert all(weights.grad is not None for weights in model.parameters())


@pytest.mark.parametrize(
    ("name", "sizes", "said"),
    [
        (
            "resnet8",
            {},
            f"network must be one of {', '.join(NETWORKS)}, not 'resnet8' "
            "(did you mean resnet8x4?).",
        ),
        ("flex_student", {"channels": ()}, "channels of flex_student must be 1 to 5 whole numbers"),
        ("flex_student", {"channels": [4] * 6}, "not [4, 4, 4, 4, 4, 4]."),
        ("flex_student", {"neurons": [4] * 5}, "neurons of flex_student must be 0 to 4 whole"),
        ("flex_student", {"channels": [4, 0]}, "from 1 to 4096, not [4, 0]."),
        ("flex_student", {"channels": [4097]}, "from 1 to 4096, not [4097]."),
        ("flex_student", {"channels": [4.0]}, "not [4.0]."),
        ("flex_student", {"neurons": [True]}, "not [True]."),
        ("flex_student", {"channels": 4}, "not 4."),
        ("flex_student", {"channels": "32"}, "not '32'."),
        ("resnet8x4", {"channels": [4, 4]}, "channels of resnet8x4 must be 4 whole numbers"),
        ("resnet8x4", {"channels": [16, 16, 16, 15]}, "from 16 to 4096, not [16, 16, 16, 15]."),
        ("resnet8x4", {"neurons": [4]}, "resnet8x4 has no neurons to choose."),
        ("mobilenet_v2", {"channels": [4]}, "mobilenet_v2 has no channels to choose."),
        ("densenet21", {"channels": [4]}, "densenet21 has no channels to choose."),
    ],
)
def test_a_network_that_cannot_be(name, sizes, said, monkeypatch):
    monkeypatch.setitem(NETWORKS, name, None)  # nothing may be made
    if name == "resnet8":
        monkeypatch.delitem(NETWORKS, name)
    for refuse in (convolutional.check, lambda *a, **k: build(*a, 10, **k)):
        with pytest.raises(ModelError) as caught:
            refuse(name, **sizes)
        assert said in str(caught.value) and str(caught.value).endswith(".")
