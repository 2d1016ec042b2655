"""Other weights into a circuit that runs: before the change one network's integers, after it the other's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.artifacts import write_text
from bitprop.errors import ParityError
from bitprop.graph.interpret import check_inputs, run
from bitprop.graph.spec import Document
from bitprop.hdl import load_words
from bitprop.toolchain import simulator_of

__all__ = ["check_reload"]


def check_reload(
    document: Document,
    other: Document,
    rtl_dir: str | os.PathLike[str],
    inputs_raw: npt.ArrayLike,
    *,
    at: int,
    simulator: str = "icarus",
    stall: int = 0,
    timeout: float = 600.0,
) -> int:
    """Run a circuit with one network's weights, load another's while it waits, and go on.

    Args:
        document: the network that the circuit was emitted from and that is loaded first.
        other: the network that is loaded before sample ``at``.
        rtl_dir: folder that :func:`bitprop.hdl.emit` wrote for ``document``.
        inputs_raw: value integers, ``[samples, features]``.
        at: the first sample of the other network.
        simulator: a name in :data:`bitprop.toolchain.SIMULATORS`.
        stall: seed of random pauses; 0: none.
        timeout: seconds for one build or run.

    Returns:
        The number of integers compared: values and logits of every layer that the simulator sees, and decisions.

    Raises:
        NotExportableError: the circuit cannot load the other network.
        ParityError: an integer differs; the message names sample and layer.
        RangeError: no such sample.
        ToolNotFoundError: the simulator is not installed.
        ToolTimeoutError: a build or a run took too long.
        SimulationError: a build failed, or a simulation gave no result.
    """
    inputs = check_inputs(document, inputs_raw)
    check_integer("at", at, 0, len(inputs) - 1)
    words = load_words(other, document)
    chosen = simulator_of(simulator)
    with chosen.compile(Path(rtl_dir), document.name, build_timeout=timeout, run_timeout=timeout) as design:
        for layer, text in words.items():
            write_text(design.folder / f"{document.name}_{layer}_reload.hex", text)
        actual = design.run(inputs, stall=stall, reload_sample=at)
    first, second = run(document, inputs[:at] if at else inputs[:1]), run(other, inputs[at:])
    count = 0
    layers = range(len(document.layers)) if chosen.sees_inside else [len(document.layers) - 1]
    for place, index in enumerate(layers):
        expected = np.concatenate((first.layers[index][:at], second.layers[index]))
        count += _compare(document.layers[index].name, expected, actual.layers[place], at)
    decision = np.concatenate((first.decision[:at], second.decision))
    return count + _compare("the decision", decision, actual.decision, at)


def _compare(what: str, expected: npt.NDArray[np.int64], actual: npt.NDArray[np.int64], at: int) -> int:
    wrong = np.argwhere(expected != actual)
    if len(wrong):
        place = tuple(wrong[0])
        when = "after" if place[0] >= at else "before"
        raise ParityError(
            f"expected {expected[place]} from {what} for sample {place[0]}, {when} the weights were changed, got "
            f"{actual[place]}"
        )
    return int(expected.size)
