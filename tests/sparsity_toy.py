"""Small ternary networks, images and phases for the tests of `qbench.sparsity`; not a test."""

import pytest
from distillation_toy import toy
from qkd_toy import flat

from qbench.models import binary_connect
from qbench.sparsity import studying
from qbench.sparsity.networks import Ternary
from qbench.sparsity.phases import Phase
from qbench.sparsity.studying import study

INPUTS, CLASSES = 12, 3
KINDS = ("training", "binary", "retraining", "binary activations", "convolutions")


def perceptron(eta=0.6, seed=0, width=9, act_bits=32) -> Ternary:
    sizes = {"inputs": INPUTS, "classes": CLASSES}
    model = binary_connect.build("mlp", width, act_bits=act_bits, **sizes)
    return Ternary(model, (eta, eta), seed)


def convolutions(eta=(0.5, 0.7), seed=0) -> Ternary:
    return Ternary(binary_connect.build("vgg", 2, inputs=3, classes=CLASSES), eta, seed)


def network(kind: str, seed=0) -> Ternary:
    """A network as a phase of one of `KINDS` finds it."""
    if kind == "convolutions":
        return convolutions(seed=seed)
    eta = 0.0 if kind == "binary" else 0.6
    made = perceptron(eta, seed, act_bits=1 if kind == "binary activations" else 32)
    if kind == "retraining":
        made.prune((0.6, 0.6))
    return made


def images(kind: str):
    return toy(11) if kind == "convolutions" else flat()


def phase(epochs=3, **more) -> Phase:
    return Phase(epochs, **{"learning_rate": 0.05, "batch_size": 5, "strength": 0.01} | more)


def train(kind="training", made=None, pictures=None, epochs=3, seed=0, checkpoint=None, **more):
    """The network and its table."""
    made = network(kind, seed) if made is None else made
    pictures = images(kind) if pictures is None else pictures
    given = {"seed": seed, "checkpoint": checkpoint, "progress": False}
    return made, study(made, pictures, phase(epochs, **more), **given)


@pytest.fixture
def every_epoch(monkeypatch):
    """Checkpoints after every epoch."""
    monkeypatch.setattr(studying, "CHECKPOINT_SECONDS", 0)
