"""All benchmarks in turn, then ``benchmarks/README.md`` and the tables of README.md and of six pages in docs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import baseline
import bit_true_kernels
import budget
import digits
import fashion_mnist
import folded
import parts
import spiking
import spiking_kernels
import trade
import verification
from _common import RESULTS

from bitprop.artifacts import write_text

HERE = Path(__file__).parent
SCRIPTS = (
    "digits",
    "fashion_mnist",
    "trade",
    "spiking",
    "spiking_kernels",
    "bit_true_kernels",
    "verification",
    "folded",
    "parts",
    "baseline",
    "budget",
)

TEMPLATE = """# Benchmarks

`make bench` runs everything and writes this page; each script also runs alone (`python benchmarks/digits.py --help`).
Accuracies are of the integers the hardware computes. Fashion-MNIST comes from Debian's `dataset-fashion-mnist`, or the
folder in `FASHION_MNIST_DIR`.

{machine}

## Digits, 64-32-10

{digits}
## Fashion-MNIST, 784-128-10

60,000 training and 10,000 test images, {epochs} epochs each, three seeds: mean and sample standard deviation. Mean
length is weighted by products, (100352 L1 + 1280 L2) / 101632. "Points to float" compares with the same network
(weights in [-1, 1], one gain a layer, clipped activation) trained in float with the same epochs, batches, optimiser
and averaging; *float ReLU* is an ordinary perceptron of the same size. *Pathwise only* trains on expectations and is
then run bit-true; *converted* scales the ReLU perceptron's weights after training. The bars are the losses aimed at.
Settings (learning rate, decay, layout of the sources, dither) were chosen on a part of the training images, and in an
early search on test images; the optimiser's serve every row. The network of mean length 16 multiplies, with its
activation levels dithered in the first epochs; the shorter ones overlap their streams in the first layer (layout
`aligned`).

{fashion_mnist}
## The trade

A higher price of length gives shorter streams. *Chosen* designs come from one joint training per price; *uniform* ones
have one length in both layers and are trained for it with the same number of epochs. The last column compares with the
best uniform design up to the next trained length above.

![Accuracy against mean stream length](results/trade.svg)

{trade}

## Spiking networks

Fashion-MNIST 784-256-10 over 25 time steps, {spiking_epochs} epochs; Yin-Yang 4-120-3 over 30, with 20,000 generated
points and with 5,000; leaky integrate-and-fire, arc-tangent surrogate, constant input currents, and a perceptron of the
same widths with the same order of samples and number of updates. Test data are used once. Differences are paired over
three seeds, with 95% intervals by Student's t; three seeds are few, and an interval that touches zero decides nothing.

{spiking}

## Spiking kernels

{spiking_kernels_machine} Native kernels, {spiking_kernels_level}. A training step (forward, cross-entropy, backward,
plain SGD) of 784-H-10, batch 128, spike trains as input, beside other frameworks with the same weights, constants and
reset, in one process and in turn. *Products* are the five matrix products of that step alone; *docs/spiking-kernels.md*
says what else a step is made of.

{spiking_kernels}
## Fashion-MNIST on an FPGA, folded

{folded_machine} The network of mean length 8, seed 0, as Verilog, as a netlist, placed and routed; `docs/hardware.md`
says more.

{folded}
## Parts and boards

{parts_machine} The digits network with streams of 8 cycles and the folds of the baseline's; `docs/synthesis.md` says
what the figures mean.

{parts}
## The honest baseline

The same network as quantised multiply-accumulate hardware and as stochastic hardware: as many products a clock cycle,
the same tools, one seed of training and one of placement. What the columns mean is in `docs/baseline.md`.

![Accuracy against area times time](results/baseline.svg)

{baseline}
## Training within a budget

Fashion-MNIST, its first 6,000 training samples; tables and clock are estimates of the cost model. Every design that is
tried gets its weights by {budget_epochs} epochs of the same training, the search's four best by full trainings too;
either side keeps a design by its loss on held-back training samples alone. `docs/synthesis.md` says more.

{budget}
## Bit-true kernels

{bit_true_kernels_machine} Native kernels, {bit_true_kernels_level}. Equal integers are checked before anything is
timed; *docs/kernels.md* says what the figures mean. Two contestants are optional, no part of the set-up:
`pip install --no-deps sc-neurocore sc-neurocore-engine` before the run adds their rows.

{bit_true_kernels}
## Verification

One thread; the same network and the same process for both. Gradcheck is `torch.autograd.gradcheck` in slow mode, on
every parameter; on hard spikes its verdict means nothing, so only its cost is compared.

{verification_machine}

{verification}
"""


README_TEMPLATE = """### Digits, 64-32-10 (the demo)

{digits}
### Fashion-MNIST, 784-128-10

{epochs} epochs, three seeds, all 10,000 test images, against the same network trained in float with the same budget.
Mean length is weighted by products.

{fashion_mnist}
### The trade

