"""Two ways of running one program: recording what it decides, and replaying it with tangents.

Both see every call of PyTorch's Python interface.  The recorder changes nothing but, on request, float32 into float64.
The replayer takes every decision from the tape, so that it follows the hard network's path exactly, and lets tangents
through where the claim says that gradients pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from bitprop.verification.replay._carrier import COMPLEX, AbstractCarrier, CarrierError
from bitprop.verification.replay._tape import (
    CutKind,
    CutSite,
    ModulePath,
    Tape,
    in_parametrization,
    is_discrete,
    source_line,
)

__all__ = ["Recorder", "Replayer"]

Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Passes = Callable[[CutSite], bool]
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _methods(*names: str) -> list[Any]:
    """Every function of torch and method of tensors called so."""
    found = []
    for name in names:
        found += [vars(owner)[name] for owner in (torch._C.TensorBase, Tensor) if name in vars(owner)]
        if hasattr(torch, name):
            found.append(getattr(torch, name))
    return found


def _getter(name: str) -> Any:
    return getattr(torch._C.TensorBase, name).__get__


_COMPARISONS = _methods(
    "gt", "ge", "lt", "le", "eq", "ne", "greater", "greater_equal", "less", "less_equal", "equal", "isfinite", "isnan",
    "isinf", "signbit", "argmax", "argmin", "heaviside",
    "__gt__", "__ge__", "__lt__", "__le__", "__eq__", "__ne__",
)  # fmt: skip
_ORDERS = {
    function: sign
    for sign, names in ((1.0, ("gt", "ge", "greater", "greater_equal", "__gt__", "__ge__")),
                        (-1.0, ("lt", "le", "less", "less_equal", "__lt__", "__le__")))
    for function in _methods(*names)
}  # fmt: skip
_DRAWS = _methods(
    "rand_like", "randn_like", "randint_like", "bernoulli", "bernoulli_", "multinomial", "poisson", "normal",
    "uniform_", "normal_", "exponential_", "random_",
)  # fmt: skip
_CASTS = {"float": torch.float32, "double": torch.float64, "half": torch.float16, "bfloat16": torch.bfloat16}
_FACTORIES = _methods(
    "zeros", "ones", "empty", "full", "new_zeros", "new_ones", "new_empty", "new_full", "zeros_like", "ones_like",
    "empty_like", "full_like",
)  # fmt: skip
_SUMS = [*_methods("add", "sub", "add_", "sub_", "rsub", "__radd__", "__rsub__", "__add__", "__sub__", "subtract")]
_NUMBERS = _methods("item", "tolist", "__float__", "numpy", "__array__")
_VALUES = [*_NUMBERS, *_methods("__bool__", "__int__", "__index__")]
_UNKNOWN = torch.tensor([0.5] * 9 + [k / 7 for k in range(9)])  # not discrete
_DATA = _getter("data")
_DTYPE = _getter("dtype")


class _Mode(TorchFunctionMode):
    """Looks every call up in a table."""

    def __init__(self) -> None:
        super().__init__()
        self._table: dict[Any, Handler] = {}

    def _on(self, functions: list[Any], handler: Handler) -> None:
        for function in functions:
            self._table[function] = handler

    def __torch_function__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = self._table.get(function)
        if handler is None:
            return self._plain(function, args, kwargs or {})
        return handler(function, args, kwargs or {})

    def _plain(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs) if kwargs else function(*args)


def _under_gradient(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad and x.is_floating_point()


def _shaken(value: Any) -> Any:
    """A number that is a little different, or an array of such."""
    is_array = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value + 1e-3 * (abs(value) + 1.0) if is_array or isinstance(value, float) else value


def _lifted(value: Any) -> Any:
    """float64 where float32 was asked for."""
    return torch.float64 if value is torch.float32 else value


class Recorder(_Mode):
    """Notes decisions and cuts of one run.

    Args:
        tape: where to.
        path: the running module.
        lift: compute in float64 what the code asks for in float32: for a float32 model that is verified in float64.
        shaken: a source line at which numbers that leave PyTorch are changed a little.
    """

    def __init__(self, tape: Tape, path: ModulePath, *, lift: bool, shaken: str = "") -> None:
        super().__init__()
        self._tape, self._path, self._lift, self._shaken = tape, path, lift, shaken
        self.noting = True
        self._detached: dict[int, Tensor] = {}  # kept alive, so that an identity stays one
        self._steps: dict[int, Tensor] = {}  # results of comparisons under the gradient, kept alive
        # outputs of continuous cuts, by identity, with the tensor kept alive: candidates of straight-through constructs
        self._cut: dict[int, tuple[Tensor, CutSite]] = {}
        self._on(_COMPARISONS, self._decide)
        self._on(_methods("detach", "detach_"), self._detach)
        self._on([_DATA], self._detach)
        self._on([torch._C._set_grad_enabled], self._grad_mode)
        self._on(_SUMS, self._sum)
        self._on(_NUMBERS, self._leave)
        for name in _CASTS:
            self._on(_methods(name), self._cast)
        self._on(
            _methods("to", "type", "as_tensor", "tensor", "asarray", *(f.__name__ for f in _FACTORIES)), self._make
        )

    def _decide(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        if isinstance(result, Tensor) and self.noting:
            if function in _ORDERS and not self._path.outside and any(_under_gradient(x) for x in args[:2]):
                self._tape.steps.add(len(self._tape.decisions))
                self._steps[id(result)] = result
            self._tape.decisions.append(result.detach().clone())
        return result

    def _note(self, kind: CutKind, x: Tensor) -> CutSite:
        module, line = self._path.current, source_line()
        site = CutSite(
            index=len(self._tape.cuts),
            kind=kind,
            module=module,
            line=line,
            step=self._tape.step(module, f"{kind} {line}"),
            discrete=is_discrete(x),
            in_loss=self._path.outside,
            by_pytorch=in_parametrization(),
        )
        self._tape.cuts.append(site)
        return site

    def _detach(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.noting:
            return function(*args, **kwargs)
        carries = _under_gradient(args[0])
        site = self._note("data" if function == _DATA else "detach", args[0])
        result = function(*args, **kwargs)
        if carries:
            self._detached[id(result)] = result
        if not site.discrete:
            self._cut[id(result)] = result, site
        return result

    def _leave(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        x = args[0]
        if self.noting and not self._path.outside and (_under_gradient(x) or id(x) in self._detached):
            line = source_line()
            if line == self._shaken:
                return pytree.tree_map(_shaken, result)
            step = self._tape.step(self._path.current, f"value {line}")
            site = CutSite(
                len(self._tape.values), "value", self._path.current, line, step, is_discrete(x), in_loss=False
            )
            self._tape.values.append(site)
        return result

    def _grad_mode(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.noting and args[0] is False and torch.is_grad_enabled() and not self._path.outside:
            self._note("no_grad", _UNKNOWN)
        return function(*args, **kwargs)

    def _sum(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        if self._cut and isinstance(result, Tensor):  # not before anything was cut
            sites = [self._cut[id(x)][1] for x in args[:2] if id(x) in self._cut]
            # soft - soft.detach(), or (hard - soft).detach() + soft: the value is a spike or nothing at all
            if sites and bool(((result - result.round()).abs() < 1e-5).all()):
                for site in sites:
                    site.straight_through = True
                    self._excuse_step(site)
        return result

    def _excuse_step(self, site: CutSite) -> None:
        """The comparison that makes the hard part of a straight-through construct is no cut of its own."""
        for earlier in reversed(self._tape.cuts[: site.index]):
            if earlier.kind == "comparison" and earlier.module == site.module:
                earlier.straight_through = True
                return

    def _cast(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = function.__name__
        if id(args[0]) in self._steps and self.noting:
            self._note("comparison", args[0])
        if self._lift and name == "float":
            return args[0].double()
        self._narrows(args[0], _CASTS[name])
        return function(*args, **kwargs)

    def _make(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._lift:
            args = tuple(_lifted(x) for x in args)
            if "dtype" in kwargs:
                kwargs = {**kwargs, "dtype": _lifted(kwargs["dtype"])}
        result = function(*args, **kwargs)
        if function.__name__ in ("to", "type") and isinstance(result, Tensor) and result.is_floating_point():
            if id(args[0]) in self._steps and self.noting:
                self._note("comparison", args[0])
            self._narrows(args[0], result.dtype)
        return result

    def _narrows(self, x: Any, dtype: torch.dtype) -> None:
        """Note a cast that loses digits of a tensor under the gradient; a spike loses none."""
        if (
            self.noting
            and _under_gradient(x)
            and torch.finfo(dtype).eps > torch.finfo(x.dtype).eps
            and not is_discrete(x)
        ):
            self._tape.narrowed.append(source_line())


class Replayer(_Mode):
    """Runs the recorded program with tangents.

    Args:
        tape: of the recorded run.
        carrier: how tangents travel.
        passes: whether a gradient passes the given cut, by the claim.
        attached: gradients pass through what holds decisions.
        slope: the claimed slope for a module, or ``None``: as coded.
    """

    def __init__(
        self, tape: Tape, carrier: AbstractCarrier, passes: Passes, *, attached: bool, slope: Callable[[str], Any]
    ) -> None:
        super().__init__()
        self._tape, self._carrier, self._passes = tape, carrier, passes
        self._attached, self._slope = attached, slope
        self._steps: dict[int, tuple[Tensor, Tensor, Tensor]] = {}  # result of a comparison, value and tangent
        self._complex = carrier is COMPLEX
        self._decision = 0
        self._cut = 0
        self._blocked: list[bool] = []
        self.misaligned: Counter[str] = Counter()
        self._on(_COMPARISONS, self._decide)
        self._on(_methods("detach", "detach_"), self._detach)
        self._on([_DATA], self._detach)
        self._on([torch._C._set_grad_enabled], self._grad_mode)
        self._on(_VALUES, self._value)
        for name in _CASTS:
            self._on(_methods(name), self._cast)
        self._on(_methods("to", "type", "type_as"), self._cast)
        self._on(_FACTORIES, self._factory)
        if self._complex:
            self._on(_DRAWS, self._draw)
            self._on(_methods("int", "long", "bool", "short", "char", "byte"), self._draw)
            self._on([_DTYPE], self._dtype)
            self._on(_methods("is_floating_point"), self._is_floating)
            self._on(_methods("is_complex"), lambda *_: False)
            self._on(_methods("__setitem__", "copy_", "index_put_", "index_copy_", "masked_scatter_"), self._write)
            self._on(_methods("as_tensor", "asarray"), self._as_tensor)

    def _plain(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = kwargs.get("out")
        if isinstance(out, Tensor):  # written afterwards: a derivative of the writing form is what PyTorch lacks
            kwargs = {key: value for key, value in kwargs.items() if key != "out"}
        result = self._carrier.call(function, args, kwargs)
        if self._blocked and not torch.is_grad_enabled():
            result = pytree.tree_map(self._stripped if self._blocked[-1] else self._undecided, result)
        return self._written(out, result) if isinstance(out, Tensor) else result

    def _written(self, out: Tensor, result: Tensor) -> Tensor:
        if self._complex and result.is_complex() and not out.is_complex():
            raise CarrierError("an operation writes a tangent into a real tensor")
        return (out if out.shape == result.shape else out.resize_(result.shape)).copy_(result)

    def _undecided(self, x: Any) -> Any:
        """What a block without gradients gives, where the claim does not know the block."""
        if isinstance(x, Tensor) and not self._attached and is_discrete(self._carrier.primal(x)):
            return self._stripped(x)
        return x

    def _stripped(self, x: Any) -> Any:
        """A copy without its tangent."""
        if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
            return x
        return self._carrier.constant(self._carrier.primal(x).clone())

    def _primals(self, value: Any) -> Any:
        return pytree.tree_map(lambda x: self._carrier.primal(x) if isinstance(x, Tensor) else x, value)

    def _decide(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*self._primals(args), **self._primals(kwargs))
        if not isinstance(result, Tensor):
            return result
        if self._decision < len(self._tape.decisions):
            recorded = self._tape.decisions[self._decision]
            self._decision += 1
            if recorded.shape == result.shape:
                result = recorded.clone()
                if self._decision - 1 in self._tape.steps:
                    self._remember(function, args, result)
                return result
        self.misaligned["decisions"] += 1
        return result

    def _remember(self, function: Any, args: tuple[Any, ...], result: Tensor) -> None:
        """The difference that a comparison is a step of, with its tangent."""
        x, tangent = torch.zeros(()), torch.zeros(())
        for value, sign in zip(args[:2], (_ORDERS[function], -_ORDERS[function]), strict=False):
            if isinstance(value, Tensor):
                moved = self._carrier.tangent(value)
                x = x + sign * self._carrier.primal(value).double()
                tangent = tangent if moved is None else tangent + sign * moved
            else:
                x = x + sign * value
        self._steps[id(result)] = result, x, tangent

    def _site(self) -> CutSite | None:
        self._cut += 1
        if self._cut <= len(self._tape.cuts):
            return self._tape.cuts[self._cut - 1]
        self.misaligned["cuts"] += 1
        return None

    def _detach(self, function: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
        site, x = self._site(), args[0]
        if site is not None and self._passes(site):
            return x
        stripped = self._stripped(x)
        if getattr(function, "__name__", "") == "detach_" and isinstance(x, Tensor):
            if self._complex:
                x.copy_(stripped)
                return x
            raise CarrierError("detach_ on dual numbers")
        return stripped

    def _grad_mode(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and args[0] is False and torch.is_grad_enabled():
            site = self._site_of_no_grad()
            self._blocked.append(site is not None and not self._passes(site))
        elif args and args[0] is True and self._blocked and not torch.is_grad_enabled():
            self._blocked.pop()
        return function(*args, **kwargs)

    def _site_of_no_grad(self) -> CutSite | None:
        # the loss's own blocks are not on the tape
        following = self._tape.cuts[self._cut] if self._cut < len(self._tape.cuts) else None
        return self._site() if following is not None and following.kind == "no_grad" else None

    def _value(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*self._primals(args), **kwargs)

    _draw = _value

    def _cast(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = args[0]
        if not (x.is_complex() if self._complex else x.is_floating_point()):
            result = function(*self._lowered(args), **kwargs)
            if not isinstance(result, Tensor) or not result.is_floating_point():
                return result
            if id(x) in self._steps:
                site, (_, difference, tangent) = self._site(), self._steps[id(x)]
                slope = None if site is None or not self._passes(site) else self._slope(site.module)
                if slope is not None:
                    return self._carrier.join(result.double(), slope(difference) * tangent)
            return self._carrier.constant(result.double())
        result = function(self._carrier.primal(x), *self._lowered(args[1:]), **kwargs)
        if isinstance(result, Tensor) and result.is_floating_point():
            return x  # digits are kept: what the cast loses is an error of the hard network
        return result

    def _lowered(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._carrier.primal(x) if isinstance(x, Tensor) else x for x in values)

    def _factory(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        wide = torch.complex128 if self._complex else torch.float64
        if kwargs.get("dtype") in _FLOATS:
            kwargs = {**kwargs, "dtype": wide}
        result = function(*args, **kwargs)
        return result.to(wide) if result.is_floating_point() else result

    def _as_tensor(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and isinstance(args[0], Tensor) and args[0].is_complex():
            return args[0]
        return function(*args, **kwargs)

    def _dtype(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        dtype = function(*args, **kwargs)
        return torch.float64 if dtype is torch.complex128 else dtype

    def _is_floating(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return args[0].is_complex() or bool(function(*args, **kwargs))

    def _write(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args[0].is_floating_point() and any(isinstance(x, Tensor) and x.is_complex() for x in args[1:]):
            raise CarrierError("an operation writes a tangent into a real tensor")
        return function(*args, **kwargs)
