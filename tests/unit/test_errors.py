"""The exception classes: one root, the fitting builtin, all public."""

from __future__ import annotations

import pytest

from bitprop import errors

BUILTIN = {
    "ArtifactError": ValueError,
    "BitpropError": Exception,
    "ConfigError": ValueError,
    "DataError": ValueError,
    "DocumentError": ValueError,
    "FolderInUseError": ValueError,
    "InfeasibleError": ValueError,
    "NotExportableError": ValueError,
    "ParityError": AssertionError,
    "RangeError": ValueError,
    "RegistryError": KeyError,
    "ShapeError": ValueError,
    "SimulationError": RuntimeError,
    "SynthesisError": RuntimeError,
    "ToolNotFoundError": FileNotFoundError,
    "ToolTimeoutError": TimeoutError,
    "UnroutableError": RuntimeError,
}


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_error_is_a_bitprop_error_and_its_builtin(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, errors.BitpropError)
    assert issubclass(error, BUILTIN[name])


def test_all_is_complete() -> None:
    defined = {
        name for name, item in vars(errors).items() if isinstance(item, type) and item.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__) == {*BUILTIN, "BitpropWarning"}
    assert issubclass(errors.BitpropWarning, UserWarning)


def test_registry_error_prints_its_message_not_its_repr() -> None:
    assert str(errors.RegistryError("use one of: a, b")) == "use one of: a, b"
    assert str(errors.RegistryError()) == ""
