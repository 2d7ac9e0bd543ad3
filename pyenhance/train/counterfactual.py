"""The same sentence in a voice of the other sex, for training that serves both alike.

Gupta et al., "Mitigating gender bias in distilled language models via counterfactual role reversal" (ACL 2022), add
items with the attribute swapped. Of speech that is pitch and formants: WORLD (Morise et al., IEICE Transactions E99-D,
2016) takes a voice apart into F0, spectral envelope and aperiodicity, and puts it together again from changed ones.
"""

from typing import Any

import numpy as np

from ..dsp import SAMPLE_RATE

F0_RATIO = 1.7
"""Women's F0 over men's: 223 over 132 Hz (Peterson and Barney, JASA 24, 1952)."""

FORMANT_RATIO = 1.17
"""The same of the formants' frequencies: 1.14, 1.18 and 1.17 for the first three, over the vowels there."""

SEXES = ("F", "M")
"""As manifests tell them; voices of any others are left alone."""

_FEW_VOICED = 0.25  # share of the frames
_BOY_HZ = 200  # median


def other_voice(x: np.ndarray, sex: str, bandwidth_hz: float = SAMPLE_RATE / 2) -> tuple[np.ndarray, float]:
    """A voice with the pitch and the formants of the other sex; tempo, voicing and aperiodicity stay.

    What has no pitch comes back as it is, and so do boys' voices, those of sex "M" above 200 Hz: girls have the same.

    Parameters
    ----------
    x : ndarray, shape (n,), float32, 48 kHz
    sex : str
        Of who speaks, one of `SEXES`.
    bandwidth_hz : float
        Of `x`. What has little of it is changed at a lower rate, which takes less time.

    Returns
    -------
    ndarray, shape (n,), float32
        The same input gives the same voice.
    float
        Its bandwidth in Hz, which moves with the formants.

    Raises
    ------
    ValueError
        Another sex.
    ImportError
        pyworld or soxr is not installed.
    """
    if sex not in SEXES:
        raise ValueError(f"sex is {sex!r}; accepted: {' or '.join(SEXES)}")
    import soxr

    world = _vocoder()
    up = sex == "M"
    stretch = FORMANT_RATIO if up else 1 / FORMANT_RATIO
    widest = min(SAMPLE_RATE / 2, bandwidth_hz * max(stretch, 1))
    rate = SAMPLE_RATE // max(1, min(3, int(SAMPLE_RATE / (2 * widest))))
    voice = soxr.resample(x.astype(np.float64), SAMPLE_RATE, rate)
    f0, times = world.dio(voice, rate)
    if np.mean(f0 > 0) < _FEW_VOICED:  # the fundamental may be weak: what finds it then takes thirty times as long
        f0, times = world.harvest(voice, rate)
    if not f0.any() or (up and np.median(f0[f0 > 0]) > _BOY_HZ):
        return x, bandwidth_hz
    f0 = world.stonemask(voice, f0, times, rate)
    envelope = world.cheaptrick(voice, f0, times, rate)
    aperiodicity = world.d4c(voice, f0, times, rate)
    changed = world.synthesize(f0 * (F0_RATIO if up else 1 / F0_RATIO), _warped(envelope, stretch), aperiodicity, rate)
    out = np.zeros(len(x), np.float32)
    back = soxr.resample(changed, rate, SAMPLE_RATE)[: len(x)]
    out[: len(back)] = back
    return out, min(SAMPLE_RATE / 2, bandwidth_hz * stretch)


def check_share(share: float) -> None:
    """ValueError of a share of voices outside 0 to 1, ImportError of one above 0 where pyworld is not installed."""
    if not 0 <= share <= 1:
        raise ValueError(f"counterfactual share is {share}; accepted: 0 to 1")
    if share:
        _vocoder()


def _vocoder() -> Any:
    try:
        import pyworld
    except ImportError as error:
        raise ImportError(f"voices of the other sex need {error.name}: pip install 'pyenhance[train]'") from error
    return pyworld


def _warped(envelope: np.ndarray, stretch: float) -> np.ndarray:
    """Power spectra, shape (frames, bins), whose frequencies are `stretch` times as high."""
    bins = envelope.shape[1]
    place = np.minimum(np.arange(bins) / stretch, bins - 1)
    low = np.minimum(place.astype(int), bins - 2)
    share = place - low
    return np.ascontiguousarray(envelope[:, low] * (1 - share) + envelope[:, low + 1] * share)
