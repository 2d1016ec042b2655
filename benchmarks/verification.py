"""How long verification takes: the quick suite, and the tangent replay beside ``torch.autograd.gradcheck``.

The same hard spiking network, T = 25, in the same process: slow gradcheck, which perturbs every parameter twice,
against one tangent replay, which tests all of them at once.  On a hard network gradcheck cannot tell right from wrong,
its numerical derivatives being zero; what is compared is what the two cost.  Both run on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from _common import benchmark, markdown
from torch import Tensor, nn
from torch.nn import functional

from bitprop.nn import SpikingNetwork
from bitprop.surrogate import FastSigmoid
from bitprop.verification.claim import Claim
from bitprop.verification.replay import check_tangent_replay
from bitprop.verification.suite import verify

SIZES = {"2k": (30, 50, 8), "50k": (60, 700, 8)}
STEPS, BATCH = 25, 8
BARS = {"2k": 400, "50k": 5000}
CLAIM = Claim(surrogate="fast_sigmoid", scale=25.0, reset="attached")


class LIFNet(nn.Module):
    """Two leaky integrate-and-fire layers in a plain loop: what a user would write."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(*widths[:2]), nn.Linear(*widths[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Spike counts of the second layer."""
        u = torch.zeros(x.shape[1], self.enter.out_features, dtype=x.dtype)
        v = torch.zeros(x.shape[1], self.leave.out_features, dtype=x.dtype)
        total = torch.zeros_like(v)
        for x_t in x:
            u = 0.9 * u + self.enter(x_t)
            s = FastSigmoid.apply(u - 1.0)
            u = u - s
            v = 0.9 * v + self.leave(s)
            z = FastSigmoid.apply(v - 1.0)
            v = v - z
            total = total + z
        return total


def _problem(widths: tuple[int, int, int]) -> tuple[nn.Module, Tensor, Tensor]:
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = LIFNet(widths).double()
    torch.set_rng_state(state)
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(STEPS, BATCH, widths[0], generator=generator, dtype=torch.float64)
    return model, x, torch.randint(0, widths[2], (BATCH,), generator=generator)


def _median(function: Callable[[], object], repeats: int) -> float:
    function()  # warms up
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _gradcheck(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Seconds of one slow gradcheck of the loss with respect to every parameter."""
    names = [name for name, _ in model.named_parameters()]
    values = [p.detach().clone().requires_grad_(True) for _, p in model.named_parameters()]

    def loss(*parameters: Tensor) -> Tensor:
        output = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,))
        return functional.cross_entropy(output, y)

    start = time.perf_counter()
    torch.autograd.gradcheck(loss, values, fast_mode=False, raise_exception=False)
    return time.perf_counter() - start


def measure(size: str, repeats: int) -> dict[str, Any]:
    """Replay and gradcheck of one size."""
    model, x, y = _problem(SIZES[size])

    def replay() -> object:
        result = check_tangent_replay(model, x, y, functional.cross_entropy, claim=CLAIM)
        if result.status != "PASS":
            raise RuntimeError(result.to_text())
        return result

    replayed = _median(replay, repeats)
    checked = _gradcheck(model, x, y)
    return {
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "replay_seconds": replayed,
        "gradcheck_seconds": checked,
        "ratio": checked / replayed,
        "bar": BARS[size],
    }


def quick_suite(repeats: int) -> dict[str, Any]:
    """The quick suite on a network of this package, constant input."""
    net = SpikingNetwork((30, 50, 10), steps=STEPS, seed=0)
    x = 3 * torch.rand(BATCH, 30, generator=torch.Generator().manual_seed(2))
    y = torch.arange(BATCH) % 10

    def run() -> None:
        report = verify(net, x, y, lambda out, t: functional.cross_entropy(out.logits, t), claim=CLAIM)
        if report.status != "PASS":
            raise RuntimeError(report.to_text())

    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "first_seconds": first,
        "median_seconds": _median(run, repeats),
        "bar": 2.0,
    }


def table(results: dict[str, Any]) -> str:
    """Seconds and ratios."""
    quick = results["quick"]
    rows = [
        [
            f"replay, {run['parameters']:,} parameters",
            f"{1000 * run['replay_seconds']:.1f} ms",
            f"{run['gradcheck_seconds']:.1f} s",
            f"{run['ratio']:,.0f} x",
            f"{run['bar']:,} x: {'reached' if run['ratio'] >= run['bar'] else 'not reached'}",
        ]
        for run in results["replay"]
    ]
    reached = "reached" if quick["first_seconds"] < quick["bar"] else "not reached"
    rows.append(
        [
            f"quick suite, {quick['parameters']:,} parameters",
            f"{1000 * quick['median_seconds']:.0f} ms (first call {1000 * quick['first_seconds']:.0f} ms)",
            "",
            "",
            f"2 s: {reached}",
        ]
    )
    return markdown(["check", "bitprop", "slow gradcheck", "ratio", "bar"], rows)


def results_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    torch.set_num_threads(1)
    return {
        "quick": quick_suite(arguments.repeats),
        "replay": [measure(size, arguments.repeats) for size in arguments.sizes],
    }


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="replays timed; the median counts")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES), help="networks to check")
    benchmark(parser, "verification", results_of, table)


if __name__ == "__main__":
    main()
