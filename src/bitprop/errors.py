"""Every exception bitprop raises on purpose, and the one warning.

All derive from :class:`BitpropError`; each also derives from the builtin that fits, so callers who know
nothing of bitprop still catch what they expect.  A message says what was expected, what came, and what to do.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "BitpropError",
    "BitpropWarning",
    "ConfigError",
    "DataError",
    "DocumentError",
    "FolderInUseError",
    "InfeasibleError",
    "NotExportableError",
    "ParityError",
    "RangeError",
    "RegistryError",
    "ShapeError",
    "SimulationError",
    "SynthesisError",
    "ToolNotFoundError",
    "ToolTimeoutError",
    "UnroutableError",
]


class BitpropError(Exception):
    """Base class of everything bitprop raises on purpose."""


class BitpropWarning(UserWarning):
    """The result holds, but something beside it could not be done; the message says what, why, and what to do."""


class RangeError(BitpropError, ValueError):
    """A number or name lies outside the set a function accepts."""


class ShapeError(BitpropError, ValueError):
    """An array or tensor has the wrong shape or dtype."""


class RegistryError(BitpropError, KeyError):
    """A name is unknown to a registry, or is registered twice."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class ConfigError(BitpropError, ValueError):
    """A configuration file or object is not usable; the message names the field."""


class InfeasibleError(BitpropError, ValueError):
    """No design meets the budget; the message describes the one that comes nearest."""


class DataError(BitpropError, ValueError):
    """A data set is missing, malformed or outside its declared range."""


class DocumentError(BitpropError, ValueError):
    """An SC-NIR document does not follow its schema; the message names the field."""


class NotExportableError(BitpropError, ValueError):
    """A design cannot become hardware (for example: it draws ideal Bernoulli bits)."""


class ArtifactError(BitpropError, ValueError):
    """A written artefact is missing, truncated, altered or contradicts another one."""


class FolderInUseError(ArtifactError):
    """Another process writes into the folder; the message says which."""


class ToolNotFoundError(BitpropError, FileNotFoundError):
    """An external program is not installed; the message names the environment variable that points to it."""


class ToolTimeoutError(BitpropError, TimeoutError):
    """An external program did not finish in time and was stopped."""


class SimulationError(BitpropError, RuntimeError):
    """An external simulator failed or printed something that is not a result."""


class SynthesisError(BitpropError, RuntimeError):
    """Synthesis or place-and-route failed: a program gave up, or the design does not fit the device."""


class UnroutableError(SynthesisError):
    """Placement or routing gave up with one seed; another one may do."""


class ParityError(BitpropError, AssertionError):
    """Two interpreters of one program gave different integers."""
