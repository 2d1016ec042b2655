"""What a network's design costs in the joint phase: cycles, correlation, and hardware by the fitted model.

    length_cost E[mean length] / max L  +  correlation_cost sum_l c_l**2
      + resource_cost sum_l E[A_l (L_l + 2)] / sum_l max A_l (L_l + 2)

with A_l the LUT4 of layer l, every product in parallel (:mod:`bitprop.training.resource`), and the expectations over
the mixture of candidate designs, so that every term is differentiable in the design's logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitprop.nn import SCNetwork
from bitprop.training.config import TrainingConfig
from bitprop.training.resource import area_time_table

__all__ = ["DesignCosts"]


class DesignCosts:
    """The costs of a network's design.

    Args:
        network: with its candidates.
        settings: the weights of the costs.

    Example:
        >>> network = SCNetwork((8, 4, 2), lengths=(4, 8))
        >>> bool(DesignCosts(network, TrainingConfig(length_cost=0.0, resource_cost=2.0))(network) < 2)
        True
    """

    def __init__(self, network: SCNetwork, settings: TrainingConfig) -> None:
        self._settings = settings
        layers = network.sc_layers()
        self._longest = max(layer.design.lengths[-1] for layer in layers)
        self._tables: list[Tensor] = []
        if settings.resource_cost:
            tables = [
                torch.tensor(
                    area_time_table(
                        layer.in_features,
                        layer.out_features,
                        layer.design.encodings,
                        layer.design.lengths,
                        correlated=layer.design.correlation_range != (0.0, 0.0),
                        hidden=index < len(layers) - 1,
                        precision_bits=network.precision_bits,
                        model=settings.resource_model,
                    )
                )
                for index, layer in enumerate(layers)
            ]
            largest = sum(float(table.max()) for table in tables)
            self._tables = [table / largest for table in tables]

    def resources(self, network: SCNetwork) -> Tensor:
        """Expected LUT4 x cycles of all layers, relative to the costliest candidates; 0 without a price on them."""
        total = torch.zeros(())
        for layer, table in zip(network.sc_layers(), self._tables, strict=False):
            p_encoding, p_length = layer.design.encoding_probabilities(), layer.design.length_probabilities()
            total = total + p_encoding @ table.to(p_encoding.dtype) @ p_length
        return total

    def __call__(self, network: SCNetwork) -> Tensor:
        """What the loss grows by, a scalar."""
        settings = self._settings
        cost = settings.length_cost * network.expected_mean_length() / self._longest
        if settings.correlation_cost:
            squares = torch.stack([layer.design.correlation() ** 2 for layer in network.sc_layers()])
            cost = cost + settings.correlation_cost * squares.sum()
        if self._tables:
            cost = cost + settings.resource_cost * self.resources(network)
        return cost
