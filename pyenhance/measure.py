"""How near gains and an enhanced sound come to their clean reference: what article, training, adaptation and evaluation
share."""

import math
from typing import Any

import numpy as np

GAMMA = 0.5
"""Power of the gain error: loudness, not amplitude (y in PercepNet, section 6)."""

QUARTIC = 10.0
"""C4: weight of the fourth power, which punishes audible mistakes."""

OVER = 2.0
"""Weight of a gain that is too high against one that is too low: noise that is left is heard more than speech that is a
little softer. (Ours; see train/EXPERIMENTS.md.)"""

SMALL = 1e-3
"""Added before the power, whose slope at zero it keeps finite."""

SI_SDR_MARGIN_DB = 0.5
"""What a clip may fall by before it counts as a negative flip."""

NFR = 0.05
"""Largest negative flip rate (share of such clips) of what may replace a model."""

_TINY = 1e-10


def gain_loss(gain: np.ndarray, target: np.ndarray, heard: np.ndarray | None = None) -> float:
    """Loss of band gains, L_g (PercepNet, equation 19); what `train.loss` makes small, in numpy.

    Parameters
    ----------
    gain, target : ndarray, shape (K, bands), in [0, 1]
    heard : ndarray, shape (K, bands), bool, optional
        What counts; all by default.

    Returns
    -------
    float
    """
    error = (target + SMALL) ** GAMMA - (gain + SMALL) ** GAMMA
    loss = (error**2 + QUARTIC * error**4) * np.where(error < 0, OVER, 1)
    return float(loss.mean() if heard is None else loss[heard].mean())


def strength_loss(strength: np.ndarray, target: np.ndarray, gain_target: np.ndarray) -> float:
    """Loss of comb strengths, L_r (PercepNet, equation 20), each as far as its band is heard; arguments as above."""
    error = (1 - target + SMALL) ** GAMMA - (1 - strength + SMALL) ** GAMMA
    return float((error**2 * gain_target).sum() / (gain_target.sum() + 1))


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
