"""Operators of the native spiking kernels: all time steps at once, known to autograd and to compilers.

    bitprop::spiking             input (``[T, ...]``, or ``[...]`` held for T steps), constants, state -> outputs, state
    bitprop::spiking_recurrent   the same with ``x_t + s_{t-1} V^T`` in the place of x

and their backward operators.  The backward pass computes the potentials again, in cache, from the input; nothing else
is saved.  It is not differentiable itself: where a second derivative or a transform of ``torch.func`` is asked for, the
reference is differentiated in its place (:data:`SECOND_ORDER`).

Codes are ``(neuron, reset, surrogate, delayed, attached, kappa, v_reset, scale)``, as ``spiking.h`` numbers them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, register_autograd
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined]

from bitprop import kernels
from bitprop.nn import _watched

__all__ = [
    "ALIGNED",
    "SECOND_ORDER",
    "backward",
    "by_reference",
    "differentiable",
    "forward",
    "handed",
    "lent",
    "native",
    "pulled",
    "room_for",
    "set_up",
]

ALIGNED = 64  # bytes, as PyTorch's own tensors begin: elsewhere a library may add up in another order
_LIBRARY: Any = Library("bitprop", "FRAGMENT")  # type: ignore[no-untyped-call]
_CODES = "int neuron, int reset, int surrogate, bool delayed, bool attached, float kappa, float v_reset, float scale"
_CONSTANTS = "Tensor? beta, Tensor? second, Tensor? theta"
_STATE = "Tensor? v, Tensor? s, Tensor? w"
_GRADS = "Tensor? g_out, Tensor? g_v, Tensor? g_s, Tensor? g_w"
_LIBRARY.define(f"spiking(Tensor x, int? steps, {_CONSTANTS}, {_STATE}, {_CODES}) -> (Tensor, Tensor, Tensor, Tensor)")
_LIBRARY.define(
    f"spiking_backward({_GRADS}, bool[] wanted, Tensor x, int? steps, {_CONSTANTS}, {_STATE}, {_CODES}) -> Tensor[]"
)
_LIBRARY.define(
    f"spiking_recurrent(Tensor x, int? steps, Tensor weight, {_CONSTANTS}, {_STATE}, {_CODES})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    f"spiking_recurrent_backward({_GRADS}, bool[] wanted, Tensor z, Tensor out, int? steps, Tensor weight, "
    f"{_CONSTANTS}, {_STATE}, {_CODES}) -> Tensor[]"
)

SECOND_ORDER: list[Callable[..., Sequence[Tensor]]] = []
"""The reference as a function of the operators' arguments; put here by the module that knows the neurons."""

_LIF, _INTEGRATOR = 0, 3
_HARD = 1


def native(name: str, dtype: torch.dtype) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(kernels.extension(), f"{name}_{'f32' if dtype == torch.float32 else 'f64'}")
    return found


_LARGEST_KEPT = 128 << 20  # bytes


def room_for(shape: Sequence[int], like: Tensor) -> Tensor:
    """An uninitialised contiguous tensor, from the kernels' store where that helps."""
    size = math.prod(shape) * like.element_size()
    if not 1 << 16 <= size <= _LARGEST_KEPT or _watched.has_dispatch_mode():
        return like.new_empty(tuple(shape))
    made: Tensor = from_dlpack(native("spiking_room", like.dtype)(list(shape)))
    return made


def handed(x: Tensor | None) -> Any:
    """What a kernel takes a tensor by, to be read; made here, because asking the tensor for it takes longer."""
    return None if x is None else to_dlpack(x.detach().contiguous())


def lent(x: Tensor | None) -> Any:
    """The same of a contiguous tensor, or of none if it is empty, to be written."""
    return to_dlpack(x) if x is not None and x.numel() else None


def _has_w(neuron: int) -> bool:
    return neuron not in (_LIF, _INTEGRATOR)


