"""What a file holds beside its sound: tags, pictures, cue points, chunks, the loudspeakers of its channels."""

import struct
from dataclasses import dataclass, field
from typing import Any

from . import cues as cue_points
from . import tags as names
from .cues import Cue
from .disk import opened
from .headers import Chunks, read_chunk, read_chunks
from .tags import Tags

_RIFF, _VORBIS = ("WAV", "WAVEX", "RF64"), ("FLAC", "OGG")
_MASK_TAG = "waveformatextensible_channel_mask"
_USUAL_MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}  # FLAC's, and most readers'
_EXTENSIBLE, _MASK_AT = 0xFFFE, 20  # of the chunk `fmt `
_MOST_CHUNK_BYTES = 64 << 20

# Sound, its description, filling, and what no longer fits a sound that was changed.
_NOT_COPIED = {
    "RIFF": {b"fmt ", b"data", b"fact", b"ds64", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"levl", b"MD5 "},
    "FORM": {b"COMM", b"SSND", b"FVER", b"PEAK", b"CHAN"},
    "caff": {b"desc", b"data", b"kuki", b"pakt", b"free", b"peak", b"ovvw", b"chan"},
}
_FAMILY = {"RIFF": _RIFF, "RF64": _RIFF, "FORM": ("AIFF",), "caff": ("CAF",)}
_SPOKEN = {b"bext": "broadcast extension (bext)", b"smpl": "loops (smpl)", b"inst": "instrument (inst)"}


@dataclass
class Metadata:
    """What is copied from one file to another.

    Attributes
    ----------
    tags : dict of str to list of str
        By Vorbis comments' names in small letters.
    pictures : list of mutagen.flac.Picture
    cues : list of Cue
    kind : str
        Of the chunks: RIFF, FORM, caff or none.
    chunks : list of (name, payload)
        As they are, for a target of the same kind.
    channel_mask : int or None
        Which channel is which loudspeaker's, as WAV has it.
    others : list of str
        What is there and known to no other kind of file.
    notes : list of str
        What could not be read.
    """

    tags: Tags = field(default_factory=dict)
    pictures: list[Any] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    id3: Any = None
    kind: str = ""
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    channel_mask: int | None = None
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    frames: int = 0

    def write(self, file: Any, container: str) -> list[str]:
        """Add it to a file of sound.

        Parameters
        ----------
        file : binary file, open for reading and writing
        container : str
            By libsndfile's name.

        Returns
        -------
        list of str: what the container cannot hold and what could not be read, a line each

        Raises
        ------
        OSError
            The disk is full, say.
        """
        try:
            return self._write(file, container)
        except Exception as error:  # mutagen hides the system's errors in its own
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise

    def _write(self, file: Any, container: str) -> list[str]:
        lost = set(self.others)
        file.seek(0)
        if container in _FAMILY.get(self.kind, ()):
            lost.clear()
            _append(file, self.chunks)
        elif container in _RIFF:
            _append(file, [*self._wav_tags(), *(cue_points.to_wav(self.cues) if self.cues else ())])
        elif container == "AIFF":
            marks = cue_points.to_aiff(self.cues) if self.cues else []
            id3 = [(b"ID3 ", names.id3_bytes(self._id3()))] if self.tags or self.pictures else []
            _append(file, [*marks, *id3])
        elif container == "CAF":
            _append(file, [(b"info", names.to_caf_info(self.tags))] if self.tags else [])
            lost |= self._named(pictures=True, cues=True)
        elif container in _VORBIS:
            lost |= self._write_vorbis(file, container)
        elif container == "MP3":
            if self.tags or self.pictures:
                self._id3().save(file, v2_version=4)
            lost |= self._named(cues=True)
        else:
            lost |= self._named(tags=True, pictures=True, cues=True)
        if self.id3 is not None and container == "MP3":
            lost.clear()
        if self.channel_mask is not None and container not in (*_RIFF, "FLAC"):
            lost |= {"loudspeakers of the channels"} if not self._usual_mask() else set()
        elif self.channel_mask is not None and container in _RIFF:
            _set_mask(file, self.channel_mask)
        kind = container.replace("WAVEX", "WAV")
        return self.notes + ([f"{kind} does not hold all that was there: {', '.join(sorted(lost))}"] if lost else [])

    def _named(self, *, tags: bool = False, pictures: bool = False, cues: bool = False) -> set[str]:
        there = {"tags": tags and self.tags, "pictures": pictures and self.pictures, "cue points": cues and self.cues}
        return {name for name, value in there.items() if value}

    def _id3(self) -> Any:
        return self.id3 if self.id3 is not None else names.to_id3(self.tags, self.pictures)

    def _wav_tags(self) -> list[tuple[bytes, bytes]]:
        """A list INFO, and an ID3 chunk where that does not hold everything."""
        info = names.to_info(self.tags)
        chunks = [(b"LIST", info)] if info else []
        if self.pictures or self.id3 is not None or not names.info_holds(self.tags):
            chunks.append((b"id3 ", names.id3_bytes(self._id3())))
        return chunks

    def _write_vorbis(self, file: Any, container: str) -> set[str]:
        """Vorbis comments, pictures and, in FLAC, cue points and channel mask."""
        import base64

        import mutagen
        from mutagen.flac import FLAC

        comments = names.to_vorbis(self.tags)
        if container == "FLAC" and self.channel_mask is not None and not self._usual_mask():
            comments.append((_MASK_TAG.upper(), f"0x{self.channel_mask:04X}"))
        flac = container == "FLAC"
        if not flac:
            pictures = [base64.b64encode(p.write()).decode("ascii") for p in self.pictures]
            comments += [("METADATA_BLOCK_PICTURE", picture) for picture in pictures]
        lost = set() if flac else self._named(cues=True)
        if not comments and not (flac and (self.pictures or self.cues)):
            return lost
        result: Any = FLAC(file) if flac else mutagen.File(file)
        if result.tags is None:
            result.add_tags()
        result.tags.clear()
        result.tags.extend(comments)
        if flac:
            for picture in self.pictures:
                result.add_picture(picture)
            if self.cues:
                result.cuesheet = cue_points.to_flac(self.cues, result.info.total_samples)
                result.metadata_blocks.append(result.cuesheet)
                lost |= set() if cue_points.flac_holds(self.cues) else {"labels of cue points"}
        file.seek(0)
        result.save(file)
        return lost

    def _usual_mask(self) -> bool:
        return self.channel_mask in _USUAL_MASKS.values()


