"""A whole network in one compiled call, where that works: the layers of `layers.py` as machine code.

numpy's layers are the reference and complete. `Program` runs the same layers by `int8_kernel.c`, which is compiled for
a browser's SIMD, for the relaxed SIMD that fewer engines have, and for the machine itself. Its sums of int8 products
are exact, as numpy's are; its tanh and sigmoid, and the sums of float features, differ in their last bits.
"""

import ctypes
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..compiled import INT, POINTER, address, load_library
from .activations import ACTIVATIONS
from .layers import GRU, Conv1d, Linear

_FRAMES = 64  # that a program's buffers hold
_MAX_SOURCES = 5
_FLOATS, _INTEGERS, _RECURRENT = range(3)

Layer = Linear | Conv1d | GRU


class Program:
    """Layers that feed each other, compiled into a table of addresses and run in one call.

    Parameters
    ----------
    layers : mapping of str to Linear, Conv1d or GRU
        In the order in which they run.
    sources : mapping of str to tuple of str
        What each layer sees, side by side: layers before it, or "features".
    features : int
        Width of the features.
    kernel : str
        "simd", "relaxed" or "native", one of `available_kernels`.

    Raises
    ------
    ValueError
        The kernel cannot run these layers: a GRU whose units are no multiple of 16.
    """

    def __init__(
        self, layers: Mapping[str, Layer], sources: Mapping[str, tuple[str, ...]], features: int, kernel: str
    ) -> None:
        self._run = _COMPILED[kernel].network
        self._turns = kernel != "native"  # rows of weights take turns, as four_rows wants them
        self._lock = threading.Lock()  # streams in several threads may share a model, and so these buffers
        self._width = features
        self._features = np.zeros((_FRAMES, _padded(features, 16)), np.float32)
        self._memory = np.zeros(
            sum(layer.new_state().size for layer in layers.values() if _remembers(layer)), np.float32
        )
        self._kept: list[np.ndarray] = []  # what the table points to must live as long as the table
        self._out: dict[str, np.ndarray] = {"features": self._features}
        self._outputs = {"features": features}
        rows, first = [], 0
        for name, layer in layers.items():
            size = layer.new_state().size if _remembers(layer) else 0
            rows.append(self._row(name, layer, sources[name], self._memory[first : first + size]))
            first += size
        self._table = np.array(rows, np.uintp)
        self._arguments = (address(self._table), len(rows))

    def _row(self, name: str, layer: Layer, sources: tuple[str, ...], memory: np.ndarray) -> list[int]:
        linear = layer.input if isinstance(layer, GRU) else layer
        rows, inputs = linear.weight.shape
        window = layer.frames if isinstance(layer, Conv1d) else 1
        padded_rows, columns = _padded(rows, 4), _padded(inputs, 16)
        weight = np.zeros((padded_rows, columns), np.int8)
        weight[:rows, :inputs] = linear.weight
        if linear.integers and self._turns:
            weight = _taking_turns(weight)
        scale, bias = np.zeros((2, padded_rows), np.float32)
        scale[:rows], bias[:rows] = linear.step_scale, linear.bias
        recurrent = [0, 0, 0]
        outputs, kind = padded_rows, _INTEGERS if linear.integers else _FLOATS
        if isinstance(layer, GRU):
            if layer.units % 16:
                raise ValueError(f"{name} has {layer.units} units; accepted by this kernel: a multiple of 16")
            outputs, kind = layer.units, _RECURRENT
            weight_hh = _taking_turns(layer.weight_hh) if self._turns else layer.weight_hh
            hidden = (weight_hh, layer.step_scale_hh, layer.bias_n)
            recurrent = [self._keep(np.ascontiguousarray(x)) for x in hidden]
        self._out[name] = np.zeros((_FRAMES, outputs), np.float32)
        self._outputs[name] = layer.units if isinstance(layer, GRU) else rows
        seen = [
            part
            for source in sources
            for part in (self._out[source].ctypes.data, self._outputs[source], self._out[source].shape[1])
        ]
        seen += [0] * (3 * _MAX_SOURCES - len(seen))
        activation = list(ACTIVATIONS).index(linear.activation)
        return [
            *(kind, activation, window, inputs // window, columns, outputs, len(sources)),
            *seen,
            *(self._keep(x) for x in (weight, scale, bias)),
            *recurrent,
            *(memory.ctypes.data, self._out[name].ctypes.data),
        ]

    def _keep(self, array: np.ndarray) -> int:
        self._kept.append(array)
        return array.ctypes.data

    def __call__(self, features: np.ndarray, memory: np.ndarray, *names: str) -> list[np.ndarray]:
        """Run K frames.

        Parameters
        ----------
        features : ndarray, shape (K, features), float32
        memory : ndarray, shape (n,), float32
            What the layers remember, end to end; updated.
        names : str
            The layers whose outputs are wanted.

        Returns
        -------
        list of ndarray, shape (K, outputs), float32
        """
        parts = []
        with self._lock:
            self._memory[:] = memory
            for first in range(0, len(features), _FRAMES):
                count = min(_FRAMES, len(features) - first)
                self._features[:count, : self._width] = features[first : first + count]
                self._run(*self._arguments, count)
                parts.append([self._out[name][:count, : self._outputs[name]].copy() for name in names])
            memory[:] = self._memory
        return parts[0] if len(parts) == 1 else [np.concatenate(column) for column in zip(*parts, strict=True)]


def _taking_turns(weight: np.ndarray) -> np.ndarray:
    """Each four rows in pieces of 16, a piece of each row in turn: one stream through memory is faster than four."""
    rows, columns = weight.shape
    return np.ascontiguousarray(weight.reshape(rows // 4, 4, columns // 16, 16).swapaxes(1, 2))


def _remembers(layer: Layer) -> bool:
    return isinstance(layer, Conv1d | GRU)


def _padded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _agrees(kernel: str) -> bool:
    """Whether the compiled kernel computes what numpy does: engines have been seen whose SIMD does not."""
    fine, coarse = np.full(48, 1e-3, np.float32), np.full(48, 0.05, np.float32)
    layers: dict[str, Layer] = {
        "dense": Linear(spread(7, 5).astype(np.int8), fine[:7], coarse[:7], "clamp", integers=False),
        "conv": Conv1d(spread(18, 21).astype(np.int8), fine[:18], coarse[:18], 3, "tanh"),
        "gru": GRU(*(x for n in (25, 16) for x in (spread(48, n).astype(np.int8), fine)), coarse, -coarse),
        "sums": Linear(spread(6, 34).astype(np.int8), fine[:6], coarse[:6]),
    }
    sources = {"dense": ("features",), "conv": ("dense",), "gru": ("conv", "dense"), "sums": ("gru", "conv")}
    program, memory = Program(layers, sources, 5, kernel), np.zeros(2 * 7 + 16, np.float32)
    x = spread(9, 5) / 127
    found = np.concatenate([program(part, memory, "sums")[0] for part in (x[:4], x[4:])])
    dense = layers["dense"](x)
    conv, _ = layers["conv"].step(dense, layers["conv"].new_state())
    gru, h = layers["gru"].step(np.concatenate((conv, dense), 1), layers["gru"].new_state())
    expected = layers["sums"](np.concatenate((gru, conv), 1))
    # A value on the edge between two steps may round either way.
    return bool(np.abs(found - expected).max() < 0.01 * np.abs(expected).max() and np.abs(memory[14:] - h).max() < 0.02)


def spread(rows: int, columns: int) -> np.ndarray:
    """Whole numbers all over [-127, 127], float32; numpy.random does not come along into the browser."""
    return (np.arange(rows * columns) * 89 % 255 - 127).reshape(rows, columns).astype(np.float32)


_COMPILED: dict[str, ctypes.CDLL] = {}
for _kernel in ("simd", "relaxed", "native"):
    _library = load_library(Path(__file__).with_name("int8_kernel.c"), _kernel, {"network": [POINTER, INT, INT]})
    if _library is not None:
        _COMPILED[_kernel] = _library
        if not _agrees(_kernel):
            del _COMPILED[_kernel]


def available_kernels() -> list[str]:
    """Names of the kernels that work here, the fastest last.

    They are "numpy"; in a browser "simd" and "relaxed"; elsewhere, once compiled, "native".
    """
    return ["numpy", *_COMPILED]


def choose_kernel(name: str | None = None) -> str:
    """The kernel to use: `name`, else the environment's ``PYENHANCE_KERNEL``, else the fastest.

    Raises
    ------
    ValueError
        There is no such kernel here.
    """
    wanted = name or os.environ.get("PYENHANCE_KERNEL") or available_kernels()[-1]
    if wanted not in available_kernels():
        raise ValueError(f"kernel is {wanted!r}; accepted here: {', '.join(available_kernels())}")
    return wanted
