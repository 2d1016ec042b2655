"""sc-neurocore's ways to the sums of a layer of streams, where it is installed; bitprop does not need it.

It draws streams itself, so it is compared where what is drawn does not matter: weights of one, and, in NumPy, inputs of
0 and 1.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from typing import Any

import numpy as np
from _timing import Way

from bitprop.streams import PackedStreams, stream_products

ENGINE, NEUROCORE = "sc_neurocore_engine", "sc_neurocore"


def installed(x: PackedStreams, values: np.ndarray[Any, Any], outputs: int) -> dict[str, Way]:
    """The ways of what is installed, for streams ``[B, I]`` of these values and so many outputs."""
    found = engine(x, values, outputs) if importlib.util.find_spec(ENGINE) else {}
    return found | (neurocore(values, outputs, x.length) if importlib.util.find_spec(NEUROCORE) else {})


def engine(x: PackedStreams, values: np.ndarray[Any, Any], outputs: int) -> dict[str, Way]:
    """sc-neurocore's Rust engine: from streams that are given, one sample a call, and from values, a batch a call."""
    inputs = x.shape[1]
    os.environ["RAYON_NUM_THREADS"] = "1"  # read when it starts
    layer = importlib.import_module(ENGINE).DenseLayer(inputs, outputs, length=x.length, seed=1)
    layer.set_weights(np.ones((outputs, inputs)))
    layer.refresh_packed_weights()

    def from_streams() -> np.ndarray[Any, Any]:
        return np.stack([layer.forward_prepacked_numpy(sample) for sample in x.words])

    ones = np.full((outputs, inputs, x.words.shape[2]), ~np.uint64(0))
    if not np.array_equal(
        np.rint(from_streams() * x.length), stream_products(x, PackedStreams(ones, x.length), "unipolar")
    ):
        raise SystemExit("expected the engine's counts to be ours, got others; its time is not worth reading")
    version = importlib.metadata.version(ENGINE)
    return {
        f"sc-neurocore-engine {version}, streams given": from_streams,
        f"sc-neurocore-engine {version}, streams encoded too": lambda: layer.forward_batch_numpy(values),
    }


def neurocore(values: np.ndarray[Any, Any], outputs: int, length: int) -> dict[str, Way]:
    """sc-neurocore's layer of packed streams in NumPy, which encodes one sample a call."""
    inputs = values.shape[1]
    layers = importlib.import_module(f"{NEUROCORE}.layers.vectorized_layer")
    generator = np.random.default_rng(0)

    def layer(weights: np.ndarray[Any, Any]) -> Any:
        exported = {"weight": weights, "encoding": "unipolar"}
        return layers.VectorizedSCLayer.from_exported_weights(exported, length=length, use_gpu=False, seed=1)

    bits, ones = generator.integers(0, 2, (2, inputs)).astype(float), generator.integers(0, 2, (outputs, inputs))
    if not np.array_equal(np.stack([layer(ones.astype(float)).forward(row) for row in bits]), bits @ ones.T):
        raise SystemExit("expected sc-neurocore's means of constant streams to be ours, got others; no time counts")
    timed = layer(generator.random((outputs, inputs)))
    name = f"sc-neurocore {importlib.metadata.version('sc-neurocore')}, NumPy, streams encoded too"
    return {name: lambda: np.stack([timed.forward(row) for row in values])}
