"""Voices of the other sex, and mixes of them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from scipy.signal import iirpeak, lfilter

from pyenhance.cli import main
from pyenhance.commands.terminal import EXIT_FAILED
from pyenhance.evaluate.groups import median_pitch_hz
from pyenhance.train import counterfactual, dataset, mixing
from pyenhance.train.corpus import Corpus
from pyenhance.train.counterfactual import F0_RATIO, FORMANT_RATIO, other_voice
from pyenhance.train.mixing import Mixer

from ..conftest import voiced

FORMANT_HZ = 1500.0


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus([corpus_folder], "train", ("permissive",), tmp_path_factory.mktemp("cache"), workers=1)


def needs_pyworld(test: Callable[..., None]) -> Callable[..., None]:
    """Skips a test where the extra train is older than it."""
    try:
        import pyworld  # noqa: F401
    except ImportError:
        return pytest.mark.skip(reason="pyworld is not installed")(test)
    return test


def formant_hz(x: np.ndarray) -> float:
    """Where the voice resonates: the centre of its power around the known resonance."""
    power = np.abs(np.fft.rfft(x)) ** 2
    frequency = np.fft.rfftfreq(len(x), 1 / 48_000)
    near = (frequency > 0.6 * FORMANT_HZ) & (frequency < 1.6 * FORMANT_HZ)
    return float((power * frequency)[near].sum() / power[near].sum())


@needs_pyworld
@pytest.mark.parametrize(("sex", "f0_hz", "up"), [("M", 120, 1), ("F", 205, -1)])
def test_pitch_and_formants_move_and_time_does_not(sex: str, f0_hz: float, up: int) -> None:
    x = lfilter(*iirpeak(FORMANT_HZ, 5, 48_000), voiced(1.5, f0_hz, 10)).astype(np.float32)
    y, bandwidth_hz = other_voice(x, sex, 8000.0)
    assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all()
    before, after = median_pitch_hz(x), median_pitch_hz(y)
    assert before and after and after / before == pytest.approx(F0_RATIO**up, rel=0.05)
    assert formant_hz(y) / formant_hz(x) == pytest.approx(FORMANT_RATIO**up, rel=0.06)
    assert bandwidth_hz == pytest.approx(8000 * FORMANT_RATIO**up)
    loud, still = (np.abs(z).reshape(-1, 2400).max(1) > 0.1 * np.abs(z).max() for z in (x, y))
    assert np.mean(loud == still) > 0.9, "speaks when it spoke"
    np.testing.assert_array_equal(other_voice(x, sex, 8000.0)[0], y)


@needs_pyworld
def test_what_has_no_other_voice_stays_as_it_is() -> None:
    for x in (voiced(1, 260), np.zeros(4800, np.float32)):
        y, bandwidth_hz = other_voice(x, "M", 8000.0)
        np.testing.assert_array_equal(x, y)
        assert bandwidth_hz == 8000
    with pytest.raises(ValueError, match="sex is 'mixed'; accepted: F or M"):
        other_voice(voiced(1), "mixed")


@needs_pyworld
def test_mixes_differ_by_their_voices_alone(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any share the same speakers, SNRs, and draws from the generator."""
    swapped: list[str] = []

    def swap(x: np.ndarray, sex: str, bandwidth_hz: float) -> tuple[np.ndarray, float]:
        swapped.append(sex)
        return -x, 0.5 * bandwidth_hz

    monkeypatch.setattr(mixing, "other_voice", swap)
    counts = []
    for share in (0.0, 0.5, 1.0):
        swapped.clear()
        of_share = []
        rng = np.random.default_rng(1)
        for _ in range(8):
            mix = Mixer(corpus, 0.5, share).mix(rng)
            of_share.append((mix.speaker, mix.snr_db, rng.bit_generator.state["state"]))
        counts.append((len(swapped), of_share))
        assert set(swapped) <= {"F", "M"}
    assert counts[0][0] == 0 < counts[1][0] < counts[2][0]
    assert counts[0][1] == counts[1][1] == counts[2][1]


def test_bad_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", "nowhere", "--out", str(tmp_path / "shards"), "--counterfactual", "1.5"]
    with pytest.raises(SystemExit):
        dataset.main(arguments)
    assert "counterfactual share is 1.5; accepted: 0 to 1" in capsys.readouterr().err
    with patch.dict("sys.modules", pyworld=None), pytest.raises(ImportError, match=r"pyworld.*pyenhance\[train\]"):
        dataset.main([*arguments[:-1], "0.5"])
    assert not (tmp_path / "shards").exists()


def test_a_corpus_that_tells_nobodys_sex_is_refused_before_it_is_decoded(
    corpus_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its recordings are not even there."""
    for name in ("noise", "rir"):
        shutil.copy(corpus_folder / f"manifest_{name}.csv", tmp_path)
    for i, row in enumerate(("sex,file\n,a", "sex,file\n?,a", "sex,file\nchild,a", "file\na")):
        head, values = row.split("\n")
        manifest = f"{head},speaker,group,split\n{values},anna,permissive,train\n"
        (tmp_path / "manifest_speech.csv").write_text(manifest)
        out = tmp_path / f"shards-{i}"
        arguments = ["train", "dataset", "--data", str(tmp_path), "--out", str(out), "--counterfactual", "0.5"]
        with patch.object(counterfactual, "_vocoder"):
            assert main(arguments) == EXIT_FAILED
        said = capsys.readouterr().err
        assert said == (
            "pyenhance: counterfactual share is 0.5, but no voice's sex is known; accepted: a manifest_speech.csv "
            "with the column sex (F, M)\n"
        )
        assert not out.exists()
