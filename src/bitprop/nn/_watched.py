"""Whether anybody looks at single operations of torch, and would miss those that a native call does in one."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad
from torch.autograd.function import Function

__all__ = ["has_dispatch_mode", "has_mode", "has_saving_hooks", "is_traced", "is_transformed", "is_watched"]


def is_traced() -> bool:
    """Whether a compiler or a tracer looks at the call, and wants to see operators."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def has_dispatch_mode() -> bool:
    """Whether a ``TorchDispatchMode`` is active."""
    return torch._C._len_torch_dispatch_stack() > 0


def has_mode() -> bool:
    """Whether a ``TorchFunctionMode`` or a ``TorchDispatchMode`` is active."""
    return torch._C._len_torch_function_stack() > 0 or has_dispatch_mode()


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` is running."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def has_saving_hooks() -> bool:
    """Whether what autograd functions save goes through hooks; where PyTorch does not say, it may."""
    ask = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return ask is None or ask(False) is not None


def is_watched() -> bool:
    """Whether a mode, a transform, forward-mode derivatives or intercepted autograd functions see the operations."""
    return has_mode() or is_transformed() or forward_ad._current_level >= 0 or "apply" in vars(Function.__mro__[1])
