"""Symmetric int8: weights with a scale per output channel, activations in [-1, 1] with the fixed scale 1/127."""

import numpy as np

ACTIVATION_LEVELS = np.array(127, np.float32)  # an array already: of a number, each call makes one first
"""Steps between 0 and 1 of an activation; shape ()."""


def quantize_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round a matrix to int8, row by row.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), float

    Returns
    -------
    ndarray, shape (outputs, inputs), int8, in [-127, 127]
    ndarray, shape (outputs,), float32: scale of each row; ``weight ~ scale[:, None] * int8``.
    """
    weight = np.asarray(weight, np.float32)
    scale = np.maximum(np.abs(weight).max(1), np.float32(1e-8)) / np.float32(127)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def quantize_activation(x: np.ndarray) -> np.ndarray:
    """Activations in [-1, 1] as int8 values held in float32, rounded half to even; written over `x`."""
    np.multiply(x, ACTIVATION_LEVELS, out=x)
    return np.rint(x, out=x)
