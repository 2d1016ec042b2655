"""One layer's thresholds, and the ways to its sums."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from bitprop import kernels
from bitprop.nn import bit_true
from bitprop.nn.sources import layer_sources
from bitprop.streams import product_count_table

BITS = 8
SHAPE = (64, 128, 784)
LENGTHS = (8, 16, 32, 64, 128, 255, 256, 512, 1024)


class Problem:
    """Random signed thresholds of one shape, and the ways to their sums."""

    # the reference's sums by shape and length: it is slow, and the same for every level
    _expected: ClassVar[dict[tuple[int, ...], torch.Tensor]] = {}

    def __init__(self, samples: int, outputs: int, inputs: int, length: int) -> None:
        self.size = samples, outputs, inputs, length
        generator = torch.Generator().manual_seed(0)
        one = 1 << BITS
        self.x = torch.rand(samples, inputs, generator=generator)
        self.w = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * 0.6
        self.k_x, self.k_w = (self.x * one).round().int(), (self.w * one).round().int()
        sources = layer_sources("sobol", length, BITS, 0, "independent")
        self.r, self.q = sources.activation.sequence(length), sources.weight.sequence(length)
        module = kernels.extension()
        start = time.perf_counter()
        self.table = module.CountTable(self.r, self.q, BITS)
        self.packed = module.PackedWeights(self.table, self.k_w.numpy())
        self.out = torch.empty(samples, outputs, dtype=torch.int64)
        self.dense()
        self.first_call = time.perf_counter() - start

    def gemm(self) -> torch.Tensor:
        return self.x @ self.w.t()

    def dense(self) -> torch.Tensor:
        module = kernels.extension()
        module.dense(self.packed, self.k_x.numpy(), False, self.out.numpy(), torch.get_num_threads())
        return self.out

    def dense_unpacked(self) -> torch.Tensor:
        module = kernels.extension()
        packed = module.PackedWeights(self.table, self.k_w.numpy())
        module.dense(packed, self.k_x.numpy(), False, self.out.numpy(), torch.get_num_threads())
        return self.out

    def reference(self) -> torch.Tensor:
        zeros = torch.zeros_like(self.k_x, dtype=torch.int64)
        k_w = self.k_w.long()
        sides = (self.k_x.long(), zeros), (k_w.abs(), (k_w < 0).long())
        return bit_true.stream_sum(*sides, torch.from_numpy(self.r), torch.from_numpy(self.q), "sign_magnitude")

    def gather(self) -> torch.Tensor:
        """A table gather in torch, one sample at a time."""
        table = torch.from_numpy(product_count_table(self.r, self.q, BITS)).to(torch.int32).flatten()
        sign, columns = torch.sign(self.k_w), self.k_w.abs()
        rows = self.k_x * ((1 << BITS) + 1)
        return torch.stack([(table[row + columns] * sign).sum(1) for row in rows])

    def numpy(self) -> torch.Tensor:
        """The same in NumPy."""
        table = product_count_table(self.r, self.q, BITS).astype(np.int32)
        w = self.k_w.numpy()
        return torch.from_numpy(np.stack([(table[k, abs(w)] * np.sign(w)).sum(1) for k in self.k_x.numpy()]))

    def check(self, names: Sequence[str]) -> None:
        if self.size not in self._expected:
            self._expected[self.size] = self.reference()
        expected = self._expected[self.size]
        for name in names:
            if not torch.equal(getattr(self, name)().to(torch.int64), expected):
                raise SystemExit(f"expected equal integers from {name}, got others; no time is worth reading")
