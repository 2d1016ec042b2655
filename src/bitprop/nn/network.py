"""``SCNetwork``: a chain of stochastic-computing layers that is trained as one and lowered as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import ConfigError, RangeError, ShapeError
from bitprop.formats import DEFAULT_PRECISION_BITS
from bitprop.nn.design import DesignChoice
from bitprop.nn.linear import MODES, Mode, SCLinear
from bitprop.seeds import derive_seed

__all__ = ["SCNetwork", "decide"]


class SCNetwork(nn.Module):
    """Dense stochastic-computing layers, clamp activations between them, logits at the end.

    Args:
        features: widths, input first: ``(64, 32, 10)`` has two layers.
        signed_input: inputs lie in [-1, 1] instead of [0, 1].
        activation: between layers, ``clamp01`` or ``hardtanh``.
        lengths: candidate stream lengths, for all layers or a sequence of one tuple per layer.
        encodings: candidate encodings, for all layers or a sequence of one tuple per layer.
        correlation_range: smallest and largest correlation, for all layers or one pair per layer.
        generator: kind of number source.
        layout: of the number sources, ``independent`` or ``aligned``, for all layers or one per layer.
        precision_bits: n.
        scale_bits: bits of each hidden layer's scale.
        slope: ``local`` or ``relaxed`` (:class:`SCLinear`).
        seed: seed of the initial weights.

    Raises:
        RangeError: an argument out of range.
        ConfigError: too few widths, or lengths or encodings for another number of layers.

    Example:
        >>> network = SCNetwork((4, 3, 2), lengths=(8,))
        >>> network(torch.rand(5, 4, generator=torch.Generator().manual_seed(0))).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        features: Sequence[int],
        *,
        signed_input: bool = False,
        activation: str = "clamp01",
        lengths: Sequence[int] | Sequence[Sequence[int]] = (16,),
        encodings: Sequence[str] | Sequence[Sequence[str]] = ("sign_magnitude",),
        correlation_range: Sequence[float] | Sequence[Sequence[float]] = (0.0, 0.0),
        generator: str = "sobol",
        layout: str | Sequence[str] = "independent",
        precision_bits: int = DEFAULT_PRECISION_BITS,
        scale_bits: int = 8,
        slope: str = "local",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ConfigError(f"expected an input width and at least one layer, got features={tuple(features)!r}")
        check_choice("activation", activation, ("clamp01", "hardtanh"))
        check_integer("seed", seed, 0, 2**63 - 1)
        depth = len(features) - 1
        per_layer = _per_layer("candidate lengths", lengths, depth)
        coded = _per_layer("candidate encodings", encodings, depth)
        ranges = _per_layer("a correlation range", correlation_range, depth)
        layouts = [layout] * depth if isinstance(layout, str) else list(layout)
        if len(layouts) != depth:
            raise ConfigError(f"expected layouts for {depth} layers, got {len(layouts)}; give one each")
        for pair in ranges:
            if len(pair) != 2:
                raise ConfigError(f"expected correlation ranges of two numbers, smallest first, got {pair!r}")
        self.features = tuple(int(width) for width in features)
        self.signed_input = bool(signed_input)
        self.precision_bits = precision_bits
        self._arguments = {
            "features": list(self.features),
            "signed_input": self.signed_input,
            "activation": activation,
            "lengths": [list(candidates) for candidates in per_layer],
            "encodings": [list(candidates) for candidates in coded],
            "correlation_range": [list(pair) for pair in ranges],
            "generator": generator,
            "layout": layouts,
            "precision_bits": precision_bits,
            "scale_bits": scale_bits,
            "slope": slope,
        }
        self.layers = nn.ModuleList(
            SCLinear(
                features[index],
                features[index + 1],
                activation=activation if index < depth - 1 else "logits",
                lengths=per_layer[index],
                encodings=coded[index],
                correlation_range=(ranges[index][0], ranges[index][1]),
                generator=generator,
                layout=layouts[index],
                precision_bits=precision_bits,
                scale_bits=scale_bits,
                slope=slope,
                init=torch.Generator().manual_seed(derive_seed(seed, "weights", index)),
            )
            for index in range(depth)
        )

    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, less the seed: plain values that build the same shape again."""
        return dict(self._arguments)

    def sc_layers(self) -> tuple[SCLinear, ...]:
        """The layers, input first."""
        return tuple(cast(SCLinear, layer) for layer in self.layers)

    def input_integers(self, x: Tensor) -> Tensor:
        """Real inputs to value integers, int64 ``[B, F]``; values outside the input range saturate.

        Raises:
            RangeError: NaN or infinity.
        """
        _check_finite(x)
        low = -1.0 if self.signed_input else 0.0
        return (x.clamp(low, 1.0) * float(1 << self.precision_bits)).round().long()

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Real logits ``[B, O]`` in the layers' mode.

        Raises:
            ShapeError: not ``[B, F]``.
            RangeError: NaN or infinity.
        """
        if x.dim() != 2 or x.shape[1] != self.features[0]:
            raise ShapeError(f"expected input [B, {self.features[0]}], got {list(x.shape)}; flatten the samples")
        low = -1.0 if self.signed_input else 0.0
        if not _is_inside(x, low, 1.0):
            _check_finite(x)
            x = x.clamp(low, 1.0)
        for layer in self.sc_layers():
            x = layer(x, generator)
        return x

    @torch.no_grad()
    def forward_raw(self, x_raw: Tensor) -> list[Tensor]:
        """The network as a function from integers to integers.

        Args:
            x_raw: value integers, int64 ``[B, F]`` (:meth:`input_integers`).

        Returns:
            One int64 ``[B, O]`` per layer: value integers of the hidden ones, logit integers of the last.

        Raises:
            ShapeError: not int64 ``[B, F]``.
            RangeError: a value outside the input range.
        """
        if x_raw.dim() != 2 or x_raw.shape[1] != self.features[0] or x_raw.dtype != torch.int64:
            raise ShapeError(
                f"expected int64 value integers [B, {self.features[0]}], got {x_raw.dtype} {list(x_raw.shape)}"
            )
        one = 1 << self.precision_bits
        low = -one if self.signed_input else 0
        if x_raw.numel() and not low <= int(x_raw.min()) <= int(x_raw.max()) <= one:
            raise RangeError(
                f"expected value integers in {low} .. {one}, got {int(x_raw.min())} .. {int(x_raw.max())}; use "
                "input_integers"
            )
        outputs = []
        for layer in self.sc_layers():
            x_raw = layer.forward_raw(x_raw)
            outputs.append(x_raw)
        return outputs

    def predict(self, x: Tensor, batch: int = 1000) -> Tensor:
        """Decisions of the bit-true network, int64 ``[B]``; the lowest index among equal logits."""
        return torch.cat([decide(self.forward_raw(self.input_integers(part))[-1]) for part in torch.split(x, batch)])

    def set_mode(self, mode: Mode) -> None:
        """Put every layer into a mode."""
        check_choice("mode", mode, MODES)
        for layer in self.sc_layers():
            layer.mode = mode

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature of every layer's choices; lower is closer to a choice.

        Raises:
            RangeError: not a number in 1e-6 .. 1e6.
        """
        check_real("temperature", temperature, 1e-6, 1e6)
        for layer in self.sc_layers():
            layer.design.temperature = temperature

    def commit(self) -> list[DesignChoice]:
        """Commit every layer to its most likely design."""
        return [layer.design.commit() for layer in self.sc_layers()]

    def project_(self) -> None:
        """Clamp every layer's weights to [-1, 1]."""
        for layer in self.sc_layers():
            layer.project_()

    def expected_mean_length(self) -> Tensor:
        """Mean stream length over products, ``sum_l I_l O_l E[L_l] / sum_l I_l O_l``, differentiable."""
        layers = self.sc_layers()
        total = sum(layer.products for layer in layers)
        return torch.stack([layer.products * layer.design.expected_length() for layer in layers]).sum() / total

    def mean_length(self) -> float:
        """Mean stream length over products of the chosen design, in cycles."""
        layers = self.sc_layers()
        weighted = sum(layer.products * layer.design.choice().length for layer in layers)
        return weighted / sum(layer.products for layer in layers)

    def design_state(self) -> list[dict[str, Any]]:
        """The design variables of every layer as plain numbers, for logs and reports."""
        return [
            {
                "length_probabilities": layer.design.length_probabilities().tolist(),
                "encoding_probabilities": layer.design.encoding_probabilities().tolist(),
                "expected_length": float(layer.design.expected_length().detach()),
                "correlation": float(layer.design.correlation().detach()),
                "gain": math.exp(float(layer.log_gain.detach())),
            }
            for layer in self.sc_layers()
        ]


