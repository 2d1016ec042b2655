"""What is proved of the memories and of what stands between a network and a board's serial line."""

from __future__ import annotations

from bitprop.verification.rtl_proof import ROM_BANKS, RtlProof

__all__ = ["SYSTEM_PROOFS"]

SYSTEM_PROOFS = (
    RtlProof(
        ROM_BANKS,
        ROM_BANKS,
        "a generated memory in banks gives the word of the address of two cycles before",
        ({},),
        depth=6,
        refutation_depth=6,
        scope="all addresses of 6 cycles; nothing is older than two",
    ),
    RtlProof(
        "bitprop_fold_memory",
        "bitprop_fold_memory",
        "the word written last to the address of two cycles before, in banks and without",
        tuple(
            {"DEPTH": str(depth), "WIDTH": "3", "BANK_BITS": str(bank)}
            for depth, bank in ((1, 2), (4, 2), (5, 2), (6, 1))
        ),
        depth=9,
        refutation_depth=9,
        scope="bounded, 9 cycles: all writes and addresses",
    ),
    RtlProof(
        "bitprop_fold_loader",
        "bitprop_fold_loader",
        "words to the weights in order, then to the biases, and again; loaded after a whole load",
        tuple({"WEIGHTS": str(w), "BIASES": str(b)} for w, b in ((1, 1), (3, 2), (4, 3))),
        depth=18,
        refutation_depth=18,
        scope="bounded, 18 cycles: two whole loads; any valid, idle and reset",
    ),
    RtlProof(
        "bitprop_crc",
        "bitprop_crc",
        "a byte of CCITT's CRC at once",
        ({},),
    ),
    RtlProof(
        "bitprop_uart_receiver",
        "bitprop_uart_receiver",
        "a byte that is sent arrives, whole and once",
        ({"CLOCKS": "8"}, {"CLOCKS": "9"}),
        depth=112,
        refutation_depth=112,
        scope="bounded, 112 cycles: one byte, every value, eight times of sending",
        covers=("bitprop_uart_transmitter",),
    ),
    RtlProof(
        "bitprop_serial_sample",
        "bitprop_serial_sample",
        "a right frame gives its values, a wrong one a report and nothing else",
        (
            {"FEATURES": "3", "LANES": "2", "WIDTH": "6"},
            {"FEATURES": "2", "LANES": "2", "WIDTH": "10"},
        ),
        depth=20,
        refutation_depth=20,
        scope="bounded, 20 cycles: one frame, all values, one byte broken or the check spoilt",
    ),
    RtlProof(
        "bitprop_serial_answer",
        "bitprop_serial_answer",
        "the bytes of a decision or a report in order, with their CRC",
        ({"CLASSES": "2", "CLASS_WIDTH": "1", "LOGIT_WIDTH": "5"},),
        depth=14,
        refutation_depth=14,
        scope="bounded, 14 cycles: one decision or report, any pattern of ready",
    ),
    RtlProof(
        "bitprop_board_reset",
        "bitprop_board_reset",
        "15 cycles from the start and after the button",
        ({},),
        depth=40,
        refutation_depth=40,
        scope="bounded, 40 cycles: any button",
    ),
)
"""In the order in which they are carried out."""
