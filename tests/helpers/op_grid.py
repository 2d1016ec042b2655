"""The agreement grid of the operations: an instance, its stimuli, and the outputs the reference gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from bitprop.formats import ENCODINGS
from bitprop.ops import make_source
from bitprop.ops.accumulate import accumulate
from bitprop.ops.argmax import argmax
from bitprop.ops.compare import compare
from bitprop.ops.correlate import correlate
from bitprop.ops.count import contribution_bits, count
from bitprop.ops.encode import ENCODING_CODES, encode
from bitprop.ops.multiply import multiply
from bitprop.ops.requantise import requantise
from helpers.simulate import Case, Row


@dataclass(frozen=True, slots=True)
class Check:
    """A case and what the reference says of it, row by row."""

    case: Case
    expected: Sequence[Mapping[str, int]]

    @property
    def label(self) -> str:
        return f"{self.case.key} {dict(self.case.parameters)}"


def first_difference(check: Check, got: Sequence[Mapping[str, int | None]]) -> str | None:
    """Where simulator and reference part, or ``None``."""
    assert len(got) == len(check.expected)
    for row, (want, have) in enumerate(zip(check.expected, got, strict=True)):
        if dict(want) != dict(have):
            return f"{check.label}: row {row} {dict(check.case.rows[row])}: reference {want}, Verilog {have}"
    return None


def _from_literal(text: str) -> int:
    return int(text.partition("'h")[2], 16) if "'h" in text else int(text)


def check_source(kind: str, steps: int, **fields: int) -> Check:
    """``steps`` numbers, then a stall, more numbers, and a restart that wins over enable."""
    source = make_source(kind, **fields)
    parameters = {name: _from_literal(text) for name, text in source.verilog_parameters().items()}
    controls = [(1, 0)] + [(0, 1)] * steps + [(0, 0)] * 2 + [(0, 1)] * 3 + [(1, 1)] + [(0, 1)] * 2
    sequence = source.sequence(steps + 4).tolist()
    rows, expected, position = [], [], 0
    for restart, enable in controls:
        position = 0 if restart else position + enable
        rows.append({"restart": restart, "enable": enable})
        expected.append({"number": sequence[position]})
    return Check(Case(kind, parameters, rows), expected)


def _check(key: str, parameters: dict[str, int], rows: Iterable[Row], reference: Callable[[Row], Row]) -> Check:
    listed = list(rows)
    return Check(Case(key, parameters, listed), [reference(row) for row in listed])


def check_compare(width: int, rows: Iterable[Row]) -> Check:
    return _check(
        "compare",
        {"WIDTH": width},
        rows,
        lambda r: {"stream_bit": compare(r["number"], r["threshold"], width)},
    )


def check_correlate(width: int, correlation_raw: int, rows: Iterable[Row]) -> Check:
    return _check(
        "correlate",
        {"WIDTH": width, "THRESHOLD": abs(correlation_raw), "NEGATIVE": int(correlation_raw < 0)},
        rows,
        lambda r: {"number": correlate(**r, correlation_raw=correlation_raw, width=width)},
    )


def check_encode(width: int, encoding: str, values: Iterable[int]) -> Check:
    return _check(
        "encode",
        {"WIDTH": width, "ENCODING": ENCODING_CODES[encoding]},
        ({"value": value} for value in values),
        lambda r: dict(zip(("threshold", "negative"), encode(r["value"], encoding, width), strict=True)),
    )


def bits_of(word: int, count: int) -> list[int]:
    return [word >> i & 1 for i in range(count)]


def check_multiply(inputs: int, encoding: str, rows: Iterable[Row]) -> Check:
    def reference(row: Row) -> Row:
        columns = [bits_of(row[name], inputs) for name in ("x_bits", "w_bits", "negative")]
        out = [multiply(x, w, s, encoding) for x, w, s in zip(*columns, strict=True)]
        return {"product_bits": sum(bit << i for i, bit in enumerate(out))}

    return _check("multiply", {"INPUTS": inputs, "ENCODING": ENCODING_CODES[encoding]}, rows, reference)


def check_count(inputs: int, encoding: str, extra: int, rows: Iterable[Row]) -> Check:
    return _check(
        "count",
        {"INPUTS": inputs, "ENCODING": ENCODING_CODES[encoding], "WIDTH": contribution_bits(inputs) + extra},
        rows,
        lambda r: {"contribution": count(bits_of(r["product_bits"], inputs), bits_of(r["negative"], inputs), encoding)},
    )


def check_accumulate(width: int, input_width: int, rows: Sequence[Row]) -> Check:
    expected, total = [], 0
    for row in rows:
        total = accumulate(total, width=width, **row)
        expected.append({"total": total})
    return Check(Case("accumulate", {"WIDTH": width, "INPUT_WIDTH": input_width}, rows), expected)


def check_requantise(
    acc_width: int, width: int, multiplier: int, shift: int, low: int, high: int, accs: Iterable[int]
) -> Check:
    return _check(
        "requantise",
        {
            "ACC_WIDTH": acc_width,
            "WIDTH": width,
            "MULTIPLIER": multiplier,
            "SHIFT": shift,
            "LOW": low,
            "HIGH": high,
        },
        ({"acc": acc} for acc in accs),
        lambda r: {"value": requantise(r["acc"], multiplier, shift, low, high)},
    )


def check_argmax(width: int, rows: Sequence[Sequence[int]]) -> Check:
    mask = (1 << width) - 1
    packed = [{"values": sum((v & mask) << (i * width) for i, v in enumerate(row))} for row in rows]
    expected = [{"index": argmax(row)} for row in rows]
    return Check(Case("argmax", {"INPUTS": len(rows[0]), "WIDTH": width}, packed), expected)


# -- stimuli -----------------------------------------------------------------------------------------------------


def generator(seed: int) -> random.Random:
    """Stimuli from one seed."""
    return random.Random(seed)  # noqa: S311


def signed(bits: int) -> range:
    """Every two's complement integer of ``bits`` bits."""
    return range(-(1 << (bits - 1)), 1 << (bits - 1))


