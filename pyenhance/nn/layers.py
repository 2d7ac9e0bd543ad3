"""Layers with int8 weights. Each is frozen; what it remembers is passed in and handed back.

Activations between layers are whole numbers in [-127, 127] held in float32 and stand for values in [-1, 1]. Every layer
works on K frames at once, and gives the same bits for any split of them into calls.
"""

import numpy as np

from .kernels import integer_matrix, recurrence
from .quantize import ACTIVATION_LEVELS


class Linear:
    """y = W x + b, activation left to the caller.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), int8
    scale : ndarray, shape (outputs,), float32
    bias : ndarray, shape (outputs,), float32
    input_levels : float
        Value that stands for 1 in the input: 127 for int8 activations, 1 for plain float32 features.
    kernel : str, optional
        What computes the products; see `kernels.choose_kernel`.
    """

    def __init__(
        self,
        weight: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray,
        input_levels: float = ACTIVATION_LEVELS,
        *,
        kernel: str | None = None,
    ) -> None:
        self._integers = input_levels != 1
        self._matrix = integer_matrix(weight, kernel) if self._integers else None
        self._transposed = None if self._integers else np.ascontiguousarray(weight.T, np.float32)
        self._scale = (scale / np.float32(input_levels)).astype(np.float32)
        self._bias = bias

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x (K, inputs) float32 -> (K, outputs) float32."""
        # Float features are summed by einsum everywhere: BLAS would round them differently for one row and for many.
        y = self._matrix(x) if self._integers else np.einsum("kj,ji->ki", x, self._transposed)
        y = np.multiply(y, self._scale, dtype=np.float32, casting="same_kind")
        return np.add(y, self._bias, out=y)


class Conv1d(Linear):
    """Causal convolution over time as one product with the last `frames` frames side by side, oldest first.

    Parameters
    ----------
    weight : ndarray, shape (outputs, frames * inputs), int8
    scale, bias : ndarray, shape (outputs,), float32
    frames : int
        Length of the convolution.
    kernel : str, optional
        As for `Linear`.
    """

    def __init__(
        self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, frames: int, *, kernel: str | None = None
    ) -> None:
        super().__init__(weight, scale, bias, kernel=kernel)
        self._frames = frames
        self._inputs = weight.shape[1] // frames

    def new_state(self) -> np.ndarray:
        """Frames before the first: silence, shape (frames - 1, inputs), float32."""
        return np.zeros((self._frames - 1, self._inputs), np.float32)

    def step(self, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (K, inputs), state -> (K, outputs) float32, new state."""
        past = np.concatenate((state, x))
        row = past.strides[0]
        # Row k of this view is rows k .. k + frames - 1 laid end to end; rows overlap.
        windows = np.ndarray((len(x), self._frames * self._inputs), np.float32, past, 0, (row, past.itemsize))
        return self(windows), past[len(x) :]


class GRU:
    """PyTorch's gated recurrent unit (gates r, z, n); its state stays float32, the copy that meets the weights is int8.

    Parameters
    ----------
    weight_ih : ndarray, shape (3 units, inputs), int8
    weight_ih_scale : ndarray, shape (3 units,), float32
    weight_hh : ndarray, shape (3 units, units), int8
    weight_hh_scale : ndarray, shape (3 units,), float32
    bias_ih, bias_hh : ndarray, shape (3 units,), float32
    kernel : str, optional
        As for `Linear`.
    """

    def __init__(
        self,
        weight_ih: np.ndarray,
        weight_ih_scale: np.ndarray,
        weight_hh: np.ndarray,
        weight_hh_scale: np.ndarray,
        bias_ih: np.ndarray,
        bias_hh: np.ndarray,
        *,
        kernel: str | None = None,
    ) -> None:
        self.units = weight_hh.shape[1]
        # Biases of r and z only ever appear as their sum; n's hidden bias must stay inside the reset gate.
        joined = bias_ih.copy()
        joined[: 2 * self.units] += bias_hh[: 2 * self.units]
        self._input = Linear(weight_ih, weight_ih_scale, joined, kernel=kernel)
        scale = (weight_hh_scale / ACTIVATION_LEVELS).astype(np.float32)
        self._recurrence = recurrence(weight_hh, scale, bias_hh[2 * self.units :], kernel)

    def new_state(self) -> np.ndarray:
        """Shape (1, units), float32, zeros."""
        return np.zeros((1, self.units), np.float32)

    def step(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (K, inputs) int8 values, h (1, units) -> (K, units) int8 values, new h (1, units) float32."""
        return self._recurrence(self._input(x), h)
