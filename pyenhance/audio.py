"""Whole signals and files: any rate, any channel count, through the same streaming core."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .dsp import SAMPLE_RATE
from .enhancer import Enhancer, checked_samples
from .model import load_model
from .threads import one_thread

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 768_000
_BLOCK_SECONDS = 5


class _Channel:
    """One channel: resample to 48 kHz, enhance, drop the delay, resample back."""

    def __init__(self, rate_hz: int, model: Any, strength_db: float | None) -> None:
        self.enhancer = Enhancer(model, strength_db=strength_db)
        self.skip = self.enhancer.latency_samples
        self.up = self.down = None
        if rate_hz != self.enhancer.sample_rate:
            soxr = _need("soxr", f"a sample rate of {rate_hz} Hz")
            self.up = soxr.ResampleStream(rate_hz, self.enhancer.sample_rate, 1, dtype="float32")
            self.down = soxr.ResampleStream(self.enhancer.sample_rate, rate_hz, 1, dtype="float32")

    def process(self, x: np.ndarray, last: bool) -> np.ndarray:
        if self.up is not None:
            x = self.up.resample_chunk(x, last=last)
        y = self.enhancer.process(x)
        if last:
            y = np.concatenate((y, self.enhancer.flush()))
        dropped = min(self.skip, len(y))
        self.skip -= dropped
        y = y[dropped:]
        return y if self.down is None else self.down.resample_chunk(y, last=last)


class AudioStream:
    """Enhance audio of any rate and channel count in blocks, the delay removed.

    Parameters
    ----------
    sample_rate : int, Hz
    channels : int
    model, strength_db : as for `Enhancer`

    Raises
    ------
    ValueError
        A rate outside 4 to 768 kHz, no channel, an unknown model or a bad strength.
    ImportError
        The rate is not 48 kHz and soxr is not installed.
    """

    def __init__(
        self, sample_rate: int, channels: int, *, model: Any = "default", strength_db: float | None = None
    ) -> None:
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
            raise ValueError(f"sample_rate is {sample_rate!r}; accepted: a whole number of Hz")
        if not MIN_RATE_HZ <= sample_rate <= MAX_RATE_HZ:
            raise ValueError(f"sample_rate is {sample_rate}; accepted: {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
        if channels < 1:
            raise ValueError(f"channels is {channels}; accepted: 1 or more")
        model = load_model(model)
        self._channels = [_Channel(int(sample_rate), model, strength_db) for _ in range(channels)]
        self._given = self._returned = 0

    def process(self, x: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Enhance a block.

        Parameters
        ----------
        x : ndarray, shape (n, channels), float32
        last : bool
            The end of the signal: everything still inside is returned.

        Returns
        -------
        ndarray, shape (m, channels), float32; over the whole signal as many samples as were given.
        """
        parts = [c.process(np.ascontiguousarray(x[:, i]), last) for i, c in enumerate(self._channels)]
        y = np.stack(parts, axis=1)
        self._given += len(x)
        if last:  # resampling there and back may be off by a sample
            y = y[: self._given - self._returned]
            missing = self._given - self._returned - len(y)
            y = np.concatenate((y, np.zeros((missing, y.shape[1]), np.float32)))
        self._returned += len(y)
        return y


def enhance(x: np.ndarray, sample_rate: int, *, model: Any = "default", strength_db: float | None = None) -> np.ndarray:
    """Remove noise and reverberation from a whole signal.

    Parameters
    ----------
    x : ndarray, shape (n,) or (n, channels), float32 or float64
        Samples in [-1, 1]; n may be 0.
    sample_rate : int, Hz
        Other rates than 48000 need soxr (``pip install pyenhance[audio]``).
    model : str, path or Model
    strength_db : float or None
        Largest attenuation in dB; 0 = untouched, None = no limit.

    Returns
    -------
    ndarray of the same shape and dtype; channels are enhanced independently and the delay is removed.

    Raises
    ------
    ValueError
        Wrong dtype or shape, NaN or Inf, a bad rate, strength or model; the message names the value.
    """
    x = np.asarray(x)
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[1] == 0):
        raise ValueError(f"shape is {x.shape}; accepted: (n,) or (n, channels)")
    columns = x.reshape(len(x), -1) if x.size else np.zeros((0, x.shape[1] if x.ndim == 2 else 1), x.dtype)
    samples = checked_samples(columns.ravel()).reshape(columns.shape)
    stream = AudioStream(sample_rate, columns.shape[1], model=model, strength_db=strength_db)
    return stream.process(samples, last=True).astype(x.dtype, copy=False).reshape(x.shape)


