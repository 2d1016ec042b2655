"""Closed forms: the mean and the per-cycle variance of one stochastic product, and of a dense layer of them.

With stream probabilities ``p_x``, ``p_w`` and correlation ``c`` (SCC, in [-1, 1]) one cycle of the AND of two
streams is one with probability::

    P = (1 - |c|) p_x p_w + |c| m,    m = min(p_x, p_w)          if c > 0
                                      m = max(0, p_x + p_w - 1)  if c < 0

==================  ==============================  ==================
encoding            mean of one product             variance, one cycle
==================  ==============================  ==================
``unipolar``        ``P``                           ``P (1 - P)``
``sign_magnitude``  ``sign(x) sign(w) P``           ``P (1 - P)``
``bipolar``         ``1 - 2 p_x - 2 p_w + 4 P``     ``1 - mean**2``
==================  ==============================  ==================

A stream of length L of independent bits divides the variance by L; independent products add theirs.  A value
outside an encoding's range saturates: it is clamped, its gradient there is the clamp's (zero).

References: Alaghi and Hayes, *Exploiting correlation in stochastic circuit design*, ICCD 2013 (SCC); Gaines,
*Stochastic computing systems*, 1969 (the gates).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from bitprop import kernels
from bitprop.errors import ShapeError
from bitprop.formats import encoding_of

__all__ = ["dense_mean", "dense_variance", "overlap_dense", "product_mean", "product_probability", "product_variance"]

# Elements of one [B, O_chunk, I] block: bounds the memory of the correlated term (16 MiB in float32).
_BLOCK_ELEMENTS = 1 << 22


def saturate(value: Tensor, encoding: str) -> Tensor:
    """Clamp to the encoding's range."""
    limits = encoding_of(encoding)
    return value.clamp(limits.low, limits.high)


def _stream_probability(value: Tensor, encoding: str) -> Tensor:
    """Value to probability of a one, after saturation."""
    value = saturate(value, encoding)
    if encoding == "bipolar":
        return (value + 1) / 2
    return value.abs()


def _sign(value: Tensor) -> Tensor:
    """+1 or -1, +1 at zero: there a mean of products has a slope, which a sign of 0 would lose."""
    return torch.where(value < 0, -torch.ones_like(value), torch.ones_like(value)).detach()


def _signed_probability(value: Tensor, encoding: str) -> Tensor:
    """:func:`_stream_probability` for means: no kink at zero, where the slope of abs() would be lost."""
    if encoding == "bipolar":
        return _stream_probability(value, encoding)
    return saturate(value, encoding) * _sign(value)


def _overlap(p_x: Tensor, p_w: Tensor, positive: bool) -> Tensor:
    """Probability that both streams are one at full correlation: the Frechet bounds."""
    return torch.minimum(p_x, p_w) if positive else (p_x + p_w - 1).clamp_min(0)


