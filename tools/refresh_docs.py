"""Write the generated parts of the documentation: reference tables between markers, and pictures.

    python tools/refresh_docs.py            rewrite docs/*.md and docs/pictures/*.svg where they differ
    python tools/refresh_docs.py --check    change nothing; exit with 1 when something differs

A part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.  Everything but ``estimator-profile`` is
integer arithmetic or text and the same on every machine; that one is sampled, and is compared to two per cent.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from bitprop.formats import ENCODINGS, IntArray
from bitprop.nn.sources import LAYOUTS, MAX_LENGTH, layer_sources
from bitprop.ops import SOURCES, AbstractSource
from bitprop.ops.correlate import mix_numbers
from bitprop.streams import product_count_table
from bitprop.training.config import BudgetConfig, DataConfig, NetworkConfig, RunConfig, TrainingConfig
from bitprop.training.sc_estimators import ESTIMATORS, make_estimator
from bitprop.verification.estimators import profile_estimators
from gradient_tables import markdown, peer_findings, planted_bugs, planted_row
from hardware_tables import cost_model_errors, random_networks, rtl_lint, rtl_proofs

__all__ = ["PICTURES", "SAMPLED", "TABLES", "config_keys", "parts_of", "planted_row", "replaced"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
SECTIONS: dict[str, type[BaseModel]] = {
    "": RunConfig,
    "data": DataConfig,
    "network": NetworkConfig,
    "training": TrainingConfig,
    "budget": BudgetConfig,
}
KINDS = ("sobol", "halton", "lfsr", "counter", "bernoulli")
LENGTHS = (4, 8, 16, 32, 64, 128, 256)

# what a field accepts, where its own annotation cannot say it
_ACCEPTS = {
    "name": "lower-case identifier",
    "data.source": "`digits`, `fashion_mnist`, path of a `.npz` or `.csv`",
    "data.folder": "path",
    "network.hidden": "widths, each 1 .. 65536; may be empty",
    "network.lengths": f"strictly increasing, each 1 .. {MAX_LENGTH}; or one such list for each layer",
    "network.encodings": "distinct, among "
    + ", ".join(f"`{name}`" for name in ENCODINGS)
    + "; or one such list for each layer",
    "network.min_correlation": "-1 .. 1; or one number for each layer",
    "network.max_correlation": "-1 .. 1; or one number for each layer",
    "network.generator": ", ".join(f"`{name}`" for name in SOURCES),
    "budget.lut": "1 .. 10 000 000",
    "budget.bram": "0 .. 100 000",
    "budget.dsp": "0 .. 100 000",
    "budget.latency_us": "above 0",
    "network.layout": ", ".join(f"`{name}`" for name in LAYOUTS) + "; or one for each layer",
}


# -- configuration ---------------------------------------------------------------------------------------------------


def config_keys() -> dict[str, Any]:
    """Every key of a TOML configuration with its pydantic field, ``section.key``."""
    found: dict[str, Any] = {}
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            if not section and name in SECTIONS:
                continue
            found[f"{section}.{name}" if section else name] = field
    return found


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The ``Attributes:`` of a docstring, by name."""
    text = (model.__doc__ or "").partition("Attributes:")[2].partition("Example:")[0]
    entries = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w+: |\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: " ".join(meaning.split()).replace("``", "`").rstrip(".") for name, meaning in entries}


def _accepts(key: str, field: Any) -> str:
    if key in _ACCEPTS:
        return _ACCEPTS[key]
    bounds: dict[str, Any] = {}
    for item in field.metadata:
        for name in ("ge", "gt", "le", "lt", "pattern"):
            if getattr(item, name, None) is not None:
                bounds[name] = getattr(item, name)
    if "pattern" in bounds:
        return ", ".join(f"`{choice}`" for choice in bounds["pattern"].strip("^()$").split("|"))
    if "ge" in bounds and "le" in bounds:
        return f"{_number(bounds['ge'])} .. {_number(bounds['le'])}"
    if not {"ge", "gt"} & set(bounds) or not {"le", "lt"} & set(bounds):
        raise ValueError(f"expected bounds in the annotation of {key}, got {bounds}; say in _ACCEPTS what it accepts")
    low = f"from {_number(bounds['ge'])}" if "ge" in bounds else f"above {_number(bounds['gt'])}"
    return f"{low}, {'up to ' + _number(bounds['le']) if 'le' in bounds else 'below ' + _number(bounds['lt'])}"


