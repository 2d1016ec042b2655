"""Networks on disk: safetensors, with the shape and the design space in the file's metadata.  Nothing is unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bitprop._checks import one_line
from bitprop.artifacts import json_value, write_bytes
from bitprop.errors import ArtifactError, BitpropError
from bitprop.nn.network import SCNetwork

__all__ = ["load_network", "save_network"]

_FORMAT = "bitprop.network/1"
# one key only: safetensors writes several in an order of its own, and equal networks shall give equal bytes
_KEY = "bitprop"


def save_network(network: SCNetwork, path: str | os.PathLike[str]) -> Path:
    """Write a network; equal networks give equal bytes.

    Raises:
        ArtifactError: the file cannot be written.
    """
    description = {"format": _FORMAT, "arguments": network.arguments()}
    metadata = {_KEY: json.dumps(description, sort_keys=True)}
    tensors = {name: tensor.contiguous() for name, tensor in sorted(network.state_dict().items())}
    return write_bytes(path, save(tensors, metadata))


def load_network(path: str | os.PathLike[str]) -> SCNetwork:
    """Read a network back, in bit-true mode.

    Raises:
        ArtifactError: missing, truncated, not a network of this version, or tensors that do not fit it.
    """
    target = Path(path)
    if not target.is_file():
        raise ArtifactError(f"expected a network file at {target}, found none; train one first")
    try:
        with safe_open(target, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"expected safetensors in {target}: {error}; the file is damaged") from error
    try:
        description: dict[str, Any] = json_value(metadata.get(_KEY, "{}"))
        if description.get("format") != _FORMAT:
            raise ArtifactError(f"the format is {description.get('format')!r}, not {_FORMAT!r}")
        network = SCNetwork(**description["arguments"])
        network.load_state_dict(tensors)
    except (BitpropError, AttributeError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ArtifactError(
            f"expected a network's tensors in {target}: {one_line(error)}; the file is damaged"
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point()):
        raise ArtifactError(f"expected finite weights in {target}, found NaN or infinity; train again")
    for layer in network.sc_layers():
        for parameter in layer.design.parameters():
            parameter.requires_grad_(not layer.design.is_committed)
    network.set_mode("bit_true")
    return network