def _sides(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative parts of c; at 0 each has slope 1/2, the mean of its one-sided slopes."""
    magnitude = correlation.abs()
    return (magnitude + correlation) / 2, (magnitude - correlation) / 2


def product_probability(p_x: Tensor, p_w: Tensor, correlation: Tensor | float) -> Tensor:
    """Probability that the AND of two streams is one in a cycle.

    Args:
        p_x: probabilities in [0, 1].
        p_w: probabilities in [0, 1], broadcast against ``p_x``.
        correlation: SCC in [-1, 1]; at exactly 0 the derivative is the mean of the one-sided ones.

    Returns:
        ``(1 - |c|) p_x p_w + |c| m``, broadcast shape.
    """
    c = torch.as_tensor(correlation, dtype=p_x.dtype, device=p_x.device)
    independent = p_x * p_w
    above, below = _sides(c)
    return (
        independent
        + above * (_overlap(p_x, p_w, True) - independent)
        + below * (_overlap(p_x, p_w, False) - independent)
    )


def product_mean(x: Tensor, w: Tensor, encoding: str, correlation: Tensor | float = 0.0) -> Tensor:
    """Expected value of one product, broadcast over ``x`` and ``w``.

    Raises:
        RangeError: unknown encoding.

    Example:
        >>> x, w = torch.tensor(0.5, dtype=torch.float64), torch.tensor(-0.25, dtype=torch.float64)
        >>> [round(product_mean(x, w, name).item(), 6) for name in ("bipolar", "sign_magnitude", "unipolar")]
        [-0.125, -0.125, 0.0]
    """
    p_x, p_w = _signed_probability(x, encoding), _signed_probability(w, encoding)
    p = product_probability(p_x, p_w, correlation)
    if encoding == "bipolar":
        return 1 - 2 * p_x - 2 * p_w + 4 * p
    if encoding == "sign_magnitude":
        return _sign(x) * _sign(w) * p
    return p


def product_variance(x: Tensor, w: Tensor, encoding: str, correlation: Tensor | float = 0.0) -> Tensor:
    """Variance of one cycle of one product; divide by L for a stream of L independent bits.

    Raises:
        RangeError: unknown encoding.
    """
    if encoding == "bipolar":
        return 1 - product_mean(x, w, encoding, correlation) ** 2
    p = product_probability(_stream_probability(x, encoding), _stream_probability(w, encoding), correlation)
    return p * (1 - p)


def _native(*sides: Tensor) -> Any:
    """The kernels, or ``None`` where they do not take these tensors."""
    dtype = sides[0].dtype
    fits = dtype in (torch.float32, torch.float64) and all(s.dtype == dtype and s.device.type == "cpu" for s in sides)
    return kernels.extension() if fits else None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _OverlapDense(torch.autograd.Function):
    """``sum_i s_i m(p_x[b,i], p_w[o,i])``: by a kernel, or in blocks of outputs, so that memory stays bounded."""

    @staticmethod
    def forward(ctx: Any, p_x: Tensor, p_w: Tensor, s_x: Tensor, s_w: Tensor, positive: bool) -> Tensor:
        ctx.save_for_backward(p_x, p_w, s_x, s_w)
        ctx.positive = positive
        out = p_x.new_empty(p_x.shape[0], p_w.shape[0])
        native = _native(p_x, p_w, s_x, s_w)
        if native is not None:
            native.overlap(*_arrays(p_x, s_x, p_w, s_w), positive, out.numpy(), torch.get_num_threads())
            return out
        for rows in _blocks(p_x, p_w):
            overlap = _overlap(p_x[:, None, :], p_w[None, rows, :], positive)
            out[:, rows] = torch.einsum("boi,bi,oi->bo", overlap, s_x, s_w[rows])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        p_x, p_w, s_x, s_w = ctx.saved_tensors
        native = _native(grad, p_x, p_w, s_x, s_w)
        # a backward pass that is itself differentiated runs with gradients on
        if native is not None and not torch.is_grad_enabled():
            found = [side.new_empty(side.shape) for side in (p_x, p_w)]
            sides = _arrays(grad, p_x, s_x, p_w, s_w)
            native.overlap_back(*sides, ctx.positive, *(side.numpy() for side in found), torch.get_num_threads())
            return found[0], found[1], None, None, None
        grad_x, grad_w = torch.zeros_like(p_x), torch.empty_like(p_w)
        for rows in _blocks(p_x, p_w):
            a, b = p_x[:, None, :], p_w[None, rows, :]
            if ctx.positive:  # at a tie both one-sided slopes are right; halve, as torch.minimum does
                slope_x = (a < b).to(a) + 0.5 * (a == b).to(a)
                slope_w = 1 - slope_x
            else:
                slope_x = (a + b > 1).to(a)
                slope_w = slope_x
            weighted = grad[:, rows, None] * s_x[:, None, :] * s_w[None, rows, :]
            grad_x += (weighted * slope_x).sum(1)
            grad_w[rows] = (weighted * slope_w).sum(0)
        return grad_x, grad_w, None, None, None


def _blocks(p_x: Tensor, p_w: Tensor) -> list[slice]:
    rows = max(1, _BLOCK_ELEMENTS // max(1, p_x.numel()))
    return [slice(start, start + rows) for start in range(0, p_w.shape[0], rows)]


def overlap_dense(x: Tensor, w: Tensor, encoding: str, positive: bool) -> Tensor:
    """Sum over inputs of the fully correlated AND probability, signed as the encoding's product.

    Args:
        x: activations ``[B, I]``.
        w: weights ``[O, I]``.
        encoding: encoding name.
        positive: full positive (min) or full negative (max(0, p + q - 1)) correlation.

    Returns:
        ``[B, O]``; memory is bounded whatever the sizes.
    """
    p_x, p_w = _signed_probability(x, encoding), _signed_probability(w, encoding)
    if encoding == "sign_magnitude":
        s_x, s_w = _sign(x), _sign(w)
    else:
        s_x, s_w = torch.ones_like(p_x), torch.ones_like(p_w)
    return cast(Tensor, _OverlapDense.apply(p_x, p_w, s_x, s_w, positive))  # type: ignore[no-untyped-call]


def _check_dense(x: Tensor, w: Tensor) -> None:
    if x.dim() != 2 or w.dim() != 2 or x.shape[1] != w.shape[1]:
        raise ShapeError(f"expected x [B, I] and w [O, I], got {list(x.shape)} and {list(w.shape)}; reshape them")


def dense_mean(x: Tensor, w: Tensor, encoding: str, correlation: Tensor | float = 0.0) -> Tensor:
    """Expected sum of products of a dense layer: ``sum_i E[product(x[b,i], w[o,i])]``.

    Args:
        x: activations ``[B, I]``.
        w: weights ``[O, I]``.
        encoding: encoding name.
        correlation: SCC in [-1, 1], a number or a scalar tensor (differentiable).

    Returns:
        ``[B, O]``.  Without correlation this is one matrix product.

    Raises:
        ShapeError: shapes do not fit.
        RangeError: unknown encoding.
    """
    _check_dense(x, w)
    if not isinstance(correlation, Tensor) and correlation == 0:
        return saturate(x, encoding) @ saturate(w, encoding).t()
    c = torch.as_tensor(correlation, dtype=x.dtype, device=x.device)
    if _native(x, w) is not None and not torch.compiler.is_compiling():
        return cast(Tensor, _CorrelatedMean.apply(x, w, c, encoding))  # type: ignore[no-untyped-call]
    return _correlated_mean(x, w, c, encoding)


def _correlated_mean(x: Tensor, w: Tensor, c: Tensor, encoding: str) -> Tensor:
    independent = saturate(x, encoding) @ saturate(w, encoding).t()
    p_x, p_w = _signed_probability(x, encoding), _signed_probability(w, encoding)
    sign_x, sign_w = (_sign(x), _sign(w)) if encoding == "sign_magnitude" else (1.0, 1.0)
    base = (p_x * sign_x) @ (p_w * sign_w).t()
    # the mean is linear in P, so correlation adds slope * |c| * (overlap - independent)
    total = independent
    value = float(c.detach())
    for part, positive, needed in zip(_sides(c), (True, False), (value >= 0, value <= 0), strict=True):
        if needed:
            total = total + _slope(encoding) * part * (overlap_dense(x, w, encoding, positive) - base)
    return total


def _slope(encoding: str) -> float:
    """Of a product's mean in P."""
    return 4.0 if encoding == "bipolar" else 1.0


class _CorrelatedMean(torch.autograd.Function):
    """:func:`_correlated_mean` by kernels, with its gradients written out: a handful of operations, not hundreds."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, c: Tensor, encoding: str) -> Tensor:
        ctx.save_for_backward(x, w, c)
        ctx.encoding, ctx.sides = encoding, [_Side(x, encoding), _Side(w, encoding)]
        of_x, of_w = ctx.sides
        value = c.item()
        ctx.signs = [sign for sign in (1, -1) if value * sign >= 0]
        out: Tensor = of_x.clamped @ of_w.clamped.t()
        base = of_x.signed @ of_w.signed.t()
        ctx.excess = []
        for sign in ctx.signs:
            overlap = torch.empty_like(out)
            sides = (*of_x.arrays(), *of_w.arrays())
            kernels.extension().overlap(*sides, sign > 0, overlap.numpy(), torch.get_num_threads())
            ctx.excess.append(overlap.sub_(base).mul_(_slope(encoding)))
            if value:
                out = out + abs(value) * ctx.excess[-1]
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w, c = ctx.saved_tensors
        grad = gradients[0].contiguous()
        if torch.is_grad_enabled():  # it is itself differentiated
            wanted = [t for t, needed in zip((x, w, c), ctx.needs_input_grad, strict=False) if needed]
            plain = iter(torch.autograd.grad(_correlated_mean(x, w, c, ctx.encoding), wanted, grad, create_graph=True))
            return (*(next(plain) if needed else None for needed in ctx.needs_input_grad[:3]), None)
        of_x, of_w = ctx.sides
        value = c.item()
        found = [grad @ of_w.clamped, grad.t() @ of_x.clamped]
        if value:
            overlaps = [torch.empty_like(side) for side in found]
            kernels.extension().overlap_back(
                grad.numpy(),
                *of_x.arrays(),
                *of_w.arrays(),
                value > 0,
                *(side.numpy() for side in overlaps),
                torch.get_num_threads(),
            )
            size = _slope(ctx.encoding) * abs(value)
            apart = grad @ of_w.signed, grad.t() @ of_x.signed
            for total, overlap, base, side in zip(found, overlaps, apart, ctx.sides, strict=True):
                # the base's slope has the sign in it twice
                total += size * side.slope * (overlap * side.sign - base)
        # |c| has slope 0 at 0: each side's part then has half of it
        share = 1.0 if value else 0.5
        by_c = share * sum(
            sign * float((grad * excess).sum()) for sign, excess in zip(ctx.signs, ctx.excess, strict=True)
        )
        return found[0] * of_x.inside, found[1] * of_w.inside, c.new_tensor(by_c), None


class _Side:
    """One side's values as the correlated mean needs them; computed without gradients."""

    def __init__(self, value: Tensor, encoding: str) -> None:
        limits = encoding_of(encoding)
        value = value.contiguous()
        self.clamped = value.clamp(limits.low, limits.high)
        self.inside = self.clamped == value
        if encoding == "bipolar":
            self.probability, self.slope = (self.clamped + 1) / 2, 0.5
        else:
            self.probability, self.slope = self.clamped.abs(), 1.0
        self.sign = _sign(value) if encoding == "sign_magnitude" else torch.ones_like(value)
        self.signed = self.probability if encoding == "bipolar" else self.clamped

    def arrays(self) -> list[Any]:
        """Probabilities and signs for a kernel."""
        return [self.probability.numpy(), self.sign.numpy()]


def dense_variance(x: Tensor, w: Tensor, encoding: str, correlation: Tensor | float = 0.0) -> Tensor:
    """Per-cycle variance of a dense layer's sum of products, products independent: ``sum_i Var``.

    Args:
        x: activations ``[B, I]``.
        w: weights ``[O, I]``.
        encoding: encoding name.
        correlation: SCC in [-1, 1].

    Returns:
        ``[B, O]``; divide by L for streams of L independent bits.

    Raises:
        ShapeError: shapes do not fit.
        RangeError: unknown encoding.
    """
    _check_dense(x, w)
    if not isinstance(correlation, Tensor) and correlation == 0:
        x, w = saturate(x, encoding), saturate(w, encoding)
        squares = (x * x) @ (w * w).t()
        return x.shape[1] - squares if encoding == "bipolar" else x.abs() @ w.abs().t() - squares
    blocks = [
        product_variance(x[:, None, :], w[None, rows, :], encoding, correlation).sum(-1) for rows in _blocks(x, w)
    ]
    return torch.cat(blocks, dim=1)
