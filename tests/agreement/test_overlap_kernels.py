"""Means of correlated products by kernels against the plain closed forms, with gradients, at every level."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitprop import kernels
from bitprop.formats import ENCODINGS
from bitprop.training.sc_estimators import expectation
from bitprop.training.sc_estimators.expectation import dense_mean, overlap_dense

LEVELS = kernels.levels()[1:]
BOUNDS = {torch.float32: 1e-6, torch.float64: 1e-12}

pytestmark = pytest.mark.skipif(not LEVELS, reason=kernels.why_not() or "none")


def _sides(samples: int, outputs: int, inputs: int, dtype: torch.dtype, seed: int) -> list[Tensor]:
    """Values beyond the range too, on its ends, and equal or opposite on both sides; and upstream gradients."""
    generator = torch.Generator().manual_seed(seed)
    x, w = (torch.rand(rows, inputs, generator=generator, dtype=dtype) * 2.4 - 1.2 for rows in (samples, outputs))
    ends = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=dtype)
    for side in (x, w):
        chosen = torch.rand(side.shape, generator=generator) < 0.4
        side[chosen] = ends[torch.randint(0, 4, side.shape, generator=generator)][chosen]
    return [x, w, torch.randn(samples, outputs, generator=generator, dtype=dtype)]


def _run(x: Tensor, w: Tensor, upstream: Tensor, correlation: float, encoding: str, level: str) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in (x, w, torch.tensor(correlation, dtype=x.dtype))]
    with kernels.use_level(level):
        out = dense_mean(leaves[0], leaves[1], encoding, leaves[2])
        return [out.detach(), *torch.autograd.grad(out, leaves, upstream)]


def _agree(got: list[Tensor], expected: list[Tensor]) -> bool:
    # a scalar's gradient is the sum over all outputs, which cancel: its terms' size counts
    bound = BOUNDS[got[0].dtype]
    return all(
        float((a - b).abs().max()) <= bound * (float(b.abs().max()) if b.dim() else 3.0 * (1.0 + got[0].numel()))
        for a, b in zip(got, expected, strict=True)
        if b.numel()
    )


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([0, 1, 2, 9]),
    st.sampled_from([1, 3, 17]),
    st.sampled_from([1, 15, 16, 17, 40]),
    st.sampled_from(sorted(ENCODINGS)),
    st.sampled_from([0.0, 0.3, -0.4, 1.0, -1.0]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 1 << 20),
)
def test_any_layer(
    samples: int, outputs: int, inputs: int, encoding: str, correlation: float, dtype: torch.dtype, seed: int
) -> None:
    x, w, upstream = _sides(samples, outputs, inputs, dtype, seed)
    expected = _run(x, w, upstream, correlation, encoding, "reference")
    found = [_run(x, w, upstream, correlation, encoding, level) for level in LEVELS]
    assert all(_agree(got, expected) for got in found)
    assert all(torch.equal(a, b) for got in found[1:] for a, b in zip(found[0], got, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_strides_do_not_matter(threads: int) -> None:
    x, w, upstream = _sides(30, 20, 50, torch.float64, 1)
    expected = _run(x, w, upstream, 0.3, "bipolar", "reference")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        wide = torch.stack([x, x], 2)[..., 0]
        got = _run(wide, w, upstream.t().contiguous().t(), 0.3, "bipolar", LEVELS[-1])
    finally:
        torch.set_num_threads(before)
    assert _agree(got, expected)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_the_overlap_alone(positive: bool, encoding: str) -> None:
    x, w, upstream = _sides(7, 5, 33, torch.float64, 2)
    found = []
    for level in ("reference", *LEVELS):
        leaves = [t.clone().requires_grad_() for t in (x, w)]
        with kernels.use_level(level):
            out = overlap_dense(*leaves, encoding, positive)
            found.append([out.detach(), *torch.autograd.grad(out, leaves, upstream)])
    assert all(_agree(got, found[0]) for got in found[1:])


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_second_derivatives_are_still_there(encoding: str) -> None:
    x, w, _ = _sides(2, 2, 3, torch.float64, 3)
    leaves = [(t.clamp(-0.9, 0.9) * 0.7 + 0.21 * (1 + n)).abs() for n, t in enumerate((x, w))]
    sides = [side.clamp(0.05, 0.95).requires_grad_() for side in leaves]
    c = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a, b, c: dense_mean(a, b * 0.9, encoding, c), (*sides, c))


def test_planted_errors_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs dropped, the other side's overlap, slopes of another encoding: the comparison must see each."""
    x, w, upstream = _sides(9, 5, 21, torch.float64, 4)
    right = kernels.extension()

    class Wrong:
        def __init__(self, name: str, change: Any) -> None:
            self.name, self.change = name, change

        def __getattr__(self, name: str) -> Any:
            function = getattr(right, name)
            return (lambda *a: function(*self.change(*a))) if name == self.name else function

    for encoding, correlation in (("sign_magnitude", 0.3), ("bipolar", -0.4)):
        expected = _run(x, w, upstream, correlation, encoding, "reference")
        mutants = [
            Wrong("overlap", lambda p, s, q, t, positive, *rest: (p, s, q, t, not positive, *rest)),
            Wrong("overlap", lambda p, s, q, t, *rest: (q[:1].repeat(len(p), 0), s, q, t, *rest)),
            Wrong("overlap_back", lambda g, p, s, q, t, positive, *rest: (g, p, s, q, t, not positive, *rest)),
            Wrong("overlap_back", lambda g, *rest: (1.001 * g, *rest)),
        ]
        for mutant in mutants:
            with monkeypatch.context() as patch:
                patch.setattr(expectation.kernels, "extension", lambda mutant=mutant: mutant)
                wrong = [t.clone().requires_grad_() for t in (x, w, torch.tensor(correlation, dtype=x.dtype))]
                out = dense_mean(wrong[0], wrong[1], encoding, wrong[2])
                got = [out.detach(), *torch.autograd.grad(out, wrong, upstream)]
            assert not _agree(got, expected), (encoding, mutant.name)


def test_the_extension_refuses_what_does_not_fit() -> None:
    native = kernels.extension()
    right = [torch.zeros(shape).numpy() for shape in ((2, 3), (2, 3), (4, 3), (4, 3))]
    native.overlap(*right, True, torch.zeros(2, 4).numpy(), 1)
    grads = [torch.zeros(shape).numpy() for shape in ((2, 4), (2, 3), (4, 3))]
    native.overlap_back(grads[0], *right, True, *grads[1:], 1)
    for place in range(4):
        wrong = list(right)
        wrong[place] = torch.zeros(3, 2).numpy()
        with pytest.raises(ValueError, match=":"):
            native.overlap(*wrong, True, torch.zeros(2, 4).numpy(), 1)
    with pytest.raises(ValueError, match="out:"):
        native.overlap(*right, True, torch.zeros(4, 2).numpy(), 1)
    for place in range(3):
        changed = list(grads)
        changed[place] = torch.zeros(5, 5).numpy()
        with pytest.raises(ValueError, match="grad"):
            native.overlap_back(changed[0], *right, True, *changed[1:], 1)