def some_signed(bits: int, count: int, rng: random.Random) -> list[int]:
    """The extremes, the neighbours of zero, and ``count`` random integers of ``bits`` bits."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return [low, low + 1, -1, 0, 1, high - 1, high] + [rng.randint(low, high) for _ in range(count)]


def accumulate_rows(width: int, input_width: int, count: int, rng: random.Random) -> list[dict[str, int]]:
    """A load first, then any mixture of load and enable with extreme and random numbers."""
    biases, inputs = some_signed(width, 10, rng), some_signed(input_width, 10, rng)
    rows = []
    for index in range(count):
        load = int(index == 0 or rng.random() < 0.05)
        rows.append(
            {
                "load": load,
                "bias": rng.choice(biases),
                "enable": int(rng.random() < 0.8),
                "contribution": rng.choice(inputs),
            }
        )
    return rows


def named(names: Sequence[str], ranges: Sequence[Iterable[int]]) -> Iterator[dict[str, int]]:
    """Every combination of the ranges, as rows."""
    for values in product(*ranges):
        yield dict(zip(names, values, strict=True))


def random_words(names: Sequence[str], bits: int, count: int, rng: random.Random) -> list[dict[str, int]]:
    return [{name: rng.getrandbits(bits) for name in names} for _ in range(count)]


_MIX = ("activation_number", "weight_number", "selector_number")
_PRODUCT = ("x_bits", "w_bits", "negative")


@lru_cache(maxsize=1)
def core_checks(seed: int) -> tuple[Check, ...]:
    """A small grid that touches every operation and encoding: for the second simulator and the mutants."""
    rng = generator(seed)
    checks = [
        check_source("lfsr", 18, width=4, seed=5),
        check_source("lfsr", 258, width=8, seed=0xB4),
        check_source("sobol", 20, width=4, seed=9, dimension=3),
        check_source("sobol", 258, width=8, seed=0x3C, dimension=6),
        check_source("halton", 18, width=4, seed=11, base=2),
        check_source("halton", 30, width=4, seed=11, base=3),
        check_source("halton", 731, width=8, seed=200, base=3),
        check_source("counter", 18, width=4, seed=13, stride=3),
        check_compare(4, named(("number", "threshold"), (range(16), range(17)))),
        check_correlate(3, 3, named(_MIX, [range(8)] * 3)),
        check_correlate(3, -5, named(_MIX, [range(8)] * 3)),
        check_accumulate(6, 4, accumulate_rows(6, 4, 300, rng)),
        check_requantise(9, 4, 13, 3, 0, 16, signed(9)),
        check_requantise(9, 4, 13, 5, -16, 16, signed(9)),
        check_requantise(40, 8, 65535, 40, -256, 256, some_signed(40, 100, rng)),
        check_argmax(2, list(product(signed(2), repeat=3))),
        check_argmax(16, [rng.choices(some_signed(16, 4, rng), k=10) for _ in range(100)]),
    ]
    for encoding in ENCODINGS:
        checks += [
            check_encode(4, encoding, signed(6)),
            check_multiply(2, encoding, named(_PRODUCT, [range(4)] * 3)),
            check_multiply(70, encoding, random_words(_PRODUCT, 70, 50, rng)),
            check_count(4, encoding, 0, named(("product_bits", "negative"), [range(16)] * 2)),
            check_count(70, encoding, 3, random_words(("product_bits", "negative"), 70, 50, rng)),
        ]
    return tuple(checks)


@lru_cache(maxsize=1)
def full_checks(seed: int) -> tuple[Check, ...]:
    """Exhaustive up to 8 bits and over full periods; extremes and random rows beyond."""
    rng = generator(seed)
    checks = []
    for width in range(3, 9):
        one = 1 << width
        for first in {1, one - 1, rng.randrange(1, one)}:
            checks.append(check_source("lfsr", one + 2, width=width, seed=first))
        for dimension in range(16):
            checks.append(check_source("sobol", one + 2, width=width, seed=rng.randrange(one), dimension=dimension))
        for first in (0, one - 1):
            checks.append(check_source("halton", one + 2, width=width, seed=first, base=2))
            checks.append(check_source("halton", 3 * one, width=width, seed=first, base=3))
        for stride in {1, 2, one - 1, rng.randrange(1, one)}:
            checks.append(check_source("counter", one + 2, width=width, seed=rng.randrange(one), stride=stride))
        checks.append(check_compare(width, named(("number", "threshold"), (range(one), range(one + 1)))))
        correlations = range(-one, one + 1) if width == 3 else (-one, -one // 3, -1, 0, 1, one // 2, one)
        for correlation_raw in correlations:
            rows = named(_MIX, [range(8)] * 3) if width == 3 else random_words(_MIX, width, 300, rng)
            checks.append(check_correlate(width, correlation_raw, rows))
        for encoding in ENCODINGS:
            checks.append(check_encode(width, encoding, signed(width + 2)))
    for width in (9, 12, 13, 14, 16):
        one = 1 << width
        checks += [
            check_source("lfsr", 600, width=width, seed=rng.randrange(1, one)),
            check_source("sobol", 600, width=width, seed=rng.randrange(one), dimension=rng.randrange(16)),
            check_source("halton", 300, width=width, seed=one - 100, base=2),
            check_source("halton", 300, width=width, seed=one - 100, base=3),
            check_source("counter", 300, width=width, seed=rng.randrange(one), stride=rng.randrange(1, one)),
        ]
    checks.append(check_source("lfsr", (1 << 16) + 2, width=16, seed=0xACE1))
    checks.append(check_source("lfsr", 600, width=32, seed=rng.randrange(1, 1 << 32)))
    edges = (0, 1, 65534, 65535)
    checks.append(check_compare(16, named(("number", "threshold"), (edges, (*edges, 65536)))))
    for correlation_raw in (-65536, 12345):
        checks.append(check_correlate(16, correlation_raw, random_words(_MIX, 16, 200, rng)))
    for encoding in ENCODINGS:
        checks.append(check_encode(16, encoding, [*some_signed(18, 200, rng), 65535, 65536, 65537, -65536, -65537]))
        for inputs in (1, 2, 3):
            checks.append(check_multiply(inputs, encoding, named(_PRODUCT, [range(1 << inputs)] * 3)))
        for inputs in (1, 2, 3, 4):
            for extra in (0, 1):
                pairs = named(("product_bits", "negative"), [range(1 << inputs)] * 2)
                checks.append(check_count(inputs, encoding, extra, pairs))
        for inputs in (8, 63, 64, 784):
            extremes = [
                {"product_bits": a, "negative": b} for a in (0, (1 << inputs) - 1) for b in (0, (1 << inputs) - 1)
            ]
            rows = extremes + random_words(("product_bits", "negative"), inputs, 50, rng)
            checks.append(check_count(inputs, encoding, 0, rows))
    for width, input_width in ((2, 2), (8, 3), (8, 8), (17, 11), (48, 32)):
        checks.append(check_accumulate(width, input_width, accumulate_rows(width, input_width, 300, rng)))
    for acc_width in range(2, 12):
        for multiplier, shift in ((1, 1), (3, 2), (181, 7), (65535, 16), (40000, 30), (7, 40)):
            low, high = (0, 8) if shift % 2 else (-8, 8)
            checks.append(check_requantise(acc_width, 3, multiplier, shift, low, high, signed(acc_width)))
    for acc_width, width in ((20, 8), (32, 16), (48, 16)):
        for shift in (1, 17, 33, 40):
            accs = some_signed(acc_width, 100, rng)
            one = 1 << width
            checks.append(check_requantise(acc_width, width, rng.randrange(1, 1 << 16), shift, -one, one, accs))
    for inputs in (1, 2, 3):
        checks.append(check_argmax(3, list(product(signed(3), repeat=inputs))))
    for inputs, width in ((4, 48), (10, 16), (17, 9)):
        rows = [rng.choices(some_signed(width, 3, rng), k=inputs) for _ in range(100)]
        checks.append(check_argmax(width, rows))
    return tuple(checks)
