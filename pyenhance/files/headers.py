"""Chunks of WAV, RF64, AIFF and CAF files, and headers that a recorder never finished."""

import io
import struct
from dataclasses import dataclass
from typing import Any

EMPTY_BYTES = 16_384
"""A file without samples may be as long as this; more is taken for sound that its header does not tell of."""

_MOST_CHUNKS = 10_000


@dataclass(frozen=True)
class Chunk:
    """A chunk: its name, where its payload starts, and how long it says that is."""

    name: bytes
    at: int
    size: int


@dataclass(frozen=True)
class Chunks:
    """A file's chunks.

    Attributes
    ----------
    kind : str
        "RIFF", "RF64", "FORM" (AIFF), "caff" or, for any other file, "".
    chunks : tuple of Chunk
    finished : bool
        They end where the file ends.
    """

    kind: str
    chunks: tuple[Chunk, ...]
    finished: bool

    def find(self, name: bytes) -> Chunk | None:
        """The first chunk of a name."""
        return next((chunk for chunk in self.chunks if chunk.name == name), None)


def read_chunks(file: Any) -> Chunks:
    """Walk through a file's chunks; what is no such file has none."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    kind = head[:4].decode("latin-1")
    if kind not in ("RIFF", "RF64", "FORM", "caff") or len(head) < 12:
        return Chunks("", (), True)
    at, code = {"RIFF": (12, "<I"), "RF64": (12, "<I"), "FORM": (12, ">I"), "caff": (8, ">q")}[kind]
    found: list[Chunk] = []
    width = 4 + struct.calcsize(code)
    long_data = 0
    while at + width <= length and len(found) < _MOST_CHUNKS:
        file.seek(at)
        header = file.read(width)
        name, (size,) = header[:4], struct.unpack(code, header[4:])
        if not name.isascii() or not name.decode().isprintable():
            break
        if name == b"ds64":
            long_data = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        if kind == "RF64" and name == b"data" and size == 0xFFFFFFFF:
            size = long_data
        found.append(Chunk(name, at + width, size))
        if size < 0:
            break
        at += width + size + (size % 2 if kind != "caff" else 0)
    return Chunks(kind, tuple(found), length <= at <= length + 1 or length - at < width)


def read_chunk(file: Any, chunk: Chunk) -> bytes:
    """A chunk's payload."""
    file.seek(chunk.at)
    return file.read(chunk.size)


def unfinished(file: Any) -> dict[int, bytes]:
    """What must be read in a header's place so that the sound that follows it is found.

    Recorders write the length when they stop; one that lost its power has left it at nothing.

    Returns
    -------
    dict of int to bytes: places in the file and their right bytes; nothing for a header that is in order
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12).ljust(12, b"\0")
    if head[:4] in (b".snd", b"dns."):
        start, size = struct.unpack((">" if head[0] == ord(".") else "<") + "4xII", head)
        return {8: b"\xff" * 4} if size == 0 and length > max(start, 24) else {}
    found = read_chunks(file)
    data = found.find(b"data")
    if data is None or data.size > 0 or data.at >= length or (found.finished and found.kind != "caff"):
        return {}
    rest = length - data.at
    if found.kind == "caff":
        return {data.at - 8: struct.pack(">q", rest)}
    if found.kind == "RF64":
        sizes = found.find(b"ds64")
        return {sizes.at + 8: struct.pack("<Q", rest)} if sizes else {}
    return {data.at - 4: b"\xff" * 4}
