"""The joint objective: one loss whose gradient reaches weights, stream lengths, encodings and correlation.

For one dense layer with weights ``w`` in [-1, 1], bias ``b``, candidate lengths ``L`` with probabilities
``p_L = softmax(length_logits)``, candidate encodings ``e`` with ``p_e = softmax(encoding_logits)`` and correlation
``c = middle + half * tanh(correlation_logit)``, a discrete design (e, L) computes ``y = sum of products + b``.  Its
squared error over streams of L ideal bits is exact::

    loss(e, L) = mean[(mu_e(c) + b - target)**2 + V_e(c) / L]

with ``mu_e`` and ``V_e`` the mean and the per-cycle variance of the layer (``sc_estimators.expectation``).  The task
loss is the expected loss of a design drawn from the current probabilities, ``sum_e sum_L p_e p_L loss(e, L)``; so the
task alone pulls on every logit, and on the correlation through ``mu`` and ``V``.  The cost terms are added under
their own names.

**Values an encoding cannot represent** (-0.4 under unipolar) saturate: that encoding's branch sees the nearest value
it has (0.0), with the clamp's own gradient, whichever encoding is selected.  The error this causes is part of that
branch's loss, so training moves away from an encoding that does not fit; the report says how large a share saturates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.nn.bit_true import encode, mix_numbers
from bitprop.nn.design import check_candidates
from bitprop.nn.native import stream_sum
from bitprop.nn.sources import config_sources
from bitprop.seeds import derive_seed
from bitprop.training.resource import LUT_PER_PRODUCT, RESOURCE_MODELS, area_time_table
from bitprop.training.sc_estimators import DifferentiableSCConfig, make_estimator
from bitprop.training.sc_estimators.expectation import dense_mean, dense_variance, product_mean, saturate

__all__ = [
    "SCBackpropDesignSpace",
    "SCJointObjectiveReport",
    "SCObjectiveBreakdown",
    "SCTrainingObjectiveConfig",
    "stochastic_backprop_joint_objective",
]

_MAX_SAMPLED_BITS = 1 << 20
# A bit that is certain has no log-odds; sampled estimators see probabilities at least this far from 0 and 1.
_CERTAIN = 1e-6


@dataclass(frozen=True, slots=True)
class SCBackpropDesignSpace:
    """The discrete choices training moves between.

    Attributes:
        bitstream_lengths: candidate lengths in cycles, strictly increasing.
        encodings: candidate encodings, distinct.
        min_correlation: smallest correlation (SCC), at least -1.
        max_correlation: largest correlation, at most 1.

    Raises:
        RangeError: see the fields.
    """

    bitstream_lengths: tuple[int, ...] = (64, 128, 256)
    encodings: tuple[str, ...] = ("bipolar", "unipolar")
    min_correlation: float = -0.25
    max_correlation: float = 0.25

    def __post_init__(self) -> None:
        lengths, encodings, (low, high) = check_candidates(
            self.bitstream_lengths, self.encodings, (self.min_correlation, self.max_correlation)
        )
        object.__setattr__(self, "bitstream_lengths", lengths)
        object.__setattr__(self, "encodings", encodings)
        object.__setattr__(self, "min_correlation", low)
        object.__setattr__(self, "max_correlation", high)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "bitstream_lengths": list(self.bitstream_lengths),
            "encodings": list(self.encodings),
            "min_correlation": self.min_correlation,
            "max_correlation": self.max_correlation,
        }


@dataclass(frozen=True, slots=True)
class SCTrainingObjectiveConfig:
    """Weights of the cost terms, each at least 0.

    Attributes:
        length_cost_weight: times ``E[L] / max L``.
        correlation_cost_weight: times ``c**2``.
        encoding_cost_weight: times the expected LUT4 per product, relative to the cheapest encoding, less one.
        resource_cost_weight: times the expected area x cycles of the layer, relative to the largest candidate's.
        estimator_samples: samples per gradient of a sampled estimator, 1 .. 65536.
        resource_model: where the area comes from: ``synthesis``, the model fitted to placed and routed designs, or
            ``gates``, counted (:mod:`bitprop.training.resource`).

    Raises:
        RangeError: negative or not finite, or an unknown model.
    """

    length_cost_weight: float = 0.0
    correlation_cost_weight: float = 0.0
    encoding_cost_weight: float = 0.0
    resource_cost_weight: float = 0.0
    estimator_samples: int = 32
    resource_model: str = "synthesis"

    def __post_init__(self) -> None:
        for name in ("length_cost_weight", "correlation_cost_weight", "encoding_cost_weight", "resource_cost_weight"):
            object.__setattr__(self, name, check_real(name, getattr(self, name), 0.0, 1e12))
        check_integer("estimator_samples", self.estimator_samples, 1, 1 << 16)
        check_choice("the resource model", self.resource_model, RESOURCE_MODELS)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "length_cost_weight": self.length_cost_weight,
            "correlation_cost_weight": self.correlation_cost_weight,
            "encoding_cost_weight": self.encoding_cost_weight,
            "resource_cost_weight": self.resource_cost_weight,
            "estimator_samples": self.estimator_samples,
            "resource_model": self.resource_model,
        }


@dataclass(frozen=True, slots=True)
class SCObjectiveBreakdown:
    """The objective's terms, scalar tensors; ``total`` is their sum."""

    task_loss: Tensor
    length_cost: Tensor
    correlation_cost: Tensor
    encoding_cost: Tensor
    resource_cost: Tensor
    total: Tensor

    def to_dict(self) -> dict[str, float]:
        """The terms as numbers."""
        return {name: float(getattr(self, name).detach()) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SCJointObjectiveReport:
    """What the joint objective computed.

    Attributes:
        prediction: relaxed prediction ``[B, O]``, ``sum_e p_e mu_e(c) + b``.
        breakdown: the objective's terms; call ``breakdown.total.backward()``.
        selected_config: the discrete, exportable design: argmax length and encoding, quantised correlation.
        length_probabilities: ``[K]``.
        encoding_probabilities: ``[E]``.
        expected_bitstream_length: ``sum_L p_L L``, cycles.
        correlation: the continuous correlation.
        selected_bitstream_length: cycles.
        selected_encoding: encoding name.
        selected_correlation: correlation as the hardware has it, a multiple of ``2**-n``.
        selected_task_loss: the task loss of the selected design alone.
        rounding_cost: ``selected_task_loss - task_loss``: what rounding the mixture to a choice costs.
        saturated_share: per encoding, the share of inputs and weights it cannot represent.
    """

    prediction: Tensor
    breakdown: SCObjectiveBreakdown
    selected_config: DifferentiableSCConfig
    length_probabilities: Tensor
    encoding_probabilities: Tensor
    expected_bitstream_length: Tensor
    correlation: Tensor
    selected_bitstream_length: int
    selected_encoding: str
    selected_correlation: float
    selected_task_loss: float
    rounding_cost: float
    saturated_share: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Layer:
    """The tensors of one call, checked."""

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    bias: Tensor

    def error(self, mean: Tensor) -> Tensor:
        return mean + self.bias - self.targets


def _checked_layer(inputs: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> _Layer:
    named = {"inputs": inputs, "targets": targets, "weight": weight}
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor) or tensor.dim() != 2 or not tensor.is_floating_point() or not tensor.numel():
            got = f"{tensor.dtype} {list(tensor.shape)}" if isinstance(tensor, Tensor) else repr(tensor)
            raise ShapeError(f"expected {name} as a non-empty floating-point matrix, got {got}")
        if not bool(torch.isfinite(tensor).all()):
            raise RangeError(f"expected finite {name}, got NaN or infinity; clean the data or lower the learning rate")
    if weight.shape[1] != inputs.shape[1] or targets.shape != (inputs.shape[0], weight.shape[0]):
        raise ShapeError(
            "expected inputs [B, I], weight [O, I], targets [B, O], got "
            f"{list(inputs.shape)}, {list(weight.shape)}, {list(targets.shape)}"
        )
    if bias is None:
        bias = weight.new_zeros(weight.shape[0])
    if bias.shape != (weight.shape[0],) or not bool(torch.isfinite(bias).all()):
        raise ShapeError(f"expected a finite bias [{weight.shape[0]}], got {list(bias.shape)}")
    return _Layer(inputs, targets, weight, bias)


def _check_logits(name: str, logits: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != shape or not logits.is_floating_point():
        got = list(logits.shape) if isinstance(logits, Tensor) else repr(logits)
        raise ShapeError(f"expected {name} as a floating-point tensor of shape {list(shape)}, got {got}")
    if not bool(torch.isfinite(logits).all()):
        raise RangeError(f"expected finite {name}, got NaN or infinity; lower the learning rate")


# loss(e, L) for every candidate: the value is a scalar tensor, the gradient is the estimator's
_DesignLoss = Callable[[str, int, Tensor], Tensor]


def _closed_form(layer: _Layer, encoding: str, length: int, correlation: Tensor) -> Tensor:
    """``mean[(mu + b - target)^2 + V / L]``: exact for ideal independent bits."""
    mean = dense_mean(layer.inputs, layer.weight, encoding, correlation)
    variance = dense_variance(layer.inputs, layer.weight, encoding, correlation)
    return (layer.error(mean) ** 2 + variance / length).mean()


def _bit_true_loss(config: DifferentiableSCConfig, layer: _Layer, encoding: str, length: int, c: Tensor) -> Tensor:
    """The squared error of the integers the streams really count, with the relaxed layer's gradient."""
    n = config.precision_bits
    one = float(1 << n)
    raw = round(float(c.detach()) * one)
    sources = config_sources(config, length)
    activation, weight, selector = (
        torch.from_numpy(source.sequence(length))
        for source in (sources.activation, sources.weight, sources.correlation)
    )
    k_x, k_w = (
        encode((value.detach().double().clamp(-1.0, 1.0) * one).round().long(), encoding, n)
        for value in (layer.inputs, layer.weight)
    )
    total = stream_sum(k_x, k_w, activation, mix_numbers(activation, weight, selector, raw, n), encoding)
    soft = dense_mean(layer.inputs, layer.weight, encoding, c)
    hard = total.to(soft.dtype) / length
    return (layer.error(soft + (hard - soft).detach()) ** 2).mean()


def _sampled_loss(
    config: DifferentiableSCConfig, samples: int, generator: torch.Generator
) -> Callable[[_Layer, str, int, Tensor], Tensor]:
    """The closed form's value with the gradient of the configured estimator, over the bits of all products."""
    estimator = make_estimator(config.estimator)

    def loss(layer: _Layer, encoding: str, length: int, c: Tensor) -> Tensor:
        mean = product_mean(layer.inputs[:, None, :], layer.weight[None, :, :], encoding, c)
        share = (mean + 1) / 2 if encoding == "bipolar" else mean.abs()  # probability of a one, [B, O, I]
        if share.numel() * length > _MAX_SAMPLED_BITS:
            raise RangeError(
                f"expected at most {_MAX_SAMPLED_BITS} product bits for {config.estimator}, got "
                f"{share.numel() * length}; use pathwise_relaxation or straight_through for a layer of this size"
            )
        logits = torch.logit(share.clamp(_CERTAIN, 1 - _CERTAIN))[..., None].expand(*share.shape, length)
        sign, error = torch.sign(mean.detach()), layer.error(torch.zeros((), dtype=mean.dtype)).detach()

        def squared_error(bits: Tensor) -> Tensor:
            ones = bits.reshape(*bits.shape[:-1], *logits.shape).mean(-1)
            value = 2 * ones - 1 if encoding == "bipolar" else sign * ones
            return torch.mean((value.sum(-1) + error) ** 2, dim=(-1, -2))

        estimate = estimator.estimate(squared_error, logits.flatten(), samples=samples, generator=generator).mean(0)
        # value and bias gradient in closed form; the bits' gradient enters through their logits
        frozen = replace(layer, inputs=layer.inputs.detach(), weight=layer.weight.detach())
        surrogate = (estimate.view(logits.shape) * (logits - logits.detach())).sum()
        return _closed_form(frozen, encoding, length, c.detach()) + surrogate

    return loss


def _design_loss(
    config: DifferentiableSCConfig, layer: _Layer, samples: int, generator: torch.Generator | None
) -> _DesignLoss:
    if config.estimator == "pathwise_relaxation":
        return lambda encoding, length, c: _closed_form(layer, encoding, length, c)
    if config.estimator == "straight_through":
        return lambda encoding, length, c: _bit_true_loss(config, layer, encoding, length, c)
    if generator is None:
        seed = derive_seed(config.input_seed, "joint objective", config.weight_seed)
        generator = torch.Generator(device=layer.inputs.device).manual_seed(seed)
    sampled = _sampled_loss(config, samples, generator)
    return lambda encoding, length, c: sampled(layer, encoding, length, c)


def stochastic_backprop_joint_objective(
    inputs: Tensor,
    targets: Tensor,
    *,
    weight: Tensor,
    bias: Tensor | None = None,
    length_logits: Tensor,
    encoding_logits: Tensor,
    correlation_logit: Tensor,
    base_config: DifferentiableSCConfig,
    design_space: SCBackpropDesignSpace,
    objective_config: SCTrainingObjectiveConfig | None = None,
    generator: torch.Generator | None = None,
) -> SCJointObjectiveReport:
    """Evaluate the joint objective of one dense layer; see the module's text for the equation.

    Args:
        inputs: activations ``[B, I]``, meant for [-1, 1]; what an encoding cannot represent saturates there.
        targets: ``[B, O]``.
        weight: ``[O, I]``, meant for [-1, 1].
        bias: ``[O]``, or ``None`` for zeros.
        length_logits: ``[K]``, one per candidate length.
        encoding_logits: ``[E]``, one per candidate encoding.
        correlation_logit: scalar.
        base_config: number sources, seeds, precision and estimator; its length, encoding and correlation are
            replaced by the trained ones.  ``pathwise_relaxation`` differentiates the closed form,
            ``straight_through`` runs the bit-true streams forward; every other estimator samples product bits and
            its estimate replaces the gradient with respect to inputs, weight and correlation.
        design_space: the candidates.
        objective_config: weights of the cost terms; none if ``None``.
        generator: random bits of a sampled estimator; derived from the seeds of ``base_config`` if ``None``.

    Returns:
        The report; ``report.breakdown.total.backward()`` trains everything.

    Raises:
        ShapeError: shapes that do not fit.
        RangeError: NaN or infinity, or too many bits for a sampled estimator.
    """
    layer = _checked_layer(inputs, targets, weight, bias)
    objective = objective_config if objective_config is not None else SCTrainingObjectiveConfig()
    lengths, encodings = design_space.bitstream_lengths, design_space.encodings
    _check_logits("length_logits", length_logits, (len(lengths),))
    _check_logits("encoding_logits", encoding_logits, (len(encodings),))
    _check_logits("correlation_logit", correlation_logit, ())

    p_length, p_encoding = torch.softmax(length_logits, 0), torch.softmax(encoding_logits, 0)
    low, high = design_space.min_correlation, design_space.max_correlation
    correlation = (low + high) / 2 + (high - low) / 2 * torch.tanh(correlation_logit)

    design_loss = _design_loss(base_config, layer, objective.estimator_samples, generator)
    losses = torch.stack(
        [torch.stack([design_loss(encoding, length, correlation) for length in lengths]) for encoding in encodings]
    )
    task = p_encoding.to(losses) @ losses @ p_length.to(losses)
    means = torch.stack([dense_mean(inputs, weight, encoding, correlation) for encoding in encodings])
    prediction = torch.tensordot(p_encoding.to(means), means, 1) + layer.bias

    one = 1 << base_config.precision_bits
    quantised = round(float(correlation.detach()) * one) / one
    chosen_length, chosen_encoding = int(length_logits.detach().argmax()), int(encoding_logits.detach().argmax())
    selected = replace(
        base_config,
        bitstream_length=lengths[chosen_length],
        encoding=encodings[chosen_encoding],
        correlation=quantised,
    )
    with torch.no_grad():
        rounded = torch.tensor(quantised, dtype=losses.dtype)
        selected_task = _selected_loss(base_config, layer, selected, rounded)
    cycles = torch.tensor(lengths, dtype=p_length.dtype)
    expected_length = (p_length * cycles).sum()
    breakdown = _breakdown(
        objective,
        task,
        expected_length / cycles.max(),
        correlation,
        p_length,
        p_encoding,
        layer,
        design_space,
        base_config.precision_bits,
    )
    return SCJointObjectiveReport(
        prediction=prediction,
        breakdown=breakdown,
        selected_config=selected,
        length_probabilities=p_length,
        encoding_probabilities=p_encoding,
        expected_bitstream_length=expected_length,
        correlation=correlation,
        selected_bitstream_length=selected.bitstream_length,
        selected_encoding=selected.encoding,
        selected_correlation=selected.correlation,
        selected_task_loss=selected_task,
        rounding_cost=selected_task - float(task.detach()),
        saturated_share={encoding: _saturated_share(layer, encoding) for encoding in encodings},
    )


def _selected_loss(
    base: DifferentiableSCConfig, layer: _Layer, selected: DifferentiableSCConfig, correlation: Tensor
) -> float:
    """The task loss of the discrete design, in the same terms as the mixture's."""
    if base.estimator == "straight_through":
        return float(_bit_true_loss(base, layer, selected.encoding, selected.bitstream_length, correlation))
    return float(_closed_form(layer, selected.encoding, selected.bitstream_length, correlation))


def _saturated_share(layer: _Layer, encoding: str) -> float:
    values = torch.cat([layer.inputs.detach().flatten(), layer.weight.detach().flatten()])
    return float((saturate(values, encoding) != values).double().mean())


def _breakdown(
    objective: SCTrainingObjectiveConfig,
    task: Tensor,
    relative_length: Tensor,
    correlation: Tensor,
    p_length: Tensor,
    p_encoding: Tensor,
    layer: _Layer,
    space: SCBackpropDesignSpace,
    precision_bits: int,
) -> SCObjectiveBreakdown:
    outputs, inputs = layer.weight.shape
    cheapest = min(LUT_PER_PRODUCT.values())
    excess = torch.tensor([LUT_PER_PRODUCT[e] / cheapest - 1 for e in space.encodings], dtype=p_encoding.dtype)
    correlated = space.min_correlation != 0 or space.max_correlation != 0
    area_time = torch.tensor(
        area_time_table(
            inputs,
            outputs,
            space.encodings,
            space.bitstream_lengths,
            correlated=correlated,
            precision_bits=precision_bits,
            model=objective.resource_model,
        ),
        dtype=p_length.dtype,
    )
    length_cost = objective.length_cost_weight * relative_length
    correlation_cost = objective.correlation_cost_weight * correlation**2
    encoding_cost = objective.encoding_cost_weight * (p_encoding * excess).sum()
    resource_cost = objective.resource_cost_weight * (p_encoding @ area_time @ p_length) / area_time.max()
    total = task + length_cost + correlation_cost + encoding_cost + resource_cost
    return SCObjectiveBreakdown(task, length_cost, correlation_cost, encoding_cost, resource_cost, total)
