"""The neurons that the native kernels know, and the reference as a function of what the kernels are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from bitprop.nn.neuron._fused import FAMILIES, RESET_NAMES, SURROGATE_NAMES, Family, methods_of
from bitprop.nn.neuron._neuron import AbstractNeuron
from bitprop.nn.neuron._operators import SECOND_ORDER
from bitprop.nn.neuron.adaptive_lif import AdaptiveLIF, AdaptiveLIFState
from bitprop.nn.neuron.leaky_integrator import LeakyIntegrator, LeakyIntegratorState
from bitprop.nn.neuron.lif import LIF, LIFState
from bitprop.nn.neuron.recurrent import RecurrentAdaptiveLIF, RecurrentLIF, RecurrentSynaptic
from bitprop.nn.neuron.synaptic import Synaptic, SynapticState
from bitprop.surrogate import make_surrogate

__all__: list[str] = []

_PLAIN: tuple[type[AbstractNeuron[Any]], ...] = (LIF, Synaptic, AdaptiveLIF, LeakyIntegrator)
_RECURRENT: tuple[type[AbstractNeuron[Any]], ...] = (RecurrentLIF, RecurrentSynaptic, RecurrentAdaptiveLIF)


class _Given(nn.Module):
    """Stands in the place of a constant, or of a recurrence when called with spikes."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self._value = [value]  # in a list: not a parameter

    def forward(self, spikes: Tensor | None = None) -> Tensor:
        (value,) = self._value
        return value if spikes is None else spikes @ value.t()


def _build(code: int, weight: Tensor | None, codes: Sequence[Any]) -> AbstractNeuron[Any]:
    _, reset, surrogate, delayed, attached, kappa, v_reset, scale = codes
    options: dict[str, Any] = {} if code != 2 else {"kappa": kappa}
    if code != 3:
        options |= {
            "surrogate": make_surrogate(SURROGATE_NAMES[surrogate], scale),
            "reset": RESET_NAMES[reset],
            "reset_attached": attached,
            "reset_delay": int(delayed),
            "v_reset": v_reset,
        }
    return _PLAIN[code](**options) if weight is None else _RECURRENT[code](len(weight), **options)


def _reference(recurrent: bool, *arguments: Any) -> list[Tensor]:
    """Outputs, then potential, spikes and second variable after the last step, as far as the neuron has them."""
    x, steps, *rest = arguments
    weight = rest.pop(0) if recurrent else None
    beta, second, theta, v, s, w, *codes = rest
    whole = _build(codes[0], weight, codes)
    neuron = cast("Any", whole.neuron if recurrent else whole)
    family = FAMILIES[type(whole)]
    for name, value in (("beta", beta), (family.second, second), ("threshold", theta)):
        if name is not None and value is not None:
            setattr(neuron, name, _Given(value))
    if weight is not None:
        whole.recurrence = _Given(weight)
    rest_state = whole.initial_state(x if steps is not None else x[0])
    places = {"v": v, "s": s}
    state = family.state(
        **{
            name: zero if places.get(name, w) is None else places.get(name, w)
            for name, zero in zip(family.state._fields, rest_state, strict=True)
        }
    )
    out, after = whole.by_steps(x, state, steps=steps)
    last = after._asdict()
    return [out, last.pop("v"), last.pop("s", out[-1]), *last.values()]


for _code, (_plain, _second, _state) in enumerate(
    zip(
        _PLAIN,
        (None, "alpha", "rho", None),
        (LIFState, SynapticState, AdaptiveLIFState, LeakyIntegratorState),
        strict=True,
    )
):
    FAMILIES[_plain] = Family(_code, _second, _state, methods_of(_plain))
for _code, _recurrent in enumerate(_RECURRENT):
    _base = FAMILIES[_PLAIN[_code]]
    FAMILIES[_recurrent] = Family(_code, _base.second, _base.state, methods_of(_recurrent), recurrent=True)
SECOND_ORDER.append(_reference)
