"""The streaming core: (model, state, hops) -> hops. Live audio, files and archives all pass through here."""

from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

from . import dsp
from .dsp.constants import HOP, LATENCY_SAMPLES, NUM_BANDS, SAMPLE_RATE
from .model import Model, NetworkState, load_model

BLOCK_HOPS = 64
"""Hops computed at once when many are waiting: enough to amortise the cost of calls, small enough to stay in cache."""

_HOLD_DECAY = np.float32(0.98)  # a hop: on the lean path held gains drift to one, so that no stale gain mutes speech


@dataclass
class EnhancerState:
    """Everything that depends on the past; a new one is a reset."""

    analysis: dsp.AnalysisState = field(default_factory=dsp.AnalysisState)
    synthesis: dsp.SynthesisState = field(default_factory=dsp.SynthesisState)
    network: NetworkState | None = None
    gain: np.ndarray = field(default_factory=lambda: np.ones((1, NUM_BANDS), np.float32))
    pending: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class Estimate:
    """What analysis and network say of K hops, before anything is changed.

    Attributes
    ----------
    frames : dsp.Frames, K rows
    gain : ndarray, shape (K, 34), float32
    strength : ndarray, shape (K, 34), float32, or None for no comb filter
    voice : float
        Voice activity of the last hop.
    nanoseconds : int
        What it took.
    """

    frames: dsp.Frames
    gain: np.ndarray
    strength: np.ndarray | None
    voice: float
    nanoseconds: int


