"""From recordings to training sequences."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt

from pyenhance import dsp
from pyenhance.dsp import SignalSpec
from pyenhance.samples import active_rms
from pyenhance.train import dataset, mixing
from pyenhance.train.corpus import Corpus
from pyenhance.train.floor import without_floor
from pyenhance.train.mixing import Mixer

from ..conftest import voiced
from .shards import make_shard

SIGNAL = SignalSpec()


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus([corpus_folder], "train", ("permissive",), tmp_path_factory.mktemp("cache"), workers=1)


def test_corpus_keeps_to_its_split_and_groups(corpus: Corpus, corpus_folder: Path, tmp_path: Path) -> None:
    assert set(corpus.speakers) == {"anna", "bert"} and len(corpus.noises) == 2 and len(corpus.rooms) == 1
    with pytest.raises(ValueError, match="gpl"):
        Corpus([corpus_folder], "train", ("gpl",), tmp_path, workers=1)
    with pytest.raises(ValueError, match=r"manifest_speech\.csv is missing"):
        Corpus([tmp_path], "train", ("permissive",), tmp_path, workers=1)


def test_corpora_add_up(corpus: Corpus, corpus_folder: Path, tmp_path: Path) -> None:
    """A second folder may hold speech alone."""
    soundfile.write(tmp_path / "dora.flac", np.clip(voiced(2, 180), -1, 1), 16_000)
    row = "file,speaker,eff_bw,group,split\ndora.flac,dora,8000,permissive,train\n"
    (tmp_path / "manifest_speech.csv").write_text(row)
    both = Corpus([corpus_folder, tmp_path], "train", ("permissive",), tmp_path / "cache", workers=1)
    assert set(both.speakers) == {"anna", "bert", "dora"} and len(both.noises) == 2
    assert np.std(both.read("speech", both.speakers["dora"][0])) > 0.01


def test_another_voice_keeps_its_length_in_tempo() -> None:
    voice = voiced(1, 120)
    for semitones, tempo in ((4, 1.0), (-4, 1.2), (0, 0.85)):
        changed = mixing._change_voice(voice, semitones, tempo)
        assert len(changed) == pytest.approx(len(voice) / tempo, rel=0.02) and np.isfinite(changed).all()


def test_a_narrow_voice_stays_narrow_and_as_loud() -> None:
    """It is changed at a lower rate and comes back at 48 kHz."""
    voice = sosfilt(butter(8, 7000, fs=48_000, output="sos"), voiced(2, 120)).astype(np.float32)
    wide, narrow = (mixing._change_voice(voice, 2.0, 1.1, bandwidth_hz) for bandwidth_hz in (24_000.0, 8000.0))
    assert abs(len(narrow) - len(wide)) < 480
    assert 20 * np.log10(active_rms(narrow) / active_rms(wide)) == pytest.approx(0, abs=1.0)
    power = np.abs(np.fft.rfft(narrow)) ** 2
    assert power[np.fft.rfftfreq(len(narrow), 1 / 48_000) > 8200].sum() < 1e-4 * power.sum()


def test_a_room_keeps_the_early_reflections_in_the_target() -> None:
    speech = np.zeros(9600, np.float32)
    speech[100] = 1.0
    response = np.zeros(7200, np.float32)
    response[[0, 2399, 2400]] = 1.0, 0.5, 0.25
    early, wet = mixing.in_room(speech, response)
    assert early[[100, 2499, 2500]] == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)
    assert wet[[100, 2499, 2500]] == pytest.approx([1.0, 0.5, 0.25], abs=1e-6)


def test_a_hum_lies_at_the_multiples_of_its_pitch() -> None:
    for seed in range(4):
        x = mixing._hum(np.random.default_rng(seed), 96_000)
        assert x.dtype == np.float32 and np.isfinite(x).all()
        rng = np.random.default_rng(seed)
        f0 = rng.choice([50, 60, 100, 120, rng.uniform(30, 400)]) * (1 + rng.uniform(-0.01, 0.01))
        power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
        order = np.fft.rfftfreq(len(x), 1 / 48_000) / f0
        low = (order > 0.5) & (order < 10.5)
        near = np.abs(order - np.rint(order)) <= 0.02 * order  # it wobbles by a hundredth
        assert power[near & low].sum() > 0.8 * power[low].sum()


def test_mixes_are_seeded_and_in_range(corpus: Corpus) -> None:
    mixer = Mixer(corpus, 2.0)
    first, again, other = (mixer.mix(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.noisy, again.noisy)
    np.testing.assert_array_equal(first.clean, again.clean)
    assert not np.array_equal(first.noisy, other.noisy)
    for seed in range(40):
        mix = mixer.mix(np.random.default_rng(seed))
        assert mix.noisy.shape == mix.clean.shape == (96_000,) and mix.noisy.dtype == mix.clean.dtype == np.float32
        assert np.abs(mix.noisy).max() <= 1 and np.isfinite(mix.noisy).all() and np.isfinite(mix.clean).all()


def test_snr_is_what_the_mix_says(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speech's active level over the noise's level, before rooms and other changes."""
    mixer = Mixer(corpus, 3.0)
    monkeypatch.setattr(mixer, "_room", lambda rng, speech: (speech, speech))
    checked = 0
    for seed in range(60):
        mix = mixer.mix(np.random.default_rng(seed))
        noise = mix.noisy.astype(float) - mix.clean
        if np.abs(mix.noisy).max() >= 0.5 or not np.any(mix.clean) or mix.bandwidth_hz < 20_000 or mix.snr_db > 25:
            continue  # clipped, silent, band-limited, or lost in 16 bits
        snr = 20 * np.log10(active_rms(mix.clean) / np.sqrt(np.mean(noise**2)))
        assert abs(snr - mix.snr_db) < 0.7
        checked += 1
    assert checked >= 5


