"""Somebody's model from somebody's file: ``path/to/model.py:build``."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bitprop._checks import shortened
from bitprop.errors import ConfigError
from bitprop.verification.claim import Claim

__all__ = ["Built", "Training", "load_build"]

_TARGET = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_TRAINING = ("loader", "optimizer", "epochs", "snn_factory", "ann_factory", "test")
_KEYS = ("model", "inputs", "targets", "loss", "claim", "reset", *_TRAINING)
_RETURNS = (
    "a dictionary with model, inputs, targets and loss (and, where wanted, claim and reset, and for the training of "
    "the full suite loader, optimizer, epochs, snn_factory, ann_factory and test), or the tuple (model, inputs, "
    "targets, loss)"
)


@dataclass(frozen=True)
class Training:
    """What the full suite trains with.

    Attributes:
        loader: batches ``(inputs, targets)``.
        optimizer: parameters to an optimizer; default Adam.
        epochs: longest training.
        snn_factory: seed to a fresh spiking network, or ``None``.
        ann_factory: seed to a conventional network with as many parameters, or ``None``.
        test: held-out samples and labels, or ``None``.
    """

    loader: Any
    optimizer: Callable[[Any], torch.optim.Optimizer] = torch.optim.Adam
    epochs: int = 10
    snn_factory: Callable[[int], nn.Module] | None = None
    ann_factory: Callable[[int], nn.Module] | None = None
    test: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Built:
    """What a ``build`` function returned.

    Attributes:
        name: of the target.
        model: the module.
        inputs: its arguments.
        targets: second argument of the loss, or ``None``.
        loss: ``loss(outputs, targets)``.
        claim: of the file itself, or ``None``.
        reset: called with the model before every run, or ``None``.
        training: what the full suite trains with, or ``None``: it does not train.
    """

    name: str
    model: nn.Module
    inputs: Any
    targets: Any
    loss: Callable[..., Tensor]
    claim: Claim | None = None
    reset: Callable[[nn.Module], object] | None = None
    training: Training | None = None


def load_build(target: str) -> Built:
    """Import a file and call its function.

    The file is a program: it is run.  Its folder is on the import path meanwhile, and the module is known under the
    file's stem, so that ``spike = ["model:spike"]`` in a claim finds its functions.

    Args:
        target: ``path/to/model.py:build``; the function takes no argument and returns a dictionary with ``model``,
            ``inputs``, ``targets`` and ``loss`` (and, where wanted, ``claim``, ``reset`` and the fields of
            :class:`Training`), or the tuple of the first four.

    Raises:
        ConfigError: a malformed target, no such file or function, an exception inside it, or another result.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        raise ConfigError(f"expected FILE.py:FUNCTION, such as model.py:build; got {target!r}")
    file, name = Path(match["file"]), match["name"]
    if not file.is_file():
        raise ConfigError(f"expected a Python file at {file}, found none; check the path")
    with _importing(file) as module:
        build = getattr(module, name, None)
        if build is None:
            found = ", ".join(key for key, value in vars(module).items() if callable(value) and key[:1] != "_")
            raise ConfigError(f"expected a function {name} in {file}, found none; it has: {found or 'no function'}")
        if not callable(build):
            raise ConfigError(f"expected {name} in {file} to be a function, got {shortened(build)}")
        result = _calling(build, f"{name}() of {file}")
    return _built(target, result, f"{name}() of {file}")


@contextmanager
def _importing(file: Path) -> Iterator[ModuleType]:
    folder, stem = str(file.resolve().parent), file.stem
    if not stem.isidentifier():
        raise ConfigError(f"expected a file name that is a Python name, got {file.name}; rename it")
    spec = importlib.util.spec_from_file_location(stem, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"expected a Python module in {file}; it cannot be imported")
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(stem)
    sys.modules[stem] = module
    sys.path.insert(0, folder)
    done = False
    try:
        loader = spec.loader
        _calling(lambda: loader.exec_module(module), str(file))
        yield module
        done = True
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        if not done:
            if previous is None:
                sys.modules.pop(stem, None)
            else:
                sys.modules[stem] = previous


def _calling(function: Callable[[], Any], what: str) -> Any:
    try:
        return function()
    except ModuleNotFoundError as error:
        raise ConfigError(f"{what} needs the package {error.name}, which is not installed; install it first") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} raised {type(error).__name__}: {error}") from error


def _built(target: str, result: Any, what: str) -> Built:
    if isinstance(result, tuple) and len(result) == 4:
        result = dict(zip(_KEYS[:4], result, strict=True))
    if not isinstance(result, Mapping):
        raise ConfigError(f"expected {what} to return {_RETURNS}; got {shortened(result)}")
    unknown = [key for key in result if key not in _KEYS]
    missing = [key for key in ("model", "inputs", "loss") if key not in result]
    if unknown or missing:
        wrong = f"it has {', '.join(map(str, unknown))}" if unknown else f"{', '.join(missing)} is missing"
        raise ConfigError(f"expected {what} to return {_RETURNS}; {wrong}")
    model, loss, claim, reset = (result.get(key) for key in ("model", "loss", "claim", "reset"))
    if not isinstance(model, nn.Module):
        raise ConfigError(f"expected the model of {what} to be a torch.nn.Module, got {shortened(model)}")
    if not callable(loss):
        raise ConfigError(f"expected the loss of {what} to be a function, got {shortened(loss)}")
    if claim is not None and not isinstance(claim, Claim):
        raise ConfigError(f"expected the claim of {what} to be a Claim, got {shortened(claim)}")
    if reset is not None and not callable(reset):
        raise ConfigError(f"expected the reset of {what} to be a function, got {shortened(reset)}")
    return Built(target, model, result["inputs"], result.get("targets"), loss, claim, reset, _training(result, what))


def _training(result: Mapping[str, Any], what: str) -> Training | None:
    given = {key: result[key] for key in _TRAINING if result.get(key) is not None}
    if not given:
        return None
    if not isinstance(given.get("loader"), Iterable) or isinstance(given["loader"], Iterator | Tensor | str):
        raise ConfigError(
            f"expected the loader of {what} to be a list of batches (inputs, targets), or a loader that can be "
            f"iterated again and again, got {shortened(given.get('loader'))}; training needs it"
        )
    for key in ("optimizer", "snn_factory", "ann_factory"):
        if key in given and not callable(given[key]):
            raise ConfigError(f"expected {key} of {what} to be a function, got {shortened(given[key])}")
    if "epochs" in given and (type(given["epochs"]) is not int or not 1 <= given["epochs"] <= 100_000):
        raise ConfigError(f"expected epochs of {what} in 1 .. 100000, got {shortened(given['epochs'])}")
    together = [key in given for key in ("snn_factory", "ann_factory", "test")]
    if any(together) and not all(together):
        raise ConfigError(f"expected snn_factory, ann_factory and test of {what} together, got some of them")
    test = given.get("test")
    if test is not None and not (
        isinstance(test, tuple) and len(test) == 2 and all(isinstance(part, Tensor) for part in test)
    ):
        raise ConfigError(f"expected test of {what} to be two tensors, samples and labels, got {shortened(test)}")
    return Training(**given)
