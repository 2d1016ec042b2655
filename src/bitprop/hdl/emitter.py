"""A document becomes a folder of hierarchical Verilog: what depends on weights is generated, the rest is a library."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitprop._checks import check_integer
from bitprop.artifacts import write_text
from bitprop.errors import NotExportableError
from bitprop.graph.spec import DenseLayer, Document, Requantise, SourceEntry
from bitprop.graph.timing import PLACES, interval_of, latency_of
from bitprop.hdl._folded import FOLD_LIBRARY, LOAD_LIBRARY, folded_context, folded_files
from bitprop.hdl._text import LIBRARY, render, signed_literal
from bitprop.ops import OPS, verilog_path
from bitprop.ops.encode import ENCODING_CODES

__all__ = [
    "EmittedDesign",
    "NetworkPorts",
    "alone_name",
    "emit",
    "generate",
    "generate_alone",
    "library",
    "load_words",
    "loadable_layers",
    "ports_of",
]

_ORIGIN = "an SC-NIR document"
_LOAD_SUFFIX = "_load.hex"
_STREAMS_PER_LINE = 12
# operations that every network with a parallel layer instantiates, and those of a folded one, in reading order
_COMMON_OPS = ("encode", "compare", "multiply", "count", "accumulate", "requantise", "argmax")
_FOLD_OPS = ("encode", "compare", "multiply")
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


@dataclass(frozen=True, slots=True)
class NetworkPorts:
    """What the data ports of an emitted network carry.

    Attributes:
        stream: AXI streams (a layer is folded); else one vector in.
        features: value integers of a sample.
        lanes: of them in one beat.
        beats: beats of a sample.
        classes: logits.
        class_width: bits of the decision.
        logit_width: bits of a logit.
    """

    stream: bool
    features: int
    lanes: int
    beats: int
    classes: int
    class_width: int
    logit_width: int

    @property
    def names(self) -> dict[str, str]:
        """What the data ports are called, by what those of a network of parallel layers are called."""
        plain = ("in_valid", "in_ready", "in_values", "out_valid", "out_ready", "out_class", "out_logits")
        axi = ("s_axis_tvalid", "s_axis_tready", "s_axis_tdata", "m_axis_tvalid", "m_axis_tready", "m_axis_tdata")
        return dict(zip(plain, (*axi, "m_axis_tuser") if self.stream else plain, strict=True))


def loadable_layers(document: Document) -> list[str]:
    """Names of the layers whose weights are loaded."""
    return [layer.name for layer in document.layers if layer.fold is not None and layer.fold.weights == "loadable"]


def _source(role: str, entry: SourceEntry) -> dict[str, Any]:
    source = entry.build()
    module = OPS[entry.kind].module
    if module is None:
        raise NotExportableError(f"expected a source with hardware, got {entry.kind!r}; choose another")
    return {"role": role, "module": module, "parameters": source.verilog_parameters()}


def _layer_context(document: Document, index: int) -> dict[str, Any]:
    layer = document.layers[index]
    n = document.precision_bits
    requantise = layer.output if isinstance(layer.output, Requantise) else None
    context = {
        "network": document.name,
        "origin": _ORIGIN,
        "module": f"{document.name}_{layer.name}",
        "name": layer.name,
        "index": index,
        "inputs": layer.in_features,
        "outputs": layer.out_features,
        "encoding": layer.encoding,
        "encoding_number": ENCODING_CODES[layer.encoding],
        "length": layer.length,
        "width": n,
        "places": PLACES,
        "requantise": requantise,
        "low": "" if requantise is None else signed_literal(requantise.low, n + 2),
        "high": "" if requantise is None else signed_literal(requantise.high, n + 2),
    }
    if layer.fold is not None:
        return {**context, **folded_context(layer, context)}
    sources = [_source("activation", layer.activation_source), _source("weight", layer.weight_source)]
    if layer.correlation_source is not None:
        sources.append(_source("correlation", layer.correlation_source))
    return {
        **context,
        "folded": False,
        "acc_width": layer.accumulator_bits,
        "out_width": layer.accumulator_bits if requantise is None else n + 2,
        "sources": sources,
        "correlation_raw": layer.correlation_raw,
        "biases": [signed_literal(bias, layer.accumulator_bits) for bias in layer.bias_raw],
        "distinct": np.unique(layer.thresholds).tolist(),
    }


def _chain(document: Document, layers: Sequence[int]) -> list[dict[str, Any]]:
    """The contexts of layers that follow each other, each with what its neighbours decide."""
    contexts = [_layer_context(document, index) for index in layers]
    for position, context in enumerate(contexts):
        context["before"] = "in" if position == 0 else f"from_{contexts[position - 1]['name']}"
    return contexts


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
    layers = _chain(document, range(len(document.layers)))
    files: dict[str, str] = {}
    for context, layer in zip(layers, document.layers, strict=True):
        if context["folded"]:
            files.update(folded_files(layer, context))
            continue
        files[f"{context['module']}_weights.v"] = render("weights.v.j2", {**context, "rows": _weight_rows(layer)})
        files[f"{context['module']}.v"] = render("layer.v.j2", context)
    return {**files, **_shell(document.name, document.layers, layers, document.inputs.low, document.inputs.high)}


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
    return _shell(name, document.layers[layer : layer + 1], _chain(document, [layer]), -one, one)


def _ports(layers: list[dict[str, Any]]) -> NetworkPorts:
    features, classes = layers[0]["inputs"], layers[-1]["outputs"]
    lanes = layers[0]["fold"].values_per_beat if layers[0]["folded"] else features
    return NetworkPorts(
        stream=any(layer["folded"] for layer in layers),
        features=features,
        lanes=lanes,
        beats=-(-features // lanes),
        classes=classes,
        class_width=max(1, (classes - 1).bit_length()),
        logit_width=layers[-1]["out_width"],
    )


def ports_of(document: Document) -> NetworkPorts:
    """What the data ports of a network's top carry.

    Raises:
        NotExportableError: a source has no hardware.
    """
    return _ports(_chain(document, range(len(document.layers))))


def _shell(name: str, chain: Sequence[DenseLayer], layers: list[dict[str, Any]], low: int, high: int) -> dict[str, str]:
    """Top, testbench and its clock around a chain of layers; AXI streams where one of them is folded."""
    ports = _ports(layers)
    latency = latency_of(chain)
    context = {
        **asdict(ports),
        "network": name,
        "origin": _ORIGIN,
        "numbers": f"{layers[0]['width']}-bit thresholds",
        "width": layers[0]["width"],
        "low": low,
        "high": high,
        "shape": "-".join(str(size) for size in [ports.features, *(layer["outputs"] for layer in layers)]),
        "layers": layers,
        "loads": [layer for layer in layers if layer["folded"] and layer["loadable"]],
        "latency": latency,
        "interval": interval_of(chain),
        "patience": 4 * latency + 100,
        "depth": 3 * len(layers) + 3 if ports.stream else len(layers) + 2,
    }
    return {
        f"{name}.v": render("stream_top.v.j2" if ports.stream else "top.v.j2", context),
        f"{name}_tb.v": render("testbench.v.j2", context),
        f"{name}_tb_clock.v": render("clock.v.j2", context),
    }


def load_words(document: Document, circuit: Document) -> dict[str, str]:
    """The words that turn a circuit with loadable weights into another network, by layer.

    Args:
        document: the network to load.
        circuit: the network that the circuit was emitted from.

    Returns:
        By layer name: one word a line, hexadecimal, in the order in which the layer's load stream takes them.

    Raises:
        NotExportableError: the circuit is not the same for both: something else than loadable weights and biases
            differs, an accumulator's width, say.
    """
    wanted, there = generate(document), generate(circuit)
    words = {file: text for file, text in wanted.items() if file.endswith(_LOAD_SUFFIX)}
    other = sorted(
        file for file in {*wanted, *there} if not file.endswith(_LOAD_SUFFIX) and wanted.get(file) != there.get(file)
    )
    if other or not words:
        raise NotExportableError(
            f"expected a network that the circuit of {circuit.name} can load, got one whose "
            f"{', '.join(other) or 'weights are fixed'} would differ; give both the same name, architecture, sources, "
            "lengths and accumulator_bits"
        )
    prefix = f"{document.name}_"
    return {file.removeprefix(prefix).removesuffix(_LOAD_SUFFIX): text for file, text in words.items()}


def library(document: Document) -> dict[str, str]:
    """The hand-written modules a network uses, by file name (``<module>.v``), submodules first."""
    parallel = [layer for layer in document.layers if layer.fold is None]
    folds = [layer.fold is not None for layer in document.layers]
    kinds = {
        entry.kind
        for layer in parallel
        for entry in (layer.activation_source, layer.weight_source, layer.correlation_source)
        if entry is not None
    }
    operations = [*sorted(kinds), *_COMMON_OPS] if parallel else list(_FOLD_OPS)
    if any(layer.correlation_raw for layer in parallel):
        operations.append("correlate")
    modules = list(_COMMON_LIBRARY) if parallel else []
    if any(folds):
        modules += FOLD_LIBRARY
        if loadable_layers(document):
            modules += LOAD_LIBRARY
        if any(layer.fold is not None and isinstance(layer.output, Requantise) for layer in document.layers):
            modules.append("bitprop_fold_requantise.v")
        changes = set(itertools.pairwise(folds))
        modules += ["bitprop_fold_collect.v"] if (True, False) in changes else []
        modules += ["bitprop_fold_spread.v"] if (False, True) in changes else []
        modules += ["bitprop_fold_decision.v"]
    files = {f"{OPS[key].module}.v": verilog_path(key).read_text(encoding="utf-8") for key in operations}
    files.update({file: (LIBRARY / file).read_text(encoding="utf-8") for file in modules})
    return files


def emit(document: Document, rtl_dir: str | os.PathLike[str]) -> EmittedDesign:
    """Write a network as Verilog, with the library and a testbench beside it.

    The folder gets ``<name>.v`` (top), per layer ``<name>_<layer>.v`` and ``<name>_<layer>_weights.v`` (a folded layer:
    ``…_biases.v`` and perhaps ``…_numbers.v`` too), the library modules, ``files.f`` (everything to synthesise, one
    name a line), ``<name>_tb.v``, ``<name>_tb_clock.v`` (Icarus), ``verilator_main.cpp``, and for loadable weights
    ``<name>_<layer>_load.hex``, the words in the order in which they are loaded.  Same document, same bytes.

    Raises:
        NotExportableError: a source has no hardware.
        ArtifactError: the folder cannot be written.
    """
    folder = Path(rtl_dir)
    name = document.name
    generated, shared = generate(document), library(document)
    simulation = [f"{name}_tb.v", f"{name}_tb_clock.v", *(file for file in generated if file.endswith(".hex"))]
    design = [*shared, *(file for file in generated if file not in simulation)]
    for file, text in {**shared, **generated}.items():
        write_text(folder / file, text)
    write_text(folder / "files.f", "".join(f"{file}\n" for file in design))
    write_text(folder / "verilator_main.cpp", (LIBRARY / "verilator_main.cpp").read_text(encoding="utf-8"))
    return EmittedDesign(name, folder, tuple(design), (*simulation, "verilator_main.cpp"))
