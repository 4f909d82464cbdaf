"""Many quantised perceptrons as one: forward, backward and update of a whole group of members.

The architecture is `models.tfc.quant_tfc`. Every tensor has the members first, then the features,
then the images of the batch: (M, O, B). The matrix products work on codes, the whole numbers (or
halves, at one bit) that the hardware would multiply; scale factors are applied to their results.
So the forward products are exact in float32, and in any format that holds 8 bits.

One expression serves all bit widths: code = round(x / s − z) + z, with z = 0 from 2 bits on and
z = ½ at one bit, where it gives ±½.

Symbols, for each layer: Q weight codes, s their step, A input codes, R = QA the products centred on
their mean over the batch, c = s · (value of one input code), v = gain · R + offset what is rounded.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from .kernels import Adam, below, bmm, exact_products, mm, peak
from .members import Member

EPS = 1e-5  # of batch norm
MOMENTUM = 0.1  # of its running averages
BINARY = 0.1  # magnitude of a 1-bit weight, and the limit of what stands behind it
PIXEL = 1 / 255  # value of one input code: images arrive with 8 bits
SMALLEST = 1e-10  # of a weight's largest magnitude, as in Brevitas
CHUNK = 16  # members whose first layer stays in a processor's cache while it is worked on


@dataclass(frozen=True, eq=False)
class Run:
    """Consecutive members that see the same batches and have the same learning rate."""

    members: slice
    stream: int
    learning_rate: float
    one_bit: int  # so many of them, the first, have 1-bit weights
    weights: Tensor  # of the first layer
    adam: Adam
    grid: "Grid"


@dataclass(frozen=True, eq=False)
class Grid:
    """Of some members' weights, each (M, 1, 1): code = round(w / step − zero) + zero.

    step = largest magnitude / levels where `learns` is 1, else `fixed`.
    """

    zero: Tensor
    per_level: Tensor  # 1 / levels
    learns: Tensor
    fixed: Tensor
    any_binary: bool

    def __getitem__(self, who: slice) -> "Grid":
        parts = (self.zero[who], self.per_level[who], self.learns[who], self.fixed[who])
        return Grid(*parts, bool((self.learns[who] == 0).any()))


@dataclass
class Tape:
    """What the backward pass of one layer needs of the forward pass."""

    inputs: Tensor | None  # (M, I, B) codes; the first layer's are the batch itself
    centred: Tensor  # (M, O, B) R
    step: Tensor  # (M, O, 1) or (M, 1, 1) s
    peak: Tensor  # (M, O) or (M, 1) index of the weight with the largest magnitude
    spread: Tensor  # (M, O, 1) c / standard deviation of cR
    leak: Tensor  # (M, O, 1) share of the variance that is EPS
    gain: Tensor  # (M, O, 1) of R in v
    codes: Tensor | None = None  # (M, O, I) Q; the first layer needs no gradient below it
    act_step: Tensor | float = 1.0  # (M, 1, 1) value of one output code
    passes: Tensor | None = None  # (M, O, B) 1 where a gradient passes rounding and dropout


class Network:
    """A group of members, sorted as `order(members)` sorts them, with Adam's moments.

    All members of a group must agree in whether their weights, and whether their activations, are
    float32. `dtype` is float32; float64 is for comparisons.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        inputs: int,
        classes: int,
        hidden: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.members = list(members)
        self.dtype, self.device = dtype, torch.device(device)
        self.sizes = [(inputs, hidden), (hidden, hidden), (hidden, hidden), (hidden, classes)]
        self.float_weights = members[0].weight_bits == 32
        self.float_acts = members[0].act_bits == 32

        weight_bits = self._each(m.weight_bits for m in members)
        act_bits = self._each(m.act_bits for m in members)
        one = (weight_bits == 1).to(dtype)
        self.grid = Grid(
            zero=0.5 * one,
            per_level=(1 - one) / (2.0 ** (weight_bits - 1) - 1).clamp_min(1),
            learns=1 - one,
            fixed=2 * BINARY * one,
            any_binary=bool(one.any()),
        )
        self.limit = torch.where(one > 0, BINARY, math.inf)
        # Brevitas passes a gradient through sign(w) · 0.1 times 0.1, and through rounding times 1.
        self.slope = torch.where(one > 0, BINARY, 1.0)
        one = act_bits == 1
        self.act_zero = 0.5 * one.to(dtype)
        self.act_levels = torch.where(one, 0.5, 2.0 ** (act_bits - 1))
        self.act_learns = (act_bits > 1).to(dtype)
        # A gradient passes where v lies between these; rounding up from just below the upper one
        # stays at the highest code.
        self.act_low = torch.where(one, -1.0, -self.act_levels - 0.5)
        self.act_high = torch.where(one, 0.0, below(self.act_levels - 0.5))
        if self.float_acts:
            self.act_levels = torch.ones_like(act_bits)
            self.act_learns = torch.zeros_like(act_bits)
            self.act_low, self.act_high = -self.act_levels, self.act_levels
        self.kept = self._each(1 - m.dropout for m in members)

        self.streams = list(dict.fromkeys((m.seed, m.dropout) for m in members))
        numbers = [self.streams.index((m.seed, m.dropout)) for m in members]
        self.stream = torch.tensor(numbers, device=self.device)
        self.weights = self._initial_weights()
        wide = [outputs for _, outputs in self.sizes]
        self.vectors, (self.gamma, self.beta, self.sigma) = self._vectors(wide)
        self.running_mean = [self._full(0.0, outputs) for outputs in wide]
        self.running_var = [self._full(1.0, outputs) for outputs in wide]
        self.first = [torch.zeros_like(tensor) for tensor in self._trained()]  # Adam's m
        self.second = [torch.zeros_like(tensor) for tensor in self._trained()]  # Adam's v
        same = [(m.seed, m.dropout, m.learning_rate) for m in members]
        longest = CHUNK if self.device.type == "cpu" else len(members)
        self.runs = [self._run(who, numbers) for who in _alike(same, longest)]
        rest = self._trained()[1:], self.first[1:], self.second[1:]
        self.rest = []  # the same for all other parameters
        for who in _alike([m.learning_rate for m in members], len(members)):
            views = ([tensor[who] for tensor in tensors] for tensors in rest)
            self.rest.append((who, members[who.start].learning_rate, Adam(*views)))
        self._last: tuple[Tensor, Tensor, Tape] | None = None
        self._spaces: dict[str, Tensor] = {}

    def parameters(self) -> list[Tensor]:
        """What is trained, the first layer's weights in front."""
        return [*self.weights, *self.gamma, *self.beta, *self.sigma]

    def state(self) -> dict[str, list[Tensor] | int]:
        """All that training changes; `load` takes it back."""
        assert self._last is None, "finish() the step before asking for the state"
        return self._tensors() | {"steps": self._steps()[0].item()}

    def load(self, state: dict[str, list[Tensor] | int]) -> None:
        """Go on from `state`."""
        for name, tensors in self._tensors().items():
            for tensor, value in zip(tensors, state[name], strict=True):
                tensor.copy_(value)
        for tensor in self._steps():
            tensor.fill_(state["steps"])

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
        for weights in self.weights[1:]:
            torch.minimum(torch.maximum(weights, -self.limit, out=weights), self.limit, out=weights)
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
            tape = tapes[layer]
            if layer < 3:
                gradient = gradient.mul_(tape.passes)
            total = gradient.sum(-1, keepdim=True)
            moment = self._rowwise(gradient, tape.centred)
            along = tape.spread * moment
            betas[layer], gammas[layer] = total / tape.act_step, along / tape.act_step
            if layer < 3:
                inward = tape.gain * moment + self.beta[layer] * betas[layer]
                change = leaked - inward.sum(1, keepdim=True)
                sigmas[layer] = change / self.sigma[layer] * self.act_learns
            leak = tape.gain * moment * tape.leak  # Σ gradient of R · R
            leaked = leak.sum(1, keepdim=True)
            slope = tape.gain * tape.spread * along / -batch
            constant = tape.gain * total / -batch
            gradient = gradient.mul_(tape.gain).add_(constant).add_(tape.centred.mul_(slope))
            if layer == 0:
                self._last = gradient.mul_(self.slope / tape.step), leak / tape.step, tape
                continue
            weight = self._space(f"weight {layer}", *self.weights[layer].shape)
            bmm(gradient, tape.inputs.transpose(1, 2), weight)
            weight.mul_(self.slope / tape.step)
            self._scale_gradient(weight, self.weights[layer], leak / tape.step, tape, self.grid)
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
                    torch.maximum(inputs, self.act_low, out=inputs)
                    torch.minimum(inputs, self.act_high, out=inputs)
                    if not self.float_acts:
                        inputs.round_().add_(self.act_zero)
            yield inputs.argmax(1)

    def inference(self, layer: int) -> tuple[Tensor, Tensor]:
        """(gain, offset), each (M, O, 1), that turn products of codes into v at inference."""
        unit = PIXEL if layer == 0 else self._act_step(layer - 1)
        _, step, _ = self.quantised(layer)
        act_step = self._act_step(layer) if layer < 3 else 1.0
        zero = self.act_zero if layer < 3 else 0.0
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
        return self._quantise(weights, self.grid, per_tensor=layer == 3, out=codes)

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
        return self.sigma[layer].abs() / self.act_levels

    def _activate(self, layer: int, v: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Codes after rounding and dropout, and 1 where a gradient passes both; spoils nothing.

        2^n codes, the range [−σ, σ − σ/2^(n−1)] learnt: Int8ActPerTensorFloatMinMaxInit of
        Brevitas. One bit: ±1, SignedBinaryActPerTensorConst. Float: HardTanh.
        """
        inside = torch.maximum(v, self.act_low, out=self._space(f"inputs {layer}", *v.shape))
        torch.minimum(inside, self.act_high, out=inside)
        passes = torch.eq(inside, v, out=self._space(f"passes {layer}", *v.shape)).mul_(keep)
        if not self.float_acts:
            inside.round_().add_(self.act_zero)
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
        zero = self.act_zero if layer < 3 else 0.0
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

    def _space(self, name: str, *shape: int) -> Tensor:
        """Memory to write into, the same at every step: fresh pages cost more than arithmetic."""
        size = math.prod(shape)
        held = self._spaces.get(name)
        if held is None or held.numel() < size:
            held = self._spaces[name] = torch.empty(size, dtype=self.dtype, device=self.device)
        return held[:size].view(shape)

    def _products(self) -> AbstractContextManager[None]:
        whole = not (self.float_weights or self.float_acts)
        return exact_products(self.device) if whole else nullcontext()

    # Set-up

    def _run(self, who: slice, streams: list[int]) -> Run:
        members = self.members[who]
        views = ([tensors[0][who]] for tensors in (self.weights, self.first, self.second))
        return Run(
            members=who,
            stream=streams[who.start],
            learning_rate=members[0].learning_rate,
            one_bit=sum(member.weight_bits == 1 for member in members),
            weights=self.weights[0][who],
            adam=Adam(*views),
            grid=self.grid[who],
        )

    def _steps(self) -> list[Tensor]:
        optimisers = [run.adam for run in self.runs] + [optimiser for _, _, optimiser in self.rest]
        return [tensor for optimiser in optimisers for tensor in optimiser.steps]

    def _each(self, values: Iterator[float]) -> Tensor:
        """(M, 1, 1)"""
        return torch.tensor(list(values), dtype=self.dtype, device=self.device)[:, None, None]

    def _vectors(self, wide: list[int]) -> tuple[Tensor, tuple[list[Tensor], ...]]:
        """All gains and offsets of batch norm and all σ: one tensor, and views of it.

        A member's row is filled up to a multiple of 16, so that a vectorised update treats every
        element the same, whatever the number of members: results do not depend on the group.
        """
        lengths = [*wide, *wide, *[1] * (len(wide) - 1)]
        row = torch.zeros(-(-sum(lengths) // 16) * 16)
        row[: sum(wide)] = 1.0
        row[2 * sum(wide) : sum(lengths)] = 1.0
        packed = row.to(self.device, self.dtype).repeat(len(self.members), 1)
        views = [part.unsqueeze(-1) for part in packed[:, : sum(lengths)].split(lengths, dim=1)]
        return packed, (views[:4], views[4:8], views[8:])

    def _pack(self, gradients: list[Tensor]) -> Tensor:
        flat = torch.cat(gradients, dim=1).squeeze(-1)
        return torch.nn.functional.pad(flat, (0, self.vectors.shape[1] - flat.shape[1]))

    def _trained(self) -> list[Tensor]:
        """What Adam updates."""
        return [*self.weights, self.vectors]

    def _tensors(self) -> dict[str, list[Tensor]]:
        names = ("running_mean", "running_var", "first", "second")
        return {"trained": self._trained()} | {name: getattr(self, name) for name in names}

    def _full(self, value: float, outputs: int) -> Tensor:
        shape = (len(self.members), outputs, 1)
        return torch.full(shape, value, dtype=self.dtype, device=self.device)

    def _initial_weights(self) -> list[Tensor]:
        """Uniform in ±1/√inputs, as `nn.Linear`; a member's depend on its seed alone."""
        made: dict[int, list[Tensor]] = {}
        for seed in {member.seed for member in self.members}:
            generator = torch.Generator().manual_seed(seed)
            made[seed] = [
                torch.empty(outputs, inputs, dtype=self.dtype).uniform_(
                    -(inputs**-0.5), inputs**-0.5, generator=generator
                )
                for inputs, outputs in self.sizes
            ]
        layers = [
            torch.stack([made[member.seed][layer] for member in self.members]).to(self.device)
            for layer in range(4)
        ]
        for weights in layers:
            weights.clamp_(-self.limit, self.limit)
        return layers


def order(members: Sequence[Member]) -> list[Member]:
    """The members as a `Network` needs them: those with the same batches side by side."""
    return sorted(
        members, key=lambda m: (m.seed, m.dropout, m.learning_rate, m.weight_bits, m.act_bits)
    )


def _alike(keys: Sequence, longest: int) -> Iterator[slice]:
    """Runs of equal keys, none longer than `longest`."""
    start = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[start] or end - start == longest:
            yield slice(start, end)
            start = end
