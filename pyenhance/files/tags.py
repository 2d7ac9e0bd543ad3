"""Tags by one set of names, Vorbis comments' in small letters, and where each kind of file keeps them."""

import base64
import io
import struct
from typing import Any

Tags = dict[str, list[str]]

INFO = {
    b"INAM": "title",
    b"IART": "artist",
    b"IPRD": "album",
    b"ICRD": "date",
    b"IGNR": "genre",
    b"ICMT": "comment",
    b"ICOP": "copyright",
    b"ITRK": "tracknumber",
    b"IPRT": "tracknumber",
    b"ILNG": "language",
    b"IENG": "engineer",
    b"ISBJ": "subject",
    b"IKEY": "keywords",
    b"IMUS": "composer",
    b"ISRC": "source",
    b"ITCH": "encoded-by",
}
"""Of the list INFO in WAV files."""

AIFF_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"ANNO": "comment", b"(c) ": "copyright"}

_ID3 = {
    "TIT2": "title",
    "TPE1": "artist",
    "TALB": "album",
    "TDRC": "date",
    "TCON": "genre",
    "TCOP": "copyright",
    "TRCK": "tracknumber",
    "TPOS": "discnumber",
    "TCOM": "composer",
    "TPE2": "albumartist",
    "TPE3": "conductor",
    "TEXT": "lyricist",
    "TENC": "encoded-by",
    "TLAN": "language",
    "TPUB": "organization",
    "TSRC": "isrc",
    "TBPM": "bpm",
    "TIT1": "grouping",
    "TIT3": "subtitle",
}
_MP4 = {
    "\xa9nam": "title",
    "\xa9ART": "artist",
    "\xa9alb": "album",
    "\xa9day": "date",
    "\xa9gen": "genre",
    "\xa9cmt": "comment",
    "cprt": "copyright",
    "\xa9wrt": "composer",
    "aART": "albumartist",
    "\xa9grp": "grouping",
    "\xa9lyr": "lyrics",
    "desc": "description",
    "trkn": "tracknumber",
    "disk": "discnumber",
    "tmpo": "bpm",
}
ENCODERS = frozenset(
    {"encoder", "software", "encoded_by_software", "major_brand", "minor_version", "compatible_brands"}
)
"""Not copied: they tell of the program that wrote the source."""


def add(tags: Tags, name: str, value: str) -> None:
    """One more value, unless it is empty, there already, or an encoder's."""
    name, value = name.lower(), value.strip("\0 ")
    if value and name not in ENCODERS and value not in tags.get(name, []):
        tags.setdefault(name, []).append(value)


def from_id3(id3: Any, tags: Tags) -> tuple[list[Any], list[str]]:
    """Add ID3 frames to tags; returns the pictures and the names of frames that are neither."""
    from mutagen.flac import Picture

    pictures, others = [], set()
    for frame in id3.values():
        if frame.FrameID in _ID3:
            for text in frame.text:
                add(tags, _ID3[frame.FrameID], str(text))
        elif frame.FrameID in ("TXXX", "COMM", "USLT"):
            name = {"TXXX": frame.desc or "comment", "COMM": "comment", "USLT": "lyrics"}[frame.FrameID]
            for text in [frame.text] if isinstance(frame.text, str) else frame.text:
                add(tags, name, str(text))
        elif frame.FrameID == "APIC":
            picture = Picture()
            picture.type, picture.mime, picture.desc, picture.data = frame.type, frame.mime, frame.desc, frame.data
            pictures.append(picture)
        elif frame.FrameID not in ("TSSE", "TLEN"):
            others.add(frame.FrameID)
    return pictures, sorted(others)