def read_metadata(path: Any, reader: Any) -> Metadata:
    """What a file holds beside its sound.

    Parameters
    ----------
    path : Path
    reader : the file's reader
        For its container, and for what FFmpeg found.

    Returns
    -------
    Metadata; `notes` tells what could not be read, which keeps no sound from being enhanced
    """
    found = Metadata()
    try:
        import mutagen
    except ImportError:
        found.notes.append("tags stay only where mutagen is installed: pip install 'pyenhance[audio]'")
        return found
    with opened(path) as file:
        try:
            chunks = read_chunks(file)
            if chunks.kind:
                _from_chunks(found, file, chunks)
            else:
                file.seek(0)
                _from_tags(found, mutagen.File(file))
        except Exception as error:  # whatever foreign bytes do to a parser, the sound is worth more than the tags
            found = Metadata(notes=[f"the tags cannot be read ({error or type(error).__name__})"])
    if not found.tags:
        for name, value in reader.tags.items():
            names.add(found.tags, name, value)
    return found


def _from_chunks(found: Metadata, file: Any, chunks: Chunks) -> None:
    family = "RIFF" if chunks.kind == "RF64" else chunks.kind
    found.kind = chunks.kind
    for chunk in chunks.chunks:
        if chunk.name in _NOT_COPIED[family]:
            continue
        if chunk.size > _MOST_CHUNK_BYTES:
            found.notes.append(f"{chunk.size} bytes named {chunk.name.decode()!r} are left out")
            continue
        payload = read_chunk(file, chunk)
        if len(payload) == chunk.size:
            found.chunks.append((chunk.name, payload))
    lists = [payload for name, payload in found.chunks if name == b"LIST" and payload[:4] == b"adtl"]
    for name, payload in found.chunks:
        if name == b"LIST" and payload[:4] == b"INFO":
            names.from_info(payload, found.tags)
        elif name in (b"id3 ", b"ID3 "):
            _from_id3_chunk(found, payload)
        elif family == "FORM" and name in names.AIFF_TEXTS:
            names.add(found.tags, names.AIFF_TEXTS[name], names.text_of(payload))
        elif family == "caff" and name == b"info":
            names.from_caf_info(payload, found.tags)
        elif family == "RIFF" and name == b"cue ":
            found.cues = cue_points.from_wav(payload, lists)
        elif family == "FORM" and name == b"MARK":
            found.cues = cue_points.from_aiff(payload)
        elif name != b"LIST":
            found.others.append(_SPOKEN.get(name, name.decode().strip()))
    form = chunks.find(b"fmt ") if family == "RIFF" else None
    if form is not None and form.size >= 40:
        payload = read_chunk(file, form)
        mask = struct.unpack("<I", payload[_MASK_AT : _MASK_AT + 4])[0]
        if struct.unpack("<H", payload[:2])[0] == _EXTENSIBLE:
            found.channel_mask = mask


