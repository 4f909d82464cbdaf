"""The Brevitas layers that the book's quantised networks are made of, one choice a bit width.

Weights: signed, symmetric, narrow range (±(2^(n−1) − 1) steps), scale = largest magnitude of the
tensor or of each output channel; one bit is the sign. Activations: signed, 2^n levels, scale learnt
from 1. Both as in the public code of Ducasse et al. 2021. Pixels: the 256 levels that images arrive
with, so that quantising them loses nothing and learns nothing. 32 bits are float32.
"""

import brevitas.nn as qnn
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import (
    Int8ActPerTensorFloatMinMaxInit,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFloatMaxInit,
)
from torch import nn


def linear(inputs: int, outputs: int, bits: int, *, per_channel: bool = True) -> nn.Module:
    """A bias-free fully connected layer (N, inputs) → (N, outputs) with weights of `bits` bits.

    `per_channel` scales every output's weights on their own; it has no effect at 1 and 32 bits.
    """
    if bits == 32:
        return nn.Linear(inputs, outputs, bias=False)
    if bits == 1:
        return qnn.QuantLinear(
            inputs, outputs, bias=False, weight_quant=SignedBinaryWeightPerTensorConst
        )
    quantiser = Int8WeightPerChannelFloat if per_channel else Int8WeightPerTensorFloat
    return qnn.QuantLinear(
        inputs, outputs, bias=False, weight_quant=quantiser, weight_bit_width=bits
    )


def hard_tanh(bits: int) -> nn.Module:
    """HardTanh on [−1, 1], quantised to `bits` bits; any shape."""
    if bits == 32:
        return nn.Hardtanh()
    quantiser = SignedBinaryActPerTensorConst if bits == 1 else Int8ActPerTensorFloatMinMaxInit
    return qnn.QuantHardTanh(act_quant=quantiser, bit_width=bits, min_val=-1.0, max_val=1.0)


def pixels() -> nn.Module:
    """The 256 levels of [0, 1], a constant scale of 1/255; any shape."""
    return qnn.QuantIdentity(
        act_quant=Uint8ActPerTensorFloatMaxInit,
        max_val=1.0,
        scaling_impl_type=ScalingImplType.CONST,
    )
