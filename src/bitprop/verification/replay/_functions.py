"""Calls of custom autograd functions, seen and replaced wherever they come from.

``SomeFunction.apply`` may have been bound long before (``spike = FastSigmoid.apply``), so nothing of the caller's can
be patched.  But every ``apply`` ends in ``super().apply`` of :class:`torch.autograd.Function`, and the class between
it and the compiled base is plain Python: an ``apply`` put there is called by every function of the process.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from bitprop.errors import ConfigError

__all__ = ["FunctionKind", "classify", "intercepted", "main_position", "patched_targets", "place_of"]

FunctionKind = str  # "spike", "smooth" or "opaque"
_PROBE_SEED = 20240607
_BETWEEN = Function.__mro__[1]
Handler = Callable[[type, Callable[..., Any], tuple[Any, ...]], Any]


@contextmanager
def intercepted(handler: Handler) -> Iterator[None]:
    """Send every ``Function.apply`` to ``handler(cls, original, arguments)`` while the context is open."""

    def apply(cls: type, *args: Any) -> Any:
        def original(*arguments: Any) -> Any:
            return super(_BETWEEN, cls).apply(*arguments)  # type: ignore[arg-type]

        return handler(cls, original, args)

    if "apply" in vars(_BETWEEN):
        raise ConfigError("expected one replay at a time in a process, found another one running; run them in turn")
    _BETWEEN.apply = classmethod(apply)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del _BETWEEN.apply  # type: ignore[attr-defined]


def place_of(target: Any) -> str:
    """``file.py:12`` where a custom function's forward pass, or a function, is defined; empty if it has no source."""
    code = getattr(getattr(target, "forward", target), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def main_position(arguments: tuple[Any, ...], output: Any) -> int | None:
    """Which argument the output is an elementwise function of, by shape; ``None`` if there is none."""
    if not isinstance(output, Tensor):
        return None
    for position, value in enumerate(arguments):
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == output.shape:
            return position
    return None


def classify(evaluate: Callable[..., Any], arguments: tuple[Any, ...], output: Any) -> FunctionKind:
    """What a custom function is, by looking at its values.

    A *spike function* is elementwise and piecewise constant: its values do not change when its input changes a
    little, and do when it changes a lot, each with its own element only.  A function that is piecewise constant
    but not elementwise, or has several outputs of which one is, is *opaque*: it spikes inside.
    """
    tensors = [x for x in (output if isinstance(output, tuple) else (output,)) if isinstance(x, Tensor)]
    floating = [x for x in tensors if x.is_floating_point()]
    position = main_position(arguments, output)
    generator = torch.Generator().manual_seed(_PROBE_SEED)
    state = torch.get_rng_state()

    def at(*changes: Tensor) -> tuple[Tensor, ...]:
        """Outputs with the floating tensor arguments shifted by ``changes``, drawing the same random numbers."""
        torch.set_rng_state(state)
        moved, k = [], 0
        for value in arguments:
            if isinstance(value, Tensor) and value.is_floating_point():
                moved.append(value.detach() + changes[k])
                k += 1
            else:
                moved.append(value)
        result = evaluate(*moved)
        return tuple(x for x in (result if isinstance(result, tuple) else (result,)) if isinstance(x, Tensor))

    shapes = [x for x in arguments if isinstance(x, Tensor) and x.is_floating_point()]
    if not shapes or not floating:
        return "smooth"

    def draw(size: float | None) -> list[Tensor]:
        """Normal numbers of that size, or as small as the dtype resolves beside numbers of size 3."""
        return [
            (
                torch.randn(x.shape, generator=generator, dtype=torch.float64) * (size or 32 * torch.finfo(x.dtype).eps)
            ).to(x.dtype)
            for x in shapes
        ]

    try:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            if position is None:
                base, near, far = at(*[0 * x for x in shapes]), at(*draw(None)), at(*draw(3.0))
                stepped = [_steps(a, b, c) for a, b, c in zip(base, near, far, strict=True)]
                return "opaque" if any(stepped) else "smooth"
            k = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.is_floating_point()].index(position)
            wide, tiny = draw(3.0), draw(None)
            first = [0 * x for x in shapes]
            first[k] = wide[k]
            second = [x.clone() for x in first]
            second[k] = second[k] + tiny[k]
            base, near, rest = at(*first), at(*second), at(*[0 * x for x in shapes])
            if not _steps(base[0], near[0], rest[0]):
                return "smooth"
            half = torch.arange(shapes[k].numel()).reshape(shapes[k].shape) % 2 == 0
            third = [x.clone() for x in first]
            third[k] = torch.where(half, -2.0 * wide[k], wide[k])
            local = bool((at(*third)[0] == base[0])[~half].all())
            return "spike" if local else "opaque"
    finally:
        torch.set_rng_state(state)


def _steps(base: Tensor, near: Tensor, far: Tensor) -> bool:
    """Whether values stay under a tiny change and move under a large one."""
    if base.numel() == 0 or not base.is_floating_point():
        return False
    still = float((base == near).double().mean()) > 0.99
    few = torch.unique(torch.cat([base.flatten(), far.flatten()])).numel() <= max(16, base.numel() // 8)
    return still and (few or bool((base == base.round()).all()))


@contextmanager
def patched_targets(targets: tuple[str, ...], wrap: Callable[[str, Callable[..., Any]], Any]) -> Iterator[None]:
    """Replace named functions, ``package.module:attribute``, by ``wrap(name, original)``.

    Raises:
        ConfigError: no such module or attribute, or it cannot be called.
    """
    with ExitStack() as stack:
        for target in targets:
            module_name, _, path = target.partition(":")
            try:
                owner: Any = importlib.import_module(module_name)
                *parents, last = path.split(".")
                for parent in parents:
                    owner = getattr(owner, parent)
                original = inspect.getattr_static(owner, last)
                called = getattr(owner, last)
            except (ImportError, AttributeError) as error:
                raise ConfigError(
                    f"expected a spike function at {target}, got {error}; name it as package.module:attribute"
                ) from None
            if not callable(called):
                raise ConfigError(f"expected a function at {target}, got {called!r}; name what is called")
            wrapped = wrap(target, called)
            if isinstance(original, staticmethod):
                wrapped = staticmethod(wrapped)
            setattr(owner, last, wrapped)
            stack.callback(setattr, owner, last, original)
        yield