def _from_id3_chunk(found: Metadata, payload: bytes) -> None:
    import io

    from mutagen.id3 import ID3

    found.id3 = ID3(io.BytesIO(payload))
    pictures, others = names.from_id3(found.id3, found.tags)
    found.pictures += pictures
    found.others += [f"ID3 {name}" for name in others]


def _from_tags(found: Metadata, file: Any) -> None:
    """Tags of what mutagen reads."""
    from mutagen.flac import FLAC
    from mutagen.id3 import ID3
    from mutagen.mp4 import MP4

    if file is None:
        return
    if isinstance(file, MP4):
        found.pictures = names.from_mp4(file.tags or {}, found.tags)
    elif isinstance(file.tags, ID3):
        found.id3 = file.tags
        found.pictures, others = names.from_id3(file.tags, found.tags)
        found.others = [f"ID3 {name}" for name in others]
    elif hasattr(file.tags, "vendor") or isinstance(file, FLAC):
        found.pictures = names.from_vorbis(file.tags or [], found.tags)
        if isinstance(file, FLAC):
            found.pictures += file.pictures
            found.cues = cue_points.from_flac(file.cuesheet) if file.cuesheet else []
        mask = found.tags.pop(_MASK_TAG, None)
        if mask:
            found.channel_mask = int(mask[0], 0)


def _append(file: Any, chunks: list[tuple[bytes, bytes]]) -> None:
    """Add chunks at the end of a WAV, RF64, AIFF or CAF file, and its own length to the header."""
    if not chunks:
        return
    there = read_chunks(file)
    have = {chunk.name for chunk in there.chunks} - {b"LIST"}
    end = file.seek(0, 2)
    parts = []
    for name, payload in chunks:
        if name in have:
            continue
        if there.kind == "caff":
            parts += [name, struct.pack(">q", len(payload)), payload]
        else:
            parts += [name, struct.pack(">I" if there.kind == "FORM" else "<I", len(payload)), payload]
            parts.append(b"\0" * (len(payload) % 2))
    file.write(b"\0" * (end % 2 if there.kind != "caff" else 0) + b"".join(parts))
    length = file.seek(0, 2) - 8
    if there.kind == "RF64":
        sizes = there.find(b"ds64")
        assert sizes is not None
        file.seek(sizes.at)
        file.write(struct.pack("<Q", length))
    elif there.kind in ("RIFF", "FORM"):
        file.seek(4)
        file.write(struct.pack("<I" if there.kind == "RIFF" else ">I", length))


def _set_mask(file: Any, mask: int) -> None:
    form = read_chunks(file).find(b"fmt ")
    if form is not None and form.size >= 40:
        file.seek(form.at + _MASK_AT)
        file.write(struct.pack("<I", mask))
