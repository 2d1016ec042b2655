"""``correlate``: choose each cycle between independent, shared and mirrored numbers, for a chosen SCC.

Contract.  ``c`` in [-1, 1] is carried as the integer ``correlation_raw = round(c * 2**n)``, ``-2**n .. 2**n``
(:func:`bitprop.formats.quantise`); ``kc = abs(correlation_raw)``.  With activation number R, weight number S and
selector number T, the weight comparators see::

    Q = S               if T >= kc
    Q = R               if T <  kc and c > 0
    Q = 2**n - 1 - R    if T <  kc and c < 0

For independent uniform R, S, T the product's share of ones is
``(1 - |c|) x w + |c| min(x, w)`` for c > 0 and ``(1 - |c|) x w + |c| max(0, x + w - 1)`` for c < 0: ``c`` is the
stochastic computing correlation of the two streams.

All numbers unsigned, n bits; ``kc`` has n + 1.  Combinational; latency 0.

Reference: Alaghi and Hayes, *Exploiting correlation in stochastic circuit design*, ICCD 2013.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, IntArray
from bitprop.ops._spec import OPS, OpSpec, Parameter, Port, check_numbers

__all__ = ["correlate", "mix_checked", "mix_numbers"]

SPEC = OPS.add(
    "correlate",
    OpSpec(
        key="correlate",
        module="bitprop_correlate",
        parameters=(
            Parameter("WIDTH", 3, 16),
            Parameter("THRESHOLD", 0, 2**16, "WIDTH + 1"),
            Parameter("NEGATIVE", 0, 1),
        ),
        ports=(
            Port("activation_number", "input", "WIDTH"),
            Port("weight_number", "input", "WIDTH"),
            Port("selector_number", "input", "WIDTH"),
            Port("number", "output", "WIDTH"),
        ),
        steps=("[S1] select", "[S2] mirror", "[S3] mix"),
        latency=0,
        reference="Alaghi and Hayes 2013",
    ),
)


def correlate(
    activation_number: int, weight_number: int, selector_number: int, correlation_raw: int, width: int
) -> int:
    """The number the weight comparators see in one cycle.

    Args:
        activation_number: R, ``0 .. 2**n - 1``.
        weight_number: S, ``0 .. 2**n - 1``.
        selector_number: T, ``0 .. 2**n - 1``.
        correlation_raw: ``round(c * 2**n)``, ``-2**n .. 2**n``.
        width: n, 3 .. 16.

    Raises:
        RangeError: an argument outside its range.

    Example:
        >>> [correlate(1, 4, selector, -4, 3) for selector in (3, 4)]  # c = -1/2
        [6, 4]
    """
    check_integer("width", width, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    one = 1 << width
    check_integer("activation_number", activation_number, 0, one - 1)
    check_integer("weight_number", weight_number, 0, one - 1)
    check_integer("selector_number", selector_number, 0, one - 1)
    check_integer("correlation_raw", correlation_raw, -one, one)
    shared = selector_number < abs(correlation_raw)  # [S1] select
    mirrored = one - 1 - activation_number if correlation_raw < 0 else activation_number  # [S2] mirror
    return mirrored if shared else weight_number  # [S3] mix


def mix_numbers(
    activation_numbers: npt.ArrayLike,
    weight_numbers: npt.ArrayLike,
    selector_numbers: npt.ArrayLike | None,
    correlation_raw: int,
    precision_bits: int,
) -> IntArray:
    """The sequence ``Q_t`` the weight comparators see, from the sequences of the three sources.

    Args:
        activation_numbers: ``R_t``, shape ``[T]``.
        weight_numbers: ``S_t``, shape ``[T]``.
        selector_numbers: ``T_t``, shape ``[T]``; ``None`` when ``correlation_raw`` is 0, as there is no third source.
        correlation_raw: ``round(c * 2**n)``, ``-2**n .. 2**n``.
        precision_bits: n, 3 .. 16.

    Returns:
        ``Q_t``, shape ``[T]``.

    Raises:
        RangeError: a value outside its range, or no selector with a correlation that is not 0.
        ShapeError: not integers, not one-dimensional, or lengths that differ.

    Example:
        >>> mix_numbers([0, 1, 2], [7, 6, 5], [0, 4, 7], 8, 3).tolist()  # c = 1: all shared
        [0, 1, 2]
    """
    n = check_integer("precision_bits", precision_bits, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    check_integer("correlation_raw", correlation_raw, -(1 << n), 1 << n)
    activation = check_numbers("activation_numbers", activation_numbers, n)
    weight = check_numbers("weight_numbers", weight_numbers, n)
    if selector_numbers is None:
        if correlation_raw != 0:
            raise RangeError(
                f"expected selector numbers for correlation_raw {correlation_raw}, got None; "
                "give a third source or a correlation of 0"
            )
        selector = np.zeros_like(weight)
    else:
        selector = check_numbers("selector_numbers", selector_numbers, n)
    if not len(activation) == len(weight) == len(selector):
        raise ShapeError(
            f"expected sequences of one length, got {len(activation)}, {len(weight)} and {len(selector)}; "
            "draw all from their sources with the same length"
        )
    return mix_checked(activation, weight, selector, correlation_raw, n)


def mix_checked(
    activation: IntArray, weight: IntArray, selector: IntArray, correlation_raw: int, precision_bits: int
) -> IntArray:
    """:func:`mix_numbers` of sequences that are known to fit: what :func:`correlate` says, of all cycles."""
    mirrored = (1 << precision_bits) - 1 - activation if correlation_raw < 0 else activation
    return np.where(selector < abs(correlation_raw), mirrored, weight)
