"""Files and the command line."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance import enhance
from pyenhance.audio import denoise_file
from pyenhance.cli import main

from ..conftest import noisy_voice


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "noisy.wav"
    soundfile.write(path, noisy_voice(6.3), 48_000, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("suffix", "rate", "channels", "subtype"),
    [
        (".wav", 48_000, 1, "PCM_16"),
        (".wav", 44_100, 2, "PCM_24"),
        (".wav", 8_000, 1, "ULAW"),
        (".wav", 192_000, 1, "FLOAT"),
        (".flac", 16_000, 1, "PCM_16"),
        (".ogg", 48_000, 2, "VORBIS"),
        (".ogg", 24_000, 1, "OPUS"),
    ],
)
def test_same_length_rate_channels_and_subtype(
    tmp_path: Path, suffix: str, rate: int, channels: int, subtype: str
) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    x = np.random.default_rng(0).normal(0, 0.05, (rate + 123, channels))
    soundfile.write(source, x, rate, subtype=subtype)
    denoise_file(source, target)
    a, b = soundfile.info(source), soundfile.info(target)
    assert (a.samplerate, a.channels, a.subtype, a.format) == (b.samplerate, b.channels, b.subtype, b.format)
    assert a.frames == b.frames
    assert stat.S_IMODE(target.stat().st_mode) & 0o600 == 0o600


def test_a_file_is_the_one_shot_result(noisy: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.wav"
    seen = []
    facts = denoise_file(noisy, target, on_progress=lambda done, total: seen.append((done, total)))
    y, _ = soundfile.read(target, dtype="float32")
    x, _ = soundfile.read(noisy, dtype="float32")
    np.testing.assert_allclose(y, enhance(x, 48_000), atol=1e-6)
    assert seen[-1] == (len(x), len(x)) and facts["seconds"] == pytest.approx(6.3)


def test_denoise_many_one_bad(noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, broken = tmp_path / "bad.wav", tmp_path / "nan.wav"
    bad.write_bytes(b"no sound at all")
    soundfile.write(broken, np.array([0, np.nan], np.float32), 48_000, subtype="FLOAT")
    out = tmp_path / "out"
    assert main(["denoise", str(bad), str(broken), str(noisy), "-o", str(out), "--json"]) == 1
    reply = capsys.readouterr()
    files = json.loads(reply.out)["files"]
    assert "error" in files[0] and "NaN" in files[1]["error"] and files[2]["seconds"] == pytest.approx(6.3)
    assert [p.name for p in out.iterdir()] == ["noisy.wav"]
    assert "bad.wav" in reply.err


def test_nothing_is_overwritten_without_force(noisy: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.wav"
    target.write_text("mine")
    assert main(["denoise", str(noisy), "-o", str(target), "--quiet"]) == 1
    assert target.read_text() == "mine"
    assert main(["denoise", str(noisy), "-o", str(target), "--quiet", "--force"]) == 0
    assert soundfile.info(target).frames == soundfile.info(noisy).frames


@pytest.fixture
def folder(noisy: Path, tmp_path: Path) -> Path:
    """Recordings in folders, one broken, and things that are none."""
    (tmp_path / "in/day 2").mkdir(parents=True)
    for place in ("in/a.wav", "in/day 2/a.wav", "in/day 2/b.WAV"):
        (tmp_path / place).write_bytes(noisy.read_bytes())
    (tmp_path / "in/broken.flac").write_bytes(b"no sound at all")
    (tmp_path / "in/notes.txt").write_text("no sound")
    (tmp_path / "in/.a.wav.part.wav").write_bytes(b"hidden")
    return tmp_path / "in"


@pytest.mark.parametrize("where", [[], ["--cluster", "local:2"]], ids=["here", "dask"])
def test_a_folder_and_its_rerun(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], where: list[str], noisy: Path
) -> None:
    out = tmp_path / "out"
    command = ["denoise", str(folder), "-o", str(out), "--json", *where]
    assert main(command) == 1
    files = {Path(f["input"]).relative_to(folder).as_posix(): f for f in json.loads(capfd.readouterr().out)["files"]}
    assert set(files) == {"a.wav", "day 2/a.wav", "day 2/b.WAV", "broken.flac"}
    assert [name for name, f in files.items() if "error" in f] == ["broken.flac"]
    want = {"a.wav", "day 2/a.wav", "day 2/b.WAV"}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == want
    x, _ = soundfile.read(noisy, dtype="float32")
    np.testing.assert_allclose(soundfile.read(out / "day 2/b.WAV")[0], enhance(x, 48_000), atol=1e-6)

    (out / "a.wav").unlink()
    kept = (out / "day 2/a.wav").stat().st_mtime_ns
    (folder / "broken.flac").unlink()
    assert main(command) == 0
    again = json.loads(capfd.readouterr().out)["files"]
    assert [Path(f["input"]).relative_to(folder).as_posix() for f in again if "skipped" not in f] == ["a.wav"]
    assert (out / "a.wav").is_file() and (out / "day 2/a.wav").stat().st_mtime_ns == kept


def test_an_output_folder_inside_the_input(folder: Path) -> None:
    out = folder / "enhanced"
    (folder / "broken.flac").unlink()
    assert main(["denoise", str(folder), "-o", str(out), "--quiet"]) == 0
    assert main(["denoise", str(folder), "-o", str(out), "--quiet", "--force"]) == 0
    assert not (out / "enhanced").exists() and len(list(out.rglob("*.*"))) == 3


def test_usage_errors(noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "noisy.wav"
    other.write_bytes(noisy.read_bytes())
    assert main(["denoise", str(noisy), "-o", str(noisy), "--force"]) == 2
    assert main(["denoise", str(noisy), str(other), "-o", str(tmp_path / "two")]) == 2
    assert main(["denoise", str(noisy), str(noisy.with_name("b.wav")), "-o", str(other)]) == 2
    for arguments in (
        ["denoise", str(noisy)],
        ["denoise", str(noisy), "-o", "x", "--strength-db", "-1"],
        ["denoise", str(noisy), "-o", "x", "--cluster", "b.wav"],
        ["dance"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert main(["denoise", str(noisy), "-o", str(tmp_path / "a.wav"), "--model", "no-such"]) == 1
    assert "no-such" in capsys.readouterr().err
    assert main(["denoise", str(noisy), "-o", str(tmp_path / "a.xyz")]) == 1


def test_info_and_models(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["default"] > 1_000_000
    assert main(["info"]) == 0 and main(["model", "list"]) == 0 and main(["model", "verify", "default"]) == 0
    broken = tmp_path / "x.safetensors"
    broken.write_bytes(b"1234")
    assert main(["model", "verify", str(broken)]) == 1


def test_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", "1", "-k", "1", "10", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["k"] for row in rows] == [1, 10]
    for row in rows:
        assert row["us_p50"] <= row["us_p99"] <= row["us_max"]
        assert (
            set(row["breakdown_us"]) == {"analysis", "network", "synthesis"} and min(row["breakdown_us"].values()) > 0
        )
    assert main(["bench", "--seconds", "0.2", "-k", "2", "--json", "--model", "untrained-tiny"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["model"] == "untrained-tiny" and row["weights"] < 250_000