def test_a_floor_is_taken_off_and_the_voice_stays() -> None:
    voice = voiced(3, 150).astype(np.float32)
    pauses = np.arange(len(voice)) // 24_000 % 3 == 2  # half a second of a second and a half
    voice[pauses] = 0
    hiss = np.random.default_rng(0).normal(size=len(voice)).astype(np.float32)
    loud = np.flatnonzero(~pauses)
    within = pauses & (np.arange(len(voice)) % 24_000 > 4800) & (np.arange(len(voice)) % 24_000 < 19_200)
    for snr_db in (30, 40):
        noisy = voice + hiss * np.float32(active_rms(voice) * 10 ** (-snr_db / 20))
        taken = without_floor(noisy)
        assert taken.dtype == np.float32 and taken.shape == noisy.shape
        assert 20 * np.log10(np.std(taken[within]) / np.std(noisy[within])) < -10
        assert np.std(taken[loud] - voice[loud]) < 0.1 * np.std(voice[loud])
    assert np.std(without_floor(voice) - voice) < 0.03 * np.std(voice), "there is none"
    assert not without_floor(np.zeros(4800, np.float32)).any()


def test_a_target_without_its_floor(corpus: Corpus) -> None:
    """What is heard is the same."""
    for seed in range(4):
        kept, taken = (Mixer(corpus, 2.0, floor=floor).mix(np.random.default_rng(seed)) for floor in (True, False))
        np.testing.assert_array_equal(kept.noisy, taken.noisy)
        assert not np.array_equal(kept.clean, taken.clean) or not kept.clean.any()


def test_codecs_damage_but_do_not_move() -> None:
    x = voiced(2.0)
    for seed in range(12):
        y = mixing._coded(np.random.default_rng(seed), x)
        assert y.shape == x.shape and y.dtype == np.float32
        level = np.sqrt(np.mean((y - x) ** 2) / np.mean(x**2))
        assert 1e-4 < level < 0.5
        spectrum = np.fft.rfft(y, 2 * len(x)) * np.conj(np.fft.rfft(x, 2 * len(x)))
        lag = int(np.argmax(np.fft.irfft(spectrum)))
        assert min(lag, 2 * len(x) - lag) <= 2


@pytest.mark.parametrize("signal", [SIGNAL, SignalSpec(24, 0)])
def test_bandwidth_masks_the_bands_above(corpus: Corpus, signal: SignalSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 40)
    shard = dataset.make_shard(signal, Mixer(corpus, 0.5), 0, 0)
    mask = shard["band_mask"]
    assert mask.shape == (40, signal.num_bands) and (np.diff(mask.astype(int)) <= 0).all()
    masks = set(mask.sum(1).tolist())
    full = int((signal.band_centres_hz <= 8000).sum())
    assert max(masks) > full and min(masks) <= full
    # bert's 8 kHz, played faster by up to 18 %; where his first pause is longer than the sequence nothing is known.
    bert = (shard["speaker"] == "bert") & shard["vad"].any(1)
    assert set(shard["speaker"]) == {"anna", "bert"}
    assert mask[bert].sum(1).max() <= (signal.band_centres_hz <= 1.18 * 8000).sum() < max(masks)


