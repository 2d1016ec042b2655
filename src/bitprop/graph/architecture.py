"""How a layer's products are laid out in space and time: all at once, or a few a cycle.  No integer depends on it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MAX_LANES", "UNROLLED_CYCLES", "Architecture", "Folded", "Parallel", "fold_problem", "folded"]

MAX_LANES = 1 << 16
"""Most stream bits of products that one layer makes in a clock cycle."""

UNROLLED_CYCLES = 16
"""Streams up to this length are multiplied whole, in one clock cycle, unless something else is asked for."""


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Parallel(_Model):
    """Every product has its own gate, and one cycle of all streams passes in one clock cycle."""

    kind: Literal["parallel"] = "parallel"


class Folded(_Model):
    """A few products a clock cycle, weights in a memory; contract section 6.

    Attributes:
        inputs_per_cycle: P, products of one neuron in a clock cycle.
        neurons_per_cycle: N, neurons that are computed side by side.
        cycles_per_step: c, stream cycles of a product that pass in one clock cycle.
        values_per_beat: value integers that the layer takes in one beat; a divisor of P, and 1 behind a folded layer.
        pipeline: levels of the adder tree between two registers; 0 for no register in it.
        weights: ``rom``: weights and biases are fixed in the circuit; ``loadable``: they come by a stream of their own.
    """

    kind: Literal["folded"] = "folded"
    inputs_per_cycle: int = Field(ge=1)
    neurons_per_cycle: int = Field(ge=1)
    cycles_per_step: int = Field(ge=1)
    values_per_beat: int = Field(ge=1)
    pipeline: int = Field(default=1, ge=0, le=16)
    weights: Literal["rom", "loadable"] = "rom"


Architecture = Annotated[Parallel | Folded, Field(discriminator="kind")]


def folded(
    inputs_per_cycle: int,
    neurons_per_cycle: int,
    *,
    length: int,
    cycles_per_step: int | None = None,
    values_per_beat: int | None = None,
    pipeline: int = 1,
    weights: Literal["rom", "loadable"] = "rom",
) -> Folded:
    """A folded architecture with the usual choices filled in.

    Args:
        inputs_per_cycle: P.
        neurons_per_cycle: N.
        length: L of the layer.
        cycles_per_step: c; ``None``: all L if that is at most :data:`UNROLLED_CYCLES`, else 1.
        values_per_beat: ``None``: P.
        pipeline: levels of the adder tree between two registers.
        weights: ``rom`` or ``loadable``.

    Example:
        >>> folded(16, 1, length=7).cycles_per_step, folded(16, 1, length=80).cycles_per_step
        (7, 1)
    """
    return Folded(
        inputs_per_cycle=inputs_per_cycle,
        neurons_per_cycle=neurons_per_cycle,
        cycles_per_step=cycles_per_step or (length if length <= UNROLLED_CYCLES else 1),
        values_per_beat=values_per_beat or inputs_per_cycle,
        pipeline=pipeline,
        weights=weights,
    )


def fold_problem(fold: Folded, inputs: int, outputs: int, length: int, *, behind_folded: bool) -> str:
    """Why a fold does not fit its layer, the field first (``.field: expected …``); empty when it fits."""
    for key, limit, what in (
        ("inputs_per_cycle", inputs, "in_features"),
        ("neurons_per_cycle", outputs, "out_features"),
        ("cycles_per_step", length, "length"),
    ):
        if getattr(fold, key) > limit:
            return f".{key}: expected at most {limit} ({what}), got {getattr(fold, key)}; lower it"
    lanes = fold.inputs_per_cycle * fold.neurons_per_cycle * fold.cycles_per_step
    if lanes > MAX_LANES:
        return f": expected at most {MAX_LANES} bits of products a cycle, got {lanes}; lower one of the three"
    if behind_folded and fold.values_per_beat != 1:
        return f".values_per_beat: expected 1 behind a folded layer, got {fold.values_per_beat}; set it to 1"
    if fold.inputs_per_cycle % fold.values_per_beat:
        return (
            f".values_per_beat: expected a divisor of inputs_per_cycle ({fold.inputs_per_cycle}), got "
            f"{fold.values_per_beat}; choose one"
        )
    return ""
