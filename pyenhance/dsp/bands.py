"""Triangular bands on the ERB-rate scale, 34 of them in the original.

Centres are equally spaced between 0 and 20 kHz on the ERB-rate scale of Glasberg and Moore (1990),
``e(f) = 9.265 ln(1 + f / (24.7 * 9.265))``, then rounded to 50 Hz bins and pushed apart to at least two bins.
Neighbouring triangles overlap by half and sum to one, so the same weights measure energies and interpolate gains
(PercepNet, section 2).
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .constants import SAMPLE_RATE, WINDOW

if TYPE_CHECKING:
    from .spec import SignalSpec

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


def band_weights(centres: np.ndarray) -> np.ndarray:
    """Share of each bin up to the last peak in each band, triangles between peaks; shape (bins, bands), float32."""
    weights = np.zeros((int(centres[-1]) + 1, len(centres)), np.float32)
    for b, (low, high) in enumerate(pairwise(centres)):
        rise = np.arange(high - low) / (high - low)
        weights[low:high, b] = 1 - rise
        weights[low:high, b + 1] = rise
    weights[-1, -1] = 1
    return weights


def band_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is not zero of the weights: row i has the i-th bin of every band, from the lowest.

    Parameters
    ----------
    weights : ndarray, shape (bins, bands), float32
        See `band_weights`.

    Returns
    -------
    bins : ndarray, shape (bins of the widest band, bands), int
    weights : ndarray, of the same shape, float32
        Zero after a narrower band's last.
    """
    counts = (weights > 0).sum(0)
    bins = (weights > 0).argmax(0) + np.arange(counts.max())[:, None]
    there = bins < (weights > 0).argmax(0) + counts
    bins = np.where(there, bins, 0)
    return bins, np.where(there, np.take_along_axis(weights, bins, 0), np.float32(0))


def band_sums(spec: "SignalSpec", values: np.ndarray) -> np.ndarray:
    """Sum a quantity over the bins of each band, E_b = sum_k w_b(k) v(k).

    Parameters
    ----------
    spec : SignalSpec
    values : ndarray, shape (K, 481), float32
        A value for every bin, such as the power |Y(k)|^2.

    Returns
    -------
    ndarray, shape (K, bands), float32
    """
    # einsum adds up bin after bin whatever K is; a BLAS product would round differently for one frame and for many.
    bins, weights = spec.band_table
    return np.einsum("kib,ib->kb", values.take(bins, 1), weights)


def power(spectra: np.ndarray) -> np.ndarray:
    """|Y(k)|^2 of complex spectra (any shape, complex64), float32."""
    return spectra.real**2 + spectra.imag**2


def interpolate(spec: "SignalSpec", band_values: np.ndarray) -> np.ndarray:
    """Spread band values over bins with the same triangles.

    Parameters
    ----------
    spec : SignalSpec
    band_values : ndarray, shape (K, bands), float32

    Returns
    -------
    ndarray, shape (K, 481), float32; zero above 20 kHz.
    """
    return np.einsum("kb,bj->kj", band_values, spec.interpolation)


def band_energy(spec: "SignalSpec", spectrum: np.ndarray) -> np.ndarray:
    """Energy of each band of complex spectra (K, 481), shape (K, bands), float32."""
    return band_sums(spec, power(spectrum))


def band_dot(spec: "SignalSpec", a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Re(A^H B) in each band of two complex spectra (K, 481), shape (K, bands), float32."""
    return band_sums(spec, a.real * b.real + a.imag * b.imag)
