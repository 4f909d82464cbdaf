"""From a trained network to whole numbers: weights, thresholds, and what is left for the host.

A trained layer gives s = Σ q·a of its weight codes q and input codes a, and v = gain·s + offset,
in steps of the quantiser that follows (the scales and batch norm are in gain and offset); its
output code is v rounded, ties to even, and cut to the codes there are. Since v only grows with s,
rounding is the same as counting thresholds, and `thresholds` finds them without an error of its
own. Where batch norm has a negative gain v falls, and the row's weights change their sign.

The last layer is not quantised: the unit gives the sums, and `Lowered.classes` takes the greatest
gain·s + offset of each image, in float64. That is left to the host, ten products an image: the
gains differ from class to class, so no rule on the sums alone would give the same class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbench.hardware.folding import largest_divisor
from qbench.hardware.network import quantiser

from .unit import Integers, Layer, Memory, SynthesisError, Unit, chain, code_range, is_whole

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dense:
    """A trained layer as plain arrays: codes (mh, mw), and gain and offset, (mh,).

    `out_bits` None is a last layer, whose gain and offset turn sums into logits; otherwise they
    turn them into steps of the output codes. Inputs are codes of `act_bits`, signed or not.
    """

    codes: Integers
    gain: Floats
    offset: Floats
    weight_bits: int
    act_bits: int
    act_signed: bool
    out_bits: int | None


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as layers of whole numbers; `step` is the value of one input code.

    `gain` and `offset` (classes,) turn the last layer's sums into logits.
    """

    layers: tuple[Layer, ...]
    step: float
    gain: Floats
    offset: Floats

    def codes(self, images: ArrayLike) -> Integers:
        """Input codes (n, mw) of images (n, mw), rounded to the nearest."""
        codes = np.rint(np.asarray(images, dtype=np.float64) / self.step)
        return np.clip(codes, *self.layers[0].unit.act_range).astype(np.int64)

    def logits(self, sums: ArrayLike) -> Floats:
        """Logits (n, classes) of the last layer's sums (n, classes)."""
        return self.gain * np.asarray(sums) + self.offset

    def classes(self, sums: ArrayLike) -> Integers:
        """The class with the greatest logit for each row of sums; (n,)."""
        return self.logits(sums).argmax(1)


def thresholds(unit: Unit, gain: ArrayLike, offset: ArrayLike) -> Integers:
    """Thresholds (mh, 2^out_bits − 1) with the outputs of rounding gain·s + offset in float64.

    At one bit the output is +1 where that is at least 0. For each output the least sum is looked
    for, by bisection, that rounding brings to it: products and sums of float64 keep their order
    when they are rounded, so nothing is left to chance. Raises `SynthesisError` for a negative
    `gain` (mh,), and for what is not finite.
    """
    gain, offset = (np.asarray(values, np.float64)[:, None] for values in (gain, offset))
    if not (gain >= 0).all() or not np.isfinite(gain + offset).all():
        raise SynthesisError("gain must be at least 0, and gain and offset finite.")
    low, high = unit.sum_range
    levels = np.arange(1, 2**unit.out_bits) - 2 ** (unit.out_bits - 1)
    least = np.full((unit.mh, len(levels)), low)
    most = np.full_like(least, high + 1)  # what no sum reaches
    while (least < most).any():
        middle = (least + most) // 2
        value = gain * middle + offset
        reached = value >= 0 if unit.out_bits == 1 else np.rint(value) >= levels
        most = np.where(reached, middle, most)
        least = np.where(reached, least, np.minimum(middle + 1, most))
    return least


def lower_layer(dense: Dense, pe: int, simd: int, weights_in: Memory = "block") -> Layer:
    """One layer in whole numbers.

    Raises `SynthesisError` for a gain or offset that is not finite, and for weights that cannot
    change their sign.
    """
    bits = dense.weight_bits, dense.act_bits, dense.out_bits, dense.act_signed
    rows, columns = np.shape(dense.codes)
    unit = Unit(columns, rows, pe, simd, *bits, weights_in)
    for name in ("gain", "offset"):
        if not np.isfinite(getattr(dense, name)).all():
            raise SynthesisError(f"{name} must be finite, and one is not.")
    if dense.out_bits is None:
        return Layer(unit, dense.codes)
    falls = np.asarray(dense.gain) < 0
    codes = np.where(falls[:, None], -dense.codes, dense.codes)
    if codes.max(initial=0) > code_range(dense.weight_bits)[1]:
        row = int(np.argwhere(codes > code_range(dense.weight_bits)[1])[0, 0])
        raise SynthesisError(
            f"row {row} must not hold the weight {unit.weight_range[0]}, since its gain is "
            "negative and its weights must change their sign."
        )
    return Layer(unit, codes, thresholds(unit, np.abs(dense.gain), dense.offset))