class Enhancer:
    """Enhance a stream of speech, in pieces of any size.

    Parameters
    ----------
    model : str, path or Model
        Name of a shipped model, path of a weights file, or a loaded model.
    strength_db : float or None
        Largest attenuation in dB; 0 leaves the signal untouched, None sets no limit. May be set while running.

    Attributes
    ----------
    sample_rate : int, 48000 Hz
    hop : int, 480 samples
    latency_samples : int
        Delay between an input sample and its enhanced counterpart in the output (1440).

    Raises
    ------
    ValueError
        Unknown model, broken weights file, or a strength below 0 dB.
    """

    sample_rate = SAMPLE_RATE
    hop = HOP
    latency_samples = LATENCY_SAMPLES

    def __init__(self, model: Any = "default", *, strength_db: float | None = None) -> None:
        self.model: Model = load_model(model)
        self.strength_db = strength_db
        self._kernel = dsp.signal_kernel(self.model.kernel)
        self._timing: dict[str, int] | None = None
        self.reset()

    @property
    def strength_db(self) -> float | None:
        """Largest attenuation in dB, or None for no limit."""
        return self._strength_db

    @strength_db.setter
    def strength_db(self, value: float | None) -> None:
        if value is not None and not (isinstance(value, int | float | np.number) and value >= 0):
            raise ValueError(f"strength_db is {value!r}; accepted: None or a number >= 0")
        self._strength_db = None if value is None else float(value)
        self._dry = 0.0 if value is None else float(10 ** (-float(value) / 20))

    def reset(self) -> None:
        """Forget the past: the next sample is the first of a new stream. Statistics start again too."""
        self.state = EnhancerState(network=self.model.new_state())
        self._hops = self._lean_hops = self._nanoseconds = self._nanoseconds_max = 0
        self._last: tuple[float, float, np.ndarray, float] = (0.0, 0.0, np.ones(NUM_BANDS, np.float32), 0.0)

    def process(self, x: np.ndarray) -> np.ndarray:
        """Enhance more of the stream.

        Parameters
        ----------
        x : ndarray, shape (n,), float32 or float64, any n >= 0
            Samples in [-1, 1] at 48 kHz; louder ones pass too.

        Returns
        -------
        ndarray, shape (m,), float32
            Every sample that is ready: whole hops, delayed by `latency_samples`. n and m differ by less than a hop
            over the life of the stream.

        Raises
        ------
        ValueError
            Wrong shape or dtype, NaN or Inf; the state stays as it was.
        """
        x = checked_samples(x)
        pending = np.concatenate((self.state.pending, x))
        whole = len(pending) // HOP
        self.state.pending = pending[whole * HOP :]
        hops = pending[: whole * HOP].reshape(-1, HOP)
        if whole == 0:
            return np.zeros(0, np.float32)
        blocks = [self.process_hops(hops[i : i + BLOCK_HOPS]) for i in range(0, whole, BLOCK_HOPS)]
        return np.concatenate(blocks).ravel()

    def flush(self) -> np.ndarray:
        """Drain what is still inside, then reset.

        Returns
        -------
        ndarray, shape (m,), float32
            The rest: process and flush together return `latency_samples` more than they were given.
        """
        waiting = len(self.state.pending)
        tail = self.process(np.zeros(LATENCY_SAMPLES + (-waiting) % HOP, np.float32))
        self.reset()
        return tail[: waiting + LATENCY_SAMPLES]

    def process_hops(self, hops: np.ndarray, *, lean: bool = False) -> np.ndarray:
        """Enhance K whole hops; the core that everything else calls.

        Parameters
        ----------
        hops : ndarray, shape (K, 480), float32, K >= 1, finite
        lean : bool
            Catch up: hold the last gains, no comb filter and no network, at about a tenth of the cost.

        Returns
        -------
        ndarray, shape (K, 480), float32
            Output sample n belongs to input sample n - 1440.
        """
        return self.render(self.estimate(hops, lean=lean))

    def estimate(self, hops: np.ndarray, *, lean: bool = False) -> Estimate:
        """The first half of `process_hops`: analysis and network. Each estimate must be rendered once, in order.

        Parameters
        ----------
        hops, lean : as for `process_hops`

        Returns
        -------
        Estimate of K rows
        """
        begin = perf_counter_ns()
        state, timing = self.state, self._timing
        if lean:
            frames = dsp.analyse_lean(state.analysis, hops)
            held = _HOLD_DECAY ** np.arange(1, len(hops) + 1, dtype=np.float32)[:, None]
            gain, strength, voice = 1 - held * (1 - state.gain), None, self._last[3]
            self._lean_hops += len(hops)
        else:
            frames = self._kernel.analyse(state.analysis, hops)
            mark = perf_counter_ns()
            gain, strength, vad = self.model.network(frames.features, state.network)
            voice = float(vad[-1])
            if timing is not None:
                timing["analysis"] += mark - begin
                timing["network"] += perf_counter_ns() - mark
        return Estimate(frames, gain, strength, voice, perf_counter_ns() - begin)

    def render(self, estimate: Estimate, gain: np.ndarray | None = None) -> np.ndarray:
        """The second half of `process_hops`: synthesis.

        Parameters
        ----------
        estimate : Estimate of K rows
        gain : ndarray, shape (K, 34), float32, in [0, 1], or None
            Band gains in the place of the estimate's own, such as those that several channels share.

        Returns
        -------
        ndarray, shape (K, 480), float32
        """
        begin = perf_counter_ns()
        state, frames = self.state, estimate.frames
        gain = estimate.gain if gain is None else gain
        out = self._kernel.synthesise(state.synthesis, frames, gain, estimate.strength, dry=self._dry)
        state.gain = gain[-1:]
        self._last = (float(frames.pitch_period[-1]), float(frames.pitch_corr[-1]), gain[-1], estimate.voice)
        elapsed = perf_counter_ns() - begin
        if self._timing is not None:
            self._timing["synthesis"] += elapsed
        elapsed += estimate.nanoseconds
        self._hops += len(gain)
        self._nanoseconds += elapsed
        self._nanoseconds_max = max(self._nanoseconds_max, elapsed // len(gain))
        return out

    @property
    def last_hop(self) -> tuple[float, float, np.ndarray, float]:
        """Pitch period in samples, pitch correlation, 34 band gains and voice activity of the last hop."""
        return self._last

    def time_stages(self) -> dict[str, int]:
        """Start to measure the stages of a hop.

        Returns
        -------
        dict of str to int
            Nanoseconds spent since now in analysis, network and synthesis; kept up to date.
        """
        self._timing = dict.fromkeys(("analysis", "network", "synthesis"), 0)
        return self._timing

    @property
    def stats(self) -> dict[str, Any]:
        """What has happened since the last reset.

        Returns
        -------
        dict
            hops, full_hops and lean_hops, mean and max microseconds a hop, model, the kernels of its network and of the
            signal path, and of the last hop: pitch_period in samples, pitch_corr, voice activity and the 34 band gains.
        """
        period, corr, gain, voice = self._last
        return {
            "hops": self._hops,
            "full_hops": self._hops - self._lean_hops,
            "lean_hops": self._lean_hops,
            "us_mean": self._nanoseconds / 1000 / max(self._hops, 1),
            "us_max": self._nanoseconds_max / 1000,
            "model": self.model.name,
            "kernel": self.model.kernel,
            "signal_kernel": self._kernel.name,
            "pitch_period": period,
            "pitch_corr": corr,
            "voice": voice,
            "gain": gain.tolist(),
        }


def checked_samples(x: Any, shape: str = "(n,)") -> np.ndarray:
    """One channel of finite float32 samples, or a ValueError that names what was given."""
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {x.dtype}; accepted: float32, float64")
    if x.ndim != 1:
        raise ValueError(f"shape is {x.shape}; accepted: {shape}")
    y = x.astype(np.float32, copy=False)
    if not np.isfinite(y).all():
        where = int(np.flatnonzero(~np.isfinite(y))[0])
        raise ValueError(f"sample {where} is {x[where]}; accepted: finite numbers within float32's range")
    return y
