"""The one product that inference spends its time on: int8 activations times int8 weights.

Activations are carried as integers in float32. Sums of products are exact in every kernel, so all give the same bits:
the numpy kernel keeps its float32 sums below 2^24, where each addition is exact; the SIMD kernel sums in int32.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

EXACT_BELOW = 2**24
_LARGEST_ACTIVATION = 127
_FRAMES = 64  # that the SIMD kernel's buffers hold
_MODULE = Path(__file__).with_name("int8_simd.wasm")

Product = Callable[[np.ndarray], np.ndarray]


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
        # Addresses are taken once: asking numpy for one costs more than the call.
        buffers = (self._weight, self._x, self._scratch, self._y)
        self._addresses = [ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers]
        self._sizes = (rows, columns)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if len(x) > _FRAMES:
            return np.concatenate([self(x[i : i + _FRAMES]).copy() for i in range(0, len(x), _FRAMES)])
        self._x[: len(x), : self._inputs] = x
        _simd_function(*self._addresses, len(x), *self._sizes)
        return self._y[: len(x), : self._outputs]


def _load_simd() -> Callable[..., None] | None:
    """The compiled kernel, or None where it is missing or the engine cannot compile it."""
    if sys.platform != "emscripten" or not _MODULE.exists():
        return None
    try:
        function = ctypes.CDLL(str(_MODULE)).int8_product
    except OSError:  # no such SIMD in this engine
        return None
    function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int] * 3
    function.restype = None
    return function


def _agrees(product: Callable[[np.ndarray], Product]) -> bool:
    """Whether a kernel computes what numpy does: engines have been seen whose SIMD does not."""
    rng = np.random.default_rng(0)
    for outputs, inputs in ((4, 16), (7, 83)):
        weight = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        x = rng.integers(-127, 128, (3, inputs)).astype(np.float32)
        if not np.array_equal(product(weight)(x), _NumpyProduct(weight)(x)):
            return False
    return True


_PRODUCTS: dict[str, Callable[[np.ndarray], Product]] = {"numpy": _NumpyProduct}
_simd_function = _load_simd()
if _simd_function is not None and _agrees(_SimdProduct):
    _PRODUCTS["simd"] = _SimdProduct


def available_kernels() -> list[str]:
    """Names of the kernels that work here, the fastest last."""
    return list(_PRODUCTS)


def choose_kernel(name: str | None = None) -> str:
    """The kernel to use: `name`, else the environment's ``PYENHANCE_KERNEL``, else the fastest.

    Raises
    ------
    ValueError
        There is no such kernel here.
    """
    wanted = name or os.environ.get("PYENHANCE_KERNEL") or available_kernels()[-1]
    if wanted not in _PRODUCTS:
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
    return _PRODUCTS[choose_kernel(kernel)](weight)
