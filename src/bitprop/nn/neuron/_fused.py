"""Which calls of a neuron the native kernels may take, and the kernels' answer in the neuron's own terms.

The kernels compute what the loop over single steps computes, on the CPU, in float32 and float64.  They are passed
over, silently, wherever that loop could do something else or where somebody watches it: a subclass or a patched method,
another dtype or device, tensor subclasses, a ``TorchFunctionMode`` or ``TorchDispatchMode``, a transform of
``torch.func``, forward-mode derivatives, and intercepted autograd functions (the tangent replay).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitprop import kernels
from bitprop.nn import _watched
from bitprop.nn.neuron import _eager, _operators
from bitprop.surrogate import SURROGATES, AbstractSurrogate

__all__ = [
    "FAMILIES",
    "RESET_NAMES",
    "SURROGATE_NAMES",
    "Family",
    "Plan",
    "constants_of",
    "fits",
    "is_built",
    "methods_of",
    "plan",
    "run",
]

RESET_NAMES = ("soft", "hard", "none")
SURROGATE_NAMES = (
    "fast_sigmoid",
    "triangular",
    "piecewise_quadratic",
    "rectangular",
    "exponential",
    "sigmoid",
    "atan",
    "erf",
    "straight_through",
)
"""As ``spiking.h`` numbers them."""
_SURROGATES = {name: code for code, name in enumerate(SURROGATE_NAMES)} | {"super_spike": 0}  # of one slope
_DTYPES = (torch.float32, torch.float64)
_METHODS = ("step", "initial_state", "fire", "after_spike", "carried", "fired")


@dataclass(frozen=True, slots=True)
class Family:
    """A class of neurons that the kernels know.

    Attributes:
        code: its number in ``spiking.h``.
        second: name of the decay of its second variable, or ``None``.
        state: class of its state, fields ``v``, ``s`` and the second variable, as far as it has them.
        methods: what its class calls in a step; another method in the place of one of them is another neuron.
        recurrent: the neuron is inside, next to its ``recurrence``.
    """

    code: int
    second: str | None
    state: type[Any]
    methods: tuple[Any, ...]
    recurrent: bool = False


FAMILIES: dict[type[nn.Module], Family] = {}
"""By class, exactly: a subclass may do something else."""


def methods_of(cls: type[nn.Module]) -> tuple[Any, ...]:
    """The functions behind a step."""
    return tuple(getattr(cls, name, None) for name in _METHODS)


@dataclass(frozen=True, slots=True)
class Plan:
    """A call as the kernels see it."""

    family: Family
    codes: tuple[Any, ...]
    constants: tuple[nn.Module | None, ...]  # beta, second, theta
    weight: Tensor | None


def is_built() -> bool:
    return kernels.extension() is not None


# what torch.compiler.assume_constant_result does, after it has imported the whole compiler, which takes two seconds
is_built._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _surrogate_code(surrogate: AbstractSurrogate) -> int | None:
    name = surrogate.name
    return _SURROGATES.get(name) if name in SURROGATES and SURROGATES[name] is type(surrogate) else None


def _is_own(neuron: nn.Module, family: Family) -> bool:
    """Whether the neuron computes what its class does, by the class's own methods."""
    return methods_of(type(neuron)) == family.methods and not any(name in vars(neuron) for name in _METHODS)


def plan(neuron: Any) -> Plan | None:
    """The call of a neuron, or ``None`` where the kernels do not know it."""
    family = FAMILIES.get(type(neuron))
    if family is None or not _is_own(neuron, family):
        return None
    weight = None
    if family.recurrent:
        weight, neuron = neuron.recurrence.weight, neuron.neuron
        inner = FAMILIES.get(type(neuron))
        if inner is None or not _is_own(neuron, inner):
            return None
    second = None if family.second is None else getattr(neuron, family.second)
    kappa = getattr(neuron, "kappa", 0.0)
    if not hasattr(neuron, "surrogate"):
        return Plan(family, (family.code, 2, 0, False, False, kappa, 0.0, 1.0), (neuron.beta, second, None), weight)
    surrogate = _surrogate_code(neuron.surrogate)
    if surrogate is None:
        return None
    codes = (
        family.code,
        RESET_NAMES.index(neuron.reset),
        surrogate,
        bool(neuron.reset_delay),
        neuron.reset_attached,
        kappa,
        neuron.v_reset,
        neuron.surrogate.scale,
    )
    return Plan(family, codes, (neuron.beta, second, neuron.threshold), weight)


def fits(x: Any, dtype: torch.dtype, shape: Sequence[int] | None = None) -> bool:
    """Whether it is a plain tensor of this type, and of this shape, that a kernel may take."""
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.dtype == dtype
        and x.device.type == "cpu"
        and (shape is None or x.shape == torch.Size(shape))
    )


def constants_of(found: Plan, dtype: torch.dtype, features: int) -> list[Tensor | None] | None:
    """The values of beta, the second decay and the threshold as the kernels take them, or ``None``: they cannot."""
    values: list[Tensor | None] = []
    for module in found.constants:
        value = None if module is None else module()
        if value is not None:
            if not value.dim() and value.device.type == "cpu":
                value = value.to(dtype)  # as PyTorch takes a number beside a tensor
            elif not fits(value, dtype) or value.shape[0] not in (1, features):
                return None
        values.append(value)
    return values


def run(neuron: Any, x: Tensor, state: Any, steps: int | None) -> tuple[Tensor, Any] | None:
    """Outputs and the last state by the kernels, or ``None``: the reference has to do it."""
    traced = _watched.is_traced()
    if not is_built() or (not torch.compiler.is_compiling() and _watched.is_watched()):
        return None
    found = plan(neuron)
    one = x.shape[1:] if steps is None else x.shape
    if found is None or x.dtype not in _DTYPES or not fits(x, x.dtype) or not x.numel():
        return None
    if found.weight is not None and (
        not fits(found.weight, x.dtype) or len(one) < 2 or one[-1] != found.weight.shape[0]
    ):
        return None
    names = found.family.state._fields
    parts: list[Tensor | None] = [None, None, None]
    if state is not None:
        if len(state) != len(names) or not all(fits(part, x.dtype, one) for part in state):
            return None
        for name, part in zip(names, state, strict=True):
            parts[_PLACES.get(name, 2)] = part
    values = constants_of(found, x.dtype, x.shape[-1])
    if values is None:
        return None
    arguments = (x, steps, *values, *parts, *found.codes)
    if found.weight is not None:
        out, *after = torch.ops.bitprop.spiking_recurrent(*arguments[:2], found.weight, *arguments[2:])
    elif traced:
        out, *after = torch.ops.bitprop.spiking(*arguments)
    elif _eager.wants_gradient(x, *values, *parts):
        out, *after = _eager.Spiking.apply(*arguments)  # type: ignore[no-untyped-call]
    else:
        out, *after = _operators.forward(*arguments)
    return out, found.family.state(**{name: after[_PLACES.get(name, 2)] for name in names})


_PLACES = {"v": 0, "s": 1}
