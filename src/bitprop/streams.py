"""Bitstreams: packed storage, generation, counts and the two correlation measures of the field.

Packing: cycle ``k`` is bit ``k % 64`` of the uint64 word ``k // 64``, words on the last axis; the bits of the last
word beyond the stream's length are zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitprop import kernels
from bitprop._checks import check_choice, check_integer
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import ENCODINGS, MIN_PRECISION_BITS, IntArray
from bitprop.ops._spec import AbstractSource, check_length, check_numbers

__all__ = [
    "MAX_TABLE_PRECISION_BITS",
    "PackedStreams",
    "generate_stream",
    "pearson",
    "product_count_table",
    "scc",
    "stream_products",
]

FloatArray = npt.NDArray[np.float64]
WordArray = npt.NDArray[np.uint64]

WORD_BITS = 64

MAX_TABLE_PRECISION_BITS = 12
"""Largest precision of :func:`product_count_table`: its table has ``(2**n + 1)**2`` entries, 134 MB for 12 bits."""


def _popcount(words: WordArray) -> IntArray:
    """Ones of each word, summed over the last axis."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    return np.asarray(np.unpackbits(octets, axis=-1).sum(axis=-1), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class PackedStreams:
    """Bitstreams of one length, 64 cycles a word.

    Attributes:
        words: uint64, shape ``[..., ceil(T / 64)]``; cycle k is bit ``k % 64`` of word ``k // 64``.
        length: T, cycles, 1 .. 2**24.

    Raises:
        RangeError: length outside its range, or a bit set beyond it.
        ShapeError: not uint64, or not as many words as the length needs.

    Example:
        >>> a = PackedStreams.pack([[1, 1, 0, 0], [1, 0, 1, 0]])
        >>> a.words.tolist(), a.popcount().tolist()
        ([[3], [5]], [2, 2])
    """

    words: WordArray
    length: int

    def __post_init__(self) -> None:
        length = check_length(self.length)
        needed = -(-length // WORD_BITS)
        if not isinstance(self.words, np.ndarray) or self.words.dtype != np.uint64:
            raise ShapeError(f"expected words as a uint64 array, got {type(self.words).__name__}; use pack")
        if self.words.ndim < 1 or self.words.shape[-1] != needed:
            raise ShapeError(
                f"expected {needed} words on the last axis for length {length}, got shape {list(self.words.shape)}; "
                "use pack"
            )
        spare = needed * WORD_BITS - length
        if spare and bool((self.words[..., -1] >> np.uint64(WORD_BITS - spare)).any()):
            raise RangeError(f"expected zeros beyond cycle {length - 1}, got some ones; use pack")

    @classmethod
    def pack(cls, bits: npt.ArrayLike) -> PackedStreams:
        """Pack bits of shape ``[..., T]``, each 0 or 1 (or boolean), cycle 0 first.

        Raises:
            RangeError: a value that is not 0 or 1, or T outside 1 .. 2**24.
            ShapeError: not integers or booleans, or no axis.
        """
        array = np.asarray(bits)
        if array.dtype.kind not in "iub" or array.ndim < 1:
            raise ShapeError(
                f"expected bits of shape [..., T], got dtype {array.dtype} and shape {list(array.shape)}; "
                "give 0 and 1 with the cycle on the last axis"
            )
        length = check_length(array.shape[-1])
        if array.dtype.kind != "b" and not bool(((array == 0) | (array == 1)).all()):
            raise RangeError("expected bits of 0 or 1, got other values; compare with a threshold first")
        needed = -(-length // WORD_BITS)
        octets = np.zeros((*array.shape[:-1], needed * 8), dtype=np.uint8)
        packed = np.packbits(array.astype(np.uint8), axis=-1, bitorder="little")
        octets[..., : packed.shape[-1]] = packed
        return cls(octets.view("<u8").astype(np.uint64), length)

    def unpack(self) -> IntArray:
        """The bits as int64, shape ``[..., T]``: the inverse of :meth:`pack`."""
        octets = np.ascontiguousarray(self.words.astype("<u8")).view(np.uint8)
        return np.unpackbits(octets, axis=-1, bitorder="little")[..., : self.length].astype(np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of streams, without the cycle axis."""
        return self.words.shape[:-1]

    def popcount(self) -> IntArray:
        """Ones of each stream, int64, shape ``[...]``."""
        return _popcount(self.words)

    def _with(self, other: PackedStreams) -> None:
        if not isinstance(other, PackedStreams) or other.length != self.length:
            got = f"length {other.length}" if isinstance(other, PackedStreams) else type(other).__name__
            raise ShapeError(f"expected PackedStreams of length {self.length}, got {got}; generate both alike")
        try:
            np.broadcast_shapes(self.shape, other.shape)
        except ValueError:
            raise ShapeError(
                f"expected shapes that broadcast, got {list(self.shape)} and {list(other.shape)}; add axes of 1"
            ) from None

    def __and__(self, other: PackedStreams) -> PackedStreams:
        """Cycle by cycle AND, the unipolar product; shapes broadcast.

        Raises:
            ShapeError: lengths differ, or shapes do not broadcast.
        """
        self._with(other)
        return PackedStreams(self.words & other.words, self.length)

    def xnor(self, other: PackedStreams) -> PackedStreams:
        """Cycle by cycle XNOR, the bipolar product; shapes broadcast.

        Raises:
            ShapeError: lengths differ, or shapes do not broadcast.
        """
        self._with(other)
        words = ~(self.words ^ other.words)
        spare = words.shape[-1] * WORD_BITS - self.length
        words[..., -1] &= np.uint64((1 << (WORD_BITS - spare)) - 1)
        return PackedStreams(words, self.length)


def generate_stream(source: AbstractSource, thresholds: npt.ArrayLike, length: int) -> PackedStreams:
    """The streams of thresholds that share one source: bit t is ``R_t < k``.

    Args:
        source: number source of n bits.
        thresholds: integers ``0 .. 2**n``, any shape.
        length: T, 1 .. 2**24.

    Returns:
        streams of the thresholds' shape.

    Raises:
        RangeError: a threshold or the length outside its range.
        ShapeError: thresholds that are not integers.

    Example:
        >>> from bitprop.ops import make_source
        >>> generate_stream(make_source("counter", width=3, seed=0), [0, 3, 8], 8).unpack().tolist()
        [[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]]
    """
    if not isinstance(source, AbstractSource):
        raise RangeError(f"expected a number source, got {source!r}; make one with make_source")
    check_length(length)
    k = np.asarray(thresholds)
    if k.dtype.kind not in "iu":
        raise ShapeError(f"expected integer thresholds, got dtype {k.dtype}; encode values first")
    one = 1 << source.width
    if k.size and (int(k.min()) < 0 or int(k.max()) > one):
        raise RangeError(
            f"expected thresholds in 0 .. {one}, got {int(k.min())} .. {int(k.max())}; encode values first"
        )
    k = k.astype(np.int64)
    sequence = source.sequence(length)
    words = np.zeros((*k.shape, -(-length // WORD_BITS)), dtype=np.uint64)
    for word in range(words.shape[-1]):  # one word at a time bounds the memory
        chunk = sequence[word * WORD_BITS : (word + 1) * WORD_BITS]
        words[..., word] = PackedStreams.pack(chunk < k[..., None]).words[..., 0]
    return PackedStreams(words, length)


def _joint_counts(a: PackedStreams, b: PackedStreams) -> tuple[int, IntArray, IntArray, IntArray]:
    """T, ones of a, ones of b, and cycles where both are one."""
    return a.length, a.popcount(), b.popcount(), (a & b).popcount()


def _divide_or_zero(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.asarray(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0), np.float64)


def scc(a: PackedStreams, b: PackedStreams) -> FloatArray:
    """Stochastic computing correlation of two streams, -1 .. 1.

    With ``p_x``, ``p_y`` the shares of ones and ``p_xy`` the share of cycles where both are one::

        SCC = (p_xy - p_x p_y) / (min(p_x, p_y) - p_x p_y)             if p_xy > p_x p_y
              (p_xy - p_x p_y) / (p_x p_y - max(0, p_x + p_y - 1))     otherwise

    1 is the greatest overlap the two counts allow, -1 the least, 0 independence.  Where a stream is constant only
    one overlap is possible, the quotient is 0 / 0, and 0 is returned.

    Returns:
        float64, the streams' broadcast shape.

    Raises:
        ShapeError: lengths differ, or shapes do not broadcast.

    Reference: Alaghi and Hayes, *Exploiting correlation in stochastic circuit design*, ICCD 2013.

    Example:
        >>> a = PackedStreams.pack([1, 1, 0, 0])
        >>> [float(scc(a, PackedStreams.pack(b))) for b in ([1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0], [1, 1, 1, 1])]
        [1.0, -1.0, 0.0, 0.0]
    """
    T, ones_a, ones_b, both = _joint_counts(a, b)
    product = ones_a * ones_b
    excess = T * both - product  # all times T**2: integers, so that the comparison with 0 is exact
    greatest = T * np.minimum(ones_a, ones_b) - product
    least = product - T * np.maximum(ones_a + ones_b - T, 0)
    return _divide_or_zero(excess, np.where(excess > 0, greatest, least))


def pearson(a: PackedStreams, b: PackedStreams) -> FloatArray:
    """Pearson correlation of two streams, -1 .. 1: ``(p_xy - p_x p_y) / sqrt(p_x (1-p_x) p_y (1-p_y))``.

    0 where a stream is constant, as its variance is 0.

    Returns:
        float64, the streams' broadcast shape.

    Raises:
        ShapeError: lengths differ, or shapes do not broadcast.

    Example:
        >>> a = PackedStreams.pack([1, 1, 0, 0])
        >>> float(pearson(a, a)), float(pearson(a, PackedStreams.pack([0, 0, 1, 1])))
        (1.0, -1.0)
    """
    T, ones_a, ones_b, both = _joint_counts(a, b)
    variance_a = np.asarray(ones_a * (T - ones_a), np.float64)
    variance_b = np.asarray(ones_b * (T - ones_b), np.float64)
    return _divide_or_zero(T * both - ones_a * ones_b, np.sqrt(variance_a) * np.sqrt(variance_b))


def stream_products(
    x: PackedStreams,
    w: PackedStreams,
    encoding: str,
    x_negative: npt.ArrayLike | None = None,
    w_negative: npt.ArrayLike | None = None,
    *,
    threads: int = 1,
) -> IntArray:
    """The accumulators of a dense layer, of any streams: for what no table of thresholds can give.

    ``sum_i sum_t`` of ``x & w`` (unipolar), of agreements less disagreements (bipolar), or of ``x & w`` with the sign
    of the two (sign_magnitude).

    Args:
        x: streams ``[B, I]``.
        w: streams ``[O, I]`` of the same length.
        encoding: encoding name.
        x_negative: signs, 0 or 1, ``[B, I]``; read for ``sign_magnitude`` only, none negative if ``None``.
        w_negative: the same of w, ``[O, I]``.
        threads: of the native kernel.

    Returns:
        int64 ``[B, O]``.

    Raises:
        RangeError: an unknown encoding, a sign that is not 0 or 1, or fewer threads than one.
        ShapeError: not streams of these shapes and of one length, or other shapes of the signs.

    Example:
        >>> x = PackedStreams.pack([[[1, 1, 0, 0], [1, 0, 1, 0]]])
        >>> w = PackedStreams.pack([[[1, 0, 1, 0], [1, 1, 1, 1]]])
        >>> stream_products(x, w, "unipolar").tolist(), stream_products(x, w, "bipolar").tolist()
        ([[3]], [[0]])
        >>> stream_products(x, w, "sign_magnitude", [[0, 0]], [[1, 0]]).tolist()
        [[1]]
    """
    check_choice("encoding", encoding, tuple(ENCODINGS))
    check_integer("threads", threads, 1, 1024)
    for side in (x, w):
        if not isinstance(side, PackedStreams) or len(side.shape) != 2:
            raise ShapeError(f"expected PackedStreams [rows, inputs], got {side!r}; reshape the bits before packing")
    if x.length != w.length or x.shape[1] != w.shape[1]:
        raise ShapeError(
            f"expected streams of one length for as many inputs, got lengths {x.length} and {w.length}, shapes "
            f"{list(x.shape)} and {list(w.shape)}; generate both alike"
        )
    signs: list[npt.NDArray[np.uint8] | None] = [None, None]
    if encoding == "sign_magnitude":
        signs = [_signs(given, side.shape) for given, side in ((x_negative, x), (w_negative, w))]
    out = np.zeros((x.shape[0], w.shape[0]), np.int64)
    native, bipolar = kernels.extension(), encoding == "bipolar"
    if native is not None:
        words = (np.ascontiguousarray(side.words) for side in (x, w))
        native.stream_products(*words, *signs, x.length, bipolar, out, threads)
        return out
    for b in range(len(out)):  # one sample at a time bounds the memory
        sample = PackedStreams(x.words[b], x.length)
        counts = (sample.xnor(w) if bipolar else sample & w).popcount()
        if bipolar:
            counts = 2 * counts - x.length
        elif signs[0] is not None and signs[1] is not None:
            counts = counts * (1 - 2 * (signs[0][b] ^ signs[1]).astype(np.int64))
        out[b] = counts.sum(axis=1)
    return out


def _signs(given: npt.ArrayLike | None, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if given is None:
        return np.zeros(shape, np.uint8)
    array = np.asarray(given)
    if array.shape != shape:
        raise ShapeError(f"expected signs of shape {list(shape)}, got {list(array.shape)}; give one for each stream")
    if not bool(((array == 0) | (array == 1)).all()):
        raise RangeError("expected signs of 0 or 1, got other values; 1 is minus")
    return np.ascontiguousarray(array, np.uint8)


def product_count_table(
    activation_numbers: npt.ArrayLike, weight_numbers: npt.ArrayLike, precision_bits: int
) -> IntArray:
    """How often both streams are one, for every pair of thresholds: ``C[kx, kw] = #{t : R_t < kx and Q_t < kw}``.

    With shared sources a product's count depends on the two thresholds only, so this table is a whole layer's
    multiplier: AND counts ``C[kx, kw]``, XNOR counts ``T - C[kx, one] - C[one, kw] + 2 C[kx, kw]``, ``one = 2**n``.

    Args:
        activation_numbers: ``R_t``, shape ``[T]``, ``0 .. 2**n - 1``.
        weight_numbers: ``Q_t`` (after any correlation), shape ``[T]``, ``0 .. 2**n - 1``.
        precision_bits: n, 3 .. 12.

    Returns:
        int64, shape ``[2**n + 1, 2**n + 1]``.

    Raises:
        RangeError: a number or n outside its range.
        ShapeError: not integers, not one-dimensional, or lengths that differ.

    Example:
        >>> table = product_count_table([0, 4, 2, 6], [0, 1, 4, 7], 3)
        >>> int(table[8, 8]), int(table[3, 5]), int(table[0, 8])
        (4, 2, 0)
    """
    n = check_integer("precision_bits", precision_bits, MIN_PRECISION_BITS, MAX_TABLE_PRECISION_BITS)
    activation = check_numbers("activation_numbers", activation_numbers, n)
    weight = check_numbers("weight_numbers", weight_numbers, n)
    if len(activation) != len(weight):
        raise ShapeError(
            f"expected sequences of one length, got {len(activation)} and {len(weight)}; draw both with the same length"
        )
    size = (1 << n) + 1
    table = np.zeros((size, size), dtype=np.int64)
    np.add.at(table, (activation + 1, weight + 1), 1)
    return np.asarray(table.cumsum(axis=0).cumsum(axis=1), dtype=np.int64)
