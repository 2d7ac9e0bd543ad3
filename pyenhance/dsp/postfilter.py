"""Envelope post-filter on the band gains, as in speech codecs: noisy bands go down a little further."""

import numpy as np

BETA = np.float32(0.02)
"""Limits the correction to 5.6 dB (PercepNet, section 5)."""

_TINY = np.float32(1e-30)


def envelope_postfilter(gain: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Sharpen band gains and restore the frame's energy.

    g_w = g sin(pi/2 g), then scaled by G = sqrt((1 + beta) (E0/E1) / (1 + beta (E0/E1)^2)) with E0, E1 the energies of
    the frame under g and g_w (PercepNet, section 5).

    Parameters
    ----------
    gain : ndarray, shape (K, bands), float32, in [0, 1]
    energy : ndarray, shape (K, bands), float32
        Band energies of the noisy frame.

    Returns
    -------
    ndarray, shape (K, bands), float32; may exceed one slightly, never by more than G.
    """
    warped = gain * np.sin(np.float32(np.pi / 2) * gain)
    # The sums of np.sum, without its fixed cost.
    before = np.add.reduce(gain * gain * energy, axis=1, keepdims=True)
    after = np.add.reduce(warped * warped * energy, axis=1, keepdims=True)
    ratio = (before + _TINY) / (after + _TINY)
    return warped * np.sqrt((1 + BETA) * ratio / (1 + BETA * ratio * ratio))
