"""Two ways for a tensor to carry a tangent through a program: as an imaginary part, and as PyTorch's dual number.

**Complex step.**  ``f(x + i h d) = f(x) + i h f'(x) d + O(h^2)``; with ``h = 2^-66`` the square is lost in rounding, so
the imaginary part over h is the derivative to rounding, without cancellation and without a derivative formula.  It
wants holomorphic operations.  An operation that is none, or that PyTorch does not have for complex numbers, is carried
out on dual numbers and brought back.

**Dual numbers.**  PyTorch's forward mode throughout: slower, and it trusts PyTorch's formulas, but every dtype in the
program stays what it was.  Used where the complex step cannot run, and as a second opinion before anything is blamed.

References: Squire and Trapp, *Using complex variables to estimate derivatives of real functions*, SIAM Review 40(1),
1998; Griewank and Walther, *Evaluating Derivatives*, 2008, chapter 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["COMPLEX", "DUAL", "AbstractCarrier", "CarrierError"]

# A power of two, so that scaling by it is exact; its square is below the rounding of float64 even beside large numbers
_STEP = 2.0**-66
# Backward passes that stand for one operation's forward derivative, at most
_ROWS = 1 << 14
_NARROW = (torch.complex64, torch.complex32)


class CarrierError(Exception):
    """This carrier cannot take a tangent through the program; the other one may."""


class AbstractCarrier(ABC):
    """How tangents travel."""

    name: str

    @abstractmethod
    def join(self, primal: Tensor, tangent: Tensor) -> Tensor:
        """A tensor with that value and that tangent."""

    @abstractmethod
    def primal(self, x: Tensor) -> Tensor:
        """The value alone."""

    @abstractmethod
    def tangent(self, x: Tensor) -> Tensor | None:
        """The tangent, float64, or ``None`` where there is none."""

    @abstractmethod
    def level(self) -> Any:
        """Context in which tensors may carry tangents."""

    @abstractmethod
    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out one operation of PyTorch."""

    def constant(self, x: Tensor) -> Tensor:
        """``x`` as a floating tensor without tangent that may meet others that have one."""
        return x


def _dual(primal: Tensor, tangent: Tensor) -> Tensor:
    made: Tensor = forward_ad.make_dual(primal, tangent)  # type: ignore[no-untyped-call]
    return made


def _parts(x: Tensor) -> tuple[Tensor, Tensor | None]:
    primal, tangent = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
    return primal, tangent


class _Dual(AbstractCarrier):
    name = "dual numbers"

    def join(self, primal: Tensor, tangent: Tensor) -> Tensor:
        return _dual(primal, tangent.to(primal.dtype))

    def primal(self, x: Tensor) -> Tensor:
        return _parts(x)[0]

    def tangent(self, x: Tensor) -> Tensor | None:
        if not x.is_floating_point():
            return None
        return _parts(x)[1]

    def level(self) -> Any:
        return forward_ad.dual_level()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return function(*args, **kwargs)
        except NotImplementedError as error:
            if "forward AD" not in str(error):
                raise
        return _by_rows(function, args, kwargs)


# Complex results that are not holomorphic in their arguments; a real result of a complex argument shows itself.
_CONJUGATES = frozenset(
    "conj conj_physical sgn sign vdot adjoint cov corrcoef renorm cosine_similarity pairwise_distance cdist "
    "nan_to_num linalg_qr linalg_svd linalg_eigh svd qr".split()
)
# PyTorch convolves complex numbers with three real convolutions, whose differences swallow a tiny imaginary part.
_INEXACT = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution conv_tbc".split()
)
_CONJUGATE_GETTERS = ("mH", "H")
# Python functions of torch that are compositions of holomorphic operations on every argument
_COMPOSED = frozenset(
    "__rsub__ __rdiv__ __rpow__ __rtruediv__ __rmatmul__ __len__ __iter__ __reversed__ split unflatten einsum "
    "tensordot unravel_index block_diag cartesian_prod meshgrid atleast_1d atleast_2d atleast_3d chain_matmul __pow__ "
    "broadcast_tensors".split()
)
_PYTHON_FUNCTION = type(lambda: None)


