"""Whole signals and streams of any rate and channel count, through the same streaming core."""

from typing import Any

import numpy as np

from .align import Aligned
from .backend import BLOCK_HOPS
from .dsp import HOP, LOUDEST, SAMPLE_RATE
from .enhancer import Enhancer, Estimate, checked_effort, dry_share
from .model import RUN_UP_FRAMES, STRETCH_FRAMES, Model, WholeStream, load_model
from .threads import one_thread

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 768_000

MOST_CHANNELS = 64
"""Of an array: more are taken for time and channels the wrong way round."""

_TINY = np.float32(1e-12)  # of a band's energy, where every channel is silent
_PLAIN_CHANNELS = 8  # up to here an array may be shorter than it is wide


LEAD_IN_HOPS = 500
"""Hops from a recording's beginning, of 10 ms, that are heard before it is enhanced: a network that knows nothing yet
does worst in its first second. EXPERIMENTS.md has what it is worth."""


class _Channels:
    """Several channels of one recording in whole hops; those who inherit say what becomes of these.

    Nothing is ready before the lead-in is there, or the recording's end.

    Parameters
    ----------
    model : Model
    channels : int
    """

    sample_rate, hop = SAMPLE_RATE, HOP

    def __init__(self, model: Model, channels: int) -> None:
        self.latency_samples = model.signal.latency_samples
        self._pending = np.zeros((channels, 0), np.float32)
        self._led_in = False

    def process(self, x: np.ndarray) -> np.ndarray:
        """As `Enhancer.process`, with shapes (channels, n) and (channels, m); the samples are taken for finite."""
        pending = np.concatenate((self._pending, x), axis=1)
        if not self._led_in:
            if pending.shape[1] < LEAD_IN_HOPS * self.hop:
                self._pending = pending
                return pending[:, :0]
            self._hear(pending)
        whole = pending.shape[1] // self.hop
        self._pending = pending[:, whole * self.hop :]
        if not whole:
            return pending[:, :0]
        hops = self._in_hops(pending, whole)
        blocks = [self._process_hops(hops[:, i : i + BLOCK_HOPS]) for i in range(0, whole, BLOCK_HOPS)]
        return np.concatenate(blocks, axis=1).reshape(len(hops), -1)

    def flush(self) -> np.ndarray:
        """As `Enhancer.flush`, shape (channels, m)."""
        if not self._led_in:
            self._hear(self._pending)
        fill = -self._pending.shape[1] % self.hop
        tail = self.process(np.zeros((len(self._pending), self.latency_samples + fill), np.float32))
        tail = np.concatenate((tail, self._drain().reshape(len(tail), -1)), axis=1)
        self._led_in = False
        return tail[:, : tail.shape[1] - fill]

    def _hear(self, beginning: np.ndarray) -> None:
        """The lead-in, of a recording's first samples, (channels, n)."""
        whole = min(beginning.shape[1] // self.hop, LEAD_IN_HOPS)
        if whole:
            self._lead_in(self._in_hops(beginning, whole))
        self._led_in = True

    def _in_hops(self, samples: np.ndarray, whole: int) -> np.ndarray:
        """The first so many hops, (channels, whole, 480)."""
        return np.ascontiguousarray(samples[:, : whole * self.hop]).reshape(len(samples), whole, self.hop)

    def _lead_in(self, hops: np.ndarray) -> None:
        """hops (channels, K, 480) are heard before the first of them is enhanced."""
        raise NotImplementedError

    def _process_hops(self, hops: np.ndarray) -> np.ndarray:
        """hops (channels, K, 480) -> those that are ready, (channels, m, 480)."""
        raise NotImplementedError

    def _drain(self) -> np.ndarray:
        """What is not yet out after the last hop, (channels, m, 480); then reset."""
        raise NotImplementedError


class LinkedEnhancer(_Channels):
    """Several channels of one recording, enhanced together.

    Parameters
    ----------
    model : Model
    channels : int
    strength_db : float or None
    linked : bool
        The channels share their band gains, so that nothing moves between them.
    effort : str
        As for `Enhancer`.
    """

    def __init__(
        self,
        model: Model,
        channels: int,
        *,
        strength_db: float | None = None,
        linked: bool = True,
        effort: str = "full",
    ) -> None:
        super().__init__(model, channels)
        self._enhancers = [Enhancer(model, strength_db=strength_db, effort=effort) for _ in range(channels)]
        self._linked = linked and channels > 1

    def _lead_in(self, hops: np.ndarray) -> None:
        for enhancer, channel in zip(self._enhancers, hops, strict=True):
            enhancer.lead_in(channel)

    def _process_hops(self, hops: np.ndarray) -> np.ndarray:
        pairs = list(zip(self._enhancers, hops, strict=True))
        if not self._linked:
            return np.stack([e.process_hops(channel) for e, channel in pairs])
        estimates = [e.estimate(channel) for e, channel in pairs]
        gain = shared_gain(estimates)
        return np.stack([e.render(own, gain) for e, own in zip(self._enhancers, estimates, strict=True)])

    def _drain(self) -> np.ndarray:
        for enhancer in self._enhancers:
            enhancer.reset()
        return np.zeros((len(self._enhancers), 0, self.hop), np.float32)


class WholeEnhancer(_Channels):
    """The same for a model that hears whole recordings: nothing is ready before a stretch and its run-up are there.

    Parameters
    ----------
    model, channels, strength_db, linked
        As for `LinkedEnhancer`.
    """

    def __init__(self, model: Model, channels: int, *, strength_db: float | None = None, linked: bool = True) -> None:
        super().__init__(model, channels)
        self._model, self._dry = model, dry_share(strength_db)
        self._linked = linked and channels > 1
        self._streams = [WholeStream(model) for _ in range(channels)]

    def _lead_in(self, hops: np.ndarray) -> None:
        for stream, channel in zip(self._streams, hops, strict=True):
            stream.lead_in(channel)

    def _process_hops(self, hops: np.ndarray) -> np.ndarray:
        for stream, channel in zip(self._streams, hops, strict=True):
            stream.analyse(channel)
        ready = self._streams[0].frames >= STRETCH_FRAMES + RUN_UP_FRAMES
        return self._run(STRETCH_FRAMES if ready else 0)

    def _drain(self) -> np.ndarray:
        rest = self._run(self._streams[0].frames)
        self._streams = [WholeStream(self._model) for _ in self._streams]
        return rest

    def _run(self, count: int) -> np.ndarray:
        """The oldest `count` frames of all channels."""
        if count == 0:
            return np.zeros((len(self._streams), 0, self.hop), np.float32)
        estimates = [[Estimate(*part) for part in stream.estimate(count)] for stream in self._streams]
        blocks = []
        for parts in zip(*estimates, strict=True):
            shared = shared_gain(list(parts)) if self._linked else None
            gains = [part.gain if shared is None else shared for part in parts]
            sounds = [
                stream.synthesise(part.frames, gain, part.strength, self._dry)
                for stream, part, gain in zip(self._streams, parts, gains, strict=True)
            ]
            blocks.append(np.stack(sounds))
        return np.concatenate(blocks, axis=1)


def shared_gain(estimates: list[Estimate]) -> np.ndarray:
    """One set of band gains for all channels: the mean of theirs, each weighted with its energy in the band.

    So the channel that a voice is loudest in rules, and a silent one has no say. Measured on 16 mixes with a
    voice in the middle, to the left, and in one channel alone: the level between the channels strays least (1.1 dB a
    frame in the middle, with the plain mean 1.2, the maximum 1.3, unlinked 3.2), and SI-SDR is the best of them all.

    Parameters
    ----------
    estimates : list of Estimate, a channel each, of K rows

    Returns
    -------
    ndarray, shape (K, bands), float32
    """
    weights = np.stack([estimate.frames.energy for estimate in estimates]) + _TINY
    gains = np.stack([estimate.gain for estimate in estimates])
    return (weights * gains).sum(0) / weights.sum(0)


class AudioStream:
    """Enhance audio of any rate and channel count in blocks, the delay removed.

    A model that hears whole recordings returns nothing for half a minute and more, then much: at the latest at the end.

    Parameters
    ----------
    sample_rate : int, Hz
    channels : int
    model, strength_db, effort : as for `Enhancer`
        At 0 dB nothing is to be done: the very samples come back.
    linked : bool
        The channels are one recording and share their gains; False: each is enhanced by itself.

    Raises
    ------
    ValueError
        A rate outside 4 to 768 kHz, no channel, an unknown model, a bad strength or no such effort.
    ImportError
        The rate is not 48 kHz and soxr is not installed.
    """

    def __init__(
        self,
        sample_rate: int,
        channels: int,
        *,
        model: Any = "default",
        strength_db: float | None = None,
        linked: bool = True,
        effort: str = "full",
    ) -> None:
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
            raise ValueError(f"sample_rate is {sample_rate!r}; accepted: a whole number of Hz")
        if not MIN_RATE_HZ <= sample_rate <= MAX_RATE_HZ:
            raise ValueError(f"sample_rate is {sample_rate}; accepted: {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
        if channels < 1:
            raise ValueError(f"channels is {channels}; accepted: 1 or more")
        loaded = load_model(model)
        enhancer: LinkedEnhancer | WholeEnhancer
        if loaded.whole_recordings:
            checked_effort(effort)  # of lean frames, which it has not
            enhancer = WholeEnhancer(loaded, channels, strength_db=strength_db, linked=linked)
        else:
            enhancer = LinkedEnhancer(loaded, channels, strength_db=strength_db, linked=linked, effort=effort)
        self._stream = Aligned(enhancer)
        self._untouched = strength_db is not None and float(strength_db) == 0
        self._channels, self._up, self._down = channels, [], []
        if sample_rate != enhancer.sample_rate and not self._untouched:
            soxr, rates = _soxr(sample_rate), (int(sample_rate), enhancer.sample_rate)
            self._up = [soxr.ResampleStream(*rates, 1, dtype="float32") for _ in range(channels)]
            self._down = [soxr.ResampleStream(*rates[::-1], 1, dtype="float32") for _ in range(channels)]
        self._given = self._returned = 0

    def process(self, x: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Enhance a block.

        Parameters
        ----------
        x : ndarray, shape (n, channels), float32 or float64
        last : bool
            The end of the signal: everything still inside is returned.

        Returns
        -------
        ndarray, shape (m, channels), float32; over the whole signal as many samples as were given. Where nothing is
        to be done (0 dB), x itself.

        Raises
        ------
        ValueError
            Wrong shape or dtype, NaN or Inf; the message names row and channel.
        """
        if x.ndim != 2 or x.shape[1] != self._channels:
            raise ValueError(f"shape is {x.shape}; accepted: (n, {self._channels})")
        samples = _checked(x, self._given)
        self._given += len(x)
        if self._untouched:
            return x
        channels = _resampled(self._up, samples.T, last)
        y = self._stream.process(channels)
        if last:
            y = np.concatenate((y, self._stream.flush()), axis=1)
        y = _resampled(self._down, y, last).T
        if last:  # resampling there and back may be off by a sample
            y = y[: self._given - self._returned]
            missing = self._given - self._returned - len(y)
            y = np.concatenate((y, np.zeros((missing, y.shape[1]), np.float32)))
        self._returned += len(y)
        return y


def enhance(
    x: np.ndarray,
    sample_rate: int,
    *,
    model: Any = "default",
    strength_db: float | None = None,
    linked: bool = True,
) -> np.ndarray:
    """Remove noise and reverberation from a whole signal.

    Parameters
    ----------
    x : ndarray, shape (n,) or (n, channels), float32 or float64
        Samples in [-1, 1]; n may be 0, and there are at most 64 channels.
    sample_rate : int, Hz
        Other rates than 48000 need soxr (``pip install pyenhance[audio]``).
    model : str, path or Model
        Also one that hears whole recordings.
    strength_db : float or None
        Largest attenuation in dB; 0 = untouched, None = no limit.
    linked : bool
        The channels are one recording and share their gains; False: each is enhanced by itself, as separate talkers
        want it.

    Returns
    -------
    ndarray of the same shape and dtype, the delay removed

    Raises
    ------
    ValueError
        Wrong dtype or shape, NaN or Inf, a bad rate, strength or model; the message names the value.
    """
    x = np.asarray(x)
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[1] == 0):
        raise ValueError(f"shape is {x.shape}; accepted: (n,) or (n, channels)")
    channels = x.shape[1] if x.ndim == 2 else 1
    if channels > MOST_CHANNELS or (channels > _PLAIN_CHANNELS and channels > len(x) > 0):
        raise ValueError(
            f"shape is {x.shape}, which is {channels} channels of {len(x)} samples; accepted: (n,) or (n, channels) "
            f"with at most {MOST_CHANNELS} channels. If it is (channels, n), pass x.T"
        )
    stream = AudioStream(sample_rate, channels, model=model, strength_db=strength_db, linked=linked)
    with one_thread():
        y = stream.process(x.reshape(len(x), channels), last=True)
    return y.astype(x.dtype).reshape(x.shape)


def _checked(x: np.ndarray, row: int = 0) -> np.ndarray:
    """Finite float32 samples, shape (n, channels), or a ValueError that names the bad one; `row` is the first's."""
    if x.dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {x.dtype}; accepted: float32, float64")
    good = np.abs(x) <= LOUDEST  # which NaN is not
    if not good.all():
        i, channel = np.argwhere(~good)[0].tolist()
        raise ValueError(
            f"x[{row + i}, {channel}] (row {row + i}, channel {channel}) is {x[i, channel]}; "
            f"accepted: finite numbers of at most {LOUDEST:.0e}, where full scale is 1, no NaN or Inf"
        )
    return x.astype(np.float32, copy=False)


def _resampled(streams: list[Any], x: np.ndarray, last: bool) -> np.ndarray:
    """Channels of shape (channels, n) through a resampler each; as they are where there is none."""
    if not streams:
        return x
    return np.stack([s.resample_chunk(np.ascontiguousarray(c), last=last) for s, c in zip(streams, x, strict=True)])


def _soxr(rate_hz: int) -> Any:
    try:
        import soxr
    except ImportError as error:
        raise ImportError(f"a sample rate of {rate_hz} Hz needs soxr: pip install 'pyenhance[audio]'") from error
    return soxr
