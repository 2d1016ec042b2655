"""A folded layer's generated text: its module and the memories that hold weights, biases and number tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitprop.graph.fold import FoldPlan, fold_plan, weight_codes
from bitprop.graph.spec import DenseLayer
from bitprop.hdl._memory import address_bits, memory_text
from bitprop.hdl._text import pack, render, unsigned_literal

__all__ = ["FOLD_LIBRARY", "LOAD_LIBRARY", "folded_context", "folded_files", "weight_words"]

# what the module of a folded layer is made of, submodules first
FOLD_LIBRARY = (
    "bitprop_fold_register.v",
    "bitprop_fold_delay.v",
    "bitprop_fold_control.v",
    "bitprop_fold_code.v",
    "bitprop_fold_buffer.v",
    "bitprop_fold_streams.v",
    "bitprop_fold_tree.v",
    "bitprop_fold_neuron.v",
    "bitprop_fold_bank.v",
    "bitprop_fold_drain.v",
)
LOAD_LIBRARY = ("bitprop_fold_memory.v", "bitprop_fold_loader.v")


def weight_words(layer: DenseLayer, plan: FoldPlan) -> list[int]:
    """The weight memory of a folded layer: one word for each group of neurons and each word of inputs.

    Product ``i`` of neuron ``o`` is ``{sign, code}`` (the sign in sign_magnitude only) in bits
    ``(o * P + i) * lane +: lane``; places without a weight are 0.
    """
    per_cycle, neurons = plan.fold.inputs_per_cycle, plan.fold.neurons_per_cycle
    lane = plan.w_code_bits + int(layer.encoding == "sign_magnitude")
    fields = np.zeros((plan.groups * neurons, plan.words * per_cycle), dtype=np.int64)
    fields[: layer.out_features, : layer.in_features] = weight_codes(layer) | (layer.negative << plan.w_code_bits)
    return [
        pack(
            fields[group * neurons : (group + 1) * neurons, word * per_cycle : (word + 1) * per_cycle].ravel().tolist(),
            lane,
        )
        for group in range(plan.groups)
        for word in range(plan.words)
    ]


def _bias_words(plan: FoldPlan) -> list[int]:
    neurons = plan.fold.neurons_per_cycle
    preload = plan.preload.tolist()
    return [
        pack(preload[group * neurons : (group + 1) * neurons], plan.accumulator_bits) for group in range(plan.groups)
    ]


def folded_context(layer: DenseLayer, context: dict[str, Any]) -> dict[str, Any]:
    """What the templates need to know of a folded layer, beside what every layer has."""
    plan = fold_plan(layer)
    signs = int(layer.encoding == "sign_magnitude")
    neurons, per_cycle = plan.fold.neurons_per_cycle, plan.fold.inputs_per_cycle
    cycles = plan.leaves * plan.leaf
    x_bits, w_bits = cycles * plan.x_code_bits, cycles * plan.w_code_bits
    n = context["width"]
    weight_bits = neurons * per_cycle * (plan.w_code_bits + signs)
    load_bits = max(weight_bits, neurons * plan.accumulator_bits)
    return {
        "folded": True,
        "fold": plan.fold,
        "plan": plan,
        "neurons": neurons,
        "acc_width": plan.accumulator_bits,
        "out_width": plan.accumulator_bits if context["requantise"] is None else n + 2,
        "x_lane": plan.x_code_bits + signs,
        "weight_bits": weight_bits,
        "x_number_bits": x_bits,
        "w_number_bits": w_bits,
        "x_constant": unsigned_literal(pack(plan.x_numbers[0].tolist(), plan.x_code_bits), x_bits),
        "w_constant": unsigned_literal(pack(plan.w_numbers[0].tolist(), plan.w_code_bits), w_bits),
        "level_numbers": unsigned_literal(pack(plan.levels.tolist(), n), max(1, len(plan.levels)) * n),
        "bits": {
            "step": address_bits(plan.steps),
            "word": address_bits(plan.words),
            "group": address_bits(plan.groups),
            "weight_word": address_bits(plan.groups * plan.words),
        },
        "trace_rows": plan.groups * plan.work,
        "loadable": plan.fold.weights == "loadable",
        "load_bits": load_bits,
        "load_words": plan.groups * (plan.words + 1),
        # the biases are read as late as the last step's group is known
        "busy_cycles": plan.depth + plan.wait + 2,
        "busy_bits": (plan.depth + plan.wait + 2).bit_length(),
    }


def folded_files(layer: DenseLayer, context: dict[str, Any]) -> dict[str, str]:
    """The generated files of a folded layer, submodules first."""
    plan: FoldPlan = context["plan"]
    per_cycle, neurons = plan.fold.inputs_per_cycle, plan.fold.neurons_per_cycle
    lane = context["weight_bits"] // (neurons * per_cycle)
    what = "{sign, code}" if layer.encoding == "sign_magnitude" else "code"
    memories = {
        "weights": (
            weight_words(layer, plan),
            context["weight_bits"],
            [
                f"word g*{plan.words} + j: neurons g*{neurons} .. and inputs j*{per_cycle} ..; the {what} of its",
                f"neuron o and input i in bits (o*{per_cycle} + i)*{lane} +: {lane}, 0 where there is none",
            ],
        ),
        "biases": (
            _bias_words(plan),
            neurons * plan.accumulator_bits,
            [
                f"word g: what the accumulators of neurons g*{neurons} .. start from, neuron o in bits",
                f"o*{plan.accumulator_bits} +: {plan.accumulator_bits}, two's complement",
            ],
        ),
    }
    if plan.steps > 1:
        cycles = plan.leaves * plan.leaf
        words = [
            pack(x.tolist(), plan.x_code_bits) | pack(w.tolist(), plan.w_code_bits) << (cycles * plan.x_code_bits)
            for x, w in zip(plan.x_numbers, plan.w_numbers, strict=True)
        ]
        memories["numbers"] = (
            words,
            context["x_number_bits"] + context["w_number_bits"],
            [
                f"word s: the sources' numbers of stream cycles s*{plan.fold.cycles_per_step} .., as codes: {cycles}",
                f"of the activations' ({plan.x_code_bits} bits each, the first lowest), above them as many of",
                f"the weights' ({plan.w_code_bits} bits each)",
            ],
        )
    titles = {"weights": "the weights", "biases": "the biases", "numbers": "the number tables"}
    files = {}
    if context["loadable"]:
        words = [*memories.pop("weights")[0], *memories.pop("biases")[0]]
        files[f"{context['module']}_load.hex"] = "".join(f"{word:x}\n" for word in words)
    for part, (words, bits, layout) in memories.items():
        module = f"{context['module']}_{part}"
        files[f"{module}.v"] = memory_text(context, module, titles[part], layout, words, bits)
    files[f"{context['module']}.v"] = render("folded_layer.v.j2", context)
    return files
