"""What somebody says about the gradient of a spiking module, to be tested.

A claim has two halves.  *Which slope*: the surrogate derivative that stands in for the derivative of the step.  *Which
paths*: whether the reset passes gradients on (attached) or not (detached), and where else gradients are meant to stop.
What is not claimed is taken from the module's code, and the result says so.

The same as a file::

    surrogate = "fast_sigmoid"      # a name of bitprop.surrogate
    scale = 25.0
    reset = "attached"              # attached, detached or as_coded
    cuts = ["model.py:31"]          # source lines where a gradient is meant to stop
    unused = ["spare.*"]            # parameters that are meant to get no gradient
    stochastic = false              # true if the module is meant to draw random numbers
    spike = ["mymodel:spike"]       # spike functions that cannot be found automatically, as module:attribute

    [[site]]                        # what differs in some modules
    module = "layers.2*"
    surrogate = "atan"
    scale = 2.0
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from bitprop._checks import check_choice, shortened
from bitprop.errors import ConfigError
from bitprop.surrogate import SURROGATES, AbstractSurrogate, make_surrogate

__all__ = ["RESETS", "Claim", "Derivative", "SiteClaim", "load_claim"]

Derivative = Callable[..., Tensor]
"""``g(x, *arguments)``: the claimed slope at the spike function's input, given its other arguments."""

RESETS = ("attached", "detached", "as_coded")
_CUT = re.compile(r"[^:\s][^:]*(:[0-9]+)?")
_NAME = re.compile(r"[\w.*?\[\]]+")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _surrogate(name: str | None, scale: float | None, where: str) -> AbstractSurrogate | None:
    if name is None:
        if scale is not None:
            raise ConfigError(f"expected a surrogate beside {where}scale = {scale!r}, got none; name one")
        return None
    if not isinstance(name, str) or name not in SURROGATES:
        raise ConfigError(
            f"expected {where}surrogate to be one of {', '.join(SURROGATES)}; got {name!r}; other slopes are given "
            "from Python, as derivative="
        )
    return make_surrogate(name, scale)


