"""From hops of samples to what the network sees and what synthesis needs: the analysis half of the enhancer.

The same function serves the browser, files and training. Everything is computed for all K hops in one go; only the
pitch tracker and the level follower step hop by hop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from .bands import band_energy, power
from .comb import coherence, coherence_strength, comb_filter, projection_strength
from .constants import HOP, WINDOW
from .pitch import FILTER_REACH, LAGS, MAX_PERIOD, MIN_PERIOD, decimate, lag_correlation, refine, track
from .rumble import mend, take_out, untouched
from .spec import SignalSpec
from .state import SignalState
from .stft import sliding, stft

LEVEL_MEMORY = 0.995
"""Of the level follower, a hop: about two seconds."""

LEVEL_FLOOR = 1e-9
"""Of |Y|^2 summed over a frame: below this (about -120 dBFS) it is silence."""

ENERGY_FLOOR = np.float32(1e-7)
"""Of a band or a fine bin, relative to the level."""

_OCTAVES = np.log2(np.arange(MIN_PERIOD, MAX_PERIOD + 1) / MIN_PERIOD)
_PERIOD_FEATURE = (_OCTAVES * (2 / np.log2(MAX_PERIOD / MIN_PERIOD)) - 1).astype(np.float32)

_BLOCK_HOPS = 200  # of a whole recording at once: the comb gathers eleven windows for each


@dataclass(frozen=True)
class Frames:
    """Analysis of K hops. Row k is the frame a look-ahead before hop k's newest; the energies in `features` are newest.

    Attributes
    ----------
    spectrum, comb_spectrum : ndarray, shape (K, 481), complex64
        Y and P: the frame, without what is below the voice where that is much, and its comb-filtered self.
    untouched : ndarray, shape (K, 481), complex64
        The frame as it came.
    energy, coherence : ndarray, shape (K, bands), float32
        Band energies of Y, and its coherence q_y with P.
    pitch_period : ndarray, shape (K,), int, samples
    pitch_corr : ndarray, shape (K,), float32, in [0, 1]
    features : ndarray, shape (K, num_features), float32
        What the network sees.
    """

    spectrum: np.ndarray
    comb_spectrum: np.ndarray
    untouched: np.ndarray
    energy: np.ndarray
    coherence: np.ndarray
    pitch_period: np.ndarray
    pitch_corr: np.ndarray
    features: np.ndarray


def _levels(state: SignalState, frame_energy: np.ndarray) -> np.ndarray:
    """Mean power over the last seconds, for each hop; shape (K,), float32.

    A mean of powers is ruled by the loud parts, so it holds through pauses; dividing by it makes the features the same
    at any level.
    """
    levels = np.empty(len(frame_energy), np.float32)
    total, weight = state.level.tolist()
    for k, energy in enumerate(frame_energy.tolist()):
        total = LEVEL_MEMORY * total + (1 - LEVEL_MEMORY) * energy
        weight = LEVEL_MEMORY * weight + (1 - LEVEL_MEMORY)
        levels[k] = max(total / weight, LEVEL_FLOOR)
    state.level[:] = total, weight
    return levels


def _loudness(energy: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    """Energies, shape (K, n), as the network sees them, relative to levels, shape (K,); out has the energies' shape."""
    relative = energy / levels[:, None]
    relative += ENERGY_FLOOR
    np.log10(relative, out=relative)
    relative *= np.float32(0.5)
    np.add(relative, np.float32(1.5), out=out)


def _network_input(
    spec: SignalSpec,
    energy: np.ndarray,
    fine: np.ndarray,
    levels: np.ndarray,
    q: np.ndarray,
    period: np.ndarray,
    corr: np.ndarray,
) -> np.ndarray:
    """The features, each roughly within [-2, 2]; shape (K, num_features), float32. fine: |Y|^2, (K, fine_bins)."""
    bands = spec.num_bands
    features = np.empty((len(energy), spec.num_features), np.float32)
    _loudness(energy, levels, features[:, :bands])
    features[:, bands : 2 * bands] = 2 * q - 1
    features[:, 2 * bands] = _PERIOD_FEATURE[period - MIN_PERIOD]
    features[:, 2 * bands + 1] = 2 * corr - 1
    _loudness(fine, levels, features[:, 2 * bands + 2 :])
    return features


