"""What inference spends its time on: int8 activations times int8 weights with scale, bias and activation, and the GRU.

Activations are carried as integers in float32. Sums of products are exact in every kernel, so all give the same bits:
the numpy kernel keeps its float32 sums below 2^24, where each addition is exact; the SIMD kernel sums in int32. Its
tanh and sigmoid differ from numpy's in the last bits.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..sidemodule import INT, POINTER, address, load_side_module
from .activations import ACTIVATIONS, sigmoid
from .quantize import quantize_activation

EXACT_BELOW = 2**24
_LARGEST_ACTIVATION = 127
_FRAMES = 64  # that the SIMD kernel's buffers hold

Affine = Callable[[np.ndarray], np.ndarray]
Recurrent = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class GruWeights(NamedTuple):
    """A GRU's tensors, gates in PyTorch's order r, z, n.

    Attributes
    ----------
    weight_ih, weight_hh : ndarray, shape (3 units, inputs) and (3 units, units), int8
    scale_ih, scale_hh : ndarray, shape (3 units,), float32
        Value of one step of their integer sums.
    bias : ndarray, shape (3 units,), float32
        Of the gates, but for n's hidden part.
    bias_n : ndarray, shape (units,), float32
        Of n's hidden part, inside the reset gate.
    """

    weight_ih: np.ndarray
    scale_ih: np.ndarray
    bias: np.ndarray
    weight_hh: np.ndarray
    scale_hh: np.ndarray
    bias_n: np.ndarray


class _NumpyProduct:
    """float32 products, in parts where a sum could pass 2^24."""

    def __init__(self, weight: np.ndarray) -> None:
        self._outputs = len(weight)
        magnitude = np.abs(weight.astype(np.int32))
        blocks = 1
        while any(
            part.sum(1).max(initial=0) * _LARGEST_ACTIVATION >= EXACT_BELOW
            for part in np.array_split(magnitude, blocks, axis=1)
        ):
            blocks += 1
        self._parts = [np.ascontiguousarray(part.T, np.float32) for part in np.array_split(weight, blocks, axis=1)]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if len(self._parts) == 1:
            return _multiply(x, self._parts[0])
        total = np.zeros((len(x), self._outputs))
        start = 0
        for part in self._parts:
            total += _multiply(np.ascontiguousarray(x[:, start : start + len(part)]), part)
            start += len(part)
        return total.astype(np.float32)


def _einsum(x: np.ndarray, transposed: np.ndarray) -> np.ndarray:
    return np.einsum("kj,ji->ki", x, transposed)


# numpy for Pyodide has no BLAS: its matmul is a plain loop there, and einsum over rows is several times faster.
_multiply = _einsum if sys.platform == "emscripten" else np.matmul


class _NumpyAffine:
    """One call for each operation."""

    def __init__(self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, activation: str | None) -> None:
        self._product = _NumpyProduct(weight)
        self._scale, self._bias, self._activation = scale, bias, ACTIVATIONS[activation]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = self._product(x)
        y *= self._scale
        y += self._bias
        return self._activation(y)


class _NumpyGru:
    """Frame by frame, one call for each operation."""

    def __init__(self, weights: GruWeights) -> None:
        self._input = _NumpyAffine(weights.weight_ih, weights.scale_ih, weights.bias, None)
        self._product = _NumpyProduct(weights.weight_hh)
        self._scale, self._bias = weights.scale_hh, weights.bias_n

    def __call__(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gates = self._input(x)
        units = h.shape[1]
        out = np.empty((len(gates), units), np.float32)
        for k in range(len(gates)):
            hidden = self._product(quantize_activation(h.copy()))
            hidden *= self._scale
            gate = gates[k : k + 1]
            rz = gate[:, : 2 * units]
            rz += hidden[:, : 2 * units]
            sigmoid(rz)
            n = hidden[:, 2 * units :]
            n += self._bias
            n *= rz[:, :units]
            n += gate[:, 2 * units :]
            np.tanh(n, out=n)
            # h' = n + z (h - n)
            h = h - n
            h *= rz[:, units:]
            h += n
            out[k] = h
        return quantize_activation(out), h


class _SimdAffine:
    """`wasm/int8_kernel.c` on numpy's memory, in place: one call for all."""

    def __init__(self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, activation: str | None) -> None:
        self._outputs, self._inputs = weight.shape
        padded = _pad(weight)
        rows, columns = padded.shape
        self._x = np.zeros((_FRAMES, columns), np.float32)
        self._y = np.empty((_FRAMES, rows), np.float32)
        scales, biases = np.zeros((2, rows), np.float32)
        scales[: self._outputs], biases[: self._outputs] = scale, bias
        self._buffers = (padded, scales, biases, self._x, np.empty(columns, np.int16), self._y)
        self._addresses = [address(buffer) for buffer in self._buffers]
        self._sizes = (rows, columns, list(ACTIVATIONS).index(activation))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if len(x) > _FRAMES:
            return np.concatenate([self(x[i : i + _FRAMES]) for i in range(0, len(x), _FRAMES)])
        self._x[: len(x), : self._inputs] = x
        _simd.int8_affine(*self._addresses, len(x), *self._sizes)
        return self._y[: len(x), : self._outputs].copy()


