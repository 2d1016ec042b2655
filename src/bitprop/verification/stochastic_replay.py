"""The replay of stochastic-computing layers: an independent derivation of the gradient that their bits claim.

A layer that counts bits has no derivative; its backward pass claims one (straight-through).  Here the bits are made
and counted with plain NumPy, without the layer's code, the claimed slopes are written out from their definitions, and
the layer becomes a smooth function of its parameters that equals the hard one where they are::

    y = y_hard + G_x (x - x_0) + G_w (w - w_0) + G_c (c - c_0)
    a = g y + b  where that lies inside the clamp, else constant
    output = sum over designs of p_design (integers * unit + a - a_0)

with ``G_w`` the relaxed slope of the expected product, or the local one: the activation's bits at the cycles whose
levels ``(Q_t + 1/2) / 2^n`` are next to the weight's probability, interpolated.  Its derivative is the claim.

Reference: Hubara et al., *Binarized neural networks*, NeurIPS 2016 (straight-through through clamps).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitprop.nn.linear import SCLinear
from bitprop.nn.network import SCNetwork
from bitprop.nn.slope import LOCAL_LIMIT

__all__ = ["LayerReplay", "NetworkReplay", "plain_bits", "plain_product_slopes"]

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-4  # designs below this probability are left out by the layer too


def plain_bits(value_raw: Integers, numbers: Integers, encoding: str, precision_bits: int) -> Integers:
    """Streams of value integers ``[rows, I]`` as their product sees them, ``[rows, L, I]``: 0/1, +-1 or signed bits.

    Args:
        value_raw: value integers, ``-2**n .. 2**n``.
        numbers: ``[L]``, or ``[L, I]``.
        encoding: encoding name.
        precision_bits: n.
    """
    one = 1 << precision_bits
    shared = numbers[None, :, None] if numbers.ndim == 1 else numbers[None]
    if encoding == "unipolar":
        return np.asarray(shared < np.maximum(value_raw, 0)[:, None, :], dtype=np.int64)
    if encoding == "sign_magnitude":
        return np.asarray((shared < np.abs(value_raw)[:, None, :]) * np.sign(value_raw)[:, None, :], dtype=np.int64)
    # (v + 2^n) / 2 rounded, halves to even
    threshold = np.rint((value_raw + one) / 2.0)
    return np.where(shared < threshold[:, None, :], 1, -1)


def plain_product_slopes(x: Floats, w: Floats, encoding: str, correlation: float) -> tuple[Floats, Floats]:
    """Slopes in x and w of the expected product of two streams, elementwise, from its definition.

    One cycle of the AND is one with probability ``P = (1 - |c|) p q + |c| m``, ``m = min(p, q)`` or
    ``max(0, p + q - 1)``; the product is ``P`` (unipolar), ``sign(x) sign(w) P`` (sign_magnitude) or
    ``1 - 2 p - 2 q + 4 P`` (bipolar).  Where a slope has two sides: a clamp passes gradients at its ends, a tie of the
    minimum is shared, and ``p + q = 1`` counts as below.  At ``x = 0`` sign_magnitude has no kink.
    """
    low, size = (0.0 if encoding == "unipolar" else -1.0), abs(correlation)
    inside = [((low <= v) & (v <= 1.0)).astype(np.float64) for v in (x, w)]
    x, w = np.broadcast_arrays(np.clip(x, low, 1.0), np.clip(w, low, 1.0))
    signs = [np.where(v < 0.0, -1.0, 1.0) for v in (x, w)]
    p, q = ((x + 1.0) / 2.0, (w + 1.0) / 2.0) if encoding == "bipolar" else (np.abs(x), np.abs(w))
    if correlation > 0.0:
        by_p = (p < q) + 0.5 * (p == q)
        by_q = 1.0 - by_p
    else:
        by_p = by_q = (p + q > 1.0).astype(np.float64)
    both = (1.0 - size) * q + size * by_p, (1.0 - size) * p + size * by_q
    if encoding == "bipolar":
        return (2.0 * both[0] - 1.0) * inside[0], (2.0 * both[1] - 1.0) * inside[1]
    if encoding == "sign_magnitude":
        return signs[1] * both[0] * inside[0], signs[0] * both[1] * inside[1]
    return both[0] * inside[0], both[1] * inside[1]


def _relaxed_slopes(layer: SCLinear, x: Floats, w: Floats, encoding: str, correlation: float) -> tuple[Floats, Floats]:
    """Those slopes, ``[B, O, I]``, for this layer's layout: aligned sources overlap fully by themselves."""
    wide = x[:, None, :], w[None]
    if layer.layout == "independent":
        return plain_product_slopes(*wide, encoding, correlation)
    share = max(-correlation, 0.0)  # what a negative correlation takes from the overlap
    together, apart = (plain_product_slopes(*wide, encoding, c) for c in (1.0, -1.0))
    return (1.0 - share) * together[0] + share * apart[0], (1.0 - share) * together[1] + share * apart[1]