@dataclass(frozen=True, slots=True)
class SiteClaim:
    """What is claimed of the spike functions in some modules.

    Attributes:
        module: dotted name of modules, with ``*`` and ``?``.
        surrogate: registered name.
        scale: of that surrogate; ``None`` is its default.
        derivative: any slope instead of a registered one (from Python only).

    Raises:
        ConfigError: no surrogate and no derivative, both, or an unknown name.
    """

    module: str
    surrogate: str | None = None
    scale: float | None = None
    derivative: Derivative | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if (self.surrogate is None) == (self.derivative is None):
            raise ConfigError(f"expected one of surrogate and derivative for site {self.module!r}; give one")
        _surrogate(self.surrogate, self.scale, "site.")

    def slope(self) -> Derivative:
        """``g``."""
        if self.derivative is not None:
            return self.derivative
        surrogate = _surrogate(self.surrogate, self.scale, "site.")
        assert surrogate is not None  # noqa: S101 - __post_init__ has seen to it
        return lambda x, *_arguments: surrogate.derivative(x)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed of a module's gradient.

    Attributes:
        surrogate: registered name of the slope, or ``None``: as the code has it.
        scale: of that surrogate; ``None`` is its default.
        derivative: any slope ``g(x, *arguments)`` instead of a registered one (from Python only).
        reset: ``attached``: every path through a spike passes gradients on; ``detached``: what is cut at a discrete
            tensor stays cut, and something has to be; ``as_coded``: whatever the code does at discrete tensors.
        cuts: places where a gradient is meant to stop, ``file.py:12`` or ``file.py``; elsewhere, backpropagation
            through time is claimed to be whole.
        unused: names of parameters that are meant to get no gradient, with ``*`` and ``?``.
        stochastic: the module is meant to draw random numbers; its gradient is that of one draw.
        spike: spike functions that cannot be found automatically, as ``package.module:attribute``.
        sites: what differs in some modules; the first that fits counts.

    Raises:
        ConfigError: an unknown surrogate or reset, a scale without a surrogate, or a malformed place.

    Example:
        >>> Claim(surrogate="atan", scale=2.0, reset="detached").describe()
        'slope atan (scale 2), reset detached, backpropagation through time whole'
    """

    surrogate: str | None = None
    scale: float | None = None
    derivative: Derivative | None = field(default=None, compare=False)
    reset: Literal["attached", "detached", "as_coded"] = "as_coded"
    cuts: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    stochastic: bool = False
    spike: tuple[str, ...] = ()
    sites: tuple[SiteClaim, ...] = ()

    def __post_init__(self) -> None:
        if self.surrogate is not None and self.derivative is not None:
            raise ConfigError("expected surrogate or derivative, got both; give one")
        _surrogate(self.surrogate, self.scale, "")
        try:
            check_choice("reset", self.reset, RESETS)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if not isinstance(self.stochastic, bool):
            raise ConfigError(f"expected stochastic to be true or false, got {self.stochastic!r}")
        for name, values, pattern, shape in (
            ("cuts", self.cuts, _CUT, "file.py:12 or file.py"),
            ("unused", self.unused, _NAME, "spare.weight"),
            ("spike", self.spike, _TARGET, "package.module:attribute"),
        ):
            if not isinstance(values, tuple):
                raise ConfigError(f"expected {name} to be a tuple of text, got {shortened(values)}")
            for value in values:
                if not isinstance(value, str) or not pattern.fullmatch(value):
                    raise ConfigError(f"expected {name} to hold places such as {shape}, got {shortened(value)}")

    def slope_for(self, module: str) -> Derivative | None:
        """The slope claimed for spike functions called in ``module`` (dotted name), or ``None``: as coded."""
        for site in self.sites:
            if fnmatchcase(module, site.module):
                return site.slope()
        if self.derivative is not None:
            return self.derivative
        surrogate = _surrogate(self.surrogate, self.scale, "")
        return None if surrogate is None else (lambda x, *_arguments: surrogate.derivative(x))

    def primal_for(self, module: str) -> Callable[[Tensor], Tensor] | None:
        """The primal of the surrogate claimed in ``module``, or ``None`` where no registered one is claimed."""
        site = next((site for site in self.sites if fnmatchcase(module, site.module)), None)
        name, scale = (self.surrogate, self.scale) if site is None else (site.surrogate, site.scale)
        surrogate = _surrogate(name, scale, "")
        return None if surrogate is None else surrogate.primal

    def allows_unused(self, parameter: str) -> bool:
        """Whether a parameter is meant to get no gradient."""
        return any(fnmatchcase(parameter, pattern) for pattern in self.unused)

    @property
    def claims_slope(self) -> bool:
        """Whether any slope is claimed, rather than taken from the code."""
        return self.surrogate is not None or self.derivative is not None or bool(self.sites)

    def allows_cut(self, line: str) -> bool:
        """Whether a gradient is meant to stop at ``path/file.py:12``."""
        path, _, number = line.rpartition(":")
        for cut in self.cuts:
            file, _, wanted = cut.partition(":")
            same = path == file or path.endswith("/" + file)
            if same and wanted in ("", number):
                return True
        return False

    def describe(self) -> str:
        """One line for a person."""
        if self.derivative is not None:
            slope = f"slope {getattr(self.derivative, '__name__', 'given')}"
        elif self.surrogate is not None:
            value = make_surrogate(self.surrogate, self.scale).scale
            slope = f"slope {self.surrogate} (scale {value:g})"
        else:
            slope = "slope as coded"
        if self.sites:
            slope += f" but for {len(self.sites)} site(s)"
        reset = "reset as coded" if self.reset == "as_coded" else f"reset {self.reset}"
        whole = f"gradients stop at {', '.join(self.cuts)}" if self.cuts else "backpropagation through time whole"
        return f"{slope}, {reset}, {whole}" + (", random draws meant" if self.stochastic else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "surrogate": self.surrogate,
            "scale": self.scale,
            "derivative": None if self.derivative is None else getattr(self.derivative, "__qualname__", "given"),
            "reset": self.reset,
            "cuts": list(self.cuts),
            "unused": list(self.unused),
            "stochastic": self.stochastic,
            "spike": list(self.spike),
            "sites": [{"module": s.module, "surrogate": s.surrogate, "scale": s.scale} for s in self.sites],
        }

    def with_changes(self, **changes: Any) -> Claim:
        """A copy with some fields replaced."""
        return replace(self, **changes)


_FIELDS = {item.name for item in fields(Claim)} - {"derivative", "sites"} | {"site"}
_SITE_FIELDS = {"module", "surrogate", "scale"}


def _known(values: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"expected {where} to hold {', '.join(sorted(known))}; got {', '.join(unknown)}; remove it")


def _text_list(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name, [])
    if not isinstance(value, list):
        raise ConfigError(f"expected {name} to be a list of text, got {shortened(value)}")
    return tuple(value)


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"expected {name} to be a number, got {shortened(value)}")
    return float(value)


def load_claim(path: str | os.PathLike[str]) -> Claim:
    """Read a claim from a TOML file.

    Raises:
        ConfigError: missing, unreadable, not TOML, an unknown field, or a value that is none.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"expected a claim at {file}, found no file; write one or leave --claim out") from None
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}; check the path") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML in {file}, got something else ({error})") from None
    try:
        return _claim_from(values)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from None


def _claim_from(values: Mapping[str, Any]) -> Claim:
    _known(values, _FIELDS, "a claim")
    sites = values.get("site", [])
    if not isinstance(sites, list) or not all(isinstance(site, dict) for site in sites):
        raise ConfigError("expected sites as [[site]] tables")
    made = []
    for site in sites:
        _known(site, _SITE_FIELDS, "a site")
        if not isinstance(site.get("module"), str):
            raise ConfigError('expected every [[site]] to name a module, such as module = "layers.2*"')
        made.append(SiteClaim(site["module"], site.get("surrogate"), _number(site, "scale")))
    return Claim(
        surrogate=values.get("surrogate"),
        scale=_number(values, "scale"),
        reset=values.get("reset", "as_coded"),
        cuts=_text_list(values, "cuts"),
        unused=_text_list(values, "unused"),
        stochastic=values.get("stochastic", False),
        spike=_text_list(values, "spike"),
        sites=tuple(made),
    )