class _Complex(AbstractCarrier):
    name = "complex step"

    def join(self, primal: Tensor, tangent: Tensor) -> Tensor:
        return torch.complex(primal.double(), tangent.double() * _STEP)

    def primal(self, x: Tensor) -> Tensor:
        return x.real if x.is_complex() else x

    def tangent(self, x: Tensor) -> Tensor | None:
        return x.imag / _STEP if x.is_complex() else None

    @contextmanager
    def level(self) -> Iterator[None]:
        # a discarded imaginary part is a lost tangent: PyTorch says so once a process unless told otherwise
        always = torch.is_warn_always_enabled()
        torch.set_warn_always(True)
        try:
            yield
        finally:
            torch.set_warn_always(always)

    def constant(self, x: Tensor) -> Tensor:
        return x.to(torch.complex128) if x.is_floating_point() else x

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(function, "__name__", "")
        composed = isinstance(function, _PYTHON_FUNCTION) and name not in _COMPOSED
        if (
            name in _CONJUGATES
            or name in _INEXACT
            or composed
            or (name == "__get__" and _getter_of(function) in _CONJUGATE_GETTERS)
        ):
            return self._by_duals(function, args, kwargs) if _any_complex(args, kwargs) else function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            if not _any_complex(args, kwargs):
                raise
            return self._by_duals(function, args, kwargs)
        if isinstance(result, Tensor) and result.is_floating_point() and _any_complex(args, kwargs):
            return self._by_duals(function, args, kwargs)  # abs, norm, var: real although an argument was complex
        return result

    def _by_duals(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation on dual numbers, its result brought back to complex ones."""
        in_place = _is_in_place(function)
        with forward_ad.dual_level():
            memo: dict[int, Tensor] = {}

            def lower(x: Any) -> Any:
                if not isinstance(x, Tensor) or not x.is_complex():
                    return x
                if id(x) not in memo:
                    memo[id(x)] = _dual(x.real.clone(), x.imag / _STEP)
                return memo[id(x)]

            def lift(x: Any) -> Any:
                if not isinstance(x, Tensor) or not x.is_floating_point():
                    return x
                primal, tangent = _parts(x)
                return self.join(primal, torch.zeros_like(primal) if tangent is None else tangent).clone()

            lowered = pytree.tree_map(lower, (args, kwargs))
            result = pytree.tree_map(lift, DUAL.call(function, *lowered))
        if in_place and isinstance(args[0], Tensor):
            if not args[0].is_complex():
                raise CarrierError("an operation writes a tangent into a real tensor")
            args[0].copy_(result)
            return args[0]
        return result


def _by_rows(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation on dual numbers without a forward derivative in PyTorch: a backward pass for each number given."""
    if _is_in_place(function):
        raise CarrierError(f"PyTorch has no forward derivative of {getattr(function, '__name__', function)}")
    leaves, structure = pytree.tree_flatten((args, kwargs))
    moved: list[tuple[Tensor, Tensor]] = []
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            tangent = DUAL.tangent(leaf)
            leaves[index] = DUAL.primal(leaf).detach().clone()
            if tangent is not None:
                moved.append((leaves[index].requires_grad_(), tangent))
    with torch.enable_grad():
        args, kwargs = pytree.tree_unflatten(leaves, structure)
        result = function(*args, **kwargs)

    def lift(y: Any) -> Any:
        if not isinstance(y, Tensor) or not y.requires_grad:
            return y
        if y.numel() > _ROWS:
            raise CarrierError(
                f"PyTorch has no forward derivative of {getattr(function, '__name__', function)}, and its result of "
                f"{y.numel()} numbers is beyond the {_ROWS} that are differentiated one by one; verify on less data"
            )
        tangent = torch.zeros(y.numel(), dtype=torch.float64)
        for row, number in enumerate(y.flatten()):
            grads = torch.autograd.grad(number, [x for x, _ in moved], retain_graph=True, allow_unused=True)
            for grad, (_, direction) in zip(grads, moved, strict=True):
                if grad is not None:
                    tangent[row] += (grad.double() * direction).sum()
        return DUAL.join(y.detach(), tangent.reshape(y.shape))

    return pytree.tree_map(lift, result)


def _getter_of(function: Any) -> str:
    return getattr(getattr(function, "__self__", None), "__name__", "")


def _is_in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name.endswith("_") and not name.endswith("__")


def _any_complex(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    for value in args:
        if isinstance(value, Tensor):
            if value.is_complex():
                return True
        elif isinstance(value, list | tuple) and any(isinstance(x, Tensor) and x.is_complex() for x in value):
            return True
    return any(isinstance(value, Tensor) and value.is_complex() for value in kwargs.values()) if kwargs else False


COMPLEX: AbstractCarrier = _Complex()
DUAL: AbstractCarrier = _Dual()
