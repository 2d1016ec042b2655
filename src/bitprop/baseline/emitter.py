"""A multiply-accumulate document becomes a folder of Verilog, in the style and with the parts of the folded designs.

Same streams in and out, same control, drains, requantisation and decision as a folded stochastic network; what makes
the products differs (``bitprop_mac_neuron.v``), and the activations are stored as they are (``bitprop_mac_buffer.v``).
So a difference in area is a difference of the arithmetic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bitprop.artifacts import write_text
from bitprop.baseline.document import MacDocument, MacLayer
from bitprop.graph.fold import READ_CYCLES, REQUANTISE_CYCLES
from bitprop.graph.timing import GATHER_CYCLES, PLACES
from bitprop.hdl import EmittedDesign
from bitprop.hdl._memory import address_bits, memory_text
from bitprop.hdl._text import LIBRARY, pack, render, signed_literal

__all__ = ["MacPlan", "emit_mac", "generate_mac", "mac_interval", "mac_latency", "mac_plan"]

_ORIGIN = "a multiply-accumulate document"
_STORE_CYCLES = 1  # from a sample's last beat to the cycle in which it can be read
_LIBRARY = (
    "bitprop_fold_register.v",
    "bitprop_fold_delay.v",
    "bitprop_fold_control.v",
    "bitprop_mac_buffer.v",
    "bitprop_fold_tree.v",
    "bitprop_mac_neuron.v",
    "bitprop_fold_drain.v",
    "bitprop_fold_requantise.v",
    "bitprop_fold_decision.v",
)


@dataclass(frozen=True, slots=True)
class MacPlan:
    """A layer in numbers.

    Attributes:
        words: reads of P inputs that make a sample.
        groups: passes of N neurons.
        beats: beats that bring a sample.
        lanes: values in a beat.
        wait: idle cycles after a group, so that N results have left before the next ones come.
        depth: registers from the memories' output to a sum.
        accumulator_bits: of the registers.
        output_cycles: registers between an accumulator's value and what is handed on.
    """

    words: int
    groups: int
    beats: int
    lanes: int
    wait: int
    depth: int
    accumulator_bits: int
    output_cycles: int

    @property
    def run_cycles(self) -> int:
        """Cycles that one sample occupies the layer."""
        return self.groups * (self.words + self.wait)

    def answer_cycles(self, neurons: int) -> int:
        """Cycles from the start of a run to the cycle in which the last value is handed on."""
        last_address = (self.groups - 1) * (self.words + self.wait) + self.words
        return last_address + READ_CYCLES + self.depth + 2 + neurons - 1 + self.output_cycles


def mac_plan(document: MacDocument, index: int) -> MacPlan:
    """The plan of one layer; the first takes P values a beat, the others one."""
    layer = document.layers[index]
    per_cycle, neurons, bits = layer.inputs_per_cycle, layer.neurons_per_cycle, document.bits
    words, tree = layer.in_features // per_cycle, (per_cycle - 1).bit_length()
    lanes = per_cycle if index == 0 else 1
    return MacPlan(
        words=words,
        groups=layer.out_features // neurons,
        beats=layer.in_features // lanes,
        lanes=lanes,
        wait=max(0, neurons - words),
        depth=1 + tree,
        accumulator_bits=max(layer.accumulator_bits(bits), 2 * bits + tree),
        output_cycles=REQUANTISE_CYCLES if layer.shift else 0,
    )


def _plans(document: MacDocument) -> list[tuple[MacPlan, MacLayer]]:
    return [(mac_plan(document, index), layer) for index, layer in enumerate(document.layers)]


def mac_latency(document: MacDocument) -> int:
    """Cycles from the first beat to the decision of a sample that meets an empty circuit."""
    plans = _plans(document)
    total = plans[0][0].beats - 1
    for plan, layer in plans:
        total += _STORE_CYCLES + plan.answer_cycles(layer.neurons_per_cycle)
    return total + GATHER_CYCLES


def mac_interval(document: MacDocument) -> int:
    """Cycles between decisions in the long run, samples back to back: the slowest loop of waiting, rounded up.

    The loops are those of :func:`bitprop.graph.timing.mean_interval`.
    """
    plans = _plans(document)
    first = plans[0][0]
    halves = [2 * first.beats, first.beats - 1 + _STORE_CYCLES + first.run_cycles + 1]
    for index, (plan, layer) in enumerate(plans):
        last = index == len(plans) - 1
        held = GATHER_CYCLES if last else _STORE_CYCLES + plans[index + 1][0].run_cycles
        halves += [2 * (plan.run_cycles + 1), plan.answer_cycles(layer.neurons_per_cycle) + held + 1]
    return -(-max(halves) // PLACES)


def _layer_context(document: MacDocument, index: int) -> dict[str, Any]:
    layer, plan, bits = document.layers[index], mac_plan(document, index), document.bits
    requantised = bool(layer.shift)
    return {
        "network": document.name,
        "origin": _ORIGIN,
        "module": f"{document.name}_{layer.name}",
        "name": layer.name,
        "index": index,
        "before": "in" if index == 0 else f"from_{document.layers[index - 1].name}",
        "inputs": layer.in_features,
        "outputs": layer.out_features,
        "width": bits,
        "places": PLACES,
        "folded": True,
        "fold": SimpleNamespace(values_per_beat=plan.lanes),
        "neurons": layer.neurons_per_cycle,
        "per_cycle": layer.inputs_per_cycle,
        "words": plan.words,
        "groups": plan.groups,
        "beats": plan.beats,
        "wait": plan.wait,
        "depth": plan.depth,
        "acc_width": plan.accumulator_bits,
        "out_width": bits + 2 if requantised else plan.accumulator_bits,
        "requantise": layer if requantised else None,
        "low": signed_literal(0, bits + 2),
        "high": signed_literal((1 << bits) - 1, bits + 2),
        "bits": {
            "word": address_bits(plan.words),
            "group": address_bits(plan.groups),
            "weight_word": address_bits(plan.groups * plan.words),
        },
        "trace_rows": plan.groups * plan.words,
    }


def _memories(document: MacDocument, index: int) -> dict[str, str]:
    layer, plan, bits = document.layers[index], mac_plan(document, index), document.bits
    per_cycle, neurons = layer.inputs_per_cycle, layer.neurons_per_cycle
    weights = layer.weights.reshape(plan.groups, neurons, plan.words, per_cycle).transpose(0, 2, 1, 3)
    words = [pack(row.ravel().tolist(), bits) for group in weights for row in group]
    biases = [
        pack(layer.bias_raw[group * neurons : (group + 1) * neurons], plan.accumulator_bits)
        for group in range(plan.groups)
    ]
    contents = {
        "weights": (
            words,
            neurons * per_cycle * bits,
            [
                f"word g*{plan.words} + j: neurons g*{neurons} .. and inputs j*{per_cycle} ..; weight i of its",
                f"neuron o in bits (o*{per_cycle} + i)*{bits} +: {bits}, two's complement",
            ],
        ),
        "biases": (
            biases,
            neurons * plan.accumulator_bits,
            [
                f"word g: the biases of neurons g*{neurons} .., neuron o in bits",
                f"o*{plan.accumulator_bits} +: {plan.accumulator_bits}, two's complement",
            ],
        ),
    }
    files = {}
    for part, (values, width, layout) in contents.items():
        module = f"{document.name}_{layer.name}_{part}"
        facts = {"network": document.name, "origin": _ORIGIN, "index": index}
        files[f"{module}.v"] = memory_text(facts, module, f"the {part}", layout, values, width)
    return files


def generate_mac(document: MacDocument) -> dict[str, str]:
    """The generated files of a network by file name, without the library; deterministic."""
    layers = [_layer_context(document, index) for index in range(len(document.layers))]
    files: dict[str, str] = {}
    for index, context in enumerate(layers):
        files |= _memories(document, index)
        files[f"{context['module']}.v"] = render("mac_layer.v.j2", context)
    plan, last = mac_plan(document, 0), layers[-1]
    latency, classes, name = mac_latency(document), last["outputs"], document.name
    context = {
        "network": name,
        "origin": _ORIGIN,
        "numbers": f"{document.bits}-bit weights and activations",
        "width": document.bits,
        "stream": True,
        "features": layers[0]["inputs"],
        "lanes": plan.lanes,
        "beats": plan.beats,
        "low": 0,
        "high": (1 << document.bits) - 1,
        "shape": "-".join(str(size) for size in [layers[0]["inputs"], *(layer["outputs"] for layer in layers)]),
        "layers": layers,
        "loads": [],
        "classes": classes,
        "class_width": max(1, (classes - 1).bit_length()),
        "logit_width": last["out_width"],
        "latency": latency,
        "interval": mac_interval(document),
        "patience": 4 * latency + 100,
        "depth": 3 * len(layers) + 3,
    }
    files[f"{name}.v"] = render("stream_top.v.j2", context)
    files[f"{name}_tb.v"] = render("testbench.v.j2", context)
    files[f"{name}_tb_clock.v"] = render("clock.v.j2", context)
    return files


def emit_mac(document: MacDocument, rtl_dir: str | os.PathLike[str]) -> EmittedDesign:
    """Write a network as Verilog, with the library and a testbench beside it; same document, same bytes.

    The folder has the form of :func:`bitprop.hdl.emit`, so that every simulator and the synthesis flow take it.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    folder, name = Path(rtl_dir), document.name
    generated = generate_mac(document)
    shared = {file: (LIBRARY / file).read_text(encoding="utf-8") for file in _LIBRARY}
    simulation = [f"{name}_tb.v", f"{name}_tb_clock.v"]
    design = [*shared, *(file for file in generated if file not in simulation)]
    for file, text in {**shared, **generated}.items():
        write_text(folder / file, text)
    write_text(folder / "files.f", "".join(f"{file}\n" for file in design))
    write_text(folder / "verilator_main.cpp", (LIBRARY / "verilator_main.cpp").read_text(encoding="utf-8"))
    return EmittedDesign(name, folder, tuple(design), (*simulation, "verilator_main.cpp"))
