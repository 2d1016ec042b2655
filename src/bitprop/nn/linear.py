"""``SCLinear``: a dense stochastic-computing layer whose design is learned with its weights.

The layer computes ``a = g * y + b`` and clamps it, where ``y`` is the sum of products of its inputs and weights in
[-1, 1], ``g`` a per-layer gain and ``b`` a bias.  Three modes differ in how ``y`` comes about:

``relaxed``
    the expectation of the products, a smooth function (mixed over encodings);
``sampled``
    ideal random bits of a generator the caller gives, one number per input and cycle;
``bit_true``
    the integers of the hardware, mixed over the candidate designs until one is committed.

In the last two the backward pass is straight-through (Bengio et al., 2013; Hubara et al., 2016) with the relaxed slope
or, in ``bit_true``, the stream's own local one (:mod:`bitprop.nn.slope`); the clamps pass gradients where the
*computed* value lies inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from bitprop._checks import check_choice, check_integer
from bitprop.errors import NotExportableError, RangeError, ShapeError
from bitprop.formats import DEFAULT_PRECISION_BITS, MAX_PRECISION_BITS, MIN_PRECISION_BITS
from bitprop.nn.bit_true import encode, mix_numbers, requantise, scale_constants
from bitprop.nn.design import DesignChoice, DesignVariables
from bitprop.nn.mixture import Learned, Mixture, Numbers, mix_natively
from bitprop.nn.native import stream_sum, stream_sums
from bitprop.nn.slope import LOCAL_LIMIT, SLOPES, Streams, local_slope
from bitprop.nn.sources import LAYOUTS, LayerSources, layer_sources
from bitprop.training.sc_estimators.expectation import dense_mean

__all__ = ["ACTIVATIONS", "MODES", "LayerIntegers", "Mode", "SCLinear"]

Mode = Literal["relaxed", "sampled", "bit_true"]
MODES: tuple[Mode, ...] = ("relaxed", "sampled", "bit_true")

LARGEST_PRELOAD = 2.0**46
"""Of a bias in units of its accumulator: with a multiplier of 16 bits it stays in 64."""
ACTIVATIONS = ("clamp01", "hardtanh", "logits")


@dataclass(frozen=True, slots=True)
class LayerIntegers:
    """Everything the hardware of one layer needs, as integers; the contract's symbols in brackets.

    Attributes:
        choice: length, encoding, correlation.
        sources: the number sources.
        weight_threshold: int64 ``[O, I]`` (kw).
        weight_negative: int64 ``[O, I]``, 0 or 1 (neg_w).
        bias_raw: int64 ``[O]``.
        multiplier: (M), or 0 for the last layer.
        shift: (s), or 0 for the last layer.
        low: smallest output value integer.
        high: largest output value integer.
    """

    choice: DesignChoice
    sources: LayerSources
    weight_threshold: Tensor
    weight_negative: Tensor
    bias_raw: Tensor
    multiplier: int
    shift: int
    low: int
    high: int


def _straight_through(soft: Tensor, hard: Tensor) -> Tensor:
    """The value of ``hard`` with the gradient of ``soft``."""
    return soft + (hard - soft).detach()


class SCLinear(nn.Module):
    """A dense stochastic-computing layer.

    Args:
        in_features: I, at least 1.
        out_features: O, at least 1.
        activation: ``clamp01`` (a clipped ReLU), ``hardtanh``, or ``logits`` for the last layer.
        lengths: candidate stream lengths in cycles, strictly increasing.
        encodings: candidate encodings.
        correlation_range: smallest and largest correlation (SCC); equal bounds fix it.
        generator: kind of number source: ``sobol``, ``lfsr``, ``halton``, ``counter`` or ``bernoulli``
            (the last cannot be exported).
        precision_bits: n, 3 .. 16: thresholds and values have n-bit resolution.
        scale_bits: bits of the scale's multiplier, 2 .. 16.
        layout: ``independent`` or ``aligned``: how the activations' numbers relate to the weights'.
        source_seed: shifts the number sources, 0 .. 2**n - 1.
        slope: ``local`` or ``relaxed``: the stand-in for the slope of a bit-true stream.
        init: generator of the initial weights; a fresh one seeded 0 if ``None``.

    Raises:
        RangeError: an argument out of range.

    Shapes: input ``[B, I]`` in the range of the previous activation, output ``[B, O]``.

    Example:
        >>> layer = SCLinear(4, 2, activation="logits", lengths=(8, 16), encodings=("sign_magnitude",))
        >>> layer(torch.full((3, 4), 0.5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "clamp01",
        lengths: Sequence[int] = (16,),
        encodings: Sequence[str] = ("sign_magnitude",),
        correlation_range: tuple[float, float] = (0.0, 0.0),
        generator: str = "sobol",
        precision_bits: int = DEFAULT_PRECISION_BITS,
        scale_bits: int = 8,
        layout: str = "independent",
        source_seed: int = 0,
        slope: str = "local",
        init: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_integer("in_features", in_features, 1, 1 << 16)
        self.out_features = check_integer("out_features", out_features, 1, 1 << 16)
        self.activation = check_choice("activation", activation, ACTIVATIONS)
        self.precision_bits = check_integer("precision_bits", precision_bits, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
        self.scale_bits = check_integer("scale_bits", scale_bits, 2, 16)
        self.source_seed = check_integer("source_seed", source_seed, 0, (1 << precision_bits) - 1)
        self.slope = check_choice("slope", slope, SLOPES)
        self.layout = check_choice("layout", layout, LAYOUTS)
        self.generator = generator
        self.mode: Mode = "bit_true"
        self.dither = 0.0
        self.design = DesignVariables(lengths, encodings, correlation_range, precision_bits)
        # validates the generator at the door, for every candidate
        self._sources = {
            length: layer_sources(generator, length, precision_bits, source_seed, layout)
            for length in self.design.lengths
        }
        self._numbers: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._arrays: dict[tuple[int, int], Numbers] = {}
        self._still: dict[tuple[int, ...], tuple[Numbers, ...]] = {}
        init = init if init is not None else torch.Generator().manual_seed(0)
        spread = 0.6
        self.weight = nn.Parameter((torch.rand(out_features, in_features, generator=init) * 2 - 1) * spread)
        self.bias = nn.Parameter(torch.zeros(out_features))
        # unit variance at the output for inputs of unit second moment: Var(w) = spread**2 / 3; logits of unit variance
        # would leave a softmax almost flat
        gain = math.sqrt(3.0 / in_features) / spread * (4.0 if activation == "logits" else 1.0)
        self.log_gain = nn.Parameter(torch.tensor(math.log(gain)))

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, activation={self.activation!r}, lengths={self.design.lengths}, "
            f"encodings={self.design.encodings}, generator={self.generator!r}, mode={self.mode!r}"
        )

    @property
    def gain(self) -> Tensor:
        """The per-layer gain g, positive."""
        return self.log_gain.exp()

    @property
    def products(self) -> int:
        """Products per cycle: I * O."""
        return self.in_features * self.out_features

    def sources(self, length: int) -> LayerSources:
        """The number sources of one candidate length.

        Raises:
            RangeError: it is no candidate.
        """
        if length not in self._sources:
            raise RangeError(f"expected one of the layer's lengths {tuple(self._sources)}, got {length}")
        return self._sources[length]

    @property
    def exportable(self) -> bool:
        """Whether hardware can have the layer's number sources."""
        return all(sources.activation.exportable for sources in self._sources.values())

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp the weights to [-1, 1], where an encoding can represent them; call after an optimiser step."""
        self.weight.clamp_(-1.0, 1.0)

    def value_range(self) -> tuple[int, int]:
        """Smallest and largest output value integer."""
        one = 1 << self.precision_bits
        return (0 if self.activation == "clamp01" else -one), one

    # -- the smooth half -------------------------------------------------------------------------------------

    def _activate(self, pre_activation: Tensor) -> Tensor:
        if self.activation == "logits":
            return pre_activation
        return pre_activation.clamp(0.0 if self.activation == "clamp01" else -1.0, 1.0)

    def _correlation(self) -> Tensor | float:
        """The correlation for closed forms: a plain 0 when it is fixed there, which spares its terms."""
        low, high = self.design.correlation_range
        return 0.0 if low == high == 0 else self.design.correlation()

    def _expected(self, x: Tensor, encoding: str, correlation: Tensor | float) -> Tensor:
        """Expected sum of products for endless streams of this layout, ``[B, O]``.

        Aligned sources overlap fully by themselves; only a negative correlation still mixes something else in.
        """
        if self.layout == "independent":
            return dense_mean(x, self.weight, encoding, correlation)
        overlapping = dense_mean(x, self.weight, encoding, 1.0)
        if float(torch.as_tensor(correlation).detach()) >= 0:
            return overlapping
        apart = dense_mean(x, self.weight, encoding, -1.0)
        return overlapping - correlation * (apart - overlapping)

    def _relaxed(self, x: Tensor) -> Tensor:
        correlation = self._correlation()
        _, chosen = self.design.chosen()
        mean = sum(
            (
                probability * self._expected(x, encoding, correlation)
                for encoding, probability in zip(chosen.of(self.design.encodings), chosen.tensors(), strict=True)
            ),
            start=torch.zeros(()),
        )
        return self._activate(self.gain * mean + self.bias)

    # -- the integer half ------------------------------------------------------------------------------------

    def value_integers(self, x: Tensor) -> Tensor:
        """Real inputs to value integers, ``round(x * 2**n)`` ties to even, saturating at +-1."""
        return (x.detach().clamp(-1.0, 1.0) * float(1 << self.precision_bits)).round().long()

    def weight_integers(self) -> Tensor:
        """Weights as value integers, int64 ``[O, I]``."""
        return self.value_integers(self.weight)

    def bias_integers(self, length: int) -> Tensor:
        """Bias preload: ``round(b * L / g)``, int64 ``[O]``, computed in float64; at most 2**46, not a number as 0."""
        gain = self.gain.detach().double()
        found = (self.bias.detach().double() * length / gain).round()
        return found.nan_to_num(nan=0.0).clamp(-LARGEST_PRELOAD, LARGEST_PRELOAD).long()

    def numbers(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """The integer sequences of the sources for one candidate length, each int64 ``[L]``."""
        if length not in self._numbers:
            sources = self._sources[length]
            self._numbers[length] = cast(
                tuple[Tensor, Tensor, Tensor],
                tuple(
                    torch.from_numpy(source.sequence(length))
                    for source in (sources.activation, sources.weight, sources.correlation)
                ),
            )
        return self._numbers[length]

    def _training_numbers(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """The candidate's numbers, the activations' moved by the layer's dither: a share of a step, -1/2 .. 1/2.

        A trainer that draws the dither anew for every batch makes the activations' levels, fixed in hardware, uniform
        over the range while the weights are learned (dithered quantisation: Roberts, 1962).
        """
        r, s, t = self.numbers(length)
        moved = self._moved(length)
        return (r if moved == 0 else (r + moved) % (1 << self.precision_bits)), s, t

    def _moved(self, length: int) -> int:
        return round(self.dither * (1 << self.precision_bits) / length)

    def _training_arrays(self, lengths: tuple[int, ...]) -> tuple[Numbers, ...]:
        """:meth:`_training_numbers` as arrays, kept: a dither moves a length's numbers to few places."""
        if self.dither == 0 and lengths in self._still:
            return self._still[lengths]
        found = []
        for length in lengths:
            key = length, self._moved(length)
            if key not in self._arrays:
                self._arrays[key] = Numbers(*(side.numpy() for side in self._training_numbers(length)))
            found.append(self._arrays[key])
        if self.dither == 0:
            self._still[lengths] = tuple(found)
        return tuple(found)

    def _drawn_numbers(self, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Ideal random numbers: independent for every input and cycle, shared by the samples of the batch."""
        one, shape = 1 << self.precision_bits, (length, self.in_features)
        r, s = (torch.randint(0, one, shape, generator=generator) for _ in range(2))
        if self.layout == "aligned":
            s = r
        return r, s, torch.randint(0, one, (length,), generator=generator)

    def integers(self) -> LayerIntegers:
        """The discrete design with its weights, biases and scale as integers: what is lowered to hardware.

        Raises:
            NotExportableError: the number sources are ideal random bits.
        """
        choice = self.design.choice()
        sources = self._sources[choice.length]
        if not self.exportable:
            raise NotExportableError(
                f"expected number sources that hardware can have, got {self.generator!r}; train with sobol, lfsr, "
                "halton or counter"
            )
        threshold, negative = encode(self.weight_integers(), choice.encoding, self.precision_bits)
        last = self.activation == "logits"
        multiplier, shift = (0, 0) if last else self._scale(choice.length)
        low, high = self.value_range()
        return LayerIntegers(
            choice, sources, threshold, negative, self.bias_integers(choice.length), multiplier, shift, low, high
        )

    def _scale(self, length: int) -> tuple[int, int]:
        return scale_constants(math.exp(self.log_gain.item()), length, self.precision_bits, self.scale_bits)

    @torch.no_grad()
    def forward_raw(self, x_raw: Tensor) -> Tensor:
        """The committed (or most likely) design as an integer function.

        Args:
            x_raw: value integers, int64 ``[B, I]``.

        Returns:
            int64 ``[B, O]``: value integers, or logit integers of the last layer.
        """
        choice = self.design.choice()
        r, s, t = self.numbers(choice.length)
        x = encode(x_raw, choice.encoding, self.precision_bits)
        w = encode(self.weight_integers(), choice.encoding, self.precision_bits)
        q = mix_numbers(r, s, t, choice.correlation_raw, self.precision_bits)
        total = stream_sum(x, w, r, q, choice.encoding) + self.bias_integers(choice.length)
        return self._finish(total, choice.length)

    def _finish(self, total: Tensor, length: int) -> Tensor:
        if self.activation == "logits":
            return total
        return requantise(total, *self._scale(length), *self.value_range())

    # -- forward ---------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute the layer in its mode.

        Args:
            x: real activations ``[B, I]``; the integer modes round them to the grid of ``2**-n``.
            generator: random bits of the ``sampled`` mode, which needs it.

        Raises:
            ShapeError: not ``[B, I]``.
            RangeError: ``sampled`` without a generator, or an unknown mode.
        """
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ShapeError(f"expected input [B, {self.in_features}], got {list(x.shape)}; flatten or check the layer")
        if self.mode == "relaxed":
            return self._relaxed(x)
        if self.mode == "sampled":
            if generator is None:
                raise RangeError("expected a torch.Generator for sampled mode, got None; pass generator=")
        elif self.mode != "bit_true":
            raise RangeError(f"expected a mode among {', '.join(MODES)}, got {self.mode!r}")
        return self._mixture(x, generator if self.mode == "sampled" else None)

    def _mixture(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Sum over encodings and lengths of probability times the output of that discrete design."""
        design = self.design
        if generator is None:
            found = self._mixed_natively(x)
            if found is not None:
                return found
        lengths, encodings = design.chosen()
        return self._mixed_plainly(
            x,
            list(zip(encodings.of(design.encodings), encodings.tensors(), strict=True)),
            list(zip(lengths.of(design.lengths), lengths.tensors(), strict=True)),
            generator,
        )

    def _is_local(self, length: int) -> bool:
        return self.slope == "local" and length <= LOCAL_LIMIT

    def _mixed_natively(self, x: Tensor) -> Tensor | None:
        design = self.design
        is_committed = design.is_committed
        correlation = design.correlation() if design.learns_correlation else None
        learned = Learned(
            x,
            self.weight,
            self.bias,
            self.log_gain,
            None if is_committed or len(design.lengths) == 1 else design.length_logits,
            None if is_committed or len(design.encodings) == 1 else design.encoding_logits,
            correlation,
        )
        if not learned.fits(design.lengths[-1]):
            return None
        # the native operation has the gradients in the logits
        shares = of_length, of_encoding = design.chosen(differentiable=False)
        lengths = of_length.of(design.lengths)
        mixture = Mixture(
            encodings=of_encoding.of(design.encodings),
            lengths=lengths,
            shares=shares,
            numbers=self._training_arrays(lengths),
            local=tuple([self._is_local(length) for length in lengths]),
            scale_bits=0 if self.activation == "logits" else self.scale_bits,
            limits=self.value_range(),
            precision_bits=self.precision_bits,
            correlation_raw=design.correlation_raw() if correlation is None else design.quantised(correlation),
            learns_correlation=correlation is not None,
            independent=self.layout == "independent",
            soft=self._soft,
        )
        return mix_natively(learned, mixture)

    def _mixed_plainly(
        self,
        x: Tensor,
        encodings: list[tuple[str, Tensor]],
        lengths: list[tuple[int, Tensor]],
        generator: torch.Generator | None,
    ) -> Tensor:
        """The reference."""
        design = self.design
        n, gain = self.precision_bits, self.gain
        x_raw, w_raw = self.value_integers(x), self.weight_integers()
        output = torch.zeros(x.shape[0], self.out_features)
        for encoding, p_encoding in encodings:
            k_x, k_w = encode(x_raw, encoding, n), encode(w_raw, encoding, n)
            relaxed: Tensor | None = None
            drawn = [
                self._training_numbers(length) if generator is None else self._drawn_numbers(length, generator)
                for length, _ in lengths
            ]
            sums = self._sums(k_x, k_w, drawn, encoding)
            for (length, p_length), numbers, (total, slope) in zip(lengths, drawn, sums, strict=True):
                hard = total.to(x.dtype) / length
                if generator is None and self._is_local(length):
                    r, s, t = numbers
                    q = mix_numbers(r, s, t, design.correlation_raw(), n)
                    y = local_slope(x, self.weight, hard, Streams(k_x, k_w, r, q, encoding, n))
                else:
                    relaxed = self._soft(x, encoding) if relaxed is None else relaxed
                    y = _straight_through(relaxed, hard)
                if slope is not None:
                    correlation = design.correlation()
                    y = y + (correlation - correlation.detach()) * slope.to(x.dtype) / length
                a = self._activate(gain * y + self.bias)
                integers = self._finish(total + self.bias_integers(length), length).to(x.dtype)
                unit = gain.detach() / length if self.activation == "logits" else 1.0 / (1 << n)
                output = output + p_encoding * p_length * _straight_through(a, integers * unit)
        return output

    def _soft(self, x: Tensor, encoding: str) -> Tensor:
        """The relaxed sum whose gradient stands in, at the quantised correlation."""
        return self._expected(x, encoding, self.design.correlation_raw() / float(1 << self.precision_bits))

    @torch.no_grad()
    def _sums(
        self,
        k_x: tuple[Tensor, Tensor],
        k_w: tuple[Tensor, Tensor],
        numbers: Sequence[tuple[Tensor, Tensor, Tensor]],
        encoding: str,
    ) -> list[tuple[Tensor, Tensor | None]]:
        """For each length's numbers: stream sums at the quantised correlation, and their expected slope in it.

        The slope is there if the correlation is learned.  In expectation over the third source the sum is
        ``(1 - |c|) own + |c| other``, exactly, for the very sequences of this layer, so the slope is the difference of
        two integer sums.
        """
        n, raw = self.precision_bits, self.design.correlation_raw()
        signs = [sign for sign in (1, -1) if raw * sign >= 0] if self.design.learns_correlation else []
        pairs = []
        for r, s, t in numbers:
            pairs.append((r, mix_numbers(r, s, t, raw, n)))
            if signs:
                pairs += [(r, s)] if raw else []
                pairs += [(r, r if sign > 0 else (1 << n) - 1 - r) for sign in signs]
        found = stream_sums(k_x, k_w, pairs, encoding)
        each = len(pairs) // len(numbers)
        sums: list[tuple[Tensor, Tensor | None]] = []
        for total, *rest in (found[at : at + each] for at in range(0, len(pairs), each)):
            if not signs:
                sums.append((total, None))
                continue
            own, others = (rest[0], rest[1:]) if raw else (total, rest)
            slopes = [sign * (other - own) for sign, other in zip(signs, others, strict=True)]
            sums.append((total, cast(Tensor, sum(slopes)) / len(slopes)))
        return sums
