"""Containers and encodings: which a target gets, and in words why it gets none."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTAINERS = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".bwf": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".aifc": "AIFF",
    ".caf": "CAF",
    ".au": "AU",
    ".snd": "AU",
    ".w64": "W64",
    ".rf64": "RF64",
}
"""Suffixes that are read and written, and the containers that libsndfile writes for them."""

READ_BY_PYAV = frozenset(
    {".m4a", ".mp4", ".aac", ".webm", ".weba", ".mov", ".mkv", ".mka", ".m4v", ".m4b", ".3gp", ".wma", ".amr"}
)
"""Suffixes that are read where PyAV is installed; what is made of them in a folder is FLAC."""

SUFFIXES = frozenset(CONTAINERS) | READ_BY_PYAV
"""What is taken from a folder; a file that is named may be anything that can be read."""

BITS = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "ALAC_16": 16,
    "ALAC_20": 20,
    "ALAC_24": 24,
    "ALAC_32": 32,
    "DWVW_12": 12,
    "DWVW_24": 24,
    "DPCM_8": 8,
    "ULAW": 14,
    "ALAW": 32,
}
"""Of the integers that an encoding starts from; what is not here, nor below, starts from 16 (ADPCM, GSM). A-law's own
13 bits are found by libsndfile, towards zero on both sides."""

REAL = frozenset({"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"})
"""Encodings that take numbers that are no integers."""

BLOCKS = frozenset({"IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "G723_24", "G723_40", "VOX_ADPCM"})
"""Encodings in blocks of samples, the last of which is filled up."""

LOSSY = frozenset({"VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "LOSSY"})

_INTEGERS = ("PCM_16", "PCM_24", "PCM_32")
_NEAREST = {
    "FLOAT": ("DOUBLE", "PCM_32", "PCM_24", "PCM_16"),
    "DOUBLE": ("FLOAT", "PCM_32", "PCM_24", "PCM_16"),
    "PCM_32": ("ALAC_32", "DOUBLE", "PCM_24", "PCM_16"),
    "ALAC_32": ("PCM_32", "DOUBLE", "PCM_24", "PCM_16"),
    "PCM_24": ("ALAC_24", "PCM_32", "FLOAT", "PCM_16"),
    "ALAC_24": ("PCM_24", "PCM_32", "FLOAT", "PCM_16"),
    "ALAC_20": ("PCM_24", "ALAC_24", "PCM_32", "FLOAT", "PCM_16"),
    "PCM_U8": ("PCM_S8", *_INTEGERS),
    "PCM_S8": ("PCM_U8", *_INTEGERS),
}
"""What holds as much where a container lacks an encoding, nearest first; the others' come from 16 bits."""

RIFF_BYTES = (1 << 32) - (1 << 20)
"""That containers with sizes of 32 bits hold; the rest is for what is not sound."""

_BOUNDED = {"WAV": "RF64", "WAVEX": "RF64", "AIFF": None, "AU": None}  # and what is written in their place

_VORBIS_LIMITS = 200_000, 255  # Hz, channels; libsndfile crashes beyond
_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
_NAMES = {"MPEG_LAYER_III": "MP3", "OPUS": "Opus", "VORBIS": "Vorbis"}


@dataclass(frozen=True)
class Format:
    """A container and an encoding, by libsndfile's names."""

    container: str
    subtype: str

    @property
    def bits(self) -> int | None:
        """Of its integers, or None where it takes any numbers."""
        return None if self.subtype in REAL else BITS.get(self.subtype, 16)

    def __str__(self) -> str:
        return _NAMES.get(self.subtype) or f"{self.container.replace('WAVEX', 'WAV')} ({self.subtype})"