class _SimdGru:
    """All frames and gates in one call."""

    def __init__(self, weights: GruWeights) -> None:
        self._inputs, units = weights.weight_ih.shape[1], weights.weight_hh.shape[1]
        padded = _pad(weights.weight_ih)
        columns = padded.shape[1]
        own = weights._replace(weight_ih=padded, weight_hh=np.ascontiguousarray(weights.weight_hh))
        floats = {name: np.ascontiguousarray(v, np.float32) for name, v in own._asdict().items() if v.ndim == 1}
        self._x, self._h = np.zeros((_FRAMES, columns), np.float32), np.empty((1, units), np.float32)
        self._out = np.empty((_FRAMES, units), np.float32)
        scratch, gates = np.empty(max(columns, units), np.int16), np.empty(3 * units, np.float32)
        self._buffers = (*own._replace(**floats), self._x, self._h, scratch, gates, self._out)
        self._addresses = [address(buffer) for buffer in self._buffers]
        self._sizes = (columns, units)

    def __call__(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._h[:] = h
        parts = []
        for start in range(0, len(x), _FRAMES):
            part = x[start : start + _FRAMES]
            self._x[: len(part), : self._inputs] = part
            _simd.int8_gru(*self._addresses, len(part), *self._sizes)
            parts.append(self._out[: len(part)].copy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts), self._h.copy()


def _pad(weight: np.ndarray) -> np.ndarray:
    """Rows to a multiple of 4, columns to one of 16."""
    outputs, inputs = weight.shape
    padded = np.zeros((-(-outputs // 4) * 4, -(-inputs // 16) * 16), np.int8)
    padded[:outputs, :inputs] = weight
    return padded


def _agrees() -> bool:
    """Whether the SIMD kernel computes what numpy does: engines have been seen whose SIMD does not."""
    for outputs, inputs in ((4, 16), (7, 83)):
        weight, x = spread(outputs, inputs).astype(np.int8), spread(3, inputs)
        scale, bias = spread(2, outputs) / 64
        simd, expected = (kind(weight, scale, bias, None)(x) for kind in (_SimdAffine, _NumpyAffine))
        if not np.array_equal(simd, expected):
            return False
    scale, bias = np.full(48, 1e-4, np.float32), spread(1, 48)[0] / 64
    weight_ih, weight_hh = (spread(48, n).astype(np.int8) for n in (20, 16))
    weights = GruWeights(weight_ih, scale, bias, weight_hh, scale, bias[:16])
    x, h = spread(1, 20), spread(1, 16) / 127
    found, expected = (kind(weights)(x, h)[1] for kind in (_SimdGru, _NumpyGru))
    return bool(np.abs(found - expected).max() < 1e-5)


def spread(rows: int, columns: int) -> np.ndarray:
    """Whole numbers all over [-127, 127], float32; numpy.random does not come along into the browser."""
    return (np.arange(rows * columns) * 89 % 255 - 127).reshape(rows, columns).astype(np.float32)


_KERNELS: dict[str, tuple[Callable[..., Affine], Callable[..., Recurrent]]] = {"numpy": (_NumpyAffine, _NumpyGru)}
_simd = load_side_module(
    Path(__file__).with_name("int8_simd.wasm"),
    {"int8_affine": [POINTER] * 6 + [INT] * 4, "int8_gru": [POINTER] * 11 + [INT] * 3},
)
if _simd is not None and _agrees():
    _KERNELS["simd"] = (_SimdAffine, _SimdGru)


def available_kernels() -> list[str]:
    """Names of the kernels that work here, the fastest last."""
    return list(_KERNELS)


def choose_kernel(name: str | None = None) -> str:
    """The kernel to use: `name`, else the environment's ``PYENHANCE_KERNEL``, else the fastest.

    Raises
    ------
    ValueError
        There is no such kernel here.
    """
    wanted = name or os.environ.get("PYENHANCE_KERNEL") or available_kernels()[-1]
    if wanted not in _KERNELS:
        raise ValueError(f"kernel is {wanted!r}; accepted here: {', '.join(available_kernels())}")
    return wanted


def affine(
    weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, activation: str | None = None, kernel: str | None = None
) -> Affine:
    """y = activation(scale * (weight x) + bias).

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), int8
    scale, bias : ndarray, shape (outputs,), float32
        Value of one step of the integer sums; what is added.
    activation : {None, "clamp", "tanh", "sigmoid"}
        See `activations.ACTIVATIONS`.
    kernel : str, optional
        See `choose_kernel`.

    Returns
    -------
    callable
        x (K, inputs) float32, whole numbers in [-127, 127] -> (K, outputs) float32. The integer sums are exact, rounded
        to float32 where they pass 2^24.
    """
    return _KERNELS[choose_kernel(kernel)][0](weight, scale, bias, activation)


def gru(weights: GruWeights, kernel: str | None = None) -> Recurrent:
    """A GRU (PyTorch's order of gates: r, z, n).

    Parameters
    ----------
    weights : GruWeights
    kernel : str, optional
        See `choose_kernel`.

    Returns
    -------
    callable
        x (K, inputs) float32, whole numbers in [-127, 127], and h (1, units) float32 -> (K, units) whole numbers, and
        the new h.
    """
    chosen = choose_kernel(kernel)
    if weights.weight_hh.shape[1] % 16:  # the SIMD kernel takes sixteen units at a time
        chosen = "numpy"
    return _KERNELS[chosen][1](weights)
