"""A document becomes a folder of hierarchical Verilog: what depends on weights is generated, the rest is a library."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from bitprop._checks import check_integer
from bitprop.artifacts import write_text
from bitprop.errors import NotExportableError
from bitprop.graph.spec import DenseLayer, Document, Requantise, SourceEntry
from bitprop.ops import OPS, verilog_path

__all__ = ["EmittedDesign", "alone_name", "emit", "generate", "generate_alone", "library"]

_LIBRARY = Path(__file__).with_name("library")
_TEMPLATES = Path(__file__).with_name("templates")
_ENCODING_NUMBER = {"unipolar": 0, "bipolar": 1, "sign_magnitude": 2}
_STREAMS_PER_LINE = 12
# operations that every network instantiates, in reading order
_COMMON_OPS = ("encode", "compare", "multiply", "count", "accumulate", "requantise", "argmax")
_COMMON_LIBRARY = (
    "bitprop_stage.v",
    "bitprop_input_bank.v",
    "bitprop_neuron.v",
    "bitprop_requantise_bank.v",
    "bitprop_decision.v",
)


@dataclass(frozen=True, slots=True)
class EmittedDesign:
    """Where an emitted network lies.

    Attributes:
        name: the network, also its top module.
        folder: its folder.
        design_files: file names to synthesise, those of ``files.f``, submodules first.
        simulation_files: testbench files.
    """

    name: str
    folder: Path
    design_files: tuple[str, ...]
    simulation_files: tuple[str, ...]


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Verilog, not HTML; names are checked identifiers, the rest is integers
    )


def _render(template: str, context: dict[str, Any]) -> str:
    return _environment().get_template(template).render(context)


def _signed_literal(value: int, bits: int) -> str:
    """A signed Verilog literal; ``-2**(bits-1)`` has no positive twin, so it is written in hexadecimal."""
    if value == -(1 << (bits - 1)):
        return f"{bits}'sh{1 << (bits - 1):x}"
    return f"-{bits}'sd{-value}" if value < 0 else f"{bits}'sd{value}"


def _source(role: str, entry: SourceEntry) -> dict[str, Any]:
    source = entry.build()
    module = OPS[entry.kind].module
    if module is None:
        raise NotExportableError(f"expected a source with hardware, got {entry.kind!r}; choose another")
    return {"role": role, "module": module, "parameters": source.verilog_parameters()}


def _layer_context(document: Document, index: int) -> dict[str, Any]:
    layer = document.layers[index]
    n = document.precision_bits
    sources = [_source("activation", layer.activation_source), _source("weight", layer.weight_source)]
    if layer.correlation_source is not None:
        sources.append(_source("correlation", layer.correlation_source))
    requantise = layer.output if isinstance(layer.output, Requantise) else None
    return {
        "network": document.name,
        "module": f"{document.name}_{layer.name}",
        "name": layer.name,
        "index": index,
        "before": "in" if index == 0 else f"from_{document.layers[index - 1].name}",
        "inputs": layer.in_features,
        "outputs": layer.out_features,
        "encoding": layer.encoding,
        "encoding_number": _ENCODING_NUMBER[layer.encoding],
        "length": layer.length,
        "width": n,
        "acc_width": layer.accumulator_bits,
        "out_width": layer.accumulator_bits if requantise is None else n + 2,
        "sources": sources,
        "correlation_raw": layer.correlation_raw,
        "biases": [_signed_literal(bias, layer.accumulator_bits) for bias in layer.bias_raw],
        "requantise": requantise,
        "low": "" if requantise is None else _signed_literal(requantise.low, n + 2),
        "high": "" if requantise is None else _signed_literal(requantise.high, n + 2),
        "distinct": np.unique(layer.thresholds).tolist(),
    }


def _weight_rows(layer: DenseLayer) -> list[dict[str, Any]]:
    rows = []
    for thresholds, signs in zip(layer.weight_thresholds, layer.negative.tolist(), strict=True):
        names = [f"stream_{k}" for k in reversed(thresholds)]  # a concatenation starts at the top bit
        word = sum(sign << i for i, sign in enumerate(signs))
        rows.append(
            {
                "lines": [
                    ", ".join(names[start : start + _STREAMS_PER_LINE])
                    for start in range(0, len(names), _STREAMS_PER_LINE)
                ],
                "negative": f"{len(signs)}'h{word:x}",
            }
        )
    return rows


def generate(document: Document) -> dict[str, str]:
    """The generated files of a network by file name, without the library; deterministic.

    Raises:
        NotExportableError: a source has no hardware.
    """
    layers = [_layer_context(document, index) for index in range(len(document.layers))]
    files: dict[str, str] = {}
    for context, layer in zip(layers, document.layers, strict=True):
        files[f"{context['module']}_weights.v"] = _render("weights.v.j2", {**context, "rows": _weight_rows(layer)})
        files[f"{context['module']}.v"] = _render("layer.v.j2", context)
    return {**files, **_shell(document.name, document, layers, document.inputs.low, document.inputs.high)}


def alone_name(document: Document, layer: int) -> str:
    """Top module of one layer alone; no layer can have that name."""
    return f"{document.name}_tb_alone_{check_integer('layer', layer, 0, len(document.layers) - 1)}"


def generate_alone(document: Document, layer: int) -> dict[str, str]:
    """A top and a testbench around one layer's module, to drive it with inputs the layers before never give.

    The layer's own files are not among them: put these beside an emitted network.  The "logits" of the alone network
    are whatever the layer gives.

    Raises:
        RangeError: no such layer.
        NotExportableError: a source has no hardware.
    """
    one = 1 << document.precision_bits
    name = alone_name(document, layer)
    return _shell(name, document, [{**_layer_context(document, layer), "before": "in"}], -one, one)


def _shell(name: str, document: Document, layers: list[dict[str, Any]], low: int, high: int) -> dict[str, str]:
    """Top, testbench and its clock around a chain of layers."""
    cycles = [layer["length"] + 2 for layer in layers]
    classes = layers[-1]["outputs"]
    context = {
        "network": name,
        "width": document.precision_bits,
        "features": layers[0]["inputs"],
        "low": low,
        "high": high,
        "shape": "-".join(str(size) for size in [layers[0]["inputs"], *(layer["outputs"] for layer in layers)]),
        "layers": layers,
        "classes": classes,
        "class_width": max(1, (classes - 1).bit_length()),
        "logit_width": layers[-1]["out_width"],
        "latency": sum(cycles) + 1,
        "interval": max(cycles),
        "patience": 4 * sum(cycles) + 100,
        "depth": len(layers) + 2,
    }
    return {
        f"{name}.v": _render("top.v.j2", context),
        f"{name}_tb.v": _render("testbench.v.j2", context),
        f"{name}_tb_clock.v": _render("clock.v.j2", context),
    }


def library(document: Document) -> dict[str, str]:
    """The hand-written modules a network uses, by file name (``<module>.v``), submodules first."""
    kinds = []
    for layer in document.layers:
        for entry in (layer.activation_source, layer.weight_source, layer.correlation_source):
            if entry is not None and entry.kind not in kinds:
                kinds.append(entry.kind)
    operations = [*sorted(kinds), *_COMMON_OPS]
    if any(layer.correlation_raw for layer in document.layers):
        operations.append("correlate")
    files = {f"{OPS[key].module}.v": verilog_path(key).read_text(encoding="utf-8") for key in operations}
    files.update({file: (_LIBRARY / file).read_text(encoding="utf-8") for file in _COMMON_LIBRARY})
    return files


def emit(document: Document, rtl_dir: str | os.PathLike[str]) -> EmittedDesign:
    """Write a network as Verilog, with the library and a testbench beside it.

    The folder gets ``<name>.v`` (top), per layer ``<name>_<layer>.v`` and ``<name>_<layer>_weights.v``, the library
    modules, ``files.f`` (everything to synthesise, one name a line), ``<name>_tb.v``, ``<name>_tb_clock.v`` (Icarus)
    and ``verilator_main.cpp``.  Same document, same bytes.

    Raises:
        NotExportableError: a source has no hardware.
        ArtifactError: the folder cannot be written.
    """
    folder = Path(rtl_dir)
    name = document.name
    generated, shared = generate(document), library(document)
    simulation = [f"{name}_tb.v", f"{name}_tb_clock.v"]
    design = [*shared, *(file for file in generated if file not in simulation)]
    for file, text in {**shared, **generated}.items():
        write_text(folder / file, text)
    write_text(folder / "files.f", "".join(f"{file}\n" for file in design))
    write_text(folder / "verilator_main.cpp", (_LIBRARY / "verilator_main.cpp").read_text(encoding="utf-8"))
    return EmittedDesign(name, folder, tuple(design), (*simulation, "verilator_main.cpp"))