def choose(source: Any, target: Path, *, extensible: bool = False) -> Format:
    """The target's container and encoding: the source's own, or the nearest that the target's suffix allows.

    Parameters
    ----------
    source : a reader of `reading`
    target : Path
    extensible : bool
        A WAV file must be able to say which channel is which loudspeaker's.

    Returns
    -------
    Format

    Raises
    ------
    ValueError
        The suffix is not one that can be written, or its format does not take the source's rate, channels or length;
        the message names what it takes.
    """
    suffix = target.suffix.lower()
    container = CONTAINERS.get(suffix)
    if container is None and source.container == suffix[1:].upper():
        container = source.container  # one of libsndfile's rarer ones, kept
    if container is None:
        what = "can be read and not written" if suffix in READ_BY_PYAV else "is not known"
        raise ValueError(f"target {target.name!r}: {suffix or 'no suffix'} {what}; accepted: {', '.join(CONTAINERS)}")
    if container == "WAV" and (source.container in ("WAVEX", "RF64") or extensible):
        container = source.container if source.container == "RF64" else "WAVEX"
    first = _subtypes(source.subtype, container, suffix)
    subtypes = [s for s in first if _opens(container, s, source.sample_rate, source.channels)]
    if not subtypes:
        raise ValueError(_why_not(Format(container, first[0]), source.sample_rate, source.channels))
    found = Format(container, subtypes[0])
    size = (source.frames or 0) * source.channels * _sample_bytes(found)
    if container in _BOUNDED and size > RIFF_BYTES:
        large = _BOUNDED[container]
        if large is None:
            raise ValueError(f"{size:.0f} bytes of sound; accepted for {container}: 4 GB; {_LARGE}")
        found = Format(large, next(s for s in (*subtypes, "PCM_16") if _known(large, s)))
    return found


_LARGE = "more go into .wav (as RF64), .rf64, .w64, .caf or .flac"


def _sample_bytes(kind: Format) -> float:
    if kind.subtype in BLOCKS | {"ULAW", "ALAW"}:
        return 1 if kind.subtype in ("ULAW", "ALAW") else 0.6
    return {"FLOAT": 4, "DOUBLE": 8}.get(kind.subtype, (kind.bits or 16) / 8)


def bounded(container: str) -> bool:
    """Whether it counts its bytes with 32 bits."""
    return container in _BOUNDED


def too_large(container: str) -> ValueError:
    """The error where a bounded container's end is reached."""
    return ValueError(f"more than 4 GB of sound, whose length was not known before, for {container}; {_LARGE}")


def _subtypes(subtype: str, container: str, suffix: str) -> list[str]:
    """Encodings to try, best first."""
    if container == "OGG":
        return ["OPUS"] if suffix == ".opus" or subtype == "OPUS" else ["VORBIS"]
    if container == "MP3":
        return ["MPEG_LAYER_III"]
    wanted = (subtype, *_NEAREST.get(subtype, _INTEGERS), "PCM_S8", "FLOAT", "ALAC_16")
    return [s for s in dict.fromkeys(wanted) if s not in LOSSY and _known(container, s)] or ["PCM_16"]


def _known(container: str, subtype: str) -> bool:
    import soundfile

    return soundfile.check_format(container, subtype)


def _opens(container: str, subtype: str, rate_hz: int, channels: int) -> bool:
    """Whether libsndfile really writes it: `check_format` also says yes to what can only be read."""
    import soundfile

    most_hz, most_channels = _VORBIS_LIMITS
    if subtype == "VORBIS" and not (rate_hz <= most_hz and channels <= most_channels):
        return False
    try:
        soundfile.SoundFile(io.BytesIO(), "w", rate_hz, channels, format=container, subtype=subtype).close()
    except (soundfile.SoundFileError, ValueError):
        return False
    return True


def _why_not(wanted: Format, rate_hz: int, channels: int) -> str:
    """Which of rate and channels a format does not take, and what it takes."""
    kind = wanted.container, wanted.subtype
    if _opens(*kind, rate_hz, 1):
        most = next(n for n in range(channels - 1, 0, -1) if _opens(*kind, rate_hz, n))
        return f"{wanted} does not take {channels} channels; accepted: {'1' if most == 1 else f'1 to {most}'}"
    rates = [rate for rate in _RATES if _opens(*kind, rate, 1)]
    if rates:
        return f"{wanted} does not take a sample rate of {rate_hz} Hz; accepted: {', '.join(map(str, rates))}"
    return f"{wanted} cannot be written here"
