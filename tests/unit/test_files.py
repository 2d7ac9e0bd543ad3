"""Files: what is written is there, in the nearest encoding, rounded without bias, in a container that can hold it."""

import io
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.files import denoise_file, formats, read_audio, reading, writing
from pyenhance.files.disk import Disk, WholeFile, opened

from ..conftest import av_file

NOISE = np.random.default_rng(0).normal(0, 0.1, 96_000)


def _wav(folder: Path, name: str = "a.wav", **options: str) -> Path:
    soundfile.write(folder / name, NOISE, 48_000, **options)
    return folder / name


def _only(folder: Path, *names: str) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)


# What is written


class _Full:
    """A disk that is full after so many bytes, or whose last sync or closing fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int = 1 << 40, sync: bool = True) -> None:
        def write(file: WholeFile, data: bytes) -> int:
            if file.tell() + len(data) > room:
                raise OSError(28, os.strerror(28))
            return original(file, data)

        def fsync(_: int) -> None:
            raise OSError(122, os.strerror(122))

        original = WholeFile.write
        monkeypatch.setattr(WholeFile, "write", write)
        if not sync:
            monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(
    "name", ["d.wav", "d.flac", "d.ogg", "d.opus", "d.mp3", "d.aiff", "d.caf", "d.w64", "d.au", "d.rf64"]
)
def test_a_full_disk_is_an_error_whenever_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, share: float
) -> None:
    source = _wav(tmp_path)
    denoise_file(source, tmp_path / name, strength_db=0)
    whole = (tmp_path / name).stat().st_size
    (tmp_path / name).unlink()
    _Full(monkeypatch, room=int(share * whole))
    with pytest.raises(OSError, match="No space left on device") as error:
        denoise_file(source, tmp_path / name, strength_db=0)
    assert error.value.filename == str(tmp_path / name)
    _only(tmp_path, "a.wav")


def test_a_disk_that_tells_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _wav(tmp_path)
    _Full(monkeypatch, sync=False)
    with pytest.raises(OSError, match="quota"):
        denoise_file(source, tmp_path / "d.flac", strength_db=0)
    _only(tmp_path, "a.wav")


@pytest.mark.parametrize("name", ["d.wav", "d.flac", "d.ogg", "d.opus", "d.mp3", "d.aiff"])
def test_a_limit_of_the_system(tmp_path: Path, name: str) -> None:
    """As `ulimit -f`: the process may write no more, also where a library writes when it closes."""
    _wav(tmp_path)
    denoise_file(tmp_path / "a.wav", tmp_path / name, strength_db=0)
    most = (tmp_path / name).stat().st_size - 100
    (tmp_path / name).unlink()
    done = subprocess.run(
        [sys.executable, "-m", "pyenhance.cli", "denoise", "a.wav", "-o", name, "--strength-db", "0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "File too large" in done.stderr, done.stderr
    _only(tmp_path, "a.wav")


@pytest.mark.parametrize("name", ["d.flac", "d.ogg", "d.mp3", "d.wav"])
def test_what_cannot_be_read_back_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A library or a disk that loses the end without a word."""
    source = _wav(tmp_path)
    original = Disk.write

    def lossy(disk: Disk, data: bytes) -> int:
        return len(data) if disk.tell() > 15_000 else original(disk, data)

    monkeypatch.setattr(Disk, "write", lossy)
    with pytest.raises(OSError, match="read back"):
        denoise_file(source, tmp_path / name, strength_db=0)
    _only(tmp_path, "a.wav")


