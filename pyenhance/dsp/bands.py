"""Thirty-four triangular bands on the ERB-rate scale.

Centres are equally spaced between 0 and 20 kHz on the ERB-rate scale of Glasberg and Moore (1990),
``e(f) = 9.265 ln(1 + f / (24.7 * 9.265))``, then rounded to 50 Hz bins and pushed apart to at least two bins.
Neighbouring triangles overlap by half and sum to one, so the same weights measure energies and interpolate gains
(PercepNet, section 2).
"""

from itertools import pairwise

import numpy as np

from .constants import NUM_BANDS, NUM_BINS, SAMPLE_RATE, WINDOW

BIN_HZ = SAMPLE_RATE / WINDOW
TOP_HZ = 20_000
_EAR_Q, _MIN_BANDWIDTH_HZ = 9.265, 24.7
_MIN_SPACING_BINS = 2


def band_centres(count: int, spacing: int = _MIN_SPACING_BINS) -> np.ndarray:
    """Bins of the peaks of so many bands between 0 and 20 kHz.

    Parameters
    ----------
    count : int
    spacing : int
        Least distance of two peaks, bins.

    Returns
    -------
    ndarray, shape (count,), int, strictly rising; the last is 400 (20 kHz) unless `count` leaves no room for it.
    """
    corner_hz = _EAR_Q * _MIN_BANDWIDTH_HZ
    erb_rate = np.linspace(0, np.log1p(TOP_HZ / corner_hz), count)
    centres = np.rint(corner_hz * np.expm1(erb_rate) / BIN_HZ).astype(int)
    for b in range(1, count):
        centres[b] = max(centres[b], centres[b - 1] + spacing)
    return centres


BAND_CENTRES = band_centres(NUM_BANDS)
"""Bin of each band's peak, shape (34,)."""

BAND_CENTRES_HZ = BAND_CENTRES * BIN_HZ
"""Frequency of each band's peak, shape (34,), Hz."""

NUM_BAND_BINS = int(BAND_CENTRES[-1]) + 1
"""Bins that belong to a band (0 to 20 kHz); those above are silenced."""


def band_weights(centres: np.ndarray) -> np.ndarray:
    """Share of each bin up to the last peak in each band, triangles between peaks; shape (bins, bands), float32."""
    weights = np.zeros((int(centres[-1]) + 1, len(centres)), np.float32)
    for b, (low, high) in enumerate(pairwise(centres)):
        rise = np.arange(high - low) / (high - low)
        weights[low:high, b] = 1 - rise
        weights[low:high, b + 1] = rise
    weights[-1, -1] = 1
    return weights


WEIGHTS = band_weights(BAND_CENTRES)
"""Share of each bin in each band, shape (401, 34), float32; every row sums to one."""

_INTERPOLATION = np.zeros((NUM_BANDS, NUM_BINS), np.float32)
_INTERPOLATION[:, :NUM_BAND_BINS] = WEIGHTS.T


def band_sums(values: np.ndarray) -> np.ndarray:
    """Sum a quantity over the bins of each band, E_b = sum_k w_b(k) v(k).

    Parameters
    ----------
    values : ndarray, shape (K, 481), float32
        A value for every bin, such as the power |Y(k)|^2.

    Returns
    -------
    ndarray, shape (K, 34), float32
    """
    # einsum adds up bin after bin whatever K is; a BLAS product would round differently for one frame and for many.
    return np.einsum("kj,jb->kb", values[:, :NUM_BAND_BINS], WEIGHTS)


def power(spectra: np.ndarray) -> np.ndarray:
    """|Y(k)|^2 of complex spectra (any shape, complex64), float32."""
    return spectra.real**2 + spectra.imag**2


def interpolate(band_values: np.ndarray) -> np.ndarray:
    """Spread band values over bins with the same triangles.

    Parameters
    ----------
    band_values : ndarray, shape (K, 34), float32

    Returns
    -------
    ndarray, shape (K, 481), float32; zero above 20 kHz.
    """
    return np.einsum("kb,bj->kj", band_values, _INTERPOLATION)
