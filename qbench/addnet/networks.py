"""A network whose weights and activations are rounded as one of the compared methods has it."""

from dataclasses import dataclass

from torch import nn

from qbench.quantizers.codebook import GRADIENTS, Codebook, Gradient, index_bits, uniform
from qbench.quantizers.errors import QuantiserError
from qbench.quantizers.networks import Layer, acts_of, quantised
from qbench.quantizers.scaled import Bwn, Twn

from .codebooks import Coefficients, read
from .errors import AddnetError

METHODS = ("float32", "addnet", "uniform", "ternary", "binary")
OWN = {"addnet": "codebook", "uniform": "weight_bits"}  # the parameter that a method alone has


@dataclass(frozen=True)
class Rounding:
    """How weights and activations are rounded; raises `AddnetError` for what cannot be.

    method: one of `METHODS`. All but "float32" have one scale a layer: "addnet" with the
    coefficients `codebook` and "uniform" with all integers of `weight_bits` bits (2 to 8) but the
    most negative one learn it; "ternary" (`Twn`) and "binary" (`Bwn`) compute it. The thesis does
    not say which ternary and binary weights it compares with. codebook: of "addnet",
    as `codebooks.read` takes it, else None; weight_bits: of "uniform", else None. outer: the
    codebook of the first and the last layer, as `codebook`, or None, which leaves their weights in
    float32; the thesis trained all results with the 4-Add there (section 6.7.5). act_bits: 1 to 16,
    or 32 for none; fraction_bits: f of eq. 6.5, see `FixedPoint`, None with 32. gradient: see
    `Codebook`.
    """

    method: str
    codebook: str | None = None
    weight_bits: int | None = None
    outer: str | None = None
    act_bits: int = 32
    fraction_bits: int | None = None
    gradient: Gradient = "clipped"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise AddnetError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}.")
        for method, name in OWN.items():
            value = getattr(self, name)
            if self.method != method and value is not None:
                raise AddnetError(
                    f"{name} is for {method}: for {self.method} it must be None, not {value!r}."
                )
        if self.method == "float32" and self.outer is not None:
            raise AddnetError(
                f"outer must be None for float32, which rounds no weights, not {self.outer!r}."
            )
        if self.method == "addnet" and self.codebook is None:
            raise AddnetError("codebook must be the coefficients of addnet, not None.")
        if self.gradient not in GRADIENTS:
            raise AddnetError(
                f"gradient must be one of {', '.join(GRADIENTS)}, not {self.gradient!r}."
            )
        if self.outer is not None:
            read(self.outer)
        try:
            self.inner()
            self.acts()
        except QuantiserError as error:
            said = str(error)
            raise AddnetError(f"weight_{said}" if said.startswith("bits ") else said) from None

    def inner(self) -> Coefficients | None:
        """The codebook of all layers but the first and the last; None where there is none."""
        if self.method == "addnet":
            return read(self.codebook)
        return uniform(self.weight_bits) if self.method == "uniform" else None

    @property
    def stored_bits(self) -> int:
        """Bits that a weight takes in memory, as Table 6.9 counts them: 32 of float32."""
        fixed = {"float32": 32, "ternary": 2, "binary": 1}
        return fixed.get(self.method) or index_bits(self.inner())

    def acts(self) -> nn.Module:
        """The quantiser of a layer's input."""
        return acts_of(self.act_bits, self.fraction_bits)

    def weights(self, layer: Layer) -> nn.Module:
        """The quantiser of an inner layer's weights as they are now."""
        if self.method == "float32":
            return nn.Identity()
        if (coefficients := self.inner()) is not None:
            return Codebook(layer.weight, coefficients, gradient=self.gradient)
        return Twn() if self.method == "ternary" else Bwn("layer")

    def put_into(self, model: nn.Module) -> nn.Module:
        """`model`, changed in place: see `quantizers.networks.quantised`.

        The image that enters the first layer stays as it is. float32 with float32 activations
        changes nothing.
        """
        if self.method == "float32" and self.act_bits == 32:
            return model
        outer = None
        if self.outer is not None:
            ends = read(self.outer)

            def outer(layer: Layer) -> nn.Module:
                return Codebook(layer.weight, ends, gradient=self.gradient)

        return quantised(model, self.weights, self.acts, outer)