@pytest.mark.parametrize("lookahead_frames", [0, 1, 2])
@pytest.mark.parametrize("num_bands", [24, 34, 50])
def test_targets_belong_to_the_frame_the_network_answers(num_bands: int, lookahead_frames: int) -> None:
    """Row t of the targets is a look-ahead older than row t of the energies: an onset shows the delay."""
    signal = SignalSpec(num_bands, lookahead_frames)
    x = np.zeros(48_000, np.float32)
    x[24_000:] = voiced(0.5, 150)
    noisy = x + 1e-4 * np.random.default_rng(0).normal(size=len(x)).astype(np.float32)
    frames, gain, _ = dsp.ideal(signal, noisy, x)
    energies = frames.features[:, :num_bands].mean(1)
    heard = int(np.argmax(np.diff(energies[10:]))) + 11
    wanted = int(np.argmax(gain.mean(1) > 0.5))
    assert wanted - heard == lookahead_frames
    voice = dataset.voice_activity(signal, x)
    assert abs(int(np.argmax(voice)) - wanted) <= 1


def test_shards_repeat_and_resume(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 3)
    arguments = ["--data", str(corpus_folder), "--hours", str(2 * 3 * 2 / 3600), "--seconds", "2", "--workers", "1"]
    arguments += ["--cache", str(tmp_path / "audio")]
    for name in ("one", "two"):
        dataset.main([*arguments, "--out", str(tmp_path / name)])
    names = sorted(path.name for path in (tmp_path / "one").glob("*.npz"))
    assert names == ["shard-00000.npz", "shard-00001.npz"]
    (tmp_path / "one" / names[1]).unlink()
    before = (tmp_path / "one" / names[0]).stat().st_mtime_ns
    dataset.main([*arguments, "--out", str(tmp_path / "one")])
    assert (tmp_path / "one" / names[0]).stat().st_mtime_ns == before
    for name in names:
        first, second = (np.load(tmp_path / folder / name) for folder in ("one", "two"))
        assert first["features"].shape == (3, 200, SIGNAL.num_features)
        assert first["gain"].shape == first["strength"].shape == (3, 200, SIGNAL.num_bands)
        np.testing.assert_array_equal(first["speaker"], second["speaker"])
        for key in dataset.ARRAYS:
            np.testing.assert_array_equal(first[key], second[key])
            assert np.isfinite(first[key]).all()
    heard = dataset.speakers_heard(tmp_path / "one")
    assert sum(heard.values()) == 6 and set(heard) <= {"anna", "bert"}
    assert f"6 sequences of {len(heard)} speakers" in capsys.readouterr().out
    np.savez(tmp_path / "one" / "shard-00002.npz", vad=np.zeros(1))
    assert dataset.speakers_heard(tmp_path / "one") == heard, "older shards do not say who talks"


def test_shards_say_what_they_were_made_with(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 2)
    out = tmp_path / "shards"
    arguments = ["--data", str(corpus_folder), "--hours", str(2 / 3600), "--seconds", "1", "--workers", "1"]
    arguments += ["--cache", str(tmp_path / "audio"), "--out", str(out), "--num-bands", "24"]
    dataset.main([*arguments, "--lookahead-frames", "0"])
    assert (out / "signal.json").read_text() == '{"num_bands": 24, "lookahead_frames": 0}'
    stream = dataset.ShardStream(out, 2)
    assert stream.signal == dataset.read_signal(out) == SignalSpec(24, 0)
    batch = next(iter(stream))
    assert batch["features"].shape == (2, 100, 50) and batch["gain"].shape == (2, 100, 24)
    for others, message in (
        (["--lookahead-frames", "1"], "holds shards of SignalSpec(num_bands=24, lookahead_frames=0, fine_bins=0)"),
        (["--lookahead-frames", "9"], "lookahead_frames is 9; accepted"),
    ):
        with pytest.raises(SystemExit):
            dataset.main([*arguments, *others])
        assert message in capsys.readouterr().err
    assert dataset.read_signal(out) == SignalSpec(24, 0)
    assert dataset.read_signal(tmp_path) == SIGNAL, "older folders do not say"
    fine = ["--out", str(tmp_path / "fine"), "--lookahead-frames", "0", "--fine-bins", "32"]
    dataset.main([*arguments, *fine])
    assert dataset.read_signal(tmp_path / "fine") == SignalSpec(24, 0, 32)
    finer = next(iter(dataset.ShardStream(tmp_path / "fine", 2)))["features"]
    assert finer.shape == (2, 100, 82)


