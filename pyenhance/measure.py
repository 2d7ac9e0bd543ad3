"""How near an enhanced sound comes to its clean reference: what the playable article, training and evaluation share."""

import math
from typing import Any

import numpy as np

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
