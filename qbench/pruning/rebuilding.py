"""Networks with fewer filters, or more: rebuilt dense, or masked, which computes the same.

A filter is an output channel of a convolution, or a neuron of a connected layer but the last. It
goes with its batch norm and with what the next layer made of its feature map; behind a flattening
those are as many inputs as the map had pixels. Networks are `nn.Sequential`, their layers plain or
`quantizers.networks.Quantised`.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qbench.errors import nearest
from qbench.numbers import whole
from qbench.quantizers.networks import Layer, Quantised

from .errors import PruningError

Norm = nn.BatchNorm1d | nn.BatchNorm2d
# Modules that hand each feature map on by itself, and 0 as 0.
_PASSING = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Identity, nn.Dropout, nn.Flatten)


@dataclass(frozen=True)
class Link:
    """A layer of a network: where it is, and how many inputs of it one filter before it feeds."""

    name: str
    layer: nn.Conv2d | nn.Linear
    spread: int
    norms: tuple[str, ...]  # batch norms between it and the next layer

    @property
    def filters(self) -> int:
        return self.layer.weight.shape[0]


def links(model: nn.Module) -> list[Link]:
    """The layers of a sequential network, first to last.

    Raises `PruningError` for what is not sequential, such as a residual network, whose additions
    tie the filters of several layers together, and for grouped convolutions and unknown modules.
    """
    found: list[Link] = []
    parts = list(model.named_children()) if isinstance(model, nn.Sequential) else []
    if not parts:
        raise PruningError(
            f"filters can be pruned in an nn.Sequential of layers, not in a {type(model).__name__}."
        )
    for name, part in parts:
        layer = part.layer if isinstance(part, Quantised) else part
        if isinstance(layer, Layer):
            if isinstance(layer, nn.Conv2d) and layer.groups != 1:
                raise PruningError(f"{name} has groups of filters, and can only be pruned without.")
            inputs = layer.weight.shape[1]
            before = found[-1].filters if found else inputs
            if inputs % before:
                raise PruningError(
                    f"{name} has {inputs} inputs, which is no multiple of the {before} filters of "
                    f"{found[-1].name} before it."
                )
            found.append(Link(name, layer, inputs // before, ()))
        elif isinstance(part, Norm):
            if not found:
                raise PruningError(f"{name} normalises the image, before there is any filter.")
            last = found[-1]
            found[-1] = Link(last.name, last.layer, last.spread, (*last.norms, name))
        elif not isinstance(part, _PASSING):
            raise PruningError(
                "filters can be pruned where layers follow one another through batch norm, ReLU "
                f"and pooling, and {name} is a {type(part).__name__}: where feature maps of "
                "several layers are added, as in residual networks, no filter can go alone."
            )
    if not found:
        raise PruningError("the network has no convolution and no connected layer to prune.")
    return found


def filters(model: nn.Module) -> dict[str, int]:
    """Filters of each convolution but the last layer: what pruning may take, by name."""
    return {one.name: one.filters for one in links(model)[:-1] if isinstance(one.layer, nn.Conv2d)}


def weights(model: nn.Module, name: str) -> tuple[Tensor, Tensor]:
    """The real weights of a layer, and those that it computes with."""
    part = model.get_submodule(name)
    if not isinstance(part, Quantised):
        return part.weight.detach(), part.weight.detach()
    with torch.no_grad():
        return part.layer.weight.detach(), part.weights(part.layer.weight)


def rebuilt(
    model: nn.Module, keep: Mapping[str, Tensor], add: Mapping[str, int] | None = None
) -> nn.Sequential:
    """A network of its own, of the filters `keep` alone, and with `add` new ones behind them.

    keep: places of the filters that stay, by layer, in the order in which they are to stand; a
    layer that is not named keeps all. Weights, batch norm and the quantisers come with them; what
    is new has PyTorch's initial weights, drawn from its global generator. A quantiser whose scale
    is computed from a layer's weights computes it from those left.
    Raises `PruningError` for a layer without filters left, for places that are not there or occur
    twice, for the last layer, and as `links`.
    """
    chain = links(model)
    keep, add = _checked(chain, keep), dict(add or {})
    _known(chain, add)
    for name, count in add.items():
        if not whole(count) or count < 0:
            raise PruningError(
                f"filters to add to {name} must be a whole number of at least 0, not {count!r}."
            )
    made: OrderedDict[str, nn.Module] = OrderedDict(
        (name, copy.deepcopy(part)) for name, part in model.named_children()
    )
    columns, new_inputs = None, 0  # of the layer at hand: old inputs that stay, and new ones
    for place, one in enumerate(chain):
        rows = keep.get(one.name, torch.arange(one.filters))
        extra = add.get(one.name, 0)
        if columns is None:
            columns = torch.arange(one.layer.weight.shape[1])
        layer = _layer(one.layer, rows, columns, extra, new_inputs)
        part = made[one.name]
        is_rounded = isinstance(part, Quantised)
        made[one.name] = Quantised(layer, part.acts, part.weights) if is_rounded else layer
        for name in one.norms:
            made[name] = _norm(made[name], rows, extra)
        if place + 1 < len(chain):
            spread = chain[place + 1].spread
            columns = (rows[:, None] * spread + torch.arange(spread)).flatten()
            new_inputs = extra * spread
    result = nn.Sequential(made)
    return result.train(model.training)


def masked(model: nn.Module, keep: Mapping[str, Tensor]) -> nn.Sequential:
    """The network with the feature maps of all filters but `keep` set to 0, at its full size.

    What `rebuilt` must compute as well. A filter that is masked is no weight of the network any
    more: quantisers see those left, and the others are 0. Raises `PruningError` as `rebuilt`.
    """
    chain = links(model)
    keep = _checked(chain, keep)
    starts = {one.name: place for place, one in enumerate(chain)}
    made: OrderedDict[str, nn.Module] = OrderedDict()
    columns: Tensor | None = None
    for name, part in model.named_children():
        part = copy.deepcopy(part)
        if isinstance(part, nn.Flatten):  # a mask is as long as there are maps
            _mask(made, chain, keep)
        if name in starts:
            _mask(made, chain, keep)
            one = chain[starts[name]]
            rows = keep.get(name, torch.arange(one.filters))
            if isinstance(part, Quantised):
                inputs = torch.arange(one.layer.weight.shape[1]) if columns is None else columns
                part.weights = _Surviving(part.weights, rows, inputs)
            if starts[name] + 1 < len(chain):
                spread = chain[starts[name] + 1].spread
                columns = (rows[:, None] * spread + torch.arange(spread)).flatten()
        made[name] = part
    return nn.Sequential(made).train(model.training)


class _Mask(nn.Module):
    """Feature maps that do not stay become 0."""

    def __init__(self, keep: Tensor, filters: int, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", torch.zeros(filters, dtype=like.dtype))
        self.keep[keep] = 1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.keep.view(1, -1, *[1] * (x.ndim - 2))


class _Surviving(nn.Module):
    """A quantiser that sees the weights of the filters and inputs which stay; the others are 0."""

    def __init__(self, quantiser: nn.Module, rows: Tensor, columns: Tensor) -> None:
        super().__init__()
        self.quantiser, self.rows, self.columns = quantiser, rows, columns

    def forward(self, weight: Tensor) -> Tensor:
        at = self.rows[:, None], self.columns
        return torch.zeros_like(weight).index_put(at, self.quantiser(weight[at]))


def _mask(made: OrderedDict[str, nn.Module], chain: list[Link], keep: Mapping[str, Tensor]) -> None:
    """Behind what there is so far, mask the maps of the last layer in it, if it has lost any."""
    done = [one for one in chain if one.name in made]
    if done and done[-1].name in keep and f"{done[-1].name}_mask" not in made:
        one = done[-1]
        made[f"{one.name}_mask"] = _Mask(keep[one.name], one.filters, one.layer.weight)


def _checked(chain: list[Link], keep: Mapping[str, Tensor]) -> dict[str, Tensor]:
    _known(chain, keep)
    own = {one.name: one.filters for one in chain}
    found = {}
    for name, places in keep.items():
        places = torch.as_tensor(places, dtype=torch.int64)
        if not len(places):
            raise PruningError(
                f"a mask must leave {name} at least 1 of its {own[name]} filters: without any "
                "nothing would reach the layers behind it."
            )
        once = len(places.unique()) == len(places)
        if not once or int(places.min()) < 0 or int(places.max()) >= own[name]:
            raise PruningError(
                f"filters of {name} to keep must be different places from 0 to {own[name] - 1}, "
                f"not {places.tolist()[:10]}."
            )
        found[name] = places
    return found


def _known(chain: list[Link], named: Mapping[str, object]) -> None:
    own = [one.name for one in chain[:-1]]
    for name in named:
        if name == chain[-1].name:
            raise PruningError(f"{name} is the last layer: its outputs are the classes, and stay.")
        if name not in own:
            raise PruningError(
                f"there is no layer {name!r}{nearest(own, name)} to prune; there are "
                f"{', '.join(own)}."
            )


@torch.no_grad()
def _layer(old: Layer, rows: Tensor, columns: Tensor, extra: int, new_inputs: int) -> Layer:
    sizes = len(columns) + new_inputs, len(rows) + extra
    like = {"bias": old.bias is not None, "dtype": old.weight.dtype, "device": old.weight.device}
    if isinstance(old, nn.Linear):
        new: Layer = nn.Linear(*sizes, **like)
    else:
        like |= {name: getattr(old, name) for name in ("stride", "padding", "dilation")}
        new = nn.Conv2d(*sizes, old.kernel_size, padding_mode=old.padding_mode, **like)
    new.weight[: len(rows), : len(columns)] = old.weight[rows][:, columns]
    if old.bias is not None:
        new.bias[: len(rows)] = old.bias[rows]
    return new


@torch.no_grad()
def _norm(old: Norm, rows: Tensor, extra: int) -> Norm:
    new = type(old)(len(rows) + extra, old.eps, old.momentum, old.affine, old.track_running_stats)
    new = new.to(next(iter(old.state_dict().values())))
    for name, value in old.state_dict().items():
        mine = (
            new.get_buffer(name) if name in dict(new.named_buffers()) else new.get_parameter(name)
        )
        if value.ndim:
            mine[: len(rows)] = value[rows]
        else:
            mine.copy_(value)  # how many batches have been seen
    return new
