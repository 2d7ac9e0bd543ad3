"""Tags, pictures, cue points, broadcast chunks and channel masks stay, in each container that can hold them."""

import base64
import io
import itertools
import os
import struct
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3
from mutagen.flac import FLAC, Picture

from pyenhance.cli import main
from pyenhance.files import denoise_file
from pyenhance.files.disk import WholeFile
from pyenhance.files.headers import read_chunk, read_chunks

from ..conftest import av_file

NOISE = np.random.default_rng(0).normal(0, 0.1, 24_000)
TAGS = {"title": "Tête-à-tête", "artist": "A. Nonymous", "date": "2024", "comment": "two\nlines", "tracknumber": "3"}


def _chunk(name: bytes, payload: bytes, code: str = "<I") -> bytes:
    return name + struct.pack(code, len(payload)) + payload + b"\0" * (len(payload) % 2)


CUES = struct.pack("<I", 2) + b"".join(
    struct.pack("<II4sIII", i, at, b"data", 0, 0, at) for i, at in ((1, 4800), (2, 12_345))
)
BEXT = _chunk(b"bext", b"An interview".ljust(256, b"\0") + bytes(347))
CUE_CHUNKS = _chunk(b"cue ", CUES) + _chunk(b"LIST", b"adtl" + _chunk(b"labl", struct.pack("<I", 1) + b"first\0"))
INFO = b"".join(_chunk(n, v + b"\0") for n, v in ((b"INAM", b"T"), (b"IART", b"Andr\xe9"), (b"ISFT", b"Recorder 1")))


def _tagged_wav(path: Path, extra: bytes, **options: Any) -> Path:
    x = options.pop("x", NOISE)
    soundfile.write(path, x, 48_000, **options)
    raw = bytearray(path.read_bytes() + extra)
    if raw[:4] == b"RIFF":
        raw[4:8] = struct.pack("<I", len(raw) - 8)
    path.write_bytes(raw)
    return path


def _chunks(path: Path) -> dict[bytes, bytes]:
    with open(path, "rb") as file:
        found = read_chunks(file)
        assert found.finished, path
        return {chunk.name: read_chunk(file, chunk) for chunk in found.chunks}


def _picture() -> Picture:
    picture = Picture()
    picture.type, picture.mime, picture.desc, picture.data = 3, "image/png", "cover", b"\x89PNG" + bytes(500)
    return picture


def _tagged_flac(path: Path) -> Path:
    soundfile.write(path, NOISE, 48_000)
    flac = FLAC(path)
    flac.update(TAGS)
    flac["mood"] = ["calm", "clear"]
    flac.add_picture(_picture())
    flac.save()
    return path


def _read(path: Path) -> dict[str, Any]:
    """Tags and pictures, by whoever reads such a file."""
    if path.suffix in (".wav", ".aiff"):
        chunks = _chunks(path)
        frames = id3.ID3(io.BytesIO(chunks[b"id3 " if path.suffix == ".wav" else b"ID3 "]))
    else:
        file = mutagen.File(path)
        if not isinstance(file.tags, id3.ID3):
            tags = {k.lower(): v for k, v in file.tags.as_dict().items()}
            pictures = [p.data for p in file.pictures] if isinstance(file, FLAC) else []
            pictures += [Picture(base64.b64decode(p)).data for p in tags.pop("metadata_block_picture", [])]
            return tags | {"pictures": pictures}
        frames = file.tags
    names = {"TIT2": "title", "TPE1": "artist", "TDRC": "date", "TRCK": "tracknumber", "COMM": "comment"}
    tags = {names[f.FrameID]: [str(t) for t in f.text] for f in frames.values() if f.FrameID in names}
    tags |= {f.desc.lower(): list(f.text) for f in frames.getall("TXXX")}
    return tags | {"pictures": [f.data for f in frames.getall("APIC")]}


