"""Energy below the voice (hum, rumble, a constant offset), taken out where there is enough of it to do harm.

It would leak into the bins of the voice, and into its pitch. A steep high-pass on the samples keeps it out; but such a
filter turns the phases of a deep voice, which costs more than a hum does. What it does to steady sinusoids is known,
though: so the lowest bins of each spectrum are multiplied with the matrix that undoes it best, the others by 1 / H.

Where there is little below the voice the network knows it from its training, and a filter would only cost: then every
bit stays as it was.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .constants import HOP, NUM_BINS, SAMPLE_RATE, WINDOW
from .stft import VORBIS_WINDOW, sliding, stft

if TYPE_CHECKING:
    from .state import SignalState

# Chebyshev type II, order 5, 45 dB down from 52 Hz on: scipy.signal.cheby2(5, 45, 52, "high", fs=48000, output="zpk"),
# as one-pole sections (scipy.signal.residuez): s_i(n) = POLES_i s_i(n-1) + x(n), y = DIRECT x + sum_i Re(SHARES_i s_i).
POLES = np.array(
    [0.9968591382036052 + 0.011443285471521672j, 0.9919439193858105 + 0.007037422171657324j, 0.9900822704221667 + 0j]
)
SHARES = np.array(
    [
        0.0006698049937052525 - 0.008252267465603409j,
        -0.01612777966541807 - 0.018330083538757053j,
        -0.016797584669274074 + 0j,
    ]
)
DIRECT = 1.0162578238532989

MEMORY = 0.995
"""Of the powers that decide, a hop: about two seconds."""

COMES_IN, GOES_OUT = 0.2, 0.1
"""Share of the means of hops in the power, above which the filter comes in, and below which it goes out again."""

FLOOR = 1e-5
"""Of the power: -50 dBFS. The rumble of a quiet room, heard in the pauses of clean speech, is none to take out."""

MENDED_BINS = 8
_RUMBLE_HZ, _VOICE_HZ, _STEP_HZ = 58, 66, 2  # up to the one the matrix gives back nothing, from the other on all

_TIMES = np.arange(HOP)
_RAMP = (_TIMES + 1) / HOP
_RISE, _FALL = POLES[:, None] ** -_TIMES, SHARES[:, None] * POLES[:, None] ** _TIMES
_HOP_DECAY = (POLES**HOP).tolist()
_LEFT = POLES[:, None] ** _TIMES[::-1]  # of each sample at the end of its hop
# The mean of a hop hears what is below the voice and little else: 100, 200, ... Hz not at all. It and what the hop
# leaves in each section come of one product: in pairs of rows, for real and imaginary parts.
_MEASURES = np.stack((np.full(HOP, 1 / HOP), np.zeros(HOP), *(row for left in _LEFT for row in (left.real, left.imag))))


def _decide(state: "SignalState", x: np.ndarray) -> tuple[list[bool], list[list[complex]]]:
    """For K more hops, float64: whether there is much below the voice, and the sections before each.

    The sections run always: the filter may come in at any hop. Hop by hop, in Python's numbers: products must
    round alike for any K, and of a few numbers the sums are done before numpy has begun.
    """
    much, before = [], []
    low, total = state.rumble.tolist()
    filtered = bool(state.filtered[-1])
    sections = state.sections.tolist()
    for hop in x:
        mean, *left = _MEASURES.dot(hop).view(np.complex128).tolist()
        low = MEMORY * low + (1 - MEMORY) * mean.real * mean.real
        total = MEMORY * total + (1 - MEMORY) * float(hop.dot(hop)) / HOP
        filtered = low > (GOES_OUT if filtered else COMES_IN) * (total + FLOOR)
        much.append(filtered)
        before.append(sections)
        sections = [decay * held + new for decay, held, new in zip(_HOP_DECAY, sections, left, strict=True)]
    state.rumble[:] = low, total
    state.sections[:] = sections
    return much, before


def take_out(state: "SignalState", hops: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """K more hops without what is below the voice, where that is much.

    Parameters
    ----------
    state : SignalState
        Updated in place.
    hops : ndarray, shape (K, 480), float32

    Returns
    -------
    hops : ndarray, shape (K, 480), float32
    filtered : list of lookahead_frames + 2 + K int, 0 or 1
        Whether the filter is in at the end of each hop, those before included. For a frame it is so at its middle;
        within a hop it comes in or goes out, so that nothing clicks.
    """
    x = hops.astype(np.float64)
    much, sections = _decide(state, x)
    filtered = [*state.filtered.tolist()[1:], *map(int, much)]
    state.filtered[:] = filtered[-len(state.filtered) :]
    around = filtered[-len(hops) - 1 :]
    rows = _any(around, 2)
    if rows:
        before, now = np.array(around[:-1]), np.array(around[1:])
        x, before, now = x[rows], before[rows, None], now[rows, None]
        sums = np.cumsum(x[:, None] * _RISE, axis=2)
        sums += (np.array(sections)[rows] * POLES)[:, :, None]
        removed = (1 - DIRECT) * x - np.einsum("kpn,pn->kn", sums, _FALL).real
        hops = hops.copy()
        hops[rows] = x - (before + (now - before) * _RAMP) * removed
    return hops, filtered


def _any(filtered: Sequence[int], width: int) -> list[int]:
    """Where one of so many in a row is not zero."""
    if not any(filtered):
        return []
    return [k for k in range(len(filtered) - width + 1) if any(filtered[k : k + width])]


def response(hz: np.ndarray) -> np.ndarray:
    """H of the whole filter at these frequencies, complex128."""
    turn = np.exp(-2j * np.pi * np.asarray(hz, float) / SAMPLE_RATE)[:, None]
    halves = SHARES / (1 - POLES * turn), SHARES.conj() / (1 - POLES.conj() * turn)  # of a real part
    return DIRECT + 0.5 * (halves[0] + halves[1]).sum(1)


@cache
def mending() -> tuple[np.ndarray, np.ndarray]:
    """What makes the spectra of filtered frames those of the voice again.

    Returns
    -------
    matrix : ndarray, shape (16, 16), float32
        For the real and imaginary parts, in turn, of the lowest eight bins.
    factor : ndarray, shape (473,), complex64
        For each of the others.
    """
    hz = np.arange(0, 50 * (MENDED_BINS + 6), _STEP_HZ)
    hz = hz[(hz <= _RUMBLE_HZ) | (hz >= _VOICE_HZ)]
    n = np.arange(WINDOW)
    kernel = VORBIS_WINDOW[:, None] * np.exp(-2j * np.pi / WINDOW * n[:, None] * np.arange(MENDED_BINS))
    tones = np.exp(2j * np.pi / SAMPLE_RATE * hz[:, None] * n)
    filtered, wanted = (
        (np.concatenate((shown.real, shown.imag)) @ kernel).view(np.float64)
        for shown in (response(hz)[:, None] * tones, (hz >= _VOICE_HZ)[:, None] * tones)
    )
    normal = filtered.T @ filtered
    ridge = 1e-6 * np.trace(normal) / len(normal)  # where nothing is left to mend from
    matrix = np.linalg.solve(normal + ridge * np.eye(len(normal)), filtered.T @ wanted)
    factor = 1 / response(np.arange(MENDED_BINS, NUM_BINS) * (SAMPLE_RATE / WINDOW))
    factor[-1] = factor[-1].real
    return matrix.astype(np.float32), factor.astype(np.complex64)


def mend(spectra: np.ndarray, filtered: Sequence[int]) -> None:
    """Undo what the filter does to the voice.

    Parameters
    ----------
    spectra : ndarray, shape (K, 481), complex64
        Changed in place.
    filtered : sequence of K int
        Zero for those to be left alone.
    """
    rows = _any(filtered, 1)
    if rows:
        matrix, factor = mending()
        found = spectra[rows]
        low = found.view(np.float32)[:, : 2 * MENDED_BINS]
        low[:] = np.einsum("ki,ij->kj", low, matrix)
        found[:, MENDED_BINS:] *= factor
        spectra[rows] = found


def untouched(state: "SignalState", hops: np.ndarray, filtered: Sequence[int], spectra: np.ndarray) -> np.ndarray:
    """Spectra of the frames that K hops answer for, as they were before anything was taken out.

    Parameters
    ----------
    state : SignalState
        Updated in place.
    hops : ndarray, shape (K, 480), float32
        Before anything was taken out.
    filtered : sequence of int
        What `take_out` returned.
    spectra : ndarray, shape (K, 481), complex64
        Of those frames without it.

    Returns
    -------
    ndarray, shape (K, 481), complex64
    """
    raw = np.concatenate((state.raw[HOP:], hops.ravel()))
    state.raw[:] = raw[-len(state.raw) :]
    rows = _any(filtered[: len(hops) + 2], 3)
    if rows:
        spectra = spectra.copy()
        spectra[rows] = stft(sliding(raw, WINDOW)[HOP * np.array(rows)])
    return spectra
