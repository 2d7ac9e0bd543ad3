"""Writing a result: rounded, checked by reading it back, and under its name only when it is whole."""

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .disk import Disk, WholeFile, reason
from .formats import BLOCKS, RIFF_BYTES, Format, bounded, too_large

TEMPORARY_PREFIX = ".pyenhance-"
"""Of a result's name until it is whole: short, as the target's own may be as long as names get."""

_TAIL_FRAMES = 48_000  # at the end of a result that are decoded again
_MOST_BLOCK_FRAMES = 16_384  # by which an encoding in blocks may fill up the end


class Writer:
    """An audio file that is being made; leaving a ``with`` before `finish` leaves nothing.

    Parameters
    ----------
    target : Path
    kind : Format
    sample_rate : int, Hz
    channels : int
    prefix : str
        Of the temporary file beside the target.

    Raises
    ------
    OSError
        The target's folder cannot be written to, with the system's reason and the target's name.
    ValueError
        libsndfile does not write such a file.
    """

    def __init__(
        self, target: Path, kind: Format, sample_rate: int, channels: int, prefix: str = TEMPORARY_PREFIX
    ) -> None:
        import soundfile

        self._soundfile, self._target, self._kind = soundfile, target, kind
        self._shape = sample_rate, channels
        self._frames = 0
        self._temporary = target.parent / f"{prefix}{secrets.token_hex(6)}.part"
        self._sound: Any = None
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self._file = WholeFile(os.open(self._temporary, flags, 0o666), "r+b")
        except OSError as error:
            raise self._named(error) from None
        try:
            self._disk = Disk(self._file)
            container = {"format": kind.container, "subtype": kind.subtype}
            self._sound = self._call(soundfile.SoundFile, self._disk, "w", sample_rate, channels, **container)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def write(self, x: np.ndarray) -> None:
        """More sound.

        Parameters
        ----------
        x : ndarray, shape (n, channels), float32 or float64
            Rounded to the nearest step of the encoding, so that the mean error is zero; beyond [-1, 1] it is clipped
            where the encoding ends there.

        Raises
        ------
        OSError, ValueError
            As the class; and where 4 GB are all that the container holds.
        """
        self._call(self._sound.write, x if self._kind.bits is None else to_integers(x, self._kind))
        self._frames += len(x)
        if bounded(self._kind.container) and self._disk.tell() > RIFF_BYTES:
            raise too_large(self._kind.container)

    def finish(self, add: Callable[[WholeFile], None] | None = None) -> None:
        """Close, check and give the result its name.

        Parameters
        ----------
        add : callable, optional
            Called with the closed file, open for reading and writing, to add what is not sound.

        Raises
        ------
        OSError, ValueError
            As the class; or less can be read back than was written.
        """
        sound, self._sound = self._sound, None
        self._call(sound.close)
        try:
            if add is not None:
                self._check()
                add(self._file)
            os.fsync(self._file.fileno())  # some file systems tell of a full disk only now
            self._check()
            self._file.close()
            os.replace(self._temporary, self._target)
        except OSError as error:
            raise self._named(error) from None

    def _check(self) -> None:
        """Read back: the number of frames, and the last of them."""
        disk, want = Disk(self._file), self._frames
        self._file.seek(0)
        try:
            with self._soundfile.SoundFile(disk) as sound:
                found = sound.frames
                if sound.seekable():
                    start = max(0, want - _TAIL_FRAMES)
                    sound.seek(start)
                    found = min(found, start + len(sound.read(want - start, dtype="float32")))
                if self._kind.subtype in BLOCKS:
                    found = want if want <= sound.frames <= want + _MOST_BLOCK_FRAMES else sound.frames
                same = (sound.samplerate, sound.channels) == self._shape and found == want
        except self._soundfile.SoundFileError as error:
            disk.check()
            if want == 0:
                raise ValueError(f"{self._kind} cannot hold 0 frames of sound") from None
            raise OSError(errno.EIO, f"what was written cannot be read back ({reason(error)})") from None
        if not same:
            raise OSError(errno.EIO, f"of {want} frames that were written {found} can be read back")

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call libsndfile; an error of the disk comes before what libsndfile makes of it."""
        try:
            result = function(*arguments, **options)
        except (self._soundfile.SoundFileError, AssertionError, ValueError) as error:
            try:
                self._disk.check()
            except OSError as first:
                raise self._named(first) from None
            raise ValueError(f"{self._kind} cannot be written: {reason(error)}") from None
        try:
            self._disk.check()
        except OSError as error:
            raise self._named(error) from None
        return result

    def _named(self, error: OSError) -> OSError:
        """An error that names the target and not our file beside it."""
        return OSError(error.errno or errno.EIO, error.strerror or str(error), str(self._target))

    def _discard(self) -> None:
        """Leave nothing, whatever state it is in."""
        if self._sound is not None:
            with suppress(Exception):
                self._sound.close()
            self._sound = None
        with suppress(OSError, ValueError):
            self._file.close()
        with suppress(OSError):
            os.unlink(self._temporary)


def to_integers(x: np.ndarray, kind: Format) -> np.ndarray:
    """The nearest integers of an encoding, at the upper end of 32 bits as libsndfile takes them; int32, x's shape."""
    assert kind.bits is not None
    full = 2.0 ** (kind.bits - 1)
    y = np.rint(x.astype(np.float64) * full)
    low = 1 - full if kind.subtype in ("ULAW", "ALAW") else -full  # libsndfile changes the sign there
    return np.clip(y, low, full - 1, out=y).astype(np.int32) << np.int32(32 - kind.bits)
