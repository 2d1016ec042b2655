"""How the times of bit-true layers and of their training steps grow with their sizes."""

from __future__ import annotations

import os

import torch
from _bit_true_problem import LENGTHS, SHAPE, Problem
from _timing import Way, exponent

from bitprop.nn import SCNetwork


def scaling(runs: int) -> dict[str, dict[str, float]]:
    """Fitted exponents of the time against length, batch and width, one thread."""
    torch.set_num_threads(1)
    sizes, lengths = (64, 128, 256, 512), (64, 128, 256, 512, 1024)
    samples, outputs, inputs = SHAPE
    return {
        "length, 64 to 1024": exponent({n: Problem(*SHAPE, n).dense for n in lengths}, runs),
        "batch": exponent({n: Problem(n, outputs, inputs, 256).dense for n in sizes}, runs),
        "width": exponent({n: Problem(samples, n, inputs, 256).dense for n in sizes}, runs),
        "inputs": exponent({n: Problem(samples, outputs, n, 256).dense for n in sizes}, runs),
    }


def step_scaling(runs: int) -> dict[str, dict[str, float]]:
    """Fitted exponents of a training step's time (784-W-10) against batch, width, length and threads.

    Against length with the relaxed slope for all: the local one is another algorithm, for short streams only.
    """
    generator = torch.Generator().manual_seed(0)

    def step_of(batch: int, width: int, lengths: tuple[int, ...], slope: str) -> Way:
        x = torch.rand(batch, 784, generator=generator)
        y = torch.randint(0, 10, (batch,), generator=generator)
        network = SCNetwork((784, width, 10), lengths=lengths, slope=slope)

        def step() -> None:
            network.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()

        return step

    def on_threads(count: int, step: Way) -> Way:
        def with_threads() -> None:
            # a team of other size is made anew, in the turn's first call
            torch.set_num_threads(count)
            step()

        return with_threads

    torch.set_num_threads(1)
    lengths, sizes, single = LENGTHS[:4], (64, 128, 256, 512), (8, 16, 32, 64, 128, 256)
    found = {
        "step: batch": exponent({n: step_of(n, 128, lengths, "local") for n in sizes}, runs),
        "step: width": exponent({n: step_of(128, n, lengths, "local") for n in sizes}, runs),
        "step: length, one for each layer, 8 to 256": exponent(
            {n: step_of(128, 128, (n,), "relaxed") for n in single}, 2 * runs
        ),
    }
    step = step_of(128, 128, lengths, "local")
    if os.cpu_count() != 1:
        found["step: threads, 1 and 2"] = exponent({n: on_threads(n, step) for n in (1, 2)}, runs)
    torch.set_num_threads(1)
    return found
