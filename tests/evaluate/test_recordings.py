"""Recordings without a clean reference, and the folder of public ones."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.cli import main
from pyenhance.evaluate.real import EXCERPTS, Excerpt, make_recordings
from pyenhance.evaluate.recordings import OPINIONS, compared, evaluate_recordings, load_recordings
from pyenhance.evaluate.recordings_report import as_text
from pyenhance.train.sources import Source

from ..conftest import SHARED, voiced

RATE = 16_000
SOURCE = Source("test", "github:nobody/voices", "CC0-1.0", "permissive", "", ".*")


def _noisy(seconds: float, level: float, rate: int) -> np.ndarray:
    x = voiced(seconds)[:: 48_000 // rate]
    return x + level * np.random.default_rng(0).normal(size=len(x)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    soundfile.write(folder / "kitchen.wav", _noisy(1, 0.01, 16_000), 16_000)
    soundfile.write(folder / "street <3>.flac", _noisy(1, 0.03, 48_000), 48_000)
    (folder / "notes.txt").write_text("not a recording")
    return folder


def test_a_folder_becomes_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    page, table, figures = (folder / f"report.{suffix}" for suffix in ("html", "md", "json"))
    arguments = ["--model", "tiny", "--workers", "1", "-o", *map(str, (page, table, figures))]
    assert main(["evaluate", "--real", str(folder), *arguments]) == 0
    assert capsys.readouterr().out.startswith("2 recordings ")
    text = page.read_text()
    assert text.count("data:audio/mpeg") == 4 and text.count("data:image/png") == 2 and "://" not in text
    assert "street &lt;3&gt;.flac" in text and "<3>" not in text
    assert "| kitchen.wav | - / - / - | - / - / - |" in table.read_text()
    result = json.loads(figures.read_text())
    assert [round(clip["seconds"]) for clip in result["clips"]] == [1, 1]
    assert result["means"]["recording:tiny"]["ovrl"]["mean"] is None, "DNSMOS was not asked"


def test_means_and_differences() -> None:
    clips = [
        {
            "facts": {"speaker": speaker},
            "scores": {"noisy": dict.fromkeys(OPINIONS, a), "x": dict.fromkeys(OPINIONS, b), "y": {"sig": b, "bak": c}},
        }
        for speaker, a, b, c in (("anna", 1.0, 2.0, math.nan), ("anna", 2.0, 3.5, math.nan), ("bert", 2.0, 2.5, 4.0))
    ]
    for clip in clips:
        clip["scores"]["y"]["ovrl"] = math.nan  # as of a clip that is empty
    result = compared(clips, ["noisy", "x", "y"])
    assert result["means"]["noisy"]["sig"]["mean"] == pytest.approx(5 / 3)
    gain = result["differences"]["noisy"]["sig"]
    assert gain["mean"] == pytest.approx(1.0) and (gain["low"], gain["high"]) == (0.5, 1.25), "of two speakers"
    assert result["means"]["y"]["bak"] == {"mean": 4.0, "low": 4.0, "high": 4.0} and "x" not in result["differences"]
    text = as_text(result | {"clips": clips})
    assert "x, less noisy" in text and "+1.00 (+0.50 to +1.25)" in text and text.splitlines()[3].endswith("-")


def test_opinions_where_their_model_is(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = SHARED / "eval" / "dnsmos" / "sig_bak_ovr.onnx"
    if not path.exists():
        pytest.skip("the DNS challenge's sig_bak_ovr.onnx is not part of the project")
    result = evaluate_recordings(load_recordings(folder)[1:], ["noisy", "recording:tiny"], dnsmos=path, workers=1)
    noisy, enhanced = (result["clips"][0]["scores"][name] for name in ("noisy", "recording:tiny"))
    assert 1 <= noisy["bak"] < enhanced["bak"] <= 5


def test_bad_requests(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--real", str(folder), "--groups"], "--groups belongs to --pairs"),
        (["--real", str(folder), "--clone", f"x={folder}"], "--clone belongs to --fetch"),
        (["--pairs", str(folder), "--fetch"], "--fetch belongs to --real"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(ValueError, match="nothing: accepted: a folder with audio files"):
        load_recordings(tmp_path / "nothing")
    (folder / "manifest.csv").write_text("file,heard\ngone.wav,rain\n")
    with pytest.raises(ValueError, match=r"gone\.wav is missing"):
        load_recordings(folder)
    (folder / "manifest.csv").write_text("name\nkitchen.wav\n")
    with pytest.raises(ValueError, match="no column file"):
        load_recordings(folder)


def test_excerpts_become_a_folder(tmp_path: Path) -> None:
    clone, out = tmp_path / "clone", tmp_path / "real"
    clone.mkdir()
    x = _noisy(3, 0.01, RATE)
    soundfile.write(clone / "talk.wav", x, RATE)
    stretch = Excerpt("talk", SOURCE, "talk.wav", "anna", "en", "rain", 1, 1.5)
    make_recordings(out, {"test": clone}, excerpts=[stretch])
    (recording,) = load_recordings(out)
    with open(out / "manifest.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"file": "talk.flac"} | recording.facts]
    assert recording.facts["licence"] == "CC0-1.0" and recording.facts["heard"] == "rain"
    read, rate = soundfile.read(recording.path)
    assert rate == RATE and np.abs(read - x[RATE : RATE * 5 // 2]).max() < 1e-4
    with pytest.raises(FileExistsError, match="real exists"):
        make_recordings(out, {"test": clone}, excerpts=[stretch])
    for wrong, error, said in (
        ({"start_s": 3}, ValueError, "talk: talk.wav of test ends before 3 s"),
        ({"path": "gone.wav"}, OSError, "gone.wav"),
    ):
        excerpt = Excerpt(**(stretch.__dict__ | wrong))
        with pytest.raises(error, match=said):
            make_recordings(tmp_path / "new", {"test": clone}, excerpts=[stretch, excerpt])
    with pytest.raises(ValueError, match="source 'other'; accepted: test"):
        make_recordings(tmp_path / "new", {"other": clone}, excerpts=[stretch])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clone", "real"], "nothing half-written"


def test_the_public_recordings_are_many_and_told_apart() -> None:
    assert len({excerpt.name for excerpt in EXCERPTS}) == len(EXCERPTS) >= 20
    places = {excerpt.source.name: excerpt.source.place for excerpt in EXCERPTS}
    assert len(set(places.values())) == len(places) >= 3
    assert all(excerpt.speaker and excerpt.heard and excerpt.source.licence for excerpt in EXCERPTS)
