"""Layers with int8 weights, in numpy. Each is frozen; what it remembers is passed in and handed back.

Activations between layers are whole numbers in [-127, 127] held in float32 and stand for values in [-1, 1]. Every layer
works on K frames at once, and gives the same bits for any split of them into calls: sums of products are exact.
"""

import sys
from functools import cached_property

import numpy as np

from .activations import ACTIVATIONS, sigmoid
from .quantize import ACTIVATION_LEVELS, quantize_activation

EXACT_BELOW = 2**24
"""float32 sums of whole numbers are exact below this."""

_LARGEST_ACTIVATION = 127


class _Product:
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

    Attributes
    ----------
    weight, bias, activation, integers : as given
    step_scale : ndarray, shape (outputs,), float32
        Value of one step of the sums.
    """

    def __init__(
        self,
        weight: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray,
        activation: str | None = None,
        *,
        integers: bool = True,
    ) -> None:
        self.weight, self.bias, self.activation, self.integers = weight, bias, activation, integers
        self.step_scale = _step(scale) if integers else scale

    @cached_property
    def _product(self) -> "_Product | _FloatProduct":
        return _Product(self.weight) if self.integers else _FloatProduct(self.weight)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x (K, inputs) float32 -> (K, outputs) float32."""
        y = self._product(x)
        y *= self.step_scale
        y += self.bias
        return ACTIVATIONS[self.activation](y)


class _FloatProduct:
    """Float features, whose sums einsum adds up: BLAS would round them differently for one row and for many."""

    def __init__(self, weight: np.ndarray) -> None:
        self._transposed = np.ascontiguousarray(weight.T, np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return _einsum(x, self._transposed)


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
    activation
        As for `Linear`.
    """

    def __init__(
        self, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, frames: int, activation: str | None = None
    ) -> None:
        super().__init__(weight, scale, bias, activation)
        self.frames = frames
        self.inputs = weight.shape[1] // frames

    def new_state(self) -> np.ndarray:
        """Frames before the first: silence, shape (frames - 1, inputs), float32."""
        return np.zeros((self.frames - 1, self.inputs), np.float32)

    def step(self, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (K, inputs), state -> (K, outputs) float32, new state."""
        past = np.concatenate((state, x))
        row = past.strides[0]
        # Row k of this view is rows k .. k + frames - 1 laid end to end; rows overlap.
        windows = np.ndarray((len(x), self.frames * self.inputs), np.float32, past, 0, (row, past.itemsize))
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

    Attributes
    ----------
    units : int
    weight_hh : as given
    step_scale_hh : ndarray, shape (3 units,), float32
        Value of one step of the hidden state's sums.
    input : Linear
        The gates' share of the input, with the biases of the hidden state but for n's.
    bias_n : ndarray, shape (units,), float32
        Of n's hidden part, inside the reset gate.
    """

    def __init__(
        self,
        weight_ih: np.ndarray,
        weight_ih_scale: np.ndarray,
        weight_hh: np.ndarray,
        weight_hh_scale: np.ndarray,
        bias_ih: np.ndarray,
        bias_hh: np.ndarray,
    ) -> None:
        self.units = weight_hh.shape[1]
        # Biases of r and z only ever appear as their sum; n's hidden bias must stay inside the reset gate.
        joined = bias_ih.copy()
        joined[: 2 * self.units] += bias_hh[: 2 * self.units]
        self.input = Linear(weight_ih, weight_ih_scale, joined)
        self.weight_hh, self.step_scale_hh = weight_hh, _step(weight_hh_scale)
        self.bias_n = bias_hh[2 * self.units :]

    @cached_property
    def _product(self) -> "_Product":
        return _Product(self.weight_hh)

    def new_state(self) -> np.ndarray:
        """Shape (1, units), float32, zeros."""
        return np.zeros((1, self.units), np.float32)

    def step(self, x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x (K, inputs) int8 values, h (1, units) -> (K, units) int8 values, new h (1, units) float32."""
        gates, units = self.input(x), self.units
        out = np.empty((len(gates), units), np.float32)
        for k in range(len(gates)):
            hidden = self._product(quantize_activation(h.copy()))
            hidden *= self.step_scale_hh
            gate = gates[k : k + 1]
            rz = gate[:, : 2 * units]
            rz += hidden[:, : 2 * units]
            sigmoid(rz)
            n = hidden[:, 2 * units :]
            n += self.bias_n
            n *= rz[:, :units]
            n += gate[:, 2 * units :]
            np.tanh(n, out=n)
            # h' = n + z (h - n)
            h = h - n
            h *= rz[:, units:]
            h += n
            out[k] = h
        return quantize_activation(out), h