class _Heard(NamedTuple):
    """K more hops, without what is below the voice.

    Attributes
    ----------
    signal : ndarray, shape (history_samples + 480 K,), float32
    views : ndarray, shape (n, 960), float32
        Sliding view of the signal.
    spectra, energies : ndarray, lookahead_frames + K rows
        Spectra and band energies from the oldest remembered frame to the newest.
    filtered : sequence of K int
        Whether something was taken out of the frames that are answered for, the first K of those rows.
    untouched : ndarray, shape (K, 481), complex64
        Spectra of the same frames as they came.
    """

    signal: np.ndarray
    views: np.ndarray
    spectra: np.ndarray
    energies: np.ndarray
    filtered: Sequence[int]
    untouched: np.ndarray


def _hear(spec: SignalSpec, state: SignalState, hops: np.ndarray) -> _Heard:
    count = len(hops)
    quiet, filtered = take_out(state, hops)
    signal = np.concatenate((state.samples, quiet.ravel()))
    state.samples[:] = signal[count * HOP :]
    views = sliding(signal, WINDOW)
    newest = stft(views[spec.history_samples - HOP :: HOP])
    mend(newest, filtered[-count - 1 : -1])
    spectra = np.concatenate((state.spectra, newest))
    energies = np.concatenate((state.energies, band_energy(spec, spectra[spec.lookahead_frames :])))
    state.spectra[:], state.energies[:] = spectra[count:], energies[count:]
    before = untouched(state, hops, filtered, spectra[:count])
    return _Heard(signal, views, spectra, energies, filtered[1 : count + 1], before)


def analyse(
    spec: SignalSpec,
    state: SignalState,
    hops: np.ndarray,
    *,
    comb_filter: Callable[..., np.ndarray] = comb_filter,
) -> Frames:
    """Analyse K more hops of a stream.

    Parameters
    ----------
    spec : SignalSpec
    state : SignalState
        Updated in place.
    hops : ndarray, shape (K, 480), float32
        The samples that follow those of the last call; K >= 1. Any split of a stream into calls gives the same rows.
    comb_filter : callable
        In the place of `comb.comb_filter`.

    Returns
    -------
    Frames
    """
    count = len(hops)
    signal, views, spectra, energies, filtered, before = _hear(spec, state, hops)
    start = np.arange(spec.frame_start, spec.frame_start + HOP * count, HOP)
    spectrum, energy = spectra[:count], energies[:count]

    decimated = decimate(state, signal[spec.history_samples - FILTER_REACH :])
    lag = LAGS[track(spec, state, lag_correlation(decimated))]
    period, corr = refine(spec, signal, start, lag)

    comb_spectrum = stft(comb_filter(spec, views, start, period))
    mend(comb_spectrum, filtered)
    q = coherence(spec, comb_spectrum, spectrum, band_energy(spec, comb_spectrum), energy)

    newest_energy = energies[spec.lookahead_frames :]
    fine = power(spectra[spec.lookahead_frames :, 1 : 1 + spec.fine_bins])
    levels = _levels(state, np.einsum("kb->k", newest_energy))
    features = _network_input(spec, newest_energy, fine, levels, q, period, corr)
    return Frames(spectrum, comb_spectrum, before, energy, q, period, corr, features)


def analyse_lean(spec: SignalSpec, state: SignalState, hops: np.ndarray) -> Frames:
    """Analyse K more hops for catching up: spectra alone, no pitch, comb or features.

    The memory of the signal moves on, so that `analyse` may follow.

    Parameters
    ----------
    spec : SignalSpec
    state : SignalState
        Updated in place.
    hops : ndarray, shape (K, 480), float32

    Returns
    -------
    Frames
        With the comb-filtered spectrum equal to the spectrum, coherence, pitch and features zero.
    """
    count = len(hops)
    signal, _, spectra, energies, _, before = _hear(spec, state, hops)
    decimate(state, signal[spec.history_samples - FILTER_REACH :])
    spectrum, energy = spectra[:count], energies[:count]
    none = np.zeros(count, np.float32)
    features = np.zeros((count, spec.num_features), np.float32)
    return Frames(spectrum, spectrum, before, energy, np.zeros_like(energy), none.astype(int), none, features)


