"""Cue points: places in a recording that have a name. WAV, AIFF and FLAC keep them."""

import struct
from dataclasses import dataclass
from typing import Any

from .tags import text_of

_MOST = 10_000
_MOST_FLAC = 254


@dataclass(frozen=True)
class Cue:
    """A place, in samples from the start, and its label."""

    at: int
    label: str = ""


def from_wav(cue: bytes, lists: list[bytes]) -> list[Cue]:
    """Cues of a WAV file's chunk `cue ` and the lists `adtl`, their payloads with the list's name."""
    labels: dict[int, str] = {}
    for payload in lists:
        at = 4
        while at + 12 <= len(payload):
            name, size, number = struct.unpack("<4sII", payload[at : at + 12])
            if name == b"labl":
                labels[number] = text_of(payload[at + 12 : at + 8 + size])
            at += 8 + size + size % 2
    found = []
    for i in range(min(struct.unpack("<I", cue[:4].ljust(4, b"\0"))[0], (len(cue) - 4) // 24, _MOST)):
        number, _, _, _, _, place = struct.unpack("<II4sIII", cue[4 + 24 * i : 28 + 24 * i])
        found.append(Cue(place, labels.get(number, "")))
    return found


def to_wav(cues: list[Cue]) -> list[tuple[bytes, bytes]]:
    """A chunk `cue ` and, where there are labels, a list `adtl`."""
    points = [struct.pack("<II4sIII", i, c.at, b"data", 0, 0, c.at) for i, c in enumerate(cues, 1)]
    chunks = [(b"cue ", struct.pack("<I", len(cues)) + b"".join(points))]
    labels = b""
    for i, cue in enumerate(cues, 1):
        if cue.label:
            text = cue.label.encode("utf-8", "replace") + b"\0"
            labels += struct.pack("<4sII", b"labl", 4 + len(text), i) + text + b"\0" * (len(text) % 2)
    return [*chunks, (b"LIST", b"adtl" + labels)] if labels else chunks


def from_aiff(mark: bytes) -> list[Cue]:
    """Cues of an AIFF file's chunk `MARK`."""
    found, at = [], 2
    for _ in range(struct.unpack(">H", mark[:2].ljust(2, b"\0"))[0]):
        if at + 7 > len(mark):
            break
        _, place, size = struct.unpack(">HIB", mark[at : at + 7])
        found.append(Cue(place, text_of(mark[at + 7 : at + 7 + size])))
        at += 7 + size + (size + 1) % 2
    return found


def to_aiff(cues: list[Cue]) -> list[tuple[bytes, bytes]]:
    """A chunk `MARK`."""
    marks = []
    for i, cue in enumerate(cues, 1):
        text = cue.label.encode("utf-8", "replace")[:254]
        marks.append(struct.pack(">HIB", i, cue.at, len(text)) + text + b"\0" * ((len(text) + 1) % 2))
    return [(b"MARK", struct.pack(">H", len(cues)) + b"".join(marks))]


def from_flac(sheet: Any) -> list[Cue]:
    """Cues of a FLAC file's cue sheet, its lead-out left out."""
    return [Cue(track.start_offset) for track in sheet.tracks if track.track_number not in (170, 255)]


def to_flac(cues: list[Cue], frames: int) -> Any:
    """A cue sheet; it has no labels and at most 254 places."""
    from mutagen.flac import CueSheet, CueSheetTrack, CueSheetTrackIndex

    sheet = CueSheet(None)
    sheet.compact_disc = False
    for i, cue in enumerate(cues[:_MOST_FLAC], 1):
        track = CueSheetTrack(i, cue.at)
        track.indexes.append(CueSheetTrackIndex(1, 0))
        sheet.tracks.append(track)
    sheet.tracks.append(CueSheetTrack(255, frames))
    return sheet


def flac_holds(cues: list[Cue]) -> bool:
    """Whether a cue sheet has all of it."""
    return len(cues) <= _MOST_FLAC and not any(cue.label for cue in cues)
