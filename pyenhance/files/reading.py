"""Readers of audio files: libsndfile, and PyAV for what that does not know."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .disk import Disk, opened, reason
from .headers import EMPTY_BYTES, unfinished

_MOST_PADDING = 4096  # samples that an encoder adds to fill its last packet
_UNKNOWN_FRAMES = 1 << 62  # what libsndfile says of a FLAC file whose header does not tell its length

# Of files that libsndfile turns down, by their first bytes: FFmpeg's demuxer. Only these, as FFmpeg's own guessing
# finds sound in anything.
_DEMUXERS = (
    (4, b"ftyp", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"caff", "caf"),
)


class Reader:
    """An audio file being read.

    Attributes
    ----------
    sample_rate : int, Hz
    channels : int
    frames : int or None
        As the file tells; None where it does not.
    exact : bool
        Whether `frames` is more than an estimate.
    container, subtype : str
        By libsndfile's names; subtype "LOSSY" for what else was compressed with a loss.
    tags : dict of str to str
        What FFmpeg found; nothing where libsndfile reads.
    """

    sample_rate: int
    channels: int
    frames: int | None
    container: str
    subtype: str
    exact = True

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """The sound in pieces of `frames`, the last one shorter; shape (n, channels), float64, integers exactly.

        Raises
        ------
        ValueError, OSError
            The file is damaged or cannot be read on.
        """
        raise NotImplementedError


def open_audio(path: Path) -> Reader:
    """A reader for an audio file.

    Raises
    ------
    OSError
        The file cannot be opened or read, with the system's reason.
    ValueError
        It is no audio that can be read here.
    ImportError
        soundfile is not installed, or PyAV is needed and is not.
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("audio files need soundfile: pip install 'pyenhance[audio]'") from error
    file = opened(path)
    try:
        head = file.read(16)
        file.seek(0)
        demuxer = next((name for at, magic, name in _DEMUXERS if head[at:].startswith(magic)), None)
        try:
            reader = _SoundFileReader(soundfile, file)
        except soundfile.SoundFileError as error:
            if demuxer is None:
                what = "" if head else "; the file is empty"
                raise ValueError(f"no audio file that can be read ({reason(error)}{what})") from None
            return _PyAVReader(file, demuxer)
        if reader.frames is None and demuxer == "flac":
            reader.__exit__()
            file = opened(path)
            return _PyAVReader(file, demuxer)
        return reader
    except BaseException:
        file.close()
        raise


def can_read_av() -> bool:
    """Whether PyAV is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class _SoundFileReader(Reader):
    def __init__(self, soundfile: Any, file: Any) -> None:
        super().__init__()
        self._errors = soundfile.SoundFileError
        self._disk = Disk(file, unfinished(file))
        file.seek(0)
        try:
            self._sound = soundfile.SoundFile(self._disk)
        finally:
            self._disk.check()
        self._stack.callback(file.close)
        self._stack.callback(self._sound.close)
        sound = self._sound
        self.sample_rate, self.channels = sound.samplerate, sound.channels
        self.container, self.subtype = sound.format, sound.subtype
        self.frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else None
        if self.frames == 0:
            size = file.seek(0, 2)
            if size > EMPTY_BYTES and self.container not in ("WAV", "WAVEX", "RF64", "AIFF"):
                raise ValueError(f"its header tells of no sound, and it is {size} bytes long: is it complete?")
            file.seek(0)

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        whole = True
        while whole:
            try:
                block = self._sound.read(frames, dtype="float64", always_2d=True)
            except self._errors as error:
                self._disk.check()
                raise ValueError(reason(error)) from None
            self._disk.check()
            whole = len(block) == frames
            yield block


class _PyAVReader(Reader):
    exact = False

    def __init__(self, file: Any, demuxer: str) -> None:
        super().__init__()
        try:
            import av
        except ImportError as error:
            raise ImportError("such a file needs PyAV: pip install 'pyenhance[audio]'") from error
        self._stack.callback(file.close)
        file.seek(0)
        self._error = av.FFmpegError
        with self._told():
            container = self._stack.enter_context(av.open(file, format=demuxer))
            if not container.streams.audio:
                raise ValueError("it holds no sound")
            stream = container.streams.audio[0]
            self.tags = {**container.metadata, **stream.metadata}
            self._frames = container.decode(stream)
            first = next(self._frames, None)
        if first is None:
            raise ValueError("it holds no sound")
        self._pending = [first]
        self.sample_rate, self.channels = first.sample_rate, first.layout.nb_channels
        self.container, self.subtype = demuxer.upper(), _subtype(stream.codec_context)
        self.frames, self._padding = None, 0
        if stream.duration:
            self.frames = round(stream.duration * stream.time_base * self.sample_rate)
            self._padding = _MOST_PADDING if demuxer == "mov" else 0
        elif container.duration:
            self.frames = round(container.duration * self.sample_rate / av.time_base)
        # Packed: of eight planes and more, PyAV reads one too many.
        self._to_double = av.AudioResampler(format="dbl", layout=first.layout, rate=self.sample_rate)

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        pieces: list[np.ndarray] = []
        held = done = 0
        for piece in self._pieces():
            pieces.append(piece)
            held += len(piece)
            while held >= frames + self._padding:
                x = np.concatenate(pieces)
                yield x[:frames]
                pieces, held, done = [x[frames:]], held - frames, done + frames
        x = np.concatenate((np.zeros((0, self.channels)), *pieces))
        excess = done + held - (self.frames or 0)
        if 0 < excess <= self._padding:  # of the last packet, which the file's length leaves out
            x = x[: max(held - excess, 0)]
        while len(x) >= frames:
            yield x[:frames]
            x = x[frames:]
        yield x

    def _pieces(self) -> Iterator[np.ndarray]:
        frame: Any = self._pending.pop()
        while True:
            with self._told():
                for converted in self._to_double.resample(frame):
                    yield converted.to_ndarray().reshape(-1, self.channels)
                if frame is None:
                    return
                frame = next(self._frames, None)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """FFmpeg's errors in one line, without a name that is not the file's."""
        try:
            yield
        except self._error as error:
            raise ValueError(f"FFmpeg: {error.strerror}") from None


def _subtype(codec: Any) -> str:
    """What libsndfile would call it."""
    if not codec.codec.lossless:
        return "LOSSY"
    return {"s16": "PCM_16", "s32": "PCM_24", "u8": "PCM_U8", "flt": "FLOAT", "dbl": "DOUBLE"}.get(
        codec.format.name.rstrip("p"), "PCM_16"
    )