def _outputs(
    x: Tensor, steps: int | None, neuron: int, room: Callable[[Sequence[int], Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Room for outputs and the state after the last step; what a neuron does not have is empty."""
    one = x.shape if steps is not None else x.shape[1:]
    shape = (steps or x.shape[0], *one)
    out = x.new_empty(shape) if room is None else room(shape, x)
    v, none = x.new_empty(one), (0,)
    return (
        out,
        v,
        x.new_empty(none if neuron == _INTEGRATOR else one),
        x.new_empty(one if _has_w(neuron) else none),
    )


def forward(
    x: Tensor,
    steps: int | None,
    beta: Tensor | None,
    second: Tensor | None,
    theta: Tensor | None,
    v: Tensor | None,
    s: Tensor | None,
    w: Tensor | None,
    *codes: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out, *after = _outputs(x, steps, codes[0], room_for)
    native("spiking_forward", x.dtype)(
        handed(x),
        lent(out),
        len(out),
        codes,
        *map(handed, (beta, second, theta, v, s, w)),
        *map(lent, after),
        torch.get_num_threads(),
    )
    return (out, *after)  # type: ignore[return-value]


def _fake_spiking(x: Tensor, steps: int | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _outputs(x, steps, rest[6])


def _gradients(
    like: Tensor, wanted: Sequence[bool], x: Tensor, room: Callable[[Sequence[int], Tensor], Tensor] | None = None
) -> list[Tensor]:
    """Room for gradients by x, state and, of each neuron, constants; empty where it is not wanted."""
    none = like.new_empty(0)
    state = [torch.empty_like(like) if wish else none for wish in wanted[1:4]]
    g_x = x.new_empty(x.shape) if room is None else room(x.shape, x)
    return [g_x, *state, *(like.new_zeros(like.shape) if wish else none for wish in wanted[4:])]


def backward(
    g_out: Tensor | None,
    g_v: Tensor | None,
    g_s: Tensor | None,
    g_w: Tensor | None,
    wanted: Sequence[bool],
    x: Tensor,
    steps: int | None,
    beta: Tensor | None,
    second: Tensor | None,
    theta: Tensor | None,
    v: Tensor | None,
    s: Tensor | None,
    w: Tensor | None,
    *codes: Any,
) -> list[Tensor]:
    one = x if steps is not None else x[0]
    count = steps or len(x)
    found = _gradients(one, wanted, x, room_for)
    g_x, *rest = found
    native("spiking_backward", x.dtype)(
        handed(x),
        handed(x.new_zeros((count, *one.shape)) if g_out is None else g_out),
        count,
        codes,
        *map(handed, (beta, second, theta, v, s, w, g_v, g_s, g_w)),
        *map(lent, (g_x, *rest)),
        torch.get_num_threads(),
    )
    return found


def _fake_spiking_backward(
    _out: Any, _v: Any, _s: Any, _w: Any, wanted: Sequence[bool], x: Tensor, steps: int | None, *_: Any
) -> list[Tensor]:
    return _gradients(x if steps is not None else x[0], wanted, x)


# --- neurons that hear each other ------------------------------------------------------------------------------------


def _recurrent(
    x: Tensor,
    steps: int | None,
    weight: Tensor,
    beta: Tensor | None,
    second: Tensor | None,
    theta: Tensor | None,
    v: Tensor | None,
    s: Tensor | None,
    w: Tensor | None,
    *codes: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    out, *after = _outputs(x, steps, codes[0])
    z = torch.empty_like(out)
    heard, last_spikes = torch.empty_like(after[0]), torch.empty_like(after[0])
    step = native("spiking_forward", x.dtype)
    constants = (beta, second, theta)
    x, across, threads = x.detach(), weight.detach().t(), torch.get_num_threads()
    state: list[Tensor | None] = [None if row is None else row.detach().contiguous() for row in (v, s, w)]
    rows = [row if row.numel() else None for row in after]
    for t in range(len(out)):
        x_t, last = x if steps is not None else x[t], state[1]
        if last is None:
            z[t].copy_(x_t)
        else:
            torch.mm(last.flatten(0, -2), across, out=heard.flatten(0, -2))
            torch.add(x_t, heard, out=z[t])
        step(lent(z[t]), lent(out[t]), 1, codes, *map(handed, (*constants, *state)), *map(lent, rows), threads)
        # the next product has the bits of the loop over single steps, whose spikes are a new tensor each time
        spikes = out[t] if out[t].data_ptr() % ALIGNED == 0 else last_spikes.copy_(out[t])
        state = [rows[0], spikes, rows[2]]
    return (out, *after, z)  # type: ignore[return-value]


def _fake_spiking_recurrent(x: Tensor, steps: int | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    found = _outputs(x, steps, rest[7])
    return (*found, torch.empty_like(found[0]))


def _recurrent_backward(
    g_out: Tensor | None,
    g_v: Tensor | None,
    g_s: Tensor | None,
    g_w: Tensor | None,
    wanted: Sequence[bool],
    z: Tensor,
    out: Tensor,
    steps: int | None,
    weight: Tensor,
    beta: Tensor | None,
    second: Tensor | None,
    theta: Tensor | None,
    v: Tensor | None,
    s: Tensor | None,
    w: Tensor | None,
    *codes: Any,
) -> list[Tensor]:
    count, one = len(z), z[0]
    threads, matrix = torch.get_num_threads(), weight.detach()
    given = [None if row is None else row.detach().contiguous() for row in (beta, second, theta, v, s, w)]
    constants = [one.new_zeros(one.shape) if wish else None for wish in wanted[4:7]]
    more = codes[1] == _HARD or any(wanted[4:7]) or z.dtype == torch.float64
    planes: list[Tensor | None] = [torch.empty_like(z), *(torch.empty_like(z) if more else None for _ in range(4))]
    native("spiking_keep", z.dtype)(handed(z), count, codes, *map(handed, given), *map(lent, planes), threads)
    back = [torch.zeros_like(one) if row is None else row.detach().clone(memory_format=torch.contiguous_format)
            for row in (g_v, g_s, g_w)]  # fmt: skip
    g_out = torch.zeros_like(z) if g_out is None else g_out.detach().contiguous()
    g_z, mixed = torch.empty_like(z), torch.empty_like(one)
    flat = [part.flatten(1, -2) for part in (g_out, g_z)]
    step = native("spiking_reverse", z.dtype)
    for t in reversed(range(count)):
        if t + 1 < count:
            torch.addmm(flat[0][t], flat[1][t + 1], matrix, out=mixed.flatten(0, -2))
        tensors = (*given[:3], *planes, *back, g_z, *constants)
        step(handed(mixed if t + 1 < count else g_out[t]), t, count, codes, *map(lent, tensors), threads)
    g_weight = flat[1][1:].flatten(0, 1).t() @ out.flatten(1, -2)[:-1].flatten(0, 1)
    if s is not None:
        g_weight.addmm_(flat[1][0].t(), s.detach().flatten(0, -2))
        back[1].flatten(0, -2).addmm_(flat[1][0], matrix)
    none = z.new_empty(0)
    rows = [row if wish else none for row, wish in zip(back, wanted[1:4], strict=True)]
    return [g_z if steps is None else g_z.sum(0), *rows, *(none if c is None else c for c in constants), g_weight]


def _fake_spiking_recurrent_backward(
    _out: Any, _v: Any, _s: Any, _w: Any, wanted: Sequence[bool], z: Tensor, *rest: Any
) -> list[Tensor]:
    _, steps, weight, *_ = rest
    return [*_gradients(z[0], wanted, z if steps is None else z[0]), torch.empty_like(weight)]


# --- autograd --------------------------------------------------------------------------------------------------------

# what is wanted: by x, v, s, w, beta, second, theta
_FIRST_CONSTANT = 4


def _reduced(partial: Tensor, constant: Tensor) -> Tensor:
    """The gradient of a constant from that of each neuron's own copy; summed in float64, the order being ours."""
    per_feature = partial.reshape(-1, constant.numel()).sum(0, dtype=torch.float64)
    return per_feature.to(constant.dtype).reshape(constant.shape)


def by_reference(
    function: Callable[..., Sequence[Tensor]], arguments: tuple[Any, ...], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients of a function of plain operations at the arguments, differentiable."""
    tensors = [item for item in arguments if isinstance(item, Tensor) and item.requires_grad]
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        values = function(*arguments)
        pairs = [(y, g) for y, g in zip(values, grads, strict=False) if g is not None and y.requires_grad]
        found = (
            torch.autograd.grad(
                [y for y, _ in pairs],
                tensors,
                [g for _, g in pairs],
                create_graph=again,
                allow_unused=True,
            )
            if pairs and tensors
            else [None] * len(tensors)
        )
    by_id = {id(tensor): grad for tensor, grad in zip(tensors, found, strict=True)}
    return [by_id.get(id(item)) if isinstance(item, Tensor) else None for item in arguments]


def differentiable(grads: Sequence[Tensor | None]) -> bool:
    """Whether the backward pass that runs has to be differentiable, or is inside a transform."""
    if torch.compiler.is_compiling():
        return False
    batched = any(g is not None and torch._C._functorch.is_legacy_batchedtensor(g) for g in grads)
    return batched or torch.is_grad_enabled() or _watched.is_transformed()


def set_up(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    x, steps, *rest = inputs
    ctx.save_for_backward(x, *rest[:6])
    ctx.steps, ctx.codes = steps, tuple(rest[6:])


def pull(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    return pulled(ctx, grads, torch.ops.bitprop.spiking_backward)


def pulled(ctx: Any, grads: Sequence[Tensor | None], back: Callable[..., list[Tensor]]) -> tuple[Tensor | None, ...]:
    """Gradients by the arguments of ``bitprop::spiking``, by its backward operator or what that calls."""
    x, *rest = ctx.saved_tensors
    arguments = (x, ctx.steps, *rest, *ctx.codes)
    if differentiable(grads):
        return tuple(by_reference(partial(SECOND_ORDER[0], False), arguments, grads))
    need = ctx.needs_input_grad
    wanted = [need[0], *need[5:8], *need[2:5]]
    return _arranged(back(*grads, wanted, *arguments), need, rest[:3])


def _arranged(found: Sequence[Tensor], need: Sequence[bool], constants: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """Gradients in the order of ``(x, steps, beta, second, theta, v, s, w, codes...)``."""
    reduced = [
        _reduced(partial, constant) if wish and constant is not None else None
        for partial, constant, wish in zip(found[4:7], constants, need[2:5], strict=True)
    ]
    state = [row if wish else None for row, wish in zip(found[1:4], need[5:8], strict=True)]
    return (found[0] if need[0] else None, None, *reduced, *state, *(None,) * 8)


def _setup_recurrent(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    x, steps, *rest = inputs
    ctx.save_for_backward(x, *rest[:7], output[0], output[4])
    ctx.steps, ctx.codes = steps, tuple(rest[7:])


def _pull_recurrent(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, *rest, out, z = ctx.saved_tensors
    if differentiable(grads):
        arguments = (x, ctx.steps, weight, *rest, *ctx.codes)
        return tuple(by_reference(partial(SECOND_ORDER[0], True), arguments, grads[:4]))
    need = list(ctx.needs_input_grad)
    by_weight = need.pop(2)
    wanted = [need[0], *need[5:8], *need[2:5]]
    found = torch.ops.bitprop.spiking_recurrent_backward(
        *grads[:4], wanted, z, out, ctx.steps, weight, *rest, *ctx.codes
    )
    g_x, none, *more = _arranged(found, need, rest[:3])
    return (g_x, none, found[7] if by_weight else None, *more)


for _name, _function, _fake in (
    ("spiking", forward, _fake_spiking),
    ("spiking_backward", backward, _fake_spiking_backward),
    ("spiking_recurrent", _recurrent, _fake_spiking_recurrent),
    ("spiking_recurrent_backward", _recurrent_backward, _fake_spiking_recurrent_backward),
):
    _LIBRARY.impl(_name, _function, "CPU")
    _LIBRARY._register_fake(_name, _fake)
register_autograd("bitprop::spiking", pull, setup_context=set_up, lib=_LIBRARY)
register_autograd("bitprop::spiking_recurrent", _pull_recurrent, setup_context=_setup_recurrent, lib=_LIBRARY)
