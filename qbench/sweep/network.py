"""Many quantised perceptrons as one: forward, backward and update of a whole group of members.

The architecture is `models.tfc.quant_tfc`. Every tensor has the members first, then the features,
then the images of the batch: (M, O, B). The matrix products work on codes, the whole numbers (or
halves, at one bit) that the hardware would multiply; scale factors are applied to their results.
So the forward products are exact in float32, and in any format that holds 8 bits.

One expression serves all bit widths: code = round(x / s − z) + z, with z = 0 from 2 bits on and
z = ½ at one bit, where it gives ±½.

Each layer has its own bits of weights and activations, a number for every member: the grids and the
activations' limits of a layer are (M, 1, 1). A network of equal bits is one whose layers agree.

Symbols, for each layer: Q weight codes, s their step, A input codes, R = QA the products centred on
their mean over the batch, c = s · (value of one input code), v = gain · R + offset what is rounded.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from .group import BINARY, Grid, Group, Run, Tape, order
from .kernels import bmm, exact_products, mm, peak

__all__ = ["Network", "order"]

EPS = 1e-5  # of batch norm
MOMENTUM = 0.1  # of its running averages
PIXEL = 1 / 255  # value of one input code: images arrive with 8 bits
SMALLEST = 1e-10  # of a weight's largest magnitude, as in Brevitas


class Network(Group):
    """A group of members, sorted as `order(members)` sorts them, with Adam's moments.

    All members of a group must agree in whether their weights, and whether their activations, are
    float32. `dtype` is float32; float64 is for comparisons.
    """

    # One training step

    def train_step(
        self, images: list[Tensor], keep: list[Tensor], labels: Tensor, share: float = 1.0
    ) -> Tensor:
        """One step of Adam on the mean cross entropy; returns every member's loss, (M,).

        Of every stream: `images` its batch, codes (B, I) after dropout; `keep` 0 or 1, (3, O, B),
        which hidden activations dropout leaves. `labels` (streams, B). `share` multiplies the
        learning rates. The first layer's update is finished by the next step, or by `finish`.
        """
        logits, tapes = self.forward(images, keep, share)
        target = labels[self.stream].unsqueeze(1)
        log_probability = logits.log_softmax(1)
        loss = -log_probability.gather(1, target).mean((1, 2))
        gradient = log_probability.exp_()
        gradient.scatter_add_(1, target, torch.full_like(target, -1, dtype=self.dtype))
        grads = self.backward(gradient.div_(labels.shape[-1]), tapes)
        packed = [*grads[:3], self._pack(grads[3:])]
        for who, rate, optimiser in self.rest:
            optimiser([gradient[who] for gradient in packed], rate * share)
        for weights, grid in zip(self.weights[1:], self.grids[1:], strict=True):
            torch.maximum(weights, -grid.limit, out=weights)
            torch.minimum(weights, grid.limit, out=weights)
        return loss

    def finish(self, share: float) -> None:
        """Bring the first layer up to date with the last step."""
        if self._last is not None:
            self._first_layer(None, share)

    def forward(
        self, images: list[Tensor], keep: list[Tensor], share: float = 1.0
    ) -> tuple[Tensor, list[Tape]]:
        """Logits (M, C, B) in training mode and what `backward` needs; moves running averages."""
        product, step, peak = self._first_layer(images, share)
        mask = torch.stack(keep) if len(keep) > 1 else keep[0].unsqueeze(0)
        mask = mask[self.stream] if len(keep) > 1 else mask
        tapes, unit, codes, inputs = [], PIXEL / self.kept, None, None
        for layer in range(4):
            if layer:
                codes, step, peak = self.quantised(layer)
                product = self._space(f"product {layer}", *codes.shape[:2], inputs.shape[-1])
                with self._products():
                    bmm(codes, inputs, product)
            act_step = self._act_step(layer) if layer < 3 else 1.0
            tape, v = self._norm(layer, product, step, unit, act_step)
            tape.inputs, tape.codes, tape.peak, tape.act_step = inputs, codes, peak, act_step
            tapes.append(tape)
            if layer < 3:
                inputs, tape.passes = self._activate(layer, v, mask[:, layer])
                unit = act_step / self.kept
        return v, tapes

    def backward(self, gradient: Tensor, tapes: list[Tape]) -> list[Tensor]:
        """Gradients of `parameters()[1:]` from that of the logits, (M, C, B).

        That of the first layer's weights is left to `_first_layer`, which makes it piece by piece.
        """
        batch = gradient.shape[-1]
        weights, gammas, betas, sigmas = ([None] * 4 for _ in range(4))
        leaked = 0.0  # what a change of the layer's input scale does: only through EPS
        for layer in (3, 2, 1, 0):
            tape, grid = tapes[layer], self.grids[layer]
            if layer < 3:
                gradient = gradient.mul_(tape.passes)
            total = gradient.sum(-1, keepdim=True)
            moment = self._rowwise(gradient, tape.centred)
            along = tape.spread * moment
            betas[layer], gammas[layer] = total / tape.act_step, along / tape.act_step
            if layer < 3:
                inward = tape.gain * moment + self.beta[layer] * betas[layer]
                change = leaked - inward.sum(1, keepdim=True)
                sigmas[layer] = change / self.sigma[layer] * self.acts[layer].learns
            leak = tape.gain * moment * tape.leak  # Σ gradient of R · R
            leaked = leak.sum(1, keepdim=True)
            slope = tape.gain * tape.spread * along / -batch
            constant = tape.gain * total / -batch
            gradient = gradient.mul_(tape.gain).add_(constant).add_(tape.centred.mul_(slope))
            if layer == 0:
                self._last = gradient.mul_(grid.slope / tape.step), leak / tape.step, tape
                continue
            weight = self._space(f"weight {layer}", *self.weights[layer].shape)
            bmm(gradient, tape.inputs.transpose(1, 2), weight)
            weight.mul_(grid.slope / tape.step)
            self._scale_gradient(weight, self.weights[layer], leak / tape.step, tape, grid)
            weights[layer] = weight
            below = self._space(f"gradient {layer}", *tape.inputs.shape)
            gradient = bmm(tape.codes.transpose(1, 2), gradient, below)
        return [*weights[1:], *gammas, *betas, *sigmas[:3]]

    def first_gradient(self) -> Tensor:
        """Gradient of the first layer's weights after `backward`, (M, O, I): for comparisons."""
        gradient = torch.empty_like(self.weights[0])
        for run in self.runs:
            self._first_gradient(run, out=gradient[run.members])
        return gradient

    # Evaluation

    def predict(self, images: Tensor, together: int = 500) -> Iterator[Tensor]:
        """Classes of `together` images at a time, (M, n), in evaluation mode.

        `images` are codes (N, I).
        """
        assert self._last is None, "finish() the step before evaluating"
        layers = [(*self.inference(layer), self.quantised(layer)[0].clone()) for layer in range(4)]
        for part in images.split(together):
            inputs = part.to(self.dtype).t().contiguous()
            for layer, (gain, offset, codes) in enumerate(layers):
                width = codes.shape[1], inputs.shape[-1]
                product = self._space(f"seen {layer % 2}", len(codes), *width)
                with self._products():
                    (bmm if layer else mm)(codes, inputs, product)
                inputs = product.mul_(gain).add_(offset)
                if layer < 3:
                    act = self.acts[layer]
                    torch.maximum(inputs, act.low, out=inputs)
                    torch.minimum(inputs, act.high, out=inputs)
                    if not self.float_acts:
                        inputs.round_().add_(act.zero)
            yield inputs.argmax(1)

    def inference(self, layer: int) -> tuple[Tensor, Tensor]:
        """(gain, offset), each (M, O, 1), that turn products of codes into v at inference."""
        unit = PIXEL if layer == 0 else self._act_step(layer - 1)
        _, step, _ = self.quantised(layer)
        act_step = self._act_step(layer) if layer < 3 else 1.0
        zero = self.acts[layer].zero if layer < 3 else 0.0
        gain = self.gamma[layer] / torch.sqrt(self.running_var[layer] + EPS) / act_step
        offset = self.beta[layer] / act_step - gain * self.running_mean[layer] - zero
        return gain * (step * unit), offset

    # Quantisers

    def quantised(self, layer: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Codes (M, O, I) of a layer's weights, their step and the index of the largest weight.

        From 2 bits on 2^n − 1 codes, symmetric, step = largest magnitude of the output channel (of
        the whole tensor in the last layer) / (2^(n−1) − 1): Brevitas' Int8WeightPerChannelFloat and
        Int8WeightPerTensorFloat. One bit: ±½ with the step 0.2, SignedBinaryWeightPerTensorConst.
        """
        weights = self.weights[layer]
        codes = self._space(f"codes {layer}", *weights.shape) if layer else None
        return self._quantise(weights, self.grids[layer], per_tensor=layer == 3, out=codes)

    def _quantise(
        self, weights: Tensor, grid: Grid, *, per_tensor: bool = False, out: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.float_weights:
            return weights, torch.ones_like(grid.zero), None
        magnitudes = self._space("scratch", *weights.shape)
        rows = [
            part.flatten(1).unsqueeze(1) if per_tensor else part for part in (weights, magnitudes)
        ]
        largest, index = peak(*rows)
        step = largest.clamp_min_(SMALLEST).unsqueeze(-1) * grid.per_level + grid.fixed
        codes = torch.mul(weights, step.reciprocal(), out=out)
        if not grid.any_binary:  # zero is 0 for all
            return codes.round_(), step, index
        return codes.sub_(grid.zero).round_().add_(grid.zero), step, index

    def _act_step(self, layer: int) -> Tensor:
        """(M, 1, 1) value of one code of the activations after `layer`: |σ| / 2^(n−1)."""
        return self.sigma[layer].abs() / self.acts[layer].levels

    def _activate(self, layer: int, v: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Codes after rounding and dropout, and 1 where a gradient passes both; spoils nothing.

        2^n codes, the range [−σ, σ − σ/2^(n−1)] learnt: Int8ActPerTensorFloatMinMaxInit of
        Brevitas. One bit: ±1, SignedBinaryActPerTensorConst. Float: HardTanh.
        """
        act = self.acts[layer]
        inside = torch.maximum(v, act.low, out=self._space(f"inputs {layer}", *v.shape))
        torch.minimum(inside, act.high, out=inside)
        passes = torch.eq(inside, v, out=self._space(f"passes {layer}", *v.shape)).mul_(keep)
        if not self.float_acts:
            inside.round_().add_(act.zero)
        return inside.mul_(keep), passes

    def _norm(
        self, layer: int, product: Tensor, step: Tensor, unit: Tensor, act_step: Tensor | float
    ) -> tuple[Tape, Tensor]:
        """Batch norm of the product's value, in units of the next codes: (M, O, B)."""
        batch = product.shape[-1]
        scale = step * unit
        mean = product.mean(-1, keepdim=True)
        centred = product.sub_(mean)
        variance = self._rowwise(centred, centred).div_(batch).mul_(scale * scale)
        rstd = torch.rsqrt(variance + EPS)
        self.running_mean[layer].lerp_(mean * scale, MOMENTUM)
        self.running_var[layer].lerp_(variance * (batch / (batch - 1)), MOMENTUM)
        spread = scale * rstd
        gain = self.gamma[layer] * spread / act_step
        zero = self.acts[layer].zero if layer < 3 else 0.0
        v = torch.mul(centred, gain, out=self._space("v", *centred.shape))
        v.add_(self.beta[layer] / act_step - zero)
        return Tape(None, centred, step, None, spread, EPS * rstd * rstd, gain), v

    # Updates

    def _first_layer(
        self, images: list[Tensor] | None, share: float
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Finish the last step's update, then multiply the next batch, a few members at a time.

        A run of members is updated, quantised and multiplied while it lies in the cache: gradients
        and codes of this layer, by far the largest, never exist as a whole. Returns the product
        (M, O, B), the weights' steps and the indices of the largest weights.
        """
        weights = self.weights[0]
        if images is not None:
            product = self._space("product 0", *weights.shape[:2], len(images[0]))
        steps, peaks = [], []
        for run in self.runs:
            who = run.members
            work = self._space("work", *run.weights.shape)
            if self._last is not None:
                self._first_gradient(run, out=work)
                run.adam([work], run.learning_rate * share)
                run.weights[: run.one_bit].clamp_(-BINARY, BINARY)
            if images is not None:
                codes, step, index = self._quantise(run.weights, run.grid, out=work)
                with self._products():
                    mm(codes, images[run.stream].t(), product[who])
                steps.append(step)
                peaks.append(index)
        self._last = None
        if images is None:
            return None
        self._images = images
        return product, torch.cat(steps), None if self.float_weights else torch.cat(peaks)

    def _first_gradient(self, run: Run, out: Tensor) -> None:
        gradient, leak, tape = self._last
        who = run.members
        mm(gradient[who], self._images[run.stream], out)
        if not self.float_weights:
            part = Tape(None, None, tape.step[who], tape.peak[who], None, None, None)
            self._scale_gradient(out, run.weights, leak[who], part, run.grid)

    def _scale_gradient(
        self, gradient: Tensor, weights: Tensor, through_codes: Tensor, tape: Tape, grid: Grid
    ) -> None:
        """Add to the largest weight what it does as the scale of all: Σ g (code − w/step) / levels.

        `gradient` is that of the quantised weights, (M, O, I); `through_codes` Σ g · code,
        (M, O, 1).
        """
        if self.float_weights:
            return
        change = through_codes - self._rowwise(gradient, weights) / tape.step
        if tape.step.shape[1] == 1:  # one scale for the tensor
            change = change.sum(1, keepdim=True)
            gradient, weights = gradient.flatten(1).unsqueeze(1), weights.flatten(1).unsqueeze(1)
        index = tape.peak.unsqueeze(-1)
        change = change * (grid.per_level * weights.gather(-1, index).sign())
        gradient.scatter_add_(-1, index, change)

    def _rowwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Σ ab over the last dimension, kept."""
        return torch.mul(a, b, out=self._space("scratch", *a.shape)).sum(-1, keepdim=True)

    def _products(self) -> AbstractContextManager[None]:
        whole = not (self.float_weights or self.float_acts)
        return exact_products(self.device) if whole else nullcontext()
