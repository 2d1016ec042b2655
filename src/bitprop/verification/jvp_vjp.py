"""Forward mode against reverse mode: an operation's two derivatives must be transposes of each other.

With the Jacobian J of an operation, a tangent u and a cotangent v::

    <v, J u> = <J^T v, u>,      r = |<v, J u> - <J^T v, u>| / max(|v| |J u|, |J^T v| |u|)

It holds to rounding if the operation's forward-mode rule and its backward rule describe one linear map, for smooth
operations and for surrogates alike.  What it cannot show: that the map is the right one; both rules may be wrong
together, and a rule that autograd derives from the other is equal by construction.

Reference: Griewank and Walther, *Evaluating derivatives*, 2nd edition, SIAM, 2008, chapter 3.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bitprop._checks import check_integer, check_real
from bitprop.errors import ShapeError
from bitprop.seeds import derive_seed
from bitprop.verification.result import GradientVerificationResult, Status, Where

__all__ = ["check_jvp_vjp"]

_NO_FORWARD = ("forward ad", "forward mode", "forward-mode", "jvp", "vmap", "setup_context")
_CLAIM = "forward mode and reverse mode are transposes of each other"


def _outputs(function: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    value = function(*inputs)
    values = list(value) if isinstance(value, tuple | list) else [value]
    chosen = [item for item in values if isinstance(item, Tensor) and item.is_floating_point()]
    if not chosen:
        raise ShapeError(f"expected floating-point tensors from the function, got {type(value).__name__}; return them")
    return chosen


def _random(like: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    return [torch.randn(item.shape, generator=generator, dtype=torch.float64).to(item) for item in like]


def _dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(left, right, strict=True))


def _forward_mode(function: Callable[..., Any], inputs: Sequence[Tensor], tangent: Sequence[Tensor]) -> list[Tensor]:
    with warnings.catch_warnings(), forward_ad.dual_level():
        # torch's first make_dual compiles its decompositions, with a function that torch itself has deprecated
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        make: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
        unpack: Callable[[Tensor], Any] = forward_ad.unpack_dual
        duals = [make(x.detach(), u) for x, u in zip(inputs, tangent, strict=True)]
        parts = [unpack(item) for item in _outputs(function, duals)]
        return [torch.zeros_like(p.primal) if p.tangent is None else p.tangent.detach() for p in parts]


def _reverse_mode(function: Callable[..., Any], inputs: Sequence[Tensor], cotangent: Sequence[Tensor]) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_(True) for x in inputs]
    with torch.enable_grad():
        values = _outputs(function, leaves)
        live = [(value, v) for value, v in zip(values, cotangent, strict=True) if value.requires_grad]
        if not live:
            return [torch.zeros_like(x) for x in inputs]
        found = torch.autograd.grad([a for a, _ in live], leaves, [b for _, b in live], allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def check_jvp_vjp(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    *,
    pairs: int = 4,
    tolerance: float = 1e-10,
    seed: int = 0,
    name: str = "operation",
) -> GradientVerificationResult:
    """Compare ``<v, J u>`` of forward mode with ``<J^T v, u>`` of reverse mode for random u and v.

    Args:
        function: of the inputs, to one floating-point tensor or several.
        inputs: floating-point tensors; taken to float64.
        pairs: random pairs (u, v), 1 .. 1000.
        tolerance: largest r, 1e-16 .. 1.
        seed: of the pairs.
        name: of the operation, for the report.

    Returns:
        PASS, FAIL; VACUOUS where both modes give zero; SKIPPED, with the reason, where there is no forward mode.

    Raises:
        ShapeError: no floating-point inputs or outputs.
        RangeError: an argument out of range.

    Example:
        >>> check_jvp_vjp(torch.sin, torch.tensor([0.3, 1.2])).status
        'PASS'
    """
    check_integer("pairs", pairs, 1, 1000)
    check_real("tolerance", tolerance, 1e-16, 1.0)
    start = time.perf_counter()
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not given or not all(isinstance(x, Tensor) and x.is_floating_point() for x in given):
        raise ShapeError(f"expected floating-point tensors as inputs, got {inputs!r}; pass integers by a closure")
    points = [x.detach().double() for x in given]
    generator = torch.Generator().manual_seed(derive_seed(seed, "jvp_vjp"))
    with torch.no_grad():
        shapes = [value.detach() for value in _outputs(function, points)]
    worst, claimed, computed, size = -1.0, 0.0, 0.0, 0.0
    for _ in range(pairs):
        u, v = _random(points, generator), _random(shapes, generator)
        try:
            pushed = _forward_mode(function, points, u)
        except (RuntimeError, NotImplementedError) as error:
            if not any(word in str(error).lower() for word in _NO_FORWARD):
                raise
            reason = str(error).splitlines()[0].rstrip(".")
            return GradientVerificationResult(
                name="jvp_vjp",
                claim=f"{name}: {_CLAIM}",
                status="SKIPPED",
                detail=f"there is no forward mode: {reason}",
                seed=seed,
                dtype="float64",
                seconds=time.perf_counter() - start,
            )
        pulled = _reverse_mode(function, points, v)
        forward, reverse = _dot(v, pushed), _dot(pulled, u)
        lengths = [math.sqrt(_dot(item, item)) for item in (v, pushed, pulled, u)]
        scale = max(lengths[0] * lengths[1], lengths[2] * lengths[3])
        size = max(size, scale) if math.isfinite(scale) else math.inf
        r = 0.0 if scale == 0.0 else abs(forward - reverse) / scale
        r = r if math.isfinite(r) else math.inf
        if r > worst:
            worst, claimed, computed = r, forward, reverse
    status: Status = "PASS" if worst <= tolerance else "FAIL"
    detail = f"{pairs} random pairs"
    if size == 0.0:
        status, detail = "VACUOUS", "both modes give zero everywhere"
    elif status == "FAIL":
        detail = f"forward mode gives <v, J u> = {claimed:.9g}, reverse mode <J^T v, u> = {computed:.9g}"
    return GradientVerificationResult(
        name="jvp_vjp",
        claim=f"{name}: {_CLAIM}",
        status=status,
        detail=detail,
        statistic=worst,
        tolerance=tolerance,
        tolerance_reason="both modes do the same sums in another order: rounding in float64",
        null_error=torch.finfo(torch.float64).eps,
        smallest_detectable=tolerance,
        where=Where(claimed=claimed, computed=computed),
        maximum_error=abs(claimed - computed),
        evaluations=2 * pairs + 1,
        seed=seed,
        dtype="float64",
        seconds=time.perf_counter() - start,
    )
