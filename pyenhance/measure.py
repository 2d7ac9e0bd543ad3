"""How near an enhanced sound, or a gain, comes to what it should be: what the playable article, training and evaluation
share."""

import math
from typing import Any

import numpy as np

GAMMA = 0.5
"""Power of the gain error: loudness, not amplitude (y in PercepNet, section 6)."""

QUARTIC = 10.0
"""C4: weight of the fourth power, which punishes audible mistakes."""

SMALL_GAIN = 1e-3
"""Added to gains, so that the power's slope is finite at zero."""

_TINY = 1e-10


def si_sdr(clean: Any, enhanced: Any) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019, equation 3).

    Parameters
    ----------
    clean, enhanced : array_like, shape (n,), aligned, n >= 1
        The reference and what is judged; scale and mean of either do not matter.

    Returns
    -------
    float, dB; NaN when the reference is silent

    Raises
    ------
    ValueError
        The shapes differ or are not (n,).
    """
    x, y = (np.asarray(v, np.float64) for v in (clean, enhanced))
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(f"clean {x.shape} and enhanced {y.shape}; accepted: (n,) alike, n >= 1")
    x, y = x - x.mean(), y - y.mean()
    if not np.any(x):
        return math.nan
    target = (x @ y) / (x @ x) * x
    return float(10 * np.log10((target @ target + _TINY) / ((y - target) @ (y - target) + _TINY)))


def gain_loss(gain: np.ndarray, ideal: np.ndarray) -> float:
    """How far band gains are from the ideal ones (PercepNet, equation 19), the mean over frames and bands.

    Parameters
    ----------
    gain, ideal : ndarray, shape (K, bands), in [0, 1]
    """
    error = (ideal + SMALL_GAIN) ** GAMMA - (gain + SMALL_GAIN) ** GAMMA
    return float(np.mean(error**2 + QUARTIC * error**4))
