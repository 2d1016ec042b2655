"""Two forms of one network, all layers parallel and some folded, side by side for the prover.

Both get the same samples, back to back, every value of them free; the logits and the decision of each sample must be
equal, and all of them must have come by the last cycle.  Registers start at 0, and the reset comes first.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from bitprop.graph.architecture import folded
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import make_document
from bitprop.graph.spec import Document
from bitprop.graph.timing import schedule
from bitprop.handoff.synthesis import emitted

__all__ = ["NetworkProof", "network_proofs"]

_TOP = """// The network {flat} and its folded form {fold}: equal logits and decisions for the same free samples.
module top (input wire clock);
    reg [7:0] cycle = 0;
    always @(posedge clock) if (cycle != 255) cycle <= cycle + 1'b1;
    wire reset = cycle == 0;

    (* anyconst *) wire [{samples}*{features}*{value}-1:0] inputs;
    integer i;
    always @*
        for (i = 0; i < {samples}*{features}; i = i + 1)
            assume ($signed(inputs[i*{value} +: {value}]) >= {low} && $signed(inputs[i*{value} +: {value}]) <= {high});

    // all values of a sample at once
    reg [1:0] flat_sent, flat_given;
    wire flat_valid = !reset && flat_sent < {samples};
    wire flat_ready, flat_answer;
    wire [{class_bits}-1:0] flat_class;
    wire [{classes}*{flat_bits}-1:0] flat_logits;
    {flat} flat (
        .clock(clock), .reset(reset), .in_valid(flat_valid), .in_ready(flat_ready),
        .in_values(inputs[flat_sent*{features}*{value} +: {features}*{value}]), .out_valid(flat_answer),
        .out_ready(1'b1), .out_class(flat_class), .out_logits(flat_logits)
    );

    // beat by beat
    reg [1:0] fold_sent, fold_given;
    reg [7:0] beat;
    wire fold_valid = !reset && fold_sent < {samples};
    wire fold_ready, fold_answer;
    wire [{class_bits}-1:0] fold_class;
    wire [{classes}*{fold_bits}-1:0] fold_logits;
    {fold} fold (
        .clock(clock), .reset(reset), .s_axis_tvalid(fold_valid), .s_axis_tready(fold_ready),
        .s_axis_tdata(inputs[(fold_sent*{features} + beat*{lanes})*{value} +: {lanes}*{value}]),
        .m_axis_tvalid(fold_answer), .m_axis_tready(1'b1), .m_axis_tdata(fold_class), .m_axis_tuser(fold_logits)
    );

    reg [{samples}*{class_bits}-1:0] flat_classes, fold_classes;
    reg [{samples}*{classes}*{flat_bits}-1:0] flat_results;
    reg [{samples}*{classes}*{fold_bits}-1:0] fold_results;
    always @(posedge clock)
        if (reset) begin
            flat_sent <= 0;
            flat_given <= 0;
            fold_sent <= 0;
            fold_given <= 0;
            beat <= 0;
        end else begin
            if (flat_valid && flat_ready) flat_sent <= flat_sent + 1'b1;
            if (flat_answer) begin
                flat_classes[flat_given*{class_bits} +: {class_bits}] <= flat_class;
                flat_results[flat_given*{classes}*{flat_bits} +: {classes}*{flat_bits}] <= flat_logits;
                flat_given <= flat_given + 1'b1;
            end
            if (fold_valid && fold_ready) begin
                beat <= beat == {beats} - 1 ? 0 : beat + 1'b1;
                if (beat == {beats} - 1) fold_sent <= fold_sent + 1'b1;
            end
            if (fold_answer) begin
                fold_classes[fold_given*{class_bits} +: {class_bits}] <= fold_class;
                fold_results[fold_given*{classes}*{fold_bits} +: {classes}*{fold_bits}] <= fold_logits;
                fold_given <= fold_given + 1'b1;
            end
        end

    integer s, o;
    always @* if (cycle == {cycles} - 1) begin
        assert (flat_given == {samples} && fold_given == {samples});
        assert (flat_classes == fold_classes);
        for (s = 0; s < {samples}; s = s + 1)
            for (o = 0; o < {classes}; o = o + 1)
                assert ($signed(flat_results[(s*{classes} + o)*{flat_bits} +: {flat_bits}])
                        == $signed(fold_results[(s*{classes} + o)*{fold_bits} +: {fold_bits}]));
    end
endmodule
"""


@dataclass(frozen=True, slots=True)
class NetworkProof:
    """A network in two forms.

    Attributes:
        flat: every layer parallel.
        fold: the same program, at least the first layer or the last one folded.
        samples: how many pass, back to back.
    """

    flat: Document
    fold: Document
    samples: int

    @property
    def cycles(self) -> int:
        """Steps of the prover: until the slower form has decided the last sample, and it is recorded."""
        last = max(int(schedule(form.layers, self.samples)[1][-1]) for form in (self.flat, self.fold))
        return last + 4

    def files(self) -> dict[str, str]:
        """Both designs and their library, by file name."""
        return {name: text.decode() for form in (self.flat, self.fold) for name, text in emitted(form).items()}

    def top(self) -> str:
        """The module that compares them."""
        first, last = self.fold.layers[0], self.fold.layers[-1]
        lanes = first.in_features if first.fold is None else first.fold.values_per_beat
        return _TOP.format(
            flat=self.flat.name,
            fold=self.fold.name,
            samples=self.samples,
            features=first.in_features,
            value=self.flat.precision_bits + 2,
            low=self.flat.inputs.low,
            high=self.flat.inputs.high,
            lanes=lanes,
            beats=-(-first.in_features // lanes),
            classes=last.out_features,
            class_bits=max(1, (last.out_features - 1).bit_length()),
            flat_bits=self.flat.layers[-1].accumulator_bits,
            fold_bits=_answer_bits(self.fold),
            cycles=self.cycles,
        )


def _answer_bits(document: Document) -> int:
    from bitprop.graph.fold import fold_plan

    last = document.layers[-1]
    return last.accumulator_bits if last.fold is None else fold_plan(last).accumulator_bits


def _layer(encoding: str, weights: list[list[int]], bias: list[int], length: int, hidden: bool) -> dict[str, Any]:
    source = {"kind": "sobol", "width": 3, "seed": 2, "dimension": 1}
    return {
        "encoding": encoding,
        "length": length,
        "activation_source": source,
        "weight_source": {"kind": "lfsr", "width": 3, "seed": 5},
        "weights_raw": weights,
        "bias_raw": bias,
        "output": {"kind": "requantise", "multiplier": 11, "shift": 2, "low": 0, "high": 8}
        if hidden
        else {"kind": "logits"},
    }


def _network(name: str, layers: list[dict[str, Any]], folds: dict[str, Any], samples: int) -> NetworkProof:
    flat = make_document(f"{name}_flat", 3, (-8, 8), layers)
    fold = with_architecture(make_document(f"{name}_fold", 3, (-8, 8), layers), folds)
    return NetworkProof(flat, fold, samples)


_FOLD = ("control", "buffer", "code", "streams", "neuron", "bank", "drain", "decision", "delay", "tree", "register")


@functools.cache
def network_proofs() -> dict[str, tuple[str, tuple[str, ...], NetworkProof]]:
    """What is compared, the modules that each comparison is a proof of, and the networks."""
    wide = [[5, -3, 8], [-7, 1, -2], [4, 6, -8]]
    modules = tuple(f"bitprop_fold_{part}" for part in _FOLD)
    return {
        "folded_layer": (
            "a folded layer is the parallel one",
            modules,
            _network(
                "layer",
                [_layer("sign_magnitude", wide, [1, -2, 0], 3, hidden=False)],
                {"dense_0": folded(2, 2, length=3)},
                samples=2,
            ),
        ),
        "folded_to_folded": (
            "two folded layers, several steps, requantised, are the parallel ones",
            ("bitprop_fold_requantise",),
            _network(
                "pair",
                [
                    _layer("unipolar", [[5, 3], [7, 1], [8, 0]], [-1, 5, 0], 3, hidden=True),
                    _layer("bipolar", [[5, -3, 1], [-7, 8, 2]], [1, 0], 3, hidden=False),
                ],
                {
                    "dense_0": folded(1, 2, length=3, cycles_per_step=2, pipeline=0),
                    "dense_1": folded(3, 1, length=3, values_per_beat=1),
                },
                samples=1,
            ),
        ),
        "folded_to_parallel": (
            "a folded layer before a parallel one is two parallel ones",
            ("bitprop_fold_collect",),
            _network(
                "front",
                [
                    _layer("unipolar", [[5, 3], [7, 1]], [-1, 2], 3, hidden=True),
                    _layer("sign_magnitude", [[5, -3], [-7, 8]], [1, 0], 3, hidden=False),
                ],
                {"dense_0": folded(2, 1, length=3)},
                samples=1,
            ),
        ),
        "parallel_to_folded": (
            "a parallel layer before a folded one is two parallel ones",
            ("bitprop_fold_spread",),
            _network(
                "rear",
                [
                    _layer("unipolar", [[5, 3], [7, 1]], [-1, 2], 3, hidden=True),
                    _layer("sign_magnitude", [[5, -3], [-7, 8]], [1, 0], 3, hidden=False),
                ],
                {"dense_1": folded(2, 1, length=3, values_per_beat=1)},
                samples=1,
            ),
        ),
    }
