"""A spiking training step by the native kernels beside snnTorch, SpikingJelly, Norse, Sinabs and plain torch.

784-H-10 over T steps, batch 128, spike trains ``[T, 128, 784]`` as input; a step is forward, cross-entropy, backward
and plain SGD, torch's fused one for all.  All run in one process, in turn, and medians are compared.  Before anything
is timed, spikes are compared with bitprop's and plain torch's gradients too.  ``products`` are the five matrix products
of the step, with newly allocated results as autograd's are; ``products, kept`` write into the same memory every time.
Peak memory is the high-water mark of a process of its own, less what it held before the first step; every contestant
under ``torch.compile`` has a process and a time limit of its own, and bitprop's eager step beside it.
bitprop leaves zeros of the input out of its products, so that its step is timed with an input without zeros too, beside
plain torch, mostly the fastest peer; no other time depends on what the numbers are.

``--only runs:25:256 first`` measures those parts again and leaves the other results as they are.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, machine, markdown, peak_memory
from _spiking_peers import CONTESTANTS, EXACT, build, gemms
from torch import Tensor, nn
from torch.nn import functional

from bitprop import kernels
from bitprop.artifacts import evidence, read_json, write_json
from bitprop.nn import SpikingNetwork

BATCH = 128
SIZES = ((25, 256), (25, 1024), (100, 256), (100, 1024))
# peers unroll their loop over the steps: compiling 100 of them takes many minutes
COMPILED = ((25, 256), (25, 1024), (100, 256))
AXES = {
    "steps": (12, 25, 50, 100),
    "batch": (32, 64, 128, 256),
    "width": (64, 128, 256, 512),
    "threads": (1, 2),
    "parameters": (64, 128, 256, 512),
}
FULL = ("full, bitprop", "full, plain torch")
BARS = {"products": 1.10, "eager": 1.5, "first": 0.5}
HERE = Path(__file__)


def data(steps: int, batch: int = BATCH, *, full: bool = False) -> tuple[Tensor, Tensor]:
    """Spike trains, 15% of them ones of size 2, and labels; ``full``: currents of that mean without a zero."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(steps, batch, 784, generator=generator)
    x = 0.6 * x + 1e-3 if full else 2.0 * (x < 0.15).float()
    return x, torch.randint(0, 10, (batch,), generator=generator)


