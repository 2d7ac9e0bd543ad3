"""The signal path behind one door: numpy's functions, or one compiled call in place of many.

In a browser most of a hop's cost is the fixed price of small numpy calls. `features.analyse` and
`synthesis.synthesise` are the reference and complete; the compiled kernel (`signal_kernel.c`) does the same, is
compared with them when it is loaded, and is left out where it cannot run. It works on the same states, so that one may
take over from the other. Sums are added up in another order: results agree to rounding, and each kernel gives the same
bits for any split of a stream into calls.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..compiled import FLOAT, IN_BROWSER, INT, POINTER, address, load_library
from . import bands, comb, features, pitch, postfilter, stft, synthesis
from .constants import HOP, LOOKAHEAD_FRAMES, NUM_BANDS, NUM_BINS, NUM_FEATURES, WINDOW
from .features import HISTORY, AnalysisState, Frames
from .synthesis import SynthesisState

_FRAMES = 64  # that the compiled kernel's buffers hold
_NO_POSTFILTER = -1.0


class Kernel(NamedTuple):
    """One implementation.

    Attributes
    ----------
    name : str
    analyse, synthesise : callable
        As `features.analyse` and `synthesis.synthesise`.
    """

    name: str
    analyse: Callable[[AnalysisState, np.ndarray], Frames]
    synthesise: Callable[..., np.ndarray]


class _Compiled:
    """Buffers, whose addresses are taken once, and the calls."""

    def __init__(self) -> None:
        def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray:
            return np.zeros(shape, dtype)

        turns = np.exp(-2j * np.pi * np.arange(WINDOW) / WINDOW).astype(np.complex64)
        constants = (pitch.JUMP, features.LEVEL_MEMORY, features.LEVEL_FLOOR, features.ENERGY_FLOOR)
        tables = (
            stft.VORBIS_WINDOW,
            turns,
            pitch.DECIMATION_FILTER,
            pitch.LAG_BIAS,
            np.ascontiguousarray(pitch.STEP_COST.T),
            comb.TAPS,
            bands.BAND_CENTRES.astype(np.int32),
            np.array(constants, np.float64),
        )
        lags = len(pitch.LAGS)
        self._signal = zeros(HISTORY + _FRAMES * HOP)
        self._decimated, self._score = zeros(pitch.DECIMATED_HISTORY), zeros(lags + 2 * pitch.REACH)
        self._previous, self._level = zeros(lags, dtype=np.int32), zeros(2, dtype=np.float64)
        self._spectra = zeros(LOOKAHEAD_FRAMES + _FRAMES, NUM_BINS, dtype=np.complex64)
        self._energies = zeros(LOOKAHEAD_FRAMES + _FRAMES, NUM_BANDS)
        self._comb_spectra = zeros(_FRAMES, NUM_BINS, dtype=np.complex64)
        self._coherence = zeros(_FRAMES, NUM_BANDS)
        self._period, self._correlation = zeros(_FRAMES, dtype=np.int32), zeros(_FRAMES)
        self._features = zeros(_FRAMES, NUM_FEATURES)
        self._gain, self._strength = zeros(_FRAMES, NUM_BANDS), zeros(_FRAMES, NUM_BANDS)
        self._tail, self._out = zeros(HOP), zeros(_FRAMES, HOP)
        self._shaped = zeros(NUM_BINS, dtype=np.complex64)
        # In the order of the C file's struct.
        self._arrays = (
            *tables,
            self._signal,
            *(self._decimated, self._score, self._previous, self._level),
            *(self._spectra, self._energies, self._comb_spectra, self._coherence),
            *(self._period, self._correlation, self._features),
            *(self._gain, self._strength, self._shaped, self._tail, self._out),
        )
        self._lock = threading.Lock()  # streams in several threads share these
        self._table = np.array([array.ctypes.data for array in self._arrays], np.uintp)
        self._address = address(self._table)

    def analyse(self, state: AnalysisState, hops: np.ndarray) -> Frames:
        count = len(hops)
        if count > _FRAMES:
            parts = [self.analyse(state, hops[i : i + _FRAMES]) for i in range(0, count, _FRAMES)]
            return Frames(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))
        with self._lock:
            tracker, moved = state.pitch, count * HOP
            self._signal[:HISTORY], self._signal[HISTORY : HISTORY + moved] = state.samples, hops.ravel()
            self._decimated[:], self._score[:], self._previous[:] = tracker.decimated, tracker.score, tracker.previous
            self._level[:] = state.level_sum, state.level_weight
            self._spectra[:LOOKAHEAD_FRAMES], self._energies[:LOOKAHEAD_FRAMES] = state.spectra, state.energies
            _library.analyse(self._address, count)
            state.samples = self._signal[moved : HISTORY + moved].copy()
            tracker.decimated, tracker.previous = self._decimated.copy(), self._previous.astype(np.intp)
            tracker.score[:] = self._score
            state.level_sum, state.level_weight = self._level.tolist()
            spectra, energies = (x[: LOOKAHEAD_FRAMES + count].copy() for x in (self._spectra, self._energies))
            state.spectra, state.energies = spectra[count:], energies[count:]
            return Frames(
                spectra[:count],
                self._comb_spectra[:count].copy(),
                energies[:count],
                self._coherence[:count].copy(),
                self._period[:count].astype(np.intp),
                self._correlation[:count].copy(),
                self._features[:count].copy(),
            )

    def synthesise(
        self,
        state: SynthesisState,
        frames: Frames,
        gain: np.ndarray,
        strength: np.ndarray | None,
        *,
        dry: float = 0.0,
        postfilter: bool = True,
    ) -> np.ndarray:
        parts = []
        with self._lock:
            self._tail[:] = state.tail
            for first in range(0, len(gain), _FRAMES):
                rows = slice(first, first + _FRAMES)
                count = len(gain[rows])
                self._spectra[:count], self._energies[:count] = frames.spectrum[rows], frames.energy[rows]
                self._gain[:count] = gain[rows]
                if strength is not None:
                    self._comb_spectra[:count], self._strength[:count] = frames.comb_spectrum[rows], strength[rows]
                beta = _BETA if postfilter else _NO_POSTFILTER
                _library.synthesise(self._address, count, strength is not None, beta, dry)
                parts.append(self._out[:count].copy())
            state.tail = self._tail.copy()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


_BETA = float(postfilter.BETA)


def _agrees(kernel: Kernel, reference: Kernel) -> bool:
    """Whether two kernels compute the same, on a gliding buzz in noise with a pause."""
    n = np.arange(24 * HOP)
    phase = np.cumsum(180 + 40 * np.sin(n / 4000)) * (2 * np.pi / 48_000)
    noise = np.modf(1e4 * np.sin(12.9898 * n))[0]
    signal = (0.1 * sum(np.sin(h * phase) / h for h in range(1, 9)) + 0.02 * noise).astype(np.float32)
    signal[10 * HOP : 14 * HOP] = 0
    results = []
    for k in (kernel, reference):
        analysis, synthesis_state = AnalysisState(), SynthesisState()
        frames = k.analyse(analysis, signal.reshape(-1, HOP))
        gain = frames.coherence
        full = k.synthesise(synthesis_state, frames, gain, gain[:, ::-1], dry=0.1)
        plain = k.synthesise(synthesis_state, frames, gain, None, postfilter=False)
        results.append((*vars(frames).values(), full, plain, analysis.samples, analysis.pitch.score))
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(*results, strict=True))


_NUMPY = Kernel("numpy", features.analyse, synthesis.synthesise)
_KIND = "simd" if IN_BROWSER else "native"
_best = _NUMPY
_library = load_library(
    Path(__file__).with_name("signal_kernel.c"),
    _KIND,
    {"analyse": [POINTER, INT], "synthesise": [POINTER, INT, INT, FLOAT, FLOAT]},
)
if _library is not None:
    _compiled = _Compiled()
    _candidate = Kernel(_KIND, _compiled.analyse, _compiled.synthesise)
    if _agrees(_candidate, _NUMPY):
        _best = _candidate


def signal_kernel(name: str) -> Kernel:
    """The signal path that goes with a network's kernel: numpy's with "numpy", else the compiled one where it works."""
    return _NUMPY if name == "numpy" else _best
