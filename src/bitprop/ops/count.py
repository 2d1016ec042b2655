"""``count``: a neuron's contribution of one cycle, an exact parallel counter.

Contract.  Over the I product bits and product signs of a neuron::

    unipolar (0)        contribution = popcount(bits)                       0 .. I
    bipolar (1)         contribution = 2 * popcount(bits) - I              -I .. I
    sign_magnitude (2)  contribution = popcount(bits) - popcount(neg)      -I .. I

``neg`` plays a part in sign_magnitude only.  The contribution is two's complement and needs
:func:`contribution_bits` bits, ``ceil(log2(I + 1)) + 1``, never more.  Combinational; latency 0.

Reference: Parhami and Yeh, *Accumulative parallel counters*, 1995 (parallel counters in stochastic computing).
"""

from __future__ import annotations

from collections.abc import Sequence

from bitprop._checks import check_integer
from bitprop.errors import ShapeError
from bitprop.formats import encoding_of
from bitprop.ops._spec import MAX_INPUTS, OPS, OpSpec, Parameter, Port

__all__ = ["contribution_bits", "count"]

SPEC = OPS.add(
    "count",
    OpSpec(
        key="count",
        module="bitprop_count",
        parameters=(
            Parameter("INPUTS", 1, MAX_INPUTS),
            Parameter("ENCODING", 0, 2),
            Parameter("WIDTH", 2, 32),
        ),
        ports=(
            Port("product_bits", "input", "INPUTS"),
            Port("negative", "input", "INPUTS"),
            Port("contribution", "output", "WIDTH", signed=True),
        ),
        steps=("[S1] count", "[S2] offset"),
        latency=0,
        reference="Parhami and Yeh 1995",
    ),
)


def contribution_bits(inputs: int) -> int:
    """The smallest WIDTH of a counter of ``inputs`` bits, for any encoding: ``ceil(log2(I + 1)) + 1``.

    Raises:
        RangeError: ``inputs`` outside 1 .. 65536.

    Example:
        >>> [contribution_bits(inputs) for inputs in (1, 3, 4, 64)]
        [2, 3, 4, 8]
    """
    return check_integer("inputs", inputs, 1, MAX_INPUTS).bit_length() + 1


def count(product_bits: Sequence[int], negative: Sequence[int], encoding: str) -> int:
    """The contribution of one cycle.

    Args:
        product_bits: I bits.
        negative: I product signs; play a part in ``sign_magnitude`` only.
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.

    Raises:
        RangeError: a bit that is not 0 or 1, or an unknown encoding.
        ShapeError: no bits, or lengths that differ.

    Example:
        >>> bits, negative = [1, 0, 1, 1], [0, 0, 1, 1]
        >>> [count(bits, negative, encoding) for encoding in ("unipolar", "bipolar", "sign_magnitude")]
        [3, 2, 1]
    """
    encoding_of(encoding)
    if len(product_bits) != len(negative) or not product_bits:
        raise ShapeError(
            f"expected as many product bits as signs, at least one, got {len(product_bits)} and {len(negative)}; "
            "give one sign per product"
        )
    bits = [check_integer("product_bits", bit, 0, 1) for bit in product_bits]
    signs = [check_integer("negative", sign, 0, 1) for sign in negative]
    ones = sum(bits)  # [S1] count
    if encoding == "unipolar":  # [S2] offset
        return ones
    return 2 * ones - len(bits) if encoding == "bipolar" else ones - sum(signs)
