# ruff: noqa: T201
"""Two estimators of the same gradient: one keeps its claim, the other lost a factor and is found out.

``check_unbiased`` compares the mean of independent estimates with the gradient that enumeration gives, by a test
with a stated false-alarm probability.

    python examples/check_an_estimator.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitprop.training.sc_estimators import AbstractEstimator, Loss, ScoreFunction, StreamProductLoss, make_estimator
from bitprop.verification.estimators import check_unbiased


@dataclass(frozen=True, slots=True)
class Careless(ScoreFunction):
    """The score function with its baseline taken from the same draw: it shrinks the estimate a little."""

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(logits)
        bits = (torch.rand(samples, 4, logits.numel(), generator=generator, dtype=logits.dtype) < p).to(logits.dtype)
        values = loss(bits)
        # the mean of all four draws, the one it serves included: a factor of 3/4
        advantage = values - values.mean(dim=1, keepdim=True)
        return (advantage.unsqueeze(-1) * (bits - p)).mean(dim=1)


def main() -> None:
    """The verdicts on a correct and on a careless estimator."""
    loss = StreamProductLoss(length=3, encoding="bipolar", target=0.9)
    logits = loss.logits(torch.tensor(0.4, dtype=torch.float64), torch.tensor(-0.6, dtype=torch.float64))
    candidates: list[tuple[str, AbstractEstimator]] = [
        ("leave_one_out of 4", make_estimator("leave_one_out", group=4)),
        ("careless mean of 4", Careless()),
    ]
    for label, estimator in candidates:
        result = check_unbiased(estimator, loss, logits, samples=40_000)
        print(f"{label}: {result.status}, relative bias {result.relative_bias:.2f}")
        print(f"    {result.detail}")


if __name__ == "__main__":
    main()
