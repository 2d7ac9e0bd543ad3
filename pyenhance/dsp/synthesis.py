"""From band gains and comb strengths back to samples: the synthesis half of the enhancer."""

from collections.abc import Callable

import numpy as np

from .bands import band_energy, interpolate
from .comb import mix
from .features import Frames
from .postfilter import envelope_postfilter
from .spec import SignalSpec
from .state import SignalState
from .stft import istft

_TINY = np.float32(1e-20)


def synthesise(
    spec: SignalSpec,
    state: SignalState,
    frames: Frames,
    gain: np.ndarray,
    strength: np.ndarray | None,
    *,
    dry: float = 0.0,
    postfilter: bool = True,
    envelope_postfilter: Callable[..., np.ndarray] = envelope_postfilter,
    mix: Callable[..., np.ndarray] = mix,
) -> np.ndarray:
    """Enhanced hops from frames, gains and strengths.

    Parameters
    ----------
    spec : SignalSpec
    state : SignalState
        Updated in place.
    frames : Frames, K rows
    gain : ndarray, shape (K, bands), float32, in [0, 1]
    strength : ndarray, shape (K, bands), float32, in [0, 1], or None for no comb filter
    dry : float in [0, 1]
        Share of the spectrum as it came in the result, which limits the attenuation: 0 is full enhancement, 1 none.
    postfilter : bool
        Apply the envelope post-filter to the gains.
    envelope_postfilter, mix : callable
        In the place of `postfilter.envelope_postfilter` and `comb.mix`.

    Returns
    -------
    ndarray, shape (K, 480), float32
        Samples up to the middle of each row's frame.
    """
    if postfilter:
        gain = envelope_postfilter(gain, frames.energy)
    spectrum = frames.spectrum
    if strength is not None:
        spectrum = mix(spectrum, frames.comb_spectrum, interpolate(spec, strength))
        # mixing must not change a band's energy before the gain is applied
        gain = gain * np.sqrt((frames.energy + _TINY) / (band_energy(spec, spectrum) + _TINY))
    enhanced = spectrum * interpolate(spec, gain)
    if dry:
        enhanced *= np.float32(1 - dry)
        enhanced += np.float32(dry) * frames.untouched
    hops, state.tail[:] = istft(enhanced, state.tail)
    return hops
