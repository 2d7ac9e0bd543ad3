"""Symmetric int8: weights with a scale per output channel, activations in [-1, 1] with the fixed scale 1/127."""

import numpy as np

from .spec import LEAN_MATRICES

ACTIVATION_LEVELS = np.array(127, np.float32)  # an array already: of a number, each call makes one first
"""Steps between 0 and 1 of an activation; shape ()."""


WEIGHT_LEVELS = 127
"""Steps between 0 and a row's largest weight."""

LEAN_LEVELS = 31
"""The same of a lean frame's matrices, to which more are worth less than the bytes that a visit loads for them."""

_CLIPPED = np.linspace(1, 0.3, 15, dtype=np.float32)  # where the grid may end, in units of a row's largest weight


def quantize_weight(weight: np.ndarray, levels: int = WEIGHT_LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Round a matrix to int8, row by row.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs), float
    levels : int, in [1, 127]
        Steps on either side of 0. With fewer than 127 of them, which take fewer bits in a compressed file, the largest
        weights are clipped where that makes the row's mean square error less.

    Returns
    -------
    ndarray, shape (outputs, inputs), int8, in [-levels, levels]
    ndarray, shape (outputs,), float32: scale of each row; ``weight ~ scale[:, None] * int8``.
    """
    weight = np.asarray(weight, np.float32)
    largest = np.maximum(np.abs(weight).max(1), np.float32(1e-8)) / np.float32(levels)
    if levels == WEIGHT_LEVELS:
        return np.rint(weight / largest[:, None]).astype(np.int8), largest
    scales = _CLIPPED[:, None] * largest
    errors = [((_steps(weight, scale, levels) * scale[:, None] - weight) ** 2).sum(1) for scale in scales]
    scale = scales[np.argmin(errors, 0), np.arange(len(weight))]
    return _steps(weight, scale, levels).astype(np.int8), scale


def _steps(weight: np.ndarray, scale: np.ndarray, levels: int) -> np.ndarray:
    return np.rint(weight / scale[:, None]).clip(-levels, levels)


def weight_levels(name: str) -> int:
    """Steps of a layer's matrix of this name, on either side of 0."""
    return LEAN_LEVELS if name in LEAN_MATRICES else WEIGHT_LEVELS


def quantize_activation(x: np.ndarray) -> np.ndarray:
    """Activations in [-1, 1] as int8 values held in float32, rounded half to even; written over `x`."""
    np.multiply(x, ACTIVATION_LEVELS, out=x)
    return np.rint(x, out=x)