![Accuracy against mean stream length](benchmarks/results/trade.svg)

### Spiking networks

Three seeds each; differences to a perceptron of the same widths are paired, with 95% intervals.

{spiking}

### Verification of gradients

A leaky integrate-and-fire network over 25 time steps, one thread.

{verification}

"""


# What the results of a machine without AVX-512 end in: measured there with --output, never by this script.
SECOND = "_avx2"


def stored() -> dict[str, dict[str, Any]]:
    """The results of every benchmark."""
    return {name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in SCRIPTS}


def _put(page: Path, measured: str, name: str = "measured") -> None:
    """A page with what stands between its markers replaced."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        sys.exit(f"expected {begin} and {end} in {page.name}, found only one or none; put them back")
    write_text(page, f"{head}{begin}\n{measured}{end}{tail}")


def readme(results: dict[str, dict[str, Any]]) -> str:
    """The tables of the project README."""
    return README_TEMPLATE.format(
        epochs=results["fashion_mnist"]["epochs"],
        digits=digits.table(results["digits"]),
        fashion_mnist=fashion_mnist.table(results["fashion_mnist"]),
        spiking=spiking.table(results["spiking"]),
        verification=verification.table(results["verification"]),
    )


def _machine(found: dict[str, Any]) -> str:
    return (
        f"Machine: {found['processor']}, {found['cores']} cores, Python {found['python']}, torch {found['torch']}, "
        f"bitprop {found['bitprop']}."
    )


def page(results: dict[str, dict[str, Any]]) -> str:
    """The page of the stored results."""
    return TEMPLATE.format(
        machine=_machine(results["fashion_mnist"]["machine"]),
        epochs=results["fashion_mnist"]["epochs"],
        digits=digits.table(results["digits"]),
        fashion_mnist=fashion_mnist.table(results["fashion_mnist"]),
        trade=trade.table(results["trade"]),
        spiking=spiking.table(results["spiking"]),
        spiking_epochs=results["spiking"]["configuration"]["fashion_mnist"]["epochs"],
        verification=verification.table(results["verification"]),
        spiking_kernels=spiking_kernels.table(results["spiking_kernels"]),
        spiking_kernels_machine=_machine(results["spiking_kernels"]["machine"]),
        spiking_kernels_level=results["spiking_kernels"]["kernels"].removeprefix("native, "),
        folded=folded.table(results["folded"]),
        folded_machine=_machine(results["folded"]["machine"]),
        parts=parts.table(results["parts"]),
        parts_machine=_machine(results["parts"]["machine"]),
        baseline=baseline.table(results["baseline"]),
        budget=budget.table(results["budget"]),
        budget_epochs=budget.EPOCHS,
        bit_true_kernels=bit_true_kernels.table(results["bit_true_kernels"]),
        bit_true_kernels_machine=_machine(results["bit_true_kernels"]["machine"]),
        bit_true_kernels_level=results["bit_true_kernels"]["kernels"].removeprefix("native, "),
        verification_machine=_machine(results["verification"]["machine"]),
    )


def main() -> None:
    """Run what is asked and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(SCRIPTS)}; all of them if none is named")
    parser.add_argument("--page-only", action="store_true", help="write the page of the stored results")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.only) - set(SCRIPTS))
    if unknown:
        parser.error(f"expected benchmarks among {', '.join(SCRIPTS)}, got {', '.join(unknown)}")
    if not arguments.page_only:
        for name in arguments.only or SCRIPTS:
            print(f"== {name}", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True, timeout=4 * 3600)
    results = stored()
    write_text(HERE / "README.md", page(results).rstrip() + "\n")
    project = HERE.parent
    _put(project / "README.md", readme(results))
    _put(project / "docs" / "baseline.md", f"\n{baseline.table(results['baseline'])}\n")
    _put(project / "docs" / "synthesis.md", f"\n{budget.table(results['budget'])}\n")
    _put(project / "docs" / "synthesis.md", f"\n{parts.table(results['parts'])}\n", "parts")
    _put(project / "docs" / "hardware.md", f"\n{folded.table(results['folded'])}\n")
    _put(project / "docs" / "spiking.md", f"\n{spiking.table(results['spiking'])}\n")
    _put(project / "docs" / "kernels.md", f"\n{bit_true_kernels.table(results['bit_true_kernels'])}\n")
    _put(project / "docs" / "spiking-kernels.md", f"\n{spiking_kernels.table(results['spiking_kernels'])}\n")
    for module, name, target in (
        (bit_true_kernels, "bit_true_kernels", "kernels.md"),
        (spiking_kernels, "spiking_kernels", "spiking-kernels.md"),
    ):
        second = json.loads((RESULTS / f"{name}{SECOND}.json").read_text(encoding="utf-8"))
        text = f"\n{_machine(second['machine'])}\n\n{module.summary(second)}\n"
        _put(project / "docs" / target, text, "second machine")


if __name__ == "__main__":
    main()