def read_audio(path: Path) -> np.ndarray:
    """A whole file, its channels averaged, at 48 kHz; shape (n,), float32.

    Raises
    ------
    soundfile.LibsndfileError
        The file cannot be read.
    """
    x, rate = _need("soundfile", "audio files").read(path, dtype="float32", always_2d=True)
    mono = x.mean(1)
    return mono if rate == SAMPLE_RATE else _need("soxr", f"{rate} Hz").resample(mono, rate, SAMPLE_RATE)


def denoise_file(
    source: Path,
    target: Path,
    *,
    model: Any = "default",
    strength_db: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Enhance an audio file in constant memory.

    Parameters
    ----------
    source, target : Path
        WAV, FLAC, Ogg or whatever libsndfile reads. The target has the source's length, rate, channels and, where its
        format knows it, subtype. It appears whole or not at all.
    on_progress : callable, optional
        Called with samples done and samples in all.

    Returns
    -------
    dict: seconds of audio, elapsed seconds, real_time_factor, sample_rate, channels

    Raises
    ------
    ValueError
        The file holds NaN or Inf, or its rate is not accepted.
    soundfile.LibsndfileError, OSError
        The source cannot be read or the target not written.
    """
    soundfile = _need("soundfile", "audio files")
    begin = time.perf_counter()
    with one_thread(), soundfile.SoundFile(source) as reader:
        rate, channels, total = reader.samplerate, reader.channels, reader.frames
        stream = AudioStream(rate, channels, model=model, strength_db=strength_db)
        kind = _format_of(soundfile, reader, target)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        try:
            with soundfile.SoundFile(name, "w", rate, channels, **kind) as writer:
                done = 0
                while True:
                    block = reader.read(_BLOCK_SECONDS * rate, dtype="float32", always_2d=True)
                    if not np.isfinite(block).all():
                        raise ValueError(f"{source} holds samples that are NaN or Inf; accepted: finite samples")
                    last = len(block) < _BLOCK_SECONDS * rate
                    writer.write(stream.process(block, last=last))
                    done += len(block)
                    if on_progress:
                        on_progress(done, total)
                    if last:
                        break
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    elapsed = time.perf_counter() - begin
    return {
        "seconds": done / rate,
        "elapsed": elapsed,
        "real_time_factor": elapsed / max(done / rate, 1e-9),
        "sample_rate": rate,
        "channels": channels,
    }


def _format_of(soundfile: Any, reader: Any, target: Path) -> dict[str, str]:
    """Format and subtype of the target: the source's own, or what the target's suffix asks for."""
    suffix = target.suffix.lstrip(".").upper()
    wanted = {"OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV", "AIF": "AIFF"}.get(suffix, suffix)
    same = wanted == reader.format or (wanted == "WAV" and reader.format == "WAVEX")
    kind = reader.format if same else wanted
    if kind not in soundfile.available_formats():
        raise ValueError(f"target {target.name!r} ends in {target.suffix!r}; accepted: .wav, .flac, .ogg")
    subtype = reader.subtype
    if not soundfile.check_format(kind, subtype):
        subtype = soundfile.default_subtype(kind)
    return {"format": kind, "subtype": subtype}


def _umask() -> int:
    """The process's file mode mask (it can only be read by setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _need(module: str, what: str) -> Any:
    try:
        return __import__(module)
    except ImportError as error:
        raise ImportError(f"{what} needs {module}: pip install 'pyenhance[audio]'") from error