@pytest.mark.parametrize("first", [".flac", ".ogg", ".opus", ".mp3", ".aiff", ".wav"])
@pytest.mark.parametrize("second", [".flac", ".ogg", ".opus", ".mp3", ".aiff", ".wav"])
def test_tags_and_pictures_from_any_to_any(tmp_path: Path, first: str, second: str) -> None:
    paths = [tmp_path / name for name in ("a.flac", f"b{first}", f"c{second}")]
    _tagged_flac(paths[0])
    for source, target in itertools.pairwise(paths):
        assert denoise_file(source, target, strength_db=0)["notes"] == []
    want = {k: [v] for k, v in TAGS.items()} | {"mood": ["calm", "clear"], "pictures": [_picture().data]}
    assert _read(paths[2]) == want
    assert soundfile.info(paths[2]).frames == len(NOISE)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_a_wav_keeps_its_chunks(tmp_path: Path, kind: str) -> None:
    extra = BEXT + CUE_CHUNKS + _chunk(b"iXML", b"<BWFXML/>") + _chunk(b"LIST", b"INFO" + INFO) + _chunk(b"JUNK", b"x")
    source = _tagged_wav(tmp_path / "a.wav", extra, format=kind, x=NOISE[:-1], subtype="PCM_U8")
    assert denoise_file(source, tmp_path / "o.wav")["notes"] == []
    raw = (tmp_path / "o.wav").read_bytes()
    for chunk in (BEXT, CUE_CHUNKS, _chunk(b"iXML", b"<BWFXML/>"), _chunk(b"LIST", b"INFO" + INFO)):
        assert raw.count(chunk) == 1
    assert b"JUNK" not in raw and set(_chunks(tmp_path / "o.wav")) >= {b"data", b"bext", b"cue ", b"iXML", b"LIST"}
    found = soundfile.info(tmp_path / "o.wav")
    assert (found.frames, found.format) == (len(NOISE) - 1, kind)
    if kind != "RF64":  # in which libsndfile looks for nothing after the sound
        with soundfile.SoundFile(tmp_path / "o.wav") as file:
            assert file.copy_metadata()["title"] == "T"