# Which container and encoding


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        (("a.mp3", None), "o.wav", ("WAV", "PCM_16")),
        (("a.mp3", None), "o.caf", ("CAF", "PCM_16")),
        (("a.ogg", "VORBIS"), "o.flac", ("FLAC", "PCM_16")),
        (("a.ogg", "OPUS"), "o.ogg", ("OGG", "OPUS")),
        (("a.ogg", "VORBIS"), "o.opus", ("OGG", "OPUS")),
        (("a.wav", "PCM_16"), "o.opus", ("OGG", "OPUS")),
        (("a.wav", "PCM_16"), "o.oga", ("OGG", "VORBIS")),
        (("a.wav", "FLOAT"), "o.flac", ("FLAC", "PCM_24")),
        (("a.wav", "DOUBLE"), "o.flac", ("FLAC", "PCM_24")),
        (("a.wav", "PCM_32"), "o.flac", ("FLAC", "PCM_24")),
        (("a.wav", "PCM_24"), "o.flac", ("FLAC", "PCM_24")),
        (("a.wav", "PCM_U8"), "o.flac", ("FLAC", "PCM_S8")),
        (("a.flac", "PCM_S8"), "o.wav", ("WAV", "PCM_U8")),
        (("a.wav", "FLOAT"), "o.aiff", ("AIFF", "FLOAT")),
        (("a.wav", "FLOAT"), "o.mp3", ("MP3", "MPEG_LAYER_III")),
        (("a.wav", "ULAW"), "o.flac", ("FLAC", "PCM_16")),
        (("a.wav", "IMA_ADPCM"), "o.flac", ("FLAC", "PCM_16")),
        (("a.caf", "ALAC_24"), "o.flac", ("FLAC", "PCM_24")),
        (("a.caf", "ALAC_24"), "o.caf", ("CAF", "ALAC_24")),
        (("a.rf64", "PCM_16"), "o.wav", ("RF64", "PCM_16")),
        (("a.wav", "PCM_16"), "o.rf64", ("RF64", "PCM_16")),
        (("a.w64", "PCM_24"), "o.w64", ("W64", "PCM_24")),
        (("a.au", "FLOAT"), "o.snd", ("AU", "FLOAT")),
    ],
)
def test_the_nearest_encoding(
    tmp_path: Path, source: tuple[str, str | None], target: str, kind: tuple[str, str]
) -> None:
    path = _wav(tmp_path, source[0], subtype=source[1])
    denoise_file(path, tmp_path / target, strength_db=0)
    found = soundfile.info(tmp_path / target)
    assert (found.format, found.subtype, found.frames) == (*kind, soundfile.info(path).frames)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "says"),
    [
        ("o.mp3", 48_000, 3, r"MP3 does not take 3 channels; accepted: 1 to 2"),
        ("o.flac", 48_000, 16, r"FLAC .* does not take 16 channels; accepted: 1 to 8"),
        ("o.opus", 44_100, 1, r"Opus .* 44100 Hz; accepted: 8000, 12000, 16000, 24000, 48000"),
        ("o.mp3", 96_000, 1, r"MP3 .* 96000 Hz; accepted: 8000, .* 48000"),
        ("o.ogg", 352_800, 1, r"Vorbis .* 352800 Hz; accepted: .* 192000"),
        ("o.m4a", 48_000, 1, r"'o.m4a': .m4a can be read and not written; accepted: .wav,"),
        ("o.xyz", 48_000, 1, r"'o.xyz': .xyz is not known; accepted: .wav,"),
    ],
)
def test_what_a_format_does_not_take_is_named(tmp_path: Path, name: str, rate: int, channels: int, says: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((4800, channels)), rate)
    with pytest.raises(ValueError, match=says):
        denoise_file(tmp_path / "a.wav", tmp_path / name)
    _only(tmp_path, "a.wav")


@pytest.mark.parametrize("large", ["FLAC", "W64", "RF64", "WAV"])
def test_more_than_4_gb_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: str) -> None:
    monkeypatch.setattr(formats, "RIFF_BYTES", 150_000)
    source = _wav(tmp_path, "a." + large.lower(), format=large)
    denoise_file(source, tmp_path / "o.wav", strength_db=0)
    y, _ = soundfile.read(tmp_path / "o.wav", dtype="int16")
    assert soundfile.info(tmp_path / "o.wav").format == "RF64"
    assert np.array_equal(y, soundfile.read(source, dtype="int16")[0])
    if large != "RF64":
        with pytest.raises(ValueError, match=r"accepted for AIFF: 4 GB; more go into \.wav"):
            denoise_file(source, tmp_path / "o.aiff", strength_db=0)


def test_more_than_4_gb_of_unknown_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "RIFF_BYTES", 150_000)
    with pytest.raises(ValueError, match="4 GB"):
        denoise_file(_wav(tmp_path), tmp_path / "o.wav", strength_db=0)
    _only(tmp_path, "a.wav")


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus")])
def test_eight_channels_by_ffmpeg(tmp_path: Path, name: str, codec: str) -> None:
    time = np.arange(48_000) / 48_000
    x = 0.3 * np.sin(2 * np.pi * time[:, None] * (200 + 300 * np.arange(8)))
    denoise_file(av_file(tmp_path / name, codec, x), tmp_path / "o.wav", strength_db=0)
    y, rate = soundfile.read(tmp_path / "o.wav")
    assert rate == 48_000 and y.shape[1] == 8
    loudest = np.abs(np.fft.rfft(y[4_800:43_200], axis=0)).argmax(0) / 0.8
    full = [0, 1, 2, 4, 5, 6, 7]  # the fourth is for what is below 120 Hz
    assert np.abs(loudest - (200 + 300 * np.arange(8)))[full].max() < 5, loudest