def test_stream_draws_the_same_batch_at_the_same_step(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="holds no shard"):
        dataset.ShardStream(tmp_path, 2)
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 4)
    arguments = ["--data", str(corpus_folder), "--hours", str(8 / 3600), "--seconds", "2", "--workers", "1"]
    dataset.main([*arguments, "--cache", str(tmp_path / "audio"), "--out", str(tmp_path / "shards")])
    one, two = (dataset.ShardStream(tmp_path / "shards", 2, seed=3) for _ in range(2))
    batches = [batch for batch, _ in zip(one, range(4), strict=False)]
    two.step = 2
    resumed = next(iter(two))
    for name in dataset.ARRAYS:
        np.testing.assert_array_equal(batches[2][name], resumed[name])
    assert not np.array_equal(batches[0]["features"], batches[1]["features"])
    shutil.rmtree(tmp_path / "shards")


def test_parts_share_no_speaker_and_no_noise(corpus_folder: Path, tmp_path: Path) -> None:
    whole, *parts = (
        Corpus([corpus_folder], "train", ("permissive",), tmp_path, 1, part) for part in ((1, 1), (1, 2), (2, 2))
    )
    assert [sorted(part.speakers) for part in parts] == [["anna"], ["bert"]] and len(whole.speakers) == 2
    noises = [[part.read("noise", clip) for clip in part.noises] for part in parts]
    assert [len(own) for own in noises] == [1, 1] and not np.array_equal(noises[0][0], noises[1][0])
    assert all(len(part.rooms) == len(whole.rooms) == 1 for part in parts)
    for part, match in (((3, 2), "part 3 of 2; accepted"), ((0, 2), "part 0 of 2"), ((1, 3), "3 parts of 2")):
        with pytest.raises(ValueError, match=match):
            Corpus([corpus_folder], "train", ("permissive",), tmp_path, 1, part)


def test_shards_of_a_part_and_a_split(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset, "SEQUENCES_PER_SHARD", 2)
    corpora: list[Corpus] = []
    make = dataset.Corpus
    monkeypatch.setattr(dataset, "Corpus", lambda *given: corpora.append(make(*given)) or corpora[-1])
    arguments = ["--data", str(corpus_folder), "--hours", str(2 / 3600), "--seconds", "1", "--workers", "1"]
    arguments += ["--cache", str(tmp_path / "audio")]
    dataset.main([*arguments, "--out", str(tmp_path / "two"), "--part", "2/2"])
    assert sorted(corpora[0].speakers) == ["bert"]
    assert len(list(dataset.all_sequences(tmp_path / "two", 2))) == 1
    for others, message in (
        (["--part", "3/2"], "'3/2'; accepted: K/N"),
        (["--part", "half"], "'half'; accepted: K/N"),
        (["--split", "test"], "'test'"),
    ):
        with pytest.raises(SystemExit):
            dataset.main([*arguments, "--out", str(tmp_path / "none"), *others])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_every_sequence_once(tmp_path: Path) -> None:
    folder = make_shard(tmp_path / "shards", SIGNAL, sequences=5)
    with np.load(folder / "shard-00000.npz") as shard:
        batches = list(dataset.all_sequences(folder, 2))
        assert [len(batch["vad"]) for batch in batches] == [2, 2, 1]
        for name in dataset.ARRAYS:
            joined = np.concatenate([batch[name] for batch in batches])
            levels = 255 if name in ("gain", "strength") else 1
            np.testing.assert_allclose(joined * levels, shard[name], atol=1e-3)
    with pytest.raises(ValueError, match="holds no shard"):
        next(dataset.all_sequences(tmp_path, 2))
