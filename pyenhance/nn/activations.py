"""Element-wise functions, in place."""

from collections.abc import Callable

import numpy as np

from .quantize import quantize_activation

_HALF = np.array(0.5, np.float32)  # an array already: of a number, each call makes one first


def clamp(x: np.ndarray) -> np.ndarray:
    """Limit to [0, 1], written over `x`; np.clip does the same at several times the fixed cost."""
    np.maximum(x, 0, out=x)
    return np.minimum(x, 1, out=x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) as (1 + tanh(x / 2)) / 2, which cannot overflow; written over `x`, float32."""
    np.multiply(x, _HALF, out=x)
    np.tanh(x, out=x)
    np.multiply(x, _HALF, out=x)
    return np.add(x, _HALF, out=x)


APPLY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "clamp": lambda x: quantize_activation(clamp(x)),
    "tanh": lambda x: quantize_activation(np.tanh(x, out=x)),
    "sigmoid": sigmoid,
}
"""The functions of `spec.ACTIVATIONS`. Those of hidden layers end on the int8 grid."""