def _number(value: float) -> str:
    if value == 1 << 63:
        return "2⁶³"
    return f"{int(value):,}".replace(",", " ") if value == int(value) else f"{value:g}"


def _toml(value: Any) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def config_table() -> str:
    """Every key, its default, what it accepts and what it means."""
    parts = []
    for section, model in SECTIONS.items():
        meanings = _meanings(model)
        rows = []
        for key, field in config_keys().items():
            if key.rpartition(".")[0] == section:
                name = key.rpartition(".")[2]
                rows.append([f"`{name}`", f"`{_toml(field.default)}`", _accepts(key, field), meanings[name]])
        heading = f"**`[{section}]`**" if section else "**top level**"
        parts.append(f"{heading}\n\n{markdown(['key', 'default', 'accepts', 'meaning'], rows)}")
    return "\n\n".join(parts)


# -- estimators ------------------------------------------------------------------------------------------------------


def estimator_claims() -> str:
    """What every registered estimator declares."""
    rows = []
    for name in ESTIMATORS:
        estimator = make_estimator(name)
        claim = "every loss" if estimator.unbiased else "multilinear" if estimator.unbiased_if_multilinear else "no"
        rows.append(
            [
                f"`{name}`",
                f"`{estimator.target}`",
                claim,
                "values in [0, 1], slope" if estimator.needs_relaxed_loss else "bits",
                str(estimator.evaluations),
                estimator.variance_law,
            ]
        )
    return markdown(
        ["estimator", "mean of the estimates", "unbiased for", "needs the loss at", "evaluations", "variance over L"],
        rows,
    )


def estimator_profile() -> str:
    """Bias and variance of every estimator on six Bernoulli bits, seed 0."""
    weight = torch.tensor([0.8, -0.6, 0.5, 0.4, -0.7, 0.9], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.5, 0.8, -1.2, 0.1, 0.6], dtype=torch.float64)
    profiles = profile_estimators(lambda z: torch.exp(z @ weight), logits, samples=100_000)
    rows = []
    for p in sorted(profiles, key=lambda p: (not p.unbiased, p.variance_times_evaluations)):
        target = "–" if p.target_bias is None else "0" if p.target_bias < 1e-12 else f"{p.target_bias:.3f}"
        rows.append(
            [
                f"`{p.name}`",
                "yes" if p.unbiased else "no",
                target,
                f"{p.relative_bias:.4f} ± {p.relative_standard_error:.4f}",
                _three_digits(p.total_variance),
                _three_digits(p.variance_times_evaluations),
            ]
        )
    return markdown(
        [
            "estimator",
            "claims no bias",
            "exact bias",
            "measured distance",
            "variance of a sample",
            "variance × evaluations",
        ],
        rows,
    )


def _three_digits(value: float) -> str:
    return f"{value:#.3g}" if value else "0"


# -- sources ---------------------------------------------------------------------------------------------------------


def _numbers(kind: str, length: int, n: int, layout: str = "independent") -> tuple[IntArray, IntArray]:
    sources = layer_sources(kind, length, n, layout=layout)
    return sources.activation.sequence(length), sources.weight.sequence(length)


def product_errors(kind: str, length: int, n: int = 8) -> tuple[float, float]:
    """Root mean square error of one product over every pair of thresholds: AND, XNOR (in bipolar values)."""
    one = 1 << n
    counts = product_count_table(*_numbers(kind, length, n), n)
    share = np.arange(one + 1) / one
    both = counts / length - np.outer(share, share)
    xnor = length - counts[:, [one]] - counts[[one], :] + 2 * counts
    bipolar = 2 * xnor / length - 1 - np.outer(2 * share - 1, 2 * share - 1)
    return math.sqrt(float(np.mean(both**2))), math.sqrt(float(np.mean(bipolar**2)))


def product_error_table() -> str:
    """Root mean square errors of products by source and length."""
    rows = []
    for index, gate in enumerate(("AND", "XNOR")):
        rows += [
            [f"{gate}, `{kind}`", *(f"{product_errors(kind, length)[index]:.4f}" for length in LENGTHS)]
            for kind in KINDS
        ]
    return markdown(["gate, source", *(f"L = {length}" for length in LENGTHS)], rows)