def _is_inside(x: Tensor, low: float, high: float) -> bool:
    # spares large inputs a copy; what is not a number is not inside
    if torch.compiler.is_compiling() or not x.numel():
        return False
    least, most = x.detach().aminmax()
    return low <= least.item() and most.item() <= high


def _check_finite(x: Tensor) -> None:
    # a sum is finite only if all its terms are; what overflows is looked at again
    if not math.isfinite(float(x.detach().sum())) and not bool(torch.isfinite(x).all()):
        raise RangeError("expected finite inputs, got NaN or infinity; clean the data")


def decide(logits_raw: Tensor) -> Tensor:
    """Index of the largest logit integer, the lowest index among equals (as torch documents); ``[B, O]`` to ``[B]``."""
    return logits_raw.argmax(dim=1)


N = TypeVar("N", int, float, str)


def _per_layer(what: str, given: Sequence[N] | Sequence[Sequence[N]], depth: int) -> list[tuple[N, ...]]:
    """One tuple for every layer, from one for all or one each."""
    lists = [tuple(entry) for entry in given if isinstance(entry, Sequence) and not isinstance(entry, str)]
    if given and len(lists) == len(given):
        if len(lists) != depth:
            raise ConfigError(f"expected {what} for {depth} layers, got {len(lists)}; give one each")
        return lists
    return [tuple(cast(Sequence[N], given))] * depth
