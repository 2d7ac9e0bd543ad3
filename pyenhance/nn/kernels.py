"""The one product that inference spends its time on: int8 activations times int8 weights.

Both are carried as integers in float32. A sum of such products is exact while it stays below 2^24, whatever the order
of additions, so every kernel gives the same bits; `IntegerMatrix` checks that bound and splits rows that could pass it.
"""

import sys

import numpy as np

KERNEL = "numpy"
"""Name of the kernel in use."""

EXACT_BELOW = 2**24
_LARGEST_ACTIVATION = 127


class IntegerMatrix:
    """Int8 weights laid out for the product ``x @ weight.T``.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), int8

    Attributes
    ----------
    outputs, inputs : int
    """

    def __init__(self, weight: np.ndarray) -> None:
        self.outputs, self.inputs = weight.shape
        magnitude = np.abs(weight.astype(np.int32))
        blocks = 1
        while any(
            part.sum(1).max(initial=0) * _LARGEST_ACTIVATION >= EXACT_BELOW
            for part in np.array_split(magnitude, blocks, axis=1)
        ):
            blocks += 1
        self._parts = [np.ascontiguousarray(part.T, np.float32) for part in np.array_split(weight, blocks, axis=1)]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Integer product.

        Parameters
        ----------
        x : ndarray, shape (K, inputs), float32, whole numbers in [-127, 127]

        Returns
        -------
        ndarray, shape (K, outputs): exact whole numbers, float32 (float64 when one part could not hold them).
        """
        if len(self._parts) == 1:
            return _product(x, self._parts[0])
        total = np.zeros((len(x), self.outputs))
        start = 0
        for part in self._parts:
            total += _product(np.ascontiguousarray(x[:, start : start + len(part)]), part)
            start += len(part)
        return total


def _einsum(x: np.ndarray, transposed: np.ndarray) -> np.ndarray:
    return np.einsum("kj,ji->ki", x, transposed)


# numpy for Pyodide has no BLAS: its matmul is a plain loop there, and einsum over rows is several times faster.
_product = _einsum if sys.platform == "emscripten" else np.matmul