def aligned_error_table() -> str:
    """Root mean square distance of an AND's share of ones from the smaller of its inputs, sources aligned."""
    n = 8
    share = np.arange((1 << n) + 1) / (1 << n)
    rows = []
    for kind in KINDS:
        errors = []
        for length in LENGTHS:
            counts = product_count_table(*_numbers(kind, length, n, "aligned"), n)
            errors.append(math.sqrt(float(np.mean((counts / length - np.minimum.outer(share, share)) ** 2))))
        rows.append([f"AND, `{kind}`", *(f"{error:.4f}" for error in errors)])
    return markdown(["gate, source", *(f"L = {length}" for length in LENGTHS)], rows)


def layer_source_table() -> str:
    """The sources of a layer at L = 16, n = 8, and their first numbers."""
    rows = []
    for kind in KINDS:
        sources = layer_sources(kind, 16, 8)
        for role, source in (
            ("activations", sources.activation),
            ("weights", sources.weight),
            ("correlation", sources.correlation),
        ):
            rows.append([f"`{kind}`", role, _parameters(source), _first(source)])
    return markdown(["generator", "role", "parameters", "first numbers"], rows)


def _parameters(source: AbstractSource) -> str:
    fields = {key: value for key, value in source.to_dict().items() if key not in ("kind", "width")}
    return ", ".join(f"{key} {value:#x}" if key == "polynomial" else f"{key} {value}" for key, value in fields.items())


def _first(source: AbstractSource) -> str:
    return " ".join(str(number) for number in source.sequence(8).tolist())


def count_table() -> str:
    """A whole product-count table: 3 bits, one period of two Sobol dimensions."""
    counts = product_count_table(*_numbers("sobol", 8, 3), 3)
    rows = [[f"**{kx}**", *(str(count) for count in row)] for kx, row in enumerate(counts.tolist())]
    return markdown(["kx \\ kw", *(str(kw) for kw in range(9))], rows)


# -- pictures --------------------------------------------------------------------------------------------------------

_STYLE = "font-family='sans-serif' font-size='11' fill='#222'"


def _svg(width: int, height: int, body: Sequence[str]) -> str:
    inside = "\n".join(body)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'>\n"
        f"<rect width='{width}' height='{height}' fill='#fff'/>\n{inside}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f"<text x='{x:g}' y='{y:g}' {_STYLE} text-anchor='{anchor}'>{text}</text>"


def _bits(x: int, y: int, bits: Sequence[int], colour: str) -> str:
    """A stream as a row of boxes, filled where the bit is one."""
    ones = "".join(f"M{x + 18 * t} {y}h16v14h-16z" for t, bit in enumerate(bits) if bit)
    zeros = "".join(f"M{x + 18 * t} {y}h16v14h-16z" for t, bit in enumerate(bits) if not bit)
    return f"<path d='{zeros}' fill='#eee'/><path d='{ones}' fill='{colour}'/>"


def _gate_rows(y: int, title: str, x_bits: IntArray, w_bits: IntArray) -> list[str]:
    both = x_bits & w_bits
    body = [_text(10, y + 12, title)]
    for index, (name, bits, colour) in enumerate(
        (("x", x_bits, "#3b6fb5"), ("w", w_bits, "#3b6fb5"), ("x AND w", both, "#c2571a"))
    ):
        row = y + 18 * index
        body += [
            _text(172, row + 12, name, "end"),
            _bits(180, row, bits.tolist(), colour),
            _text(476, row + 12, f"{int(bits.sum())} of {len(bits)}"),
        ]
    return body


def streams_picture() -> str:
    """16 cycles of x = 0.5 and w = 0.75 and their AND, by source."""
    body = []
    for index, kind in enumerate(("sobol", "lfsr", "counter")):
        activation, weight = _numbers(kind, 16, 8)
        body += _gate_rows(10 + 66 * index, kind, (activation < 128).astype(np.int64), (weight < 192).astype(np.int64))
    return _svg(540, 206, body)


def correlation_picture() -> str:
    """16 cycles of x = w = 0.5 at three correlations."""
    sources = layer_sources("sobol", 16, 8)
    r, s, t = (source.sequence(16) for source in (sources.activation, sources.weight, sources.correlation))
    body = []
    for index, raw in enumerate((-256, 0, 256)):
        q = mix_numbers(r, s, t, raw, 8)
        title = f"correlation {raw // 256:+d}" if raw else "correlation 0"
        body += _gate_rows(10 + 66 * index, title, (r < 128).astype(np.int64), (q < 128).astype(np.int64))
    return _svg(540, 206, body)