def _local_shares(value: Floats, numbers: Integers, encoding: str, precision_bits: int) -> Floats:
    """For each value ``[rows, I]`` the share of each cycle, ``[rows, I, L]``: the levels next below and above it."""
    probability = (value + 1.0) / 2.0 if encoding == "bipolar" else np.abs(value)
    low = 0.0 if encoding == "unipolar" else -1.0
    # among equal numbers any cycle is as good; torch's order decides, here as in the layer
    ordered, order = ((torch.from_numpy(numbers).double() + 0.5) / (1 << precision_bits)).sort()
    levels = ordered.numpy()
    shares = np.zeros((*value.shape, len(levels)))
    for place in np.ndindex(*value.shape):
        if not low <= value[place] <= 1.0:
            continue
        p = probability[place]
        below, above = np.flatnonzero(levels < p), np.flatnonzero(levels >= p)
        if not len(below) or not len(above):
            only = above[0] if len(above) else below[-1]
            shares[(*place, int(order[only]))] = 1.0
        else:
            under, over = below[-1], above[0]
            fraction = (p - levels[under]) / (levels[over] - levels[under])
            shares[(*place, int(order[under]))] = 1.0 - fraction
            shares[(*place, int(order[over]))] = fraction
    return shares


@dataclass(frozen=True, slots=True)
class _Design:
    """One discrete design with its hard values and claimed slopes; float64 tensors."""

    encoding: int  # index among the layer's encodings
    length: int  # index among its lengths
    hard: Tensor  # y, [B, O]
    output: Tensor  # integers * unit, [B, O]
    by_x: Tensor  # [B, O, I]
    by_w: Tensor  # [B, O, I]
    by_c: Tensor  # [B, O]
    inside: Tensor  # whether the clamp passes gradients
    before: Tensor  # g y + b, before the clamp


