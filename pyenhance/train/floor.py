"""The steady noise of a recording, taken off what a network is asked for: who is asked for hiss gives hiss."""

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from ..dsp import SAMPLE_RATE

_FRAME, _HOP = 1920, 960  # 40 ms, 20 ms
_SMOOTH = (7, 5)  # bins, frames: what is left then of the power of steady noise varies by some 0.7 dB
_QUIETEST = 0.1  # of the frames are taken to be floor
_OVER = 3.0
_LEAST_DB = -30.0
_HIGHEST_DB = -22.0  # of a floor, to the mean of all frames: where nobody pauses, the quietest frames are speech
_SILENCE = 1e-9  # of the loudest frame's power


def without_floor(x: np.ndarray) -> np.ndarray:
    """Take off what is there in pauses too, bin by bin: spectral subtraction from the quietest tenth of the frames.

    Parameters
    ----------
    x : ndarray, shape (n,), float32
        Some seconds of speech; digital silence does not count as a pause.

    Returns
    -------
    ndarray, shape (n,), float32: the floor at most 30 dB lower, in time with what came.
    """
    stft = ShortTimeFFT(np.sqrt(hann(_FRAME, sym=False)), _HOP, SAMPLE_RATE)
    spectrum = stft.stft(x).astype(np.complex64)
    power = np.abs(spectrum) ** 2
    level = power.mean(0)
    heard = level > _SILENCE * level.max()
    if not heard.any():
        return x
    quietest = heard & (level <= np.quantile(level[heard], _QUIETEST))
    allowed = 10 ** (_HIGHEST_DB / 10) * level[heard].mean() / level[quietest].mean()
    floor = min(1.0, allowed) * power[:, quietest].mean(1)[:, None]
    smooth = uniform_filter(power, _SMOOTH, mode="nearest")
    gain = 1 - _OVER * floor / np.maximum(np.maximum(smooth, floor), np.finfo(np.float32).tiny)
    gain = uniform_filter(np.maximum(gain, 10 ** (_LEAST_DB / 20)).astype(np.float32), 3, mode="nearest")
    return stft.istft(spectrum * gain, k1=len(x)).astype(np.float32)