def test_a_flac_of_unknown_length_that_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened a second time, for PyAV; none of the two stays open."""
    path = tmp_path / "a.flac"
    soundfile.write(path, NOISE, 48_000)
    raw = bytearray(path.read_bytes())
    raw[21] &= 0xF0
    raw[22:26] = bytes(4)  # STREAMINFO: 36 bits of samples in all
    path.write_bytes(raw[: raw.index(b"\xff\xf8") + 3])
    files: list[io.BufferedReader] = []
    monkeypatch.setattr(reading, "opened", lambda path: files.append(opened(path)) or files[-1])
    with pytest.raises(ValueError, match=r"no sound|invalid|end of file|cannot"):
        read_audio(path)
    assert len(files) == 2 and all(file.closed for file in files)


# Rounding

WIDTHS = [
    ("wav", "PCM_U8", 8),
    ("wav", "PCM_16", 16),
    ("wav", "PCM_24", 24),
    ("wav", "PCM_32", 32),
    ("flac", "PCM_S8", 8),
    ("flac", "PCM_16", 16),
    ("flac", "PCM_24", 24),
    ("aiff", "PCM_S8", 8),
    ("aiff", "PCM_U8", 8),
    ("aiff", "PCM_16", 16),
    ("rf64", "PCM_24", 24),
    ("w64", "PCM_32", 32),
    ("au", "PCM_24", 24),
    ("caf", "PCM_16", 16),
    ("caf", "ALAC_16", 16),
    ("caf", "ALAC_24", 24),
    ("wav", "ULAW", 14),
    ("wav", "ALAW", 13),
]


@pytest.mark.parametrize(("suffix", "subtype", "bits"), WIDTHS)
@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_the_same_bits_where_nothing_is_to_be_done(
    tmp_path: Path, suffix: str, subtype: str, bits: int, rate: int
) -> None:
    x = np.append(0.9 * np.sin(2 * np.pi * 440 * np.arange(96_000) / 48_000), [1, -1, 0, 1e-5, -1e-5])
    source, target = tmp_path / f"l.{suffix}", tmp_path / f"o.{suffix}"
    soundfile.write(source, x, rate, subtype=subtype)
    denoise_file(source, target, strength_db=0)
    a, b = (soundfile.read(path, dtype="int32")[0] for path in (source, target))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_the_same_bits_of_floats(tmp_path: Path, subtype: str) -> None:
    source, target = _wav(tmp_path, subtype=subtype), tmp_path / "o.wav"
    denoise_file(source, target, strength_db=0)
    a, b = (soundfile.read(path, dtype="float64")[0] for path in (source, target))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(("suffix", "subtype", "bits"), WIDTHS)
def test_rounding_has_no_bias(tmp_path: Path, suffix: str, subtype: str, bits: int) -> None:
    """Written by `Writer` as an enhanced signal is, between steps: the mean error is far below half a step."""
    x = np.random.default_rng(1).uniform(-0.4, 0.4, (200_000, 1))
    kind = formats.Format(formats.CONTAINERS[f".{suffix}"], subtype)
    with writing.Writer(tmp_path / f"o.{suffix}", kind, 48_000, 1) as writer:
        writer.write(x)
        writer.finish()
    error = soundfile.read(tmp_path / f"o.{suffix}", always_2d=True)[0] - x
    step = 2.0 ** (1 - bits)
    spread = step if subtype not in ("ULAW", "ALAW") else float(np.abs(error).max())
    assert abs(error.mean()) < 0.01 * spread + 1e-10
    if subtype not in ("ULAW", "ALAW"):
        assert np.abs(error).max() <= 0.5001 * step + 1e-9


def test_what_is_too_loud_is_clipped(tmp_path: Path) -> None:
    for kind in (formats.Format("WAV", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW")):
        with writing.Writer(tmp_path / "o.wav", kind, 48_000, 1) as writer:
            writer.write(np.array([[3.0], [-3.0], [0.0]]))
            writer.finish()
        high, low, zero = soundfile.read(tmp_path / "o.wav")[0]
        assert high > 0.95 and low < -0.95 and abs(zero) < 0.001


# Headers and readers


def _unfinished(folder: Path, kind: str) -> Path:
    path = _wav(folder, "a." + {"AIFF": "aiff"}.get(kind, kind.lower()), format=kind)
    raw = bytearray(path.read_bytes())
    at = raw.find(b"data")
    if kind == "WAV":
        raw[40:44] = bytes(4)
    elif kind == "RF64":
        raw[20:44] = bytes(24)
    elif kind == "AU":
        raw[8:12] = bytes(4)
    elif kind == "CAF":
        raw[at + 4 : at + 12] = bytes(8)
    elif kind == "W64":
        raw[at + 16 : at + 24] = bytes(8)
    else:
        at = raw.find(b"SSND")
        raw[at + 4 : at + 8] = bytes(4)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AU", "CAF", "W64", "AIFF"])
def test_a_header_that_was_never_finished(tmp_path: Path, kind: str) -> None:
    source = _unfinished(tmp_path, kind)
    assert denoise_file(source, tmp_path / "o.wav", strength_db=0)["seconds"] == 2.0
    want = np.rint(NOISE * 32768).astype(np.int16)
    np.testing.assert_allclose(soundfile.read(tmp_path / "o.wav", dtype="int16")[0], want, atol=1)


def test_silence_in_an_unfinished_wav(tmp_path: Path) -> None:
    """Sound of zeros must not be taken for chunks without a name."""
    soundfile.write(tmp_path / "a.wav", np.zeros(9600), 48_000)
    raw = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(raw[:40] + bytes(4) + raw[44:])
    assert denoise_file(tmp_path / "a.wav", tmp_path / "o.wav")["seconds"] == 0.2


def test_a_wav_that_really_is_empty(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE[:0], 48_000)
    raw = (tmp_path / "a.wav").read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
    (tmp_path / "a.wav").write_bytes(raw)
    assert denoise_file(tmp_path / "a.wav", tmp_path / "o.wav")["seconds"] == 0
    assert soundfile.info(tmp_path / "o.wav").frames == 0
    with pytest.raises(ValueError, match="MP3 cannot hold 0 frames"):
        denoise_file(tmp_path / "a.wav", tmp_path / "o.mp3")
    _only(tmp_path, "a.wav", "o.wav")


def test_a_flac_that_does_not_tell_its_length(tmp_path: Path) -> None:
    source = _wav(tmp_path, "a.flac")
    raw = bytearray(source.read_bytes())
    raw[21] &= 0xF0
    raw[22:26] = bytes(4)
    source.write_bytes(raw)
    assert denoise_file(source, tmp_path / "o.wav", strength_db=0)["seconds"] == 2.0


def test_a_recording_that_is_cut_off(tmp_path: Path) -> None:
    for name in ("a.ogg", "a.wav", "a.mp3"):
        source = _wav(tmp_path, name)
        raw = source.read_bytes()
        source.write_bytes(raw[: len(raw) // 2])
        assert 0.3 < denoise_file(source, tmp_path / "o.wav")["seconds"] < 1.7
    source = _wav(tmp_path, "a.flac")
    raw = source.read_bytes()
    source.write_bytes(raw[: len(raw) // 2])
    (tmp_path / "o.wav").unlink()
    with pytest.raises(ValueError, match="lost sync"):
        denoise_file(source, tmp_path / "o.wav")
    assert not (tmp_path / "o.wav").exists()


@pytest.mark.parametrize(
    ("name", "codec", "subtype"),
    [
        ("a.m4a", "aac", "PCM_16"),
        ("a.mp4", "aac", "PCM_16"),
        ("a.webm", "libopus", "PCM_16"),
        ("b.m4a", "alac", "PCM_24"),
    ],
)
def test_what_pyav_reads(tmp_path: Path, name: str, codec: str, subtype: str) -> None:
    """Its length and place are those of what went in: the encoder's delay and padding are gone."""
    source = av_file(tmp_path / name, codec, NOISE)
    denoise_file(source, tmp_path / "o.flac", strength_db=0)
    y, rate = soundfile.read(tmp_path / "o.flac")
    assert rate == 48_000 and len(y) == len(NOISE) and soundfile.info(tmp_path / "o.flac").subtype == subtype
    near = [float(y[1000 + lag : -1000 + lag] @ NOISE[1000:-1000]) for lag in range(-20, 21)]
    assert int(np.argmax(near)) == 20
    assert len(read_audio(source)) == len(NOISE)


def test_bad_samples_are_named(tmp_path: Path) -> None:
    x = np.zeros((300_000, 2), np.float32)
    x[250_001, 1] = np.inf
    soundfile.write(tmp_path / "a.wav", x, 48_000, subtype="FLOAT")
    for strength in (None, 0):
        with pytest.raises(ValueError, match=r"row 250001, channel 1.* inf; accepted: finite"):
            denoise_file(tmp_path / "a.wav", tmp_path / "o.wav", strength_db=strength)
    _only(tmp_path, "a.wav")
