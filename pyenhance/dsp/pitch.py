"""Pitch: normalised correlation on a decimated copy, tracked through noise by a streaming Viterbi search over lags.

Each hop scores every lag by the correlation of the newest 27 ms with the same signal one lag earlier (at 12 kHz). The
tracker adds those scores along paths, charging for changes of lag (after RAPT, Talkin 1995), and answers for the frame
that the look-ahead is counted from, so it decides with the same look-ahead that the comb filter uses. The chosen lag is
then refined at 48 kHz around that frame.
"""

from typing import TYPE_CHECKING

import numpy as np

from .constants import HOP, WINDOW
from .stft import sliding

if TYPE_CHECKING:
    from .spec import SignalSpec
    from .state import SignalState

MIN_PERIOD, MAX_PERIOD = 96, 768
"""Shortest and longest pitch period in samples at 48 kHz (500 to 62.5 Hz)."""

DECIMATION = 4
LAGS = np.arange(MIN_PERIOD // DECIMATION, MAX_PERIOD // DECIMATION + 1)
"""Candidate lags at 12 kHz, shape (169,)."""

_REVERSED = slice(int(LAGS[-1] - LAGS[0]), None, -1)
_DECIMATED_HOP = HOP // DECIMATION
CORRELATION_WINDOW = 320  # decimated samples, 26.7 ms
_FFT_SIZE = CORRELATION_WINDOW + int(LAGS[-1])  # 512: just enough that no lag wraps
DECIMATED_HISTORY = _FFT_SIZE - _DECIMATED_HOP
"""Decimated samples kept from one call to the next."""

_CUTOFF_HZ = 2200
FILTER_TAPS = 64
FILTER_REACH = FILTER_TAPS - DECIMATION
"""Samples before a hop that its decimation needs."""

REACH = 12  # lags that a path may move by between hops without being charged a jump
_SLOPE = 1.5  # charge for a change of lag, per relative change
JUMP = 1.5  # charge for a change of any size: an onset, or a return after a pause
_OCTAVE_BIAS = 0.06  # per octave of lag: twice the period always correlates nearly as well as the period

REFINE = 4  # samples at 48 kHz on either side
REFINE_WINDOW = 1440
NORM_FLOOR = 1e-3  # of the block's energy
_TINY = 1e-12


def _decimation_filter() -> np.ndarray:
    n = np.arange(FILTER_TAPS) - (FILTER_TAPS - 1) / 2
    taps = np.sinc(2 * _CUTOFF_HZ / 48_000 * n) * np.hanning(FILTER_TAPS + 2)[1:-1]
    return (taps / taps.sum()).astype(np.float32)


DECIMATION_FILTER = _decimation_filter()
_STEPS = np.arange(-REACH, REACH + 1)
STEP_COST = (-_SLOPE * np.abs(_STEPS) / LAGS[:, None]).astype(np.float32)
LAG_BIAS = (-_OCTAVE_BIAS * np.log2(LAGS / LAGS[0])).astype(np.float32)
_FIRST_STEP = np.arange(len(LAGS)) * len(_STEPS)  # of each lag, among the steps of all
_FARTHEST = np.arange(len(LAGS)) - REACH


def decimate(state: "SignalState", signal: np.ndarray) -> np.ndarray:
    """Low-pass and decimate new samples to 12 kHz, after those that the state remembers.

    Parameters
    ----------
    state : SignalState
        Its memory moves on by the new samples.
    signal : ndarray, shape (FILTER_REACH + 480 K,), float32, C-contiguous
        The new hops with the samples just before them.

    Returns
    -------
    ndarray, shape (DECIMATED_HISTORY + 120 K,), float32
    """
    decimated = np.einsum("nt,t->n", sliding(signal, FILTER_TAPS)[::DECIMATION], DECIMATION_FILTER)
    history = np.concatenate((state.decimated, decimated))
    state.decimated[:] = history[len(decimated) :]
    return history


def lag_correlation(decimated: np.ndarray) -> np.ndarray:
    """Normalised correlation of the newest signal with its past, for each hop and lag.

    Parameters
    ----------
    decimated : ndarray, shape (DECIMATED_HISTORY + 120 K,), float32
        What `decimate` returned.

    Returns
    -------
    ndarray, shape (K, 169), float32, in [-1, 1]
    """
    blocks = sliding(decimated, _FFT_SIZE)[::_DECIMATED_HOP]
    longest = int(LAGS[-1])
    newest = np.fft.rfft(blocks[:, longest:], _FFT_SIZE)
    whole = np.fft.rfft(blocks)
    # In place: numpy rounds a complex product by another path when it makes a large temporary, and K must not matter.
    np.conjugate(newest, out=newest)
    np.multiply(whole, newest, out=whole)
    # Column c holds the lag longest - c; reversed slices cost less than index arrays.
    products = np.fft.irfft(whole, _FFT_SIZE)[:, _REVERSED]
    # float64: a difference of two running sums of squares would lose the quiet windows in float32.
    energy = np.zeros((len(blocks), _FFT_SIZE + 1))
    np.cumsum(np.multiply(blocks, blocks, dtype=np.float64), axis=1, out=energy[:, 1:])
    total = energy[:, -1:]
    energy = energy[:, CORRELATION_WINDOW:] - energy[:, :-CORRELATION_WINDOW]
    # The floor keeps rounding of the transform from being divided by the energy of a silent window.
    norm = np.sqrt(np.maximum(energy[:, _REVERSED] * energy[:, longest:], 0)) + NORM_FLOOR * total + _TINY
    return (products / norm).astype(np.float32)


def track(spec: "SignalSpec", state: "SignalState", correlation: np.ndarray) -> np.ndarray:
    """Viterbi search, answering as many hops late as the look-ahead allows.

    Parameters
    ----------
    spec : SignalSpec
    state : SignalState
    correlation : ndarray, shape (K, 169), float32

    Returns
    -------
    ndarray, shape (K,), int: index into `LAGS` of the lag `lookahead_frames` before each hop, as seen from now.
    """
    chosen = np.empty(len(correlation), np.intp)
    local = correlation + LAG_BIAS
    score = state.score
    previous = list(state.previous)
    inner = score[REACH:-REACH]
    reachable = sliding(score, 2 * REACH + 1)
    for k in range(len(correlation)):
        best = inner.argmax()
        jump = inner[best] - JUMP
        options = reachable + STEP_COST
        step = options.argmax(1)
        stay = options.take(_FIRST_STEP + step)
        pointer = np.where(stay >= jump, _FARTHEST + step, best)
        np.maximum(stay, jump, out=inner)
        inner += local[k]
        lag = inner.argmax()
        inner -= inner[lag]  # only differences matter; keeps the sums from growing
        previous.insert(0, pointer)
        for back in previous[: spec.lookahead_frames]:
            lag = back[lag]
        chosen[k] = lag
        previous.pop()
    for row, back in zip(state.previous[::-1], previous[::-1], strict=True):  # a row may become what the next one was
        row[:] = back
    return chosen


def refine(spec: "SignalSpec", signal: np.ndarray, start: np.ndarray, lag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch period at full resolution, near a decimated lag.

    Parameters
    ----------
    spec : SignalSpec
    signal : ndarray, shape (n,), float32, C-contiguous, 48 kHz
    start : ndarray, shape (K,), int
        First sample of each frame.
    lag : ndarray, shape (K,), int
        Lags at 12 kHz.

    Returns
    -------
    period : ndarray, shape (K,), int, samples
    correlation : ndarray, shape (K,), float32
        Normalised correlation at that period, in [0, 1].
    """
    rough = np.minimum(np.maximum(DECIMATION * lag, MIN_PERIOD + REFINE), MAX_PERIOD - REFINE)
    # The two stretches that are compared lie half a period to either side of the frame's middle, or as near to that as
    # the look-ahead allows.
    newest = WINDOW + spec.lookahead_frames * HOP - REFINE_WINDOW
    late = start + np.minimum(HOP - REFINE_WINDOW // 2 + rough // 2, newest)
    later = sliding(signal, REFINE_WINDOW)[late]
    earlier = sliding(signal, REFINE_WINDOW + 2 * REFINE)[late - rough - REFINE]
    step = earlier.strides[1]
    windows = np.ndarray(
        (len(lag), 2 * REFINE + 1, REFINE_WINDOW), np.float32, earlier, 0, (earlier.strides[0], step, step)
    )
    products = np.einsum("kcn,kn->kc", windows, later)
    energy = np.einsum("kcn,kcn->kc", windows, windows)
    score = products / np.sqrt(energy + np.float32(_TINY))
    best = score.argmax(1)
    norm = np.sqrt(np.einsum("kn,kn->k", later, later) + np.float32(_TINY))
    # windows run from the longest period (index 0) to the shortest
    return rough + REFINE - best, np.minimum(np.maximum(np.maximum.reduce(score, 1) / norm, 0), 1)
