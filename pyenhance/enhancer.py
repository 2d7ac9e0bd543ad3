"""The streaming core: (model, state, hops) -> hops. Live audio, files and archives all pass through here."""

from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from . import dsp
from .backend import BLOCK_HOPS, CompiledStream, StreamState
from .dsp import HOP, SAMPLE_RATE
from .model import HopFacts, Model, ModelStream, check_streams, load_model
from .nn import check_effort
from .samples import checked_samples

_RISE = np.linspace(0, 1, HOP, dtype=np.float32)
_HOLD_DECAY = np.float32(0.98)  # a hop: on the lean path held gains drift to one, so that no stale gain mutes speech


class Estimate(NamedTuple):
    """What a model makes of K hops, before it is applied.

    Attributes
    ----------
    frames : dsp.Frames, K rows
    gain : ndarray, shape (K, bands), float32, in [0, 1]
    strength : ndarray, shape (K, bands), float32, in [0, 1], or None for no comb filter
    leaving : ndarray, shape (480,), float32, or None
        Right after a switch, the first hop as the model before has it: the sound goes over from this.
    """

    frames: dsp.Frames
    gain: np.ndarray
    strength: np.ndarray | None
    leaving: np.ndarray | None = None


def dry_share(strength_db: float | None) -> float:
    """Share of the sound as it came in the result: what limits the attenuation to so many dB; 0 without a limit.

    Raises
    ------
    ValueError
        It is no number, or below 0 dB.
    """
    if strength_db is None:
        return 0.0
    if not (isinstance(strength_db, int | float | np.number) and strength_db >= 0):
        raise ValueError(f"strength_db is {strength_db!r}; accepted: None or a number >= 0")
    return float(10 ** (-float(strength_db) / 20))


def checked_effort(effort: str) -> str:
    """The effort; ValueError where no stream may begin with it."""
    if effort not in ("full", "auto"):
        raise ValueError(f"effort is {effort!r}; accepted: 'full', 'auto'")
    return effort


