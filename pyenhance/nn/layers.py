"""Layers with int8 weights, in numpy: one class for each kind of `spec.KINDS`. Each is frozen; its memory is passed in.

Activations between layers are whole numbers in [-127, 127] held in float32 and stand for values in [-1, 1]. Every layer
works on K frames at once, and gives the same bits for any split of them into calls: sums of products are exact.
"""

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .activations import APPLY, sigmoid
from .quantize import ACTIVATION_LEVELS, quantize_activation
from .spec import INPUT, LayerSpec

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
            return multiply(x, self._parts[0])
        total = np.zeros((len(x), self._outputs))
        start = 0
        for part in self._parts:
            total += multiply(np.ascontiguousarray(x[:, start : start + len(part)]), part)
            start += len(part)
        return total.astype(np.float32)


def _einsum(x: np.ndarray, transposed: np.ndarray) -> np.ndarray:
    return np.einsum("kj,ji->ki", x, transposed)


# numpy for Pyodide has no BLAS: its matmul is a plain loop there, and einsum over rows is several times faster.
multiply = _einsum if sys.platform == "emscripten" else np.matmul
"""x (K, inputs) float32 times (inputs, outputs) float32, whole numbers whose sums are exact -> (K, outputs) float32."""


class _FloatProduct:
    """Float features, whose sums einsum adds up: BLAS would round them differently for one row and for many."""

    def __init__(self, weight: np.ndarray) -> None:
        self._transposed = np.ascontiguousarray(weight.T, np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return _einsum(x, self._transposed)


class Affine(NamedTuple):
    """A product with what follows it at once: scale * (weight x) + bias. What compiled code is given of a layer.

    Attributes
    ----------
    weight : ndarray, shape (outputs, inputs), int8
    scale : ndarray, shape (outputs,), float32
        Value of one step of the sums.
    bias : ndarray, shape (outputs,), float32
    """

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


def _step(scale: np.ndarray) -> np.ndarray:
    """Value of one step of a sum of int8 weights times int8 activations."""
    return (scale / ACTIVATION_LEVELS).astype(np.float32)


class Dense:
    """y = activation(W x + b).

    Parameters
    ----------
    spec : LayerSpec
    tensors : mapping of str to ndarray
        weight, shape (outputs, inputs), int8; weight_scale and bias, shape (outputs,), float32.

    Attributes
    ----------
    spec : as given
    affines : tuple of Affine
    integers : bool
        Whether the input holds int8 values, or plain float32 features.
    """

    def __init__(self, spec: LayerSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        self.integers = INPUT not in spec.sources
        scale = tensors["weight_scale"]
        self.affines = (Affine(tensors["weight"], _step(scale) if self.integers else scale, tensors["bias"]),)

    @cached_property
    def _product(self) -> "_Product | _FloatProduct":
        weight = self.affines[0].weight
        return _Product(weight) if self.integers else _FloatProduct(weight)

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs) float32 -> (K, units) float32; it remembers nothing."""
        return self._apply(x)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        y = self._product(x)
        y *= self.affines[0].scale
        y += self.affines[0].bias
        return APPLY[self.spec.activation](y)


class Conv(Dense):
    """Causal convolution over time as one product with the last `frames` frames side by side, oldest first.

    Parameters
    ----------
    spec, tensors
        As for `Dense`; weight has the shape (outputs, frames * inputs).
    """

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs), memory (frames - 1, inputs), updated -> (K, units) float32."""
        past = np.concatenate((memory, x))
        row = past.strides[0]
        # Row k of this view is rows k .. k + frames - 1 laid end to end; rows overlap.
        windows = np.ndarray((len(x), self.spec.frames * x.shape[1]), np.float32, past, 0, (row, past.itemsize))
        memory[:] = past[len(x) :]
        return self._apply(windows)


class GRU:
    """PyTorch's gated recurrent unit (gates r, z, n); its state stays float32, the copy that meets the weights is int8.

    Parameters
    ----------
    spec : LayerSpec
    tensors : mapping of str to ndarray
        weight_ih, shape (3 units, inputs), and weight_hh, shape (3 units, units), int8; weight_ih_scale,
        weight_hh_scale, bias_ih and bias_hh, shape (3 units,), float32.

    Attributes
    ----------
    spec : as given
    affines : tuple of Affine
        Of the input, with the biases of the hidden state but for n's; and of the hidden state, with n's alone, which
        stays inside the reset gate.
    integers : bool
        True.
    """

    integers = True

    def __init__(self, spec: LayerSpec, tensors: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        both = 2 * spec.units  # r and z, whose two biases only ever appear as their sum
        joined, hidden = tensors["bias_ih"].copy(), tensors["bias_hh"].copy()
        joined[:both] += hidden[:both]
        hidden[:both] = 0
        self.affines = (
            Affine(tensors["weight_ih"], _step(tensors["weight_ih_scale"]), joined),
            Affine(tensors["weight_hh"], _step(tensors["weight_hh_scale"]), hidden),
        )
        self._bias_n = hidden[both:]

    @cached_property
    def _products(self) -> tuple[_Product, _Product]:
        return _Product(self.affines[0].weight), _Product(self.affines[1].weight)

    def __call__(self, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """x (K, inputs) int8 values, memory (1, units) float32, updated -> (K, units) int8 values."""
        units, (of_input, of_hidden) = self.spec.units, self._products
        gates = of_input(x)
        gates *= self.affines[0].scale
        gates += self.affines[0].bias
        scale, bias_n = self.affines[1].scale, self._bias_n
        out = np.empty((len(gates), units), np.float32)
        h = memory
        for k in range(len(gates)):
            hidden = of_hidden(quantize_activation(h.copy()))
            hidden *= scale
            gate = gates[k : k + 1]
            rz = gate[:, : 2 * units]
            rz += hidden[:, : 2 * units]
            sigmoid(rz)
            n = hidden[:, 2 * units :]
            n += bias_n
            n *= rz[:, :units]
            n += gate[:, 2 * units :]
            np.tanh(n, out=n)
            # h' = n + z (h - n)
            h = h - n
            h *= rz[:, units:]
            h += n
            out[k] = h
        memory[:] = h
        return quantize_activation(out)


Layer = Dense | Conv | GRU

LAYERS: dict[str, type[Dense] | type[Conv] | type[GRU]] = {"dense": Dense, "conv": Conv, "gru": GRU}
"""The class of each kind."""