@pytest.mark.parametrize("name", ["o.flac", "o.ogg", "o.mp3", "o.wav", "o.aiff"])
def test_a_disk_that_is_full_when_the_tags_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    source = _tagged_flac(tmp_path / "a.flac")
    denoise_file(source, tmp_path / name, strength_db=0)
    room = (tmp_path / name).stat().st_size - 100
    (tmp_path / name).unlink()
    original = WholeFile.write

    def write(file: WholeFile, data: bytes) -> int:
        if file.tell() + len(data) > room:
            raise OSError(28, os.strerror(28))
        return original(file, data)

    monkeypatch.setattr(WholeFile, "write", write)
    with pytest.raises(OSError, match="No space left on device"):
        denoise_file(source, tmp_path / name, strength_db=0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.flac"]


def test_wav_tags_become_others(tmp_path: Path) -> None:
    source = _tagged_wav(tmp_path / "a.wav", _chunk(b"LIST", b"INFO" + INFO))
    denoise_file(source, tmp_path / "o.flac")
    assert _read(tmp_path / "o.flac") == {"title": ["T"], "artist": ["André"], "pictures": []}
    denoise_file(tmp_path / "o.flac", tmp_path / "o.wav")
    with soundfile.SoundFile(tmp_path / "o.wav") as file:
        assert file.copy_metadata() == {"title": "T", "artist": "André"}
    assert b"id3 " not in _chunks(tmp_path / "o.wav"), "a list INFO holds it all"


def test_cue_points_in_every_container_that_has_them(tmp_path: Path) -> None:
    source = _tagged_wav(tmp_path / "a.wav", CUE_CHUNKS)
    notes = [denoise_file(source, tmp_path / f"o.{s}")["notes"] for s in ("flac", "aiff", "ogg")]
    assert [track.start_offset for track in FLAC(tmp_path / "o.flac").cuesheet.tracks] == [4800, 12_345, 24_000]
    assert notes == [
        ["FLAC does not hold all that was there: labels of cue points"],
        [],
        ["OGG does not hold all that was there: cue points"],
    ]
    denoise_file(tmp_path / "o.aiff", tmp_path / "p.wav")
    chunks = _chunks(tmp_path / "p.wav")
    assert chunks[b"cue "] == CUES and b"first" in chunks[b"LIST"]
    denoise_file(tmp_path / "o.flac", tmp_path / "q.wav")
    assert _chunks(tmp_path / "q.wav")[b"cue "] == CUES


def test_aiff_and_caf_keep_their_chunks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.aiff", NOISE, 48_000)
    raw = bytearray(
        (tmp_path / "a.aiff").read_bytes() + _chunk(b"NAME", b"Title", ">I") + _chunk(b"APPL", b"abcd", ">I")
    )
    raw[4:8] = struct.pack(">I", len(raw) - 8)
    (tmp_path / "a.aiff").write_bytes(raw)
    denoise_file(tmp_path / "a.aiff", tmp_path / "o.aiff")
    assert _chunks(tmp_path / "o.aiff")[b"APPL"] == b"abcd"
    denoise_file(tmp_path / "o.aiff", tmp_path / "o.caf")
    with soundfile.SoundFile(tmp_path / "o.caf") as file:
        assert file.copy_metadata()["title"] == "Title"
    denoise_file(tmp_path / "o.caf", tmp_path / "p.caf")
    assert _chunks(tmp_path / "p.caf")[b"info"] == _chunks(tmp_path / "o.caf")[b"info"]


@pytest.mark.parametrize("kind", ["WAVEX", "RF64"])
def test_the_channel_mask(tmp_path: Path, kind: str) -> None:
    """FL FR and two side loudspeakers, where four channels usually mean two at the back."""
    source = _tagged_wav(tmp_path / "a.wav", b"", x=np.stack([NOISE] * 4, 1), format=kind)
    raw = bytearray(source.read_bytes())
    at = raw.index(b"fmt ") + 8 + 20
    raw[at : at + 4] = struct.pack("<I", 0x603)
    source.write_bytes(raw)
    for first, second in (("o.wav", "p.wav"), ("o.flac", "q.wav"), ("q.wav", "r.flac")):
        denoise_file(source if first[0] == "o" else tmp_path / first, tmp_path / first.replace("q", "s"))
        if second:
            denoise_file(tmp_path / first, tmp_path / second)
    for name in ("o.wav", "p.wav", "q.wav"):
        assert struct.unpack("<I", _chunks(tmp_path / name)[b"fmt "][20:24])[0] == 0x603, name
    assert FLAC(tmp_path / "r.flac")["waveformatextensible_channel_mask"] == ["0x0603"]
    assert denoise_file(source, tmp_path / "o.ogg")["notes"] == [
        "OGG does not hold all that was there: loudspeakers of the channels"
    ]


def test_a_note_is_said_once_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        _tagged_wav(tmp_path / "in" / name, _chunk(b"id3 ", b"no tag at all"))
    command = ["denoise", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert capsys.readouterr().err.count("the tags cannot be read") == 1
    assert main([*command, "--force", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    _tagged_wav(tmp_path / "a.wav", BEXT)
    assert main(["denoise", str(tmp_path / "a.wav"), "-o", str(tmp_path / "a.flac")]) == 0
    assert "FLAC does not hold all that was there: broadcast extension (bext)" in capsys.readouterr().err


def test_tags_of_m4a_and_webm(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, 24_000)
    for name, codec in (("a.m4a", "aac"), ("a.webm", "libopus")):
        source = av_file(tmp_path / name, codec, x, title="Talk", artist="Ann")
        denoise_file(source, tmp_path / "o.flac")
        assert {"title": ["Talk"], "artist": ["Ann"]}.items() <= _read(tmp_path / "o.flac").items()


def test_tags_that_cannot_be_read_cost_no_sound(tmp_path: Path) -> None:
    source = _tagged_wav(tmp_path / "a.wav", _chunk(b"id3 ", b"no tag at all") + BEXT)
    facts = denoise_file(source, tmp_path / "o.wav")
    assert facts["seconds"] == 0.5 and facts["notes"][0].startswith("the tags cannot be read")