def error_picture() -> str:
    """Error of the AND of every pair of 4-bit thresholds over 16 cycles, by source."""
    shades = ("#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b")
    body = []
    for index, kind in enumerate(KINDS):
        left, top, cell = 20 + 118 * index, 28, 6
        counts = product_count_table(*_numbers(kind, 16, 4), 4)
        ideal = np.outer(np.arange(17), np.arange(17)) / 16
        level = np.minimum(np.abs(counts - ideal) * 2, len(shades) - 1).astype(int)
        body.append(_text(left, 18, kind))
        for shade, colour in enumerate(shades):
            path = "".join(
                f"M{left + cell * kw} {top + cell * (16 - kx)}h{cell}v{cell}h-{cell}z"
                for kx, kw in np.argwhere(level == shade).tolist()
            )
            if path:
                body.append(f"<path d='{path}' fill='{colour}'/>")
        body.append(_text(left + 51, 144, "w", "middle"))
    body.append(_text(8, 82, "x", "middle"))
    for shade, colour in enumerate(shades):
        body.append(f"<rect x='{150 + 90 * shade}' y='156' width='12' height='12' fill='{colour}' stroke='#999'/>")
        upper = f"{shade / 2:g} to {shade / 2 + 0.5:g}" if shade < len(shades) - 1 else f"{shade / 2:g} and more"
        body.append(_text(167 + 90 * shade, 166, upper))
    body.append(_text(20, 166, "counts of 16 off by"))
    return _svg(620, 178, body)


TABLES: dict[str, Callable[[], str]] = {
    "config": config_table,
    "estimator-claims": estimator_claims,
    "estimator-profile": estimator_profile,
    "product-errors": product_error_table,
    "aligned-errors": aligned_error_table,
    "layer-sources": layer_source_table,
    "product-counts": count_table,
    "planted-bugs": planted_bugs,
    "peer-findings": peer_findings,
    "cost-model-errors": cost_model_errors,
    "random-networks": random_networks,
    "rtl-lint": rtl_lint,
    "rtl-proofs": rtl_proofs,
}
SAMPLED = frozenset({"estimator-profile"})
PICTURES: dict[str, Callable[[], str]] = {
    "streams.svg": streams_picture,
    "correlation.svg": correlation_picture,
    "product-errors.svg": error_picture,
}

_PART = re.compile(r"(<!-- begin ([\w-]+) -->\n)(.*?)(<!-- end \2 -->)", re.DOTALL)


def parts_of(text: str) -> dict[str, str]:
    """The generated parts of a page, by name."""
    return {match[2]: match[3].strip("\n") for match in _PART.finditer(text)}


def replaced(text: str, tables: dict[str, str]) -> str:
    r"""A page with its generated parts written anew.

    Example:
        >>> replaced("<!-- begin a -->\nold\n<!-- end a -->\n", {"a": "new"})
        '<!-- begin a -->\n\nnew\n\n<!-- end a -->\n'
    """
    return _PART.sub(lambda match: f"{match[1]}\n{tables[match[2]]}\n\n{match[4]}", text)


def same(name: str, old: str, new: str) -> bool:
    """Whether two versions of a part agree: to the character, or a sampled one to two per cent of every number."""
    if name not in SAMPLED:
        return old == new
    number = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
    ours, theirs = number.findall(old), number.findall(new)
    return number.sub("#", old) == number.sub("#", new) and all(
        math.isclose(float(a), float(b), rel_tol=0.02, abs_tol=2e-3) for a, b in zip(ours, theirs, strict=True)
    )


def main() -> int:
    """Carry the command line out."""
    parser = argparse.ArgumentParser(description="Refresh the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 on a difference")
    check = parser.parse_args().check
    tables = {name: make() for name, make in TABLES.items()}
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if any(not same(name, part, tables[name]) for name, part in parts_of(text).items()):
            stale.append(page)
            if not check:
                page.write_text(replaced(text, tables), encoding="utf-8")
    for name, draw in PICTURES.items():
        picture = DOCS / "pictures" / name
        if not picture.is_file() or picture.read_text(encoding="utf-8") != draw():
            stale.append(picture)
            if not check:
                picture.parent.mkdir(exist_ok=True)
                picture.write_text(draw(), encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(DOCS.parent)}: {'differs' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
