"""What is proved of each module of the Verilog library, for which parameters, and how far.

The assertions stand in harnesses beside the modules (``ops/formal/*.sv``, ``hdl/library/formal/*.sv``), written from
the contract and not from the module.  A harness has its inputs free; this table gives it its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitprop._registry import Registry
from bitprop.ops import OPS, make_source
from bitprop.verification.rtl_network_proof import network_proofs
from bitprop.verification.rtl_proof import RtlProof
from bitprop.verification.rtl_proof_system_cases import SYSTEM_PROOFS

__all__ = ["PROOFS"]


PROOFS: Registry[RtlProof] = Registry("proof")
"""Every proof by the name of its harness."""


def _add(proof: RtlProof) -> None:
    PROOFS.add(proof.name, proof)


def _literals(key: str, *cases: Mapping[str, int]) -> tuple[Mapping[str, str], ...]:
    return tuple(OPS[key].literals(case) for case in cases)


def _source(kind: str, **parameters: int) -> Mapping[str, str]:
    return make_source(kind, **parameters).verilog_parameters()


def _requantise(acc_width: int, shift: int, low: str) -> Mapping[str, str]:
    """Parameters of a requantiser to three bits."""
    fixed = {"WIDTH": "3", "MULTIPLIER": "16'd13", "HIGH": "5'sd8"}
    return {"ACC_WIDTH": str(acc_width), "SHIFT": str(shift), "LOW": low, **fixed}


_ENCODED = tuple(range(3))

_add(
    RtlProof(
        "accumulate",
        "accumulate",
        "the exact sum wherever it fits, modulo 2**WIDTH otherwise; load first",
        _literals(
            "accumulate",
            *({"WIDTH": w, "INPUT_WIDTH": i} for w, i in ((2, 2), (6, 4), (8, 8), (17, 11), (48, 32))),
        ),
        mode="prove",
        depth=2,
        refutation_depth=4,
        scope="induction, all inputs and cycles",
    )
)
_add(
    RtlProof(
        "argmax",
        "argmax",
        "the largest value, the lowest index among equals",
        _literals("argmax", *({"INPUTS": i, "WIDTH": w} for i, w in ((1, 3), (2, 2), (3, 8), (5, 4), (6, 8)))),
    )
)
_add(
    RtlProof(
        "compare",
        "compare",
        "number < threshold",
        _literals("compare", *({"WIDTH": w} for w in range(3, 17))),
    )
)
_add(
    RtlProof(
        "correlate",
        "correlate",
        "weight's, activation's or mirrored number",
        _literals(
            "correlate",
            *(
                {"WIDTH": w, "THRESHOLD": k, "NEGATIVE": negative}
                for w in (3, 8, 16)
                for k in (0, 1, (1 << w) // 3, (1 << w) - 1, 1 << w)
                for negative in (0, 1)
            ),
        ),
    )
)
_add(
    RtlProof(
        "count",
        "count",
        "sum of what every input adds; within its range",
        _literals(
            "count",
            *(
                {"INPUTS": i, "ENCODING": e, "WIDTH": i.bit_length() + 1 + extra}
                for i, extra in ((1, 0), (2, 1), (3, 0), (4, 0), (7, 2), (8, 0))
                for e in _ENCODED
            ),
        ),
    )
)
_add(
    RtlProof(
        "encode",
        "encode",
        "nearest representable value, bipolar ties to even",
        _literals("encode", *({"WIDTH": w, "ENCODING": e} for w in range(3, 17) for e in _ENCODED)),
    )
)
_add(
    RtlProof(
        "multiply",
        "multiply",
        "truth table of every bit",
        _literals("multiply", *({"INPUTS": i, "ENCODING": e} for i in (1, 2, 9, 64) for e in _ENCODED)),
    )
)
_add(
    RtlProof(
        "requantise",
        "requantise",
        "rounded quotient by its inequality, within its bounds",
        _literals(
            "requantise",
            *(
                {"ACC_WIDTH": a, "WIDTH": w, "MULTIPLIER": m, "SHIFT": s, "LOW": low, "HIGH": 1 << w}
                for a, w, m, s, low in (
                    (2, 3, 1, 1, 0),
                    (6, 3, 13, 3, 0),
                    (9, 4, 13, 5, -16),
                    (9, 4, 181, 7, 0),
                    (12, 8, 65535, 16, -256),
                    (16, 8, 40000, 18, 0),
                    (12, 4, 3, 40, -16),
                )
            ),
        ),
    )
)
_add(
    RtlProof(
        "counter",
        "counter",
        "closed form; an odd stride repeats no number",
        tuple(
            _source("counter", width=w, seed=seed, stride=stride)
            for w, seed, stride in ((3, 6, 1), (4, 13, 3), (6, 1, 22), (8, 200, 255), (12, 77, 1365))
        ),
        mode="prove",
        depth=2,
        refutation_depth=5,
        scope="induction, all restarts and enables; period included",
    )
)
_add(
    RtlProof(
        "lfsr",
        "lfsr",
        "recurrence bit by bit; never zero",
        tuple(_source("lfsr", width=w, seed=(1 << w) // 3 | 1) for w in (*range(3, 17), 32)),
        mode="prove",
        depth=2,
        refutation_depth=5,
        scope="induction, all restarts and enables",
    )
)
_add(
    RtlProof(
        "lfsr_period",
        "lfsr",
        "period exactly 2**WIDTH - 1",
        tuple(_source("lfsr", width=w, seed=(1 << w) // 3 | 1) for w in range(3, 9)),
        depth=258,
        refutation_depth=258,
        scope="bounded, 258 cycles: the whole period up to 8 bits",
    )
)
_add(
    RtlProof(
        "sobol",
        "sobol",
        "closed form by Gray code; no number twice; aligned blocks stratified",
        tuple(
            _source("sobol", width=w, seed=seed, dimension=dimension)
            for w, seed, dimension in ((3, 5, 0), (4, 9, 3), (5, 0, 7), (6, 33, 15), (8, 0x3C, 1), (8, 0, 6))
        ),
        mode="prove",
        depth=2,
        refutation_depth=10,
        taps={"tap_index": "dut.index"},
        scope="induction, all restarts and enables; period included",
    )
)
_add(
    RtlProof(
        "halton",
        "halton",
        "digits by division and remainder, radical inverse",
        tuple(
            _source("halton", width=w, seed=seed, base=base)
            for w, seed, base in ((3, 1, 2), (8, 200, 2), (16, 5, 2), (3, 7, 3), (4, 11, 3), (5, 0, 3), (8, 200, 3))
        ),
        mode="prove",
        depth=2,
        refutation_depth=12,
        taps={"tap_index": "dut.index"},
        scope="induction, all restarts and enables; period included",
    )
)
_add(
    RtlProof(
        "bitprop_stage",
        "bitprop_stage",
        "LENGTH cycles and a store per sample; none lost, doubled or withdrawn; exact latency",
        tuple({"LENGTH": str(length)} for length in (1, 2, 3, 7, 8, 64, 1000)),
        mode="prove",
        depth=3,
        refutation_depth=16,
        taps={"tap_busy": "dut.busy", "tap_remaining": "dut.remaining"},
        scope="induction, any valid, ready and reset",
    )
)
_add(
    RtlProof(
        "bitprop_decision",
        "bitprop_decision",
        "argmax of the sample taken; none lost or doubled; stable while not ready",
        tuple({"CLASSES": str(c), "WIDTH": str(w)} for c, w in ((1, 3), (2, 4), (3, 3), (4, 6))),
        mode="prove",
        depth=2,
        refutation_depth=6,
        scope="induction, any valid, ready and reset",
    )
)
_add(
    RtlProof(
        "bitprop_input_bank",
        "bitprop_input_bank",
        "bits and signs of the values at the last load",
        tuple(
            {"INPUTS": str(i), "WIDTH": str(w), "ENCODING": str(e)}
            for i, w in ((1, 3), (3, 4), (2, 8))
            for e in _ENCODED
        ),
        mode="prove",
        depth=2,
        refutation_depth=5,
        taps={"tap_thresholds": "dut.lane[*].threshold", "tap_signs": "dut.lane[*].sign"},
        scope="induction, all inputs and cycles",
    )
)
_add(
    RtlProof(
        "bitprop_neuron",
        "bitprop_neuron",
        "total grows by the signed sum of products",
        tuple(
            {"INPUTS": str(i), "ENCODING": str(e), "WIDTH": str(w)}
            for i, w in ((1, 3), (3, 6), (8, 9))
            for e in _ENCODED
        ),
        mode="prove",
        depth=2,
        refutation_depth=5,
        scope="induction, all inputs and cycles",
    )
)
_add(
    RtlProof(
        "bitprop_requantise_bank",
        "bitprop_requantise_bank",
        "every neuron from its own accumulator",
        tuple(
            {"OUTPUTS": str(o), **_requantise(a, s, low)}
            for o, a, s, low in ((1, 5, 1, "5'sd0"), (3, 6, 4, "-5'sd8"), (4, 8, 6, "5'sd0"))
        ),
    )
)
_add(
    RtlProof(
        "bitprop_fold_requantise",
        "bitprop_fold_requantise",
        "rounded quotient by its inequality, within its bounds, three cycles later, with its flags",
        tuple(_requantise(a, s, low) for a, s, low in ((5, 1, "5'sd0"), (6, 4, "-5'sd8"), (8, 6, "5'sd0"))),
        depth=6,
        refutation_depth=6,
        scope="all inputs, flags and resets of 6 cycles",
    )
)
_add(
    RtlProof(
        "bitprop_mac_neuron",
        "bitprop_mac_neuron",
        "bias or total, plus the products as sums of shifted weights",
        tuple(
            {"INPUTS": str(i), "X_WIDTH": str(x), "W_WIDTH": str(w), "WIDTH": "9"}
            for i, x, w in ((1, 3, 2), (2, 2, 2), (3, 2, 3))
        ),
        mode="prove",
        depth=5,
        refutation_depth=7,
        scope="induction, all inputs and cycles",
    )
)

for _proof in SYSTEM_PROOFS:
    _add(_proof)

# two forms of one network give the same logits and decisions
for _name, (_statement, _covers, _network) in network_proofs().items():
    _add(
        RtlProof(
            _name,
            _covers[0],
            _statement,
            ({},),
            depth=_network.cycles,
            refutation_depth=_network.cycles,
            scope=f"all inputs of {_network.samples} sample(s), {_network.cycles} cycles: to the last answer",
            covers=_covers[1:],
            network=_network,
        )
    )