def check_folding(pe: int, simd: int) -> None:
    """Refuse what cannot be a largest folding: `SynthesisError`."""
    for name, value in (("pe", pe), ("simd", simd)):
        if not is_whole(value) or value < 1:
            raise SynthesisError(f"{name} must be a whole number of at least 1, not {value!r}.")


def lower(model: Any, *, pe: int = 8, simd: int = 8, weights_in: Memory = "block") -> Lowered:
    """A trained network of Brevitas layers as a chain of units, such as `to_brevitas` gives.

    The model is an `nn.Sequential`: a quantiser of the inputs; fully connected layers without bias,
    each followed by batch norm and, but for the last, by a quantiser of signed outputs; dropout
    anywhere. `pe` and `simd` are the largest folding: a layer has the largest divisor of its rows,
    and of the inputs, that is not above. Raises `SynthesisError` for any other model.
    """
    check_folding(pe, simd)
    step, found = _dense(model)
    simd, layers = largest_divisor(found[0].codes.shape[1], int(simd)), []
    for dense in found:
        lanes = largest_divisor(len(dense.codes), int(pe))
        layers.append(lower_layer(dense, lanes, simd, weights_in))
        simd = lanes  # what one layer gives in a cycle the next one takes
    return Lowered(chain(layers), step, found[-1].gain, found[-1].offset)


def _dense(model: Any) -> tuple[float, Sequence[Dense]]:
    """Value of an input's code, and the layers of the model as arrays."""
    import brevitas.nn as qnn
    from torch import nn

    if not isinstance(model, nn.Sequential):
        raise SynthesisError(
            f"the model must be an nn.Sequential of Brevitas layers, not {type(model).__name__}."
        )
    if model.training:
        raise SynthesisError("the model must be in evaluation mode: call its eval() first.")
    first: float | None = None
    step = 0.0  # value of one code of what flows here, 0 after a layer: no codes yet
    form: tuple[int, bool] | None = None  # bits and sign of these codes
    layers: list[Dense] = []
    open_layer: dict[str, Any] | None = None
    for name, part in model.named_children():
        if isinstance(part, nn.Dropout | nn.Identity):
            continue
        if isinstance(part, qnn.QuantIdentity | qnn.QuantHardTanh) and quantiser(part, "act_quant"):
            form, step = quantiser(part, "act_quant"), _scale(name, part.act_quant)
            if first is None:
                first = step
            elif open_layer is None:
                raise SynthesisError(f"{name} must follow a fully connected layer.")
            else:
                if not form[1]:
                    raise SynthesisError(f"outputs of {name} must be signed, and are not.")
                affine = {key: open_layer[key] / step for key in ("gain", "offset")}
                layers.append(Dense(**open_layer | affine, out_bits=form[0]))
                open_layer = None
        elif isinstance(part, nn.Linear):
            if open_layer is not None or form is None:
                raise SynthesisError(f"inputs of {name} must be quantised, and are float32.")
            open_layer = _linear(name, part, step, form)
        elif isinstance(part, nn.BatchNorm1d) and open_layer is not None:
            gain, offset = _norm(part)
            open_layer["offset"] = gain * open_layer["offset"] + offset
            open_layer["gain"] = gain * open_layer["gain"]
        else:
            raise SynthesisError(
                f"{name} must be a layer that units can take over, and is {type(part).__name__}."
            )
    if open_layer is None:
        raise SynthesisError("the model must end in a fully connected layer and batch norm.")
    return first, [*layers, Dense(**open_layer, out_bits=None)]


def _linear(name: str, part: Any, step: float, form: tuple[int, bool]) -> dict[str, Any]:
    """Codes of the weights, and the value that a sum of code products has."""
    width = quantiser(part, "weight_quant")
    if width is None:
        raise SynthesisError(f"weights of {name} must be quantised, and are float32.")
    if part.bias is not None:
        raise SynthesisError(f"{name} must have no bias: batch norm makes up for it.")
    weights = part.quant_weight()
    scale = _array(weights.scale)
    codes = np.rint(_array(weights.value) / scale).astype(np.int64)
    gain = np.broadcast_to(scale * step, (len(codes), 1))[:, 0]
    act = {"act_bits": form[0], "act_signed": form[1]}
    return {"codes": codes, "gain": gain, "offset": 0 * gain, "weight_bits": width[0], **act}


def _norm(part: Any) -> tuple[Floats, Floats]:
    """Gain and offset of batch norm in evaluation mode."""
    gain = _array(part.weight) / np.sqrt(_array(part.running_var) + part.eps)
    return gain, _array(part.bias) - gain * _array(part.running_mean)


def _scale(name: str, proxy: Any) -> float:
    """Value of one code; raises unless it is one number and code 0 is the value 0."""
    scale, zero = _array(proxy.scale()), _array(proxy.zero_point())
    if scale.size != 1 or zero.any():
        raise SynthesisError(f"{name} must have one scale for all and the zero point 0.")
    return float(scale.reshape(()))


def _array(tensor: Any) -> Floats:
    return tensor.detach().cpu().double().numpy()
