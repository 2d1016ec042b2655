"""What every check returns: one frozen result with the numbers behind its status, and the report that gathers them.

A status is never a bare boolean, and *nothing was tested* is never a pass:

=============  ==================================================================================================
``PASS``       the claim was tested, and holds to the stated tolerance
``FAIL``       the claim was tested, and does not hold; the result says where and by how much
``VACUOUS``    nothing was tested: a zero gradient, a neuron that never comes near its threshold, no parameters
``ILL_POSED``  there is no truth to compare with, such as a smooth primal of a detached reset
``SKIPPED``    not carried out, with the reason: no claim was given, or a tool is missing
=============  ==================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bitprop.errors import BitpropError, RangeError

__all__ = [
    "STATUSES",
    "GradientVerificationResult",
    "Status",
    "VerificationFailedError",
    "Where",
    "combine_statuses",
    "plain",
]

Status = Literal["PASS", "FAIL", "VACUOUS", "ILL_POSED", "SKIPPED"]
STATUSES: tuple[Status, ...] = ("PASS", "FAIL", "VACUOUS", "ILL_POSED", "SKIPPED")


class VerificationFailedError(BitpropError, AssertionError):
    """A check that had to pass did not; the message is the whole report."""


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: mappings and sequences of numbers, text, booleans and ``None``.

    A number that is not finite becomes its name (``"nan"``, ``"inf"``, ``"-inf"``): a failed check may hold one, and
    JSON has no word for it.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "tolist"):  # tensors and arrays
        return plain(value.tolist())
    return str(value)


@dataclass(frozen=True, slots=True)
class Where:
    """The place of the largest error, as far as it could be narrowed down.

    Attributes:
        tensor: name of the parameter (or ``input``).
        index: coordinate in that tensor.
        module: dotted name of the module in the model.
        line: ``file.py:12``, the source line.
        step: time step, 0 first.
        claimed: derivative that the claim gives there.
        computed: derivative that the model's backward pass gave there.
    """

    tensor: str | None = None
    index: tuple[int, ...] | None = None
    module: str | None = None
    line: str | None = None
    step: int | None = None
    claimed: float | None = None
    computed: float | None = None

    @property
    def ratio(self) -> float | None:
        """computed / claimed; ``None`` where either is unknown or the claim is zero."""
        if self.claimed is None or self.computed is None or self.claimed == 0.0:
            return None
        return self.computed / self.claimed

    def to_dict(self) -> dict[str, Any]:
        """Plain fields and the ratio."""
        values = {item.name: plain(getattr(self, item.name)) for item in fields(self)}
        return {**values, "ratio": plain(self.ratio)}

    def __str__(self) -> str:
        parts = []
        if self.tensor is not None:
            index = "" if self.index is None else "[" + ", ".join(map(str, self.index)) + "]"
            parts.append(f"tensor {self.tensor}{index}")
        if self.module is not None:
            parts.append(f"module {self.module or '(the model itself)'}")
        if self.line is not None:
            parts.append(f"at {self.line}")
        if self.step is not None:
            parts.append(f"time step {self.step}")
        if self.claimed is not None and self.computed is not None:
            ratio = "" if self.ratio is None else f", ratio {self.ratio:.6g}"
            parts.append(f"claimed {self.claimed:.6g}, computed {self.computed:.6g}{ratio}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class GradientVerificationResult:
    """The outcome of one check.

    Attributes:
        name: of the check, such as ``tangent_replay``.
        claim: what was tested, in words.
        status: see the module.
        statistic: what was compared with the tolerance; ``None`` if nothing was.
        tolerance: largest statistic of a pass.
        tolerance_reason: why that tolerance.
        null_error: what the statistic is when nothing is wrong, measured or bounded by rounding.
        smallest_detectable: smallest relative error of the gradient that this run would have found.
        where: place of the largest error.
        maximum_error: largest absolute difference of two derivatives.
        mean_error: mean absolute difference.
        relative_error: norm of the difference over norm of the claim.
        cosine: of the angle between computed and claimed gradient.
        coverage: shares in [0, 1] of what was exercised, by kind (``neurons``, ``parameters``).
        evaluations: forward passes spent.
        seed: of the check's own random directions or draws.
        dtype: of the gradient under test.
        detail: a sentence or a few for a person.
        data: series for the plots, as plain numbers.
        seconds: wall time; not compared.
    """

    name: str
    claim: str
    status: Status
    detail: str
    statistic: float | None = None
    tolerance: float | None = None
    tolerance_reason: str = ""
    null_error: float | None = None
    smallest_detectable: float | None = None
    where: Where = field(default_factory=Where)
    maximum_error: float | None = None
    mean_error: float | None = None
    relative_error: float | None = None
    cosine: float | None = None
    coverage: Mapping[str, float] = field(default_factory=dict)
    evaluations: int = 0
    seed: int = 0
    dtype: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    seconds: float = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise RangeError(f"expected a status among {', '.join(STATUSES)}, got {self.status!r}")

    @property
    def passed(self) -> bool:
        """Whether the status is ``PASS``."""
        return self.status == "PASS"

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, as JSON holds them."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}

    def to_text(self) -> str:
        """A few lines for a person."""
        figures = []
        if self.statistic is not None:
            figures.append(f"statistic {self.statistic:.3g}")
        if self.tolerance is not None:
            figures.append(f"tolerance {self.tolerance:.3g}")
        lines = [f"{self.status:<9} {self.name}" + (f"  ({', '.join(figures)})" if figures else "")]
        lines.append(f"          claim: {self.claim}")
        lines.append(f"          {self.detail}")
        place = str(self.where)
        if place and self.status == "FAIL":
            lines.append(f"          where: {place}")
        return "\n".join(lines)

    def raise_if_failed(self) -> GradientVerificationResult:
        """Return this result, unless its status is ``FAIL``.

        Raises:
            VerificationFailedError: it is.
        """
        if self.status == "FAIL":
            raise VerificationFailedError(self.to_text())
        return self


def combine_statuses(statuses: Iterable[Status]) -> Status:
    """The status of several checks: any ``FAIL`` fails; else any ``VACUOUS`` or ``ILL_POSED`` is what it is; a
    ``SKIPPED`` check says nothing, and checks that were all skipped are ``SKIPPED``.

    Example:
        >>> combine_statuses(["PASS", "SKIPPED"]), combine_statuses(["PASS", "VACUOUS"]), combine_statuses([])
        ('PASS', 'VACUOUS', 'SKIPPED')
    """
    found = set(statuses)
    for status in ("FAIL", "VACUOUS", "ILL_POSED", "PASS"):
        if status in found:
            return status
    return "SKIPPED"