def to_id3(tags: Tags, pictures: list[Any]) -> Any:
    """ID3 frames of tags and pictures."""
    from mutagen import id3

    names = {name: frame for frame, name in _ID3.items()}
    result = id3.ID3()
    for name, values in tags.items():
        if name in names:
            result.add(getattr(id3, names[name])(encoding=3, text=values))
        elif name == "comment":
            result.add(id3.COMM(encoding=3, lang="und", desc="", text=values))
        elif name == "lyrics":
            result.add(id3.USLT(encoding=3, lang="und", desc="", text="\n".join(values)))
        else:
            result.add(id3.TXXX(encoding=3, desc=name.upper(), text=values))
    for p in pictures:
        result.add(id3.APIC(encoding=3, mime=p.mime, type=p.type, desc=p.desc, data=p.data))
    return result


def id3_bytes(id3: Any) -> bytes:
    """An ID3 tag as a chunk of a WAV or AIFF file holds it."""
    buffer = io.BytesIO()
    id3.save(buffer, v2_version=4, padding=lambda info: 0)
    return buffer.getvalue()


def from_mp4(mp4: Any, tags: Tags) -> list[Any]:
    """Add an MP4 file's tags; returns the pictures."""
    from mutagen.flac import Picture

    pictures = []
    for key, values in mp4.items():
        if key == "covr":
            for cover in values:
                picture = Picture()
                picture.type, picture.data = 3, bytes(cover)
                picture.mime = "image/png" if cover.imageformat == cover.FORMAT_PNG else "image/jpeg"
                pictures.append(picture)
        elif key in ("trkn", "disk"):
            for number, count in values:
                add(tags, _MP4[key], f"{number}/{count}" if count else str(number))
        elif key in _MP4:
            for value in values:
                add(tags, _MP4[key], str(value))
        elif key.startswith("----:"):
            for value in values:
                add(tags, key.rpartition(":")[2], bytes(value).decode("utf-8", "replace"))
    return pictures


def from_vorbis(comments: Any, tags: Tags) -> list[Any]:
    """Add Vorbis comments; returns the pictures that are among them."""
    from mutagen.flac import Picture

    pictures = []
    for name, value in comments:
        if name.lower() == "metadata_block_picture":
            pictures.append(Picture(base64.b64decode(value)))
        else:
            add(tags, name, value)
    return pictures


def to_vorbis(tags: Tags) -> list[tuple[str, str]]:
    """Vorbis comments; names have no characters that those cannot have."""
    clean = {name: "".join(c for c in name if " " <= c < "~" and c != "=") for name in tags}
    return [(clean[name].upper(), value) for name, values in tags.items() if clean[name] for value in values]


def from_info(payload: bytes, tags: Tags) -> None:
    """Add the texts of a list INFO, the payload after its name."""
    at = 4
    while at + 8 <= len(payload):
        name, size = payload[at : at + 4], struct.unpack("<I", payload[at + 4 : at + 8])[0]
        if name in INFO:
            add(tags, INFO[name], text_of(payload[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2


def to_info(tags: Tags) -> bytes:
    """A list INFO of what it has names for."""
    names: dict[str, bytes] = {}
    for name, tag in INFO.items():
        names.setdefault(tag, name)
    parts = [b"INFO"]
    for tag, values in tags.items():
        if tag in names:
            text = "; ".join(values).encode("utf-8", "replace") + b"\0"
            parts.append(names[tag] + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2))
    return b"".join(parts) if len(parts) > 1 else b""


def info_holds(tags: Tags) -> bool:
    """Whether a list INFO has names for all of them."""
    return set(tags) <= set(INFO.values())


def from_caf_info(payload: bytes, tags: Tags) -> None:
    """Add the strings of a CAF file's chunk info."""
    texts = payload[4:].split(b"\0")
    for name, value in zip(texts[::2], texts[1::2], strict=False):
        add(tags, text_of(name).replace(" ", ""), text_of(value))


def to_caf_info(tags: Tags) -> bytes:
    """A CAF file's chunk info."""
    texts = [(name, "; ".join(values)) for name, values in tags.items()]
    return struct.pack(">I", len(texts)) + "".join(f"{a}\0{b}\0" for a, b in texts).encode("utf-8", "replace")


def text_of(raw: bytes) -> str:
    """A text in UTF-8 or, as of old, Windows' Latin letters."""
    raw = raw.split(b"\0", 1)[0]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
