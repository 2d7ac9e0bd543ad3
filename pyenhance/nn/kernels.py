"""The one product that inference spends its time on, int8 activations times int8 weights, and the GRU's recurrence.

Activations are carried as integers in float32. Sums of products are exact in every kernel, so all give the same bits:
the numpy kernel keeps its float32 sums below 2^24, where each addition is exact; the SIMD kernel sums in int32. In the
recurrence its gates differ from numpy's in the last bits of tanh.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .activations import sigmoid
from .quantize import quantize_activation

EXACT_BELOW = 2**24
_LARGEST_ACTIVATION = 127
_FRAMES = 64  # that the SIMD kernel's buffers hold
_MODULE = Path(__file__).with_name("int8_simd.wasm")

Product = Callable[[np.ndarray], np.ndarray]
Recurrence = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


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


class _NumpyRecurrence:
    """Frame by frame, one call for each operation."""

    def __init__(self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> None:
        self._product = _NumpyProduct(weight)
        self._scale, self._bias = scale, bias

    def __call__(self, gates: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


class _SimdProduct:
    """`wasm/int8_kernel.c` on numpy's memory, in place."""

    def __init__(self, weight: np.ndarray) -> None:
        self._outputs, self._inputs = weight.shape
        rows, columns = -(-self._outputs // 4) * 4, -(-self._inputs // 16) * 16
        self._weight = np.zeros((rows, columns), np.int8)
        self._weight[: self._outputs, : self._inputs] = weight
        self._x = np.zeros((_FRAMES, columns), np.float32)
        self._scratch = np.empty(columns, np.int16)
        self._y = np.empty((_FRAMES, rows), np.float32)
        self._addresses = [_address(buffer) for buffer in (self._weight, self._x, self._scratch, self._y)]
        self._sizes = (rows, columns)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if len(x) > _FRAMES:
            return np.concatenate([self(x[i : i + _FRAMES]).copy() for i in range(0, len(x), _FRAMES)])
        self._x[: len(x), : self._inputs] = x
        _simd.int8_product(*self._addresses, len(x), *self._sizes)
        return self._y[: len(x), : self._outputs]


class _SimdRecurrence:
    """All frames and gates in one call."""

    def __init__(self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> None:
        units = weight.shape[1]
        self._units = units
        self._weight, self._scale = np.ascontiguousarray(weight), np.ascontiguousarray(scale, np.float32)
        self._bias = np.ascontiguousarray(bias, np.float32)
        self._gates, self._h = np.empty((_FRAMES, 3 * units), np.float32), np.empty((1, units), np.float32)
        self._scratch, self._out = np.empty(units, np.int16), np.empty((_FRAMES, units), np.float32)
        buffers = (self._weight, self._scale, self._bias, self._gates, self._h, self._scratch, self._out)
        self._addresses = [_address(buffer) for buffer in buffers]

    def __call__(self, gates: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._h[:] = h
        parts = []
        for start in range(0, len(gates), _FRAMES):
            part = gates[start : start + _FRAMES]
            self._gates[: len(part)] = part
            _simd.int8_recurrence(*self._addresses, len(part), self._units)
            parts.append(self._out[: len(part)].copy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts), self._h.copy()


def _address(array: np.ndarray) -> ctypes.c_void_p:
    """Taken once: asking numpy for it costs more than the call that it is for."""
    return ctypes.c_void_p(array.ctypes.data)


def _load_simd() -> ctypes.CDLL | None:
    """The compiled kernel, or None where it is missing or the engine cannot compile it."""
    if sys.platform != "emscripten" or not _MODULE.exists():
        return None
    try:
        library = ctypes.CDLL(str(_MODULE))
    except OSError:  # no such SIMD in this engine
        return None
    library.int8_product.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int] * 3
    library.int8_recurrence.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int] * 2
    library.int8_product.restype = library.int8_recurrence.restype = None
    return library


def _agrees() -> bool:
    """Whether the SIMD kernel computes what numpy does: engines have been seen whose SIMD does not."""
    rng = np.random.default_rng(0)
    for outputs, inputs in ((4, 16), (7, 83)):
        weight = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        x = rng.integers(-127, 128, (3, inputs)).astype(np.float32)
        if not np.array_equal(_SimdProduct(weight)(x), _NumpyProduct(weight)(x)):
            return False
    weight = rng.integers(-127, 128, (48, 16)).astype(np.int8)
    scale, bias = np.full(48, 1e-4, np.float32), rng.normal(size=16).astype(np.float32)
    gates, h = rng.normal(size=(1, 48)).astype(np.float32), rng.uniform(-1, 1, (1, 16)).astype(np.float32)
    found, expected = (kind(weight, scale, bias)(gates.copy(), h)[1] for kind in (_SimdRecurrence, _NumpyRecurrence))
    return bool(np.abs(found - expected).max() < 1e-5)


_KERNELS: dict[str, tuple[Callable[..., Product], Callable[..., Recurrence]]] = {
    "numpy": (_NumpyProduct, _NumpyRecurrence)
}
_simd = _load_simd()
if _simd is not None and _agrees():
    _KERNELS["simd"] = (_SimdProduct, _SimdRecurrence)


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


def integer_matrix(weight: np.ndarray, kernel: str | None = None) -> Product:
    """Int8 weights laid out for the product ``x @ weight.T``.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), int8
    kernel : str, optional
        See `choose_kernel`.

    Returns
    -------
    callable
        x (K, inputs) float32, whole numbers in [-127, 127] -> (K, outputs) float32: the exact integer sums, rounded to
        float32 where they pass 2^24. Valid until the next call.
    """
    return _KERNELS[choose_kernel(kernel)][0](weight)


def recurrence(weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, kernel: str | None = None) -> Recurrence:
    """A GRU's step from its input's part of the gates (PyTorch's order r, z, n).

    Parameters
    ----------
    weight : ndarray, shape (3 units, units), int8
    scale : ndarray, shape (3 units,), float32
        Value of one step of the integer sums.
    bias : ndarray, shape (units,), float32
        Of n's hidden part; those of r and z belong to the gates.
    kernel : str, optional
        See `choose_kernel`.

    Returns
    -------
    callable
        gates (K, 3 units), which may be overwritten, and h (1, units), float32 -> (K, units), whole numbers in
        [-127, 127], and the new h.
    """
    chosen = choose_kernel(kernel)
    if weight.shape[1] % 16:  # the SIMD kernel takes sixteen units at a time
        chosen = "numpy"
    return _KERNELS[chosen][1](weight, scale, bias)
