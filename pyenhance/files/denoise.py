"""One file from its source to its target, in constant memory."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..channels import AudioStream
from ..dsp import SAMPLE_RATE
from ..threads import one_thread
from .formats import choose
from .metadata import read_metadata
from .reading import open_audio
from .writing import TEMPORARY_PREFIX, Writer

_BLOCK_SAMPLES = 240_000  # of all channels together: five seconds of one at 48 kHz


def read_audio(path: Path) -> np.ndarray:
    """A whole file, its channels averaged, at 48 kHz; shape (n,), float32.

    Raises
    ------
    OSError, ValueError, ImportError
        As `denoise_file`.
    """
    with open_audio(path) as reader:
        rate = reader.sample_rate
        mono = np.concatenate([block.mean(1) for block in reader.blocks(_BLOCK_SAMPLES)]).astype(np.float32)
    if rate == SAMPLE_RATE:
        return mono
    import soxr

    return soxr.resample(mono, rate, SAMPLE_RATE)


def denoise_file(
    source: Path,
    target: Path,
    *,
    model: Any = "default",
    strength_db: float | None = None,
    linked: bool = True,
    effort: str = "full",
    on_progress: Callable[[int, int], None] | None = None,
    prefix: str = TEMPORARY_PREFIX,
) -> dict[str, Any]:
    """Enhance an audio file in constant memory.

    Parameters
    ----------
    source, target : Path
        WAV, FLAC, Ogg or whatever libsndfile reads; M4A, MP4, WebM and some more with PyAV. The target has the source's
        length, rate and channels, its tags and, where its format knows it, its encoding, else the nearest. It appears
        whole or not at all.
    model, strength_db, linked : as for `enhance`
        At 0 dB the samples are copied.
    effort : as for `Enhancer`
    on_progress : callable, optional
        Called with samples done and samples in all. What it raises stops the work and leaves no file.
    prefix : str
        Of the temporary file beside the target.

    Returns
    -------
    dict
        seconds of audio, elapsed seconds, real_time_factor, sample_rate, channels, and notes: what the target's
        container cannot hold, what could not be read, a line each.

    Raises
    ------
    ValueError
        The source is no audio, is damaged, or holds NaN or Inf; its rate is not accepted; or the target's format is
        unknown or does not take such sound.
    OSError
        The source cannot be read or the target not written, with the system's reason.
    ImportError
        A package that the formats need is missing.
    """
    source, target = Path(source), Path(target)
    begin = time.perf_counter()
    with one_thread(), open_audio(source) as reader:
        rate, channels, total = reader.sample_rate, reader.channels, reader.frames
        stream = AudioStream(rate, channels, model=model, strength_db=strength_db, linked=linked, effort=effort)
        metadata = read_metadata(source, reader)
        kind = choose(reader, target, extensible=metadata.channel_mask is not None)
        with Writer(target, kind, rate, channels, prefix) as writer:
            done = 0
            size = max(_BLOCK_SAMPLES // channels, 4096)
            for block in reader.blocks(size):
                writer.write(stream.process(block, last=len(block) < size))
                done += len(block)
                if on_progress:
                    on_progress(done, max(done, total or 0))
            notes: list[str] = []
            writer.finish(lambda file: notes.extend(metadata.write(file, kind.container)))
    if reader.exact and total and done < total:
        notes.append(f"only {done} of the {total} frames that a header tells of are there")
    elapsed = time.perf_counter() - begin
    return {
        "seconds": done / rate,
        "elapsed": elapsed,
        "real_time_factor": elapsed / max(done / rate, 1e-9),
        "sample_rate": rate,
        "channels": channels,
        "notes": notes,
    }