class LayerReplay:
    """One layer, replayed around an input.

    Args:
        layer: in ``bit_true`` or ``sampled`` mode, in float64.
        x: input ``[B, I]``, float64.
        generator: for ``sampled``: in the state in which the layer will find it.  It is advanced as the layer does.
    """

    def __init__(self, layer: SCLinear, x: Tensor, generator: torch.Generator | None = None) -> None:
        self.layer = layer
        self.x = x.detach().double()
        self.weight = layer.weight.detach().double()
        self.correlation = float(layer.design.correlation().detach())
        with torch.no_grad():
            self.designs = list(self._designs(generator))

    def _probable(self, probabilities: Tensor) -> list[int]:
        return [k for k, p in enumerate(probabilities.tolist()) if p > _NEGLIGIBLE]

    def _designs(self, generator: torch.Generator | None) -> Iterator[_Design]:
        layer, design, n = self.layer, self.layer.design, self.layer.precision_bits
        one = 1 << n
        x, w = self.x.numpy(), self.weight.numpy()
        x_raw, w_raw = (np.rint(np.clip(value, -1.0, 1.0) * one).astype(np.int64) for value in (x, w))
        raw = round(self.correlation * one)
        for e in self._probable(design.encoding_probabilities()):
            encoding = design.encodings[e]
            for k in self._probable(design.length_probabilities()):
                length = design.lengths[k]
                drawn = None if generator is None else layer._drawn_numbers(length, generator)
                r, s, t = (part.numpy() for part in (layer._training_numbers(length) if drawn is None else drawn))
                wanted = {raw, 0, one, -one} if design.learns_correlation else {raw}
                weight_bits = {c: plain_bits(w_raw, _mixed(r, s, t, c, one), encoding, n) for c in wanted}
                bits = plain_bits(x_raw, r, encoding, n)
                counts = {c: np.einsum("bti,oti->bo", bits, other) for c, other in weight_bits.items()}
                if layer.slope == "local" and generator is None and length <= LOCAL_LIMIT:
                    q = _mixed(r, s, t, raw, one)
                    by_w = np.einsum("oit,bti->boi", _local_shares(w, q, encoding, n), bits)
                    by_x = np.einsum("bit,oti->boi", _local_shares(x, r, encoding, n), weight_bits[raw])
                else:
                    by_x, by_w = _relaxed_slopes(layer, x, w, encoding, raw / one)
                by_c = np.zeros(counts[raw].shape)
                if design.learns_correlation:
                    sides = [counts[one] - counts[0]] * (raw >= 0) + [counts[0] - counts[-one]] * (raw <= 0)
                    by_c = np.mean(sides, axis=0) / length
                yield self._design(e, k, counts[raw], by_x, by_w, by_c)

    def _design(
        self, encoding: int, length_index: int, counts: Integers, by_x: Floats, by_w: Floats, by_c: Floats
    ) -> _Design:
        layer, n = self.layer, self.layer.precision_bits
        length = layer.design.lengths[length_index]
        gain, bias = math.exp(float(layer.log_gain)), layer.bias.double().numpy()
        accumulator = counts + np.rint(bias * length / gain).astype(np.int64)
        if layer.activation == "logits":
            output = accumulator * (gain / length)
        else:
            m, shift = layer._scale(length)
            output = np.clip((accumulator * m + (1 << (shift - 1))) // (1 << shift), *layer.value_range()) / (1 << n)
        before = gain * counts / length + bias
        low, high = self._limits()
        return _Design(
            encoding=encoding,
            length=length_index,
            hard=torch.from_numpy(counts / length),
            output=torch.from_numpy(output),
            by_x=torch.from_numpy(by_x),
            by_w=torch.from_numpy(by_w),
            by_c=torch.from_numpy(by_c),
            inside=torch.from_numpy((low <= before) & (before <= high)),
            before=torch.from_numpy(before),
        )

    def _limits(self) -> tuple[float, float]:
        if self.layer.activation == "logits":
            return -math.inf, math.inf
        return (0.0 if self.layer.activation == "clamp01" else -1.0), 1.0

    def __call__(self, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The smooth stand-in ``[B, O]``.

        Args:
            x: input ``[B, I]``; may differ a little from the one replayed.
            parameters: the layer's, by their names in it.
        """
        design = self.layer.design
        weights = []
        for name, fixed in (
            ("length_logits", design.length_probabilities()),
            ("encoding_logits", design.encoding_probabilities()),
        ):
            logits = parameters[f"design.{name}"]
            weights.append(fixed.detach() if design.is_committed else torch.softmax(logits / design.temperature, 0))
        low, high = design.correlation_range
        c = (low + high) / 2.0 + (high - low) / 2.0 * torch.tanh(parameters["design.correlation_logit"])
        moved_w, moved_x = parameters["weight"] - self.weight, x - self.x
        gain, bias = parameters["log_gain"].exp(), parameters["bias"]
        output = torch.zeros((), dtype=torch.float64)
        for item in self.designs:
            y = item.hard + (item.by_x * moved_x[:, None]).sum(-1) + (item.by_w * moved_w[None]).sum(-1)
            y = y + item.by_c * (c - self.correlation)
            change = torch.where(item.inside, gain * y + bias - item.before, 0.0)
            output = output + weights[0][item.length] * weights[1][item.encoding] * (item.output + change)
        return output


def _mixed(r: Integers, s: Integers, t: Integers, correlation_raw: int, one: int) -> Integers:
    """Numbers that the weight comparators see: the activations' own, their complement, or an independent source's."""
    chosen = t < abs(correlation_raw)
    return np.where(chosen if r.ndim == 1 else chosen[:, None], r if correlation_raw > 0 else one - 1 - r, s)


class NetworkReplay:
    """A chain of layers, or one, replayed around an input; see :class:`LayerReplay`.

    Args:
        module: in ``bit_true`` or ``sampled`` mode, in float64.
        x: input ``[B, F]``.
        generator: for ``sampled``, in the state in which the module will find it.
    """

    def __init__(self, module: SCNetwork | SCLinear, x: Tensor, generator: torch.Generator | None = None) -> None:
        self.x = x.detach().double()
        if isinstance(module, SCNetwork):
            self.x = self.x.clamp(-1.0 if module.signed_input else 0.0, 1.0)
            layers = {f"layers.{k}.": layer for k, layer in enumerate(module.sc_layers())}
        else:
            layers = {"": module}
        self.point = {name: p.detach().double() for name, p in module.named_parameters()}
        self.layers: list[tuple[str, LayerReplay]] = []
        value = self.x
        for prefix, layer in layers.items():
            replay = LayerReplay(layer, value, generator)
            self.layers.append((prefix, replay))
            value = replay(value, self._below(prefix, self.point))

    @staticmethod
    def _below(prefix: str, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The smooth stand-in's output at some of the module's parameters, the others unchanged."""
        value = self.x
        merged = {**self.point, **parameters}
        for prefix, layer in self.layers:
            value = layer(value, self._below(prefix, merged))
        return value
