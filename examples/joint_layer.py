# ruff: noqa: T201
"""One layer, trained together with its stream length, encoding and correlation.

A teacher computes with signed weights.  The student starts with a preference for the encoding that cannot represent
them and for the longest stream.  The joint objective moves both, and the price of length decides how far.

    python examples/joint_layer.py
"""

from __future__ import annotations

import torch

from bitprop.training.sc_estimators import DifferentiableSCConfig
from bitprop.training.stochastic_backprop import (
    SCBackpropDesignSpace,
    SCJointObjectiveReport,
    SCTrainingObjectiveConfig,
    stochastic_backprop_joint_objective,
)

SPACE = SCBackpropDesignSpace(bitstream_lengths=(16, 64, 256), encodings=("unipolar", "sign_magnitude"))


def train(length_price: float, steps: int = 200) -> SCJointObjectiveReport:
    """Gradient descent on weights and design; the report of the last step."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(64, 6, generator=generator) * 2 - 1
    teacher = torch.rand(2, 6, generator=generator) * 1.6 - 0.8
    targets = inputs @ teacher.t()

    weight = torch.zeros(2, 6, requires_grad=True)
    length_logits = torch.tensor([0.0, 0.0, 1.0], requires_grad=True)
    encoding_logits = torch.tensor([1.0, 0.0], requires_grad=True)
    correlation_logit = torch.tensor(0.3, requires_grad=True)
    variables = [weight, length_logits, encoding_logits, correlation_logit]
    optimizer = torch.optim.Adam(variables, lr=0.04)
    for _ in range(steps):
        report = stochastic_backprop_joint_objective(
            inputs,
            targets,
            weight=weight,
            length_logits=length_logits,
            encoding_logits=encoding_logits,
            correlation_logit=correlation_logit,
            base_config=DifferentiableSCConfig(bitstream_length=64),
            design_space=SPACE,
            objective_config=SCTrainingObjectiveConfig(length_cost_weight=length_price),
        )
        optimizer.zero_grad()
        report.breakdown.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            weight.clamp_(-1.0, 1.0)
    return report


def main() -> None:
    """One line for each price of length."""
    torch.set_num_threads(1)  # the tensors are small
    print(f"{'price':>6} {'L':>4} {'encoding':>15} {'correlation':>12} {'task loss':>10} {'rounding':>9}")
    for price in (0.0, 0.02, 1.0):
        report = train(price)
        print(
            f"{price:6.2f} {report.selected_bitstream_length:4d} {report.selected_encoding:>15} "
            f"{report.selected_correlation:+12.3f} {report.selected_task_loss:10.4f} {report.rounding_cost:+9.4f}"
        )


if __name__ == "__main__":
    main()