def training_step(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """One step, to call again and again; the learning rate is zero so that every call is the same."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0, fused=True)

    def step() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        output = model(x)
        loss = functional.cross_entropy(getattr(output, "logits", output), y)
        loss.backward()
        optimiser.step()
        return loss

    return step


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, all in turn in every round.

    On one thread they are seconds of the processor, which other work on the machine disturbs less than the clock.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            taken[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


def compare(models: dict[str, nn.Module]) -> dict[str, dict[str, Any]]:
    """Spikes and gradients of each after one step, beside bitprop's."""
    own = models["bitprop"]
    found = {}
    for name, model in models.items():
        differ = float((model.spikes != own.spikes).double().mean())  # type: ignore[union-attr]
        row: dict[str, Any] = {"spikes_differing": differ}
        if name in EXACT:
            ours, theirs = (
                torch.cat([p.grad.flatten() for p in m.parameters() if p.grad is not None]) for m in (own, model)
            )
            row["gradient_difference"] = float((ours - theirs).norm() / ours.norm())
        if differ > 5e-3 or row.get("gradient_difference", 0.0) > 1e-5:
            raise RuntimeError(f"{name} does not compute the same network: {row}")
        found[name] = row
    return found


def measure(steps: int, width: int, threads: int, rounds: int) -> dict[str, Any]:
    """Every contestant at one size; small ones in more rounds."""
    torch.set_num_threads(threads)
    x, y = data(steps)
    models = {name: build(name, width, steps) for name in CONTESTANTS}
    calls: dict[str, Callable[[], object]] = {name: training_step(model, x, y) for name, model in models.items()}
    for call in calls.values():
        call()
    equal = compare(models)
    once = SpikingNetwork((784, width, 10), steps=steps, reset_attached=False, seed=0)
    calls = {
        "products": gemms(width, x),
        "products, kept": gemms(width, x, kept=True),
        **calls,
        "constant products": constant_products(width, steps),
        "constant": training_step(once, x[0], y),
    }
    x, y = data(steps, full=True)
    calls |= {name: training_step(build(name.removeprefix("full, "), width, steps), x, y) for name in FULL}
    for name in ("products", "products, kept", "constant products", "constant", *FULL):
        calls[name]()
    often = max(1, 51_200 // (steps * width))
    return {
        "steps": steps,
        "width": width,
        "threads": threads,
        "seconds": interleaved(calls, rounds * often),
        "equal": equal,
    }


def constant_products(width: int, steps: int) -> Callable[[], None]:
    """The products of a constant input: the first layer once."""
    x, _ = data(1)
    first, rest = gemms(width, x), gemms(width, torch.zeros(steps, BATCH, 1))

    def products() -> None:
        first()
        rest()

    return products


def compiled(name: str, steps: int, width: int, rounds: int) -> dict[str, Any]:
    """A contestant under ``torch.compile``: seconds until it has run twice, and of a step, beside bitprop's eager."""
    torch.set_num_threads(1)
    where = {"name": name, "steps": steps, "width": width}
    x, y = data(steps)
    own, model = build("bitprop", width, steps), build(name, width, steps)
    eager, call = training_step(own, x, y), training_step(torch.compile(model), x, y)
    start = time.perf_counter()
    try:
        call()
        call()
    except Exception as error:
        return {**where, "failed": f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"}
    taken = time.perf_counter() - start
    eager()
    differ = float((model.spikes != own.spikes).double().mean())  # type: ignore[union-attr]
    seconds = interleaved({"eager": eager, "compiled": call}, rounds)
    return {**where, "first_seconds": taken, "seconds": seconds, "spikes_differing": differ}


def peak(name: str, steps: int, width: int) -> float:
    """Bytes of resident memory that three steps add, in this process."""
    torch.set_num_threads(1)
    x, y = data(steps)
    step = training_step(build(name, width, steps), x, y)
    small, few = data(2)
    training_step(build(name, 8, 2), small, few)()  # libraries load on the first step
    before = peak_memory()
    for _ in range(3):
        step()
    return float(peak_memory() - before)


def first_call() -> dict[str, float]:
    """Seconds of the first and of a later step in a new process, without imports."""
    torch.set_num_threads(1)
    steps, width = COMPILED[0]
    x, y = data(steps)
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    step = training_step(build("bitprop", width, steps), x, y)
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return {"first": taken[0], "later": min(taken[1:])}


def exponent(points: list[tuple[float, float]]) -> float:
    """Slope of log seconds over log size, by least squares."""
    logs = [(math.log(a), math.log(b)) for a, b in points]
    centre = [statistics.fmean(c) for c in zip(*logs, strict=True)]
    return sum((a - centre[0]) * (b - centre[1]) for a, b in logs) / sum((a - centre[0]) ** 2 for a, _ in logs)


def neurons_alone(here: dict[str, int]) -> Callable[[], object]:
    """The fused neurons forward and back, as a user calls them."""
    net = SpikingNetwork((16, here["width"], 10), reset_attached=False)
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(here["steps"], here["batch"], here["width"], generator=generator).requires_grad_()
    grad = torch.rand(x.shape, generator=generator)
    return lambda: torch.autograd.grad(net.neurons[0](x)[0], x, grad)


def whole_step(width: int, steps: int) -> tuple[int, Callable[[], object]]:
    """A training step of 784-width-10, and how many parameters it has."""
    model = build("bitprop", width, steps)
    return sum(p.numel() for p in model.parameters()), training_step(model, *data(steps))


def scaling(axis: str, rounds: int) -> dict[str, Any]:
    """Seconds along an axis, and how they grow: of a whole step against parameters, else of the neurons alone."""
    base = {"steps": 25, "batch": 128, "width": 256, "threads": 1}
    points = []
    for value in AXES[axis]:
        here = {**base, ("width" if axis == "parameters" else axis): value}
        torch.set_num_threads(here["threads"])
        size, call = whole_step(value, here["steps"]) if axis == "parameters" else (value, neurons_alone(here))
        call()
        points.append((float(size), interleaved({"call": call}, 5 * rounds)["call"]))
    return {"axis": axis, "points": points, "exponent": exponent(points)}


def _runs(results: dict[str, Any]) -> str:
    rows = []
    for run in results["runs"]:
        seconds = run["seconds"]
        own = seconds["bitprop"]
        eager = {name: seconds[name] for name in CONTESTANTS if name != "bitprop"}
        best = min(eager, key=lambda name: eager[name])
        rows.append(
            [
                _size(run),
                f"{1000 * seconds['products']:.1f}",
                f"{1000 * seconds['products, kept']:.1f}",
                f"{1000 * own:.1f}",
                _bar(own / seconds["products"], BARS["products"], most=True),
                *(f"{1000 * value:.1f}" for value in eager.values()),
                f"{_bar(eager[best] / own, BARS['eager'], most=False)} ({best})",
            ]
        )
    names = [name for name in CONTESTANTS if name != "bitprop"]
    return markdown(
        [
            "ms a training step",
            "products",
            "products, kept",
            "bitprop",
            "over products",
            *names,
            "fastest peer over ours",
        ],
        rows,
    )


def _first(first: dict[str, float]) -> str:
    waits = "reached" if first["first"] - first["later"] <= BARS["first"] else "not reached"
    return (
        f"First step in a new process {1000 * first['first']:.0f} ms, later ones {1000 * first['later']:.0f} ms "
        f"(bar: no wait over 0.5 s: {waits}).\n"
    )


def summary(results: dict[str, Any]) -> str:
    """What of a second machine is shown beside the page's own one."""
    return "\n".join([_runs(results), _full(results), _memory(results["memory"]), _first(results["first"])])


def table(results: dict[str, Any]) -> str:
    """Times and ratios, memory, compilation, scaling."""
    text = _runs(results)
    text += "\n" + _full(results) + "\n" + _constant(results)
    if results["memory"]:
        text += "\n" + _memory(results["memory"])
    for steps, width in COMPILED:
        if chosen := [row for row in results["compiled"] if (row["steps"], row["width"]) == (steps, width)]:
            text += "\n" + _compiled(chosen)
    if results["first"]:
        text += "\n" + _first(results["first"])
    rows = [
        [axis, ", ".join(f"{1000 * b:.2f} ({a:.0f})" for a, b in curve["points"]), f"{curve['exponent']:.2f}"]
        for axis, curve in sorted(results["scaling"].items())
    ]
    return text + "\n" + markdown(["neurons alone (parameters: a whole step), against", "ms (at)", "exponent"], rows)


def _memory(found: list[dict[str, Any]]) -> str:
    rows = []
    for row in found:
        taken = row["bytes"]
        least = min(size for name, size in taken.items() if name != "bitprop")
        rows.append(
            [
                f"T = {row['steps']}, 784-{row['width']}-10",
                *(f"{taken[name] / 2**20:.0f}" if name in taken else "" for name in CONTESTANTS),
                "reached" if taken["bitprop"] < least else "not reached",
            ]
        )
    return markdown(["MiB added at the peak of a step", *CONTESTANTS, "bar: below every peer"], rows)


def _compiled(found: list[dict[str, Any]]) -> str:
    rows = []
    ours = next(
        (row["seconds"]["compiled"] for row in found if row["name"] == "bitprop" and "seconds" in row), math.inf
    )
    for row in found:
        if "failed" in row:
            rows.append([row["name"], row["failed"], "", "", ""])
            continue
        seconds = row["seconds"]
        best = min(ours, seconds["eager"])
        verdict = "" if row["name"] == "bitprop" else "reached" if best <= seconds["compiled"] else "not reached"
        rows.append([row["name"], f"{row['first_seconds']:.1f}", f"{1000 * seconds['compiled']:.1f}",
                     f"{1000 * seconds['eager']:.1f}", verdict])  # fmt: skip
    heading = f"torch.compile, T = {found[0]['steps']}, 784-{found[0]['width']}-10, 1 thread"
    return markdown(
        [heading, "s to compile and run twice", "ms a step", "bitprop eager beside it, ms", "bar: bitprop not slower"],
        rows,
    )


def _size(run: dict[str, Any]) -> str:
    return f"T = {run['steps']}, 784-{run['width']}-10, {run['threads']} thread{'s' * (run['threads'] > 1)}"


def _full(results: dict[str, Any]) -> str:
    rows = []
    for run in results["runs"]:
        products, own, peer = (run["seconds"][name] for name in ("products", *FULL))
        rows.append([_size(run), *(f"{1000 * value:.1f}" for value in (products, own)),
                     _bar(own / products, BARS["products"], most=True), f"{1000 * peer:.1f}",
                     _bar(peer / own, BARS["eager"], most=False)])  # fmt: skip
    columns = ["ms a step, input without zeros", "products", "bitprop", "over products", "plain torch", "over ours"]
    return markdown(columns, rows)


def _constant(results: dict[str, Any]) -> str:
    rows = []
    for run in results["runs"]:
        products, own = run["seconds"]["constant products"], run["seconds"]["constant"]
        rows.append([_size(run), f"{1000 * products:.1f}", f"{1000 * own:.1f}", f"{own / products:.2f} x"])
    return markdown(["ms a step, constant input", "products, first layer once", "bitprop", "over products"], rows)


def _bar(ratio: float, bar: float, *, most: bool) -> str:
    reached = ratio <= bar if most else ratio >= bar
    return f"{ratio:.2f} x (bar {bar:g}: {'reached' if reached else 'not reached'})"


def _elsewhere(*arguments: str, timeout: float) -> Any:
    """This script in a process of its own, its JSON."""
    done = subprocess.run(
        [sys.executable, str(HERE), *arguments], check=True, capture_output=True, text=True, timeout=timeout
    )
    return json.loads(done.stdout.splitlines()[-1])


def parts() -> list[str]:
    """Everything that is measured, each in a process of its own."""
    sizes = [f"{steps}:{width}" for steps, width in SIZES]
    return [
        "first",
        *(f"scaling:{axis}" for axis in AXES),
        *(f"runs:{size}:{threads}" for size in sizes for threads in (1, 2)),
        *(f"memory:{size}:{name}" for size in sizes for name in CONTESTANTS),
        *(f"compiled:{steps}:{width}:{name}" for steps, width in COMPILED for name in CONTESTANTS),
    ]


def measure_part(part: str, rounds: int) -> Any:
    """One of :func:`parts`, here."""
    kind, *rest = part.split(":")
    calls: dict[str, Callable[..., Any]] = {
        "first": first_call,
        "scaling": lambda axis: scaling(axis, rounds),
        "runs": lambda steps, width, threads: measure(int(steps), int(width), int(threads), rounds),
        "memory": lambda steps, width, name: peak(name, int(steps), int(width)),
        "compiled": lambda steps, width, name: compiled(name, int(steps), int(width), rounds),
    }
    return calls[kind](*rest)


def put(results: dict[str, Any], part: str, found: Any) -> None:
    """Store what a part gave, in the place of what is there of it."""
    kind, *rest = part.split(":")
    if kind == "first":
        results["first"] = found
    elif kind == "scaling":
        results["scaling"][rest[0]] = {name: found[name] for name in ("points", "exponent")}
    elif kind == "memory":
        steps, width = int(rest[0]), int(rest[1])
        at = next((row for row in results["memory"] if (row["steps"], row["width"]) == (steps, width)), None)
        if at is None:
            results["memory"].append(at := {"steps": steps, "width": width, "bytes": {}})
        at["bytes"][rest[2]] = found
    else:
        keys = ("steps", "width", "threads" if kind == "runs" else "name")
        order = [tuple(row[key] for key in keys) for row in results[kind]]
        here = tuple(found[key] for key in keys)
        if here in order:
            results[kind][order.index(here)] = found
        else:
            results[kind].append(found)


def main() -> None:
    """Measure everything, or some parts, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "spiking_kernels.json", help="results file")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; the median counts")
    parser.add_argument("--compile-timeout", type=float, default=600.0, help="seconds for each contestant to compile")
    parser.add_argument(
        "--only", metavar="PART", nargs="+", default=[], help=f"parts that begin so, e.g. {' '.join(parts()[:3])}"
    )
    parser.add_argument("--table-only", action="store_true", help="print the table of an existing results file")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table_only:
        print(table(read_json(arguments.output)))
        return
    if arguments.part:
        print(json.dumps(measure_part(arguments.part, arguments.rounds)))
        return
    if kernels.extension() is None:
        sys.exit(f"expected native kernels, got none: {kernels.why_not()}")
    unknown = [name for name in arguments.only if not any(part.startswith(name) for part in parts())]
    if unknown:
        parser.error(f"expected beginnings of parts, got {', '.join(unknown)}; parts are {', '.join(parts())}")
    chosen = [part for part in parts() if part.startswith(tuple(arguments.only) or "")]
    results: dict[str, Any] = {"runs": [], "memory": [], "compiled": [], "scaling": {}, "first": {}}
    if arguments.only and arguments.output.is_file():
        results = read_json(arguments.output)
    results |= {
        "schema": "bitprop.benchmark.spiking_kernels",
        "schema_version": "1.1",
        **evidence(),
        "machine": machine(),
        "kernels": kernels.describe(),
    }
    for part in chosen:
        print(f"  {part}", file=sys.stderr, flush=True)
        compiles = part.startswith("compiled")
        try:
            timeout = arguments.compile_timeout if compiles else 900.0
            found = _elsewhere("--rounds", str(arguments.rounds), "--part", part, timeout=timeout)
        except subprocess.TimeoutExpired:
            if not compiles:
                raise
            _, steps, width, name = part.split(":")
            failed = f"not compiled within {arguments.compile_timeout:.0f} s"
            found = {"name": name, "steps": int(steps), "width": int(width), "failed": failed}
        put(results, part, found)
        write_json(arguments.output, results)
    if not arguments.only:
        print(table(results))


if __name__ == "__main__":
    main()
