"""``leave_one_out``: the score function with the mean of the other draws as baseline.

Equation, for a group of K independent draws ``z^1 .. z^K``::

    g = 1/K sum_k (f(z^k) - 1/(K-1) sum_{j != k} f(z^j)) (z^k - p)

One row is one group, so rows are independent.  The baseline is independent of the draw it serves: unbiased for
every loss.  With K = 2 it is ``(f(z^1) - f(z^2)) (z^1 - z^2) / 2``.

Reference: Kool, van Hoof, Welling, *Buy 4 REINFORCE samples, get a baseline for free!*, ICLR workshop 2019;
Mnih and Rezende, *VIMCO*, ICML 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop._checks import check_integer
from bitprop.training.sc_estimators._estimator import ESTIMATORS, AbstractEstimator, Loss, evaluate_loss, uniform

__all__ = ["LeaveOneOut"]


@ESTIMATORS.register("leave_one_out")
@dataclass(frozen=True, slots=True)
class LeaveOneOut(AbstractEstimator):
    """Score function with a leave-one-out baseline over a group of ``group`` draws.

    Attributes:
        group: K, draws per row, 2 .. 1024.

    Raises:
        RangeError: group out of range.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> LeaveOneOut().estimate(lambda z: 3.0 * z[..., 0], torch.zeros(1), samples=3, generator=generator).tolist()
        [[1.5], [0.0], [1.5]]
    """

    group: int = 2

    name: ClassVar[str] = "leave_one_out"
    target: ClassVar[str] = "d/dlogits E[f(z)]"
    unbiased: ClassVar[bool] = True
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = False
    variance_law: ClassVar[str] = "1: the score's L meets differences of the loss that shrink like 1/L"
    variance_exponent: ClassVar[float | None] = 0.0
    reference: ClassVar[str] = "Kool, van Hoof and Welling 2019; Mnih and Rezende 2016"

    def __post_init__(self) -> None:
        check_integer("group", self.group, 2, 1024)

    @property
    def evaluations(self) -> int:
        return self.group

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(logits)
        draws = uniform(logits, samples * self.group, generator).view(samples, self.group, -1)
        bits = (draws < p).to(logits.dtype)
        values = evaluate_loss(loss, bits)
        # f_k less the mean of the others = K / (K - 1) times f_k less the mean of all
        advantage = (values - values.mean(dim=1, keepdim=True)) * (self.group / (self.group - 1))
        return (advantage.unsqueeze(-1) * (bits - p)).mean(dim=1)
