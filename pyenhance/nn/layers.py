"""Layers with int8 weights. Each is frozen; what it remembers is passed in and handed back.

Activations between layers are whole numbers in [-127, 127] held in float32 and stand for values in [-1, 1]. Every layer
works on K frames at once, and gives the same bits for any split of them into calls.
"""

import numpy as np

from .activations import ACTIVATIONS
from .kernels import GruWeights, affine, gru
from .quantize import ACTIVATION_LEVELS


class Linear:
    """y = activation(W x + b).

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), int8
    scale : ndarray, shape (outputs,), float32
    bias : ndarray, shape (outputs,), float32
    activation : {None, "clamp", "tanh", "sigmoid"}
        clamp and tanh answer with int8 values; see `activations.ACTIVATIONS`.
    integers : bool
        Whether the input holds int8 values, or plain float32 features.
    kernel : str, optional
        What computes the products; see `kernels.choose_kernel`.
    """

    def __init__(
        self,
        weight: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray,
        activation: str | None = None,
        *,
        integers: bool = True,
        kernel: str | None = None,
    ) -> None:
        if integers:
            self._compute = affine(weight, _step(scale), bias, activation, kernel)
        else:
            self._compute = _FloatAffine(weight, scale, bias, activation)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x (K, inputs) float32 -> (K, outputs) float32."""
        return self._compute(x)


class _FloatAffine:
    """Float features, whose sums einsum adds up: BLAS would round them differently for one row and for many."""

    def __init__(self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, activation: str | None) -> None:
        self._transposed = np.ascontiguousarray(weight.T, np.float32)
        self._scale, self._bias, self._activation = scale, bias, ACTIVATIONS[activation]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = np.einsum("kj,ji->ki", x, self._transposed)
        y *= self._scale
        y += self._bias
        return self._activation(y)


def _step(scale: np.ndarray) -> np.ndarray:
    """Value of one step of a sum of int8 weights times int8 activations."""
    return (scale / ACTIVATION_LEVELS).astype(np.float32)


class Conv1d(Linear):
    """Causal convolution over time as one product with the last `frames` frames side by side, oldest first.

    Parameters
    ----------
    weight : ndarray, shape (outputs, frames * inputs), int8
    scale, bias : ndarray, shape (outputs,), float32
    frames : int
        Length of the convolution.
    activation, kernel
        As for `Linear`.
    """

    def __init__(
        self,
        weight: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray,
        frames: int,
        activation: str | None = None,
        *,
        kernel: str | None = None,
    ) -> None:
        super().__init__(weight, scale, bias, activation, kernel=kernel)
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
        scale_ih, scale_hh = _step(weight_ih_scale), _step(weight_hh_scale)
        weights = GruWeights(weight_ih, scale_ih, joined, weight_hh, scale_hh, bias_hh[2 * self.units :])
        self._compute = gru(weights, kernel)

    def new_state(self) -> np.ndarray:
        """Shape (1, units), float32, zeros."""
        return np.zeros((1, self.units), np.float32)

    def step(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (K, inputs) int8 values, h (1, units) -> (K, units) int8 values, new h (1, units) float32."""
        return self._compute(x, h)
