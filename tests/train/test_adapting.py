"""What is shipped for users who adapt a model, and the trial of it."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyenhance.measure import si_sdr
from pyenhance.model import load_model
from pyenhance.model.adapt import Adaptation, NotBetter
from pyenhance.model.diff import weights_bytes
from pyenhance.model.summary import HEADS, read_summary
from pyenhance.train import dataset, summary, trial

from ..conftest import voiced

RATE = 48_000


def test_a_summary_of_shards(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 6)
    monkeypatch.setattr(summary, "KEPT_FRAMES", 40)
    shards, out = tmp_path / "shards", tmp_path / "tiny.summary"
    arguments = ["--data", str(corpus_folder), "--hours", str(12 / 3600), "--seconds", "2", "--workers", "1"]
    dataset.main([*arguments, "--cache", str(tmp_path / "audio"), "--out", str(shards)])
    summary.main(["--shards", str(shards), "--model", "tiny", "-o", str(out)])
    found = read_summary(out.read_bytes())
    kept = dataset.ShardStream(shards, 1).sequences(99)[:: summary.KEPT_SHARE]
    targets = {name: np.concatenate([sequence[name] for sequence in kept]) for name in HEADS}
    model = load_model("tiny")
    runs = [model.estimate(sequence["features"], model.network.new_memory()) for sequence in kept]
    said = {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(HEADS)}
    assert found.base == hashlib.sha256(weights_bytes("tiny")).hexdigest() and len(found.heard) == 40
    for name in HEADS:
        head = found.heads[name]
        assert head.target.min() >= 0 and head.target.max() <= 1 and head.target.std() > 0.1
        guess = 1 / (1 + np.exp(-head.logit))
        for target, value in zip(head.target, guess, strict=True):
            alike = (np.abs(targets[name] - target) < 1e-6).all(1)
            assert np.abs(said[name][alike] - value).max(1).min(initial=1) < 0.02, "what was said of that very frame"
        power = np.mean(head.values**2, 0)
        assert np.median(power[:20]) == pytest.approx(1, abs=0.8), "kept frames are like those of the Gram matrix"
    with pytest.raises(SystemExit):
        summary.main(["--shards", str(shards), "--model", "low-delay", "-o", str(out)])
    accepted = "accepted for low-delay: SignalSpec(num_bands=34, lookahead_frames=0, fine_bins=0)"
    assert accepted in capsys.readouterr().err


@pytest.fixture(scope="module")
def trial_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with two recordings each, one with too little, and three noises."""
    folder = tmp_path_factory.mktemp("trial")
    rng = np.random.default_rng(0)
    speech = {
        "anna-1": voiced(12, 210),
        "anna-2": voiced(10, 215),
        "bert-1": voiced(12, 110),
        "bert-2": voiced(10, 115),
    }
    sounds = {
        "speech": speech | {"carl-1": voiced(4, 130)},
        "noise": {name: 0.05 * rng.normal(size=12 * RATE) for name in ("hiss", "wind", "sea")},
    }
    for kind, clips in sounds.items():
        with open(folder / f"manifest_{kind}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "dur", "group", "split", "speaker", "eff_bw", "src_file", "category"])
            for name, x in clips.items():
                soundfile.write(folder / f"{name}.flac", np.clip(x, -1, 1), RATE)
                facts = ("free", "valid", name.split("-")[0], "8000", name, name)
                writer.writerow([f"{name}.flac", len(x) / RATE, *facts])
    return folder


def test_users_keep_sentences_and_noise_for_the_test(trial_folder: Path) -> None:
    found = list(trial.users(trial_folder, 9, 11, ("free",)))
    assert {user.name for user in found} == {"anna", "bert"}
    for user in found:
        assert len(user.voice) == 11 * RATE and len(user.sentences) == 8 * RATE and len(user.noise) == 6 * RATE
        assert set(user.rooms) == {"own", "other"} and user.noise_names["own"] != user.noise_names["other"]
        spectrum = np.abs(np.fft.rfft(user.noise))
        assert spectrum[12_000 * 6 :].mean() < 0.01 * spectrum[: 6000 * 6].mean(), "as the speech's microphone hears it"


def test_a_trial_counts_those_whose_model_stays(
    trial_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"gain_loss": (0.2, 0.1)}

    def adapted(model: str, voice: np.ndarray, noise: np.ndarray) -> Adaptation:
        if len(calls) == 1:
            raise NotBetter("the shipped model stays: no reason")
        calls.append(model)
        return Adaptation(b"diff", weights_bytes("low-delay"), 10_000, figures, [], {})

    calls: list[str] = []
    monkeypatch.setattr(trial, "adapt", adapted)
    monkeypatch.setattr(
        trial, "Scorer", lambda pesq_starts: lambda clean, y: {"pesq_wb": 1.0, "si_sdr": si_sdr(clean, y)}
    )
    out = tmp_path / "trial.json"
    arguments = ["--data", str(trial_folder), "--groups", "free", "--model", "tiny", "-o", str(out)]
    trial.main([*arguments, "--users", "1"])
    trial.main([*arguments, "--users", "2"])
    first, second = json.loads(out.read_text())
    assert first["kept"] and first["bytes"] == 4 and first["own"]["si_sdr"][0] != first["own"]["si_sdr"][1]
    assert not second["kept"] and second["own"]["si_sdr"][0] == second["own"]["si_sdr"][1]
    text = capsys.readouterr().out
    assert "2 users, 1 adapted" in text and "the shipped model stays: no reason" in text
    assert text.count(first["user"]) == 3, "was tried once: its line, and a line in each table"
