"""``multiply``: one product bit per input.

Contract.  For activation bit x, weight bit w and product sign ``neg = neg_x XOR neg_w``::

    unipolar (0)        product = x AND w
    bipolar (1)         product = x XNOR w
    sign_magnitude (2)  product = (x AND w) XOR neg

``neg`` plays a part in sign_magnitude only.  The sign-magnitude form is one counter for both signs: with
``p = x AND w``, ``(p XOR neg) - neg`` is ``p`` for a positive product and ``-p`` for a negative one, and the counter
takes the ``neg`` off (:mod:`bitprop.ops.count`).

Bit i of every port belongs to input i.  Combinational; latency 0.

Reference: Gaines, *Stochastic computing systems*, 1969.
"""

from __future__ import annotations

from bitprop._checks import check_integer
from bitprop.formats import encoding_of
from bitprop.ops._spec import MAX_INPUTS, OPS, OpSpec, Parameter, Port

__all__ = ["multiply"]

SPEC = OPS.add(
    "multiply",
    OpSpec(
        key="multiply",
        module="bitprop_multiply",
        parameters=(Parameter("INPUTS", 1, MAX_INPUTS), Parameter("ENCODING", 0, 2)),
        ports=(
            Port("x_bits", "input", "INPUTS"),
            Port("w_bits", "input", "INPUTS"),
            Port("negative", "input", "INPUTS"),
            Port("product_bits", "output", "INPUTS"),
        ),
        steps=("[S1] gate", "[S2] sign"),
        latency=0,
        reference="Gaines 1969",
    ),
)


def multiply(x_bit: int, w_bit: int, negative: int, encoding: str) -> int:
    """One product bit.

    Args:
        x_bit: activation stream bit.
        w_bit: weight stream bit.
        negative: sign of the product; plays a part in ``sign_magnitude`` only.
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.

    Raises:
        RangeError: a bit that is not 0 or 1, or an unknown encoding.

    Example:
        >>> [multiply(1, 1, 1, encoding) for encoding in ("unipolar", "bipolar", "sign_magnitude")]
        [1, 1, 0]
    """
    for name, bit in (("x_bit", x_bit), ("w_bit", w_bit), ("negative", negative)):
        check_integer(name, bit, 0, 1)
    encoding_of(encoding)
    gated = int(x_bit == w_bit) if encoding == "bipolar" else x_bit & w_bit  # [S1] gate
    return gated ^ negative if encoding == "sign_magnitude" else gated  # [S2] sign