def ideal(
    spec: SignalSpec,
    noisy: np.ndarray,
    clean: np.ndarray,
    *,
    strength: str = "projection",
    attenuate: bool = False,
    comb_filter: Callable[..., np.ndarray] = comb_filter,
    analyser: Callable[[np.ndarray], Frames] | None = None,
) -> tuple[Frames, np.ndarray, np.ndarray]:
    """The oracle: analysis of a noisy signal and the gains and strengths that its clean reference asks for.

    Parameters
    ----------
    spec : SignalSpec
    noisy, clean : ndarray, shape (n,), float32
        Aligned; n a multiple of 480.
    strength : {"projection", "coherence"}
        Which ideal strength: the mix nearest to the clean spectrum (what our networks learn), or the original's, which
        gives the mix the clean speech's coherence.
    attenuate : bool
        Lower the gain where even the combed signal is noisier than the clean (PercepNet's g_att).
    comb_filter : callable
        In the place of `comb.comb_filter`.
    analyser : callable, optional
        In the place of `analyse` for a stream that begins here: hops, shape (K, 480), to their frames.

    Returns
    -------
    frames : Frames
        Of the noisy signal, n / 480 rows.
    gain : ndarray, shape (n / 480, bands), float32
        g_b = |X_b| / |Y_b|, clipped to [0, 1].
    strength : ndarray, shape (n / 480, bands), float32
        r_b in [0, 1].

    Raises
    ------
    ValueError
        Shapes differ, n is no multiple of 480, or the strength's name is unknown.
    """
    if noisy.shape != clean.shape or noisy.ndim != 1 or len(noisy) % HOP:
        raise ValueError(f"noisy {noisy.shape} and clean {clean.shape} must be (n,) alike, n a multiple of {HOP}")
    if not len(noisy):
        raise ValueError("noisy and clean are empty; accepted: n >= 480")
    if strength not in ("projection", "coherence"):
        raise ValueError(f"strength {strength!r} is unknown; accepted: 'projection', 'coherence'")
    analyser = analyser or partial(analyse, spec, SignalState(spec), comb_filter=comb_filter)
    hops = noisy.astype(np.float32, copy=False).reshape(-1, HOP)
    signal = np.concatenate((np.zeros(spec.history_samples, np.float32), clean.astype(np.float32, copy=False)))
    rows = []
    for first in range(0, len(hops), _BLOCK_HOPS):
        frames = analyser(hops[first : first + _BLOCK_HOPS])
        stretch = signal[first * HOP : spec.history_samples + (first + len(frames.energy)) * HOP]
        rows.append((*vars(frames).values(), *_ideal_block(spec, frames, stretch, strength, attenuate)))
    *parts, gain, best = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Frames(*parts), gain, best


def _ideal_block(
    spec: SignalSpec, frames: Frames, clean: np.ndarray, strength: str, attenuate: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Gains and strengths of `ideal` for K frames, from the clean samples of those hops and the history before them."""
    views = sliding(clean, WINDOW)
    start = spec.frame_start + HOP * np.arange(len(frames.energy))
    spectrum = stft(views[start])
    energy = band_energy(spec, spectrum)
    gain = np.sqrt(np.minimum(energy / (frames.energy + np.float32(1e-12)), 1))
    if strength == "projection" and not attenuate:
        return gain, projection_strength(spec, frames.spectrum, frames.comb_spectrum, spectrum)
    comb_spectrum = stft(comb_filter(spec, views, start, frames.pitch_period))
    clean_coherence = coherence(spec, comb_spectrum, spectrum, band_energy(spec, comb_spectrum), energy)
    matched, attenuation = coherence_strength(spec, frames.coherence, clean_coherence, frames.pitch_period)
    if strength == "projection":
        matched = projection_strength(spec, frames.spectrum, frames.comb_spectrum, spectrum)
    return gain * attenuation if attenuate else gain, matched
