"""What the signal path remembers between calls, in one block of memory that numpy and compiled code both work on."""

import numpy as np

from .constants import HOP, NUM_BINS
from .pitch import DECIMATED_HISTORY, LAGS, REACH
from .rumble import POLES
from .spec import SignalSpec

ROOM_HOPS = 64
"""Hops that compiled code may append to the remembered samples while it works on them."""

_ALIGNMENT = 16  # bytes, of each field: what SIMD likes


class SignalState:
    """Everything that depends on the past; a new one is a reset.

    Parameters
    ----------
    spec : SignalSpec

    Attributes
    ----------
    block : ndarray, shape (n,), uint8
        All that follows, field after field: a copy of it is a copy of the state.
    samples : ndarray, shape (history_samples,), float32
        With room behind it for the hops of one compiled call.
    spectra : ndarray, shape (lookahead_frames, 481), complex64
    energies : ndarray, shape (lookahead_frames, bands), float32
    decimated : ndarray, shape (392,), float32
        Newest samples at 12 kHz.
    score : ndarray, shape (193,), float32
        Of the pitch search, for each lag, between margins of minus infinity.
    previous : ndarray, shape (max(lookahead_frames - 1, 0), 169), int32
        Of the pitch search: the best lag one hop earlier, for each lag; the newest hop first.
    level : ndarray, shape (2,), float64
        Of the level follower: weighted sum of powers, and of weights.
    tail : ndarray, shape (480,), float32
        The half frame that the next hop overlaps with.
    sections : ndarray, shape (3,), complex128
        Of the filter of what is below the voice.
    rumble : ndarray, shape (2,), float64
        Recent power below the voice, roughly, and in all.
    filtered : ndarray, shape (lookahead_frames + 3,), int32
        Whether that filter was in at the end of each of the last hops.
    raw : ndarray, shape (latency_samples + 480,), float32
        Newest samples as they were before it; `samples` are those after it.
    """

    samples: np.ndarray
    spectra: np.ndarray
    energies: np.ndarray
    decimated: np.ndarray
    score: np.ndarray
    previous: np.ndarray
    level: np.ndarray
    tail: np.ndarray
    sections: np.ndarray
    rumble: np.ndarray
    filtered: np.ndarray
    raw: np.ndarray

    def __init__(self, spec: SignalSpec) -> None:
        ahead = spec.lookahead_frames
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "samples": (np.float32, (spec.history_samples + ROOM_HOPS * HOP,)),
            "spectra": (np.complex64, (ahead, NUM_BINS)),
            "energies": (np.float32, (ahead, spec.num_bands)),
            "decimated": (np.float32, (DECIMATED_HISTORY,)),
            "score": (np.float32, (len(LAGS) + 2 * REACH,)),
            "previous": (np.int32, (max(ahead - 1, 0), len(LAGS))),
            "level": (np.float64, (2,)),
            "tail": (np.float32, (HOP,)),
            "sections": (np.complex128, POLES.shape),
            "rumble": (np.float64, (2,)),
            "filtered": (np.int32, (ahead + 3,)),
            "raw": (np.float32, (spec.latency_samples + HOP,)),
        }
        sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in shapes.values()]
        ends = np.cumsum([-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes])
        self.block = np.zeros(int(ends[-1]), np.uint8)
        for (name, (kind, shape)), end, size in zip(shapes.items(), ends.tolist(), sizes, strict=True):
            first = end - -(-size // _ALIGNMENT) * _ALIGNMENT
            setattr(self, name, self.block[first : first + size].view(kind).reshape(shape))
        self.samples = self.samples[: spec.history_samples]
        self.score[:] = -np.inf
        self.score[REACH:-REACH] = 0
        self.previous[:] = np.arange(len(LAGS))
