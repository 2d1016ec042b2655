"""The model under test, run again and again from one and the same state, and left as it was found.

Everything runs on the user's own module, not on a copy: a copy loses the hooks on parameters, and a hook may be what is
wrong.  Parameters, buffers, other tensors held by modules, gradients, training flags and random generators are put
back afterwards, whatever happens.
"""

from __future__ import annotations

import copy
import functools
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bitprop.errors import BitpropError, DataError, ShapeError

__all__ = [
    "Problem",
    "RunError",
    "Snapshot",
    "arguments_of",
    "call_loss",
    "check_data",
    "double_precision",
    "random_state",
    "swapped",
    "with_gradients",
]

_OWN = ("_parameters", "_buffers", "_modules")
_CONTAINERS = (dict, list, set, deque)
LossFunction = Callable[..., Tensor]
P = ParamSpec("P")
R = TypeVar("R")


class RunError(BitpropError, RuntimeError):
    """The user's model or loss raised an exception; the message carries it."""


def with_gradients(check: Callable[P, R]) -> Callable[P, R]:
    """A check that records gradients wherever it is called, inside somebody's ``torch.no_grad()`` too."""

    @functools.wraps(check)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            return check(*args, **kwargs)

    return run


def arguments_of(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments: a tuple and a dictionary hold several, anything else is one."""
    if isinstance(inputs, dict):
        return (), inputs
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def call_loss(loss_fn: LossFunction, outputs: Any, targets: Any) -> Tensor:
    """``loss_fn(outputs, targets)``, or ``loss_fn(outputs)`` where targets is ``None``."""
    return loss_fn(outputs) if targets is None else loss_fn(outputs, targets)


def map_floats(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply ``function`` to every floating-point tensor inside nested tuples, lists and dictionaries."""
    return pytree.tree_map(lambda x: function(x) if isinstance(x, Tensor) and x.is_floating_point() else x, value)


def check_data(inputs: Any, targets: Any) -> None:
    """Refuse data that nothing can be learned from.

    Raises:
        DataError: no number among the inputs, or one that is not finite.
    """
    tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
    if tensors and not any(leaf.numel() for leaf in tensors):
        shapes = ", ".join(str(list(leaf.shape)) for leaf in tensors)
        raise DataError(f"expected inputs with at least one number, got {shapes}; give a batch of one or more")
    for name, value in (("inputs", inputs), ("targets", targets)):
        for leaf in pytree.tree_leaves(value):
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
                bad = (~torch.isfinite(leaf)).nonzero()[0].tolist()
                raise DataError(f"expected finite {name}, got {float(leaf[tuple(bad)])} at {bad}; clean the data")


@dataclass(frozen=True)
class Problem:
    """What is verified: a model on given data.

    Attributes:
        model: called as ``model(*inputs)`` for a tuple, ``model(**inputs)`` for a dictionary, else ``model(inputs)``.
        inputs: tensors, nested as the model wants them.
        targets: given to the loss, or ``None``.
        loss_fn: ``loss_fn(outputs, targets)``, or ``loss_fn(outputs)`` where targets is ``None``; one number.
        reset_state: called with the model before every run, for models that keep state.
    """

    model: nn.Module
    inputs: Any
    targets: Any
    loss_fn: LossFunction
    reset_state: Callable[[nn.Module], object] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ShapeError(f"expected a torch.nn.Module, got {type(self.model).__name__}; wrap it in one")
        if any(isinstance(module, torch.jit.ScriptModule) for module in self.model.modules()):
            raise ShapeError("expected a module of Python code, got TorchScript; verify the module it was made from")
        if any(isinstance(p, nn.UninitializedParameter) for p in self.model.parameters()):
            raise ShapeError("expected parameters with a shape, got lazy ones; call the model once before")
        if not callable(self.loss_fn):
            raise ShapeError(f"expected a loss function of (outputs, targets), got {self.loss_fn!r}")
        if any(p.is_meta for p in (*self.model.parameters(), *self.model.buffers())):
            raise ShapeError("expected parameters with values, got some on the meta device; call to_empty and set them")
        check_data(self.inputs, self.targets)

    def outputs(self, inputs: Any) -> Any:
        """One forward pass."""
        if self.reset_state is not None:
            self.reset_state(self.model)
        positional, named = arguments_of(inputs)
        return self.model(*positional, **named)

    def loss_of(self, outputs: Any, targets: Any) -> Tensor:
        """The loss, checked to be one number.

        Raises:
            ShapeError: it is not a tensor of one floating-point number.
        """
        loss = call_loss(self.loss_fn, outputs, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not (loss.is_floating_point() or loss.is_complex()):
            got = f"{loss.dtype} {list(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ShapeError(f"expected the loss to be one floating-point number, got {got}; reduce it, as by .mean()")
        return loss.reshape(())

    def parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, each once."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def _copied(value: Any) -> Any:
    """A copy of what a module may hold between calls; tensors by value, without their graph."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else value.detach().clone()
    if type(value) is tuple:
        return tuple(_copied(item) for item in value)
    if isinstance(value, _CONTAINERS):
        return _filled(copy.copy(value), value)
    return value


def _filled(container: Any, contents: Any) -> Any:
    """The container itself, with copies of other contents: whoever else holds it sees them too."""
    held = (
        {key: _copied(item) for key, item in contents.items()}
        if isinstance(contents, dict)
        else [_copied(item) for item in contents]
    )
    container.clear()
    if isinstance(container, dict | set):
        container.update(held)
    else:
        container.extend(held)
    return container


class Snapshot:
    """State of every module, buffers and other attributes, and every gradient; not the parameters' values."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [
            (
                module,
                {k: (b, None if b is None else b.detach().clone()) for k, b in module._buffers.items()},
                {k: (v, _copied(v) if _is_state(k, v) else v) for k, v in vars(module).items() if k not in _OWN},
            )
            for module in model.modules()
        ]
        self._grads = [(p, p.grad) for p in model.parameters()]

    def restore(self) -> None:
        """Put everything back."""
        for module, buffers, attributes in self._modules:
            module._buffers.clear()
            for key, (buffer, value) in buffers.items():
                if buffer is not None and value is not None and not _same(buffer, value):
                    buffer.data = value.clone()
                module._buffers[key] = buffer
            held = vars(module)
            for key in [key for key in held if key not in attributes and key not in _OWN]:
                del held[key]
            for key, (original, value) in attributes.items():
                if isinstance(original, _CONTAINERS):
                    held[key] = _filled(original, value)
                else:
                    held[key] = original if value is original else _copied(value)
        for parameter, grad in self._grads:
            parameter.grad = grad


def _is_state(key: str, value: Any) -> bool:
    """Whether it may change from call to call; a container may do so with nothing in it that looks like a state yet."""
    return key not in _OWN and "_hooks" not in key and isinstance(value, (Tensor, tuple, *_CONTAINERS))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


@contextmanager
def random_state() -> Iterator[Callable[[], None]]:
    """Give a function that puts every global random generator back to where it is now; it is called at the end too."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the user's, kept

    def rewind() -> None:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])

    try:
        yield rewind
    finally:
        rewind()


@contextmanager
def double_precision(model: nn.Module) -> Iterator[None]:
    """Hold parameters, buffers and plain attributes that are floating-point tensors in float64, for a while."""
    parameters = [(p, p.data, p.grad) for p in model.parameters() if p.is_floating_point()]
    buffers = [(m, k, b) for m in model.modules() for k, b in m._buffers.items() if b is not None]
    plain = [
        (m, k, x)
        for m in model.modules()
        for k, x in vars(m).items()
        if isinstance(x, Tensor) and x.is_floating_point()
    ]
    default = torch.get_default_dtype()
    try:
        for module, key, tensor in plain:
            setattr(module, key, tensor.double())
        for parameter, data, _ in parameters:
            parameter.grad = None  # a gradient of the other precision would be refused
            parameter.data = data.double()
        for module, key, buffer in buffers:
            if buffer.is_floating_point():
                module._buffers[key] = buffer.double()
        torch.set_default_dtype(torch.float64)
        yield
    finally:
        torch.set_default_dtype(default)
        for module, key, tensor in plain:
            setattr(module, key, tensor)
        for parameter, data, grad in parameters:
            parameter.grad = None
            parameter.data = data
            parameter.grad = grad
        for module, key, buffer in buffers:
            module._buffers[key] = buffer


@contextmanager
def swapped(model: nn.Module, values: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Put other tensors in the places of parameters and buffers (keys compare by identity), shared ones too."""
    by_id = {id(key): value for key, value in values.items()}
    with ExitStack() as stack:
        for module in model.modules():
            for family in (module._parameters, module._buffers):
                for key, tensor in list(family.items()):
                    if tensor is not None and id(tensor) in by_id:
                        family[key] = by_id[id(tensor)]  # type: ignore[assignment]
                        stack.callback(family.__setitem__, key, tensor)  # type: ignore[arg-type]
            if isinstance(module, nn.RNNBase):  # keeps a second list of its weights
                old = module._flat_weights
                module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
                stack.callback(setattr, module, "_flat_weights", old)
        yield
