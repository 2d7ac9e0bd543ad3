"""Element-wise functions, in place."""

import numpy as np

_HALF = np.float32(0.5)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) as (1 + tanh(x / 2)) / 2, which cannot overflow; written over `x`, float32."""
    np.multiply(x, _HALF, out=x)
    np.tanh(x, out=x)
    np.multiply(x, _HALF, out=x)
    return np.add(x, _HALF, out=x)
