"""Pitch comb filter, per-band coherence and the strength of the mix.

The comb averages the signal with copies of itself shifted by whole pitch periods: what repeats (the voice) stays, what
does not (noise, also between the harmonics) falls by up to 9 dB. PercepNet, sections 3 and 4.
"""

from typing import TYPE_CHECKING

import numpy as np

from .bands import band_dot, band_energy
from .constants import HOP
from .pitch import MAX_PERIOD, MIN_PERIOD

if TYPE_CHECKING:
    from .spec import SignalSpec

COMB_ORDER = 5
"""Periods on either side of the frame (M in the paper)."""

COMB_REACH = COMB_ORDER * MAX_PERIOD
"""Samples before the frame that the comb may need."""

NOISE_FLOOR = np.float32(0.03)
"""n0 of the masking attenuation, which limits it to 15 dB."""

_TINY = np.float32(1e-15)
_SHIFTS = np.arange(-COMB_ORDER, COMB_ORDER + 1)


def tap_table(ahead: int) -> np.ndarray:
    """Hann-shaped weights of the eleven taps for every period; future periods that are not yet there are dropped.

    Parameters
    ----------
    ahead : int
        Samples after the frame that are there.

    Returns
    -------
    ndarray, shape (periods, 11), float32; rows sum to one.
    """
    hann = np.hanning(2 * COMB_ORDER + 3)[1:-1]
    periods = np.arange(MIN_PERIOD, MAX_PERIOD + 1)
    future = -_SHIFTS * periods[:, None]
    taps = np.where(future <= ahead, hann, 0)
    taps /= taps.sum(1, keepdims=True)
    return taps.astype(np.float32)


def comb_filter(spec: "SignalSpec", views: np.ndarray, start: np.ndarray, period: np.ndarray) -> np.ndarray:
    """p(n) = sum_j w_j y(n - j T) over one window, for each frame with its own period.

    Parameters
    ----------
    spec : SignalSpec
    views : ndarray, shape (n, 960), float32
        Sliding view of the signal, ``sliding(y, 960)``.
    start : ndarray, shape (K,), int
        First sample of each frame; ``COMB_REACH`` samples before it and the look-ahead after it must be there.
    period : ndarray, shape (K,), int, samples

    Returns
    -------
    ndarray, shape (K, 960), float32
    """
    # A tap whose future period is missing has weight zero; clip so that its (unused) copy still lies inside the signal.
    first = np.minimum(start[:, None] - _SHIFTS * period[:, None], start[:, None] + spec.lookahead_frames * HOP)
    return np.einsum("kj,kjn->kn", spec.taps[period - MIN_PERIOD], views[first])


def coherence(
    spec: "SignalSpec", a: np.ndarray, b: np.ndarray, energy_a: np.ndarray, energy_b: np.ndarray
) -> np.ndarray:
    """q(b) = Re(A^H B) / (|A| |B|) in each band, clamped to [0, 1].

    Parameters
    ----------
    spec : SignalSpec
    a, b : ndarray, shape (K, 481), complex64
    energy_a, energy_b : ndarray, shape (K, bands), float32
        Their band energies.

    Returns
    -------
    ndarray, shape (K, bands), float32
    """
    likeness = band_dot(spec, a, b) / np.sqrt(energy_a * energy_b + _TINY**2)
    return np.minimum(np.maximum(likeness, 0), 1)  # np.clip has several times the fixed cost


def coherence_strength(
    spec: "SignalSpec", coherence_noisy: np.ndarray, coherence_clean: np.ndarray, period: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """PercepNet's strength: it gives the mix the clean speech's own coherence; and the attenuation where none can.

    Parameters
    ----------
    spec : SignalSpec
    coherence_noisy, coherence_clean : ndarray, shape (K, bands), float32
        q_y and q_x: of noisy and clean speech with their comb-filtered selves.
    period : ndarray, shape (K,), int, samples

    Returns
    -------
    strength : ndarray, shape (K, bands), float32
        r in [0, 1]; z = (1 - r) y + r p.
    attenuation : ndarray, shape (K, bands), float32
        g_att in (0, 1]: below one where even the combed signal is noisier than the clean.
    """
    qx, qy = coherence_clean, coherence_noisy
    noise = spec.tap_power[period - MIN_PERIOD][:, None]
    qp = qy / np.sqrt((1 - noise) * qy**2 + noise)
    a = qp**2 - qx**2
    b = qp * qy * (1 - qx**2)
    c = np.maximum(qx**2 - qy**2, 0)
    # (sqrt(b^2 + a c) - b) / a, written so that nothing cancels where a is small.
    alpha = c / (np.sqrt(np.maximum(b**2 + a * c, 0)) + b + np.float32(1e-9))
    strength = np.where(a >= 0, alpha / (1 + alpha), 1)
    attenuation = np.sqrt((1 + NOISE_FLOOR - qx**2) / (1 + NOISE_FLOOR - np.minimum(qp, qx) ** 2))
    return strength.astype(np.float32), attenuation.astype(np.float32)


def projection_strength(
    spec: "SignalSpec", spectrum: np.ndarray, comb_spectrum: np.ndarray, clean_spectrum: np.ndarray
) -> np.ndarray:
    """Strength whose mix, at its own best level, lies nearest to the clean spectrum in each band.

    Maximises Re(Z^H X) / |Z| over r in [0, 1] with Z = Y + r D, D = P - Y. Setting the derivative to zero gives
    r = (<D,X> <Y,Y> - <Y,X> <Y,D>) / (<Y,X> <D,D> - <D,X> <Y,D>); the ends of the interval are tried too. Ours: on
    speech it scores higher than the original's coherence match, most of all where the pitch was found in noise, because
    a wrong period then asks for no comb instead of a strong one (README, "How it works").

    Parameters
    ----------
    spec : SignalSpec
    spectrum, comb_spectrum, clean_spectrum : ndarray, shape (K, 481), complex64
        Y, P and X.

    Returns
    -------
    ndarray, shape (K, bands), float32, in [0, 1]
    """
    difference = comb_spectrum - spectrum
    yx, dx = band_dot(spec, spectrum, clean_spectrum), band_dot(spec, difference, clean_spectrum)
    yy, dd = band_energy(spec, spectrum), band_energy(spec, difference)
    yd = band_dot(spec, spectrum, difference)
    denominator = yx * dd - dx * yd
    stationary = (dx * yy - yx * yd) / np.where(denominator == 0, 1, denominator)
    candidates = np.stack((np.zeros_like(yx), np.ones_like(yx), np.clip(stationary, 0, 1)))
    energy = yy + candidates * (2 * yd + candidates * dd)
    likeness = (yx + candidates * dx) / np.sqrt(np.maximum(energy, 0) + _TINY)
    return np.take_along_axis(candidates, likeness.argmax(0)[None], 0)[0]


def mix(spectrum: np.ndarray, comb_spectrum: np.ndarray, strength_bins: np.ndarray) -> np.ndarray:
    """Z = (1 - r) Y + r P per bin, with r already interpolated (all shapes (K, 481))."""
    return spectrum + strength_bins * (comb_spectrum - spectrum)
