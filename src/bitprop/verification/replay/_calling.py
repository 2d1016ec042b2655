"""How somebody else's code is called during a recording: eagerly, unnoted inside spike functions, its errors named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bitprop.errors import BitpropError
from bitprop.verification.replay._carrier import CarrierError
from bitprop.verification.replay._modes import Recorder
from bitprop.verification.replay._world import RunError

__all__ = ["Pausable", "eager", "forward_of", "inside", "named_errors"]


class _Context:
    """Stands for the context of a custom function whose forward pass is differentiated itself."""

    needs_input_grad: tuple[bool, ...] = ()
    saved_tensors: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    def save_for_forward(self, *_tensors: Tensor) -> None: ...

    def mark_dirty(self, *_tensors: Tensor) -> None: ...

    def mark_non_differentiable(self, *_tensors: Tensor) -> None: ...

    def set_materialize_grads(self, _value: bool) -> None: ...


def forward_of(cls: type) -> Callable[..., Any]:
    """The forward pass of a custom function, as a plain function."""
    new_style = "setup_context" in vars(cls)

    def forward(*args: Any) -> Any:
        return cls.forward(*args) if new_style else cls.forward(_Context(), *args)  # type: ignore[attr-defined]

    return forward


class Pausable:
    """An interception that can be suspended: a named spike function may itself be a custom one."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        self._handler, self._paused = handler, False

    def pause(self) -> Callable[[], None]:
        self._paused = True

        def resume() -> None:
            self._paused = False

        return resume

    def __call__(self, cls: type, original: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return original(*args) if self._paused else self._handler(cls, original, args)


@contextmanager
def inside(recorder: Recorder) -> Iterator[None]:
    """The inside of a spike function is no part of the program: precision is lifted, nothing is noted."""
    noting, recorder.noting = recorder.noting, False
    try:
        yield
    finally:
        recorder.noting = noting


@contextmanager
def eager() -> Iterator[None]:
    """Compiled functions run as they were written, and attention by plain products, which have a forward mode."""
    stance = getattr(getattr(torch, "compiler", None), "set_stance", None)
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if stance is not None:
            stack.enter_context(stance("force_eager"))
        yield


@contextmanager
def named_errors(what: str, *more: type[Exception]) -> Iterator[None]:
    """Exceptions of somebody else's code, and those of ``more``, with their type and what was running."""
    try:
        yield
    except (BitpropError, CarrierError) as error:
        if not isinstance(error, more):
            raise
        raise RunError(f"{what} cannot go through the model: {error}") from error
    except (Exception, SystemExit) as error:
        if "does not have a grad_fn" in str(error):
            raise RunError(
                f"{what} met a call of autograd inside the model or the loss, as of a gradient penalty, "
                "which would have to be differentiated twice; verify the model and the loss without it"
            ) from error
        raise RunError(f"{what} raised {type(error).__name__}: {error}") from error