class Enhancer:
    """Enhance a stream of speech, in pieces of any size.

    Parameters
    ----------
    model : str, path, bytes or Model
        Name of a shipped model, path of a weights file or its bytes, or a loaded model; not one for whole recordings.
    strength_db : float or None
        Largest attenuation in dB; 0 leaves the signal untouched, None sets no limit. May be set while running.
    effort : str
        Of a model with lean frames, for sound of which no backlog is given: "full", or "auto", where one frame in
        `nn.FULL_EVERY` is full.

    Attributes
    ----------
    model : Model
    state : StreamState
        Everything that depends on the past.
    sample_rate : int, 48000 Hz
    hop : int, 480 samples

    Raises
    ------
    ValueError
        Unknown model, broken weights file, a model for whole recordings, a strength below 0 dB, or no such effort.
    """

    sample_rate = SAMPLE_RATE
    hop = HOP

    def __init__(self, model: Any = "default", *, strength_db: float | None = None, effort: str = "full") -> None:
        self.model: Model = check_streams(load_model(model))
        self._effort = checked_effort(effort)
        self._timing: dict[str, int] | None = None
        self._dry = 0.0
        self.reset()
        self.strength_db = strength_db

    @property
    def latency_samples(self) -> int:
        """Delay between an input sample and its enhanced counterpart in the output, by the model's look-ahead."""
        return self.model.signal.latency_samples

    @property
    def strength_db(self) -> float | None:
        """Largest attenuation in dB, or None for no limit."""
        return self._strength_db

    @strength_db.setter
    def strength_db(self, value: float | None) -> None:
        self._dry = dry_share(value)
        self._strength_db = None if value is None else float(value)
        self._limit(self._stream)

    def _limit(self, stream: ModelStream) -> ModelStream:
        """The stream, told of the strength: it may be called past this object."""
        if stream.whole is not None:
            stream.whole.dry = self._dry
        return stream

    def reset(self) -> None:
        """Forget the past: the next sample is the first of a new stream. Statistics start again too."""
        self._pending = np.zeros(0, np.float32)
        self._leaving: ModelStream | None = None  # of the model before, until the next has taken over
        self._stream = self._limit(self.model.stream(self.model.new_state()))
        self._hops = self._lean_hops = self._nanoseconds = self._nanoseconds_max = 0
        self._facts = HopFacts(0.0, 0.0, 0.0, np.ones(self.model.signal.num_bands, np.float32))

    @property
    def state(self) -> StreamState:
        """Everything that depends on the past."""
        return self._stream.state

    @property
    def compiled(self) -> CompiledStream | None:
        """The stream as one compiled call, where both halves are compiled alike: it may be called past this object."""
        return self._stream.whole

    def lead_in(self, hops: np.ndarray) -> None:
        """Before the first hop: begin as one who has heard these, so that a recording is not met unprepared.

        Parameters
        ----------
        hops : ndarray, shape (K, 480), float32, K >= 1, finite
            None of their sound comes out.

        Raises
        ------
        RuntimeError
            The stream has begun; it goes on as it was.
        """
        if self._hops:
            raise RuntimeError(f"lead_in after {self._hops} hops; accepted: before the first, or after reset or flush")
        self._stream.lead_in(hops)

    def switch(self, model: Any) -> None:
        """Go on with another model, from the next hop on.

        It is warmed by the sound of the last hops, so that it does not begin as if nothing had been heard, and the
        first hop fades from the one to the other. Where the look-ahead differs, so does `latency_samples` from then on.

        Parameters
        ----------
        model : str, path, bytes or Model

        Raises
        ------
        ValueError
            Unknown model, broken weights file or a model for whole recordings; the stream goes on as it was.
        """
        new = check_streams(load_model(model))
        if new is self.model:
            return
        before, old = self._stream.state, self._stream
        stream = new.stream(new.new_state())
        hops = before.recent_hops()
        if len(hops):
            stream.process(hops, self._dry)
            stream.state.take_over_levels(before)
            stream.state.heard[:] = before.heard
            stream.state.recent[:] = before.recent
            self._leaving = self._leaving or old
        self.model, self._stream = new, self._limit(stream)

    def process(self, x: np.ndarray) -> np.ndarray:
        """Enhance more of the stream.

        Parameters
        ----------
        x : ndarray, shape (n,), float32 or float64, any n >= 0
            Samples in [-1, 1] at 48 kHz; louder ones pass too, up to `dsp.LOUDEST`.

        Returns
        -------
        ndarray, shape (m,), float32
            Every sample that is ready: whole hops, delayed by `latency_samples`. n and m differ by less than a hop
            over the life of the stream.

        Raises
        ------
        ValueError
            Wrong shape or dtype, NaN, Inf or louder than that; the state stays as it was.
        """
        x = checked_samples(x)
        pending = np.concatenate((self._pending, x))
        whole = len(pending) // HOP
        self._pending = pending[whole * HOP :]
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
        waiting, latency = len(self._pending), self.latency_samples
        tail = self.process(np.zeros(latency + (-waiting) % HOP, np.float32))
        self.reset()
        return tail[: waiting + latency]

    def process_hops(self, hops: np.ndarray, *, lean: bool = False, backlog: float | None = None) -> np.ndarray:
        """Enhance K whole hops; the core that everything else calls.

        Parameters
        ----------
        hops : ndarray, shape (K, 480), float32, K >= 1, finite
        lean : bool
            Catch up: a model with lean frames runs those alone; others hold the last gains, no comb filter and no
            network, at about a tenth of the cost.
        backlog : float, optional
            Hops that wait, these not counted: a model with lean frames takes turns, and runs lean ones alone while a
            hop waits (`nn.choose`). None: as the enhancer's `effort` says. Other models run as ever.

        Returns
        -------
        ndarray, shape (K, 480), float32
            Output sample n belongs to input sample n - `latency_samples`.

        Raises
        ------
        ValueError
            `backlog` is negative or no finite number; the state stays as it was.
        """
        begin = perf_counter_ns()
        has_lean = self.model.network.spec.has_lean
        if self._timing is not None and not lean:
            out = self.render(self.estimate(hops, backlog=backlog))
            self._lean_hops += len(hops) - self._stream.full_frames
        else:
            waiting, effort = self._chosen(backlog)
            leaving = self._leave(hops)
            if lean and not has_lean:
                out = self._process_held(hops)
                self._lean_hops += len(hops)
            else:
                out, self._facts = self._stream.process(hops, self._dry, waiting, "lean" if lean else effort)
                self._lean_hops += len(hops) - self._stream.full_frames
            _go_over(leaving, out)
        self._count(len(hops), perf_counter_ns() - begin)
        return out

    def _chosen(self, backlog: float | None) -> tuple[float, str]:
        """Backlog and effort of the network."""
        if backlog is None:
            return 0.0, self._effort
        check_effort(backlog, "auto")
        return float(backlog), "auto"

    def estimate(self, hops: np.ndarray, *, backlog: float | None = None) -> Estimate:
        """The first half of `process_hops`: analysis and network. `render` must follow, once, before the next hops.

        Between the two a caller may change gains: the channels of one recording share theirs.

        Parameters
        ----------
        hops : ndarray, shape (K, 480), float32, K >= 1, finite
        backlog : float, optional
            As of `process_hops`.
        """
        waiting, effort = self._chosen(backlog)
        leaving = self._leave(hops)
        begin = perf_counter_ns()
        frames = self._stream.analyse(hops)
        mark = perf_counter_ns()
        gain, strength, vad = self._stream.estimate(frames.features, waiting, effort)
        self._time("analysis", mark - begin)
        self._time("network", perf_counter_ns() - mark)
        self._facts = self._stream.finish(hops, frames, gain, float(vad[-1]))
        return Estimate(frames, gain, strength, leaving)

    def render(self, estimate: Estimate, gain: np.ndarray | None = None) -> np.ndarray:
        """The second half of `process_hops`: synthesis.

        Parameters
        ----------
        estimate : Estimate of K rows
        gain : ndarray, shape (K, bands), float32, in [0, 1], or None
            Band gains in the place of the estimate's own, such as those that several channels share.

        Returns
        -------
        ndarray, shape (K, 480), float32
        """
        begin = perf_counter_ns()
        gain = estimate.gain if gain is None else gain
        out = self._stream.synthesise(estimate.frames, gain, estimate.strength, dry=self._dry)
        self._time("synthesis", perf_counter_ns() - begin)
        _go_over(estimate.leaving, out)
        return out

    def _process_held(self, hops: np.ndarray) -> np.ndarray:
        state = self._stream.state
        frames = dsp.analyse_lean(self.model.signal, state.signal, hops)
        held = _HOLD_DECAY ** np.arange(1, len(hops) + 1, dtype=np.float32)[:, None]
        gain = 1 - held * (1 - state.held_gain)
        self._facts = self._stream.finish(hops, frames, gain, self._facts.voice)
        return self._stream.synthesise(frames, gain, None, dry=self._dry)

    def _leave(self, hops: np.ndarray) -> np.ndarray | None:
        """Right after a switch, the first of these hops as the model before has it; that one is then let go."""
        if self._leaving is None:
            return None
        old, _ = self._leaving.process(hops[:1], self._dry)
        self._leaving = None
        return old[0]

    def _count(self, hops: int, nanoseconds: int) -> None:
        self._hops += hops
        self._nanoseconds += nanoseconds
        self._nanoseconds_max = max(self._nanoseconds_max, nanoseconds // hops)

    def _time(self, stage: str, nanoseconds: int) -> None:
        if self._timing is not None:
            self._timing[stage] += nanoseconds

    @property
    def lean_hops(self) -> int:
        """Hops since the last reset whose frames were lean, or on which gains were held."""
        return self._lean_hops

    @property
    def last_hop(self) -> HopFacts:
        """What was found in the last hop."""
        return self._facts

    def time_stages(self) -> dict[str, int]:
        """Start to measure the stages of a hop, which are calls of their own from now on.

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
            hops, full_hops and lean_hops (lean frames, or gains held), full_share, mean and max microseconds a hop,
            model, the kernels of its network and of the signal path, and of the last hop: pitch_period in
            samples, pitch_corr, voice activity and the band gains.
        """
        facts = self._facts
        return {
            "hops": self._hops,
            "full_hops": self._hops - self._lean_hops,
            "lean_hops": self._lean_hops,
            "full_share": 1 - self._lean_hops / max(self._hops, 1),
            "us_mean": self._nanoseconds / 1000 / max(self._hops, 1),
            "us_max": self._nanoseconds_max / 1000,
            "model": self.model.name,
            "kernel": self.model.backend.network,
            "signal_kernel": self.model.backend.signal,
            "pitch_period": facts.pitch_period,
            "pitch_corr": facts.pitch_corr,
            "voice": facts.voice,
            "gain": facts.gain.tolist(),
        }


def _go_over(leaving: np.ndarray | None, out: np.ndarray) -> None:
    """The first hop goes over from the sound of the model before, if there was one, to that of the next."""
    if leaving is not None:
        out[0] = leaving + _RISE * (out[0] - leaving)
